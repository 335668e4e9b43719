"""What is exported of a plan, as values: needles as lines and poses, ablations as points, surfaces."""

import numpy as np

from needleplan.ablation.contract import LethalZone
from needleplan.ablation.level_set import level_surface
from needleplan.ablation.tissue_map import Cylinder
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.app.export_masks import WHOLE_ZONE, zone_name
from needleplan.app.pipeline import PlannedCase
from needleplan.frames import Frame, RigidTransform, perpendicular_axes
from needleplan.grid import Grid
from needleplan.io.slicer_markups import MarkupLine, MarkupList, MarkupPoint
from needleplan.io.surface_files import NamedSurface
from needleplan.plan import Ablation, Insertion
from needleplan.viz.palette import ZONE, look_of, needle_color, rgb

#: Steps of the grid that a zone of several ablations is contoured on, along its longest side at most.
_CONTOUR_STEP_MM = 1.0
_MOST_CONTOUR_STEPS = 96
#: How a zone is shown that must not hide what it holds.
_ZONE_OPACITY = 0.35


def needle_name(insertion: Insertion) -> str:
    """Name of one needle."""
    return f"needle {insertion.order}"


def needle_pose(insertion: Insertion) -> RigidTransform:
    """``X_PN``: origin at the tip, +z along the insertion; the roll about it means nothing."""
    x, y = perpendicular_axes(insertion.direction)
    rotation = np.stack([x, y, insertion.direction], axis=1)
    return RigidTransform.from_parts(Frame.PATIENT, Frame.NEEDLE, rotation, insertion.tip_mm)


def plan_markups(planned: PlannedCase) -> list[MarkupLine | MarkupList]:
    """A locked line from entry to tip for each needle, and one list of the middles of all ablations."""
    lines: list[MarkupLine | MarkupList] = []
    middles = []
    for insertion in planned.plan.insertions:
        start = MarkupPoint(f"entry {insertion.order}", np.array(insertion.entry_mm), None, "", True)
        end = MarkupPoint(f"tip {insertion.order}", np.array(insertion.tip_mm), None, insertion.applicator, True)
        lines.append(MarkupLine(needle_name(insertion), start, end, rgb(needle_color(insertion.order)), True))
        back_mm = planned.zone_model.catalogue.applicator(insertion.applicator).tip_to_centre_mm
        for number, ablation in enumerate(insertion.ablations, 1):
            middle = np.array(ablation.tip_mm) - back_mm * insertion.direction
            label = f"{insertion.order}.{number}"
            middles.append(MarkupPoint(label, middle, None, _setting(ablation), True))
    return [*lines, MarkupList("ablations", tuple(middles), rgb(ZONE), True)]


def _setting(ablation: Ablation) -> str:
    power = "power by the generator" if ablation.power_w is None else f"{ablation.power_w:g} W"
    return f"{power}, {ablation.duration_s:g} s"


def structure_surfaces(planned: PlannedCase, smooth: bool) -> list[NamedSurface]:
    """The surface of each structure: the one that the plan is measured on, or the smooth one for the eye."""
    found = []
    for surface in planned.anatomy.surfaces:
        look = look_of(surface)
        mesh = surface.drawn_mesh if smooth else surface.mesh
        # The rim tells how a hull is seen where nothing of its inside is to be hidden.
        found.append(NamedSurface(surface.name, mesh, rgb(look.color), max(look.opacity, 0.15)))
    return found


def zone_surfaces(planned: PlannedCase) -> list[NamedSurface]:
    """The surface of each needle's zone, and where there are several that of all of them together."""
    insertions = planned.plan.insertions
    found = [
        NamedSurface(
            zone_name(one), zone_mesh(planned.zone_model.zone([one])), rgb(needle_color(one.order)), _ZONE_OPACITY
        )
        for one in insertions
    ]
    if len(insertions) > 1:
        mesh = zone_mesh(planned.zone_model.zone(insertions))
        found.append(NamedSurface(WHOLE_ZONE, mesh, rgb(ZONE), _ZONE_OPACITY))
    return found


def zone_mesh(zone: LethalZone) -> SurfaceMesh:
    """The outer surface of a zone: its own where it has one, else contoured where the signed distance is 0."""
    meshes = zone.surfaces()
    if len(meshes) == 1:
        return meshes[0]
    low, high = zone.bounds_mm
    step = max(_CONTOUR_STEP_MM, float((high - low).max()) / _MOST_CONTOUR_STEPS)
    matrix = np.diag([step, step, step, 1.0])
    matrix[:3, 3] = low - 2.0 * step
    first, second, third = (np.ceil((high - low) / step).astype(int) + 5).tolist()
    grid = Grid((first, second, third), matrix)
    return level_surface(grid, zone.signed_distance_mm(grid.centres_mm()).reshape(grid.shape)).mesh


def needle_surfaces(planned: PlannedCase) -> list[NamedSurface]:
    """Each needle from its entry to its tip, as thick as it is."""
    from needleplan.viz.zone_looks import cylinder_mesh

    found = []
    for one in planned.plan.insertions:
        radius = planned.zone_model.catalogue.applicator(one.applicator).radius_mm
        mesh = cylinder_mesh(Cylinder(one.entry_mm, one.tip_mm, radius), sides=24)
        found.append(NamedSurface(needle_name(one), mesh, rgb(needle_color(one.order))))
    return found
