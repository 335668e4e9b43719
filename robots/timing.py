"""Time along a path: as quick as the limits of speed, acceleration and jerk allow, computed by ruckig.

Every move here follows a path that is known beforehand, so what is left is one number, the place along the path,
over time. Ruckig (Berscheid and Kröger, "Jerk-limited Real-time Trajectory Generation with Arbitrary Target
States", Robotics: Science and Systems 2021) gives its time-optimal law; joints that follow a path by one number
never leave it. Units are those of the joints: rad or m, and seconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only

#: Samples are no closer together: the third derivative of a position over less time is rounding.
SHORTEST_PIECE_S = 5e-5
#: Places of a law that differ by less are the same.
SAME_PLACE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class MotionLimits:
    """Greatest speed, acceleration and jerk of d joints, the same in both directions.

    Attributes:
        speed: (d,) rad/s or m/s.
        acceleration: (d,) rad/s² or m/s².
        jerk: (d,) rad/s³ or m/s³.
    """

    speed: FloatArray
    acceleration: FloatArray
    jerk: FloatArray

    def __post_init__(self) -> None:
        for name in ("speed", "acceleration", "jerk"):
            values = read_only(np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64)))
            if (
                values.shape != np.shape(np.atleast_1d(self.speed))
                or not (np.isfinite(values) & (values > 0)).all()
            ):
                raise OptionError(f"limits of {name} must be finite, greater than zero and one for each joint")
            object.__setattr__(self, name, values)

    def scaled(self, share: float) -> "MotionLimits":
        """A share of all limits."""
        return MotionLimits(share * self.speed, share * self.acceleration, share * self.jerk)


@dataclass(frozen=True, slots=True, eq=False)
class TimedPath:
    """Positions over time with their first and second derivatives.

    Between two samples the motion is the polynomial of fifth degree that has both samples' values, which is the
    motion itself wherever the jerk is constant between them.

    Attributes:
        time_s: (k,) rising from 0.
        positions: (k, d) joint positions.
        velocities: (k, d) their speeds.
        accelerations: (k, d) their accelerations.
    """

    time_s: FloatArray
    positions: FloatArray
    velocities: FloatArray
    accelerations: FloatArray

    def __post_init__(self) -> None:
        for name in ("time_s", "positions", "velocities", "accelerations"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def duration_s(self) -> float:
        """Time from the first sample to the last."""
        return float(self.time_s[-1])

    def reversed(self) -> "TimedPath":
        """The same path the other way: speeds change their sign, accelerations do not."""
        return TimedPath(
            self.time_s[-1] - self.time_s[::-1],
            self.positions[::-1],
            -self.velocities[::-1],
            self.accelerations[::-1],
        )

    def then(self, other: "TimedPath") -> "TimedPath":
        """This path and after it ``other``, which begins where and as fast as this one ends."""
        for name, end, begin in (
            ("place", self.positions[-1], other.positions[0]),
            ("speed", self.velocities[-1], other.velocities[0]),
        ):
            if end.shape != begin.shape or not np.allclose(end, begin, atol=1e-7):
                raise OptionError(f"a path can only go on in the {name} in which the one before it ends")
        return TimedPath(
            np.concatenate([self.time_s, self.time_s[-1] + other.time_s[1:]]),
            np.concatenate([self.positions, other.positions[1:]]),
            np.concatenate([self.velocities, other.velocities[1:]]),
            np.concatenate([self.accelerations, other.accelerations[1:]]),
        )

    def between(self, begin_s: float, end_s: float) -> "TimedPath":
        """The part from one time to a later one, its own time from 0; what is between stays as it is sampled."""
        inner = (self.time_s > begin_s + SHORTEST_PIECE_S) & (self.time_s < end_s - SHORTEST_PIECE_S)
        ends = np.clip([begin_s, end_s], 0.0, self.duration_s)
        position, velocity, acceleration, _ = self.at(ends)
        return TimedPath(
            np.concatenate([ends[:1], self.time_s[inner], ends[1:]]) - ends[0],
            np.concatenate([position[:1], self.positions[inner], position[1:]]),
            np.concatenate([velocity[:1], self.velocities[inner], velocity[1:]]),
            np.concatenate([acceleration[:1], self.accelerations[inner], acceleration[1:]]),
        )

    def at(self, time_s: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Position, speed, acceleration and jerk, each (m, d), at times (m,); times outside count as the ends."""
        times = np.clip(np.atleast_1d(np.asarray(time_s, dtype=np.float64)), 0.0, self.time_s[-1])
        k = np.clip(np.searchsorted(self.time_s, times, side="right") - 1, 0, len(self.time_s) - 2)
        span = (self.time_s[k + 1] - self.time_s[k])[:, None]
        u = (times - self.time_s[k])[:, None]
        p, v, a = self.positions[k], self.velocities[k], self.accelerations[k]
        # What the parabola of the first sample leaves to be met at the second.
        gap = self.positions[k + 1] - (p + v * span + 0.5 * a * span**2)
        rush = self.velocities[k + 1] - (v + a * span)
        push = self.accelerations[k + 1] - a
        c3 = (10.0 * gap - 4.0 * rush * span + 0.5 * push * span**2) / span**3
        c4 = (-15.0 * gap + 7.0 * rush * span - push * span**2) / span**4
        c5 = (6.0 * gap - 3.0 * rush * span + 0.5 * push * span**2) / span**5
        return (
            p + u * (v + u * (0.5 * a + u * (c3 + u * (c4 + u * c5)))),
            v + u * (a + u * (3.0 * c3 + u * (4.0 * c4 + u * 5.0 * c5))),
            a + u * (6.0 * c3 + u * (12.0 * c4 + u * 20.0 * c5)),
            6.0 * c3 + u * (24.0 * c4 + u * 60.0 * c5),
        )


