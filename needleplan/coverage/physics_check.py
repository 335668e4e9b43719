"""Chosen insertions held against the physics of the patient: what a planning model overstates, where and why."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import ZoneModel, ZonePrediction
from needleplan.ablation.cryoablation import FreezeProtocol
from needleplan.ablation.heating import Delivery
from needleplan.ablation.model_choice import solver_for
from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.ablation.tissue_map import TissueMap
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import assess_zone
from needleplan.coverage.vessels_beside import REACH_MM, VesselsBeside
from needleplan.devices.applicator_physics import (
    CryoProbe,
    LaserFibre,
    PulseElectrode,
    applicator_physics,
)
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only
from needleplan.percentages import percent_down
from needleplan.plan import Insertion, Metrics

#: Voxels of a check unless others are asked for: a third of the cost of 1.5 mm.
_SPACING_MM = 2.0
#: Depths further outside a zone than this (nothing destroyed at all) count as this.
_FARTHEST_MM = 100.0
#: Places that are told of, and how far apart they lie.
_PLACES, _APART_MM = 3, 10.0


@dataclass(frozen=True, slots=True)
class PhysicsOptions:
    """How chosen insertions are checked and corrected.

    Attributes:
        spacing_mm: side of the solver's voxels; where None 2 mm, and the solver's own for light and pulses.
        reach_mm: room about the active parts; the solver's own where None.
        perfusion_factor: on every tissue's perfusion.
        delivery: how the ablations of one plan follow one another. Where None one after the other, as tables
            understand them and one generator delivers them; cryoprobes together.
        rounds: plans that are made and checked, the first among them.
        spread_mm: a correction acts on all balls within this distance of the one that fell short.
        greatest_extra_mm: no ball is asked to lie deeper than this beyond its radius.
        cuff_mm: tissue nearer than this to an open vessel is told of where it stays alive, but no correction is
            made for it: however much was delivered, the microwave solver kept a cuff of 1 to 2 mm about a vein.
    """

    spacing_mm: float | None = None
    reach_mm: float | None = None
    perfusion_factor: float = 1.0
    delivery: Delivery | None = None
    rounds: int = 3
    spread_mm: float = 4.0
    greatest_extra_mm: float = 8.0
    cuff_mm: float = 2.0

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise OptionError(f"at least one plan must be made and checked, not {self.rounds}")
        if not (0.0 <= self.spread_mm <= 50.0 and 0.0 < self.greatest_extra_mm <= 50.0):
            raise OptionError(
                "a correction spreads over 0 to 50 mm and asks for up to 50 mm of depth, not "
                f"{self.spread_mm:g} and {self.greatest_extra_mm:g} mm"
            )
        if not 0.0 <= self.cuff_mm <= REACH_MM:
            raise OptionError(f"the cuff about vessels must be 0 to {REACH_MM:g} mm wide, not {self.cuff_mm:g}")


def physics_model(
    applicator: str,
    options: PhysicsOptions,
    tissue: str = "liver",
    freezes: FreezeProtocol | None = None,
    pulses: PulseProtocol | None = None,
) -> ZoneModel:
    """The solver that checks plans of an applicator.

    Args:
        applicator: name of the applicator.
        options: resolution, perfusion and delivery.
        tissue: name of the tissue where no map of the patient is given.
        freezes: as of ``solver_for``.
        pulses: as of ``solver_for``.

    Raises:
        DeviceError: as of ``solver_for``.
        PhysicsError: as of ``solver_for``.
    """
    physics = applicator_physics(applicator)
    spacing_mm, delivery = options.spacing_mm, options.delivery
    if spacing_mm is None and not isinstance(physics, LaserFibre | PulseElectrode):
        spacing_mm = _SPACING_MM
    if delivery is None and not isinstance(physics, CryoProbe | PulseElectrode):
        delivery = Delivery.SEQUENTIAL
    return solver_for(
        applicator,
        spacing_mm=spacing_mm,
        reach_mm=options.reach_mm,
        perfusion_factor=options.perfusion_factor,
        delivery=delivery,
        default_tissue=tissue,
        freezes=freezes,
        pulses=pulses,
    )


@dataclass(frozen=True, slots=True, eq=False)
class PhysicsCheck:
    """What the physics says of a plan.

    Attributes:
        insertions: of the plan.
        planning_name, physics_name: names of both models.
        prediction: of the physics model, all insertions together with vessels.
        planned: figures by the planning model.
        found: the same figures by the physics model.
        points_mm: (n, 3) centres of the balls that must lie in the lethal zone.
        radius_mm: (n,) their radii.
        planned_depth_mm: (n,) signed depth of each centre in the planning model's zone.
        depth_mm: (n,) the same in the zone of the physics model.
        vessels: distances of the balls to the open vessels.
        seconds: time that the check took.
    """

    insertions: tuple[Insertion, ...]
    planning_name: str
    physics_name: str
    prediction: ZonePrediction
    planned: Metrics
    found: Metrics
    points_mm: FloatArray
    radius_mm: FloatArray
    planned_depth_mm: FloatArray
    depth_mm: FloatArray
    vessels: VesselsBeside
    seconds: float

    def __post_init__(self) -> None:
        for name in ("points_mm", "radius_mm", "planned_depth_mm", "depth_mm"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def in_blood(self) -> NDArray[np.bool_]:
        """(n,) True for balls that reach into an open vessel, whose blood no heat or cold destroys."""
        return np.asarray(self.vessels.distance_mm <= self.radius_mm)

    @property
    def fails(self) -> NDArray[np.bool_]:
        """(n,) True for balls of tissue that do not lie wholly in the zone of the physics model."""
        return np.asarray((self.depth_mm < self.radius_mm) & ~self.in_blood)

    @property
    def covered(self) -> bool:
        """Whether every ball that does not reach into blood lies in the zone of the physics model."""
        return not self.fails.any()

    @property
    def shortfall_mm(self) -> FloatArray:
        """(n,) how much deeper the planning model has a ball than the physics; zero where the physics suffices."""
        return read_only(np.where(self.fails, np.maximum(self.planned_depth_mm - self.depth_mm, 0.0), 0.0))

    @property
    def missing_mm(self) -> float:
        """By how much the ball of tissue that is worst covered misses the zone of the physics; zero if covered."""
        return float(np.where(self.fails, self.radius_mm - self.depth_mm, 0.0).max(initial=0.0))

    @property
    def sentences(self) -> tuple[str, ...]:
        """Coverage by both models, then the worst places with the vessels beside them."""
        return (_figures(self), *_blood(self), *_places(self))


def check_physics(
    insertions: Sequence[Insertion],
    queries: AnatomyQueries,
    points_mm: ArrayLike,
    radius_mm: ArrayLike,
    planning_model: ZoneModel,
    physics: ZoneModel,
    tissue: TissueMap,
    margin_mm: float,
    vessels: VesselsBeside | None = None,
) -> PhysicsCheck:
    """Run all insertions of a plan together through the physics, with the patient's tissues and vessels.

    Args:
        insertions: at least one, with ablations.
        queries: the anatomy.
        points_mm: centres (n, 3) of the balls that must lie in the lethal zone, patient LPS.
        radius_mm: (n,) their radii.
        planning_model: predicted the zones that the plan was made with.
        physics: the model that is believed (``physics_model``).
        tissue: of the patient (``patient_tissue``).
        margin_mm: margin asked for about the target.
        vessels: beside the balls, where they were looked for before.

    Raises:
        OptionError: there is no ablation to check, or points and radii do not fit each other.
        DeviceError: the physics does not know an applicator or a setting.
        PhysicsError: the physics cannot compute the arrangement.
    """
    began = time.perf_counter()
    if not any(insertion.ablations for insertion in insertions):
        raise OptionError("there is no ablation to check: the insertions deliver no energy")
    points, radii = checked_balls(points_mm, radius_mm)
    planned = planning_model.zone(insertions, tissue)
    prediction = physics.predict(insertions, tissue)
    return PhysicsCheck(
        insertions=tuple(insertions),
        planning_name=planning_model.name,
        physics_name=physics.name,
        prediction=prediction,
        planned=assess_zone(queries, planned, margin_mm).metrics,
        found=assess_zone(queries, prediction.zone, margin_mm).metrics,
        points_mm=points,
        radius_mm=radii,
        planned_depth_mm=np.maximum(planned.signed_distance_mm(points), -_FARTHEST_MM),
        depth_mm=np.maximum(prediction.zone.signed_distance_mm(points), -_FARTHEST_MM),
        vessels=vessels or VesselsBeside.of(tissue, points),
        seconds=time.perf_counter() - began,
    )


def checked_balls(points_mm: ArrayLike, radius_mm: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Centres (n, 3) and radii (n,) of balls; raises OptionError where they do not fit each other or are none."""
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    radii = np.asarray(radius_mm, dtype=np.float64)
    if not len(points) or radii.shape != (len(points),):
        raise OptionError(
            f"a radius is needed for each of one or more balls, but there are {radii.size} for {len(points)}"
        )
    return points, radii


