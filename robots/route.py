"""The route: how the arm carries out a plan, as plain values, and their plain form for a JSON file."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, RigidTransform, read_only
from robots.timing import TimedPath


class RouteStatus(StrEnum):
    """Whether the arm can carry out an insertion."""

    REACHED = "reached"
    UNREACHED = "unreached"


class Phase(StrEnum):
    """The parts of a route, in their order."""

    APPROACH = "approach"  #: from home to a point on the axis, clear of the patient
    ALIGN = "align"  #: straight along the axis to the stand-off before the skin
    INSERT = "insert"  #: the arm holds still, the driver advances the needle
    RETRACT = "retract"  #: the needle back into the guide or left in place, the arm back along the axis and home


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One phase as positions over time.

    Attributes:
        phase: which phase.
        time_s: (k,) times from the start of the phase, rising from 0.
        positions: (k, n + 1) joint positions in rad or m and, last, the driver's in m.
        velocities: (k, n + 1) their speeds; None where they are not known.
        accelerations: (k, n + 1) their accelerations; None where they are not known.
    """

    phase: Phase
    time_s: FloatArray
    positions: FloatArray
    velocities: FloatArray | None = None
    accelerations: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_s", read_only(self.time_s))
        object.__setattr__(self, "positions", read_only(self.positions))
        for name in ("velocities", "accelerations"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, read_only(values))

    @classmethod
    def of_path(cls, phase: Phase, path: TimedPath) -> "Segment":
        """A phase that follows a timed path of the arm's joints and the driver."""
        return cls(phase, path.time_s, path.positions, path.velocities, path.accelerations)

    @property
    def path(self) -> TimedPath:
        """The phase with its speeds and accelerations between the samples; RobotError where they are not known."""
        if self.velocities is None or self.accelerations is None:
            raise RobotError(f"the speeds and accelerations of the phase {self.phase} are not known")
        return TimedPath(self.time_s, self.positions, self.velocities, self.accelerations)

    @property
    def duration_s(self) -> float:
        """How long the phase lasts."""
        return float(self.time_s[-1])

    def at(self, time_s: float) -> FloatArray:
        """(n + 1,) positions at a time, linear between samples, held before and after."""
        k = int(np.clip(np.searchsorted(self.time_s, time_s, side="right") - 1, 0, len(self.time_s) - 2))
        share = np.clip((time_s - self.time_s[k]) / (self.time_s[k + 1] - self.time_s[k]), 0.0, 1.0)
        # So that the ends are met to the last bit.
        return np.asarray((1.0 - share) * self.positions[k] + share * self.positions[k + 1])


@dataclass(frozen=True, slots=True, eq=False)
class InsertionRoute:
    """How the arm carries out one insertion.

    Attributes:
        order: the insertion's place in the plan's sequence.
        status: whether it can be carried out.
        reason: empty when reached; else what was found and what would have to change, in a sentence.
        entry_m: (3,) entry in the world.
        tip_m: (3,) deepest tip position in the world.
        X_WG: pose of the guide while inserting.
        driver_entry_m: position of the driver at which the tip touches the entry: the stand-off.
        driver_tip_m: position of the driver at which the tip is at ``tip_m``.
        segments: the four phases in order; empty when unreached.
        manipulability: least of Yoshikawa's measure for the needle axis along align, m³.
        limit_margin: least distance from a joint limit over half the joint's range, along align.
        patient_clearance_m: lower bound of the arm's distance from the patient's surface; None where no surface
            was given or nothing was reached.
        table_clearance_m: the same for table and floor; None where nothing was reached.
        self_clearance_m: the same between parts of the arm.
        gantry_clearance_m: the same for the scanner's gantry; None where there is none or nothing was reached.
        needle_clearance_m: the same for needles that are in place; None where there are none, or nothing was
            reached.
        remote_centre_deviation_m: greatest distance of the needle's axis from ``entry_m`` while the arm aligns and
            inserts, by forward kinematics at every sample and between each two.
        approach_stops: postures between home and the align move over which the arm goes round obstacles.
        check_step_rad: greatest turn of a joint between two checks of clearance on the way; 0 when unreached.
        check_step_m: the same of a prismatic joint.
        needle_stays: True where the arm leaves the needle in place.
        position_error_m: distance of the needle's tip from ``tip_m`` by forward kinematics.
        axis_error_rad: angle between the needle and the planned axis by forward kinematics.
    """

    order: int
    status: RouteStatus
    reason: str
    entry_m: FloatArray
    tip_m: FloatArray
    X_WG: RigidTransform
    driver_entry_m: float
    driver_tip_m: float
    segments: tuple[Segment, ...] = ()
    manipulability: float = 0.0
    limit_margin: float = 0.0
    patient_clearance_m: float | None = None
    table_clearance_m: float | None = None
    self_clearance_m: float | None = None
    gantry_clearance_m: float | None = None
    needle_clearance_m: float | None = None
    remote_centre_deviation_m: float = float("inf")
    approach_stops: int = 0
    check_step_rad: float = 0.0
    check_step_m: float = 0.0
    needle_stays: bool = False
    position_error_m: float = float("inf")
    axis_error_rad: float = float("inf")

    def __post_init__(self) -> None:
        object.__setattr__(self, "entry_m", read_only(self.entry_m))
        object.__setattr__(self, "tip_m", read_only(self.tip_m))

    @property
    def reached(self) -> bool:
        """True where the insertion can be carried out."""
        return self.status is RouteStatus.REACHED

    @property
    def duration_s(self) -> float:
        """Time of all phases without any waiting; 0 when unreached."""
        return sum(segment.duration_s for segment in self.segments)

    @property
    def durations_s(self) -> dict[Phase, float]:
        """Time of each phase; empty when unreached."""
        return {segment.phase: segment.duration_s for segment in self.segments}

    def segment(self, phase: Phase) -> Segment:
        """The segment of a phase; KeyError when the insertion is not reached."""
        for segment in self.segments:
            if segment.phase is phase:
                return segment
        raise KeyError(phase)


