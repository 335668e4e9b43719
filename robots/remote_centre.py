"""The remote centre: the point of the skin that a needle passes, about which it may turn and which must not move.

A needle that is partly in the body can be steered only by turning it about its entry: the guide moves on a sphere
around the entry, with its axis always through it. Metres and radians.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, RigidTransform, unit_vector
from robots.chain_kernels import guide_matrices
from robots.frames import in_base
from robots.kinematics import guide_pose
from robots.model import RobotModel
from robots.moves import LARGEST_JOINT_STEP, solver_of
from robots.route_options import RouteOptions
from robots.timed_paths import along
from robots.timing import MotionLimits, TimedPath

#: Greatest turn between two searches.
TURN_STEP_RAD = np.deg2rad(0.25)
#: Needles are not turned farther in one go: tissue tears and the needle bends instead of turning.
LARGEST_TURN_RAD = np.deg2rad(20.0)


def axis_distances(robot: RobotModel, X_WB: RigidTransform, q: ArrayLike, entry_m: ArrayLike) -> FloatArray:
    """Distances (k,) of the guide's axis from a world point (3,) at postures (k, n), by forward kinematics."""
    chain = robot.chain
    positions = np.ascontiguousarray(np.atleast_2d(np.asarray(q, dtype=np.float64)))
    poses = X_WB.matrix @ guide_matrices(chain.constants, chain.prismatic, positions)
    off = np.asarray(entry_m, dtype=np.float64) - poses[:, :3, 3]
    return np.asarray(np.linalg.norm(np.cross(poses[:, :3, 2], off), axis=1))


def denser(path: TimedPath) -> FloatArray:
    """(2k - 1, d) positions of a path at its samples and midway between each two."""
    middle = 0.5 * (path.time_s[1:] + path.time_s[:-1])
    return path.at(np.sort(np.concatenate([path.time_s, middle])))[0]


class SteeringStatus(StrEnum):
    """Whether a needle can be turned as wanted."""

    POSSIBLE = "possible"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, eq=False)
class Steering:
    """A turn of a needle about its entry, or why it is refused.

    Attributes:
        status: whether it is possible.
        reason: empty when it is; else a sentence.
        path: the arm's joints and, last, the driver's position over time, from rest to rest; None when refused.
        turn_rad: angle of the turn.
        remote_centre_deviation_m: greatest distance of the needle's axis from the entry, by forward kinematics at
            every sample and between each two; infinite when refused.
        tip_shift_m: how far the tip moves, from its place to the place on the new axis at the same depth.
    """

    status: SteeringStatus
    reason: str
    path: TimedPath | None
    turn_rad: float
    remote_centre_deviation_m: float
    tip_shift_m: float


