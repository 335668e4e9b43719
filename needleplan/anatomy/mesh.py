"""Closed triangle surfaces in the patient frame."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceMesh:
    """A triangle mesh in patient LPS millimetres, faces counter-clockwise seen from outside.

    Attributes:
        vertices_mm: (n, 3) float64, finite, read-only.
        faces: (m, 3) int32 vertex indices, m > 0, read-only.
    """

    vertices_mm: FloatArray
    faces: NDArray[np.integer[Any]]

    def __post_init__(self) -> None:
        vertices = read_only(self.vertices_mm)
        faces = np.asarray(self.faces)
        if vertices.ndim != 2 or vertices.shape[1:] != (3,) or faces.ndim != 2 or faces.shape[1:] != (3,):
            raise GeometryError("a mesh needs vertices (n, 3) and triangular faces (m, 3)")
        if len(faces) == 0 or len(vertices) == 0:
            raise GeometryError("a mesh holds no face")
        if not np.isfinite(vertices).all():
            raise GeometryError("a mesh has a vertex that is not a finite number")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise GeometryError(f"a mesh has a face that names vertex {faces.max()} of only {len(vertices)}")
        object.__setattr__(self, "vertices_mm", vertices)
        object.__setattr__(self, "faces", read_only(faces, np.int32))

    @property
    def triangles_mm(self) -> FloatArray:
        """(m, 3, 3) corner points of the faces."""
        return np.asarray(self.vertices_mm[self.faces])

    @property
    def area_vectors_mm2(self) -> FloatArray:
        """(m, 3) outward normal of each face with the face's area as length."""
        a, b, c = (self.vertices_mm[self.faces[:, k]] for k in range(3))
        return 0.5 * np.cross(b - a, c - a)

    @property
    def face_normals(self) -> FloatArray:
        """(m, 3) outward unit normals; zero for a face without area."""
        return self.normals_of(np.arange(len(self.faces)))

    def normals_of(self, faces: NDArray[np.integer[Any]]) -> FloatArray:
        """(n, 3) outward unit normals of the faces with indices (n,); zero for a face without area."""
        a, b, c = (self.vertices_mm[self.faces[faces, k]] for k in range(3))
        vectors = np.cross(b - a, c - a)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)

    @property
    def face_centres_mm(self) -> FloatArray:
        """(m, 3) centroids of the faces."""
        return np.asarray(self.triangles_mm.mean(axis=1))

    @property
    def area_mm2(self) -> float:
        """Surface area."""
        return float(np.linalg.norm(self.area_vectors_mm2, axis=1).sum())

    @property
    def volume_mm3(self) -> float:
        """Signed volume by the divergence theorem; negative where the faces look inward."""
        centre = self.vertices_mm.mean(axis=0)
        return float(np.einsum("ij,ij->", self.face_centres_mm - centre, self.area_vectors_mm2) / 3.0)

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) least and greatest coordinates."""
        return np.stack([self.vertices_mm.min(axis=0), self.vertices_mm.max(axis=0)])

    @property
    def open_edge_count(self) -> int:
        """Number of edges that do not bound exactly one face from each side; 0 for a closed surface."""
        directed = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        n = np.int64(len(self.vertices_mm))
        forward = directed[:, 0].astype(np.int64) * n + directed[:, 1]
        backward = directed[:, 1].astype(np.int64) * n + directed[:, 0]
        keys, inverse = np.unique(np.concatenate([forward, backward]), return_inverse=True)
        balance = np.bincount(inverse, np.repeat([1, -1], len(forward)), minlength=len(keys))
        return int(np.count_nonzero(balance)) // 2

    @property
    def is_watertight(self) -> bool:
        """True where every edge is used as often in one direction as in the other."""
        return self.open_edge_count == 0

    def moved(self, matrix: ArrayLike) -> "SurfaceMesh":
        """The mesh carried along by a (4, 4) rigid motion."""
        motion = np.asarray(matrix, dtype=np.float64)
        return SurfaceMesh(self.vertices_mm @ motion[:3, :3].T + motion[:3, 3], self.faces)

    def flipped(self) -> "SurfaceMesh":
        """The same surface with the faces looking the other way."""
        return SurfaceMesh(self.vertices_mm, self.faces[:, ::-1])
