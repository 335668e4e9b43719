"""Readers of recorded breathing traces.

Two public forms are known:

* Marker tables of the ExtMarker collection (Krilavicius et al. 2013; Pohl et al. 2022, CC BY 4.0): header
  ``Frame;Timestamp;x;y;z``, semicolons between the fields, a comma as decimal point, milliseconds and
  millimetres. Some files end in rows of zeros, which are no samples and are dropped. The files do not state
  their axes; from the marker positions (lower abdomen to upper chest) and from the sense of inhalation x leads
  to superior and z to anterior, and y, the remaining axis of a right-handed frame, to the patient's right.
  They are marks on the skin, not organs.
* Motion-platform files of KIM-QA-Analysis (ACRF Image X Institute, MIT): no header, blanks between the fields,
  seconds, three translations in millimetres and three rotations. The axes are not stated either; by amplitude
  they are left-right, superior-inferior and anterior-posterior, growing to left, superior and anterior.
  Rotations other than zero are refused, because a displacement alone cannot carry them.
"""

import math
import os
from pathlib import Path

import numpy as np

from needleplan.errors import MotionError
from needleplan.frames import FloatArray
from needleplan.motion.recorded import BreathingTrace

#: A trace file larger than this is refused unread (the longest known recordings have 0.2 MB).
MAXIMUM_BYTES = 20_000_000

#: A trace of more samples than this is refused (28 hours at 10 Hz).
MAXIMUM_SAMPLES = 1_000_000

#: Positions beyond this are not millimetres of a patient in a room.
MAXIMUM_POSITION_MM = 10_000.0

#: Rows: patient left, posterior, superior. Columns: x, y, z of the marker tables.
MARKER_TO_LPS = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])

#: Rows: patient left, posterior, superior. Columns: left-right, superior-inferior, anterior-posterior.
PLATFORM_TO_LPS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def read_breathing_trace(path: str | os.PathLike[str]) -> BreathingTrace:
    """Read a recorded breathing trace of either known form.

    Args:
        path: the file.

    Returns:
        The trace in patient LPS mm; its ``source`` names the file and what was inferred about it.

    Raises:
        MotionError: in one sentence, what is wrong and in which line.
    """
    file = Path(path)
    lines = _lines(file)
    first = lines[0].replace('"', "").strip().lower()
    if ";" in first:
        if [name.strip() for name in first.split(";")] != ["frame", "timestamp", "x", "y", "z"]:
            raise MotionError(
                f"{file.name}: the header must be Frame;Timestamp;x;y;z, not {lines[0].strip()[:60]!r}"
            )
        return _marker_table(file, lines)
    return _platform_file(file, lines)


def _lines(file: Path) -> list[str]:
    try:
        if not file.is_file():
            raise MotionError(f"there is no breathing trace {file}")
        with file.open("rb") as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise MotionError(f"the breathing trace {file} cannot be read: {error.strerror}") from error
    if len(content) > MAXIMUM_BYTES:
        raise MotionError(f"{file.name}: a breathing trace of more than {MAXIMUM_BYTES / 1e6:g} MB is refused")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MotionError(f"{file.name}: a breathing trace must be text, but byte {error.start} is not") from error
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines or not lines[0].strip():
        raise MotionError(f"{file.name}: the breathing trace is empty")
    if len(lines) > MAXIMUM_SAMPLES:
        raise MotionError(f"{file.name}: more than {MAXIMUM_SAMPLES} lines are refused")
    return lines


def _numbers(file: Path, number: int, fields: list[str], count: int, *, decimal_comma: bool) -> list[float]:
    if len(fields) != count:
        raise MotionError(f"{file.name}: line {number} has {len(fields)} fields instead of {count}")
    values = []
    for field in fields:
        text = field.strip().strip('"')
        if decimal_comma:
            if "." in text:
                raise MotionError(f"{file.name}: line {number} has a point where a decimal comma is expected")
            text = text.replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            raise MotionError(f"{file.name}: line {number} holds {field[:40]!r}, which is not a number") from None
        if not math.isfinite(value):
            raise MotionError(f"{file.name}: line {number} holds {field[:40]!r}, which is not a finite number")
        values.append(value)
    return values


def _trace(file: Path, times: FloatArray, lps: FloatArray, note: str) -> BreathingTrace:
    if np.abs(lps).max() > MAXIMUM_POSITION_MM:
        raise MotionError(f"{file.name}: a position beyond {MAXIMUM_POSITION_MM / 1000:g} m is not a patient's")
    return BreathingTrace(times, lps, f"{file.name}, {note}")


def _marker_table(file: Path, lines: list[str]) -> BreathingTrace:
    rows = [
        _numbers(file, number, line.split(";"), 5, decimal_comma=True)
        for number, line in enumerate(lines[1:], start=2)
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    dropped = 0
    while len(table) > 1 and not table[-1].any():
        table, dropped = table[:-1], dropped + 1
    if len(table) == 0:
        raise MotionError(f"{file.name}: the breathing trace has a header and no samples")
    note = "skin marker, axes inferred"
    if dropped:
        note += f", {dropped} row{'s' if dropped > 1 else ''} of zeros at the end dropped"
    return _trace(file, table[:, 1] / 1000.0, table[:, 2:] @ MARKER_TO_LPS.T, note)


def _platform_file(file: Path, lines: list[str]) -> BreathingTrace:
    rows = [
        _numbers(file, number, line.split(), 7, decimal_comma=False) for number, line in enumerate(lines, start=1)
    ]
    table = np.array(rows, dtype=np.float64)
    turned = np.flatnonzero(table[:, 4:].any(axis=1))
    if turned.size:
        raise MotionError(f"{file.name}: line {turned[0] + 1} has a rotation, and only translations can be used")
    return _trace(file, table[:, 0], table[:, 1:4] @ PLATFORM_TO_LPS.T, "motion-platform file, axes inferred")