def steer(
    robot: RobotModel,
    X_WB: RigidTransform,
    q: ArrayLike,
    driver_m: float,
    entry_m: ArrayLike,
    direction: ArrayLike,
    options: RouteOptions | None = None,
) -> Steering:
    """Turns a needle about its entry into another direction; the tip's depth beyond the entry stays.

    The guide's distance from the entry stays too, so the driver does not move. Clearance is not looked at: a
    turn moves the guide by centimetres at most; ask ``robots.clearance.arm_clearance`` with the path's positions.

    Args:
        robot: the arm.
        X_WB: pose of its base in the world.
        q: (n,) where the arm stands, its axis through the entry.
        driver_m: position of the driver; the tip must lie beyond the entry.
        entry_m: (3,) the entry in the world.
        direction: (3,) wanted direction of the needle in the world.
        options: speeds, sampling, the allowed deviation and the least manipulability.

    Raises:
        OptionError: the needle's axis does not pass through the entry, or its tip is not in the body.
        RobotError: ``q`` has a wrong shape.
    """
    chosen = options or RouteOptions()
    entry, wanted = np.asarray(entry_m, dtype=np.float64), unit_vector(direction)
    start = np.asarray(q, dtype=np.float64)
    X_WG = X_WB @ robot.forward(start)
    now = X_WG.rotation[:, 2]
    off = float(axis_distances(robot, X_WB, start, entry)[0])
    if off > chosen.remote_centre_m:
        raise OptionError(
            f"the needle's axis passes {off * 1e3:.2f} mm beside the entry: it can only turn about a point on it"
        )
    stand_off = float((entry - X_WG.translation) @ now)
    if not stand_off < driver_m <= robot.driver_stroke_m + 1e-9:
        raise OptionError(
            f"the tip stands {driver_m * 1e3:.0f} mm before the guide's exit and the entry "
            f"{stand_off * 1e3:.0f} mm: no needle is in the body that could be steered"
        )
    cross = np.cross(now, wanted)
    angle = float(np.arctan2(np.linalg.norm(cross), now @ wanted))
    shift = 2.0 * np.sin(0.5 * angle) * (driver_m - stand_off)

    def refused(reason: str) -> Steering:
        return Steering(SteeringStatus.REFUSED, reason, None, angle, np.inf, shift)

    if angle > LARGEST_TURN_RAD:
        return refused(
            f"a turn of {np.rad2deg(angle):.1f}° is more than the {np.rad2deg(LARGEST_TURN_RAD):.0f}° by which a "
            "needle in tissue is turned: withdraw it and plan another path"
        )
    if angle < 1e-9:
        rest = np.append(start, driver_m)[None].repeat(2, axis=0)
        still = TimedPath(np.array([0.0, chosen.sample_s]), rest, np.zeros_like(rest), np.zeros_like(rest))
        return Steering(SteeringStatus.POSSIBLE, "", still, 0.0, off, 0.0)
    knots = _turned(robot, X_WB, start, entry, now, cross / np.linalg.norm(cross), angle, stand_off, chosen)
    if isinstance(knots, str):
        return refused(knots)
    turn = _timed(robot, knots, angle * (driver_m - stand_off), chosen)
    deviation = float(axis_distances(robot, X_WB, denser(turn), entry).max())
    if deviation > chosen.remote_centre_m:
        return refused(
            f"the needle's axis would pass {deviation * 1e3:.2f} mm beside the entry where "
            f"{chosen.remote_centre_m * 1e3:.2f} mm are allowed"
        )
    driver = np.full((len(turn.time_s), 1), driver_m)
    rest = np.zeros_like(driver)
    path = TimedPath(
        turn.time_s,
        np.hstack([turn.positions, driver]),
        np.hstack([turn.velocities, rest]),
        np.hstack([turn.accelerations, rest]),
    )
    return Steering(SteeringStatus.POSSIBLE, "", path, angle, deviation, shift)


def _timed(robot: RobotModel, knots: FloatArray, tip_way_m: float, options: RouteOptions) -> TimedPath:
    """The turn over time; the tip goes sideways through tissue no faster than it goes forward."""
    share = options.speed_fraction
    limits = MotionLimits(
        np.append(share * robot.velocity_limits, options.insertion_speed_m_s),
        np.append(share * robot.acceleration_limits, robot.driver_acceleration_limit),
        np.append(share * robot.jerk_limits, robot.driver_jerk_limit),
    )
    # The way of the tip is followed like one more joint.
    found = along(np.column_stack([knots, np.linspace(0.0, tip_way_m, len(knots))]), limits, options.sample_s)
    return TimedPath(found.time_s, found.positions[:, :-1], found.velocities[:, :-1], found.accelerations[:, :-1])


def _turned(
    robot: RobotModel,
    X_WB: RigidTransform,
    start: FloatArray,
    entry: FloatArray,
    now: FloatArray,
    axis: FloatArray,
    angle: float,
    stand_off: float,
    options: RouteOptions,
) -> FloatArray | str:
    """(k, n) joint positions along the turn, or why the arm cannot follow it."""
    solver = solver_of(robot)
    steps = max(4, int(np.ceil(angle / TURN_STEP_RAD)))
    knots = [start]
    for k in range(steps + 1):
        turned = angle * k / steps
        # Rodrigues' formula for a direction at right angles to the axis of the turn.
        direction = np.cos(turned) * now + np.sin(turned) * np.cross(axis, now)
        X_BG = in_base(X_WB, guide_pose(entry - stand_off * direction, direction, X_WB.parent))
        q = solver.follow(X_BG, knots[-1])
        if q is None:
            return f"the arm cannot turn the needle by {np.rad2deg(turned):.1f}° inside its joint limits"
        share = float(solver.scores(q)[0][0]) / solver.best_manipulability
        if share < options.least_manipulability:
            return (
                f"at {np.rad2deg(turned):.1f}° the arm has {share:.2g} of its best manipulability: nearly a "
                "singular posture, from which its joints cannot follow the turn"
            )
        jump = float(np.abs(q - knots[-1]).max())
        if jump > LARGEST_JOINT_STEP:
            return f"a joint jumps by {jump:.2f} rad when the needle is turned by {np.rad2deg(turned):.1f}°"
        if k:  # the first only shows that the arm can begin
            knots.append(q)
    return np.array(knots)
