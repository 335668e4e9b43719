"""The arm that is built from a URDF with its companion TOML; its kinematics are the Robotics Toolbox's."""

from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform, read_only
from robots.arm_settings import ArmSettings, read_arm_settings
from robots.description import JointKind, Shape, ShapeKind, UrdfJoint, UrdfTree
from robots.model import Capsule, RobotModel
from robots.urdf_reader import read_urdf

#: Bound on the quadratic ½eᵀe at which Robotics Toolbox stops. Its default of 1e-6 leaves 1.4 mm, this 14 nm;
#: 1e-18 is below what doubles resolve and one search in forty then never ends well.
IK_TOLERANCE = 1e-16
IK_ITERATIONS = 60


class UrdfArm(RobotModel):
    """An arm from a URDF and its companion TOML; kinematics by the Robotics Toolbox.

    Final: other robots implement ``RobotModel``.
    """

    def __init__(self, settings: ArmSettings) -> None:
        """Reads and checks the URDF that ``settings`` name; raises RobotError where they do not fit together."""
        self._settings = settings
        self._tree: UrdfTree = read_urdf(settings.urdf)
        where = settings.urdf.name
        self._chain = self._tree.chain(settings.base_link, settings.guide_link)
        self._joints = tuple(joint for joint in self._chain if joint.kind is not JointKind.FIXED)
        if len(self._joints) < 5 or any(joint.kind is not JointKind.REVOLUTE for joint in self._joints):
            raise RobotError(
                f"{where}: the chain to {settings.guide_link} needs at least five joints, all revolute"
            )
        drivers = [joint for joint in self._tree.joints if joint.name == settings.driver_joint]
        if len(drivers) != 1 or drivers[0].kind is not JointKind.PRISMATIC:
            raise RobotError(f"{where}: no prismatic joint is named {settings.driver_joint!r}")
        self._driver: UrdfJoint = drivers[0]
        along_z = self._driver.origin[:3, :3] @ self._driver.axis
        offset = float(np.linalg.norm(self._driver.origin[:3, 3]))
        if (
            self._driver.parent != settings.guide_link
            or along_z[2] < 1 - 1e-9
            or offset > 0
            or self._driver.lower != 0
        ):
            raise RobotError(
                f"{where}: the driver {settings.driver_joint!r} must start at 0 in the origin of "
                f"{settings.guide_link} and move along its +z"
            )
        count = len(self._joints)
        for key in ("home_rad", "acceleration_limits_rad_s2"):
            if getattr(settings, key).shape != (count,):
                raise RobotError(f"robot {settings.name}: {key} must have {count} values, one a joint of the arm")
        self._q_min = read_only([joint.lower for joint in self._joints])
        self._q_max = read_only([joint.upper for joint in self._joints])
        self._velocity = read_only([joint.velocity for joint in self._joints])
        strangers = sorted({link for pair in settings.never_touch for link in pair} - set(self._tree.links))
        if strangers:
            raise RobotError(
                f"robot {settings.name}: never_touch names {strangers[0]!r}, which is no link of {where}"
            )
        if (settings.home_rad < self._q_min).any() or (settings.home_rad > self._q_max).any():
            raise RobotError(f"robot {settings.name}: home_rad lies outside the joint limits of {where}")

    @classmethod
    def from_toml(cls, path: Path) -> "UrdfArm":
        """The arm that a companion TOML describes."""
        return cls(read_arm_settings(path))

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def summary(self) -> str:
        return self._settings.summary

    @property
    def tree(self) -> UrdfTree:
        """The URDF as it was read."""
        return self._tree

    @property
    def urdf_path(self) -> Path:
        return self._settings.urdf

    @property
    def joint_names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self._joints)

    @property
    def driver_joint_name(self) -> str:
        return self._driver.name

    @property
    def q_min(self) -> FloatArray:
        return self._q_min

    @property
    def q_max(self) -> FloatArray:
        return self._q_max

    @property
    def velocity_limits(self) -> FloatArray:
        return self._velocity

    @property
    def acceleration_limits(self) -> FloatArray:
        return self._settings.acceleration_limits_rad_s2

    @property
    def home(self) -> FloatArray:
        return self._settings.home_rad

    @property
    def driver_stroke_m(self) -> float:
        return self._driver.upper

    @property
    def driver_velocity_limit(self) -> float:
        return self._driver.velocity

    @property
    def driver_acceleration_limit(self) -> float:
        return self._settings.driver_acceleration_limit_m_s2

    @property
    def reach_m(self) -> float:
        """Sum of the offsets after the first joint: no pose of the guide lies farther from it."""
        first = self._chain.index(self._joints[0])
        return float(sum(np.linalg.norm(joint.origin[:3, 3]) for joint in self._chain[first + 1 :]))

    @property
    def first_joint_m(self) -> FloatArray:
        """(3,) origin of the first joint, in the base frame."""
        pose = np.eye(4)
        for joint in self._chain[: self._chain.index(self._joints[0]) + 1]:
            pose = pose @ joint.origin
        return pose[:3, 3]

    @cached_property
    def capsules(self) -> tuple[Capsule, ...]:
        """Capsules that enclose the collision shapes; raises RobotError for a mesh, which has no such capsule."""
        return tuple(
            _enclosing_capsule(link.name, shape, self._tree.path)
            for link in self._tree.links.values()
            for shape in link.collision
        )

    @property
    def base_link(self) -> str:
        return self._settings.base_link

    @cached_property
    def driven_links(self) -> frozenset[str]:
        """Links that the driver moves."""
        driven = {self._driver.child}
        for joint in self._tree.joints:
            if joint.parent in driven:
                driven.add(joint.child)
        return frozenset(driven)

    @cached_property
    def free_pairs(self) -> frozenset[frozenset[str]]:
        """Links of one rigid body, links joined by one joint, and the pairs that the TOML lists."""
        body = {self._tree.root: self._tree.root}
        for joint in self._tree.joints:
            body[joint.child] = body[joint.parent] if joint.kind is JointKind.FIXED else joint.child
        joined = {frozenset((body[j.parent], j.child)) for j in self._tree.joints if j.kind is not JointKind.FIXED}
        free = {frozenset(pair) for pair in self._settings.never_touch}
        for first, second in combinations(self._tree.links, 2):
            if body[first] == body[second] or frozenset((body[first], body[second])) in joined:
                free.add(frozenset((first, second)))
        return frozenset(free)

    @cached_property
    def _ets(self) -> Any:
        """The chain to the guide as an elementary transform sequence of the Robotics Toolbox."""
        import roboticstoolbox as rtb
        from spatialmath import SE3

        elements: list[Any] = []
        constant = np.eye(4)
        for joint in self._chain:
            turn = _rotation_from_z(joint.axis)
            constant = constant @ joint.origin @ turn
            if joint.kind is JointKind.REVOLUTE:
                elements.append(rtb.ET.SE3(SE3(constant, check=False)))
                elements.append(rtb.ET.Rz(qlim=np.array([joint.lower, joint.upper])))
                constant = np.eye(4)
            constant = constant @ turn.T
        elements.append(rtb.ET.SE3(SE3(constant, check=False)))
        return rtb.ETS(elements)

    def _checked(self, q: ArrayLike) -> FloatArray:
        array = np.asarray(q, dtype=np.float64)
        if array.shape != self._q_min.shape or not np.isfinite(array).all():
            raise RobotError(f"robot {self.name}: joint positions must be {len(self._q_min)} finite numbers")
        return array

    def forward(self, q: ArrayLike) -> RigidTransform:
        return RigidTransform(Frame.ROBOT_BASE, Frame.GUIDE, self._ets.fkine(self._checked(q)).A, LengthUnit.METRE)

    def jacobian(self, q: ArrayLike) -> FloatArray:
        return np.asarray(self._ets.jacob0(self._checked(q)))

    def solve_pose(self, X_BG: RigidTransform, q_start: ArrayLike, roll_free: bool) -> FloatArray | None:
        """One search by Levenberg and Marquardt's method (Robotics Toolbox ``ik_LM``).

        A mask on ``ik_LM`` frees a turn about the base's z axis, not the needle's. So for a free roll the chain is
        seen from the wanted pose, where the goal is the identity and the last rotation is the needle's roll.
        """
        import roboticstoolbox as rtb
        from spatialmath import SE3

        if (
            X_BG.parent is not Frame.ROBOT_BASE
            or X_BG.child is not Frame.GUIDE
            or X_BG.unit is not LengthUnit.METRE
        ):
            found = f"X_{X_BG.parent}{X_BG.child} in {X_BG.unit}"
            raise RobotError(f"robot {self.name}: the wanted pose must be X_BG in metres, not {found}")
        start = self._checked(q_start)
        seen = rtb.ET.SE3(SE3(X_BG.inverse().matrix, check=False)) * self._ets
        answer = seen.ik_LM(
            np.eye(4),
            q0=np.array(start),  # its binding accepts no read-only array
            ilimit=IK_ITERATIONS,
            slimit=1,  # the library's own restarts cannot be seeded
            tol=IK_TOLERANCE,
            mask=np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0 if roll_free else 1.0]),
            joint_limits=True,
        )
        q = np.asarray(answer.q, dtype=np.float64)
        inside = bool(np.isfinite(q).all() and (q >= self._q_min).all() and (q <= self._q_max).all())
        return q if answer.success and inside else None

    def link_poses(self, q: ArrayLike, driver_m: ArrayLike) -> dict[str, FloatArray]:
        """Poses (k, 4, 4) of all links in the base frame at ``q`` (k, n) and ``driver_m`` (k,)."""
        positions = np.asarray(q, dtype=np.float64)
        driver = np.broadcast_to(np.asarray(driver_m, dtype=np.float64), positions.shape[:1])
        columns = {joint.name: positions[:, k] for k, joint in enumerate(self._joints)}
        columns[self._driver.name] = driver
        poses = {self._tree.root: np.broadcast_to(np.eye(4), (len(positions), 4, 4))}
        for joint in self._tree.joints:
            motion = np.broadcast_to(np.eye(4), (len(positions), 4, 4)).copy()
            if joint.kind is JointKind.REVOLUTE:
                motion[:, :3, :3] = _axis_rotations(joint.axis, columns[joint.name])
            elif joint.kind is JointKind.PRISMATIC:
                motion[:, :3, 3] = columns[joint.name][:, None] * joint.axis
            poses[joint.child] = poses[joint.parent] @ joint.origin @ motion
        to_base = np.linalg.inv(poses[self._settings.base_link])
        return {link: np.asarray(to_base @ pose) for link, pose in poses.items()}


