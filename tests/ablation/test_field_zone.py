"""Zones cut from fields, against spheres and ellipsoids that are known and against dense samples of wild fields."""

import numpy as np
import pytest
from made_cases import rotation
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.errors import GeometryError, PhysicsError
from needleplan.grid import Grid, ScalarField

CENTRE = np.array([3.1, -47.3, 12.2])


def oblique_grid(shape, spacing, seed=3, centre=CENTRE, shear=0.0):
    """A rotated anisotropic grid about a point that lies between its voxels; sheared axes on request."""
    axes = rotation(seed) @ np.diag(spacing) @ np.array([[1.0, shear, 0.0], [0, 1, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = centre - axes @ ((np.array(shape) - 1) / 2 + [0.21, -0.37, 0.11])
    return Grid(shape, matrix)


def field_on(grid, function):
    return ScalarField(grid, function(grid.centres_mm()).reshape(grid.shape).astype(np.float32))


def ellipsoid(semi_axes, seed=8):
    """Level 1 at the centre and 0 on the surface of an oblique ellipsoid."""
    turn = rotation(seed)

    def level(points):
        return 1.0 - np.linalg.norm((points - CENTRE) @ turn / semi_axes, axis=1) ** 2

    return level


def noise(seed, width, rim=True):
    """Smoothed noise on an oblique grid, pushed below zero towards the rim so that its zone is not cut there."""
    grid = oblique_grid((24, 28, 20), (0.9, 1.4, 1.1), seed, shear=0.2)
    rng = np.random.default_rng(seed)
    values = gaussian_filter(rng.normal(size=grid.shape), width)
    values = values / values.std() - 0.5
    if rim:
        index = np.indices(grid.shape)
        to_rim = np.min([np.minimum(index[k], n - 1 - index[k]) for k, n in enumerate(grid.shape)], axis=0)
        values = np.minimum(values, 0.4 * (to_rim - 1.5))
    return ScalarField(grid, values.astype(np.float32))


def boundary(zone, rng, count):
    """Pairs of points (n, 3), within and outside, a hair apart."""
    low, high = zone.bounds_mm
    points = rng.uniform(low - 2, high + 2, (6 * count, 3))
    held = zone.contains(points)
    inner, outer = points[held], points[~held]
    inner, outer = inner[rng.integers(0, len(inner), count)], outer[rng.integers(0, len(outer), count)]
    for _ in range(36):
        middle = 0.5 * (inner + outer)
        held = zone.contains(middle)[:, None]
        inner, outer = np.where(held, middle, inner), np.where(held, outer, middle)
    return inner, outer


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.3, 1.9)])
def test_distances_to_a_sphere_vary_below_the_voxel(spacing):
    radius = 13.7
    grid = oblique_grid((48, 40, 32), spacing, shear=0.3)
    zone = FieldZone(field_on(grid, lambda x: 1.0 - np.linalg.norm(x - CENTRE, axis=1) ** 2 / radius**2))
    zone.require_inside_grid()
    points = CENTRE + np.random.default_rng(0).uniform(-22, 22, (20_000, 3))
    true = radius - np.linalg.norm(points - CENTRE, axis=1)
    found = zone.signed_distance_mm(points)
    # Trilinear interpolation of a square lies below it by at most a quarter of the squared step in each axis, so
    # the radius is short by that over twice the radius; sheared axes add their mixed term.
    short = (np.square(spacing).sum() / 4 + 0.3 * spacing[0] ** 2) / (2 * radius)
    assert short < 0.11 * max(spacing)
    # Never overstated, neither inside nor outside: the zone of the interpolated field lies within the sphere.
    assert (found <= true + 1e-6).all()
    assert (found >= true - 1.05 * short - zone.margin_error_mm).all()
    assert 0 < zone.margin_error_mm < 0.03 * min(spacing)
    # On the way outward the distance falls as the way grows, not in steps.
    way = CENTRE + np.linspace(0.5, 20, 400)[:, None] * rotation(4)[:, 1]
    assert np.diff(zone.signed_distance_mm(way)) == pytest.approx(-np.diff(np.linspace(0.5, 20, 400)), abs=0.02)


