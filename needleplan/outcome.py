"""What a rehearsal achieved: where each needle really ended in the target's own frame, and the traces."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only
from needleplan.plan import Insertion, Metrics

#: Beyond this the distance of a needle from a structure is not followed.
CLOSEST_CAP_MM = 50.0


class EventKind(StrEnum):
    """What an entry of a rehearsal's log is about."""

    STATE = "state"  #: the controller went on to another state
    PUNCTURE = "puncture"  #: a membrane gave way
    FAULT = "fault"  #: a fault that was switched on began or ended; the controller is not told
    STOP = "stop"  #: the controller stopped the needle, and why
    RESUME = "resume"  #: it went on
    VERIFY = "verify"  #: what a control scan showed
    CORRECT = "correct"  #: what was corrected
    BREATH = "breath"  #: the patient was asked to hold the breath or to breathe
    END = "end"  #: an insertion ended, and how


@dataclass(frozen=True, slots=True)
class RehearsalEvent:
    """One entry of a rehearsal's log.

    Attributes:
        time_s: when.
        needle: order of the insertion under way.
        kind: what it is about.
        text: one sentence or a few words.
        structure: the structure punctured; "" for everything else.
    """

    time_s: float
    needle: int
    kind: EventKind
    text: str
    structure: str = ""


@dataclass(frozen=True, slots=True)
class NeedleOutcome:
    """One rehearsed insertion.

    Attributes:
        planned: the insertion as planned.
        executed: the insertion as it ended, carried back to the target's reference (end-exhale) position, so
            that it can be assessed like a plan.
        tip_error_mm: distance between executed and planned tip in the target's frame.
        lateral_error_mm: part of it perpendicular to the planned axis.
        depth_error_mm: part along the planned axis, positive too deep.
        angle_error_deg: angle between executed and planned axis.
        start_s: time at which the skin was punctured.
        end_s: time at which the tip stopped.
        waited_s: time spent waiting for the gate.
        displacement_at_start_mm: displacement of the target from end-exhale at puncture.
        displacement_at_end_mm: displacement of the target from end-exhale when the tip stopped.
        breaths: number of breaths from the puncture of the skin until the tip stopped.
        bend_mm: distance of the tip from the guide's axis when it stopped.
        corrections: number of times that the needle was steered or its depth corrected.
        peak_force_n: greatest force along the needle.
        peak_tip_force_n: greatest force on its tip.
        closest_mm: least distance of the needle's surface from each structure over the whole rehearsal, by name;
            negative inside. Distances of ``CLOSEST_CAP_MM`` or more stand as that.
        punctured: structures whose surface the needle passed, in the order in which it did.
    """

    planned: Insertion
    executed: Insertion
    tip_error_mm: float
    lateral_error_mm: float
    depth_error_mm: float
    angle_error_deg: float
    start_s: float
    end_s: float
    waited_s: float
    displacement_at_start_mm: float
    displacement_at_end_mm: float
    breaths: float = 0.0
    bend_mm: float = 0.0
    corrections: int = 0
    peak_force_n: float = 0.0
    peak_tip_force_n: float = 0.0
    closest_mm: dict[str, float] = field(default_factory=dict)
    punctured: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WithdrawnNeedle:
    """A needle that had been in the patient and was given up: drawn out, or let go where it was.

    Attributes:
        order: of its insertion.
        reason: why it was given up.
        deepest_mm: greatest depth of its tip behind the skin.
        peak_force_n: greatest force along it.
        peak_tip_force_n: greatest force on its tip.
        closest_mm: as of :class:`NeedleOutcome`.
        punctured: as of :class:`NeedleOutcome`.
    """

    order: int
    reason: str
    deepest_mm: float
    peak_force_n: float
    peak_tip_force_n: float
    closest_mm: dict[str, float] = field(default_factory=dict)
    punctured: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Signals of the rehearsal over time.

    Attributes:
        time_s: (n,) sample times.
        displacement_mm: (n, 3) displacement of the target from end-exhale, patient LPS.
        gate_open: (n,) True where the controller was allowed to insert.
        depth_mm: (n,) depth to which the needle is driven behind the entry along the planned axis, negative
            outside: that of its tip if it were straight. It pushes tissue before it and is driven farther for that.
        needle: (n,) order of the needle being placed.
        joints_rad: (n, j) joint positions of the arm.
        seen_mm: (n, 3) displacement of the target that the strategy last saw; zero before its first sample.
        force_n: (n,) force along the needle on its hub.
        phase: state of the controller at each sample.
        status: status of the strategy at each sample.

    Raises:
        GeometryError: the signals are not of one length or not of these shapes, hold a value that is not finite, or
            the times fall.
    """

    time_s: FloatArray
    displacement_mm: FloatArray
    gate_open: FloatArray
    depth_mm: FloatArray
    needle: FloatArray
    joints_rad: FloatArray
    seen_mm: FloatArray
    force_n: FloatArray
    phase: tuple[str, ...]
    status: tuple[str, ...]

    def __post_init__(self) -> None:
        count = np.size(self.time_s)
        joints = np.shape(self.joints_rad)[1] if np.ndim(self.joints_rad) == 2 else 0
        shapes = {
            "time_s": (count,), "displacement_mm": (count, 3), "gate_open": (count,), "depth_mm": (count,),
            "needle": (count,), "joints_rad": (count, joints), "seen_mm": (count, 3), "force_n": (count,),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = np.asarray(getattr(self, name))
            # Where there is no row, a file cannot tell how wide it would be.
            if array.shape != shape and (count or array.size):
                raise GeometryError(f"{name} of a trace must have the shape {shape}, not {array.shape}")
            object.__setattr__(self, name, read_only(array.reshape(shape), np.float64))
            if not np.isfinite(getattr(self, name)).all():
                raise GeometryError(f"{name} of a trace must hold finite numbers only")
        for name in ("phase", "status"):
            if len(getattr(self, name)) != count:
                raise GeometryError(f"a trace of {count} samples has {len(getattr(self, name))} values of {name}")
        if (np.diff(self.time_s) < 0.0).any():
            raise GeometryError("the times of a trace must not fall")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One rehearsal of a whole plan.

    Attributes:
        case_name: name of the case.
        case_hash: content hash of the case the plan was made for.
        robot: name of the robot.
        motion: name of the breathing model.
        strategy: how breathing was met, such as ``amplitude-gating``.
        strategy_details: the same with its parameters.
        seed: seed of every random draw.
        needles: one for each insertion that was carried out, in order.
        not_reached: orders of the insertions that were not carried out, with the reason.
        trace: the signals.
        events: the log, in the order of time.
        faults: what was switched on, in words.
        duration_s: simulated time.
        breaths: number of breaths in it.
        withdrawn: needles that had been in the patient and were given up.
    """

    case_name: str
    case_hash: str
    robot: str
    motion: str
    strategy: str
    strategy_details: str
    seed: int
    needles: tuple[NeedleOutcome, ...]
    not_reached: tuple[tuple[int, str], ...]
    trace: Trace
    events: tuple[RehearsalEvent, ...] = ()
    faults: tuple[str, ...] = ()
    duration_s: float = 0.0
    breaths: float = 0.0
    withdrawn: tuple[WithdrawnNeedle, ...] = ()

    @property
    def insertions(self) -> tuple[Insertion, ...]:
        """The executed insertions, to be assessed by the code that assesses plans."""
        return tuple(needle.executed for needle in self.needles)

    @property
    def entered(self) -> tuple[NeedleOutcome | WithdrawnNeedle, ...]:
        """All needles that had been in the patient, whether they were placed or given up."""
        return (*self.needles, *self.withdrawn)


