"""The way out of the body from any moment of a route: brake, draw the needle back along its axis, then the arm.

Nothing moves sideways while the needle is in the body: the arm stands still until the needle is back in the guide,
so the needle's axis keeps passing through the entry. Then the arm goes back along the axis, the way it came.
"""

from dataclasses import dataclass

import numpy as np

from needleplan.errors import OptionError, RobotError
from needleplan.frames import FloatArray
from robots.model import RobotModel
from robots.moves import held
from robots.route import InsertionRoute, Phase
from robots.timing import SHORTEST_PIECE_S, MotionLimits, TimedPath, advance

#: Times of a change of pace that are tried, from the shortest, and moments at which each is checked.
SHORTEST_CHANGE_S = 0.02
CHANGES_TRIED, MOMENTS_CHECKED = 60, 200
#: Moments at which a change of pace may begin.
DELAYS_TRIED = 16
#: Moments this near before and after a sample tell what its jerk is on both sides.
BESIDE_S = 1e-6
#: Least number of samples of a change of pace.
SAMPLES_OF_A_CHANGE = 16
#: Times and places this close are the same; limits are compared to a share.
ROUNDING = 1e-6
LIMIT_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class DriverState:
    """What the driver does at one moment.

    Attributes:
        position_m: where it stands.
        speed_m_s: positive into the body.
        acceleration_m_s2: positive into the body.
    """

    position_m: float
    speed_m_s: float = 0.0
    acceleration_m_s2: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class EmergencyRetract:
    """The way out from one moment of a route.

    Attributes:
        path: the arm's joints and, last, the driver over time: from the state at that moment to rest.
        stopped_s: when nothing moves deeper or farther along the route any more.
        outside_s: when the needle's tip has left the body; 0 where it was not in it.
        deepest_m: deepest position of the driver on the way.
    """

    path: TimedPath
    stopped_s: float
    outside_s: float
    deepest_m: float

    @property
    def duration_s(self) -> float:
        """Time until everything is at rest."""
        return self.path.duration_s


def emergency_retract(
    route: InsertionRoute, robot: RobotModel, phase: Phase, at: float | DriverState, sample_s: float = 0.01
) -> EmergencyRetract:
    """The way out from a moment of a phase.

    While the needle goes in or comes out, the driver brakes and draws it back in one time-optimal move within the
    driver's own limits; then the arm goes back along align to its start. While the arm approaches or aligns, it
    stops on its path, within its own limits, and goes back the way it came: home, or to the start of align. On its
    way home with the needle drawn back, or left in place, it goes on. A route that uses a share of the arm's
    limits leaves room to brake at once; where there is none, the arm brakes as soon as there is, or rests where the
    phase ends.

    Args:
        route: a route that is reached, as it was planned.
        robot: the arm.
        phase: the phase that is carried out.
        at: the time since the phase began; or, while the needle goes in, what the driver really does, which
            a gate may have held back.
        sample_s: greatest time between samples.

    Raises:
        RobotError: the route is not reached, does not state speeds, or belongs to another robot.
        OptionError: the moment lies outside the phase, or the driver cannot stop within its stroke.
    """
    if not route.reached:
        raise RobotError(f"insertion {route.order} is not reached: there is nothing to retract from")
    path, align = route.segment(phase).path, route.segment(Phase.ALIGN).path
    if path.positions.shape[1] != len(robot.joint_names) + 1:
        raise RobotError(
            f"the route moves {path.positions.shape[1] - 1} joints and {robot.name} has {len(robot.joint_names)}"
        )
    if isinstance(at, DriverState):
        if phase is not Phase.INSERT:
            raise OptionError(f"a state of the driver says where the needle is while it goes in, not in {phase}")
        return _withdrawn(route, robot, align, at, sample_s)
    if not 0 <= at <= path.duration_s:
        raise OptionError(f"the phase {phase} lasts {path.duration_s:.2f} s: there is no moment {at:g} s in it")
    if phase in (Phase.APPROACH, Phase.ALIGN):
        return _back(path, robot, at, sample_s)
    position, speed, acceleration, _ = (values[0] for values in path.at(at))
    if phase is Phase.INSERT or (position[-1] > ROUNDING and not route.needle_stays):
        return _withdrawn(route, robot, align, DriverState(position[-1], speed[-1], acceleration[-1]), sample_s)
    if path.duration_s - at < SHORTEST_PIECE_S:
        return _at_rest(path.positions[-1], sample_s)
    return EmergencyRetract(path.between(at, path.duration_s), 0.0, 0.0, float(position[-1]))


