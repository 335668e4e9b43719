"""A needle that meets the skin obliquely slides on it and is harder to aim."""

import numpy as np

from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn


class SkinObliquity(TrajectoryObjective):
    """Angle between the path and the perpendicular to the skin at the entry.

    Args:
        weight: share in the weighted order.
    """

    def __init__(self, weight: float) -> None:
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return "angle to skin"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        cosine = -np.einsum("ij,ij->i", paths.table.entry_direction, paths.table.entry_normal)
        values = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        return ObjectiveColumn(self.name, "deg", values, values / 90.0, self.weight)
