"""Applicators and the zone tables that belong to them, from package data or from a user's CSV files."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from needleplan.devices import sheet
from needleplan.errors import DeviceError

APPLICATOR_COLUMNS = (
    "applicator", "modality", "description", "shaft_diameter_mm", "usable_length_mm", "active_length_mm",
    "tip_to_centre_mm", "is_vendor_table", "geometry_source",
)  # fmt: skip
ZONE_COLUMNS = (
    "applicator", "setting", "power_w", "duration_s", "axial_length_mm", "diameter_mm", "zone_definition",
    "source", "provenance", "confidence", "tissue",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Applicator:
    """A needle that delivers energy.

    Attributes:
        name: identifier.
        modality: RFA, MWA, cryo, laser, IRE or ECT.
        description: one line for people.
        shaft_diameter_mm: outer diameter of the shaft.
        usable_length_mm: longest path from skin to tip.
        active_length_mm: length of the part that delivers energy.
        tip_to_centre_mm: distance from the tip back to the middle of the zone.
        is_vendor_table: True where the zones are the vendor's own figures.
        geometry_source: where these lengths come from, assumptions named as such.
    """

    name: str
    modality: str
    description: str
    shaft_diameter_mm: float
    usable_length_mm: float
    active_length_mm: float
    tip_to_centre_mm: float
    is_vendor_table: bool
    geometry_source: str

    @property
    def radius_mm(self) -> float:
        """Radius of the shaft."""
        return 0.5 * self.shaft_diameter_mm


@dataclass(frozen=True, slots=True)
class ZoneRow:
    """One line of a zone table: a spheroid of revolution about the needle.

    Attributes:
        applicator: name of the applicator.
        setting: ``in_vivo`` (perfused) or ``ex_vivo``.
        power_w: generator power; None where the generator controls it.
        duration_s: time that energy flows.
        axial_length_mm: full length along the needle.
        diameter_mm: full diameter across it.
        zone_definition: what was measured or computed as the zone.
        source: publication, vendor document or model.
        provenance: READ, RECALL, COMPUTED or VENDOR.
        confidence: high, medium or low.
        tissue: tissue it was measured or computed in.
    """

    applicator: str
    setting: str
    power_w: float | None
    duration_s: float
    axial_length_mm: float
    diameter_mm: float
    zone_definition: str
    source: str
    provenance: str
    confidence: str
    tissue: str


@dataclass(frozen=True, slots=True)
class DeviceCatalogue:
    """Applicators with their zone tables.

    Attributes:
        applicators: unique names.
        zones: rows that each belong to one of the applicators.
    """

    applicators: tuple[Applicator, ...]
    zones: tuple[ZoneRow, ...]

    def __post_init__(self) -> None:
        names = [applicator.name for applicator in self.applicators]
        for name in names:
            if names.count(name) > 1:
                raise DeviceError(f"applicator {name!r} is listed twice")
        for row in self.zones:
            if row.applicator not in names:
                raise DeviceError(f"a zone row names the applicator {row.applicator!r}, which is not listed")

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of every figure and text of the tables."""
        return hashlib.sha256(repr((self.applicators, self.zones)).encode()).hexdigest()

    def applicator(self, name: str) -> Applicator:
        """The applicator of that name; raises DeviceError with the names there are."""
        for applicator in self.applicators:
            if applicator.name == name:
                return applicator
        known = ", ".join(applicator.name for applicator in self.applicators)
        raise DeviceError(f"no applicator is named {name!r:.60}: choose one of {known}")

    def rows(self, name: str, setting: str) -> tuple[ZoneRow, ...]:
        """Zone rows of one applicator in one setting; raises DeviceError where there are none."""
        self.applicator(name)
        rows = tuple(row for row in self.zones if row.applicator == name and row.setting == setting)
        if not rows:
            settings = sorted({row.setting for row in self.zones if row.applicator == name})
            if not settings:
                raise DeviceError(
                    f"applicator {name!r} has no zone table: load one, or compute its zone by a solver"
                )
            raise DeviceError(
                f"applicator {name!r} has no zones for the setting {setting!r}: choose one of {', '.join(settings)}"
            )
        return rows


@cache
def builtin_catalogue() -> DeviceCatalogue:
    """The applicators that ship with needleplan; every row names its source."""
    applicators, zones = sheet.package_text("applicators.csv"), sheet.package_text("zones.csv")
    return _parse(applicators, "applicators.csv", zones, "zones.csv")


def builtin_catalogue_with(own: DeviceCatalogue) -> DeviceCatalogue:
    """The applicators that ship with needleplan and a user's own beside them.

    Raises:
        DeviceError: one of the user's has the name of one that ships.
    """
    shipped = builtin_catalogue()
    names = {applicator.name for applicator in shipped.applicators}
    for applicator in own.applicators:
        if applicator.name in names:
            raise DeviceError(
                f"applicator {applicator.name!r} has the name of a built-in one: give it a name of its own"
            )
    return DeviceCatalogue((*shipped.applicators, *own.applicators), (*shipped.zones, *own.zones))


def load_catalogue(applicators_csv: Path, zones_csv: Path) -> DeviceCatalogue:
    """A user's own tables, for instance a vendor's figures.

    Args:
        applicators_csv: columns of ``APPLICATOR_COLUMNS``.
        zones_csv: columns of ``ZONE_COLUMNS``; an empty ``power_w`` means that the generator controls it.

    Raises:
        DeviceError: a file, column, number or source is missing or impossible, with its line.
    """
    texts = sheet.file_text(applicators_csv), sheet.file_text(zones_csv)
    return _parse(texts[0], applicators_csv.name, texts[1], zones_csv.name)


def _parse(applicators: str, applicators_name: str, zones: str, zones_name: str) -> DeviceCatalogue:
    return DeviceCatalogue(
        tuple(
            Applicator(
                sheet.words(row, "applicator", where),
                sheet.words(row, "modality", where),
                row["description"],
                sheet.positive(row, "shaft_diameter_mm", where),
                sheet.positive(row, "usable_length_mm", where),
                sheet.positive(row, "active_length_mm", where),
                sheet.positive(row, "tip_to_centre_mm", where, least=0.0),
                sheet.words(row, "is_vendor_table", where).lower() == "yes",
                sheet.words(row, "geometry_source", where),
            )
            for where, row in sheet.rows(applicators, applicators_name, APPLICATOR_COLUMNS)
        ),
        tuple(
            ZoneRow(
                sheet.words(row, "applicator", where),
                sheet.words(row, "setting", where),
                sheet.positive(row, "power_w", where) if row["power_w"].strip() else None,
                sheet.positive(row, "duration_s", where),
                sheet.positive(row, "axial_length_mm", where),
                sheet.positive(row, "diameter_mm", where),
                row["zone_definition"],
                sheet.words(row, "source", where),
                sheet.words(row, "provenance", where),
                sheet.words(row, "confidence", where),
                row["tissue"],
            )
            for where, row in sheet.rows(zones, zones_name, ZONE_COLUMNS)
        ),
    )
