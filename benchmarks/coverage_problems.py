"""Cover problems for solvers: a ball by balls on lattices, and random small ones whose optimum is enumerated."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.cover_problem import CoverProblem
from needleplan.coverage.region import TargetRegion
from needleplan.frames import FloatArray

#: Lattice steps from the middle of the ball to its surface: 257 candidates and 4169 points lie in it.
_CANDIDATE_STEPS, _POINT_STEPS = 4, 10


@dataclass(frozen=True, slots=True, eq=False)
class GivenCover(CoverProblem):
    """A cover problem of given numbers.

    Attributes:
        region: the points.
        path_covers: (k, n) True where candidate k destroys point n.
        path_cost: (k,) its cost.
        added_insertions: (k,) insertions that it adds.
        conflicts: (k, k) symmetric, True where two exclude each other; None where none do.
    """

    region: TargetRegion = field()
    path_covers: NDArray[np.bool_] = field()
    path_cost: FloatArray = field()
    added_insertions: FloatArray = field()
    conflicts: NDArray[np.bool_] | None = field()


def ball_by_balls(share: float) -> GivenCover:
    """Points of a ball that balls of a share of its radius cover, middles and points on lattices.

    Every point must lie in a ball of radius ``share`` about one of the 257 candidates; what lies between the 4169
    points is not asked.
    """
    candidates, points = _lattice(_CANDIDATE_STEPS), _lattice(_POINT_STEPS)
    gap = np.linalg.norm(candidates[:, None] - points[None], axis=2)
    count = len(points)
    region = TargetRegion(points, np.zeros(count), np.full(count, 1.0 / count), 0.0)
    ones = np.ones(len(candidates))
    return GivenCover(region, gap <= share + 1e-9, ones, ones, None)


def random_cover(seed: int) -> GivenCover:
    """A random problem of 8 to 13 candidates with costs, exclusions and points of different worth.

    Every third one has a candidate that is in the patient already and adds no insertion.
    """
    rng = np.random.default_rng([seed, 20_13])
    candidates, points = int(rng.integers(8, 14)), int(rng.integers(12, 60))
    covers = rng.uniform(size=(candidates, points)) < rng.uniform(0.15, 0.5)
    cost = np.sort(rng.uniform(0.1, 2.0, candidates))
    added = np.ones(candidates)
    if seed % 3 == 0:
        added[0] = 0.0
    conflicts = np.triu(rng.uniform(size=(candidates, candidates)) < rng.choice([0.0, 0.1, 0.3]), 1)
    conflicts |= conflicts.T
    # Candidates in the patient stand as they are.
    conflicts[added == 0] = conflicts[:, added == 0] = False
    region = TargetRegion(
        rng.normal(size=(points, 3)),
        np.ones(points),
        rng.uniform(0.5, 1.5, points) / points,
        0.0,
        rng.uniform(size=points) < 0.6,
    )
    return GivenCover(region, covers, cost, added, conflicts if conflicts.any() else None)


@dataclass(frozen=True, slots=True)
class TrueOptimum:
    """The optimum of a small problem, by looking at every choice.

    Attributes:
        insertions: fewest insertions that cover all that can be covered; infinite where exclusions forbid it.
        cost: least cost of those; infinite likewise.
        worth: greatest worth of what at most ``allowed`` insertions cover.
        allowed: insertions that ``worth`` speaks of.
    """

    insertions: float
    cost: float
    worth: float
    allowed: int


def enumerated(problem: CoverProblem, allowed: int) -> TrueOptimum:
    """The optimum by looking at all 2^k choices."""
    covers, count = problem.path_covers, len(problem.path_covers)
    size = 1 << count
    covered = np.zeros((size, covers.shape[1]), dtype=bool)
    insertions, cost = np.zeros(size), np.zeros(size)
    keeps = np.ones(size, dtype=bool)
    numbers = np.arange(size)
    for k in range(count):
        low, high = slice(0, 1 << k), slice(1 << k, 2 << k)
        covered[high] = covered[low] | covers[k]
        insertions[high] = insertions[low] + problem.added_insertions[k]
        cost[high] = cost[low] + problem.path_cost[k]
        keeps[high] = keeps[low]
        if problem.conflicts is not None:
            others = int((1 << np.flatnonzero(problem.conflicts[k][:k])).sum())
            keeps[high] &= (numbers[low] & others) == 0
    whole = keeps & covered[:, problem.coverable].all(axis=1)
    fewest = float(insertions[whole].min()) if whole.any() else np.inf
    cheapest = float(cost[whole & (insertions == fewest)].min()) if whole.any() else np.inf
    worth = covered[keeps & (insertions <= allowed)] @ problem.point_value
    return TrueOptimum(fewest, cheapest, float(worth.max()), allowed)


def _lattice(steps: int) -> FloatArray:
    """(n, 3) points of a cubic lattice of spacing 1/steps in the unit ball."""
    axis = np.arange(-steps, steps + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[(points**2).sum(axis=1) <= steps**2] / steps
