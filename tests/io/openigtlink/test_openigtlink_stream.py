"""Messages out of bytes that come in pieces, damaged, or from somebody hostile."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_messages import STAMP, made_messages

from needleplan.errors import NetworkError, OptionError
from needleplan.io.openigtlink.crc64 import crc64
from needleplan.io.openigtlink.header import Header
from needleplan.io.openigtlink.image_body import Image
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.stream import RefusalKind, StreamLimits, StreamParser

MADE = list(made_messages().values())
STREAM = b"".join(message.encode() for message in MADE)


def header(type_name: str, size: int, crc: int = 0, version: int = 1) -> bytes:
    return Header(version, type_name, "Device", STAMP, size, crc).encode()


def kinds(items) -> list[str]:
    return [item.type_name if isinstance(item, Message) else f"{item.kind}" for item in items]


def same(items) -> bool:
    return b"".join(item.encode() for item in items) == STREAM


def test_several_messages_in_one_piece():
    parser = StreamParser()
    assert same(parser.feed(STREAM))
    assert not parser.is_waiting


def test_one_byte_at_a_time():
    parser = StreamParser()
    assert same([item for k in range(len(STREAM)) for item in parser.feed(STREAM[k : k + 1])])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_pieces_of_any_length(cuts):
    parser = StreamParser()
    places = [0, *sorted(cuts), len(STREAM)]
    found = []
    for begin, end in itertools.pairwise(places):
        found += parser.feed(memoryview(STREAM)[begin:end])
    assert same(found)


def test_half_a_message_is_waited_for():
    parser = StreamParser()
    data = MADE[0].encode()
    assert parser.feed(data[:30]) == [] and parser.is_waiting
    assert parser.feed(data[30:70]) == [] and parser.is_waiting
    assert kinds(parser.feed(data[70:])) == ["TRANSFORM"] and not parser.is_waiting


def test_a_damaged_message_is_dropped_and_the_next_one_read():
    data = bytearray(MADE[0].encode() + MADE[2].encode())
    data[80] ^= 0x10
    items = StreamParser().feed(data)
    assert kinds(items) == ["checksum", "STRING"]
    assert "damaged" in items[0].sentence and items[0].device == "Needle"


def test_a_malformed_body_of_sound_length_is_dropped():
    body = b"\0" * 47
    items = StreamParser().feed(header("TRANSFORM", 47, crc64(body)) + body + MADE[0].encode())
    assert kinds(items) == ["malformed", "TRANSFORM"]


def test_after_too_many_faults_the_stream_is_given_up():
    data = bytearray(MADE[0].encode())
    data[-1] ^= 1
    parser = StreamParser(StreamLimits(faults=3))
    items = parser.feed(bytes(data) * 5)
    assert kinds(items) == ["checksum", "checksum", "checksum", "fatal"]
    with pytest.raises(NetworkError, match="given up"):
        parser.feed(MADE[0].encode())


def test_an_unknown_type_is_skipped_without_being_kept_and_told():
    size = 40_000_000
    parser = StreamParser()
    assert kinds(parser.feed(header("VIDEO", size))) == ["unknown type"]
    piece = bytes(1_000_000)
    tracemalloc.start()
    for _ in range(size // len(piece)):
        assert parser.feed(piece) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(piece)
    assert kinds(parser.feed(MADE[0].encode())) == ["TRANSFORM"]


@pytest.mark.parametrize(
    "raw",
    [
        header("TRANSFORM", (1 << 64) - 1),
        header("IMAGE", (1 << 64) - 1),
        header("IMAGE", 1 << 63),
        header("POLYDATA", 1 << 40),
        header("NEWTYPE", 1 << 40),
        header("TRANSFORM", 49),
        header("STRING", 65_540),
        header("SENSOR", 2051),
        header("GET_TRAJ", 5000),
        header("TRANSFORM", 48 + 12 + 65_537, version=2),
        header("TRANSFORM", 48, version=3),
        header("TRANSFORM", 48, version=0),
        b"\xff" * 58,
        b"\0" * 58,
        b"GET / HTTP/1.1\r\nHost: localhost:18944\r\nUser-Agent: somebody\r\n\r\n",
        b"\0\1" + b"\xff" * 56,
        b"\0\1" + b"TRANS\nFORM\0\0" + b"\0" * 44,
    ],
)
def test_what_is_no_header_or_too_large_ends_the_stream_at_once(raw):
    parser = StreamParser()
    tracemalloc.start()
    items = parser.feed(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kinds(items) == ["fatal"] and "\n" not in items[0].sentence
    assert peak < 100_000


def test_a_large_body_that_is_promised_costs_nothing_before_it_comes():
    parser = StreamParser()
    tracemalloc.start()
    assert parser.feed(header("IMAGE", 200_000_000) + bytes(1000)) == []
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert parser.is_waiting


def test_limits_are_checked():
    with pytest.raises(OptionError):
        StreamLimits(body_bytes=10)
    with pytest.raises(OptionError):
        StreamLimits(faults=0)
    limited = StreamParser(StreamLimits(body_bytes=2000))
    assert kinds(limited.feed(header("IMAGE", 2001))) == ["fatal"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_mutated_streams_raise_nothing_and_forge_no_message(data):
    raw = bytearray(STREAM)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(raw) - 1))
        if data.draw(st.booleans()):
            raw[place] = data.draw(st.integers(0, 255))
        else:
            del raw[place : place + data.draw(st.integers(1, 40))]
    parser = StreamParser()
    step = data.draw(st.integers(1, 400))
    found = []
    for begin in range(0, len(raw), step):
        found += parser.feed(raw[begin : begin + step])
        if found and kinds(found)[-1] == RefusalKind.FATAL:
            break
    # The checksum does not cover the header, but the content that it covers is one that was sent.
    sent = {message.body.encode() for message in MADE}
    assert all(item.body.encode() in sent for item in found if isinstance(item, Message))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(min_size=58, max_size=300))
def test_random_bytes_are_no_messages(raw):
    assert not any(isinstance(item, Message) for item in StreamParser().feed(raw))


def test_a_large_image_is_read_quickly():
    values = np.random.default_rng(3).integers(0, 100, (40, 256, 256), dtype=np.int16)
    data = Message("CT", Image(values, np.eye(4))).encode()
    parser = StreamParser()
    found = [item for k in range(0, len(data), 65_536) for item in parser.feed(data[k : k + 65_536])]
    np.testing.assert_array_equal(found[0].body.values, values)
