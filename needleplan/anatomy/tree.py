"""Exact distances and crossings between needle paths and a triangle mesh."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.box_tree import STACK_SIZE, WIDTH, build_boxes, crossings_of_segment, nearest_to_segment
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.compiled import compiled, compiled_parallel, prange
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray

#: Faces met by one path for which there is room at first; more are counted and then stored in a second pass.
_USUAL_HITS = 16
#: Hits nearer than a micrometre that go the same way are one crossing: an edge is met in both of its faces.
_SAME_MM = 1e-3
#: The same as a share of a path that is joined from chords.
_SAME_SHARE = 1e-9
#: Points decided at a time by ``contains``, which bounds its memory.
_CHUNK = 65_536
#: Paths measured one after the other, each with the help of the last.
_BLOCK = 32
#: Blocks are dealt out in so many hands.
_LANES = 16
#: Paths of fewer than this are measured on one core: waking the others takes longer.
SERIAL_PATHS = 64


@compiled
def _measure_block(
    block: int, start: Any, end: Any, cap: float, enough: float, triangles: Any, origin: Any, boxes: Any,
    child: Any, result: Any,
) -> None:  # fmt: skip
    """Distances of ``_BLOCK`` consecutive paths: tables list alike paths together, so one's nearest face is tried
    first for the next."""
    stack = np.empty(STACK_SIZE, np.int64)
    bounds = np.empty(STACK_SIZE, np.float32)
    near = np.empty(WIDTH, np.float32)
    guess = 0
    for i in range(block * _BLOCK, min((block + 1) * _BLOCK, start.shape[0])):
        square, guess = nearest_to_segment(
            start[i, 0], start[i, 1], start[i, 2], end[i, 0] - start[i, 0], end[i, 1] - start[i, 1],
            end[i, 2] - start[i, 2], cap * cap, enough * enough, guess, triangles, origin, boxes, child,
            stack, bounds, near,
        )  # fmt: skip
        result[i] = np.sqrt(square)


@compiled_parallel
def _segment_distances(
    start: Any, end: Any, cap: float, enough: float, triangles: Any, origin: Any, boxes: Any, child: Any,
    result: Any,
) -> None:  # fmt: skip
    blocks = (start.shape[0] + _BLOCK - 1) // _BLOCK
    # Each core is given consecutive numbers: dealt out in turn, hard and easy parts of a table fall to all of them.
    hand = (blocks + _LANES - 1) // _LANES
    for b in prange(hand * _LANES):
        block = (b % hand) * _LANES + b // hand
        if block < blocks:
            _measure_block(block, start, end, cap, enough, triangles, origin, boxes, child, result)


@compiled
def _few_segment_distances(
    start: Any, end: Any, cap: float, enough: float, triangles: Any, origin: Any, boxes: Any, child: Any,
    result: Any,
) -> None:  # fmt: skip
    for block in range((start.shape[0] + _BLOCK - 1) // _BLOCK):
        _measure_block(block, start, end, cap, enough, triangles, origin, boxes, child, result)


@compiled
def _in_order(parameter: Any, face: Any, sign: Any, found: int, apart: float) -> int:
    """Sort a path's hits along it, merge those nearer than ``apart`` that go the same way; returns their number."""
    for a in range(1, found):
        p, f, g = parameter[a], face[a], sign[a]
        b = a - 1
        while b >= 0 and parameter[b] > p:
            parameter[b + 1], face[b + 1], sign[b + 1] = parameter[b], face[b], sign[b]
            b -= 1
        parameter[b + 1], face[b + 1], sign[b + 1] = p, f, g
    kept = 0
    before, way = -np.inf, 0
    for a in range(found):
        p, f, g = parameter[a], face[a], sign[a]
        # Compared with the hit just before, kept or not: a row of near hits is one crossing.
        same = a > 0 and p - before < apart and g == way
        before, way = p, g
        if not same:
            parameter[kept], face[kept], sign[kept] = p, f, g
            kept += 1
    for a in range(kept, found):
        parameter[a], face[a], sign[a] = np.inf, -1, 0
    return kept


