"""Distances of a needle to all structures that it must keep from, as they lie in the breath and at end-exhale."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.frames import FloatArray
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.static import StaticMotion
from needleplan.motion.tabulated_body import TabulatedBody
from needleplan.navigation.guidance import StructureDistance
from needleplan.plan import Insertion

#: Distances beyond this are not told apart.
REACH_MM = 100.0
#: Pieces of a needle that is carried back to the body at rest.
_STEP_MM = 4.0

_Measure = Callable[[int, float], tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near a needle comes to structures.

    Attributes:
        nearest: the structure with the least of all distances.
        now: structure and distance that is least with the organs where they are; None where that is not known.
        exhale: structure and distance that is least at end-exhale.
        ahead: structure and distance that is least on its way ahead, at end-exhale.
    """

    nearest: StructureDistance
    now: tuple[str, float] | None
    exhale: tuple[str, float]
    ahead: tuple[str, float]


class StructureWatch:
    """Exact distances of a straight needle to all obstacles.

    While the target is displaced the needle is carried back into the body at rest, where the surfaces are: by a
    deforming body piece by piece, so that the distances are ones at rest; without one by the displacement times the
    structure's share of it, which is exact for structures that move rigidly.

    Args:
        queries: the anatomy.
        body: how the body deforms; None shifts each structure by its share.

    Attributes:
        statement: which of the two it is, in a sentence.
    """

    def __init__(self, queries: AnatomyQueries, body: TabulatedBody | None) -> None:
        anatomy = queries.anatomy
        self._body = body
        self._names = [surface.name for surface in anatomy.obstacles]
        self._trees = [queries.tree(surface) for surface in anatomy.obstacles]
        bounds = np.array([tree.bounds_mm for tree in self._trees]).reshape(-1, 2, 3)
        self._low, self._high = bounds[:, 0], bounds[:, 1]
        if body is None:
            shares = TissueMotion(anatomy, StaticMotion()).shares if self._names else {}
            self._share = np.array([shares[name].fraction for name in self._names])
            self.statement = (
                "Structures are taken to move rigidly with their share of the target's displacement; within the "
                "gate the difference from a deforming body is a part of the gate's width."
            )
        else:
            self._share = np.ones(len(self._names))
            self.statement = (
                "Structures are taken to move with a body that deforms and slides along the chest wall."
            )

    def passed_by(self, planned: Insertion) -> frozenset[str]:
        """Structures that the planned path itself passes, as a rib or lung that holds the target."""
        start, end = np.array([planned.entry_mm]), np.array([planned.tip_mm])
        return frozenset(
            name
            for name, tree in zip(self._names, self._trees, strict=True)
            if float(tree.segment_distance_mm(start, end, 1.0)[0]) == 0.0
        )

    def nearness(
        self,
        back_mm: FloatArray,
        tip_mm: FloatArray,
        end_mm: FloatArray,
        radius_mm: float,
        displacement_mm: FloatArray | None,
        left_out: frozenset[str] = frozenset(),
    ) -> Nearness | None:
        """How near a needle comes to the structures that are not left out; None where there are none.

        Args:
            back_mm: (3,) far end of the shaft.
            tip_mm: (3,) tip.
            end_mm: (3,) tip at the end of the way ahead.
            radius_mm: of the shaft.
            displacement_mm: (3,) of the target from end-exhale; None where it is not known.
            left_out: structures that are not looked at.

        Raises:
            MotionError: the body cannot be deformed so far.
        """
        rest = np.stack([back_mm, tip_mm])
        way = np.stack([back_mm, end_mm])
        moved = self._moved(rest, displacement_mm)
        points = np.concatenate([rest, way, *([] if moved is None else moved)])
        reach = 0.0 if displacement_mm is None else float(np.linalg.norm(displacement_mm))
        # No structure is nearer than its box is to that of all that is measured.
        gap = np.maximum(self._low - points.max(axis=0) - reach, points.min(axis=0) - reach - self._high)
        least = np.linalg.norm(np.maximum(gap, 0.0), axis=1)

        def measure(index: int, cap_mm: float) -> tuple[float, float, float]:
            starts, ends = [rest[0], way[0]], [rest[1], way[1]]
            if moved is not None:
                shift = self._share[index] * displacement_mm if self._body is None else 0.0
                starts.extend(moved[0] - shift)
                ends.extend(moved[1] - shift)
            found = self._trees[index].segment_distance_mm(np.array(starts), np.array(ends), cap_mm + radius_mm)
            exhale, ahead = float(found[0]) - radius_mm, float(found[1]) - radius_mm
            now = exhale if moved is None else float(found[2:].min()) - radius_mm
            return now, exhale, min(ahead, exhale)

        return self._searched(measure, least - radius_mm, moved is not None, left_out)

    def _searched(
        self, measure: _Measure, least: FloatArray, with_now: bool, left_out: frozenset[str]
    ) -> Nearness | None:
        best, where = [REACH_MM] * 3, [-1] * 3
        for index in np.argsort(least, kind="stable").tolist():
            cap_mm = max(best)
            if self._names[index] in left_out:
                continue
            if where[0] < 0:
                where = [index] * 3
            elif least[index] >= cap_mm:
                break
            for k, value in enumerate(measure(index, cap_mm)):
                if value < best[k]:
                    best[k], where[k] = value, index
        if where[0] < 0:
            return None
        nearest = where[best.index(min(best))]
        now, exhale, ahead = measure(nearest, REACH_MM)
        found = [(self._names[index], value) for index, value in zip(where, best, strict=True)]
        return Nearness(
            StructureDistance(self._names[nearest], now if with_now else None, exhale, ahead),
            found[0] if with_now else None,
            found[1],
            found[2],
        )

    def _moved(self, rest: FloatArray, displacement_mm: FloatArray | None) -> tuple[FloatArray, FloatArray] | None:
        """Ends (n, 3) of the needle's pieces in the body at rest, or where they are before a structure's shift."""
        if displacement_mm is None:
            return None
        if self._body is None:
            return rest[:1], rest[1:]
        points, inside = self._body.state(displacement_mm).needle_at_rest(rest[0], rest[1], _STEP_MM)
        # Across the wall along which the tissue has slid there is no piece of needle, only its two ends.
        torn = inside[1:] != inside[:-1]
        return points[:-1], np.where(torn[:, None], points[:-1], points[1:])
