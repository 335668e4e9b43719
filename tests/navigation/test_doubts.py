"""Every doubt: what provokes it, that nothing goes while it stands, and what ends it."""

import dataclasses
import re

import numpy as np
import pytest
from guided_needle import (
    LATENCY_S,
    PLAN,
    X_PR,
    Stream,
    kinds,
    needle_pose,
    new_session,
    registration,
    started,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from needleplan.errors import NavigationError, OptionError
from needleplan.motion.cough import Cough
from needleplan.navigation.events import (
    BreathingSample,
    GuidanceAsked,
    LandmarkChecked,
    NeedleSelected,
    PoseRefused,
    SessionHeld,
    ToolPose,
    TrackedTool,
    pose_event,
)
from needleplan.navigation.guidance import Advice, DoubtKind
from needleplan.navigation.options import SessionOptions
from needleplan.registration.rotations import rotations_of

NEEDLE, REFERENCE = TrackedTool.NEEDLE, TrackedTool.REFERENCE


def touch(stream, name="landmark", off_mm=0.0):
    """Touch a landmark that lies where the tip is, or beside it."""
    tip = np.add(stream.guidance().tip_mm, (off_mm, 0.0, 0.0))
    stream.session.take(LandmarkChecked(stream.now_s, name, tuple(tip)))


def of_tool(tool, change):
    """A hook that changes the events of one tool."""
    return lambda event: change(event) if getattr(event, "tool", None) is tool else event


def breathing_only(change):
    return lambda event: change(event) if isinstance(event, BreathingSample) else event


def test_a_steady_stream_goes_waits_and_arrives():
    stream = started()
    assert stream.guidance().advice is Advice.GO and not stream.guidance().doubts
    stream.displacement_mm = lambda t: (0.0, 0.0, -7.0 * np.sin(0.5 * np.pi * (t % 4.0) / 2.0) ** 4)
    said = [stream.go_on(0.1) for _ in range(80)]
    assert {one.advice for one in said} == {Advice.GO, Advice.WAIT}
    for one in said:
        assert not one.gate_open or np.linalg.norm(one.displacement_mm) <= 2.0
        assert kinds(one) == (set() if one.gate_open else {DoubtKind.GATE_SHUT})
    arrived = started(to_go_mm=0.3)
    assert arrived.guidance().advice is Advice.ARRIVED and not arrived.guidance().doubts


def test_the_gate_is_that_of_the_moment_asked_and_not_of_the_sample():
    stream = started()
    # Sinking at 4 mm/s: the newest sample is 0.15 s old when somebody asks.
    begin = stream.time_s
    stream.displacement_mm = lambda t: (0.0, 0.0, -4.0 * (t - begin))
    stream.go_on(0.33)
    later = stream.session.guidance(stream.time_s + 0.15)
    assert 4.0 * (stream.time_s - begin) < 1.4 and later.displacement_mm[2] == pytest.approx(-1.93, abs=0.15)
    assert later.gate_open is False and stream.guidance().gate_open is True
    # Coming back it is the sample that counts: a prediction alone opens no gate.
    begin = stream.time_s
    stream.displacement_mm = lambda t: (0.0, 0.0, -3.9 + 4.0 * (t - begin))
    stream.go_on(0.43)
    later = stream.session.guidance(stream.time_s + 0.15)
    assert abs(later.displacement_mm[2]) < 1.8 and later.gate_open is False


@pytest.mark.parametrize(
    ("tool", "kind"), [(NEEDLE, DoubtKind.STALE_NEEDLE), (REFERENCE, DoubtKind.STALE_REFERENCE)]
)
def test_a_tool_that_is_not_heard_of_is_stale_and_is_believed_again_when_it_is(tool, kind):
    stream = started()
    stream.hook = of_tool(tool, lambda event: None)
    assert stream.go_on(0.1).advice is Advice.GO
    said = stream.go_on(0.2)
    assert kind in kinds(said) and said.advice is Advice.HOLD
    assert said.tip_mm is None and said.deviation is None and said.nearest is None and said.pose_age_s is None
    stream.hook = None
    assert stream.go_on(0.2).advice is Advice.GO


@pytest.mark.parametrize("tool", list(TrackedTool))
def test_a_tool_that_the_tracker_does_not_see(tool):
    stream = started()
    stream.hook = of_tool(tool, lambda event: dataclasses.replace(event, X_TA=None))
    said = stream.go_on(0.02)
    assert DoubtKind.NOT_SEEN in kinds(said) and said.advice is Advice.HOLD
    stream.hook = None
    assert stream.go_on(0.1).advice is Advice.GO


@pytest.mark.parametrize(
    ("tool", "kind"), [(NEEDLE, DoubtKind.STALE_NEEDLE), (REFERENCE, DoubtKind.STALE_REFERENCE)]
)
def test_a_tracker_that_repeats_itself_to_the_bit_is_stale(tool, kind):
    stream = started()
    held = []

    def repeat(event):
        held.append(event.X_TA)
        return dataclasses.replace(event, X_TA=held[0])

    stream.hook = of_tool(tool, repeat)
    assert stream.go_on(0.15).advice is Advice.GO
    assert kind in kinds(stream.go_on(0.15))
    # One bit of noise is enough to be alive.
    stream.hook = None
    stream.noise_mm = 1e-9
    assert stream.go_on(0.3).advice is Advice.GO


def test_breathing_that_is_stale_frozen_or_missing():
    stream = started()
    stream.hook = breathing_only(lambda event: None)
    assert stream.go_on(0.1).advice is Advice.GO
    said = stream.go_on(0.3)
    assert DoubtKind.STALE_BREATHING in kinds(said) and said.gate_open is None and said.nearest.now_mm is None
    frozen = started()
    frozen.hook = breathing_only(lambda event: dataclasses.replace(event, displacement_mm=(0.0, 0.0, 0.1)))
    assert frozen.go_on(0.1).advice is Advice.GO
    assert DoubtKind.STALE_BREATHING in kinds(frozen.go_on(0.3))
    without = started(new_session(breathing=False))
    without.hook = breathing_only(lambda event: None)
    assert without.go_on(1.0).advice is Advice.GO
    assert without.guidance().nearest.now_mm == without.guidance().nearest.exhale_mm


def test_a_cough_is_unusual_and_over_after_a_calm():
    stream = started()
    cough, begin = Cough(), stream.time_s + 0.2
    stream.displacement_mm = lambda t: cough.displacement_mm(t, [begin])
    seen = [stream.go_on(1.0 / 60.0) for _ in range(72)]
    assert any(DoubtKind.UNUSUAL_BREATHING in kinds(one) for one in seen)
    # In the middle of it nothing goes, whatever the gate says.
    assert all(one.advice is not Advice.GO for one in seen[24:])
    assert stream.go_on(1.5).advice is Advice.HOLD
    assert stream.go_on(2.5).advice is Advice.GO


def test_a_signal_whose_zero_is_not_end_exhale_is_noticed():
    # Zero at the end of inhalation: the rest of the breath lies towards the head of it.
    stream = started()
    swing = lambda t: 10.0 * np.cos(0.25 * np.pi * t) ** 4  # noqa: E731
    stream.displacement_mm = lambda t: (0.0, 0.0, swing(t))
    assert DoubtKind.UNUSUAL_BREATHING in kinds(stream.go_on(4.0))
    # Drifted: it never comes back to the gate.
    drifted = started()
    drifted.displacement_mm = lambda t: (0.0, 0.0, -4.0 - 8.0 * np.cos(0.25 * np.pi * t) ** 4)
    assert "not come back" in " ".join(doubt.sentence for doubt in drifted.go_on(17.0).doubts)


def test_clocks_that_jump_or_run_back():
    early = started()
    early.hook = of_tool(NEEDLE, lambda event: dataclasses.replace(event, measured_s=event.measured_s + 1.0))
    said = early.go_on(0.1)
    assert DoubtKind.CLOCK in kinds(said) and early.session.counts["needle, measured after it arrived"] > 0
    early.hook = None
    assert early.go_on(0.3).advice is Advice.GO
    # The tracker's clock is set back: all its poses are older than one before.
    back = started()
    back.hook = of_tool(REFERENCE, lambda event: dataclasses.replace(event, measured_s=event.measured_s - 0.5))
    assert DoubtKind.CLOCK in kinds(back.go_on(0.5))
    # The session's own clock runs back: nothing goes until somebody registers again.
    own = started()
    own.time_s -= 0.4
    assert DoubtKind.CLOCK in kinds(own.go_on(2.0))
    own.session.take(registration(own.time_s))
    assert own.go_on(0.5).advice is Advice.GO
    # Asked for a moment long before what has come.
    asked = started()
    assert DoubtKind.CLOCK in kinds(asked.session.guidance(asked.time_s - 0.2))


def test_poses_out_of_order_are_ignored_and_counted():
    stream = started()
    before = stream.guidance()
    old = needle_pose(PLAN.insertions[0], 80.0)
    pose = stream.X_TP @ old
    stream.session.take(pose_event(NEEDLE, stream.time_s - 0.1, stream.time_s + LATENCY_S, pose))
    assert stream.guidance() == before
    assert stream.session.counts["needle, out of order"] == 1


def test_a_jump_stays_until_a_landmark_was_touched():
    stream = started()
    # 12 mm in a sixtieth of a second, where a hand of 200 mm/s comes 8 mm far.
    stream.X_PN = needle_pose(PLAN.insertions[0], 18.0)
    said = stream.go_on(0.02)
    assert DoubtKind.JUMP in kinds(said) and said.advice is Advice.HOLD
    assert stream.go_on(5.0).advice is Advice.HOLD
    touch(stream, off_mm=1.0)
    assert stream.go_on(0.1).advice is Advice.GO
    # The same way at a hand's speed is none.
    slow = started()
    for k in range(12):
        slow.X_PN = needle_pose(PLAN.insertions[0], 30.0 - k)
        said = slow.go_on(0.02)
    assert said.advice is Advice.GO, said.doubts


def test_a_marker_that_flips_is_a_jump_though_the_tip_stays():
    stream = started()
    stream.X_PN = needle_pose(PLAN.insertions[0], 30.0, tilt_deg=12.0)
    assert DoubtKind.JUMP in kinds(stream.go_on(0.02))


def test_a_reference_that_moved_stays_doubtful_until_looked_at():
    stream = started()
    X = stream.X_PR.copy()
    X[:3, 3] += (3.5, 0.0, 0.0)
    stream.X_PR = X
    assert DoubtKind.REFERENCE_MOVED in kinds(stream.go_on(0.05))
    begun_s = stream.time_s
    assert stream.go_on(2.0).advice is Advice.HOLD
    # What was measured before it moved says nothing of where it sits now, however late it is registered.
    stream.session.take(registration(stream.time_s, measured_s=begun_s - 0.3))
    said = stream.go_on(0.5)
    assert DoubtKind.REFERENCE_MOVED in kinds(said) and said.advice is Advice.HOLD
    assert re.search(r"rests on what was measured at 0\.\d+ s", said.doubts[0].sentence)
    stream.session.take(registration(stream.time_s, X, measured_s=begun_s + 0.5))
    assert stream.go_on(0.5).advice is Advice.GO
    small = started()
    small.X_PR = small.X_PR.copy()
    small.X_PR[:3, 3] += (1.0, 0.0, 0.0)
    assert DoubtKind.REFERENCE_MOVED not in kinds(small.go_on(0.05))


def test_a_reference_that_turned_about_a_landmark_is_not_believed_for_touching_it():
    stream = started()
    landmark = np.add(PLAN.insertions[0].tip_mm, (60.0, -60.0, 20.0))
    turn = np.eye(4)
    turn[:3, :3] = rotations_of(np.radians(4.0) * np.array([0.0, 0.0, 1.0]))
    turn[:3, 3] = landmark - turn[:3, :3] @ landmark
    stream.X_PR = turn @ stream.X_PR
    assert DoubtKind.REFERENCE_MOVED in kinds(stream.go_on(0.1))
    begin, way = stream.X_PN.copy(), landmark - stream.X_PN[:3, 3]
    for share in np.linspace(0.0, 1.0, 180):
        stream.X_PN = begin.copy()
        stream.X_PN[:3, 3] += share * way
        stream.go_on(1.0 / 60.0)
    event = LandmarkChecked(stream.now_s, "xiphoid", tuple(landmark))
    assert stream.session.landmark_off_mm(event) < 0.5
    stream.session.take(event)
    assert DoubtKind.REFERENCE_MOVED in kinds(stream.go_on(0.1))


def test_a_reference_that_slips_while_a_registration_is_computed_is_noticed_behind_it():
    stream = started()
    touched_s = stream.time_s - 0.3
    slipped = [X_PR.copy(), X_PR.copy()]
    slipped[0][:3, 3] += (2.0, 0.0, 0.0)
    slipped[1][:3, 3] += (4.0, 0.0, 0.0)
    # Each time by less than what counts, before and behind a registration that rests on what was before both.
    stream.X_PR = slipped[0]
    assert not kinds(stream.go_on(1.0))
    stream.session.take(registration(stream.time_s, measured_s=touched_s))
    assert not kinds(stream.go_on(0.5))
    stream.X_PR = slipped[1]
    assert DoubtKind.REFERENCE_MOVED in kinds(stream.go_on(0.05))


@pytest.mark.parametrize(("order", "sign"), [(1, 1.0), (2, -1.0)])
def test_a_reference_that_slides_along_with_the_needle_that_is_pushed(order, sign):
    stream = started(to_go_mm=60.0, order=order)
    axis = PLAN.insertions[order - 1].direction
    said = []
    for _ in range(60):
        stream.X_PN, stream.X_PR = stream.X_PN.copy(), stream.X_PR.copy()
        stream.X_PN[:3, 3] += sign * 0.2 * axis
        stream.X_PR[:3, 3] += sign * 0.2 * axis
        said.append(stream.go_on(1.0 / 60.0))
    # Told by then by less than what counts as a motion of the reference and its noise.
    assert all(one.advice is Advice.HOLD and DoubtKind.REFERENCE_MOVED in kinds(one) for one in said[17:])
    # Across the axis a needle in tissue goes nowhere by itself: there the patient moves.
    pushed = started(to_go_mm=60.0, order=order)
    aside = np.cross(axis, (0.0, 0.0, 1.0))
    for _ in range(60):
        pushed.X_PN, pushed.X_PR = pushed.X_PN.copy(), pushed.X_PR.copy()
        # The registration holds: patient, reference and needle go together, as seen from the tracker.
        pushed.X_TP = pushed.X_TP.copy()
        pushed.X_TP[:3, 3] += 0.2 * pushed.X_TP[:3, :3] @ aside
        assert pushed.go_on(1.0 / 60.0).advice is Advice.GO


def hidden(event):
    return dataclasses.replace(event, X_TA=None)


@pytest.mark.parametrize(("seconds", "slip_mm"), [(0.15, 25.0), (0.5, 60.0), (3.0, 6.0), (0.15, 6.0)])
@pytest.mark.parametrize("tool", [NEEDLE, REFERENCE])
def test_a_marker_that_slips_while_it_is_hidden_is_a_jump(tool, seconds, slip_mm):
    stream = started(to_go_mm=80.0)
    stream.hook = of_tool(tool, hidden)
    stream.go_on(seconds)
    stream.hook = None
    stream.X_PN = needle_pose(PLAN.insertions[0], 80.0 - slip_mm)
    said = stream.go_on(0.3)
    assert kinds(said) == {DoubtKind.JUMP} and said.advice is Advice.HOLD
    # Hidden as long without having moved it is none.
    still = started(to_go_mm=80.0)
    still.hook = of_tool(tool, hidden)
    still.go_on(seconds)
    still.hook = None
    assert still.go_on(0.3).advice is Advice.GO


def test_a_jump_is_mended_by_a_registration_only_where_all_was_measured_behind_it():
    for measured, advice in ((-0.1, Advice.HOLD), (1.0, Advice.GO)):
        stream = started()
        jumped_s = stream.time_s
        stream.X_PN = needle_pose(PLAN.insertions[0], 18.0)
        stream.go_on(2.0)
        stream.session.take(registration(stream.time_s, measured_s=jumped_s + measured))
        assert stream.go_on(0.5).advice is advice
    # A touched landmark does not wait for that, but must have been touched since.
    stream = started()
    stream.X_PN = needle_pose(PLAN.insertions[0], 18.0)
    stream.go_on(1.0)
    touch(stream)
    assert stream.go_on(0.1).advice is Advice.GO


def test_every_second_pose_refused_never_goes():
    stream, count = started(), 0

    def change(event):
        nonlocal count
        count += 1
        return PoseRefused(NEEDLE, event.received_s, "mirrored") if count % 2 else event

    stream.hook = of_tool(NEEDLE, change)
    assert {stream.go_on(1.0 / 60.0).advice for _ in range(120)} == {Advice.HOLD}
    stream.hook = None
    assert DoubtKind.WRONG_FRAME in kinds(stream.go_on(0.9))
    assert stream.go_on(0.2).advice is Advice.GO


@pytest.mark.parametrize("tool", [NEEDLE, REFERENCE])
def test_a_frame_that_is_sent_again_and_again_says_nothing_of_the_clock(tool):
    stream = started()
    event = next(one for one in stream.events() if one.tool is tool)
    for k in range(25):
        stream.session.take(dataclasses.replace(event, received_s=event.received_s + 1e-3 * k))
    assert stream.session.counts[f"{tool}, repeated"] == 25 and stream.go_on(0.3).advice is Advice.GO


def test_after_a_clock_that_begins_anew_no_breath_of_the_old_one_opens_the_gate():
    stream = started()
    stream.go_on(8.0)
    stream.time_s = 0.1
    assert DoubtKind.CLOCK in kinds(stream.go_on(0.3))
    stream.session.take(registration(stream.now_s))
    stream.session.take(NeedleSelected(stream.now_s, 1))
    stream.displacement_mm = lambda t: (0.0, 0.0, -12.0 * np.sin(0.25 * np.pi * t) ** 2)
    seen = [(stream.go_on(1.0 / 60.0), stream.displacement_mm(stream.time_s)[2]) for _ in range(60 * 7)]
    assert any(said.advice is Advice.WAIT for said, _ in seen)
    assert all(abs(place) < 2.2 for said, place in seen if said.advice is Advice.GO)


def test_doubts_of_a_clock_that_is_no_more_are_mended_on_the_one_that_holds():
    stream = started()
    stream.go_on(8.0)
    X = stream.X_PR.copy()
    X[:3, 3] += (3.5, 0.0, 0.0)
    stream.X_PR = X
    assert DoubtKind.REFERENCE_MOVED in kinds(stream.go_on(0.1))
    stream.time_s = 0.1
    assert kinds(stream.go_on(0.3)) >= {DoubtKind.CLOCK, DoubtKind.REFERENCE_MOVED}
    stream.session.take(registration(stream.now_s, X, measured_s=0.05))
    assert DoubtKind.CLOCK in kinds(stream.go_on(0.5))
    stream.session.take(registration(stream.now_s, X, measured_s=0.3))
    assert stream.go_on(0.5).advice is Advice.GO


def test_a_landmark_beside_its_place_asks_for_a_new_registration():
    stream = started()
    touch(stream, off_mm=2.5)
    assert stream.go_on(0.1).advice is Advice.GO
    touch(stream, "xiphoid", off_mm=4.0)
    said = stream.go_on(0.1)
    assert DoubtKind.REGISTRATION_UNSURE in kinds(said)
    assert re.search(r"xiphoid was found 4\.0 mm", " ".join(doubt.sentence for doubt in said.doubts))
    # One landmark that holds does not mend another, nor does what was measured before.
    touch(stream)
    assert stream.go_on(0.1).advice is Advice.HOLD
    stream.session.take(registration(stream.time_s, measured_s=0.5))
    assert DoubtKind.REGISTRATION_UNSURE in kinds(stream.go_on(0.5))
    stream.session.take(registration(stream.time_s))
    assert stream.go_on(0.5).advice is Advice.GO


def test_registration_is_missing_unknown_too_wide_or_perhaps_mirrored():
    session = new_session()
    session.take(NeedleSelected(0.0, 1))
    stream = Stream(session, needle_pose(PLAN.insertions[0]))
    said = stream.go_on(0.5)
    assert kinds(said) == {DoubtKind.NOT_REGISTERED} and said.tip_mm is None and said.advice is Advice.HOLD
    for unsure in (
        registration(stream.time_s, covariance=None),
        registration(stream.time_s, shift_mm=3.1),
        registration(stream.time_s, unsure=("The points do not show whether one set is mirrored.",)),
    ):
        session.take(unsure)
        said = stream.go_on(0.5)
        assert kinds(said) == {DoubtKind.REGISTRATION_UNSURE}, said.doubts
    session.take(registration(stream.time_s, shift_mm=1.0))
    assert stream.go_on(0.5).advice is Advice.GO
    with pytest.raises(NavigationError, match="register patient"):
        new_session().take(LandmarkChecked(0.0, "a", (0.0, 0.0, 0.0)))


def test_no_needle_is_selected():
    session = new_session()
    session.take(registration())
    stream = Stream(session, needle_pose(PLAN.insertions[0]))
    said = stream.go_on(0.5)
    assert kinds(said) == {DoubtKind.NO_NEEDLE} and said.advice is Advice.HOLD
    assert said.tip_mm is not None and said.deviation is None


def in_metres(pose):
    result = pose.copy()
    result[:3, 3] *= 1e-3
    return result


def flipped(pose):
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ pose @ flip


def reversed_axis(pose):
    turn = np.diag([1.0, -1.0, -1.0, 1.0])
    return pose @ turn


@pytest.mark.parametrize("change", [in_metres, flipped, reversed_axis])
def test_wrong_frames_of_all_poses(change):
    stream = started()
    only_needle = change is reversed_axis

    def wrong(event):
        if not isinstance(event, ToolPose) or (only_needle and event.tool is REFERENCE):
            return event
        return pose_event(event.tool, event.measured_s, event.received_s, change(event.X_TA.matrix))

    stream.session.take(registration(stream.time_s))
    stream.hook = wrong
    said = stream.go_on(0.3)
    assert DoubtKind.WRONG_FRAME in kinds(said) and said.advice in (Advice.HOLD, Advice.STOP)
    stream.hook = None
    stream.session.take(registration(stream.time_s))
    assert stream.go_on(0.3).advice is Advice.GO


def test_a_registration_in_ras_and_one_of_another_place():
    stream = started()
    stream.session.take(registration(stream.time_s, flipped(X_PR)))
    # RAS of the pose: the tip lies on the other side.
    said = stream.go_on(0.3)
    assert said.advice is not Advice.GO
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    stream.session.take(registration(stream.time_s, flip @ X_PR))
    assert "RAS" in " ".join(doubt.sentence for doubt in stream.go_on(0.3).doubts)
    away = X_PR.copy()
    away[:3, 3] += (2000.0, 0.0, 0.0)
    stream.session.take(registration(stream.time_s, away))
    assert "from the body" in " ".join(doubt.sentence for doubt in stream.go_on(0.3).doubts)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([1.01, 1.0, 1.0, 1.0]),
        np.diag([-1.0, 1.0, 1.0, 1.0]),
        np.full((4, 4), np.nan),
        np.eye(3),
        "pose",
        [[1.0, 2.0]],
    ],
)
def test_what_is_no_pose_is_doubt_and_not_an_error_in_the_loop(matrix):
    stream = started()
    event = pose_event(NEEDLE, stream.time_s, stream.time_s + LATENCY_S, matrix)
    assert isinstance(event, PoseRefused)
    stream.session.take(event)
    said = stream.guidance()
    assert DoubtKind.WRONG_FRAME in kinds(said) and said.advice is Advice.HOLD
    # One good pose does not make up for it; a second of them does.
    assert DoubtKind.WRONG_FRAME in kinds(stream.go_on(0.9))
    assert stream.go_on(0.2).advice is Advice.GO
    assert isinstance(pose_event(NEEDLE, float("nan"), 1.0, np.eye(4)), PoseRefused)


