"""Distances to needles that are in the patient already: closed forms and brute force."""

import numpy as np
import pytest
from made_cases import rotation
from made_straight_paths import APPLICATOR, RADIUS, bent, body, located, paths, points_along, random_paths, values

from needleplan.errors import OptionError
from needleplan.trajectory.constraints.entry_spacing import EntrySpacing
from needleplan.trajectory.constraints.needle_distance import NeedleDistance
from needleplan.trajectory.constraints.placed_needle import PlacedNeedle, segment_to_segments_mm
from needleplan.trajectory.measured import HANDLE_MM, MeasuredPaths

OUTSIDE = APPLICATOR.usable_length_mm + HANDLE_MM
FRAME = rotation(5)


def brute_force(first, second, starts, ends, count=161):
    share = np.linspace(0, 1, count)
    one = first + share[:, None] * (second - first)
    many = starts[:, None] + share[:, None] * (ends - starts)[:, None]
    return np.linalg.norm(one[None, None] - many[:, :, None], axis=3).min(axis=(1, 2))


def test_distances_of_segments_are_those_of_their_points():
    rng = np.random.default_rng(1)
    starts, ends = rng.uniform(-50, 50, (60, 3)), rng.uniform(-50, 50, (60, 3))
    for _ in range(4):
        first, second = rng.uniform(-50, 50, (2, 3))
        found, share = segment_to_segments_mm(first, second, starts, ends)
        brute = brute_force(first, second, starts, ends)
        # Points at steps of up to 1.1 mm along both never come nearer than the segments do.
        assert (found <= brute + 1e-9).all() and (brute - found).max() < 1.1
        place = starts + share[:, None] * (ends - starts)
        to_one, _ = segment_to_segments_mm(first, second, place, place)
        np.testing.assert_allclose(to_one, found, atol=1e-9)


def test_parallel_collinear_crossing_and_pointlike_segments():
    unit = FRAME[0]
    across = FRAME[1]
    starts = np.array([3 * across, 20 * unit, 5 * unit - 4 * across, 7 * across, 2 * unit, -3 * unit - 4 * across])
    ends = np.array(
        [8 * unit + 3 * across, 30 * unit, 5 * unit + 9 * across, 7 * across, 4 * unit, -9 * unit - 4 * across]
    )
    found, _ = segment_to_segments_mm(np.zeros(3), 10 * unit, starts, ends)
    np.testing.assert_allclose(found, [3, 10, 0, 7, 0, 5], atol=1e-9)
    swapped, _ = segment_to_segments_mm(10 * unit, np.zeros(3), ends, starts)
    np.testing.assert_allclose(swapped, found, atol=1e-9)
    point, _ = segment_to_segments_mm(unit, unit, np.array([4 * across + unit]), np.array([4 * across + 9 * unit]))
    np.testing.assert_allclose(point, 4)


def test_parallel_needles_are_their_axes_apart_less_both_radii():
    tip, back = 5 * FRAME[2], 60 * FRAME[2]
    placed = (PlacedNeedle(back, tip, 1.3),)
    shifted = [distance * FRAME[0] for distance in (4.0, 9.0, 25.0)]
    table = paths([back + s for s in shifted], [tip + s for s in shifted])
    constraint = NeedleDistance(placed, 5.0)
    np.testing.assert_allclose(values(constraint, table, body()), np.array([4, 9, 25]) - RADIUS - 1.3)
    column = constraint.evaluate(MeasuredPaths(table, body()))
    assert column.passed.tolist() == [False, True, True]


def test_crossing_needles_fail_whatever_is_demanded_and_so_do_crossing_handles():
    placed = (PlacedNeedle((0, -80, 0), (0, 0, 0), 1.0, 100.0),)
    # The first crosses inside; the second comes near only outside, where both handles stand.
    table = paths([[-40, -40, 0], [6, -80, 0]], [[40, -40, 0], [30, 0, 0]])
    found = values(NeedleDistance(placed, 0.0), table, body())
    assert found[0] == pytest.approx(-1.0 - RADIUS)
    assert found[1] == pytest.approx(-1.0 - RADIUS)
    where = located(NeedleDistance(placed, 0.0), table, body())
    assert where[0] == pytest.approx(40.0, abs=1e-6) and where[1] == pytest.approx(-20 * np.hypot(1, 0.3))
    short = (PlacedNeedle((0, -80, 0), (0, 0, 0), 1.0, 0.0),)
    # With nothing outside, the nearest are the entry of the one and the line of the other.
    clear = 6 / np.hypot(1, 0.3) - 1.0 - RADIUS
    assert values(NeedleDistance(short, 0.0), table, body())[1] == pytest.approx(clear)


