"""A path that the robot cannot carry out is no path."""

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.trajectory.contract import Reachability, TrajectoryConstraint
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable


class RobotReach(TrajectoryConstraint):
    """The robot can hold its guide on the path.

    Args:
        reachability: the robot's answer, given by whoever knows the robot.
    """

    def __init__(self, reachability: Reachability) -> None:
        self.reachability = reachability

    @property
    def name(self) -> str:
        return "robot reach"

    def evaluate(self, table: TrajectoryTable, queries: AnatomyQueries) -> ConstraintColumn:
        reached = self.reachability.reachable(table.entry_mm, table.tip_mm)
        return ConstraintColumn(
            self.name, "", reached.astype(float), 1.0, reached, "the robot can hold its guide on the path"
        )
