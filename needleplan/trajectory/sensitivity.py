"""How far the weights may change before another path comes first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.orders import DECIMALS, weighted_cost
from needleplan.trajectory.table import TrajectoryTable

#: Differences of cost below this are ties, as in the table's order.
_TIE = 0.5 * 10.0**-DECIMALS
#: Products of weights and rows held in memory at a time.
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True)
class WeightInterval:
    """The weights of one objective for which the first choice stays first while the other weights stay.

    Attributes:
        objective: name of the objective.
        weight: its weight in the order.
        least: lower end of the interval; 0 where nothing overtakes when the weight falls.
        most: upper end; infinite where nothing overtakes when the weight rises.
        overtaken_below: row of the table that comes first just below ``least``; None where no row does.
        overtaken_above: row that comes first just above ``most``; None where no row does.
    """

    objective: str
    weight: float
    least: float
    most: float
    overtaken_below: int | None
    overtaken_above: int | None


@dataclass(frozen=True, slots=True)
class WeightSensitivity:
    """How firmly the first choice stands.

    Attributes:
        first: row of the table that is first.
        intervals: one for each objective, in the table's order.
        share: share of all weight vectors for which the row stays first: of the vectors of weights from 0 that sum
            to 1, uniformly, over the objectives whose weight is above zero and that tell paths of the front apart.
        share_error: standard error of ``share``; 0 where it is exact (up to two objectives).
    """

    first: int
    intervals: tuple[WeightInterval, ...]
    share: float
    share_error: float


def weight_sensitivity(table: TrajectoryTable, rng: np.random.Generator, samples: int = 4000) -> WeightSensitivity:
    """Sensitivity of the first choice of a weighted order to the weights.

    The cost is linear in the weights, so the intervals are exact: their ends are where the cost of another row of
    the Pareto front equals that of the first one.

    Args:
        table: a table ranked by weights.
        rng: draws the weights for ``share`` where more than two objectives count.
        samples: number of weight vectors drawn.

    Raises:
        GeometryError: the table was not ranked or has no feasible row.
        OptionError: the table is in another order than the weighted one, or no sample is asked for.
    """
    if samples < 1:
        raise OptionError(f"the number of weight vectors must be 1 or more, not {samples}")
    order = table.order()
    if not len(order) or table.front is None or table.cost is None:
        raise GeometryError("no path is feasible, so there is no first choice whose weights could be varied")
    if not np.allclose(weighted_cost(table.objectives, order), table.cost[order], rtol=0, atol=_TIE):
        raise OptionError("the table is not ordered by the weighted sum of its objectives: rank it so first")
    first = int(order[0])
    rivals = np.flatnonzero(table.front)
    costs = np.stack([column.cost for column in table.objectives], axis=1)
    # Positive where the rival is worse than the first choice; what only rounding tells apart is equal.
    behind = costs[rivals] - costs[first]
    behind[np.abs(behind) < _TIE] = 0.0
    weights = np.array([column.weight for column in table.objectives])
    intervals = tuple(
        _interval(column.name, k, weights, behind, rivals) for k, column in enumerate(table.objectives)
    )
    counting = np.flatnonzero((weights > 0) & behind.any(axis=0))
    share, error = _share(behind[:, counting], rng, samples)
    return WeightSensitivity(first, intervals, share, error)


def _interval(
    name: str, k: int, weights: FloatArray, behind: FloatArray, rivals: NDArray[np.integer]
) -> WeightInterval:
    """Interval of weight ``k``: rivals (m,) are ``behind`` (m, objectives) the first choice."""
    weight = float(weights[k])
    slope = behind[:, k]
    rest = behind @ np.where(np.arange(len(weights)) == k, 0.0, weights)
    # A rival is level where rest + t slope = 0; the present weight is never outside, whatever rounding says.
    with np.errstate(divide="ignore", invalid="ignore"):
        level = -rest / slope
    above = np.where(slope < 0, np.maximum(level, weight), np.inf)
    below = np.where(slope > 0, np.minimum(level, weight), -np.inf)
    most, least = float(np.min(above, initial=np.inf)), float(np.max(below, initial=-np.inf))
    over = _steepest(rivals, above <= most + _TIE, slope) if np.isfinite(most) else None
    under = _steepest(rivals, below >= least - _TIE, -slope) if least > 0 else None
    return WeightInterval(name, weight, max(0.0, least), most, under, over)


def _steepest(rivals: NDArray[np.integer], level: NDArray[np.bool_], slope: FloatArray) -> int:
    """Of the rivals that are level, the one that falls fastest behind which the others stay."""
    chosen = np.flatnonzero(level)
    return int(rivals[chosen[np.argmin(slope[chosen])]])


def _share(behind: FloatArray, rng: np.random.Generator, samples: int) -> tuple[float, float]:
    """Share of the weight simplex in which no rival is ahead, and its standard error."""
    rivals, count = behind.shape
    if count <= 1:
        return 1.0, 0.0
    if count == 2:
        # Weights (s, 1 - s): a rival is ahead where s a + (1 - s) b < 0.
        a, b = behind[:, 0], behind[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            level = b / (b - a)
        least = float(np.max(np.where(a > b, level, -np.inf), initial=0.0))
        most = float(np.min(np.where(a < b, level, np.inf), initial=1.0))
        return max(0.0, most - least), 0.0
    drawn = rng.dirichlet(np.ones(count), samples)
    step = max(1, _CHUNK // rivals)
    kept = sum(
        int(np.count_nonzero((drawn[k : k + step] @ behind.T).min(axis=1) >= -_TIE))
        for k in range(0, samples, step)
    )
    share = kept / samples
    return share, float(np.sqrt(share * (1.0 - share) / samples))
