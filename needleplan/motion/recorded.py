"""Breathing from a recorded trace."""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import MotionError
from needleplan.frames import FloatArray
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.trace import BreathingTrace, TraceNote
from needleplan.motion.trace_checks import check_jumps, check_times

#: A longer hole in a trace could hide the turn of a breath.
MAXIMUM_GAP_S = 1.0

#: A trace that moves less than this along its main axis shows no breathing.
MINIMUM_RANGE_MM = 0.05

#: A trace that moves more than this (livers reach 55 mm in the deepest breaths, AAPM report 91) is not in mm.
MAXIMUM_RANGE_MM = 100.0

#: Length of the stretch before the seam over which a looped trace is drawn to its own beginning.
SEAM_S = 2.0


class BeyondEnd(StrEnum):
    """What a recorded motion does after its last sample."""

    LOOP = "loop"  #: begin again, from end-exhale to end-exhale
    REFUSE = "refuse"  #: raise MotionError


def _inhalation(trace: BreathingTrace) -> FloatArray:
    """(n,) position along the main axis of motion, growing with inhalation.

    The main axis is the first principal axis. Inhalation is its sense that leads to anterior (the chest wall
    and the organs come forward, but the wall may rise towards the head while the organs sink); where the axis
    has less than a quarter of its length along anterior-posterior, the sense that leads to inferior.
    """
    centred = trace.displacement_mm - trace.displacement_mm.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    sense = -axis[1] if abs(axis[1]) >= 0.25 else -axis[2]
    if sense < 0:
        axis = -axis
    return np.asarray(centred @ axis)


def end_exhale_indices(trace: BreathingTrace) -> NDArray[np.intp]:
    """Indices of the samples at the end of each exhalation, one a breath.

    A breath must reach at least a quarter of the range (5th to 95th percentile) along the main axis and last
    at least 1.5 s. Raises MotionError where the trace is constant or holds fewer than three breaths.
    """
    from scipy.signal import find_peaks

    signal = _inhalation(trace)
    spread = float(np.percentile(signal, 95) - np.percentile(signal, 5))
    if spread < MINIMUM_RANGE_MM:
        unit = ": are its positions in metres?" if spread > MINIMUM_RANGE_MM / 1000.0 else ""
        raise MotionError(f"{trace.source}: the trace moves only {spread:.3g} mm, which is not breathing{unit}")
    if spread > MAXIMUM_RANGE_MM:
        raise MotionError(
            f"{trace.source}: the trace moves by {spread:.3g} mm, which is not breathing: are its positions in mm?"
        )
    step = float(np.median(np.diff(trace.time_s)))
    found, _ = find_peaks(-signal, prominence=0.25 * spread, distance=max(1, int(np.ceil(1.5 / step))))
    if len(found) < 3:
        raise MotionError(f"{trace.source}: the trace holds {len(found)} ends of exhalation where 3 are needed")
    return np.asarray(found, dtype=np.intp)


