"""What a rehearsal achieved: where each needle really ended in the target's own frame, and the traces."""

from dataclasses import dataclass

import numpy as np

from needleplan.frames import FloatArray, read_only
from needleplan.plan import Insertion


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


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Signals of the rehearsal over time.

    Attributes:
        time_s: (n,) sample times.
        displacement_mm: (n, 3) displacement of the target from end-exhale, patient LPS.
        gate_open: (n,) True where the controller was allowed to insert.
        depth_mm: (n,) depth of the tip behind the entry point along the planned axis, negative outside.
        needle: (n,) order of the needle being placed.
        joints_rad: (n, j) joint positions of the arm.
        phase: state of the controller at each sample.
    """

    time_s: FloatArray
    displacement_mm: FloatArray
    gate_open: FloatArray
    depth_mm: FloatArray
    needle: FloatArray
    joints_rad: FloatArray
    phase: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("time_s", "displacement_mm", "gate_open", "depth_mm", "needle", "joints_rad"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One rehearsal of a whole plan.

    Attributes:
        case_name: name of the case.
        case_hash: content hash of the case the plan was made for.
        robot: name of the robot.
        motion: name of the breathing model.
        gating: True where insertion waited for end-exhale.
        seed: seed of every random draw.
        needles: one for each insertion that was carried out, in order.
        not_reached: orders of the insertions that the robot could not carry out, with the reason.
        trace: the signals.
    """

    case_name: str
    case_hash: str
    robot: str
    motion: str
    gating: bool
    seed: int
    needles: tuple[NeedleOutcome, ...]
    not_reached: tuple[tuple[int, str], ...]
    trace: Trace

    @property
    def insertions(self) -> tuple[Insertion, ...]:
        """The executed insertions, to be assessed by the code that assesses plans."""
        return tuple(needle.executed for needle in self.needles)
