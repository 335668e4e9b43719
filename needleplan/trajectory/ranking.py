"""Pareto front of the feasible paths, and a weighted order."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.compiled import compiled
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.objectives.capsule_angle import CapsuleAngle
from needleplan.trajectory.objectives.obstacle_distance import ObstacleDistance
from needleplan.trajectory.objectives.out_of_plane import OutOfPlane
from needleplan.trajectory.objectives.path_length import PathLength
from needleplan.trajectory.table import TrajectoryTable


@dataclass(frozen=True, slots=True)
class ObjectiveWeights:
    """Shares of the objectives in the weighted order; each is zero or more.

    The out-of-plane angle counts in the Pareto front but not in the order: a guided needle need not lie in a
    slice.
    """

    length: float = 1.0
    clearance: float = 1.0
    capsule_angle: float = 0.3
    out_of_plane: float = 0.0

    def __post_init__(self) -> None:
        values = dataclasses.astuple(self)
        if min(values) < 0 or not np.isfinite(values).all() or max(values) == 0:
            raise OptionError("objective weights must be zero or more, and one of them above zero")


def default_objectives(
    queries: AnatomyQueries, weights: ObjectiveWeights | None = None
) -> tuple[TrajectoryObjective, ...]:
    """Length, clearance in hand, capsule angle (where an organ holds the target) and out-of-plane angle."""
    weights = weights or ObjectiveWeights()
    objectives: list[TrajectoryObjective] = [PathLength(weights.length), ObstacleDistance(weights.clearance)]
    organ = queries.host_organ
    if organ is not None:
        objectives.append(CapsuleAngle(organ, weights.capsule_angle))
    objectives.append(OutOfPlane(weights.out_of_plane))
    return tuple(objectives)


def rank(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    objectives: Sequence[TrajectoryObjective],
    measured: MeasuredPaths | None = None,
) -> TrajectoryTable:
    """The table with one column more for each objective, the weighted cost and the Pareto front.

    The weighted order puts a row of the front first whenever all weights are above zero.
    """
    paths = MeasuredPaths(table, queries) if measured is None else measured.with_columns(table)
    columns = tuple(objective.evaluate(paths) for objective in objectives)
    feasible = table.feasible
    cost = np.zeros(len(table))
    for column in columns:
        cost += column.weight * column.cost
    cost = np.where(feasible, cost, np.inf)
    front: NDArray[np.bool_] = np.zeros(len(table), dtype=np.bool_)
    rows = np.flatnonzero(feasible)
    if rows.size:
        front[rows] = pareto_front(np.stack([column.cost[rows] for column in columns], axis=1))
    return dataclasses.replace(table, objectives=columns, cost=cost, front=front)


def pareto_front(costs: FloatArray) -> NDArray[np.bool_]:
    """(n,) True for rows of ``costs`` (n, k) that no other row beats in one column and equals in the rest."""
    order = np.lexsort(costs.T[::-1])
    result: NDArray[np.bool_] = np.zeros(len(costs), dtype=np.bool_)
    result[order] = _front_of_sorted(np.ascontiguousarray(costs[order]))
    return result


@compiled
def _front_of_sorted(costs: Any) -> Any:
    """Front of rows in lexicographic order: a row can only be dominated by one before it on the front."""
    n, k = costs.shape
    keep = np.zeros(n, np.bool_)
    front = np.empty(n, np.int64)
    size = 0
    for i in range(n):
        dominated = False
        for j in range(size):
            row = front[j]
            no_worse = True
            better = False
            for c in range(k):
                if costs[row, c] > costs[i, c]:
                    no_worse = False
                    break
                if costs[row, c] < costs[i, c]:
                    better = True
            if no_worse and better:
                dominated = True
                break
        if not dominated:
            keep[i] = True
            front[size] = i
            size += 1
    return keep
