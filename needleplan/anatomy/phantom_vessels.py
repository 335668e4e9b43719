"""Branching trees of the portal and hepatic veins, grown into the liver."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from needleplan.anatomy.phantom_primitives import RoundedCones
from needleplan.anatomy.phantom_shapes import Shape
from needleplan.frames import FloatArray, read_only

#: Exponent of Murray's law: the cube of a parent's radius is the sum of the cubes of its children's
#: (Murray, "The physiological principle of minimum work", PNAS 12 (1926) 207-214).
MURRAY_EXPONENT = 3.0

#: Radius at the end of a branch over that at its start.
TAPER = 0.94

#: Finest radius that is drawn, in mm.
LEAST_RADIUS_MM = 1.0

#: Least tissue between the wall of a vessel and the surface of the liver or another tree's vessel, in mm.
WALL_GAP_MM = 1.0

_STEP_MM = 6.0
_TRIES = 14

# Part of the way to the middle of its territory that a branch goes: a last one, and one that divides again.
_LAST_SHARE, _SHARE = (0.8, 1.1), (0.5, 0.75)


@dataclass(frozen=True, slots=True, eq=False)
class VesselTree:
    """A tree of tapering vessel segments, each a rounded cone.

    Attributes:
        starts_mm: (m, 3) upstream end of each segment's centre line.
        ends_mm: (m, 3) downstream end.
        radii_mm: (m, 2) radius at both.
        parents: (m,) index of the segment that it goes on from; -1 at a root. A parent comes before its children.
        within_liver: (m,) False for the stems that join the tree to the vessels outside the liver.
    """

    starts_mm: FloatArray
    ends_mm: FloatArray
    radii_mm: FloatArray
    parents: NDArray[np.int64]
    within_liver: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in ("starts_mm", "ends_mm", "radii_mm"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        object.__setattr__(self, "parents", read_only(self.parents, np.int64))
        object.__setattr__(self, "within_liver", read_only(self.within_liver, np.bool_))

    @property
    def shape(self) -> RoundedCones:
        """The vessels as a solid."""
        return RoundedCones(self.starts_mm, self.ends_mm, self.radii_mm)

    def moved(self, matrix: FloatArray) -> "VesselTree":
        """The tree carried along by a rigid (4, 4) motion, which may mirror."""
        rotation, shift = matrix[:3, :3], matrix[:3, 3]
        return VesselTree(
            self.starts_mm @ rotation.T + shift,
            self.ends_mm @ rotation.T + shift,
            self.radii_mm,
            self.parents,
            self.within_liver,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Stem:
    """A main branch from which a tree grows.

    Attributes:
        points_mm: (k, 3) centre line.
        radii_mm: (k,) radii along it.
        parent: index of the stem whose end it starts from; -1 for a root.
        outside: number of its first segments that lie outside the liver or reach into another vessel.
        divides: False for a stem that only carries other stems.
    """

    points_mm: FloatArray
    radii_mm: FloatArray
    parent: int = -1
    outside: int = 0
    divides: bool = True

    @property
    def shape(self) -> RoundedCones:
        """The stem as a solid."""
        return RoundedCones.polyline(self.points_mm, self.radii_mm)


@dataclass(frozen=True, slots=True, eq=False)
class _Bud:
    """An end that may divide further: where it is, where it heads, how thick it is, and what it feeds."""

    segment: int
    point: FloatArray
    heading: FloatArray
    radius: float
    territory: FloatArray


class TreeGrower:
    """Grows a tree one division at a time, so that two trees can share an organ fairly.

    Each end of a stem feeds the points of the territory that it is nearest to. At each division a territory is
    split across its widest direction and each half gets a branch towards its middle, with a radius by Murray's
    law for its share of the points. A branch that cannot be led inside the organ and clear of the obstacles is not
    grown; its sibling then carries all.
    """

    def __init__(self, stems: list[Stem], organ: Shape, territory: FloatArray, generator: Generator) -> None:
        """Begins with the stems.

        Args:
            stems: main branches; a parent before its children.
            organ: the solid to stay in.
            territory: (n, 3) points spread over the organ.
            generator: source of the courses.
        """
        self._organ = organ
        self._generator = generator
        self._starts: list[FloatArray] = []
        self._ends: list[FloatArray] = []
        self._radii: list[tuple[float, float]] = []
        self._parents: list[int] = []
        self._within: list[bool] = []
        last: list[int] = []
        for stem in stems:
            parent = last[stem.parent] if stem.parent >= 0 else -1
            last.append(self._add(stem.points_mm, stem.radii_mm, parent, stem.outside))
        feeding = [k for k, stem in enumerate(stems) if stem.divides]
        tips = np.stack([stems[k].points_mm[-1] for k in feeding])
        owner = np.argmin(np.linalg.norm(territory[:, None] - tips[None], axis=2), axis=1)
        self._buds = []
        for row, k in enumerate(feeding):
            points, radius = stems[k].points_mm, float(stems[k].radii_mm[-1])
            heading = points[-1] - points[-2]
            self._buds.append(_Bud(last[k], points[-1], heading, radius, territory[owner == row]))

    @property
    def tree(self) -> VesselTree:
        """The tree as it stands."""
        starts, ends = np.array(self._starts), np.array(self._ends)
        return VesselTree(starts, ends, np.array(self._radii), np.array(self._parents), np.array(self._within))

    def divide(self, obstacles: list[tuple[Shape, float]], is_last: bool) -> None:
        """Divides every end once, clear of the obstacles by the distance given with each."""
        buds = []
        for bud in self._buds:
            buds.extend(self._divide(bud, obstacles, is_last))
        self._buds = buds

    def _add(self, points: FloatArray, radii: FloatArray, parent: int, outside: int) -> int:
        """Adds a chain; returns the index of its last segment."""
        for k in range(len(points) - 1):
            self._starts.append(points[k])
            self._ends.append(points[k + 1])
            self._radii.append((float(radii[k]), float(radii[k + 1])))
            self._parents.append(parent)
            self._within.append(k >= outside)
            parent = len(self._starts) - 1
        return parent

    def _divide(self, bud: _Bud, obstacles: list[tuple[Shape, float]], is_last: bool) -> list[_Bud]:
        """Grows up to two branches from a bud; returns the buds at their ends."""
        if len(bud.territory) < 8:
            return []
        halves = _split(bud, self._generator)
        radii = [bud.radius * (len(half) / len(bud.territory)) ** (1.0 / MURRAY_EXPONENT) for half in halves]
        courses = [self._course(bud, halves[k], radii[k], obstacles, is_last) for k in range(2)]
        if (courses[0] is None) != (courses[1] is None):  # the one that is left carries the whole flow
            k = 0 if courses[1] is None else 1
            radii[k] = bud.radius
            courses[k] = self._course(bud, halves[k], bud.radius, obstacles, is_last)
        buds = []
        for course, radius, half in zip(courses, radii, halves, strict=True):
            if course is None:
                continue
            taper = radius * np.linspace(1.0, TAPER, len(course))
            last = self._add(course, taper, bud.segment, 0)
            buds.append(_Bud(last, course[-1], course[-1] - course[-2], float(taper[-1]), half))
        return buds

    def _course(
        self, bud: _Bud, half: FloatArray, radius: float, obstacles: list[tuple[Shape, float]], is_last: bool
    ) -> FloatArray | None:
        """Centre line (k, 3) from the bud into a half of its territory; None where no try stays free."""
        if len(half) < 3 or radius < LEAST_RADIUS_MM:
            return None
        draw = self._generator
        way = half.mean(axis=0) - bud.point
        heading = bud.heading / np.linalg.norm(bud.heading)
        for attempt in range(_TRIES):
            end = way * draw.uniform(*(_LAST_SHARE if is_last else _SHARE)) * (1.0 - 0.04 * attempt)
            end = end + draw.normal(0.0, 0.06 * (1 + attempt), 3) * float(np.linalg.norm(end))
            length = float(np.linalg.norm(end))
            if length < max(2.0, 1.5 * radius):
                continue
            bend = 0.38 * length * heading + draw.normal(0.0, 0.04, 3) * length
            count = max(3, math.ceil(length / _STEP_MM) + 1)
            t = np.linspace(0.0, 1.0, count)[:, None]
            course = bud.point + 2 * t * (1 - t) * bend + t**2 * end
            # What is checked are the chords, four points to each, as they are what is built.
            fine = np.linspace(0.0, 1.0, 5)[None, 1:, None]
            chords = (course[:-1, None] * (1 - fine) + course[1:, None] * fine).reshape(-1, 3)
            if (self._organ.signed_distance(chords) > -(radius + WALL_GAP_MM)).any():
                continue
            if all((shape.signed_distance(chords) > radius + gap).all() for shape, gap in obstacles):
                return np.asarray(course)
        return None


def _split(bud: _Bud, generator: Generator) -> tuple[FloatArray, FloatArray]:
    """The territory in two halves across its widest direction, that along the way to it counting for less."""
    middle = bud.territory.mean(axis=0)
    forward = middle - bud.point
    forward = forward / max(float(np.linalg.norm(forward)), 1e-9)
    offsets = bud.territory - middle
    flat = offsets - 0.35 * np.outer(offsets @ forward, forward)
    axis = np.linalg.svd(flat.T @ flat)[0][:, 0]
    axis = axis * math.copysign(1.0, axis[int(np.argmax(np.abs(axis)))])
    along = offsets @ axis
    cut = np.quantile(along, generator.uniform(0.38, 0.62))
    return bud.territory[along <= cut], bud.territory[along > cut]
