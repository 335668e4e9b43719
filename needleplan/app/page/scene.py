"""A planned case as one value that a page draws: surfaces, needles, growing zones, breath, slices, margin."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from needleplan.anatomy.model import StructureSurface
from needleplan.app.page.scene_bodies import STEP_MM, scene_body
from needleplan.app.page.scene_breath import SceneBreath, breath_of, breath_values
from needleplan.app.page.scene_growth import ZONE_BOUND_MM, growth_moments, growth_note
from needleplan.app.page.scene_margin import margin_colours, margin_section
from needleplan.app.page.scene_meshes import LightMesh, apart_mm, bound_mm, lightened, without_cavities
from needleplan.app.page.scene_planes import GrownTarget, SlicedBody, planes_of_scene
from needleplan.app.page.scene_robot import robot_surfaces
from needleplan.app.page.scene_values import SceneValue, numbers
from needleplan.app.pipeline import PlannedCase
from needleplan.case.model import Role
from needleplan.frames import FloatArray
from needleplan.outcome import Outcome
from needleplan.plan import Insertion
from needleplan.viz.orientation import anatomical_axes
from needleplan.viz.palette import MARGIN, TARGET, ZONE, look_of, needle_color, readable
from needleplan.viz.planes import centroid_mm
from needleplan.viz.scene import union_surface
from needleplan.viz.viewpoint import choose_direction
from robots.model import RobotModel

#: A robot's parts are told in coarser steps, as nothing is measured at them.
_ROBOT_STEP_MM, _ROBOT = 0.2, "#8f9aa8"
#: The target is seen through at first, so that a tip within is seen.
_TARGET_OPACITY, _ZONE_OPACITY, _MARGIN_OPACITY = 0.55, 0.28, 0.15
#: The region of target and margin has no edges that matter.
_SHELL_BOUND_MM = 0.25
#: Room about target and zones in the first view.
_ROOM_MM = 40.0

#: Said beneath the scene where a segmented surface was smoothed for drawing.
_SMOOTHED = (
    "Segmented structures are smoothed in this picture{target}. Margin and clearances are measured to the "
    "voxels as they were segmented, which the planes show."
)

ProgressCallback = Callable[[str, float], None]


@dataclass(slots=True)
class _Draft:
    """What is gathered while a scene is made."""

    planned: PlannedCase
    breath: SceneBreath
    bodies: list[dict[str, SceneValue]] = field(default_factory=list)
    sliced: list[SlicedBody] = field(default_factory=list)
    target: LightMesh | None = None
    target_off_mm: float = 0.0

    def add(
        self, body: str, name: str, group: str, colour: str, opacity: float, light: LightMesh, *,
        shown: bool = True, step_mm: float = STEP_MM, moved_mm: FloatArray | None = None, **more: SceneValue,
    ) -> None:  # fmt: skip
        made = scene_body(body, name, group, colour, opacity, light.mesh, shown=shown, step_mm=step_mm)
        made["error_mm"] = numbers([light.usual_mm, light.farthest_mm], 2)
        self.bodies.append(made | ({} if moved_mm is None else breath_values(moved_mm)) | more)


def build_scene(
    planned: PlannedCase,
    *,
    outcomes: Sequence[Outcome] = (),
    route: Mapping[str, object] | None = None,
    robot: RobotModel | None = None,
    deforming: bool = True,
    breath: SceneBreath | None = None,
    growing: bool = True,
    progress: ProgressCallback | None = None,
) -> dict[str, SceneValue]:
    """The scene of a plan, which ``json`` can write and the viewer draws.

    Args:
        planned: the case with its plan.
        outcomes: rehearsals; the breathing of the first one is shown.
        route: how a robot carries the plan out, as ``route_to_json`` wrote it.
        robot: that robot; the catalogue's of that name where None.
        deforming: False moves each structure rigidly with the breath, which is quicker to prepare.
        breath: the breath that is shown, where it is known; ``outcomes`` and ``deforming`` say nothing then.
        growing: False leaves zones and their growth out, for a page that draws them itself.
        progress: called with what is being done and the fraction done.

    Returns:
        Keys ``schema``, ``version``, ``title``, ``centre_mm``, ``radius_mm``, ``axes``, ``toward``, ``up``,
        ``note``, ``bodies``, ``needles``, ``breath``, ``growth``, ``planes``, ``margin``. Lengths are mm in
        patient LPS.

    Raises:
        PlanFileError: the route does not hold what a route holds.
    """
    report = progress or (lambda name, fraction: None)
    anatomy, plan = planned.anatomy, planned.plan
    report("the breath", 0.0)
    draft = _Draft(planned, breath or breath_of(anatomy, outcomes, deforming=deforming))
    for k, surface in enumerate(anatomy.surfaces):
        report(readable(surface.name), 0.2 + 0.5 * k / len(anatomy.surfaces))
        _add_structure(draft, surface)
    report("zones", 0.7)
    _add_margin(draft)
    growth = _add_zones(draft) if plan.insertions and growing else None
    for order, mesh in ({} if route is None else robot_surfaces(route, anatomy, robot)).items():
        draft.add(
            f"r:{order}", f"robot at needle {order}", "robot", _ROBOT, 1.0, LightMesh(mesh, 0.0, 0.0), shown=False,
            step_mm=_ROBOT_STEP_MM,
        )  # fmt: skip
    report("slices", 0.8)
    axes = anatomical_axes(anatomy.case)
    centre = centroid_mm(anatomy)
    reach = np.concatenate([one.mesh.vertices_mm for one in draft.sliced if one.near])
    toward = choose_direction(anatomy, plan.insertions)
    return {
        "schema": "needleplan.scene",
        "version": 1,
        "title": plan.case_name,
        "centre_mm": numbers(centre),
        "radius_mm": round(float(np.linalg.norm(reach - centre, axis=1).max()) + _ROOM_MM, 1),
        "axes": {name: numbers(axes[:, k]) for k, name in enumerate(("left", "posterior", "superior"))},
        "toward": numbers(toward),
        "up": numbers(axes[:, 2] if abs(float(toward @ axes[:, 2])) < 0.95 else -axes[:, 1]),
        "note": _smoothing_note(draft),
        "bodies": draft.bodies,
        "needles": [_needle(planned, insertion) for insertion in plan.insertions],
        "breath": draft.breath.value(),
        "growth": growth,
        "planes": planes_of_scene(anatomy, centre, draft.sliced, [i.entry_mm for i in plan.insertions]),
        "margin": None if planned.assessment is None else margin_section(anatomy, planned.assessment),
    }


def _add_structure(draft: _Draft, surface: StructureSurface) -> None:
    look = look_of(surface)
    drawn, measured = surface.drawn_mesh, surface.mesh
    if surface.role is Role.BONE:
        drawn, measured = without_cavities(drawn), without_cavities(measured)
    light = lightened(drawn, bound_mm(surface))
    # Where nothing was smoothed, the drawn surface was made of the measured one, and its distance is known.
    off_mm = light.farthest_mm if surface.smooth is None else apart_mm(light.mesh, measured)
    target = surface.role is Role.TARGET
    if surface.name == draft.planned.anatomy.target.name:
        draft.target, draft.target_off_mm = light, off_mm
    body = f"{'t' if target else 's'}:{surface.name}"
    # A hull is hardly seen with the opacity of pictures that brighten its rim.
    opacity = _TARGET_OPACITY if target else min(1.0, look.opacity + (0.12 if look.opacity < 0.3 else 0.0))
    draft.add(
        body, readable(surface.name), "target" if target else "structures", look.color, opacity, light,
        moved_mm=draft.breath.of_structure(surface, light.mesh),
        # A region that is no tissue would hide what lies in it.
        shown=surface.role not in (Role.ENTRY_REGION, Role.NO_GO, Role.ALLOWED),
        measured_mm=round(off_mm, 2),
    )  # fmt: skip
    draft.sliced.append(SlicedBody(body, surface.mesh, look.fill > 0, near=target))


def _smoothing_note(draft: _Draft) -> str | None:
    anatomy = draft.planned.anatomy
    if all(surface.smooth is None for surface in anatomy.surfaces):
        return None
    smoothed = anatomy.target.smooth is not None
    return _SMOOTHED.format(target=f", the target by up to {draft.target_off_mm:.1f} mm" if smoothed else "")


def _add_margin(draft: _Draft) -> None:
    """The target painted by its margin, and the region that target and margin take up; neither without a score."""
    planned = draft.planned
    if planned.assessment is None or draft.target is None:
        return
    anatomy, asked, light = planned.anatomy, planned.assessment.metrics.margin_mm, draft.target
    paint = margin_colours(anatomy, planned.assessment, light.mesh.vertices_mm)
    painted = scene_body("m:target", "target painted by margin", "margin", TARGET, 1.0, light.mesh, shown=False,
                         colours=paint)  # fmt: skip
    draft.bodies.append(painted | breath_values(draft.breath.of_target(light.mesh.vertices_mm)))
    if asked > 0:
        grown = union_surface(GrownTarget(anatomy.target.mesh, asked))
        shell = lightened(grown, _SHELL_BOUND_MM)
        draft.add(
            "m:margin", f"target and {asked:g} mm margin", "margin", MARGIN, _MARGIN_OPACITY, shell,
            moved_mm=draft.breath.of_target(shell.mesh.vertices_mm),
        )  # fmt: skip
        draft.sliced.append(SlicedBody("m:margin", grown, False, near=True))


def _add_zones(draft: _Draft) -> dict[str, SceneValue] | None:
    """The zone of each needle, and all zones at every moment of their growth, the last of which is the whole."""
    planned = draft.planned
    model = planned.zone_model
    moments = growth_moments(planned.plan, model)
    if not moments:
        return None
    for k, moment in enumerate(moments):
        body = "z:all" if k == len(moments) - 1 else f"g:{k}"
        draft.add(
            body, "predicted zones", "zones", ZONE, _ZONE_OPACITY,
            LightMesh(moment.surface, ZONE_BOUND_MM, ZONE_BOUND_MM),
            moved_mm=draft.breath.of_target(moment.surface.vertices_mm), moment=k,
        )  # fmt: skip
        # The slices reach over the last moment, which holds all others.
        draft.sliced.append(SlicedBody(body, moment.fine, False, near=k == len(moments) - 1))
    delivering = [insertion for insertion in planned.plan.insertions if insertion.ablations]
    for insertion in delivering:
        fine = moments[-1].fine if len(delivering) == 1 else union_surface(model.zone([insertion]))
        light = lightened(fine, ZONE_BOUND_MM)
        draft.add(
            f"z:{insertion.order}", f"zone of needle {insertion.order}", "zones", needle_color(insertion.order),
            _ZONE_OPACITY, light, shown=False, moved_mm=draft.breath.of_target(light.mesh.vertices_mm),
        )  # fmt: skip
    return {
        "label": "zones as they grow",
        "moments": [
            {"label": m.label, "time_s": round(m.time_s, 1), "volume_ml": round(m.volume_ml, 2)} for m in moments
        ],
        "note": growth_note(planned.plan, model),
    }


def _needle(planned: PlannedCase, insertion: Insertion) -> dict[str, SceneValue]:
    applicator = planned.zone_model.catalogue.applicator(insertion.applicator)
    return {
        "order": insertion.order, "entry_mm": numbers(insertion.entry_mm), "tip_mm": numbers(insertion.tip_mm),
        "radius_mm": applicator.radius_mm, "colour": needle_color(insertion.order),
        "label": f"needle {insertion.order}", "applicator": insertion.applicator,
    }  # fmt: skip


class DrawnSurface(NamedTuple):
    """What a scene draws of a structure, and how far that lies from what it stands for.

    Attributes:
        name: the structure, as a reader calls it.
        faces: number of triangles.
        usual_mm: 99.9 % of the points lie within this of the surface that was made light.
        farthest_mm: all of them do.
        measured_mm: greatest distance from the surface that margin and clearances are measured on.
    """

    name: str
    faces: int
    usual_mm: float
    farthest_mm: float
    measured_mm: float


def light_surfaces(scene: Mapping[str, SceneValue]) -> Iterator[DrawnSurface]:
    """Each structure of a scene as it is drawn."""
    for body in scene["bodies"]:
        if body["group"] in ("structures", "target"):
            usual, farthest = body["error_mm"]
            yield DrawnSurface(body["name"], body["faces"]["shape"][0], usual, farthest, body["measured_mm"])
