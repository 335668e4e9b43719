"""Cases D01 to D08: damage at constant and rising temperature, by the criteria and by the solver's own doses."""

import math

import numpy as np

from needleplan.ablation.cell_death import (
    peleg_fermi_curve,
    peleg_fermi_field_v_cm,
    surviving_fraction,
    three_state_dead_fraction,
)
from needleplan.ablation.closed_forms.electric import pulse_heating_k
from needleplan.ablation.criteria import ArrheniusCriterion, Cem43Criterion
from needleplan.ablation.damage import cem43_minutes, cem43_rates_per_s
from needleplan.ablation.dose import DamageCriterion
from needleplan.devices.thresholds import PelegFermi, builtin_thresholds, damage_set
from validation.case import Outcome, absolute, case, references, relative
from validation.media import RHO_C, bioheat, reference_tissue

_SETS = {
    "liver_Jacques1996": "liver_Jacques1996",
    "liver_ChangNguyen2004": "liver_ChangNguyen2004",
    "skin_Henriques": "skin_Henriques1947",
    "artery_Agah": "artery_Agah1994",
    "stasis_Brown": "microvascular_stasis_Brown1992",
    "cells_Borrelli": "cells_BhK_Borrelli1990",
    "liver_alt": "liver_alt",
}


def solver_dose(criterion: DamageCriterion, temperature_c: float, time_s: float, rate_k_s: float = 0.0) -> float:
    """Dose that the bioheat solver gathers in tissue that starts at a temperature and warms evenly."""
    tissue = reference_tissue(0.0)
    solver = bioheat((4, 4, 4), 1.0, tissue, body_temperature_c=temperature_c, criteria=(criterion,))
    solver.advance(time_s, solver.padded(np.full((4, 4, 4), rate_k_s * RHO_C)))
    return float(solver.dose(criterion)[1, 1, 1])


@case("D01")
def cem43_constant() -> Outcome:
    """CEM43 at constant temperature."""
    expected, checks = references()["D01"].expected, []
    for t, value in expected["min_per_min"].items():
        ours = 60.0 * float(cem43_rates_per_s(float(t)))
        checks.append(relative(f"minutes at 43 C a minute at {t} C", value, ours, 1e-6))
    for t, value in expected["time_to_240_s"].items():
        # Six significant digits are given.
        ours = Cem43Criterion(240.0).time_to_death_s(float(t))
        checks.append(relative(f"time to 240 minutes at {t} C, s", value, ours, 5e-6))
    for t in (50.0, 55.0):
        dose = solver_dose(Cem43Criterion(240.0), t, expected["time_to_240_s"][f"{t:g}"])
        checks.append(relative(f"the solver's dose after that time at {t:g} C, min", 240.0, dose, 1e-4))
    return Outcome(checks)


@case("D02")
def cem43_ramp() -> Outcome:
    """CEM43 of a ramp from 43 to 60 C in 10 s."""
    value = references()["D02"].expected["CEM43_min"]
    return Outcome(
        [
            relative(
                "minutes, from the two ends of the ramp",
                value,
                float(cem43_minutes([0.0, 10.0], [43.0, 60.0])),
                1e-6,
            ),
            relative(
                "minutes, by the solver in its own steps",
                value,
                solver_dose(Cem43Criterion(240.0), 43.0, 10.0, 1.7),
                0.02,
            ),
        ]
    )


@case("D03")
def arrhenius_constant() -> Outcome:
    """Time to an integral of 1."""
    checks = []
    for name, rows in references()["D03"].expected.items():
        criterion = ArrheniusCriterion(damage_set(_SETS[name]))
        for t, value in rows.items():
            ours = criterion.time_to_death_s(float(t))
            # Five significant digits are given.
            checks.append(relative(f"{name}: time at {t} C, s", value, ours, 1e-4))
        dose = solver_dose(criterion, 55.0, rows["55"])
        checks.append(relative(f"{name}: the solver's integral after that time at 55 C", 1.0, dose, 2e-4))
    return Outcome(checks)


