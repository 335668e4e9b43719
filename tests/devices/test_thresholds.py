"""The table of thresholds: damage sets that do what their sources say, and thresholds that are never mixed."""

import csv
import io
import math

import pytest

from needleplan.devices import sheet
from needleplan.devices.thresholds import (
    COLUMNS,
    CONDUCTIVITY_MODELS,
    UNITS,
    DamageSet,
    builtin_thresholds,
    damage_set,
    field_threshold,
    load_thresholds,
)
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError

TABLE = builtin_thresholds()
GAS_CONSTANT_J_MOL_K = 8.314462618


def test_every_row_has_unit_source_provenance_and_confidence():
    assert len(TABLE.rows) > 60
    for row in TABLE.rows:
        assert row.unit == UNITS[row.quantity]
        assert row.source
        assert row.provenance in sheet.PROVENANCES
        assert row.confidence in sheet.CONFIDENCES
        assert (row.low is None) == (row.high is None)
        if row.low is not None:
            assert row.low <= row.value <= row.high
        assert TABLE.row(row.name, row.quantity) is row


def temperature_of_unit_damage_c(constants: DamageSet, duration_s: float) -> float:
    """Where A t exp(-Ea / (R T)) = 1, from the logarithms."""
    exponent = constants.log10_frequency_factor_per_s * math.log(10) + math.log(duration_s)
    return constants.activation_energy_j_mol / (GAS_CONSTANT_J_MOL_K * exponent) - 273.15


@pytest.mark.parametrize(
    ("name", "after_60_s_c", "after_600_s_c"),
    [
        ("liver_Jacques1996", 50.1, 42.5),
        ("liver_ChangNguyen2004", 54.7, 51.6),
        ("skin_Henriques1947", 54.0, 50.8),
        ("cells_BhK_Borrelli1990", 48.4, 44.6),
        ("microvascular_stasis_Brown1992", 49.2, 46.3),
        ("artery_Agah1994", 69.6, 64.5),
    ],
)
def test_damage_sets_kill_at_the_temperatures_that_are_known_of_them(name, after_60_s_c, after_600_s_c):
    constants = damage_set(name)
    assert temperature_of_unit_damage_c(constants, 60.0) == pytest.approx(after_60_s_c, abs=0.06)
    assert temperature_of_unit_damage_c(constants, 600.0) == pytest.approx(after_600_s_c, abs=0.06)
    assert constants.row.source
    printed = TABLE.row(name, "frequency_factor").value
    assert constants.log10_frequency_factor_per_s == pytest.approx(math.log10(printed), abs=1e-6)


def test_the_alternative_liver_set_is_near_the_set_of_jacques():
    alternative, jacques = damage_set("liver_alt"), damage_set("liver_Jacques1996")
    for duration_s in (60.0, 600.0):
        difference = temperature_of_unit_damage_c(alternative, duration_s) - temperature_of_unit_damage_c(
            jacques, duration_s
        )
        assert abs(difference) < 10.0


def test_thermal_doses_and_their_bases():
    assert TABLE.cem43_bases() == (0.25, 0.5)
    assert {dose.name: dose.minutes for dose in TABLE.thermal_doses} == {
        "necrosis": 240.0,
        "muscle": 240.0,
        "brain": 20.0,
        "nerve_or_bowel": 2.0,
    }
    assert TABLE.thermal_dose("necrosis").row.unit == "min"


def test_lethal_temperatures_of_frozen_tissue():
    assert TABLE.lethal_temperature("conservative").temperature_c == -40.0
    assert "two freeze-thaw cycles" in TABLE.lethal_temperature("conservative").row.conditions
    assert TABLE.lethal_temperature("littrup").temperature_c == -30.0
    assert TABLE.lethal_temperature("two_cycles").temperature_c == -20.0
    assert "not lethal" in TABLE.lethal_temperature("ice_edge").row.conditions


def test_ninety_pulses_kill_where_ten_do_not():
    fit = TABLE.peleg_fermi("prostate_cells")

    def survival(field_v_cm, pulses):
        critical = fit.critical_field_v_cm * math.exp(-fit.critical_field_decay_per_pulse * pulses)
        width = fit.width_v_cm * math.exp(-fit.width_decay_per_pulse * pulses)
        return 1 / (1 + math.exp((field_v_cm - critical) / width))

    assert survival(fit.critical_field_v_cm, 0) == 0.5
    assert survival(500.0, 90) < 1e-9 < 0.9 < survival(500.0, 10) < 1.0
    assert survival(2000.0, 50) < survival(1000.0, 50) < 0.5 < survival(500.0, 50)


def test_three_state_constants():
    constants = TABLE.three_state("liver_cells")
    assert (constants.forward_rate_per_s, constants.backward_rate_per_s) == (3.33e-3, 7.77e-3)
    assert constants.temperature_scale_c == 40.5
    assert "run away at 37 C" in constants.row.conditions


def test_field_thresholds_of_the_two_conductivity_models_are_never_mixed():
    rising = field_threshold("IRE", "liver", "field_dependent")
    constant = field_threshold("IRE", "liver", "constant")
    assert (rising.field_v_cm, constant.field_v_cm) == (500.0, 400.0)
    assert (rising.low_v_cm, rising.high_v_cm) == (450.0, 550.0)
    assert {item.conductivity_model for item in TABLE.field_thresholds} == set(CONDUCTIVITY_MODELS)
    with pytest.raises(DeviceError, match="for 'prostate' with constant conductivity") as caught:
        field_threshold("IRE", "prostate", "constant")
    assert "prostate (field_dependent)" in str(caught.value)


