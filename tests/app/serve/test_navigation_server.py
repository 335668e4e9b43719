"""The server over real sockets: several clients, other programs, peers that vanish, and a killed process."""

import argparse
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from openigtlink_reference import NoReferenceLibraryError, reference_program
from served import FIDUCIALS, PATIENT, HandJobs

from needleplan.app import serve_command
from needleplan.app.serve.job_process import JobProcess
from needleplan.app.serve.navigation_server import NavigationServer, SessionClock
from needleplan.app.serve.opening import new_session, open_recorded
from needleplan.app.serve.options import ServeOptions, small_messages
from needleplan.errors import NavigationError, NetworkError, OptionError
from needleplan.io.openigtlink.array_bodies import Sensor
from needleplan.io.openigtlink.client import OpenIGTLinkClient
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.options import ClientOptions, ServerOptions
from needleplan.io.openigtlink.pose_bodies import Transform
from needleplan.io.openigtlink.text_bodies import Text
from needleplan.navigation.events import NeedleSelected
from needleplan.navigation.session_log import GUIDANCE, read_log
from tests.navigation.guided_needle import PLAN, X_PR, X_TP, needle_pose, registration

TIMEOUT_S = 30.0
KILLED = Path(__file__).with_name("killed_server.py")


class Peer:
    """A client that streams a needle and keeps what it is told."""

    def __init__(self, port):
        self.heard = []
        self._changed = threading.Condition()
        self.client = OpenIGTLinkClient(ClientOptions(port=port), self._hear).start()
        assert self.client.wait_until_connected(TIMEOUT_S)
        self.rng = np.random.default_rng(3)
        self.X_PN = needle_pose(PLAN.insertions[0])

    def _hear(self, received):
        with self._changed:
            self.heard.append((time.monotonic(), received.message))
            self._changed.notify_all()

    def texts(self, device):
        found = [message for _, message in list(self.heard) if message.device == device]
        return [json.loads(one.body.text) for one in found if one.type_name == "STRING"]

    def wait(self, holds, timeout_s=TIMEOUT_S):
        with self._changed:
            assert self._changed.wait_for(holds, timeout_s), "nothing of that kind came"

    def command(self, text):
        before = len(self.texts("Answer"))
        self.client.send(Message.now("Command", Text(text)))
        self.wait(lambda: len(self.texts("Answer")) > before)
        return self.texts("Answer")[before]

    def stream(self, seconds, until=lambda: False):
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and not until():
            for device, pose in (("Needle", self.X_PN), ("Reference", X_PR)):
                matrix = X_TP @ pose
                matrix[:3, 3] += 0.01 * self.rng.standard_normal(3)
                self.client.send(Message.now(device, Transform(matrix)))
            self.client.send(Message.now("Breathing", Sensor(np.array([0.05 * self.rng.standard_normal()]))))
            time.sleep(1 / 120)

    def goes(self):
        """Stream until guidance says go."""
        self.stream(TIMEOUT_S, lambda: any(one["advice"] == "go" for one in self.texts("Guidance")[-1:]))
        assert self.texts("Guidance")[-1]["advice"] == "go", self.texts("Guidance")[-1]["doubts"]


def served(folder, jobs=None, **options):
    clock = SessionClock()
    asked = ServeOptions(server=ServerOptions(port=0, link=small_messages()), **options)
    recorded, _ = open_recorded(folder / "session.log", new_session(PATIENT, asked), False)
    recorded.take(registration(0.0))
    return NavigationServer(recorded, PATIENT, jobs or HandJobs(), clock, asked, points=FIDUCIALS), recorded


@pytest.fixture
def server(tmp_path):
    found, recorded = served(tmp_path)
    with recorded, found:
        yield found


def test_a_client_streams_a_needle_and_is_told_to_go(server):
    peer, looker = Peer(server.port), Peer(server.port)
    assert peer.command("select 1")["ok"]
    peer.goes()
    looker.wait(lambda: any(one["advice"] == "go" for one in looker.texts("Guidance")))
    assert not looker.command("select 2")["ok"]
    assert {"Plan", "PlannedNeedle2", "needleplan", "Session"} <= {one.device for _, one in peer.heard}
    # Whoever had control and is gone gives it back; without poses nothing goes on.
    peer.client.close()
    looker.wait(lambda: looker.texts("Session")[-1]["control"] is None)
    assert looker.command("select 2")["ok"]
    looker.wait(lambda: looker.texts("Guidance")[-1]["advice"] == "hold")
    looker.client.close()


