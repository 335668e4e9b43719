"""The contract of predictors: where the target will be when a delayed measurement has become a deed.

Between the moment of a measurement and the moment at which a robot has acted on it lie 100 to 500 ms. A predictor
bridges them from what has been measured so far, and states how wrong it may be.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only

State = TypeVar("State")


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Where the target is expected at a time.

    Attributes:
        time_s: the time that was asked for.
        mean_mm: (3,) expected displacement in patient LPS.
        covariance_mm2: (3, 3) covariance of the error of ``mean_mm`` against the true displacement, which is not
            the next measurement: that has its own noise besides.
    """

    time_s: float
    mean_mm: FloatArray
    covariance_mm2: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean_mm", read_only(self.mean_mm))
        object.__setattr__(self, "covariance_mm2", read_only(self.covariance_mm2))

    @property
    def standard_error_mm(self) -> float:
        """Root of the expected squared distance between prediction and truth."""
        return float(np.sqrt(np.trace(self.covariance_mm2)))


class MotionPredictor(ABC, Generic[State]):
    """Predicts displacements from the samples seen so far.

    A predictor is a value: its parameters never change, and what it has learned is a state that ``start`` makes and
    ``observe`` replaces. A state is immutable as well: to keep one is to take a snapshot, to go on from it is to
    restore it, and the same state and the same samples give the same prediction, bit by bit. Nothing from the
    future can reach a prediction, because nothing but past samples is handed in.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name with the parameters, for logs and results."""

    @abstractmethod
    def start(self) -> State:
        """The state before any sample."""

    @abstractmethod
    def observe(self, state: State, time_s: float, position_mm: ArrayLike) -> State:
        """The state after one more sample.

        Args:
            state: the state before.
            time_s: when the sample was measured, not when it arrived; the steps may be of any length.
            position_mm: (3,) measured displacement in patient LPS.

        Returns:
            The new state; ``state`` itself where the sample is not later than the latest one, which makes repeated
            and overtaken samples harmless.

        Raises:
            MotionError: a time or position that is not a finite number.
        """

    @abstractmethod
    def latest_s(self, state: State) -> float | None:
        """Time of the latest sample; None before the first."""

    @abstractmethod
    def ready(self, state: State, time_s: float) -> bool:
        """True where ``predict`` can answer: enough samples have been seen, none later than ``time_s``."""

    @abstractmethod
    def predict(self, state: State, time_s: float) -> Prediction:
        """The displacement expected at ``time_s``.

        Raises:
            MotionError: the predictor is not ready, or ``time_s`` lies before the latest sample.
        """


def checked_sample(time_s: float, position_mm: ArrayLike) -> FloatArray:
    """(3,) position of a sample; raises MotionError where it cannot be one."""
    position = np.asarray(position_mm, dtype=np.float64)
    if position.shape != (3,):
        raise MotionError(f"a sample of a motion must hold 3 numbers, not an array of shape {position.shape}")
    if not (np.isfinite(time_s) and np.isfinite(position).all()):
        raise MotionError(f"a sample of a motion must be finite, not {position.tolist()} at {time_s} s")
    return position


def check_horizon(time_s: float, latest_s: float | None, ready: bool) -> float:
    """Seconds from the latest sample to ``time_s``; raises MotionError where nothing can be predicted."""
    if not np.isfinite(time_s):
        raise MotionError(f"the time to predict for must be a finite number, not {time_s}")
    if latest_s is None or not ready:
        if latest_s is not None and time_s < latest_s:
            raise MotionError(
                f"{time_s:.3f} s lies before the latest sample at {latest_s:.3f} s: that is no future"
            )
        raise MotionError(f"too few samples have been seen to predict the motion at {time_s:.3f} s")
    return time_s - latest_s


def check_positive(owner: str, **values: float) -> None:
    """Raises MotionError for the first parameter that is not a finite number above zero."""
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0.0):
            raise MotionError(f"{name} of the {owner} must be a finite number above 0, not {value}")
