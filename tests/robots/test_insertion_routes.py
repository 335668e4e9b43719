import dataclasses
import json

import numpy as np
import pytest

from needleplan.errors import OptionError, RobotError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from needleplan.plan import Insertion
from robots.catalogue import list_robots, load_robot
from robots.clearance import Gantry, PlacedNeedle, Surroundings, arm_clearance, posture_clearances
from robots.frames import base_pose, place_patient
from robots.insertion import placed_needle, plan_insertions
from robots.kinematics import AxisSolution, AxisStatus
from robots.moves import ArmMoves
from robots.remote_centre import axis_distances
from robots.route import Phase, RouteStatus, Segment, route_to_json
from robots.route_options import RouteOptions
from robots.urdf_arm import UrdfArm

BASE = base_pose([0.5, 0.15, 0.0], np.pi)
#: The guide on its rail reaches the first and the third path.
RAIL = base_pose([0.25, 0.0, 0.0], np.pi)
OPTIONS = RouteOptions()
TARGET_MM = np.array([-62.0, -38.0, 523.0])


def stand_of(name):
    return (RAIL, (0, 2)) if name == "table_guide5" else (BASE, (0, 1, 2))


@pytest.fixture(scope="module", params=list_robots())
def carried(request, placement, torso, insertions):
    """Each robot with the paths that it reaches and its route."""
    robot = load_robot(request.param)
    base, chosen = stand_of(request.param)
    paths = tuple(insertions[k] for k in chosen)
    return robot, paths, plan_insertions(paths, robot, placement, base, torso, OPTIONS)


@pytest.fixture(scope="module")
def route(arm, placement, torso, insertions):
    return plan_insertions(insertions, arm, placement, BASE, torso, OPTIONS)


def test_every_insertion_is_reached_in_four_phases(carried):
    robot, paths, route = carried
    assert route.reached.all(), [insertion.reason for insertion in route.insertions]
    assert route.joint_names == (*robot.joint_names, "needle_driver")
    for planned, found in zip(paths, route.insertions, strict=True):
        assert found.order == planned.order and not found.reason
        assert [segment.phase for segment in found.segments] == list(Phase) == list(found.durations_s)
        assert sum(found.durations_s.values()) == pytest.approx(found.duration_s)
    assert route.duration_s == pytest.approx(sum(insertion.duration_s for insertion in route.insertions))


def test_the_phases_join_and_begin_and_end_at_home_and_at_rest(carried):
    robot, _, route = carried
    home = np.append(robot.home, 0.0)
    for insertion in route.insertions:
        np.testing.assert_allclose(insertion.segments[0].positions[0], home, atol=1e-9)
        np.testing.assert_allclose(insertion.segments[-1].positions[-1], home, atol=1e-9)
        for before, after in zip(insertion.segments[:-1], insertion.segments[1:], strict=True):
            np.testing.assert_allclose(before.positions[-1], after.positions[0], atol=1e-9)
        for segment in insertion.segments:
            assert segment.time_s[0] == 0.0 and (np.diff(segment.time_s) > 0).all()
            np.testing.assert_allclose(segment.velocities[[0, -1]], 0.0, atol=1e-9)
            np.testing.assert_allclose(segment.accelerations[[0, -1]], 0.0, atol=1e-7)


