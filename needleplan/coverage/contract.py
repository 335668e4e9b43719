"""The contract of coverage solvers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.cover_problem import CoverProblem


@dataclass(frozen=True, slots=True, eq=False)
class PathSelection:
    """Which paths a solver chose.

    Attributes:
        paths: rows of the matrix, ascending.
        solver: name of the solver.
        status: "optimal" (proven fewest insertions and cheapest of the fewest), "fewest" (proven fewest),
            "feasible" (a cover without proof) or "limited" (no cover with the allowed number was found; none exists
            where ``lower_bound`` exceeds it).
        lower_bound: no choice of the offered paths that keeps the exclusions covers all coverable points with fewer
            insertions.
        uncovered: (m,) points that stay uncovered although some offered path could destroy them.
        sufficient: insertions of a cover that was found where they were not limited; None where none was.
        loose_bound: the lower bound where exclusions are left out; no more than ``lower_bound``.
        value_bound: no choice within the allowed number is worth more than this (``CoverProblem.value_of``).
    """

    paths: tuple[int, ...]
    solver: str
    status: str
    lower_bound: float
    uncovered: NDArray[np.int64]
    value_bound: float = np.inf
    sufficient: int | None = None
    loose_bound: float = 0.0


class CoverageSolver(ABC):
    """Chooses paths of a coverage matrix.

    A solver covers every point that any offered path can destroy, with as few insertions as it finds and no more
    than allowed, and never takes two paths that exclude each other. Where it finds no such cover it destroys what
    is worth most, the target before its margin, and says so. Its lower bound is never above the true minimum. The
    same matrix gives the same selection. Paths that are in the patient already add no insertion.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the solver."""

    @abstractmethod
    def solve(self, matrix: CoverProblem, maximum_insertions: int) -> PathSelection:
        """Choose paths.

        Args:
            matrix: paths, points, costs and exclusions.
            maximum_insertions: largest number of insertions allowed, zero or more.
        """
