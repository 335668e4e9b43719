"""The patient as a breathing one: who breathes on, holds the breath when asked to, and coughs."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.motion.attenuation import SKIN_RISE
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.cough import Cough
from sim.breathing_table import BreathingTable
from sim.compensation.contract import check_within
from sim.random_streams import random_streams

#: Time in which the target settles where a hold ends, and goes back to the breathing after it; an assumption.
SETTLING_S = 0.8
#: Holds end no farther from end-exhale than so many standard deviations, nor scatter by more than this share of the
#: motion: who hardly breathes holds hardly anywhere else. Assumptions.
FARTHEST_HOLD = 2.5
HOLD_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class HoldBehaviour:
    """How a patient holds the breath at the end of an exhalation.

    Eccles et al., Int J Radiat Oncol Biol Phys 2006;64:751 found holds of the liver within one session to repeat
    with a standard deviation of 1.5 mm along the body (remembered, not read); Khot et al., Br J Radiol
    2020;93:20190549 a diaphragm that rises by up to 5.6 mm in 24 s of a deep inhale hold. A hold at end-exhale is
    quieter: the defaults are assumptions below both.

    Attributes:
        reaction_s: from being asked to following, 0 to 10 s.
        repeat_mm: standard deviation of where holds end, along the direction of the motion, 0 to 10.
        drift_mm_s: speed at which the target drifts in a hold, to one side or the other, 0 to 1.
        longest_s: after so long the patient breathes on, asked or not, 1 to 120 s.
    """

    reaction_s: float = 1.0
    repeat_mm: float = 1.0
    drift_mm_s: float = 0.05
    longest_s: float = 25.0

    def __post_init__(self) -> None:
        check_within(
            "a patient's hold",
            {
                "reaction_s": (self.reaction_s, 0.0, 10.0),
                "repeat_mm": (self.repeat_mm, 0.0, 10.0),
                "drift_mm_s": (self.drift_mm_s, 0.0, 1.0),
                "longest_s": (self.longest_s, 1.0, 120.0),
            },
        )


class _Stage(StrEnum):
    BREATHING = "breathing"
    ASKED = "asked"  #: breathes on until the reaction is over
    EXHALING = "exhaling"  #: breathes on to the end of the exhalation
    HOLDING = "holding"
    SPENT = "spent"  #: could not hold any longer, or coughed: breathes on until no hold is asked any more


class BreathingPatient:
    """One patient through one rehearsal.

    The patient has a clock of breathing of its own. Asked to hold, the patient reacts, breathes on to the next end
    of an exhalation, and there that clock stands still; the target moves smoothly to an offset along the direction
    of the motion that is drawn for each hold, and drifts. When no hold is asked any more, after ``longest_s``, or
    with a cough, the offset fades smoothly and the clock goes on. The displacement is continuous throughout.

    Where the motion has a skin of its own (:class:`needleplan.motion.surrogate.SurrogateMotion`), wall and belt
    follow that, and in a hold they come to their own end-exhale: at rest there is no phase shift. Otherwise the
    wall follows the target, and the belt its way along the direction in which it moves most, to inferior as a rule.
    Offsets and coughs move them with the target.

    Args:
        motion: the breathing model; one that ends is repeated (:class:`sim.breathing_table.BreathingTable`).
        seed: of the start and of the holds.
        holding: how the breath is held.
        start_s: moment of the motion at which the rehearsal begins; None draws it evenly within a period.
        cranial: to the patient's head, patient LPS.

    Attributes:
        start_s: the moment at which it began.
        time_s: time since then.
        motion: the breathing model.
        table: the motion as it is used.

    Raises:
        MotionError: the start is not a finite number of zero or more, or the motion is impossible.
    """

    def __init__(
        self,
        motion: RespiratoryMotion,
        seed: int | np.random.SeedSequence,
        holding: HoldBehaviour | None = None,
        start_s: float | None = None,
        cranial: ArrayLike = (0.0, 0.0, 1.0),
    ) -> None:
        begin, self._draws = random_streams(seed, 2)
        drawn = float(begin.uniform(0.0, motion.period_s))
        self.start_s = drawn if start_s is None else float(start_s)
        if not (math.isfinite(self.start_s) and self.start_s >= 0.0):
            raise MotionError(f"the breathing must begin at a moment of zero or later, not {start_s}")
        self.motion = motion
        self.table = BreathingTable(motion)
        self.time_s = 0.0
        self._holding = HoldBehaviour() if holding is None else holding
        self._inferior = read_only(-unit_vector(cranial))
        self._belt_axis = self.table.direction if self.table.range_mm > 0.0 else self._inferior
        self._clock_s = self.start_s
        self._stage = _Stage.BREATHING
        self._next_s = math.inf
        # Offsets of the target along the direction of its motion and of the wall go from one value to another; the
        # target's then drifts.
        self._offset_s, self._drift_mm_s = 0.0, 0.0
        self._offset_from = self._offset_to = self._wall_from = self._wall_to = 0.0
        self._cough: Cough | None = None
        self._cough_s = 0.0
        self._breaths_at_start = self.table.breaths(self.start_s)
        self._update()

    @property
    def displacement_mm(self) -> FloatArray:
        """(3,) displacement of the target from end-exhale, patient LPS."""
        return self._displacement

    @property
    def wall_mm(self) -> float | None:
        """Way of the liver to inferior that ribs and skin follow; None where they follow the target."""
        return self._wall

    @property
    def belt_mm(self) -> float:
        """How far a belt on the abdomen has risen, where it rises most."""
        return self._belt

    @property
    def breaths(self) -> float:
        """Number of breaths since the start, parts of one included; a hold counts none."""
        return self.table.breaths(self._clock_s) - self._breaths_at_start

    @property
    def holding(self) -> bool:
        """True while the breath is held."""
        return self._stage is _Stage.HOLDING

    @property
    def coughing(self) -> bool:
        """True from the beginning of a cough to its end."""
        return self._cough is not None and self.time_s < self._cough_s + self._cough.duration_s

    @property
    def inferior(self) -> FloatArray:
        """(3,) unit vector to the patient's feet, patient LPS."""
        return self._inferior

    def advance(self, duration_s: float, hold_asked: bool = False) -> None:
        """Let time pass.

        Args:
            duration_s: how long, zero or more.
            hold_asked: whether the patient is asked, from the beginning of that time on, to hold the breath.

        Raises:
            MotionError: the duration is negative or not finite.
        """
        if not 0.0 <= duration_s < math.inf:
            raise MotionError(f"a patient's time goes on by a finite duration of zero or more, not {duration_s}")
        self._listen(hold_asked)
        end = self.time_s + duration_s
        while self._next_s <= end:
            self._pass_to(self._next_s)
            self._change()
        self._pass_to(end)
        self._update()

    def cough(self, peak_mm: float) -> None:
        """A cough begins now, and ends a hold.

        It has the course of :class:`needleplan.motion.cough.Cough`, to inferior. Its peak counts from end-exhale:
        where breathing has carried the target part of that way, the cough carries it the rest.

        Raises:
            MotionError: the peak is impossible, or the patient is coughing already.
        """
        if self.coughing:
            raise MotionError(f"at {self.time_s:.2f} s the patient is coughing already")
        self._cough, self._cough_s = Cough(peak_mm), self.time_s
        if self._stage is _Stage.HOLDING:
            self._release()

    def breathing(self, times_s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Quiet breathing, without holds and coughs, at moments (n,) of the motion.

        Returns:
            Displacements (n, 3) of the target and rises (n,) of the belt, mm.
        """
        rows = self.table.at_times(times_s)
        way = rows[:, 3] if self.table.free_wall else rows @ self._belt_axis
        return rows[:, :3], SKIN_RISE * way

    def _listen(self, hold_asked: bool) -> None:
        if hold_asked and self._stage is _Stage.BREATHING:
            self._stage, self._next_s = _Stage.ASKED, self.time_s + self._holding.reaction_s
        elif not hold_asked and self._stage is _Stage.HOLDING:
            self._release()
        if not hold_asked:
            self._stage, self._next_s = _Stage.BREATHING, math.inf

    def _pass_to(self, time_s: float) -> None:
        if self._stage is not _Stage.HOLDING:
            self._clock_s += time_s - self.time_s
        self.time_s = time_s

    def _change(self) -> None:
        """What comes at the time of the next change."""
        if self._stage is _Stage.ASKED:
            exhale_s = self.table.next_exhale_s(self._clock_s)
            self._stage, self._next_s = _Stage.EXHALING, self.time_s + exhale_s - self._clock_s
        elif self._stage is _Stage.EXHALING:
            self._stage, self._next_s = _Stage.HOLDING, self.time_s + self._holding.longest_s
            share, side = self._draws.standard_normal(), self._draws.choice((-1.0, 1.0))
            moved = min(1.0, HOLD_SHARE * self.table.range_mm / max(self._holding.repeat_mm, 1e-9))
            offset = moved * self._holding.repeat_mm * float(np.clip(share, -FARTHEST_HOLD, FARTHEST_HOLD))
            wall = -float(self.table.at(self._clock_s)[3]) if self.table.free_wall else 0.0
            self._shift(offset, wall, moved * self._holding.drift_mm_s * float(side))
        else:
            self._release()

    def _release(self) -> None:
        self._stage, self._next_s = _Stage.SPENT, math.inf
        self._shift(0.0, 0.0, 0.0)

    def _shift(self, offset_mm: float, wall_mm: float, drift_mm_s: float) -> None:
        """From now on the offsets settle at other values, and the target's drifts from there."""
        self._offset_from, self._wall_from = self._offsets()
        self._offset_to, self._wall_to = offset_mm, wall_mm
        self._drift_mm_s, self._offset_s = drift_mm_s, self.time_s

    def _offsets(self) -> tuple[float, float]:
        """Offsets of the target along the direction of its motion, and of the wall."""
        passed = self.time_s - self._offset_s
        share = min(1.0, passed / SETTLING_S)
        step = share * share * (3.0 - 2.0 * share)
        offset = self._offset_from + step * (self._offset_to - self._offset_from) + self._drift_mm_s * passed
        return offset, self._wall_from + step * (self._wall_to - self._wall_from)

    def _update(self) -> None:
        row = self.table.at(self._clock_s)
        offset, wall_offset = self._offsets()
        moved = row[:3] + offset * self.table.direction if offset else row[:3]
        coughed = self._coughed(float(moved @ self._inferior))
        self._wall = None
        followed = float(moved @ self._belt_axis) + coughed
        if self.table.free_wall:
            along = offset * float(self.table.direction @ self._inferior)
            followed = self._wall = float(row[3]) + wall_offset + along + coughed
        self._belt = SKIN_RISE * followed
        self._displacement = read_only(moved + coughed * self._inferior if coughed else moved)

    def _coughed(self, way_mm: float) -> float:
        """Way to inferior that a cough adds to that of the breathing."""
        if self._cough is None:
            return 0.0
        share = (self.time_s - self._cough_s) / self._cough.duration_s
        if share >= 1.0:
            return 0.0
        return max(0.0, self._cough.peak_mm - max(0.0, way_mm)) * math.sin(math.pi * share) ** 2
