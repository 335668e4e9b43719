"""Which solver computes the zones of an applicator, by what the applicator is."""

from collections.abc import Callable
from dataclasses import replace

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.cryoablation import CryoModel, FreezeProtocol
from needleplan.ablation.electroporation import ElectroporationModel, PulseOptions
from needleplan.ablation.heating import Delivery, HeatOptions, HeatSnapshot
from needleplan.ablation.laser import LaserModel
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.ablation.radiofrequency import RadiofrequencyModel
from needleplan.devices.applicator_physics import (
    ApplicatorPhysics,
    CryoProbe,
    LaserFibre,
    MicrowaveAntenna,
    PulseElectrode,
    RadiofrequencyElectrode,
    applicator_physics,
)
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import DeviceError, PhysicsError

#: Grid of light, which reaches a few millimetres, unless another is asked for.
_LIGHT_SPACING_MM, _LIGHT_REACH_MM = 0.75, 20.0


def solver_for(
    applicator: str,
    *,
    spacing_mm: float | None = None,
    reach_mm: float | None = None,
    perfusion_factor: float = 1.0,
    delivery: Delivery | None = None,
    default_tissue: str = "liver",
    freezes: FreezeProtocol | None = None,
    pulses: PulseProtocol | None = None,
    observe: Callable[[HeatSnapshot], None] | None = None,
    observe_every_s: float | None = None,
) -> ZoneModel:
    """The solver of an applicator.

    Args:
        applicator: name of the applicator.
        spacing_mm: side of the voxels; the solver's own where None.
        reach_mm: room about the needles' active parts; the solver's own where None.
        perfusion_factor: on every tissue's perfusion; 1 for electric pulses, which it does not touch.
        delivery: how several ablations follow one another; the solver's own where None. Electric pulses take none.
        default_tissue: name of the tissue about the needles where no map is given.
        freezes: freezes and thaws of a cryoprobe; where None an ablation's duration is one freeze.
        pulses: pulses of every pair of electrodes; the usual ones where None.
        observe: called with moments of the treatment, by solvers of heat and cold alone.
        observe_every_s: time between those moments; the solver's own where None.

    Raises:
        DeviceError: the applicator has no physics, does not know the delivery, or gets freezes or pulses that are
            not its own.
        PhysicsError: an option is impossible or has no part in the applicator's physics.
    """
    physics = applicator_physics(applicator)
    if freezes is not None and not isinstance(physics, CryoProbe):
        raise DeviceError(f"freezes are for cryoprobes, and applicator {applicator!r} is none")
    if pulses is not None and not isinstance(physics, PulseElectrode):
        raise DeviceError(f"pulses are for electrodes of electric pulses, and applicator {applicator!r} is none")
    if isinstance(physics, PulseElectrode):
        if delivery is not None or perfusion_factor != 1.0:
            raise PhysicsError("a delivery or a factor on the perfusion has no part in electric pulses")
        pulse_options = PulseOptions()
        pulse_options = replace(
            pulse_options,
            spacing_mm=pulse_options.spacing_mm if spacing_mm is None else spacing_mm,
            reach_mm=pulse_options.reach_mm if reach_mm is None else reach_mm,
        )
        modality = builtin_catalogue().applicator(applicator).modality
        return ElectroporationModel(pulse_options, pulses, modality, default_tissue)
    options = HeatOptions()
    if isinstance(physics, LaserFibre):
        options = replace(options, spacing_mm=_LIGHT_SPACING_MM, reach_mm=_LIGHT_REACH_MM)
    options = replace(
        options,
        spacing_mm=options.spacing_mm if spacing_mm is None else spacing_mm,
        reach_mm=options.reach_mm if reach_mm is None else reach_mm,
        perfusion_factor=perfusion_factor,
        observe=observe,
        observe_every_s=options.observe_every_s if observe_every_s is None else observe_every_s,
    )
    delivery = usual_delivery(physics) if delivery is None else delivery
    if isinstance(physics, MicrowaveAntenna):
        return MicrowaveModel(options, delivery, default_tissue)
    if isinstance(physics, RadiofrequencyElectrode):
        return RadiofrequencyModel(options, delivery, tissue=default_tissue)
    if isinstance(physics, LaserFibre):
        return LaserModel(options, delivery, default_tissue)
    return CryoModel(options, freezes, delivery, default_tissue)


def usual_delivery(physics: ApplicatorPhysics) -> Delivery:
    """How applicators of a kind deliver unless told: radiofrequency in turn at one generator, others together."""
    return Delivery.SEQUENTIAL if isinstance(physics, RadiofrequencyElectrode) else Delivery.SIMULTANEOUS


def even_freezes(total_s: float, count: int = 2, thaw_s: float = 300.0) -> FreezeProtocol:
    """Equal freezes with passive thaws between them that last ``total_s`` together.

    Two freezes are what the lethal isotherm is meant for (Gage and Baust, Cryobiology 1998;37:171).

    Raises:
        PhysicsError: the thaws leave no time to freeze.
    """
    freeze_s = (total_s - (count - 1) * thaw_s) / count
    if freeze_s <= 0:
        raise PhysicsError(
            f"{count} freezes with thaws of {thaw_s:g} s between them need more than {(count - 1) * thaw_s:g} s in "
            f"all, but {total_s:g} s were given"
        )
    return FreezeProtocol((freeze_s,) * count, (thaw_s,) * (count - 1))
