"""Greedy choice made better by exchanging paths, for problems that an integer program cannot finish."""

import time

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.contract import CoverageSolver, PathSelection
from needleplan.coverage.cover_problem import CoverProblem
from needleplan.coverage.greedy import (
    counting_bound,
    greedy_choice,
    value_bound,
    without_superfluous,
)
from needleplan.errors import OptionError
from needleplan.frames import FloatArray

#: Exchanges without a better cover after which the search ends.
_IDLE_STEPS = 400
#: Steps for which a path that was taken out stays out.
_REST = 3


class LocalSearchSolver(CoverageSolver):
    """Starts with the greedy choice and looks for a cover with one insertion fewer by exchanging paths.

    With one path dropped some points are left. In each step the path that least is lost with goes out and the one
    that gains most comes in, points that stayed uncovered for long weighing more and more (weighting local search,
    as of Gao, Weise, Li, "An Efficient Local Search Heuristic with Row Weighting for the Unicost Set Covering
    Problem", European Journal of Operational Research 2015). A path that went out stays out for a few steps. No
    proof comes of it: its bound is the counting one.

    Args:
        time_limit_s: wall time; the search ends earlier when it is idle, so that small problems give the same
            answer everywhere.
    """

    def __init__(self, time_limit_s: float = 10.0) -> None:
        if not time_limit_s > 0:
            raise OptionError(f"the time limit must be greater than zero, not {time_limit_s:g} s")
        self.time_limit_s = float(time_limit_s)

    @property
    def name(self) -> str:
        return "local search"

    def solve(self, matrix: CoverProblem, maximum_insertions: int) -> PathSelection:
        covers = matrix.path_covers
        bound = counting_bound(matrix)
        end = time.monotonic() + self.time_limit_s
        everything = int(matrix.added_insertions.sum())
        chosen = greedy_choice(matrix, everything, np.ones(covers.shape[1]))
        complete = not (matrix.coverable & ~covers[chosen].any(axis=0)).any()
        if complete:
            chosen = without_superfluous(matrix, chosen)
            while matrix.insertions_of(chosen) > bound and time.monotonic() < end:
                fewer = _exchanged(matrix, chosen, end)
                if fewer is None:
                    break
                chosen = without_superfluous(matrix, fewer)
        if not complete or matrix.insertions_of(chosen) > maximum_insertions:
            chosen = greedy_choice(matrix, maximum_insertions, matrix.point_value)
        left = matrix.coverable & ~covers[chosen].any(axis=0)
        status = "limited"
        if not left.any():
            chosen = without_superfluous(matrix, chosen)
            status = "fewest" if matrix.insertions_of(chosen) <= bound else "feasible"
        return PathSelection(
            tuple(sorted(chosen)),
            self.name,
            status,
            bound,
            np.flatnonzero(left),
            value_bound(matrix, maximum_insertions),
        )


def _exchanged(matrix: CoverProblem, chosen: list[int], end: float) -> list[int] | None:
    """A cover with fewer insertions than ``chosen``; None where the search found none."""
    added = matrix.added_insertions
    covers = np.unique(matrix.path_covers[:, matrix.coverable], axis=1)
    weight = np.ones(covers.shape[1])
    allowed = matrix.insertions_of(chosen) - 1
    current = list(chosen)
    while matrix.insertions_of(current) > allowed:
        current.remove(_least_missed(covers, current, added, weight))
    rests_until = np.zeros(len(covers), dtype=np.int64)
    for step in range(1, _IDLE_STEPS + 1):
        lacking = ~covers[current].any(axis=0)
        if not lacking.any():
            return current
        if time.monotonic() > end or not any(added[path] > 0 for path in current):
            return None
        out = _least_missed(covers, current, added, weight)
        current.remove(out)
        rests_until[out] = step + _REST
        current += _best_entrants(matrix, covers, current, rests_until < step, weight, allowed)
        weight[~covers[current].any(axis=0)] += 1.0
    return None


def _least_missed(covers: NDArray[np.bool_], current: list[int], added: FloatArray, weight: FloatArray) -> int:
    """The path of a choice whose loss weighs least, of those that add an insertion."""
    alone = covers[current].sum(axis=0) == 1
    loss = {path: float(weight[alone & covers[path]].sum()) for path in current if added[path] > 0}
    return min(loss, key=lambda path: (loss[path], path))


def _best_entrants(
    matrix: CoverProblem,
    covers: NDArray[np.bool_],
    current: list[int],
    awake: NDArray[np.bool_],
    weight: FloatArray,
    allowed: int,
) -> list[int]:
    """Paths that gain most, one after the other, as many as fit."""
    entrants: list[int] = []
    while True:
        taken = [*current, *entrants]
        lacking = ~covers[taken].any(axis=0)
        open_ = awake & (matrix.added_insertions + matrix.insertions_of(taken) <= allowed)
        if matrix.conflicts is not None and taken:
            open_ &= ~matrix.conflicts[taken].any(axis=0)
        gain = np.where(open_, covers[:, lacking] @ weight[lacking], 0.0)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            return entrants
        entrants.append(best)
