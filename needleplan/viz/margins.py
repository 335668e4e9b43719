"""The signed margin over the tumour's surface: a map, a histogram with shares, and the tumour painted by it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from needleplan.anatomy.model import Anatomy
from needleplan.assess import Assessment
from needleplan.frames import FloatArray
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.margin_shares import MarginBin, checked_margins, margin_bins, margin_map, vertex_areas_mm2
from needleplan.viz.offscreen import Body, View, render
from needleplan.viz.orientation import anatomical_axes, direction_letters
from needleplan.viz.overlay import FONT, LegendEntry, bar_length_mm, draw_legend, draw_scale_bar, picture_axes
from needleplan.viz.palette import BACKGROUND, INK
from needleplan.viz.planes import centroid_mm

_PAPER, _PRINT, _GREY = "#ffffff", "#1b2027", "#6b7480"


def _draw_map(figure: Any, place: tuple[float, float, float, float], least: FloatArray, anatomy: Anatomy,
              bins: Sequence[MarginBin], minimum_at: FloatArray, minimum: float) -> None:  # fmt: skip
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patheffects import withStroke

    axes = figure.add_axes(place, projection="mollweide")
    limits = [b.high_mm for b in bins[:-1]]
    borders = [min(float(least.min()), limits[0]) - 1.0, *limits, max(float(least.max()), limits[-1]) + 1.0]
    palette = ListedColormap([b.color for b in bins])
    across = np.linspace(-np.pi, np.pi, least.shape[1] + 1)
    upward = np.linspace(-np.pi / 2, np.pi / 2, least.shape[0] + 1)
    axes.pcolormesh(
        across, upward, least, cmap=palette, norm=BoundaryNorm(borders, len(bins)), rasterized=True, zorder=1
    )
    axes.set_xticklabels([])
    axes.set_yticklabels([])
    axes.grid(True, color="#000000", alpha=0.18, lw=0.7)
    stroke = [withStroke(linewidth=3.2, foreground="#ffffff")]
    for letter, lon, lat in (("A", 0.0, 0.0), ("R", -np.pi / 2, 0.0), ("L", np.pi / 2, 0.0)):
        axes.text(lon, lat, letter, ha="center", va="center", fontsize=15, weight="bold", color=_PRINT,
                  family=FONT, path_effects=stroke, zorder=5)  # fmt: skip
    for letter, x, y, h, v in (
        ("S", 0.5, 1.02, "center", "bottom"), ("I", 0.5, -0.02, "center", "top"),
        ("P", -0.012, 0.5, "right", "center"), ("P", 1.012, 0.5, "left", "center"),
    ):  # fmt: skip
        axes.text(x, y, letter, transform=axes.transAxes, ha=h, va=v, fontsize=15, weight="bold", color=_PRINT,
                  family=FONT)  # fmt: skip
    direction = minimum_at @ anatomical_axes(anatomy.case)
    length = float(np.linalg.norm(direction))
    if length > 1e-9:
        lon = float(np.arctan2(direction[0], -direction[1]))
        lat = float(np.arcsin(np.clip(direction[2] / length, -1, 1)))
        axes.plot(lon, lat, marker="X", ms=13, mfc="#ffffff", mec="#000000", mew=1.6, zorder=6)
        side = -1 if lon > 0 else 1
        axes.annotate(
            f"least margin {minimum:+.1f} mm", (lon, lat), (14 * side, -16 if lat > 0 else 16),
            textcoords="offset points", ha="left" if side > 0 else "right", va="center", fontsize=12,
            family=FONT, color="#000000", zorder=7,
            bbox={"boxstyle": "round,pad=0.3", "fc": "#ffffff", "ec": "#000000", "lw": 0.8, "alpha": 0.92},
        )  # fmt: skip


def _draw_histogram(axes: Any, margins: FloatArray, weight: FloatArray, bins: Sequence[MarginBin],
                    minimum: float) -> None:  # fmt: skip
    """Share of the surface for each millimetre of margin, and the share with less, at the right."""
    low, high = np.floor(margins.min()), np.ceil(margins.max() + 1e-9)
    width = max(1.0, np.ceil((high - low) / 40))
    edges = {float(b.high_mm) for b in bins[:-1]}
    edges |= set(np.arange(low, high + width, width).tolist())
    borders = np.array(sorted(edges))
    share, _ = np.histogram(margins, bins=borders, weights=weight)
    for left, right, value in zip(borders[:-1], borders[1:], share, strict=True):
        color = next(b.color for b in bins if b.low_mm <= left < b.high_mm)
        axes.bar(left, 100 * value / (right - left), right - left, align="edge", color=color, ec=_PAPER, lw=0.8)
    axes.set_xlabel("signed margin, mm", fontsize=12, family=FONT, color=_PRINT)
    axes.set_ylabel("% of the surface per mm", fontsize=12, family=FONT, color=_PRINT)
    axes.set_ylim(0, None)
    axes.set_xlim(min(borders[0], -1.0), borders[-1])
    order = np.argsort(margins)
    total = axes.twinx()
    total.plot(
        np.r_[margins[order][0], margins[order]], np.r_[0, 100 * np.cumsum(weight[order])], color=_PRINT, lw=1.8
    )
    total.set_ylim(0, 102)
    total.set_ylabel("% with less margin", fontsize=12, family=FONT, color=_PRINT)
    for each in (axes, total):
        each.tick_params(labelsize=11, colors=_PRINT)
        each.spines["top"].set_visible(False)
        each.spines[["left", "bottom", "right"]].set_color(_GREY)
    for border in (b.high_mm for b in bins[:-1]):
        axes.axvline(border, color=_GREY, lw=1, ls=(0, (4, 3)), zorder=0)
    axes.plot(minimum, 0.0, marker="X", ms=12, mfc="#ffffff", mec="#000000", mew=1.5, clip_on=False, zorder=9)


def _draw_shares(axes: Any, bins: Sequence[MarginBin]) -> None:
    """The bins as one bar of full width, each with its share."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
    left = 0.0
    for one in bins:
        axes.barh(0.7, one.share, height=0.42, left=left, color=one.color, ec=_PAPER, lw=1.5)
        left += one.share
    for index, one in enumerate(bins):
        x = index / len(bins)
        axes.plot([x + 0.012], [0.2], marker="s", ms=12, color=one.color, mec=_GREY, mew=0.6)
        axes.text(x + 0.04, 0.2, f"{one.label}:  {one.percent}", fontsize=12.5, family=FONT,
                  color=_PRINT, va="center")  # fmt: skip


