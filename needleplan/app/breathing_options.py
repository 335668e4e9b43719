"""The breathing that the words of the command line describe, for one rehearsal or for many."""

from argparse import Namespace
from dataclasses import dataclass, field, replace

import numpy as np

from needleplan.case.model import Case
from needleplan.errors import MotionError, OptionError
from needleplan.io.traces import read_breathing_trace
from needleplan.motion.attenuation import SKIN_RISE
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.irregular import Irregularity, IrregularMotion
from needleplan.motion.lujan import LujanMotion, anterior_direction, inhalation_direction
from needleplan.motion.recorded import RecordedMotion
from needleplan.motion.surrogate import SurrogateMotion
from needleplan.motion.trace import BreathingTrace, TraceNote
from needleplan.plan import Vector3, vector3

#: A recording that moves less than this share of its way to inferior says nothing about how far the skin rises.
_LEAST_INFERIOR = 0.1


@dataclass(frozen=True, slots=True)
class BreathingAxes:
    """Directions of a patient, in patient LPS; by default of one who lies on the back.

    Attributes:
        inhalation: along which the organ moves.
        inferior: to the feet.
        anterior: to the front, where the skin rises.
    """

    inhalation: Vector3 = field(default_factory=lambda: LujanMotion().direction)
    inferior: Vector3 = (0.0, 0.0, -1.0)
    anterior: Vector3 = (0.0, -1.0, 0.0)

    @classmethod
    def of(cls, case: Case) -> "BreathingAxes":
        """Those of a case."""
        return cls(
            inhalation_direction(case), vector3(-np.asarray(case.cranial)), vector3(anterior_direction(case))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Breathing:
    """How patients breathe who differ by a seed alone.

    Attributes:
        base: the regular or recorded motion of the organ.
        axes: of the patient.
        irregular: True to draw an irregular motion over a regular base from each seed.
        lag_deg: phase by which the organ follows the skin; 0 moves both as one.
        notes: what was found or mended in a recording.
    """

    base: LujanMotion | RecordedMotion
    axes: BreathingAxes = field(default_factory=BreathingAxes)
    irregular: bool = False
    lag_deg: float = 0.0
    notes: tuple[TraceNote, ...] = ()

    def motion(self, seed: int) -> RespiratoryMotion:
        """The motion of the patient with that seed, which matters to irregular breathing alone."""
        if not self.lag_deg:
            return self._drawn(self.base, 1.0, self.axes.inhalation, seed)
        # The skin rises by its share of the organ's way to inferior, and drives the organ along its path.
        path = np.asarray(self.axes.inhalation if isinstance(self.base, LujanMotion) else _main_axis(self.base))
        rise = SKIN_RISE * float(path @ np.asarray(self.axes.inferior))
        if rise < _LEAST_INFERIOR * SKIN_RISE:
            raise MotionError(f"{self.base.name} hardly moves to inferior, so no skin can be put before it")
        if isinstance(self.base, LujanMotion):
            skin = self._drawn(
                replace(self.base, peak_mm=rise * self.base.peak_mm, direction=self.axes.anterior), rise,
                self.axes.anterior, seed,
            )  # fmt: skip
        else:
            trace = self.base.trace
            lifted = np.outer(trace.displacement_mm @ path * rise, self.axes.anterior)
            skin = RecordedMotion(BreathingTrace(trace.time_s, lifted, f"skin of {trace.source}", trace.notes))
        return SurrogateMotion(skin, vector3(path / rise), axis=self.axes.anterior, shift_deg=self.lag_deg)

    def _drawn(
        self, base: LujanMotion | RecordedMotion, size: float, along: Vector3, seed: int
    ) -> RespiratoryMotion:
        """The base, or an irregular motion over it whose drift lies along a direction and has that size."""
        if not (self.irregular and isinstance(base, LujanMotion)):
            return base
        usual = Irregularity()
        return IrregularMotion(base, replace(usual, drift_mm=size * usual.drift_mm, drift_direction=along), seed)


def breathing_from(options: Namespace, axes: BreathingAxes) -> Breathing:
    """The breathing of ``--peak-mm``, ``--period-s``, ``--trace``, ``--irregular`` and ``--lag-deg``.

    Args:
        options: of the command line; those that a command does not have are left at their defaults.
        axes: of the patient.

    Raises:
        OptionError: options contradict each other.
        MotionError: the trace cannot be read, or a number is impossible.
    """
    irregular, lag_deg = getattr(options, "irregular", False), getattr(options, "lag_deg", None) or 0.0
    if options.trace is not None:
        if irregular:
            raise OptionError("a recorded trace is as irregular as it is: leave --irregular or --trace away")
        trace = read_breathing_trace(options.trace)
        return Breathing(RecordedMotion(trace), axes, False, lag_deg, trace.notes)
    period_s = 4.0 if options.period_s is None else options.period_s
    motion = LujanMotion(peak_mm=options.peak_mm, period_s=period_s, direction=axes.inhalation)
    return Breathing(motion, axes, irregular, lag_deg)


def _main_axis(motion: RecordedMotion) -> Vector3:
    """Direction (3,) along which a recording is largest, in its sense of inhalation."""
    moved = motion.displacement_mm(np.asarray(motion.trace.time_s))
    axis = np.linalg.svd(moved - moved.mean(axis=0), full_matrices=False)[2][0]
    return vector3(axis if float((moved @ axis).sum()) >= 0.0 else -axis)
