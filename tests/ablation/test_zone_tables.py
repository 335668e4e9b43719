"""Zone tables of the built-in and of users' applicators."""

import dataclasses

import numpy as np
import pytest
from made_cases import rotation

from needleplan.ablation.ellipsoid import EllipsoidTableModel, ZoneTable
from needleplan.devices.catalogue import APPLICATOR_COLUMNS, ZONE_COLUMNS, builtin_catalogue, load_catalogue
from needleplan.errors import DeviceError
from needleplan.plan import Ablation, Insertion, vector3

CATALOGUE = builtin_catalogue()


def test_every_row_comes_back_exactly():
    for row in CATALOGUE.zones:
        size = EllipsoidTableModel(setting=row.setting).table(row.applicator).size(row.power_w, row.duration_s)
        assert size.axial_length_mm == pytest.approx(row.axial_length_mm, rel=1e-12)
        assert size.diameter_mm == pytest.approx(row.diameter_mm, rel=1e-12)
    assert len(CATALOGUE.zones) > 100


def test_every_row_names_its_source():
    assert all(row.source and row.provenance and row.confidence for row in CATALOGUE.zones)
    assert all(applicator.geometry_source for applicator in CATALOGUE.applicators)


def power_law_table(powers=(20.0, 50.0, 120.0), times=(60.0, 200.0, 700.0)):
    row = CATALOGUE.zones[0]
    rows = [
        dataclasses.replace(
            row,
            power_w=p,
            duration_s=t,
            axial_length_mm=4 * p**0.25 * t**0.2,
            diameter_mm=2 * p**0.3 * t**0.34,
        )
        for p in powers
        for t in times
    ]
    return ZoneTable(CATALOGUE.applicators[0], rows)


def test_power_laws_are_reproduced_between_the_rows():
    table = power_law_table()
    for p in (20.0, 33.3, 77.0, 120.0):
        for t in (60.0, 61.0, 450.0, 699.0):
            size = table.size(p, t)
            assert size.axial_length_mm == pytest.approx(4 * p**0.25 * t**0.2, rel=1e-12)
            assert size.diameter_mm == pytest.approx(2 * p**0.3 * t**0.34, rel=1e-12)
            assert size.volume_ml == pytest.approx(np.pi / 6 * size.axial_length_mm * size.diameter_mm**2 / 1000)


@pytest.mark.parametrize(("p", "t"), [(19.9, 100), (121, 100), (50, 59), (50, 701), (50, float("nan")), (50, -1)])
def test_settings_outside_the_table_are_refused_in_one_sentence(p, t):
    with pytest.raises(DeviceError, match=r"lies outside the table of .* goes from .* to") as caught:
        power_law_table().size(p, t)
    assert "\n" not in str(caught.value)


def test_generator_controlled_devices_take_no_power():
    table = EllipsoidTableModel(setting="in_vivo").table("cooled-rfa-20-cvir2009")
    assert table.generator_controlled
    assert table.size(None, 720.0).diameter_mm == pytest.approx(20.0)
    with pytest.raises(DeviceError, match="takes no power"):
        table.size(50.0, 720.0)
    with pytest.raises(DeviceError, match="takes a power in watts"):
        power_law_table().size(None, 100.0)


def test_broken_grids_are_refused():
    rows = list(power_law_table().rows)
    applicator = CATALOGUE.applicators[0]
    with pytest.raises(DeviceError, match="lacks 50 W for 200 s"):
        ZoneTable(applicator, [r for r in rows if (r.power_w, r.duration_s) != (50.0, 200.0)])
    with pytest.raises(DeviceError, match="given twice"):
        ZoneTable(applicator, [*rows, rows[4]])
    with pytest.raises(DeviceError, match="every zone row states a power or none"):
        ZoneTable(applicator, [*rows, dataclasses.replace(rows[0], power_w=None)])


