"""Outward normals of the skin at any point, averaged over its surroundings."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray

#: Skin normals are averaged over this radius: a voxel surface is rough at the scale of a needle.
NORMAL_RADIUS_MM = 8.0
#: Faces are gathered in cubes of this edge first: a voxel surface has a thousand of them within the radius.
_GATHER_MM = 2.0
#: Faces with a longer side than this count in pieces: a face is no longer one place then.
_LONGEST_SIDE_MM = 4.0


class SkinNormals:
    """Normals of one surface.

    Args:
        mesh: the surface, all of it: the rim of an entry region is then not skewed.
        axes: (3, 3) columns, the patient's axes: normals move with a moved patient.
        origin_mm: (3,) a point that moves with the patient.
    """

    def __init__(self, mesh: SurfaceMesh, axes: FloatArray, origin_mm: FloatArray) -> None:
        from scipy.spatial import cKDTree

        centres, vectors = _pieces(mesh)
        # Rounded, so that a face between two cubes falls into the same one after a motion of the patient.
        local = np.round((centres - origin_mm) @ axes, 6)
        _, member = np.unique(cube_keys(np.floor(local / _GATHER_MM).astype(np.int64)), return_inverse=True)
        member = member.ravel()
        size = np.bincount(member).astype(np.float64)
        self._middle = np.stack([np.bincount(member, local[:, k]) / size for k in range(3)], axis=1)
        self._total = np.stack([np.bincount(member, vectors[:, k]) for k in range(3)], axis=1)
        self._tree = cKDTree(self._middle)
        self._axes, self._origin = axes, origin_mm

    def at(self, points_mm: FloatArray) -> FloatArray:
        """Unit normals (n, 3) about points (n, 3), averaged by area over ``NORMAL_RADIUS_MM``."""
        if not len(points_mm):
            return np.zeros((0, 3))
        local = (points_mm - self._origin) @ self._axes
        near = self._tree.query_ball_point(local, NORMAL_RADIUS_MM)
        for k, found in enumerate(near):
            if not found:
                near[k] = [int(self._tree.query(local[k])[1])]
        counts = np.array([len(found) for found in near])
        members = np.concatenate([np.asarray(found, dtype=np.int64) for found in near])
        total = np.add.reduceat(self._total[members], np.cumsum(counts) - counts)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.where(length > 0, total / np.maximum(length, 1e-300), self._axes[:, 1])


def _pieces(mesh: SurfaceMesh) -> tuple[FloatArray, FloatArray]:
    """Middles and area vectors, each (n, 3), of the faces, long ones cut into equal triangles."""
    corners = mesh.triangles_mm
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    # A side of a whole number of pieces must not be cut once more because a moved mesh rounds otherwise.
    cuts = np.maximum(1, np.ceil(longest / _LONGEST_SIDE_MM - 1e-9)).astype(np.int64)
    centres, vectors = [], []
    for count in np.unique(cuts):
        # Triangles of a face cut along each side: those that stand like it, and those upside down.
        steps = [(3 * i + 1, 3 * j + 1) for i in range(count) for j in range(count - i)]
        steps += [(3 * i + 2, 3 * j + 2) for i in range(count - 1) for j in range(count - 1 - i)]
        share = np.array([(i, j, 3 * count - i - j) for i, j in steps]) / (3.0 * count)
        rows = cuts == count
        centres.append(np.einsum("wk,fkx->fwx", share, corners[rows]).reshape(-1, 3))
        vectors.append(np.repeat(mesh.area_vectors_mm2[rows] / len(share), len(share), axis=0))
    return np.concatenate(centres), np.concatenate(vectors)


def cube_keys(cube: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) one number for each cube with whole coordinates (n, 3) between -2^20 and 2^20."""
    shifted = cube + (1 << 20)
    return np.asarray((shifted[:, 0] << 42) | (shifted[:, 1] << 21) | shifted[:, 2])
