"""Reads a URDF by our own code, checked before any library sees it.

Document types and entities are refused (a few lines of nested entities expand to gigabytes), as are loops,
missing mesh files, joints without limits and numbers that can only be millimetres or degrees. Nothing is fetched:
a mesh is a file beside the URDF. Metres, radians, kilograms.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, read_only, unit_vector
from robots.description import Inertia, JointKind, Shape, ShapeKind, UrdfJoint, UrdfLink, UrdfTree
from robots.mesh_file import MeshFolder
from robots.urdf_xml import XACRO, parse_xml

#: A URDF larger than this is no arm description.
MAX_FILE_BYTES = 4_000_000
#: No part of an arm beside a patient is this long; larger numbers are millimetres.
MAX_LENGTH_M = 3.0
#: Inverse kinematics works on angles within one turn.
MAX_ANGLE_RAD = 2.0 * np.pi
#: No joint of an arm is this fast; larger numbers are degrees or millimetres a second.
MAX_TURN_RAD_S = 50.0
MAX_SLIDE_M_S = 10.0
#: No link of an arm weighs this much; larger numbers are grams.
MAX_MASS_KG = 2000.0
#: More links or joints than this are no arm.
MAX_LINKS = 500
#: Each shape is enclosed and compared with others; an arm of more is a drawing.
MAX_SHAPES = 2000
#: A number is written with fewer characters than this, even with all digits of a double.
MAX_NUMBER_CHARACTERS = 400
#: Why kinds of joints that the URDF knows are not taken.
REFUSED_JOINTS = {
    "continuous": 'it turns without end; write type="revolute" with <limit lower="-6.28" upper="6.28" effort="..." '
    'velocity="..."/>, as every joint needs limits',
    "floating": "six free directions are no joint of an arm; fix the base with a joint of type fixed",
    "planar": "three free directions are no joint of an arm; write two prismatic joints and a revolute one",
}


def rotation_from_rpy(roll: float, pitch: float, yaw: float) -> FloatArray:
    """(3, 3) rotation Rz(yaw) Ry(pitch) Rx(roll), the URDF's fixed-axis angles in radians."""
    cr, sr, cp, sp, cy, sy = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


