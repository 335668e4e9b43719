"""The table of tissues: every property with unit, range, source and confidence, and the Tissue made from it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from needleplan.devices import sheet
from needleplan.devices.tissue import Tissue, admissible, property_names
from needleplan.errors import DeviceError

COLUMNS = (
    "tissue", "property", "value", "unit", "low", "high", "conditions", "source", "doi_or_url", "provenance",
    "confidence",
)  # fmt: skip

#: How the unit of a property shows in the end of its name; longer endings first.
_UNITS_BY_ENDING = {
    "_w_m_k": "W/m/K",
    "_j_kg_k": "J/kg/K",
    "_kg_m3": "kg/m3",
    "_w_m3": "W/m3",
    "_j_kg": "J/kg",
    "_s_m": "S/m",
    "_v_cm": "V/cm",
    "_per_s": "1/s",
    "_per_k": "1/K",
    "_per_m": "1/m",
    "_c": "degC",
    "_mhz": "1",
}
#: The one unit of each property, for instance 1/s for the perfusion: a table in other units is refused.
UNITS = {
    name: next(unit for ending, unit in _UNITS_BY_ENDING.items() if name.endswith(ending))
    for name in property_names()
}


@dataclass(frozen=True, slots=True)
class TissueRow:
    """One property of one tissue.

    Attributes:
        tissue: name of the tissue.
        property: name of the property, an attribute of Tissue.
        value: in ``unit``.
        unit: as UNITS says.
        low, high: the least and the greatest value that sources give; None where they give none.
        conditions: what the value holds for, and what the range means.
        source: publication, data base or reasoning; a preset that takes the row of another tissue says so.
        doi_or_url: where to find the source; empty where that is not known.
        provenance: READ, RECALL, COMPUTED, VENDOR or ASSUMED.
        confidence: high, medium or low.
    """

    tissue: str
    property: str
    value: float
    unit: str
    low: float | None
    high: float | None
    conditions: str
    source: str
    doi_or_url: str
    provenance: str
    confidence: str


class TissueTable:
    """Typed access to tissues and to the rows that they come from.

    Args:
        rows: each tissue and property once.

    Raises:
        DeviceError: a tissue lacks density, heat or conductivity, or contradicts itself.
    """

    def __init__(self, rows: Iterable[TissueRow]) -> None:
        self.rows = tuple(rows)
        self._rows: dict[str, dict[str, TissueRow]] = {}
        for row in self.rows:
            self._rows.setdefault(row.tissue, {})[row.property] = row
        self._tissues = {name: _made(name, properties) for name, properties in self._rows.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tissues, in the order of the table."""
        return tuple(self._tissues)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of every figure and text of the table."""
        return hashlib.sha256(repr(self.rows).encode()).hexdigest()

    def tissue(self, name: str) -> Tissue:
        """A tissue with what is known of it; raises DeviceError with the names there are."""
        if name not in self._tissues:
            raise DeviceError(f"no tissue is named {name!r}: choose one of {', '.join(self.names)}")
        return self._tissues[name]

    def row(self, name: str, property_name: str) -> TissueRow:
        """Where a property of a tissue comes from; raises DeviceError where the table does not know it."""
        self.tissue(name)
        if property_name not in UNITS:
            raise DeviceError(f"tissues have no property {property_name!r}: choose one of {', '.join(UNITS)}")
        if property_name not in self._rows[name]:
            raise DeviceError(f"the tissue table states no {property_name} for {name!r}")
        return self._rows[name][property_name]


@cache
def builtin_tissues() -> TissueTable:
    """The tissues that ship with needleplan; every row names its source."""
    return _parse(sheet.package_text("tissues.csv"), "tissues.csv")


def load_tissues(path: Path) -> TissueTable:
    """A user's own tissues.

    Args:
        path: CSV file with the columns of ``COLUMNS``, one property of one tissue in a line.

    Raises:
        DeviceError: the file, a column, a number, a unit, a range or a source is missing or impossible, with its
            line.
    """
    return _parse(sheet.file_text(path), path.name)


def _made(name: str, properties: dict[str, TissueRow]) -> Tissue:
    for needed in ("density_kg_m3", "specific_heat_j_kg_k", "thermal_conductivity_w_m_k"):
        if needed not in properties:
            raise DeviceError(f"tissue {name!r} has no {needed}, which every tissue needs")
    ranges = {
        key: (row.low, row.high) for key, row in properties.items() if row.low is not None and row.high is not None
    }
    return Tissue(name, **{key: row.value for key, row in properties.items()}, ranges=ranges)


def _parse(text: str, file: str) -> TissueTable:
    found: dict[tuple[str, str], TissueRow] = {}
    for where, cells in sheet.rows(text, file, COLUMNS):
        row = _parsed_row(cells, where)
        if (row.tissue, row.property) in found:
            raise DeviceError(f"{where}: {row.property} of {row.tissue!r} is given twice")
        found[row.tissue, row.property] = row
    try:
        return TissueTable(found.values())
    except DeviceError as error:
        raise DeviceError(f"{file}: {error}") from error


def _parsed_row(cells: sheet.Row, where: str) -> TissueRow:
    name = sheet.words(cells, "property", where)
    if name not in UNITS:
        raise DeviceError(f"{where}: tissues have no property {name!r}, choose one of {', '.join(UNITS)}")
    unit = sheet.choice(cells, "unit", where, (UNITS[name],))
    value = sheet.finite(cells, "value", where)
    low, high = sheet.limits(cells, where, value) or (None, None)
    for number in (value, low):
        if number is not None and not admissible(name, number):
            raise DeviceError(f"{where}: {name} must be a positive number, but is {number:g}")
    return TissueRow(
        sheet.words(cells, "tissue", where),
        name,
        value,
        unit,
        low,
        high,
        cells["conditions"].strip(),
        sheet.words(cells, "source", where),
        cells["doi_or_url"].strip(),
        sheet.choice(cells, "provenance", where, sheet.PROVENANCES),
        sheet.choice(cells, "confidence", where, sheet.CONFIDENCES),
    )
