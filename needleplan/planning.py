"""The planning chain of one case: candidates, screening, ranking, coverage, plan. Nothing is read or written."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from needleplan import __version__
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import Assessment, assess
from needleplan.case.model import Severity
from needleplan.coverage.ablations import choose_ablations
from needleplan.coverage.contract import CoverageSolver, PathSelection
from needleplan.coverage.integer_program import IntegerProgramSolver
from needleplan.coverage.matrix import CoverageMatrix, CoverageOptions, build_coverage
from needleplan.plan import (
    CoverageProof,
    Evidence,
    Insertion,
    Metrics,
    Plan,
    PlanStatus,
    Provenance,
)
from needleplan.plan_evidence import (
    heated_evidence,
    judge_coverage,
    needles_evidence,
    radius_text,
    search_evidence,
    zone_size_evidence,
)
from needleplan.trajectory.constraints.placed_needle import PlacedNeedle
from needleplan.trajectory.contract import Reachability, TrajectoryConstraint
from needleplan.trajectory.explanation import explain_rejections
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.ranking import ObjectiveWeights, default_objectives
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits, default_constraints
from needleplan.trajectory.search import SearchOptions, SearchResolution, search_trajectories
from needleplan.trajectory.table import TrajectoryTable

#: Clearances in a plan are exact up to this distance from the needle's surface.
REPORTED_CLEARANCE_CAP_MM = 60.0


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
        coverage: margin, number of insertions, what is offered to the solver.
        seed: seed of every random draw of the chain.
    """

    applicator: str = "generic-mwa-2450"
    setting: str = "in_vivo"
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    search: SearchOptions = field(default_factory=lambda: SearchOptions(2, 0, 60_000, 50))
    limits: PathLimits = field(default_factory=PathLimits)
    weights: ObjectiveWeights = field(default_factory=ObjectiveWeights)
    coverage: CoverageOptions = field(default_factory=CoverageOptions)
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


