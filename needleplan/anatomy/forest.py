"""Distances of needle paths to all structures of a case at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.tree import MeshTree
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray


class MeshForest:
    """Exact capped distances of paths to several meshes, each with its own bounding-volume tree.

    Args:
        meshes: surfaces, or trees of them that exist already; open and non-manifold ones are allowed.

    Raises:
        GeometryError: there is no mesh.
    """

    def __init__(self, meshes: Sequence[SurfaceMesh | MeshTree]) -> None:
        if not meshes:
            raise GeometryError("a forest needs at least one mesh")
        self.trees = tuple(mesh if isinstance(mesh, MeshTree) else MeshTree(mesh) for mesh in meshes)

    def distances_mm(self, start_mm: ArrayLike, end_mm: ArrayLike, cap_mm: float) -> FloatArray:
        """Exact least distance between line segments and every mesh.

        Args:
            start_mm: (n, 3) first ends.
            end_mm: (n, 3) second ends; equal to the first for a point.
            cap_mm: distances beyond it are not searched for.

        Returns:
            (n, k) distances, 0 where a segment crosses or touches a mesh, ``cap_mm`` where it is at least that.
        """
        return np.stack([tree.segment_distance_mm(start_mm, end_mm, cap_mm) for tree in self.trees], axis=1)

    def keeps_distance(self, start_mm: ArrayLike, end_mm: ArrayLike, margin_mm: ArrayLike) -> NDArray[np.bool_]:
        """Whether line segments keep a distance from every mesh.

        Args:
            start_mm: (n, 3) first ends.
            end_mm: (n, 3) second ends.
            margin_mm: least distance, one for all meshes or (k,).

        Returns:
            (n,) True where the distance to every mesh is at least its margin.
        """
        start, end = np.asarray(start_mm, dtype=np.float64), np.asarray(end_mm, dtype=np.float64)
        margins = np.broadcast_to(np.asarray(margin_mm, dtype=np.float64), (len(self.trees),))
        left = np.arange(len(start))
        for tree, margin in zip(self.trees, margins, strict=True):
            left = left[tree.keeps_distance(start[left], end[left], float(margin))]
        result = np.zeros(len(start), dtype=np.bool_)
        result[left] = True
        return result
