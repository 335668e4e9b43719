"""The planning chain of one case: candidates, screening, ranking, coverage, plan. Nothing is read or written."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import Assessment, assess
from needleplan.coverage.ablations import AblationChoice
from needleplan.coverage.certificate import certify
from needleplan.coverage.contract import CoverageSolver
from needleplan.coverage.cover import Covering
from needleplan.coverage.insertion_choice import InsertionChooser
from needleplan.coverage.options import CoverageOptions, ThermalMargins
from needleplan.coverage.pair_limits import PULSE_MODALITIES, PairLimits
from needleplan.coverage.protection import protect
from needleplan.coverage.puncture_order import PunctureOrder, order_punctures
from needleplan.coverage.region import target_region
from needleplan.devices.catalogue import Applicator
from needleplan.errors import OptionError
from needleplan.plan import Insertion, Likelihood, Plan, PlanStatus
from needleplan.plan_clearances import with_clearances
from needleplan.plan_draft import PlanDraft
from needleplan.plan_evidence import (
    heated_evidence,
    judge_coverage,
    limits_evidence,
    order_evidence,
    organ_evidence,
    search_evidence,
    zone_size_evidence,
)
from needleplan.plan_physics import PhysicsPlanning, plan_with_physics
from needleplan.plan_robust import plan_robustly
from needleplan.trajectory.constraints.placed_needle import PlacedNeedle
from needleplan.trajectory.contract import Reachability, TrajectoryConstraint
from needleplan.trajectory.explanation import explain_rejections
from needleplan.trajectory.ranking import ObjectiveWeights, default_objectives
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits, default_constraints
from needleplan.trajectory.search import SearchOptions, SearchResolution, search_trajectories
from needleplan.trajectory.table import TrajectoryTable
from needleplan.uncertainty.likelihoods import ErrorOptions, likelihoods

ProgressCallback = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class PlanningOptions:
    """Everything that a plan depends on besides the case.

    Attributes:
        applicator: name of the applicator.
        setting: zone table to use, ``in_vivo`` or ``ex_vivo``.
        sampling: how densely candidate paths are laid out at first.
        search: how far they are refined where a path may hide and about the best. Aims stay as they are laid out:
            each of them widens the coverage problem.
        limits: limits of the hard constraints.
        weights: shares of the objectives.
        coverage: margin, number of insertions, goals, what is offered to the solver.
        thermal: distances that the lethal zone keeps from structures.
        refine: True where the chosen needles are moved continuously afterwards, to a larger margin and less healthy
            tissue.
        physics: the solver that the chosen insertions are run through together; None asks none.
        errors: what the likelihoods of success and harm are drawn from; None draws none.
        seed: seed of every random draw of the chain.
    """

    applicator: str = "generic-mwa-2450"
    setting: str = "in_vivo"
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    search: SearchOptions = field(default_factory=lambda: SearchOptions(2, 0, 60_000, 50))
    limits: PathLimits = field(default_factory=PathLimits)
    weights: ObjectiveWeights = field(default_factory=ObjectiveWeights)
    coverage: CoverageOptions = field(default_factory=CoverageOptions)
    thermal: ThermalMargins = field(default_factory=ThermalMargins)
    refine: bool = True
    physics: PhysicsPlanning | None = None
    errors: ErrorOptions | None = None
    seed: int = 0

    def flat(self) -> dict[str, float | int | str | bool | None]:
        """Every option by its full name, for the plan's provenance."""
        result: dict[str, float | int | str | bool | None] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                for inner in dataclasses.fields(value):
                    result[f"{item.name}.{inner.name}"] = getattr(value, inner.name)
            else:
                result[item.name] = value
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Planning:
    """A plan with what it was made from, for reports and further work.

    Attributes:
        plan: the plan.
        candidates: all candidate paths with their columns.
        constraints: what was demanded of them.
        resolution: which paths the search cannot have missed.
        assessment: score of the plan; None where it has no insertion.
        zone_model: the model that predicted the zones.
    """

    plan: Plan
    candidates: TrajectoryTable
    constraints: tuple[TrajectoryConstraint, ...]
    resolution: SearchResolution
    assessment: Assessment | None
    zone_model: EllipsoidTableModel


