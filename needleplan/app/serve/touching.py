"""Points that are touched with the needle's tip: poses are gathered for a while, then averaged."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from needleplan.errors import CaseError, NavigationError
from needleplan.frames import FloatArray
from needleplan.io.slicer_markups import Markups
from needleplan.navigation.events import ToolPose
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.patient_registration import TouchedPoint, tip_points_mm, touched_point
from needleplan.plan import Vector3, vector3

#: The word for a stroked skin in place of a fiducial's name.
SKIN = "skin"
#: Poses that are kept of one touch.
_MAXIMUM_POSES = 60_000
#: Fewer places of the tip are no patch of skin.
_LEAST_SKIN = 30


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
    """

    peer: int
    echo: str
    name: str
    until_s: float
    poses: list[ToolPose] = field(default_factory=list)


class TouchDesk:
    """What was touched so far.

    Args:
        points: fiducials in the image by name, patient LPS.
        options: how needle and reference are paired.

    Attributes:
        points: the fiducials.
        touched: those that were touched; a later touch takes the place of an earlier one.
        swept_mm: (n, 3) places of the tip on the skin, in the reference's frame; None before it was stroked.
        under_way: the touch that is under way.
    """

    def __init__(self, points: Mapping[str, Vector3], options: SessionOptions) -> None:
        self.points = dict(points)
        self.touched: dict[str, TouchedPoint] = {}
        self.swept_mm: FloatArray | None = None
        self.under_way: Touch | None = None
        self._options = options

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

    def pose(self, pose: ToolPose) -> None:
        """A pose came."""
        if self.under_way is not None and len(self.under_way.poses) < _MAXIMUM_POSES:
            self.under_way.poses.append(pose)

    def finish(self, touch: Touch) -> dict[str, float | int]:
        """Average what was gathered; figures for the answer.

        Raises:
            NavigationError: too few poses, too short, or the tip moved.
        """
        self.under_way = None
        if touch.name != SKIN:
            found = touched_point(touch.name, touch.poses, options=self._options)
            self.touched[touch.name] = found
            return {"spread_mm": found.spread_mm, "poses": found.count}
        swept = tip_points_mm(touch.poses, self._options)
        if len(swept) < _LEAST_SKIN:
            raise NavigationError(
                f"{len(swept)} places on the skin were gathered, where {_LEAST_SKIN} are needed: stroke it again"
            )
        self.swept_mm = swept
        return {"poses": len(swept), "extent_mm": float(np.linalg.norm(np.ptp(swept, axis=0)))}

    def forget(self) -> None:
        """Forget all touched points."""
        self.touched.clear()
        self.swept_mm = None
        self.under_way = None
