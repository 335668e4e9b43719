"""Complete search for needle paths: coarse everywhere, finer where a path may hide and where the best ones are.

Every coarse path stands for all fine paths from its patch of skin to its part of the target. It is done with where
it is feasible, or where a constraint proves that every path it stands for fails
(``TrajectoryConstraint.excludes``); else it is split, the wider end first. What the search has not seen when it
ends is therefore known: only corridors narrower than the patches that are still undecided.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.devices.catalogue import Applicator
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint, TrajectoryObjective
from needleplan.trajectory.lattice import NestedLattice
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.orders import PathOrder
from needleplan.trajectory.ranking import rank
from needleplan.trajectory.sampling import SamplingOptions, entry_and_aim_lattices, paths_of_pairs
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How far candidate paths are refined.

    Attributes:
        entry_levels: how often the spacing of entries may be halved.
        aim_levels: how often the spacing of aims may be halved.
        maximum_refined: at most so many paths are added where a path may hide.
        refined_best: about the best so many paths, and about the Pareto front, finer ones are added in each round.
    """

    entry_levels: int = 2
    aim_levels: int = 1
    maximum_refined: int = 120_000
    refined_best: int = 100

    def __post_init__(self) -> None:
        for name, most in (
            ("entry_levels", 6), ("aim_levels", 4), ("maximum_refined", 50_000_000), ("refined_best", 100_000),
        ):  # fmt: skip
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise OptionError(f"{name.replace('_', ' ')} must be between 0 and {most}, not {value}")


@dataclass(frozen=True, slots=True)
class SearchResolution:
    """What cannot have been missed.

    A corridor of X mm and Y degrees is a set of feasible paths from every place of a patch of skin within X / 2 of
    some point of it to every place of the target seen within Y / 2 from there.

    Attributes:
        entry_mm: X: a corridor that is wider at the skin, and
        angle_deg: Y: wider in direction, holds a feasible path of the table, or a feasible coarse path, which may
            lie beside it, stands for one of its paths.
        exhausted: True where everything is decided to the finest level: every further path of the finest lattices
            is proven to fail, or lies with a feasible one.
        evaluated: number of paths that were looked at.
        stands_for: number of paths of the finest lattices that they stand for.
        undecided: paths that are not feasible and prove nothing about those they stand for.
    """

    entry_mm: float
    angle_deg: float
    exhausted: bool
    evaluated: int
    stands_for: int
    undecided: int

    @property
    def sentence(self) -> str:
        """The resolution in words."""
        return (
            f"A corridor wider than {self.entry_mm:.1f} mm at the skin and {self.angle_deg:.1f} degrees in "
            f"direction cannot have been missed: it holds a path that was found or lies beside one. "
            f"{self.evaluated} paths were looked at, which stand for {self.stands_for}."
        )


@dataclass(frozen=True, slots=True, eq=False)
class TrajectorySearch:
    """Result of a search.

    Attributes:
        table: all paths that were looked at, screened and ranked; the coarse ones first.
        resolution: what cannot have been missed.
    """

    table: TrajectoryTable
    resolution: SearchResolution


@dataclass(frozen=True, slots=True, eq=False)
class _Nodes:
    """Paths that stand for others: level and node of entry and aim, and row in the table, each (n,)."""

    entry_level: NDArray[np.int64]
    entry: NDArray[np.int64]
    aim_level: NDArray[np.int64]
    aim: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "_Nodes":
        return _Nodes(
            self.entry_level[rows], self.entry[rows], self.aim_level[rows], self.aim[rows], self.row[rows]
        )

    def with_(self, other: "_Nodes") -> "_Nodes":
        return _Nodes(
            np.concatenate([self.entry_level, other.entry_level]),
            np.concatenate([self.entry, other.entry]),
            np.concatenate([self.aim_level, other.aim_level]),
            np.concatenate([self.aim, other.aim]),
            np.concatenate([self.row, other.row]),
        )


