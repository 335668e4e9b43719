"""Tissue before a pressing tip, and a needle that the tissue carries along."""

import numpy as np
import pytest
from made_cases import rotation

from needleplan.errors import GeometryError, OptionError
from sim.carried_needle import Holds, carried
from sim.tissue_push import FADING_M, STEEPEST, pushed_by

TIP, WAY = np.array([0.04, -0.1, 0.2]), np.array([0.48, 0.6, -0.64])
ENTRY = TIP - 0.09 * WAY


def test_a_push_is_whole_at_the_tip_and_fades_with_distance():
    np.testing.assert_allclose(pushed_by(TIP, TIP, WAY, 0.008), 0.008 * WAY)
    away = rotation(3)[:, 0]
    sizes = [np.linalg.norm(pushed_by(TIP + r * away, TIP, WAY, 0.008)) for r in np.linspace(0, 0.3, 200)]
    assert (np.diff(sizes) < 0).all()
    # Far away it falls by a factor e over its length.
    far, farther = (pushed_by(TIP + k * FADING_M * away, TIP, WAY, 0.008) @ WAY for k in (11.0, 12.0))
    assert far / farther == pytest.approx(np.e, rel=0.01)
    field = pushed_by(np.stack([[TIP, TIP + 0.02], [TIP - 0.01, TIP]]), TIP, WAY, -0.003)
    assert field.shape == (2, 2, 3) and (field @ WAY < 0).all()
    assert not pushed_by(TIP, TIP, WAY, 0.0).any()


def test_pushed_tissue_never_folds():
    steepest = 0.98 * FADING_M / STEEPEST
    rng = np.random.default_rng(2)
    points = TIP + FADING_M * 1.5 * rng.normal(size=(4000, 3))
    points = np.concatenate([points, TIP + WAY * np.linspace(-0.1, 0.1, 2001)[:, None]])
    h, worst = 1e-6, []
    for sign in (1.0, -1.0):

        def place(p, sign=sign):
            return p + pushed_by(p, TIP, WAY, sign * steepest)

        columns = [(place(points + h * e) - place(points - h * e)) / (2 * h) for e in np.eye(3)]
        worst.append(np.linalg.det(np.stack(columns, axis=-1)).min())
    # The bound is the true one: just within it the tissue is nearly flat somewhere, and never turned over.
    assert all(0.0 < w < 0.03 for w in worst)
    with pytest.raises(GeometryError, match="folds"):
        pushed_by(points, TIP, WAY, 1.01 * FADING_M / STEEPEST)
    for fading in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(OptionError, match="fades"):
            pushed_by(TIP, TIP, WAY, 0.001, fading)


@pytest.mark.parametrize("holds", list(Holds))
def test_what_moves_alike_carries_the_needle_as_it_is(holds):
    shift = np.array([0.003, -0.002, -0.012])
    needle = carried(ENTRY, TIP, shift, shift, holds)
    np.testing.assert_allclose(needle.tip_m, TIP + shift, atol=1e-15)
    np.testing.assert_allclose(needle.direction, WAY, atol=1e-12)
    assert needle.slid_in_m == pytest.approx(0.0, abs=1e-15)
    assert needle.deeper_in_tissue_m == pytest.approx(0.0, abs=1e-15)


def test_a_moving_liver_turns_the_needle_about_the_skin():
    across = np.cross(WAY, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    move = 0.012
    free = carried(ENTRY, TIP, np.zeros(3), move * across)
    held = carried(ENTRY, TIP, np.zeros(3), move * across, Holds.SKIN)
    angle = np.arctan2(move, 0.09)
    for needle in (free, held):
        assert np.arccos(needle.direction @ WAY) == pytest.approx(angle)
        np.testing.assert_allclose(needle.entry_m, ENTRY)
        # Straight from the skin to the tip.
        np.testing.assert_allclose(needle.entry_m + needle.inserted_m * needle.direction, needle.tip_m, atol=1e-15)
    np.testing.assert_allclose(free.tip_m, TIP + move * across, atol=1e-15)
    assert free.slid_in_m == pytest.approx(np.hypot(0.09, move) - 0.09) and free.deeper_in_tissue_m == 0.0
    assert held.slid_in_m == 0.0 and held.inserted_m == pytest.approx(0.09)
    assert held.deeper_in_tissue_m == pytest.approx(0.09 - np.hypot(0.09, move))


def test_along_the_needle_the_shaft_slides_or_the_tip_does():
    free = carried(ENTRY, TIP, np.zeros(3), 0.01 * WAY)
    held = carried(ENTRY, TIP, np.zeros(3), 0.01 * WAY, Holds.SKIN)
    np.testing.assert_allclose(free.direction, WAY)
    assert free.slid_in_m == pytest.approx(0.01)
    np.testing.assert_allclose(held.tip_m, TIP, atol=1e-15)
    assert held.deeper_in_tissue_m == pytest.approx(-0.01)
    # The skin that rises pulls the entry: the free tip stays, the shaft comes out of the skin less far.
    risen = carried(ENTRY, TIP, -0.004 * WAY, np.zeros(3))
    assert risen.slid_in_m == pytest.approx(0.004) and risen.inserted_m == pytest.approx(0.094)


def test_a_turned_patient_carries_the_needle_the_same():
    turn, shift = rotation(17), np.array([0.3, -0.1, 0.2])
    e, d = np.array([0.001, -0.004, 0.002]), np.array([0.004, 0.002, -0.015])
    for holds in Holds:
        here = carried(ENTRY, TIP, e, d, holds)
        there = carried(turn @ ENTRY + shift, turn @ TIP + shift, turn @ e, turn @ d, holds)
        np.testing.assert_allclose(there.tip_m, turn @ here.tip_m + shift, atol=1e-14)
        assert there.slid_in_m == pytest.approx(here.slid_in_m, abs=1e-15)


def test_what_is_no_needle_is_refused():
    for entry, tip, move in ((TIP, TIP, np.zeros(3)), (ENTRY, TIP, ENTRY - TIP), (ENTRY, TIP, np.full(3, np.nan))):
        with pytest.raises(GeometryError, match="apart"):
            carried(entry, tip, np.zeros(3), move)
