"""Carries out the commands of clients: what they may, one after the other, and every one is answered."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from needleplan.app.serve.commands import COMMANDS, Command, parse_command, shortened
from needleplan.app.serve.control import Control
from needleplan.app.serve.delivered import delivered_insertion, order_of
from needleplan.app.serve.jobs import AssessJob, FiducialJob, Job, JobDone, JobRunner, ReplanJob, SkinJob
from needleplan.app.serve.outgoing import Outgoing, answer
from needleplan.app.serve.touching import SKIN, Touch, TouchDesk
from needleplan.errors import NavigationError, NeedleplanError
from needleplan.io.value_json import to_json
from needleplan.navigation.events import (
    EnergyDelivered,
    LandmarkChecked,
    NeedlePlaced,
    NeedleSelected,
    NeedleWithdrawn,
    PlanReplaced,
    Registered,
    SessionHeld,
)
from needleplan.navigation.guidance import DoubtKind
from needleplan.navigation.recorded_session import RecordedSession

Content = dict[str, Any]

#: Doubts that a registration ends only where all that it rests on was measured since.
_LASTING = (DoubtKind.JUMP, DoubtKind.REFERENCE_MOVED, DoubtKind.CLOCK, DoubtKind.REGISTRATION_UNSURE)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A job under way.

    Attributes:
        peer: who is to be answered.
        echo: the command.
        changes: of the session, when it began.
        lost: how often touched points had been forgotten when it began.
        measured_s: when the oldest pose arrived that it rests on.
    """

    peer: int
    echo: str
    changes: int
    lost: int
    measured_s: float


