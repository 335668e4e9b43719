"""The shapes of a robot's links as triangles, for pictures and for exact comparisons of distance. Metres."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray
from robots.description import Shape, ShapeKind
from robots.urdf_arm import UrdfArm

#: Corners of a circle's polygon.
SECTIONS = 48


def visual_meshes(robot: UrdfArm) -> dict[str, tuple[tuple[FloatArray, NDArray[np.int32]], ...]]:
    """For each link its visual shapes as vertices (n, 3) in the link's frame and faces (m, 3)."""
    return {link.name: _meshes(link.visual) for link in robot.tree.links.values()}


def collision_meshes(robot: UrdfArm) -> dict[str, tuple[tuple[FloatArray, NDArray[np.int32]], ...]]:
    """For each link its collision shapes as vertices (n, 3) in the link's frame and faces (m, 3)."""
    return {link.name: _meshes(link.collision) for link in robot.tree.links.values()}


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
        made = trimesh.load(shape.mesh, force="mesh", process=False)
        made.apply_scale(shape.size_m)
    vertices = np.asarray(made.vertices, dtype=np.float64)
    placed = vertices @ shape.pose[:3, :3].T + shape.pose[:3, 3]
    return placed, np.asarray(made.faces, dtype=np.int32)
