"""Greedy choice of paths: quick, and within ln(n)+1 of the fewest (Chvatal 1979)."""

import numpy as np

from needleplan.coverage.contract import CoverageSolver, PathSelection
from needleplan.coverage.matrix import CoverageMatrix


class GreedySolver(CoverageSolver):
    """Takes the path that destroys most of what is left, then drops paths that became superfluous."""

    @property
    def name(self) -> str:
        return "greedy"

    def solve(self, matrix: CoverageMatrix, maximum_insertions: int) -> PathSelection:
        covers = matrix.path_covers
        left = matrix.coverable.copy()
        wanted = int(left.sum())
        chosen: list[int] = []
        while left.any() and len(chosen) < maximum_insertions:
            gain = covers[:, left].sum(axis=1)
            # Equal gains go to the cheaper path; paths are in the order of their cost.
            best = int(np.argmax(gain))
            chosen.append(best)
            left &= ~covers[best]
        if not left.any():
            for path in sorted(chosen, key=lambda p: (-matrix.path_cost[p], p)):
                others = [p for p in chosen if p != path]
                if others and covers[others].any(axis=0).sum() == wanted:
                    chosen = others
        # No path destroys more than the largest, so at least this many are needed.
        largest = int(covers.sum(axis=1).max())
        bound = float(-(-wanted // max(largest, 1)))
        if left.any():
            status = "limited"
        else:
            status = "fewest" if len(chosen) <= bound else "feasible"
        return PathSelection(tuple(sorted(chosen)), self.name, status, bound, np.flatnonzero(left))
