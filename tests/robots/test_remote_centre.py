import numpy as np
import pytest

from needleplan.errors import OptionError
from needleplan.frames import perpendicular_axes
from robots.catalogue import list_robots, load_robot
from robots.frames import base_pose
from robots.insertion import plan_insertions
from robots.remote_centre import LARGEST_TURN_RAD, SteeringStatus, axis_distances, steer
from robots.route import Phase
from robots.route_options import RouteOptions

BASE, RAIL = base_pose([0.5, 0.15, 0.0], np.pi), base_pose([0.25, 0.0, 0.0], np.pi)
OPTIONS = RouteOptions()


@pytest.fixture(scope="module", params=list_robots())
def inserted(request, placement, torso, insertions):
    """Each robot with its first needle three quarters in."""
    robot = load_robot(request.param)
    base = RAIL if request.param == "table_guide5" else BASE
    found = plan_insertions(insertions[:1], robot, placement, base, torso).insertions[0]
    assert found.reached
    q = found.segment(Phase.INSERT).positions[-1, :-1]
    driver = found.driver_entry_m + 0.75 * (found.driver_tip_m - found.driver_entry_m)
    return robot, base, q, driver, found.entry_m, found.X_WG.rotation[:, 2]


def turned(direction, angle, way):
    """The direction turned by ``angle`` towards one of four sides."""
    x, y = perpendicular_axes(direction)
    side = np.cos(way) * x + np.sin(way) * y
    return np.cos(angle) * direction + np.sin(angle) * side


def test_distances_of_an_axis_from_a_point_have_their_closed_form(arm, rng):
    q = arm.q_min + rng.uniform(size=(20, 7)) * (arm.q_max - arm.q_min)
    for posture in q:
        X_WG = BASE @ arm.forward(posture)
        beside = X_WG.apply([0.003, -0.004, rng.uniform(-0.2, 0.2)])
        assert axis_distances(arm, BASE, posture, beside) == pytest.approx([0.005], abs=1e-12)


@pytest.mark.parametrize("way", [0.3, 1.9, 3.6, 5.0])
@pytest.mark.parametrize("degrees", [0.2, 2.0, 6.0])
def test_a_needle_turns_about_its_entry_which_does_not_move(inserted, degrees, way):
    robot, base, q, driver, entry, now = inserted
    angle = np.deg2rad(degrees)
    wanted = turned(now, angle, way)
    found = steer(robot, base, q, driver, entry, wanted)
    assert found.status is SteeringStatus.POSSIBLE and not found.reason, found.reason
    path = found.path
    np.testing.assert_allclose(path.positions[0], np.append(q, driver), atol=1e-9)
    rows = path.at(np.linspace(0.0, path.duration_s, 2500))[0]
    # The law of the remote centre, at and between samples.
    off = axis_distances(robot, base, rows[:, :-1], entry)
    assert off.max() <= 2e-4 and off.max() <= found.remote_centre_deviation_m + 1e-8
    end = base @ robot.forward(rows[-1, :-1])
    np.testing.assert_allclose(end.rotation[:, 2], wanted, atol=1e-7)
    # The guide stays as far from the entry, so the tip stays as deep and moves along a circle.
    stand_off = np.linalg.norm(entry - (base @ robot.forward(q)).translation)
    for row in rows[::100]:
        pose = base @ robot.forward(row[:-1])
        assert np.linalg.norm(entry - pose.translation) == pytest.approx(stand_off, abs=1e-6)
    tips = [(base @ robot.forward(row[:-1])).apply([0.0, 0.0, driver]) for row in (rows[0], rows[-1])]
    depth = driver - stand_off
    assert found.turn_rad == pytest.approx(angle, abs=1e-7)
    assert found.tip_shift_m == pytest.approx(2 * depth * np.sin(angle / 2), abs=1e-8)
    assert np.linalg.norm(tips[1] - tips[0]) == pytest.approx(found.tip_shift_m, abs=1e-7)
    # All limits, and the tip goes sideways no faster than it goes in.
    _, v, a, j = path.at(np.linspace(0.0, path.duration_s, 4000))
    share = OPTIONS.speed_fraction
    for values, bound in ((v, robot.velocity_limits), (a, robot.acceleration_limits), (j, robot.jerk_limits)):
        assert (np.abs(values[:, :-1]) <= share * bound * (1 + 2e-2)).all() and (values[:, -1] == 0.0).all()
    tip = np.array([(base @ robot.forward(row[:-1])).apply([0.0, 0.0, driver]) for row in rows[::50]])
    pace = np.linalg.norm(np.diff(tip, axis=0), axis=1) / (path.duration_s * 50 / 2499)
    assert pace.max() <= OPTIONS.insertion_speed_m_s * (1 + 1e-2)


