import numpy as np
import pytest

from needleplan.errors import FrameError, GeometryError, OptionError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from needleplan.registration.consensus import ConsensusOptions
from needleplan.registration.pivot import calibrate_pivot
from needleplan.registration.rotations import rotations_of

TIP_MM, PIVOT_MM = np.array([12.0, -7.0, 183.0]), np.array([-140.0, 85.0, -1210.0])


def poses(rng, count=60, tilt=0.4, error_mm=0.0, spin=None):
    """Poses of a tool whose tip rests in the pivot, tilted about all axes about an oblique mean."""
    mean = rotations_of([0.7, -0.4, 1.1])
    vectors = rng.normal(0, tilt, (count, 3)) if spin is None else rng.normal(0, tilt, count)[:, None] * spin
    rotations = mean @ rotations_of(vectors)
    translations = PIVOT_MM - rotations @ TIP_MM + rng.normal(0, error_mm, (count, 3))
    return [
        RigidTransform.from_parts(Frame.TRACKER, Frame.GUIDE, r, t)
        for r, t in zip(rotations, translations, strict=True)
    ]


@pytest.fixture
def rng():
    return np.random.default_rng(31)


def test_exact_poses_give_tip_and_pivot(rng):
    found = calibrate_pivot(poses(rng))
    assert (found.tip.parent, found.tip.child) == (Frame.GUIDE, Frame.NEEDLE)
    np.testing.assert_allclose(found.tip.translation, TIP_MM, atol=1e-8)
    np.testing.assert_allclose(found.pivot_mm, PIVOT_MM, atol=1e-8)
    assert not found.taken_out and found.rms_mm < 1e-9 and found.turns_deg[1] > 5


def test_predicted_covariance_is_that_of_many_calibrations(rng):
    squares, lengths = [], []
    for _ in range(700):
        found = calibrate_pivot(poses(rng, 10, error_mm=0.3), ConsensusOptions(subsets=5, level=1e-12))
        error = found.tip.translation - TIP_MM
        covariance = found.covariance.at(found.tip.translation)
        squares.append(error @ np.linalg.solve(covariance, error))
        lengths.append(found.rms_mm)
    # Hotelling: e' C⁻¹ e / 3 has the F law of 3 and 24 degrees of freedom, of mean 24 / 22.
    assert np.mean(squares) / 3 == pytest.approx(24 / 22, abs=3.5 * np.std(squares) / 3 / np.sqrt(len(squares)))
    assert np.mean(np.square(lengths)) == pytest.approx(3 * 0.09 * 24 / 30, rel=0.06)


def test_poses_that_slipped_are_taken_out(rng):
    made = poses(rng, 40, error_mm=0.2)
    wrong = (3, 4, 5, 17, 30)
    for k in wrong:
        made[k] = RigidTransform.from_parts(
            Frame.TRACKER,
            Frame.GUIDE,
            made[k].rotation,
            made[k].translation + rng.normal(0, 1, 3) + [8.0, -5.0, 3.0],
        )
    found = calibrate_pivot(made)
    assert set(wrong) <= set(found.taken_out) and len(found.taken_out) <= len(wrong) + 1
    assert np.linalg.norm(found.tip.translation - TIP_MM) < 0.4


def test_a_tool_that_is_carried_along_gives_the_same_tip(rng):
    made = poses(rng, 30, error_mm=0.2)
    moved = RigidTransform.from_parts(Frame.WORLD, Frame.TRACKER, rotations_of([1.0, 2.0, -0.5]), [5.0, 900.0, 3.0])
    one, other = calibrate_pivot(made), calibrate_pivot([moved @ pose for pose in made])
    np.testing.assert_allclose(one.tip.translation, other.tip.translation, atol=1e-8)
    np.testing.assert_allclose(other.pivot_mm, moved.apply(one.pivot_mm), atol=1e-8)


def test_poor_sets_of_poses_are_refused(rng):
    with pytest.raises(GeometryError, match="at least 6 poses"):
        calibrate_pivot(poses(rng, 5))
    with pytest.raises(GeometryError, match=r"turn by only .* degrees"):
        calibrate_pivot(poses(rng, tilt=0.02))
    with pytest.raises(GeometryError, match="parallel axes"):
        calibrate_pivot(poses(rng, spin=np.array([0.6, 0.0, 0.8])))
    with pytest.raises(FrameError, match="same two frames"):
        calibrate_pivot([*poses(rng), RigidTransform.identity(Frame.TRACKER, Frame.NEEDLE)])
    with pytest.raises(FrameError, match="millimetres"):
        calibrate_pivot([pose.in_unit(LengthUnit.METRE) for pose in poses(rng)])


def test_impossible_options_are_refused():
    with pytest.raises(OptionError, match="subsets and a seed"):
        ConsensusOptions(subsets=0)
    with pytest.raises(OptionError, match="greatest share"):
        ConsensusOptions(most_taken_out=0.5)


@pytest.mark.parametrize(("slipped", "reason"), [(18, "agree with each other"), (20, r"rests to .* mm")])
def test_poses_of_which_about_half_slipped_are_refused(rng, slipped, reason):
    scattered = poses(rng, 40)
    for k in range(slipped):
        translation = scattered[k].translation + rng.normal(0, 60, 3)
        scattered[k] = RigidTransform.from_parts(Frame.TRACKER, Frame.GUIDE, scattered[k].rotation, translation)
    with pytest.raises(GeometryError, match=reason):
        calibrate_pivot(scattered)
