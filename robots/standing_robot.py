"""The URDF of a robot that stands in the world, for other programs: a world link and a fixed joint with its place.

Meshes keep their names beside the URDF and are to be copied along: an absolute path would tie the file to one
computer, and this project's own reader takes none from elsewhere. Metres and radians.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.errors import FrameError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from robots.description import ShapeKind
from robots.model import RobotModel
from robots.urdf_reader import read_urdf
from robots.urdf_xml import parse_xml

#: What may stand in which element. All else is left out, as the reader has not checked it: plugins, transmissions,
#: textures, and meshes in places where only another program would look for them.
_KEPT = {
    "robot": ("link", "joint", "material"),
    "link": ("inertial", "visual", "collision"),
    "inertial": ("origin", "mass", "inertia"),
    "visual": ("origin", "geometry", "material"),
    "collision": ("origin", "geometry"),
    "geometry": tuple(ShapeKind),
    "material": ("color",),
    "joint": ("origin", "parent", "child", "axis", "limit", "dynamics", "calibration", "safety_controller"),
}
#: Elements that hold several of a kind; of the others the reader takes the first of each kind.
_SEVERAL = ("robot", "link")
#: Below this cosine of the pitch the three angles are no longer told apart; roll is then set to 0.
_POLE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class StandingRobot:
    """A robot's description with its place.

    Attributes:
        urdf: the text of the URDF.
        world_link: name of its root; ``world`` where the robot has no link of that name itself.
        meshes: for each mesh its name in the URDF, relative to where that will lie, and the file to copy there.
    """

    urdf: str
    world_link: str
    meshes: dict[str, Path]


def stand_in_world(robot: RobotModel, X_WB: RigidTransform) -> StandingRobot:
    """The robot's URDF with its base at ``X_WB``.

    Args:
        robot: the robot.
        X_WB: pose of its base link in the world, in metres.

    Returns:
        The text, the name of its root, and the meshes that belong beside it.

    Raises:
        FrameError: the pose is none of the base in the world in metres.
    """
    import xml.etree.ElementTree as ET

    if (X_WB.parent, X_WB.child, X_WB.unit) != (Frame.WORLD, Frame.ROBOT_BASE, LengthUnit.METRE):
        raise FrameError(
            f"the base must be given as X_WB in metres, not X_{X_WB.parent}{X_WB.child} in {X_WB.unit}"
        )
    tree = read_urdf(robot.urdf_path)
    # Many a URDF has a root called world, with the mount of its own choice behind it.
    world_link = _free_name("world", set(tree.links))
    joint_name = _free_name(f"{world_link}_to_{tree.root}", {joint.name for joint in tree.joints})
    root = parse_xml(robot.urdf_path.read_bytes())
    out = ET.Element("robot", {"name": tree.name})
    out.append(ET.Comment(" A robot as it stands in the world; metres and radians "))
    ET.SubElement(out, "link", {"name": world_link})
    # Only fixed joints lie between the root and the base, so the root's place is the same at every posture.
    from_base = robot.link_poses(robot.home[None], [0.0])[tree.root][0]
    place = X_WB.matrix @ from_base
    joint = ET.SubElement(out, "joint", {"name": joint_name, "type": "fixed"})
    ET.SubElement(joint, "parent", {"link": world_link})
    ET.SubElement(joint, "child", {"link": tree.root})
    ET.SubElement(joint, "origin", {"xyz": _text(place[:3, 3]), "rpy": _text(rpy_from_rotation(place[:3, :3]))})
    _keep_only_checked(root)
    out.extend(root)
    ET.indent(out)
    folder = robot.urdf_path.parent
    meshes = {node.get("filename", ""): (folder / node.get("filename", "")).resolve() for node in out.iter("mesh")}
    return StandingRobot(ET.tostring(out, encoding="unicode", xml_declaration=True) + "\n", world_link, meshes)


def rpy_from_rotation(rotation: FloatArray) -> FloatArray:
    """(3,) roll, pitch and yaw of Rz(yaw) Ry(pitch) Rx(roll) in radians, the URDF's fixed-axis angles."""
    cosine = np.hypot(rotation[0, 0], rotation[1, 0])
    pitch = np.arctan2(-rotation[2, 0], cosine)
    if cosine < _POLE:
        return np.array([0.0, pitch, np.arctan2(-rotation[0, 1], rotation[1, 1])])
    roll, yaw = np.arctan2(rotation[2, 1], rotation[2, 2]), np.arctan2(rotation[1, 0], rotation[0, 0])
    return np.array([roll, pitch, yaw])


def _free_name(name: str, taken: set[str]) -> str:
    """``name``, or ``name_1``, ``name_2``, ... where that is taken."""
    return next(free for free in (name, *(f"{name}_{k + 1}" for k in range(len(taken)))) if free not in taken)


def _text(values: FloatArray) -> str:
    return " ".join(repr(float(value) + 0.0) for value in values)  # without minus zeros


def _keep_only_checked(element: Any) -> None:
    """Removes from an element, and from all within it, what the URDF's reader does not look at."""
    kept: list[Any] = []
    found: set[str] = set()
    for child in element:
        if child.tag in _KEPT.get(element.tag, ()) and (child.tag not in found or element.tag in _SEVERAL):
            _keep_only_checked(child)
            kept.append(child)
            found.add(child.tag)
    element[:] = kept  # one by one it would take the square of their number
