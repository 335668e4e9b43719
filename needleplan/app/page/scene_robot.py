"""The robot of a scene: its links as they stand when a needle is in place, in the patient's frame."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.errors import PlanFileError
from needleplan.frames import FloatArray
from needleplan.plan import Plan
from robots.catalogue import list_robots, load_robot
from robots.frames import place_anatomy
from robots.link_meshes import visual_meshes
from robots.model import RobotModel
from robots.urdf_arm import UrdfArm

#: A route written with micrometres leads to the same points within this.
_SAME_MM = 0.01
#: No metres and no radians of a robot beside a patient are more.
_LARGEST = 1e4


def robot_of_route(route: Mapping[str, object]) -> RobotModel | None:
    """The robot of the catalogue that a route names; None where it is a user's own."""
    name = route.get("robot")
    return load_robot(name) if isinstance(name, str) and name in list_robots() else None


def robot_surfaces(
    route: Mapping[str, object], anatomy: Anatomy, robot: RobotModel | None = None
) -> dict[int, SurfaceMesh]:
    """For each insertion that is reached all links in one surface, in patient LPS mm, at the deepest tip.

    Args:
        route: as ``route_to_json`` wrote it.
        anatomy: the patient, who lies on the table as every robot's patient does.
        robot: the robot; that of the catalogue with the route's name where None.

    Returns:
        By order of insertion; empty where the robot is not known or has no shapes.

    Raises:
        PlanFileError: the route does not hold what a route holds.
    """
    model = robot_of_route(route) if robot is None else robot
    if not isinstance(model, UrdfArm):
        return {}
    placement = place_anatomy(anatomy)
    meshes = visual_meshes(model)
    base = _base(route)
    found = {}
    for order, positions in _postures(route, model):
        poses = model.link_poses(positions[None, :-1], positions[-1:])
        vertices: list[FloatArray] = []
        faces: list[NDArray[Any]] = []
        count = 0
        for link, parts in meshes.items():
            pose = base @ poses[link][0]
            for points, triangles in parts:
                vertices.append(points @ pose[:3, :3].T + pose[:3, 3])
                faces.append(np.asarray(triangles) + count)
                count += len(points)
        if vertices:
            placed = placement.points_to_patient(np.concatenate(vertices))
            found[order] = SurfaceMesh(placed, np.concatenate(faces).astype(np.int32))
    return found


def require_route(route: Mapping[str, object]) -> None:
    """Refuse a route of a known robot that ``robot_surfaces`` could not draw, before anything is drawn.

    Raises:
        PlanFileError: the route does not hold what a route of that robot holds.
    """
    model = robot_of_route(route)
    if model is not None:
        _base(route)
        _postures(route, model)


def route_fits(route: Mapping[str, object], plan: Plan, anatomy: Anatomy) -> bool:
    """True where a route's insertions are those of the plan: entries and tips within ``_SAME_MM`` of theirs."""
    placement = place_anatomy(anatomy)
    insertions = route.get("insertions")
    if not isinstance(insertions, list) or len(insertions) != len(plan.insertions):
        return False
    for item, planned in zip(insertions, plan.insertions, strict=True):
        if not isinstance(item, Mapping):
            return False
        for name, point in (("entry_m", planned.entry_mm), ("tip_m", planned.tip_mm)):
            there = placement.points_to_patient(_numbers(item.get(name), (3,), name))
            if np.linalg.norm(there - point) > _SAME_MM:
                return False
    return True


def _base(route: Mapping[str, object]) -> FloatArray:
    """Pose (4, 4) of the robot's base in the world, metres."""
    return _numbers(route.get("base_in_world"), (4, 4), "base_in_world")


def _postures(route: Mapping[str, object], model: RobotModel) -> list[tuple[int, FloatArray]]:
    """Order and positions (j + 1,) of all joints, the driver last, at the end of each insertion that is reached."""
    count = len(model.joint_names) + 1
    postures = []
    insertions = route.get("insertions")
    for item in insertions if isinstance(insertions, list) else []:
        segments = item.get("segments") if isinstance(item, Mapping) else None
        for segment in segments if isinstance(segments, list) else []:
            if isinstance(segment, Mapping) and segment.get("phase") == "insert":
                positions = segment.get("positions")
                last = positions[-1] if isinstance(positions, list) and positions else None
                order = item.get("order")
                if type(order) is not int or not isinstance(last, list):
                    raise PlanFileError(
                        "the route is damaged, as it names no order or no positions for an insertion that is "
                        "reached; make it again"
                    )
                postures.append((order, _numbers(last, (count,), f"positions of {model.name}")))
    return postures


def _numbers(values: object, shape: tuple[int, ...], what: str) -> FloatArray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PlanFileError(f"the route is damaged, as its {what} must be numbers; make it again") from error
    # What is not finite is within no bound.
    if array.shape != shape or not (np.abs(array) <= _LARGEST).all():
        raise PlanFileError(
            f"the route is damaged, as its {what} must be numbers of shape {shape} and at most {_LARGEST:g}, not "
            f"of shape {array.shape}; make it again"
        )
    return array
