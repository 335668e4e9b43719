"""What is asked of an arm that lays its guide on a needle axis, and how good its answer is. Metres and radians."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from needleplan.frames import (
    FloatArray,
    Frame,
    LengthUnit,
    RigidTransform,
    perpendicular_axes,
    read_only,
    unit_vector,
)
from robots.model import RobotModel

#: More clearance than this makes a posture no better.
CLEARANCE_ENOUGH_M = 0.05


class AxisStatus(StrEnum):
    """How a search for joint positions ended."""

    REACHED = "reached"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, eq=False)
class AxisSolution:
    """Joint positions that lay the guide on a wanted axis, or why there are none.

    Attributes:
        status: whether the axis is reached.
        reason: empty when reached; else what was found, in a sentence.
        q: (n,) joint positions; None when unreachable.
        position_error_m: distance of the guide's exit from its goal by forward kinematics; infinite when
            unreachable.
        axis_error_rad: angle between the guide's and the wanted axis; infinite when unreachable.
        manipulability: Yoshikawa's measure sqrt(det(J Jᵀ)) of the five rows of the Jacobian that the task fixes,
            in guide axes (m³); zero at a singular pose.
        limit_margin: distance of the nearest joint limit as a share of half that joint's range: 0 at a limit, 1
            with every joint in the middle.
        starts: number of searches that were run.
        clearance_m: least distance of the arm from what it must keep clear of; None where it was not asked for.
    """

    status: AxisStatus
    reason: str
    q: FloatArray | None
    position_error_m: float
    axis_error_rad: float
    manipulability: float
    limit_margin: float
    starts: int
    clearance_m: float | None = None

    def __post_init__(self) -> None:
        if self.q is not None:
            object.__setattr__(self, "q", read_only(self.q))

    @property
    def reached(self) -> bool:
        """True where there are joint positions."""
        return self.status is AxisStatus.REACHED

    @property
    def score(self) -> float:
        """Manipulability times limit margin, and less where the arm comes near to something.

        High far from singular poses, from every limit and from every surface; a clearance of
        ``CLEARANCE_ENOUGH_M`` and more counts alike.
        """
        near = 1.0 if self.clearance_m is None else max(0.0, min(1.0, self.clearance_m / CLEARANCE_ENOUGH_M))
        return self.manipulability * self.limit_margin * near


def limit_margin(robot: RobotModel, q: ArrayLike) -> FloatArray:
    """Distance of the nearest limit over half the range for joint positions (..., n); shape (...,)."""
    positions = np.asarray(q, dtype=np.float64)
    nearest = np.minimum(positions - robot.q_min, robot.q_max - positions)
    return np.asarray((2.0 * nearest / (robot.q_max - robot.q_min)).min(axis=-1))


def task_jacobian(robot: RobotModel, q: ArrayLike) -> FloatArray:
    """(5, n) Jacobian in guide axes without the roll: three velocities (m/s) over two turns (rad/s)."""
    jacobian = robot.jacobian(q)
    to_guide = robot.forward(q).rotation.T
    return np.concatenate([to_guide @ jacobian[:3], (to_guide @ jacobian[3:])[:2]])


def manipulability(robot: RobotModel, q: ArrayLike) -> float:
    """Yoshikawa's measure sqrt(det(J Jᵀ)) of the five-row task Jacobian, in m³."""
    return float(np.prod(np.linalg.svd(task_jacobian(robot, q), compute_uv=False)))


def axis_errors(robot: RobotModel, q: ArrayLike, X_BG: RigidTransform) -> tuple[float, float]:
    """Distance of the guide's exit (m) and angle of its axis (rad) from the wanted pose, by forward kinematics."""
    found = robot.forward(q)
    sine = float(np.linalg.norm(np.cross(found.rotation[:, 2], X_BG.rotation[:, 2])))
    cosine = float(found.rotation[:, 2] @ X_BG.rotation[:, 2])
    return float(np.linalg.norm(found.translation - X_BG.translation)), float(np.arctan2(sine, cosine))


def guide_pose(exit_m: ArrayLike, direction: ArrayLike, parent: Frame = Frame.ROBOT_BASE) -> RigidTransform:
    """A pose of the guide: exit at ``exit_m`` (3,), +z along ``direction`` (3,), the roll arbitrary."""
    x, y = perpendicular_axes(direction)
    rotation = np.stack([x, y, unit_vector(direction)], axis=1)
    return RigidTransform.from_parts(parent, Frame.GUIDE, rotation, exit_m, LengthUnit.METRE)
