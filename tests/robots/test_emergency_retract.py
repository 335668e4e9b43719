import dataclasses

import numpy as np
import pytest

from needleplan.errors import OptionError, RobotError
from robots.catalogue import list_robots, load_robot
from robots.emergency import DriverState, emergency_retract
from robots.frames import base_pose
from robots.insertion import plan_insertions
from robots.remote_centre import axis_distances
from robots.route import Phase, RouteStatus, Segment
from robots.route_options import RouteOptions

BASE, RAIL = base_pose([0.5, 0.15, 0.0], np.pi), base_pose([0.25, 0.0, 0.0], np.pi)
SHARES = (0.0, 0.003, 0.02, 0.11, 0.35, 0.5, 0.77, 0.93, 0.985, 0.998, 1.0)


@pytest.fixture(scope="module", params=list_robots())
def carried(request, placement, torso, insertions):
    robot = load_robot(request.param)
    base = RAIL if request.param == "table_guide5" else BASE
    return robot, base, plan_insertions(insertions[:1], robot, placement, base, torso).insertions[0]


def bounds(robot):
    return (
        np.append(robot.velocity_limits, robot.driver_velocity_limit),
        np.append(robot.acceleration_limits, robot.driver_acceleration_limit),
        np.append(robot.jerk_limits, robot.driver_jerk_limit),
    )


def assert_keeps_limits(path, robot):
    time = np.unique(np.concatenate([np.linspace(0.0, path.duration_s, 6001), path.time_s]))
    position, *stated = path.at(time)
    for bound, values in zip(bounds(robot), stated, strict=True):
        assert (np.abs(values) <= bound * (1 + 1e-2)).all()
    # What is stated is what the positions do.
    step = np.diff(time)[:, None]
    np.testing.assert_allclose(np.diff(position, axis=0), 0.5 * step * (stated[0][1:] + stated[0][:-1]), atol=1e-6)
    np.testing.assert_allclose(np.diff(stated[0], axis=0), 0.5 * step * (stated[1][1:] + stated[1][:-1]), atol=1e-4)
    upper, lower = np.append(robot.q_max, robot.driver_stroke_m), np.append(robot.q_min, 0.0)
    assert (position <= upper + 1e-7).all() and (position >= lower - 1e-7).all()


@pytest.mark.parametrize("phase", list(Phase))
def test_from_any_moment_the_way_out_begins_as_the_route_moves_and_keeps_all_limits(carried, phase):
    robot, base, route = carried
    path = route.segment(phase).path
    for share in SHARES:
        moment = share * path.duration_s
        found = emergency_retract(route, robot, phase, moment)
        for order in range(3):
            np.testing.assert_allclose(found.path.at(0.0)[order], path.at(moment)[order], atol=1e-6)
            if order:
                np.testing.assert_allclose(found.path.at(found.duration_s)[order], 0.0, atol=1e-6)
        assert_keeps_limits(found.path, robot)
        rows = found.path.at(np.linspace(0.0, found.duration_s, 3000))[0]
        # The arm never moves while the needle stands out of the guide, so its axis keeps to the entry.
        out = rows[:, -1] > 1e-6
        if out.any():
            assert np.ptp(rows[out, :-1], axis=0).max() < 1e-9
            assert axis_distances(robot, base, rows[out, :-1], route.entry_m).max() < 2e-4
        home = phase is Phase.APPROACH or (phase is Phase.RETRACT and not out.any())
        end = np.append(robot.home, 0.0) if home else route.segment(Phase.ALIGN).positions[0]
        np.testing.assert_allclose(found.path.positions[-1], end, atol=1e-6)


def test_a_needle_going_in_stops_at_once_and_comes_out_as_fast_as_the_driver_can(carried):
    robot, _, route = carried
    path = route.segment(Phase.INSERT).path
    moment = 0.6 * path.duration_s
    position, speed, *_ = (values[0, -1] for values in path.at(moment))
    found = emergency_retract(route, robot, Phase.INSERT, moment)
    # From a steady speed the least braking takes v/a + a/j, or 2 √(v/j), and half of v times that.
    v, a, j = speed, robot.driver_acceleration_limit, robot.driver_jerk_limit
    brake = v / a + a / j if v > a * a / j else 2 * np.sqrt(v / j)
    assert found.stopped_s <= brake + 0.02
    assert position < found.deepest_m <= position + 0.5 * v * brake + 1e-9
    assert 0 < found.outside_s < found.duration_s
    outside = found.path.at(found.outside_s)[0][0, -1]
    assert outside <= route.driver_entry_m + 1e-9
    assert found.path.velocities[:, -1].min() == pytest.approx(-robot.driver_velocity_limit, rel=1e-6)
    assert found.duration_s < 0.5 * route.durations_s[Phase.RETRACT]


@pytest.mark.parametrize("acceleration", [-0.19, 0.0, 0.15])
@pytest.mark.parametrize("speed", [-0.02, 0.0, 0.004, 0.03])
def test_from_any_state_of_the_driver(carried, speed, acceleration):
    robot, _, route = carried
    state = DriverState(0.6 * route.driver_tip_m, speed, acceleration)
    found = emergency_retract(route, robot, Phase.INSERT, state)
    begin = [values[0, -1] for values in found.path.at(0.0)[:3]]
    assert begin == pytest.approx([state.position_m, speed, acceleration], abs=1e-9)
    assert_keeps_limits(found.path, robot)
    if speed <= 0 and acceleration <= 0:
        assert found.deepest_m == pytest.approx(state.position_m) and found.stopped_s == 0.0


