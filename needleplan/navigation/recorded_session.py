"""A live session that records what it is told and what it says, and its record played again."""

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from needleplan.errors import NavigationError, NeedleplanError
from needleplan.io.value_json import from_json, to_json
from needleplan.navigation.events import (
    BreathingSample,
    EnergyDelivered,
    GuidanceAsked,
    LandmarkChecked,
    NeedlePlaced,
    NeedleSelected,
    NeedleWithdrawn,
    PlanReplaced,
    PoseRefused,
    Registered,
    SessionEvent,
    SessionHeld,
    ToolPose,
)
from needleplan.navigation.guidance import Guidance
from needleplan.navigation.live_session import LiveSession
from needleplan.navigation.session_log import (
    EVENT,
    GUIDANCE,
    REFUSED,
    RecordedLog,
    read_log,
)
from needleplan.navigation.session_log_writer import SessionLog, locked_log, require_same

_EVENTS: dict[str, type[SessionEvent]] = {
    kind.__name__: kind
    for kind in (
        ToolPose,
        PoseRefused,
        BreathingSample,
        Registered,
        LandmarkChecked,
        NeedleSelected,
        SessionHeld,
        NeedlePlaced,
        NeedleWithdrawn,
        EnergyDelivered,
        PlanReplaced,
        GuidanceAsked,
    )
}
#: Samples come many times a second; all else is a decision of people, and on the disk before it is answered.
_SAMPLES = (ToolPose, PoseRefused, BreathingSample, GuidanceAsked)
#: A session that goes on computes one of so many guidances again, and all that stand in the last lines.
_ONE_OF, _LAST_LINES = 20, 400


def event_to_json(event: SessionEvent) -> dict[str, Any]:
    """An event as plain values, with its name."""
    return {"kind": type(event).__name__, **to_json(event)}


def event_from_json(data: Any, where: str) -> SessionEvent:
    """The event of plain values.

    Raises:
        NavigationError: they are none.
    """
    if not isinstance(data, dict) or data.get("kind") not in _EVENTS:
        raise NavigationError(f"{where}: not an event of a session: its kind must be one of {', '.join(_EVENTS)}")
    rest = {key: value for key, value in data.items() if key != "kind"}
    try:
        return from_json(_EVENTS[data["kind"]], rest, where)
    except NeedleplanError as error:
        raise NavigationError(f"{where}: {error}") from error


class RecordedSession:
    """A session whose every event is recorded before it is answered.

    Calls from several threads are taken one after the other.

    Args:
        session: the session.
        log: its log.

    Attributes:
        session: the session.
        log: its log.
    """

    def __init__(self, session: LiveSession, log: SessionLog) -> None:
        self.session = session
        self.log = log
        self._lock = threading.Lock()

    @classmethod
    def begin(cls, path: Path, session: LiveSession, sync_s: float = 0.25) -> "RecordedSession":
        """Record a new session in a new file."""
        return cls(session, SessionLog.create(path, session, sync_s))

    @classmethod
    def resume(cls, path: Path, session: LiveSession, sync_s: float = 0.25) -> "RecordedSession":
        """Go on with a recorded session, after a kill for instance.

        Args:
            path: its log; from here on no other process can write it.
            session: a new session of the same plan and options; it is told all that was recorded.
            sync_s: within this time every line is on the disk.

        Raises:
            NavigationError: the log is damaged, of another session, written by another, or the session does not
                say what it said then. Of long sessions one guidance of 20 and the latest are compared.
        """
        handle = locked_log(path)
        try:
            recorded = read_log(path)
            replayed = replay(recorded, session, one_of=_ONE_OF)
            if not replayed.equal:
                raise NavigationError(f"{path.name}: {replayed.difference}")
        except BaseException:
            os.close(handle)
            raise
        return cls(session, SessionLog.reopen(recorded, handle, sync_s))

    def take(self, event: SessionEvent) -> Guidance | None:
        """As ``LiveSession.take``; when it returns, event and answer survive the end of the process.

        Raises:
            NavigationError: the event cannot be recorded, and the session is not told; or what ``LiveSession.take``
                raises.
        """
        decided = not isinstance(event, _SAMPLES)
        with self._lock:
            try:
                told = event_to_json(event)
            except NeedleplanError as error:
                raise NavigationError(f"{type(event).__name__} cannot be recorded: {error}") from error
            if decided:
                # What a replay will read is what the session is told.
                event = event_from_json(json.loads(json.dumps(told)), type(event).__name__)
            self.log.write(EVENT, told, at_once=decided)
            try:
                answer = self.session.take(event)
            except NeedleplanError as error:
                self.log.write(REFUSED, str(error))
                raise
            if answer is not None:
                self.log.write(GUIDANCE, to_json(answer))
            return answer

    def close(self) -> None:
        """End the session's record."""
        with self._lock:
            self.log.close()

    def __enter__(self) -> "RecordedSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to.

    Attributes:
        events: number of events.
        answers: number of guidances and refusals that were compared.
        equal: True where every one of them is what was recorded, bit by bit.
        difference: the first that is not, in a sentence; empty where there is none.
    """

    events: int
    answers: int
    equal: bool
    difference: str


def replay(
    recorded: RecordedLog,
    session: LiveSession,
    told: Callable[[SessionEvent, Guidance | str | None], None] | None = None,
    one_of: int = 1,
) -> Replayed:
    """Tell a new session all that was recorded, and compare what it says.

    An event whose answer is missing is allowed where the record ended or was resumed: there the session was killed.

    Args:
        recorded: the log.
        session: a session that has taken no event.
        told: called with each event and its answer: guidance, the sentence of a refusal, or None.
        one_of: guidance changes nothing, so that one of so many is computed again, and those of the last lines;
            1 compares all.

    Raises:
        NavigationError: the log is of another session, or a line of it is no event.
    """
    name = recorded.path.name
    require_same(recorded.header, session, name)
    events = answers = 0
    difference = ""
    said: tuple[str, str] | None = None
    asked, skipped, latest = 0, False, None
    for entry in recorded.entries():
        if entry.kind == EVENT:
            if said is not None and not difference:
                difference = f"line {entry.number}: the session now answers where it did not then"
            event = event_from_json(entry.value, f"{name}, line {entry.number}")
            skipped = False
            if isinstance(event, GuidanceAsked):
                asked += 1
                skipped = asked % one_of != 0 and entry.number < recorded.lines - _LAST_LINES
            if isinstance(event, GuidanceAsked) and skipped:
                latest = event if latest is None or event.time_s > latest.time_s else latest
                events, said = events + 1, None
                continue
            answer: Guidance | str | None
            try:
                answer = session.take(event)
            except NeedleplanError as error:
                answer = str(error)
            events += 1
            said = None
            if isinstance(answer, Guidance):
                said = (GUIDANCE, _text(to_json(answer)))
            elif answer is not None:
                said = (REFUSED, _text(answer))
            if told is not None:
                told(event, answer)
        elif entry.kind in (GUIDANCE, REFUSED) and skipped:
            skipped = False
        elif entry.kind in (GUIDANCE, REFUSED):
            answers += 1
            if said != (entry.kind, _text(entry.value)) and not difference:
                difference = f"line {entry.number}: the session does not say now what it said then"
            said = None
        else:
            said = None
    if latest is not None and latest.time_s > session.clock_s:
        # All that an asked guidance leaves behind is how late it is.
        with suppress(NeedleplanError):
            session.take(latest)
    return Replayed(events, answers, not difference, difference)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
