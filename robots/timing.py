"""Time along a path: rest to rest inside the limits of speed and acceleration."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only

#: Peaks of the quintic 10τ³ − 15τ⁴ + 6τ⁵: speed 15/8 at τ = 1/2, acceleration 10/√3 at τ = 1/2 ± 1/(2√3).
QUINTIC_PEAK_SPEED = 1.875
QUINTIC_PEAK_ACCELERATION = 10.0 / np.sqrt(3.0)


@dataclass(frozen=True, slots=True, eq=False)
class TimedPath:
    """Positions over time.

    Attributes:
        time_s: (k,) rising from 0.
        positions: (k, d) joint positions.
    """

    time_s: FloatArray
    positions: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_s", read_only(self.time_s))
        object.__setattr__(self, "positions", read_only(self.positions))

    @property
    def duration_s(self) -> float:
        """Time from the first sample to the last."""
        return float(self.time_s[-1])

    def reversed(self) -> "TimedPath":
        """The same path the other way."""
        return TimedPath(self.time_s[-1] - self.time_s[::-1], self.positions[::-1])

    def then(self, other: "TimedPath") -> "TimedPath":
        """This path and after it ``other``, which begins where this one ends."""
        if not np.allclose(self.positions[-1], other.positions[0], atol=1e-9):
            raise OptionError("a path can only go on from where the one before it ends")
        time = np.concatenate([self.time_s, self.time_s[-1] + other.time_s[1:]])
        return TimedPath(time, np.concatenate([self.positions, other.positions[1:]]))


def quintic(tau: ArrayLike) -> FloatArray:
    """10τ³ − 15τ⁴ + 6τ⁵, from 0 to 1 with speed and acceleration zero at both ends."""
    t = np.asarray(tau, dtype=np.float64)
    return np.asarray(t**3 * (10.0 + t * (6.0 * t - 15.0)))


def _times(duration_s: float, sample_s: float) -> FloatArray:
    return np.linspace(0.0, duration_s, max(2, int(np.ceil(duration_s / sample_s)) + 1))


def straight(
    start: ArrayLike, end: ArrayLike, speed: ArrayLike, acceleration: ArrayLike, sample_s: float
) -> TimedPath:
    """A straight line in joint space with quintic timing, as quick as the limits allow.

    Args:
        start: (d,) positions.
        end: (d,) positions.
        speed: (d,) greatest speeds.
        acceleration: (d,) greatest accelerations.
        sample_s: greatest time between samples.
    """
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    speeds, accelerations = np.asarray(speed, dtype=np.float64), np.asarray(acceleration, dtype=np.float64)
    way = np.abs(last - first)
    duration = max(
        float((QUINTIC_PEAK_SPEED * way / speeds).max()),
        float(np.sqrt(QUINTIC_PEAK_ACCELERATION * way / accelerations).max()),
        sample_s,
    )
    time = _times(duration, sample_s)
    return TimedPath(time, first + quintic(time / duration)[:, None] * (last - first))


def along(knots: ArrayLike, speed: ArrayLike, acceleration: ArrayLike, sample_s: float) -> TimedPath:
    """A smooth curve through ``knots`` (k, d) with quintic timing, as quick as the limits allow.

    The curve is the cubic spline over equally spaced parameters, clamped to no jump of slope. With the parameter
    u(τ) the joint speed is q'u' / T and its acceleration (q''u'² + q'u'') / T², so the least duration T follows
    from the peaks of both at T = 1.
    """
    from scipy.interpolate import CubicSpline

    points = np.asarray(knots, dtype=np.float64)
    curve = CubicSpline(np.linspace(0.0, 1.0, len(points)), points)
    tau = np.linspace(0.0, 1.0, 20 * len(points) + 1)[:, None]
    u, du = quintic(tau[:, 0]), 30 * tau**2 * (1 - tau) ** 2
    ddu = 60 * tau * (1 - tau) * (1 - 2 * tau)
    slope, bend = curve(u, 1), curve(u, 2)
    peak_speed = np.abs(slope * du).max(axis=0) / speed
    peak_acceleration = np.abs(bend * du**2 + slope * ddu).max(axis=0) / acceleration
    # 1 % for what lies between the samples of the peaks.
    duration = 1.01 * max(float(peak_speed.max()), float(np.sqrt(peak_acceleration.max())), sample_s)
    time = _times(duration, sample_s)
    return TimedPath(time, curve(quintic(time / duration)))


def ramped(distance: float, speed: float, acceleration: float, sample_s: float) -> TimedPath:
    """A move by ``distance`` > 0 at constant ``speed`` between two ramps; positions (k, 1) from 0."""
    if distance <= 0 or speed <= 0 or acceleration <= 0:
        raise OptionError("a move of the driver needs distance, speed and acceleration greater than zero")
    peak = min(speed, float(np.sqrt(distance * acceleration)))
    ramp = peak / acceleration
    duration = distance / peak + ramp
    time = _times(duration, sample_s)
    rising = 0.5 * acceleration * np.minimum(time, ramp) ** 2
    cruising = peak * np.clip(time - ramp, 0.0, duration - 2 * ramp)
    rest = np.clip(time - (duration - ramp), 0.0, ramp)
    falling = peak * rest - 0.5 * acceleration * rest**2
    position = rising + cruising + falling
    position[-1] = distance
    return TimedPath(time, position[:, None])
