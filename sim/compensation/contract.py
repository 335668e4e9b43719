"""The contract of strategies against breathing.

A strategy sees what a real one would see: samples of the target's displacement, each with the moment at which it
was measured, when they arrive. From those alone it decides, step by step, whether the needle may advance and where
the guide should aim.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Generic, TypeVar

import numpy as np

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.prediction import checked_sample

State = TypeVar("State")


@dataclass(frozen=True, slots=True, eq=False)
class SensorSample:
    """One measurement of the target's displacement.

    Attributes:
        time_s: when it was measured; it arrives later.
        displacement_mm: (3,) from end-exhale in patient LPS.
    """

    time_s: float
    displacement_mm: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "displacement_mm", read_only(checked_sample(self.time_s, self.displacement_mm)))


class CompensationStatus(StrEnum):
    """What a strategy is doing."""

    FREE = "free"  #: breathing is not looked at
    LEARNING = "learning"  #: too little has been seen to decide
    OPEN = "open"  #: the needle may advance
    CLOSED = "closed"  #: it must wait for the breath to come round
    ASKING = "asking"  #: the patient is asked to hold the breath, and does not lie still yet
    RESTING = "resting"  #: the patient breathes between two holds
    UNCERTAIN = "uncertain"  #: the target's place is not known well enough, or the guide is not there yet
    SENSOR_LOST = "sensor lost"  #: no fresh sample
    GIVEN_UP = "given up"  #: for good: the insertion must be withdrawn


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What a strategy wants at a moment.

    Attributes:
        may_advance: True while the needle may advance.
        aim_mm: (3,) displacement from end-exhale, in patient LPS, at which the guide should aim now.
        status: what the strategy is doing.
        reason: why, in words.
        hold_breath: True while the patient is asked to hold the breath.
    """

    may_advance: bool
    aim_mm: FloatArray
    status: CompensationStatus
    reason: str
    hold_breath: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "aim_mm", read_only(self.aim_mm))


class MotionCompensation(ABC, Generic[State]):
    """Decides when the needle may advance and where the guide aims.

    A strategy is a value, as a predictor is: ``start`` makes a state, ``step`` replaces it, states are immutable.
    The same samples at the same times give the same decisions, and no decision rests on what arrives later.

    Attributes:
        begins_at_skin: True for a strategy that is started when a needle stands before the skin, each time anew;
            the others watch from the beginning of the session.
    """

    begins_at_skin: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name with the parameters, for logs and results."""

    @abstractmethod
    def start(self) -> State:
        """The state before the first step."""

    @abstractmethod
    def step(self, state: State, time_s: float, samples: Sequence[SensorSample]) -> tuple[State, Decision]:
        """Let time pass until ``time_s``.

        Args:
            state: after the step before.
            time_s: now; later than at the step before.
            samples: what has arrived since, in the order of arrival. Samples that are repeated or that others have
                overtaken do no harm.

        Returns:
            The new state and what should be done now.

        Raises:
            MotionError: a sample from the future, which only a wrong clock can bring.
        """


def check_clock(time_s: float, samples: Sequence[SensorSample]) -> None:
    """Raises MotionError where a sample is later than now, or now is not a finite number."""
    if not np.isfinite(time_s):
        raise MotionError(f"the time of a step must be a finite number, not {time_s}")
    for sample in samples:
        if sample.time_s > time_s + 1e-9:
            raise MotionError(
                f"a sample measured at {sample.time_s:.3f} s arrived at {time_s:.3f} s: the sensor's clock is ahead"
            )


def check_within(owner: str, limits: dict[str, tuple[float, float, float]]) -> None:
    """Raises MotionError for the first value outside its limits.

    Args:
        owner: whose parameters they are.
        limits: value, least and greatest by name.
    """
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise MotionError(f"{name} of {owner} must lie between {low:g} and {high:g}, not {value:g}")
