"""Closed-form zone models against their own formulas, limits and laws."""

import dataclasses

import numpy as np
import pytest
from made_cases import rotation

import needleplan.ablation.superposition as superposition
from needleplan.ablation.cassini import CassiniModel
from needleplan.ablation.closed_forms.heat import line_source_at_k, point_source_at_k
from needleplan.ablation.closed_forms.needle_pair import NeedlePair
from needleplan.ablation.closed_forms.optics import point_light_k
from needleplan.ablation.criteria import CriterionBand, PeakTemperatureCriterion
from needleplan.ablation.heat_response import (
    TABLE_STEP_MM,
    HeatSource,
    heat_source,
    needle_response_k_per_w,
    response_axes_mm,
)
from needleplan.ablation.needle_contact import least_distance_mm
from needleplan.ablation.power_scaling import PowerScalingModel, scaling_law
from needleplan.ablation.pulse_rules import ElectrodePair, PlacedElectrode, PulseProtocol
from needleplan.ablation.superposition import SuperpositionModel
from needleplan.ablation.tissue_map import TissueMap, Vessel, homogeneous
from needleplan.devices.applicator_physics import applicator_physics
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, PhysicsError
from needleplan.plan import Ablation, Insertion, vector3

ORIGIN = np.array([12.0, -31.0, 55.0])
#: Across the needles (towards the second one), across both, and along them.
AXES = rotation(21)


def needle(applicator, place, power_w, duration_s, tilt_deg=0.0, from_other_side=False):
    """A needle with its tip at (across, across, along) of the axes, tilted towards the first axis."""
    angle = np.radians(tilt_deg)
    way = AXES @ np.array([np.sin(angle), 0.0, np.cos(angle)])
    tip = ORIGIN + AXES @ np.asarray(place, float)
    way = -way if from_other_side else way
    return Insertion(
        vector3(tip - 90 * way), vector3(tip), applicator, (Ablation(vector3(tip), power_w, duration_s),)
    )


def electrodes(spacing, applicator="generic-ire-19g-20", **second):
    return [
        needle(applicator, (0, 0, 0), None, 90.0),
        needle(applicator, (spacing, 0, second.pop("level", 0.0)), None, 90.0, **second),
    ]


def extents(zone):
    """Full extents of a zone along AXES, from its surface."""
    local = np.concatenate([mesh.vertices_mm for mesh in zone.surfaces()]) @ AXES
    return local.max(axis=0) - local.min(axis=0)


# --- Cassini ovals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spacing", "voltage", "height"), [(15.0, 2250.0, 30.0), (15.0, 3000.0, 32.0), (20.0, 3000.0, 32.0)]
)
def test_cassini_zones_have_the_extents_of_the_closed_form(spacing, voltage, height):
    prediction = CassiniModel(PulseProtocol(10 * voltage / spacing)).predict(electrodes(spacing))
    oval = NeedlePair(spacing * 1e-3, 0.5e-3, voltage).oval(400e2)
    width, depth, length = extents(prediction.zone)
    assert (width, depth) == pytest.approx((1e3 * oval.width_m, 1e3 * oval.depth_m), abs=0.04)
    # Heights of a solver of sigma(E) in three dimensions, which the ends are fitted to.
    assert length == pytest.approx(height, abs=0.8)
    assert "400 V/cm" in prediction.criterion and "constant" in prediction.criterion
    assert prediction.quantity("greatest voltage").value == pytest.approx(voltage)
    assert prediction.notes == ()


def test_cassini_zone_of_the_measured_pair_lies_within_the_scatter_of_the_measurement():
    """Ben-David 2012, pig liver: 30 +- 4 wide, 17 +- 4 deep, 30 +- 6 mm high at 15 mm and 2250 V."""
    found = extents(CassiniModel().predict(electrodes(15.0)).zone)
    assert (np.abs(found - (30, 17, 30)) < (4, 4, 6)).all()


