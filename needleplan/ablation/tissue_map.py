"""Which tissue lies where, and which vessels carry the heat away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.devices.tissue import Tissue
from needleplan.errors import PhysicsError
from needleplan.grid import Grid, VoxelMask

#: Vessels thinner than this are ignored: no heat sink was seen below 2 mm, always above 4 mm (Lu et al., "Effect
#: of vessel size on creation of hepatic radiofrequency lesions in pigs", AJR 2002;178:47-51).
LEAST_VESSEL_DIAMETER_MM = 3.0


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
        """Voxels of a grid in open vessels of at least ``least_diameter_mm``, in the grid's shape.

        Where a vessel states no diameter, the parts of it that a ball of that diameter fits into count (the
        morphological opening), found on the grid of its own mask, or on this one for other solids.
        """
        inside = np.zeros(grid.shape, dtype=np.bool_)
        points = grid.centres_mm() if self.vessels else np.empty((0, 3))
        for vessel in self.vessels:
            if not vessel.open:
                continue
            if vessel.diameter_mm is not None:
                if vessel.diameter_mm >= least_diameter_mm:
                    inside |= vessel.solid.contains(points).reshape(grid.shape)
                continue
            if isinstance(vessel.solid, VoxelMask):
                wide = opened(vessel.solid, least_diameter_mm)
                if wide is not None:
                    inside |= wide.contains(points).reshape(grid.shape)
            else:
                lumen = vessel.solid.contains(points).reshape(grid.shape)
                if lumen.any():
                    wide = opened(VoxelMask(grid, lumen), least_diameter_mm)
                    if wide is not None:
                        inside |= wide.inside
        return inside


def opened(lumen: VoxelMask, diameter_mm: float) -> VoxelMask | None:
    """The parts of a lumen that a ball of ``diameter_mm`` fits into; None where it fits nowhere.

    Distances are taken between voxel centres, to the lumen's outside less half a voxel, so that a straight vessel
    of n voxels' width counts as n voxels wide.
    """
    from scipy.ndimage import distance_transform_edt

    spacing = lumen.grid.spacing_mm
    reach = int(np.ceil(diameter_mm / spacing.min())) + 1
    inside = np.pad(lumen.inside, reach)
    depth = distance_transform_edt(inside, sampling=spacing) - 0.5 * float(spacing.min())
    middle = depth >= 0.5 * diameter_mm - 1e-6 * diameter_mm
    if not middle.any():
        return None
    wide = inside & (distance_transform_edt(~middle, sampling=spacing) <= 0.5 * diameter_mm)
    core = wide[tuple(slice(reach, -reach) for _ in range(3))]
    return VoxelMask(lumen.grid, core)


def homogeneous(tissue: Tissue, body_temperature_c: float = 37.0) -> TissueMap:
    """One tissue without end and without vessels."""
    return TissueMap(tissue, body_temperature_c=body_temperature_c)


def layered(background: Tissue, solids: Sequence[tuple[Tissue, Solid]], vessels: Mapping[str, Solid]) -> TissueMap:
    """A map from tissues with their solids, later ones over earlier ones, and vessels by name."""
    return TissueMap(
        background,
        tuple(Region(tissue, solid) for tissue, solid in solids),
        tuple(Vessel(name, solid) for name, solid in vessels.items()),
    )