def test_curved_needles_are_never_overstated_and_within_a_tenth():
    table = bent(random_paths(80, seed=4), radius_mm=90.0)
    needle = PlacedNeedle((30, -70, 10), (-12, 5, -8), 0.8, 50.0)
    found = values(NeedleDistance((needle,), 0.0), table, body())
    points, _ = points_along(table, 2000)
    near = np.array([segment_to_segments_mm(needle.tip_mm, needle.back_mm, row, row)[0].min() for row in points])
    back = table.entry_mm - OUTSIDE * table.entry_direction
    outside, _ = segment_to_segments_mm(needle.tip_mm, needle.back_mm, table.entry_mm, back)
    exact = np.minimum(near, outside) - needle.radius_mm - RADIUS
    assert (found <= exact + 1e-9).all()
    assert (exact - found).max() < 0.11 + 0.05


def test_the_place_is_where_the_distance_is():
    table = bent(random_paths(80, seed=8), radius_mm=120.0)
    needle = PlacedNeedle((30, -70, 10), (-12, 5, -8), 0.8, 50.0)
    constraint = NeedleDistance((needle,), 0.0)
    found, where = values(constraint, table, body()), located(constraint, table, body())
    points, along = points_along(table, 4000)
    for row in range(len(table)):
        if where[row] >= 0:
            point = points[row, np.argmin(np.abs(along[row] - where[row]))]
        else:
            point = table.entry_mm[row] + where[row] * table.entry_direction[row]
        distance, _ = segment_to_segments_mm(needle.tip_mm, needle.back_mm, point[None], point[None])
        assert distance[0] - needle.radius_mm - RADIUS == pytest.approx(found[row], abs=0.2)


def test_more_needles_never_leave_more_room_and_their_order_is_nothing():
    table = random_paths(100, seed=2)
    one = PlacedNeedle((30, -70, 10), (-12, 5, -8), 0.8)
    two = PlacedNeedle((-50, -60, 10), (12, 5, 8), 1.8)
    both = values(NeedleDistance((one, two), 0.0), table, body())
    np.testing.assert_array_equal(both, values(NeedleDistance((two, one), 0.0), table, body()))
    alone = [values(NeedleDistance((needle,), 0.0), table, body()) for needle in (one, two)]
    np.testing.assert_array_equal(both, np.minimum(*alone))


def test_entries_are_apart_in_a_straight_line():
    placed = (PlacedNeedle((0, -80, 0), (0, 0, 0), 1.0), PlacedNeedle((80, 0, 0), (0, 0, 5), 1.0))
    table = paths([[0, -80, 0], [0, -77, 4], [48, -64, 0]], [0, 0, 0])
    found = values(EntrySpacing(placed, 5.0), table, body())
    np.testing.assert_allclose(found, [0, 5, np.hypot(48, 16)])


def test_mirrored_needles_have_the_mirrored_distances():
    mirror = np.array([-1.0, 1.0, 1.0])
    table = random_paths(60, seed=3)
    flipped = paths(table.entry_mm * mirror, table.tip_mm * mirror)
    needle = PlacedNeedle((30, -70, 10), (-12, 5, -8), 0.8)
    other = PlacedNeedle(needle.entry_mm * mirror, needle.tip_mm * mirror, 0.8)
    for make in (NeedleDistance, EntrySpacing):
        here, there = values(make((needle,), 1.0), table, body()), values(make((other,), 1.0), flipped, body())
        np.testing.assert_allclose(there, here, atol=1e-9)
        # And not those of the needle that was not mirrored.
        assert np.abs(values(make((needle,), 1.0), flipped, body()) - here).max() > 1


def test_impossible_placed_needles_and_demands_are_refused():
    good = PlacedNeedle((0, -80, 0), (0, 0, 0), 1.0)
    for entry, tip, radius, outside in (
        ((0, 0, 0), (0, 0, 0), 1.0, 0.0),
        ((0, 0, float("nan")), (0, 0, 0), 1.0, 0.0),
        ((0, 0), (0, 0, 0), 1.0, 0.0),
        ((0, 0, 9), (0, 0, 0), 0.0, 0.0),
        ((0, 0, 9), (0, 0, 0), float("nan"), 0.0),
        ((0, 0, 9), (0, 0, 0), 1.0, -1.0),
    ):
        with pytest.raises(OptionError):
            PlacedNeedle(entry, tip, radius, outside)
    for make in (NeedleDistance, EntrySpacing):
        for limit in (-1.0, 1e4, float("nan")):
            with pytest.raises(OptionError, match="between 0 and"):
                make((good,), limit)
        with pytest.raises(OptionError, match="at least one"):
            make((), 1.0)