def test_off_plan_in_angle_beside_and_too_deep():
    for pose, words in (
        ({"tilt_deg": 6.0, "to_go_mm": 5.0}, "turned by 6.0"),
        ({"aside_mm": 5.5}, "beside its plan"),
        ({"to_go_mm": -1.5}, "deeper than planned"),
    ):
        said = started(**pose).guidance()
        assert kinds(said) >= {DoubtKind.OFF_PLAN} and said.advice in (Advice.HOLD, Advice.STOP)
        assert words in " ".join(doubt.sentence for doubt in said.doubts)
    said = started(tilt_deg=95.0, to_go_mm=5.0).guidance()
    assert said.to_go_mm is None and said.predicted_lateral_mm is None and DoubtKind.OFF_PLAN in kinds(said)
    for pose in ({"tilt_deg": 4.5, "to_go_mm": 5.0}, {"aside_mm": 4.5}, {"to_go_mm": -0.8}):
        assert not kinds(started(**pose).guidance())


def test_structures_near_ahead_and_touched():
    # The vein lies some 18 mm beside the way ahead, and farther from where the needle is.
    free = started().guidance()
    assert free.nearest.ahead_mm < free.nearest.exhale_mm
    wide = started(new_session(clearance_mm=free.nearest.ahead_mm + 1.0))
    said = wide.guidance()
    assert kinds(said) == {DoubtKind.NEAR_STRUCTURE} and said.advice is Advice.HOLD
    assert "will pass" in said.doubts[0].sentence and "hepatic vein" in said.doubts[0].sentence
    # Without the registration's error the clearance would hold: it counts besides.
    error = registration().covariance.tre_mm(PLAN.insertions[0].tip_mm)
    assert started(new_session(clearance_mm=free.nearest.ahead_mm - 0.5 * error)).guidance().doubts
    assert not started(new_session(clearance_mm=free.nearest.ahead_mm - 1.5 * error)).guidance().doubts
    # A needle that passes through the vein is stopped, whatever else is wrong.
    through = started()
    through.X_PN[:3, 3] = np.array([50.0, -25.0, 120.0]) + 5.0 * through.X_PN[:3, 2]
    said = through.go_on(0.1)
    assert said.advice is Advice.STOP and said.nearest.name == "hepatic vein"
    assert said.nearest.exhale_mm < 0.0 and said.nearest.now_mm < 0.0


