"""No breathing: apnoea, a phantom on a bench, or the reference run of a comparison."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.frames import FloatArray
from needleplan.motion.contract import RespiratoryMotion


@dataclass(frozen=True, slots=True)
class StaticMotion(RespiratoryMotion):
    """The target stays at end-exhale for ever.

    ``period_s`` is a nominal 4 s, so that code that samples "one period" works.
    """

    @property
    def name(self) -> str:
        """``static``."""
        return "static"

    @property
    def period_s(self) -> float:
        """Nominal 4 s; nothing moves."""
        return 4.0

    @property
    def span_s(self) -> float:
        """The nominal period."""
        return self.period_s

    @property
    def speed_bound_mm_s(self) -> float:
        """Zero."""
        return 0.0

    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        """Zeros of shape (..., 3)."""
        return np.zeros((*np.shape(time_s), 3))
