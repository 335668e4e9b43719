"""Something that may be left to do in a treatment, what is proven of it, and what makes it better than another."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.certificate import CoverageCertificate
from needleplan.coverage.needle_pairs import pair_conflicts
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import TargetRegion
from needleplan.coverage.region_certificate import certify_region
from needleplan.coverage.treatment_state import TreatmentState, same_ablation
from needleplan.devices.catalogue import Applicator
from needleplan.frames import FloatArray
from needleplan.plan import Insertion

#: A protected structure is kept to its distance but for rounding.
_ROUNDING_MM = 1e-6
#: Where nothing restores what the plan promised, one more puncture must gain this share of target and margin, the
#: target weighted above its margin: an assumption of this library.
WORTH_A_PUNCTURE = 0.01

#: Entry and tip (3,) of a needle.
NeedleEnds = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Something that may be left to do.

    Attributes:
        insertions: what is to be done.
        certificate: what is proven of it with what was delivered; None before it was judged.
        missing_ml: volume that is left, the target's weighted above its margin's.
        allowed: False where needles would stand too near, or zones come too near to what is protected.
    """

    insertions: tuple[Insertion, ...]
    certificate: CoverageCertificate | None = None
    missing_ml: float = 0.0
    allowed: bool = True

    @property
    def covers(self) -> bool:
        """True where it is proven to cover target and margin."""
        return self.certificate is not None and self.certificate.covered


@dataclass(frozen=True, slots=True, eq=False)
class FoundChoices:
    """What was found.

    Attributes:
        best: the smallest change that restores what the plan promised; the best there is where none does.
        choices: all that was judged, the best among them.
        least_added: no choice of the offered paths restores with fewer new punctures.
        in_time: False where the time limit ended the search.
    """

    best: Choice
    choices: tuple[Choice, ...]
    least_added: int
    in_time: bool


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceJudge:
    """Judges what may be left to do.

    Attributes:
        state: plan, measured needles, delivered ablations.
        queries: the anatomy.
        zone_model: predicts the zones.
        applicator: of all needles.
        region: target plus margin.
        promised: what the plan itself would have achieved.
        tolerance: share of target and margin by which less than that still restores it.
        protection: structures that no further zone must come near; None protects none.
        pairs: what needles must keep from each other; None demands nothing.
    """

    state: TreatmentState
    queries: AnatomyQueries
    zone_model: EllipsoidTableModel
    applicator: Applicator
    region: TargetRegion
    promised: Choice
    tolerance: float
    protection: Protection | None
    pairs: PairLimits | None

    def judged(self, insertions: Sequence[Insertion]) -> Choice:
        """What is proven of insertions with what was delivered."""
        chosen = tuple(insertions)
        zone = self.zone_model.zone((*self.state.delivered, *chosen))
        certificate, missing_ml = certify_region(self.queries, zone, self.region)
        return Choice(chosen, certificate, missing_ml, self.allows(chosen))

    def restores(self, choice: Choice) -> bool:
        """True where a choice may be carried out and achieves what the plan promised, within the tolerance."""
        if not choice.allowed:
            return False
        if choice.covers:
            return True
        if self.promised.covers and self.tolerance == 0.0:
            return False
        asked_ml = 0.0 if self.promised.covers else self.promised.missing_ml
        return choice.missing_ml <= asked_ml + self.tolerance * self.region.volume_ml

    def added(self, choice: Choice) -> int:
        """Punctures of a choice that the plan did not foresee."""
        known = {one.order for one in self.state.planned}
        return sum(one.order not in known for one in choice.insertions)

    def key(self, choice: Choice) -> tuple[float, ...]:
        """What makes a choice better than another, less before more.

        First whether what the plan promised is restored; then new punctures, where nothing restores it weighed
        against what is left; then all punctures, whether it is proven to cover all, ablations that change, and
        ablations.
        """
        added = self.added(choice)
        standing = {needle.order for needle in self.state.measured}
        restores = self.restores(choice)
        left = 0.0 if restores else choice.missing_ml / (WORTH_A_PUNCTURE * self.region.volume_ml)
        return (
            float(not choice.allowed),
            float(not restores),
            round(added + left, 6),
            float(sum(one.order not in standing for one in choice.insertions)),
            float(restores and not choice.covers),
            float(self.changed(choice)),
            float(sum(len(one.ablations) for one in choice.insertions)),
        )

    def changed(self, choice: Choice) -> int:
        """Ablations that are not those of the rest of the plan, and those of it that are left out."""
        planned = [a for one in self.state.as_planned for a in one.ablations]
        now = [a for one in choice.insertions for a in one.ablations]
        kept = sum(any(same_ablation(a, b) for b in now) for a in planned)
        return len(planned) + len(now) - 2 * kept

    def allows(self, insertions: Sequence[Insertion]) -> bool:
        """Whether zones keep from what is protected, and new needles from each other and those that stand."""
        if self.protection is not None and insertions:
            if self.protection.slack_mm(self.zone_model.zone(insertions))[0] < -_ROUNDING_MM:
                return False
        if self.pairs is None:
            return True
        standing = self.standing_ends
        ends = [*standing, *self._ends_of_new(insertions)]
        if len(ends) == len(standing) or len(ends) < 2:
            return True
        return not self._blocked(ends, len(ends))[len(standing) :].any()

    def blocked_beside(
        self, insertions: Sequence[Insertion]
    ) -> Callable[[FloatArray, FloatArray], NDArray[np.bool_]]:
        """What asks of needles, by entries (k, 3) and tips (k, 3), which (k,) others that stand or come exclude."""
        others = [*self.standing_ends, *self._ends_of_new(insertions)]

        def blocked(entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
            if self.pairs is None or not others:
                return np.zeros(len(entry_mm), dtype=np.bool_)
            return self._blocked([*others, *zip(entry_mm, tip_mm, strict=True)], len(others))[len(others) :]

        return blocked

    @property
    def standing_ends(self) -> list[NeedleEnds]:
        """Entries and tips of the needles that stand."""
        return [(needle.entry_mm, needle.tip_mm) for needle in self.state.measured]

    def _ends_of_new(self, insertions: Sequence[Insertion]) -> list[NeedleEnds]:
        standing = {needle.order for needle in self.state.measured}
        return [(np.asarray(o.entry_mm), np.asarray(o.tip_mm)) for o in insertions if o.order not in standing]

    def _blocked(self, ends: Sequence[NeedleEnds], count: int) -> NDArray[np.bool_]:
        """(n,) True for needles, by entries and tips, that may not stand beside one of the first ``count``."""
        assert self.pairs is not None
        found = pair_conflicts(
            [entry for entry, _ in ends],
            [tip for _, tip in ends],
            self.applicator.radius_mm,
            self.pairs,
            usable_length_mm=self.applicator.usable_length_mm,
            active_length_mm=self.applicator.active_length_mm,
        )
        blocked: NDArray[np.bool_] = np.zeros(len(ends), dtype=np.bool_)
        blocked[found.second[found.first < count]] = True
        return blocked


def with_needle(insertions: Sequence[Insertion], needle: Insertion, order: int) -> tuple[Insertion, ...]:
    """Insertions with one more, or another one of the same order; in this order."""
    others = [one for one in insertions if one.order != order]
    return (*others, dataclasses.replace(needle, order=order, clearances_mm={}))
