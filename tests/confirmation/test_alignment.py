"""How the scans are laid on each other, what its error makes of the least margin, and what is refused."""

import numpy as np
import pytest

from needleplan.confirmation.alignment import AFTER, by_landmarks, by_organ, given_transform, same_frame
from needleplan.confirmation.confirm import confirm
from needleplan.confirmation.options import ConfirmationOptions
from needleplan.errors import FrameError, GeometryError, OptionError
from needleplan.frames import Frame, RigidTransform
from needleplan.grid import Grid, VoxelMask
from needleplan.registration.rotations import rotation_vectors, rotations_of
from tests.confirmation.made_balls import ball, mask_of, oblique_grid

CENTRE = np.array([-40.2, 15.5, 88.0])
POSE = RigidTransform.from_parts(Frame.PATIENT, AFTER, rotations_of((0.2, -0.35, 0.5)), (40.0, -25.0, 60.0))


def _after(mask):
    """A mask in the frame of the scan after."""
    return VoxelMask(mask.grid.moved(POSE.inverse().matrix), mask.inside, mask.cut_sides)


def _egg(spacing=(2.0, 2.0, 2.0)):
    """An organ without symmetry, so that its surface tells its pose."""
    grid = oblique_grid(CENTRE, 56.0, spacing)

    def holds(points):
        x, y, z = ((points - CENTRE - np.array([8.0, 5.0, 0.0])) / np.array([46.0, 34.0, 26.0])).T
        return x**2 + (y + 0.3 * x**2) ** 2 + (z - 0.35 * x * y) ** 2 / (1.0 + 0.4 * x) < 1.0

    return mask_of(grid, holds)


TUMOUR, ZONE = ball(CENTRE, 8.0), ball(CENTRE + np.array([1.0, 2.0, -1.0]), 14.0, (0.9, 1.1, 1.3))


def test_a_given_transform_lays_the_zone_where_it_was():
    expected = confirm(TUMOUR, ZONE, same_frame())
    found = confirm(TUMOUR, _after(ZONE), given_transform(POSE))
    assert found.margins.least_mm == pytest.approx(expected.margins.least_mm, abs=1e-4)
    assert found.alignment.error_mm(CENTRE) is None and found.spread is None
    assert any("error" in note for note in found.notes)


def test_landmarks_without_error_give_the_pose_and_with_error_its_spread():
    rng = np.random.default_rng(4)
    before = CENTRE + rng.normal(0, 40, (8, 3))
    exact = by_landmarks(before, POSE.inverse().apply(before))
    assert np.allclose(exact.transform.matrix, POSE.matrix, atol=1e-9)
    noisy = by_landmarks(before, POSE.inverse().apply(before + rng.normal(0, 1.5, (8, 3))))
    found = confirm(TUMOUR, _after(ZONE), noisy)
    assert found.spread is not None
    assert found.spread.error_mm == pytest.approx(noisy.error_mm(TUMOUR.grid.to_patient([8.0, 8.0, 8.0])), rel=0.3)
    assert found.spread.low_mm < found.margins.least_mm < found.spread.high_mm + found.spread.deviation_mm
    assert 0.2 < found.spread.deviation_mm < 2.0


def test_the_spread_of_a_shift_of_concentric_balls_has_a_closed_form():
    """Least margin R - r - |d| with a normal shift d: the mean of |d| is s sqrt(8 / pi), its second moment 3 s²."""
    error_mm = 1.5
    sigma = error_mm / np.sqrt(3.0)
    found = confirm(
        ball(CENTRE, 8.0), ball(CENTRE, 14.0), same_frame(error_mm), options=ConfirmationOptions(draws=1000)
    )
    spread = found.spread
    assert spread is not None
    deviation = sigma * np.sqrt(3.0 - 8.0 / np.pi)
    assert spread.error_mm == pytest.approx(error_mm)
    assert spread.deviation_mm == pytest.approx(deviation, rel=0.15)
    middle = 0.5 * (spread.low_mm + spread.high_mm)
    assert middle == pytest.approx(6.0 - sigma * np.sqrt(8.0 / np.pi), abs=0.4)
    assert spread.chance_covered == 1.0


def test_no_error_spreads_nothing():
    spread = confirm(TUMOUR, ZONE, same_frame(0.0)).spread
    assert spread is not None
    assert spread.deviation_mm == pytest.approx(0.0, abs=1e-9)
    assert spread.low_mm == pytest.approx(spread.high_mm)


def test_the_organs_surface_gives_the_pose():
    organ = _egg()
    small = RigidTransform.from_parts(Frame.PATIENT, AFTER, rotations_of((0.08, -0.05, 0.1)), (12.0, -9.0, 20.0))
    after = VoxelMask(organ.grid.moved(small.inverse().matrix), organ.inside, organ.cut_sides)
    found = by_organ(organ, after)
    left = found.transform @ small.inverse()
    assert np.linalg.norm(rotation_vectors(left.rotation[None])[0]) < 0.01
    assert np.linalg.norm(left.apply(CENTRE) - CENTRE) < 0.5
    assert found.covariance is not None
    assert any("optimistic" in note for note in found.notes)


def test_a_ball_of_an_organ_slides_and_is_refused():
    organ = ball(CENTRE, 40.0, (2.0, 2.0, 2.0))
    with pytest.raises(GeometryError, match=r"slides|two poses"):
        by_organ(organ, organ)


