"""A breathing motion as a table that repeats: a simulation asks for it hundreds of times a second."""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.gating import inhalation_peaks
from needleplan.motion.recorded import SEAM_S
from needleplan.motion.surrogate import SurrogateMotion

#: Spacing of the table: a cubic through four rows errs by less than 1e-4 mm on the quickest breath, and by some
#: hundredths of a millimetre where a recording or a cough has a corner in its speed.
STEP_S = 0.01
#: A longer motion is cut here.
LONGEST_S = 1800.0
#: A motion that comes back this near to its beginning repeats.
SAME_MM = 1e-6


class BreathingTable:
    """Displacement of the target, and the wall's way where it is independent, for any time.

    The motion is taken from time zero over its ``span_s``, or over ``LONGEST_S``, and repeats from then on. Where
    it does not itself (a recording that ends, a motion that was cut), the last ``SEAM_S`` are drawn smoothly to its
    beginning.

    Args:
        motion: the breathing model.

    Attributes:
        span_s: time after which the table repeats.
        free_wall: True where the wall does not follow the target.
        direction: (3,) unit vector along which the target moves most, in the sense of inhalation; zeros where it
            does not move.
        range_mm: extent of the motion along that.

    Raises:
        MotionError: the motion is not finite somewhere.
    """

    def __init__(self, motion: RespiratoryMotion) -> None:
        self.span_s = min(motion.span_s, LONGEST_S)
        self.free_wall = isinstance(motion, SurrogateMotion)
        count = max(8, math.ceil(self.span_s / STEP_S))
        self._step_s = self.span_s / count
        times = np.arange(count + 1) * self._step_s
        # Rounding must not lead beyond the end of a recording that refuses later times.
        times[-1] = self.span_s
        rows = motion.displacement_mm(times)
        if isinstance(motion, SurrogateMotion):
            rows = np.column_stack([rows, motion.wall_mm(times)])
        if not np.isfinite(rows).all():
            raise MotionError(f"the motion {motion.name} is not finite within its span")
        if np.abs(rows[-1] - rows[0]).max() > SAME_MM:
            share = np.clip((times - self.span_s + SEAM_S) / SEAM_S, 0.0, 1.0)
            rows = rows + (share * share * (3.0 - 2.0 * share))[:, None] * (rows[0] - rows[-1])
        rows = rows[:-1]
        self._rows = read_only(np.concatenate([rows[-1:], rows, rows[:3]]))
        self.direction, self.range_mm = _main_direction(rows[:, :3])
        self._exhale_s, self._inhale_s = self._turns(rows[:, :3], motion.period_s)

    def at(self, time_s: float) -> FloatArray:
        """(3,) displacement from end-exhale, patient LPS mm, or (4,) with the wall's way, at any time."""
        place = math.fmod(time_s, self.span_s) / self._step_s
        if place < 0.0:
            place += len(self._rows) - 4
        row = min(int(place), len(self._rows) - 5)
        x = place - row
        # Lagrange's cubic through the rows at -1, 0, 1 and 2.
        weights = np.array(
            [
                -x * (x - 1.0) * (x - 2.0) / 6.0,
                (x * x - 1.0) * (x - 2.0) / 2.0,
                -x * (x + 1.0) * (x - 2.0) / 2.0,
                x * (x * x - 1.0) / 6.0,
            ]
        )
        return np.asarray(weights @ self._rows[row : row + 4])

    def at_times(self, times_s: ArrayLike) -> FloatArray:
        """(n, 3) or (n, 4): :meth:`at` for times (n,)."""
        return np.array([self.at(float(time)) for time in np.asarray(times_s)])

    def next_exhale_s(self, time_s: float) -> float:
        """The next end of an exhalation at or after a time; the time itself where the target does not breathe."""
        if not len(self._exhale_s):
            return time_s
        turn = math.floor(time_s / self.span_s)
        index = int(np.searchsorted(self._exhale_s, time_s - turn * self.span_s - 1e-9))
        if index == len(self._exhale_s):
            return float((turn + 1) * self.span_s + self._exhale_s[0])
        return float(turn * self.span_s + self._exhale_s[index])

    def breaths(self, time_s: float) -> float:
        """Number of breaths since the first end of inhalation, growing evenly from each to the next."""
        known = len(self._inhale_s)
        if not known:
            return 0.0
        turn = math.floor((time_s - self._inhale_s[0]) / self.span_s)
        within = time_s - turn * self.span_s
        index = min(max(int(np.searchsorted(self._inhale_s, within, side="right")) - 1, 0), known - 1)
        begin = float(self._inhale_s[index])
        end = float(self._inhale_s[index + 1]) if index + 1 < known else float(self._inhale_s[0]) + self.span_s
        return turn * known + index + (within - begin) / (end - begin)

    def _turns(self, moved: FloatArray, period_s: float) -> tuple[FloatArray, FloatArray]:
        """Times (k,) within the span of the ends of exhalation and of inhalation."""
        if self.range_mm == 0.0:
            return read_only(np.zeros(0)), read_only(np.zeros(0))
        count = len(moved)
        # One span is seen between two others, so that a turn at the seam is none of the seam's making.
        around = np.concatenate([moved, moved, moved])
        times = self._step_s * np.arange(len(around), dtype=np.float64)
        peaks = inhalation_peaks(times, around, period_s)
        size = np.linalg.norm(around, axis=1)
        lowest = np.array(
            [begin + int(np.argmin(size[begin:end])) for begin, end in pairwise(peaks)], dtype=np.intp
        )
        return self._within(lowest, count), self._within(peaks, count)

    def _within(self, found: NDArray[np.intp], count: int) -> FloatArray:
        return read_only(self._step_s * (found[(found >= count) & (found < 2 * count)] - count))


def _main_direction(moved: FloatArray) -> tuple[FloatArray, float]:
    """Unit vector (3,) of the first principal axis of displacements (n, 3), and their extent along it."""
    centred = moved - moved.mean(axis=0)
    if not np.ptp(moved, axis=0).any():
        return read_only(np.zeros(3)), 0.0
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axis = vectors[:, int(np.argmax(values))]
    along = moved @ axis
    # End-exhale is zero and where most of the time is spent: inhalation is the side that reaches farther.
    if along.max() < -along.min():
        axis = -axis
    return read_only(axis), float(np.ptp(along))
