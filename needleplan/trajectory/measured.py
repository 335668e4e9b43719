"""Candidate paths with what several constraints and objectives need of them, each quantity measured once."""

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.tree import Crossings
from needleplan.case.model import Role
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.trajectory.arcs import arc_directions_at, arc_points_mm, chord_counts
from needleplan.trajectory.table import TrajectoryTable

#: Clearances are exact up to this from the needle's surface, or farther where more is asked for.
CLEARANCE_CAP_MM = 10.0
#: Chords stand in for a curved path within this distance, which is taken off its clearances.
CHORD_TOLERANCE_MM = 0.05
#: Handle and guide behind the usable shaft.
HANDLE_MM = 60.0


class MeasuredPaths:
    """A table of paths in an anatomy, with shared measurements made at their first use.

    Attributes:
        table: the paths.
        queries: the anatomy.
    """

    def __init__(self, table: TrajectoryTable, queries: AnatomyQueries) -> None:
        self.table = table
        self.queries = queries
        self._clearance: dict[str, tuple[float, FloatArray]] = {}
        self._crossings: dict[str, Crossings] = {}
        self._entry_inside: dict[str, NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return len(self.table)

    def with_columns(self, table: TrajectoryTable) -> "MeasuredPaths":
        """The same measurements beside a table of the same paths that has other columns.

        Raises:
            GeometryError: the table holds other paths.
        """
        mine = (self.table.entry_mm, self.table.tip_mm, self.table.curvature_per_mm)
        if any(
            a is not b for a, b in zip(mine, (table.entry_mm, table.tip_mm, table.curvature_per_mm), strict=True)
        ):
            raise GeometryError("measurements of one set of paths were handed over with the table of another")
        other = copy.copy(self)
        other.table = table
        return other

    @classmethod
    def joined(cls, parts: Sequence["MeasuredPaths"]) -> "MeasuredPaths":
        """Several sets of paths in one anatomy as one, with the clearances that all of them have measured."""
        result = cls(TrajectoryTable.joined([part.table for part in parts]), parts[0].queries)
        for name, (cap_mm, _) in parts[0]._clearance.items():
            known = [part._clearance.get(name) for part in parts]
            if all(found is not None and found[0] == cap_mm for found in known):
                result._clearance[name] = (
                    cap_mm,
                    np.concatenate([found[1] for found in known if found is not None]),
                )
        return result

    def of_rows(self, rows: NDArray[np.integer[Any]]) -> "MeasuredPaths":
        """Some of the paths, in the order given, without measurements."""
        return MeasuredPaths(self.table.subset(rows), self.queries)

    @cached_property
    def chords_mm(self) -> tuple[FloatArray, FloatArray]:
        """First and second ends, each (n, k, 3), of the k straight parts of every path; k = 1 without curves."""
        table = self.table
        if table.curvature_per_mm is None or not len(table):
            return table.entry_mm[:, None, :], table.tip_mm[:, None, :]
        count = int(self._chords[0].max())
        points = arc_points_mm(
            table.entry_mm, table.tip_mm, table.curvature_per_mm, np.linspace(0.0, 1.0, count + 1)
        )
        return np.ascontiguousarray(points[:, :-1]), np.ascontiguousarray(points[:, 1:])

    @cached_property
    def _chords(self) -> tuple[NDArray[np.int64], FloatArray]:
        """(n,) number of chords that each path needs, and (n,) how far it then lies from them at most."""
        table = self.table
        if table.curvature_per_mm is None:
            return np.ones(len(table), dtype=np.int64), np.zeros(len(table))
        chord = np.linalg.norm(table.tip_mm - table.entry_mm, axis=1)
        return chord_counts(chord, np.linalg.norm(table.curvature_per_mm, axis=1), CHORD_TOLERANCE_MM)

    @property
    def chord_error_mm(self) -> FloatArray:
        """(n,) bound of the distance between each path and the chords that stand in for it; 0 where straight."""
        return self._chords[1]

    @cached_property
    def alike(self) -> "tuple[tuple[NDArray[np.int64], MeasuredPaths], ...]":
        """Rows of paths that need equally many chords, and these paths; all of them where none is curved.

        What is measured along chords is measured for each of these apart: a path's value then does not depend on
        how curved the others are.
        """
        count = self._chords[0]
        different = np.unique(count)
        if len(different) <= 1:
            return ((np.arange(len(self)), self),)
        rows = [np.flatnonzero(count == k) for k in different]
        return tuple((part, self.of_rows(part)) for part in rows)

    def clearance_mm(self, surface: StructureSurface, cap_mm: float = CLEARANCE_CAP_MM) -> FloatArray:
        """(n,) distance from needle surface to an obstacle, exact up to ``cap_mm``, never over-stated.

        Minus the needle's radius where the axis crosses the obstacle or lies inside it. Where obstacles may lie
        outside the entry surface (one that stands in for a skin, or a forbidden region) the shaft and handle
        outside count too. Curved paths are measured along chords, whose error is taken off.
        """
        known = self._clearance.get(surface.name)
        if known is None or known[0] < cap_mm:
            known = (cap_mm, self._measure_clearance(surface, cap_mm))
            self._clearance[surface.name] = known
        return np.minimum(known[1], cap_mm)

    def _measure_clearance(self, surface: StructureSurface, cap_mm: float) -> FloatArray:
        if len(self.alike) > 1:
            result = np.empty(len(self))
            for rows, paths in self.alike:
                result[rows] = paths.clearance_mm(surface, cap_mm)
            return result
        table = self.table
        reach = cap_mm + table.applicator.radius_mm + float(self.chord_error_mm.max(initial=0.0))
        tree = self.queries.tree(surface)
        start, end = self.chords_mm
        n, k = start.shape[:2]
        distance = (
            tree.segment_distance_mm(start.reshape(-1, 3), end.reshape(-1, 3), reach).reshape(n, k).min(axis=1)
        )
        # A path that lies inside an obstacle altogether crosses no surface, but then its entry lies inside.
        distance[self.entry_inside(surface)] = 0.0
        if surface.role is Role.NO_GO or self.queries.anatomy.case.entry_substitute is not None:
            # Before it is advanced, and when it is pulled back, the whole needle stands outside.
            back = (table.applicator.usable_length_mm + HANDLE_MM) * table.entry_direction
            outside = tree.segment_distance_mm(table.entry_mm, table.entry_mm - back, reach)
            distance = np.minimum(distance, outside)
        # At the cap the error is not taken off: nothing nearer than the reach was found.
        distance = np.minimum(np.maximum(distance - self.chord_error_mm, 0.0), cap_mm + table.applicator.radius_mm)
        return np.asarray(distance - table.applicator.radius_mm)

    def entry_inside(self, surface: StructureSurface) -> NDArray[np.bool_]:
        """(n,) True where the entry lies inside a closed surface."""
        if surface.name not in self._entry_inside:
            first, of_row = self._entries
            inside = self.queries.tree(surface).contains(self.table.entry_mm[first])
            self._entry_inside[surface.name] = inside[of_row]
        return self._entry_inside[surface.name]

    @cached_property
    def _entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First row of each run of equal entries, and the run of every row: tables list entries one by one."""
        entry = self.table.entry_mm
        starts = np.ones(len(entry), dtype=np.bool_)
        starts[1:] = (entry[1:] != entry[:-1]).any(axis=1)
        return np.flatnonzero(starts), np.cumsum(starts) - 1

    def crossings(self, surface: StructureSurface) -> Crossings:
        """Where the paths pass a closed surface, as shares of their length from entry to tip."""
        if surface.name not in self._crossings:
            if len(self.alike) > 1:
                parts = [(rows, paths.crossings(surface)) for rows, paths in self.alike]
                self._crossings[surface.name] = Crossings.put_together(parts, len(self))
            else:
                start, end = self.chords_mm
                k = start.shape[1]
                found = self.queries.tree(surface).crossings(start.reshape(-1, 3), end.reshape(-1, 3))
                self._crossings[surface.name] = found if k == 1 else found.joined(k)
        return self._crossings[surface.name]

    @cached_property
    def target_share(self) -> FloatArray:
        """(n,) share of the path before it first meets the target; 1 where it never meets the target's surface."""
        target = self.crossings(self.queries.anatomy.target)
        return np.where(target.count > 0, np.minimum(target.parameter[:, 0], 1.0), 1.0)

    def organ_path_mm(self, organ: StructureSurface) -> FloatArray:
        """(n,) length inside an organ before the path first meets the target."""
        end = self.target_share
        crossings = self.crossings(organ)
        inside = self.entry_inside(organ)
        total = np.zeros(len(self))
        previous = np.zeros(len(self))
        for k in range(crossings.parameter.shape[1]):
            here = np.minimum(crossings.parameter[:, k], end)
            total += np.where(inside, here - previous, 0.0)
            inside = np.where(np.isfinite(crossings.parameter[:, k]), ~crossings.outward[:, k], inside)
            previous = here
        total += np.where(inside, end - previous, 0.0)
        return np.asarray(total * self.table.length_mm)

    def capsule_angle_deg(self, organ: StructureSurface) -> FloatArray:
        """(n,) angle between path and organ surface's normal where the path enters the organ for the last time.

        0 where a path starts inside the organ or never enters it: it meets no capsule.
        """
        crossings = self.crossings(organ)
        entering = np.isfinite(crossings.parameter) & ~crossings.outward
        last = (entering.shape[1] - 1 - np.argmax(entering[:, ::-1], axis=1))[:, None]
        face = np.take_along_axis(crossings.face, last, axis=1)[:, 0]
        share = np.take_along_axis(crossings.parameter, last, axis=1)[:, 0]
        normals = organ.mesh.normals_of(np.maximum(face, 0))
        cosine = -np.einsum("ij,ij->i", self._direction_at(np.where(np.isfinite(share), share, 0.0)), normals)
        angle = np.degrees(np.arccos(np.clip(cosine, 0.0, 1.0)))
        return np.where(entering.any(axis=1), angle, 0.0)

    def parts_inside(self, surface: StructureSurface) -> tuple[FloatArray, FloatArray]:
        """Begin and end (n, k), as shares of the length, of the parts between two crossings inside a surface.

        Not a number where a path has fewer such parts.
        """
        crossings = self.crossings(surface)
        begin, end = crossings.parameter[:, :-1], crossings.parameter[:, 1:]
        inside = np.isfinite(end) & ~crossings.outward[:, :-1] & crossings.outward[:, 1:]
        return np.where(inside, begin, np.nan), np.where(inside, end, np.nan)

    def _direction_at(self, share: FloatArray) -> FloatArray:
        """(n, 3) direction of each path at a share (n,) of its length."""
        table = self.table
        if table.curvature_per_mm is None:
            return table.direction
        return arc_directions_at(table.entry_mm, table.tip_mm, table.curvature_per_mm, share)
