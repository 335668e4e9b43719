"""A needle guide above the skin must not press into it, nor into a breast, an arm or a fold beside the entry."""

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.constraints.located import nearest_position
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: Room between guide and skin is measured up to this.
ROOM_CAP_MM = 50.0
#: Demands up to this can be told from enough.
LARGEST_ROOM_MM = 40.0


class GuideRoom(TrajectoryConstraint):
    """The guide about the shaft outside keeps a distance from the skin.

    The guide is all that lies within its radius of the piece of the axis from ``standoff_mm`` to ``standoff_mm +
    length_mm`` outside the entry, its ends round, so a guide with flat ends has at least this room. A guide whose
    axis crosses the skin, or begins inside, has minus its radius.

    Args:
        radius_mm: radius of the guide.
        length_mm: its length.
        standoff_mm: distance along the needle from the entry to its near end, more than its radius.
        least_room_mm: least distance from the skin.
    """

    def __init__(self, radius_mm: float, length_mm: float, standoff_mm: float, least_room_mm: float = 0.0) -> None:
        if not (0 < radius_mm <= 100 and 0 < length_mm <= 300 and 0 < standoff_mm <= 300):
            raise OptionError(
                f"a needle guide must have a radius up to 100 mm, a length and a stand-off up to 300 mm, all above "
                f"0, not {radius_mm:g}, {length_mm:g} and {standoff_mm:g} mm"
            )
        if not standoff_mm > radius_mm:
            raise OptionError(
                f"a needle guide of {radius_mm:g} mm radius touches the skin at a stand-off of {standoff_mm:g} mm: "
                "the stand-off must be greater than the radius"
            )
        if not 0 <= least_room_mm <= LARGEST_ROOM_MM:
            raise OptionError(
                f"the room of a guide must be between 0 and {LARGEST_ROOM_MM:g} mm, not {least_room_mm:g}"
            )
        self.radius_mm = float(radius_mm)
        self.length_mm = float(length_mm)
        self.standoff_mm = float(standoff_mm)
        self.least_room_mm = float(least_room_mm)

    @property
    def name(self) -> str:
        return "room for the guide"

    def with_limit(self, limit: float) -> "GuideRoom | None":
        if not 0 <= limit <= LARGEST_ROOM_MM:
            return None
        return GuideRoom(self.radius_mm, self.length_mm, self.standoff_mm, limit)

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where the guide stays too near to the skin, however far its far end swings.

        A guide that begins inside stands for distance 0: a neighbour that begins outside has passed the skin on the
        way there, so it has no more room than it moved.
        """
        swing_mm = around.swing_mm(self.standoff_mm + self.length_mm)
        return np.asarray(column.values + swing_mm < column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        return ConstraintColumn(
            self.name,
            "mm",
            self._distance_mm(paths, *self._ends(paths)) - self.radius_mm,
            self.least_room_mm,
            True,
            f"at least {self.least_room_mm:g} mm between the skin and a guide of {self.radius_mm:g} mm radius, "
            f"{self.standoff_mm:g} to {self.standoff_mm + self.length_mm:g} mm above the entry",
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """Where the guide is nearest to the skin, negative as it lies outside; not a number beyond the cap."""
        near, far = self._ends(paths)
        distance = self._distance_mm(paths, near, far)
        share = nearest_position(paths.queries.tree(paths.queries.anatomy.entry), near, far, distance)
        place = -(self.standoff_mm + share * self.length_mm)
        return np.where(distance < self._cap_mm, place, np.nan)

    def _ends(self, paths: MeasuredPaths) -> tuple[FloatArray, FloatArray]:
        entry, direction = paths.table.entry_mm, paths.table.entry_direction
        return (
            entry - self.standoff_mm * direction,
            entry - (self.standoff_mm + self.length_mm) * direction,
        )

    def _distance_mm(self, paths: MeasuredPaths, near: FloatArray, far: FloatArray) -> FloatArray:
        tree = paths.queries.tree(paths.queries.anatomy.entry)
        distance = tree.segment_distance_mm(near, far, self._cap_mm)
        return np.where(tree.contains(near), 0.0, distance)

    @property
    def _cap_mm(self) -> float:
        # Over an entry that lies on the skin no guide is farther from it than its stand-off.
        return min(ROOM_CAP_MM, self.standoff_mm + 0.1)
