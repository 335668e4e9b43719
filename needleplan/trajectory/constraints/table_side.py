"""The table and the mattress are in the way of needles from below."""

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable


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

    def evaluate(self, table: TrajectoryTable, queries: AnatomyQueries) -> ConstraintColumn:
        cosine = -table.direction @ queries.anatomy.case.up
        values = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        return ConstraintColumn(
            self.name,
            "deg",
            values,
            self.limit_deg,
            values <= self.limit_deg,
            f"shaft at most {self.limit_deg:g} degrees from straight up off the table",
        )
