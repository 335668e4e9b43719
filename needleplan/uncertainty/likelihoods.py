"""What a plan says of its chances: success and harm under a named error budget, in words and figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from needleplan.ablation.contract import ZoneModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.plan import Insertion, Likelihood
from needleplan.uncertainty.binomial import CountedProbability
from needleplan.uncertainty.presets import preset_budget
from needleplan.uncertainty.probability import coverage_probability


@dataclass(frozen=True, slots=True)
class ErrorOptions:
    """What the chances are drawn from.

    Attributes:
        budget: name of the error budget.
        scenarios: number of scenarios.
        confidence: of the bounds of each probability.
    """

    budget: str = "robot"
    scenarios: int = 500
    confidence: float = 0.95

    def __post_init__(self) -> None:
        preset_budget(self.budget)
        if not 1 <= self.scenarios <= 1_000_000:
            raise OptionError(f"the number of scenarios must be 1 to 1 000 000, not {self.scenarios}")
        if not 0 < self.confidence < 1:
            raise OptionError(f"the confidence must lie between 0 and 1, not {self.confidence!r}")


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
    levels = sorted({0.0, 5.0, float(margin_mm)})
    found = coverage_probability(
        queries,
        insertions,
        zone_model,
        preset_budget(options.budget),
        levels,
        options.scenarios,
        seed,
        confidence=options.confidence,
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
