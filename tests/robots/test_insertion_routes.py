import dataclasses
import json

import numpy as np
import pytest

from needleplan.errors import OptionError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from needleplan.plan import Insertion
from robots.clearance import Surroundings, arm_clearance
from robots.frames import base_pose, place_patient
from robots.insertion import plan_insertions
from robots.route import Phase, RouteStatus, route_to_json
from robots.route_options import RouteOptions

BASE = base_pose([0.5, 0.15, 0.0], np.pi)
OPTIONS = RouteOptions()
TARGET_MM = np.array([-62.0, -38.0, 523.0])


@pytest.fixture(scope="module")
def route(arm, placement, torso, insertions):
    return plan_insertions(insertions, arm, placement, BASE, torso, np.random.default_rng(3), OPTIONS)


def test_every_insertion_is_reached_in_four_phases(route, arm, insertions):
    assert route.reached.all(), [insertion.reason for insertion in route.insertions]
    assert route.joint_names == (*arm.joint_names, "needle_driver")
    for planned, found in zip(insertions, route.insertions, strict=True):
        assert found.order == planned.order and not found.reason
        assert [segment.phase for segment in found.segments] == list(Phase)
    assert route.duration_s == pytest.approx(sum(insertion.duration_s for insertion in route.insertions))


def test_the_phases_join_and_begin_and_end_at_home(route, arm):
    for insertion in route.insertions:
        home = np.append(arm.home, 0.0)
        np.testing.assert_allclose(insertion.segments[0].positions[0], home, atol=1e-9)
        np.testing.assert_allclose(insertion.segments[-1].positions[-1], home, atol=1e-9)
        for before, after in zip(insertion.segments[:-1], insertion.segments[1:], strict=True):
            np.testing.assert_allclose(before.positions[-1], after.positions[0], atol=1e-9)
            assert before.time_s[0] == 0.0 and (np.diff(before.time_s) > 0).all()


def test_limits_of_position_speed_and_acceleration_are_kept_everywhere(route, arm):
    lower, upper = np.append(arm.q_min, 0.0), np.append(arm.q_max, arm.driver_stroke_m)
    speeds = np.append(arm.velocity_limits * OPTIONS.speed_fraction, OPTIONS.withdrawal_speed_m_s)
    accelerations = np.append(arm.acceleration_limits * OPTIONS.speed_fraction, arm.driver_acceleration_limit)
    for insertion in route.insertions:
        for segment in insertion.segments:
            assert (segment.positions >= lower - 1e-9).all() and (segment.positions <= upper + 1e-9).all()
            step = np.diff(segment.time_s)[:, None]
            assert step.max() <= OPTIONS.sample_s + 1e-9
            speed = np.diff(segment.positions, axis=0) / step
            assert (np.abs(speed) <= speeds * (1 + 1e-6)).all()
            acceleration = np.diff(speed, axis=0) / ((step[1:] + step[:-1]) / 2)
            assert (np.abs(acceleration) <= accelerations * (1 + 1e-3)).all()
        inserting = insertion.segment(Phase.INSERT)
        assert np.diff(inserting.positions[:, 7]).max() <= OPTIONS.insertion_speed_m_s * OPTIONS.sample_s * (
            1 + 1e-9
        )


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


def test_the_same_seed_gives_the_same_route(route, arm, placement, torso, insertions):
    again = plan_insertions(insertions, arm, placement, BASE, torso, np.random.default_rng(3), OPTIONS)
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
    found = plan_insertions(moved_paths, arm, moved, BASE, moved_torso, np.random.default_rng(3), OPTIONS)
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
    for number, path in enumerate(insertions):
        both = [
            plan_insertions([path], arm, where, X_WB, None, np.random.default_rng(number), OPTIONS)
            for where, X_WB in ((placement, BASE), (moved, base))
        ]
        ends = [found.insertions[0].segment(Phase.INSERT).positions[-1] for found in both]
        np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)


def test_a_blocked_straight_approach_goes_round(arm, placement, torso, insertions):
    low = base_pose([-0.5, 0.15, -0.2], 0.0)
    around = Surroundings(placement, torso)
    found = plan_insertions(insertions[:1], arm, placement, low, torso, np.random.default_rng(0)).insertions[0]
    assert found.reached, found.reason
    approach = found.segment(Phase.APPROACH).positions[:, :7]
    straight = approach[0] + np.linspace(0, 1, 100)[:, None] * (approach[-1] - approach[0])
    blocked = arm_clearance(arm, low, straight, np.zeros(100), around)
    taken = arm_clearance(arm, low, approach, np.zeros(len(approach)), around)
    assert blocked.least_m < OPTIONS.clearance_m < min(taken.patient_m, taken.table_m)


