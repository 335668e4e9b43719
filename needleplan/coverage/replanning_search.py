"""One more path, or another one for a needle that waits, sought continuously: its zones must hold what is left.

What the other needles destroy is known, so only a remainder is to be held, and a place of a zone is judged by its
outermost balls alone. Paths are drawn about the entries that were screened, aimed at where a zone would hold the
remainder, and moved by random steps, the best of each generation going on: an evolution strategy of many parents
(H.-G. Beyer and H.-P. Schwefel, "Evolution strategies: a comprehensive introduction", Natural Computing 1 (2002)
3-52) whose steps shorten by a fixed schedule. Every path that is returned passed the planner's own constraints.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.offers import SizeMenu
from needleplan.coverage.protection import Protection
from needleplan.coverage.refinement_checks import PathChecks
from needleplan.coverage.region import TargetRegion
from needleplan.coverage.replanning_paths import TriedPaths, outermost, widest_mm
from needleplan.devices.catalogue import Applicator
from needleplan.frames import FloatArray
from needleplan.plan import Insertion
from needleplan.trajectory.contract import TrajectoryConstraint

#: Paths drawn at first, paths of a generation, the best of them that go on, and those held against other needles.
_DRAWN, _CHILDREN, _PARENTS, _HELD = 2_000, 256, 16, 96
#: Steps of the tip, from the first generation to the last; the entry steps by twice as much.
_FIRST_STEP_MM, _LAST_STEP_MM, _GENERATIONS = 6.0, 0.3, 24
#: Generations without a path that is better by a fiftieth, after which no more is hoped for.
_STALLED = 8
#: What a path is charged that another needle forbids, and one that enters no allowed skin.
_FORBIDDEN_MM, _NO_ENTRY_MM = 3.0, 50.0
#: What a zone is charged of which only its surface tells that it comes too near to a structure.
_BARELY_MM = 0.5
#: A ball that a zone holds by this share of its radius is left to the proof, which cuts finer.
_SHARE_OF_RADIUS = 0.35
#: Points that the proof found outside must be held by so much.
_BESIDE_WITNESS_MM = 0.25
#: Times that a path is moved on by what the proof found outside.
_ROUNDS = 4
#: The second ablation of a path lies so far behind the first.
_LEAST_BACK_MM, _MOST_BACK_MM = 6.0, 30.0


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
            The best path; None where none passes the constraints, or what is left is wider than any zone.
        """
        # A fixed seed: the same state gives the same paths.
        rng = np.random.default_rng(0)
        open_ = depth_mm < _SHARE_OF_RADIUS * left.radius_mm
        if not open_.any():
            return None
        points, radii = left.points_mm[open_], _SHARE_OF_RADIUS * left.radius_mm[open_]
        points, radii = outermost(points, radii, self.queries.anatomy.axes, ablations)
        if widest_mm(points, radii) > 2.0 * self._reach_mm + (_MOST_BACK_MM if ablations > 1 else 0.0):
            return None
        paths = self._drawn(points, start, farthest_mm, ablations, rng)
        best: Insertion | None = None
        best_merit = np.inf
        judged, merit, found = self._judged(paths, points, radii, blocked, start, farthest_mm)
        rounds, stalled, least = 0, 0, np.inf
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
                best_merit = least = np.inf
            stalled = 0 if merit.min() < 0.98 * least else stalled + 1
            least = min(least, float(merit.min()))
            if stalled >= _STALLED or time.perf_counter() > self.end_s:
                break
            step = _FIRST_STEP_MM * (_LAST_STEP_MM / _FIRST_STEP_MM) ** (generation / (_GENERATIONS - 1))
            parents = judged.part(np.arange(min(_PARENTS, len(judged)), dtype=np.int64))
            paths = parents.with_rows(self._children(parents, step, ablations, rng))
            judged, merit, found = self._judged(paths, points, radii, blocked, start, farthest_mm)
        return best

    def _drawn(
        self,
        points: FloatArray,
        start: Insertion | None,
        farthest_mm: float,
        ablations: int,
        rng: np.random.Generator,
    ) -> TriedPaths:
        """The first paths: about the one that moves, or from screened entries to where a zone holds the points."""
        count = _DRAWN if start is None else _CHILDREN
        # Near what is protected only small zones may be: every other path is tried with one of any size.
        size = rng.integers(0, len(self.menu), count) * (np.arange(count) % 2)
        back = np.zeros(count)
        if ablations > 1:
            back = rng.uniform(_LEAST_BACK_MM, _MOST_BACK_MM, count)
        # Along the patient's axes, so that a motion of the patient cannot change what is drawn.
        axes = self.queries.anatomy.axes
        if start is not None:
            spread = rng.uniform(-1.0, 1.0, (2, count, 3)) * min(farthest_mm, _FIRST_STEP_MM) / np.sqrt(3.0)
            spread[:, 0] = 0.0
            return TriedPaths(
                np.asarray(start.entry_mm) + spread[0] @ axes.T,
                np.asarray(start.tip_mm) + spread[1] @ axes.T,
                size,
                back,
            )
        local = points @ axes
        middle = 0.5 * axes @ (local.min(axis=0) + local.max(axis=0))
        reach = float(np.linalg.norm(points - middle, axis=1).max())
        room = max(2.0, float(self.menu.radial_mm[0]) - reach)
        entry = self.entries_mm[rng.integers(0, len(self.entries_mm), count)]
        offset = rng.normal(size=(count, 3))
        offset *= (room * rng.uniform(0.0, 1.0, count) ** (1.0 / 3.0) / np.linalg.norm(offset, axis=1))[:, None]
        aim = middle + offset @ axes.T
        along = aim - entry
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        ahead = self.applicator.tip_to_centre_mm + 0.5 * back
        return TriedPaths(entry, aim + ahead[:, None] * along, size, back)

    def _children(
        self, parents: TriedPaths, step_mm: float, ablations: int, rng: np.random.Generator
    ) -> TriedPaths:
        axes = self.queries.anatomy.axes
        rows = np.arange(_CHILDREN) % len(parents)
        near = parents.part(rows)
        # Some coordinates stay, so that single ones may be bettered alone.
        moved = rng.normal(size=(2, _CHILDREN, 3)) * (rng.uniform(size=(2, _CHILDREN, 1)) < 0.7)
        size = near.size + rng.integers(-1, 2, _CHILDREN) * (rng.uniform(size=_CHILDREN) < 0.2)
        back = near.back_mm
        if ablations > 1:
            back = np.clip(back + step_mm * rng.normal(size=_CHILDREN), _LEAST_BACK_MM, _MOST_BACK_MM)
        return TriedPaths(
            near.entry_mm + 2.0 * step_mm * moved[0] @ axes.T,
            near.tip_mm + step_mm * moved[1] @ axes.T,
            np.clip(size, 0, len(self.menu) - 1),
            back,
        )

    def _judged(
        self,
        paths: TriedPaths,
        points: FloatArray,
        radii: FloatArray,
        blocked: Callable[[FloatArray, FloatArray], NDArray[np.bool_]],
        start: Insertion | None,
        farthest_mm: float,
    ) -> tuple[TriedPaths, FloatArray, Insertion | None]:
        """(paths that go on, the best allowed one first; how much each is short of, 0 best; that best one)."""
        missing = np.maximum(self._missing_mm(paths, points, radii), 0.0)
        if start is not None:
            gone = np.maximum(
                np.linalg.norm(paths.tip_mm - np.asarray(start.tip_mm), axis=1),
                np.linalg.norm(paths.entry_mm - np.asarray(start.entry_mm), axis=1),
            )
            missing = missing + np.maximum(0.0, gone - farthest_mm)
        order = np.argsort(missing, kind="stable")[:_CHILDREN]
        paths, missing = paths.part(order), missing[order]
        insertions = paths.insertions(self.applicator.name, self.menu)
        checks = PathChecks(self.queries, self.constraints, self.zone_model).judge(insertions)
        slack = np.nan_to_num(checks.slack.min(axis=1), neginf=-_NO_ENTRY_MM)
        merit = missing + np.maximum(0.0, -np.maximum(slack, -_NO_ENTRY_MM))
        entry = np.array([one.entry_mm for one in checks.insertions])
        paths = dataclasses.replace(paths, entry_mm=entry)
        order = np.argsort(merit, kind="stable")[: max(_HELD, _PARENTS)]
        paths, merit, allowed = paths.part(order), merit[order], checks.feasible[order]
        # Paths longer than a needle cannot be held against others.
        length = np.linalg.norm(paths.tip_mm - paths.entry_mm, axis=1)
        real = np.flatnonzero((length < self.applicator.usable_length_mm) & (length > 1.0))
        barred = np.ones(len(paths), dtype=np.bool_)
        barred[real] = blocked(paths.entry_mm[real], paths.tip_mm[real])
        too_near_mm = self._too_near_mm(paths)
        merit = merit + _FORBIDDEN_MM * barred + too_near_mm
        allowed &= ~barred & (too_near_mm == 0.0)
        again = np.argsort(merit, kind="stable")
        rows = order[again]
        paths, merit, allowed = paths.part(again), merit[again], allowed[again]
        if not allowed.any():
            return paths, merit, None
        first = int(np.argmax(allowed))
        if first:
            # What is told as the best is the best that may be.
            front = np.concatenate([[first], np.delete(np.arange(len(paths)), first)])
            paths, merit, rows = paths.part(front), merit[front], rows[front]
        return paths, merit, checks.insertions[int(rows[0])]

    @property
    def _reach_mm(self) -> float:
        return float(max(self.menu.axial_mm[0], self.menu.radial_mm[0]))

    def _missing_mm(self, paths: TriedPaths, points: FloatArray, radii: FloatArray) -> FloatArray:
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

    def _too_near_mm(self, paths: TriedPaths) -> FloatArray:
        """(n,) about how much nearer than allowed zones come to protected structures; 0 only where they do not."""
        too_near = np.zeros(len(paths))
        if self.protection is None or not len(paths):
            return too_near
        axial, radial = self.menu.axial_mm[paths.size], self.menu.radial_mm[paths.size]
        least, most = np.minimum(axial, radial), np.maximum(axial, radial)
        for share in (0.0, 1.0) if (paths.back_mm > 0.0).any() else (0.0,):
            behind = self.applicator.tip_to_centre_mm + share * paths.back_mm
            middle = paths.tip_mm - behind[:, None] * paths.direction
            for one in self.protection.structures:
                if not len(one.points_mm):
                    continue
                gap = one.gap_mm(middle)
                asked = one.margin_mm + one.spacing_mm
                too_near = np.maximum(too_near, least + one.margin_mm - gap)
                # Neither the ball within the zone nor the one about it decides.
                rows = np.flatnonzero((too_near <= 0.0) & (gap < most + asked))
                if len(rows):
                    zones = SpheroidUnion(middle[rows], paths.direction[rows], axial[rows], radial[rows])
                    too_near[rows] = np.where(zones.reaching(one.points_mm, asked), _BARELY_MM, 0.0)
        return too_near


def smallest_doing(
    insertion: Insertion, menu: SizeMenu, does: Callable[[Insertion], bool], end_s: float
) -> Insertion:
    """The insertion with the least sizes of ablation that still do, tried from the smallest upwards."""
    for setting in reversed(menu.settings):
        if time.perf_counter() > end_s:
            break
        ablations = tuple(
            dataclasses.replace(a, power_w=setting[0], duration_s=setting[1]) for a in insertion.ablations
        )
        if ablations == insertion.ablations:
            break
        smaller = dataclasses.replace(insertion, ablations=ablations)
        if does(smaller):
            return smaller
    return insertion
