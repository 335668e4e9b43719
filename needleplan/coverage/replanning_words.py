"""What a replanning changed and why, in sentences."""

from collections.abc import Sequence

import numpy as np

from needleplan.coverage.certificate import CoverageCertificate
from needleplan.coverage.replanning_alternatives import Alternative
from needleplan.coverage.treatment_state import SAME_MM, MeasuredNeedle, NeedleDeviation, TreatmentState, behind_mm
from needleplan.percentages import percent_down
from needleplan.plan import Ablation, Insertion, Metrics


def replanning_sentences(
    state: TreatmentState,
    remaining: Sequence[Insertion],
    certificate: CoverageCertificate,
    metrics: Metrics | None,
    alternatives: Sequence[Alternative],
    *,
    unchanged: bool,
    ended: str,
) -> tuple[str, ...]:
    """Where the needles lie, what is done about it, what that takes and achieves.

    Args:
        state: plan, measured needles, delivered ablations.
        remaining: what is left to do.
        certificate: what is proven.
        metrics: what is achieved; None where nothing is.
        alternatives: what may be chosen, the rest of the plan as it is first.
        unchanged: True where the plan is kept.
        ended: how the search ended, in a sentence; may be empty.
    """
    todo = {insertion.order: insertion for insertion in remaining}
    said = [_placed_words(state, needle, todo.get(needle.order)) for needle in state.measured]
    if unchanged:
        said.append("The rest of the plan is kept as it is." if remaining else "Nothing is left to do.")
    else:
        said += [words for one in state.waiting if (words := _waiting_words(one, todo.get(one.order)))]
        known = {one.order for one in state.planned}
        said += [
            f"Needle {one.order} is new, {one.depth_mm:.0f} mm deep: {_listed(one)}."
            for one in remaining
            if one.order not in known
        ]
        if not remaining:
            said.append("What was delivered covers target and margin: nothing is left to do.")
    standing = {needle.order for needle in state.measured}
    count = sum(one.order not in standing for one in remaining)
    said.append(_punctures(count, len(state.waiting)))
    if metrics is not None:
        together = "With what was delivered, " if state.delivered else "Then "
        said.append(
            f"{together}{percent_down(metrics.margin_coverage_fraction)} of target and margin is destroyed; the "
            f"least margin is {metrics.minimal_margin_mm:.1f} mm."
        )
    said.append(f"Target and margin: {certificate.sentence}.")
    said.append(ended)
    said += [one.sentence for one in alternatives]
    return tuple(words for words in said if words)


def _placed_words(state: TreatmentState, needle: MeasuredNeedle, now: Insertion | None) -> str:
    off = NeedleDeviation.of(state.planned_of(needle.order), needle)
    place = f"Needle {needle.order} lies as planned"
    if off.tip_mm > SAME_MM:
        depth = f"{abs(off.depth_mm):.1f} mm {'too deep' if off.depth_mm > 0 else 'short'}"
        place = (
            f"Needle {needle.order} lies {off.tip_mm:.1f} mm off ({off.lateral_mm:.1f} mm aside, {depth}, "
            f"{off.angle_deg:.1f} degrees askew)"
        )
    due = state.due(needle)
    if now is None:
        return f"{place}; its ablations that are due are not needed." if due else f"{place} and has done its part."
    along = needle.carrying(now.ablations, now.applicator)
    if len(due) == len(now.ablations) == 1:
        changes = _changes(needle.carrying(due, now.applicator), due[0], along, now.ablations[0])
        return f"{place}; its ablation {' and '.join(changes)}." if changes else f"{place}; its ablation stays."
    if len(due) == len(now.ablations) and not any(
        _changes(along, one, along, other) for one, other in zip(due, now.ablations, strict=True)
    ):
        return f"{place}; its ablations stay."
    if not due:
        return f"{place}; along it something is added: {_listed(along)}."
    return f"{place}; along it, instead of {_listed(needle.carrying(due, now.applicator))}: {_listed(along)}."


def _waiting_words(planned: Insertion, now: Insertion | None) -> str:
    if now is None:
        return f"Needle {planned.order} is not needed any more."
    moved = max(
        float(np.linalg.norm(np.subtract(planned.entry_mm, now.entry_mm))),
        float(np.linalg.norm(planned.direction - now.direction)) * planned.depth_mm,
    )
    if moved <= SAME_MM and planned.ablations == now.ablations:
        return f"Needle {planned.order} stays as planned."
    path = "keeps its path" if moved <= SAME_MM else f"is moved by up to {moved:.1f} mm"
    return f"Needle {planned.order} {path}: {_listed(now)}."


def _changes(old_needle: Insertion, old: Ablation, needle: Insertion, new: Ablation) -> list[str]:
    """What is different about an ablation, as ends of the sentence "it ..."."""
    changes = []
    back = behind_mm(needle, new) - behind_mm(old_needle, old)
    if abs(back) > SAME_MM:
        changes.append(f"is drawn back {back:.1f} mm" if back > 0 else f"lies {-back:.1f} mm deeper")
    if new.power_w != old.power_w and new.power_w is not None and old.power_w is not None:
        word = "raised" if new.power_w > old.power_w else "lowered"
        changes.append(f"is {word} from {old.power_w:g} to {new.power_w:g} W")
    if new.duration_s != old.duration_s:
        word = "lengthened" if new.duration_s > old.duration_s else "shortened"
        changes.append(f"is {word} from {old.duration_s:g} to {new.duration_s:g} s")
    return changes


def _listed(needle: Insertion) -> str:
    """The ablations of an insertion, each with its place behind the tip."""
    parts = []
    for ablation in needle.ablations:
        back = behind_mm(needle, ablation)
        place = (
            "at the tip" if abs(back) <= SAME_MM else f"{abs(back):.1f} mm {'behind' if back > 0 else 'beyond'} it"
        )
        power = "" if ablation.power_w is None else f"{ablation.power_w:g} W for "
        parts.append(f"{place} {power}{ablation.duration_s:g} s")
    return ", ".join(parts)


def _punctures(count: int, planned: int) -> str:
    word = "No puncture is" if count == 0 else "1 puncture is" if count == 1 else f"{count} punctures are"
    against = (
        "as planned"
        if count == planned
        else f"{abs(count - planned)} {'more' if count > planned else 'fewer'} than planned"
    )
    return f"{word} left to make, {against}."
