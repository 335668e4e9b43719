"""Names of the labels of a label map: the table in a NIfTI header's extension, and the JSON file beside a map."""

import struct
import zlib
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from needleplan.errors import CaseError, PlanFileError
from needleplan.io.bounded import file_size, is_gzip, open_stream, read_whole
from needleplan.io.labels import MAXIMUM_LABEL
from needleplan.io.value_json import parse_strict

#: More bytes of extensions, or of a JSON file, than this are refused unread: 117 classes take 13 KB.
MAXIMUM_TABLE_BYTES = 1_048_576
#: More names than this are no anatomy.
MAXIMUM_NAMES = 5000
#: Longest name, as of the structures of a case.
MAXIMUM_NAME_LENGTH = 80


def nifti_label_names(path: Path) -> dict[int, str]:
    """Names by label number that a NIfTI file holds in its header.

    They lie in an extension as XML (``CaretExtension/VolumeInformation/LabelTable/Label`` with the attribute
    ``Key``), as Connectome Workbench defined it and TotalSegmentator writes it. Others are passed over.

    Returns:
        The names; empty where the file holds no such table.

    Raises:
        CaseError: the file is no NIfTI file, or its table is damaged, too large, or names something twice.
    """
    file_size(path)
    try:
        with open_stream(path, is_gzip(path)) as stream:
            extensions = _extensions(stream, path)
    except (EOFError, OSError, zlib.error) as error:
        raise CaseError(f"{path}: the header is truncated or damaged ({error})") from None
    tables = [table for content in extensions if (table := _xml_names(content, path)) is not None]
    if len(tables) > 1:
        raise CaseError(f"{path}: the header holds {len(tables)} tables of label names where one is meant")
    return tables[0] if tables else {}


def _extensions(stream: Any, path: Path) -> list[bytes]:
    """Content of every header extension."""
    start = stream.read(4)
    sizes = {order: struct.unpack(f"{order}i", start)[0] for order in "<>"} if len(start) == 4 else {}
    order = next((order for order, size in sizes.items() if size in (348, 540)), None)
    if order is None:
        raise CaseError(f"{path}: this is not a NIfTI file: its first four bytes must say 348 or 540")
    length = sizes[order]
    block = start + stream.read(length - 4)
    if len(block) < length:
        raise CaseError(f"{path}: the file ends within its header, so it is truncated")
    offset = struct.unpack_from(f"{order}f", block, 108)[0] if length == 348 else _offset_2(block, order)
    gap = offset - length
    if not 0 <= gap <= MAXIMUM_TABLE_BYTES:
        raise CaseError(
            f"{path}: the header declares {gap:g} bytes of extensions where at most {MAXIMUM_TABLE_BYTES} are read"
        )
    rest = stream.read(int(gap))
    if len(rest) < int(gap):
        raise CaseError(f"{path}: the file ends within its header, so it is truncated")
    found: list[bytes] = []
    if len(rest) < 4 or rest[0] == 0:
        return found
    place = 4
    while place + 8 <= len(rest):
        size, _ = struct.unpack_from(f"{order}2i", rest, place)
        if size == 0:
            break
        if size < 8 or place + size > len(rest):
            raise CaseError(f"{path}: an extension of the header declares {size} bytes, which do not fit into it")
        found.append(rest[place + 8 : place + size])
        place += size
    return found


def _offset_2(block: bytes, order: str) -> float:
    return float(struct.unpack_from(f"{order}q", block, 168)[0])


def _xml_names(content: bytes, path: Path) -> dict[int, str] | None:
    """Names of one extension; None where it is no such table."""
    text = content.strip(b"\x00 \t\r\n")
    if b"CaretExtension" not in text:
        return None
    root = _parsed(text, path)
    if root.tag != "CaretExtension":
        return None
    pairs: list[tuple[Any, Any]] = [(label.get("Key"), label.text) for label in root.iter("Label")]
    return _checked(pairs, f"{path}: the header's table of labels") if pairs else None


def _parsed(text: bytes, path: Path) -> Element:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise CaseError(f"{path}: the header's table of labels declares a document type or entities") from None
    except (ParseError, ValueError, RecursionError) as error:
        raise CaseError(f"{path}: the header's table of labels is not XML ({error})") from None


def json_label_names(path: Path) -> dict[int, str]:
    """Names by label number that a JSON file states, as MONAI, nnU-Net and the Decathlon write them.

    Read is the object ``labels``, from numbers to names (``{"0": "background", "1": "liver"}``) or from names to
    numbers (``{"background": 0, "liver": 1}``), or ``channel_def`` of the one output of a MONAI bundle's
    metadata. The name of the number 0 is passed over.

    Raises:
        CaseError: the file holds neither or both, or a number or a name twice.
    """
    try:
        text = read_whole(path, MAXIMUM_TABLE_BYTES).decode("utf-8-sig")
        content = parse_strict(text, str(path))
    except UnicodeDecodeError:
        raise CaseError(f"{path}: a file of label names must be text in UTF-8") from None
    except PlanFileError as error:
        raise CaseError(str(error)) from None
    tables = _tables_of(content)
    if len(tables) != 1:
        raise CaseError(
            f"{path}: there must be one object 'labels' (or one 'channel_def' of a bundle's outputs) with the "
            f"names of the labels, but there are {len(tables)}"
        )
    table = tables[0]
    numbers_first = all(_whole(key) is not None for key in table)
    pairs = list(table.items()) if numbers_first else [(number, name) for name, number in table.items()]
    return _checked(pairs, f"{path}: 'labels'")


def _tables_of(content: Any) -> list[dict[str, Any]]:
    if not isinstance(content, dict):
        return []
    found = [content.get("labels")]
    data_format = content.get("network_data_format")
    outputs = data_format.get("outputs") if isinstance(data_format, dict) else None
    channels = list(outputs.values()) if isinstance(outputs, dict) else []
    found += [output.get("channel_def") for output in channels if isinstance(output, dict)]
    return [table for table in found if isinstance(table, dict) and table]


def _whole(value: Any) -> int | None:
    """A label number from a whole number or its digits; None where it is neither."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) <= 12:
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAXIMUM_LABEL else None


def _checked(pairs: list[tuple[Any, Any]], where: str) -> dict[int, str]:
    """Names by number, each once."""
    if len(pairs) > MAXIMUM_NAMES:
        raise CaseError(f"{where} holds {len(pairs)} names, more than the limit of {MAXIMUM_NAMES}")
    names: dict[int, str] = {}
    for number, name in pairs:
        value = _whole(number)
        if value is None:
            raise CaseError(f"{where} must give one whole number from 0 to {MAXIMUM_LABEL} for each name")
        text = name.strip() if isinstance(name, str) else ""
        if not text or len(text) > MAXIMUM_NAME_LENGTH or not text.isprintable():
            raise CaseError(
                f"{where} must give each number a name of 1 to {MAXIMUM_NAME_LENGTH} printable characters, which "
                f"the number {value} has not"
            )
        if value in names:
            raise CaseError(f"{where} names the number {value} twice")
        if value and text in names.values():
            raise CaseError(f"{where} gives the name {text!r} to two numbers")
        names[value] = text
    names.pop(0, None)
    return names
