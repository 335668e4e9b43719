"""A needle with a bevelled tip that is pushed without being turned: a circle of the needle's own radius."""

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, unit_vector
from needleplan.plan import vector3
from needleplan.trajectory.contract import DeflectionModel

#: Stronger bends are no needle in tissue: a circle of 20 mm radius.
MAXIMUM_CURVATURE_PER_MM = 0.05
#: A bevel that points along the path more closely than this (sine of the angle, 0.06 degrees) has no side.
SMALLEST_SINE = 1e-3


class ConstantCurvature(DeflectionModel):
    """Every path is an arc of one curvature, bent to the side to which the bevel is turned.

    Without turning, a bevelled needle in tissue follows a circle (Webster et al., Int J Robotics Research
    2006;25:509). The bevel is held towards one direction in the room, so a path bends in the plane of its chord and
    that direction.

    Args:
        curvature_per_mm: 1 / radius of the circle, 0 to ``MAXIMUM_CURVATURE_PER_MM``.
        bevel_direction: (3,) direction in patient LPS towards which the needle bends; of any length but zero.

    Raises:
        OptionError: the curvature is impossible.
        GeometryError: the direction is zero or not finite.
    """

    def __init__(self, curvature_per_mm: float, bevel_direction: ArrayLike) -> None:
        if not 0 <= curvature_per_mm <= MAXIMUM_CURVATURE_PER_MM:
            raise OptionError(
                f"the curvature of a needle must be between 0 and {MAXIMUM_CURVATURE_PER_MM:g} per mm, not "
                f"{curvature_per_mm:g}"
            )
        direction = np.asarray(bevel_direction, dtype=np.float64)
        if direction.shape != (3,) or not np.isfinite(direction).all() or not direction.any():
            raise GeometryError(f"the bevel needs a direction of three finite numbers, not {direction.tolist()}")
        self._curvature = float(curvature_per_mm)
        self._bevel = vector3(unit_vector(direction))

    @classmethod
    def of_bevel(
        cls, steer_angle_deg: float, wheelbase_mm: float, bevel_direction: ArrayLike
    ) -> "ConstantCurvature":
        """The curvature tan(phi) / l1 of the bicycle model of Webster et al. 2006.

        Args:
            steer_angle_deg: phi, angle of the front wheel, 0 or more and below 90 degrees.
            wheelbase_mm: l1, distance between the wheels, above 0. Their needle in a phantom, recalled
                and not read again: 9.91 degrees and 39.6 mm, a radius of 227 mm.
            bevel_direction: (3,) direction in patient LPS towards which the needle bends.

        Raises:
            OptionError: an impossible angle, wheelbase or curvature.
        """
        if not 0 <= steer_angle_deg < 90 or not 0 < wheelbase_mm < np.inf:
            raise OptionError(
                f"a bevel needs a steering angle of 0 to below 90 degrees and a wheelbase above 0 mm, not "
                f"{steer_angle_deg:g} degrees and {wheelbase_mm:g} mm"
            )
        return cls(float(np.tan(np.radians(steer_angle_deg)) / wheelbase_mm), bevel_direction)

    @property
    def name(self) -> str:
        x, y, z = self._bevel
        return f"constant curvature {self._curvature:g} per mm towards ({x:.3g}, {y:.3g}, {z:.3g})"

    def curvature_per_mm(self, entry_mm: FloatArray, tip_mm: FloatArray) -> FloatArray:
        """Towards the part of the bevel's direction that is perpendicular to the chord.

        Raises:
            GeometryError: the bevel points along a path, which then has no side to bend to, or a path is longer
                than the circle is wide.
        """
        chord = np.asarray(tip_mm, dtype=np.float64) - np.asarray(entry_mm, dtype=np.float64)
        length = np.linalg.norm(chord, axis=1, keepdims=True)
        if (length == 0).any():
            raise GeometryError("a path without length has no direction to bend from")
        if self._curvature == 0.0:
            return np.zeros_like(chord)
        if (self._curvature * length >= 2.0).any():
            raise GeometryError(
                f"a path of {length.max():.0f} mm from entry to tip cannot be joined by less than half a circle of "
                f"{1.0 / self._curvature:.0f} mm radius: leave out entries so far away, or bend less"
            )
        along = chord / length
        bevel = np.asarray(self._bevel)
        # Twice, because one subtraction leaves a rounding error along the chord.
        across = bevel - (along @ bevel)[:, None] * along
        across -= np.einsum("ij,ij->i", across, along)[:, None] * along
        sine = np.linalg.norm(across, axis=1, keepdims=True)
        parallel = int(np.count_nonzero(sine < SMALLEST_SINE))
        if parallel:
            raise GeometryError(
                f"the bevel points along {parallel} of {len(chord)} paths, which then have no side to bend to: "
                "turn it to another direction, or leave these paths out"
            )
        return np.asarray(self._curvature * across / sine)
