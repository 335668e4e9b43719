"""Options of a server and of a client, with their limits."""

from dataclasses import dataclass, field

from needleplan.errors import OptionError
from needleplan.io.openigtlink.messages import DEFAULT_PORT
from needleplan.io.openigtlink.stream import StreamLimits

LOOPBACK = "127.0.0.1"


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise OptionError(f"{name} of a link must lie between {low:g} and {high:g}, not {value}")


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What holds for every connection.

    Attributes:
        stream: what a peer may send in one message.
        messages_per_s: a peer that sends more, averaged over a second, is disconnected.
        inbox_messages: received messages that may wait for ``receive``. A full inbox gives up its oldest pose; a
            peer whose message finds room in none is disconnected.
        outbox_messages, outbox_bytes: what may wait for a slow peer, besides one message of any size. Of every
            device only the newest pose waits; a peer for which more has to wait is disconnected.
        stall_s: a peer is disconnected when a message has begun and nothing more has come, or when bytes wait and
            none is taken, for so long.
        message_s: a peer is disconnected when a message that has begun is not whole after so long, however steadily
            its bytes drip.
    """

    stream: StreamLimits = field(default_factory=StreamLimits)
    messages_per_s: float = 5000.0
    inbox_messages: int = 10_000
    outbox_messages: int = 1000
    outbox_bytes: int = 64 * 1024 * 1024
    stall_s: float = 5.0
    message_s: float = 60.0

    def __post_init__(self) -> None:
        _check("messages_per_s", self.messages_per_s, 1.0, 1e6)
        _check("inbox_messages", self.inbox_messages, 1, 1_000_000)
        _check("outbox_messages", self.outbox_messages, 1, 100_000)
        _check("outbox_bytes", self.outbox_bytes, 1024, 1 << 32)
        _check("stall_s", self.stall_s, 0.05, 600.0)
        _check("message_s", self.message_s, 0.05, 3600.0)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where a server listens.

    Attributes:
        host: numeric address; another than 127.0.0.1 opens it to the network, where nothing is encrypted and
            nobody is asked for a password.
        port: 0 takes a free one.
        clients: more are turned away.
        link: limits of each connection.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    clients: int = 8
    link: LinkOptions = field(default_factory=LinkOptions)

    def __post_init__(self) -> None:
        _check("port", self.port, 0, 65535)
        _check("clients", self.clients, 1, 64)


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Whom a client calls.

    Attributes:
        host: address or name; a name is looked up once, at the start.
        port: of the server.
        connect_s: an attempt is given up after so long.
        first_wait_s, longest_wait_s: wait after a failed attempt or a lost connection; doubled each time.
        link: limits of the connection.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    connect_s: float = 2.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    link: LinkOptions = field(default_factory=LinkOptions)

    def __post_init__(self) -> None:
        _check("port", self.port, 1, 65535)
        _check("connect_s", self.connect_s, 0.05, 60.0)
        _check("first_wait_s", self.first_wait_s, 0.01, 60.0)
        _check("longest_wait_s", self.longest_wait_s, self.first_wait_s, 600.0)
