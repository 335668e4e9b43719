"""Arm moves over time: straight joint lines with rounded corners, and smooth curves through given postures.

Both keep the limits of speed, acceleration and jerk at every moment by bounds in closed form, not by samples.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from robots.timing import MotionLimits, PlaceState, TimedPath, along_line, least_time_s, place_law, ramp_time_s

#: Peaks of the first two derivatives of the smooth step 3u² − 2u³ over [0, 1]: 3/2 in its middle, 6 at its ends.
STEP_PEAK_SLOPE, STEP_PEAK_BEND = 1.5, 6.0
#: Greatest share of a leg's half that a rounded corner may take.
LARGEST_ROUNDING = 0.95
#: Least number of positions along a corner, so that chords between them are as good as the corner.
CORNER_POINTS = 8
#: Shares of the greatest speed and acceleration along a curve that are tried.
CURVE_SPEEDS, CURVE_ACCELERATIONS = 48, 32
#: Powers of the distance between knots that may space them.
SPACING_POWERS = (0.0, 0.5, 1.0)
#: Two stops are the same when no joint differs by more, rad or m.
SAME_STOP = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class RoundedLine:
    """Straight joint lines over stops, whose corners are rounded.

    A leg is measured in the seconds that its slowest joint needs at full speed. Around a corner the direction
    turns from one leg's to the next one's by the smooth step 3u² − 2u³, so positions, directions and curvature are
    continuous: the acceleration does not jump. A rounded corner lies inside the triangle of its stop and the two
    points at which it leaves the legs.

    Attributes:
        stops: (m, d) stops, no two neighbours the same.
        directions: (m - 1, d) change of the joints for each unit of a leg's length.
        lengths: (m - 1,) lengths of the legs.
        corners: (m,) length of the rounded corner at each stop, 0 at both ends.
    """

    stops: FloatArray
    directions: FloatArray
    lengths: FloatArray
    corners: FloatArray

    @classmethod
    def over(cls, stops: ArrayLike, speed: FloatArray, rounding: float) -> "RoundedLine":
        """Lines over ``stops`` (m, d).

        Args:
            stops: where the line goes.
            speed: (d,) greatest speeds, by which legs are measured.
            rounding: share of the shorter leg's half that is given to each side of a corner; 0 stops at each.

        Raises:
            OptionError: fewer than two different stops, or a share out of range.
        """
        points = np.asarray(stops, dtype=np.float64)
        if points.ndim != 2 or not np.isfinite(points).all():
            raise OptionError("a joint line needs stops of finite joint positions, all of one robot")
        moved = np.abs(np.diff(points, axis=0)).max(axis=1) > SAME_STOP
        points = points[np.concatenate([[True], moved])]
        if len(points) < 2:
            raise OptionError("a joint line needs at least two different stops")
        if not 0 <= rounding <= LARGEST_ROUNDING:
            raise OptionError(
                f"the rounding of corners must lie between 0 and {LARGEST_ROUNDING}, not {rounding:g}"
            )
        ways = np.diff(points, axis=0)
        lengths = (np.abs(ways) / speed).max(axis=1)
        corners = np.zeros(len(points))
        corners[1:-1] = rounding * np.minimum(lengths[:-1], lengths[1:])
        return cls(points, ways / lengths[:, None], lengths, corners)

    def legs(self) -> FloatArray:
        """(m - 1,) lengths of the straight parts."""
        return np.asarray(self.lengths - 0.5 * (self.corners[:-1] + self.corners[1:]))

    def corner(self, stop: int, place: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Positions, directions and curvature, each (k, d), along the corner at a stop; ``place`` (k,) from 0."""
        length = self.corners[stop]
        u = np.asarray(place, dtype=np.float64)[:, None] / length
        before, change = self.directions[stop - 1], self.directions[stop] - self.directions[stop - 1]
        start = self.stops[stop] - 0.5 * length * before
        return (
            start + length * (u * before + (u**3 - 0.5 * u**4) * change),
            before + (3.0 * u**2 - 2.0 * u**3) * change,
            6.0 * u * (1.0 - u) / length * change,
        )

    def points(self, step: ArrayLike) -> FloatArray:
        """(k, d) positions along the line, no joint moving by more than its ``step`` (d,) between two."""
        parts = [self.stops[:1]]
        for leg in range(len(self.lengths)):
            end = self.stops[leg + 1] - 0.5 * self.corners[leg + 1] * self.directions[leg]
            parts.append(_fine(parts[-1][-1], end, step))
            if self.corners[leg + 1] > 0:
                # No joint moves faster along a corner than along one of the legs that it joins.
                fastest = np.abs(self.directions[leg : leg + 2]).max(axis=0)
                count = max(CORNER_POINTS, int(np.ceil((self.corners[leg + 1] * fastest / step).max())))
                parts.append(self.corner(leg + 1, self.corners[leg + 1] * np.arange(1, count + 1) / count)[0])
        return np.concatenate(parts)

    def timed(self, limits: MotionLimits, sample_s: float) -> TimedPath:
        """The motion along the line from rest to rest.

        Each straight part is time-optimal between the speeds of its corners; a corner is passed at one speed, the
        greatest that keeps its acceleration and jerk within the limits and that the legs beside it can reach.
        """
        straight = self.legs()
        top = (np.abs(self.directions) / limits.speed).max(axis=1)
        accelerations = (limits.acceleration / np.maximum(np.abs(self.directions), 1e-300)).min(axis=1)
        jerks = (limits.jerk / np.maximum(np.abs(self.directions), 1e-300)).min(axis=1)
        speeds = np.zeros(len(self.stops))
        for stop in np.flatnonzero(self.corners):
            change = np.maximum(np.abs(self.directions[stop] - self.directions[stop - 1]), 1e-300)
            length = self.corners[stop]
            speeds[stop] = min(
                1.0 / top[stop - 1],
                1.0 / top[stop],
                float(np.sqrt(limits.acceleration * length / (STEP_PEAK_SLOPE * change)).min()),
                float(np.cbrt(limits.jerk * length**2 / (STEP_PEAK_BEND * change)).min()),
            )
        # A leg must have room for the change of speed between its corners, from the front and from the back.
        for leg in range(len(straight)):
            most = _reachable_speed(speeds[leg], straight[leg], accelerations[leg], jerks[leg])
            speeds[leg + 1] = min(speeds[leg + 1], most)
        for leg in range(len(straight) - 1, -1, -1):
            most = _reachable_speed(speeds[leg + 1], straight[leg], accelerations[leg], jerks[leg])
            speeds[leg] = min(speeds[leg], most)
        path: TimedPath | None = None
        for leg, length in enumerate(straight):
            start = self.stops[leg] + 0.5 * self.corners[leg] * self.directions[leg]
            law = place_law(
                PlaceState(0.0, speeds[leg]), PlaceState(length, speeds[leg + 1]), 1.0 / top[leg],
                accelerations[leg], jerks[leg], sample_s,
            )  # fmt: skip
            part = along_line(law, start, self.directions[leg])
            path = part if path is None else path.then(part)
            if self.corners[leg + 1] > 0:
                path = path.then(self._timed_corner(leg + 1, speeds[leg + 1], sample_s))
        assert path is not None
        return path

    def _timed_corner(self, stop: int, speed: float, sample_s: float) -> TimedPath:
        duration = self.corners[stop] / speed
        time = np.linspace(0.0, duration, max(4, int(np.ceil(duration / sample_s))) + 1)
        positions, directions, curvature = self.corner(stop, speed * time)
        return TimedPath(time, positions, speed * directions, speed**2 * curvature)


