"""Pareto front of the feasible paths, and their order."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Role
from needleplan.errors import OptionError
from needleplan.trajectory.contract import Reachability, TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.objectives.bleeding_risk import BleedingRisk
from needleplan.trajectory.objectives.capsule_angle import CapsuleAngle
from needleplan.trajectory.objectives.healthy_path import HealthyPath
from needleplan.trajectory.objectives.obstacle_distance import ObstacleDistance
from needleplan.trajectory.objectives.out_of_plane import OutOfPlane
from needleplan.trajectory.objectives.path_length import PathLength
from needleplan.trajectory.objectives.pneumothorax_risk import PneumothoraxRisk
from needleplan.trajectory.objectives.robot_manipulability import RobotManipulability
from needleplan.trajectory.objectives.skin_obliquity import SkinObliquity
from needleplan.trajectory.objectives.soft_limits import SoftLimits
from needleplan.trajectory.objectives.tumour_axis import TumourAxis
from needleplan.trajectory.orders import PathOrder, WeightedOrder
from needleplan.trajectory.pareto import pareto_front
from needleplan.trajectory.table import TrajectoryTable

#: Only the ratios of weights decide, so nobody needs a larger one; sums of far larger ones are not finite.
LARGEST_WEIGHT = 1e6


@dataclass(frozen=True, slots=True)
class ObjectiveWeights:
    """Shares of the objectives in the weighted order; each is zero or more.

    The out-of-plane angle counts in the Pareto front but not in the order: a guided needle need not lie in a
    slice. The objectives from ``skin_angle`` to ``robot`` are measured only where their weight is above zero, and
    are left out by default: they overlap with the first three, rest on weak figures or cost time. Limits that were
    softened always cost, else softening would remove them without a word.
    """

    length: float = 1.0
    clearance: float = 1.0
    capsule_angle: float = 0.3
    out_of_plane: float = 0.0
    skin_angle: float = 0.0
    healthy_path: float = 0.0
    tumour_axis: float = 0.0
    bleeding: float = 0.0
    pneumothorax: float = 0.0
    robot: float = 0.0
    soft_limits: float = 1.0

    def __post_init__(self) -> None:
        values = dataclasses.astuple(self)
        # A weight that is not finite lies in no range.
        if not all(0 <= value <= LARGEST_WEIGHT for value in values) or max(values[:-1]) == 0:
            raise OptionError(
                f"objective weights must be zero or more and at most {LARGEST_WEIGHT:g}, and one of them above zero"
            )


def default_objectives(
    queries: AnatomyQueries,
    weights: ObjectiveWeights | None = None,
    reachability: Reachability | None = None,
    soft: bool = True,
    lungs: Sequence[StructureSurface] | None = None,
) -> tuple[TrajectoryObjective, ...]:
    """Length, clearance in hand, capsule angle (where an organ holds the target), out-of-plane angle, and others.

    Args:
        queries: the anatomy.
        weights: shares in the weighted order; the defaults where None.
        reachability: the robot's answer, needed where ``weights.robot`` is above zero.
        soft: whether the cost of softened constraints is among the objectives; it is 0 where none is soft.
        lungs: surfaces of aerated lung for the risk of pneumothorax; where None, those with the role lung and the
            organ that holds the target if its name says that it is one.

    Raises:
        OptionError: a weight asks for what the case or the caller does not offer.
    """
    weights = weights or ObjectiveWeights()
    anatomy = queries.anatomy
    organ = queries.host_organ
    objectives: list[TrajectoryObjective] = [PathLength(weights.length), ObstacleDistance(weights.clearance)]
    if organ is not None:
        objectives.append(CapsuleAngle(organ, weights.capsule_angle))
    objectives.append(OutOfPlane(weights.out_of_plane))
    if weights.skin_angle > 0:
        objectives.append(SkinObliquity(weights.skin_angle))
    if weights.healthy_path > 0:
        if organ is None:
            raise OptionError(
                f"weight {weights.healthy_path:g} of the healthy path asks for an organ that holds the target, "
                f"and case {anatomy.case.name} has none"
            )
        objectives.append(HealthyPath(organ, weights.healthy_path))
    if weights.tumour_axis > 0:
        objectives.append(TumourAxis(weights.tumour_axis))
    if weights.bleeding > 0:
        objectives.append(BleedingRisk(anatomy.with_role(Role.VESSEL), weights.bleeding))
    if weights.pneumothorax > 0:
        objectives.append(
            PneumothoraxRisk(_aerated_lungs(queries) if lungs is None else lungs, weights.pneumothorax)
        )
    if weights.robot > 0:
        if reachability is None:
            raise OptionError(
                f"weight {weights.robot:g} of the robot asks for a robot's reachability, none was given"
            )
        objectives.append(RobotManipulability(reachability, weights.robot))
    if soft:
        objectives.append(SoftLimits(weights.soft_limits))
    return tuple(objectives)


def _aerated_lungs(queries: AnatomyQueries) -> tuple[StructureSurface, ...]:
    """Structures with the role lung, and the organ that holds the target where it is called a lung."""
    organ = queries.host_organ
    held = (organ,) if organ is not None and "lung" in organ.name.lower() else ()
    return (*queries.anatomy.with_role(Role.LUNG), *held)


def rank(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    objectives: Sequence[TrajectoryObjective],
    measured: MeasuredPaths | None = None,
    order: PathOrder | None = None,
) -> TrajectoryTable:
    """The table with one column more for each objective, the cost of the order and the Pareto front.

    The first row lies on the front whenever all weights are above zero.

    Args:
        table: screened paths.
        queries: the anatomy.
        objectives: what the paths are compared by, at least one, with different names.
        measured: measurements of these paths that may exist already.
        order: how they are put in order; by the weighted sum where None.

    Raises:
        OptionError: there is no objective, two have the same name, or the order asks for one that is missing.
    """
    names = [objective.name for objective in objectives]
    if not names or len(set(names)) < len(names):
        raise OptionError(f"ranking needs one or more objectives with different names, not {names}")
    paths = MeasuredPaths(table, queries) if measured is None else measured.with_columns(table)
    columns = tuple(objective.evaluate(paths) for objective in objectives)
    rows = np.flatnonzero(table.feasible)
    cost = np.full(len(table), np.inf)
    cost[rows] = (order or WeightedOrder()).cost(columns, rows)
    front: NDArray[np.bool_] = np.zeros(len(table), dtype=np.bool_)
    if rows.size:
        front[rows] = pareto_front(np.stack([column.cost[rows] for column in columns], axis=1))
    return dataclasses.replace(table, objectives=columns, cost=cost, front=front)
