"""Radiofrequency zones: the generator's control, shapes of electrodes, shielding, and what is refused."""

import dataclasses

import numpy as np
import pytest
from placed_needles import AXES, ORIGIN, at, extents_mm, needle, reach_mm

from needleplan.ablation.heating import Delivery, HeatOptions
from needleplan.ablation.radiofrequency import GeneratorControl, RadiofrequencyModel
from needleplan.ablation.rf_electrodes import electrode_parts
from needleplan.ablation.schedule import Firing
from needleplan.ablation.tissue_map import Cylinder, Region, TissueMap, Vessel, homogeneous
from needleplan.devices.applicator_physics import applicator_physics
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, PhysicsError
from needleplan.plan import vector3

LIVER = builtin_tissues().tissue("liver")
SINGLE, CLUSTER, UMBRELLA, BIPOLAR = (
    f"generic-rfa-{name}" for name in ("cooled-20", "cluster-25", "umbrella-40", "bipolar-30")
)
COARSE = HeatOptions(spacing_mm=2.0, reach_mm=24.0)


def predict(row, tissue=None, options=COARSE, **model):
    return RadiofrequencyModel(options, **model).predict(row, tissue)


def value(prediction, name):
    return prediction.quantity(name).value


@pytest.fixture(scope="module")
def alone():
    return predict([needle(SINGLE, duration_s=180.0)])


@pytest.mark.parametrize("applicator", [SINGLE, CLUSTER, UMBRELLA, BIPOLAR])
@pytest.mark.parametrize("target_c", [60.0, 90.0])
def test_the_hottest_tissue_is_at_the_target_and_never_beyond(applicator, target_c):
    options = HeatOptions(spacing_mm=1.5, reach_mm=15.0, cool_down_s=0.0)
    control = GeneratorControl(temperature_c=target_c)
    found = predict([needle(applicator, duration_s=60.0)], options=options, control=control)
    # A little beyond where the field has just been solved anew for warmer tissue.
    assert target_c - 3 < value(found, "hottest tissue") < target_c + 6
    assert value(found, "greatest power") <= applicator_physics(applicator).maximum_power_w


def test_switched_electrodes_stay_below_the_target_as_well():
    row = [needle(SINGLE, (x, 0, 0), duration_s=60.0) for x in (-10, 10)]
    options = HeatOptions(spacing_mm=1.5, reach_mm=15.0)
    for target_c in (60.0, 85.0):
        control = GeneratorControl(temperature_c=target_c)
        found = predict(row, options=options, delivery=Delivery.SWITCHED, control=control)
        assert value(found, "hottest tissue") < target_c + 4


def test_what_the_generator_reports(alone):
    assert value(alone, "energy from the generator") == pytest.approx(0.180 * value(alone, "mean power"), rel=1e-6)
    # The coolant takes its share before tissue sees it.
    assert 0.5 < value(alone, "energy into tissue") / value(alone, "energy from the generator") < 1.0
    assert value(alone, "mean power") < value(alone, "greatest power") <= 200.0
    mean_ohm = value(alone, "mean resistance")
    # Warm tissue conducts better, by 1.5 % a kelvin.
    assert 0.4 * value(alone, "resistance at the start") < mean_ohm < value(alone, "resistance at the start")
    assert value(alone, "mean voltage") ** 2 / mean_ohm == pytest.approx(value(alone, "mean power"), rel=0.25)
    assert abs(value(alone, "energy unaccounted for")) < 1e-4
    assert value(alone, "coldest tissue") < 37.0


def test_the_zone_is_round_and_longer_than_wide(alone):
    size = extents_mm(alone.zone)
    assert size[0] == pytest.approx(size[1], rel=0.03) and size[2] > size[0]
    # A cooled electrode in dead tissue is no hole in the zone.
    assert alone.zone.contains(at([(0, 0, -z) for z in np.arange(3, 18, 1.5)])).all()
    assert len(alone.zone.surfaces()) == 1


def test_time_and_blood(alone):
    longer = predict([needle(SINGLE, duration_s=300.0)])
    assert longer.zone.volume_ml > 1.1 * alone.zone.volume_ml
    volumes = [
        predict([needle(SINGLE, duration_s=180.0)], options=dataclasses.replace(COARSE, perfusion_factor=f)).zone
        for f in (0.0, 2.0)
    ]
    assert volumes[0].volume_ml > alone.zone.volume_ml > volumes[1].volume_ml