def through(stops: ArrayLike, limits: MotionLimits, sample_s: float, rounding: float = 0.0) -> TimedPath:
    """Straight joint lines over ``stops`` (m, d) from rest to rest; see ``RoundedLine``."""
    return RoundedLine.over(stops, limits.speed, rounding).timed(limits, sample_s)


def along(knots: ArrayLike, limits: MotionLimits, sample_s: float) -> TimedPath:
    """The smooth curve through ``knots`` (k, d), k at least 4, from rest to rest.

    The curve q(u), u from 0 to 1, is a cubic spline (not-a-knot ends). With a place u(t) the joints have q̇ = q'u̇,
    q̈ = q''u̇² + q'ü and q⃛ = q'''u̇³ + 3q''u̇ü + q'u⃛. On each piece of the spline q''' is constant, |q''| is greatest
    at an end and |q'| at an end or where q'' is zero. So limits V, A and J of u̇, ü and u⃛ with
    |q'|V ≤ speed, |q''|V² + |q'|A ≤ acceleration and |q'''|V³ + 3|q''|VA + |q'|J ≤ jerk on all pieces keep all
    limits at every moment. Of a table of V and A the pair with the least time is taken, and of three spacings of
    the knots (even, by their distance as joint times at full speed, and by its root) the quickest. The bounds hold
    for the whole curve at once, so a curve whose bends differ much is passed more slowly than it could be.
    """
    from scipy.interpolate import CubicSpline

    points = np.asarray(knots, dtype=np.float64)
    if points.ndim != 2 or len(points) < 4 or not np.isfinite(points).all():
        raise OptionError("a curve needs at least four knots of finite joint positions")
    ways = np.linalg.norm(np.diff(points, axis=0) / limits.speed, axis=1)
    if not (ways > 0).all():
        raise OptionError("a curve needs knots that differ from their neighbours")
    best: tuple[float, Any, tuple[float, float, float]] | None = None
    for power in SPACING_POWERS:
        place = np.concatenate([[0.0], np.cumsum(ways**power)])
        curve = CubicSpline(place / place[-1], points)
        chosen = _curve_limits(*_bounds(curve), limits)
        time = float(least_time_s(1.0, *chosen))
        if best is None or time < best[0]:
            best = time, curve, chosen
    assert best is not None
    _, curve, (speed, acceleration, jerk) = best
    law = place_law(PlaceState(0.0), PlaceState(1.0), speed, acceleration, jerk, sample_s)
    slope, bend = curve(law.place, 1), curve(law.place, 2)
    return TimedPath(
        law.time_s,
        curve(law.place),
        slope * law.speed[:, None],
        bend * law.speed[:, None] ** 2 + slope * law.acceleration[:, None],
    )