def test_somebody_says_stop_and_it_holds_until_a_needle_is_selected():
    stream = started()
    stream.session.take(SessionHeld(stream.now_s, "The radiologist said stop."))
    said = stream.go_on(1.0)
    assert said.advice is Advice.STOP and kinds(said) == {DoubtKind.HELD}
    stream.session.take(registration(stream.time_s))
    assert stream.go_on(0.5).advice is Advice.STOP
    stream.session.take(NeedleSelected(stream.now_s, 1))
    assert stream.go_on(0.1).advice is Advice.GO


def test_without_a_reference_poses_come_in_its_frame():
    session = new_session(reference=False)
    stream = started(session)
    # What the stream sends as the needle's pose is in the reference's frame.
    stream.X_TP = np.linalg.inv(X_PR)
    stream.hook = of_tool(REFERENCE, lambda event: None)
    session.take(registration(stream.time_s))
    said = stream.go_on(0.5)
    assert said.advice is Advice.GO and said.to_go_mm == pytest.approx(30.0, abs=0.1), said.doubts
    assert any("reference is not watched" in sentence for sentence in session.statements)
    stream.hook = lambda event: None
    assert DoubtKind.STALE_NEEDLE in kinds(stream.go_on(0.5))


FAULTS = {
    "needle lost": of_tool(NEEDLE, lambda event: None),
    "reference lost": of_tool(REFERENCE, lambda event: None),
    "needle hidden": of_tool(NEEDLE, lambda event: dataclasses.replace(event, X_TA=None)),
    "reference hidden": of_tool(REFERENCE, lambda event: dataclasses.replace(event, X_TA=None)),
    "breathing lost": breathing_only(lambda event: None),
    "deep breath": breathing_only(lambda event: dataclasses.replace(event, displacement_mm=(0.0, 0.0, -9.0))),
    "clock ahead": of_tool(NEEDLE, lambda e: dataclasses.replace(e, measured_s=e.measured_s + 0.3)),
    "clock behind": of_tool(REFERENCE, lambda e: dataclasses.replace(e, measured_s=e.measured_s - 0.5)),
    "late": of_tool(NEEDLE, lambda e: dataclasses.replace(e, measured_s=max(0.0, e.measured_s - 0.5))),
    "metres": of_tool(NEEDLE, lambda e: pose_event(e.tool, e.measured_s, e.received_s, in_metres(e.X_TA.matrix))),
    "hub first": of_tool(
        NEEDLE, lambda e: pose_event(e.tool, e.measured_s, e.received_s, reversed_axis(e.X_TA.matrix))
    ),
    "sheared": of_tool(NEEDLE, lambda e: pose_event(e.tool, e.measured_s, e.received_s, 1.01 * e.X_TA.matrix)),
    "jumped": of_tool(NEEDLE, lambda e: pose_event(e.tool, e.measured_s, e.received_s, _shifted(e.X_TA.matrix))),
    "reference moved": of_tool(
        REFERENCE, lambda e: pose_event(e.tool, e.measured_s, e.received_s, _shifted(e.X_TA.matrix))
    ),
}


