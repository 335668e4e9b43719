"""Probabilities that were counted, with exact bounds."""

import math
from dataclasses import dataclass

from needleplan.errors import OptionError


@dataclass(frozen=True, slots=True)
class CountedProbability:
    """A probability counted in n scenarios, some of which may be undecided because of a geometric error bound.

    Attributes:
        certain: scenarios in which the event surely happens.
        possible: scenarios in which it may happen; at least ``certain``.
        scenarios: number n of scenarios.
        confidence: probability that the interval ``low`` to ``high`` holds the truth, at least.

    Raises:
        OptionError: the counts are not 0 <= certain <= possible <= n, or the confidence is not between 0 and 1.
    """

    certain: int
    possible: int
    scenarios: int
    confidence: float

    def __post_init__(self) -> None:
        if not 0 <= self.certain <= self.possible <= self.scenarios or self.scenarios < 1:
            raise OptionError(
                f"counts must rise from 0 to the number of scenarios, but are {self.certain}, {self.possible}, "
                f"{self.scenarios}"
            )
        require_confidence(self.confidence)

    @property
    def probability(self) -> float:
        """Share of the scenarios in which the event surely happens."""
        return self.certain / self.scenarios

    @property
    def undecided(self) -> float:
        """Share of the scenarios that the geometric error bound leaves open."""
        return (self.possible - self.certain) / self.scenarios

    @property
    def low(self) -> float:
        """Lower end of the Clopper-Pearson interval of what is certain."""
        return clopper_pearson(self.certain, self.scenarios, self.confidence)[0]

    @property
    def high(self) -> float:
        """Upper end of the Clopper-Pearson interval of what is possible."""
        return clopper_pearson(self.possible, self.scenarios, self.confidence)[1]


def require_confidence(confidence: float) -> None:
    """Raises OptionError unless a confidence lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise OptionError(f"the confidence must lie between 0 and 1, not {confidence!r}")


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Exact two-sided interval of a probability (Clopper and Pearson, Biometrika 1934;26:404).

    Its ends are quantiles of beta laws: of Beta(k, n - k + 1) at half of what the confidence leaves, and of
    Beta(k + 1, n - k) at one less that half. It holds the truth at least as often as stated.
    """
    from scipy.special import betaincinv

    half = 0.5 * (1.0 - confidence)
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, half))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1.0 - half))
    return low, high


def scenarios_to_show(probability: float, confidence: float) -> int:
    """Least number of scenarios whose lower bound can reach a probability, when the event happens in all of them.

    The lower bound of n successes in n is (half)^(1/n) with half of what the confidence leaves.
    """
    require_confidence(confidence)
    if not 0 < probability < 1:
        raise OptionError(f"a required probability must lie between 0 and 1, not {probability!r}")
    return math.ceil(math.log(0.5 * (1.0 - confidence)) / math.log(probability) - 1e-9)
