"""The order of punctures against all permutations, under motions, and what is said where there is none."""

import dataclasses
import math
from itertools import permutations

import numpy as np
import pytest
from made_cases import random_rotations, rotation

from needleplan.coverage.needle_shape import NeedleShapes, Part
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.puncture_order import order_punctures, view_distances_mm
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import DeviceError, GeometryError, OptionError, PhysicsError
from needleplan.plan import Ablation, Insertion, vector3
from needleplan.trajectory.constraints.placed_needle import segment_to_segments_mm

FRAME = rotation(7)
ALONG, ACROSS, UP = FRAME.T
ANTENNA = builtin_catalogue().applicator("generic-mwa-2450")
PULSES = builtin_catalogue().applicator("generic-ire-19g-20")
CROWDED = PairLimits(
    needle_distance_mm=0.5,
    handle_radius_mm=6.0,
    guide_radius_mm=40.0,
    guide_standoff_mm=45.0,
    guide_approach_mm=0.0,
)


def insertion(entry, tip, applicator=ANTENNA, shallowest=None):
    tips = [tip] if shallowest is None else [tip, shallowest]
    ablations = tuple(Ablation(vector3(one), None, 300.0) for one in tips)
    return Insertion(vector3(entry), vector3(tip), applicator.name, ablations)


def random_plan(count, seed):
    """Needles that lean any way over each other's entries: handles and guides get into each other's way."""
    rng = np.random.default_rng(seed)
    reach = 40.0 * np.sqrt(count)
    entry = 80 * ALONG + rng.uniform(-reach, reach, (count, 2)) @ np.array([ACROSS, UP])
    way = ALONG + rng.uniform(-1.5, 1.5, (count, 2)) @ np.array([ACROSS, UP])
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    tip = entry - rng.uniform(20, 190, (count, 1)) * way
    return [insertion(a, b) for a, b in zip(entry, tip, strict=True)]


def moved(plan, matrix, shift=0.0):
    return [
        insertion(np.asarray(one.entry_mm) @ matrix.T + shift, np.asarray(one.tip_mm) @ matrix.T + shift)
        for one in plan
    ]


def may_be_placed(plan, limits, placed, standing):
    """Whether a needle may be placed while another one stands, part by part with another code."""
    shapes = NeedleShapes.of_insertions(plan, ANTENNA)
    way, hub = shapes.direction, shapes.usable_length_mm - shapes.depth_mm

    def parts(k, back_mm, guide):
        entry, end = shapes.entry_mm[k], hub[k] + back_mm
        found = [
            (entry, shapes.tip_mm[k], shapes.radius_mm[k]),
            (entry, entry - end * way[k], shapes.radius_mm[k]),
            (entry - hub[k] * way[k], entry - (end + limits.handle_length_mm) * way[k], limits.handle_radius_mm),
        ]
        if guide:
            near = limits.guide_standoff_mm
            far = near + limits.guide_length_mm + limits.guide_approach_mm
            found.append((entry - near * way[k], entry - far * way[k], limits.guide_radius_mm))
        return found

    start = limits.guide_approach_mm + limits.guide_standoff_mm
    for a, one in enumerate(parts(placed, shapes.depth_mm[placed] + start, True)):
        for b, other in enumerate(parts(standing, 0.0, False)):
            apart, _ = segment_to_segments_mm(one[0], one[1], other[0][None], other[1][None])
            asked = limits.needle_distance_mm if a == b == 0 else limits.outside_distance_mm
            if apart[0] < one[2] + other[2] + asked:
                return False
    return True


# --- Orders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "seeds"), [(2, 40), (3, 40), (4, 40), (5, 20), (6, 10)])
def test_an_order_is_found_exactly_where_one_of_all_permutations_is_feasible(count, seeds):
    outcomes, decided = set(), 0
    for seed in range(seeds):
        plan = random_plan(count, seed)
        free = np.array(
            [[i == j or may_be_placed(plan, CROWDED, i, j) for j in range(count)] for i in range(count)]
        )

        def feasible(order, free=free):
            return all(free[k, standing] for place, k in enumerate(order) for standing in order[:place])

        possible = [order for order in permutations(range(count)) if feasible(order)]
        found = order_punctures(plan, ANTENNA, CROWDED)
        assert found.exists == bool(possible)
        if possible:
            assert feasible(found.order) and sorted(found.order) == list(range(count))
            # The first is the farthest of those that any feasible order can begin with.
            far = view_distances_mm(plan, ANTENNA)
            assert far[found.order[0]] == pytest.approx(max(far[order[0]] for order in possible))
            decided += len(possible) < math.factorial(count)
            assert not found.conflicts
        else:
            assert found.order == () and found.conflicts and found.remedies
            assert "no order" in found.sentences[0]
        outcomes.add(found.exists)
    assert outcomes == {True, False} and (decided or count > 4)