def _withdrawn(
    route: InsertionRoute, robot: RobotModel, align: TimedPath, driver: DriverState, sample_s: float
) -> EmergencyRetract:
    """The needle drawn back from any state of the driver, then the arm back along align."""
    if not np.isfinite([driver.position_m, driver.speed_m_s, driver.acceleration_m_s2]).all():
        raise OptionError("the driver's position, speed and acceleration must be finite numbers")
    if not -1e-9 <= driver.position_m <= robot.driver_stroke_m + 1e-9:
        raise OptionError(
            f"the driver cannot stand at {driver.position_m * 1e3:.1f} mm: its stroke is "
            f"{robot.driver_stroke_m * 1e3:.0f} mm"
        )
    limits = MotionLimits(
        np.array([robot.driver_velocity_limit]),
        np.array([robot.driver_acceleration_limit]),
        np.array([robot.driver_jerk_limit]),
    )
    back = align.reversed()
    if max(abs(driver.position_m), abs(driver.speed_m_s), abs(driver.acceleration_m_s2)) < 1e-9:
        return EmergencyRetract(back, 0.0, 0.0, 0.0)
    out = advance(driver.position_m, 0.0, limits, sample_s, driver.speed_m_s, driver.acceleration_m_s2)
    depth = out.positions[:, 0]
    deepest = float(depth.max())
    if deepest > robot.driver_stroke_m + 1e-9:
        raise OptionError(
            f"the driver at {driver.position_m * 1e3:.1f} mm and {driver.speed_m_s * 1e3:.1f} mm/s cannot stop "
            f"within its stroke of {robot.driver_stroke_m * 1e3:.0f} mm"
        )
    if float(depth.min()) < -1e-9:
        raise OptionError(
            f"the driver at {driver.position_m * 1e3:.1f} mm and {driver.speed_m_s * 1e3:.1f} mm/s cannot stop "
            "before its rear end, where it stands at 0"
        )
    within = np.flatnonzero(depth > route.driver_entry_m)
    moving_in = np.flatnonzero(out.velocities[:, 0] > 1e-9)
    path = held(align.positions[-1, :-1], out).then(back)
    return EmergencyRetract(
        path,
        0.0 if len(moving_in) == 0 else float(out.time_s[min(moving_in[-1] + 1, len(depth) - 1)]),
        0.0 if len(within) == 0 else float(out.time_s[min(within[-1] + 1, len(depth) - 1)]),
        deepest,
    )


def _back(path: TimedPath, robot: RobotModel, at: float, sample_s: float) -> EmergencyRetract:
    """The arm stopped on its path and taken back to where the path begins."""
    zero = np.zeros(1)
    limits = MotionLimits(
        # The driver stands still; any limit serves.
        np.concatenate([robot.velocity_limits, zero + 1.0]),
        np.concatenate([robot.acceleration_limits, zero + 1.0]),
        np.concatenate([robot.jerk_limits, zero + 1.0]),
    )
    halt = _halt(path, at, limits, sample_s)
    reached = at if halt is None else at + halt[1]
    if reached < 1e-9:
        return _at_rest(path.positions[0], sample_s)
    home = path.reversed()
    began = home.duration_s - reached
    best: _Pace | None = None
    for change in np.geomspace(SHORTEST_CHANGE_S, 4.0 + 2.0 * reached, CHANGES_TRIED):
        rate = min(1.0, 2.0 * reached / change)
        pace = _Pace(0.0, rate, change, (reached - 0.5 * rate * change) / rate)
        if (best is None or pace.duration_s < best.duration_s) and pace.keeps(home, began, limits):
            best = pace
    if best is None:
        raise RobotError(f"{robot.name}: no pace was found at which the arm keeps its limits on the way back")
    back = best.moved(home, began, sample_s)
    if halt is None:
        return EmergencyRetract(back, 0.0, 0.0, 0.0)
    return EmergencyRetract(halt[0].then(back), halt[0].duration_s, 0.0, 0.0)


def _halt(path: TimedPath, at: float, limits: MotionLimits, sample_s: float) -> tuple[TimedPath, float] | None:
    """The motion until the arm rests on its path, and how much of the path's own time it takes; None at rest.

    The shortest change of pace that keeps the limits, at once or, where there is no room for any, as soon as there
    is; at the latest the arm rests where the path ends.
    """
    _, speed, acceleration, _ = path.at(at)
    if max(np.abs(speed).max(), np.abs(acceleration).max()) < 1e-9:
        return None
    left = path.duration_s - at
    for delay in np.linspace(0.0, left, DELAYS_TRIED, endpoint=False):
        begin = at + float(delay)
        for change in np.geomspace(SHORTEST_CHANGE_S, max(2.0 * (left - delay), SHORTEST_CHANGE_S), CHANGES_TRIED):
            pace = _Pace(1.0, 0.0, float(change), 0.0)
            if pace.way <= left - delay and pace.keeps(path, begin, limits):
                braking = pace.moved(path, begin, sample_s)
                going_on = path.between(at, begin) if delay > 0 else None
                return braking if going_on is None else going_on.then(braking), float(delay) + pace.way
    return path.between(at, path.duration_s), left


