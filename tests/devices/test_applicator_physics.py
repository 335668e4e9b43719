"""What solvers know of applicators: typed access, agreement with the catalogue, and what is refused."""

import csv
import io
import math
from dataclasses import fields, replace

import pytest

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.devices import sheet
from needleplan.devices.applicator_physics import (
    COLUMNS,
    KINDS,
    CryoProbe,
    LaserFibre,
    MicrowaveAntenna,
    PulseElectrode,
    RadiofrequencyElectrode,
    applicator_physics,
    builtin_applicator_physics,
    load_applicator_physics,
    unit_of,
)
from needleplan.devices.catalogue import Applicator, DeviceCatalogue, builtin_catalogue
from needleplan.errors import DeviceError

TABLE = builtin_applicator_physics()
CATALOGUE = builtin_catalogue()


def test_every_row_has_unit_source_provenance_and_confidence():
    for row in TABLE.rows:
        assert row.unit == unit_of(row.parameter)
        assert row.source
        assert row.provenance in sheet.PROVENANCES
        assert row.confidence in sheet.CONFIDENCES
        assert TABLE.row(row.applicator, row.parameter) is row
        assert getattr(TABLE.applicator(row.applicator), row.parameter) == row.value


@pytest.mark.parametrize("name", TABLE.names)
def test_physics_agrees_with_the_catalogue(name):
    listed, known = CATALOGUE.applicator(name), applicator_physics(name)
    assert isinstance(known, KINDS[listed.modality])
    assert known.name == name
    if isinstance(known, RadiofrequencyElectrode) and known.arrangement == "cluster":
        circle_mm = 2 * known.cluster_spacing_mm / math.sqrt(3) + known.diameter_mm
        assert listed.shaft_diameter_mm == pytest.approx(circle_mm, abs=0.01)
    else:
        assert known.diameter_mm == listed.shaft_diameter_mm
    if isinstance(known, RadiofrequencyElectrode) and known.arrangement == "multi_tine":
        arch_mm = known.deployed_diameter_mm / 4
        assert listed.active_length_mm == arch_mm
        assert known.active_length_mm == pytest.approx(math.pi * arch_mm, abs=0.05)
    else:
        length = next(
            getattr(known, part)
            for part in ("active_length_mm", "radiating_length_mm", "diffuser_length_mm", "exposure_mm")
            if hasattr(known, part)
        )
        if length is not None and not name.endswith("-recalled"):
            assert length == listed.active_length_mm


def test_every_modality_has_its_applicators():
    found = {name: applicator_physics(name) for name in TABLE.names}
    electrodes = [item for item in found.values() if isinstance(item, RadiofrequencyElectrode)]
    assert {item.arrangement for item in electrodes} == {"single", "cluster", "multi_tine", "bipolar"}
    assert {item.active_length_mm for item in electrodes if item.arrangement == "single"} == {10, 20, 30, 40}
    umbrella = next(item for item in electrodes if item.arrangement == "multi_tine")
    assert (umbrella.deployed_diameter_mm, umbrella.coolant_c) == (40.0, None)
    assert next(item for item in electrodes if item.arrangement == "cluster").tine_count == 3
    antennas = [item for item in found.values() if isinstance(item, MicrowaveAntenna)]
    assert {item.frequency_mhz for item in antennas} == {915.0, 2450.0}
    probes = {(item.diameter_mm, item.active_length_mm) for item in found.values() if isinstance(item, CryoProbe)}
    assert {(1.47, 30.0), (2.4, 30.0)} <= probes
    fibres = {
        (item.kind, item.diffuser_length_mm, item.wavelength_nm)
        for item in found.values()
        if isinstance(item, LaserFibre)
    }
    assert fibres == {("bare", None, 1064.0), ("diffuser", 10.0, 980.0), ("diffuser", 30.0, 1064.0)}
    pulses = [item for item in found.values() if isinstance(item, PulseElectrode)]
    modalities = [(CATALOGUE.applicator(item.name).modality, item.exposure_mm) for item in pulses]
    assert sorted(modalities) == [("ECT", 30.0), ("IRE", 15.0), ("IRE", 20.0)]


