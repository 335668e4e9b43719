"""Zones in space: nested translucent surfaces of isotherms or criteria, with vessels and needles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.ablation.contract import LethalZone, ZonePrediction
from needleplan.ablation.field_zone import FieldZone
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.frames import FloatArray, perpendicular_axes, unit_vector
from needleplan.grid import ScalarField
from needleplan.plan import Insertion
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.needles import NeedleShape, turned
from needleplan.viz.offscreen import Body, View, render
from needleplan.viz.overlay import (
    FONT,
    LEGEND_SHARE,
    LegendEntry,
    bar_length_mm,
    draw_legend,
    draw_scale_bar,
    picture_axes,
)
from needleplan.viz.palette import BACKGROUND, FAINT_INK, INK, PANEL
from needleplan.viz.scene import render_target, union_surface
from needleplan.viz.zone_drawing import wrapped_entry
from needleplan.viz.zone_growth import GrowthFrame, clock, select_stills
from needleplan.viz.zone_looks import ACTIVE_PART, CENTRAL, SHAFT, VESSEL, DrawnPart, DrawnVessel, FieldLook

#: Surfaces of bounds about the central zone, outermost first; they differ in lightness as well.
_BOUND_COLORS = ("#3d7fd9", "#f0e442", "#d55e00", "#b9c1cc")
#: Room about what is shown, and how far vessels and shafts are drawn beyond it.
_ROOM = 1.16
_REACH_MM = 9.0
_LEGEND_CHARACTERS = 24
#: Share of the picture's height above the scene.
_TITLE_SHARE = 0.105


@dataclass(frozen=True, slots=True, eq=False)
class ZoneLayer:
    """One translucent surface.

    Attributes:
        label: in the legend.
        color: hexadecimal RGB.
        surfaces: closed surfaces.
        is_central: whether it is the zone itself, which is drawn a little stronger.
    """

    label: str
    color: str
    surfaces: tuple[SurfaceMesh, ...]
    is_central: bool = False


def isotherm_layers(field: ScalarField, look: FieldLook, falling: bool = False) -> tuple[ZoneLayer, ...]:
    """Surfaces of equal value, outermost first; values that are reached nowhere are left out.

    Args:
        field: in space.
        look: whose lines are drawn, in its colours.
        falling: True where the inside of a surface lies below its value (a frozen zone).
    """
    layers = []
    for value in sorted(look.lines, reverse=falling):
        zone = FieldZone.at_most(field, value) if falling else FieldZone.at_least(field, value)
        if not zone.is_empty:
            layers.append(
                ZoneLayer(
                    f"{value:g} {look.unit}".replace("-", "\u2212"), look.surface_color(value), zone.surfaces()
                )
            )
    return tuple(layers)


def time_layers(frames: Sequence[GrowthFrame], count: int = 5) -> tuple[ZoneLayer, ...]:
    """Surfaces of what was destroyed by ``count`` times, evenly spaced, the last one outermost.

    Times at which nothing had been destroyed yet are left out; raises OptionError where nothing was recorded.
    """
    last_s = frames[-1].time_s if frames else 0.0
    look = FieldLook("time", "viridis", last_s, 0.0, (), "min")
    layers = []
    for frame in reversed(select_stills(frames, count)):
        zone = None if frame.level is None else FieldZone(frame.level)
        if zone is not None and not zone.is_empty:
            layers.append(
                ZoneLayer(f"{clock(frame.time_s)} min", look.surface_color(frame.time_s), zone.surfaces())
            )
    return tuple(layers)


def criterion_layers(prediction: ZonePrediction, label: str = "zone") -> tuple[ZoneLayer, ...]:
    """The zone and its bounds by other criteria, the largest first; empty ones are left out."""
    zones: list[tuple[str, LethalZone]] = [(label, prediction.zone), *prediction.other_zones.items()]
    sized = []
    for name, zone in zones:
        meshes = zone.surfaces()
        if len(meshes) > 1:
            meshes = (union_surface(zone),)
        if meshes:
            sized.append((sum(mesh.volume_mm3 for mesh in meshes), name, zone is prediction.zone, meshes))
    sized.sort(key=lambda item: -item[0])
    colors = iter(_BOUND_COLORS * 3)
    return tuple(
        ZoneLayer(name, CENTRAL if central else next(colors), meshes, central) for _, name, central, meshes in sized
    )


def layer_bodies(layers: Sequence[ZoneLayer]) -> list[Body]:
    """Nested surfaces as bodies: outer ones thinner than inner ones, all stronger at their rims."""
    bodies = []
    for depth, layer in enumerate(layers):
        inner = depth == len(layers) - 1
        opacity = 0.34 if inner and len(layers) > 1 else 0.10 + 0.05 * depth
        if layer.is_central:
            opacity = max(opacity, 0.20)
        bodies += [
            Body(mesh, layer.color, opacity=opacity, rim=0.85, shininess=0.4, hide_back=True)
            for mesh in layer.surfaces
        ]
    return bodies


def render_zone(
    layers: Sequence[ZoneLayer],
    parts: Sequence[DrawnPart],
    vessels: Sequence[DrawnVessel] = (),
    *,
    title: str,
    caption: str = "",
    heading: str = "surfaces",
    direction: FloatArray | None = None,
    size: tuple[int, int] = (1280, 900),
) -> RgbArray:
    """Nested surfaces with needles and vessels, seen from the side.

    Args:
        layers: outermost first.
        parts: needles.
        vessels: vessels; drawn opaque as far as the picture reaches.
        title: heading of the picture.
        caption: a line below it.
        heading: of the surfaces in the legend.
        direction: (3,) towards the camera; aslant of the needle where not given.
        size: (width, height) in pixels, legend included.

    Returns:
        (height, width, 3) uint8.

    Raises:
        RenderingError: no off-screen rendering is possible here.
    """
    active = [part for part in parts if part.is_active]
    points = np.array([end for part in active for end in (part.start_mm, part.end_mm)])
    points = np.concatenate([points, *(mesh.vertices_mm for layer in layers for mesh in layer.surfaces)])
    # Tines point anywhere, a shaft along the needle.
    straight = next((part for part in parts if not part.is_active), active[0])
    axis = unit_vector(np.subtract(straight.end_mm, straight.start_mm))
    toward = _aslant(axis, active, vessels) if direction is None else unit_vector(direction)
    up = -axis if abs(float(toward @ axis)) < 0.95 else perpendicular_axes(toward)[0]
    low, high = points.min(axis=0), points.max(axis=0)
    for vessel in vessels:
        near = vessel.surface.vertices_mm
        if (np.linalg.norm(near - np.clip(near, low - 15.0, high + 15.0), axis=1) < 1e-9).any():
            points = np.concatenate([points, near[((near > low - 15.0) & (near < high + 15.0)).all(axis=1)]])
    band = round(_TITLE_SHARE * size[1])
    scene = (round(size[0] * (1 - LEGEND_SHARE)), size[1] - band)
    view = _view(points, toward, up, scene[0] / scene[1])
    reach = 0.5 * float(np.hypot(view.height_mm, view.height_mm * scene[0] / scene[1]))
    bodies = layer_bodies(layers)
    bodies += [
        Body(vessel.surface, VESSEL, shininess=0.35, fade_mm=(0.62 * reach, 0.98 * reach)) for vessel in vessels
    ]
    for part in parts:
        bodies += _part_bodies(part)
    rendering = render(bodies, view, scene, BACKGROUND)
    figure = new_figure(size, BACKGROUND)
    axes = picture_axes(figure)
    axes.imshow(rendering, extent=(0, scene[0], size[1], band), interpolation="none", aspect="auto", zorder=0)
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    axes.plot([0, size[0]], [band, band], color=PANEL, lw=1.5)
    unit = size[1] / 100
    axes.text(2.2 * unit, 2.4 * unit, title, color=INK, fontsize=14.5, family=FONT, va="top", weight="bold")
    entries = [LegendEntry(heading, FAINT_INK, "text"), *_layer_legend(layers)]
    entries.append(LegendEntry("active part", ACTIVE_PART))
    if any(not part.is_active for part in parts):
        entries.append(LegendEntry("shaft", SHAFT))
    entries += [LegendEntry(vessel.name, VESSEL) for vessel in vessels]
    axes.text(2.2 * unit, 6.6 * unit, caption, color=FAINT_INK, fontsize=11.5, family=FONT, va="top")
    draw_legend(axes, scene[0] + 1.5 * unit, band + 2.0 * unit, entries, 11.5, bottom=88 * unit)
    length = bar_length_mm(view.height_mm * scene[0] / scene[1])
    draw_scale_bar(axes, 3 * unit, 96 * unit, length * scene[1] / view.height_mm, f"{length} mm")
    return rasterise(figure)


def render_zone_in_patient(
    anatomy: Anatomy,
    insertions: Sequence[Insertion],
    layers: Sequence[ZoneLayer],
    *,
    direction: FloatArray | None = None,
    needles: Mapping[str, NeedleShape] | None = None,
    size: tuple[int, int] = (1500, 1050),
    title: str = "Target with nested zones",
) -> RgbArray:
    """Nested surfaces about the target of a patient, with its vessels and organs nearby.

    Args:
        anatomy: the patient.
        insertions: needles.
        layers: outermost first.
        direction: (3,) from the patient towards the camera; chosen from the needles where not given.
        needles: outer shape of each applicator by name.
        size: (width, height) in pixels, legend included.
        title: heading in the picture.

    Returns:
        (height, width, 3) uint8.

    Raises:
        RenderingError: no off-screen rendering is possible here.
    """
    return render_target(
        anatomy,
        insertions,
        direction=direction,
        needles=needles,
        layers=layer_bodies(layers),
        layer_legend=_layer_legend(layers),
        size=size,
        title=title,
    )


def _layer_legend(layers: Sequence[ZoneLayer]) -> list[LegendEntry]:
    entries: list[LegendEntry] = []
    for layer in layers:
        entries += wrapped_entry(LegendEntry(layer.label, layer.color, opacity=0.6), _LEGEND_CHARACTERS)
    return entries


def _aslant(axis: FloatArray, active: Sequence[DrawnPart], vessels: Sequence[DrawnVessel]) -> FloatArray:
    """Towards a camera that sees needle and vessel beside each other, a little from the needle's front."""
    middle = np.mean([[*part.start_mm] for part in active], axis=0)
    aside = perpendicular_axes(axis)[0]
    if vessels:
        centre = vessels[0].surface.vertices_mm.mean(axis=0) - middle
        centre -= (centre @ axis) * axis
        aside = unit_vector(centre) if np.linalg.norm(centre) > 1e-6 else aside
    elif len(active) > 1:
        between = np.subtract(active[1].start_mm, active[0].start_mm)
        between -= (between @ axis) * axis
        aside = unit_vector(between) if np.linalg.norm(between) > 1e-6 else aside
    return unit_vector(np.cross(axis, aside) - 0.40 * aside + 0.34 * axis)