@dataclass(frozen=True, slots=True, eq=False)
class RobotRoute:
    """How the arm carries out a plan.

    Attributes:
        robot: name of the robot.
        joint_names: the arm's joints and, last, the driver: the columns of every segment's positions.
        X_WB: pose of the robot's base in the world.
        insertions: one for each insertion of the plan, in its order.
        notes: what a reader must know.
    """

    robot: str
    joint_names: tuple[str, ...]
    X_WB: RigidTransform
    insertions: tuple[InsertionRoute, ...]
    notes: tuple[str, ...] = ()

    @property
    def reached(self) -> NDArray[np.bool_]:
        """(n,) True for each insertion that can be carried out."""
        return np.array([route.reached for route in self.insertions], dtype=np.bool_)

    @property
    def duration_s(self) -> float:
        """Time of all routes without any waiting."""
        return sum(route.duration_s for route in self.insertions)


JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


def _numbers(values: FloatArray, digits: int) -> JsonValue:
    rounded: JsonValue = np.round(values, digits).tolist()
    return rounded


def route_to_json(route: RobotRoute) -> dict[str, JsonValue]:
    """The route as numbers, texts, lists and tables that a JSON file can hold; metres, radians, seconds.

    Positions are written to 1e-7 rad and m, which moves the tip by less than a micrometre.
    """
    return {
        "schema": "needleplan.route",
        "version": 1,
        "robot": route.robot,
        "joint_names": list(route.joint_names),
        "base_in_world": _numbers(route.X_WB.matrix, 9),
        "duration_s": round(route.duration_s, 3),
        "notes": list(route.notes),
        "insertions": [_insertion_to_json(insertion) for insertion in route.insertions],
    }


def _insertion_to_json(route: InsertionRoute) -> dict[str, JsonValue]:
    table: dict[str, JsonValue] = {
        "order": route.order,
        "status": route.status.value,
        "reason": route.reason,
        "entry_m": _numbers(route.entry_m, 9),
        "tip_m": _numbers(route.tip_m, 9),
        "guide_in_world": _numbers(route.X_WG.matrix, 9),
        "driver_entry_m": route.driver_entry_m,
        "driver_tip_m": route.driver_tip_m,
    }
    if route.reached:
        table |= {
            "manipulability_m3": route.manipulability,
            "limit_margin": route.limit_margin,
            "patient_clearance_m": route.patient_clearance_m,
            "table_clearance_m": route.table_clearance_m,
            "self_clearance_m": route.self_clearance_m,
            "gantry_clearance_m": route.gantry_clearance_m,
            "needle_clearance_m": route.needle_clearance_m,
            "remote_centre_deviation_m": route.remote_centre_deviation_m,
            "approach_stops": route.approach_stops,
            "check_step_rad": route.check_step_rad,
            "check_step_m": route.check_step_m,
            "needle_stays": route.needle_stays,
            "position_error_m": route.position_error_m,
            "axis_error_rad": route.axis_error_rad,
            "duration_s": round(route.duration_s, 3),
            "durations_s": {phase.value: round(seconds, 3) for phase, seconds in route.durations_s.items()},
            "segments": [
                {
                    "phase": segment.phase.value,
                    "time_s": _numbers(segment.time_s, 6),
                    "positions": _numbers(segment.positions, 7),
                }
                for segment in route.segments
            ],
        }
    return table
