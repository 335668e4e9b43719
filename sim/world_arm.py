"""The arm in the simulated room: loaded from a copy of its URDF that holds only what was checked, posed, asked.

A URDF comes from a stranger, and PyBullet opens what it names: textures, materials, meshes of any format. It is
given a copy with checked elements alone, whose meshes were read by this project and written anew. Metres, radians.
"""

import xml.etree.ElementTree as ET
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.io.stl import write_stl
from robots.arm_settings import Mount
from robots.mesh_file import read_mesh
from robots.model import RobotModel
from robots.standing_robot import stand_in_world
from robots.urdf_xml import parse_xml
from sim.bullet import Bullet, quaternions_of, rotation_of, silenced
from sim.recorder import VisualShape

#: Name of the copy that PyBullet reads.
_COPY = "robot.urdf"


class SimulatedArm:
    """One arm in one world.

    Attributes:
        body: its number in PyBullet.
        needle: index of the link that the driver advances.
    """

    def __init__(self, bullet: Bullet, robot: RobotModel, X_WB: RigidTransform) -> None:
        """Load the arm with its base at ``X_WB``.

        Raises:
            RobotError: the URDF cannot be loaded, or its joints are not those of ``robot``.
        """
        self._bullet, self._robot = bullet, robot
        p, client = bullet.p, bullet.client
        with TemporaryDirectory(prefix="needleplan-arm-") as folder:
            self._world_link, self._meshes = write_checked_copy(robot, Path(folder))
            try:
                with silenced():
                    copy = str(Path(folder) / _COPY)
                    self.body: int = p.loadURDF(copy, useFixedBase=True, physicsClientId=client)
            except p.error as error:
                raise RobotError(f"PyBullet cannot load {robot.urdf_path.name}: {error}") from error
        joint: dict[str, int] = {}
        self._link: dict[str, int] = {}
        parents: dict[int, int] = {}
        fixed: set[int] = {-1}
        for index in range(p.getNumJoints(self.body, physicsClientId=client)):
            info = p.getJointInfo(self.body, index, physicsClientId=client)
            joint[info[1].decode()] = index
            self._link[info[12].decode()] = index
            parents[index] = info[16]
            if info[2] == p.JOINT_FIXED and info[16] in fixed:
                fixed.add(index)
        wanted = (*robot.joint_names, robot.driver_joint_name)
        missing = [name for name in wanted if name not in joint]
        if missing:
            raise RobotError(f"PyBullet finds no joint {missing[0]!r} in {robot.urdf_path.name}")
        self._driven = tuple(joint[name] for name in wanted)
        self.needle = joint[robot.driver_joint_name]
        # The driver starts in the origin of the guide's link: that link is its parent.
        self._guide = parents[self.needle]
        self._names = {index: name for name, index in self._link.items()}
        self._standing = frozenset(fixed)
        self._ground = "floor" if robot.mount is Mount.FLOOR else "table"
        self.place_base(X_WB)

    def place_base(self, X_WB: RigidTransform) -> None:
        """Put the base at ``X_WB``; raises RobotError where that is no pose of the base in the world in metres."""
        if (X_WB.parent, X_WB.child, X_WB.unit) != (Frame.WORLD, Frame.ROBOT_BASE, LengthUnit.METRE):
            raise RobotError(f"the base must be placed by X_WB in metres, not X_{X_WB.parent}{X_WB.child}")
        self._bullet.place(self.body, X_WB.translation, quaternions_of(X_WB.rotation))
        self._posed: list[float] = [float("nan")] * len(self._driven)

    def pose(self, positions: ArrayLike) -> None:
        """Set the joints (n + 1,): radians or metres, and last the driver in metres."""
        values = np.asarray(positions, dtype=np.float64).tolist()
        if values == self._posed:
            return
        p, client = self._bullet.p, self._bullet.client
        for index, (joint, value) in enumerate(zip(self._driven, values, strict=True)):
            if value != self._posed[index]:
                p.resetJointState(self.body, joint, value, physicsClientId=client)
        self._posed = values

    def needle_matrix(self) -> FloatArray:
        """(4, 4) pose of the needle's tip in the world, +z along the insertion."""
        return self._link_pose(self.needle)

    def guide_matrix(self) -> FloatArray:
        """(4, 4) pose of the guide's exit in the world, +z along the insertion."""
        return self._link_pose(self._guide)

    def link_poses(self) -> dict[str, FloatArray]:
        """(4, 4) pose of every link's frame in the world, by name."""
        return {name: self._link_pose(index) for name, index in self._link.items() if name != self._world_link}

    def link_name(self, index: int) -> str:
        """Name of a link by its index in PyBullet."""
        return self._names.get(index, self._world_link)

    def stands_on(self, index: int, obstacle: str) -> bool:
        """True where a link that never moves meets what the robot is mounted on."""
        return obstacle == self._ground and index in self._standing

    def _link_pose(self, index: int) -> FloatArray:
        state = self._bullet.p.getLinkState(
            self.body, index, computeForwardKinematics=True, physicsClientId=self._bullet.client
        )
        pose = np.eye(4)
        pose[:3, :3] = rotation_of(np.asarray(state[5]))
        pose[:3, 3] = state[4]
        return pose

    def visual_shapes(self) -> tuple[VisualShape, ...]:
        """The visual shapes as PyBullet read them; meshes name the robot's own files."""
        p = self._bullet.p
        kinds = {p.GEOM_BOX: "box", p.GEOM_CYLINDER: "cylinder", p.GEOM_SPHERE: "sphere", p.GEOM_MESH: "mesh"}
        sizes = {"box": 3, "cylinder": 2, "sphere": 1, "mesh": 3}
        shapes = []
        for data in p.getVisualShapeData(self.body, physicsClientId=self._bullet.client):
            kind = kinds[data[2]]
            pose = np.eye(4)
            pose[:3, :3] = rotation_of(np.asarray(data[6]))
            pose[:3, 3] = data[5]
            red, green, blue = data[7][:3]
            mesh = str(self._meshes[Path(data[4].decode()).name]) if kind == "mesh" else ""
            shapes.append(
                VisualShape(
                    self.link_name(data[1]), kind, tuple(data[3][: sizes[kind]]), pose, (red, green, blue), mesh
                )
            )
        return tuple(shapes)


def write_checked_copy(robot: RobotModel, folder: Path) -> tuple[str, dict[str, Path]]:
    """Write a copy of a robot's URDF that is safe to hand to another program, with its meshes beside it.

    Args:
        robot: the robot.
        folder: an empty folder; the copy in it is ``robot.urdf``.

    Returns:
        The name of the link that stands for the world, which has the base's frame, and for each mesh beside the
        copy the robot's own file that it was made from.

    Raises:
        RobotError: a mesh cannot be read.
    """
    at_base = RigidTransform.identity(Frame.WORLD, Frame.ROBOT_BASE, LengthUnit.METRE)
    standing = stand_in_world(robot, at_base)
    names: dict[str, str] = {}
    sources: dict[str, Path] = {}
    for number, (named, source) in enumerate(standing.meshes.items()):
        names[named] = f"mesh_{number}.stl"
        sources[names[named]] = source
        write_stl(folder / names[named], SurfaceMesh(*read_mesh(source)))
    root = parse_xml(standing.urdf.encode())
    for node in root.iter("mesh"):
        node.set("filename", names[node.get("filename", "")])
    (folder / _COPY).write_text(ET.tostring(root, encoding="unicode"), encoding="utf-8")
    return standing.world_link, sources
