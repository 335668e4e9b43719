"""Distance in hand beyond what the hard constraints demand."""

import numpy as np

from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn

#: Beyond this distance in hand an obstacle no longer matters.
SCALE_MM = 5.0


class ObstacleDistance(TrajectoryObjective):
    """Least distance beyond the demanded clearance over all obstacles, from the clearance columns."""

    def __init__(self, weight: float) -> None:
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return "clearance in hand"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        columns = [c for c in paths.table.constraints if c.name.startswith("clearance to ")]
        values = np.full(len(paths), SCALE_MM)
        for column in columns:
            values = np.minimum(values, column.values - column.limit)
        cost = np.clip(1.0 - values / SCALE_MM, 0.0, None)
        return ObjectiveColumn(self.name, "mm", values, cost, self.weight)
