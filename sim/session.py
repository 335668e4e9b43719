"""The simulated procedure room over a whole rehearsal: breathing patient, sensors, camera, needles left in him."""

from typing import Any

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.frames import FloatArray
from needleplan.motion.body_motion import BodyState
from needleplan.motion.contract import RespiratoryMotion
from needleplan.outcome import EventKind, RehearsalEvent, Trace
from robots.frames import PatientPlacement
from sim.breathing_patient import BreathingPatient
from sim.closest_approach import ClosestApproach
from sim.compensation.contract import CompensationStatus, Decision, SensorSample
from sim.controller_state import State
from sim.options import RehearsalOptions
from sim.patient import PatientSurfaces
from sim.recorder import SceneRecorder, SceneState
from sim.supervision import Supervision
from sim.target_sensing import TargetSensing
from sim.tissue_needle import TissueNeedle
from sim.tissue_parameters import builtin_parameters
from sim.tracking_camera import TrackingCamera
from sim.world import RehearsalWorld

#: What a strategy says that has not begun.
_NOT_BEGUN = Decision(False, np.zeros(3), CompensationStatus.LEARNING, "the strategy has not begun")
#: Slack by which a moment counts as come, against rounding of the clock.
_SLACK_S = 1e-9


class NeedleInPatient:
    """A needle in tissue with what is followed of it.

    Attributes:
        order: of its insertion.
        needle: its mechanics.
        closest: its distances from the structures and what it punctured; None where they are not followed.
    """

    def __init__(self, order: int, needle: TissueNeedle, closest: ClosestApproach | None) -> None:
        self.order, self.needle, self.closest = order, needle, closest

    def follow(self, body: BodyState) -> tuple[str, ...]:
        """Take its distances in the body now; the structures that it has newly punctured."""
        if self.closest is None or not self.needle.in_tissue:
            return ()
        shaft = self.needle.shaft_at_rest_mm
        return self.closest.add(shaft, body.body.within_wall(shaft))


