"""The study command: what it prints, where it stops, and how it shows how far it is."""

import logging
import threading
import time
from argparse import ArgumentParser
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import pytest
from distributed import Client
from made_study import made_study
from made_study_files import study_file
from rich.console import Console

from needleplan.app import study_command
from needleplan.app.study import analysis_outputs, engine
from needleplan.app.study.cluster import require_workers, study_client
from needleplan.app.study.study_folder import StudyFolder
from needleplan.app.study.study_progress import progress_line, progress_table, readable_time, study_progress
from needleplan.app.study.study_state import StudyState
from needleplan.errors import NetworkError, OptionError, PlanFileError

BODY = "[factors]\nmargin_mm = [2.0, 5.0]\n[outputs]\nanalysis = false\nreport = false\n"


def options(*words):
    parser = ArgumentParser()
    study_command.add_study(parser)
    return parser.parse_args([str(word) for word in words])


def test_a_dry_run_tells_and_writes_nothing(tmp_path, capsys):
    path = study_file(tmp_path, BODY)
    assert study_command.run_study_command(options(path, "--dry-run")) == 0
    assert "3" in capsys.readouterr().out
    assert [each.name for each in tmp_path.iterdir()] == ["study.toml"]


def test_options_that_cannot_be(tmp_path):
    path = study_file(tmp_path, BODY)
    with pytest.raises(OptionError, match="--out"):
        study_command.run_study_command(options(path))
    with pytest.raises(OptionError, match="leave one of both"):
        study_command.run_study_command(
            options(path, "--out", tmp_path, "--workers", 2, "--scheduler", "tcp://x:1")
        )
    with pytest.raises(OptionError, match="no study to resume"):
        study_command.run_study_command(options(path, "--out", tmp_path / "new", "--resume"))


@pytest.mark.parametrize("workers", ["0", "-1", "100000"])
def test_an_impossible_number_of_workers_is_told_alike_before_anything_is_made(tmp_path, workers):
    path = study_file(tmp_path, BODY)
    with pytest.raises(OptionError, match=f"number of processes must lie between 1 and .*, not {workers}"):
        study_command.run_study_command(options(path, "--out", tmp_path / "out", "--workers", workers))
    assert not (tmp_path / "out").exists()


def test_a_number_of_workers_is_a_number(tmp_path, capsys):
    with pytest.raises(SystemExit):
        options("study.toml", "--workers", "many")
    assert "must be a whole number, not 'many'" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["a\x1b[31m\n", "a\nb", "a\u202eb", "a\x7f"])
def test_a_folder_with_control_characters_is_refused_before_it_is_printed(capsys, folder):
    with pytest.raises(SystemExit):
        options("study.toml", "--out", folder)
    said = capsys.readouterr().err
    assert f"must be a path without control characters, not {folder!r}" in said and folder not in said


@pytest.mark.parametrize("name", ["Zoë's study, 2", "病 [x]"])
def test_a_folder_may_be_called_in_any_letters(name):
    assert options("study.toml", "--out", f"/tmp/{name}").out.name == name


@pytest.mark.parametrize(
    "address",
    [
        "foo", "", "tcp://", "tcp://x", "tcp://:8786", "tcp://x:0", "tcp://x:99999", "tcp://x:y", "127.0.0.1",
        "127.0.0.1:8786", "http://127.0.0.1:80", "tcp://a b:1", "tcp://x:1/path", "tcp://u@x:1", "tcp://[::1:8",
        "tcp://x:1\n",
    ],
)  # fmt: skip
def test_what_is_no_address_is_told_before_anything_is_made(tmp_path, address):
    path = study_file(tmp_path, BODY)
    with pytest.raises(NetworkError, match=r"is no address of a scheduler: give it as tcp://HOST:PORT") as caught:
        study_command.run_study_command(options(path, "--out", tmp_path / "out", "--scheduler", address))
    assert not (tmp_path / "out").exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tls://host.example:1", "tcp://[::1]:8786"])
def test_addresses_of_schedulers_pass(address):
    assert require_workers(None, address) is None


