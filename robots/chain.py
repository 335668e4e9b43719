"""Joints in a row as arrays: the one description from which forward kinematics and all searches are computed.

A joint turns about, or moves along, the z axis of its own frame. So the pose of the end is
C₀ Z(q₁) C₁ Z(q₂) … Z(qₙ) Cₙ with constant poses C and elementary joint motions Z (the product of elementary
transforms of Haviland and Corke, "Manipulator Differential Kinematics", IEEE Robotics & Automation Magazine 2023).
Metres and radians.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, read_only
from robots.description import JointKind, UrdfJoint


@dataclass(frozen=True, slots=True, eq=False)
class KinematicChain:
    """n joints in a row.

    Attributes:
        constants: (n + 1, 4, 4) poses before each joint and after the last.
        prismatic: (n,) True where a joint moves along its z axis instead of turning about it.
        q_min: (n,) least positions, rad or m.
        q_max: (n,) greatest positions.
    """

    constants: FloatArray
    prismatic: NDArray[np.bool_]
    q_min: FloatArray
    q_max: FloatArray

    def __post_init__(self) -> None:
        count = len(self.prismatic)
        if self.constants.shape != (count + 1, 4, 4) or {self.q_min.shape, self.q_max.shape} != {(count,)}:
            raise RobotError(f"a chain of {count} joints needs {count + 1} constant poses and {count} limits")
        for name in ("constants", "q_min", "q_max"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        prismatic = np.array(self.prismatic, dtype=np.bool_)
        prismatic.setflags(write=False)
        object.__setattr__(self, "prismatic", prismatic)

    def __len__(self) -> int:
        return len(self.prismatic)

    @classmethod
    def of_joints(cls, joints: Sequence[UrdfJoint]) -> "KinematicChain":
        """The chain of a URDF's joints, base first; fixed joints become part of the constant poses."""
        constants, moving = [], []
        constant = np.eye(4)
        for joint in joints:
            turn = rotation_from_z(joint.axis)
            constant = constant @ joint.origin
            if joint.kind is not JointKind.FIXED:
                moving.append(joint)
                constants.append(constant @ turn)
                constant = turn.T
        constants.append(constant)
        return cls(
            np.array(constants),
            np.array([joint.kind is JointKind.PRISMATIC for joint in moving], dtype=np.bool_),
            np.array([joint.lower for joint in moving]),
            np.array([joint.upper for joint in moving]),
        )


def rotation_from_z(axis: FloatArray) -> FloatArray:
    """(4, 4) rotation that carries +z to a unit ``axis``, so that a joint turns about its own z."""
    matrix = np.eye(4)
    if axis[2] < -1 + 1e-12:
        matrix[:3, :3] = np.diag([1.0, -1.0, -1.0])
    else:
        cross = np.array([[0.0, 0.0, axis[0]], [0.0, 0.0, axis[1]], [-axis[0], -axis[1], 0.0]])
        matrix[:3, :3] = np.eye(3) + cross + cross @ cross / (1.0 + axis[2])
    return matrix
