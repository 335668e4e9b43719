"""The model that answers a question of the zone command, chosen by what the applicator is."""

from collections.abc import Callable
from dataclasses import replace

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.cryoablation import FreezeProtocol
from needleplan.ablation.heating import Delivery, HeatOptions, HeatSnapshot
from needleplan.ablation.model_choice import solver_for, usual_delivery
from needleplan.ablation.needle_contact import NeedlePart
from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.ablation.rf_electrodes import electrode_parts
from needleplan.ablation.schedule import Firing
from needleplan.app.zone import ZoneQuestion
from needleplan.devices.applicator_physics import (
    CryoProbe,
    LaserFibre,
    MicrowaveAntenna,
    PulseElectrode,
    RadiofrequencyElectrode,
)
from needleplan.errors import OptionError
from needleplan.plan import vector3

#: Snapshots that are taken of a treatment, or a few more.
LEAST_SNAPSHOTS = 45


def model_for(question: ZoneQuestion, observe: Callable[[HeatSnapshot], None] | None = None) -> ZoneModel:
    """The model of a question.

    Args:
        question: what is asked.
        observe: called with ``LEAST_SNAPSHOTS`` moments or more of a treatment, by solvers of heat and cold alone.

    Raises:
        OptionError: no such model knows the applicator.
        DeviceError: the applicator has no physics, or the delivery is none that it knows.
    """
    if question.model == "table":
        from needleplan.ablation.ellipsoid import EllipsoidTableModel

        return EllipsoidTableModel(setting=question.setting)
    return _fast_model(question) if question.model == "fast" else _solver(question, observe)


def _fast_model(question: ZoneQuestion) -> ZoneModel:
    physics = question.physics
    if isinstance(physics, MicrowaveAntenna | LaserFibre):
        from needleplan.ablation.superposition import SuperpositionModel

        return SuperpositionModel(default_tissue=question.tissue, perfusion_factor=question.perfusion_factor)
    if isinstance(physics, PulseElectrode):
        from needleplan.ablation.cassini import CassiniModel

        return CassiniModel(pulse_protocol(question), default_tissue=question.tissue)
    raise OptionError(
        f"no fast model knows {question.device.modality} as of {question.applicator}: ask for --model solver"
    )


def _solver(question: ZoneQuestion, observe: Callable[[HeatSnapshot], None] | None) -> ZoneModel:
    physics = question.physics
    delivery = None if question.delivery is None else Delivery(question.delivery)
    freezes = pulses = None
    if isinstance(physics, PulseElectrode):
        if delivery is not None or question.perfusion_factor != 1.0:
            raise OptionError("--delivery and --perfusion-factor have no part in electric pulses")
        pulses = pulse_protocol(question)
    elif isinstance(physics, CryoProbe):
        thaws = question.freeze_count - 1
        freezes = FreezeProtocol((question.energy_s,) * question.freeze_count, (question.pause_s,) * thaws)
    return solver_for(
        question.applicator,
        spacing_mm=question.spacing_mm,
        reach_mm=question.reach_mm,
        perfusion_factor=question.perfusion_factor,
        delivery=delivery,
        default_tissue=question.tissue,
        freezes=freezes,
        pulses=pulses,
        observe=observe,
        observe_every_s=snapshot_every_s(question),
    )


def expected_s(question: ZoneQuestion) -> float:
    """Length of a treatment as the solvers of heat and cold run it, the time of cooling down included."""
    options = HeatOptions()
    delivery = question.delivery
    if delivery is None and question.physics is not None:
        delivery = usual_delivery(question.physics)
    turns = question.probes if delivery == Delivery.SEQUENTIAL else 1
    cool_down_s = 0.0 if isinstance(question.physics, CryoProbe) else options.cool_down_s
    return turns * question.treatment_s + (turns - 1) * options.interval_s + cool_down_s


def snapshot_every_s(question: ZoneQuestion) -> float:
    """Time between snapshots: a whole fraction of the energy's and of the cooling's, so that both ends are seen."""
    total_s, cool_down_s = expected_s(question), HeatOptions().cool_down_s
    for parts in range(1, 200):
        every_s = cool_down_s / parts
        left_s = question.energy_s % every_s
        if every_s <= total_s / LEAST_SNAPSHOTS and min(left_s, every_s - left_s) < 1e-6 * every_s:
            return every_s
    return total_s / LEAST_SNAPSHOTS


def pulse_protocol(question: ZoneQuestion) -> PulseProtocol:
    """The pulses that a question asks for; raises OptionError for a voltage without a distance."""
    protocol = PulseProtocol()
    if question.voltage_v is not None:
        if question.distance_mm is None:
            raise OptionError("--voltage-v lies between two electrodes: ask for --probes and --distance-mm")
        protocol = replace(protocol, voltage_to_distance_v_cm=10.0 * question.voltage_v / question.distance_mm)
    return protocol if question.pulses is None else replace(protocol, pulse_count=question.pulses)


def active_parts(question: ZoneQuestion) -> list[NeedlePart]:
    """The straight parts of all probes that deliver the energy."""
    parts: list[NeedlePart] = []
    for insertion in question.insertions:
        firing = Firing(insertion, insertion.ablations[0])
        physics = question.physics
        if isinstance(physics, RadiofrequencyElectrode):
            parts += electrode_parts(firing, physics).parts
        else:
            device = question.device
            parts.append(firing.part(device.active_length_mm, device.shaft_diameter_mm))
    return parts


def shafts(question: ZoneQuestion) -> list[NeedlePart]:
    """The parts of all needles behind those that deliver the energy."""
    physics, device = question.physics, question.device
    if isinstance(physics, RadiofrequencyElectrode) and physics.arrangement == "cluster":
        behind = [part.start_mm for part in active_parts(question)]
        diameter = physics.diameter_mm
    else:
        back = device.active_length_mm
        if isinstance(physics, RadiofrequencyElectrode) and physics.deployed_diameter_mm is not None:
            back = 0.25 * physics.deployed_diameter_mm
        behind = [vector3((x, y - back, z)) for x, y, z in (one.tip_mm for one in question.insertions)]
        diameter = device.shaft_diameter_mm
    reach = float(-question.insertions[0].entry_mm[1])
    return [NeedlePart(vector3((x, -reach, z)), (x, y, z), 0.5 * diameter) for x, y, z in behind]
