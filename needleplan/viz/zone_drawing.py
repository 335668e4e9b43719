"""Drawing of sections of a zone: field in colour, zones as contours, vessels and needles, colour bar, legend."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.overlay import FONT, LegendEntry, bar_length_mm, draw_legend, draw_scale_bar, picture_axes
from needleplan.viz.palette import BACKGROUND, FAINT_INK, INK
from needleplan.viz.section import ImagePlane, outlines
from needleplan.viz.zone_looks import (
    ACTIVE_PART,
    BOUND,
    CENTRAL,
    SHAFT,
    VESSEL,
    DrawnPart,
    DrawnVessel,
    FieldLook,
)
from needleplan.viz.zone_section import Box, SectionGrid, SectionImage, section_box

#: Parts of needles farther than this from the plane are drawn as projections.
IN_PLANE_MM = 3.0
_HALO = 3.0
#: Styles of the contours of bounds in turn, as the legend names them, and their patterns.
BOUND_STYLES = ("dashed", "dotted", "line")
_PATTERNS: Mapping[str, Any] = {"dashed": (0, (4.5, 2.2)), "dotted": (0, (1.2, 1.5)), "line": "-"}


class SectionDrawing:
    """A section in matplotlib axes, whose image and contours can be replaced for the next frame.

    Args:
        axes: of the figure; their units become mm of the plane.
        grid: points of the section.
        look: colours of the field.
        box: what is shown.
        parts: needles.
        vessels: vessels.
        line: factor on the widths of lines.
    """

    def __init__(
        self,
        axes: Any,
        grid: SectionGrid,
        look: FieldLook,
        box: Box,
        parts: Sequence[DrawnPart],
        vessels: Sequence[DrawnVessel],
        line: float = 1.0,
    ) -> None:
        self.axes, self.grid, self.look, self.line = axes, grid, look, line
        self._contours: list[Any] = []
        axes.set_facecolor("#000000")
        axes.set_xlim(box[0], box[1])
        axes.set_ylim(box[3], box[2])
        axes.set_aspect("equal", adjustable="box")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#3a414c")
        half = 0.5 * float(grid.x_mm[1] - grid.x_mm[0])
        extent = (grid.x_mm[0] - half, grid.x_mm[-1] + half, grid.y_mm[-1] + half, grid.y_mm[0] - half)
        self.image = axes.imshow(
            np.full((len(grid.y_mm), len(grid.x_mm)), look.low), extent=extent, cmap=look.color_map(),
            vmin=look.low, vmax=look.high, interpolation="bilinear", aspect="equal", zorder=1,
        )  # fmt: skip
        axes.set_xlim(box[0], box[1])
        axes.set_ylim(box[3], box[2])
        for vessel in vessels:
            _draw_vessel(axes, vessel, grid.plane, line)
        for part in parts:
            _draw_part(axes, part, grid.plane, line)
        width, height = box[1] - box[0], box[3] - box[2]
        length = bar_length_mm(width)
        draw_scale_bar(axes, box[0] + 0.05 * width, box[3] - 0.05 * height, length, f"{length} mm", size=10.5)

    def show(self, image: SectionImage) -> None:
        """Replace the field and all contours."""
        from matplotlib.patheffects import withStroke

        for contour in self._contours:
            contour.remove()
        self._contours = []
        self.image.set_data(image.values)
        low, high = np.nanmin(image.values), np.nanmax(image.values)
        lines = [value for value in self.look.lines if low < value < high]
        if lines:
            self._contours.append(
                self.axes.contour(
                    self.grid.x_mm,
                    self.grid.y_mm,
                    image.values,
                    levels=lines,
                    colors="#ffffff",
                    linewidths=0.7 * self.line,
                    alpha=0.45,
                    linestyles="-",
                    zorder=3,
                )
            )
        drawn: list[tuple[NDArray[np.float32], str, Any, float]] = [
            (bound, BOUND, _PATTERNS[BOUND_STYLES[n % len(BOUND_STYLES)]], 1.4)
            for n, (_, bound) in enumerate(image.bounds)
        ]
        drawn.append((image.level, CENTRAL, "-", 2.6))
        for level, color, style, width in drawn:
            if not level.min() < 0 < level.max():
                continue
            contour = self.axes.contour(
                self.grid.x_mm, self.grid.y_mm, level, levels=[0.0], colors=color, linestyles=[style],
                linewidths=width * self.line, zorder=12,
            )  # fmt: skip
            halo = _HALO if color == CENTRAL else 0.5 * _HALO
            contour.set(path_effects=[withStroke(linewidth=width * self.line + halo, foreground="#0b0d11")])
            self._contours.append(contour)


def draw_color_bar(
    figure: Any, place: tuple[float, float, float, float], drawing: SectionDrawing, label: str | None = None
) -> None:
    """A colour bar in figure coordinates (left, bottom, width, height), with the thin lines of the section.

    ``label`` stands above it instead of the look's own.
    """
    look = drawing.look
    axes = figure.add_axes(place)
    bar = figure.colorbar(drawing.image, cax=axes, extend="both", extendfrac=0.03)
    ticks = sorted({look.low, *look.lines, look.high})
    spread = look.high - look.low
    # A tick that would stand on its neighbour's number is left out.
    kept = [tick for k, tick in enumerate(ticks) if tick in look.lines or all(
        abs(tick - line) > 0.05 * spread for line in look.lines
    )]  # fmt: skip
    bar.set_ticks(kept, labels=[f"{tick:g}".replace("-", "\u2212") for tick in kept])
    for value in look.lines:
        axes.axhline(value, color="#ffffff", lw=0.8, alpha=0.6)
    bar.outline.set_edgecolor("#3a414c")
    axes.tick_params(colors=INK, labelsize=10, length=3, color=FAINT_INK)
    for text in axes.get_yticklabels():
        text.set_family(FONT)
    axes.set_title(look.label if label is None else label, color=INK, fontsize=10, family=FONT, pad=14, loc="left")


def wrapped_entry(entry: LegendEntry, characters: int) -> list[LegendEntry]:
    """A legend line, and lines without a patch for what does not fit into its ``characters``."""
    # A number stays with its unit.
    first, *rest = textwrap.wrap(entry.label.replace(" °C", "\u00a0°C"), characters) or [""]
    return [replace(entry, label=first), *(LegendEntry(f"      {line}", INK, "text") for line in rest)]


def section_legend(
    image: SectionImage,
    parts: Sequence[DrawnPart],
    vessels: Sequence[DrawnVessel],
    criterion: str,
    characters: int = 44,
) -> list[LegendEntry]:
    """Legend lines of a section, broken at ``characters``."""
    entries = wrapped_entry(LegendEntry(criterion, CENTRAL, "line"), characters)
    for n, (name, _) in enumerate(image.bounds):
        entries += wrapped_entry(LegendEntry(name, BOUND, BOUND_STYLES[n % len(BOUND_STYLES)]), characters)
    if any(part.is_active for part in parts):
        entries.append(LegendEntry("active part of the needle", ACTIVE_PART))
    if any(not part.is_active for part in parts):
        entries.append(LegendEntry("shaft", SHAFT))
    entries += [LegendEntry(vessel.name, VESSEL) for vessel in vessels]
    return entries


def draw_section(
    image: SectionImage,
    look: FieldLook,
    parts: Sequence[DrawnPart],
    vessels: Sequence[DrawnVessel] = (),
    *,
    title: str,
    caption: str,
    criterion: str = "zone",
    size: tuple[int, int] = (1280, 820),
) -> RgbArray:
    """One section with colour bar, legend, title and caption.

    Args:
        image: the moment that is shown.
        look: colours of its field.
        parts: needles.
        vessels: vessels.
        title: heading.
        caption: a line below it: time, power, setting.
        criterion: what the solid contour is.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8.
    """
    figure = new_figure(size, BACKGROUND)
    width, height = size
    column, tall = 0.60, 0.84
    box = section_box([image], parts, vessels, column * width / (tall * height))
    pixels = picture_axes(figure)
    axes = figure.add_axes((0.02, 0.03, column, tall))
    drawing = SectionDrawing(axes, image.grid, look, box, parts, vessels, 1.2)
    drawing.show(image)
    draw_color_bar(figure, (0.655, 0.43, 0.018, 0.38), drawing)
    pixels.text(0.02 * width, 0.030 * height, title, color=INK, fontsize=15, family=FONT, weight="bold", va="top")
    pixels.text(0.02 * width, 0.083 * height, caption, color=FAINT_INK, fontsize=11.5, family=FONT, va="top")
    draw_legend(
        pixels, 0.65 * width, 0.63 * height, section_legend(image, parts, vessels, criterion), 11.0,
        bottom=0.97 * height,
    )  # fmt: skip
    return rasterise(figure)


def _draw_vessel(axes: Any, vessel: DrawnVessel, plane: ImagePlane, line: float) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Polygon

    for loop in outlines(vessel.surface, plane):
        axes.add_patch(
            Polygon(loop, closed=True, facecolor=to_rgba(VESSEL, 0.9), edgecolor="#dfe6ff", lw=1.1 * line, zorder=5)
        )


def _draw_part(axes: Any, part: DrawnPart, plane: ImagePlane, line: float) -> None:
    """In the plane a strip of true width; beside it a dashed line where the part is projected."""
    from matplotlib.patches import Polygon

    ends = np.array([part.start_mm, part.end_mm])
    flat = plane.flat(ends)
    color = ACTIVE_PART if part.is_active else SHAFT
    if np.abs(plane.distance_mm(ends)).min() > IN_PLANE_MM:
        axes.plot(flat[:, 0], flat[:, 1], color=color, lw=1.3 * line, ls=(0, (4, 2.2)), alpha=0.8, zorder=14)
        return
    along = flat[1] - flat[0]
    length = float(np.linalg.norm(along))
    if length < 1e-6:
        return
    across = 0.5 * part.diameter_mm * np.array([-along[1], along[0]]) / length
    strip = np.array([flat[0] + across, flat[1] + across, flat[1] - across, flat[0] - across])
    axes.add_patch(
        Polygon(
            strip, closed=True, facecolor=color, edgecolor="#101318", lw=0.9 * line, zorder=16, joinstyle="round"
        )
    )
