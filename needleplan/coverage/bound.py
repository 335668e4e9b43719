"""A proof that fewer insertions cannot do, over every feasible path and every ablation along it.

Each point of some points of the solid must be destroyed. Along one path the zone's middle may lie anywhere between
the deepest place offered and where the path enters the target, so what the path can destroy at all is its largest
zone swept along that stretch. Weights on the points of which no path can destroy more than a sum of 1 prove that
at least as many paths are needed as the weights sum up to: the dual of the cover's linear program. Anybody can
check the weights against the paths, in whole numbers. Where the bound of the linear program does not reach the
number found, the integer program over the same points goes on.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.compiled import compiled_parallel, prange
from needleplan.coverage.reduction import reduce_cover
from needleplan.coverage.set_cover import cheapest_cover
from needleplan.coverage.time_limits import over_time
from needleplan.frames import FloatArray

#: Points that the first program asks for, and those added in each further round.
_FIRST_POINTS, _MORE_POINTS = 150, 60
_ROUNDS = 8
#: Points of the solid that may decide, and those among which they are sought.
_POINTS, _EXAMINED = 800, 10_000
#: Paths in the linear program at first, and those added in each round of pricing.
_FIRST_PATHS, _MORE_PATHS = 300, 200
#: Weights are whole multiples of this.
_UNIT = 1e-7
#: The integer program is asked with no more paths than this: beyond, it would not come to an end.
_MOST_PATHS = 6000


@dataclass(frozen=True, slots=True, eq=False)
class SweptZones:
    """What each path can destroy with its largest zone anywhere along a stretch of it.

    Attributes:
        deepest_mm: (k, 3) middle of the zone at the deepest place.
        direction: (k, 3) unit vectors along the needles.
        length_mm: (k,) how far the zone may be drawn back.
        axial_mm: semi-axis of the zone along the needle.
        radial_mm: semi-axis across it.
    """

    deepest_mm: FloatArray
    direction: FloatArray
    length_mm: FloatArray
    axial_mm: float
    radial_mm: float

    def __len__(self) -> int:
        return len(self.deepest_mm)

    def reaching(self, points_mm: FloatArray) -> NDArray[np.bool_]:
        """(k, n) True where path k can destroy point n (n, 3)."""
        result = np.zeros((len(self), len(points_mm)), dtype=np.bool_)
        _swept(
            np.ascontiguousarray(points_mm),
            np.ascontiguousarray(self.deepest_mm),
            np.ascontiguousarray(self.direction),
            np.ascontiguousarray(self.length_mm),
            self.axial_mm,
            self.radial_mm,
            result,
        )
        return result


@dataclass(frozen=True, slots=True, eq=False)
class InsertionBound:
    """The fewest insertions that any choice of the paths needs.

    Attributes:
        value: no choice of fewer paths destroys all points.
        paths: paths that it speaks of.
        points_mm: (n, 3) points of the solid that decide.
        weights: (n,) weights that prove ``linear_value``: no path can destroy points of more than 1 in sum.
        linear_value: sum of the weights.
        method: ``weights`` where they prove ``value``, ``integer program`` where that was needed.
    """

    value: int
    paths: int
    points_mm: FloatArray
    weights: FloatArray
    linear_value: float
    method: str


def bound_insertions(
    swept: SweptZones,
    points_mm: FloatArray,
    found: int,
    time_limit_s: float,
    count: FloatArray | None = None,
    most_nodes: int | None = None,
) -> InsertionBound:
    """The best proof of a least number of insertions within a time.

    Args:
        swept: every path that could be taken.
        points_mm: (n, 3) points of the solid; those that no path can destroy are left out.
        found: insertions of a plan that is known: no more need be proven.
        time_limit_s: wall time.
        count: (k,) insertions that each path adds; 1 each where None.
        most_nodes: nodes of the integer program's search tree; None sets no limit.
    """
    end = time.monotonic() + time_limit_s
    count = np.ones(len(swept)) if count is None else np.asarray(count, dtype=np.float64)
    points_mm = points_mm[:: max(1, len(points_mm) // _EXAMINED)]
    points_mm = points_mm[_spread(points_mm, _POINTS)]
    covers = swept.reaching(points_mm)
    coverable = covers.any(axis=0)
    # Paths that add nothing cover for nothing, so what they reach decides nothing.
    coverable &= ~covers[count <= 0].any(axis=0)
    covers, points_mm = covers[:, coverable], points_mm[coverable]
    best = InsertionBound(0, len(swept), np.empty((0, 3)), np.empty(0), 0.0, "weights")
    if not len(points_mm):
        return best
    chosen = np.arange(min(_FIRST_POINTS, len(points_mm)))
    for _ in range(_ROUNDS):
        weights, taken = _weights(covers[:, chosen], count, end)
        value = float(weights.sum())
        if value > best.linear_value:
            whole = int(np.ceil(value - 1e-6))
            best = InsertionBound(whole, len(swept), points_mm[chosen], weights, value, "weights")
        if best.value >= found or over_time(time.monotonic() > end, "bound"):
            return best
        share = taken @ covers
        lacking = np.flatnonzero(share < 1.0 - 1e-6)
        lacking = lacking[np.argsort(share[lacking], kind="stable")][: 4 * _MORE_POINTS]
        lacking = np.setdiff1d(lacking[_spread(points_mm[lacking], _MORE_POINTS)], chosen)
        if not len(lacking):
            break
        chosen = np.concatenate([chosen, lacking])
    return _by_integers(best, covers, count, found, end, most_nodes)


def _weights(covers: NDArray[np.bool_], count: FloatArray, end: float) -> tuple[FloatArray, FloatArray]:
    """(weights of the points, share of each path taken) of the linear program, paths priced in as needed."""
    from scipy.optimize import linprog

    rows = covers.astype(np.float64)
    order = np.argsort(-rows.sum(axis=1) / np.maximum(count, 1e-9), kind="stable")
    paths = order[:_FIRST_PATHS]
    # Every point needs one path at least in the first program.
    paths = np.union1d(paths, order[covers[order].argmax(axis=0)])
    while True:
        part = rows[paths]
        answer = linprog(-np.ones(rows.shape[1]), A_ub=part, b_ub=count[paths], bounds=(0, None), method="highs")
        weights = np.maximum(answer.x, 0.0)
        excess = rows @ weights - count
        broken = np.flatnonzero(excess > 1e-7)
        if not len(broken) or over_time(time.monotonic() > end, "bound"):
            break
        worst = broken[np.argsort(-excess[broken], kind="stable")][:_MORE_PATHS]
        paths = np.union1d(paths, worst)
    taken = np.zeros(len(rows))
    taken[paths] = np.maximum(-answer.ineqlin.marginals, 0.0)
    # Down to whole multiples, and divided by the most that any path still destroys of them: sound without
    # tolerance.
    weights = np.floor(weights / _UNIT) * _UNIT
    most = float(np.max(rows @ weights / np.maximum(count, 1e-12), initial=1.0, where=count > 0))
    return weights / most, taken


def _by_integers(
    best: InsertionBound,
    covers: NDArray[np.bool_],
    count: FloatArray,
    found: int,
    end: float,
    most_nodes: int | None,
) -> InsertionBound:
    left = end - time.monotonic()
    if best.value >= found or over_time(left <= 0.1, "bound"):
        return best
    unique, first = np.unique(covers, axis=0, return_index=True)
    counts = count[first]
    if len(unique) > _MOST_PATHS:
        return best
    kept = reduce_cover(unique, np.zeros(len(unique)), counts)
    left = end - time.monotonic()
    answer = cheapest_cover(
        unique[kept.columns], kept.rows, counts[kept.columns], max(left, 0.1), most_nodes=most_nodes
    )
    whole = int(np.ceil(answer.bound - 1e-6)) if np.isfinite(answer.bound) else best.value
    if whole <= best.value:
        return best
    return InsertionBound(whole, best.paths, best.points_mm, best.weights, best.linear_value, "integer program")


def _spread(points_mm: FloatArray, count: int) -> NDArray[np.int64]:
    """Up to ``count`` of the points, each as far as can be from those before it."""
    if len(points_mm) <= count:
        return np.arange(len(points_mm))
    gap = np.linalg.norm(points_mm - points_mm.mean(axis=0), axis=1)
    picked = np.empty(count, dtype=np.int64)
    least = np.full(len(points_mm), np.inf)
    for place in range(count):
        best = int((gap if place == 0 else least).argmax())
        picked[place] = best
        least = np.minimum(least, ((points_mm - points_mm[best]) ** 2).sum(axis=1))
    return picked


@compiled_parallel
def _swept(
    points: Any, deepest: Any, direction: Any, length: Any, axial: float, radial: float, result: Any
) -> None:
    for k in prange(deepest.shape[0]):
        for i in range(points.shape[0]):
            dx = points[i, 0] - deepest[k, 0]
            dy = points[i, 1] - deepest[k, 1]
            dz = points[i, 2] - deepest[k, 2]
            z = dx * direction[k, 0] + dy * direction[k, 1] + dz * direction[k, 2]
            share = (dx * dx + dy * dy + dz * dz - z * z) / (radial * radial)
            if share > 1.0:
                continue
            half = axial * np.sqrt(1.0 - share)
            # A hair more than the zone: rounding must not make a path seem unable.
            if -length[k] - half - 1e-6 <= z <= half + 1e-6:
                result[k, i] = True
