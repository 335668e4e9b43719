"""Solvers of one cover problem: ours, HiGHS as scipy offers it, and CP-SAT of OR-Tools where it is installed."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from needleplan.coverage.contract import CoverageSolver
from needleplan.coverage.cover_problem import CoverProblem
from needleplan.coverage.greedy import GreedySolver
from needleplan.coverage.local_search import LocalSearchSolver
from needleplan.coverage.reduction import reduce_cover
from needleplan.coverage.set_cover import cheapest_cover


@dataclass(frozen=True, slots=True)
class Solved:
    """How a solver ended.

    Attributes:
        chosen: the candidates; None where it found no cover.
        bound: it proved that no cover has fewer.
    """

    chosen: tuple[int, ...] | None
    bound: float

    @property
    def gap(self) -> float:
        """(found - bound) / found; 1 where nothing was found."""
        return 1.0 if not self.chosen else (len(self.chosen) - self.bound) / len(self.chosen)


@dataclass(frozen=True, slots=True)
class CoverPeer:
    """One solver.

    Attributes:
        name: short, for rows.
        said: what it does, in words.
        solve: fewest candidates that cover all points, within a time in s.
    """

    name: str
    said: str
    solve: Callable[[CoverProblem, float], Solved]


def make_solvers() -> tuple[list[CoverPeer], list[str]]:
    """(ours first, then the peers that are installed; a sentence for each one that is not)."""
    solvers = [
        CoverPeer(
            "needleplan HiGHS",
            "HiGHS, idle rows and columns left out, the rest of the rows as they are needed",
            _exact,
        ),
        CoverPeer("needleplan greedy", "greedy", lambda problem, _: _ours(GreedySolver(), problem)),
        CoverPeer("needleplan local search", "exchanges", lambda p, s: _ours(LocalSearchSolver(s), p)),
        CoverPeer("scipy milp", "HiGHS with all rows and columns", _plain_milp),
    ]
    missing = []
    try:
        from ortools.sat.python import cp_model  # noqa: F401
    except ImportError:
        missing.append("ortools (CP-SAT) is not installed: left out.")
    else:
        solvers.append(CoverPeer("CP-SAT", "OR-Tools, one worker a core, all rows and columns", _cp_sat))
    return solvers, missing


def _exact(problem: CoverProblem, time_limit_s: float) -> Solved:
    # The level of fewest insertions alone, as the others solve it, without another method's choice to start from.
    covers, added = problem.path_covers, problem.added_insertions
    kept = reduce_cover(covers, np.zeros(len(covers)), added)
    answer = cheapest_cover(covers[kept.columns], kept.rows, added[kept.columns], time_limit_s)
    chosen = None if answer.chosen is None else tuple(kept.columns[list(answer.chosen)].tolist())
    return Solved(chosen, float(np.ceil(answer.bound - 1e-6)))


def _ours(solver: CoverageSolver, problem: CoverProblem) -> Solved:
    answer = solver.solve(problem, len(problem.path_covers))
    return Solved(None if len(answer.uncovered) else answer.paths, answer.lower_bound)


def _plain_milp(problem: CoverProblem, time_limit_s: float) -> Solved:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    covers = problem.path_covers
    count = len(covers)
    rows = csr_array(covers[:, problem.coverable].T.astype(np.float64))
    answer = milp(
        np.ones(count),
        integrality=np.ones(count),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(rows, lb=1.0),
        options={"time_limit": time_limit_s},
    )
    chosen = None if answer.x is None else tuple(np.flatnonzero(answer.x > 0.5).tolist())
    bound = answer.mip_dual_bound
    return Solved(chosen, 0.0 if bound is None or not np.isfinite(bound) else float(np.ceil(bound - 1e-6)))


def _cp_sat(problem: CoverProblem, time_limit_s: float) -> Solved:
    from ortools.sat.python import cp_model

    covers = problem.path_covers
    model: Any = cp_model.CpModel()
    taken = [model.new_bool_var(f"candidate {k}") for k in range(len(covers))]
    for point in np.flatnonzero(problem.coverable):
        model.add_bool_or([taken[k] for k in np.flatnonzero(covers[:, point])])
    model.minimize(sum(taken))
    solver: Any = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.num_workers = os.cpu_count() or 1
    solver.parameters.random_seed = 0
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Solved(None, float(np.ceil(solver.best_objective_bound - 1e-6)))
    chosen = tuple(k for k, variable in enumerate(taken) if solver.value(variable))
    return Solved(chosen, float(np.ceil(solver.best_objective_bound - 1e-6)))


def timed(peer: CoverPeer, problem: CoverProblem, time_limit_s: float) -> tuple[Solved, float]:
    """(answer, wall time in s); raises ValueError where a peer calls a cover what is none."""
    start = time.perf_counter()
    solved = peer.solve(problem, time_limit_s)
    seconds = time.perf_counter() - start
    if solved.chosen is not None:
        covered = problem.path_covers[list(solved.chosen)].any(axis=0)
        if not covered[problem.coverable].all():
            raise ValueError(f"{peer.name} leaves {int((problem.coverable & ~covered).sum())} points uncovered")
    return solved, seconds
