"""Microwave zones: power, order, vessels, tissues, antennas beside one another, and what is refused."""

import dataclasses

import numpy as np
import pytest
from made_cases import motion
from placed_needles import AXES, ORIGIN, at, extents_mm, moved, needle, reach_mm

from needleplan.ablation.cryoablation import cryo_criteria
from needleplan.ablation.heating import Delivery, HeatOptions, VesselCooling
from needleplan.ablation.microwave import (
    MicrowaveModel,
    antenna_attenuation_per_m,
    attenuation_per_m,
    microwave_source,
)
from needleplan.ablation.needle_contact import NeedlePart
from needleplan.ablation.solver_domain import solver_domain
from needleplan.ablation.tissue_map import Cylinder, Region, TissueMap, Vessel, homogeneous
from needleplan.devices.applicator_physics import applicator_physics
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, FrameError, PhysicsError
from needleplan.plan import Ablation, Insertion, vector3

LIVER = builtin_tissues().tissue("liver")
ANTENNA = "generic-mwa-2450"
COARSE = HeatOptions(spacing_mm=2.5, reach_mm=27.5)
#: The middle of the radiating length behind the tip.
MIDDLE = (0, 0, -10)


def predict(insertions, tissue=None, options=COARSE, **model):
    return MicrowaveModel(options, **model).predict(insertions, tissue)


def antenna(place=(0, 0, 0), power_w=60.0, duration_s=180.0, name=ANTENNA, **more):
    return needle(name, place, power_w, duration_s, **more)


@pytest.fixture(scope="module")
def alone():
    return predict([antenna()])


def beside(diameter, **vessel):
    """A vessel along the antenna whose wall is 5 mm from the axis."""
    across = 5.0 + 0.5 * diameter
    solid = Cylinder(vector3(at((across, 0, -70))), vector3(at((across, 0, 60))), 0.5 * diameter)
    return TissueMap(LIVER, vessels=(Vessel("vein", solid, **vessel),))


@pytest.mark.parametrize("name", [ANTENNA, "generic-mwa-915"])
@pytest.mark.parametrize("reach", [12.0, 30.0])
def test_the_power_in_the_box_and_beyond_is_all_there_is(name, reach):
    """By a far larger box: what the small one misses is what the large one finds outside it."""
    physics = applicator_physics(name)
    part = NeedlePart(vector3(at((0, 0, -physics.radiating_length_mm))), vector3(ORIGIN), 0.5 * physics.diameter_mm)
    sums = []
    for size in (reach, 66.0):
        domain = solver_domain([part], homogeneous(LIVER), 3.0, size, 3.0)
        density = microwave_source(domain, part, physics)
        points = domain.grid.to_index(domain.grid.centres_mm())
        assert (density > 0).all()
        sums.append(density.sum() * 27e-9)
        if size == reach:
            shape = np.asarray(domain.grid.shape)
        else:
            margin = (np.asarray(domain.grid.shape) - shape) // 2
            inner = ((points >= margin) & (points < margin + shape)).all(axis=1)
            inside = density.ravel()[inner].sum() * 27e-9
    assert sums[1] == pytest.approx(1.0, abs=0.06) and sums[1] <= 1.0
    assert sums[0] == pytest.approx(inside, abs=0.005) and sums[0] < sums[1] - 0.02


def test_attenuation():
    # A poor conductor: alpha = sigma / 2 sqrt(mu / eps); a good one: sqrt(pi f mu sigma).
    assert attenuation_per_m(1e-4, 50.0, 2.45e9) == pytest.approx(0.5e-4 * 376.73 / np.sqrt(50.0), rel=1e-4)
    assert attenuation_per_m(1e4, 1.0, 1e6) == pytest.approx(np.sqrt(np.pi * 1e6 * 1.25664e-6 * 1e4), rel=1e-3)
    high, low = (applicator_physics(f"generic-mwa-{f}") for f in (2450, 915))
    assert 2 * antenna_attenuation_per_m(LIVER, high) == pytest.approx(96, rel=0.02)
    assert 2 * antenna_attenuation_per_m(LIVER, low) == pytest.approx(47, rel=0.02)


def test_more_power_or_time_never_destroys_less(alone):
    points = ORIGIN + np.random.default_rng(1).normal(size=(4000, 3)) * 12
    before = np.zeros(len(points), dtype=bool)
    for power, duration in ((30, 90), (30, 180), (60, 180), (60, 300), (100, 300)):
        after = predict([antenna((0, 0, 0), power, duration)]).zone.contains(points)
        assert (after | ~before).all()
        assert after.sum() > before.sum()
        before = after


