"""The server as a library class: sockets, the live loop and the process for what takes long, put together."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from needleplan.app.serve.jobs import JobRunner, Patient
from needleplan.app.serve.mailbox import Mailbox
from needleplan.app.serve.options import ServeOptions
from needleplan.app.serve.outgoing import Outgoing, status
from needleplan.app.serve.served_session import ServedSession, Shown
from needleplan.errors import NavigationError, NeedleplanError
from needleplan.io.openigtlink.link import LinkEvent, LinkEventKind
from needleplan.io.openigtlink.server import OpenIGTLinkServer
from needleplan.io.openigtlink.text_bodies import StatusCode
from needleplan.navigation.recorded_session import RecordedSession
from needleplan.plan import Vector3

#: After a stall guidance is not made up for; the next one is due from now.
_CATCH_UP_S = 0.1
#: Comings and goings that are told; somebody who connects again and again must not fill what reads them.
_TOLD = 200


class SessionClock:
    """Seconds of the session: monotonic, whatever happens to the wall clock.

    Args:
        begin_s: where the clock stands now; where the record ended, when a session goes on.

    Attributes:
        epoch_s: seconds since 1970 at the session's 0, by the wall clock now.
    """

    def __init__(self, begin_s: float = 0.0) -> None:
        self._zero_s = time.monotonic() - begin_s
        self.epoch_s = time.time() - begin_s

    def __call__(self) -> float:
        return time.monotonic() - self._zero_s


class NavigationServer:
    """Serves one session from ``start`` (or ``with``) until ``close``; listens from the moment it is made::

        clock = SessionClock()
        with RecordedSession.begin(log, session) as recorded:
            with NavigationServer(recorded, patient, jobs, clock, ServeOptions()) as server:
                server.wait(timeout_s=None)

    The loop has a thread of its own. Log and jobs are closed by whoever opened them.

    Args:
        recorded: the session and its log.
        patient: plan, anatomy and zone model.
        jobs: does what takes long, a ``JobProcess`` for example.
        clock: the session's clock.
        options: names, rates, limits, address.
        shown: zones and route.
        points: fiducials in the image by name, patient LPS.
        tell: called with a sentence whenever a client comes or goes, for the first of them.

    Attributes:
        failure: why the session ended by itself; None where it did not.
        ticks: guidances so far.
        longest_tick_s: longest time that one of them took.

    Raises:
        NetworkError: the address is none of this machine, or the port is taken.
    """

    def __init__(
        self,
        recorded: RecordedSession,
        patient: Patient,
        jobs: JobRunner,
        clock: SessionClock,
        options: ServeOptions | None = None,
        shown: Shown | None = None,
        points: dict[str, Vector3] | None = None,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._options = options or ServeOptions()
        self._clock, self._tell = clock, tell
        self._told = 0
        self._mailbox = Mailbox()
        self._events: list[LinkEvent] = []
        self._events_lock = threading.Lock()
        self._link = OpenIGTLinkServer(self._options.server, self._mailbox.put, self._happened, clock)
        self._served = ServedSession(
            recorded, patient, jobs, self._options, shown or Shown(), points or {}, clock.epoch_s
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="navigation", daemon=True)
        self.failure: str | None = None
        self.ticks = 0
        self.longest_tick_s = 0.0

    @property
    def port(self) -> int:
        """Port that it listens at."""
        return self._link.port

    def start(self) -> Self:
        """Begin to serve; raises NetworkError the second time."""
        self._link.start()
        self._thread.start()
        return self

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the server is stopped or has failed (see ``failure``); False after ``timeout_s``."""
        return self._stopping.wait(timeout_s)

    def stop(self) -> None:
        """Ask it to end; may be called by a handler of signals."""
        self._stopping.set()

    def close(self) -> None:
        """Tell all clients, disconnect them, end the thread. May be called twice."""
        self._stopping.set()
        self._mailbox.wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._link.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _happened(self, event: LinkEvent) -> None:
        with self._events_lock:
            self._events.append(event)
        self._mailbox.wake()

    def _run(self) -> None:
        try:
            self._serve()
        except (NeedleplanError, OSError) as error:
            # Without a record there is no guidance: a full disk ends the session rather than going on unseen.
            self.failure = f"the session ended: {error}"
            self._last_word(StatusCode.PANIC, self.failure)
        except Exception as error:
            self.failure = f"the session ended by an error in the program: {type(error).__name__}: {error}"
            self._last_word(StatusCode.PANIC, self.failure)
            raise
        else:
            self._last_word(StatusCode.SHUT_DOWN, "The server ends; guidance ends with it.")
        finally:
            self._stopping.set()

    def _serve(self) -> None:
        period_s = 1.0 / self._options.rate_hz
        due_s = self._clock()
        while not self._stopping.is_set():
            found = self._mailbox.take(due_s - self._clock(), self._woken)
            events = self._new_events()
            gone = [event for event in events if event.kind is LinkEventKind.DISCONNECTED]
            # Who says stop and leaves at once is heard.
            for event in events:
                if event not in gone:
                    self._send(self._seen(event))
            for received in found:
                self._send(self._served.take(received, self._clock()))
            for event in gone:
                self._send(self._seen(event))
            now_s = self._clock()
            if now_s < due_s:
                continue
            self._send(self._served.tick(now_s))
            self.ticks += 1
            self.longest_tick_s = max(self.longest_tick_s, self._clock() - now_s)
            due_s = due_s + period_s if now_s - due_s < _CATCH_UP_S else now_s + period_s

    def _woken(self) -> bool:
        return bool(self._events) or self._stopping.is_set()

    def _new_events(self) -> list[LinkEvent]:
        with self._events_lock:
            found, self._events = self._events, []
        return found

    def _seen(self, event: LinkEvent) -> list[Outgoing]:
        if event.kind is LinkEventKind.CONNECTED and event.peer is not None:
            self._say(f"client {event.peer.number}: {event.sentence}")
            return self._served.connected(event.peer.number, self._clock())
        if event.kind is LinkEventKind.DISCONNECTED and event.peer is not None:
            self._served.left(event.peer.number)
            self._say(f"client {event.peer.number} left: {event.sentence}")
        elif event.kind is LinkEventKind.TURNED_AWAY:
            self._say(event.sentence)
        elif event.kind is LinkEventKind.REFUSED:
            self._served.ignored["damaged, unknown or too large"] += 1
        elif event.kind is LinkEventKind.HANDLER_FAILED:
            raise NavigationError(event.sentence)
        return []

    def _say(self, sentence: str) -> None:
        self._told += 1
        if self._told <= _TOLD:
            self._tell(sentence if self._told < _TOLD else "further comings and goings are not told")

    def _send(self, messages: list[Outgoing]) -> None:
        for one in messages:
            self._link.send(one.message, one.peer, one.newest_only)

    def _last_word(self, code: StatusCode, sentence: str) -> None:
        time_s = self._clock.epoch_s + self._clock()
        self._link.send(status("needleplan", code, "ended", sentence, time_s))
