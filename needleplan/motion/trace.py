"""A recording of breathing: its samples and what was found in them or mended."""

from dataclasses import dataclass

import numpy as np

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only


@dataclass(frozen=True, slots=True)
class TraceNote:
    """What was found or mended in a recording.

    Attributes:
        what: in words.
        count: of how many samples.
    """

    what: str
    count: int

    def __str__(self) -> str:
        return f"{self.count} {self.what}"


@dataclass(frozen=True, slots=True, eq=False)
class BreathingTrace:
    """A recorded position over time.

    Attributes:
        time_s: (n,) sample times from zero, strictly growing.
        displacement_mm: (n, 3) position in patient LPS mm relative to an arbitrary origin.
        source: where it came from and what was assumed when it was read.
        notes: what was found in it or mended, each counted; empty where it was clean.
    """

    time_s: FloatArray
    displacement_mm: FloatArray
    source: str
    notes: tuple[TraceNote, ...] = ()

    def __post_init__(self) -> None:
        times, values = read_only(self.time_s), read_only(self.displacement_mm)
        if times.ndim != 1 or values.shape != (len(times), 3):
            raise MotionError(f"{self.source}: a breathing trace needs n times and n by 3 positions")
        if len(times) < 8:
            raise MotionError(f"{self.source}: a breathing trace needs at least 8 samples, but has {len(times)}")
        bad = ~(np.isfinite(times) & np.isfinite(values).all(axis=1))
        if bad.any():
            row = int(np.argmax(bad)) + 1
            raise MotionError(f"{self.source}: sample {row} of the breathing trace is not a finite number")
        steps = np.diff(times)
        if (steps <= 0).any():
            row = int(np.argmax(steps <= 0)) + 2
            raise MotionError(f"{self.source}: the time of sample {row} is not later than that of the one before")
        object.__setattr__(self, "time_s", read_only(times - times[0]))
        object.__setattr__(self, "displacement_mm", values)

    @property
    def duration_s(self) -> float:
        """Time from the first to the last sample."""
        return float(self.time_s[-1])
