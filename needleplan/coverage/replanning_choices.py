"""What may be left to do in a treatment that deviates from its plan, and the best of it."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.advance import advanced
from needleplan.coverage.certificate import CoverageCertificate
from needleplan.coverage.contract import CoverageSolver
from needleplan.coverage.cover import cover_target
from needleplan.coverage.needle_pairs import pair_conflicts
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.refined_covering import refined
from needleplan.coverage.region import TargetRegion
from needleplan.coverage.region_certificate import certify_region
from needleplan.coverage.treatment_state import TreatmentState
from needleplan.frames import FloatArray
from needleplan.plan import Insertion
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import TrajectoryTable

#: Distance between ablations that are offered along needles that stand and paths that were planned: these are few.
_FINE_STEP_MM = 1.0
#: A protected structure is kept to its distance but for rounding.
_ROUNDING_MM = 1e-6
#: Insertions whose entries (mm) and directions differ by less go along one path.
_SAME_PATH = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Something that may be left to do.

    Attributes:
        insertions: what is to be done.
        certificate: what is proven of it with what was delivered; None before it was judged.
        missing_ml: volume that is left, the target's weighted above its margin's.
        proven: True where the solver proved that fewer punctures do not do.
        kept: True where it is the rest of the plan as it is.
    """

    insertions: tuple[Insertion, ...]
    certificate: CoverageCertificate | None = None
    missing_ml: float = 0.0
    proven: bool = False
    kept: bool = False

    @property
    def covers(self) -> bool:
        """True where it is proven to cover target and margin."""
        return self.certificate is not None and self.certificate.covered

    def punctures(self, standing: frozenset[int]) -> int:
        """Punctures still to be made, where some needles stand."""
        return sum(one.order not in standing for one in self.insertions)

    def key(self, standing: frozenset[int], waiting: frozenset[int]) -> tuple[float, ...]:
        """What makes it better than another, less before more: what it leaves, punctures, changes, ablations."""
        missing = 0.0 if self.covers else round(self.missing_ml, 6)
        added = sum(one.order not in standing | waiting for one in self.insertions)
        ablations = sum(len(one.ablations) for one in self.insertions)
        return (
            float(not self.covers),
            missing,
            float(self.punctures(standing)),
            float(not self.kept),
            float(added),
            float(ablations),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceFinder:
    """Finds and judges what may be left to do."""

    state: TreatmentState
    queries: AnatomyQueries
    ranked: TrajectoryTable
    constraints: tuple[TrajectoryConstraint, ...]
    zone_model: EllipsoidTableModel
    options: CoverageOptions
    region: TargetRegion
    protection: Protection | None
    pairs: PairLimits | None
    solver: CoverageSolver | None
    progress: Callable[[str, float], None] | None

    def best(self, advance_mm: float, refine: bool) -> Choice:
        """The best of what may be left to do; the first of equals."""
        standing = frozenset(needle.order for needle in self.state.measured)
        kept = Choice(self.state.as_planned, kept=True)
        choices = [self.judged(kept)] if self._allowed(kept.insertions) else []
        placed = self._placed(advance_mm)
        left = self.region
        if self.state.delivered:
            left = left.without(self.zone_model.zone(self.state.delivered))
        few = _of_insertions(self.state.waiting, self.ranked, self.queries)
        choices += (offered := self._covered(left, placed, few, _FINE_STEP_MM))
        # One puncture is the fewest: along the needles that stand alone it was just found impossible.
        if not any(choice.covers and choice.punctures(standing) <= 1 for choice in choices):
            choices += (offered := self._covered(left, placed, _with_feasible(few, self.ranked), None))
        if refine and not self.state.delivered and kept.insertions:
            choices += self._moved(kept, choices, standing)
        if not choices:
            return self.judged(Choice(()))
        waiting = frozenset(one.order for one in self.state.waiting)
        best = min(choices, key=lambda choice: choice.key(standing, waiting))
        proven = best.punctures(standing) == 0 or any(choice.proven for choice in offered)
        return dataclasses.replace(best, proven=proven)

    def judged(self, choice: Choice) -> Choice:
        """The choice with what is proven of it."""
        zone = self.zone_model.zone((*self.state.delivered, *choice.insertions))
        certificate, missing_ml = certify_region(self.queries, zone, self.region)
        return dataclasses.replace(choice, certificate=certificate, missing_ml=missing_ml)

    def _placed(self, advance_mm: float) -> tuple[Insertion, ...]:
        """The needles that stand, each with the deepest tip that it may be brought to."""
        name = self.ranked.applicator.name
        standing = tuple(needle.carrying((), name) for needle in self.state.measured)
        if advance_mm == 0.0:
            return standing
        return advanced(standing, self.queries, self.ranked, self.constraints, self.pairs, advance_mm)

    def _covered(
        self,
        left: TargetRegion,
        placed: tuple[Insertion, ...],
        table: TrajectoryTable,
        step_mm: float | None,
    ) -> list[Choice]:
        """The best of a table of paths with stops so far apart; none where there is nothing to choose from."""
        begun = {one.order for one in self.state.delivered} | {one.order for one in placed}
        allowed = self.options.maximum_insertions - len(begun)
        if allowed < 1:
            table = table.subset(np.empty(0, dtype=np.int64))
        if not placed and not table.feasible.any():
            return []
        options = dataclasses.replace(self.options, maximum_insertions=max(1, allowed))
        if step_mm is not None:
            # Every path of the plan is offered, however alike some are.
            options = dataclasses.replace(options, pull_back_mm=step_mm, path_separation_deg=0.0)
        covering = cover_target(
            table,
            self.queries,
            self.zone_model,
            options,
            self.solver,
            protection=self.protection,
            pairs=self.pairs,
            region=left,
            placed=placed,
            with_bound=False,
            progress=self.progress,
        )
        choice = self.judged(Choice(self._numbered(covering.insertions, placed)))
        return [dataclasses.replace(choice, proven=covering.selection.status in ("optimal", "fewest"))]

    def _blocked(self, ends: list[tuple[FloatArray, FloatArray]], count: int) -> NDArray[np.bool_]:
        """(n,) True for needles, by entries and tips, that may not stand beside one of the first ``count``."""
        assert self.pairs is not None
        applicator = self.ranked.applicator
        found = pair_conflicts(
            [entry for entry, _ in ends],
            [tip for _, tip in ends],
            applicator.radius_mm,
            self.pairs,
            usable_length_mm=applicator.usable_length_mm,
            active_length_mm=applicator.active_length_mm,
        )
        blocked: NDArray[np.bool_] = np.zeros(len(ends), dtype=np.bool_)
        blocked[found.second[found.first < count]] = True
        return blocked

    def _moved(self, kept: Choice, choices: list[Choice], standing: frozenset[int]) -> list[Choice]:
        """The rest of the plan with its paths moved, where that may spare a puncture."""
        asked = kept.punctures(standing)
        if not asked or any(choice.covers and choice.punctures(standing) <= asked for choice in choices):
            return []
        fixed = frozenset(k for k, one in enumerate(kept.insertions) if one.order in standing)
        moved, _ = refined(
            kept.insertions,
            self.queries,
            self.zone_model,
            self.constraints,
            self.options,
            self.protection or Protection(()),
            self.pairs,
            fixed,
        )
        if moved == kept.insertions or not self._allowed(moved):
            return []
        return [self.judged(Choice(moved))]

    def _allowed(self, insertions: Sequence[Insertion]) -> bool:
        """Whether zones keep from what is protected, and new needles from each other and those that stand."""
        if self.protection is not None and insertions:
            if self.protection.slack_mm(self.zone_model.zone(insertions))[0] < -_ROUNDING_MM:
                return False
        if self.pairs is None:
            return True
        new = [one for one in insertions if one.order not in {needle.order for needle in self.state.measured}]
        ends = [(needle.entry_mm, needle.tip_mm) for needle in self.state.measured]
        ends += [(np.asarray(one.entry_mm), np.asarray(one.tip_mm)) for one in new]
        if not new or len(ends) < 2:
            return True
        return not self._blocked(ends, len(ends))[len(self.state.measured) :].any()

    def _numbered(self, insertions: Sequence[Insertion], placed: Sequence[Insertion]) -> tuple[Insertion, ...]:
        """The insertions with the orders of the needles and paths that they go along, new ones after them."""
        known = [*placed, *self.state.waiting]
        free = max((one.order for one in (*self.state.planned, *self.state.delivered)), default=0) + 1
        numbered = []
        for insertion in insertions:
            owner = next((one for one in known if _same_path(one, insertion)), None)
            if owner is None:
                numbered.append(dataclasses.replace(insertion, order=free))
                free += 1
            else:
                known.remove(owner)
                numbered.append(
                    dataclasses.replace(insertion, order=owner.order, clearances_mm=dict(owner.clearances_mm))
                )
        begun = {one.order for one in placed}
        return tuple(sorted(numbered, key=lambda one: (one.order not in begun, one.order)))


def _same_path(one: Insertion, other: Insertion) -> bool:
    apart = float(np.linalg.norm(np.subtract(one.entry_mm, other.entry_mm)))
    return max(apart, float(np.linalg.norm(one.direction - other.direction))) < _SAME_PATH


def _of_insertions(
    insertions: Sequence[Insertion], ranked: TrajectoryTable, queries: AnatomyQueries
) -> TrajectoryTable:
    """The paths of insertions as a table in which all are feasible and cost nothing."""
    entry = np.array([one.entry_mm for one in insertions], dtype=np.float64).reshape(-1, 3)
    tip = np.array([one.tip_mm for one in insertions], dtype=np.float64).reshape(-1, 3)
    direction = np.array([one.direction for one in insertions], dtype=np.float64).reshape(-1, 3)
    normal = queries.skin_normals.at(entry) if len(entry) else entry
    aim = tip - ranked.applicator.tip_to_centre_mm * direction
    curvature = None if ranked.curvature_per_mm is None else np.zeros_like(entry)
    return TrajectoryTable(ranked.applicator, entry, normal, aim, tip, curvature, cost=np.zeros(len(entry)))


def _with_feasible(few: TrajectoryTable, ranked: TrajectoryTable) -> TrajectoryTable:
    """A table with the feasible rows of another below it."""
    more = ranked.subset(np.flatnonzero(ranked.feasible))
    assert few.cost is not None and more.cost is not None
    bare = dataclasses.replace(more, constraints=(), objectives=(), cost=None, front=None)
    whole = TrajectoryTable.joined([dataclasses.replace(few, cost=None), bare])
    return dataclasses.replace(whole, cost=np.concatenate([few.cost, more.cost]))
