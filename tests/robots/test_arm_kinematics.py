import numpy as np
import pytest

from needleplan.errors import OptionError, RobotError
from needleplan.frames import Frame, LengthUnit, RigidTransform, unit_vector
from robots.kinematics import (
    AxisStatus,
    axis_errors,
    axis_solutions,
    guide_pose,
    improve,
    limit_margin,
    manipulability,
    rolled,
    solve_axis,
    solve_from,
    with_roll_of,
)


def random_positions(arm, rng, count, share=1.0):
    middle, half = (arm.q_max + arm.q_min) / 2, (arm.q_max - arm.q_min) / 2
    return middle + share * half * rng.uniform(-1, 1, size=(count, len(middle)))


def test_the_arm_stands_straight_up_at_zero(arm):
    # 0.34 m to the shoulder, 0.43 to the elbow, 0.42 to the wrist, 0.12 to the flange, then the guide.
    pose = arm.forward(np.zeros(7))
    np.testing.assert_allclose(pose.translation, [0.14, 0.0, 0.34 + 0.43 + 0.42 + 0.12 + 0.12], atol=1e-12)
    np.testing.assert_allclose(pose.rotation[:, 2], [1.0, 0.0, 0.0], atol=1e-12)


def test_home_points_the_needle_down_inside_the_limits(arm):
    np.testing.assert_allclose(arm.forward(arm.home).rotation[:, 2], [0, 0, -1], atol=2e-4)
    assert limit_margin(arm, arm.home) > 0.1


def test_forward_kinematics_agree_with_the_link_poses(arm, rng):
    q = random_positions(arm, rng, 50)
    poses = arm.link_poses(q, np.zeros(50))["needle_guide_exit"]
    for k in range(50):
        np.testing.assert_allclose(arm.forward(q[k]).matrix, poses[k], atol=1e-12)


def test_the_library_reads_the_same_arm_from_the_same_file(arm, rng):
    from roboticstoolbox import Robot

    peer = Robot.URDF(str(arm.urdf_path))
    assert peer.n == 8
    for q in random_positions(arm, rng, 20):
        matrix = peer.fkine(np.append(q, 0.0), end="needle_guide_exit").A
        np.testing.assert_allclose(matrix, arm.forward(q).matrix, atol=1e-12)


def test_the_jacobian_agrees_with_finite_differences(arm, rng):
    step = 1e-6
    for q in random_positions(arm, rng, 20):
        jacobian = arm.jacobian(q)
        for k in range(7):
            shift = step * np.eye(7)[k]
            after, before = arm.forward(q + shift), arm.forward(q - shift)
            velocity = (after.translation - before.translation) / (2 * step)
            spin = (after.rotation - before.rotation) / (2 * step) @ arm.forward(q).rotation.T
            np.testing.assert_allclose(jacobian[:3, k], velocity, atol=1e-8)
            np.testing.assert_allclose(jacobian[3:, k], [spin[2, 1], spin[0, 2], spin[1, 0]], atol=1e-8)


def test_no_pose_lies_beyond_the_stated_reach(arm, rng):
    far = [np.linalg.norm(arm.forward(q).translation - arm.first_joint_m) for q in random_positions(arm, rng, 500)]
    assert 0.7 * arm.reach_m < max(far) <= arm.reach_m


def test_warm_searches_come_back_to_the_pose(arm, rng):
    for q in random_positions(arm, rng, 200, 0.9):
        goal = rolled(arm.forward(q), rng.uniform(-np.pi, np.pi))  # the roll must not matter
        found = solve_from(arm, goal, q + rng.normal(0, 0.02, 7).clip(-0.05, 0.05))
        assert found is not None
        position, axis = axis_errors(arm, found, goal)
        assert position < 1e-6 and axis < 1e-6
        assert (found >= arm.q_min).all() and (found <= arm.q_max).all()


def test_poses_inside_the_limits_are_reached_from_home(arm, rng):
    for q in random_positions(arm, rng, 60, 0.95):
        goal = arm.forward(q)
        solution = solve_axis(arm, goal, rng)
        assert solution.status is AxisStatus.REACHED, solution.reason
        position, axis = axis_errors(arm, solution.q, goal)
        assert position == solution.position_error_m < 1e-6 and axis == solution.axis_error_rad < 1e-6
        assert (solution.q >= arm.q_min).all() and (solution.q <= arm.q_max).all()
        assert solution.limit_margin == pytest.approx(float(limit_margin(arm, solution.q)))
        # The spare degrees of freedom were used: the answer is not much worse than a posture known to do it.
        assert solution.score > 0.5 * manipulability(arm, q) * limit_margin(arm, q)


