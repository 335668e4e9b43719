"""Route, label map and fiducials as a server has them, and the mailbox between its threads."""

import json

import numpy as np
import pytest
from served import FIDUCIALS, PATIENT, Rig

from needleplan.app.folder import PlanFolder
from needleplan.app.serve.mailbox import Mailbox
from needleplan.app.serve.opening import fiducials_of, new_session, open_recorded, what_is_shown
from needleplan.app.serve.options import ServeOptions
from needleplan.app.serve.outgoing import ADVICE_CODES
from needleplan.app.serve.plan_messages import route_messages
from needleplan.app.serve.sender_clock import SETTLE_S, SenderClock, SenderClocks
from needleplan.errors import CaseError, NavigationError, OptionError, PlanFileError
from needleplan.io.openigtlink.connection import Peer
from needleplan.io.openigtlink.link import Received
from needleplan.io.openigtlink.messages import Message, decode_message
from needleplan.io.openigtlink.pose_bodies import Transform
from needleplan.io.openigtlink.text_bodies import StatusCode, Text
from needleplan.io.slicer_markups import MarkupList, MarkupPoint, write_markups
from needleplan.navigation.guidance import Advice

ROUTE = {
    "schema": "needleplan.route",
    "version": 1,
    "robot": "two joints",
    "joint_names": ["a", "b", "driver"],
    "base_in_world": np.eye(4).tolist(),
    "insertions": [
        {
            "order": 1,
            "segments": [
                {"phase": "approach", "time_s": [0.0, 1.0], "positions": [[0.0, 0.1, 0.0], [0.2, 0.3, 0.0]]},
                {"phase": "insert", "time_s": [0.0, 2.0], "positions": [[0.2, 0.3, 0.0], [0.2, 0.3, 0.1]]},
            ],
        },
        {"order": 2, "status": "unreached"},
    ],
}


def written(path, **changes):
    path.write_text(json.dumps(ROUTE | changes), encoding="utf-8")
    return path


def test_a_route_is_rows_over_time_with_named_columns(tmp_path):
    rows, names = (decode_message(one.encode()) for one in route_messages(written(tmp_path / "route.json"), [1, 2]))
    assert (rows.device, names.device) == ("Route1", "RouteNames")
    np.testing.assert_allclose(rows.body.values[:, 0], [0.0, 1.0, 1.0, 3.0])
    np.testing.assert_allclose(rows.body.values[-1, 1:], [0.2, 0.3, 0.1])
    said = json.loads(names.body.text)
    assert said["columns"] == ["time_s", "a", "b", "driver"]
    assert said["needles"] == [{"order": 1, "phases": {"approach": 0, "insert": 2}}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": "needleplan.plan"}, "schema must say"),
        ({"insertions": [{"order": 7}]}, "needle 7"),
        ({"insertions": [{"order": 1, "segments": [{"phase": "insert"}]}]}, "damaged"),
        (
            {"insertions": [{"order": 1, "segments": [{"phase": "x", "time_s": [0], "positions": [[1]]}]}]},
            "damaged",
        ),
        ({"insertions": 5}, "damaged"),
        ({"joint_names": None}, "damaged"),
        ({"robot": "x" * 70_000}, "too long"),
    ],
)
def test_a_route_that_is_none_or_of_another_plan_is_refused(tmp_path, changes, words):
    with pytest.raises(PlanFileError, match=words):
        route_messages(written(tmp_path / "route.json", **changes), [1, 2])


def test_the_route_of_the_folder_or_of_a_named_robot_is_shown(tmp_path):
    folder, session = PlanFolder(tmp_path), new_session(PATIENT, ServeOptions())
    assert what_is_shown(PATIENT, folder, None, session).route == ()
    written(folder.route)
    assert len(what_is_shown(PATIENT, folder, None, session).route) == 2
    for name in ("arm", "../.."):
        with pytest.raises(OptionError, match="there are none"):
            what_is_shown(PATIENT, folder, name, session)
    (folder.robots / "arm").mkdir(parents=True)
    written(folder.robots / "arm" / "route.json", robot="the arm")
    assert "the arm" in what_is_shown(PATIENT, folder, "arm", session).route[-1].body.text


def test_fiducials_are_named_points_of_a_markups_file(tmp_path):
    path = tmp_path / "markers.mrk.json"
    points = tuple(MarkupPoint(name, np.array(place)) for name, place in FIDUCIALS.items())
    write_markups(path, [MarkupList("markers", points)])
    found = fiducials_of(path)
    assert list(found) == list(FIDUCIALS)
    np.testing.assert_allclose(list(found.values()), list(FIDUCIALS.values()), atol=1e-4)
    assert fiducials_of(None) == {}
    for label in ("skin", "xiphoid", "  "):
        write_markups(path, [MarkupList("markers", (*points, MarkupPoint(label, np.zeros(3))))])
        with pytest.raises(CaseError, match=r"markers\.mrk\.json"):
            fiducials_of(path)


