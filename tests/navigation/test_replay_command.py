"""The replay command: what it prints of a session, and that it finds a difference."""

import argparse
import dataclasses

import pytest
from guided_needle import PLAN, QUERIES, needle_pose, new_session, started

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.app.pipeline import PlannedCase
from needleplan.app.replay_command import add_replay, run_replay
from needleplan.errors import NavigationError
from needleplan.navigation.events import GuidanceAsked, NeedlePlaced, NeedleSelected
from needleplan.navigation.recorded_session import RecordedSession


@pytest.fixture
def planned(monkeypatch):
    case = PlannedCase(QUERIES.anatomy, QUERIES, PLAN, EllipsoidTableModel(), None)
    monkeypatch.setattr("needleplan.app.outputs.load_planned", lambda folder, data, progress: case)
    return case


def options(*words):
    parser = argparse.ArgumentParser()
    add_replay(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "session.log"
    with RecordedSession.begin(path, new_session()) as session:
        stream = started(session, to_go_mm=0.3, aside_mm=2.0)
        for k in range(60):
            stream.X_PN = needle_pose(PLAN.insertions[0], 0.3, aside_mm=2.0)
            stream.displacement_mm = (0.0, 0.0, -4.0) if 30 <= k < 40 else (0.0, 0.0, 0.0)
            stream.go_on(1.0 / 60.0)
            session.take(GuidanceAsked(stream.now_s))
        stream.go_on(4.0)
        session.take(NeedlePlaced(stream.now_s))
        with pytest.raises(NavigationError):
            session.take(NeedleSelected(stream.now_s, 5))
    return path


def test_it_tells_needles_doubts_and_that_all_is_the_same(planned, log, tmp_path, capsys):
    assert run_replay(options(tmp_path, log)) == 0
    printed = capsys.readouterr().out
    assert "bit by bit" in printed and "gate shut" in printed and "no needle 5" in printed
    row = next(line for line in printed.splitlines() if "2.0" in line and "│ 1" in line)
    assert row.count("2.0") >= 1 and "was not ended" not in printed


def test_a_session_that_was_killed_is_said_to_be(planned, log, tmp_path, capsys):
    whole = log.read_bytes()
    log.write_bytes(whole[: whole.rstrip(b"\n").rfind(b"\n") + 20])
    assert run_replay(options(tmp_path, log)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "are dropped" in printed and "was not ended" in printed


def test_a_log_of_another_plan_is_refused(planned, log, tmp_path, monkeypatch):
    other = dataclasses.replace(planned, plan=dataclasses.replace(PLAN, insertions=PLAN.insertions[:1]))
    monkeypatch.setattr("needleplan.app.outputs.load_planned", lambda folder, data, progress: other)
    with pytest.raises(NavigationError, match="another plan"):
        run_replay(options(tmp_path, log))
