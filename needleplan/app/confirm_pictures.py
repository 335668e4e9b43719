"""Pictures of a confirmation: the tumour painted by margin, a histogram, and planes through the least margin."""

from typing import Any

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.confirmation.confirm import Confirmation
from needleplan.frames import FloatArray
from needleplan.viz.canvas import Picture, RgbArray, new_figure, rasterise
from needleplan.viz.margin_shares import MarginBin, vertex_areas_mm2
from needleplan.viz.offscreen import Body, RenderingError, View, render
from needleplan.viz.orientation import direction_letters
from needleplan.viz.overlay import FONT, LegendEntry, bar_length_mm, draw_legend, draw_scale_bar, picture_axes
from needleplan.viz.palette import BACKGROUND, COVERED, FAINT_INK, INK, INSUFFICIENT, NOT_ABLATED, TARGET, ZONE
from needleplan.viz.section import ImagePlane, anatomical_planes, outlines

#: Surface that the capsule rule leaves out, and the organ's outline.
_LEFT_OUT, _ORGAN = "#8a919c", "#d98c7e"
_AXES = np.eye(3)
#: Room for the mark of an entry of the legend with the gap after it, and for a letter of its text.
_LEGEND_MARK_PX, _LETTER_PX = 82.0, 8.9
_PAPER, _PRINT = "#ffffff", "#1b2027"


def draw_confirmation(found: Confirmation) -> tuple[Picture, ...]:
    """The pictures; the painted tumour is missing where nothing can be rendered."""
    bins = _bins(found)
    pictures = []
    try:
        pictures.append(
            Picture(
                "tumour",
                "The tumour painted by margin",
                "Signed margin over the tumour's surface from four sides, from below and from above.",
                _painted(found, bins),
            )
        )
    except RenderingError:
        pictures = []
    pictures.append(
        Picture(
            "planes",
            "Planes through the least margin",
            "Tumour, zone and organ in radiological convention; the cross marks the least margin.",
            _planes(found),
        )
    )
    pictures.append(
        Picture("histogram", "Margins by area", "Share of the tumour's surface at each margin.", _bars(found, bins))
    )
    return tuple(pictures)


def _bins(found: Confirmation) -> tuple[MarginBin, ...]:
    asked, shares = found.options.margin_mm, found.margins.shares
    bins = [
        MarginBin("surface outside the zone", -np.inf, 0.0, NOT_ABLATED, shares.uncovered),
        MarginBin(f"0 to {asked:g} mm", 0.0, asked, INSUFFICIENT, shares.short),
        MarginBin(f"{asked:g} mm or more", asked, np.inf, COVERED, shares.reached),
    ]
    return tuple(one for one in bins if one.high_mm > one.low_mm)


