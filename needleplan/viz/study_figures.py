"""The figures of a study that compare: paired differences, lines with intervals, margins against errors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np

from needleplan.frames import FloatArray
from needleplan.uncertainty.rehearsal_statistics import Estimate
from needleplan.viz.study_figures_canvas import (
    COLORS,
    GREY,
    INK,
    MARKS,
    MOST_ROWS,
    ONE_COLUMN_MM,
    TWO_COLUMNS_MM,
    StudyFigure,
    distinct_labels,
    label,
    plain_axes,
    print_figure,
    print_style,
)

#: More points than this are drawn as a picture within the vector files.
_MOST_VECTOR_POINTS = 1500
#: No more whole numbers than this are told along an axis.
_MOST_TICKS = 12
#: Differences of percentages are told as such.
_DIFFERENCE_UNITS = {"%": "percentage points"}
_BETTER = {1: "more is better", -1: "less is better", 0: ""}


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One difference of a forest plot.

    Attributes:
        first: the level from which the other is taken.
        second: the other level.
        estimate: first less second; None where no case has both.
        pairs: number of cases.
        corrected: its probability, corrected; a filled mark stands for one below 0.05.
    """

    first: str
    second: str
    estimate: Estimate | None
    pairs: int
    corrected: float | None


@dataclass(frozen=True, slots=True)
class ForestPanel:
    """One figure of a forest plot: its title, its unit, whether more (1) or less (-1) is better, its rows."""

    title: str
    unit: str
    better: int
    rows: tuple[ForestRow, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line with intervals: a name and points of x and y."""

    name: str
    points: tuple[tuple[float, Estimate], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Points of one group: (n,) x and (n,) y."""

    name: str
    x: FloatArray
    y: FloatArray


def draw_paired_differences(name: str, factor: str, panels: Sequence[ForestPanel]) -> StudyFigure:
    """A forest plot of the mean paired differences between every two levels of a factor; panels share rows."""
    shown = min(MOST_ROWS, len(panels[0].rows))
    with print_style():
        figure = print_figure(TWO_COLUMNS_MM, 30 + 7.2 * shown)
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, part in zip(panels, axes, strict=True):
            _draw_forest(part, panel, shown)
        levels = list(dict.fromkeys(name for row in panels[0].rows for name in (row.first, row.second)))
        told = dict(zip(levels, distinct_labels(levels, 26), strict=True))
        names = [f"{told[row.first]}\nless {told[row.second]}" for row in panels[0].rows[:shown]]
        axes[0].set_yticks(range(shown), names)
    more = "" if shown == len(panels[0].rows) else f" The first {shown} of {len(panels[0].rows)} pairs are drawn."
    columns = ("figure", "unit", "first", "second", "difference", "low", "high", "pairs", "corrected_p")
    data = tuple(
        (panel.title, panel.unit, row.first, row.second, *_numbers(row.estimate), row.pairs, row.corrected)
        for panel in panels
        for row in panel.rows
    )
    caption = (
        f"Mean paired difference on the same cases with its 95 % interval, by {factor}; the number of pairs stands "
        f"above each. A filled mark: probability below 0.05 after the correction of Holm.{more}"
    )
    return StudyFigure(name, f"Paired differences by {factor}", caption, columns, data, figure)


def _draw_forest(axes: Any, panel: ForestPanel, shown: int) -> None:
    axes.axvline(0.0, color=GREY, linewidth=0.7)
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    for place, row in enumerate(panel.rows[:shown]):
        if row.estimate is None:
            # In the middle of the panel, as zero may lie at its edge.
            axes.annotate(
                "no pairs", (0.5, place), xycoords=("axes fraction", "data"), ha="center", va="center", color=GREY,
                fontsize=6, bbox=ground,
            )  # fmt: skip
            continue
        value, low, high = _numbers(row.estimate)
        clear = row.corrected is not None and row.corrected < 0.05
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=COLORS[0], linewidth=1.2, solid_capstyle="butt")
        axes.plot(
            [value], [place], marker="s", markersize=4.2, color=COLORS[0], linestyle="none",
            markerfacecolor=COLORS[0] if clear else "white",
        )  # fmt: skip
        axes.annotate(
            f"n = {row.pairs}", (value, place), (0, 4.5), textcoords="offset points", ha="center", fontsize=5.5,
            color=GREY, bbox=ground,
        )  # fmt: skip
    axes.set_ylim(shown - 0.4, -0.75)
    axes.set_title(fill(panel.title, 20), loc="left")
    hint = _BETTER[panel.better]
    unit = _DIFFERENCE_UNITS.get(panel.unit, panel.unit) or "number"
    axes.set_xlabel("\n".join(part for part in (unit, hint) if part))
    axes.margins(x=0.12)
    if not any(end for row in panel.rows[:shown] for end in _numbers(row.estimate)):
        # Without any difference there is nothing that a finer scale would show.
        axes.set_xlim(-1.0, 1.0)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    plain_axes(axes, "x")


