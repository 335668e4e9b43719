"""Which two needles may not stand together: distances against dense points and fcl, rules against pulse models."""

import dataclasses
from itertools import combinations

import fcl
import numpy as np
import pytest
from made_cases import random_rotations, rotation

from needleplan.ablation.pulse_rules import ElectrodePair, PlacedElectrode, PulseProtocol
from needleplan.coverage.needle_pairs import (
    PairReason,
    SparseConflicts,
    conflicts_among,
    least_room_mm,
    pair_conflicts,
    reasons_against,
)
from needleplan.coverage.needle_shape import NeedleShapes, Part, applicator_of, axis_distance_mm, least_gap_mm
from needleplan.coverage.pair_evidence import explain_pairs
from needleplan.coverage.pair_limits import ACTIVE_DISTANCE_MM, PairLimits
from needleplan.devices.applicator_physics import applicator_physics
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import DeviceError, GeometryError, OptionError, PhysicsError
from needleplan.plan import Ablation, Insertion, vector3
from needleplan.trajectory.constraints.placed_needle import segment_to_segments_mm
from needleplan.trajectory.measured import HANDLE_MM
from needleplan.trajectory.screening import PathLimits

FRAME = rotation(7)
ANTENNA = builtin_catalogue().applicator("generic-mwa-2450")
PULSES = builtin_catalogue().applicator("generic-ire-19g-20")
BARE = PairLimits(needle_distance_mm=0.0, entry_spacing_mm=0.0, handle_radius_mm=None)
#: Demands that are met by everything but touching shafts inside.
NOTHING_OUTSIDE = dataclasses.replace(BARE, handle_radius_mm=0.01, handle_length_mm=0.01, guide_approach_mm=0.0)


def needles(entry, tip, radius=1.0, usable=200.0, active=20.0, back=0.0):
    entry, tip = np.atleast_2d(np.asarray(entry, float)), np.atleast_2d(np.asarray(tip, float))
    entry, tip = np.broadcast_arrays(entry, tip)
    return NeedleShapes(entry, tip, *(np.asarray(x, float) for x in (radius, usable, active, back)))


def random_needles(count, seed=0, spread=8.0, **lengths):
    """Needles from a slanted cap about a target, most of them near to some other."""
    rng = np.random.default_rng(seed)
    way = rng.normal(size=(count, 3))
    way[:, 2] = np.abs(way[:, 2]) + 0.5
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    entry, tip = way * rng.uniform(60, 100, (count, 1)), rng.normal(size=(count, 3)) * spread
    return needles(entry @ FRAME.T, tip @ FRAME.T, **lengths)


