"""The robot that is built from a URDF with its companion TOML."""

from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform, read_only
from robots.arm_settings import ArmSettings, Mount, PositioningError, read_arm_settings
from robots.chain import KinematicChain
from robots.chain_kernels import guide_jacobian, guide_matrix
from robots.description import JointKind, UrdfJoint, UrdfTree
from robots.enclosing_capsule import enclosing_capsule
from robots.mesh_file import mesh_in_metres
from robots.model import Capsule, RobotModel
from robots.urdf_reader import read_urdf


class UrdfArm(RobotModel):
    """A robot from a URDF and its companion TOML.

    Final: other robots implement ``RobotModel``.
    """

    def __init__(self, settings: ArmSettings) -> None:
        """Reads and checks the URDF that ``settings`` name; raises RobotError where they do not fit together."""
        self._settings = settings
        self._tree: UrdfTree = read_urdf(settings.urdf)
        where = settings.urdf.name
        self._chain = self._tree.chain(settings.base_link, settings.guide_link)
        self._joints = tuple(joint for joint in self._chain if joint.kind is not JointKind.FIXED)
        if len(self._joints) < 5:
            raise RobotError(
                f"{where}: the chain to {settings.guide_link} has {len(self._joints)} joints and a needle axis "
                "needs at least five"
            )
        drivers = [joint for joint in self._tree.joints if joint.name == settings.driver_joint]
        if len(drivers) != 1 or drivers[0].kind is not JointKind.PRISMATIC:
            raise RobotError(f"{where}: no prismatic joint is named {settings.driver_joint!r}")
        self._driver: UrdfJoint = drivers[0]
        moving = {joint.name for joint in self._tree.joints if joint.kind is not JointKind.FIXED}
        others = sorted(moving - {joint.name for joint in self._joints} - {settings.driver_joint})
        if others:
            raise RobotError(
                f"{where}: joint {others[0]!r} moves and lies neither between {settings.base_link} and "
                f"{settings.guide_link} nor is it the driver; make it fixed"
            )
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
        listed = {key: getattr(settings, key) for key in ("home", "acceleration_limits", "jerk_limits")}
        for key, values in (listed | {"error.joint_std": settings.error.joint_std}).items():
            if values.shape != (count,):
                raise RobotError(f"robot {settings.name}: {key} must have {count} values, one a joint of the arm")
        self._q_min = read_only([joint.lower for joint in self._joints])
        self._q_max = read_only([joint.upper for joint in self._joints])
        self._velocity = read_only([joint.velocity for joint in self._joints])
        strangers = sorted({link for pair in settings.never_touch for link in pair} - set(self._tree.links))
        if strangers:
            raise RobotError(
                f"robot {settings.name}: never_touch names {strangers[0]!r}, which is no link of {where}"
            )
        if (settings.home < self._q_min).any() or (settings.home > self._q_max).any():
            wrong = int(np.argmax((settings.home < self._q_min) | (settings.home > self._q_max)))
            raise RobotError(
                f"robot {settings.name}: home has joint {self._joints[wrong].name} at {settings.home[wrong]:g}, "
                f"outside its limits {self._q_min[wrong]:g} to {self._q_max[wrong]:g} in {where}"
            )
        # Meshes are read here, so that one that cannot be used is found when the robot is loaded.
        self._capsules = _read_shapes(self._tree)

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

    @cached_property
    def chain(self) -> KinematicChain:
        return KinematicChain.of_joints(self._chain)

    @property
    def mount(self) -> Mount:
        return self._settings.mount

    @property
    def error(self) -> PositioningError:
        return self._settings.error

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
        return self._settings.acceleration_limits

    @property
    def jerk_limits(self) -> FloatArray:
        return self._settings.jerk_limits

    @property
    def home(self) -> FloatArray:
        return self._settings.home

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
    def driver_jerk_limit(self) -> float:
        return self._settings.driver_jerk_limit_m_s3

    @property
    def reach_m(self) -> float:
        """Sum of the offsets after the first joint, and of all strokes: the guide lies nowhere farther from it."""
        first = self._chain.index(self._joints[0])
        offsets = sum(np.linalg.norm(joint.origin[:3, 3]) for joint in self._chain[first + 1 :])
        strokes = sum(
            max(abs(joint.lower), abs(joint.upper)) for joint in self._joints if joint.kind is JointKind.PRISMATIC
        )
        return float(offsets + strokes)

    @property
    def first_joint_m(self) -> FloatArray:
        """(3,) origin of the first joint, in the base frame."""
        pose = np.eye(4)
        for joint in self._chain[: self._chain.index(self._joints[0]) + 1]:
            pose = pose @ joint.origin
        return pose[:3, 3]

    @property
    def capsules(self) -> tuple[Capsule, ...]:
        return self._capsules

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

    def toolbox_chain(self) -> Any:
        """The chain to the guide as an ``ETS`` of the Robotics Toolbox, for its planners and as a check."""
        import roboticstoolbox as rtb
        from spatialmath import SE3

        chain, elements = self.chain, []
        for k, constant in enumerate(chain.constants):
            elements.append(rtb.ET.SE3(SE3(np.array(constant), check=False)))
            if k < len(chain):
                joint = rtb.ET.tz if chain.prismatic[k] else rtb.ET.Rz
                elements.append(joint(qlim=np.array([chain.q_min[k], chain.q_max[k]])))
        return rtb.ETS(elements)

    def _checked(self, q: ArrayLike) -> FloatArray:
        array = np.asarray(q, dtype=np.float64)
        if array.shape != self._q_min.shape or not np.isfinite(array).all():
            raise RobotError(f"robot {self.name}: joint positions must be {len(self._q_min)} finite numbers")
        return array

    def forward(self, q: ArrayLike) -> RigidTransform:
        chain = self.chain
        matrix = guide_matrix(chain.constants, chain.prismatic, self._checked(q))
        return RigidTransform(Frame.ROBOT_BASE, Frame.GUIDE, matrix, LengthUnit.METRE)

    def jacobian(self, q: ArrayLike) -> FloatArray:
        chain = self.chain
        return np.asarray(guide_jacobian(chain.constants, chain.prismatic, self._checked(q)))

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


def _read_shapes(tree: UrdfTree) -> tuple[Capsule, ...]:
    """The capsules of all collision shapes; raises RobotError for a mesh, also one to look at, that is unfit."""
    capsules: list[Capsule] = []
    for link in tree.links.values():
        for what, shapes in (("visual", link.visual), ("collision", link.collision)):
            for shape in shapes:
                try:
                    if what == "collision":
                        capsules.append(enclosing_capsule(link.name, shape))
                    elif shape.mesh is not None:
                        mesh_in_metres(shape.mesh, shape.size_m)
                except RobotError as error:
                    raise RobotError(f"link {link.name!r}, {what}: {error}") from error
    return tuple(capsules)


def _axis_rotations(axis: FloatArray, angles: FloatArray) -> FloatArray:
    """(k, 3, 3) rotations by ``angles`` (k,) about a unit axis (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine, versine = np.sin(angles)[:, None, None], (1.0 - np.cos(angles))[:, None, None]
    return np.asarray(np.eye(3) + sine * cross + versine * (cross @ cross))
