"""The heart of the server: what clients send, and what they are told."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import EPOCH_S, PATIENT, Rig, shown

from needleplan.app.folder import PlanFolder
from needleplan.app.serve.commands import COMMANDS, MAXIMUM_COMMAND
from needleplan.app.serve.opening import stated_registration
from needleplan.app.serve.options import OWN_DEVICES, PoseFrame, SenderClock, ServeOptions
from needleplan.errors import OptionError
from needleplan.frames import Frame
from needleplan.io.openigtlink.array_bodies import NumberArray, Sensor
from needleplan.io.openigtlink.coordinates import points_from_wire, pose_from_wire
from needleplan.io.openigtlink.pose_bodies import Position, TrackedTool, TrackingData, Transform
from needleplan.io.openigtlink.text_bodies import Request, StatusCode, Text
from needleplan.navigation.recorded_session import replay
from needleplan.navigation.session_log import read_log
from tests.navigation.guided_needle import LATENCY_S, PLAN, new_session

HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def rig(tmp_path):
    found = Rig(tmp_path)
    found.connect(1)
    yield found
    found.recorded.close()


def test_a_needle_on_its_plan_is_told_to_go_and_where_it_is(rig):
    assert rig.command("select 1")["ok"]
    said = rig.go_on(0.6)
    assert said["advice"] == "go" and said["order"] == 1 and not said["doubts"]
    np.testing.assert_allclose(said["tip_mm"], rig.X_PN[:3, 3], atol=0.1)
    pose = pose_from_wire(rig.messages("NeedleInPatient")[-1].body, Frame.PATIENT, Frame.NEEDLE)
    np.testing.assert_allclose(pose.translation, rig.X_PN[:3, 3], atol=0.1)
    np.testing.assert_allclose(pose.rotation[:, 2], rig.X_PN[:3, 2], atol=1e-3)
    advice = rig.messages("Guidance", kind="STATUS")[-1].body
    assert (advice.code, advice.name) == (StatusCode.OK, "go")


def test_all_that_is_said_is_recorded_and_told_again_the_same(rig, tmp_path):
    rig.command("select 1")
    rig.go_on(0.5)
    rig.command("stop", peer=1)
    rig.go_on(0.2)
    rig.recorded.close()
    again = replay(read_log(tmp_path / "session.log"), new_session())
    assert again.equal and again.answers > 30


@pytest.mark.parametrize("broken", ["nan", "scaled", "mirrored", "metres"])
def test_what_is_no_pose_never_lets_the_needle_go_on(rig, broken):
    rig.command("select 1")
    assert rig.go_on(0.6)["advice"] == "go"
    pose = np.array(rig.X_PN)
    if broken == "nan":
        pose[0, 3] = np.nan
    elif broken == "scaled":
        pose[:3, :3] *= 1.1
    elif broken == "mirrored":
        pose[:3, 0] *= -1.0
    else:
        rig.X_TP[:3, 3] *= 1e-3
        rig.X_PR[:3, 3] *= 1e-3
        pose[:3, 3] *= 1e-3
    rig.X_PN = pose
    assert rig.go_on(0.1)["advice"] in ("hold", "stop")


def test_a_tracker_that_says_it_does_not_see_the_needle_is_believed(rig):
    rig.command("select 1")
    rig.go_on(0.6)
    rig.time_s += 1 / 60
    body = Transform(rig.X_TP @ rig.X_PN)
    rig.send("Needle", body, version=2, metadata=(("TransformStatus", "MISSING"),))
    rig.tick()
    assert rig.guidance()["advice"] == "hold"
    assert "tool not seen" in [doubt["kind"] for doubt in rig.guidance()["doubts"]]
    rig.time_s += 1 / 60
    rig.send("Needle", body, version=2, metadata=(("TransformStatus", "OK"),))
    rig.tick()
    assert "tool not seen" not in [doubt["kind"] for doubt in rig.guidance()["doubts"]]


@pytest.mark.parametrize(
    ("body", "displacement"),
    [
        (Sensor(np.array([7.0])), (0.0, 0.0, -7.0)),
        (Sensor(np.array([1.0, 2.0, -7.0])), (-1.0, -2.0, -7.0)),
        (Position(np.array([1.0, 2.0, -7.0])), (-1.0, -2.0, -7.0)),
        (NumberArray(np.array([1.0, 2.0, -7.0])), (-1.0, -2.0, -7.0)),
        (NumberArray(np.array([[7.0]], np.float32)), (0.0, 0.0, -7.0)),
    ],
)
def test_breathing_comes_in_three_ways_and_turns_from_ras_to_lps(rig, body, displacement):
    taken = []
    rig.recorded.session.take, kept = (lambda event: taken.append(event)), rig.recorded.session.take
    rig.send("Breathing", body)
    rig.recorded.session.take = kept
    np.testing.assert_allclose(taken[0].displacement_mm, displacement, atol=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        Sensor(np.array([np.nan])),
        Sensor(np.array([1.0]), unit=1 << 54),  # metres
        Sensor(np.array([1.0, 2.0])),
        Sensor(np.empty(0)),
        NumberArray(np.zeros((40, 3))),
        NumberArray(np.zeros(3, np.complex128)),
        Text("1 mm"),
    ],
)
def test_breathing_that_is_none_is_counted_and_not_guessed(rig, body):
    before = sum(rig.served.ignored.values())
    rig.send("Breathing", body)
    assert sum(rig.served.ignored.values()) == before + 1


def test_one_client_changes_the_session_and_the_others_look(rig):
    rig.connect(2)
    assert rig.command("select 1", peer=1)["ok"]
    refused = rig.command("select 2", peer=2)
    assert not refused["ok"] and "client 1 has control" in refused["error"]
    assert rig.recorded.session.order == 1
    assert rig.command("status", peer=2)["control"] == 1
    assert rig.command("release", peer=1)["ok"]
    assert rig.command("select 2", peer=2)["ok"] and rig.recorded.session.order == 2
    rig.tick()
    # Everybody is told, without asking.
    assert rig.texts("Session", peer=1)[-1]["order"] == 2
    rig.served.left(2)
    assert rig.command("select 1", peer=1)["ok"]


def test_everybody_may_say_stop_and_only_a_selection_undoes_it(rig):
    rig.connect(2)
    rig.command("select 1", peer=1)
    assert rig.go_on(0.6)["advice"] == "go"
    assert rig.command("stop", peer=2)["ok"]
    assert rig.go_on(0.1)["advice"] == "stop"
    assert rig.messages("Guidance", kind="STATUS")[-1].body.code == StatusCode.PANIC
    assert rig.go_on(0.5)["advice"] == "stop"
    assert rig.command("select 1", peer=1)["ok"]
    assert rig.go_on(0.1)["advice"] == "go"


def test_samples_of_a_second_sender_are_not_mixed_in(rig):
    rig.connect(2)
    rig.command("select 1")
    assert rig.go_on(0.6)["advice"] == "go"
    rig.said.clear()
    for _ in range(20):
        rig.send("Needle", Transform(np.diag([1.0, -1.0, -1.0, 1.0])), peer=2)
    assert rig.go_on(0.1)["advice"] == "go"
    warned = rig.messages("needleplan", peer=2, kind="STATUS")
    assert len(warned) == 1 and "client 1" in warned[0].body.sentence
    rig.served.left(1)
    rig.connect(1)
    rig.send("Needle", Transform(rig.X_TP @ rig.X_PN), peer=2)
    assert rig.command("status")["senders"]["Needle"] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("selct 1", "did you mean 'select'"),
        ("", "there are help"),
        ("select", "write 'select N'"),
        ("select one", "by its number"),
        ("select 99", "no needle 99"),
        ("select -1", "by its number"),
        ("placed", "select one"),
        ("delivered 1", "say 'placed' first"),
        ("check pelvis", "no fiducial of that name"),
        ("register", "3 or more"),
        ("register skin", "stroke it first"),
        ("register now", "not by 'now'"),
        ("guidance maybe", "on or off"),
        ("route", "no route of a robot"),
        ("\x00\x07\x1b[2J", "there are help"),
        ('{"a":' * 60, "no command"),
        ("status " + "x" * 1000, f"at most {MAXIMUM_COMMAND}"),
    ],
)
def test_a_command_that_cannot_be_is_answered_in_a_sentence(rig, text, words):
    answer = rig.command(text)
    assert not answer["ok"] and words in answer["error"]
    # The echo is printable and short.
    assert len(answer["command"]) < 130 and answer["command"].isprintable()
    assert rig.messages("Command", kind="STATUS")[-1].body.code == StatusCode.UNKNOWN_INSTRUCTION


def test_every_command_is_explained(rig):
    assert set(rig.command("help")["commands"]) == {kind.usage for kind in COMMANDS.values()}


def test_a_needle_is_placed_delivers_and_is_scored(rig):
    rig.command("select 1")
    rig.X_PN[:3, 3] = PLAN.insertions[0].tip_mm
    assert rig.go_on(0.6)["advice"] == "arrived"
    placed = rig.command("placed")
    assert placed["ok"] and placed["order"] == 1
    np.testing.assert_allclose(placed["tip_mm"], PLAN.insertions[0].tip_mm, atol=0.1)
    assert not rig.command("delivered 1 60")["ok"]
    assert not rig.command("delivered 1 nan 300")["ok"]
    told = rig.command("delivered 1")
    assert [one["power_w"] for one in told["ablations"]] == [60.0, 60.0]
    own = rig.command("delivered 1 45 200 10")["ablations"][0]
    assert (own["power_w"], own["duration_s"]) == (45.0, 200.0)
    np.testing.assert_allclose(np.linalg.norm(np.subtract(own["tip_mm"], placed["tip_mm"])), 10.0)
    assert rig.command("assess")["state"] == "started"
    rig.jobs.work()
    rig.tick()
    scores = rig.answers()[-1]["scores"]
    assert 0.0 < scores["delivered"]["target_coverage_fraction"] <= 1.0
    assert scores["expected"]["zone_ml"] >= scores["delivered"]["zone_ml"]


def test_patient_and_reference_are_registered_by_touched_fiducials_and_checked(tmp_path):
    rig = Rig(tmp_path, registered=False)
    rig.connect(1)
    assert rig.go_on(0.3)["advice"] == "hold"
    assert "did you" not in rig.command("touch xiphoid")
    assert "being touched" in rig.command("touch navel")["error"]
    rig.go_on(2.2)
    assert rig.touch_all()["still_to_touch"] == []
    oldest_s = rig.time_s
    assert rig.command("register")["state"] == "started"
    assert "computed" in rig.command("register")["error"]
    rig.jobs.work()
    rig.go_on(0.3)
    told = rig.answers()[-1]
    assert told["ok"] and told["error_mm"] < 0.1 and told["doubts"] == []
    assert rig.recorded.session.registration.oldest_s < oldest_s - 10.0
    found = rig.recorded.session.registration.X_PR.matrix
    np.testing.assert_allclose(found, rig.X_PR, atol=0.2)
    held = rig.command("check flank")
    assert held["holds"] and held["off_mm"] < 0.5
    rig.X_PN[0, 3] += 8.0
    rig.go_on(0.3)
    off = rig.command("check flank")
    assert not off["holds"] and off["off_mm"] == pytest.approx(8.0, abs=0.5)
    rig.command("select 1")
    assert rig.go_on(0.1)["advice"] != "go"
    rig.recorded.close()


def test_a_new_plan_is_adopted_and_shown_to_all_unless_the_treatment_went_on_meanwhile(rig):
    from needleplan.app.serve.jobs import JobDone
    from needleplan.navigation.events import PlanReplaced

    rig.connect(2)
    rig.command("replan")
    new = JobDone(None, PlanReplaced(0.0, PLAN.insertions[:1], ("One needle is enough.",)))
    assert "no plan was proposed" in rig.command("adopt")["error"]
    rig.jobs.result = new
    rig.tick()
    assert rig.answers()[-1]["orders"] == [1] and "proposal" in rig.answers()[-1]
    # Nothing changes before people say so.
    assert rig.recorded.session.planned == PLAN.insertions
    rig.said.clear()
    assert rig.command("adopt")["ok"]
    rig.tick()
    assert len(rig.messages("Plan", peer=2, kind="TRAJ")[0].body.trajectories) == 1
    assert rig.texts("Session", peer=2)[-1]["needles"] == [{"order": 1, "placed": False, "delivered": False}]
    rig.command("replan")
    rig.command("select 1")
    rig.jobs.result = JobDone(None, PlanReplaced(0.0, PLAN.insertions, ()))
    rig.tick()
    assert "went on" in rig.answers()[-1]["error"] and len(rig.recorded.session.planned) == 1
    assert not rig.command("adopt")["ok"]


def test_clients_get_plan_zones_and_label_map_in_ras(tmp_path):
    rig = Rig(tmp_path, shown=shown(PlanFolder(tmp_path)))
    rig.connect(1)
    paths = rig.messages("Plan", kind="TRAJ")[0].body.trajectories
    points = {one.name: one.position_mm for one in rig.messages("Plan", kind="POINT")[0].body.points}
    for planned, path in zip(PLAN.insertions, paths, strict=True):
        np.testing.assert_allclose(points_from_wire(path.entry_mm), planned.entry_mm, atol=1e-4)
        np.testing.assert_allclose(points_from_wire(path.target_mm), planned.tip_mm, atol=1e-4)
        np.testing.assert_allclose(points[f"Needle {planned.order} target"], path.target_mm)
        pose = pose_from_wire(rig.messages(f"PlannedNeedle{planned.order}")[0].body, Frame.PATIENT, Frame.NEEDLE)
        np.testing.assert_allclose(pose.translation, planned.tip_mm, atol=1e-4)
        np.testing.assert_allclose(pose.rotation[:, 2], planned.direction, atol=1e-6)
        surface = rig.messages(f"Zone{planned.order}", kind="POLYDATA")[0].body
        zone = PATIENT.zone_model.zone((planned,))
        # Surfaces of overlapping ablations bound their union together.
        places = points_from_wire(surface.points_mm)
        assert zone.signed_distance_mm(places).min() > -1e-3
        np.testing.assert_allclose([places.min(axis=0), places.max(axis=0)], zone.bounds_mm, atol=1.0)
    assert not rig.messages("Zones", kind="IMAGE")
    rig.send("any", Request("GET_IMAGE"))
    image = rig.messages("Zones", kind="IMAGE")[0].body
    index = np.argwhere(image.values == 1)[::97][:, ::-1]
    places = points_from_wire(index @ image.voxel_to_world[:3, :3].T + image.voxel_to_world[:3, 3])
    assert len(index) and PATIENT.zone_model.zone((PLAN.insertions[0],)).contains(places).all()
    rig.said.clear()
    rig.send("any", Request("GET_TRAJ"))
    rig.send("any", Request("GET_TRANS"))
    assert [one.type_name for _, one in rig.said] == ["TRAJ", "TRANSFORM", "TRANSFORM"]
    rig.send("any", Request("GET_NDARRAY"))
    assert rig.said[-1][1].body.code == StatusCode.NOT_FOUND
    rig.recorded.close()


def test_a_client_may_leave_guidance_out(rig):
    rig.connect(2)
    rig.send("any", Request("STP_STRING"), peer=2)
    assert rig.messages("Guidance", peer=2, kind="RTS_STRING")[0].body.accepted
    assert rig.command("guidance off", peer=1)["ok"]
    rig.said.clear()
    rig.tick()
    assert not rig.texts("Guidance", 1) and not rig.texts("Guidance", 2)
    rig.send("any", Request("STT_STRING"), peer=2)
    rig.tick()
    assert rig.texts("Guidance", 2) and not rig.texts("Guidance", 1)
    rig.send("any", Request("STT_COLORT"), peer=2)
    assert not rig.messages("Guidance", peer=2, kind="RTS_COLORT")[0].body.accepted


def test_a_flood_of_commands_is_dropped_and_told_once(rig):
    rig.said.clear()
    for _ in range(500):
        rig.send("Command", Text("status"))
    assert len(rig.answers()) <= ServeOptions().requests_per_s + 1
    told = [one for one in rig.messages("needleplan") if one.body.code == StatusCode.OVERFLOW]
    assert len(told) == 1
    # Stop is heard all the same.
    assert rig.command("stop")["held"]
    assert rig.go_on(0.1)["advice"] == "stop"
    rig.go_on(1.1)
    assert rig.command("status")["not_used"]["too many requests"] > 400


def test_tracking_data_name_their_tools(rig):
    rig.command("select 1")
    rig.go_on(0.6)
    for _ in range(30):
        rig.time_s += 1 / 60
        tools = [("Needle", rig.X_PN), ("Reference", rig.X_PR), ("Other", np.eye(4))]
        body = TrackingData(tuple(TrackedTool(name, rig.shaken(rig.X_TP @ X)) for name, X in tools))
        rig.send("Tracker", body)
        rig.send("Breathing", Sensor(np.array([0.05 * rig.rng.standard_normal()])))
        rig.tick()
    assert rig.guidance()["advice"] == "go" and rig.guidance()["pose_age_s"] < 0.05


@pytest.mark.parametrize(
    ("clock", "shift_s", "advice"),
    [
        (SenderClock.SHARED, 0.0, "go"),
        (SenderClock.SHARED, 5.0, "hold"),  # poses of the future
        (SenderClock.SHARED, -5.0, "hold"),  # old ones
        (SenderClock.OWN, 5000.0, "go"),
        (SenderClock.ARRIVAL, 5000.0, "go"),
    ],
)
def test_whose_clock_is_believed_is_stated_and_never_mended(tmp_path, clock, shift_s, advice):
    rig = Rig(tmp_path, ServeOptions(clock=clock))
    rig.connect(1)
    rig.command("select 1")
    rig.stamp_shift_s = shift_s
    assert rig.go_on(2.0)["advice"] == advice
    if clock is SenderClock.OWN:
        # A clock that jumps after it was judged is doubt, either way.
        rig.stamp_shift_s += 0.6
        assert rig.go_on(0.3)["advice"] == "hold"
        rig.stamp_shift_s -= 1.2
        assert rig.go_on(0.3)["advice"] == "hold"
    rig.recorded.close()


def test_a_pose_without_a_stamp_is_doubt(rig):
    rig.command("select 1")
    rig.go_on(0.6)
    rig.time_s += 1 / 60
    rig.stamp_shift_s = -EPOCH_S - rig.time_s
    rig.send("Needle", Transform(rig.X_TP @ rig.X_PN))
    rig.tick()
    assert "no time stamp" in rig.guidance()["doubts"][0]["sentence"]


def test_poses_in_the_patient_need_no_reference_and_are_turned_from_ras(tmp_path):
    options = ServeOptions(poses=PoseFrame.PATIENT, registration_mm=0.3)
    rig = Rig(tmp_path, options, registered=False)
    rig.connect(1)
    rig.recorded.take(stated_registration(PATIENT, None, options, 0.1))
    rig.command("select 1")
    for _ in range(40):
        rig.time_s += 1 / 60
        rig.send("Needle", Transform(HALF_TURN @ rig.shaken(rig.X_PN)))
        rig.send("Breathing", Sensor(np.array([0.05 * rig.rng.standard_normal()])))
        rig.tick()
    said = rig.guidance()
    assert said["advice"] == "go"
    np.testing.assert_allclose(said["tip_mm"], rig.X_PN[:3, 3], atol=0.1)
    # The same poses in LPS are not taken for it.
    for _ in range(40):
        rig.time_s += 1 / 60
        rig.send("Needle", Transform(rig.shaken(rig.X_PN)))
        rig.tick()
    assert rig.guidance()["advice"] in ("hold", "stop")
    rig.recorded.close()


def test_a_registration_that_is_handed_in_without_its_error_lets_nothing_go_on(tmp_path):
    options = ServeOptions(poses=PoseFrame.PATIENT)
    event = stated_registration(PATIENT, None, options, 0.1)
    assert event.covariance is None
    with pytest.raises(OptionError, match="leave one"):
        stated_registration(PATIENT, tmp_path / "x.tfm", options, 0.1)
    assert stated_registration(PATIENT, None, ServeOptions(), 0.1) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"needle": "Reference"}, "names of their own"),
        ({"needle": ""}, "1 to 20"),
        ({"needle": "N" * 21}, "1 to 20"),
        ({"breathing": OWN_DEVICES[0]}, "server's own"),
        ({"rate_hz": float("nan")}, "rate_hz"),
        ({"rate_hz": 1e9}, "rate_hz"),
        ({"registration_mm": -1.0}, "registration_mm"),
        ({"breathing_direction": (0.0, 0.0, 0.0)}, "not all zero"),
    ],
)
def test_impossible_options_are_refused(changed, words):
    with pytest.raises(OptionError, match=words):
        ServeOptions(**changed)


def test_no_name_of_a_file_or_folder_is_sent(rig, tmp_path):
    rig.command("status")
    rig.command("select 1")
    rig.go_on(0.1)
    for _, message in rig.said:
        assert str(tmp_path).encode() not in message.encode()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    texts=st.lists(
        st.one_of(
            st.text(max_size=40),
            st.builds(
                lambda name, rest: f"{name} {rest}",
                st.sampled_from(sorted(COMMANDS)),
                st.one_of(st.text(max_size=20), st.sampled_from(["1", "2", "skin", "xiphoid", "1 60 300", "on"])),
            ),
        ),
        max_size=6,
    )
)
def test_no_command_whatever_raises_or_ends_in_go_without_a_needle(tmp_path_factory, texts):
    rig = Rig(tmp_path_factory.mktemp("served"))
    rig.connect(1)
    for text in texts:
        rig.send("Command", Text(text.encode("utf-8", "replace").decode()))
        rig.tick()
    # No pose came, so nothing says go.
    assert all(one["advice"] in ("hold", "stop") for one in rig.texts("Guidance"))
    assert len(rig.answers()) >= len(texts)
    json.dumps(rig.answers(), allow_nan=False)
    rig.recorded.close()


def test_latency_is_part_of_what_a_pose_is(rig):
    rig.command("select 1")
    rig.go_on(0.6)
    assert rig.guidance()["pose_age_s"] == pytest.approx(LATENCY_S + 0.002, abs=1e-3)
