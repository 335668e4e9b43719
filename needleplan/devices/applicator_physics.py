"""What a solver must know of a needle: electrodes, antennas, probes and fibres, a source in every row."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType

from needleplan.devices import sheet
from needleplan.devices.catalogue import DeviceCatalogue, builtin_catalogue
from needleplan.errors import DeviceError

COLUMNS = ("applicator", "parameter", "value", "unit", "source", "provenance", "confidence")

ARRANGEMENTS = ("single", "cluster", "multi_tine", "bipolar")
MICROWAVE_FREQUENCIES_MHZ = (915.0, 2450.0)
LASER_WAVELENGTHS_NM = (1064.0, 980.0)
FIBRE_KINDS = ("bare", "diffuser")


@dataclass(frozen=True, slots=True)
class RadiofrequencyElectrode:
    """A radiofrequency electrode; the tip of the plan is its foremost point.

    Attributes:
        name: of the applicator.
        arrangement: ``single``; ``cluster`` of parallel needles around the axis; ``multi_tine``, an umbrella;
            ``bipolar``, two poles on one shaft.
        active_length_mm: of the bare tip; of each needle of a cluster; of both poles and the gap between them; of
            each tine, which arches from the end of the shaft forward, out and back to the level of that end, in a
            half circle of half the deployed radius as diameter.
        diameter_mm: of the shaft, or of each needle of a cluster.
        maximum_power_w: of the generator.
        maximum_current_a: of the generator, shared by all electrodes that are on together; None where no source
            states it.
        coolant_transfer_w_m2_k: heat transfer from the wall to the coolant; 0 where nothing cools.
        coolant_c: temperature of the coolant; None where nothing cools.
        tine_count: tines of an umbrella or needles of a cluster; 1 otherwise.
        tine_diameter_mm: of each tine; None without tines.
        deployed_diameter_mm: of the umbrella; None without tines.
        cluster_spacing_mm: between neighbouring needles of a cluster; None without.
        pole_gap_mm: insulation between the poles; None for monopolar electrodes.
    """

    name: str
    arrangement: str
    active_length_mm: float
    diameter_mm: float
    maximum_power_w: float
    coolant_transfer_w_m2_k: float = 0.0
    coolant_c: float | None = None
    tine_count: int = 1
    tine_diameter_mm: float | None = None
    deployed_diameter_mm: float | None = None
    cluster_spacing_mm: float | None = None
    pole_gap_mm: float | None = None
    maximum_current_a: float | None = None

    def __post_init__(self) -> None:
        _demand_word(self.name, "arrangement", self.arrangement, ARRANGEMENTS)
        _demand_positive(self, "active_length_mm", "diameter_mm", "maximum_power_w", "maximum_current_a")
        _demand_positive(self, "tine_diameter_mm", "deployed_diameter_mm", "cluster_spacing_mm", "pole_gap_mm")
        if (self.coolant_c is None) != (self.coolant_transfer_w_m2_k == 0.0):
            raise DeviceError(f"{self.name}: a cooled electrode needs both coolant_c and coolant_transfer_w_m2_k")
        if self.coolant_c is not None:
            _demand_positive(self, "coolant_transfer_w_m2_k")
            if not 0.0 <= self.coolant_c <= 40.0:
                raise DeviceError(
                    f"{self.name}: coolant_c must lie between 0 and 40 C, but is {self.coolant_c:g} C"
                )
        for parameter, arrangement in (
            ("tine_diameter_mm", "multi_tine"),
            ("deployed_diameter_mm", "multi_tine"),
            ("cluster_spacing_mm", "cluster"),
            ("pole_gap_mm", "bipolar"),
        ):
            if (getattr(self, parameter) is not None) != (self.arrangement == arrangement):
                raise DeviceError(
                    f"{self.name}: {parameter} must be given for {arrangement} electrodes and no others"
                )
        if (self.tine_count > 1) != (self.arrangement in ("cluster", "multi_tine")):
            raise DeviceError(
                f"{self.name}: tine_count must be above 1 for clusters and umbrellas and 1 for others, but is "
                f"{self.tine_count}"
            )
        if self.pole_gap_mm is not None and self.pole_gap_mm >= self.active_length_mm:
            raise DeviceError(f"{self.name}: pole_gap_mm must be shorter than active_length_mm, which includes it")
        if self.cluster_spacing_mm is not None and self.cluster_spacing_mm <= self.diameter_mm:
            raise DeviceError(f"{self.name}: cluster_spacing_mm must be larger than the diameter of a needle")


@dataclass(frozen=True, slots=True)
class MicrowaveAntenna:
    """A microwave antenna.

    Attributes:
        name: of the applicator.
        frequency_mhz: 915 or 2450.
        radiating_length_mm: from the tip.
        efficiency: share of the generator's power that reaches tissue.
        diameter_mm: of the shaft.
        cooled: whether water cools the shaft.
        maximum_power_w: of the generator; None where no source states it.
    """

    name: str
    frequency_mhz: float
    radiating_length_mm: float
    efficiency: float
    diameter_mm: float
    cooled: bool
    maximum_power_w: float | None = None

    def __post_init__(self) -> None:
        if self.frequency_mhz not in MICROWAVE_FREQUENCIES_MHZ:
            raise DeviceError(f"{self.name}: frequency_mhz must be 915 or 2450, but is {self.frequency_mhz:g}")
        _demand_positive(self, "radiating_length_mm", "diameter_mm", "maximum_power_w")
        if not 0.0 < self.efficiency <= 1.0:
            raise DeviceError(f"{self.name}: efficiency must lie above 0 and up to 1, but is {self.efficiency:g}")


@dataclass(frozen=True, slots=True)
class CryoProbe:
    """A cryoprobe.

    Attributes:
        name: of the applicator.
        diameter_mm: of the shaft.
        active_length_mm: freezing part, from the tip.
        probe_temperature_c: of the wall once cold.
        ramp_s: time from body temperature to that.
    """

    name: str
    diameter_mm: float
    active_length_mm: float
    probe_temperature_c: float
    ramp_s: float

    def __post_init__(self) -> None:
        _demand_positive(self, "diameter_mm", "active_length_mm", "ramp_s")
        if not -196.0 <= self.probe_temperature_c <= -40.0:
            raise DeviceError(
                f"{self.name}: probe_temperature_c must lie between -196 C (liquid nitrogen) and -40 C (lethal), "
                f"but is {self.probe_temperature_c:g} C"
            )


@dataclass(frozen=True, slots=True)
class LaserFibre:
    """A laser fibre.

    Attributes:
        name: of the applicator.
        wavelength_nm: 1064 or 980.
        kind: ``bare`` (shines from its end) or ``diffuser`` (shines from its side).
        diameter_mm: of the fibre, or of the catheter around it.
        diffuser_length_mm: shining part, from the tip; None for bare fibres.
        maximum_power_w: of the laser; None where no source states it.
    """

    name: str
    wavelength_nm: float
    kind: str
    diameter_mm: float
    diffuser_length_mm: float | None = None
    maximum_power_w: float | None = None

    def __post_init__(self) -> None:
        if self.wavelength_nm not in LASER_WAVELENGTHS_NM:
            raise DeviceError(f"{self.name}: wavelength_nm must be 1064 or 980, but is {self.wavelength_nm:g}")
        _demand_word(self.name, "kind", self.kind, FIBRE_KINDS)
        _demand_positive(self, "diameter_mm", "diffuser_length_mm", "maximum_power_w")
        if (self.diffuser_length_mm is not None) != (self.kind == "diffuser"):
            raise DeviceError(f"{self.name}: diffuser_length_mm must be given for diffusers and no others")


@dataclass(frozen=True, slots=True)
class PulseElectrode:
    """A needle electrode for electric pulses, with its vendor's rules for pairs.

    Attributes:
        name: of the applicator.
        diameter_mm: of the bare part.
        exposure_mm: bare length, from the tip.
        maximum_voltage_v, maximum_current_a: of the generator.
        least_spacing_mm, greatest_spacing_mm: between the axes of a pair.
        nominal_field_v_cm: voltage over distance that the vendor asks for; the field between the needles is lower.
        greatest_angle_deg: between the axes of a pair.
    """

    name: str
    diameter_mm: float
    exposure_mm: float
    maximum_voltage_v: float
    maximum_current_a: float
    least_spacing_mm: float
    greatest_spacing_mm: float
    nominal_field_v_cm: float
    greatest_angle_deg: float

    def __post_init__(self) -> None:
        _demand_positive(self, *(item.name for item in fields(self) if item.name != "name"))
        if not self.diameter_mm < self.least_spacing_mm < self.greatest_spacing_mm:
            raise DeviceError(
                f"{self.name}: the diameter, the least and the greatest spacing must rise in this order, but are "
                f"{self.diameter_mm:g}, {self.least_spacing_mm:g} and {self.greatest_spacing_mm:g} mm"
            )
        if self.greatest_angle_deg >= 90.0:
            raise DeviceError(
                f"{self.name}: greatest_angle_deg must be below 90, but is {self.greatest_angle_deg:g}"
            )


ApplicatorPhysics = RadiofrequencyElectrode | MicrowaveAntenna | CryoProbe | LaserFibre | PulseElectrode

#: What describes the applicators of each modality.
KINDS: Mapping[str, type[ApplicatorPhysics]] = MappingProxyType(
    {
        "RFA": RadiofrequencyElectrode,
        "MWA": MicrowaveAntenna,
        "cryo": CryoProbe,
        "laser": LaserFibre,
        "IRE": PulseElectrode,
        "ECT": PulseElectrode,
    }
)

#: How the unit of a parameter shows in the end of its name; longer endings first.
_UNITS_BY_ENDING = {
    "_w_m2_k": "W/m2/K", "_v_cm": "V/cm", "_deg": "deg", "_mhz": "MHz", "_mm": "mm", "_nm": "nm", "_c": "degC",
    "_w": "W", "_s": "s", "_v": "V", "_a": "A",
}  # fmt: skip
_UNITS_WITHOUT_ENDING = {
    "arrangement": "word", "kind": "word", "cooled": "yes or no", "tine_count": "1", "efficiency": "1",
}  # fmt: skip
_SIGNED = ("coolant_c", "probe_temperature_c")


@dataclass(frozen=True, slots=True)
class PhysicsRow:
    """One parameter of one applicator; ``value`` as it stands in the table, in ``unit``."""

    applicator: str
    parameter: str
    value: float | int | str | bool
    unit: str
    source: str
    provenance: str
    confidence: str


class ApplicatorPhysicsTable:
    """Typed access to the applicators and to the rows that they come from.

    Args:
        rows: each applicator and parameter once.
        catalogue: tells the modality of each applicator.

    Raises:
        DeviceError: an applicator is not in the catalogue, lacks a parameter, or has an impossible one.
    """

    def __init__(self, rows: Iterable[PhysicsRow], catalogue: DeviceCatalogue) -> None:
        self.rows = tuple(rows)
        self._rows: dict[str, dict[str, PhysicsRow]] = {}
        for row in self.rows:
            self._rows.setdefault(row.applicator, {})[row.parameter] = row
        self._applicators = {
            name: _made(name, catalogue.applicator(name).modality, parameters)
            for name, parameters in self._rows.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Applicators that the table describes, in its order."""
        return tuple(self._applicators)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of every figure and text of the table."""
        return hashlib.sha256(repr(self.rows).encode()).hexdigest()

    def applicator(self, name: str) -> ApplicatorPhysics:
        """What a solver must know of one applicator; raises DeviceError with the names there are."""
        if name not in self._applicators:
            raise DeviceError(
                f"no physics is known of the applicator {name!r}: choose one of {', '.join(self.names)}"
            )
        return self._applicators[name]

    def row(self, name: str, parameter: str) -> PhysicsRow:
        """Where a parameter comes from; raises DeviceError where the table does not state it."""
        self.applicator(name)
        if parameter not in self._rows[name]:
            known = ", ".join(self._rows[name])
            raise DeviceError(f"the table states no {parameter} for {name!r}: choose one of {known}")
        return self._rows[name][parameter]


@cache
def builtin_applicator_physics() -> ApplicatorPhysicsTable:
    """The applicators that ship with needleplan; every row names its source."""
    text = sheet.package_text("applicator_physics.csv")
    return _parse(text, "applicator_physics.csv", builtin_catalogue())


def load_applicator_physics(path: Path, catalogue: DeviceCatalogue) -> ApplicatorPhysicsTable:
    """A user's own applicators.

    Args:
        path: CSV file with the columns of ``COLUMNS``, one parameter of one applicator in a line.
        catalogue: the applicators that it describes.

    Raises:
        DeviceError: the file, a column, a number, a unit or a source is missing or impossible, with its line.
    """
    return _parse(sheet.file_text(path), path.name, catalogue)


def applicator_physics(name: str) -> ApplicatorPhysics:
    """What a solver must know of a built-in applicator; raises DeviceError with the names there are."""
    return builtin_applicator_physics().applicator(name)


def unit_of(parameter: str) -> str:
    """The one unit of a parameter."""
    for ending, unit in _UNITS_BY_ENDING.items():
        if parameter.endswith(ending):
            return unit
    return _UNITS_WITHOUT_ENDING[parameter]


def _made(name: str, modality: str, parameters: Mapping[str, PhysicsRow]) -> ApplicatorPhysics:
    if modality not in KINDS:
        raise DeviceError(f"{name}: the modality must be one of {', '.join(KINDS)}, but is {modality!r}")
    known = [item for item in fields(KINDS[modality]) if item.name != "name"]
    for parameter in parameters:
        if parameter not in [item.name for item in known]:
            allowed = ", ".join(item.name for item in known)
            raise DeviceError(f"{name}: {modality} has no parameter {parameter!r}, choose one of {allowed}")
    for item in known:
        if item.default is MISSING and item.name not in parameters:
            raise DeviceError(f"{name}: {modality} needs the parameter {item.name}")
    values = {parameter: row.value for parameter, row in parameters.items()}
    return KINDS[modality](name, **values)  # type: ignore[arg-type]


def _parse(text: str, file: str, catalogue: DeviceCatalogue) -> ApplicatorPhysicsTable:
    parameters = {item.name for kind in KINDS.values() for item in fields(kind)} - {"name"}
    found: dict[tuple[str, str], PhysicsRow] = {}
    for where, cells in sheet.rows(text, file, COLUMNS):
        parameter = sheet.choice(cells, "parameter", where, tuple(sorted(parameters)))
        unit = sheet.choice(cells, "unit", where, (unit_of(parameter),))
        row = PhysicsRow(
            sheet.words(cells, "applicator", where),
            parameter,
            _value(cells, parameter, where),
            unit,
            sheet.words(cells, "source", where),
            sheet.choice(cells, "provenance", where, sheet.PROVENANCES),
            sheet.choice(cells, "confidence", where, sheet.CONFIDENCES),
        )
        if (row.applicator, parameter) in found:
            raise DeviceError(f"{where}: {parameter} of {row.applicator!r} is given twice")
        found[row.applicator, parameter] = row
    try:
        return ApplicatorPhysicsTable(found.values(), catalogue)
    except DeviceError as error:
        raise DeviceError(f"{file}: {error}") from error


def _value(cells: sheet.Row, parameter: str, where: str) -> float | int | str | bool:
    if parameter == "arrangement":
        return sheet.choice(cells, "value", where, ARRANGEMENTS)
    if parameter == "kind":
        return sheet.choice(cells, "value", where, FIBRE_KINDS)
    if parameter == "cooled":
        return sheet.choice(cells, "value", where, ("yes", "no")) == "yes"
    if parameter in _SIGNED:
        return sheet.finite(cells, "value", where)
    value = sheet.positive(cells, "value", where)
    if parameter != "tine_count":
        return value
    if value != int(value):
        raise DeviceError(f"{where}: tine_count must be a whole number, but is {cells['value']!r}")
    return int(value)


def _demand_positive(item: ApplicatorPhysics, *parameters: str) -> None:
    for parameter in parameters:
        value = getattr(item, parameter)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise DeviceError(f"{item.name}: {parameter} must be a positive number, but is {value:g}")


def _demand_word(name: str, parameter: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DeviceError(f"{name}: {parameter} must be one of {', '.join(allowed)}, but is {value!r}")
