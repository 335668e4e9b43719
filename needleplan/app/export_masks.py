"""The structures of a case and the zones of a plan as masks on one grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import LethalZone
from needleplan.app.pipeline import PlannedCase
from needleplan.case.model import Structure
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import Grid, ScalarField, VoxelMask
from needleplan.io.dicom.coding import PLANNED_ZONE, TUMOUR, coding_of
from needleplan.io.label_writers import WrittenSegment, lattice_start
from needleplan.plan import Insertion
from needleplan.viz.palette import ZONE, look_of, needle_color, rgb

#: Voxels of a case that has surfaces only.
_OWN_VOXEL_MM = 1.0
#: The field of the zone reaches so far beyond it.
_FIELD_REACH_MM = 10.0
#: Voxels that are looked at together, which bounds the memory.
_TOGETHER = 500_000

#: Name of the zone of all needles together.
WHOLE_ZONE = "ablation zone"


def zone_name(insertion: Insertion) -> str:
    """Name of the zone of one needle."""
    return f"ablation zone of needle {insertion.order}"


@dataclass(frozen=True, slots=True, eq=False)
class PlanMasks:
    """What a plan comes to in voxels.

    Attributes:
        grid: holds all masks.
        structures: one for each structure of the case that has a voxel, in its order.
        zones: the zone of each needle, in the order of puncture.
        whole_zone: the zone of all of them.
        notes: what was resampled or left out, a sentence each.
    """

    grid: Grid
    structures: tuple[WrittenSegment, ...]
    zones: tuple[WrittenSegment, ...]
    whole_zone: WrittenSegment
    notes: tuple[str, ...]


def masks_of_plan(planned: PlannedCase, grid: Grid | None = None) -> PlanMasks:
    """Masks of all structures and zones.

    Masks that lie on one lattice of voxels keep every voxel. The others, and surfaces, get the voxels whose centre
    lies in them.

    Args:
        planned: with at least one insertion.
        grid: where the masks shall lie; None takes the lattice of the target, or that of the first mask, or 1 mm
            along the patient's axes, as far as structures and zones reach.

    Raises:
        GeometryError: something reaches beyond a grid that was given, or no zone holds a voxel.
    """
    case = planned.anatomy.case
    lattice = grid if grid is not None else _lattice(planned)
    notes: list[str] = []
    structures = []
    for structure in case.structures:
        mask = _on_lattice(planned, structure, lattice, notes)
        if mask is not None:
            surface = planned.anatomy.surface(structure.name)
            coding = TUMOUR if structure is case.target else coding_of(structure.name)
            structures.append(WrittenSegment(structure.name, mask, rgb(look_of(surface).color), coding))
    insertions = planned.plan.insertions
    zones = [
        _zone(lattice, planned.zone_model.zone([one]), zone_name(one), needle_color(one.order))
        for one in insertions
    ]
    whole = _zone(lattice, planned.zone_model.zone(insertions), WHOLE_ZONE, ZONE)
    if grid is None:
        lattice = _around(lattice, [segment.mask.grid for segment in (*structures, *zones, whole)])
    return PlanMasks(lattice, tuple(structures), tuple(zones), whole, tuple(notes))


def _lattice(planned: PlannedCase) -> Grid:
    case = planned.anatomy.case
    for structure in (case.target, *case.structures):
        if isinstance(structure.geometry, VoxelMask):
            return structure.geometry.grid
    matrix = np.diag([_OWN_VOXEL_MM] * 3 + [1.0])
    matrix[:3, 3] = planned.anatomy.target.mesh.bounds_mm[0]
    return Grid((1, 1, 1), matrix)


def _on_lattice(planned: PlannedCase, structure: Structure, lattice: Grid, notes: list[str]) -> VoxelMask | None:
    """The structure's mask, sampled at the centres of the voxels where it does not lie on them."""
    geometry = structure.geometry
    contains: Callable[[FloatArray], NDArray[np.bool_]]
    if isinstance(geometry, VoxelMask):
        try:
            lattice_start(lattice, geometry.grid)
            return geometry
        except GeometryError:
            contains = geometry.contains
        corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * geometry.grid.shape - 0.5
        bounds = geometry.grid.to_patient(corners)
        bounds_mm = np.stack([bounds.min(axis=0), bounds.max(axis=0)])
    else:
        contains = planned.queries.tree(planned.anatomy.surface(structure.name)).contains
        bounds_mm = geometry.bounds_mm
    mask = _voxels_within(lattice, bounds_mm, contains)
    notes.append(
        f"{structure.name} is smaller than a voxel and was left out of the masks."
        if mask is None
        else f"{structure.name} was sampled at the centres of the voxels."
    )
    return mask


def _zone(lattice: Grid, zone: LethalZone, name: str, color: str) -> WrittenSegment:
    mask = _voxels_within(lattice, zone.bounds_mm, zone.contains)
    if mask is None:
        raise GeometryError(f"{name}: it holds the centre of no voxel, so the grid is too coarse for it")
    return WrittenSegment(name, mask, rgb(color), PLANNED_ZONE)


def _box(lattice: Grid, bounds_mm: FloatArray) -> Grid:
    """The voxels of the lattice within (2, 3) bounds, which may lie beyond the grid itself."""
    ends = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners = np.take_along_axis(bounds_mm, ends, axis=0)
    index = lattice.to_index(corners)
    low = np.ceil(index.min(axis=0)).astype(int)
    shape = np.maximum(np.floor(index.max(axis=0)).astype(int) - low + 1, 1)
    return lattice.cropped(tuple(low.tolist()), tuple(shape.tolist()))


def _by_slabs(grid: Grid, values: Callable[[FloatArray], NDArray], result: NDArray) -> NDArray:  # type: ignore[type-arg]
    """``values`` at the centres of all voxels, some layers at a time, filled into ``result``."""
    layers = max(1, _TOGETHER // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], layers):
        part = grid.cropped((start, 0, 0), (min(layers, grid.shape[0] - start), *grid.shape[1:]))
        result[start : start + layers] = values(part.centres_mm()).reshape(part.shape)
    return result


def _voxels_within(
    lattice: Grid, bounds_mm: FloatArray, contains: Callable[[FloatArray], NDArray[np.bool_]]
) -> VoxelMask | None:
    """The voxels whose centres are contained, cropped; None where there is none."""
    box = _box(lattice, bounds_mm)
    inside = _by_slabs(box, contains, np.zeros(box.shape, dtype=np.bool_))
    return VoxelMask.cropped(box, inside) if inside.any() else None


def _around(lattice: Grid, parts: Sequence[Grid]) -> Grid:
    """The part of a lattice that holds all parts of it."""
    starts = np.array([lattice_start(lattice, part) for part in parts])
    low = starts.min(axis=0)
    shape = (starts + [part.shape for part in parts]).max(axis=0) - low
    return lattice.cropped(tuple(low.tolist()), tuple(shape.tolist()))


def zone_field(planned: PlannedCase, lattice: Grid) -> ScalarField:
    """Signed distance in mm to the boundary of the zone of all needles, positive inside, on voxels of the lattice.

    Inside it never overstates; see ``LethalZone.margin_mm``.
    """
    zone = planned.zone_model.zone(planned.plan.insertions)

    def margin(points_mm: ArrayLike) -> FloatArray:
        return zone.margin_mm(points_mm)

    box = _box(lattice, zone.bounds_mm + np.array([[-_FIELD_REACH_MM], [_FIELD_REACH_MM]]))
    values = _by_slabs(box, margin, np.zeros(box.shape, dtype=np.float32))
    return ScalarField(box, values, zone.margin_error_mm)
