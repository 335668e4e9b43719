"""Rows and columns of a cover problem that decide nothing, left out with the reason for each.

A point is idle where another point is destroyed only by paths that destroy it as well: whoever covers the other
covers it. A path is idle where another one destroys all that it destroys, costs no more, counts no more and is in
the way of no other path that it is not in the way of itself: in every solution the other can stand in its place.
So the reduced problem has the same optimum, and ``CoverReduction`` names for each thing left out the one that
makes it idle, which anybody can check.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.compiled import compiled
from needleplan.frames import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class CoverReduction:
    """What is left of a cover problem.

    Attributes:
        rows: points that are left, ascending.
        columns: paths that are left, ascending.
        row_reason: (n,) the kept point that makes point n idle; itself where it is kept, -1 where no path destroys
            it.
        column_reason: (k,) the kept path that makes path k idle; itself where it is kept.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    row_reason: NDArray[np.int64]
    column_reason: NDArray[np.int64]


def reduce_cover(
    covers: NDArray[np.bool_],
    cost: FloatArray,
    count: FloatArray,
    conflicts: NDArray[np.bool_] | None = None,
) -> CoverReduction:
    """Leave out idle points and paths.

    Args:
        covers: (k, n) True where path k destroys point n.
        cost: (k,) cost of each path.
        count: (k,) insertions that each path adds.
        conflicts: (k, k) symmetric, True where two paths exclude each other; None where none do.
    """
    columns, column_reason = _idle_columns(covers, cost, count, conflicts)
    kept = covers[columns]
    rows, row_reason = idle_rows(kept)
    return CoverReduction(rows, columns, row_reason, column_reason)


def idle_rows(covers: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(points that are left, ascending; each point's reason as of ``CoverReduction``) with every path kept."""
    degree = covers.sum(axis=0)
    order = np.argsort(degree, kind="stable")
    order = order[degree[order] > 0]
    reason = np.full(covers.shape[1], -1, dtype=np.int64)
    reason[order] = order[_first_subset(_words(covers.T[order]))]
    return np.flatnonzero(reason == np.arange(len(reason))), reason


def _idle_columns(
    covers: NDArray[np.bool_], cost: FloatArray, count: FloatArray, conflicts: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.lexsort((np.arange(len(covers)), cost, count, -covers.sum(axis=1)))
    excluded = _words(conflicts[order]) if conflicts is not None else np.zeros((len(covers), 0), dtype=np.uint64)
    found = _first_superset(
        _words(covers[order]),
        np.ascontiguousarray(cost[order], dtype=np.float64),
        np.ascontiguousarray(count[order], dtype=np.float64),
        excluded,
    )
    reason = np.empty(len(covers), dtype=np.int64)
    reason[order] = order[found]
    return np.flatnonzero(reason == np.arange(len(reason))), reason


def _words(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Rows of flags as rows of 64-bit words."""
    packed = np.packbits(flags, axis=1)
    padding = -packed.shape[1] % 8
    packed = np.pad(packed, ((0, 0), (0, padding)))
    return np.ascontiguousarray(packed).view(np.uint64)


@compiled
def _first_subset(bits: Any) -> Any:
    """For each row, in ascending size, the first kept row that is a subset of it; itself where there is none."""
    size, width = bits.shape
    found = np.empty(size, dtype=np.int64)
    kept = np.empty(size, dtype=np.int64)
    number = 0
    for i in range(size):
        found[i] = i
        for k in range(number):
            j = kept[k]
            inside = True
            for word in range(width):
                if bits[j, word] & ~bits[i, word]:
                    inside = False
                    break
            if inside:
                found[i] = j
                break
        if found[i] == i:
            kept[number] = i
            number += 1
    return found


@compiled
def _first_superset(bits: Any, cost: Any, count: Any, excluded: Any) -> Any:
    """For each row, in descending size, the first kept row that can stand in its place; itself where none can."""
    size, width = bits.shape
    found = np.empty(size, dtype=np.int64)
    kept = np.empty(size, dtype=np.int64)
    number = 0
    for i in range(size):
        found[i] = i
        for k in range(number):
            j = kept[k]
            if cost[j] > cost[i] or count[j] > count[i]:
                continue
            better = True
            for word in range(width):
                if bits[i, word] & ~bits[j, word]:
                    better = False
                    break
            if better:
                for word in range(excluded.shape[1]):
                    if excluded[j, word] & ~excluded[i, word]:
                        better = False
                        break
            if better:
                found[i] = j
                break
        if found[i] == i:
            kept[number] = i
            number += 1
    return found
