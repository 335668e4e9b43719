"""The rehearsals in the report: figures side by side, what the needles came near to, and the log of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.app.report_template import Html, bdi, element, table, with_names
from needleplan.assess import Assessment
from needleplan.outcome import CLOSEST_CAP_MM, EventKind, Outcome
from needleplan.percentages import percent_down
from needleplan.plan import Metrics
from needleplan.viz.palette import readable

#: The log of one rehearsal shows so many entries at most.
MOST_ENTRIES = 80
#: So many structures, the nearest ones, are listed by their distance.
NEAREST = 12


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """One rehearsal with its score.

    Attributes:
        outcome: what happened.
        assessment: score of the executed insertions; None where none was carried out.
    """

    outcome: Outcome
    assessment: Assessment | None


def rehearsals_section(rehearsals: Sequence[Rehearsal], structures: Sequence[str]) -> Html:
    """The rehearsals side by side, and how near their needles came to each structure.

    Args:
        rehearsals: with the strategy that was chosen, and in free breathing.
        structures: names that a sentence may hold.
    """
    if not rehearsals:
        return Html("")
    outcomes = [rehearsal.outcome for rehearsal in rehearsals]
    rows = [
        ("how breathing was met", *(o.strategy_details for o in outcomes)),
        ("breathing model", *(o.motion for o in outcomes)),
        ("robot", *(o.robot for o in outcomes)),
        ("seed", *(str(o.seed) for o in outcomes)),
        ("faults switched on", *("; ".join(o.faults) or "none" for o in outcomes)),
        ("needles placed", *(f"{len(o.needles)} of {len(o.needles) + len(o.not_reached)}" for o in outcomes)),
        ("needles given up in the patient", *(str(len(o.withdrawn)) for o in outcomes)),
        ("tip error of the needles placed, mm", *(_errors(o, "tip_error_mm") for o in outcomes)),
        ("across the axis, mm", *(_errors(o, "lateral_error_mm") for o in outcomes)),
        ("along the axis, mm", *(_errors(o, "depth_error_mm") for o in outcomes)),
        ("angle, °", *(_errors(o, "angle_error_deg") for o in outcomes)),
        ("bending at the tip, at most, mm", *(_most([n.bend_mm for n in o.needles]) for o in outcomes)),
        ("corrections", *(str(sum(n.corrections for n in o.needles)) for o in outcomes)),
        ("force along the needle, at most, N", *(_most([n.peak_force_n for n in o.entered]) for o in outcomes)),
        ("force on its tip, at most, N", *(_most([n.peak_tip_force_n for n in o.entered]) for o in outcomes)),
        ("whole time, s", *(f"{o.duration_s:.0f}" for o in outcomes)),
        ("breaths", *(f"{o.breaths:.1f}" for o in outcomes)),
        ("needle waited, s", *(f"{sum(n.waited_s for n in o.needles):.1f}" for o in outcomes)),
        ("times that the needle was stopped", *(str(_count(o, EventKind.STOP)) for o in outcomes)),
        ("target covered", *(_score(r, lambda m: percent_down(m.target_coverage_fraction)) for r in rehearsals)),
        (
            "target and margin covered",
            *(_score(r, lambda m: percent_down(m.margin_coverage_fraction)) for r in rehearsals),
        ),
        ("least margin, mm", *(_score(r, lambda m: f"{m.minimal_margin_mm:+.1f}") for r in rehearsals)),
    ]
    missed = [
        element(
            "p", f"{_title(outcome)}: needle {order} was not placed: ", with_names(reason, structures), class_="low"
        )
        for outcome in outcomes
        for order, reason in outcome.not_reached
    ]
    header = ["", *(_title(outcome) for outcome in outcomes)]
    return Html(table(header, rows, 0) + "".join(missed) + _approaches(outcomes))


def logs_section(rehearsals: Sequence[Rehearsal], structures: Sequence[str]) -> Html:
    """What happened when: stops, faults, punctures, scans, corrections, holds; the controller's states left out.

    Args:
        rehearsals: with the strategy that was chosen, and in free breathing.
        structures: names that a sentence may hold.
    """
    parts = []
    for outcome in (rehearsal.outcome for rehearsal in rehearsals):
        events = [event for event in outcome.events if event.kind is not EventKind.STATE]
        if not events:
            continue
        rows = [
            (
                f"{event.time_s:.2f}", str(event.needle),
                element("span", event.kind.value, class_="low")
                if event.kind in (EventKind.STOP, EventKind.FAULT)
                else event.kind.value,
                with_names(event.text, structures),
            )
            for event in events[:MOST_ENTRIES]
        ]  # fmt: skip
        parts += [element("h3", f"Log: {_title(outcome)}"), table(("s", "needle", "what", ""), rows, 4)]
        if len(events) > MOST_ENTRIES:
            parts.append(
                element(
                    "p", f"{len(events) - MOST_ENTRIES} further entries are in the outcome's file.", class_="mute"
                )
            )
    return Html("".join(parts))


def _title(outcome: Outcome) -> str:
    return outcome.strategy.replace("-", " ")


def _errors(outcome: Outcome, name: str) -> str:
    values = [abs(getattr(needle, name)) for needle in outcome.needles]
    return f"{np.mean(values):.2f}, at most {max(values):.2f}" if values else "–"


def _most(values: Sequence[float]) -> str:
    return f"{max(values):.1f}" if values else "–"


def _count(outcome: Outcome, kind: EventKind) -> int:
    return sum(event.kind is kind for event in outcome.events)


def _score(rehearsal: Rehearsal, text: Callable[[Metrics], str]) -> str:
    return "–" if rehearsal.assessment is None else text(rehearsal.assessment.metrics)


def _approaches(outcomes: Sequence[Outcome]) -> Html:
    """Closest approach to each structure during the whole motion, nearest first, and how many needles passed it."""
    least: dict[str, float] = {}
    for needle in (needle for outcome in outcomes for needle in outcome.entered):
        for name, distance in needle.closest_mm.items():
            least[name] = min(least.get(name, np.inf), distance)
    near = [name for name, distance in sorted(least.items(), key=lambda item: item[1]) if distance < CLOSEST_CAP_MM]
    if not near:
        return Html("")

    def cell(outcome: Outcome, name: str) -> str:
        values = [needle.closest_mm[name] for needle in outcome.entered if name in needle.closest_mm]
        if not values:
            return "–"
        passed = sum(name in needle.punctured for needle in outcome.entered)
        text = f"{min(values):.1f} mm" if min(values) < CLOSEST_CAP_MM else f"over {CLOSEST_CAP_MM:g} mm"
        return text if not passed else f"{text}, punctured by {passed} of {len(outcome.entered)}"

    rows = [(bdi(readable(name)), *(cell(outcome, name) for outcome in outcomes)) for name in near[:NEAREST]]
    note = (
        "Least distance of any needle's surface from the structure while needle and structure moved, negative "
        "inside, needles given up in the patient counted; the target and its organ are meant to be punctured."
    )
    return Html(
        element("h3", "Closest approach during the whole motion")
        + table(("structure", *(_title(outcome) for outcome in outcomes)), rows)
        + element("p", note, class_="mute")
    )