def test_limits_of_position_speed_acceleration_and_jerk_are_kept_everywhere(carried):
    robot, _, route = carried
    lower, upper = np.append(robot.q_min, 0.0), np.append(robot.q_max, robot.driver_stroke_m)
    share = OPTIONS.speed_fraction
    bounds = (
        np.append(robot.velocity_limits * share, OPTIONS.withdrawal_speed_m_s),
        np.append(robot.acceleration_limits * share, robot.driver_acceleration_limit),
        np.append(robot.jerk_limits * share, robot.driver_jerk_limit),
    )
    for insertion in route.insertions:
        for segment in insertion.segments:
            assert (segment.positions >= lower - 1e-9).all() and (segment.positions <= upper + 1e-9).all()
            assert np.diff(segment.time_s).max() <= OPTIONS.sample_s + 1e-9
            time = np.linspace(0.0, segment.duration_s, 8001)
            position, *stated = segment.path.at(time)
            for order, (bound, values) in enumerate(zip(bounds, stated, strict=True), start=1):
                # Between samples too: differences of the motion itself, beside what it states.
                difference = np.diff(position, order, axis=0) / time[1] ** order
                assert (np.abs(difference) <= bound * (1 + 2e-3)).all()
                assert (np.abs(values) <= bound * (1 + 2e-3)).all()
        inserting = insertion.segment(Phase.INSERT)
        assert inserting.velocities[:, -1].max() == pytest.approx(OPTIONS.insertion_speed_m_s, rel=1e-6)


def test_the_axis_passes_through_the_entry_while_the_arm_aligns_and_inserts(carried):
    robot, _, route = carried
    for found in route.insertions:
        assert found.remote_centre_deviation_m <= OPTIONS.remote_centre_m
        for phase in (Phase.ALIGN, Phase.INSERT):
            path = found.segment(phase).path
            poses = path.at(np.linspace(0.0, path.duration_s, 1501))[0][:, :-1]
            assert (
                axis_distances(robot, route.X_WB, poses, found.entry_m).max()
                <= found.remote_centre_deviation_m + 1e-8
            )


def test_a_remote_centre_that_is_not_kept_is_refused(arm, placement, torso, insertions, monkeypatch):
    follow = ArmMoves.align_knots

    def bent(self, X_BG, q_align, stays):
        knots = np.array(follow(self, X_BG, q_align, stays))
        knots[:, 4] += 0.004 * np.sin(np.linspace(0.0, np.pi, len(knots)))
        return knots

    monkeypatch.setattr(ArmMoves, "align_knots", bent)
    found = plan_insertions(insertions[:1], arm, placement, BASE, torso, OPTIONS).insertions[0]
    assert not found.reached and "beside the entry where 0.20 mm are allowed" in found.reason


def test_the_needle_goes_straight_through_the_entry_to_the_tip(route, arm, placement, insertions):
    for planned, found in zip(insertions, route.insertions, strict=True):
        entry, tip = placement.points_to_world(planned.entry_mm), placement.points_to_world(planned.tip_mm)
        axis = (tip - entry) / np.linalg.norm(tip - entry)
        inserting = found.segment(Phase.INSERT)
        assert np.ptp(inserting.positions[:, :7], axis=0).max() == 0.0  # the arm holds still
        for row in inserting.positions[::50]:
            at = (route.X_WB @ arm.forward(row[:7])).apply([0.0, 0.0, row[7]])
            assert np.linalg.norm(np.cross(at - entry, axis)) < 1e-5
        end = inserting.positions[-1]
        reached = (route.X_WB @ arm.forward(end[:7])).apply([0.0, 0.0, end[7]])
        np.testing.assert_allclose(reached, tip, atol=1e-5)
        np.testing.assert_allclose(reached, found.tip_m, atol=1e-5)
        assert found.position_error_m == pytest.approx(np.linalg.norm(reached - tip), abs=1e-9)
        skin = (route.X_WB @ arm.forward(end[:7])).apply([0.0, 0.0, found.driver_entry_m])
        np.testing.assert_allclose(skin, entry, atol=1e-5)
        assert found.axis_error_rad < 1e-5 and found.driver_tip_m == pytest.approx(end[7])


def test_the_arm_aligns_along_the_axis(route, arm):
    for found in route.insertions:
        align = found.segment(Phase.ALIGN).positions
        axis = found.X_WG.rotation[:, 2]
        poses = [route.X_WB @ arm.forward(row[:7]) for row in align]
        for pose in poses:
            off = pose.translation - found.X_WG.translation
            assert np.linalg.norm(off - (off @ axis) * axis) < 1e-5  # 10 µm beside the axis between the knots
            assert pose.rotation[:, 2] @ axis > 1 - 1e-9
        start = (poses[0].translation - found.X_WG.translation) @ axis
        assert start == pytest.approx(-OPTIONS.back_off_m, abs=1e-6)


