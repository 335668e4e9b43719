"""PyBullet reads every robot's URDF as it is meant, and exact distances bear out which links never touch."""

import numpy as np
import pybullet
import pytest

from robots.catalogue import list_robots, load_robot
from robots.model import RobotModel


@pytest.fixture(scope="module", params=list_robots())
def robot(request) -> RobotModel:
    return load_robot(request.param)


@pytest.fixture(scope="module")
def loaded(robot):
    client = pybullet.connect(pybullet.DIRECT)
    body = pybullet.loadURDF(str(robot.urdf_path), useFixedBase=True, physicsClientId=client)
    yield client, body
    pybullet.disconnect(client)


def joint_table(client, body):
    count = pybullet.getNumJoints(body, physicsClientId=client)
    return [pybullet.getJointInfo(body, k, physicsClientId=client) for k in range(count)]


def test_pybullet_reads_the_same_joints_limits_and_masses(robot, loaded):
    client, body = loaded
    table = {info[1].decode(): info for info in joint_table(client, body)}
    moving = [info[1].decode() for info in joint_table(client, body) if info[2] != pybullet.JOINT_FIXED]
    assert tuple(moving) == (*robot.joint_names, robot.driver_joint_name)
    for k, name in enumerate(robot.joint_names):
        prismatic = robot.chain.prismatic[k]
        assert table[name][2] == (pybullet.JOINT_PRISMATIC if prismatic else pybullet.JOINT_REVOLUTE)
        assert table[name][8:12] == pytest.approx(
            (robot.q_min[k], robot.q_max[k], table[name][10], robot.velocity_limits[k])
        )
    driver = table[robot.driver_joint_name]
    assert driver[2] == pybullet.JOINT_PRISMATIC and driver[9] == pytest.approx(robot.driver_stroke_m)
    for info in table.values():
        mass = pybullet.getDynamicsInfo(body, info[0], physicsClientId=client)[0]
        assert mass == pytest.approx(robot.tree.links[info[12].decode()].inertia.mass_kg)


def test_links_that_are_said_never_to_touch_never_do(robot, loaded):
    """Random postures, half of whose joints stand at a limit: there neighbours come nearest."""
    client, body = loaded
    rng = np.random.default_rng(20261122)
    table = joint_table(client, body)
    joints = {info[1].decode(): info[0] for info in table}
    links = {info[12].decode(): info[0] for info in table} | {"base_link": -1}
    pairs = never_touching(robot)
    assert len(pairs) >= 5
    touched = 0
    for _ in range(600):
        limits = np.where(rng.random(len(robot.q_min)) < 0.5, robot.q_min, robot.q_max)
        q = np.where(rng.random(len(robot.q_min)) < 0.5, limits, rng.uniform(robot.q_min, robot.q_max))
        for name, value in zip(robot.joint_names, q, strict=True):
            pybullet.resetJointState(body, joints[name], float(value), physicsClientId=client)
        for first, second in pairs:
            points = pybullet.getClosestPoints(
                body, body, 0.02, links[first], links[second], physicsClientId=client
            )
            assert all(point[8] > 0 for point in points), (first, second, q.tolist())
        touched += bool(
            pybullet.getClosestPoints(body, body, 0.0, links["guide"], links["needle"], physicsClientId=client)
        )
    # The same measure does find links that touch: the needle lies in the guide.
    assert touched == 600


def never_touching(robot) -> list[tuple[str, str]]:
    """Free pairs that no joint joins: those that the robot's TOML lists."""
    body = {robot.tree.root: robot.tree.root}
    for joint in robot.tree.joints:
        body[joint.child] = body[joint.parent] if joint.kind == "fixed" else joint.child
    joined = {frozenset((body[joint.parent], body[joint.child])) for joint in robot.tree.joints}
    pairs = [tuple(sorted(pair)) for pair in robot.free_pairs]
    return [
        (first, second)
        for first, second in pairs
        if body[first] != body[second] and frozenset((body[first], body[second])) not in joined
    ]
