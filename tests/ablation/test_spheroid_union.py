"""Distances to spheroids and unions of them against closed forms and dense samples of the boundary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import rotation
from scipy.spatial import cKDTree

from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.ablation.volume import zone_volume_ml
from needleplan.errors import DeviceError


def sphere_points(count):
    """Points spread evenly over the unit sphere (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * k / count), np.pi * (1 + 5**0.5) * k
    return np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=1)


def boundary_of(centre, axes, semi, count):
    """Points on a spheroid whose columns of ``axes`` are its directions."""
    return sphere_points(count) * semi @ axes.T + centre


@pytest.mark.parametrize(("axial", "radial"), [(20.0, 8.0), (8.0, 20.0), (12.0, 12.0), (15.0, 14.999)])
def test_distance_is_that_of_dense_boundary_points(axial, radial):
    axes, centre = rotation(11), np.array([30.0, -50, 12])
    zone = SpheroidUnion(centre, axes[:, 2], [axial], [radial])
    cloud = boundary_of(centre, axes, [radial, radial, axial], 400_000)
    points = centre + np.random.default_rng(0).normal(size=(400, 3)) * 14
    nearest, _ = cKDTree(cloud).query(points)
    local = (points - centre) @ axes / [radial, radial, axial]
    inside = np.linalg.norm(local, axis=1) < 1
    found = zone.signed_distance_mm(points)
    # Every point of the boundary has one of the cloud's within 0.12 mm, in a direction along the boundary.
    np.testing.assert_array_equal(found > 0, inside)
    assert (np.abs(found) <= nearest + 1e-9).all() and (nearest <= np.hypot(found, 0.12) + 0.002).all()
    np.testing.assert_array_equal(zone.contains(points), inside)


