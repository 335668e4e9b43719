"""The chosen insertions run through a solver, and chosen again where it says that they fall short."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from needleplan.ablation.contract import LethalZone, ZoneModel
from needleplan.ablation.cryoablation import FreezeProtocol
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.model_choice import even_freezes
from needleplan.ablation.patient_tissue import patient_tissue
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.physics_check import PhysicsOptions, physics_model
from needleplan.coverage.physics_loop import PhysicsLoop, close_the_loop
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import TargetRegion
from needleplan.devices.applicator_physics import CryoProbe, applicator_physics
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, OptionError, PhysicsError
from needleplan.frames import FloatArray
from needleplan.percentages import percent_down
from needleplan.plan import Evidence, Insertion, PhysicsVerdict

#: Depths of the same zone may differ by this.
_ROUNDING_MM = 1e-6


@dataclass(frozen=True, slots=True)
class PhysicsPlanning:
    """How a plan is checked and corrected by physics.

    Attributes:
        tumour: tissue of the target, a name of the tissue table.
        spacing_mm: side of the solver's voxels; the solver's own choice where None.
        perfusion_factor: on every tissue's perfusion.
        rounds: plans that are made and checked, the first among them.
    """

    tumour: str = "HCC"
    spacing_mm: float | None = None
    perfusion_factor: float = 1.0
    rounds: int = 3

    def __post_init__(self) -> None:
        builtin_tissues().tissue(self.tumour)
        PhysicsOptions(rounds=self.rounds)
        if self.spacing_mm is not None and not 0.2 <= self.spacing_mm <= 5.0:
            raise OptionError(f"voxels of the physics must have 0.2 to 5 mm, not {self.spacing_mm:g}")
        if not 0.0 <= self.perfusion_factor <= 10.0:
            raise OptionError(f"the factor of the perfusion must be 0 to 10, not {self.perfusion_factor:g}")


def plan_with_physics(
    queries: AnatomyQueries,
    options: PhysicsPlanning,
    zone_model: ZoneModel,
    margin_mm: float,
    region: TargetRegion,
    insertions: tuple[Insertion, ...],
    again: Callable[[TargetRegion, FloatArray], tuple[Insertion, ...] | None],
    progress: Callable[[str, float], None] | None = None,
    protection: Protection | None = None,
) -> tuple[PhysicsVerdict | None, tuple[Insertion, ...], tuple[Evidence, ...]]:
    """(what the physics says of the best plan, that plan, evidence).

    Args:
        queries: the anatomy.
        options: resolution and rounds.
        zone_model: predicted the zones of the plan.
        margin_mm: margin asked for.
        region: what must be covered.
        insertions: the plan so far.
        again: chooses insertions that hold each ball of a region by so much more, or by a share of it; None where
            no choice does.
        progress: called with what is being done and the fraction done.
        protection: structures that the zone of the physics is held against as well.
    """
    check = PhysicsOptions(
        spacing_mm=options.spacing_mm, perfusion_factor=options.perfusion_factor, rounds=options.rounds
    )

    # A plan that was moved covers the solid by its certificate, but need not hold each ball as a whole: physics
    # must
    # hold it as deep as the plan does.
    depth_mm = zone_model.zone(insertions).signed_distance_mm(region.points_mm)
    radius_mm = np.clip(depth_mm - _ROUNDING_MM, 0.0, region.radius_mm)

    def plan_once(extra_mm: FloatArray | None) -> tuple[Insertion, ...] | None:
        return insertions if extra_mm is None else again(region, extra_mm)

    try:
        physics = physics_model(insertions[0].applicator, check, freezes=_freezes(insertions, zone_model))
        tissue = patient_tissue(queries, options.tumour)
        loop = close_the_loop(
            plan_once,
            queries,
            region.points_mm,
            radius_mm,
            zone_model,
            physics,
            tissue,
            margin_mm,
            check,
            progress,
        )
    except (DeviceError, PhysicsError) as error:
        evidence = Evidence("physics", f"No solver could check this plan: {error}.", "Judge the zones by hand.")
        return None, insertions, (evidence,)
    verdict = _verdict(loop)
    if verdict is None:
        return None, insertions, ()
    told = () if verdict.covered else (_shortfall(loop, verdict),)
    assert loop.check is not None
    return verdict, loop.insertions, (*told, *_harmed(loop.check.prediction.zone, protection))


def _harmed(zone: LethalZone, protection: Protection | None) -> tuple[Evidence, ...]:
    """Structures whose thermal margin the solver's zone does not keep."""
    told = []
    for structure in () if protection is None else protection.structures:
        slack_mm = structure.slack_mm(zone) + structure.spacing_mm
        if slack_mm < 0:
            told.append(
                Evidence(
                    structure.name,
                    f"The zone of the physics comes {-slack_mm:.1f} mm nearer to it than its thermal margin of "
                    f"{structure.margin_mm:g} mm, which the zones of the table keep.",
                    "Ask for a larger thermal margin, less power or time, or hydrodissection.",
                )
            )
    return tuple(told)


def _freezes(insertions: tuple[Insertion, ...], zone_model: ZoneModel) -> FreezeProtocol | None:
    """The freezes that a computed table of cryoprobes means by a duration: two equal ones and a thaw between.

    None for other energy, and for tables that mean each freeze, as those of vendors do.
    """
    name = insertions[0].applicator
    if not isinstance(applicator_physics(name), CryoProbe) or not isinstance(zone_model, EllipsoidTableModel):
        return None
    if any(row.provenance != "COMPUTED" for row in zone_model.table(name).rows):
        return None
    return even_freezes(max(ablation.duration_s for one in insertions for ablation in one.ablations))


def _verdict(loop: PhysicsLoop) -> PhysicsVerdict | None:
    check = loop.check
    if check is None:
        return None
    return PhysicsVerdict(
        check.physics_name,
        check.prediction.criterion,
        check.found,
        check.covered,
        len(loop.rounds),
        tuple(loop.sentences) + tuple(check.prediction.notes),
    )


def _shortfall(loop: PhysicsLoop, verdict: PhysicsVerdict) -> Evidence:
    metrics = verdict.metrics
    return Evidence(
        "physics",
        f"By {verdict.model} {percent_down(metrics.target_coverage_fraction)} of the target and "
        f"{percent_down(metrics.margin_coverage_fraction)} of target plus margin are destroyed, the least margin "
        f"is {metrics.minimal_margin_mm:.1f} mm. {loop.reason}",
        "Ask for a larger margin, an applicator with more power, or blocked flow in the vessels beside the target.",
    )
