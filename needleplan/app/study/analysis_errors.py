"""Margin against placement error: as rehearsed, and under error budgets."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from needleplan.app.study.analysis_levels import PLANNED, cells_of, varying_factors
from needleplan.app.study.analysis_measures import margin_lost_mm
from needleplan.app.study.analysis_probes import percents
from needleplan.app.study.study import Row
from needleplan.uncertainty.presets import preset_budget, preset_names
from needleplan.uncertainty.rehearsal_statistics import Estimate
from needleplan.uncertainty.sample_statistics import SampleMean, sample_mean

#: Edges of the bins of tip error, mm; the last bin has no end.
TIP_ERROR_EDGES_MM = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0)

#: What chances depend on besides the error budget.
_CHANCE_FACTORS = ("device", "power_w", "margin_mm", "probes")


@dataclass(frozen=True, slots=True)
class ErrorPoint:
    """Margins at one size of placement error.

    Attributes:
        source: "rehearsed", or the name of the error budget.
        cell: label of the cell; of rehearsals, all cells together.
        group: levels of the other factors that chances depend on, in words; empty where none varies, or rehearsed.
        error_mm: of a bin, the mean tip error; of a budget, the root mean square displacement of the deepest tip.
        low_mm: lower edge of the bin; None of a budget.
        high_mm: upper edge; None where it has none.
        cases: rows in the bin or cell.
        margin: mean rehearsed least margin, mm; None of a budget.
        lost: mean of planned less rehearsed least margin, mm; None of a budget.
        chance_covered: mean chance that the target is covered, %; None of rehearsals.
        chance_margin: mean chance that the margin is reached, %; None of rehearsals.
    """

    source: str
    cell: str
    group: str
    error_mm: float
    low_mm: float | None
    high_mm: float | None
    cases: int
    margin: SampleMean | None
    lost: SampleMean | None
    chance_covered: SampleMean | None
    chance_margin: SampleMean | None


@dataclass(frozen=True, slots=True)
class Trend:
    """How margin falls with tip error over the cases of one cell.

    Attributes:
        cell: label of the cell.
        cases: with both figures.
        slope: median of the slopes between every two cases (Theil and Sen), mm of margin a mm of tip error.
        rank_correlation: of Spearman; None where one of the two is the same in all cases.
    """

    cell: str
    cases: int
    slope: Estimate
    rank_correlation: float | None


def rehearsed_errors(rows: Sequence[Row], seed: int = 0, confidence: float = 0.95) -> tuple[ErrorPoint, ...]:
    """Rehearsed margins by tip error, over all cells together.

    A case may stand in a bin with several cells; it enters with their mean, so that cases stay independent.
    """
    edges = (*TIP_ERROR_EDGES_MM, np.inf)
    found = []
    for low, high in pairwise(edges):
        by_case: dict[str, list[tuple[float, float, float]]] = {}
        for row in rows:
            lost = margin_lost_mm(row)
            if row.tip_error_mm is None or lost is None or row.rehearsed_minimal_margin_mm is None:
                continue
            if low <= row.tip_error_mm < high:
                by_case.setdefault(row.case, []).append((row.tip_error_mm, row.rehearsed_minimal_margin_mm, lost))
        if not by_case:
            continue
        error, margin, loss = np.array([np.mean(values, axis=0) for values in by_case.values()]).T
        found.append(
            ErrorPoint(
                "rehearsed", "all cells", "", float(np.sort(error).mean()), low, None if np.isinf(high) else high,
                len(by_case), sample_mean(margin, seed, confidence), sample_mean(loss, seed, confidence), None,
                None,
            )
        )  # fmt: skip
    return tuple(found)


def budget_errors(rows: Sequence[Row], seed: int = 0, confidence: float = 0.95) -> tuple[ErrorPoint, ...]:
    """Chances by error budget, cell by cell; of budgets that do not ship the size is not known here.

    The size of a budget is the root mean square displacement of a tip, the root of the trace of its covariance,
    at the mean depth of the cell's deepest needles.
    """
    found = []
    factors = [factor for factor in varying_factors(rows) if factor in _CHANCE_FACTORS]
    for cell in cells_of(rows):
        name = cell.level("error_budget")
        mine = [row for row in rows if row.cell == cell.name and row.status in PLANNED]
        covered = percents(row.chance_covered for row in mine)
        margin = percents(row.chance_margin for row in mine)
        depths = [row.deepest_mm for row in mine if row.deepest_mm is not None]
        if not covered or not margin or not depths or name not in preset_names():
            continue
        budget = preset_budget(str(name))
        covariance = budget.covariance_mm2((0.0, 0.0, 1.0), float(np.mean(np.sort(depths))), np.eye(3))
        found.append(
            ErrorPoint(
                str(name), cell.label, cell.text_of(factors), float(np.sqrt(np.trace(covariance))), None, None,
                len(covered), None, None, sample_mean(covered, seed, confidence),
                sample_mean(margin, seed, confidence),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda point: (point.error_mm, point.cell)))


def trends(rows: Sequence[Row], confidence: float = 0.95) -> tuple[Trend, ...]:
    """How the rehearsed least margin falls with tip error in each cell of three cases or more.

    Theil-Sen: ``scipy.stats.theilslopes`` (Sen, JASA 1968;63:1379).
    """
    from scipy import stats

    found = []
    for cell in cells_of(rows):
        pairs = sorted(
            (row.tip_error_mm, row.rehearsed_minimal_margin_mm)
            for row in rows
            if row.cell == cell.name
            and row.tip_error_mm is not None
            and row.rehearsed_minimal_margin_mm is not None
        )
        if len(pairs) < 3:
            continue
        error, margin = np.array(pairs).T
        if np.ptp(error) == 0.0:
            continue
        slope = stats.theilslopes(margin, error, alpha=confidence)
        rank = None if np.ptp(margin) == 0.0 else float(stats.spearmanr(error, margin).statistic)
        ends = (float(slope.low_slope), float(slope.high_slope))
        low, high = (None, None) if not np.isfinite(ends).all() else ends
        found.append(Trend(cell.label, len(pairs), Estimate(float(slope.slope), low, high), rank))
    return tuple(found)
