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
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.orders import PathOrder
from needleplan.trajectory.path_nodes import NodeSpace, PathNodes
from needleplan.trajectory.ranking import rank
from needleplan.trajectory.sampling import APART_MM, SamplingOptions, entry_and_aim_lattices, paths_of_pairs
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
        self._space = NodeSpace(
            *entry_and_aim_lattices(queries, sampling, options.entry_levels + 1, options.aim_levels + 1)
        )
        self._measured: list[MeasuredPaths] = []
        self._keys = np.zeros(0, dtype=np.int64)
        self._feasible = np.zeros(0, dtype=np.bool_)
        self._undecided = PathNodes.none()

    def paths(self) -> MeasuredPaths:
        """All paths looked at so far, screened, with their measurements."""
        if len(self._measured) > 1:
            self._measured = [MeasuredPaths.joined(self._measured)]
        return self._measured[0]

    def decide(self, progress: Callable[[str, float], None] | None) -> PathNodes:
        """Split what is undecided until nothing is left or the allowance is used up; returns the nodes made."""
        active = self._look(self._space.coarsest())
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
            parent, split = self._space.split(hidden)
            fresh = np.cumsum(~np.isin(self._space.pair_keys(split), self._keys))
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
        nodes: PathNodes,
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
            finer = self._space.split_end(chosen, entry_end=True)[1]
            finer = self._space.split_end(finer, entry_end=False)[1]
            nodes = nodes.with_(self._look(finer))

    def resolution(self) -> SearchResolution:
        """What cannot have been missed."""
        nodes, entries, aims = self._undecided, self._space.entries, self._space.aims
        entry_radius = self._space.entry_radius_mm(nodes)
        aim_radius = self._space.aim_radius_mm(nodes)
        table = self.paths().table
        wide = float(entry_radius.max(initial=0.0)) + entries.cover_mm
        # A ball of a radius is seen within the angle whose sine is radius over distance, from where it is nearest.
        share = aims.cover_mm / max(self._space.nearest_mm(), 1e-9)
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

    def _look(self, nodes: PathNodes) -> PathNodes:
        """Screen the paths of nodes that were not looked at before; the nodes with their rows."""
        keys = self._space.pair_keys(nodes)
        entry, aim = self._space.points(nodes)
        apart = (
            np.linalg.norm(self._space.entries.points_mm[entry] - self._space.aims.points_mm[aim], axis=1)
            > APART_MM
        )
        nodes, keys, entry, aim = nodes.take(apart), keys[apart], entry[apart], aim[apart]
        new, first = np.unique(keys, return_index=True)
        unseen = ~np.isin(new, self._keys)
        new, first = new[unseen], first[unseen]
        # In the order of the nodes: alike paths stay together.
        rank_of = np.argsort(first, kind="stable")
        new, first = new[rank_of], first[rank_of]
        if len(new) or not self._measured:
            table = paths_of_pairs(
                self._space.entries, self._space.aims, entry[first], aim[first], self._applicator
            )
            measured = MeasuredPaths(table, self._queries)
            screened = screen(table, self._queries, self._constraints, measured=measured)
            self._measured.append(measured.with_columns(screened))
            self._keys = np.concatenate([self._keys, new])
            self._feasible = np.concatenate([self._feasible, screened.feasible])
        order = np.argsort(self._keys, kind="stable")
        row = order[np.searchsorted(self._keys[order], keys)]
        return dataclasses.replace(nodes, row=row)

    def _excluded(self, nodes: PathNodes) -> NDArray[np.bool_]:
        """(n,) True where some constraint proves that all paths that a node stands for fail."""
        spread = self._space.normal_spread_deg(nodes)
        entry_mm, aim_mm = self._space.entry_radius_mm(nodes), self._space.aim_radius_mm(nodes)
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

    def _missing(self, nodes: PathNodes) -> FloatArray:
        """(n,) by how much a node's path fails: shortfalls on the scale of each limit, summed."""
        total = np.zeros(len(nodes))
        for column in self.paths().table.constraints:
            if column.hard:
                total += column.shortfall[nodes.row] / max(abs(column.limit), 1.0)
        return total


def _turn_deg(sway_mm: FloatArray, length_mm: FloatArray) -> FloatArray:
    """(n,) greatest angle by which vectors of a length turn when their ends move by ``sway_mm`` in all."""
    return np.where(sway_mm < length_mm, np.degrees(np.arcsin(np.minimum(sway_mm / length_mm, 1.0))), 180.0)
