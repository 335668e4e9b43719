"""Exact distances and crossings between needle paths and a triangle mesh.

A bounding-volume tree over the triangles (median split on the longest axis, Wald 2007) is searched nearest node
first. A node is skipped only when a proven lower bound of its distance exceeds the best distance found, so the
answers are those of testing every triangle, in float64.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.compiled import compiled, compiled_parallel, prange
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray

_LEAF_SIZE = 4
_STACK_SIZE = 96
#: Faces met by one path for which there is room at first; more are counted and then stored in a second pass.
_USUAL_HITS = 16
#: Points decided at a time by ``contains``, which bounds its memory.
_CHUNK = 65_536


@compiled
def _build(
    low: Any, high: Any, centre: Any, order: Any, node_low: Any, node_high: Any, node_link: Any, node_count: Any
) -> int:
    """Fill the node arrays; returns the number of nodes. Children of node i are node_link[i] and +1."""
    stack_node = np.empty(_STACK_SIZE, np.int64)
    stack_first = np.empty(_STACK_SIZE, np.int64)
    stack_last = np.empty(_STACK_SIZE, np.int64)
    stack_node[0] = 0
    stack_first[0] = 0
    stack_last[0] = order.size
    top = 1
    used = 1
    while top > 0:
        top -= 1
        node = stack_node[top]
        first = stack_first[top]
        last = stack_last[top]
        spread_axis = 0
        spread = -1.0
        for axis in range(3):
            box_low = np.inf
            box_high = -np.inf
            centre_low = np.inf
            centre_high = -np.inf
            for k in range(first, last):
                face = order[k]
                box_low = min(box_low, low[face, axis])
                box_high = max(box_high, high[face, axis])
                centre_low = min(centre_low, centre[face, axis])
                centre_high = max(centre_high, centre[face, axis])
            node_low[node, axis] = box_low
            node_high[node, axis] = box_high
            if centre_high - centre_low > spread:
                spread = centre_high - centre_low
                spread_axis = axis
        count = last - first
        if count <= _LEAF_SIZE:
            node_link[node] = first
            node_count[node] = count
            continue
        part = order[first:last].copy()
        keys = np.empty(count)
        for k in range(count):
            keys[k] = centre[part[k], spread_axis]
        # A stable sort makes the tree, and so the order of equal answers, the same everywhere.
        ranks = np.argsort(keys, kind="mergesort")
        for k in range(count):
            order[first + k] = part[ranks[k]]
        middle = first + count // 2
        node_link[node] = used
        node_count[node] = 0
        stack_node[top] = used
        stack_first[top] = first
        stack_last[top] = middle
        top += 1
        stack_node[top] = used + 1
        stack_first[top] = middle
        stack_last[top] = last
        top += 1
        used += 2
    return used


@compiled
def _point_triangle(px: float, py: float, pz: float, t: Any) -> float:
    """Squared distance of a point to triangle t (9,) (Ericson, Real-Time Collision Detection, 5.1.5)."""
    abx, aby, abz = t[3] - t[0], t[4] - t[1], t[5] - t[2]
    acx, acy, acz = t[6] - t[0], t[7] - t[1], t[8] - t[2]
    apx, apy, apz = px - t[0], py - t[1], pz - t[2]
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    if d1 <= 0.0 and d2 <= 0.0:
        return apx * apx + apy * apy + apz * apz
    bpx, bpy, bpz = px - t[3], py - t[4], pz - t[5]
    d3 = abx * bpx + aby * bpy + abz * bpz
    d4 = acx * bpx + acy * bpy + acz * bpz
    if d3 >= 0.0 and d4 <= d3:
        return bpx * bpx + bpy * bpy + bpz * bpz
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        v = d1 / (d1 - d3) if d1 != d3 else 0.0
        x, y, z = apx - v * abx, apy - v * aby, apz - v * abz
        return x * x + y * y + z * z
    cpx, cpy, cpz = px - t[6], py - t[7], pz - t[8]
    d5 = abx * cpx + aby * cpy + abz * cpz
    d6 = acx * cpx + acy * cpy + acz * cpz
    if d6 >= 0.0 and d5 <= d6:
        return cpx * cpx + cpy * cpy + cpz * cpz
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        w = d2 / (d2 - d6) if d2 != d6 else 0.0
        x, y, z = apx - w * acx, apy - w * acy, apz - w * acz
        return x * x + y * y + z * z
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and (d4 - d3) >= 0.0 and (d5 - d6) >= 0.0:
        s = (d4 - d3) + (d5 - d6)
        w = (d4 - d3) / s if s != 0.0 else 0.0
        x = bpx - w * (t[6] - t[3])
        y = bpy - w * (t[7] - t[4])
        z = bpz - w * (t[8] - t[5])
        return x * x + y * y + z * z
    s = va + vb + vc
    v = vb / s
    w = vc / s
    x, y, z = apx - v * abx - w * acx, apy - v * aby - w * acy, apz - v * abz - w * acz
    return x * x + y * y + z * z


@compiled
def _segment_segment(
    ax: float, ay: float, az: float, ux: float, uy: float, uz: float, t: Any, i: int, j: int
) -> float:
    """Squared distance of segment a + s u to the triangle edge from corner i to j (Ericson 5.1.9)."""
    vx, vy, vz = t[3 * j] - t[3 * i], t[3 * j + 1] - t[3 * i + 1], t[3 * j + 2] - t[3 * i + 2]
    wx, wy, wz = ax - t[3 * i], ay - t[3 * i + 1], az - t[3 * i + 2]
    a = ux * ux + uy * uy + uz * uz
    e = vx * vx + vy * vy + vz * vz
    f = vx * wx + vy * wy + vz * wz
    c = ux * wx + uy * wy + uz * wz
    s = 0.0
    r = 0.0
    if a <= 0.0 and e <= 0.0:
        pass
    elif a <= 0.0:
        r = min(1.0, max(0.0, f / e))
    elif e <= 0.0:
        s = min(1.0, max(0.0, -c / a))
    else:
        b = ux * vx + uy * vy + uz * vz
        denominator = a * e - b * b
        if denominator > 1e-14 * a * e:
            s = min(1.0, max(0.0, (b * f - c * e) / denominator))
        r = (b * s + f) / e
        if r < 0.0:
            r = 0.0
            s = min(1.0, max(0.0, -c / a))
        elif r > 1.0:
            r = 1.0
            s = min(1.0, max(0.0, (b - c) / a))
    x = wx + s * ux - r * vx
    y = wy + s * uy - r * vy
    z = wz + s * uz - r * vz
    return x * x + y * y + z * z


@compiled
def _edge_side(
    px: float, py: float, pz: float, qx: float, qy: float, qz: float, ux: float, uy: float, uz: float, size: float
) -> float:
    """u . (p x q): on which side a line through the origin along u passes the edge from p to q.

    Computed from the same end whichever way the edge is given, so that the two faces at an edge always agree and
    no line slips between them (Woop, Benthin, Wald, "Watertight Ray/Triangle Intersection", JCGT 2013). 0 where
    rounding hides the side: then the line meets both faces.
    """
    swap = (px > qx) or (px == qx and ((py > qy) or (py == qy and pz > qz)))
    if swap:
        px, py, pz, qx, qy, qz = qx, qy, qz, px, py, pz
    value = ux * (py * qz - pz * qy) + uy * (pz * qx - px * qz) + uz * (px * qy - py * qx)
    # The rounding error of the triple product is below 8 units in the last place of |u| |p| |q|.
    pq = (px * px + py * py + pz * pz) * (qx * qx + qy * qy + qz * qz)
    if value * value <= 4e-30 * size * pq:
        return 0.0
    return -value if swap else value


@compiled
def _crossing(
    ax: float, ay: float, az: float, ux: float, uy: float, uz: float, t: Any
) -> tuple[bool, float, float]:
    """(hit, parameter in 0..1, number with the sign of u . n) of segment a + s u with triangle t.

    Edges and corners count as hits, so a path through an edge is found in both faces and merged by the caller. A
    segment in the triangle's plane does not cross it.
    """
    p0x, p0y, p0z = t[0] - ax, t[1] - ay, t[2] - az
    p1x, p1y, p1z = t[3] - ax, t[4] - ay, t[5] - az
    p2x, p2y, p2z = t[6] - ax, t[7] - ay, t[8] - az
    size = ux * ux + uy * uy + uz * uz
    w0 = _edge_side(p1x, p1y, p1z, p2x, p2y, p2z, ux, uy, uz, size)
    w1 = _edge_side(p2x, p2y, p2z, p0x, p0y, p0z, ux, uy, uz, size)
    if (w0 > 0.0 and w1 < 0.0) or (w0 < 0.0 and w1 > 0.0):
        return False, 0.0, 0.0
    w2 = _edge_side(p0x, p0y, p0z, p1x, p1y, p1z, ux, uy, uz, size)
    if not ((w0 >= 0.0 and w1 >= 0.0 and w2 >= 0.0) or (w0 <= 0.0 and w1 <= 0.0 and w2 <= 0.0)):
        return False, 0.0, 0.0
    total = w0 + w1 + w2
    if total == 0.0:
        return False, 0.0, 0.0
    w0, w1, w2 = w0 / total, w1 / total, w2 / total
    s = (
        (w0 * p0x + w1 * p1x + w2 * p2x) * ux
        + (w0 * p0y + w1 * p1y + w2 * p2y) * uy
        + (w0 * p0z + w1 * p1z + w2 * p2z) * uz
    ) / size
    if s < 0.0 or s > 1.0:
        return False, 0.0, 0.0
    return True, s, total


@compiled
def _segment_triangle(ax: float, ay: float, az: float, ux: float, uy: float, uz: float, t: Any) -> float:
    """Squared distance of a segment to a triangle: 0 where they cross, else an end or an edge is nearest."""
    hit, _, _ = _crossing(ax, ay, az, ux, uy, uz, t)
    if hit:
        return 0.0
    best = _point_triangle(ax, ay, az, t)
    best = min(best, _point_triangle(ax + ux, ay + uy, az + uz, t))
    best = min(best, _segment_segment(ax, ay, az, ux, uy, uz, t, 0, 1))
    best = min(best, _segment_segment(ax, ay, az, ux, uy, uz, t, 1, 2))
    return float(min(best, _segment_segment(ax, ay, az, ux, uy, uz, t, 2, 0)))


@compiled
def _node_bound(
    low: Any,
    high: Any,
    node: int,
    ax: float,
    ay: float,
    az: float,
    ux: float,
    uy: float,
    uz: float,
    inverse: float,
) -> float:
    """A lower bound of the squared distance between a segment and a node's box.

    The greater of two bounds: box against the segment's own box, and segment to the node's enclosing sphere.
    """
    cx, cy, cz = (
        0.5 * (low[node, 0] + high[node, 0]),
        0.5 * (low[node, 1] + high[node, 1]),
        0.5 * (low[node, 2] + high[node, 2]),
    )
    hx, hy, hz = high[node, 0] - cx, high[node, 1] - cy, high[node, 2] - cz
    gx = max(0.0, abs(ax + 0.5 * ux - cx) - 0.5 * abs(ux) - hx)
    gy = max(0.0, abs(ay + 0.5 * uy - cy) - 0.5 * abs(uy) - hy)
    gz = max(0.0, abs(az + 0.5 * uz - cz) - 0.5 * abs(uz) - hz)
    boxes = gx * gx + gy * gy + gz * gz
    s = min(1.0, max(0.0, ((cx - ax) * ux + (cy - ay) * uy + (cz - az) * uz) * inverse))
    dx, dy, dz = ax + s * ux - cx, ay + s * uy - cy, az + s * uz - cz
    gap = np.sqrt(dx * dx + dy * dy + dz * dz) - np.sqrt(hx * hx + hy * hy + hz * hz)
    if gap > 0.0:
        return float(max(boxes, gap * gap))
    return float(boxes)


@compiled_parallel
def _segment_distances(
    start: Any, end: Any, cap: float, triangles: Any, low: Any, high: Any, link: Any, count: Any, result: Any
) -> None:
    for i in prange(start.shape[0]):
        ax, ay, az = start[i, 0], start[i, 1], start[i, 2]
        ux, uy, uz = end[i, 0] - ax, end[i, 1] - ay, end[i, 2] - az
        length = ux * ux + uy * uy + uz * uz
        inverse = 1.0 / length if length > 0.0 else 0.0
        best = cap * cap
        stack = np.empty(_STACK_SIZE, np.int64)
        bounds = np.empty(_STACK_SIZE)
        stack[0] = 0
        bounds[0] = _node_bound(low, high, 0, ax, ay, az, ux, uy, uz, inverse)
        top = 1
        while top > 0 and best > 0.0:
            top -= 1
            if bounds[top] >= best:
                continue
            node = stack[top]
            if count[node] > 0:
                for k in range(link[node], link[node] + count[node]):
                    best = min(best, _segment_triangle(ax, ay, az, ux, uy, uz, triangles[k]))
                continue
            child = link[node]
            first = _node_bound(low, high, child, ax, ay, az, ux, uy, uz, inverse)
            second = _node_bound(low, high, child + 1, ax, ay, az, ux, uy, uz, inverse)
            near, far = child, child + 1
            if second < first:
                near, far = far, near
                first, second = second, first
            if second < best:
                stack[top] = far
                bounds[top] = second
                top += 1
            if first < best:
                stack[top] = near
                bounds[top] = first
                top += 1
        result[i] = np.sqrt(best)


@compiled_parallel
def _segment_crossings(
    start: Any,
    end: Any,
    triangles: Any,
    faces: Any,
    low: Any,
    high: Any,
    link: Any,
    count: Any,
    hits: Any,
    parameter: Any,
    face: Any,
    sign: Any,
) -> None:
    for i in prange(start.shape[0]):
        ax, ay, az = start[i, 0], start[i, 1], start[i, 2]
        ux, uy, uz = end[i, 0] - ax, end[i, 1] - ay, end[i, 2] - az
        length = ux * ux + uy * uy + uz * uz
        inverse = 1.0 / length if length > 0.0 else 0.0
        stack = np.empty(_STACK_SIZE, np.int64)
        stack[0] = 0
        top = 1
        found = 0
        while top > 0:
            top -= 1
            node = stack[top]
            # A hair of slack keeps a path that runs exactly in a face of a box.
            if _node_bound(low, high, node, ax, ay, az, ux, uy, uz, inverse) > 1e-18:
                continue
            if count[node] == 0:
                stack[top] = link[node]
                stack[top + 1] = link[node] + 1
                top += 2
                continue
            for k in range(link[node], link[node] + count[node]):
                hit, s, facing = _crossing(ax, ay, az, ux, uy, uz, triangles[k])
                if hit:
                    if found < parameter.shape[1]:
                        parameter[i, found] = s
                        face[i, found] = faces[k]
                        sign[i, found] = 1 if facing > 0.0 else -1
                    found += 1
        hits[i] = found


@dataclass(frozen=True, slots=True, eq=False)
class Crossings:
    """Where paths pass a closed surface.

    Attributes:
        count: (n,) number of crossings of each path, neighbouring faces hit at one edge counted once.
        parameter: (n, k) positions along the path in 0..1, ascending; inf behind the last.
        face: (n, k) face index of each crossing; -1 behind the last.
        outward: (n, k) True where the path leaves the surface's inside there.
    """

    count: NDArray[np.int64]
    parameter: FloatArray
    face: NDArray[np.int64]
    outward: NDArray[np.bool_]

    def joined(self, parts: int) -> "Crossings":
        """Crossings of paths made of ``parts`` equal pieces each, whose own crossings these are, piece by piece.

        Raises:
            GeometryError: the number of segments is not a multiple of ``parts``.
        """
        if parts < 1 or len(self.count) % parts:
            raise GeometryError(f"{len(self.count)} segments are not paths of {parts} parts each")
        n = len(self.count) // parts
        place = np.tile(np.arange(parts, dtype=np.float64), n)[:, None]
        parameter = ((self.parameter + place) / parts).reshape(n, -1)
        face, outward = self.face.reshape(n, -1), self.outward.reshape(n, -1)
        return _merged(parameter, face, np.where(outward, 1, -1), np.full((n, 1), 1e-9))


def _merged(parameter: FloatArray, face: NDArray[np.int64], sign: NDArray[Any], apart: FloatArray) -> Crossings:
    """Sorted crossings without doubles: hits nearer than ``apart`` (n, 1) that go the same way are one."""
    rank = np.argsort(parameter, axis=1, kind="stable")
    parameter = np.take_along_axis(parameter, rank, axis=1)
    face = np.take_along_axis(face, rank, axis=1)
    sign = np.take_along_axis(sign, rank, axis=1)
    with np.errstate(invalid="ignore"):
        gap = np.diff(parameter, axis=1)
    same = np.zeros(parameter.shape, dtype=bool)
    same[:, 1:] = (gap < apart) & (sign[:, 1:] == sign[:, :-1])
    parameter = np.where(same, np.inf, parameter)
    rank = np.argsort(parameter, axis=1, kind="stable")
    parameter = np.take_along_axis(parameter, rank, axis=1)
    missing = ~np.isfinite(parameter)
    face = np.where(missing, -1, np.take_along_axis(face, rank, axis=1))
    outward = np.where(missing, False, np.take_along_axis(sign, rank, axis=1) > 0)
    return Crossings((~missing).sum(axis=1), parameter, face, outward)


class MeshTree:
    """Exact queries of one mesh.

    Args:
        mesh: the surface; open and non-manifold meshes are allowed for distances.
    """

    def __init__(self, mesh: SurfaceMesh) -> None:
        corners = mesh.triangles_mm
        low = np.ascontiguousarray(corners.min(axis=1))
        high = np.ascontiguousarray(corners.max(axis=1))
        self._order = np.arange(len(corners), dtype=np.int64)
        size = max(1, 2 * len(corners))
        self._low, self._high = np.empty((size, 3)), np.empty((size, 3))
        self._link, self._count = np.empty(size, np.int64), np.empty(size, np.int64)
        used = _build(low, high, 0.5 * (low + high), self._order, self._low, self._high, self._link, self._count)
        self._low, self._high = self._low[:used].copy(), self._high[:used].copy()
        self._link, self._count = self._link[:used].copy(), self._count[:used].copy()
        self._triangles = np.ascontiguousarray(corners[self._order].reshape(-1, 9))

    def segment_distance_mm(self, start_mm: ArrayLike, end_mm: ArrayLike, cap_mm: float = np.inf) -> FloatArray:
        """Exact least distance between line segments and the surface.

        Args:
            start_mm: (n, 3) first ends.
            end_mm: (n, 3) second ends; equal to the first for a point.
            cap_mm: distances beyond it are not searched for.

        Returns:
            (n,) distances, 0 where a segment crosses or touches, ``cap_mm`` where it is at least that.
        """
        start, end = _points(start_mm), _points(end_mm)
        result = np.empty(len(start))
        _segment_distances(
            start, end, float(cap_mm), self._triangles, self._low, self._high, self._link, self._count, result
        )
        return result

    def crossings(self, start_mm: ArrayLike, end_mm: ArrayLike) -> Crossings:
        """All points where segments (n, 3) to (n, 3) pass the surface.

        Hits closer than a micrometre along the path that go the same way are one crossing (an edge shared by
        two faces is met twice).
        """
        start, end = _points(start_mm), _points(end_mm)
        n = len(start)
        room = _USUAL_HITS
        while True:
            hits = np.zeros(n, np.int64)
            parameter = np.full((n, room), np.inf)
            face = np.full((n, room), -1, np.int64)
            sign = np.zeros((n, room), np.int8)
            _segment_crossings(
                start, end, self._triangles, self._order, self._low, self._high, self._link, self._count, hits,
                parameter, face, sign,
            )  # fmt: skip
            if not n or hits.max() <= room:
                break
            room = int(hits.max())
        widest = max(1, int(hits.max()) if n else 1)
        length = np.linalg.norm(end - start, axis=1, keepdims=True)
        # A micrometre, as a share of the path.
        apart = 1e-3 / np.maximum(length, 1e-300)
        return _merged(parameter[:, :widest], face[:, :widest], sign[:, :widest], apart)

    def contains(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """For points (n, 3): True inside the closed surface.

        Decided by the parity of the crossings along three oblique rays, by majority, so that one ray that
        grazes an edge does not decide.
        """
        points = _points(points_mm)
        low, high = self._low[0], self._high[0]
        reach = float(np.linalg.norm(high - low)) + 1.0
        inside_box = ((points >= low) & (points <= high)).all(axis=1)
        result = np.zeros(len(points), dtype=bool)
        rows = np.flatnonzero(inside_box)
        for first in range(0, len(rows), _CHUNK):
            part = rows[first : first + _CHUNK]
            candidates = points[part]
            votes = np.zeros(len(part), np.int64)
            for direction in _PROBE_DIRECTIONS:
                crossings = self.crossings(candidates, candidates + reach * direction)
                votes += (crossings.count % 2 == 1).astype(np.int64)
            result[part] = votes >= 2
        return result


_PROBE_DIRECTIONS = (
    np.array([0.57358, 0.61237, 0.54414]) / np.linalg.norm([0.57358, 0.61237, 0.54414]),
    np.array([-0.31415, 0.70711, -0.63354]) / np.linalg.norm([-0.31415, 0.70711, -0.63354]),
    np.array([0.12911, -0.44721, 0.88509]) / np.linalg.norm([0.12911, -0.44721, 0.88509]),
)


def _points(points_mm: ArrayLike) -> FloatArray:
    """(n, 3) contiguous float64; raises GeometryError where it is not."""
    array = np.ascontiguousarray(points_mm, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise GeometryError(f"points must have the shape (n, 3), not {array.shape}")
    return array
