"""As much as can be destroyed with a limited number of insertions, where not all can."""

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.cover_problem import CoverProblem
from needleplan.coverage.reduction import reduce_cover
from needleplan.coverage.time_limits import TIME_LIMIT_REACHED, over_time, program_limits
from needleplan.frames import FloatArray

#: Groups of points that the program tells apart; beyond, small groups fall to the nearest larger one in its bound.
_MOST_GROUPS = 1500
#: Exchanges of the local search at most.
_EXCHANGES = 200


def most_covered(
    matrix: CoverProblem,
    maximum_insertions: int,
    start: list[int],
    time_limit_s: float,
    most_nodes: int | None = None,
) -> tuple[list[int], float]:
    """(paths, bound on the value): the choice of so many insertions that destroys what is worth most.

    The maximal cover problem (Church and ReVelle, "The maximal covering location problem", Papers of the Regional
    Science Association 1974) as an integer program over groups of points that the same paths destroy. Where there
    are too many groups the program knows the most valuable ones alone; what the others are worth counts as covered
    in the bound, which stays one.

    Args:
        matrix: paths, points, exclusions.
        maximum_insertions: insertions allowed.
        start: a choice that is known.
        time_limit_s: wall time.
        most_nodes: nodes of the search tree; None sets no limit.
    """
    best = _exchanged(matrix, start, maximum_insertions)
    worth = matrix.value_of(best)
    kept = reduce_cover(matrix.path_covers, matrix.path_cost, matrix.added_insertions, matrix.conflicts).columns
    patterns, group = np.unique(matrix.path_covers[kept][:, matrix.coverable], axis=1, return_inverse=True)
    worths = matrix.point_value[matrix.coverable]
    value = np.bincount(group.ravel(), weights=worths, minlength=patterns.shape[1]).astype(np.float64)
    order = np.argsort(-value, kind="stable")[:_MOST_GROUPS]
    rest = float(value.sum() - value[order].sum())
    limits = program_limits(time_limit_s, most_nodes)
    found, bound = _program(matrix, kept, patterns[:, order], value[order], maximum_insertions, limits)
    if found is not None and not matrix.has_conflict(found) and matrix.value_of(found) > worth + 1e-12:
        best = found
    return best, bound + rest


def _program(
    matrix: CoverProblem,
    kept: NDArray[np.int64],
    patterns: NDArray[np.bool_],
    value: FloatArray,
    maximum_insertions: int,
    limits: dict[str, float],
) -> tuple[list[int] | None, float]:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, eye_array, hstack

    paths, groups = patterns.shape
    if not groups:
        return None, 0.0
    # A group counts as covered by no more than the paths taken that destroy it.
    demands = [
        LinearConstraint(
            hstack([csr_array(-patterns.T.astype(np.float64)), eye_array(groups)], format="csr"), ub=0.0
        ),
        LinearConstraint(
            np.concatenate([matrix.added_insertions[kept], np.zeros(groups)])[None, :], ub=maximum_insertions
        ),
    ]
    if matrix.conflicts is not None:
        first, second = np.nonzero(np.triu(matrix.conflicts[np.ix_(kept, kept)]))
        if len(first):
            rows = np.repeat(np.arange(len(first)), 2)
            columns = np.stack([first, second], axis=1).ravel()
            demands.append(
                LinearConstraint(
                    csr_array((np.ones(len(rows)), (rows, columns)), (len(first), paths + groups)), ub=1.0
                )
            )
    answer = milp(
        np.concatenate([np.zeros(paths), -value]),
        integrality=np.concatenate([np.ones(paths), np.zeros(groups)]),
        bounds=Bounds(0, 1),
        constraints=demands,
        options=limits,
    )
    over_time(answer.status == TIME_LIMIT_REACHED, "most covered")
    bound = float(value.sum())
    if answer.mip_dual_bound is not None and np.isfinite(answer.mip_dual_bound):
        bound = min(bound, -float(answer.mip_dual_bound))
    if answer.x is None:
        return None, bound
    return kept[np.flatnonzero(answer.x[:paths] > 0.5)].tolist(), bound


def _exchanged(matrix: CoverProblem, start: list[int], maximum_insertions: int) -> list[int]:
    """A choice improved by exchanging one path at a time for the best other one until none gains."""
    covers, added = matrix.path_covers, matrix.added_insertions
    # Single precision only ranks the entrants; what a choice is worth is added up exactly.
    table = covers.astype(np.float32)
    value = matrix.point_value.astype(np.float32)
    current = list(start)
    for _ in range(_EXCHANGES):
        worth = matrix.value_of(current)
        best_gain, best = 1e-12, None
        for out in [path for path in current if added[path] > 0]:
            others = [path for path in current if path != out]
            lacking = matrix.coverable & ~covers[others].any(axis=0)
            gain = table @ np.where(lacking, value, np.float32(0.0))
            gain[matrix.insertions_of(others) + added > maximum_insertions] = 0.0
            if matrix.conflicts is not None and others:
                gain[matrix.conflicts[others].any(axis=0)] = 0.0
            into = int(np.argmax(gain))
            if gain[into] > 0:
                gained = matrix.value_of([*others, into]) - worth
                if gained > best_gain:
                    best_gain, best = gained, [*others, into]
        if best is None:
            break
        current = best
    return current
