"""Independent sources of error of a needle's placement, each with its spread and its law."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.plan import Vector3

#: Depth at which ``deflection_mm`` is stated.
DEFLECTION_DEPTH_MM = 100.0


@dataclass(frozen=True, slots=True)
class ErrorSource:
    """One source of error: every component has mean 0 and the standard deviation ``std``.

    Attributes:
        std: standard deviation of each component, in the unit of the field that holds the source; 0 for none.
        degrees_of_freedom: None for a normal law; above 2 for a Student t law with so many, scaled to the same
            standard deviation. The components of one draw share the same scale (the multivariate t law): a bad
            puncture is bad in both directions, and the law has no preferred direction.

    Raises:
        OptionError: the spread is negative or not finite, or a t law of so few degrees of freedom has none.
    """

    std: float = 0.0
    degrees_of_freedom: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.std) and self.std >= 0):
            raise OptionError(f"the standard deviation of an error must be a number from 0 up, not {self.std!r}")
        freedom = self.degrees_of_freedom
        if freedom is not None and not (math.isfinite(freedom) and freedom > 2):
            raise OptionError(
                "a heavy-tailed error needs more than 2 degrees of freedom, because with fewer it has no standard "
                f"deviation, not {freedom!r}"
            )

    def spread(self, tail: ArrayLike) -> FloatArray:
        """What standard normal draws are multiplied by: ``std``, and for a t law the draw's own scale.

        With z standard normal and q chi-square of v degrees of freedom, z sqrt(v / q) has the t law, whose
        variance is v / (v - 2); so z sqrt((v - 2) / q) has variance 1.

        Args:
            tail: (...) uniform draws in 0..1; q is their chi-square quantile, so that laws are compared with
                common random numbers.
        """
        uniform = np.asarray(tail, dtype=np.float64)
        if self.degrees_of_freedom is None:
            return np.full(uniform.shape, self.std)
        from scipy.special import gammaincinv

        # A uniform draw may be 0 itself, whose quantile would make the scale infinite; the next one is 2**-53.
        chi_square = 2.0 * gammaincinv(0.5 * self.degrees_of_freedom, np.maximum(uniform, 2.0**-54))
        return np.asarray(self.std * np.sqrt((self.degrees_of_freedom - 2.0) / chi_square))

    def scaled(self, factor: float) -> "ErrorSource":
        """The same law with ``factor`` times the standard deviation."""
        return dataclasses.replace(self, std=self.std * factor)


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """All sources of error of one session; they are independent of each other.

    Attributes:
        lateral_mm: shift of the whole needle across itself, two components.
        depth_mm: shift of tip and ablations along the needle; the entry stays on the skin.
        angle_deg: tilt about the entry, two components; a point moves across the needle by depth times angle, to
            first order (at 5 degrees and 100 mm that leaves the tip 0.4 mm too deep).
        registration_mm: one rigid shift of all needles of the session, three components.
        breathing_mm: shift of needle against anatomy along ``breathing_direction``, from breaths held differently.
        deflection_mm: bending across the needle at 100 mm depth, two components; it grows with the depth squared,
            as that of a shaft that the tissue turns with constant curvature.
        breathing_common: True where one breath is held for all needles; by default each needle is placed in a
            breath of its own.
        breathing_direction: in the patient's axes (lateral, up, cranial); cranio-caudal by default, along which
            the liver moves most.

    Raises:
        OptionError: the direction is zero or not finite.
    """

    lateral_mm: ErrorSource = ErrorSource()
    depth_mm: ErrorSource = ErrorSource()
    angle_deg: ErrorSource = ErrorSource()
    registration_mm: ErrorSource = ErrorSource()
    breathing_mm: ErrorSource = ErrorSource()
    deflection_mm: ErrorSource = ErrorSource()
    breathing_common: bool = False
    breathing_direction: Vector3 = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        for name in ERROR_NAMES:
            if not isinstance(getattr(self, name), ErrorSource):
                raise OptionError(f"{name} must be an ErrorSource, not {getattr(self, name)!r}")
        direction = np.asarray(self.breathing_direction, dtype=np.float64)
        if direction.shape != (3,) or not np.isfinite(direction).all() or np.linalg.norm(direction) < 1e-9:
            raise OptionError(
                "the breathing direction must be three finite numbers, not all zero, but is "
                f"{self.breathing_direction!r}"
            )

    def with_source(self, name: str, source: ErrorSource) -> "ErrorBudget":
        """The budget with another source in the field of that name.

        Raises:
            OptionError: no source has that name.
        """
        if name not in ERROR_NAMES:
            raise OptionError(f"no source of error is named {name!r}: choose one of {', '.join(ERROR_NAMES)}")
        changes: dict[str, Any] = {name: source}
        return dataclasses.replace(self, **changes)

    def scaled(self, factor: float) -> "ErrorBudget":
        """All standard deviations times ``factor``."""
        changes: dict[str, Any] = {name: getattr(self, name).scaled(factor) for name in ERROR_NAMES}
        return dataclasses.replace(self, **changes)

    def breathing_axis(self, axes: ArrayLike) -> FloatArray:
        """(3,) unit direction of breathing in patient LPS, for the patient's axes (3, 3) in columns."""
        direction = np.asarray(axes, dtype=np.float64) @ np.asarray(self.breathing_direction, dtype=np.float64)
        return np.asarray(direction / np.linalg.norm(direction))

    def lateral_std_mm(self, depth_mm: float) -> float:
        """Spread of each component across the needle that comes from the needle itself, at a depth.

        Independent errors add in quadrature: sqrt(lateral² + (depth angle)² + (deflection (depth / 100 mm)²)²).
        """
        tilt = depth_mm * math.radians(self.angle_deg.std)
        bend = self.deflection_mm.std * (depth_mm / DEFLECTION_DEPTH_MM) ** 2
        return math.hypot(self.lateral_mm.std, tilt, bend)

    def covariance_mm2(self, direction: ArrayLike, depth_mm: float, axes: ArrayLike) -> FloatArray:
        """(3, 3) covariance of where a point at a depth along a needle lands, of all sources together.

        With unit direction d and breathing axis b: s_lateral² (I - d dᵀ) + s_depth² d dᵀ + s_registration² I +
        s_breathing² b bᵀ. The products of depth error with tilt and bending are left out: they are of second
        order.

        Args:
            direction: (3,) unit direction of the needle.
            depth_mm: depth of the point below the entry.
            axes: (3, 3) the patient's axes in columns.
        """
        needle = np.asarray(direction, dtype=np.float64)
        along = np.outer(needle, needle)
        breath = self.breathing_axis(axes)
        return np.asarray(
            self.lateral_std_mm(depth_mm) ** 2 * (np.eye(3) - along)
            + self.depth_mm.std**2 * along
            + self.registration_mm.std**2 * np.eye(3)
            + self.breathing_mm.std**2 * np.outer(breath, breath)
        )


#: The fields of a budget that hold a source.
ERROR_NAMES = ("lateral_mm", "depth_mm", "angle_deg", "registration_mm", "breathing_mm", "deflection_mm")