def draw_margins(
    anatomy: Anatomy,
    assessment: Assessment,
    *,
    title: str = "Margin around the tumour",
    size: tuple[int, int] = (1500, 1080),
) -> RgbArray:
    """Map of the signed margin over the tumour's surface and its area-weighted histogram.

    Args:
        anatomy: the patient.
        assessment: the score; its margins belong to the vertices of the target's mesh.
        title: heading.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8.

    Raises:
        OptionError: the margins do not belong to this target.
    """
    mesh = anatomy.target.mesh
    asked = assessment.metrics.margin_mm
    margins = checked_margins(mesh, assessment.vertex_margins_mm, asked)
    bins = margin_bins(mesh, margins, asked)
    weight = vertex_areas_mm2(mesh)
    weight = weight / weight.sum()
    centre = centroid_mm(anatomy)
    least = margin_map(mesh, margins, centre, anatomical_axes(anatomy.case))
    lowest = int(np.argmin(margins))
    figure = new_figure(size, _PAPER)
    figure.text(0.03, 0.975, title, fontsize=16, weight="bold", family=FONT, color=_PRINT, va="top")
    figure.text(
        0.03, 0.938, "every direction from the tumour's centre, seen by someone who faces the patient",
        fontsize=12, family=FONT, color=_GREY, va="top",
    )  # fmt: skip
    _draw_map(
        figure, (0.14, 0.46, 0.72, 0.415), least, anatomy, bins, mesh.vertices_mm[lowest] - centre, margins[lowest]
    )
    _draw_shares(figure.add_axes((0.08, 0.335, 0.84, 0.085)), bins)
    _draw_histogram(figure.add_axes((0.08, 0.07, 0.84, 0.245)), margins, weight, bins, float(margins[lowest]))
    return rasterise(figure)


