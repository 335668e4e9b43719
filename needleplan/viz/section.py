"""Planes through the patient, and exact outlines of surfaces in them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only, unit_vector


@dataclass(frozen=True, slots=True, eq=False)
class ImagePlane:
    """A plane with the directions of its picture.

    Attributes:
        name: heading of the picture.
        origin_mm: (3,) point of the plane; the picture's coordinates count from it.
        right: (3,) unit vector that points right in the picture.
        down: (3,) unit vector that points down in the picture, perpendicular to ``right``.
    """

    name: str
    origin_mm: FloatArray
    right: FloatArray
    down: FloatArray

    def __post_init__(self) -> None:
        right, down = unit_vector(self.right), unit_vector(self.down)
        if abs(float(right @ down)) > 1e-6:
            raise GeometryError(f"the axes of the plane {self.name} must be perpendicular")
        object.__setattr__(self, "right", read_only(right))
        object.__setattr__(self, "down", read_only(down))
        object.__setattr__(self, "origin_mm", read_only(self.origin_mm))

    @property
    def normal(self) -> FloatArray:
        """(3,) unit vector out of the plane, away from the viewer."""
        return np.cross(self.right, self.down)

    def flat(self, points_mm: ArrayLike) -> FloatArray:
        """(..., 2) coordinates right and down in mm of points (..., 3), projected onto the plane."""
        offset = np.asarray(points_mm, dtype=np.float64) - self.origin_mm
        return np.stack([offset @ self.right, offset @ self.down], axis=-1)

    def distance_mm(self, points_mm: ArrayLike) -> FloatArray:
        """(...,) signed distance of points (..., 3) from the plane."""
        return np.asarray((np.asarray(points_mm, dtype=np.float64) - self.origin_mm) @ self.normal)

    def points_mm(self, flat: ArrayLike) -> FloatArray:
        """(..., 3) points of the plane at coordinates (..., 2) in mm."""
        values = np.asarray(flat, dtype=np.float64)
        return self.origin_mm + values[..., :1] * self.right + values[..., 1:] * self.down


def anatomical_planes(point_mm: ArrayLike, axes: FloatArray) -> tuple[ImagePlane, ImagePlane, ImagePlane]:
    """Axial, coronal and sagittal plane through a point, in radiological convention.

    The axial plane is seen from the feet and the coronal plane from the front, so the patient's right is at the
    left of both; the sagittal plane is seen from the patient's left, anterior at its left.

    Args:
        point_mm: (3,) point.
        axes: (3, 3) columns to the patient's left, posterior and superior.
    """
    left, posterior, superior = axes.T
    point = np.asarray(point_mm, dtype=np.float64)
    return (
        ImagePlane("axial", point, left, posterior),
        ImagePlane("coronal", point, left, -superior),
        ImagePlane("sagittal", point, posterior, -superior),
    )


def outlines(mesh: SurfaceMesh, plane: ImagePlane) -> list[FloatArray]:
    """Where a closed mesh meets a plane: closed polygons (k, 2) in the plane's coordinates.

    Crossed edges are chained by their vertex numbers, so nothing depends on a distance tolerance. Loops around
    material turn one way and loops around holes the other, so that filling by winding number leaves holes open.
    A chain that an open edge of the mesh interrupts is dropped.
    """
    height = plane.distance_mm(mesh.vertices_mm)
    # A vertex on the plane counts as just above it, which keeps every crossed face at exactly two crossed edges.
    above = height >= 0.0
    crossed = np.flatnonzero(np.ptp(above[mesh.faces].astype(np.int8), axis=1) > 0)
    if crossed.size == 0:
        return []
    faces = mesh.faces[crossed].astype(np.int64)
    start, end = faces, np.roll(faces, -1, axis=1)
    rises = ~above[start] & above[end]
    falls = above[start] & ~above[end]
    rows = np.arange(len(faces))
    rise, fall = rises.argmax(axis=1), falls.argmax(axis=1)
    into = np.stack([start[rows, rise], end[rows, rise]], axis=1)
    out = np.stack([end[rows, fall], start[rows, fall]], axis=1)
    n = np.int64(len(mesh.vertices_mm))
    keys, inverse = np.unique(
        np.concatenate([into[:, 0] * n + into[:, 1], out[:, 0] * n + out[:, 1]]), return_inverse=True
    )
    follower = np.full(len(keys), -1, dtype=np.int64)
    follower[inverse[: len(faces)]] = inverse[len(faces) :]
    low, high = keys // n, keys % n
    share = height[low] / (height[low] - height[high])
    points = mesh.vertices_mm[low] + share[:, None] * (mesh.vertices_mm[high] - mesh.vertices_mm[low])
    flat = plane.flat(points)
    loops = []
    seen = np.zeros(len(keys), dtype=bool)
    following = follower.tolist()
    for first in range(len(keys)):
        if seen[first]:
            continue
        chain = []
        here = first
        while here >= 0 and not seen[here]:
            seen[here] = True
            chain.append(here)
            here = following[here]
        if here == first and len(chain) >= 3:
            loops.append(flat[chain])
    return loops
