"""Entries on the skin and aims in the target as nested lattices: coarse points that stand for finer ones.

Both are laid out in cubes along the patient's own axes from the target's middle, without random draws, so that a
moved case gives the moved points. Halving the cubes makes the next level; every point of a coarse level is one of
the finest level too, and stands for all finest points of its cube.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.skin_normals import cube_keys
from needleplan.anatomy.surface_points import surface_points
from needleplan.frames import FloatArray, read_only


@dataclass(frozen=True, slots=True, eq=False)
class LatticeLevel:
    """One level of a nested lattice.

    Attributes:
        point: (n,) indices of its points among the finest ones.
        parent: (n,) index in the coarser level of the point that stands for each; its own index on the coarsest.
        radius_mm: (n,) no finest point that it stands for is farther away; never less than a part's own.
        spread_deg: (n,) no normal at one of those is farther from its own; 0 where there are no normals.
    """

    point: NDArray[np.int64]
    parent: NDArray[np.int64]
    radius_mm: FloatArray
    spread_deg: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class NestedLattice:
    """Points on nested levels.

    Attributes:
        points_mm: (m, 3) the finest points.
        normals: (m, 3) outward unit normals; zero where points have none.
        levels: from the coarsest to the finest.
        cover_mm: no point of the covered surface or solid is farther than this from a finest point.
    """

    points_mm: FloatArray
    normals: FloatArray
    levels: tuple[LatticeLevel, ...]
    cover_mm: float

    def children(self, level: int, nodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Points of the next level that nodes (k,) of a level stand for: (place in ``nodes``, node there)."""
        finer = self.levels[level + 1]
        order = np.argsort(finer.parent, kind="stable")
        first = np.searchsorted(finer.parent[order], nodes, side="left")
        last = np.searchsorted(finer.parent[order], nodes, side="right")
        count = last - first
        place = np.repeat(np.arange(len(nodes)), count)
        offset = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return place, order[np.repeat(first, count) + offset]


def nested_lattice(
    points_mm: FloatArray,
    normals: FloatArray,
    cell: NDArray[np.int64],
    middle: FloatArray,
    levels: int,
    cover_mm: float,
) -> NestedLattice:
    """Levels over finest points that lie in different cubes.

    Args:
        points_mm: (m, 3) the finest points.
        normals: (m, 3) their normals, zero where they have none.
        cell: (m, 3) the cube of each; a coarser cube joins two along each axis.
        middle: (m, 3) places in units of cubes, by which the point nearest to a cube's middle is found.
        levels: number of levels, 1 for the finest alone.
        cover_mm: see ``NestedLattice``.
    """
    found: list[LatticeLevel] = []
    coarser = np.arange(len(points_mm))
    for level in range(levels):
        width = 1 << (levels - 1 - level)
        cube = np.floor_divide(cell, width)
        _, member = np.unique(cube, axis=0, return_inverse=True)
        member = member.ravel()
        away = np.round(np.linalg.norm(middle / width - cube - 0.5, axis=1), 6)
        # Of equally near ones that nearest to the target's middle, then to the first point: so it is in the
        # mirrored case as well.
        inner = np.round(np.linalg.norm(middle, axis=1), 6)
        order = np.lexsort((np.round(np.linalg.norm(points_mm - points_mm[0], axis=1), 6), inner, away, member))
        first = np.ones(len(order), dtype=bool)
        first[1:] = np.diff(member[order]) != 0
        point = order[first]
        distance = np.linalg.norm(points_mm - points_mm[point[member]], axis=1)
        radius = np.zeros(len(point))
        np.maximum.at(radius, member, distance)
        cosine = np.einsum("ij,ij->i", normals, normals[point[member]])
        angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))) if normals.any() else np.zeros(len(points_mm))
        spread = np.zeros(len(point))
        np.maximum.at(spread, member, angle)
        above = np.arange(len(point)) if level == 0 else coarser[point]
        coarser = member
        found.append(LatticeLevel(point, above, radius, spread))
    # No part is wider than the whole, wherever its own point lies: a split never coarsens what is known.
    for coarse, fine in zip(found[-2::-1], found[:0:-1], strict=True):
        np.maximum.at(coarse.radius_mm, fine.parent, fine.radius_mm)
        np.maximum.at(coarse.spread_deg, fine.parent, fine.spread_deg)
    for made in found:
        made.radius_mm.setflags(write=False)
        made.spread_deg.setflags(write=False)
    return NestedLattice(read_only(points_mm), read_only(normals), tuple(found), cover_mm)


