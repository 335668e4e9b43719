"""Fewer insertions than balls can show: chosen nearly covering, moved until they cover, taken only with a proof.

A cover of balls, each within one zone, leaves out covers in which two zones share a ball, and its paths and tips
lie on a lattice. So with fewer insertions the choice is made that comes nearest to covering the balls' middles:
the least distance is sought by which zones must be thought larger for the integer program to find a cover. Moved
continuously such a choice may close its gaps, and the cubes of the certificate then prove it, or it is dropped.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from needleplan.coverage.cover import Covering
from needleplan.coverage.region import TargetRegion
from needleplan.coverage.time_limits import over_time
from needleplan.plan import Evidence, Insertion

#: Distances in mm by which the middles of the balls must lie within one zone, or may lie outside, deepest first.
_DEPTHS_MM = (1.0, 0.5, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0)
#: Choices in a row that are moved in vain before the search ends.
_TRIALS = 3


@dataclass(frozen=True, slots=True)
class FewerInsertions:
    """What came of the search.

    Attributes:
        insertions: insertions that are proven to cover the solid.
        covering: the choice that they come from.
        evidence: what came of moving them.
    """

    insertions: tuple[Insertion, ...]
    covering: Covering
    evidence: tuple[Evidence, ...]


#: The choice with fewest insertions for other balls.
Choose = Callable[[TargetRegion], Covering]
#: Insertions moved until they cover the solid, and what came of it; None where they do not.
Move = Callable[[tuple[Insertion, ...]], tuple[tuple[Insertion, ...], tuple[Evidence, ...]] | None]


def fewer_insertions(
    found: int, least: int, region: TargetRegion, choose: Choose, move: Move, time_limit_s: float
) -> FewerInsertions | None:
    """Insertions that cover the solid with fewer punctures than were found, where there are such.

    Args:
        found: insertions of a cover that is known.
        least: no fewer than this can do.
        region: the balls.
        choose: chooses paths and ablations.
        move: moves them.
        time_limit_s: no choice is begun later.
    """
    end = time.monotonic() + time_limit_s
    best: FewerInsertions | None = None
    middles = region.shrunk(0.0)
    failures = 0
    for depth_mm in _DEPTHS_MM:
        if found <= least or failures >= _TRIALS or over_time(time.monotonic() > end, "fewer insertions"):
            break
        covering = choose(middles.deepened(np.full(len(middles), depth_mm)))
        if not covering.complete or not 0 < len(covering.insertions) < found:
            continue
        moved = move(covering.insertions)
        if moved is None:
            failures += 1
            continue
        best = FewerInsertions(moved[0], covering, moved[1])
        found, failures = len(moved[0]), 0
    return best
