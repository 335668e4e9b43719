"""Orders of feasible paths: by a weighted sum of costs, or level by level."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.table import ObjectiveColumn

#: Costs are compared to this many decimals, so that rounding of a moved case cannot change an order.
DECIMALS = 9


def weighted_cost(columns: Sequence[ObjectiveColumn], rows: NDArray[np.integer]) -> FloatArray:
    """(m,) sum of weight times cost over the objectives, for the given rows."""
    total = np.zeros(len(rows))
    for column in columns:
        total += column.weight * column.cost[rows]
    return total


class PathOrder(ABC):
    """How the feasible paths of a table are put in order."""

    @abstractmethod
    def cost(self, columns: Sequence[ObjectiveColumn], rows: NDArray[np.integer]) -> FloatArray:
        """(m,) finite costs of the feasible rows (m,): smaller comes first, equal ones keep the table's order.

        Raises:
            OptionError: the order asks for an objective that is not among the columns.
        """


@dataclass(frozen=True, slots=True)
class WeightedOrder(PathOrder):
    """By the weighted sum of costs; where all weights are above zero the first row is on the Pareto front."""

    def cost(self, columns: Sequence[ObjectiveColumn], rows: NDArray[np.integer]) -> FloatArray:
        return weighted_cost(columns, rows)


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a lexicographic order.

    Attributes:
        objective: name of an objective's column.
        tolerance: difference of *cost* (not of value) below which paths count as equal at this level.
    """

    objective: str
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.tolerance < np.inf:
            raise OptionError(
                f"the tolerance of level {self.objective!r} must be zero or more, not {self.tolerance}"
            )


@dataclass(frozen=True, slots=True)
class LexicographicOrder(PathOrder):
    """Level by level: the second level only decides between paths that the first one counts as equal.

    At each level the paths still equal are parted into steps of the level's tolerance, counted from the best of
    them. So whatever is within the tolerance of the best survives to the next level, and the order is transitive.
    What is equal at all levels is ordered by the weighted sum; that keeps the first row on the Pareto front where
    all weights are above zero.

    Attributes:
        levels: the most important first, each objective once.
    """

    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        names = [level.objective for level in self.levels]
        if not names or len(set(names)) < len(names):
            raise OptionError(f"a lexicographic order needs one or more different objectives, not {names}")

    def cost(self, columns: Sequence[ObjectiveColumn], rows: NDArray[np.integer]) -> FloatArray:
        """(m,) place in the order as a share of the number of rows: 0 to below 1, equal where nothing decides."""
        by_name = {column.name: column for column in columns}
        group = np.zeros(len(rows), dtype=np.int64)
        for level in self.levels:
            if level.objective not in by_name:
                raise OptionError(f"no objective is named {level.objective!r}: there are {', '.join(by_name)}")
            group = _parted(group, by_name[level.objective].cost[rows], level.tolerance)
        group = _parted(group, weighted_cost(columns, rows), 0.0)
        return group / max(1, len(rows))


def _parted(group: NDArray[np.int64], cost: FloatArray, tolerance: float) -> NDArray[np.int64]:
    """Groups (m,), each parted by ``cost`` in steps of ``tolerance`` from its best; numbered in order from 0."""
    step = np.round(cost, DECIMALS)
    if tolerance > 0 and len(group):
        best = np.full(int(group.max()) + 1, np.inf)
        np.minimum.at(best, group, step)
        step = np.floor((step - best[group]) / tolerance + 10.0**-DECIMALS)
    order = np.lexsort((step, group))
    new = np.zeros(len(group), dtype=np.int64)
    new[order[1:]] = np.cumsum((np.diff(group[order]) != 0) | (np.diff(step[order]) != 0))
    return new