def test_two_metres_away_is_unreached_with_a_reason(arm, placement, torso, insertions):
    far = base_pose([2.5, 0.0, 0.0], np.pi)
    route = plan_insertions(insertions[:1], arm, placement, far, torso, np.random.default_rng(0))
    found = route.insertions[0]
    assert found.status is RouteStatus.UNREACHED and not found.segments and not route.reached.any()
    assert "reach" in found.reason and found.duration_s == 0.0 and found.patient_clearance_m is None
    with pytest.raises(KeyError):
        found.segment(Phase.INSERT)


def test_a_path_deeper_than_the_driver_says_by_how_much(arm, placement, torso):
    deep = Insertion((10.0, -140.0, 500.0), (10.0, 79.0, 500.0), "probe", ())
    found = plan_insertions([deep], arm, placement, BASE, torso, np.random.default_rng(0)).insertions[0]
    assert found.status is RouteStatus.UNREACHED
    assert "stroke is 250 mm" in found.reason and "19 mm shorter" in found.reason


def test_a_path_from_below_the_table_is_unreached_because_of_the_table(arm, placement, torso):
    below = Insertion((-60.0, 79.0, 520.0), (-60.0, 0.0, 520.0), "probe", ())
    found = plan_insertions([below], arm, placement, BASE, torso, np.random.default_rng(0)).insertions[0]
    assert found.status is RouteStatus.UNREACHED
    assert "aligns" in found.reason and "table" in found.reason


def test_a_path_that_grazes_the_skin_gets_a_longer_stand_off(arm, placement, torso):
    grazing = Insertion((-60.0, -130.2, 480.0), (-60.0, -85.0, 560.0), "probe", ())
    short = RouteOptions(longest_stand_off_m=0.05, clearance_m=0.03)
    longer = RouteOptions(clearance_m=0.03)
    near, far = (
        plan_insertions([grazing], arm, placement, BASE, torso, np.random.default_rng(0), options).insertions[0]
        for options in (short, longer)
    )
    assert not near.reached and "patient" in near.reason
    assert far.reached and far.driver_entry_m > 0.05 and far.patient_clearance_m >= 0.03
    assert far.driver_tip_m - far.driver_entry_m == pytest.approx(grazing.depth_mm * 1e-3)
    assert far.position_error_m < 1e-5


def test_without_a_surface_the_route_says_that_the_patient_was_not_checked(arm, placement, insertions):
    route = plan_insertions(insertions[:1], arm, placement, BASE, None, np.random.default_rng(0))
    assert "not checked" in route.notes[0] and route.insertions[0].patient_clearance_m is None


def test_the_plain_form_is_json_and_holds_the_route(route):
    table = json.loads(json.dumps(route_to_json(route), allow_nan=False))
    assert table["schema"] == "needleplan.route" and table["version"] == 1
    assert len(table["joint_names"]) == 8 and len(table["insertions"]) == 3
    for written, found in zip(table["insertions"], route.insertions, strict=True):
        assert [segment["phase"] for segment in written["segments"]] == [phase.value for phase in Phase]
        for segment, values in zip(written["segments"], found.segments, strict=True):
            np.testing.assert_allclose(segment["positions"], values.positions, atol=1e-7)
            np.testing.assert_allclose(segment["time_s"], values.time_s, atol=1e-6)


def test_positions_at_a_time_lie_between_the_samples(route):
    segment = route.insertions[0].segment(Phase.INSERT)
    middle = (segment.time_s[10] + segment.time_s[11]) / 2
    np.testing.assert_allclose(segment.at(middle), (segment.positions[10] + segment.positions[11]) / 2, atol=1e-12)
    np.testing.assert_array_equal(segment.at(1e6), segment.positions[-1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stand_off_m", 50.0),
        ("longest_stand_off_m", 0.01),
        ("insertion_speed_m_s", 0.0),
        ("speed_fraction", 1.5),
        ("clearance_m", -0.01),
    ],
)
def test_impossible_options_are_refused(name, value):
    with pytest.raises(OptionError, match=name):
        RouteOptions(**{name: value})
