"""Paths that stand for finer ones: pairs of points of two nested lattices, and how they are split."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray
from needleplan.trajectory.lattice import NestedLattice


@dataclass(frozen=True, slots=True, eq=False)
class PathNodes:
    """Paths that stand for others: level and node of entry and aim, and row in the table, each (n,)."""

    entry_level: NDArray[np.int64]
    entry: NDArray[np.int64]
    aim_level: NDArray[np.int64]
    aim: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def none(cls) -> "PathNodes":
        """No node."""
        return cls(*(np.zeros(0, dtype=np.int64) for _ in range(5)))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "PathNodes":
        """Some of them, in the order given."""
        return PathNodes(
            self.entry_level[rows], self.entry[rows], self.aim_level[rows], self.aim[rows], self.row[rows]
        )

    def with_(self, other: "PathNodes") -> "PathNodes":
        """These and others behind them."""
        return PathNodes(
            np.concatenate([self.entry_level, other.entry_level]),
            np.concatenate([self.entry, other.entry]),
            np.concatenate([self.aim_level, other.aim_level]),
            np.concatenate([self.aim, other.aim]),
            np.concatenate([self.row, other.row]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class NodeSpace:
    """All paths between two nested lattices.

    Attributes:
        entries: places on the skin.
        aims: places in the target.
    """

    entries: NestedLattice
    aims: NestedLattice

    def coarsest(self) -> PathNodes:
        """Every pair of a coarsest entry and a coarsest aim, entry by entry; without rows."""
        count_e, count_a = len(self.entries.levels[0].point), len(self.aims.levels[0].point)
        entry, aim = np.repeat(np.arange(count_e), count_a), np.tile(np.arange(count_a), count_e)
        zero = np.zeros(len(entry), dtype=np.int64)
        return PathNodes(zero, entry, zero, aim, zero)

    def points(self, nodes: PathNodes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Finest entry (n,) and finest aim (n,) of each node's own path."""
        entry = _of_level([made.point for made in self.entries.levels], nodes.entry_level, nodes.entry)
        return entry, _of_level([made.point for made in self.aims.levels], nodes.aim_level, nodes.aim)

    def pair_keys(self, nodes: PathNodes) -> NDArray[np.int64]:
        """(n,) one number for each node's own pair of finest points."""
        entry, aim = self.points(nodes)
        return np.asarray(entry * np.int64(len(self.aims.points_mm)) + aim)

    def nearest_mm(self) -> float:
        """Least distance between a finest entry and a finest aim."""
        from scipy.spatial import cKDTree

        return float(cKDTree(self.aims.points_mm).query(self.entries.points_mm)[0].min())

    def entry_radius_mm(self, nodes: PathNodes) -> FloatArray:
        """(n,) how far the entries that nodes stand for lie from their own."""
        return _of_level([made.radius_mm for made in self.entries.levels], nodes.entry_level, nodes.entry)

    def aim_radius_mm(self, nodes: PathNodes) -> FloatArray:
        """(n,) how far the aims that nodes stand for lie from their own."""
        return _of_level([made.radius_mm for made in self.aims.levels], nodes.aim_level, nodes.aim)

    def normal_spread_deg(self, nodes: PathNodes) -> FloatArray:
        """(n,) how far the skin's normals at those entries turn from that at their own."""
        return _of_level([made.spread_deg for made in self.entries.levels], nodes.entry_level, nodes.entry)

    def split(self, nodes: PathNodes) -> tuple[NDArray[np.int64], PathNodes]:
        """Parts of nodes, the wider end split: place of each part's node, ascending, and the parts."""
        entry_mm = self.entry_radius_mm(nodes)
        aim_mm = self.aim_radius_mm(nodes)
        at_entry = (nodes.entry_level < len(self.entries.levels) - 1) & (
            (entry_mm >= aim_mm) | (nodes.aim_level == len(self.aims.levels) - 1)
        )
        first, second = np.flatnonzero(at_entry), np.flatnonzero(~at_entry)
        place_e, parts_e = self.split_end(nodes.take(first), entry_end=True)
        place_a, parts_a = self.split_end(nodes.take(second), entry_end=False)
        place = np.concatenate([first[place_e], second[place_a]])
        order = np.argsort(place, kind="stable")
        return place[order], parts_e.with_(parts_a).take(order)

    def split_end(self, nodes: PathNodes, entry_end: bool) -> tuple[NDArray[np.int64], PathNodes]:
        """Nodes split at one end; those at the finest level there stay as they are."""
        lattice, level, node = (
            (self.entries, nodes.entry_level, nodes.entry) if entry_end else (self.aims, nodes.aim_level, nodes.aim)
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


def _of_level(values: Sequence[NDArray[Any]], level: NDArray[np.int64], node: NDArray[np.int64]) -> NDArray[Any]:
    """(n,) for each node of some level the value that its level holds for it."""
    result = np.empty(len(node), dtype=values[0].dtype)
    for k, made in enumerate(values):
        result[level == k] = made[node[level == k]]
    return result
