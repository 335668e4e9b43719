"""The shapes of a robot's links as triangles, for pictures. Metres."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray
from robots.description import Shape, ShapeKind
from robots.mesh_file import mesh_in_metres
from robots.urdf_arm import UrdfArm

#: Corners of a circle's polygon.
SECTIONS = 48


def visual_meshes(robot: UrdfArm) -> dict[str, tuple[tuple[FloatArray, NDArray[np.int32]], ...]]:
    """For each link its visual shapes as vertices (n, 3) in the link's frame and faces (m, 3)."""
    return {link.name: _meshes(link.visual) for link in robot.tree.links.values()}


def _meshes(shapes: Sequence[Shape]) -> tuple[tuple[FloatArray, NDArray[np.int32]], ...]:
    return tuple(_mesh(shape) for shape in shapes)


def _mesh(shape: Shape) -> tuple[FloatArray, NDArray[np.int32]]:
    import trimesh

    made: Any
    if shape.kind is ShapeKind.BOX:
        made = trimesh.creation.box(extents=shape.size_m)
    elif shape.kind is ShapeKind.CYLINDER:
        made = trimesh.creation.cylinder(radius=shape.size_m[0], height=shape.size_m[1], sections=SECTIONS)
    elif shape.kind is ShapeKind.SPHERE:
        made = trimesh.creation.uv_sphere(radius=float(shape.size_m[0]), count=(SECTIONS // 2, SECTIONS))
    else:
        assert shape.mesh is not None
        return _placed(*mesh_in_metres(shape.mesh, shape.size_m), shape.pose)
    return _placed(np.asarray(made.vertices, dtype=np.float64), np.asarray(made.faces), shape.pose)


def _placed(
    vertices: FloatArray, faces: NDArray[np.integer], pose: FloatArray
) -> tuple[FloatArray, NDArray[np.int32]]:
    return vertices @ pose[:3, :3].T + pose[:3, 3], np.asarray(faces, dtype=np.int32)
