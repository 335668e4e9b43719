"""What a plan says of its chances: success and harm under a named error budget, in words and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from needleplan.ablation.contract import ZoneModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.plan import Insertion, Likelihood
from needleplan.uncertainty.binomial import CountedProbability, scenarios_to_show
from needleplan.uncertainty.error_budget import ErrorBudget
from needleplan.uncertainty.presets import preset_budget
from needleplan.uncertainty.probability import coverage_probability


class Robustness(StrEnum):
    """What is asked of a plan under the errors."""

    NONE = "none"  #: nothing: the chances are only told
    MOST_PROBABLE = "most probable"  #: the plan that reaches the margin most often
    REQUIRED = "required"  #: fewest insertions that reach it with a required probability


@dataclass(frozen=True, slots=True)
class ErrorOptions:
    """What the chances are drawn from, and what is asked of the plan under them.

    Attributes:
        budget: name of the error budget.
        scenarios: number of scenarios.
        confidence: of the bounds of each probability.
        robustness: whether the plan is chosen by its chance.
        level_mm: margin whose chance decides then; 0 asks that the target is covered.
        required: chance that must be met by its lower bound, where that is asked for; else None.
    """

    budget: str = "robot"
    scenarios: int = 500
    confidence: float = 0.95
    robustness: Robustness = Robustness.NONE
    level_mm: float = 0.0
    required: float | None = None

    def __post_init__(self) -> None:
        preset_budget(self.budget)
        if not 1 <= self.scenarios <= 1_000_000:
            raise OptionError(f"the number of scenarios must be 1 to 1 000 000, not {self.scenarios}")
        if not 0 < self.confidence < 1:
            raise OptionError(f"the confidence must lie between 0 and 1, not {self.confidence!r}")
        if not 0 <= self.level_mm <= 50:
            raise OptionError(f"the margin whose chance decides must be 0 to 50 mm, not {self.level_mm:g}")
        if (self.required is not None) != (self.robustness is Robustness.REQUIRED):
            raise OptionError("a required chance goes with the robustness that asks for one, and only with it")
        if self.required is not None:
            needed = scenarios_to_show(self.required, self.confidence)
            if self.scenarios < needed:
                raise OptionError(
                    f"{self.scenarios} scenarios cannot show a chance of {self.required:g} even if all succeed: "
                    f"take at least {needed}"
                )


def likelihoods(
    queries: AnatomyQueries,
    insertions: Sequence[Insertion],
    zone_model: ZoneModel,
    options: ErrorOptions,
    margin_mm: float,
    seed: int,
) -> tuple[Likelihood, ...]:
    """The chances of success first, then those of harm that are not nil.

    Args:
        queries: the anatomy.
        insertions: the plan.
        zone_model: predicts the lethal zone.
        options: budget and number of scenarios.
        margin_mm: margin asked for.
        seed: of the draws.
    """
    budget = preset_budget(options.budget)
    return likelihoods_under(
        budget, queries, insertions, zone_model, options.scenarios, margin_mm, seed, options.confidence
    )


def likelihoods_under(
    budget: ErrorBudget,
    queries: AnatomyQueries,
    insertions: Sequence[Insertion],
    zone_model: ZoneModel,
    scenarios: int,
    margin_mm: float,
    seed: int,
    confidence: float = 0.95,
) -> tuple[Likelihood, ...]:
    """The chances under an error budget of one's own, such as ``placement_budget`` makes of a robot's errors.

    Args:
        budget: spreads and laws of all errors.
        queries: the anatomy.
        insertions: the plan.
        zone_model: predicts the lethal zone.
        scenarios: number of scenarios.
        margin_mm: margin asked for.
        seed: of the draws.
        confidence: of the bounds of each probability.
    """
    levels = sorted({0.0, 5.0, float(margin_mm)})
    found = coverage_probability(
        queries, insertions, zone_model, budget, levels, scenarios, seed, confidence=confidence
    )
    chances = [
        _told(
            "the target is covered" if level.level_mm == 0 else f"the margin reaches {level.level_mm:g} mm",
            level.reached,
        )
        for level in found.levels
    ]
    for risk in found.risks:
        if risk.needle.possible:
            chances.append(_told(f"a needle hits {risk.name}", risk.needle))
        if risk.zone is not None and risk.zone.possible:
            chances.append(_told(f"the zone reaches {risk.name}", risk.zone))
    return tuple(chances)


def _told(event: str, counted: CountedProbability) -> Likelihood:
    return Likelihood(event, counted.probability, counted.low, counted.high)