def _axis_rotations(axis: FloatArray, angles: FloatArray) -> FloatArray:
    """(k, 3, 3) rotations by ``angles`` (k,) about a unit axis (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine, versine = np.sin(angles)[:, None, None], (1.0 - np.cos(angles))[:, None, None]
    return np.asarray(np.eye(3) + sine * cross + versine * (cross @ cross))


def _rotation_from_z(axis: FloatArray) -> FloatArray:
    """(4, 4) rotation that carries +z to a unit ``axis``, so that a joint turns about its own z."""
    matrix = np.eye(4)
    if axis[2] < -1 + 1e-12:
        matrix[:3, :3] = np.diag([1.0, -1.0, -1.0])
    else:
        cross = np.array([[0.0, 0.0, axis[0]], [0.0, 0.0, axis[1]], [-axis[0], -axis[1], 0.0]])
        matrix[:3, :3] = np.eye(3) + cross + cross @ cross / (1.0 + axis[2])
    return matrix


def _enclosing_capsule(link: str, shape: Shape, path: Path) -> Capsule:
    if shape.kind is ShapeKind.MESH:
        raise RobotError(f"{path}: link {link!r} collides as a mesh; give it boxes, cylinders or spheres instead")
    if shape.kind is ShapeKind.SPHERE:
        half, radius = np.zeros(3), float(shape.size_m[0])
    elif shape.kind is ShapeKind.CYLINDER:
        # The rim of a cylinder lies at its radius from the end of its axis, so a capsule of that axis encloses it.
        half, radius = np.array([0.0, 0.0, shape.size_m[1] / 2]), float(shape.size_m[0])
    else:
        longest = int(np.argmax(shape.size_m))
        half = np.zeros(3)
        half[longest] = shape.size_m[longest] / 2
        radius = float(np.linalg.norm(np.delete(shape.size_m, longest)) / 2)
    rotation, centre = shape.pose[:3, :3], shape.pose[:3, 3]
    return Capsule(link, read_only(centre - rotation @ half), read_only(centre + rotation @ half), radius)
