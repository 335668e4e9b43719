import numpy as np
import pytest
from made_points import oblique_pose

from needleplan.errors import FrameError, GeometryError
from needleplan.frames import Frame, RigidTransform
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.registration.rotations import nearest_rotation, rotation_vectors, rotations_of
from needleplan.registration.turns import stacked

CENTRE = np.array([40.0, -75.0, 310.0])


def made(seed=1, frame=Frame.TRACKER):
    rng = np.random.default_rng(seed)
    root = rng.normal(0, 1, (6, 6)) * np.repeat([0.5, 0.004], 3)[:, None]
    return PoseCovariance(frame, CENTRE, root @ root.T)


def test_point_errors_do_not_depend_on_the_stated_centre():
    law = made()
    moved = law.about([200.0, 10.0, -90.0])
    for point in np.random.default_rng(2).normal(0, 300, (10, 3)):
        np.testing.assert_allclose(moved.at(point), law.at(point), rtol=1e-9, atol=1e-9)
        assert law.tre_mm(point) == pytest.approx(np.sqrt(np.trace(law.at(point))))


def test_a_covariance_seen_from_another_frame_turns_with_it():
    law, X_PT = made(), oblique_pose()
    seen = law.seen_from(X_PT)
    assert seen.frame is Frame.PATIENT
    for point in np.random.default_rng(3).normal(0, 300, (10, 3)):
        turned = X_PT.rotation @ law.at(point) @ X_PT.rotation.T
        np.testing.assert_allclose(seen.at(X_PT.apply(point)), turned, rtol=1e-8, atol=1e-8)
    back = seen.seen_from(X_PT.inverse())
    np.testing.assert_allclose(back.matrix, law.matrix, atol=1e-9)
    np.testing.assert_allclose(back.centre_mm, CENTRE, atol=1e-9)


def test_drawn_motions_are_rigid_and_have_the_covariance():
    law = made()
    motions = law.sampled(40_000, np.random.default_rng(4))
    np.testing.assert_allclose(
        motions[:50, :3, :3] @ np.swapaxes(motions[:50, :3, :3], 1, 2), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12
    )
    point = np.add(CENTRE, [90.0, 40.0, -60.0])
    off = motions[:, :3, :3] @ point + motions[:, :3, 3] - point
    predicted = law.at(point)
    error = np.sqrt((np.outer(np.diag(predicted), np.diag(predicted)) + predicted**2) / len(off))
    assert (np.abs(off.T @ off / len(off) - predicted) < 4.5 * error + 1e-3 * np.trace(predicted)).all()


def test_independent_motions_add():
    first, second = made(1), made(2).about([0.0, 0.0, 0.0])
    both = first + second
    point = np.array([-120.0, 30.0, 60.0])
    np.testing.assert_allclose(both.at(point), first.at(point) + second.at(point), rtol=1e-9)
    np.testing.assert_allclose(both.centre_mm, CENTRE)


def test_what_is_no_covariance_is_refused():
    with pytest.raises(GeometryError, match="6x6"):
        PoseCovariance(Frame.PATIENT, CENTRE, np.eye(3))
    with pytest.raises(GeometryError, match="negative variance"):
        PoseCovariance(Frame.PATIENT, CENTRE, np.diag([1.0, 1.0, -1e-3, 1e-6, 1e-6, 1e-6]))
    with pytest.raises(GeometryError, match="negative variance"):
        PoseCovariance(Frame.PATIENT, CENTRE, np.diag([1.0, 1.0, 1.0, 1e-6, 1e-6, -1e-6]))
    with pytest.raises(GeometryError, match="not symmetric"):
        PoseCovariance(Frame.PATIENT, CENTRE, np.eye(6) + np.eye(6, k=2) * 0.3)
    with pytest.raises(GeometryError, match="not finite"):
        PoseCovariance(Frame.PATIENT, CENTRE, np.diag([np.nan, 1, 1, 1, 1, 1]))
    with pytest.raises(GeometryError, match="cannot be carried by X_PG"):
        made().seen_from(RigidTransform.identity(Frame.PATIENT, Frame.GUIDE))
    with pytest.raises(GeometryError, match="cannot be added"):
        made() + made(frame=Frame.PATIENT)
    with pytest.raises(FrameError, match="same two frames"):
        stacked([oblique_pose(), oblique_pose().inverse()], "poses")


def test_rotations_and_their_vectors_are_inverse_from_nothing_to_almost_half_a_turn():
    rng = np.random.default_rng(5)
    for size in (1e-9, 1e-5, 0.3, 3.1):
        vectors = rng.normal(0, 1, (30, 3))
        vectors *= size / np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(rotation_vectors(rotations_of(vectors)), vectors, rtol=1e-7, atol=1e-13)
    mirrored = np.diag([1.0, 1.0, -1.0]) @ rotations_of([0.2, 0.3, 0.4])
    assert np.linalg.det(nearest_rotation(mirrored)) == pytest.approx(1.0)
