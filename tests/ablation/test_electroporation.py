"""Electroporation: symmetry and order of zones, currents, several electrodes, vessels, rules, what is refused."""

import dataclasses

import numpy as np
import pytest
from placed_needles import AXES, ORIGIN, at, extents_mm, needle, reach_mm

from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.electroporation import ElectroporationModel, PulseOptions, PulseTissues
from needleplan.ablation.needle_contact import NeedlePart, needle_cells
from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.ablation.solver_domain import solver_domain
from needleplan.ablation.tissue_map import Cylinder, TissueMap, Vessel, homogeneous
from needleplan.devices.applicator_physics import applicator_physics
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, PhysicsError
from needleplan.plan import vector3

LIVER = builtin_tissues().tissue("liver")
IRE, IRE_15, ECT = "generic-ire-19g-20", "generic-ire-19g-15", "generic-ect-needle-30"
COARSE = PulseOptions(spacing_mm=2.0, reach_mm=24.0)
POINTS = at(np.random.default_rng(4).normal(size=(3000, 3)) * (10, 6, 10) + (0, 0, -10))


def electrode(x, y=0.0, z=0.0, name=IRE, **more):
    return needle(name, (x, y, z), None, 90.0, **more)


def predict(row, tissue=None, options=COARSE, **model):
    return ElectroporationModel(options, **model).predict(row, tissue)


@pytest.fixture(scope="module")
def pair():
    return predict([electrode(-7.5), electrode(7.5)])


def test_a_pair_is_alike_on_all_its_sides(pair):
    """To a tenth of a voxel with both needles on grid lines, to two thirds with one of them between."""
    local = (POINTS - ORIGIN) @ AXES
    on_lines = predict([electrode(-8), electrode(8)])
    for found, share in ((on_lines, 0.1), (pair, 0.67)):
        here = found.zone.signed_distance_mm(POINTS)
        for turn in ((-1, 1, 1), (1, -1, 1)):
            assert np.abs(here - found.zone.signed_distance_mm(at(local * turn))).max() < share * 2.0
    size = extents_mm(pair.zone)
    assert size[0] > 15 and size[1] < size[0] and size[2] > 20
    exchanged = predict([electrode(7.5), electrode(-7.5)])
    assert exchanged.zone.volume_ml == pytest.approx(pair.zone.volume_ml, rel=0.01)


def test_what_is_reported(pair):
    assert pair.quantity("voltage of pair 1").value == pytest.approx(2250.0)
    assert pair.quantity("greatest current").value == pair.quantity("current of pair 1").value
    assert 5 < pair.quantity("greatest current").value < 50
    assert pair.quantity("greatest adiabatic rise of temperature").value > 10
    assert all("passes boiling" in note for note in pair.notes)
    field = pair.fields["field_v_cm"]
    # Midway the field is 0.54 to 0.67 of U/d in uniform tissue, and higher where opened tissue spreads it.
    assert 0.5 * 1500 < field.sample(at((0, 0, -10))[None])[0] < 0.85 * 1500
    assert set(pair.fields) == {"field_v_cm", "adiabatic_rise_k"}


def test_without_opening_the_current_is_that_of_the_potential_solver():
    """Where no cell opens the model is Laplace's equation, and the heat is the current's."""
    flat = LIVER.changed(porated_conductivity_s_m=LIVER.pulse_conductivity_s_m)
    found = predict([electrode(-7.5), electrode(7.5)], homogeneous(flat))
    parts = [
        NeedlePart(vector3(at((x, 0, -20))), vector3(at((x, 0, 0))), 0.5 * applicator_physics(IRE).diameter_mm)
        for x in (-7.5, 7.5)
    ]
    domain = solver_domain(parts, homogeneous(flat), 2.0, 24.0, 3.0)
    cells = needle_cells(domain.grid, parts)
    solver = DiffusionSolver(domain.grid.shape, 2.0, walls="insulated", held=cells.held, contact=cells.contact)
    solver.set_coefficients(np.full(domain.grid.shape, flat.pulse_conductivity_s_m, np.float32))
    solver.solve(np.where(cells.part == 0, 1125.0, -1125.0), tolerance=1e-6)
    current = solver.current(cells.part == 0)
    assert found.quantity("current of pair 1").value == pytest.approx(current, rel=2e-3)
    rise = found.fields["adiabatic_rise_k"].values.sum(dtype=np.float64) * 8e-9 * flat.volumetric_heat_j_m3_k
    assert rise == pytest.approx(2250.0 * current * PulseProtocol().energised_s, rel=0.01)
    # Opened tissue takes more current, and its field reaches further.
    assert predict([electrode(-7.5), electrode(7.5)]).quantity("current of pair 1").value > 1.3 * current


