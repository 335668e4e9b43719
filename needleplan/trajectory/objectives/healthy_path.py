"""Some healthy organ before the tumour seals the track; much of it is needless harm."""

import numpy as np

from needleplan.anatomy.model import StructureSurface
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn

#: Less than this before the target costs; a direct puncture of the target costs 1.
ENOUGH_MM = 10.0
#: More than this costs, and 1 where it is ``HARM_MM`` more. The three lengths are this library's choices.
PLENTY_MM = 40.0
HARM_MM = 60.0


class HealthyPath(TrajectoryObjective):
    """Length of the organ that the path crosses before the target: free of cost between enough and plenty.

    Args:
        organ: the organ that holds the target.
        weight: share in the weighted order.
    """

    def __init__(self, organ: StructureSurface, weight: float) -> None:
        self.organ = organ
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return f"healthy {self.organ.name} before target"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        values = paths.organ_path_mm(self.organ)
        cost = np.maximum(0.0, np.maximum(1.0 - values / ENOUGH_MM, (values - PLENTY_MM) / HARM_MM))
        return ObjectiveColumn(self.name, "mm", values, cost, self.weight)
