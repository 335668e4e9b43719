"""Planes through the patient, and exact outlines of surfaces in them."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only, unit_vector

logger = logging.getLogger(__name__)

_Numbers = NDArray[np.int64]


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

    Each crossed face gives one segment, and segments are chained by the vertex numbers of the crossed edges, so
    nothing depends on a distance tolerance. Loops around material turn one way and loops around holes the other,
    so that filling by winding number leaves holes open. At an edge that more than two faces share, where two
    voxels touch, a loop goes on along the material that it came along, so loops touch there and do not cross.
    A chain that an open edge of the mesh interrupts is no polygon: it is left out, and logged as a warning.
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
    begin, finish = inverse[: len(faces)], inverse[len(faces) :]
    low, high = keys // n, keys % n
    share = height[low] / (height[low] - height[high])
    points = mesh.vertices_mm[low] + share[:, None] * (mesh.vertices_mm[high] - mesh.vertices_mm[low])
    loops, broken = _chains(_following(mesh.vertices_mm, faces, low, high, begin, finish))
    if broken:
        logger.warning(
            "the plane %s cuts a surface that is not closed: %d of %d segments belong to no closed outline and are "
            "left out", plane.name, broken, len(faces),
        )  # fmt: skip
    flat = plane.flat(points)[begin]
    return [flat[loop] for loop in loops]


def _following(
    vertices_mm: FloatArray, faces: _Numbers, low: _Numbers, high: _Numbers, begin: _Numbers, finish: _Numbers
) -> _Numbers:
    """(m,) crossed face whose segment follows that of each crossed face, -1 where there is none.

    Args:
        vertices_mm: (n, 3) points of the mesh.
        faces: (m, 3) crossed faces.
        low: (e,) vertex below the plane of each crossed edge.
        high: (e,) vertex above it.
        begin: (m,) edge at which each face's segment begins.
        finish: (m,) edge at which it ends.
    """
    count = len(faces)
    begin_turn, finish_turn = np.zeros(count), np.zeros(count)
    shared = np.maximum(np.bincount(begin, minlength=len(low)), np.bincount(finish, minlength=len(low))) > 1
    if shared.any():
        ending, starting = np.flatnonzero(shared[finish]), np.flatnonzero(shared[begin])
        off_ending, off_starting = (
            _across_edge(vertices_mm, faces[chosen], low[edge], high[edge])
            for chosen, edge in ((ending, finish[ending]), (starting, begin[starting]))
        )
        # About the edge, from below to above, material lies before a face that begins there and after one that
        # ends. Counted from one that ends, the k-th that ends and the k-th that begins bound the same material.
        zero = np.zeros((len(low), 3))
        zero[finish[ending]] = off_ending
        axis = vertices_mm[high] - vertices_mm[low]
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        finish_turn[ending] = _turn(zero[finish[ending]], off_ending, axis[finish[ending]])
        begin_turn[starting] = _turn(zero[begin[starting]], off_starting, axis[begin[starting]])
    by_begin, by_finish = np.lexsort((begin_turn, begin)), np.lexsort((finish_turn, finish))
    starts, ends = _numbered(begin[by_begin]), _numbered(finish[by_finish])
    place = np.minimum(np.searchsorted(starts, ends), count - 1)
    following = np.full(count, -1, dtype=np.int64)
    following[by_finish] = np.where(starts[place] == ends, by_begin[place], -1)
    return following


def _across_edge(vertices_mm: FloatArray, faces: _Numbers, low: _Numbers, high: _Numbers) -> FloatArray:
    """(k, 3) way from the lower end of an edge of each face (k, 3) to the corner that is not on the edge."""
    return np.asarray(vertices_mm[faces.sum(axis=1) - low - high] - vertices_mm[low])


def _turn(first: FloatArray, second: FloatArray, axis: FloatArray) -> FloatArray:
    """(k,) angles from 0 to 2 pi about the axes (k, 3) from the half plane of one vector to that of another."""
    cosine = (first * second).sum(axis=1) - (first * axis).sum(axis=1) * (second * axis).sum(axis=1)
    return np.asarray(np.arctan2((np.cross(first, second) * axis).sum(axis=1), cosine) % (2.0 * np.pi))


def _numbered(edges: _Numbers) -> _Numbers:
    """(m,) growing numbers for sorted edges (m,) that tell edge and place among the entries of the same edge."""
    place = np.arange(len(edges)) - np.searchsorted(edges, edges)
    return np.asarray(edges * np.int64(len(edges)) + place)


def _chains(following: _Numbers) -> tuple[list[list[int]], int]:
    """Closed chains of segments, and how many segments are in none.

    Two segments alone come from two faces that lie on each other; they enclose nothing and count as neither.
    """
    after = following.tolist()
    seen = bytearray(len(after))
    loops, broken = [], 0
    for first in range(len(after)):
        chain = []
        here = first
        while here >= 0 and not seen[here]:
            seen[here] = 1
            chain.append(here)
            here = after[here]
        if not chain:
            continue
        if here != first:
            broken += len(chain)
        elif len(chain) >= 3:
            loops.append(chain)
    return loops, broken
