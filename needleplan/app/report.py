"""The report: one self-contained HTML page with everything a reader needs to judge a plan and its rehearsal."""

import base64
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from needleplan.anatomy.model import Anatomy
from needleplan.app.page.document import ViewerPiece, viewer_html
from needleplan.app.page.scene import light_surfaces
from needleplan.app.report_audit import Input, audit_section
from needleplan.app.report_coverage import chances_section, physics_section, proof_section
from needleplan.app.report_rehearsals import Rehearsal, logs_section, rehearsals_section
from needleplan.app.report_sections import (
    candidates_section,
    clearances_section,
    insertions_section,
    key_figures,
    provenance_section,
    robot_section,
    structure_names,
    structures_section,
    summary_section,
)
from needleplan.app.report_template import STYLE, Html, bdi, contents, element, figure, page, section, table
from needleplan.io.plan_file import write_text
from needleplan.plan import Plan
from needleplan.viz.canvas import Picture, png_bytes

if TYPE_CHECKING:
    from PIL import Image

NOTICE = (
    "needleplan is open research software and not a medical device. This page must not be used to diagnose or "
    "treat a patient."
)
#: Pictures whose content the scene shows; they stand in the page where it has none.
REPLACED = ("patient", "target", "planes", "margins", "tumour")
#: The picture that stands for the scene on paper and in browsers that draw none.
_STILL = "target"
#: Width of pictures that stand for the scene, and how near they are to what was drawn, of 100.
_STILL_WIDTH, _STILL_QUALITY = 1200, 88


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
    scene: Mapping[str, object] | None = None,
    paths: Html | None = None,
    inputs: Sequence[Input] = (),
    command: str = "",
) -> Path:
    """Write the report of a plan.

    The page holds its pictures and its scene and needs no network; the film stays beside it as a file.

    Args:
        path: the HTML file; its folder is made.
        anatomy: the patient.
        plan: the plan.
        pictures: of plan and rehearsals, in any order; those named ``breathing...`` stand with the rehearsal.
        rehearsals: with the strategy that was chosen, and in free breathing.
        route: how the robot carries the plan out, as written to its JSON file.
        film: film of the rehearsal (MP4 or GIF).
        notes: further statements that a reader must know, such as a picture that could not be drawn.
        scene: what ``build_scene`` made; without it the page holds still pictures alone and runs no script.
        paths: what ``paths_section`` wrote: why each needle goes where it goes.
        inputs: what ``plan_inputs`` found of the files that the plan was made from.
        command: the command line that writes the report, without names of files and folders.

    Returns:
        ``path``.
    """
    drawn = {picture.name: picture for picture in pictures}
    structures = structure_names(plan, anatomy)
    viewer = None if scene is None else viewer_html(scene, still=_still(drawn), without_scripts=_stills(drawn))
    shown = drawn if scene is None else {name: one for name, one in drawn.items() if name not in REPLACED}
    sections = [
        ("The plan in three dimensions", _scene(scene, viewer)),
        ("Insertions", insertions_section(plan, anatomy)),
        ("Clearances", clearances_section(plan, anatomy)),
        ("Why these paths", paths or ""),
        ("Candidate paths", Html(candidates_section(plan) + _shown(shown, "skin-map"))),
        ("Planes", _shown(shown, "planes", "needle-planes")),
        ("Margin", _shown(shown, "margins", "tumour")),
        ("Coverage proof", proof_section(plan)),
        ("Physics", physics_section(plan, structures)),
        ("Chances", chances_section(plan, structures)),
        ("Robot", robot_section(route, structures)),
        ("Rehearsal in the breathing patient", _rehearsed(path, shown, rehearsals, film, structures)),
        ("Further pictures", _others(shown)),
        ("Structures", Html(structures_section(anatomy) + _drawn_within(scene))),
        ("Audit trail", audit_section(plan, inputs, command)),
        ("How this plan was made", provenance_section(plan, anatomy, notes)),
    ]
    page_text = page(
        f"needleplan report: {plan.case_name}",
        _header(plan),
        element("p", element("b", "Research software. "), NOTICE, class_="notice"),
        summary_section(plan, anatomy),
        key_figures(plan, rehearsals),
        contents(sections),
        _shown(shown, "patient", "target"),
        *(section(title, content) for title, content in sections),
        element("footer", NOTICE),
        style=STYLE if viewer is None else f"{STYLE}\n{viewer.style}\n{_VIEWER_STYLE}",
        script_sources=() if viewer is None else viewer.script_sources,
    )
    write_text(path, page_text)
    return path


