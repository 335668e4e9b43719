"""The thread that a server or a client has: it waits for all its sockets at once, and passes on what comes.

One thread with a selector rather than asyncio, and sending from the thread that calls: a message handed over to
another thread would wait until the interpreter changes threads, up to 5 ms while the caller computes.
"""

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from needleplan.errors import NetworkError
from needleplan.io.openigtlink.connection import Connection, Peer
from needleplan.io.openigtlink.crc64 import crc64
from needleplan.io.openigtlink.messages import POSE_TYPES, Message
from needleplan.io.openigtlink.options import LinkOptions
from needleplan.io.openigtlink.stream import Refusal

#: Stalled peers and due attempts are looked for so often.
_TICK_S = 0.05
#: What waits to be sent has so long when a link is closed.
_LAST_WORDS_S = 0.5
#: Events that may wait for ``events``; older ones are given up.
MAXIMUM_EVENTS = 1000


@dataclass(frozen=True, slots=True)
class Received:
    """A message that came.

    Attributes:
        message: what it says; a pose in it need not be one, see ``fault`` of the bodies.
        peer: who sent it.
        arrival_s: when its last bytes were read, on the clock of the link.
    """

    message: Message
    peer: Peer
    arrival_s: float


class LinkEventKind(StrEnum):
    """What happened to a link besides messages."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    TURNED_AWAY = "turned away"  #: there were as many clients as are allowed
    REFUSED = "refused"  #: something that came was not passed on
    NOT_REACHED = "not reached"  #: a server does not answer; the client tries again
    INBOX_FULL = "inbox full"  #: a pose that nobody fetched was given up for a newer message
    HANDLER_FAILED = "handler failed"  #: the function that messages or events are passed to raised an error


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """Something that happened to a link.

    Attributes:
        kind: what.
        peer: with whom; None where there is no connection.
        sentence: what a person shall read.
        time_s: when, on the clock of the link.
    """

    kind: LinkEventKind
    peer: Peer | None
    sentence: str
    time_s: float


OnMessage = Callable[[Received], None]
OnEvent = Callable[[LinkEvent], None]


class Link:
    """Connections, their thread, and what came over them.

    Args:
        options: limits of each connection.
        on_message: called by the link's thread with every message; shall return soon. Without it messages wait for
            ``receive``.
        on_event: called by the link's thread with every event; without it they wait for ``events``.
        clock: seconds that never go back.
        on_tick: called by the link's thread about every 50 ms, with the time.
    """

    def __init__(
        self,
        options: LinkOptions,
        on_message: OnMessage | None,
        on_event: OnEvent | None,
        clock: Callable[[], float],
        on_tick: Callable[[float], None] = lambda now_s: None,
    ) -> None:
        self.options = options
        self.clock = clock
        self._on_message, self._on_event, self._on_tick = on_message, on_event, on_tick
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._woken)
        self._connections: tuple[Connection, ...] = ()
        self._inbox: deque[Received] = deque()
        self._events: deque[LinkEvent] = deque(maxlen=MAXIMUM_EVENTS)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._numbers = 0
        # Loaded now, so that the first message is not late.
        crc64(b"\0")
        self._thread = threading.Thread(target=self._run, name="openigtlink", daemon=True)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The connections that stand."""
        return self._connections

    def start(self) -> None:
        """Start the thread; raises NetworkError where it was started before."""
        if self._thread.ident is not None:
            raise NetworkError("a link can be started only once; make a new one")
        self._thread.start()

    def close(self) -> None:
        """Send what waits for up to half a second, close everything, end the thread. May be called twice."""
        self._stopping.set()
        self._wake()
        if self._thread.ident is None:
            self._shut()
        elif threading.current_thread() is not self._thread:
            self._thread.join()

    def send(self, message: Message, peer: int | None = None, newest_only: bool | None = None) -> int:
        """Send to all, or to one by its number; the count of peers that it was sent or is waiting for.

        ``newest_only``: while it waits, a newer one of its type and device takes its place; None: if it is a pose.

        Raises:
            NetworkError: the message does not fit its fields.
        """
        data = message.encode()
        replaceable = message.type_name in POSE_TYPES if newest_only is None else newest_only
        key = (message.type_name, message.device) if replaceable else None
        taken = 0
        wake = False
        for connection in self._connections:
            if peer is None or connection.peer.number == peer:
                sent = connection.send(data, key, self.clock())
                taken += sent
                wake |= not sent or connection.has_output
        if wake:
            self._wake()
        return taken

    def receive(self, timeout_s: float | None) -> Received | None:
        """The oldest message that waits; None after ``timeout_s``, or when the link is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._inbox or self._stopping.is_set(), timeout_s)
            return self._inbox.popleft() if self._inbox else None

    def events(self) -> tuple[LinkEvent, ...]:
        """Events since the last call."""
        with self._changed:
            found = tuple(self._events)
            self._events.clear()
            return found

    def wait_for(self, holds: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until something holds of the connections; False where it does not after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(holds, timeout_s)

    def watch(self, watched: socket.socket, events: int, call: Callable[[], None]) -> None:
        """Call ``call`` in the link's thread when a socket is ready; for the link's thread, or before it starts."""
        self._selector.register(watched, events, call)

    def unwatch(self, watched: socket.socket) -> None:
        """End ``watch``."""
        self._selector.unregister(watched)

    def add(self, link_socket: socket.socket, address: str) -> None:
        """Take over a connected socket; for the link's thread."""
        self._numbers += 1
        peer = Peer(self._numbers, address)
        connection = Connection(link_socket, peer, self.options, self.clock())
        self._selector.register(link_socket, selectors.EVENT_READ, connection)
        with self._changed:
            self._connections = (*self._connections, connection)
            self._changed.notify_all()
        self.tell(LinkEventKind.CONNECTED, peer, f"connected with {address}")

    def tell(self, kind: LinkEventKind, peer: Peer | None, sentence: str) -> None:
        """Pass an event on; for the link's thread."""
        event = LinkEvent(kind, peer, sentence, self.clock())
        if self._on_event is not None:
            try:
                self._on_event(event)
                return
            except Exception as error:  # whatever the user's function raises must not end the link
                failed = f"the function for events raised {type(error).__name__}: {error}"
                event = LinkEvent(LinkEventKind.HANDLER_FAILED, peer, failed, event.time_s)
        with self._changed:
            self._events.append(event)

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"\0")
        except OSError:
            # The thread has been told already, or is gone.
            return

    def _woken(self) -> None:
        self._wake_in.recv(4096)

    def _run(self) -> None:
        tick_s = self.clock()
        while not self._stopping.is_set():
            self._tend()
            for key, mask in self._selector.select(_TICK_S):
                if isinstance(key.data, Connection):
                    self._serve(key.data, mask)
                else:
                    key.data()
            now_s = self.clock()
            if now_s - tick_s >= _TICK_S:
                tick_s = now_s
                for connection in self._connections:
                    connection.check_stall(now_s)
                self._on_tick(now_s)
        self._shut()

    def _tend(self) -> None:
        """Drop connections that failed, and watch for room where bytes wait."""
        for connection in self._connections:
            if connection.failure is not None:
                self._drop(connection)
                continue
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.has_output else 0)
            if self._selector.get_key(connection.socket).events != wanted:
                self._selector.modify(connection.socket, wanted, connection)

    def _serve(self, connection: Connection, mask: int) -> None:
        now_s = self.clock()
        if mask & selectors.EVENT_WRITE:
            connection.flush(now_s)
        if not mask & selectors.EVENT_READ or connection.failure is not None:
            return
        for item in connection.receive(now_s):
            if isinstance(item, Refusal):
                self.tell(LinkEventKind.REFUSED, connection.peer, item.sentence)
            else:
                self._deliver(Received(item, connection.peer, now_s), connection)

    def _deliver(self, received: Received, connection: Connection) -> None:
        if self._on_message is not None:
            try:
                self._on_message(received)
            except Exception as error:  # whatever the user's function raises must not end the link
                failed = f"the function for messages raised {type(error).__name__}: {error}"
                self.tell(LinkEventKind.HANDLER_FAILED, connection.peer, failed)
            return
        given_up: Received | None = None
        with self._changed:
            if len(self._inbox) >= self.options.inbox_messages:
                given_up = next((r for r in self._inbox if r.message.type_name in POSE_TYPES), None)
                if given_up is None:
                    connection.fail("nobody fetches the messages of this peer, and the inbox is full")
                    return
                self._inbox.remove(given_up)
            self._inbox.append(received)
            self._changed.notify_all()
        if given_up is not None:
            sentence = f"a {given_up.message.type_name} that nobody fetched was given up for a newer message"
            self.tell(LinkEventKind.INBOX_FULL, given_up.peer, sentence)

    def _drop(self, connection: Connection) -> None:
        sentence = connection.failure or ""
        self._selector.unregister(connection.socket)
        connection.close()
        with self._changed:
            self._connections = tuple(other for other in self._connections if other is not connection)
            self._changed.notify_all()
        self.tell(LinkEventKind.DISCONNECTED, connection.peer, sentence)

    def _shut(self) -> None:
        end_s = time.monotonic() + _LAST_WORDS_S
        while time.monotonic() < end_s and any(c.has_output and c.failure is None for c in self._connections):
            for connection in self._connections:
                connection.flush(self.clock())
            time.sleep(0.005)
        for connection in self._connections:
            connection.fail("this side closes the link")
            self._drop(connection)
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()
        with self._changed:
            self._changed.notify_all()
