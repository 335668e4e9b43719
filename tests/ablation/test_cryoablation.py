"""Cryoablation: isotherms within one another, protocols, probes beside one another, blood, and what is refused."""

import dataclasses

import numpy as np
import pytest
from placed_needles import ORIGIN, at, extents_mm, needle, reach_mm

from needleplan.ablation.criteria import heat_criteria
from needleplan.ablation.cryoablation import CryoModel, FreezeProtocol, cryo_criteria
from needleplan.ablation.heating import Delivery, HeatOptions
from needleplan.ablation.tissue_map import Cylinder, TissueMap, Vessel, homogeneous
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, PhysicsError
from needleplan.plan import vector3

LIVER = builtin_tissues().tissue("liver")
PROBE = "generic-cryo-2.4-30"
COARSE = HeatOptions(spacing_mm=2.0, reach_mm=24.0)
TWICE = FreezeProtocol((240.0, 240.0), (180.0,))
POINTS = at(np.random.default_rng(5).normal(size=(4000, 3)) * (10, 10, 14) + (0, 0, -15))


def predict(row, tissue=None, options=COARSE, **model):
    return CryoModel(options, **model).predict(row, tissue)


def probe(place=(0, 0, 0), duration_s=240.0, name=PROBE, **more):
    return needle(name, place, None, duration_s, **more)


@pytest.fixture(scope="module")
def once():
    return predict([probe()])


@pytest.fixture(scope="module")
def twice():
    return predict([probe(duration_s=TWICE.total_s)], protocol=TWICE)


def ice(prediction):
    return prediction.other_zones["-0.5 C at any time"]


def test_isotherms_lie_within_one_another(once):
    levels = [once.other_zones[f"{level:g} C at any time"] for level in (-40.0, -20.0, -0.5)]
    inside = [zone.contains(POINTS) for zone in levels]
    assert (inside[1] | ~inside[0]).all() and (inside[2] | ~inside[1]).all()
    assert 0 < inside[0].sum() < inside[1].sum() < inside[2].sum()
    assert (once.zone.contains(POINTS) == inside[0]).all()
    assert once.quantity("ice ball").value == pytest.approx(levels[2].volume_ml)
    outer, inner = (
        once.other_zones[criterion.words] for criterion in (cryo_criteria(1).outer, cryo_criteria(1).inner)
    )
    assert inner.volume_ml < once.zone.volume_ml < outer.volume_ml
    assert "Only one freeze" in once.notes[0]


def test_the_ice_is_round_about_the_probe(once):
    size = extents_mm(ice(once))
    assert size[0] == pytest.approx(size[1], rel=0.02) and size[2] > size[0]
    assert ice(once).contains(at([(0, 0, -z) for z in range(1, 30)])).all()
    assert once.quantity("coldest tissue").value == pytest.approx(-130.0, abs=0.5)
    assert once.quantity("hottest tissue").value == pytest.approx(37.0, abs=0.01)


def test_the_second_freeze_goes_further_but_both_must_kill(once, twice):
    """Cooled tissue freezes further: its ice holds the first one, and what both killed is what the first did."""
    assert ice(twice).volume_ml >= ice(once).volume_ml
    assert (ice(twice).contains(POINTS) | ~ice(once).contains(POINTS)).all()
    one_of_two = predict(
        [probe(duration_s=TWICE.total_s)],
        protocol=TWICE,
        options=dataclasses.replace(COARSE, criteria=cryo_criteria(1)),
    )
    inner, outer = twice.zone.contains(POINTS), one_of_two.zone.contains(POINTS)
    assert (outer | ~inner).all()
    assert twice.zone.volume_ml == pytest.approx(once.zone.volume_ml, rel=0.02)
    assert one_of_two.zone.volume_ml >= twice.zone.volume_ml
    assert all("leaves ice" in note for note in twice.notes)
    assert twice.quantity("time simulated").value == pytest.approx(660.0)


def test_a_second_freeze_does_not_begin_with_a_warm_probe():
    """After hardly any thaw a second freeze is as one that goes on: no heat comes out of the probe."""
    brief = FreezeProtocol((200.0, 200.0), (1.0,))
    parted = predict([probe(duration_s=401.0)], protocol=brief)
    onward = predict([probe(duration_s=401.0)])
    assert ice(parted).volume_ml == pytest.approx(ice(onward).volume_ml, rel=0.02)
    assert parted.quantity("hottest tissue").value <= 37.001


def test_blood_and_time(once):
    volumes = [
        ice(predict([probe()], options=dataclasses.replace(COARSE, perfusion_factor=f))).volume_ml
        for f in (0.0, 0.5, 2.0)
    ]
    assert volumes[0] > volumes[1] > ice(once).volume_ml > volumes[2]
    assert ice(predict([probe(duration_s=120.0)])).volume_ml < ice(once).volume_ml
    assert ice(predict([probe()], homogeneous(LIVER, 30.0))).volume_ml > ice(once).volume_ml


