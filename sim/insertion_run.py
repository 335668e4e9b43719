"""One insertion in the simulated room: controller, arm, needle, faults and log, step by step."""

import numpy as np

from needleplan.frames import FloatArray, RigidTransform
from needleplan.outcome import EventKind, NeedleOutcome, WithdrawnNeedle
from needleplan.plan import Insertion
from robots.chain_kernels import guide_matrices
from robots.model import RobotModel
from robots.moves import shifted
from robots.route import InsertionRoute
from sim.aiming import AimedGuide
from sim.closest_approach import ClosestApproach
from sim.controller import InsertionController
from sim.controller_state import Seen, State
from sim.fault_injection import FaultInjection
from sim.needle import Arrival, Puncture, misplaced_base, needle_outcome
from sim.push_allowance import push_allowance_m
from sim.session import NeedleInPatient, Session
from sim.supervision import Alarm
from sim.tissue_force import PunctureEvent
from sim.tissue_needle import TissueNeedle
from sim.world import RehearsalWorld

#: A tip farther than this from the planned path is not on its way in.
NEAR_PATH_MM = 30.0


class InsertionRun:
    """Carries out one insertion.

    Args:
        session: what lasts over all insertions.
        world: the simulated room.
        robot: the arm.
        insertion: as planned.
        route: how the arm does it; reached.
        X_WB: where the arm believes its base to stand.
        shaft_diameter_mm: of the needle.
        length_mm: from the needle's hub, where the camera sees it, to its tip.
        rng: draws the placement error.
    """

    def __init__(
        self,
        session: Session,
        world: RehearsalWorld,
        robot: RobotModel,
        insertion: Insertion,
        route: InsertionRoute,
        X_WB: RigidTransform,
        shaft_diameter_mm: float,
        length_mm: float,
        rng: np.random.Generator,
    ) -> None:
        options = session.options
        self.session, self.world, self.robot = session, world, robot
        self.insertion, self.route, self.length_mm = insertion, route, length_mm
        placement = session.placement
        direction = placement.directions_to_world(insertion.direction)
        self.X_WB_true = misplaced_base(X_WB, route.entry_m, direction, options.noise, rng)
        allowance = 0.0
        if options.controller.allow_push and options.mechanics.feels:
            allowance = push_allowance_m(insertion, shaft_diameter_mm, session.queries, options.mechanics.wall)
        self.guide = AimedGuide(route, robot, X_WB, allowance)
        self.controller = InsertionController(route, robot, self.guide, options.controller)
        self.faults = FaultInjection(
            options.faults, insertion, route, session.patient, session.sensing, session.camera
        )
        self.needle = TissueNeedle(
            insertion, shaft_diameter_mm, session.queries, options.mechanics, session.tissues
        )
        closest = None
        if options.follow_structures:
            closest = ClosestApproach(session.queries, 0.5 * shaft_diameter_mm)
        self.held: NeedleInPatient | None = NeedleInPatient(insertion.order, self.needle, closest)
        self.in_patient = self.held
        self.visited: list[FloatArray] = []
        self._X_PW = np.array(placement.X_WP.inverse().matrix)
        self._X_PB = self._X_PW @ X_WB.matrix
        self._alarm: Alarm | None = None
        self._puncture: Puncture | None = None
        self._arrival: Arrival | None = None
        self.deepest_mm = 0.0
        self._shifted_mm = np.zeros(3)
        self._begun = False
        self.placed = False

    def carry_out(self) -> NeedleOutcome | str:
        """Until the arm is at rest again; what was achieved, or why the insertion was given up."""
        session, controller, options = self.session, self.controller, self.session.options
        session.supervision.begin_insertion()
        self.world.place_base(self.X_WB_true)
        order = self.insertion.order
        dt = options.transfer_step_s
        result: NeedleOutcome | None = None
        while True:
            commanded = controller.positions()
            reached = self.faults.reached(commanded)
            tip_mm, axis, reach_mm = self._needle_in_patient(reached)
            depth_mm = self._depth_mm(tip_mm)
            self._mechanics(dt, tip_mm, axis, reach_mm)
            for text in self.faults.update(session.time_s, controller.state, depth_mm, reached):
                session.log(order, EventKind.FAULT, text)
            session.faults_present = self.faults.present
            shift = self.faults.shift_mm(session.time_s)
            if (shift != self._shifted_mm).any():
                self._displace_patient(shift)
            hub = tip_mm - self.length_mm * axis + shift
            session.camera.observe(session.time_s, hub, axis, shift)
            due = session.control_is_due()
            if due:
                self._look(commanded, reached)
            taken = session.sample(
                self.world, controller.state, order, depth_mm, reached, self.held, controller.stop_reason,
                always=controller.finished,
            )  # fmt: skip
            if taken:
                self.visited.append(reached)
            for number, name in session.touch(self.world, self.held, order):
                session.log(number, EventKind.PUNCTURE, f"the needle is in {name}", name)
            if controller.finished:
                break
            before = controller.state
            dt = options.step_s if controller.at_patient or before is State.SETTLE else options.transfer_step_s
            controller.step(dt, self._seen(reached))
            if controller.wants_scan:
                controller.scanned(*self._scan())
            for kind, text in controller.events:
                session.log(order, kind, text)
            controller.events.clear()
            if controller.state is not before:
                result = self._entered(before) or result
            decision = session.decision
            session.advance(dt, decision.hold_breath and controller.may_ask)
        return self._ended(result)

    def _depth_mm(self, tip_mm: FloatArray) -> float:
        """Of a tip behind the entry along the path; far from the path, minus its distance from the entry."""
        way = tip_mm - np.asarray(self.insertion.entry_mm)
        along = float(way @ self.insertion.direction)
        aside = float(np.linalg.norm(way - along * self.insertion.direction))
        return along if aside < NEAR_PATH_MM else -float(np.linalg.norm(way))

    def _needle_in_patient(self, reached: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Tip (3,) of the unbent needle and direction (3,) in patient LPS, and its length out of the guide, mm."""
        posed = reached.copy()
        posed[-1] = max(0.0, self.faults.needle_m(float(reached[-1])))
        self.world.pose_arm(posed)
        # Plain matrices: checked poses would take most of the time of a step.
        X_PN = self._X_PW @ self.world.needle_matrix()
        return X_PN[:3, 3] * 1e3, X_PN[:3, 2], float(posed[-1]) * 1e3

    def _mechanics(self, duration_s: float, tip_mm: FloatArray, axis: FloatArray, reach_mm: float) -> None:
        """Let the needle feel and bend; note when it passes the skin."""
        session, controller = self.session, self.controller
        if self.held is None:
            return
        if self._arrival is not None:
            self.needle.carried_by(session.body)
            return
        if not (controller.at_patient or self.needle.in_tissue):
            return
        if controller.needle_loose and self.needle.tissue_holds:
            self.needle.loosen(session.body)
            return
        was_in = self.needle.in_tissue
        punctures = self.needle.step(duration_s, tip_mm - reach_mm * axis, axis, reach_mm, session.body)
        if self.needle.in_tissue and not was_in and self._puncture is None:
            patient = session.patient
            self._puncture = Puncture(session.time_s, np.array(patient.displacement_mm), patient.breaths)
        if self.needle.in_tissue:
            self.deepest_mm = max(self.deepest_mm, self.needle.depth_mm)
        for event in punctures:
            session.log(self.insertion.order, EventKind.PUNCTURE, _in_words(event))

    def _look(self, commanded: FloatArray, reached: FloatArray) -> None:
        """Hold sensors, camera and encoders against what they should say."""
        session, chain = self.session, self.robot.chain
        X_PG = self._X_PB @ guide_matrices(chain.constants, chain.prismatic, reached[None, :-1])[0]
        axis = X_PG[:3, 2]
        hub = X_PG[:3, 3] * 1e3 + (reached[-1] * 1e3 - self.length_mm) * axis
        reading = session.camera.reading(session.time_s)
        state = self.controller.state
        before_skin = state in (State.ADVANCE, State.WAIT)
        watched = session.supervision.watch(
            session.time_s, session.samples, reading, hub, axis, commanded, reached, before_skin
        )
        self._alarm = watched

    def _seen(self, reached: FloatArray) -> Seen:
        session = self.session
        aim = session.decision.aim_mm
        shift = session.placement.displacement_to_world(aim) if aim.any() else np.zeros(3)
        return Seen(
            session.decision, shift, reached, self._alarm, self.needle.stop_reason, self.faults.operator_stop
        )

    def _scan(self) -> tuple[FloatArray, float]:
        """What a control scan shows, as :meth:`InsertionController.scanned` takes it.

        The scan shows the needle from the skin to its tip, each point with the same noise. Straight on, it comes to
        the planned depth beside its place by ``t + (t - e) r / d``: tip t and entry e beside the path, r still to
        go, d deep; the noise of t counts 1 + r / d times, that of e r / d times.
        """
        session, insertion, needle = self.session, self.insertion, self.needle
        noise_mm = session.options.controller.scan_noise_mm
        entry, tip = np.asarray(needle.entry_at_rest_mm), np.asarray(needle.tip_at_rest_mm)
        entry, tip = np.stack([entry, tip]) + noise_mm * session.scan_rng.standard_normal((2, 3))
        direction = insertion.direction
        deep = max(float((tip - entry) @ direction), 1.0)
        ahead = max(0.0, insertion.depth_mm - self.controller.intended_depth_m * 1e3)
        planned = np.asarray(insertion.entry_mm)
        beside = (tip - planned) + (tip - entry) * (ahead / deep)
        beside = beside - (beside @ direction) * direction
        along = float((tip - planned) @ direction) - self.controller.intended_depth_m * 1e3
        spread = noise_mm * float(np.hypot(1.0 + ahead / deep, ahead / deep))
        return session.placement.displacement_to_world(beside + along * direction), spread * 1e-3

    def _entered(self, before: State) -> NeedleOutcome | None:
        """What a change of state brings about; the outcome once the needle has come to rest in tissue."""
        session, controller = self.session, self.controller
        if controller.state is State.WAIT and session.options.strategy.begins_at_skin and not self._begun:
            self._begun = True
            session.begin_strategy()
        if controller.needle_free and self._arrival is None and self.needle.tissue_holds:
            patient = session.patient
            self._arrival = Arrival(
                session.time_s, np.array(patient.displacement_mm), patient.breaths, self.needle.bend_mm,
                controller.waited_s, controller.corrections,
            )  # fmt: skip
            self.needle.let_go()
        if controller.state is State.RETRACT and before is State.SETTLE:
            assert self._puncture is not None and self._arrival is not None
            result = needle_outcome(self.insertion, self.needle, self._puncture, self._arrival)
            if self.route.needle_stays:
                self._leave()
            else:
                self.held = None  # drawn out again
            return result
        if controller.state is State.GIVEN_UP and self._arrival is not None and self.held is not None:
            self._leave()
        return None

    def _leave(self) -> None:
        """The needle stays in the patient."""
        assert self.in_patient is not None
        self.session.left.append(self.in_patient)
        self.world.place_needle(self.insertion.order, self.needle.shaft_mm)
        self.held = None

    def _displace_patient(self, shift_mm: FloatArray) -> None:
        """The patient has moved against the robot: seen from him the robot moves the other way."""
        self._shifted_mm = shift_mm
        self.world.place_base(shifted(self.X_WB_true, -self.session.placement.displacement_to_world(shift_mm)))

    def withdrawn(self) -> WithdrawnNeedle | None:
        """What came of a needle that was given up in the patient; None where it was placed or never entered him."""
        if self._puncture is None or not self.controller.reason or self.placed or self.in_patient is None:
            return None
        closest = self.in_patient.closest
        return WithdrawnNeedle(
            self.insertion.order, self.controller.reason, self.deepest_mm, self.needle.peak_force_n,
            self.needle.peak_tip_force_n, {} if closest is None else closest.rounded(),
            () if closest is None else closest.punctured,
        )  # fmt: skip

    def _ended(self, result: NeedleOutcome | None) -> NeedleOutcome | str:
        order, session = self.insertion.order, self.session
        if result is not None:
            self.placed = True
            session.log(order, EventKind.END, f"in place, {result.tip_error_mm:.1f} mm from the plan")
            return result
        where = "before the skin" if self._puncture is None else f"{self.deepest_mm:.0f} mm deep"
        reason = f"{self.controller.reason}; the tip had come {where}"
        session.log(order, EventKind.END, f"given up: {reason}")
        return reason


def _in_words(event: PunctureEvent) -> str:
    whose = f" of {event.structure}" if event.structure else ""
    return f"{event.membrane or 'boundary'}{whose} gives way at {event.tip_force_n:.1f} N"
