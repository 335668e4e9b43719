"""Zones are longer along the needle than across it: a long tumour is best met along its length."""

import numpy as np

from needleplan.anatomy.moments import solid_moments
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn


class TumourAxis(TrajectoryObjective):
    """Angle between the needle at its tip and the long axis of the target, 0 to 90 degrees.

    The cost is the angle times the target's elongation: a round tumour has no axis, and its cost is 0 for all paths
    without any switch between round and long.

    Args:
        weight: share in the weighted order.
    """

    def __init__(self, weight: float) -> None:
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return "angle to tumour axis"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        moments = solid_moments(paths.queries.anatomy.target.mesh)
        cosine = np.abs(paths.table.tip_direction @ moments.long_axis)
        values = np.degrees(np.arccos(np.clip(cosine, 0.0, 1.0)))
        return ObjectiveColumn(self.name, "deg", values, moments.elongation * values / 90.0, self.weight)
