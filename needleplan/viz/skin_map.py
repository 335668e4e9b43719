"""The skin painted by the best path that starts there, and by what blocks it where none does."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import Anatomy
from needleplan.frames import FloatArray
from needleplan.plan import Insertion
from needleplan.trajectory.skin_map import SkinMap
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.offscreen import Body, View, render_views
from needleplan.viz.orientation import anatomical_axes, direction_letters
from needleplan.viz.overlay import (
    FONT,
    LEGEND_SHARE,
    LegendEntry,
    bar_length_mm,
    draw_legend,
    draw_scale_bar,
    picture_axes,
)
from needleplan.viz.palette import (
    BACKGROUND,
    FAINT_INK,
    INK,
    SKIN_NOT_EXAMINED,
    TARGET,
    needle_color,
    rgb,
)
from needleplan.viz.skin_paint import PaintedSkin, paint_skin, score_colors, score_range

_VIEWS = ("from the front", "from the patient's right", "from the patient's left", "from behind")
#: The skin's normal at a mark is that of the faces within this radius.
_NORMAL_RADIUS_MM = 8.0
#: Patches smaller than this share of what a view shows of the surface carry no number.
_NUMBERED_SHARE = 0.01


def render_skin_map(
    anatomy: Anatomy,
    skin: SkinMap,
    insertions: Sequence[Insertion] = (),
    *,
    title: str = "Where a path can start, and what blocks it elsewhere",
    size: tuple[int, int] = (1500, 1080),
) -> RgbArray:
    """The entry surface from four sides, painted by score and by what blocks, with the target's outline.

    Args:
        anatomy: the patient.
        skin: its skin map.
        insertions: planned needles, whose entries are marked.
        title: heading.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8.

    Raises:
        OptionError: the map belongs to another patient, or the picture would be too small.
        RenderingError: no off-screen rendering is possible here.
    """
    painted = paint_skin(anatomy, skin)
    width, height = size
    figure = new_figure(size, BACKGROUND)
    page = picture_axes(figure)
    scene = round(width * (1 - LEGEND_SHARE))
    head, foot = round(0.075 * height), round(0.05 * height)
    cell = (scene // 2, (height - head - foot) // 2)
    axes = anatomical_axes(anatomy.case)
    left, posterior, superior = axes.T
    mesh = anatomy.entry.drawn_mesh
    seen = mesh.vertices_mm[np.unique(mesh.faces[~anatomy.entry.cut_faces])]
    middle = 0.5 * ((seen @ axes).min(axis=0) + (seen @ axes).max(axis=0)) @ axes.T
    reach = np.abs((seen - middle) @ axes).max(axis=0)
    tall = 2.26 * max(float(reach[2]), float(max(reach[0], reach[1])) * cell[1] / cell[0])
    low, high = score_range(skin)
    body = _body(anatomy, painted, low, high)
    marks = _marks(painted, skin, insertions)
    views = [View(direction, superior, middle, tall) for direction in (-posterior, -left, left, posterior)]
    surfaces = render_views([body], views, cell, BACKGROUND)
    # The target lies inside: its outline is drawn as if the skin were glass.
    targets = render_views([Body(anatomy.target.drawn_mesh, "#ffffff", shininess=0.0)], views, cell, "#000000")
    for index, view in enumerate(views):
        corner = (index % 2 * cell[0], head + index // 2 * cell[1])
        _draw_view(page, painted, (surfaces[index], targets[index]), view, corner, cell)
        _draw_marks(page, marks, view, corner, cell)
        x, y = corner
        page.text(x + 16, y + 14, _VIEWS[index], color=INK, fontsize=12, va="top", family=FONT)
        for side, place, align in ((-view.right, 10, "left"), (view.right, cell[0] - 10, "right")):
            page.text(
                x + place, y + cell[1] / 2, direction_letters(side, axes), color=FAINT_INK, fontsize=14,
                weight="bold", va="center", ha=align, family=FONT,
            )  # fmt: skip
    page.set_xlim(0, width)
    page.set_ylim(height, 0)
    page.text(0.012 * width, 0.02 * height, title, color=INK, fontsize=14.5, weight="bold", va="top", family=FONT)
    length = bar_length_mm(tall * cell[0] / cell[1], 0.25)
    draw_scale_bar(page, 0.02 * width, 0.975 * height, length * cell[1] / tall, f"{length} mm", size=10.5)
    _draw_key(page, painted, skin, insertions, (scene + 0.012 * width, 0.02 * height), size, (low, high))
    return rasterise(figure)


def _body(anatomy: Anatomy, painted: PaintedSkin, low: float, high: float) -> Body:
    """The entry surface with the colour of each face."""
    flat = [SKIN_NOT_EXAMINED, *(patch.color for patch in painted.patches)]
    colors = np.round(255.0 * np.array([rgb(color) for color in flat])).astype(np.uint8)
    of_face = colors[np.maximum(painted.patch + 1, 0)]
    is_open = painted.patch == -1
    of_face[is_open] = score_colors((painted.cost[is_open] - low) / (high - low))
    return Body(anatomy.entry.drawn_mesh, face_colors=of_face, shininess=0.08)


def _draw_view(
    page: Any,
    painted: PaintedSkin,
    pictures: tuple[RgbArray, RgbArray],
    view: View,
    corner: tuple[int, int],
    cell: tuple[int, int],
) -> None:
    """One view of the surface with the target's outline, from pictures of both, and the numbers of the patches."""
    from matplotlib.patheffects import withStroke

    x, y = corner
    extent = (x, x + cell[0], y + cell[1], y)
    surface, target = pictures
    page.imshow(surface, extent=extent, interpolation="none", aspect="auto", zorder=0)
    shadow = target[..., 0] > 24
    across, down = x + np.arange(cell[0]) + 0.5, y + np.arange(cell[1]) + 0.5
    page.contourf(across, down, shadow, levels=(0.5, 1.5), colors=[TARGET], alpha=0.35, zorder=3)
    page.contour(across, down, shadow, levels=(0.5,), colors=["#14171c"], linewidths=3.4, zorder=3)
    page.contour(across, down, shadow, levels=(0.5,), colors=[TARGET], linewidths=1.8, zorder=4)
    facing = np.where(_seen(painted, view, cell), painted.area_vectors_mm2 @ view.direction, 0.0)
    total = float(facing[painted.patch > -2].sum())
    outline = [withStroke(linewidth=3, foreground="#14171c")]
    for index, patch in enumerate(painted.patches):
        weight = np.where(painted.patch == index, facing, 0.0)
        if float(weight.sum()) < _NUMBERED_SHARE * total:
            continue
        faces = np.flatnonzero(weight > 0)
        place = _heart(view.pixels(painted.centres_mm[faces], cell), weight[faces], cell)
        page.text(
            x + place[0], y + place[1], str(patch.number), color="#ffffff", fontsize=12, weight="bold",
            ha="center", va="center", family=FONT, path_effects=outline, zorder=5,
        )  # fmt: skip


