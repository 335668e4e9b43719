"""The contract of breathing models."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.frames import FloatArray


class RespiratoryMotion(ABC):
    """How the target's organ moves while the patient breathes.

    The reference is end-exhale, the state in which the planning image was taken: displacement zero. A model is
    deterministic: anything random in it is drawn once, when it is made, from the generator it was given.
    Displacements are in millimetres in patient LPS; inhalation moves abdominal organs to inferior (-z).
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name with the parameters, for logs and results."""

    @property
    @abstractmethod
    def period_s(self) -> float:
        """Mean breathing period in seconds."""

    @property
    @abstractmethod
    def span_s(self) -> float:
        """Time from zero within which the motion shows all that it does; above zero.

        One period of a motion that repeats itself, else all of the recording that is left.
        """

    @property
    @abstractmethod
    def speed_bound_mm_s(self) -> float:
        """A speed in mm/s that the target never exceeds: what is proven between two samples rests on it."""

    @abstractmethod
    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        """Displacement of the target's organ from end-exhale.

        Args:
            time_s: times of shape (...,) in seconds, zero or later.

        Returns:
            Array (..., 3) in patient LPS mm.
        """

    def amplitude_mm(self, duration_s: float = 60.0) -> float:
        """Largest displacement within ``duration_s``, sampled at 50 Hz."""
        times: NDArray[np.float64] = np.arange(0.0, duration_s, 0.02)
        return float(np.linalg.norm(self.displacement_mm(times), axis=-1).max())