def test_the_zone_is_round_about_the_needle_and_longer_than_wide(alone):
    size = extents_mm(alone.zone)
    assert size[0] == pytest.approx(size[1], rel=0.03)
    assert size[2] > size[0]
    outer, inner = alone.other_zones.values()
    assert inner.volume_ml < alone.zone.volume_ml < outer.volume_ml
    assert abs(alone.quantity("energy unaccounted for").value) < 1e-4
    # The shaft's own cells take no heat, all else of 60 % of 60 W for three minutes does.
    assert 0.93 < alone.quantity("energy into tissue").value / (0.6 * 60 * 0.180) < 1.0


def test_a_wide_vessel_flattens_the_side_that_it_lies_on(alone):
    base = reach_mm(alone.zone, MIDDLE, (-1, 0, 0))
    vein = predict([antenna()], beside(5.0))
    towards, away = reach_mm(vein.zone, MIDDLE, (1, 0, 0)), reach_mm(vein.zone, MIDDLE, (-1, 0, 0))
    assert towards < 5.0 + 0.7 < base
    assert away == pytest.approx(base, rel=0.05)
    assert not vein.zone.contains(at((7.5, 0, -10))[None])[0]
    # Found by its own width as well, and cut to 3 mm by the option.
    assert reach_mm(predict([antenna()], beside(5.0, diameter_mm=5.0)).zone, MIDDLE, (1, 0, 0)) == towards
    wide_only = dataclasses.replace(COARSE, least_vessel_diameter_mm=6.0)
    assert reach_mm(predict([antenna()], beside(5.0), wide_only).zone, MIDDLE, (1, 0, 0)) == pytest.approx(
        base, rel=0.02
    )


def test_vessels_that_carry_nothing_away(alone):
    for tissue in (beside(2.0), beside(5.0, open=False), beside(5.0, diameter_mm=2.5)):
        assert predict([antenna()], tissue).zone.volume_ml == pytest.approx(alone.zone.volume_ml, rel=1e-6)
    none = dataclasses.replace(COARSE, vessel_cooling=VesselCooling.NONE)
    assert predict([antenna()], beside(5.0), none).zone.volume_ml == pytest.approx(alone.zone.volume_ml, rel=1e-6)


def test_a_film_cools_less_than_a_wall_at_the_temperature_of_the_blood(alone):
    film = dataclasses.replace(COARSE, vessel_cooling=VesselCooling.CONVECTIVE)
    half, full = predict([antenna()], beside(5.0), film), predict([antenna()], beside(5.0))
    assert full.zone.volume_ml < half.zone.volume_ml < alone.zone.volume_ml
    for direction in ((0.8, 0.6, 0), (0.6, -0.8, 0)):
        assert reach_mm(full.zone, MIDDLE, direction) <= reach_mm(half.zone, MIDDLE, direction)


def test_blood_shrinks_the_zone(alone):
    volumes = [
        predict([antenna()], options=dataclasses.replace(COARSE, perfusion_factor=f)).zone.volume_ml
        for f in (0.0, 0.5, 2.0)
    ]
    assert volumes[0] > volumes[1] > alone.zone.volume_ml > volumes[2]
    lasting = dataclasses.replace(COARSE, perfusion_stops=False)
    assert predict([antenna()], options=lasting).zone.volume_ml < alone.zone.volume_ml
    assert predict([antenna()], homogeneous(LIVER, 25.0)).zone.volume_ml < alone.zone.volume_ml


def test_damage_gathers_while_tissue_cools(alone):
    at_once = predict([antenna()], options=dataclasses.replace(COARSE, cool_down_s=0.0))
    assert at_once.zone.volume_ml < alone.zone.volume_ml
    assert at_once.quantity("time simulated").value == pytest.approx(180.0)
    assert alone.quantity("time simulated").value == pytest.approx(240.0)


@pytest.fixture(scope="module")
def two():
    return [antenna((-7.5, 0, 0)), antenna((7.5, 0, 0))]


def test_two_antennas_destroy_more_than_either_would_alone(two):
    both = predict(two)
    singles = [predict([one]) for one in two]
    points = ORIGIN + np.random.default_rng(2).normal(size=(4000, 3)) * 12
    union = singles[0].zone.contains(points) | singles[1].zone.contains(points)
    deep = singles[0].zone.signed_distance_mm(points) > 0.5
    assert both.zone.contains(points)[deep].all()
    assert both.zone.contains(points).sum() > 1.1 * union.sum()
    assert both.zone.contains(at(MIDDLE)[None])[0]


def test_two_antennas_are_alike(two):
    """Each in the other's place, and the patient's left and right exchanged about the plane between them."""
    both, exchanged = predict(two), predict(two[::-1])
    points = np.random.default_rng(3).normal(size=(800, 3)) * 10 + MIDDLE
    here = both.zone.signed_distance_mm(at(points))
    assert np.abs(here - exchanged.zone.signed_distance_mm(at(points))).max() < 0.1 * 2.5
    assert np.abs(here - both.zone.signed_distance_mm(at(points * (-1, 1, 1)))).max() < 0.1 * 2.5


