"""Pictures of a robot that carries out a plan: over the patient, and the map of places of its base."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.app.pipeline import RobotPlan
from needleplan.frames import FloatArray, unit_vector
from needleplan.plan import Insertion
from needleplan.viz.base_map import BasePlaces, draw_base_map
from needleplan.viz.canvas import Picture
from needleplan.viz.offscreen import Body
from needleplan.viz.overlay import LegendEntry
from needleplan.viz.scene import render_patient
from robots.arm_settings import Mount
from robots.gantry import Gantry
from robots.link_meshes import visual_meshes
from robots.route import InsertionRoute, Phase
from robots.urdf_arm import UrdfArm

#: Colours of a robot's links in turn, of its needle, and of what stands still.
_LINKS, _NEEDLE, _TABLE, _GANTRY = ("#dfe3e8", "#8f9aa8"), "#ff8a3d", "#39424f", "#5a6675"
#: So much of a stand is drawn below table and base.
_STAND_M = 0.15


def draw_robot_pictures(
    robot_plan: RobotPlan, anatomy: Anatomy, insertions: Sequence[Insertion], gantry: Gantry | None = None
) -> tuple[Picture, ...]:
    """The map of places, and the robot at the deepest tip of its first insertion where one is reached."""
    pictures = [_map_picture(robot_plan, anatomy, gantry)]
    reached = [route for route in robot_plan.base.route.insertions if route.reached]
    if reached and isinstance(robot_plan.robot, UrdfArm):
        pictures.insert(0, _robot_picture(robot_plan, robot_plan.robot, anatomy, insertions, reached[0], gantry))
    return tuple(pictures)


def _map_picture(robot_plan: RobotPlan, anatomy: Anatomy, gantry: Gantry | None) -> Picture:
    from scipy.spatial import ConvexHull

    base, placement = robot_plan.base, robot_plan.placement
    judged = base.map
    above = placement.points_to_world(anatomy.entry.mesh.vertices_mm)[:, :2]
    places = BasePlaces(
        judged.positions_m, judged.insertions_reached, len(base.route.insertions),
        judged.alternatives_share, judged.home_clear, judged.chosen, placement.table.half_width_m,
        above[ConvexHull(above).vertices], int(base.route.reached.sum()),
        None if gantry is None else gantry.extent_m,
    )  # fmt: skip
    name = robot_plan.robot.name
    pixels = draw_base_map(places, title=f"Places of the base of {name}, and what it reaches from there")
    caption = (
        f"Table and patient from above. Judged by postures that keep clear of everything; {len(judged.places)} "
        f"places; from the chosen one {base.alternatives_share:.0%} of the alternative paths are reached."
    )
    return Picture("base-map", "Places of the base", caption, pixels)


def _robot_picture(
    robot_plan: RobotPlan,
    robot: UrdfArm,
    anatomy: Anatomy,
    insertions: Sequence[Insertion],
    route: InsertionRoute,
    gantry: Gantry | None,
) -> Picture:
    positions = route.segment(Phase.INSERT).positions[-1]
    bodies = [
        *_robot_bodies(robot_plan, robot, positions[:-1], float(positions[-1])),
        *_table_bodies(robot_plan, anatomy),
    ]
    behind: list[Body] = []
    if robot.mount is Mount.FLOOR:
        bodies.append(_stand_body(robot_plan))
    legend = [LegendEntry(robot.name, _LINKS[0]), LegendEntry("table and stand", _TABLE)]
    if gantry is not None:
        behind.append(_gantry_body(robot_plan, gantry))
        legend.append(LegendEntry("scanner", _GANTRY, opacity=0.5))
    shown = [insertion for insertion in insertions if insertion.order == route.order]
    pixels = render_patient(
        anatomy, shown, direction=_from_the_feet(robot_plan), up=np.asarray(anatomy.case.up), beside=bodies,
        beside_legend=legend, behind=behind,
        title=f"{robot.name} at the deepest tip of needle {route.order}",
    )  # fmt: skip
    caption = (
        f"The robot over the patient while needle {route.order} is in place; shapes of the robot as its "
        "description gives them, to scale."
    )
    return Picture("robot", "Robot over the patient", caption, pixels)


def _in_patient(robot_plan: RobotPlan, vertices_m: FloatArray, faces: NDArray[np.integer[Any]]) -> SurfaceMesh:
    return SurfaceMesh(robot_plan.placement.points_to_patient(vertices_m), np.asarray(faces, dtype=np.int32))


def _robot_bodies(robot_plan: RobotPlan, robot: UrdfArm, q: FloatArray, driver_m: float) -> list[Body]:
    poses = robot.link_poses(q[None], np.array([driver_m]))
    bodies, turn = [], 0
    for link, meshes in visual_meshes(robot).items():
        if not meshes:
            continue
        color = _NEEDLE if link in robot.driven_links else _LINKS[turn % len(_LINKS)]
        turn += link not in robot.driven_links
        pose = robot_plan.base.X_WB.matrix @ poses[link][0]
        for vertices, faces in meshes:
            placed = vertices @ pose[:3, :3].T + pose[:3, 3]
            bodies.append(Body(_in_patient(robot_plan, placed, faces), color, shininess=0.4))
    return bodies


def _table_bodies(robot_plan: RobotPlan, anatomy: Anatomy) -> list[Body]:
    """The table's top as far as the patient lies on it."""
    import trimesh

    low, high = robot_plan.placement.table.box_m
    along = robot_plan.placement.points_to_world(anatomy.entry.mesh.vertices_mm)[:, 1]
    low, high = low.copy(), high.copy()
    low[1], high[1] = max(low[1], along.min() - 0.1), min(high[1], along.max() + 0.1)
    box = trimesh.creation.box(bounds=np.stack([low, high]))
    return [Body(_in_patient(robot_plan, np.asarray(box.vertices), box.faces), _TABLE)]


def _gantry_body(robot_plan: RobotPlan, gantry: Gantry) -> Body:
    import trimesh

    ring = trimesh.creation.annulus(
        gantry.bore_diameter_m / 2, gantry.outer_diameter_m / 2, gantry.depth_m, sections=96
    )
    turn = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])  # its axis from z to the world's y
    centre = np.array([0.0, gantry.centre_along_table_m, gantry.centre_height_m])
    vertices = np.asarray(ring.vertices) @ turn.T + centre
    return Body(_in_patient(robot_plan, vertices, ring.faces), _GANTRY, opacity=0.12, rim=0.5, hide_back=True)


def _stand_body(robot_plan: RobotPlan) -> Body:
    """What a base on the floor stands on, cut off below the table."""
    import trimesh

    x, y, z = robot_plan.base.X_WB.translation
    low = min(z, 0.0) - _STAND_M
    column = trimesh.creation.cylinder(radius=0.07, height=z - low, sections=48)
    vertices = np.asarray(column.vertices) + np.array([x, y, 0.5 * (z + low)])
    return Body(_in_patient(robot_plan, vertices, column.faces), _TABLE)


def _from_the_feet(robot_plan: RobotPlan) -> FloatArray:
    """(3,) towards a camera above the feet, on the side away from the robot, which then hides little."""
    away = -float(np.sign(robot_plan.base.X_WB.translation[0]))
    seen = robot_plan.placement.X_WP.inverse().rotate(np.array([0.45 * away, -0.85, 0.55]))
    return unit_vector(np.asarray(seen))
