"""What every model that heats or freezes does before the energy flows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from needleplan.ablation.criteria import CriterionBand
from needleplan.ablation.heating import Delivery, HeatCourse, HeatOptions
from needleplan.ablation.needle_contact import NeedlePart
from needleplan.ablation.schedule import placement_notes
from needleplan.ablation.solver_domain import solver_domain
from needleplan.ablation.tissue_map import TissueMap
from needleplan.devices.applicator_physics import applicator_physics
from needleplan.errors import DeviceError
from needleplan.plan import Insertion

Physics = TypeVar("Physics")


def physics_by_name(insertions: Sequence[Insertion], kind: type[Physics], what: str) -> dict[str, Physics]:
    """Physics of the applicators of insertions, by name.

    Args:
        insertions: with their applicators.
        kind: class that the model needs.
        what: the same in words, for instance "microwave antenna".

    Raises:
        DeviceError: an applicator is unknown or of another kind.
    """
    found: dict[str, Physics] = {}
    for name in dict.fromkeys(insertion.applicator for insertion in insertions):
        physics = applicator_physics(name)
        if not isinstance(physics, kind):
            raise DeviceError(f"applicator {name!r} is no {what}, which this model needs")
        found[name] = physics
    return found


def refuse_switching(delivery: Delivery, what: str) -> None:
    """Raises DeviceError where applicators that know no turns, ``what`` in words, are to be switched."""
    if delivery is Delivery.SWITCHED:
        raise DeviceError(f"{what} are not switched: choose sequential or simultaneous")


def prepared_course(
    insertions: Sequence[Insertion],
    parts: Iterable[NeedlePart],
    active_length_mm: Mapping[str, float],
    tissue: TissueMap,
    options: HeatOptions,
    criteria: CriterionBand,
    *,
    freezing: bool = False,
) -> HeatCourse:
    """A course in a domain about the active parts of all needles, with notes on where they lie.

    Args:
        insertions: the needles.
        parts: their active parts at every ablation, at least one.
        active_length_mm: by applicator, from the tip backwards.
        tissue: where which tissue is.
        options: how to compute.
        criteria: what counts as dead unless the options say otherwise.
        freezing: True where tissue may freeze.

    Raises:
        PhysicsError: the domain would be too large, or a needle lies where none can.
    """
    domain = solver_domain(
        list(parts), tissue, options.spacing_mm, options.reach_mm, options.least_vessel_diameter_mm
    )
    course = HeatCourse(domain, tissue, options, criteria, freezing=freezing)
    course.notes += placement_notes(insertions, active_length_mm)
    return course
