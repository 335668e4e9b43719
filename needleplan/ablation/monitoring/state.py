"""What a monitor says at one moment, and how it is asked to judge."""

from dataclasses import dataclass

import numpy as np

from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.spread import ZoneSpread
from needleplan.errors import PhysicsError
from needleplan.plan import Evidence


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity with its interval.

    Attributes:
        central: median.
        low, high: equal chances lie below and above; infinite where a time is never reached.
        unit: of all three.
    """

    central: float
    low: float
    high: float
    unit: str

    def contains(self, value: float) -> bool:
        """Whether a value lies in the interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """How readings are judged.

    Attributes:
        probability: of every interval and of the shell between inner and outer zone.
        model_error: standard deviation of the model's own error, as a share of the rise of temperature, that
            readings of one sensor within ``correlation_mm`` share. 0.05 over 20 mm is assumed; no source measures
            it.
        correlation_mm: see ``model_error``.
        model_drift_c: standard deviation of the model's error that comes and goes within ``drift_s``, shared
            likewise. 1 K is assumed: what grids of 3 and 2 mm differ by 8 mm from a microwave antenna, at most.
        drift_s: time in which that error changes its sign.
    """

    probability: float = 0.9
    model_error: float = 0.05
    correlation_mm: float = 20.0
    model_drift_c: float = 1.0
    drift_s: float = 120.0

    def __post_init__(self) -> None:
        if not 0.0 < self.probability < 1.0:
            raise PhysicsError(f"the probability of an interval must lie between 0 and 1, not {self.probability:g}")
        if not (np.isfinite(self.model_error) and self.model_error >= 0):
            raise PhysicsError(f"model_error must not be negative, but is {self.model_error:g}")
        if not (np.isfinite(self.model_drift_c) and self.model_drift_c >= 0):
            raise PhysicsError(f"model_drift_c must not be negative, but is {self.model_drift_c:g} K")
        for name in ("correlation_mm", "drift_s"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise PhysicsError(f"{name} must be positive, but is {getattr(self, name):g}")


@dataclass(frozen=True, slots=True, eq=False)
class MonitorState:
    """What is known at one moment of a treatment.

    Attributes:
        now_s: time since the energy began to flow.
        probability: of the intervals.
        factors: estimates of ``perfusion``, ``efficiency``, ``conductivity``, relative to what the treatment
            states; those that are fixed are missing.
        zones: equally likely zones at the planned end, cool-down included.
        volume: of the end zone, ml.
        time_needed: from now until target and margin are lethal with the energy on, the damage of the cool-down
            not counted (so it errs on the long side); None without a target, zero where they are lethal already.
        chance_of_success: that target and margin are lethal by the planned end of the energy, again without the
            cool-down; None without a target.
        readings: that were used.
        misfit: root mean square of the residuals over what was expected of them, 1 where all is as stated.
        emulator_error_c: root mean square error of temperatures about the zone's rim, of grid and weighted sum.
        evidence: outliers, sensors that contradict, limits that were met.
    """

    now_s: float
    probability: float
    factors: dict[str, Estimate]
    zones: ZoneSpread
    volume: Estimate
    time_needed: Estimate | None
    chance_of_success: float | None
    readings: int
    misfit: float
    emulator_error_c: float
    evidence: tuple[Evidence, ...]

    @property
    def central_zone(self) -> FieldZone:
        """Where death is as likely as not."""
        return self.zones.zone(0.5)

    @property
    def inner_zone(self) -> FieldZone:
        """What dies with at least the upper end of the probability, point by point (0.95 where that is 0.9)."""
        return self.zones.zone(0.5 * (1.0 + self.probability))

    @property
    def outer_zone(self) -> FieldZone:
        """What may die, with at least the lower end of the probability (0.05 where that is 0.9)."""
        return self.zones.zone(0.5 * (1.0 - self.probability))
