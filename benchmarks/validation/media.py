"""Tissues, grids and electrodes of the closed forms, in the shapes that the solvers take."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.bioheat.solver import BLOOD_HEAT_J_M3_K, BioheatSolver
from needleplan.ablation.needle_contact import Contact, NeedlePart, needle_cells
from needleplan.devices.tissue import Tissue
from needleplan.grid import Grid

FloatArray = NDArray[np.float64]
#: Liver of the closed forms: conductivity, density, heat capacity, perfusion (W/m3/K), temperature of blood.
K, RHO, C, W, BODY_C = 0.52, 1079.0, 3540.0, 58866.675, 37.0
RHO_C = RHO * C
ALPHA = K / RHO_C
#: Layers of a plane problem: the solvers work in three dimensions.
LAYERS = 3


def reference_tissue(perfusion_w_m3_k: float = W, **changes: float) -> Tissue:
    """Tissue of the closed forms, with the perfusion that gives ``perfusion_w_m3_k`` in the solver."""
    tissue = Tissue(
        "reference", RHO, C, K, water_kg_m3=755.3, perfusion_per_s=perfusion_w_m3_k / BLOOD_HEAT_J_M3_K,
        frozen_specific_heat_j_kg_k=1800.0, frozen_thermal_conductivity_w_m_k=2.0, latent_heat_j_kg=250e3,
        freezing_start_c=-0.5, freezing_end_c=-8.0, rf_conductivity_s_m=0.15, rf_conductivity_per_k=0.0,
    )  # fmt: skip
    return tissue.changed(**changes) if changes else tissue


def bioheat(
    shape: tuple[int, int, int], spacing_mm: float, tissue: Tissue, *, insulated: bool = True, **options: Any
) -> BioheatSolver:
    """A solver of one tissue with constant properties: nothing boils and no perfusion stops unless asked for."""
    options = {"boiling": False, "perfusion_stops": False, **options}
    return BioheatSolver(
        shape, spacing_mm, np.zeros(shape, dtype=np.uint8), (tissue,), insulated=insulated, **options
    )


def kick(solver: BioheatSolver, rise_k: NDArray[Any]) -> None:
    """Gives every cell a rise at once: a source of a microsecond, in which nothing flows."""
    heat = RHO_C if len(solver.tissues) > 1 else solver.tissues[0].volumetric_heat_j_m3_k
    solver.advance(1e-6, solver.padded(np.asarray(rise_k) * heat * 1e6))


@dataclass(frozen=True, slots=True)
class Corner:
    """One octant (or, with ``plane``, one quadrant) of a symmetric problem between insulated walls.

    Attributes:
        cells: along each axis from the centre of the problem.
        spacing_mm: side of the cells.
        plane: True for a problem without change along the last axis.
    """

    cells: int
    spacing_mm: float
    plane: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the arrays."""
        return (self.cells, self.cells, LAYERS if self.plane else self.cells)

    @property
    def spacing_m(self) -> float:
        """Side of the cells in metres."""
        return 1e-3 * self.spacing_mm

    @property
    def radius_mm(self) -> FloatArray:
        """Distance of every cell from the centre (from the axis in the plane)."""
        x = (np.arange(self.cells) + 0.5) * self.spacing_mm
        if self.plane:
            flat = np.hypot(x[:, None], x[None, :])
            return np.repeat(flat[:, :, None], LAYERS, axis=2)
        return np.asarray(np.sqrt(x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2))

    def point_source(self, power: float) -> FloatArray:
        """Source density of ``power`` W (in the plane: W/m) at the centre: the cells that meet there share it."""
        source = np.zeros(self.shape)
        if self.plane:
            source[0, 0, :] = power / (4.0 * self.spacing_m**2)
        else:
            source[0, 0, 0] = power / (8.0 * self.spacing_m**3)
        return source

    def at(self, values: NDArray[Any], radius_mm: float) -> float:
        """Value at a distance, by a cubic spline along the row of cells next to an axis."""
        from scipy.interpolate import CubicSpline

        row = values[:, 0, 0].astype(np.float64)
        near = np.abs(np.arange(self.cells) * self.spacing_mm - radius_mm) < 8.0 * self.spacing_mm
        return float(CubicSpline(self.radius_mm[near, 0, 0], row[near])(radius_mm))

    def radius_of(self, values: NDArray[Any], level: float) -> float:
        """Distance at which values along the row next to an axis cross a level, the outermost."""
        row = values[:, 0, 0].astype(np.float64) - level
        radius = self.radius_mm[:, 0, 0]
        crossing = np.flatnonzero(row[:-1] * row[1:] <= 0)
        i = int(crossing[-1])
        return float(radius[i] + (radius[i + 1] - radius[i]) * row[i] / (row[i] - row[i + 1]))


