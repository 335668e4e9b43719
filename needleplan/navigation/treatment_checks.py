"""Whether what is told of a treatment can be: needles of this plan and patient, and energy along them, once."""

from collections.abc import Iterable, Sequence

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.needle_shape import applicator_of
from needleplan.coverage.treatment_state import MeasuredNeedle, behind_mm, same_ablation
from needleplan.devices.catalogue import Applicator
from needleplan.errors import DeviceError, GeometryError, NavigationError
from needleplan.navigation.events import EnergyDelivered
from needleplan.plan import Insertion

#: An ablation lies this near to its needle, beside it or before its tip: as exact as places are told.
_ON_NEEDLE_MM = 2.0
#: An entry farther than this from the entry surface is none of this patient's; plans state it roughly.
_NEAR_SURFACE_MM = 50.0


def planned_of(order: int, planned: Sequence[Insertion]) -> Insertion:
    """The insertion of an order; NavigationError where the plan has none."""
    for insertion in planned:
        if insertion.order == order:
            return insertion
    known = ", ".join(str(one.order) for one in planned) or "none"
    raise NavigationError(f"the plan has no needle {order}: there are {known}")


def shape_of(insertion: Insertion, applicators: Sequence[Applicator]) -> Applicator:
    """The needle of an insertion; NavigationError where nothing is known of it."""
    try:
        return applicator_of(insertion, applicators)
    except DeviceError as error:
        raise NavigationError(str(error)) from error


def require_known(insertions: Sequence[Insertion], applicators: Sequence[Applicator]) -> None:
    """Raise NavigationError where two insertions have the same order, or nothing is known of a needle."""
    orders = [one.order for one in insertions]
    if len(set(orders)) < len(orders):
        raise NavigationError(f"two insertions of the plan have the same order: {sorted(orders)}")
    for one in insertions:
        shape_of(one, applicators)


def require_within(insertions: Iterable[Insertion], queries: AnatomyQueries) -> None:
    """Raise NavigationError where an insertion cannot be one in this patient."""
    distance = queries.distance(queries.anatomy.entry)
    for one in insertions:
        try:
            needle = MeasuredNeedle.of(one)
        except GeometryError as error:
            raise NavigationError(str(error)) from error
        off_mm, deep_mm = distance.signed_distance_mm([needle.entry_mm, needle.tip_mm]).tolist()
        if not deep_mm <= 0.0:
            raise NavigationError(
                f"the tip of needle {one.order} lies {deep_mm:.0f} mm outside the body: state tip and entry in "
                "patient LPS mm"
            )
        if not abs(off_mm) <= _NEAR_SURFACE_MM:
            raise NavigationError(
                f"the entry of needle {one.order} lies {abs(off_mm):.0f} mm off the entry surface: it may be of "
                "another patient"
            )


def require_delivered(insertion: Insertion, planned: Sequence[Insertion], queries: AnatomyQueries) -> None:
    """Raise NavigationError where energy cannot have been delivered so.

    Its needle must be one of the plan and lie in the body, and its ablations on it between entry and tip.
    """
    order = planned_of(insertion.order, planned).order
    require_within((insertion,), queries)
    for ablation in insertion.ablations:
        behind = behind_mm(insertion, ablation)
        across = np.subtract(insertion.tip_mm, ablation.tip_mm) - behind * insertion.direction
        beside = float(np.linalg.norm(across))
        if not (-_ON_NEEDLE_MM <= behind <= insertion.depth_mm and beside <= _ON_NEEDLE_MM):
            raise NavigationError(
                f"an ablation of needle {order} lies {behind:.0f} mm behind its tip and {beside:.0f} mm beside it, "
                f"where the needle is {insertion.depth_mm:.0f} mm deep: it must lie on the needle, within the body"
            )


def require_first_told(event: EnergyDelivered, before: Iterable[tuple[float, Insertion]]) -> None:
    """Raise NavigationError where the same energy was told already, in less time than it takes to deliver it."""
    one = event.insertion
    lasts_s = sum(ablation.duration_s for ablation in one.ablations)
    for time_s, other in before:
        same = (
            other.order == one.order
            and len(other.ablations) == len(one.ablations)
            and all(same_ablation(*both) for both in zip(one.ablations, other.ablations, strict=True))
        )
        if same and abs(event.time_s - time_s) < lasts_s:
            raise NavigationError(
                f"the same energy of needle {one.order} was told {event.time_s - time_s:.1f} s before, where it "
                f"takes {lasts_s:.0f} s to deliver: it counts once"
            )
