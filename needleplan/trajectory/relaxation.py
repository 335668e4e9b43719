"""The smallest changes of limits that would open a path, each proven by screening again."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import GeometryError
from needleplan.plan import Vector3, vector3
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.screening import screen
from needleplan.trajectory.shortfall import STEPS_PER_UNIT, Shortfalls, in_unit, measure_shortfalls
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable

#: Sets of constraints that are offered: more would not be read.
_MOST_OFFERED = 6


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One limit that would have to give way.

    Attributes:
        constraint: name of the constraint.
        unit: unit of its limits.
        limit: present limit.
        new_limit: limit that opens a path, in whole hundredths of the unit.
    """

    constraint: str
    unit: str
    limit: float
    new_limit: float

    @property
    def amount(self) -> float:
        """How far the limit moves, in ``unit``; never negative."""
        return abs(self.new_limit - self.limit)

    @property
    def sentence(self) -> str:
        """The change in words, without a full stop."""
        present = f"{self.limit:.2f}" if self.unit else f"{self.limit:g}"
        return (
            f"{self.constraint!r} by {in_unit(self.amount, self.unit)}, "
            f"from {present} to {in_unit(self.new_limit, self.unit)}"
        )


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Limits that, changed together, open a path; none of the changes can be a hundredth smaller.

    Attributes:
        changes: the limits, by the names of their constraints.
        share: sum of the changes as shares of the limits (see ``share_of_limit``).
        row: a candidate that the changes open.
        entry_mm: its entry, patient LPS.
        tip_mm: its tip, patient LPS.
        opened: number of candidates that the changes open.
    """

    changes: tuple[LimitChange, ...]
    share: float
    row: int
    entry_mm: Vector3
    tip_mm: Vector3
    opened: int

    @property
    def sentence(self) -> str:
        """The changes and what they open, in words."""
        what = " together with ".join(change.sentence for change in self.changes)
        paths = "1 candidate path" if self.opened == 1 else f"{self.opened} candidate paths"
        return f"Relaxing {what} opens {paths}; a hundredth less opens none of those examined."


@dataclass(frozen=True, slots=True)
class Barrier:
    """A constraint that no change of its limit gets past for some candidates.

    Attributes:
        constraint: name of the constraint.
        candidates: number of candidates that it bars.
        only: number of those that fail nothing else.
        sentence: what getting past it would mean.
    """

    constraint: str
    candidates: int
    only: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Relaxations:
    """What would open a path where there is none, or further paths where there are some.

    Attributes:
        found: smallest relaxations, those of the fewest limits and then the least share first; none where no
            change of limits opens a path.
        barriers: constraints that bar candidates whatever their limits.
    """

    found: tuple[Relaxation, ...]
    barriers: tuple[Barrier, ...]


def smallest_relaxations(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    constraints: Sequence[TrajectoryConstraint],
    measured: MeasuredPaths | None = None,
) -> Relaxations:
    """Which limits would have to give way, and by how little, for a rejected candidate to become feasible.

    Single constraints come first; a pair is offered where both its changes are smaller than what either of its
    members needs alone; larger sets only where no single constraint and no pair opens a path, and then those of
    the fewest constraints. Of the candidates that a set may so open it takes the one with the smallest sum of
    shares. Ties go by the names of the constraints, so that their order changes nothing.
    Each relaxation is proven twice: its candidate, measured anew and screened by the changed set, is feasible;
    and with any one of its limits a hundredth tighter, none of the table's rejected candidates is.

    Args:
        table: screened candidates.
        queries: the anatomy.
        constraints: the constraints that the table was screened by.
        measured: measurements of these paths that exist already.

    Raises:
        OptionError: the table was screened by other constraints.
        GeometryError: a constraint contradicts its own measurement when it is asked again.
    """
    lacking = measure_shortfalls(table, constraints)
    paths = MeasuredPaths(table, queries) if measured is None else measured.with_columns(table)
    totals = lacking.totals
    chosen = [
        (tuple(sorted(failing, key=lambda k: lacking.columns[k].name)), row)
        for failing, row in _smallest_sets(lacking).items()
    ]
    chosen.sort(key=lambda item: (len(item[0]), totals[item[1]], [lacking.columns[k].name for k in item[0]]))
    found = [_proven(paths, lacking, failing, row) for failing, row in chosen[:_MOST_OFFERED]]
    return Relaxations(tuple(found), _barriers(lacking))


def _nearest_of_each_set(lacking: Shortfalls, allowed: NDArray[np.bool_]) -> dict[tuple[int, ...], int]:
    """For each set of constraints that some ``allowed`` candidate fails exactly, the one with the least share."""
    totals = lacking.totals
    rows = np.flatnonzero(allowed)
    if not rows.size:
        return {}
    sets, which = np.unique(lacking.fails[:, rows].T, axis=0, return_inverse=True)
    which = which.ravel()
    order = np.lexsort((rows, totals[rows], which))
    first = order[np.searchsorted(which[order], np.arange(len(sets)))]
    return {
        tuple(int(k) for k in np.flatnonzero(failing)): int(rows[at])
        for failing, at in zip(sets, first, strict=True)
    }


def _smallest_sets(lacking: Shortfalls) -> dict[tuple[int, ...], int]:
    """Singles, pairs that ask less of both members than each alone, else the smallest sets, with their rows."""
    mendable = np.isfinite(lacking.totals)
    sizes = lacking.fails.sum(axis=0)
    singles = _nearest_of_each_set(lacking, mendable & (sizes == 1))
    alone = np.full((len(lacking.columns), 1), np.inf)
    for (k,), row in singles.items():
        alone[k] = lacking.amounts[k, row]
    # Only candidates that are smaller in both compete: one that is not may have the smaller sum.
    smaller = np.all(~lacking.fails | (lacking.amounts < alone), axis=0)
    small = singles | _nearest_of_each_set(lacking, mendable & (sizes == 2) & smaller)
    if small:
        return small
    least = int(sizes[mendable & (sizes > 0)].min(initial=len(sizes)))
    return _nearest_of_each_set(lacking, mendable & (sizes == least))


def _proven(paths: MeasuredPaths, lacking: Shortfalls, failing: tuple[int, ...], row: int) -> Relaxation:
    """The relaxation of the constraints ``failing`` by what ``row`` lacks, after both proofs."""
    table = paths.table
    limits = {k: float(lacking.limits[k, row]) for k in failing}
    changed = list(lacking.constraints)
    for k, limit in limits.items():
        changed[k] = _with_limit(lacking.constraints[k], limit)
    bare = table.subset(np.array([row]))
    again = screen(
        TrajectoryTable(
            bare.applicator, bare.entry_mm, bare.entry_normal, bare.aim_mm, bare.tip_mm, bare.curvature_per_mm
        ),
        paths.queries,
        changed,
    )
    if not again.feasible[0]:
        names = [column.name for column in again.constraints if not column.passed[0]]
        raise GeometryError(
            f"path {row} fails {', '.join(names)} with a limit that its own measurement satisfies: a constraint "
            "must measure the same whatever its limit"
        )
    rejected = lacking.fails.any(axis=0)
    others = ~np.delete(lacking.fails, failing, axis=0).any(axis=0) & rejected
    passing = {k: changed[k].evaluate(paths).passed for k in failing}
    opened = others & np.all(list(passing.values()), axis=0)
    for k in failing:
        column = lacking.columns[k]
        tighter = _with_limit(lacking.constraints[k], _a_step_tighter(column, limits[k])).evaluate(paths).passed
        rest = [passing[j] for j in failing if j != k]
        if (others & tighter & np.all([tighter, *rest], axis=0)).any():
            raise GeometryError(
                f"{column.name!r} decides by more than its limit: a smaller change opens a path too"
            )
    changes = tuple(
        LimitChange(lacking.columns[k].name, lacking.columns[k].unit, float(lacking.columns[k].limit), limits[k])
        for k in failing
    )
    return Relaxation(
        changes,
        float(lacking.totals[row]),
        row,
        vector3(table.entry_mm[row]),
        vector3(table.tip_mm[row]),
        int(np.count_nonzero(opened)),
    )


def _a_step_tighter(column: ConstraintColumn, limit: float) -> float:
    """A limit a hundredth nearer to the present one, or that one where it is nearer still."""
    steps = round(limit * STEPS_PER_UNIT)
    if column.at_least:
        return min((steps + 1) / STEPS_PER_UNIT, column.limit)
    return max((steps - 1) / STEPS_PER_UNIT, column.limit)


def _with_limit(constraint: TrajectoryConstraint, limit: float) -> TrajectoryConstraint:
    changed = constraint.with_limit(limit)
    if changed is None:
        raise GeometryError(f"{constraint.name!r} accepts a limit beyond {limit:g} but not {limit:g} itself")
    return changed


def _barriers(lacking: Shortfalls) -> tuple[Barrier, ...]:
    """Constraints that bar candidates whatever their limits, the one that bars most by itself first."""
    counts = lacking.fails.sum(axis=0)
    result = []
    for k, column in enumerate(lacking.columns):
        barred: NDArray[np.bool_] = ~lacking.mendable[k]
        if barred.any():
            result.append(
                Barrier(
                    column.name,
                    int(barred.sum()),
                    int((barred & (counts == 1)).sum()),
                    barred_sentence(column),
                )
            )
    return tuple(sorted(result, key=lambda item: (-item.only, -item.candidates, item.constraint)))


def barred_sentence(column: ConstraintColumn) -> str:
    """What a path that no limit of ``column`` can admit would mean, without a full stop."""
    if is_clearance(column.name):
        return f"{column.name.removeprefix('clearance to ')} would have to be touched or crossed"
    return f"no limit of {column.name!r} admits them"


def is_clearance(constraint: str) -> bool:
    """True for the name of a distance from a structure, which a path loses altogether where it crosses that."""
    return constraint.startswith("clearance to ")


def conflicting_constraints(table: TrajectoryTable) -> tuple[str, ...]:
    """The fewest hard constraints (one, two, or an irreducible set) that no candidate satisfies together.

    Empty where the table has a feasible row or no row. Without any one member of the set some candidate satisfies
    the rest: an irreducible infeasible subset, found for larger sets by the deletion filter of Chinneck and
    Dravnieks (1991). Where there are several such sets it is the first by name, whatever the order of the columns.
    """
    columns = sorted((column for column in table.constraints if column.hard), key=lambda column: column.name)
    if not len(table) or not columns or table.feasible.any():
        return ()
    passed = np.stack([column.passed for column in columns])
    for size in (1, 2):
        for group in itertools.combinations(range(len(columns)), size):
            if not passed[list(group)].all(axis=0).any():
                return tuple(columns[k].name for k in group)
    kept = list(range(len(columns)))
    for k in range(len(columns)):
        rest = [j for j in kept if j != k]
        if not passed[rest].all(axis=0).any():
            kept = rest
    return tuple(columns[k].name for k in kept)
