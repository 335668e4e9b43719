"""Needle, hub and guide must go into the scanner together with the patient."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.trajectory.constraints.guide_room import GuideRoom
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import HANDLE_MM, MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: Radius of a ball-ended cylinder about the needle that holds hub and handle. Assumption of this project.
HUB_RADIUS_MM = 15.0
#: A room of more than this, or one lacking more than this, is none that a bore can have.
LARGEST_ROOM_MM = 500.0


class GantryBore(TrajectoryConstraint):
    """The needle fits into the bore when its tip stands on the skin, before it is advanced.

    Then the whole usable length and the handle stand outside the entry, and a guide at its place above the skin,
    with round ends as in :class:`GuideRoom`. The distance from a straight line to the bore's axis is convex along
    it, so both the shaft and the guide's piece of it are farthest from the axis at one of their two ends; what
    stands out later is a part of that. The value is the room that is left between needle, hub or guide and the
    bore's wall, never over-stated; it is negative by as much as the bore is too narrow.

    Args:
        radius_mm: radius of the bore.
        axis_point_mm: (3,) a point of its axis, patient LPS.
        axis_direction: (3,) its direction.
        least_room_mm: least room; below 0, the bore is taken to be that much wider.
        guide: the needle guide above the skin, of which radius, length and stand-off count; None without one.
    """

    def __init__(
        self,
        radius_mm: float,
        axis_point_mm: FloatArray,
        axis_direction: FloatArray,
        least_room_mm: float = 0.0,
        guide: GuideRoom | None = None,
    ) -> None:
        if not 100 <= radius_mm <= 1000:
            raise OptionError(f"the radius of a bore must be between 100 and 1000 mm, not {radius_mm:g}")
        if not -LARGEST_ROOM_MM <= least_room_mm <= LARGEST_ROOM_MM:
            raise OptionError(
                f"the room in a bore must be between {-LARGEST_ROOM_MM:g} and {LARGEST_ROOM_MM:g} mm, not "
                f"{least_room_mm:g}"
            )
        self.radius_mm = float(radius_mm)
        self.axis_point_mm = read_only(axis_point_mm)
        self.axis_direction = read_only(unit_vector(axis_direction))
        self.least_room_mm = float(least_room_mm)
        self.guide = guide

    @classmethod
    def about(
        cls,
        queries: AnatomyQueries,
        radius_mm: float,
        axis_above_table_mm: float | None = None,
        guide: GuideRoom | None = None,
    ) -> "GantryBore":
        """The bore about the patient on the table.

        Its axis runs along the patient, level with the table, midway between the skin's sides.

        Args:
            queries: the anatomy.
            radius_mm: radius of the bore.
            axis_above_table_mm: height of the axis over the lowest point of the skin; half the skin's height where
                None, as the table is usually raised to centre the patient.
            guide: the needle guide above the skin, if there is one.

        Raises:
            OptionError: the patient does not fit into the bore.
        """
        axes = queries.anatomy.axes
        local = queries.anatomy.entry.mesh.vertices_mm @ axes
        low, high = local.min(axis=0), local.max(axis=0)
        middle = 0.5 * (low + high)
        if axis_above_table_mm is not None:
            middle[1] = low[1] + axis_above_table_mm
        bore = cls(radius_mm, axes @ middle, axes[:, 2], guide=guide)
        needed = float(np.hypot(local[:, 0] - middle[0], local[:, 1] - middle[1]).max())
        if needed > radius_mm:
            raise OptionError(
                f"the patient of case {queries.anatomy.case.name} reaches {needed:.0f} mm from the axis of the "
                f"bore, whose radius is {radius_mm:g} mm: state a wider bore or another height of its axis"
            )
        return bore

    @property
    def name(self) -> str:
        return "gantry bore"

    def with_limit(self, limit: float) -> "GantryBore | None":
        if not -LARGEST_ROOM_MM <= limit <= LARGEST_ROOM_MM:
            return None
        return GantryBore(self.radius_mm, self.axis_point_mm, self.axis_direction, limit, self.guide)

    def distance_to_axis_mm(self, points_mm: FloatArray) -> FloatArray:
        """(n,) distance of points (n, 3) to the axis of the bore."""
        offset = points_mm - self.axis_point_mm
        return np.asarray(np.linalg.norm(np.cross(offset, self.axis_direction), axis=1))

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where an end of shaft or guide stands too near to the wall, however it moves and swings.

        The distance to the axis changes by no more than a point moves.
        """
        room = [
            room_mm + around.swing_mm(outside_mm)
            for outside_mm, room_mm in zip(self._outside_mm(paths), self._rooms_mm(paths), strict=True)
        ]
        return np.asarray(np.min(room, axis=0) < column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        what = "needle or hub" if self.guide is None else "needle, hub or guide"
        return ConstraintColumn(
            self.name,
            "mm",
            self._rooms_mm(paths).min(axis=0),
            self.least_room_mm,
            True,
            f"at least {self.least_room_mm:g} mm between {what} and a bore of {2 * self.radius_mm:g} mm",
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """The end that comes nearest to the wall: 0 at the skin, negative at the handle or an end of the guide."""
        return 0.0 - np.array(self._outside_mm(paths))[np.argmin(self._rooms_mm(paths), axis=0)]

    def _outside_mm(self, paths: MeasuredPaths) -> tuple[float, ...]:
        """How far outside the entry the ends stand: entry and handle, then both ends of the guide."""
        shaft = (0.0, paths.table.applicator.usable_length_mm + HANDLE_MM)
        if self.guide is None:
            return shaft
        return (*shaft, self.guide.standoff_mm, self.guide.standoff_mm + self.guide.length_mm)

    def _rooms_mm(self, paths: MeasuredPaths) -> FloatArray:
        """(e, n) room between the wall and the ball at each of the e ends."""
        table = paths.table
        outside_mm = self._outside_mm(paths)
        radii = [HUB_RADIUS_MM] * 2 + ([] if self.guide is None else [self.guide.radius_mm] * 2)
        return np.stack(
            [
                self.radius_mm - radius - self.distance_to_axis_mm(table.entry_mm - outside * table.entry_direction)
                for outside, radius in zip(outside_mm, radii, strict=True)
            ]
        )