def test_thresholds_and_voltages_order_the_zones(pair):
    before = None
    for threshold in (300.0, 500.0, 800.0):
        inside = predict([electrode(-7.5), electrode(7.5)], threshold_v_cm=threshold).zone.contains(POINTS)
        assert before is None or ((before | ~inside).all() and inside.sum() < before.sum())
        before = inside
    for voltage in (1000.0, 2000.0):
        protocol = PulseProtocol(voltage_to_distance_v_cm=voltage)
        volume = predict([electrode(-7.5), electrode(7.5)], protocol=protocol).zone.volume_ml
        assert (volume < pair.zone.volume_ml) == (voltage < 1500)
    # The number of pulses heats and does nothing else.
    few = predict([electrode(-7.5), electrode(7.5)], protocol=PulseProtocol(pulse_count=9))
    assert few.zone.volume_ml == pytest.approx(pair.zone.volume_ml)
    assert few.quantity("greatest adiabatic rise of temperature").value == pytest.approx(
        0.1 * pair.quantity("greatest adiabatic rise of temperature").value
    )


def test_a_lower_threshold_of_reversible_pores():
    row = [electrode(-7.5, name=ECT), electrode(7.5, name=ECT)]
    protocol = PulseProtocol(1000.0, 8, 100.0)
    kill, open_ = (predict(row, protocol=protocol, modality=one) for one in ("IRE", "ECT"))
    assert open_.zone.volume_ml > kill.zone.volume_ml
    assert "(ECT" in open_.criterion and "(IRE" in kill.criterion
    assert open_.quantity("greatest current").value == pytest.approx(
        kill.quantity("greatest current").value, rel=0.01
    )


def test_three_electrodes_pulse_all_pairs():
    corners = [(8 * np.cos(a), 8 * np.sin(a)) for a in np.radians((90, 210, 330))]
    found = predict([electrode(*corner) for corner in corners])
    assert [one.name for one in found.quantities if one.name.startswith("current of")] == [
        f"current of pair {n}" for n in (1, 2, 3)
    ]
    currents = [found.quantity(f"current of pair {n}").value for n in (1, 2, 3)]
    # All alike, on a grid that is not.
    assert np.ptp(currents) < 0.05 * np.mean(currents)
    assert found.zone.contains(at((0, 0, -10))[None])[0]
    single = predict([electrode(*corner) for corner in corners[:2]])
    deep = single.zone.signed_distance_mm(POINTS) > 1.0
    assert found.zone.contains(POINTS)[deep].all() and found.zone.volume_ml > 1.5 * single.zone.volume_ml


def test_pairs_that_stand_too_far_apart_are_left_out():
    row = [electrode(x) for x in (-15, 0, 15)]
    found = predict(row)
    assert "1 pairs stand too far apart and are not pulsed." in found.notes
    assert len([one for one in found.quantities if one.name.startswith("current of")]) == 2


def test_drawing_back_makes_a_second_zone_behind():
    back = predict([electrode(-7.5, pulled_mm=(18,)), electrode(7.5, pulled_mm=(18,))])
    single = predict([electrode(-7.5), electrode(7.5)])
    assert extents_mm(back.zone)[2] == pytest.approx(extents_mm(single.zone)[2] + 18, abs=1.5)
    with pytest.raises(PhysicsError, match="one alone destroys nothing"):
        predict([electrode(-7.5, pulled_mm=(18,)), electrode(7.5)])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([electrode(-4), electrode(4)], "8.0 mm apart, but the vendor asks for 10 to 20 mm"),
        ([electrode(-6), electrode(6, tilt_deg=-14.0)], "stand at 14.0 degrees"),
        ([electrode(-7), electrode(7, name=IRE_15)], "the bare lengths differ: 15 and 20 mm"),
        ([electrode(-7), electrode(7, z=6)], "the tips are not level: only 14.0 of 20 mm"),
    ],
)
def test_the_vendors_rules_are_told(row, words):
    found = predict(row)
    assert any(words in note for note in found.notes), found.notes
    assert found.zone.volume_ml > 0


def test_too_much_voltage_or_current_is_told():
    found = predict([electrode(-9.5), electrode(9.5)], protocol=PulseProtocol(1800.0))
    assert any("would take 3420 V, but the generator gives 3000 V" in note for note in found.notes)
    assert found.quantity("voltage of pair 1").value == 3000.0
    strong = LIVER.changed(pulse_conductivity_s_m=1.0, porated_conductivity_s_m=3.0)
    found = predict([electrode(-7.5), electrode(7.5)], homogeneous(strong))
    assert any("more than the generator's 50 A" in note for note in found.notes)


