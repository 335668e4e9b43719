"""The contract of coverage solvers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.matrix import CoverageMatrix


@dataclass(frozen=True, slots=True, eq=False)
class PathSelection:
    """Which paths a solver chose.

    Attributes:
        paths: rows of the matrix, ascending.
        solver: name of the solver.
        status: "optimal" (proven fewest and cheapest of the fewest), "fewest" (proven fewest), "feasible" (a
            cover without proof) or "limited" (no cover with the allowed number was found; none exists where
            ``lower_bound`` exceeds it).
        lower_bound: no choice of the offered paths covers all coverable points with fewer.
        uncovered: (m,) points that stay uncovered although some offered path could destroy them.
    """

    paths: tuple[int, ...]
    solver: str
    status: str
    lower_bound: float
    uncovered: NDArray[np.int64]


class CoverageSolver(ABC):
    """Chooses paths of a coverage matrix.

    A solver covers every point that any offered path can destroy, with as few paths as it finds and no more than
    allowed; where it finds none within the allowed number it covers as many points as it can and says so. Its lower
    bound is never above the true minimum. The same matrix gives the same selection.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the solver."""

    @abstractmethod
    def solve(self, matrix: CoverageMatrix, maximum_insertions: int) -> PathSelection:
        """Choose paths.

        Args:
            matrix: paths, points and costs.
            maximum_insertions: largest number of paths allowed, at least 1.
        """
