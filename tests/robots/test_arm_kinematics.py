from itertools import pairwise

import numpy as np
import pytest

from needleplan.errors import RobotError
from needleplan.frames import Frame, LengthUnit, RigidTransform, unit_vector
from robots.axis_solver import AxisSolver
from robots.catalogue import list_robots, load_robot
from robots.chain import KinematicChain
from robots.kinematics import AxisStatus, axis_errors, guide_pose, limit_margin, manipulability, task_jacobian
from robots.path_reach import QUICK_STARTS


@pytest.fixture(scope="module")
def solver(arm) -> AxisSolver:
    return AxisSolver(arm)


@pytest.fixture(scope="module", params=list_robots())
def any_solver(request) -> AxisSolver:
    return AxisSolver(load_robot(request.param))


def random_positions(arm, rng, count, share=1.0):
    middle, half = (arm.q_max + arm.q_min) / 2, (arm.q_max - arm.q_min) / 2
    return middle + share * half * rng.uniform(-1, 1, size=(count, len(middle)))


def rolled(pose: RigidTransform, angle_rad: float) -> RigidTransform:
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return RigidTransform.from_parts(pose.parent, pose.child, pose.rotation @ turn, pose.translation, pose.unit)


def test_the_arm_stands_straight_up_at_zero(arm):
    # 0.34 m to the shoulder, 0.43 to the elbow, 0.42 to the wrist, 0.12 to the flange, then the guide.
    pose = arm.forward(np.zeros(7))
    np.testing.assert_allclose(pose.translation, [0.14, 0.0, 0.34 + 0.43 + 0.42 + 0.12 + 0.12], atol=1e-12)
    np.testing.assert_allclose(pose.rotation[:, 2], [1.0, 0.0, 0.0], atol=1e-12)


def test_home_points_the_needle_down_inside_the_limits(arm):
    np.testing.assert_allclose(arm.forward(arm.home).rotation[:, 2], [0, 0, -1], atol=2e-4)
    assert limit_margin(arm, arm.home) > 0.1


def test_no_pose_lies_beyond_the_stated_reach(arm, rng):
    far = [np.linalg.norm(arm.forward(q).translation - arm.first_joint_m) for q in random_positions(arm, rng, 500)]
    assert 0.7 * arm.reach_m < max(far) <= arm.reach_m


def test_ten_thousand_round_trips_end_where_they_began(any_solver):
    """Every pose that joint positions inside the limits make is found again, whatever its roll."""
    robot = any_solver.robot
    rng = np.random.default_rng(3)
    q = random_positions(robot, rng, 10_000)
    goals = np.stack([robot.forward(row).matrix for row in q])
    angles = rng.uniform(-np.pi, np.pi, len(q))
    cosine, sine = np.cos(angles), np.sin(angles)
    x, y = goals[:, :3, 0].copy(), goals[:, :3, 1].copy()
    goals[:, :3, 0], goals[:, :3, 1] = (
        cosine[:, None] * x + sine[:, None] * y,
        cosine[:, None] * y - sine[:, None] * x,
    )
    batch = any_solver.postures(goals, starts=48, keep=1, enough=1, improve=False)
    found = batch.q[:, 0]
    assert (batch.count > 0).mean() >= 0.9995
    # What the reach of paths gives up on after its quick searches.
    quick = any_solver.postures(goals, starts=QUICK_STARTS, keep=1, enough=1, improve=False)
    assert (quick.count > 0).mean() >= 0.999
    kept = batch.count > 0
    assert (found[kept] >= robot.q_min).all() and (found[kept] <= robot.q_max).all()
    for row in np.flatnonzero(kept):
        goal = RigidTransform(Frame.ROBOT_BASE, Frame.GUIDE, goals[row], LengthUnit.METRE)
        position, axis = axis_errors(robot, found[row], goal)
        assert position < 1e-6 and axis < 1e-5