def test_one_after_the_other_is_a_sequence(two):
    """Its time is the sum, and the punctures' order counts, not that of the list."""
    sequence = predict(two, delivery=Delivery.SEQUENTIAL)
    assert sequence.quantity("time simulated").value == pytest.approx(180 + 30 + 180 + 60)
    assert sequence.quantity("antennas at once").value == 1
    first = [antenna((0, 0, 0), 80, 240, order=1), antenna((9, 0, 0), 30, 60, order=2)]
    volumes = [predict(row, delivery=Delivery.SEQUENTIAL).zone.volume_ml for row in (first, first[::-1])]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.01)
    other = [dataclasses.replace(one, order=3 - one.order) for one in first]
    assert abs(predict(other, delivery=Delivery.SEQUENTIAL).zone.volume_ml / volumes[0] - 1) > 0.01


def test_pulling_back_lengthens_the_zone(alone):
    pulled = predict([antenna(pulled_mm=(15,), duration_s=180.0)])
    assert pulled.quantity("time simulated").value == pytest.approx(180 + 30 + 180 + 60)
    assert pulled.quantity("antennas at once").value == 1
    size, single = extents_mm(pulled.zone), extents_mm(alone.zone)
    assert 11 < size[2] - single[2] < 20
    # In one piece, without a cold hole where the metal was.
    for z in np.arange(-28, 0.0, 2.0):
        assert pulled.zone.contains(at((0, 0, z))[None])[0], z
    assert len(pulled.zone.surfaces()) == 1


def test_different_times_within_a_group(two):
    """The longer one goes on alone: more than both briefly, less than both for long."""
    short = [antenna((-7.5, 0, 0), duration_s=60.0), antenna((7.5, 0, 0), duration_s=60.0)]
    mixed = [two[0], short[1]]
    volumes = [predict(row).zone.volume_ml for row in (short, mixed, two)]
    assert volumes[0] < volumes[1] < volumes[2]
    zone = predict(mixed).zone
    assert reach_mm(zone, (-7.5, 0, -10), (-1, 0, 0)) > reach_mm(zone, (7.5, 0, -10), (1, 0, 0)) + 1
    back = predict(mixed[::-1]).zone.volume_ml
    assert back == pytest.approx(volumes[1], rel=0.01)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_zone_moves_with_the_patient(seed):
    matrix = motion(seed)
    here = [antenna((-6, 0, 0)), antenna((6, 2, -3), tilt_deg=8.0)]
    vein = beside(5.0).vessels[0].solid
    tissue = TissueMap(LIVER, vessels=(Vessel("v", vein, 5.0),))
    ends = [matrix[:3, :3] @ np.asarray(end) + matrix[:3, 3] for end in (vein.start_mm, vein.end_mm)]
    carried = TissueMap(LIVER, vessels=(Vessel("v", Cylinder(vector3(ends[0]), vector3(ends[1]), 2.5), 5.0),))
    first, second = predict(here, tissue), predict([moved(one, matrix) for one in here], carried)
    points = at(np.random.default_rng(seed).normal(size=(800, 3)) * 10 + MIDDLE)
    there = points @ matrix[:3, :3].T + matrix[:3, 3]
    found = [
        zone.signed_distance_mm(places) + 0.5 * zone.margin_error_mm
        for zone, places in ((first.zone, points), (second.zone, there))
    ]
    assert np.abs(found[0] - found[1]).max() < 0.1 * 2.5


def test_the_antennas_frequency_and_the_tissue_count(alone):
    low, high = (
        predict([antenna(power_w=50.0, name=f"generic-mwa-{f}")], options=HeatOptions(spacing_mm=2.5))
        for f in (915, 2450)
    )
    assert extents_mm(low.zone)[2] > extents_mm(high.zone)[2] + 5
    volumes = {alone.zone.volume_ml}
    for name in ("lung_inflated", "kidney", "muscle", "bone_cancellous"):
        tissue = builtin_tissues().tissue(name)
        found = predict([antenna()], homogeneous(tissue), HeatOptions(spacing_mm=2.5))
        assert not any("Waves spread" in note for note in found.notes)
        assert np.isfinite(found.fields["temperature_c"].values).all()
        volumes.add(found.zone.volume_ml)
    # A model of another organ is the same as a map of it.
    model = MicrowaveModel(HeatOptions(spacing_mm=2.5), tissue="kidney")
    assert model.predict([antenna()]).zone.volume_ml in volumes
    assert len(volumes) == 5


