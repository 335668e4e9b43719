"""Closed contours as voxels: a voxel is inside where its centre is.

In its plane a point is inside a region where a ray from it crosses the region's contours an odd number of times.
So contours within others are holes, islands in holes are inside again, and a keyhole's channel, passed twice, is
nothing. A plane of contours stands for the slab that reaches half way to its neighbours: a voxel belongs to the
nearest plane of its region and is projected onto it along the normal; farther than half the distance of planes from
all of them it is outside.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.compiled import compiled
from needleplan.errors import CaseError
from needleplan.frames import FloatArray
from needleplan.grid import Grid
from needleplan.io.dicom.structure_set import Contour, Region, StructureSet
from needleplan.io.labels import LabelVolume, Segment

#: A contour's points may lie this far from its plane, and two planes this far apart are one.
PLANE_TOLERANCE_MM = 0.1
#: Voxels times edges that are compared at most for one region; contours of organs need a hundredth of it.
_MAXIMUM_COMPARISONS = 20_000_000_000
#: Layers of overlapping regions that are allocated at most, in bytes.
_MAXIMUM_LAYER_BYTES = 2_147_483_648


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """The parallel planes of a region.

    Attributes:
        axes: (3, 3) rows: two directions in the planes, and their normal.
        offsets_mm: (p,) places of the planes along the normal, rising.
        edges: for each plane (e, 4): start and end of the contours' edges in the plane.
        pitch_mm: distance of planes; a slab reaches half of it beyond the last one.
    """

    axes: FloatArray
    offsets_mm: FloatArray
    edges: tuple[FloatArray, ...]
    pitch_mm: float


def rasterise(structures: StructureSet, grid: Grid) -> LabelVolume:
    """The closed contours of a structure set as a label map; region numbers become labels from 1 in their order.

    Regions without closed contours (points, needles) are left out. Regions that overlap lie in different layers.

    Args:
        structures: the contours.
        grid: the grid, in the same frame of reference.

    Raises:
        CaseError: no region is closed, a closed contour is not planar, the contours of a region lie in planes of
            different directions, or one whole region lies outside the grid.
    """
    closed = [region for region in structures.regions if any(c.kind.is_closed for c in region.contours)]
    if not closed:
        raise CaseError("the structure set has no closed contour, so it bounds no volume")
    layers: list[NDArray[Any]] = []
    segments = []
    kind = np.dtype(np.uint8 if len(closed) < 256 else np.uint16)
    for value, region in enumerate(closed, 1):
        start, inside = region_mask(region, grid)
        spans = tuple(slice(low, low + n) for low, n in zip(start, inside.shape, strict=True))
        place = next((n for n, layer in enumerate(layers) if not layer[spans][inside].any()), len(layers))
        if place == len(layers):
            if (place + 1) * int(np.prod(grid.shape)) * kind.itemsize > _MAXIMUM_LAYER_BYTES:
                raise CaseError("the regions overlap so much that their layers would not fit into memory")
            layers.append(np.zeros(grid.shape[::-1], dtype=kind).transpose(2, 1, 0))
        layers[place][spans][inside] = value
        segments.append(Segment(region.name, value, place))
    note = "DICOM patient coordinates (LPS, mm); voxels whose centre lies within the contours"
    return LabelVolume(grid, tuple(layers), tuple(segments), note, structures.source.frame_of_reference_uid)


def region_mask(region: Region, grid: Grid) -> tuple[tuple[int, int, int], NDArray[np.bool_]]:
    """The voxels of a region: the index of the first of a box of them, and which of the box lie inside.

    Raises:
        CaseError: as ``rasterise``.
    """
    planes = _planes(region, grid)
    low, high = _box(region, planes, grid)
    shape = tuple(int(n) for n in high - low)
    inside = np.zeros(shape, dtype=bool)
    bucketed = [_bucketed(edges) for edges in planes.edges]
    work = shape[0] * shape[1] * sum(int(np.diff(bands[1]).max()) for bands in bucketed)
    if work * max(1.0, shape[2] / len(bucketed)) > _MAXIMUM_COMPARISONS:
        raise CaseError(f"region {region.name!r}: its contours are too tangled to be rasterised")
    for plane in range(shape[2]):
        index = np.indices(shape[:2]).reshape(2, -1).T + low[:2]
        centres = grid.to_patient(np.column_stack([index, np.full(len(index), low[2] + plane)]))
        turned = centres @ planes.axes.T
        nearest = _nearest(planes, turned[:, 2])
        found = np.zeros(len(index), dtype=bool)
        for number in np.unique(nearest[nearest >= 0]).tolist():
            chosen = nearest == number
            found[chosen] = _inside(turned[chosen, :2], *bucketed[number])
        inside[:, :, plane] = found.reshape(shape[:2])
    if not inside.any():
        raise CaseError(f"region {region.name!r}: no voxel centre lies within its contours")
    return (int(low[0]), int(low[1]), int(low[2])), inside


def _planes(region: Region, grid: Grid) -> _Planes:
    contours = [contour for contour in region.contours if contour.kind.is_closed]
    normals = [(contour, *_normal(contour)) for contour in contours]
    usable = [contour for contour, _, area in normals if area > 0]
    if not usable:
        raise CaseError(f"region {region.name!r}: its contours enclose no area")
    # The largest contour knows its direction best; a triangle of three near points hardly does.
    normal = max(normals, key=lambda entry: entry[2])[1]
    for contour in usable:
        if np.ptp(contour.points_mm @ normal) > PLANE_TOLERANCE_MM:
            raise CaseError(
                f"region {region.name!r}: its contours lie in planes of several directions, or bend, so no volume "
                "is stated; export contours of one direction"
            )
    first = np.cross(normal, np.eye(3)[int(np.argmin(np.abs(normal)))])
    first /= np.linalg.norm(first)
    axes = np.stack([first, np.cross(normal, first), normal])
    turned = [contour.points_mm @ axes.T for contour in usable]
    heights = np.array([points[:, 2].mean() for points in turned])
    order = np.argsort(heights, kind="stable")
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(np.diff(heights[order], prepend=heights[order[0]]) > PLANE_TOLERANCE_MM)
    offsets, edges = [], []
    for number in range(int(group.max()) + 1):
        members = np.flatnonzero(group == number)
        offsets.append(float(heights[members].mean()))
        edges.append(
            np.concatenate([np.hstack([turned[m][:, :2], np.roll(turned[m][:, :2], -1, axis=0)]) for m in members])
        )
    slabs = [contour.slab_mm for contour in usable if contour.slab_mm is not None]
    if len(offsets) > 1:
        pitch = float(np.diff(offsets).min())
    elif slabs:
        pitch = float(np.median(slabs))
    else:
        # A single plane is as thick as the grid's step across it.
        pitch = float(np.abs(normal @ grid.T_PV[:3, :3]).max())
    return _Planes(axes, np.array(offsets), tuple(edges), pitch)


def _normal(contour: Contour) -> tuple[FloatArray, float]:
    """Unit normal, with its largest component positive, and area in mm^2 (Newell's sum)."""
    points = contour.points_mm - contour.points_mm[0]
    vector = 0.5 * np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
    area = float(np.linalg.norm(vector))
    if area < 1e-9:
        return np.zeros(3), 0.0
    normal = vector / area
    return normal * (1.0 if normal[int(np.argmax(np.abs(normal)))] > 0 else -1.0), area


def _box(region: Region, planes: _Planes, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last (exclusive) voxel index that the slabs of a region can reach."""
    points = np.concatenate([contour.points_mm for contour in region.contours if contour.kind.is_closed])
    reach = 0.5 * planes.pitch_mm * planes.axes[2]
    index = grid.to_index(np.concatenate([points - reach, points + reach]))
    # A wide gap of planes is filled to half the pitch only, so nothing reaches beyond these.
    low = np.clip(np.floor(index.min(axis=0)), 0, grid.shape).astype(np.int64)
    high = np.clip(np.ceil(index.max(axis=0)) + 1, 0, grid.shape).astype(np.int64)
    if (high <= low).any():
        raise CaseError(f"region {region.name!r}: it lies outside the grid")
    return low, high


def _nearest(planes: _Planes, heights_mm: FloatArray) -> NDArray[np.int64]:
    """Number of the plane whose slab holds each height; -1 for none. Half way belongs to the upper slab."""
    rounding = 1e-6 * planes.pitch_mm
    gaps = np.diff(planes.offsets_mm)
    number = np.searchsorted(planes.offsets_mm[:-1] + 0.5 * gaps, heights_mm + rounding, side="right")
    # Uneven steps leave no gap between slabs; where a plane is missing the slabs end at half the usual distance.
    halves = 0.5 * np.where(gaps > 1.5 * planes.pitch_mm, planes.pitch_mm, gaps)
    below, above = (
        np.concatenate(ends) for ends in (([0.5 * planes.pitch_mm], halves), (halves, [0.5 * planes.pitch_mm]))
    )
    away = heights_mm - planes.offsets_mm[number]
    return np.where((away >= -below[number] - rounding) & (away < above[number] - rounding), number, -1)


def _bucketed(edges: FloatArray) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.int64], float, float]:
    """Edges sorted into bands of their second coordinate: edges, first of each band, members, start, band width."""
    low, high = np.minimum(edges[:, 1], edges[:, 3]), np.maximum(edges[:, 1], edges[:, 3])
    start, end = float(low.min()), float(high.max())
    # Not more bands than the longest edges leave memory for.
    count = int(np.clip((end - start) / max(float(np.mean(high - low)), 1e-9), 1, 4 * len(edges)))
    width = max((end - start) / count, 1e-12)
    first = np.clip(((low - start) / width).astype(np.int64), 0, count - 1)
    last = np.clip(((high - start) / width).astype(np.int64), 0, count - 1)
    spread = last - first + 1
    owner = np.repeat(np.arange(len(edges)), spread)
    band = np.repeat(first, spread) + np.arange(len(owner)) - np.repeat(np.cumsum(spread) - spread, spread)
    order = np.argsort(band, kind="stable")
    starts = np.searchsorted(band[order], np.arange(count + 1))
    return edges, starts.astype(np.int64), owner[order].astype(np.int64), start, width


@compiled
def _inside(points: Any, edges: Any, starts: Any, members: Any, start: float, width: float) -> Any:
    """True for points (n, 2) from which a ray along the first axis crosses an odd number of edges (e, 4)."""
    found = np.zeros(len(points), dtype=np.bool_)
    bands = len(starts) - 1
    for n in range(len(points)):
        x, y = points[n, 0], points[n, 1]
        place = (y - start) / width
        if place < 0.0 or place > bands:
            continue
        band = min(int(place), bands - 1)
        odd = False
        for m in range(starts[band], starts[band + 1]):
            edge = members[m]
            x0, y0, x1, y1 = edges[edge, 0], edges[edge, 1], edges[edge, 2], edges[edge, 3]
            # Half open, so that a corner between two edges counts once. Computed from the lower end, so that an
            # edge that is passed both ways, as a keyhole's, cancels to the last bit.
            if (y0 > y) != (y1 > y):
                if y0 > y1:
                    x0, y0, x1, y1 = x1, y1, x0, y0
                if x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                    odd = not odd
        found[n] = odd
    return found
