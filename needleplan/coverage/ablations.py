"""From chosen paths to the ablations along them: the goals after the number of insertions, one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.coverage.contract import PathSelection
from needleplan.coverage.matrix import CoverageMatrix
from needleplan.coverage.options import CoverageOptions, Level
from needleplan.coverage.reduction import idle_rows
from needleplan.coverage.set_cover import Budget, CoverAnswer, CoverDemands, cheapest_cover
from needleplan.frames import FloatArray
from needleplan.plan import Ablation, Insertion, LevelOutcome, vector3

#: A minute of treatment weighs as much as this volume of healthy tissue in choosing ablations.
_ML_PER_MINUTE = 0.5
#: Each further ablation weighs as much as this volume: the applicator is moved and checked again.
_ML_PER_ABLATION = 10.0
#: Ablations up to which a goal is pursued over all offered paths; beyond, over the chosen ones alone.
_MOST_COLUMNS = 2500
#: Steps in which the margin is raised.
_MARGIN_STEP_MM = 0.25
#: Paths' costs decide among choices that are equal otherwise: all together weigh less than one ablation.
_PATH_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class AblationChoice:
    """Insertions with their ablations.

    Attributes:
        insertions: one for each chosen path, not yet in puncture order.
        levels: each goal after the number of insertions, with its bound.
        healthy_limit_kept: False where no choice was found that leaves as much of the organ as asked.
    """

    insertions: tuple[Insertion, ...]
    levels: tuple[LevelOutcome, ...]
    healthy_limit_kept: bool = True

    @property
    def proven(self) -> bool:
        """True where every goal is proven."""
        return all(level.proven for level in self.levels)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Ablations among which is chosen.

    Attributes:
        path: (c,) path of each.
        tip: (c,) number of its tip along that path.
        size: (c,) number of its size.
        middles_mm: (c, 3) middles of their zones.
        axes: (c, 3) their axes.
    """

    path: NDArray[np.int64]
    tip: NDArray[np.int64]
    size: NDArray[np.int64]
    middles_mm: FloatArray
    axes: FloatArray

    def __len__(self) -> int:
        return len(self.path)

    def part(self, kept: Sequence[int] | NDArray[np.int64]) -> "_Columns":
        which = np.asarray(kept, dtype=np.int64)
        return _Columns(
            self.path[which], self.tip[which], self.size[which], self.middles_mm[which], self.axes[which]
        )


def choose_ablations(
    matrix: CoverageMatrix,
    selection: PathSelection,
    options: CoverageOptions,
    healthy_limit_ml: float | None = None,
) -> AblationChoice:
    """Ablations that destroy all that the chosen paths can, by the goals after the number of insertions.

    Fewest ablations, least time and largest margin are sought over all offered paths, as long as those are few
    enough, with no more insertions than were chosen: they may exchange the paths. What healthy tissue is spared is
    decided last, with every size along the paths then chosen. Each goal is an exact set cover within its time.

    Args:
        matrix: the offers.
        selection: the chosen paths.
        options: goals, margins and times.
        healthy_limit_ml: no more of the organ outside the target may be destroyed, the zones added up; None for
            any.
    """
    columns = _columns(matrix, selection.paths, largest_only=True)
    wanted = np.asarray(_covered(matrix, columns, 0.0).any(axis=0))
    if not wanted.any():
        return AblationChoice((), ())
    state = _State(matrix, options, wanted, selection, columns)
    levels = []
    order = list(options.order[1:])
    if healthy_limit_ml is not None and Level.SPARED not in order:
        order.append(Level.SPARED)
    for level in order:
        if level is Level.ABLATIONS:
            levels.append(state.fewest())
        elif level is Level.TIME:
            levels.append(state.quickest())
        elif level is Level.MARGIN and options.wanted_mm > options.margin_mm and wanted.all():
            levels.append(state.widest())
        elif level is Level.SPARED:
            levels.append(state.sparing(healthy_limit_ml))
    return AblationChoice(_insertions(matrix, state.chosen), tuple(levels), state.healthy_limit_kept)


