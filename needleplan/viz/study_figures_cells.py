"""The figures of a study cell by cell: distributions over cases, and what came of the cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np

from needleplan.frames import FloatArray
from needleplan.viz.study_figures_canvas import (
    COLORS,
    GREY,
    INK,
    MOST_ROWS,
    ONE_COLUMN_MM,
    STATUS_LOOKS,
    TWO_COLUMNS_MM,
    StudyFigure,
    distinct_labels,
    plain_axes,
    print_figure,
    print_style,
)

#: Up to this many cells stand in two rows of panels; more stand in one, of no more than so many panels.
_MOST_DOUBLED, _MOST_BESIDE = 8, 3


@dataclass(frozen=True, slots=True, eq=False)
class DistributionPanel:
    """One figure over cells: its title, its unit, and of every cell its label and (n,) values.

    Cells are told apart by their place, so all panels of a figure hold the same cells in one order.
    """

    title: str
    unit: str
    values: Sequence[tuple[str, FloatArray]]


def draw_distributions(panels: Sequence[DistributionPanel]) -> StudyFigure:
    """Boxes (quartiles, median, whiskers to 5 and 95 %) with the cases as points below, cell by cell."""
    labels = [text for text, _ in panels[0].values[:MOST_ROWS]]
    with print_style():
        # Many cells take one row of panels, so that the figure stays within a page.
        if len(labels) > _MOST_DOUBLED:
            panels = panels[:_MOST_BESIDE]
        columns = min(2 if len(labels) <= _MOST_DOUBLED else _MOST_BESIDE, len(panels))
        rows = -(-len(panels) // columns)
        figure = print_figure(TWO_COLUMNS_MM, rows * (18 + (6.5 if rows > 1 else 5.5) * len(labels)))
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        flat = [part for line in axes for part in line]
        for part, panel in zip(flat, panels, strict=False):
            for place, (_, values) in enumerate(panel.values[:MOST_ROWS]):
                _draw_box(part, place, values)
            _scale(part, panel)
            part.set_title(fill(panel.title, 20) if len(labels) > _MOST_DOUBLED else panel.title, loc="left")
            part.set_xlabel(panel.unit or "number")
            part.set_ylim(len(labels) - 0.4, -0.6)
            part.tick_params(axis="y", length=0)
            plain_axes(part, "x")
        for line in axes:
            line[0].set_yticks(range(len(labels)), distinct_labels(labels))
        for part in flat[len(panels) :]:
            part.set_visible(False)
    data = tuple(
        (panel.title, panel.unit, cell, float(value))
        for panel in panels
        for cell, values in panel.values
        for value in values
    )
    more = "" if len(labels) == len(panels[0].values) else f" The first {len(labels)} cells are drawn."
    caption = (
        "Distribution over the cases with a plan: box from the first to the third quartile with the median, "
        f"whiskers to the 5th and 95th percentile, and below it one point a case.{more}"
    )
    return StudyFigure(
        "distributions", "Distributions by cell", caption, ("figure", "unit", "cell", "value"), data, figure
    )


def _draw_box(axes: Any, place: int, values: FloatArray) -> None:
    if len(values) == 0:
        axes.annotate(
            "none", (0.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=6, color=GREY
        )
        return
    # The points have a lane of their own, as box and median would hide them. The same scatter in every run: a
    # sequence that fills evenly, of the golden ratio.
    scatter = 0.14 * (2.0 * np.mod(0.618034 * np.arange(len(values)), 1.0) - 1.0)
    axes.plot(
        values, place + 0.24 + scatter, marker="o", linestyle="none", markersize=1.7, markeredgewidth=0,
        color=COLORS[5], alpha=0.7, rasterized=len(values) > 300, zorder=2,
    )  # fmt: skip
    axes.boxplot(
        [values], positions=[place - 0.14], orientation="horizontal", widths=0.34, whis=(5, 95), showfliers=False,
        manage_ticks=False, zorder=3, boxprops={"color": INK, "linewidth": 0.8},
        medianprops={"color": COLORS[1], "linewidth": 1.6}, whiskerprops={"color": INK, "linewidth": 0.8},
        capprops={"color": INK, "linewidth": 0.8},
    )  # fmt: skip


def _scale(axes: Any, panel: DistributionPanel) -> None:
    """Whole numbers along the axis of counts, and no more than 100 along that of percentages."""
    values = np.concatenate([found for _, found in panel.values])
    low, high = axes.get_xlim()
    if panel.unit == "%":
        axes.set_xlim(low, min(high, 100.0 + 0.05 * (100.0 - low)))
    if not panel.unit and len(values) and (values == np.rint(values)).all():
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        if np.ptp(values) == 0.0:
            # One number alone: half a step to both sides, so that it is the only tick.
            axes.set_xlim(values[0] - 0.5, values[0] + 0.5)


def draw_statuses(counts: Sequence[tuple[str, Mapping[str, int]]]) -> StudyFigure:
    """Shares of cases by status, cell by cell, with their numbers; of every cell its label and its counts."""
    drawn = counts[:MOST_ROWS]
    labels = [text for text, _ in drawn]
    with print_style():
        figure = print_figure(TWO_COLUMNS_MM if len(labels) > 1 else ONE_COLUMN_MM, 22 + 6.5 * len(labels))
        axes = figure.subplots()
        for place, (_, found) in enumerate(drawn):
            total, left = sum(found.values()), 0.0
            for status, (color, hatch) in STATUS_LOOKS.items():
                count = found.get(status, 0)
                wide = 100.0 * count / total if total else 0.0
                axes.barh(
                    place, wide, left=left, height=0.68, color=color, hatch=hatch, edgecolor="white", linewidth=0.6
                )
                if wide > 3.5:
                    axes.text(
                        left + 0.5 * wide, place, str(count), ha="center", va="center", fontsize=6.5, color=INK,
                        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8},
                    )  # fmt: skip
                left += wide
        axes.set_yticks(
            range(len(labels)),
            [
                f"{shown}  (n = {sum(found.values())})"
                for (_, found), shown in zip(drawn, distinct_labels(labels), strict=True)
            ],
        )
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of cases, %")
        axes.tick_params(axis="y", length=0)
        from matplotlib.patches import Patch

        patches = [
            Patch(facecolor=color, hatch=hatch, edgecolor="white", label=status)
            for status, (color, hatch) in STATUS_LOOKS.items()
        ]
        figure.legend(handles=patches, loc="outside lower center", ncols=4, frameon=False)
        plain_axes(axes)
    data = tuple((cell, status, found.get(status, 0)) for cell, found in counts for status in STATUS_LOOKS)
    more = "" if len(labels) == len(counts) else f" The first {len(labels)} of {len(counts)} cells are drawn."
    caption = f"What came of the cases in every cell; the numbers are cases.{more}"
    return StudyFigure("status", "Status by cell", caption, ("cell", "status", "cases"), data, figure)
