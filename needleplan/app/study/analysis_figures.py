"""The figures of an analysis, each from the values that are also in its tables."""

from collections.abc import Sequence

import numpy as np

from needleplan.app.study.analysis import Analysis
from needleplan.app.study.analysis_levels import PLANNED, STATUSES, factor_title
from needleplan.app.study.analysis_measures import MEASURES, WANTED_MARGIN_MM
from needleplan.app.study.comparisons import Comparison
from needleplan.uncertainty.rehearsal_statistics import Estimate
from needleplan.uncertainty.sample_statistics import SampleMean
from needleplan.viz.study_figures import (
    Cloud,
    ForestPanel,
    ForestRow,
    Line,
    draw_lines,
    draw_margin_error,
    draw_paired_differences,
)
from needleplan.viz.study_figures_canvas import StudyFigure
from needleplan.viz.study_figures_cells import DistributionPanel, draw_distributions, draw_statuses

#: Figures that are drawn, most telling first, as far as they differ anywhere.
_DRAWN = (
    "minimal_margin_mm", "margin_coverage_pct", "insertions", "rehearsed_minimal_margin_mm", "procedure_min",
    "tip_error_mm", "chance_margin_pct", "energy_min",
)  # fmt: skip
_MOST_PANELS = 4
#: More groups than this share one look, so only the first are drawn.
_MOST_GROUPS = 6


def study_figures(analysis: Analysis) -> tuple[StudyFigure, ...]:
    """All figures that the analysis has values for."""
    if not analysis.rows:
        return ()
    found = [_statuses(analysis), *_forests(analysis), *_probes(analysis), *_margins(analysis)]
    return (*found, *_distributions(analysis))


def _statuses(analysis: Analysis) -> StudyFigure:
    counts = []
    for cell in analysis.cells:
        found = [row.status for row in analysis.rows_of(cell.name)]
        counts.append((cell.label, {status: found.count(status) for status in STATUSES}))
    return draw_statuses(counts)


def _forests(analysis: Analysis) -> list[StudyFigure]:
    found = []
    for factor in analysis.factors:
        mine = [
            item for item in analysis.comparisons.figures if item.scope.factor == factor and not item.scope.others
        ]
        by_measure = {name: [item for item in mine if item.measure == name] for name in _DRAWN}
        differing = [name for name in _DRAWN if any(_differs(item) for item in by_measure[name])]
        told = (differing or [name for name in _DRAWN if by_measure[name]])[:_MOST_PANELS]
        # Panels share their rows, so a pair that one figure lacks is named there.
        scopes = list(dict.fromkeys((item.scope.first, item.scope.second) for item in mine))
        panels = [_panel(by_measure[name], scopes) for name in told]
        if panels and scopes:
            found.append(draw_paired_differences(f"paired-differences-{factor}", factor_title(factor), panels))
    return found


def _differs(item: Comparison) -> bool:
    return item.effect is not None and item.effect.larger + item.effect.smaller > 0


def _panel(items: Sequence[Comparison], scopes: Sequence[tuple[str, str]]) -> ForestPanel:
    by_scope = {(item.scope.first, item.scope.second): item for item in items}
    rows = []
    for first, second in scopes:
        item = by_scope.get((first, second))
        effect = None if item is None else item.effect
        corrected = None if item is None else item.corrected
        if effect is None:
            rows.append(ForestRow(first, second, None, 0, None))
        else:
            rows.append(ForestRow(first, second, effect.mean, effect.pairs, corrected))
    return ForestPanel(items[0].title, items[0].unit, items[0].better, tuple(rows))


def _probes(analysis: Analysis) -> list[StudyFigure]:
    points = analysis.probes
    if not points:
        return []
    groups = list(dict.fromkeys(point.group for point in points))
    shown = groups[:_MOST_GROUPS]
    # Plans without a bound on probes stand a step beyond the greatest bound, off the line.
    beyond = 1.0 + max((point.probes for point in points if point.probes is not None), default=0)
    words = {beyond: "any"} if any(point.probes is None for point in points) else {}

    def lines(of: str) -> list[Line]:
        made = []
        for group in shown:
            mine = [point for point in points if point.group == group]
            values: list[tuple[float, Estimate]] = []
            for point in mine:
                value: SampleMean | Estimate = getattr(point, of)
                x = beyond if point.probes is None else float(point.probes)
                values.append((x, value.estimate if isinstance(value, SampleMean) else value))
            made.append(Line(group or "all cases", tuple(values)))
        return made

    panels = [
        ("target covered, %", lines("target")),
        ("target and margin covered, %", lines("margin")),
        ("complete plans, %", lines("complete")),
    ]
    allowed = points[0].allowed
    caption = (
        "Mean share of volume over the cases with a plan, and share of all cases whose plan is complete, with "
    )
    caption += "95 % intervals, against the " + ("probes that were allowed." if allowed else "probes of the plan: ")
    if words:
        caption += " Any: as many as the planner allows by itself."
    if not allowed:
        caption += "cases that need more needles are larger, so this compares different cases."
    if len(groups) > len(shown):
        caption += f" The first {len(shown)} of {len(groups)} groups are drawn."
    label = "most probes allowed" if allowed else "probes of the plan"
    return [draw_lines("coverage-probes", "Coverage against probes", caption, panels, label, allowed, words)]


def _margins(analysis: Analysis) -> list[StudyFigure]:
    points: dict[str, list[tuple[float, float]]] = {}
    strategies = "strategy" in analysis.factors
    for row in analysis.rows:
        if row.tip_error_mm is not None and row.rehearsed_minimal_margin_mm is not None:
            group = str(row.strategy) if strategies else "case"
            points.setdefault(group, []).append((row.tip_error_mm, row.rehearsed_minimal_margin_mm))
    clouds = [Cloud(name, *np.array(sorted(values)).T) for name, values in sorted(points.items())]
    bins = [(point.error_mm, point.margin.estimate) for point in analysis.errors if point.margin is not None]
    known = [point for point in analysis.errors if point.chance_covered is not None]
    groups = list(dict.fromkeys(point.group for point in known))
    shown = groups[:_MOST_GROUPS]
    budgets = []
    for title, of in (("target covered, %", "chance_covered"), ("margin reached, %", "chance_margin")):
        lines = []
        for group in shown:
            # Cells that differ in nothing that chances depend on lie on one another, so one of them is drawn.
            sizes = {point.source: point for point in reversed(known) if point.group == group}
            told = sorted(sizes.values(), key=lambda point: point.error_mm)
            lines.append(Line(group, tuple((point.error_mm, getattr(point, of).estimate) for point in told)))
        if lines:
            budgets.append((title, lines))
    if not clouds and not budgets:
        return []
    more = f" The first {len(shown)} of {len(groups)} groups are drawn." if len(groups) > len(shown) else ""
    return [draw_margin_error(clouds, Line("mean in bins", tuple(bins)), budgets, WANTED_MARGIN_MM, more)]


def _distributions(analysis: Analysis) -> list[StudyFigure]:
    panels = []
    for name in _DRAWN:
        measure = next(item for item in MEASURES if item.name == name)
        values = []
        for cell in analysis.cells:
            rows = [row for row in analysis.rows_of(cell.name) if row.status in PLANNED]
            known = [value for row in rows if (value := measure.value(row)) is not None]
            values.append((cell.label, np.sort(np.array(known, dtype=np.float64))))
        if any(len(found) for _, found in values):
            panels.append(DistributionPanel(measure.title, measure.unit, tuple(values)))
    return [draw_distributions(panels[:_MOST_PANELS])] if panels else []