class RecordedMotion(RespiratoryMotion):
    """Displacement interpolated from a recorded trace, relative to its end-exhale position.

    The reference is the median position at the ends of exhalation, so a baseline that drifts shows as a
    displacement of its own. Between samples the curve is monotone cubic (PCHIP): it passes every sample and
    never overshoots. Looped, the trace is cut from its first to its last end of exhalation, and over the last
    2 s it is drawn smoothly to the position where it begins; those 2 s alone are not as recorded.
    """

    def __init__(
        self,
        trace: BreathingTrace,
        *,
        beyond_end: BeyondEnd = BeyondEnd.LOOP,
        start_s: float = 0.0,
        maximum_gap_s: float = MAXIMUM_GAP_S,
    ) -> None:
        """Check the trace and prepare the interpolation.

        Args:
            trace: the recording.
            beyond_end: loop, or refuse times after the end.
            start_s: time of the trace at time zero of the motion, zero or later.
            maximum_gap_s: longest allowed time between two samples.

        Raises:
            MotionError: fewer than 2 samples a second or too many, a gap, a jump, no motion, or fewer than three
            breaths.
        """
        from scipy.interpolate import PchipInterpolator

        check_times(trace.time_s, maximum_gap_s, trace.source)
        check_jumps(trace.time_s, trace.displacement_mm, trace.source)
        if not np.isfinite(start_s) or start_s < 0:
            raise MotionError(f"the start within a trace must be zero or later, not {start_s}")
        exhale = end_exhale_indices(trace)
        values = trace.displacement_mm - np.median(trace.displacement_mm[exhale], axis=0)
        times = np.asarray(trace.time_s)
        self._trace = trace
        self._beyond_end = beyond_end
        self._start_s = float(start_s)
        breaths = len(exhale) - 1
        self._period_s = float((times[exhale[-1]] - times[exhale[0]]) / breaths)
        if beyond_end is BeyondEnd.LOOP:
            keep = slice(int(exhale[0]), int(exhale[-1]) + 1)
            times, values = times[keep] - times[exhale[0]], values[keep]
            weight = np.clip((times - times[-1] + SEAM_S) / SEAM_S, 0.0, 1.0)
            weight = weight * weight * (3.0 - 2.0 * weight)
            values = values + weight[:, None] * (values[0] - values[-1])
        self._duration_s = float(times[-1])
        self._curve = PchipInterpolator(times, values, axis=0)
        self._speed_bound_mm_s = greatest_speed_mm_s(self._curve.x, self._curve.c)

    @property
    def name(self) -> str:
        """Source of the trace, and how it goes on after its end."""
        return f"recorded({self._trace.source}; {self._beyond_end})"

    @property
    def trace(self) -> BreathingTrace:
        """The recording."""
        return self._trace

    @property
    def duration_s(self) -> float:
        """Length of the loop, or of the recording where times beyond it are refused."""
        return self._duration_s

    @property
    def period_s(self) -> float:
        """Mean time between the ends of exhalation."""
        return self._period_s

    @property
    def span_s(self) -> float:
        """The whole loop, or what is left of the recording after ``start_s``.

        Raises:
            MotionError: the motion starts at the end of its recording or later.
        """
        if self._beyond_end is BeyondEnd.LOOP:
            return self._duration_s
        left = self._duration_s - self._start_s
        if left <= 0:
            raise MotionError(
                f"{self._trace.source}: nothing is left of the trace of {self._duration_s:.2f} s after its start "
                f"at {self._start_s:.2f} s"
            )
        return left

    @property
    def speed_bound_mm_s(self) -> float:
        """Length of the vector of the greatest speeds along the three axes of the trace."""
        return self._speed_bound_mm_s

    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        """Displacement (..., 3) at ``time_s`` (...,); raises MotionError beyond the end where that is refused."""
        times = np.asarray(time_s, dtype=np.float64) + self._start_s
        if not np.isfinite(times).all() or (times < 0).any():
            raise MotionError("a time of a motion must be a finite number, zero or later")
        if self._beyond_end is BeyondEnd.LOOP:
            times = np.mod(times, self._duration_s)
        elif times.size and times.max() > self._duration_s:
            raise MotionError(
                f"{self._trace.source}: {times.max():.2f} s lies beyond the end of the trace at "
                f"{self._duration_s:.2f} s; loop it or record longer"
            )
        return np.asarray(self._curve(times))


def pieces_without_gaps(
    trace: BreathingTrace, maximum_gap_s: float = MAXIMUM_GAP_S, minimum_duration_s: float = 20.0
) -> tuple[BreathingTrace, ...]:
    """The stretches of a trace between its gaps, each a trace of its own that says where it was cut.

    Args:
        trace: the recording.
        maximum_gap_s: longer steps are gaps.
        minimum_duration_s: shorter stretches are left out; each piece counts the samples that are not in it.

    Raises:
        MotionError: no stretch is long enough.
    """
    ends = np.flatnonzero(np.diff(trace.time_s) > maximum_gap_s + 1e-9)
    if len(ends) == 0:
        return (trace,)
    found = []
    for first, last in zip([0, *(ends + 1)], [*ends, len(trace.time_s) - 1], strict=True):
        begin, end = float(trace.time_s[first]), float(trace.time_s[last])
        if last - first < 7 or end - begin < minimum_duration_s:
            continue
        keep = slice(int(first), int(last) + 1)
        note = TraceNote(
            f"samples beyond a gap cut off, {begin:.2f} to {end:.2f} s kept",
            int(len(trace.time_s) - (last - first + 1)),
        )
        source = f"{trace.source}, {note}"
        piece = BreathingTrace(trace.time_s[keep], trace.displacement_mm[keep], source, (*trace.notes, note))
        found.append(piece)
    if not found:
        raise MotionError(f"{trace.source}: no stretch without a gap is as long as {minimum_duration_s:g} s")
    return tuple(found)


def greatest_speed_mm_s(knots_s: FloatArray, coefficients: FloatArray) -> float:
    """A bound of the speed of a piecewise cubic: the greatest speeds along the axes within a piece, put together.

    Args:
        knots_s: (m + 1,) ends of the pieces.
        coefficients: (4, m, 3) of each piece, highest power of the time since its beginning first.
    """
    length = np.diff(knots_s)[:, None]
    a, b, c = 3.0 * coefficients[0], 2.0 * coefficients[1], coefficients[2]
    # A quadratic is greatest at an end of its piece or at its vertex.
    vertex = np.clip(-b / np.where(a == 0.0, np.inf, 2.0 * a), 0.0, length)
    along = np.max([np.abs((a * x + b) * x + c) for x in (np.zeros_like(length), length, vertex)], axis=0)
    return float(np.linalg.norm(along, axis=1).max())