def _figures(check: PhysicsCheck) -> str:
    planned, found = check.planned, check.found
    asked = int((~check.in_blood).sum())
    verdict = (
        f"all {asked} balls of tissue lie in the zone"
        if check.covered
        else f"{int(check.fails.sum())} of {asked} balls of tissue are not wholly in the zone, the worst by "
        f"{check.missing_mm:.1f} mm"
    )
    return (
        f"By {check.planning_name} {percent_down(planned.target_coverage_fraction)} of the target and "
        f"{percent_down(planned.margin_coverage_fraction)} of it with {planned.margin_mm:g} mm margin are covered, "
        f"least margin {planned.minimal_margin_mm:.1f} mm; by {check.physics_name} "
        f"{percent_down(found.target_coverage_fraction)} and {percent_down(found.margin_coverage_fraction)}, least "
        f"margin {found.minimal_margin_mm:.1f} mm: {verdict}."
    )


def _blood(check: PhysicsCheck) -> tuple[str, ...]:
    if not check.in_blood.any():
        return ()
    names = dict.fromkeys(check.vessels.names[k] for k in check.vessels.nearest[check.in_blood].tolist())
    return (
        f"{int(check.in_blood.sum())} balls reach into flowing blood ({', '.join(names)}), which stays alive: they "
        "are not asked for.",
    )


def _places(check: PhysicsCheck) -> tuple[str, ...]:
    """A sentence for each of the worst places, those where the ball lies farthest out of the zone."""
    missing = np.where(check.fails, check.radius_mm - check.depth_mm, -np.inf)
    left = check.fails.copy()
    found: list[str] = []
    while left.any() and len(found) < _PLACES:
        worst = int(np.argmax(np.where(left, missing, -np.inf)))
        x, y, z = (round(float(value)) for value in check.points_mm[worst])
        less = check.planned_depth_mm[worst] - check.depth_mm[worst]
        against = (
            f"which is {less:.1f} mm less far than the planning model has it"
            if less > 0
            else "which the planning model has no better"
        )
        found.append(
            f"At ({x}, {y}, {z}) the zone ends {missing[worst]:.1f} mm short, {against}; "
            f"{check.vessels.words(worst)}."
        )
        left &= np.linalg.norm(check.points_mm - check.points_mm[worst], axis=1) > _APART_MM
    return tuple(found)
