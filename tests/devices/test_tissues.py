"""The table of tissues: what every row must say, what follows from what, and what is refused."""

import csv
import io
import math
import re

import numpy as np
import pytest

from needleplan.devices import sheet
from needleplan.devices.tissue import Tissue, property_names
from needleplan.devices.tissues import COLUMNS, UNITS, builtin_tissues, load_tissues
from needleplan.errors import DeviceError

TABLE = builtin_tissues()
PRESETS = (
    "liver", "kidney", "kidney_cortex", "kidney_medulla", "lung_inflated", "lung_deflated", "bone_cortical",
    "bone_cancellous", "prostate", "pancreas", "brain_grey", "brain_white", "muscle", "fat", "skin", "spleen",
    "bowel", "blood", "bile", "HCC", "CRLM", "RCC", "liver_cirrhotic", "liver_ex_vivo", "liver_porcine",
)  # fmt: skip
HOSTS = {
    "HCC": "liver",
    "CRLM": "liver",
    "RCC": "kidney_cortex",
    "liver_cirrhotic": "liver",
    "liver_ex_vivo": "liver",
    "liver_porcine": "liver",
}


def printed(pattern, text):
    found = re.search(pattern, text)
    assert found, f"{pattern} not in {text}"
    return tuple(float(group) for group in found.groups())


def test_presets_exist_and_say_where_every_figure_comes_from():
    assert set(PRESETS) <= set(TABLE.names)
    assert len(TABLE.rows) > 500
    for row in TABLE.rows:
        assert row.unit == UNITS[row.property]
        assert row.source
        assert row.provenance in sheet.PROVENANCES
        assert row.confidence in sheet.CONFIDENCES
        if row.provenance == "ASSUMED" and row.value:
            assert row.confidence != "high", row


def test_every_property_has_the_unit_in_its_name():
    assert set(UNITS) == set(property_names())
    assert UNITS["perfusion_per_s"] == "1/s"
    assert UNITS["rf_conductivity_per_k"] == "1/K"
    assert UNITS["absorption_1064_nm_per_m"] == "1/m"
    assert UNITS["frozen_specific_heat_j_kg_k"] == "J/kg/K"
    assert UNITS["latent_heat_j_kg"] == "J/kg"


@pytest.mark.parametrize("name", TABLE.names)
def test_tissues_hold_exactly_the_rows(name):
    tissue = TABLE.tissue(name)
    assert tissue.name == name
    stated = {row.property: row for row in TABLE.rows if row.tissue == name}
    for key in ("density_kg_m3", "specific_heat_j_kg_k", "thermal_conductivity_w_m_k", "perfusion_per_s"):
        assert key in stated
    unstated = Tissue("bare", 1000.0, 4000.0, 0.5)
    for key in property_names():
        if key in stated:
            assert getattr(tissue, key) == stated[key].value
            assert TABLE.row(name, key) is stated[key]
            assert tissue.ranges.get(key, (None, None)) == (stated[key].low, stated[key].high)
        else:
            np.testing.assert_equal(getattr(tissue, key), getattr(unstated, key))
            with pytest.raises(DeviceError, match=f"states no {key} for '{name}'"):
                TABLE.row(name, key)


def test_perfusion_is_the_heat_transfer_rate_times_the_density():
    checked = 0
    for row in TABLE.rows:
        if row.property == "perfusion_per_s" and row.conditions.startswith("HTR"):
            (rate_ml_min_kg,) = printed(r"HTR ([\d.]+) mL/min/kg", row.conditions)
            density = TABLE.tissue(row.tissue).density_kg_m3
            assert row.value == pytest.approx(rate_ml_min_kg * density * 1e-6 / 60, rel=1e-5), row.tissue
            checked += 1
    assert checked > 15
    assert TABLE.tissue("liver").perfusion_per_s == pytest.approx(0.0155, abs=5e-5)


def test_lungs_are_not_cooled_by_the_whole_pulmonary_flow():
    for name in ("lung_inflated", "lung_deflated"):
        row = TABLE.row(name, "perfusion_per_s")
        whole, rate = printed(r"would be ([\d.]+) 1/s \(HTR of ([\d.]+)\)", row.conditions)
        assert whole == pytest.approx(rate * TABLE.tissue(name).density_kg_m3 * 1e-6 / 60, rel=1e-4)
        assert row.low == pytest.approx(whole / 100)
        assert row.high == pytest.approx(whole / 10)
        assert row.value == pytest.approx(math.sqrt(row.low * row.high), rel=1e-4)
        assert (row.provenance, row.confidence) == ("ASSUMED", "low")