def test_searches_from_nearby_come_back_to_the_pose(any_solver):
    robot = any_solver.robot
    rng = np.random.default_rng(8)
    for q in random_positions(robot, rng, 200, 0.9):
        goal = rolled(robot.forward(q), rng.uniform(-np.pi, np.pi))  # the roll must not matter
        found = any_solver.follow(goal, q + rng.normal(0, 0.02, len(q)).clip(-0.05, 0.05))
        assert found is not None and max(axis_errors(robot, found, goal)) < 1e-6
        assert np.abs(found - q).max() < 0.6
        assert (found >= robot.q_min).all() and (found <= robot.q_max).all()


def test_a_search_with_its_roll_brings_the_whole_pose(solver, arm, rng):
    for q in random_positions(arm, rng, 100, 0.9):
        goal = arm.forward(q)
        found = solver.follow(goal, q + rng.uniform(-0.05, 0.05, 7), roll_free=False)
        assert found is not None
        np.testing.assert_allclose(arm.forward(found).matrix, goal.matrix, atol=1e-8)
    turned = arm.forward(arm.home) @ RigidTransform.from_parts(
        Frame.GUIDE, Frame.GUIDE, np.diag([-1.0, -1.0, 1.0]), np.zeros(3), LengthUnit.METRE
    )
    # Half a turn about the needle is nothing to a search with a free roll, which stays where it is.
    np.testing.assert_allclose(solver.follow(turned, arm.home), arm.home, atol=1e-12)
    other = solver.follow(turned, arm.home, roll_free=False)
    assert other is None or np.abs(other - arm.home).max() > 0.5


def test_searches_start_from_singular_and_limiting_postures(solver, arm, rng):
    goal = arm.forward(random_positions(arm, rng, 1, 0.5)[0])
    assert manipulability(arm, np.zeros(7)) < 1e-9
    for start in (np.zeros(7), arm.q_min, arm.q_max):
        found = solver.follow(goal, start)
        assert found is None or max(axis_errors(arm, found, goal)) < 1e-6
    assert solver.solve(goal).reached


def test_the_same_answers_whatever_is_asked_beside(solver, arm, rng):
    goals = np.stack([arm.forward(q).matrix for q in random_positions(arm, rng, 30)])
    together, alone = solver.postures(goals), [solver.postures(goal[None]) for goal in goals]
    again = AxisSolver(arm).postures(goals)
    np.testing.assert_array_equal(together.q, again.q)
    for row, one in enumerate(alone):
        assert one.count[0] == together.count[row]
        np.testing.assert_array_equal(one.q[0], together.q[row])
    other = AxisSolver(arm, seed=1).postures(goals)
    assert (other.q != together.q).any()


def test_answers_come_best_first_and_differ(solver, arm):
    solutions = solver.solutions(guide_pose([0.55, 0.1, 0.25], [0.3, -0.2, -1.0]))
    scores = [solution.score for solution in solutions]
    assert scores == sorted(scores, reverse=True) and len(scores) > 1
    for one, other in pairwise(solutions):
        assert np.abs(one.q - other.q).max() > 0.1
    best = solutions[0]
    assert best.status is AxisStatus.REACHED and best.limit_margin == pytest.approx(limit_margin(arm, best.q))
    assert best.manipulability == pytest.approx(manipulability(arm, best.q), rel=1e-9)
    assert (best.position_error_m, best.axis_error_rad) == axis_errors(
        arm, best.q, guide_pose([0.55, 0.1, 0.25], [0.3, -0.2, -1.0])
    )


def test_the_spare_freedom_is_used_as_well_as_by_dense_sampling(solver, arm, rng):
    """Against the best of a thousand postures at the same axis: every roll and elbow that random starts lead to."""
    shares = []
    for q in random_positions(arm, rng, 12, 0.8):
        goal = arm.forward(q)
        starts = random_positions(arm, rng, 1000)
        found, arrived = solver.follow_each(np.repeat(goal.matrix[None], 1000, axis=0), starts)
        sampled = np.prod(solver.scores(found[arrived]), axis=0).max()
        shares.append(solver.solve(goal).score / sampled)
    assert min(shares) > 0.9 and np.median(shares) > 1.0


