"""A path within one axial slice can be followed in one image."""

import numpy as np

from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn


class OutOfPlane(TrajectoryObjective):
    """Angle between path and axial plane."""

    def __init__(self, weight: float) -> None:
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return "out-of-plane angle"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        sine = np.abs(paths.table.direction @ paths.queries.anatomy.case.cranial)
        values = np.degrees(np.arcsin(np.clip(sine, 0.0, 1.0)))
        return ObjectiveColumn(self.name, "deg", values, values / 90.0, self.weight)
