"""What every benchmark hands over: a JSON list of rows ``name, value, unit, peer_name, peer_value, ratio``.

``ratio`` is ``value / peer_value`` and nothing else: for a time, below 1 is faster than the peer; for a rate, above
1 is. A row without a peer has null in the last three. Figures of two runs compare only by their ratios, because
machines and their load differ.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, and what it is compared with.

    Attributes:
        name: what was measured, unique within a file.
        value: the figure.
        unit: its unit, "s" or "1/s" or "1".
        peer_name: the other program, or the limit that was set; None where there is none.
        peer_value: the peer's figure in the same unit and the same run.
        ratio: value / peer_value.
    """

    name: str
    value: float
    unit: str
    peer_name: str | None = None
    peer_value: float | None = None
    ratio: float | None = None

    @classmethod
    def against(cls, name: str, value: float, unit: str, peer_name: str, peer_value: float) -> "Row":
        """A row with its ratio."""
        return cls(name, value, unit, peer_name, peer_value, value / peer_value)


def check_rows(rows: Any) -> list[Row]:
    """The rows of parsed JSON; raises ValueError that names the row and what is wrong with it."""
    if not isinstance(rows, list) or not rows:
        raise ValueError("a benchmark must give a list of at least one row")
    names = [field.name for field in fields(Row)]
    checked = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or list(row) != names:
            raise ValueError(f"row {number} must have exactly the keys {', '.join(names)}")
        for key in ("name", "unit"):
            if not isinstance(row[key], str) or not row[key]:
                raise ValueError(f"row {number}: {key} must be a text that is not empty")
        where = f"row {number} ({row['name']})"
        if not _is_number(row["value"]):
            raise ValueError(f"{where}: value must be a finite number, not {row['value']!r}")
        missing = [row[key] is None for key in ("peer_name", "peer_value", "ratio")]
        if any(missing) and not all(missing):
            raise ValueError(f"{where}: peer_name, peer_value and ratio go together")
        if not any(missing):
            if not isinstance(row["peer_name"], str) or not row["peer_name"]:
                raise ValueError(f"{where}: peer_name must be a text that is not empty")
            if not _is_number(row["peer_value"]) or row["peer_value"] == 0 or not _is_number(row["ratio"]):
                raise ValueError(f"{where}: peer_value and ratio must be finite numbers and the peer's not zero")
            if not math.isclose(row["ratio"], row["value"] / row["peer_value"], rel_tol=1e-6):
                raise ValueError(f"{where}: ratio must be value / peer_value")
        checked.append(Row(**row))
    if len({row.name for row in checked}) < len(checked):
        raise ValueError("two rows have the same name")
    return checked


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write checked rows as JSON."""
    content = [asdict(row) for row in rows]
    check_rows(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
