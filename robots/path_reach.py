"""The planner's contract of reach, carried out by an arm at a given place."""

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray, Frame, RigidTransform
from needleplan.trajectory.contract import Reachability
from robots.clearance import Surroundings, arm_clearance
from robots.frames import PatientPlacement, in_base
from robots.insertion import STROKE_TOLERANCE_M
from robots.kinematics import guide_pose, solve_from
from robots.model import RobotModel
from robots.route_options import RouteOptions

#: Random starts after home; a path that fails from all of them counts as out of reach.
STARTS = 16


class PathReach(Reachability):
    """Whether an arm at one place can hold its guide on a path and its driver's stroke suffices.

    A path counts as reachable when a search from one of a few fixed starts finds a posture inside the joint limits
    that keeps clear of patient, table and itself. Each path is decided by itself, so other paths never change the
    answer. The way there from home is not looked at: that is for ``plan_insertions``, whose longer search may also
    find what fails here. About a hundred paths a second, so give it paths that passed the cheaper
    constraints.
    """

    def __init__(
        self,
        robot: RobotModel,
        placement: PatientPlacement,
        X_WB: RigidTransform,
        around: Surroundings,
        options: RouteOptions | None = None,
        seed: int = 0,
    ) -> None:
        """Takes the arm, where patient and base are, what to keep clear of and how the arm is to move."""
        self._robot, self._placement, self._X_WB, self._around = robot, placement, X_WB, around
        self._options = options or RouteOptions()
        middle, half = (robot.q_max + robot.q_min) / 2, (robot.q_max - robot.q_min) / 2
        drawn = np.random.default_rng(seed).uniform(-0.9, 0.9, size=(STARTS, len(middle)))
        self._starts = np.concatenate([np.asarray(robot.home)[None], middle + half * drawn])

    def reachable(self, entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        """(n,) True where the path from entry (n, 3) to tip (n, 3), patient LPS mm, can be carried out."""
        entries, tips = self._placement.points_to_world(entry_mm), self._placement.points_to_world(tip_mm)
        pairs = zip(entries, tips, strict=True)
        return np.array([self._reached(entry, tip) for entry, tip in pairs], dtype=np.bool_)

    def _reached(self, entry: FloatArray, tip: FloatArray) -> bool:
        way = tip - entry
        depth = float(np.linalg.norm(way))
        longest = self._robot.driver_stroke_m - depth + STROKE_TOLERANCE_M
        return any(
            self._held(entry - stand_off * way / depth, way)
            for stand_off in self._options.stand_offs_m
            if stand_off <= longest
        )

    def _held(self, exit_m: FloatArray, direction: FloatArray) -> bool:
        X_BG = in_base(self._X_WB, guide_pose(exit_m, direction, Frame.WORLD))
        if np.linalg.norm(X_BG.translation - self._robot.first_joint_m) > self._robot.reach_m:
            return False
        return any(self._usable(solve_from(self._robot, X_BG, start)) for start in self._starts)

    def _usable(self, q: FloatArray | None) -> bool:
        if q is None:
            return False
        clearance = arm_clearance(self._robot, self._X_WB, q[None], np.zeros(1), self._around)
        return clearance.keeps(self._options.clearance_m, self._options.self_clearance_m)
