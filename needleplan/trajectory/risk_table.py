"""Published odds ratios of complications, each with its source and how far to trust it."""

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from needleplan.errors import OptionError


@dataclass(frozen=True, slots=True)
class RiskFactor:
    """One line of the table of risk factors.

    Attributes:
        complication: what may happen, ``pneumothorax`` or ``bleeding``.
        factor: what makes it more likely.
        odds_ratio: published ratio of the odds with the factor to those without; None where none can be relied on.
        used: True where an objective is built on it.
        comparison: which groups the publication compares.
        population: how many, and what was done to them.
        source: the publication.
        provenance: what of it was read.
        confidence: high, medium or low.
        note: what is assumed, or why it is not used.
    """

    complication: str
    factor: str
    odds_ratio: float | None
    used: bool
    comparison: str
    population: str
    source: str
    provenance: str
    confidence: str
    note: str

    def __post_init__(self) -> None:
        if self.odds_ratio is not None and not 1.0 < self.odds_ratio < math.inf:
            raise OptionError(f"the odds ratio of {self.factor!r} must be above 1, not {self.odds_ratio}")
        if self.used and (self.odds_ratio is None or not self.source):
            raise OptionError(f"{self.factor!r} cannot be used without an odds ratio and its source")
        if self.confidence not in ("high", "medium", "low"):
            raise OptionError(f"the confidence of {self.factor!r} must be high, medium or low")

    @property
    def log_odds(self) -> float:
        """Natural logarithm of the odds ratio.

        Raises:
            OptionError: there is no ratio to rely on.
        """
        if self.odds_ratio is None:
            raise OptionError(f"no odds ratio of {self.factor!r} can be relied on: {self.note}")
        return math.log(self.odds_ratio)


@cache
def risk_factors() -> tuple[RiskFactor, ...]:
    """All risk factors of the package's table, used and not used."""
    text = files("needleplan.trajectory").joinpath("risk_factors.csv").read_text(encoding="utf-8")
    return tuple(
        RiskFactor(
            row["complication"],
            row["factor"],
            float(row["odds_ratio"]) if row["odds_ratio"] else None,
            row["used"] == "yes",
            row["comparison"],
            row["population"],
            row["source"],
            row["provenance"],
            row["confidence"],
            row["note"],
        )
        for row in csv.DictReader(text.splitlines())
    )


def risk_factor(complication: str, factor: str) -> RiskFactor:
    """The factor of that name; raises OptionError with the names there are."""
    known = [item for item in risk_factors() if item.complication == complication]
    for item in known:
        if item.factor == factor:
            return item
    raise OptionError(
        f"no risk factor of {complication} is named {factor!r}: there are {[i.factor for i in known]}"
    )
