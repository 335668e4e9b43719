"""Respiratory gating: when the target is near enough to end-exhale for a needle to advance."""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import MotionError
from needleplan.frames import FloatArray
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.lujan import LujanMotion

#: Sampling of a breathing model where its gate windows are searched, seconds.
GATE_SAMPLING_S = 0.01


@dataclass(frozen=True, slots=True)
class AmplitudeGate:
    """Open while the target lies within a tolerance of its end-exhale position.

    Attributes:
        tolerance_mm: largest displacement, in any direction, with an open gate; above zero.
    """

    tolerance_mm: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 < self.tolerance_mm < 100.0:
            raise MotionError(f"the gate's tolerance must be above 0 and below 100 mm, not {self.tolerance_mm}")

    def is_open(self, displacement_mm: ArrayLike) -> NDArray[np.bool_]:
        """For displacements (..., 3): True where the gate is open."""
        return np.asarray(np.linalg.norm(np.asarray(displacement_mm), axis=-1) <= self.tolerance_mm)

    def windows_s(self, motion: RespiratoryMotion, start_s: float, duration_s: float) -> FloatArray:
        """(k, 2) begin and end of each open interval within ``start_s`` to ``start_s + duration_s``.

        Edges are exact to ``GATE_SAMPLING_S``.
        """
        times = start_s + np.arange(0.0, duration_s + 0.5 * GATE_SAMPLING_S, GATE_SAMPLING_S)
        state = np.concatenate([[False], self.is_open(motion.displacement_mm(times)), [False]])
        edges = np.flatnonzero(state[1:] != state[:-1])
        begin, end = edges[0::2], edges[1::2] - 1
        return np.stack([times[begin], times[end]], axis=1)

    def duty_cycle(self, motion: RespiratoryMotion, duration_s: float | None = None) -> float:
        """Share of the time with an open gate over ``duration_s`` (None: 32 mean periods)."""
        span = 32.0 * motion.period_s if duration_s is None else duration_s
        count = max(round(span / GATE_SAMPLING_S), 1)
        times = (np.arange(count) + 0.5) * (span / count)
        return float(np.mean(self.is_open(motion.displacement_mm(times))))


def inhalation_peaks(times_s: FloatArray, displacement_mm: FloatArray, period_s: float) -> NDArray[np.intp]:
    """Indices of the ends of inhalation in evenly sampled displacements (n, 3) from end-exhale.

    A peak rises by at least a quarter of the signal's range (5th to 95th percentile) above its surroundings
    and lies at least 0.4 mean periods from its neighbours.
    """
    from scipy.signal import find_peaks

    size = np.linalg.norm(displacement_mm, axis=-1)
    spread = float(np.percentile(size, 95) - np.percentile(size, 5))
    if spread <= 0.0:
        return np.zeros(0, dtype=np.intp)
    step = float(np.median(np.diff(times_s)))
    peaks, _ = find_peaks(size, prominence=0.25 * spread, distance=max(1, int(0.4 * period_s / step)))
    return np.asarray(peaks, dtype=np.intp)


def breathing_phase(motion: RespiratoryMotion, time_s: ArrayLike) -> FloatArray:
    """Phase of the breath in [0, 1) at ``time_s`` (n,): 0 at the end of inhalation, near 0.5 at end-exhale.

    The convention of phase-sorted CT, where 0 % is the end of inhalation; between two neighbouring ends of
    inhalation the phase grows evenly. Raises MotionError where the motion has no breath around a time.
    """
    times = np.atleast_1d(np.asarray(time_s, dtype=np.float64))
    lead = 3.0 * motion.period_s
    start = max(0.0, float(times.min()) - lead)
    grid = np.arange(start, float(times.max()) + lead, 0.02)
    peaks = grid[inhalation_peaks(grid, motion.displacement_mm(grid), motion.period_s)]
    if len(peaks) < 2:
        raise MotionError(f"the motion {motion.name} has no breath between {start:.1f} and {grid[-1]:.1f} s")
    # Before the first peak (time starts at zero) the first breath is taken as long as the next.
    peaks = np.concatenate([[2.0 * peaks[0] - peaks[1]], peaks])
    while peaks[0] > times.min():
        peaks = np.concatenate([[2.0 * peaks[0] - peaks[1]], peaks])
    k = np.clip(np.searchsorted(peaks, times, side="right") - 1, 0, len(peaks) - 2)
    return np.asarray(np.mod((times - peaks[k]) / (peaks[k + 1] - peaks[k]), 1.0))


def lujan_duty_cycle(motion: LujanMotion, tolerance_mm: float) -> float:
    """Share of the time in which Lujan's curve lies within ``tolerance_mm`` of end-exhale, in closed form.

    ``A cos^{2n}(x) <= tolerance`` for all but ``2 arccos((tolerance / A)^{1 / 2n})`` of each turn of pi. For a peak
    of 15 mm and 2 mm: 24 % with n = 1, 41 % with n = 2, 51 % with n = 3.
    """
    share = AmplitudeGate(tolerance_mm).tolerance_mm / max(motion.peak_mm, tolerance_mm)
    return float(1.0 - 2.0 / np.pi * np.arccos(share ** (0.5 / motion.exponent)))


def lujan_mean_mm(motion: LujanMotion) -> float:
    """Mean displacement of Lujan's curve along its direction: ``A C(2n, n) / 4^n`` (Wallis)."""
    n = motion.exponent
    return float(motion.peak_mm * comb(2 * n, n) / 4.0**n)
