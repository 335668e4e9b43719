"""The plan on one page of paper: every needle with entry, angles, depth and order, pictures, and room to sign."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from needleplan.app.plan_sheet_drawing import axial_drawing, side_drawing
from needleplan.app.plan_sheet_findings import findings_html
from needleplan.app.plan_sheet_style import STYLE
from needleplan.app.report_template import Html, bdi, element, page
from needleplan.case.model import Case
from needleplan.frames import FloatArray
from needleplan.io.plan_file import plan_hash, write_text
from needleplan.percentages import percent_down
from needleplan.plan import Ablation, Insertion, Plan
from needleplan.plan_clearances import clearance_in_words
from needleplan.trajectory.gantry_angles import USUAL_TILT_DEG, gantry_angles, positive_side
from needleplan.viz.canvas import png_bytes
from needleplan.viz.orientation import anatomical_axes, direction_letters
from needleplan.viz.palette import readable
from needleplan.viz.planes import centroid_mm
from needleplan.viz.slices import draw_axial_slice

if TYPE_CHECKING:
    from needleplan.app.pipeline import PlannedCase

NOTICE = "Research software, not a medical device. This page must not be used to diagnose or treat a patient."
#: Obstacles named for each needle, nearest first.
NEAREST = 3
#: Needles of which one page has room for a picture of the entry.
PICTURED = 7


def write_plan_sheet(path: Path, planned: "PlannedCase") -> None:
    """Write the sheet as one HTML file that prints on one page of A4 or Letter for up to six needles.

    It holds its pictures, no script, and nothing from a network. Whatever comes from files is escaped.

    Args:
        path: the file; written whole or not at all.
        planned: the case with its plan.
    """
    plan, anatomy = planned.plan, planned.anatomy
    zone = planned.zone_model.zone(plan.insertions) if plan.insertions else None
    margin_mm = plan.metrics.margin_mm if plan.metrics is not None else 0.0
    target = centroid_mm(anatomy)
    axes = anatomical_axes(anatomy.case)
    slices = [(target, f"Target, S {_number(float(target @ axes[:, 2]))} mm", plan.insertions)]
    slices += [
        (
            np.asarray(each.entry_mm),
            f"Entry {each.order}, S {_number(float(np.asarray(each.entry_mm) @ axes[:, 2]))} mm",
            (each,),
        )
        for each in plan.insertions[:PICTURED]
    ]
    pictures = [
        _picture(heading, png_bytes(draw_axial_slice(anatomy, point, heading, shown, zone, margin_mm=margin_mm)))
        for point, heading, shown in slices
    ]
    write_text(path, sheet_html(plan, anatomy.case, target, pictures))


def sheet_html(plan: Plan, case: Case, target_mm: FloatArray, pictures: Sequence[Html] = ()) -> str:
    """The page of a plan.

    Args:
        plan: the plan.
        case: its case, for how the patient lies.
        target_mm: (3,) middle of the target.
        pictures: figures, those of the target first.
    """
    needles = [_needle(each, case, target_mm) for each in sorted(plan.insertions, key=lambda each: each.order)]
    head = ("", "entry, mm", "tip, mm", "depth", "in plane", "out of plane", "gantry tilt", "in tilted slice")
    table = element(
        "table",
        element("thead", element("tr", *(element("th", words) for words in head))),
        *needles,
        class_="needles",
    )
    none = element(
        "p", "The plan holds no needle. ", *(f"{each.subject}: {each.finding} " for each in plan.evidence)
    )
    whose = element("p", element("b", bdi(plan.case_name)), _lies(case))
    columns = max(2, len(pictures) if len(pictures) < 4 else (len(pictures) + 1) // 2)
    return page(
        f"plan sheet: {plan.case_name}",
        element("header", element("h1", "Needle plan"), whose),
        element("p", NOTICE, class_="notice"),
        _achieves(plan),
        findings_html(plan) if needles else Html(""),
        table if needles else none,
        element("div", *pictures, class_="pictures" if len(pictures) < 6 else "pictures many",
                style=f"grid-template-columns: repeat({columns}, 1fr)"),
        _conventions(case),
        _signatures(),
        element(
            "footer",
            element("span", "case ", element("code", plan.case_hash), Html("<br>"), "plan ",
                    element("code", plan_hash(plan))),
            element("span", f"needleplan {plan.provenance.version}. {NOTICE}"),
        ),
        style=STYLE,
    )  # fmt: skip


def _needle(insertion: Insertion, case: Case, target_mm: FloatArray) -> Html:
    """Two rows: where it goes, and what it does and passes."""
    angles = gantry_angles(insertion.direction, case)
    beyond = Html("") if angles.tilt_is_usual else element("small", f" >{USUAL_TILT_DEG:g}°")
    first = element(
        "tr",
        element("th", str(insertion.order), rowspan="2", scope="rowgroup"),
        element("td", _place(insertion.entry_mm, case), class_="point"),
        element("td", _place(insertion.tip_mm, case), class_="point"),
        element("td", element("b", f"{insertion.depth_mm:.0f} mm")),
        element("td", element("b", _degrees(angles.in_plane_deg))),
        element("td", element("b", _degrees(angles.out_of_plane_deg))),
        element("td", element("b", _degrees(angles.gantry_tilt_deg)), beyond),
        element("td", _degrees(angles.tilted_in_plane_deg)),
    )
    near = sorted(insertion.clearances_mm.items(), key=lambda item: item[1])[:NEAREST]
    said = [
        element("b", insertion.applicator),
        ": ",
        "; ".join(_delivery(a, insertion) for a in insertion.ablations),
    ]
    said += [Html(" &nbsp; "), element("b", "nearest"), " "]
    passed = [f"{bdi(readable(name))} {clearance_in_words(v)}" for name, v in near]
    said += [Html(", ".join(passed) or "nothing known")]
    said += [Html(" &nbsp; "), element("b", "entry from target"), " ", _offset(insertion, case, target_mm)]
    return element("tbody", first, element("tr", element("td", *said, colspan="7")))


def _delivery(ablation: Ablation, insertion: Insertion) -> str:
    """Power, time, and how far the tip is drawn back for it."""
    power = "power by the generator" if ablation.power_w is None else f"{ablation.power_w:g} W"
    minutes, seconds = divmod(round(ablation.duration_s), 60)
    time = f"{minutes} min" + (f" {seconds} s" if seconds else "")
    back = float(np.linalg.norm(np.subtract(insertion.tip_mm, ablation.tip_mm)))
    return f"{power} {time}" + (f" with the tip {back:.0f} mm back" if back >= 0.5 else "")


def _place(point: Sequence[float], case: Case) -> str:
    """Coordinates to the left, back and head, each with its letter."""
    values = np.asarray(point) @ anatomical_axes(case)
    return "  ".join(f"{letter} {_number(float(value))}" for letter, value in zip("LPS", values, strict=True))


def _offset(insertion: Insertion, case: Case, target_mm: FloatArray) -> str:
    """From the middle of the target to the entry, in words of the patient."""
    axes = anatomical_axes(case)
    parts = (np.asarray(insertion.entry_mm) - target_mm) @ axes
    words = (("left", "right"), ("back", "front"), ("head", "feet"))
    return ", ".join(
        f"{abs(part):.0f} mm to the {pair[0] if part > 0 else pair[1]}"
        for part, pair in zip(parts.tolist(), words, strict=True)
    )


def _number(value: float) -> str:
    return f"{value + 0.0:.1f}".replace("-", "−")


def _degrees(value: float) -> str:
    return f"{value + 0.0:+.1f}°".replace("-", "−").replace("+0.0°", "0.0°").replace("−0.0°", "0.0°")


def _lies(case: Case) -> str:
    words = {"left": "on the left side", "right": "on the right side"}
    up = direction_letters(case.up, anatomical_axes(case))
    return f", patient {words.get(case.position.value, case.position.value)}, {up} up, head towards S"


def _achieves(plan: Plan) -> Html:
    """Status and prediction in one line."""
    count = f"{len(plan.insertions)} needle{'' if len(plan.insertions) == 1 else 's'} in this order"
    metrics = plan.metrics
    if metrics is None:
        return element("p", element("b", plan.status.value), f": {count}")
    return element(
        "p",
        element("b", plan.status.value),
        f": {count}; by the planning model {percent_down(metrics.target_coverage_fraction)} of the target and "
        f"{percent_down(metrics.margin_coverage_fraction)} of target and {metrics.margin_mm:g} mm margin, "
        f"least margin {_number(metrics.minimal_margin_mm)} mm (± {metrics.margin_error_bound_mm:.1f})",
    )


def _picture(heading: str, png: bytes) -> Html:
    image = base64.b64encode(png).decode()
    return element("figure", Html(f'<img alt="{heading}" src="data:image/png;base64,{image}">'))


def _conventions(case: Case) -> Html:
    """How coordinates and angles are counted, drawn and in words."""
    side = positive_side(case)
    words = (
        "L, P, S count in mm towards the patient's left, back and head, from the origin of the images; S is the "
        "position of the axial slice. ",
        element("b", "In plane"),
        f": from straight down to the table, + where the tip lies to the {side}. ",
        element("b", "Out of plane"),
        ": from the axial slice, + where the tip lies towards the head. ",
        element("b", "Gantry tilt"),
        ": turn of the slice, from the side, that holds the whole needle, + where its top leans to the head, "
        "marked where few gantries reach it; ",
        element("b", "in tilted slice"),
        ": the in-plane angle there. Pictures are seen from the feet, the patient's right at their left; needles "
        "are solid in the slice and dashed where projected, the target is outlined with its margin (dotted) and "
        "the predicted zone.",
    )
    return element("div", axial_drawing(case), side_drawing(), element("p", *words), class_="conventions")


def _signatures() -> Html:
    labels = ("planned by", "checked by", "date and time")
    return element("div", *(element("span", label) for label in labels), class_="signatures")
