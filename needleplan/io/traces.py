"""Readers of recorded breathing traces.

Two public forms are known:

* Marker tables of the ExtMarker collection (Krilavicius et al. 2013; Pohl et al. 2022, CC BY 4.0): header
  ``Frame;Timestamp;x;y;z``, semicolons between the fields, a comma as decimal point, milliseconds and
  millimetres. Many files end in a row of zeros, which is no sample. The files do not state their axes; from the
  marker positions (lower abdomen to upper chest) and from the sense of inhalation x leads to superior and z to
  anterior, and y, the remaining axis of a right-handed frame, to the patient's right.
  They are marks on the skin, not organs.
* Motion-platform files of KIM-QA-Analysis (ACRF Image X Institute, MIT): no header, blanks between the fields,
  seconds, three translations in millimetres and three rotations. The axes are not stated either; by amplitude
  they are left-right, superior-inferior and anterior-posterior, growing to left, superior and anterior.
  Rotations other than zero are refused, because a displacement alone cannot carry them. Some of the files hold
  a stretch twice, number by number: fine for a rehearsal, misleading where a predictor is judged on the second.

What is no sample is dropped: rows of zeros after the first, a marker at the exact origin of the room, rows and
stamps that come twice, and all but the first of positions that stay exactly alike for longer than a second (a
sensor that repeats its last value). Each is counted in the notes of the trace and told in its source; the holes
that this leaves are judged where the trace is used.
"""

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import MotionError
from needleplan.frames import FloatArray
from needleplan.motion.recorded import MAXIMUM_GAP_S
from needleplan.motion.trace import BreathingTrace, TraceNote

#: A trace file larger than this is refused unread (the longest known recordings have 0.2 MB).
MAXIMUM_BYTES = 20_000_000

#: A trace of more samples than this is refused (28 hours at 10 Hz).
MAXIMUM_SAMPLES = 1_000_000

#: Positions beyond this are not millimetres of a patient in a room.
MAXIMUM_POSITION_MM = 10_000.0

#: A stretch this long that comes again, number by number, is a copy: no patient breathes twice alike.
REPEATED_S = 10.0

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


def _trace(file: Path, times: FloatArray, lps: FloatArray, form: str, notes: list[TraceNote]) -> BreathingTrace:
    if np.abs(lps).max() > MAXIMUM_POSITION_MM:
        raise MotionError(f"{file.name}: a position beyond {MAXIMUM_POSITION_MM / 1000:g} m is not a patient's")
    times, lps = _without_twins(times, lps, notes)
    times, lps = _without_frozen(times, lps, notes)
    uneven = _uneven_steps(times)
    if uneven is not None:
        notes.append(uneven)
    twice = _repeated_stretch(times, lps)
    if twice is not None:
        notes.append(twice)
    source = ", ".join([file.name, form, *map(str, notes)])
    return BreathingTrace(times, lps, source, tuple(notes))


def _without_twins(times: FloatArray, lps: FloatArray, notes: list[TraceNote]) -> tuple[FloatArray, FloatArray]:
    """Drop samples with the stamp of the one before; stamps that go back are left for the trace to refuse."""
    twin = np.diff(times, prepend=np.nan) == 0.0
    alike = twin & (np.diff(lps, axis=0, prepend=np.nan) == 0.0).all(axis=1)
    for found, one, many in (
        (alike, "repeated row dropped", "repeated rows dropped"),
        (twin & ~alike, "second position of a stamp dropped", "second positions of stamps dropped"),
    ):
        _note(notes, int(found.sum()), one, many)
    return times[~twin], lps[~twin]


def _without_frozen(times: FloatArray, lps: FloatArray, notes: list[TraceNote]) -> tuple[FloatArray, FloatArray]:
    """Drop all but the first of positions that stay exactly alike for longer than ``MAXIMUM_GAP_S``."""
    begins = np.flatnonzero((np.diff(lps, axis=0, prepend=np.nan) != 0.0).any(axis=1))
    lasts = np.append(begins[1:], len(lps)) - 1
    keep = np.repeat(times[lasts] - times[begins] <= MAXIMUM_GAP_S, lasts - begins + 1)
    keep[begins] = True
    if len(begins) == 1:  # a trace that never moves is refused as such, not thinned
        return times, lps
    _note(notes, int((~keep).sum()), "frozen sample dropped", "frozen samples dropped")
    return times[keep], lps[keep]


