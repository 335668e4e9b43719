"""What a study comes to: comparisons, indicators, coverage against probes, margin against placement error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.app.study.analysis_errors import ErrorPoint, Trend, budget_errors, rehearsed_errors, trends
from needleplan.app.study.analysis_levels import CellLevels, cells_of, ordered_rows, varying_factors
from needleplan.app.study.analysis_measures import MEASURES
from needleplan.app.study.analysis_probes import ProbesPoint, coverage_by_probes
from needleplan.app.study.comparisons import Comparisons, compare
from needleplan.app.study.indicators import Indicator, indicators
from needleplan.app.study.study import Row, Times
from needleplan.uncertainty.rehearsal_statistics import Estimate
from needleplan.uncertainty.sample_statistics import SampleMean, sample_mean, sample_median


@dataclass(frozen=True, slots=True)
class CellFigure:
    """How one figure is distributed over the cases of one cell.

    Attributes:
        cell: name of the cell.
        label: of the cell, in words.
        measure: name of the figure.
        unit: of the figure.
        mean: with its bootstrap interval.
        median: with its exact interval.
        sd: standard deviation over the number less one; None for a single case.
        least: smallest value.
        greatest: largest value.
        left_out: cases of the cell that have no such figure.
    """

    cell: str
    label: str
    measure: str
    unit: str
    mean: SampleMean
    median: Estimate
    sd: float | None
    least: float
    greatest: float
    left_out: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that is told of a study.

    Attributes:
        rows: in the order of cells and cases.
        times: as they were read.
        factors: that vary.
        cells: in their order.
        comparisons: between levels.
        indicators: of every cell.
        figures: distributions of every figure in every cell.
        probes: coverage against number of probes.
        errors: margin against placement error.
        trends: of margin with tip error.
        notes: what was not done, and why.
    """

    rows: tuple[Row, ...]
    times: tuple[Times, ...]
    factors: tuple[str, ...]
    cells: tuple[CellLevels, ...]
    comparisons: Comparisons
    indicators: tuple[Indicator, ...]
    figures: tuple[CellFigure, ...]
    probes: tuple[ProbesPoint, ...]
    errors: tuple[ErrorPoint, ...]
    trends: tuple[Trend, ...]
    notes: tuple[str, ...]

    def rows_of(self, cell: str) -> list[Row]:
        """The rows of one cell."""
        return [row for row in self.rows if row.cell == cell]


def analyse(
    rows: Sequence[Row], times: Sequence[Times] = (), *, seed: int = 0, confidence: float = 0.95
) -> Analysis:
    """All comparisons, indicators and tables of a study; the order of the rows means nothing.

    Args:
        rows: the results.
        times: what they cost.
        seed: of every bootstrap.
        confidence: of every interval.

    Raises:
        PlanFileError: the rows contradict each other.
        OptionError: the confidence is impossible.
    """
    ordered = ordered_rows(rows)
    comparisons = compare(ordered, seed, confidence)
    notes = list(comparisons.notes)
    limited = sum(row.time_limited for row in ordered)
    if limited:
        notes.append(
            f"in {limited} of {len(ordered)} rows a search ended by its time limit, so another machine may find "
            "other plans there"
        )
    return Analysis(
        ordered,
        tuple(sorted(times, key=lambda item: (item.cell, item.case))),
        varying_factors(ordered),
        cells_of(ordered),
        comparisons,
        indicators(ordered, times, seed, confidence),
        cell_figures(ordered, seed, confidence),
        coverage_by_probes(ordered, seed, confidence),
        (*rehearsed_errors(ordered, seed, confidence), *budget_errors(ordered, seed, confidence)),
        trends(ordered, confidence),
        tuple(notes),
    )


def cell_figures(rows: Sequence[Row], seed: int = 0, confidence: float = 0.95) -> tuple[CellFigure, ...]:
    """Distributions of every figure that a cell has."""
    found = []
    for cell in cells_of(rows):
        mine = [row for row in rows if row.cell == cell.name]
        for measure in MEASURES:
            values = np.sort([value for row in mine if (value := measure.value(row)) is not None])
            if len(values) == 0:
                continue
            found.append(
                CellFigure(
                    cell.name, cell.label, measure.name, measure.unit, sample_mean(values, seed, confidence),
                    sample_median(values, confidence), float(values.std(ddof=1)) if len(values) > 1 else None,
                    float(values[0]), float(values[-1]), len(mine) - len(values),
                )
            )  # fmt: skip
    return tuple(found)
