"""The rehearsal: a plan is carried out by the arm in the breathing patient, and what came of it is measured."""

import dataclasses
import logging
from collections.abc import Callable, Sequence

import numpy as np

from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.devices.catalogue import DeviceCatalogue, builtin_catalogue
from needleplan.errors import OptionError, RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.motion.body_motion import BodyMotion
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.tabulated_body import TabulatedBody
from needleplan.outcome import NeedleOutcome, Outcome
from needleplan.plan import Insertion, Plan
from robots.catalogue import load_robot
from robots.clearance import Surroundings, arm_clearance
from robots.frames import PatientPlacement, place_anatomy
from robots.model import RobotModel
from robots.route import InsertionRoute, RobotRoute
from sim.compensation.amplitude_gating import AmplitudeGating
from sim.insertion_run import InsertionRun
from sim.options import Rehearsal, RehearsalLog, RehearsalOptions
from sim.patient import PatientSurfaces, patient_surfaces
from sim.recorder import SceneRecorder
from sim.session import NeedleInPatient, Session
from sim.strategies import strategy_name
from sim.world import RehearsalWorld

__all__ = ["Rehearsal", "RehearsalLog", "RehearsalOptions", "prepare_patient", "rehearse", "run_rehearsal"]

logger = logging.getLogger(__name__)

#: A route and a plan speak of the same point when they agree to this.
SAME_POINT_M = 1e-5


def rehearse(
    plan: Plan,
    route: RobotRoute,
    anatomy: Anatomy,
    motion: RespiratoryMotion,
    seed: int = 0,
    recorder: SceneRecorder | None = None,
    *,
    options: RehearsalOptions | None = None,
) -> Outcome:
    """The outcome of :func:`run_rehearsal`, whose log goes to ``logging``."""
    return run_rehearsal(plan, route, anatomy, motion, seed, recorder, options=options).outcome