@compiled
def _cross_one(
    i: int,
    start: Any,
    end: Any,
    triangles: Any,
    faces: Any,
    origin: Any,
    boxes: Any,
    child: Any,
    parameter: Any,
    face: Any,
    sign: Any,
) -> int:
    stack = np.empty(STACK_SIZE, np.int64)
    near = np.empty(WIDTH, np.float32)
    found = crossings_of_segment(
        start[i, 0], start[i, 1], start[i, 2], end[i, 0] - start[i, 0], end[i, 1] - start[i, 1],
        end[i, 2] - start[i, 2], triangles, faces, origin, boxes, child, stack, near, parameter[i],
        face[i], sign[i],
    )  # fmt: skip
    if found > parameter.shape[1]:
        return found
    ux, uy, uz = end[i, 0] - start[i, 0], end[i, 1] - start[i, 1], end[i, 2] - start[i, 2]
    length = np.sqrt(ux * ux + uy * uy + uz * uz)
    return _in_order(parameter[i], face[i], sign[i], found, _SAME_MM / max(length, 1e-300))


@compiled_parallel
def _segment_crossings(
    start: Any,
    end: Any,
    triangles: Any,
    faces: Any,
    origin: Any,
    boxes: Any,
    child: Any,
    hits: Any,
    parameter: Any,
    face: Any,
    sign: Any,
) -> None:
    for i in prange(start.shape[0]):
        hits[i] = _cross_one(i, start, end, triangles, faces, origin, boxes, child, parameter, face, sign)


@compiled
def _few_segment_crossings(
    start: Any,
    end: Any,
    triangles: Any,
    faces: Any,
    origin: Any,
    boxes: Any,
    child: Any,
    hits: Any,
    parameter: Any,
    face: Any,
    sign: Any,
) -> None:
    for i in range(start.shape[0]):
        hits[i] = _cross_one(i, start, end, triangles, faces, origin, boxes, child, parameter, face, sign)


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
        hits = np.isfinite(parameter).sum(axis=1)
        sign = np.where(outward, 1, -1).astype(np.int8)
        rank = np.argsort(parameter, axis=1, kind="stable")
        parameter = np.take_along_axis(parameter, rank, axis=1)
        face, sign = np.take_along_axis(face, rank, axis=1), np.take_along_axis(sign, rank, axis=1)
        # Chords meet at their ends: a crossing just there is found in both.
        for row in np.flatnonzero(hits > 1):
            hits[row] = _in_order(parameter[row], face[row], sign[row], hits[row], _SAME_SHARE)
        return Crossings(
            hits, parameter, np.where(np.isfinite(parameter), face, -1), (sign > 0) & np.isfinite(parameter)
        )

    @classmethod
    def put_together(cls, parts: "Sequence[tuple[NDArray[np.int64], Crossings]]", n: int) -> "Crossings":
        """Crossings of ``n`` paths from those of some of them: pairs of their rows and what was found there."""
        width = max((part.parameter.shape[1] for _, part in parts), default=1)
        count, parameter = np.zeros(n, dtype=np.int64), np.full((n, width), np.inf)
        face, outward = np.full((n, width), -1, dtype=np.int64), np.zeros((n, width), dtype=np.bool_)
        for rows, part in parts:
            here = part.parameter.shape[1]
            count[rows] = part.count
            parameter[rows, :here], face[rows, :here], outward[rows, :here] = (
                part.parameter,
                part.face,
                part.outward,
            )
        return cls(count, parameter, face, outward)


