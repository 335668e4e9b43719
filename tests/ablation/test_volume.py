"""The count of a zone's cubes is that of asking about each of them, wherever the parts of the zone lie."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.measured_zone import JoinedZone, MeasuredZone
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.ablation.volume import zone_volume_ml
from needleplan.frames import unit_vector
from needleplan.grid import Grid, ScalarField


def counted_ml(zone, step_mm):
    low, high = zone.bounds_mm
    ranges = [np.arange(a + 0.5 * step_mm, b + step_mm, step_mm) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.count_nonzero(zone.contains(points)) * step_mm**3 / 1000.0


def spheroids(spread_mm, seed=4):
    rng = np.random.default_rng(seed)
    axes = np.array([unit_vector(each) for each in rng.normal(size=(3, 3))])
    centres = (12.0, -70.0, 5.0) + spread_mm * rng.normal(size=(3, 3))
    return SpheroidUnion(centres, axes, rng.uniform(9.0, 24.0, 3), rng.uniform(4.0, 9.0, 3))


def wild_field(seed):
    """A zone of smoothed noise with hollows and crumbs, on an oblique grid of unequal steps."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ np.diag((0.9, 2.1, 1.3))
    matrix[:3, 3] = (40.0, -300.0, 7.0)
    values = gaussian_filter(rng.normal(size=(40, 24, 32)), 2.0)
    return FieldZone(ScalarField(Grid(values.shape, matrix), (values - values.std()).astype(np.float32)))


@pytest.mark.long
@pytest.mark.parametrize("step_mm", [0.7, 1.0, 2.3])
@pytest.mark.parametrize("spread_mm", [0.0, 15.0, 60.0])
def test_spheroids_are_counted_as_point_by_point(spread_mm, step_mm):
    zone = spheroids(spread_mm)
    assert zone_volume_ml(zone, step_mm) == counted_ml(zone, step_mm) > 0.0


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_wild_field_is_counted_as_point_by_point(seed):
    zone = wild_field(seed)
    assert zone_volume_ml(zone) == counted_ml(zone, 1.0) > 0.0


def test_zones_of_surfaces_and_joined_ones_are_counted_as_point_by_point():
    one, two = (spheroids(0.0, seed) for seed in (5, 6))
    joined = JoinedZone(MeasuredZone(one.surfaces()[0], 0.5), two)
    assert zone_volume_ml(joined, 1.7) == counted_ml(joined, 1.7) > 0.0


def test_zones_metres_apart_cost_no_more_than_the_sum_of_both():
    asked = []

    class Counted(SpheroidUnion):
        def contains(self, points_mm):
            asked.append(len(points_mm))
            return super().contains(points_mm)

    near = Counted([[0.0, 0, 0]], [[0.0, 0, 1]], [20.0], [15.0])
    zone_volume_ml(near)
    alone = sum(asked)
    asked.clear()
    apart = Counted([[0.0, 0, 0], [9000.0, -9000, 9000]], [[0.0, 0, 1], [0, 1.0, 0]], [20.0, 20.0], [15.0, 15.0])
    volume_ml = zone_volume_ml(apart)
    assert volume_ml == pytest.approx(2 * 4 / 3 * np.pi * 20 * 15**2 / 1000, rel=0.01)
    assert sum(asked) < 4 * alone


def test_nothing_destroyed_is_no_volume():
    values = np.full((8, 8, 8), -1.0, dtype=np.float32)
    assert zone_volume_ml(FieldZone(ScalarField(Grid(values.shape, np.eye(4)), values))) == 0.0