@pytest.mark.parametrize("threshold", [400.0, 700.0, 1000.0])
def test_cassini_zone_is_the_oval_at_every_level_of_the_bare_length(threshold):
    model = CassiniModel(threshold_v_cm=threshold)
    zone = model.predict(electrodes(15.0)).zone
    rng = np.random.default_rng(0)
    local = np.stack(
        [rng.uniform(-8, 23, 20_000), rng.uniform(-10, 10, 20_000), rng.uniform(-20, 0, 20_000)], axis=1
    )
    points = ORIGIN + local @ AXES.T
    oval = NeedlePair(15e-3, 0.5e-3, 2250.0).oval(threshold * 1e2)
    outer = dataclasses.replace(oval, reach_m=oval.reach_m + 0.06e-3).contains(
        (local[:, 0] - 7.5) / 1e3, local[:, 1] / 1e3
    )
    inner = dataclasses.replace(oval, reach_m=oval.reach_m - 0.06e-3).contains(
        (local[:, 0] - 7.5) / 1e3, local[:, 1] / 1e3
    )
    held = zone.contains(points)
    assert not (held & ~outer).any() and not (inner & ~held).any()
    # At 1000 V/cm two pieces are left: the middle is spared.
    assert zone.contains(ORIGIN + AXES @ (7.5, 0, -10))[0] == (threshold < 1000)
    field = model.predict(electrodes(15.0)).fields["field_v_cm"]
    middle = field.sample(ORIGIN[None, :] + AXES @ (7.5, 0, -10))[0]
    assert middle == pytest.approx(884.298, rel=0.01)


def test_cassini_ends_are_round():
    zone = CassiniModel().predict(electrodes(15.0)).zone
    widths = []
    for z in (-10.0, 0.0, 1.5, 3.0, 4.5):
        line = np.linspace(0, 14, 1401)
        points = ORIGIN + np.stack([np.full_like(line, 7.5), line, np.full_like(line, z)], axis=1) @ AXES.T
        widths.append(line[zone.contains(points)].max(initial=0.0))
    assert widths[0] == pytest.approx(widths[1], abs=0.05)
    assert (np.diff(widths[1:]) < -0.2).all()


def test_cassini_takes_the_greatest_field_of_all_pairs():
    square = [
        needle("generic-ire-19g-20", place, None, 90.0)
        for place in ((0, 0, 0), (12, 0, 0), (0, 12, 0), (12, 12, 0))
    ]
    model = CassiniModel()
    together = model.predict(square)
    assert together.quantity("pulsed pairs").value == 6
    points = ORIGIN + np.random.default_rng(1).uniform(-12, 24, (30_000, 3)) @ AXES.T
    alone = [
        model.predict([square[i], square[j]]).zone.signed_distance_mm(points) for i in range(4) for j in range(i)
    ]
    held = np.max(alone, axis=0)
    sure = np.abs(held) > 0.1
    np.testing.assert_array_equal(together.zone.contains(points)[sure], (held > 0)[sure])
    # Across a square of 18 mm the distance is 25 mm: those two pairs are not pulsed, and the reader is told.
    wide = [
        needle("generic-ire-19g-20", place, None, 90.0)
        for place in ((0, 0, 0), (18, 0, 0), (0, 18, 0), (18, 18, 0))
    ]
    prediction = model.predict(wide)
    assert prediction.quantity("pulsed pairs").value == 4
    assert any("2 of 6 pairs are too far apart" in note for note in prediction.notes)


def test_cassini_pairs_that_are_not_quite_parallel():
    model = CassiniModel()
    points = ORIGIN + np.random.default_rng(2).uniform((-10, -10, -30), (25, 10, 10), (4000, 3)) @ AXES.T

    def distances(**second):
        return model.predict(electrodes(15.0, **second)).zone.signed_distance_mm(points)

    level = distances()
    assert np.abs(distances(tilt_deg=0.01) - level).max() < 0.05
    # Tips 15 mm apart that spread backward by sin(5 deg) are farther apart there: the voltage follows the middle.
    tilted = distances(tilt_deg=-5.0)
    assert 0.3 < np.abs(tilted - level).max() < 4.0
    with pytest.raises(PhysicsError, match="degrees"):
        model.predict(electrodes(15.0, tilt_deg=-10.5))
    # A needle from the other side with its bare length at the same place is the same pair.
    other = [electrodes(15.0)[0], needle("generic-ire-19g-20", (15, 0, -20), None, 90.0, from_other_side=True)]
    assert np.abs(model.predict(other).zone.signed_distance_mm(points) - level).max() < 0.05


