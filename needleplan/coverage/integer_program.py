"""Exact choice of paths by an integer program (HiGHS), with its bound."""

import numpy as np

from needleplan.coverage.contract import CoverageSolver, PathSelection
from needleplan.coverage.cover_problem import CoverProblem
from needleplan.coverage.greedy import counting_bound, greedy_choice, value_bound, without_superfluous
from needleplan.coverage.local_search import LocalSearchSolver
from needleplan.coverage.most_covered import most_covered
from needleplan.coverage.reduction import reduce_cover
from needleplan.coverage.set_cover import Budget, CoverDemands, cheapest_cover
from needleplan.errors import OptionError


class IntegerProgramSolver(CoverageSolver):
    """Fewest insertions, then the cheapest of the fewest; where not all can be covered, the most valuable part.

    Exclusions are left out at first: a cover that happens to keep them is optimal with them as well, and without
    them far more paths are idle. Only where it breaks one is the problem solved with them.

    Args:
        time_limit_s: wall time for each of the levels.
        cheapest: True where the cheapest of the fewest are sought as well.
        most_nodes: nodes of the search tree of each program; None sets no limit.
    """

    def __init__(self, time_limit_s: float = 30.0, cheapest: bool = True, most_nodes: int | None = None) -> None:
        if not time_limit_s > 0:
            raise OptionError(f"the time limit must be greater than zero, not {time_limit_s:g} s")
        self.time_limit_s = float(time_limit_s)
        self.cheapest = cheapest
        self.most_nodes = most_nodes

    @property
    def name(self) -> str:
        return "HiGHS"

    def solve(self, matrix: CoverProblem, maximum_insertions: int) -> PathSelection:
        covers = matrix.path_covers
        fewest, bound, proven, loose = self._fewest(matrix)
        loose = float(np.ceil(loose - 1e-6))
        bound = max(float(np.ceil(bound - 1e-6)), counting_bound(matrix))
        if fewest is None or matrix.insertions_of(fewest) > maximum_insertions:
            needed = None if fewest is None else matrix.insertions_of(fewest)
            if not matrix.coverable.all():
                needed = None
            return self._most(matrix, maximum_insertions, bound, needed, loose)
        proven = proven or matrix.insertions_of(fewest) <= bound
        status = "fewest" if proven else "feasible"
        chosen = fewest
        if self.cheapest:
            chosen, cheapest_proven = self._cheapest(matrix, fewest)
            status = "optimal" if proven and cheapest_proven else status
        return PathSelection(
            tuple(sorted(chosen)),
            self.name,
            status,
            bound,
            np.flatnonzero(matrix.coverable & ~covers[chosen].any(axis=0)),
            float(matrix.point_value[matrix.coverable].sum()),
        )

    def _cheapest(self, matrix: CoverProblem, fewest: list[int]) -> tuple[list[int], bool]:
        """(cheapest choice with no more insertions, or the one given; whether it is proven cheapest)."""
        covers, added, cost = matrix.path_covers, matrix.added_insertions, matrix.path_cost
        kept = reduce_cover(covers, cost, added, matrix.conflicts)
        demands = CoverDemands(
            conflicts=None if matrix.conflicts is None else matrix.conflicts[np.ix_(kept.columns, kept.columns)],
            budgets=(Budget(added[kept.columns], float(matrix.insertions_of(fewest))),),
        )
        cheapest = cheapest_cover(
            covers[kept.columns], kept.rows, cost[kept.columns], self.time_limit_s, demands, self.most_nodes
        )
        if cheapest.chosen is None:
            return fewest, False
        candidate = kept.columns[list(cheapest.chosen)].tolist()
        if cost[candidate].sum() > cost[fewest].sum() + 1e-12:
            return fewest, False
        return candidate, cheapest.proven

    def _fewest(self, matrix: CoverProblem) -> tuple[list[int] | None, float, bool, float]:
        """(choice with fewest insertions or None where none was found, bound, proven, bound without exclusions)."""
        covers, added = matrix.path_covers, matrix.added_insertions
        start = LocalSearchSolver(0.25 * self.time_limit_s).solve(matrix, int(added.sum()))
        best = None if len(start.uncovered) else list(start.paths)
        if best is not None and start.status == "fewest":
            return best, start.lower_bound, True, start.lower_bound
        bound = loose = start.lower_bound
        for conflicts in (None, matrix.conflicts):
            kept = reduce_cover(covers, np.zeros(len(covers)), added, conflicts)
            within = None if conflicts is None else conflicts[np.ix_(kept.columns, kept.columns)]
            answer = cheapest_cover(
                covers[kept.columns],
                kept.rows,
                added[kept.columns],
                self.time_limit_s,
                CoverDemands(conflicts=within),
                self.most_nodes,
            )
            if answer.impossible:
                return None, np.inf, True, loose
            bound = max(bound, answer.bound)
            loose = bound if conflicts is None else loose
            if answer.chosen is not None:
                found = kept.columns[list(answer.chosen)].tolist()
                if not matrix.has_conflict(found):
                    if best is None or matrix.insertions_of(found) < matrix.insertions_of(best):
                        best = found
                    return best, bound, answer.proven, loose
            if best is not None and matrix.insertions_of(best) <= np.ceil(bound - 1e-6):
                return best, bound, True, loose
            if matrix.conflicts is None:
                break
        return best, bound, False, loose

    def _most(
        self, matrix: CoverProblem, maximum_insertions: int, bound: float, needed: int | None, loose: float
    ) -> PathSelection:
        greedy = greedy_choice(matrix, maximum_insertions, matrix.point_value)
        chosen, worth = most_covered(matrix, maximum_insertions, greedy, self.time_limit_s, self.most_nodes)
        worth = min(worth, value_bound(matrix, maximum_insertions))
        left = matrix.coverable & ~matrix.path_covers[chosen].any(axis=0)
        if not left.any():
            chosen = without_superfluous(matrix, chosen)
            status = "fewest" if matrix.insertions_of(chosen) <= bound else "feasible"
        else:
            status = "limited"
        return PathSelection(
            tuple(sorted(chosen)), self.name, status, bound, np.flatnonzero(left), worth, needed, loose
        )
