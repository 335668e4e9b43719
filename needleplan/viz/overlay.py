"""Marks on a rendered picture: legend, scale bar, numbers and the orientation cube."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.frames import FloatArray
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.offscreen import View
from needleplan.viz.orientation import LETTERS
from needleplan.viz.palette import BACKGROUND, INK, PANEL

#: Font of every picture; DejaVu Sans comes with matplotlib, so pictures look the same everywhere.
FONT = "DejaVu Sans"
#: Share of the picture's width that the legend column takes.
LEGEND_SHARE = 0.2
_BAR_LENGTHS_MM = (2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One line of a legend.

    Attributes:
        label: text.
        color: hexadecimal RGB.
        style: "area" for a filled patch, "line", "dashed" or "dotted" for contours, "text" for a heading.
        opacity: of the patch.
    """

    label: str
    color: str
    style: str = "area"
    opacity: float = 1.0


def bar_length_mm(extent_mm: float, share: float = 0.22) -> int:
    """The longest round length of at most ``share`` of ``extent_mm``."""
    fitting = [length for length in _BAR_LENGTHS_MM if length <= share * extent_mm]
    return fitting[-1] if fitting else _BAR_LENGTHS_MM[0]


def picture_axes(figure: Any) -> Any:
    """Axes over the whole figure whose units are pixels from the upper left corner."""
    width, height = figure.get_size_inches() * figure.dpi
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return axes


def draw_scale_bar(
    axes: Any, left: float, bottom: float, length: float, text: str, size: float = 11.5, color: str = INK
) -> None:
    """A bar of ``length`` in the units of ``axes``, whose vertical axis points down, with its text above."""
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=3.5, foreground=BACKGROUND)]
    tick = length * 0.045
    axes.plot([left, left + length], [bottom, bottom], color=color, lw=2.4, path_effects=outline, zorder=50)
    for x in (left, left + length):
        axes.plot([x, x], [bottom - tick, bottom + tick], color=color, lw=1.6, path_effects=outline, zorder=50)
    axes.annotate(
        text, (left + length / 2, bottom), (0, 6), textcoords="offset points", ha="center", va="bottom",
        color=color, fontsize=size, family=FONT, path_effects=outline, zorder=50,
    )  # fmt: skip


def draw_legend(
    axes: Any, left: float, top: float, entries: Sequence[LegendEntry], size: float, bottom: float
) -> None:
    """Legend lines from the top, in pixels; the step shrinks where they would pass ``bottom``."""
    from matplotlib.patches import Rectangle

    step = min(size * 2.35, (bottom - top) / max(1, len(entries)))
    size = min(size, step / 1.75)
    patch = size * 1.35
    y = top + step / 2
    for entry in entries:
        if entry.style == "text":
            axes.text(left, y, entry.label, color=entry.color, fontsize=size * 0.92, family=FONT, va="center")
        elif entry.style == "area":
            box = Rectangle(
                (left, y - patch * 0.42), patch * 1.35, patch * 0.84, facecolor=entry.color,
                alpha=entry.opacity, edgecolor="none",
            )  # fmt: skip
            axes.add_patch(box)
            axes.add_patch(
                Rectangle(
                    box.get_xy(), box.get_width(), box.get_height(), facecolor="none", edgecolor=entry.color, lw=1
                )
            )
        else:
            pattern = {"line": "-", "dashed": (0, (3.2, 1.6)), "dotted": (0, (1, 1.4))}[entry.style]
            axes.plot([left, left + patch * 1.35], [y, y], color=entry.color, lw=2.4, ls=pattern)
        if entry.style != "text":
            axes.text(left + patch * 1.85, y, entry.label, color=INK, fontsize=size, family=FONT, va="center")
        y += step


