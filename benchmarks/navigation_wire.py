"""OpenIGTLink: transforms a second, and how late they come, from this server and from those of pyigtl and C++.

Every server sends stamped TRANSFORMs over loopback to clients in processes of their own, the same for all: latency
is from the stamp until the client's program has the message. Once 1000 a second are sent, once as many as the
server takes. The receiving end is this file as a program: ``navigation_wire.py PORT SECONDS``.
"""

import contextlib
import importlib.metadata
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openigtlink_reference import NoReferenceLibraryError, reference_program
from rows import Row

from needleplan.frames import FloatArray
from needleplan.io.openigtlink.client import OpenIGTLinkClient
from needleplan.io.openigtlink.link import LinkEvent, LinkEventKind, Received
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.options import ClientOptions, LinkOptions, ServerOptions
from needleplan.io.openigtlink.pose_bodies import Transform
from needleplan.io.openigtlink.server import OpenIGTLinkServer

LIMIT = "limit set by this project"
#: What shall be reached: transforms a second, and how late 99 of 100 may be at most at that rate.
RATE_LIMIT_PER_S, LATENCY_LIMIT_MS = 1000.0, 5.0
#: Clients at once in the rows of several.
SEVERAL = 4
#: Transforms that are sent as quickly as the server takes them; of those after the first hundred latency is told.
FLOOD, WARM_UP = 20_000, 100
_POSE = np.array([[0.36, 0.48, -0.8, 10.5], [-0.8, 0.6, 0.0, -20.25], [0.48, 0.64, 0.6, 30.125], [0, 0, 0, 1]])
_NO_RATE_LIMIT = LinkOptions(messages_per_s=1e6)
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What one client got.

    Attributes:
        late_ms: (n,) from stamp to arrival.
        arrival_s: (n,) when.
    """

    late_ms: FloatArray
    arrival_s: FloatArray

    @property
    def per_s(self) -> float:
        """Transforms a second, between the first and the last."""
        return (len(self.arrival_s) - 1) / float(self.arrival_s[-1] - self.arrival_s[0])

    @property
    def p99_ms(self) -> float:
        """99 of 100 are not later."""
        return float(np.percentile(self.late_ms[WARM_UP:], 99))


def receive(port: int, seconds: float) -> None:
    """Print as JSON when transforms came, until the server ends or nothing came for ``seconds``."""
    stamps: list[float] = []
    arrivals: list[float] = []
    ended: list[LinkEvent] = []

    def take(received: Received) -> None:
        arrivals.append(time.time())
        stamps.append(received.message.time_s)

    def watch(event: LinkEvent) -> None:
        if event.kind is LinkEventKind.DISCONNECTED:
            ended.append(event)

    with OpenIGTLinkClient(ClientOptions(port=port, link=_NO_RATE_LIMIT), take, watch):
        begin = time.time()
        while not ended:
            time.sleep(0.05)
            newest = arrivals[-1] if arrivals else begin + _START_S
            if time.time() - newest > seconds:
                break
    late_ms = (1e3 * (np.array(arrivals) - np.array(stamps))).tolist()
    json.dump({"late_ms": late_ms, "arrival_s": arrivals}, sys.stdout)


@contextlib.contextmanager
def clients(port: int, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that receive from a port."""
    command = [sys.executable, __file__, str(port), "1.0"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def collect(started: list[subprocess.Popen[str]]) -> list[Arrivals]:
    """What the clients got; they end when nothing comes any more."""
    found = []
    for process in started:
        got = json.loads(process.communicate(timeout=_START_S)[0])
        found.append(Arrivals(np.array(got["late_ms"]), np.array(got["arrival_s"])))
    return found


def send_all(send: Callable[[], None], count: int, rate_per_s: float | None) -> None:
    """Call ``send`` so often, at a rate or as quickly as it returns."""
    begin = time.perf_counter()
    for number in range(count):
        if rate_per_s is not None:
            wait_s = begin + number / rate_per_s - time.perf_counter()
            if wait_s > 0.0:
                time.sleep(wait_s)
        send()


def ours(count: int, rate_per_s: float | None, client_count: int = 1) -> list[Arrivals]:
    """What clients get of this project's server."""
    with OpenIGTLinkServer(ServerOptions(port=0)) as server, clients(server.port, client_count) as started:
        if not server.wait_for_clients(client_count, _START_S):
            raise TimeoutError("the clients of the benchmark did not come")
        send_all(lambda: _send_now(server), count, rate_per_s)
        return collect(started)


def _send_now(server: OpenIGTLinkServer) -> None:
    server.send(Message.now("Needle", Transform(_POSE)))


def ours_to_reference(count: int, rate_per_s: float, program: Path) -> Arrivals:
    """What a receiver made with the reference library gets of this project's server."""
    with OpenIGTLinkServer(ServerOptions(port=0)) as server:
        command = [program, "measure", str(server.port), str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
            server.wait_for_clients(1, _START_S)
            send_all(lambda: _send_now(server), count, rate_per_s)
            lines = receiver.communicate(timeout=_START_S)[0].splitlines()
    return Arrivals(np.array([float(line) for line in lines[:-1]]), np.array([float(t) for t in lines[-1].split()]))


def of_reference(count: int, rate_per_s: float | None, program: Path) -> Arrivals:
    """What a client gets of a server made with the reference library."""
    command = [program, "serve", "0", str(count), str(rate_per_s or 0)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        port = int(serving.stdout.readline().split()[1])
        with clients(port, 1) as started:
            return collect(started)[0]


def of_pyigtl(count: int, rate_per_s: float | None) -> Arrivals:
    """What a client gets of pyigtl's server."""
    import pyigtl

    with OpenIGTLinkServer(ServerOptions(port=0)) as probe:
        port = probe.port
    # It puts handlers of its own on these signals and leaves them there.
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    server = pyigtl.OpenIGTLinkServer(port=port, local_server=True)
    try:
        with clients(port, 1) as started:
            while not server.is_connected():
                time.sleep(0.01)
            # Unless waited for, it drops all but the newest hundred.
            send_all(
                lambda: server.send_message(pyigtl.TransformMessage(_POSE, device_name="Needle"), wait=True),
                count,
                rate_per_s,
            )
            return collect(started)[0]
    finally:
        server.communication_thread_stop_requested = True
        server.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def wire_rows(seconds: float = 2.0, repeats: int = 3) -> list[Row]:
    """All rows, medians of runs that take turns; servers that are not installed are left out and named."""
    count = round(seconds * RATE_LIMIT_PER_S) + WARM_UP
    peers = _peers()
    rates: dict[str, list[float]] = {}
    late_ms: dict[str, list[float]] = {}
    medians_ms: list[float] = []
    for _ in range(repeats):
        rates.setdefault("one", []).append(ours(FLOOD, None)[0].per_s)
        rates.setdefault("several", []).append(min(got.per_s for got in ours(FLOOD // SEVERAL, None, SEVERAL)))
        paced = ours(count, RATE_LIMIT_PER_S)[0]
        late_ms.setdefault("one", []).append(paced.p99_ms)
        medians_ms.append(float(np.median(paced.late_ms)))
        several = max(got.p99_ms for got in ours(count, RATE_LIMIT_PER_S, SEVERAL))
        late_ms.setdefault("several", []).append(several)
        for name, peer in peers.items():
            rates.setdefault(name, []).append(peer.measure(peer.flood, None).per_s)
            late_ms.setdefault(name, []).append(peer.measure(min(count, peer.flood), RATE_LIMIT_PER_S).p99_ms)
        with contextlib.suppress(NoReferenceLibraryError):
            got = ours_to_reference(count, RATE_LIMIT_PER_S, reference_program())
            late_ms.setdefault("to C++", []).append(got.p99_ms)
    rate = {name: statistics.median(values) for name, values in rates.items()}
    late = {name: statistics.median(values) for name, values in late_ms.items()}
    rows = [
        Row.against("transforms_per_s", rate["one"], "1/s", LIMIT, RATE_LIMIT_PER_S),
        Row.against("added_latency_p99_ms", late["one"], "ms", LIMIT, LATENCY_LIMIT_MS),
        Row("added_latency_median_ms", statistics.median(medians_ms), "ms"),
        Row.against(f"transforms_per_s_{SEVERAL}_clients", rate["several"], "1/s", LIMIT, RATE_LIMIT_PER_S),
        Row.against(f"added_latency_p99_ms_{SEVERAL}_clients", late["several"], "ms", LIMIT, LATENCY_LIMIT_MS),
    ]
    for name, peer in peers.items():
        rows.append(Row.against(f"transforms_per_s_beside_{name}", rate["one"], "1/s", peer.title, rate[name]))
        rows.append(Row.against(f"added_latency_p99_ms_beside_{name}", late["one"], "ms", peer.title, late[name]))
    if "to C++" in late:
        rows.append(Row.against("added_latency_p99_ms_to_reference", late["to C++"], "ms", LIMIT, LATENCY_LIMIT_MS))
    return rows


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server.

    Attributes:
        title: its name and version.
        measure: what a client gets of so many transforms, at a rate or as quickly as it sends.
        flood: how many are sent to it, by how quick it is.
    """

    title: str
    measure: Callable[[int, float | None], Arrivals]
    flood: int


def _peers() -> dict[str, Peer]:
    found = {}
    try:
        program = reference_program()
        found["reference"] = Peer(
            "OpenIGTLink C++", lambda count, rate_per_s: of_reference(count, rate_per_s, program), FLOOD
        )
    except NoReferenceLibraryError as error:
        print(f"left out: {error}", file=sys.stderr)
    try:
        version = importlib.metadata.version("pyigtl")
        found["pyigtl"] = Peer(f"pyigtl {version}", of_pyigtl, 500)
    except importlib.metadata.PackageNotFoundError:
        print("left out: pyigtl is not installed", file=sys.stderr)
    return found


if __name__ == "__main__":
    receive(int(sys.argv[1]), float(sys.argv[2]))
