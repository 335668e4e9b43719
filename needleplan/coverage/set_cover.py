"""Weighted set cover with exclusions as an integer program (HiGHS), its rows generated as they are needed."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.exchange import exchanged
from needleplan.coverage.time_limits import TIME_LIMIT_REACHED, over_time, program_limits
from needleplan.frames import FloatArray

#: Points added to the program in each round.
_ROUND_SIZE = 60
#: Hardest points among which those of a round are sought.
_EXAMINED = 3000
#: Exchanges by which an optimum over some points is mended to a cover of all: so many that they look at about this
#: number of entries of the matrix, and no more than this. Counted, not timed, so that the answer is the same
#: anywhere.
_REPAIR_ENTRIES, _REPAIR_STEPS = 4e8, 150
#: A program is asked again only with so much time left.
_LEAST_TIME_S = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Budget:
    """A sum that a choice must not exceed.

    Attributes:
        weight: (k,) what each column takes.
        limit: the most that all chosen ones together may take.
    """

    weight: FloatArray
    limit: float


@dataclass(frozen=True, slots=True, eq=False)
class CoverAnswer:
    """How a search for the cheapest cover ended.

    Attributes:
        chosen: columns of the cover; None where none was found in time or none exists.
        bound: no cover costs less.
        proven: True where ``chosen`` is proven cheapest.
        impossible: True where it is proven that no cover keeps all demands.
    """

    chosen: tuple[int, ...] | None
    bound: float
    proven: bool
    impossible: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CoverDemands:
    """What a choice of columns must keep besides covering.

    Attributes:
        conflicts: (k, k) symmetric, True where two columns exclude each other; None where none do.
        owner: (k,) for each column the number of the thing that must be taken with it (its path), at a cost of its
            own; None where columns stand for themselves.
        owner_cost: (o,) cost of each owner that is taken; None where they cost nothing.
        owner_budgets: sums over the owners that must not be exceeded.
        budgets: sums over the columns that must not be exceeded.
    """

    conflicts: NDArray[np.bool_] | None = None
    owner: NDArray[np.int64] | None = None
    owner_cost: FloatArray | None = None
    owner_budgets: tuple[Budget, ...] = ()
    budgets: tuple[Budget, ...] = ()

    @property
    def plain(self) -> bool:
        """True where nothing is demanded but that columns do not exclude each other."""
        return self.owner is None and not self.budgets and not self.owner_budgets


@dataclass(frozen=True, slots=True, eq=False)
class _Repairs:
    """Mends the optimum over some points to a cover of all that costs no more: that is an optimum as well."""

    covers: NDArray[np.bool_]
    cost: FloatArray
    conflicts: NDArray[np.bool_] | None

    def mended(self, chosen: NDArray[np.int64], end: float) -> list[int] | None:
        """A cover of all points that costs no more than the columns given; None where none was found."""
        if not self.covers.any(axis=0).all():
            return None
        allowed = float(self.cost[chosen].sum())
        steps = int(min(_REPAIR_STEPS, max(10, _REPAIR_ENTRIES / self.covers.size)))
        return exchanged(self.covers, self.cost, self.conflicts, chosen.tolist(), allowed, steps, end)


def cheapest_cover(
    covers: NDArray[np.bool_],
    points: NDArray[np.int64],
    cost: FloatArray,
    time_limit_s: float,
    demands: CoverDemands | None = None,
    most_nodes: int | None = None,
) -> CoverAnswer:
    """Columns of least cost that cover points.

    Rows are generated as they are needed: the program over some of the points is a relaxation of the program over
    all, so its bound holds for all, and once its optimum covers all points it is their optimum. Exclusions come in
    as cliques in the same way: of columns that exclude each other in pairs at most one is taken.

    Args:
        covers: (k, n) True where column k covers point n.
        points: the points that must be covered.
        cost: (k,) of each column, zero or more.
        time_limit_s: wall time.
        demands: what else must be kept.
        most_nodes: nodes of the search tree of one program; None sets no limit.
    """
    demands = demands or CoverDemands()
    if not len(points):
        return CoverAnswer((), 0.0, True)
    end = time.monotonic() + time_limit_s
    active = hardest_points(covers, points, 3 * _ROUND_SIZE)
    cliques: list[NDArray[np.int64]] = []
    bound = 0.0
    repairs = _Repairs(covers[:, points], cost, demands.conflicts) if demands.plain else None
    while True:
        left = end - time.monotonic()
        if over_time(left <= _LEAST_TIME_S, "cheapest cover"):
            return CoverAnswer(None, bound, False)
        answer = _solve(covers, active, cost, cliques, demands, left, most_nodes)
        over_time(answer.status == TIME_LIMIT_REACHED, "cheapest cover")
        if answer.mip_dual_bound is not None and np.isfinite(answer.mip_dual_bound):
            bound = max(bound, float(answer.mip_dual_bound))
        if answer.status == 2:
            return CoverAnswer(None, np.inf, False, impossible=True)
        if answer.x is None:
            return CoverAnswer(None, bound, False)
        chosen = np.flatnonzero(answer.x[: len(cost)] > 0.5)
        uncovered = points[~covers[chosen][:, points].any(axis=0)]
        crossed = _crossed_cliques(chosen, demands)
        if not len(uncovered) and not crossed:
            return CoverAnswer(tuple(chosen.tolist()), bound, answer.status == 0)
        if answer.status != 0:
            return CoverAnswer(None, bound, False)
        cliques += crossed
        if len(uncovered):
            mended = None if crossed or repairs is None else repairs.mended(chosen, end)
            if mended is not None:
                return CoverAnswer(tuple(sorted(mended)), bound, True)
            more = max(_ROUND_SIZE, len(active) // 4)
            active = np.concatenate([active, hardest_points(covers, uncovered, more)])


def _solve(
    covers: NDArray[np.bool_],
    active: NDArray[np.int64],
    cost: FloatArray,
    cliques: list[NDArray[np.int64]],
    demands: CoverDemands,
    time_limit_s: float,
    most_nodes: int | None,
) -> Any:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, hstack, vstack

    columns = len(cost)
    owners = 0 if demands.owner is None else int(demands.owner.max()) + 1
    owner_cost = np.zeros(owners) if demands.owner_cost is None else demands.owner_cost
    size = columns + owners

    def over_columns(rows: FloatArray) -> Any:
        matrix = csr_array(rows)
        return hstack([matrix, csr_array((matrix.shape[0], owners))], format="csr") if owners else matrix

    def over_owners(rows: FloatArray) -> Any:
        matrix = csr_array(rows)
        return hstack([csr_array((matrix.shape[0], columns)), matrix], format="csr")

    rows = np.unique(covers[:, active].T, axis=0)
    constraints = [LinearConstraint(over_columns(rows.astype(np.float64)), lb=1.0)]
    upper: list[Any] = []
    limits: list[float] = []
    for budget in demands.budgets:
        upper.append(over_columns(budget.weight[None, :].astype(np.float64)))
        limits.append(budget.limit)
    for budget in demands.owner_budgets:
        upper.append(over_owners(budget.weight[None, :].astype(np.float64)))
        limits.append(budget.limit)
    for clique in cliques:
        row = np.zeros((1, owners or columns))
        row[0, clique] = 1.0
        upper.append(over_owners(row) if owners else over_columns(row))
        limits.append(1.0)
    if demands.owner is not None:
        ones = np.ones(columns)
        places = np.arange(columns)
        takes = csr_array((ones, (places, places)), shape=(columns, columns))
        gives = csr_array((-ones, (places, demands.owner)), shape=(columns, owners))
        upper.append(hstack([takes, gives], format="csr"))
        limits += [0.0] * columns
    if upper:
        constraints.append(LinearConstraint(vstack(upper, format="csr"), ub=np.array(limits)))
    return milp(
        np.concatenate([cost, owner_cost]),
        integrality=np.ones(size),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options=program_limits(time_limit_s, most_nodes),
    )


def _crossed_cliques(chosen: NDArray[np.int64], demands: CoverDemands) -> list[NDArray[np.int64]]:
    """Cliques of exclusions that a choice breaks, each as large as a greedy search finds it."""
    conflicts = demands.conflicts
    if conflicts is None:
        return []
    taken = chosen if demands.owner is None else np.unique(demands.owner[chosen])
    cliques = []
    for place, first in enumerate(taken.tolist()):
        for second in taken[place + 1 :].tolist():
            if not conflicts[first, second]:
                continue
            members = [first, second]
            common = conflicts[first] & conflicts[second]
            while common.any():
                # The one that leaves most of the others open.
                open_ = np.flatnonzero(common)
                sample = open_ if len(open_) <= 64 else open_[:: len(open_) // 64]
                best = int(sample[int((conflicts[sample] & common).sum(axis=1).argmax())])
                members.append(best)
                common = common & conflicts[best]
            cliques.append(np.array(members, dtype=np.int64))
    return cliques


def hardest_points(covers: NDArray[np.bool_], points: NDArray[np.int64], count: int) -> NDArray[np.int64]:
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
