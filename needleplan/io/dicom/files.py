"""Opening a DICOM file: bounded, checked, and without a library's recursion, inflation or chatter."""

import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from needleplan.errors import CaseError
from needleplan.io.bounded import read_whole
from needleplan.io.dicom.elements import PixelElement, read_file_meta, walk

#: Segmentations and structure sets larger than this are refused.
MAXIMUM_DICOM_BYTES = 1_073_741_824
#: What a deflated file may grow to.
MAXIMUM_INFLATED_BYTES = 536_870_912

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
RUN_LENGTHS = "1.2.840.10008.1.2.5"

_TRANSFER_SYNTAX, _STORAGE_CLASS = 0x00020010, 0x00020002


_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)
logging.getLogger("pydicom").addFilter(lambda record: not _is_quiet.get())


@contextmanager
def quietly() -> Iterator[None]:
    """Keep pydicom's warnings and log entries back: they quote values, which may be names."""
    token = _is_quiet.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _is_quiet.reset(token)


@dataclass(frozen=True, slots=True, eq=False)
class DicomFile:
    """A file whose skeleton was walked.

    Attributes:
        name: the file's name, for messages.
        sop_class: SOP class UID that the file meta group states.
        run_lengths: True where pixel data are encapsulated in run lengths.
        dataset: all elements before the pixel data, of type ``pydicom.Dataset``.
        data: the bytes that ``pixels`` points into.
        pixels: where the pixel data are; None where there are none.
    """

    name: str
    sop_class: str
    run_lengths: bool
    dataset: Any
    data: bytes
    pixels: PixelElement | None


def is_dicom(path: Path) -> bool:
    """True where the file bears DICM after its first 128 bytes."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def open_dicom(path: Path, limit: int = MAXIMUM_DICOM_BYTES) -> DicomFile:
    """Read a file and parse everything before its pixel data.

    Raises:
        CaseError: the file is missing, too large, no DICOM file, truncated, damaged, nested too deeply, inflates
            beyond the limit, or is compressed in a way that is not read. No message holds a value of the file.
    """
    from pydicom.filereader import read_dataset

    data = read_whole(path, limit)
    meta, offset = read_file_meta(data, path.name)
    syntax, sop_class = (_uid(meta.get(tag, b"")) for tag in (_TRANSFER_SYNTAX, _STORAGE_CLASS))
    if syntax == DEFLATED:
        data, offset = _inflated(data, offset, path.name), 0
    elif syntax not in (IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, RUN_LENGTHS):
        raise CaseError(
            f"{path.name}: the transfer syntax {_syntax_name(syntax)} is not read; store the file in implicit, "
            "explicit or deflated little endian or in RLE"
        )
    implicit = syntax == IMPLICIT_LITTLE_ENDIAN
    pixels = walk(data, offset, implicit, path.name)
    if pixels is not None and (pixels.value is None) != (syntax == RUN_LENGTHS):
        raise CaseError(f"{path.name}: the pixel data are not stored as the transfer syntax says")
    head = memoryview(data)[offset : len(data) if pixels is None else pixels.start]
    try:
        with quietly():
            dataset = read_dataset(io.BytesIO(head), implicit, True)
    except Exception:
        raise CaseError(f"{path.name}: the elements of the file cannot be parsed, so it is damaged") from None
    return DicomFile(path.name, sop_class, syntax == RUN_LENGTHS, dataset, data, pixels)


def _uid(value: bytes) -> str:
    text = value.rstrip(b"\0 ").decode("ascii", "replace")
    return text if 0 < len(text) <= 64 and set(text) <= set("0123456789.") else ""


def _syntax_name(uid: str) -> str:
    from pydicom.uid import UID

    return str(UID(uid).name) if uid else "(none stated)"


def _inflated(data: bytes, offset: int, name: str) -> bytes:
    """The data set of a deflated file (PS3.5, annex A.5), refused where it grows beyond the limit."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data[offset:], MAXIMUM_INFLATED_BYTES + 1)
    except zlib.error:
        raise CaseError(f"{name}: the deflated data are truncated or damaged") from None
    if len(inflated) > MAXIMUM_INFLATED_BYTES:
        raise CaseError(f"{name}: the file inflates to more than the limit of {MAXIMUM_INFLATED_BYTES} bytes")
    if not inflater.eof:
        raise CaseError(f"{name}: the deflated data are truncated")
    return inflated
