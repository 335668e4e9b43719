"""Insertions of one case chosen, asked for more, and moved: what the chain and its loops call time and again."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.contract import CoverageSolver
from needleplan.coverage.cover import Covering, cover_target
from needleplan.coverage.fewer import fewer_insertions
from needleplan.coverage.integer_program import IntegerProgramSolver
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.refined_covering import closed, refined
from needleplan.coverage.region import TargetRegion, target_region
from needleplan.frames import FloatArray
from needleplan.plan import Evidence, Insertion
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import TrajectoryTable

#: Margin beyond the one asked for towards which a choice with fewer insertions is moved before it is proven.
_ROOM_MM = 1.0
#: Time of one search by which a choice with fewer insertions is moved: no less than this, and this share of the
#: time of a search.
_CLOSING_S, _CLOSING_SHARE = 10.0, 1.0 / 3.0
#: More insertions than any choice has.
_ANY_NUMBER = 1_000_000
#: Shares of what the physics asks for beyond the planning model, in turn.
_EXTRA_SHARES = (1.0, 0.6, 0.3)


@dataclass(frozen=True, slots=True, eq=False)
class InsertionChooser:
    """Chooses insertions of one case, time and again.

    Attributes:
        queries: the anatomy.
        zone_model: predicts the zones.
        coverage: goals, margins, what is offered.
        refines: True where chosen needles are moved continuously.
        spares: True where zones then shrink to the margin that is wanted; not where physics is still to judge what
            the margin is worth.
        table: the ranked paths.
        constraints: what is demanded of paths.
        protection: structures that no zone must come near.
        pairs: what needles must keep from each other.
        solver: chooses the paths; HiGHS where None.
        progress: called with what is being done and the fraction done.
    """

    queries: AnatomyQueries
    zone_model: EllipsoidTableModel
    coverage: CoverageOptions
    refines: bool
    spares: bool
    table: TrajectoryTable
    constraints: tuple[TrajectoryConstraint, ...]
    protection: Protection
    pairs: PairLimits
    solver: CoverageSolver | None
    progress: Callable[[str, float], None] | None

    @property
    def _inside(self) -> PairLimits | None:
        """What needles must keep from each other in the body; handles are left to the order of punctures."""
        if self.coverage.needles_at_once == 1:
            return None
        return dataclasses.replace(self.pairs, handle_radius_mm=None, guide_radius_mm=None)

    def cover(
        self,
        region: TargetRegion,
        most: int | None = None,
        with_bound: bool = False,
        levels: str | None = None,
        solver: CoverageSolver | None = None,
    ) -> Covering:
        """The coverage of a region, with no more insertions than ``most`` or the options allow."""
        coverage = self.coverage
        if most is not None:
            coverage = dataclasses.replace(coverage, maximum_insertions=most)
        if levels is not None:
            coverage = dataclasses.replace(coverage, levels=levels)
        return cover_target(
            self.table,
            self.queries,
            self.zone_model,
            coverage,
            solver or self.solver,
            protection=self.protection,
            pairs=self._inside,
            region=region,
            with_bound=with_bound,
            progress=self.progress,
        )

    def deeper(self, extra_mm: float) -> tuple[Insertion, ...] | None:
        """Insertions that hold target and margin with so many extra millimetres; None where no choice does."""
        coverage = self.coverage
        region = target_region(self.queries, coverage.margin_mm, coverage.point_count)
        covering = self.cover(region.deepened(np.full(len(region), extra_mm)))
        return covering.insertions if covering.complete else None

    def again(self, region: TargetRegion, extra_mm: FloatArray) -> tuple[Insertion, ...] | None:
        """Insertions that hold each ball by so much more, or by as large a share of it as can be; None without."""
        for share in _EXTRA_SHARES:
            covering = self.cover(region.deepened(share * extra_mm))
            if covering.complete:
                return covering.insertions
        return None

    def moved(self, covering: Covering) -> tuple[tuple[Insertion, ...], tuple[Evidence, ...], Covering]:
        """(insertions moved continuously, what came of it, the choice that they come from)."""
        bound = covering.bound
        if not self.refines:
            return covering.insertions, (), covering
        # Where the balls ask for more insertions than are allowed, as few as allowed may still do.
        known = len(covering.insertions) if covering.complete else self.coverage.maximum_insertions + 1
        if bound is None or bound.value >= known:
            return *self.refined(covering.insertions, spare=self.spares), covering
        found = fewer_insertions(
            known,
            max(1, bound.value),
            covering.matrix.region,
            self.nearly,
            self.closed,
            2.0 * self.coverage.time_limit_s,
        )
        if found is None:
            return *self.refined(covering.insertions, spare=self.spares), covering
        insertions, notes = self.refined(found.insertions, spare=self.spares)
        if insertions == found.insertions:
            notes = found.evidence
        status = "feasible" if len(insertions) > bound.value else "fewest"
        selection = dataclasses.replace(
            covering.selection, status=status, uncovered=covering.selection.uncovered[:0]
        )
        choice = found.covering.choice
        return insertions, notes, dataclasses.replace(covering, selection=selection, choice=choice)

    def nearly(self, region: TargetRegion) -> Covering:
        """The fewest insertions for other balls, with the largest ablations: a start for moving, not a plan."""
        quick = IntegerProgramSolver(self.coverage.time_limit_s, False, self.coverage.most_nodes)
        return self.cover(region, _ANY_NUMBER, levels="insertions, ablations", solver=self.solver or quick)

    def closed(
        self, insertions: tuple[Insertion, ...]
    ) -> tuple[tuple[Insertion, ...], tuple[Evidence, ...]] | None:
        """The insertions moved until they are proven to cover the solid; None where they do not come to it."""
        margin_mm = self.coverage.margin_mm
        limit_s = max(_CLOSING_S, _CLOSING_SHARE * self.coverage.time_limit_s)

        def move(
            given: Sequence[Insertion], further_mm: FloatArray
        ) -> tuple[tuple[Insertion, ...], tuple[Evidence, ...]]:
            return self.refined(given, margin_mm + _ROOM_MM, False, further_mm, limit_s)

        return closed(insertions, self.queries, self.zone_model, margin_mm, move)

    def refined(
        self,
        insertions: Sequence[Insertion],
        wanted_mm: float | None = None,
        spare: bool = True,
        further_mm: ArrayLike = (),
        time_limit_s: float | None = None,
    ) -> tuple[tuple[Insertion, ...], tuple[Evidence, ...]]:
        """The insertions moved continuously, and what came of it."""
        return refined(
            insertions,
            self.queries,
            self.zone_model,
            self.constraints,
            self.coverage,
            self.protection,
            self._inside,
            wanted_mm=wanted_mm,
            spare=spare,
            further_points_mm=further_mm,
            time_limit_s=time_limit_s,
        )
