"""Whole messages of OpenIGTLink: bodies with their header, as values and as bytes."""

import time
from dataclasses import dataclass

from needleplan.errors import NetworkError
from needleplan.io.openigtlink.array_bodies import NumberArray, Sensor
from needleplan.io.openigtlink.body import MessageBody
from needleplan.io.openigtlink.crc64 import crc64
from needleplan.io.openigtlink.header import (
    HEADER_BYTES,
    VERSIONS,
    Header,
    Metadata,
    seconds_of,
    stamp_of,
    unwrap_content,
    wrap_content,
)
from needleplan.io.openigtlink.image_body import Image
from needleplan.io.openigtlink.point_bodies import Points, Trajectories
from needleplan.io.openigtlink.polydata_body import PolyData
from needleplan.io.openigtlink.pose_bodies import Position, TrackingData, Transform
from needleplan.io.openigtlink.text_bodies import REQUEST_PREFIXES, Request, Status, Text

DEFAULT_PORT = 18944

_BODIES: dict[str, type[MessageBody]] = {
    "TRANSFORM": Transform,
    "POSITION": Position,
    "QTRANS": Position,
    "TDATA": TrackingData,
    "STRING": Text,
    "STATUS": Status,
    "POINT": Points,
    "TRAJ": Trajectories,
    "SENSOR": Sensor,
    "NDARRAY": NumberArray,
    "IMAGE": Image,
    "POLYDATA": PolyData,
}
#: Messages of which only the newest of each device matters.
POSE_TYPES = frozenset({"TRANSFORM", "POSITION", "QTRANS", "TDATA"})


def body_class(type_name: str) -> type[MessageBody] | None:
    """What reads bodies of a type; None where it is not known."""
    return Request if type_name.startswith(REQUEST_PREFIXES) else _BODIES.get(type_name)


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message.

    Attributes:
        device: name of who sends it, or of what it is about; at most 20 bytes.
        body: content; its class is its kind.
        stamp: when the content was true, in units of 2⁻³² s since 1970; 0 where that is not told.
        version: of the header: 1, which every peer reads, or 2, which carries what follows.
        message_id: 32 bits, with version 2 only.
        metadata: pairs of texts, with version 2 only.
    """

    device: str
    body: MessageBody
    stamp: int = 0
    version: int = 1
    message_id: int = 0
    metadata: Metadata = ()

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise NetworkError(f"a message has header version 1 or 2, not {self.version}")
        if self.version == 1 and (self.metadata or self.message_id):
            raise NetworkError("metadata and an identifier need header version 2")
        if not 0 <= self.stamp < 1 << 64 or not 0 <= self.message_id < 1 << 32:
            raise NetworkError("the time stamp of a message has 64 bits and its identifier 32")

    @classmethod
    def at(cls, time_s: float, device: str, body: MessageBody) -> "Message":
        """Message of version 1 that was true ``time_s`` after 1970."""
        return cls(device, body, stamp_of(time_s))

    @classmethod
    def now(cls, device: str, body: MessageBody) -> "Message":
        """Message of version 1 that is true now, by this machine's clock."""
        return cls(device, body, stamp_of(time.time()))

    @property
    def type_name(self) -> str:
        """Type in the header."""
        return self.body.type_name

    @property
    def time_s(self) -> float:
        """Time stamp in seconds since 1970; 0 where none is given."""
        return seconds_of(self.stamp)

    def encode(self) -> bytes:
        """The message as bytes.

        Raises:
            NetworkError: a text or number does not fit its field.
        """
        body = self.body.encode()
        if self.version == 2:
            body = wrap_content(body, self.message_id, self.metadata)
        return Header(self.version, self.type_name, self.device, self.stamp, len(body), crc64(body)).encode() + body


def decode_body(header: Header, body: memoryview) -> Message:
    """Message of a header and of as many bytes as it tells of.

    Raises:
        NetworkError: the checksum differs, the type is not known, or the body is malformed.
    """
    if crc64(body) != header.crc:
        raise NetworkError(f"the checksum of {header.type_name} does not fit its body, so it is damaged")
    kind = body_class(header.type_name)
    if kind is None:
        raise NetworkError(f"messages of type {header.type_name} are not known")
    content, message_id, metadata = (body, 0, ()) if header.version == 1 else unwrap_content(body)
    return Message(
        header.device, kind.decode(header.type_name, content), header.stamp, header.version, message_id, metadata
    )


def decode_message(data: bytes) -> Message:
    """The one message that ``data`` is.

    Raises:
        NetworkError: it is malformed, or of a type that is not known, or shorter or longer than its header says.
    """
    if len(data) < HEADER_BYTES:
        raise NetworkError(f"a message has at least {HEADER_BYTES} bytes, not {len(data)}")
    header = Header.decode(data[:HEADER_BYTES])
    if header.body_bytes != len(data) - HEADER_BYTES:
        raise NetworkError(
            f"a {header.type_name} says that its body has {header.body_bytes} bytes, but there are "
            f"{len(data) - HEADER_BYTES}"
        )
    return decode_body(header, memoryview(data)[HEADER_BYTES:])