def capsule(start, end, radius):
    """fcl's capsule about the segment."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    axis = (end - start) / np.linalg.norm(end - start)
    helper = np.eye(3)[np.argmin(np.abs(axis))]
    first = np.cross(helper, axis)
    first /= np.linalg.norm(first)
    turn = np.stack([first, np.cross(axis, first), axis], axis=1)
    shape = fcl.Capsule(radius, float(np.linalg.norm(end - start)))
    return fcl.CollisionObject(shape, fcl.Transform(turn, 0.5 * (start + end)))


def fcl_gap(one, other):
    result = fcl.DistanceResult()
    return fcl.distance(one, other, fcl.DistanceRequest(), result)


def dense(start, end, count=250):
    return start + np.linspace(0, 1, count)[:, None] * (end - start)


def insertion(entry, tip, applicator=ANTENNA, order=1, tips=None):
    tips = [tip] if tips is None else tips
    ablations = tuple(Ablation(vector3(one), None, 300.0) for one in tips)
    return Insertion(vector3(entry), vector3(tip), applicator.name, ablations, {}, order)


# --- Distances --------------------------------------------------------------------------------------------------


def test_gaps_of_shafts_handles_and_guides_are_those_of_dense_points_and_of_fcl():
    shapes = random_needles(5, seed=3)
    limits = PairLimits(handle_radius_mm=9.0, guide_radius_mm=12.0)
    for parts in (shapes.standing(limits, 7.0), shapes.placing(limits)):
        count, flat = parts.shape[1], parts.ravel()
        for i, j in combinations(range(len(shapes)), 2):
            gaps, solids = [], []
            for a in parts[i]:
                for b in parts[j]:
                    first, second = dense(a[:3], a[3:6]), dense(b[:3], b[3:6])
                    apart = np.linalg.norm(first[:, None] - second[None], axis=2).min()
                    gaps.append(apart - a[6] - b[6])
                    solids.append(fcl_gap(capsule(a[:3], a[3:6], a[6]), capsule(b[:3], b[3:6], b[6])))
            gap, one, other = least_gap_mm(flat, i, count, flat, j, count, 0.0, 0.0, np.inf)
            # Points at steps of up to 0.9 mm never come nearer than the segments do.
            assert gap <= min(gaps) + 1e-9 and min(gaps) - gap < 0.8
            if gap > 0.01:
                assert gap == pytest.approx(min(solids), abs=2e-3)
            assert gaps[one * count + other] == pytest.approx(min(gaps), abs=0.8)
            assert least_gap_mm(flat, j, count, flat, i, count, 0.0, 0.0, np.inf)[0] == pytest.approx(gap, abs=1e-9)


def test_axes_that_cross_touch_run_side_by_side_or_are_points_have_their_closed_distance():
    along, across, up = FRAME.T
    zero = np.zeros(3)
    cases = [
        ((zero, 10 * along), (5 * along - 4 * across, 5 * along + 9 * across), 0.0),
        ((zero, 10 * along), (3 * across, 8 * along + 3 * across), 3.0),
        ((zero, 10 * along), (3 * across + 12 * along, 30 * along + 3 * across), np.hypot(2, 3)),
        ((zero, 10 * along), (10 * along, 10 * along + 5 * up), 0.0),
        ((zero, 10 * along), (10 * along + 2 * across, 4 * along + 2 * across), 2.0),
        ((zero, zero), (4 * across - along, 4 * across + along), 4.0),
        ((up, up), (3 * up, 3 * up), 2.0),
    ]
    for (a, b), (c, d), wanted in cases:
        one, other = np.array([*a, *b] + [0.0] * 6), np.array([*c, *d] + [0.0] * 6)
        assert axis_distance_mm(one, 0, other, 0) == pytest.approx(wanted, abs=1e-9)
        assert axis_distance_mm(other, 0, one, 0) == pytest.approx(wanted, abs=1e-9)
        found, _ = segment_to_segments_mm(a, b, c[None], d[None])
        assert found[0] == pytest.approx(wanted, abs=1e-9)


# --- Conflicts --------------------------------------------------------------------------------------------------


def by_hand(shapes, limits):
    """Pairs that must not stand together, from distances of whole parts by another code, one pair at a time."""
    found = {}
    direction, hub = shapes.direction, shapes.usable_length_mm - shapes.depth_mm
    for i, j in combinations(range(len(shapes)), 2):

        def distance(a, b):
            return segment_to_segments_mm(a[0], a[1], b[0][None], b[1][None])[0][0]

        def parts(k, back_mm, placing=False):
            entry, way = shapes.entry_mm[k], direction[k]
            end = hub[k] + back_mm
            yield (entry, shapes.tip_mm[k]), shapes.radius_mm[k], True
            yield (entry, entry - end * way), shapes.radius_mm[k], False
            if limits.handle_radius_mm is not None:
                far = entry - (end + limits.handle_length_mm) * way
                yield (entry - hub[k] * way, far), limits.handle_radius_mm, False
            if placing and limits.guide_radius_mm is not None:
                near = limits.guide_standoff_mm
                far = near + limits.guide_length_mm + limits.guide_approach_mm
                yield (entry - near * way, entry - far * way), limits.guide_radius_mm, False

        def room(first, second):
            gaps = [
                distance(a, b) - r - s - limits.outside_distance_mm
                for a, r, a_in in first
                for b, s, b_in in second
                if not (a_in and b_in)
            ]
            return min(gaps)

        if np.linalg.norm(shapes.entry_mm[i] - shapes.entry_mm[j]) < limits.entry_spacing_mm:
            found[i, j] = PairReason.ENTRIES
            continue
        radii = shapes.radius_mm[i] + shapes.radius_mm[j]
        shafts = [(shapes.entry_mm[k], shapes.tip_mm[k]) for k in (i, j)]
        if distance(*shafts) - radii < limits.needle_distance_mm:
            found[i, j] = PairReason.SHAFTS
            continue
        long = shapes.active_length_mm + shapes.pull_back_mm
        active = [(shapes.tip_mm[k], shapes.tip_mm[k] - long[k] * direction[k]) for k in (i, j)]
        if limits.active_distance_mm is not None and distance(*active) < limits.active_distance_mm:
            found[i, j] = PairReason.ACTIVE_PARTS
            continue
        back = shapes.pull_back_mm
        if room(list(parts(i, back[i])), list(parts(j, back[j]))) < 0:
            found[i, j] = PairReason.OUTSIDE
            continue
        start = limits.guide_approach_mm + (0 if limits.guide_radius_mm is None else limits.guide_standoff_mm)
        ways = [
            room(list(parts(a, shapes.depth_mm[a] + start, True)), list(parts(b, 0.0))) for a, b in ((i, j), (j, i))
        ]
        if max(ways) < 0:
            found[i, j] = PairReason.PASSAGE
    return found


@pytest.mark.parametrize(
    "limits",
    [
        PairLimits(),
        PairLimits(active_distance_mm=15.0, handle_radius_mm=None, entry_spacing_mm=12.0),
        PairLimits(handle_radius_mm=14.0, outside_distance_mm=3.0, needle_distance_mm=0.0),
        PairLimits(handle_radius_mm=9.0, guide_radius_mm=18.0, guide_standoff_mm=25.0, needle_distance_mm=0.5),
    ],
)
@pytest.mark.parametrize("lengths", [{}, {"usable": 140.0, "back": 12.0, "active": 30.0}])
def test_conflicts_are_those_found_pair_by_pair_with_every_reason_met(limits, lengths):
    shapes = random_needles(30, seed=5, spread=6.0, **lengths)
    found = {(i, j): reason for i, j, reason, _ in conflicts_among(shapes, limits)}
    wanted = by_hand(shapes, limits)
    assert found == wanted
    assert 20 < len(wanted) < 400 and PairReason.SHAFTS in wanted.values()
    if limits.guide_radius_mm is not None:
        assert PairReason.PASSAGE in wanted.values()
    if limits.handle_radius_mm is not None and limits.handle_radius_mm > 5:
        assert PairReason.OUTSIDE in wanted.values()


def test_many_paths_are_listed_in_parts_as_well_and_in_ascending_order(monkeypatch):
    shapes = random_needles(120, seed=9)
    whole = conflicts_among(shapes, PairLimits())
    monkeypatch.setattr("needleplan.coverage.needle_pairs._BLOCK", 700)
    parts = conflicts_among(shapes, PairLimits())
    for name in ("first", "second", "reason", "measured"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    order = whole.first * 120 + whole.second
    assert (np.diff(order) > 0).all() and (whole.first < whole.second).all()
    assert sum(whole.tally.values()) == len(whole)


def test_permuted_turned_and_mirrored_needles_have_the_same_conflicts():
    shapes = random_needles(60, seed=2, back=5.0)
    limits = PairLimits(guide_radius_mm=15.0, active_distance_mm=8.0)
    here = {(i, j): (reason, value) for i, j, reason, value in conflicts_among(shapes, limits)}
    places = [np.diag([-1.0, 1.0, 1.0]), *random_rotations(np.random.default_rng(1), 3)]
    for matrix in places:
        moved = needles(shapes.entry_mm @ matrix.T + 30, shapes.tip_mm @ matrix.T + 30, back=5.0)
        there = {(i, j): (reason, value) for i, j, reason, value in conflicts_among(moved, limits)}
        assert {k: v[0] for k, v in there.items()} == {k: v[0] for k, v in here.items()}
        np.testing.assert_allclose([there[k][1] for k in here], [v[1] for v in here.values()], atol=1e-6)
    mixed = np.random.default_rng(4).permutation(60)
    other = conflicts_among(needles(shapes.entry_mm[mixed], shapes.tip_mm[mixed], back=5.0), limits)
    back = {tuple(sorted((int(mixed[i]), int(mixed[j])))): reason for i, j, reason, _ in other}
    assert back == {k: v[0] for k, v in here.items()}


def test_shallower_tips_on_the_same_paths_never_conflict_where_the_deepest_do_not():
    deep = random_needles(50, seed=11, usable=140.0, back=20.0)
    limits = PairLimits(active_distance_mm=12.0, handle_radius_mm=8.0)
    refused = {(i, j) for i, j, _, _ in conflicts_among(deep, limits)}
    rng = np.random.default_rng(0)
    shallow = needles(deep.entry_mm, deep.tip_mm - rng.uniform(0, 20, (50, 1)) * deep.direction, usable=140.0)
    standing = {(i, j) for i, j, why, _ in conflicts_among(shallow, limits) if why is not PairReason.PASSAGE}
    assert standing < refused
    # Without the room for the way back some are missed.
    fixed = {(i, j) for i, j, _, _ in conflicts_among(needles(deep.entry_mm, deep.tip_mm, usable=140.0), limits)}
    assert not standing <= fixed


def test_needles_set_exactly_to_a_limit_keep_it_and_nearer_ones_do_not():
    along, across, _ = FRAME.T
    for apart, limits, reason in (
        (10.0, PairLimits(), PairReason.OUTSIDE),
        (9.0, PairLimits(needle_distance_mm=7.0, handle_radius_mm=None), PairReason.SHAFTS),
        (12.0, PairLimits(entry_spacing_mm=12.0), PairReason.ENTRIES),
        (11.0, PairLimits(active_distance_mm=11.0, handle_radius_mm=None), PairReason.ACTIVE_PARTS),
    ):
        entry = np.array([90 * along, 90 * along + apart * across])
        assert not len(conflicts_among(needles(entry, entry - 80 * along), limits))
        near = entry - np.array([[0, 0, 0], 1e-3 * across])
        found = list(conflicts_among(needles(near, near - 80 * along), limits))
        assert [one[2] for one in found] == [reason]
    touching = np.array([90 * along, 90 * along + 2 * across])
    found = list(conflicts_among(needles(touching, touching - 80 * along), BARE))
    assert [one[2] for one in found] == [PairReason.SHAFTS] and found[0][3] == pytest.approx(0.0, abs=1e-9)
    clear = touching + np.array([[0, 0, 0], 1e-3 * across])
    assert not len(conflicts_among(needles(clear, clear - 80 * along), BARE))


def test_crossing_shafts_and_converging_handles_are_told_apart():
    along, across, _ = FRAME.T
    # The first two cross inside the body.
    crossing = needles([80 * along - 40 * across, 80 * along + 40 * across], [40 * across, -40 * across])
    assert [(why, value) for _, _, why, value in conflicts_among(crossing, BARE)] == [
        (PairReason.SHAFTS, pytest.approx(-2.0))
    ]
    # Needles that converge outward: shafts far apart inside, handles in the same place.
    outward = needles([80 * along - 20 * across, 80 * along + 20 * across], [-40 * across, 40 * across])
    assert [why for _, _, why, _ in conflicts_among(outward, PairLimits())] == [PairReason.OUTSIDE]
    short = needles(outward.entry_mm, outward.tip_mm, usable=float(outward.depth_mm.max()))
    free = PairLimits(handle_radius_mm=5.0, handle_length_mm=20.0, guide_approach_mm=0.0)
    assert not len(conflicts_among(short, free))


def test_the_least_room_is_negative_where_a_pair_conflicts_and_exact_for_parallel_needles():
    limits = PairLimits(active_distance_mm=9.0, handle_radius_mm=6.0)
    signs = set()
    for seed in range(60):
        shapes = random_needles(3, seed=seed, spread=20.0)
        broken = [why for _, _, why, _ in conflicts_among(shapes, limits) if why is not PairReason.PASSAGE]
        room = least_room_mm(shapes, limits)
        assert (room < 0) == bool(broken)
        signs.add(room < 0)
    assert signs == {True, False}
    along, across, _ = FRAME.T
    entry = np.array([90 * along, 90 * along + 30 * across, 90 * along + 70 * across])
    side_by_side = needles(entry, entry - 80 * along)
    assert least_room_mm(side_by_side, limits) == pytest.approx(30 - 12)
    assert least_room_mm(side_by_side, PairLimits(entry_spacing_mm=25.0)) == pytest.approx(5.0)
    assert least_room_mm(side_by_side, PairLimits(active_distance_mm=28.0)) == pytest.approx(2.0)
    assert least_room_mm(needles(entry[:1], entry[:1] - 80 * along), limits) == np.inf


# --- Pulses -----------------------------------------------------------------------------------------------------


def test_rules_of_pulses_are_those_of_the_electrode_pair():
    electrode = applicator_physics(PULSES.name)
    rng = np.random.default_rng(8)
    limits = dataclasses.replace(BARE, electrode=electrode, handle_radius_mm=None)
    protocol = PulseProtocol(electrode.nominal_field_v_cm)
    counts = [0, 0]
    for _ in range(400):
        tilt = rng.normal(size=3) * rng.choice([0.02, 0.06, 0.5])
        way = np.array([[0, 0, 1.0], np.array([0, 0, rng.choice([-1.0, 1.0])]) + tilt]) @ FRAME.T
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        tip = np.array([[0, 0, 0], [rng.uniform(6, 26), 0, rng.normal() * rng.choice([0.3, 4])]]) @ FRAME.T
        if way[0] @ way[1] < 0:
            tip[1] -= 20 * way[0]
        shapes = needles(tip + 70 * way, tip, 0.5, 150.0)
        found = reasons_against(shapes, 0, 1, limits)
        try:
            pair = ElectrodePair(*(PlacedElectrode(electrode, shapes.entry_mm[k], tip[k]) for k in (0, 1)))
        except PhysicsError:
            assert found
            continue
        kept = not pair.findings(protocol)
        # The shafts outside may still touch, which is none of the vendor's rules.
        rules = {why: value for why, value in found.items() if why >= PairReason.TOO_FAR}
        assert kept == (not rules)
        counts[kept] += 1
        if PairReason.TOO_FAR in rules:
            assert rules[PairReason.TOO_FAR] == pytest.approx(pair.spacing_mm, abs=1e-9)
        if PairReason.TOO_NEAR in rules:
            assert rules[PairReason.TOO_NEAR] == pytest.approx(pair.spacing_mm, abs=1e-9)
        if PairReason.ANGLE in rules:
            assert rules[PairReason.ANGLE] == pytest.approx(pair.angle_deg, abs=1e-6)
        if PairReason.NOT_LEVEL in rules:
            assert rules[PairReason.NOT_LEVEL] == pytest.approx(pair.overlap_mm, abs=1e-9)
    assert min(counts) > 30


def test_the_diagonal_of_a_square_of_electrodes_may_be_left_out():
    electrode = applicator_physics(PULSES.name)
    along, across, up = FRAME.T
    side = 0.9 * electrode.greatest_spacing_mm
    tip = np.array([a * side * across + b * side * up for a in (0, 1) for b in (0, 1)])
    limits = PairLimits.for_applicator(PULSES)
    shapes = needles(tip + 80 * along, tip, 0.5, 150.0)
    found = list(conflicts_among(shapes, limits))
    assert [(i, j, why) for i, j, why, _ in found] == [(0, 3, PairReason.TOO_FAR), (1, 2, PairReason.TOO_FAR)]
    assert found[0][3] == pytest.approx(side * np.sqrt(2))
    left_out = dataclasses.replace(limits, wide_pairs_left_out=True)
    assert not len(conflicts_among(shapes, left_out))
    plan = [insertion(one + 80 * along, one, PULSES, k + 1) for k, one in enumerate(tip)]
    assert not explain_pairs(plan, PULSES, left_out)
    away = insertion(tip[3] + 30 * up + 80 * along, tip[3] + 30 * up, PULSES, 4)
    told = explain_pairs([*plan[:3], away], PULSES, left_out)
    assert len(told) == 1 and "Electrodes 4 have no other one" in told[0].finding


# --- What is told -----------------------------------------------------------------------------------------------


def test_every_reason_of_a_plan_is_told_with_its_figure_and_a_remedy():
    along, across, _ = FRAME.T
    first = insertion(90 * along, np.zeros(3), order=2)
    second = insertion(90 * along + 3 * across, 3 * across, order=5)
    limits = PairLimits.for_applicator(ANTENNA, PathLimits(needle_distance_mm=4.0), together=True)
    assert limits.active_distance_mm == ACTIVE_DISTANCE_MM and limits.needle_distance_mm == 4.0
    told = explain_pairs([first, second], ANTENNA, limits)
    text = " ".join(one.finding for one in told)
    assert len(told) == 4 and all(one.remedy.endswith(".") for one in told)
    assert "2 and 5 (3.0 mm)" in text and f"2 and 5 ({3 - 2 * ANTENNA.radius_mm:.1f} mm)" in text
    assert "2 and 5 (7.0 mm missing)" in text
    apart = insertion(90 * along + 30 * across, 30 * across, order=5)
    assert explain_pairs([first, apart], [PULSES, ANTENNA], limits) == ()
    crossing = insertion(90 * along + 40 * across, 10 * along - 31 * across, order=7)
    assert "2 and 7 (in each other's way)" in explain_pairs([first, crossing], ANTENNA, BARE)[0].finding


def test_the_way_back_of_a_plan_is_that_between_its_ablations():
    along = FRAME[:, 0]
    one = insertion(90 * along, np.zeros(3), tips=[np.zeros(3), 14 * along, 6 * along])
    shapes = NeedleShapes.of_insertions([one, insertion(90 * along, np.zeros(3), tips=[])], ANTENNA)
    np.testing.assert_allclose(shapes.pull_back_mm, [14.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(shapes.depth_mm, 90.0)
    np.testing.assert_allclose(shapes.active_parts()[0, 10] * 2, ANTENNA.active_length_mm + 14)
    handle = shapes.standing(PairLimits(), shapes.pull_back_mm)[0, Part.HANDLE]
    hub = ANTENNA.usable_length_mm - 90.0
    np.testing.assert_allclose(handle[:3], (90 + hub) * along, atol=1e-9)
    np.testing.assert_allclose(handle[3:6], (90 + hub + 14 + HANDLE_MM) * along, atol=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"needle_distance_mm": -1.0},
        {"needle_distance_mm": float("nan")},
        {"entry_spacing_mm": 1e4},
        {"active_distance_mm": -1.0},
        {"outside_distance_mm": float("inf")},
        {"handle_radius_mm": 0.0},
        {"handle_length_mm": True},
        {"guide_radius_mm": 20.0},
        {"guide_approach_mm": None},
        {"electrode": ANTENNA},
        {"wide_pairs_left_out": True},
    ],
)
def test_impossible_limits_are_refused(wrong):
    with pytest.raises(OptionError):
        PairLimits(**wrong)


def test_impossible_paths_are_refused():
    entry, tip = np.array([[0.0, 0, 90], [20, 0, 90]]), np.array([[0.0, 0, 0], [20, 0, 0]])
    for message, change in (
        ("tip at its entry", {"tip_mm": entry}),
        ("finite", {"tip_mm": tip * np.nan}),
        ("array", {"tip_mm": tip[:1]}),
        ("above 0", {"radius_mm": 0.0}),
        ("one number or 2", {"radius_mm": [1.0, 1.0, 1.0]}),
        ("only 50 mm", {"usable_length_mm": 50.0}),
        ("0 or more", {"active_length_mm": -1.0}),
        ("drawn back", {"pull_back_mm": 91.0}),
    ):
        given = {"entry_mm": entry, "tip_mm": tip, "radius_mm": 1.0, "usable_length_mm": 200.0} | change
        with pytest.raises(GeometryError, match=message):
            pair_conflicts(limits=PairLimits(), **given)
    assert len(pair_conflicts(entry, tip, 1.0, PairLimits(), usable_length_mm=200.0)) == 0
    assert len(pair_conflicts(entry[:0], tip[:0], 1.0, PairLimits(), usable_length_mm=200.0)) == 0
    with pytest.raises(DeviceError, match="nothing is said"):
        applicator_of(insertion(entry[0], tip[0], PULSES), ANTENNA)
    with pytest.raises(GeometryError, match="as many"):
        SparseConflicts(3, np.array([0]), np.array([1, 2]), np.array([2]), np.array([1.0]))
    with pytest.raises(GeometryError, match="lesser one first"):
        SparseConflicts(3, np.array([1]), np.array([1]), np.array([2]), np.array([1.0]))
    with pytest.raises(OptionError, match="two rows"):
        reasons_against(needles(entry, tip), 1, 1, PairLimits())
