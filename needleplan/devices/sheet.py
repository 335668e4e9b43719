"""Reading of CSV tables that may be anything: bounded, every cell checked, every complaint with file and line."""

import csv
import math
from importlib.resources import files
from pathlib import Path

from needleplan.errors import DeviceError

#: A table of more bytes than this is not a device table.
MAXIMUM_TABLE_BYTES = 4_000_000
#: Where a figure comes from: seen in the source named, remembered from it, worked out, a vendor's own, or assumed.
PROVENANCES = ("READ", "RECALL", "COMPUTED", "VENDOR", "ASSUMED")
#: How far to trust a figure.
CONFIDENCES = ("high", "medium", "low")

#: A row of a table: its cells by column.
Row = dict[str, str]


def file_text(path: Path) -> str:
    """Text of a user's table.

    Raises:
        DeviceError: the file cannot be read, is too large, or is not UTF-8.
    """
    try:
        if path.stat().st_size > MAXIMUM_TABLE_BYTES:
            raise DeviceError(f"{path.name} is larger than {MAXIMUM_TABLE_BYTES} bytes: not a device table")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DeviceError(f"{path.name} cannot be read: {reason}") from error


def package_text(name: str) -> str:
    """Text of a table that ships with needleplan."""
    return files("needleplan.devices").joinpath(name).read_text(encoding="utf-8")


def rows(text: str, name: str, columns: tuple[str, ...]) -> list[tuple[str, Row]]:
    """Every row with where it stands ("tissues.csv line 7"); a table needs the columns and at least one row."""
    reader = csv.DictReader(text.splitlines())
    found = []
    try:
        missing = [column for column in columns if column not in (reader.fieldnames or [])]
        if missing:
            raise DeviceError(f"{name} has no column {missing[0]!r}: it needs {', '.join(columns)}")
        for row in reader:
            where = f"{name} line {reader.line_num}"
            if None in row or any(row[column] is None for column in columns):
                raise DeviceError(f"{where} has the wrong number of columns")
            found.append((where, row))
    except csv.Error as error:
        raise DeviceError(f"{name} line {reader.line_num} is not comma-separated text: {error}") from error
    if not found:
        raise DeviceError(f"{name} holds no row")
    return found


def words(row: Row, column: str, where: str) -> str:
    """A cell that must not be empty."""
    value = row[column].strip()
    if not value:
        raise DeviceError(f"{where}: {column} is empty")
    return value


def choice(row: Row, column: str, where: str, allowed: tuple[str, ...]) -> str:
    """A cell that must be one of a few words."""
    value = row[column].strip()
    if value not in allowed:
        raise DeviceError(f"{where}: {column} must be one of {', '.join(allowed)}, but is {value!r}")
    return value


def positive(row: Row, column: str, where: str, least: float | None = None) -> float:
    """A cell that must be a number above zero, or from ``least`` up."""
    value = _parsed(row[column])
    ok = math.isfinite(value) and (value > 0 if least is None else value >= least)
    if not ok:
        raise DeviceError(f"{where}: {column} must be a positive number, but is {row[column]!r}")
    return value


def finite(row: Row, column: str, where: str) -> float:
    """A cell that must be a number, of whatever sign."""
    value = _parsed(row[column])
    if not math.isfinite(value):
        raise DeviceError(f"{where}: {column} must be a finite number, but is {row[column]!r}")
    return value


def limits(row: Row, where: str, value: float) -> tuple[float, float] | None:
    """The range in the columns ``low`` and ``high``, which must hold the value; None where both are empty."""
    empty = [not row[column].strip() for column in ("low", "high")]
    if all(empty):
        return None
    if any(empty):
        raise DeviceError(f"{where}: a range needs both low and high, but one of them is empty")
    low, high = finite(row, "low", where), finite(row, "high", where)
    if not low <= value <= high:
        raise DeviceError(f"{where}: the range {low:g} to {high:g} must hold the value {value:g}")
    return low, high


def _parsed(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