class _Reader:
    """Reads one URDF; holds its path so that every refusal names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.meshes = MeshFolder(path.parent)

    def refuse(self, what: str) -> RobotError:
        return RobotError(f"{self.path}: {what}")

    def numbers(
        self, element: Any, attribute: str, count: int, where: str, default: str | None = None
    ) -> FloatArray:
        text = element.get(attribute, default)
        if text is None:
            raise self.refuse(f"{where} lacks the attribute {attribute!r}")
        if "${" in text or "$(" in text:
            raise self.refuse(f"{where}: {attribute}={text[:60]!r} is no number; {XACRO}")
        if len(text) > MAX_NUMBER_CHARACTERS:
            raise self.refuse(f"{where}: {attribute} holds {len(text)} characters where {count} numbers belong")
        try:
            values = np.array([float(part) for part in text.split()])
        except ValueError:
            values = np.array([])
        if values.shape != (count,) or not np.isfinite(values).all():
            raise self.refuse(f"{where}: {attribute}={text!r} must be {count} finite number{'s' * (count > 1)}")
        return values

    def lengths(self, element: Any, attribute: str, count: int, where: str) -> FloatArray:
        values = self.numbers(element, attribute, count, where)
        if (values <= 0).any() or (values > MAX_LENGTH_M).any():
            raise self.refuse(
                f"{where}: {attribute}={element.get(attribute)!r} must lie between 0 and {MAX_LENGTH_M:g} metres; "
                "larger numbers look like millimetres"
            )
        return values

    def pose(self, element: Any, where: str) -> FloatArray:
        matrix = np.eye(4)
        origin = element.find("origin")
        if origin is not None:
            translation = self.numbers(origin, "xyz", 3, f"{where}, origin", "0 0 0")
            if np.abs(translation).max() > MAX_LENGTH_M:
                raise self.refuse(
                    f"{where}: its origin lies {np.abs(translation).max():g} away where at most {MAX_LENGTH_M:g} "
                    "metres are plausible; it looks like millimetres"
                )
            angles = self.numbers(origin, "rpy", 3, f"{where}, origin", "0 0 0")
            if np.abs(angles).max() > MAX_ANGLE_RAD + 1e-3:
                raise self.refuse(
                    f"{where}, origin: rpy={origin.get('rpy')!r} exceeds a turn of {MAX_ANGLE_RAD:.2f} radians; it "
                    "looks like degrees"
                )
            matrix[:3, :3] = rotation_from_rpy(*angles)
            matrix[:3, 3] = translation
        return read_only(matrix)

    def shape(self, element: Any, where: str, visual: bool) -> Shape:
        geometry = element.find("geometry")
        kinds = [] if geometry is None else list(geometry)
        if len(kinds) != 1 or kinds[0].tag not in set(ShapeKind):
            raise self.refuse(f"{where} must hold one geometry that is a box, cylinder, sphere or mesh")
        node, pose = kinds[0], self.pose(element, where)
        kind = ShapeKind(node.tag)
        if kind is ShapeKind.BOX:
            return Shape(kind, read_only(self.lengths(node, "size", 3, where)), pose)
        if kind is ShapeKind.SPHERE:
            return Shape(kind, read_only(self.lengths(node, "radius", 1, where)), pose)
        if kind is ShapeKind.CYLINDER:
            size = [self.lengths(node, key, 1, where)[0] for key in ("radius", "length")]
            return Shape(kind, read_only(size), pose)
        scale = self.numbers(node, "scale", 3, where, "1 1 1")
        if (scale == 0).any():
            raise self.refuse(f"{where}: scale={node.get('scale')!r} makes the mesh flat")
        return Shape(kind, read_only(scale), pose, self.mesh(node, where, visual))

    def mesh(self, element: Any, where: str, visual: bool) -> Path:
        try:
            return self.meshes.find(element.get("filename", ""), visual)
        except RobotError as error:
            raise self.refuse(f"{where} {error}") from error

    def inertia(self, element: Any, where: str) -> Inertia | None:
        node = element.find("inertial")
        if node is None:
            return None
        mass_node, tensor_node = node.find("mass"), node.find("inertia")
        if mass_node is None or tensor_node is None:
            raise self.refuse(f"{where}: inertial needs both a mass and an inertia")
        mass = float(self.numbers(mass_node, "value", 1, f"{where}, mass")[0])
        xx, xy, xz, yy, yz, zz = (
            self.numbers(tensor_node, key, 1, f"{where}, inertia", "0")[0]
            for key in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
        )
        tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        moments = np.linalg.eigvalsh(tensor)
        if mass <= 0 or moments[0] <= 0:
            raise self.refuse(f"{where}: mass and the principal moments of inertia must be greater than zero")
        # Parts of a body lie within its length, so no element of its tensor exceeds mass times length squared.
        if mass > MAX_MASS_KG or np.abs(tensor).max() > mass * MAX_LENGTH_M**2:
            raise self.refuse(
                f"{where}: mass {mass:g} kg with moments of inertia to {np.abs(tensor).max():g} kg m² is no link "
                "of an arm; it looks like grams or millimetres"
            )
        # No body's largest principal moment exceeds the sum of the other two.
        if moments[2] > (moments[0] + moments[1]) * (1 + 1e-3):
            raise self.refuse(f"{where}: no body has the principal moments of inertia {moments.tolist()}")
        return Inertia(mass, self.pose(node, f"{where}, inertial"), read_only(tensor))

    def link(self, element: Any) -> UrdfLink:
        name = element.get("name", "")
        where = f"link {name!r}"
        return UrdfLink(
            name,
            tuple(self.shape(node, f"{where}, visual", True) for node in element.findall("visual")),
            tuple(self.shape(node, f"{where}, collision", False) for node in element.findall("collision")),
            self.inertia(element, where),
        )

    def joint(self, element: Any) -> UrdfJoint:
        name = element.get("name", "")
        where = f"joint {name!r}"
        if element.get("type") in REFUSED_JOINTS:
            raise self.refuse(f"{where} is of type {element.get('type')}: {REFUSED_JOINTS[element.get('type')]}")
        if element.get("type") not in set(JointKind):
            raise self.refuse(f"{where} is of type {element.get('type')!r}; use revolute, prismatic or fixed")
        if element.find("mimic") is not None:
            raise self.refuse(
                f"{where} mimics joint {element.find('mimic').get('joint')!r}; joints that move together are not "
                "planned for: make it fixed, or leave its links out"
            )
        kind = JointKind(element.get("type"))
        parent, child = element.find("parent"), element.find("child")
        if parent is None or child is None or not parent.get("link") or not child.get("link"):
            raise self.refuse(f"{where} must name its parent link and its child link")
        origin = self.pose(element, where)
        if kind is JointKind.FIXED:
            return UrdfJoint(name, kind, parent.get("link"), child.get("link"), origin, read_only((0.0, 0.0, 1.0)))
        axis_node, limit = element.find("axis"), element.find("limit")
        axis = (
            np.array([1.0, 0.0, 0.0])  # the URDF's default
            if axis_node is None
            else self.numbers(axis_node, "xyz", 3, f"{where}, axis")
        )
        if not 1e-9 < np.abs(axis).max() < 1e9:
            raise self.refuse(f"{where}: its axis must not be zero, and about one long")
        if limit is None:
            raise self.refuse(f"{where} needs a limit with lower, upper, effort and velocity")
        lower, upper, velocity, effort = (
            float(self.numbers(limit, key, 1, f"{where}, limit")[0])
            for key in ("lower", "upper", "velocity", "effort")
        )
        bound, unit = (MAX_ANGLE_RAD, "radians") if kind is JointKind.REVOLUTE else (MAX_LENGTH_M, "metres")
        if not -bound <= lower < upper <= bound:
            raise self.refuse(
                f"{where}: limits {lower:g} to {upper:g} must rise and stay within ±{bound:.4g} {unit}; larger "
                "numbers look like degrees or millimetres"
            )
        if velocity <= 0 or effort <= 0:
            raise self.refuse(f"{where}: its velocity and effort limits must be greater than zero")
        fastest, unit = (MAX_TURN_RAD_S, "rad/s") if kind is JointKind.REVOLUTE else (MAX_SLIDE_M_S, "m/s")
        if velocity > fastest:
            raise self.refuse(
                f"{where}: a velocity of {velocity:g} exceeds {fastest:g} {unit}; it looks like degrees or "
                "millimetres a second"
            )
        return UrdfJoint(
            name, kind, parent.get("link"), child.get("link"), origin, read_only(unit_vector(axis)),
            lower, upper, velocity, effort,
        )  # fmt: skip


def read_urdf(path: Path) -> UrdfTree:
    """Reads and checks a URDF.

    Args:
        path: the file; its meshes lie beside it.

    Returns:
        Its links and joints, a tree.

    Raises:
        RobotError: the file is missing, is not XML, is xacro, holds a document type or entities, names a missing
            or unsuitable mesh, has doubled names, a loop, more than one root, joints of another kind, missing
            limits or implausible numbers.
    """
    reader = _Reader(path)
    if not os.path.isfile(path):  # unlike Path.is_file, False for a name that no file system takes
        raise RobotError(f"there is no robot description {path}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise reader.refuse(f"a URDF may hold at most {MAX_FILE_BYTES} bytes")
    try:
        root = parse_xml(path.read_bytes())
    except RobotError as error:
        raise reader.refuse(str(error)) from error
    if root.tag != "robot":
        raise reader.refuse(f"a URDF begins with <robot>, not <{root.tag}>")
    for tag in ("link", "joint"):
        if len(root.findall(tag)) > MAX_LINKS:
            raise reader.refuse(f"it has {len(root.findall(tag))} {tag}s and an arm has at most {MAX_LINKS}")
    shapes = sum(1 for node in root.iter() if node.tag in ("visual", "collision"))
    if shapes > MAX_SHAPES:
        raise reader.refuse(f"it has {shapes} shapes and an arm has at most {MAX_SHAPES}")
    links = [reader.link(node) for node in root.findall("link")]
    joints = [reader.joint(node) for node in root.findall("joint")]
    for names in ([link.name for link in links], [joint.name for joint in joints]):
        doubled = sorted(name for name, count in Counter(names).items() if count > 1 or not name)
        if doubled:
            raise reader.refuse(f"the name {doubled[0]!r} is empty or used twice")
    return _tree(reader, root.get("name", path.stem), {link.name: link for link in links}, joints)


def _tree(reader: _Reader, name: str, links: dict[str, UrdfLink], joints: list[UrdfJoint]) -> UrdfTree:
    for joint in joints:
        for link in (joint.parent, joint.child):
            if link not in links:
                raise reader.refuse(f"joint {joint.name!r} names the link {link!r}, which does not exist")
    children = [joint.child for joint in joints]
    held_twice = sorted({link for link in children if children.count(link) > 1})
    if held_twice:
        raise reader.refuse(f"link {held_twice[0]!r} hangs on two joints, which closes a loop; an arm is a tree")
    roots = [link for link in links if link not in set(children)]
    ordered: list[UrdfJoint] = []
    known = set(roots)
    while remaining := [joint for joint in joints if joint.child not in known]:
        ready = [joint for joint in remaining if joint.parent in known]
        if not ready:
            raise reader.refuse(f"the joints of link {remaining[0].child!r} form a loop; an arm is a tree")
        ordered += ready
        known |= {joint.child for joint in ready}
    if len(roots) != 1:
        raise reader.refuse(f"one link must be the root, and there are {len(roots)}: {', '.join(roots)}")
    return UrdfTree(reader.path, name, roots[0], links, tuple(ordered))
