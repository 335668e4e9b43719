"""Where the base is best placed, so that all insertions of a plan and many of their alternatives are reached.

Every place of a grid is judged by the paths that are reached from it with the arm clear of everything; whole routes
are planned from the best ones. Metres and radians, world frame W.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, RigidTransform, read_only
from needleplan.plan import Evidence, Insertion
from robots.axis_solver import AxisSolver
from robots.base_grid import BaseGrid
from robots.clearance import Surroundings, posture_clearances
from robots.frames import PatientPlacement
from robots.insertion import plan_in_order
from robots.model import RobotModel
from robots.path_reach import PathReach
from robots.route import InsertionRoute, RobotRoute
from robots.route_options import RouteOptions

#: Number of places that carry out every insertion among which the best is chosen.
COMPLETE_PLACES = 3
#: Shares of alternatives that differ by less count alike, so that the postures of the plan decide.
SHARE_STEP = 0.1

ProgressCallback = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Alternatives:
    """Paths that could take the place of a plan's insertions.

    Attributes:
        entry_mm: (m, 3) their entries, patient LPS mm.
        tip_mm: (m, 3) their tips.
        wanted_share: the share of them that should be reached from where the base stands.

    Raises:
        OptionError: the arrays do not fit together, or the share is none.
    """

    entry_mm: FloatArray
    tip_mm: FloatArray
    wanted_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("entry_mm", "tip_mm"):
            array = read_only(getattr(self, name))
            object.__setattr__(self, name, array)
            if array.ndim != 2 or array.shape[1] != 3 or array.shape != np.shape(self.entry_mm):
                raise OptionError(f"the {name} of alternative paths must be an array (m, 3), not {array.shape}")
        if not 0.0 <= self.wanted_share <= 1.0:
            raise OptionError(f"the share of alternatives must lie between 0 and 1, not {self.wanted_share:g}")

    def __len__(self) -> int:
        return len(self.entry_mm)


@dataclass(frozen=True, slots=True, eq=False)
class BaseMap:
    """What is reached from each of k places of the base.

    Attributes:
        places: the places X_WB.
        insertions_reached: (k,) number of insertions that are reached by a posture that is clear.
        alternatives_share: (k,) share of the alternatives that are; 1 where there are none.
        worst_score: (k,) least manipulability (relative to the robot's best) times limit margin over the
            insertions that are reached; 0 where none is.
        home_clear: (k,) True where the robot at rest keeps clear of everything, as its routes must.
        chosen: the row that was chosen: the best one by what is said here, until whole routes were planned.
    """

    places: tuple[RigidTransform, ...]
    insertions_reached: NDArray[np.int64]
    alternatives_share: FloatArray
    worst_score: FloatArray
    home_clear: NDArray[np.bool_]
    chosen: int

    @property
    def positions_m(self) -> FloatArray:
        """(k, 3) where the bases stand in the world."""
        return np.array([X_WB.translation for X_WB in self.places])

    @property
    def order(self) -> list[int]:
        """Rows, best first: most insertions, then most alternatives (in steps), then the best worst posture."""

        def key(k: int) -> tuple[float, ...]:
            share = float(self.alternatives_share[k])
            return (-self.insertions_reached[k], -_step(share), -self.worst_score[k], -share, k)

        return sorted(range(len(self.places)), key=key)


class BaseStatus(StrEnum):
    """Whether a place was found from which everything is carried out."""

    COMPLETE = "complete"
    PARTIAL = "partial"  #: the best place leaves some insertions out
    NONE = "none"  #: no insertion can be carried out from any place


@dataclass(frozen=True, slots=True, eq=False)
class BasePlacement:
    """The best place of the base that was found.

    Attributes:
        status: whether all insertions are carried out from it.
        route: the route from it; its insertions say which are not reached and why.
        evidence: for each insertion that is left out what was found, and what would have to change; and whether
            fewer of the alternatives are reached than was asked for.
        map: what is reached from every place that was looked at.
        planned: number of places for which whole routes were planned.
    """

    status: BaseStatus
    route: RobotRoute
    evidence: tuple[Evidence, ...]
    map: BaseMap
    planned: int

    @property
    def X_WB(self) -> RigidTransform:
        """Where the base stands."""
        return self.route.X_WB

    @property
    def alternatives_share(self) -> float:
        """Share of the alternatives that are reached from there; 1 where there are none."""
        return float(self.map.alternatives_share[self.map.chosen])


def place_base(
    insertions: Sequence[Insertion],
    robot: RobotModel,
    placement: PatientPlacement,
    around: Surroundings,
    options: RouteOptions | None = None,
    *,
    grid: BaseGrid | None = None,
    alternatives: Alternatives | None = None,
    finalists: int = 6,
    progress: ProgressCallback | None = None,
) -> BasePlacement:
    """Finds where the base stands best and plans the routes from there.

    Places that reach more insertions come first, then those that reach more of the alternatives (in steps of
    ``SHARE_STEP``), then those whose worst posture is best. Whole routes are planned from the best places in turn,
    until ``COMPLETE_PLACES`` of them carry out every insertion or ``finalists`` have been planned.

    Args:
        insertions: in the order of puncture.
        robot: the robot.
        placement: how the patient lies.
        around: what to keep clear of.
        options: how the robot is to move.
        grid: places to look at; those of the robot's mount where None.
        alternatives: paths that should be reached too, so that another can be taken where one fails.
        finalists: greatest number of places for which whole routes are planned.
        progress: called with what is being done and the share that is done.

    Returns:
        The best place with its route, whatever its status.

    Raises:
        OptionError: there is no insertion, or the grid is one for another mount.
    """
    if not insertions:
        raise OptionError("a base can only be placed for at least one insertion")
    chosen = options or RouteOptions()
    judged = judge_places(insertions, alternatives, robot, placement, around, chosen, grid, progress)
    poses = judged.places
    best: tuple[int, tuple[InsertionRoute, ...]] | None = None
    best_key: tuple[float, ...] = (-1.0,)
    planned = complete = 0
    for k in judged.order[:finalists]:
        if progress:
            progress("planning routes", 0.6 + 0.4 * planned / finalists)
        routes = plan_in_order(insertions, robot, placement, poses[k], around, chosen)
        planned += 1
        reached = [route for route in routes if route.reached]
        worst = min((route.manipulability * route.limit_margin for route in reached), default=0.0)
        key = (len(reached), _step(judged.alternatives_share[k]), worst)
        if key > best_key:
            best, best_key = (k, routes), key
        complete += len(reached) == len(routes)
        if complete == COMPLETE_PLACES:
            break
    if progress:
        progress("done", 1.0)
    assert best is not None
    row, routes = best
    route = RobotRoute(robot.name, (*robot.joint_names, robot.driver_joint_name), poses[row], routes, around.notes)
    base_map = dataclasses.replace(judged, chosen=row)
    evidence = _evidence(route, base_map, planned, alternatives)
    return BasePlacement(_status(route), route, evidence, base_map, planned)


def judge_places(
    insertions: Sequence[Insertion],
    alternatives: Alternatives | None,
    robot: RobotModel,
    placement: PatientPlacement,
    around: Surroundings,
    options: RouteOptions | None = None,
    grid: BaseGrid | None = None,
    progress: ProgressCallback | None = None,
) -> BaseMap:
    """What is reached from every place of a grid, judged by postures alone; arguments as of ``place_base``.

    Raises:
        OptionError: the grid is one for another mount.
    """
    chosen_grid = grid or BaseGrid.for_mount(robot.mount, around.gantry)
    if chosen_grid.mount is not robot.mount:
        raise OptionError(f"{robot.name} stands on the {robot.mount}, and the grid is for the {chosen_grid.mount}")
    judge = _Judge(insertions, alternatives, robot, placement, around, options or RouteOptions())
    return judge.judge(chosen_grid.poses(placement), progress)


class _Judge:
    """Judges places of the base by the paths that are reached from them."""

    def __init__(
        self,
        insertions: Sequence[Insertion],
        alternatives: Alternatives | None,
        robot: RobotModel,
        placement: PatientPlacement,
        around: Surroundings,
        options: RouteOptions,
    ) -> None:
        self.robot, self.placement, self.around, self.options = robot, placement, around, options
        self.insertions = len(insertions)
        others = (np.zeros((0, 3)),) * 2 if alternatives is None else (alternatives.entry_mm, alternatives.tip_mm)
        entries, tips = ([getattr(path, name) for path in insertions] for name in ("entry_mm", "tip_mm"))
        self.entry_mm = np.concatenate([np.reshape(entries, (-1, 3)), others[0]])
        self.tip_mm = np.concatenate([np.reshape(tips, (-1, 3)), others[1]])
        self.solver = AxisSolver(robot)

    def judge(self, places: tuple[RigidTransform, ...], progress: ProgressCallback | None) -> BaseMap:
        """What is reached from each place."""
        found = []
        for k, X_WB in enumerate(places):
            if progress:
                progress("looking for a place of the base", 0.6 * k / len(places))
            found.append(self._at(X_WB))
        reached, share, worst, home = (np.array(column) for column in zip(*found, strict=True))
        judged = BaseMap(places, reached, share, worst, home, 0)
        return dataclasses.replace(judged, chosen=judged.order[0])

    def _at(self, X_WB: RigidTransform) -> tuple[int, float, float, bool]:
        robot, options = self.robot, self.options
        home = posture_clearances(robot, X_WB, robot.home[None], self.around)
        if not home.keeps(options.clearance_m, options.self_clearance_m)[0]:
            return 0, 0.0, 0.0, False
        reach = PathReach(robot, self.placement, X_WB, self.around, options, self.solver)
        own, count = (
            reach.measure(self.entry_mm[: self.insertions], self.tip_mm[: self.insertions]),
            self.insertions,
        )
        others = reach.reachable(self.entry_mm[count:], self.tip_mm[count:])
        share = float(others.mean()) if len(others) else 1.0
        worst = float(own.score[own.reached].min()) if own.reached.any() else 0.0
        return int(own.reached.sum()), share, worst, True


def _step(share: float) -> float:
    return float(np.floor(share / SHARE_STEP + 1e-9))


def _status(route: RobotRoute) -> BaseStatus:
    if route.reached.all():
        return BaseStatus.COMPLETE
    return BaseStatus.PARTIAL if route.reached.any() else BaseStatus.NONE


def _evidence(
    route: RobotRoute, judged: BaseMap, planned: int, alternatives: Alternatives | None
) -> tuple[Evidence, ...]:
    x, y, z = route.X_WB.translation
    found = [
        Evidence(
            f"insertion {insertion.order}",
            f"From the best of {len(judged.places)} places of the base ({x:.2f}, {y:.2f}, {z:.2f} m; {planned} "
            f"planned whole) it cannot be carried out: {insertion.reason}.",
            "Offer other places of the base, a smaller stand-off or clearance, or plan another path.",
        )
        for insertion in route.insertions
        if not insertion.reached
    ]
    touching = int((~judged.home_clear).sum())
    if touching and found:
        found.append(
            Evidence(
                "places of the base",
                f"At {touching} of {len(judged.places)} places the robot at rest comes too near to patient, table, "
                "scanner or itself; they were left out.",
                "Offer places farther away, or give the robot another home.",
            )
        )
    share = float(judged.alternatives_share[judged.chosen])
    if alternatives is not None and len(alternatives) and share < alternatives.wanted_share:
        found.append(
            Evidence(
                "alternatives",
                f"From there {share:.0%} of {len(alternatives)} alternative paths are reached, and "
                f"{alternatives.wanted_share:.0%} were asked for.",
                "Offer other places of the base or another robot.",
            )
        )
    return tuple(found)
