"""Parts of the scene that follow the needles: zones coarse enough to be sent at every move, and margins."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.model import Anatomy
from needleplan.app.page.scene_breath import SceneBreath, breath_values
from needleplan.app.page.scene_margin import margin_colours
from needleplan.app.page.scene_values import packed, packed_faces, quantised, unquantised
from needleplan.assess import Assessment
from needleplan.frames import FloatArray, perpendicular_axes
from needleplan.plan import Insertion
from needleplan.viz.palette import needle_color

#: Half of this is the most by which a point of a drawn zone is off.
_STEP_MM = 0.05
_OPACITY = 0.3
_OTHER_OPACITY = 0.18

Body = dict[str, Any]


def zone_body(
    insertion: Insertion, model: EllipsoidTableModel, breath: SceneBreath | None = None, other: bool = False
) -> Body:
    """The zones of one needle as a body: a ball of 320 triangles stretched to each spheroid.

    Args:
        insertion: the needle.
        model: predicts its zones.
        breath: how they move when the patient breathes; None where nothing moves.
        other: True for a needle of the plan that is compared with.
    """
    zone = model.zone([insertion])
    ball, ball_faces = _ball()
    points: list[FloatArray] = []
    faces = []
    for centre, axis, axial, radial in zip(zone.centres_mm, zone.axes, zone.axial_mm, zone.radial_mm, strict=True):
        x, y = perpendicular_axes(axis)
        faces.append(ball_faces + len(ball) * len(points))
        points.append(ball * (radial, radial, axial) @ np.stack([x, y, axis]) + centre)
    vertices = np.concatenate(points)
    return {
        "id": other_zone_id(insertion.order) if other else zone_id(insertion.order),
        "name": f"zone of needle {insertion.order}{', other plan' if other else ''}",
        "group": "zones",
        "colour": needle_color(insertion.order),
        "opacity": _OTHER_OPACITY if other else _OPACITY,
        "shown": True,
        "points": quantised(vertices, _STEP_MM),
        "faces": packed_faces(np.concatenate(faces), len(vertices)),
        **({} if breath is None else breath_values(breath.of_target(vertices))),
    }


def zone_id(order: int) -> str:
    """Identity of the zone of a needle."""
    return f"z:{order}"


def other_zone_id(order: int) -> str:
    """Identity of the zone of a needle of the other plan."""
    return f"z:other:{order}"


def editable_scene(
    scene: Mapping[str, Any],
    insertions: Sequence[Insertion],
    model: EllipsoidTableModel,
    breath: SceneBreath | None = None,
) -> dict[str, Any]:
    """A scene of a plan, prepared for its needles to be moved.

    What shows only how the planned needles do is left out, or it would stand beside moved ones as if it were
    theirs: growth, zones in the planes, the robot. Zones are those that follow the needles.
    """
    stale = {body["id"] for body in scene["bodies"] if body["group"] in ("zones", "robot")}
    bodies = [body for body in scene["bodies"] if body["id"] not in stale]
    bodies += [zone_body(one, model, breath) for one in insertions if one.ablations]
    planes = scene["planes"]
    if planes is not None:
        views = [
            {
                **view,
                "slices": [
                    {**slice_, "contours": [c for c in slice_["contours"] if c["body"] not in stale]}
                    for slice_ in view["slices"]
                ],
            }
            for view in planes["views"]
        ]
        note = f"{planes['note']} Zones are not drawn in the planes of this page, as needles move.".strip()
        planes = {**planes, "note": note, "views": views}
    return {**scene, "bodies": bodies, "planes": planes, "growth": None, "margin": None}


def target_body(scene: Mapping[str, Any], anatomy: Anatomy, assessment: Assessment) -> Body | None:
    """The body of a scene that is painted by the margin, painted anew; None where the scene has none."""
    for body in scene["bodies"]:
        if "colours" in body:
            points = unquantised(body["points"])
            return {**body, "colours": packed(margin_colours(anatomy, assessment, points))}
    return None


@cache
def _ball() -> tuple[FloatArray, np.ndarray[Any, np.dtype[np.int64]]]:
    """Vertices (n, 3) and faces (m, 3) of a ball of radius 1, so far out that its faces cut as much as they add."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=2)
    return np.asarray(ball.vertices / np.cbrt(ball.volume / (4.0 / 3.0 * np.pi))), np.asarray(ball.faces)
