"""Closed triangle surfaces in the patient frame."""

from collections.abc import Iterator
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
        return self.vertices_mm.take(self.faces, axis=0)

    def _corners(self) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """For each of the three axes that coordinate (m,) of the first, second and third corners of the faces."""
        first, second, third = (np.ascontiguousarray(self.faces[:, k]) for k in range(3))
        for axis in range(3):
            line = np.ascontiguousarray(self.vertices_mm[:, axis])
            yield line.take(first), line.take(second), line.take(third)

    @property
    def area_vectors_mm2(self) -> FloatArray:
        """(m, 3) outward normal of each face with the face's area as length."""
        # Coordinate by coordinate: gathering whole points and numpy's cross product take six times as long.
        u, v = [], []
        for a, b, c in self._corners():
            u.append(b - a)
            v.append(c - a)
        vectors = np.empty((len(self.faces), 3))
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            vectors[:, k] = 0.5 * (u[i] * v[j] - u[j] * v[i])
        return vectors

    @property
    def face_normals(self) -> FloatArray:
        """(m, 3) outward unit normals; zero for a face without area."""
        return self.normals_of(np.arange(len(self.faces)))

    def normals_of(self, faces: NDArray[np.integer[Any]]) -> FloatArray:
        """(n, 3) outward unit normals of the faces with indices (n,); zero for a face without area."""
        a, b, c = (self.vertices_mm.take(self.faces[faces, k], axis=0) for k in range(3))
        vectors = np.cross(b - a, c - a)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)

    @property
    def face_centres_mm(self) -> FloatArray:
        """(m, 3) centroids of the faces."""
        centres = np.empty((len(self.faces), 3))
        for k, (a, b, c) in enumerate(self._corners()):
            centres[:, k] = (a + b + c) / 3.0
        return centres

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
        lines = self.vertices_mm.T
        return np.array([[line.min() for line in lines], [line.max() for line in lines]])

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
