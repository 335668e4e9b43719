"""Distance from the needle's surface to one obstacle."""

import numpy as np

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Role
from needleplan.errors import OptionError
from needleplan.trajectory.constraints.single_skin_crossing import HANDLE_MM
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable

#: Clearances are exact up to this from the axis, or farther where more is demanded.
CLEARANCE_CAP_MM = 12.0
#: Room beyond a demanded clearance within which more can be told from enough.
ROOM_MM = 6.0

#: Demands beyond this are no clearances of a needle.
LARGEST_LIMIT_MM = 50.0


class Clearance(TrajectoryConstraint):
    """The needle's surface keeps a distance from an obstacle over the whole path; it never crosses it.

    Args:
        surface: the obstacle.
        limit_mm: least distance from needle surface to obstacle, zero or more.
    """

    def __init__(self, surface: StructureSurface, limit_mm: float) -> None:
        if not 0 <= limit_mm <= LARGEST_LIMIT_MM:
            raise OptionError(
                f"the clearance to {surface.name!r} must be between 0 and {LARGEST_LIMIT_MM:g} mm, not {limit_mm:g}"
            )
        self.surface = surface
        self.limit_mm = float(limit_mm)

    @property
    def name(self) -> str:
        return f"clearance to {self.surface.name}"

    def evaluate(self, table: TrajectoryTable, queries: AnatomyQueries) -> ConstraintColumn:
        cap = max(CLEARANCE_CAP_MM, self.limit_mm + table.applicator.radius_mm + ROOM_MM)
        values = clearance_mm(table, queries, self.surface, cap)
        return ConstraintColumn(
            self.name,
            "mm",
            values,
            self.limit_mm,
            values >= self.limit_mm,
            f"needle surface at least {self.limit_mm:g} mm from {self.surface.name}",
        )


def clearance_mm(
    table: TrajectoryTable, queries: AnatomyQueries, surface: StructureSurface, cap_mm: float
) -> np.ndarray:
    """(n,) distance from needle surface to an obstacle, exact up to ``cap_mm`` from the axis.

    Minus the needle's radius where the axis crosses the obstacle or lies inside it. Where obstacles may lie outside
    the entry surface (one that stands in for a skin, or a forbidden region) the shaft and handle outside count too.
    """
    tree = queries.tree(surface)
    distance = tree.segment_distance_mm(table.entry_mm, table.tip_mm, cap_mm)
    # A path that lies inside an obstacle altogether crosses no surface, but then its entry lies inside.
    entries, of_row = np.unique(table.entry_mm, axis=0, return_inverse=True)
    distance[tree.contains(entries)[of_row.ravel()]] = 0.0
    if surface.role is Role.NO_GO or queries.anatomy.case.entry_substitute is not None:
        # Before it is advanced, and when it is pulled back, the whole needle stands outside.
        back = (table.applicator.usable_length_mm + HANDLE_MM) * table.direction
        outside = tree.segment_distance_mm(table.entry_mm, table.entry_mm - back, cap_mm)
        distance = np.minimum(distance, outside)
    return distance - table.applicator.radius_mm
