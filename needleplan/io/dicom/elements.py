"""The skeleton of a DICOM file, walked once before any library parses it.

Every length is held against the bytes that there are, sequences may nest to a limit only, and the number of
elements is bounded, so that what is handed on can neither run over its end nor recurse or grow without bound (DICOM
PS3.5, sections 7.1 and 7.5; PS3.10, section 7.1).
"""

import struct
from dataclasses import dataclass

from needleplan.errors import CaseError

#: Sequences nested more deeply than this are refused; segmentations and structure sets need six.
MAXIMUM_DEPTH = 16
#: More elements than this, those of all sequences counted, are refused.
MAXIMUM_ELEMENTS = 2_000_000

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_TAG_AND_LENGTH = struct.Struct("<HHI")
_SHORT_LENGTH = struct.Struct("<H")
_LONG_LENGTH = struct.Struct("<I")
#: Value representations with a length of 16 and of 32 bits (PS3.5, tables 7.1-1 and 7.1-2).
_SHORT = {v.encode() for v in "AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()}
_LONG = {v.encode() for v in "OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()}


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data lie.

    Attributes:
        start: offset of the element's tag.
        value: first and last offset (exclusive) of a value of stated length; None for an encapsulated one.
        fragments: offsets of the fragments of an encapsulated value, the offset table left out.
    """

    start: int
    value: tuple[int, int] | None
    fragments: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class _Open:
    """A sequence or a data set that is being walked: ``end`` is None where a delimiter ends it."""

    is_sequence: bool
    end: int | None
    implicit: bool


def read_file_meta(data: bytes, name: str) -> tuple[dict[int, bytes], int]:
    """Values of the file meta group by tag, and the offset where the data set begins.

    Raises:
        CaseError: this is no DICOM file, or its meta group is damaged.
    """
    if len(data) < 140 or data[128:132] != b"DICM":
        raise CaseError(f"{name}: this is not a DICOM file, which bears DICM after its first 128 bytes")
    offset, values = 132, dict[int, bytes]()
    while offset + 8 <= len(data) and _SHORT_LENGTH.unpack_from(data, offset)[0] == 0x0002:
        tag, _, start, length = _header(data, offset, False, name)
        if length == _UNDEFINED or start + length > len(data) or len(values) > 64:
            raise CaseError(f"{name}: the file meta group is truncated or damaged")
        values[tag] = data[start : start + length]
        offset = start + length
    return values, offset


def walk(data: bytes, offset: int, implicit: bool, name: str) -> PixelElement | None:
    """Walk a data set to its end, and tell where its pixel data are.

    Args:
        data: the file, inflated where it was deflated.
        offset: where the data set begins.
        implicit: True where value representations are not stored.
        name: file, for the messages.

    Raises:
        CaseError: an element reaches beyond the end of what holds it, a delimiter is missing or out of place,
            sequences nest too deeply, or there are too many elements.
    """
    whole = len(data)
    stack = [_Open(False, whole, implicit)]
    pixels: PixelElement | None = None
    for _ in range(MAXIMUM_ELEMENTS):
        while stack and stack[-1].end is not None and offset == stack[-1].end:
            stack.pop()
        if not stack:
            return pixels
        top = stack[-1]
        end = next(level.end for level in reversed(stack) if level.end is not None)
        if offset + 8 > end:
            raise CaseError(f"{name}: the data end within an element, so the file is truncated or damaged")
        tag, vr, start, length = _header(data, offset, top.implicit, name)
        if top.is_sequence != (tag in (_ITEM, _SEQUENCE_END)) and tag != _ITEM_END:
            raise CaseError(f"{name}: element {_shown(tag)} is out of place, so the file is damaged")
        if tag in (_ITEM_END, _SEQUENCE_END):
            if top.end is not None or top.is_sequence != (tag == _SEQUENCE_END) or len(stack) < 2:
                raise CaseError(f"{name}: a delimiter is out of place, so the file is damaged")
            stack.pop()
            offset = start
            continue
        if length != _UNDEFINED and start + length > end:
            raise CaseError(
                f"{name}: element {_shown(tag)} declares {length} bytes where only {end - start} are left, so the "
                "file is truncated or damaged"
            )
        if tag == _PIXEL_DATA and len(stack) == 1:
            if length == _UNDEFINED:
                pixels, offset = _fragments(data, offset, start, name)
            else:
                pixels, offset = PixelElement(offset, (start, start + length), ()), start + length
            continue
        opens = tag == _ITEM or vr == b"SQ" or length == _UNDEFINED
        if not opens:
            offset = start + length
            continue
        if len(stack) > 2 * MAXIMUM_DEPTH:
            raise CaseError(f"{name}: sequences are nested more than {MAXIMUM_DEPTH} deep, which nothing needs")
        # An unknown element of undefined length is a sequence in implicit form (PS3.5, section 6.2.2).
        inner = top.implicit or vr == b"UN"
        stack.append(_Open(tag != _ITEM, None if length == _UNDEFINED else start + length, inner))
        offset = start
    raise CaseError(f"{name}: the file holds more than the limit of {MAXIMUM_ELEMENTS} elements")


def _header(data: bytes, offset: int, implicit: bool, name: str) -> tuple[int, bytes, int, int]:
    """Tag, value representation, offset of the value and its length."""
    group, number, length = _TAG_AND_LENGTH.unpack_from(data, offset)
    tag = group << 16 | number
    if group == 0xFFFE:
        return tag, b"", offset + 8, length
    if implicit:
        return tag, _representation(tag), offset + 8, length
    vr = data[offset + 4 : offset + 6]
    if vr in _SHORT:
        return tag, vr, offset + 8, _SHORT_LENGTH.unpack_from(data, offset + 6)[0]
    if vr not in _LONG or offset + 12 > len(data):
        raise CaseError(f"{name}: element {_shown(tag)} has no valid value representation, so the file is damaged")
    return tag, vr, offset + 12, _LONG_LENGTH.unpack_from(data, offset + 8)[0]


def _representation(tag: int) -> bytes:
    """SQ for the tags that the dictionary knows as sequences; nothing else matters here."""
    from pydicom.datadict import DicomDictionary

    entry = DicomDictionary.get(tag)
    return b"SQ" if entry is not None and entry[0] == "SQ" else b""


def _fragments(data: bytes, tag_offset: int, offset: int, name: str) -> tuple[PixelElement, int]:
    """The fragments of encapsulated pixel data, and the offset behind them (PS3.5, annex A.4)."""
    found: list[tuple[int, int]] = []
    while offset + 8 <= len(data):
        group, number, length = _TAG_AND_LENGTH.unpack_from(data, offset)
        tag, offset = group << 16 | number, offset + 8
        if tag == _SEQUENCE_END and found:
            return PixelElement(tag_offset, None, tuple(found[1:])), offset
        if tag != _ITEM or offset + length > len(data) or len(found) >= MAXIMUM_ELEMENTS:
            break
        found.append((offset, offset + length))
        offset += length
    raise CaseError(f"{name}: the fragments of the pixel data are truncated or damaged")


def _shown(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
