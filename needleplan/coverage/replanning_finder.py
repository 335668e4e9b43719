"""The smallest change that gives back what a plan promised: what is tried, one kind of change after the other.

First what is left of the plan as it is; then other ablations along the needles that stand and the paths that were
planned; then a planned path moved; then one new path, then two, sought continuously; then all screened paths.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.coverage.advance import advanced
from needleplan.coverage.certificate import certify
from needleplan.coverage.contract import CoverageSolver
from needleplan.coverage.cover import cover_target
from needleplan.coverage.offers import SizeMenu
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.region import TargetRegion
from needleplan.coverage.replanning_choices import Choice, ChoiceJudge, FoundChoices, with_needle
from needleplan.coverage.replanning_search import PathSearch, smallest_doing
from needleplan.coverage.replanning_tables import renumbered, table_of, with_feasible
from needleplan.frames import FloatArray
from needleplan.plan import Insertion
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import TrajectoryTable

#: Distance between ablations that are offered along needles that stand and paths that were planned: these are few.
_FINE_STEP_MM = 1.0
#: A planned path that moves farther is a new one.
_MOVED_MM = 10.0
#: By so much of the time limit each kind of change must have been tried.
_MOVED_SHARE, _ONE_SHARE, _TWO_SHARE = 0.2, 0.5, 0.9
#: An exact search asks for its answers one after the other; each may take this share of what is left.
_SHARE_OF_LEFT = 0.25
#: Share of the time limit that must be left for all screened paths to be looked at, and no search has less than so
#: many seconds.
_ALL_SHARE, _LEAST_S = 0.25, 0.2


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceFinder:
    """Finds what may be left to do.

    Attributes:
        judge: judges it.
        ranked: screened and ranked paths.
        constraints: what is demanded of paths.
        options: margin and what is offered.
        solver: chooses among paths; HiGHS where None.
        advance_mm: needles that stand may be pushed on by so much.
        refine: True where paths may be moved continuously.
        start_s: when the search began, by ``time.perf_counter``.
        progress: called with what is being done and the fraction done.
    """

    judge: ChoiceJudge
    ranked: TrajectoryTable
    constraints: tuple[TrajectoryConstraint, ...]
    options: CoverageOptions
    solver: CoverageSolver | None
    advance_mm: float
    refine: bool
    start_s: float
    progress: Callable[[str, float], None] | None

    def found(self) -> FoundChoices:
        """All that was tried until something restored what the plan promised, or the time was over."""
        judge = self.judge
        kept = judge.judged(judge.state.as_planned)
        if judge.restores(kept) and kept.covers:
            return FoundChoices(kept, (kept,), 0, True)
        placed = self._placed()
        few = table_of(judge.state.waiting, self.ranked, judge.queries)
        choices = [kept]
        offered = self._covered(placed, few, _FINE_STEP_MM)
        choices += [choice for choice, _ in offered]
        if judge.restores(kept):
            # The others are told: they may achieve more.
            return FoundChoices(kept, tuple(choices), 0, True)
        # Along the needles that stand and the planned paths alone it was just found impossible.
        least = int(any(total is not None for _, total in offered) or not offered)
        # Paths that are sought are straight: beside bent ones they would be of another kind.
        straight = self.ranked.curvature_per_mm is None
        if self.refine and straight and not self._any_restores(choices):
            for step in (self._moved, self._with_one, self._with_two):
                for choice in step(tuple(choices)):
                    choices.append(choice)
                    # What leaves a little goes on to others of its kind, that may leave nothing.
                    if judge.restores(choice) and choice.covers:
                        break
                if self._any_restores(choices):
                    break
        if not self._any_restores(choices) and self._left_s > _ALL_SHARE * self.options.time_limit_s:
            for choice, total in self._covered(placed, with_feasible(few, self.ranked), None):
                choices.append(choice)
                if total is not None and least:
                    least = max(least, total - len(judge.state.waiting))
        allowed = [choice for choice in choices if choice.allowed] or [judge.judged(())]
        best = min(allowed, key=judge.key)
        if judge.restores(best):
            # What was found is better evidence than a bound over the offered paths.
            least = min(least, judge.added(best))
        in_time = judge.restores(best) or self._left_s > _ALL_SHARE * self.options.time_limit_s
        return FoundChoices(best, tuple(choices), least, in_time)

    @property
    def _left_s(self) -> float:
        return self.start_s + self.options.time_limit_s - time.perf_counter()

    def _any_restores(self, choices: Sequence[Choice]) -> bool:
        return any(self.judge.restores(choice) for choice in choices)

    def _placed(self) -> tuple[Insertion, ...]:
        """The needles that stand, each with the deepest tip that it may be brought to."""
        judge = self.judge
        standing = tuple(needle.carrying((), self.ranked.applicator.name) for needle in judge.state.measured)
        if self.advance_mm == 0.0:
            return standing
        return advanced(standing, judge.queries, self.ranked, self.constraints, judge.pairs, self.advance_mm)

    def _covered(
        self, placed: tuple[Insertion, ...], table: TrajectoryTable, step_mm: float | None
    ) -> list[tuple[Choice, int | None]]:
        """The best of a table of paths with stops so far apart, and its punctures where fewer are proven not to do.

        None where there is nothing to choose from.
        """
        judge, state = self.judge, self.judge.state
        left = judge.region
        if state.delivered:
            left = left.without(judge.zone_model.zone(state.delivered))
        allowed = self.options.maximum_insertions - len(self._begun)
        if allowed < 1:
            table = table.subset(np.empty(0, dtype=np.int64))
        if not placed and not table.feasible.any():
            return []
        limit_s = max(_LEAST_S, _SHARE_OF_LEFT * self._left_s)
        options = dataclasses.replace(self.options, maximum_insertions=max(1, allowed), time_limit_s=limit_s)
        if step_mm is not None:
            # Every path of the plan is offered, however alike some are.
            options = dataclasses.replace(options, pull_back_mm=step_mm, path_separation_deg=0.0)
        covering = cover_target(
            table,
            judge.queries,
            judge.zone_model,
            options,
            self.solver,
            protection=judge.protection,
            pairs=judge.pairs,
            region=left,
            placed=placed,
            with_bound=False,
            progress=self.progress,
        )
        chosen = renumbered(covering.insertions, placed, state)
        choice = self._settled(judge.judged(chosen))
        standing = {one.order for one in placed}
        total = sum(one.order not in standing for one in choice.insertions)
        return [(choice, total if covering.selection.status in ("optimal", "fewest") else None)]

    def _settled(self, choice: Choice) -> Choice:
        """The choice with ablations as they were planned wherever these do as well."""
        for one in self.judge.state.as_planned:
            now = next((other for other in choice.insertions if other.order == one.order), None)
            if now is None or now.ablations == one.ablations:
                continue
            whole = tuple(one if other is now else other for other in choice.insertions)
            back = self.judge.judged(whole)
            if back.covers >= choice.covers and self.judge.key(back) < self.judge.key(choice):
                choice = back
        return choice

    @property
    def _begun(self) -> set[int]:
        state = self.judge.state
        return {one.order for one in state.delivered} | {needle.order for needle in state.measured}

    def _bases(self, choices: Sequence[Choice]) -> list[Choice]:
        """What new paths are added to: the rest of the plan, other ablations along it, and it with a path moved.

        Of the rest of the plan that is left out which needles that stand exclude.
        """
        judge = self.judge
        rest: tuple[Insertion, ...] = ()
        for one in judge.state.as_planned:
            if judge.allows((*rest, one)):
                rest = (*rest, one)
        bases = [judge.judged(rest)]
        bases += sorted((c for c in choices if c.allowed and not judge.added(c)), key=judge.key)
        seen: list[tuple[Insertion, ...]] = []
        unlike = []
        for base in bases:
            if base.insertions not in seen:
                seen.append(base.insertions)
                unlike.append(base)
        return unlike[:3]

    def _moved(self, choices: Sequence[Choice]) -> Iterator[Choice]:
        """One planned path moved, the others as they are."""
        for planned in self.judge.state.waiting:
            for base in self._bases(choices):
                rest = tuple(one for one in base.insertions if one.order != planned.order)
                number = min(2, len(planned.ablations))
                choice = self._joined(rest, planned.order, _MOVED_SHARE, number, planned)
                if choice is not None:
                    yield choice

    def _with_one(self, choices: Sequence[Choice]) -> Iterator[Choice]:
        """One new path, the others as they are."""
        for number in (1, 2):
            for base in self._bases(choices):
                if self._may_add(base.insertions, 1):
                    choice = self._joined(base.insertions, self._free, _ONE_SHARE, number)
                    if choice is not None:
                        yield choice

    def _with_two(self, choices: Sequence[Choice]) -> Iterator[Choice]:
        """Two new paths: one for either half of what is left, and one for the rest of it."""
        for base in self._bases(choices):
            if not self._may_add(base.insertions, 2):
                continue
            for half in self._halves(base.insertions):
                first, second = self._free, self._free + 1
                choice = self._joined(base.insertions, first, _TWO_SHARE, 2, within=half)
                # What one leaves the other holds, in turn.
                for order in (second, first, second):
                    if choice is None:
                        break
                    rest = tuple(one for one in choice.insertions if one.order != order)
                    choice = self._joined(rest, order, _TWO_SHARE, 2)
                    if choice is not None:
                        yield choice

    @property
    def _free(self) -> int:
        """The first number that no needle has."""
        state = self.judge.state
        return max((one.order for one in (*state.planned, *state.delivered)), default=0) + 1

    def _may_add(self, insertions: Sequence[Insertion], count: int) -> bool:
        begun = self._begun
        new = sum(one.order not in begun for one in insertions)
        return len(begun) + new + count <= self.options.maximum_insertions

    def _halves(self, insertions: Sequence[Insertion]) -> list[TargetRegion]:
        """What insertions leave, cut across where it is longest."""
        left = self.judge.region
        whole = (*self.judge.state.delivered, *insertions)
        if whole:
            left = left.without(self.judge.zone_model.zone(whole))
        if len(left) < 2:
            return []
        offset = left.points_mm - left.points_mm.mean(axis=0)
        along = offset @ np.linalg.svd(offset, full_matrices=False)[2][0]
        return [left.part(along <= 0.0), left.part(along > 0.0)]

    def _joined(
        self,
        rest: tuple[Insertion, ...],
        order: int,
        share: float,
        ablations: int,
        start: Insertion | None = None,
        within: TargetRegion | None = None,
    ) -> Choice | None:
        """Insertions with one more path that holds what they leave as far as can be; None without any."""
        judge = self.judge
        entries = self.ranked.entry_mm[self.ranked.feasible]
        end_s = self.start_s + share * self.options.time_limit_s
        if time.perf_counter() > end_s or (start is None and not len(entries)):
            return None
        menu = SizeMenu.of_table(judge.zone_model.table(self.ranked.applicator.name), self.options.setting_count)
        search = PathSearch(
            judge.queries,
            judge.zone_model,
            self.ranked.applicator,
            menu,
            self.constraints,
            judge.protection,
            entries,
            end_s,
        )
        left = judge.region if within is None else within
        others = (*judge.state.delivered, *rest)
        depth = np.full(len(left), -np.inf)
        if any(one.ablations for one in others):
            depth = judge.zone_model.zone(others).signed_distance_mm(left.points_mm)

        def witnesses(path: Insertion) -> FloatArray | None:
            if within is not None:
                return None
            zone = judge.zone_model.zone((*others, path))
            found = certify(judge.queries, zone, judge.region.margin_mm)
            return None if found.covered else np.array(found.witnesses_mm, dtype=np.float64).reshape(-1, 3)

        path = search.holding(left, depth, judge.blocked_beside(rest), witnesses, start, _MOVED_MM, ablations)
        if path is None:
            return None
        choice = judge.judged(with_needle(rest, path, order))
        if within is None and judge.restores(choice):

            def does(smaller: Insertion) -> bool:
                less = judge.judged(with_needle(rest, smaller, order))
                return judge.restores(less) and less.covers >= choice.covers

            path = smallest_doing(path, menu, does, self.start_s + self.options.time_limit_s)
            choice = judge.judged(with_needle(rest, path, order))
        return choice
