"""The simulated room in PyBullet: table, floor, the breathing patient and the arm (metres, radians, no display).

Everything is posed, nothing is pushed: the arm's joints are reset to the commanded positions and the patient's
surfaces to where the breathing puts them, so a run is the same every time. Where things are is then asked back
from PyBullet, by its own forward kinematics of the same URDF that the planner used, and PyBullet's collision
detection says what touches.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from robots.frames import PatientPlacement
from robots.model import RobotModel
from sim.patient import PatientPart
from sim.recorder import VisualShape

#: Thickness of the slab that stands for the floor.
_FLOOR_M = 0.1


@contextmanager
def _silenced() -> Iterator[None]:
    """Keeps what the C library prints (a banner at import) away from the program's output."""
    sys.stdout.flush()
    libc = ctypes.CDLL(None)
    kept = [(number, os.dup(number)) for number in (1, 2)]
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        for number, _ in kept:
            os.dup2(sink, number)
        yield
    finally:
        libc.fflush(None)  # C buffers its output where it is no terminal
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        os.close(sink)


def _pybullet() -> Any:
    if "pybullet" not in sys.modules:
        with _silenced():
            import pybullet
    import pybullet

    return pybullet


class RehearsalWorld:
    """One PyBullet world; use it as a context manager, it disconnects when left.

    Attributes are private; poses come back in the world W (metres).
    """

    def __init__(
        self, robot: RobotModel, X_WB: RigidTransform, placement: PatientPlacement, parts: Sequence[PatientPart]
    ) -> None:
        """Build the room.

        Args:
            robot: the arm; its URDF is loaded as it is.
            X_WB: pose of its base in the world, metres.
            placement: how the patient lies, and the table.
            parts: surfaces of the patient.

        Raises:
            RobotError: the URDF cannot be loaded, or its links are not those of ``robot``.
        """
        self._p = _pybullet()
        self._robot = robot
        self._placement = placement
        self._parts = tuple(parts)
        self._client: int = self._p.connect(self._p.DIRECT)
        try:
            self._load_arm(X_WB)
            self._obstacles = self._load_furniture() | self._load_patient()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "RehearsalWorld":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        if self._client >= 0:
            self._p.disconnect(physicsClientId=self._client)
            self._client = -1

    def _load_arm(self, X_WB: RigidTransform) -> None:
        p, client = self._p, self._client
        try:
            with _silenced():
                self._arm: int = p.loadURDF(str(self._robot.urdf_path), useFixedBase=True, physicsClientId=client)
        except p.error as error:
            raise RobotError(f"PyBullet cannot load {self._robot.urdf_path.name}: {error}") from error
        self._joint: dict[str, int] = {}
        self._link: dict[str, int] = {p.getBodyInfo(self._arm, physicsClientId=client)[0].decode(): -1}
        for index in range(p.getNumJoints(self._arm, physicsClientId=client)):
            info = p.getJointInfo(self._arm, index, physicsClientId=client)
            self._joint[info[1].decode()] = index
            self._link[info[12].decode()] = index
        wanted = (*self._robot.joint_names, self._robot.driver_joint_name)
        missing = [name for name in wanted if name not in self._joint]
        if missing:
            raise RobotError(f"PyBullet finds no joint {missing[0]!r} in {self._robot.urdf_path.name}")
        self._driven = tuple(self._joint[name] for name in wanted)
        self._posed = [float("nan")] * len(wanted)
        self._needle = self._joint[self._robot.driver_joint_name]
        self._link_names = {index: name for name, index in self._link.items()}
        # getBasePosition speaks of the base's centre of mass, so its offset from the link frame is taken off.
        inertial = p.getDynamicsInfo(self._arm, -1, physicsClientId=client)
        self._base_inertial = (inertial[3], inertial[4])
        self.place_base(X_WB)

    def _load_furniture(self) -> dict[int, str]:
        table = self._placement.table
        low, high = table.box_m
        floor_low = np.array([-3.0, -3.0, -table.height_m - _FLOOR_M])
        floor_high = np.array([3.0, 3.0, -table.height_m])
        return {self._box(low, high): "table", self._box(floor_low, floor_high): "floor"}

    def _box(self, low: FloatArray, high: FloatArray) -> int:
        p, client = self._p, self._client
        shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=((high - low) / 2).tolist(), physicsClientId=client)
        return int(p.createMultiBody(0, shape, basePosition=((high + low) / 2).tolist(), physicsClientId=client))

    def _load_patient(self) -> dict[int, str]:
        p, client = self._p, self._client
        bodies = {}
        self._bodies: list[int] = []
        for part in self._parts:
            # Mesh in patient axes, so that a displacement is all that a breath changes.
            shape = p.createCollisionShape(
                p.GEOM_MESH,
                vertices=(part.mesh.vertices_mm * 1e-3).tolist(),
                indices=part.mesh.faces.ravel().tolist(),
                flags=p.GEOM_FORCE_CONCAVE_TRIMESH,
                physicsClientId=client,
            )
            if shape < 0:
                raise RobotError(f"PyBullet cannot take the surface of {part.name} ({len(part.mesh.faces)} faces)")
            body = int(p.createMultiBody(0, shape, physicsClientId=client))
            # The needle is meant to pass through tissue; the rest of the arm is not.
            p.setCollisionFilterPair(self._arm, body, self._needle, -1, 0, physicsClientId=client)
            bodies[body] = part.name
            self._bodies.append(body)
        return bodies

    def place_base(self, X_WB: RigidTransform) -> None:
        """Put the arm's base at ``X_WB`` (metres)."""
        if (
            X_WB.parent is not Frame.WORLD
            or X_WB.child is not Frame.ROBOT_BASE
            or X_WB.unit is not LengthUnit.METRE
        ):
            raise RobotError(f"the base must be placed by X_WB in metres, not X_{X_WB.parent}{X_WB.child}")
        position, orientation = self._p.multiplyTransforms(
            X_WB.translation.tolist(), _quaternion(X_WB.rotation), *self._base_inertial
        )
        self._p.resetBasePositionAndOrientation(self._arm, position, orientation, physicsClientId=self._client)

    def pose_arm(self, positions: ArrayLike) -> None:
        """Set the joints (n + 1,): radians, and last the driver in metres."""
        values = np.asarray(positions, dtype=np.float64).tolist()
        for index, (joint, value) in enumerate(zip(self._driven, values, strict=True)):
            if value != self._posed[index]:
                self._p.resetJointState(self._arm, joint, value, physicsClientId=self._client)
                self._posed[index] = value

    def pose_patient(self, displacement_mm: ArrayLike, skin_rise_mm: ArrayLike) -> None:
        """Move every part of the patient.

        Args:
            displacement_mm: (3,) displacement of the target from end-exhale, patient LPS.
            skin_rise_mm: (3,) displacement of the highest point of the skin.
        """
        target, skin = np.asarray(displacement_mm), np.asarray(skin_rise_mm)
        X_WP = self._placement.X_WP
        orientation = _quaternion(X_WP.rotation)
        for part, body in zip(self._parts, self._bodies, strict=True):
            moved = part.fraction * target + part.skin_rise * skin
            position = self._placement.points_to_world(moved).tolist()
            self._p.resetBasePositionAndOrientation(body, position, orientation, physicsClientId=self._client)

    def needle_pose(self) -> RigidTransform:
        """X_WN by PyBullet's forward kinematics: origin at the tip, +z along the insertion, metres."""
        return RigidTransform(Frame.WORLD, Frame.NEEDLE, self.needle_matrix(), LengthUnit.METRE)

    def needle_matrix(self) -> FloatArray:
        """(4, 4) matrix of :meth:`needle_pose`."""
        return self._link_pose(self._needle)

    def link_poses(self) -> dict[str, FloatArray]:
        """(4, 4) pose of every link's frame in the world, by name."""
        return {name: self._link_pose(index) for name, index in self._link.items()}

    def _link_pose(self, index: int) -> FloatArray:
        if index < 0:
            position, orientation = self._p.getBasePositionAndOrientation(self._arm, physicsClientId=self._client)
            position, orientation = self._p.multiplyTransforms(
                position, orientation, *self._p.invertTransform(*self._base_inertial)
            )
        else:
            state = self._p.getLinkState(
                self._arm, index, computeForwardKinematics=True, physicsClientId=self._client
            )
            position, orientation = state[4], state[5]
        pose = np.eye(4)
        pose[:3, :3] = _rotation(np.asarray(orientation))
        pose[:3, 3] = position
        return pose

    def visual_shapes(self) -> tuple[VisualShape, ...]:
        """The arm's visual shapes as PyBullet read them from the URDF."""
        p = self._p
        kinds = {p.GEOM_BOX: "box", p.GEOM_CYLINDER: "cylinder", p.GEOM_SPHERE: "sphere", p.GEOM_MESH: "mesh"}
        sizes = {"box": 3, "cylinder": 2, "sphere": 1, "mesh": 3}
        shapes = []
        for data in p.getVisualShapeData(self._arm, physicsClientId=self._client):
            kind = kinds[data[2]]
            pose = np.eye(4)
            pose[:3, :3] = _rotation(np.asarray(data[6]))
            pose[:3, 3] = data[5]
            red, green, blue = data[7][:3]
            shapes.append(
                VisualShape(
                    self._link_names[data[1]], kind, tuple(data[3][: sizes[kind]]), pose, (red, green, blue),
                    data[4].decode(),
                )
            )  # fmt: skip
        return tuple(shapes)

    def touches(self) -> tuple[tuple[str, str], ...]:
        """Pairs (link of the arm, what it touches) that PyBullet finds now, the needle in tissue left out."""
        p, client = self._p, self._client
        p.performCollisionDetection(physicsClientId=client)
        found = set()
        for contact in p.getContactPoints(bodyA=self._arm, physicsClientId=client) or ():
            other, link, distance = contact[2], contact[3], contact[8]
            if other in self._obstacles and distance <= 0.0:
                name = self._link_names[link]
                if not (link == -1 and self._obstacles[other] == "floor"):  # the base stands on it
                    found.add((name, self._obstacles[other]))
        return tuple(sorted(found))


def _rotation(quaternion: FloatArray) -> FloatArray:
    """(3, 3) rotation of a quaternion x, y, z, w; PyBullet's own conversion rounds to single precision."""
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _quaternion(rotation: FloatArray) -> list[float]:
    """Quaternion x, y, z, w of a rotation, from its largest component (Shepperd's method)."""
    m = np.asarray(rotation)
    trace = float(np.trace(m))
    squares = np.array([m[0, 0], m[1, 1], m[2, 2], trace])
    k = int(np.argmax(squares))
    if k == 3:
        quaternion = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1.0 + trace])
    else:
        i, j = (k + 1) % 3, (k + 2) % 3
        quaternion = np.empty(4)
        quaternion[k] = 1.0 + 2.0 * m[k, k] - trace
        quaternion[i] = m[i, k] + m[k, i]
        quaternion[j] = m[j, k] + m[k, j]
        quaternion[3] = m[j, i] - m[i, j]
    values: list[float] = (quaternion / np.linalg.norm(quaternion)).tolist()
    return values
