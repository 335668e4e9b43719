"""A needle in moving tissue: limits of stiff and limp ones, closed forms of beams, and what it feels."""

import math
from functools import cache

import numpy as np
import pytest
from made_cases import rotation
from made_patient import CENTRE, make_anatomy, make_plan

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.motion.body_motion import BodyMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.plan import Insertion
from sim.needle_bending import NeedleShaft, NeedleTip
from sim.needle_channel import OPEN_AHEAD_MM, SPACING_MM, NeedleChannel, ShaftShape
from sim.needle_mechanics import NeedleMechanics
from sim.tissue_force import Contact, ForceLimits
from sim.tissue_needle import OUT_MM, TissueNeedle

STIFFNESS_PA = 10e3
SHAFT = NeedleShaft(2.0e-3, 1.4e-3)
BETA_PER_MM = 1e-3 * (STIFFNESS_PA / (4.0 * SHAFT.stiffness_n_m2)) ** 0.25
UNFELT = NeedleMechanics(feels=False)
FREE_MM = 45.0


class Shifted:
    """A body that has moved as a whole."""

    def __init__(self, shift_mm):
        self.shift_mm = np.asarray(shift_mm, dtype=np.float64)

    def carry(self, points_mm, inside=None):
        return np.asarray(points_mm) + self.shift_mm

    def back(self, points_mm, inside=None):
        return np.asarray(points_mm) - self.shift_mm


class Turned:
    """A body that has been turned and moved as a whole."""

    def __init__(self, turn, shift_mm):
        self.turn, self.shift_mm = turn, shift_mm

    def carry(self, points_mm, inside=None):
        return np.asarray(points_mm) @ self.turn.T + self.shift_mm

    def back(self, points_mm, inside=None):
        return (np.asarray(points_mm) - self.shift_mm) @ self.turn


REST = Shifted(np.zeros(3))


@cache
def queries():
    return AnatomyQueries(make_anatomy())


@cache
def breathing():
    return BodyMotion(queries().anatomy, LujanMotion(15.0, 4.0))


def insertion():
    return make_plan(queries().anatomy).insertions[0]


def across(direction, which=0):
    """A unit vector across a direction, oblique to all axes."""
    helper = np.cross(direction, rotation(11)[:, which])
    return helper / np.linalg.norm(helper)


def made(mechanics, planned=None, diameter_mm=2.0):
    return TissueNeedle(planned or insertion(), diameter_mm, queries(), mechanics)


def drive(needle, planned, body=REST, to_mm=None, speed_mm_s=10.0, step_s=0.02, free_mm=FREE_MM, aside_mm=0.0):
    """Push a needle along the planned axis to a depth; ``body`` may depend on the time. Returns the punctures."""
    at = body if callable(body) else lambda time_s: body
    exit_mm = np.asarray(planned.entry_mm) - free_mm * planned.direction + aside_mm
    goal = planned.depth_mm if to_mm is None else to_mm
    count = math.ceil((goal + 2.0) / speed_mm_s / step_s)
    events = []
    for k in range(1, count + 1):
        reach = free_mm + goal - (count - k) * (goal + 2.0) / count
        events += needle.step(step_s, exit_mm, planned.direction, reach, at(k * step_s))
    return events


def beam(free_mm, held_mm, pulled, count=3000, stiffness_pa=STIFFNESS_PA, shaft=SHAFT):
    """Deflection along a clamped beam on a foundation that is pulled aside: by finite differences of its energy.

    Returns places behind the clamp and deflections there; ``pulled`` gives the pull behind the skin.
    """
    h = (free_mm + held_mm) / count
    s = h * np.arange(1, count + 1)
    inside = s > free_mm
    ei, k = shaft.stiffness_n_m2 * 1e6, stiffness_pa * 1e-6
    # Curvature at each place; at the clamp, where w = w' = 0, it is 2 w1 / h² over half a cell.
    bend = np.eye(count) - 2.0 * np.eye(count, k=-1) + np.eye(count, k=-2)
    bend[0, 0] = math.sqrt(2.0)
    energy = ei / h**3 * bend.T @ bend + k * h * np.diag(inside.astype(float))
    return s, np.linalg.solve(energy, k * h * inside * pulled(s - free_mm))


# --- Shape of a shaft ------------------------------------------------------------------------------------------


def straight_channel(held_mm, axis, aside, start, count=30):
    depth = np.linspace(0.0, held_mm, count)
    return start + depth[:, None] * axis + aside(depth)


def shape_of(channel, exit_mm, axis, reach_mm, shaft=SHAFT, steered=None, push_mm=0.0, clamped=True):
    curved = np.zeros_like(channel) if steered is None else steered
    return ShaftShape(channel, curved, exit_mm, axis, reach_mm, push_mm, shaft, STIFFNESS_PA, clamped)