def test_a_zone_moved_by_a_tenth_of_a_voxel_moves_its_margins_by_that():
    grid = oblique_grid((40, 40, 40), (1.0, 1.0, 1.0))
    way = rotation(6)[:, 2]
    point = CENTRE + 15 * way
    found = []
    for shift in np.arange(0, 1.5, 0.1):
        middle = CENTRE + shift * way
        zone = FieldZone(field_on(grid, lambda x, m=middle: 10.0 - np.linalg.norm(x - m, axis=1)))
        found.append(float(zone.margin_mm(point)[0]))
    assert np.diff(found) == pytest.approx(0.1, abs=0.02)


def test_an_oblique_ellipsoid_against_its_exact_distance():
    axial, radial = 17.0, 9.0
    level = ellipsoid((radial, radial, axial))
    zone = FieldZone(field_on(oblique_grid((60, 50, 64), (0.9, 0.7, 1.1)), level))
    exact = SpheroidUnion([CENTRE], [rotation(8)[:, 2]], [axial], [radial])
    points = CENTRE + np.random.default_rng(1).uniform(-22, 22, (20_000, 3))
    found, true = zone.signed_distance_mm(points), exact.signed_distance_mm(points)
    # The squared step over eight times the radius of curvature, which is least (4.8 mm) at the ends.
    assert np.abs(found - true).max() < 0.08 and np.abs(found - true).mean() < 0.035
    np.testing.assert_allclose(zone.bounds_mm, exact.bounds_mm, atol=0.06)
    assert zone.volume_ml == pytest.approx(4 / 3 * np.pi * axial * radial**2 / 1000, rel=0.015)


def test_interpolation_error_falls_with_the_square_of_the_step():
    level = ellipsoid((9.0, 12.0, 15.0))
    volume = 4 / 3 * np.pi * 9 * 12 * 15 / 1000
    off = [
        volume - FieldZone(field_on(oblique_grid((n + 1,) * 3, (36 / n,) * 3), level)).volume_ml
        for n in (15, 30, 60)
    ]
    assert min(off) > 0
    assert np.log2(np.array(off[:-1]) / off[1:]) == pytest.approx(2.0, abs=0.15)


@pytest.mark.long
@pytest.mark.parametrize(("seed", "width", "rim"), [(1, 4.0, True), (2, 2.0, True), (4, 3.0, False)])
def test_wild_fields_against_dense_samples(seed, width, rim):
    zone = FieldZone(noise(seed, width, rim))
    rng = np.random.default_rng(seed)
    low, high = zone.bounds_mm
    points = rng.uniform(low - 3, high + 3, (15_000, 3))
    held, found = zone.contains(points), zone.signed_distance_mm(points)
    error = zone.margin_error_mm
    assert error < 0.7
    # The sign agrees with the field but for the layer that the distance gives away.
    assert not (found[~held] >= 0).any()
    assert (found[held] >= -error - 1e-9).all()
    inner, outer = boundary(zone, rng, 60_000)
    for cloud in (inner, outer):
        near = zone.signed_distance_mm(cloud)
        assert near.max() <= 1e-9 and near.min() >= -error - 1e-9
        assert (cloud >= low - 1e-9).all() and (cloud <= high + 1e-9).all()
    assert np.abs([inner.min(axis=0) - low, inner.max(axis=0) - high]).max() < error + 1.5
    to_outside, to_inside = cKDTree(outer).query(points[held])[0], cKDTree(inner).query(points[~held])[0]
    gap = 1.5 * cKDTree(inner[5000:]).query(inner[:5000])[0].max()
    assert (found[held] <= to_outside + 1e-9).all() and (found[held] >= to_outside - gap - error).all()
    assert (-found[~held] >= to_inside - gap - 1e-9).all() and (-found[~held] <= to_inside + error).all()
    for reach in (1e-3, 0.1, 2.0):
        step = rng.normal(size=points.shape) * reach
        change = np.abs(zone.signed_distance_mm(points + step) - found)
        assert (change <= np.linalg.norm(step, axis=1) + 1e-9).all()
    (mesh,) = zone.surfaces()
    assert mesh.is_watertight and mesh.volume_mm3 > 0
    share = zone.contains(box_points(zone, rng, 60_000)).mean()
    assert zone.volume_ml == pytest.approx(share * np.prod(high - low) / 1000, rel=0.02)