def test_tissues_side_by_side():
    """The zone reaches further into the organ with less blood; the antenna in its own organ names it."""
    half = Cylinder(vector3(at((1.3, 0, -10))), vector3(at((81.3, 0, -10))), 80.0)
    tissue = TissueMap(LIVER, (Region(builtin_tissues().tissue("kidney"), half),))
    found = predict([antenna()], tissue)
    assert reach_mm(found.zone, MIDDLE, (1, 0, 0)) < reach_mm(found.zone, MIDDLE, (-1, 0, 0)) - 1
    assert "the tissue about each antenna (liver)" in found.notes[0]


def test_cold_criteria_find_nothing_in_heat():
    for cycles in (1, 2):
        cold = dataclasses.replace(COARSE, criteria=cryo_criteria(cycles))
        assert predict([antenna(duration_s=30.0)], options=cold).zone.volume_ml == 0


def test_bounds_that_reach_the_wall_are_said():
    small = HeatOptions(spacing_mm=2.5, reach_mm=15.0)
    found = predict([antenna(power_w=80.0, duration_s=300.0)], options=small)
    assert any("edge of the domain changed by" in note and "above 15 mm" in note for note in found.notes)
    assert any("too small for the zone of 240 cumulative" in note for note in found.notes), found.notes
    with pytest.raises(PhysicsError, match="domain is too small for the zone"):
        predict([antenna(power_w=140.0, duration_s=300.0)], options=small)


@pytest.mark.parametrize(
    ("row", "kind", "words"),
    [
        ([antenna(power_w=141.0)], DeviceError, "at most 140 W, but 141 W"),
        ([antenna(power_w=0.0)], DeviceError, "above 0 W"),
        ([antenna(power_w=float("nan"))], DeviceError, "above 0 W"),
        ([antenna(power_w=None)], DeviceError, "takes a power in watts"),
        ([antenna(duration_s=0.0)], DeviceError, "must last above 0"),
        ([antenna(duration_s=float("nan"))], DeviceError, "must last above 0"),
        ([antenna(duration_s=9000.0)], DeviceError, "up to 7200 s"),
        ([needle("generic-cryo-2.4-30", power_w=60.0)], DeviceError, "is no microwave antenna"),
        ([needle("nothing-like-it", power_w=60.0)], DeviceError, "no physics is known"),
        ([antenna(), antenna((1.5, 1.0, 0))], PhysicsError, "two probes overlap"),
        ([antenna(), antenna((3.5, 0.0, 0))], PhysicsError, "too coarse for needles 3.50 mm apart"),
        ([antenna(), antenna((40000.0, 0.0, 0))], PhysicsError, "take a coarser grid or needles"),
    ],
)
def test_refuses(row, kind, words):
    with pytest.raises(kind, match=words) as caught:
        predict(row)
    assert "\n" not in str(caught.value)


def test_refuses_needles_without_a_direction_and_options():
    tip = vector3(ORIGIN)
    for bad in (Insertion(tip, tip, ANTENNA, (Ablation(tip, 60.0, 60.0),)),
                Insertion((0.0, 0.0, float("nan")), tip, ANTENNA, (Ablation(tip, 60.0, 60.0),))):  # fmt: skip
        with pytest.raises(FrameError, match="three finite numbers"):
            predict([bad])
    lost = Ablation((float("nan"), 0.0, 0.0), 60.0, 60.0)
    with pytest.raises(PhysicsError, match="finite numbers of millimetres"):
        predict([Insertion(vector3(at((0, 0, -90))), tip, ANTENNA, (lost,))])
    with pytest.raises(DeviceError, match="not switched"):
        MicrowaveModel(delivery=Delivery.SWITCHED)
    with pytest.raises(PhysicsError, match="no perfusion_per_s for 'liver'"):
        predict([antenna()], homogeneous(LIVER.changed(perfusion_per_s=float("nan"))))
    for name, value in (("spacing_mm", 0.0), ("reach_mm", float("nan")), ("perfusion_factor", -1.0),
                        ("cool_down_s", -1.0), ("interval_s", float("inf")), ("observe_every_s", 0.0)):  # fmt: skip
        with pytest.raises(PhysicsError, match=name):
            HeatOptions(**{name: value})


def test_no_needle_and_no_delivery_destroy_nothing():
    for row in ([], [Insertion((0, 0, 90), (0, 0, 0), ANTENNA, ())]):
        assert predict(row).zone.volume_ml == 0
    with_one = [antenna(), Insertion(vector3(at((20, 0, -90))), vector3(at((20, 0, 0))), ANTENNA, ())]
    assert predict(with_one).zone.volume_ml == pytest.approx(predict([antenna()]).zone.volume_ml, rel=1e-6)
    assert AXES.shape == (3, 3)
