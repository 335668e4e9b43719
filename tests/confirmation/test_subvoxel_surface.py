"""Surfaces of masks: no bias on balls, nothing of the mask lost, the stated bound kept."""

import numpy as np
import pytest

from needleplan.confirmation.closed_body import ClosedBody
from needleplan.confirmation.subvoxel_surface import subvoxel_surface
from needleplan.grid import Grid, VoxelMask
from tests.confirmation.made_balls import ball, mask_of, oblique_grid

TURN = np.array([0.4, -0.7, 0.3])
CENTRE = np.array([31.7, -12.2, 55.4])


@pytest.mark.parametrize(
    ("spacing", "turn", "bias_voxels"),
    [
        ((1.0, 1.0, 1.0), np.zeros(3), 0.04),
        ((0.7, 0.7, 0.7), TURN, 0.04),
        ((0.8, 0.8, 2.5), TURN, 0.04),
        ((1.5, 0.9, 0.6), TURN, 0.04),
    ],
)
@pytest.mark.parametrize("radius", [6.0, 9.3, 17.1, 26.0])
def test_balls_of_many_sizes_have_no_bias(spacing, turn, bias_voxels, radius):
    mask = ball(CENTRE, radius, spacing, turn)
    surface = subvoxel_surface(mask)
    error = np.linalg.norm(surface.mesh.vertices_mm - CENTRE, axis=1) - radius
    assert abs(error.mean()) < bias_voxels * max(spacing)
    assert np.abs(error).max() <= surface.resolution_mm
    assert surface.error_mm == pytest.approx(max(spacing))
    assert surface.mesh.is_watertight
    assert surface.mesh.volume_mm3 == pytest.approx(mask.volume_mm3, rel=1e-2)


def test_the_boundary_of_the_voxels_would_err_by_more_than_half_a_voxel():
    from needleplan.anatomy.surface_nets import surfaces_from_mask

    stairs = surfaces_from_mask(ball(CENTRE, 17.1)).boundary
    error = np.linalg.norm(stairs.vertices_mm - CENTRE, axis=1) - 17.1
    assert np.abs(error).max() > 0.6


def test_border_voxels_would_be_half_a_voxel_too_small():
    from scipy.ndimage import binary_erosion

    mask = ball(CENTRE, 17.1)
    border = mask.inside & ~binary_erosion(mask.inside)
    away = np.linalg.norm(mask.grid.to_patient(np.argwhere(border)) - CENTRE, axis=1)
    assert away.mean() - 17.1 < -0.4


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 5.0)])
def test_every_voxel_stays_on_its_side(spacing):
    rng = np.random.default_rng(5)
    inside = np.zeros((14, 15, 9), dtype=bool)
    inside[2:12, 2:13, 2:7] = rng.random((10, 11, 5)) < 0.5
    inside[7, 7, 7] = True
    grid = Grid(inside.shape, oblique_grid(CENTRE, 5.0, spacing, TURN).T_PV)
    body = ClosedBody(subvoxel_surface(VoxelMask(grid, inside)).mesh)
    assert np.array_equal(body.contains(grid.centres_mm()).reshape(grid.shape), inside)


def test_a_single_voxel_and_a_thin_sheet_have_surfaces():
    for shape in ((1, 1, 1), (9, 9, 1)):
        mask = VoxelMask(Grid(shape, np.diag([0.9, 0.9, 3.0, 1.0])), np.ones(shape, dtype=bool))
        mesh = subvoxel_surface(mask).mesh
        assert mesh.is_watertight
        assert mesh.volume_mm3 > 0


def test_a_hole_is_kept():
    grid = oblique_grid(CENTRE, 15.0, (1.0, 1.0, 1.0), TURN)
    mask = mask_of(
        grid,
        lambda points: (
            (np.linalg.norm(points - CENTRE, axis=1) < 12)
            & (np.linalg.norm(points - CENTRE - np.array([3.0, 0, 0]), axis=1) > 1.6)
        ),
    )
    body = ClosedBody(subvoxel_surface(mask).mesh)
    assert not body.contains((CENTRE + np.array([3.0, 0, 0]))[None])[0]
    assert body.contains((CENTRE - np.array([3.0, 0, 0]))[None])[0]


def test_mirrored_index_axes_change_nothing():
    plain, mirrored = (subvoxel_surface(ball(CENTRE, 9.0, (0.8, 1.0, 1.6), TURN, hand)) for hand in (False, True))
    for surface in (plain, mirrored):
        away = np.linalg.norm(surface.mesh.vertices_mm - CENTRE, axis=1)
        assert abs(away.mean() - 9.0) < 0.05
        assert surface.mesh.volume_mm3 > 0


def test_a_moved_mask_has_the_moved_surface():
    mask = ball(CENTRE, 8.0, (0.8, 0.8, 2.0))
    matrix = np.eye(4)
    matrix[:3, 3] = (5.0, -3.0, 2.0)
    moved = VoxelMask(mask.grid.moved(matrix), mask.inside)
    first, second = subvoxel_surface(mask).mesh, subvoxel_surface(moved).mesh
    assert np.allclose(first.moved(matrix).vertices_mm, second.vertices_mm, atol=1e-9)


def test_a_lattice_holds_what_points_say():
    from needleplan.confirmation.closed_body import lattice_over

    grid = oblique_grid(CENTRE, 14.0, (1.0, 1.0, 1.3), TURN)
    away = np.array([9.0, 0.0, 0.0])
    mask = mask_of(
        grid,
        lambda p: (np.linalg.norm(p - CENTRE + away, axis=1) < 6) | (np.linalg.norm(p - CENTRE - away, axis=1) < 5),
    )
    body = ClosedBody(subvoxel_surface(mask).mesh)
    low, high = body.mesh.bounds_mm
    for lattice in (lattice_over(low - 3, high + 3, 0.9), lattice_over(low + 4, high - 2, 0.7)):
        assert np.array_equal(body.holds(lattice).ravel(), body.contains(lattice.centres_mm()))
    far = lattice_over(high + 50, high + 60, 1.0)
    assert not body.holds(far).any()
