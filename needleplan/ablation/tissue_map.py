"""Which tissue lies where, and which vessels carry the heat away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.devices.tissue import Tissue
from needleplan.errors import GeometryError, PhysicsError
from needleplan.frames import FloatArray
from needleplan.grid import Grid, VoxelMask

#: Vessels thinner than this are ignored: no heat sink was seen below 2 mm, always above 4 mm (Lu et al., "Effect
#: of vessel size on creation of hepatic radiofrequency lesions in pigs", AJR 2002;178:47-51).
LEAST_VESSEL_DIAMETER_MM = 3.0
#: Most regions of a map: a voxel keeps its tissue as one byte.
_MOST_REGIONS = 255
#: Share of a voxel by which a ball's best centre may lie beside the lattice on which it is sought.
_LATTICE_SLACK = 0.1


class Solid(Protocol):
    """Whatever can tell which points lie inside it: a VoxelMask, a query tree of a mesh, a Cylinder."""

    def contains(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """(n,) True for points (n, 3) in patient LPS mm inside."""
        ...


@dataclass(frozen=True, slots=True)
class Cylinder:
    """A straight vessel or a block of tissue with round ends cut flat.

    Attributes:
        start_mm, end_mm: ends of its axis, patient LPS.
        radius_mm: its radius.
    """

    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    radius_mm: float

    def __post_init__(self) -> None:
        length = float(np.linalg.norm(np.subtract(self.end_mm, self.start_mm)))
        if not (np.isfinite(length) and length > 0 and np.isfinite(self.radius_mm) and self.radius_mm > 0):
            raise GeometryError(
                f"a cylinder needs two different ends and a radius above zero, but has {self.start_mm}, "
                f"{self.end_mm} and {self.radius_mm:g} mm"
            )

    def contains(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """See Solid."""
        start, end = np.asarray(self.start_mm), np.asarray(self.end_mm)
        length = float(np.linalg.norm(end - start))
        axis = (end - start) / length
        offset = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3) - start
        along = offset @ axis
        across = np.linalg.norm(offset - along[:, None] * axis, axis=1)
        return np.asarray((along >= 0) & (along <= length) & (across <= self.radius_mm))


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """One tissue and where it is."""

    tissue: Tissue
    solid: Solid


@dataclass(frozen=True, slots=True, eq=False)
class Vessel:
    """A vessel or a tree of vessels filled with flowing blood.

    Attributes:
        name: of the structure.
        solid: the lumen.
        diameter_mm: diameter where it is the same everywhere; None where it must be found from the lumen itself.
        open: False for a vessel without flow (clamped, thrombosed), which then carries nothing away.
    """

    name: str
    solid: Solid
    diameter_mm: float | None = None
    open: bool = True

    def __post_init__(self) -> None:
        if self.diameter_mm is not None and not (np.isfinite(self.diameter_mm) and self.diameter_mm > 0):
            raise PhysicsError(
                f"vessel {self.name!r}: the diameter must be above 0 mm, but is {self.diameter_mm:g}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class TissueMap:
    """Tissue at every point of the patient.

    Attributes:
        background: tissue wherever no region lies.
        regions: later ones lie over earlier ones.
        vessels: lie over all regions.
        body_temperature_c: of the tissue before treatment, and of the blood.
    """

    background: Tissue
    regions: tuple[Region, ...] = ()
    vessels: tuple[Vessel, ...] = ()
    body_temperature_c: float = 37.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.body_temperature_c <= 45.0:
            raise PhysicsError(
                f"the body temperature must lie between 0 and 45 C, but is {self.body_temperature_c:g} C"
            )
        if len(self.regions) > _MOST_REGIONS:
            raise PhysicsError(f"a tissue map holds at most {_MOST_REGIONS} regions, but got {len(self.regions)}")

    @property
    def tissues(self) -> tuple[Tissue, ...]:
        """Background first, then each region's."""
        return (self.background, *(region.tissue for region in self.regions))

    def indices(self, points_mm: ArrayLike) -> NDArray[np.uint8]:
        """(n,) index into ``tissues`` for points (n, 3)."""
        points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
        found = np.zeros(len(points), dtype=np.uint8)
        for index, region in enumerate(self.regions, start=1):
            found[region.solid.contains(points)] = index
        return found

    def rasterised(self, grid: Grid) -> NDArray[np.uint8]:
        """``indices`` at the voxel centres of a grid, in its shape."""
        if not self.regions:
            return np.zeros(grid.shape, dtype=np.uint8)
        return self.indices(grid.centres_mm()).reshape(grid.shape)

    def vessel_voxels(self, grid: Grid, least_diameter_mm: float = LEAST_VESSEL_DIAMETER_MM) -> NDArray[np.bool_]:
        """Voxels of a grid in open vessels of at least ``least_diameter_mm``, in the grid's shape."""
        return self.vessel_diameters_mm(grid, (least_diameter_mm,)) > 0

    def vessel_diameters_mm(self, grid: Grid, probed_mm: Sequence[float]) -> FloatArray:
        """Local diameter of the open vessels at the voxels of a grid, in its shape; 0 where there is none.

        Args:
            grid: any grid.
            probed_mm: diameters that rise; vessels thinner than the first do not count. Where a vessel states no
                diameter the greatest of these of which a ball fits into it (``local_diameters_mm``), found on the
                grid of its own mask, or for other solids on one fine enough for the first.
        """
        found = np.zeros(grid.shape)
        points = grid.centres_mm() if self.vessels else np.empty((0, 3))
        for vessel in self.vessels:
            if not vessel.open or (vessel.diameter_mm is not None and vessel.diameter_mm < probed_mm[0]):
                continue
            inside = vessel.solid.contains(points).reshape(grid.shape)
            if not inside.any():
                continue
            if vessel.diameter_mm is not None:
                found[inside] = np.maximum(found[inside], vessel.diameter_mm)
                continue
            lumen = vessel.solid if isinstance(vessel.solid, VoxelMask) else None
            if lumen is None:
                lumen = _sampled(vessel.solid, grid, inside, 0.25 * probed_mm[0])
            if lumen is not None:
                local = local_diameters_mm(lumen, points[inside.ravel()], probed_mm)
                found[inside] = np.maximum(found[inside], local)
        return found


