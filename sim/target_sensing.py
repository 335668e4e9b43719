"""How the target's displacement becomes known during a rehearsal: seen itself, or told by a belt on the skin."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from needleplan.frames import FloatArray
from needleplan.motion.sensor import BreathingSensor
from sim.breathing_patient import BreathingPatient
from sim.compensation.contract import SensorSample, check_within
from sim.random_streams import random_streams
from sim.surrogate_relation import SurrogateRelation, learned_relation

#: A sample that is due at this very moment counts, whatever the rounding of its time.
_SAME_S = 1e-9


@dataclass(frozen=True, slots=True)
class SensingOptions:
    """How the target is sensed.

    Attributes:
        sensor: rate, latency, noise, lost samples and drop-outs; its ``axis`` is not used here. The noise is that
            of a marker on the belt, which an optical tracker sees to 0.05 mm at rest and 0.09 mm in motion (Fattori
            et al., Radiat Oncol 2021, doi:10.1186/s13014-021-01804-7); the skin rises by a fraction of the target's
            way, so that it is magnified.
        by_belt: a belt on the abdomen is measured, and a linear relation to the target that was learned before
            tells the displacement; False where the target itself is seen (an implanted marker, ultrasound).
        learning_s: how long target and belt were both seen before the rehearsal, 5 to 600 s.
    """

    sensor: BreathingSensor = field(default_factory=lambda: BreathingSensor(noise_mm=0.1))
    by_belt: bool = True
    learning_s: float = 30.0

    def __post_init__(self) -> None:
        check_within("the sensing of the target", {"learning_s": (self.learning_s, 5.0, 600.0)})

    @classmethod
    def perfect(cls) -> "SensingOptions":
        """The target itself, a hundred times a second, without noise and latency."""
        return cls(BreathingSensor(rate_hz=100.0, latency_s=0.0, noise_mm=0.0), by_belt=False)


class TargetSensing:
    """A sensor through one rehearsal.

    What a sensor measures at ``k / rate_hz`` arrives ``latency_s`` later; between the patient's states before and
    after a step the truth is taken to go on a straight line. Noise, lost samples, drop-outs and the learning of the
    belt have random streams of their own, so that one switched on changes no other.

    Args:
        patient: who is sensed; must have been made, and not yet advanced.
        options: how.
        seed: of all draws.

    Attributes:
        relation: what was learned of belt and target; None where the target itself is seen.

    Raises:
        MotionError: the belt does not tell where the target is.
    """

    def __init__(
        self, patient: BreathingPatient, options: SensingOptions, seed: int | np.random.SeedSequence
    ) -> None:
        self._noise, self._lost, self._gaps, learning = random_streams(seed, 4)
        self._patient, self._sensor = patient, options.sensor
        self.relation: SurrogateRelation | None = None
        if options.by_belt:
            self.relation = learned_relation(patient, options.sensor, options.learning_s, learning)
        self._next = int(np.ceil((patient.time_s - _SAME_S) * options.sensor.rate_hz))
        self._before_s, self._before = patient.time_s, self._truth()
        self._gap_begin_s = self._drawn_gap(patient.time_s)
        self._gap_end_s = self._gap_begin_s + options.sensor.dropout_s
        self._silent_until_s = -np.inf
        self._coming: deque[SensorSample] = deque()
        self._belt: deque[tuple[float, float]] = deque()
        if self.relation is not None:
            self._look_back(self.relation.window_s, learning)

    def advance(self) -> tuple[SensorSample, ...]:
        """What has arrived since the last call, in the order of measurement; to be asked after each step."""
        now, truth = self._patient.time_s, self._truth()
        rate = self._sensor.rate_hz
        while (measured_s := self._next / rate) <= now + _SAME_S:
            passed = now - self._before_s
            share = 1.0 if passed <= 0.0 else min(1.0, max(0.0, (measured_s - self._before_s) / passed))
            self._measure(measured_s, self._before + share * (truth - self._before))
            self._next += 1
        self._before_s, self._before = now, truth
        arrived = []
        while self._coming and self._coming[0].time_s + self._sensor.latency_s <= now + _SAME_S:
            arrived.append(self._coming.popleft())
        return tuple(arrived)

    def interrupt(self, until_s: float) -> None:
        """A fault: nothing that is measured from now until then arrives; what is on its way does."""
        self._silent_until_s = max(self._silent_until_s, until_s)

    def _truth(self) -> FloatArray:
        """(3,) displacement of the target, or (1,) rise of the belt."""
        return self._patient.displacement_mm if self.relation is None else np.array([self._patient.belt_mm])

    def _look_back(self, window_s: float, rng: np.random.Generator) -> None:
        """The belt has been worn before: its latest samples are known when the rehearsal begins."""
        rate = self._sensor.rate_hz
        times = np.arange(-round(window_s * rate), 0) / rate
        _, rises = self._patient.breathing(self._patient.start_s + times)
        noise = self._sensor.noise_mm * rng.standard_normal(len(times))
        self._belt.extend(zip(times.tolist(), (rises + noise).tolist(), strict=True))

    def _drawn_gap(self, after_s: float) -> float:
        """Begin of the next drop-out."""
        if self._sensor.dropouts_per_min == 0.0:
            return np.inf
        return after_s + float(self._gaps.exponential(60.0 / self._sensor.dropouts_per_min))

    def _measure(self, time_s: float, truth: FloatArray) -> None:
        sensor = self._sensor
        seen = truth + sensor.noise_mm * self._noise.standard_normal(len(truth))
        lost = self._lost.random() < sensor.lost_share
        while time_s >= self._gap_end_s:
            self._gap_begin_s = self._drawn_gap(self._gap_end_s)
            self._gap_end_s = self._gap_begin_s + sensor.dropout_s
        if lost or self._gap_begin_s <= time_s or time_s < self._silent_until_s:
            return
        if self.relation is None:
            self._coming.append(SensorSample(time_s, seen))
            return
        self._belt.append((time_s, float(seen[0])))
        while self._belt[0][0] < time_s - self.relation.window_s - _SAME_S:
            self._belt.popleft()
        told = self.relation.displacement_mm(np.array(self._belt))
        if told is not None:
            self._coming.append(SensorSample(time_s, told))
