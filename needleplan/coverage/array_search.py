"""Arrays of electrodes laid out all through a region, as far as a choice of fewest electrodes can need them."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.array_layouts import MOST_ELECTRODES, ArrayLayout
from needleplan.coverage.array_zones import ArrayZone, array_zone
from needleplan.coverage.contract import PathSelection
from needleplan.coverage.electrode_arrays import ArrayCoverage, ElectrodeArray, array_axes, placeable, turned
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import TargetRegion
from needleplan.devices.applicator_physics import PulseElectrode
from needleplan.devices.catalogue import Applicator
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import TrajectoryTable

#: Arrays whose electrodes are screened at first, the cheapest ones, and at most at a time; each time twice as many,
#: until one can be placed.
_BATCH, _LARGEST_BATCH = 64, 1024
#: Figures of moved cases are compared after rounding to this many places.
_PLACES = 6


@dataclass(frozen=True, slots=True)
class ArrayOptions:
    """How densely arrays are laid out.

    Attributes:
        most_electrodes: of one array.
        spacing_count: shortest distances of electrodes, from the least to the greatest that the vendor allows.
        roll_step_deg: angle between turns about the common direction.
        direction_step_deg: angle by which the directions tried differ at least.
        most_directions: directions tried, those of the cheapest paths.
        shift_mm: arrays that might hold all of the region are tried about its middle and once and twice so far to
            each side of it.
        lattice_mm: those that hold a part are tried all over it, so far apart.
        most_parts: arrays for parts, about; each direction gives a share of its own where there would be more.
    """

    most_electrodes: int = MOST_ELECTRODES
    spacing_count: int = 3
    roll_step_deg: float = 20.0
    direction_step_deg: float = 3.0
    most_directions: int = 200
    shift_mm: float = 2.5
    lattice_mm: float = 7.0
    most_parts: int = 6000

    def __post_init__(self) -> None:
        if not 2 <= self.most_electrodes <= MOST_ELECTRODES:
            raise OptionError(f"an array has 2 to {MOST_ELECTRODES} electrodes, not {self.most_electrodes}")
        if min(self.spacing_count, self.most_directions, self.most_parts) < 1:
            raise OptionError("numbers of distances, directions and arrays must be at least 1")
        if not (
            1.0 <= self.roll_step_deg <= 360.0 and 0.1 <= self.shift_mm <= 50 and 1.0 <= self.lattice_mm <= 100
        ):
            raise OptionError(
                "turns must be 1 to 360 degrees, shifts 0.1 to 50 mm and the lattice 1 to 100 mm apart"
            )


def array_directions(
    ranked: TrajectoryTable, queries: AnatomyQueries, separation_deg: float, most: int
) -> tuple[FloatArray, ...]:
    """Directions of feasible paths, cheapest first, that differ by an angle; the same for any order of the rows.

    Raises:
        OptionError: no path is feasible, or paths are curved.
    """
    if ranked.curvature_per_mm is not None:
        raise OptionError("arrays of electrodes are laid out along straight paths: the given ones are curved")
    rows = ranked.order()
    if not len(rows):
        raise OptionError("no feasible path is left to build a coverage from")
    assert ranked.cost is not None
    axes = queries.anatomy.axes
    local = (np.concatenate([ranked.entry_mm[rows], ranked.tip_mm[rows]]) - queries.origin_mm) @ axes
    keys = np.round(local, _PLACES).reshape(2, len(rows), 3)
    ties = [keys[end, :, axis] for end in range(2) for axis in range(3)]
    rows = rows[np.lexsort((*ties, np.round(ranked.cost[rows], 9)))]
    direction = ranked.direction[rows]
    limit = math.cos(math.radians(separation_deg))
    open_ = np.ones(len(rows), dtype=np.bool_)
    found: list[FloatArray] = []
    while open_.any() and len(found) < most:
        best = int(np.argmax(open_))
        found.append(direction[best])
        open_ &= direction @ direction[best] < limit
        open_[best] = False
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class _Pose:
    """A region seen along one direction, turned by one angle."""

    axes: FloatArray
    points: FloatArray
    middle: FloatArray
    span: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ArraySearch:
    """Lays out arrays through one region.

    Attributes:
        queries: the anatomy.
        constraints: what every electrode must keep by itself.
        applicator: the electrodes.
        protection: structures that no zone must come near.
        region: what must be destroyed.
        arrays: how densely arrays are laid out.
        electrode: the vendor's rules.
        protocol: the pulses.
        threshold_v_cm: field that treats the tissue.
        directions: along which arrays are laid out, the best first.
    """

    queries: AnatomyQueries
    constraints: tuple[TrajectoryConstraint, ...]
    applicator: Applicator
    protection: Protection
    region: TargetRegion
    arrays: ArrayOptions
    electrode: PulseElectrode
    protocol: PulseProtocol
    threshold_v_cm: float
    directions: tuple[FloatArray, ...]

    def problem(
        self, layouts: tuple[ArrayLayout, ...], allowed: int, progress: Callable[[str, float], None]
    ) -> ArrayCoverage:
        """Everything that a choice of fewest electrodes can need of the arrays laid out."""
        laid_out = 0
        offered: list[tuple[ElectrodeArray, FloatArray, NDArray[np.bool_]]] = []
        fewest = None
        counts = sorted({layout.count for layout in layouts})
        for place, count in enumerate(counts):
            progress("arrays that hold all", place / len(counts))
            found, tried = self._whole([layout for layout in layouts if layout.count == count])
            laid_out += tried
            if found is not None:
                offered.append((*found, np.ones(len(self.region), dtype=np.bool_)))
                fewest = count
                break
        # Another array beside it has two electrodes at least: arrays with more than this cannot be of use.
        least = counts[0]
        useful = [layout for layout in layouts if fewest is None or layout.count + least <= fewest]
        if useful:
            parts = list(self._parts(useful))
            laid_out += len(parts)
            progress("arrays that hold a part", 0.0)
            offered += self._that_stand(parts, progress)
        return ArrayCoverage.of_arrays(
            self.region,
            [array for array, _, _ in offered],
            [entries for _, entries, _ in offered],
            np.array([covers for _, _, covers in offered], dtype=np.bool_),
            laid_out,
            max(1, allowed // least),
        )

    def trimmed(
        self, problem: ArrayCoverage, selection: PathSelection
    ) -> tuple[tuple[ElectrodeArray, ...], tuple[FloatArray, ...]]:
        """The chosen arrays, each with no more bare length than what no other destroys asks for."""
        chosen = {path: problem.arrays[path] for path in selection.paths}
        entries = {path: problem.entries_mm[path] for path in selection.paths}
        covers = {path: problem.path_covers[path] for path in selection.paths}
        for path in sorted(chosen, key=lambda path: (-problem.path_cost[path], path)):
            others = [covers[other] for other in chosen if other != path]
            mine = np.flatnonzero(covers[path] & ~np.any(others, axis=0)) if others else None
            if mine is None or not len(mine):
                continue
            array = chosen[path]
            points, radius = array.local_mm(self.region.points_mm), self.region.radius_mm
            zone = self._zone(array.layout)
            _, interval = zone.extents(points[mine], radius[mine])
            shorter = dataclasses.replace(array, interval_mm=interval)
            if shorter.rounds > array.rounds or not shorter.spares(zone, self.protection):
                continue
            where = placeable([shorter], self.applicator, self.queries, self.constraints)[0]
            if where is None:
                continue
            chosen[path], entries[path] = shorter, where
            # Balls that it gave up now depend on the others, and what they need they keep.
            kept = np.zeros(len(points), dtype=np.bool_)
            kept[mine] = True
            covers[path] = kept
        return tuple(chosen.values()), tuple(entries.values())

    def _zone(self, layout: ArrayLayout) -> ArrayZone:
        return array_zone(self.electrode, self.protocol, self.threshold_v_cm, layout)

    def _pose(self, direction: FloatArray, roll: float) -> _Pose:
        axes = turned(array_axes(direction, self.queries.anatomy.axes), roll)
        points = (self.region.points_mm - self.queries.origin_mm) @ axes
        radius = self.region.radius_mm[:, None]
        low, high = (points - radius).min(axis=0)[:2], (points + radius).max(axis=0)[:2]
        return _Pose(axes, np.ascontiguousarray(points), 0.5 * (low + high), high - low)

    def _array(
        self, pose: _Pose, zone: ArrayZone, shift: FloatArray, interval: FloatArray, held: NDArray[np.bool_]
    ) -> ElectrodeArray:
        middle = self.queries.origin_mm + pose.axes[:, :2] @ shift
        array = ElectrodeArray(zone.layout, pose.axes, middle, interval, self.electrode.exposure_mm)
        low, high = array.bare_mm
        outside = zone.volume_ml(float(high - low)) - float(self.region.share_ml[held].sum())
        return dataclasses.replace(array, outside_ml=round(max(0.0, outside), _PLACES))

    def _whole(self, layouts: list[ArrayLayout]) -> tuple[tuple[ElectrodeArray, FloatArray] | None, int]:
        """The cheapest array that destroys the whole region and can be placed, or None; and how many were tried."""
        # Balls far from the middle decide soonest that an array is too small.
        far = np.argsort(-np.linalg.norm(self.region.points_mm - self.queries.origin_mm, axis=1), kind="stable")
        radius = np.ascontiguousarray(self.region.radius_mm[far])
        side = self.arrays.shift_mm * np.array([0.0, -1.0, 1.0, -2.0, 2.0])
        shifts = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
        everything = np.ones(len(self.region), dtype=np.bool_)
        found, tried = [], 0
        for direction in self.directions:
            poses: dict[float, _Pose] = {}
            for layout in layouts:
                zone = self._zone(layout)
                for roll in layout.rolls(self.arrays.roll_step_deg).tolist():
                    if roll not in poses:
                        pose = self._pose(direction, roll)
                        poses[roll] = dataclasses.replace(pose, points=np.ascontiguousarray(pose.points[far]))
                    pose = poses[roll]
                    for shift in pose.middle + shifts:
                        tried += 1
                        held, interval = zone.extents(pose.points, radius, (float(shift[0]), float(shift[1])), True)
                        if held.all():
                            found.append(self._array(pose, zone, shift, interval, everything))
        found.sort(key=lambda array: (array.rounds, array.outside_ml))
        size = _BATCH
        while found:
            batch, found = found[:size], found[size:]
            places = placeable(batch, self.applicator, self.queries, self.constraints)
            for array, entries in zip(batch, places, strict=True):
                if entries is not None and array.spares(self._zone(array.layout), self.protection):
                    return (array, entries), tried
            size = min(2 * size, _LARGEST_BATCH)
        return None, tried

    def _parts(self, layouts: list[ArrayLayout]) -> Iterator[tuple[ElectrodeArray, NDArray[np.bool_]]]:
        """Arrays all over the region, each with what it destroys of it."""
        lattice, every = self.arrays.lattice_mm, 1
        for turn, direction in enumerate(self.directions):
            offers = []
            for layout in layouts:
                for roll in layout.rolls(self.arrays.roll_step_deg).tolist():
                    pose = self._pose(direction, roll)
                    sides = [
                        lattice * (np.arange(count) - 0.5 * (count - 1))
                        for count in np.maximum(1, np.floor(pose.span / lattice)).astype(int).tolist()
                    ]
                    shifts = pose.middle + np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2)
                    offers += [(layout, pose, shift) for shift in shifts]
            if turn == 0:
                # Where there would be too many, each direction gives other ones of its arrays.
                every = max(1, math.ceil(len(offers) * len(self.directions) / self.arrays.most_parts))
            for layout, pose, shift in offers[turn % every :: every]:
                zone = self._zone(layout)
                held, interval = zone.extents(
                    pose.points, self.region.radius_mm, (float(shift[0]), float(shift[1]))
                )
                if held.any():
                    yield self._array(pose, zone, shift, interval, held), held

    def _that_stand(
        self, parts: list[tuple[ElectrodeArray, NDArray[np.bool_]]], progress: Callable[[str, float], None]
    ) -> list[tuple[ElectrodeArray, FloatArray, NDArray[np.bool_]]]:
        offered = []
        for start in range(0, len(parts), _LARGEST_BATCH):
            progress("electrodes that can be placed", start / len(parts))
            batch = parts[start : start + _LARGEST_BATCH]
            entries = placeable([array for array, _ in batch], self.applicator, self.queries, self.constraints)
            for (array, held), where in zip(batch, entries, strict=True):
                if where is not None and array.spares(self._zone(array.layout), self.protection):
                    offered.append((array, where, held))
        return offered
