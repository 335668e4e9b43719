"""The moves of an arm to one posture and back: kept clear of everything at a stated resolution, and timed."""

from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

import numpy as np

from needleplan.frames import FloatArray, RigidTransform
from robots.axis_solver import AxisSolver
from robots.clearance import ArmClearance, PlacedNeedle, Surroundings, posture_clearances
from robots.detours import find_detour
from robots.kinematics import AxisSolution
from robots.model import RobotModel
from robots.route import Phase, Segment
from robots.route_checks import RouteChecks, with_needles
from robots.route_options import RouteOptions
from robots.timed_paths import LARGEST_ROUNDING, RoundedLine, along
from robots.timing import MotionLimits, TimedPath, advance

#: Spacing of the searches along the axis, and the largest joint step between two of them.
AXIS_STEP_M = 0.002
LARGEST_JOINT_STEP = 0.1
#: The align move may be shortened to this where the arm cannot draw back as far as is asked for.
SHORTEST_BACK_OFF_M = 0.01
#: How far beyond the end of a needle that stays the guide is drawn back at most until it is clear of it.
BEYOND_NEEDLE_M = 0.10
#: Clearance that a search for a detour keeps beyond what is asked for, so that its corners can be rounded.
DETOUR_MARGIN_M = 0.005
#: Clearance from its own needle, beyond what is asked for, at which the guide moves aside.
LEAVING_MARGIN_M = 0.008
#: Searches for a detour from different seeds, where what was found cannot be used.
DETOUR_SEARCHES = 2
#: Roundings of the corners of a detour that are tried; with 0 the arm stops at each.
ROUNDINGS = (LARGEST_ROUNDING, 0.6, 0.3, 0.0)


@lru_cache(maxsize=8)
def solver_of(robot: RobotModel) -> AxisSolver:
    """The solver of a robot, whose start postures are laid out once."""
    return AxisSolver(robot)


@dataclass(frozen=True, slots=True, eq=False)
class ArmPath:
    """The arm's way to one posture and home again.

    Attributes:
        approach: from home to the start of align.
        align: along the axis to the stand-off.
        home: from the start of align back home.
        clearance: lower bound over all of it and the insertion.
        stops: postures of the approach between its ends, over which it goes round obstacles.
    """

    approach: TimedPath
    align: TimedPath
    home: TimedPath
    clearance: ArmClearance
    stops: int


