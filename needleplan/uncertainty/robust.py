"""Choice of a plan by the probability that it holds, and what that costs."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.tissue_map import TissueMap
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import assess
from needleplan.errors import OptionError
from needleplan.plan import Insertion, Metrics
from needleplan.uncertainty.binomial import CountedProbability, scenarios_to_show
from needleplan.uncertainty.error_budget import ErrorBudget
from needleplan.uncertainty.probability import CoverageProbability, coverage_probability

#: Makes a plan whose zones hold the target with so many extra millimetres, with at most so many insertions; None
#: where it finds none.
PlanWith = Callable[[float, int], Sequence[Insertion] | None]

#: Extra millimetres that are tried by default.
EXTRA_MARGINS_MM = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class CandidatePlan:
    """One plan with what it is worth and what it costs.

    Attributes:
        extra_margin_mm: extra millimetres that were demanded of its zones.
        insertions: the plan.
        metrics: what it achieves without error.
        coverage: what it achieves with errors, by draws that all candidates share.
        level_mm: margin whose probability is asked for.
    """

    extra_margin_mm: float
    insertions: tuple[Insertion, ...]
    metrics: Metrics
    coverage: CoverageProbability
    level_mm: float

    @property
    def reached(self) -> CountedProbability:
        """How often the margin is reached."""
        return self.coverage.reached(self.level_mm)

    @property
    def ablations(self) -> int:
        """Number of ablations."""
        return sum(len(insertion.ablations) for insertion in self.insertions)

    @property
    def treatment_minutes(self) -> float:
        """Time that energy flows, one ablation after the other."""
        return sum(ablation.duration_s for insertion in self.insertions for ablation in insertion.ablations) / 60.0

    @property
    def effort(self) -> tuple[int, int, float]:
        """Insertions, then ablations, then minutes: less is better."""
        return len(self.insertions), self.ablations, self.treatment_minutes


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One row of the price of robustness.

    Attributes:
        extra_margin_mm: extra millimetres that were demanded.
        insertions: number of punctures.
        ablations: number of ablations.
        treatment_minutes: time that energy flows, one ablation after the other.
        over_ablation_ml: zone outside target plus margin, without error.
        probability: share of the scenarios in which the margin is surely reached.
        low: lower bound of the probability.
        high: upper bound of the probability.
    """

    extra_margin_mm: float
    insertions: int
    ablations: int
    treatment_minutes: float
    over_ablation_ml: float
    probability: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class RobustChoice:
    """The plan that was chosen, and from what.

    Attributes:
        chosen: the plan, with the draws that all candidates share.
        confirmed: the probability of the chosen plan in scenarios drawn afresh: the best of many is best partly by
            luck, which a fresh draw does not repeat.
        required: probability that had to be met; None where the greatest was sought.
        met: True where the lower bound of ``confirmed`` reaches what was required; True where nothing was.
        candidates: all plans, in the order in which they were made.
    """

    chosen: CandidatePlan
    confirmed: CountedProbability
    required: float | None
    met: bool
    candidates: tuple[CandidatePlan, ...]

    @property
    def price(self) -> tuple[PriceRow, ...]:
        """What each candidate costs and what it is worth, a row each."""
        return tuple(
            PriceRow(
                candidate.extra_margin_mm,
                len(candidate.insertions),
                candidate.ablations,
                candidate.treatment_minutes,
                candidate.metrics.over_ablation_ml,
                candidate.reached.probability,
                candidate.reached.low,
                candidate.reached.high,
            )
            for candidate in self.candidates
        )