def test_the_skin_is_stroked_only_after_a_registration_and_with_enough_places(tmp_path):
    rig = Rig(tmp_path)
    rig.connect(1)
    assert rig.command("touch skin")["lasts_s"] == ServeOptions().skin_s
    rig.time_s += ServeOptions().skin_s + 1.0
    rig.tick()
    assert "are needed" in rig.answers()[-1]["error"]
    rig.recorded.close()


def test_own_clocks_are_judged_by_their_first_second_and_then_kept():
    clocks = SenderClocks(SenderClock.OWN, 0.0)
    assert clocks.measured_s("tracker", 100.0, 1.030) == pytest.approx(1.030)
    # A quicker message shows that the first was late.
    assert clocks.measured_s("tracker", 100.5, 1.510) == pytest.approx(1.510)
    assert clocks.measured_s("tracker", 100.6, 1.640) == pytest.approx(1.610)
    late_s = 1.030 + SETTLE_S + 1.0
    assert clocks.measured_s("tracker", 105.0, late_s) == pytest.approx(6.010)
    clocks.forget()
    assert clocks.measured_s("tracker", 105.0, late_s) == pytest.approx(late_s)
    assert clocks.measured_s("tracker", 0.0, 9.0) is None
    assert SenderClocks(SenderClock.ARRIVAL, 0.0).measured_s("tracker", 0.0, 9.0) == 9.0
    assert SenderClocks(SenderClock.SHARED, 1000.0).measured_s("tracker", 1009.5, 77.0) == 9.5


def received(peer, device, body, at_s):
    return Received(Message(device, body), Peer(peer, "127.0.0.1:1"), at_s)


def test_a_mailbox_keeps_the_newest_samples_of_each_and_crowds_nobody_out():
    box = Mailbox()
    for k in range(5000):
        box.put(received(1, "Needle", Transform(np.eye(4)), float(k)))
        box.put(received(1, f"Device{k}", Transform(np.eye(4)), float(k)))
        box.put(received(1, "Command", Text("status"), float(k)))
    box.put(received(2, "Command", Text("stop"), 2.5))
    found = box.take(0.0)
    assert len(found) < 300 and sum(box.dropped.values()) > 14_000
    assert [one.arrival_s for one in found] == sorted(one.arrival_s for one in found)
    assert max(one.arrival_s for one in found if one.message.device == "Needle") == 4999.0
    assert next(one for one in found if one.peer.number == 2).message.body.text == "stop"
    assert box.take(0.01) == []


def test_a_stop_is_kept_however_much_waits():
    box = Mailbox()
    for k in range(200):
        box.put(received(1, "Command", Text("select 1"), float(k)))
    box.put(received(1, "Command", Text(" Stop"), 200.0))
    box.put(received(1, "Command", Text("select 1"), 201.0))
    for k in range(1000):
        box.put(received(1, "Command", Text("stop"), 300.0 + k))
    texts = [one.message.body.text for one in box.take(0.0)]
    assert len(texts) < 70 and texts[-1] == "stop"
    assert box.take(0.0) == []


def test_only_go_has_the_code_that_lets_a_needle_go_on():
    assert set(ADVICE_CODES) == set(Advice) and len(set(ADVICE_CODES.values())) == len(Advice)
    assert [advice for advice, code in ADVICE_CODES.items() if code == StatusCode.OK] == [Advice.GO]


def test_of_what_is_said_again_and_again_a_slow_client_gets_the_newest_alone(tmp_path):
    rig = Rig(tmp_path)
    rig.connect(1)
    rig.command("select 1")
    rig.go_on(0.6)
    said = rig.served.tick(rig.now_s + 2.0)
    live = [one for one in said if one.message.device in ("Guidance", "NeedleInPatient")]
    assert {one.message.type_name for one in live} >= {"STRING", "STATUS"}
    assert all(one.newest_only for one in live)
    rig.recorded.close()


def test_a_log_of_another_session_is_not_gone_on_with(tmp_path):
    path = tmp_path / "session.log"
    options = ServeOptions()
    with open_recorded(path, new_session(PATIENT, options), False)[0]:
        pass
    other = ServeOptions(session=type(options.session)(gate_mm=7.0))
    with pytest.raises(NavigationError):
        open_recorded(path, new_session(PATIENT, other), True)
    with pytest.raises(NavigationError, match="No such file"):
        open_recorded(tmp_path / "none.log", new_session(PATIENT, options), True)