def _bounds(curve: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Greatest |q'|, |q''| and |q'''| on each piece of a cubic spline, each (p, d)."""
    c3, c2, c1, _ = np.asarray(curve.c)
    span = np.diff(curve.x)[:, None]
    end = c1 + span * (2.0 * c2 + 3.0 * c3 * span)
    with np.errstate(divide="ignore", invalid="ignore"):
        turning = -c2 / (3.0 * c3)
        between = np.where((turning > 0) & (turning < span), c1 + turning * (2.0 * c2 + 3.0 * c3 * turning), 0.0)
    first = np.maximum.reduce([np.abs(c1), np.abs(end), np.abs(between)])
    second = np.maximum(np.abs(2.0 * c2), np.abs(2.0 * c2 + 6.0 * c3 * span))
    return first, second, np.abs(6.0 * c3)


def _curve_limits(
    first: FloatArray, second: FloatArray, third: FloatArray, limits: MotionLimits
) -> tuple[float, float, float]:
    """Limits of speed, acceleration and jerk along a curve of unit length that make it quickest."""
    tiny = 1e-300
    top = min(
        float((limits.speed / np.maximum(first, tiny)).min()),
        float(np.sqrt(limits.acceleration / np.maximum(second, tiny)).min()),
        float(np.cbrt(limits.jerk / np.maximum(third, tiny)).min()),
    )
    # Evenly on a logarithmic scale; both go far down so that one of them suits any curve.
    speed = top * np.geomspace(0.02, 0.999, CURVE_SPEEDS)[:, None]
    most = ((limits.acceleration - second * speed[:, :, None] ** 2) / np.maximum(first, tiny)).min(axis=(1, 2))
    acceleration = np.maximum(most, tiny)[:, None] * np.geomspace(0.01, 1.0, CURVE_ACCELERATIONS)
    v, a = speed[:, :, None, None], acceleration[:, :, None, None]
    jerk = ((limits.jerk - third * v**3 - 3.0 * second * v * a) / np.maximum(first, tiny)).min(axis=(2, 3))
    allowed = (most[:, None] > 0) & (jerk > 0)
    time = np.where(allowed, least_time_s(1.0, speed, acceleration, np.where(allowed, jerk, 1.0)), np.inf)
    row, column = np.unravel_index(int(np.argmin(time)), time.shape)
    return float(speed[row, 0]), float(acceleration[row, column]), float(jerk[row, column])


def _reachable_speed(begin: float, length: float, acceleration: float, jerk: float) -> float:
    """Greatest speed after ``length`` from a speed ``begin``, with no acceleration at both ends; by bisection."""
    low, high = begin, begin + np.sqrt(2.0 * acceleration * length) + np.cbrt(length**2 * jerk)
    for _ in range(60):
        middle = 0.5 * (low + high)
        if 0.5 * (begin + middle) * float(ramp_time_s(middle - begin, acceleration, jerk)) <= length:
            low = middle
        else:
            high = middle
    # A little less, so that rounding leaves room for the change.
    return begin + 0.999 * (low - begin)


def _fine(first: FloatArray, last: FloatArray, step: ArrayLike) -> FloatArray:
    """Positions after ``first`` up to ``last`` on a straight line, no joint moving by more than its step."""
    count = max(1, int(np.ceil((np.abs(last - first) / step).max() - 1e-9)))
    return np.asarray(first + np.arange(1, count + 1)[:, None] / count * (last - first))
