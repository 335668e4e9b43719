"""What every robot of the catalogue promises."""

import numpy as np
import pytest
from found_implementations import implementations

from needleplan.errors import RobotError
from needleplan.frames import Frame, LengthUnit
from robots.arm_settings import Mount
from robots.catalogue import list_robots, load_robot
from robots.model import RobotModel


@pytest.fixture(scope="module", params=list_robots())
def robot(request) -> RobotModel:
    return load_robot(request.param)


def postures(robot, count, seed=4):
    return np.random.default_rng(seed).uniform(robot.q_min, robot.q_max, (count, len(robot.q_min)))


def test_every_robot_class_of_the_packages_is_in_the_catalogue():
    assert {type(load_robot(name)) for name in list_robots()} == implementations(RobotModel)
    with pytest.raises(RobotError, match=list_robots()[0]):
        load_robot("no such robot")


def test_names_and_limits_belong_together(robot):
    n = len(robot.joint_names)
    assert robot.name in list_robots() and robot.summary.strip() and robot.urdf_path.is_file()
    assert n >= 5 and len({*robot.joint_names, robot.driver_joint_name}) == n + 1
    for limits in (robot.q_min, robot.q_max, robot.velocity_limits, robot.acceleration_limits, robot.home):
        assert limits.shape == (n,) and np.isfinite(limits).all() and not limits.flags.writeable
    assert (robot.q_min < robot.q_max).all()
    assert (robot.q_min <= robot.home).all() and (robot.home <= robot.q_max).all()
    for limits in (robot.velocity_limits, robot.acceleration_limits, robot.jerk_limits):
        assert limits.shape == (n,) and (limits > 0).all()
    assert robot.mount in set(Mount) and robot.driver_jerk_limit > 0
    assert 0.05 < robot.driver_stroke_m < 0.5
    assert robot.driver_velocity_limit > 0 and robot.driver_acceleration_limit > 0


def test_the_chain_is_that_of_forward(robot):
    chain = robot.chain
    assert len(chain) == len(robot.joint_names)
    np.testing.assert_array_equal(chain.q_min, robot.q_min)
    np.testing.assert_array_equal(chain.q_max, robot.q_max)
    for q in postures(robot, 20):
        pose = chain.constants[0]
        for k in range(len(chain)):
            motion = np.eye(4)
            if chain.prismatic[k]:
                motion[2, 3] = q[k]
            else:
                motion[:2, :2] = [[np.cos(q[k]), -np.sin(q[k])], [np.sin(q[k]), np.cos(q[k])]]
            pose = pose @ motion @ chain.constants[k + 1]
        np.testing.assert_allclose(robot.forward(q).matrix, pose, atol=1e-12)


def test_errors_of_positioning_are_stated_with_their_source(robot):
    error = robot.error
    assert error.joint_std.shape == robot.home.shape and (error.joint_std >= 0).all() and error.source.strip()
    assert min(error.guide_lateral_std_m, error.guide_angle_std_rad, error.driver_depth_std_m) >= 0
    assert error.guide_lateral_std_m < 0.005 and error.driver_depth_std_m < 0.005


def test_forward_gives_a_rigid_pose_of_the_guide_in_the_base(robot):
    for q in postures(robot, 40):
        pose = robot.forward(q)
        assert (pose.parent, pose.child, pose.unit) == (Frame.ROBOT_BASE, Frame.GUIDE, LengthUnit.METRE)
        np.testing.assert_allclose(pose.rotation.T @ pose.rotation, np.eye(3), atol=1e-10)
        assert np.linalg.det(pose.rotation) == pytest.approx(1.0)
        assert np.linalg.norm(pose.translation - robot.first_joint_m) <= robot.reach_m + 1e-12
        np.testing.assert_array_equal(robot.forward(q.copy()).matrix, pose.matrix)


def test_joint_vectors_of_the_wrong_length_are_refused(robot):
    for wrong in (np.zeros(len(robot.home) + 1), np.zeros((2, len(robot.home))), 0.0):
        with pytest.raises(RobotError):
            robot.forward(wrong)


def test_jacobian_is_the_derivative_of_forward(robot):
    n, step = len(robot.home), 1e-6
    for q in [robot.home, *postures(robot, 15)]:
        jacobian = robot.jacobian(q)
        assert jacobian.shape == (6, n)
        for k in range(n):
            after, before = robot.forward(q + step * np.eye(n)[k]), robot.forward(q - step * np.eye(n)[k])
            velocity = (after.translation - before.translation) / (2 * step)
            spin = (after.rotation - before.rotation) / (2 * step) @ robot.forward(q).rotation.T
            expected = [*velocity, spin[2, 1], spin[0, 2], spin[1, 0]]
            np.testing.assert_allclose(jacobian[:, k], expected, atol=1e-8)


def test_link_poses_are_rigid_and_only_the_driver_moves_the_needle(robot):
    q = postures(robot, 12)
    out = np.linspace(0.0, robot.driver_stroke_m, 12)
    withdrawn, driven = robot.link_poses(q, np.zeros(12)), robot.link_poses(q, out)
    assert set(withdrawn) == set(driven) and robot.base_link in withdrawn and robot.driven_links
    assert robot.driven_links < set(withdrawn)
    for link, poses in driven.items():
        assert poses.shape == (12, 4, 4)
        rotation = poses[:, :3, :3]
        np.testing.assert_allclose(
            np.swapaxes(rotation, 1, 2) @ rotation, np.tile(np.eye(3), (12, 1, 1)), atol=1e-10
        )
        way = poses[:, :3, 3] - withdrawn[link][:, :3, 3]
        if link in robot.driven_links:
            axis = np.array([robot.forward(row).rotation[:, 2] for row in q])
            np.testing.assert_allclose(way, out[:, None] * axis, atol=1e-10)
        else:
            np.testing.assert_allclose(way, 0.0, atol=1e-12)
        single = robot.link_poses(q[4:5], out[4:5])[link]
        np.testing.assert_allclose(single[0], poses[4], atol=1e-12)
    np.testing.assert_allclose(withdrawn[robot.base_link], np.tile(np.eye(4), (12, 1, 1)), atol=1e-12)


def test_capsules_belong_to_links_and_are_finite(robot):
    links = set(robot.link_poses(robot.home[None], np.zeros(1)))
    assert robot.capsules
    for capsule in robot.capsules:
        assert capsule.link in links and 0 < capsule.radius_m < 0.5
        for end in (capsule.start_m, capsule.end_m):
            assert end.shape == (3,) and np.isfinite(end).all() and np.linalg.norm(end) < 1.0
    for pair in robot.free_pairs:
        assert pair <= links and len(pair) == 2
