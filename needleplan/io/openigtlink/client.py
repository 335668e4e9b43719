"""OpenIGTLink client: calls a server, and calls again when the connection is lost."""

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from needleplan.errors import NetworkError
from needleplan.io.openigtlink.link import Link, LinkEvent, LinkEventKind, OnEvent, OnMessage, Received
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.options import ClientOptions

#: A connection that has lasted so long is a good one, after which waits begin anew.
_STEADY_S = 1.0


class OpenIGTLinkClient:
    """Calls from ``start`` (or ``with``) until ``close``; a lost connection is made anew, after growing waits.

        with OpenIGTLinkClient(ClientOptions(port=18944)) as client:
            client.wait_until_connected(timeout_s=5.0)
            client.send(Message.now("Needle", Transform(matrix)))

    Args:
        options: whom to call, and the limits.
        on_message: called by the client's thread with every message; without it they wait for ``receive``.
        on_event: called by the client's thread with every event; without it they wait for ``events``.
        clock: seconds that never go back, for ``arrival_s``.

    Raises:
        NetworkError: the name of the host is not known.
    """

    def __init__(
        self,
        options: ClientOptions | None = None,
        on_message: OnMessage | None = None,
        on_event: OnEvent | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options or ClientOptions()
        try:
            self._addresses = socket.getaddrinfo(self._options.host, self._options.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NetworkError(f"the host {self._options.host} is not known ({error.strerror})") from None
        self._link = Link(self._options.link, on_message, on_event, clock, self._tick)
        self._calling: socket.socket | None = None
        self._attempts = 0
        self._failures = 0
        self._call_s = -float("inf")
        self._connected_s = 0.0

    @property
    def is_connected(self) -> bool:
        """True while a connection stands."""
        return bool(self._link.connections)

    def start(self) -> Self:
        """Begin to call; raises NetworkError the second time."""
        self._link.start()
        return self

    def close(self) -> None:
        """Send what waits for up to half a second, disconnect, end the thread."""
        self._link.close()
        if self._calling is not None:
            self._calling.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, message: Message) -> bool:
        """Send from any thread, never waiting; False where there is no connection, and the message is not kept.

        Raises:
            NetworkError: a text or number of the message does not fit its field.
        """
        return self._link.send(message) > 0

    def receive(self, timeout_s: float | None = None) -> Received | None:
        """The oldest message that came; None after ``timeout_s`` (None: no end), or when the client is closed."""
        return self._link.receive(timeout_s)

    def events(self) -> tuple[LinkEvent, ...]:
        """Events since the last call; at most the newest 1000."""
        return self._link.events()

    def wait_until_connected(self, timeout_s: float | None = None) -> bool:
        """Wait for a connection; False where there is none after ``timeout_s``."""
        return self._link.wait_for(lambda: self.is_connected, timeout_s)

    def _tick(self, now_s: float) -> None:
        if self._calling is not None:
            if now_s - self._call_s > self._options.connect_s:
                self._give_up(os.strerror(errno.ETIMEDOUT))
        elif self.is_connected:
            self._call_s = now_s
            if now_s - self._connected_s > _STEADY_S:
                self._failures = 0
        elif now_s >= self._call_s + (self._wait_s() if self._attempts else 0.0):
            self._call(now_s)

    def _wait_s(self) -> float:
        return float(min(self._options.first_wait_s * 2.0 ** min(self._failures, 30), self._options.longest_wait_s))

    def _call(self, now_s: float) -> None:
        family, kind, protocol, _, address = self._addresses[self._attempts % len(self._addresses)]
        self._attempts += 1
        self._call_s = now_s
        self._calling = socket.socket(family, kind, protocol)
        self._calling.setblocking(False)
        self._link.watch(self._calling, selectors.EVENT_WRITE, self._answered)
        code = self._calling.connect_ex(address)
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self._give_up(os.strerror(code))

    def _answered(self) -> None:
        calling = self._calling
        if calling is None:
            return
        code = calling.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        # A socket that calls a port of this machine where nobody listens may be given that port, and reach itself.
        if code or calling.getsockname() == calling.getpeername():
            self._give_up(os.strerror(code or errno.ECONNREFUSED))
            return
        self._link.unwatch(calling)
        self._calling = None
        # A server that turns its clients away at once is not called every tenth of a second.
        self._failures += 1
        self._connected_s = self._call_s
        self._link.add(calling, f"{self._options.host}:{self._options.port}")

    def _give_up(self, why: str) -> None:
        if self._calling is not None:
            self._link.unwatch(self._calling)
            self._calling.close()
            self._calling = None
        sentence = (
            f"the server at {self._options.host}, port {self._options.port}, is not reached ({why}); "
            f"the next attempt is in {self._wait_s():g} s"
        )
        self._failures += 1
        self._link.tell(LinkEventKind.NOT_REACHED, None, sentence)
