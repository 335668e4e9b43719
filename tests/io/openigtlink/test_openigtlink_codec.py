"""Messages of OpenIGTLink as bytes and back, and bytes that are none."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_messages import MATRIX, STAMP, made_messages

from needleplan.errors import NetworkError
from needleplan.io.openigtlink.array_bodies import NumberArray, Sensor
from needleplan.io.openigtlink.crc64 import POLYNOMIAL, crc64
from needleplan.io.openigtlink.header import Header, seconds_of, stamp_of
from needleplan.io.openigtlink.image_body import Image
from needleplan.io.openigtlink.messages import Message, body_class, decode_message
from needleplan.io.openigtlink.point_bodies import Points, WirePoint, WireTrajectory
from needleplan.io.openigtlink.polydata_body import Cells, PolyData
from needleplan.io.openigtlink.pose_bodies import Position, TrackingData, Transform
from needleplan.io.openigtlink.text_bodies import Request, Status, Text

MADE = made_messages()


def packed(type_name: str, content: bytes, version: int = 1) -> bytes:
    """A message with a sound header and checksum around any content."""
    return Header(version, type_name, "Device", STAMP, len(content), crc64(content)).encode() + content


def slow_crc(data: bytes) -> int:
    remainder = 0
    for byte in data:
        remainder ^= byte << 56
        for _ in range(8):
            remainder = (remainder << 1) ^ (POLYNOMIAL | 1 << 64 if remainder >> 63 else 0)
    return remainder


def test_the_checksum_is_ecma_182():
    # The catalogue's check value of CRC-64/ECMA-182.
    assert crc64(b"123456789") == 0x6C40DF5F0B497347
    assert crc64(b"") == 0
    rng = np.random.default_rng(1)
    for size in (1, 7, 8, 9, 15, 16, 300):
        data = rng.bytes(size)
        assert crc64(data) == slow_crc(data)
        assert crc64(data[size // 3 :], crc64(data[: size // 3])) == crc64(data)
    long = rng.bytes((1 << 18) + 5)
    assert crc64(long) == crc64(long[1000:], crc64(long[:1000]))


@pytest.mark.parametrize("name", MADE)
def test_what_is_read_is_what_was_written(name):
    data = MADE[name].encode()
    again = decode_message(data)
    assert type(again.body) is type(MADE[name].body)
    assert (again.device, again.stamp, again.type_name) == (MADE[name].device, STAMP, name)
    assert again.encode() == data


@pytest.mark.parametrize("name", MADE)
def test_version_2_carries_metadata(name):
    metadata = (("patient side", "left"), ("Größe", "μm ✓"), ("empty", ""))
    message = Message("Device", MADE[name].body, STAMP, 2, 0xDEADBEEF, metadata)
    again = decode_message(message.encode())
    assert (again.version, again.message_id, again.metadata) == (2, 0xDEADBEEF, metadata)
    assert again.body.encode() == MADE[name].body.encode()


def test_a_time_stamp_is_fixed_point():
    assert stamp_of(1.5) == 0x1_80000000
    assert seconds_of(stamp_of(1_700_000_000.25)) == 1_700_000_000.25
    assert abs(seconds_of(stamp_of(1234567890.123456)) - 1234567890.123456) < 3e-7
    for wrong in (-1.0, 2.0**32, float("nan")):
        with pytest.raises(NetworkError, match="between 1970 and 2106"):
            stamp_of(wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_carried_and_named(value):
    matrix = MATRIX.copy()
    matrix[0, 3] = value
    again = decode_message(Message("Needle", Transform(matrix)).encode()).body
    assert isinstance(again, Transform)
    assert again.fault == "not finite"
    np.testing.assert_array_equal(again.matrix, matrix.astype(np.float32))
    assert Position([value, 0, 0], [0, 0, 0, 1]).fault == "not finite"
    assert WireTrajectory("a", (value, 0, 0), (0, 0, 0)).fault == "not finite"
    assert PolyData(np.array([[value, 0, 0]])).fault == "not finite"


def test_matrices_that_are_no_pose_are_named():
    assert Transform(MATRIX).fault is None
    assert Transform(np.diag([2.0, 2.0, 2.0, 1.0])).fault == "scaled or sheared"
    assert Transform(np.diag([1.0, 1.0, -1.0, 1.0])).fault == "mirrors"
    assert Transform(np.zeros((4, 4)) + np.diag([0, 0, 0, 1.0])).fault == "scaled or sheared"
    assert Position([1, 2, 3]).fault == "no orientation"
    assert Position([1, 2, 3], [0, 0, 0, 0.5]).fault == "quaternion not of length 1"
    with pytest.raises(NetworkError, match="4x4"):
        Transform(np.eye(3))


def test_a_quaternion_of_three_numbers_gets_its_fourth():
    body = Position([1, 2, 3], [0.5, -0.5, 0.5, 0.5], short=True)
    assert len(body.encode()) == 24
    again = decode_message(Message("Needle", body).encode()).body
    np.testing.assert_allclose(again.matrix, Position([1, 2, 3], [0.5, -0.5, 0.5, 0.5]).matrix, atol=1e-6)
    too_long = decode_message(packed("POSITION", struct.pack(">6f", 0, 0, 0, 1, 1, 1))).body
    assert too_long.fault == "not finite"
    with pytest.raises(NetworkError, match="at least 0"):
        Position([1, 2, 3], [0.5, -0.5, 0.5, -0.5], short=True)


def test_a_position_turns_as_its_quaternion_says():
    half = np.sqrt(0.5)
    # A quarter turn about z takes x to y.
    np.testing.assert_allclose(Position([0, 0, 0], [0, 0, half, half]).matrix[:3, 0], [0, 1, 0], atol=1e-6)
    assert decode_message(packed("QTRANS", struct.pack(">7f", 1, 2, 3, 0, 0, 0, 1))).type_name == "QTRANS"


def test_an_image_may_be_big_endian_and_have_components():
    values = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3)
    matrix = np.diag([0.5, 1.5, 2.5, 1.0])
    data = bytearray(Image(values, matrix).encode())
    again = Image.decode("IMAGE", memoryview(data))
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_allclose(again.voxel_to_world, matrix, atol=1e-6)
    # The wire tells the centre, halfway between first and last voxel.
    np.testing.assert_allclose(struct.unpack(">3f", data[48:60]), [0.75, 1.5, 1.25])
    data[4] = 1
    data[72:] = values.astype(">f4").tobytes()
    np.testing.assert_array_equal(Image.decode("IMAGE", memoryview(data)).values, values)


def test_arrays_keep_their_type():
    for kind in (
        np.int8,
        np.uint8,
        np.int16,
        np.uint16,
        np.int32,
        np.uint32,
        np.float32,
        np.float64,
        np.complex128,
    ):
        values = np.arange(12).reshape(2, 3, 2).astype(kind)
        again = decode_message(Message("Table", NumberArray(values)).encode()).body.values
        assert again.dtype == kind
        np.testing.assert_array_equal(again, values)
        assert not again.flags.writeable
    with pytest.raises(NetworkError, match="int64 cannot be sent"):
        NumberArray(np.arange(3))


def test_what_does_not_fit_its_field_is_not_sent():
    wrong = [
        Message("n" * 21, Text("")),
        Message("line\nbreak", Text("")),
        Message("line\u2028break", Text("")),
        Message("x", Text("a" * 65_536)),
        Message("x", Text("\ud800")),
        Message("x", Points((WirePoint("n" * 65, (0, 0, 0)),))),
        Message("x", Points((WirePoint("n", (1e300, 0, 0)),))),
        Message("x", Status(70_000)),
        Message("x", Status(1, 1 << 63)),
        Message("x", Status(1, sentence="a\0b")),
        Message("x", Text(""), 0, 2, 0, tuple((str(k), "") for k in range(257))),
        Message("x", Text(""), 0, 2, 0, (("k", "v" * 65_536),)),
    ]
    for message in wrong:
        with pytest.raises(NetworkError):
            message.encode()
    for make in (
        lambda: Message("x", Text(""), metadata=(("a", "b"),)),
        lambda: Message("x", Text(""), version=3),
        lambda: Sensor(np.zeros(256)),
        lambda: Request("TRANSFORM"),
        lambda: Request("GET_X", b"a" * 5000),
        lambda: WirePoint("n", (0, 0, 0), colour=(0, 0, 0, 256)),
        lambda: PolyData(np.zeros((2, 3)), polygons=Cells.of([[0, 1, 2]])),
        lambda: Image(np.zeros((2, 2, 2), np.uint8), np.eye(4), size=(3, 2, 2), offset=(2, 0, 0)),
    ):
        with pytest.raises(NetworkError):
            make()


HEAD = struct.Struct(">10I")
IMAGE_HEAD = struct.Struct(">HBBBB3H12f3H3H")


def polydata(points=0, vertices=(0, 0), polygons=(0, 0), attributes=0, rest=b""):
    return HEAD.pack(points, *vertices, 0, 0, *polygons, 0, 0, attributes) + rest


def image(version=1, components=1, scalar=3, endian=2, frame=1, size=(2, 2, 2), offset=(0, 0, 0), part=(2, 2, 2)):
    numbers = [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    return IMAGE_HEAD.pack(version, components, scalar, endian, frame, *size, *numbers, *offset, *part)


LIES = {
    "transform too short": ("TRANSFORM", b"\0" * 47),
    "transform too long": ("TRANSFORM", b"\0" * 49),
    "position of 16 bytes": ("POSITION", b"\0" * 16),
    "string of nothing": ("STRING", b"\0\3"),
    "string longer than its body": ("STRING", struct.pack(">HH", 3, 65_535) + b"abc"),
    "string shorter than its body": ("STRING", struct.pack(">HH", 3, 1) + b"abc"),
    "string in UTF-16": ("STRING", struct.pack(">HH", 1015, 4) + b"\0a\0b"),
    "string that is not ASCII": ("STRING", struct.pack(">HH", 3, 2) + "ä".encode()),
    "string that is not UTF-8": ("STRING", struct.pack(">HH", 106, 2) + b"\xc3\x28"),
    "status too short": ("STATUS", b"\0" * 29),
    "half a point": ("POINT", b"\0" * 137),
    "point with a forged line": ("POINT", b"a\nGO".ljust(64, b"\0") + b"\0" * 72),
    "point that is not text": ("POINT", b"\xff".ljust(136, b"\0")),
    "half a trajectory": ("TRAJ", b"\0" * 151),
    "trajectory of kind 9": ("TRAJ", b"\0" * 96 + b"\x09" + b"\0" * 53),
    "tool of kind 9": ("TDATA", b"\0" * 20 + b"\x09" + b"\0" * 49),
    "half a tool": ("TDATA", b"\0" * 71),
    "sensor with too few": ("SENSOR", struct.pack(">BBQ", 255, 0, 0) + b"\0" * 8),
    "sensor of nothing": ("SENSOR", b""),
    "array of nothing": ("NDARRAY", b""),
    "array without axes": ("NDARRAY", b"\x0a\0"),
    "array of 255 axes": ("NDARRAY", b"\x0a\xff" + b"\xff" * 510),
    "array of 2^512 numbers": ("NDARRAY", b"\x0a\x20" + b"\xff" * 64),
    "array of unknown numbers": ("NDARRAY", b"\x63\x01\0\0"),
    "image too short": ("IMAGE", b"\0" * 71),
    "image of nothing": ("IMAGE", image(part=(0, 2, 2))),
    "image of 2^48 voxels": ("IMAGE", image(size=(65_535,) * 3, part=(65_535,) * 3)),
    "image part beyond": ("IMAGE", image(offset=(1, 0, 0)) + b"\0" * 8),
    "image part too large": ("IMAGE", image(size=(1, 2, 2)) + b"\0" * 8),
    "image of unknown numbers": ("IMAGE", image(scalar=12) + b"\0" * 8),
    "image without components": ("IMAGE", image(components=0) + b"\0" * 8),
    "image in no order": ("IMAGE", image(endian=3) + b"\0" * 8),
    "image in no frame": ("IMAGE", image(frame=3) + b"\0" * 8),
    "image with too few": ("IMAGE", image() + b"\0" * 7),
    "image with too many": ("IMAGE", image() + b"\0" * 9),
    "surface too short": ("POLYDATA", b"\0" * 39),
    "surface of 2^32 points": ("POLYDATA", polydata(points=0xFFFFFFFF)),
    "surface whose sizes overflow": ("POLYDATA", polydata(1, (1, 0xFFFFFFFC), (1, 0xFFFFFFFC))),
    "surface with odd sizes": ("POLYDATA", polydata(1, polygons=(1, 5), rest=b"\0" * 17)),
    "surface with 2^32 cells": (
        "POLYDATA",
        polydata(1, polygons=(0xFFFFFFFF, 8), rest=b"\0" * 12 + struct.pack(">2I", 1, 0)),
    ),
    "surface with cells of nothing": ("POLYDATA", polydata(1, polygons=(2, 16), rest=b"\0" * 28)),
    "surface whose cell lies": (
        "POLYDATA",
        polydata(1, polygons=(1, 8), rest=b"\0" * 12 + struct.pack(">2I", 0xFFFFFFFF, 0)),
    ),
    "surface that names no point": (
        "POLYDATA",
        polydata(1, polygons=(1, 8), rest=b"\0" * 12 + struct.pack(">2I", 1, 1)),
    ),
    "surface with 2^32 attributes": ("POLYDATA", polydata(attributes=0xFFFFFFFF)),
    "surface with a name without end": (
        "POLYDATA",
        polydata(attributes=1, rest=struct.pack(">BBI", 0, 1, 0) + b"a"),
    ),
    "surface with too long an attribute": (
        "POLYDATA",
        polydata(attributes=1, rest=struct.pack(">BBI", 0, 255, 0xFFFFFFFF) + b"a\0"),
    ),
    "surface with an unknown attribute": (
        "POLYDATA",
        polydata(attributes=1, rest=struct.pack(">BBI", 9, 1, 0) + b"a\0"),
    ),
    "surface that goes on": ("POLYDATA", polydata(rest=b"\0" * 4)),
    "request too long": ("GET_POINT", b"\0" * 4097),
    "unknown type": ("COLORT", b"\0"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_body_that_lies_is_refused_in_one_sentence(lie):
    with pytest.raises(NetworkError) as caught:
        decode_message(packed(*LIES[lie]))
    assert str(caught.value) and "\n" not in str(caught.value)


EXTENDED = struct.Struct(">HHII")


@pytest.mark.parametrize(
    "body",
    [
        b"\0" * 11,
        EXTENDED.pack(11, 0, 0, 0) + b"\0" * 48,
        EXTENDED.pack(0xFFFF, 0, 0, 0) + b"\0" * 48,
        EXTENDED.pack(12, 0, 0xFFFFFFFF, 0) + b"\0" * 48,
        EXTENDED.pack(12, 0xFFFF, 0, 0) + b"\0" * 48,
        EXTENDED.pack(12, 1, 0, 0) + b"\0" * 49,
        EXTENDED.pack(12, 2, 0, 0) + b"\0" * 48 + b"\xff\xff",
        EXTENDED.pack(12, 10, 0, 0) + b"\0" * 48 + struct.pack(">HHHI", 1, 0xFFFF, 3, 0xFFFFFFFF),
        EXTENDED.pack(12, 10, 1, 0) + b"\0" * 48 + struct.pack(">HHHI", 1, 0, 3, 0) + b"a",
        EXTENDED.pack(12, 10, 2, 0) + b"\0" * 48 + struct.pack(">HHHI", 1, 1, 15, 1) + b"ab",
        EXTENDED.pack(12, 10, 2, 0) + b"\0" * 48 + struct.pack(">HHHI", 1, 1, 3, 1) + b"\xffb",
        EXTENDED.pack(12, 18, 2, 0) + b"\0" * 48 + struct.pack(">HHHIHHI", 2, 1, 3, 0, 1, 3, 0) + b"aa",
        EXTENDED.pack(12, 2, 70_000, 0) + b"\0" * 48 + b"\0\0" + b"\0" * 70_000,
    ],
)
def test_metadata_that_lie_are_refused(body):
    with pytest.raises(NetworkError):
        decode_message(packed("TRANSFORM", body, version=2))


def test_a_longer_extended_header_is_stepped_over():
    body = EXTENDED.pack(16, 0, 0, 5) + b"more" + Transform(MATRIX).encode()
    message = decode_message(packed("TRANSFORM", body, version=2))
    np.testing.assert_allclose(message.body.matrix, MATRIX, atol=1e-5)
    assert message.message_id == 5


def test_a_wrong_version_checksum_or_length_is_named():
    data = MADE["TRANSFORM"].encode()
    with pytest.raises(NetworkError, match="header version 3"):
        decode_message(b"\0\3" + data[2:])
    with pytest.raises(NetworkError, match="checksum of TRANSFORM"):
        decode_message(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(NetworkError, match="has 48 bytes, but there are 47"):
        decode_message(data[:-1])
    with pytest.raises(NetworkError, match="at least 58"):
        decode_message(data[:57])


def test_requests_and_answers():
    assert Request.start_tracking(20, "Patient").tracking == (20, "Patient")
    assert Request.answer("TDATA", True).accepted
    assert not Request.answer("TDATA", False).accepted
    with pytest.raises(NetworkError, match="0 ms or more"):
        _ = Request.start_tracking(-1).tracking
    with pytest.raises(NetworkError, match="36 bytes"):
        _ = Request("STT_TDATA", b"\0").tracking
    assert body_class("GET_CAPABIL") is Request


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(MADE)), st.data())
def test_mutated_bodies_raise_named_errors_alone(name, data):
    content = bytearray(MADE[name].body.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    content += data.draw(st.binary(max_size=20))
    version = data.draw(st.sampled_from([1, 2]))
    try:
        message = decode_message(packed(name, bytes(content), version))
    except NetworkError:
        return
    if name == "TDATA":
        assert isinstance(message.body, TrackingData)
    # What is accepted can be sent again and is then the same.
    again = message.encode()
    assert decode_message(again).encode() == again
