"""The model that answers a question of the zone command, chosen by what the applicator is."""

from collections.abc import Callable
from dataclasses import replace

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.heating import Delivery, HeatOptions, HeatSnapshot
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
#: Grid of light, which reaches a few millimetres, unless another is asked for.
_LIGHT_SPACING_MM, _LIGHT_REACH_MM = 0.75, 20.0


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
    physics, tissue = question.physics, question.tissue
    delivery = None if question.delivery is None else Delivery(question.delivery)
    if isinstance(physics, PulseElectrode):
        from needleplan.ablation.electroporation import ElectroporationModel, PulseOptions

        if delivery is not None or question.perfusion_factor != 1.0:
            raise OptionError("--delivery and --perfusion-factor have no part in electric pulses")
        pulse_options = PulseOptions()
        if question.spacing_mm is not None:
            pulse_options = replace(pulse_options, spacing_mm=question.spacing_mm)
        if question.reach_mm is not None:
            pulse_options = replace(pulse_options, reach_mm=question.reach_mm)
        return ElectroporationModel(pulse_options, pulse_protocol(question), question.device.modality, tissue)
    options = _heat_options(question, observe)
    if isinstance(physics, MicrowaveAntenna):
        from needleplan.ablation.microwave import MicrowaveModel

        return MicrowaveModel(options, delivery or Delivery.SIMULTANEOUS, tissue)
    if isinstance(physics, RadiofrequencyElectrode):
        from needleplan.ablation.radiofrequency import RadiofrequencyModel

        return RadiofrequencyModel(options, delivery or Delivery.SEQUENTIAL, tissue=tissue)
    if isinstance(physics, LaserFibre):
        from needleplan.ablation.laser import LaserModel

        return LaserModel(options, delivery or Delivery.SIMULTANEOUS, tissue)
    from needleplan.ablation.cryoablation import CryoModel, FreezeProtocol

    assert isinstance(physics, CryoProbe)
    protocol = FreezeProtocol(
        (question.energy_s,) * question.freeze_count, (question.pause_s,) * (question.freeze_count - 1)
    )
    return CryoModel(options, protocol, delivery or Delivery.SIMULTANEOUS, tissue)


def _heat_options(question: ZoneQuestion, observe: Callable[[HeatSnapshot], None] | None) -> HeatOptions:
    options = HeatOptions()
    if isinstance(question.physics, LaserFibre):
        options = replace(options, spacing_mm=_LIGHT_SPACING_MM, reach_mm=_LIGHT_REACH_MM)
    return replace(
        options,
        spacing_mm=question.spacing_mm or options.spacing_mm,
        reach_mm=question.reach_mm or options.reach_mm,
        perfusion_factor=question.perfusion_factor,
        observe=observe,
        observe_every_s=snapshot_every_s(question),
    )


def expected_s(question: ZoneQuestion) -> float:
    """Length of a treatment as the solvers of heat and cold run it, the time of cooling down included."""
    options = HeatOptions()
    follows = question.delivery == Delivery.SEQUENTIAL
    if question.delivery is None:
        follows = isinstance(question.physics, RadiofrequencyElectrode)
    turns = question.probes if follows else 1
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
