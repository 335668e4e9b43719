"""Where things lie in the phantom: nominal adult coordinates carried over to a patient of another size."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from needleplan.anatomy.phantom_primitives import Ellipsoid, HalfSpace, RoundedBoxes, RoundedCones, Superellipsoid
from needleplan.frames import FloatArray

#: Size of the nominal body in mm, left to right, front to back, and along the part of the trunk in the image.
NOMINAL_SIZE_MM = (340.0, 240.0, 300.0)

#: Height in nominal coordinates (mm, origin in the middle of the trunk) of the vertebral centres T4 to L5.
VERTEBRA_HEIGHTS_MM = (
    163.0,
    140.0,
    118.0,
    95.0,
    72.0,
    48.0,
    24.0,
    0.0,
    -26.0,
    -55.0,
    -86.0,
    -118.0,
    -151.0,
    -184.0,
)


def rotation(angles_deg: ArrayLike) -> FloatArray:
    """(3, 3) rotation about the fixed x, then y, then z axis, by angles in degrees."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(np.asarray(angles_deg, dtype=np.float64))):
        c, s = np.cos(angle), np.sin(angle)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = c
        turn[i, j], turn[j, i] = -s, s
        matrix = turn @ matrix
    return matrix


def spine_y_mm(z_mm: ArrayLike) -> FloatArray:
    """Nominal y of the middle of the vertebral bodies: lumbar lordosis below, thoracic kyphosis above."""
    z = np.asarray(z_mm, dtype=np.float64)
    return np.asarray(53.0 + 8.0 * np.tanh((z + 20.0) / 70.0))


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Makes shapes of one patient from nominal coordinates.

    Attributes:
        scale: (3,) size of this patient over the nominal size, along x, y and z.
        variation: relative standard deviation of the organs' places and sizes.
        generator: source of that variation.
    """

    scale: FloatArray
    variation: float
    generator: Generator

    @property
    def thickness_scale(self) -> float:
        """Factor for the radii of tubes: the geometric mean of the three."""
        return float(np.cbrt(np.prod(self.scale)))

    def point(self, nominal_mm: ArrayLike) -> FloatArray:
        """Points (..., 3) of this patient."""
        return np.asarray(nominal_mm, dtype=np.float64) * self.scale

    def _spread(self, shape: int) -> FloatArray:
        """Standard normal draws cut off at two, so that no organ leaves its place."""
        return np.clip(self.generator.standard_normal(shape), -2.0, 2.0) * self.variation

    def ellipsoid(self, centre: ArrayLike, semi_axes: ArrayLike, angles_deg: ArrayLike = (0, 0, 0)) -> Ellipsoid:
        """An ellipsoid with the anatomical variation of this patient; scaled exactly, so it stays one."""
        semi = np.asarray(semi_axes, dtype=np.float64)
        centre_mm = np.asarray(centre, dtype=np.float64) + self._spread(3) * 0.5 * semi
        semi = semi * (1.0 + self._spread(3))
        columns, lengths, _ = np.linalg.svd(self.scale[:, None] * rotation(angles_deg) * semi)
        return Ellipsoid(self.point(centre_mm), lengths, columns)

    def fixed_ellipsoid(self, centre: ArrayLike, semi_axes: ArrayLike) -> Ellipsoid:
        """An axis-aligned ellipsoid without variation."""
        return Ellipsoid(self.point(centre), self.point(semi_axes), np.eye(3))

    def superellipsoid(self, centre: ArrayLike, semi_axes: ArrayLike, exponent: float) -> Superellipsoid:
        """A superellipsoid along the axes, without variation."""
        return Superellipsoid(self.point(centre), self.point(semi_axes), exponent, np.eye(3))

    def tube(self, points: ArrayLike, radii: ArrayLike) -> RoundedCones:
        """A tube along points (k, 3) of nominal coordinates."""
        return RoundedCones.polyline(self.point(points), np.asarray(radii, dtype=float) * self.thickness_scale)

    def smooth_tube(self, points: ArrayLike, radii: ArrayLike, step_mm: float = 8.0) -> RoundedCones:
        """A tube along a Catmull-Rom curve through points (k, 3), radii between them linear."""
        curve, radius = catmull_rom(points, radii, step_mm)
        return self.tube(curve, radius)

    def boxes(
        self, centres: ArrayLike, half_sizes: ArrayLike, radius: float, angles_deg: ArrayLike = (0, 0, 0)
    ) -> RoundedBoxes:
        """Rounded boxes (m, 3), sizes scaled along their own axes: exact where they are not turned."""
        half = np.asarray(half_sizes, dtype=np.float64) * self.scale
        return RoundedBoxes(self.point(centres), half, radius * float(self.scale.min()), rotation(angles_deg))

    def half_space(self, point: ArrayLike, normal: ArrayLike) -> HalfSpace:
        """The side of a plane that its normal points away from."""
        return HalfSpace(self.point(point), np.asarray(normal, dtype=np.float64) / self.scale)


def catmull_rom(points: ArrayLike, radii: ArrayLike, step_mm: float) -> tuple[FloatArray, FloatArray]:
    """Points and radii along a uniform Catmull-Rom curve, about ``step_mm`` apart."""
    p = np.asarray(points, dtype=np.float64)
    r = np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(p),))
    before, after = 2 * p[0] - p[1], 2 * p[-1] - p[-2]
    q = np.concatenate([before[None], p, after[None]])
    curve, radius = [p[:1]], [r[:1]]
    for k in range(len(p) - 1):
        a, b, c, d = q[k : k + 4]
        count = max(1, round(float(np.linalg.norm(c - b)) / step_mm))
        t = (np.arange(1, count + 1) / count)[:, None]
        curve.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
        radius.append(r[k] + (r[k + 1] - r[k]) * t[:, 0])
    return np.concatenate(curve), np.concatenate(radius)
