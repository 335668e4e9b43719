"""From planned insertions to joint trajectories: approach, align, insert, retract.

The arm carries the guide to a stand-off before the skin, its axis through entry and tip, and holds still; a linear
driver advances the needle through the guide. So the needle's path is straight by construction and the point where
it passes the skin does not move. One needle is in the patient at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.plan import Insertion
from robots.clearance import ArmClearance, Surroundings, arm_clearance
from robots.frames import PatientPlacement, in_base
from robots.kinematics import AxisSolution, axis_solutions, limit_margin, manipulability, solve_from
from robots.model import RobotModel
from robots.route import InsertionRoute, Phase, RobotRoute, RouteStatus, Segment
from robots.timing import TimedPath, along, ramped, straight

#: Spacing of the searches along the axis, and the largest joint step between two of them.
AXIS_STEP_M = 0.002
LARGEST_JOINT_STEP_RAD = 0.1
#: Largest joint step between two checks of clearance.
CHECK_STEP_RAD = 0.03
#: Heights by which a detour is raised above the point on the axis.
DETOUR_LIFTS_M = (0.12, 0.24, 0.36)
#: Step by which the stand-off is lengthened.
STAND_OFF_STEP_M = 0.025
#: Rounding of the length that the driver must have.
STROKE_TOLERANCE_M = 1e-9


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """How the arm is to move.

    Attributes:
        stand_off_m: distance of the guide's exit before the entry.
        longest_stand_off_m: greatest stand-off that is tried where the arm comes too near at ``stand_off_m``; a
            path that grazes the skin needs it.
        back_off_m: length of the straight align move before it.
        insertion_speed_m_s: speed of the needle going in.
        withdrawal_speed_m_s: speed of the needle coming out.
        speed_fraction: share of the joints' speed and acceleration limits that is used beside a patient.
        sample_s: greatest time between samples of the trajectories.
        clearance_m: least allowed distance of the arm from patient, table and floor.
        self_clearance_m: least allowed distance between parts of the arm.
    """

    stand_off_m: float = 0.05
    longest_stand_off_m: float = 0.10
    back_off_m: float = 0.05
    insertion_speed_m_s: float = 0.008
    withdrawal_speed_m_s: float = 0.02
    speed_fraction: float = 0.4
    sample_s: float = 0.02
    clearance_m: float = 0.02
    self_clearance_m: float = 0.005

    def __post_init__(self) -> None:
        limits = {
            "stand_off_m": (0.01, 0.15),
            "longest_stand_off_m": (self.stand_off_m, 0.2),
            "back_off_m": (0.005, 0.3),
            "insertion_speed_m_s": (1e-4, 0.1),
            "withdrawal_speed_m_s": (1e-4, 0.1),
            "speed_fraction": (0.01, 1.0),
            "sample_s": (1e-3, 0.2),
            "clearance_m": (0.0, 0.1),
            "self_clearance_m": (0.0, 0.1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"route option {name} must lie between {low:g} and {high:g}, not {value:g}")

    @property
    def stand_offs_m(self) -> tuple[float, ...]:
        """Stand-offs in the order in which they are tried."""
        count = int(np.floor((self.longest_stand_off_m - self.stand_off_m) / STAND_OFF_STEP_M + 1e-9))
        return tuple(self.stand_off_m + k * STAND_OFF_STEP_M for k in range(count + 1))


def plan_insertions(
    insertions: Sequence[Insertion],
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    surface: SurfaceMesh | None,
    rng: np.random.Generator,
    options: RouteOptions | None = None,
) -> RobotRoute:
    """How the arm carries out insertions from one place of its base.

    Args:
        insertions: in the order of puncture.
        robot: the arm.
        placement: how the patient lies.
        X_WB: where the base stands; ``reachability.place_base`` finds one.
        surface: the patient's closed outer surface, patient LPS mm; None leaves the patient out of the check of
            clearance, which the route then says.
        rng: draws the starts of the inverse kinematics.
        options: how to move.

    Returns:
        A route for each insertion, reached or not, each with its reason.
    """
    chosen = options or RouteOptions()
    around = Surroundings(placement, surface)
    routes = tuple(
        plan_insertion(insertion, robot, placement, X_WB, around, seed_rng, chosen)
        for insertion, seed_rng in zip(insertions, rng.spawn(len(insertions)), strict=True)
    )
    notes = () if surface is not None else ("The arm's clearance from the patient was not checked: no surface.",)
    return RobotRoute(robot.name, (*robot.joint_names, robot.driver_joint_name), X_WB, routes, notes)


def plan_insertion(
    insertion: Insertion,
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    around: Surroundings,
    rng: np.random.Generator,
    options: RouteOptions,
) -> InsertionRoute:
    """How the arm carries out one insertion; see ``plan_insertions``."""
    first = None
    for stand_off in options.stand_offs_m:
        route = _at_stand_off(insertion, robot, placement, X_WB, around, rng, options, stand_off)
        first = first or route
        if route.reached or route.driver_tip_m > robot.driver_stroke_m:
            break
    assert first is not None
    if route.reached:
        return route
    if route.driver_entry_m > first.driver_entry_m:
        tried = (
            f"stand-offs to {route.driver_entry_m * 1e3:.0f} mm were tried; at {first.driver_entry_m * 1e3:.0f} mm "
        )
        return replace(first, reason=tried + first.reason)
    return first


def _at_stand_off(
    insertion: Insertion,
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    around: Surroundings,
    rng: np.random.Generator,
    options: RouteOptions,
    stand_off_m: float,
) -> InsertionRoute:
    planner = _Planner(robot, X_WB, around, options)
    X_WG = placement.guide_pose(insertion, stand_off_m)
    driver_tip = stand_off_m + insertion.depth_mm * 1e-3
    entry, tip = placement.points_to_world(insertion.entry_mm), placement.points_to_world(insertion.tip_mm)
    found = InsertionRoute(insertion.order, RouteStatus.UNREACHED, "", entry, tip, X_WG, stand_off_m, driver_tip)
    if driver_tip > robot.driver_stroke_m + STROKE_TOLERANCE_M:
        reason = (
            f"the tip lies {driver_tip * 1e3:.0f} mm before the guide's exit and the driver's stroke is "
            f"{robot.driver_stroke_m * 1e3:.0f} mm: the path would have to be "
            f"{(driver_tip - robot.driver_stroke_m) * 1e3:.0f} mm shorter or the stand-off smaller"
        )
        return replace(found, reason=reason)
    X_BG = in_base(X_WB, X_WG)
    solutions = axis_solutions(robot, X_BG, rng, usable=planner.is_clear)
    if not solutions[0].reached:
        return replace(found, reason=f"the guide's pose is not reached: {solutions[0].reason}")
    failures = []
    for solution in solutions:
        moves = planner.moves(X_BG, solution)
        if isinstance(moves, str):
            failures.append(moves)
            continue
        approach, align, clearance = moves
        position, axis = _tip_errors(robot, X_WB, align.positions[-1], driver_tip, entry, tip)
        return replace(
            found,
            status=RouteStatus.REACHED,
            segments=planner.segments(approach, align, driver_tip),
            manipulability=min(manipulability(robot, q) for q in align.positions),
            limit_margin=float(limit_margin(robot, align.positions).min()),
            patient_clearance_m=clearance.patient_m,
            table_clearance_m=clearance.table_m,
            self_clearance_m=clearance.self_m,
            position_error_m=position,
            axis_error_rad=axis,
        )
    reasons = "; ".join(dict.fromkeys(failures))
    return replace(found, reason=f"none of {len(solutions)} postures can be used: {reasons}")


class _Planner:
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
        knots = self.align_knots(X_BG, solution.q)
        if isinstance(knots, str):
            return knots
        align_clearance = self.clearance(knots)
        if reason := self.too_near(align_clearance):
            return f"while it aligns {reason}"
        align = along(knots, self.speed, self.acceleration, self.options.sample_s)
        nearest = ""
        for stops in self.ways(X_BG, knots[0]):
            approach_clearance = self.clearance(_fine(stops))
            reason = self.too_near(approach_clearance)
            if not reason:
                approach = self.timed(stops)
                return approach, align, _both(approach_clearance, align_clearance)
            nearest = nearest or reason
        return f"on every way from home that was tried {nearest}"

    def align_knots(self, X_BG: RigidTransform, q_align: FloatArray) -> FloatArray | str:
        """(k, n) joint positions along the axis from the back-off to the stand-off, or why they break off."""
        steps = max(2, int(np.ceil(self.options.back_off_m / AXIS_STEP_M)))
        knots = [q_align]
        for k in range(1, steps + 1):
            back = self.options.back_off_m * k / steps
            q = solve_from(self.robot, _shifted(X_BG, -back * X_BG.rotation[:, 2]), knots[-1])
            if q is None:
                return f"the arm cannot draw back {back * 1e3:.0f} mm along the axis inside its joint limits"
            jump = float(np.abs(q - knots[-1]).max())
            if jump > LARGEST_JOINT_STEP_RAD:
                step = self.options.back_off_m / steps * 1e3
                return f"a joint jumps by {jump:.2f} rad within {step:.0f} mm of the axis"
            knots.append(q)
        return np.array(knots[::-1])

    def ways(self, X_BG: RigidTransform, q_end: FloatArray) -> Iterator[list[FloatArray]]:
        """Ways from home to ``q_end`` as stops: straight in joint space first, then over raised points."""
        home = np.asarray(self.robot.home)
        yield [home, q_end]
        up = self.X_WB.rotation[2]  # the world's z in base axes
        behind = _shifted(X_BG, -self.options.back_off_m * X_BG.rotation[:, 2])
        for lift in DETOUR_LIFTS_M:
            raised = solve_from(self.robot, _shifted(behind, lift * up), q_end)
            if raised is not None:
                yield [home, raised, q_end]
        for lift in DETOUR_LIFTS_M:
            drawn = solve_from(self.robot, _shifted(behind, -lift * X_BG.rotation[:, 2]), q_end)
            if drawn is not None:
                yield [home, drawn, q_end]

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


def _tip_errors(
    robot: RobotModel, X_WB: RigidTransform, q: FloatArray, driver_m: float, entry_m: FloatArray, tip_m: FloatArray
) -> tuple[float, float]:
    """Distance of the needle's tip from its goal and angle of the needle to its axis, by forward kinematics."""
    X_GN = RigidTransform.from_parts(Frame.GUIDE, Frame.NEEDLE, np.eye(3), (0.0, 0.0, driver_m), LengthUnit.METRE)
    X_WN = X_WB @ robot.forward(q) @ X_GN
    axis, planned = X_WN.rotation[:, 2], tip_m - entry_m
    angle = np.arctan2(np.linalg.norm(np.cross(axis, planned)), axis @ planned)
    return float(np.linalg.norm(X_WN.translation - tip_m)), float(angle)