def test_clients_that_are_hostile_slow_or_vanish_do_not_hold_up_the_others(server):
    peer = Peer(server.port)
    peer.command("select 1")
    peer.goes()
    half = Message.now("Needle", Transform(np.eye(4))).encode()[:70]
    huge = struct.pack(">H12s20sQQQ", 1, b"STRING", b"Command", 0, 2**64 - 1, 0)
    bomb = Message.now("Command", Text('{"a":' * 10_000)).encode()
    binary = Message.now("Command", Text("\x00\x01\x7f" * 50)).encode()
    flood = Message.now("Needle", Transform(np.eye(4))).encode() * 400
    silent = socket.create_connection(("127.0.0.1", server.port))
    for data in (half, huge, b"GET / HTTP/1.1\r\n\r\n" * 10, bomb, binary, flood):
        with socket.create_connection(("127.0.0.1", server.port)) as hostile:
            hostile.sendall(data)
        peer.stream(0.1)
    peer.goes()
    peer.stream(0.5)
    assert peer.texts("Guidance")[-1]["advice"] == "go" and server.failure is None
    silent.close()
    peer.client.close()


def test_pyigtl_sends_commands_and_reads_the_answers(server):
    pyigtl = pytest.importorskip("pyigtl", reason="pyigtl is not installed")
    kept = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", server.port)
    # It takes the handlers of signals for itself.
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), kept, strict=True):
        signal.signal(number, handler)
    try:
        end_s = time.monotonic() + TIMEOUT_S
        while not client.is_connected() and time.monotonic() < end_s:
            time.sleep(0.02)
        client.send_message(pyigtl.StringMessage("select 1", device_name="Command"), wait=True)
        answer = client.wait_for_message("Answer", timeout=TIMEOUT_S)
        assert json.loads(answer.string) == {"command": "select 1", "ok": True, "order": 1}
        guidance = client.wait_for_message("Guidance", timeout=TIMEOUT_S)
        assert guidance is not None
        planned = client.wait_for_message("PlannedNeedle1", timeout=TIMEOUT_S)
        np.testing.assert_allclose(planned.matrix[:3, 3] * [-1, -1, 1], PLAN.insertions[0].tip_mm, atol=1e-3)
    finally:
        client.stop()


