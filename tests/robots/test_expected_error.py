import dataclasses

import numpy as np
import pytest

from needleplan.errors import OptionError, RobotError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from needleplan.plan import Ablation, Insertion
from needleplan.registration.point_based import PointOptions, register_points
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.registration.rotations import rotations_of
from needleplan.uncertainty.placement_budget import placement_budget
from needleplan.uncertainty.placement_error import ErrorOrigin
from needleplan.uncertainty.presets import preset_budget
from needleplan.uncertainty.scenarios import sample_scenarios
from robots.arm_settings import PositioningError
from robots.catalogue import list_robots, load_robot
from robots.expected_error import (
    EXACT,
    CalibrationErrors,
    PlacedNeedle,
    drawn_needles,
    expected_error,
    route_errors,
)
from robots.route import InsertionRoute, Phase, RobotRoute, RouteStatus, Segment

DRAWS = 40_000

#: Base somewhere beside the table, upright on no axis of the world.
X_WB = RigidTransform.from_parts(
    Frame.WORLD, Frame.ROBOT_BASE, rotations_of([0.2, -0.3, 1.9]), [-0.55, 0.2, -0.1], LengthUnit.METRE
)


@pytest.fixture(params=list_robots())
def robot(request):
    return load_robot(request.param)


@pytest.fixture
def needle(robot, placement):
    rng = np.random.default_rng(71)
    q = robot.q_min + rng.uniform(0.25, 0.75, len(robot.q_min)) * (robot.q_max - robot.q_min)
    stroke = robot.driver_stroke_m
    return PlacedNeedle(robot, placement, X_WB, q, 0.15 * stroke, 0.9 * stroke, 3)


def full_covariance(frame, centre_mm, shift_mm, turn_rad, seed):
    """A covariance whose shift and turn are anisotropic and correlated."""
    rng = np.random.default_rng(seed)
    root = rng.normal(0, 1, (6, 6)) / np.sqrt(6) * np.repeat([shift_mm, turn_rad], 3)[:, None]
    return PoseCovariance(frame, np.asarray(centre_mm, float), root @ root.T)


def calibration_of(needle):
    tip_mm = needle.placement.points_to_patient(needle.on_axis_m(needle.driver_tip_m))
    return CalibrationErrors(
        full_covariance(Frame.PATIENT, np.add(tip_mm, [60.0, -90.0, 40.0]), 0.8, 0.005, 1),
        full_covariance(Frame.GUIDE, [5.0, -8.0, 60.0], 0.4, 0.003, 2),
    )


def agree(counted, predicted, draws, relative=0.0):
    """Entries of a sample covariance have the variance (c_ii c_jj + c_ij²) / n; second order adds a share."""
    scale = np.sqrt(np.outer(np.diag(predicted), np.diag(predicted)))
    error = np.sqrt((scale**2 + predicted**2) / draws)
    return (np.abs(counted - predicted) <= 4.5 * error + relative * scale + 1e-12).all()


def test_closed_form_is_the_simulation_through_exact_kinematics(needle):
    calibration = calibration_of(needle)
    expected = expected_error(needle, calibration)
    drawn = drawn_needles(needle, DRAWS, 5, calibration)
    assert agree(drawn.covariance(expected), expected.covariance, DRAWS, 2e-3)
    # A root mean square of n draws has the relative spread 1 / sqrt(2 n) in one component, and less in two.
    predicted = expected.lateral_rms_mm, expected.depth_std_mm, expected.angle_rms_deg
    np.testing.assert_allclose(drawn.figures(expected), predicted, rtol=4.5 / np.sqrt(2 * DRAWS) + 2e-3)


