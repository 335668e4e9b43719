import subprocess
import sys

import numpy as np
import pytest

from needleplan.anatomy.model import Anatomy
from needleplan.errors import RobotError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.lujan import LujanMotion
from robots.catalogue import load_robot
from robots.frames import base_pose, place_anatomy
from sim.patient import patient_surfaces, simplified
from sim.world import RehearsalWorld

BASE = base_pose((0.55, -0.12, 0.05), 2.4)


@pytest.fixture
def world(anatomy: Anatomy) -> object:
    parts = patient_surfaces(anatomy, TissueMotion(anatomy, LujanMotion()), 400).parts
    with RehearsalWorld(load_robot(), BASE, place_anatomy(anatomy), parts) as world:
        yield world


def test_pybullet_and_the_robot_model_agree_on_every_link(world: RehearsalWorld) -> None:
    robot = load_robot()
    rng = np.random.default_rng(2)
    for _ in range(20):
        q, driver = rng.uniform(robot.q_min, robot.q_max), rng.uniform(0.0, robot.driver_stroke_m)
        world.pose_arm([*q, driver])
        expected = robot.link_poses(q[None], np.array([driver]))
        found = world.link_poses()
        assert set(found) == set(expected)
        for link, pose in found.items():
            assert pose == pytest.approx(BASE.matrix @ expected[link][0], abs=1e-6)
        # The needle's frame is its tip, and +z leads into the patient.
        tip = BASE.apply(robot.forward(q).apply([0.0, 0.0, driver]))
        assert world.needle_pose().translation == pytest.approx(tip, abs=1e-6)
        assert world.needle_pose().rotation[:, 2] == pytest.approx(
            BASE.rotate(robot.forward(q).rotation[:, 2]), abs=1e-6
        )


def test_parts_of_the_patient_move_by_their_shares(world: RehearsalWorld, anatomy: Anatomy) -> None:
    placement = place_anatomy(anatomy)
    client, p = world._client, world._p
    names = [part.name for part in world._parts]

    def position(name: str) -> np.ndarray:
        body = world._bodies[names.index(name)]
        return np.array(p.getBasePositionAndOrientation(body, physicsClientId=client)[0])

    displacement, rise = np.array([1.0, -4.0, -12.0]), np.array([0.0, -3.0, 0.0])
    world.pose_patient(np.zeros(3), np.zeros(3))
    before = {name: position(name) for name in names}
    world.pose_patient(displacement, rise)
    moved = {name: position(name) - before[name] for name in names}
    shift = placement.displacement_to_world(displacement)
    assert moved["tumour"] == pytest.approx(shift, abs=1e-9)
    assert moved["right kidney"] == pytest.approx(0.65 * shift, abs=1e-9)
    assert moved["spine"] == pytest.approx(np.zeros(3), abs=1e-12)
    lower, upper = moved["skin, lower part"], moved["skin, upper part"]
    assert lower == pytest.approx(np.zeros(3), abs=1e-12)
    assert upper[2] > 5e-4 and upper[:2] == pytest.approx(np.zeros(2), abs=1e-9)


def test_touches_are_found_and_only_where_there_are_any(world: RehearsalWorld) -> None:
    robot = load_robot()
    world.pose_patient(np.zeros(3), np.zeros(3))
    world.pose_arm([*robot.home, 0.0])
    assert world.touches() == ()
    # Upright arm laid over to the side of the table and down into patient and table.
    q = np.zeros(7)
    q[0], q[1] = 0.0, np.deg2rad(118.0)
    world.place_base(base_pose((0.55, 0.0, 0.05), np.pi))
    world.pose_arm([*q, 0.0])
    touched = {part for _, part in world.touches()}
    assert "table" in touched or any("skin" in part for part in touched)


def test_the_needle_may_be_in_tissue(world: RehearsalWorld, anatomy: Anatomy) -> None:
    robot = load_robot()
    q = np.array(robot.home)
    # Put the base so that the tip of a needle fully out stands in the tumour.
    X_BG = robot.forward(q)
    tip = X_BG.apply([0.0, 0.0, robot.driver_stroke_m])
    centre = place_anatomy(anatomy).points_to_world(anatomy.target.mesh.vertices_mm.mean(axis=0))
    world.pose_patient(np.zeros(3), np.zeros(3))
    world.place_base(
        RigidTransform.from_parts(Frame.WORLD, Frame.ROBOT_BASE, np.eye(3), centre - tip, LengthUnit.METRE)
    )
    world.pose_arm([*q, robot.driver_stroke_m])
    assert world.needle_pose().translation == pytest.approx(centre, abs=1e-6)
    assert all(link != "needle" for link, _ in world.touches())


def test_the_world_disconnects_whatever_happens(anatomy: Anatomy) -> None:
    with pytest.raises(ZeroDivisionError), RehearsalWorld(load_robot(), BASE, place_anatomy(anatomy), ()) as world:
        client, p = world._client, world._p
        assert p.isConnected(client)
        raise ZeroDivisionError
    assert not p.isConnected(client)
    world.close()
    with pytest.raises(RobotError, match="X_WB"):
        RehearsalWorld(load_robot(), RigidTransform.identity(Frame.WORLD, Frame.GUIDE), place_anatomy(anatomy), ())


def test_nothing_is_printed_by_pybullet() -> None:
    code = "import sim.world; sim.world._pybullet(); print('ours')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ours\n" and "build time" not in done.stderr


def test_simplified_surfaces_keep_their_shape(anatomy: Anatomy) -> None:
    skin = anatomy.entry.mesh
    coarse = simplified(skin, 600)
    assert len(coarse.faces) <= 620 and coarse.is_watertight
    assert coarse.volume_mm3 == pytest.approx(skin.volume_mm3, rel=0.01)
    assert simplified(coarse, 10_000) is coarse