def test_the_reference_library_reads_what_is_sent(server):
    try:
        program = reference_program()
    except NoReferenceLibraryError as error:
        pytest.skip(str(error))
    heard = subprocess.run(
        [program, "receive", str(server.port), "12"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    ).stdout
    assert "TRAJ Plan" in heard and "TRANSFORM PlannedNeedle1" in heard and "POINT Plan" in heard


def test_a_killed_server_has_recorded_all_that_it_said_and_goes_on(tmp_path):
    child = subprocess.Popen(
        [sys.executable, KILLED, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": _path()},
    )
    assert child.stdout is not None
    peer = Peer(int(child.stdout.readline()))
    peer.command("select 1")
    peer.goes()
    peer.stream(0.3)
    child.kill()
    child.wait()
    peer.client.close()
    log = read_log(tmp_path / "session.log")
    assert not log.closed
    recorded = {entry.value["time_s"] for entry in log.entries() if entry.kind == GUIDANCE}
    told = [one["time_s"] for one in peer.texts("Guidance")]
    assert told and set(told) <= recorded
    with pytest.raises(NavigationError, match="none is written over"):
        open_recorded(tmp_path / "session.log", new_session(PATIENT, ServeOptions()), False)
    again, clock = open_recorded(tmp_path / "session.log", new_session(PATIENT, ServeOptions()), True)
    with again:
        assert again.session.order == 1 and again.session.registration is not None
        # No pose of before is fresh enough to go on with.
        assert clock() >= max(told) - 0.05
        said = again.session.guidance(clock() + 1.0)
        assert said.advice == "stop" and "check a landmark first" in said.doubts[0].sentence
        again.take(NeedleSelected(clock(), 1))
        assert again.session.guidance(clock() + 1.0).advice == "hold"


def _path():
    root = Path(__file__).parents[3]
    return os.pathsep.join([str(root), str(Path(__file__).parent), str(root / "tests" / "case")])


def test_a_port_that_is_taken_is_told_in_a_sentence(server, tmp_path):
    options = ServeOptions(server=ServerOptions(port=server.port))
    recorded, clock = open_recorded(tmp_path / "other.log", new_session(PATIENT, options), False)
    with recorded, pytest.raises(NetworkError, match=f"port {server.port}"):
        NavigationServer(recorded, PATIENT, HandJobs(), clock, options)


def parsed(*words):
    parser = argparse.ArgumentParser()
    serve_command.add_serve(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--limit", "gate_mn=2"], "did you mean gate_mm"),
        (["--limit", "gate_mm=wide"], "must be a number"),
        (["--limit", "gate_mm=-1"], "gate_mm"),
        (["--breathing-direction", "down"], "three numbers"),
        (["--needle", "Reference"], "names of their own"),
        (["--port", "70000"], "port"),
        (["--clients", "0"], "clients"),
        (["--resume"], "no such log"),
    ],
)
def test_impossible_arguments_are_told_before_anything_is_read(tmp_path, words, sentence):
    with pytest.raises(OptionError, match=sentence):
        serve_command.run_serve(parsed(tmp_path, *words))


@pytest.mark.long
def test_the_command_serves_scores_beside_the_loop_and_ends_cleanly(tmp_path, monkeypatch, capsys):
    from needleplan.app import outputs

    planned = SimpleNamespace(plan=PLAN, queries=PATIENT.queries, zone_model=PATIENT.zone_model)
    monkeypatch.setattr(outputs, "load_planned", lambda folder, data, progress: planned)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    seen = {}

    def drive():
        try:
            end_s = time.monotonic() + TIMEOUT_S
            while time.monotonic() < end_s:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            peer = Peer(port)
            began_s = time.monotonic()
            seen["started"] = peer.command("assess")
            peer.wait(lambda: peer.texts("Answer")[-1].get("state") == "done", 60.0)
            seen["done"] = peer.texts("Answer")[-1]
            heard = [at for at, one in peer.heard if one.device == "Guidance" and at > began_s]
            seen["longest_ms"] = 1e3 * float(np.diff(heard).max())
            peer.client.close()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    driver = threading.Thread(target=drive)
    try:
        driver.start()
        asked = parsed(tmp_path, "--port", port, "--poses-in-patient", "--no-replan")
        assert serve_command.run_serve(asked) == 0
    finally:
        driver.join()
        for number, handler in before.items():
            signal.signal(number, handler)
    assert seen["started"]["state"] == "started"
    assert seen["done"]["scores"]["expected"]["target_coverage_fraction"] > 0.5
    print(f"longest pause of guidance while a score was computed: {seen['longest_ms']:.1f} ms")
    printed = capsys.readouterr().out
    assert f"listening on 127.0.0.1:{port}, plan " in printed and "2 needles" in printed
    assert "research software" in printed and "stopped" in printed
    assert read_log(tmp_path / "session.log").closed
    with pytest.raises(OptionError, match="none is written over"):
        serve_command.run_serve(asked)


def test_a_job_process_that_dies_is_told_and_not_waited_for():
    jobs = JobProcess(PATIENT, replanning=False)
    try:
        from needleplan.app.serve.jobs import AssessJob

        jobs.submit(AssessJob((), ()))
        with pytest.raises(NavigationError, match="wait for its answer"):
            jobs.submit(AssessJob((), ()))
        jobs._child.kill()
        jobs._child.join()
        end_s = time.monotonic() + TIMEOUT_S
        while (found := jobs.poll()) is None and time.monotonic() < end_s:
            time.sleep(0.01)
        assert found is not None and found.failure is not None and "start the server anew" in found.failure
        assert jobs.state == "ended"
        with pytest.raises(NavigationError, match="has ended"):
            jobs.submit(AssessJob((), ()))
    finally:
        jobs.close()
