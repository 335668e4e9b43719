"""What kills: Arrhenius sets, thermal doses, temperatures of frozen tissue, and field strengths, with sources."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from needleplan.devices import sheet
from needleplan.errors import DeviceError

COLUMNS = (
    "name", "quantity", "value", "unit", "low", "high", "modality", "tissue", "conductivity_model", "conditions",
    "source", "doi_or_url", "provenance", "confidence",
)  # fmt: skip

#: The one unit of each quantity.
UNITS = {
    "frequency_factor": "1/s",
    "log10_frequency_factor": "log10(1/s)",
    "activation_energy": "J/mol",
    "cem43_base_from_43_c": "1",
    "cem43_base_from_39_c": "1",
    "cem43_threshold": "min",
    "lethal_temperature": "degC",
    "field_threshold": "V/cm",
    "peleg_fermi_critical_field": "V/cm",
    "peleg_fermi_width": "V/cm",
    "peleg_fermi_critical_field_decay": "1/pulse",
    "peleg_fermi_width_decay": "1/pulse",
    "three_state_forward_rate": "1/s",
    "three_state_backward_rate": "1/s",
    "three_state_temperature_scale": "degC",
}
#: A threshold found with one of these may only be compared with a field computed with the same one: in pig liver
#: the same zones fit 500 V/cm with a conductivity that rises with the field, and 400 V/cm with a constant one.
CONDUCTIVITY_MODELS = ("constant", "field_dependent")
#: Modalities that kill by the electric field.
FIELD_MODALITIES = ("IRE", "ECT")
#: How far the printed frequency factor may lie from its logarithm, in decades.
_LOGARITHM_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """One line of the table; ``low`` and ``high`` are None where no range is known."""

    name: str
    quantity: str
    value: float
    unit: str
    low: float | None
    high: float | None
    modality: str
    tissue: str
    conductivity_model: str
    conditions: str
    source: str
    doi_or_url: str
    provenance: str
    confidence: str


@dataclass(frozen=True, slots=True)
class DamageSet:
    """Constants of an Arrhenius integral, dOmega/dt = A exp(-Ea / (R T)).

    Attributes:
        name: identifier in the table.
        log10_frequency_factor_per_s: decimal logarithm of A, since A itself (1e104) overflows single precision.
        activation_energy_j_mol: Ea.
        row: the row of the activation energy, for source and confidence.
    """

    name: str
    log10_frequency_factor_per_s: float
    activation_energy_j_mol: float
    row: ThresholdRow


@dataclass(frozen=True, slots=True)
class ThermalDose:
    """Minutes at 43 °C that an effect takes (CEM43)."""

    name: str
    minutes: float
    row: ThresholdRow


@dataclass(frozen=True, slots=True)
class LethalTemperature:
    """Temperature below which frozen tissue counts as dead; ``row.conditions`` tells for how many cycles."""

    name: str
    temperature_c: float
    row: ThresholdRow


@dataclass(frozen=True, slots=True)
class FieldThreshold:
    """Field strength from which tissue counts as treated.

    Attributes:
        name: identifier in the table.
        modality: IRE (irreversible) or ECT (reversible).
        tissue: name of the tissue in the tissue table, or another that the source names.
        field_v_cm: the threshold.
        conductivity_model: one of CONDUCTIVITY_MODELS, the only one that the threshold goes with.
        low_v_cm, high_v_cm: range, None where the source gives none.
        row: for source and confidence.
    """

    name: str
    modality: str
    tissue: str
    field_v_cm: float
    conductivity_model: str
    low_v_cm: float | None
    high_v_cm: float | None
    row: ThresholdRow


@dataclass(frozen=True, slots=True)
class PelegFermi:
    """Share of surviving cells 1 / (1 + exp((E - Ec) / A)), Ec = E0 exp(-k1 n), A = A0 exp(-k2 n), n pulses.

    Attributes:
        name: identifier in the table.
        critical_field_v_cm: E0.
        width_v_cm: A0.
        critical_field_decay_per_pulse: k1.
        width_decay_per_pulse: k2.
        row: the row of E0, for source and confidence.
    """

    name: str
    critical_field_v_cm: float
    width_v_cm: float
    critical_field_decay_per_pulse: float
    width_decay_per_pulse: float
    row: ThresholdRow


@dataclass(frozen=True, slots=True)
class ThreeState:
    """Constants of O'Neill's cell-death model (alive, vulnerable, dead).

    Attributes:
        name: identifier in the table.
        forward_rate_per_s: scale of the forward rate kf.
        backward_rate_per_s: backward rate kb.
        temperature_scale_c: Tk in kf exp(T / Tk) (1 - alive).
        row: the row of the forward rate, for source, confidence and the caveat in its conditions.
    """

    name: str
    forward_rate_per_s: float
    backward_rate_per_s: float
    temperature_scale_c: float
    row: ThresholdRow


Item = TypeVar("Item", DamageSet, ThermalDose, LethalTemperature)


class ThresholdTable:
    """Typed access to the rows of a table.

    Args:
        rows: each name and quantity once.

    Raises:
        DeviceError: a set is incomplete, contradicts itself, or two thresholds hold for the same case.
    """

    def __init__(self, rows: Iterable[ThresholdRow]) -> None:
        self.rows = tuple(rows)
        self._row = {(row.name, row.quantity): row for row in self.rows}
        self.damage_sets = tuple(self._damage_set(row) for row in self._of("activation_energy"))
        self.thermal_doses = tuple(ThermalDose(row.name, row.value, row) for row in self._of("cem43_threshold"))
        self.lethal_temperatures = tuple(
            LethalTemperature(row.name, row.value, row) for row in self._of("lethal_temperature")
        )
        self.field_thresholds = tuple(
            FieldThreshold(
                row.name, row.modality, row.tissue, row.value, row.conductivity_model, row.low, row.high, row
            )
            for row in self._of("field_threshold")
        )
        cases = [(item.modality, item.tissue, item.conductivity_model) for item in self.field_thresholds]
        for case in cases:
            if cases.count(case) > 1:
                raise DeviceError(
                    f"two field thresholds are given for {case[0]} in {case[1]} with {case[2]} conductivity"
                )

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of every figure and text of the table."""
        return hashlib.sha256(repr(self.rows).encode()).hexdigest()

    def row(self, name: str, quantity: str) -> ThresholdRow:
        """One line; raises DeviceError with the quantities that the name has."""
        try:
            return self._row[name, quantity]
        except KeyError:
            known = ", ".join(row.quantity for row in self.rows if row.name == name) or "nothing"
            raise DeviceError(f"the threshold table states no {quantity} for {name!r}, but {known}") from None

    def damage_set(self, name: str) -> DamageSet:
        """An Arrhenius set; raises DeviceError with the names there are."""
        return _named(self.damage_sets, name, "Arrhenius set")

    def thermal_dose(self, name: str) -> ThermalDose:
        """A CEM43 threshold; raises DeviceError with the names there are."""
        return _named(self.thermal_doses, name, "thermal dose")

    def lethal_temperature(self, name: str) -> LethalTemperature:
        """A lethal isotherm of frozen tissue; raises DeviceError with the names there are."""
        return _named(self.lethal_temperatures, name, "lethal temperature")

    def field_threshold(self, modality: str, tissue: str, conductivity_model: str) -> FieldThreshold:
        """The field strength that treats a tissue.

        Args:
            modality: IRE or ECT.
            tissue: name of the tissue.
            conductivity_model: that of the field to compare with; a threshold of the other model is never
                returned.

        Raises:
            DeviceError: no such threshold is known; the message names those that are.
        """
        for item in self.field_thresholds:
            if (item.modality, item.tissue, item.conductivity_model) == (modality, tissue, conductivity_model):
                return item
        known = ", ".join(
            f"{item.tissue} ({item.conductivity_model})"
            for item in self.field_thresholds
            if item.modality == modality
        )
        raise DeviceError(
            f"no {modality} field threshold is known for {tissue!r} with {conductivity_model} conductivity: state "
            f"one, or choose one of {known or 'IRE and ECT'}"
        )

    def cem43_bases(self) -> tuple[float, float]:
        """R of the thermal dose from 39 °C to 43 °C, and from 43 °C on."""
        return self.row("cem43", "cem43_base_from_39_c").value, self.row("cem43", "cem43_base_from_43_c").value

    def peleg_fermi(self, name: str) -> PelegFermi:
        """A fit of cell survival against field and pulses; raises DeviceError where there is none."""
        first = self.row(name, "peleg_fermi_critical_field")
        return PelegFermi(
            name,
            first.value,
            self.row(name, "peleg_fermi_width").value,
            self.row(name, "peleg_fermi_critical_field_decay").value,
            self.row(name, "peleg_fermi_width_decay").value,
            first,
        )

    def three_state(self, name: str) -> ThreeState:
        """Constants of the three-state model of cell death; raises DeviceError where there are none."""
        first = self.row(name, "three_state_forward_rate")
        return ThreeState(
            name,
            first.value,
            self.row(name, "three_state_backward_rate").value,
            self.row(name, "three_state_temperature_scale").value,
            first,
        )

    def _of(self, quantity: str) -> list[ThresholdRow]:
        return [row for row in self.rows if row.quantity == quantity]

    def _damage_set(self, row: ThresholdRow) -> DamageSet:
        logarithm = self.row(row.name, "log10_frequency_factor").value
        printed = self.row(row.name, "frequency_factor").value
        if abs(math.log10(printed) - logarithm) > _LOGARITHM_TOLERANCE:
            raise DeviceError(
                f"the frequency factor {printed:g} of {row.name!r} has the logarithm {math.log10(printed):.6f}, "
                f"but the table says {logarithm:.6f}"
            )
        return DamageSet(row.name, logarithm, row.value, row)


