"""OpenIGTLink server: several clients, one thread."""

import selectors
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from needleplan.errors import NetworkError
from needleplan.io.openigtlink.connection import Peer
from needleplan.io.openigtlink.link import Link, LinkEvent, LinkEventKind, OnEvent, OnMessage, Received
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.options import ServerOptions

#: Pause after a client that the system cannot take, because too many files are open for example.
_PAUSE_S = 0.01


class OpenIGTLinkServer:
    """Listens from the moment it is made; serves from ``start`` (or ``with``) until ``close``.

        with OpenIGTLinkServer(ServerOptions(port=0)) as server:
            server.send(Message.now("Needle", pose_to_wire(X_PN)))
            received = server.receive(timeout_s=0.1)

    A slow client never holds up the others: of every device the newest pose alone waits for it, other messages wait
    in their order, and a client for which too much waits is disconnected.

    Args:
        options: where to listen, and the limits.
        on_message: called by the server's thread with every message; it shall return soon, and may call ``send``.
            Without it messages wait for ``receive``.
        on_event: called by the server's thread with every event; it may call ``send``, for example to greet a
            client that connects. Without it they wait for ``events``.
        clock: seconds that never go back, for ``arrival_s``.

    Raises:
        NetworkError: the address is none of this machine, or the port is taken.
    """

    def __init__(
        self,
        options: ServerOptions | None = None,
        on_message: OnMessage | None = None,
        on_event: OnEvent | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options or ServerOptions()
        self._listener = _listen(self._options)
        self._port = int(self._listener.getsockname()[1])
        self._link = Link(self._options.link, on_message, on_event, clock)
        self._link.watch(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def port(self) -> int:
        """Port that it listens at; the one that was taken where 0 was asked for."""
        return self._port

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Clients that are connected."""
        return tuple(connection.peer for connection in self._link.connections)

    def start(self) -> Self:
        """Begin to serve; raises NetworkError the second time."""
        self._link.start()
        return self

    def close(self) -> None:
        """Send what waits for up to half a second, disconnect all, free the port, end the thread."""
        self._link.close()
        self._listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, message: Message, peer: int | None = None, newest_only: bool | None = None) -> int:
        """Send to all clients, or to the one of that number; from any thread, never waiting.

        Args:
            message: what to send.
            peer: number of the one client; None for all.
            newest_only: True where a newer message of the same type and device may take its place while it waits
                for a slow client; None does so for poses alone.

        Returns:
            Number of clients that it was sent to or is waiting for.

        Raises:
            NetworkError: a text or number of the message does not fit its field.
        """
        return self._link.send(message, peer, newest_only)

    def receive(self, timeout_s: float | None = None) -> Received | None:
        """The oldest message that came; None after ``timeout_s`` (None: no end), or when the server is closed."""
        return self._link.receive(timeout_s)

    def events(self) -> tuple[LinkEvent, ...]:
        """Events since the last call; at most the newest 1000."""
        return self._link.events()

    def wait_for_clients(self, count: int, timeout_s: float | None = None) -> bool:
        """Wait until at least ``count`` clients are connected; False where they are not after ``timeout_s``."""
        return self._link.wait_for(lambda: len(self._link.connections) >= count, timeout_s)

    def _accept(self) -> None:
        try:
            client, address = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            # The client was gone before it was served.
            return
        except OSError as error:
            sentence = f"a client could not be accepted ({error.strerror})"
            self._link.tell(LinkEventKind.TURNED_AWAY, None, sentence)
            # It still waits at the door, and would be asked in again without a pause.
            time.sleep(_PAUSE_S)
            return
        name = f"{address[0]}:{address[1]}"
        if len(self._link.connections) >= self._options.clients:
            client.close()
            sentence = f"{name} was turned away, because {self._options.clients} clients are connected"
            self._link.tell(LinkEventKind.TURNED_AWAY, None, sentence)
            return
        self._link.add(client, name)


def _listen(options: ServerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(options.clients)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise NetworkError(
            f"no server can listen at {options.host}, port {options.port} ({error.strerror}); use an address of "
            "this machine and a free port, or port 0"
        ) from None
    return listener
