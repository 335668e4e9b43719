"""The rehearsal: a plan is carried out by the arm in the breathing patient, and what came of it is measured."""

import logging
from collections.abc import Callable

import numpy as np

from needleplan.anatomy.model import Anatomy
from needleplan.errors import OptionError, RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.contract import RespiratoryMotion
from needleplan.outcome import NeedleOutcome, Outcome, Trace
from needleplan.plan import Insertion, Plan
from robots.catalogue import load_robot
from robots.clearance import Surroundings, arm_clearance
from robots.frames import PatientPlacement, place_anatomy
from robots.model import RobotModel
from robots.route import InsertionRoute, RobotRoute
from sim.controller import InsertionController, State
from sim.needle import Puncture, depth_mm, misplaced_base, needle_outcome
from sim.options import Rehearsal, RehearsalLog, RehearsalOptions
from sim.patient import PatientSurfaces, patient_surfaces
from sim.recorder import SceneRecorder, SceneState
from sim.world import RehearsalWorld

__all__ = ["Rehearsal", "RehearsalLog", "RehearsalOptions", "rehearse", "run_rehearsal"]

logger = logging.getLogger(__name__)

#: A route and a plan speak of the same point when they agree to this.
SAME_POINT_M = 1e-5


def rehearse(
    plan: Plan,
    route: RobotRoute,
    anatomy: Anatomy,
    motion: RespiratoryMotion,
    seed: int = 0,
    gating: bool = True,
    recorder: SceneRecorder | None = None,
    *,
    robot: RobotModel | None = None,
    placement: PatientPlacement | None = None,
    options: RehearsalOptions | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Outcome:
    """The outcome of :func:`run_rehearsal`, whose log goes to ``logging``."""
    return run_rehearsal(
        plan, route, anatomy, motion, seed, gating, recorder,
        robot=robot, placement=placement, options=options, progress=progress,
    ).outcome  # fmt: skip


def run_rehearsal(
    plan: Plan,
    route: RobotRoute,
    anatomy: Anatomy,
    motion: RespiratoryMotion,
    seed: int = 0,
    gating: bool = True,
    recorder: SceneRecorder | None = None,
    *,
    robot: RobotModel | None = None,
    placement: PatientPlacement | None = None,
    options: RehearsalOptions | None = None,
    patient: PatientSurfaces | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Rehearsal:
    """Carry out a plan in PyBullet while the patient breathes.

    The arm's joints follow the route exactly; the tip's position is what PyBullet's forward kinematics says,
    carried back into the patient, so an error of the route or of the robot shows in the outcome. Without breathing
    and without noise the executed insertions equal the planned ones within the accuracy of the route's inverse
    kinematics (0.001 mm) and of PyBullet's (0.0001 mm).

    Args:
        plan: what is to be done.
        route: how the arm does it; one entry for each insertion of the plan, in its order.
        anatomy: the patient.
        motion: breathing of the target's organ.
        seed: seed of every random draw (the moment in the breath at which the rehearsal begins, the placement
            error); the same seed gives the same outcome, bit by bit.
        gating: True to advance the needle only while the gate is open.
        recorder: collects the scene for a film.
        robot: the arm; by the route's name where None.
        placement: how the patient lies; as ``robots.frames.place_anatomy`` lays him where None.
        options: time steps, gate, controller, noise.
        patient: surfaces that an earlier call of ``prepare_patient`` made for this anatomy and motion; they are
            made here where None, which takes most of the time of a short rehearsal.
        progress: called with what is being done and the fraction of the insertions done.

    Returns:
        The outcome and a log.

    Raises:
        RobotError: the route belongs to another plan, or to another placement of the patient.
    """
    run = _Run(
        plan, route, anatomy, motion, seed, gating, recorder or SceneRecorder(),
        robot or load_robot(route.robot), placement or place_anatomy(anatomy), options or RehearsalOptions(),
        patient,
    )  # fmt: skip
    return run.carry_out(progress)


def prepare_patient(
    anatomy: Anatomy, motion: RespiratoryMotion, options: RehearsalOptions | None = None
) -> PatientSurfaces:
    """The simplified surfaces of a patient, for several rehearsals with the same motion."""
    chosen = options or RehearsalOptions()
    return patient_surfaces(anatomy, TissueMotion(anatomy, motion), chosen.faces_per_structure)


class _Run:
    """One rehearsal under way: the clock, the draws and what has been recorded so far."""

    def __init__(
        self,
        plan: Plan,
        route: RobotRoute,
        anatomy: Anatomy,
        motion: RespiratoryMotion,
        seed: int,
        gating: bool,
        recorder: SceneRecorder,
        robot: RobotModel,
        placement: PatientPlacement,
        options: RehearsalOptions,
        patient: PatientSurfaces | None,
    ) -> None:
        if seed < 0:
            raise OptionError(f"a seed must be zero or greater, not {seed}")
        self.plan, self.route, self.anatomy, self.motion = plan, route, anatomy, motion
        self.seed, self.gating, self.recorder = seed, gating, recorder
        self.robot, self.placement, self.options = robot, placement, options
        self.pairs = _matched(plan, route, placement)
        self.tissue = TissueMotion(anatomy, motion)
        start_rng, noise_rng = np.random.default_rng(seed).spawn(2)
        self.breathing_start_s = float(start_rng.uniform(0.0, motion.period_s))
        self.noise_rngs = noise_rng.spawn(len(self.pairs))
        self.highest_skin_mm = _highest(anatomy)
        self.X_PW = np.array(placement.X_WP.inverse().matrix)
        self.patient = patient
        self.steps = 0
        self.samples: list[tuple[float, FloatArray, bool, float, int, FloatArray, str]] = []
        self.contacts: dict[tuple[str, str], float] = {}
        self.paths: list[tuple[FloatArray, FloatArray]] = []

    @property
    def time_s(self) -> float:
        # Counted, not summed, so that a long run gathers no rounding.
        return self.steps * self.options.step_s

    def target_mm(self) -> FloatArray:
        return np.asarray(self.tissue.target_mm(self.time_s + self.breathing_start_s))

    def carry_out(self, progress: Callable[[str, float], None] | None) -> Rehearsal:
        patient = self.patient or patient_surfaces(self.anatomy, self.tissue, self.options.faces_per_structure)
        needles: list[NeedleOutcome] = []
        not_reached: list[tuple[int, str]] = []
        clearance: float | None = None
        with RehearsalWorld(self.robot, self.route.X_WB, self.placement, patient.parts) as world:
            self.recorder.shapes = world.visual_shapes()
            self.recorder.patient = patient
            self.recorder.gate_mm = self.options.gate.tolerance_mm
            for index, (insertion, path) in enumerate(self.pairs):
                if progress:
                    progress(f"needle {insertion.order}", index / len(self.pairs))
                if not path.reached:
                    not_reached.append((insertion.order, path.reason))
                    continue
                result = self.insert(world, insertion, path, self.noise_rngs[index])
                if isinstance(result, str):
                    not_reached.append((insertion.order, result))
                else:
                    needles.append(result)
        if self.options.check_clearance and self.paths:
            if progress:
                progress("clearance of the arm", 1.0)
            clearance = self.arm_clearance_mm()
        contacts = tuple((link, part, round(s, 6)) for (link, part), s in sorted(self.contacts.items()))
        log = RehearsalLog(self.steps, self.time_s, self.breathing_start_s, contacts, clearance)
        _report(log)
        if progress:
            progress("done", 1.0)
        outcome = Outcome(
            self.plan.case_name, self.plan.case_hash, self.robot.name, self.motion.name, self.gating, self.seed,
            tuple(needles), tuple(not_reached), self.trace(),
        )  # fmt: skip
        return Rehearsal(outcome, log)

    def insert(
        self, world: RehearsalWorld, insertion: Insertion, path: InsertionRoute, rng: np.random.Generator
    ) -> NeedleOutcome | str:
        """Carry out one insertion; what it achieved, or why it was given up."""
        options = self.options
        direction = self.placement.directions_to_world(insertion.direction)
        X_WB = misplaced_base(self.route.X_WB, path.entry_m, direction, options.noise, rng)
        world.place_base(X_WB)
        controller = InsertionController(path, self.gating, options.controller)
        puncture: Puncture | None = None
        result: NeedleOutcome | None = None
        gate = options.gate
        every_sample = max(1, round(options.sample_s / options.step_s))
        every_contact = max(1, round(options.contact_s / options.step_s))
        deepest = -np.inf
        visited: list[FloatArray] = []
        while True:
            displacement = self.target_mm()
            gate_open = bool(gate.is_open(displacement))
            positions = controller.positions()
            world.pose_arm(positions)
            tip_mm, axis = self.needle_in_patient(world)
            depth = depth_mm(insertion, tip_mm)
            deepest = max(deepest, depth)
            if puncture is None and depth >= 0.0:
                skin = self.tissue.skin_mm(np.asarray(insertion.entry_mm), displacement)
                puncture = Puncture(self.time_s, displacement, skin)
            if result is None and controller.arrived:
                if puncture is None:  # a path of no depth never leaves the skin
                    raise RobotError(f"insertion {insertion.order}: the tip arrived and never passed the entry")
                result = needle_outcome(
                    insertion, tip_mm, axis, puncture, self.time_s, displacement, controller.waited_s
                )
            if self.steps % every_sample == 0 or controller.finished:
                self.sample(world, controller.state, insertion.order, displacement, gate_open, depth, positions)
                visited.append(positions)
            if self.steps % every_contact == 0:
                world.pose_patient(displacement, self.tissue.skin_mm(self.highest_skin_mm, displacement))
                for pair in world.touches():
                    self.contacts[pair] = self.contacts.get(pair, 0.0) + every_contact * options.step_s
            self.steps += 1
            if controller.finished:
                break
            controller.step(options.step_s, gate_open)
        self.paths.append((X_WB.matrix, np.array(visited)))
        if result is not None:
            return result
        where = "before the skin" if puncture is None else f"{deepest:.0f} mm deep"
        return (
            f"the gate of {gate.tolerance_mm:g} mm stayed closed for {options.controller.gate_timeout_s:g} s with "
            f"the tip {where}; widen the gate or change the breathing"
        )

    def needle_in_patient(self, world: RehearsalWorld) -> tuple[FloatArray, FloatArray]:
        """Tip (3,) in mm and direction (3,) of the needle in patient LPS, from the simulated arm."""
        # Plain matrices: checked poses would take most of the time of a step.
        X_PN = self.X_PW @ world.needle_matrix()
        return X_PN[:3, 3] * 1e3, X_PN[:3, 2]

    def sample(
        self,
        world: RehearsalWorld,
        state: State,
        needle: int,
        displacement: FloatArray,
        gate_open: bool,
        depth: float,
        positions: FloatArray,
    ) -> None:
        allowed = gate_open or not self.gating
        self.samples.append((self.time_s, displacement, allowed, depth, needle, positions[:-1], state.value))
        self.recorder.add(
            SceneState(self.time_s, world.link_poses(), displacement, gate_open, state, needle, depth)
        )

    def trace(self) -> Trace:
        joints = len(self.robot.joint_names)
        if not self.samples:
            return Trace(
                np.zeros(0), np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, joints)), ()
            )
        times, displacements, gates, depths, needles, positions, states = zip(*self.samples, strict=True)
        return Trace(
            np.array(times), np.array(displacements), np.array(gates), np.array(depths), np.array(needles),
            np.array(positions), tuple(states),
        )  # fmt: skip

    def arm_clearance_mm(self) -> float:
        """Lower bound of the arm's distance from the patient over the run, the skin at its highest throughout."""
        around = Surroundings(self.placement, self.anatomy.entry.mesh)
        least = np.inf
        for matrix, positions in self.paths:
            X_WB = RigidTransform(Frame.WORLD, Frame.ROBOT_BASE, matrix, LengthUnit.METRE)
            found = arm_clearance(self.robot, X_WB, positions[:, :-1], positions[:, -1], around).patient_m
            assert found is not None
            least = min(least, found)
        rise = max(
            float(np.linalg.norm(self.tissue.skin_mm(self.highest_skin_mm, displacement)))
            for _, displacement, *_ in self.samples
        )
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
