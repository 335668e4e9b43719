"""What a URDF says about a robot, as values: links with shapes and inertias, joints, a tree.

Metres, radians, kilograms.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from needleplan.errors import RobotError
from needleplan.frames import FloatArray


class JointKind(StrEnum):
    """Kinds of joints that a description may use."""

    REVOLUTE = "revolute"
    PRISMATIC = "prismatic"
    FIXED = "fixed"


class ShapeKind(StrEnum):
    """Kinds of shapes that a link may have."""

    BOX = "box"
    CYLINDER = "cylinder"
    SPHERE = "sphere"
    MESH = "mesh"


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One visual or collision shape of a link.

    Attributes:
        kind: what it is.
        size_m: box: (3,) edge lengths; cylinder: radius, length along z; sphere: radius; mesh: (3,) scale.
        pose: (4, 4) pose in the link's frame.
        mesh: the mesh file; None for a primitive.
    """

    kind: ShapeKind
    size_m: FloatArray
    pose: FloatArray
    mesh: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Inertia:
    """Mass and inertia of a link, about its centre of mass in axes of the inertial frame.

    Attributes:
        mass_kg: mass.
        pose: (4, 4) inertial frame in the link's frame.
        tensor_kg_m2: (3, 3) symmetric positive definite tensor.
    """

    mass_kg: float
    pose: FloatArray
    tensor_kg_m2: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class UrdfLink:
    """One link: its shapes and its mass, None where the file states none."""

    name: str
    visual: tuple[Shape, ...]
    collision: tuple[Shape, ...]
    inertia: Inertia | None


@dataclass(frozen=True, slots=True, eq=False)
class UrdfJoint:
    """One joint.

    Attributes:
        name: unique.
        kind: revolute, prismatic or fixed.
        parent: link it hangs on.
        child: link it moves.
        origin: (4, 4) pose of the child's frame in the parent's at zero.
        axis: (3,) unit axis in the child's frame.
        lower: least position, rad or m.
        upper: greatest position.
        velocity: greatest speed, rad/s or m/s.
        effort: greatest torque or force, N m or N.
    """

    name: str
    kind: JointKind
    parent: str
    child: str
    origin: FloatArray
    axis: FloatArray
    lower: float = 0.0
    upper: float = 0.0
    velocity: float = 0.0
    effort: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class UrdfTree:
    """The links and joints of one URDF, checked to be a tree.

    Attributes:
        path: the file.
        name: name of the robot in the file.
        root: name of the only link without a parent.
        links: by name, in the file's order.
        joints: in an order in which each parent link comes before its children.
    """

    path: Path
    name: str
    root: str
    links: dict[str, UrdfLink]
    joints: tuple[UrdfJoint, ...]

    def chain(self, base: str, end: str) -> tuple[UrdfJoint, ...]:
        """The joints from link ``base`` to link ``end``; raises RobotError where there is no such chain."""
        by_child = {joint.child: joint for joint in self.joints}
        for link in (base, end):
            if link not in self.links:
                raise RobotError(f"{self.path.name}: no link is named {link!r}: there are {', '.join(self.links)}")
        chain: list[UrdfJoint] = []
        link = end
        while link != base:
            if link not in by_child:
                raise RobotError(f"{self.path.name}: no chain of joints leads from link {base!r} to link {end!r}")
            chain.append(by_child[link])
            link = by_child[link].parent
        return tuple(reversed(chain))
