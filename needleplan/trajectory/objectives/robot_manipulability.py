"""A robot far from its singular postures can follow corrections."""

import numpy as np

from needleplan.errors import OptionError
from needleplan.trajectory.contract import Reachability, TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn


class RobotManipulability(TrajectoryObjective):
    """How freely the robot moves where it holds its guide on the path, from 0 to 1.

    Robots answer slowly, so only rows that satisfy all hard constraint columns present in the table are asked
    about; every other row has the value 0 and the cost 1. So a row's cost depends on the row's own columns and
    never on other rows. Rank after ``screen``, or every candidate is asked about.

    Args:
        reachability: the robot's answer, given by whoever knows the robot.
        weight: share in the weighted order.
    """

    def __init__(self, reachability: Reachability, weight: float) -> None:
        self.reachability = reachability
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return "robot manipulability"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        """The column of this objective for each of the n paths.

        Raises:
            OptionError: the robot's answers do not include manipulability.
        """
        table = paths.table
        rows = np.flatnonzero(table.feasible)
        found = self.reachability.manipulability(table.entry_mm[rows], table.tip_mm[rows])
        if found is None:
            kind = type(self.reachability).__name__
            raise OptionError(f"{kind} does not measure manipulability: give the objective a weight of 0")
        values = np.zeros(len(table))
        values[rows] = found
        return ObjectiveColumn(self.name, "", values, 1.0 - values, self.weight)
