"""Zones that were seen: distances that never overstate, whatever surface, voxels and registration are off by."""

import numpy as np
import pytest
from made_cases import ball, joined, motion

from needleplan.ablation.measured_zone import JoinedZone, MeasuredZone
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError
from needleplan.grid import Grid, VoxelMask

PLACED = motion(11)
#: An oblique ellipsoid of revolution, its middle far from the origin.
AXIS, MIDDLE = PLACED[:3, 2], PLACED[:3, 3]
SPHEROID = SpheroidUnion(MIDDLE, AXIS, 20.0, 12.0)


def points(count=3000, reach=32.0, seed=0):
    return MIDDLE + np.random.default_rng(seed).uniform(-reach, reach, (count, 3))


def ellipsoid(subdivisions=5):
    return ball((0, 0, 0), 1.0, subdivisions, (12, 12, 20)).moved(PLACED)


def test_distances_to_a_fine_surface_are_those_of_the_solid_and_never_more():
    zone = MeasuredZone(ellipsoid())
    true, found = SPHEROID.signed_distance_mm(points()), zone.signed_distance_mm(points())
    # Facets lie inside a convex solid, so that nothing is overstated.
    assert (found <= true + 1e-9).all() and (true - found).max() < 0.05
    assert zone.volume_ml == pytest.approx(4 / 3 * np.pi * 20 * 144 / 1000, rel=0.01)
    assert (zone.contains(points()) == (found >= 0)).all()


@pytest.mark.parametrize(("surface_mm", "registration_mm"), [(0.7, 0.0), (0.0, 2.5), (0.7, 2.5)])
def test_errors_are_taken_off_every_depth_and_bound_what_is_understated(surface_mm, registration_mm):
    exact, less = MeasuredZone(ellipsoid(4)), MeasuredZone(ellipsoid(4), surface_mm, registration_mm)
    taken = exact.signed_distance_mm(points()) - less.signed_distance_mm(points())
    np.testing.assert_allclose(taken, surface_mm + registration_mm, atol=1e-9)
    assert less.margin_error_mm == pytest.approx(2 * (surface_mm + registration_mm), abs=0.01)
    # A zone that lies off by less than the error holds all that is claimed.
    shift = np.array([0.6, -0.5, 0.62]) * registration_mm
    moved = SpheroidUnion(MIDDLE + shift, AXIS, 20.0, 12.0).signed_distance_mm(points())
    found = less.signed_distance_mm(points())
    assert (found <= moved + 1e-9).all() and (moved - found).max() <= less.margin_error_mm + 0.2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.9, 2.5)])
def test_voxels_of_an_oblique_image_never_overstate_what_they_stand_for(spacing):
    turned = motion(5, shift=(0, 0, 0))[:3, :3]
    shape = tuple(int(np.ceil(52.0 / step)) for step in spacing)
    matrix = np.eye(4)
    matrix[:3, :3] = turned * spacing
    matrix[:3, 3] = MIDDLE - matrix[:3, :3] @ (0.5 * (np.array(shape) - 1.0))
    grid = Grid(shape, matrix)
    inside = SPHEROID.contains(grid.centres_mm()).reshape(shape)
    zone = MeasuredZone.of_mask(VoxelMask.cropped(grid, inside))
    true, found = SPHEROID.signed_distance_mm(points()), zone.signed_distance_mm(points())
    assert (found <= true + 1e-9).all() and (true - found).max() <= zone.margin_error_mm
    assert zone.surface_error_mm == pytest.approx(0.5 * np.linalg.norm(spacing))


def test_parts_and_cavities_count_as_they_are():
    two = joined(ball((0, 0, 0), 8.0, 4), ball((30, 0, 0), 8.0, 4), ball((0, 0, 0), 3.0, 3).flipped())
    zone = MeasuredZone(two)
    np.testing.assert_allclose(
        zone.signed_distance_mm([[0, 0, 0], [30, 0, 0], [5.5, 0, 0], [15, 0, 0]]), [-3.0, 8.0, 2.5, -7.0], atol=0.1
    )


def test_joined_zones_hold_what_one_of_them_holds_and_see_margins_across_the_seam():
    ends = [SpheroidUnion(MIDDLE + x * AXIS, AXIS, 12.0, 10.0) for x in (-7.0, 7.0)]
    both = SpheroidUnion(MIDDLE + np.array([[-7.0], [7.0]]) * AXIS, np.stack([AXIS, AXIS]), [12.0] * 2, [10.0] * 2)
    zone = JoinedZone(*ends)
    np.testing.assert_allclose(zone.signed_distance_mm(points()), both.signed_distance_mm(points()), atol=1e-9)
    inner = points(400, 9.0)
    inner = inner[both.contains(inner)]
    exact, found = both.margin_mm(inner), zone.margin_mm(inner)
    assert (found <= exact + both.margin_error_mm + 1e-9).all()
    assert (exact - found).max() <= zone.margin_error_mm
    assert (found >= zone.signed_distance_mm(inner) - 1e-9).all()
    # Somewhere between the two neither alone tells how deep a point lies.
    between = MIDDLE + np.linspace(-1.5, 1.5, 7)[:, None] * AXIS
    assert (zone.margin_mm(between) > zone.signed_distance_mm(between) + 0.5).all()
    assert (zone.margin_mm(between) <= both.margin_mm(between) + both.margin_error_mm).all()
    assert (zone.bounds_mm[0] <= both.bounds_mm[0] + 1e-9).all() and len(zone.surfaces()) == 2


def test_what_is_no_closed_surface_is_refused():
    mesh = ellipsoid(2)
    with pytest.raises(GeometryError, match="must be closed, but has 3 open edges"):
        MeasuredZone(SurfaceMesh(mesh.vertices_mm, mesh.faces[1:]))
    with pytest.raises(GeometryError, match="must look outward"):
        MeasuredZone(mesh.flipped())
    with pytest.raises(GeometryError, match="holds no face"):
        MeasuredZone(SurfaceMesh(mesh.vertices_mm, mesh.faces[:0]))
    with pytest.raises(GeometryError, match="no voxel"):
        MeasuredZone.of_mask(VoxelMask(Grid((3, 3, 3), np.eye(4)), np.zeros((3, 3, 3), bool)))
    for error in (-1.0, np.nan, np.inf, 60.0):
        with pytest.raises(GeometryError, match="registration error of a measured zone must be 0 to 50 mm"):
            MeasuredZone(mesh, registration_error_mm=error)
    with pytest.raises(GeometryError, match="no zone to join"):
        JoinedZone()