@pytest.mark.parametrize("origin", list(ErrorOrigin))
def test_each_origin_alone_is_its_share(needle, origin):
    """All other errors switched off, so that no origin hides behind another or counts in it."""
    quiet = PositioningError(np.zeros(len(needle.q)), 0.0, 0.0, 0.0, "none")
    parts = {
        ErrorOrigin.JOINTS: {"joint_std": needle.robot.error.joint_std},
        ErrorOrigin.GUIDE: {"guide_lateral_std_m": 4e-4, "guide_angle_std_rad": 0.004},
        ErrorOrigin.DRIVER: {"driver_depth_std_m": 7e-4},
    }
    error = dataclasses.replace(quiet, **parts.get(origin, {}))
    calibration = calibration_of(needle)
    only = CalibrationErrors(
        calibration.registration if origin is ErrorOrigin.REGISTRATION else None,
        calibration.tool if origin is ErrorOrigin.TOOL else None,
    )
    made = dataclasses.replace(needle, robot=_WithError(needle.robot, error))
    expected = expected_error(made, only)
    drawn = drawn_needles(made, DRAWS, 6, only)
    predicted = expected.covariance
    if origin is ErrorOrigin.DRIVER:
        assert expected.depth_std_mm == pytest.approx(0.7) and expected.lateral_rms_mm < 1e-7
    np.testing.assert_allclose(predicted, expected.part(origin).covariance, atol=1e-15)
    counted = drawn.covariance(expected)
    assert agree(counted[:3, :3], predicted[:3, :3], DRAWS, 4e-3)
    assert agree(counted[3:, 3:], predicted[3:, 3:], DRAWS, 4e-3)


class _WithError:
    """A robot with another error; only what the errors ask for."""

    def __init__(self, robot, error):
        self._robot, self.error = robot, error

    def __getattr__(self, name):
        return getattr(self._robot, name)


def test_guide_play_has_its_closed_form(needle):
    error = PositioningError(np.zeros(len(needle.q)), 3e-4, 0.002, 5e-4, "made")
    expected = expected_error(dataclasses.replace(needle, robot=_WithError(needle.robot, error)))
    lateral = np.hypot(0.3, 0.002 * needle.driver_tip_m * 1e3)
    np.testing.assert_allclose(expected.lateral_std_mm, lateral, rtol=1e-9)
    assert expected.lateral_rms_mm == pytest.approx(np.sqrt(2) * lateral)
    assert expected.depth_std_mm == pytest.approx(0.5)
    np.testing.assert_allclose(expected.angle_std_deg, np.degrees(0.002))


def test_roll_about_the_needle_is_no_error(needle):
    axis = PoseCovariance.of_parts(Frame.GUIDE, np.zeros(3), 0.0, np.diag([0.0, 0.0, 0.04]))
    expected = expected_error(needle, CalibrationErrors(tool=axis))
    assert np.abs(expected.part(ErrorOrigin.TOOL).covariance).max() < 1e-12


def test_errors_turn_with_the_patient_and_the_room(needle):
    """Base and patient carried along by one motion of the world change no figure."""
    motion = RigidTransform.from_parts(
        Frame.WORLD, Frame.WORLD, rotations_of([0.5, 1.1, -2.0]), [3.0, -1.0, 0.4], LengthUnit.METRE
    )
    placed = dataclasses.replace(needle.placement, X_WP=motion @ needle.placement.X_WP)
    carried = dataclasses.replace(needle, placement=placed, X_WB=motion @ needle.X_WB)
    calibration = calibration_of(needle)
    one, other = expected_error(needle, calibration), expected_error(carried, calibration)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(one.tip_mm, other.tip_mm, atol=1e-7)


def test_registration_through_a_tracker_is_the_sum_of_both(placement):
    """X_PB = X_PT X_BT⁻¹ drawn with exact motions of both poses against the covariance of their composition."""
    rng = np.random.default_rng(8)
    X_PT = RigidTransform.from_parts(Frame.PATIENT, Frame.TRACKER, rotations_of([0.9, -1.3, 0.6]), [310, -720, 95])
    X_BT = RigidTransform.from_parts(
        Frame.ROBOT_BASE, Frame.TRACKER, rotations_of([-1.2, 0.8, 2.0]), [1900, -350, 1240]
    )
    X_PB = X_PT @ X_BT.inverse()
    of_patient = full_covariance(Frame.PATIENT, [-60.0, -40.0, 520.0], 0.5, 0.002, 3)
    of_base = full_covariance(Frame.ROBOT_BASE, [500.0, 100.0, 300.0], 0.7, 0.001, 4)
    together = of_patient + of_base.seen_from(X_PB)
    point = np.array([-100.0, 20.0, 480.0])
    in_base = X_PB.inverse().apply(point)
    patients, bases = of_patient.sampled(DRAWS, rng), of_base.sampled(DRAWS, rng)
    poses = patients @ X_PT.matrix @ np.linalg.inv(bases @ X_BT.matrix)
    off = poses[:, :3, :3] @ in_base + poses[:, :3, 3] - point
    assert agree(off.T @ off / DRAWS, together.at(point), DRAWS, 2e-3)


