"""VTK's XML files (.vti, .vtp), decoded here and not by VTK.

VTK expands entities, leaves arrays at zero where a file is cut, and allocates whatever the head of a compressed
array promises, which ends the process. Here every size is compared with the bytes that are there first.
"""

import base64
import binascii
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError
from needleplan.io.bounded import DEFLATE_LIMIT, read_whole

#: Size in bytes and numpy kind of the number types of the format.
NUMBER_TYPES = {
    **{f"Int{8 * n}": f"i{n}" for n in (1, 2, 4, 8)},
    **{f"UInt{8 * n}": f"u{n}" for n in (1, 2, 4, 8)},
    "Float32": "f4",
    "Float64": "f8",
}
_COMPRESSORS = ("", "vtkZLibDataCompressor")


@dataclass(frozen=True, slots=True)
class VtkXmlFile:
    """A parsed file.

    Attributes:
        path: the file, for messages.
        root: the VTKFile element.
        appended: bytes of the appended section after its underscore; empty where there is none.
        appended_raw: True where they are plain bytes, False where they are base64.
        order: byte order of the numbers, "<" or ">".
        header: type of the sizes in front of each array.
        compressed: True where arrays that are not text are deflated.
    """

    path: Path
    root: Element
    appended: bytes
    appended_raw: bool
    order: str
    header: np.dtype[Any]
    compressed: bool

    def numbers(self, array: Element, count: int | None) -> NDArray[Any]:
        """The numbers of a DataArray.

        Args:
            array: the element.
            count: how many there must be; None takes as many as there are.

        Raises:
            CaseError: the array is of another type or size, truncated or damaged.
        """
        name = array.get("Name", "an array")
        kind = NUMBER_TYPES.get(array.get("type", ""))
        if kind is None:
            raise CaseError(f"{self.path}: {name} must hold numbers, but is of the type {array.get('type')!r}")
        dtype = np.dtype(self.order + kind)
        if array.get("format") == "ascii":
            words = (array.text or "").split()
            try:
                values = np.array(words, dtype="f8" if kind[0] == "f" else "i8")
            except (ValueError, OverflowError):
                raise CaseError(f"{self.path}: {name} holds a word that is not a number") from None
        else:
            data = self.bytes_of(array)
            if len(data) % dtype.itemsize:
                raise CaseError(f"{self.path}: {name} does not hold whole numbers of {dtype.itemsize} bytes")
            values = np.frombuffer(data, dtype)
            values = values.astype(dtype.newbyteorder("="), copy=False)
        if count is not None and len(values) != count:
            raise CaseError(f"{self.path}: {name} holds {len(values)} numbers where {count} are declared")
        return values

    def bytes_of(self, array: Element) -> bytes:
        """The decoded bytes of a DataArray that is not text."""
        form = array.get("format")
        try:
            if form == "binary":
                return self._decoded("".join((array.text or "").split()).encode("ascii"), False)
            if form == "appended":
                offset = int(array.get("offset", ""))
                if not 0 <= offset < len(self.appended):
                    raise ValueError("its offset lies outside the file")
                return self._decoded(self.appended[offset:], self.appended_raw)
        except (ValueError, binascii.Error, zlib.error, IndexError) as error:
            name = array.get("Name", "an array")
            raise CaseError(f"{self.path}: the data of {name} are truncated or damaged ({error})") from None
        raise CaseError(f"{self.path}: the format of an array must be ascii, binary or appended, not {form!r}")

    def _decoded(self, data: bytes, raw: bool) -> bytes:
        """The array at the beginning of ``data``; raises ValueError where it is damaged."""
        size = self.header.itemsize
        if not self.compressed:
            length = int(np.frombuffer(_take(data, 0, size, raw), self.header)[0])
            return _take(data, 0, size + length, raw)[size:]
        blocks = int(np.frombuffer(_take(data, 0, size, raw), self.header)[0])
        if blocks == 0:
            return b""
        if (3 + blocks) * size > len(data):
            raise ValueError(f"it declares {blocks} blocks")
        head = np.frombuffer(_take(data, 0, (3 + blocks) * size, raw), self.header)
        block, last = int(head[1]), int(head[2])
        stored = [int(n) for n in head[3:]]
        # The sizes and the blocks are two base64 texts, each padded on its own.
        start = (3 + blocks) * size if raw else _base64_length((3 + blocks) * size)
        packed = _take(data, start, sum(stored), raw)
        if (blocks - 1) * block + (last or block) > len(packed) * DEFLATE_LIMIT + DEFLATE_LIMIT:
            raise ValueError("it declares more bytes than so few compressed ones can hold")
        pieces = []
        at = 0
        for number, length in enumerate(stored):
            expected = last if last and number == blocks - 1 else block
            inflater = zlib.decompressobj()
            piece = inflater.decompress(packed[at : at + length], expected + 1)
            if len(piece) != expected:
                raise ValueError(f"block {number} holds {len(piece)} bytes where {expected} are declared")
            pieces.append(piece)
            at += length
        return b"".join(pieces)


