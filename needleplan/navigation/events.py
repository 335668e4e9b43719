"""What reaches a live session: measurements with their times, and decisions of the people at the table.

A session is a deterministic function of its events: the same events give the same guidance, bit by bit. That is
what makes its log a record that can be replayed.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import FrameError, NavigationError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from needleplan.navigation.event_checks import (
    FARTHEST_MM,
    checked_displacement,
    checked_insertion,
    checked_insertions,
    checked_kind,
    checked_length,
    checked_order,
    checked_place,
    checked_text,
    checked_texts,
    keep,
    require_pose,
    require_time,
)
from needleplan.plan import Insertion, Vector3
from needleplan.registration.pose_covariance import PoseCovariance

#: So much of the reason is kept for which a pose was refused.
_REASON_LETTERS = 500


class TrackedTool(StrEnum):
    """What a pose is of."""

    NEEDLE = "needle"  #: origin at the tip, +z along the insertion (frame N)
    REFERENCE = "reference"  #: the body fixed to the patient (frame R)


class RegistrationMethod(StrEnum):
    """How patient and reference were brought together."""

    FIDUCIALS = "fiducials"
    SURFACE = "surface"
    STATED = "stated"  #: computed elsewhere and handed in


@dataclass(frozen=True, slots=True, eq=False)
class ToolPose:
    """One pose from the tracker.

    Attributes:
        tool: what it is of.
        measured_s: when it was measured, on the session's clock.
        received_s: when it reached the session, on the same clock.
        X_TA: pose of the tool's frame (N or R) in the tracker's frame T, mm; None where the tracker says that it
            does not see the tool.
    """

    tool: TrackedTool
    measured_s: float
    received_s: float
    X_TA: RigidTransform | None

    def __post_init__(self) -> None:
        keep(
            self,
            tool=checked_kind(TrackedTool, self.tool, "the tool of a pose"),
            measured_s=require_time(self.measured_s, "the time of a pose's measurement"),
            received_s=require_time(self.received_s, "the time of a pose's arrival"),
        )
        if self.X_TA is not None:
            require_pose(self.X_TA, f"a pose of the {self.tool}")
            child = Frame.NEEDLE if self.tool is TrackedTool.NEEDLE else Frame.REFERENCE
            if (self.X_TA.parent, self.X_TA.child) != (Frame.TRACKER, child):
                raise NavigationError(
                    f"a pose of the {self.tool} must be X_T{child}, not X_{self.X_TA.parent}{self.X_TA.child}"
                )
            if self.X_TA.unit is not LengthUnit.MILLIMETRE:
                raise NavigationError(f"a pose of the {self.tool} must be in mm, not in {self.X_TA.unit}")


@dataclass(frozen=True, slots=True)
class PoseRefused:
    """What came as a pose and is none: scaled, sheared, mirrored, in the wrong frame, or not a number.

    It is an event like any other, so that a broken stream leads to doubt and not to an error in the loop.

    Attributes:
        tool: what it should have been of.
        received_s: when it reached the session.
        reason: what is wrong with it; only its beginning is kept where it is long.
    """

    tool: TrackedTool
    received_s: float
    reason: str

    def __post_init__(self) -> None:
        keep(
            self,
            tool=checked_kind(TrackedTool, self.tool, "the tool of a pose"),
            received_s=require_time(self.received_s, "the time of a pose's arrival"),
            # A sentence about what came may quote it, however long and of whatever letters that is.
            reason=str(self.reason)[:_REASON_LETTERS].encode(errors="replace").decode(),
        )


@dataclass(frozen=True, slots=True)
class BreathingSample:
    """One sample of the breathing signal, already in millimetres of the target.

    Attributes:
        measured_s: when it was measured, on the session's clock.
        received_s: when it reached the session.
        displacement_mm: displacement of the target from end-exhale, patient LPS.
    """

    measured_s: float
    received_s: float
    displacement_mm: Vector3

    def __post_init__(self) -> None:
        keep(
            self,
            measured_s=require_time(self.measured_s, "the time of a breathing sample"),
            received_s=require_time(self.received_s, "the arrival of a breathing sample"),
            displacement_mm=checked_displacement(self.displacement_mm, "a breathing sample"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """Patient and reference were brought together.

    Attributes:
        time_s: when.
        X_PR: pose of the reference in patient LPS, mm.
        covariance: of that pose in frame P; None where it is not known, which is doubt.
        method: how.
        error_mm: what the method shows of its error (FRE of fiducials, RMS of a surface).
        statement: sentences for the people at the table.
        unsure: sentences that keep the needle from going on as long as this registration stands, for instance that
            nothing shows whether one set of points is mirrored.
        measured_s: when the oldest measurement was made that it rests on; as ``time_s`` where None. What came into
            doubt since then is not mended by it.
    """

    time_s: float
    X_PR: RigidTransform
    covariance: PoseCovariance | None
    method: RegistrationMethod
    error_mm: float
    statement: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    measured_s: float | None = None

    def __post_init__(self) -> None:
        keep(
            self,
            time_s=require_time(self.time_s, "the time of a registration"),
            method=checked_kind(RegistrationMethod, self.method, "the method of a registration"),
            error_mm=checked_length(self.error_mm, "the error of a registration"),
            statement=checked_texts(self.statement, "the statement of a registration"),
            unsure=checked_texts(self.unsure, "what is unsure of a registration"),
        )
        require_pose(self.X_PR, "the reference of a registration")
        if (self.X_PR.parent, self.X_PR.child) != (Frame.PATIENT, Frame.REFERENCE):
            raise NavigationError(
                f"a registration must be X_PR, not X_{self.X_PR.parent}{self.X_PR.child}: state the pose of the "
                "reference in the patient"
            )
        if self.X_PR.unit is not LengthUnit.MILLIMETRE:
            raise NavigationError(f"a registration must be in mm, not in {self.X_PR.unit}")
        if self.covariance is not None:
            _require_covariance(self.covariance)
        if self.measured_s is not None:
            what = "the time of a registration's oldest measurement"
            keep(self, measured_s=require_time(self.measured_s, what))
            if self.measured_s > self.time_s:
                raise NavigationError(
                    f"a registration of {self.time_s:.3f} s rests on what was measured at {self.measured_s:.3f} s, "
                    "which is later: one clock must serve all"
                )

    @property
    def oldest_s(self) -> float:
        """When the oldest measurement was made that it rests on."""
        return self.time_s if self.measured_s is None else self.measured_s


@dataclass(frozen=True, slots=True)
class LandmarkChecked:
    """A known point was touched with the needle's tip again, to see whether the registration still holds.

    Attributes:
        time_s: when.
        name: of the point.
        planned_mm: where it lies in the patient, LPS.
    """

    time_s: float
    name: str
    planned_mm: Vector3

    def __post_init__(self) -> None:
        name = checked_text(self.name, "the name of a landmark")
        keep(
            self,
            time_s=require_time(self.time_s, "the time of a check"),
            planned_mm=checked_place(self.planned_mm, f"the place of landmark {name!r:.60}"),
        )


@dataclass(frozen=True, slots=True)
class NeedleSelected:
    """Another insertion of the plan is under way."""

    time_s: float
    order: int

    def __post_init__(self) -> None:
        keep(
            self,
            time_s=require_time(self.time_s, "the time of a selection"),
            order=checked_order(self.order, "the needle that is selected"),
        )


@dataclass(frozen=True, slots=True)
class SessionHeld:
    """Somebody said stop; it holds until a needle is selected again.

    Attributes:
        time_s: when.
        reason: who and why, in a sentence.
    """

    time_s: float
    reason: str

    def __post_init__(self) -> None:
        keep(
            self,
            time_s=require_time(self.time_s, "the time at which somebody said stop"),
            reason=checked_text(self.reason, "why somebody said stop"),
        )


@dataclass(frozen=True, slots=True)
class NeedlePlaced:
    """The needle under way was let go where the tracker saw it last."""

    time_s: float

    def __post_init__(self) -> None:
        keep(self, time_s=require_time(self.time_s, "the time at which a needle was placed"))


@dataclass(frozen=True, slots=True)
class NeedleWithdrawn:
    """A needle that stood in the patient was drawn out.

    Attributes:
        time_s: when.
        order: of its insertion.
    """

    time_s: float
    order: int

    def __post_init__(self) -> None:
        keep(
            self,
            time_s=require_time(self.time_s, "the time at which a needle was drawn out"),
            order=checked_order(self.order, "the needle that was drawn out"),
        )


@dataclass(frozen=True, slots=True)
class EnergyDelivered:
    """An insertion delivered its energy, where it was.

    Attributes:
        time_s: when it ended.
        insertion: order and ablations as they were delivered.
    """

    time_s: float
    insertion: Insertion

    def __post_init__(self) -> None:
        keep(
            self,
            time_s=require_time(self.time_s, "the time of a delivery"),
            insertion=checked_insertion(self.insertion, "the delivered insertion"),
        )


@dataclass(frozen=True, slots=True)
class PlanReplaced:
    """What is left to do was planned again.

    Attributes:
        time_s: when.
        insertions: all insertions from now on, with their orders.
        reason: sentences.
    """

    time_s: float
    insertions: tuple[Insertion, ...]
    reason: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        keep(
            self,
            time_s=require_time(self.time_s, "the time of a new plan"),
            insertions=checked_insertions(self.insertions, "the planned insertion"),
            reason=checked_texts(self.reason, "the reason of a new plan"),
        )


@dataclass(frozen=True, slots=True)
class GuidanceAsked:
    """Somebody looked: the session answers with its guidance at this time."""

    time_s: float

    def __post_init__(self) -> None:
        keep(self, time_s=require_time(self.time_s, "the time for which guidance is asked"))


SessionEvent = (
    ToolPose
    | PoseRefused
    | BreathingSample
    | Registered
    | LandmarkChecked
    | NeedleSelected
    | SessionHeld
    | NeedlePlaced
    | NeedleWithdrawn
    | EnergyDelivered
    | PlanReplaced
    | GuidanceAsked
)


def pose_event(
    tool: TrackedTool, measured_s: float, received_s: float, matrix: ArrayLike | None
) -> ToolPose | PoseRefused:
    """What a matrix from a tracker is: a pose, or the record of one that cannot be used.

    Args:
        tool: what it is of.
        measured_s: when it was measured.
        received_s: when it arrived, on the session's own clock.
        matrix: (4, 4) pose of the tool in the tracker's frame, mm; None where the tool is not seen.

    Raises:
        NavigationError: the time of arrival, which is the session's own, is no time.
    """
    child = Frame.NEEDLE if tool is TrackedTool.NEEDLE else Frame.REFERENCE
    try:
        require_time(measured_s, "the time of a pose's measurement")
        # Numbers that overflow when they are looked at are refused like all others, without a warning.
        with np.errstate(all="ignore"):
            pose = None if matrix is None else RigidTransform(Frame.TRACKER, child, np.asarray(matrix, np.float64))
            if pose is not None:
                require_pose(pose, f"a pose of the {tool}")
    except (FrameError, NavigationError, TypeError, ValueError, OverflowError) as error:
        return PoseRefused(tool, received_s, str(error))
    return ToolPose(tool, measured_s, received_s, pose)


def _require_covariance(covariance: PoseCovariance) -> None:
    if not isinstance(covariance, PoseCovariance):
        raise NavigationError(f"the covariance of a registration must be one, not {type(covariance).__name__}")
    if covariance.frame is not Frame.PATIENT:
        raise NavigationError(f"the covariance of a registration must be in frame P, not in {covariance.frame}")
    if max(np.abs(covariance.centre_mm).max(), np.sqrt(np.abs(covariance.matrix).max())) > FARTHEST_MM:
        raise NavigationError(f"the covariance of a registration holds lengths above {FARTHEST_MM:g} mm")