_PLACED = ("patient", "target", "planes", "needle-planes", "margins", "tumour", "skin-map")
#: The page is wider where the scene stands.
_VIEWER_STYLE = "main { max-width: 80rem; }\n"


def _still(drawn: Mapping[str, Picture]) -> bytes | None:
    """The picture of the target as a small PNG of 256 colours; None where it was not drawn."""
    if _STILL not in drawn:
        return None
    buffer = BytesIO()
    _narrowed(drawn[_STILL]).quantize(256).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _narrowed(picture: Picture) -> "Image.Image":
    """A picture no wider than a still may be."""
    from PIL import Image

    image = Image.fromarray(picture.pixels)
    if image.width <= _STILL_WIDTH:
        return image
    height = round(image.height * _STILL_WIDTH / image.width)
    return image.resize((_STILL_WIDTH, height), Image.Resampling.LANCZOS)


def _stills(drawn: Mapping[str, Picture]) -> Html:
    """What stands for the scene where no scripts run: the pictures whose place it takes elsewhere."""
    figures = []
    for picture in (drawn[name] for name in REPLACED if name in drawn):
        buffer = BytesIO()
        _narrowed(picture).save(buffer, format="WEBP", quality=_STILL_QUALITY, method=4)
        image = base64.b64encode(buffer.getvalue()).decode()
        figures.append(figure(picture.title, picture.caption, image, "webp"))
    words = "still pictures stand in place of the scene" if figures else "the scene is not shown"
    return Html(element("p", f"No scripts run here: {words}; the tables are complete.") + "".join(figures))


def _scene(scene: Mapping[str, object] | None, viewer: ViewerPiece | None) -> Html:
    if scene is None or viewer is None:
        return Html("")
    return viewer.body


def _drawn_within(scene: Mapping[str, object] | None) -> Html:
    """How far the surfaces of the scene lie from those of the pictures and from those that are measured."""
    if scene is None:
        return Html("")
    rows = [
        (
            one.name, f"{one.faces:,}", f"{one.usual_mm:.2f} mm", f"{one.farthest_mm:.2f} mm",
            f"{one.measured_mm:.2f} mm",
        )
        for one in light_surfaces(scene)
    ]  # fmt: skip
    words = (
        "For the scene the surfaces of the pictures were made of fewer faces. Measured both ways between the two, "
        "99.9 % of the points lie within the first distance and all of them within the second. The third is the "
        "greatest distance, both ways, between what is drawn and the surface that margin and clearances are "
        "measured on, at every corner of either and in the middle of every drawn face; where nothing was smoothed "
        "it is the second. Cavities closed within bones are not drawn. Nothing is computed from the scene: "
        "every figure on this page comes from the surfaces above, and the scene's planes are cut from them."
    )
    head = ("in the scene", "faces", "99.9 % within", "farthest", "from what is measured")
    return Html(element("h3", "As drawn in the scene") + element("p", words, class_="mute") + table(head, rows, 0))


def _rehearsed(
    path: Path,
    drawn: Mapping[str, Picture],
    rehearsals: Sequence[Rehearsal],
    film: Path | None,
    structures: Sequence[str],
) -> Html:
    breathing = [_shown(drawn, name) for name in drawn if name.startswith("breathing")]
    return Html(
        rehearsals_section(rehearsals, structures)
        + _film(path, film)
        + "".join(breathing)
        + logs_section(rehearsals, structures)
    )


def _shown(drawn: Mapping[str, Picture], *names: str) -> Html:
    return Html("".join(_figure(drawn[name]) for name in names if name in drawn))


def _figure(picture: Picture) -> Html:
    """A picture without loss, as WebP or as PNG, whichever is the shorter."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture.pixels).save(buffer, format="WEBP", lossless=True, method=4)
    content, kind = min(
        ((buffer.getvalue(), "webp"), (png_bytes(picture.pixels), "png")), key=lambda one: len(one[0])
    )
    return figure(picture.title, picture.caption, base64.b64encode(content).decode(), kind)


def _others(drawn: Mapping[str, Picture]) -> Html:
    return _shown(drawn, *(name for name in drawn if name not in _PLACED and not name.startswith("breathing")))


def _header(plan: Plan) -> Html:
    return element(
        "header",
        element("h1", bdi(plan.case_name)),
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
