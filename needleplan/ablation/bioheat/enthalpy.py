"""Temperature and heat flux potential of a tissue as functions of its heat content.

The solver keeps the heat content, not the temperature, so that water which boils or freezes takes up its latent
heat exactly. Heat content is written as the *enthalpy temperature* u in kelvin: u equals the temperature in degrees
Celsius wherever the tissue is neither frozen nor boiling, and one kelvin of u is one kelvin's worth of heat of
unfrozen tissue everywhere. Heat flows down the Kirchhoff potential theta, the integral of the conductivity over
temperature, whose stencil has constant coefficients although the conductivity changes fourfold on freezing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.compiled import compiled
from needleplan.devices.tissue import Tissue
from needleplan.errors import DeviceError
from needleplan.frames import FloatArray, read_only

#: Heat of vaporisation of water in tissue, J/kg (Haemmerich et al., Med Eng Phys 2006, and steam tables at 1 bar).
VAPORISATION_J_KG = 2.26e6
#: Boiling of tissue water at 1 bar.
BOILING_C = 100.0
#: Conductivity of tissue that has lost its water, W/m/K. Assumption: between dry protein and half-dried liver; no
#: measurement of fully dried liver was found.
DRY_CONDUCTIVITY_W_M_K = 0.35

#: Columns of the table that the kernels read, one row a tissue.
(
    FROZEN, MELTED, BOILS, DRIED,  # breakpoints of u: end and begin of freezing, begin and end of boiling
    T_FROZEN, SLOPE_FROZEN, SLOPE_MUSHY, SLOPE_DRY, T_MELTED,  # temperature over u
    K_FROZEN, K_MUSHY, K_MELTED, K_SLOPE, K_DRY,  # conductivity in each piece, and its slope in the unfrozen one
    HEAT,  # J/m3/K of unfrozen tissue
) = range(15)  # fmt: skip
COLUMNS = 15


@dataclass(frozen=True, slots=True)
class EnthalpyCurves:
    """The curves of a set of tissues, as the table that the kernels read.

    Attributes:
        table: (n, COLUMNS) float32, one row a tissue.
    """

    table: NDArray[np.float32]

    def temperature_c(self, enthalpy: ArrayLike, tissue: ArrayLike = 0) -> FloatArray:
        """Temperatures at enthalpy temperatures of any shape; ``tissue`` their indices."""
        u, m = np.broadcast_arrays(np.asarray(enthalpy, np.float32), np.asarray(tissue, np.uint8))
        out = np.empty(u.shape, dtype=np.float32)
        _temperatures(u.ravel(), m.ravel(), self.table, out.ravel())
        return np.asarray(out, dtype=np.float64)

    def enthalpy(self, temperature_c: ArrayLike, tissue: int = 0) -> FloatArray:
        """Enthalpy temperature of a temperature; at the boiling point that before boiling."""
        p = self.table[tissue].astype(np.float64)
        t = np.asarray(temperature_c, dtype=np.float64)
        frozen = p[FROZEN] + (t - p[T_FROZEN]) / p[SLOPE_FROZEN]
        mushy = p[FROZEN] + (t - p[T_FROZEN]) / p[SLOPE_MUSHY] if p[SLOPE_MUSHY] > 0 else np.full_like(t, p[FROZEN])
        dry = p[DRIED] + (t - BOILING_C) / p[SLOPE_DRY]
        return np.asarray(
            np.where(t < p[T_FROZEN], frozen, np.where(t < p[T_MELTED], mushy, np.where(t <= BOILING_C, t, dry)))
        )

    @property
    def greatest_diffusivity_m2_s(self) -> float:
        """Greatest conductivity over heat capacity of any tissue in any state: limits the explicit step."""
        t = self.table.astype(np.float64)
        # Between two tissues the conductivity of one meets the heat capacity of the other.
        hottest = t[:, K_MELTED] * (1.0 + np.maximum(t[:, K_SLOPE], 0.0) * (BOILING_C - 37.0))
        coldest = t[:, K_MELTED] * (1.0 + np.minimum(t[:, K_SLOPE], 0.0) * (BOILING_C - 37.0))
        speeds = [
            t[:, K_FROZEN] * t[:, SLOPE_FROZEN],
            t[:, K_MUSHY] * t[:, SLOPE_MUSHY],
            np.maximum(hottest, coldest),
            t[:, K_DRY] * t[:, SLOPE_DRY],
        ]
        return float(np.max(speeds) / t[:, HEAT].min())


def enthalpy_curves(tissues: Sequence[Tissue], *, freezing: bool, boiling: bool = True) -> EnthalpyCurves:
    """Curves of tissues from their properties.

    The latent heat of freezing is spread evenly in temperature from ``freezing_start_c`` to ``freezing_end_c``, the
    sensible heat there is the mean of both states, the conductivity too. Boiling is a plateau at 100 °C as long as
    there is water. Dried tissue keeps the heat capacity per volume of the moist one (assumption, on the safe side:
    it holds the front back).

    Args:
        tissues: at least one.
        freezing: True where the tissue may freeze: its frozen properties must then be known.
        boiling: False switches the water's heat of vaporisation off (temperatures above 100 °C are then fictions).

    Raises:
        DeviceError: the table lacks a property that is needed.
    """
    rows = []
    for tissue in tissues:
        heat = tissue.volumetric_heat_j_m3_k
        k = tissue.thermal_conductivity_w_m_k
        row = np.zeros(COLUMNS)
        if freezing and tissue.known("latent_heat_j_kg") > 0:
            start, end = tissue.known("freezing_start_c"), tissue.known("freezing_end_c")
            frozen_heat = tissue.density_kg_m3 * tissue.known("frozen_specific_heat_j_kg_k")
            frozen_k = tissue.known("frozen_thermal_conductivity_w_m_k")
            latent = tissue.density_kg_m3 * tissue.latent_heat_j_kg + 0.5 * (heat + frozen_heat) * (start - end)
            row[FROZEN], row[MELTED] = start - latent / heat, start
            row[T_FROZEN], row[T_MELTED] = end, start
            row[SLOPE_FROZEN], row[SLOPE_MUSHY] = heat / frozen_heat, (start - end) * heat / latent
            row[K_FROZEN], row[K_MUSHY] = frozen_k, 0.5 * (frozen_k + k)
        else:
            # Below 0 C nothing happens: every piece continues the unfrozen one.
            row[T_FROZEN] = row[T_MELTED] = row[FROZEN] = row[MELTED] = 0.0
            row[SLOPE_FROZEN] = row[SLOPE_MUSHY] = 1.0
            row[K_FROZEN] = row[K_MUSHY] = k * (1.0 - 37.0 * tissue.thermal_conductivity_per_k)
        row[K_MELTED], row[K_SLOPE], row[HEAT] = k, tissue.thermal_conductivity_per_k, heat
        slope = tissue.thermal_conductivity_per_k
        if min(1.0 - 37.0 * slope, 1.0 + (BOILING_C - 37.0) * slope) <= 0.0:
            raise DeviceError(
                f"tissue {tissue.name!r}: a thermal conductivity that changes by {slope:g} per kelvin would "
                "not stay above zero from 0 to 100 C"
            )
        row[BOILS] = BOILING_C
        if boiling:
            row[DRIED] = BOILING_C + tissue.known("water_kg_m3") * VAPORISATION_J_KG / heat
            row[SLOPE_DRY], row[K_DRY] = 1.0, min(DRY_CONDUCTIVITY_W_M_K, k)
        else:
            row[DRIED], row[SLOPE_DRY] = BOILING_C, 1.0
            row[K_DRY] = k * (1.0 + tissue.thermal_conductivity_per_k * (BOILING_C - 37.0))
        rows.append(row)
    return EnthalpyCurves(read_only(np.array(rows), np.float32))


@compiled
def temperature(u: Any, p: Any) -> Any:
    """Temperature at enthalpy temperature ``u`` of the tissue whose row of the table is ``p``."""
    if u < p[MELTED]:
        if u < p[FROZEN]:
            return p[T_FROZEN] + (u - p[FROZEN]) * p[SLOPE_FROZEN]
        return p[T_FROZEN] + (u - p[FROZEN]) * p[SLOPE_MUSHY]
    if u > p[BOILS]:
        if u > p[DRIED]:
            return p[BOILS] + (u - p[DRIED]) * p[SLOPE_DRY]
        return p[BOILS]
    return u


@compiled
def potential(u: Any, p: Any) -> Any:
    """Kirchhoff potential in W/m at enthalpy temperature ``u``: the integral of conductivity from the melting."""
    unfrozen = min(max(u, p[MELTED]), p[BOILS])
    value = (
        p[K_MELTED]
        * (unfrozen - p[MELTED])
        * (np.float32(1.0) + p[K_SLOPE] * (np.float32(0.5) * (unfrozen + p[MELTED]) - np.float32(37.0)))
    )
    if u < p[MELTED]:
        mushy = max(u, p[FROZEN])
        value += p[K_MUSHY] * p[SLOPE_MUSHY] * (mushy - p[MELTED])
        if u < p[FROZEN]:
            value += p[K_FROZEN] * p[SLOPE_FROZEN] * (u - p[FROZEN])
    if u > p[DRIED]:
        value += p[K_DRY] * p[SLOPE_DRY] * (u - p[DRIED])
    return value


@compiled
def conductivity(u: Any, p: Any) -> Any:
    """Conductivity in W/m/K at enthalpy temperature ``u``."""
    if u < p[MELTED]:
        return p[K_FROZEN] if u < p[FROZEN] else p[K_MUSHY]
    if u > p[DRIED]:
        return p[K_DRY]
    return p[K_MELTED] * (np.float32(1.0) + p[K_SLOPE] * (min(u, p[BOILS]) - np.float32(37.0)))


@compiled
def _temperatures(u: Any, tissue: Any, table: Any, out: Any) -> None:
    for i in range(u.shape[0]):
        out[i] = temperature(u[i], table[tissue[i]])


@compiled
def potentials(u: Any, tissue: Any, table: Any, out: Any) -> None:
    """Kirchhoff potentials (n,) of enthalpy temperatures (n,) of tissues (n,), written to ``out``."""
    for i in range(u.shape[0]):
        out[i] = potential(u[i], table[tissue[i]])