def test_cassini_refuses_what_is_no_pair():
    model = CassiniModel()
    one = electrodes(15.0)[0]
    for wrong, words in (
        ([one], "one alone destroys nothing"),
        ([one, one], "touch or cross"),
        (electrodes(0.9), "touch or cross"),
        ([one, needle("generic-ire-19g-20", (20, 0, 20), None, 90.0, tilt_deg=40.0)], "touch or cross"),
        (electrodes(15.0, level=21.0), "do not lie side by side"),
        (electrodes(24.0), "no pair of electrodes can be pulsed"),
        (electrodes(15.0, tilt_deg=-50.0), "must be parallel"),
    ):
        with pytest.raises(PhysicsError, match=words) as caught:
            model.predict(wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(PhysicsError, match="cannot be pulsed in pairs"):
        model.predict([one, needle("generic-ect-needle-30", (12, 0, 0), None, 90.0)])
    with pytest.raises(DeviceError, match="gives no electric pulses"):
        model.predict([one, needle("generic-mwa-2450", (12, 0, 0), 60.0, 90.0)])


def test_cassini_never_takes_a_threshold_of_another_conductivity_model():
    prostate = homogeneous(builtin_tissues().tissue("prostate"))
    with pytest.raises(DeviceError, match="constant"):
        CassiniModel().predict(electrodes(15.0), prostate)
    asked = CassiniModel(threshold_v_cm=450.0).predict(electrodes(15.0), prostate)
    assert asked.quantity("field threshold").value == 450.0 and "450 V/cm" in asked.criterion
    assert asked.zone.volume_ml < CassiniModel().predict(electrodes(15.0)).zone.volume_ml
    for wrong in (0.0, -400.0, float("nan")):
        with pytest.raises(DeviceError):
            CassiniModel(threshold_v_cm=wrong)
    # The greatest field of the pair is 9452 V/cm, at the metal itself.
    tiny = CassiniModel(threshold_v_cm=5e3).predict(electrodes(15.0)).zone
    assert tiny.contains(ORIGIN + AXES @ (0, 0.6, -10))[0] and not tiny.contains(ORIGIN + AXES @ (0, 1.5, -10))[0]


def test_cassini_says_that_it_knows_no_vessels():
    liver = builtin_tissues().tissue("liver")
    vessel = Vessel("portal vein", BallShapedVessel(), 8.0)
    prediction = CassiniModel().predict(electrodes(15.0), TissueMap(liver, vessels=(vessel,)))
    assert any("no vessels" in note for note in prediction.notes)


class BallShapedVessel:
    def contains(self, points_mm):
        return np.linalg.norm(np.asarray(points_mm) - ORIGIN, axis=1) < 4


# --- Rules of pulses --------------------------------------------------------------------------------------------


def pair(spacing, first="generic-ire-19g-20", second="generic-ire-19g-20", level=0.0, tilt_deg=0.0):
    one, two = (
        needle(first, (0, 0, 0), None, 90.0),
        needle(second, (spacing, 0, level), None, 90.0, tilt_deg=tilt_deg),
    )
    placed = [
        PlacedElectrode(applicator_physics(n.applicator), np.array(n.entry_mm), np.array(n.tip_mm))
        for n in (one, two)
    ]
    return ElectrodePair(*placed)


def test_pairs_and_their_geometry():
    level = pair(15.0)
    assert (level.spacing_mm, level.angle_deg, level.overlap_mm) == pytest.approx((15.0, 0.0, 20.0), abs=1e-6)
    shifted = pair(15.0, level=6.0)
    assert (shifted.spacing_mm, shifted.overlap_mm) == pytest.approx((15.0, 14.0))
    spread = pair(15.0, tilt_deg=-8.0)
    assert spread.angle_deg == pytest.approx(8.0) and spread.spacing_mm == pytest.approx(
        15.0 + 10 * np.radians(8.0), abs=0.15
    )
    # Neither the order of the two nor a motion changes anything.
    turned = ElectrodePair(spread.second, spread.first)
    assert (turned.spacing_mm, turned.angle_deg, turned.overlap_mm) == pytest.approx(
        (spread.spacing_mm, spread.angle_deg, spread.overlap_mm)
    )


@pytest.mark.parametrize(
    ("made", "protocol", "words"),
    [
        (pair(9.0), PulseProtocol(), "9.0 mm apart"),
        (pair(21.0), PulseProtocol(), "21.0 mm apart"),
        (pair(15.0, tilt_deg=-11.0), PulseProtocol(), "11.0 degrees"),
        (pair(15.0, second="generic-ire-19g-15"), PulseProtocol(), "bare lengths differ"),
        (pair(15.0, level=4.0), PulseProtocol(), "not level"),
        (pair(19.0), PulseProtocol(1700.0), "would take 3230 V"),
    ],
)
def test_each_rule_of_the_vendor_has_a_case_that_breaks_it(made, protocol, words):
    assert any(words in finding for finding in made.findings(protocol))
    assert pair(15.0).findings(PulseProtocol()) == () and pair(20.0).findings(PulseProtocol()) == ()
    assert pair(10.0).findings(PulseProtocol(1700.0)) == ()


def test_the_voltage_follows_the_distance_up_to_that_of_the_generator():
    assert pair(15.0).voltage_v(PulseProtocol(1500.0)) == pytest.approx(2250.0)
    assert pair(20.0).voltage_v(PulseProtocol(1700.0)) == 3000.0
    prediction = CassiniModel(PulseProtocol(1700.0)).predict(electrodes(20.0))
    assert prediction.quantity("greatest voltage").value == 3000.0
    assert any("against the vendor's rules" in note and "3400 V" in note for note in prediction.notes)


def test_protocols_that_are_none():
    assert PulseProtocol(1500.0, 90, 100.0).energised_s == pytest.approx(9e-3)
    for wrong in (
        {"voltage_to_distance_v_cm": 0.0},
        {"pulse_count": -1},
        {"pulse_length_us": float("inf")},
        {"pulse_count": 2.5},
    ):
        with pytest.raises(DeviceError, match="pulse"):
            PulseProtocol(**wrong)


def test_least_distance_of_segments_against_a_dense_search():
    rng = np.random.default_rng(3)
    share = np.linspace(0, 1, 201)
    for k in range(60):
        a, b, c, d = rng.normal(size=(4, 3)) * 10
        if k % 3 == 0:
            d = c + (b - a) * rng.uniform(0.2, 2)
        first, second = a + share[:, None] * (b - a), c + share[:, None] * (d - c)
        dense = np.linalg.norm(first[:, None] - second[None], axis=2).min()
        found = least_distance_mm(a, b, c, d)
        assert dense - 0.35 < found <= dense + 1e-9


# --- Added temperatures -----------------------------------------------------------------------------------------

LIVER = builtin_tissues().tissue("liver")
PERFUSION = LIVER.known("perfusion_per_s") * builtin_tissues().tissue("blood").volumetric_heat_j_m3_k
K, C = LIVER.thermal_conductivity_w_m_k, LIVER.volumetric_heat_j_m3_k
NARROW = 4e4


def along_radius(source, times, perfusion, radii_mm, reach_mm=25.0):
    """Rise per watt at distances across from the middle of a source."""
    table = needle_response_k_per_w(source, np.asarray(times, float), reach_mm, LIVER, perfusion)
    radius, along = response_axes_mm(source, reach_mm)
    middle = int(np.argmin(np.abs(along + 0.5 * source.length_mm)))
    return np.stack([np.interp(radii_mm, radius, row[:, middle]) for row in table])


@pytest.mark.parametrize("perfusion", [PERFUSION, 0.0])
def test_a_source_without_spread_is_the_point_source(perfusion):
    radii = np.array([2.0, 5.0, 10.0, 20.0])
    found = along_radius(HeatSource(0.0, NARROW, False, False, 1.0), [0.0, 60.0, 600.0], perfusion, radii)
    assert (found[0] == 0).all()
    for row, time in zip(found[1:], (60.0, 600.0), strict=True):
        np.testing.assert_allclose(
            row, point_source_at_k(radii / 1e3, time, 1.0, K, C, perfusion), rtol=8e-3, atol=1e-9
        )


def test_a_long_source_is_the_line_source_in_its_middle():
    source = HeatSource(90.0, NARROW, False, False, 0.5)
    radii = np.array([5.0, 10.0, 15.0])
    found = along_radius(source, [60.0, 600.0], PERFUSION, radii)
    for row, time in zip(found, (60.0, 600.0), strict=True):
        # Half of a watt over 90 mm.
        np.testing.assert_allclose(row, line_source_at_k(radii / 1e3, time, 0.5 / 0.09, K, C, PERFUSION), rtol=0.02)


def test_light_that_diffuses_is_the_closed_form_of_a_steady_point():
    absorption, scattering = 30.0, 900.0
    decay = np.sqrt(3 * absorption * (absorption + scattering))
    source = HeatSource(0.0, float(decay), True, False, 1.0)
    radii = np.array([2.0, 5.0, 10.0])
    found = along_radius(source, [3000.0], PERFUSION, radii)[0]
    np.testing.assert_allclose(
        5 * found, point_light_k(radii / 1e3, 5.0, absorption, scattering, K, PERFUSION), rtol=0.01
    )


@pytest.mark.parametrize("diffuses", [True, False])
def test_without_perfusion_all_power_is_found_in_the_tissue(diffuses):
    source = HeatSource(20.0, 300.0, diffuses, True, 0.6)
    table = needle_response_k_per_w(source, np.array([120.0]), 60.0, LIVER, 0.0)[0]
    radius, _ = response_axes_mm(source, 60.0)
    energy = C * (2 * np.pi * radius[:, None] * table).sum() * (TABLE_STEP_MM**2 * 1e-9)
    assert energy == pytest.approx(0.6 * 120.0, rel=0.01)


def antennas(*places, power_w=60.0, duration_s=300.0, applicator="generic-mwa-2450"):
    return [needle(applicator, (*place, 0.0), power_w, duration_s) for place in places]


def test_the_rises_of_two_antennas_add():
    model = SuperpositionModel()
    first, second = antennas((0, 0), (16, 0))
    second = dataclasses.replace(second, ablations=(dataclasses.replace(second.ablations[0], power_w=40.0),))
    points = ORIGIN + np.random.default_rng(4).uniform((-8, -8, -20), (24, 8, 5), (3000, 3)) @ AXES.T

    def rise(*needles):
        return model.predict(needles).fields["hottest_temperature_c"].sample(points) - 37.0

    together, alone = rise(first, second), (rise(first), rise(second))
    far = (together < 60) & np.isfinite(alone[0] + alone[1])
    assert far.sum() > 1000
    np.testing.assert_allclose(together[far], (alone[0] + alone[1])[far], rtol=0.01, atol=0.3)
    # Not the greater of the two, as a union would have it.
    assert (together[far] - np.maximum(*alone)[far]).max() > 5


def test_a_peak_temperature_is_an_isotherm_of_the_closed_form():
    criterion = PeakTemperatureCriterion(60.0)
    model = SuperpositionModel(
        CriterionBand(criterion, PeakTemperatureCriterion(50.0), PeakTemperatureCriterion(70.0))
    )
    prediction = model.predict(antennas((0, 0)))
    source = heat_source(applicator_physics("generic-mwa-2450"), LIVER)
    radii = np.linspace(3, 20, 1000)
    rise = 60.0 * along_radius(source, [300.0], PERFUSION, radii)[0]
    width = extents(prediction.zone)[0]
    assert width == pytest.approx(2 * np.interp(-23.0, -rise, radii), abs=0.12)
    volumes = [zone.volume_ml for zone in prediction.other_zones.values()]
    assert volumes[0] > prediction.zone.volume_ml > volumes[1]


def test_doses_do_not_depend_on_how_many_times_are_taken(monkeypatch):
    volume = SuperpositionModel().predict(antennas((0, 0))).zone.volume_ml
    monkeypatch.setattr(superposition, "_HEATING_TIMES", 60)
    monkeypatch.setattr(superposition, "_COOLING_TIMES_S", tuple(np.arange(2.0, 200.0, 4.0)))
    assert SuperpositionModel().predict(antennas((0, 0))).zone.volume_ml == pytest.approx(volume, rel=0.005)


def test_added_zones_grow_with_power_time_and_company():
    model = SuperpositionModel()
    base = model.predict(antennas((0, 0))).zone.volume_ml
    assert model.predict(antennas((0, 0), power_w=80.0)).zone.volume_ml > 1.15 * base
    assert model.predict(antennas((0, 0), duration_s=600.0)).zone.volume_ml > 1.05 * base
    # More than two of them where they are near, two where they are far.
    assert model.predict(antennas((0, 0), (16, 0))).zone.volume_ml > 2.0 * base
    assert model.predict(antennas((0, 0), (60, 0))).zone.volume_ml == pytest.approx(2.0 * base, rel=0.03)


def test_perfusion_of_all_and_nothing_bound_the_zone_of_a_solver_with_shutdown():
    """The built-in table of the antenna is such a solver's: 29.9 mm across at 60 W for 5 minutes."""
    widths = [
        extents(SuperpositionModel(perfusion_factor=factor).predict(antennas((0, 0))).zone)[0]
        for factor in (1.0, 0.0)
    ]
    row = next(
        row
        for row in builtin_catalogue().rows("generic-mwa-2450", "in_vivo")
        if (row.power_w, row.duration_s) == (60, 300)
    )
    assert widths[0] < row.diameter_mm < widths[1]
    for wrong in (-1.0, float("nan")):
        with pytest.raises(DeviceError, match="perfusion"):
            SuperpositionModel(perfusion_factor=wrong)


def test_added_zones_say_where_water_would_boil_and_start_from_the_body():
    hot = SuperpositionModel().predict(antennas((0, 0)))
    assert hot.quantity("volume above 100 C").value > 0.5 and any("boil" in note for note in hot.notes)
    assert hot.quantity("energy into tissue").value == pytest.approx(0.6 * 60 * 300 / 1000)
    mild = SuperpositionModel().predict(antennas((0, 0), power_w=8.0))
    assert mild.quantity("volume above 100 C").value == 0.0 and mild.notes == ()
    cool = SuperpositionModel().predict(antennas((0, 0)), homogeneous(LIVER, 25.0))
    assert cool.zone.volume_ml < 0.8 * hot.zone.volume_ml


def test_ablations_drawn_back_add_their_doses():
    """A second round from the same place adds to the dose of the first: longer than one, without its heat."""
    (one,) = antennas((0, 0))
    twice = dataclasses.replace(one, ablations=one.ablations * 2)
    longer = antennas((0, 0), duration_s=600.0)[0]
    model = SuperpositionModel()
    volumes = [model.predict([which]).zone.volume_ml for which in (one, twice, longer)]
    assert volumes[0] < volumes[1] < volumes[2] + 0.5


def test_needles_whose_temperatures_do_not_add_are_refused():
    model = SuperpositionModel()
    for name in ("generic-rfa-cooled-20", "generic-cryo-17g-30", "generic-ire-19g-15"):
        with pytest.raises(DeviceError, match="cannot be added"):
            model.predict(antennas((0, 0), applicator=name))
    with pytest.raises(PhysicsError, match="overlap"):
        model.predict(antennas((0, 0), (1.5, 0)))
    with pytest.raises(DeviceError, match="at most 140 W"):
        model.predict(antennas((0, 0), power_w=141.0))


def test_fibres_are_added_as_well():
    zone = (
        SuperpositionModel()
        .predict(antennas((0, 0), (9, 0), power_w=8.0, applicator="generic-laser-diffuser-10"))
        .zone
    )
    alone = SuperpositionModel().predict(antennas((0, 0), power_w=8.0, applicator="generic-laser-diffuser-10")).zone
    assert zone.volume_ml > 2.0 * alone.volume_ml > 1.0


# --- Power scaling ----------------------------------------------------------------------------------------------


def rows_of(law, powers, times, template):
    return [
        dataclasses.replace(
            template, power_w=p, duration_s=t, diameter_mm=law(p, t), axial_length_mm=1.3 * law(p, t)
        )
        for p in powers
        for t in times
    ]


def test_a_table_that_follows_the_law_gives_the_law_back():
    template = builtin_catalogue().rows("generic-mwa-2450", "in_vivo")[0]
    rows = rows_of(lambda p, t: 1.7 * p**0.31 * t**0.27, (30.0, 60.0, 110.0), (120.0, 600.0), template)
    law = scaling_law("made", rows)
    assert law.is_fitted
    assert (law.diameter.scale_mm, law.diameter.power_exponent, law.diameter.time_exponent) == pytest.approx(
        (1.7, 0.31, 0.27)
    )
    assert law.diameter.largest_error < 1e-12
    size = law.size(75.0, 300.0)
    assert size.diameter_mm == pytest.approx(1.7 * 75**0.31 * 300**0.27)
    assert size.axial_length_mm == pytest.approx(1.3 * size.diameter_mm)


def test_the_built_in_antenna_is_followed_within_the_stated_error():
    model = PowerScalingModel()
    law = model.law("generic-mwa-2450")
    off = [
        abs(law.diameter.extent_mm(row.power_w, row.duration_s) / row.diameter_mm - 1)
        for row in builtin_catalogue().rows("generic-mwa-2450", "in_vivo")
    ]
    assert max(off) == pytest.approx(law.diameter.largest_error) and max(off) < 0.12
    assert law.diameter.power_exponent == pytest.approx(0.30, abs=0.05)
    assert law.diameter.time_exponent == pytest.approx(0.34, abs=0.08)
    prediction = model.predict(antennas((0, 0)))
    reported = prediction.quantity("generic-mwa-2450, exponent of power (diameter)").value
    assert reported == law.diameter.power_exponent


def test_a_table_too_small_to_fit_takes_the_default_exponents_and_says_so():
    model = PowerScalingModel(reach=2.0)
    name = "perfusion-mwa-pmc3438625"
    law = model.law(name)
    assert not law.is_fitted and (law.diameter.power_exponent, law.diameter.time_exponent) == (0.30, 0.34)
    assert law.size(80.0, 300.0).diameter_mm == pytest.approx(31.2)
    assert law.size(40.0, 300.0, 2.0).diameter_mm == pytest.approx(31.2 * 0.5**0.30)
    prediction = model.predict(antennas((0, 0), power_w=100.0, applicator=name))
    assert any("too small to fit" in note for note in prediction.notes)
    assert any("extrapolated" in note for note in prediction.notes)


def test_nothing_is_extrapolated_unless_the_user_widens_the_reach():
    for power, time in (
        (141.0, 300.0),
        (39.0, 300.0),
        (60.0, 601.0),
        (60.0, 59.0),
        (float("nan"), 300.0),
        (None, 300.0),
    ):
        with pytest.raises(DeviceError, match="generic-mwa-2450"):
            PowerScalingModel().predict(antennas((0, 0), power_w=power, duration_s=time))
    wide = PowerScalingModel(reach=1.5)
    prediction = wide.predict(antennas((0, 0), power_w=200.0, duration_s=300.0))
    assert any("200 W" in note and "extrapolated" in note for note in prediction.notes)
    assert any("extrapolated" in note for note in wide.notes) and "1.5" in wide.name
    assert not wide.predict(antennas((0, 0))).notes
    with pytest.raises(DeviceError, match="factor 1\\.5"):
        wide.predict(antennas((0, 0), power_w=211.0))
    for wrong in ({"reach": 0.9}, {"reach": float("nan")}, {"tissue_factor": 0.0}, {"tissue_factor": float("inf")}):
        with pytest.raises(DeviceError):
            PowerScalingModel(**wrong)


def test_the_factor_of_a_tissue_is_separate_and_named():
    plain, less = PowerScalingModel(), PowerScalingModel(tissue_factor=0.8)
    assert "0.8" in less.name and any("0.8" in note for note in less.notes) and "factor" not in plain.name
    sizes = [extents(model.predict(antennas((0, 0))).zone) for model in (plain, less)]
    np.testing.assert_allclose(sizes[1], 0.8 * sizes[0], rtol=1e-9)


def test_only_antennas_with_a_stated_power_are_scaled():
    with pytest.raises(DeviceError, match="microwave"):
        PowerScalingModel().predict(antennas((0, 0), power_w=None, applicator="generic-rfa-cooled-20"))
    rows = [
        dataclasses.replace(row, power_w=None) for row in builtin_catalogue().rows("generic-mwa-2450", "in_vivo")
    ]
    with pytest.raises(DeviceError, match="controls its power"):
        scaling_law("made", rows)