def test_a_transform_that_leads_the_wrong_way_is_noticed():
    backward = RigidTransform(Frame.PATIENT, AFTER, POSE.inverse().matrix)
    with pytest.raises(GeometryError, match="wrong way"):
        confirm(TUMOUR, _after(ZONE), given_transform(backward))
    # With organs even where the zone still meets the tumour.
    organ = _egg()
    turn = RigidTransform.from_parts(Frame.PATIENT, AFTER, np.eye(3), (12.0, 10.0, 0.0))
    moved = [VoxelMask(mask.grid.moved(turn.inverse().matrix), mask.inside) for mask in (ZONE, organ)]
    wrong = given_transform(RigidTransform(Frame.PATIENT, AFTER, turn.inverse().matrix))
    with pytest.raises(GeometryError, match="wrong way"):
        confirm(TUMOUR, moved[0], wrong, organ_before=organ, organ_after=moved[1])


@pytest.mark.parametrize("shift_mm", [12.0, 16.0])
def test_a_wrong_way_shows_however_near_the_inverse_leaves_the_zone(shift_mm):
    """Both directions of a small motion leave the zone near its tumour: its share of the tumour tells."""
    turn = RigidTransform.from_parts(Frame.PATIENT, AFTER, rotations_of((0.05, 0.1, -0.1)), np.zeros(3))
    shift = CENTRE - turn.apply(CENTRE) + np.array([shift_mm, 0.0, 0.0])
    pose = RigidTransform.from_parts(Frame.PATIENT, AFTER, turn.rotation, shift)
    zone = VoxelMask(ZONE.grid.moved(pose.inverse().matrix), ZONE.inside)
    wrong = given_transform(RigidTransform(Frame.PATIENT, AFTER, pose.inverse().matrix))
    assert not any("inverse" in note for note in confirm(TUMOUR, zone, given_transform(pose)).notes)
    with pytest.raises(GeometryError, match=r"of the tumour by the transform and 100% by its inverse.*wrong way"):
        confirm(TUMOUR, zone, wrong)


def test_an_inverse_that_fits_somewhat_better_is_said():
    pose = RigidTransform.from_parts(Frame.PATIENT, AFTER, np.eye(3), (6.0, 0.0, 0.0))
    moved = VoxelMask(ZONE.grid.moved(pose.inverse().matrix), ZONE.inside)
    wrong = given_transform(RigidTransform(Frame.PATIENT, AFTER, pose.inverse().matrix))
    notes = confirm(TUMOUR, moved, wrong, organ_before=_egg()).notes
    assert any("inverse of the transform fits better" in note and "fixed = before" in note for note in notes)
    assert not any("inverse" in note for note in confirm(TUMOUR, moved, same_frame()).notes)


def test_a_zone_elsewhere_is_refused_and_one_beside_the_tumour_said():
    with pytest.raises(GeometryError, match="mm from the tumour after alignment"):
        confirm(TUMOUR, ball(CENTRE + np.array([60.0, 0, 0]), 12.0), same_frame())
    found = confirm(TUMOUR, ball(CENTRE + np.array([25.0, 0, 0]), 12.0), same_frame())
    assert found.coverage == 0.0 and found.tumour_left
    assert found.margins.shares.uncovered == pytest.approx(1.0)
    assert any("misses the tumour" in note for note in found.notes)


def test_a_tumour_outside_the_organ_is_refused():
    with pytest.raises(GeometryError, match="of the tumour lies in the organ"):
        confirm(TUMOUR, ZONE, same_frame(), organ_before=ball(CENTRE + np.array([60.0, 0, 0]), 30.0, (2.0,) * 3))


def test_organs_that_do_not_coincide_are_refused_or_said():
    organ = ball(CENTRE, 30.0, (2.0, 2.0, 2.0))
    for shift, refused in ((28.0, True), (10.0, False)):
        after = ball(CENTRE + np.array([0.0, shift, 0.0]), 30.0, (2.0, 2.0, 2.0))
        if refused:
            with pytest.raises(GeometryError, match="overlap to only"):
                confirm(TUMOUR, ZONE, same_frame(), organ_before=organ, organ_after=after)
        else:
            found = confirm(TUMOUR, ZONE, same_frame(), organ_before=organ, organ_after=after)
            assert any("overlap to only" in note for note in found.notes)


def test_structures_that_touch_the_edge_of_their_map_are_said():
    cut = VoxelMask(TUMOUR.grid, TUMOUR.inside, ((True, False), (False, False), (False, False)))
    notes = confirm(cut, ZONE, same_frame()).notes
    assert any("tumour touches the edge" in note for note in notes)


def test_structures_in_metres_are_refused():
    matrix = np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ TUMOUR.grid.T_PV
    tiny = VoxelMask(Grid(TUMOUR.grid.shape, matrix), TUMOUR.inside)
    with pytest.raises(GeometryError, match="must be in millimetres"):
        confirm(tiny, ZONE, same_frame())


def test_mirrored_and_scaled_transforms_are_refused():
    for matrix in (np.diag([-1.0, 1.0, 1.0, 1.0]), np.diag([1.1, 1.1, 1.1, 1.0])):
        with pytest.raises(FrameError):
            RigidTransform(Frame.PATIENT, AFTER, matrix)
    with pytest.raises(GeometryError, match="mirror"):
        before = CENTRE + np.random.default_rng(1).normal(0, 40, (8, 3))
        by_landmarks(before, before * np.array([-1.0, 1.0, 1.0]))


@pytest.mark.parametrize("error_mm", [-1.0, float("nan"), 80.0])
def test_impossible_errors_are_refused(error_mm):
    with pytest.raises(OptionError, match="registration error"):
        same_frame(error_mm)


def test_a_pose_in_another_frame_is_refused():
    with pytest.raises(OptionError, match="patient's frame"):
        given_transform(POSE.inverse())