def _view(points: FloatArray, toward: FloatArray, up: FloatArray, aspect: float) -> View:
    first = View(toward, up, points[0], 1.0)
    x, y = points @ first.right, points @ first.up
    centre = (
        0.5 * (x.min() + x.max()) * first.right
        + 0.5 * (y.min() + y.max()) * first.up
        + float(np.mean(points @ first.direction)) * first.direction
    )
    return View(toward, up, centre, _ROOM * max(float(np.ptp(y)), float(np.ptp(x)) / aspect) + _REACH_MM)


def _part_bodies(part: DrawnPart) -> list[Body]:
    start, end = np.asarray(part.start_mm), np.asarray(part.end_mm)
    length = float(np.linalg.norm(end - start))
    if length < 1e-6:
        return []
    radius = 0.5 * part.diameter_mm
    # A pointed front, its edges doubled so that smooth shading keeps them sharp.
    point = min(2.0 * radius, 0.3 * length) if part.is_active else 0.0
    profile = [[0.0, radius], [1e-3, radius], [length - point - 1e-3, radius], [length - point, radius]]
    if point:
        profile.append([length, 0.05 * radius])
    color = ACTIVE_PART if part.is_active else SHAFT
    return [Body(turned(np.array(profile), start, unit_vector(end - start)), color, shininess=0.5)]
