"""The files of a phantom in a study's folder, and a list of their hashes by which their loss or damage is seen."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from needleplan.app.phantom_files import LABELS_NAME, MANIFEST_NAME
from needleplan.errors import CaseError
from needleplan.io.bounded import read_whole
from needleplan.io.plan_file import write_bytes, write_text

#: The list, as ``sha256sum`` writes and checks it.
SUMS_NAME = "SHA256SUMS"
_MAXIMUM_SUMS_BYTES = 10_000


def write_case_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a phantom's files by name, the manifest after what it names, and the list of all at the end."""
    names = sorted((Path(name).name for name in files), key=lambda each: each == MANIFEST_NAME)
    for name in names:
        write_bytes(folder / name, files[name])
    write_text(folder / SUMS_NAME, "".join(f"{_digest(files[name])}  {name}\n" for name in names))


def has_case_files(folder: Path) -> bool:
    """True where a phantom's files are there as they were written."""
    try:
        text = read_whole(folder / SUMS_NAME, _MAXIMUM_SUMS_BYTES).decode("utf-8", errors="replace")
        found = {name: _digest(read_whole(folder / name)) for name in (MANIFEST_NAME, LABELS_NAME)}
    except CaseError:
        return False
    return found == {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (.+)$", text, re.MULTILINE)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
