"""A needle that meets the organ's capsule obliquely may slide on it or tear it."""

from needleplan.anatomy.model import StructureSurface
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn


class CapsuleAngle(TrajectoryObjective):
    """Angle between path and the organ surface's normal where the path enters the organ for the last time.

    Args:
        organ: the organ that holds the target.
        weight: share in the weighted order.
    """

    def __init__(self, organ: StructureSurface, weight: float) -> None:
        self.organ = organ
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return f"angle to {self.organ.name} capsule"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        values = paths.capsule_angle_deg(self.organ)
        return ObjectiveColumn(self.name, "deg", values, values / 90.0, self.weight)
