"""The box of voxels that a solver works in: laid along the needles, with tissue and vessels drawn into it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.needle_contact import Contact, NeedlePart
from needleplan.ablation.tissue_map import TissueMap
from needleplan.devices.tissue import Tissue
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray, perpendicular_axes, unit_vector
from needleplan.grid import Grid

#: More voxels than this take minutes and gigabytes: a coarser spacing, or fewer needles at a time, is right.
MAXIMUM_SOLVER_VOXELS = 8_500_000
#: Heat transfer coefficient of blood in a vessel times its diameter, W/m/K: Nusselt number 3.66 of fully developed
#: laminar flow times the conductivity of blood, 0.517 W/m/K (IT'IS v4.0).
NUSSELT_W_M_K = 3.66 * 0.517
#: Area of a cylinder over that of its voxels.
_STAIRCASE = np.pi / 4.0
#: Halvings in the search for a vessel's wall between two voxel centres, and the least way to it in voxels: below,
#: the explicit step would become short for no gain.
_WALL_HALVINGS, _LEAST_WAY = 7, 0.25
#: Points along a part at which it is asked whether it lies in a vessel.
_ALONG = 40
#: Diameters at which a vessel's own width is probed for the heat transfer coefficient.
_PROBED_DIAMETERS_MM = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0)


@dataclass(frozen=True, slots=True, eq=False)
class SolverDomain:
    """Cubic voxels with tissue and vessels.

    Attributes:
        grid: oblique in the patient, its last index axis along the needles.
        tissue: uint8 indices into ``tissues`` in the grid's shape.
        tissues: of the map, those that occur here.
        vessels: voxels of open vessels that carry heat away.
        body_temperature_c: of the map.
        share_in_vessels: greatest share of the active part of a needle that lies in the blood of an open vessel.
    """

    grid: Grid
    tissue: NDArray[np.uint8]
    tissues: tuple[Tissue, ...]
    vessels: NDArray[np.bool_]
    body_temperature_c: float
    share_in_vessels: float = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of where the needles lie."""
        if self.share_in_vessels == 0.0:
            return ()
        return (
            f"The active part of a needle runs through an open vessel for {100.0 * self.share_in_vessels:.0f} "
            "% of its length.",
        )

    @property
    def spacing_mm(self) -> float:
        """Side of the voxels."""
        return float(self.grid.spacing_mm[0])

    def at(self, points_mm: FloatArray) -> Tissue:
        """The tissue that most of the points (n, 3) lie in."""
        index = np.rint(self.grid.to_index(points_mm)).astype(int)
        index = np.clip(index, 0, np.asarray(self.grid.shape) - 1)
        return self.tissues[int(np.bincount(self.tissue[tuple(index.T)]).argmax())]


def solver_domain(
    parts: Sequence[NeedlePart],
    tissue: TissueMap,
    spacing_mm: float,
    reach_mm: float,
    least_vessel_diameter_mm: float,
) -> SolverDomain:
    """Domain about the active parts of needles.

    Args:
        parts: at least one.
        tissue: where which tissue is.
        spacing_mm: side of the voxels.
        reach_mm: room kept on all sides of the parts.
        least_vessel_diameter_mm: thinner vessels carry no heat away.

    Raises:
        PhysicsError: the spacing or the reach is impossible, a part lies wholly in a vessel, or the domain would be
            too large.
    """
    if not (np.isfinite(spacing_mm) and 0.1 <= spacing_mm <= 10.0):
        raise PhysicsError(
            f"the spacing of the solver's grid must lie between 0.1 and 10 mm, but is {spacing_mm:g}"
        )
    if not (np.isfinite(reach_mm) and reach_mm >= 4.0 * spacing_mm):
        raise PhysicsError(f"the reach must be at least 4 voxels of {spacing_mm:g} mm, but is {reach_mm:g} mm")
    starts = np.array([part.start_mm for part in parts])
    ends = np.array([part.end_mm for part in parts])
    if not (np.isfinite(starts).all() and np.isfinite(ends).all()):
        raise PhysicsError("the place of a needle's active part must be stated in finite numbers of millimetres")
    axes = _axes(starts, ends)
    points = np.concatenate([starts, ends]) @ axes
    # The first needle runs along a line of voxel centres.
    anchor = starts[0] @ axes
    low = np.ceil((anchor - points.min(axis=0) + reach_mm) / spacing_mm)
    high = np.ceil((points.max(axis=0) - anchor + reach_mm) / spacing_mm)
    shape = tuple(int(n) for n in (low + high + 1))
    if float(np.prod(np.asarray(shape, dtype=np.float64))) > MAXIMUM_SOLVER_VOXELS:
        raise PhysicsError(
            f"the needles span {shape[0]} x {shape[1]} x {shape[2]} voxels of {spacing_mm:g} mm, more than "
            f"{MAXIMUM_SOLVER_VOXELS}: take a coarser grid or needles that lie closer together"
        )
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing_mm
    matrix[:3, 3] = axes @ (anchor - low * spacing_mm)
    grid = Grid((shape[0], shape[1], shape[2]), matrix)
    vessels = tissue.vessel_voxels(grid, least_vessel_diameter_mm)
    _check_in_tissue(grid, parts, vessels)
    # What a tissue far from the needles lacks in the table must not stop them.
    everywhere = tissue.rasterised(grid)
    here, index = np.unique(everywhere, return_inverse=True)
    return SolverDomain(
        grid,
        index.reshape(grid.shape).astype(np.uint8),
        tuple(tissue.tissues[n] for n in here),
        vessels,
        tissue.body_temperature_c,
        _share_in_vessels(grid, parts, vessels),
    )


