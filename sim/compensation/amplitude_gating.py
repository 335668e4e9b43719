"""Gating by amplitude: the needle advances while the target is near end-exhale."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from needleplan.errors import MotionError
from needleplan.motion.gating import AmplitudeGate
from sim.compensation.contract import CompensationStatus, Decision, MotionCompensation, SensorSample
from sim.compensation.target_view import TargetKnowledge, TargetView


@dataclass(frozen=True, slots=True, eq=False)
class GateState:
    """What has been seen, and whether the gate is open."""

    known: TargetKnowledge
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class AmplitudeGating(MotionCompensation[GateState]):
    """Open while the target, as far as is known, lies within a tolerance of end-exhale.

    The gate closes beyond the tolerance and opens again ``hysteresis_mm`` further in, so that noise at its edge
    does not make the needle stutter. Without noise the share of open time on a symmetric breath is the mean of the
    shares of the two tolerances. The latency shifts the window and keeps its length; a predictor in ``view`` takes
    the shift away.

    Attributes:
        gate: the tolerance.
        hysteresis_mm: from 0 to below the tolerance.
        view: how samples become knowledge of the present.
    """

    gate: AmplitudeGate = field(default_factory=AmplitudeGate)
    hysteresis_mm: float = 0.5
    view: TargetView = field(default_factory=TargetView)

    def __post_init__(self) -> None:
        if not 0.0 <= self.hysteresis_mm < self.gate.tolerance_mm:
            raise MotionError(
                f"the hysteresis of a gate of {self.gate.tolerance_mm:g} mm must be at least 0 and smaller than "
                f"that, not {self.hysteresis_mm:g} mm"
            )

    @property
    def name(self) -> str:
        """Tolerance and predictor."""
        return f"amplitude gating({self.gate.tolerance_mm:g} mm; {self.view.predictor.name})"

    def start(self) -> GateState:
        """Closed."""
        return GateState(self.view.start())

    def step(self, state: GateState, time_s: float, samples: Sequence[SensorSample]) -> tuple[GateState, Decision]:
        """Open or closed by where the target is now."""
        known = self.view.seen(state.known, time_s, samples)
        fault = self.view.fault(known, time_s)
        if fault is not None:
            status = CompensationStatus.LEARNING if known.latest is None else CompensationStatus.SENSOR_LOST
            return GateState(known), Decision(False, np.zeros(3), status, fault)
        if not self.view.ready(known, time_s):
            reason = "the predictor has seen too few samples"
            return GateState(known), Decision(False, np.zeros(3), CompensationStatus.LEARNING, reason)
        present = self.view.predictor.predict(known.learned, time_s).mean_mm
        limit = self.gate if state.is_open else AmplitudeGate(self.gate.tolerance_mm - self.hysteresis_mm)
        is_open = bool(limit.is_open(present))
        status = CompensationStatus.OPEN if is_open else CompensationStatus.CLOSED
        reason = (
            f"the target is {np.linalg.norm(present):.1f} mm from end-exhale, "
            f"{'within' if is_open else 'not within'} {limit.tolerance_mm:g} mm"
        )
        return GateState(known, is_open), Decision(is_open, np.zeros(3), status, reason)
