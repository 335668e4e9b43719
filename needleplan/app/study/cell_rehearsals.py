"""What a robot and rehearsals make of a cell's plan, in figures."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.breathing_options import Breathing as DrawnBreathing
from needleplan.app.breathing_options import BreathingAxes
from needleplan.app.pipeline import RobotPlan, plan_robot, rehearse_plan
from needleplan.app.study.robot_content import require_robot
from needleplan.app.study.study import Cell, Effort
from needleplan.assess import assess
from needleplan.case.model import Role
from needleplan.motion.lujan import LujanMotion
from needleplan.outcome import RehearsalRun
from needleplan.plan import Plan
from sim.needle import PlacementNoise
from sim.options import RehearsalOptions
from sim.patient import PatientSurfaces
from sim.rehearse import prepare_patient
from sim.strategies import make_strategy

if TYPE_CHECKING:
    from needleplan.app.study.cell_work import Stages

#: Time for which the greatest amplitude of an irregular breath is looked for.
_LOOKED_AT_S = 600.0


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """Figures of robot and rehearsals; all None where neither was asked for.

    Attributes:
        reached: insertions that the robot reaches.
        robot_s: time of its motion.
        runs: rehearsals that were made.
        procedure_s: mean time of a rehearsal and of the plan's energy together.
        tip_error_mm: mean distance of the tips from the plan.
        largest_tip_error_mm: greatest of them.
        rehearsed_coverage_fraction: mean share of the target in the zones of the executed needles.
        rehearsed_margin_fraction: mean share of target plus margin.
        rehearsed_minimal_margin_mm: mean least margin.
        structures_punctured: structures but organ and target that were punctured, counted over all runs.
    """

    reached: int | None = None
    robot_s: float | None = None
    runs: int | None = None
    procedure_s: float | None = None
    tip_error_mm: float | None = None
    largest_tip_error_mm: float | None = None
    rehearsed_coverage_fraction: float | None = None
    rehearsed_margin_fraction: float | None = None
    rehearsed_minimal_margin_mm: float | None = None
    structures_punctured: int | None = None


def carry_out(plan: Plan, anatomy: Anatomy, cell: Cell) -> RobotPlan:
    """Where the robot stands for a plan, and its routes; the default robot where a cell names none.

    Raises:
        OptionError: the files of the robot are not those that the study was begun with.
    """
    require_robot(cell)
    return plan_robot(plan, anatomy, cell.robot)


def rehearse_cell(
    robot_plan: RobotPlan,
    plan: Plan,
    zone_model: EllipsoidTableModel,
    queries: AnatomyQueries,
    cell: Cell,
    effort: Effort,
    seed: int,
    stages: "Stages",
) -> CarriedOut:
    """The robot's figures, and those of as many rehearsals as the effort says where the cell has a strategy.

    Run k has the seed ``seed + k - 1``, from which breathing, first moment and placement errors are drawn, whatever
    the strategy.
    """
    routes = [route for route in robot_plan.base.route.insertions if route.reached]
    carried = CarriedOut(
        reached=len(routes), robot_s=float(sum(s.duration_s for route in routes for s in route.segments))
    )
    if cell.strategy is None:
        return carried
    if not routes:
        return dataclasses.replace(carried, runs=0)
    anatomy, breath = queries.anatomy, cell.breathing
    axes = BreathingAxes.of(anatomy.case)
    base = LujanMotion(peak_mm=breath.peak_mm, period_s=breath.period_s, direction=axes.inhalation)
    drawn = DrawnBreathing(base, axes, breath.irregular)
    motions = [drawn.motion(seed + k) for k in range(effort.runs)]
    options = RehearsalOptions(
        strategy=make_strategy(cell.strategy),
        noise=PlacementNoise.published(),
        check_clearance=False,
        display=False,
    )
    widest = max(motions, key=lambda motion: motion.amplitude_mm(min(motion.span_s, _LOOKED_AT_S)))
    patient: PatientSurfaces = stages.get("patient", breath, lambda: prepare_patient(anatomy, widest, options))
    runs = []
    for k, motion in enumerate(motions):
        outcome = rehearse_plan(
            plan, robot_plan, anatomy, motion, seed=seed + k, options=options, patient=patient, queries=queries,
            catalogue=zone_model.catalogue,
        ).outcome  # fmt: skip
        metrics = None
        if any(insertion.ablations for insertion in outcome.insertions):
            metrics = assess(queries, outcome.insertions, zone_model, cell.margin_mm).metrics
        runs.append(RehearsalRun.of(outcome, k + 1, metrics))
    return _figures(carried, runs, plan, anatomy)


def _figures(carried: CarriedOut, runs: list[RehearsalRun], plan: Plan, anatomy: Anatomy) -> CarriedOut:
    energy_s = sum(ablation.duration_s for insertion in plan.insertions for ablation in insertion.ablations)
    errors_mm = [needle.tip_error_mm for run in runs for needle in run.needles]
    scores = [run.metrics for run in runs if run.metrics is not None]
    expected = {s.name for s in anatomy.with_role(Role.ORGAN, Role.TARGET)} | {anatomy.entry.name}
    punctured = sum(name not in expected for run in runs for needle in run.entered for name in needle.punctured)

    return dataclasses.replace(
        carried,
        runs=len(runs),
        procedure_s=_mean([run.duration_s + energy_s for run in runs]),
        tip_error_mm=_mean(errors_mm),
        largest_tip_error_mm=max(errors_mm, default=None),
        rehearsed_coverage_fraction=_mean([score.target_coverage_fraction for score in scores]),
        rehearsed_margin_fraction=_mean([score.margin_coverage_fraction for score in scores]),
        rehearsed_minimal_margin_mm=_mean([score.minimal_margin_mm for score in scores]),
        structures_punctured=punctured,
    )


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
