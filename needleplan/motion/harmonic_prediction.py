"""Prediction of a periodic motion by a bank of Kalman filters, one for each period that breathing may have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray
from needleplan.motion.kalman_filter import FilterState, mixture, moved_on, observed, started
from needleplan.motion.prediction import MotionPredictor, Prediction, check_horizon, check_positive, checked_sample

#: Places within a period at which the ends of inhalation are looked for.
_PLACES = 64
#: Periods less probable than this say nothing about the phase.
_LEAST_PROBABILITY = 0.02


@dataclass(frozen=True, slots=True)
class BreathPhase:
    """Where in its breath the motion is expected to be.

    Attributes:
        phase: in [0, 1): 0 at the end of inhalation, near 0.5 at end-exhale, growing evenly between two ends of
            inhalation (the convention of ``needleplan.motion.gating.breathing_phase``).
        phase_error: standard deviation of that over the periods that are thought possible, around the circle.
        period_s: expected length of the breath.
        swing_mm: how much farther from end-exhale the end of inhalation lies than the nearest point of the breath.
    """

    phase: float
    phase_error: float
    period_s: float
    swing_mm: float


@dataclass(frozen=True, slots=True)
class HarmonicKalmanPredictor(MotionPredictor[FilterState]):
    """A level and harmonics of the breath on each axis, for each of several periods, weighed by their success.

    The state is a level that wanders and, for the harmonic k, a pair that turns by ``2 pi k / T`` a second and
    wanders as well (``1 / k`` as much): a linear model whose discretisation is exact for steps of any length.
    Lujan's curve with exponent n is exactly a level and n harmonics. The periods T are spaced evenly in their
    logarithm.

    Attributes:
        harmonics: number of harmonics, 1 to 6.
        shortest_s: shortest period.
        longest_s: longest period.
        period_count: number of periods.
        amplitude_drift: standard deviation in mm by which the first harmonic wanders within a second.
        level_drift: the same of the level.
        noise_mm: standard deviation of a measurement on each axis; the first guess of what is learned.
        memory_s: time after which a sample counts 1/e in the learned noise.
        evidence_s: time after which a sample counts 1/e in the probabilities of the periods.
    """

    harmonics: int = 3
    shortest_s: float = 2.0
    longest_s: float = 10.0
    period_count: int = 24
    amplitude_drift: float = 3.0
    level_drift: float = 2.0
    noise_mm: float = 0.3
    memory_s: float = 30.0
    evidence_s: float = 15.0

    def __post_init__(self) -> None:
        check_positive(
            "harmonic predictor",
            shortest_s=self.shortest_s,
            longest_s=self.longest_s,
            amplitude_drift=self.amplitude_drift,
            level_drift=self.level_drift,
            noise_mm=self.noise_mm,
            memory_s=self.memory_s,
            evidence_s=self.evidence_s,
        )
        if not 1 <= self.harmonics <= 6:
            raise MotionError(f"the harmonic predictor takes 1 to 6 harmonics, not {self.harmonics}")
        if not 1 <= self.period_count <= 200:
            raise MotionError(f"the harmonic predictor takes 1 to 200 periods, not {self.period_count}")
        if self.shortest_s > self.longest_s:
            raise MotionError(
                f"the shortest period of {self.shortest_s:g} s is longer than the longest of {self.longest_s:g} s"
            )

    @property
    def name(self) -> str:
        """Model and parameters."""
        return (
            f"harmonic kalman({self.harmonics} harmonics, {self.period_count} periods of {self.shortest_s:g} to "
            f"{self.longest_s:g} s)"
        )

    @property
    def periods_s(self) -> FloatArray:
        """(g,) the periods."""
        steps = np.arange(self.period_count) / max(1, self.period_count - 1)
        return np.asarray(self.shortest_s * (self.longest_s / self.shortest_s) ** steps)

    @property
    def _row(self) -> FloatArray:
        row = np.zeros(1 + 2 * self.harmonics)
        row[0] = row[1::2] = 1.0
        return row

    def start(self) -> FilterState:
        """No sample; amplitudes of 15 mm / k, the peak of a common breath, are within one standard deviation."""
        spread = 15.0 / self.noise_mm / np.concatenate([[1.0], np.repeat(np.arange(1, self.harmonics + 1), 2)])
        return started(np.tile(np.diag(spread**2), (self.period_count, 1, 1)), self.noise_mm)

    def observe(self, state: FilterState, time_s: float, position_mm: ArrayLike) -> FilterState:
        """One step of every filter."""
        position = checked_sample(time_s, position_mm)
        if state.time_s is None:
            # The prior lies about the first sample, wherever the origin is; the sample itself says nothing more.
            mean = np.zeros((self.period_count, 1 + 2 * self.harmonics, 3))
            mean[:, 0] = position
            return observed(
                state, time_s, position, mean, state.covariance, self._row, self.memory_s, self.evidence_s
            )
        if time_s <= state.time_s:
            return state
        passed = time_s - state.time_s
        mean, covariance = moved_on(state, self.transition(passed), self.process_noise(passed))
        return observed(state, time_s, position, mean, covariance, self._row, self.memory_s, self.evidence_s)

    def latest_s(self, state: FilterState) -> float | None:
        """Time of the latest sample."""
        return state.time_s

    def ready(self, state: FilterState, time_s: float) -> bool:
        """From the third sample on; until a breath has passed the stated covariance is large."""
        return state.time_s is not None and state.count >= 3 and time_s >= state.time_s

    def predict(self, state: FilterState, time_s: float) -> Prediction:
        """Mean and covariance over all periods."""
        horizon = check_horizon(time_s, state.time_s, self.ready(state, time_s))
        row = self._row
        added = row @ self.process_noise(horizon) @ row
        return mixture(state, time_s, row @ self.transition(horizon), added)

    def phase(self, state: FilterState, time_s: float) -> BreathPhase:
        """Where in its breath the motion is expected to be at ``time_s``, over all probable periods.

        An end of inhalation is the place farthest from zero displacement within a stretch of the expected motion
        that lies beyond half of its swing. So a period of two breaths, which explains the samples as well, gives
        the same phase as the period of one.

        Raises:
            MotionError: as ``predict``.
        """
        horizon = check_horizon(time_s, state.time_s, self.ready(state, time_s))
        weight = np.where(state.weight >= _LEAST_PROBABILITY, state.weight, 0.0)
        weight /= weight.sum()
        place = np.arange(_PLACES) / _PLACES
        number = np.arange(1, self.harmonics + 1)[:, None]
        circle, period, swing = 0.0 + 0.0j, 0.0, 0.0
        for k in np.flatnonzero(weight):
            turns = 2.0 * np.pi * number * (place + horizon / self.periods_s[k])
            mean = state.mean[k]
            breath = mean[0] + np.cos(turns).T @ mean[1::2] + np.sin(turns).T @ mean[2::2]
            size = np.linalg.norm(breath, axis=1)
            peaks = _peaks(size)
            ahead, behind = float(peaks.min()), float(peaks.max()) - 1.0
            circle += weight[k] * np.exp(2j * np.pi * -behind / (ahead - behind))
            period += weight[k] * self.periods_s[k] * (ahead - behind)
            swing += weight[k] * float(np.ptp(size))
        # The circular standard deviation (Mardia and Jupp, Directional Statistics, 2000, section 2.3.3).
        spread = np.sqrt(-2.0 * np.log(min(1.0, max(abs(circle), 1e-12))))
        return BreathPhase(
            phase=float(np.mod(np.angle(circle) / (2.0 * np.pi), 1.0)),
            phase_error=float(spread / (2.0 * np.pi)),
            period_s=float(period),
            swing_mm=float(swing),
        )

    def transition(self, passed_s: float) -> FloatArray:
        """(g, n, n) turn of the harmonics over a time; the level stays."""
        size = 1 + 2 * self.harmonics
        result = np.zeros((self.period_count, size, size))
        result[:, 0, 0] = 1.0
        number = np.arange(1, self.harmonics + 1)
        angle = 2.0 * np.pi * passed_s * number / self.periods_s[:, None]
        first, second = 2 * number - 1, 2 * number
        result[:, first, first] = result[:, second, second] = np.cos(angle)
        result[:, first, second], result[:, second, first] = np.sin(angle), -np.sin(angle)
        return result

    def process_noise(self, passed_s: float) -> FloatArray:
        """(1, n, n) covariance of what wanders over a time, in units of the noise variance.

        A pair wanders alike in both of its directions, so turning leaves the covariance as it is.
        """
        drift = self.amplitude_drift / np.repeat(np.arange(1, self.harmonics + 1), 2)
        return np.diag((np.append(self.level_drift, drift) / self.noise_mm) ** 2 * passed_s)[None]


def _peaks(size: FloatArray) -> FloatArray:
    """Places in (0, 1] of the peaks of a closed curve, one for each stretch that lies beyond half of its swing."""
    high = size > 0.5 * (size.min() + size.max())
    if not high.any():
        return np.ones(1)
    # The curve is cut where it is low, so that no stretch is torn.
    start = int(np.argmin(high))
    rolled, above = np.roll(size, -start), np.roll(high, -start)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]).astype(int)))
    found = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        top = (int(first + np.argmax(rolled[first:last])) + start) % len(size)
        # A parabola through the highest place and its neighbours finds the top between them.
        before, at, after = size[top - 1], size[top], size[(top + 1) % len(size)]
        bend = before - 2.0 * at + after
        shift = 0.5 * (before - after) / bend if bend < 0.0 else 0.0
        found.append((top + shift) / len(size) % 1.0 or 1.0)
    return np.array(found)
