"""Error distributions of many rehearsals, strategy by strategy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.outcome import RehearsalRun
from needleplan.uncertainty.rehearsal_statistics import ERRORS, Distribution, StrategyStatistics
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.overlay import FONT

_PAPER, _PRINT, _GREY = "#ffffff", "#1b2027", "#6b7480"
#: One colour a strategy, of Okabe and Ito; strategies stand in rows of their own besides.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_PANELS = (
    ("lateral_error_mm", "across the needle, mm"),
    ("depth_error_mm", "along the needle, mm (positive too deep)"),
    ("tip_error_mm", "at the tip, mm"),
)
#: Fewest and most bins of a distribution over the part of the axis that is shown; twice the root of the needles.
_BINS = (12, 60)
#: Values beyond this quantile of all may lie off the axis; they are counted in words.
_SHOWN = 0.995


def draw_rehearsals(
    runs: Sequence[RehearsalRun], statistics: Sequence[StrategyStatistics], *, title: str | None = None,
    width: int = 1700,
) -> RgbArray:  # fmt: skip
    """Lateral, depth and tip errors of every needle by strategy, with median, its interval and the 95th percentile.

    Args:
        runs: of all strategies.
        statistics: one for each strategy, in the order of drawing from above.
        title: heading; made from the number of runs where not given.
        width: of the picture in pixels; its height follows from the number of strategies.

    Returns:
        (height, width, 3) uint8.

    Raises:
        OptionError: no strategy placed a needle.
    """
    shown = [item for item in statistics if item.errors]
    if not shown:
        raise OptionError("no needle was placed in any rehearsal, so there is no error to draw")
    values = {
        (item.strategy, name): np.array(
            [ERRORS[name](n) for run in runs if run.strategy == item.strategy for n in run.needles]
        )
        for item in shown
        for name, _ in _PANELS
    }
    height = 210 + 115 * len(shown)
    figure = new_figure((width, height), _PAPER)
    heading = title or f"Errors of {shown[0].runs} rehearsals with each strategy"
    figure.text(0.012, 1 - 22 / height, heading, fontsize=15, weight="bold", family=FONT, color=_PRINT, va="top")
    figure.text(
        0.012, 1 - 56 / height,
        "filled: share of needles   |   line and number: median   |   dark bar: its 95 % interval over runs   |   "
        "tick and number: 95th percentile",
        fontsize=11, family=FONT, color=_GREY, va="top",
    )  # fmt: skip
    left, gap, right = 0.125, 0.022, 0.012
    panel = (1 - left - right - 2 * gap) / 3
    for k, (name, label) in enumerate(_PANELS):
        axes = figure.add_axes(
            (left + k * (panel + gap), 70 / height, panel, (height - 70 - 105) / height), facecolor=_PAPER
        )
        _draw_panel(axes, shown, {item.strategy: values[item.strategy, name] for item in shown}, name)
        axes.set_xlabel(label, fontsize=12, family=FONT, color=_PRINT)
        if k == 0:
            axes.set_yticks(range(len(shown)), [_label(item) for item in shown], fontsize=11.5, family=FONT)
        else:
            axes.set_yticks([])
    return rasterise(figure)


def _label(item: StrategyStatistics) -> str:
    missed = f"\n{item.not_carried_out} not placed" if item.not_carried_out else ""
    return f"{item.strategy.replace('-', ' ')}\n{item.needles} needles{missed}"


def _draw_panel(axes: Any, shown: Sequence[StrategyStatistics], values: dict[str, FloatArray], name: str) -> None:
    every = np.concatenate(list(values.values()))
    low, high = (float(np.quantile(every, q)) for q in (1 - _SHOWN, _SHOWN))
    low = min(low, 0.0) if name == "depth_error_mm" else 0.0
    high = max(high, low + 0.1, *(item.errors[name].percentile_95.value for item in shown))
    room = 0.05 * (high - low)
    needles = max(len(found) for found in values.values())
    edges = np.linspace(low, high, int(np.clip(2 * np.sqrt(needles), *_BINS)) + 1)
    for row, item in enumerate(shown):
        color = _COLORS[row % len(_COLORS)]
        share = np.histogram(values[item.strategy], edges)[0] / len(values[item.strategy])
        tall = 0.66 * share / max(float(share.max()), 1e-12)
        axes.stairs(row + 0.3 - tall, edges, baseline=row + 0.3, fill=True, color=color, alpha=0.35, lw=0)
        _draw_marks(axes, row, item.errors[name], color)
        beyond = int(((values[item.strategy] > high) | (values[item.strategy] < low)).sum())
        if beyond:
            axes.annotate(
                f"{beyond} beyond", (high + room, row - 0.4), (-2, 0), textcoords="offset points", ha="right",
                fontsize=9.5, family=FONT, color=_GREY,
            )  # fmt: skip
    if low < 0.0:
        axes.axvline(0.0, color=_GREY, lw=0.8, zorder=1)
    axes.set_xlim(low - (room if low < 0.0 else 0.0), high + room)
    axes.set_ylim(len(shown) - 0.38, -0.55)
    axes.tick_params(labelsize=10.5, colors=_PRINT, left=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GREY)


def _draw_marks(axes: Any, row: int, errors: Distribution, color: str) -> None:
    """Median with its interval and 95th percentile, with their figures."""
    median, far = errors.median, errors.percentile_95
    axes.plot([median.value] * 2, [row - 0.36, row + 0.3], color=color, lw=2.2, zorder=4)
    if median.low is not None and median.high is not None:
        axes.plot([median.low, median.high], [row + 0.3] * 2, color=_PRINT, lw=4.5, solid_capstyle="butt", zorder=5)
    axes.plot([far.value] * 2, [row + 0.1, row + 0.3], color=color, lw=2.2, zorder=4)
    # Below and above: the two may lie close together.
    for value, y, up in ((median.value, row + 0.3, False), (far.value, row + 0.1, True)):
        axes.annotate(
            f"{value:.2f}", (value, y), (0, 3 if up else -5), textcoords="offset points", ha="center",
            va="bottom" if up else "top", fontsize=10.5, family=FONT, color=_PRINT,
        )  # fmt: skip
