"""How far needles that stand in the patient may be pushed on along their own axes."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.pair_limits import PairLimits
from needleplan.frames import FloatArray
from needleplan.plan import Insertion, vector3
from needleplan.trajectory.constraints.placed_needle import segment_to_segments_mm
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable

#: Steps in which longer paths are screened.
_STEP_MM = 1.0


def advanced(
    standing: Sequence[Insertion],
    queries: AnatomyQueries,
    ranked: TrajectoryTable,
    constraints: Sequence[TrajectoryConstraint],
    pairs: PairLimits | None,
    advance_mm: float,
) -> tuple[Insertion, ...]:
    """The needles with the deepest tips that they may be pushed on to.

    A needle goes on as long as its longer path passes every hard constraint and comes no nearer to another needle
    that stands than the limits ask for, or than it is already.

    Args:
        standing: the needles as they stand.
        queries: the anatomy.
        ranked: paths of the same applicator.
        constraints: what is demanded of paths.
        pairs: distance that needles keep from each other; None asks for none.
        advance_mm: no needle goes on by more.
    """
    steps = np.append(np.arange(_STEP_MM, advance_mm, _STEP_MM), advance_mm)
    found = []
    for index, needle in enumerate(standing):
        tips = np.asarray(needle.tip_mm) + steps[:, None] * needle.direction
        entry = np.tile(np.asarray(needle.entry_mm), (len(steps), 1))
        table = TrajectoryTable(
            ranked.applicator,
            entry,
            queries.skin_normals.at(entry),
            tips - ranked.applicator.tip_to_centre_mm * needle.direction,
            tips,
        )
        passed = screen(table, queries, constraints).feasible
        if pairs is not None:
            others = [other for k, other in enumerate(standing) if k != index]
            asked = pairs.needle_distance_mm + 2.0 * ranked.applicator.radius_mm
            now = _least_distance_mm(needle, np.asarray(needle.tip_mm), others)
            passed = passed & [_least_distance_mm(needle, tip, others) >= min(asked, now) - 1e-9 for tip in tips]
        count = len(steps) if passed.all() else int(np.argmin(passed))
        found.append(dataclasses.replace(needle, tip_mm=vector3(tips[count - 1])) if count else needle)
    return tuple(found)


def _least_distance_mm(needle: Insertion, tip_mm: FloatArray, others: Sequence[Insertion]) -> float:
    """Distance of the axes of a needle that reaches to a tip and the nearest of others; infinite without others."""
    if not others:
        return np.inf
    start = np.array([other.entry_mm for other in others], dtype=np.float64)
    end = np.array([other.tip_mm for other in others], dtype=np.float64)
    return float(segment_to_segments_mm(np.asarray(needle.entry_mm), tip_mm, start, end)[0].min())
