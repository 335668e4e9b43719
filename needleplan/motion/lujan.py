"""The analytic breathing curve of Lujan and colleagues, and the direction in which an upper abdomen moves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.case.model import Case
from needleplan.errors import MotionError
from needleplan.frames import FloatArray, unit_vector
from needleplan.motion.contract import RespiratoryMotion
from needleplan.plan import Vector3, vector3

#: Anterior displacement of the liver for one millimetre to inferior: 2.3 mm / 5.3 mm, the published mean
#: anterior-posterior and cranio-caudal motion of livers under abdominal compression.
LIVER_ANTERIOR_SHARE = 2.3 / 5.3

#: Amplitudes beyond this are not breathing (livers reach 55 mm in the deepest breaths, AAPM report 91).
MAXIMUM_AMPLITUDE_MM = 100.0


@dataclass(frozen=True, slots=True)
class LujanMotion(RespiratoryMotion):
    """Displacement ``A cos^{2n}(pi t / T - phi)`` along a fixed direction.

    Lujan et al., Med Phys 1999;26:715: ``z(t) = z0 - A cos^{2n}(pi t / T - phi)`` with ``z0`` the position at
    exhale. A higher ``n`` means a longer rest at end-exhale and a quicker breath.

    Attributes:
        peak_mm: amplitude A, displacement at full inhalation, 0 to 100.
        period_s: length of one breath, 1 to 30 s.
        exponent: n, 1 to 3.
        phase_rad: phi; 0 starts at full inhalation, pi/2 at end-exhale.
        direction: direction of inhalation in patient LPS, scaled to length 1.
    """

    peak_mm: float = 15.0
    period_s: float = 4.0
    exponent: int = 2
    phase_rad: float = np.pi / 2
    direction: Vector3 = (0.0, -LIVER_ANTERIOR_SHARE, -1.0)

    def __post_init__(self) -> None:
        if not 0.0 <= self.peak_mm <= MAXIMUM_AMPLITUDE_MM:
            raise MotionError(
                f"the breathing peak must be between 0 and {MAXIMUM_AMPLITUDE_MM:g} mm, not {self.peak_mm}"
            )
        if not 1.0 <= self.period_s <= 30.0:
            raise MotionError(f"the breathing period must be between 1 and 30 s, not {self.period_s}")
        if self.exponent not in (1, 2, 3):
            raise MotionError(f"the exponent of the Lujan curve must be 1, 2 or 3, not {self.exponent}")
        if not np.isfinite(self.phase_rad):
            raise MotionError(f"the breathing phase must be a finite number of radians, not {self.phase_rad}")
        object.__setattr__(self, "direction", vector3(unit_vector(self.direction)))

    @property
    def name(self) -> str:
        """Model and parameters."""
        return f"lujan(A={self.peak_mm:g} mm, T={self.period_s:g} s, n={self.exponent})"

    @property
    def span_s(self) -> float:
        """One period."""
        return self.period_s

    @property
    def speed_bound_mm_s(self) -> float:
        """Greatest speed, where the second derivative is zero: ``tan^2(x) = 1 / (2 n - 1)``."""
        power = 2 * self.exponent
        angle = np.arctan(1.0 / np.sqrt(power - 1.0))
        slope = power * np.cos(angle) ** (power - 1) * np.sin(angle)
        return float(self.peak_mm * np.pi / self.period_s * slope)

    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        """Displacement (..., 3) from end-exhale at ``time_s`` (...,)."""
        angle = np.pi * np.asarray(time_s, dtype=np.float64) / self.period_s - self.phase_rad
        size = self.peak_mm * np.cos(angle) ** (2 * self.exponent)
        return np.asarray(size[..., None] * np.asarray(self.direction))


def anterior_direction(case: Case) -> FloatArray:
    """(3,) unit vector to the patient's front, for any position on the table and any rigid move of the case."""
    before = np.stack([case.position.up, [0.0, 0.0, 1.0], np.cross(case.position.up, [0.0, 0.0, 1.0])], axis=1)
    cranial = unit_vector(case.cranial - (case.cranial @ case.up) * case.up)
    after = np.stack([case.up, cranial, np.cross(case.up, cranial)], axis=1)
    return np.asarray(after @ before.T @ np.array([0.0, -1.0, 0.0]))


def inhalation_direction(case: Case, anterior_share: float = LIVER_ANTERIOR_SHARE) -> Vector3:
    """Direction in which inhalation moves an organ of the upper abdomen: to inferior, with a share to anterior.

    Args:
        case: its position and axes say where inferior and anterior are, also after a rigid move.
        anterior_share: anterior displacement for one millimetre to inferior.
    """
    return vector3(unit_vector(anterior_share * anterior_direction(case) - np.asarray(case.cranial)))