def test_who_answers_but_is_no_scheduler_is_told_and_leaves_no_client(tmp_path, monkeypatch):
    monkeypatch.setattr("needleplan.app.study.cluster.ANSWER_S", 2.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = []
    monkeypatch.setattr(Client, "__init__", lambda *words, **more: made.append(words))
    begun = time.monotonic()
    with (
        pytest.raises(NetworkError, match=r"no scheduler answers at tcp://127\.0\.0\.1:"),
        study_client(scheduler=f"tcp://127.0.0.1:{server.server_port}"),
    ):
        pass
    server.shutdown()
    server.server_close()
    assert not made and time.monotonic() - begun < 20.0


def test_no_log_of_the_cluster_speaks_between_our_sentences_and_all_get_their_levels_back():
    names = ("distributed", "distributed.client", "distributed.core", "tornado.application", "asyncio")
    loggers = [logging.getLogger(name) for name in names]
    former = [each.level for each in loggers]
    try:
        # As a configuration of Dask gives some a level of their own.
        for each in loggers:
            each.setLevel(logging.WARNING)
        with study_client(workers=1):
            assert not any(each.isEnabledFor(logging.CRITICAL) for each in loggers)
        assert {each.level for each in loggers} == {logging.WARNING}
    finally:
        for each, level in zip(loggers, former, strict=True):
            each.setLevel(level)


def test_a_disk_that_is_full_during_the_analysis_is_one_sentence(tmp_path, monkeypatch):
    path, out = study_file(tmp_path, BODY.replace("analysis = false", "")), tmp_path / "out"
    locked = []

    def full(folder):
        with pytest.raises(OptionError, match="another study is running"), StudyFolder(folder).locked():
            pass
        locked.append(folder)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine, "run_study", lambda study, *_, **__: StudyState.of(study).summary())
    monkeypatch.setattr(analysis_outputs, "analyse_folder", full)
    with pytest.raises(PlanFileError, match=rf"{out}: writing failed \(No space left on device\).*--resume"):
        study_command.run_study_command(options(path, "--out", out))
    assert locked == [out]


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run_study", stopped)
    path = study_file(tmp_path, BODY)
    assert study_command.run_study_command(options(path, "--out", tmp_path / "out")) == 130
    assert "--resume" in capsys.readouterr().err


def half_done() -> StudyState:
    state = StudyState.of(made_study(4, 2, None))
    state.kept, state.computed, state.workers, state.cases_done = 1, 3, 2, 2
    state.statuses["generic-mwa-2450"] = Counter(complete=3, failed=1)
    state.since_s -= 60.0
    state.failure = "case-0001: [bold]no patient[/]"
    return state


def test_how_far_it_is_is_told_with_the_time_left():
    state = half_done()
    # Three cells in a minute, four are left.
    assert state.left_s == pytest.approx(80.0, rel=0.01)
    assert " 1 worker, " in progress_line(replace(state, workers=1))
    line = progress_line(state)
    assert line.startswith("2 of 4 cases, 4 of 8 cells, 1 failed, 2 workers, 3 cells a minute")
    assert "1 min 20 s left" in line
    text = StringIO()
    Console(file=text, width=120).print(progress_table(state))
    shown = text.getvalue()
    assert "generic-mwa-2450" in shown and "[bold]no patient[/]" in shown and "infeasible" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_times_are_readable(seconds, text):
    assert readable_time(seconds) == text


def test_a_terminal_has_a_live_table_and_a_file_has_lines():
    for terminal in (True, False):
        text = StringIO()
        with study_progress(Console(file=text, force_terminal=terminal, width=100)) as progress:
            state = half_done()
            progress(state)
            progress(state)
            state.computed += 1
            progress(state)
            state.computed = 7
            progress(state)
        lines = [line for line in text.getvalue().splitlines() if "cells" in line]
        # Without a terminal the first state and the last, as nothing else happened within the time between lines.
        assert len(lines) >= 3 if terminal else len(lines) == 2
