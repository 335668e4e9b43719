"""The phantom's primitive solids, each with its signed distance in closed form."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.phantom_shapes import FAR_MM, DistanceKind, Shape
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only


def _transform(matrix: FloatArray, points: FloatArray) -> FloatArray:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


@dataclass(frozen=True, slots=True, eq=False)
class RoundedCones(Shape):
    """Union of rounded cones, each the convex hull of two balls; capsules and spheres are special cases.

    Attributes:
        starts_mm: (m, 3) centres of the first balls.
        ends_mm: (m, 3) centres of the second balls.
        radii_mm: (m, 2) radii of both, positive.
    """

    starts_mm: FloatArray
    ends_mm: FloatArray
    radii_mm: FloatArray
    _group_first: NDArray[np.int64] = field(init=False, repr=False)
    _group_boxes: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts, ends, radii = read_only(self.starts_mm), read_only(self.ends_mm), read_only(self.radii_mm)
        if starts.ndim != 2 or starts.shape != ends.shape or radii.shape != (len(starts), 2) or len(starts) == 0:
            raise GeometryError("rounded cones need starts (m, 3), ends (m, 3) and radii (m, 2) with m > 0")
        if not (np.isfinite(starts).all() and np.isfinite(ends).all() and radii.min() > 0):
            raise GeometryError("rounded cones need finite centres and positive radii")
        first = np.append(np.arange(0, len(starts), 6), len(starts))
        low = np.minimum(starts - radii[:, :1], ends - radii[:, 1:])
        high = np.maximum(starts + radii[:, :1], ends + radii[:, 1:])
        boxes = np.stack(
            [np.minimum.reduceat(low, first[:-1], axis=0), np.maximum.reduceat(high, first[:-1], axis=0)], axis=1
        )
        for name, value in (("starts_mm", starts), ("ends_mm", ends), ("radii_mm", radii)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_group_first", read_only(first, np.int64))
        object.__setattr__(self, "_group_boxes", read_only(boxes))

    @classmethod
    def polyline(cls, points_mm: ArrayLike, radii_mm: ArrayLike) -> "RoundedCones":
        """A tube along points (k, 3) with a radius at each of them."""
        points = np.asarray(points_mm, dtype=np.float64)
        radii = np.broadcast_to(np.asarray(radii_mm, dtype=np.float64), (len(points),))
        return cls(points[:-1], points[1:], np.stack([radii[:-1], radii[1:]], axis=1))

    @classmethod
    def sphere(cls, centre_mm: ArrayLike, radius_mm: float) -> "RoundedCones":
        """One ball."""
        centre = np.reshape(np.asarray(centre_mm, dtype=np.float64), (1, 3))
        return cls(centre, centre, np.full((1, 2), radius_mm))

    @classmethod
    def joined(cls, parts: "list[RoundedCones]") -> "RoundedCones":
        """Union of several sets."""
        return cls(
            np.concatenate([p.starts_mm for p in parts]),
            np.concatenate([p.ends_mm for p in parts]),
            np.concatenate([p.radii_mm for p in parts]),
        )

    @property
    def distance_kind(self) -> DistanceKind:
        return DistanceKind.EXACT if len(self.starts_mm) == 1 else DistanceKind.EXACT_OUTSIDE

    @property
    def bounds_mm(self) -> FloatArray:
        return np.stack([self._group_boxes[:, 0].min(axis=0), self._group_boxes[:, 1].max(axis=0)])

    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        from needleplan.anatomy.phantom_kernels import rounded_cones

        values: FloatArray = rounded_cones(
            np.ascontiguousarray(points_mm),
            self.starts_mm,
            self.ends_mm,
            self.radii_mm,
            self._group_first,
            self._group_boxes,
        )
        return values

    def moved(self, matrix: FloatArray) -> "RoundedCones":
        return RoundedCones(_transform(matrix, self.starts_mm), _transform(matrix, self.ends_mm), self.radii_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Ellipsoid(Shape):
    """An ellipsoid.

    Attributes:
        centre_mm: (3,).
        semi_axes_mm: (3,) positive.
        axes: (3, 3) orthonormal columns: directions of the semi-axes.
    """

    centre_mm: FloatArray
    semi_axes_mm: FloatArray
    axes: FloatArray

    def __post_init__(self) -> None:
        for name in ("centre_mm", "semi_axes_mm", "axes"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        if self.semi_axes_mm.min() <= 0 or not np.allclose(self.axes.T @ self.axes, np.eye(3), atol=1e-9):
            raise GeometryError("an ellipsoid needs positive semi-axes along orthonormal directions")

    @property
    def distance_kind(self) -> DistanceKind:
        return DistanceKind.EXACT

    @property
    def bounds_mm(self) -> FloatArray:
        half = np.linalg.norm(self.axes * self.semi_axes_mm, axis=1)
        return np.stack([self.centre_mm - half, self.centre_mm + half])

    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        from needleplan.anatomy.phantom_kernels import ellipsoid

        local = np.ascontiguousarray((points_mm - self.centre_mm) @ self.axes)
        values: FloatArray = ellipsoid(local, self.semi_axes_mm)
        return values

    def moved(self, matrix: FloatArray) -> "Ellipsoid":
        return Ellipsoid(_transform(matrix, self.centre_mm), self.semi_axes_mm, matrix[:3, :3] @ self.axes)


@dataclass(frozen=True, slots=True, eq=False)
class Superellipsoid(Shape):
    """The solid |x/a|^n + |y/b|^n + |z/c|^n < 1 in its own axes, n at least 2.

    The n-norm is at most the Euclidean norm for n >= 2, so min(a, b, c) (norm - 1) is 1-Lipschitz.
    """

    centre_mm: FloatArray
    semi_axes_mm: FloatArray
    exponent: float
    axes: FloatArray

    def __post_init__(self) -> None:
        for name in ("centre_mm", "semi_axes_mm", "axes"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        if self.exponent < 2 or self.semi_axes_mm.min() <= 0:
            raise GeometryError("a superellipsoid needs positive semi-axes and an exponent of at least 2")

    @property
    def distance_kind(self) -> DistanceKind:
        return DistanceKind.BOUND

    @property
    def bounds_mm(self) -> FloatArray:
        half = np.abs(self.axes) @ self.semi_axes_mm
        return np.stack([self.centre_mm - half, self.centre_mm + half])

    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        from needleplan.anatomy.phantom_kernels import superellipsoid

        local = np.ascontiguousarray((points_mm - self.centre_mm) @ self.axes)
        values: FloatArray = superellipsoid(local, self.semi_axes_mm, self.exponent)
        return values

    def moved(self, matrix: FloatArray) -> "Superellipsoid":
        return Superellipsoid(
            _transform(matrix, self.centre_mm), self.semi_axes_mm, self.exponent, matrix[:3, :3] @ self.axes
        )


@dataclass(frozen=True, slots=True, eq=False)
class RoundedBoxes(Shape):
    """Union of boxes that lie the same way, edges rounded to ``radius_mm``.

    Attributes:
        centres_mm: (m, 3).
        half_sizes_mm: (m, 3), the rounding included.
        radius_mm: rounding, at most the least half size.
        axes: (3, 3) orthonormal columns: directions of the edges.
    """

    centres_mm: FloatArray
    half_sizes_mm: FloatArray
    radius_mm: float
    axes: FloatArray

    def __post_init__(self) -> None:
        for name in ("centres_mm", "half_sizes_mm", "axes"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        if self.centres_mm.ndim != 2 or self.centres_mm.shape != self.half_sizes_mm.shape:
            raise GeometryError("rounded boxes need centres (m, 3) and half sizes (m, 3)")
        if self.radius_mm < 0 or self.half_sizes_mm.min() < self.radius_mm:
            raise GeometryError("rounded boxes need half sizes of at least their rounding")

    @property
    def distance_kind(self) -> DistanceKind:
        return DistanceKind.EXACT if len(self.centres_mm) == 1 else DistanceKind.EXACT_OUTSIDE

    @property
    def bounds_mm(self) -> FloatArray:
        half = self.half_sizes_mm @ np.abs(self.axes).T
        return np.stack([(self.centres_mm - half).min(axis=0), (self.centres_mm + half).max(axis=0)])

    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        from needleplan.anatomy.phantom_kernels import boxes

        values: FloatArray = boxes(
            np.ascontiguousarray(points_mm @ self.axes),
            np.ascontiguousarray(self.centres_mm @ self.axes),
            self.half_sizes_mm - self.radius_mm,
        )
        return values - self.radius_mm

    def moved(self, matrix: FloatArray) -> "RoundedBoxes":
        return RoundedBoxes(
            _transform(matrix, self.centres_mm), self.half_sizes_mm, self.radius_mm, matrix[:3, :3] @ self.axes
        )


@dataclass(frozen=True, slots=True, eq=False)
class HalfSpace(Shape):
    """All points on the side of a plane that its unit ``normal`` points away from."""

    point_mm: FloatArray
    normal: FloatArray

    def __post_init__(self) -> None:
        normal = np.asarray(self.normal, dtype=np.float64)
        object.__setattr__(self, "point_mm", read_only(self.point_mm))
        object.__setattr__(self, "normal", read_only(normal / np.linalg.norm(normal)))

    @property
    def distance_kind(self) -> DistanceKind:
        return DistanceKind.EXACT

    @property
    def bounds_mm(self) -> FloatArray:
        bounds = np.array([[-FAR_MM] * 3, [FAR_MM] * 3])
        axis = int(np.argmax(np.abs(self.normal)))
        if abs(self.normal[axis]) > 1.0 - 1e-12:
            bounds[1 if self.normal[axis] > 0 else 0, axis] = self.point_mm[axis]
        return bounds

    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        return np.asarray((points_mm - self.point_mm) @ self.normal)

    def moved(self, matrix: FloatArray) -> "HalfSpace":
        return HalfSpace(_transform(matrix, self.point_mm), matrix[:3, :3] @ self.normal)