def _base64_length(count: int) -> int:
    return 4 * ((count + 2) // 3)


def _take(data: bytes, start: int, count: int, raw: bool) -> bytes:
    """``count`` bytes from place ``start`` of plain bytes or of a base64 text."""
    if count > len(data):
        raise ValueError("it declares more bytes than there are")
    part = data[start : start + (count if raw else _base64_length(count))]
    decoded = part if raw else base64.b64decode(part + b"=" * (-len(part) % 4))
    if len(decoded) < count:
        raise ValueError("it declares more bytes than there are")
    return decoded[:count]


def read_vtk_xml(path: Path, file_type: str) -> VtkXmlFile:
    """Parse a VTK XML file without a single entity being expanded.

    Args:
        path: the file.
        file_type: ``type`` that the VTKFile element must have, for instance ImageData.

    Raises:
        CaseError: no XML of that type, truncated, a document type declaration, or an encoding or a compression
            that is not read.
    """
    data = read_whole(path)
    start = data.find(b"<AppendedData")
    head = data if start < 0 else data[:start]
    if not re.match(rb"(\xef\xbb\xbf)?\s*<(\?xml|VTKFile)", head):
        raise CaseError(f"{path}: this is not a VTK XML file: it must begin with <VTKFile")
    declaration = re.match(rb"[^<]*<\?xml[^>]*encoding\s*=\s*[\"']([^\"']*)", head)
    if declaration and declaration.group(1).lower() not in (b"utf-8", b"us-ascii", b"ascii"):
        raise CaseError(f"{path}: the XML must be encoded in UTF-8")
    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise CaseError(f"{path}: XML with a document type or entities is refused, as a VTK file needs none")
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(head if start < 0 else head + b"</VTKFile>", forbid_dtd=True)
    except (ParseError, DefusedXmlException, RecursionError) as error:
        raise CaseError(f"{path}: the XML is truncated or damaged ({error})") from None
    if root.tag != "VTKFile" or root.get("type") != file_type:
        raise CaseError(f"{path}: the file holds {root.get('type')!r} where {file_type} is needed")
    compressor = root.get("compressor", "")
    if compressor not in _COMPRESSORS:
        raise CaseError(f"{path}: the compression {compressor} is not read; write the file with zlib or none")
    order, header = root.get("byte_order", "LittleEndian"), root.get("header_type", "UInt32")
    if order not in ("LittleEndian", "BigEndian") or header not in ("UInt32", "UInt64"):
        raise CaseError(f"{path}: byte_order or header_type of the file has an unknown value")
    mark = "<" if order == "LittleEndian" else ">"
    appended, raw = _appended(data, start, path) if start >= 0 else (b"", False)
    return VtkXmlFile(path, root, appended, raw, mark, np.dtype(mark + NUMBER_TYPES[header]), bool(compressor))


def _appended(data: bytes, start: int, path: Path) -> tuple[bytes, bool]:
    """The bytes of the appended section and whether they are plain."""
    opening = re.compile(rb"<AppendedData\s+encoding\s*=\s*[\"'](raw|base64)[\"']\s*>\s*_").match(data, start)
    end = data.rfind(b"</AppendedData")
    if opening is None or end < opening.end() or not data.rstrip().endswith(b"</VTKFile>"):
        raise CaseError(f"{path}: the file does not end in </AppendedData></VTKFile>, so it is truncated")
    section = data[opening.end() : end]
    raw = opening.group(1) == b"raw"
    return (section if raw else section.rstrip()), raw


def single(parent: Element, tag: str, path: Path) -> Element:
    """The only child of that name; raises CaseError where there is none or more than one."""
    children = parent.findall(tag)
    if len(children) != 1:
        raise CaseError(f"{path}: the file must hold exactly one {tag}, not {len(children)}")
    return children[0]


def attribute_numbers(
    element: Element, name: str, count: int, path: Path, default: str | None = None
) -> list[float]:
    """``count`` finite numbers of an attribute; raises CaseError where it has others."""
    text = element.get(name, default)
    try:
        values = [float(word) for word in (text or "").split()]
    except ValueError:
        values = []
    if len(values) != count or not all(abs(value) < 1e300 for value in values):
        raise CaseError(f"{path}: {name} must be {count} numbers, but is {str(text)[:80]!r}")
    return values


def attribute_whole_numbers(
    element: Element, name: str, count: int, path: Path, default: str | None = None
) -> list[int]:
    """``count`` whole numbers of an attribute; raises CaseError where it has others."""
    values = attribute_numbers(element, name, count, path, default)
    if any(value != int(value) for value in values):
        raise CaseError(f"{path}: {name} must be {count} whole numbers, but is {element.get(name)!r}")
    return [int(value) for value in values]