class ArmMoves:
    """Plans the moves of one arm at one place; holds what every step of the search needs."""

    def __init__(
        self, robot: RobotModel, X_WB: RigidTransform, around: Surroundings, options: RouteOptions
    ) -> None:
        self.robot, self.X_WB, self.around, self.options = robot, X_WB, around, options
        self.checks = RouteChecks(robot, X_WB, options)
        self.solver = solver_of(robot)
        self.steps = options.check_steps(robot.chain.prismatic)
        own = MotionLimits(robot.velocity_limits, robot.acceleration_limits, robot.jerk_limits)
        self.limits = own.scaled(options.speed_fraction)

    def clearances(self, q: FloatArray) -> FloatArray:
        """(k,) least clearances of postures (k, n), each for itself."""
        return self.checks.clearances(q, self.around)

    @cached_property
    def home_fault(self) -> str:
        """Why the arm cannot stand at home here; empty where it can."""
        reason = self.checks.too_near(self.checks.clearance(np.asarray(self.robot.home)[None], self.around))
        return reason and f"at home {reason}: another place of the base or another home is needed"

    def path(
        self, X_BG: RigidTransform, solution: AxisSolution, tip_m: float, stays: PlacedNeedle | None
    ) -> ArmPath | str:
        """The arm's way to a posture at the stand-off and back, or why it cannot be used.

        Args:
            X_BG: the guide's pose at the stand-off.
            solution: the posture there.
            tip_m: how far the driver goes.
            stays: the needle that is left in place; None where it is drawn back into the guide.
        """
        assert solution.q is not None
        if reason := self.nearly_singular(solution.q):
            return reason
        knots = self.align_knots(X_BG, solution.q, stays)
        if isinstance(knots, str):
            return knots
        clearance = self.checks.checked(knots, self.around)
        if stays is None:
            shortest = 1 + int(np.ceil(min(SHORTEST_BACK_OFF_M, self.options.back_off_m) / AXIS_STEP_M))
            while self.checks.too_near(clearance) and len(knots) // 2 >= max(shortest, 4):
                knots = knots[-(len(knots) // 2) :]
                clearance = self.checks.checked(knots, self.around)
        if reason := self.checks.too_near(clearance):
            return f"while it aligns {reason}"
        if reason := self.nearly_singular(knots):
            return reason
        inserting = self.checks.insertion_clearance(solution.q, tip_m, self.around)
        if reason := self.checks.too_near(inserting):
            return f"while the needle goes in {reason}"
        align = along(knots, self.limits, self.options.sample_s)
        out = self.way(np.asarray(self.robot.home), knots[0], self.around)
        if isinstance(out, str):
            return out
        line, found = out
        clearance = clearance.and_of(inserting).and_of(found)
        approach = line.timed(self.limits, self.options.sample_s)
        home = approach.reversed()
        if stays is not None:
            after = self.around.with_needles((*self.around.needles, stays))
            found = self.checks.checked(line.points(self.steps), after)
            if self.checks.too_near(found):
                back = self.way(knots[0], np.asarray(self.robot.home), after)
                if isinstance(back, str):
                    return f"with the needle in place {back}"
                home = back[0].timed(self.limits, self.options.sample_s)
                found = back[1]
            clearance = with_needles(clearance).and_of(found)
        return ArmPath(approach, align, home, clearance, len(line.stops) - 2)

    def nearly_singular(self, q: FloatArray) -> str:
        """Why joints cannot follow an axis at postures (k, n) or (n,); empty where they can."""
        share = float(self.solver.scores(q)[0].min()) / self.solver.best_manipulability
        if share >= self.options.least_manipulability:
            return ""
        return (
            f"while it aligns the arm has {share:.2g} of its best manipulability where "
            f"{self.options.least_manipulability:g} is asked for: nearly a singular posture, at which its joints "
            "cannot follow the axis"
        )

    def align_knots(
        self, X_BG: RigidTransform, q_align: FloatArray, stays: PlacedNeedle | None
    ) -> FloatArray | str:
        """(k, n) joint positions along the axis to the stand-off, or why there are none.

        A needle that stays is left through the guide's opened side, so the guide first has to be drawn back along
        it until it is clear of its outer end.
        """
        options = self.options
        length = options.back_off_m
        if stays is not None:
            stand_off = float(np.linalg.norm(stays.entry_m - (self.X_WB @ X_BG).translation))
            length = max(length, stays.outside_m - stand_off + stays.radius_m + BEYOND_NEEDLE_M)
        steps = max(4, int(np.ceil(length / AXIS_STEP_M)))
        knots, reason = [q_align], ""
        for k in range(1, steps + 1):
            back = length * k / steps
            q = self.solver.follow(shifted(X_BG, -back * X_BG.rotation[:, 2]), knots[-1])
            if q is None:
                reason = f"the arm cannot draw back {back * 1e3:.0f} mm along the axis inside its joint limits"
                break
            jump = float(np.abs(q - knots[-1]).max())
            if jump > LARGEST_JOINT_STEP:
                reason = (
                    f"a joint jumps by {jump:.2f} rad when the arm draws back {back * 1e3:.0f} mm along the axis"
                )
                break
            knots.append(q)
        if stays is not None:
            beyond = self._beyond_needle(np.array(knots), stays, length / steps)
            return (
                beyond
                if beyond is not None
                else reason
                or (
                    "the arm does not come clear of the needle that it leaves in place when it draws back "
                    f"{length * 1e3:.0f} mm along it"
                )
            )
        shortest = 1 + int(np.ceil(min(SHORTEST_BACK_OFF_M, options.back_off_m) / AXIS_STEP_M))
        return reason if len(knots) < max(shortest, 4) else np.array(knots[::-1])

    def _beyond_needle(self, knots: FloatArray, stays: PlacedNeedle, step_m: float) -> FloatArray | None:
        """Knots from where the guide is clear of its own needle to the stand-off; None where it never is.

        ``knots`` (k, n) begin at the stand-off and are ``step_m`` apart; at least the back-off is kept of them.
        """
        alone = self.around.with_needles((stays,))
        found = posture_clearances(self.robot, self.X_WB, knots, alone).needles_m
        assert found is not None
        # A little more than is asked for, so that the way from there begins with room on every side.
        clear = found >= self.options.needle_clearance_m + LEAVING_MARGIN_M
        clear[: max(3, int(np.ceil(self.options.back_off_m / step_m - 1e-9)))] = False
        return knots[int(np.argmax(clear)) :: -1] if clear.any() else None

    def way(
        self, start: FloatArray, end: FloatArray, around: Surroundings
    ) -> tuple[RoundedLine, ArmClearance] | str:
        """The way between two postures and its clearance: straight, or round what stands there; or why not."""
        straight = RoundedLine.over([start, end], self.limits.speed, 0.0)
        found = self.checks.checked(straight.points(self.steps), around)
        reason = self.checks.too_near(found)
        if not reason:
            return straight, found
        tried = "no way round was looked for"
        for search in range(DETOUR_SEARCHES if self.options.detour_iterations else 0):
            margin = DETOUR_MARGIN_M
            if not self.checks.clear(np.array([start, end]), around, margin).all():
                margin = 0.0
            detour = find_detour(
                start, end, self.robot.q_min, self.robot.q_max, self.steps,
                partial(self.checks.clear, around=around, margin_m=margin),
                self.options.seed + search, self.options.detour_iterations,
            )  # fmt: skip
            if not detour.found:
                # Another seed helps little where this one did not; another posture at the goal may.
                tried = detour.reason
                break
            lines = [RoundedLine.over(detour.stops, self.limits.speed, rounding) for rounding in ROUNDINGS]
            lines.sort(key=lambda line: line.timed(self.limits, self.options.sample_s).duration_s)
            for line in lines:
                found = self.checks.checked(line.points(self.steps), around)
                if not self.checks.too_near(found):
                    return line, found
            tried = f"the way round that was found is too near between its postures: {self.checks.too_near(found)}"
        return f"on the straight way to or from home {reason}; {tried}"

    def segments(self, path: ArmPath, tip_m: float) -> tuple[Segment, ...]:
        """The four phases with the driver's column."""
        going_in = self.driver(0.0, tip_m, self.options.insertion_speed_m_s)
        coming_out = self.driver(tip_m, 0.0, self.options.withdrawal_speed_m_s)
        arm = path.align.positions[-1]
        retract = held(arm, coming_out).then(with_driver(path.align.reversed())).then(with_driver(path.home))
        return (
            Segment.of_path(Phase.APPROACH, with_driver(path.approach)),
            Segment.of_path(Phase.ALIGN, with_driver(path.align)),
            Segment.of_path(Phase.INSERT, held(arm, going_in)),
            Segment.of_path(Phase.RETRACT, retract),
        )

    def driver(self, start_m: float, end_m: float, speed_m_s: float) -> TimedPath:
        """A move of the driver from rest to rest."""
        limits = MotionLimits(
            np.array([speed_m_s]),
            np.array([self.robot.driver_acceleration_limit]),
            np.array([self.robot.driver_jerk_limit]),
        )
        return advance(start_m, end_m, limits, self.options.sample_s)


def shifted(pose: RigidTransform, shift_m: FloatArray) -> RigidTransform:
    """A pose moved by ``shift_m`` (3,) in its parent's axes."""
    return RigidTransform.from_parts(pose.parent, pose.child, pose.rotation, pose.translation + shift_m, pose.unit)


def with_driver(path: TimedPath) -> TimedPath:
    """A path of the arm with the driver at rest at 0."""
    rest = np.zeros((len(path.time_s), 1))
    columns = (np.hstack([values, rest]) for values in (path.positions, path.velocities, path.accelerations))
    return TimedPath(path.time_s, *columns)


def held(arm: FloatArray, driver: TimedPath) -> TimedPath:
    """A path of the driver with the arm at rest at ``arm`` (n,)."""
    still = np.broadcast_to(arm, (len(driver.time_s), len(arm)))
    rest = np.zeros_like(still)
    return TimedPath(
        driver.time_s,
        np.hstack([still, driver.positions]),
        np.hstack([rest, driver.velocities]),
        np.hstack([rest, driver.accelerations]),
    )
