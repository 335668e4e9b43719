"""Navigate over the network: a server shows its plan, a client streams a needle to it and prints the guidance.

    python examples/navigate_over_openigtlink.py [--port 0] [--log session.log]

The server has a process of its own, as ``needleplan serve`` has; the client knows nothing but what comes over
OpenIGTLink, as navigation software does. The hand that moves the needle is made up. Research software, not a
medical device.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.coverage.options import CoverageOptions
from needleplan.frames import FloatArray
from needleplan.io.openigtlink.array_bodies import Sensor
from needleplan.io.openigtlink.client import OpenIGTLinkClient
from needleplan.io.openigtlink.link import Received
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.options import ClientOptions, ServerOptions
from needleplan.io.openigtlink.pose_bodies import Transform
from needleplan.io.openigtlink.text_bodies import Text
from needleplan.planning import PlanningOptions
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.search import SearchOptions

#: Coarse, so that this takes seconds.
OPTIONS = PlanningOptions(
    sampling=SamplingOptions(entry_spacing_mm=16.0, aim_count=12),
    search=SearchOptions(0, 0, 5_000, 0),
    coverage=CoverageOptions(point_count=2_000, paths_per_aim=6, setting_count=4, time_limit_s=3.0),
    refine=False,
)
POSES_HZ, NOISE_MM, REGISTRATION_MM = 60.0, 0.05, 0.3
#: The hand's speed while the needle may go on, and how far before its plan it begins.
HAND_MM_S, BEGIN_MM = 15.0, 40.0
LONGEST_S, ANSWER_S = 60.0, 60.0


def serve(seed: int, port: int, log: Path) -> None:
    """Plan the built-in patient, print the port, and serve the plan until the input ends."""
    from needleplan.anatomy.build import build_anatomy
    from needleplan.anatomy.phantom import PhantomParameters, make_phantom
    from needleplan.anatomy.queries import AnatomyQueries
    from needleplan.app.serve.job_process import JobProcess
    from needleplan.app.serve.jobs import Patient
    from needleplan.app.serve.navigation_server import NavigationServer
    from needleplan.app.serve.opening import new_session, open_recorded, stated_registration
    from needleplan.app.serve.options import PoseFrame, ServeOptions, small_messages
    from needleplan.planning import make_plan

    case = make_phantom(PhantomParameters(), np.random.default_rng(seed)).case(voxel_mm=3.0)
    queries = AnatomyQueries(build_anatomy(case))
    planned = make_plan(queries, OPTIONS)
    patient = Patient(planned.plan, queries, planned.zone_model)
    options = ServeOptions(
        poses=PoseFrame.PATIENT,
        registration_mm=REGISTRATION_MM,
        server=ServerOptions(port=port, link=small_messages()),
    )
    recorded, clock = open_recorded(log, new_session(patient, options), resume=False)
    with recorded:
        registered = stated_registration(patient, None, options, clock())
        assert registered is not None
        recorded.take(registered)
        jobs = JobProcess(patient, replanning=False)
        with NavigationServer(recorded, patient, jobs, clock, options) as server:
            print(server.port, flush=True)
            sys.stdin.read()
        jobs.close()


class Navigator:
    """What a client heard: the planned needles, guidance, answers."""

    def __init__(self, port: int) -> None:
        self.planned: dict[str, FloatArray] = {}
        self.guidance: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.client = OpenIGTLinkClient(ClientOptions(port=port), self._hear)

    def _hear(self, received: Received) -> None:
        message = received.message
        if isinstance(message.body, Transform) and message.device.startswith("PlannedNeedle"):
            self.planned[message.device] = message.body.matrix.astype(np.float64)
        elif isinstance(message.body, Text) and message.device == "Guidance":
            self.guidance.append(json.loads(message.body.text))
        elif isinstance(message.body, Text) and message.device == "Answer":
            self.answers.append(json.loads(message.body.text))

    def command(self, text: str) -> None:
        """Send a command; its answer comes in its own time."""
        self.client.send(Message.now("Command", Text(text)))

    def pose(self, matrix: FloatArray, rng: np.random.Generator) -> None:
        """Send the needle's pose in the patient, RAS, as a tracker sees it, and a breath that is held."""
        seen = np.array(matrix)
        seen[:3, 3] += NOISE_MM * rng.standard_normal(3)
        self.client.send(Message.now("Needle", Transform(seen)))
        self.client.send(Message.now("Breathing", Sensor(0.05 * rng.standard_normal(1))))
        time.sleep(1.0 / POSES_HZ)


def insert(navigator: Navigator, rng: np.random.Generator) -> list[str]:
    """Move the first planned needle in while guidance lets it, let it go, and ask what it all covers."""
    planned = navigator.planned["PlannedNeedle1"]
    to_go_mm, told, told_s = BEGIN_MM, [], 0.0
    navigator.command("select 1")
    end_s = time.monotonic() + LONGEST_S
    while time.monotonic() < end_s:
        pose = np.array(planned)
        pose[:3, 3] -= to_go_mm * planned[:3, 2]
        navigator.pose(pose, rng)
        said = navigator.guidance[-1] if navigator.guidance else None
        if said is None:
            continue
        advice = said["advice"]
        if not told or advice != told[-1] or time.monotonic() - told_s >= 1.0:
            told_s = time.monotonic()
            way = "" if said["to_go_mm"] is None else f", {said['to_go_mm']:.1f} mm to go"
            why = f": {said['doubts'][0]['sentence']}" if said["doubts"] else ""
            print(f"  {advice}{way}{why}")
        told.append(advice)
        if advice == "arrived":
            break
        if advice == "go":
            to_go_mm = max(to_go_mm - HAND_MM_S / POSES_HZ, 0.0)
    navigator.command("placed")
    navigator.command("assess")
    end_s = time.monotonic() + ANSWER_S
    while time.monotonic() < end_s and not any("scores" in answer for answer in navigator.answers):
        navigator.pose(planned, rng)
    return told


def main(port: int = 0, log: Path | None = None, seed: int = 1) -> tuple[list[str], list[dict[str, Any]]]:
    """Serve the built-in patient in another process, and insert its first needle; advice and answers."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, __file__, "--serve", "--seed", str(seed), "--port", str(port),
            "--log", str(log or Path(folder) / "session.log"),
        ]  # fmt: skip
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            navigator = Navigator(int(child.stdout.readline()))
            with navigator.client:
                navigator.client.wait_until_connected(ANSWER_S)
                while "PlannedNeedle1" not in navigator.planned:
                    time.sleep(0.01)
                print(f"the server shows {len(navigator.planned)} needles")
                told = insert(navigator, rng)
            child.communicate(timeout=ANSWER_S)
        finally:
            child.kill()
            child.wait()
    placed = next(answer for answer in navigator.answers if answer["command"] == "placed")
    scores = next(answer["scores"] for answer in navigator.answers if "scores" in answer)
    print(f"needle {placed['order']} stands; tip in patient LPS: {np.round(placed['tip_mm'], 1).tolist()} mm")
    print(f"target covered if the rest goes by plan: {scores['expected']['target_coverage_fraction']:.1%}")
    return told, navigator.answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="port of the server; 0 takes a free one")
    parser.add_argument("--log", type=Path, help="log of the session")
    parser.add_argument("--seed", type=int, default=1, help="seed of the built-in patient")
    parser.add_argument("--serve", action="store_true", help="be the server, not the client")
    given = parser.parse_args()
    if given.serve:
        serve(given.seed, given.port, given.log)
    else:
        main(given.port, given.log, given.seed)
