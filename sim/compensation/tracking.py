"""Tracking: the guide follows the target where it is predicted to be."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from needleplan.frames import FloatArray, read_only
from needleplan.motion.harmonic_prediction import HarmonicKalmanPredictor
from sim.compensation.contract import (
    CompensationStatus,
    Decision,
    MotionCompensation,
    SensorSample,
    check_within,
)
from sim.compensation.target_view import TargetKnowledge, TargetView


@dataclass(frozen=True, slots=True, eq=False)
class TrackingState:
    """What has been seen, and how the guide moves.

    Attributes:
        known: what has been seen.
        time_s: time of the last step; None before the first.
        aim_mm: (3,) where the guide aims.
        speed_mm_s: (3,) velocity of the aim.
        is_open: True while the needle may advance.
    """

    known: TargetKnowledge
    time_s: float | None
    aim_mm: FloatArray
    speed_mm_s: FloatArray
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Tracking(MotionCompensation[TrackingState]):
    """The aim follows the predicted displacement, no faster than the robot can, and the needle advances meanwhile.

    The predictor answers for ``lag_s`` after now, the time that the robot takes to carry out what it is told. The
    aim runs after that prediction with bounded speed and acceleration, matching its velocity, and brakes in time.
    The needle stops where the root mean square error, the stated one of the prediction and the distance by which
    the aim is behind together, exceeds ``error_limit_mm``, and goes on below ``resume_share`` of it. Without a
    fresh sample the aim brakes to a stop and stays.

    Attributes:
        error_limit_mm: greatest expected error with an advancing needle.
        resume_share: share of the limit below which a stopped needle goes on, above 0, at most 1.
        lag_s: time from a command to its execution.
        maximum_speed_mm_s: greatest speed of the aim.
        maximum_acceleration_mm_s2: greatest acceleration of the aim.
        view: how samples become knowledge; its predictor is the one that counts.
    """

    error_limit_mm: float = 2.5
    resume_share: float = 0.8
    lag_s: float = 0.0
    maximum_speed_mm_s: float = 50.0
    maximum_acceleration_mm_s2: float = 500.0
    view: TargetView = field(default_factory=lambda: TargetView(HarmonicKalmanPredictor()))

    def __post_init__(self) -> None:
        check_within(
            "tracking",
            {
                "error_limit_mm": (self.error_limit_mm, 0.01, 50.0),
                "resume_share": (self.resume_share, 0.01, 1.0),
                "lag_s": (self.lag_s, 0.0, 2.0),
                "maximum_speed_mm_s": (self.maximum_speed_mm_s, 0.1, 5000.0),
                "maximum_acceleration_mm_s2": (self.maximum_acceleration_mm_s2, 0.1, 1e6),
            },
        )

    @property
    def name(self) -> str:
        """Predictor and limit."""
        return f"tracking({self.view.predictor.name}; {self.error_limit_mm:g} mm)"

    def start(self) -> TrackingState:
        """At end-exhale, at rest."""
        rest = read_only(np.zeros(3))
        return TrackingState(self.view.start(), None, rest, rest)

    def step(
        self, state: TrackingState, time_s: float, samples: Sequence[SensorSample]
    ) -> tuple[TrackingState, Decision]:
        """Move the aim on, and decide whether the needle may advance."""
        known = self.view.seen(state.known, time_s, samples)
        passed = 0.0 if state.time_s is None else time_s - state.time_s
        fault = self.view.fault(known, time_s)
        if fault is not None:
            status = CompensationStatus.LEARNING if known.latest is None else CompensationStatus.SENSOR_LOST
            return self._stopped(state, known, time_s, passed, status, fault)
        if not self.view.ready(known, time_s):
            reason = "the predictor has seen too few samples"
            return self._stopped(state, known, time_s, passed, CompensationStatus.LEARNING, reason)
        predictor = self.view.predictor
        expected = predictor.predict(known.learned, time_s + self.lag_s)
        speed = state.speed_mm_s
        if passed > 0.0:
            # Where the target goes within the next step of the same length tells its velocity.
            later = predictor.predict(known.learned, time_s + self.lag_s + passed).mean_mm
            speed = self._speed(state, expected.mean_mm, (later - expected.mean_mm) / passed, passed)
        aim = state.aim_mm + speed * passed
        behind = float(np.linalg.norm(expected.mean_mm - aim))
        error = float(np.hypot(expected.standard_error_mm, behind))
        is_open = error <= self.error_limit_mm * (1.0 if state.is_open else self.resume_share)
        status = CompensationStatus.OPEN if is_open else CompensationStatus.UNCERTAIN
        reason = (
            f"the prediction is good to {expected.standard_error_mm:.1f} mm and the guide {behind:.1f} mm behind "
            f"it, the limit is {self.error_limit_mm:g} mm"
        )
        after = TrackingState(known, time_s, read_only(aim), read_only(speed), is_open)
        return after, Decision(is_open, aim, status, reason)

    def _speed(
        self, state: TrackingState, target_mm: FloatArray, target_mm_s: FloatArray, passed_s: float
    ) -> FloatArray:
        """(3,) velocity of the aim for the next step."""
        short = target_mm - state.aim_mm
        distance = float(np.linalg.norm(short))
        wanted = np.array(target_mm_s)
        if distance > 0.0:
            # The distance is closed within a step where that is slow enough to brake from: with the steps finite, a
            # braking to rest over the distance d begins at v with v^2 / (2 a) + v dt = d.
            reach = self.maximum_acceleration_mm_s2 * passed_s
            brake = np.sqrt(reach**2 + 2.0 * self.maximum_acceleration_mm_s2 * distance) - reach
            wanted = wanted + short * min(1.0 / passed_s, brake / distance)
        wanted = _shortened(wanted, self.maximum_speed_mm_s)
        change = _shortened(wanted - state.speed_mm_s, self.maximum_acceleration_mm_s2 * passed_s)
        return np.asarray(state.speed_mm_s + change)

    def _stopped(
        self,
        state: TrackingState,
        known: TargetKnowledge,
        time_s: float,
        passed_s: float,
        status: CompensationStatus,
        reason: str,
    ) -> tuple[TrackingState, Decision]:
        slower = _shortened(state.speed_mm_s, self.maximum_acceleration_mm_s2 * passed_s)
        speed = state.speed_mm_s - slower
        aim = state.aim_mm + speed * passed_s
        return TrackingState(known, time_s, read_only(aim), read_only(speed)), Decision(False, aim, status, reason)


def _shortened(vector: FloatArray, longest: float) -> FloatArray:
    """The vector, no longer than ``longest``."""
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else np.asarray(vector * (longest / length))
