"""Many rehearsals of one plan: every strategy against the same breaths, first moments and placement errors."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from needleplan.ablation.contract import ZoneModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import assess
from needleplan.devices.catalogue import DeviceCatalogue
from needleplan.errors import OptionError
from needleplan.motion.contract import RespiratoryMotion
from needleplan.outcome import RehearsalRun
from needleplan.plan import Plan
from robots.frames import PatientPlacement
from robots.model import RobotModel
from robots.route import RobotRoute
from sim.options import RehearsalOptions
from sim.patient import PatientSurfaces
from sim.rehearse import run_rehearsal
from sim.strategies import strategy_name
from sim.worker_processes import require_jobs, spread_work, usable_cores

#: A rehearsal takes seconds; one that takes so long hangs.
LIMIT_S = 900.0
#: More runs than this are a slip of the keyboard.
MAXIMUM_RUNS = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class RehearsalTask:
    """What all rehearsals of a plan have in common.

    Attributes:
        plan: its insertions.
        route: how the arm carries them out.
        robot: the arm.
        placement: how the patient lies.
        queries: the anatomy.
        patient: the moving surfaces, of ``prepare_patient``, whose table holds the breathing of every run.
        zone_model: predicts the zones of the executed insertions.
        catalogue: knows the plan's applicators; the built-in one where None.
    """

    plan: Plan
    route: RobotRoute
    robot: RobotModel
    placement: PatientPlacement
    queries: AnatomyQueries
    patient: PatientSurfaces
    zone_model: ZoneModel
    catalogue: DeviceCatalogue | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """One rehearsal."""

    run: int
    seed: int
    motion: RespiratoryMotion
    options: RehearsalOptions

    @property
    def name(self) -> str:
        return f"run {self.run} with {strategy_name(self.options.strategy)}"


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Rehearses an item and scores what was executed."""

    task: RehearsalTask

    def __call__(self, item: _Item) -> RehearsalRun:
        task = self.task
        outcome = run_rehearsal(
            task.plan, task.route, task.queries.anatomy, item.motion, item.seed, robot=task.robot,
            placement=task.placement, options=item.options, patient=task.patient, queries=task.queries,
            catalogue=task.catalogue,
        ).outcome  # fmt: skip
        metrics = None
        if task.plan.metrics is not None and any(insertion.ablations for insertion in outcome.insertions):
            margin_mm = task.plan.metrics.margin_mm
            metrics = assess(task.queries, outcome.insertions, task.zone_model, margin_mm).metrics
        return RehearsalRun.of(outcome, item.run, metrics)


def rehearse_many(
    task: RehearsalTask,
    motion_of: Callable[[int], RespiratoryMotion],
    options: Sequence[RehearsalOptions],
    *,
    runs: int = 100,
    seed: int = 0,
    jobs: int | None = None,
    limit_s: float = LIMIT_S,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[RehearsalRun, ...]:
    """Rehearse a plan many times with each strategy.

    Run k has the seed ``seed + k - 1``, from which the first moment in the breath and the placement errors are
    drawn, and the breathing ``motion_of`` that seed, whatever the strategy: strategies are compared on the same
    patients. The same seed gives the same runs, bit by bit, whatever the number of processes.

    Args:
        task: plan, robot, patient.
        motion_of: the breathing for a seed.
        options: one for each strategy; windows and the arm's clearance are left out of all.
        runs: number of runs of each strategy.
        seed: of the first run.
        jobs: number of processes; as many as there are cores where None.
        limit_s: a rehearsal that takes longer counts as hung.
        progress: called with the rehearsal that was finished and the share of all that are.

    Returns:
        The runs of the first strategy in their order, then those of the next.

    Raises:
        OptionError: no or two equal strategies, no insertion, or an impossible number.
        NeedleplanError: a rehearsal failed, died or hung.
    """
    names = [strategy_name(chosen.strategy) for chosen in options]
    if not names or len(set(names)) < len(names):
        raise OptionError(f"many rehearsals need strategies, each named once, not {', '.join(names) or 'none'}")
    require_counts(runs, jobs)
    if seed < 0:
        raise OptionError(f"a seed must be zero or greater, not {seed}")
    if not task.plan.insertions:
        raise OptionError("the plan holds no insertion, so there is nothing to rehearse")
    motions = [motion_of(seed + k) for k in range(runs)]
    # Search structures that were used hold scenes that cannot be sent; each worker fills its own.
    task = dataclasses.replace(task, queries=AnatomyQueries(task.queries.anatomy))
    quick = [dataclasses.replace(chosen, check_clearance=False, display=False) for chosen in options]
    items = [_Item(k + 1, seed + k, motions[k], chosen) for chosen in quick for k in range(runs)]
    return spread_work(
        _Work(task), items, name_of=_name, jobs=usable_cores() if jobs is None else jobs, limit_s=limit_s,
        progress=progress,
    )  # fmt: skip


def require_counts(runs: int, jobs: int | None) -> None:
    """Raises OptionError where the number of runs or of processes is impossible."""
    if not 1 <= runs <= MAXIMUM_RUNS:
        raise OptionError(f"the number of runs must lie between 1 and {MAXIMUM_RUNS}, not {runs}")
    if jobs is not None:
        require_jobs(jobs)


def _name(item: _Item) -> str:
    return item.name
