"""Where a needle stands that was let go, from what a session says of it."""

from collections.abc import Sequence

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.treatment_state import MeasuredNeedle, TreatmentState
from needleplan.errors import GeometryError, NavigationError
from needleplan.frames import FloatArray
from needleplan.navigation.guidance import DoubtKind, Guidance
from needleplan.plan import Insertion

#: Doubts with which a needle may still be measured where it was let go.
_MEASURED_DESPITE = frozenset({DoubtKind.OFF_PLAN, DoubtKind.NEAR_STRUCTURE, DoubtKind.HELD})


def measured_needle(
    order: int, said: Guidance, planned: Sequence[Insertion], queries: AnatomyQueries
) -> MeasuredNeedle:
    """The needle as it stands, at end-exhale: with the gate shut it lies elsewhere than it will.

    Args:
        order: of its insertion.
        said: guidance at the moment at which it was let go.
        planned: the insertions of the plan.
        queries: the anatomy.

    Raises:
        NavigationError: something about its pose is doubtful, or no needle of this patient can stand there.
    """
    for doubt in said.doubts:
        if doubt.kind not in _MEASURED_DESPITE:
            raise NavigationError(f"needle {order} cannot be measured where it is: {doubt.sentence}")
    tip, direction = np.asarray(said.tip_mm), np.asarray(said.direction)
    try:
        needle = MeasuredNeedle(order, _entry(order, tip, direction, queries), tip)
        TreatmentState(tuple(planned), (needle,), ()).require_within(queries)
    except GeometryError as error:
        raise NavigationError(f"needle {order} cannot stand where it was let go: {error}") from error
    return needle


def _entry(order: int, tip: FloatArray, direction: FloatArray, queries: AnatomyQueries) -> FloatArray:
    """(3,) where the needle's axis passes the entry surface, nearest to the tip."""
    tree = queries.tree(queries.anatomy.entry)
    outside = tip - float(np.linalg.norm(np.diff(tree.bounds_mm, axis=0))) * direction
    found = tree.crossings(outside[None], tip[None])
    inward = np.flatnonzero(np.isfinite(found.parameter[0]) & ~found.outward[0])
    if not len(inward):
        raise NavigationError(f"needle {order} does not pass the entry surface: its tip lies outside")
    return np.asarray(outside + found.parameter[0, inward[-1]] * (tip - outside))