@dataclass(frozen=True, slots=True, eq=False)
class PlaceLaw:
    """One number over time, the place along a path, sampled at every change of its jerk and between.

    Attributes:
        time_s: (k,) rising from 0.
        place: (k,) places.
        speed: (k,) first derivatives.
        acceleration: (k,) second derivatives.
    """

    time_s: FloatArray
    place: FloatArray
    speed: FloatArray
    acceleration: FloatArray


@dataclass(frozen=True, slots=True)
class PlaceState:
    """A place along a path with its first and second derivative over time."""

    place: float
    speed: float = 0.0
    acceleration: float = 0.0


def place_law(
    begin: PlaceState, end: PlaceState, speed: float, acceleration: float, jerk: float, sample_s: float
) -> PlaceLaw:
    """The time-optimal law between two states of one number.

    Args:
        begin: state at time 0; a speed or acceleration beyond its limit is brought below it first.
        end: state at the end.
        speed: greatest speed, in both directions.
        acceleration: greatest acceleration.
        jerk: greatest jerk.
        sample_s: greatest time between samples.

    Raises:
        OptionError: a limit is not greater than zero, or no law leads from one state to the other.
    """
    from ruckig import InputParameter, Result, Ruckig, RuckigError, Trajectory

    if not (min(speed, acceleration, jerk, sample_s) > 0 and np.isfinite([speed, acceleration, jerk]).all()):
        raise OptionError("a move needs limits of speed, acceleration and jerk that are finite and above zero")
    wanted = InputParameter(1)
    wanted.current_position, wanted.target_position = [begin.place], [end.place]
    wanted.current_velocity, wanted.target_velocity = [begin.speed], [end.speed]
    wanted.current_acceleration, wanted.target_acceleration = [begin.acceleration], [end.acceleration]
    wanted.max_velocity, wanted.max_acceleration, wanted.max_jerk = [speed], [acceleration], [jerk]
    found = Trajectory(1)
    try:
        result = Ruckig(1).calculate(wanted, found)
    except RuckigError as error:
        raise OptionError(f"no move leads from {begin} to {end} within its limits: {str(error).strip()}") from error
    if result not in (Result.Working, Result.Finished):
        raise OptionError(f"no move leads from {begin} to {end} within its limits: ruckig says {result.name}")
    (profile,) = found.profiles[0]
    # The changes of the jerk: at first a brake where the first state lies beyond a limit, then seven pieces.
    changes = np.cumsum([*profile.brake.t, *profile.t, *profile.accel.t])
    times = [np.zeros(1)]
    for change in [*changes[changes < found.duration - SHORTEST_PIECE_S], found.duration]:
        start = times[-1][-1]
        if change - start > SHORTEST_PIECE_S or change == found.duration:
            count = int(np.ceil((change - start) / sample_s - 1e-9))
            times.append(start + (change - start) * np.arange(1, count + 1) / count)
    time = np.concatenate(times)
    states = np.array([found.at_time(float(moment)) for moment in time])[:, :, 0]
    place, rates = states[:, 0], states[:, 1:]
    # Rounding: at its end a move is exactly where it should be, and a move from rest to rest never lies outside.
    place[np.abs(place - end.place) < SAME_PLACE] = end.place
    rates[-1, 0] = end.speed
    rates[-1, 1] = end.acceleration
    if begin.speed == begin.acceleration == end.speed == 0.0:
        place = np.clip(place, min(begin.place, end.place), max(begin.place, end.place))
    return PlaceLaw(time, place, rates[:, 0], rates[:, 1])


