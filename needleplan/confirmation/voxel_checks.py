"""Whether a single map can be that of a structure, and whether its voxels tell its shape."""

import numpy as np

from needleplan.errors import GeometryError
from needleplan.grid import VoxelMask

#: A tumour or a zone smaller or larger than this, along its box's diagonal, is not in millimetres.
_EXTENT_MM = (2.0, 400.0)
#: Faces of voxels on the border of a structure above which it is noise and no structure; its surface has about
#: twice as many triangles. A ball of 60 mm in voxels of 0.5 mm has 270,000, a liver in voxels of 0.7 mm 500,000.
MOST_FACES, MOST_ORGAN_FACES = 400_000, 2_000_000
#: So many for a volume are noise too, in units of the face of a cube of that volume; a ball has 7, noise of
#: 40³ voxels 100. Structures of fewer faces are measured whatever they are.
_RAGGED, _FEW_FACES = 40.0, 50_000
#: Voxels along each axis below which a shape is not resolved.
_RESOLVED_VOXELS = 3


def require_extent(mask: VoxelMask, what: str) -> None:
    """Raises GeometryError where a structure cannot be one in millimetres."""
    extent = float(np.linalg.norm(np.asarray(mask.grid.shape) * mask.grid.spacing_mm))
    if not _EXTENT_MM[0] <= extent <= _EXTENT_MM[1]:
        raise GeometryError(
            f"the {what} spans {extent:.3g} mm: it must be in millimetres and span {_EXTENT_MM[0]:g} to "
            f"{_EXTENT_MM[1]:g}"
        )


def require_smooth(mask: VoxelMask, what: str, most_faces: int = MOST_FACES) -> None:
    """Raises GeometryError where the border of a structure is so ragged that it is no structure."""
    inside = mask.inside
    faces = sum(
        np.count_nonzero(np.diff(inside, axis=axis))
        + np.count_nonzero(np.take(inside, 0, axis=axis))
        + np.count_nonzero(np.take(inside, -1, axis=axis))
        for axis in range(3)
    )
    ragged = _RAGGED * float(np.count_nonzero(inside)) ** (2.0 / 3.0)
    most_faces = min(most_faces, max(int(ragged), _FEW_FACES))
    if faces > most_faces:
        raise GeometryError(
            f"the border of the {what} has {faces} faces of voxels, more than {most_faces} for its volume: its "
            "map is noise, or far finer than it must be"
        )


def coarse_notes(mask: VoxelMask, what: str) -> tuple[str, ...]:
    """A sentence where a structure has so few voxels that its shape is not known."""
    counts = [int(mask.inside.any(axis=others).sum()) for others in ((1, 2), (0, 2), (0, 1))]
    if min(counts) >= _RESOLVED_VOXELS:
        return ()
    return (
        f"The {what} is only {min(counts)} voxel(s) thick along one axis of its map: its shape is not resolved, "
        "and margins are no better than its voxels.",
    )


def cut_notes(mask: VoxelMask, what: str, meaning: str) -> tuple[str, ...]:
    """A sentence where a structure touches the edge of its image."""
    if not any(side for sides in mask.cut_sides for side in sides):
        return ()
    return (f"The {what} touches the edge of its map: where the image ends there too, {meaning}.",)
