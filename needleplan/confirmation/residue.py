"""What a zone left of a tumour: pieces, and where and how deep a touch-up must reach."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.confirmation.closed_body import ClosedBody, lattice_over, slack_mm
from needleplan.confirmation.smallest_ball import smallest_ball
from needleplan.frames import FloatArray, read_only
from needleplan.grid import Grid

#: The tumour is looked at in about so many cubes.
_CUBES = 60_000
#: Cubes are no smaller and no larger than this, in mm.
_EDGES_MM = (0.2, 1.0)
#: Distances are measured at no more points of a piece than this.
_DEEP_POINTS = 4000


@dataclass(frozen=True, slots=True, eq=False)
class ResiduePiece:
    """A connected piece of what was left.

    Attributes:
        volume_ml: its volume.
        centroid_mm: (3,) its centroid, patient LPS.
        deepest_mm: (3,) the point of it that is farthest from the zone.
        depth_mm: how far that is.
        ball_centre_mm: (3,) centre of the smallest ball about the piece; a touch-up aims there.
        ball_radius_mm: its radius, cubes included; the margin must be added.
        direction: (3,) unit vector from the zone's nearest place towards the deepest point; from the zone's middle
            where the two coincide.
    """

    volume_ml: float
    centroid_mm: FloatArray
    deepest_mm: FloatArray
    depth_mm: float
    ball_centre_mm: FloatArray
    ball_radius_mm: float
    direction: FloatArray

    def __post_init__(self) -> None:
        for name in ("centroid_mm", "deepest_mm", "ball_centre_mm", "direction"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


@dataclass(frozen=True, slots=True, eq=False)
class Residue:
    """What was left of a tumour, or of a tumour with a margin about it.

    Attributes:
        margin_mm: the margin; 0 for the tumour alone.
        left_ml: volume that the zone does not hold.
        pieces: connected pieces that reach farther beyond the zone than the voxels leave open, the largest first.
        unresolved_ml: volume in thinner pieces.
        tumour_ml: volume of the tumour, counted alike.
        cube_mm: edge of the cubes by which it is counted; thinner layers may go unseen.
    """

    margin_mm: float
    left_ml: float
    pieces: tuple[ResiduePiece, ...]
    unresolved_ml: float
    tumour_ml: float
    cube_mm: float


def measure_residue(tumour: ClosedBody, zone: ClosedBody, organ: ClosedBody | None, margin_mm: float) -> Residue:
    """Find the connected pieces of the tumour with a margin about it that the zone does not hold.

    Pieces that nowhere reach farther from the zone than the voxels leave open, by half a voxel of each surface
    along the way, are no pieces.

    Args:
        tumour: the tumour; all of it counts.
        zone: the aligned zone.
        organ: the margin counts only within it; None where there is none.
        margin_mm: the margin; 0 for the tumour alone.
    """
    from scipy.ndimage import label

    low, high = tumour.mesh.bounds_mm
    half_volume = 0.5 * float(np.prod(high - low + 2.0 * margin_mm))
    edge = min(max(float(np.cbrt(half_volume / _CUBES)), _EDGES_MM[0]), _EDGES_MM[1])
    lattice = lattice_over(low - margin_mm, high + margin_mm, edge)
    inside = tumour.holds(lattice)
    missed = ~zone.holds(lattice)
    left = inside & missed
    if margin_mm > 0:
        about = missed & ~inside
        if organ is not None:
            about &= organ.holds(lattice)
        index = np.argwhere(about)
        points = lattice.to_patient(index)
        near = tumour.tree.segment_distance_mm(points, points, 1.01 * margin_mm) <= margin_mm
        left[tuple(index[near].T)] = True
    # Cubes that touch at a corner are one piece.
    numbered, count = label(left, np.ones((3, 3, 3), dtype=bool))
    points, number = lattice.to_patient(np.argwhere(left)), numbered[left]
    parts = np.split(points[np.argsort(number, kind="stable")], np.cumsum(np.bincount(number)[1:])[:-1])
    parts = sorted(parts, key=len, reverse=True) if count else []
    others = (tumour,) if organ is None or not margin_mm > 0 else (tumour, organ)
    pieces = [piece for part in parts if (piece := _piece(lattice, part, zone, others)) is not None]
    left_ml = int(left.sum()) * lattice.voxel_volume_mm3 / 1000.0
    return Residue(
        margin_mm=margin_mm,
        left_ml=left_ml,
        pieces=tuple(pieces),
        unresolved_ml=max(0.0, left_ml - sum(piece.volume_ml for piece in pieces)),
        tumour_ml=int(inside.sum()) * lattice.voxel_volume_mm3 / 1000.0,
        cube_mm=float(lattice.spacing_mm[0]),
    )


def _piece(
    lattice: Grid, points: FloatArray, zone: ClosedBody, others: Sequence[ClosedBody]
) -> ResiduePiece | None:
    """The piece of the cubes about points (n, 3); None where the voxels do not tell it from none."""
    looked_at = points[:: math.ceil(len(points) / _DEEP_POINTS)]
    distance = zone.tree.segment_distance_mm(looked_at, looked_at)
    row = int(np.argmax(distance))
    deepest, depth = looked_at[row], float(distance[row])
    if not _told(zone, others, looked_at, distance):
        return None
    centre, radius = smallest_ball(points)
    return ResiduePiece(
        volume_ml=len(points) * lattice.voxel_volume_mm3 / 1000.0,
        centroid_mm=points.mean(axis=0),
        deepest_mm=deepest,
        depth_mm=depth,
        ball_centre_mm=centre,
        ball_radius_mm=radius + lattice.half_diagonal_mm,
        direction=_outward(zone, deepest[None], distance[row : row + 1])[0],
    )


def _told(zone: ClosedBody, others: Sequence[ClosedBody], points: FloatArray, distance_mm: FloatArray) -> bool:
    """True where a point (n, 3) lies farther from the zone than the voxels tell its surface from all others."""
    way = _outward(zone, points, distance_mm)
    return bool((distance_mm > np.max([slack_mm(way, zone, other) for other in others], axis=0)).any())


def _outward(zone: ClosedBody, points: FloatArray, depth_mm: FloatArray) -> FloatArray:
    """(n, 3) unit vectors in which the distance from the zone grows fastest at points, by central differences."""
    step = np.maximum(1e-3, 0.01 * depth_mm)[:, None, None]
    ends = points[:, None] + step * np.concatenate([np.eye(3), -np.eye(3)])
    distance = zone.tree.segment_distance_mm(ends.reshape(-1, 3), ends.reshape(-1, 3)).reshape(-1, 6)
    slope = distance[:, :3] - distance[:, 3:]
    flat = np.linalg.norm(slope, axis=1) < 1e-9
    if flat.any():
        slope[flat] = points[flat] - zone.mesh.bounds_mm.mean(axis=0)
    return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
