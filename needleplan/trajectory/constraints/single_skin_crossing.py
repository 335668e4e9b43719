"""The skin is passed once: not again on the way to the tip, and not by the shaft outside."""

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable

#: Roughness of a voxel surface about the entry that is not a second puncture.
ENTRY_ROUGHNESS_MM = 3.0
#: Handle and guide behind the usable shaft.
HANDLE_MM = 60.0


class SingleSkinCrossing(TrajectoryConstraint):
    """Neither the path inside nor the shaft and handle outside meet the entry surface again.

    The value is the number of further crossings; a tip outside the body counts as one.
    """

    @property
    def name(self) -> str:
        return "skin crossed once"

    def evaluate(self, table: TrajectoryTable, queries: AnatomyQueries) -> ConstraintColumn:
        tree = queries.tree(queries.anatomy.entry)
        direction = table.direction
        skip = np.minimum(ENTRY_ROUGHNESS_MM, 0.5 * table.length_mm)[:, None] * direction
        inner = tree.crossings(table.entry_mm + skip, table.tip_mm).count
        # Before it enters, and for ablations short of the deepest tip, more of the needle stands out of the body
        # than at the end: it comes along its axis from as far as it is long.
        outside = table.applicator.usable_length_mm + HANDLE_MM
        outer = tree.crossings(table.entry_mm - skip, table.entry_mm - outside * direction).count
        missed = ~tree.contains(table.tip_mm)
        values = (inner + outer).astype(np.float64) + missed
        return ConstraintColumn(
            self.name, "", values, 0.0, values <= 0, "the needle passes the skin once, its handle stays outside"
        )