def test_probes_together_freeze_more_than_each_alone():
    row = [probe((-7, 0, 0)), probe((7, 0, 0))]
    both, singles = predict(row), [predict([one]) for one in row]
    for pick in (ice, lambda prediction: prediction.zone):
        union = pick(singles[0]).contains(POINTS) | pick(singles[1]).contains(POINTS)
        deep = np.maximum(*(pick(one).signed_distance_mm(POINTS) for one in singles)) > 0.8
        assert pick(both).contains(POINTS)[deep].all()
        assert pick(both).contains(POINTS).sum() > 1.05 * union.sum()
    exchanged = predict(row[::-1])
    assert np.abs(both.zone.signed_distance_mm(POINTS) - exchanged.zone.signed_distance_mm(POINTS)).max() < 0.2
    turns = predict(row, delivery=Delivery.SEQUENTIAL)
    assert ice(turns).volume_ml < ice(both).volume_ml
    assert turns.quantity("time simulated").value == pytest.approx(240 + 30 + 240)


def test_probes_in_turn_with_two_freezes_each():
    """What each probe froze twice is dead, in whatever order they are listed."""
    row = [probe((-9, 0, 0), TWICE.total_s), probe((9, 0, 0), TWICE.total_s)]
    found = predict(row, protocol=TWICE, delivery=Delivery.SEQUENTIAL)
    assert found.zone.contains(at([(-9, 0, -15), (9, 0, -15)])).all()
    places = (reach_mm(found.zone, (side * 9, 0, -15), (side, 0, 0)) for side in (-1, 1))
    first, second = places
    assert first == pytest.approx(second, abs=0.6)


def test_a_vessel_melts_its_side(once):
    solid = Cylinder(vector3(at((10, 0, -90))), vector3(at((10, 0, 60))), 3.0)
    found = predict([probe()], TissueMap(LIVER, vessels=(Vessel("v", solid, 6.0),)))
    towards, away = (reach_mm(ice(found), (0, 0, -15), (side, 0, 0)) for side in (1, -1))
    base = reach_mm(ice(once), (0, 0, -15), (1, 0, 0))
    assert towards < 7.2 and towards < base - 0.5
    assert away == pytest.approx(base, abs=0.4)


def test_a_wall_too_near_is_said():
    found = predict([probe()], options=HeatOptions(spacing_mm=2.0, reach_mm=9.0))
    assert any("edge of the domain changed by" in note and "above 9 mm" in note for note in found.notes)


def test_heat_criteria_find_nothing_in_ice():
    found = predict([probe(duration_s=60.0)], options=dataclasses.replace(COARSE, criteria=heat_criteria()))
    assert found.zone.volume_ml == 0 and found.quantity("ice ball").value > 0


@pytest.mark.parametrize(
    ("row", "model", "kind", "words"),
    [
        ([probe(duration_s=600.0)], {"protocol": TWICE}, DeviceError, "protocol lasts 660 s, but the ablation"),
        ([needle(PROBE, power_w=50.0)], {}, DeviceError, "takes no power"),
        ([needle("generic-rfa-cooled-20")], {}, DeviceError, "is no cryoprobe"),
        ([probe(), probe((15, 0, 0), 120.0)], {}, DeviceError, "must be given the same duration"),
        ([probe(), probe((2, 0, 0))], {}, PhysicsError, "two probes overlap"),
        ([probe(), probe((3.2, 0, 0))], {}, PhysicsError, "too coarse for needles 3.20 mm apart"),
        (
            [probe()],
            {"options": dataclasses.replace(COARSE, criteria=cryo_criteria(2))},
            PhysicsError,
            "asks for 2 freezes, but the protocol has 1",
        ),
    ],
)
def test_refuses(row, model, kind, words):
    with pytest.raises(kind, match=words) as caught:
        predict(row, **model)
    assert "\n" not in str(caught.value)


def test_refuses_protocols_and_tissue():
    for freezes, thaws in (((), ()), ((60.0, 60.0), ()), ((60.0,), (60.0,))):
        with pytest.raises(PhysicsError, match="one thaw between every two freezes"):
            FreezeProtocol(freezes, thaws)
    for freezes, thaws in (((0.0,), ()), ((60.0, 60.0), (float("nan"),)), ((60.0, -60.0), (5.0,))):
        with pytest.raises(PhysicsError, match="longer than 0 s"):
            FreezeProtocol(freezes, thaws)
    with pytest.raises(DeviceError, match="not switched"):
        CryoModel(delivery=Delivery.SWITCHED)
    with pytest.raises(DeviceError, match="for 'lung_inflated', which this model needs"):
        predict([probe()], homogeneous(builtin_tissues().tissue("lung_inflated")))
    assert predict([]).zone.volume_ml == 0
    assert ORIGIN.shape == (3,)
