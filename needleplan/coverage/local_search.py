"""Greedy choice made better by exchanging paths, for problems that an integer program cannot finish."""

import time

import numpy as np

from needleplan.coverage.contract import CoverageSolver, PathSelection
from needleplan.coverage.cover_problem import CoverProblem
from needleplan.coverage.exchange import exchanged
from needleplan.coverage.greedy import (
    counting_bound,
    greedy_choice,
    heuristic_selection,
    without_superfluous,
)
from needleplan.coverage.reduction import reduce_cover
from needleplan.coverage.time_limits import over_time
from needleplan.errors import OptionError

#: Exchanges without a better cover after which the search ends.
_IDLE_STEPS = 400


class LocalSearchSolver(CoverageSolver):
    """Starts with the greedy choice and looks for a cover with one insertion fewer by exchanging paths.

    No proof comes of it: its bound is the counting one.

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
            kept = reduce_cover(covers, matrix.path_cost, matrix.added_insertions, matrix.conflicts)
            within = None if matrix.conflicts is None else matrix.conflicts[np.ix_(kept.columns, kept.columns)]
            table = covers[np.ix_(kept.columns, kept.rows)]
            price = matrix.added_insertions[kept.columns]
            while matrix.insertions_of(chosen) > bound and not over_time(time.monotonic() >= end, self.name):
                # What stands in for a path that was left out counts no more and is in the way of no more.
                start = np.unique(np.searchsorted(kept.columns, kept.column_reason[chosen])).tolist()
                allowed = float(matrix.insertions_of(chosen) - 1)
                fewer = exchanged(table, price, within, start, allowed, _IDLE_STEPS, end)
                if fewer is None:
                    break
                chosen = without_superfluous(matrix, kept.columns[fewer].tolist())
        if not complete or matrix.insertions_of(chosen) > maximum_insertions:
            chosen = greedy_choice(matrix, maximum_insertions, matrix.point_value)
        return heuristic_selection(matrix, chosen, self.name, bound, maximum_insertions)
