"""Fields that several messages share: texts of fixed length, and arrays that end where they say."""

import math
import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import NetworkError

#: Numbers of the IANA character sets that texts may come in, and Python's names for them.
ASCII, UTF_8 = 3, 106
#: Unicode categories: control characters, halves of surrogate pairs, separators of lines and of paragraphs.
_UNSAFE = ("Cc", "Cs", "Zl", "Zp")
ENCODINGS = {ASCII: "ascii", UTF_8: "utf-8"}


def pack_text(text: str, size: int, what: str) -> bytes:
    """``text`` in UTF-8, filled with zeros to ``size`` bytes.

    Raises:
        NetworkError: it is longer, or holds a control character; ``what`` names the field.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > size:
        raise NetworkError(f"{what} has {len(raw)} bytes, but only {size} can be sent")
    check_plain(text, what)
    return raw.ljust(size, b"\0")


def unpack_text(raw: bytes | memoryview, what: str) -> str:
    """The text before the first zero byte; raises NetworkError unless it is plain text in UTF-8."""
    try:
        text = bytes(raw).split(b"\0", 1)[0].decode("utf-8")
    except UnicodeDecodeError:
        raise NetworkError(f"{what} is not text in UTF-8") from None
    check_plain(text, what)
    return text


def check_plain(text: str, what: str) -> None:
    """Refuse what could forge a line of a log, such as control characters; raises NetworkError."""
    if not text.isprintable() and any(unicodedata.category(letter) in _UNSAFE for letter in text):
        raise NetworkError(f"{what} holds a control character, but must be plain text")


def decode_text(raw: bytes | memoryview, encoding: int, what: str) -> str:
    """Text of an IANA character set.

    Raises:
        NetworkError: the set is neither ASCII (3) nor UTF-8 (106), or the bytes are not of it.
    """
    if encoding not in ENCODINGS:
        raise NetworkError(f"{what} has character set {encoding}, but must be ASCII (3) or UTF-8 (106)")
    try:
        return bytes(raw).decode(ENCODINGS[encoding])
    except UnicodeDecodeError:
        raise NetworkError(f"{what} is not text in {ENCODINGS[encoding].upper()} as it says") from None


def encode_text(text: str, what: str) -> tuple[int, bytes]:
    """Number of the character set (ASCII where it suffices) and the bytes; raises NetworkError for no text."""
    try:
        return (ASCII, text.encode("ascii")) if text.isascii() else (UTF_8, text.encode("utf-8"))
    except UnicodeEncodeError:
        raise NetworkError(f"{what} holds half of a surrogate pair and cannot be sent") from None


def need_bytes(content: memoryview, size: int, what: str) -> None:
    """Refuse a body that has not exactly ``size`` bytes; raises NetworkError."""
    if len(content) != size:
        raise NetworkError(f"the body of {what} must have {size} bytes, but has {len(content)}")


def read_array(content: memoryview, offset: int, count: int, wire_type: str) -> NDArray[Any]:
    """``count`` numbers from byte ``offset`` on, as a read-only copy in the order of this machine.

    The caller has checked that so many are there.
    """
    array = np.frombuffer(content, dtype=wire_type, count=count, offset=offset)
    array = array.astype(array.dtype.newbyteorder("="))
    array.setflags(write=False)
    return array


def finite(values: NDArray[Any]) -> bool:
    """True where no value is infinite or not a number."""
    # The sum of few values is quicker than isfinite().all(), and no sum of finite float32 overflows a float64.
    return math.isfinite(float(values.sum(dtype=np.float64)))