def test_the_arm_keeps_clear_of_patient_and_table_on_all_phases(route, arm, placement, torso):
    around = Surroundings(placement, torso)
    for found in route.insertions:
        for segment in found.segments:
            rows = segment.positions[:: max(1, len(segment.positions) // 60)]
            for row in rows:
                clearance = arm_clearance(arm, route.X_WB, row[:7], row[7], around)
                assert clearance.patient_m > OPTIONS.clearance_m and clearance.table_m > OPTIONS.clearance_m
                # What the route states is a lower bound of what is met on the way.
                assert clearance.patient_m > found.patient_clearance_m - 1e-3
                assert clearance.self_m > OPTIONS.self_clearance_m
        # The guide stands off: with its own radius taken off nothing comes nearer than that.
        assert OPTIONS.clearance_m < found.patient_clearance_m < OPTIONS.stand_off_m


def test_the_same_inputs_give_the_same_route(route, arm, placement, torso, insertions):
    again = plan_insertions(insertions, arm, placement, BASE, torso, OPTIONS)
    assert json.dumps(route_to_json(again)) == json.dumps(route_to_json(route))


def test_joint_answers_stay_when_base_and_case_move_along(route, arm, torso, insertions, rng):
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    shift = np.array([120.0, -75.0, 300.0])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, shift
    moved_paths = [
        dataclasses.replace(
            path,
            entry_mm=tuple(rotation @ path.entry_mm + shift),
            tip_mm=tuple(rotation @ path.tip_mm + shift),
        )
        for path in insertions
    ]
    moved_torso = torso.moved(matrix)
    moved = place_patient(moved_torso, rotation @ TARGET_MM + shift, rotation @ [0, -1, 0], rotation @ [0, 0, 1])
    found = plan_insertions(moved_paths, arm, moved, BASE, moved_torso, OPTIONS)
    for one, other in zip(route.insertions, found.insertions, strict=True):
        end, moved_end = (r.segment(Phase.INSERT).positions[-1] for r in (one, other))
        np.testing.assert_allclose(end, moved_end, atol=1e-5)


def test_a_base_that_moves_along_with_the_patient_gets_the_same_answers(route, arm, placement, insertions):
    turn = base_pose([0.4, -0.3, 0.25], 0.7).matrix
    moved = dataclasses.replace(
        placement,
        X_WP=RigidTransform(Frame.WORLD, Frame.PATIENT, turn @ placement.X_WP.matrix, LengthUnit.METRE),
    )
    base = RigidTransform(Frame.WORLD, Frame.ROBOT_BASE, turn @ BASE.matrix, LengthUnit.METRE)
    # The table does not turn with them, so it is left far below.
    for path in insertions:
        both = [
            plan_insertions([path], arm, where, X_WB, None, OPTIONS)
            for where, X_WB in ((placement, BASE), (moved, base))
        ]
        ends = [found.insertions[0].segment(Phase.INSERT).positions[-1] for found in both]
        np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)


def test_two_metres_away_is_unreached_with_a_reason(arm, placement, torso, insertions):
    far = base_pose([2.5, 0.0, 0.0], np.pi)
    route = plan_insertions(insertions[:1], arm, placement, far, torso)
    found = route.insertions[0]
    assert found.status is RouteStatus.UNREACHED and not found.segments and not route.reached.any()
    assert "reach" in found.reason and found.duration_s == 0.0 and found.patient_clearance_m is None
    with pytest.raises(KeyError):
        found.segment(Phase.INSERT)


def test_a_path_deeper_than_the_driver_says_by_how_much(arm, placement, torso):
    deep = Insertion((10.0, -140.0, 500.0), (10.0, 79.0, 500.0), "probe", ())
    found = plan_insertions([deep], arm, placement, BASE, torso).insertions[0]
    assert found.status is RouteStatus.UNREACHED
    assert "stroke is 250 mm" in found.reason and "19 mm shorter" in found.reason


def test_a_path_from_below_the_table_is_unreached_because_of_the_table(arm, placement, torso):
    below = Insertion((-60.0, 79.0, 520.0), (-60.0, 0.0, 520.0), "probe", ())
    found = plan_insertions([below], arm, placement, BASE, torso).insertions[0]
    assert found.status is RouteStatus.UNREACHED
    assert "aligns" in found.reason and "table" in found.reason


def test_a_path_that_grazes_the_skin_gets_a_longer_stand_off(arm, placement, torso):
    grazing = Insertion((-60.0, -130.2, 480.0), (-60.0, -85.0, 560.0), "probe", ())
    short = RouteOptions(longest_stand_off_m=0.05, clearance_m=0.03)
    longer = RouteOptions(clearance_m=0.03)
    near, far = (
        plan_insertions([grazing], arm, placement, BASE, torso, options).insertions[0]
        for options in (short, longer)
    )
    assert not near.reached and "patient" in near.reason
    assert far.reached and far.driver_entry_m > 0.05 and far.patient_clearance_m >= 0.03
    assert far.driver_tip_m - far.driver_entry_m == pytest.approx(grazing.depth_mm * 1e-3)
    assert far.position_error_m < 1e-5


def test_without_a_surface_the_route_says_that_the_patient_was_not_checked(arm, placement, insertions):
    route = plan_insertions(insertions[:1], arm, placement, BASE, None)
    assert "not checked" in route.notes[0] and route.insertions[0].patient_clearance_m is None


def test_the_plain_form_is_json_and_holds_the_route(route):
    table = json.loads(json.dumps(route_to_json(route), allow_nan=False))
    assert table["schema"] == "needleplan.route" and table["version"] == 1
    assert len(table["joint_names"]) == 8 and len(table["insertions"]) == 3
    for written, found in zip(table["insertions"], route.insertions, strict=True):
        assert [segment["phase"] for segment in written["segments"]] == [phase.value for phase in Phase]
        assert written["check_step_rad"] == 0.03 and not written["needle_stays"]
        assert written["remote_centre_deviation_m"] == found.remote_centre_deviation_m
        assert set(written["durations_s"]) == {phase.value for phase in Phase}
        for segment, values in zip(written["segments"], found.segments, strict=True):
            np.testing.assert_allclose(segment["positions"], values.positions, atol=1e-7)
            np.testing.assert_allclose(segment["time_s"], values.time_s, atol=1e-6)


def test_positions_at_a_time_lie_between_the_samples(route):
    segment = route.insertions[0].segment(Phase.INSERT)
    middle = (segment.time_s[10] + segment.time_s[11]) / 2
    np.testing.assert_allclose(segment.at(middle), (segment.positions[10] + segment.positions[11]) / 2, atol=1e-12)
    np.testing.assert_array_equal(segment.at(1e6), segment.positions[-1])


def test_a_finer_resolution_states_no_less_clearance(arm, placement, torso, insertions, route):
    fine = plan_insertions(
        insertions, arm, placement, BASE, torso, RouteOptions(check_step_rad=0.01, check_step_m=0.002)
    )
    for one, other in zip(route.insertions, fine.insertions, strict=True):
        assert (one.check_step_rad, other.check_step_rad) == (0.03, 0.01)
        assert other.patient_clearance_m >= one.patient_clearance_m - 1e-4
        for bound, found in ((one, other), (other, one)):
            driver = found.segment(Phase.INSERT).positions
            exact = posture_clearances(
                arm, BASE, driver[::40, :-1], Surroundings(placement, torso), driver[::40, -1]
            )
            assert bound.patient_clearance_m <= exact.patient_m.min() + 1e-9


def test_needles_that_stay_are_left_in_place_and_kept_clear_of(arm, placement, torso, insertions):
    options = RouteOptions(needles_stay=True, needle_length_m=0.22)
    route = plan_insertions(insertions, arm, placement, BASE, torso, options)
    assert route.reached.all(), [found.reason for found in route.insertions]
    placed = []
    for path, found in zip(insertions, route.insertions, strict=True):
        assert found.needle_stays and found.needle_clearance_m >= options.needle_clearance_m
        own = placed_needle(path, arm, placement, options)
        assert own.outside_m == pytest.approx(0.22 - path.depth_mm * 1e-3)
        earlier = Surroundings(placement, torso, needles=placed)
        for segment in found.segments:
            rows = segment.positions[::4]
            if placed:
                clear = posture_clearances(arm, BASE, rows[:, :-1], earlier, rows[:, -1])
                assert clear.needles_m.min() >= options.needle_clearance_m
        # Once the guide leaves the axis it keeps clear of the needle that it has left.
        retract, align = found.segment(Phase.RETRACT).positions, found.segment(Phase.ALIGN).positions
        leaves = np.abs(retract[:, :-1] - align[0, :-1]).max(axis=1).argmin()
        assert (retract[leaves:, -1] == 0.0).all()
        alone = Surroundings(placement, None, needles=(own,))
        assert (
            posture_clearances(arm, BASE, retract[leaves:, :-1], alone).needles_m.min()
            >= options.needle_clearance_m
        )
        exit_m = (BASE @ arm.forward(retract[leaves, :-1])).translation
        assert np.linalg.norm(exit_m - found.entry_m) > own.outside_m + own.radius_m
        placed.append(own)


def test_a_needle_that_stays_bars_the_next_one_beside_it(arm, placement, torso, insertions):
    first = insertions[0]
    second = dataclasses.replace(
        first,
        entry_mm=tuple(np.add(first.entry_mm, (9.0, 0.9, 3.0))),
        tip_mm=tuple(np.add(first.tip_mm, (9.0, 0.9, 3.0))),
        order=2,
    )
    both = (first, second)
    free = plan_insertions(both, arm, placement, BASE, torso, RouteOptions())
    staying = plan_insertions(both, arm, placement, BASE, torso, RouteOptions(needles_stay=True))
    assert free.reached.all() and staying.reached.tolist() == [True, False]
    assert "a placed needle" in staying.insertions[1].reason


def test_a_blocked_straight_approach_goes_round(arm, placement, torso, insertions, route):
    straight = route.insertions[0].segment(Phase.APPROACH).positions[:, :-1]
    middle = (BASE @ arm.forward(straight[int(0.7 * len(straight))])).translation
    upright = PlacedNeedle([middle[0], middle[1], middle[2] - 0.25], [0.0, 0.0, -1.0], 0.3)
    around = Surroundings(placement, torso, needles=(upright,))
    assert posture_clearances(arm, BASE, straight, around).needles_m.min() < 0.0

    def planned(**changes):
        options = RouteOptions(**changes)
        return plan_insertions(insertions[:1], arm, placement, BASE, torso, options, needles=[upright]).insertions[
            0
        ]

    found = planned()
    assert found.reached and found.approach_stops > 0 and found.needle_clearance_m >= OPTIONS.needle_clearance_m
    path = found.segment(Phase.APPROACH).path
    taken = path.at(np.linspace(0.0, path.duration_s, 2000))[0][:, :-1]
    kept = posture_clearances(arm, BASE, taken, around)
    assert kept.needles_m.min() >= found.needle_clearance_m and kept.patient_m.min() >= found.patient_clearance_m
    # Corners are rounded: the arm does not stop on its way.
    assert np.abs(path.at(np.linspace(0.1, 0.9, 200) * path.duration_s)[1]).max(axis=1).min() > 1e-3
    again, other = planned(), planned(seed=5)
    np.testing.assert_array_equal(again.segments[0].positions, found.segments[0].positions)
    assert other.reached
    barred = ArmMoves(arm, BASE, around, RouteOptions(detour_iterations=0)).way(straight[0], straight[-1], around)
    assert isinstance(barred, str) and "no way round was looked for" in barred


def test_a_needle_beside_the_path_is_named(arm, placement, torso, insertions, route):
    entry, direction = route.insertions[0].entry_m, placement.directions_to_world(insertions[0].direction)
    beside = PlacedNeedle(entry + 0.002 * np.cross(direction, [0.0, 1.0, 0.0]), direction, 0.2)
    found = plan_insertions(insertions[:1], arm, placement, BASE, torso, OPTIONS, needles=[beside]).insertions[0]
    assert not found.reached and "into a placed needle" in found.reason


def test_the_gantry_is_kept_clear_of_and_named(arm, placement, torso, insertions):
    beside = Gantry(centre_along_table_m=0.9)
    found = plan_insertions(insertions, arm, placement, BASE, torso, OPTIONS, gantry=beside)
    assert found.reached.all() and min(r.gantry_clearance_m for r in found.insertions) >= OPTIONS.clearance_m
    over = plan_insertions(insertions[:1], arm, placement, BASE, torso, OPTIONS, gantry=Gantry()).insertions[0]
    assert not over.reached and over.reason.startswith("at home the arm comes") and "the gantry" in over.reason


def test_a_home_that_hits_itself_is_named(arm, placement, torso, insertions):
    folded = UrdfArm(
        dataclasses.replace(arm._settings, home=np.array([-2.24, 2.0, 0.56, -2.09, -1.31, 1.82, -1.66]))
    )
    found = plan_insertions(insertions[:1], folded, placement, BASE, None, OPTIONS).insertions[0]
    assert not found.reached and found.reason.startswith("at home the arm comes into itself")
    assert "another home" in found.reason


def test_a_posture_that_is_nearly_singular_is_refused(arm, placement):
    # The elbow almost straight: manipulability is 0.00006 of the best, and the axis points along the forearm.
    q = np.array([0.0, 0.6, 0.0, -1e-4, 0.0, 0.5, 0.0])
    moves = ArmMoves(arm, BASE, Surroundings(placement, None), OPTIONS)
    solution = AxisSolution(AxisStatus.REACHED, "", q, 0.0, 0.0, 0.0, 1.0, 1)
    refused = moves.path(arm.forward(q), solution, 0.1, None)
    assert isinstance(refused, str) and "nearly a singular posture" in refused


@pytest.mark.parametrize("name", ["insertion_speed_m_s", "withdrawal_speed_m_s"])
def test_a_needle_faster_than_the_driver_is_refused(arm, placement, insertions, name):
    with pytest.raises(OptionError, match=f"{name} is 80 mm/s and the driver .* at most at 50 mm/s"):
        plan_insertions(insertions, arm, placement, BASE, None, RouteOptions(**{name: 0.08}))


def test_a_needle_that_stays_must_be_longer_than_its_path(arm, placement, insertions):
    short = RouteOptions(needles_stay=True, needle_length_m=0.06)
    with pytest.raises(OptionError, match="leaves nothing outside"):
        plan_insertions(insertions, arm, placement, BASE, None, short)


def test_the_speeds_of_a_segment_that_has_none_are_refused():
    with pytest.raises(RobotError, match="not known"):
        _ = Segment(Phase.ALIGN, [0.0, 1.0], [[0.0], [1.0]]).path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stand_off_m", 50.0),
        ("needle_length_m", 3.0),
        ("check_step_rad", 0.0),
        ("check_step_m", 1.0),
        ("remote_centre_m", 0.01),
        ("least_manipulability", -0.1),
        ("detour_iterations", -1),
        ("seed", -1),
        ("needle_clearance_m", 1.0),
        ("needle_radius_m", 0.0),
        ("longest_stand_off_m", 0.01),
        ("insertion_speed_m_s", 0.0),
        ("speed_fraction", 1.5),
        ("clearance_m", -0.01),
    ],
)
def test_impossible_options_are_refused(name, value):
    with pytest.raises(OptionError, match=name):
        RouteOptions(**{name: value})
