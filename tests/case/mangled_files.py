"""Files as a stranger or a broken disk would hand them over: cut, overwritten, repeated, with nasty numbers."""

import tracemalloc
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import strategies as st

from needleplan.errors import NeedleplanError

#: Written over numbers, or into them: the numbers on which readers break.
NASTY_WORDS = (
    b"-1", b"0", b"nan", b"inf", b"-inf", b"1e999", b"99999999999999999999", b"4294967295", b"-2147483648",
    b"1e-320", b"", b"\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f",
    b"<", b"]]>", b"{", b'"', b"'", b"\n", b"\r\n", b"\xc3\x28", b"\xef\xbb\xbf", b"&x;", b"%s%n",
    b"../../etc/passwd", b"true", b"null",
)  # fmt: skip


@st.composite
def mangled(draw, content: bytes) -> bytes:
    """A valid file's bytes, broken in one to four places."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["cut", "byte", "word", "head word", "drop", "repeat", "noise"]))
        if how == "cut":
            del data[at:]
        elif how == "byte" and data:
            data[at] = draw(st.integers(0, 255))
        elif how == "word":
            word = draw(st.sampled_from(NASTY_WORDS))
            data[at : at + len(word)] = word
        elif how == "head word":
            # Headers stand at the beginning and are what readers trust.
            at = draw(st.integers(0, min(len(data), 400)))
            word = draw(st.sampled_from(NASTY_WORDS))
            data[at : at + draw(st.integers(0, 6))] = word
        elif how == "drop":
            del data[at : at + draw(st.integers(1, 64))]
        elif how == "repeat":
            data[at:at] = data[max(0, at - draw(st.integers(1, 200))) : at]
        else:
            data[at : at + 16] = draw(st.binary(max_size=16))
    return bytes(data)


@contextmanager
def bounded_memory(limit_bytes: int):
    """Fails where what runs inside allocates more than ``limit_bytes`` at one time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit_bytes, f"{peak} bytes were allocated"


def refused_or_read(read: Callable[[Path], object], path: Path, content: bytes, limit_bytes: int = 200_000_000):
    """Whatever the bytes: they are read, or refused by a named error of one sentence, within bounded memory.

    Returns the error, or None where they were read.
    """
    path.write_bytes(content)
    with bounded_memory(limit_bytes):
        try:
            read(path)
        except NeedleplanError as error:
            assert str(error).strip() and len(str(error)) < 2000
            return error
        except Exception as error:
            pytest.fail(f"{type(error).__name__} instead of a named error: {error}")
    return None
