"""The table and the mattress are in the way of needles from below."""

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class TableSide(TrajectoryConstraint):
    """The shaft outside the patient points away from the table.

    Args:
        limit_deg: greatest angle between the outward shaft and the direction away from the table.
    """

    def __init__(self, limit_deg: float) -> None:
        if not 0 < limit_deg <= 180:
            raise OptionError(f"the table angle limit must lie between 0 and 180 degrees, not {limit_deg:g}")
        self.limit_deg = float(limit_deg)

    @property
    def name(self) -> str:
        return "table side"

    def with_limit(self, limit: float) -> "TableSide | None":
        return TableSide(limit) if 0 < limit <= 180 else None

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where even the neighbour with the best direction stands too oblique."""
        return np.asarray(column.values - around.turn_deg > column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        cosine = -paths.table.entry_direction @ paths.queries.anatomy.case.up
        values = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        return ConstraintColumn(
            self.name,
            "deg",
            values,
            self.limit_deg,
            False,
            f"shaft at most {self.limit_deg:g} degrees from straight up off the table",
        )
