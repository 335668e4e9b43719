"""Clearances over the whole breath: the needle stays where it was aimed at end-exhale, the structures move.

A structure that is displaced by v is as far from a path as the path, displaced by -v, from the structure at rest;
so every measurement is that of the static table. As a function of v a distance changes by at most 1 mm a
millimetre. The displacements of a breath are searched as balls within balls (:class:`Excursion`): what is measured
at a centre, less the radius, holds for every moment of the ball. Balls are divided only where that is not enough to
tell the least clearance or to decide a demand: nothing is over-stated, and little is measured in vain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import GeometryError, MotionError, OptionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.excursion import SMALLEST_RADIUS_MM, Excursion
from needleplan.trajectory.constraints.clearance import ROOM_MM, Clearance
from needleplan.trajectory.constraints.softened import Softened
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import CLEARANCE_CAP_MM, MeasuredPaths
from needleplan.trajectory.table import TrajectoryTable

#: The least clearance is sought until no more than this can be missing.
TOLERANCE_MM = 0.05
#: Moments times paths that are held at once.
_CHUNK = 20_000_000


@dataclass(frozen=True, slots=True, eq=False)
class BreathClearances:
    """Clearances of some paths of a table over a breathing motion, and when they suffice.

    A moment counts as safe only where every demanded clearance is proven for it. A moment at which a clearance
    exceeds its limit by less than ``resolution_mm`` may be left out.

    Attributes:
        rows: (n,) rows of the table that were asked for.
        obstacles: names of the k obstacles.
        limit_mm: (k,) clearances demanded of them over the breath: 0, that the needle does not touch the obstacle,
            where the clearance only costs.
        exhale_mm: (n, k) clearances at end-exhale, those of the static table.
        least_mm: (n, k) least clearances over the motion's span: never over-stated, at most ``resolution_mm`` below
            the true ones, and up to the same cap as ``exhale_mm``.
        safe_share: (n,) part of the time that is safe.
        gate_mm: (n,) the path is safe whenever the target lies within this of its place at end-exhale: the
            tolerance of an amplitude gate. The greatest displacement where the path is always safe.
        tip_offset_mm: (n,) bound of the distance, at a safe moment, between the tip and the place in the target
            that it was aimed at; not a number where no moment is safe.
        window_row: (w,) which of the n paths each window belongs to, ascending.
        window_s: (w, 2) begin and end of each window of safe time within 0 to ``span_s``.
        span_s: time that was looked at.
        resolution_mm: see above.
    """

    rows: NDArray[np.int64]
    obstacles: tuple[str, ...]
    limit_mm: FloatArray
    exhale_mm: FloatArray
    least_mm: FloatArray
    safe_share: FloatArray
    gate_mm: FloatArray
    tip_offset_mm: FloatArray
    window_row: NDArray[np.int64]
    window_s: FloatArray
    span_s: float
    resolution_mm: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", read_only(self.rows, np.int64))
        object.__setattr__(self, "window_row", read_only(self.window_row, np.int64))
        for name in ("limit_mm", "exhale_mm", "least_mm", "safe_share", "gate_mm", "tip_offset_mm", "window_s"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def always_safe(self) -> NDArray[np.bool_]:
        """(n,) True where every demanded clearance holds over the whole breath."""
        return np.asarray((self.least_mm >= self.limit_mm).all(axis=1))

    def windows_s(self, path: int) -> FloatArray:
        """(w, 2) begin and end of the windows of safe time of one of the n paths.

        Raises:
            GeometryError: there is no such path.
        """
        if not 0 <= path < len(self):
            raise GeometryError(f"there is no path {path} of {len(self)} whose breath was looked at")
        return self.window_s[self.window_row == path]


def clearances_over_breath(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    tissue: TissueMotion,
    constraints: Sequence[TrajectoryConstraint],
    rows: ArrayLike | None = None,
) -> BreathClearances:
    """Clearances of paths to every obstacle while the patient breathes, and when the demanded ones hold.

    The needle stands still in the room, on the path that was planned at end-exhale.

    Args:
        table: the paths.
        queries: the anatomy at end-exhale.
        tissue: how each structure moves.
        constraints: of these the clearances, each to one obstacle, are followed; the others do not breathe. Of a
            softened one only that the needle does not touch the obstacle is demanded: its shortfall costs, but no
            moment is safe at which the obstacle moves through the needle.
        rows: rows of the table, of which each may come once; None takes the feasible ones.

    Raises:
        MotionError: the tissue's motion knows nothing of an obstacle, or states no speed.
        OptionError: rows are not those of the table, or an obstacle is demanded twice.
    """
    chosen = _chosen_rows(table, rows)
    demands = list(_demands(constraints))
    names = tuple(demand.surface.name for demand, _ in demands)
    if len(set(names)) < len(names):
        raise OptionError(f"two clearances to the same obstacle are demanded: {', '.join(sorted(names))}")
    shares = tissue.shares
    unknown = [name for name in names if name not in shares]
    if unknown:
        raise MotionError(f"the motion of the tissue says nothing of {unknown[0]}: make it from the same anatomy")
    excursion = Excursion(tissue.motion)
    size = excursion.size_mm
    n, k = len(chosen), len(demands)
    exhale, least = np.zeros((n, k)), np.zeros((n, k))
    share, gate, offset = np.zeros(n), np.zeros(n), np.zeros(n)
    window_row: list[NDArray[np.int64]] = []
    window_s: list[FloatArray] = []
    count = max(1, _CHUNK // len(excursion))
    chord_error_mm = 0.0
    for first in range(0, n, count):
        part = slice(first, min(first + count, n))
        paths = table.subset(chosen[part])
        unsafe = np.zeros((len(paths), len(excursion)), dtype=np.bool_)
        static = MeasuredPaths(paths, queries)
        chord_error_mm = max(chord_error_mm, float(static.chord_error_mm.max(initial=0.0)))
        for j, (demand, limit_mm) in enumerate(demands):
            cap_mm = max(CLEARANCE_CAP_MM, demand.limit_mm + ROOM_MM)
            search = _Search(paths, queries, demand.surface, shares[names[j]].fraction, limit_mm, cap_mm)
            exhale[part, j] = static.clearance_mm(demand.surface, cap_mm)
            least[part, j], bad = search.over(excursion)
            unsafe |= bad
        safe = ~unsafe
        share[part] = safe.mean(axis=1)
        reach = np.where(unsafe, size, np.inf).min(axis=1) - excursion.slack_mm
        gate[part] = np.clip(reach, 0.0, size.max() + excursion.slack_mm)
        farthest = np.where(safe, size, -np.inf).max(axis=1) + excursion.slack_mm
        offset[part] = np.where(safe.any(axis=1), farthest, np.nan)
        row, begin, end = _runs(safe)
        window_row.append(first + row)
        window_s.append(np.asarray(np.stack([begin, end], axis=1) * excursion.step_s, dtype=np.float64))
    return BreathClearances(
        rows=chosen,
        obstacles=names,
        limit_mm=np.array([limit_mm for _, limit_mm in demands]),
        exhale_mm=exhale,
        least_mm=least,
        safe_share=share,
        gate_mm=gate,
        tip_offset_mm=offset,
        window_row=np.concatenate([*window_row, np.zeros(0, np.int64)]),
        window_s=np.concatenate([*window_s, np.zeros((0, 2))]),
        span_s=excursion.span_s,
        resolution_mm=_resolution_mm(chord_error_mm, excursion),
    )


def _demands(constraints: Sequence[TrajectoryConstraint]) -> Iterator[tuple[Clearance, float]]:
    """The clearances among constraints, and what is demanded of each at a safe moment, mm."""
    for constraint in constraints:
        demand = constraint.constraint if isinstance(constraint, Softened) else constraint
        if isinstance(demand, Clearance):
            yield demand, 0.0 if isinstance(constraint, Softened) else demand.limit_mm


def _resolution_mm(chord_error_mm: float, excursion: Excursion) -> float:
    """What may be missed: the tolerance of the search or twice the smallest ball, and what chords of arcs miss."""
    return max(TOLERANCE_MM, 2.0 * (SMALLEST_RADIUS_MM + excursion.slack_mm)) + 2.0 * chord_error_mm


def _chosen_rows(table: TrajectoryTable, rows: ArrayLike | None) -> NDArray[np.int64]:
    if rows is None:
        return np.flatnonzero(table.feasible)
    given = np.asarray(rows)
    if given.size == 0:
        return np.zeros(0, np.int64)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise OptionError("rows of a table must be whole numbers in one dimension")
    if given.min() < 0 or given.max() >= len(table) or len(np.unique(given)) < len(given):
        raise OptionError(
            f"rows of a table of {len(table)} paths must lie between 0 and {len(table) - 1}, each once"
        )
    return given.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """The search of one obstacle's clearances to some paths over a breath."""

    paths: TrajectoryTable
    queries: AnatomyQueries
    surface: StructureSurface
    fraction: float
    limit_mm: float
    cap_mm: float

    def over(self, excursion: Excursion) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Least clearances (n,), and (n, m) True for every step at which the limit is not proven."""
        n = len(self.paths)
        least, reached = np.full(n, self.cap_mm), np.full(n, self.cap_mm)
        failed: list[tuple[NDArray[np.int64], slice]] = []
        # Balls with the paths for which each is still to be measured; paths of one entry stay side by side.
        waiting: list[tuple[int, NDArray[np.int64]]] = [(0, np.arange(n))] if n else []
        while waiting:
            row = np.concatenate([rows for _, rows in waiting])
            size = np.array([len(rows) for _, rows in waiting])
            centre, radius = excursion.balls([ball for ball, _ in waiting])
            room = np.repeat(self.fraction * radius, size)
            # Measured so far that an obstacle beyond reach in the whole ball is seen to be so at once.
            value = self._at(row, np.repeat(self.fraction * centre, size, axis=0), self.cap_mm + float(room.max()))
            lower = value - room
            np.minimum.at(reached, row, value)
            unsure = lower < np.minimum(reached[row], self.cap_mm) - TOLERANCE_MM
            unsure |= (lower < self.limit_mm) & (value + room >= self.limit_mm)
            # A structure that moves little is known well enough from larger balls.
            unsure &= room > SMALLEST_RADIUS_MM + excursion.slack_mm
            further: list[tuple[int, NDArray[np.int64]]] = []
            done = ~unsure
            for (ball, rows), last in zip(waiting, np.cumsum(size), strict=True):
                here = slice(last - len(rows), last)
                parts = excursion.parts(ball) if unsure[here].any() else ()
                if parts:
                    further += [(part, rows[unsure[here]]) for part in parts]
                else:
                    done[here] = True
                short = done[here] & (lower[here] < self.limit_mm)
                if short.any():
                    failed.append((rows[short], excursion.run(ball)))
            np.minimum.at(least, row[done], lower[done])
            waiting = further
        ordered = np.zeros((n, len(excursion)), dtype=np.bool_)
        for rows, run in failed:
            ordered[rows, run] = True
        # Divisions move steps about within their ball only, so the runs still hold in the order as it is now.
        unsafe = np.empty_like(ordered)
        unsafe[:, excursion.order] = ordered
        return least, unsafe

    def _at(self, row: NDArray[np.int64], displacement_mm: FloatArray, cap_mm: float) -> FloatArray:
        """Clearances of some paths while the obstacle is displaced, each by its own (k, 3)."""
        paths = self.paths
        moved = TrajectoryTable(
            paths.applicator,
            paths.entry_mm[row] - displacement_mm,
            paths.entry_normal[row],
            paths.aim_mm[row] - displacement_mm,
            paths.tip_mm[row] - displacement_mm,
            None if paths.curvature_per_mm is None else paths.curvature_per_mm[row],
        )
        return MeasuredPaths(moved, self.queries).clearance_mm(self.surface, cap_mm)


def _runs(safe: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, first place and place behind the last of every run of True in the rows of ``safe`` (n, m)."""
    edge = np.zeros((len(safe), safe.shape[1] + 1), dtype=np.int8)
    edge[:, :-1] += safe
    edge[:, 1:] -= safe
    row, begin = np.nonzero(edge > 0)
    _, end = np.nonzero(edge < 0)
    return row, begin, end