class CommandDesk:
    """Commands in, answers out; the session changes by these alone.

    Args:
        recorded: the session and its log.
        touches: fiducials.
        jobs: does what takes long.
        epoch_s: seconds since 1970 at the session's 0.
        touch_s: how long a fiducial is touched.
        skin_s: how long the skin is stroked.

    Attributes:
        control: which client changes the session.
        changes: counts changes of the session that a computation under way would not know of.
        replaced: what a new plan came with, until it is fetched.
        registered: True after a registration, until it is fetched.
    """

    def __init__(
        self,
        recorded: RecordedSession,
        touches: TouchDesk,
        jobs: JobRunner,
        epoch_s: float,
        touch_s: float,
        skin_s: float,
    ) -> None:
        self.recorded, self.touches, self.jobs = recorded, touches, jobs
        self.control = Control()
        self.changes = 0
        self.replaced: JobDone | None = None
        self.registered = False
        self._epoch_s, self._touch_s, self._skin_s = epoch_s, touch_s, skin_s
        self._job: _Begun | None = None
        self._proposed: tuple[JobDone, int] | None = None
        self._measured_by: dict[int, Registered | None] = {}
        self._handlers: dict[str, Callable[[Command, int, float], Content]] = {
            "help": self._help, "assess": self._assess, "stop": self._stop, "control": self._took_control,
            "release": self._release, "select": self._select, "touch": self._touch, "untouch": self._untouch,
            "register": self._register, "check": self._check, "placed": self._placed, "withdrawn": self._withdrawn,
            "delivered": self._delivered, "replan": self._replan, "adopt": self._adopt,
        }  # fmt: skip

    def add(self, name: str, handler: Callable[[Command, int, float], Content]) -> None:
        """Let somebody else carry out a command."""
        self._handlers[name] = handler

    def take(self, peer: int, text: str, now_s: float) -> list[Outgoing]:
        """Carry out a command and answer it; whatever it is, it raises nothing."""
        echo = shortened(text)
        try:
            command = parse_command(text)
            if command.kind.controls:
                self.control.require(peer)
            content = self._handlers[command.kind.name](command, peer, now_s)
        except NeedleplanError as error:
            return self._answer(peer, echo, False, {"error": str(error)}, now_s)
        return self._answer(peer, echo, True, content, now_s)

    def tick(self, now_s: float) -> list[Outgoing]:
        """Answer what has become ready."""
        return [*self._finish_touch(now_s), *self._finish_job(now_s)]

    def _answer(self, peer: int, echo: str, ok: bool, content: Content, now_s: float) -> list[Outgoing]:
        return answer(peer, echo, ok, content, self._epoch_s + now_s)

    def _help(self, command: Command, peer: int, now_s: float) -> Content:
        return {"commands": {kind.usage: kind.says for kind in COMMANDS.values()}}

    def _took_control(self, command: Command, peer: int, now_s: float) -> Content:
        return {"control": peer}

    def _release(self, command: Command, peer: int, now_s: float) -> Content:
        self.control.left(peer)
        return {"control": None}

    def _stop(self, command: Command, peer: int, now_s: float) -> Content:
        self.recorded.take(SessionHeld(now_s, f"Client {peer} said stop."))
        return {"held": True, "words": ["Guidance says stop until a needle is selected again."]}

    def _select(self, command: Command, peer: int, now_s: float) -> Content:
        order = order_of(command.words[0])
        self.recorded.take(NeedleSelected(now_s, order))
        self.changes += 1
        return {"order": order}

    def _placed(self, command: Command, peer: int, now_s: float) -> Content:
        order = self.recorded.session.order
        self.recorded.take(NeedlePlaced(now_s))
        self.changes += 1
        session = self.recorded.session
        needle = next(one for one in session.measured if one.order == order)
        self._measured_by[needle.order] = session.registration
        return {"order": order, "entry_mm": needle.entry_mm.tolist(), "tip_mm": needle.tip_mm.tolist()}

    def _withdrawn(self, command: Command, peer: int, now_s: float) -> Content:
        order = order_of(command.words[0])
        self.recorded.take(NeedleWithdrawn(now_s, order))
        self.changes += 1
        return {"order": order}

    def _delivered(self, command: Command, peer: int, now_s: float) -> Content:
        insertion = delivered_insertion(self.recorded.session.state, order_of(command.words[0]), command.words[1:])
        self.recorded.take(EnergyDelivered(now_s, insertion))
        self.changes += 1
        return {"order": insertion.order, "ablations": to_json(insertion.ablations)}

    def _touch(self, command: Command, peer: int, now_s: float) -> Content:
        name = command.words[0]
        lasts_s = self._skin_s if name == SKIN else self._touch_s
        self.touches.begin(Touch(peer, command.echo, name, now_s + lasts_s))
        return {"state": "started", "lasts_s": lasts_s}

    def _untouch(self, command: Command, peer: int, now_s: float) -> Content:
        self.touches.forget()
        return {}

    def _check(self, command: Command, peer: int, now_s: float) -> Content:
        name = command.words[0]
        event = LandmarkChecked(now_s, name, self.touches.place_of(name))
        session = self.recorded.session
        off_mm = session.landmark_off_mm(event)
        self.recorded.take(event)
        holds = off_mm <= session.options.check_mm
        if not holds:
            # What was measured by this registration is not to be relied on, nor what was computed from that, nor
            # the points that it may rest on.
            self.changes += 1
            self._measured_by.clear()
            self.touches.lose(f"{name} was found {off_mm:.1f} mm from its place.")
        return {"off_mm": off_mm, "holds": holds}

    def _register(self, command: Command, peer: int, now_s: float) -> Content:
        word = command.words[0] if command.words else ""
        if word not in ("", SKIN, "sure"):
            raise NavigationError(f"register is followed by nothing, skin or sure, not by {shortened(word)!r}")
        session = self.recorded.session
        tips = tuple(one.tip_mm for one in session.planned)
        if word == SKIN:
            swept = self.touches.swept
            if swept is None or session.registration is None:
                raise NavigationError("the skin refines a registration: register by fiducials and stroke it first")
            skin = SkinJob(swept.places_mm, session.registration.X_PR, tips, now_s)
            return self._begin(skin, command, peer, min(swept.began_s, session.registration.oldest_s))
        touched = self.touches.counting()
        job = FiducialJob(self.touches.points, touched, tips, now_s, word == "sure")
        return self._begin(job, command, peer, self.touches.oldest_s(one.name for one in touched))

    def _replan(self, command: Command, peer: int, now_s: float) -> Content:
        content = self._begin(ReplanJob(self.recorded.session.state, now_s), command, peer)
        words = self._of_other_registration()
        if self.jobs.state == "preparing":
            words.append("Paths are still being searched; this takes longer the first time.")
        return content | ({"words": words} if words else {})

    def _of_other_registration(self) -> list[str]:
        """Sentences about needles that were not measured by the registration that stands, as far as is known."""
        session = self.recorded.session
        return [
            f"Needle {one.order} was not measured by the registration that stands: measure it anew by 'select "
            f"{one.order}' and 'placed'."
            for one in session.measured
            if self._measured_by.get(one.order) is not session.registration
        ]

    def _assess(self, command: Command, peer: int, now_s: float) -> Content:
        state = self.recorded.session.state
        return self._begin(AssessJob(state.delivered, state.as_planned), command, peer)

    def _begin(self, job: Job, command: Command, peer: int, measured_s: float = 0.0) -> Content:
        self.jobs.submit(job)
        self._job = _Begun(peer, command.echo, self.changes, self.touches.lost, measured_s)
        return {"state": "started"}

    def _finish_touch(self, now_s: float) -> list[Outgoing]:
        touch = self.touches.under_way
        if touch is None or now_s < touch.until_s:
            return []
        try:
            figures = self.touches.finish(touch)
        except NeedleplanError as error:
            return self._answer(touch.peer, touch.echo, False, {"state": "done", "error": str(error)}, now_s)
        missing = [name for name in self.touches.points if name not in self.touches.touched]
        content = {"state": "done", **figures, "still_to_touch": missing}
        return self._answer(touch.peer, touch.echo, True, content, now_s)

    def _finish_job(self, now_s: float) -> list[Outgoing]:
        found = self.jobs.poll() if self._job is not None else None
        if self._job is None or found is None:
            return []
        begun, self._job = self._job, None
        try:
            content = self._taken(found, begun, now_s)
        except NeedleplanError as error:
            content = {"state": "done", "error": str(error)}
            return self._answer(begun.peer, begun.echo, False, content, now_s)
        content = {"state": "done", "words": list(found.words), **content}
        return self._answer(begun.peer, begun.echo, True, content, now_s)

    def _taken(self, found: JobDone, begun: _Begun, now_s: float) -> Content:
        """Take what a job came to; NeedleplanError where it failed or no longer fits."""
        if found.failure is not None:
            raise NavigationError(found.failure)
        event = found.event
        if isinstance(event, Registered):
            if begun.lost != self.touches.lost:
                raise NavigationError(
                    "what was touched was forgotten while this was computed, as something moved, a clock was set "
                    "or a check failed: touch it again"
                )
            self.recorded.take(replace(event, time_s=now_s, measured_s=begun.measured_s))
            self.registered = True
            self.changes += 1
            said = self.recorded.session.guidance(now_s)
            doubts = [doubt.sentence for doubt in said.doubts if doubt.kind in _LASTING]
            return {"error_mm": event.error_mm, "unsure": list(event.unsure), "doubts": doubts}
        if isinstance(event, PlanReplaced):
            self._proposed = (found, begun.changes)
            self._require_fitting(begun.changes)
            return {
                "orders": [one.order for one in event.insertions],
                "proposal": "This is a proposal: 'adopt' goes on with it.",
                "words": [*found.words, *self._of_other_registration()],
            }
        return {"scores": to_json(found.scores)} if found.scores else {}

    def _require_fitting(self, changes: int) -> None:
        if changes != self.changes:
            self._proposed = None
            raise NavigationError("the treatment went on since this was computed, so it no longer fits: ask again")

    def _adopt(self, command: Command, peer: int, now_s: float) -> Content:
        if self._proposed is None:
            raise NavigationError("no plan was proposed: send 'replan' first")
        found, changes = self._proposed
        self._require_fitting(changes)
        assert isinstance(found.event, PlanReplaced)
        event = replace(found.event, time_s=now_s)
        self.recorded.take(event)
        self._proposed = None
        self.changes += 1
        self.replaced = found
        return {"orders": [one.order for one in event.insertions]}
