"""One connection: what waits to be sent, and what a peer's bytes are made of."""

import socket
import threading
from collections import OrderedDict
from dataclasses import dataclass

from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.options import LinkOptions
from needleplan.io.openigtlink.stream import Refusal, RefusalKind, StreamParser

RECEIVE_BYTES = 1 << 16
#: So much is sent at once, so that a large message to a peer that reads quickly does not hold up the others.
_TURN_BYTES = 1 << 20
#: What the system may hold for a peer that does not read. Little, because poses in there cannot be replaced by
#: newer ones any more.
SEND_BUFFER_BYTES = 1 << 17

#: Messages with the same key replace each other while they wait: type and device.
ReplaceKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Attributes:
        number: counted from 1 for each server or client; never used twice.
        address: numeric address and port.
    """

    number: int
    address: str


class Connection:
    """A connected socket. ``send`` may be called by any thread, all else by the thread of the link.

    A message is handed to the system by the thread that sends it, and waits only while the peer does not read.
    """

    def __init__(self, link_socket: socket.socket, peer: Peer, options: LinkOptions, now_s: float) -> None:
        link_socket.setblocking(False)
        _prepare(link_socket, options.stall_s)
        self.socket = link_socket
        self.peer = peer
        self.replaced = 0
        self._options = options
        self._parser = StreamParser(options.stream)
        self._input = bytearray(RECEIVE_BYTES)
        self._credit = options.messages_per_s
        self._credit_s = now_s
        self._heard_s = self._begun_s = now_s
        self._lock = threading.Lock()
        self._current = memoryview(b"")
        self._waiting: OrderedDict[ReplaceKey | int, bytes] = OrderedDict()
        self._waiting_bytes = 0
        self._sequence = 0
        self._taken_s = now_s
        self._failure: str | None = None

    @property
    def failure(self) -> str | None:
        """Why the connection is of no use any more; None while it is."""
        return self._failure

    @property
    def has_output(self) -> bool:
        """True where bytes wait to be sent."""
        return bool(self._current) or bool(self._waiting)

    def fail(self, sentence: str) -> None:
        """Say why the connection is to be closed; the first reason stands."""
        if self._failure is None:
            self._failure = sentence

    def send(self, data: bytes, key: ReplaceKey | None, now_s: float) -> bool:
        """Send a message, or let it wait; False where the connection has failed.

        Args:
            data: the whole message.
            key: of what a newer one may replace while it waits, as poses; None for what must arrive.
            now_s: the time.
        """
        with self._lock:
            if self._failure is not None:
                return False
            if not self.has_output:
                self._taken_s = now_s
                self._current = memoryview(data)
                return self._push(now_s)
            return self._enqueue(data, key)

    def _enqueue(self, data: bytes, key: ReplaceKey | None) -> bool:
        old = self._waiting.get(key) if key is not None else None
        if old is not None and key is not None:
            self._waiting[key] = data
            self._waiting_bytes += len(data) - len(old)
            self.replaced += 1
            return True
        options = self._options
        full = len(self._waiting) >= options.outbox_messages
        if full or (self._waiting and self._waiting_bytes + len(data) > options.outbox_bytes):
            waiting = f"{len(self._waiting)} messages of {self._waiting_bytes} bytes"
            self.fail(f"{waiting} wait for a peer that reads too slowly")
            return False
        self._sequence += 1
        self._waiting[self._sequence if key is None else key] = data
        self._waiting_bytes += len(data)
        return True

    def flush(self, now_s: float) -> None:
        """Send what waits, as far as the peer takes it."""
        with self._lock:
            self._push(now_s)

    def _push(self, now_s: float) -> bool:
        """Send what waits, as far as the peer takes it; False where it is gone."""
        end = _TURN_BYTES
        while self._failure is None and end > 0:
            if not self._current:
                if not self._waiting:
                    return True
                data = self._waiting.popitem(last=False)[1]
                self._waiting_bytes -= len(data)
                self._current = memoryview(data)
            try:
                sent = self.socket.send(self._current)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError as error:
                self.fail(f"the peer is gone ({error.strerror})")
                return False
            self._taken_s = now_s
            self._current = self._current[sent:]
            end -= sent
        return True

    def receive(self, now_s: float) -> list[Message | Refusal]:
        """Read what is there and give the messages that it ends."""
        try:
            count = self.socket.recv_into(self._input)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            self.fail(f"the peer is gone ({error.strerror})")
            return []
        if count == 0:
            self.fail(
                "the peer vanished in the middle of a message"
                if self._parser.is_waiting
                else "the peer closed the connection"
            )
            return []
        self._heard_s = now_s
        was_waiting = self._parser.is_waiting
        with memoryview(self._input) as view:
            found = self._parser.feed(view[:count])
        if found or not was_waiting:
            self._begun_s = now_s
        if found and isinstance(found[-1], Refusal) and found[-1].kind is RefusalKind.FATAL:
            self.fail(found[-1].sentence)
        rate = self._options.messages_per_s
        self._credit = min(self._credit + (now_s - self._credit_s) * rate, rate) - len(found)
        self._credit_s = now_s
        if self._credit < 0:
            self.fail(f"the peer sends more than {rate:g} messages a second")
        return found

    def check_stall(self, now_s: float) -> None:
        """Give the connection up where it has stood still, or a message has been coming, for too long."""
        stall_s, message_s = self._options.stall_s, self._options.message_s
        if self._parser.is_waiting and now_s - self._heard_s > stall_s:
            self.fail(f"half a message came and nothing more for {stall_s:g} s")
        if self._parser.is_waiting and now_s - self._begun_s > message_s:
            self.fail(f"a message was not whole {message_s:g} s after it began")
        with self._lock:
            if self.has_output and now_s - self._taken_s > stall_s:
                self.fail(f"the peer has taken no byte for {stall_s:g} s")

    def close(self) -> None:
        """Close the socket."""
        with self._lock:
            self.fail("the connection is closed")
            self._waiting.clear()
            self._current = memoryview(b"")
            self.socket.close()


def _prepare(link_socket: socket.socket, stall_s: float) -> None:
    """Send at once, keep little, and notice a peer that vanished without a word."""
    link_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    link_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle_s = max(1, round(stall_s))
    # Not every system has these three.
    for name, value in (("TCP_KEEPIDLE", idle_s), ("TCP_KEEPINTVL", max(1, idle_s // 3)), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            link_socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
