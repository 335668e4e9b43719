"""Distance in hand beyond what is demanded of the clearance to each obstacle."""

import numpy as np

from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import CLEARANCE_CAP_MM, MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn

#: Beyond this distance in hand an obstacle no longer matters.
SCALE_MM = 5.0


class ObstacleDistance(TrajectoryObjective):
    """Least distance beyond the demanded clearance over the anatomy's obstacles.

    What is demanded is the limit of the obstacle's ``Clearance`` column in the table, hard or soft; an obstacle
    without such a column does not count, because nothing is demanded of it.

    Args:
        weight: share in the weighted order.
    """

    def __init__(self, weight: float) -> None:
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return "clearance in hand"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        demanded_mm = {column.name: column.limit for column in paths.table.constraints}
        values = np.full(len(paths), SCALE_MM)
        for surface in paths.queries.anatomy.obstacles:
            limit_mm = demanded_mm.get(Clearance(surface, 0.0).name)
            if limit_mm is not None:
                clearance = paths.clearance_mm(surface, max(CLEARANCE_CAP_MM, limit_mm + SCALE_MM))
                values = np.minimum(values, clearance - limit_mm)
        cost = np.clip(1.0 - values / SCALE_MM, 0.0, None)
        return ObjectiveColumn(self.name, "mm", values, cost, self.weight)
