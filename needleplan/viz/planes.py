"""Planes through the target as a radiologist reads them: axial, coronal, sagittal, and along a needle."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Role
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, perpendicular_axes, unit_vector
from needleplan.plan import Insertion
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.orientation import anatomical_axes, direction_letters
from needleplan.viz.overlay import (
    FONT,
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
    MARGIN,
    TARGET,
    ZONE,
    look_of,
    needle_color,
    readable,
)
from needleplan.viz.section import ImagePlane, anatomical_planes, outlines

#: A needle point farther than this from the plane is drawn as a projection.
IN_PLANE_MM = 3.0
#: Spacing at which zone and margin are contoured in a plane.
CONTOUR_STEP_MM = 0.75


def centroid_mm(anatomy: Anatomy) -> FloatArray:
    """(3,) centre of volume of the target."""
    mesh = anatomy.target.mesh
    middle = mesh.vertices_mm.mean(axis=0)
    corners = mesh.triangles_mm - middle
    volumes = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0
    return np.asarray(middle + (volumes[:, None] * corners.sum(axis=1) / 4.0).sum(axis=0) / volumes.sum())


def needle_plane(insertion: Insertion, anatomy: Anatomy) -> ImagePlane:
    """The plane that holds the needle's axis and departs least from axial, in radiological convention."""
    left, posterior, superior = anatomical_axes(anatomy.case).T
    axis = insertion.direction
    normal = superior - (superior @ axis) * axis
    if np.linalg.norm(normal) < 1e-3:
        normal = perpendicular_axes(axis)[0]
    normal = unit_vector(normal)
    right = left - (left @ normal) * normal
    if np.linalg.norm(right) < 1e-3:
        right = posterior - (posterior @ normal) * normal
    right = unit_vector(right)
    return ImagePlane(
        f"along needle {insertion.order}", np.asarray(insertion.tip_mm), right, np.cross(normal, right)
    )


def _fill(axes: Any, loops: Sequence[FloatArray], **look: Any) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not loops:
        return
    vertices = np.concatenate([np.concatenate([loop, loop[:1]]) for loop in loops])
    codes = np.concatenate(
        [np.r_[Path.MOVETO, np.full(len(loop) - 1, Path.LINETO), Path.CLOSEPOLY] for loop in loops]
    )
    # Not as a patch: its extent would be sought along every edge, and the window is known.
    axes.add_artist(PathPatch(Path(vertices, codes), **look))


def _in_window(loops: Sequence[FloatArray], window: tuple[float, float, float, float]) -> bool:
    """True where the box about a loop overlaps the window."""
    left, right, top, bottom = window
    for loop in loops:
        low, high = loop.min(axis=0), loop.max(axis=0)
        if low[0] < right and high[0] > left and low[1] < bottom and high[1] > top:
            return True
    return False


Cuts = list[tuple[StructureSurface, list[FloatArray]]]


def cuts_of(anatomy: Anatomy, plane: ImagePlane) -> Cuts:
    """Outlines of every structure in the plane, in drawing order."""
    return [(s, outlines(s.drawn_mesh, plane)) for s in sorted(anatomy.surfaces, key=lambda s: look_of(s).order)]


def _draw_structures(axes: Any, cuts: Cuts, window: tuple[float, float, float, float], line: float) -> list[str]:
    """Fill and outline every structure; the names of those that are seen in the window."""
    from matplotlib.colors import to_rgba

    met = []
    for surface, loops in cuts:
        if not _in_window(loops, window):
            continue
        look = look_of(surface)
        target = surface.role is Role.TARGET
        _fill(
            axes, loops,
            facecolor=to_rgba(look.color, look.fill), edgecolor=to_rgba(look.color, 1.0 if target else 0.85),
            linewidth=line * (1.5 if target else 0.8), joinstyle="round", zorder=2 + look.order,
        )  # fmt: skip
        met.append(surface.name)
    return met