def draw_lines(
    name: str,
    title: str,
    caption: str,
    panels: Sequence[tuple[str, Sequence[Line]]],
    x_label: str,
    joined: bool,
    words: Mapping[float, str] | None = None,
) -> StudyFigure:
    """Points with intervals in panels side by side, lines through them where ``joined``.

    Each panel has its label of y, and all the same lines; one whose label ends in % shows no more than 100. Places
    of x that stand for no number have ``words``, which the axis and the data tell; no line leads there.
    """
    named = {} if words is None else words
    with print_style():
        width = ONE_COLUMN_MM if len(panels) == 1 else TWO_COLUMNS_MM
        names = [line.name for line in panels[0][1]]
        figure = print_figure(width, 62 + 4.5 * -(-len(names) // 2) * (len(names) > 1))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for part, (y_label, lines) in zip(axes, panels, strict=True):
            ticks = sorted({x for line in lines for x, _ in line.points})
            # A little apart, so that intervals at the same place are seen, and no farther than to the next place.
            gap = float(np.diff(ticks).min()) if len(ticks) > 1 else 1.0
            span = ticks[-1] - ticks[0] if len(ticks) > 1 else 1.0
            step = min(0.03 * span, 0.7 * gap / max(1, len(lines)))
            for k, line in enumerate(lines):
                shift = step * (k - 0.5 * (len(lines) - 1))
                _draw_line(part, line, k, shift, joined, named)
            if all(float(x).is_integer() for x in ticks):
                numbers = [x for x in ticks if x not in named]
                told = [*numbers[:: -(-len(numbers) // _MOST_TICKS) or 1], *(x for x in ticks if x in named)]
                part.set_xticks(told, [named.get(x, f"{x:g}") for x in told])
            part.set_xlabel(x_label)
            part.set_ylabel(y_label)
            part.margins(x=0.08)
            if y_label.endswith("%"):
                low, high = part.get_ylim()
                part.set_ylim(low, 100.0 + 0.05 * (100.0 - low) if high > 99.0 else high)
            plain_axes(part, "y")
        if len(names) > 1:
            handles, _ = axes[0].get_legend_handles_labels()
            figure.legend(handles, distinct_labels(names, 52), loc="outside lower center", ncols=2, frameon=False)
    columns = ("panel", "line", "x", "y", "low", "high")
    data = tuple(
        (y_label, line.name, named.get(x, x), *_numbers(estimate))
        for y_label, lines in panels
        for line in lines
        for x, estimate in line.points
    )
    bare = _hollow(line for _, lines in panels for line in lines)
    return StudyFigure(name, title, caption + bare, columns, data, figure)


def _draw_line(axes: Any, line: Line, number: int, shift: float, joined: bool, named: Mapping[float, str]) -> None:
    # A place that is no number breaks the line before it and after it.
    gap = (np.nan, Estimate(np.nan, None, None))
    points = [each for point in line.points for each in ([gap, point, gap] if point[0] in named else [point])]
    x = np.array([point[0] for point in points]) + shift
    y, ends = _ends([point[1] for point in points])
    color, mark = COLORS[number % len(COLORS)], MARKS[number % len(MARKS)]
    style = ("-", "--", "-.", ":")[number % 4] if joined else "none"
    axes.errorbar(
        x, y, yerr=ends, color=color, marker=mark, markersize=4.0, linewidth=1.0, elinewidth=0.8, capsize=1.8,
        linestyle=style, label=line.name,
    )  # fmt: skip
    bare = np.isnan(ends).all(axis=0)
    axes.plot(
        x[bare], y[bare], color=color, marker=mark, markersize=4.0, markerfacecolor="white", linestyle="none",
        zorder=3,
    )  # fmt: skip


def draw_margin_error(
    clouds: Sequence[Cloud],
    binned: Line,
    budgets: Sequence[tuple[str, Sequence[Line]]],
    wanted_mm: float,
    note: str = "",
) -> StudyFigure:
    """Rehearsed least margin against tip error, and chances against the size of error budgets; either may lack.

    Args:
        clouds: rehearsed margins, one mark a case.
        binned: their means in bins of error.
        budgets: panels of chances, each its label and a line for every group; the same groups in each.
        wanted_mm: margin that is marked.
        note: sentences that end the caption.
    """
    panels = bool(clouds) + len(budgets)
    names = [line.name for line in budgets[0][1] if line.name] if budgets else []
    with print_style():
        width = ONE_COLUMN_MM if panels == 1 else TWO_COLUMNS_MM
        figure = print_figure(width, 66 + 4.5 * -(-len(names) // 2))
        axes = list(figure.subplots(1, panels, squeeze=False)[0])
        if clouds:
            _draw_clouds(axes.pop(0), clouds, binned, wanted_mm)
        for part, (y_label, lines) in zip(axes, budgets, strict=True):
            sizes = [x for line in lines for x, _ in line.points]
            for k, line in enumerate(lines):
                # A little apart, so that intervals at the same place are seen.
                shift = 0.008 * max(sizes, default=1.0) * (k - 0.5 * (len(lines) - 1))
                _draw_line(part, line, k, shift, True, {})
            # In two lines, as three panels share the width.
            part.set_xlabel("error of the budget,\nroot mean square, mm")
            part.set_ylabel(f"chance: {y_label}")
            part.set_xlim(0.0, 1.15 * max(sizes, default=1.0))
            part.set_ylim(-3, 103)
            plain_axes(part, "y")
        if names:
            handles, _ = axes[0].get_legend_handles_labels()
            figure.legend(handles, distinct_labels(names, 52), loc="outside lower center", ncols=2, frameon=False)
    data: list[tuple[str | float | int | None, ...]] = [
        ("case", "", cloud.name, float(x), float(y), None, None)
        for cloud in clouds
        for x, y in zip(cloud.x, cloud.y, strict=True)
    ]
    data += [("bin", "", binned.name, x, *_numbers(estimate)) for x, estimate in binned.points]
    data += [
        ("budget", y_label, line.name, x, *_numbers(estimate))
        for y_label, lines in budgets
        for line in lines
        for x, estimate in line.points
    ]
    parts = ["Margins: least margin of rehearsals against the error at the tip, one mark a case, with the mean and "
             "its 95 % interval in bins of error."] if clouds else []  # fmt: skip
    if budgets:
        parts.append("Chances: mean over cases with its 95 % interval, against the size of the error budget.")
    bare = _hollow([binned, *(line for _, lines in budgets for line in lines)])
    return StudyFigure(
        "margin-error", "Margin against placement error", " ".join(parts) + bare + note,
        ("kind", "chance", "group", "error_mm", "value", "low", "high"), tuple(data), figure,
    )  # fmt: skip


def _draw_clouds(axes: Any, clouds: Sequence[Cloud], binned: Line, wanted_mm: float) -> None:
    many = sum(len(cloud.x) for cloud in clouds) > _MOST_VECTOR_POINTS
    for k, cloud in enumerate(clouds):
        axes.plot(
            cloud.x, cloud.y, marker=MARKS[k % len(MARKS)], linestyle="none", markersize=2.6, alpha=0.45,
            color=COLORS[k % len(COLORS)], markeredgewidth=0, label=label(cloud.name, 36), rasterized=many,
        )  # fmt: skip
    if binned.points:
        x = np.array([point[0] for point in binned.points])
        y, ends = _ends([point[1] for point in binned.points])
        bare = np.isnan(ends).all(axis=0)
        axes.errorbar(
            x, y, yerr=ends, color=INK, marker="_", markersize=7, linewidth=1.2, elinewidth=1.0, capsize=2.2,
            label="mean in bins",
        )  # fmt: skip
        axes.plot(
            x[bare], y[bare], color=INK, marker="s", markersize=3.6, markerfacecolor="white", linestyle="none",
            zorder=3,
        )  # fmt: skip
    for height, text in ((0.0, "target left below"), (wanted_mm, f"{wanted_mm:g} mm")):
        axes.axhline(height, color=GREY, linewidth=0.7, linestyle=":")
        axes.annotate(
            text, (1.0, height), (-2, 1.5), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="right", fontsize=5.5, color=GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.4},
        )  # fmt: skip
    axes.set_xlim(left=0.0)
    axes.set_xlabel("tip error, mm")
    axes.set_ylabel("least margin, rehearsed, mm")
    axes.legend(frameon=False, loc="best", handletextpad=0.3)
    plain_axes(axes)


def _ends(estimates: Sequence[Estimate]) -> tuple[FloatArray, FloatArray]:
    """(n,) values, and (2, n) how far their intervals reach below and above them; NaN for those that have none."""
    values = [_numbers(each) for each in estimates]
    y = np.array([value[0] for value in values], dtype=np.float64)
    ends = np.array([value[1:] for value in values], dtype=np.float64).reshape(-1, 2).T
    # Not below nothing, as rounding may put a value beyond its end.
    reach = np.maximum(0.0, np.stack([y - ends[0], ends[1] - y]))
    # Where one end alone is known, that one is drawn.
    return y, np.where(np.isnan(reach) & ~np.isnan(reach).all(axis=0), 0.0, reach)


def _hollow(groups: Iterable[Line]) -> str:
    """What a caption says of points without an interval; nothing where all have one."""
    bare = any(each.low is None and each.high is None for line in groups for _, each in line.points)
    return " A hollow mark has no interval: too few values, or all are equal." if bare else ""


def _numbers(estimate: Estimate | None) -> tuple[Any, Any, Any]:
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
