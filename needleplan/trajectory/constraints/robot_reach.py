"""A path that the robot cannot carry out is no path."""

from needleplan.trajectory.contract import Reachability, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class RobotReach(TrajectoryConstraint):
    """The robot can hold its guide on the path.

    It is asked only of paths that satisfy everything else: its answer takes longer than all of that together.

    Args:
        reachability: the robot's answer, given by whoever knows the robot.
    """

    def __init__(self, reachability: Reachability) -> None:
        self.reachability = reachability

    @property
    def name(self) -> str:
        return "robot reach"

    @property
    def asked_last(self) -> bool:
        return True

    def with_limit(self, limit: float) -> None:
        """Reached or not: there is nothing between."""

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        reached = self.reachability.reachable(paths.table.entry_mm, paths.table.tip_mm)
        return ConstraintColumn(
            self.name, "", reached.astype(float), 1.0, True, "the robot can hold its guide on the path"
        )