def _painted(found: Confirmation, bins: tuple[MarginBin, ...]) -> RgbArray:
    mesh, margins = found.margins.mesh, found.margins
    size = (1500, 960)
    head, foot, gap = 78, 66, 34
    cell = (size[0] // 3, (size[1] - head - foot - gap) // 2)
    middle = mesh.bounds_mm.mean(axis=0)
    reach = np.linalg.norm(mesh.vertices_mm - middle, axis=1).max()
    # Room for the letters above and below.
    tall = 2.4 * float(reach)
    values = tuple((one.high_mm, one.color) for one in bins)
    left_out = ~margins.counted[mesh.faces].all(axis=1)
    bodies = [
        Body(mesh, vertex_values=margins.margins_mm, value_bins=values, shininess=0.12, hidden_faces=left_out)
    ]
    if left_out.any():
        bodies.append(Body(mesh, _LEFT_OUT, shininess=0.12, hidden_faces=~left_out))
    left, posterior, superior = _AXES
    views = (
        ("from the front", -posterior, superior), ("from the right", -left, superior),
        ("from behind", posterior, superior), ("from the left", left, superior),
        ("from the feet", -superior, -posterior), ("from the head", superior, -posterior),
    )  # fmt: skip
    figure = new_figure(size, BACKGROUND)
    page = picture_axes(figure)
    for index, (name, direction, up) in enumerate(views):
        view = View(direction, up, middle, tall)
        tile = render(bodies, view, cell, BACKGROUND)
        x, y = (index % 3) * cell[0], head + (index // 3) * (cell[1] + gap)
        page.imshow(tile, extent=(x, x + cell[0], y + cell[1], y), interpolation="none", aspect="auto")
        _letters(page, (x, y), cell, view)
        page.text(x + cell[0] / 2, y - 6, name, color=INK, fontsize=12.5, ha="center", va="bottom", family=FONT)
        if float((margins.least_at_mm - middle) @ direction) > 0:
            px, py = view.pixels(margins.least_at_mm, cell)
            page.plot(x + px, y + py, marker="X", ms=12, mfc="#ffffff", mec="#000000", mew=1.4, zorder=9)
    page.set_xlim(0, size[0])
    page.set_ylim(size[1], 0)
    title = f"Margin over the tumour's surface, least {margins.least_mm:+.1f} mm"
    page.text(18, 16, title, color=INK, fontsize=15, weight="bold", va="top", family=FONT)
    length = bar_length_mm(tall * cell[0] / cell[1], 0.2)
    bottom = size[1] - 24
    draw_scale_bar(page, 24, bottom, length * cell[1] / tall, f"{length} mm", size=11)
    entries = [LegendEntry(f"{one.label}: {one.percent}", one.color) for one in bins]
    if left_out.any():
        entries.append(LegendEntry("left out by the capsule", _LEFT_OUT))
    mark = 200.0
    for entry in entries:
        draw_legend(page, mark, bottom - 18, [entry], 12.5, bottom=bottom + 12)
        mark += _LEGEND_MARK_PX + _LETTER_PX * len(entry.label)
    page.plot(mark, bottom - 3, marker="X", ms=12, mfc="#ffffff", mec="#000000", mew=1.4)
    page.text(mark + 16, bottom - 3, "least margin", color=INK, fontsize=12.5, va="center", family=FONT)
    return rasterise(figure)


def _letters(page: Any, corner: tuple[float, float], cell: tuple[int, int], view: View) -> None:
    """What lies left, right, above and below in a tile."""
    x, y = corner
    for direction, (px, py), (h, v) in (
        (-view.right, (x + 14, y + cell[1] / 2), ("left", "center")),
        (view.right, (x + cell[0] - 14, y + cell[1] / 2), ("right", "center")),
        (view.up, (x + cell[0] / 2, y + 6), ("center", "top")),
        (-view.up, (x + cell[0] / 2, y + cell[1] - 6), ("center", "bottom")),
    ):
        page.text(
            px, py, direction_letters(direction, _AXES), color=FAINT_INK, fontsize=13, weight="bold", ha=h, va=v,
            family=FONT,
        )  # fmt: skip


def _planes(found: Confirmation) -> RgbArray:
    margins = found.margins
    size = (1500, 620)
    figure = new_figure(size, BACKGROUND)
    point = margins.least_at_mm
    bodies: list[tuple[SurfaceMesh, str, str, str]] = [
        (margins.mesh, TARGET, "tumour", "area"),
        (found.zone.mesh, ZONE, "zone", "line"),
    ]
    if found.organ is not None:
        bodies.append((found.organ.mesh, _ORGAN, "organ", "dashed"))
    bounds = np.concatenate([margins.mesh.bounds_mm, found.zone.mesh.bounds_mm])
    reach = 1.12 * float(np.abs(bounds - point).max())
    for index, plane in enumerate(anatomical_planes(point, _AXES)):
        axes = figure.add_axes((0.008 + index * 0.332, 0.1, 0.32, 0.8))
        axes.set_facecolor("#000000")
        axes.set_xlim(-reach, reach)
        axes.set_ylim(reach, -reach)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        for mesh, color, _, style in bodies:
            for loop in outlines(mesh, plane):
                _outline(axes, loop, color, style)
        axes.plot(0, 0, marker="+", ms=18, mew=2.2, color="#ffffff", zorder=9)
        _edge_letters(axes, plane)
        length = bar_length_mm(2 * reach)
        draw_scale_bar(axes, -0.92 * reach, 0.9 * reach, length, f"{length} mm", size=10.5)
        axes.set_title(plane.name.capitalize(), color=INK, fontsize=13, family=FONT, loc="left", pad=6)
    page = picture_axes(figure)
    title = f"Planes through the least margin, {margins.least_mm:+.1f} mm"
    page.text(14, 10, title, color=INK, fontsize=14, weight="bold", va="top", family=FONT)
    entries = [LegendEntry(label, color, style) for _, color, label, style in bodies]
    for number, entry in enumerate(entries):
        draw_legend(page, 24 + 190 * number, size[1] - 44, [entry], 12.5, bottom=size[1] - 10)
    page.text(24 + 190 * len(entries), size[1] - 27, "+ least margin", color=INK, fontsize=12.5, va="center",
              family=FONT)  # fmt: skip
    return rasterise(figure)


def _outline(axes: Any, loop: FloatArray, color: str, style: str) -> None:
    closed = np.concatenate([loop, loop[:1]])
    if style == "area":
        axes.fill(closed[:, 0], closed[:, 1], color=color, alpha=0.35, lw=0)
    pattern = (0, (3.2, 1.6)) if style == "dashed" else "-"
    axes.plot(closed[:, 0], closed[:, 1], color=color, lw=2.0, ls=pattern)


def _edge_letters(axes: Any, plane: ImagePlane) -> None:
    for (x, y), direction, (h, v) in (
        ((0.02, 0.5), -plane.right, ("left", "center")),
        ((0.98, 0.5), plane.right, ("right", "center")),
        ((0.5, 0.98), -plane.down, ("center", "top")),
        ((0.5, 0.02), plane.down, ("center", "bottom")),
    ):
        axes.text(
            x, y, direction_letters(direction, _AXES), transform=axes.transAxes, ha=h, va=v, color=INK, fontsize=13,
            weight="bold", family=FONT,
        )  # fmt: skip


def _bars(found: Confirmation, bins: tuple[MarginBin, ...]) -> RgbArray:
    margins = found.margins
    kept = margins.counted
    values = margins.margins_mm[kept]
    weight = vertex_areas_mm2(margins.mesh)[kept]
    weight = 100.0 * weight / weight.sum()
    figure = new_figure((1100, 560), _PAPER)
    axes = figure.add_axes((0.08, 0.13, 0.89, 0.76))
    low, high = np.floor(values.min()), np.ceil(values.max() + 1e-9)
    width = max(0.5, float(np.ceil((high - low) / 40) / 2.0))
    inner = {float(one.high_mm) for one in bins[:-1] if low < one.high_mm < high}
    borders = np.array(sorted(inner | set(np.arange(low, high + width, width).tolist())))
    share, _ = np.histogram(values, bins=borders, weights=weight)
    for left, right, value in zip(borders[:-1], borders[1:], share, strict=True):
        color = next(one.color for one in bins if one.low_mm <= left < one.high_mm)
        axes.bar(left, value / (right - left), right - left, align="edge", color=color, ec=_PRINT, lw=0.6)
    for one in bins:
        axes.bar(0, 0, color=one.color, ec=_PRINT, lw=0.6, label=f"{one.label}: {one.percent}")
    axes.plot(margins.least_mm, 0.0, marker="X", ms=12, mfc="#ffffff", mec="#000000", mew=1.4, clip_on=False,
              zorder=9, ls="none", label=f"least margin: {margins.least_mm:+.1f} mm")  # fmt: skip
    if found.spread is not None:
        axes.axvspan(found.spread.low_mm, found.spread.high_mm, color="#9aa3af", alpha=0.3, zorder=0,
                     label="90 % of it under errors of the alignment")  # fmt: skip
    axes.set_xlabel("signed margin, mm", fontsize=12, family=FONT)
    axes.set_ylabel("% of the surface per mm", fontsize=12, family=FONT)
    axes.set_title("Margins by area", loc="left", fontsize=14, weight="bold", family=FONT, color=_PRINT)
    axes.legend(fontsize=11, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return rasterise(figure)