def test_a_standard_deviation_became_a_range_on_both_sides():
    prostate = field_threshold("IRE", "prostate", "field_dependent")
    assert (prostate.low_v_cm, prostate.field_v_cm, prostate.high_v_cm) == (506 - 66, 506, 506 + 66)
    assert "one standard deviation" in prostate.row.conditions


@pytest.mark.parametrize("tissue", ["liver", "HCC", "CRLM", "RCC", "prostate", "pancreas"])
def test_reversible_thresholds_lie_below_irreversible_ones(tissue):
    reversible = field_threshold("ECT", tissue, "field_dependent")
    irreversible = field_threshold("IRE", tissue, "field_dependent")
    assert reversible.field_v_cm < irreversible.field_v_cm


def test_tissues_of_field_thresholds_are_in_the_tissue_table_or_name_an_animal():
    names = builtin_tissues().names
    assert {item.tissue for item in TABLE.field_thresholds} - set(names) == {"liver_rabbit"}


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(DeviceError, match="no Arrhenius set is named 'x': choose one of liver_ChangNguyen2004, "):
        damage_set("x")
    with pytest.raises(DeviceError, match="no thermal dose is named 'x': choose one of necrosis, "):
        TABLE.thermal_dose("x")
    with pytest.raises(DeviceError, match="no lethal temperature is named 'x': choose one of conservative, "):
        TABLE.lethal_temperature("x")
    with pytest.raises(DeviceError, match=r"no laser field threshold .* choose one of IRE and ECT"):
        field_threshold("laser", "liver", "constant")
    with pytest.raises(DeviceError, match="states no peleg_fermi_critical_field for 'x', but nothing"):
        TABLE.peleg_fermi("x")
    with pytest.raises(DeviceError, match="states no three_state_forward_rate for 'prostate_cells', but peleg"):
        TABLE.three_state("prostate_cells")


def row(**cells):
    return {
        **dict.fromkeys(COLUMNS, ""),
        "name": "mine",
        "source": "own",
        "provenance": "READ",
        "confidence": "low",
        **cells,
    }


def good_rows():
    field = {"quantity": "field_threshold", "unit": "V/cm", "modality": "IRE", "tissue": "liver"}
    return [
        row(quantity="frequency_factor", value="1e40", unit="1/s"),
        row(quantity="log10_frequency_factor", value="40", unit="log10(1/s)"),
        row(quantity="activation_energy", value="2.6e5", unit="J/mol"),
        row(**field, value="600", low="500", high="700", conductivity_model="constant"),
        row(name="cold", quantity="lethal_temperature", value="-35", unit="degC"),
    ]


def changed(index, **cells):
    rows = good_rows()
    rows[index].update(cells)
    return rows


def loaded(folder, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    path = folder / "own.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    return load_thresholds(path)


def test_own_thresholds_load(tmp_path):
    table = loaded(tmp_path, good_rows())
    assert table.damage_set("mine").log10_frequency_factor_per_s == 40.0
    assert table.field_threshold("IRE", "liver", "constant").high_v_cm == 700.0
    assert table.lethal_temperature("cold").temperature_c == -35.0
    assert table.digest == loaded(tmp_path, good_rows()).digest != TABLE.digest


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (changed(0, quantity="luck"), "line 2: quantity must be one of frequency_factor"),
        (changed(2, unit="kcal/mol"), "line 4: unit must be one of J/mol, but is 'kcal/mol'"),
        (changed(2, value="-1"), "line 4: value must be a positive number, but is '-1'"),
        (changed(2, value="nan"), "line 4: value must be a positive number"),
        (changed(4, value="inf"), "line 6: value must be a finite number"),
        (
            changed(1, value="39"),
            "frequency factor 1e+40 of 'mine' has the logarithm 40.000000, but the table says 39",
        ),
        (good_rows()[1:], "states no frequency_factor for 'mine'"),
        ([*good_rows(), good_rows()[0]], "line 7: frequency_factor of 'mine' is given twice"),
        (changed(3, low=""), "line 5: a range needs both low and high"),
        (changed(3, low="650"), "line 5: the range 650 to 700 must hold the value 600"),
        (changed(3, conductivity_model=""), "line 5: conductivity_model must be one of constant, field_dependent"),
        (
            changed(3, conductivity_model="any"),
            "conductivity_model must be one of constant, field_dependent, but is",
        ),
        (changed(3, modality="RFA"), "line 5: modality must be one of IRE, ECT, but is 'RFA'"),
        (changed(3, tissue=""), "line 5: tissue is empty"),
        (changed(2, conductivity_model="constant"), "line 4: only a field_threshold has a conductivity_model"),
        (
            [*good_rows(), {**good_rows()[3], "name": "other"}],
            "two field thresholds are given for IRE in liver with constant conductivity",
        ),
        (changed(1, source=""), "line 3: source is empty"),
        (changed(1, provenance="SEEN"), "line 3: provenance must be one of"),
        (changed(1, confidence="sure"), "line 3: confidence must be one of"),
        (changed(1, name=""), "line 3: name is empty"),
    ],
)
def test_bad_rows_are_refused_with_file_and_line(tmp_path, rows, sentence):
    with pytest.raises(DeviceError, match=r"^own\.csv") as caught:
        loaded(tmp_path, rows)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