def box_points(zone, rng, count):
    return rng.uniform(*zone.bounds_mm, (count, 3))


def test_contains_is_the_sign_of_the_interpolated_field():
    field = noise(5, 1.5)
    zone = FieldZone(field)
    points = field.grid.to_patient(
        np.random.default_rng(0).uniform(-2, np.array(field.grid.shape) + 1, (20_000, 3))
    )
    expected = field.sample(points, outside=-1.0) >= 0
    np.testing.assert_array_equal(zone.contains(points), expected)
    assert 0.02 < expected.mean() < 0.9
    np.testing.assert_array_equal(zone.contains(points[:5].tolist()), expected[:5])


def test_levels_above_and_below():
    field = noise(6, 2.0)
    points = field.grid.centres_mm()
    values = field.values.ravel().astype(float)
    np.testing.assert_array_equal(FieldZone.at_least(field, -0.3).contains(points), values >= -0.3)
    cold = FieldZone.at_most(ScalarField(field.grid, 20 - 50 * field.values), -20.0)
    near = np.abs(values - 0.8) < 1e-5
    np.testing.assert_array_equal(cold.contains(points)[~near], (values >= 0.8)[~near])
    # The unit of the field does not matter.
    scaled = FieldZone(ScalarField(field.grid, field.values * np.float32(2.0**40)))
    some = points[::7] + 0.3
    expected = FieldZone(field).signed_distance_mm(some)
    np.testing.assert_allclose(scaled.signed_distance_mm(some), expected, atol=1e-9)


def test_several_parts_and_a_cavity():
    grid = oblique_grid((70, 40, 40), (1.0, 1.0, 1.0))
    second = CENTRE + 22 * grid.T_PV[:3, 0]

    def level(points):
        r, s = np.linalg.norm(points - CENTRE, axis=1), np.linalg.norm(points - second, axis=1)
        return np.maximum(np.minimum(12 - r, r - 5), 8 - s)

    zone = FieldZone(field_on(grid, level))
    # The middle of the hollow ball lies 5 mm outside, the gap between the parts is 2 mm, the shell 7 mm thick.
    shell = CENTRE + 8.5 * rotation(5)[:, 0]
    gap = CENTRE + 13 * grid.T_PV[:3, 0]
    found = zone.signed_distance_mm([CENTRE, shell, gap, second])
    assert found == pytest.approx([-5, 3.5, -1, 8], abs=0.1)
    assert zone.contains([CENTRE, shell, gap, second]).tolist() == [False, True, False, True]
    assert zone.volume_ml == pytest.approx(4 / 3 * np.pi * (12**3 - 5**3 + 8**3) / 1000, rel=0.01)
    (mesh,) = zone.surfaces()
    assert mesh.is_watertight and mesh.volume_mm3 > 0


def test_a_field_that_nowhere_reaches_the_level():
    grid = oblique_grid((12, 10, 8), (1.0, 2.0, 1.5))
    for values in (np.full(grid.shape, -3.0), np.full(grid.shape, -np.inf)):
        zone = FieldZone(ScalarField(grid, values))
        points = grid.centres_mm()
        assert zone.is_empty and not zone.contains(points).any()
        assert (zone.signed_distance_mm(points) == -np.inf).all() and zone.least_margin_mm(points) == -np.inf
        assert zone.surfaces() == () and zone.volume_ml == 0.0 and zone.margin_error_mm == 0.0
        assert (zone.bounds_mm[0] == zone.bounds_mm[1]).all()
        zone.require_inside_grid()


