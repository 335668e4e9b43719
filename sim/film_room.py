"""The room of a film: table, floor, the cart under the arm, and the scanner cut open."""

from typing import Any

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray
from needleplan.viz.offscreen import polydata
from needleplan.viz.palette import rgb
from robots.frames import Table
from robots.gantry import Gantry
from sim.film_shapes import output_of, solid_actor

_TABLE, _MATTRESS, _FLOOR, _CART, _SCANNER = "#8f9aa8", "#44566b", "#262d38", "#4a515c", "#b9c2cc"
_CART_HALF_M = 0.13
#: The scanner's ring is drawn where its direction from the axis has at most this cosine to that of the camera: less
#: than its far half, so that it hides nothing of the arm.
_FAR_COSINE = -0.35
_RING_STEPS = 64


def add_furniture(room: Any, table: Table) -> None:
    """Draw table, mattress, column and floor."""
    low, high = table.box_m
    floor = -table.height_m
    middle = (low[1] + high[1]) / 2
    for corner, opposite, color in (
        (low, (high[0], high[1], -0.03), _TABLE),
        ((low[0] + 0.02, low[1] + 0.02, -0.03), (high[0] - 0.02, high[1] - 0.02, 0.0), _MATTRESS),
        ((-0.16, middle - 0.35, floor), (0.16, middle + 0.35, low[2]), _CART),
        ((-2.2, -2.6, floor - 0.02), (2.2, 2.6, floor), _FLOOR),
    ):
        room.AddActor(_box(np.asarray(corner), np.asarray(opposite), color))


class Cart:
    """What the arm's base stands on."""

    def __init__(self, room: Any, base_m: FloatArray, floor_m: float) -> None:
        """Draw a pillar under a base at ``base_m`` (3,); none where the base stands on the floor."""
        self._actor: Any = None
        self._base = base_m
        if base_m[2] > floor_m + 0.01:
            half = np.full(2, _CART_HALF_M)
            self._actor = _box(
                np.append(base_m[:2] - half, floor_m), np.append(base_m[:2] + half, base_m[2]), _CART
            )
            room.AddActor(self._actor)

    def place(self, base_m: FloatArray) -> None:
        """Stand under a base that was moved to ``base_m`` (3,)."""
        if self._actor is not None:
            self._actor.SetPosition(*(base_m[:2] - self._base[:2]), 0.0)


def add_gantry(room: Any, gantry: Gantry, towards_camera: FloatArray) -> None:
    """Draw the part of the scanner's ring that lies away from the camera in direction ``towards_camera`` (3,)."""
    near = float(np.arctan2(towards_camera[2], towards_camera[0]))
    half = float(np.arccos(_FAR_COSINE))
    angle = near + np.linspace(half, 2.0 * np.pi - half, _RING_STEPS + 1)
    room.AddActor(solid_actor(_sharp(polydata(_open_ring(gantry, angle))), rgb(_SCANNER), specular=0.25))


def _open_ring(gantry: Gantry, angle: FloatArray) -> SurfaceMesh:
    """The ring between the first and the last ``angle`` (n,), closed by its two cuts, in world metres."""
    circle = np.stack([np.cos(angle), np.zeros(len(angle)), np.sin(angle)], axis=1)
    centre = np.array([0.0, 0.0, gantry.centre_height_m])
    corners = [
        (radius, y)
        for radius, y in zip(
            np.repeat([gantry.bore_radius_m, gantry.outer_radius_m], 2),
            (*gantry.extent_m, *reversed(gantry.extent_m)),
            strict=True,
        )
    ]
    vertices = np.concatenate([centre + [0.0, y, 0.0] + radius * circle for radius, y in corners])
    count = len(angle)
    here = np.arange(count - 1)
    faces = []
    for first in range(4):
        a, b = here + first * count, here + (first + 1) % 4 * count
        faces += [np.stack([a, b, a + 1], axis=1), np.stack([b, b + 1, a + 1], axis=1)]
    for end in (0, count - 1):
        ring = np.arange(4) * count + end
        faces += [ring[None, [0, 1, 2]], ring[None, [0, 2, 3]]]
    return SurfaceMesh(vertices, np.concatenate(faces).astype(np.int32))


def _sharp(data: Any) -> Any:
    """The surface with normals that break at its edges."""
    from vtkmodules.vtkFiltersCore import vtkPolyDataNormals

    normals = vtkPolyDataNormals()
    normals.SetInputData(data)
    normals.SplittingOn()
    normals.SetFeatureAngle(40.0)
    return output_of(normals)


def _box(corner: FloatArray, opposite: FloatArray, color: str) -> Any:
    from vtkmodules.vtkFiltersSources import vtkCubeSource

    source = vtkCubeSource()
    source.SetBounds(*np.stack([corner, opposite], axis=1).ravel())
    return solid_actor(output_of(source), rgb(color), specular=0.1)