class _State:
    """What the goals so far have settled."""

    def __init__(
        self,
        matrix: CoverageMatrix,
        options: CoverageOptions,
        wanted: NDArray[np.bool_],
        selection: PathSelection,
        start: _Columns,
    ) -> None:
        self.matrix = matrix
        self.options = options
        self.wanted = wanted
        self.insertions = matrix.insertions_of(selection.paths)
        # Each insertion that cannot be spared carries one ablation at least.
        self.least_ablations = 1.0
        if np.isfinite(selection.lower_bound) and not len(selection.uncovered):
            self.least_ablations = max(1.0, selection.lower_bound)
        self.paths = tuple(np.unique(start.path).tolist())
        cover = _covered(matrix, start, 0.0)
        self.chosen = start.part(_greedy_cover(cover[:, wanted], np.ones(len(start))))
        self.extra_mm = 0.0
        self.most_ablations: int | None = None
        self.most_minutes: float | None = None
        self.healthy_limit_kept = True

    def fewest(self) -> LevelOutcome:
        """Fewest ablations: on the chosen paths at first, on all of them where that may be fewer."""
        least = float(self.least_ablations)
        bound, problem = least, "no fewer than insertions are needed"
        for columns, words in self._chosen_then_all():
            answer, cost = self._solve(columns, np.ones(len(columns)), self.extra_mm, by_path_cost=True)
            if answer is not None and len(answer) <= len(self.chosen):
                self._take(columns.part(answer))
            bound = max(least, float(np.ceil(cost - _PATH_SHARE - 1e-6)) if np.isfinite(cost) else least)
            problem = f"{words}, largest sizes"
            if len(self.chosen) <= least:
                bound, problem = least, f"{problem}; no fewer than insertions are needed"
                break
        self.most_ablations = len(self.chosen)
        return LevelOutcome("ablations", len(self.chosen), bound, "", len(self.chosen) <= bound, problem)

    def quickest(self) -> LevelOutcome:
        """Least time of energy, one delivery after the other."""
        columns, _, problem = self._offers(largest_only=False)
        answer, bound = self._solve(columns, self._minutes(columns), self.extra_mm)
        before = float(self._minutes(self.chosen).sum())
        if answer is not None and float(self._minutes(columns.part(answer)).sum()) <= before + 1e-9:
            self._take(columns.part(answer))
        self.most_minutes = float(self._minutes(self.chosen).sum())
        return LevelOutcome(
            "time", self.most_minutes, bound, "min", self.most_minutes <= bound + 1e-6, f"{problem}, offered sizes"
        )

    def widest(self) -> LevelOutcome:
        """Largest depth by which zones hold target and margin, up to the wanted margin."""
        most = self.options.wanted_mm - self.options.margin_mm
        # Where the time is settled smaller sizes may leave more of it for others.
        columns, _, problem = self._offers(largest_only=self.most_minutes is None)
        low, high = 0, max(1, int(np.ceil(most / _MARGIN_STEP_MM)))
        impossible_from = high + 1
        while low < high:
            middle = (low + high + 1) // 2
            extra = min(most, middle * _MARGIN_STEP_MM)
            answer, bound = self._solve(columns, np.ones(len(columns)), extra, by_path_cost=True)
            if answer is not None:
                low, self.extra_mm = middle, extra
                self._take(columns.part(answer))
            else:
                high = middle - 1
                if np.isinf(bound):
                    impossible_from = min(impossible_from, middle)
        reached = self.options.margin_mm + self.extra_mm
        best = self.options.margin_mm + min(most, impossible_from * _MARGIN_STEP_MM)
        return LevelOutcome(
            "margin",
            reached,
            best,
            "mm",
            best - reached <= _MARGIN_STEP_MM + 1e-9,
            f"{problem}, each ball within one zone, in steps of {_MARGIN_STEP_MM:g} mm",
        )

    def sparing(self, healthy_limit_ml: float | None) -> LevelOutcome:
        """Least healthy tissue, with a price for time and for each ablation."""
        columns = _columns(self.matrix, tuple(np.unique(self.chosen.path).tolist()), largest_only=False)
        cost, healthy_ml = self._sparing_costs(columns)
        answer, bound = self._solve(
            columns, cost, self.extra_mm, healthy=healthy_ml, healthy_limit_ml=healthy_limit_ml
        )
        if answer is None and healthy_limit_ml is not None:
            self.healthy_limit_kept = False
            answer, bound = self._solve(columns, cost, self.extra_mm)
        proven = False
        if answer is not None:
            self.chosen = columns.part(answer)
            value = float(cost[answer].sum())
            proven = value <= bound + 1e-4 * max(1.0, value)
        else:
            value = float(self._sparing_costs(self.chosen)[0].sum())
        problem = (
            "the offered sizes along the chosen paths; ml outside target and margin added up over the ablations, "
            f"with {_ML_PER_MINUTE:g} ml for each minute"
        )
        if self.most_ablations is None:
            problem += f" and {_ML_PER_ABLATION:g} ml for each ablation"
        return LevelOutcome("spared", value, min(bound, value), "ml", proven, problem)

    def _take(self, columns: _Columns) -> None:
        self.chosen = columns
        self.paths = tuple(np.unique(columns.path).tolist())

    def _chosen_then_all(self) -> Iterator[tuple[_Columns, str]]:
        """Largest ablations on the chosen paths, then on all offered ones where those are few enough."""
        columns = _columns(self.matrix, self.paths, largest_only=True)
        yield columns, f"{len(columns)} ablations on the {len(self.paths)} chosen paths"
        columns, everywhere, words = self._offers(largest_only=True)
        if everywhere:
            yield columns, words

    def _offers(self, largest_only: bool) -> tuple[_Columns, bool, str]:
        """(ablations, whether they are all that are offered, words for them)."""
        columns = _columns(self.matrix, range(len(self.matrix.path_covers)), largest_only)
        if len(columns) <= _MOST_COLUMNS:
            return columns, True, f"{len(columns)} ablations on all {len(self.matrix.path_covers)} offered paths"
        columns = _columns(self.matrix, self.paths, largest_only)
        return columns, False, f"{len(columns)} ablations on the {len(self.paths)} chosen paths"

    def _minutes(self, columns: _Columns) -> FloatArray:
        durations = np.array([duration_s for _, duration_s in self.matrix.menu.settings])
        return durations[columns.size] / 60.0

    def _sparing_costs(self, columns: _Columns) -> tuple[FloatArray, FloatArray]:
        """(cost in ml, healthy tissue in ml) of each ablation."""
        menu = self.matrix.menu
        covers = _covered(self.matrix, columns, 0.0)
        volume = 4.0 / 3.0 * np.pi * menu.axial_mm[columns.size] * menu.radial_mm[columns.size] ** 2 / 1000.0
        healthy = np.maximum(0.0, volume - covers @ self.matrix.region.share_ml)
        cost = healthy + _ML_PER_MINUTE * self._minutes(columns)
        return cost + (_ML_PER_ABLATION if self.most_ablations is None else 0.0), healthy

    def _solve(
        self,
        columns: _Columns,
        cost: FloatArray,
        extra_mm: float,
        by_path_cost: bool = False,
        healthy: FloatArray | None = None,
        healthy_limit_ml: float | None = None,
    ) -> tuple[list[int] | None, float]:
        """(columns of the cheapest cover that keeps what is settled, or None; bound on its cost)."""
        matrix = self.matrix
        covers = _covered(matrix, columns, extra_mm)
        if not covers[:, self.wanted].any(axis=0).all():
            return None, np.inf
        budgets = []
        if self.most_ablations is not None:
            budgets.append(Budget(np.ones(len(columns)), float(self.most_ablations)))
        if self.most_minutes is not None:
            budgets.append(Budget(self._minutes(columns), self.most_minutes + 1e-9))
        if healthy is not None and healthy_limit_ml is not None:
            budgets.append(Budget(healthy, healthy_limit_ml))
        paths, owner = np.unique(columns.path, return_inverse=True)
        owner_cost = None
        if by_path_cost:
            largest = max(float(matrix.path_cost[paths].max()), 1e-12)
            given = int((matrix.added_insertions[paths] == 0).sum())
            owner_cost = _PATH_SHARE * matrix.path_cost[paths] / (largest * (self.insertions + given))
        conflicts = None if matrix.conflicts is None else matrix.conflicts[np.ix_(paths, paths)]
        demands = CoverDemands(
            conflicts=conflicts,
            owner=owner.ravel().astype(np.int64),
            owner_cost=owner_cost,
            owner_budgets=(Budget(matrix.added_insertions[paths], float(self.insertions)),),
            budgets=tuple(budgets),
        )
        rows = np.flatnonzero(self.wanted)
        rows = rows[idle_rows(covers[:, rows])[0]]
        answer: CoverAnswer = cheapest_cover(
            covers, rows, cost, self.options.time_limit_s, demands, self.options.most_nodes
        )
        if answer.chosen is None:
            return None, answer.bound
        return list(answer.chosen), answer.bound


