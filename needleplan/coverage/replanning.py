"""A plan made again while it is carried out: with the needles where they really are and what they have destroyed.

What is left to do is sought in this order: the rest of the plan as it is, other ablations along the needles that
stand (drawn back, longer, stronger) and along the paths that were planned, and only then other paths.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import assess_zone
from needleplan.coverage.certificate import CoverageCertificate
from needleplan.coverage.contract import CoverageSolver
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import target_region
from needleplan.coverage.replanning_choices import Choice, ChoiceFinder
from needleplan.coverage.replanning_words import replanning_sentences
from needleplan.coverage.treatment_state import MeasuredNeedle, TreatmentState
from needleplan.errors import OptionError
from needleplan.plan import Insertion, Metrics, Plan
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import TrajectoryTable


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
        proven: True where no choice of the offered paths is as good with fewer punctures.
        sentences: what changed and why.
    """

    state: TreatmentState
    remaining: tuple[Insertion, ...]
    unchanged: bool
    certificate: CoverageCertificate
    metrics: Metrics | None
    share_before: float
    share_after: float
    proven: bool
    sentences: tuple[str, ...]

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
    progress: Callable[[str, float], None] | None = None,
) -> Replanning:
    """Plan the rest of a treatment again.

    A plan from which nothing deviates is kept. Of what else may be left to do, that is taken which covers most, and
    of that what takes the fewest punctures. Where the rest of the plan as it is does so, it is kept; else the
    fewest paths that were not planned are taken, and the fewest ablations.

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
        options: margin and what is offered; the largest number of insertions counts those made already.
        delivered: ablations that were delivered, where they were; their zones count as done. A needle with
            delivered ablations that is not measured any more was drawn out.
        protection: structures that no further zone must come near; None protects none.
        pairs: what two needles in the patient must keep from each other; None demands nothing.
        solver: chooses the paths; HiGHS where None.
        advance_mm: needles that stand may be pushed on by so much; 0 only draws them back.
        refine: True where the planned paths may be moved continuously if that spares a puncture. Asked only as long
            as nothing was delivered.
        assessed: False leaves out the metrics, which take longer than all else where many zones overlap; what is
            covered is proven all the same.
        progress: called with what is being done and the fraction done.

    Raises:
        OptionError: a needle is measured that the plan does not have, or twice; needles are of another applicator
            than the paths; the advance is impossible.
        GeometryError: a measured needle lies outside the body.
        DeviceError: a setting is not in the applicator's table.
    """
    options = options or CoverageOptions()
    if not 0.0 <= advance_mm <= 100.0:
        raise OptionError(f"needles may be pushed on by 0 to 100 mm, not {advance_mm:g} mm")
    planned = plan.insertions if isinstance(plan, Plan) else tuple(plan)
    state = TreatmentState(planned, tuple(measured), tuple(delivered))
    for insertion in planned:
        if insertion.applicator != ranked.applicator.name:
            raise OptionError(
                f"insertion {insertion.order} is one of {insertion.applicator}, but the paths are for "
                f"{ranked.applicator.name}: needles of one kind are planned again"
            )
    state.require_within(queries)
    region = target_region(queries, options.margin_mm, options.point_count)
    finder = ChoiceFinder(
        state, queries, ranked, tuple(constraints), zone_model, options, region, protection, pairs, solver, progress
    )
    if not state.deviates:
        kept, choice = state.untouched, finder.judged(Choice(state.untouched))
    else:
        kept, choice = state.as_planned, finder.judged(Choice(()))
        if not choice.covers:
            choice = finder.best(advance_mm, refine)
    assert choice.certificate is not None

    unchanged = choice.insertions == kept
    whole = (*state.delivered, *choice.insertions)
    metrics = None
    if assessed and any(insertion.ablations for insertion in whole):
        metrics = assess_zone(queries, zone_model.zone(whole), options.margin_mm).metrics
    share_before, share_after = (
        float(region.share_ml[zone_model.zone(zones).contains(region.points_mm)].sum() / region.volume_ml)
        for zones in ((*state.delivered, *kept), whole)
    )
    words = replanning_sentences(
        state, choice.insertions, choice.certificate, metrics, share_before, unchanged=unchanged
    )
    return Replanning(
        state,
        choice.insertions,
        unchanged,
        choice.certificate,
        metrics,
        share_before,
        share_after,
        choice.proven,
        words,
    )
