"""Figures for print: widths of a journal's columns, safe colours and marks, vector files and their data."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from needleplan.io.plan_file import write_bytes
from needleplan.viz.overlay import FONT

#: Widths of one and two columns of a page.
ONE_COLUMN_MM, TWO_COLUMNS_MM = 85.0, 175.0
INK, GREY, LIGHT = "#1b2027", "#5d6672", "#d9dee4"
#: Colours of Okabe and Ito (Color Universal Design, 2008) that stand out on white, each with a mark of its own.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
#: Statuses: colour and hatch.
STATUS_LOOKS = {
    "complete": ("#0072b2", ""),
    "partial": ("#f0e442", "////"),
    "infeasible": ("#d55e00", "...."),
    "failed": ("#5d6672", "xxxx"),
}
#: More rows than this are not drawn; the data hold them all.
MOST_ROWS = 30
_MM_PER_INCH = 25.4
#: Most steps between ticks that are tried where labels would touch.
_MOST_TICK_STEPS = 6
_RASTER_DPI = 300
_STYLE = {
    "font.family": FONT,
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.5,
    # Names are text: a dollar sign in one begins no formula.
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "needleplan",
}


@dataclass(frozen=True, slots=True, eq=False)
class StudyFigure:
    """A drawn figure and the numbers in it.

    Attributes:
        name: of its files, without ending.
        title: short heading.
        caption: what is seen, in one or two sentences.
        columns: names of the columns of its data.
        data: one tuple a row.
        figure: of matplotlib.
    """

    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    data: tuple[tuple[str | float | int | None, ...], ...]
    figure: Any

    def content(self, kind: str) -> bytes:
        """The figure as pdf, svg, or png at 300 dots an inch; the same bytes for the same data."""
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {}
        if kind == "pdf":
            metadata = {"CreationDate": None}
        buffer = BytesIO()
        with print_style():
            if self.figure.get_layout_engine() is not None:
                # The layout takes most of the time and is the same in every format.
                self.figure.draw_without_rendering()
                self.figure.set_layout_engine("none")
                _part_tick_labels(self.figure)
            self.figure.savefig(buffer, format=kind, dpi=_RASTER_DPI, metadata=metadata)
        return buffer.getvalue()

    def inline_svg(self) -> str:
        """The svg element alone, as a page holds it, told as one picture with the figure's title."""
        from html import escape

        # Who drew it is of no use within a page.
        text = re.sub(r"<metadata>.*?</metadata>", "", self.content("svg").decode(), flags=re.DOTALL)
        begin = text.index("<svg")
        label = escape(self.title, quote=True)
        return f'<svg role="img" aria-label="{label}"{text[begin + 4 :]}'.strip()

    def save(self, folder: Path) -> list[Path]:
        """Write the figure as PDF, SVG and PNG, each whole or not at all."""
        paths = []
        for kind in ("pdf", "svg", "png"):
            path = folder / f"{self.name}.{kind}"
            write_bytes(path, self.content(kind))
            paths.append(path)
        return paths


@contextmanager
def print_style() -> Iterator[None]:
    """Style of print; letters that the font lacks are drawn as boxes and not complained about."""
    from matplotlib import rc_context

    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def print_figure(width_mm: float, height_mm: float) -> Any:
    """An empty figure of a size in print; its axes are laid out so that no text is cut."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_mm / _MM_PER_INCH, height_mm / _MM_PER_INCH), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: Any, grid: str = "") -> None:
    """Axes without a box, with a faint grid along ``grid`` (x or y)."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis=grid, color=LIGHT, linewidth=0.5)
        axes.set_axisbelow(True)


def _part_tick_labels(figure: Any) -> None:
    """Fewer ticks along x wherever their labels would touch; the figure must have been laid out."""
    from matplotlib.ticker import MaxNLocator

    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        locator = axes.xaxis.get_major_locator()
        for most in range(_MOST_TICK_STEPS, 0, -1) if isinstance(locator, MaxNLocator) else ():
            low, high = sorted(axes.get_xlim())
            texts = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            # Those that stand outside of the axis are not drawn.
            boxes = [text.get_window_extent(renderer) for place, text in texts if low <= place <= high]
            gap = 0.5 * max((box.height for box in boxes), default=0.0)
            if all(after.x0 - before.x1 >= gap for before, after in pairwise(boxes)):
                break
            locator.set_params(nbins=most)


def label(text: str, most: int = 60) -> str:
    """A name as a figure shows it: on one line, without what cannot be printed, its middle cut out if too long.

    Labels of cells begin with the device and end with the breathing, and differ there.
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    if len(shown) <= most:
        return shown
    tail = most // 2
    return f"{shown[: most - 1 - tail].rstrip(' ,')}…{shown[len(shown) - tail :].lstrip(' ,')}"


def distinct_labels(texts: Sequence[str], most: int = 60) -> list[str]:
    """Labels of several names; numbered where the cut would make two of them the same."""
    shown = [label(text, most) for text in texts]
    if len(set(shown)) == len(shown):
        return shown
    return [f"{number}: {label(text, most - 4)}" for number, text in enumerate(texts, 1)]