def test_the_turn_back_undoes_the_turn(inserted):
    robot, base, q, driver, entry, now = inserted
    there = steer(robot, base, q, driver, entry, turned(now, np.deg2rad(4.0), 2.2))
    back = steer(robot, base, there.path.positions[-1, :-1], driver, entry, now)
    pose, again = base @ robot.forward(q), base @ robot.forward(back.path.positions[-1, :-1])
    np.testing.assert_allclose(again.translation, pose.translation, atol=1e-7)
    np.testing.assert_allclose(again.rotation[:, 2], pose.rotation[:, 2], atol=1e-7)


def test_no_turn_is_a_rest(inserted):
    robot, base, q, driver, entry, now = inserted
    found = steer(robot, base, q, driver, entry, now)
    assert found.status is SteeringStatus.POSSIBLE and found.turn_rad < 1e-9
    np.testing.assert_allclose(found.path.positions, np.append(q, driver)[None].repeat(2, axis=0))


def test_too_far_a_turn_is_refused(inserted):
    robot, base, q, driver, entry, now = inserted
    found = steer(robot, base, q, driver, entry, turned(now, LARGEST_TURN_RAD + 0.01, 0.0))
    assert found.status is SteeringStatus.REFUSED and found.path is None and "withdraw it" in found.reason


def test_a_turn_beyond_the_joint_limits_is_refused(placement, torso, insertions):
    guide = load_robot("table_guide5")
    found = plan_insertions(insertions[2:], guide, placement, RAIL, torso).insertions[0]
    q = np.array(found.segment(Phase.INSERT).positions[-1, :-1])
    axis = found.X_WG.rotation[:, 2]
    reasons = [
        steer(guide, RAIL, q, found.driver_tip_m, found.entry_m, turned(axis, np.deg2rad(19.9), way)).reason
        for way in np.linspace(0.0, 2 * np.pi, 8, endpoint=False)
    ]
    assert any("inside its joint limits" in reason for reason in reasons)


def test_a_singular_start_is_refused(arm):
    q = np.array([0.0, 0.6, 0.0, -1e-4, 0.0, 0.5, 0.0])
    pose = BASE @ arm.forward(q)
    axis = pose.rotation[:, 2]
    found = steer(arm, BASE, q, 0.12, pose.translation + 0.05 * axis, turned(axis, 0.05, 1.0))
    assert found.status is SteeringStatus.REFUSED and "nearly a singular posture" in found.reason


def test_only_a_needle_in_the_body_on_its_axis_is_steered(inserted):
    robot, base, q, _, entry, now = inserted
    beside = entry + 0.001 * perpendicular_axes(now)[0]
    with pytest.raises(OptionError, match=r"1\.00 mm beside the entry"):
        steer(robot, base, q, 0.12, beside, now)
    with pytest.raises(OptionError, match="no needle is in the body"):
        steer(robot, base, q, 0.04, entry, now)
    with pytest.raises(OptionError, match="no needle is in the body"):
        steer(robot, base, q, 0.4, entry, now)