def test_reduced_scattering_is_scattering_times_one_less_anisotropy():
    checked = 0
    for row in TABLE.rows:
        if "reduced_scattering" in row.property and "anisotropy" in row.conditions:
            scattering, anisotropy = printed(r"scattering ([\d.]+) /m, anisotropy ([\d.]+)", row.conditions)
            assert row.value == pytest.approx(scattering * (1 - anisotropy), rel=1e-5)
            checked += 1
    assert checked > 5


def test_ranges_of_absorption_are_the_band_of_penetration_depths():
    checked = 0
    for row in TABLE.rows:
        if row.property.startswith("absorption") and row.low is not None:
            scattering = TABLE.row(row.tissue, row.property.replace("absorption", "reduced_scattering")).value
            depths_mm = [1000 / math.sqrt(3 * mu * (mu + scattering)) for mu in (row.low, row.high)]
            stated = printed(r"penetration depth of ([\d.]+) to ([\d.]+) mm", row.conditions)
            assert depths_mm == pytest.approx(list(stated), rel=2e-3)
            checked += 1
    assert checked > 5


def test_coagulation_scatters_more_and_poration_conducts_better():
    for name in TABLE.names:
        tissue = TABLE.tissue(name)
        for wavelength in ("1064", "980"):
            native = getattr(tissue, f"reduced_scattering_{wavelength}_nm_per_m")
            coagulated = getattr(tissue, f"coagulated_reduced_scattering_{wavelength}_nm_per_m")
            assert math.isnan(native) == math.isnan(coagulated)
            assert math.isnan(native) or coagulated > native
        assert math.isnan(tissue.porated_conductivity_s_m) == math.isnan(tissue.pulse_conductivity_s_m)
        if not math.isnan(tissue.pulse_conductivity_s_m):
            least = tissue.ranges.get("porated_conductivity_s_m", (tissue.porated_conductivity_s_m,))[0]
            assert least > tissue.ranges.get("pulse_conductivity_s_m", (0, tissue.pulse_conductivity_s_m))[1]


def test_water_is_a_share_of_the_density():
    for row in TABLE.rows:
        if row.property == "water_kg_m3":
            (share,) = printed(r"water share ([\d.]+)", row.conditions)
            assert row.value == pytest.approx(share * TABLE.tissue(row.tissue).density_kg_m3, rel=2e-3)
            assert 0.1 < share < 1.0


def test_derived_presets_take_the_rows_of_their_host_and_say_so():
    for name, host in HOSTS.items():
        taken = [row for row in TABLE.rows if row.tissue == name and row.source.startswith(f"taken from {host}: ")]
        assert len(taken) > 10
        for row in taken:
            original = TABLE.row(host, row.property)
            assert (row.value, row.low, row.high) == (original.value, original.low, original.high)
            assert sheet.CONFIDENCES.index(row.confidence) >= sheet.CONFIDENCES.index(original.confidence)
        own = [row for row in TABLE.rows if row.tissue == name and row not in taken]
        assert "perfusion_per_s" in {row.property for row in own}


def test_derived_perfusions():
    liver, cortex = (TABLE.tissue(name).perfusion_per_s for name in ("liver", "kidney_cortex"))
    for name, host, factor, low, high in (
        ("HCC", liver, 1.0, 0.5, 2.0),
        ("CRLM", liver, 0.4, 0.2, 0.6),
        ("RCC", cortex, 0.5, 0.3, 1.0),
        ("liver_cirrhotic", liver, 0.5, 0.3, 0.8),
    ):
        tissue = TABLE.tissue(name)
        assert tissue.perfusion_per_s == pytest.approx(factor * host, rel=1e-5)
        assert tissue.ranges["perfusion_per_s"] == pytest.approx((low * host, high * host), rel=1e-5)
    assert TABLE.tissue("liver_ex_vivo").perfusion_per_s == 0.0
    assert TABLE.tissue("liver_porcine").perfusion_per_s == 0.030
    assert "CALIBRATION" in TABLE.row("liver_porcine", "perfusion_per_s").source


def test_liver_tumours_differ_from_liver_as_measured():
    liver = TABLE.tissue("liver")
    for name in ("HCC", "CRLM"):
        tumour = TABLE.tissue(name)
        for frequency in ("915", "2450"):
            ratios = [
                getattr(tumour, f"{what}_{frequency}_mhz{end}") / getattr(liver, f"{what}_{frequency}_mhz{end}")
                for what, end in (("permittivity", ""), ("conductivity", "_s_m"))
            ]
            assert ratios == pytest.approx([1.12, 1.24], rel=1e-4)


