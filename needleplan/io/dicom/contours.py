"""Surfaces cut by the slice planes of a grid: exact closed contours, and holes as keyholes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import Grid

#: Two points of a contour nearer to each other than this become one.
_SAME_POINT_MM = 1e-6


def cut_by_slices(mesh: SurfaceMesh, grid: Grid) -> dict[int, list[FloatArray]]:
    """The curves in which a closed surface meets the planes through the voxel centres of each slice.

    A corner of the mesh that lies in a plane counts as above it, so that each curve closes and none comes twice.

    Args:
        mesh: a closed surface.
        grid: its third axis counts the slices.

    Returns:
        Closed curves (n, 3) in patient LPS mm by slice, for the slices that are met.

    Raises:
        GeometryError: the surface is open, or meets none of the planes.
    """
    if not mesh.is_watertight:
        raise GeometryError("only a closed surface can be cut into contours, but this one has open edges")
    height = grid.to_index(mesh.vertices_mm)[:, 2]
    corner_heights = height[mesh.faces]
    # A face is met by the planes k with low < k <= high.
    low, high = corner_heights.min(axis=1), corner_heights.max(axis=1)
    first = np.clip(np.floor(low) + 1, 0, grid.shape[2]).astype(np.int64)
    last = np.clip(np.floor(high) + 1, 0, grid.shape[2]).astype(np.int64)
    met = last > first
    if not met.any():
        raise GeometryError("the surface meets no slice plane of the grid")
    owner = np.repeat(np.flatnonzero(met), (last - first)[met])
    within = np.arange(len(owner)) - np.repeat(
        np.cumsum((last - first)[met]) - (last - first)[met], (last - first)[met]
    )
    plane = first[owner] + within
    order = np.argsort(plane, kind="stable")
    owner, plane = owner[order], plane[order]
    found = {}
    for number in np.unique(plane).tolist():
        faces = mesh.faces[owner[np.searchsorted(plane, number) : np.searchsorted(plane, number, side="right")]]
        curves = _curves(mesh.vertices_mm, height, faces, float(number))
        if curves:
            found[number] = curves
    if not found:
        raise GeometryError("the surface touches the slice planes of the grid but crosses none")
    return found


def _curves(vertices: FloatArray, height: FloatArray, faces: NDArray[Any], level: float) -> list[FloatArray]:
    """The closed curves of one plane, from the faces that it crosses."""
    above = height[faces] >= level
    # Turn each face so that its first corner is alone on its side.
    alone = np.where(above.sum(axis=1) == 1, np.argmax(above, axis=1), np.argmin(above, axis=1))
    turned = np.take_along_axis(faces, (alone[:, None] + np.arange(3)) % 3, axis=1).astype(np.int64)
    rising = height[turned[:, 0]] >= level
    # An edge is one number, made of its lower and its higher corner.
    one, other = (
        np.minimum(turned[:, 0], turned[:, k]) * len(vertices) + np.maximum(turned[:, 0], turned[:, k])
        for k in (1, 2)
    )
    start, end = np.where(rising, one, other), np.where(rising, other, one)
    keys, number = np.unique(np.concatenate([start, end]), return_inverse=True)
    edges = np.stack(np.divmod(keys, len(vertices)), axis=1)
    share = (level - height[edges[:, 0]]) / (height[edges[:, 1]] - height[edges[:, 0]])
    points = vertices[edges[:, 0]] + share[:, None] * (vertices[edges[:, 1]] - vertices[edges[:, 0]])
    follow: dict[int, list[int]] = {}
    for a, b in zip(number[: len(start)].tolist(), number[len(start) :].tolist(), strict=True):
        follow.setdefault(a, []).append(b)
    curves = []
    while follow:
        first, ends = next(iter(follow.items()))
        chain, here = [first], ends.pop()
        if not ends:
            del follow[first]
        while here != first:
            chain.append(here)
            ends = follow[here]
            following = ends.pop()
            if not ends:
                del follow[here]
            here = following
        curve = points[chain]
        curve = curve[np.linalg.norm(curve - np.roll(curve, 1, axis=0), axis=1) > _SAME_POINT_MM]
        if len(curve) >= 3:
            curves.append(curve)
    return curves


def with_keyholes(curves: list[FloatArray], axes: FloatArray) -> list[FloatArray]:
    """Curves of one plane with each hole joined to the curve around it by a channel of no width.

    Many readers unite overlapping contours and would fill a hole that is a contour of its own; a keyhole
    (PS3.3, C.8.8.6.3) leaves it open for all of them.

    Args:
        curves: closed curves (n, 3) that do not cross.
        axes: (2, 3) two directions in the plane.

    Returns:
        One curve for each outline, and for each island within a hole.
    """
    flat = [curve @ axes.T for curve in curves]
    around = [
        [other for other in range(len(flat)) if other != n and _contains(flat[other], flat[n])]
        for n in range(len(flat))
    ]
    outlines = [n for n in range(len(flat)) if len(around[n]) % 2 == 0]
    joined = {n: curves[n] for n in outlines}
    for hole in range(len(flat)):
        if len(around[hole]) % 2:
            # The outline that holds the hole directly is the most deeply nested of those around it.
            outline = max(around[hole], key=lambda n: len(around[n]))
            joined[outline] = _joined(joined[outline], curves[hole])
    return [joined[n] for n in outlines]


def _contains(outer: FloatArray, inner: FloatArray) -> bool:
    """True where the curve ``inner`` (n, 2) lies within ``outer`` (m, 2), by most of its corners."""
    if (inner.min(axis=0) < outer.min(axis=0)).any() or (inner.max(axis=0) > outer.max(axis=0)).any():
        return False
    probes = inner[:: max(1, len(inner) // 9)]
    following = np.roll(outer, -1, axis=0)
    x, y = probes[:, None, 0], probes[:, None, 1]
    crosses = (outer[:, 1] > y) != (following[:, 1] > y)
    run = np.where(crosses, following[:, 1] - outer[:, 1], 1.0)
    left = x < outer[:, 0] + (y - outer[:, 1]) / run * (following[:, 0] - outer[:, 0])
    return bool(np.count_nonzero((crosses & left).sum(axis=1) % 2) * 2 > len(probes))


def _joined(outline: FloatArray, hole: FloatArray) -> FloatArray:
    """Both curves as one, along the shortest line between two of their corners."""
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(outline).query(hole)
    there = int(np.argmin(distance))
    here = int(nearest[there])
    ring = np.concatenate([hole[there:], hole[: there + 1]])
    return np.concatenate([outline[: here + 1], ring, outline[here:]])