def _shifted(pose):
    result = pose.copy()
    result[:3, 3] += (9.0, -9.0, 9.0)
    return result


@pytest.mark.long
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    faults=st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=3, unique=True),
    to_go=st.floats(5.0, 40.0),
    aside=st.floats(0.0, 3.0),
    seconds=st.floats(0.25, 0.8),
)
def test_with_any_fault_nothing_ever_goes(faults, to_go, aside, seconds):
    stream = started(to_go_mm=to_go, aside_mm=aside)
    assert stream.guidance().advice is Advice.GO

    def all_of(event):
        for name in faults:
            # A fault that made no pose of it leaves nothing for the next to change.
            if event is None or isinstance(event, PoseRefused) or getattr(event, "X_TA", 0) is None:
                break
            event = FAULTS[name](event)
        return event

    stream.hook = all_of
    # A pose may be lost for as long as it is not stale.
    stream.go_on(0.33)
    for k in range(round(60 * seconds)):
        if k == 5:
            # Registered again by what was measured before.
            stream.session.take(registration(stream.now_s, measured_s=0.5))
        said = stream.go_on(1.0 / 60.0)
        assert said.advice not in (Advice.GO, Advice.ARRIVED), (faults, said)
        assert said.doubts
        assert all(doubt.sentence.endswith(".") for doubt in said.doubts)
        assert stream.session.take(GuidanceAsked(stream.now_s)) == said


@settings(max_examples=40, deadline=None, derandomize=True)
@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=16, max_size=16))
def test_no_matrix_breaks_the_loop(values):
    session = new_session()
    session.take(registration())
    session.take(NeedleSelected(0.0, 1))
    for tool in TrackedTool:
        session.take(pose_event(tool, 0.1, 0.1, np.reshape(values, (4, 4))))
    assert session.guidance(0.1).advice is not Advice.GO


def test_options_out_of_range_are_refused():
    for given_options in ({"gate_mm": 0.0}, {"pose_age_s": -1.0}, {"angle_deg": float("nan")}, {"breathing": 1}):
        with pytest.raises(OptionError):
            SessionOptions(**given_options)