def test_the_greatest_spacing_can_still_be_given_the_nominal_field():
    for name in TABLE.names:
        item = applicator_physics(name)
        if isinstance(item, PulseElectrode):
            assert item.nominal_field_v_cm * item.greatest_spacing_mm / 10 <= item.maximum_voltage_v
            assert item.maximum_current_a == 50.0


def test_every_parameter_has_a_unit():
    for kind in KINDS.values():
        for item in fields(kind):
            if item.name != "name":
                assert unit_of(item.name)
    assert unit_of("coolant_transfer_w_m2_k") == "W/m2/K"
    assert unit_of("maximum_power_w") == "W"
    assert unit_of("maximum_voltage_v") == "V"
    assert unit_of("nominal_field_v_cm") == "V/cm"
    assert unit_of("frequency_mhz") == "MHz"


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(DeviceError, match="no physics is known of the applicator 'x': choose one of generic-rfa"):
        applicator_physics("x")
    with pytest.raises(DeviceError, match="states no ramp_s for 'generic-mwa-915': choose one of frequency_mhz"):
        TABLE.row("generic-mwa-915", "ramp_s")


def test_an_applicator_without_zone_table_is_refused_by_the_table_model_alone():
    assert CATALOGUE.applicator("generic-ire-19g-15").modality == "IRE"
    with pytest.raises(DeviceError, match="'generic-ire-19g-15' has no zone table: load one, or compute"):
        EllipsoidTableModel().table("generic-ire-19g-15")


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("generic-rfa-cooled-20", {"arrangement": "ring"}, "arrangement must be one of single, cluster"),
        (
            "generic-rfa-cooled-20",
            {"active_length_mm": -1.0},
            "active_length_mm must be a positive number, but is -1",
        ),
        ("generic-rfa-cooled-20", {"diameter_mm": math.nan}, "diameter_mm must be a positive number, but is nan"),
        ("generic-rfa-cooled-20", {"maximum_power_w": math.inf}, "maximum_power_w must be a positive number"),
        ("generic-rfa-cooled-20", {"coolant_c": None}, "needs both coolant_c and coolant_transfer_w_m2_k"),
        ("generic-rfa-cooled-20", {"coolant_transfer_w_m2_k": 0.0}, "needs both coolant_c and coolant_transfer"),
        ("generic-rfa-cooled-20", {"coolant_transfer_w_m2_k": -5.0}, "coolant_transfer_w_m2_k must be a positive"),
        ("generic-rfa-cooled-20", {"coolant_c": 95.0}, "coolant_c must lie between 0 and 40 C, but is 95 C"),
        ("generic-rfa-cooled-20", {"tine_count": 3}, "tine_count must be above 1 for clusters and umbrellas"),
        ("generic-rfa-cooled-20", {"pole_gap_mm": 3.0}, "pole_gap_mm must be given for bipolar electrodes and no"),
        ("generic-rfa-cluster-25", {"cluster_spacing_mm": None}, "cluster_spacing_mm must be given for cluster"),
        ("generic-rfa-cluster-25", {"cluster_spacing_mm": 1.0}, "must be larger than the diameter of a needle"),
        ("generic-rfa-cluster-25", {"tine_count": 1}, "tine_count must be above 1"),
        (
            "generic-rfa-umbrella-40",
            {"deployed_diameter_mm": None},
            "deployed_diameter_mm must be given for multi_tine",
        ),
        ("generic-rfa-bipolar-30", {"pole_gap_mm": 30.0}, "pole_gap_mm must be shorter than active_length_mm"),
        ("generic-mwa-915", {"frequency_mhz": 433.0}, "frequency_mhz must be 915 or 2450, but is 433"),
        ("generic-mwa-915", {"efficiency": 1.2}, "efficiency must lie above 0 and up to 1, but is 1.2"),
        ("generic-mwa-915", {"efficiency": math.nan}, "efficiency must lie above 0"),
        ("generic-mwa-915", {"radiating_length_mm": 0.0}, "radiating_length_mm must be a positive number"),
        ("generic-cryo-17g-30", {"probe_temperature_c": 20.0}, "must lie between -196 C"),
        ("generic-cryo-17g-30", {"probe_temperature_c": math.nan}, "must lie between -196 C"),
        ("generic-cryo-17g-30", {"ramp_s": 0.0}, "ramp_s must be a positive number"),
        ("generic-laser-bare-600um", {"diffuser_length_mm": 5.0}, "must be given for diffusers and no others"),
        ("generic-laser-diffuser-10", {"diffuser_length_mm": None}, "must be given for diffusers and no others"),
        ("generic-laser-diffuser-10", {"wavelength_nm": 808.0}, "wavelength_nm must be 1064 or 980, but is 808"),
        ("generic-laser-diffuser-10", {"kind": "conical"}, "kind must be one of bare, diffuser"),
        ("generic-ire-19g-15", {"least_spacing_mm": 25.0}, "must rise in this order, but are 1, 25 and 20 mm"),
        ("generic-ire-19g-15", {"diameter_mm": 12.0}, "must rise in this order"),
        ("generic-ire-19g-15", {"maximum_voltage_v": math.nan}, "maximum_voltage_v must be a positive number"),
        ("generic-ire-19g-15", {"greatest_angle_deg": 90.0}, "greatest_angle_deg must be below 90"),
    ],
)
def test_impossible_applicators_are_refused(name, values, sentence):
    with pytest.raises(DeviceError) as caught:
        replace(applicator_physics(name), **values)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(name)


