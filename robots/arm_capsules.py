"""An arm's capsules as the arrays that the kernels of clearance take."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import FrameError, RobotError
from needleplan.frames import FloatArray, Frame, RigidTransform
from robots.arm_settings import Mount
from robots.clearance_kernels import AHEAD, BEHIND, FIXED, placed_rows
from robots.model import Capsule, RobotModel

#: Postures at which the links' poses are compared with those of the joints.
_PROBES = 5
#: A link that strays less from a joint's frame is carried by it, m and rad.
_SAME_POSE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class ArmCapsules:
    """What clearance needs to know of an arm: each capsule's joint, its ends and which pairs are checked.

    A capsule that the driver moves has two rows: the part behind the guide's exit and the part ahead of it.

    Attributes:
        capsules: (r) the capsule of each row.
        frame: (r,) number of joints that carry it; one more than there are for what the driver moves.
        part: (r,) which part of the capsule it is.
        local: (r, 6) ends of its axis in the frame that carries it.
        arm: radii (r,), parts (r,), what stands on the table and on the floor (r,), pairs (p, 2), as the kernels
            take them.
        farthest_m: (r,) no point of its axis is farther from an axis of a joint that moves it.
    """

    capsules: tuple[Capsule, ...]
    frame: NDArray[np.int64]
    part: NDArray[np.int64]
    local: FloatArray
    arm: tuple[NDArray[Any], ...]
    farthest_m: FloatArray

    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, robot: RobotModel) -> "ArmCapsules":
        """The capsules of a robot, made once; raises RobotError for a link that none of its joints carries."""
        count = len(robot.chain)
        carrier = {link: _carrier(robot, link) for link in dict.fromkeys(c.link for c in robot.capsules)}
        rows = []
        for capsule in robot.capsules:
            number, pose = carrier[capsule.link]
            ends = np.concatenate([pose[:3, :3] @ end + pose[:3, 3] for end in (capsule.start_m, capsule.end_m)])
            rows += [(number, kind, ends, capsule) for kind in ((FIXED,) if number <= count else (BEHIND, AHEAD))]
        rows.sort(key=lambda row: row[0])
        capsules = tuple(row[3] for row in rows)
        frame, part = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
        local = np.array([row[2] for row in rows])
        pairs = [
            (i, j)
            for i, j in combinations(range(len(rows)), 2)
            if capsules[i].link != capsules[j].link
            and frozenset((capsules[i].link, capsules[j].link)) not in robot.free_pairs
        ]
        standing = np.array([capsule.link == robot.base_link for capsule in capsules])
        arm = (
            np.array([capsule.radius_m for capsule in capsules]),
            part,
            standing & (robot.mount is Mount.TABLE),
            standing & (robot.mount is Mount.FLOOR),
            np.array(pairs, dtype=np.int64).reshape(-1, 2),
        )
        return cls(capsules, frame, part, local, arm, _farthest(robot, frame, local))

    def place(
        self, robot: RobotModel, X_WB: RigidTransform, q: ArrayLike, driver_m: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Rows (k, r, 6) of all capsules in the world, and the guide's exits and axes (k, 6).

        Raises:
            FrameError: X_WB is not the pose of a robot's base in the world.
            RobotError: ``q`` is not (k, n) or (n,), ``driver_m`` not (k,) or one number, or one of them is not
                finite or the driver's negative.
        """
        if X_WB.parent is not Frame.WORLD or X_WB.child is not Frame.ROBOT_BASE:
            raise FrameError(f"the base must be given as X_WB, not X_{X_WB.parent}{X_WB.child}")
        positions = np.ascontiguousarray(np.atleast_2d(np.asarray(q, dtype=np.float64)))
        count = len(robot.chain)
        if positions.ndim != 2 or positions.shape[1] != count or not np.isfinite(positions).all():
            raise RobotError(
                f"robot {robot.name}: joint positions must be finite and of the shape (k, {count}), not "
                f"{positions.shape}"
            )
        driver = np.asarray(driver_m, dtype=np.float64)
        if driver.shape not in ((), (len(positions),)) or not np.isfinite(driver).all() or (driver < 0).any():
            raise RobotError(
                f"robot {robot.name}: the driver needs one position of 0 or more, or one for each of the "
                f"{len(positions)} postures, not {driver.shape}"
            )
        driver = np.array(np.broadcast_to(driver, len(positions)))
        rows, exits = np.empty((len(positions), len(self.capsules), 6)), np.empty((len(positions), 6))
        chain = robot.chain
        placed_rows(
            chain.constants, chain.prismatic, X_WB.matrix, self.frame, self.part, self.local, positions, driver,
            rows, exits,
        )  # fmt: skip
        return rows, exits


def _joint_frames(robot: RobotModel, q: FloatArray) -> list[FloatArray]:
    """Frames (k, 4, 4) that the first 0, 1, ... n joints carry, in the base frame; last the guide's."""
    chain = robot.chain
    frames = [np.broadcast_to(np.eye(4), (len(q), 4, 4))]
    for joint, prismatic in enumerate(chain.prismatic):
        motion = np.broadcast_to(np.eye(4), (len(q), 4, 4)).copy()
        if prismatic:
            motion[:, 2, 3] = q[:, joint]
        else:
            motion[:, 0, 0] = motion[:, 1, 1] = np.cos(q[:, joint])
            motion[:, 1, 0] = np.sin(q[:, joint])
            motion[:, 0, 1] = -motion[:, 1, 0]
        frames.append(frames[-1] @ chain.constants[joint] @ motion)
    return [*frames, frames[-1] @ chain.constants[-1]]


def _carrier(robot: RobotModel, link: str) -> tuple[int, FloatArray]:
    """The number of joints that carry a link, and its (4, 4) pose in their frame.

    Found from the poses themselves, so that any robot will do: the link stands still in that frame. What the driver
    moves has one more than there are joints and stands in the guide's frame, as it is with the driver at 0.
    """
    count = len(robot.chain)
    share = (0.31 + 0.618 * np.arange(_PROBES)[:, None] + 0.37 * np.arange(count)) % 1.0
    q = robot.q_min + share * (robot.q_max - robot.q_min)
    driver = robot.driver_stroke_m * np.linspace(0.0, 1.0, _PROBES)
    poses = robot.link_poses(q, driver)[link]
    frames = _joint_frames(robot, q)
    advanced = frames[-1].copy()
    advanced[:, :3, 3] += driver[:, None] * advanced[:, :3, 2]
    frames[-1] = advanced
    for number, frame in enumerate(frames):
        within = np.linalg.inv(frame) @ poses
        if np.abs(within - within[0]).max() < _SAME_POSE:
            return number, within[0]
    raise RobotError(f"robot {robot.name}: link {link!r} is carried by none of the joints that lead to the guide")


def _farthest(robot: RobotModel, frame: NDArray[np.int64], local: FloatArray) -> FloatArray:
    """(r,) sum of the offsets and strokes from the first joint to the farther end of each axis."""
    chain = robot.chain
    offset = np.linalg.norm(chain.constants[:, :3, 3], axis=1)
    stroke = np.where(chain.prismatic, np.maximum(np.abs(chain.q_min), np.abs(chain.q_max)), 0.0)
    # Up to the frame after joint j: the offsets between the first joint and it, and the strokes of both.
    upto = np.concatenate([[0.0], np.cumsum(np.append(stroke, robot.driver_stroke_m) + np.append(0.0, offset[1:]))])
    ends = np.maximum(np.linalg.norm(local[:, :3], axis=1), np.linalg.norm(local[:, 3:], axis=1))
    return np.asarray(np.where(frame == 0, 0.0, upto[frame] + ends))
