"""An arm that lays one capsule anywhere: three strokes and two turns, so that clearance has closed forms."""

import numpy as np

from needleplan.frames import Frame, LengthUnit, RigidTransform
from robots.arm_settings import Mount
from robots.chain import KinematicChain
from robots.description import JointKind, UrdfJoint
from robots.model import Capsule, RobotModel

WORLD = RigidTransform(Frame.WORLD, Frame.ROBOT_BASE, np.eye(4), LengthUnit.METRE)
AXES = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1), (0, 1, 0)]


def rotation(axis, angle):
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


class ProbeArm(RobotModel):
    """q = x, y, z, turn about z, turn about y; the guide's frame is that of the last joint.

    Its links are "probe" at the last joint, "carriage" after the three strokes, "needle", which the driver moves,
    and "base".
    """

    name, base_link, mount = "probe", "base", Mount.FLOOR
    driver_stroke_m, driven_links = 0.3, frozenset(["needle"])
    q_min, q_max = -np.array([3.0, 3, 3, np.pi, np.pi]), np.array([3.0, 3, 3, np.pi, np.pi])

    def __init__(self, *capsules, free_pairs=(), mount=Mount.FLOOR):
        joints = [
            UrdfJoint(
                str(k), JointKind.PRISMATIC if k < 3 else JointKind.REVOLUTE, "", "", np.eye(4), np.array(axis)
            )
            for k, axis in enumerate(AXES)
        ]
        found = KinematicChain.of_joints(joints)
        self._chain = KinematicChain(found.constants, found.prismatic, self.q_min, self.q_max)
        self._capsules, self._free = capsules, frozenset(map(frozenset, free_pairs))
        self.mount = mount

    chain = property(lambda self: self._chain)
    capsules = property(lambda self: self._capsules)
    free_pairs = property(lambda self: self._free)

    def link_poses(self, q, driver_m):
        poses = {link: np.tile(np.eye(4), (len(q), 1, 1)) for link in ("base", "carriage", "probe", "needle")}
        for k, row in enumerate(q):
            turn = rotation(AXES[3], row[3]) @ rotation(AXES[4], row[4])
            poses["carriage"][k, :3, 3] = poses["probe"][k, :3, 3] = row[:3]
            poses["probe"][k, :3, :3] = poses["needle"][k, :3, :3] = turn
            poses["needle"][k, :3, 3] = row[:3] + driver_m[k] * turn[:, 2]
        return poses


# Clearance asks for no more of the contract than this.
ProbeArm.__abstractmethods__ = frozenset()


def capsule(start, end, radius, link="probe"):
    return Capsule(link, np.array(start, dtype=float), np.array(end, dtype=float), radius)


def ball(radius, link="probe"):
    return capsule([0, 0, 0], [0, 0, 0], radius, link)


def along(start, end):
    """q that lays a capsule from (0, 0, 0) to (0, 0, length) between two points."""
    way = np.subtract(end, start)
    way = way / np.linalg.norm(way)
    return np.array([*start, np.arctan2(way[1], way[0]), np.arctan2(np.hypot(way[0], way[1]), way[2])])
