"""The moves of an arm to one posture and back: approach and align kept clear of everything, all phases timed."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from needleplan.frames import FloatArray, RigidTransform
from robots.clearance import ArmClearance, Surroundings, arm_clearance
from robots.kinematics import AxisSolution, solve_from
from robots.model import RobotModel
from robots.route import Phase, Segment
from robots.route_options import RouteOptions
from robots.timing import TimedPath, along, ramped, straight

#: Spacing of the searches along the axis, and the largest joint step between two of them.
AXIS_STEP_M = 0.002
LARGEST_JOINT_STEP_RAD = 0.1
#: Largest joint step between two checks of clearance.
CHECK_STEP_RAD = 0.03
#: The align move may be shortened to this where the arm cannot draw back as far as is asked for.
SHORTEST_BACK_OFF_M = 0.01
#: Lengths by which a detour is raised, or drawn back further, from the start of the align move.
DETOURS_M = (0.12, 0.24, 0.36)


class ArmMoves:
    """Plans the moves of one arm at one place; holds what every step of the search needs."""

    def __init__(
        self, robot: RobotModel, X_WB: RigidTransform, around: Surroundings, options: RouteOptions
    ) -> None:
        self.robot, self.X_WB, self.around, self.options = robot, X_WB, around, options
        self.speed = robot.velocity_limits * options.speed_fraction
        self.acceleration = robot.acceleration_limits * options.speed_fraction

    def moves(
        self, X_BG: RigidTransform, solution: AxisSolution
    ) -> tuple[TimedPath, TimedPath, ArmClearance] | str:
        """Approach and align with their clearance, or why this posture cannot be used."""
        assert solution.q is not None
        knots, reason = self.align_knots(X_BG, solution.q)
        shortest = 1 + int(np.ceil(min(SHORTEST_BACK_OFF_M, self.options.back_off_m) / AXIS_STEP_M))
        if len(knots) < shortest:
            return reason
        align_clearance = self.clearance(knots)
        while (reason := self.too_near(align_clearance)) and len(knots) // 2 >= shortest:
            knots = knots[-(len(knots) // 2) :]
            align_clearance = self.clearance(knots)
        if reason:
            return f"while it aligns {reason}"
        align = along(knots, self.speed, self.acceleration, self.options.sample_s)
        nearest = ""
        for stops in self.ways(knots[0]):
            approach_clearance = self.clearance(_fine(stops))
            reason = self.too_near(approach_clearance)
            if not reason:
                approach = self.timed(stops)
                return approach, align, _both(approach_clearance, align_clearance)
            nearest = nearest or reason
        return f"on every way from home that was tried {nearest}"

    def align_knots(self, X_BG: RigidTransform, q_align: FloatArray) -> tuple[FloatArray, str]:
        """(k, n) joint positions along the axis to the stand-off, and why they do not begin at the back-off."""
        steps = max(2, int(np.ceil(self.options.back_off_m / AXIS_STEP_M)))
        knots, reason = [q_align], ""
        for k in range(1, steps + 1):
            back = self.options.back_off_m * k / steps
            q = solve_from(self.robot, _shifted(X_BG, -back * X_BG.rotation[:, 2]), knots[-1])
            if q is None:
                reason = f"the arm cannot draw back {back * 1e3:.0f} mm along the axis inside its joint limits"
                break
            jump = float(np.abs(q - knots[-1]).max())
            if jump > LARGEST_JOINT_STEP_RAD:
                reason = (
                    f"a joint jumps by {jump:.2f} rad when the arm draws back {back * 1e3:.0f} mm along the axis"
                )
                break
            knots.append(q)
        return np.array(knots[::-1]), reason

    def ways(self, q_end: FloatArray) -> Iterator[list[FloatArray]]:
        """Ways from home to ``q_end`` as stops: straight in joint space first, then over points aside."""
        home, behind = np.asarray(self.robot.home), self.robot.forward(q_end)
        yield [home, q_end]
        up = self.X_WB.rotation[2]  # the world's z in base axes
        for aside in (up, -behind.rotation[:, 2]):
            for length in DETOURS_M:
                q = solve_from(self.robot, _shifted(behind, length * aside), q_end)
                if q is not None:
                    yield [home, q, q_end]

    def clearance(self, knots: FloatArray) -> ArmClearance:
        return arm_clearance(self.robot, self.X_WB, knots, np.zeros(len(knots)), self.around)

    def is_clear(self, q: FloatArray) -> bool:
        """True where one posture keeps clear of everything."""
        return not self.too_near(self.clearance(q[None]))

    def too_near(self, clearance: ArmClearance) -> str:
        """What comes too near, in words; empty where nothing does."""
        wanted = self.options.clearance_m
        if clearance.keeps(wanted, self.options.self_clearance_m):
            return ""
        return (
            f"the arm comes within {clearance.least_m * 1e3:.0f} mm ({clearance.nearest}) where "
            f"{wanted * 1e3:.0f} mm are asked for"
        )

    def timed(self, stops: list[FloatArray]) -> TimedPath:
        legs = [
            straight(first, last, self.speed, self.acceleration, self.options.sample_s)
            for first, last in pairwise(stops)
        ]
        path = legs[0]
        for leg in legs[1:]:
            path = path.then(leg)
        return path

    def segments(self, approach: TimedPath, align: TimedPath, driver_tip: float) -> tuple[Segment, ...]:
        """The four phases with the driver's column."""
        options, acceleration = self.options, self.robot.driver_acceleration_limit
        limit = self.robot.driver_velocity_limit
        going_in = ramped(driver_tip, min(options.insertion_speed_m_s, limit), acceleration, options.sample_s)
        coming_out = ramped(driver_tip, min(options.withdrawal_speed_m_s, limit), acceleration, options.sample_s)
        arm = align.positions[-1]
        withdrawal = _held(arm, coming_out.time_s, driver_tip - coming_out.positions[:, 0])
        retract = withdrawal.then(_with_driver(align.reversed())).then(_with_driver(approach.reversed()))
        phases = (
            (Phase.APPROACH, _with_driver(approach)),
            (Phase.ALIGN, _with_driver(align)),
            (Phase.INSERT, _held(arm, going_in.time_s, going_in.positions[:, 0])),
            (Phase.RETRACT, retract),
        )
        return tuple(Segment(phase, path.time_s, path.positions) for phase, path in phases)


