"""The skin is passed once: not again on the way to the tip, and not by the shaft outside."""

import numpy as np

from needleplan.anatomy.tree import Crossings
from needleplan.frames import FloatArray
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
        inside, outside, _ = self._further(paths)
        missed = ~paths.queries.tree(paths.queries.anatomy.entry).contains(paths.table.tip_mm)
        values = np.isfinite(inside).sum(axis=1) + outside.count + missed.astype(np.float64)
        return ConstraintColumn(
            self.name, "", values, 0.0, False, "the needle passes the skin once, its handle stays outside"
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """The first further crossing inside; else the nearest outside, negative; else not a number."""
        inside, outside, near = self._further(paths)
        first = inside.min(axis=1, initial=np.inf) * paths.table.length_mm
        reach = paths.table.applicator.usable_length_mm + HANDLE_MM
        back = -(near + outside.parameter[:, 0] * (reach - near))
        return np.where(np.isfinite(first), first, np.where(outside.count > 0, back, np.nan))

    def _further(self, paths: MeasuredPaths) -> tuple[FloatArray, Crossings, FloatArray]:
        """Further crossings of the path as shares (n, k), inf for none; those of the shaft outside; its start."""
        table = paths.table
        tree = paths.queries.tree(paths.queries.anatomy.entry)
        outward = table.entry_direction
        inner = paths.crossings(paths.queries.anatomy.entry).parameter
        skip = np.minimum(ENTRY_ROUGHNESS_MM / np.maximum(table.length_mm, 1e-9), 0.5)
        inner = np.where(inner > skip[:, None], inner, np.inf)
        # Before it enters, and for ablations short of the deepest tip, more of the needle stands out of the body
        # than at the end: it comes along its axis from as far as it is long.
        reach = table.applicator.usable_length_mm + HANDLE_MM
        near = np.minimum(ENTRY_ROUGHNESS_MM, 0.5 * table.length_mm)
        outer = tree.crossings(table.entry_mm - near[:, None] * outward, table.entry_mm - reach * outward)
        return inner, outer, near
