"""Reading files that may be hostile within stated bounds, and writing them whole or not at all."""

import errno
import gzip
import os
import secrets
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError

#: A file larger than this is refused: the largest grid, at 4 bytes a voxel.
MAXIMUM_FILE_BYTES = 4 * 1_073_741_824

#: Deflate cannot shrink data further than 1032 to 1 (zlib, "Maximum Compression Factor"), so a compressed file
#: that declares more than this times its own size is truncated or lies.
DEFLATE_LIMIT = 1100

_CHUNK_BYTES = 16 * 1024 * 1024


def file_size(path: Path, limit: int = MAXIMUM_FILE_BYTES) -> int:
    """Size in bytes of a regular file.

    Raises:
        CaseError: there is no such file, or it is empty, or larger than ``limit``.
    """
    if not path.is_file():
        raise CaseError(f"{path}: there is no such file")
    size = path.stat().st_size
    if size == 0:
        raise CaseError(f"{path}: the file is empty")
    if size > limit:
        raise CaseError(f"{path}: the file has {size} bytes, more than the limit of {limit}")
    return size


def read_whole(path: Path, limit: int = MAXIMUM_FILE_BYTES) -> bytes:
    """All bytes of a file of at most ``limit`` bytes; raises CaseError as ``file_size`` does."""
    size = file_size(path, limit)
    try:
        with path.open("rb") as stream:
            # As much as is asked for is allocated, however short the file is; it may grow while it is read.
            data = stream.read(size + 1)
            if len(data) > size:
                data += stream.read(limit + 1 - len(data))
    except OSError as error:
        raise CaseError(f"{path}: the file cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise CaseError(f"{path}: the file has more bytes than the limit of {limit}")
    return data


def is_gzip(path: Path) -> bool:
    """True where the file begins with the two bytes of a gzip stream."""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def require_bytes(path: Path, declared: int, stored: int, compressed: bool) -> None:
    """Refuse a header that declares more data than the file can hold, before anything is allocated.

    Args:
        path: the file, for the message.
        declared: bytes that the header declares.
        stored: bytes that the file has for them.
        compressed: True where they are deflated.

    Raises:
        CaseError: the file cannot hold so many, or they are more than ``MAXIMUM_FILE_BYTES``.
    """
    if declared > MAXIMUM_FILE_BYTES:
        raise CaseError(
            f"{path}: the header declares {declared} bytes of data, more than the limit of {MAXIMUM_FILE_BYTES}; "
            "store the labels in fewer bytes a voxel"
        )
    capacity = stored * DEFLATE_LIMIT if compressed else stored
    if declared > capacity:
        raise CaseError(
            f"{path}: the header declares {declared} bytes of data but the file holds only {stored} "
            f"{'compressed ' if compressed else ''}bytes, so it is truncated or damaged"
        )


def read_exactly(stream: IO[bytes], count: int, path: Path) -> NDArray[np.uint8]:
    """``count`` bytes and then the end of the stream.

    A compressed stream is inflated piece by piece and never further than one byte beyond ``count``, so a bomb
    costs no more memory than its header declared.

    Raises:
        CaseError: the stream ends earlier, is damaged, or goes on.
    """
    data = np.empty(count, dtype=np.uint8)
    view = memoryview(data)  # type: ignore[arg-type]
    filled = 0
    try:
        while filled < count:
            got = stream.readinto(view[filled : filled + _CHUNK_BYTES])  # type: ignore[attr-defined]
            if not got:
                raise CaseError(
                    f"{path}: the data end after {filled} of the {count} bytes that the header declares, so the "
                    "file is truncated"
                )
            filled += got
        surplus = stream.read(1)
    except (EOFError, OSError, zlib.error) as error:
        raise CaseError(f"{path}: the compressed data are truncated or damaged ({error})") from None
    if surplus:
        raise CaseError(f"{path}: the file holds more data than the {count} bytes that its header declares")
    return data


def open_stream(path: Path, compressed: bool) -> IO[bytes]:
    """The file opened for reading, through gzip where it is compressed."""
    return gzip.open(path, "rb") if compressed else path.open("rb")  # type: ignore[return-value]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a temporary file beside ``path`` and rename it, so that no half file is ever seen.

    The temporary file keeps the suffixes of ``path``, because writers choose the format by them.

    Raises:
        IsADirectoryError: a folder stands at ``path``; whatever else the writing raises is passed on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        # The error of the renaming would name the temporary file.
        raise IsADirectoryError(errno.EISDIR, "a folder stands where the file is to be written", str(path))
    suffix = "".join(path.suffixes[-2:])
    temporary = path.with_name(f".writing-{secrets.token_hex(8)}{suffix}")
    # Not by tempfile, so that the rights are those that the user's umask allows.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
