"""Prediction along the straight line that fits the latest samples best."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.prediction import MotionPredictor, Prediction, check_horizon, check_positive, checked_sample

#: So many samples are kept of a window; those of a sensor that is quicker than any do not grow without end.
_MOST_SAMPLES = 2048
#: Samples within less than this share of the window tell no speed.
_LEAST_SPAN = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class SampleWindow:
    """The samples within the window, in the order of time: ``time_s`` (m,), ``position_mm`` (m, 3)."""

    time_s: FloatArray
    position_mm: FloatArray


@dataclass(frozen=True, slots=True)
class LinearPredictor(MotionPredictor[SampleWindow]):
    """Least-squares line through the samples of a short window, continued.

    With the times tau_i of m samples about their mean and ``S = sum tau_i^2``, the prediction at h about the same
    mean is ``sum w_i x_i`` with ``w_i = 1/m + h tau_i / S``. For a target of random constant acceleration a,
    measured with independent noise, its error on each axis has the variance ``noise^2 sum w_i^2 + a^2 (h^2 / 2 -
    sum w_i tau_i^2 / 2)^2``, which is what is stated. It is exact on a line.

    Attributes:
        window_s: samples older than this before the latest are forgotten.
        noise_mm: standard deviation of a measurement on each axis.
        acceleration_mm_s2: standard deviation of the acceleration on each axis.
    """

    window_s: float = 0.4
    noise_mm: float = 0.35
    acceleration_mm_s2: float = 5.0

    def __post_init__(self) -> None:
        check_positive(
            "linear predictor",
            window_s=self.window_s,
            noise_mm=self.noise_mm,
            acceleration_mm_s2=self.acceleration_mm_s2,
        )
        if self.window_s > 10.0:
            raise MotionError(f"window_s of the linear predictor must be at most 10 s, not {self.window_s}")

    @property
    def name(self) -> str:
        """Window."""
        return f"linear({self.window_s:g} s)"

    def start(self) -> SampleWindow:
        """No sample."""
        return SampleWindow(read_only(np.zeros(0)), read_only(np.zeros((0, 3))))

    def observe(self, state: SampleWindow, time_s: float, position_mm: ArrayLike) -> SampleWindow:
        """The window moved on to the new sample."""
        position = checked_sample(time_s, position_mm)
        if len(state.time_s) and time_s <= state.time_s[-1]:
            return state
        # A thousandth of a window of slack keeps the number of samples steady where the steps are rounded.
        keep = state.time_s >= time_s - 1.001 * self.window_s
        keep[: 1 - _MOST_SAMPLES] = False
        return SampleWindow(
            read_only(np.append(state.time_s[keep], time_s)),
            read_only(np.vstack([state.position_mm[keep], position])),
        )

    def latest_s(self, state: SampleWindow) -> float | None:
        """Time of the latest sample."""
        return float(state.time_s[-1]) if len(state.time_s) else None

    def ready(self, state: SampleWindow, time_s: float) -> bool:
        """While the window holds two samples, apart enough to tell a speed."""
        if len(state.time_s) < 2 or time_s < state.time_s[-1]:
            return False
        return bool(state.time_s[-1] - state.time_s[0] > _LEAST_SPAN * self.window_s)

    def predict(self, state: SampleWindow, time_s: float) -> Prediction:
        """The continued line."""
        check_horizon(time_s, self.latest_s(state), self.ready(state, time_s))
        middle = float(state.time_s.mean())
        tau, ahead = state.time_s - middle, time_s - middle
        weights = 1.0 / len(tau) + ahead * tau / (tau @ tau)
        bend = 0.5 * ahead**2 - 0.5 * float(weights @ tau**2)
        variance = self.noise_mm**2 * float(weights @ weights) + (self.acceleration_mm_s2 * bend) ** 2
        return Prediction(time_s, weights @ state.position_mm, variance * np.eye(3))
