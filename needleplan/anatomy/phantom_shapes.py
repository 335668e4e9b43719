"""Solids given by a signed distance, and how they are put together.

Every field has the right sign and its magnitude never exceeds the true distance to the surface. The primitives
change by no more than the distance walked, and minimum, maximum, their smooth forms and offsets keep that property;
a part too far away to matter may be left out, which only brings the magnitude nearer to the true distance.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from needleplan.frames import FloatArray

#: Bound of a solid without end, in mm; large enough for any patient.
FAR_MM = 1e4


class DistanceKind(StrEnum):
    """What the value of a signed distance promises."""

    EXACT = "exact"  #: the Euclidean distance to the surface, both sides
    EXACT_OUTSIDE = "exact_outside"  #: exact where positive; a bound where negative
    BOUND = "bound"  #: right sign and zero set; the magnitude never exceeds the true distance


class Shape(ABC):
    """A solid as a signed distance in mm, negative inside, 1-Lipschitz."""

    __slots__ = ()

    @property
    @abstractmethod
    def distance_kind(self) -> DistanceKind:
        """What the values promise."""

    @property
    @abstractmethod
    def bounds_mm(self) -> FloatArray:
        """(2, 3) box that contains the solid."""

    @abstractmethod
    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        """Values (n,) at points (n, 3)."""

    @abstractmethod
    def moved(self, matrix: FloatArray) -> "Shape":
        """The solid carried along by a (4, 4) rigid motion, which may mirror."""

    def grown(self, distance_mm: float) -> "Shape":
        """The solid whose field is lower by ``distance_mm``: at least that much is added all around."""
        return Offset(self, distance_mm)

    def without(self, *others: "Shape", blend_mm: float = 0.0) -> "Shape":
        """This solid with others taken out of it, edges rounded over ``blend_mm``."""
        return Intersection((self, *(Complement(other) for other in others)), blend_mm)


def smooth_minimum(a: FloatArray, b: FloatArray, blend_mm: float) -> FloatArray:
    """Least of two fields with the crease rounded where they differ by less than ``blend_mm``.

    Quadratic blend (Quilez, "smooth minimum"). Its gradient is a convex mixture of the two gradients, which
    keeps a 1-Lipschitz field 1-Lipschitz; it lies below the minimum by at most blend/4.
    """
    if blend_mm <= 0.0:
        return np.minimum(a, b)
    from needleplan.anatomy.phantom_kernels import blend

    values: FloatArray = blend(a, b, blend_mm)
    return values


def _joined(value: FloatArray, part: Shape, points_mm: FloatArray, blend_mm: float) -> FloatArray:
    """Smooth minimum of ``value`` and the field of ``part``, which is not evaluated where it cannot matter.

    Outside its box a solid is at least as far away as the box. Where that is more than ``value`` and the blend,
    the exact field would change nothing, and leaving out one that is only a bound leaves a truer bound.
    """
    low, high = part.bounds_mm
    to_box = np.linalg.norm(np.maximum(np.maximum(low - points_mm, points_mm - high), 0.0), axis=1)
    near = np.flatnonzero(to_box <= np.maximum(value + blend_mm, 0.0))
    if near.size:
        value = value.copy()
        value[near] = smooth_minimum(value[near], part.signed_distance(points_mm[near]), blend_mm)
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Union(Shape):
    """All points in any of the parts, creases filled over ``blend_mm``."""

    parts: tuple[Shape, ...]
    blend_mm: float = 0.0

    @property
    def distance_kind(self) -> DistanceKind:
        exact = all(p.distance_kind is not DistanceKind.BOUND for p in self.parts)
        return DistanceKind.EXACT_OUTSIDE if exact and self.blend_mm == 0.0 else DistanceKind.BOUND

    @property
    def bounds_mm(self) -> FloatArray:
        boxes = np.stack([part.bounds_mm for part in self.parts])
        # The first blend lowers the field by a quarter of its width at most, all together by less than the width.
        grow = self.blend_mm * min(0.25 * (len(self.parts) - 1), 1.0)
        return np.stack([boxes[:, 0].min(axis=0) - grow, boxes[:, 1].max(axis=0) + grow])

    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        value = self.parts[0].signed_distance(points_mm)
        for part in self.parts[1:]:
            value = _joined(value, part, points_mm, self.blend_mm)
        return value

    def moved(self, matrix: FloatArray) -> "Union":
        return Union(tuple(part.moved(matrix) for part in self.parts), self.blend_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Intersection(Shape):
    """All points in every part, edges rounded off over ``blend_mm``; its field is a bound."""

    parts: tuple[Shape, ...]
    blend_mm: float = 0.0

    @property
    def distance_kind(self) -> DistanceKind:
        return DistanceKind.BOUND

    @property
    def bounds_mm(self) -> FloatArray:
        boxes = np.stack([part.bounds_mm for part in self.parts])
        return np.stack([boxes[:, 0].max(axis=0), boxes[:, 1].min(axis=0)])

    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        negated = -self.parts[0].signed_distance(points_mm)
        for part in self.parts[1:]:
            if isinstance(part, Complement):
                negated = _joined(negated, part.part, points_mm, self.blend_mm)
            else:
                negated = smooth_minimum(negated, -part.signed_distance(points_mm), self.blend_mm)
        return -negated

    def moved(self, matrix: FloatArray) -> "Intersection":
        return Intersection(tuple(part.moved(matrix) for part in self.parts), self.blend_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Complement(Shape):
    """Everything outside a solid."""

    part: Shape

    @property
    def distance_kind(self) -> DistanceKind:
        kind = self.part.distance_kind
        return DistanceKind.EXACT if kind is DistanceKind.EXACT else DistanceKind.BOUND

    @property
    def bounds_mm(self) -> FloatArray:
        return np.array([[-FAR_MM] * 3, [FAR_MM] * 3])

    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        return -self.part.signed_distance(points_mm)

    def moved(self, matrix: FloatArray) -> "Complement":
        return Complement(self.part.moved(matrix))


@dataclass(frozen=True, slots=True, eq=False)
class Offset(Shape):
    """A solid with its field lowered by ``distance_mm``; a negative one shrinks it."""

    part: Shape
    distance_mm: float

    @property
    def distance_kind(self) -> DistanceKind:
        return DistanceKind.BOUND

    @property
    def bounds_mm(self) -> FloatArray:
        # A field that is only a bound may grow by more than the distance; twice covers the shapes used here.
        grow = max(2.0 * self.distance_mm, 0.0)
        bounds = self.part.bounds_mm
        return np.stack([bounds[0] - grow, bounds[1] + grow])

    def signed_distance(self, points_mm: FloatArray) -> FloatArray:
        return self.part.signed_distance(points_mm) - self.distance_mm

    def moved(self, matrix: FloatArray) -> "Offset":
        return Offset(self.part.moved(matrix), self.distance_mm)
