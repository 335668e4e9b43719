"""Carries out the commands of clients: what they may, one after the other, and every one is answered."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from needleplan.app.serve.commands import COMMANDS, Command, parse_command, shortened
from needleplan.app.serve.control import Control
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
    PlanReplaced,
    Registered,
    SessionHeld,
)
from needleplan.navigation.recorded_session import RecordedSession
from needleplan.plan import Ablation, Insertion, vector3

Content = dict[str, Any]


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
        self._job: tuple[int, str, int] | None = None
        self._proposed: tuple[JobDone, int] | None = None
        self._handlers: dict[str, Callable[[Command, int, float], Content]] = {
            "help": self._help, "assess": self._assess, "stop": self._stop, "control": self._took_control,
            "release": self._release, "select": self._select, "touch": self._touch, "untouch": self._untouch,
            "register": self._register, "check": self._check, "placed": self._placed,
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
        order = _order(command.words[0])
        self.recorded.take(NeedleSelected(now_s, order))
        self.changes += 1
        return {"order": order}

    def _placed(self, command: Command, peer: int, now_s: float) -> Content:
        order = self.recorded.session.order
        self.recorded.take(NeedlePlaced(now_s))
        self.changes += 1
        needle = next(one for one in self.recorded.session.measured if one.order == order)
        return {"order": order, "entry_mm": needle.entry_mm.tolist(), "tip_mm": needle.tip_mm.tolist()}

    def _delivered(self, command: Command, peer: int, now_s: float) -> Content:
        insertion = self._insertion(_order(command.words[0]), command.words[1:])
        self.recorded.take(EnergyDelivered(now_s, insertion))
        self.changes += 1
        return {"order": insertion.order, "ablations": to_json(insertion.ablations)}

    def _insertion(self, order: int, words: tuple[str, ...]) -> Insertion:
        state = self.recorded.session.state
        needle = next((one for one in state.measured if one.order == order), None)
        if needle is None:
            there = ", ".join(str(one.order) for one in state.measured) or "none"
            raise NavigationError(
                f"needle {order} does not stand in the patient: say 'placed' first (in it: {there})"
            )
        if not words:
            ablations = state.due(needle)
            if not ablations:
                raise NavigationError(
                    f"needle {order} has delivered all that the plan has for it: state what it was"
                )
        else:
            if len(words) < 2:
                raise NavigationError(
                    f"an ablation needs power and duration: write {COMMANDS['delivered'].usage!r}"
                )
            power_w = _number(words[0], "the power", 0.0, 1000.0)
            duration_s = _number(words[1], "the duration", 1.0, 7200.0)
            back_mm = _number(words[2], "the way back from the tip", 0.0, 300.0) if len(words) > 2 else 0.0
            place = vector3(np.asarray(needle.tip_mm) - back_mm * needle.direction)
            ablations = (Ablation(place, power_w or None, duration_s),)
        return needle.carrying(ablations, state.planned_of(order).applicator)

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
        return {"off_mm": off_mm, "holds": off_mm <= session.options.check_mm}

    def _register(self, command: Command, peer: int, now_s: float) -> Content:
        word = command.words[0] if command.words else ""
        if word not in ("", SKIN, "sure"):
            raise NavigationError(f"register is followed by nothing, skin or sure, not by {shortened(word)!r}")
        session = self.recorded.session
        tips = tuple(one.tip_mm for one in session.planned)
        if word == SKIN:
            if self.touches.swept_mm is None or session.registration is None:
                raise NavigationError("the skin refines a registration: register by fiducials and stroke it first")
            return self._begin(
                SkinJob(self.touches.swept_mm, session.registration.X_PR, tips, now_s), command, peer
            )
        touched = tuple(self.touches.touched.values())
        if len(touched) < 3:
            raise NavigationError(f"{len(touched)} fiducials were touched, where 3 or more are needed")
        return self._begin(FiducialJob(self.touches.points, touched, tips, now_s, word == "sure"), command, peer)

    def _replan(self, command: Command, peer: int, now_s: float) -> Content:
        content = self._begin(ReplanJob(self.recorded.session.state, now_s), command, peer)
        if self.jobs.state == "preparing":
            content["words"] = ["Paths are still being searched; this takes longer the first time."]
        return content

    def _assess(self, command: Command, peer: int, now_s: float) -> Content:
        state = self.recorded.session.state
        return self._begin(AssessJob(state.delivered, state.as_planned), command, peer)

    def _begin(self, job: Job, command: Command, peer: int) -> Content:
        self.jobs.submit(job)
        self._job = (peer, command.echo, self.changes)
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
        peer, echo, changes = self._job
        self._job = None
        try:
            content = self._taken(found, changes, now_s)
        except NeedleplanError as error:
            return self._answer(peer, echo, False, {"state": "done", "error": str(error)}, now_s)
        return self._answer(peer, echo, True, {"state": "done", "words": list(found.words), **content}, now_s)

    def _taken(self, found: JobDone, changes: int, now_s: float) -> Content:
        """Take what a job came to; NeedleplanError where it failed or no longer fits."""
        if found.failure is not None:
            raise NavigationError(found.failure)
        event = found.event
        if isinstance(event, Registered):
            self.recorded.take(replace(event, time_s=now_s))
            self.registered = True
            return {"error_mm": event.error_mm, "unsure": list(event.unsure)}
        if isinstance(event, PlanReplaced):
            self._proposed = (found, changes)
            self._require_fitting(changes)
            said = "This is a proposal: 'adopt' goes on with it."
            return {"orders": [one.order for one in event.insertions], "proposal": said}
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


def _order(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 4):
        raise NavigationError(f"a needle is named by its number in the plan, not by {shortened(word)!r}")
    return int(word)


def _number(word: str, what: str, low: float, high: float) -> float:
    try:
        value = float(word) if len(word) <= 20 else math.nan
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise NavigationError(f"{what} must be a number from {low:g} to {high:g}, not {shortened(word)!r}")
    return value
