"""Balls in voxels of any grid, whose margins have closed forms."""

from collections.abc import Callable

import numpy as np

from needleplan.frames import FloatArray
from needleplan.grid import Grid, VoxelMask
from needleplan.registration.rotations import rotations_of


def oblique_grid(
    centre_mm: FloatArray,
    half_mm: float,
    spacing_mm: tuple[float, float, float],
    turn: FloatArray | None = None,
    mirrored: bool = False,
) -> Grid:
    """A grid about a point that reaches at least ``half_mm`` in every direction."""
    spacing = np.asarray(spacing_mm)
    shape = np.ceil(2.0 * half_mm / spacing).astype(int) + 2
    axes = rotations_of(np.zeros(3) if turn is None else turn) @ np.diag(spacing)
    if mirrored:
        axes[:, 0] *= -1.0
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    # Off the lattice by a part of a voxel, as anatomy is.
    matrix[:3, 3] = centre_mm - axes @ ((shape - 1) / 2.0 + np.array([0.31, -0.17, 0.43]))
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)


def mask_of(grid: Grid, holds: Callable[[FloatArray], np.ndarray]) -> VoxelMask:
    """The voxels whose middles a function of points (n, 3) holds."""
    return VoxelMask.cropped(grid, holds(grid.centres_mm()).reshape(grid.shape))


def ball(
    centre_mm: FloatArray,
    radius_mm: float,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    turn: FloatArray | None = None,
    mirrored: bool = False,
) -> VoxelMask:
    """A ball in the voxels of its own grid."""
    centre = np.asarray(centre_mm, dtype=np.float64)
    grid = oblique_grid(centre, radius_mm + 2.5 * max(spacing_mm), spacing_mm, turn, mirrored)
    return mask_of(grid, lambda points: np.linalg.norm(points - centre, axis=1) < radius_mm)


def ball_margin_mm(tumour_radius_mm: float, zone_radius_mm: float, apart_mm: float) -> float:
    """Least margin of a ball in a ball."""
    return zone_radius_mm - tumour_radius_mm - apart_mm


def ball_mean_mm(tumour_radius_mm: float, zone_radius_mm: float, apart_mm: float) -> float:
    """Mean margin over the tumour's surface: R - ((r + d)³ - |r - d|³) / (6 r d); R - r without a distance."""
    r, d = tumour_radius_mm, apart_mm
    if d == 0:
        return zone_radius_mm - r
    return zone_radius_mm - ((r + d) ** 3 - abs(r - d) ** 3) / (6.0 * r * d)


def ball_share_reached(tumour_radius_mm: float, zone_radius_mm: float, apart_mm: float, margin_mm: float) -> float:
    """Share of the tumour's surface with at least a margin: ((R - m)² - (r - d)²) / (4 r d), from 0 to 1."""
    r, d = tumour_radius_mm, apart_mm
    return float(np.clip(((zone_radius_mm - margin_mm) ** 2 - (r - d) ** 2) / (4.0 * r * d), 0.0, 1.0))
