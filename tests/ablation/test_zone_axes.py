"""Extents of zones: spheroids and ellipsoids at oblique angles, unions, fields, nothing at all."""

import numpy as np
import pytest

from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.ablation.zone_axes import zone_axes
from needleplan.errors import FrameError
from needleplan.frames import perpendicular_axes, unit_vector
from needleplan.grid import Grid, ScalarField

OBLIQUE = unit_vector([0.4, -0.7, 0.55])
TIP = np.array([31.0, -12.0, 7.0])


def field_of(centre, frame, radii) -> FieldZone:
    """An ellipsoid of half-axes ``radii`` along the columns of ``frame`` as the level set of a field."""
    reach = max(radii) + 4.0
    # The grid stands oblique to the ellipsoid, with unequal steps.
    matrix = np.eye(4)
    turn = np.stack([*perpendicular_axes([1.0, 2.0, -0.5]), unit_vector([1.0, 2.0, -0.5])], axis=1)
    steps = np.array([1.0, 0.8, 1.1])
    shape = tuple(int(2 * reach / s) + 1 for s in steps)
    matrix[:3, :3] = turn * steps
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape, matrix)
    local = (grid.centres_mm() - centre) @ frame
    level = 1.0 - np.linalg.norm(local / radii, axis=1)
    return FieldZone(ScalarField(grid, level.reshape(shape).astype(np.float32)))


def test_a_spheroid_along_its_needle():
    middle = TIP - 8.0 * OBLIQUE
    axes = zone_axes(SpheroidUnion(middle[None], OBLIQUE[None], [21.0], [14.0]), TIP, OBLIQUE)
    assert axes.length_mm == pytest.approx(42.0, rel=1e-3)
    assert axes.largest_diameter_mm == pytest.approx(28.0, rel=1e-3)
    assert axes.least_diameter_mm == pytest.approx(28.0, rel=2e-3)
    assert axes.ahead_of_tip_mm == pytest.approx(13.0, abs=0.05)
    assert axes.behind_tip_mm == pytest.approx(29.0, abs=0.05)
    assert axes.widest_behind_tip_mm == pytest.approx(8.0, abs=1.0)
    assert axes.volume_ml == pytest.approx(4 / 3 * np.pi * 21 * 14**2 / 1000, rel=3e-3)
    assert axes.sphericity == pytest.approx(28 / 42, rel=3e-3)


@pytest.mark.parametrize("degrees", [17.0, 40.0, 90.0])
def test_a_spheroid_that_lies_across_the_needle(degrees):
    a, b = 22.0, 11.0
    angle = np.radians(degrees)
    x, _ = perpendicular_axes(OBLIQUE)
    own = np.cos(angle) * OBLIQUE + np.sin(angle) * x
    axes = zone_axes(SpheroidUnion(TIP[None], own[None], [a], [b]), TIP, OBLIQUE)
    along = np.sqrt((a * np.cos(angle)) ** 2 + (b * np.sin(angle)) ** 2)
    # The middle section is an ellipse of half-axes b and a b / along.
    across = a * b / along
    assert axes.length_mm == pytest.approx(2 * along, rel=1.5e-3)
    assert axes.largest_diameter_mm == pytest.approx(2 * across, rel=1.5e-3)
    assert axes.least_diameter_mm == pytest.approx(2 * b, rel=3e-3)
    assert axes.ahead_of_tip_mm == pytest.approx(axes.behind_tip_mm, rel=2e-3)


def test_a_field_with_three_unequal_axes():
    frame = np.stack([*perpendicular_axes(OBLIQUE), OBLIQUE], axis=1)
    turned = frame @ np.array([[np.cos(0.7), -np.sin(0.7), 0], [np.sin(0.7), np.cos(0.7), 0], [0, 0, 1]])
    zone = field_of(TIP - 5.0 * OBLIQUE, turned, (18.0, 11.0, 15.0))
    axes = zone_axes(zone, TIP, OBLIQUE)
    assert axes.largest_diameter_mm == pytest.approx(36.0, abs=0.15)
    assert axes.least_diameter_mm == pytest.approx(22.0, abs=0.15)
    assert axes.length_mm == pytest.approx(30.0, abs=0.15)
    assert axes.ahead_of_tip_mm == pytest.approx(10.0, abs=0.1)
    assert axes.volume_ml == pytest.approx(zone.volume_ml)
    assert axes.sphericity == pytest.approx(22 / 36, abs=0.01)


def test_a_needle_the_other_way_round_swaps_front_and_back():
    zone = SpheroidUnion((TIP - 8.0 * OBLIQUE)[None], OBLIQUE[None], [21.0], [14.0])
    there, back = zone_axes(zone, TIP, OBLIQUE), zone_axes(zone, TIP, -OBLIQUE)
    assert back.ahead_of_tip_mm == pytest.approx(there.behind_tip_mm, abs=1e-9)
    assert back.behind_tip_mm == pytest.approx(there.ahead_of_tip_mm, abs=1e-9)
    assert back.length_mm == pytest.approx(there.length_mm)


def test_two_zones_side_by_side_are_measured_together():
    x, _ = perpendicular_axes(OBLIQUE)
    centres = np.stack([TIP - 9.0 * x, TIP + 9.0 * x])
    zone = SpheroidUnion(centres, np.stack([OBLIQUE, OBLIQUE]), [16.0, 16.0], [12.0, 12.0])
    axes = zone_axes(zone, TIP, OBLIQUE)
    assert axes.largest_diameter_mm == pytest.approx(42.0, rel=2e-3)
    assert axes.least_diameter_mm == pytest.approx(24.0, rel=3e-3)
    one = 4 / 3 * np.pi * 16 * 12**2
    # Overlapping tissue counts once: the lens beyond the plane between both, in units where they are balls.
    cap = np.pi * 3.0**2 * (12 - 1.0) * 16 / 12
    assert axes.volume_ml == pytest.approx((2 * one - 2 * cap) / 1000, rel=6e-3)


def test_nothing_destroyed_has_no_extent():
    empty = FieldZone(ScalarField(Grid((3, 3, 3), np.eye(4)), np.full((3, 3, 3), -1.0, dtype=np.float32)))
    axes = zone_axes(empty, TIP, OBLIQUE)
    assert axes.is_empty and axes.sphericity == 0.0 and axes.volume_ml == 0.0


def test_a_needle_without_direction_is_refused():
    zone = SpheroidUnion(TIP[None], OBLIQUE[None], [21.0], [14.0])
    with pytest.raises(FrameError):
        zone_axes(zone, TIP, [0.0, 0.0, 0.0])