def test_proxies_are_named_as_such():
    for name, proxy in (("prostate", "testis"), ("pancreas", "thyroid")):
        for key in ("rf_conductivity_s_m", "permittivity_915_mhz", "conductivity_2450_mhz_s_m"):
            assert f"PROXY: {proxy}" in TABLE.row(name, key).source


def test_percent_per_kelvin_became_one_over_kelvin():
    for row in TABLE.rows:
        if row.unit == "1/K" and row.value:
            assert 0.005 < row.value < 0.03
    assert TABLE.tissue("pancreas").pulse_conductivity_per_k == pytest.approx(0.02)


@pytest.mark.parametrize("name", TABLE.names)
def test_samples_stay_within_the_ranges_and_repeat_with_the_seed(name):
    tissue = TABLE.tissue(name)
    samples = [tissue.sampled(np.random.default_rng(seed)) for seed in range(40)]
    assert tissue.sampled(np.random.default_rng(7)) == samples[7]
    for key in property_names():
        drawn = np.array([getattr(sample, key) for sample in samples])
        if key not in tissue.ranges:
            np.testing.assert_equal(drawn, getattr(tissue, key))
            continue
        low, high = tissue.ranges[key]
        assert (drawn >= low).all()
        assert (drawn <= high).all()
        assert np.ptp(drawn) > 0.5 * (high - low)


def test_samples_are_log_uniform_where_the_range_is_positive():
    tissue = TABLE.tissue("lung_inflated")
    low, high = tissue.ranges["perfusion_per_s"]
    generator = np.random.default_rng(3)
    drawn = np.array([tissue.sampled(generator).perfusion_per_s for _ in range(2000)])
    share = np.log(drawn / low) / np.log(high / low)
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.std() == pytest.approx(1 / math.sqrt(12), abs=0.02)