def local_diameters_mm(lumen: VoxelMask, points_mm: FloatArray, probed_mm: Sequence[float]) -> FloatArray:
    """For points in a lumen the greatest of some diameters of which a ball that holds the point fits; 0 for none.

    A ball fits where it holds no voxel centre outside the lumen (its own centre is sought on a lattice of half a
    voxel). So a vessel of the diameter itself is never missed, at any angle to the grid; one that is thinner by a
    voxel and a half is dropped.

    Args:
        lumen: on any grid.
        points_mm: (n, 3) patient LPS.
        probed_mm: diameters that rise.

    Returns:
        (n,) diameters.
    """
    from scipy.ndimage import binary_dilation
    from scipy.spatial import cKDTree

    grid = lumen.grid
    slack = _LATTICE_SLACK * float(grid.spacing_mm.min())
    padded = np.pad(lumen.inside, 1)
    rim = binary_dilation(padded, np.ones((3, 3, 3))) & ~padded
    outside = cKDTree(grid.to_patient(np.argwhere(rim) - 1.0))
    index = np.argwhere(lumen.inside)
    voxel_mm = 2.0 * grid.half_diagonal_mm
    # Nothing needs to be known of places deeper than the widest ball.
    deepest_mm = 0.5 * probed_mm[-1] + voxel_mm
    depth_mm = outside.query(grid.to_patient(index), distance_upper_bound=deepest_mm)[0]
    own_mm = outside.query(points_mm, distance_upper_bound=deepest_mm)[0]
    offsets = 0.5 * np.indices((2, 2, 2)).reshape(3, -1).T
    found = np.zeros(len(points_mm))
    for diameter_mm in probed_mm:
        least_mm = 0.5 * diameter_mm - slack
        held = own_mm >= least_mm
        # Balls that reach points nearer to the wall have their centres in a layer about their radius deep.
        layer = index[(depth_mm >= least_mm - voxel_mm) & (depth_mm <= least_mm + voxel_mm)]
        lattice_mm = grid.to_patient((layer[:, None] + offsets).reshape(-1, 3))
        fits = outside.query(lattice_mm, distance_upper_bound=deepest_mm)[0] >= least_mm
        near = np.flatnonzero(~held)
        if fits.any() and len(near):
            reach_mm = 0.5 * diameter_mm + 2.0 * slack
            way_mm = cKDTree(lattice_mm[fits]).query(points_mm[near], distance_upper_bound=reach_mm)[0]
            held[near] = np.isfinite(way_mm)
        found[held] = diameter_mm
    return found


def _sampled(solid: Solid, grid: Grid, inside: NDArray[np.bool_], spacing_mm: float) -> VoxelMask | None:
    """A solid about the voxels ``inside`` of a grid that it holds, on a grid so much finer as ``spacing_mm`` asks.

    None where it is too thin to hold any voxel of that.
    """
    from scipy.ndimage import binary_dilation

    times = np.maximum(np.ceil(grid.spacing_mm / spacing_mm - 1e-9), 1.0).astype(np.int64)
    matrix = np.array(grid.T_PV)
    matrix[:3, :3] /= times
    # The first fine voxel begins where the first coarse one does.
    matrix[:3, 3] = grid.to_patient(0.5 / times - 0.5)
    shape = times * np.asarray(grid.shape)
    fine = Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)
    about = binary_dilation(inside, np.ones((3, 3, 3)), iterations=2)
    for axis in range(3):
        about = np.repeat(about, times[axis], axis=axis)
    index = np.argwhere(about)
    filled = np.zeros(fine.shape, dtype=np.bool_)
    filled[tuple(index.T)] = solid.contains(fine.to_patient(index))
    return VoxelMask(fine, filled) if filled.any() else None


def homogeneous(tissue: Tissue, body_temperature_c: float = 37.0) -> TissueMap:
    """One tissue without end and without vessels."""
    return TissueMap(tissue, body_temperature_c=body_temperature_c)