OWN = DeviceCatalogue(
    (
        Applicator("mine", "MWA", "", 1.8, 150.0, 25.0, 12.5, False, "own"),
        Applicator("odd", "HIFU", "", 1.8, 150.0, 25.0, 12.5, False, "own"),
        Applicator("array", "RFA", "", 1.8, 150.0, 25.0, 12.5, False, "own"),
    ),
    (),
)


def good_rows():
    figures = {
        "frequency_mhz": "915",
        "radiating_length_mm": "25",
        "efficiency": "0.5",
        "diameter_mm": "1.8",
        "cooled": "no",
    }
    return [
        {
            "applicator": "mine",
            "parameter": name,
            "value": value,
            "unit": unit_of(name),
            "source": "own",
            "provenance": "VENDOR",
            "confidence": "high",
        }
        for name, value in figures.items()
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
    return load_applicator_physics(path, OWN)


def test_own_applicators_load(tmp_path):
    table = loaded(tmp_path, good_rows())
    assert table.applicator("mine") == MicrowaveAntenna("mine", 915.0, 25.0, 0.5, 1.8, False)
    assert table.row("mine", "cooled").value is False
    assert table.digest == loaded(tmp_path, good_rows()).digest != TABLE.digest


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (changed(0, parameter="colour"), "line 2: parameter must be one of active_length_mm"),
        (changed(1, unit="cm"), "line 3: unit must be one of mm, but is 'cm'"),
        (changed(1, value="-25"), "line 3: value must be a positive number, but is '-25'"),
        (changed(1, value="nan"), "line 3: value must be a positive number, but is 'nan'"),
        (changed(4, value="maybe"), "line 6: value must be one of yes, no, but is 'maybe'"),
        (changed(0, value="433"), "frequency_mhz must be 915 or 2450"),
        ([*good_rows(), good_rows()[1]], "line 7: radiating_length_mm of 'mine' is given twice"),
        (good_rows()[:-1], "mine: MWA needs the parameter cooled"),
        (
            [*good_rows(), changed(0, parameter="ramp_s", unit="s")[0]],
            "MWA has no parameter 'ramp_s', choose one of",
        ),
        (changed(0, applicator="nobody"), "no applicator is named 'nobody': choose one of mine"),
        ([dict(item, applicator="odd") for item in good_rows()], "odd: the modality must be one of RFA, MWA"),
        (changed(2, source=" "), "line 4: source is empty"),
        (changed(2, provenance=""), "line 4: provenance must be one of"),
        (changed(2, confidence="none"), "line 4: confidence must be one of"),
        (changed(0, parameter="arrangement", unit="word", value="ring"), "line 2: value must be one of single"),
        (changed(0, parameter="kind", unit="word", value="conical"), "line 2: value must be one of bare, diffuser"),
        (changed(0, parameter="coolant_c", unit="degC", value="cold"), "line 2: value must be a finite number"),
        (changed(0, parameter="tine_count", unit="1", value="2.5"), "line 2: tine_count must be a whole number"),
    ],
)
def test_bad_rows_are_refused_with_file_and_line(tmp_path, rows, sentence):
    with pytest.raises(DeviceError, match=r"^own\.csv") as caught:
        loaded(tmp_path, rows)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