def test_three_electrodes_at_once_shield_each_other():
    ring = [(9 * np.cos(a), 9 * np.sin(a), 0) for a in np.radians((90, 210, 330))]
    row = [needle(SINGLE, place, duration_s=240.0) for place in ring]
    found = {one: predict(row, delivery=one) for one in Delivery}
    volumes = {one: prediction.zone.volume_ml for one, prediction in found.items()}
    # Three times the time, each needle with a field of its own.
    assert volumes[Delivery.SEQUENTIAL] > 1.3 * volumes[Delivery.SWITCHED] > 0
    assert value(found[Delivery.SEQUENTIAL], "time simulated") == pytest.approx(3 * 240 + 2 * 30 + 60)
    assert value(found[Delivery.SIMULTANEOUS], "time simulated") == pytest.approx(300)
    # Between the needles the field is weak: the middle stays alive where the rims die.
    zone = found[Delivery.SIMULTANEOUS].zone.signed_distance_mm(at([(0, 0, -10), (0, 12, -10)]))
    assert zone[0] < zone[1]
    # As many ohms as one electrode has, less those that shield each other.
    single = predict([needle(SINGLE, duration_s=20.0)])
    together, one = (
        value(found[Delivery.SIMULTANEOUS], "resistance at the start"),
        value(single, "resistance at the start"),
    )
    assert one / 3 < together < 0.8 * one


@pytest.mark.long
def test_three_clusters_far_apart_do_better_in_turns_than_at_once():
    corners = [(23 * np.cos(a), 23 * np.sin(a), 0) for a in np.radians((90, 210, 330))]
    row = [needle(CLUSTER, corner, duration_s=720.0) for corner in corners]
    options = HeatOptions(spacing_mm=2.5, reach_mm=30.0)
    at_once, in_turns = (
        predict(row, options=options, delivery=one).zone.volume_ml
        for one in (Delivery.SIMULTANEOUS, Delivery.SWITCHED)
    )
    assert at_once < 0.92 * in_turns


def test_poles_on_one_shaft_are_alike():
    """The zone has a plane of symmetry through the middle of the gap between the poles."""
    found = predict([needle(BIPOLAR, duration_s=180.0)], options=HeatOptions(spacing_mm=1.5, reach_mm=15.0))
    middle = np.array([0, 0, -15.0])
    points = np.random.default_rng(1).normal(size=(600, 3)) * (6, 6, 10)
    forth, back = (found.zone.signed_distance_mm(at(middle + points * (1, 1, s))) for s in (1, -1))
    # The grid lies along the poles, but not alike about both.
    assert np.abs(forth - back).mean() < 0.2 * 1.5 and np.abs(forth - back).max() < 1.5 * 1.5
    assert found.zone.contains(at(middle)[None])[0]
    # No more current leaves the poles than flows from one to the other: the far wall hardly matters.
    far = predict([needle(BIPOLAR, duration_s=20.0)], options=HeatOptions(spacing_mm=1.5, reach_mm=25.0))
    assert value(far, "resistance at the start") == pytest.approx(value(found, "resistance at the start"), rel=0.03)


def test_an_umbrella_is_nearly_round():
    found = predict([needle(UMBRELLA, duration_s=240.0)])
    size = extents_mm(found.zone)
    assert size[0] == pytest.approx(size[1], rel=0.06)
    # Its ten tines lie 36 degrees apart: the zone looks the same after a turn by that.
    local = np.concatenate([mesh.vertices_mm for mesh in found.zone.surfaces()]) - ORIGIN
    turns = np.radians(np.arange(0, 360, 36))
    sides = AXES[:, :2] @ np.stack([np.cos(turns), np.sin(turns)])
    reaches = (local @ sides).max(axis=0)
    assert np.ptp(reaches) < 1.5 and reaches.min() > 20


@pytest.mark.parametrize("applicator", [SINGLE, CLUSTER, UMBRELLA, BIPOLAR])
def test_the_metal_is_where_the_table_says(applicator):
    physics = applicator_physics(applicator)
    insertion = needle(applicator, (1, 2, 3))
    laid = electrode_parts(Firing(insertion, insertion.ablations[0]), physics)
    ends = np.array([[part.start_mm, part.end_mm] for part in laid.parts])
    local = (ends - ORIGIN) @ AXES - (1, 2, 3)
    assert local[..., 2].max() == pytest.approx(0.0, abs=1e-9)
    across = np.hypot(local[..., 0], local[..., 1])
    if applicator == UMBRELLA:
        assert across.max() == pytest.approx(0.5 * physics.deployed_diameter_mm)
        assert sum(part.length_mm for part in laid.parts) / 10 == pytest.approx(physics.active_length_mm, rel=0.02)
        assert local[..., 2].min() == pytest.approx(-0.25 * physics.deployed_diameter_mm)
    elif applicator == CLUSTER:
        tips = local[:, 1]
        apart = np.linalg.norm(tips - np.roll(tips, 1, axis=0), axis=1)
        assert apart == pytest.approx(physics.cluster_spacing_mm)
        assert across.mean() == pytest.approx(5 / np.sqrt(3)) and tips.mean(axis=0) == pytest.approx(
            [0, 0, 0], abs=1e-9
        )
    else:
        assert across.max() < 1e-9
        assert local[..., 2].min() == pytest.approx(-physics.active_length_mm)
    assert sum(laid.poles) == (0 if applicator == BIPOLAR else len(laid.parts))