def search_trajectories(
    queries: AnatomyQueries,
    applicator: Applicator,
    constraints: Sequence[TrajectoryConstraint],
    objectives: Sequence[TrajectoryObjective],
    sampling: SamplingOptions | None = None,
    options: SearchOptions | None = None,
    *,
    order: PathOrder | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> TrajectorySearch:
    """All paths worth knowing of an applicator to the target.

    Args:
        queries: the anatomy.
        applicator: the applicator.
        constraints: hard and softened demands.
        objectives: by which feasible paths are ordered, and about whose best it is refined.
        sampling: the coarse level.
        options: how far to refine.
        order: how objectives make an order; the weighted one where None.
        progress: called with what is being done and the fraction done.

    Returns:
        The table, ranked, whether or not a path is feasible, and what cannot have been missed.

    Raises:
        OptionError: an option is impossible, or two constraints have the same name.
    """
    run = _Run(queries, applicator, constraints, sampling or SamplingOptions(), options or SearchOptions())
    nodes = run.decide(progress)
    run.refine_best(nodes, objectives, order, progress)
    paths = run.paths()
    return TrajectorySearch(rank(paths.table, queries, objectives, paths, order), run.resolution())


class _Run:
    """One search: the paths looked at so far, and the nodes that they stand for."""

    def __init__(
        self,
        queries: AnatomyQueries,
        applicator: Applicator,
        constraints: Sequence[TrajectoryConstraint],
        sampling: SamplingOptions,
        options: SearchOptions,
    ) -> None:
        self._queries = queries
        self._applicator = applicator
        self._constraints = constraints
        self._options = options
        self._entries, self._aims = entry_and_aim_lattices(
            queries, sampling, options.entry_levels + 1, options.aim_levels + 1
        )
        self._measured: list[MeasuredPaths] = []
        self._keys = np.zeros(0, dtype=np.int64)
        self._feasible = np.zeros(0, dtype=np.bool_)
        self._undecided = _Nodes(*(np.zeros(0, dtype=np.int64) for _ in range(5)))

    def paths(self) -> MeasuredPaths:
        """All paths looked at so far, screened, with their measurements."""
        if len(self._measured) > 1:
            self._measured = [MeasuredPaths.joined(self._measured)]
        return self._measured[0]

    def decide(self, progress: Callable[[str, float], None] | None) -> _Nodes:
        """Split what is undecided until nothing is left or the allowance is used up; returns the nodes made."""
        active = self._coarse_nodes()
        made = [active]
        left = self._options.maximum_refined
        while len(active):
            if progress:
                done = 1.0 - left / max(self._options.maximum_refined, 1)
                progress(f"paths looked at: {len(self._feasible)}", done)
            hidden = active.take(~self._feasible[active.row])
            hidden = hidden.take(~self._excluded(hidden))
            if not len(hidden):
                break
            # Where the least is missing a path is nearest: looked at first, should the allowance end here.
            missing = self._missing(hidden)
            hidden = hidden.take(np.lexsort((hidden.row, np.round(missing, 6))))
            parent, split = self._split(hidden)
            fresh = np.cumsum(~np.isin(self._pair_keys(split), self._keys))
            within = np.searchsorted(fresh, left, side="right")
            kept = int(parent[within]) if within < len(parent) else len(hidden)
            self._undecided = self._undecided.with_(hidden.take(np.arange(kept, len(hidden))))
            active = split.take(parent < kept)
            before = len(self._feasible)
            active = self._look(active)
            left -= len(self._feasible) - before
            made.append(active)
        result = made[0]
        for nodes in made[1:]:
            result = result.with_(nodes)
        return result

    def refine_best(
        self,
        nodes: _Nodes,
        objectives: Sequence[TrajectoryObjective],
        order: PathOrder | None,
        progress: Callable[[str, float], None] | None,
    ) -> None:
        """Finer paths about the best ones and about the front, level by level."""
        options = self._options
        for _ in range(max(options.entry_levels, options.aim_levels)):
            rows = np.flatnonzero(self._feasible)
            if not len(rows) or not options.refined_best:
                return
            if progress:
                progress(f"paths looked at: {len(self._feasible)}", 1.0)
            table = rank(self.paths().table.subset(rows), self._queries, objectives, None, order)
            best = np.zeros(len(rows), dtype=np.bool_)
            best[table.order()[: options.refined_best]] = True
            if table.front is not None and table.cost is not None:
                front = np.flatnonzero(table.front)
                best[front[np.argsort(table.cost[front], kind="stable")[: options.refined_best]]] = True
            chosen = nodes.take(np.isin(nodes.row, rows[best]))
            # Of the nodes with the same path the finest stands for the fewest others.
            depth = chosen.entry_level + chosen.aim_level
            chosen = chosen.take(np.lexsort((-depth, chosen.row)))
            chosen = chosen.take(np.append(True, np.diff(chosen.row) != 0)) if len(chosen) else chosen
            finer = self._split_end(chosen, entry_end=True)[1]
            finer = self._split_end(finer, entry_end=False)[1]
            nodes = nodes.with_(self._look(finer))

    def resolution(self) -> SearchResolution:
        """What cannot have been missed."""
        nodes, entries, aims = self._undecided, self._entries, self._aims
        entry_radius = self._radius(entries, nodes.entry_level, nodes.entry)
        aim_radius = self._radius(aims, nodes.aim_level, nodes.aim)
        table = self.paths().table
        wide = float(entry_radius.max(initial=0.0)) + entries.cover_mm
        # A ball of a radius is seen within the angle whose sine is radius over distance, from where it is nearest.
        share = aims.cover_mm / max(self._nearest_mm(), 1e-9)
        if len(nodes):
            distance = np.linalg.norm(table.aim_mm[nodes.row] - table.entry_mm[nodes.row], axis=1)
            share = max(share, float(((aim_radius + aims.cover_mm) / distance).max()))
        return SearchResolution(
            entry_mm=2.0 * wide,
            angle_deg=2.0 * float(_turn_deg(np.array([share]), np.ones(1))[0]),
            exhausted=len(nodes) == 0,
            evaluated=len(self._feasible),
            stands_for=len(entries.points_mm) * len(aims.points_mm),
            undecided=len(nodes),
        )

    def _nearest_mm(self) -> float:
        """Least distance between a finest entry and a finest aim."""
        from scipy.spatial import cKDTree

        return float(cKDTree(self._aims.points_mm).query(self._entries.points_mm)[0].min())

    def _coarse_nodes(self) -> _Nodes:
        count_e, count_a = len(self._entries.levels[0].point), len(self._aims.levels[0].point)
        entry = np.repeat(np.arange(count_e), count_a)
        aim = np.tile(np.arange(count_a), count_e)
        zero = np.zeros(len(entry), dtype=np.int64)
        return self._look(_Nodes(zero, entry, zero, aim, zero))

    def _points(self, nodes: _Nodes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Finest entry and finest aim of each node's own path."""
        entry, aim = np.empty(len(nodes), dtype=np.int64), np.empty(len(nodes), dtype=np.int64)
        for level, made in enumerate(self._entries.levels):
            rows = nodes.entry_level == level
            entry[rows] = made.point[nodes.entry[rows]]
        for level, made in enumerate(self._aims.levels):
            rows = nodes.aim_level == level
            aim[rows] = made.point[nodes.aim[rows]]
        return entry, aim

    def _pair_keys(self, nodes: _Nodes) -> NDArray[np.int64]:
        entry, aim = self._points(nodes)
        return np.asarray(entry * np.int64(len(self._aims.points_mm)) + aim)

    def _look(self, nodes: _Nodes) -> _Nodes:
        """Screen the paths of nodes that were not looked at before; the nodes with their rows."""
        keys = self._pair_keys(nodes)
        entry, aim = self._points(nodes)
        apart = np.linalg.norm(self._entries.points_mm[entry] - self._aims.points_mm[aim], axis=1) > 1e-6
        nodes, keys, entry, aim = nodes.take(apart), keys[apart], entry[apart], aim[apart]
        new, first = np.unique(keys, return_index=True)
        unseen = ~np.isin(new, self._keys)
        new, first = new[unseen], first[unseen]
        # In the order of the nodes: alike paths stay together.
        rank_of = np.argsort(first, kind="stable")
        new, first = new[rank_of], first[rank_of]
        if len(new) or not self._measured:
            table = paths_of_pairs(self._entries, self._aims, entry[first], aim[first], self._applicator)
            measured = MeasuredPaths(table, self._queries)
            screened = screen(table, self._queries, self._constraints, measured=measured)
            self._measured.append(measured.with_columns(screened))
            self._keys = np.concatenate([self._keys, new])
            self._feasible = np.concatenate([self._feasible, screened.feasible])
        order = np.argsort(self._keys, kind="stable")
        row = order[np.searchsorted(self._keys[order], keys)]
        return dataclasses.replace(nodes, row=row)

    def _radius(self, lattice: NestedLattice, level: NDArray[np.int64], node: NDArray[np.int64]) -> FloatArray:
        """(n,) how far the points that nodes stand for lie from their own."""
        radius = np.zeros(len(node))
        for k, made in enumerate(lattice.levels):
            radius[level == k] = made.radius_mm[node[level == k]]
        return radius

    def _excluded(self, nodes: _Nodes) -> NDArray[np.bool_]:
        """(n,) True where some constraint proves that all paths that a node stands for fail."""
        spread = np.zeros(len(nodes))
        for k, made in enumerate(self._entries.levels):
            spread[nodes.entry_level == k] = made.spread_deg[nodes.entry[nodes.entry_level == k]]
        entry_mm = self._radius(self._entries, nodes.entry_level, nodes.entry)
        aim_mm = self._radius(self._aims, nodes.aim_level, nodes.aim)
        everything = self.paths()
        # One that stands for itself alone is decided by itself.
        excluded = (entry_mm == 0) & (aim_mm == 0)
        for constraint in self._constraints:
            column = everything.table.constraint(constraint.name)
            if not column.hard:
                continue
            open_rows = np.flatnonzero(~excluded)
            rows = nodes.row[open_rows]
            failing = ~column.passed[rows]
            open_rows, rows = open_rows[failing], rows[failing]
            if not len(rows):
                continue
            paths = everything.of_rows(rows)
            table = paths.table
            distance = np.linalg.norm(table.aim_mm - table.entry_mm, axis=1)
            turn = _turn_deg(entry_mm[open_rows] + aim_mm[open_rows], distance)
            # The tip lies behind the aim and swings with the direction.
            tip_mm = aim_mm[open_rows] + self._applicator.tip_to_centre_mm * np.radians(turn)
            around = Neighbourhood(entry_mm[open_rows], tip_mm, turn, spread[open_rows])
            excluded[open_rows] = constraint.excludes(paths, table.constraint(constraint.name), around)
        return excluded

    def _missing(self, nodes: _Nodes) -> FloatArray:
        """(n,) by how much a node's path fails: shortfalls on the scale of each limit, summed."""
        total = np.zeros(len(nodes))
        for column in self.paths().table.constraints:
            if column.hard:
                total += column.shortfall[nodes.row] / max(abs(column.limit), 1.0)
        return total

    def _split(self, nodes: _Nodes) -> tuple[NDArray[np.int64], _Nodes]:
        """Parts of nodes, the wider end split: place of each part's node, ascending, and the parts."""
        entry_mm = self._radius(self._entries, nodes.entry_level, nodes.entry)
        aim_mm = self._radius(self._aims, nodes.aim_level, nodes.aim)
        at_entry = (nodes.entry_level < self._options.entry_levels) & (
            (entry_mm >= aim_mm) | (nodes.aim_level == self._options.aim_levels)
        )
        first, second = np.flatnonzero(at_entry), np.flatnonzero(~at_entry)
        place_e, parts_e = self._split_end(nodes.take(first), entry_end=True)
        place_a, parts_a = self._split_end(nodes.take(second), entry_end=False)
        place = np.concatenate([first[place_e], second[place_a]])
        order = np.argsort(place, kind="stable")
        return place[order], parts_e.with_(parts_a).take(order)

    def _split_end(self, nodes: _Nodes, entry_end: bool) -> tuple[NDArray[np.int64], _Nodes]:
        """Nodes split at one end; those at the finest level there stay as they are."""
        lattice, level, node = (
            (self._entries, nodes.entry_level, nodes.entry)
            if entry_end
            else (self._aims, nodes.aim_level, nodes.aim)
        )
        finest = level == len(lattice.levels) - 1
        places, levels, parts = [np.flatnonzero(finest)], [level[finest]], [node[finest]]
        for k in range(len(lattice.levels) - 1):
            rows = np.flatnonzero(level == k)
            place, part = lattice.children(k, node[rows])
            places.append(rows[place])
            levels.append(np.full(len(part), k + 1))
            parts.append(part)
        place, new_level, new_node = np.concatenate(places), np.concatenate(levels), np.concatenate(parts)
        order = np.argsort(place, kind="stable")
        place, new_level, new_node = place[order], new_level[order], new_node[order]
        changed = nodes.take(place)
        if entry_end:
            return place, dataclasses.replace(changed, entry_level=new_level, entry=new_node)
        return place, dataclasses.replace(changed, aim_level=new_level, aim=new_node)


def _turn_deg(sway_mm: FloatArray, length_mm: FloatArray) -> FloatArray:
    """(n,) greatest angle by which vectors of a length turn when their ends move by ``sway_mm`` in all."""
    return np.where(sway_mm < length_mm, np.degrees(np.arcsin(np.minimum(sway_mm / length_mm, 1.0))), 180.0)
