import numpy as np
import pytest

from needleplan.errors import FrameError, GeometryError, OptionError
from needleplan.frames import Frame, RigidTransform
from needleplan.registration.consensus import ConsensusOptions
from needleplan.registration.hand_eye import HandEyeOptions, calibrate_hand_eye
from needleplan.registration.rotations import rotation_vectors, rotations_of

X_EG = RigidTransform.from_parts(Frame.FLANGE, Frame.GUIDE, rotations_of([0.3, 1.9, -0.7]), [22.0, -61.0, 148.0])
X_BT = RigidTransform.from_parts(
    Frame.ROBOT_BASE, Frame.TRACKER, rotations_of([-1.2, 0.8, 2.0]), [1900.0, -350.0, 1240.0]
)


@pytest.fixture
def rng():
    return np.random.default_rng(41)


def moved(pose, rng, error_mm, error_rad):
    """A pose whose origin and axes err."""
    rotation = rotations_of(rng.normal(0, error_rad, 3)) @ pose.rotation
    return RigidTransform.from_parts(
        pose.parent, pose.child, rotation, pose.translation + rng.normal(0, error_mm, 3)
    )


def pairs(rng, count=20, turn=0.6, error_mm=0.0, error_rad=0.0, axis=None):
    hand, seen = [], []
    for _ in range(count):
        vector = rng.normal(0, turn, 3) if axis is None else rng.normal(0, turn) * np.asarray(axis)
        rotation = rotations_of([2.0, 0.4, -0.3]) @ rotations_of(vector)
        X_BE = RigidTransform.from_parts(
            Frame.ROBOT_BASE, Frame.FLANGE, rotation, np.add([450.0, -100.0, 600.0], rng.normal(0, 120, 3))
        )
        hand.append(X_BE)
        seen.append(moved(X_BT.inverse() @ X_BE @ X_EG, rng, error_mm, error_rad))
    return hand, seen


def error_of(found, truth):
    """(6,) small motion that carries the true pose to the found one, about the found origin."""
    turn = rotation_vectors(found.rotation @ truth.rotation.T)
    return np.concatenate([found.translation - truth.translation, turn])


def test_exact_pairs_give_both_poses_between_the_named_frames(rng):
    found = calibrate_hand_eye(*pairs(rng))
    for pose, truth in ((found.on_hand, X_EG), (found.eye, X_BT)):
        assert (pose.parent, pose.child) == (truth.parent, truth.child)
        np.testing.assert_allclose(pose.matrix, truth.matrix, atol=1e-6)
    assert found.rms_mm < 1e-6 and found.rms_deg < 1e-6 and not found.taken_out
    assert found.turns_deg[1] > 5 and found.condition >= 1


def test_predicted_covariances_are_those_of_many_calibrations(rng):
    options = HandEyeOptions(ConsensusOptions(subsets=5, level=1e-9))
    scores, eyes, repeats, count = [], [], 80, 20
    for _ in range(repeats):
        found = calibrate_hand_eye(*pairs(rng, count, error_mm=0.3, error_rad=0.002), options)
        for pose, truth, law, into in (
            (found.on_hand, X_EG, found.on_hand_covariance, scores),
            (found.eye, X_BT, found.eye_covariance, eyes),
        ):
            error = error_of(pose, truth)
            into.append(error @ np.linalg.solve(law.matrix, error))
    # About chi-square of six degrees of freedom; the spreads are estimated, which widens it by n / (n - 2) or so.
    freedom = 3 * count - 6
    for found_scores in (scores, eyes):
        expected = 6 * freedom / (freedom - 2)
        assert np.mean(found_scores) == pytest.approx(expected, abs=4 * np.sqrt(12 / repeats) + 0.4)


def test_pairs_of_different_times_are_taken_out(rng):
    hand, seen = pairs(rng, 24, error_mm=0.2, error_rad=0.001)
    wrong = (2, 9, 10, 19)
    for k in wrong:
        seen[k] = moved(seen[k], rng, 15.0, 0.08)
    found = calibrate_hand_eye(hand, seen)
    assert set(wrong) <= set(found.taken_out) and len(found.taken_out) <= len(wrong) + 2
    assert np.linalg.norm(found.on_hand.translation - X_EG.translation) < 0.6


def test_least_squares_are_better_than_the_closed_form(rng):
    from needleplan.registration.hand_eye import _Pairs
    from needleplan.registration.turns import stacked

    closed, refined = [], []
    for _ in range(25):
        hand, seen = pairs(rng, 12, turn=0.3, error_mm=0.2, error_rad=0.003)
        made = _Pairs(stacked(hand, ""), stacked(seen, ""))
        start = made.closed_form(np.arange(12))
        both = made.refined(start)[0]
        for found, into in ((start, closed), (both, refined)):
            into.append(np.linalg.norm(found[0][:3, 3] - X_EG.translation) ** 2)
    assert np.mean(refined) < np.mean(closed)


@pytest.mark.parametrize("axis", [[0.0, 0.0, 1.0], [0.6, -0.64, 0.48]])
def test_parallel_axes_are_refused(rng, axis):
    with pytest.raises(GeometryError, match="parallel axes"):
        calibrate_hand_eye(*pairs(rng, axis=axis))


def test_poor_pairs_are_refused(rng):
    hand, seen = pairs(rng)
    with pytest.raises(GeometryError, match="at least 6 poses"):
        calibrate_hand_eye(hand[:5], seen[:5])
    with pytest.raises(GeometryError, match="20 and 19"):
        calibrate_hand_eye(hand, seen[:-1])
    with pytest.raises(GeometryError, match=r"turn by only .* degrees"):
        calibrate_hand_eye(*pairs(rng, turn=0.02))
    with pytest.raises(GeometryError, match=r"agree"):
        calibrate_hand_eye(hand, seen[::-1])
    metres = [
        RigidTransform.from_parts(pose.parent, pose.child, pose.rotation, pose.translation * 1e-3) for pose in seen
    ]
    with pytest.raises(GeometryError, match=r"agree to .* mm"):
        calibrate_hand_eye(hand, metres)
    with pytest.raises(FrameError, match="same two frames"):
        calibrate_hand_eye([*hand[:-1], seen[0]], seen)
    with pytest.raises(OptionError, match="above 0"):
        HandEyeOptions(greatest_rms_mm=0.0)
