"""Headers of OpenIGTLink messages, versions 1 and 2, and the metadata that version 2 carries.

Layout after the protocol's pages "Header" (versions 2 and 3): 58 bytes, all numbers big-endian. With version 2 the
body holds an extended header of 12 bytes, the content, an index of the metadata, and the metadata.
"""

import math
import struct
from dataclasses import dataclass

from needleplan.errors import NetworkError
from needleplan.io.openigtlink.fields import decode_text, encode_text, pack_text, unpack_text

HEADER_BYTES = 58
TYPE_BYTES, DEVICE_BYTES = 12, 20
VERSIONS = (1, 2)
EXTENDED_BYTES = 12
#: Entries and bytes of the metadata of one message.
MAXIMUM_METADATA, MAXIMUM_METADATA_BYTES = 256, 65_536

_HEADER = struct.Struct(">H12s20sQQQ")
_EXTENDED = struct.Struct(">HHII")
_ENTRY = struct.Struct(">HHI")

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The 58 bytes before every body.

    Attributes:
        version: 1 or 2.
        type_name: kind of the body.
        device: name of who sent it, or of what it is about.
        stamp: time in units of 2⁻³² s since 1970; 0 where none is given.
        body_bytes: length of the body.
        crc: its checksum.
    """

    version: int
    type_name: str
    device: str
    stamp: int
    body_bytes: int
    crc: int

    def encode(self) -> bytes:
        """The 58 bytes; raises NetworkError where a name is too long."""
        return _HEADER.pack(
            self.version,
            pack_text(self.type_name, TYPE_BYTES, "the type of a message"),
            pack_text(self.device, DEVICE_BYTES, f"the device name {self.device!r}"),
            self.stamp,
            self.body_bytes,
            self.crc,
        )

    @classmethod
    def decode(cls, raw: bytes | bytearray | memoryview) -> "Header":
        """Header of 58 bytes.

        Raises:
            NetworkError: the version is neither 1 nor 2, or a name is not text: this is no header.
        """
        version, type_raw, device_raw, stamp, body_bytes, crc = _HEADER.unpack(raw)
        if version not in VERSIONS:
            raise NetworkError(f"a message has header version {version}, but only 1 and 2 are known")
        type_name = unpack_text(type_raw, "the type of a message")
        if not type_name.isascii() or not type_name.strip():
            raise NetworkError("the type of a message must be ASCII and not empty")
        return cls(version, type_name, unpack_text(device_raw, "a device name"), stamp, body_bytes, crc)


def stamp_of(time_s: float) -> int:
    """Seconds since 1970 as a time stamp, cut to 2⁻³² s; raises NetworkError beyond 2106."""
    if not (math.isfinite(time_s) and 0.0 <= time_s < 2.0**32):
        raise NetworkError(f"a time stamp must lie between 1970 and 2106, not at {time_s} s")
    whole = int(time_s)
    return (whole << 32) | int((time_s - whole) * 2.0**32)


def seconds_of(stamp: int) -> float:
    """Seconds since 1970 of a time stamp."""
    return (stamp >> 32) + (stamp & 0xFFFFFFFF) * 2.0**-32


def wrap_content(content: bytes, message_id: int, metadata: Metadata) -> bytes:
    """Body of a version-2 message around a content.

    Raises:
        NetworkError: the metadata are more or longer than ``MAXIMUM_METADATA`` and ``MAXIMUM_METADATA_BYTES``.
    """
    if len(metadata) > MAXIMUM_METADATA:
        raise NetworkError(f"a message can carry {MAXIMUM_METADATA} entries of metadata, not {len(metadata)}")
    index, data = [struct.pack(">H", len(metadata))], []
    for key, value in metadata:
        raw_key = encode_text(key, "a key of the metadata")[1]
        encoding, raw_value = encode_text(value, f"the metadata {key!r}")
        if len(raw_key) > 0xFFFF:
            raise NetworkError("a key of the metadata has more than 65535 bytes")
        index.append(_ENTRY.pack(len(raw_key), encoding, len(raw_value)))
        data += [raw_key, raw_value]
    raw_index, raw_data = b"".join(index), b"".join(data)
    if len(raw_index) + len(raw_data) > MAXIMUM_METADATA_BYTES:
        raise NetworkError(f"the metadata of a message have more than {MAXIMUM_METADATA_BYTES} bytes")
    extended = _EXTENDED.pack(EXTENDED_BYTES, len(raw_index), len(raw_data), message_id)
    return b"".join([extended, content, raw_index, raw_data])


def unwrap_content(body: memoryview) -> tuple[memoryview, int, Metadata]:
    """Content, message identifier and metadata of a version-2 body.

    Raises:
        NetworkError: lengths that do not fit each other or the body, more metadata than allowed, a key twice, or
            texts that are not in the character set that they state.
    """
    if len(body) < EXTENDED_BYTES:
        raise NetworkError(f"a body of version 2 must have at least {EXTENDED_BYTES} bytes, not {len(body)}")
    extended_bytes, index_bytes, data_bytes, message_id = _EXTENDED.unpack(body[:EXTENDED_BYTES])
    if extended_bytes < EXTENDED_BYTES or extended_bytes + index_bytes + data_bytes > len(body):
        raise NetworkError(
            f"a body of {len(body)} bytes cannot hold an extended header of {extended_bytes}, an index of "
            f"{index_bytes} and metadata of {data_bytes} bytes"
        )
    end = len(body) - index_bytes - data_bytes
    content = body[extended_bytes:end]
    if index_bytes == 0 and data_bytes == 0:
        return content, message_id, ()
    return content, message_id, _read_metadata(body[end : end + index_bytes], body[end + index_bytes :])


def _read_metadata(index: memoryview, data: memoryview) -> Metadata:
    if len(index) + len(data) > MAXIMUM_METADATA_BYTES or len(index) < 2:
        raise NetworkError(
            f"metadata must have an index of at least 2 bytes and at most {MAXIMUM_METADATA_BYTES} bytes in all, "
            f"not {len(index)} and {len(index) + len(data)}"
        )
    count = int.from_bytes(index[:2], "big")
    if count > MAXIMUM_METADATA or len(index) != 2 + _ENTRY.size * count:
        raise NetworkError(
            f"an index of {len(index)} bytes cannot tell of {count} metadata (at most {MAXIMUM_METADATA})"
        )
    found: dict[str, str] = {}
    start = 0
    for key_bytes, encoding, value_bytes in _ENTRY.iter_unpack(index[2:]):
        middle, end = start + key_bytes, start + key_bytes + value_bytes
        if end > len(data):
            raise NetworkError(f"the metadata end after {len(data)} bytes, but their index tells of {end}")
        key = decode_text(data[start:middle], 106, "a key of the metadata")
        if key in found:
            raise NetworkError("a key stands twice in the metadata of a message")
        found[key] = decode_text(data[middle:end], encoding, "a value of the metadata")
        start = end
    if start != len(data):
        raise NetworkError(f"the metadata have {len(data)} bytes, but their index tells of {start}")
    return tuple(found.items())
