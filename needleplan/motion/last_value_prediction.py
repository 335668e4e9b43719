"""No prediction: the target is taken to be where it was last seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.frames import FloatArray, read_only
from needleplan.motion.prediction import MotionPredictor, Prediction, check_horizon, check_positive, checked_sample


@dataclass(frozen=True, slots=True, eq=False)
class LatestSample:
    """The latest sample: ``time_s`` (None before the first) and ``position_mm`` (3,)."""

    time_s: float | None
    position_mm: FloatArray


@dataclass(frozen=True, slots=True)
class LastValuePredictor(MotionPredictor[LatestSample]):
    """The latest sample, whatever the time asked for: what every predictor is measured against.

    The error of a target that moves at a random constant velocity v is v h after the time h, so the covariance on
    each axis is ``noise_mm^2 + (speed_mm_s h)^2``.

    Attributes:
        noise_mm: standard deviation of a measurement on each axis.
        speed_mm_s: standard deviation of the velocity on each axis.
    """

    noise_mm: float = 0.6
    speed_mm_s: float = 3.0

    def __post_init__(self) -> None:
        check_positive("last-value predictor", noise_mm=self.noise_mm, speed_mm_s=self.speed_mm_s)

    @property
    def name(self) -> str:
        """``last value``."""
        return "last value"

    def start(self) -> LatestSample:
        """No sample."""
        return LatestSample(None, read_only(np.zeros(3)))

    def observe(self, state: LatestSample, time_s: float, position_mm: ArrayLike) -> LatestSample:
        """The later of the two samples."""
        position = checked_sample(time_s, position_mm)
        if state.time_s is not None and time_s <= state.time_s:
            return state
        return LatestSample(float(time_s), read_only(position))

    def latest_s(self, state: LatestSample) -> float | None:
        """Time of the latest sample."""
        return state.time_s

    def ready(self, state: LatestSample, time_s: float) -> bool:
        """After the first sample."""
        return state.time_s is not None and time_s >= state.time_s

    def predict(self, state: LatestSample, time_s: float) -> Prediction:
        """The latest sample."""
        horizon = check_horizon(time_s, state.time_s, self.ready(state, time_s))
        variance = self.noise_mm**2 + (self.speed_mm_s * horizon) ** 2
        return Prediction(time_s, state.position_mm, variance * np.eye(3))
