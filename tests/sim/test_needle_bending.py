"""Closed forms of beams and arcs."""

import math

import numpy as np
import pytest
from made_cases import rotation

from needleplan.errors import FrameError, OptionError
from sim.needle_bending import (
    NITINOL_PA,
    STEEL_PA,
    NeedleShaft,
    NeedleTip,
    TipPose,
    advance_tip,
    curvature_per_m,
    steered_curvature_per_m,
    tip_deflection_m,
    tip_pose,
)

SHAFT = NeedleShaft(1.27e-3)
BEVEL = NeedleTip(math.radians(20.0), 4.4)


def test_rigidity_of_rods_and_tubes():
    assert SHAFT.stiffness_n_m2 == pytest.approx(STEEL_PA * math.pi * 1.27e-3**4 / 64)
    tube = NeedleShaft(2e-3, 1e-3, NITINOL_PA)
    assert tube.stiffness_n_m2 == pytest.approx(NITINOL_PA * math.pi * (16 - 1) * 1e-12 / 64)
    # Euler, one end clamped and one hinged: 20.19 E I / L².
    assert SHAFT.buckling_n(0.1) == pytest.approx(20.19 * SHAFT.stiffness_n_m2 / 0.01, rel=1e-3)


def test_cantilevers_under_point_and_spread_loads():
    rigidity, length, load = SHAFT.stiffness_n_m2, 0.12, 0.8
    assert tip_deflection_m(SHAFT, length, load) == pytest.approx(load * length**3 / (3 * rigidity), rel=1e-12)
    whole = tip_deflection_m(SHAFT, length, load, length)
    assert whole == pytest.approx(load * length**3 / (8 * rigidity), rel=1e-12)
    # Any spread is the sum of its points: a load f at x deflects the end by f x² (3 L - x) / (6 E I).
    for spread in (0.003, 0.05):
        x = np.linspace(length - spread, length, 20_001)
        points = x**2 * (3 * length - x) / (6 * rigidity)
        expected = load / spread * float(np.sum(0.5 * (points[1:] + points[:-1]) * np.diff(x)))
        assert tip_deflection_m(SHAFT, length, load, spread) == pytest.approx(expected, rel=1e-7)
    assert tip_deflection_m(SHAFT, length, -load) == -tip_deflection_m(SHAFT, length, load)


def test_a_beam_in_tissue_bends_as_far_as_hetenyi_says():
    """Against a beam on an elastic foundation solved by finite differences."""
    stiffness, load, length, n = 12e3, 0.6, 1.2, 2400
    rigidity = SHAFT.stiffness_n_m2
    h = length / n
    # E I y'''' + k y = 0, free end loaded across, far end free: ghost points two beyond each end.
    size = n + 5
    matrix, right = np.zeros((size, size)), np.zeros(size)
    for i in range(2, n + 3):
        matrix[i, i - 2 : i + 3] = rigidity / h**4 * np.array([1, -4, 6, -4, 1])
        matrix[i, i] += stiffness
    for row, at, shear in ((0, 2, load), (size - 1, n + 2, 0.0)):
        matrix[row, at - 2 : at + 3] = np.array([-0.5, 1, 0, -1, 0.5]) / h**3
        right[row] = shear / rigidity
    for row, at in ((1, 2), (size - 2, n + 2)):
        matrix[row, at - 1 : at + 2] = np.array([1, -2, 1]) / h**2
    y = np.linalg.solve(matrix, right)
    bent = float(np.abs(np.diff(y, 2)[1:-1]).max() / h**2)
    stiff = NeedleTip(math.pi / 4, 50.0)  # a load across as great as along
    assert curvature_per_m(SHAFT, stiff, load, stiffness) == pytest.approx(bent, rel=5e-3)


def test_a_limp_needle_is_steered_and_a_stiff_one_is_not():
    assert curvature_per_m(NeedleShaft(0.4e-3, 0.0, NITINOL_PA), BEVEL, 1.0) == 4.4
    stiff = curvature_per_m(NeedleShaft(2.4e-3), BEVEL, 1.0)
    assert 0.0 < stiff < 0.5
    assert curvature_per_m(NeedleShaft(2.4e-3), BEVEL, 0.5) == pytest.approx(0.5 * stiff)
    assert curvature_per_m(NeedleShaft(2.4e-3), BEVEL, 0.0) == 0.0
    # Symmetric tips do not steer, whatever the force.
    assert curvature_per_m(NeedleShaft(0.4e-3), NeedleTip(), 5.0) == 0.0 == NeedleTip().side_load_n(5.0)
    # Webster's needle, recalled: 9.91 degrees and 39.6 mm make a circle of 227 mm.
    assert 1 / steered_curvature_per_m(math.radians(9.91), 39.6e-3) == pytest.approx(0.227, abs=5e-4)


