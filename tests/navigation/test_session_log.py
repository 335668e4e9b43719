"""The record of a session: nothing that was answered is lost, nothing that was changed is believed, all replays."""

import dataclasses
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from guided_needle import (
    APPLICATORS,
    PLAN,
    QUERIES,
    kinds,
    needle_pose,
    new_session,
    registration,
    started,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from needleplan.errors import NavigationError, NeedleplanError
from needleplan.navigation.events import (
    BreathingSample,
    EnergyDelivered,
    GuidanceAsked,
    LandmarkChecked,
    NeedlePlaced,
    NeedleSelected,
    NeedleWithdrawn,
    PlanReplaced,
    PoseRefused,
    SessionHeld,
    TrackedTool,
    pose_event,
)
from needleplan.navigation.guidance import DoubtKind
from needleplan.navigation.live_session import LiveSession
from needleplan.navigation.recorded_session import RecordedSession, event_from_json, event_to_json, replay
from needleplan.navigation.session_log import MAXIMUM_LINE_BYTES, read_log

HERE = Path(__file__).parent


def recorded(path, seconds=0.3, **pose):
    """A short session with every kind of event, doubts and a refusal; not closed."""
    session = RecordedSession.begin(path, new_session(), sync_s=0.05)
    stream = started(session, **{"to_go_mm": 0.5, **pose})
    stream.go_on(seconds)
    session.take(GuidanceAsked(stream.now_s))
    session.take(PoseRefused(TrackedTool.NEEDLE, stream.now_s, "scaled"))
    session.take(GuidanceAsked(stream.now_s))
    # A pose that was refused is remembered for a second.
    stream.go_on(1.2)
    session.take(LandmarkChecked(stream.now_s, "umbilicus", tuple(stream.guidance().tip_mm)))
    with pytest.raises(NavigationError):
        session.take(NeedleSelected(stream.now_s, 9))
    session.take(NeedlePlaced(stream.now_s))
    session.take(EnergyDelivered(stream.now_s, PLAN.insertions[0]))
    session.take(PlanReplaced(stream.now_s, PLAN.insertions, ("as it was",)))
    session.take(NeedleSelected(stream.now_s, 2))
    session.take(GuidanceAsked(stream.now_s))
    return session, stream


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    path = tmp_path_factory.mktemp("session") / "session.log"
    session, _ = recorded(path)
    session.close()
    return path


def test_a_session_replays_to_the_same_outputs_bit_by_bit(closed):
    log = read_log(closed)
    told = []
    session = new_session()
    result = replay(log, session, lambda event, answer: told.append((event, answer)))
    assert result.equal and result.difference == "" and log.closed and log.torn is None
    assert result.events == len(told) > 100 and result.answers == 4
    assert any(isinstance(answer, str) and "no needle 9" in answer for _, answer in told)
    assert session.measured[0].order == 1 and session.delivered == (PLAN.insertions[0],)


def test_the_header_names_case_plan_and_limits_and_nothing_of_the_patient(closed):
    header = json.loads(closed.read_text().splitlines()[0])["header"]
    assert header["case_hash"] == PLAN.case_hash and len(header["plan_hash"]) == 64
    assert header["options"]["gate_mm"] == 2.0 and header["schema"] == "needleplan.session"
    assert PLAN.case_name == "ball" and '"ball"' not in closed.read_text()


@pytest.mark.parametrize("change", ["plan", "case", "options", "predictor"])
def test_a_log_of_another_session_is_refused(closed, change):
    from needleplan.motion.last_value_prediction import LastValuePredictor

    log = read_log(closed)
    if change == "case":
        log = dataclasses.replace(log, header={**log.header, "case_hash": "f" * 64})
        session, words = new_session(), "another patient"
    elif change == "plan":
        other = dataclasses.replace(PLAN, insertions=PLAN.insertions[:1])
        session, words = LiveSession(other, QUERIES, APPLICATORS), "another plan"
    elif change == "options":
        session, words = new_session(gate_mm=3.0), "other limits"
    else:
        session, words = LiveSession(PLAN, QUERIES, APPLICATORS, predictor=LastValuePredictor()), "prediction"
    with pytest.raises(NavigationError, match=words):
        replay(log, session)


def test_every_event_comes_back_from_its_line_as_it_was():
    stream = started()
    X = needle_pose(PLAN.insertions[0])
    events = [
        pose_event(TrackedTool.NEEDLE, 1.0 / 3.0, 0.4, X),
        pose_event(TrackedTool.REFERENCE, 0.1, 0.4, None),
        PoseRefused(TrackedTool.REFERENCE, 0.4, "no"),
        BreathingSample(0.1, 0.2, (0.1, 1.0 / 7.0, -1e-17)),
        registration(3.0, statement=("a",), unsure=("b",)),
        registration(3.0, covariance=None),
        LandmarkChecked(1.0, "a point", (1.0, 2.0, 3.0)),
        NeedleSelected(1.0, 2),
        SessionHeld(1.0, "a"),
        NeedlePlaced(1.0),
        NeedleWithdrawn(1.0, 1),
        registration(3.0, measured_s=1.0 / 3.0),
        EnergyDelivered(2.0, PLAN.insertions[1]),
        PlanReplaced(2.0, PLAN.insertions, ("because",)),
        GuidanceAsked(2.0),
    ]
    for event in events:
        line = json.dumps(event_to_json(event))
        back = event_from_json(json.loads(line), "line")
        assert type(back) is type(event) and json.dumps(event_to_json(back)) == line
    assert stream.guidance() is not None
    for wrong in ({}, {"kind": "Plan"}, [], {"kind": "NeedlePlaced", "time_s": -1.0}, {"kind": "NeedlePlaced"}):
        with pytest.raises(NavigationError):
            event_from_json(wrong, "line")


def test_a_file_cut_at_any_byte_of_its_tail_loses_that_line_only(tmp_path):
    path = tmp_path / "session.log"
    session = RecordedSession.begin(path, new_session())
    session.take(registration())
    session.take(GuidanceAsked(0.1))
    session.close()
    whole = path.read_bytes()
    ends = [k + 1 for k, byte in enumerate(whole) if byte == 10]
    for cut in range(ends[-3], len(whole)):
        path.write_bytes(whole[:cut])
        log = read_log(path)
        kept = max(end for end in ends if end <= cut)
        assert log.whole_bytes == kept and log.lines == ends.index(kept) + 1
        assert (log.torn is None) == (cut == kept)
    # Filled up with zeros, as a disk may leave it when the power fails; however many.
    for count in (1000, MAXIMUM_LINE_BYTES + 5, 3 * MAXIMUM_LINE_BYTES):
        path.write_bytes(whole[: ends[-2]] + bytes(count))
        assert f"{count} bytes" in read_log(path).torn
    # A line that ends is refused where it is longer than any: it was not torn.
    path.write_bytes(whole[: ends[-2]] + bytes(2 * MAXIMUM_LINE_BYTES) + b"\n")
    with pytest.raises(NavigationError, match="longer than"):
        read_log(path)


def test_a_log_cut_between_two_lines_is_one_that_was_not_ended(tmp_path):
    path = tmp_path / "session.log"
    with RecordedSession.begin(path, new_session()) as session:
        session.take(registration())
        session.take(SessionHeld(1.0, "stop"))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    log = read_log(path)
    assert not log.closed and log.torn is None and log.lines == 2


def test_a_log_that_was_changed_anywhere_is_refused(closed, tmp_path):
    whole = closed.read_bytes()
    path = tmp_path / "changed.log"
    lines = whole.splitlines(keepends=True)
    rng = random.Random(3)
    spoilt = [
        b"".join(lines[:7] + lines[8:]),
        b"".join(lines[:7] + lines[6:]),
        b"".join([*lines[:5], lines[6], lines[5], *lines[7:]]),
        b"".join(lines[1:]),
        lines[0].replace(b'"version":1', b'"version":2') + b"".join(lines[1:]),
        lines[0].replace(b"needleplan.session", b"needleplan.sessiom") + b"".join(lines[1:]),
        b"".join(lines[:9]) + b"{}\n" + b"".join(lines[9:]),
        b'{"n":0,"header":{"schema":"needleplan.session"},"hash":"0"}\n',
        b"\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
    ]
    for _ in range(40):
        place = rng.randrange(len(whole) - len(lines[-1]))
        byte = bytes([whole[place] ^ (1 << rng.randrange(7))])
        if byte != b"\n":
            spoilt.append(whole[:place] + byte + whole[place + 1 :])
    for content in spoilt:
        path.write_bytes(content)
        with pytest.raises(NavigationError, match=r"changed\.log"):
            read_log(path)
    for nothing in (b"", b"{"):
        path.write_bytes(nothing)
        with pytest.raises(NavigationError):
            read_log(path)
    with pytest.raises(NavigationError, match="no such file"):
        read_log(tmp_path / "none.log")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_only_named_errors_come_of_mangled_logs(closed, tmp_path_factory, data):
    whole = closed.read_bytes()[:6000]
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    path = tmp_path_factory.mktemp("mangled") / "mangled.log"
    path.write_bytes(bytes(content))
    try:
        log = read_log(path)
        replay(log, new_session())
    except NeedleplanError as error:
        assert str(error)


def test_answers_that_differ_are_told_with_their_line(closed, tmp_path):
    from needleplan.navigation.session_log import line_hash

    # The chain is made anew over a changed answer: only the replay can tell.
    before, out = "", []
    for line in closed.read_bytes().splitlines():
        text, _, _ = line.rpartition(b',"hash":"')
        if b'"guidance":' in text and b'"stop"' not in text:
            text = text.replace(b'"to_go_mm":0.', b'"to_go_mm":1.')
        before = line_hash(before, text)
        out.append(text + b',"hash":"' + before.encode() + b'"}\n')
    path = tmp_path / "forged.log"
    path.write_bytes(b"".join(out))
    result = replay(read_log(path), new_session())
    assert not result.equal and "line" in result.difference


def test_a_session_goes_on_where_it_was_killed(tmp_path):
    path = tmp_path / "session.log"
    first, stream = recorded(path)
    said = first.session.guidance(stream.now_s)
    # The process ends within a write: the descriptor goes, and half a line is left.
    os.close(first.log._handle)
    first.log._handle = None
    with path.open("ab") as log:
        log.write(b'{"n":4,"event":{"ki')
    again = RecordedSession.resume(path, new_session())
    assert again.session.guidance(stream.now_s) == said
    assert again.session.clock_s == pytest.approx(stream.now_s)
    assert again.session.order == 2 and len(again.session.measured) == 1
    stream.session = again
    stream.X_PN = needle_pose(PLAN.insertions[1], 30.0)
    stream.go_on(0.3)
    again.take(GuidanceAsked(stream.now_s))
    again.close()
    log = read_log(path)
    assert log.closed and replay(log, new_session()).equal
    notes = [entry.value["note"] for entry in log.entries() if entry.kind == "resumed"]
    assert len(notes) == 1 and "19 bytes" in notes[0]
    # The needle was carried to its next place between two poses: that is asked about.
    assert kinds(again.session.guidance(stream.now_s)) == {DoubtKind.JUMP}


def test_a_log_is_never_written_over_nor_by_two(tmp_path):
    path = tmp_path / "session.log"
    first = RecordedSession.begin(path, new_session())
    with pytest.raises(NavigationError, match="there is such a log"):
        RecordedSession.begin(path, new_session())
    with pytest.raises(NavigationError, match="another session"):
        RecordedSession.resume(path, new_session())
    first.close()
    first.close()
    with pytest.raises(NavigationError, match="closed"):
        first.take(GuidanceAsked(0.0))


def test_no_other_process_writes_while_a_session_is_resumed(tmp_path, monkeypatch):
    """What another session adds between the reading and the going on would be cut off."""
    from needleplan.navigation import recorded_session

    path = tmp_path / "session.log"
    first = RecordedSession.begin(path, new_session())
    first.take(registration())
    fcntl.flock(first.log._handle, fcntl.LOCK_UN)  # as where its process was killed
    replayed = recorded_session.replay

    def meanwhile(recorded, session, **given):
        with pytest.raises(NavigationError, match="another session"):
            RecordedSession.resume(path, new_session())
        # One that never looks at the lock is noticed all the same.
        first.take(SessionHeld(1.0, "bleeding"))
        return replayed(recorded, session, **given)

    monkeypatch.setattr(recorded_session, "replay", meanwhile)
    with pytest.raises(NavigationError, match="was changed while it was read"):
        RecordedSession.resume(path, new_session())
    monkeypatch.undo()
    assert b"bleeding" in path.read_bytes()
    again = RecordedSession.resume(path, new_session())
    assert DoubtKind.HELD in kinds(again.session.guidance(1.1))
    again.close()


def test_a_file_put_in_its_place_is_no_log_to_go_on_with(tmp_path, monkeypatch):
    from needleplan.navigation import recorded_session

    path = tmp_path / "session.log"
    RecordedSession.begin(path, new_session()).close()
    replayed = recorded_session.replay

    def replaced(recorded, session, **given):
        path.rename(tmp_path / "other.log")
        path.write_bytes((tmp_path / "other.log").read_bytes())
        return replayed(recorded, session, **given)

    monkeypatch.setattr(recorded_session, "replay", replaced)
    with pytest.raises(NavigationError, match="was changed while it was read"):
        RecordedSession.resume(path, new_session())


def test_a_resume_that_fails_leaves_the_log_free(tmp_path):
    path = tmp_path / "session.log"
    RecordedSession.begin(path, new_session()).close()
    for asked, options in (({}, {"gate_mm": 3.0}), ({"sync_s": 0.0}, {})):
        with pytest.raises(NavigationError):
            RecordedSession.resume(path, new_session(**options), **asked)
    RecordedSession.resume(path, new_session()).close()
    with pytest.raises(NavigationError, match="cannot be opened"):
        RecordedSession.resume(tmp_path / "none.log", new_session())


def test_a_log_that_cannot_be_begun_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "session.log"
    for sync_s in (0.0, 61.0, float("nan")):
        with pytest.raises(NavigationError, match="60 s"):
            RecordedSession.begin(path, new_session(), sync_s=sync_s)
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
    with pytest.raises(NavigationError, match="cannot be begun"):
        RecordedSession.begin(path, new_session())
    monkeypatch.undo()
    assert not path.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(NavigationError, match="folder"):
        RecordedSession.begin(tmp_path / "file" / "session.log", new_session())
    RecordedSession.begin(path, new_session()).close()
    assert read_log(path).closed


def test_what_cannot_be_read_again_is_not_recorded_and_harms_nothing(tmp_path):
    path = tmp_path / "session.log"
    session = RecordedSession.begin(path, new_session())
    session.take(registration())
    # Each text is short enough, all of them are not.
    with pytest.raises(NavigationError, match="cannot be recorded"):
        session.take(PlanReplaced(0.2, PLAN.insertions, ("x" * 9_999,) * 500))
    assert session.session.guidance(0.3) is not None
    # Past its own checks, as where somebody reaches into an event.
    spoilt = NeedleSelected(0.2, 1)
    object.__setattr__(spoilt, "order", 1.0)
    with pytest.raises(NavigationError, match="order"):
        session.take(spoilt)
    spoilt = BreathingSample(0.2, 0.2, (0.0, 0.0, 0.0))
    object.__setattr__(spoilt, "measured_s", float("nan"))
    with pytest.raises(NavigationError, match="cannot be recorded"):
        session.take(spoilt)
    session.take(SessionHeld(0.3, "stop"))
    session.close()
    log = read_log(path)
    assert log.closed and log.lines == 4 and replay(log, new_session()).equal


def test_any_error_of_the_session_is_a_refusal_that_replays(tmp_path, monkeypatch):
    from needleplan.errors import GeometryError

    taken = LiveSession.take

    def failing(self, event):
        if isinstance(event, PlanReplaced):
            raise GeometryError("no such place")
        return taken(self, event)

    monkeypatch.setattr(LiveSession, "take", failing)
    path = tmp_path / "session.log"
    session = RecordedSession.begin(path, new_session())
    session.take(registration())
    with pytest.raises(GeometryError):
        session.take(PlanReplaced(0.2, PLAN.insertions))
    session.close()
    assert [entry.kind for entry in read_log(path).entries()] == ["event", "event", "refused", "closed"]
    assert replay(read_log(path), new_session()).equal
    RecordedSession.resume(path, new_session()).close()


def test_a_long_session_is_resumed_without_computing_every_guidance_again(tmp_path, monkeypatch):
    path = tmp_path / "session.log"
    session = RecordedSession.begin(path, new_session())
    stream = started(session)
    for _ in range(120):
        stream.go_on(1.0 / 60.0)
        session.take(GuidanceAsked(stream.now_s))
    session.take(GuidanceAsked(stream.now_s + 500.0))
    for _ in range(120):
        stream.go_on(1.0 / 60.0)
        session.take(GuidanceAsked(stream.now_s))
    session.close()
    monkeypatch.setattr("needleplan.navigation.recorded_session._LAST_LINES", 100)
    computed = []
    said = LiveSession.guidance
    monkeypatch.setattr(LiveSession, "guidance", lambda own, at_s: computed.append(at_s) or said(own, at_s))
    log = read_log(path)
    again = new_session()
    assert replay(log, again).equal and len(computed) == 241
    computed.clear()
    quick = new_session()
    result = replay(log, quick, one_of=20)
    assert result.equal and result.events == 240 * 4 + 1 + 36 * 3 + 2 and 20 < len(computed) < 60
    # The state is the same in all that follows, also the clock, which the latest guidance set.
    assert quick.clock_s == again.clock_s == session.session.clock_s > 500.0
    assert quick.guidance(stream.now_s) == again.guidance(stream.now_s)


def test_a_full_disk_ends_the_session_and_not_in_silence(tmp_path, monkeypatch):
    session = RecordedSession.begin(tmp_path / "session.log", new_session())
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
    with pytest.raises(NavigationError, match="cannot be recorded"):
        session.take(GuidanceAsked(0.0))
    monkeypatch.undo()
    with pytest.raises(NavigationError, match="nothing is recorded any more"):
        session.take(GuidanceAsked(0.0))
    session.close()
    assert read_log(tmp_path / "session.log").torn


CHILD = """
import sys
sys.path[:0] = [{here!r}, {root!r}]
from guided_needle import new_session, started
from needleplan.navigation.events import GuidanceAsked
from needleplan.navigation.recorded_session import RecordedSession
session = RecordedSession.begin(__import__("pathlib").Path({path!r}), new_session())
stream = started(session)
while True:
    stream.go_on(1 / 60)
    said = session.take(GuidanceAsked(stream.now_s))
    print(repr(said.time_s), flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_any_moment_loses_nothing_that_was_answered(tmp_path, seed):
    path = tmp_path / "session.log"
    code = CHILD.format(here=str(HERE), root=str(HERE.parents[1]), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    time.sleep(random.Random(seed).uniform(0.0, 0.3))
    child.send_signal(signal.SIGKILL)
    answered = [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    child.wait()
    log = read_log(path)
    assert not log.closed
    told = [entry.value["time_s"] for entry in log.entries() if entry.kind == "guidance"]
    # Every time that was printed stands in the log; at most the one that was on its way stands there besides.
    assert told[1 : 1 + len(answered)] == [float(line) for line in answered]
    assert len(told) - 1 - len(answered) in (0, 1)
    assert np.all(np.diff(told) > 0)
    assert replay(log, new_session()).equal
    RecordedSession.resume(path, new_session()).close()
    assert replay(read_log(path), new_session()).equal
