"""The planner's contract of reach, carried out by an arm at a given place."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray, Frame, RigidTransform
from needleplan.trajectory.contract import Reachability
from robots.clearance import Surroundings, arm_clearance
from robots.frames import PatientPlacement, in_base
from robots.insertion import STROKE_TOLERANCE_M
from robots.kinematics import guide_pose, manipulability, solve_from
from robots.model import RobotModel
from robots.route_options import RouteOptions

#: Random starts after home; a path that fails from all of them counts as out of reach.
STARTS = 16
#: Random postures inside the joint limits whose best manipulability stands for what the arm can do.
REFERENCE_POSTURES = 1000


class PathReach(Reachability):
    """Whether an arm at one place can hold its guide on a path and its driver's stroke suffices.

    A path counts as reachable when a search from one of a few fixed starts finds a posture inside the joint limits
    that keeps clear of patient, table and itself. Each path is decided by itself, so other paths never change the
    answer. The way there from home is not looked at: that is for ``plan_insertions``, whose longer search may also
    find what fails here. About a hundred paths a second, so give it paths that passed the cheaper
    constraints; what was decided once is remembered.
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
        self._known: dict[tuple[bytes, bytes], FloatArray | None] = {}

    def reachable(self, entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        """(n,) True where the path from entry (n, 3) to tip (n, 3), patient LPS mm, can be carried out."""
        postures = self._postures(entry_mm, tip_mm)
        return np.array([q is not None for q in postures], dtype=np.bool_)

    def manipulability(self, entry_mm: FloatArray, tip_mm: FloatArray) -> FloatArray:
        """(n,) Yoshikawa's measure of the five task rows in the posture that decided reach; 0 where out of reach.

        Relative to the best of ``REFERENCE_POSTURES`` random postures of the same arm, at most 1. The posture is
        the first usable one that was found, at the shortest stand-off that has one; the longer search of
        ``plan_insertions`` may find a better one. Asking again about a path costs next to nothing.
        """
        found = [
            0.0 if q is None else manipulability(self._robot, q) / self._best
            for q in self._postures(entry_mm, tip_mm)
        ]
        return np.minimum(np.array(found, dtype=np.float64), 1.0)

    @cached_property
    def _best(self) -> float:
        """Best manipulability of the reference postures, in m³."""
        robot = self._robot
        share = np.random.default_rng(0).uniform(size=(REFERENCE_POSTURES, len(robot.q_min)))
        return max(manipulability(robot, q) for q in robot.q_min + share * (robot.q_max - robot.q_min))

    def _postures(self, entry_mm: FloatArray, tip_mm: FloatArray) -> list[FloatArray | None]:
        """For each path the first usable posture that was found; None where none was."""
        entries, tips = self._placement.points_to_world(entry_mm), self._placement.points_to_world(tip_mm)
        found = []
        for entry, tip in zip(entries, tips, strict=True):
            key = (entry.tobytes(), tip.tobytes())
            if key not in self._known:
                self._known[key] = self._posture(entry, tip)
            found.append(self._known[key])
        return found

    def _posture(self, entry: FloatArray, tip: FloatArray) -> FloatArray | None:
        way = tip - entry
        depth = float(np.linalg.norm(way))
        longest = self._robot.driver_stroke_m - depth + STROKE_TOLERANCE_M
        for stand_off in self._options.stand_offs_m:
            if stand_off <= longest:
                q = self._holding(entry - stand_off * way / depth, way)
                if q is not None:
                    return q
        return None

    def _holding(self, exit_m: FloatArray, direction: FloatArray) -> FloatArray | None:
        X_BG = in_base(self._X_WB, guide_pose(exit_m, direction, Frame.WORLD))
        if np.linalg.norm(X_BG.translation - self._robot.first_joint_m) > self._robot.reach_m:
            return None
        for start in self._starts:
            q = solve_from(self._robot, X_BG, start)
            if q is not None and self._usable(q):
                return q
        return None

    def _usable(self, q: FloatArray) -> bool:
        clearance = arm_clearance(self._robot, self._X_WB, q[None], np.zeros(1), self._around)
        return clearance.keeps(self._options.clearance_m, self._options.self_clearance_m)