class MeshTree:
    """Exact queries of one mesh.

    Args:
        mesh: the surface; open and non-manifold meshes are allowed for distances.
    """

    def __init__(self, mesh: SurfaceMesh) -> None:
        corners = np.ascontiguousarray(mesh.triangles_mm.reshape(-1, 9))
        m = len(corners)
        self._order = np.arange(m, dtype=np.int64)
        self._bounds = mesh.bounds_mm
        # Boxes are kept in float32 relative to the middle; the fourth number is the size of such coordinates.
        self._origin = np.append(self._bounds.mean(axis=0), np.abs(np.diff(self._bounds, axis=0)).sum())
        # A node has at least two children, and every leaf holds at least one triangle.
        boxes = np.empty((m, 6, WIDTH), np.float32)
        child = np.empty((m, 2, WIDTH), np.int32)
        used = build_boxes(corners, self._order, self._origin, boxes, child)
        self._boxes, self._child = boxes[:used].copy(), child[:used].copy()
        self._triangles = corners[self._order]

    @property
    def bounds_mm(self) -> FloatArray:
        """(2, 3) least and greatest coordinates of the mesh."""
        return self._bounds

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Triangles, origin, boxes and children as the kernels of ``box_tree`` take them."""
        return self._triangles, self._origin, self._boxes, self._child

    def segment_distance_mm(self, start_mm: ArrayLike, end_mm: ArrayLike, cap_mm: float = np.inf) -> FloatArray:
        """Exact least distance between line segments and the surface.

        Args:
            start_mm: (n, 3) first ends.
            end_mm: (n, 3) second ends; equal to the first for a point.
            cap_mm: distances beyond it are not searched for.

        Returns:
            (n,) distances, 0 where a segment crosses or touches, ``cap_mm`` where it is at least that.
        """
        return self._distance_mm(path_points(start_mm), path_points(end_mm), float(cap_mm), 0.0)

    def keeps_distance(self, start_mm: ArrayLike, end_mm: ArrayLike, margin_mm: float) -> NDArray[np.bool_]:
        """(n,) True where line segments (n, 3) to (n, 3) are at least ``margin_mm`` from the surface.

        The same decisions as by ``segment_distance_mm``, sooner: the search for a segment ends with the first face
        that is too near.
        """
        # Nothing beyond the next number above the margin matters, and whatever is below the margin is enough.
        cap = float(np.nextafter(margin_mm * (1.0 + 1e-12), np.inf))
        return self._distance_mm(path_points(start_mm), path_points(end_mm), cap, float(margin_mm)) >= margin_mm

    def _distance_mm(self, start: FloatArray, end: FloatArray, cap_mm: float, enough_mm: float) -> FloatArray:
        result = np.empty(len(start))
        measure = _segment_distances if len(start) >= SERIAL_PATHS else _few_segment_distances
        measure(start, end, cap_mm, enough_mm, *self.arrays, result)
        return result

    def crossings(self, start_mm: ArrayLike, end_mm: ArrayLike) -> Crossings:
        """All points where segments (n, 3) to (n, 3) pass the surface.

        Hits closer than ``_SAME_MM`` along the path that go the same way are one crossing (an edge shared by two
        faces is met twice).
        """
        start, end = path_points(start_mm), path_points(end_mm)
        n = len(start)
        room = _USUAL_HITS
        while True:
            hits = np.zeros(n, np.int64)
            parameter = np.full((n, room), np.inf)
            face = np.full((n, room), -1, np.int64)
            sign = np.zeros((n, room), np.int8)
            meet = _segment_crossings if n >= SERIAL_PATHS else _few_segment_crossings
            meet(
                start, end, self._triangles, self._order, self._origin, self._boxes, self._child,
                hits, parameter, face, sign,
            )  # fmt: skip
            if not n or hits.max() <= room:
                break
            room = int(hits.max())
        widest = max(1, int(hits.max()) if n else 1)
        return Crossings(hits, parameter[:, :widest], face[:, :widest], sign[:, :widest] > 0)

    def contains(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """For points (n, 3): True inside the closed surface.

        Decided by the crossings along three oblique rays, by majority, so that one ray that grazes an edge does
        not decide.
        """
        points = path_points(points_mm)
        low, high = self.bounds_mm
        reach = float(np.linalg.norm(high - low)) + 1.0
        inside_box = ((points >= low) & (points <= high)).all(axis=1)
        result = np.zeros(len(points), dtype=bool)
        rows = np.flatnonzero(inside_box)
        for first in range(0, len(rows), _CHUNK):
            part = rows[first : first + _CHUNK]
            candidates = points[part]
            first_vote, second_vote = (self._leaves(candidates, reach * d) for d in _PROBE_DIRECTIONS[:2])
            inside = first_vote & second_vote
            # The third is only asked where the first two differ: it cannot change a majority that stands.
            torn = np.flatnonzero(first_vote != second_vote)
            inside[torn] = self._leaves(candidates[torn], reach * _PROBE_DIRECTIONS[2])
            result[part] = inside
        return result

    def _leaves(self, points: FloatArray, way: FloatArray) -> NDArray[np.bool_]:
        """(n,) True where segments from points (n, 3) along ``way`` (3,) leave the inside more often than enter it.

        Or less often, where all faces look inward. Within several nested or overlapping shells that is so as well,
        where counting crossings alone would find an even number; in a cavity, whose faces look into it, it is not.
        """
        found = self.crossings(points, points + way)
        return 2 * found.outward.sum(axis=1) != found.count


_PROBE_DIRECTIONS = (
    np.array([0.57358, 0.61237, 0.54414]) / np.linalg.norm([0.57358, 0.61237, 0.54414]),
    np.array([-0.31415, 0.70711, -0.63354]) / np.linalg.norm([-0.31415, 0.70711, -0.63354]),
    np.array([0.12911, -0.44721, 0.88509]) / np.linalg.norm([0.12911, -0.44721, 0.88509]),
)


def path_points(points_mm: ArrayLike) -> FloatArray:
    """(n, 3) contiguous float64; raises GeometryError where it is not."""
    array = np.ascontiguousarray(points_mm, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise GeometryError(f"points must have the shape (n, 3), not {array.shape}")
    return array