def test_zone_lies_about_the_needle_behind_its_tip():
    model = EllipsoidTableModel()
    applicator = model.catalogue.applicator("generic-mwa-2450")
    direction = rotation(5)[:, 0]
    tip = np.array([10.0, -40, 25])
    insertion = Insertion(
        vector3(tip - 90 * direction), vector3(tip), applicator.name, (Ablation(vector3(tip), 60.0, 300.0),)
    )
    zone = model.zone([insertion])
    size = model.table(applicator.name).size(60.0, 300.0)
    centre = tip - applicator.tip_to_centre_mm * direction
    np.testing.assert_allclose(zone.centres_mm, [centre])
    ends = centre + np.outer([-0.5, 0.5], direction) * size.axial_length_mm
    np.testing.assert_allclose(zone.signed_distance_mm(ends), 0.0, atol=1e-9)
    side = centre + 0.5 * size.diameter_mm * rotation(5)[:, 1]
    np.testing.assert_allclose(zone.signed_distance_mm(side), 0.0, atol=1e-9)


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(DeviceError, match="choose one of generic-mwa-2450"):
        EllipsoidTableModel().table("nothing")
    with pytest.raises(DeviceError, match=r"no zones for the setting 'in_vacuo'.*ex_vivo, in_vivo"):
        EllipsoidTableModel(setting="in_vacuo").table("generic-mwa-2450")


APPLICATOR = dict(
    zip(APPLICATOR_COLUMNS, ["mine", "MWA", "my needle", "1.8", "150", "20", "10", "yes", "its card"], strict=True)
)
ZONE = dict(
    zip(
        ZONE_COLUMNS,
        ["mine", "in_vivo", "50", "300", "30", "25", "", "its card", "VENDOR", "high", "liver"],
        strict=True,
    )
)


def write_tables(folder, applicator=None, zone=None, zone_header=None):
    values = {**APPLICATOR, **(applicator or {})}
    rows = {**ZONE, **(zone or {})}
    header = zone_header or list(rows)
    (folder / "a.csv").write_text(",".join(values) + "\n" + ",".join(values.values()) + "\n")
    (folder / "z.csv").write_text(",".join(header) + "\n" + ",".join(rows.values()) + "\n")
    return folder / "a.csv", folder / "z.csv"


def test_own_tables_are_read(tmp_path):
    catalogue = load_catalogue(*write_tables(tmp_path))
    model = EllipsoidTableModel(catalogue)
    assert catalogue.applicator("mine").radius_mm == 0.9 and catalogue.applicator("mine").is_vendor_table
    assert model.table("mine").size(50.0, 300.0).diameter_mm == pytest.approx(25.0)
    assert model.notes_for("mine") == model.notes
    empty = EllipsoidTableModel(load_catalogue(*write_tables(tmp_path, zone={"power_w": ""})))
    assert empty.table("mine").generator_controlled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"applicator": {"shaft_diameter_mm": "-1"}}, "a.csv line 2: shaft_diameter_mm must be a positive number"),
        ({"applicator": {"usable_length_mm": "nan"}}, "a.csv line 2: usable_length_mm"),
        ({"applicator": {"geometry_source": ""}}, "a.csv line 2: geometry_source is empty"),
        ({"zone": {"diameter_mm": "wide"}}, "z.csv line 2: diameter_mm .* 'wide'"),
        ({"zone": {"duration_s": "inf"}}, "z.csv line 2: duration_s"),
        ({"zone": {"source": " "}}, "z.csv line 2: source is empty"),
        ({"zone": {"applicator": "other"}}, "names the applicator 'other', which is not listed"),
        ({"zone": {"tissue": "liver,more"}}, "z.csv line 2 has the wrong number of columns"),
        ({"zone_header": ["applicator", "setting"]}, "z.csv has no column 'power_w'"),
    ],
)
def test_broken_own_tables_are_refused_with_their_line(tmp_path, change, message):
    with pytest.raises(DeviceError, match=message) as caught:
        load_catalogue(*write_tables(tmp_path, **change))
    assert "\n" not in str(caught.value)


def test_missing_empty_and_foreign_files_are_refused(tmp_path):
    a, z = write_tables(tmp_path)
    with pytest.raises(DeviceError, match=r"none.csv cannot be read"):
        load_catalogue(tmp_path / "none.csv", z)
    z.write_text(",".join(ZONE_COLUMNS) + "\n")
    with pytest.raises(DeviceError, match="holds no row"):
        load_catalogue(a, z)
    z.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DeviceError, match="not UTF-8"):
        load_catalogue(a, z)