def run_rehearsal(
    plan: Plan,
    route: RobotRoute,
    anatomy: Anatomy,
    motion: RespiratoryMotion,
    seed: int = 0,
    recorder: SceneRecorder | None = None,
    *,
    robot: RobotModel | None = None,
    placement: PatientPlacement | None = None,
    options: RehearsalOptions | None = None,
    patient: PatientSurfaces | None = None,
    queries: AnatomyQueries | None = None,
    catalogue: DeviceCatalogue | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Rehearsal:
    """Carry out a plan in PyBullet while the patient breathes.

    Where the needle's guide is, is what PyBullet's forward kinematics says of the positions that the arm's joints
    have reached; from there the needle goes through the moving tissue (:class:`~sim.tissue_needle.TissueNeedle`).
    The controller knows none of that: it sees sensors, camera, encoders and control scans, each with its noise and
    delay. Without breathing, noise and mechanics the executed insertions equal the planned ones within the accuracy
    of the route's inverse kinematics (0.001 mm) and of PyBullet's (0.0001 mm).

    Args:
        plan: what is to be done.
        route: how the arm does it; one entry for each insertion of the plan, in its order.
        anatomy: the patient.
        motion: breathing of the target's organ.
        seed: seed of every random draw (the moment in the breath at which the rehearsal begins, placement error,
            noise of sensors and camera, breath-holds); the same seed gives the same outcome, bit by bit.
        recorder: collects the scene for a film.
        robot: the arm; by the route's name where None.
        placement: how the patient lies; as ``robots.frames.place_anatomy`` lays him where None.
        options: strategy, time steps, controller, sensors, mechanics, noise, faults.
        patient: surfaces that an earlier call of ``prepare_patient`` made for this anatomy and motion; they are
            made here where None, which takes most of the time of a short rehearsal.
        queries: search trees of the anatomy, where there are some already.
        catalogue: knows the applicators of the plan; the built-in one where None.
        progress: called with what is being done and the fraction of the insertions done.

    Returns:
        The outcome and a log.

    Raises:
        RobotError: the route belongs to another plan, or to another placement of the patient.
        MotionError: the breath is too deep for the body.
        OptionError: a window is asked for where there is no display, or an applicator is not known.
    """
    if seed < 0:
        raise OptionError(f"a seed must be zero or greater, not {seed}")
    chosen = options or RehearsalOptions()
    arm, lies = robot or load_robot(route.robot), placement or place_anatomy(anatomy)
    pairs = _matched(plan, route, lies)
    known = catalogue or builtin_catalogue()
    surfaces = patient or prepare_patient(anatomy, motion, chosen)
    kept = recorder or SceneRecorder(wanted=False)
    session = Session(motion, seed, chosen, surfaces, queries or AnatomyQueries(anatomy), lies, kept)
    begin_s = session.patient.start_s
    runs: list[InsertionRun] = []
    results: dict[int, NeedleOutcome] = {}
    not_reached: list[tuple[int, str]] = []
    over = ""
    with RehearsalWorld(arm, route.X_WB, lies, surfaces, gantry=chosen.gantry, display=chosen.display) as world:
        kept.shapes, kept.patient, kept.gantry = world.visual_shapes(), surfaces, chosen.gantry
        strategy = chosen.strategy
        kept.gate_mm = strategy.gate.tolerance_mm if isinstance(strategy, AmplitudeGating) else 0.0
        seeds = session.placement_seeds.spawn(len(pairs))
        for index, (insertion, path) in enumerate(pairs):
            if progress:
                progress(f"needle {insertion.order}", index / len(pairs))
            if over or not path.reached:
                not_reached.append((insertion.order, over or path.reason))
                continue
            applicator = known.applicator(insertion.applicator)
            run = InsertionRun(
                session, world, arm, insertion, path, route.X_WB, applicator.shaft_diameter_mm,
                applicator.usable_length_mm, np.random.default_rng(seeds[index]),
            )  # fmt: skip
            runs.append(run)
            result = run.carry_out()
            if isinstance(result, str):
                not_reached.append((insertion.order, result))
            else:
                results[insertion.order] = result
            if run.controller.ends_session:
                over = f"not begun: the rehearsal ended at needle {insertion.order} ({run.controller.reason})"
    clearance = None
    if chosen.check_clearance and runs:
        if progress:
            progress("clearance of the arm", 1.0)
        clearance = _arm_clearance_mm(runs, arm, lies, anatomy, session, surfaces.body)
    if progress:
        progress("done", 1.0)
    # Distances are followed to the end: a needle that stays moves with every breath that comes after it.
    followed = {run.insertion.order: run.in_patient for run in runs}
    needles = tuple(_with_structures(result, followed[order]) for order, result in results.items())
    contacts = tuple((link, part, round(s, 6)) for (link, part), s in sorted(session.contacts.items()))
    log = RehearsalLog(session.steps, session.time_s, begin_s, contacts, clearance)
    _report(log)
    outcome = Outcome(
        plan.case_name, plan.case_hash, arm.name, motion.name, strategy_name(strategy), strategy.name, seed,
        needles, tuple(not_reached), session.trace(len(arm.joint_names)), tuple(session.events),
        tuple(fault.text for fault in chosen.faults), session.time_s, session.patient.breaths,
        tuple(found for run in runs if (found := run.withdrawn()) is not None),
    )  # fmt: skip
    return Rehearsal(outcome, log)


def prepare_patient(
    anatomy: Anatomy, motion: RespiratoryMotion, options: RehearsalOptions | None = None
) -> PatientSurfaces:
    """The simplified surfaces of a patient and how his body moves, for several rehearsals with the same motion."""
    chosen = options or RehearsalOptions()
    return patient_surfaces(anatomy, tabulated_body(anatomy, motion), chosen.faces_per_structure)


def tabulated_body(anatomy: Anatomy, motion: RespiratoryMotion) -> TabulatedBody:
    """The moving body, with its deformation tabulated over the range of a motion and of a cough on top of it."""
    return TabulatedBody.of_motion(BodyMotion(anatomy, motion), motion)


def _with_structures(result: NeedleOutcome, followed: NeedleInPatient) -> NeedleOutcome:
    if followed.closest is None:
        return result
    closest = followed.closest
    return dataclasses.replace(result, closest_mm=closest.rounded(), punctured=closest.punctured)


def _arm_clearance_mm(
    runs: Sequence[InsertionRun],
    robot: RobotModel,
    placement: PatientPlacement,
    anatomy: Anatomy,
    session: Session,
    body: TabulatedBody,
) -> float:
    """Lower bound of the arm's distance from the patient over the run, the skin at its highest throughout."""
    around = Surroundings(placement, anatomy.entry.mesh)
    least = np.inf
    for run in runs:
        X_WB = RigidTransform(Frame.WORLD, Frame.ROBOT_BASE, run.X_WB_true.matrix, LengthUnit.METRE)
        positions = np.array(run.visited)
        found = arm_clearance(robot, X_WB, positions[:, :-1], positions[:, -1], around).patient_m
        assert found is not None
        least = min(least, found)
    highest = _highest(anatomy)[None]
    displacements = session.trace(len(robot.joint_names)).displacement_mm
    deepest = displacements[int(np.argmax(np.linalg.norm(displacements, axis=1)))]
    rise = float(np.linalg.norm(body.state(deepest).carry(highest, inside=False) - highest))
    return least * 1e3 - rise


def _matched(
    plan: Plan, route: RobotRoute, placement: PatientPlacement
) -> tuple[tuple[Insertion, InsertionRoute], ...]:
    if len(plan.insertions) != len(route.insertions):
        raise RobotError(
            f"the route has {len(route.insertions)} insertions and the plan {len(plan.insertions)}: it was made "
            "for another plan"
        )
    pairs = tuple(zip(plan.insertions, route.insertions, strict=True))
    for insertion, path in pairs:
        for planned, routed, what in (
            (insertion.entry_mm, path.entry_m, "entry"),
            (insertion.tip_mm, path.tip_m, "tip"),
        ):
            apart = float(np.linalg.norm(placement.points_to_world(planned) - routed))
            if insertion.order != path.order or apart > SAME_POINT_M:
                raise RobotError(
                    f"insertion {insertion.order}: its {what} lies {apart * 1e3:.2f} mm from where the route "
                    "goes; the route was made for another plan or another placement of the patient"
                )
    return pairs


def _highest(anatomy: Anatomy) -> FloatArray:
    """(3,) the point of the entry surface that is farthest from the table."""
    vertices = anatomy.entry.mesh.vertices_mm
    return np.asarray(vertices[int(np.argmax(vertices @ np.asarray(anatomy.case.up)))])


def _report(log: RehearsalLog) -> None:
    logger.info("rehearsed %.1f s in %d steps", log.duration_s, log.steps)
    for link, part, seconds in log.contacts:
        logger.warning("the arm's %s touched %s for %.2f s", link, part, seconds)
    if log.arm_clearance_mm is not None:
        logger.info("the arm stayed at least %.1f mm from the patient", log.arm_clearance_mm)
