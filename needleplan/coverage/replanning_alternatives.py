"""What people may choose between: the rest of a plan as it is, the proposal, and what lies beside it."""

from dataclasses import dataclass

from needleplan.coverage.replanning_choices import Choice, ChoiceJudge, FoundChoices
from needleplan.percentages import percent_down
from needleplan.plan import Insertion


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """Something that may be left to do, and what it would achieve.

    Attributes:
        insertions: what is left to do.
        added: punctures that the plan did not foresee.
        punctures: all punctures still to be made.
        share: share of target plus margin that would be destroyed with what was delivered.
        complete: True where target and margin are proven to be covered.
        allowed: False where needles would stand too near, or zones come too near to what is protected.
        unchanged: True for the rest of the plan as it is.
        proposed: True for the proposal.
    """

    insertions: tuple[Insertion, ...]
    added: int
    punctures: int
    share: float
    complete: bool
    allowed: bool
    unchanged: bool
    proposed: bool

    @property
    def sentence(self) -> str:
        """What it takes and achieves."""
        # 100 % is said of what is proven alone.
        destroyed = percent_down(1.0 if self.complete else min(0.999, self.share))
        proof = "proven for the solid" if self.complete else "not proven for all of it"
        taken = ("no", "one", "two", "three", "four")[self.added] if self.added < 5 else str(self.added)
        what = "Leaving the plan as it is"
        if not self.unchanged:
            plural = "" if self.added == 1 else "s"
            more = f"with {taken} puncture{plural} more" if self.added else "without a new puncture"
            what = f"The proposal, {more}," if self.proposed else f"A change {more}"
        barred = "" if self.allowed else ", but it may not be carried out: a needle or a zone would come too near"
        return f"{what} destroys {destroyed} of target and margin ({proof}){barred}."


def alternatives_of(
    judge: ChoiceJudge, kept: tuple[Insertion, ...], found: FoundChoices
) -> tuple[Alternative, ...]:
    """The rest of the plan first; then by new punctures what leaves less than all with as few; and the proposal.

    Args:
        judge: judged them.
        kept: the rest of the plan as it is.
        found: all that was tried.
    """
    best = found.best
    first = next((one for one in found.choices if one.insertions == kept), None) or judge.judged(kept)
    told = [first] if best is not first else []
    told.append(best)
    for choice in sorted(found.choices, key=lambda one: (judge.added(one), _missing(one))):
        beaten = any(
            judge.added(one) <= judge.added(choice) and _missing(one) <= _missing(choice)
            for one in told
            if one.allowed
        )
        if choice.allowed and not beaten:
            told.append(choice)
    rest = sorted((one for one in told if one is not first), key=judge.added)
    return tuple(_alternative(judge, one, one is first, one is best) for one in (first, *rest))


def _missing(choice: Choice) -> tuple[bool, float]:
    return not choice.covers, round(choice.missing_ml, 6)


def _alternative(judge: ChoiceJudge, choice: Choice, unchanged: bool, proposed: bool) -> Alternative:
    region, state = judge.region, judge.state
    held = judge.zone_model.zone((*state.delivered, *choice.insertions)).contains(region.points_mm)
    standing = {needle.order for needle in state.measured}
    return Alternative(
        choice.insertions,
        judge.added(choice),
        sum(one.order not in standing for one in choice.insertions),
        float(region.share_ml[held].sum() / region.volume_ml),
        choice.covers,
        choice.allowed,
        unchanged,
        proposed,
    )
