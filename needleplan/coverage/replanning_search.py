"""One more path, or another one for a needle that waits, sought continuously: its zones must hold what is left.

What the other needles destroy is known, so only a remainder is to be held, and a place of a zone is judged by its
outermost balls alone. Paths are drawn about the entries that were screened, aimed at where a zone would hold the
remainder, and moved by random steps that shorten, the best of each generation going on: N. Hansen and A. Ostermeier,
"Completely derandomized self-adaptation in evolution strategies", Evolutionary Computation 9 (2001) 159-195, here
with a fixed schedule of steps in place of the adapted covariance. Every path that is returned passed the
constraints of the planner itself.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.offers import SizeMenu
from needleplan.coverage.protection import Protection
from needleplan.coverage.refinement_checks import PathChecks
from needleplan.coverage.region import TargetRegion
from needleplan.devices.catalogue import Applicator
from needleplan.frames import FloatArray
from needleplan.plan import Ablation, Insertion, vector3
from needleplan.trajectory.contract import TrajectoryConstraint

#: Paths drawn at first, paths of a generation, the best of them that go on, and those held against other needles.
_DRAWN, _CHILDREN, _PARENTS, _HELD = 2_000, 320, 16, 48
#: Steps of the tip, from the first generation to the last; the entry steps by twice as much.
_FIRST_STEP_MM, _LAST_STEP_MM, _GENERATIONS = 6.0, 0.3, 24
#: What a path is charged that another needle or a protected structure forbids, and one that enters no allowed skin.
_FORBIDDEN_MM, _NO_ENTRY_MM = 3.0, 50.0
#: Balls in the outermost of so many directions stand for the remainder, and so many others where two zones share it.
_DIRECTIONS, _WITHIN = 200, 300
#: A ball that a zone holds by this share of its radius is left to the proof, which cuts finer.
_SHARE_OF_RADIUS = 0.35
#: Points that the proof found outside must be held by so much.
_BESIDE_WITNESS_MM = 0.25
#: Times that a path is moved on by what the proof found outside.
_ROUNDS = 4
#: The second ablation of a path lies so far behind the first.
_LEAST_BACK_MM, _MOST_BACK_MM = 6.0, 30.0


@dataclass(frozen=True, slots=True, eq=False)
class _Paths:
    """Paths that are tried: entries and tips (n, 3), index of the size (n,), way back to a second ablation (n,)."""

    entry_mm: FloatArray
    tip_mm: FloatArray
    size: NDArray[np.int64]
    back_mm: FloatArray

    def __len__(self) -> int:
        return len(self.size)

    def part(self, rows: NDArray[np.int64]) -> "_Paths":
        return _Paths(self.entry_mm[rows], self.tip_mm[rows], self.size[rows], self.back_mm[rows])

    def with_rows(self, other: "_Paths") -> "_Paths":
        return _Paths(
            np.concatenate([self.entry_mm, other.entry_mm]),
            np.concatenate([self.tip_mm, other.tip_mm]),
            np.concatenate([self.size, other.size]),
            np.concatenate([self.back_mm, other.back_mm]),
        )

    @property
    def direction(self) -> FloatArray:
        along = self.tip_mm - self.entry_mm
        return np.asarray(along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9))


@dataclass(frozen=True, slots=True, eq=False)
class PathSearch:
    """Seeks paths whose zones hold what others leave.

    Attributes:
        queries: the anatomy.
        zone_model: predicts the zones.
        applicator: of the needles.
        menu: sizes of ablation, largest first.
        constraints: what is demanded of paths.
        protection: structures that no zone must come near; None protects none.
        entries_mm: (k, 3) entries of paths that were screened.
        end_s: time by ``time.perf_counter`` after which nothing more is tried.
    """

    queries: AnatomyQueries
    zone_model: EllipsoidTableModel
    applicator: Applicator
    menu: SizeMenu
    constraints: tuple[TrajectoryConstraint, ...]
    protection: Protection | None
    entries_mm: FloatArray
    end_s: float

    def holding(
        self,
        left: TargetRegion,
        depth_mm: FloatArray,
        blocked: Callable[[FloatArray, FloatArray], NDArray[np.bool_]],
        witnesses_of: Callable[[Insertion], FloatArray | None],
        start: Insertion | None = None,
        farthest_mm: float = np.inf,
        ablations: int = 1,
    ) -> Insertion | None:
        """A path with the largest ablations allowed along it that comes nearest to holding what is left.

        Args:
            left: target plus margin.
            depth_mm: (n,) how deep the middles of its balls lie in the zones that stay.
            blocked: (k,) True for needles, by entries (k, 3) and tips (k, 3), that may not be beside the others.
            witnesses_of: points (m, 3) that the path found still leaves out; None where all is proven.
            start: the path to be moved; None seeks anywhere.
            farthest_mm: its tip and entry move by no more.
            ablations: along the path, 1 or 2.

        Returns:
            The best path; None where none passes the constraints.
        """
        # A fixed seed: the same state gives the same paths.
        rng = np.random.default_rng(0)
        open_ = depth_mm < _SHARE_OF_RADIUS * left.radius_mm
        if not open_.any():
            return None
        points, radii = left.points_mm[open_], _SHARE_OF_RADIUS * left.radius_mm[open_]
        points, radii = _outermost(points, radii, ablations)
        paths = self._drawn(points, start, farthest_mm, ablations, rng)
        best: Insertion | None = None
        best_merit = np.inf
        judged, merit, feasible, found = self._judged(paths, points, radii, blocked, start, farthest_mm)
        rounds = 0
        for generation in range(_GENERATIONS):
            if found is not None and (best is None or merit[0] < best_merit or merit[0] <= 0.0):
                best, best_merit = found, float(merit[0])
            if best is not None and best_merit <= 0.0:
                witnesses = witnesses_of(best)
                rounds += 1
                if witnesses is None or not len(witnesses) or rounds > _ROUNDS:
                    return best
                points = np.concatenate([points, witnesses])
                radii = np.concatenate([radii, np.full(len(witnesses), _BESIDE_WITNESS_MM)])
                best_merit = np.inf
            if time.perf_counter() > self.end_s:
                break
            step = _FIRST_STEP_MM * (_LAST_STEP_MM / _FIRST_STEP_MM) ** (generation / (_GENERATIONS - 1))
            parents = judged.part(np.arange(min(_PARENTS, len(judged)), dtype=np.int64))
            paths = parents.with_rows(self._children(parents, step, ablations, rng))
            judged, merit, feasible, found = self._judged(paths, points, radii, blocked, start, farthest_mm)
        return best

    def _drawn(
        self,
        points: FloatArray,
        start: Insertion | None,
        farthest_mm: float,
        ablations: int,
        rng: np.random.Generator,
    ) -> _Paths:
        """The first paths: about the one that moves, or from screened entries to where a zone would hold the points."""
        middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
        count = _DRAWN if start is None else _CHILDREN
        size = np.zeros(count, dtype=np.int64)
        back = np.zeros(count)
        if ablations > 1:
            back = rng.uniform(_LEAST_BACK_MM, _MOST_BACK_MM, count)
        # Along the patient's axes, so that a motion of the patient cannot change what is drawn.
        axes = self.queries.anatomy.axes
        if start is not None:
            spread = rng.uniform(-1.0, 1.0, (2, count, 3)) * min(farthest_mm, _FIRST_STEP_MM) / np.sqrt(3.0)
            spread[:, 0] = 0.0
            return _Paths(
                np.asarray(start.entry_mm) + spread[0] @ axes.T,
                np.asarray(start.tip_mm) + spread[1] @ axes.T,
                size,
                back,
            )
        reach = float(np.linalg.norm(points - middle, axis=1).max())
        room = max(2.0, float(self.menu.radial_mm[0]) - reach)
        entry = self.entries_mm[rng.integers(0, len(self.entries_mm), count)]
        offset = rng.normal(size=(count, 3))
        offset *= (room * rng.uniform(0.0, 1.0, count) ** (1.0 / 3.0) / np.linalg.norm(offset, axis=1))[:, None]
        aim = middle + offset @ axes.T
        along = aim - entry
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        ahead = self.applicator.tip_to_centre_mm + 0.5 * back
        return _Paths(entry, aim + ahead[:, None] * along, size, back)

    def _children(self, parents: _Paths, step_mm: float, ablations: int, rng: np.random.Generator) -> _Paths:
        axes = self.queries.anatomy.axes
        rows = np.arange(_CHILDREN) % len(parents)
        near = parents.part(rows)
        # Some coordinates stay, so that single ones may be bettered alone.
        moved = rng.normal(size=(2, _CHILDREN, 3)) * (rng.uniform(size=(2, _CHILDREN, 1)) < 0.7)
        size = near.size + rng.integers(-1, 2, _CHILDREN) * (rng.uniform(size=_CHILDREN) < 0.2)
        back = near.back_mm
        if ablations > 1:
            back = np.clip(back + step_mm * rng.normal(size=_CHILDREN), _LEAST_BACK_MM, _MOST_BACK_MM)
        return _Paths(
            near.entry_mm + 2.0 * step_mm * moved[0] @ axes.T,
            near.tip_mm + step_mm * moved[1] @ axes.T,
            np.clip(size, 0, len(self.menu) - 1),
            back,
        )

    def _judged(
        self,
        paths: _Paths,
        points: FloatArray,
        radii: FloatArray,
        blocked: Callable[[FloatArray, FloatArray], NDArray[np.bool_]],
        start: Insertion | None,
        farthest_mm: float,
    ) -> tuple[_Paths, FloatArray, NDArray[np.bool_], Insertion | None]:
        """(paths that go on, best first; their merits, none above zero best; whether allowed; the best allowed)."""
        missing = np.maximum(self._missing_mm(paths, points, radii), 0.0)
        if start is not None:
            gone = np.maximum(
                np.linalg.norm(paths.tip_mm - np.asarray(start.tip_mm), axis=1),
                np.linalg.norm(paths.entry_mm - np.asarray(start.entry_mm), axis=1),
            )
            missing = missing + np.maximum(0.0, gone - farthest_mm)
        order = np.argsort(missing, kind="stable")[:_CHILDREN]
        paths, missing = paths.part(order), missing[order]
        insertions = self._insertions(paths)
        checks = PathChecks(self.queries, self.constraints, self.zone_model).judge(insertions)
        slack = np.nan_to_num(checks.slack.min(axis=1), neginf=-_NO_ENTRY_MM)
        merit = missing + np.maximum(0.0, -np.maximum(slack, -_NO_ENTRY_MM))
        entry = np.array([one.entry_mm for one in checks.insertions])
        paths = dataclasses.replace(paths, entry_mm=entry)
        order = np.argsort(merit, kind="stable")[: max(_HELD, _PARENTS)]
        paths, merit, allowed = paths.part(order), merit[order], checks.feasible[order]
        forbidden = blocked(paths.entry_mm, paths.tip_mm) | self._harmful(paths)
        merit = merit + _FORBIDDEN_MM * forbidden
        allowed &= ~forbidden
        again = np.argsort(merit, kind="stable")
        rows = order[again]
        paths, merit, allowed = paths.part(again), merit[again], allowed[again]
        if not allowed.any():
            return paths, merit, allowed, None
        first = int(np.argmax(allowed))
        if first:
            # What is told as the best is the best that may be.
            front = np.concatenate([[first], np.delete(np.arange(len(paths)), first)])
            paths, merit, allowed, rows = paths.part(front), merit[front], allowed[front], rows[front]
        return paths, merit, allowed, checks.insertions[int(rows[0])]

    def _missing_mm(self, paths: _Paths, points: FloatArray, radii: FloatArray) -> FloatArray:
        """(n,) by how much the ball that lies worst is not held, never understated.

        The level of a spheroid, 1 on its surface, changes by at most one over its least semi-axis a millimetre.
        """
        direction = paths.direction
        axial, radial = self.menu.axial_mm[paths.size], self.menu.radial_mm[paths.size]
        deepest = np.full((len(paths), len(points)), -np.inf)
        for share in (0.0, 1.0) if (paths.back_mm > 0.0).any() else (0.0,):
            middle = paths.tip_mm - (self.applicator.tip_to_centre_mm + share * paths.back_mm)[:, None] * direction
            along = direction @ points.T - np.einsum("ij,ij->i", direction, middle)[:, None]
            squared = (
                np.einsum("ij,ij->i", points, points)[None, :]
                - 2.0 * middle @ points.T
                + np.einsum("ij,ij->i", middle, middle)[:, None]
            )
            across = np.maximum(squared - along**2, 0.0)
            level = np.sqrt((along / axial[:, None]) ** 2 + across / radial[:, None] ** 2)
            deepest = np.maximum(deepest, (1.0 - level) * np.minimum(axial, radial)[:, None])
        return np.asarray((radii[None, :] - deepest).max(axis=1))

    def _harmful(self, paths: _Paths) -> NDArray[np.bool_]:
        """(n,) True where a zone comes too near to a protected structure."""
        harmful = np.zeros(len(paths), dtype=np.bool_)
        if self.protection is None or not self.protection.structures:
            return harmful
        axial, radial = self.menu.axial_mm.tolist(), self.menu.radial_mm.tolist()
        for share in (0.0, 1.0) if (paths.back_mm > 0.0).any() else (0.0,):
            behind = self.applicator.tip_to_centre_mm + share * paths.back_mm
            middle = paths.tip_mm - behind[:, None] * paths.direction
            largest, _ = self.protection.largest_allowed(middle, paths.direction, axial, radial)
            harmful |= largest > paths.size
        return harmful

    def _insertions(self, paths: _Paths) -> list[Insertion]:
        name = self.applicator.name
        found = []
        for entry, tip, along, size, back in zip(
            paths.entry_mm, paths.tip_mm, paths.direction, paths.size.tolist(), paths.back_mm.tolist(), strict=True
        ):
            stops = (0.0, back) if back > 0.0 else (0.0,)
            ablations = tuple(Ablation(vector3(tip - stop * along), *self.menu.settings[size]) for stop in stops)
            found.append(Insertion(vector3(entry), vector3(tip), name, ablations))
        return found


def _outermost(points: FloatArray, radii: FloatArray, ablations: int) -> tuple[FloatArray, FloatArray]:
    """The balls that a convex zone must hold to hold all, and some within where several zones share them."""
    k = np.arange(_DIRECTIONS) + 0.5
    height, turn = 1.0 - 2.0 * k / _DIRECTIONS, np.pi * (1.0 + np.sqrt(5.0)) * k
    flat = np.sqrt(1.0 - height**2)
    directions = np.stack([flat * np.cos(turn), flat * np.sin(turn), height])
    rows = (points @ directions + radii[:, None]).argmax(axis=0)
    if ablations > 1:
        rows = np.concatenate([rows, np.linspace(0, len(points) - 1, min(len(points), _WITHIN)).astype(np.int64)])
    rows = np.unique(rows)
    return points[rows], radii[rows]


def smallest_doing(
    insertion: Insertion, menu: SizeMenu, does: Callable[[Insertion], bool], end_s: float
) -> Insertion:
    """The insertion with the least sizes of ablation that still do, tried from the smallest upwards."""
    for setting in reversed(menu.settings):
        if time.perf_counter() > end_s:
            break
        ablations = tuple(dataclasses.replace(a, power_w=setting[0], duration_s=setting[1]) for a in insertion.ablations)
        if ablations == insertion.ablations:
            break
        smaller = dataclasses.replace(insertion, ablations=ablations)
        if does(smaller):
            return smaller
    return insertion

