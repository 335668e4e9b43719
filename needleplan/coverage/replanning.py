"""A plan made again while it is carried out: with the needles where they really are and what they have destroyed.

The smallest change is sought that gives back what the plan promised: first the fewest punctures that it did not
foresee, then the fewest punctures, then the fewest ablations that change.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import assess_zone
from needleplan.coverage.certificate import CoverageCertificate
from needleplan.coverage.contract import CoverageSolver
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import TargetRegion, target_region
from needleplan.coverage.region_certificate import certify_region
from needleplan.coverage.replanning_alternatives import Alternative, alternatives_of
from needleplan.coverage.replanning_choices import Choice, ChoiceJudge, FoundChoices
from needleplan.coverage.replanning_finder import ChoiceFinder
from needleplan.coverage.replanning_words import replanning_sentences
from needleplan.coverage.treatment_state import MeasuredNeedle, TreatmentState
from needleplan.errors import OptionError
from needleplan.plan import Insertion, Metrics, Plan
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import TrajectoryTable


class ReplanningStatus(StrEnum):
    """How a search for the smallest change ended."""

    KEPT = "kept"  #: the rest of the plan does as it is
    FEWEST = "fewest"  #: restored, and no choice of the offered paths does with fewer new punctures
    RESTORED = "restored"  #: restored; fewer new punctures might do
    PARTIAL = "partial"  #: nothing that was tried restores what the plan promised
    OUT_OF_TIME = "out of time"  #: as ``PARTIAL``, and the time limit ended the search


@dataclass(frozen=True, slots=True, eq=False)
class Replanning:
    """What is left to do.

    Attributes:
        state: plan, measured needles, delivered ablations.
        remaining: insertions with the ablations to be delivered: along needles that stand, along planned paths,
            along new ones, in this order. New ones are numbered after the plan's.
        unchanged: True where what is left of the plan is kept as it was.
        certificate: what is proven of delivered and remaining zones together.
        metrics: what these achieve together; None where there are none, or where they were not asked for.
        share_before: share of target plus margin that would have been destroyed without changes.
        share_after: the same share with what is left to do, by the same points.
        restored: True where it achieves what the plan promised, within the tolerance.
        status: how the search ended.
        least_added: no choice of the offered paths restores that with fewer new punctures.
        alternatives: what people may choose instead, the rest of the plan as it is first, and the proposal: none
            is worse than another both in new punctures and in what it leaves.
        sentences: what changed and why.
    """

    state: TreatmentState
    remaining: tuple[Insertion, ...]
    unchanged: bool
    certificate: CoverageCertificate
    metrics: Metrics | None
    share_before: float
    share_after: float
    restored: bool
    status: ReplanningStatus
    least_added: int
    alternatives: tuple[Alternative, ...]
    sentences: tuple[str, ...]

    @property
    def proven(self) -> bool:
        """True where no choice of the offered paths restores what the plan promised with fewer new punctures."""
        return self.status in (ReplanningStatus.KEPT, ReplanningStatus.FEWEST)

    @property
    def complete(self) -> bool:
        """True where target and margin are proven to be covered by delivered and remaining zones together."""
        return self.certificate.covered

    @property
    def along_placed(self) -> tuple[Insertion, ...]:
        """Ablations along needles that stand in the patient."""
        return tuple(one for one in self.remaining if one.order in {n.order for n in self.state.measured})

    @property
    def along_planned(self) -> tuple[Insertion, ...]:
        """Punctures that the plan foresaw."""
        return tuple(one for one in self.remaining if one.order in {p.order for p in self.state.waiting})

    @property
    def added(self) -> tuple[Insertion, ...]:
        """Punctures that the plan did not foresee."""
        known = {one.order for one in self.state.planned}
        return tuple(one for one in self.remaining if one.order not in known)

    @property
    def punctures(self) -> int:
        """Punctures still to be made."""
        return len(self.along_planned) + len(self.added)

    @property
    def extra_punctures(self) -> int:
        """Punctures more than the plan had left; negative where some are spared."""
        return self.punctures - len(self.state.waiting)


def replan(
    plan: Plan | Sequence[Insertion],
    measured: Sequence[MeasuredNeedle],
    queries: AnatomyQueries,
    ranked: TrajectoryTable,
    constraints: Sequence[TrajectoryConstraint],
    zone_model: EllipsoidTableModel,
    options: CoverageOptions | None = None,
    *,
    delivered: Sequence[Insertion] = (),
    protection: Protection | None = None,
    pairs: PairLimits | None = None,
    solver: CoverageSolver | None = None,
    advance_mm: float = 0.0,
    refine: bool = True,
    assessed: bool = True,
    tolerance: float = 0.0,
    region: TargetRegion | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Replanning:
    """Plan the rest of a treatment again.

    A plan from which nothing deviates is kept, and so is one whose rest restores what it promised: the coverage of
    the plan as it was made, less the tolerance. Else the smallest change that restores it is sought: fewest
    punctures that the plan did not foresee, then fewest punctures, then fewest ablations that change. It is sought
    in this order: other ablations along needles that stand and planned paths, a planned path moved, one new path,
    two, any of the screened ones. Where nothing restores it, a new puncture must gain a hundredth of target and
    margin, the target weighted far above its margin.

    Needles that stand are drawn back and never moved sideways. They go deeper only by ``advance_mm``, and only as
    far as the longer path passes every constraint. Paths of the plan that are not begun were screened when it was
    made: they are held against the needles that stand and not screened again.

    Args:
        plan: the plan that is carried out, or its insertions.
        measured: needles that stand in the patient, as they were measured.
        queries: the anatomy.
        ranked: screened and ranked paths for new punctures.
        constraints: what is demanded of paths, without distances to the measured needles (``pairs`` has those).
        zone_model: predicts the zones.
        options: margin and what is offered; the largest number of insertions counts those made already, and the
            time limit holds for the whole search: no step is begun later, and exact searches share what is left.
        delivered: ablations that were delivered, where they were; their zones count as done. A needle with
            delivered ablations that is not measured any more was drawn out.
        protection: structures that no further zone must come near; None protects none.
        pairs: what two needles in the patient must keep from each other; None demands nothing.
        solver: chooses the paths; HiGHS where None.
        advance_mm: needles that stand may be pushed on by so much; 0 only draws them back.
        refine: True where planned and new paths may be moved continuously; False takes screened paths alone.
        assessed: False leaves out the metrics, which take longer than all else where many zones overlap; what is
            covered is proven all the same.
        tolerance: share of target and margin by which less than the plan promised still restores it.
        region: target plus margin, where it is at hand; made where None.
        progress: called with what is being done and the fraction done.

    Raises:
        OptionError: a needle is measured that the plan does not have, or twice; needles are of another applicator
            than the paths; the advance or the tolerance is impossible.
        GeometryError: a measured needle lies outside the body, or not deep enough to carry an ablation.
        DeviceError: a setting is not in the applicator's table.
    """
    start_s = time.perf_counter()
    options = options or CoverageOptions()
    if not 0.0 <= advance_mm <= 100.0:
        raise OptionError(f"needles may be pushed on by 0 to 100 mm, not {advance_mm:g} mm")
    if not 0.0 <= tolerance < 1.0:
        raise OptionError(f"the tolerance must be a share from 0 to below 1, not {tolerance:g}")
    planned = plan.insertions if isinstance(plan, Plan) else tuple(plan)
    state = TreatmentState(planned, tuple(measured), tuple(delivered))
    for insertion in planned:
        if insertion.applicator != ranked.applicator.name:
            raise OptionError(
                f"insertion {insertion.order} is one of {insertion.applicator}, but the paths are for "
                f"{ranked.applicator.name}: needles of one kind are planned again"
            )
    state.require_within(queries)
    state.require_carrying(ranked.applicator.tip_to_centre_mm)
    region = region or target_region(queries, options.margin_mm, options.point_count)
    promised = Choice(planned, *certify_region(queries, zone_model.zone(planned), region))
    judge = ChoiceJudge(
        state, queries, zone_model, ranked.applicator, region, promised, tolerance, protection, pairs
    )
    found = _found(
        judge,
        ChoiceFinder(judge, ranked, tuple(constraints), options, solver, advance_mm, refine, start_s, progress),
    )
    choice = found.best
    assert choice.certificate is not None
    kept = state.as_planned if state.deviates else state.untouched
    unchanged = choice.insertions == kept
    whole = (*state.delivered, *choice.insertions)
    metrics = None
    if assessed and any(insertion.ablations for insertion in whole):
        metrics = assess_zone(queries, zone_model.zone(whole), options.margin_mm).metrics
    alternatives = alternatives_of(judge, kept, found)
    status = _status(judge, found, unchanged)
    words = replanning_sentences(
        state,
        choice.insertions,
        choice.certificate,
        metrics,
        alternatives,
        unchanged=unchanged,
        ended=_ended(judge, found, status, options.time_limit_s),
    )
    proposed = next(one for one in alternatives if one.proposed)
    return Replanning(
        state,
        choice.insertions,
        unchanged,
        choice.certificate,
        metrics,
        alternatives[0].share,
        proposed.share,
        judge.restores(choice),
        status,
        found.least_added,
        alternatives,
        words,
    )


def _found(judge: ChoiceJudge, finder: ChoiceFinder) -> FoundChoices:
    """What may be left to do; nothing where what was delivered does alone."""
    if not judge.state.deviates:
        choice = judge.judged(judge.state.untouched)
        return FoundChoices(choice, (choice,), 0, True)
    nothing = judge.judged(())
    return FoundChoices(nothing, (nothing,), 0, True) if nothing.covers else finder.found()


def _status(judge: ChoiceJudge, found: FoundChoices, unchanged: bool) -> ReplanningStatus:
    if unchanged and (judge.restores(found.best) or not judge.state.deviates):
        return ReplanningStatus.KEPT
    if judge.restores(found.best):
        fewest = judge.added(found.best) <= found.least_added
        return ReplanningStatus.FEWEST if fewest else ReplanningStatus.RESTORED
    return ReplanningStatus.PARTIAL if found.in_time else ReplanningStatus.OUT_OF_TIME


def _ended(judge: ChoiceJudge, found: FoundChoices, status: ReplanningStatus, time_limit_s: float) -> str:
    """How the search ended, in a sentence; empty where nothing is to be said."""
    if judge.restores(found.best) and judge.promised.covers and not found.best.covers:
        return (
            f"What is left is no more than {100.0 * judge.tolerance:g} % of target and margin: no puncture is made "
            "for it."
        )
    if status is ReplanningStatus.FEWEST and judge.added(found.best):
        return "No choice of the offered paths does with fewer new punctures."
    if status is ReplanningStatus.RESTORED:
        return "Whether fewer new punctures would do was not decided."
    if status is ReplanningStatus.PARTIAL:
        return "Nothing that was tried achieves what the plan promised."
    if status is ReplanningStatus.OUT_OF_TIME:
        return (
            f"Nothing that was tried in {time_limit_s:g} s achieves what the plan promised; more time may find it."
        )
    return ""