def test_distance_closed_forms():
    axis = rotation(2)[:, 0]
    side = rotation(2)[:, 1]
    sphere = SpheroidUnion([1, 2, 3], axis, [9.0], [9.0])
    points = np.random.default_rng(1).normal(size=(200, 3)) * 12
    np.testing.assert_allclose(
        sphere.signed_distance_mm(points), 9.0 - np.linalg.norm(points - [1, 2, 3], axis=1), atol=1e-9
    )
    for axial, radial in ((20.0, 8.0), (8.0, 20.0)):
        zone = SpheroidUnion([0, 0, 0], axis, [axial], [radial])
        # At the middle the shorter semi-axis is nearest; beyond each end of an axis the end itself is.
        assert zone.signed_distance_mm([[0, 0, 0]])[0] == pytest.approx(min(axial, radial))
        np.testing.assert_allclose(zone.signed_distance_mm([axis * 30, side * 25]), [axial - 30, radial - 25])
        # On the long axis inside, the foot leaves the end once the distance exceeds the end's radius of curvature.
        long, short, along = (axial, radial, axis) if axial > radial else (radial, axial, side)
        limit = (long**2 - short**2) / long
        for at in (0.3 * limit, 0.9 * limit):
            expected = short * np.sqrt(1 - at**2 / (long**2 - short**2))
            assert zone.signed_distance_mm([along * at])[0] == pytest.approx(expected, rel=1e-9)
        at = limit + 0.3 * (long - limit)
        assert zone.signed_distance_mm([along * at])[0] == pytest.approx(long - at, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_covering_is_signed_distance_of_at_least_the_radius(seed):
    rng = np.random.default_rng(seed)
    axes = np.stack([rotation(int(k))[:, 0] for k in rng.integers(0, 99, 4)])
    union = SpheroidUnion(rng.normal(size=(4, 3)) * 6, axes, rng.uniform(4, 22, 4), rng.uniform(4, 22, 4))
    points, radii = rng.normal(size=(300, 3)) * 9, rng.uniform(0, 6, 300)
    covers = union.covering(points, radii)
    for k in range(4):
        one = SpheroidUnion(union.centres_mm[k], axes[k], [union.axial_mm[k]], [union.radial_mm[k]])
        depth = one.signed_distance_mm(points)
        clear = np.abs(depth - radii) > 1e-9
        np.testing.assert_array_equal(covers[k][clear], (depth >= radii)[clear])


def two_balls(apart):
    return SpheroidUnion([[0, 0, 0], [apart, 0, 0]], [[0, 0, 1.0], [0, 1, 0]], [15, 15], [15, 15])


@pytest.mark.parametrize("apart", [4.0, 12.0, 22.0, 28.0, 29.2, 29.9])
def test_margin_between_two_balls_is_the_distance_to_their_crease(apart):
    zone = two_balls(apart)
    crease = np.sqrt(15**2 - (apart / 2) ** 2)
    middle = zone.margin_mm([[apart / 2, 0, 0]])[0]
    assert middle <= crease + 1e-9
    assert middle >= crease - zone.margin_error_mm - 1e-9
    # The bound itself is a tight one: a fraction of a millimetre even where the balls hardly overlap.
    assert 0.3 < zone.margin_error_mm < 0.8


def true_margin(union, points):
    """Signed distance to a union's boundary from dense points of it, and by how much that may be too large."""
    clouds = []
    for k in range(len(union)):
        x = np.linalg.svd(union.axes[k][None, :])[2]
        frame = np.stack([x[1], x[2], x[0]], axis=1)
        semi = [union.radial_mm[k], union.radial_mm[k], union.axial_mm[k]]
        cloud = boundary_of(union.centres_mm[k], frame, semi, 300_000)
        for j in range(len(union)):
            if j != k:
                other = SpheroidUnion(union.centres_mm[j], union.axes[j], [union.axial_mm[j]], [union.radial_mm[j]])
                cloud = cloud[other.signed_distance_mm(cloud) < 0]
        clouds.append(cloud)
    return cKDTree(np.concatenate(clouds)).query(points)[0]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_margin_never_overstates_and_understates_within_its_bound(seed):
    rng = np.random.default_rng(seed)
    count = 3 + seed
    axes = np.stack([rotation(int(k))[:, 0] for k in rng.integers(0, 99, count)])
    union = SpheroidUnion(
        rng.uniform(-14, 14, (count, 3)), axes, rng.uniform(12, 20, count), rng.uniform(8, 16, count)
    )
    points = rng.uniform(-25, 25, (4000, 3))
    inside = union.contains(points)
    truth = true_margin(union, points[inside])
    found = union.margin_mm(points)[inside]
    assert inside.sum() > 100
    assert (found <= truth + 1e-6).all()
    # The cloud has a point within 0.15 mm of every boundary point but at creases, where it may miss by more.
    assert (found >= truth - union.margin_error_mm - 0.2).all()
    np.testing.assert_array_equal(union.margin_mm(points)[~inside], union.signed_distance_mm(points)[~inside])
    assert (found >= union.signed_distance_mm(points)[inside]).all()


def test_one_spheroid_inside_another_changes_nothing():
    outer = SpheroidUnion([0, 0, 0], [0, 0, 1], [20.0], [15.0])
    both = SpheroidUnion([[0, 0, 0], [1, 0, 0]], [[0, 0, 1], [0, 1.0, 0]], [20, 5], [15, 5])
    points = np.random.default_rng(3).normal(size=(500, 3)) * 8
    np.testing.assert_array_equal(both.contains(points), outer.contains(points))
    difference = outer.signed_distance_mm(points) - both.margin_mm(points)
    assert (difference >= -1e-9).all() and (difference <= both.margin_error_mm).all()


def test_volume_and_bounds_of_an_oblique_spheroid():
    axes = rotation(8)
    zone = SpheroidUnion([5, -60, 70], axes[:, 2], [20.0], [16.0])
    assert zone_volume_ml(zone) == pytest.approx(4 / 3 * np.pi * 20 * 16**2 / 1000, rel=0.005)
    cloud = boundary_of(np.array([5, -60, 70]), axes, [16, 16, 20], 200_000)
    np.testing.assert_allclose(zone.bounds_mm, [cloud.min(axis=0), cloud.max(axis=0)], atol=0.01)
    mesh = zone.surfaces()[0]
    assert mesh.is_watertight and mesh.volume_mm3 == pytest.approx(4 / 3 * np.pi * 20 * 16**2, rel=0.01)


def test_impossible_spheroids_are_refused():
    for axial, radial in ((0.0, 5.0), (5.0, -1.0), (np.nan, 5.0)):
        with pytest.raises(DeviceError):
            SpheroidUnion([0, 0, 0], [0, 0, 1], [axial], [radial])
    with pytest.raises(DeviceError):
        SpheroidUnion([[0, 0, 0], [1, 1, 1]], [0, 0, 1], [5.0], [5.0])


@pytest.mark.parametrize(("axial", "radial"), [(20.0, 8.0), (8.0, 20.0), (12.0, 12.0)])
@pytest.mark.parametrize("off", [0.0, 1e-300, 1e-18, 1e-15, 1e-9])
def test_points_beside_an_axis_by_a_rounding_error_have_the_distance_of_the_axis(axial, radial, off):
    zone = SpheroidUnion([0, 0, 0], [0, 0, 1], [axial], [radial])
    at = np.array([0.0, 0.5, 5.0, 11.0, 19.0, 19.999, 25.0])
    for points in (
        np.stack([np.full(7, off), 0 * at, at], axis=1),
        np.stack([at, 0 * at, np.full(7, off)], axis=1),
    ):
        exact = np.where(np.abs(points) < 1e-3, 0.0, points)
        np.testing.assert_allclose(zone.signed_distance_mm(points), zone.signed_distance_mm(exact), atol=1e-8)
