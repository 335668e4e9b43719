"""The record of a live session: one line for each event and each answer, in a chain that shows every change.

A line is JSON with its number, its kind, its value and a hash of itself and the line before. It is handed to the
operating system in one piece before ``take`` returns, so a process that is killed loses nothing that was answered;
it is on the disk within ``sync_s`` (decisions of people at once), which is what a loss of power can cost. A last
line without its end was being written at such a moment and is dropped; any other line that does not fit is refused.
The chain has no key: it shows a slip, a fault of the disk or a careless hand, not somebody who makes it anew; nor
does a log that was cut at the end of a line differ from one whose session was killed there (``closed`` is False).
Nothing of the patient is recorded but the hashes of case and plan; names of landmarks are those that were given.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from needleplan.errors import CaseError, NavigationError, PlanFileError
from needleplan.io.bounded import file_size
from needleplan.io.value_json import parse_strict

SCHEMA = "needleplan.session"
VERSION = 1
#: A larger file is no record of a session: a day at 60 Hz has about this much.
MAXIMUM_BYTES = 8_000_000_000
#: A longer line is none of a session.
MAXIMUM_LINE_BYTES = 4_000_000
#: Kinds of lines.
HEADER, EVENT, GUIDANCE, REFUSED, RESUMED, CLOSED = "header", "event", "guidance", "refused", "resumed", "closed"
_KINDS = frozenset({HEADER, EVENT, GUIDANCE, REFUSED, RESUMED, CLOSED})
#: What stands before a line's hash.
HASH_MARK = b',"hash":"'


@dataclass(frozen=True, slots=True)
class RecordedLine:
    """One line.

    Attributes:
        number: from 0 up, without a gap.
        kind: header, event, guidance, refused, resumed or closed.
        value: what it says, as plain values.
    """

    number: int
    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class RecordedLog:
    """A log whose chain was found whole.

    Attributes:
        path: the file.
        header: what its first line says.
        lines: number of whole lines.
        whole_bytes: length of these.
        size_bytes: length of the file.
        torn: what was dropped behind them, in a sentence; None where nothing was.
        closed: True where the session was ended as it should be.
        last_hash: hash of the last whole line.
    """

    path: Path
    header: dict[str, Any]
    lines: int
    whole_bytes: int
    size_bytes: int
    torn: str | None
    closed: bool
    last_hash: str

    def entries(self) -> Iterator[RecordedLine]:
        """All whole lines behind the header, read again."""
        for number, (line, _) in enumerate(_whole_lines(self.path, self.whole_bytes)):
            if 0 < number < self.lines:
                yield _parsed(line, number, self.path.name)


def read_log(path: Path) -> RecordedLog:
    """Check a log from end to end.

    Raises:
        NavigationError: it is missing, too large, of another kind, or a line before its end was altered, lost, or
            put elsewhere.
    """
    try:
        size = file_size(path, MAXIMUM_BYTES)
    except CaseError as error:
        raise NavigationError(str(error)) from error
    header: dict[str, Any] = {}
    before, count, whole, kind = "", 0, 0, ""
    for line, end in _whole_lines(path, size):
        entry = _parsed(line, count, path.name)
        text, _, told = line.rpartition(HASH_MARK)
        if told[:-2].decode("ascii", "replace") != line_hash(before, text):
            raise NavigationError(
                f"{path.name}: line {count} does not fit the one before it: the log was altered or a part is lost"
            )
        if (entry.kind == HEADER) != (count == 0):
            raise NavigationError(
                f"{path.name}: line {count} is a {entry.kind}: a log has one header, at its begin"
            )
        if count == 0:
            header = _checked_header(entry.value, path.name)
        before, whole, kind = told[:-2].decode("ascii"), end, entry.kind
        count += 1
    if count == 0:
        raise NavigationError(
            f"{path.name}: the log ends within its first line: nothing was recorded; delete it and begin again"
        )
    torn = None
    if whole < size:
        torn = (
            f"The last line was being written when the session ended: {size - whole} bytes behind line {count - 1} "
            "are dropped."
        )
    return RecordedLog(path, header, count, whole, size, torn, kind == CLOSED, before)


def _checked_header(value: Any, name: str) -> dict[str, Any]:
    keys = {"schema", "version", "needleplan", "case_hash", "plan_hash", "options", "predictor", "body"}
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise NavigationError(f"{name}: not the log of a session; its header must say {SCHEMA!r}")
    if value.get("version") != VERSION or set(value) != keys:
        raise NavigationError(f"{name}: version {value.get('version')!r} of the log is not known, only {VERSION}")
    return value


def _parsed(line: bytes, number: int, name: str) -> RecordedLine:
    where = f"{name}, line {number}"
    try:
        data = parse_strict(line.decode("utf-8"), where)
    except (PlanFileError, UnicodeDecodeError) as error:
        raise NavigationError(f"{where}: the line is damaged: {error}") from error
    kinds = [] if not isinstance(data, dict) else sorted(set(data) & _KINDS)
    if not isinstance(data, dict) or len(kinds) != 1 or set(data) != {"n", "hash", kinds[0]}:
        raise NavigationError(f"{where}: not a line of a session's log")
    if type(data["n"]) is not int or data["n"] != number:
        raise NavigationError(f"{where}: its number is {data['n']!r}: a line is lost, or stands twice")
    return RecordedLine(number, kinds[0], data[kinds[0]])


def _whole_lines(path: Path, size: int) -> Iterator[tuple[bytes, int]]:
    """Lines that end, within the first ``size`` bytes, each without its end and with where that is."""
    end = 0
    with path.open("rb") as stream:
        while end < size:
            line = stream.readline(MAXIMUM_LINE_BYTES + 1)
            if len(line) > MAXIMUM_LINE_BYTES and (line.endswith(b"\n") or _ends(stream)):
                raise NavigationError(
                    f"{path.name}: a line is longer than {MAXIMUM_LINE_BYTES} bytes: no session's"
                )
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield line[:-1], end


def _ends(stream: IO[bytes]) -> bool:
    """True where a line ends in what is left, read in pieces: without an end it is torn, however long it is."""
    return any(b"\n" in piece for piece in iter(lambda: stream.read(MAXIMUM_LINE_BYTES), b""))


def line_hash(before: str, text: bytes) -> str:
    """Hash of a line without its own, in a chain with the line before."""
    return hashlib.sha256(before.encode() + text).hexdigest()[:32]
