"""The skin is passed once: not again on the way to the tip, and not by the shaft outside."""

import numpy as np

from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import HANDLE_MM, MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: Roughness of a voxel surface about the entry that is not a second puncture.
ENTRY_ROUGHNESS_MM = 3.0


class SingleSkinCrossing(TrajectoryConstraint):
    """Neither the path inside nor the shaft and handle outside meet the entry surface again.

    The value is the number of further crossings; a tip outside the body counts as one.
    """

    @property
    def name(self) -> str:
        return "skin crossed once"

    def with_limit(self, limit: float) -> None:
        """A second passage of the skin cannot be allowed."""

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        table = paths.table
        tree = paths.queries.tree(paths.queries.anatomy.entry)
        outward = table.entry_direction
        inner = paths.crossings(paths.queries.anatomy.entry)
        skip = np.minimum(ENTRY_ROUGHNESS_MM / np.maximum(table.length_mm, 1e-9), 0.5)
        again = (np.isfinite(inner.parameter) & (inner.parameter > skip[:, None])).sum(axis=1)
        # Before it enters, and for ablations short of the deepest tip, more of the needle stands out of the body
        # than at the end: it comes along its axis from as far as it is long.
        outside = table.applicator.usable_length_mm + HANDLE_MM
        near = np.minimum(ENTRY_ROUGHNESS_MM, 0.5 * table.length_mm)[:, None]
        outer = tree.crossings(table.entry_mm - near * outward, table.entry_mm - outside * outward).count
        missed = ~tree.contains(table.tip_mm)
        values = (again + outer).astype(np.float64) + missed
        return ConstraintColumn(
            self.name, "", values, 0.0, False, "the needle passes the skin once, its handle stays outside"
        )
