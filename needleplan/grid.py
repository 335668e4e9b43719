"""Voxel grids in the patient frame, and masks and scalar fields on them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only

#: A grid of more voxels than this is refused before anything is allocated (8 times a 512x512x512 volume).
MAXIMUM_VOXELS = 1_073_741_824


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A regular voxel grid, oblique and anisotropic ones included.

    Attributes:
        shape: number of voxels along each of the three index axes.
        T_PV: (4, 4) affine from voxel index (centres at whole numbers) to patient LPS in mm, read-only.
    """

    shape: tuple[int, int, int]
    T_PV: FloatArray

    def __post_init__(self) -> None:
        matrix = read_only(self.T_PV)
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"a grid needs three sizes of at least 1, but has {self.shape}")
        if shape[0] * shape[1] * shape[2] > MAXIMUM_VOXELS:
            raise GeometryError(f"a grid of {shape} voxels is larger than the limit of {MAXIMUM_VOXELS}")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise GeometryError("the affine of a grid must be a finite 4x4 matrix")
        axes = matrix[:3, :3]
        spacing = np.linalg.norm(axes, axis=0)
        if spacing.min() <= 0 or abs(np.linalg.det(axes / spacing)) < 1e-3:
            raise GeometryError("the affine of a grid is singular: its axes must be three independent directions")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "T_PV", matrix)

    @property
    def spacing_mm(self) -> FloatArray:
        """(3,) distance between neighbouring voxel centres along each index axis."""
        return np.asarray(np.linalg.norm(self.T_PV[:3, :3], axis=0))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.T_PV[:3, :3])))

    @property
    def half_diagonal_mm(self) -> float:
        """Largest distance from a voxel's centre to a point of the voxel."""
        corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
        return float(np.linalg.norm(corners @ self.T_PV[:3, :3].T, axis=1).max())

    def to_patient(self, indices: ArrayLike) -> FloatArray:
        """Voxel indices (..., 3), fractions allowed, to patient LPS mm."""
        return np.asarray(indices, dtype=np.float64) @ self.T_PV[:3, :3].T + self.T_PV[:3, 3]

    def to_index(self, points_mm: ArrayLike) -> FloatArray:
        """Patient points (..., 3) in mm to fractional voxel indices."""
        inverse = np.linalg.inv(self.T_PV[:3, :3])
        return (np.asarray(points_mm, dtype=np.float64) - self.T_PV[:3, 3]) @ inverse.T

    def centres_mm(self) -> FloatArray:
        """(n, 3) centres of all voxels in C order."""
        indices = np.indices(self.shape).reshape(3, -1).T
        return self.to_patient(indices)

    def cropped(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> "Grid":
        """The sub-grid that begins at voxel ``start``; it may reach beyond this grid."""
        matrix = np.array(self.T_PV)
        matrix[:3, 3] = self.to_patient(np.asarray(start))
        return Grid(shape, matrix)

    def moved(self, matrix: ArrayLike) -> "Grid":
        """The grid carried along by a rigid (4, 4) motion of patient space."""
        return Grid(self.shape, np.asarray(matrix) @ self.T_PV)


@dataclass(frozen=True, slots=True, eq=False)
class VoxelMask:
    """A structure as the set of voxels inside it.

    Attributes:
        grid: the grid; usually cropped to the structure.
        inside: boolean array of ``grid.shape``, read-only, not empty.
        cut_sides: for each index axis (low side, high side): True where the structure touches the edge of the
            image that it was segmented in, so that its surface there is a cut and not anatomy.
    """

    grid: Grid
    inside: NDArray[np.bool_]
    cut_sides: tuple[tuple[bool, bool], tuple[bool, bool], tuple[bool, bool]] = (
        (False, False),
        (False, False),
        (False, False),
    )

    def __post_init__(self) -> None:
        inside = read_only(self.inside, np.bool_)
        if inside.shape != self.grid.shape:
            raise GeometryError(f"a mask of shape {inside.shape} does not fit a grid of {self.grid.shape}")
        if not inside.any():
            raise GeometryError("a mask holds no voxel")
        object.__setattr__(self, "inside", inside)

    @classmethod
    def cropped(cls, grid: Grid, inside: NDArray[np.bool_]) -> "VoxelMask":
        """Mask cropped to its bounding box; sides that touch the edge of ``grid`` are marked as cut."""
        if inside.shape != grid.shape:
            raise GeometryError(f"a mask of shape {inside.shape} does not fit a grid of {grid.shape}")
        spans = []
        for axis in range(3):
            others = tuple(k for k in range(3) if k != axis)
            used = np.flatnonzero(inside.any(axis=others))
            if used.size == 0:
                raise GeometryError("a mask holds no voxel")
            spans.append((int(used[0]), int(used[-1]) + 1))
        cut = tuple((low == 0, high == grid.shape[axis]) for axis, (low, high) in enumerate(spans))
        start = tuple(low for low, _ in spans)
        shape = tuple(high - low for low, high in spans)
        part = inside[tuple(slice(low, high) for low, high in spans)]
        return cls(grid.cropped(start, shape), part, cut)  # type: ignore[arg-type]

    @property
    def volume_mm3(self) -> float:
        """Number of voxels inside times the volume of one."""
        return float(np.count_nonzero(self.inside)) * self.grid.voxel_volume_mm3

    def contains(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """For points (n, 3): True where the nearest voxel belongs to the mask."""
        # Whatever lies far outside, or is no number, is outside by one voxel: it would not fit a whole number.
        nearest = np.nan_to_num(np.floor(self.grid.to_index(points_mm) + 0.5), nan=-1.0)
        index = np.clip(nearest, -1.0, np.asarray(self.grid.shape, dtype=np.float64)).astype(np.int64)
        valid = ((index >= 0) & (index < np.asarray(self.grid.shape))).all(axis=-1)
        result = np.zeros(index.shape[:-1], dtype=bool)
        ijk = index[valid]
        result[valid] = self.inside[ijk[:, 0], ijk[:, 1], ijk[:, 2]]
        return result


@dataclass(frozen=True, slots=True, eq=False)
class ScalarField:
    """A scalar on the voxel centres of a grid.

    Attributes:
        grid: the grid.
        values: float32 array of ``grid.shape``, read-only.
        error_bound: largest error that trilinear interpolation between the centres may have, in the unit of
            the field (0 where nobody stated one is not allowed: say ``inf``).
    """

    grid: Grid
    values: NDArray[np.float32]
    error_bound: float = float("inf")

    def __post_init__(self) -> None:
        values = read_only(self.values, np.float32)
        if values.shape != self.grid.shape:
            raise GeometryError(f"a field of shape {values.shape} does not fit a grid of {self.grid.shape}")
        object.__setattr__(self, "values", values)

    def sample(self, points_mm: ArrayLike, outside: float = float("nan")) -> FloatArray:
        """Trilinear values at points (n, 3); ``outside`` where a point lies beyond the outer centres."""
        from scipy.ndimage import map_coordinates

        index = self.grid.to_index(points_mm)
        # A point at an outermost centre must not fall outside by a rounding error.
        last = np.asarray(self.grid.shape, dtype=np.float64) - 1.0
        clamped = np.clip(index, 0.0, last)
        index = np.where(np.abs(index - clamped) < 1e-9, clamped, index)
        return np.asarray(
            map_coordinates(self.values, index.T, order=1, mode="constant", cval=outside, output=np.float64)
        )