def test_needles_that_are_free_go_farthest_first_and_then_deepest():
    shallow = insertion(90 * ALONG, 50 * ALONG)
    deep = insertion(90 * ALONG + 80 * ACROSS, 80 * ACROSS - 20 * ALONG)
    slanted = insertion(90 * ALONG - 150 * ACROSS, 20 * ALONG - 80 * ACROSS)
    limits = PairLimits()
    plan = [shallow, slanted, deep]
    assert order_punctures(plan, ANTENNA, limits).order == (2, 1, 0)
    # From a probe beside the shallow one's entry the slanted needle's zone lies farther than it is deep.
    view = 60 * ALONG + 200 * ACROSS + np.linspace(-10, 10, 5)[:, None] * UP
    far = view_distances_mm(plan, ANTENNA, view)
    assert order_punctures(plan, ANTENNA, limits, view_mm=view).order == tuple(np.argsort(-far))
    assert order_punctures(plan, ANTENNA, limits, view_mm=view).order == (1, 0, 2)
    middle = np.asarray(deep.tip_mm) - ANTENNA.tip_to_centre_mm * deep.direction
    assert far[2] == pytest.approx(np.linalg.norm(view - middle, axis=1).min())
    # Electrodes for pulses hide nothing: the deepest first.
    pulsed = [dataclasses.replace(one, applicator=PULSES.name) for one in plan]
    depth = [-one.depth_mm for one in plan]
    assert order_punctures(pulsed, PULSES, limits, view_mm=view).order == tuple(np.argsort(depth))


def test_an_order_is_the_same_for_permuted_turned_and_mirrored_patients():
    rng = np.random.default_rng(6)
    places = [np.diag([-1.0, 1.0, 1.0]), *random_rotations(rng, 2)]
    feasible = 0
    for seed in range(12):
        plan = random_plan(5, seed)
        found = order_punctures(plan, ANTENNA, CROWDED)
        groups = order_punctures(plan, ANTENNA, CROWDED, maximum_at_once=3).groups
        feasible += found.exists
        for matrix in places:
            there = moved(plan, matrix, np.array([30.0, -400.0, 7.0]))
            assert order_punctures(there, ANTENNA, CROWDED).order == found.order
            assert order_punctures(there, ANTENNA, CROWDED, maximum_at_once=3).groups == groups
        mixed = rng.permutation(5)
        other = [plan[k] for k in mixed]
        again = order_punctures(other, ANTENNA, CROWDED)
        assert tuple(int(mixed[k]) for k in again.order) == found.order
        split = order_punctures(other, ANTENNA, CROWDED, maximum_at_once=3).groups
        assert tuple(tuple(int(mixed[k]) for k in group) for group in split) == groups
    assert 0 < feasible < 12


def test_equal_needles_are_ordered_by_where_they_are_whatever_their_place_in_the_list():
    plan = [insertion(90 * ALONG + k * 60 * ACROSS, k * 60 * ACROSS) for k in range(4)]
    names = [[plan[k].entry_mm for k in order] for order in ((0, 1, 2, 3), (3, 1, 0, 2))]
    orders = []
    for entries in names:
        given = [next(one for one in plan if one.entry_mm == entry) for entry in entries]
        orders.append([given[k].entry_mm for k in order_punctures(given, ANTENNA, PairLimits()).order])
    assert orders[0] == orders[1]


# --- One past the other -----------------------------------------------------------------------------------------


def leaning(height_mm, beside_mm, reach_mm, depth_mm):
    """An upright needle, 130 mm deep, and one that leans over it: where their axes are nearest, and how near."""
    entry = 90 * ALONG
    way = height_mm / reach_mm * ALONG - np.sqrt(1 - (height_mm / reach_mm) ** 2) * ACROSS
    foot = entry + height_mm * ALONG + beside_mm * UP - reach_mm * way
    return [insertion(entry, -40 * ALONG), insertion(foot, foot - depth_mm * way)]