@case("D04")
def isotherms() -> Outcome:
    """Lethal temperatures held for ten minutes."""
    criteria: dict[str, DamageCriterion] = {
        "Jacques Omega=1": ArrheniusCriterion(damage_set("liver_Jacques1996")),
        "Jacques Omega=4.6": ArrheniusCriterion(damage_set("liver_Jacques1996"), 4.6),
        "Borrelli": ArrheniusCriterion(damage_set("cells_BhK_Borrelli1990")),
        "CEM43=240": Cem43Criterion(240.0),
        "Henriques": ArrheniusCriterion(damage_set("skin_Henriques1947")),
        "Chang-Nguyen": ArrheniusCriterion(damage_set("liver_ChangNguyen2004")),
        "Chang-Nguyen Omega=4.6": ArrheniusCriterion(damage_set("liver_ChangNguyen2004"), 4.6),
        "5.51e41": ArrheniusCriterion(damage_set("liver_alt")),
    }
    return Outcome(
        [
            absolute(f"{name}, C", value, criteria[name].isotherm_c(600.0), 0.05, "K")
            for name, value in references()["D04"].expected["T_C"].items()
        ]
    )


@case("D05")
def survival() -> Outcome:
    """Share that survives a damage integral."""
    expected = references()["D05"].expected
    return Outcome(
        [
            # Six significant digits are given.
            relative(
                "surviving share at an integral of 1", expected["Omega1"], float(surviving_fraction(1.0)), 5e-6
            ),
            relative("surviving share at 4.6", expected["Omega4.6"], float(surviving_fraction(4.6)), 5e-6),
        ]
    )


@case("D06")
def three_state() -> Outcome:
    """The unguarded three-state model: time to 80 % dead."""
    constants, checks = builtin_thresholds().three_state("liver_cells"), []
    for t, value in references()["D06"].expected["t_s"].items():
        times = np.linspace(0.0, 1.2 * value, 400)
        dead = three_state_dead_fraction(times, np.full(400, float(t)), constants, frozen_below_c=-math.inf)
        ours = float(np.interp(0.8, dead, times))
        checks.append(relative(f"time at {t} C, s", value, ours, 0.005))
    return Outcome(checks, "Runs away at 37 C, so the library holds it below 43 C and uses it nowhere by default.")


@case("D07")
def peleg_fermi() -> Outcome:
    """Peleg-Fermi curve."""
    fit: PelegFermi = builtin_thresholds().peleg_fermi("prostate_cells")
    checks = []
    for pulses, row in references()["D07"].expected.items():
        critical, width = peleg_fermi_curve(int(pulses), fit)
        checks.append(relative(f"critical field of {pulses} pulses, V/cm", row["Ec"], critical, 1e-4))
        checks.append(relative(f"width of {pulses} pulses, V/cm", row["A"], width, 1e-4))
        field = peleg_fermi_field_v_cm(0.01, int(pulses), fit)
        checks.append(relative(f"field that leaves 1 % alive, {pulses} pulses, V/cm", row["E_S1pct"], field, 1e-4))
    return Outcome(checks)


@case("D08")
def pulse_heating() -> Outcome:
    """Adiabatic heating of 90 pulses of 100 us."""
    value = references()["D08"].expected["dT_C"]
    closed = float(pulse_heating_k(150000.0, 0.3, 90, 100e-6, RHO_C))
    solver = bioheat((4, 4, 4), 1.0, reference_tissue(0.0))
    solver.advance(90 * 100e-6, solver.padded(np.full((4, 4, 4), 0.3 * 150000.0**2)))
    return Outcome(
        [
            relative("rise, K (formula)", value, closed, 0.01),
            relative("rise, K (solver)", value, float(solver.temperature_c[1, 1, 1] - 37.0), 0.01),
        ]
    )
