"""The parts of the report, each from the values that it speaks of to a piece of HTML."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.model import Anatomy
from needleplan.app.report_rehearsals import Rehearsal
from needleplan.app.report_template import Html, bdi, element, table, with_names
from needleplan.app.view.judging import EDITED
from needleplan.case.model import Role
from needleplan.percentages import percent_down
from needleplan.plan import Evidence, Insertion, Plan, PlanStatus
from needleplan.plan_clearances import clearance_in_words
from needleplan.trajectory.gantry_angles import gantry_angles
from needleplan.viz.palette import readable


@dataclass(frozen=True, slots=True)
class NeedleAngles:
    """Direction of a needle as one reads it off a CT console.

    Attributes:
        craniocaudal_deg: angle to the axial plane, positive where the tip lies towards the head.
        in_plane_deg: angle in the axial plane between the vertical and the needle, 0 for straight down to the
            table, positive where the tip lies towards the patient's left.
    """

    craniocaudal_deg: float
    in_plane_deg: float


def needle_angles(insertion: Insertion, anatomy: Anatomy) -> NeedleAngles:
    """Angles of ``insertion`` to the axial plane and, within it, to the vertical."""
    angles = gantry_angles(insertion.direction, anatomy.case)
    return NeedleAngles(angles.out_of_plane_deg, angles.in_plane_deg)


_VERDICTS = {
    PlanStatus.COMPLETE: "Target and margin are covered by the predicted zones and every hard constraint holds.",
    PlanStatus.PARTIAL: "Every hard constraint holds, but not all that was asked for is covered or known.",
    PlanStatus.INFEASIBLE: "No needle path satisfies the hard constraints.",
}
#: Of infeasible plans that hold needles: the planner keeps none that breaks a demand, so these were changed since.
_BROKEN = "The needles, moved by hand, break hard demands:"
_BROKEN_UNKNOWN = "The needles break hard demands; which ones, the plan does not say."

_SMOOTHED_FOR_DRAWING = (
    "Segmented targets and obstacles are smoothed for drawing, by no more than half the diagonal of a voxel: in "
    "the pictures and in the scene, not in the scene's planes. Margin, its histogram and map, clearances and "
    "volumes are those of the surfaces that are not smoothed, which keep the steps of the voxels."
)


def structure_names(plan: Plan, anatomy: Anatomy) -> tuple[str, ...]:
    """The name of every structure that a sentence of the report may hold."""
    measured = (name for insertion in plan.insertions for name in insertion.clearances_mm)
    return tuple(dict.fromkeys((*(surface.name for surface in anatomy.surfaces), *measured)))


def summary_section(plan: Plan, anatomy: Anatomy) -> Html:
    """Status, verdict and evidence, the demands that are broken first."""
    badge = element("span", plan.status.value, class_=f"badge {plan.status.value}")
    broken, verdict = _broken(plan), _VERDICTS[plan.status]
    if plan.status is PlanStatus.INFEASIBLE and plan.insertions:
        verdict = _BROKEN if broken else _BROKEN_UNKNOWN
    told = [_evidence_list(broken, plan, anatomy), element("p", "Besides:")] if broken else []
    told.append(_evidence_list([each for each in plan.evidence if each not in broken], plan, anatomy))
    return Html(element("p", badge, " ", verdict, class_="verdict") + "".join(told))


def _broken(plan: Plan) -> Sequence[Evidence]:
    """The hard demands that needles moved by hand break: told between what was moved and what is covered."""
    if plan.status is not PlanStatus.INFEASIBLE or not was_edited(plan):
        return ()
    return tuple(itertools.takewhile(lambda each: each.subject != "coverage", plan.evidence[1:]))


def was_edited(plan: Plan) -> bool:
    """Whether needles of the plan were moved by hand."""
    return bool(plan.evidence) and plan.evidence[0].subject == EDITED


def _evidence_list(told: Sequence[Evidence], plan: Plan, anatomy: Anatomy) -> Html:
    structures, others = structure_names(plan, anatomy), (plan.case_name,)
    items = []
    for evidence in told:
        parts = [
            element("b", bdi(with_names(evidence.subject, structures, others))),
            ": ",
            with_names(evidence.finding, structures, others),
        ]
        if evidence.remedy:
            remedy = with_names(evidence.remedy, structures, others)
            parts += [" ", element("span", "What would change it: ", remedy, class_="mute")]
        items.append(element("li", *parts))
    return element("ul", *items, class_="evidence") if items else Html("")


def key_figures(plan: Plan, rehearsals: Sequence[Rehearsal]) -> Html:
    """The key figures as boxes."""
    metrics = plan.metrics
    boxes: list[tuple[str, ...]] = []
    if metrics is not None:
        boxes = [
            (percent_down(metrics.target_coverage_fraction), "of the target inside the zones"),
            (percent_down(metrics.margin_coverage_fraction), f"of target and {metrics.margin_mm:g} mm margin"),
            (
                f"{metrics.minimal_margin_mm:+.1f} mm",
                f"least margin, within {metrics.margin_error_bound_mm:.1f} mm",
            ),
        ]
    boxes.append((str(len(plan.insertions)), "needle" if len(plan.insertions) == 1 else "needles"))
    clearances = [(value, name) for insertion in plan.insertions for name, value in insertion.clearances_mm.items()]
    if clearances:
        value, name = min(clearances)
        boxes.append((clearance_in_words(value), "least clearance, to ", bdi(readable(name))))
    if metrics is not None:
        boxes.append((f"{metrics.zone_ml:.0f} ml", f"zone, {metrics.over_ablation_ml:.0f} ml beyond the margin"))
    for rehearsal in rehearsals:
        outcome = rehearsal.outcome
        if outcome.needles:
            largest = max(needle.tip_error_mm for needle in outcome.needles)
            boxes.append((f"{largest:.1f} mm", f"largest tip error, {outcome.strategy.replace('-', ' ')}"))
    return element(
        "div", *(element("div", element("b", value), element("span", *text)) for value, *text in boxes),
        class_="figures",
    )  # fmt: skip


def _point(point: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in point)


def _setting(power_w: float | None, duration_s: float) -> str:
    minutes, seconds = divmod(round(duration_s), 60)
    return f"{'power by generator' if power_w is None else f'{power_w:g} W'}, {minutes}:{seconds:02d} min"


def insertions_section(plan: Plan, anatomy: Anatomy) -> Html:
    """Each needle and each delivery of energy."""
    if not plan.insertions:
        return Html("")
    rows, deliveries = [], []
    for insertion in plan.insertions:
        angles = needle_angles(insertion, anatomy)
        towards = "head" if angles.craniocaudal_deg > 0 else "feet"
        side = "left" if angles.in_plane_deg > 0 else "right"
        rows.append(
            (
                str(insertion.order), insertion.applicator, _point(insertion.entry_mm), _point(insertion.tip_mm),
                f"{insertion.depth_mm:.1f} mm", f"{abs(angles.craniocaudal_deg):.0f}° to the {towards}",
                f"{abs(angles.in_plane_deg):.0f}° to the {side}",
            )
        )  # fmt: skip
        for index, ablation in enumerate(insertion.ablations, start=1):
            back = float(np.linalg.norm(np.subtract(insertion.tip_mm, ablation.tip_mm)))
            place = "deepest position" if back < 0.05 else f"{back:.1f} mm withdrawn"
            setting = _setting(ablation.power_w, ablation.duration_s)
            deliveries.append((f"{insertion.order}.{index}", place, _point(ablation.tip_mm), setting))
    header = (
        "needle", "applicator", "entry, mm", "tip, mm", "depth", "to the axial plane", "from vertical, in plane",
    )  # fmt: skip
    return Html(
        table(header, rows, 2)
        + element(
            "p", "Coordinates are patient L, P, S in millimetres; angles point from entry to tip.", class_="mute"
        )
        + element("h3", "Ablations")
        + table(("ablation", "position", "tip, mm", "setting"), deliveries, 2)
    )


def clearances_section(plan: Plan, anatomy: Anatomy) -> Html:
    """Distance of each needle to each structure."""
    names = [surface.name for surface in anatomy.surfaces]
    named = {name for insertion in plan.insertions for name in insertion.clearances_mm}
    order = [name for name in names if name in named] + sorted(named - set(names))
    if not order:
        return Html("")
    rows = []
    for name in order:
        values = [insertion.clearances_mm.get(name) for insertion in plan.insertions]
        cells = [
            "–"
            if value is None
            else element("span", clearance_in_words(value), class_="low" if value < 0 else "plain")
            for value in values
        ]
        rows.append((bdi(readable(name)), *cells))
    header = ("structure", *(f"needle {insertion.order}" for insertion in plan.insertions))
    text = "From the surface of the structure to the surface of the needle; negative where it would be hit."
    return Html(table(header, rows) + element("p", text, class_="mute"))


def candidates_section(plan: Plan) -> Html:
    """How many paths were examined, and what rejected the others."""
    text = (
        f"{plan.candidate_count:,} candidate paths were examined and {plan.feasible_count:,} passed every hard "
        "constraint. A path may be rejected by more than one."
    )
    if was_edited(plan):
        text += " These are the paths of the search, before needles were moved by hand."
    rejected = [(name, count) for name, count in plan.rejected.items() if count > 0]
    rejected.sort(key=lambda item: -item[1])
    total = max(1, plan.candidate_count)
    rows = [(bdi(readable(name)), f"{count:,}", percent_down(count / total)) for name, count in rejected]
    return Html(element("p", text) + (table(("rejected by", "paths", "share of all"), rows) if rows else Html("")))


def robot_section(route: Mapping[str, object] | None, structures: Sequence[str]) -> Html:
    """Whether and how exactly the arm reaches each insertion; ``structures`` are named in its reasons and notes."""
    if route is None:
        return Html("")

    def number(table_row: Mapping[str, object], key: str, factor: float, digits: int, unit: str) -> str:
        value = table_row.get(key)
        return f"{factor * value:.{digits}f}{unit}" if isinstance(value, int | float) else "–"

    insertions = route.get("insertions")
    rows = []
    for item in insertions if isinstance(insertions, list) else []:
        if isinstance(item, Mapping):
            status = str(item.get("status", "–"))
            reason = str(item.get("reason", ""))
            rows.append(
                (
                    str(item.get("order", "–")),
                    with_names(f"{status}: {reason}" if reason else status, structures),
                    number(item, "position_error_m", 1e3, 3, " mm"),
                    number(item, "axis_error_rad", 180 / math.pi, 3, "°"),
                    number(item, "limit_margin", 100, 0, " %"),
                    number(item, "patient_clearance_m", 1e3, 0, " mm"),
                    number(item, "duration_s", 1, 1, " s"),
                )
            )  # fmt: skip
    listed = route.get("notes")
    notes = [with_names(str(note), structures) for note in listed] if isinstance(listed, list) else []
    sentences = [element("p", note, class_="mute") for note in notes]
    return Html(
        element(
            "p", f"{route.get('robot', 'robot')}: routes by inverse kinematics, confirmed by forward kinematics."
        )
        + table(
            ("needle", "status", "tip error", "axis error", "to joint limits", "arm to patient", "motion"), rows, 2
        )
        + "".join(sentences)
    )


def structures_section(anatomy: Anatomy) -> Html:
    """The structures that the plan was made with."""
    rows = []
    for surface in anatomy.surfaces:
        cut = bool(surface.cut_faces.any())
        rows.append(
            (
                bdi(readable(surface.name)), surface.role.value.replace("_", " "),
                f"{surface.mesh.volume_mm3 / 1000:.1f} ml", f"{len(surface.mesh.faces):,}",
                f"{surface.surface_error_mm:.2f} mm", "yes" if cut else "no",
            )
        )  # fmt: skip
    skin = any(surface.role is Role.SKIN for surface in anatomy.surfaces)
    substitute = anatomy.case.entry_substitute
    note = element("p", substitute.note) if substitute is not None and not skin else Html("")
    header = ("structure", "role", "volume", "faces", "surface within", "cut by the image")
    smoothed = [surface for surface in anatomy.surfaces if surface.smooth is not None]
    drawn = element("p", _SMOOTHED_FOR_DRAWING, class_="mute") if smoothed else Html("")
    return Html(note + table(header, rows, 2) + drawn)


def provenance_section(plan: Plan, anatomy: Anatomy, notes: Sequence[str]) -> Html:
    """Case, version, options, times, and what a reader must know."""
    made, structures, others = plan.provenance, structure_names(plan, anatomy), (plan.case_name,)
    sentences = [with_names(note, structures, others) for note in (*made.notes, *notes)]
    findings = [
        element(
            "li",
            f"{f.severity.value}: ",
            *((bdi(readable(f.structure)), ": ") if f.structure else ()),
            with_names(f"{f.message} {f.remedy}", structures, others),
        )
        for f in anatomy.case.findings
    ]
    rows: list[tuple[str, str]] = [
        ("case", element("code", plan.case_name)),
        ("content hash of the case", element("code", plan.case_hash)),
        ("needleplan", made.version),
        ("seed", str(made.seed)),
    ]
    options = [(name, str(value)) for name, value in sorted(made.options.items())]
    timings = [(name, f"{seconds:.2f} s") for name, seconds in made.timings_s.items()]
    parts: list[str] = []
    if sentences:
        parts += [
            element("h3", "What a reader must know"),
            element("ul", *(element("li", s) for s in sentences), class_="evidence"),
        ]
    if findings:
        parts += [element("h3", "Findings of the checks"), element("ul", *findings, class_="evidence")]
    parts += [element("h3", "Provenance"), table(("", ""), rows)]
    if options:
        parts += [element("h3", "Options"), table(("option", "value"), options)]
    if timings:
        timings.append(("together", f"{sum(made.timings_s.values()):.2f} s"))
        parts += [element("h3", "Times"), table(("stage", "wall time"), timings)]
    return Html("".join(parts))
