"""Inverse kinematics of a needle axis: the turn about the needle is free, the rest of the redundancy is used.

A goal fixes five of the guide's six degrees of freedom. The robot's spare ones (the roll about the needle, and the
elbow of an arm of seven joints) are spent on keeping away from joint limits, singular poses and surfaces: searches
start from many postures whose guides lie nearest to the goal, which differ in roll and elbow, and each answer is
then moved along the spare degrees of freedom to where it is better. Every answer is confirmed by forward
kinematics; nothing is drawn at random but the postures to start from, once and seeded. Metres and radians.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform, read_only
from robots.chain_kernels import guide_matrices, improve_at, postures_at, scores, search_from
from robots.kinematics import AxisSolution, AxisStatus, axis_errors
from robots.model import RobotModel

#: An answer counts only if forward kinematics puts the guide this close to its goal; a search goes on to 1e-9.
POSITION_TOLERANCE_M = 1e-6
AXIS_TOLERANCE_RAD = 1e-5
#: Postures to start from, as exponent of two: a low-discrepancy sequence has that many points.
LIBRARY_EXPONENT = 12
#: Postures of one goal that are moved to where they are best, before the best of them are kept.
RAISED = 16
#: Of joints that are free beyond their limits, none is let turn or move farther than this.
FAR_ROUND = 4.0 * np.pi

#: Tells for postures (k, n) how far the arm is from what it must keep clear of, (k,) in m.
PostureClearance = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class PostureBatch:
    """Different postures at each of k goals, best score first.

    Attributes:
        q: (k, p, n) joint positions; rows from ``count`` on mean nothing.
        count: (k,) how many postures were found at each goal, 0 to p.
        searches: (k,) how many searches were run.
    """

    q: FloatArray
    count: NDArray[np.int64]
    searches: NDArray[np.int64]


class AxisSolver:
    """Finds joint positions of one robot that lay its guide on needle axes."""

    def __init__(self, robot: RobotModel, seed: int = 0) -> None:
        """Takes the robot, and the seed of the postures that searches start from."""
        self.robot = robot
        chain = robot.chain
        self._arrays = (chain.constants, chain.prismatic, chain.q_min, chain.q_max)
        self._seed = seed

    @cached_property
    def _library(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(m, n) postures that fill the joint limits evenly, (m, 3) exits and (m, 3) axes of their guides."""
        from scipy.stats import qmc

        chain = self.robot.chain
        share = qmc.Sobol(len(chain), seed=self._seed).random_base2(LIBRARY_EXPONENT)
        postures = np.concatenate([self.robot.home[None], chain.q_min + share * (chain.q_max - chain.q_min)])
        poses = guide_matrices(chain.constants, chain.prismatic, postures)
        return postures, np.ascontiguousarray(poses[:, :3, 3]), np.ascontiguousarray(poses[:, :3, 2])

    @cached_property
    def best_manipulability(self) -> float:
        """Greatest manipulability of the postures that searches start from: what the robot can do at its best."""
        return float(scores(*self._arrays, self._library[0])[:, 0].max())

    def scores(self, q: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Manipulability (k,) and limit margin (k,) of postures (k, n)."""
        found = scores(*self._arrays, np.ascontiguousarray(np.atleast_2d(q), dtype=np.float64))
        return found[:, 0], found[:, 1]

    def follow(self, X_BG: RigidTransform, q_start: ArrayLike, roll_free: bool = True) -> FloatArray | None:
        """One search from one start: joint positions (n,) inside the limits, or None where it does not arrive.

        A start from which the answer is near gives the answer that is near, so an axis that moves little is
        followed without a jump.
        """
        found, arrived = self.follow_each(self._goals((X_BG,)), np.atleast_2d(q_start), roll_free)
        return found[0] if arrived[0] else None

    def follow_each(
        self, goals: FloatArray, starts: ArrayLike, roll_free: bool = True
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """One search from its own start for each of k goals X_BG (k, 4, 4); answers (k, n) and which arrived."""
        begins = np.ascontiguousarray(starts, dtype=np.float64)
        if begins.shape != (len(goals), len(self.robot.q_min)) or not np.isfinite(begins).all():
            raise RobotError(
                f"robot {self.robot.name}: {len(goals)} searches start from {len(goals)} times "
                f"{len(self.robot.q_min)} finite joint positions, not from an array {begins.shape}"
            )
        found, arrived = np.empty_like(begins), np.zeros(len(goals), dtype=np.bool_)
        inside = np.clip(begins, self.robot.q_min, self.robot.q_max)
        search_from(*self._arrays, goals, 5 if roll_free else 6, inside, found, arrived)
        return found, arrived

    def improve(self, X_BG: RigidTransform, q: ArrayLike) -> FloatArray:
        """Moves a posture (n,) at the goal along the spare degrees of freedom to a higher score, never a lower."""
        moved = np.array(q, dtype=np.float64)[None]
        improve_at(*self._arrays, self._goals((X_BG,)), moved)
        return moved[0]

    def postures(
        self, goals: FloatArray, starts: int = 16, keep: int = 4, enough: int | None = None, improve: bool = True
    ) -> PostureBatch:
        """Different postures at each of k goals X_BG (k, 4, 4) in metres, in parallel over the goals.

        Args:
            goals: wanted poses of the guide's exit; their roll does not matter.
            starts: greatest number of searches for a goal.
            keep: greatest number of postures for a goal.
            enough: arrived searches after which a goal is done; all are run where None.
            improve: True moves every posture along the spare degrees of freedom to where its score is highest.
        """
        count, joints = len(goals), len(self.robot.q_min)
        q = np.zeros((count, keep, joints))
        counts, searches = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        library = self._library
        postures_at(
            *self._arrays, np.ascontiguousarray(goals), *library, min(starts, len(library[0])), q, counts, searches,
            starts if enough is None else enough, improve,
        )  # fmt: skip
        return PostureBatch(q, counts, searches)

    def solve(self, X_BG: RigidTransform, clearance: PostureClearance | None = None) -> AxisSolution:
        """The best of ``solutions``, or why there is none."""
        return self.solutions(X_BG, clearance)[0]

    def solutions(
        self,
        X_BG: RigidTransform,
        clearance: PostureClearance | None = None,
        needed_m: float = 0.0,
        starts: int = 128,
        keep: int = 6,
    ) -> tuple[AxisSolution, ...]:
        """Different postures that lay the guide on the axis of ``X_BG``, best score first.

        Args:
            X_BG: wanted pose of the guide's exit; its roll does not matter.
            clearance: tells how far the arm keeps from its surroundings.
            needed_m: postures with less clearance come after all others.
            starts: number of searches.
            keep: greatest number of answers.

        Returns:
            At least one value; a single one with status unreachable and the reason where no search arrives.

        Raises:
            RobotError: the wanted pose is no pose X_BG in metres.
        """
        goals = self._goals((X_BG,))
        robot = self.robot
        distance = float(np.linalg.norm(X_BG.translation - robot.first_joint_m))
        if distance > robot.reach_m:
            reason = (
                f"it lies {distance:.2f} m from the first joint and the arm's links reach {robot.reach_m:.2f} m"
            )
            return (_unreachable(reason, 0),)
        batch = self.postures(goals, starts=starts, keep=max(keep, RAISED))
        searches = int(batch.searches[0])
        if batch.count[0] == 0:
            return (_unreachable(self._why_not(X_BG, goals, searches), searches),)
        postures = batch.q[0, : batch.count[0]]
        clearances = [None] * len(postures) if clearance is None else [float(c) for c in clearance(postures)]
        found = [self._reached(X_BG, q, searches, c) for q, c in zip(postures, clearances, strict=True)]

        def rank(solution: AxisSolution) -> tuple[bool, float]:
            return (solution.clearance_m is not None and solution.clearance_m < needed_m, -solution.score)

        return tuple(sorted(found, key=rank))[:keep]

    def _goals(self, poses: Sequence[RigidTransform]) -> FloatArray:
        """(k, 4, 4) of poses that must be X_BG in metres."""
        for pose in poses:
            if (pose.parent, pose.child, pose.unit) != (Frame.ROBOT_BASE, Frame.GUIDE, LengthUnit.METRE):
                raise RobotError(
                    f"robot {self.robot.name}: the wanted pose must be X_BG in metres, not "
                    f"X_{pose.parent}{pose.child} in {pose.unit}"
                )
        return np.array([pose.matrix for pose in poses])

    def _reached(
        self, X_BG: RigidTransform, q: FloatArray, searches: int, clearance_m: float | None
    ) -> AxisSolution:
        position, axis = axis_errors(self.robot, q, X_BG)
        if position > POSITION_TOLERANCE_M or axis > AXIS_TOLERANCE_RAD:
            raise AssertionError("a search that arrived is not confirmed by forward kinematics")
        (manipulability,), (margin,) = self.scores(q)
        return AxisSolution(
            AxisStatus.REACHED, "", read_only(q), position, axis, float(manipulability), float(margin), searches,
            clearance_m,
        )  # fmt: skip

    def _why_not(self, X_BG: RigidTransform, goals: FloatArray, searches: int) -> str:
        """Why no search arrived: which limits would have to give way, where that is known."""
        robot, chain = self.robot, self.robot.chain
        found = f"no joint positions inside the limits lay the guide on this axis in {searches} searches"
        wide = np.where(chain.prismatic, robot.reach_m + np.abs(chain.q_max), FAR_ROUND)
        free = (chain.constants, chain.prismatic, chain.q_min - wide, chain.q_max + wide)
        library = self._library
        q = np.zeros((1, 1, len(chain)))
        counts, tried = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        postures_at(*free, goals, *library, 16, q, counts, tried, 1, False)
        if counts[0] == 0:
            distance = float(np.linalg.norm(X_BG.translation - robot.first_joint_m))
            return f"{found}, nor without limits; it lies {distance:.2f} m from the first joint"
        answer = q[0, 0]
        # A revolute joint stands the same after a whole turn; the turn that is nearest to its range is meant.
        turns = np.round((answer - 0.5 * (chain.q_min + chain.q_max)) / (2.0 * np.pi))
        answer = np.where(chain.prismatic, answer, answer - 2.0 * np.pi * turns)
        over = np.maximum(chain.q_min - answer, answer - chain.q_max)
        worst = int(np.argmax(over))
        unit = "m" if chain.prismatic[worst] else "rad"
        return (
            f"{found}; without limits {robot.joint_names[worst]} would stand at {answer[worst]:.2f} {unit}, "
            f"outside {chain.q_min[worst]:.2f} to {chain.q_max[worst]:.2f}"
        )


def _unreachable(reason: str, searches: int) -> AxisSolution:
    return AxisSolution(AxisStatus.UNREACHABLE, reason, None, np.inf, np.inf, 0.0, 0.0, searches)
