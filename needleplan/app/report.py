"""The report: one self-contained HTML page with everything a reader needs to judge a plan and its rehearsal."""

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from needleplan.anatomy.model import Anatomy
from needleplan.app.report_coverage import chances_section, physics_section, proof_section
from needleplan.app.report_rehearsals import Rehearsal, logs_section, rehearsals_section
from needleplan.app.report_sections import (
    candidates_section,
    clearances_section,
    insertions_section,
    key_figures,
    provenance_section,
    robot_section,
    structures_section,
    summary_section,
)
from needleplan.app.report_template import Html, element, figure, page, section
from needleplan.io.plan_file import write_text
from needleplan.plan import Plan
from needleplan.viz.canvas import Picture, png_bytes

NOTICE = (
    "needleplan is open research software and not a medical device. This page must not be used to diagnose or "
    "treat a patient."
)


def write_report(
    path: Path,
    *,
    anatomy: Anatomy,
    plan: Plan,
    pictures: Sequence[Picture] = (),
    rehearsals: Sequence[Rehearsal] = (),
    route: Mapping[str, object] | None = None,
    film: Path | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write the report of a plan.

    The page holds its pictures and needs neither network nor scripts; the film stays beside it as a file.

    Args:
        path: the HTML file; its folder is made.
        anatomy: the patient.
        plan: the plan.
        pictures: of plan and rehearsals, in any order; those named ``breathing...`` stand with the rehearsal.
        rehearsals: with the strategy that was chosen, and in free breathing.
        route: how the robot carries the plan out, as written to its JSON file.
        film: film of the rehearsal (MP4 or GIF).
        notes: further statements that a reader must know, such as a picture that could not be drawn.

    Returns:
        ``path``.
    """
    drawn = {picture.name: picture for picture in pictures}
    page_text = page(
        f"needleplan report: {plan.case_name}",
        _header(plan),
        element("p", element("b", "Research software. "), NOTICE, class_="notice"),
        summary_section(plan),
        key_figures(plan, rehearsals),
        _shown(drawn, "patient", "target"),
        section("Insertions", insertions_section(plan, anatomy)),
        section("Clearances", clearances_section(plan, anatomy)),
        section("Planes", _shown(drawn, "planes", "needle-planes")),
        section("Margin", _shown(drawn, "margins", "tumour")),
        section("Candidate paths", candidates_section(plan), _shown(drawn, "skin-map")),
        section("Coverage proof", proof_section(plan)),
        section("Physics", physics_section(plan)),
        section("Chances", chances_section(plan)),
        section("Robot", robot_section(route)),
        section(
            "Rehearsal in the breathing patient",
            rehearsals_section(rehearsals),
            _film(path, film),
            *(_shown(drawn, name) for name in drawn if name.startswith("breathing")),
            logs_section(rehearsals),
        ),
        _others(drawn),
        section("Structures", structures_section(anatomy)),
        section("How this plan was made", provenance_section(plan, anatomy, notes)),
        element("footer", NOTICE),
    )
    write_text(path, page_text)
    return path


_PLACED = ("patient", "target", "planes", "needle-planes", "margins", "tumour", "skin-map")


def _shown(drawn: Mapping[str, Picture], *names: str) -> Html:
    return Html(
        "".join(
            figure(drawn[name].title, drawn[name].caption, base64.b64encode(png_bytes(drawn[name].pixels)).decode())
            for name in names
            if name in drawn
        )
    )


def _others(drawn: Mapping[str, Picture]) -> Html:
    names = [name for name in drawn if name not in _PLACED and not name.startswith("breathing")]
    return section("Further pictures", _shown(drawn, *names))


def _header(plan: Plan) -> Html:
    return element(
        "header",
        element("h1", plan.case_name),
        element("p", f"Ablation plan by needleplan {plan.provenance.version}"),
    )


def _film(path: Path, film: Path | None) -> Html:
    if film is None:
        return Html("")
    relative = quote(Path(os.path.relpath(film, path.parent)).as_posix())
    if film.suffix.lower() == ".gif":
        shown = Html(f'<img class="film" alt="film of the rehearsal" src="{relative}">')
    else:
        shown = Html(f'<video controls preload="metadata" src="{relative}"></video>')
    link = element("a", film.name, href=relative)
    return element("figure", shown, element("figcaption", element("b", "Film of the rehearsal"), ": ", link))