def test_a_vessel_between_the_electrodes_changes_the_field(pair):
    solid = Cylinder(vector3(at((0, 0, -80))), vector3(at((0, 0, 60))), 3.0)
    row = [electrode(-7.5), electrode(7.5)]
    found = predict(row, TissueMap(LIVER, vessels=(Vessel("v", solid, 6.0),)))
    assert found.quantity("current of pair 1").value > 1.05 * pair.quantity("current of pair 1").value
    middle = at((0, 0, -10))[None]
    # Blood conducts better: the field in it is weaker, and stronger between it and the needles.
    assert found.fields["field_v_cm"].sample(middle)[0] < 0.8 * pair.fields["field_v_cm"].sample(middle)[0]
    closed = predict(row, TissueMap(LIVER, vessels=(Vessel("v", solid, 6.0, open=False),)))
    assert closed.zone.volume_ml == pytest.approx(pair.zone.volume_ml, rel=1e-6)


def test_an_oblique_pair_has_nearly_the_zone_of_a_parallel_one(pair):
    tilted = predict([electrode(-7.5), electrode(7.5, tilt_deg=-5.0)])
    assert tilted.zone.volume_ml == pytest.approx(pair.zone.volume_ml, rel=0.2)
    assert reach_mm(tilted.zone, (0, 0, -10), (0, 1, 0)) == pytest.approx(
        reach_mm(pair.zone, (0, 0, -10), (0, 1, 0)), abs=1.0
    )


def test_conductivity_rises_smoothly_between_two_fields():
    domain = solver_domain([NeedlePart((0, 0, 0), (0, 0, 10), 0.5)], homogeneous(LIVER), 2.0, 10.0, 3.0)
    tissues = PulseTissues(domain)
    values = [
        tissues.conductivity_s_m(np.full(domain.grid.shape, field, np.float32))[0, 0, 0]
        for field in np.linspace(0, 1200, 60)
    ]
    assert values[0] == pytest.approx(LIVER.pulse_conductivity_s_m)
    assert values[-1] == pytest.approx(LIVER.porated_conductivity_s_m)
    assert (np.diff(values) >= 0).all()
    middle = 0.5 * (LIVER.poration_start_v_cm + LIVER.poration_end_v_cm)
    half = tissues.conductivity_s_m(np.full(domain.grid.shape, middle, np.float32))[0, 0, 0]
    assert half == pytest.approx(0.5 * (values[0] + values[-1]), rel=1e-4)


@pytest.mark.parametrize(
    ("row", "kind", "words"),
    [
        ([electrode(0)], PhysicsError, "one alone destroys nothing"),
        ([electrode(-13), electrode(13)], PhysicsError, "no two electrodes stand near enough .* 26.0 mm"),
        ([electrode(-7.5), needle(IRE, (7.5, 0, 0), 40.0, 90.0)], DeviceError, "takes no power"),
        ([electrode(-7.5), electrode(7.5, name="generic-cryo-2.4-30")], DeviceError, "gives no electric pulses"),
        ([electrode(0), electrode(0.9)], PhysicsError, "touch or cross"),
        ([electrode(-1.2), electrode(1.2)], PhysicsError, "too coarse for needles 2.40 mm apart"),
        ([electrode(-7.5), electrode(7.5, z=25)], PhysicsError, "do not lie side by side"),
        ([electrode(-7.5), electrode(7.5, tilt_deg=-50.0)], PhysicsError, "50 degrees are no pair"),
    ],
)
def test_refuses(row, kind, words):
    with pytest.raises(kind, match=words) as caught:
        predict(row)
    assert "\n" not in str(caught.value)


def test_refuses_settings_tissue_and_domains():
    row = [electrode(-7.5), electrode(7.5)]
    for threshold in (0.0, -1.0, float("nan")):
        with pytest.raises(DeviceError, match="threshold must be above 0 V/cm"):
            ElectroporationModel(threshold_v_cm=threshold)
    for name in ("spacing_mm", "reach_mm", "least_vessel_diameter_mm"):
        for bad in (0.0, float("nan")):
            with pytest.raises(PhysicsError, match=name):
                PulseOptions(**{name: bad})
    with pytest.raises(DeviceError, match="states no pulse_conductivity_s_m for 'bone_cortical'"):
        predict(row, homogeneous(builtin_tissues().tissue("bone_cortical")))
    with pytest.raises(PhysicsError, match="domain is too small for the zone"):
        predict(row, options=PulseOptions(spacing_mm=2.0, reach_mm=8.0), threshold_v_cm=60.0)
    assert predict([]).zone.volume_ml == 0
    # Bounds that are cut are told.
    found = predict(row, options=dataclasses.replace(COARSE, reach_mm=8.0), threshold_v_cm=900.0)
    assert all("cut at the edge" in note for note in found.notes)
