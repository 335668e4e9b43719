"""Free breathing: the needle advances whatever the breath does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.compensation.contract import (
    CompensationStatus,
    Decision,
    MotionCompensation,
    SensorSample,
    check_clock,
)


@dataclass(frozen=True, slots=True)
class FreeBreathing(MotionCompensation[None]):
    """Always allowed, aimed at end-exhale, where the plan was made: what every strategy is measured against."""

    @property
    def name(self) -> str:
        """``free breathing``."""
        return "free breathing"

    def start(self) -> None:
        """Nothing to keep."""

    def step(self, state: None, time_s: float, samples: Sequence[SensorSample]) -> tuple[None, Decision]:
        """The same at every moment."""
        check_clock(time_s, samples)
        return None, Decision(True, np.zeros(3), CompensationStatus.FREE, "breathing is not looked at")
