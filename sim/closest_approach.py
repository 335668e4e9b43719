"""How near a needle comes to each structure while it moves, and which it enters, in the body at rest.

Most structures need not be looked at most of the time: one is measured again only where, after what was measured
before and how far the needle has moved since, it could be nearer than ever (:mod:`sim.sure_distances`).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.tree import MeshTree
from needleplan.case.model import Role
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray
from needleplan.outcome import CLOSEST_CAP_MM
from sim.patient import REGION_ROLES
from sim.sure_distances import Shaft, SureDistances

#: The deepest point within a structure is found to this; distances outside are exact.
INSIDE_MM = 0.1
#: A structure is measured to so much beyond the least so far, so that it need not be for the next moves.
_BEYOND_MM = 5.0


@dataclass(slots=True, eq=False)
class _Followed:
    """One structure and what is known of the needle's centre line against it.

    Attributes:
        surface: the structure.
        tree: its search tree.
        least: least signed distance so far.
        entered: True once the centre line has been within it.
    """

    surface: StructureSurface
    tree: MeshTree
    least: float
    entered: bool = False


class ClosestApproach:
    """Least distances of one needle from each structure while it moves.

    All structures are followed but the skin and regions in space. Positions are those in the body at rest, where
    the surfaces are; distances there are not stretched by the breathing.

    Args:
        queries: the anatomy with its search trees.
        radius_mm: of the needle.
        cap_mm: distances beyond it are not followed and stand as it.

    Raises:
        OptionError: the radius or the cap is negative or not finite.
    """

    def __init__(self, queries: AnatomyQueries, radius_mm: float, cap_mm: float = CLOSEST_CAP_MM) -> None:
        if not (0.0 <= radius_mm < np.inf and 0.0 < cap_mm < np.inf):
            raise OptionError(
                f"a needle's radius must be zero or more and the cap greater, not {radius_mm:g} and {cap_mm:g} mm"
            )
        self._radius_mm, self._cap_mm = float(radius_mm), float(cap_mm)
        left_out = REGION_ROLES | {Role.SKIN}
        self._followed = [
            _Followed(surface, queries.tree(surface), cap_mm + radius_mm)
            for surface in queries.anatomy.surfaces
            if surface.role not in left_out
        ]
        self._sure = SureDistances(len(self._followed))
        self._punctured: list[str] = []

    @property
    def least_mm(self) -> dict[str, float]:
        """Least distance so far of the needle's surface from that of each structure, by name.

        Outside a structure that of the centre line less the radius; within, minus the depth of the deepest point of
        the centre line, to ``INSIDE_MM``, less the radius.
        """
        return {f.surface.name: min(self._cap_mm, f.least - self._radius_mm) for f in self._followed}

    @property
    def punctured(self) -> tuple[str, ...]:
        """Structures that the centre line has entered, in the order in which it did."""
        return tuple(self._punctured)

    def rounded(self) -> dict[str, float]:
        """Least distances by name, in the order of the names, to 0.0001 mm."""
        return {name: round(value, 4) for name, value in sorted(self.least_mm.items())}

    def add(self, shaft_at_rest_mm: ArrayLike, within_wall: ArrayLike | None = None) -> tuple[str, ...]:
        """Take the needle where it is now.

        Args:
            shaft_at_rest_mm: (k, 3) polyline of the part in tissue, carried back to the body at rest, the tip last;
                empty for a needle in the air.
            within_wall: (k,) whether each point lies within the chest wall. Tissue slides along the wall, so that
                the polyline jumps where this changes, and what lies between is no needle. None for no jump.

        Returns:
            Names of the structures that it has entered for the first time, in the order along the needle.

        Raises:
            GeometryError: the polyline is none.
        """
        points = np.array(shaft_at_rest_mm, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise GeometryError(f"a needle's shaft must be finite points (k, 3), not of the shape {points.shape}")
        if not len(points):
            return ()
        breaks = np.zeros(0, dtype=np.int64)
        if within_wall is not None:
            sides = np.asarray(within_wall, dtype=np.bool_)
            if sides.shape != (len(points),):
                raise GeometryError(
                    f"within_wall needs one value for each of the {len(points)} points of the shaft"
                )
            breaks = np.flatnonzero(sides[1:] != sides[:-1]) + 1
        shaft = Shaft.of(points, breaks)
        measured: dict[int, FloatArray] = {}
        entered: list[tuple[float, str]] = []
        for number, (followed, sure) in enumerate(zip(self._followed, self._sure.at_least(shaft), strict=True)):
            # Within, the least is only known to so much anyway.
            if sure >= followed.least - (INSIDE_MM if followed.entered else 0.0):
                continue
            measured[number], place = _measured(followed, shaft, outside=sure > 0.0)
            if place is not None and not followed.entered:
                followed.entered = True
                entered.append((place, followed.surface.name))
        self._sure.remember(shaft, measured)
        names = tuple(name for _, name in sorted(entered))
        self._punctured += names
        return names


def _measured(followed: _Followed, shaft: Shaft, outside: bool) -> tuple[FloatArray, float | None]:
    """Measure one structure.

    Args:
        followed: the structure, whose least is brought up to date.
        shaft: the needle.
        outside: True where it is sure to be outside.

    Returns:
        What each piece (m,) of the needle is away at least, and where along the needle it is entered, counted in
        pieces; None where it is not.
    """
    tree, start, end = followed.tree, shaft.start, shaft.end
    known = tree.segment_distance_mm(start, end, max(followed.least, 0.0) + _BEYOND_MM)
    least = float(known.min())
    stretches = [] if outside else _stretches_within(tree, shaft, crosses=least == 0.0)
    if not stretches:
        followed.least = min(followed.least, least)
        return known, None
    depth, bounds = _deepest(tree, start, end, stretches, max(-followed.least - _BEYOND_MM, 0.0))
    followed.least = min(followed.least, -depth)
    pieces = [piece for piece, _, _ in stretches]
    known[pieces] = 0.0
    np.minimum.at(known, pieces, -bounds)
    return known, stretches[0][0] + stretches[0][1]


def _stretches_within(tree: MeshTree, shaft: Shaft, crosses: bool) -> list[tuple[int, float, float]]:
    """Stretches of the needle within a closed surface: the piece, and from where to where as shares of it."""
    begins = tree.contains(shaft.points[shaft.runs[:-1]])
    if not (crosses or begins.any()):
        return []
    stretches: list[tuple[int, float, float]] = []
    start, end = shaft.start, shaft.end
    first = np.searchsorted(shaft.pieces, shaft.runs)
    for run, (low, high) in enumerate(pairwise(first.tolist())):
        # Joined, so that a crossing where two pieces meet counts once.
        found = tree.crossings(start[low:high], end[low:high]).joined(high - low)
        passed = int(found.count[0])
        places = np.clip((high - low) * found.parameter[0, :passed], 0.0, high - low).tolist()
        # Below zero: surfaces whose faces look inward are left before they are entered.
        shells = int(begins[run]) - np.cumsum(np.where(found.outward[0, :passed], 1, -1))
        bounds = [0.0, *places, float(high - low)]
        for within, place, until in zip([begins[run], *shells], bounds, bounds[1:], strict=False):
            if within:
                stretches += _by_piece(low, place, until)
    return stretches


def _by_piece(low: int, place: float, until: float) -> list[tuple[int, float, float]]:
    """A stretch, counted in pieces from ``low``, cut where pieces meet."""
    whole = range(int(np.floor(place)), max(int(np.ceil(until)), int(np.floor(place)) + 1))
    return [(low + k, max(place - k, 0.0), min(until - k, 1.0)) for k in whole]


def _deepest(
    tree: MeshTree, start: FloatArray, end: FloatArray, stretches: list[tuple[int, float, float]], depth_mm: float
) -> tuple[float, FloatArray]:
    """Depth of the deepest point of the stretches, to half ``INSIDE_MM``, and what each is deep at most.

    The depth changes by at most 1 mm a mm, so between two points at a distance l no depth exceeds the mean of
    theirs plus l / 2; stretches that might hold a deeper point than is known are halved (Piyavskii, USSR
    Computational Mathematics and Mathematical Physics 1972;12(4):57). Where none is deeper than ``depth_mm``, that
    is given.
    """
    piece = np.array([stretch[0] for stretch in stretches])
    shares = np.array([stretch[1:] for stretch in stretches])
    start, way = start[piece], end[piece] - start[piece]
    a, b = start + shares[:, :1] * way, start + shares[:, 1:] * way
    ends = np.concatenate([a, b])
    at_a, at_b = np.split(tree.segment_distance_mm(ends, ends), 2)
    best = max(depth_mm, float(at_a.max()), float(at_b.max()))
    first = highest = 0.5 * (at_a + at_b + np.linalg.norm(b - a, axis=1))
    while True:
        rising = highest > best + 0.5 * INSIDE_MM
        if not rising.any():
            return best, np.minimum(first, best + 0.5 * INSIDE_MM)
        a, b, at_a, at_b = a[rising], b[rising], at_a[rising], at_b[rising]
        middle = 0.5 * (a + b)
        at_middle = tree.segment_distance_mm(middle, middle)
        best = max(best, float(at_middle.max()))
        a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
        at_a, at_b = np.concatenate([at_a, at_middle]), np.concatenate([at_middle, at_b])
        highest = 0.5 * (at_a + at_b + np.linalg.norm(b - a, axis=1))
