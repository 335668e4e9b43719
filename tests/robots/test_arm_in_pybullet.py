"""One URDF serves two libraries: PyBullet and our kinematics must place every link at the same point."""

import numpy as np
import pybullet
import pytest


@pytest.fixture(scope="module")
def loaded(arm):
    client = pybullet.connect(pybullet.DIRECT)
    body = pybullet.loadURDF(str(arm.urdf_path), useFixedBase=True, physicsClientId=client)
    yield client, body
    pybullet.disconnect(client)


def joint_table(client, body):
    count = pybullet.getNumJoints(body, physicsClientId=client)
    return [pybullet.getJointInfo(body, k, physicsClientId=client) for k in range(count)]


def pose_arm(client, body, arm, q, driver):
    indices = {info[1].decode(): info[0] for info in joint_table(client, body)}
    for name, value in zip((*arm.joint_names, arm.driver_joint_name), (*q, driver), strict=True):
        pybullet.resetJointState(body, indices[name], float(value), physicsClientId=client)


def test_forward_kinematics_agree_in_both_libraries(arm, loaded, rng):
    client, body = loaded
    q = rng.uniform(arm.q_min, arm.q_max, size=(60, 7))
    driver = rng.uniform(0.0, arm.driver_stroke_m, size=60)
    ours = arm.link_poses(q, driver)
    links = {info[12].decode(): info[0] for info in joint_table(client, body)}
    assert set(links) | {"base_link"} == set(ours)
    for k in range(60):
        pose_arm(client, body, arm, q[k], driver[k])
        for name, index in links.items():
            state = pybullet.getLinkState(body, index, computeForwardKinematics=True, physicsClientId=client)
            # PyBullet keeps rotations to about 1e-7, which the arm's length turns into less than a micrometre.
            np.testing.assert_allclose(state[4], ours[name][k][:3, 3], atol=1e-6)
            rotation = np.reshape(pybullet.getMatrixFromQuaternion(state[5]), (3, 3))
            np.testing.assert_allclose(rotation, ours[name][k][:3, :3], atol=1e-5)
        needle = pybullet.getLinkState(body, links["needle"], computeForwardKinematics=True, physicsClientId=client)
        tip = arm.forward(q[k]).apply([0.0, 0.0, driver[k]])
        np.testing.assert_allclose(needle[4], tip, atol=1e-6)


def test_pybullet_reads_the_same_joints_limits_and_masses(arm, loaded):
    client, body = loaded
    table = {info[1].decode(): info for info in joint_table(client, body)}
    moving = [info[1].decode() for info in joint_table(client, body) if info[2] != pybullet.JOINT_FIXED]
    assert tuple(moving) == (*arm.joint_names, arm.driver_joint_name)
    for k, name in enumerate(arm.joint_names):
        assert table[name][2] == pybullet.JOINT_REVOLUTE
        assert table[name][8:12] == pytest.approx(
            (arm.q_min[k], arm.q_max[k], table[name][10], arm.velocity_limits[k])
        )
    driver = table[arm.driver_joint_name]
    assert driver[2] == pybullet.JOINT_PRISMATIC and driver[9] == pytest.approx(arm.driver_stroke_m)
    for info in table.values():
        mass = pybullet.getDynamicsInfo(body, info[0], physicsClientId=client)[0]
        assert mass == pytest.approx(arm.tree.links[info[12].decode()].inertia.mass_kg)


def test_links_that_are_said_never_to_touch_never_do(arm, loaded, rng):
    client, body = loaded
    links = {info[12].decode(): info[0] for info in joint_table(client, body)} | {"base_link": -1}
    pairs = [("base_link", "link2"), ("link1", "link3"), ("link2", "link4"), ("link3", "link5")]
    pairs += [("link4", "link6"), ("link5", "link7")]
    assert all(frozenset(pair) in arm.free_pairs for pair in pairs)
    corners = np.array([[x, y] for x in (-1, 1) for y in (-1, 1)])
    for k in range(300):
        q = rng.uniform(arm.q_min, arm.q_max)
        # The extremes of the bending joints are where neighbours come nearest.
        bent = corners[k % 4] * arm.q_max[[3, 5]]
        q[[3, 5]] = bent if k % 2 else q[[3, 5]]
        q[1] = arm.q_max[1] if k % 3 == 0 else q[1]
        pose_arm(client, body, arm, q, 0.0)
        for first, second in pairs:
            points = pybullet.getClosestPoints(
                body, body, 0.02, links[first], links[second], physicsClientId=client
            )
            assert all(point[8] > 0 for point in points), (first, second, q.tolist())
