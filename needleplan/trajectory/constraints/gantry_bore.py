"""Needle, hub and guide must go into the scanner together with the patient."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import HANDLE_MM, MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: Radius of a ball-ended cylinder about the needle that holds hub, handle and guide. Assumption of this project.
HUB_RADIUS_MM = 15.0
#: A room of more than this, or one lacking more than this, is none that a bore can have.
LARGEST_ROOM_MM = 500.0


class GantryBore(TrajectoryConstraint):
    """The needle fits into the bore when its tip stands on the skin, before it is advanced.

    Then the whole usable length and the handle stand outside the entry. The distance from a straight line to the
    bore's axis is convex along it, so it is greatest at one of the two ends; what stands out later is a part of
    that. The value is the room that is left between needle, hub or guide and the bore's wall, never over-stated; it
    is negative by as much as the bore is too narrow.

    Args:
        radius_mm: radius of the bore.
        axis_point_mm: (3,) a point of its axis, patient LPS.
        axis_direction: (3,) its direction.
        least_room_mm: least room; below 0, the bore is taken to be that much wider.
    """

    def __init__(
        self,
        radius_mm: float,
        axis_point_mm: FloatArray,
        axis_direction: FloatArray,
        least_room_mm: float = 0.0,
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

    @classmethod
    def about(
        cls, queries: AnatomyQueries, radius_mm: float, axis_above_table_mm: float | None = None
    ) -> "GantryBore":
        """The bore about the patient on the table.

        Its axis runs along the patient, level with the table, midway between the skin's sides.

        Args:
            queries: the anatomy.
            radius_mm: radius of the bore.
            axis_above_table_mm: height of the axis over the lowest point of the skin; half the skin's height where
                None, as the table is usually raised to centre the patient.

        Raises:
            OptionError: the patient does not fit into the bore.
        """
        axes = queries.anatomy.axes
        local = queries.anatomy.entry.mesh.vertices_mm @ axes
        low, high = local.min(axis=0), local.max(axis=0)
        middle = 0.5 * (low + high)
        if axis_above_table_mm is not None:
            middle[1] = low[1] + axis_above_table_mm
        bore = cls(radius_mm, axes @ middle, axes[:, 2])
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
        return GantryBore(self.radius_mm, self.axis_point_mm, self.axis_direction, limit)

    def distance_to_axis_mm(self, points_mm: FloatArray) -> FloatArray:
        """(n,) distance of points (n, 3) to the axis of the bore."""
        offset = points_mm - self.axis_point_mm
        return np.asarray(np.linalg.norm(np.cross(offset, self.axis_direction), axis=1))

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where the entry or the handle stands too near to the wall, however it moves and swings.

        The distance to the axis changes by no more than a point moves.
        """
        end_mm, outside = self._ends(paths)
        at_entry = self.distance_to_axis_mm(paths.table.entry_mm) - around.entry_mm
        at_end = self.distance_to_axis_mm(end_mm) - around.swing_mm(outside)
        return np.asarray(self.radius_mm - HUB_RADIUS_MM - np.maximum(at_entry, at_end) < column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        end_mm, _ = self._ends(paths)
        reach = np.maximum(self.distance_to_axis_mm(paths.table.entry_mm), self.distance_to_axis_mm(end_mm))
        return ConstraintColumn(
            self.name,
            "mm",
            self.radius_mm - HUB_RADIUS_MM - reach,
            self.least_room_mm,
            True,
            f"at least {self.least_room_mm:g} mm between needle, hub or guide and a bore of "
            f"{2 * self.radius_mm:g} mm",
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """The end that comes nearest to the wall: 0 at the skin, negative at the handle."""
        end_mm, outside = self._ends(paths)
        farther = self.distance_to_axis_mm(end_mm) > self.distance_to_axis_mm(paths.table.entry_mm)
        return np.where(farther, -outside, 0.0)

    def _ends(self, paths: MeasuredPaths) -> tuple[FloatArray, float]:
        outside = paths.table.applicator.usable_length_mm + HANDLE_MM
        return paths.table.entry_mm - outside * paths.table.entry_direction, outside
