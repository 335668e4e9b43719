"""The view command: what it prints, what it refuses, and how it ends."""

import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser

import numpy as np
import pytest
from made_outcomes import outcome
from viewed_plan import other_folder

from needleplan.app.view.page_server import LOOPBACK, PageServer, listening_socket
from needleplan.app.view_command import add_view, run_view
from needleplan.errors import NetworkError, OptionError, PlanFileError
from needleplan.io.plan_file import write_outcome


def parsed(*words):
    parser = ArgumentParser()
    add_view(parser)
    return parser.parse_args([str(word) for word in words])


def test_a_taken_port_is_one_sentence_with_the_remedy(planned_folder):
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NetworkError, match=rf"port {port} .* --port 0 takes? a free one|--port 0") as refusal:
            run_view(parsed(planned_folder.root, "--port", port, "--no-browser"))
    assert "\n" not in str(refusal.value)
    with pytest.raises(OptionError, match="0 to 65535"):
        listening_socket(70000)


def test_a_file_in_the_place_of_saved_plans_is_told_before_the_case_is_read(planned_folder, tmp_path):
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    with pytest.raises(OptionError, match=r"taken is a file, and edited plans go into a folder: .* --out"):
        run_view(parsed(planned_folder.root, "--port", 0, "--no-browser", "--out", tmp_path / "taken"))


def test_only_this_machine_is_listened_to():
    opened = listening_socket(0)
    try:
        assert opened.getsockname()[0] == "127.0.0.1"
        assert opened.proto == socket.IPPROTO_TCP, "or every answer comes 40 ms late"
    finally:
        opened.close()


def test_malformed_requests_are_not_told_on_the_terminal(desk, caplog):
    server = PageServer(desk, 0)
    serving = threading.Thread(target=server.serve)
    serving.start()
    try:
        with socket.create_connection((LOOPBACK, server.port), timeout=20.0) as stranger:
            stranger.sendall(b"\x16\x03\x01 what is this\r\n\r\n")
            assert b"400" in stranger.recv(1000)
    finally:
        server.stop()
        serving.join(20.0)
    assert not serving.is_alive() and caplog.records == []


def test_a_folder_without_a_plan_is_refused(tmp_path):
    with pytest.raises(PlanFileError, match=r"no plan\.json"):
        run_view(parsed(tmp_path, "--port", "0", "--no-browser"))


def test_the_breath_of_the_page_is_that_of_the_rehearsal(planned_folder, planned, monkeypatch):
    from needleplan.app.view import page_server

    scenes = []

    class Unserved:
        def __init__(self, desk, port):
            self.address, self.desk = "http://127.0.0.1/", desk

        def serve(self, ready):
            ready()
            scenes.append(self.desk.scene)
            self.desk.close()

    def breath(folder):
        run_view(parsed(folder.root, "--port", "0", "--no-browser"))
        return scenes[-1]["breath"]

    monkeypatch.setattr(page_server, "PageServer", Unserved)
    assert "No rehearsal was made" in breath(planned_folder)["note"]
    folder = other_folder(planned_folder, "rehearsed")
    made = outcome(case_hash=planned.plan.case_hash, duration_s=12.0, breaths=2.0)
    farthest_mm = np.linalg.norm(made.trace.displacement_mm, axis=1).max()
    write_outcome(folder.outcome, made)
    rehearsed = breath(folder)
    assert "No rehearsal" not in rehearsed["note"] and f"{farthest_mm:.1f} mm away" in rehearsed["note"]
    assert rehearsed["period_s"] == 6.0 and rehearsed["label"] == made.motion
    write_outcome(folder.outcome, dataclasses.replace(made, case_hash="0" * 64))
    with pytest.raises(PlanFileError, match="belongs to another case"):
        breath(folder)


@pytest.mark.long
def test_it_prints_the_address_serves_it_and_ends_on_control_c(planned_folder):
    code = (
        "import sys; from argparse import ArgumentParser\n"
        "from needleplan.app.view_command import add_view, run_view\n"
        "p = ArgumentParser(); add_view(p); sys.exit(run_view(p.parse_args()))"
    )
    command = [sys.executable, "-c", code, str(planned_folder.root), "--port", "0", "--no-browser"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    try:
        said = ""
        address = None
        end = time.monotonic() + 120
        while address is None and time.monotonic() < end:
            line = running.stdout.readline()
            assert line or running.poll() is None, said
            said += line
            address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", said)
        assert urllib.request.urlopen(address[0], timeout=10).status == 200
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address[0].rsplit("/", 2)[0] + "/", timeout=10)
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=20)
        assert running.returncode == 0 and rest.rstrip().endswith("stopped"), said + rest
        assert "Traceback" not in said + rest
    finally:
        running.kill()
