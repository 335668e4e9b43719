"""Short events on top of breathing: what happens when, and the cough."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, unit_vector
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.lujan import MAXIMUM_AMPLITUDE_MM
from needleplan.plan import Vector3, vector3


class EventKind(StrEnum):
    """What interrupts regular breathing."""

    COUGH = "cough"  #: a short, quick, large displacement
    APNOEA = "apnoea"  #: rest at end-exhale
    INHALE_HOLD = "inhale hold"  #: rest at the end of an inhalation


@dataclass(frozen=True, slots=True)
class BreathingEvent:
    """An interruption of regular breathing.

    Attributes:
        kind: what happens.
        start_s: begin, in the time of the motion.
        end_s: end, later than the begin.
    """

    kind: EventKind
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start_s) and np.isfinite(self.end_s) and 0.0 <= self.start_s < self.end_s):
            raise MotionError(
                f"the event {self.kind} must begin at zero or later and end after that, not last from "
                f"{self.start_s:g} to {self.end_s:g} s"
            )

    @property
    def duration_s(self) -> float:
        """Length of the event."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Cough:
    """Shape of a cough: ``peak sin^2(pi (t - start) / duration)`` along a direction, on top of the breathing.

    Position and speed are continuous; the greatest speed is ``pi peak / duration``. The shape and the default
    sizes are assumptions: a deep, quick breath as large as the deepest quiet ones, over in less than a second.

    Attributes:
        peak_mm: displacement in its middle, 0 to 100.
        duration_s: its length, 0.1 to 5 s.
        direction: in patient LPS, scaled to length 1.
    """

    peak_mm: float = 20.0
    duration_s: float = 0.8
    direction: Vector3 = (0.0, 0.0, -1.0)

    def __post_init__(self) -> None:
        if not 0.0 <= self.peak_mm <= MAXIMUM_AMPLITUDE_MM:
            raise MotionError(
                f"the peak of a cough must be between 0 and {MAXIMUM_AMPLITUDE_MM:g} mm, not {self.peak_mm}"
            )
        if not 0.1 <= self.duration_s <= 5.0:
            raise MotionError(f"a cough must last between 0.1 and 5 s, not {self.duration_s}")
        object.__setattr__(self, "direction", vector3(unit_vector(self.direction)))

    @property
    def speed_bound_mm_s(self) -> float:
        """Greatest speed of one cough."""
        return float(np.pi * self.peak_mm / self.duration_s)

    def displacement_mm(self, time_s: ArrayLike, starts_s: ArrayLike) -> FloatArray:
        """Displacement (..., 3) at ``time_s`` (...,) by coughs that begin at ``starts_s`` (k,), no two at once."""
        times = np.asarray(time_s, dtype=np.float64)
        starts = np.sort(np.asarray(starts_s, dtype=np.float64))
        if len(starts) == 0:
            return np.zeros((*times.shape, 3))
        since = times - starts[np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)]
        share = np.clip(since / self.duration_s, 0.0, 1.0)
        return np.asarray((self.peak_mm * np.sin(np.pi * share) ** 2)[..., None] * np.asarray(self.direction))


class CoughingMotion(RespiratoryMotion):
    """Any breathing with coughs at given times, repeated from the end of its span on.

    Args:
        base: the breathing below the coughs.
        starts_s: (k,) begin of each cough, at zero or later and each after the end of the one before.
        cough: their shape.
        repeat_s: the coughs come again no sooner than this after time zero; 0 with a recording that ends.

    Raises:
        MotionError: there is no cough, two overlap, or one does not fit into a recording that ends.
    """

    def __init__(
        self,
        base: RespiratoryMotion,
        starts_s: Sequence[float],
        cough: Cough | None = None,
        *,
        repeat_s: float = 600.0,
    ) -> None:
        self._base, self._cough = base, Cough() if cough is None else cough
        starts = np.sort(np.asarray(starts_s, dtype=np.float64).reshape(-1))
        if len(starts) == 0 or not np.isfinite(starts).all() or starts[0] < 0:
            raise MotionError("the coughs of a motion need begins that are finite and zero or later")
        if (np.diff(starts) < self._cough.duration_s).any():
            raise MotionError(f"two coughs of {self._cough.duration_s:g} s each overlap")
        if not (np.isfinite(repeat_s) and repeat_s >= 0):
            raise MotionError(f"the time after which coughs come again must be zero or longer, not {repeat_s}")
        self._starts = starts
        # Whole spans of the breathing below, so that both repeat together.
        least_s = max(float(starts[-1]) + self._cough.duration_s, repeat_s)
        self._span_s = base.span_s * max(1.0, float(np.ceil(least_s / base.span_s)))
        base.displacement_mm(self._span_s)

    @property
    def name(self) -> str:
        """The breathing and the number of coughs."""
        return f"{self._base.name} with {len(self._starts)} cough{'s' if len(self._starts) > 1 else ''}"

    @property
    def period_s(self) -> float:
        """Mean breathing period of the motion below."""
        return self._base.period_s

    @property
    def span_s(self) -> float:
        """Whole spans of the breathing below until the last cough is over."""
        return self._span_s

    @property
    def speed_bound_mm_s(self) -> float:
        """Bounds of the breathing and of a cough together."""
        return self._base.speed_bound_mm_s + self._cough.speed_bound_mm_s

    @property
    def events(self) -> tuple[BreathingEvent, ...]:
        """The coughs within the span."""
        ends = self._starts + self._cough.duration_s
        return tuple(
            BreathingEvent(EventKind.COUGH, float(a), float(b)) for a, b in zip(self._starts, ends, strict=True)
        )

    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        """Displacement (..., 3) at ``time_s`` (...,)."""
        times = np.asarray(time_s, dtype=np.float64)
        cough = self._cough.displacement_mm(np.mod(times, self._span_s), self._starts)
        return np.asarray(self._base.displacement_mm(times) + cough)
