"""Messages out of a stream of bytes that comes in pieces of any length and may be hostile."""

from dataclasses import dataclass
from enum import StrEnum

from needleplan.errors import NetworkError, OptionError
from needleplan.io.openigtlink.header import (
    EXTENDED_BYTES,
    HEADER_BYTES,
    MAXIMUM_METADATA_BYTES,
    Header,
)
from needleplan.io.openigtlink.messages import Message, body_class, decode_body
from needleplan.io.openigtlink.pose_bodies import MATRIX_BYTES
from needleplan.io.openigtlink.text_bodies import MAXIMUM_REQUEST_BYTES, MAXIMUM_STATUS_BYTES, MAXIMUM_STRING_BYTES

#: Largest content of the types that cannot be long; all others are bounded by ``StreamLimits``.
_CONTENT_BYTES = {
    "TRANSFORM": MATRIX_BYTES,
    "POSITION": 28,
    "QTRANS": 28,
    "STRING": 4 + MAXIMUM_STRING_BYTES,
    "STATUS": 30 + MAXIMUM_STATUS_BYTES,
    "SENSOR": 10 + 8 * 255,
}


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What a peer may send.

    Attributes:
        body_bytes: largest body of types without a bound of their own (IMAGE, POLYDATA ...), and of unknown ones.
        faults: damaged or malformed messages, after which the connection is given up.
    """

    body_bytes: int = 256 * 1024 * 1024
    faults: int = 10

    def __post_init__(self) -> None:
        if not 1024 <= self.body_bytes <= 1 << 31 or self.faults < 1:
            raise OptionError(
                f"a stream may have bodies of 1024 to {1 << 31} bytes and at least 1 fault, not {self.body_bytes} "
                f"and {self.faults}"
            )


class RefusalKind(StrEnum):
    """Why something that came was not passed on."""

    UNKNOWN_TYPE = "unknown type"  #: skipped unread
    CHECKSUM = "checksum"  #: damaged on its way; dropped
    MALFORMED = "malformed"  #: dropped
    FATAL = "fatal"  #: where the next message begins is lost, or too much was wrong: the connection is of no use


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that came and was not passed on.

    Attributes:
        kind: why.
        type_name: type of the message; empty where there was none.
        device: its device name.
        sentence: what was wrong and what would be right.
    """

    kind: RefusalKind
    type_name: str
    device: str
    sentence: str


class StreamParser:
    """Bytes in, messages out.

    A header is judged before its body is waited for, and no more is kept than came. A damaged or malformed message
    of sound length is dropped and counted, an unknown one skipped without being kept; both are told. After a
    header that is none, or a body larger than its type can be, nobody knows where the next message begins: the
    stream is given up.
    """

    def __init__(self, limits: StreamLimits | None = None) -> None:
        self._limits = limits or StreamLimits()
        self._buffer = bytearray()
        self._header: Header | None = None
        self._skip_bytes = 0
        self._faults = 0
        self._dead = False

    @property
    def is_waiting(self) -> bool:
        """True where a message has begun and not ended."""
        return bool(self._buffer or self._header or self._skip_bytes)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message | Refusal]:
        """Messages that ``data`` ends, in their order, and what was refused.

        Raises:
            NetworkError: the stream was given up before (its last refusal was fatal).
        """
        if self._dead:
            raise NetworkError("the stream of a peer was given up; open a new connection")
        found: list[Message | Refusal] = []
        self._buffer += data
        place = 0
        with memoryview(self._buffer) as view:
            while not _is_over(found):
                step = self._step(view, place, found)
                if step is None:
                    break
                place = step
        self._dead = _is_over(found)
        if self._dead:
            self._buffer = bytearray()
        elif place:
            # A new buffer, because the old one cannot shrink while anything still looks into it.
            self._buffer = self._buffer[place:]
        return found

    def _step(self, view: memoryview, place: int, found: list[Message | Refusal]) -> int | None:
        """Place after one header, skipped stretch or body; None where more bytes are needed."""
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(view) - place)
            self._skip_bytes -= skipped
            return place + skipped if skipped else None
        if self._header is None:
            if len(view) - place < HEADER_BYTES:
                return None
            self._read_header(view[place : place + HEADER_BYTES], found)
            return place + HEADER_BYTES
        header = self._header
        end = place + header.body_bytes
        if len(view) < end:
            return None
        self._header = None
        with view[place:end] as body:
            self._read_body(header, body, found)
        return end

    def _read_header(self, raw: memoryview, found: list[Message | Refusal]) -> None:
        try:
            header = Header.decode(raw)
        except NetworkError as error:
            self._give_up(found, "", "", str(error))
            return
        limit = self._limits.body_bytes
        if header.type_name.startswith(("GET_", "STT_", "STP_", "RTS_")):
            limit = MAXIMUM_REQUEST_BYTES
        limit = _CONTENT_BYTES.get(header.type_name, limit)
        if header.version == 2:
            limit += EXTENDED_BYTES + MAXIMUM_METADATA_BYTES
        if header.body_bytes > limit:
            self._give_up(
                found,
                header.type_name,
                header.device,
                f"a {header.type_name} says that its body has {header.body_bytes} bytes, but the limit is {limit}",
            )
        elif body_class(header.type_name) is None:
            self._skip_bytes = header.body_bytes
            sentence = f"messages of type {header.type_name} are not known and skipped"
            found.append(Refusal(RefusalKind.UNKNOWN_TYPE, header.type_name, header.device, sentence))
        else:
            self._header = header

    def _read_body(self, header: Header, body: memoryview, found: list[Message | Refusal]) -> None:
        try:
            found.append(decode_body(header, body))
            return
        except NetworkError as error:
            sentence = str(error)
        kind = RefusalKind.CHECKSUM if sentence.startswith("the checksum") else RefusalKind.MALFORMED
        found.append(Refusal(kind, header.type_name, header.device, sentence))
        self._faults += 1
        if self._faults >= self._limits.faults:
            self._give_up(
                found,
                header.type_name,
                header.device,
                f"{self._faults} messages of this peer were damaged or malformed, so the connection is given up",
            )

    def _give_up(self, found: list[Message | Refusal], type_name: str, device: str, sentence: str) -> None:
        self._header = None
        self._skip_bytes = 0
        found.append(Refusal(RefusalKind.FATAL, type_name, device, sentence))


def _is_over(found: list[Message | Refusal]) -> bool:
    last = found[-1] if found else None
    return isinstance(last, Refusal) and last.kind is RefusalKind.FATAL
