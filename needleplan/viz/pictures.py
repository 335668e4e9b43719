"""The whole set of pictures of a plan and of its rehearsals."""

from collections.abc import Callable, Mapping, Sequence

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.model import Anatomy
from needleplan.assess import Assessment
from needleplan.outcome import Outcome
from needleplan.plan import Plan
from needleplan.trajectory.skin_map import SkinMap
from needleplan.viz.breathing import draw_breathing
from needleplan.viz.canvas import Picture, RgbArray
from needleplan.viz.margins import draw_margins, render_margins
from needleplan.viz.needles import NeedleShape
from needleplan.viz.offscreen import RenderingError
from needleplan.viz.planes import IN_PLANE_MM, draw_needle_planes, draw_planes
from needleplan.viz.scene import render_patient, render_target
from needleplan.viz.skin_map import render_skin_map

#: File name, heading and caption of the skin map.
_SKIN_MAP = (
    "skin-map",
    "Where a path can start",
    "Blue where a feasible path starts, by the cost of the best one; elsewhere the constraint that blocks, by "
    "number and colour. Each patch of skin shows its nearest examined entry.",
)


def draw_plan_pictures(
    anatomy: Anatomy,
    plan: Plan,
    zone: LethalZone | None,
    assessment: Assessment | None,
    *,
    skin: SkinMap | None = None,
    needles: Mapping[str, NeedleShape] | None = None,
    margin_mm: float = 5.0,
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """All pictures of a plan; a plan without needles shows the patient and the planes alone.

    Args:
        anatomy: the patient.
        plan: the plan.
        zone: predicted lethal zone of its insertions; None where there is none.
        assessment: score of the plan; None leaves the margin pictures out.
        skin: where candidate paths start; None, or one without an entry, leaves its picture out.
        needles: outer shape of each applicator by name.
        margin_mm: margin drawn about the tumour where there is no assessment that states it.
        progress: called with the name of each picture before it is drawn.

    Returns:
        The pictures in the order of reading, and a sentence for each that could not be drawn.
    """
    insertions = plan.insertions
    asked = assessment.metrics.margin_mm if assessment is not None else margin_mm
    drawings: list[tuple[str, str, str, Callable[[], RgbArray]]] = [
        (
            "patient",
            "The patient",
            "Needles, hubs included, lie where the plan puts them; skin and organs are translucent. Shafts are "
            "drawn thicker than they are where they would be too thin to see. Parallel projection, so the scale "
            "bar holds everywhere.",
            lambda: render_patient(anatomy, insertions, zone, needles=needles),
        ),
        (
            "target",
            "The target",
            "Tumour, predicted zone and vessels nearby; needles to scale with a mark at every centimetre from the "
            "tip. Vessels farther off fade away.",
            lambda: render_target(anatomy, insertions, zone, needles=needles),
        ),
        (
            "planes",
            "Planes through the target",
            "Through the tumour's centre, in radiological convention: the patient's right is at the left of axial "
            f"and coronal planes. Needles are solid within {IN_PLANE_MM:g} mm of the plane and dashed where they "
            "are projected onto it.",
            lambda: draw_planes(anatomy, insertions, zone, margin_mm=asked),
        ),
    ]
    if insertions:
        drawings.append(
            (
                "needle-planes",
                "Planes along the needles",
                "The oblique plane that holds the whole needle and departs least from axial"
                + ("; the first three needles." if len(insertions) > 3 else "."),
                lambda: draw_needle_planes(anatomy, insertions, zone, margin_mm=asked),
            )
        )
    if assessment is not None and insertions:
        drawings += [
            (
                "margins",
                "Margin over the tumour's surface",
                "Signed distance from the tumour's surface to the edge of the predicted zone: positive where the "
                "zone reaches beyond the tumour. Shares are of surface area.",
                lambda: draw_margins(anatomy, assessment),
            ),
            (
                "tumour",
                "The tumour painted by margin",
                "The same margins on the tumour itself.",
                lambda: render_margins(anatomy, assessment),
            ),
        ]
    if skin is not None and len(skin):
        drawings.append((*_SKIN_MAP, lambda: render_skin_map(anatomy, skin, insertions)))
    pictures: list[Picture] = []
    missing: list[str] = []
    for name, title, caption, draw in drawings:
        progress(name)
        try:
            pictures.append(Picture(name, title, caption, draw()))
        except RenderingError as error:
            missing.append(f"The picture '{title}' is missing: {error}.")
    return tuple(pictures), tuple(missing)


def draw_skin_map(anatomy: Anatomy, skin: SkinMap) -> Picture:
    """The skin map by itself; raises RenderingError where nothing can be rendered."""
    return Picture(*_SKIN_MAP, render_skin_map(anatomy, skin))


def draw_rehearsal_pictures(outcomes: Sequence[Outcome]) -> tuple[Picture, ...]:
    """Breathing, when the needle might advance, insertions and tip errors of each rehearsal that was begun."""
    return tuple(
        Picture(
            f"breathing-{outcome.strategy}",
            f"Rehearsal with {outcome.strategy.replace('-', ' ')}",
            "How far the target is from its place at end-exhale and as the strategy saw it, when the needle might "
            "advance and when it did, and how far the tips ended from the plan in the target's own frame.",
            draw_breathing(outcome),
        )
        for outcome in outcomes
        if len(outcome.trace.time_s) > 1
    )