def test_from_noisy_fiducials_to_the_needle_in_the_patient(arm, placement):
    """The whole way, drawn from raw measurements: fiducials are touched and found in the image, the base is
    registered to the patient, the plan is carried to the base, the arm errs, and the needle lands."""
    rng = np.random.default_rng(10)
    q = 0.5 * (arm.q_min + arm.q_max) + 0.3 * (arm.q_max - arm.q_min) * rng.uniform(-0.5, 0.5, len(arm.q_min))
    needle = PlacedNeedle(arm, placement, X_WB, q, 0.05, 0.2)
    X_PB = placement.pose_in_patient(X_WB)
    tip = placement.points_to_patient(needle.on_axis_m(0.2))
    fiducials = tip + np.array(
        [[-90.0, 20.0, 10.0], [40.0, -70.0, 60.0], [110.0, 30.0, -20.0], [-20.0, 60.0, 95.0], [15.0, 90.0, -80.0]]
    )
    touched, image = np.diag([0.04, 0.09, 0.16]), np.diag([0.1, 0.1, 0.4])
    in_base = X_PB.inverse().apply(fiducials)

    def registered():
        return register_points(
            fiducials + rng.multivariate_normal(np.zeros(3), image, 5),
            in_base + rng.multivariate_normal(np.zeros(3), touched, 5),
            Frame.PATIENT,
            Frame.ROBOT_BASE,
            PointOptions(most_taken_out=0, level=1e-9),
            fixed_covariance_mm2=image,
            moving_covariance_mm2=touched,
        )

    trials = 1000
    expected = expected_error(needle, CalibrationErrors(registered().covariance))
    drawn = drawn_needles(needle, trials, 11)
    off = np.empty((trials, 6))
    for k in range(trials):
        true_by_planned = X_PB @ registered().transform.inverse()
        off[k, :3] = true_by_planned.apply(drawn.tip_mm[k]) - expected.tip_mm
        off[k, 3:] = true_by_planned.rotate(drawn.axis[k]) - expected.direction
    assert agree(off.T @ off / trials, expected.covariance, trials, 0.03)
    assert 0.1 < np.trace(expected.part(ErrorOrigin.REGISTRATION).tip_covariance_mm2) < 1.0


def test_the_budget_holds_every_needles_errors_in_every_direction(needle):
    calibration = calibration_of(needle)
    rng = np.random.default_rng(9)
    needles = [needle]
    for k in range(3):
        part = rng.uniform(0.3, 0.7, len(needle.q))
        q = needle.robot.q_min + part * (needle.robot.q_max - needle.robot.q_min)
        needles.append(dataclasses.replace(needle, q=q, order=k + 1))
    errors = [expected_error(one, calibration) for one in needles]
    beyond = preset_budget("robot")
    budget = placement_budget(errors, beyond)
    alone = dataclasses.replace(
        budget, breathing_mm=beyond.breathing_mm.scaled(0), deflection_mm=beyond.deflection_mm.scaled(0)
    )
    assert (budget.breathing_mm, budget.deflection_mm) == (beyond.breathing_mm, beyond.deflection_mm)
    shares = []
    for error in errors:
        for depth in np.linspace(0, error.depth_mm, 50):
            budgeted, exact = alone.covariance_mm2(error.direction, depth, np.eye(3)), error.covariance_at(depth)
            assert np.linalg.eigvalsh(budgeted - exact)[0] > -1e-9
            shares.append(np.linalg.eigvals(np.linalg.solve(budgeted, exact)).real.max())
    # It is not conservative without need: some needle comes near to it in some direction.
    assert 0.5 < max(shares) <= 1 + 1e-9