@pytest.mark.parametrize("phase", [Phase.APPROACH, Phase.ALIGN])
def test_on_its_way_the_arm_stops_on_its_path_and_goes_back_on_it(carried, phase):
    robot, _, route = carried
    path = route.segment(phase).path
    dense = path.at(np.linspace(0.0, path.duration_s, 20001))[0]
    for share in (0.08, 0.3, 0.62, 0.9):
        found = emergency_retract(route, robot, phase, share * path.duration_s)
        rows = found.path.at(np.linspace(0.0, found.duration_s, 200))[0]
        apart = np.abs(rows[::4, None] - dense[None, ::10]).max(axis=2).min(axis=1)
        assert apart.max() < 2e-3
        # It goes on only for as long as it brakes.
        assert 0 < found.stopped_s < min(0.8, path.duration_s)
        still = found.path.at(found.stopped_s)[1]
        np.testing.assert_allclose(still, 0.0, atol=1e-6)


def test_at_full_speed_it_brakes_as_soon_as_there_is_room(placement, torso, insertions):
    robot = load_robot()
    fast = RouteOptions(speed_fraction=1.0)
    route = plan_insertions(insertions[:1], robot, placement, BASE, torso, fast).insertions[0]
    for phase in (Phase.APPROACH, Phase.ALIGN):
        path = route.segment(phase).path
        for share in (0.05, 0.4, 0.6, 0.95):
            found = emergency_retract(route, robot, phase, share * path.duration_s)
            assert_keeps_limits(found.path, robot)
            assert found.stopped_s <= min(1.2, (1 - share) * path.duration_s + 1e-6)


def test_a_needle_that_stays_is_withdrawn_while_it_goes_in_and_left_afterwards(placement, torso, insertions):
    robot = load_robot()
    options = RouteOptions(needles_stay=True)
    route = plan_insertions(insertions[:1], robot, placement, BASE, torso, options).insertions[0]
    going_in = emergency_retract(route, robot, Phase.INSERT, 0.9 * route.durations_s[Phase.INSERT])
    assert going_in.path.positions[-1, -1] == pytest.approx(0.0, abs=1e-9)
    retract = route.segment(Phase.RETRACT).path
    moment = 0.05 * retract.duration_s  # the driver runs back without the needle
    left = emergency_retract(route, robot, Phase.RETRACT, moment)
    assert left.duration_s == pytest.approx(retract.duration_s - moment, abs=1e-6)
    np.testing.assert_allclose(left.path.positions[-1], retract.positions[-1], atol=1e-9)


@pytest.mark.parametrize(
    ("phase", "at", "match"),
    [
        (Phase.INSERT, -0.1, "no moment"),
        (Phase.ALIGN, 1e3, "no moment"),
        (Phase.APPROACH, DriverState(0.1), "while it goes in"),
        (Phase.INSERT, DriverState(0.3), "its stroke is 250 mm"),
        (Phase.INSERT, DriverState(0.249, 0.05), "cannot stop within its stroke"),
    ],
)
def test_moments_that_cannot_be_are_refused(placement, torso, insertions, phase, at, match):
    robot = load_robot()
    route = plan_insertions(insertions[:1], robot, placement, BASE, torso).insertions[0]
    with pytest.raises(OptionError, match=match):
        emergency_retract(route, robot, phase, at)


def test_routes_that_cannot_be_left_are_refused(carried):
    robot, _, route = carried
    with pytest.raises(RobotError, match="not reached"):
        emergency_retract(dataclasses.replace(route, status=RouteStatus.UNREACHED), robot, Phase.INSERT, 0.0)
    bare = tuple(Segment(part.phase, part.time_s, part.positions) for part in route.segments)
    with pytest.raises(RobotError, match="not known"):
        emergency_retract(dataclasses.replace(route, segments=bare), robot, Phase.INSERT, 0.0)
    other = load_robot("needle_arm7" if robot.name != "needle_arm7" else "table_guide5")
    with pytest.raises(RobotError, match="joints and"):
        emergency_retract(route, other, Phase.INSERT, 0.0)


def test_a_driver_that_cannot_stop_before_its_rear_end_is_refused(carried):
    robot, _, route = carried
    for state in (DriverState(0.0005, -0.05), DriverState(0.0, -0.02), DriverState(0.01, -0.05, -0.2)):
        with pytest.raises(OptionError, match="rear end"):
            emergency_retract(route, robot, Phase.INSERT, state)
    for state in (DriverState(0.05, np.inf), DriverState(np.nan), DriverState(0.05, 0.0, np.inf)):
        with pytest.raises(OptionError, match="finite numbers"):
            emergency_retract(route, robot, Phase.INSERT, state)
    assert emergency_retract(route, robot, Phase.INSERT, DriverState(0.05, -0.01)).deepest_m <= 0.05 + 1e-9
