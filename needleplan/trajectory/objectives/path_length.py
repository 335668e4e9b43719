"""A short path bends less and wounds less."""

from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn

#: A path of this length costs 1.
SCALE_MM = 150.0


class PathLength(TrajectoryObjective):
    """Length from entry to tip."""

    def __init__(self, weight: float) -> None:
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return "length"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        values = paths.table.length_mm
        return ObjectiveColumn(self.name, "mm", values, values / SCALE_MM, self.weight)