def made_pose():
    turn = rotation(4)
    return TipPose(np.array([0.03, -0.2, 0.11]), turn[:, 2], turn[:, 0])


def test_the_tip_goes_round_a_circle_whatever_the_steps():
    start, curvature = made_pose(), 1 / 0.227
    centre = start.position_m + start.side / curvature
    once = advance_tip(start, 0.15, curvature)
    many = start
    for _ in range(997):
        many = advance_tip(many, 0.15 / 997, curvature)
    for a, b in zip(
        (once.position_m, once.direction, once.side), (many.position_m, many.direction, many.side), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-13)
    assert np.linalg.norm(once.position_m - centre) == pytest.approx(0.227)
    assert math.acos(once.direction @ start.direction) == pytest.approx(0.15 * curvature)
    # Closed form of the deflection across the first direction: R (1 - cos(s / R)).
    across = (once.position_m - start.position_m) @ start.side
    assert across == pytest.approx(0.227 * (1 - math.cos(0.15 / 0.227)))
    # Drawn back the same way, and straight on without curvature.
    back = advance_tip(once, -0.15, curvature)
    np.testing.assert_allclose(back.position_m, start.position_m, atol=1e-15)
    straight = advance_tip(start, 0.15, 0.0)
    np.testing.assert_allclose(straight.position_m, start.position_m + 0.15 * start.direction, atol=1e-15)


def test_half_a_turn_bends_to_the_other_side():
    start = made_pose()
    a, b = advance_tip(start, 0.08, 4.0), advance_tip(start, 0.08, 4.0, math.pi)
    for one in (a, b):
        assert one.position_m @ np.cross(start.direction, start.side) == pytest.approx(
            start.position_m @ np.cross(start.direction, start.side)
        )
    assert (a.position_m - start.position_m) @ start.side == pytest.approx(
        -((b.position_m - start.position_m) @ start.side)
    )
    quarter = advance_tip(start, 0.08, 4.0, 0.5 * math.pi)
    right = np.cross(start.direction, start.side)
    assert (quarter.position_m - start.position_m) @ right == pytest.approx(
        (a.position_m - start.position_m) @ start.side
    )
    # Turned steadily the needle goes straight, but for a thin helix.
    spun = start
    for _ in range(720):
        spun = advance_tip(spun, 0.1 / 720, 4.0, math.radians(30.0))
    off = spun.position_m - start.position_m
    assert np.linalg.norm(off - (off @ start.direction) * start.direction) < 2e-4


def test_what_cannot_bend_is_refused():
    for make in (
        lambda: NeedleShaft(1e-3, 1e-3),
        lambda: NeedleShaft(0.0),
        lambda: NeedleShaft(1e-3, 0.0, 0.0),
        lambda: NeedleTip(None, 1.0),
        lambda: NeedleTip(2.0),
        lambda: NeedleTip(0.3, -1.0),
        lambda: NeedleTip(0.3, 80.0),
        lambda: tip_deflection_m(SHAFT, 0.0, 1.0),
        lambda: tip_deflection_m(SHAFT, 0.1, 1.0, 0.2),
        lambda: SHAFT.buckling_n(0.0),
        lambda: steered_curvature_per_m(2.0, 0.04),
        lambda: steered_curvature_per_m(0.1, 0.0),
        lambda: curvature_per_m(SHAFT, BEVEL, -1.0),
        lambda: curvature_per_m(SHAFT, BEVEL, 1.0, 0.0),
        lambda: TipPose(np.zeros(3), [0, 0, 1], [0, 0.1, 1]),
    ):
        with pytest.raises(OptionError):
            make()
    with pytest.raises(FrameError):
        tip_pose(np.zeros(3), [0, 0, 1], [0, 0, 2])
    np.testing.assert_allclose(tip_pose(np.zeros(3), [0, 0, 2], [3, 0, 5]).side, [1, 0, 0])