@cache
def builtin_thresholds() -> ThresholdTable:
    """The thresholds that ship with needleplan; every row names its source."""
    return _parse(sheet.package_text("thresholds.csv"), "thresholds.csv")


def load_thresholds(path: Path) -> ThresholdTable:
    """A user's own thresholds, a CSV file with the columns of ``COLUMNS``.

    Raises:
        DeviceError: the file, a column, a number, a unit or a source is missing or impossible, with its line.
    """
    return _parse(sheet.file_text(path), path.name)


def damage_set(name: str) -> DamageSet:
    """A built-in Arrhenius set; raises DeviceError with the names there are."""
    return builtin_thresholds().damage_set(name)


def field_threshold(modality: str, tissue: str, conductivity_model: str) -> FieldThreshold:
    """A built-in field threshold, see ThresholdTable.field_threshold."""
    return builtin_thresholds().field_threshold(modality, tissue, conductivity_model)


def _named(items: tuple[Item, ...], name: str, what: str) -> Item:
    for item in items:
        if item.name == name:
            return item
    raise DeviceError(f"no {what} is named {name!r}: choose one of {', '.join(item.name for item in items)}")


def _parse(text: str, file: str) -> ThresholdTable:
    found: dict[tuple[str, str], ThresholdRow] = {}
    for where, cells in sheet.rows(text, file, COLUMNS):
        row = _parsed_row(cells, where)
        if (row.name, row.quantity) in found:
            raise DeviceError(f"{where}: {row.quantity} of {row.name!r} is given twice")
        found[row.name, row.quantity] = row
    try:
        return ThresholdTable(found.values())
    except DeviceError as error:
        raise DeviceError(f"{file}: {error}") from error


