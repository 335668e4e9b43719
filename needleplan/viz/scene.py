"""The patient in three dimensions, with needles and zones: as a whole, and close to the target."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Role
from needleplan.frames import FloatArray
from needleplan.plan import Insertion
from needleplan.viz.canvas import RgbArray
from needleplan.viz.needles import NeedleShape, hub_point, needle_bodies
from needleplan.viz.offscreen import Body, render
from needleplan.viz.orientation import anatomical_axes
from needleplan.viz.overlay import LEGEND_SHARE, LegendEntry, compose
from needleplan.viz.palette import BACKGROUND, FAINT_INK, TARGET, ZONE, look_of, needle_color, readable
from needleplan.viz.viewpoint import choose_direction, view_of

_LEGEND_ORDER = (
    Role.BONE, Role.VESSEL, Role.ORGAN, Role.CRITICAL, Role.BOWEL, Role.AIRWAY, Role.LUNG, Role.NO_GO, Role.ALLOWED,
    Role.ENTRY_REGION, Role.SKIN,
)  # fmt: skip


def _needle_legend(insertions: Sequence[Insertion]) -> list[LegendEntry]:
    if not insertions:
        return [LegendEntry("no needle planned", FAINT_INK, "text")]
    return [LegendEntry(f"needle {i.order}: {i.depth_mm:.0f} mm deep", needle_color(i.order)) for i in insertions]


def _legend(
    surfaces: Sequence[StructureSurface],
    insertions: Sequence[Insertion],
    zone: LethalZone | None,
    layers: Sequence[LegendEntry] = (),
) -> list[LegendEntry]:
    entries = [LegendEntry("tumour", TARGET), *layers]
    if zone is not None and not layers:
        entries.append(LegendEntry("predicted zone", ZONE, opacity=0.45))
    entries += _needle_legend(insertions)
    for role in _LEGEND_ORDER:
        for surface in surfaces:
            if surface.role is role:
                look = look_of(surface)
                entries.append(
                    LegendEntry(readable(surface.name), look.color, opacity=min(1.0, 0.35 + look.opacity))
                )
    return entries


def _structure_body(
    surface: StructureSurface, opacity_factor: float = 1.0, fade_mm: tuple[float, float] | None = None
) -> Body:
    look = look_of(surface)
    translucent = look.opacity < 0.99 or opacity_factor < 1.0
    return Body(
        surface.drawn_mesh,
        look.color,
        opacity=look.opacity * opacity_factor,
        rim=look.rim * opacity_factor,
        shininess=0.15 if surface.role in (Role.SKIN, Role.LUNG, Role.BONE) else 0.35,
        hide_back=translucent,
        hidden_faces=surface.cut_faces if surface.role is Role.SKIN else None,
        fade_mm=fade_mm,
    )


def _zone_bodies(zone: LethalZone | None, opacity: float, rim: float) -> list[Body]:
    """The outer surface of the zone; several ablations are drawn as the one region that they destroy."""
    if zone is None:
        return []
    meshes = zone.surfaces()
    if len(meshes) > 1:
        meshes = (union_surface(zone),)
    return [Body(mesh, ZONE, opacity=opacity, rim=rim, shininess=0.5, hide_back=True) for mesh in meshes]


def union_surface(zone: LethalZone) -> SurfaceMesh:
    """The boundary of the whole zone, contoured from its signed distance at about 1 mm, for drawing alone."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    low, high = zone.bounds_mm
    step = max(1.0, float((high - low).max()) / 72)
    counts = np.ceil((high - low) / step).astype(int) + 3
    axes = [low[k] - step + step * np.arange(counts[k]) for k in range(3)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    values = zone.signed_distance_mm(np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1))
    image = vtkImageData()
    image.SetDimensions(*(int(n) for n in counts))
    image.SetSpacing(step, step, step)
    image.SetOrigin(*(low - step))
    image.GetPointData().SetScalars(numpy_to_vtk(np.asarray(values, dtype=np.float32), deep=True))
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 0.0)
    contour.ComputeNormalsOff()
    contour.Update()
    output = contour.GetOutput()
    vertices = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64)
    mesh = SurfaceMesh(vertices, vtk_to_numpy(output.GetPolys().GetConnectivityArray()).reshape(-1, 3))
    return mesh if mesh.volume_mm3 > 0 else mesh.flipped()


def _shape(insertion: Insertion, needles: Mapping[str, NeedleShape]) -> NeedleShape:
    """The applicator's shape; a shaft that would end under the skin is drawn 20 mm beyond it."""
    shape = needles.get(insertion.applicator, NeedleShape())
    return dataclasses.replace(shape, shaft_mm=max(shape.shaft_mm, insertion.depth_mm + 20.0))


