"""The heart of the server, without sockets and without a clock of its own: messages in, messages out."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from needleplan.app.serve.command_desk import CommandDesk
from needleplan.app.serve.commands import COMMAND, Command, is_stop
from needleplan.app.serve.incoming import SAMPLE_BODIES, Incoming
from needleplan.app.serve.jobs import JobRunner, Patient
from needleplan.app.serve.options import ServeOptions
from needleplan.app.serve.outgoing import Outgoing, advice_status, guidance_messages, json_text, status
from needleplan.app.serve.plan_messages import plan_messages
from needleplan.app.serve.sender_clock import SenderClocks
from needleplan.app.serve.served_client import ServedClient
from needleplan.app.serve.session_state import RESEARCH, session_state
from needleplan.app.serve.touching import TouchDesk
from needleplan.errors import NavigationError, NeedleplanError
from needleplan.io.openigtlink.link import Received
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.text_bodies import Request, StatusCode, Text
from needleplan.io.plan_file import plan_hash
from needleplan.navigation.events import GuidanceAsked, PoseRefused, ToolPose
from needleplan.navigation.guidance import Advice
from needleplan.navigation.recorded_session import RecordedSession
from needleplan.plan import Vector3, vector3

#: The advice is said as STATUS at least so often, and a warning to one client at most so often.
_REPEAT_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """What clients are shown besides the plan itself.

    Attributes:
        zones: surfaces of the zones.
        image: their label map.
        route: the robot's route; empty where there is none.
    """

    zones: tuple[Message, ...] = ()
    image: tuple[Message, ...] = ()
    route: tuple[Message, ...] = ()


class ServedSession:
    """A recorded session as clients see it. One thread at a time.

    Args:
        recorded: the session and its log.
        patient: plan, anatomy and zone model.
        jobs: does what takes long.
        options: names, rates and limits.
        shown: zones and route.
        points: fiducials in the image by name, patient LPS.
        epoch_s: seconds since 1970 at the session's 0.

    Attributes:
        ignored: messages that were not used, by reason.
    """

    def __init__(
        self,
        recorded: RecordedSession,
        patient: Patient,
        jobs: JobRunner,
        options: ServeOptions,
        shown: Shown,
        points: Mapping[str, Vector3],
        epoch_s: float,
    ) -> None:
        self._recorded, self._patient, self._jobs = recorded, patient, jobs
        self._options, self._shown, self._epoch_s = options, shown, epoch_s
        session = recorded.session
        direction = options.breathing_direction or vector3(-session.queries.anatomy.case.cranial)
        self._clocks = SenderClocks(options.clock, epoch_s)
        self._incoming = Incoming(options, self._clocks, direction)
        self._touches = TouchDesk(points, session.options)
        self._desk = CommandDesk(recorded, self._touches, jobs, epoch_s, options.touch_s, options.skin_s)
        for name, handler in (
            ("status", self._status), ("plan", self._send_plan), ("image", self._send_image),
            ("route", self._send_route), ("guidance", self._switch_guidance),
        ):  # fmt: skip
            self._desk.add(name, handler)
        self._peers: dict[int, ServedClient] = {}
        self._asked: list[Outgoing] = []
        self._told_s = -math.inf
        self._advice: Advice | None = None
        self._told_state: tuple[Any, ...] | None = None
        self.ignored = self._incoming.ignored

    def connected(self, peer: int, now_s: float) -> list[Outgoing]:
        """Greet a client: status, plan, zones, route, and where the session stands."""
        self._peers[peer] = ServedClient(self._options.requests_per_s, now_s)
        plan = self._patient.plan
        words = f"{RESEARCH} Plan {plan_hash(plan)[:12]} of {plan.case_name}; you are client {peer}."
        greeting = status("needleplan", StatusCode.OK, "serving", words, self._epoch_s + now_s)
        state = json_text("Session", self._state(peer), self._epoch_s + now_s)
        return self._to(peer, (greeting, *self._plan(), *self._shown.zones, *self._shown.route, state))

    def left(self, peer: int) -> None:
        """A client is gone; its control and its devices are free."""
        self._peers.pop(peer, None)
        self._incoming.left(peer)
        self._desk.control.left(peer)

    def take(self, received: Received, now_s: float) -> list[Outgoing]:
        """One message of a client; whatever it is, it raises nothing."""
        number, body = received.peer.number, received.message.body
        peer = self._peers.get(number)
        if peer is None:
            # It left before its last message was looked at.
            self.ignored["of a client that is gone"] += 1
            return []
        if isinstance(body, SAMPLE_BODIES):
            return self._take_samples(received, peer, now_s)
        if not isinstance(body, Text | Request):
            self.ignored["of no use here"] += 1
            return []
        if not peer.may_ask(now_s) and not self._says_stop(received.message):
            self.ignored["too many requests"] += 1
            words = f"More than {self._options.requests_per_s:g} commands and requests a second: some were dropped."
            return self._warn(number, peer, "requests", StatusCode.OVERFLOW, words, now_s)
        if isinstance(body, Request):
            return self._take_request(number, peer, body, now_s)
        if received.message.device != COMMAND:
            self.ignored["of an unknown device"] += 1
            return []
        found = self._desk.take(number, body.text, now_s)
        asked, self._asked = self._asked, []
        return found + asked

    def tick(self, now_s: float) -> list[Outgoing]:
        """What is to be said now: guidance, and whatever has become ready."""
        found = self._desk.tick(now_s)
        if self._desk.registered or self._touches.clock_set:
            # What differed in the clocks before is in the log; a new registration begins anew, and so do the points
            # touched for it where a clock was set, until when the session lets nothing go on.
            self._clocks.forget()
            self._desk.registered = self._touches.clock_set = False
        if self._desk.replaced is not None:
            new, self._desk.replaced = self._desk.replaced, None
            self._shown = dataclasses.replace(self._shown, zones=new.zones, image=new.image)
            found += [Outgoing(message) for message in (*self._plan(), *new.zones)]
        said = self._recorded.take(GuidanceAsked(now_s))
        assert said is not None
        for number, peer in self._peers.items():
            if peer.guided:
                found += guidance_messages(said, self._epoch_s, number)
        if said.advice is not self._advice or now_s - self._told_s >= _REPEAT_S:
            self._advice, self._told_s = said.advice, now_s
            found.append(Outgoing(advice_status(said, self._epoch_s), newest_only=True))
        session = self._recorded.session
        key = (
            self._desk.control.holder, session.order, session.planned, session.measured, session.delivered,
            session.registration, self._jobs.state,
        )  # fmt: skip
        if key != self._told_state:
            self._told_state = key
            for number in self._peers:
                found.append(Outgoing(json_text("Session", self._state(number), self._epoch_s + now_s), number))
        return found

    def _take_samples(self, received: Received, peer: ServedClient, now_s: float) -> list[Outgoing]:
        try:
            for event in self._incoming.events(received):
                self._recorded.take(event)
                if isinstance(event, ToolPose | PoseRefused):
                    self._touches.pose(event)
        except NeedleplanError as error:
            number = received.peer.number
            device = received.message.device
            return self._warn(number, peer, device, StatusCode.ACCESS_DENIED, str(error), now_s)
        return []

    def _take_request(self, number: int, peer: ServedClient, body: Request, now_s: float) -> list[Outgoing]:
        verb, subject = body.wire_type[:4], body.subject
        if verb == "GET_":
            found = self._published(number, subject, now_s)
            if found:
                return self._to(number, found)
            words = f"There is no {subject} to be sent."
            return self._to(number, (self._say(StatusCode.NOT_FOUND, "request", words, now_s),))
        if verb in ("STT_", "STP_") and subject in ("STRING", "TRANS", "STATUS"):
            peer.guided = verb == "STT_"
            return self._to(number, (Message.at(self._epoch_s + now_s, "Guidance", Request.answer(subject, True)),))
        if verb == "RTS_":
            return []
        return self._to(number, (Message.at(self._epoch_s + now_s, "Guidance", Request.answer(subject, False)),))

    def _published(self, number: int, subject: str, now_s: float) -> Sequence[Message]:
        if subject == "IMAGE":
            return self._shown.image
        if subject == "STRING":
            return (
                json_text("Session", self._state(number), self._epoch_s + now_s),
                *_of("STRING", self._shown.route),
            )
        if subject == "STATUS":
            return (self._say(StatusCode.OK, "serving", RESEARCH, now_s),)
        wanted = "TRANSFORM" if subject == "TRANS" else subject
        return _of(wanted, (*self._plan(), *self._shown.zones, *self._shown.route))

    def _plan(self) -> tuple[Message, ...]:
        session = self._recorded.session
        return plan_messages(session.planned, session.applicators)

    def _state(self, peer: int) -> dict[str, Any]:
        return session_state(
            self._recorded.session, self._options, peer, self._desk.control.holder, self._jobs.state
        )

    def _status(self, command: Command, peer: int, now_s: float) -> dict[str, Any]:
        registration = self._recorded.session.registration
        return self._state(peer) | {
            "case": self._patient.plan.case_name,
            "plan": plan_hash(self._patient.plan)[:12],
            "time_s": now_s,
            "clients": sorted(self._peers),
            "senders": dict(self._incoming.owners),
            "registration": [] if registration is None else [*registration.statement, *registration.unsure],
            "not_used": {**dict(self.ignored), **self._recorded.session.counts},
        }

    def _send_plan(self, command: Command, peer: int, now_s: float) -> dict[str, Any]:
        self._asked = self._to(peer, (*self._plan(), *self._shown.zones))
        return {"messages": len(self._asked)}

    def _send_image(self, command: Command, peer: int, now_s: float) -> dict[str, Any]:
        return self._send_some(peer, self._shown.image, "the plan ablates nothing, so there is no zone to be shown")

    def _send_route(self, command: Command, peer: int, now_s: float) -> dict[str, Any]:
        return self._send_some(peer, self._shown.route, "the folder of the plan holds no route of a robot")

    def _send_some(self, peer: int, messages: Sequence[Message], missing: str) -> dict[str, Any]:
        if not messages:
            raise NavigationError(missing)
        self._asked = self._to(peer, messages)
        return {"messages": len(messages)}

    def _switch_guidance(self, command: Command, peer: int, now_s: float) -> dict[str, Any]:
        word = command.words[0].lower()
        if word not in ("on", "off"):
            raise NavigationError("guidance is followed by on or off")
        self._peers[peer].guided = word == "on"
        return {"guidance": word == "on"}

    def _say(self, code: StatusCode, name: str, words: str, now_s: float) -> Message:
        return status("needleplan", code, name, words, self._epoch_s + now_s)

    def _says_stop(self, message: Message) -> bool:
        """True for a stop that is news: it is heard however much its sender has asked before."""
        return is_stop(message) and self._advice is not Advice.STOP

    def _warn(
        self, number: int, peer: ServedClient, about: str, code: StatusCode, words: str, now_s: float
    ) -> list[Outgoing]:
        """Tell a client something, but not again and again."""
        if now_s - peer.warned_s.get(about, -math.inf) < _REPEAT_S:
            return []
        peer.warned_s[about] = now_s
        return self._to(number, (self._say(code, "dropped", words, now_s),))

    @staticmethod
    def _to(peer: int, messages: Sequence[Message]) -> list[Outgoing]:
        return [Outgoing(message, peer) for message in messages]


def _of(type_name: str, messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(message for message in messages if message.type_name == type_name)