def test_a_guide_that_cannot_pass_a_standing_shaft_makes_its_needle_go_first():
    plan = leaning(40.0, 10.0, 120.0, 60.0)
    limits = PairLimits(guide_radius_mm=15.0, handle_radius_mm=4.0, guide_standoff_mm=20.0, guide_approach_mm=0.0)
    # Seen from the upright needle's zone the other one is the farthest and would go first.
    view = view_from_zone(plan[0])
    free = order_punctures(plan, ANTENNA, dataclasses.replace(limits, guide_radius_mm=None), view_mm=view)
    assert free.order == (1, 0) and len(free.sentences) == 1
    found = order_punctures(plan, ANTENNA, limits, view_mm=view)
    assert found.order == (0, 1)
    missing = 15.0 + ANTENNA.radius_mm - 10.0
    said = (
        f"Needle 1 goes before 2: with needle 2 in place the guide of needle 1 comes {missing:.1f} mm too near to"
    )
    assert said in found.evidence.finding and not found.evidence.remedy
    # A little less, and it passes.
    slim = dataclasses.replace(limits, guide_radius_mm=10.0 - ANTENNA.radius_mm)
    assert order_punctures(plan, ANTENNA, slim, view_mm=view).order == (1, 0)


def test_a_handle_that_cannot_come_down_past_a_standing_needle_makes_its_needle_go_first():
    plan = leaning(170.0, 6.0, 175.0, 20.0)
    limits = PairLimits(handle_radius_mm=9.0, guide_approach_mm=0.0)
    view = view_from_zone(plan[0])
    found = order_punctures(plan, ANTENNA, limits, view_mm=view)
    assert found.order == (0, 1) and "the handle of needle 1 comes" in found.evidence.finding
    bare = dataclasses.replace(limits, handle_radius_mm=None)
    assert order_punctures(plan, ANTENNA, bare, view_mm=view).order == (1, 0)


def view_from_zone(one):
    return (np.asarray(one.tip_mm) - ANTENNA.tip_to_centre_mm * one.direction)[None]


def test_crossing_shafts_leave_no_order_and_are_placed_by_turns():
    one = insertion(80 * ALONG - 40 * ACROSS, 40 * ACROSS)
    other = insertion(80 * ALONG + 40 * ACROSS, -40 * ACROSS)
    limits = PairLimits(handle_radius_mm=3.0)
    found = order_punctures([one, other], ANTENNA, limits)
    assert not found.exists and found.order == () and found.groups == ()
    assert {(c.placed, c.standing) for c in found.conflicts} == {(0, 1), (1, 0)}
    missing = 2 * ANTENNA.radius_mm + limits.needle_distance_mm
    for conflict in found.conflicts:
        assert conflict.missing_mm == pytest.approx(missing, abs=1e-5)
        assert conflict.together and conflict.part is Part.SHAFT_INSIDE and conflict.draw_back_mm is None
    assert f"{missing:.1f} mm" in found.evidence.finding and "by turns" in found.evidence.remedy
    assert [one.order for one in found.applied([one, other])] == [1, 2]
    turns = order_punctures([one, other], ANTENNA, limits, maximum_at_once=1)
    assert turns.exists and len(turns.groups) == 2 and not turns.evidence.remedy
    two = order_punctures([one, other], ANTENNA, limits, maximum_at_once=2)
    assert two.groups == turns.groups and "1 and 2" in two.sentences[-1]


def test_a_blocked_passage_is_freed_by_drawing_the_standing_needle_back():
    seen = 0
    for seed in range(80):
        plan = random_plan(2, seed)
        found = order_punctures(plan, ANTENNA, CROWDED)
        for one in found.conflicts:
            if one.draw_back_mm is None:
                continue
            seen += 1
            standing = plan[one.standing]
            for back, wanted in ((one.draw_back_mm, True), (one.draw_back_mm - 1.0, False)):
                tip = np.asarray(standing.tip_mm) - back * standing.direction
                pair = [insertion(plan[one.placed].entry_mm, plan[one.placed].tip_mm)]
                pair.append(insertion(standing.entry_mm, tip))
                assert may_be_placed(pair, CROWDED, 0, 1) == wanted
            assert "Draw needle" in found.evidence.remedy
    assert seen


def test_a_needle_drawn_back_between_ablations_needs_room_for_its_handle():
    limits = PairLimits(handle_radius_mm=6.0, guide_approach_mm=0.0)
    # Handles at different heights: side by side they meet only when the lower one is drawn back.
    low = insertion(100 * ALONG, -80 * ALONG)
    high = insertion(100 * ALONG + 9 * ACROSS, 100 * ALONG + 9 * ACROSS - 20 * ALONG)
    still = order_punctures([low, high], ANTENNA, limits)
    drawn = insertion(low.entry_mm, low.tip_mm, shallowest=np.asarray(low.tip_mm) + 120 * ALONG)
    found = order_punctures([drawn, high], ANTENNA, limits)
    assert not any(one.together for one in still.conflicts)
    assert all(one.together and {one.part, one.standing_part} <= {Part.HANDLE} for one in found.conflicts)
    assert len(found.conflicts) == 2


