"""Gating by phase: the needle advances in a part of the breath."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from needleplan.errors import MotionError
from needleplan.motion.harmonic_prediction import BreathPhase, HarmonicKalmanPredictor
from sim.compensation.contract import (
    CompensationStatus,
    Decision,
    MotionCompensation,
    SensorSample,
    check_within,
)
from sim.compensation.target_view import TargetKnowledge, TargetView


@dataclass(frozen=True, slots=True, eq=False)
class PhaseState:
    """What has been seen, since when, and whether the gate is open."""

    known: TargetKnowledge
    first_s: float | None = None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class PhaseGating(MotionCompensation[PhaseState]):
    """Open between two phases of the breath, 0 and 1 being the ends of inhalation, wherever the target is.

    The phase is that of the harmonic filter at the present moment, so the latency is bridged, and only past samples
    count. A breath that rises and falls evenly is open for ``last - first`` of the time. The gate opens only once a
    breath is recognised: it swings by enough and its phase is known well.

    Attributes:
        first: phase at which the gate opens, above 0.
        last: phase at which it closes, below 1.
        hysteresis: the gate opens by this share of a breath later and never earlier, so that an estimate that jumps
            about the edge does not open it twice.
        least_swing_mm: a breath that swings less is not recognised.
        phase_error: greatest standard deviation of the phase, as a share of a breath.
        learning_s: nothing is believed before samples span this time.
        predictor: the harmonic filter.
        maximum_age_s: as in :class:`~sim.compensation.target_view.TargetView`.
        frozen_s: as there.
    """

    first: float = 0.35
    last: float = 0.65
    hysteresis: float = 0.02
    least_swing_mm: float = 1.0
    phase_error: float = 0.1
    learning_s: float = 12.0
    predictor: HarmonicKalmanPredictor = field(default_factory=HarmonicKalmanPredictor)
    maximum_age_s: float = 0.7
    frozen_s: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.first < self.last < 1.0:
            raise MotionError(
                f"a phase gate must open and close in this order within (0, 1), not at {self.first:g} and "
                f"{self.last:g}"
            )
        check_within(
            "the phase gate",
            {
                "hysteresis": (self.hysteresis, 0.0, 0.5 * (self.last - self.first)),
                "least_swing_mm": (self.least_swing_mm, 0.01, 100.0),
                "phase_error": (self.phase_error, 0.005, 0.5),
                "learning_s": (self.learning_s, 0.0, 120.0),
            },
        )
        _ = self.view

    @property
    def view(self) -> TargetView:
        """How samples become knowledge."""
        return TargetView(self.predictor, self.maximum_age_s, self.frozen_s)

    @property
    def name(self) -> str:
        """Window."""
        return f"phase gating({self.first:g} to {self.last:g})"

    def start(self) -> PhaseState:
        """Closed."""
        return PhaseState(self.view.start())

    def step(
        self, state: PhaseState, time_s: float, samples: Sequence[SensorSample]
    ) -> tuple[PhaseState, Decision]:
        """Open or closed by the phase at the present moment."""
        view = self.view
        known = view.seen(state.known, time_s, samples)
        since = state.first_s
        if since is None and known.latest is not None:
            since = known.latest.time_s
        fault = view.fault(known, time_s)
        if fault is not None:
            status = CompensationStatus.LEARNING if known.latest is None else CompensationStatus.SENSOR_LOST
            return PhaseState(known, since), Decision(False, np.zeros(3), status, fault)
        phase = self.predictor.phase(known.learned, time_s) if view.ready(known, time_s) else None
        doubt = self._doubt(phase, time_s - (time_s if since is None else since))
        if doubt is not None or phase is None:
            decision = Decision(False, np.zeros(3), CompensationStatus.LEARNING, doubt or "")
            return PhaseState(known, since), decision
        opens = self.first if state.is_open else self.first + self.hysteresis
        is_open = opens <= phase.phase <= self.last
        status = CompensationStatus.OPEN if is_open else CompensationStatus.CLOSED
        reason = f"{phase.phase:.0%} of a breath of {phase.period_s:.1f} s has passed since the end of inhalation"
        return PhaseState(known, since, is_open), Decision(is_open, np.zeros(3), status, reason)

    def _doubt(self, phase: BreathPhase | None, seen_s: float) -> str | None:
        if phase is None or seen_s < self.learning_s:
            return f"the breath has been watched for {seen_s:.1f} s of {self.learning_s:g} s"
        if phase.swing_mm < self.least_swing_mm:
            return f"the target swings by {phase.swing_mm:.2f} mm, too little to tell the phase of a breath"
        if phase.phase_error > self.phase_error:
            return f"the phase is uncertain by {phase.phase_error:.0%} of a breath"
        return None
