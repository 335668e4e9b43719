"""Exact choice of paths by an integer program (HiGHS), with its bound."""

import time

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.contract import CoverageSolver, PathSelection
from needleplan.coverage.greedy import GreedySolver
from needleplan.coverage.matrix import CoverageMatrix
from needleplan.errors import OptionError
from needleplan.frames import FloatArray

#: Points added to the program in each round.
_ROUND_SIZE = 60
#: Hardest points among which those of a round are sought.
_EXAMINED = 3000


class IntegerProgramSolver(CoverageSolver):
    """Fewest paths, then the cheapest of the fewest.

    Rows are generated as they are needed: the program over some of the points is a relaxation of the program
    over all, so its bound holds for all, and once its optimum covers all points it is their optimum.

    Args:
        time_limit_s: wall time for each of the two levels.
    """

    def __init__(self, time_limit_s: float = 30.0) -> None:
        if not time_limit_s > 0:
            raise OptionError(f"the time limit must be greater than zero, not {time_limit_s:g} s")
        self.time_limit_s = float(time_limit_s)

    @property
    def name(self) -> str:
        return "HiGHS"

    def solve(self, matrix: CoverageMatrix, maximum_insertions: int) -> PathSelection:
        covers = matrix.path_covers
        points = np.flatnonzero(matrix.coverable)
        greedy = GreedySolver().solve(matrix, len(covers))
        columns = _undominated(covers, matrix.path_cost)
        count_cost = np.ones(len(columns))
        fewest, bound, proven = self._cover(covers[columns], points, count_cost, None)
        bound = max(bound, greedy.lower_bound)
        chosen = list(greedy.paths) if fewest is None else [int(columns[k]) for k in fewest]
        if len(greedy.paths) < len(chosen):
            chosen = list(greedy.paths)
        # A number of insertions is whole.
        bound = float(np.ceil(bound - 1e-6))
        if len(chosen) <= bound:
            proven = True
        if len(chosen) > maximum_insertions:
            limited = GreedySolver().solve(matrix, maximum_insertions)
            return PathSelection(limited.paths, self.name, "limited", bound, limited.uncovered)
        status = "fewest" if proven else "feasible"
        cheapest, _, cheapest_proven = self._cover(
            covers[columns], points, np.asarray(matrix.path_cost[columns]), len(chosen)
        )
        if cheapest is not None:
            candidate = [int(columns[k]) for k in cheapest]
            if len(candidate) <= len(chosen) and _cost(matrix, candidate) <= _cost(matrix, chosen) + 1e-12:
                chosen = candidate
                status = "optimal" if proven and cheapest_proven else status
        left = matrix.coverable & ~covers[chosen].any(axis=0)
        return PathSelection(tuple(sorted(chosen)), self.name, status, bound, np.flatnonzero(left))

    def _cover(
        self, covers: NDArray[np.bool_], points: NDArray[np.int64], cost: FloatArray, most: int | None
    ) -> tuple[list[int] | None, float, bool]:
        """(choice or None, lower bound, proven) of the cheapest cover of ``points`` with at most ``most`` paths."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        end = time.monotonic() + self.time_limit_s
        active = _first_points(covers, points)
        bound = 0.0
        while True:
            rows = np.unique(covers[:, active].T, axis=0)
            constraints = [LinearConstraint(csr_array(rows.astype(np.float64)), lb=1.0)]
            if most is not None:
                constraints.append(LinearConstraint(np.ones((1, covers.shape[0])), ub=most))
            left = end - time.monotonic()
            if left <= 0.05:
                return None, bound, False
            answer = milp(
                cost,
                integrality=np.ones(len(cost)),
                bounds=Bounds(0, 1),
                constraints=constraints,
                options={"time_limit": left, "mip_rel_gap": 1e-6},
            )
            if answer.mip_dual_bound is not None and np.isfinite(answer.mip_dual_bound):
                bound = max(bound, float(answer.mip_dual_bound))
            if answer.x is None:
                return None, bound, False
            chosen = np.flatnonzero(answer.x > 0.5)
            uncovered = points[~covers[chosen][:, points].any(axis=0)]
            if not len(uncovered):
                return chosen.tolist(), bound, answer.status == 0
            if answer.status != 0:
                return None, bound, False
            active = np.concatenate([active, _spread(covers, uncovered, _ROUND_SIZE)])


def _cost(matrix: CoverageMatrix, paths: list[int]) -> float:
    return float(matrix.path_cost[paths].sum())


def _undominated(covers: NDArray[np.bool_], cost: FloatArray) -> NDArray[np.int64]:
    """Paths that no cheaper path matches in every point: an optimum exists among them alone."""
    order = np.argsort(cost, kind="stable")
    packed = np.packbits(covers, axis=1)
    size = covers.sum(axis=1)
    keep: list[int] = []
    for path in order.tolist():
        bits = packed[path]
        rivals = [k for k in keep if size[k] >= size[path]]
        if any(not (bits & ~packed[k]).any() for k in rivals):
            continue
        keep.append(path)
    return np.array(sorted(keep), dtype=np.int64)


def _first_points(covers: NDArray[np.bool_], points: NDArray[np.int64]) -> NDArray[np.int64]:
    """The points that fewest paths destroy: they decide."""
    return _spread(covers, points, 3 * _ROUND_SIZE)


def _spread(covers: NDArray[np.bool_], points: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Up to ``count`` of ``points``: each next one is destroyed by few paths and unlike those before it."""
    degree = covers[:, points].sum(axis=0)
    hardest = np.argsort(degree, kind="stable")[:_EXAMINED]
    points, columns = points[hardest], covers[:, points[hardest]]
    # Points destroyed by a superset of the paths of another need no row; hardest points first finds them out.
    chosen: list[int] = []
    available = np.ones(len(points), dtype=bool)
    for k in range(len(points)):
        if not available[k]:
            continue
        chosen.append(k)
        if len(chosen) >= count:
            break
        # Whatever is destroyed by every path that destroys this point is covered with it.
        mine = columns[:, k]
        available &= ~columns[mine].all(axis=0)
    return points[np.array(chosen, dtype=np.int64)]