def test_a_stated_power_flows_until_the_resistance_rolls_off():
    gentle = predict([needle(SINGLE, power_w=8.0, duration_s=120.0)])
    assert not any("paused" in note for note in gentle.notes) and value(gentle, "mean power") == pytest.approx(
        8.0, rel=1e-6
    )
    fierce = predict([needle(SINGLE, power_w=120.0, duration_s=120.0)])
    assert "the generator paused" in fierce.notes[0]
    assert value(fierce, "greatest power") == pytest.approx(120.0) and value(fierce, "mean power") < 100.0
    assert 99 < value(fierce, "hottest tissue") < 200


def test_a_vessel_beside(alone):
    """It takes heat on its side; and tissue as wide as the box with more conductivity lowers the resistance."""
    solid = Cylinder(vector3(at((8, 0, -70))), vector3(at((8, 0, 60))), 3.0)
    found = predict([needle(SINGLE, duration_s=180.0)], TissueMap(LIVER, vessels=(Vessel("v", solid, 6.0),)))
    middle = (0, 0, -10)
    assert reach_mm(found.zone, middle, (1, 0, 0)) < reach_mm(alone.zone, middle, (1, 0, 0)) - 0.5
    assert reach_mm(found.zone, middle, (-1, 0, 0)) > reach_mm(alone.zone, middle, (-1, 0, 0)) - 0.7
    assert value(found, "resistance at the start") < value(alone, "resistance at the start")


def test_a_needle_through_a_border_of_two_tissues():
    """More current flows where tissue conducts better, and the zone is no longer alike at both ends."""
    fat = builtin_tissues().tissue("fat")
    half = Cylinder(vector3(at((0, 0, -10))), vector3(at((0, 0, 90))), 90.0)
    found = predict([needle(SINGLE, duration_s=180.0)], TissueMap(LIVER, (Region(fat, half),)))
    assert value(found, "resistance at the start") > 1.5 * value(
        predict([needle(SINGLE, duration_s=20.0)]), "resistance at the start"
    )
    assert np.isfinite(found.fields["temperature_c"].values).all()


@pytest.mark.parametrize(
    ("row", "model", "kind", "words"),
    [
        ([needle(SINGLE, power_w=201.0)], {}, DeviceError, "at most 200 W"),
        ([needle(SINGLE, power_w=-5.0)], {}, DeviceError, "above 0 W"),
        ([needle(SINGLE, duration_s=-5.0)], {}, DeviceError, "must last above 0"),
        ([needle("generic-mwa-2450", power_w=5.0)], {}, DeviceError, "no radiofrequency electrode"),
        (
            [needle(SINGLE), needle(SINGLE, (15, 0, 0), duration_s=100.0)],
            {"delivery": Delivery.SIMULTANEOUS},
            DeviceError,
            "must be given the same duration",
        ),
        (
            [needle(SINGLE), needle(SINGLE, (15, 0, 0), power_w=30.0)],
            {"delivery": Delivery.SWITCHED},
            DeviceError,
            "must be given the same power",
        ),
        (
            [needle(SINGLE), needle(SINGLE, (1, 0, 0))],
            {"delivery": Delivery.SIMULTANEOUS},
            PhysicsError,
            "two probes overlap",
        ),
        (
            [needle(SINGLE), needle(SINGLE, (2.5, 0, 0))],
            {"delivery": Delivery.SIMULTANEOUS},
            PhysicsError,
            "too coarse for needles 2.50 mm apart",
        ),
    ],
)
def test_refuses(row, model, kind, words):
    with pytest.raises(kind, match=words) as caught:
        predict(row, **model)
    assert "\n" not in str(caught.value)


def test_refuses_tissue_and_control():
    unknown = LIVER.changed(rf_conductivity_s_m=float("nan"))
    with pytest.raises(DeviceError, match="states no rf_conductivity_s_m for 'liver'"):
        predict([needle(SINGLE)], homogeneous(unknown))
    for name, bad in (("temperature_c", 101.0), ("temperature_c", float("nan")), ("horizon_s", 0.0),
                      ("resolve_s", -1.0), ("turn_s", float("nan")), ("pause_s", 0.0)):  # fmt: skip
        with pytest.raises(PhysicsError, match="45 to 100 C" if name == "temperature_c" else name):
            GeneratorControl(**{name: bad})