def test_clearance_moves_the_choice_and_what_is_too_near_comes_last(solver):
    goal = guide_pose([0.55, 0.1, 0.25], [0.3, -0.2, -1.0])
    free = solver.solutions(goal, keep=16)

    def only_the_best_at(clearance_m):
        return lambda q: np.where(np.abs(q - free[0].q).max(axis=1) < 1e-9, clearance_m, 0.2)

    blocked = solver.solutions(goal, only_the_best_at(0.001), needed_m=0.02, keep=16)
    np.testing.assert_array_equal(blocked[-1].q, free[0].q)
    np.testing.assert_array_equal(blocked[0].q, free[1].q)
    assert blocked[-1].clearance_m == 0.001 and blocked[0].clearance_m == 0.2
    # Half of what counts as enough halves the score: it falls behind those that had more than half of it.
    near = solver.solutions(goal, only_the_best_at(0.025), needed_m=0.02, keep=16)
    (place,) = [k for k, solution in enumerate(near) if np.array_equal(solution.q, free[0].q)]
    assert near[place].score == pytest.approx(0.5 * free[0].score)
    assert place == sum(solution.score > 0.5 * free[0].score for solution in free[1:]) > 0


def test_improving_never_lowers_the_score_and_keeps_the_axis(any_solver):
    robot, risen = any_solver.robot, 0
    for q in random_positions(robot, np.random.default_rng(2), 20, 0.8):
        goal = robot.forward(q)
        better = any_solver.improve(goal, q)
        before = manipulability(robot, q) * limit_margin(robot, q)
        after = manipulability(robot, better) * limit_margin(robot, better)
        assert after >= before * (1 - 1e-9) and max(axis_errors(robot, better, goal)) < 1e-6
        risen += after > 1.2 * before
    assert risen >= 10 if len(robot.home) > 5 else risen == 0


def test_a_goal_out_of_reach_says_why(solver):
    solution = solver.solve(guide_pose([2.0, 0.3, 0.4], [0.1, 0.2, -1.0]))
    assert solution.status is AxisStatus.UNREACHABLE
    assert solution.q is None and solution.score == 0.0 and solution.position_error_m == np.inf
    assert "reach" in solution.reason and "2.0" in solution.reason


@pytest.mark.long
def test_a_goal_inside_the_reach_that_no_posture_meets_says_how_it_was_searched(solver):
    # The guide stands square to the flange, so pointing up it comes no higher than 0.34 + 0.85 + 0.14 m.
    assert solver.solve(guide_pose([0.12, 0.0, 1.30], [0.0, 0.0, 1.0])).reached
    solution = solver.solve(guide_pose([0.0, 0.0, 1.40], [0.0, 0.0, 1.0]))
    assert solution.status is AxisStatus.UNREACHABLE
    assert "searches" in solution.reason and "nor without limits" in solution.reason and solution.starts > 10


def test_a_goal_that_only_a_limit_forbids_names_the_joint(arm):
    """An arm whose elbow hardly bends cannot draw the guide near; without that limit it could."""

    class Stiff(type(arm)):  # the same arm with another chain
        @property
        def chain(self):
            chain = arm.chain
            low, high = chain.q_min.copy(), chain.q_max.copy()
            low[3], high[3] = -0.2, 0.2
            return KinematicChain(chain.constants, chain.prismatic, low, high)

        @property
        def q_min(self):
            return self.chain.q_min

        @property
        def q_max(self):
            return self.chain.q_max

        @property
        def home(self):
            return np.clip(arm.home, self.q_min, self.q_max)

    stiff = AxisSolver(Stiff(arm._settings))
    goal = guide_pose([0.40, 0.05, 0.30], [0.1, 0.0, -1.0])
    assert AxisSolver(arm).solve(goal).reached
    refused = stiff.solve(goal)
    assert not refused.reached and arm.joint_names[3] in refused.reason and "-0.20 to 0.20" in refused.reason


