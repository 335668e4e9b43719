"""The breathing of a live session: where the target is expected to be, and whether that can be relied on."""

from typing import Any

import numpy as np

from needleplan.frames import FloatArray
from needleplan.motion.linear_prediction import LinearPredictor
from needleplan.motion.prediction import MotionPredictor, Prediction
from needleplan.navigation.events import BreathingSample
from needleplan.navigation.guidance import Doubt, DoubtKind
from needleplan.navigation.options import SessionOptions

#: Carries the breathing over in a session. Breaths accelerate by tens of mm/s^2 (a sin^6 of 15 mm and 4 s by 29 at
#: its onset): twice its standard error covers 2 * sqrt(3) * 12 = 42 mm/s^2 in any direction, and noise of 0.25 mm.
BREATHING_PREDICTOR = LinearPredictor(window_s=0.2, noise_mm=0.25, acceleration_mm_s2=12.0)
#: Expects the next sample as in quiet breathing: one far from it is a cough, which the quick predictor follows.
_CALM = LinearPredictor(window_s=0.4)
#: So many samples in a row that are older than one before: not overtaken ones, the clock was set back.
_SET_BACK = 20
#: No sensor of breathing is quicker; samples that are closer to each other tell nothing of speed.
_QUICKEST_S = 0.001
#: No part of a body is displaced so far.
_FARTHEST_MM = 10_000.0


