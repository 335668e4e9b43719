import dataclasses

import numpy as np
import pytest

from needleplan.anatomy.model import Anatomy
from needleplan.frames import FloatArray
from needleplan.motion.body_motion import BodyMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.tabulated_body import TabulatedBody
from sim.patient import LANDMARKS, PatientSurfaces, patient_surfaces, simplified, spread_points

#: Deep inhalation of the motion.
INHALED = LujanMotion().displacement_mm(2.0)


@pytest.fixture(scope="module")
def patient(anatomy: Anatomy) -> PatientSurfaces:
    return patient_surfaces(anatomy, TabulatedBody.of_motion(BodyMotion(anatomy, LujanMotion())), 400)


class Carried:
    """A body that does to every point what it is told."""

    drive = np.ones(4)

    def __init__(self, matrix: FloatArray, shift_mm: FloatArray) -> None:
        self.matrix, self.shift_mm, self.calls = matrix, shift_mm, 0

    def carry(self, points_mm: FloatArray, inside: object = None) -> FloatArray:
        self.calls += 1
        return points_mm @ self.matrix.T + self.shift_mm


def turn(axis: object, angle_rad: float) -> FloatArray:
    x, y, z = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle_rad) * k + (1 - np.cos(angle_rad)) * k @ k


def turned_by(rotation: FloatArray) -> float:
    return float(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))


def in_a_row(patient: PatientSurfaces) -> PatientSurfaces:
    """The same parts, whose landmarks lie on an oblique line."""
    line = np.array([30.0, -20.0, 100.0]) + np.outer(np.linspace(0, 80, LANDMARKS), [0.6, 0.0, 0.8])
    parts = tuple(dataclasses.replace(part, landmarks_mm=line) for part in patient.parts)
    return PatientSurfaces(parts, patient.skin, patient.body)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.4, 3.0])
def test_a_rigid_motion_is_found_and_leaves_nothing(patient: PatientSurfaces, angle: float) -> None:
    rotation, shift = turn([1.0, -2.0, 0.5], angle), np.array([3.0, -7.0, 12.0])
    body = Carried(rotation, shift)
    poses, misfit = patient.poses(body)
    assert body.calls == 1
    assert poses[:, :3, :3] == pytest.approx(np.broadcast_to(rotation, poses[:, :3, :3].shape), abs=1e-8)
    assert misfit.max() < 1e-6
    for part, pose in zip(patient.parts, poses, strict=True):
        assert part.landmarks_mm @ pose[:3, :3].T + pose[:3, 3] == pytest.approx(
            part.landmarks_mm @ rotation.T + shift, abs=1e-6
        )


def test_a_mirrored_body_is_never_posed_as_its_mirror_image(patient: PatientSurfaces) -> None:
    poses, misfit = patient.poses(Carried(np.diag([1.0, 1.0, -1.0]), np.zeros(3)))
    assert np.linalg.det(poses[:, :3, :3]) == pytest.approx(np.ones(len(poses)))
    assert misfit.min() > 1.0


def test_landmarks_in_a_row_do_not_turn_about_it(patient: PatientSurfaces) -> None:
    row = in_a_row(patient)
    poses, misfit = row.poses(Carried(np.eye(3), np.array([0.0, 0.0, -9.0])))
    assert max(turned_by(pose[:3, :3]) for pose in poses) < 1e-6 and misfit.max() < 1e-6
    # Turned as a whole, they turn by no more than is needed to lie along their new line.
    rotation = turn([0.0, 1.0, 0.0], 0.3)
    poses, misfit = row.poses(Carried(rotation, np.zeros(3)))
    assert poses[0, :3, :3] == pytest.approx(rotation, abs=1e-6) and misfit.max() < 1e-6


def test_at_rest_every_part_lies_where_it_was_made(patient: PatientSurfaces) -> None:
    poses, misfit = patient.poses(patient.body.state(np.zeros(3)))
    np.testing.assert_array_equal(poses, np.broadcast_to(np.eye(4), poses.shape))
    np.testing.assert_array_equal(misfit, 0.0)


def test_parts_follow_the_body_as_nearly_as_rigid_bodies_can(patient: PatientSurfaces, anatomy: Anatomy) -> None:
    state = patient.body.state(INHALED)
    poses, misfit = patient.poses(state)
    rng = np.random.default_rng(5)
    for part, pose, left in zip(patient.parts, poses, misfit, strict=True):
        alone, alone_left = part.pose(state)
        assert alone == pytest.approx(pose, abs=1e-9) and alone_left == pytest.approx(left, abs=1e-9)
        carried = state.carry(part.landmarks_mm, part.inside)
        apart = part.landmarks_mm @ pose[:3, :3].T + pose[:3, 3] - carried
        assert np.linalg.norm(apart, axis=1).max() == pytest.approx(left, abs=1e-9)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0, abs=1e-12)
        # No other pose is better in the sense of least squares.
        for _ in range(5):
            small = turn(rng.normal(size=3), 1e-3)
            others = part.landmarks_mm @ (small @ pose[:3, :3]).T
            others += carried.mean(axis=0) - others.mean(axis=0) + 0.01 * rng.normal(size=3)
            assert ((others - carried) ** 2).sum() > (apart**2).sum() - 1e-9
    at = {part.name: k for k, part in enumerate(patient.parts)}
    target = anatomy.target.mesh.vertices_mm.mean(axis=0)
    pose = poses[at["tumour"]]
    assert pose[:3, :3] @ target + pose[:3, 3] - target == pytest.approx(INHALED, abs=0.5)
    spine = poses[at["spine"]]
    assert np.abs(spine - np.eye(4)).max() < 0.05
    rise = {
        name: (poses[at[f"skin, {name} part"]] @ np.append(target, 1.0))[:3] - target for name in ("upper", "lower")
    }
    up = np.asarray(anatomy.case.up)
    assert rise["upper"] @ up > 1.0 > abs(rise["lower"] @ up)


def test_the_skin_is_cut_into_an_upper_and_a_lower_part(patient: PatientSurfaces, anatomy: Anatomy) -> None:
    upper, lower = (part for part in patient.parts if part.surface is anatomy.entry)
    assert len(upper.mesh.faces) + len(lower.mesh.faces) == len(patient.skin.faces)
    assert upper.mesh.area_mm2 + lower.mesh.area_mm2 == pytest.approx(patient.skin.area_mm2)
    up = np.asarray(anatomy.case.up)
    assert (upper.mesh.face_centres_mm @ up).min() >= (lower.mesh.face_centres_mm @ up).max()


def test_points_are_spread_and_repeated_where_there_are_too_few() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-50, 50, (2000, 3))
    chosen = spread_points(points, 40)
    assert chosen.shape == (40, 3)
    to_chosen = np.linalg.norm(points[:, None] - chosen, axis=2)
    apart = np.linalg.norm(chosen[:, None] - chosen, axis=2)[~np.eye(40, dtype=bool)].min()
    # Farthest points: none of all is farther from the chosen than the chosen are from each other.
    assert to_chosen.min(axis=1).max() <= apart + 1e-9
    few = spread_points(points[:3], 40)
    assert few.shape == (40, 3) and len(np.unique(few, axis=0)) == 3


def test_simplified_surfaces_keep_their_shape(anatomy: Anatomy) -> None:
    skin = anatomy.entry.mesh
    coarse = simplified(skin, 600)
    assert len(coarse.faces) <= 620 and coarse.is_watertight
    assert coarse.volume_mm3 == pytest.approx(skin.volume_mm3, rel=0.01)
    assert simplified(coarse, 10_000) is coarse
