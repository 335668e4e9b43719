"""From label maps to the mask of a structure: choosing labels, uniting grids, taking one component."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import CaseError
from needleplan.frames import FloatArray
from needleplan.grid import Grid, VoxelMask
from needleplan.io.labels import LabelVolume

Spans = tuple[slice, slice, slice]
CutSides = tuple[tuple[bool, bool], tuple[bool, bool], tuple[bool, bool]]

#: Two grids are one lattice where their voxel centres coincide to this fraction of a voxel.
_LATTICE_TOLERANCE = 0.02


class LabelIndex:
    """The labels of one volume with the box that each occupies, found once and used for every structure."""

    def __init__(self, volume: LabelVolume) -> None:
        from scipy.ndimage import find_objects

        self.volume = volume
        self._boxes: list[dict[int, Spans]] = [
            {
                value: (box[2], box[1], box[0])
                for value, box in enumerate(find_objects(layer.T), 1)
                if box is not None
            }
            # Files store the first index fastest; the transposed view is read in the order of memory.
            for layer in volume.layers
        ]

    def mask(self, labels: Sequence[int | str], where: str) -> VoxelMask:
        """The voxels that hold one of ``labels``, cropped.

        Args:
            labels: numbers, or names of segments.
            where: file, for the messages.

        Raises:
            CaseError: a label is unknown or has no voxel; the sentence lists those that there are.
        """
        chosen: list[set[int]] = [set() for _ in self.volume.layers]
        for label in labels:
            layer, value = self._find(label, where)
            chosen[layer].add(value)
        boxes = [self._boxes[layer][value] for layer, values in enumerate(chosen) for value in values]
        low = [min(box[axis].start for box in boxes) for axis in range(3)]
        high = [max(box[axis].stop for box in boxes) for axis in range(3)]
        spans: Spans = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        inside = np.zeros([h - n for n, h in zip(low, high, strict=True)], dtype=bool)
        for layer, values in enumerate(chosen):
            if values:
                inside |= _is_one_of(self.volume.layers[layer][spans], values, set(self._boxes[layer]))
        grid = self.volume.grid
        cut = tuple((low[axis] == 0, high[axis] == grid.shape[axis]) for axis in range(3))
        return VoxelMask(grid.cropped((low[0], low[1], low[2]), inside.shape), inside, cut)  # type: ignore[arg-type]

    def _find(self, label: int | str, where: str) -> tuple[int, int]:
        """Layer and value of a label."""
        if isinstance(label, str):
            for segment in self.volume.segments:
                if segment.name == label:
                    if segment.value not in self._boxes[segment.layer]:
                        raise CaseError(f"{where}: the segment {label!r} is empty")
                    return segment.layer, segment.value
            names = ", ".join(repr(segment.name) for segment in self.volume.segments) or "none, only numbers"
            raise CaseError(f"{where}: there is no segment named {label!r}; its names are {_short(names)}")
        if len(self._boxes) > 1:
            raise CaseError(f"{where}: its segments overlap, so they must be chosen by name and not by {label}")
        if label not in self._boxes[0]:
            for segment in self.volume.segments:
                if segment.value == label:
                    raise CaseError(f"{where}: the label {label} ({segment.name}) is empty")
            there = ", ".join(str(value) for value in self._boxes[0]) or "none at all"
            raise CaseError(f"{where}: there is no label {label}; its labels are {_short(there)}")
        return 0, label


def _short(text: str) -> str:
    return text if len(text) <= 400 else text[:400] + " ..."


def _is_one_of(part: NDArray[np.integer[Any]], values: set[int], present: set[int]) -> NDArray[np.bool_]:
    """True where ``part`` holds one of ``values``."""
    if values == present:
        return np.asarray(part != 0)
    if len(values) == 1:
        return np.asarray(part == next(iter(values)))
    table = np.zeros(max(present) + 1, dtype=bool)
    table[list(values)] = True
    return np.asarray(table[part])


def trimmed(mask: VoxelMask, inside: NDArray[np.bool_]) -> VoxelMask:
    """``inside``, a part of ``mask``, cropped; a side stays cut where the part still touches it."""
    part = VoxelMask.cropped(mask.grid, inside)
    cut = tuple(
        (part.cut_sides[axis][0] and mask.cut_sides[axis][0], part.cut_sides[axis][1] and mask.cut_sides[axis][1])
        for axis in range(3)
    )
    return VoxelMask(part.grid, part.inside, cut)  # type: ignore[arg-type]


def component(mask: VoxelMask, rank: int | None, nearest_mm: ArrayLike | None) -> VoxelMask:
    """One connected component, voxels being connected through shared faces.

    Args:
        mask: the whole mask.
        rank: place in the order of volume, 1 for the largest.
        nearest_mm: (3,) point in patient LPS mm, used where ``rank`` is None.

    Raises:
        CaseError: there are fewer components than ``rank``.
    """
    from scipy.ndimage import label

    numbered, count = label(mask.inside)
    if rank is not None:
        sizes = np.bincount(numbered.ravel())[1:]
        if rank > count:
            raise CaseError(f"the component of rank {rank} was asked for, but there are only {count}")
        number = int(np.argsort(-sizes, kind="stable")[rank - 1]) + 1
    else:
        where = np.argwhere(mask.inside)
        distance = np.linalg.norm(mask.grid.to_patient(where) - np.asarray(nearest_mm), axis=1)
        number = int(numbered[tuple(where[int(np.argmin(distance))])])
    return trimmed(mask, numbered == number)


def unite(masks: Sequence[VoxelMask]) -> VoxelMask:
    """The union of masks, which may lie on different grids.

    Masks whose voxels coincide are pasted as they are. Otherwise the finest grid is extended over all of them
    and every voxel of it takes the value of the nearest voxel of each mask, so the boundary of a resampled mask
    may move by up to half the diagonal of its own voxels.
    """
    if len(masks) == 1:
        return masks[0]
    base = min(masks, key=lambda mask: mask.grid.voxel_volume_mm3).grid
    starts = [_lattice_start(base, mask.grid) for mask in masks]
    lows, highs = [], []
    for mask, start in zip(masks, starts, strict=True):
        if start is not None:
            lows.append(start)
            highs.append(start + np.array(mask.grid.shape))
        else:
            corners = _corner_indices(mask.grid)
            index = base.to_index(mask.grid.to_patient(corners))
            lows.append(np.floor(index.min(axis=0)).astype(int))
            highs.append(np.ceil(index.max(axis=0)).astype(int) + 1)
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    shape = tuple(int(n) for n in high - low)
    grid = base.cropped((int(low[0]), int(low[1]), int(low[2])), shape)  # type: ignore[arg-type]
    inside = np.zeros(shape, dtype=bool)
    for mask, start, first, last in zip(masks, starts, lows, highs, strict=True):
        a, b = first - low, last - low
        window = inside[a[0] : b[0], a[1] : b[1], a[2] : b[2]]
        if start is not None:
            window |= mask.inside
            continue
        plane = np.indices(window.shape[1:]).reshape(2, -1).T
        for i in range(window.shape[0]):
            index = np.column_stack([np.full(len(plane), i), plane]) + a
            window[i] |= mask.contains(grid.to_patient(index)).reshape(window.shape[1:])
    whole = VoxelMask.cropped(grid, inside)
    return VoxelMask(whole.grid, whole.inside, _united_cuts(masks, whole.grid))


def _corner_indices(grid: Grid) -> FloatArray:
    """(8, 3) corners of the grid's outermost voxels, as fractional indices."""
    n = grid.shape
    return np.array([[i, j, k] for i in (-0.5, n[0] - 0.5) for j in (-0.5, n[1] - 0.5) for k in (-0.5, n[2] - 0.5)])


