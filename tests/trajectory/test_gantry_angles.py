"""Angles of a needle in the CT room against closed forms, in every position and for a moved patient."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import ball, motion

from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.errors import FrameError
from needleplan.trajectory.gantry_angles import gantry_angles, table_axes


def patient(position: PatientPosition = PatientPosition.SUPINE) -> Case:
    return Case("made", (Structure("tumour", Role.TARGET, ball()),), position, "ab" * 32, up=position.up)


@pytest.mark.parametrize(
    ("position", "across"),
    [("supine", (1, 0, 0)), ("prone", (1, 0, 0)), ("left", (0, -1, 0)), ("right", (0, -1, 0))],
)
def test_across_is_left_or_of_a_patient_on_a_side_the_front(position, across) -> None:
    case = patient(PatientPosition(position))
    np.testing.assert_allclose(table_axes(case).T, [across, case.up, (0, 0, 1)], atol=1e-15)


@pytest.mark.parametrize(
    ("direction", "in_plane", "out_of_plane", "tilt", "within"),
    [
        ((0, 1, 0), 0, 0, 0, 0),
        ((1, 1, 0), 45, 0, 0, 45),
        ((-1, 1, 0), -45, 0, 0, -45),
        ((1, 0, 0), 90, 0, 0, 90),
        ((0, -1, 0), 180, 0, 0, 180),
        # A needle whose tip lies headwards of its entry: the slice's top leans to the feet.
        ((0, 1, 1), 0, 45, -45, 0),
        ((0, 1, -1), 0, -45, 45, 0),
        ((0, -1, 1), 180, 45, 45, 180),
        ((1, 1, 1), 45, math.degrees(math.asin(1 / math.sqrt(3))), -45, math.degrees(math.atan(1 / math.sqrt(2)))),
        ((0, 0, 1), 0, 90, 90, 180),
        ((0, 0, -1), 0, -90, 90, 0),
    ],
)
def test_angles_of_a_supine_patient(direction, in_plane, out_of_plane, tilt, within) -> None:
    angles = gantry_angles(direction, patient())
    assert angles.in_plane_deg == pytest.approx(in_plane, abs=1e-9)
    assert angles.out_of_plane_deg == pytest.approx(out_of_plane, abs=1e-9)
    assert angles.gantry_tilt_deg == pytest.approx(tilt, abs=1e-9)
    assert abs(angles.tilted_in_plane_deg) == pytest.approx(abs(within), abs=1e-9)
    assert angles.tilt_is_usual == (abs(tilt) <= 30)


directions = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda d: np.linalg.norm(d) > 0.05)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(directions, st.sampled_from(list(PatientPosition)), st.integers(0, 1000))
def test_the_tilted_slice_holds_the_needle_and_moves_with_the_patient(direction, position, seed) -> None:
    case = patient(position)
    angles = gantry_angles(direction, case)
    across, up, head = table_axes(case).T
    tilt, within = math.radians(angles.gantry_tilt_deg), math.radians(angles.tilted_in_plane_deg)
    down = -(up * math.cos(tilt) + head * math.sin(tilt))
    unit = np.asarray(direction) / np.linalg.norm(direction)
    np.testing.assert_allclose(down * math.cos(within) + across * math.sin(within), unit, atol=1e-9)
    rise, level = math.radians(angles.out_of_plane_deg), math.radians(angles.in_plane_deg)
    flat = -up * math.cos(level) + across * math.sin(level)
    np.testing.assert_allclose(flat * math.cos(rise) + head * math.sin(rise), unit, atol=1e-9)
    carried = motion(seed)
    moved = gantry_angles(carried[:3, :3] @ np.asarray(direction), case.moved(carried))
    # -180 and 180 are one angle.
    for name in ("in_plane_deg", "out_of_plane_deg", "gantry_tilt_deg", "tilted_in_plane_deg"):
        apart = getattr(moved, name) - getattr(angles, name)
        steep = name == "in_plane_deg" and abs(angles.out_of_plane_deg) > 89
        flat_lying = name in ("gantry_tilt_deg", "tilted_in_plane_deg") and abs(unit @ up) < 1e-3
        if not (steep or flat_lying):
            assert abs(math.remainder(apart, 360)) < 1e-6, name


def test_the_letters_of_the_angles_in_a_prone_patient() -> None:
    case = patient(PatientPosition.PRONE)
    # From the back straight down to the table is towards the front.
    assert gantry_angles((0, -1, 0), case).in_plane_deg == pytest.approx(0)
    assert gantry_angles((1, -1, 0), case).in_plane_deg == pytest.approx(45)


def test_no_slice_and_no_direction_are_refused() -> None:
    tumour = (Structure("tumour", Role.TARGET, ball()),)
    upright = Case("made", tumour, PatientPosition.SUPINE, "ab" * 32, up=(0, 0, 1))
    with pytest.raises(FrameError, match="no slice"):
        gantry_angles((0, 1, 0), upright)
    with pytest.raises(FrameError):
        gantry_angles((0, 0, 0), patient())