def render_patient(
    anatomy: Anatomy,
    insertions: Sequence[Insertion] = (),
    zone: LethalZone | None = None,
    *,
    direction: FloatArray | None = None,
    up: FloatArray | None = None,
    needles: Mapping[str, NeedleShape] | None = None,
    beside: Sequence[Body] = (),
    beside_legend: Sequence[LegendEntry] = (),
    behind: Sequence[Body] = (),
    size: tuple[int, int] = (1500, 1050),
    title: str = "Patient with planned needles",
) -> RgbArray:
    """The whole patient: translucent skin and organs, bones, vessels, tumour, needles and zones.

    Args:
        anatomy: the patient.
        insertions: needles, planned or executed.
        zone: their predicted lethal zone.
        direction: (3,) from the patient towards the camera; chosen from the needles where not given.
        up: (3,) what points up in the picture; the head where not given.
        needles: outer shape of each applicator by name, for drawing to scale.
        beside: what stands beside the patient, a robot or a table, in patient LPS mm.
        beside_legend: what the legend says of it.
        behind: what is drawn too and may reach out of the picture.
        size: (width, height) of the picture in pixels, legend included.
        title: heading in the picture.

    Returns:
        (height, width, 3) uint8.

    Raises:
        RenderingError: no off-screen rendering is possible here.
    """
    shapes = {} if needles is None else needles
    if direction is None:
        direction = choose_direction(anatomy, insertions)
    shown = list(anatomy.surfaces)
    points = np.concatenate([s.mesh.vertices_mm[::7] for s in shown if s.role is not Role.NO_GO])
    hubs = [hub_point(i, _shape(i, shapes)) for i in insertions]
    points = np.concatenate([points, *(h[None] for h in hubs), *(body.mesh.vertices_mm for body in beside)])
    scene = (round(size[0] * (1 - LEGEND_SHARE)), size[1])
    view = view_of(direction, anatomy, points, scene[0] / scene[1], room=1.12, up=up)
    bodies = [_structure_body(s) for s in shown] + _zone_bodies(zone, 0.30, 0.75)
    bodies += [*beside, *behind]
    # A needle of true diameter would be a pixel wide at this scale.
    pixel_mm = view.height_mm / scene[1]
    for insertion in insertions:
        shape = _shape(insertion, shapes)
        bodies += needle_bodies(insertion, shape, max(1.0, 4.5 * pixel_mm / shape.diameter_mm), marks=False)
    rendering = render(bodies, view, scene, BACKGROUND)
    labels = [(hub, str(i.order), needle_color(i.order)) for hub, i in zip(hubs, insertions, strict=True)]
    legend = [*beside_legend, *_legend(shown, insertions, zone)]
    return compose(rendering, view, anatomical_axes(anatomy.case), title, legend, labels)


def render_target(
    anatomy: Anatomy,
    insertions: Sequence[Insertion] = (),
    zone: LethalZone | None = None,
    *,
    direction: FloatArray | None = None,
    needles: Mapping[str, NeedleShape] | None = None,
    layers: Sequence[Body] = (),
    layer_legend: Sequence[LegendEntry] = (),
    size: tuple[int, int] = (1500, 1050),
    title: str = "Target with predicted zone",
) -> RgbArray:
    """Close to the target: tumour, zones, needle tips with centimetre marks, vessels and organs nearby.

    Arguments, result and errors as of :func:`render_patient`; skin, bones and lungs are left away. ``layers`` are
    drawn instead of the zone's own surface (see ``zone_scene.render_zone_in_patient``), and ``layer_legend`` is
    what the legend says of them.
    """
    shapes = {} if needles is None else needles
    surroundings = [s for s in anatomy.surfaces if s.role not in (Role.SKIN, Role.TARGET)]
    near = anatomy.target.mesh.bounds_mm
    if zone is not None:
        near = np.stack([np.minimum(near[0], zone.bounds_mm[0]), np.maximum(near[1], zone.bounds_mm[1])])
    for body in layers:
        bounds = body.mesh.bounds_mm
        near = np.stack([np.minimum(near[0], bounds[0]), np.maximum(near[1], bounds[1])])
    centre = near.mean(axis=0)
    reach = float(np.linalg.norm(near[1] - near[0])) / 2 + 20.0
    shown = [
        s
        for s in surroundings
        if s.role in (Role.ORGAN, Role.VESSEL, Role.CRITICAL, Role.BOWEL, Role.AIRWAY, Role.NO_GO)
        and (np.linalg.norm(s.mesh.vertices_mm - centre, axis=1) < 1.2 * reach).any()
    ]
    opaque = [s for s in shown if s.role is not Role.ORGAN]
    if direction is None:
        direction = choose_direction(anatomy, insertions, hiding=opaque)
    box = np.array([[x, y, z] for x in near[:, 0] for y in near[:, 1] for z in near[:, 2]])
    scene = (round(size[0] * (1 - LEGEND_SHARE)), size[1])
    view = view_of(direction, anatomy, box, scene[0] / scene[1], room=1.45)
    fade = (0.75 * reach, 1.25 * reach)
    bodies = [_structure_body(s, 0.6) if s.role is Role.ORGAN else _structure_body(s, 1.0, fade) for s in shown]
    # Half transparent, so that a tip inside the tumour is seen.
    bodies.append(Body(anatomy.target.drawn_mesh, TARGET, opacity=0.5, rim=0.9, shininess=0.3, hide_back=True))
    bodies += layers or _zone_bodies(zone, 0.22, 0.80)
    for insertion in insertions:
        bodies += needle_bodies(insertion, _shape(insertion, shapes))
    rendering = render(bodies, view, scene, BACKGROUND)
    labels = []
    for insertion in insertions:
        # The number stands on the shaft, where the needle leaves the neighbourhood of the target.
        along = min(0.62 * view.height_mm, 0.8 * insertion.depth_mm)
        point = np.asarray(insertion.tip_mm) - along * insertion.direction
        labels.append((point, str(insertion.order), needle_color(insertion.order)))
    return compose(
        rendering, view, anatomical_axes(anatomy.case), title,
        _legend([*shown], insertions, zone, layer_legend), labels,
    )  # fmt: skip