@dataclass(frozen=True, slots=True, eq=False)
class FoundPaths:
    """The paths of an applicator in a patient, which plans of any margin, power and number of needles share.

    Attributes:
        applicator: the applicator.
        constraints: what was demanded of them.
        table: all paths that were looked at, screened and ranked.
        resolution: which paths the search cannot have missed.
    """

    applicator: Applicator
    constraints: tuple[TrajectoryConstraint, ...]
    table: TrajectoryTable
    resolution: SearchResolution


def find_paths(
    queries: AnatomyQueries,
    options: PlanningOptions | None = None,
    *,
    zone_model: EllipsoidTableModel | None = None,
    reachability: Reachability | None = None,
    placed: Sequence[PlacedNeedle] = (),
    progress: ProgressCallback | None = None,
) -> FoundPaths:
    """The first half of ``make_plan``, which depends on applicator, setting, sampling, search, limits and weights.

    Args:
        queries: the anatomy.
        options: what to plan with; the defaults where None.
        zone_model: knows the applicator; the built-in tables where None.
        reachability: the robot's answer, if paths must be reachable.
        placed: needles that are in the patient already; the limits say what distance is kept from them.
        progress: called with what is being done and the fraction done.

    Raises:
        NeedleplanError: an option is impossible or the applicator is unknown.
    """
    options = options or PlanningOptions()
    zone_model = zone_model or EllipsoidTableModel(setting=options.setting)
    applicator = zone_model.catalogue.applicator(options.applicator)
    if applicator.modality in PULSE_MODALITIES:
        raise OptionError(
            f"{applicator.name} makes no zone alone: pulses need arrays of electrodes, which cover_by_arrays of "
            "needleplan.coverage.cover_by_arrays chooses"
        )
    zone_model.table(applicator.name)
    constraints = default_constraints(queries, options.limits, reachability, placed)
    search = search_trajectories(
        queries,
        applicator,
        constraints,
        default_objectives(queries, options.weights, reachability),
        options.sampling,
        options.search,
        progress=progress,
    )
    return FoundPaths(applicator, constraints, search.table, search.resolution)