def _uneven_steps(times: FloatArray) -> TraceNote | None:
    """How many steps in time differ by more than a tenth from the median one."""
    steps = np.diff(times)
    if len(steps) == 0:
        return None
    count = int((np.abs(steps - np.median(steps)) > 0.1 * np.median(steps)).sum())
    return TraceNote(f"uneven steps of {steps.min():.3g} to {steps.max():.3g} s", count) if count else None


def _repeated_stretch(times: FloatArray, lps: FloatArray) -> TraceNote | None:
    """The longest stretch of at least ``REPEATED_S`` that comes again later, number by number."""
    if len(times) < 2 or (np.diff(times) <= 0.0).any():
        return None
    window = max(8, int(np.ceil(REPEATED_S / float(np.median(np.diff(times))))))
    if 2 * window > len(times):
        return None
    place = np.unique(lps, axis=0, return_inverse=True)[1].reshape(-1)
    seen: dict[int, int] = {}
    first, again, longest, k = 0, 0, 0, 0
    keys = _window_keys(place, window)
    while k < len(keys):
        # A stretch that overlaps itself is a slow motion, not a copy.
        earlier = seen.setdefault(keys[k], k)
        if earlier + window > k or (place[earlier : earlier + window] != place[k : k + window]).any():
            k += 1
            continue
        most = min(len(place) - k, k - earlier)
        differ = np.flatnonzero(place[earlier : earlier + most] != place[k : k + most])
        length = int(differ[0]) if len(differ) else most
        if length > longest:
            first, again, longest = earlier, k, length
        k += length
    if longest == 0:
        return None
    span = f"{times[first]:.1f} to {times[first + longest - 1]:.1f} s"
    return TraceNote(f"samples from {span} come again at {times[again]:.1f} s", longest)


def _window_keys(place: NDArray[np.intp], window: int) -> list[int]:
    """A number for each run of ``window`` neighbours, the same for the same runs and hardly ever for others.

    The polynomial hash of Rabin and Karp modulo 2^64, in one pass whatever the length of the run.
    """
    codes = np.random.default_rng(0).integers(1, 2**63, int(place.max()) + 1, dtype=np.uint64)[place]
    powers = np.cumprod(np.full(len(place), 6364136223846793005, dtype=np.uint64))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(codes * powers)])
    # Each run carries the power of its begin; those of the way back bring all to the same one.
    keys = (sums[window:] - sums[:-window]) * powers[::-1][: len(place) - window + 1]
    return [int(key) for key in keys]


def _note(notes: list[TraceNote], count: int, one: str, many: str) -> None:
    if count:
        notes.append(TraceNote(one if count == 1 else many, count))


def _marker_table(file: Path, lines: list[str]) -> BreathingTrace:
    rows = [
        _numbers(file, number, line.split(";"), 5, decimal_comma=True)
        for number, line in enumerate(lines[1:], start=2)
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    if len(table) == 0:
        raise MotionError(f"{file.name}: the breathing trace has a header and no samples")
    notes: list[TraceNote] = []
    zero = ~table.any(axis=1)
    lost = ~table[:, 2:].any(axis=1) & ~zero
    _note(notes, int(zero.sum()), "row of zeros dropped", "rows of zeros dropped")
    _note(notes, int(lost.sum()), "lost marker at the origin dropped", "lost markers at the origin dropped")
    table = table[~(zero | lost)]
    if len(table) == 0:
        raise MotionError(f"{file.name}: the breathing trace holds nothing but zeros")
    lps = table[:, 2:] @ MARKER_TO_LPS.T
    return _trace(file, table[:, 1] / 1000.0, lps, "skin marker, axes inferred", notes)


def _platform_file(file: Path, lines: list[str]) -> BreathingTrace:
    rows = [
        _numbers(file, number, line.split(), 7, decimal_comma=False) for number, line in enumerate(lines, start=1)
    ]
    table = np.array(rows, dtype=np.float64)
    turned = np.flatnonzero(table[:, 4:].any(axis=1))
    if turned.size:
        raise MotionError(f"{file.name}: line {turned[0] + 1} has a rotation, and only translations can be used")
    notes: list[TraceNote] = []
    # Positions are relative here: the first row may well be zero at time zero, a later one with time zero is none.
    zero = ~table.any(axis=1) & (np.arange(len(table)) > 0)
    _note(notes, int(zero.sum()), "row of zeros dropped", "rows of zeros dropped")
    table = table[~zero]
    lps = table[:, 1:4] @ PLATFORM_TO_LPS.T
    return _trace(file, table[:, 0], lps, "motion-platform file, axes inferred", notes)
