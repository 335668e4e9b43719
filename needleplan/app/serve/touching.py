"""Points that are touched with the needle's tip: poses are gathered for a while, then averaged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from needleplan.errors import CaseError, NavigationError
from needleplan.frames import FloatArray
from needleplan.io.slicer_markups import Markups
from needleplan.navigation.events import PoseRefused, ToolPose
from needleplan.navigation.guidance import Doubt, DoubtKind
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.patient_registration import TouchedPoint, tip_points_mm, touched_point
from needleplan.navigation.tracked_tools import TrackedTools
from needleplan.plan import Vector3, vector3

#: The word for a stroked skin in place of a fiducial's name.
SKIN = "skin"
#: Poses that are kept of one touch.
_MAXIMUM_POSES = 60_000
#: Fewer places of the tip are no patch of skin.
_LEAST_SKIN = 30
#: A point that is touched again lies within this of where it was, or the marker slipped on the needle meanwhile.
_AGAIN_MM = 2.0


def named_points(markups: Markups, where: str) -> dict[str, Vector3]:
    """The points of all lists of a markups file by their labels.

    Raises:
        CaseError: there is none, or a label is empty, doubled, or the word for the skin.
    """
    found: dict[str, Vector3] = {}
    for each in markups.lists:
        for point in each.points:
            name = " ".join(point.label.split())
            if not name or len(name) > 64 or not name.isprintable():
                raise CaseError(f"{where}: a fiducial needs a label of 1 to 64 printable characters")
            if name in found or name == SKIN:
                raise CaseError(f"{where}: two fiducials are labelled {name!r}, or it is the word for the skin")
            found[name] = vector3(point.position_mm)
    if not found:
        raise CaseError(f"{where}: the file holds no list of fiducials")
    return found


@dataclass(slots=True)
class Touch:
    """One touch under way.

    Attributes:
        peer: client that asked for it.
        echo: its command.
        name: of the fiducial, or the word for the skin.
        until_s: when it ends.
        poses: of needle and reference, as they arrived.
        spoilt: what happened meanwhile that makes it of no use; empty where nothing did.
    """

    peer: int
    echo: str
    name: str
    until_s: float
    poses: list[ToolPose] = field(default_factory=list)
    spoilt: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """Skin that was stroked.

    Attributes:
        places_mm: (n, 3) places of the tip, in the reference's frame.
        began_s: when its oldest pose arrived.
    """

    places_mm: FloatArray
    began_s: float


class TouchDesk:
    """What was touched so far, as long as it counts.

    A reference that moved, or a clock that was set, ends all that was touched before. After a jump of the needle,
    which may be its marker that slipped or a quick hand that hid it, points of before count again once the oldest
    of them was touched again and lies where it lay.

    Args:
        points: fiducials in the image by name, patient LPS.
        options: how needle and reference are paired.

    Attributes:
        points: the fiducials.
        touched: those that were touched; a later touch takes the place of an earlier one.
        swept: the skin that was stroked; None before it was.
        under_way: the touch that is under way.
        lost: counts how often all that was touched was forgotten because something happened.
        clock_set: True after a tracker's clock was set, until it is fetched.
    """

    def __init__(self, points: Mapping[str, Vector3], options: SessionOptions) -> None:
        self.points = dict(points)
        self.touched: dict[str, TouchedPoint] = {}
        self.swept: Swept | None = None
        self.under_way: Touch | None = None
        self.lost = 0
        self.clock_set = False
        self._options = options
        self._tools = TrackedTools(options)
        self._began_s: dict[str, float] = {}
        self._doubtful: set[str] = set()
        self._why_lost = ""

    def place_of(self, name: str) -> Vector3:
        """Where a fiducial lies in the image; NavigationError where there is none of that name."""
        if not self.points:
            raise NavigationError("this server knows no fiducials: start it with --fiducials FILE")
        if name not in self.points:
            raise NavigationError(f"there is no fiducial of that name: there are {', '.join(self.points)}"[:1000])
        return self.points[name]

    def begin(self, touch: Touch) -> None:
        """Gather poses from now on; NavigationError where a touch is under way or the name is unknown."""
        if self.under_way is not None:
            raise NavigationError(f"{self.under_way.name} is being touched: wait for its answer")
        if touch.name != SKIN:
            self.place_of(touch.name)
        self.under_way = touch

    def pose(self, pose: ToolPose | PoseRefused) -> None:
        """A pose came, or what is none."""
        for doubt in self._tools.take(pose):
            self._doubt(doubt)
        if not isinstance(pose, ToolPose):
            return
        if self.under_way is not None and len(self.under_way.poses) < _MAXIMUM_POSES:
            self.under_way.poses.append(pose)

    def _doubt(self, doubt: Doubt) -> None:
        touch = self.under_way
        if doubt.kind is DoubtKind.JUMP:
            # A point on which the tip did not rest shows by its spread.
            if touch is not None and touch.name == SKIN:
                touch.spoilt = doubt.sentence
            self._doubtful = set(self.touched)
            self.swept = None
            return
        self.lose(doubt.sentence)
        if doubt.kind is DoubtKind.CLOCK:
            # Another clock, on which the order of poses begins anew.
            self._tools = TrackedTools(self._options)
            self.clock_set = True

    def lose(self, why: str) -> None:
        """Forget all that was touched, and what is being touched, because of something that happened."""
        if self.touched or self.swept is not None:
            self._why_lost = f"All that was touched before was forgotten: {why}"
        if self.under_way is not None:
            self.under_way.spoilt = why
        self._forget_touched()
        self.lost += 1

    def counting(self) -> tuple[TouchedPoint, ...]:
        """The points that count for a registration.

        Raises:
            NavigationError: too few were touched, or the needle jumped since and nothing shows that its marker
                still sits where it sat.
        """
        if len(self.touched) < 3:
            raise NavigationError(
                f"{len(self.touched)} fiducials were touched, where 3 or more are needed. {self._why_lost}".rstrip()
            )
        if self._doubtful:
            oldest = min(self._doubtful, key=self._began_s.__getitem__)
            raise NavigationError(
                f"the needle jumped, or was moved out of view, after {oldest} was touched: touch {oldest} again, "
                "to see whether the marker still sits where it sat on the needle"
            )
        return tuple(self.touched.values())

    def oldest_s(self, names: Iterable[str]) -> float:
        """When the oldest pose arrived of those that some touched points are of."""
        return min(self._began_s[name] for name in names)

    def finish(self, touch: Touch) -> dict[str, Any]:
        """Average what was gathered; figures for the answer.

        Raises:
            NavigationError: too few poses, too short, or the tip moved, or the reference or a clock did.
        """
        self.under_way = None
        if touch.spoilt:
            raise NavigationError(f"{touch.spoilt} What was touched meanwhile does not count: touch it again")
        if touch.name != SKIN:
            found = touched_point(touch.name, touch.poses, options=self._options)
            figures = {"spread_mm": found.spread_mm, "poses": found.count} | self._compared(found)
            self.touched[touch.name] = found
            self._began_s[touch.name] = min(pose.received_s for pose in touch.poses)
            return figures
        swept = tip_points_mm(touch.poses, self._options)
        if len(swept) < _LEAST_SKIN:
            raise NavigationError(
                f"{len(swept)} places on the skin were gathered, where {_LEAST_SKIN} are needed: stroke it again"
            )
        self.swept = Swept(swept, min(pose.received_s for pose in touch.poses))
        return {"poses": len(swept), "extent_mm": float(np.linalg.norm(np.ptp(swept, axis=0)))}

    def _compared(self, found: TouchedPoint) -> dict[str, Any]:
        """What a point that is touched again shows of those that a jump made doubtful."""
        if not self._doubtful or found.name != min(self._doubtful, key=self._began_s.__getitem__):
            return {}
        off_mm = float(np.linalg.norm(found.point_mm - self.touched[found.name].point_mm))
        if off_mm <= _AGAIN_MM:
            self._doubtful.clear()
            return {"again_mm": off_mm}
        self._forget_touched()
        self._why_lost = (
            f"All that was touched before was forgotten: {found.name} was found {off_mm:.1f} mm from where it was, "
            "so the marker slipped on the needle."
        )
        return {"again_mm": off_mm, "words": [self._why_lost]}

    def forget(self) -> None:
        """Forget all touched points."""
        self._forget_touched()
        self.under_way = None
        self._why_lost = ""

    def _forget_touched(self) -> None:
        self.touched.clear()
        self._began_s.clear()
        self._doubtful.clear()
        self.swept = None
