"""Closed forms of two long parallel needles: conductance, field, and the Cassini oval where the field suffices."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.closed_forms.arguments import need_positive
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray


@dataclass(frozen=True, slots=True)
class NeedlePair:
    """Two endless parallel cylinders at +V/2 and -V/2 in homogeneous tissue, in the plane across them.

    The plane's origin is midway, the x axis points to the positive needle. Outside the cylinders the field is that
    of two lines of charge at x = +c and -c (bicircular coordinates).

    Attributes:
        spacing_m: between the axes.
        needle_radius_m: of each.
        voltage_v: between them.

    Raises:
        PhysicsError: needles that touch or overlap.
    """

    spacing_m: float
    needle_radius_m: float
    voltage_v: float

    def __post_init__(self) -> None:
        need_positive(needle_radius_m=self.needle_radius_m, voltage_v=self.voltage_v)
        if not self.spacing_m > 2.0 * self.needle_radius_m:
            raise PhysicsError(
                f"needles of {self.needle_radius_m:g} m radius must lie further apart than {self.spacing_m:g} m"
            )

    @property
    def focus_m(self) -> float:
        """Distance c of the lines of charge from the middle, sqrt((d/2)² - a²)."""
        return math.sqrt((0.5 * self.spacing_m) ** 2 - self.needle_radius_m**2)

    @property
    def half_potential_ratio(self) -> float:
        """D = arcosh(d / 2a): half the voltage in units of line charge over 2 pi sigma."""
        return math.acosh(0.5 * self.spacing_m / self.needle_radius_m)

    def conductance_s_per_m(self, conductivity_s_m: float) -> float:
        """Conductance per length, pi sigma / D."""
        need_positive(conductivity_s_m=conductivity_s_m)
        return math.pi * conductivity_s_m / self.half_potential_ratio

    def potential_v(self, x_m: ArrayLike, y_m: ArrayLike) -> FloatArray:
        """Potential at points outside the needles, V ln(r2 / r1) / (2 D)."""
        plus, minus = self._to_charges(x_m, y_m)
        return self.voltage_v * np.log(minus / plus) / (2.0 * self.half_potential_ratio)

    def field_v_m(self, x_m: ArrayLike, y_m: ArrayLike) -> FloatArray:
        """Field strength at points outside the needles, V c / (D r1 r2); 4 V c / (D (2c)²) midway."""
        plus, minus = self._to_charges(x_m, y_m)
        return self.voltage_v * self.focus_m / (self.half_potential_ratio * plus * minus)

    @property
    def greatest_field_v_m(self) -> float:
        """Field where the needles face each other, V c / (D a (d - 2a))."""
        gap = self.spacing_m - 2.0 * self.needle_radius_m
        return self.voltage_v * self.focus_m / (self.half_potential_ratio * self.needle_radius_m * gap)

    def oval(self, threshold_v_m: float) -> "CassiniOval":
        """Where the field is at least a threshold: r1 r2 <= b², b² = V c / (E D).

        Raises:
            PhysicsError: the field reaches the threshold nowhere.
        """
        need_positive(threshold_v_m=threshold_v_m)
        if threshold_v_m >= self.greatest_field_v_m:
            raise PhysicsError(
                f"the field of at most {self.greatest_field_v_m / 100:.0f} V/cm reaches "
                f"{threshold_v_m / 100:g} V/cm nowhere"
            )
        focus = self.focus_m
        product = self.voltage_v * focus / (threshold_v_m * self.half_potential_ratio)
        return CassiniOval(focus, math.sqrt(product))

    def _to_charges(self, x_m: ArrayLike, y_m: ArrayLike) -> tuple[FloatArray, FloatArray]:
        x, y = np.asarray(x_m, dtype=np.float64), np.asarray(y_m, dtype=np.float64)
        outside = np.hypot(np.abs(x) - 0.5 * self.spacing_m, y) >= self.needle_radius_m * (1.0 - 1e-12)
        if not outside.all():
            raise PhysicsError("the field of a pair of needles is stated outside them only")
        return np.hypot(x - self.focus_m, y), np.hypot(x + self.focus_m, y)


@dataclass(frozen=True, slots=True)
class CassiniOval:
    """The points whose distances to two foci have a product of at most b²; needles within it are counted in.

    Attributes:
        focus_m: distance c of each focus from the middle.
        reach_m: b.
    """

    focus_m: float
    reach_m: float

    def __post_init__(self) -> None:
        need_positive(focus_m=self.focus_m, reach_m=self.reach_m)

    @property
    def joined(self) -> bool:
        """One piece rather than two, b >= c."""
        return self.reach_m >= self.focus_m

    @property
    def width_m(self) -> float:
        """Extent along the line through the needles, 2 sqrt(c² + b²)."""
        return 2.0 * math.hypot(self.focus_m, self.reach_m)

    @property
    def depth_m(self) -> float:
        """Greatest extent across that line: 2 sqrt(b² - c²) if b² >= 2 c², or else b² / c, over each needle."""
        if self.reach_m**2 >= 2.0 * self.focus_m**2:
            return self.waist_m
        return self.reach_m**2 / self.focus_m

    @property
    def waist_m(self) -> float:
        """Extent across that line in the middle, 2 sqrt(b² - c²); 0 of two pieces."""
        return 2.0 * math.sqrt(max(self.reach_m**2 - self.focus_m**2, 0.0))

    @property
    def area_m2(self) -> float:
        """Area: 2 b² E(c⁴/b⁴) of one piece, 2 c² [E(m) - (1 - m) K(m)] with m = b⁴/c⁴ of two.

        E and K are the complete elliptic integrals of the parameter m.
        """
        from scipy.special import ellipe, ellipk

        if self.joined:
            return float(2.0 * self.reach_m**2 * ellipe((self.focus_m / self.reach_m) ** 4))
        m = (self.reach_m / self.focus_m) ** 4
        return float(2.0 * self.focus_m**2 * (ellipe(m) - (1.0 - m) * ellipk(m)))

    def contains(self, x_m: ArrayLike, y_m: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """True for points within, the foci on the x axis."""
        x, y = np.asarray(x_m, dtype=np.float64), np.asarray(y_m, dtype=np.float64)
        product = np.hypot(x - self.focus_m, y) * np.hypot(x + self.focus_m, y)
        return np.asarray(product <= self.reach_m**2)
