"""A served session by hand: messages go in, a clock is turned, messages come out. No sockets, no processes."""

import json

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.app.serve.jobs import JobRunner, Patient, done
from needleplan.app.serve.opening import new_session, what_is_shown
from needleplan.app.serve.options import ServeOptions
from needleplan.app.serve.served_session import ServedSession, Shown
from needleplan.errors import NavigationError
from needleplan.io.openigtlink.array_bodies import Sensor
from needleplan.io.openigtlink.connection import Peer
from needleplan.io.openigtlink.link import Received
from needleplan.io.openigtlink.messages import Message, decode_message
from needleplan.io.openigtlink.pose_bodies import Transform
from needleplan.io.openigtlink.text_bodies import Text
from needleplan.navigation.recorded_session import RecordedSession
from tests.navigation.guided_needle import LATENCY_S, PLAN, QUERIES, STEP_S, X_PR, X_TP, needle_pose, registration

EPOCH_S = 1_700_000_000.0
PATIENT = Patient(PLAN, QUERIES, EllipsoidTableModel())
#: Skin, at places that no mirror and no half turn maps onto themselves.
FIDUCIALS = {
    "xiphoid": (15.0, -110.0, 160.0),
    "left rib": (95.0, -70.0, 120.0),
    "right rib": (-70.0, -80.0, 90.0),
    "navel": (10.0, -112.0, 20.0),
    "flank": (-115.0, 10.0, 75.0),
}


class HandJobs(JobRunner):
    """Does a job when it is told to, in this process."""

    def __init__(self, replanner=None):
        self.replanner, self.job, self.result, self.named = replanner, None, None, "ready"

    @property
    def state(self):
        return self.named

    def submit(self, job):
        if self.job is not None:
            raise NavigationError("something else is being computed: wait for its answer")
        self.job = job

    def work(self):
        self.result = done(self.job, PATIENT, self.replanner)

    def poll(self):
        found, self.result = self.result, None
        if found is not None:
            self.job = None
        return found

    def close(self):
        pass


class Rig:
    """A served session, a stream of poses into it, and all that it said.

    Attributes:
        said: what went out since it was last fetched: (peer, message).
    """

    def __init__(self, folder, options=None, jobs=None, shown=None, registered=True, **pose):
        self.options = options or ServeOptions()
        self.jobs = jobs or HandJobs()
        self.recorded = RecordedSession.begin(folder / "session.log", new_session(PATIENT, self.options))
        self.served = ServedSession(
            self.recorded, PATIENT, self.jobs, self.options, shown or Shown(), FIDUCIALS, EPOCH_S
        )
        self.time_s = 0.1
        self.said = []
        self.X_PN = needle_pose(PLAN.insertions[0], **pose)
        self.X_TP, self.X_PR = X_TP.copy(), X_PR.copy()
        self.displacement_mm = 0.0
        self.rng = np.random.default_rng(1)
        self.stamp_shift_s = 0.0
        if registered:
            self.recorded.take(registration(0.05))

    @property
    def now_s(self):
        return self.time_s + LATENCY_S + 0.002

    def connect(self, *peers):
        for peer in peers:
            self.keep(self.served.connected(peer, self.now_s))

    def keep(self, outgoing):
        for one in outgoing:
            # Whatever is sent must be readable.
            self.said.append((one.peer, decode_message(one.message.encode())))

    def send(self, device, body, peer=1, time_s=None, arrival_s=None, **header):
        stamped = EPOCH_S + (self.time_s if time_s is None else time_s) + self.stamp_shift_s
        message = decode_message(Message.at(stamped, device, body).encode())
        if header:
            message = Message(device, message.body, message.stamp, **header)
        arrival = self.time_s + LATENCY_S if arrival_s is None else arrival_s
        self.keep(self.served.take(Received(message, Peer(peer, "127.0.0.1:1"), arrival), self.now_s))

    def command(self, text, peer=1):
        """The answer to a command."""
        self.send("Command", Text(text), peer)
        return self.answers(peer)[-1]

    def shaken(self, pose):
        result = np.array(pose)
        result[:3, 3] += 0.01 * self.rng.standard_normal(3)
        result[3] = 0.0, 0.0, 0.0, 1.0
        return result

    def feed(self, needle="Needle", peer=1):
        """Poses and breathing of one moment later."""
        self.time_s += STEP_S
        self.send(needle, Transform(self.shaken(self.X_TP @ self.X_PN)), peer)
        self.send("Reference", Transform(self.shaken(self.X_TP @ self.X_PR)), peer)
        breath = self.displacement_mm + 0.05 * self.rng.standard_normal()
        self.send("Breathing", Sensor(np.array([breath])), peer)

    def go_on(self, seconds, needle="Needle", peer=1, every=1):
        """Feed for a time, with a tick after every so many; the last guidance that client 1 got."""
        steps = max(1, round(seconds / STEP_S))
        for step in range(1, steps + 1):
            self.feed(needle, peer)
            if step % every == 0 or step == steps:
                self.tick()
        return self.guidance()

    def glide(self, place_mm):
        """Move the tip to a place as a calm hand does."""
        way = np.asarray(place_mm) - self.X_PN[:3, 3]
        steps = int(np.linalg.norm(way) // 4.0) + 1
        start = self.X_PN.copy()
        for step in range(1, steps + 1):
            self.X_PN[:3, 3] = start[:3, 3] + way * step / steps
            self.feed()
        return self.go_on(0.3)

    def touch(self, name, off_mm=0.0):
        """Glide to a fiducial and touch it; the answer."""
        self.glide(np.asarray(FIDUCIALS[name]) + np.array([off_mm, 0.0, 0.0]))
        assert self.command(f"touch {name}")["state"] == "started"
        self.go_on(self.options.touch_s + 0.2, every=10)
        return self.answers()[-1]

    def touch_all(self):
        for name in FIDUCIALS:
            told = self.touch(name)
            assert told["ok"] and told["state"] == "done" and told["spread_mm"] < 0.1
        return told

    def register(self):
        """Register by what was touched; the last answer."""
        started = self.command("register")
        if not started["ok"]:
            return started
        self.jobs.work()
        self.go_on(0.1)
        return self.answers()[-1]

    def tick(self):
        self.keep(self.served.tick(self.now_s))

    def messages(self, device, peer=1, kind=None):
        return [
            one
            for to, one in self.said
            if one.device == device and to in (None, peer) and (kind is None or one.type_name == kind)
        ]

    def texts(self, device, peer=1):
        return [json.loads(one.body.text) for one in self.messages(device, peer, "STRING")]

    def answers(self, peer=1):
        return self.texts("Answer", peer)

    def guidance(self, peer=1):
        return self.texts("Guidance", peer)[-1]


def shown(folder):
    return what_is_shown(PATIENT, folder, None, new_session(PATIENT, ServeOptions()))