def _seen(painted: PaintedSkin, view: View, cell: tuple[int, int]) -> NDArray[np.bool_]:
    """(f,) True for faces that look at the camera with nothing in front of them, by a coarse buffer of depths."""
    coarse = 6
    pixels = np.clip(view.pixels(painted.centres_mm, cell), 0.0, np.array(cell) - 1.0).astype(int) // coarse
    place = pixels[:, 1] * (cell[0] // coarse + 1) + pixels[:, 0]
    depth = painted.centres_mm @ view.direction
    front = np.full(int(place.max()) + 1, -np.inf)
    np.maximum.at(front, place, depth)
    # Within a block of the buffer an oblique surface recedes by a few times the block's size.
    slack = 4.0 * coarse * view.height_mm / cell[1]
    return np.asarray((painted.area_vectors_mm2 @ view.direction > 0) & (depth > front[place] - slack))


def _heart(pixels: FloatArray, weight: FloatArray, cell: tuple[int, int]) -> FloatArray:
    """(2,) pixel in the thick of a patch: where most of its area lies within a few millimetres of the page."""
    from scipy.ndimage import gaussian_filter

    coarse = 6
    shape = (cell[1] // coarse + 1, cell[0] // coarse + 1)
    column = np.clip(pixels[:, 0] / coarse, 0, shape[1] - 1).astype(int)
    row = np.clip(pixels[:, 1] / coarse, 0, shape[0] - 1).astype(int)
    density = np.bincount(row * shape[1] + column, weights=weight, minlength=shape[0] * shape[1]).reshape(shape)
    best = np.unravel_index(int(np.argmax(gaussian_filter(density, 4.0))), shape)
    # On the patch itself, also where the densest place lies between two of its parts.
    wanted = (np.array([best[1], best[0]]) + 0.5) * coarse
    return np.asarray(pixels[int(np.argmin(((pixels - wanted) ** 2).sum(axis=1)))])


@dataclass(frozen=True, slots=True, eq=False)
class _Mark:
    """A mark on the skin: a star without text, or a number in the colour of its needle."""

    point_mm: FloatArray
    normal: FloatArray
    text: str
    color: str


def _marks(painted: PaintedSkin, skin: SkinMap, insertions: Sequence[Insertion]) -> list[_Mark]:
    """The cheapest entry and those of planned needles, with the normal of the skin about them."""
    marked: list[tuple[FloatArray, str, str]] = []
    if skin.open.any():
        cheapest = int(np.argmin(np.where(skin.open, skin.best_cost, np.inf)))
        marked.append((skin.entry_mm[cheapest], "", "#ffffff"))
    marked += [(np.asarray(i.entry_mm), str(i.order), needle_color(i.order)) for i in insertions]
    result = []
    for point, text, color in marked:
        distance = ((painted.centres_mm - point) ** 2).sum(axis=1)
        near = distance <= max(_NORMAL_RADIUS_MM**2, float(distance.min()))
        result.append(_Mark(point, painted.area_vectors_mm2[near].sum(axis=0), text, color))
    return result


def _draw_marks(
    page: Any, marks: Sequence[_Mark], view: View, corner: tuple[int, int], cell: tuple[int, int]
) -> None:
    """The marks that face the camera."""
    for mark in marks:
        if float(mark.normal @ view.direction) <= 0:
            continue
        x, y = corner + view.pixels(mark.point_mm, cell)
        if not mark.text:
            page.plot(x, y, marker="*", ms=19, mfc=mark.color, mec="#14171c", mew=1.5, zorder=8)
            continue
        page.text(
            x, y, mark.text, color="#12151a", fontsize=10, weight="bold", ha="center", va="center", family=FONT,
            zorder=9, bbox={"boxstyle": "circle,pad=0.25", "facecolor": mark.color, "edgecolor": "#14171c",
                            "lw": 1.2},
        )  # fmt: skip


def _draw_key(
    page: Any,
    painted: PaintedSkin,
    skin: SkinMap,
    insertions: Sequence[Insertion],
    corner: tuple[float, float],
    size: tuple[int, int],
    costs: tuple[float, float],
) -> None:
    """The column at the right: scale of the scores, what blocks with shares of area, marks."""
    left, top = corner
    width, height = size
    wide = width - left - 0.02 * width
    y = top
    page.text(left, y, "Where a feasible path starts", color=INK, fontsize=12, weight="bold", va="top", family=FONT)
    y += 0.034 * height
    counted = f"from {int(skin.open.sum()):,} of {len(skin):,} entries, {_percent(painted.open_share)} of the skin"
    page.text(left, y, counted, color=FAINT_INK, fontsize=9.5, va="top", family=FONT)
    y += 0.034 * height
    if skin.open.any():
        page.text(left, y, "weighted cost of the best path", color=INK, fontsize=10.5, va="top", family=FONT)
        y += 0.03 * height
        ramp = score_colors(np.linspace(0.0, 1.0, 128))[None]
        deep = 0.022 * height
        page.imshow(ramp, extent=(left, left + wide, y + deep, y), aspect="auto", interpolation="none", zorder=2)
        y += deep + 0.008 * height
        for share, align in ((0.0, "left"), (0.5, "center"), (1.0, "right")):
            value = costs[0] + share * (costs[1] - costs[0])
            note = {0.0: "best ", 0.5: "", 1.0: "from "}[share]
            page.text(left + share * wide, y, f"{note}{value:.2f}", color=INK, fontsize=10.5, va="top", ha=align,
                      family=FONT)  # fmt: skip
        y += 0.055 * height
    else:
        y += 0.02 * height
    if painted.patches:
        page.text(left, y, "No path: what blocks", color=INK, fontsize=12, weight="bold", va="top", family=FONT)
        y += 0.04 * height
    entries = [
        LegendEntry(f"{patch.number}  {patch.label}, {_percent(patch.share)}", patch.color)
        for patch in painted.patches
    ]
    if painted.others:
        lines = textwrap.wrap(", ".join(painted.others), 36, max_lines=4, placeholder=" …")
        entries += [LegendEntry(f"      {line}", FAINT_INK, "text") for line in lines]
    if (painted.patch == -2).any():
        entries.append(LegendEntry("no entry allowed", SKIN_NOT_EXAMINED))
    step = 11.0 * 2.35
    draw_legend(page, left, y, entries, 11.0, bottom=min(y + step * len(entries), 0.88 * height))
    y = min(y + step * len(entries), 0.88 * height) + 0.03 * height
    marks = [LegendEntry("target, seen through the skin", TARGET, opacity=0.5)]
    draw_legend(page, left, y, marks, 11.0, bottom=y + step)
    y += step
    if skin.open.any():
        page.plot(left + 10, y + step / 2, marker="*", ms=15, mfc="#ffffff", mec="#14171c", mew=1.2)
        page.text(left + 11.0 * 1.35 * 1.85, y + step / 2, "entry of the best path", color=INK, fontsize=11.0,
                  va="center", family=FONT)  # fmt: skip
        y += step
    if insertions:
        words = "1   entry of the planned needle" if len(insertions) == 1 else "1 …  entries of planned needles"
        page.text(left + 4, y + step / 2, words, color=INK, fontsize=11.0, va="center", family=FONT)


def _percent(share: float) -> str:
    if share == 0:
        return "0 %"
    return f"{100 * share:.0f} %" if share >= 0.01 else "below 1 %"
