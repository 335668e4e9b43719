"""Greedy choice of paths: quick, and without exclusions within ln(n)+1 of the fewest (Chvatal 1979)."""

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.contract import CoverageSolver, PathSelection
from needleplan.coverage.cover_problem import CoverProblem
from needleplan.frames import FloatArray


class GreedySolver(CoverageSolver):
    """Takes the path that destroys most of what is left, then drops paths that became superfluous."""

    @property
    def name(self) -> str:
        return "greedy"

    def solve(self, matrix: CoverProblem, maximum_insertions: int) -> PathSelection:
        covers = matrix.path_covers
        bound = counting_bound(matrix)
        value = np.ones(covers.shape[1])
        chosen = greedy_choice(matrix, maximum_insertions, value)
        left = matrix.coverable & ~covers[chosen].any(axis=0)
        if left.any():
            chosen = greedy_choice(matrix, maximum_insertions, matrix.point_value)
        return heuristic_selection(matrix, chosen, self.name, bound, maximum_insertions)


def heuristic_selection(
    matrix: CoverProblem, chosen: list[int], solver: str, bound: float, maximum_insertions: int
) -> PathSelection:
    """What a search without a proof found, superfluous paths left out: fewest only where a bound says so."""
    left = matrix.coverable & ~matrix.path_covers[chosen].any(axis=0)
    status = "limited"
    if not left.any():
        chosen = without_superfluous(matrix, chosen)
        status = "fewest" if matrix.insertions_of(chosen) <= bound else "feasible"
    return PathSelection(
        tuple(sorted(chosen)), solver, status, bound, np.flatnonzero(left), value_bound(matrix, maximum_insertions)
    )


def greedy_choice(matrix: CoverProblem, maximum_insertions: int, value: FloatArray) -> list[int]:
    """Paths taken one after the other, each the one that destroys most value of what is left per insertion."""
    covers, added = matrix.path_covers, matrix.added_insertions
    left = matrix.coverable.copy()
    open_ = np.ones(len(covers), dtype=bool)
    # What is in the patient already costs nothing.
    chosen = np.flatnonzero((added == 0) & covers.any(axis=1)).tolist() if len(covers) else []
    left &= ~covers[chosen].any(axis=0)
    count = 0
    while left.any():
        open_[count + added > maximum_insertions] = False
        gain = np.where(open_, (covers[:, left] @ value[left]) / np.maximum(added, 1), 0.0)
        # Equal gains go to the cheaper path; paths are in the order of their cost.
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        chosen.append(best)
        count += int(added[best])
        left &= ~covers[best]
        if matrix.conflicts is not None:
            open_ &= ~matrix.conflicts[best]
    return chosen


def without_superfluous(matrix: CoverProblem, chosen: list[int]) -> list[int]:
    """The choice without paths whose points the others destroy as well, dearest first."""
    covers = matrix.path_covers
    for path in sorted(chosen, key=lambda p: (-matrix.added_insertions[p], -matrix.path_cost[p], p)):
        others = [p for p in chosen if p != path]
        if covers[others].any(axis=0).sum() == covers[chosen].any(axis=0).sum():
            chosen = others
    return chosen


def counting_bound(matrix: CoverProblem) -> float:
    """No path destroys more points than the largest, so at least so many are needed."""
    added = matrix.added_insertions
    given = matrix.path_covers[added == 0].any(axis=0)
    wanted: NDArray[np.bool_] = matrix.coverable & ~given
    if not wanted.any():
        return 0.0
    rate = matrix.path_covers[added > 0][:, wanted].sum(axis=1) / added[added > 0]
    return float(np.ceil(wanted.sum() / rate.max() - 1e-9))


def value_bound(matrix: CoverProblem, maximum_insertions: int) -> float:
    """No choice of so many insertions is worth more: each path alone, the most valuable ones added up."""
    added = matrix.added_insertions
    worth = matrix.path_covers @ matrix.point_value
    given = float(worth[added == 0].sum())
    rate = np.repeat(worth[added > 0] / added[added > 0], added[added > 0].astype(int))
    best = np.sort(rate)[::-1][:maximum_insertions].sum()
    return float(min(matrix.point_value[matrix.coverable].sum(), given + best))
