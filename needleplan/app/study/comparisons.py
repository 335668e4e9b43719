"""Paired comparisons: every two levels of a factor with all other factors equal, on the same cases.

A unit is one case with one choice of all other factors. Figures are compared over units in which both levels have
them; every unit that is left out is counted with its reason. Outcomes (has a plan, is complete, ...) are compared
over all units: a case that failed or has no path answers no. Where other factors vary too, each case enters the
comparison over all of them with the mean of its units, so that cases stay independent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from needleplan.app.study.analysis_levels import (
    CellLevels,
    Level,
    cells_of,
    level_text,
    sort_key,
    varying_factors,
)
from needleplan.app.study.analysis_measures import MEASURES, OUTCOMES, Measure, YesOrNo
from needleplan.app.study.study import Row
from needleplan.uncertainty.paired_statistics import PairedEffect, PairedShares, holm, paired_effect, paired_shares

#: Where other factors make more combinations, comparisons are over all of them together alone.
MOST_COMBINATIONS = 12
#: Of a factor with more levels, each is compared with the first alone.
MOST_LEVELS = 12

#: Row of a case in a cell.
Table = Mapping[tuple[str, str], Row]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared: two levels of a factor, and the levels of all others.

    Attributes:
        factor: the factor that differs.
        first: its one level, in words.
        second: its other level.
        others: the levels of the other factors that vary, in words; empty where the comparison is over all.
    """

    factor: str
    first: str
    second: str
    others: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a figure differs between two levels.

    Attributes:
        scope: what is compared.
        measure: name of the figure, or of an outcome whose shares (0 to 100 %) of units are compared.
        title: of the figure, in words.
        unit: of the differences; "%" of shares means percentage points.
        better: 1 where more is better, -1 where less is, 0 where neither is.
        units: cases times combinations of other factors that should have both.
        compared: those that have both.
        left_out: why the others have not, with their number.
        effect: the difference, first less second, over ``effect.pairs`` cases; None where no unit has both.
        corrected: probability of the effect corrected for all comparisons of the same factor and other levels
            (Holm); None without an effect.
    """

    scope: Scope
    measure: str
    title: str
    unit: str
    better: int
    units: int
    compared: int
    left_out: tuple[tuple[str, int], ...]
    effect: PairedEffect | None
    corrected: float | None = None


@dataclass(frozen=True, slots=True)
class OutcomeComparison:
    """How the share of cases with an outcome differs between two levels at one choice of all other factors.

    Attributes:
        scope: what is compared.
        outcome: name of the outcome.
        title: in words.
        left_out: cases that are in the table at one of the levels only, or of which it is not asked.
        shares: the shares and their difference, over all other cases.
        corrected: as of ``Comparison``.
    """

    scope: Scope
    outcome: str
    title: str
    left_out: tuple[tuple[str, int], ...]
    shares: PairedShares
    corrected: float | None = None


@dataclass(frozen=True, slots=True)
class Comparisons:
    """All comparisons of a study.

    Attributes:
        figures: of figures; those over all other factors first.
        outcomes: of yes or no.
        notes: what was not compared, and why.
    """

    figures: tuple[Comparison, ...]
    outcomes: tuple[OutcomeComparison, ...]
    notes: tuple[str, ...]


def compare(rows: Sequence[Row], seed: int = 0, confidence: float = 0.95) -> Comparisons:
    """Every two levels of every factor that varies in the rows.

    Args:
        rows: as of ``ordered_rows``.
        seed: of the bootstrap.
        confidence: of every interval.

    Raises:
        PlanFileError: the cells contradict each other, see ``cells_of``.
    """
    cells = cells_of(rows)
    table = {(row.case, row.cell): row for row in rows}
    cases = sorted({row.case for row in rows})
    figures: list[Comparison] = []
    outcomes: list[OutcomeComparison] = []
    notes: list[str] = []
    varying = varying_factors(rows)
    for factor in varying:
        by_level: dict[Level, dict[tuple[Level, ...], CellLevels]] = {}
        for cell in cells:
            by_level.setdefault(cell.level(factor), {})[cell.others(factor)] = cell
        # By the levels of the other factors; none where the comparison is over all of them.
        pairs: dict[tuple[Level, ...], list[tuple[Scope, list[tuple[str, str]]]]] = {}
        combined = 0
        levels = sorted(by_level, key=sort_key)
        compared = list(combinations(levels, 2))
        if len(levels) > MOST_LEVELS:
            compared = compared[: len(levels) - 1]
            notes.append(
                f"{factor} has {len(levels)} levels, more than {MOST_LEVELS}, so each is compared with the first "
                "alone"
            )
        for first, second in compared:
            ones, twos = by_level[first], by_level[second]
            shared = [others for others in ones if others in twos]
            names = (level_text(factor, first), level_text(factor, second))
            if not shared:
                notes.append(f"{names[0]} and {names[1]} stand in no two cells that are equal otherwise")
                continue
            combined = max(combined, len(shared))
            every = [(ones[others].name, twos[others].name) for others in shared]
            pairs.setdefault((), []).append((Scope(factor, *names, ""), every))
            if 1 < len(shared) <= MOST_COMBINATIONS:
                for others, pair in zip(shared, every, strict=True):
                    text = ones[others].text_of(name for name in varying if name != factor)
                    pairs.setdefault(others, []).append((Scope(factor, *names, text), [pair]))
        if combined > MOST_COMBINATIONS:
            notes.append(
                f"levels of {factor} are compared over all {combined} combinations of the other factors together, "
                f"not in each: that is done up to {MOST_COMBINATIONS}"
            )
        for family in pairs.values():
            found = _family(family, table, cases, seed, confidence)
            figures += found[0]
            outcomes += found[1]
    return Comparisons(
        tuple(sorted(figures, key=lambda item: item.scope.others != "")),
        tuple(sorted(outcomes, key=lambda item: item.scope.others != "")),
        tuple(notes),
    )


def _family(
    family: Sequence[tuple[Scope, list[tuple[str, str]]]],
    table: Table,
    cases: Sequence[str],
    seed: int,
    confidence: float,
) -> tuple[list[Comparison], list[OutcomeComparison]]:
    """All comparisons of one factor at the same other levels, corrected for their number."""
    figures: list[Comparison] = []
    outcomes: list[OutcomeComparison] = []
    for scope, pairs in family:
        names = [name for pair in pairs for name in pair]
        rows = [row for case in cases for name in names if (row := table.get((case, name))) is not None]
        # A figure that no row has, as of rehearsals where there are none, is not compared.
        told = [measure for measure in MEASURES if any(measure.value(row) is not None for row in rows)]
        figures += [_compare_figure(scope, each, pairs, table, cases, seed, confidence) for each in told]
        for outcome in OUTCOMES:
            if len(pairs) > 1:
                if any(outcome.asked(row) for row in rows):
                    figures.append(_compare_share(scope, outcome, pairs, table, cases, seed, confidence))
            elif (answers := _compare_outcome(scope, outcome, pairs[0], table, cases, confidence)) is not None:
                outcomes.append(answers)
    effects = [item.effect for item in figures if item.effect is not None]
    found = [effect.probability for effect in effects] + [item.shares.probability for item in outcomes]
    corrected = iter(holm(found))
    return (
        [item if item.effect is None else replace(item, corrected=next(corrected)) for item in figures],
        [replace(item, corrected=next(corrected)) for item in outcomes],
    )


def _compare_figure(
    scope: Scope, measure: Measure, pairs: Sequence[tuple[str, str]], table: Table, cases: Sequence[str],
    seed: int, confidence: float,
) -> Comparison:  # fmt: skip
    def why(row: Row) -> str:
        return row.status if row.status in ("failed", "infeasible") else "without the figure"

    effect, units, compared, left_out = _over_units(measure.value, why, pairs, table, cases, seed, confidence)
    return Comparison(
        scope, measure.name, measure.title, measure.unit, measure.better, units, compared, left_out, effect
    )


def _compare_share(
    scope: Scope, outcome: YesOrNo, pairs: Sequence[tuple[str, str]], table: Table, cases: Sequence[str],
    seed: int, confidence: float,
) -> Comparison:  # fmt: skip
    def percent(row: Row) -> float | None:
        answer = outcome.value(row)
        return None if answer is None else 100.0 * answer

    found = _over_units(percent, lambda row: "not asked", pairs, table, cases, seed, confidence)
    effect, units, compared, left_out = found
    return Comparison(scope, outcome.name, outcome.title, "%", 1, units, compared, left_out, effect)


def _over_units(
    value: Callable[[Row], float | None],
    why: Callable[[Row], str],
    pairs: Sequence[tuple[str, str]],
    table: Table,
    cases: Sequence[str],
    seed: int,
    confidence: float,
) -> tuple[PairedEffect | None, int, int, tuple[tuple[str, int], ...]]:
    """The paired effect over cases, the number of units, of those compared, and why others are left out."""
    first: list[float] = []
    second: list[float] = []
    missing: dict[str, int] = {}
    compared = 0
    for case in cases:
        both: list[tuple[float, float]] = []
        for names in pairs:
            rows = [table.get((case, name)) for name in names]
            values = [None if row is None else value(row) for row in rows]
            if values[0] is not None and values[1] is not None:
                both.append((values[0], values[1]))
                continue
            reason = _why_missing(rows, values, why)
            missing[reason] = missing.get(reason, 0) + 1
        if both:
            compared += len(both)
            first.append(sum(pair[0] for pair in both) / len(both))
            second.append(sum(pair[1] for pair in both) / len(both))
    effect = paired_effect(first, second, seed, confidence) if first else None
    return effect, len(cases) * len(pairs), compared, tuple(sorted(missing.items()))


def _why_missing(rows: Sequence[Row | None], values: Sequence[object], why: Callable[[Row], str]) -> str:
    """Why the rows at two levels give no pair of values."""
    return " and ".join(
        f"{which} {'not in the table' if row is None else why(row)}"
        for which, row, value in zip(("first", "second"), rows, values, strict=True)
        if value is None
    )


def _compare_outcome(
    scope: Scope, outcome: YesOrNo, pair: tuple[str, str], table: Table, cases: Sequence[str], confidence: float
) -> OutcomeComparison | None:
    """None where it is asked of no case at both levels."""
    first: list[bool] = []
    second: list[bool] = []
    missing: dict[str, int] = {}
    for case in cases:
        rows = [table.get((case, name)) for name in pair]
        answers = [None if row is None else outcome.value(row) for row in rows]
        if answers[0] is not None and answers[1] is not None:
            first.append(answers[0])
            second.append(answers[1])
            continue
        reason = _why_missing(rows, answers, lambda row: "not asked")
        missing[reason] = missing.get(reason, 0) + 1
    if not first:
        return None
    shares = paired_shares(first, second, confidence)
    return OutcomeComparison(scope, outcome.name, outcome.title, tuple(sorted(missing.items())), shares)
