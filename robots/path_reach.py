"""The planner's contract of reach, carried out by a robot at a given place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray, RigidTransform, read_only
from needleplan.trajectory.contract import Reachability
from robots.axis_solver import AxisSolver
from robots.clearance import Surroundings, clear_postures, posture_clearances
from robots.frames import PatientPlacement
from robots.model import STROKE_TOLERANCE_M, RobotModel
from robots.route_options import RouteOptions

#: Searches of the first, quick look at a path, and of the second one where the first found nothing usable.
QUICK_STARTS, QUICK_POSTURES = 12, 4
LONG_STARTS, LONG_POSTURES = 48, 16
#: Paths that are looked at together: what their postures take stays within a few hundred megabytes.
BLOCK = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class ReachTable:
    """Which of n paths are reached, and how well.

    Attributes:
        reached: (n,) True where a posture was found that keeps clear of everything.
        q: (n, joints) that posture; NaN where there is none.
        stand_off_m: (n,) distance of the guide's exit before the entry in it; NaN where there is none.
        manipulability: (n,) Yoshikawa's measure of the five task rows in it, relative to the robot's best; 0 where
            out of reach.
        limit_margin: (n,) distance of the nearest joint limit over half that joint's range; 0 where out of reach.
        clearance_m: (n,) lower bound of its distance from patient, table, scanner and needles; NaN where there is
            no posture.
    """

    reached: NDArray[np.bool_]
    q: FloatArray
    stand_off_m: FloatArray
    manipulability: FloatArray
    limit_margin: FloatArray
    clearance_m: FloatArray

    def __post_init__(self) -> None:
        for name in ("q", "stand_off_m", "manipulability", "limit_margin", "clearance_m"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        object.__setattr__(self, "reached", read_only(self.reached, np.bool_))

    @property
    def score(self) -> FloatArray:
        """(n,) manipulability times limit margin; 0 where out of reach."""
        return np.asarray(self.manipulability * self.limit_margin)


class PathReach(Reachability):
    """Whether a robot at one place can hold its guide on a path and its driver's stroke suffices.

    A path counts as reachable when a search from one of the fixed postures whose guides lie nearest finds a posture
    inside the joint limits that keeps clear of patient, table, scanner, placed needles and itself. Each path is
    decided by itself, so other paths never change the answer. The way there from home is not looked at: that is
    for ``plan_insertions``.
    """

    def __init__(
        self,
        robot: RobotModel,
        placement: PatientPlacement,
        X_WB: RigidTransform,
        around: Surroundings,
        options: RouteOptions | None = None,
        solver: AxisSolver | None = None,
    ) -> None:
        """Takes the robot, where patient and base are, what to keep clear of and how the robot is to move.

        A ``solver`` that was made before for the same robot spares making its postures to start from again.
        """
        self._robot, self._placement, self._X_WB, self._around = robot, placement, X_WB, around
        self._options = options or RouteOptions()
        self._solver = solver or AxisSolver(robot)

    def reachable(self, entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        """(n,) True where the path from entry (n, 3) to tip (n, 3), patient LPS mm, can be carried out."""
        return self._each_block(entry_mm, tip_mm, False).reached

    def manipulability(self, entry_mm: FloatArray, tip_mm: FloatArray) -> FloatArray:
        """(n,) Yoshikawa's measure of the five task rows in the best posture that was found; 0 where out of reach.

        Relative to the robot's best posture, at most 1.
        """
        return self.measure(entry_mm, tip_mm).manipulability

    def measure(self, entry_mm: FloatArray, tip_mm: FloatArray) -> ReachTable:
        """Which paths from entry (n, 3) to tip (n, 3), patient LPS mm, are reached, each in its best posture."""
        return self._each_block(entry_mm, tip_mm, True)

    def _each_block(self, entry_mm: FloatArray, tip_mm: FloatArray, improve: bool) -> ReachTable:
        entries, tips = np.asarray(entry_mm, dtype=np.float64), np.asarray(tip_mm, dtype=np.float64)
        parts = [
            _Block(self, entries[k : k + BLOCK], tips[k : k + BLOCK]).look(improve)
            for k in range(0, max(len(entries), 1), BLOCK)
        ]
        names = ("reached", "q", "stand_off_m", "manipulability", "limit_margin", "clearance_m")
        return ReachTable(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class _Block:
    """Paths that are looked at together, and the best posture of each that has been found so far."""

    def __init__(self, reach: PathReach, entry_mm: FloatArray, tip_mm: FloatArray) -> None:
        self.reach = reach
        self.entry, tip = (reach._placement.points_to_world(points).reshape(-1, 3) for points in (entry_mm, tip_mm))
        self.way = tip - self.entry
        self.depth = np.linalg.norm(self.way, axis=1)
        count, joints = len(self.entry), len(reach._robot.q_min)
        self.q = np.full((count, joints), np.nan)
        self.stand_off = np.full(count, np.nan)
        self.score = np.zeros(count)

    def look(self, improve: bool) -> ReachTable:
        """Stand-off after stand-off, first quickly, then longer, at what is not reached yet."""
        options, solver = self.reach._options, self.reach._solver
        longest = self.reach._robot.driver_stroke_m - self.depth + STROKE_TOLERANCE_M
        # A path that no quick search arrives at is left alone: of reachable ones not one in a thousand is that.
        met = {stand_off: np.ones(len(self.q), dtype=np.bool_) for stand_off in options.stand_offs_m}
        for starts, keep in ((QUICK_STARTS, QUICK_POSTURES), (LONG_STARTS, LONG_POSTURES)):
            for stand_off in options.stand_offs_m:
                open_rows = np.isnan(self.stand_off) & (stand_off <= longest) & (self.depth > 0) & met[stand_off]
                rows = np.flatnonzero(open_rows)
                rows = rows[self._within_reach(rows, stand_off)]
                if len(rows):
                    goals = self._goals(rows, stand_off)
                    batch = solver.postures(goals, starts, keep, improve=False)
                    met[stand_off][rows[batch.count == 0]] = False
                    self._take(rows, stand_off, batch.q, batch.count)
        reached = ~np.isnan(self.stand_off)
        if improve:
            self._improve(np.flatnonzero(reached))
        manipulability, margin, clearance = (
            np.zeros(len(reached)),
            np.zeros(len(reached)),
            np.full(len(reached), np.nan),
        )
        if reached.any():
            found, margin[reached] = solver.scores(self.q[reached])
            manipulability[reached] = np.minimum(found / solver.best_manipulability, 1.0)
            clearance[reached] = self._clearances(self.q[reached])
        return ReachTable(reached, self.q, self.stand_off, manipulability, margin, clearance)

    def _within_reach(self, rows: NDArray[np.int64], stand_off_m: float) -> NDArray[np.bool_]:
        """Rows whose guide's exit the links can span at all."""
        robot = self.reach._robot
        exits = self.entry[rows] - stand_off_m * self.way[rows] / self.depth[rows, None]
        first = self.reach._X_WB.apply(robot.first_joint_m)
        return np.asarray(np.linalg.norm(exits - first, axis=1) <= robot.reach_m)

    def _goals(self, rows: NDArray[np.int64], stand_off_m: float) -> FloatArray:
        """(k, 4, 4) poses X_BG of the guide for some rows; their roll is arbitrary."""
        z = self.way[rows] / self.depth[rows, None]
        level = np.eye(3)[np.argmin(np.abs(z), axis=1)]
        x = np.cross(level, z)
        x /= np.linalg.norm(x, axis=1)[:, None]
        goals = np.tile(np.eye(4), (len(rows), 1, 1))
        goals[:, :3, :3] = np.stack([x, np.cross(z, x), z], axis=2)
        goals[:, :3, 3] = self.entry[rows] - stand_off_m * z
        return np.asarray(self.reach._X_WB.inverse().matrix @ goals)

    def _take(
        self, rows: NDArray[np.int64], stand_off_m: float, postures: FloatArray, count: NDArray[np.int64]
    ) -> None:
        """Keeps for each row the first of its postures, best first, that keeps clear of everything."""
        for k in range(postures.shape[1]):
            asked = np.flatnonzero((count > k) & np.isnan(self.stand_off[rows]))
            if not len(asked):
                return
            clear = asked[self._clear(postures[asked, k])]
            self.q[rows[clear]] = postures[clear, k]
            self.stand_off[rows[clear]] = stand_off_m

    def _improve(self, rows: NDArray[np.int64]) -> None:
        """Takes better postures of rows that are reached, at their stand-offs, where those keep clear too."""
        solver = self.reach._solver
        if not len(rows):
            return
        best = np.zeros(len(self.q))
        best[rows] = np.prod(solver.scores(self.q[rows]), axis=0)
        for stand_off in np.unique(self.stand_off[rows]):
            own = rows[self.stand_off[rows] == stand_off]
            batch = solver.postures(self._goals(own, stand_off), QUICK_STARTS, QUICK_POSTURES)
            waiting = np.ones(len(own), dtype=np.bool_)
            for k in range(batch.q.shape[1]):
                asked = np.flatnonzero(waiting & (batch.count > k))
                if not len(asked):
                    break
                score = np.prod(solver.scores(batch.q[asked, k]), axis=0)
                # Postures come best first: where this is no better, none after it is.
                waiting[asked[score <= best[own[asked]]]] = False
                asked = asked[score > best[own[asked]]]
                clear = asked[self._clear(batch.q[asked, k])] if len(asked) else asked
                self.q[own[clear]] = batch.q[clear, k]
                waiting[clear] = False

    def _clear(self, q: FloatArray) -> NDArray[np.bool_]:
        reach = self.reach
        options = reach._options
        return clear_postures(
            reach._robot, reach._X_WB, q, reach._around, options.clearance_m, options.self_clearance_m
        )

    def _clearances(self, q: FloatArray) -> FloatArray:
        found = posture_clearances(self.reach._robot, self.reach._X_WB, q, self.reach._around)
        parts = (found.patient_m, found.table_m, found.gantry_m, found.needles_m)
        return np.min([part for part in parts if part is not None], axis=0)