def _shifted(pose: RigidTransform, shift_m: FloatArray) -> RigidTransform:
    return RigidTransform.from_parts(pose.parent, pose.child, pose.rotation, pose.translation + shift_m, pose.unit)


def _fine(stops: list[FloatArray]) -> FloatArray:
    """Positions along straight joint lines, no joint moving by more than ``CHECK_STEP_RAD`` between two."""
    legs = []
    for first, last in pairwise(stops):
        count = max(2, int(np.ceil(np.abs(last - first).max() / CHECK_STEP_RAD)) + 1)
        legs.append(first + np.linspace(0.0, 1.0, count)[:, None] * (last - first))
    return np.concatenate(legs)


def _both(first: ArmClearance, second: ArmClearance) -> ArmClearance:
    patient = None
    if first.patient_m is not None and second.patient_m is not None:
        patient = min(first.patient_m, second.patient_m)
    nearest = min((first, second), key=lambda clearance: clearance.least_m).nearest
    return ArmClearance(patient, min(first.table_m, second.table_m), min(first.self_m, second.self_m), nearest)


def _with_driver(path: TimedPath) -> TimedPath:
    """A path of the arm with the driver at 0."""
    return TimedPath(path.time_s, np.column_stack([path.positions, np.zeros(len(path.time_s))]))


def _held(arm: FloatArray, time_s: FloatArray, driver_m: FloatArray) -> TimedPath:
    """A path of the driver with the arm at rest."""
    return TimedPath(time_s, np.column_stack([np.broadcast_to(arm, (len(time_s), len(arm))), driver_m]))
