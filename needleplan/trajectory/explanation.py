"""Why no path is feasible, as evidence: what fails, what is impossible or contradictory, what would open one."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.plan import Evidence
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.usable_length import UsableLength
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.relaxation import (
    Barrier,
    conflicting_constraints,
    is_clearance,
    smallest_relaxations,
)
from needleplan.trajectory.shortfall import in_unit, outward_limit, share_of_limit
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable

#: Half the diagonal of the cubes of 1 mm or less by which the target is counted.
_HALF_DIAGONAL_MM = 0.5 * float(np.sqrt(3.0))
#: What is left where no limit helps.
_OTHER_PATHS = "Choose another entry region, position or applicator, or correct the structures in the way."


def explain_rejections(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    constraints: Sequence[TrajectoryConstraint] = (),
    measured: MeasuredPaths | None = None,
) -> tuple[Evidence, ...]:
    """Evidence for a table without a feasible row, the most telling first; never empty.

    Args:
        table: screened candidates, none of them feasible.
        queries: the anatomy.
        constraints: the constraints that the table was screened by; without them no limit can be tried, and the
            evidence says what rejects but not what would open a path.
        measured: measurements of these paths that exist already.

    Raises:
        OptionError: the table was screened by other constraints.
    """
    outside = _target_outside(queries)
    if not len(table):
        return (*outside, _no_candidate(queries))
    named = {constraint.name: constraint for constraint in constraints}
    evidence = list(outside)
    blocking = [column for column in table.constraints if column.hard and not column.passed.any()]
    for column in sorted(blocking, key=_gravest_first):
        evidence.append(_all_fail(table, column, named.get(column.name)))
        evidence += _impossible(table, queries, column, named.get(column.name))
    conflict = conflicting_constraints(table)
    if len(conflict) > 1:
        evidence.append(_contradiction(table, conflict, named))
    if constraints:
        evidence += _what_would_open(table, queries, constraints, measured)
    return tuple(evidence)


def _what_would_open(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    constraints: Sequence[TrajectoryConstraint],
    measured: MeasuredPaths | None,
) -> list[Evidence]:
    """Changes of limits that open a path, and what no limit gets past."""
    evidence = []
    relaxations = smallest_relaxations(table, queries, constraints, measured)
    for found in relaxations.found:
        names = " and ".join(change.constraint for change in found.changes)
        evidence.append(
            Evidence(
                names, f"Proven by screening again: {found.sentence}", f"Relax {names} if that can be accepted."
            )
        )
    if relaxations.barriers and not relaxations.found:
        evidence.append(
            Evidence(
                "limits",
                f"No change of limits opens any of the {len(table)} candidate paths: each fails a demand that no "
                "limit may give up.",
                _OTHER_PATHS,
            )
        )
    evidence += [_barred(table, barrier) for barrier in relaxations.barriers if barrier.only]
    return evidence


def _target_outside(queries: AnatomyQueries) -> tuple[Evidence, ...]:
    """Whether the target lies in the body at all."""
    entry, target = queries.anatomy.entry, queries.anatomy.target
    outside = float((queries.distance(entry).signed_distance_mm(target.mesh.vertices_mm) > 0).mean())
    if outside == 0:
        return ()
    # Rounded up, so that a part is never said to be nothing.
    return (
        Evidence(
            target.name,
            f"{np.ceil(100 * outside):.0f} % of the surface of {target.name} lies outside {entry.name}, through "
            "which every needle must come.",
            "Correct the frame or the labels of the one that is misplaced.",
        ),
    )


def _no_candidate(queries: AnatomyQueries) -> Evidence:
    """Words for a table without rows."""
    anatomy = queries.anatomy
    area = float(np.linalg.norm(anatomy.entry.mesh.area_vectors_mm2[anatomy.entry_faces], axis=1).sum())
    return Evidence(
        "candidates",
        f"There is no candidate path at all: {area / 100:.1f} cm² of {anatomy.entry.name} may be entered "
        "through, and no line joins it to the target.",
        "Widen the entry region, or ask for a smaller spacing of entries and more aims.",
    )


def _gravest_first(column: ConstraintColumn) -> tuple[float, str]:
    """Order of constraints that every candidate fails: by the share of its limit that the best one lacks."""
    return -round(float(share_of_limit(column, column.shortfall.min())), 9), column.name


def _best(column: ConstraintColumn, rows: NDArray[np.bool_]) -> float:
    """Of the values of ``rows``, the one nearest to what is demanded."""
    return float(column.values[rows].max() if column.at_least else column.values[rows].min())


def _can_relax(column: ConstraintColumn, constraint: TrajectoryConstraint | None, value: float) -> bool:
    """Whether a limit may be changed so far that ``value`` satisfies it; unknown constraints by their name."""
    if constraint is None:
        return value >= 0 or not is_clearance(column.name)
    return constraint.with_limit(float(outward_limit(column, np.array(value)))) is not None


def _all_fail(
    table: TrajectoryTable, column: ConstraintColumn, constraint: TrajectoryConstraint | None
) -> Evidence:
    """A constraint that every candidate fails."""
    best = _best(column, np.ones(len(table), dtype=np.bool_))
    if column.name == UsableLength().name:
        return Evidence(
            column.name,
            f"All {len(table)} candidate paths fail it: the shortest path is {best:.1f} mm long, and "
            f"{table.applicator.name} may be used to {column.limit:g} mm.",
            f"Choose an applicator with a usable length of at least {np.ceil(best):.0f} mm, or a nearer entry.",
        )
    # One for yes and none for no is no number to tell.
    told = column.unit or (best, column.limit) != (0.0, 1.0)
    reached = f", and the best reaches {in_unit(best, column.unit)}" if told else ""
    if is_clearance(column.name) and best < 0:
        reached = ", and every one of them touches or crosses it"
    return Evidence(
        column.name,
        f"All {len(table)} candidate paths fail it: {column.sentence}{reached}.",
        f"Relax {column.name!r} or change what it protects."
        if _can_relax(column, constraint, best)
        else _OTHER_PATHS,
    )


def _impossible(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    column: ConstraintColumn,
    constraint: TrajectoryConstraint | None,
) -> list[Evidence]:
    """A clearance that the target itself does not have: then no path has it, whether examined or not."""
    if not isinstance(constraint, Clearance):
        return []
    # Every path passes a point of the target, and such a point lies within half a diagonal of a cube's middle.
    points, _ = queries.target_points_mm(_HALF_DIAGONAL_MM)
    distance = np.maximum(queries.distance(constraint.surface).signed_distance_mm(points), 0.0)
    most = float(distance.max()) + _HALF_DIAGONAL_MM - table.applicator.radius_mm
    if most >= column.limit:
        return []
    target, other = queries.anatomy.target.name, constraint.surface.name
    start = f"No path whatever can keep {column.limit:g} mm:"
    if most <= 0:
        return [
            Evidence(
                column.name,
                f"{start} every needle into {target} touches or crosses {other}, wherever it enters.",
                f"Separate the two, as by hydrodissection, or correct the outline of {other}.",
            )
        ]
    # Rounded up, so that what is said to be the most is never exceeded.
    stated = f"{np.ceil(10 * most) / 10:.1f} mm"
    return [
        Evidence(
            column.name,
            f"{start} no needle into {target} stays farther than {stated} from {other}, wherever it enters.",
            f"Ask for less than {stated}, or separate the two, as by hydrodissection.",
        )
    ]


def _contradiction(
    table: TrajectoryTable, names: Sequence[str], constraints: Mapping[str, TrajectoryConstraint]
) -> Evidence:
    """Constraints that candidates satisfy one by one but not together."""
    columns = [table.constraint(name) for name in names]
    can = []
    for column in columns:
        # Some candidate satisfies the others: of those, the one that comes nearest.
        rest = np.all([other.passed for other in columns if other is not column], axis=0)
        if _can_relax(column, constraints.get(column.name), _best(column, rest)):
            can.append(repr(column.name))
    counts = [f"{name} by {int(table.constraint(name).passed.sum())}" for name in names]
    return Evidence(
        "contradiction",
        f"No candidate path satisfies {_listed(list(names))} together, though each is satisfied by some of the "
        f"{len(table)}: {', '.join(counts)}.",
        f"Relax {' or '.join(can)}; the others can be satisfied together." if can else _OTHER_PATHS,
    )


def _barred(table: TrajectoryTable, barrier: Barrier) -> Evidence:
    paths = "path fails" if barrier.only == 1 else "paths fail"
    return Evidence(
        barrier.constraint,
        f"{barrier.only} of {len(table)} candidate {paths} nothing else, but no limit lets them pass: "
        f"{barrier.sentence}.",
    )


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
