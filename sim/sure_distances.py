"""Lower bounds of the distances between a moving needle and structures, from where it was measured before.

A signed distance changes by at most as much as a point moves. So a point of the needle that has moved by w from one
whose distance was at least d is at least d - w away. Breathing brings a needle back to where it was: of all moments
that are remembered the one that says most counts, for each structure by itself.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.compiled import compiled
from needleplan.frames import FloatArray

#: Moments that are remembered: at ten a second a little more than a breath.
MOMENTS = 48


@compiled
def lengths_along(points: Any, runs: Any) -> Any:
    """(k,) length from the start of its run to each point."""
    along = np.zeros(len(points))
    for r in range(len(runs) - 1):
        for i in range(runs[r] + 1, runs[r + 1]):
            square = 0.0
            for k in range(3):
                square += (points[i, k] - points[i - 1, k]) ** 2
            along[i] = along[i - 1] + np.sqrt(square)
    return along


@compiled
def _point_along(points: Any, last: int, along: Any, place: float, at: int, out: Any) -> int:
    """The point of a run at length ``place``, at most its end ``last``; returns the corner before it."""
    while at < last and along[at + 1] <= place:
        at += 1
    share = 0.0
    if at < last and place > along[at]:
        share = (place - along[at]) / (along[at + 1] - along[at])
    for k in range(3):
        out[k] = points[at, k] if share == 0.0 else points[at, k] + share * (points[at + 1, k] - points[at, k])
    return at


@compiled
def _ways(
    now: Any, now_runs: Any, now_along: Any, then: Any, then_runs: Any, then_along: Any, way: Any, piece: Any
) -> int:
    """How far the needle has moved, stretch by stretch.

    Points at equal length from the start of the run are compared, and those beyond the end with it. Between two
    corners of either polyline both are linear, so the greatest distance is at one of them.

    Args:
        way: receives the greatest distance of a stretch from its like then.
        piece: receives the corner of ``then`` at which the piece begins in which that lies.

    Returns:
        Number of stretches.
    """
    here, there = np.empty(3), np.empty(3)
    count = 0
    for r in range(len(now_runs) - 1):
        a, b = now_runs[r], now_runs[r + 1] - 1
        c, d = then_runs[r], then_runs[r + 1] - 1
        i, j = a, c
        in_now, in_then, before = a, c, -1.0
        while i <= b:
            if j > d or now_along[i] <= then_along[j]:
                place = now_along[i]
                i += 1
            else:
                place = then_along[j]
                j += 1
            started = in_then
            in_now = _point_along(now, b, now_along, place, in_now, here)
            in_then = _point_along(then, d, then_along, place, in_then, there)
            square = 0.0
            for k in range(3):
                square += (here[k] - there[k]) ** 2
            moved = np.sqrt(square)
            way[count], piece[count] = max(moved, before), started
            count += 1
            before = moved
    return count


@compiled
def _bounds(
    now: Any, now_runs: Any, now_along: Any, points: Any, counts: Any, runs: Any, run_counts: Any, along: Any,
    measured: Any, known: Any, sure: Any,
) -> None:  # fmt: skip
    """Greatest over the moments of the least over the needle of what was known less the way, for each structure."""
    room = len(now) + points.shape[1]
    way, piece = np.empty(room), np.empty(room, np.int64)
    sure[:] = -np.inf
    for m in range(len(counts)):
        if counts[m] == 0 or run_counts[m] != len(now_runs):
            continue
        stretches = _ways(
            now, now_runs, now_along, points[m], runs[m, : run_counts[m]], along[m], way, piece
        )  # fmt: skip
        for s in range(len(sure)):
            if not measured[m, s]:
                continue
            least = np.inf
            for k in range(stretches):
                least = min(least, known[m, s, piece[k]] - way[k])
                if least <= sure[s]:
                    break
            sure[s] = max(sure[s], least)


@dataclass(frozen=True, slots=True, eq=False)
class Shaft:
    """A needle's centre line at one moment: runs of points, between which the tissue has slid apart.

    Attributes:
        points: (k, 3).
        runs: first point of each run, and k.
        along: (k,) length from the start of the run.
        pieces: (m,) point at which each straight piece starts; a run of one point is a piece without length.
        ends: (m,) point at which it ends.
    """

    points: FloatArray
    runs: NDArray[np.int64]
    along: FloatArray
    pieces: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, points: FloatArray, breaks: NDArray[np.int64]) -> "Shaft":
        """The centre line through ``points`` (k, 3), broken before the points ``breaks``."""
        runs = np.concatenate([[0], breaks, [len(points)]])
        pieces = [np.arange(a, max(b - 1, a + 1)) for a, b in pairwise(runs.tolist())]
        ends = [np.arange(min(a + 1, b - 1), b) for a, b in pairwise(runs.tolist())]
        return cls(points, runs, lengths_along(points, runs), np.concatenate(pieces), np.concatenate(ends))

    @property
    def start(self) -> FloatArray:
        """(m, 3) first ends of the straight pieces."""
        return self.points[self.pieces]

    @property
    def end(self) -> FloatArray:
        """(m, 3) second ends of the straight pieces."""
        return self.points[self.ends]


class SureDistances:
    """What is known of the signed distances between one needle and several structures.

    Args:
        structures: how many there are.
    """

    def __init__(self, structures: int) -> None:
        self._structures = structures
        self._next = 0
        self._counts = np.zeros(MOMENTS, dtype=np.int64)
        self._run_counts = np.zeros(MOMENTS, dtype=np.int64)
        self._measured = np.zeros((MOMENTS, structures), dtype=np.bool_)
        self._points, self._along = np.zeros((MOMENTS, 0, 3)), np.zeros((MOMENTS, 0))
        self._runs = np.zeros((MOMENTS, 1), dtype=np.int64)
        self._known = np.zeros((MOMENTS, structures, 0))

    def at_least(self, shaft: Shaft) -> FloatArray:
        """(n,) no point of ``shaft`` is nearer to a structure; minus infinity where nothing is known."""
        sure = np.empty(self._structures)
        _bounds(
            shaft.points, shaft.runs, shaft.along, self._points, self._counts, self._runs, self._run_counts,
            self._along, self._measured, self._known, sure,
        )  # fmt: skip
        return sure

    def remember(self, shaft: Shaft, measured: dict[int, FloatArray]) -> None:
        """Keep what was measured at ``shaft``: for some structures what each piece (m,) is away at least."""
        if not measured:
            return
        k = len(shaft.points)
        if k > self._points.shape[1]:
            self._make_room(2 * k)
        moment, self._next = self._next, (self._next + 1) % MOMENTS
        self._counts[moment], self._run_counts[moment] = k, len(shaft.runs)
        self._points[moment, :k], self._along[moment, :k] = shaft.points, shaft.along
        self._runs[moment, : len(shaft.runs)] = shaft.runs
        self._measured[moment] = False
        for structure, distances in measured.items():
            self._measured[moment, structure] = True
            known = self._known[moment, structure]
            # The last point of a run belongs to the piece that ends there.
            known[shaft.ends] = distances
            known[shaft.pieces] = distances

    def _make_room(self, k: int) -> None:
        """Room for shafts of ``k`` points; what is known of shorter ones is kept."""
        more = k - self._points.shape[1]
        self._points = np.pad(self._points, ((0, 0), (0, more), (0, 0)))
        self._along = np.pad(self._along, ((0, 0), (0, more)))
        self._runs = np.pad(self._runs, ((0, 0), (0, more)))
        self._known = np.pad(self._known, ((0, 0), (0, 0), (0, more)))