def _contour(
    axes: Any, plane: ImagePlane, box: tuple[float, float, float, float], values: Any, **look: Any
) -> None:
    """Contour at zero of ``values``, a function of points (n, 3), within a box (left, right, top, bottom)."""
    x = np.linspace(box[0], box[1], max(2, round((box[1] - box[0]) / CONTOUR_STEP_MM) + 1))
    y = np.linspace(box[2], box[3], max(2, round((box[3] - box[2]) / CONTOUR_STEP_MM) + 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    field = np.asarray(values(plane.points_mm(grid.reshape(-1, 2)))).reshape(grid.shape[:2])
    if field.min() < 0 < field.max():
        axes.contour(x, y, field, levels=[0.0], **look)


def box_in(bounds_mm: FloatArray, plane: ImagePlane, border_mm: float) -> tuple[float, float, float, float]:
    """Box (left, right, top, bottom) in the plane around an axis-aligned box of the world."""
    corners = np.array([[x, y, z] for x in bounds_mm[:, 0] for y in bounds_mm[:, 1] for z in bounds_mm[:, 2]])
    flat = plane.flat(corners)
    low, high = flat.min(axis=0) - border_mm, flat.max(axis=0) + border_mm
    return (float(low[0]), float(high[0]), float(low[1]), float(high[1]))


def _draw_needle(axes: Any, insertion: Insertion, plane: ImagePlane, line: float) -> None:
    """The needle: solid and bright within 3 mm of the plane, thin and dashed where it is only projected."""
    from matplotlib.patheffects import withStroke

    share = np.linspace(-0.35, 1.0, 271)
    entry, tip = np.asarray(insertion.entry_mm), np.asarray(insertion.tip_mm)
    points = entry + share[:, None] * (tip - entry)
    flat = plane.flat(points)
    near = np.abs(plane.distance_mm(points)) <= IN_PLANE_MM
    color = needle_color(insertion.order)
    axes.plot(flat[:, 0], flat[:, 1], color=color, lw=line * 0.9, ls=(0, (4, 2.2)), alpha=0.85, zorder=20)
    solid = np.where(near[:, None], flat, np.nan)
    axes.plot(
        solid[:, 0], solid[:, 1], color=color, lw=line * 2.0, zorder=21, solid_capstyle="round",
        path_effects=[withStroke(linewidth=line * 2.0 + 2.0, foreground=BACKGROUND)],
    )  # fmt: skip
    axes.plot(
        *plane.flat(tip), marker="o", ms=4.6 * line, mfc=color if near[-1] else "none", mec=color,
        mew=1.4 * line, zorder=22,
    )  # fmt: skip


def _edge_letters(axes: Any, plane: ImagePlane, anatomical: FloatArray) -> None:
    for (x, y), direction, (h, v) in (
        ((0.018, 0.5), -plane.right, ("left", "center")),
        ((0.982, 0.5), plane.right, ("right", "center")),
        ((0.5, 0.982), -plane.down, ("center", "top")),
        ((0.5, 0.018), plane.down, ("center", "bottom")),
    ):
        axes.text(
            x, y, direction_letters(direction, anatomical), transform=axes.transAxes, ha=h, va=v, color=INK,
            fontsize=14, weight="bold", family=FONT, zorder=60,
        )  # fmt: skip


def draw_into(
    axes: Any,
    anatomy: Anatomy,
    plane: ImagePlane,
    cuts: Cuts,
    window: tuple[float, float, float, float],
    insertions: Sequence[Insertion],
    zone: LethalZone | None,
    margin_mm: float,
    line: float = 1.0,
) -> list[str]:
    """One plane into ``axes``; the names of the structures that it meets."""
    axes.set_facecolor("#000000")
    axes.set_xlim(window[0], window[1])
    axes.set_ylim(window[3], window[2])
    axes.set_aspect("equal", adjustable="box")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#3a414c")
    met = _draw_structures(axes, cuts, window, line)
    if margin_mm > 0:
        distance = SurfaceDistance(anatomy.target.mesh)
        _contour(
            axes, plane, box_in(anatomy.target.mesh.bounds_mm, plane, margin_mm + 2.0),
            lambda points: margin_mm - distance.signed_distance_mm(points),
            colors=MARGIN, linewidths=1.5 * line, linestyles=[(0, (1, 1.3))], zorder=15,
        )  # fmt: skip
    if zone is not None:
        _contour(
            axes, plane, box_in(zone.bounds_mm, plane, 2.0), zone.signed_distance_mm,
            colors=ZONE, linewidths=2.0 * line, linestyles="-", zorder=16,
        )  # fmt: skip
    for insertion in insertions:
        _draw_needle(axes, insertion, plane, line)
    _edge_letters(axes, plane, anatomical_axes(anatomy.case))
    width, height = window[1] - window[0], window[3] - window[2]
    length = bar_length_mm(width)
    draw_scale_bar(axes, window[0] + 0.04 * width, window[3] - 0.045 * height, length, f"{length} mm", size=10.5)
    axes.set_title(plane.name[:1].upper() + plane.name[1:], color=INK, fontsize=13, family=FONT, loc="left", pad=6)
    return met


def _legend(
    anatomy: Anatomy,
    met: set[str],
    insertions: Sequence[Insertion],
    zone: LethalZone | None,
    margin_mm: float,
) -> list[LegendEntry]:
    entries = [LegendEntry("tumour", TARGET)]
    if margin_mm > 0:
        entries.append(LegendEntry(f"tumour + {margin_mm:g} mm margin", MARGIN, "dotted"))
    if zone is not None:
        entries.append(LegendEntry("predicted zone", ZONE, "line"))
    entries += [LegendEntry(f"needle {i.order}", needle_color(i.order), "line") for i in insertions]
    if insertions:
        entries.append(LegendEntry(f"beyond {IN_PLANE_MM:g} mm: projected", FAINT_INK, "dashed"))
    for surface in sorted(anatomy.surfaces, key=lambda s: -look_of(s).order):
        if surface.name in met and surface.role is not Role.TARGET:
            look = look_of(surface)
            entries.append(LegendEntry(readable(surface.name), look.color, opacity=look.fill))
    return entries


def window_about(
    centre: FloatArray, width: float, height: float, aspect: float
) -> tuple[float, float, float, float]:
    """A window (left, right, top, bottom) of the given aspect that holds width x height about ``centre``."""
    height = max(height, width / aspect)
    width = height * aspect
    x, y = float(centre[0]), float(centre[1])
    return (x - width / 2, x + width / 2, y - height / 2, y + height / 2)


def draw_planes(
    anatomy: Anatomy,
    insertions: Sequence[Insertion] = (),
    zone: LethalZone | None = None,
    *,
    margin_mm: float = 5.0,
    point_mm: ArrayLike | None = None,
    size: tuple[int, int] = (1800, 1180),
) -> RgbArray:
    """Axial, coronal and sagittal plane through the target: above as a whole, below close up.

    Radiological convention: the patient's right is at the left of axial and coronal planes.

    Args:
        anatomy: the patient.
        insertions: needles; solid within 3 mm of the plane, dashed where projected onto it.
        zone: their predicted lethal zone, drawn as contour.
        margin_mm: margin whose contour about the target is drawn; 0 draws none.
        point_mm: (3,) point that the planes pass through; the target's centroid where not given.
        size: (width, height) of the picture in pixels.

    Returns:
        (height, width, 3) uint8.
    """
    if not margin_mm >= 0:
        raise OptionError(f"the margin to be drawn must be zero or more, but is {margin_mm} mm")
    point = centroid_mm(anatomy) if point_mm is None else np.asarray(point_mm, dtype=np.float64)
    planes = anatomical_planes(point, anatomical_axes(anatomy.case))
    figure = new_figure(size, BACKGROUND)
    width, height = size
    legend_width = 0.15
    column = (1 - legend_width) / 3
    gap_x, top, bottom = 0.008, 0.045, 0.012
    upper = 0.455
    lower = 1 - upper - 2 * top - 2 * bottom
    everything = np.concatenate([s.mesh.bounds_mm for s in anatomy.surfaces])
    whole = np.stack([everything.min(axis=0), everything.max(axis=0)])
    target = anatomy.target.mesh.bounds_mm
    near = target if zone is None else np.concatenate([target, zone.bounds_mm])
    near = np.stack([near.min(axis=0), near.max(axis=0)])
    met: set[str] = set()
    for index, plane in enumerate(planes):
        left = index * column + gap_x / 2
        cuts = cuts_of(anatomy, plane)
        for row, (base, tall) in enumerate(((1 - top - upper, upper), (bottom, lower))):
            axes = figure.add_axes((left, base, column - gap_x, tall))
            aspect = (column - gap_x) * width / (tall * height)
            box = box_in(whole if row == 0 else near, plane, 6.0 if row == 0 else margin_mm + 14.0)
            middle = np.array([(box[0] + box[1]) / 2, (box[2] + box[3]) / 2])
            window = window_about(middle, box[1] - box[0], box[3] - box[2], aspect)
            named = dataclasses.replace(plane, name=plane.name if row == 0 else f"{plane.name}, close up")
            line = 0.8 if row == 0 else 1.25
            met |= set(draw_into(axes, anatomy, named, cuts, window, insertions, zone, margin_mm, line))
    pixels = picture_axes(figure)
    draw_legend(
        pixels, (1 - legend_width + 0.006) * width, top * height,
        _legend(anatomy, met, insertions, zone, margin_mm), 11.5, bottom=0.98 * height,
    )  # fmt: skip
    return rasterise(figure)


def draw_needle_planes(
    anatomy: Anatomy,
    insertions: Sequence[Insertion],
    zone: LethalZone | None = None,
    *,
    margin_mm: float = 5.0,
    size: tuple[int, int] = (1800, 760),
) -> RgbArray:
    """The oblique plane along each needle, up to three side by side: the whole path from skin to tip.

    Arguments and result as of :func:`draw_planes`.

    Raises:
        OptionError: there is no needle.
    """
    if not insertions:
        raise OptionError("a plane along the needle needs at least one insertion")
    shown = list(insertions)[:3]
    figure = new_figure(size, BACKGROUND)
    width, height = size
    legend_width = 0.17
    column = (1 - legend_width) / len(shown)
    gap, top, bottom = 0.008, 0.075, 0.02
    met: set[str] = set()
    for index, insertion in enumerate(shown):
        plane = needle_plane(insertion, anatomy)
        axes = figure.add_axes((index * column + gap / 2, bottom, column - gap, 1 - top - bottom))
        aspect = (column - gap) * width / ((1 - top - bottom) * height)
        path = plane.flat(np.stack([insertion.entry_mm, insertion.tip_mm]))
        box = box_in(anatomy.target.mesh.bounds_mm, plane, margin_mm + 10.0)
        low = np.minimum(path.min(axis=0) - 18.0, [box[0], box[2]])
        high = np.maximum(path.max(axis=0) + 18.0, [box[1], box[3]])
        window = window_about((low + high) / 2, float(high[0] - low[0]), float(high[1] - low[1]), aspect)
        met |= set(
            draw_into(axes, anatomy, plane, cuts_of(anatomy, plane), window, insertions, zone, margin_mm, 1.15)
        )
    pixels = picture_axes(figure)
    draw_legend(
        pixels, (1 - legend_width + 0.008) * width, top * height,
        _legend(anatomy, met, insertions, zone, margin_mm), 11.5, bottom=0.97 * height,
    )  # fmt: skip
    return rasterise(figure)
