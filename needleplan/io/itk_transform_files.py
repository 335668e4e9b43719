"""What ITK's two transform files hold, read within bounds: the types and numbers of the transforms, unjudged."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from needleplan.errors import CaseError, PlanFileError
from needleplan.io.bounded import read_whole
from needleplan.io.value_json import parse_strict

#: A linear transform takes a few kilobytes; a file of more holds something else.
_MAXIMUM_BYTES = 1_048_576
#: Transforms in one file.
_MAXIMUM_TRANSFORMS = 16
#: Numbers of one transform; a linear one has at most 12.
_MAXIMUM_NUMBERS = 64
_MAXIMUM_NAME = 200
#: Greater coordinates and angles stand for nothing in a body or a room.
_MAXIMUM_VALUE = 1e9

_HEADER = "#Insight Transform File V1.0"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
#: A process that reads a file in HDF5 is given so long, on a busy machine too; it limits itself to less.
_MAXIMUM_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class StoredTransform:
    """One transform of a file.

    Attributes:
        kind: ITK's name of its type, with precision and dimensions.
        parameters: finite numbers.
        fixed: finite numbers, for linear transforms the centre.
    """

    kind: str
    parameters: tuple[float, ...]
    fixed: tuple[float, ...]


def read_text_transforms(path: Path) -> tuple[StoredTransform, ...]:
    """The transforms of a text file, at least one.

    Raises:
        CaseError: the file is missing, too large, no transform file or damaged.
    """
    try:
        text = read_whole(path, _MAXIMUM_BYTES).decode("ascii")
    except UnicodeDecodeError:
        raise CaseError(f"{path.name}: not a text of ITK: it holds bytes that are no ASCII") from None
    lines = [line.strip() for line in text.splitlines()]
    if not lines or lines[0] != _HEADER:
        raise CaseError(f"{path.name}: this is no transform file of ITK: its first line must be {_HEADER!r}")
    blocks: list[dict[str, str]] = []
    for number, line in enumerate(lines[1:], 2):
        if not line or line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if not colon or key not in ("Transform", "Parameters", "FixedParameters"):
            raise CaseError(f"{path.name}: line {number} names none of Transform, Parameters, FixedParameters")
        if key == "Transform":
            blocks.append({})
        if not blocks or key in blocks[-1]:
            raise CaseError(f"{path.name}: line {number} gives {key} twice, or before a Transform")
        if len(blocks) > _MAXIMUM_TRANSFORMS:
            raise CaseError(f"{path.name}: more than {_MAXIMUM_TRANSFORMS} transforms in one file are not read")
        blocks[-1][key] = value.strip()
    return _whole(
        path,
        [
            StoredTransform(
                block["Transform"][:_MAXIMUM_NAME],
                _numbers(block.get("Parameters", ""), path),
                _numbers(block.get("FixedParameters", ""), path),
            )
            for block in blocks
        ],
    )


def _numbers(text: str, path: Path) -> tuple[float, ...]:
    words = text.split(None, _MAXIMUM_NUMBERS)
    if any(len(word) > 100 or not _NUMBER.fullmatch(word) for word in words[:_MAXIMUM_NUMBERS]):
        raise CaseError(f"{path.name}: a parameter is not a number")
    return _checked([float(word) for word in words[:_MAXIMUM_NUMBERS]], len(words), path)


def _checked(values: list[float], count: int, path: Path) -> tuple[float, ...]:
    if count > _MAXIMUM_NUMBERS:
        raise CaseError(f"{path.name}: a linear transform has at most {_MAXIMUM_NUMBERS} numbers")
    # Not a number compares as false.
    if not all(abs(value) <= _MAXIMUM_VALUE for value in values):
        raise CaseError(f"{path.name}: a parameter is not a finite number below {_MAXIMUM_VALUE:g}")
    return tuple(values)


def _whole(path: Path, found: list[StoredTransform]) -> tuple[StoredTransform, ...]:
    if not found:
        raise CaseError(f"{path.name}: the file holds no transform")
    return tuple(found)


def read_hdf5_transforms(path: Path) -> tuple[StoredTransform, ...]:
    """The transforms of an HDF5 file, at least one.

    Soft and external links, virtual and external datasets, references and foreign compression are refused, so no
    other file is ever opened; every size is compared with a limit before anything is read. HDF5 itself runs in a
    process of its own with limits of time and memory, as a damaged file may keep it busy for ever.

    Raises:
        CaseError: the file is missing, too large, no transform file, damaged, or uses what is refused.
    """
    data = read_whole(path, _MAXIMUM_BYTES)
    if not data.startswith(b"\x89HDF\r\n\x1a\n"):
        raise CaseError(f"{path.name}: this is no HDF5 file: it must begin with the letters HDF")
    script = Path(__file__).with_name("itk_hdf5_process.py")
    command = [sys.executable, "-I", str(script)]
    try:
        run = subprocess.run(command, input=data, capture_output=True, timeout=_MAXIMUM_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CaseError(f"{path.name}: the HDF5 file is damaged: reading it takes no end") from None
    if run.returncode < 0:
        raise CaseError(f"{path.name}: the HDF5 file is damaged: it kept the library busy or broke it")
    if run.returncode != 0:
        raise CaseError(f"{path.name}: the process that reads HDF5 could not be run (code {run.returncode})")
    try:
        answer = parse_strict(run.stdout.decode("utf-8"), path.name)
    except (PlanFileError, UnicodeDecodeError):
        raise CaseError(f"{path.name}: the HDF5 file is damaged: what was read of it makes no sense") from None
    if "refused" in answer:
        raise CaseError(f"{path.name}: {answer['refused']}")
    return _whole(
        path,
        [
            StoredTransform(
                str(item["kind"]),
                _checked(item["parameters"], len(item["parameters"]), path),
                _checked(item["fixed"], len(item["fixed"]), path),
            )
            for item in answer["transforms"]
        ],
    )


def write_text_transform(path: Path, stored: StoredTransform) -> None:
    """Write one transform as text; the numbers come back as the same doubles."""
    lines = (
        _HEADER,
        "#Transform 0",
        f"Transform: {stored.kind}",
        f"Parameters: {' '.join(repr(float(value)) for value in stored.parameters)}",
        f"FixedParameters: {' '.join(repr(float(value)) for value in stored.fixed)}",
    )
    path.write_text("\n".join(lines) + "\n", encoding="ascii", newline="")


def write_hdf5_transform(path: Path, stored: StoredTransform) -> None:
    """Write one transform as HDF5, laid out as ITK does."""
    import h5py
    import numpy as np

    # ITK asks for text of the ASCII character set and fails on another.
    text = h5py.string_dtype("ascii")
    with h5py.File(path, "w") as file:
        file.create_dataset("ITKVersion", (1,), text, data=["5.4"])
        single = file.create_group("TransformGroup/0")
        single.create_dataset("TransformType", (1,), text, data=[stored.kind])
        single.create_dataset("TransformParameters", data=np.array(stored.parameters, dtype="<f8"))
        single.create_dataset("TransformFixedParameters", data=np.array(stored.fixed, dtype="<f8"))