class Session:
    """What lasts over all insertions of a rehearsal: clock, breathing, sensors, strategy, log and samples.

    Args:
        motion: breathing of the target.
        seed: of all draws; each source has a stream of its own.
        options: of the rehearsal.
        surfaces: of the patient, and how his body moves.
        queries: of the anatomy.
        placement: how the patient lies.
        recorder: collects the scene.
    """

    def __init__(
        self,
        motion: RespiratoryMotion,
        seed: int,
        options: RehearsalOptions,
        surfaces: PatientSurfaces,
        queries: AnatomyQueries,
        placement: PatientPlacement,
        recorder: SceneRecorder,
    ) -> None:
        streams = np.random.SeedSequence(seed).spawn(6)
        self.options, self.queries, self.placement = options, queries, placement
        self.patient = BreathingPatient(motion, streams[0], options.holding, cranial=queries.anatomy.case.cranial)
        self.sensing = TargetSensing(self.patient, options.sensing, streams[1])
        self.camera = TrackingCamera(options.camera, streams[2])
        self.placement_seeds, self.scan_rng = streams[3], np.random.default_rng(streams[4])
        self.tissues = builtin_parameters().scattered(np.random.default_rng(streams[5]), options.tissue_deviation)
        self.supervision = Supervision(options.controller)
        self.body: BodyState = surfaces.body.state(self.patient.displacement_mm, self.patient.wall_mm)
        self.decision = _NOT_BEGUN
        self.samples: tuple[SensorSample, ...] = ()
        self.left: list[NeedleInPatient] = []
        self.events: list[RehearsalEvent] = []
        self.contacts: dict[tuple[str, str], float] = {}
        self.steps = 0
        self.faults_present = ""
        self._surfaces, self._recorder = surfaces, recorder
        self._strategy_begun = False
        self._strategy_state: Any = None
        self._decided_s = self._sampled_s = self._touched_s = -np.inf
        self._unseen: list[SensorSample] = []
        self._seen_mm: FloatArray | None = None
        self._rows: list[tuple[Any, ...]] = []
        if not options.strategy.begins_at_skin:
            self.begin_strategy()

    @property
    def time_s(self) -> float:
        """Simulated time since the rehearsal began."""
        return self.patient.time_s

    def log(self, needle: int, kind: EventKind, text: str, structure: str = "") -> None:
        """Add an entry to the log."""
        self.events.append(RehearsalEvent(round(self.time_s, 6), needle, kind, text, structure))

    def begin_strategy(self) -> None:
        """Start the strategy afresh."""
        self._strategy_begun, self._strategy_state = True, self.options.strategy.start()
        self.decision = _NOT_BEGUN

    def advance(self, duration_s: float, hold_asked: bool) -> None:
        """Let the patient breathe and the sensors measure."""
        self.patient.advance(duration_s, hold_asked)
        self.steps += 1
        arrived = self.sensing.advance()
        self._unseen.extend(arrived)
        if arrived:
            self._seen_mm = arrived[-1].displacement_mm
        self.body = self._surfaces.body.state(self.patient.displacement_mm, self.patient.wall_mm)

    def control_is_due(self) -> bool:
        """True when sensors, camera and encoders are looked at again; then the strategy decides anew."""
        if self.time_s < self._decided_s + self.options.controller.control_s - _SLACK_S:
            return False
        self._decided_s = self.time_s
        self.samples, self._unseen = tuple(self._unseen), []
        if self._strategy_begun:
            self._strategy_state, self.decision = self.options.strategy.step(
                self._strategy_state, self.time_s, self.samples
            )
        return True

    def touch(self, world: RehearsalWorld, held: NeedleInPatient | None, order: int) -> list[tuple[int, str]]:
        """From time to time: contacts of the arm, and the needles' distances; which needle punctured what.

        Args:
            world: the simulated room.
            held: the needle in the guide; None where there is none.
            order: of the insertion under way; the guide touches its needle as long as it has not left it.
        """
        if self.time_s < self._touched_s + self.options.contact_s - _SLACK_S:
            return []
        passed = self.options.contact_s if np.isinf(self._touched_s) else self.time_s - self._touched_s
        self._touched_s = self.time_s
        world.pose_patient(self.body)
        found = []
        for needle in [*self.left, *([] if held is None else [held])]:
            if needle is not held:
                needle.needle.carried_by(self.body)
                world.move_needle(needle.order, needle.needle.shaft_mm)
            found += [(needle.order, name) for name in needle.follow(self.body)]
        for pair in world.touches():
            if pair[1] == f"needle {order}":
                continue
            self.contacts[pair] = self.contacts.get(pair, 0.0) + passed
        return found

    def sample(
        self,
        world: RehearsalWorld,
        state: State,
        order: int,
        depth_mm: float,
        positions: FloatArray,
        held: NeedleInPatient | None,
        stop_reason: str,
        always: bool = False,
    ) -> bool:
        """From time to time: one row of the trace and one state of the scene; True where it was taken."""
        if not always and self.time_s < self._sampled_s + self.options.sample_s - _SLACK_S:
            return False
        if self.time_s <= self._sampled_s:
            return False
        self._sampled_s = self.time_s
        force = held.needle.force if held is not None else None
        force_n = 0.0 if force is None else force.force_n
        displacement = np.array(self.patient.displacement_mm)
        self._rows.append(
            (
                self.time_s, displacement, self.decision.may_advance, depth_mm, order, positions[:-1].copy(),
                np.zeros(3) if self._seen_mm is None else self._seen_mm, force_n, state.value,
                self.decision.status.value,
            )
        )  # fmt: skip
        if self._recorder.wanted:
            for needle in self.left:
                needle.needle.carried_by(self.body)
            shafts = [(needle.order, np.array(needle.needle.shaft_mm)) for needle in self.left]
            if held is not None and held.needle.in_tissue:
                shafts.append((order, np.array(held.needle.shaft_mm)))
            self._recorder.add(
                SceneState(
                    self._recorder.start_s + self.time_s, world.link_poses(), displacement, self.patient.wall_mm,
                    self.decision.may_advance, state, self._status(state), order, depth_mm, force_n,
                    stop_reason or self.faults_present, self._seen_mm, tuple(shafts),
                )
            )  # fmt: skip
        return True

    def _status(self, state: State) -> str:
        return f"{self.decision.status.value}: {self.decision.reason}"

    def trace(self, joints: int) -> Trace:
        """The signals so far, for an arm of so many joints."""
        if not self._rows:
            none = np.zeros(0)
            nothing = np.zeros((0, 3))
            return Trace(none, nothing, none, none, none, np.zeros((0, joints)), nothing, none, (), ())
        *numbers, phase, status = zip(*self._rows, strict=True)
        times, displacements, gates, depths, needles, positions, seen, forces = (np.array(c) for c in numbers)
        return Trace(
            times, displacements, gates, depths, needles, positions, seen, forces, tuple(phase), tuple(status)
        )
