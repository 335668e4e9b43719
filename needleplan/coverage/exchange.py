"""A choice that leaves points uncovered, mended by exchanging columns: weighting local search.

In each step the column that least is lost with goes out and the ones that gain most come in; points that stay
uncovered for long weigh more and more (Gao, Weise, Li, "An Efficient Local Search Heuristic with Row Weighting for
the Unicost Set Covering Problem", European Journal of Operational Research 2015). A column that went out stays out
for a few steps.
"""

import time

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.time_limits import over_time
from needleplan.frames import FloatArray

#: Steps for which a column that was taken out stays out.
_REST = 3


def exchanged(
    covers: NDArray[np.bool_],
    price: FloatArray,
    conflicts: NDArray[np.bool_] | None,
    start: list[int],
    allowed: float,
    steps: int,
    end: float,
) -> list[int] | None:
    """Columns that cover every point within a price; None where the search found none.

    Args:
        covers: (k, n) True where column k covers point n; every point is covered by some column.
        price: (k,) of each column; those of price 0 are never taken out.
        conflicts: (k, k) symmetric, True where two columns exclude each other; None where none do.
        start: columns to begin with.
        allowed: no more may be paid.
        steps: exchanges at most.
        end: moment of ``time.monotonic`` after which no exchange is begun.
    """
    table = covers.astype(np.float32)
    weight = np.ones(covers.shape[1], dtype=np.float32)
    current = list(start)
    while price[current].sum() > allowed + 1e-9:
        current.remove(_least_missed(covers, current, price, weight))
    rests_until = np.zeros(len(covers), dtype=np.int64)
    for step in range(1, steps + 1):
        lacking = ~covers[current].any(axis=0)
        if not lacking.any():
            return current
        if over_time(time.monotonic() > end, "exchange") or not any(price[column] > 0 for column in current):
            return None
        out = _least_missed(covers, current, price, weight)
        current.remove(out)
        rests_until[out] = step + _REST
        _let_in(table, covers, price, conflicts, current, rests_until < step, weight, allowed)
        weight[~covers[current].any(axis=0)] += 1.0
    return None


def _least_missed(
    covers: NDArray[np.bool_], current: list[int], price: FloatArray, weight: NDArray[np.float32]
) -> int:
    """The column of a choice whose loss weighs least, of those that have a price."""
    alone = covers[current].sum(axis=0) == 1
    loss = {column: float(weight[alone & covers[column]].sum()) for column in current if price[column] > 0}
    return min(loss, key=lambda column: (loss[column], column))


def _let_in(
    table: NDArray[np.float32],
    covers: NDArray[np.bool_],
    price: FloatArray,
    conflicts: NDArray[np.bool_] | None,
    current: list[int],
    awake: NDArray[np.bool_],
    weight: NDArray[np.float32],
    allowed: float,
) -> None:
    """Add the columns that gain most, one after the other, as many as fit."""
    while True:
        lacking = ~covers[current].any(axis=0)
        open_ = awake & (price + price[current].sum() <= allowed + 1e-9)
        if conflicts is not None and current:
            open_ &= ~conflicts[current].any(axis=0)
        gain = np.where(open_, table @ np.where(lacking, weight, np.float32(0.0)), 0.0)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            return
        current.append(best)
