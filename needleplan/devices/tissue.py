"""What the solvers know of a tissue: its properties in SI units, with the ranges that they may lie in."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

import numpy as np

from needleplan.errors import DeviceError

#: Properties that may be zero; all others must be positive.
_MAY_BE_ZERO = frozenset(
    {
        "perfusion_per_s", "metabolic_heat_w_m3", "thermal_conductivity_per_k", "rf_conductivity_per_k",
        "pulse_conductivity_per_k", "water_kg_m3", "latent_heat_j_kg",
    }
)  # fmt: skip
#: Properties that may have any sign: temperatures in degrees Celsius, and slopes.
_SIGNED = frozenset(
    {
        "freezing_start_c", "freezing_end_c", "thermal_conductivity_per_k", "rf_conductivity_per_k",
        "pulse_conductivity_per_k", "conductivity_915_mhz_per_k", "conductivity_2450_mhz_per_k",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tissue:
    """Properties of one tissue at 37 °C unless the name says otherwise; NaN where nothing is known.

    Attributes:
        name: identifier in the table.
        density_kg_m3: mass density.
        specific_heat_j_kg_k: of unfrozen tissue.
        thermal_conductivity_w_m_k: of unfrozen tissue.
        thermal_conductivity_per_k: relative change of that per kelvin above 37 °C.
        water_kg_m3: water that must boil off, per volume of tissue (water share times density).
        perfusion_per_s: blood volume per tissue volume and second, omega.
        metabolic_heat_w_m3: heat made by the tissue.
        frozen_specific_heat_j_kg_k: of frozen tissue.
        frozen_thermal_conductivity_w_m_k: of frozen tissue.
        latent_heat_j_kg: taken up by melting, per mass of tissue.
        freezing_start_c, freezing_end_c: begin (warmer) and end of freezing.
        rf_conductivity_s_m: electric conductivity near 500 kHz.
        rf_conductivity_per_k: relative change of that per kelvin.
        conductivity_915_mhz_s_m, permittivity_915_mhz: at 915 MHz (permittivity relative).
        conductivity_915_mhz_per_k: relative change of the conductivity per kelvin.
        conductivity_2450_mhz_s_m, permittivity_2450_mhz: at 2.45 GHz.
        conductivity_2450_mhz_per_k: relative change of the conductivity per kelvin.
        absorption_1064_nm_per_m, reduced_scattering_1064_nm_per_m: optical, native tissue.
        coagulated_reduced_scattering_1064_nm_per_m: optical, coagulated tissue.
        absorption_980_nm_per_m, reduced_scattering_980_nm_per_m: optical, native tissue.
        coagulated_reduced_scattering_980_nm_per_m: optical, coagulated tissue.
        pulse_conductivity_s_m: for electric pulses, before electroporation.
        porated_conductivity_s_m: for electric pulses, electroporated.
        poration_start_v_cm, poration_end_v_cm: field between which the conductivity rises from one to the other.
        pulse_conductivity_per_k: relative change of the conductivity for pulses per kelvin.
        ranges: for some properties the least and the greatest value that sources give.
    """

    name: str
    density_kg_m3: float
    specific_heat_j_kg_k: float
    thermal_conductivity_w_m_k: float
    thermal_conductivity_per_k: float = 0.0
    water_kg_m3: float = math.nan
    perfusion_per_s: float = math.nan
    metabolic_heat_w_m3: float = 0.0
    frozen_specific_heat_j_kg_k: float = math.nan
    frozen_thermal_conductivity_w_m_k: float = math.nan
    latent_heat_j_kg: float = math.nan
    freezing_start_c: float = math.nan
    freezing_end_c: float = math.nan
    rf_conductivity_s_m: float = math.nan
    rf_conductivity_per_k: float = math.nan
    conductivity_915_mhz_s_m: float = math.nan
    permittivity_915_mhz: float = math.nan
    conductivity_915_mhz_per_k: float = math.nan
    conductivity_2450_mhz_s_m: float = math.nan
    permittivity_2450_mhz: float = math.nan
    conductivity_2450_mhz_per_k: float = math.nan
    absorption_1064_nm_per_m: float = math.nan
    reduced_scattering_1064_nm_per_m: float = math.nan
    coagulated_reduced_scattering_1064_nm_per_m: float = math.nan
    absorption_980_nm_per_m: float = math.nan
    reduced_scattering_980_nm_per_m: float = math.nan
    coagulated_reduced_scattering_980_nm_per_m: float = math.nan
    pulse_conductivity_s_m: float = math.nan
    porated_conductivity_s_m: float = math.nan
    poration_start_v_cm: float = math.nan
    poration_end_v_cm: float = math.nan
    pulse_conductivity_per_k: float = math.nan
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", MappingProxyType(dict(self.ranges)))
        for name in property_names():
            value = getattr(self, name)
            if math.isnan(value) and name not in _NEEDED:
                continue
            if not admissible(name, value):
                raise DeviceError(f"tissue {self.name!r}: {name} must be a positive number, but is {value:g}")
        for name, (low, high) in self.ranges.items():
            if name not in property_names():
                raise DeviceError(f"tissue {self.name!r} has no property {name!r} to state a range of")
            if not (admissible(name, low) and math.isfinite(high) and low <= getattr(self, name) <= high):
                raise DeviceError(
                    f"tissue {self.name!r}: the range of {name} must hold its value {getattr(self, name):g} and "
                    f"nothing impossible, but is {low:g} to {high:g}"
                )
        if self.freezing_end_c >= self.freezing_start_c:
            raise DeviceError(f"tissue {self.name!r}: freezing must end at a lower temperature than it starts at")
        if self.poration_end_v_cm <= self.poration_start_v_cm:
            raise DeviceError(f"tissue {self.name!r}: electroporation must end at a higher field than it starts at")

    @property
    def volumetric_heat_j_m3_k(self) -> float:
        """Density times specific heat."""
        return self.density_kg_m3 * self.specific_heat_j_kg_k

    def known(self, name: str) -> float:
        """A property by name; raises DeviceError where the table does not know it for this tissue."""
        value = float(getattr(self, name))
        if math.isnan(value):
            raise DeviceError(f"the tissue table states no {name} for {self.name!r}, which this model needs")
        return value

    def changed(self, **values: float) -> "Tissue":
        """The tissue with other values; a range that does not hold the new value is dropped."""
        ranges = {
            name: (low, high) for name, (low, high) in self.ranges.items() if low <= values.get(name, low) <= high
        }
        return replace(self, ranges=ranges, **values)  # type: ignore[arg-type]

    def sampled(self, rng: np.random.Generator) -> "Tissue":
        """Every property that has a range drawn from it, log-uniformly where the range is positive."""
        drawn = {}
        for name, (low, high) in self.ranges.items():
            if low > 0:
                drawn[name] = float(np.exp(rng.uniform(np.log(low), np.log(high))))
            else:
                drawn[name] = float(rng.uniform(low, high))
        return self.changed(**drawn)


_NEEDED = frozenset({"density_kg_m3", "specific_heat_j_kg_k", "thermal_conductivity_w_m_k"})


def property_names() -> tuple[str, ...]:
    """Names of all numeric properties of a tissue."""
    return tuple(item.name for item in fields(Tissue) if item.name not in ("name", "ranges"))


def admissible(name: str, value: float) -> bool:
    """Whether a property can have a value: finite, and of a sign that it can have."""
    return math.isfinite(value) and (value > 0 or (value == 0 and name in _MAY_BE_ZERO) or name in _SIGNED)
