"""The whole chain on one page: case -> plan -> robot -> breathing rehearsal -> score.

Each step takes and returns plain values; what they mean is said where they are defined.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import Assessment, assess
from needleplan.case.model import Case
from needleplan.devices.catalogue import DeviceCatalogue
from needleplan.frames import Frame
from needleplan.motion.contract import RespiratoryMotion
from needleplan.plan import Insertion, Plan
from needleplan.planning import PlanningOptions, make_plan
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.trajectory.contract import Reachability
from needleplan.trajectory.skin_map import SkinMap, map_skin
from needleplan.trajectory.table import TrajectoryTable
from needleplan.uncertainty.placement_error import ExpectedError
from needleplan.uncertainty.presets import preset_budget
from robots.catalogue import load_robot
from robots.clearance import Surroundings
from robots.expected_error import CalibrationErrors, route_errors
from robots.frames import PatientPlacement, place_anatomy
from robots.gantry import Gantry
from robots.model import RobotModel
from robots.reachability import Alternatives, BasePlacement, place_base
from robots.route_options import RouteOptions
from sim.compensation.contract import MotionCompensation
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
        candidates: its candidate paths, ranked; None where they were not kept.
    """

    anatomy: Anatomy
    queries: AnatomyQueries
    plan: Plan
    zone_model: EllipsoidTableModel
    assessment: Assessment | None
    skin: SkinMap | None = None
    candidates: TrajectoryTable | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RobotPlan:
    """How the robot carries out a plan.

    Attributes:
        robot: the arm.
        placement: how the patient lies.
        base: where the base stands, the routes, and what is not reached.
        errors: how far each needle that is reached is expected to land from its plan.
    """

    robot: RobotModel
    placement: PatientPlacement
    base: BasePlacement
    errors: tuple[ExpectedError, ...] = ()


def plan_case(
    case: Case,
    options: PlanningOptions | None = None,
    *,
    zone_model: EllipsoidTableModel | None = None,
    reach: Callable[[AnatomyQueries], Reachability] | None = None,
    timings_s: dict[str, float] | None = None,
    progress: ProgressCallback | None = None,
) -> PlannedCase:
    """Anatomy and plan of a checked case; ``reach`` makes the robot's answer where paths must be reachable."""
    start = time.perf_counter()
    anatomy = build_anatomy(case, progress)
    queries = AnatomyQueries(anatomy)
    timings_s = {**(timings_s or {}), "build anatomy": time.perf_counter() - start}
    start = time.perf_counter()
    reachability = None if reach is None else reach(queries)
    if reach is not None:
        timings_s["place the robot"] = time.perf_counter() - start
    planning = make_plan(
        queries, options, zone_model=zone_model, reachability=reachability, timings_s=timings_s, progress=progress
    )
    skin = map_skin(planning.candidates, planning.constraints)
    return PlannedCase(
        anatomy, queries, planning.plan, planning.zone_model, planning.assessment, skin, planning.candidates
    )


def plan_robot(
    plan: Plan,
    anatomy: Anatomy,
    robot_name: str | None = None,
    *,
    options: RouteOptions | None = None,
    gantry: Gantry | None = None,
    alternatives: Alternatives | None = None,
    registration: PoseCovariance | None = None,
    progress: ProgressCallback | None = None,
) -> RobotPlan:
    """Where the robot's base stands, how it carries out the plan, and how exactly.

    Args:
        plan: its insertions, in the order of puncture.
        anatomy: the patient, who lies on the default table.
        robot_name: a robot of the catalogue or the path of a user's TOML; the default robot where None.
        options: how the robot is to move; ``default_route_options`` where None.
        gantry: the scanner's ring; None leaves it out.
        alternatives: paths that should be reached too.
        registration: how exactly the base is registered to the patient, in the patient's frame;
            ``assumed_registration`` where None.
        progress: called with what is being done and the share that is done.
    """
    robot = load_robot() if robot_name is None else load_robot(robot_name)
    placement = place_anatomy(anatomy)
    around = Surroundings(placement, anatomy.entry.mesh, gantry)
    chosen = options or default_route_options(robot)
    base = place_base(
        plan.insertions, robot, placement, around, chosen, alternatives=alternatives, progress=progress
    )
    calibration = CalibrationErrors(registration or assumed_registration(anatomy))
    errors = route_errors(base.route, robot, placement, calibration)
    return RobotPlan(robot, placement, base, errors)


def default_route_options(robot: RobotModel, needles_stay: bool = False) -> RouteOptions:
    """The defaults, with needle speeds that the robot's driver can reach."""
    usual = RouteOptions(needles_stay=needles_stay)
    return dataclasses.replace(
        usual,
        insertion_speed_m_s=min(usual.insertion_speed_m_s, robot.driver_velocity_limit),
        withdrawal_speed_m_s=min(usual.withdrawal_speed_m_s, robot.driver_velocity_limit),
    )


def assumed_registration(anatomy: Anatomy, std_mm: float | None = None) -> PoseCovariance:
    """A registration that shifts the target by ``std_mm`` in each component; as the budget ``robot`` where None."""
    shift_mm = preset_budget("robot").registration_mm.std if std_mm is None else std_mm
    return PoseCovariance.of_parts(Frame.PATIENT, anatomy.target.mesh.bounds_mm.mean(axis=0), shift_mm**2)


def rehearse_plan(
    plan: Plan,
    robot_plan: RobotPlan,
    anatomy: Anatomy,
    motion: RespiratoryMotion,
    *,
    seed: int = 0,
    strategy: MotionCompensation[Any] | None = None,
    recorder: SceneRecorder | None = None,
    options: RehearsalOptions | None = None,
    patient: PatientSurfaces | None = None,
    queries: AnatomyQueries | None = None,
    catalogue: DeviceCatalogue | None = None,
    progress: ProgressCallback | None = None,
) -> Rehearsal:
    """The plan carried out in the breathing patient.

    Args:
        plan: what is to be done.
        robot_plan: who does it, and how.
        anatomy: the patient.
        motion: how he breathes.
        seed: of every random draw.
        strategy: how breathing is met; that of the options where None, amplitude gating by default.
        recorder: collects the scene for a film.
        options: all else.
        patient: surfaces of ``prepare_patient``, made anew where None.
        queries: search structures of the anatomy, made anew where None.
        catalogue: knows the plan's applicators; the built-in one where None.
        progress: called with what is being done and the share that is done.
    """
    chosen = options or RehearsalOptions()
    return run_rehearsal(
        plan,
        robot_plan.base.route,
        anatomy,
        motion,
        seed,
        recorder,
        robot=robot_plan.robot,
        placement=robot_plan.placement,
        options=chosen if strategy is None else dataclasses.replace(chosen, strategy=strategy),
        patient=patient,
        queries=queries,
        catalogue=catalogue,
        progress=progress,
    )


def assess_insertions(insertions: Sequence[Insertion], planned: PlannedCase) -> Assessment | None:
    """Score of planned or executed insertions by the same code; None where there is none."""
    if not insertions or planned.plan.metrics is None:
        return None
    return assess(planned.queries, insertions, planned.zone_model, planned.plan.metrics.margin_mm)
