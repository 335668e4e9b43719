"""The breathing of a live session: where the target is expected to be, and whether that can be relied on."""

from typing import Any

import numpy as np

from needleplan.frames import FloatArray
from needleplan.motion.prediction import MotionPredictor, Prediction
from needleplan.navigation.events import BreathingSample
from needleplan.navigation.guidance import Doubt, DoubtKind
from needleplan.navigation.options import SessionOptions


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
        self.ignored = {"out of order": 0, "measured after it arrived": 0}
        self._state = predictor.start()
        self._newest: BreathingSample | None = None
        self._same_since_s = 0.0
        self._near_s = 0.0
        self._early_s = 0.0
        self._unusual: tuple[float, str] | None = None
        self._asked: tuple[float, Prediction | None] | None = None

    def take(self, sample: BreathingSample) -> None:
        """One more sample."""
        self._asked = None
        early_s = sample.measured_s - sample.received_s
        if early_s > self.options.clock_s:
            self._early_s = early_s
            self.ignored["measured after it arrived"] += 1
            return
        newest = self._newest
        if newest is not None and sample.measured_s <= newest.measured_s:
            self.ignored["out of order"] += 1
            return
        self._early_s = 0.0
        where = np.asarray(sample.displacement_mm)
        # After a gap nothing is expected of the next sample.
        if newest is not None and sample.measured_s - newest.measured_s > self.options.breathing_age_s:
            self._state = self.predictor.start()
            self._unusual = (sample.measured_s, "the breathing signal was interrupted")
        self._judge(sample.measured_s, where)
        if newest is None:
            self._near_s = sample.measured_s
        if newest is None or newest.displacement_mm != sample.displacement_mm:
            self._same_since_s = sample.measured_s
        if float(np.linalg.norm(where)) <= self.options.gate_mm:
            self._near_s = sample.measured_s
        self._state = self.predictor.observe(self._state, sample.measured_s, where)
        self._newest = sample

    def displacement_mm(self, time_s: float) -> FloatArray | None:
        """(3,) displacement of the target that is expected at a time; None where that is not known."""
        if not self.options.breathing:
            return np.zeros(3)
        found = self._predicted(time_s)
        return None if found is None else found.mean_mm

    def away_mm(self, time_s: float) -> float | None:
        """Distance of the target from end-exhale by which the gate is judged; None where that is not known.

        The greater of the newest sample's and the predicted one: a prediction alone opens no gate.
        """
        found = self.displacement_mm(time_s)
        if found is None:
            return None
        sampled = np.zeros(3) if self._newest is None else np.asarray(self._newest.displacement_mm)
        return max(float(np.linalg.norm(found)), float(np.linalg.norm(sampled)) if self.options.breathing else 0.0)

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
        if newest is None:
            return [*found, Doubt(DoubtKind.STALE_BREATHING, "No breathing sample has come.")]
        age_s = time_s - newest.measured_s
        if age_s > options.breathing_age_s:
            found.append(
                Doubt(
                    DoubtKind.STALE_BREATHING,
                    f"The newest breathing sample is {age_s:.2f} s old, where {options.breathing_age_s:g} s are "
                    "allowed.",
                )
            )
        elif (predicted := self._predicted(time_s)) is None:
            found.append(Doubt(DoubtKind.STALE_BREATHING, "Too few breathing samples have come."))
        elif predicted.standard_error_mm > options.gate_mm:
            found.append(
                Doubt(
                    DoubtKind.UNUSUAL_BREATHING,
                    f"Where the target is can be told to {predicted.standard_error_mm:.1f} mm only, where the gate "
                    f"is {options.gate_mm:g} mm: let the patient breathe quietly for some breaths.",
                )
            )
        same_s = newest.measured_s - self._same_since_s
        if same_s > options.breathing_frozen_s:
            found.append(
                Doubt(
                    DoubtKind.STALE_BREATHING,
                    f"The breathing signal has been the same to the last bit for {same_s:.1f} s: its sensor hangs.",
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
        if newest is None or time_s - newest.measured_s > self.options.breathing_age_s:
            return None
        # Asked for a moment that has just passed, the newest sample is the answer.
        at_s = max(time_s, newest.measured_s)
        return self.predictor.predict(self._state, at_s) if self.predictor.ready(self._state, at_s) else None

    def _judge(self, measured_s: float, where: FloatArray) -> None:
        options = self.options
        if self.predictor.ready(self._state, measured_s):
            expected = self.predictor.predict(self._state, measured_s).mean_mm
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
