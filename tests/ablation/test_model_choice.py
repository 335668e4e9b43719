"""Which solver an applicator gets, and what it is told."""

import pytest

from needleplan.ablation.cryoablation import CryoModel, FreezeProtocol
from needleplan.ablation.electroporation import ElectroporationModel
from needleplan.ablation.heating import Delivery
from needleplan.ablation.laser import LaserModel
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.model_choice import even_freezes, solver_for
from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.ablation.radiofrequency import RadiofrequencyModel
from needleplan.devices.applicator_physics import builtin_applicator_physics
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import DeviceError, NeedleplanError, PhysicsError

SOLVERS = {
    "MWA": MicrowaveModel,
    "RFA": RadiofrequencyModel,
    "laser": LaserModel,
    "cryo": CryoModel,
    "IRE": ElectroporationModel,
    "ECT": ElectroporationModel,
}


@pytest.mark.parametrize("name", builtin_applicator_physics().names)
def test_every_applicator_with_physics_gets_the_solver_of_its_modality(name):
    modality = builtin_catalogue().applicator(name).modality
    assert type(solver_for(name)) is SOLVERS[modality]


@pytest.mark.parametrize(
    ("name", "delivery"),
    [
        ("generic-mwa-2450", Delivery.SEQUENTIAL),
        ("generic-rfa-cooled-20", Delivery.SWITCHED),
        ("generic-cryo-17g-30", Delivery.SEQUENTIAL),
        ("generic-laser-diffuser-30", Delivery.SEQUENTIAL),
    ],
)
def test_what_is_asked_for_reaches_the_solver(name, delivery):
    model = solver_for(
        name, spacing_mm=1.7, reach_mm=28.0, perfusion_factor=0.4, delivery=delivery, default_tissue="kidney"
    )
    assert (model.options.spacing_mm, model.options.reach_mm, model.options.perfusion_factor) == (1.7, 28.0, 0.4)
    assert model.delivery is delivery and model.tissue.name == "kidney"
    other = solver_for(name)
    assert other.delivery is (Delivery.SEQUENTIAL if "rfa" in name else Delivery.SIMULTANEOUS)
    # Light reaches a few millimetres, so that its grid is finer.
    assert (other.options.spacing_mm < 1.0) is ("laser" in name)


def test_freezes_and_pulses_reach_their_own_solvers_alone():
    freezes, pulses = FreezeProtocol((300.0, 200.0), (100.0,)), PulseProtocol(1300.0, 70)
    assert solver_for("generic-cryo-17g-30", freezes=freezes).protocol == freezes
    model = solver_for("generic-ire-19g-15", pulses=pulses, spacing_mm=1.3)
    assert model.protocol == pulses and model.options.spacing_mm == 1.3
    assert solver_for("generic-ect-needle-30").modality == "ECT"
    with pytest.raises(DeviceError, match="freezes are for cryoprobes"):
        solver_for("generic-mwa-2450", freezes=freezes)
    with pytest.raises(DeviceError, match="pulses are for electrodes"):
        solver_for("generic-cryo-17g-30", pulses=pulses)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("no-such-needle", {}, "no-such-needle"),
        ("perfusion-mwa-pmc3438625", {}, "perfusion-mwa"),
        ("generic-ire-19g-15", {"delivery": Delivery.SEQUENTIAL}, "no part in electric pulses"),
        ("generic-ire-19g-15", {"perfusion_factor": 0.5}, "no part in electric pulses"),
        ("generic-mwa-2450", {"delivery": Delivery.SWITCHED}, "not switched"),
        ("generic-mwa-2450", {"spacing_mm": 0.0}, "spacing_mm must be positive"),
        ("generic-ire-19g-15", {"reach_mm": -1.0}, "reach_mm must be positive"),
    ],
)
def test_what_no_solver_knows_is_refused_in_one_sentence(name, options, words):
    with pytest.raises(NeedleplanError, match=words):
        solver_for(name, **options)


def test_equal_freezes_fill_the_whole_time():
    for total_s, count, thaw_s in ((1500.0, 2, 300.0), (1000.0, 3, 50.0), (600.0, 1, 300.0)):
        protocol = even_freezes(total_s, count, thaw_s)
        assert protocol.total_s == pytest.approx(total_s)
        assert len(protocol.freezes_s) == count and len(set(protocol.freezes_s)) == 1
    with pytest.raises(PhysicsError, match="need more than 300 s"):
        even_freezes(300.0)
