"""Breathing along a loop: the organ goes out and comes back on different paths."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, unit_vector
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.plan import Vector3, vector3

#: A larger lag would turn the loop inside out: the two components would be nearer to opposite than to equal phase.
MAXIMUM_LAG_DEG = 90.0


@dataclass(frozen=True, slots=True)
class HystereticMotion(RespiratoryMotion):
    """Lujan's curve on each of two axes, the second later than the first.

    With the unit axis ``a``, the direction ``d`` and peak ``A`` of ``breath``, ``along = (d . a) a`` and
    ``across = d - along``::

        X(t) = A c(x) along + A (c(x - lag) - c0) across,   c(x) = cos^{2n}(x),   x = pi t / T - phi

    where ``c0 = sin^{2n}(lag)`` makes the displacement zero at the end of exhalation along the axis. That each
    axis follows a curve of its own with a phase of its own is how Seppenwoolde et al., Int J Radiat Oncol Biol
    Phys 2002;53:822 describe tumour paths; they saw in- and exhalation 1 to 5 mm apart in half of their
    patients (lung). For n = 1 the path is an ellipse of area ``pi / 4 A^2 |along| |across| sin(lag)``. Without a
    lag, or where the direction is the axis, this is ``breath`` itself.

    Attributes:
        breath: the curve, its period and exponent, and the sum of both components at one moment.
        lag_deg: how much later the component across the axis comes, in degrees of a breath of 360, -90 to 90.
        axis: the leading axis in patient LPS, scaled to length 1.
    """

    breath: LujanMotion = field(default_factory=LujanMotion)
    lag_deg: float = 30.0
    axis: Vector3 = (0.0, 0.0, -1.0)
    _along: Vector3 = field(init=False, repr=False, compare=False)
    _across: Vector3 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not -MAXIMUM_LAG_DEG <= self.lag_deg <= MAXIMUM_LAG_DEG:
            raise MotionError(
                f"the lag must lie between -{MAXIMUM_LAG_DEG:g} and {MAXIMUM_LAG_DEG:g} degrees of a breath, "
                f"not {self.lag_deg}"
            )
        axis = unit_vector(self.axis)
        direction = np.asarray(self.breath.direction)
        along = (direction @ axis) * axis
        object.__setattr__(self, "axis", vector3(axis))
        object.__setattr__(self, "_along", vector3(along))
        object.__setattr__(self, "_across", vector3(direction - along))

    @property
    def name(self) -> str:
        """Model and parameters."""
        return f"hysteresis(lag {self.lag_deg:g} deg of {self.breath.name})"

    @property
    def period_s(self) -> float:
        """Length of one breath."""
        return self.breath.period_s

    @property
    def span_s(self) -> float:
        """One period."""
        return self.breath.period_s

    @property
    def speed_bound_mm_s(self) -> float:
        """The greatest speed of each component, as if both had it at the same moment."""
        # A vector along the direction has the length of along and across put together at right angles.
        return self.breath.speed_bound_mm_s

    @property
    def separation_mm(self) -> float:
        """Greatest distance between the way out and the way back at the same place along the axis.

        For n = 1 it is ``A |across| sin(lag)``; else sampled at every half degree of a breath.
        """
        x = np.linspace(0.0, 0.5 * np.pi, 361)
        lag, power = self._lag_rad, 2 * self.breath.exponent
        apart = np.abs(np.cos(x - lag) ** power - np.cos(x + lag) ** power).max()
        return float(self.breath.peak_mm * np.linalg.norm(self._across) * apart)

    @property
    def _lag_rad(self) -> float:
        # Lujan's angle grows by pi, not 2 pi, in a breath.
        return float(np.pi * self.lag_deg / 360.0)

    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        """Displacement (..., 3) at ``time_s`` (...,) from where the leading component ends its exhalation."""
        breath, power = self.breath, 2 * self.breath.exponent
        angle = np.pi * np.asarray(time_s, dtype=np.float64) / breath.period_s - breath.phase_rad
        along = breath.peak_mm * np.cos(angle) ** power
        rest = np.sin(self._lag_rad) ** power
        across = breath.peak_mm * (np.cos(angle - self._lag_rad) ** power - rest)
        return np.asarray(along[..., None] * np.asarray(self._along) + across[..., None] * np.asarray(self._across))