def _share_in_vessels(grid: Grid, parts: Sequence[NeedlePart], vessels: NDArray[np.bool_]) -> float:
    """Greatest share of a part's length that lies in the blood of an open vessel."""
    along = (np.arange(_ALONG) + 0.5)[:, None] / _ALONG
    shares = [0.0]
    for part in parts:
        points = np.asarray(part.start_mm) + along * np.subtract(part.end_mm, part.start_mm)
        index = np.rint(grid.to_index(points)).astype(np.int64)
        shares.append(float(vessels[tuple(index.T)].mean()))
    return max(shares)


def _check_in_tissue(grid: Grid, parts: Sequence[NeedlePart], vessels: NDArray[np.bool_]) -> None:
    along = np.linspace(0.0, 1.0, 9)[:, None]
    for part in parts:
        points = np.asarray(part.start_mm) + along * np.subtract(part.end_mm, part.start_mm)
        index = np.rint(grid.to_index(points)).astype(np.int64)
        if vessels[tuple(index.T)].all():
            raise PhysicsError(
                f"the active part of a needle at {np.round(points[-1], 1).tolist()} lies outside tissue, in "
                "the blood of a vessel: place it beside"
            )


def _axes(starts: FloatArray, ends: FloatArray) -> FloatArray:
    """(3, 3) columns: the last along the parts, the first towards the part furthest from the first."""
    directions = ends - starts
    # The axis that most length runs along, whichever way: needles from opposite sides are parallel as well, and the
    # tines of an umbrella are as long on one side as on the other.
    z = np.linalg.eigh(directions.T @ directions)[1][:, -1]
    z = z if z @ directions[0] >= 0 else -z
    aside = 0.5 * (starts + ends)
    aside = aside - aside[0]
    aside -= (aside @ z)[:, None] * z
    far = int(np.linalg.norm(aside, axis=1).argmax())
    x = aside[far]
    x = unit_vector(x) if np.linalg.norm(x) > 1e-6 else perpendicular_axes(z)[0]
    return np.stack([x, np.cross(z, x), z], axis=1)


def isothermal_contact(domain: SolverDomain, tissue: TissueMap) -> Contact:
    """Faces of vessels whose wall is at the temperature of the blood.

    The wall crosses the line between two voxel centres somewhere: a face conducts as over the true way from the
    tissue's centre to it (Shortley and Weller, J Appl Phys 1938;9:334). Held voxels alone would put the wall at the
    centres of the outermost of them, and a 5 mm vessel would act like one of 3.7 mm.
    """
    own, other, way = _vessel_faces(domain, tissue)
    return Contact(other, own, 1.0 / way)


def convective_contact(domain: SolverDomain, tissue: TissueMap) -> Contact:
    """Faces of vessels with the heat transfer coefficient h = Nu k / D of laminar flow, D the local diameter.

    As ``isothermal_contact``, with the film in series; the faces of a cylinder's voxels have 4/pi of its area,
    which is taken off the film's part.
    """
    own, other, way = _vessel_faces(domain, tissue)
    spacing_mm = domain.spacing_mm
    diameter_mm = tissue.vessel_diameters_mm(domain.grid, _PROBED_DIAMETERS_MM)
    conductivity = np.array([one.thermal_conductivity_w_m_k for one in domain.tissues])
    transfer = NUSSELT_W_M_K / (1e-3 * np.maximum(diameter_mm[tuple(own.T)], _PROBED_DIAMETERS_MM[0]))
    k = conductivity[domain.tissue[tuple(other.T)]]
    return Contact(other, own, 1.0 / (way + k / (transfer * 1e-3 * spacing_mm) / _STAIRCASE))


def _vessel_faces(
    domain: SolverDomain, tissue: TissueMap
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Vessel voxels, the tissue voxels beside them, and the way from the tissue's centre to the wall in voxels."""
    index = np.argwhere(domain.vessels)
    own_parts, other_parts = [], []
    for axis in range(3):
        for sign in (-1, 1):
            beyond = index.copy()
            beyond[:, axis] += sign
            valid = np.asarray(((beyond >= 0) & (beyond < np.asarray(domain.grid.shape))).all(axis=1))
            inner = np.flatnonzero(valid)
            valid[inner] = ~domain.vessels[tuple(beyond[inner].T)]
            own_parts.append(index[valid])
            other_parts.append(beyond[valid])
    own, other = np.concatenate(own_parts), np.concatenate(other_parts)
    lumens = [vessel.solid for vessel in tissue.vessels if vessel.open]
    # Shares of the way from the tissue's centre: not yet inside, and surely inside.
    outside, inside = np.zeros(len(own)), np.ones(len(own))
    for _ in range(_WALL_HALVINGS):
        middle = 0.5 * (outside + inside)
        points = domain.grid.to_patient(other + middle[:, None] * (own - other))
        within = np.zeros(len(own), dtype=np.bool_)
        for lumen in lumens:
            within |= lumen.contains(points)
        inside = np.where(within, middle, inside)
        outside = np.where(within, outside, middle)
    return own, other, np.maximum(inside, _LEAST_WAY)