class BreathingWatch:
    """Breathing samples as they come.

    Args:
        predictor: carries the newest samples over to the moment asked for.
        options: limits.
        cranial: (3,) unit vector towards the head: nothing exhales beyond end-exhale.

    Attributes:
        ignored: samples that were not used, by reason.
    """

    def __init__(self, predictor: MotionPredictor[Any], options: SessionOptions, cranial: FloatArray) -> None:
        self.predictor = predictor
        self.options = options
        self.cranial = np.asarray(cranial, dtype=np.float64)
        self.ignored = {"out of order": 0, "measured after it arrived": 0, "too soon": 0, "beyond any body": 0}
        self._newest: BreathingSample | None = None
        self._unusual: tuple[float, str] | None = None
        self.forget()

    def forget(self) -> None:
        """Begin again, as after a new registration: the clock may be another one.

        What was unusual stays so for its calm time, counted from the first sample that comes.
        """
        newest = self._newest
        if newest is not None and self._unusual is not None:
            if newest.measured_s - self._unusual[0] > self.options.calm_s:
                self._unusual = None
        self._state, self._calm = self.predictor.start(), _CALM.start()
        self._newest = None
        self._same_since_s = 0.0
        self._near_s = 0.0
        self._early_s = 0.0
        self._older = 0
        self._set_back = False
        self._asked: tuple[float, Prediction | None] | None = None

    def take(self, sample: BreathingSample) -> None:
        """One more sample."""
        self._asked = None
        early_s = sample.measured_s - sample.received_s
        if early_s > self.options.clock_s:
            self._early_s = early_s
            self.ignored["measured after it arrived"] += 1
            return
        where = np.asarray(sample.displacement_mm)
        if float(np.abs(where).max()) > _FARTHEST_MM:
            self.ignored["beyond any body"] += 1
            self._unusual = (sample.measured_s, "a sample lay farther away than any part of a body")
            return
        newest = self._newest
        if newest is not None and sample.measured_s <= newest.measured_s:
            # The newest again is a repeat and tells nothing of the clock.
            self._older += sample.measured_s < newest.measured_s
            self._set_back = self._set_back or self._older >= _SET_BACK
            self.ignored["out of order"] += 1
            return
        self._older = 0
        if newest is not None and sample.measured_s - newest.measured_s < _QUICKEST_S:
            self.ignored["too soon"] += 1
            return
        self._early_s = 0.0
        if newest is None and self._unusual is not None:
            self._unusual = (sample.measured_s, self._unusual[1])
        # After a gap nothing is expected of the next sample.
        if newest is not None and sample.measured_s - newest.measured_s > self.options.breathing_age_s:
            self._state, self._calm = self.predictor.start(), _CALM.start()
            self._unusual = (sample.measured_s, "the breathing signal was interrupted")
        self._judge(sample.measured_s, where)
        if newest is None:
            self._near_s = sample.measured_s
        # The same to the last bit is no new measurement: what is expected rests on the last that differed.
        if newest is None or newest.displacement_mm != sample.displacement_mm:
            self._same_since_s = sample.measured_s
            self._state = self.predictor.observe(self._state, sample.measured_s, where)
            self._calm = _CALM.observe(self._calm, sample.measured_s, where)
        if float(np.linalg.norm(where)) <= self.options.gate_mm:
            self._near_s = sample.measured_s
        self._newest = sample

    def displacement_mm(self, time_s: float) -> FloatArray | None:
        """(3,) displacement of the target that is expected at a time; None where that is not known."""
        if not self.options.breathing:
            return np.zeros(3)
        found = self._predicted(time_s)
        return None if found is None else found.mean_mm

    def away_mm(self, time_s: float) -> float | None:
        """Distance of the target from end-exhale by which the gate is judged; None where that is not known.

        The expected distance and ``gate_errors`` of its standard errors, or that of the newest sample where it is
        greater: a prediction alone opens no gate.
        """
        if not self.options.breathing:
            return 0.0
        found = self._predicted(time_s)
        if found is None or self._newest is None:
            return None
        expected_mm = float(np.linalg.norm(found.mean_mm)) + self._unsure_mm(found)
        return max(expected_mm, float(np.linalg.norm(self._newest.displacement_mm)))

    def _unsure_mm(self, found: Prediction) -> float:
        return self.options.gate_errors * found.standard_error_mm

    def doubts(self, time_s: float) -> list[Doubt]:
        """Why the breathing cannot be relied on at a time."""
        if not self.options.breathing:
            return []
        newest, options = self._newest, self.options
        found = []
        if self._early_s:
            found.append(
                Doubt(
                    DoubtKind.CLOCK,
                    f"A breathing sample is said to be measured {self._early_s:.3f} s after it arrived: set its "
                    "clock to the session's.",
                )
            )
        if self._set_back:
            found.append(Doubt(DoubtKind.CLOCK, "The clock of the breathing was set back: register again."))
        if newest is None:
            return [*found, Doubt(DoubtKind.STALE_BREATHING, "No breathing sample has come.")]
        age_s = time_s - newest.measured_s
        same_s = time_s - self._same_since_s
        if age_s < -options.clock_s:
            found.append(
                Doubt(
                    DoubtKind.CLOCK,
                    f"The newest breathing sample was measured {-age_s:.2f} s after the moment that is asked for: "
                    "one clock must serve all; register again.",
                )
            )
        elif age_s > options.breathing_age_s:
            found.append(
                Doubt(
                    DoubtKind.STALE_BREATHING,
                    f"The newest breathing sample is {age_s:.2f} s old, where {options.breathing_age_s:g} s are "
                    "allowed.",
                )
            )
        elif newest.measured_s > self._same_since_s and same_s > options.breathing_frozen_s:
            found.append(
                Doubt(
                    DoubtKind.STALE_BREATHING,
                    f"The breathing signal has been the same to the last bit for {same_s:.1f} s: its sensor hangs.",
                )
            )
        elif (predicted := self._predicted(time_s)) is None:
            found.append(Doubt(DoubtKind.STALE_BREATHING, "Too few breathing samples have come."))
        elif (unsure_mm := self._unsure_mm(predicted)) > options.gate_mm:
            found.append(
                Doubt(
                    DoubtKind.UNUSUAL_BREATHING,
                    f"Where the target is can be told to {unsure_mm:.1f} mm only, where the gate is "
                    f"{options.gate_mm:g} mm: samples must come sooner after they are measured, or more often.",
                )
            )
        away_s = newest.measured_s - self._near_s
        if away_s > options.exhale_within_s:
            found.append(
                Doubt(
                    DoubtKind.UNUSUAL_BREATHING,
                    f"The target has not come back to within {options.gate_mm:g} mm of end-exhale for {away_s:.0f} "
                    "s: the breathing has drifted, or the zero of its signal is not end-exhale.",
                )
            )
        if self._unusual is not None and time_s - self._unusual[0] <= options.calm_s:
            found.append(
                Doubt(
                    DoubtKind.UNUSUAL_BREATHING,
                    f"The breathing is unusual: {self._unusual[1]}; wait until it has been quiet for "
                    f"{options.calm_s:g} s.",
                )
            )
        return found

    def _predicted(self, time_s: float) -> Prediction | None:
        """Where the target is expected; None without fresh samples enough. The last answer is kept."""
        if self._asked is None or self._asked[0] != time_s:
            self._asked = (time_s, self._predict(time_s))
        return self._asked[1]

    def _predict(self, time_s: float) -> Prediction | None:
        newest = self._newest
        if newest is None:
            return None
        if not -self.options.clock_s <= time_s - newest.measured_s <= self.options.breathing_age_s:
            return None
        # Asked for a moment that has just passed, the newest sample is the answer.
        at_s = max(time_s, newest.measured_s)
        return self.predictor.predict(self._state, at_s) if self.predictor.ready(self._state, at_s) else None

    def _judge(self, measured_s: float, where: FloatArray) -> None:
        options = self.options
        if _CALM.ready(self._calm, measured_s):
            expected = _CALM.predict(self._calm, measured_s).mean_mm
            off_mm = float(np.linalg.norm(where - expected))
            if off_mm > options.breathing_surprise_mm:
                self._unusual = (measured_s, f"the target was {off_mm:.1f} mm from where it was expected (a cough)")
        depth_mm = float(np.linalg.norm(where))
        if depth_mm > options.breathing_depth_mm:
            self._unusual = (measured_s, f"the target was {depth_mm:.0f} mm from end-exhale")
        above_mm = float(where @ self.cranial)
        if above_mm > options.gate_mm and above_mm > 0.5 * depth_mm:
            self._unusual = (
                measured_s,
                f"the target was {above_mm:.1f} mm towards the head from end-exhale, where no breath brings it, "
                "so that the zero of the signal is not end-exhale",
            )
