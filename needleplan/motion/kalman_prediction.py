"""Prediction by a Kalman filter of constant velocity or constant acceleration."""

from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray
from needleplan.motion.kalman_filter import FilterState, mixture, moved_on, observed, started
from needleplan.motion.prediction import MotionPredictor, Prediction, check_horizon, check_positive, checked_sample

#: Standard deviations of velocity (mm/s) and acceleration (mm/s^2) on each axis at the first sample: the greatest
#: speed of a Lujan curve of 15 mm and n = 3 is 18 mm/s, its greatest acceleration 56 mm/s^2.
_START_SPREAD = (20.0, 50.0)


@dataclass(frozen=True, slots=True)
class KinematicKalmanPredictor(MotionPredictor[FilterState]):
    """Position and its derivatives on each axis, of which the highest wanders.

    Of order 2 the velocity is constant but for a white-noise acceleration, of order 3 the acceleration but for a
    white-noise jerk (Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and Navigation, 2001,
    section 6.2); exact for steps of any length. ``drift`` and ``noise_mm`` together set the gains; the size of
    the stated covariance is learned from the samples (:mod:`needleplan.motion.kalman_filter`).

    Attributes:
        order: 2 or 3 states on each axis.
        drift: standard deviation by which the highest derivative wanders within a second: mm/s of order 2, mm/s^2
        of
            order 3.
        noise_mm: standard deviation of a measurement on each axis; the first guess of what is learned.
        memory_s: time after which a sample counts 1/e in the learned noise.
    """

    order: int = 2
    drift: float = 15.0
    noise_mm: float = 0.3
    memory_s: float = 30.0

    def __post_init__(self) -> None:
        if self.order not in (2, 3):
            raise MotionError(f"the order of a kinematic Kalman predictor must be 2 or 3, not {self.order}")
        check_positive(
            "kinematic Kalman predictor", drift=self.drift, noise_mm=self.noise_mm, memory_s=self.memory_s
        )

    @property
    def name(self) -> str:
        """Model and parameters."""
        kept = "velocity" if self.order == 2 else "acceleration"
        return f"kalman(constant {kept}, drift {self.drift:g}, noise {self.noise_mm:g} mm)"

    @property
    def _row(self) -> FloatArray:
        return np.eye(self.order)[0]

    def start(self) -> FilterState:
        """No sample."""
        spread = np.array((self.noise_mm, *_START_SPREAD)[: self.order]) / self.noise_mm
        return started(np.diag(spread**2)[None], self.noise_mm)

    def observe(self, state: FilterState, time_s: float, position_mm: ArrayLike) -> FilterState:
        """One step of the filter."""
        position = checked_sample(time_s, position_mm)
        if state.time_s is None:
            mean = np.zeros((1, self.order, 3))
            mean[0, 0] = position
            return FilterState(
                float(time_s), 1, mean, state.covariance, state.noise_mm2, state.weight_samples, state.log_weight
            )
        if time_s <= state.time_s:
            return state
        mean, covariance = moved_on(state, *self._model(time_s - state.time_s))
        return observed(state, time_s, position, mean, covariance, self._row, self.memory_s, self.memory_s)

    def latest_s(self, state: FilterState) -> float | None:
        """Time of the latest sample."""
        return state.time_s

    def ready(self, state: FilterState, time_s: float) -> bool:
        """Once there are as many samples as states on an axis."""
        return state.time_s is not None and state.count >= self.order and time_s >= state.time_s

    def predict(self, state: FilterState, time_s: float) -> Prediction:
        """The filtered state moved on."""
        horizon = check_horizon(time_s, state.time_s, self.ready(state, time_s))
        transition, process = self._model(horizon)
        return mixture(state, time_s, transition[:, 0], process[:, 0, 0])

    def _model(self, passed_s: float) -> tuple[FloatArray, FloatArray]:
        transition, process = wandering_derivative(passed_s, self.order)
        return transition[None], process[None] * (self.drift / self.noise_mm) ** 2


def wandering_derivative(passed_s: float, order: int) -> tuple[FloatArray, FloatArray]:
    """Transition and process noise (n, n) of a position and its derivatives, the highest of which wanders.

    With unit spectral density, by integration of the noise: ``F_ij = t^(j-i) / (j-i)!`` and
    ``Q_ij = t^(2n-1-i-j) / ((2n-1-i-j) (n-1-i)! (n-1-j)!)``, i and j from 0.

    Args:
        passed_s: time step t.
        order: number of states n.
    """
    n, t = order, passed_s
    transition, process = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if j >= i:
                transition[i, j] = t ** (j - i) / factorial(j - i)
            power = 2 * n - 1 - i - j
            process[i, j] = t**power / (power * factorial(n - 1 - i) * factorial(n - 1 - j))
    return transition, process
