"""Distance from the needle's surface to one obstacle."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import StructureSurface
from needleplan.case.model import Role
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.constraints.located import located_clearance_mm
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import CLEARANCE_CAP_MM, HANDLE_MM, MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: Room beyond a demanded clearance within which more can be told from enough.
ROOM_MM = 5.0

#: Demands beyond this are no clearances of a needle.
LARGEST_LIMIT_MM = 50.0


class Clearance(TrajectoryConstraint):
    """The needle's surface keeps a distance from an obstacle over the whole path; it never crosses it.

    Args:
        surface: the obstacle.
        limit_mm: least distance, 0 to ``LARGEST_LIMIT_MM``.
    """

    def __init__(self, surface: StructureSurface, limit_mm: float) -> None:
        if not 0 <= limit_mm <= LARGEST_LIMIT_MM:
            raise OptionError(
                f"the clearance to {surface.name} must be between 0 and {LARGEST_LIMIT_MM:g} mm, not {limit_mm:g}"
            )
        self.surface = surface
        self.limit_mm = float(limit_mm)

    @property
    def name(self) -> str:
        return f"clearance to {self.surface.name}"

    def with_limit(self, limit: float) -> "Clearance | None":
        return Clearance(self.surface, limit) if 0 <= limit <= LARGEST_LIMIT_MM else None

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        values = paths.clearance_mm(self.surface, self._cap_mm)
        return ConstraintColumn(
            self.name,
            "mm",
            values,
            self.limit_mm,
            True,
            f"needle surface at least {self.limit_mm:g} mm from {self.surface.name}",
        )

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where the obstacle stays too near, or a neighbour still passes through it.

        A neighbour passes within the sway of the place of least distance, which may lie on the shaft outside where
        that counts. Where the path crosses the obstacle, a neighbour passes within the sway of the crossing, which
        is that share of what its ends move; and in the middle of a part inside the path lies so deep that a
        neighbour may be unable to leave the obstacle on its way past.
        """
        table = paths.table
        if table.curvature_per_mm is not None:
            return np.zeros(len(paths), dtype=np.bool_)
        radius, outside_mm = table.applicator.radius_mm, self._outside_mm(paths)
        sway_mm = np.maximum(around.sway_mm, around.swing_mm(outside_mm)) if outside_mm > 0 else around.sway_mm
        proven: NDArray[np.bool_] = column.values + sway_mm < column.limit
        rows = np.flatnonzero(~proven & (column.values <= 1e-9 - radius))
        if not len(rows):
            return proven
        crossing = paths.of_rows(rows)
        at_entry, at_tip = around.entry_mm[rows, None], around.tip_mm[rows, None]

        def room_mm(share: FloatArray) -> FloatArray:
            """(n, k) how far an obstacle at a share of each path may be left behind by its neighbours."""
            return (1.0 - share) * at_entry + share * at_tip - column.limit - radius

        met = crossing.crossings(self.surface).parameter
        near = (np.where(np.isfinite(met), room_mm(np.where(np.isfinite(met), met, 0.0)), np.inf) < 0).any(axis=1)
        proven[rows[near]] = True
        begin, end = crossing.parts_inside(self.surface)
        if not begin.shape[1]:
            return proven
        middle = 0.5 * (begin + end)
        needed = room_mm(middle)
        # No place lies deeper than half the part is long: of the parts that may do, the one with most to spare.
        spare = np.nan_to_num(0.5 * (end - begin) * crossing.table.length_mm[:, None] - needed, nan=-np.inf)
        best = np.argmax(spare, axis=1)
        hopeful = np.flatnonzero(~near & (spare.max(axis=1) > 0))
        best, rows = best[hopeful], rows[hopeful]
        share, needed = middle[hopeful, best], needed[hopeful, best]
        points = table.entry_mm[rows] + share[:, None] * (table.tip_mm[rows] - table.entry_mm[rows])
        tree = paths.queries.tree(self.surface)
        deep = tree.segment_distance_mm(points, points, float(needed.max(initial=0.0)) + 1.0) > needed
        proven[rows[deep]] = tree.contains(points[deep])
        return proven

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """Where the needle is nearest, the first crossing where it crosses; negative on the shaft outside.

        Not a number where it stays farther away than is measured.
        """
        cap_mm = self._cap_mm + paths.table.applicator.radius_mm
        return located_clearance_mm(paths, self.surface, cap_mm, self._outside_mm(paths))

    def _outside_mm(self, paths: MeasuredPaths) -> float:
        """Length of the shaft outside that counts too; 0 where only the path does."""
        counts = self.surface.role is Role.NO_GO or paths.queries.anatomy.case.entry_substitute is not None
        return paths.table.applicator.usable_length_mm + HANDLE_MM if counts else 0.0

    @property
    def _cap_mm(self) -> float:
        return max(CLEARANCE_CAP_MM, self.limit_mm + ROOM_MM)