def test_digest_tells_tables_apart(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(table_text(good_rows()), encoding="utf-8")
    first = load_tissues(path).digest
    assert first == load_tissues(path).digest != TABLE.digest
    path.write_text(table_text(changed(0, value="1001")), encoding="utf-8")
    assert load_tissues(path).digest != first


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(
        DeviceError, match=r"no tissue is named 'cheese': choose one of liver, kidney, .*liver_porcine"
    ):
        TABLE.tissue("cheese")
    with pytest.raises(DeviceError, match="no tissue is named"):
        TABLE.row("cheese", "density_kg_m3")
    with pytest.raises(DeviceError, match="no property 'colour': choose one of density_kg_m3"):
        TABLE.row("liver", "colour")


def test_a_model_that_needs_what_is_not_known_says_so():
    with pytest.raises(DeviceError, match="no absorption_1064_nm_per_m for 'kidney'"):
        TABLE.tissue("kidney").known("absorption_1064_nm_per_m")


def good_rows():
    figures = {
        "density_kg_m3": "1000", "specific_heat_j_kg_k": "4000", "thermal_conductivity_w_m_k": "0.5",
        "perfusion_per_s": "0.01", "freezing_start_c": "-0.5", "freezing_end_c": "-8",
    }  # fmt: skip
    return [
        {
            **dict.fromkeys(COLUMNS, ""),
            "tissue": "mine",
            "property": name,
            "value": value,
            "unit": UNITS[name],
            "source": "own, measured",
            "provenance": "READ",
            "confidence": "high",
        }
        for name, value in figures.items()
    ]


def changed(index, **cells):
    rows = good_rows()
    rows[index].update(cells)
    return rows


def table_text(rows, columns=COLUMNS):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def test_own_tissues_load(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("\ufeff" + table_text(changed(3, low="0.005", high="0.02")), encoding="utf-8")
    table = load_tissues(path)
    assert table.names == ("mine",)
    assert table.tissue("mine").perfusion_per_s == 0.01
    assert table.tissue("mine").ranges == {"perfusion_per_s": (0.005, 0.02)}
    assert table.row("mine", "perfusion_per_s").source == "own, measured"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (changed(1, property="smell"), "line 3: tissues have no property 'smell', choose one of density_kg_m3"),
        (changed(1, property=""), "line 3: property is empty"),
        (changed(3, unit="mL/min/kg"), "line 5: unit must be one of 1/s, but is 'mL/min/kg'"),
        (changed(3, unit=""), "line 5: unit must be one of 1/s"),
        (changed(0, value="nan"), "line 2: value must be a finite number, but is 'nan'"),
        (changed(0, value="inf"), "line 2: value must be a finite number"),
        (changed(0, value="heavy"), "line 2: value must be a finite number, but is 'heavy'"),
        (changed(0, value=""), "line 2: value must be a finite number, but is ''"),
        (changed(0, value="-1000"), "line 2: density_kg_m3 must be a positive number, but is -1000"),
        (changed(0, value="0"), "line 2: density_kg_m3 must be a positive number, but is 0"),
        (changed(3, value="-0.01"), "line 5: perfusion_per_s must be a positive number"),
        ([*good_rows(), good_rows()[2]], "line 8: thermal_conductivity_w_m_k of 'mine' is given twice"),
        (changed(3, low="0.02", high="0.03"), "line 5: the range 0.02 to 0.03 must hold the value 0.01"),
        (changed(3, low="0.03", high="0.001"), "line 5: the range 0.03 to 0.001 must hold the value"),
        (changed(3, low="0.001"), "line 5: a range needs both low and high"),
        (changed(3, high="0.02"), "line 5: a range needs both low and high"),
        (changed(3, value="", low="0.005", high="0.02"), "line 5: value must be a finite number"),
        (changed(3, low="nan", high="0.02"), "line 5: low must be a finite number"),
        (changed(3, low="-0.02", high="0.02"), "line 5: perfusion_per_s must be a positive number, but is -0.02"),
        (changed(0, low="0", high="1100"), "line 2: density_kg_m3 must be a positive number, but is 0"),
        (changed(2, tissue=" "), "line 4: tissue is empty"),
        (changed(2, source=""), "line 4: source is empty"),
        (changed(2, provenance="HEARD"), "line 4: provenance must be one of READ, RECALL"),
        (changed(2, confidence=""), "line 4: confidence must be one of high, medium, low"),
        (changed(5, value="1"), "tissue 'mine': freezing must end at a lower temperature"),
        (good_rows()[1:], "tissue 'mine' has no density_kg_m3, which every tissue needs"),
        (changed(2, tissue="other"), "has no thermal_conductivity_w_m_k, which every tissue needs"),
        ([], "holds no row"),
    ],
)
def test_bad_rows_are_refused_with_file_and_line(tmp_path, rows, sentence):
    path = tmp_path / "own.csv"
    path.write_text(table_text(rows), encoding="utf-8")
    with pytest.raises(DeviceError, match=r"^own\.csv") as caught:
        load_tissues(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (table_text(good_rows(), COLUMNS[1:]).encode(), "has no column 'tissue'"),
        (table_text(good_rows()).replace("4000,", "4000,,,,").encode(), "line 3 has the wrong number of columns"),
        (table_text(good_rows()).encode("utf-16"), "cannot be read: not UTF-8 text"),
        (b"", "has no column 'tissue'"),
        ((",".join(COLUMNS) + "\n" + "x" * 200_000).encode(), "is not comma-separated text"),
        (b"#" * (sheet.MAXIMUM_TABLE_BYTES + 1), "is larger than"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, content, sentence):
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    with pytest.raises(DeviceError, match=r"^own\.csv") as caught:
        load_tissues(path)
    assert sentence in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DeviceError, match=r"none\.csv cannot be read: No such file"):
        load_tissues(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"density_kg_m3": -1.0}, "density_kg_m3 must be a positive number, but is -1"),
        ({"density_kg_m3": math.nan}, "density_kg_m3 must be a positive number, but is nan"),
        ({"rf_conductivity_s_m": math.inf}, "rf_conductivity_s_m must be a positive number, but is inf"),
        ({"ranges": {"smell": (0.0, 1.0)}}, "has no property 'smell'"),
        ({"ranges": {"density_kg_m3": (1.0, 2.0)}}, "the range of density_kg_m3 must hold its value"),
        ({"ranges": {"perfusion_per_s": (0.0, 2.0)}}, "the range of perfusion_per_s must hold its value nan"),
        (
            {"perfusion_per_s": 0.01, "ranges": {"perfusion_per_s": (-1.0, 2.0)}},
            "nothing impossible, but is -1 to 2",
        ),
        ({"poration_start_v_cm": 700.0, "poration_end_v_cm": 350.0}, "must end at a higher field"),
    ],
)
def test_impossible_tissues_are_refused(values, sentence):
    good = {"density_kg_m3": 1000.0, "specific_heat_j_kg_k": 4000.0, "thermal_conductivity_w_m_k": 0.5}
    with pytest.raises(DeviceError) as caught:
        Tissue("made", **{**good, **values})
    assert sentence in str(caught.value)