def draw_cube(axes: Any, centre: tuple[float, float], half: float, view: View, anatomical: FloatArray) -> None:
    """A cube whose faces carry the letters R L A P S I, turned as the patient is, in pixels."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    camera = np.stack([view.right, view.up, view.direction])

    def project(points: ArrayLike) -> FloatArray:
        seen = np.asarray(points) @ anatomical.T @ camera.T
        return np.stack([centre[0] + half * seen[..., 0], centre[1] - half * seen[..., 1]], axis=-1)

    # In the anatomical frame (left, posterior, superior): each face with the direction that is up on it.
    for axis in range(3):
        for sign, letter in ((1.0, LETTERS[axis][0]), (-1.0, LETTERS[axis][1])):
            normal = np.zeros(3)
            normal[axis] = sign
            facing = float((anatomical @ normal) @ view.direction)
            if facing < 0.02:
                continue
            up = np.array([0.0, 0.0, 1.0]) if axis != 2 else np.array([0.0, 1.0 if sign < 0 else -1.0, 0.0])
            right = np.cross(up, normal)
            corners = [normal + u * right + v * up for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            shade = 0.30 + 0.55 * facing
            tone = tuple(shade * c + (1 - shade) * 0.1 for c in (0.80, 0.84, 0.90))
            axes.add_patch(Polygon(project(corners), closed=True, facecolor=tone, edgecolor=PANEL, lw=1.2))
            text = TextPath((0, 0), letter, size=1.25, prop=FontProperties(family=FONT, weight="bold"))
            box = text.get_extents()
            offset = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
            flat = text.vertices - offset
            placed = project(1.001 * normal + flat[:, :1] * right + flat[:, 1:] * up)
            axes.add_patch(PathPatch(Path(placed, text.codes), facecolor="#12151a", edgecolor="none"))


def compose(
    rendering: RgbArray,
    view: View,
    anatomical: FloatArray,
    title: str,
    entries: Sequence[LegendEntry],
    labels: Sequence[tuple[FloatArray, str, str]] = (),
) -> RgbArray:
    """The rendering with a legend column at its right, title, scale bar, cube and labels.

    Args:
        rendering: (h, w, 3) pixels of the scene.
        view: the camera it was taken with.
        anatomical: (3, 3) columns left, posterior, superior of the patient.
        title: heading.
        entries: the legend.
        labels: for each label its point (3,) in mm, its text and its colour.

    Returns:
        (h, w / (1 - LEGEND_SHARE), 3) pixels.
    """
    height, scene = rendering.shape[:2]
    width = round(scene / (1 - LEGEND_SHARE))
    figure = new_figure((width, height), BACKGROUND)
    axes = picture_axes(figure)
    axes.imshow(rendering, extent=(0, scene, height, 0), interpolation="none", aspect="auto", zorder=0)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    unit = height / 100
    axes.text(
        2.2 * unit, 2.4 * unit, title, color=INK, fontsize=14.5, family=FONT, va="top", weight="bold",
    )  # fmt: skip
    column = scene + 1.5 * unit
    draw_legend(axes, column, 2.4 * unit, entries, 11.5, bottom=78 * unit)
    draw_cube(axes, (scene + (width - scene) / 2, 88.5 * unit), 4.2 * unit, view, anatomical)
    length_mm = bar_length_mm(view.height_mm * scene / height)
    draw_scale_bar(axes, 3 * unit, 96 * unit, length_mm * height / view.height_mm, f"{length_mm} mm")
    points = [point for point, _, _ in labels]
    if points:
        for (x, y), (_, text, color) in zip(view.pixels(points, (scene, height)), labels, strict=True):
            axes.text(
                min(max(x, 3 * unit), scene - 3 * unit), min(max(y, 7 * unit), height - 4 * unit), text,
                color="#12151a", fontsize=11, family=FONT, weight="bold", ha="center", va="center",
                bbox={"boxstyle": "circle,pad=0.28", "facecolor": color, "edgecolor": BACKGROUND, "lw": 1.2},
            )  # fmt: skip
    return rasterise(figure)
