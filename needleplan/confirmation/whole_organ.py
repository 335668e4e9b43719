"""An organ with the lesion that its label map leaves out.

Label maps are often exclusive: what is tumour, or ablated, is not liver. As it stands such an organ would have a
capsule around the tumour, and the capsule rule would excuse every margin there.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_dilation, label

from needleplan.frames import FloatArray
from needleplan.grid import Grid, VoxelMask

#: Share of the lesion in the organ's map above which the map holds it already.
HELD = 0.5
#: Share of the layer of voxels about the lesion that must be organ for the lesion to belong to it.
BESIDE = 0.25
#: Voxels by which a seam between two lattices is closed.
_SEAM = 2


def with_lesion(organ: VoxelMask, lesion: VoxelMask, what: str) -> tuple[VoxelMask, tuple[str, ...]]:
    """The organ together with a lesion that it surrounds and leaves out, and a sentence that says so.

    The organ itself where its map holds most of the lesion, or does not lie about it.

    Args:
        organ: the organ.
        lesion: tumour or zone, in the same frame.
        what: name of the lesion for the sentence.
    """
    if float(organ.contains(_centres(lesion.grid, lesion.inside)).mean()) >= HELD:
        return organ, ()
    grid = lesion.grid.cropped((-1, -1, -1), tuple(n + 2 for n in lesion.grid.shape))  # type: ignore[arg-type]
    padded = np.pad(lesion.inside, 1)
    layer = binary_dilation(padded, np.ones((3, 3, 3), dtype=bool)) & ~padded
    if float(organ.contains(_centres(grid, layer)).mean()) < BESIDE:
        return organ, ()
    return _joined(organ, lesion), (
        f"The organ's map leaves the {what} out; both are taken together as the organ.",
    )


def without_cavities(organ: VoxelMask) -> tuple[VoxelMask, tuple[str, ...]]:
    """The organ with what it encloses and leaves out, such as vessels, and a sentence that says so.

    A wall inside the organ is no capsule. Vessels that leave the organ are not enclosed and stay out.
    """
    pieces, count = label(~organ.inside)
    if count == 0:
        return organ, ()
    outer = np.zeros(count + 1, dtype=bool)
    outer[0] = True
    for axis in range(3):
        for end in (0, -1):
            outer[np.unique(np.take(pieces, end, axis=axis))] = True
    enclosed = ~outer[pieces]
    if not enclosed.any():
        return organ, ()
    filled_ml = np.count_nonzero(enclosed) * organ.grid.voxel_volume_mm3 / 1000.0
    return VoxelMask(organ.grid, organ.inside | enclosed, organ.cut_sides), (
        f"The organ's map encloses {filled_ml:.1f} ml that it leaves out; a wall inside the organ is no capsule, "
        "so it was filled.",
    )


def _joined(organ: VoxelMask, lesion: VoxelMask) -> VoxelMask:
    """Both on the organ's lattice, which is extended as far as the lesion reaches."""
    shape = np.asarray(organ.grid.shape)
    corners = np.array(np.meshgrid(*[(0.0, n - 1.0) for n in lesion.grid.shape], indexing="ij")).reshape(3, -1).T
    reached = organ.grid.to_index(lesion.grid.to_patient(corners))
    low = np.minimum(np.floor(reached.min(axis=0)).astype(np.int64) - _SEAM, 0)
    high = np.maximum(np.ceil(reached.max(axis=0)).astype(np.int64) + 1 + _SEAM, shape)
    grid = organ.grid.cropped(tuple(low.tolist()), tuple((high - low).tolist()))
    inside = np.pad(organ.inside, [(int(-a), int(b - n)) for a, b, n in zip(low, high, shape, strict=True)])
    # Only the box about the lesion is looked at.
    first = np.maximum(np.floor(reached.min(axis=0)).astype(np.int64) - low - _SEAM, 0)
    last = np.minimum(np.ceil(reached.max(axis=0)).astype(np.int64) - low + 1 + _SEAM, np.asarray(grid.shape))
    box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    part = grid.cropped(tuple(first.tolist()), tuple((last - first).tolist()))
    held = lesion.contains(part.centres_mm()).reshape(part.shape)
    there = inside[box] | held
    if not _same_lattice(organ.grid, lesion.grid):
        # Voxels between two lattices belong to neither map, and would be a capsule where there is none.
        near = binary_dilation(held, np.ones((3, 3, 3), dtype=bool), iterations=_SEAM)
        there |= near & binary_closing(np.pad(there, _SEAM), iterations=_SEAM)[(slice(_SEAM, -_SEAM),) * 3]
    inside[box] = there
    return VoxelMask(grid, inside, organ.cut_sides)


def _same_lattice(first: Grid, second: Grid) -> bool:
    """True where the voxels of both lie on one lattice."""
    if not np.allclose(first.T_PV[:3, :3], second.T_PV[:3, :3], atol=1e-6):
        return False
    offset = first.to_index(second.T_PV[:3, 3])
    return bool(np.abs(offset - np.rint(offset)).max() < 1e-3)


def _centres(grid: Grid, inside: NDArray[np.bool_]) -> FloatArray:
    return grid.to_patient(np.argwhere(inside))