def _lattice_start(base: Grid, other: Grid) -> NDArray[np.int_] | None:
    """Index in ``base`` of the first voxel of ``other``; None where their voxels do not coincide."""
    ends = np.array([[0, 0, 0], *np.diag(np.asarray(other.shape) - 1)], dtype=np.float64)
    index = base.to_index(other.to_patient(ends))
    start = np.rint(index[0])
    if np.abs(index - start - ends).max() > _LATTICE_TOLERANCE:
        return None
    # A single-voxel axis says nothing about its spacing, so the axes themselves must agree too.
    if not np.allclose(base.T_PV[:3, :3], other.T_PV[:3, :3], atol=0.02 * base.spacing_mm.min()):
        return None
    return start.astype(int)


def _united_cuts(masks: Sequence[VoxelMask], grid: Grid) -> CutSides:
    """Sides of the union that are cut: where a part is cut on a side that faces alike and reaches as far."""
    cut = [[False, False], [False, False], [False, False]]
    axes = grid.T_PV[:3, :3] / grid.spacing_mm
    for mask in masks:
        own = mask.grid.T_PV[:3, :3] / mask.grid.spacing_mm
        index = grid.to_index(mask.grid.to_patient(_corner_indices(mask.grid)))
        for axis in range(3):
            for side in (0, 1):
                if not mask.cut_sides[axis][side]:
                    continue
                normal = own[:, axis] * (1 if side else -1)
                along = normal @ axes
                k = int(np.argmax(np.abs(along)))
                upper = bool(along[k] > 0)
                reach = index[:, k].max() if upper else index[:, k].min()
                end = grid.shape[k] - 0.5 if upper else -0.5
                if abs(along[k]) > 0.7 and abs(reach - end) <= 1.0:
                    cut[k][upper] = True
    return ((cut[0][0], cut[0][1]), (cut[1][0], cut[1][1]), (cut[2][0], cut[2][1]))
