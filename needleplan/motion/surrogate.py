"""The organ as the skin drives it: a surrogate signal and its rate, with a phase shift, a delay and noise."""

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.motion.attenuation import SKIN_RISE
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.recorded import greatest_speed_mm_s
from needleplan.plan import Vector3, vector3

#: Spacing of the table in which the motion is kept.
STEP_S = 0.02
#: Correlation time of the noise: a change of the relation between skin and organ is slower than a sensor's noise.
NOISE_TIME_S = 1.0
#: With noise, at least so much is tabled before the motion repeats.
NOISE_SPAN_S = 120.0
#: Published phase shift between external markers and inner organs, degrees of a breath: 55 to 59.
EXTERNAL_INTERNAL_SHIFT_DEG = 57.0
#: A table of more rows is refused.
MAXIMUM_ROWS = 1_000_000


class SurrogateMotion(RespiratoryMotion):
    """``X(t) = X0 + alpha v(t - d) + beta f(t - d) + noise``, with the surrogate ``v`` and its rate ``f = dv/dt``.

    The five-dimensional model of Low et al., Int J Radiat Oncol Biol Phys 2005;63:921 (tidal volume and airflow),
    with a length in place of the volume: ``v`` is the displacement of the skin along ``axis``. ``d`` is
    ``latency_s + shift_deg / 360`` of the skin's mean period: the organ follows the skin by so much, or leads it
    where that is negative. ``X0`` makes a skin at rest at end-exhale a displacement of zero. With
    ``v = A cos^{2n}`` the term in ``f`` opens a loop; without it the organ moves along a line. The noise is
    smooth (Gaussian correlation, ``NOISE_TIME_S``), of the same size along each axis, and periodic.

    The motion is kept in a table of ``STEP_S`` with a periodic cubic spline through it (twice continuous).

    Args:
        skin: what drives the organ; must repeat after its ``span_s``.
        alpha: organ displacement in patient LPS mm for each millimetre of the surrogate.
        beta_s: organ displacement in patient LPS mm for each mm/s of the surrogate's rate.
        axis: along which the skin is watched, patient LPS; anterior by default.
        shift_deg: phase by which the organ follows the skin, degrees of a breath of 360.
        latency_s: time by which the organ follows the skin besides.
        noise_mm: standard deviation of the noise along each axis.
        seed: of the noise.

    Raises:
        MotionError: the skin's motion does not repeat, or a parameter is impossible.
    """

    def __init__(
        self,
        skin: RespiratoryMotion,
        alpha: Vector3,
        beta_s: Vector3 = (0.0, 0.0, 0.0),
        *,
        axis: Vector3 = (0.0, -1.0, 0.0),
        shift_deg: float = 0.0,
        latency_s: float = 0.0,
        noise_mm: float = 0.0,
        seed: int = 0,
    ) -> None:
        from scipy.interpolate import CubicSpline

        if not np.isfinite([*alpha, *beta_s]).all():
            raise MotionError("alpha and beta of a surrogate-driven motion must be finite numbers")
        if not -180.0 <= shift_deg <= 180.0:
            raise MotionError(
                f"the phase shift of the organ must lie between -180 and 180 degrees, not {shift_deg}"
            )
        if not 0.0 <= latency_s <= 5.0:
            raise MotionError(f"the latency of the organ must lie between 0 and 5 s, not {latency_s}")
        if not 0.0 <= noise_mm <= 20.0 or seed < 0:
            raise MotionError(
                f"the noise must lie between 0 and 20 mm and its seed be zero or more, not {noise_mm} and {seed}"
            )
        span = skin.span_s
        repeats = max(1, int(np.ceil(NOISE_SPAN_S / span))) if noise_mm > 0.0 else 1
        rows = int(np.ceil(span / STEP_S))
        if repeats * rows > MAXIMUM_ROWS:
            raise MotionError(f"the motion {skin.name} of {span:.0f} s is too long to drive an organ: cut it")
        times = np.arange(rows) * (span / rows)
        watched = unit_vector(axis)
        signal = skin.displacement_mm(times) @ watched
        if not np.allclose(skin.displacement_mm(times + span) @ watched, signal, rtol=0.0, atol=1e-6):
            raise MotionError(f"the motion {skin.name} does not repeat after {span:g} s and cannot drive an organ")
        closed = np.append(times, span)
        spline = CubicSpline(closed, np.append(signal, signal[0]), bc_type="periodic")
        delay_s = latency_s + shift_deg / 360.0 * skin.period_s
        seen = np.mod(times - delay_s, span)
        organ = np.outer(spline(seen), alpha) + np.outer(spline(seen, 1), beta_s)
        organ = np.tile(organ, (repeats, 1))
        if noise_mm > 0.0:
            organ = organ + noise_mm * _smooth_noise(np.random.default_rng(seed), len(organ), span / rows)
        self._span_s = span * repeats
        knots = np.arange(len(organ) + 1) * (span / rows)
        self._curve = CubicSpline(knots, np.concatenate([organ, organ[:1]]), axis=0, bc_type="periodic")
        self._speed_bound_mm_s = greatest_speed_mm_s(self._curve.x, self._curve.c)
        self._watched = read_only(watched)
        self._skin, self._alpha, self._beta_s = skin, vector3(np.asarray(alpha)), vector3(np.asarray(beta_s))
        self._delay_s = delay_s

    @property
    def name(self) -> str:
        """The skin's motion and the delay of the organ."""
        return f"surrogate(delay {self._delay_s:.3g} s of {self._skin.name})"

    @property
    def skin(self) -> RespiratoryMotion:
        """The motion that drives the organ, for a sensor to watch."""
        return self._skin

    def surrogate_mm(self, time_s: ArrayLike) -> FloatArray:
        """Displacement (...,) of the skin at ``time_s`` (...,) along the axis that is watched."""
        times = np.mod(np.asarray(time_s, dtype=np.float64), self._skin.span_s)
        return np.asarray(self._skin.displacement_mm(times) @ self._watched)

    def wall_mm(self, time_s: ArrayLike) -> FloatArray:
        """Way (...,) of the liver to inferior that ribs and skin follow at ``time_s`` (...,).

        The skin is taken to be watched where it rises most, by ``SKIN_RISE`` of that way.
        """
        return self.surrogate_mm(time_s) / SKIN_RISE

    @property
    def delay_s(self) -> float:
        """Time by which the organ follows the skin; below zero it leads."""
        return self._delay_s

    @property
    def period_s(self) -> float:
        """Mean period of the skin."""
        return self._skin.period_s

    @property
    def span_s(self) -> float:
        """Time after which skin and noise both repeat."""
        return self._span_s

    @property
    def speed_bound_mm_s(self) -> float:
        """Length of the vector of the greatest speeds along the three axes of any piece of the table."""
        return self._speed_bound_mm_s

    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        """Displacement (..., 3) of the organ at ``time_s`` (...,) from where it is with the skin at end-exhale."""
        return np.asarray(self._curve(np.mod(np.asarray(time_s, dtype=np.float64), self._span_s)))


def _smooth_noise(rng: np.random.Generator, count: int, step_s: float) -> FloatArray:
    """(count, 3) periodic noise of unit variance with a Gaussian correlation of ``NOISE_TIME_S``."""
    frequency = np.fft.rfftfreq(count, step_s)
    # exp(-t^2 / (2 T^2)) is the correlation whose spectrum is the square of this filter.
    shape = np.exp(-((np.pi * frequency * NOISE_TIME_S) ** 2))
    white = np.fft.rfft(rng.standard_normal((count, 3)), axis=0) * shape[:, None]
    full = np.exp(-2.0 * (np.pi * np.fft.fftfreq(count, step_s) * NOISE_TIME_S) ** 2)
    return np.asarray(np.fft.irfft(white, count, axis=0) / np.sqrt(full.mean()))