@dataclass(frozen=True, slots=True)
class RehearsalRun:
    """What is kept of one rehearsal among many: all but its trace.

    Attributes:
        strategy: name of the strategy.
        run: number from 1; runs of the same number share breathing, first moment and placement errors whatever
            the strategy.
        seed: seed of the rehearsal.
        motion: name of the breathing model.
        needles: one for each insertion that was carried out.
        not_reached: orders of the others, with the reason.
        events: the log without the controller's states.
        duration_s: simulated time.
        breaths: number of breaths in it.
        metrics: score of the executed insertions; None where there is none.
        withdrawn: needles that had been in the patient and were given up.
    """

    strategy: str
    run: int
    seed: int
    motion: str
    needles: tuple[NeedleOutcome, ...]
    not_reached: tuple[tuple[int, str], ...]
    events: tuple[RehearsalEvent, ...]
    duration_s: float
    breaths: float
    metrics: Metrics | None
    withdrawn: tuple[WithdrawnNeedle, ...] = ()

    @property
    def entered(self) -> tuple[NeedleOutcome | WithdrawnNeedle, ...]:
        """All needles that had been in the patient, whether they were placed or given up."""
        return (*self.needles, *self.withdrawn)

    @property
    def covers(self) -> bool:
        """True where the executed insertions leave no sampled point of the target outside their zones."""
        metrics = self.metrics
        return metrics is not None and metrics.target_coverage_fraction == 1.0 and metrics.minimal_margin_mm >= 0.0

    @classmethod
    def of(cls, outcome: Outcome, run: int, metrics: Metrics | None) -> "RehearsalRun":
        """One rehearsal and the score of its insertions."""
        events = tuple(event for event in outcome.events if event.kind is not EventKind.STATE)
        return cls(
            outcome.strategy, run, outcome.seed, outcome.motion, outcome.needles, outcome.not_reached, events,
            outcome.duration_s, outcome.breaths, metrics, outcome.withdrawn,
        )  # fmt: skip
