"""What every criterion of tissue death promises, asked through the contract alone."""

import numpy as np
import pytest
from found_implementations import implementations

from needleplan.ablation.criteria import (
    ArrheniusCriterion,
    Cem43Criterion,
    ColdestTemperatureCriterion,
    PeakTemperatureCriterion,
)
from needleplan.ablation.dose import DamageCriterion, DoseKind, advanced_dose
from needleplan.devices.thresholds import damage_set
from needleplan.errors import PhysicsError

MADE = {
    "Arrhenius": ArrheniusCriterion(damage_set("liver_ChangNguyen2004")),
    "Arrhenius, another set and threshold": ArrheniusCriterion(damage_set("liver_alt"), omega=4.6),
    "CEM43": Cem43Criterion(240.0),
    "peak": PeakTemperatureCriterion(60.0),
    "coldest": ColdestTemperatureCriterion(-40.0, 1),
}
every_made = pytest.mark.parametrize("made", MADE.values(), ids=MADE)


def dose(made, temperature_c, time_s, steps=1):
    """Dose of one voxel held at a temperature, as a solver keeps it."""
    value = made.dose_at_start if np.isfinite(made.dose_at_start) else temperature_c
    for _ in range(steps):
        value = advanced_dose(
            int(made.kind), *made.kernel_parameters, value, temperature_c, temperature_c, time_s / steps
        )
    return value


def test_every_criterion_of_the_packages_is_held_to_its_contract():
    assert {type(made) for made in MADE.values()} == implementations(DamageCriterion)


def test_criteria_that_differ_have_different_names_and_words():
    assert len({made.name for made in MADE.values()}) == len(MADE)
    assert len({made.words for made in MADE.values()}) == len(MADE)


@every_made
def test_it_says_what_it_is(made):
    assert made.name.strip() and made.words.strip() and "\n" not in made.name + made.words
    assert isinstance(made.kind, DoseKind) and np.isfinite(made.kernel_parameters).all()
    assert made == type(made)(**{name: getattr(made, name) for name in made.__dataclass_fields__})


@every_made
def test_untreated_tissue_lives_and_the_rim_is_zero(made):
    assert made.level(made.dose_at_start) < 0
    assert made.level(made.threshold) == pytest.approx(0.0, abs=1e-12)
    shape = (2, 3, 4)
    assert made.level(np.full(shape, made.threshold)).shape == shape


@every_made
def test_the_isotherm_is_where_the_dose_of_that_time_is_just_lethal(made):
    cold = made.kind is DoseKind.COLDEST
    for time_s in (20.0, 600.0):
        rim = made.isotherm_c(time_s)
        beyond, short = (rim - 0.1, rim + 0.1) if cold else (rim + 0.1, rim - 0.1)
        assert made.level(dose(made, rim, time_s)) == pytest.approx(0.0, abs=1e-3)
        assert made.level(dose(made, beyond, time_s)) > 0 > made.level(dose(made, short, time_s))
        assert made.time_to_death_s(beyond) < time_s < made.time_to_death_s(short)


@every_made
def test_more_treatment_is_never_less_lethal(made):
    cold = made.kind is DoseKind.COLDEST
    temperatures = np.linspace(37.0, -60.0 if cold else 90.0, 25)
    levels = np.array([made.level(dose(made, t, 60.0)) for t in temperatures])
    assert (np.diff(levels[np.isfinite(levels)]) >= 0).all()
    times = [float(made.level(dose(made, temperatures[15], t))) for t in (1.0, 10.0, 100.0)]
    assert times == sorted(times)


@every_made
def test_dose_does_not_depend_on_how_time_is_cut(made):
    warm = -45.0 if made.kind is DoseKind.COLDEST else 52.0
    assert dose(made, warm, 90.0, steps=9) == pytest.approx(dose(made, warm, 90.0), rel=1e-9)


@every_made
def test_a_time_that_is_none_has_no_isotherm(made):
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(PhysicsError) as caught:
            made.isotherm_c(wrong)
        assert "\n" not in str(caught.value)
