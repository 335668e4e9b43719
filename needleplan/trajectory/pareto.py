"""The Pareto front of a whole table of costs, exactly and fast enough to be made anew after every change."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.compiled import compiled
from needleplan.errors import OptionError
from needleplan.frames import FloatArray

#: Rows of the front looked at between two chances to stop.
_BLOCK = 64
#: Rows from which the marks between coarse levels are read; marks decide about speed alone.
_PROBED = 4096


def pareto_front(costs: FloatArray) -> NDArray[np.bool_]:
    """(n,) True for rows of ``costs`` (n, k) that no other row beats in one column and equals or beats in the rest.

    Rows that are equal in all columns are on the front together. Exact: every row is compared with every front
    row that could dominate it. Rows are taken by rising sum, so that a row can only be dominated by one before it
    (the order of Chomicki et al., "Skyline with presorting", ICDE 2003), and most pairs are settled by one
    operation on coarse levels packed into an integer (in the manner of Lee and Hwang, "Scalable skyline
    computation using a balanced pivot selection technique", Inf. Syst. 2014).

    Raises:
        OptionError: ``costs`` is not a table of at most 63 columns, or has a value that is not a number.
    """
    costs = np.asarray(costs, dtype=np.float64)
    if costs.ndim != 2 or not 1 <= costs.shape[1] <= 63:
        raise OptionError(f"a front is found in a table of 1 to 63 columns, not of shape {costs.shape}")
    if np.isnan(costs).any():
        raise OptionError("a cost that is not a number has no place on a front")
    result: NDArray[np.bool_] = np.zeros(len(costs), dtype=np.bool_)
    if len(costs):
        order = _rising(costs)
        ordered = np.ascontiguousarray(costs[order])
        result[order] = _front_of_rising(ordered, _levels(ordered))
    return result


def _rising(costs: FloatArray) -> NDArray[np.intp]:
    """Rows by rising sum, equal sums by their columns: whoever dominates comes first.

    Rounded sums keep that promise, because a rounded sum never falls when a term rises; they may become equal.
    """
    total = np.zeros(len(costs))
    for column in costs.T:
        total += column
    order = np.argsort(total, kind="stable")
    same = np.diff(total[order]) == 0
    if same.any():
        tied = np.zeros(len(order), dtype=np.bool_)
        tied[1:] = same
        tied[:-1] |= same
        rows = order[tied]
        order[tied] = rows[np.lexsort((*costs[rows].T[::-1], total[rows]))]
    return order


def _levels(costs: FloatArray) -> NDArray[np.uint64]:
    """(n,) coarse levels of all columns, packed in unary: a row can only dominate one that has all its bits."""
    n, k = costs.shape
    count = 63 // k
    packed = np.zeros(n, dtype=np.uint64)
    for column in costs.T:
        probe = np.sort(column[:: max(1, n // _PROBED)])
        marks = probe[(np.arange(1, count + 1) * len(probe)) // (count + 1)]
        level = np.searchsorted(marks, column, side="right").astype(np.uint64)
        packed = (packed << np.uint64(count)) | ((np.uint64(1) << level) - np.uint64(1))
    return packed


@compiled
def _front_of_rising(costs: Any, levels: Any) -> Any:
    """Front of rows of which each can only be dominated by one before it on the front."""
    n, k = costs.shape
    keep = np.zeros(n, np.bool_)
    front_levels = np.empty(n, np.uint64)
    front = np.empty((n, k))
    size = 0
    for i in range(n):
        above = ~levels[i]
        dominated = False
        first = 0
        while first < size and not dominated:
            last = min(first + _BLOCK, size)
            near = False
            for j in range(first, last):
                near |= (front_levels[j] & above) == 0
            if near:
                for j in range(first, last):
                    if (front_levels[j] & above) != 0:
                        continue
                    no_worse = True
                    better = False
                    for c in range(k):
                        if front[j, c] > costs[i, c]:
                            no_worse = False
                            break
                        if front[j, c] < costs[i, c]:
                            better = True
                    if no_worse and better:
                        dominated = True
                        break
            first = last
        if not dominated:
            keep[i] = True
            front_levels[size] = levels[i]
            front[size] = costs[i]
            size += 1
    return keep