def test_chances_under_the_budget_are_not_better_than_those_of_the_robot(needle):
    """A tip within a room about its plan: drawn with the budget's scenarios and through the robot's kinematics."""
    calibration = calibration_of(needle)
    error = expected_error(needle, calibration)
    budget = placement_budget([error], preset_budget("robot").scaled(0.0))
    planned = Insertion(error.entry_mm, error.tip_mm, "probe", (Ablation(error.tip_mm, None, 60.0),))
    budgeted = sample_scenarios([planned], budget, np.eye(3), DRAWS, 4).tip_mm[:, 0] - error.tip_mm
    drawn = drawn_needles(needle, DRAWS, 4, calibration).tip_mm - error.tip_mm
    size = error.lateral_rms_mm
    for room in np.array([0.5, 1.0, 1.5, 2.0]) * size:
        with_budget = (np.linalg.norm(budgeted, axis=1) <= room).mean()
        with_robot = (np.linalg.norm(drawn, axis=1) <= room).mean()
        assert with_budget <= with_robot + 4 * 0.5 * np.sqrt(2 / DRAWS)


def test_the_budget_of_isotropic_errors_is_exact(needle):
    error = PositioningError(np.zeros(len(needle.q)), 3e-4, 0.002, 5e-4, "made")
    made = dataclasses.replace(needle, robot=_WithError(needle.robot, error), driver_entry_m=0.0)
    registration = PoseCovariance.of_parts(Frame.PATIENT, np.zeros(3), 0.49)
    expected = expected_error(made, CalibrationErrors(registration))
    budget = placement_budget([expected], preset_budget("robot").scaled(0))
    assert budget.lateral_mm.std == pytest.approx(0.3)
    assert budget.angle_deg.std == pytest.approx(np.degrees(0.002))
    assert budget.depth_mm.std == pytest.approx(0.5)
    assert budget.registration_mm.std == pytest.approx(0.7)
    for depth in (0.0, 60.0, expected.depth_mm):
        np.testing.assert_allclose(
            budget.covariance_mm2(expected.direction, depth, np.eye(3)),
            expected.covariance_at(depth),
            rtol=1e-9,
            atol=1e-12,
        )


def test_a_budget_needs_an_insertion():
    with pytest.raises(OptionError, match="at least one insertion"):
        placement_budget([], preset_budget("robot"))


def test_errors_of_a_route_are_those_of_its_reached_insertions(needle):
    at_tip = np.append(needle.q, needle.driver_tip_m)
    segment = Segment(Phase.INSERT, np.array([0.0, 1.0]), np.stack([np.append(needle.q, 0.0), at_tip]))
    reached = InsertionRoute(
        3,
        RouteStatus.REACHED,
        "",
        needle.on_axis_m(needle.driver_entry_m),
        needle.on_axis_m(needle.driver_tip_m),
        needle.X_WG,
        needle.driver_entry_m,
        needle.driver_tip_m,
        (segment,),
    )
    missed = dataclasses.replace(reached, order=4, status=RouteStatus.UNREACHED, reason="made", segments=())
    robot = needle.robot
    route = RobotRoute(robot.name, (*robot.joint_names, robot.driver_joint_name), X_WB, (missed, reached))
    (found,) = route_errors(route, robot, needle.placement, calibration_of(needle))
    assert found.order == 3
    np.testing.assert_allclose(found.covariance, expected_error(needle, calibration_of(needle)).covariance)
    with pytest.raises(RobotError, match="one of another"):
        route_errors(dataclasses.replace(route, robot="another"), robot, needle.placement)


def test_draws_repeat_and_grow(needle):
    few, many = drawn_needles(needle, 50, 3), drawn_needles(needle, 50, 3)
    np.testing.assert_array_equal(few.tip_mm, many.tip_mm)
    assert np.abs(few.tip_mm - drawn_needles(needle, 50, 4).tip_mm).max() > 0
    with pytest.raises(OptionError, match="draws"):
        drawn_needles(needle, 0, 3)


def test_wrong_frames_and_needles_are_refused(needle):
    with pytest.raises(RobotError, match="in frame P, not G"):
        CalibrationErrors(registration=PoseCovariance.of_parts(Frame.GUIDE, np.zeros(3), 1.0))
    with pytest.raises(RobotError, match="in frame G, not P"):
        CalibrationErrors(tool=PoseCovariance.of_parts(Frame.PATIENT, np.zeros(3), 1.0))
    with pytest.raises(RobotError, match="joint positions"):
        dataclasses.replace(needle, q=needle.q[:-1])
    with pytest.raises(RobotError, match="within its stroke"):
        dataclasses.replace(needle, driver_tip_m=needle.driver_entry_m)
    assert EXACT.registration is None and EXACT.tool is None