def along_line(law: PlaceLaw, start: ArrayLike, direction: ArrayLike) -> TimedPath:
    """The motion start + place · direction of d joints; ``start`` and ``direction`` (d,)."""
    way = np.asarray(direction, dtype=np.float64)
    return TimedPath(
        law.time_s,
        np.asarray(start, dtype=np.float64) + law.place[:, None] * way,
        law.speed[:, None] * way,
        law.acceleration[:, None] * way,
    )


def advance(
    start: float, end: float, limits: MotionLimits, sample_s: float, speed: float = 0.0, acceleration: float = 0.0
) -> TimedPath:
    """A move of one joint from a state (place, speed, acceleration) to rest at ``end``."""
    law = place_law(
        PlaceState(start, speed, acceleration), PlaceState(end), float(limits.speed[0]),
        float(limits.acceleration[0]), float(limits.jerk[0]), sample_s,
    )  # fmt: skip
    return along_line(law, [0.0], [1.0])


def least_time_s(length: ArrayLike, speed: ArrayLike, acceleration: ArrayLike, jerk: ArrayLike) -> FloatArray:
    """Least time of a move by ``length`` from rest to rest: seven pieces of constant jerk, or fewer.

    A change of speed by v takes t(v) = v/a + a/j, or 2 √(v/j) where the greatest acceleration a is not reached,
    and half of v t(v) as its way; without a stretch at the greatest speed the peak follows from v t(v) = length
    (Biagiotti and Melchiorri, Trajectory Planning for Automatic Machines and Robots, 2008, section 3.4).
    """
    way, v, a, j = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (length, speed, acceleration, jerk))
    )
    ramp = ramp_time_s(v, a, j)
    low = np.cbrt(way**2 * j / 4.0)
    high = 0.5 * a * (np.sqrt((a / j) ** 2 + 4.0 * way / a) - a / j)
    peak = np.where(low * j <= a**2, low, high)
    return np.asarray(np.where(v * ramp <= way, way / v + ramp, 2.0 * ramp_time_s(peak, a, j)))


def ramp_time_s(change: ArrayLike, acceleration: ArrayLike, jerk: ArrayLike) -> FloatArray:
    """Least time of a change of speed by ``change`` with no acceleration at both ends. Broadcasts."""
    v, a, j = (np.asarray(x, dtype=np.float64) for x in (change, acceleration, jerk))
    return np.asarray(np.where(v * j <= a**2, 2.0 * np.sqrt(v / j), v / a + a / j))