@pytest.mark.parametrize("side", [(0, -1), (0, 1), (1, -1), (1, 1), (2, -1), (2, 1)])
def test_a_zone_that_reaches_the_edge_is_cut_there_and_refused(side):
    axis, way = side
    grid = oblique_grid((31, 35, 27), (1.0, 0.9, 1.2))
    middle = grid.to_patient(np.where(np.arange(3) == axis, (np.array(grid.shape) - 1) * (way > 0), 14.2))
    zone = FieldZone(field_on(grid, lambda x: 9.0 - np.linalg.norm(x - middle, axis=1)))
    with pytest.raises(PhysicsError, match="too small for the zone") as caught:
        zone.require_inside_grid()
    assert "\n" not in str(caught.value)
    # A half ball: its flat side is the plane of the outermost centres.
    normal = way * grid.T_PV[:3, axis] / np.linalg.norm(grid.T_PV[:3, axis])
    assert zone.signed_distance_mm(middle - 3 * normal)[0] == pytest.approx(3, abs=0.15)
    assert zone.signed_distance_mm(middle + 2 * normal)[0] == pytest.approx(-2, abs=0.15)
    assert not zone.contains(middle + 1e-3 * normal)[0] and zone.contains(middle - 1e-3 * normal)[0]
    assert zone.volume_ml == pytest.approx(2 / 3 * np.pi * 9**3 / 1000, rel=0.015)
    inward = FieldZone(field_on(grid, lambda x: 9.0 - np.linalg.norm(x - middle + 14 * normal, axis=1)))
    inward.require_inside_grid()


def test_the_whole_grid_and_a_single_voxel():
    grid = oblique_grid((6, 5, 4), (1.0, 2.0, 1.5))
    whole = FieldZone(ScalarField(grid, np.ones(grid.shape)))
    assert whole.volume_ml == pytest.approx(5 * 4 * 3 * 3.0 / 1000, rel=1e-4)
    one = np.full(grid.shape, -1.0)
    one[2, 3, 1] = 1.0
    single = FieldZone(ScalarField(grid, one))
    assert 0 < single.volume_ml < 0.003
    spot = grid.to_patient([2, 3, 1])
    assert single.contains(spot)[0] and 0.2 < single.signed_distance_mm(spot)[0] < 0.5


def test_values_at_the_level_itself_are_destroyed():
    """A plateau at the level, as melting makes one, belongs to the zone, and so does a voxel just on it."""
    grid = oblique_grid((20, 20, 20), (1.0, 1.0, 1.0))
    index = np.indices(grid.shape)
    values = np.where(np.abs(index - 10).max(axis=0) <= 4, 0.0, -1.0)
    zone = FieldZone(ScalarField(grid, values))
    assert zone.contains(grid.to_patient([[10, 10, 10], [14, 10, 10], [14.001, 10, 10]])).tolist() == [
        True,
        True,
        False,
    ]
    assert zone.volume_ml == pytest.approx(0.512, rel=1e-3)
    assert zone.signed_distance_mm(grid.to_patient([[10, 10, 10]]))[0] == pytest.approx(4, abs=1e-3)


def test_infinite_values_are_clipped():
    grid = oblique_grid((30, 30, 30), (1.0, 1.0, 1.0))
    field = field_on(grid, lambda x: 9.0 - np.linalg.norm(x - CENTRE, axis=1))
    endless = np.where(field.values > 4, np.inf, np.where(field.values < -4, -np.inf, field.values))
    points = CENTRE + np.random.default_rng(0).uniform(-13, 13, (2000, 3))
    found = FieldZone(ScalarField(grid, endless)).signed_distance_mm(points)
    np.testing.assert_allclose(found, FieldZone(field).signed_distance_mm(points), atol=1e-6)
    only = FieldZone(ScalarField(grid, np.where(field.values >= 0, np.inf, -np.inf)))
    assert only.volume_ml == pytest.approx(4 / 3 * np.pi * 9**3 / 1000, rel=0.05)


def test_what_is_no_field_is_refused():
    grid = oblique_grid((6, 5, 4), (1.0, 2.0, 1.5))
    broken = np.ones(grid.shape)
    broken[1, 2, 3] = np.nan
    with pytest.raises(GeometryError, match="not a number"):
        FieldZone(ScalarField(grid, broken))
    mixed = np.full(grid.shape, -np.inf)
    mixed[0, 0, 0] = np.inf
    assert not FieldZone(ScalarField(grid, mixed)).is_empty
    flat = oblique_grid((6, 5, 1), (1.0, 2.0, 1.5))
    with pytest.raises(GeometryError, match="two voxels"):
        FieldZone(ScalarField(flat, np.ones(flat.shape)))
