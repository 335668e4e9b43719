"""What many rehearsals come to: statistics by strategy, differences, an error budget, published figures beside."""

from collections.abc import Sequence
from dataclasses import dataclass

from needleplan.app.carry import SCENARIOS
from needleplan.app.pipeline import PlannedCase
from needleplan.outcome import RehearsalRun
from needleplan.plan import Likelihood
from needleplan.uncertainty.likelihoods import likelihoods_under
from needleplan.uncertainty.presets import published_accuracies
from needleplan.uncertainty.rehearsal_budget import RehearsedBudget, rehearsed_budget
from needleplan.uncertainty.rehearsal_statistics import (
    PairedDifference,
    StrategyStatistics,
    paired_difference,
    strategy_statistics,
)

#: Strategy that does not look at the breath.
FREE = "free-breathing"
#: Target movement in the livers of pigs, and the share of it that the robot made up for which reached 2.9 ± 1.9 mm
#: there (the source of the budget "robot").
PIG_LIVER_MOTION = "6.4 ± 3.9 mm"
PIG_LIVER_RECOVERED = "53 %"


@dataclass(frozen=True, slots=True)
class BudgetChances:
    """The error budget of one strategy and what a plan has to expect under it.

    Attributes:
        strategy: its name.
        rehearsed: the budget.
        chances: of coverage and harm.
        left_out: what the chances leave out, in words.
    """

    strategy: str
    rehearsed: RehearsedBudget
    chances: tuple[Likelihood, ...]
    left_out: str


@dataclass(frozen=True, slots=True)
class RehearsalStudy:
    """All that is told of many rehearsals.

    Attributes:
        strategies: statistics of each, in the order in which they were asked for.
        differences: of each pair of strategies, on the same needles.
        budgets: of each strategy under which at least two needles were placed.
        beside: sentences that put the figures beside published ones.
    """

    strategies: tuple[StrategyStatistics, ...]
    differences: tuple[PairedDifference, ...]
    budgets: tuple[BudgetChances, ...]
    beside: tuple[str, ...]


def study_runs(runs: Sequence[RehearsalRun], planned: PlannedCase, seed: int) -> RehearsalStudy:
    """Statistics, differences and budgets of runs; ``seed`` is that of bootstrap and scenarios."""
    names = tuple(dict.fromkeys(run.strategy for run in runs))
    by_name = {name: [run for run in runs if run.strategy == name] for name in names}
    metrics = planned.plan.metrics
    margin_mm = 0.0 if metrics is None else metrics.margin_mm
    statistics = tuple(strategy_statistics(by_name[name], margin_mm, seed) for name in names)
    pairs = ((a, b) for k, a in enumerate(names) for b in names[k + 1 :])
    differences = tuple(
        found for a, b in pairs if (found := paired_difference(by_name[a], by_name[b], seed)) is not None
    )
    budgets = []
    for name in names:
        needles = [needle for run in by_name[name] for needle in run.needles]
        if len(needles) < 2:
            continue
        rehearsed = rehearsed_budget(needles)
        chances: tuple[Likelihood, ...] = ()
        if metrics is not None:
            chances = likelihoods_under(
                rehearsed.budget, planned.queries, planned.plan.insertions, planned.zone_model, SCENARIOS,
                margin_mm, seed,
            )  # fmt: skip
        bias = f"{rehearsed.depth_bias_mm:+.2f} mm"
        left_out = f"the mean depth error of {bias}, which a correction would take away, is left out"
        budgets.append(BudgetChances(name, rehearsed, chances, left_out))
    return RehearsalStudy(statistics, differences, tuple(budgets), beside_published(statistics))


def beside_published(statistics: Sequence[StrategyStatistics]) -> tuple[str, ...]:
    """Our tip errors beside published ones of robots in animals, and what differs."""
    ours = [
        f"{item.strategy} {item.errors['tip_error_mm'].mean.value:.1f} ± {sd.value:.1f} mm"
        for item in statistics
        if item.errors and (sd := item.errors["tip_error_mm"].sd) is not None
    ]
    if not ours:
        return ()
    published = [
        f"{row.mean:g} ± {row.sd:g} mm ({row.source})"
        for row in published_accuracies()
        if row.guidance == "robot" and row.quantity == "tip"
    ]
    sentences = [
        f"tip error here, mean ± SD: {'; '.join(ours)}",
        f"published, robots in pigs: {'; '.join(published)}",
    ]
    means = {item.strategy: item.errors["tip_error_mm"].mean.value for item in statistics if item.errors}
    others = [(name, mean) for name, mean in means.items() if name != FREE]
    if others and means.get(FREE, 0.0) > 0.0:
        recovered = ", ".join(f"{name} {100 * (1 - mean / means[FREE]):.0f} %" for name, mean in others)
        sentences.append(
            f"of the mean tip error of {means[FREE]:.1f} mm in free breathing is recovered: {recovered}; the robot "
            f"in pigs' livers recovered {PIG_LIVER_RECOVERED} of {PIG_LIVER_MOTION} of target movement"
        )
    sentences.append(
        "what differs: here one patient whose tissue, breath and robot are models, errors of placement drawn from "
        "normal laws and tips measured without error; there several animals with registration and control scans as "
        "they were, and stepwise correction"
    )
    return tuple(sentences)
