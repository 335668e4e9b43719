"""The newest poses of one tracked tool: in order, fresh, alive, and at a moment that another tool shares."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from needleplan.frames import FloatArray
from needleplan.navigation.events import PoseRefused, ToolPose, TrackedTool
from needleplan.navigation.guidance import Doubt, DoubtKind
from needleplan.navigation.options import SessionOptions
from needleplan.registration.rotations import rotation_vectors, rotations_of

#: Poses that are kept of each tool.
_KEPT = 512
#: So many poses in a row that are older than one before: not overtaken ones, the clock was set back.
_SET_BACK = 20
#: A tool of which the tracker says that it lies nearer to its own origin was given in metres.
_NO_TRACKER_MM = 5.0
#: Two poses of a reference that differ by a greater turn are not interpolated.
_GREATEST_TURN_RAD = math.radians(30.0)

_STALE = {TrackedTool.NEEDLE: DoubtKind.STALE_NEEDLE, TrackedTool.REFERENCE: DoubtKind.STALE_REFERENCE}


@dataclass(frozen=True, slots=True, eq=False)
class TimedPose:
    """A pose and its moment.

    Attributes:
        measured_s: when it was measured.
        matrix: (4, 4) pose X_TN or X_TR, mm.
    """

    measured_s: float
    matrix: FloatArray


class ToolTrack:
    """What is known of one tool.

    Args:
        tool: the needle or the reference.
        options: limits.

    Attributes:
        poses: the newest poses, in the order of their measurement.
        ignored: samples that were not used, by reason.
    """

    def __init__(self, tool: TrackedTool, options: SessionOptions) -> None:
        self.tool = tool
        self.options = options
        self.poses: deque[TimedPose] = deque(maxlen=_KEPT)
        self.ignored = {"out of order": 0, "repeated": 0, "measured after it arrived": 0, "refused": 0}
        self.forget()

    def forget(self) -> None:
        """Begin again, as after a new registration: the clock may be another one."""
        self.poses.clear()
        self._newest_s = -math.inf
        self._same_since_s = 0.0
        self._unseen = False
        self._refused: PoseRefused | None = None
        self._early_s = 0.0
        self._overtaken = 0

    def take(self, pose: ToolPose) -> bool:
        """One more pose; returns True where it is a new one that can be used."""
        early_s = pose.measured_s - pose.received_s
        if early_s > self.options.clock_s:
            self._early_s = early_s
            self.ignored["measured after it arrived"] += 1
            return False
        if pose.measured_s == self._newest_s:
            # Sent again: it tells nothing new, neither of the tool nor of its clock.
            self.ignored["repeated"] += 1
            return False
        if pose.measured_s < self._newest_s:
            self._overtaken += 1
            self.ignored["out of order"] += 1
            return False
        self._early_s, self._overtaken = 0.0, 0
        self._newest_s = pose.measured_s
        self._unseen = pose.X_TA is None
        if pose.X_TA is None:
            return False
        matrix = pose.X_TA.matrix
        if not self.poses or not np.array_equal(self.poses[-1].matrix, matrix):
            self._same_since_s = pose.measured_s
        self.poses.append(TimedPose(pose.measured_s, matrix))
        return True

    def refuse(self, pose: PoseRefused) -> None:
        """What came is no pose."""
        self._refused = pose
        self.ignored["refused"] += 1

    @property
    def clock_set_back(self) -> bool:
        """True once so many poses came in a row that are older than one before."""
        return self._overtaken == _SET_BACK

    def doubts(self, time_s: float) -> list[Doubt]:
        """Why this tool cannot be relied on at a time."""
        found = []
        limit_s = self.options.pose_age_s
        # One good pose among refused ones does not make the stream one to be relied on.
        if self._refused is not None and time_s - self._refused.received_s <= self.options.refused_s:
            found.append(
                Doubt(DoubtKind.WRONG_FRAME, f"A pose of the {self.tool} is no pose: {self._refused.reason}.")
            )
        if self._early_s:
            found.append(
                Doubt(
                    DoubtKind.CLOCK,
                    f"A pose of the {self.tool} is said to be measured {self._early_s:.3f} s after it arrived: set "
                    "the tracker's clock to the session's.",
                )
            )
        if self._unseen:
            found.append(Doubt(DoubtKind.NOT_SEEN, f"The tracker does not see the {self.tool}: free its view."))
        if not self.poses:
            found.append(Doubt(_STALE[self.tool], f"No pose of the {self.tool} has come."))
            return found
        newest = self.poses[-1]
        age_s = time_s - newest.measured_s
        if age_s > limit_s:
            found.append(
                Doubt(
                    _STALE[self.tool],
                    f"The newest pose of the {self.tool} is {age_s:.2f} s old, where {limit_s:g} s are allowed.",
                )
            )
        same_s = newest.measured_s - self._same_since_s
        if same_s > self.options.frozen_s:
            found.append(
                Doubt(
                    _STALE[self.tool],
                    f"The pose of the {self.tool} has been the same to the last bit for {same_s:.2f} s: the "
                    "tracker hangs, or repeats what it no longer measures.",
                )
            )
        away_mm = float(np.linalg.norm(newest.matrix[:3, 3]))
        # A reference whose frame is that of the tracker lies in its origin exactly; without a reference there is no
        # tracker, and any place is one.
        if (
            self.options.reference
            and away_mm < _NO_TRACKER_MM
            and not (self.tool is TrackedTool.REFERENCE and away_mm == 0.0)
        ):
            found.append(
                Doubt(
                    DoubtKind.WRONG_FRAME,
                    f"The {self.tool} lies {away_mm:.3g} mm from the tracker's origin, as poses in metres do: give "
                    "them in mm.",
                )
            )
        return found

    def at(self, time_s: float) -> FloatArray | None:
        """(4, 4) pose at a moment between two poses that lie no farther apart than a pose may be old.

        Between them the place goes evenly along a line and the turn evenly about one axis.
        """
        before = None
        for pose in reversed(self.poses):
            if pose.measured_s == time_s:
                return pose.matrix
            if pose.measured_s < time_s:
                before = pose
                break
            after = pose
        if (
            before is None
            or before is self.poses[-1]
            or after.measured_s - before.measured_s > self.options.pose_age_s
        ):
            return None
        share = (time_s - before.measured_s) / (after.measured_s - before.measured_s)
        return _between(before.matrix, after.matrix, share)

    def nearest(self, time_s: float) -> TimedPose | None:
        """The pose nearest in time, within what counts as the same moment."""
        best: TimedPose | None = None
        for pose in reversed(self.poses):
            if best is None or abs(pose.measured_s - time_s) < abs(best.measured_s - time_s):
                best = pose
            if pose.measured_s <= time_s:
                break
        if best is None or abs(best.measured_s - time_s) > self.options.pairing_s:
            return None
        return best


@dataclass(frozen=True, slots=True, eq=False)
class PosePair:
    """Needle and reference at one moment.

    Attributes:
        measured_s: the moment.
        X_TN: (4, 4) needle in the tracker.
        X_TR: (4, 4) reference in the tracker.
        X_RN: (4, 4) needle in the reference: what does not change when tracker or patient are moved.
    """

    measured_s: float
    X_TN: FloatArray
    X_TR: FloatArray
    X_RN: FloatArray


def newest_pair(needle: ToolTrack, reference: ToolTrack) -> PosePair | None:
    """The newest needle pose for which the reference is known at the same moment; None where there is none.

    Where no reference is asked for, needle poses are in its frame already.

    A pose of the very moment, or between two poses of the reference, goes before one that is only near in time, and
    none is ever paired with a reference farther away than that.
    """
    if not needle.options.reference and needle.poses:
        return _pair(needle.poses[-1], np.eye(4))
    if not needle.poses or not reference.poses:
        return None
    newest_s = needle.poses[-1].measured_s
    near: PosePair | None = None
    for pose in reversed(needle.poses):
        passed_s = newest_s - pose.measured_s
        if passed_s > needle.options.pose_age_s or (near is not None and passed_s > needle.options.pairing_s):
            break
        at = reference.at(pose.measured_s)
        if at is not None:
            return _pair(pose, at)
        if near is None and (other := reference.nearest(pose.measured_s)) is not None:
            near = _pair(pose, other.matrix)
    return near


def _pair(pose: TimedPose, X_TR: FloatArray) -> PosePair:
    return PosePair(pose.measured_s, pose.matrix, X_TR, inverse_of(X_TR) @ pose.matrix)


def inverse_of(matrix: FloatArray) -> FloatArray:
    """(4, 4) inverse of a rigid pose that was checked already."""
    result = np.eye(4)
    turn = matrix[:3, :3].T
    result[:3, :3] = turn
    result[:3, 3] = -turn @ matrix[:3, 3]
    return result


def _between(first: FloatArray, second: FloatArray, share: float) -> FloatArray | None:
    turn = rotation_vectors(first[:3, :3].T @ second[:3, :3])
    if float(np.linalg.norm(turn)) > _GREATEST_TURN_RAD:
        return None
    result = np.eye(4)
    result[:3, :3] = first[:3, :3] @ rotations_of(share * turn)
    result[:3, 3] = (1.0 - share) * first[:3, 3] + share * second[:3, 3]
    return result