def _columns(matrix: CoverageMatrix, paths: Sequence[int], largest_only: bool) -> _Columns:
    """Every ablation along some paths: at each tip the largest size allowed alone, or all that are."""
    offset = matrix.table.applicator.tip_to_centre_mm
    direction = matrix.table.direction
    path, tip, size, middles = [], [], [], []
    for k in paths:
        for number, largest in enumerate(matrix.allowed[k].tolist()):
            sizes = range(largest, len(matrix.menu))
            for s in sizes[:1] if largest_only else sizes:
                path.append(k)
                tip.append(number)
                size.append(s)
                middles.append(matrix.tips_mm[k][number] - offset * direction[k])
    owner = np.array(path, dtype=np.int64)
    return _Columns(
        owner,
        np.array(tip, dtype=np.int64),
        np.array(size, dtype=np.int64),
        np.array(middles).reshape(-1, 3),
        direction[owner].reshape(-1, 3),
    )


def _covered(matrix: CoverageMatrix, columns: _Columns, extra_mm: float) -> NDArray[np.bool_]:
    """(c, n) True where an ablation holds a ball that is larger by ``extra_mm``."""
    menu, region = matrix.menu, matrix.region
    zones = SpheroidUnion(
        columns.middles_mm, columns.axes, menu.axial_mm[columns.size], menu.radial_mm[columns.size]
    )
    return zones.covering(region.points_mm, region.radius_mm + extra_mm)


def _insertions(matrix: CoverageMatrix, chosen: _Columns) -> tuple[Insertion, ...]:
    insertions = []
    for path in np.unique(chosen.path).tolist():
        mine = np.flatnonzero(chosen.path == path)
        largest: dict[int, int] = {}
        # One ablation a tip, the largest: a set cover never needs two, a greedy one might.
        for column in mine.tolist():
            tip = int(chosen.tip[column])
            largest[tip] = min(largest.get(tip, len(matrix.menu)), int(chosen.size[column]))
        ablations = tuple(
            Ablation(vector3(matrix.tips_mm[path][tip]), *matrix.menu.settings[size])
            for tip, size in sorted(largest.items())
        )
        insertions.append(matrix.insertion(path, ablations))
    return tuple(insertions)


def _greedy_cover(covers: NDArray[np.bool_], cost: FloatArray) -> list[int]:
    left = covers.any(axis=0)
    chosen: list[int] = []
    while left.any():
        gain = covers[:, left].sum(axis=1) / cost
        best = int(np.argmax(gain))
        chosen.append(best)
        left &= ~covers[best]
    return chosen
