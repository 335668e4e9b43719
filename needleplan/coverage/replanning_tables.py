"""Paths of a plan and new ones as one table, and the numbers of what was chosen among them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.treatment_state import TreatmentState
from needleplan.plan import Insertion
from needleplan.trajectory.table import TrajectoryTable

#: Insertions whose entries (mm) and directions differ by less go along one path.
_SAME_PATH = 1e-6


def renumbered(
    insertions: Sequence[Insertion], placed: Sequence[Insertion], state: TreatmentState
) -> tuple[Insertion, ...]:
    """The insertions with the orders of the needles and paths that they go along, new ones after them.

    Args:
        insertions: what was chosen.
        placed: needles that stand.
        state: tells what waits, and which orders are taken.
    """
    known = [*placed, *state.waiting]
    free = max((one.order for one in (*state.planned, *state.delivered)), default=0) + 1
    numbered = []
    for insertion in insertions:
        owner = next((one for one in known if _same_path(one, insertion)), None)
        if owner is None:
            numbered.append(dataclasses.replace(insertion, order=free))
            free += 1
        else:
            known.remove(owner)
            numbered.append(
                dataclasses.replace(insertion, order=owner.order, clearances_mm=dict(owner.clearances_mm))
            )
    begun = {one.order for one in placed}
    return tuple(sorted(numbered, key=lambda one: (one.order not in begun, one.order)))


def _same_path(one: Insertion, other: Insertion) -> bool:
    apart = float(np.linalg.norm(np.subtract(one.entry_mm, other.entry_mm)))
    return max(apart, float(np.linalg.norm(one.direction - other.direction))) < _SAME_PATH


def table_of(insertions: Sequence[Insertion], ranked: TrajectoryTable, queries: AnatomyQueries) -> TrajectoryTable:
    """The paths of insertions as a table in which all are feasible and cost nothing."""
    entry = np.array([one.entry_mm for one in insertions], dtype=np.float64).reshape(-1, 3)
    tip = np.array([one.tip_mm for one in insertions], dtype=np.float64).reshape(-1, 3)
    direction = np.array([one.direction for one in insertions], dtype=np.float64).reshape(-1, 3)
    normal = queries.skin_normals.at(entry) if len(entry) else entry
    aim = tip - ranked.applicator.tip_to_centre_mm * direction
    curvature = None if ranked.curvature_per_mm is None else np.zeros_like(entry)
    return TrajectoryTable(ranked.applicator, entry, normal, aim, tip, curvature, cost=np.zeros(len(entry)))


def with_feasible(few: TrajectoryTable, ranked: TrajectoryTable) -> TrajectoryTable:
    """A table with the feasible rows of another below it."""
    more = ranked.subset(np.flatnonzero(ranked.feasible))
    assert few.cost is not None and more.cost is not None
    bare = dataclasses.replace(more, constraints=(), objectives=(), cost=None, front=None)
    whole = TrajectoryTable.joined([dataclasses.replace(few, cost=None), bare])
    return dataclasses.replace(whole, cost=np.concatenate([few.cost, more.cost]))
