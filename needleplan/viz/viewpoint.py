"""Where the camera stands: chosen from the plan, so that needles and target are seen."""

from collections.abc import Sequence

import numpy as np

from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Role
from needleplan.frames import FloatArray, unit_vector
from needleplan.plan import Insertion
from needleplan.viz.needles import needle_points
from needleplan.viz.offscreen import View
from needleplan.viz.orientation import anatomical_axes

#: Structures of these roles are drawn opaque and can hide a needle.
_OPAQUE = (Role.BONE, Role.CRITICAL, Role.BOWEL, Role.VESSEL)


def _hiding_points(surfaces: Sequence[StructureSurface], most: int = 2500) -> FloatArray:
    """Evenly drawn vertices of opaque structures, (k, 3)."""
    vertices = [s.mesh.vertices_mm for s in surfaces]
    if not vertices:
        return np.zeros((0, 3))
    every = np.concatenate(vertices)
    return every[:: max(1, len(every) // most)]


def _hidden_share(points: FloatArray, hiding: FloatArray, direction: FloatArray, reach_mm: float) -> float:
    """Share of ``points`` that have a hiding point between them and the camera."""
    if len(hiding) == 0:
        return 0.0
    offset = hiding[None, :, :] - points[:, None, :]
    along = offset @ direction
    across = np.einsum("ijk,ijk->ij", offset, offset) - along**2
    return float(((along > 2.0) & (across < reach_mm**2)).any(axis=1).mean())


def choose_direction(
    anatomy: Anatomy, insertions: Sequence[Insertion], hiding: Sequence[StructureSurface] | None = None
) -> FloatArray:
    """(3,) unit vector from the target towards the camera.

    Of directions in front of and beside the patient it takes the one that sees the needles most side-on, from
    the side of their entries, little hidden by bone and other opaque structures.

    Args:
        anatomy: the patient.
        insertions: needles; none gives a view from the front and a little from above.
        hiding: structures that can hide needle and target; all opaque ones where not given.
    """
    axes = anatomical_axes(anatomy.case)
    front, left, cranial = -axes[:, 1], axes[:, 0], axes[:, 2]
    if not insertions:
        return unit_vector(front + 0.25 * cranial - 0.25 * left)
    points = needle_points(insertions)
    chosen = [s for s in anatomy.surfaces if s.role in _OPAQUE] if hiding is None else list(hiding)
    cloud = _hiding_points(chosen)
    needles = np.array([i.direction for i in insertions])
    outward = unit_vector(-needles.sum(axis=0) + 1e-6 * front)
    best, best_score = front, -np.inf
    for azimuth in np.deg2rad(np.arange(-150, 151, 15)):
        for elevation in np.deg2rad((-10.0, 5.0, 20.0, 35.0)):
            level = np.cos(azimuth) * front + np.sin(azimuth) * left
            direction = np.cos(elevation) * level + np.sin(elevation) * cranial
            side_on = float((1.0 - (needles @ direction) ** 2).mean())
            score = (
                1.2 * side_on
                + 0.5 * float(direction @ outward)
                + 0.35 * float(direction @ front)
                - 1.0 * _hidden_share(points, cloud, direction, 5.0)
            )
            if score > best_score:
                best, best_score = direction, score
    return best


def view_of(
    direction: FloatArray,
    anatomy: Anatomy,
    points: FloatArray,
    aspect: float,
    room: float,
    up: FloatArray | None = None,
) -> View:
    """A view along ``-direction`` with the head up that shows all ``points``.

    Args:
        direction: (3,) towards the camera.
        anatomy: the patient, for what is up.
        points: (n, 3) points that must be in the picture.
        aspect: width over height of the picture.
        room: factor on the extent for a free border.
        up: (3,) what points up in the picture instead of the head.
    """
    axes = anatomical_axes(anatomy.case)
    if up is None:
        up = axes[:, 2] if abs(float(direction @ axes[:, 2])) < 0.95 else -axes[:, 1]
    first = View(direction, up, points[0], 1.0)
    x, y = points @ first.right, points @ first.up
    centre = (
        0.5 * (x.min() + x.max()) * first.right
        + 0.5 * (y.min() + y.max()) * first.up
        + float(np.mean(points @ first.direction)) * first.direction
    )
    height = room * max(float(np.ptp(y)), float(np.ptp(x)) / aspect)
    return View(direction, up, centre, height)