# --- Groups -----------------------------------------------------------------------------------------------------


def test_one_probe_has_no_conflicts_and_goes_farthest_first():
    for seed in range(6):
        plan = random_plan(5, seed)
        found = order_punctures(plan, ANTENNA, CROWDED, maximum_at_once=1)
        assert found.exists and all(len(group) == 1 for group in found.groups)
        far = view_distances_mm(plan, ANTENNA)
        assert (np.diff(far[list(found.order)]) <= 1e-3).all()
        assert not any("goes before" in sentence for sentence in found.sentences)


@pytest.mark.parametrize("most", [2, 3, 6])
def test_groups_are_as_few_as_any_partition_with_an_order_in_each(most):
    more = 0
    for seed in range(20):
        count = 5
        plan = random_plan(count, seed)
        free = np.array(
            [[i == j or may_be_placed(plan, CROWDED, i, j) for j in range(count)] for i in range(count)]
        )

        def feasible(order, free=free):
            return all(free[k, standing] for place, k in enumerate(order) for standing in order[:place])

        def fewest(left):
            if not left:
                return 0
            best = len(left)
            for pick in range(1 << (len(left) - 1)):
                group = [left[0], *(k for n, k in enumerate(left[1:]) if pick >> n & 1)]
                if len(group) <= most and any(feasible(order) for order in permutations(group)):
                    best = min(best, 1 + fewest([k for k in left if k not in group]))
            return best

        found = order_punctures(plan, ANTENNA, CROWDED, maximum_at_once=most)
        assert sorted(found.order) == list(range(count))
        assert all(len(group) <= most and feasible(group) for group in found.groups)
        assert len(found.groups) == fewest(list(range(count)))
        if len(found.groups) > -(-count // most):
            more += 1
            assert any("leave no order together" in sentence for sentence in found.sentences)
    assert more or most == 2


def test_more_needles_than_are_proven_still_make_groups_with_an_order_each():
    plan = random_plan(14, 3)
    found = order_punctures(plan, ANTENNA, CROWDED, maximum_at_once=4)
    assert sorted(found.order) == list(range(14)) and max(map(len, found.groups)) <= 4
    for group in found.groups:
        assert order_punctures([plan[k] for k in group], ANTENNA, CROWDED).exists
    assert any("no proof" in sentence for sentence in found.sentences)


# --- Edges ------------------------------------------------------------------------------------------------------


def test_no_needle_and_one_needle_have_their_order():
    none = order_punctures([], ANTENNA, PairLimits())
    assert none.exists and none.order == () and none.applied([]) == ()
    one = insertion(90 * ALONG, np.zeros(3))
    single = order_punctures([one], ANTENNA, CROWDED, maximum_at_once=4)
    assert single.order == (0,) and single.groups == ((0,),) and single.applied([one])[0].order == 1


def test_an_order_numbers_the_insertions_it_was_made_for_and_no_others():
    plan = [insertion(90 * ALONG + k * 60 * ACROSS, k * 60 * ACROSS - k * ALONG) for k in range(3)]
    found = order_punctures(plan, ANTENNA, PairLimits())
    assert found.order == (2, 1, 0)
    numbered = found.applied(plan)
    assert [one.order for one in numbered] == [1, 2, 3] and numbered[0].entry_mm == plan[2].entry_mm
    with pytest.raises(OptionError, match="does not fit"):
        found.applied(plan[:2])


def test_impossible_demands_are_refused():
    plan = [insertion(90 * ALONG, np.zeros(3)), insertion(90 * ALONG + 60 * ACROSS, 60 * ACROSS)]
    for most in (0, -1, True, float("nan")):
        with pytest.raises(OptionError, match="at least 1"):
            order_punctures(plan, ANTENNA, PairLimits(), maximum_at_once=most)
    for view in ([], [[1.0, 2.0]], [[np.nan, 0, 0]], [1.0, 2.0, 3.0]):
        with pytest.raises(GeometryError, match="view"):
            order_punctures(plan, ANTENNA, PairLimits(), view_mm=view)
    with pytest.raises(DeviceError, match="nothing is said"):
        order_punctures(plan, PULSES, PairLimits())
    with pytest.raises(GeometryError, match="tip at its entry"):
        order_punctures([insertion(ALONG, ALONG)], ANTENNA, PairLimits())
    pulsed = [dataclasses.replace(one, applicator=PULSES.name) for one in plan]
    with pytest.raises(PhysicsError, match="must stand together"):
        order_punctures(pulsed, PULSES, PairLimits(), maximum_at_once=1)