def make_plan(
    queries: AnatomyQueries,
    options: PlanningOptions | None = None,
    *,
    zone_model: EllipsoidTableModel | None = None,
    solver: CoverageSolver | None = None,
    reachability: Reachability | None = None,
    placed: Sequence[PlacedNeedle] = (),
    paths: FoundPaths | None = None,
    timings_s: dict[str, float] | None = None,
    progress: ProgressCallback | None = None,
) -> Planning:
    """Plan a case.

    Args:
        queries: the anatomy.
        options: what to plan with; the defaults where None.
        zone_model: predicts zones; the built-in tables where None.
        solver: chooses the paths; HiGHS where None.
        reachability: the robot's answer, if paths must be reachable.
        placed: needles that are in the patient already; the limits say what distance is kept from them.
        paths: of ``find_paths`` with the same options, reachability and placed needles; found here where None.
        timings_s: times of earlier stages, to be kept in the plan.
        progress: called with what is being done and the fraction done.

    Returns:
        The plan, whatever its status: an infeasible case gives a plan without insertions and with evidence.

    Raises:
        NeedleplanError: an option is impossible or the applicator is unknown.
    """
    options = options or PlanningOptions()
    zone_model = zone_model or EllipsoidTableModel(setting=options.setting)
    if paths is not None and paths.applicator != zone_model.catalogue.applicator(options.applicator):
        raise OptionError(
            f"the paths that were found are those of {paths.applicator.name}, not {options.applicator}"
        )
    watch = _Stopwatch(dict(timings_s or {}))
    if paths is None:
        with watch("search paths"):
            paths = find_paths(
                queries,
                options,
                zone_model=zone_model,
                reachability=reachability,
                placed=placed,
                progress=progress,
            )
    applicator, constraints, table, resolution = paths.applicator, paths.constraints, paths.table, paths.resolution
    draft = PlanDraft(queries, options.flat(), options.seed, zone_model, table, watch.times_s)
    if not table.feasible.any():
        evidence = (*explain_rejections(table, queries, constraints), search_evidence(resolution))
        return Planning(draft.infeasible(evidence), table, constraints, resolution, None, zone_model)
    protection = protect(queries, options.thermal)
    pairs = PairLimits.for_applicator(applicator, options.limits)
    chooser = InsertionChooser(
        queries,
        zone_model,
        options.coverage,
        options.refine,
        options.physics is None,
        table,
        constraints,
        protection,
        pairs,
        solver,
        progress,
    )
    with watch("cover the target"):
        coverage = options.coverage
        region = target_region(queries, coverage.margin_mm, coverage.point_count)
        covering = chooser.cover(region, with_bound=True)
    if not covering.insertions:
        plan = draft.infeasible((*zone_size_evidence(covering.matrix), *limits_evidence(covering, protection)))
        return Planning(plan, table, constraints, resolution, None, zone_model)
    with watch("refine"):
        insertions, notes, covering = chooser.moved(covering)
        covering = _as_chosen(covering, insertions)
        moved = insertions
    if options.errors is not None:
        with watch("robustness"):
            insertions, price = plan_robustly(
                queries, zone_model, options.errors, insertions, chooser.deeper, options.seed
            )
            notes += price
    verdict = None
    if options.physics is not None:
        asked = insertions
        with watch("physics"):
            verdict, insertions, found = plan_with_physics(
                queries,
                options.physics,
                zone_model,
                options.coverage.margin_mm,
                region,
                insertions,
                chooser.again,
                progress,
                protection,
            )
            notes = found if asked != insertions else notes + found
    if insertions != moved:
        # What was said of the goals belongs to the plan before it was asked for more.
        choice = AblationChoice(insertions, (), covering.choice.healthy_limit_kept)
        covering = dataclasses.replace(covering, choice=choice)
    with watch("assess"):
        order = _puncture_order(insertions, applicator, pairs, options.coverage.needles_at_once)
        insertions = order.applied(with_clearances(insertions, table.applicator, queries))
        told = order_evidence(insertions, order, applicator, pairs)
        assessment = assess(queries, insertions, zone_model, options.coverage.margin_mm)
        zone = zone_model.zone(insertions)
        certificate = certify(queries, zone, options.coverage.margin_mm)
    status, evidence = judge_coverage(covering, assessment.metrics, options.coverage, certificate)
    evidence += limits_evidence(covering, protection)
    organ, enough = organ_evidence(queries, zone, options.coverage)
    evidence += organ
    if not enough:
        status = PlanStatus.PARTIAL
    evidence += (*notes, *told, search_evidence(resolution), *heated_evidence(queries, zone))
    chances: tuple[Likelihood, ...] = ()
    if options.errors is not None:
        with watch("errors"):
            chances = likelihoods(
                queries, insertions, zone_model, options.errors, options.coverage.margin_mm, options.seed
            )
    plan = draft.finished(
        status, evidence, insertions, assessment.metrics, covering, certificate.sentence, verdict, chances
    )
    return Planning(plan, table, constraints, resolution, assessment, zone_model)


class _Stopwatch:
    """Wall times of named stages."""

    def __init__(self, times_s: dict[str, float]) -> None:
        self.times_s = times_s
        self._name = ""
        self._start = 0.0

    def __call__(self, name: str) -> "_Stopwatch":
        self._name = name
        return self

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.times_s[self._name] = round(time.perf_counter() - self._start, 4)


def _as_chosen(covering: Covering, insertions: tuple[Insertion, ...]) -> Covering:
    """The choice, its goals marked as those of the choice where needles were moved afterwards."""
    if insertions == covering.choice.insertions:
        return covering
    levels = tuple(
        dataclasses.replace(level, problem=f"as chosen, before needles and settings were moved; {level.problem}")
        for level in covering.choice.levels
    )
    return dataclasses.replace(covering, choice=dataclasses.replace(covering.choice, levels=levels))


def _puncture_order(
    insertions: Sequence[Insertion], applicator: Applicator, pairs: PairLimits, at_once: int | None
) -> PunctureOrder:
    """The order of all needles at once; where there is none, in as few groups as can stand together."""
    order = order_punctures(insertions, applicator, pairs, maximum_at_once=at_once)
    if order.exists or at_once is not None:
        return order
    return order_punctures(insertions, applicator, pairs, maximum_at_once=max(1, len(insertions) - 1))