@dataclass(frozen=True, slots=True)
class _Pace:
    """How fast a timed path is followed: its own time over real time.

    Changes by the smooth step 3x² − 2x³ from ``before`` to ``after`` in ``change_s``, then stays for ``then_s``.
    With the path's own time τ(t) the joints have q̇ = p'τ̇, q̈ = p''τ̇² + p'τ̈ and q⃛ = p'''τ̇³ + 3p''τ̇τ̈ + p'τ⃛.
    """

    before: float
    after: float
    change_s: float
    then_s: float

    @property
    def duration_s(self) -> float:
        return self.change_s + self.then_s

    @property
    def way(self) -> float:
        """How much of the path's own time passes."""
        return 0.5 * (self.before + self.after) * self.change_s + self.after * self.then_s

    def law(self, time_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The path's own time since the beginning, and its first three derivatives, each (k,)."""
        span = max(self.change_s, 1e-12)
        x = np.clip(time_s / span, 0.0, 1.0)
        rise, changing = self.after - self.before, (time_s <= self.change_s).astype(np.float64)
        return (
            span * (self.before * x + rise * (x**3 - 0.5 * x**4)) + self.after * np.maximum(time_s - span, 0.0),
            self.before + rise * x**2 * (3.0 - 2.0 * x),
            rise * 6.0 * x * (1.0 - x) / span,
            rise * (6.0 - 12.0 * x) / span**2 * changing,
        )

    def moments(self, own_s: FloatArray) -> FloatArray:
        """(k,) when the path's own times since the beginning (k,) are passed, by Newton's method."""
        grid = np.append(np.linspace(0.0, self.change_s, MOMENTS_CHECKED), self.duration_s)
        time = np.interp(own_s, self.law(grid)[0], grid)
        for _ in range(4):
            passed, rate, *_ = self.law(time)
            time = np.clip(time + (own_s - passed) / np.maximum(rate, 1e-3), 0.0, self.duration_s)
        return np.asarray(time)

    def keeps(self, path: TimedPath, at: float, limits: MotionLimits) -> bool:
        """True where the path from its moment ``at`` keeps the limits at this pace."""
        # After the change, at a steady pace of at most 1, the path keeps the limits as it does by itself.
        times = np.linspace(0.0, self.change_s, MOMENTS_CHECKED)
        # The path's jerk jumps at its own samples: both sides of each count.
        jumps = self.moments(path.time_s[(path.time_s > at) & (path.time_s < at + self.law(times)[0][-1])] - at)
        times = np.clip(np.concatenate([times, jumps - BESIDE_S, jumps + BESIDE_S]), 0.0, self.change_s)
        own, rate, change, jolt = (values[:, None] for values in self.law(times))
        _, v, a, j = path.at(at + own[:, 0])
        found = (
            (np.abs(v * rate), limits.speed),
            (np.abs(a * rate**2 + v * change), limits.acceleration),
            (np.abs(j * rate**3 + 3.0 * a * rate * change + v * jolt), limits.jerk),
        )
        return all((values <= bound * (1.0 + LIMIT_ROUNDING)).all() for values, bound in found)

    def moved(self, path: TimedPath, at: float, sample_s: float) -> TimedPath:
        """The motion from the path's moment ``at`` at this pace."""
        count = max(SAMPLES_OF_A_CHANGE, int(np.ceil(self.change_s / sample_s)))
        own_samples = path.time_s[(path.time_s > at) & (path.time_s < at + self.way)] - at
        even = np.concatenate(
            [
                np.linspace(0.0, self.change_s, count + 1),
                np.linspace(self.change_s, self.duration_s, int(np.ceil(self.then_s / sample_s)) + 1)[1:],
            ]
        )
        # The path's own samples hold every change of its jerk; the even ones give way to them.
        jumps = self.moments(own_samples)
        inner = (jumps > SHORTEST_PIECE_S) & (jumps < self.duration_s - SHORTEST_PIECE_S)
        jumps = jumps[inner & (np.abs(jumps - self.change_s) > SHORTEST_PIECE_S)]
        fixed = np.sort(np.concatenate([jumps, [0.0, self.change_s, self.duration_s]]))
        place = np.clip(np.searchsorted(fixed, even), 1, len(fixed) - 1)
        apart = np.minimum(np.abs(even - fixed[place - 1]), np.abs(even - fixed[place]))
        time = np.unique(np.concatenate([fixed, even[apart > SHORTEST_PIECE_S]]))
        own, rate, change, _ = self.law(time)
        p, v, a, _ = path.at(at + own)
        return TimedPath(time, p, v * rate[:, None], a * rate[:, None] ** 2 + v * change[:, None])


def _at_rest(position: FloatArray, sample_s: float) -> EmergencyRetract:
    rest = np.zeros((2, len(position)))
    path = TimedPath(np.array([0.0, sample_s]), np.array([position, position]), rest, rest)
    return EmergencyRetract(path, 0.0, 0.0, 0.0)
