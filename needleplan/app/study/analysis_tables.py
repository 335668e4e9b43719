"""The tables of an analysis as plain columns, each with what it is: for CSV and for the glossary."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from needleplan.app.study.analysis import Analysis
from needleplan.app.study.analysis_levels import STATUSES
from needleplan.app.study.comparisons import Comparison, OutcomeComparison
from needleplan.app.study.study import Row, Times
from needleplan.io.study_table import descriptions
from needleplan.uncertainty.paired_statistics import OddsRatio
from needleplan.uncertainty.rehearsal_statistics import Estimate
from needleplan.uncertainty.sample_statistics import SampleMean

Value = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class AnalysisTable:
    """One table.

    Attributes:
        name: of its file, without ending.
        summary: what a row is.
        columns: name of each column and what it is; units stand in names or in a column ``unit``.
        rows: one value a column.
    """

    name: str
    summary: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Value, ...], ...]


def analysis_tables(analysis: Analysis) -> tuple[AnalysisTable, ...]:
    """Every table of the analysis; those without values have their columns alone."""
    return (
        _statuses(analysis), _indicators(analysis), _cells(analysis), _comparisons(analysis), _outcomes(analysis),
        _probes(analysis), _errors(analysis), _trends(analysis),
        _records("rows", "One case in one cell.", Row, analysis.rows),
        _records("times", "What one case in one cell cost.", Times, analysis.times),
    )  # fmt: skip


_CELL = (("cell", "name of the cell, see cells in study.json"), ("levels", "its levels of the factors that vary"))
_INTERVAL = (("low", "lower end of the 95 % interval; empty where there is none"), ("high", "upper end"))
_METHOD = ("method", "how the interval was made, or why there is none")


def _ends(estimate: Estimate | OddsRatio | None) -> tuple[Value, Value, Value]:
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)


def _statuses(analysis: Analysis) -> AnalysisTable:
    columns = (*_CELL, ("cases", "rows of the cell"), *((name, f"cases that are {name}") for name in STATUSES))
    rows: list[tuple[Value, ...]] = []
    for cell in analysis.cells:
        mine = [row.status for row in analysis.rows_of(cell.name)]
        rows.append((cell.name, cell.label, len(mine), *(mine.count(status) for status in STATUSES)))
    return AnalysisTable("status", "What came of the cases of one cell.", columns, tuple(rows))


def _indicators(analysis: Analysis) -> AnalysisTable:
    columns = (
        *_CELL, ("group", "heading of the indicator"), ("indicator", "its name"), ("title", "in words"),
        ("unit", "of value, low and high; % of cases for shares"), ("value", "the indicator"), *_INTERVAL,
        ("cases", "cases that it is over"), ("left_out", "cases of the cell that it is not over"), _METHOD,
        ("denominator", "which cases it is over"), ("definition", "what it is"),
    )  # fmt: skip
    rows = tuple(
        (
            item.cell, item.label, item.definition.group, item.definition.name, item.definition.title,
            item.definition.unit, *_ends(item.value), item.count, item.left_out, item.method,
            item.definition.denominator, item.definition.definition,
        )
        for item in analysis.indicators
    )  # fmt: skip
    return AnalysisTable("indicators", "One indicator of quality of one cell.", columns, rows)


def _cells(analysis: Analysis) -> AnalysisTable:
    columns = (
        *_CELL, ("figure", "name of the figure"), ("unit", "of all values"), ("cases", "cases that have it"),
        ("left_out", "cases of the cell that have it not"), ("mean", "arithmetic mean"), *_INTERVAL, _METHOD,
        ("median", "middle value"), ("median_low", "lower end of its exact interval"), ("median_high", "upper end"),
        ("sd", "standard deviation over the number less one"), ("least", "smallest value"),
        ("greatest", "largest value"),
    )  # fmt: skip
    rows = tuple(
        (
            item.cell, item.label, item.measure, item.unit, item.mean.count, item.left_out,
            *_ends(item.mean.estimate), item.mean.method, *_ends(item.median), item.sd, item.least, item.greatest,
        )
        for item in analysis.figures
    )  # fmt: skip
    return AnalysisTable("cells", "How one figure is distributed over the cases of one cell.", columns, rows)


_SCOPE = (
    ("factor", "that differs"), ("first", "its one level"), ("second", "its other level"),
    ("others", "levels of the other factors that vary; empty where the comparison is over all of them"),
)  # fmt: skip
_CORRECTED = ("corrected_p", "the same after Holm, for all comparisons of the factor at the same other levels")


def _scope(item: Comparison | OutcomeComparison) -> tuple[Value, ...]:
    return (item.scope.factor, item.scope.first, item.scope.second, item.scope.others)


def _why(left_out: Sequence[tuple[str, int]]) -> str:
    return "; ".join(f"{reason}: {count}" for reason, count in left_out)


def _comparisons(analysis: Analysis) -> AnalysisTable:
    columns = (
        *_SCOPE, ("figure", "name of the figure, or of an outcome whose share is compared"),
        ("unit", "of differences"),
        ("units", "cases times combinations of the other factors"),
        ("compared", "those in which both have the figure"),
        ("left_out", "why the others have not: their number by reason"), ("cases", "cases with a compared unit"),
        ("difference", "mean of first less second over cases"), *_INTERVAL, _METHOD,
        ("median", "median difference"), ("median_low", "lower end of its exact interval"),
        ("median_high", "upper end"),
        ("standardised", "mean over standard deviation of the differences, corrected for few cases (g)"),
        ("standardised_low", "lower end of its interval"), ("standardised_high", "upper end"),
        ("rank_biserial", "matched-pairs rank-biserial correlation, -1 to 1"),
        ("larger", "cases with the first larger"),
        ("smaller", "cases with the first smaller"), ("p", "probability by Wilcoxon's signed ranks, two sides"),
        _CORRECTED,
    )  # fmt: skip
    rows = []
    for item in analysis.comparisons.figures:
        effect = item.effect
        found: tuple[Value, ...] = (0, *(None,) * 14)
        if effect is not None:
            found = (
                effect.pairs, *_ends(effect.mean), effect.method, *_ends(effect.median),
                *_ends(effect.standardised),
                effect.rank_biserial, effect.larger, effect.smaller, effect.probability,
            )  # fmt: skip
        rows.append(
            (
                *_scope(item), item.measure, item.unit, item.units, item.compared, _why(item.left_out), *found,
                item.corrected,
            )
        )  # fmt: skip
    return AnalysisTable(
        "comparisons", "A figure at two levels of a factor, on the same cases.", columns, tuple(rows)
    )


def _outcomes(analysis: Analysis) -> AnalysisTable:
    columns = (
        *_SCOPE, ("outcome", "name of the outcome"), ("title", "in words"),
        ("cases", "cases with an answer at both levels"),
        ("left_out", "why others have none: their number by reason"),
        ("first_share", "share with a yes at the first level, 0 to 1"),
        ("first_low", "lower end (Clopper-Pearson)"),
        ("first_high", "upper end"), ("second_share", "the same at the second"), ("second_low", "lower end"),
        ("second_high", "upper end"), ("only_first", "cases with a yes at the first level alone"),
        ("only_second", "at the second alone"), ("difference", "first less second share"),
        ("difference_low", "lower end (Bonett-Price)"), ("difference_high", "upper end"),
        ("odds_ratio", "only_first over only_second; empty where infinite, or where no case differs"),
        ("odds_low", "lower end of its exact interval; empty where no case differs"),
        ("odds_high", "upper end; empty where infinite, or where no case differs"),
        ("p", "probability by McNemar's exact test, two sides"), _CORRECTED,
    )  # fmt: skip
    rows = tuple(
        (
            *_scope(item), item.outcome, item.title, item.shares.cases, _why(item.left_out),
            *_ends(item.shares.first), *_ends(item.shares.second), item.shares.only_first, item.shares.only_second,
            *_ends(item.shares.difference), *_ends(item.shares.odds_ratio), item.shares.probability, item.corrected,
        )
        for item in analysis.comparisons.outcomes
    )  # fmt: skip
    return AnalysisTable("outcomes", "A yes or no at two levels of a factor, on the same cases.", columns, rows)


def _mean(mean: SampleMean | None) -> tuple[Value, Value, Value]:
    return _ends(None if mean is None else mean.estimate)


def _probes(analysis: Analysis) -> AnalysisTable:
    columns = (
        ("group", "levels of the factors that a plan depends on"),
        ("probes", "number of probes; any where it was not bounded"),
        ("allowed", "true where that many were allowed; else that many are in the plan"),
        ("cases", "cases with a plan"), ("without_plan", "cases without one"),
        ("target_pct", "mean share of the target covered, %"), ("target_low", "lower end"),
        ("target_high", "upper end"),
        ("margin_pct", "mean share of target and margin, %"), ("margin_low", "lower end"),
        ("margin_high", "upper end"),
        ("complete_pct", "share of all cases whose plan is complete, %"), ("complete_low", "lower end"),
        ("complete_high", "upper end"),
    )  # fmt: skip
    rows = tuple(
        (
            item.group, "any" if item.probes is None else item.probes, item.allowed, item.cases, item.without_plan,
            *_mean(item.target), *_mean(item.margin), *_ends(item.complete),
        )
        for item in analysis.probes
    )  # fmt: skip
    return AnalysisTable("coverage_by_probes", "Coverage with a number of probes.", columns, rows)


def _errors(analysis: Analysis) -> AnalysisTable:
    columns = (
        ("source", "rehearsed, or the error budget"), ("levels", "of the cell; of rehearsals, all cells"),
        ("error_mm", "mean tip error of the bin, or root mean square displacement of the budget"),
        ("bin_low_mm", "lower edge of the bin"), ("bin_high_mm", "upper edge"),
        ("cases", "cases in the bin or cell"),
        ("margin_mm", "mean rehearsed least margin"), ("margin_low", "lower end"), ("margin_high", "upper end"),
        ("lost_mm", "mean of planned less rehearsed least margin"), ("lost_low", "lower end"),
        ("lost_high", "upper end"),
        ("covered_pct", "mean chance that the target is covered, %"), ("covered_low", "lower end"),
        ("covered_high", "upper end"), ("reached_pct", "mean chance that the margin is reached, %"),
        ("reached_low", "lower end"), ("reached_high", "upper end"),
    )  # fmt: skip
    rows = tuple(
        (
            item.source, item.cell, item.error_mm, item.low_mm, item.high_mm, item.cases, *_mean(item.margin),
            *_mean(item.lost), *_mean(item.chance_covered), *_mean(item.chance_margin),
        )
        for item in analysis.errors
    )  # fmt: skip
    return AnalysisTable("margin_by_error", "Margins at one size of placement error.", columns, rows)


def _trends(analysis: Analysis) -> AnalysisTable:
    columns = (
        ("levels", "of the cell"), ("cases", "with both figures"),
        ("slope", "mm of rehearsed least margin a mm of tip error (Theil and Sen)"), *_INTERVAL,
        ("rank_correlation", "of Spearman"),
    )  # fmt: skip
    rows = tuple((item.cell, item.cases, *_ends(item.slope), item.rank_correlation) for item in analysis.trends)
    return AnalysisTable("margin_trends", "How margin falls with tip error in one cell.", columns, rows)


def _records(name: str, summary: str, kind: type, records: Sequence[Row] | Sequence[Times]) -> AnalysisTable:
    told = descriptions(kind)
    fields = [field.name for field in dataclasses.fields(kind)]
    rows = tuple(tuple(getattr(record, field) for field in fields) for record in records)
    return AnalysisTable(name, summary, tuple((field, told.get(field, field)) for field in fields), rows)
