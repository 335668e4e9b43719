"""What a strategy knows of the target: the samples so far, through a predictor, and whether they can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from needleplan.motion.last_value_prediction import LastValuePredictor
from needleplan.motion.prediction import MotionPredictor
from sim.compensation.contract import SensorSample, check_clock, check_within


@dataclass(frozen=True, slots=True, eq=False)
class TargetKnowledge:
    """What has been seen.

    Attributes:
        learned: state of the predictor.
        latest: latest sample; None before the first.
        changed_s: time of the first of the latest samples that are all alike.
    """

    learned: Any
    latest: SensorSample | None = None
    changed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TargetView:
    """How samples become knowledge.

    Attributes:
        predictor: carries the samples over the latency; the latest sample as it is by default.
        maximum_age_s: a sample older than this is no knowledge of the present: the needle stops.
        frozen_s: a sensor whose samples have been alike to the last bit for longer than this is taken to be stuck.
            None where a sensor without noise may stand still, as in a simulation.
    """

    predictor: MotionPredictor[Any] = field(default_factory=LastValuePredictor)
    maximum_age_s: float = 0.7
    frozen_s: float | None = None

    def __post_init__(self) -> None:
        check_within("the view of the target", {"maximum_age_s": (self.maximum_age_s, 0.01, 10.0)})
        if self.frozen_s is not None:
            check_within("the view of the target", {"frozen_s": (self.frozen_s, 0.01, 60.0)})

    def start(self) -> TargetKnowledge:
        """Nothing has been seen."""
        return TargetKnowledge(self.predictor.start())

    def seen(self, known: TargetKnowledge, time_s: float, samples: Sequence[SensorSample]) -> TargetKnowledge:
        """With the samples that have arrived; raises MotionError where one is from the future."""
        check_clock(time_s, samples)
        learned, latest, changed_s = known.learned, known.latest, known.changed_s
        for sample in samples:
            if latest is not None and sample.time_s <= latest.time_s:
                continue
            learned = self.predictor.observe(learned, sample.time_s, sample.displacement_mm)
            if latest is None or (sample.displacement_mm != latest.displacement_mm).any():
                changed_s = sample.time_s
            latest = sample
        return TargetKnowledge(learned, latest, changed_s)

    def fault(self, known: TargetKnowledge, time_s: float) -> str | None:
        """Why the samples cannot be trusted now; None where they can."""
        if known.latest is None:
            return "no sample has arrived yet"
        age = time_s - known.latest.time_s
        if age > self.maximum_age_s:
            return f"the latest sample is {age:.2f} s old and may be {self.maximum_age_s:g} s"
        still = known.latest.time_s - known.changed_s
        if self.frozen_s is not None and still > self.frozen_s:
            return (
                f"the sensor has shown the same value for {still:.2f} s, which is believed for {self.frozen_s:g} s"
            )
        return None

    def ready(self, known: TargetKnowledge, time_s: float) -> bool:
        """True where the predictor can tell where the target is now."""
        return self.predictor.ready(known.learned, time_s)