def render_margins(
    anatomy: Anatomy,
    assessment: Assessment,
    *,
    title: str = "Tumour painted by margin",
    size: tuple[int, int] = (1500, 480),
) -> RgbArray:
    """The tumour from the front, the right, the back and the left, painted by the bins of the margin.

    Arguments, result and errors as of :func:`draw_margins`; RenderingError where nothing can be rendered.
    """
    mesh = anatomy.target.mesh
    asked = assessment.metrics.margin_mm
    margins = checked_margins(mesh, assessment.vertex_margins_mm, asked)
    bins = margin_bins(mesh, margins, asked)
    axes = anatomical_axes(anatomy.case)
    left, posterior, superior = axes.T
    width, height = size
    head, foot = round(0.12 * height), round(0.13 * height)
    cell = (width // 4, height - head - foot)
    middle = mesh.bounds_mm.mean(axis=0)
    offset = mesh.vertices_mm - middle
    tall = 2.2 * max(
        float(np.abs(offset @ superior).max()),
        float(np.hypot(offset @ left, offset @ posterior).max()) * cell[1] / cell[0],
    )
    lowest = mesh.vertices_mm[int(np.argmin(margins))]
    figure = new_figure(size, BACKGROUND)
    page = picture_axes(figure)
    body = Body(
        anatomy.target.drawn_mesh,
        vertex_values=margins,
        value_bins=tuple((b.high_mm, b.color) for b in bins),
        shininess=0.12,
    )
    for index, direction in enumerate((-posterior, -left, posterior, left)):
        view = View(direction, superior, middle, tall)
        tile = render([body], view, cell, BACKGROUND)
        x = index * cell[0]
        page.imshow(tile, extent=(x, x + cell[0], head + cell[1], head), interpolation="none", aspect="auto")
        letters = {
            "left": direction_letters(-view.right, axes), "right": direction_letters(view.right, axes),
        }  # fmt: skip
        page.text(x + 12, head + cell[1] / 2, letters["left"], color=INK, fontsize=14, weight="bold", va="center",
                  family=FONT)  # fmt: skip
        page.text(x + cell[0] - 12, head + cell[1] / 2, letters["right"], color=INK, fontsize=14, weight="bold",
                  va="center", ha="right", family=FONT)  # fmt: skip
        name = ("from the front", "from the right", "from behind", "from the left")[index]
        page.text(x + cell[0] / 2, head - 4, name, color=INK, fontsize=12, ha="center", va="bottom", family=FONT)
        if float((lowest - middle) @ direction) > 0:
            px, py = view.pixels(lowest, cell)
            page.plot(x + px, head + py, marker="X", ms=11, mfc="#ffffff", mec="#000000", mew=1.4, zorder=9)
    page.set_xlim(0, width)
    page.set_ylim(height, 0)
    page.text(0.012 * width, 0.02 * height, title, color=INK, fontsize=13.5, weight="bold", va="top", family=FONT)
    length = bar_length_mm(tall * cell[0] / cell[1], 0.3)
    draw_scale_bar(page, 0.02 * width, 0.955 * height, length * cell[1] / tall, f"{length} mm", size=10.5)
    for index, one in enumerate(bins):
        draw_legend(
            page, (0.32 + 0.2 * index) * width, 0.9 * height,
            [LegendEntry(f"{one.label}: {one.percent}", one.color)], 11.5, bottom=0.98 * height,
        )  # fmt: skip
    page.plot(0.215 * width, 0.928 * height, marker="X", ms=11, mfc="#ffffff", mec="#000000", mew=1.4)
    page.text(0.226 * width, 0.928 * height, "least margin", color=INK, fontsize=11.5, va="center", family=FONT)
    return rasterise(figure)
