"""From where a path can start: for each entry its best path, or what blocks it and what would open it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.shortfall import Shortfalls, in_unit, measure_shortfalls
from needleplan.trajectory.table import TrajectoryTable

#: Entries with fewer paths than this share of those that leave the median path's entry do not stand for a patch of
#: skin: refinement adds paths where others failed, whose failure says nothing about the rest from there.
_WHOLE_SHARE = 0.9

#: Least and greatest value in each array of a map, far from what any search gives; beyond it, sums and squares of
#: what a picture is drawn from need not be finite.
_RANGES: dict[str, tuple[float, float]] = {
    "entry_mm": (-1e5, 1e5),
    "candidates": (1, 1e9),
    "feasible": (0, 1e9),
    "best_cost": (-1e9, 1e9),
    "best_row": (-1, 1e9),
    "blocked_by": (-1, 1e6),
    "opening": (0, 1e6),
}


@dataclass(frozen=True, slots=True, eq=False)
class SkinMap:
    """Every entry with its best path, or with what blocks it. All values are finite, so that it can be written.

    The constraint that blocks an entry is one that every path from there fails, where there is such a one: of
    several the one whose smallest share (see ``share_of_limit``) is the largest, and before them one that no limit
    gets past. Where no single constraint fails all paths, it is the gravest failure of the path there that the
    smallest change of limits would open. Ties go by the names of the constraints.

    Entries that a refining search looked at with few paths each are counted with the nearest one that was examined
    as a whole.

    Attributes:
        constraints: (k) names of the hard constraints.
        units: (k) their units.
        entry_mm: (m, 3) the entries that were examined as a whole, each for its patch of skin, patient LPS.
        candidates: (m,) number of paths from each.
        feasible: (m,) number of those that are feasible.
        best_cost: (m,) least weighted cost of the feasible ones; 0 where there is none.
        best_row: (m,) their row in the table; -1 where there is none.
        blocked_by: (m,) index of the constraint that blocks the entry; -1 where there is a feasible path.
        opening: (m, k) by how much the limits would have to give way to open a path there, in their units; all 0
            where there is a feasible path, and where no change of limits opens one.

    Raises:
        GeometryError: the arrays are not of these shapes, a value is not a possible one, or an entry has both a
            feasible path and what blocks it, or neither.
    """

    constraints: tuple[str, ...]
    units: tuple[str, ...]
    entry_mm: FloatArray
    candidates: NDArray[np.int64]
    feasible: NDArray[np.int64]
    best_cost: FloatArray
    best_row: NDArray[np.int64]
    blocked_by: NDArray[np.int64]
    opening: FloatArray

    def __post_init__(self) -> None:
        count = len(self.entry_mm)
        shapes = {
            "entry_mm": (count, 3), "candidates": (count,), "feasible": (count,), "best_cost": (count,),
            "best_row": (count,), "blocked_by": (count,), "opening": (count, len(self.constraints)),
        }  # fmt: skip
        for name, shape in shapes.items():
            array, (least, most) = np.asarray(getattr(self, name)), _RANGES[name]
            # Where there is no row, a file cannot tell how wide it would be.
            if array.shape != shape and (count or array.size):
                raise GeometryError(f"{name} of a skin map must have the shape {shape}, not {array.shape}")
            whole = name in ("candidates", "feasible", "best_row", "blocked_by")
            possible = (array >= least) & (array <= most) & ((array == np.rint(array)) | (not whole))
            if not possible.all():
                raise GeometryError(
                    f"{name} of a skin map must be {'whole ' if whole else ''}numbers from {least:g} to {most:g}, "
                    f"not {array[~possible].flat[0]:g}"
                )
            object.__setattr__(self, name, read_only(array.reshape(shape), np.int64 if whole else np.float64))
        if len(self.units) != len(self.constraints):
            raise GeometryError("a skin map must name a unit for each of its constraints")
        if (self.feasible > self.candidates).any():
            raise GeometryError("an entry of a skin map has more feasible paths than candidates")
        blocked = self.blocked_by >= 0
        if count and (self.blocked_by.max() >= len(self.constraints) or (blocked == (self.feasible > 0)).any()):
            raise GeometryError(
                "each entry of a skin map has either a feasible path or a constraint that blocks it"
            )

    def __len__(self) -> int:
        return len(self.entry_mm)

    @property
    def open(self) -> NDArray[np.bool_]:
        """(m,) True where a feasible path starts."""
        return self.feasible > 0

    @property
    def openable(self) -> NDArray[np.bool_]:
        """(m,) True where a change of limits would open a path."""
        return np.asarray((self.opening > 0).any(axis=1))

    def blocked_counts(self) -> dict[str, int]:
        """For each constraint that blocks some entry the number of entries, the greatest first."""
        counts = np.bincount(self.blocked_by[self.blocked_by >= 0], minlength=len(self.constraints))
        order = sorted(np.flatnonzero(counts), key=lambda k: (-counts[k], self.constraints[k]))
        return {self.constraints[k]: int(counts[k]) for k in order}

    def sentence(self, entry: int) -> str:
        """One entry in words."""
        paths = f"{self.candidates[entry]} candidate path{'' if self.candidates[entry] == 1 else 's'}"
        if self.open[entry]:
            return f"{self.feasible[entry]} of {paths} feasible, the best costs {self.best_cost[entry]:.3f}."
        start = f"Blocked by {self.constraints[self.blocked_by[entry]]} ({paths})"
        if not self.openable[entry]:
            return f"{start}; no change of limits opens a path from here."
        changes = [
            f"{self.constraints[k]} by {in_unit(self.opening[entry, k], self.units[k])}"
            for k in sorted(np.flatnonzero(self.opening[entry]), key=self.constraints.__getitem__)
        ]
        return f"{start}; relaxing {' and '.join(changes)} would open a path."


def map_skin(table: TrajectoryTable, constraints: Sequence[TrajectoryConstraint]) -> SkinMap:
    """The skin map of a ranked table.

    Args:
        table: screened and ranked candidates.
        constraints: the constraints that it was screened by.

    Raises:
        GeometryError: the table was not ranked.
        OptionError: the table was screened by other constraints.
    """
    if table.cost is None:
        raise GeometryError("a skin map needs the costs of the candidates: rank the table first")
    lacking = measure_shortfalls(table, constraints)
    entries, group = _patches(*_distinct_entries(table.entry_mm))
    m, k = len(entries), len(lacking.columns)
    candidates = np.bincount(group, minlength=m)
    is_open = table.feasible
    feasible = np.bincount(group[is_open], minlength=m)
    cost = np.round(table.cost, 9)
    best = _first_of_each(group, (cost,), m)
    best_row = np.where(feasible > 0, best, -1)
    blocked_by = np.full(m, -1, dtype=np.int64)
    opening = np.zeros((m, k))
    shut = np.flatnonzero(feasible == 0)
    if shut.size:
        barred = (~lacking.mendable).sum(axis=0)
        mended = np.where(np.isfinite(lacking.shares), lacking.shares, 0.0).sum(axis=0)
        # Rounded, so that which path is nearest does not depend on the order of the sum.
        nearest = _first_of_each(group, (barred, np.round(mended, 9)), m)[shut]
        blocked_by[shut] = _blocking(lacking, group, candidates, nearest, shut)
        can = barred[nearest] == 0
        opening[shut[can]] = lacking.amounts[:, nearest[can]].T
    return SkinMap(
        tuple(column.name for column in lacking.columns),
        tuple(column.unit for column in lacking.columns),
        entries,
        candidates,
        feasible,
        np.where(feasible > 0, table.cost[best], 0.0) if m else np.zeros(0),
        best_row,
        blocked_by,
        opening,
    )


def _distinct_entries(entry_mm: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Distinct entries (m, 3) in the order of their first rows, and the entry of each row (n,)."""
    entries, first, group = np.unique(entry_mm, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return entries[order], place[group.ravel()]


def _patches(entries: FloatArray, group: NDArray[np.int64]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Entries that stand for a patch of skin, and the patch of each row; thinly examined ones join the nearest."""
    from scipy.spatial import cKDTree

    count = np.bincount(group, minlength=len(entries))
    if not len(count) or count.min() == count.max():
        return entries, group
    whole = count >= _WHOLE_SHARE * np.median(count[group])
    nearest = cKDTree(entries[whole]).query(entries)[1]
    return entries[whole], np.asarray(nearest[group], dtype=np.int64)


def _first_of_each(group: NDArray[np.int64], keys: tuple[NDArray[np.generic], ...], m: int) -> NDArray[np.int64]:
    """(m,) for each group the row that comes first by the keys, the most important key first."""
    order = np.lexsort((*keys[::-1], group))
    return np.asarray(order[np.searchsorted(group[order], np.arange(m))], dtype=np.int64)


def _blocking(
    lacking: Shortfalls,
    group: NDArray[np.int64],
    candidates: NDArray[np.int64],
    nearest: NDArray[np.int64],
    shut: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Index of the constraint that blocks each of the entries ``shut``, whose nearest rows are ``nearest``."""
    m, k = len(candidates), len(lacking.columns)
    stubborn = np.full((k, len(shut)), -1.0)
    for index in range(k):
        least = np.full(m, np.inf)
        np.minimum.at(least, group, lacking.shares[index])
        failing = np.bincount(group[lacking.fails[index]], minlength=m)
        all_fail = (failing == candidates)[shut]
        stubborn[index, all_fail] = least[shut][all_fail]
    none = (stubborn < 0).all(axis=0)
    # Of the nearest path, its gravest failure.
    shares = np.where(lacking.fails[:, nearest], lacking.shares[:, nearest], -1.0)
    gravest = np.round(np.where(none, shares, stubborn), 9)
    by_name = np.array(sorted(range(k), key=lambda index: lacking.columns[index].name), dtype=np.int64)
    return np.asarray(by_name[gravest[by_name].argmax(axis=0)], dtype=np.int64)