class EntryCloud:
    """The skin where needles may enter, as a dense cloud from which entries of any spacing are taken.

    Args:
        queries: the anatomy.
        spacing_mm: the finest spacing that will be asked for.
    """

    def __init__(self, queries: AnatomyQueries, spacing_mm: float) -> None:
        anatomy = queries.anatomy
        mesh = anatomy.entry.mesh
        # Large faces are split so that no cube they pass is missed.
        region = SurfaceMesh(mesh.vertices_mm, mesh.faces[anatomy.entry_faces])
        self._cloud, self._gap_mm = surface_points(region, 0.5 * spacing_mm)
        self._local = (self._cloud - queries.origin_mm) @ anatomy.axes
        self._normals = queries.skin_normals

    def count(self, spacing_mm: float, levels: int) -> int:
        """Number of entries on the coarsest level of ``lattice`` with the same arguments."""
        width = 1 << (levels - 1)
        return len(np.unique(cube_keys(np.floor_divide(self._cells(spacing_mm / width)[0], width))))

    def lattice(self, spacing_mm: float, levels: int) -> NestedLattice:
        """Entries: one in each cube of edge ``spacing_mm`` on the coarsest level, halved from level to level."""
        scaled_cells, scaled = self._cells(spacing_mm / (1 << (levels - 1)))
        away = np.round(np.linalg.norm(scaled - scaled_cells - 0.5, axis=1), 6)
        order = np.lexsort((away, cube_keys(scaled_cells)))
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(scaled_cells[order], axis=0) != 0).any(axis=1)
        chosen = order[first]
        entry_of = np.empty(len(order), dtype=np.int64)
        entry_of[order] = np.cumsum(first) - 1
        own = np.linalg.norm(self._cloud - self._cloud[chosen][entry_of], axis=1)
        cover = greatest_gap_mm(self._cloud, self._cloud[chosen], own) + self._gap_mm
        points = self._cloud[chosen]
        return nested_lattice(
            points, self._normals.at(points), scaled_cells[chosen], scaled[chosen], levels, float(cover)
        )

    def _cells(self, spacing_mm: float) -> tuple[NDArray[np.int64], FloatArray]:
        # Rounded, so that a point between two cubes falls into the same one after a motion of the case.
        scaled = np.round(self._local / spacing_mm, 6)
        return np.floor(scaled).astype(np.int64), scaled


def greatest_gap_mm(points_mm: FloatArray, chosen_mm: FloatArray, at_most_mm: FloatArray | None = None) -> float:
    """Greatest distance from points (n, 3) to the nearest of ``chosen_mm`` (m, 3).

    Bounds ``at_most_mm`` (n,) of these distances, where some are known, save most of the searches.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(chosen_mm)
    if at_most_mm is None:
        return float(tree.query(points_mm)[0].max())
    greatest = 0.0
    order = np.argsort(-at_most_mm, kind="stable")
    # Those that may be farthest first: soon no other can exceed what was found.
    for first in range(0, len(order), 20_000):
        rows = order[first : first + 20_000]
        rows = rows[at_most_mm[rows] > greatest]
        if not len(rows):
            break
        greatest = max(greatest, float(tree.query(points_mm[rows])[0].max()))
    return greatest