def test_a_goal_two_metres_away_is_not_reached_and_says_why(arm, rng):
    solution = solve_axis(arm, guide_pose([2.0, 0.3, 0.4], [0.1, 0.2, -1.0]), rng)
    assert solution.status is AxisStatus.UNREACHABLE
    assert solution.q is None and solution.score == 0.0 and solution.position_error_m == np.inf
    assert "reach" in solution.reason and "2.0" in solution.reason


def test_a_goal_inside_the_reach_that_no_posture_meets_says_how_it_was_searched(arm, rng):
    # The guide stands square to the flange, so pointing up it comes no higher than 0.34 + 0.85 + 0.14 m.
    solution = solve_axis(arm, guide_pose([0.0, 0.0, 1.40], [0.0, 0.0, 1.0]), rng)
    assert solve_axis(arm, guide_pose([0.12, 0.0, 1.30], [0.0, 0.0, 1.0]), rng).reached
    assert solution.status is AxisStatus.UNREACHABLE
    assert "searches" in solution.reason and solution.starts > 10


def test_the_same_seed_gives_the_same_answer(arm):
    goal = guide_pose([0.55, 0.1, 0.25], [0.3, -0.2, -1.0])
    first = axis_solutions(arm, goal, np.random.default_rng(5))
    second = axis_solutions(arm, goal, np.random.default_rng(5))
    assert len(first) == len(second) > 1
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.q, other.q)


def test_answers_come_best_first_and_differ(arm, rng):
    solutions = axis_solutions(arm, guide_pose([0.55, 0.1, 0.25], [0.3, -0.2, -1.0]), rng)
    scores = [solution.score for solution in solutions]
    assert scores == sorted(scores, reverse=True) and len(scores) > 1


def test_improving_never_lowers_the_score_and_keeps_the_axis(arm, rng):
    risen = 0
    for q in random_positions(arm, rng, 10, 0.8):
        goal = arm.forward(q)
        better = improve(arm, goal, q)
        before = manipulability(arm, q) * limit_margin(arm, q)
        after = manipulability(arm, better) * limit_margin(arm, better)
        assert after >= before and max(axis_errors(arm, better, goal)) < 1e-6
        risen += after > 1.2 * before
    assert risen >= 5


def test_manipulability_vanishes_with_the_elbow_and_wrist_straight(arm):
    assert manipulability(arm, np.zeros(7)) < 1e-9 < 0.01 < manipulability(arm, arm.home)


def test_limit_margin_is_one_in_the_middle_and_zero_at_a_limit(arm):
    middle = (arm.q_min + arm.q_max) / 2
    assert limit_margin(arm, middle) == pytest.approx(1.0)
    at_limit = middle.copy()
    at_limit[4] = arm.q_max[4]
    assert limit_margin(arm, at_limit) == pytest.approx(0.0)
    np.testing.assert_allclose(limit_margin(arm, np.stack([middle, at_limit])), [1.0, 0.0], atol=1e-12)


def test_the_roll_of_a_reference_is_taken_by_the_shortest_turn(rng):
    for _ in range(50):
        reference = guide_pose(rng.normal(size=3), rng.normal(size=3))
        goal = guide_pose(rng.normal(size=3), rng.normal(size=3))
        turned = with_roll_of(goal, reference)
        np.testing.assert_allclose(turned.rotation[:, 2], goal.rotation[:, 2], atol=1e-12)
        angle = np.arccos(np.clip((np.trace(turned.rotation @ reference.rotation.T) - 1) / 2, -1, 1))
        between = np.arccos(np.clip(turned.rotation[:, 2] @ reference.rotation[:, 2], -1, 1))
        assert angle == pytest.approx(between, abs=1e-6)
    opposite = with_roll_of(rolled(reference, 0.0), reference)
    np.testing.assert_allclose(opposite.rotation, reference.rotation, atol=1e-9)
    back = guide_pose([0, 0, 0], -reference.rotation[:, 2])
    np.testing.assert_allclose(with_roll_of(back, reference).rotation[:, 2], back.rotation[:, 2], atol=1e-9)


def test_wrong_frames_units_and_shapes_are_refused(arm, rng):
    pose = guide_pose([0.5, 0.0, 0.3], unit_vector([0, 0, -1.0]))
    in_mm = pose.in_unit(LengthUnit.MILLIMETRE)
    in_world = RigidTransform(Frame.WORLD, Frame.GUIDE, pose.matrix, LengthUnit.METRE)
    for wrong in (in_mm, in_world):
        with pytest.raises(RobotError, match="X_BG in metres"):
            arm.solve_pose(wrong, arm.home, True)
        with pytest.raises(OptionError, match="X_BG in metres"):
            solve_axis(arm, wrong, rng)
    with pytest.raises(RobotError, match="7 finite numbers"):
        arm.forward(np.zeros(6))
    with pytest.raises(RobotError, match="7 finite numbers"):
        arm.forward(np.full(7, np.nan))
