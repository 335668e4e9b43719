"""Sections of a zone in a plane along the needle: the field in colour, zones as contours, vessels and needles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import LethalZone, ZonePrediction
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, perpendicular_axes, unit_vector
from needleplan.grid import Grid, ScalarField
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.overlay import FONT, LegendEntry, bar_length_mm, draw_legend, draw_scale_bar, picture_axes
from needleplan.viz.palette import BACKGROUND, FAINT_INK, INK
from needleplan.viz.section import ImagePlane, outlines
from needleplan.viz.zone_looks import (
    ACTIVE_PART,
    BOUND,
    CENTRAL,
    COLD,
    HEAT,
    SHAFT,
    SHOWN_FIELDS,
    VESSEL,
    DrawnPart,
    DrawnVessel,
    FieldLook,
    field_strength_look,
)

#: Parts of needles farther than this from the plane are drawn as projections.
IN_PLANE_MM = 3.0
#: Free border about what a section shows, and the farthest that a vessel draws the border out.
_BORDER_MM, _VESSEL_REACH_MM = 7.0, 14.0
#: Samples of a section per voxel of the field, along each side.
_SAMPLES_PER_VOXEL = 2.0
_HALO = 3.0

Box = tuple[float, float, float, float]


def plane_along(tip_mm: ArrayLike, direction: ArrayLike, towards_mm: ArrayLike | None = None) -> ImagePlane:
    """The plane that holds a needle and a further point, the needle coming from above.

    Args:
        tip_mm: (3,) tip of the needle.
        direction: (3,) from entry to tip.
        towards_mm: (3,) point to the right of the needle; None, or a point on the needle, leaves the side open.
    """
    down = unit_vector(direction)
    tip = np.asarray(tip_mm, dtype=np.float64)
    right = perpendicular_axes(down)[0]
    if towards_mm is not None:
        aside = np.asarray(towards_mm, dtype=np.float64) - tip
        aside = aside - (aside @ down) * down
        if np.linalg.norm(aside) > 1e-6:
            right = unit_vector(aside)
    return ImagePlane("along the needle", tip, right, down)


@dataclass(frozen=True, slots=True, eq=False)
class SectionGrid:
    """Regular points of a plane that cover the part of a grid that the plane cuts.

    Attributes:
        plane: the plane.
        x_mm, y_mm: (w,) and (h,) coordinates of the points to the right and down.
    """

    plane: ImagePlane
    x_mm: FloatArray
    y_mm: FloatArray

    @classmethod
    def through(cls, grid: Grid, plane: ImagePlane) -> "SectionGrid":
        """Points over all of a grid, two for each voxel's side."""
        last = np.asarray(grid.shape) - 1.0
        corners = np.array([[x, y, z] for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])])
        flat = plane.flat(grid.to_patient(corners))
        step = float(grid.spacing_mm.min()) / _SAMPLES_PER_VOXEL
        low, high = flat.min(axis=0), flat.max(axis=0)
        count = np.floor((high - low) / step + 1e-6).astype(int) + 1
        return cls(plane, low[0] + step * np.arange(count[0]), low[1] + step * np.arange(count[1]))

    @property
    def points_mm(self) -> FloatArray:
        """(h * w, 3) points, row by row."""
        x, y = np.meshgrid(self.x_mm, self.y_mm)
        return self.plane.points_mm(np.stack([x.ravel(), y.ravel()], axis=1))

    def sample(self, field: ScalarField) -> NDArray[np.float32]:
        """(h, w) trilinear values; NaN outside the field's grid."""
        return field.sample(self.points_mm).reshape(len(self.y_mm), len(self.x_mm)).astype(np.float32)

    def signed_distance(self, zone: LethalZone) -> NDArray[np.float32]:
        """(h, w) signed distances to a zone in mm, positive inside."""
        values = np.nan_to_num(zone.signed_distance_mm(self.points_mm), neginf=-1e3)
        return values.reshape(len(self.y_mm), len(self.x_mm)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class SectionImage:
    """One moment of a section.

    Attributes:
        grid: the points.
        values: (h, w) of the field; NaN outside.
        level: (h, w) positive inside the zone.
        bounds: further zones, as ``level``, by what they are.
    """

    grid: SectionGrid
    values: NDArray[np.float32]
    level: NDArray[np.float32]
    bounds: tuple[tuple[str, NDArray[np.float32]], ...] = ()


def look_of_field(name: str, values: FloatArray | NDArray[np.float32]) -> FieldLook:
    """The look of a field by its name and values; raises OptionError for a field that no picture shows."""
    if name not in SHOWN_FIELDS:
        raise OptionError(f"no picture shows the field {name!r}: choose one of {', '.join(SHOWN_FIELDS)}")
    finite = np.asarray(values)[np.isfinite(values)]
    if name == "field_v_cm":
        return field_strength_look(float(np.percentile(finite, 99.0)))
    look = COLD if finite.size and finite.min() < 0.0 else HEAT
    return FieldLook(SHOWN_FIELDS[name], look.colors, look.low, look.high, look.lines, look.unit)


def shown_field(prediction: ZonePrediction) -> str | None:
    """Name of the field that a section of a prediction shows; None where the model knows none."""
    return next((name for name in SHOWN_FIELDS if name in prediction.fields), None)


def section_box(
    images: Sequence[SectionImage], parts: Sequence[DrawnPart], vessels: Sequence[DrawnVessel]
) -> Box:
    """Box (left, right, top, bottom) in the plane that shows all zones, active parts and vessels beside them."""
    grid = images[0].grid
    plane = grid.plane
    points = [plane.flat(np.array([p.start_mm, p.end_mm])) for p in parts if p.is_active]
    for image in images:
        for level in (image.level, *(bound for _, bound in image.bounds)):
            rows, columns = np.nonzero(level >= 0)
            if rows.size:
                points.append(np.stack([grid.x_mm[columns[[0, -1]]], grid.y_mm[rows[[0, -1]]]], axis=1))
                points.append(np.array([[grid.x_mm[columns.min()], grid.y_mm[0] * 0 + grid.y_mm[rows.min()]]]))
                points.append(np.array([[grid.x_mm[columns.max()], grid.y_mm[rows.max()]]]))
    low = np.min([p.min(axis=0) for p in points], axis=0) - _BORDER_MM
    high = np.max([p.max(axis=0) for p in points], axis=0) + _BORDER_MM
    for vessel in vessels:
        for loop in outlines(vessel.surface, plane):
            near, far = loop.min(axis=0), loop.max(axis=0)
            if (near < high + _VESSEL_REACH_MM).all() and (far > low - _VESSEL_REACH_MM).all():
                low = np.minimum(low, np.maximum(near - 3.0, low - _VESSEL_REACH_MM))
                high = np.maximum(high, np.minimum(far + 3.0, high + _VESSEL_REACH_MM))
    left, right = max(low[0], grid.x_mm[0]), min(high[0], grid.x_mm[-1])
    top, bottom = max(low[1], grid.y_mm[0]), min(high[1], grid.y_mm[-1])
    return float(left), float(right), float(top), float(bottom)


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
            np.full((len(grid.y_mm), len(grid.x_mm)), look.low), extent=extent, cmap=look.color_map(), vmin=look.low,
            vmax=look.high, interpolation="bilinear", aspect="equal", zorder=1,
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
                    self.grid.x_mm, self.grid.y_mm, image.values, levels=lines, colors="#ffffff",
                    linewidths=0.7 * self.line, alpha=0.45, linestyles="-", zorder=3,
                )  # fmt: skip
            )
        styles = ((0, (4.5, 2.2)), (0, (1.2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (3, 1)))
        drawn = [
            (bound, BOUND, styles[n % len(styles)], 1.4) for n, (_, bound) in enumerate(image.bounds)
        ] + [(image.level, CENTRAL, "-", 2.6)]  # fmt: skip
        for level, color, style, width in drawn:
            if not level.min() < 0 < level.max():
                continue
            contour = self.axes.contour(
                self.grid.x_mm, self.grid.y_mm, level, levels=[0.0], colors=color, linestyles=[style],
                linewidths=width * self.line, zorder=12,
            )  # fmt: skip
            if style == "-":
                contour.set(path_effects=[withStroke(linewidth=width * self.line + _HALO, foreground="#000000")])
            self._contours.append(contour)


def draw_color_bar(figure: Any, place: tuple[float, float, float, float], drawing: SectionDrawing) -> None:
    """A colour bar in figure coordinates (left, bottom, width, height), with the thin lines of the section."""
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
    for label in axes.get_yticklabels():
        label.set_family(FONT)
    axes.set_title(look.label, color=INK, fontsize=10, family=FONT, pad=14, loc="left")


def section_legend(
    image: SectionImage, parts: Sequence[DrawnPart], vessels: Sequence[DrawnVessel], criterion: str
) -> list[LegendEntry]:
    """Legend lines of a section."""
    entries = [LegendEntry(criterion, CENTRAL, "line")]
    for (name, _), style in zip(image.bounds, ("dashed", "dotted", "dashed", "dotted"), strict=False):
        entries.append(LegendEntry(name, BOUND, style))
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
    box = section_box([image], parts, vessels)
    pixels = picture_axes(figure)
    column = 0.60
    axes = figure.add_axes((0.02, 0.03, column, 0.84))
    drawing = SectionDrawing(axes, image.grid, look, box, parts, vessels, 1.2)
    drawing.show(image)
    draw_color_bar(figure, (0.655, 0.40, 0.018, 0.40), drawing)
    pixels.text(0.02 * width, 0.030 * height, title, color=INK, fontsize=15, family=FONT, weight="bold", va="top")
    pixels.text(0.02 * width, 0.083 * height, caption, color=FAINT_INK, fontsize=11.5, family=FONT, va="top")
    draw_legend(
        pixels, 0.65 * width, 0.645 * height, section_legend(image, parts, vessels, criterion), 11.0,
        bottom=0.97 * height,
    )  # fmt: skip
    return rasterise(figure)


def _draw_vessel(axes: Any, vessel: DrawnVessel, plane: ImagePlane, line: float) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Polygon

    for loop in outlines(vessel.surface, plane):
        axes.add_patch(
            Polygon(
                loop, closed=True, facecolor=to_rgba(VESSEL, 0.9), edgecolor="#dfe6ff", lw=1.1 * line, zorder=5
            )
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
        Polygon(strip, closed=True, facecolor=color, edgecolor="#101318", lw=0.9 * line, zorder=16, joinstyle="round")
    )