def test_tissue_that_moves_aside_bends_a_shaft_as_the_closed_form_says():
    """A long shaft clamped at the skin in tissue moved by u: u (1 - exp(-bx) (cos bx + sin bx)) (Hetényi 1946)."""
    axis, side, start = rotation(5)[:, 1], rotation(5)[:, 2], np.array([12.0, -40.0, 9.0])
    held, move = 9.0 / BETA_PER_MM, 6.0
    shape = shape_of(
        straight_channel(held, axis, lambda d: np.full((len(d), 1), move) * side, start), start, axis, held
    )
    points = shape.in_tissue_mm - start
    x = points @ axis
    bx = BETA_PER_MM * x
    expected = move * (1.0 - np.exp(-bx) * (np.cos(bx) + np.sin(bx)))
    np.testing.assert_allclose(points @ side, expected, atol=0.02)
    np.testing.assert_allclose(points - np.outer(x, axis) - np.outer(points @ side, side), 0.0, atol=1e-12)
    assert shape.tip_offset_mm @ side == pytest.approx(move, rel=1e-3)


@pytest.mark.parametrize("free_mm", [8.0, 60.0])
@pytest.mark.parametrize("held_mm", [30.0, 120.0])
def test_a_free_length_before_the_skin_softens_the_clamp(free_mm, held_mm):
    """Against finite differences, for tissue that moves the more the deeper it is."""
    axis, side = rotation(9)[:, 0], rotation(9)[:, 1]
    exit_mm = np.array([3.0, 5.0, -7.0])
    start = exit_mm + free_mm * axis

    def pulled(d):
        return 2.0 + 0.05 * d

    channel = straight_channel(held_mm, axis, lambda d: pulled(d)[:, None] * side, start)
    shape = shape_of(channel, exit_mm, axis, free_mm + held_mm)
    s, w = beam(free_mm, held_mm, pulled, 800)
    line = np.concatenate([shape.in_air_mm, shape.in_tissue_mm]) - exit_mm
    np.testing.assert_allclose(line @ side, np.interp(line @ axis, np.r_[0.0, s], np.r_[0.0, w]), atol=0.03)
    assert (np.diff(line @ axis) > 0.0).all()
    np.testing.assert_allclose(line[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(shape.tip_mm, exit_mm + line[-1], atol=1e-12)


def test_of_all_shapes_the_shaft_takes_that_of_least_energy():
    """So it presses the tissue the more the stiffer it is, and shapes of two shifts add up."""
    axis, side, other = rotation(2).T
    exit_mm = np.array([1.0, 2.0, 3.0])
    start = exit_mm + 20.0 * axis

    def bent(a, b, shaft=SHAFT):
        def aside(d):
            return a * np.outer(np.sin(d / 25.0), side) + b * np.outer(1.0 + d / 40.0, other)

        channel = straight_channel(80.0, axis, aside, start, 60)
        shape = shape_of(channel, exit_mm, axis, 100.0, shaft)
        line = shape.in_tissue_mm - exit_mm
        depth = line @ axis - 20.0
        gap = line - np.outer(line @ axis, axis) - aside(depth)
        return shape.tip_offset_mm, float((gap**2).sum())

    np.testing.assert_allclose(bent(2.0, 0.0)[0] + bent(0.0, -3.0)[0], bent(2.0, -3.0)[0], atol=1e-12)
    np.testing.assert_allclose(bent(-2.0, 3.0)[0], -bent(2.0, -3.0)[0], atol=1e-12)
    found = [bent(0.0, 3.0, NeedleShaft(2e-3, 0.0, modulus)) for modulus in (1e7, 1e9, 1e11, 1e13, 1e15)]
    assert (np.diff([pressed for _, pressed in found]) > 0.0).all()
    assert found[0][0] @ other == pytest.approx(9.0, rel=0.02)  # the limp one goes with the tissue
    assert np.linalg.norm(found[-1][0]) < 2e-3  # the stiff one stays on the axis


def test_a_needle_that_none_holds_lies_in_its_channel():
    axis, side, start = rotation(7)[:, 0], rotation(7)[:, 1], np.array([-4.0, 30.0, 8.0])
    slanted = straight_channel(90.0, axis, lambda d: 0.07 * d[:, None] * side, start)
    shape = ShaftShape.left_in(slanted, np.zeros_like(slanted), SHAFT, STIFFNESS_PA)
    np.testing.assert_allclose(shape.tip_mm, slanted[-1], atol=1e-9)
    np.testing.assert_allclose(shape.in_tissue_mm[0], slanted[0], atol=1e-9)
    # No energy, no matter how stiff; in a bent channel a stiff one lies along the line of least squares.
    depth = np.linspace(0.0, 90.0, 400)
    curve = 4.0 * (depth / 90.0) ** 2
    bowed = start + depth[:, None] * axis + curve[:, None] * side
    stiff = ShaftShape.left_in(bowed, np.zeros_like(bowed), NeedleShaft(2e-3, 0.0, 1e15), STIFFNESS_PA)
    slope, height = np.polyfit(depth, curve, 1)
    line = stiff.in_tissue_mm - start
    np.testing.assert_allclose(line @ side, height + slope * (line @ axis), atol=0.02)
    outside = stiff.out_of_skin_mm(50.0) - start
    assert outside @ side == pytest.approx(height - 50.0 * slope, abs=0.05)


def test_a_steered_channel_is_a_circle_that_presses_on_nothing():
    axis, side, start = rotation(4)[:, 2], rotation(4)[:, 0], np.zeros(3)
    curvature = 2e-3
    channel = straight_channel(100.0, axis, lambda d: 0.5 * curvature * (d**2)[:, None] * side, start, 200)
    # What of the curvature is along the needle does not count.
    steered = np.tile(curvature * side + 0.3 * axis, (len(channel), 1))
    for shaft in (SHAFT, NeedleShaft(0.5e-3)):
        shape = shape_of(channel, start, axis, 100.0, shaft, steered)
        np.testing.assert_allclose(
            shape.in_tissue_mm @ side, 0.5 * curvature * (shape.in_tissue_mm @ axis) ** 2, atol=2e-3
        )
    assert shape_of(channel, start, axis, 100.0).tip_offset_mm @ side < 8.0  # unsteered it straightens


def test_what_is_not_in_the_channel_is_straight():
    axis, side, start = rotation(3)[:, 0], rotation(3)[:, 1], np.array([5.0, 5.0, 5.0])
    channel = straight_channel(60.0, axis, lambda d: np.full((len(d), 1), 3.0) * side, start + 30.0 * axis)
    line = shape_of(channel, start, axis, 110.0).in_tissue_mm - start
    ahead = (line[-1] - line[-2]) / np.linalg.norm(line[-1] - line[-2])
    before = (line[-2] - line[-3]) / np.linalg.norm(line[-2] - line[-3])
    assert line[-1] @ axis == pytest.approx(110.0) and line[-2] @ axis == pytest.approx(90.0)
    np.testing.assert_allclose(ahead, before, atol=2e-4)
    # Nothing holds a needle before the skin, nor one that is drawn out of its channel.
    np.testing.assert_allclose(shape_of(channel, start, axis, 20.0).tip_mm, start + 20.0 * axis)
    # Tissue that the tip pushes along holds it up to the tip.
    places = (shape_of(channel, start, axis, 96.0, push_mm=6.0).in_tissue_mm - start) @ axis
    assert places[-1] == pytest.approx(96.0) and np.ptp(np.diff(places)) < 1e-9


def test_a_channel_keeps_its_points_and_closes_behind_a_needle_drawn_back():
    way, side = np.array([0.6, 0.0, 0.8]), np.array([0.0, 1.0, 0.0])
    channel = NeedleChannel(np.zeros(3), 1.0)
    for depth in np.arange(0.3, 60.0, 0.3):
        channel.cut(depth * way, way, depth, np.zeros(3))
    points = channel.points_mm.copy()
    gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert (gaps[:-1] < SPACING_MM + 0.3).all() and (gaps[:-1] >= SPACING_MM - 1e-9).all()
    np.testing.assert_allclose(points[-1], channel.depth_mm * way)
    np.testing.assert_allclose(channel.until(31.7)[-1], 31.7 * way)
    np.testing.assert_array_equal(channel.until(0.0), [[0.0, 0.0, 0.0]])
    # Drawn back a little it stays open; farther, it is cut anew and elsewhere.
    channel.cut(55.0 * way + 1.0, way, 55.0, np.zeros(3))
    np.testing.assert_array_equal(channel.points_mm, points)
    channel.cut(30.0 * way, way, 30.0, np.zeros(3))
    assert channel.depth_mm == 30.0 + OPEN_AHEAD_MM
    np.testing.assert_allclose(channel.points_mm[-1], channel.depth_mm * way, atol=1e-12)
    channel.end_at(30.0)
    np.testing.assert_allclose(channel.points_mm[-1], 30.0 * way, atol=1e-12)
    # Tissue has moved aside while the tip stood: what creeps on stays in it, what goes on farther cuts elsewhere,
    # whatever the steps.
    before = len(channel.points_mm) - 1
    kept = channel.points_mm[:before].copy()
    for step in (0.01, 0.1, 1.0):
        for depth in np.arange(30.0 + step, 33.0 + 0.5 * step, step):
            channel.cut(depth * way + 9.0 * side, way, depth, np.zeros(3))
            aside = 9.0 * (1.0 - math.exp(30.0 - depth))
            np.testing.assert_allclose(channel.points_mm[-1], depth * way + aside * side, atol=1e-9)
        np.testing.assert_array_equal(channel.points_mm[:before], kept)
        channel = NeedleChannel(np.zeros(3), 1.0)
        channel.cut(30.0 * way, way, 30.0, np.zeros(3))
        before, kept = 1, np.zeros((1, 3))


# --- Needles ---------------------------------------------------------------------------------------------------


def test_a_rigid_needle_in_a_body_at_rest_is_where_guide_and_driver_put_it():
    planned = insertion()
    direction = planned.direction
    needle = made(NeedleMechanics.rigid())
    assert not needle.in_tissue and needle.shaft_at_rest_mm.shape == (0, 3)
    with pytest.raises(OptionError, match="first step"):
        _ = needle.tip_at_rest_mm
    for body in (REST, breathing().at(np.zeros(3))):
        for reach in (10.0, FREE_MM + 0.7, FREE_MM + 51.3):
            exit_mm = np.asarray(planned.entry_mm) - FREE_MM * direction
            assert needle.step(0.01, exit_mm, direction, reach, body) == ()
            np.testing.assert_array_equal(needle.tip_mm, exit_mm + reach * direction)
            np.testing.assert_array_equal(needle.tip_at_rest_mm, needle.tip_mm)
            assert needle.depth_mm == pytest.approx(reach - FREE_MM)
            assert needle.in_tissue == (reach > FREE_MM)
    assert needle.bend_mm == 0.0 and needle.force is None and needle.stop_reason is None
    np.testing.assert_allclose(needle.entry_at_rest_mm, planned.entry_mm, atol=1e-12)
    np.testing.assert_allclose(needle.shaft_at_rest_mm[[0, -1]], [planned.entry_mm, needle.tip_mm], atol=1e-9)
    needle.let_go()
    np.testing.assert_allclose(needle.tip_mm, needle.tip_at_rest_mm, atol=1e-12)


def test_tissue_slides_past_a_rigid_needle_and_its_skin_point_grips_it():
    planned = insertion()
    at_skin, at_end = np.array([1.0, -2.0, -6.0]), np.array([-3.0, -4.0, -13.0])
    needle = made(NeedleMechanics.rigid())
    drive(needle, planned, Shifted(at_skin), to_mm=20.0)
    entry = needle.entry_at_rest_mm.copy()
    # The axis meets the plane across the path at the moved entry.
    off = entry - np.asarray(planned.entry_mm) + at_skin
    np.testing.assert_allclose(off, (at_skin @ planned.direction) * planned.direction, atol=1e-9)
    exit_mm = np.asarray(planned.entry_mm) - FREE_MM * planned.direction
    needle.step(0.01, exit_mm, planned.direction, FREE_MM + 74.0, Shifted(at_end))
    np.testing.assert_allclose(needle.tip_at_rest_mm, needle.tip_mm - at_end, atol=1e-9)
    np.testing.assert_allclose(needle.tip_mm, planned.tip_mm, atol=1e-9)
    np.testing.assert_array_equal(needle.entry_at_rest_mm, entry)
    needle.let_go()
    needle.carried_by(REST)
    np.testing.assert_allclose(needle.tip_mm, np.asarray(planned.tip_mm) - at_end, atol=1e-9)
    # Its shaft goes through the skin point.
    line = needle.shaft_mm
    way = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
    gap = entry - line[0]
    np.testing.assert_allclose(gap, (gap @ way) * way, atol=1e-6)


def test_a_needle_that_bends_is_between_the_guide_and_the_tissue():
    planned = insertion()
    move = 9.0 * across(planned.direction)
    tips = {}
    for modulus in (1e8, 1e10, 200e9, 1e13, 1e16):
        needle = made(NeedleMechanics(feels=False, young_modulus_pa=modulus))
        drive(needle, planned, REST)
        assert needle.bend_mm == pytest.approx(0.0, abs=1e-9)
        exit_mm = np.asarray(planned.entry_mm) - FREE_MM * planned.direction
        needle.step(0.01, exit_mm, planned.direction, FREE_MM + planned.depth_mm, Shifted(move))
        tips[modulus] = (needle.tip_mm - planned.tip_mm) @ move / 9.0
        # It has not cut aside: the tissue at its tip is still the same.
        np.testing.assert_allclose(needle.tip_at_rest_mm, planned.tip_mm, atol=2e-3)
        assert needle.bend_mm == pytest.approx(tips[modulus])
        # Released it goes with the tissue, wherever its guide was.
        needle.let_go()
        np.testing.assert_allclose(needle.tip_at_rest_mm, planned.tip_mm, atol=1e-5)
        np.testing.assert_allclose(needle.tip_mm, planned.tip_mm + move, atol=1e-5)
    # A limp one goes with the tissue, a stiff one stays; a pliant one overshoots at its free end.
    assert tips[1e8] == pytest.approx(9.0, rel=0.02)
    assert tips[1e10] > 9.0 > tips[200e9] > tips[1e13] > tips[1e16] > 0.0
    assert tips[1e16] < 1e-3
    # The whole is the beam of the closed form.
    _, w = beam(FREE_MM, planned.depth_mm, lambda d: np.full_like(d, 9.0), 800)
    assert tips[200e9] == pytest.approx(w[-1], rel=5e-3)


def test_a_quick_needle_follows_the_guide_and_a_slow_one_the_tissue():
    planned = insertion()
    aside = across(planned.direction)
    off = {}
    for speed in (3.0, 30.0, 300.0):
        needle = made(UNFELT)
        drive(needle, planned, lambda t: Shifted(1.5 * t * aside), speed_mm_s=speed, step_s=0.4 / speed)
        off[speed] = needle.bend_mm
    assert off[300.0] < off[30.0] < off[3.0]
    assert off[300.0] < 0.2
    assert off[3.0] > 2.0


def test_a_turned_patient_bends_the_needle_the_same():
    planned, turn, shift = insertion(), rotation(21), np.array([30.0, -12.0, 7.0])
    mechanics = NeedleMechanics(feels=False)
    mirror = {}
    here, there = made(mechanics), None
    moved = Insertion(
        tuple(turn @ np.asarray(planned.entry_mm) + shift), tuple(turn @ np.asarray(planned.tip_mm) + shift),
        planned.applicator, planned.ablations,
    )  # fmt: skip
    there = TissueNeedle(moved, 2.0, queries(), mechanics)
    aside, other = across(planned.direction), across(planned.direction, 1)

    def drift(t):
        return np.array(1.2 * t * aside + 0.8 * np.sin(t) * other - 0.4 * t * planned.direction)

    drive(here, planned, lambda t: Shifted(drift(t)))
    drive(there, moved, lambda t: Shifted(turn @ drift(t)))
    np.testing.assert_allclose(there.tip_mm, turn @ here.tip_mm + shift, atol=1e-6)
    np.testing.assert_allclose(there.shaft_mm, here.shaft_mm @ turn.T + shift, atol=1e-6)
    np.testing.assert_allclose(there.shaft_at_rest_mm, here.shaft_at_rest_mm @ turn.T + shift, atol=1e-3)
    # To the other side it bends as far to the other side.
    for sign in (1.0, -1.0):
        needle = made(mechanics)
        drive(needle, planned, lambda t, sign=sign: Shifted(sign * 1.2 * t * aside))
        mirror[sign] = needle.tip_mm - planned.tip_mm
    np.testing.assert_allclose(mirror[1.0], -mirror[-1.0], atol=1e-3)


def test_a_released_needle_moves_with_the_body_and_comes_back():
    planned = insertion()
    needle = made(NeedleMechanics())
    drive(needle, planned, REST)
    tip_before = needle.tip_mm.copy()
    push = needle.force.displacement_m * 1e3
    assert push > 1.0
    needle.let_go()
    assert needle.force is None and needle.stop_reason is None
    # What the tip had pushed has come back with it, and the tip stays in the tissue in which it was.
    np.testing.assert_allclose(needle.tip_mm, tip_before - push * planned.direction, atol=1e-6)
    left, line = needle.tip_mm.copy(), needle.shaft_mm.copy()
    np.testing.assert_allclose(needle.tip_at_rest_mm, left, atol=1e-9)
    turned = Turned(rotation(30), np.array([4.0, -9.0, 2.0]))
    needle.carried_by(turned)
    np.testing.assert_allclose(needle.tip_mm, turned.carry(left[None])[0], atol=1e-6)
    np.testing.assert_allclose(needle.shaft_mm, turned.carry(line), atol=1e-6)
    np.testing.assert_allclose(needle.tip_at_rest_mm, left, atol=1e-9)
    inhaled = breathing().at(LujanMotion(15.0, 4.0, direction=(0.0, -0.3, -1.0)).displacement_mm(2.0))
    needle.carried_by(inhaled)
    along = np.linalg.norm(np.diff(needle.shaft_mm, axis=0), axis=1).sum()
    assert along == pytest.approx(FREE_MM + planned.depth_mm, abs=0.2)  # steel does not stretch
    assert np.linalg.norm(needle.shaft_at_rest_mm[-1] - left) < 6.0 and not np.allclose(needle.tip_mm, left)
    needle.carried_by(REST)
    np.testing.assert_allclose(needle.tip_mm, left, atol=1e-9)
    np.testing.assert_allclose(needle.shaft_mm, line, atol=1e-9)
    with pytest.raises(OptionError, match="let go"):
        needle.step(0.01, needle.tip_mm, planned.direction, 1.0, REST)
    with pytest.raises(OptionError, match="held"):
        needle.let_go()


def test_layers_are_felt_at_their_depths_and_tissue_is_pushed_before_it_gives_way():
    planned = insertion()
    needle = made(NeedleMechanics())
    depths, forces, pushes, at_rest = [], [], [], []
    exit_mm = np.asarray(planned.entry_mm) - FREE_MM * planned.direction
    events = []
    for reach in np.arange(FREE_MM - 1.0, FREE_MM + planned.depth_mm + 0.05, 0.1):
        events += needle.step(0.01, exit_mm, planned.direction, reach, REST)
        if needle.in_tissue:
            depths.append(needle.depth_mm)
            forces.append(needle.force.force_n)
            pushes.append(needle.force.displacement_m * 1e3)
            at_rest.append((needle.tip_at_rest_mm - needle.entry_at_rest_mm) @ planned.direction)
            if needle.depth_mm > 1.0:
                shaft = needle.shaft_at_rest_mm
                along = (shaft - needle.entry_at_rest_mm) @ planned.direction
                assert (np.diff(along) > 0.0).all()
                np.testing.assert_allclose(shaft[-1], needle.tip_at_rest_mm, atol=1e-9)
    assert [e.structure for e in events] == ["", "liver", "tumour"]
    for event in events:
        layer = needle.layers[event.layer]
        assert event.tissue_depth_m == layer.start_m
        # The driver was deeper than the membrane when it gave way.
        assert event.depth_m - event.tissue_depth_m > 1e-3
    np.testing.assert_allclose(at_rest, np.subtract(depths, pushes), atol=2e-3)
    assert max(pushes) > 5.0
    assert needle.peak_force_n == max(forces) and needle.peak_tip_force_n >= events[1].tip_force_n
    # The tip lies in the liver once its capsule has given way and has sprung back, not before.
    liver = queries().distance(queries().anatomy.surface("liver"))
    pressing = next(k for k, d in enumerate(depths) if abs(d - 1e3 * events[1].depth_m) < 1.0)
    before = np.asarray(planned.entry_mm) + at_rest[pressing] * planned.direction
    after = np.asarray(planned.entry_mm) + at_rest[pressing + 120] * planned.direction
    assert liver.signed_distance_mm(before[None])[0] > -0.5
    assert liver.signed_distance_mm(after[None])[0] < -3.0


def test_breathing_along_the_needle_is_felt_while_the_driver_rests():
    planned = insertion()
    needle = made(NeedleMechanics())
    drive(needle, planned, REST, to_mm=50.0)
    exit_mm = np.asarray(planned.entry_mm) - FREE_MM * planned.direction

    def breath(size_mm):
        for k in range(1, 101):
            shift = size_mm * math.sin(0.5 * math.pi * k / 100.0) * planned.direction
            needle.step(0.02, exit_mm, planned.direction, FREE_MM + 50.0, Shifted(shift))
        return needle.force

    resting = needle.force.force_n
    deep = needle.force.tip_in_tissue_m
    away = breath(4.0)  # tissue goes away from the guide: as if the needle were drawn back
    assert away.force_n < resting and away.tip_in_tissue_m < deep
    assert away.contact in (Contact.WITHDRAWING, Contact.SLIDING, Contact.RESTING)
    towards = breath(-6.0)
    assert towards.force_n > resting and towards.tip_in_tissue_m > deep + 2e-3
    # Tissue that moves across the axis of a rigid needle is not felt along it.
    still = made(NeedleMechanics(bends=False))
    drive(still, planned, REST, to_mm=50.0)
    depth = still.force.depth_m
    for k in range(50):
        still.step(0.02, exit_mm, planned.direction, FREE_MM + 50.0, Shifted(0.2 * k * across(planned.direction)))
    assert still.force.depth_m == pytest.approx(depth, abs=1e-9)


def test_a_needle_pushed_against_bone_must_stop():
    """A path through the liver onward into the spine."""
    tip = np.array([12.0, 66.0, 100.0])
    out = (np.asarray(CENTRE) - tip) / np.linalg.norm(np.asarray(CENTRE) - tip)
    entry = tip + 150.0 * out
    planned = Insertion(tuple(entry), tuple(tip), "model", ())
    needle = made(NeedleMechanics(), planned)
    exit_mm = entry - FREE_MM * planned.direction
    stopped = None
    for reach in np.arange(FREE_MM - 1.0, FREE_MM + planned.depth_mm, 0.2):
        needle.step(0.02, exit_mm, planned.direction, reach, REST)
        stopped = needle.stop_reason
        if stopped:
            break
    assert stopped is not None and "limit" in stopped
    bone = next(layer for layer in needle.layers if layer.tissue == "bone")
    assert needle.force.tip_in_tissue_m <= bone.start_m + 1e-6
    assert needle.force.layer == needle.layers.index(bone) and needle.peak_tip_force_n > 9.0
    # A tighter limit stops it sooner; one that buckles says so.
    soon = made(NeedleMechanics(limits=ForceLimits(axial_n=1.0)), planned)
    drive(soon, planned, REST, to_mm=40.0)
    assert "along the needle" in soon.stop_reason
    limp = made(NeedleMechanics(young_modulus_pa=1e8), planned)
    drive(limp, planned, REST, to_mm=60.0, free_mm=120.0)
    assert "buckle" in limp.stop_reason


def test_a_bevel_steers_to_its_side_and_half_a_turn_to_the_other():
    planned = insertion()
    bevel = NeedleTip(math.radians(20.0), 4.4)
    tips = {}
    for roll in (0.0, 0.5 * math.pi, math.pi):
        needle = made(NeedleMechanics(tip=bevel, roll_rad=roll), diameter_mm=1.0)
        drive(needle, planned, REST)
        tips[roll] = needle.tip_mm - planned.tip_mm
        assert abs(tips[roll] @ planned.direction) < 1e-9
        assert needle.bend_mm > 2.0
    # Where a piece of channel ends is a matter of rounding.
    np.testing.assert_allclose(tips[0.0], -tips[math.pi], atol=0.05)
    assert abs(tips[0.0] @ tips[0.5 * math.pi]) < 1e-6
    # A limp needle goes along the circle of its bevel from the skin on.
    limp = made(NeedleMechanics(tip=NeedleTip(math.radians(20.0), 1.0)), diameter_mm=0.4)
    drive(limp, planned, REST)
    assert limp.bend_mm == pytest.approx(0.5 * 1e-3 * planned.depth_mm**2, rel=0.08)
    # A thick shaft is steered less than a thin one, a symmetric tip not at all.
    thick = made(NeedleMechanics(tip=bevel), diameter_mm=3.0)
    drive(thick, planned, REST)
    assert thick.bend_mm < 0.5 * np.linalg.norm(tips[0.0])


def test_a_needle_drawn_out_is_in_the_air_again_and_may_go_in_elsewhere():
    planned = insertion()
    needle = made(NeedleMechanics())
    drive(needle, planned, REST, to_mm=40.0)
    exit_mm = np.asarray(planned.entry_mm) - FREE_MM * planned.direction
    for reach in np.arange(FREE_MM + 40.0, FREE_MM - 0.5 * OUT_MM, -0.2):
        needle.step(0.01, exit_mm, planned.direction, max(reach, 0.0), REST)
        assert needle.in_tissue
    assert needle.force.friction_n <= 0.0
    peak = needle.peak_force_n
    needle.step(0.01, exit_mm, planned.direction, FREE_MM - 1.0, REST)
    assert not needle.in_tissue and needle.force is None and needle.entry_at_rest_mm is None
    assert needle.peak_force_n == peak and needle.shaft_at_rest_mm.shape == (0, 3)
    np.testing.assert_array_equal(needle.shaft_mm[-1], needle.tip_mm)
    aside = 5.0 * across(planned.direction)
    needle.step(0.01, exit_mm + aside, planned.direction, FREE_MM + 3.0, REST)
    np.testing.assert_allclose(needle.entry_at_rest_mm, planned.entry_mm + aside, atol=1e-9)


def test_a_guide_that_turns_takes_the_needle_along():
    planned = insertion()
    needle = made(UNFELT)
    drive(needle, planned, REST, to_mm=40.0)
    side = across(planned.direction)
    axis = math.cos(0.04) * planned.direction + math.sin(0.04) * side
    exit_mm = np.asarray(planned.entry_mm) - FREE_MM * axis  # about the entry
    needle.step(0.01, exit_mm, axis, FREE_MM + 40.0, REST)
    off = (needle.tip_mm - planned.entry_mm - 40.0 * planned.direction) @ side
    assert 0.0 < off < 40.0 * math.sin(0.04)
    stiff = made(NeedleMechanics(feels=False, young_modulus_pa=1e16))
    drive(stiff, planned, REST, to_mm=40.0)
    stiff.step(0.01, exit_mm, axis, FREE_MM + 40.0, REST)
    np.testing.assert_allclose(stiff.tip_mm, exit_mm + (FREE_MM + 40.0) * axis, atol=1e-3)


def test_a_breathing_patient_moves_the_tissue_past_the_needle():
    """With the true deformation the tissue at the tip is what the body says."""
    planned = insertion()
    states = [breathing().at_time(t) for t in np.arange(0.0, 4.0, 0.05)]
    rigid, bent = made(NeedleMechanics.rigid()), made(NeedleMechanics())
    for needle in (rigid, bent):
        drive(needle, planned, lambda t: states[round(t / 0.05) % len(states)], step_s=0.05)
        body = states[-1]
        exit_mm = np.asarray(planned.entry_mm) - FREE_MM * planned.direction
        needle.step(0.05, exit_mm, planned.direction, FREE_MM + planned.depth_mm + 1.0, body)
    push = bent.force.displacement_m * 1e3
    np.testing.assert_allclose(body.carry(rigid.tip_at_rest_mm[None])[0], rigid.tip_mm, atol=1e-5)
    image = bent.tip_at_rest_mm + push * planned.direction
    np.testing.assert_allclose(body.carry(image[None])[0], bent.tip_mm, atol=0.1)  # it drags a little tissue
    assert bent.bend_mm > 0.1
    assert len(bent.layers) > 3
    # Breath after breath a straight needle at rest is as deep in the tissue as it was.
    held, depths = made(NeedleMechanics(bends=False)), []
    drive(held, planned, states[0], to_mm=60.0)
    for k in range(3 * len(states) + 1):
        held.step(0.05, exit_mm, planned.direction, FREE_MM + 60.0, states[k % len(states)])
        depths.append(held.force.depth_m * 1e3)
    assert np.ptp(depths) > 1.0
    np.testing.assert_allclose(depths[:: len(states)], 60.0, atol=0.02)


def test_tissue_that_sways_about_a_held_needle_is_not_cut():
    planned = insertion()
    held, rigid = made(NeedleMechanics()), made(NeedleMechanics.rigid())
    exit_mm = np.asarray(planned.entry_mm) - FREE_MM * planned.direction
    for needle in (held, rigid):
        drive(needle, planned, REST, to_mm=60.0)
    for _ in range(100):  # until the tissue before the tip has sprung back
        held.step(0.05, exit_mm, planned.direction, FREE_MM + 60.0, REST)
    tip, line = held.tip_at_rest_mm.copy(), held.shaft_at_rest_mm.copy()
    bends = []
    for k in range(1, 60):
        body = Shifted(8.0 * math.sin(0.2 * k) * across(planned.direction))
        for needle in (held, rigid):
            needle.step(0.05, exit_mm, planned.direction, FREE_MM + 60.0, body)
        bends.append(held.bend_mm)
        np.testing.assert_allclose(held.tip_at_rest_mm, tip, atol=1e-2)
        np.testing.assert_allclose(held.shaft_at_rest_mm, line, atol=1e-2)
        np.testing.assert_allclose(rigid.tip_at_rest_mm, rigid.tip_mm - body.shift_mm, atol=1e-9)
    assert max(bends) > 2.0
    held.let_go()
    np.testing.assert_allclose(held.tip_at_rest_mm, tip, atol=1e-2)


@pytest.mark.parametrize("seed", range(4))
def test_a_restless_guide_and_driver_leave_all_finite_and_the_same_twice(seed):
    """In and out at random, the guide shifted and tilted, in a patient who breathes."""
    planned = insertion()
    states = [breathing().at_time(t) for t in np.arange(0.0, 4.0, 0.2)]
    mechanics = (
        NeedleMechanics(),
        NeedleMechanics(tip=NeedleTip(math.radians(20.0), 4.4)),
        NeedleMechanics(bends=False),
        UNFELT,
    )[seed]

    def ways():
        rng, needle, reach, speed, off = np.random.default_rng(seed), made(mechanics), 40.0, 5.0, np.zeros(3)
        tilt = np.zeros(3)
        for k in range(500):
            if k % 60 == 0:
                speed = rng.uniform(-25.0, 30.0)
            reach = min(max(reach + 0.02 * speed, 0.0), 150.0)
            off, tilt = 0.99 * off + 0.1 * rng.normal(size=3), 0.98 * tilt + 0.002 * rng.normal(size=3)
            axis = (planned.direction + tilt) / np.linalg.norm(planned.direction + tilt)
            exit_mm = np.asarray(planned.entry_mm) - FREE_MM * axis + off
            needle.step(0.02, exit_mm, axis, reach, states[k // 3 % len(states)])
            line = needle.shaft_mm
            np.testing.assert_array_equal(line[-1], needle.tip_mm)
            assert abs(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() - reach) < 5.0
            if needle.in_tissue:
                np.testing.assert_array_equal(needle.shaft_at_rest_mm[-1], needle.tip_at_rest_mm)
                assert needle.bend_mm < 30.0
            yield [*needle.tip_mm, *needle.tip_at_rest_mm, needle.peak_force_n]

    first, second = np.array(list(ways())), np.array(list(ways()))
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


def test_impossible_needles_and_steps_are_refused():
    planned = insertion()
    exit_mm = np.asarray(planned.entry_mm) - FREE_MM * planned.direction
    for start, axis, reach, duration, match in (
        (exit_mm, 1.01 * planned.direction, 10.0, 0.01, "unit vector"),
        (exit_mm, np.full(3, np.nan), 10.0, 0.01, "unit vector"),
        (exit_mm, planned.direction[:2], 10.0, 0.01, "unit vector"),
        (exit_mm * np.nan, planned.direction, 10.0, 0.01, "exit"),
        (exit_mm[:2], planned.direction, 10.0, 0.01, "exit"),
        (exit_mm, planned.direction, -1.0, 0.01, "reach"),
        (exit_mm, planned.direction, math.nan, 0.01, "reach"),
        (exit_mm, planned.direction, math.inf, 0.01, "reach"),
        (exit_mm, planned.direction, 10.0, 0.0, "step"),
        (exit_mm, -planned.direction, 10.0, 0.01, "away"),
    ):
        with pytest.raises(OptionError, match=match):
            made(NeedleMechanics()).step(duration, start, axis, reach, REST)
    needle = made(NeedleMechanics())
    for refused in (needle.let_go, lambda: needle.carried_by(REST)):
        with pytest.raises(OptionError):
            refused()
    for make in (
        lambda: NeedleMechanics(side_stiffness_pa=0.0),
        lambda: NeedleMechanics(side_stiffness_pa=math.nan),
        lambda: NeedleMechanics(young_modulus_pa=-1.0),
        lambda: NeedleMechanics(bore_share=1.0),
        lambda: NeedleMechanics(roll_rad=math.inf),
        lambda: NeedleMechanics(tip=NeedleTip(0.3, 1.0), feels=False),
        lambda: NeedleMechanics(tip=NeedleTip(0.3, 1.0), bends=False),
        lambda: made(NeedleMechanics(), diameter_mm=0.0),
        lambda: made(NeedleMechanics(young_modulus_pa=1e3)),
    ):
        with pytest.raises(OptionError):
            make()
    # Too shallow for tissue to hold it.
    drive(needle, planned, REST, to_mm=0.5)
    assert needle.in_tissue and not needle.tissue_holds
    with pytest.raises(OptionError, match="at least 1 mm"):
        needle.let_go()


def test_a_needle_that_rests_loosely_goes_with_the_body_and_is_taken_up_where_it_was():
    planned, needle = insertion(), made(NeedleMechanics())
    exit_mm = np.asarray(planned.entry_mm) - FREE_MM * planned.direction
    drive(needle, planned, to_mm=20.0)
    held = needle.force
    for stop in range(1, 6):
        depth = 20.0 + 10.0 * stop
        tip = needle.tip_at_rest_mm.copy()
        for k in range(1, 41):  # a breath, and back to end-exhale
            needle.loosen(breathing().at_time(2.0 + 0.1 * k))
            assert needle.force is None and needle.stop_reason is None
            # It lies in its channel: what it has left behind it is not cut anew.
            assert np.linalg.norm(needle.tip_at_rest_mm - tip) < 3.0
        for k in range(1, 51):
            needle.step(0.02, exit_mm, planned.direction, FREE_MM + depth - 10.0 + 0.2 * k, REST)
        inside = np.linalg.norm(needle.tip_at_rest_mm - needle.entry_at_rest_mm)
        assert 1e3 * needle.force.tip_in_tissue_m == pytest.approx(inside, abs=0.5)
        assert needle.force.depth_m == pytest.approx(1e-3 * depth, abs=5e-4)
    straight = made(NeedleMechanics())
    drive(straight, planned, to_mm=70.0)
    assert needle.tip_at_rest_mm == pytest.approx(straight.tip_at_rest_mm, abs=1.0)
    assert held is not None and needle.force.depth_m > held.depth_m


def test_only_a_needle_in_tissue_can_rest_loosely():
    planned, needle = insertion(), made(NeedleMechanics())
    with pytest.raises(OptionError, match="in tissue"):
        needle.loosen(REST)
    drive(needle, planned, to_mm=20.0)
    needle.let_go()
    with pytest.raises(OptionError, match="let go"):
        needle.loosen(REST)
