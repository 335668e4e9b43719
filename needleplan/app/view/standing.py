"""Whether edited needles may stand in the patient together, asked in the same way as of a planned plan."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from needleplan.app.view.demands import PlanDemands
from needleplan.coverage.pair_evidence import explain_pairs
from needleplan.coverage.pair_limits import PULSE_MODALITIES, PairLimits
from needleplan.coverage.puncture_order import PunctureOrder, order_punctures
from needleplan.devices.catalogue import Applicator
from needleplan.errors import GeometryError
from needleplan.plan import Evidence, Insertion


@dataclass(frozen=True, slots=True)
class Standing:
    """What is found of needles among each other.

    Attributes:
        broken: hard demands that pairs break.
        told: what else a reader must know.
        known: False where the needles cannot be judged.
    """

    broken: tuple[Evidence, ...] = ()
    told: tuple[Evidence, ...] = ()
    known: bool = True


def judge_standing(
    insertions: Sequence[Insertion], applicators: Sequence[Applicator], demands: PlanDemands
) -> Standing:
    """Needles among each other, as ``make_plan`` asks it.

    Distances inside the body are hard wherever more than one needle may stand in the patient. Handles and guides
    are left to the order of punctures: where there is none of all needles at once, they stand in groups, each drawn
    out before the next. The order is told by the numbers that the needles have; they are not numbered anew.

    Args:
        insertions: the needles, numbered from 1.
        applicators: those of the insertions.
        demands: what the plan demanded.
    """
    if len(insertions) < 2:
        return Standing()
    at_once = demands.coverage.needles_at_once
    limits = PairLimits.for_applicator(applicators[0], demands.limits)
    inside = dataclasses.replace(limits, handle_radius_mm=None, guide_radius_mm=None)
    try:
        broken = () if at_once == 1 else explain_pairs(insertions, applicators, inside)
        if broken:
            return Standing(broken)
        order = _order(insertions, applicators, limits, at_once)
        if not order.exists:
            return Standing((order.evidence,))
        told = [_order_evidence(insertions, order)]
        # Of groups that nobody asked for, the reason is told: pairs that cannot stand together.
        groups = order.groups if at_once is not None else (range(len(insertions)),)
        for group in groups:
            told += explain_pairs([insertions[k] for k in group], [applicators[k] for k in group], limits)
    except GeometryError as error:
        # A path longer than the shaft is no needle whose handle could stand anywhere.
        return Standing(
            told=(Evidence("needles among each other", f"Whether they can stand together is not known: {error}."),),
            known=False,
        )
    return Standing(told=tuple(item for item in told if item.finding))


def _order(
    insertions: Sequence[Insertion], applicators: Sequence[Applicator], limits: PairLimits, at_once: int | None
) -> PunctureOrder:
    """The order of punctures; in groups where all together have none. Pulses need all needles together."""
    order = order_punctures(insertions, applicators, limits, maximum_at_once=at_once)
    pulsed = any(applicator.modality in PULSE_MODALITIES for applicator in applicators)
    if order.exists or at_once is not None or pulsed:
        return order
    return order_punctures(insertions, applicators, limits, maximum_at_once=len(insertions) - 1)


def _order_evidence(insertions: Sequence[Insertion], order: PunctureOrder) -> Evidence:
    """The order by the needles' own numbers; empty where it is that of the numbers, all needles at once."""
    groups = [", ".join(str(insertions[k].order) for k in group) for group in order.groups]
    if len(groups) > 1:
        finding = (
            "Not all needles stand in the patient together: they can be placed in groups, each drawn out before "
            f"the next is placed: {'; '.join(groups)}."
        )
    elif list(order.order) != sorted(order.order):
        finding = f"The order of punctures, looked for anew, is {groups[0]}; the needles kept their numbers."
    else:
        return Evidence("puncture order", "")
    return Evidence("puncture order", finding, "Place them in this order, whatever their numbers.")