@dataclass(frozen=True, slots=True, eq=False)
class RobustPlanning:
    """Plans again with more to spare, and chooses by probability.

    A zone that holds the target with ``extra`` millimetres still holds it when it lands up to ``extra`` beside its
    aim. How much extra and how many insertions pay is found by trying: every plan is judged in the same scenarios.

    Attributes:
        queries: the anatomy.
        zone_model: predicts the lethal zone.
        budget: the errors.
        level_mm: margin whose probability is asked for; 0 asks that the target is covered.
        scenarios: number of scenarios.
        seed: of the draws that all candidates share; the confirming ones take the next.
        confidence: of the bounds.
        measured: indices of needles in place.
        tissue: tissues and vessels of the patient, for models that ask for them.
    """

    queries: AnatomyQueries
    zone_model: ZoneModel
    budget: ErrorBudget
    level_mm: float = 0.0
    scenarios: int = 500
    seed: int = 0
    confidence: float = 0.95
    measured: tuple[int, ...] = ()
    tissue: TissueMap | None = None

    def candidates(
        self,
        plan_with: PlanWith,
        insertions_allowed: Sequence[int],
        extra_margins_mm: Sequence[float] = EXTRA_MARGINS_MM,
    ) -> tuple[CandidatePlan, ...]:
        """Plans for every allowed number of insertions and every extra margin, equal ones once.

        Raises:
            OptionError: nothing is to be tried, or the planner finds no plan at all.
        """
        if not insertions_allowed or not extra_margins_mm:
            raise OptionError("robust planning needs at least one number of insertions and one extra margin to try")
        if min(extra_margins_mm) < 0 or min(insertions_allowed) < 1:
            raise OptionError("extra margins must be 0 mm or more, and numbers of insertions 1 or more")
        found: list[CandidatePlan] = []
        for allowed, extra_mm in itertools.product(sorted(insertions_allowed), sorted(extra_margins_mm)):
            plan = plan_with(float(extra_mm), int(allowed))
            if plan is None:
                continue
            insertions = tuple(plan)
            if any(insertions == known.insertions for known in found):
                continue
            metrics = assess(self.queries, insertions, self.zone_model, self.level_mm, self.tissue).metrics
            found.append(
                CandidatePlan(
                    float(extra_mm), insertions, metrics, self._coverage(insertions, self.seed), self.level_mm
                )
            )
        if not found:
            raise OptionError("the planner finds no plan for any number of insertions and extra margin tried")
        return tuple(found)

    def most_probable(self, candidates: Sequence[CandidatePlan]) -> RobustChoice:
        """The plan that reaches the margin most often; of equals the one of least effort, then least zone outside.

        Raises:
            OptionError: there is no candidate.
        """
        best = min(_some(candidates), key=lambda plan: (-plan.reached.certain, plan.effort, _outside_ml(plan)))
        return RobustChoice(best, self._confirmed(best), None, True, tuple(candidates))

    def fewest_for(self, required: float, candidates: Sequence[CandidatePlan]) -> RobustChoice:
        """The plan of least effort whose probability is at least ``required`` by its lower bound.

        Least effort is fewest insertions, then ablations, then minutes. A plan must pass in the shared scenarios
        and again in fresh ones. Where none does, the most probable is chosen and ``met`` is False.

        Raises:
            OptionError: there is no candidate, or so few scenarios could not show that probability even if the
                margin were reached in all of them.
        """
        needed = scenarios_to_show(required, self.confidence)
        if self.scenarios < needed:
            raise OptionError(
                f"{self.scenarios} scenarios cannot show a probability of {required:g} even if all succeed: "
                f"take at least {needed}"
            )
        passing = [plan for plan in _some(candidates) if plan.reached.low >= required]
        for plan in sorted(passing, key=lambda plan: (*plan.effort, -plan.reached.certain, _outside_ml(plan))):
            confirmed = self._confirmed(plan)
            if confirmed.low >= required:
                return RobustChoice(plan, confirmed, required, True, tuple(candidates))
        best = self.most_probable(candidates)
        return RobustChoice(best.chosen, best.confirmed, required, False, tuple(candidates))

    def _coverage(self, insertions: Sequence[Insertion], seed: int) -> CoverageProbability:
        return coverage_probability(
            self.queries,
            insertions,
            self.zone_model,
            self.budget,
            (self.level_mm,),
            self.scenarios,
            seed,
            confidence=self.confidence,
            measured=self.measured,
            tissue=self.tissue,
        )

    def _confirmed(self, plan: CandidatePlan) -> CountedProbability:
        return self._coverage(plan.insertions, self.seed + 1).reached(self.level_mm)


def _some(candidates: Sequence[CandidatePlan]) -> Sequence[CandidatePlan]:
    if not candidates:
        raise OptionError("there is no candidate plan to choose from")
    return candidates


def _outside_ml(plan: CandidatePlan) -> float:
    return plan.metrics.over_ablation_ml