def _parsed_row(cells: sheet.Row, where: str) -> ThresholdRow:
    quantity = sheet.choice(cells, "quantity", where, tuple(UNITS))
    unit = sheet.choice(cells, "unit", where, (UNITS[quantity],))
    signed = quantity == "lethal_temperature"
    value = sheet.finite(cells, "value", where) if signed else sheet.positive(cells, "value", where)
    low, high = sheet.limits(cells, where, value) or (None, None)
    if quantity == "field_threshold":
        sheet.choice(cells, "modality", where, FIELD_MODALITIES)
        sheet.choice(cells, "conductivity_model", where, CONDUCTIVITY_MODELS)
        sheet.words(cells, "tissue", where)
    elif cells["conductivity_model"].strip():
        raise DeviceError(f"{where}: only a field_threshold has a conductivity_model")
    return ThresholdRow(
        sheet.words(cells, "name", where),
        quantity,
        value,
        unit,
        low,
        high,
        cells["modality"].strip(),
        cells["tissue"].strip(),
        cells["conductivity_model"].strip(),
        cells["conditions"].strip(),
        sheet.words(cells, "source", where),
        cells["doi_or_url"].strip(),
        sheet.choice(cells, "provenance", where, sheet.PROVENANCES),
        sheet.choice(cells, "confidence", where, sheet.CONFIDENCES),
    )
