"""Coverage against the number of probes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from needleplan.app.study.analysis_levels import PLANNED, cells_of, sort_key, varying_factors
from needleplan.app.study.study import Row
from needleplan.uncertainty.rehearsal_statistics import Estimate
from needleplan.uncertainty.sample_statistics import SampleMean, sample_mean, share

#: Factors besides the number of probes that decide about a plan.
_PLAN_FACTORS = ("device", "power_w", "margin_mm", "error_budget")


@dataclass(frozen=True, slots=True)
class ProbesPoint:
    """Coverage with a number of probes.

    Attributes:
        group: levels of the other factors, in words; empty where none varies.
        probes: most insertions that are allowed, None where any number is, or insertions of the plan.
        allowed: True where ``probes`` is what was allowed; else groups of probes hold different cases.
        cases: cases with a plan.
        without_plan: cases without one; 0 where ``probes`` is that of the plan.
        target: mean share of the target that is covered, %.
        margin: mean share of target and margin, %.
        complete: share of all cases whose plan is complete, %.
    """

    group: str
    probes: int | None
    allowed: bool
    cases: int
    without_plan: int
    target: SampleMean
    margin: SampleMean
    complete: Estimate


def coverage_by_probes(rows: Sequence[Row], seed: int = 0, confidence: float = 0.95) -> tuple[ProbesPoint, ...]:
    """Coverage against probes: against how many were allowed where that varies, else against how many plans have.

    A cell that allows any number is a level of its own after all numbers.

    Groups are the levels of the factors that a plan depends on; cells that differ in others alone share their
    plans, and each case counts once. Where no number of probes is set, the numbers are those of the plans, and
    groups of them hold different cases: those that need more needles are larger.
    """
    varying = varying_factors(rows)
    allowed = "probes" in varying
    groups: dict[tuple[str, int | None], dict[str, Row]] = {}
    names: dict[str, None] = {}
    for cell in cells_of(rows):
        name = cell.text_of(factor for factor in varying if factor in _PLAN_FACTORS)
        names.setdefault(name)
        for row in rows:
            probes = row.probes if allowed else row.insertions
            if row.cell == cell.name and (allowed or (row.status in PLANNED and probes is not None)):
                mine = groups.setdefault((name, probes), {})
                if row.case not in mine or mine[row.case].status not in PLANNED:
                    mine[row.case] = row
    found = []
    for name in names:
        for probes in sorted((count for group, count in groups if group == name), key=sort_key):
            cases = groups[name, probes].values()
            scored = [row for row in cases if row.status in PLANNED]
            target = percents(row.target_coverage_fraction for row in scored)
            margin = percents(row.margin_coverage_fraction for row in scored)
            if not target or not margin:
                continue
            complete = share(sum(row.status == "complete" for row in cases), len(cases), confidence)
            found.append(
                ProbesPoint(
                    name, probes, allowed, len(scored), len(cases) - len(scored),
                    sample_mean(target, seed, confidence), sample_mean(margin, seed, confidence),
                    in_percent(complete),
                )
            )  # fmt: skip
    return tuple(found)


def percents(fractions: Iterable[float | None]) -> list[float]:
    """Those that are known, in percent."""
    return [100.0 * fraction for fraction in fractions if fraction is not None]


def in_percent(estimate: Estimate) -> Estimate:
    """A share from 0 to 1 in percent."""
    ends = [None if end is None else 100.0 * end for end in (estimate.low, estimate.high)]
    return Estimate(100.0 * estimate.value, *ends)