def make_plan(
    queries: AnatomyQueries,
    options: PlanningOptions | None = None,
    *,
    zone_model: EllipsoidTableModel | None = None,
    solver: CoverageSolver | None = None,
    reachability: Reachability | None = None,
    placed: Sequence[PlacedNeedle] = (),
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
        timings_s: times of earlier stages, to be kept in the plan.
        progress: called with what is being done and the fraction done.

    Returns:
        The plan, whatever its status: an infeasible case gives a plan without insertions and with evidence.

    Raises:
        NeedleplanError: an option is impossible or the applicator is unknown.
    """
    options = options or PlanningOptions()
    zone_model = zone_model or EllipsoidTableModel(setting=options.setting)
    solver = solver or IntegerProgramSolver(options.coverage.time_limit_s)
    applicator = zone_model.catalogue.applicator(options.applicator)
    zone_model.table(applicator.name)
    watch = _Stopwatch(dict(timings_s or {}))
    with watch("search paths"):
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
    table = search.table
    if not table.feasible.any():
        evidence = (*explain_rejections(table, queries, constraints), search_evidence(search.resolution))
        plan = _assemble(
            queries, options, zone_model, table, PlanStatus.INFEASIBLE, evidence, (), None, None, watch.times_s
        )
        return Planning(plan, table, constraints, search.resolution, None, zone_model)
    with watch("build coverage"):
        matrix = build_coverage(table, queries, zone_model, options.coverage, progress)
    if not matrix.coverable.any():
        plan = _assemble(
            queries,
            options,
            zone_model,
            table,
            PlanStatus.INFEASIBLE,
            zone_size_evidence(matrix),
            (),
            None,
            None,
            watch.times_s,
        )
        return Planning(plan, table, constraints, search.resolution, None, zone_model)
    with watch("solve coverage"):
        selection = solver.solve(matrix, options.coverage.maximum_insertions)
        choice = choose_ablations(matrix, selection, options.coverage.time_limit_s)
    with watch("assess"):
        insertions = _in_puncture_order(_with_clearances(choice.insertions, table, queries))
        assessment = assess(queries, insertions, zone_model, options.coverage.margin_mm)
    proof = _proof(matrix, selection, len(insertions))
    status, evidence = judge_coverage(matrix, selection, assessment.metrics, options.coverage)
    evidence += (*needles_evidence(insertions, applicator, options.limits), search_evidence(search.resolution))
    evidence += heated_evidence(queries, zone_model.zone(insertions))
    plan = _assemble(
        queries, options, zone_model, table, status, evidence, insertions, assessment.metrics, proof, watch.times_s
    )
    return Planning(plan, table, constraints, search.resolution, assessment, zone_model)


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


def _with_clearances(
    insertions: tuple[Insertion, ...], table: TrajectoryTable, queries: AnatomyQueries
) -> list[Insertion]:
    """The insertions with the exact clearance of their final path to each obstacle."""
    entry = np.array([insertion.entry_mm for insertion in insertions])
    tip = np.array([insertion.tip_mm for insertion in insertions])
    paths = TrajectoryTable(table.applicator, entry, np.zeros_like(entry), tip, tip)
    measured = MeasuredPaths(paths, queries)
    columns = {
        surface.name: measured.clearance_mm(surface, REPORTED_CLEARANCE_CAP_MM)
        for surface in queries.anatomy.obstacles
    }
    return [
        dataclasses.replace(
            insertion, clearances_mm={name: round(float(values[k]), 3) for name, values in columns.items()}
        )
        for k, insertion in enumerate(insertions)
    ]


def _in_puncture_order(insertions: list[Insertion]) -> tuple[Insertion, ...]:
    """Deepest needle first: it is the hardest to place and the least forgiving once others have moved tissue."""
    order = sorted(range(len(insertions)), key=lambda k: (-round(insertions[k].depth_mm, 3), k))
    return tuple(dataclasses.replace(insertions[k], order=place) for place, k in enumerate(order, start=1))


def _proof(matrix: CoverageMatrix, selection: PathSelection, insertions: int) -> CoverageProof:
    coverable = int(matrix.coverable.sum())
    claim = (
        f"Of the {len(matrix.table)} paths offered, no choice of fewer than {selection.lower_bound:g} destroys all "
        f"{coverable} balls ({radius_text(matrix)} mm in radius) that any of them can destroy; they leave no gap "
        "in target plus margin. Nothing is claimed about paths that were not offered, nor about covers in which a "
        "ball is shared by two zones."
    )
    gap = max(0.0, (insertions - selection.lower_bound) / insertions) if insertions else 0.0
    return CoverageProof(
        selection.solver,
        selection.status,
        insertions,
        selection.lower_bound,
        gap,
        matrix.candidate_count,
        coverable,
        claim,
    )


def _assemble(
    queries: AnatomyQueries,
    options: PlanningOptions,
    zone_model: EllipsoidTableModel,
    table: TrajectoryTable,
    status: PlanStatus,
    evidence: tuple[Evidence, ...],
    insertions: tuple[Insertion, ...],
    metrics: Metrics | None,
    proof: CoverageProof | None,
    timings_s: dict[str, float],
) -> Plan:
    case = queries.anatomy.case
    settings = {**options.flat(), "tables": zone_model.catalogue.digest}
    notes = list(zone_model.notes_for(options.applicator))
    if case.entry_substitute is not None:
        notes.insert(0, case.entry_substitute.note)
    notes += [
        finding.message for finding in case.findings if finding.severity in (Severity.MENDED, Severity.WARNING)
    ]
    return Plan(
        case_name=case.name,
        case_hash=case.content_hash,
        status=status,
        evidence=evidence,
        insertions=insertions,
        metrics=metrics,
        rejected=table.rejected_by(),
        candidate_count=len(table),
        feasible_count=int(table.feasible.sum()),
        proof=proof,
        provenance=Provenance(
            __version__,
            settings,
            options.seed,
            dict(timings_s),
            tuple(notes),
        ),
    )
