"""One surface of a scene as the value that the viewer draws."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.app.page.scene_values import SceneValue, packed, packed_faces, quantised

#: Steps of the coordinates, far below what surfaces are simplified by.
STEP_MM = 0.01


def scene_body(
    body: str,
    name: str,
    group: str,
    colour: str,
    opacity: float,
    mesh: SurfaceMesh,
    *,
    shown: bool = True,
    colours: NDArray[np.uint8] | None = None,
    step_mm: float = STEP_MM,
) -> dict[str, SceneValue]:
    """A surface with its name and look.

    Args:
        body: id, unique in its scene; ``t:`` and the name for the target, ``s:`` for other structures, ``z:`` and
            the order for the zone of a needle, ``z:all`` for all zones.
        name: what a reader calls it, any text.
        group: ``structures``, ``target``, ``zones``, ``margin`` or ``robot``.
        colour: hexadecimal RGB.
        opacity: 0 to 1.
        mesh: the surface, as light as it shall be drawn.
        shown: whether it is seen at first.
        colours: (n, 3) colour of each vertex in place of the one colour.
        step_mm: step of the coordinates.
    """
    return {
        "id": body, "name": name, "group": group, "colour": colour, "opacity": round(opacity, 3), "shown": shown,
        "points": quantised(mesh.vertices_mm, step_mm), "faces": packed_faces(mesh.faces, len(mesh.vertices_mm)),
        **({} if colours is None else {"colours": packed(np.asarray(colours, dtype=np.uint8))}),
    }  # fmt: skip
