"""Bodies of words: STRING, STATUS, and requests (GET_, STT_, STP_) with their answers (RTS_)."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from needleplan.errors import NetworkError
from needleplan.io.openigtlink.body import MessageBody
from needleplan.io.openigtlink.fields import decode_text, encode_text, pack_text, unpack_text

MAXIMUM_STRING_BYTES = 65_535
MAXIMUM_STATUS_BYTES = 65_536
#: A request carries a few numbers at most.
MAXIMUM_REQUEST_BYTES = 4096
REQUEST_PREFIXES = ("GET_", "STT_", "STP_", "RTS_")

_STRING = struct.Struct(">HH")
_STATUS = struct.Struct(">Hq20s")
_START_TRACKING = struct.Struct(">i32s")


@dataclass(frozen=True, slots=True)
class Text(MessageBody):
    """STRING: a text, sent as ASCII where that suffices and as UTF-8 otherwise.

    Attributes:
        text: at most 65535 bytes.
    """

    text: str

    @property
    def type_name(self) -> str:
        return "STRING"

    def encode(self) -> bytes:
        encoding, raw = encode_text(self.text, "a STRING")
        if len(raw) > MAXIMUM_STRING_BYTES:
            raise NetworkError(f"a STRING can carry {MAXIMUM_STRING_BYTES} bytes, not {len(raw)}")
        return _STRING.pack(encoding, len(raw)) + raw

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        if len(content) < _STRING.size:
            raise NetworkError(
                f"the body of STRING must have at least {_STRING.size} bytes, but has {len(content)}"
            )
        encoding, length = _STRING.unpack(content[: _STRING.size])
        if length != len(content) - _STRING.size:
            raise NetworkError(
                f"a STRING says that it has {length} bytes, but its body holds {len(content) - _STRING.size}"
            )
        return cls(decode_text(content[_STRING.size :], encoding, "a STRING"))


class StatusCode(IntEnum):
    """Codes of the protocol's page "Status"; a peer may send others."""

    INVALID = 0
    OK = 1
    UNKNOWN_ERROR = 2
    PANIC = 3
    NOT_FOUND = 4
    ACCESS_DENIED = 5
    BUSY = 6
    TIME_OUT = 7
    OVERFLOW = 8
    CHECKSUM_ERROR = 9
    CONFIG_ERROR = 10
    RESOURCE_ERROR = 11
    UNKNOWN_INSTRUCTION = 12
    NOT_READY = 13
    MANUAL_MODE = 14
    DISABLED = 15
    NOT_PRESENT = 16
    UNKNOWN_VERSION = 17
    HARDWARE_FAILURE = 18
    SHUT_DOWN = 19


@dataclass(frozen=True, slots=True)
class Status(MessageBody):
    """STATUS: how a device is, or how a command went.

    Attributes:
        code: one of ``StatusCode``, or another number of 16 bits.
        subcode: a number of the device's own.
        name: short name of an error, at most 20 bytes.
        sentence: what a person shall read.
    """

    code: int
    subcode: int = 0
    name: str = ""
    sentence: str = ""

    @property
    def type_name(self) -> str:
        return "STATUS"

    def encode(self) -> bytes:
        if not (0 <= self.code < 1 << 16 and -(1 << 63) <= self.subcode < 1 << 63):
            raise NetworkError(f"a STATUS cannot carry code {self.code} and subcode {self.subcode}")
        raw = encode_text(self.sentence, "a STATUS")[1]
        if b"\0" in raw or len(raw) >= MAXIMUM_STATUS_BYTES:
            raise NetworkError(
                f"the sentence of a STATUS must be below {MAXIMUM_STATUS_BYTES} bytes, without zeros"
            )
        return _STATUS.pack(self.code, self.subcode, pack_text(self.name, 20, "the name of a STATUS")) + raw + b"\0"

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        if not _STATUS.size <= len(content) <= _STATUS.size + MAXIMUM_STATUS_BYTES:
            raise NetworkError(f"the body of STATUS cannot have {len(content)} bytes")
        code, subcode, name = _STATUS.unpack(content[: _STATUS.size])
        raw = bytes(content[_STATUS.size :]).split(b"\0", 1)[0]
        return cls(code, subcode, unpack_text(name, "the name of a STATUS"), decode_text(raw, 106, "a STATUS"))


@dataclass(frozen=True, slots=True)
class Request(MessageBody):
    """A request or its answer, of whatever kind: GET_ (once), STT_ (go on sending), STP_ (stop), RTS_ (answer).

    Attributes:
        wire_type: with its prefix: "GET_TRANS", "STT_TDATA".
        content: what it carries; see ``start_tracking`` and ``answer``.
    """

    wire_type: str
    content: bytes = b""

    def __post_init__(self) -> None:
        if not self.wire_type.startswith(REQUEST_PREFIXES):
            raise NetworkError(f"a request begins with {', '.join(REQUEST_PREFIXES)}, not as {self.wire_type!r}")
        if len(self.content) > MAXIMUM_REQUEST_BYTES:
            raise NetworkError(f"a request can carry {MAXIMUM_REQUEST_BYTES} bytes, not {len(self.content)}")

    @classmethod
    def start_tracking(cls, interval_ms: int, coordinates: str = "") -> "Request":
        """STT_TDATA: ask for poses every ``interval_ms`` (0: as often as there are) in named coordinates."""
        name = pack_text(coordinates, 32, "the coordinates of a request")
        return cls("STT_TDATA", _START_TRACKING.pack(interval_ms, name))

    @classmethod
    def answer(cls, subject: str, accepted: bool) -> "Request":
        """RTS_: answer to a request about ``subject`` ("TDATA"): 0 where it is accepted, 1 where not."""
        return cls(f"RTS_{subject}", b"\0" if accepted else b"\1")

    @property
    def subject(self) -> str:
        """Type without the prefix."""
        return self.wire_type[4:]

    @property
    def accepted(self) -> bool:
        """What an answer says; False for every other request."""
        return self.wire_type.startswith("RTS_") and self.content == b"\0"

    @property
    def tracking(self) -> tuple[int, str]:
        """Interval in ms (0: as often as there are) and coordinates of an STT_TDATA.

        Raises:
            NetworkError: this is none, or it is damaged, or the interval is negative.
        """
        if self.wire_type != "STT_TDATA" or len(self.content) != _START_TRACKING.size:
            raise NetworkError(f"an STT_TDATA has {_START_TRACKING.size} bytes; this {self.wire_type} is none")
        interval_ms, name = _START_TRACKING.unpack(self.content)
        if interval_ms < 0:
            raise NetworkError(f"the interval of an STT_TDATA must be 0 ms or more, not {interval_ms}")
        return interval_ms, unpack_text(name, "the coordinates of an STT_TDATA")

    @property
    def type_name(self) -> str:
        return self.wire_type

    def encode(self) -> bytes:
        return self.content

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        return cls(type_name, bytes(content[: MAXIMUM_REQUEST_BYTES + 1]))
