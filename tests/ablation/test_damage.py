"""Damage of heat, cold and pulses: arithmetic of the published formulas, laws, and refusals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from needleplan.ablation.cell_death import (
    peleg_fermi_curve,
    peleg_fermi_field_v_cm,
    peleg_fermi_survival,
    surviving_fraction,
    three_state_dead_fraction,
)
from needleplan.ablation.criteria import (
    ArrheniusCriterion,
    Cem43Criterion,
    ColdestTemperatureCriterion,
    PeakTemperatureCriterion,
    heat_criteria,
)
from needleplan.ablation.damage import (
    arrhenius_damage,
    arrhenius_log_rates,
    arrhenius_mean_rate_per_s,
    arrhenius_parameters,
    arrhenius_rate_per_s,
    arrhenius_rates_per_s,
    cem43_mean_rate_per_s,
    cem43_minutes,
    cem43_rate_per_s,
    cem43_rates_per_s,
    log_arrhenius_rate,
    log_mean,
    log_means,
)
from needleplan.ablation.dose import DoseKind, advanced_dose
from needleplan.compiled import compiled
from needleplan.devices.thresholds import builtin_thresholds, damage_set
from needleplan.errors import DeviceError, PhysicsError

CHANG_NGUYEN = damage_set("liver_ChangNguyen2004")
JACQUES = damage_set("liver_Jacques1996")
#: Seconds until Omega = 1 at constant temperatures: own evaluation of exp(Ea / RT) / A, constants as published.
TIME_TO_OMEGA_1 = {
    "liver_Jacques1996": {43: 510.5, 50: 61.053, 55: 14.159, 60: 3.4308, 70: 0.228, 80: 0.017668},
    "liver_ChangNguyen2004": {43: 528230.0, 50: 2113.3, 54: 100.19, 55: 47.296, 60: 1.1864, 80: 1.3337e-06},
    "liver_alt": {43: 10178.0, 50: 1039.1, 60: 47.119, 80: 0.16387},
    "skin_Henriques1947": {43: 184260.0, 50: 1042.0, 55: 29.594, 60: 0.93526, 80: 2.4814e-06},
    "artery_Agah1994": {43: 19746000.0, 60: 4680.2, 80: 0.71145},
    "microvascular_stasis_Brown1992": {43: 8010.0, 50: 32.847, 60: 0.019069, 80: 2.2793e-08},
    "cells_BhK_Borrelli1990": {43: 1554.2, 50: 23.942, 60: 0.083596, 80: 2.6649e-06},
}


# CEM43


@pytest.mark.parametrize(
    ("temperature_c", "per_minute"),
    [(41, 0.0625), (42, 0.25), (43, 1), (44, 2), (46, 8), (50, 128), (55, 4096), (60, 131072)],
)
def test_cem43_is_that_of_sapareto_and_dewey(temperature_c, per_minute):
    assert cem43_rate_per_s(float(temperature_c)) * 60 == pytest.approx(per_minute, rel=1e-12)
    assert cem43_rates_per_s(temperature_c) * 60 == pytest.approx(per_minute, rel=1e-12)
    if temperature_c >= 43:
        assert Cem43Criterion().time_to_death_s(temperature_c) == pytest.approx(240 * 60 / per_minute, rel=1e-12)
    assert cem43_minutes([0, 30, 60], np.full(3, temperature_c)) == pytest.approx(per_minute, rel=1e-12)


def test_cem43_begins_at_39_with_the_bases_of_the_table():
    slow, fast = builtin_thresholds().cem43_bases()
    assert cem43_rate_per_s(38.999) == 0.0 and cem43_rates_per_s([38.999, 20, -100]).tolist() == [0, 0, 0]
    assert cem43_rate_per_s(39.0) == pytest.approx(slow**4 / 60)
    assert cem43_rate_per_s(47.0) == pytest.approx(fast**-4 / 60)
    assert Cem43Criterion().time_to_death_s(38.0) == math.inf


def test_ramp_at_one_second_steps_is_the_integral():
    exact = 10 / 60 * (2.0**17 - 1) / (17 * math.log(2))
    assert exact == pytest.approx(1853.8773, rel=1e-7)
    times = np.arange(11.0)
    ramp = 43 + 1.7 * times
    assert cem43_minutes(times, ramp) == pytest.approx(exact, rel=1e-12)
    # What the demand guards against: the obvious quadratures miss it by far more than 2 %.
    rates = cem43_rates_per_s(ramp)
    assert rates[:-1].sum() / exact < 0.6 and np.trapezoid(rates, times) / exact > 1.1


@given(st.floats(20, 120), st.floats(20, 120))
def test_mean_rate_of_a_step_is_the_integral_also_across_the_breaks(before, after):
    breaks = sorted({min(max(t, min(before, after)), max(before, after)) for t in (before, 39.0, 43.0, after)})
    # The value at a break belongs to the warmer side, so the last point of each piece is left to the quadrature.
    parts = [
        quad(lambda t: float(cem43_rates_per_s(t)), low, high, epsrel=1e-10)[0]
        for low, high in itertools.pairwise(breaks)
    ]
    if abs(after - before) > 1e-6:
        assert cem43_mean_rate_per_s(before, after) == pytest.approx(sum(parts) / abs(after - before), rel=1e-6)
    assert cem43_mean_rate_per_s(before, after) == pytest.approx(cem43_mean_rate_per_s(after, before), rel=1e-12)


def test_mean_rate_of_no_change_is_the_rate():
    for temperature in (20.0, 39.0, 41.0, 43.0, 60.0):
        assert cem43_mean_rate_per_s(temperature, temperature) == pytest.approx(cem43_rate_per_s(temperature))
    assert math.isnan(cem43_mean_rate_per_s(math.nan, 50.0)) and math.isnan(cem43_rate_per_s(math.nan))


# The logarithmic mean


@settings(deadline=None)  # the first call compiles
@given(st.floats(-30, 30), st.floats(-30, 30))
def test_log_mean_lies_between_geometric_and_arithmetic_mean(log_a, log_b):
    a, b = 10.0**log_a, 10.0**log_b
    mean = log_mean(a, b)
    assert math.sqrt(a) * math.sqrt(b) * (1 - 1e-12) <= mean <= 0.5 * (a + b) * (1 + 1e-12)
    assert mean == pytest.approx(log_mean(b, a), rel=1e-12)
    if abs(log_a - log_b) > 0.1:
        assert mean == pytest.approx((b - a) / math.log(b / a), rel=1e-10)
    single = log_mean(np.float32(a), np.float32(b))
    assert math.isfinite(single) and single == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("difference", [0.0, 1e-15, 1e-9, 1e-4, 0.0199, 0.0201, 0.0203, 0.5])
def test_log_mean_of_nearly_equal_rates_loses_no_digits(difference):
    exact = difference / math.log1p(difference) if difference else 1.0
    assert log_mean(1.0, 1.0 + difference) == pytest.approx(exact, rel=1e-14)


def test_log_mean_of_zero_is_its_limit_and_of_nothing_is_nothing():
    assert log_mean(0.0, 5.0) == 0.0 and log_mean(5.0, 0.0) == 0.0 and log_mean(0.0, 0.0) == 0.0
    assert math.isnan(log_mean(math.nan, 1.0)) and math.isnan(log_mean(0.0, math.nan))
    np.testing.assert_allclose(log_means([[1.0], [4.0]], [1.0, 0.0]), [[1, 0], [3 / math.log(4), 0]])


# Arrhenius


@pytest.mark.parametrize("name", TIME_TO_OMEGA_1)
def test_time_to_unit_damage(name):
    item = damage_set(name)
    criterion = ArrheniusCriterion(item)
    for temperature, seconds in TIME_TO_OMEGA_1[name].items():
        assert criterion.time_to_death_s(temperature) == pytest.approx(seconds, rel=1e-4)
        assert arrhenius_damage([0, seconds], np.full(2, temperature), item) == pytest.approx(1, rel=1e-4)
        assert arrhenius_rate_per_s(temperature, *arrhenius_parameters(item)) == pytest.approx(
            1 / seconds, rel=1e-4
        )


def test_isotherms_of_ten_minutes_disagree_by_eleven_kelvin():
    borrelli, henriques = damage_set("cells_BhK_Borrelli1990"), damage_set("skin_Henriques1947")
    expected = {
        ArrheniusCriterion(JACQUES): 42.48,
        ArrheniusCriterion(JACQUES, 4.6): 47.46,
        ArrheniusCriterion(borrelli): 44.57,
        Cem43Criterion(240): 47.58,
        ArrheniusCriterion(henriques): 50.76,
        ArrheniusCriterion(damage_set("liver_alt")): 51.73,
        ArrheniusCriterion(CHANG_NGUYEN): 51.64,
        ArrheniusCriterion(CHANG_NGUYEN, 4.6): 53.65,
        PeakTemperatureCriterion(60): 60.0,
    }
    for criterion, temperature in expected.items():
        assert criterion.isotherm_c(600) == pytest.approx(temperature, abs=0.01)


@given(
    st.floats(0.01, 1e5), st.sampled_from([ArrheniusCriterion(CHANG_NGUYEN), Cem43Criterion(), Cem43Criterion(3)])
)
def test_isotherm_and_time_are_inverse(seconds, criterion):
    isotherm = criterion.isotherm_c(seconds)
    if isotherm > 39.0:
        assert criterion.time_to_death_s(isotherm) == pytest.approx(seconds, rel=1e-6)
    else:
        # Nothing is counted below, so the isotherm stays where counting begins, and it takes no longer there.
        assert criterion.time_to_death_s(isotherm) <= seconds


def test_no_temperature_is_lethal_within_the_reciprocal_of_the_frequency_factor():
    with pytest.raises(PhysicsError, match="no temperature is lethal"):
        ArrheniusCriterion(JACQUES).isotherm_c(1e-40)


def test_no_rate_overflows_single_precision():
    log_factor, energy_k = (np.float32(value) for value in arrhenius_parameters(CHANG_NGUYEN))
    for temperature in (-200.0, 37.0, 60.0, 100.0, 1000.0, 5000.0):
        t = np.float32(temperature)
        rate = np.float32(arrhenius_rate_per_s(t, log_factor, energy_k))
        dose = np.float32(arrhenius_mean_rate_per_s(np.float32(37), t, log_factor, energy_k) * 3600)
        assert np.isfinite(rate) and np.isfinite(dose) and rate >= 0
        assert np.isfinite(np.float32(cem43_rate_per_s(t) * 3600))
        assert np.isfinite(np.float32(cem43_mean_rate_per_s(np.float32(37), t) * 3600))
    # The frequency factor itself, and the rate at 1000 °C, do overflow: the guard is needed.
    assert CHANG_NGUYEN.log10_frequency_factor_per_s > np.log10(np.finfo(np.float32).max)
    assert arrhenius_log_rates(1000.0, CHANG_NGUYEN) > np.log(np.finfo(np.float32).max)
    # Single precision of all inputs leaves four digits of the rate.
    single = arrhenius_rate_per_s(np.float32(55), log_factor, energy_k)
    assert single == pytest.approx(float(arrhenius_rates_per_s(55.0, CHANG_NGUYEN)), rel=1e-4)


def test_rates_rise_with_temperature():
    ramp = np.linspace(-270, 300, 5000)
    for item in builtin_thresholds().damage_sets:
        assert (np.diff(arrhenius_log_rates(ramp, item)) > 0).all()
    assert (np.diff(cem43_rates_per_s(ramp)) >= 0).all()
    assert (np.diff(cem43_rates_per_s(np.linspace(39, 150, 999))) > 0).all()


def test_compiled_scalars_and_arrays_agree():
    temperatures = np.random.default_rng(3).uniform(-150, 150, (4, 7))
    parameters = arrhenius_parameters(JACQUES)
    scalar = np.vectorize(lambda t: log_arrhenius_rate(t, *parameters))(temperatures)
    np.testing.assert_allclose(arrhenius_log_rates(temperatures, JACQUES), scalar, rtol=1e-13)
    np.testing.assert_allclose(
        arrhenius_rates_per_s(temperatures, JACQUES),
        np.vectorize(lambda t: arrhenius_rate_per_s(t, *parameters))(temperatures),
        rtol=1e-11,
    )
    np.testing.assert_allclose(
        cem43_rates_per_s(temperatures), np.vectorize(cem43_rate_per_s)(temperatures), rtol=1e-13
    )


@pytest.mark.parametrize("item", [CHANG_NGUYEN, JACQUES], ids=lambda item: item.name)
def test_fast_ramp_at_one_second_steps_meets_the_fine_integral(item):
    def temperature(t):
        return 40 + 1.7 * t

    fine, _ = quad(lambda t: float(arrhenius_rates_per_s(temperature(t), item)), 0, 15, epsrel=1e-10)
    times = np.arange(16.0)
    assert arrhenius_damage(times, temperature(times), item) == pytest.approx(fine, rel=2e-3)
    # Second order: halving the steps leaves a quarter of the error.
    errors = [abs(arrhenius_damage(t, temperature(t), item) / fine - 1) for t in (times, np.arange(0, 15.1, 0.5))]
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_damage_adds_up_over_parts_of_a_history_and_keeps_the_shape():
    rng = np.random.default_rng(8)
    times = np.cumsum(rng.uniform(0.2, 3.0, 30))
    history = 37 + np.cumsum(rng.uniform(0, 1.5, (30, 2, 3)), axis=0)
    for integral in (lambda t, T: arrhenius_damage(t, T, CHANG_NGUYEN), cem43_minutes):
        whole = integral(times, history)
        assert whole.shape == (2, 3)
        parts = integral(times[:11], history[:11]) + integral(times[10:], history[10:])
        np.testing.assert_allclose(whole, parts, rtol=1e-12)
        # Held temperatures may be cut anywhere.
        held = np.full(2, 52.0)
        assert integral([0, 7], held) == pytest.approx(integral([0, 2], held) + integral([0, 5], held), rel=1e-12)
        # A history that is hotter throughout does more harm.
        assert (integral(times, history + 0.5) > whole).all()
    # A cut of a linear ramp changes nothing for CEM43, which is exact for it.
    assert cem43_minutes([0, 10], [37, 57]) == pytest.approx(cem43_minutes([0, 3.3, 10], [37, 43.6, 57]), rel=1e-12)


@pytest.mark.parametrize(
    ("times", "temperatures", "sentence"),
    [
        ([0, 1, 1], [40, 41, 42], "ascend"),
        ([0, 2, 1], [40, 41, 42], "ascend"),
        ([0], [40], "at least two"),
        ([0, math.nan], [40, 41], "finite"),
        ([0, 1], [40, 41, 42], "as many temperatures"),
        ([0, 1], 40.0, "as many temperatures"),
        ([0, 1], [40, math.nan], "temperatures must be numbers"),
        ([0, 1], [40, -300], "temperatures must be numbers"),
    ],
)
def test_histories_that_are_none_are_refused(times, temperatures, sentence):
    for integral in (lambda t, T: arrhenius_damage(t, T, CHANG_NGUYEN), cem43_minutes):
        with pytest.raises(PhysicsError, match=sentence):
            integral(times, temperatures)


# Survival


def test_survival_of_damage():
    np.testing.assert_allclose(surviving_fraction([0, 1, 4.6]), [1, 0.367879441, 0.0100518357], rtol=1e-8)
    for wrong in (-0.1, math.nan):
        with pytest.raises(PhysicsError, match="zero or more"):
            surviving_fraction([0.5, wrong])


@pytest.mark.parametrize(
    ("pulses", "critical", "width", "one_per_cent"),
    [
        (10, 2960.31, 790.838, 6594.3),
        (50, 891.628, 71.7432, 1221.3),
        (80, 362.509, 11.8591, 417.003),
        (90, 268.553, 6.50839, 298.46),
        (100, 198.949, 3.57188, 215.362),
    ],
)
def test_peleg_fermi_is_that_of_golberg_and_rubinsky(pulses, critical, width, one_per_cent):
    fit = builtin_thresholds().peleg_fermi("prostate_cells")
    assert peleg_fermi_curve(pulses, fit) == pytest.approx((critical, width), rel=1e-5)
    assert peleg_fermi_field_v_cm(0.01, pulses, fit) == pytest.approx(one_per_cent, rel=1e-5)
    assert peleg_fermi_survival(critical, pulses, fit) == pytest.approx(0.5, abs=1e-4)
    fields = np.array([0, 0.5, 1, 2, 1e6]) * critical
    survival = peleg_fermi_survival(fields, pulses, fit)
    assert (np.diff(survival) <= 0).all() and survival[-1] < 1e-100 and np.isfinite(survival).all()
    critical, width = peleg_fermi_curve(pulses, fit)
    near = critical + width * np.linspace(-3, 3, 7)
    np.testing.assert_allclose(
        peleg_fermi_survival(near, pulses, fit) + peleg_fermi_survival(2 * critical - near, pulses, fit),
        1,
        atol=1e-12,
    )
    assert peleg_fermi_survival(near, pulses + 1, fit)[3] < 0.5


def test_peleg_fermi_refuses_what_it_does_not_hold_for():
    fit = builtin_thresholds().peleg_fermi("prostate_cells")
    with pytest.raises(PhysicsError, match="one pulse or more"):
        peleg_fermi_survival(500, 0, fit)
    with pytest.raises(PhysicsError, match="zero or more"):
        peleg_fermi_survival([-1, 5], 90, fit)
    for share in (0, 1, 1.5, math.nan):
        with pytest.raises(PhysicsError, match="between 0 and 1"):
            peleg_fermi_field_v_cm(share, 90, fit)
    with pytest.raises(PhysicsError, match="at any field"):
        peleg_fermi_field_v_cm(1 - 1e-15, 1, fit)


@pytest.mark.parametrize(
    ("temperature", "seconds"), [(37, 3835.5), (50, 1546.2), (60, 960.1), (80, 448.3), (100, 236.4)]
)
def test_three_states_unguarded_reach_80_per_cent_dead(temperature, seconds):
    constants = builtin_thresholds().three_state("liver_cells")
    times = np.linspace(0, 1.1 * seconds, 400)
    dead = three_state_dead_fraction(
        times, np.full(times.size, float(temperature)), constants, frozen_below_c=-math.inf
    )
    assert np.interp(0.8, dead, times) == pytest.approx(seconds, rel=1e-3)


def test_three_states_follow_an_independent_integrator_and_rest_below_the_guard():
    constants = builtin_thresholds().three_state("liver_cells")
    times = np.linspace(0, 600, 13)
    history = 65 + 20 * np.sin(times / 150)

    def rates(t, state):
        alive, vulnerable = state
        temperature = np.interp(t, times, history)
        forward = constants.forward_rate_per_s * math.exp(temperature / constants.temperature_scale_c) * (1 - alive)
        back = constants.backward_rate_per_s
        return [-forward * alive + back * vulnerable, forward * alive - (back + forward) * vulnerable]

    solution = solve_ivp(rates, (0, 600), [0.99, 0.01], t_eval=times, rtol=1e-10, atol=1e-12, max_step=5)
    found = three_state_dead_fraction(times, np.stack([history, np.full(13, 37.0)], axis=1), constants)
    np.testing.assert_allclose(found[:, 0], 1 - solution.y.sum(axis=0), atol=1e-6)
    assert (np.abs(found[:, 1]) < 1e-15).all() and (np.diff(found[:, 0]) >= 0).all()
    # Without the guard the same cells die at body temperature, which is why it is there.
    hour = np.linspace(0, 3600, 50)
    run_away = three_state_dead_fraction(hour, np.full(50, 37.0), constants, frozen_below_c=-math.inf)
    assert run_away[-1] > 0.6


# Criteria


def test_standard_criteria_bound_the_zone_and_say_what_they_are():
    band = heat_criteria()
    assert band.all == (band.central, band.outer, band.inner)
    isotherms = [criterion.isotherm_c(600) for criterion in (band.outer, band.central, band.inner)]
    assert isotherms == sorted(isotherms) and isotherms[2] - isotherms[0] > 10
    assert band.central.threshold == 1 and band.outer.threshold == 240 and band.inner.threshold == 60
    assert "liver_ChangNguyen2004" in band.central.name and "liver_ChangNguyen2004" in band.central.words
    assert len({criterion.name for criterion in band.all}) == 3
    assert "240" in band.outer.words and "60 °C" in band.inner.words
    with pytest.raises(DeviceError, match="no Arrhenius set is named"):
        damage_set("liver_of_nobody")


def test_level_is_zero_at_the_threshold_and_positive_where_dead():
    for criterion in (*heat_criteria().all, ColdestTemperatureCriterion(-40, 1)):
        threshold = criterion.threshold
        levels = criterion.level([threshold * 1.1, threshold, threshold * 0.9, criterion.dose_at_start])
        assert levels[0] > 0 and levels[1] == 0 and levels[2] < 0 and levels[3] == -math.inf


@compiled
def held(kind, log_factor, energy_k, dose, temperatures, step):
    for i in range(temperatures.size - 1):
        dose = advanced_dose(kind, log_factor, energy_k, dose, temperatures[i], temperatures[i + 1], step)
    return dose


def test_kernel_keeps_the_dose_of_every_criterion():
    times = np.linspace(0, 40, 81)
    history = 37 + 28 * np.sin(times / 12)
    expected = {
        heat_criteria().central: arrhenius_damage(times, history, CHANG_NGUYEN),
        heat_criteria().outer: cem43_minutes(times, history),
        heat_criteria().inner: history.max(),
        ColdestTemperatureCriterion(): history.min(),
    }
    for criterion, dose in expected.items():
        found = held(
            int(criterion.kind), *criterion.kernel_parameters, criterion.dose_at_start, history, times[1] - times[0]
        )
        assert found == pytest.approx(float(dose), rel=1e-10)
    assert {criterion.kind for criterion in expected} == set(DoseKind)
    # Extremes count at either end of a step.
    for ends in ((62.0, 40.0), (40.0, 62.0)):
        assert advanced_dose(int(DoseKind.HOTTEST), 0.0, 0.0, -math.inf, *ends, 1.0) == 62
        assert advanced_dose(int(DoseKind.COLDEST), 0.0, 0.0, math.inf, *ends, 1.0) == 40
        assert advanced_dose(int(DoseKind.HOTTEST), 0.0, 0.0, 70.0, *ends, 1.0) == 70


def test_freezes_count_only_where_as_many_reach_the_isotherm():
    coldest = np.array([[-60.0, -45, -41, -20], [-45.0, -30, -50, -60], [-10.0, -50, 5, -39]])
    twice = ColdestTemperatureCriterion(-40, 2)
    dose = twice.dose_of_freezes(coldest)
    assert dose.tolist() == [-45, -45, -41, -39]
    assert (twice.level(dose) >= 0).tolist() == [True, True, True, False]
    assert ColdestTemperatureCriterion(-40, 1).dose_of_freezes(coldest).tolist() == [-60, -50, -50, -60]
    assert ColdestTemperatureCriterion(-40, 3).dose_of_freezes(coldest).tolist() == [-10, -30, 5, -20]
    with pytest.raises(PhysicsError, match="needs the coldest temperatures of 2 freezes"):
        twice.dose_of_freezes(coldest[:1])
    assert "2 freezes" in twice.words and "one freeze" in ColdestTemperatureCriterion(-20, 1).words


def test_times_of_extremes():
    assert PeakTemperatureCriterion(60).time_to_death_s(60) == 0
    assert PeakTemperatureCriterion(60).time_to_death_s(59.9) == math.inf
    assert ColdestTemperatureCriterion(-40, 1).time_to_death_s(-41) == 0
    assert ColdestTemperatureCriterion(-40, 1).time_to_death_s(-39) == math.inf
    assert ColdestTemperatureCriterion(-40, 2).time_to_death_s(-41) == math.inf
    assert ColdestTemperatureCriterion(-40).isotherm_c(10) == -40
    assert PeakTemperatureCriterion(55).isotherm_c(10) == 55


@pytest.mark.parametrize(
    "make",
    [
        lambda: ArrheniusCriterion(CHANG_NGUYEN, 0.0),
        lambda: ArrheniusCriterion(CHANG_NGUYEN, math.nan),
        lambda: Cem43Criterion(-1),
        lambda: Cem43Criterion(math.inf),
        lambda: PeakTemperatureCriterion(-300),
        lambda: PeakTemperatureCriterion(math.nan),
        lambda: ColdestTemperatureCriterion(-280),
        lambda: ColdestTemperatureCriterion(-40, 0),
        lambda: Cem43Criterion().isotherm_c(0.0),
        lambda: ArrheniusCriterion(CHANG_NGUYEN).isotherm_c(-5.0),
        lambda: PeakTemperatureCriterion().isotherm_c(math.nan),
        lambda: ColdestTemperatureCriterion().isotherm_c(0.0),
        lambda: ArrheniusCriterion(CHANG_NGUYEN).time_to_death_s(-400.0),
    ],
)
def test_impossible_criteria_are_refused(make):
    with pytest.raises(PhysicsError):
        make()
