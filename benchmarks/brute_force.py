"""Distances between needle axes and meshes without any tree: the truth that searches are held against.

Every axis is compared with every face, in float64, by another route than the trees' kernels: distances of ends,
edges and faces by Cramer's rule and projections instead of clamped parameters. Of a pair whose face lies in a
sphere farther away than the least distance known so far, nothing but that sphere is looked at.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.compiled import compiled, compiled_parallel, prange
from needleplan.frames import FloatArray

#: Faces whose spheres are looked at in one go.
_BLOCK = 512


@compiled
def _point_to_segment(px: float, py: float, pz: float, a: Any, b: Any) -> float:
    """Squared distance of a point to the segment from a to b."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    wx, wy, wz = px - a[0], py - a[1], pz - a[2]
    size = ux * ux + uy * uy + uz * uz
    along = (wx * ux + wy * uy + wz * uz) / size if size > 0.0 else 0.0
    along = max(0.0, min(1.0, along))
    wx, wy, wz = wx - along * ux, wy - along * uy, wz - along * uz
    return wx * wx + wy * wy + wz * wz


@compiled
def _inner_segments(p: Any, q: Any, a: Any, b: Any) -> float:
    """Squared distance of the lines p-q and a-b where their feet lie within both segments; inf elsewhere."""
    ux, uy, uz = q[0] - p[0], q[1] - p[1], q[2] - p[2]
    vx, vy, vz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    wx, wy, wz = a[0] - p[0], a[1] - p[1], a[2] - p[2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    size = nx * nx + ny * ny + nz * nz
    if size == 0.0:
        return np.inf
    # s = det(w, v, n) / |n|^2 on p-q and t = det(w, u, n) / |n|^2 on a-b.
    s = ((wy * vz - wz * vy) * nx + (wz * vx - wx * vz) * ny + (wx * vy - wy * vx) * nz) / size
    t = ((wy * uz - wz * uy) * nx + (wz * ux - wx * uz) * ny + (wx * uy - wy * ux) * nz) / size
    if s < 0.0 or s > 1.0 or t < 0.0 or t > 1.0:
        return np.inf
    # Measured between the two feet, so that rounding of the feet can only make it greater.
    x, y, z = wx + t * vx - s * ux, wy + t * vy - s * uy, wz + t * vz - s * uz
    return x * x + y * y + z * z


@compiled
def _over_face(px: float, py: float, pz: float, t: Any, nx: float, ny: float, nz: float) -> bool:
    """Whether a point's foot in the plane of triangle t (3, 3) with normal n lies in the triangle."""
    for k in range(3):
        a, b = t[k], t[(k + 1) % 3]
        ex, ey, ez = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        wx, wy, wz = px - a[0], py - a[1], pz - a[2]
        if (ey * wz - ez * wy) * nx + (ez * wx - ex * wz) * ny + (ex * wy - ey * wx) * nz < 0.0:
            return False
    return True


@compiled
def _pair(p: Any, q: Any, t: Any) -> float:
    """Squared distance of the segment p-q to triangle t (3, 3)."""
    best = np.inf
    for k in range(3):
        a, b = t[k], t[(k + 1) % 3]
        best = min(best, _inner_segments(p, q, a, b))
        best = min(best, _point_to_segment(p[0], p[1], p[2], a, b))
        best = min(best, _point_to_segment(q[0], q[1], q[2], a, b))
        best = min(best, _point_to_segment(a[0], a[1], a[2], p, q))
    abx, aby, abz = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    acx, acy, acz = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    nx, ny, nz = aby * acz - abz * acy, abz * acx - abx * acz, abx * acy - aby * acx
    size = nx * nx + ny * ny + nz * nz
    if size == 0.0:
        return best
    hp = (p[0] - t[0, 0]) * nx + (p[1] - t[0, 1]) * ny + (p[2] - t[0, 2]) * nz
    hq = (q[0] - t[0, 0]) * nx + (q[1] - t[0, 1]) * ny + (q[2] - t[0, 2]) * nz
    if hp * hp < best * size and _over_face(p[0], p[1], p[2], t, nx, ny, nz):
        best = min(best, hp * hp / size)
    if hq * hq < best * size and _over_face(q[0], q[1], q[2], t, nx, ny, nz):
        best = min(best, hq * hq / size)
    if (hp < 0.0 and hq > 0.0) or (hp > 0.0 and hq < 0.0):
        s = hp / (hp - hq)
        x, y, z = p[0] + s * (q[0] - p[0]), p[1] + s * (q[1] - p[1]), p[2] + s * (q[2] - p[2])
        if _over_face(x, y, z, t, nx, ny, nz):
            return 0.0
    return best


@compiled_parallel
def _all_pairs(start: Any, end: Any, cap: float, triangles: Any, middle: Any, radius: Any, result: Any) -> None:
    """``middle`` (3, m) and ``radius`` (m,) are spheres about the triangles (m, 3, 3)."""
    count = triangles.shape[0]
    for i in prange(start.shape[0]):
        p, q = start[i], end[i]
        ux, uy, uz = q[0] - p[0], q[1] - p[1], q[2] - p[2]
        size = ux * ux + uy * uy + uz * uz
        inverse = 1.0 / size if size > 0.0 else 0.0
        nearest = cap * cap
        excess = np.empty(_BLOCK)
        for first in range(0, count, _BLOCK):
            part = min(_BLOCK, count - first)
            reach = np.sqrt(nearest)
            for k in range(part):
                wx = middle[0, first + k] - p[0]
                wy = middle[1, first + k] - p[1]
                wz = middle[2, first + k] - p[2]
                s = max(0.0, min(1.0, (wx * ux + wy * uy + wz * uz) * inverse))
                wx, wy, wz = wx - s * ux, wy - s * uy, wz - s * uz
                sum_of_radii = reach + radius[first + k]
                excess[k] = wx * wx + wy * wy + wz * wz - sum_of_radii * sum_of_radii
            for k in range(part):
                if excess[k] <= 0.0:
                    nearest = min(nearest, _pair(p, q, triangles[first + k]))
        result[i] = np.sqrt(nearest)


def distances_mm(
    meshes: SurfaceMesh | list[SurfaceMesh], start_mm: ArrayLike, end_mm: ArrayLike, cap_mm: float = np.inf
) -> FloatArray:
    """Least distance of segments (n, 3) to (n, 3) to each mesh, capped: (n, S), or (n,) for a single mesh."""
    if isinstance(meshes, SurfaceMesh):
        return distances_mm([meshes], start_mm, end_mm, cap_mm)[:, 0]
    start = np.ascontiguousarray(start_mm, dtype=np.float64)
    end = np.ascontiguousarray(end_mm, dtype=np.float64)
    result = np.empty((len(meshes), len(start)))
    for column, mesh in zip(result, meshes, strict=True):
        triangles = np.ascontiguousarray(mesh.triangles_mm)
        middle = 0.5 * (triangles.min(axis=1) + triangles.max(axis=1))
        radius = np.linalg.norm(triangles - middle[:, None, :], axis=2).max(axis=1)
        # A hair more than the sphere, for the rounding of its middle and radius.
        radius = radius * (1 + 1e-9) + 1e-9 * (1 + np.abs(triangles).max())
        _all_pairs(start, end, float(cap_mm), triangles, np.ascontiguousarray(middle.T), radius, column)
    return np.ascontiguousarray(result.T)


def wrong_answers(
    clear: NDArray[np.bool_], axis_distance_mm: FloatArray, demanded_mm: ArrayLike, tie_mm: float = 1e-9
) -> int:
    """Number of decisions (n,) that differ from those of brute force.

    Args:
        clear: True where an engine says that the needle keeps clear of every structure.
        axis_distance_mm: (n, S) distances by brute force.
        demanded_mm: (S,) least distances of the needle's axis.
        tie_mm: nearer to the demand than this, both answers are right.
    """
    slack = (axis_distance_mm - np.asarray(demanded_mm)).min(axis=1)
    return int(np.count_nonzero((clear != (slack >= 0)) & (np.abs(slack) > tie_mm)))
