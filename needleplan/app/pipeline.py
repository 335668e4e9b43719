"""The whole chain on one page: case -> plan -> robot -> breathing rehearsal -> score.

Each step takes and returns plain values; what they mean is said where they are defined.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import Assessment, assess
from needleplan.case.model import Case
from needleplan.motion.contract import RespiratoryMotion
from needleplan.plan import Insertion, Plan
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.skin_map import SkinMap, map_skin
from robots.catalogue import load_robot
from robots.frames import PatientPlacement, place_anatomy
from robots.model import RobotModel
from robots.reachability import BasePlacement, place_base
from sim.options import Rehearsal, RehearsalOptions
from sim.patient import PatientSurfaces
from sim.recorder import SceneRecorder
from sim.rehearse import run_rehearsal

ProgressCallback = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class PlannedCase:
    """A case with its anatomy and plan.

    Attributes:
        anatomy: the surfaces.
        queries: search structures on them.
        plan: the plan.
        zone_model: the model that predicted its zones.
        assessment: score of the plan; None where it has no insertion.
        skin: where its candidate paths start and what blocks them; None where it was not kept.
    """

    anatomy: Anatomy
    queries: AnatomyQueries
    plan: Plan
    zone_model: EllipsoidTableModel
    assessment: Assessment | None
    skin: SkinMap | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RobotPlan:
    """How the robot carries out a plan.

    Attributes:
        robot: the arm.
        placement: how the patient lies.
        base: where the base stands, the routes, and what is not reached.
    """

    robot: RobotModel
    placement: PatientPlacement
    base: BasePlacement


def plan_case(
    case: Case,
    options: PlanningOptions | None = None,
    *,
    zone_model: EllipsoidTableModel | None = None,
    timings_s: dict[str, float] | None = None,
    progress: ProgressCallback | None = None,
) -> PlannedCase:
    """Anatomy and plan of a checked case."""
    start = time.perf_counter()
    anatomy = build_anatomy(case, progress)
    queries = AnatomyQueries(anatomy)
    timings_s = {**(timings_s or {}), "build anatomy": time.perf_counter() - start}
    planning = make_plan(queries, options, zone_model=zone_model, timings_s=timings_s, progress=progress)
    skin = map_skin(planning.candidates, planning.constraints)
    return PlannedCase(anatomy, queries, planning.plan, planning.zone_model, planning.assessment, skin)


def plan_robot(plan: Plan, anatomy: Anatomy, robot_name: str | None = None, seed: int = 0) -> RobotPlan:
    """Where the robot's base stands and how the arm carries out the plan."""
    robot = load_robot() if robot_name is None else load_robot(robot_name)
    placement = place_anatomy(anatomy)
    base = place_base(plan.insertions, robot, placement, anatomy.entry.mesh, np.random.default_rng(seed))
    return RobotPlan(robot, placement, base)


def rehearse_plan(
    plan: Plan,
    robot_plan: RobotPlan,
    anatomy: Anatomy,
    motion: RespiratoryMotion,
    *,
    seed: int = 0,
    gating: bool = True,
    recorder: SceneRecorder | None = None,
    options: RehearsalOptions | None = None,
    patient: PatientSurfaces | None = None,
    progress: ProgressCallback | None = None,
) -> Rehearsal:
    """The plan carried out in the breathing patient."""
    return run_rehearsal(
        plan,
        robot_plan.base.route,
        anatomy,
        motion,
        seed,
        gating,
        recorder,
        robot=robot_plan.robot,
        placement=robot_plan.placement,
        options=options,
        patient=patient,
        progress=progress,
    )


def assess_insertions(insertions: Sequence[Insertion], planned: PlannedCase) -> Assessment | None:
    """Score of planned or executed insertions by the same code; None where there is none."""
    if not insertions or planned.plan.metrics is None:
        return None
    return assess(planned.queries, insertions, planned.zone_model, planned.plan.metrics.margin_mm)
