"""The file of a finished cell: its row, its times, and the hash of its plan."""

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from needleplan.app.study.row_checks import require_row, require_times
from needleplan.app.study.study import STUDY_VERSION, Row, Times
from needleplan.app.study.study_record import is_version
from needleplan.errors import CaseError, PlanFileError
from needleplan.io.bounded import read_whole
from needleplan.io.plan_file import write_text
from needleplan.io.value_json import from_json, parse_strict, to_json

ROW_SCHEMA = "needleplan.study_row"
#: What helps against a damaged row.
ROW_REMEDY = "remove it and resume the study"
_MAXIMUM_ROW_BYTES = 1_000_000

#: A plan of hundreds of needles, unpacked.
_MAXIMUM_UNPACKED_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class FinishedCell:
    """What the file of a finished cell tells.

    Attributes:
        row: its figures.
        times: what it cost.
        plan: SHA-256 (hex) of the file of its plan; empty where none was written.
    """

    row: Row
    times: Times
    plan: str = ""


def read_finished(path: Path, case: str, cell: str) -> FinishedCell:
    """Read the file of a finished cell.

    Args:
        path: the file.
        case: name of the case that it must be of.
        cell: name of the cell.

    Raises:
        PlanFileError: it is damaged or another cell's, or tells what no cell can have.
    """
    if path.is_symlink() or not path.is_file():
        raise PlanFileError(f"{path}: what stands there is no file of a finished cell: {ROW_REMEDY}")
    try:
        found = _parsed(path)
    except (CaseError, PlanFileError) as error:
        raise PlanFileError(f"{error}: {ROW_REMEDY}") from error
    if any((part.case, part.cell) != (case, cell) for part in (found.row, found.times)):
        raise PlanFileError(f"{path}: it is the file of another cell: {ROW_REMEDY}")
    return found


def _parsed(path: Path) -> FinishedCell:
    data = parse_strict(read_whole(path, _MAXIMUM_ROW_BYTES).decode("utf-8", errors="replace"), str(path))
    if not isinstance(data, dict) or data.get("schema") != ROW_SCHEMA or not is_version(data.get("version")):
        raise PlanFileError(f"{path}: its schema must say {ROW_SCHEMA!r} and its version {STUDY_VERSION}")
    row = require_row(from_json(Row, data.get("row"), f"{path}: row"), str(path))
    times = require_times(from_json(Times, data.get("times"), f"{path}: times"), str(path))
    plan = data.get("plan")
    if not isinstance(plan, str) or not re.fullmatch(r"[0-9a-f]{64}" if row.plan_file else "", plan):
        must = "the SHA-256 of the plan's file" if row.plan_file else "empty, as plan_file is"
        raise PlanFileError(f"{path}: plan must be {must}, not {plan!r:.80}")
    return FinishedCell(row, times, plan)


def write_finished(path: Path, finished: FinishedCell) -> None:
    """Write the file of a finished cell, whole or not at all."""
    content = {"schema": ROW_SCHEMA, "version": STUDY_VERSION, **to_json(finished)}
    write_text(path, f"{json.dumps(content, allow_nan=False, ensure_ascii=False)}\n")


def unpacked(content: bytes) -> bytes:
    """What ``zlib.compress`` packed; raises PlanFileError where it is damaged or too large."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(content, _MAXIMUM_UNPACKED_BYTES)
    except zlib.error as error:
        raise PlanFileError(f"what a worker sent is damaged ({error})") from error
    if not inflater.eof:
        raise PlanFileError(f"what a worker sent is cut short, or larger than {_MAXIMUM_UNPACKED_BYTES} bytes")
    return plain