def test_manipulability_vanishes_with_the_elbow_and_wrist_straight(arm, solver):
    assert manipulability(arm, np.zeros(7)) < 1e-9 < 0.01 < manipulability(arm, arm.home)
    assert 0.5 * solver.best_manipulability < solver.scores(arm.home)[0][0] * 10


def test_limit_margin_is_one_in_the_middle_and_zero_at_a_limit(arm):
    middle = (arm.q_min + arm.q_max) / 2
    assert limit_margin(arm, middle) == pytest.approx(1.0)
    at_limit = middle.copy()
    at_limit[4] = arm.q_max[4]
    assert limit_margin(arm, at_limit) == pytest.approx(0.0)
    np.testing.assert_allclose(limit_margin(arm, np.stack([middle, at_limit])), [1.0, 0.0], atol=1e-12)


def test_compiled_scores_are_the_library_measures(any_solver):
    robot = any_solver.robot
    q = random_positions(robot, np.random.default_rng(5), 50)
    measures, margins = any_solver.scores(q)
    for k in range(50):
        jacobian = task_jacobian(robot, q[k])
        assert measures[k] == pytest.approx(np.sqrt(np.linalg.det(jacobian @ jacobian.T)), rel=1e-6, abs=1e-12)
        assert margins[k] == pytest.approx(limit_margin(robot, q[k]))


def test_a_turned_and_moved_base_gives_the_same_answers(solver, arm, rng):
    """Goals seen from the base are all that counts: the same world turned with the base changes nothing."""
    q = random_positions(arm, rng, 20)
    for row in q:
        X_BG = arm.forward(row)
        X_WB = RigidTransform.from_parts(
            Frame.WORLD, Frame.ROBOT_BASE, guide_pose(rng.normal(size=3), rng.normal(size=3)).rotation,
            rng.normal(size=3), LengthUnit.METRE,
        )  # fmt: skip
        back = X_WB.inverse() @ (X_WB @ X_BG)
        first, second = solver.solve(X_BG), solver.solve(back)
        assert first.reached and second.reached
        assert second.score == pytest.approx(first.score, rel=0.02)


def test_the_mirrored_arm_reaches_the_mirrored_goal(arm, solver, rng):
    """The arm is symmetric about its own x-z plane: mirrored joint positions make mirrored poses."""
    signs = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    mirror = np.diag([1.0, -1.0, 1.0])
    for q in random_positions(arm, rng, 20):
        pose, other = arm.forward(q), arm.forward(np.clip(signs * q, arm.q_min, arm.q_max))
        np.testing.assert_allclose(other.translation, mirror @ pose.translation, atol=1e-12)
        np.testing.assert_allclose(other.rotation[:, 2], mirror @ pose.rotation[:, 2], atol=1e-12)
        assert solver.solve(pose).reached and solver.solve(other).reached
        assert solver.solve(other).score == pytest.approx(solver.solve(pose).score, rel=0.25)


def test_wrong_frames_units_and_shapes_are_refused(arm, solver):
    pose = guide_pose([0.5, 0.0, 0.3], unit_vector([0, 0, -1.0]))
    in_mm = pose.in_unit(LengthUnit.MILLIMETRE)
    in_world = RigidTransform(Frame.WORLD, Frame.GUIDE, pose.matrix, LengthUnit.METRE)
    for wrong in (in_mm, in_world):
        with pytest.raises(RobotError, match="X_BG in metres"):
            solver.follow(wrong, arm.home)
        with pytest.raises(RobotError, match="X_BG in metres"):
            solver.solve(wrong)
    for start in (np.zeros(6), np.full(7, np.nan)):
        with pytest.raises(RobotError, match="7 finite joint positions"):
            solver.follow(pose, start)
        with pytest.raises(RobotError, match="7 finite numbers"):
            arm.forward(start)
