"""What a breathing sensor reports of the true motion: late, sampled, noisy, and at times nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.motion.contract import RespiratoryMotion
from needleplan.plan import Vector3, vector3

_RANGES: dict[str, tuple[float, float]] = {
    "rate_hz": (2.0, 1000.0),
    "latency_s": (0.0, 5.0),
    "noise_mm": (0.0, 50.0),
    "lost_share": (0.0, 0.95),
    "dropouts_per_min": (0.0, 60.0),
    "dropout_s": (0.01, 120.0),
}
#: A record of more samples is refused.
MAXIMUM_SAMPLES = 2_000_000


@dataclass(frozen=True, slots=True)
class SensorReading:
    """The newest value that a sensor has delivered.

    Attributes:
        position_mm: (3,) measured displacement.
        sample_s: when it was measured.
        age_s: how long ago that was; at least the latency, more in a drop-out.
    """

    position_mm: FloatArray
    sample_s: float
    age_s: float


@dataclass(frozen=True, slots=True)
class BreathingSensor:
    """A belt or a tracked marker.

    A value measured at ``k / rate_hz`` reaches the controller ``latency_s`` later. Single values are lost with
    ``lost_share``; drop-outs of ``dropout_s`` follow each other after exponentially distributed times. Where
    nothing arrives, the last value stands and grows stale: a controller must look at ``age_s``. The defaults are
    assumptions in the range of optical trackers (10 to 60 Hz, tenths of a millimetre, below 0.1 s).

    Attributes:
        rate_hz: samples a second, at least 2.
        latency_s: from measuring to delivery.
        noise_mm: standard deviation of independent normal noise, along each axis that is measured.
        lost_share: share of single samples that never arrive.
        dropouts_per_min: mean number of drop-outs in a minute without one.
        dropout_s: length of a drop-out.
        axis: a belt measures along this axis of patient LPS only (scaled to length 1); None measures all three.
    """

    rate_hz: float = 25.0
    latency_s: float = 0.05
    noise_mm: float = 0.3
    lost_share: float = 0.0
    dropouts_per_min: float = 0.0
    dropout_s: float = 1.0
    axis: Vector3 | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise MotionError(
                    f"{name} of a breathing sensor must lie between {low:g} and {high:g}, not {value}"
                )
        if self.axis is not None:
            object.__setattr__(self, "axis", vector3(unit_vector(self.axis)))

    def watch(
        self,
        motion: RespiratoryMotion,
        duration_s: float,
        seed: int,
        dropouts_s: ArrayLike = (),
    ) -> "SensorRecord":
        """Measure a motion from time zero on; all that is random is drawn here.

        Noise, lost samples and drop-outs have streams of their own, so that one switched on changes no other.

        Args:
            motion: the true motion (of the skin, or of the organ where a sensor could see it).
            duration_s: how long.
            seed: of all draws, zero or more.
            dropouts_s: (k, 2) begin and end of further drop-outs, for a fault at a chosen time.

        Raises:
            MotionError: the duration is impossible or longer than the motion, or a drop-out ends before it begins.
        """
        if not (0.0 < duration_s and duration_s * self.rate_hz <= MAXIMUM_SAMPLES) or seed < 0:
            raise MotionError(
                f"a sensor of {self.rate_hz:g} Hz can watch for more than 0 and up to "
                f"{MAXIMUM_SAMPLES / self.rate_hz:g} s with a seed of zero or more, not {duration_s} s with {seed}"
            )
        asked = np.asarray(dropouts_s, dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(asked).all() or (asked[:, 1] < asked[:, 0]).any():
            raise MotionError("each drop-out of a sensor must be a finite begin and a later end")
        noise, lost, gaps = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
        times = np.arange(int(np.floor(duration_s * self.rate_hz)) + 1) / self.rate_hz
        moved = motion.displacement_mm(times) + self.noise_mm * noise.standard_normal((len(times), 3))
        if self.axis is not None:
            # Noise projected on one axis keeps its standard deviation there.
            moved = np.outer(moved @ np.asarray(self.axis), self.axis)
        valid = lost.random(len(times)) >= self.lost_share
        for begin, end in [*self._drawn_dropouts(gaps, duration_s), *asked]:
            valid &= (times < begin) | (times >= end)
        return SensorRecord(times[valid], moved[valid], self.latency_s, duration_s, int((~valid).sum()))

    def _drawn_dropouts(self, rng: np.random.Generator, duration_s: float) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        clock = 0.0
        while self.dropouts_per_min > 0.0:
            clock += rng.exponential(60.0 / self.dropouts_per_min)
            if clock >= duration_s:
                break
            found.append((clock, clock + self.dropout_s))
            clock += self.dropout_s
        return found


@dataclass(frozen=True, slots=True, eq=False)
class SensorRecord:
    """All that a sensor delivers of one motion; asked in the order of time or not, it gives the same.

    Attributes:
        sample_s: (n,) when the delivered values were measured, growing.
        position_mm: (n, 3) the values.
        latency_s: from measuring to delivery.
        duration_s: the motion was watched for so long.
        missing: number of samples that never arrived.
    """

    sample_s: FloatArray
    position_mm: FloatArray
    latency_s: float
    duration_s: float
    missing: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_s", read_only(self.sample_s))
        object.__setattr__(self, "position_mm", read_only(self.position_mm))

    def newest(self, time_s: ArrayLike) -> NDArray[np.intp]:
        """(...,) index of the newest value that has arrived at ``time_s`` (...,); -1 before the first.

        Raises:
            MotionError: a time beyond what was watched.
        """
        times = np.asarray(time_s, dtype=np.float64)
        if times.size and not (times <= self.duration_s + 1e-9).all():
            raise MotionError(f"the sensor watched for {self.duration_s:g} s and knows nothing of later times")
        # A sample that is due at this very moment counts, whatever the rounding of the subtraction.
        return np.asarray(np.searchsorted(self.sample_s, times - self.latency_s + 1e-9, side="right") - 1)

    def reading(self, time_s: float) -> SensorReading | None:
        """The newest value at ``time_s``; None where nothing has arrived yet."""
        index = int(self.newest(time_s))
        if index < 0:
            return None
        sample = float(self.sample_s[index])
        return SensorReading(self.position_mm[index], sample, max(0.0, float(time_s) - sample))

    def history(self, time_s: float, duration_s: float) -> tuple[FloatArray, FloatArray]:
        """Times (k,) and values (k, 3) of the last ``duration_s`` that have arrived at ``time_s``."""
        last = int(self.newest(time_s)) + 1
        first = int(np.searchsorted(self.sample_s, time_s - duration_s, side="left"))
        first = min(first, last)
        return self.sample_s[first:last], self.position_mm[first:last]