def ball_share(corner: Corner, radius_mm: float, samples: int = 6) -> FloatArray:
    """Share of every cell that lies within a radius, by sub-sampling."""
    share = np.zeros(corner.shape)
    radius = corner.radius_mm
    share[radius < radius_mm] = 1.0
    cut = np.argwhere(np.abs(radius - radius_mm) < corner.spacing_mm)
    offsets = (np.arange(samples) + 0.5) / samples
    inner = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    points = (cut[:, None, :] + inner) * corner.spacing_mm
    if corner.plane:
        points = points[..., :2]
    share[tuple(cut.T)] = (np.linalg.norm(points, axis=-1) < radius_mm).mean(axis=1)
    return share


def surface_contact(outside_mm: FloatArray, spacing_mm: float) -> tuple[NDArray[np.int64], Contact]:
    """Cells held behind a smooth surface, and faces that reach to the surface itself and not to the cell's centre.

    The conductance of a face is that over the distance from the tissue cell's centre to the surface along the grid
    line (Gibou et al., J Comput Phys 2002;176:205): second order, where cells held as a staircase are first order.

    Args:
        outside_mm: signed distance of every cell from the surface, negative behind it.
        spacing_mm: side of the cells.
    """
    is_held = outside_mm < 0.3 * spacing_mm
    held = np.argwhere(is_held)
    cells, behind, factors = [], [], []
    for axis in range(3):
        for sign in (-1, 1):
            other = held.copy()
            other[:, axis] += sign
            valid = ((other >= 0) & (other < outside_mm.shape)).all(axis=1)
            valid[valid] = ~is_held[tuple(other[valid].T)]
            own, tissue = held[valid], other[valid]
            near, far = outside_mm[tuple(own.T)], outside_mm[tuple(tissue.T)]
            cells.append(tissue)
            behind.append(own)
            factors.append((far - near) / far)
    return held, Contact(np.concatenate(cells), np.concatenate(behind), np.concatenate(factors))


def needle_section(
    shape: tuple[int, int], spacing_mm: float, centres_mm: list[tuple[float, float]], radius_mm: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Contact]:
    """Held cells of endless needles across a plane, which needle holds each, and their contact.

    One layer of what ``needle_cells`` gives for long needles; cell (i, j) is centred at (i, j) spacings.
    """
    margin = int(np.ceil(radius_mm / spacing_mm)) + 2
    layers = 2 * margin + 8
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    grid = Grid((shape[0], shape[1], layers), affine)
    start, end = (margin + 0.5) * spacing_mm, (margin + 6.5) * spacing_mm
    parts = [NeedlePart((x, y, start), (x, y, end), radius_mm) for x, y in centres_mm]
    made = needle_cells(grid, parts)
    middle = layers // 2
    own = made.held[:, 2] == middle
    faces = (made.contact.held[:, 2] == middle) & (made.contact.cells[:, 2] == middle)
    held, inner, outer = [], [], []
    for layer in range(LAYERS):
        for rows, target in (
            (made.held[own], held), (made.contact.held[faces], inner), (made.contact.cells[faces], outer),
        ):  # fmt: skip
            copy = rows.copy()
            copy[:, 2] = layer
            target.append(copy)
    contact = Contact(np.concatenate(outer), np.concatenate(inner), np.tile(made.contact.factors[faces], LAYERS))
    return np.concatenate(held), np.tile(made.part[own], LAYERS), contact
