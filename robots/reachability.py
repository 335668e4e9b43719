"""Which insertions the arm reaches from one place of its base, and where the base is best placed.

The base stands upright on a grid of places beside the table, on both sides and at several heights, its front
towards the table. A place is judged by the worst of its insertions. Metres and radians, world frame W.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, RigidTransform
from needleplan.plan import Evidence, Insertion
from robots.clearance import Surroundings, arm_clearance
from robots.frames import PatientPlacement, base_pose, in_base
from robots.insertion import plan_insertion
from robots.kinematics import AxisSolution, axis_solutions, limit_margin, manipulability, solve_from
from robots.model import RobotModel
from robots.route import InsertionRoute, RobotRoute
from robots.route_options import RouteOptions

#: Number of places that carry out every insertion among which the best is chosen.
COMPLETE_PLACES = 3


@dataclass(frozen=True, slots=True)
class BaseGrid:
    """Places that the base may take, relative to the table.

    Attributes:
        gaps_m: distances of the base's axis from the edge of the table.
        along_m: places along the table, towards the head, relative to the target.
        heights_m: heights of the base above the table's top; negative stands lower.
        sides: 1 for the side of the world's +x, -1 for the other.
        turns_rad: turns of the base about the vertical away from facing the table squarely.
    """

    gaps_m: tuple[float, ...] = (0.15, 0.25, 0.35, 0.45)
    along_m: tuple[float, ...] = (-0.3, -0.15, 0.0, 0.15, 0.3)
    heights_m: tuple[float, ...] = (-0.2, 0.0, 0.2)
    sides: tuple[int, ...] = (1, -1)
    turns_rad: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if not all((self.gaps_m, self.along_m, self.heights_m, self.sides, self.turns_rad)):
            raise OptionError("a base grid needs at least one value of each kind")
        if min(self.gaps_m) < 0.1:
            raise OptionError("the base needs a gap of at least 0.1 m from the edge of the table")
        if not set(self.sides) <= {1, -1}:
            raise OptionError("the sides of a base grid are 1 and -1")

    def poses(self, placement: PatientPlacement) -> tuple[RigidTransform, ...]:
        """All places X_WB, in a fixed order."""
        edge, floor = placement.table.half_width_m, -placement.table.height_m
        return tuple(
            base_pose((side * (edge + gap), along, max(height, floor)), turn + (np.pi if side > 0 else 0.0))
            for side in self.sides
            for height in self.heights_m
            for gap in self.gaps_m
            for along in self.along_m
            for turn in self.turns_rad
        )


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Which insertions are reached from one place of the base.

    Attributes:
        X_WB: the place.
        solutions: best posture of each insertion or why there is none.
    """

    X_WB: RigidTransform
    solutions: tuple[AxisSolution, ...]

    @property
    def all_reached(self) -> bool:
        """True where every insertion is reached."""
        return all(solution.reached for solution in self.solutions)

    @property
    def reached_count(self) -> int:
        """How many insertions are reached."""
        return sum(solution.reached for solution in self.solutions)

    @property
    def worst_score(self) -> float:
        """Least score over the insertions that are reached; 0 where none is."""
        return min((solution.score for solution in self.solutions if solution.reached), default=0.0)


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
        evidence: for each insertion that is left out what was found, and what would have to change.
        places: number of places that were looked at.
        planned: number of them for which whole routes were planned.
    """

    status: BaseStatus
    route: RobotRoute
    evidence: tuple[Evidence, ...]
    places: int
    planned: int

    @property
    def X_WB(self) -> RigidTransform:
        """Where the base stands."""
        return self.route.X_WB


def reach(
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    insertions: Sequence[Insertion],
    rng: np.random.Generator,
    stand_off_m: float = RouteOptions().stand_off_m,
) -> Reach:
    """Best posture of each insertion from one place of the base, by kinematics alone (no clearance)."""
    solutions = tuple(
        axis_solutions(robot, in_base(X_WB, placement.guide_pose(insertion, stand_off_m)), spawned)[0]
        for insertion, spawned in zip(insertions, rng.spawn(len(insertions)), strict=True)
    )
    return Reach(X_WB, solutions)


def place_base(
    insertions: Sequence[Insertion],
    robot: RobotModel,
    placement: PatientPlacement,
    surface: SurfaceMesh | None,
    rng: np.random.Generator,
    options: RouteOptions | None = None,
    grid: BaseGrid | None = None,
    finalists: int = 6,
    progress: Callable[[str, float], None] | None = None,
) -> BasePlacement:
    """Finds where the base stands best and plans the routes from there.

    Every place is first judged by a quick search of postures that are clear of the patient. Then whole routes
    are planned for the best places in turn, until ``COMPLETE_PLACES`` of them carry out every insertion or
    ``finalists`` have been planned.

    Args:
        insertions: in the order of puncture.
        robot: the arm.
        placement: how the patient lies.
        surface: the patient's closed outer surface, patient LPS mm; None leaves it out.
        rng: draws the starts of the searches.
        options: how the arm is to move.
        grid: places to look at.
        finalists: greatest number of places for which whole routes are planned.
        progress: called with what is being done and the share that is done.

    Returns:
        The best place with its route, whatever its status.
    """
    if not insertions:
        raise OptionError("a base can only be placed for at least one insertion")
    chosen = options or RouteOptions()
    around = Surroundings(placement, surface)
    poses = (grid or BaseGrid()).poses(placement)
    goals = [
        [
            placement.guide_pose(insertion, stand_off)
            for stand_off in chosen.stand_offs_m
            if stand_off + insertion.depth_mm * 1e-3 <= robot.driver_stroke_m
        ]
        for insertion in insertions
    ]
    starts = _quick_starts(robot, rng)
    judged = []
    for k, X_WB in enumerate(poses):
        if progress:
            progress("looking for a place of the base", 0.7 * k / len(poses))
        judged.append(_quick_judgement(robot, X_WB, goals, starts, around, chosen))
    order = sorted(range(len(poses)), key=lambda k: (-judged[k][0], -judged[k][1], k))
    best: tuple[tuple[InsertionRoute, ...], RigidTransform] | None = None
    best_key = (-1, -1.0)
    planned = complete = 0
    seeds = rng.spawn(len(insertions))
    states = [seed.bit_generator.state for seed in seeds]
    for k in order[:finalists]:
        if progress:
            progress("planning routes", 0.7 + 0.3 * planned / finalists)
        routes = []
        for insertion, seed, state in zip(insertions, seeds, states, strict=True):
            seed.bit_generator.state = state  # every place gets the same draws, whatever came before it
            routes.append(plan_insertion(insertion, robot, placement, poses[k], around, seed, chosen))
        planned += 1
        reached = [route for route in routes if route.reached]
        key = (len(reached), min((route.manipulability * route.limit_margin for route in reached), default=0.0))
        if key > best_key:
            best, best_key = (tuple(routes), poses[k]), key
        complete += len(reached) == len(routes)
        if complete == COMPLETE_PLACES:
            break
    if progress:
        progress("done", 1.0)
    assert best is not None
    routes_of_best, X_WB = best
    notes = () if surface is not None else ("The arm's clearance from the patient was not checked: no surface.",)
    route = RobotRoute(robot.name, (*robot.joint_names, robot.driver_joint_name), X_WB, routes_of_best, notes)
    return BasePlacement(_status(route), route, _evidence(route, len(poses), planned), len(poses), planned)


def _status(route: RobotRoute) -> BaseStatus:
    if route.reached.all():
        return BaseStatus.COMPLETE
    return BaseStatus.PARTIAL if route.reached.any() else BaseStatus.NONE


def _evidence(route: RobotRoute, places: int, planned: int) -> tuple[Evidence, ...]:
    x, y, z = route.X_WB.translation
    return tuple(
        Evidence(
            f"insertion {insertion.order}",
            f"From the best of {places} places of the base ({x:.2f}, {y:.2f}, {z:.2f} m; {planned} planned whole) "
            f"it cannot be carried out: {insertion.reason}.",
            "Offer other places of the base, a smaller stand-off or clearance, or plan another path.",
        )
        for insertion in route.insertions
        if not insertion.reached
    )


def _quick_starts(robot: RobotModel, rng: np.random.Generator, count: int = 4) -> FloatArray:
    """Starts of the quick searches: home, and a few drawn around the middle of the joints' ranges."""
    home = np.asarray(robot.home)
    middle, half = (robot.q_max + robot.q_min) / 2, (robot.q_max - robot.q_min) / 2
    return np.concatenate([home[None], middle + 0.6 * half * rng.uniform(-1.0, 1.0, size=(count, len(home)))])


def _quick_judgement(
    robot: RobotModel,
    X_WB: RigidTransform,
    goals: Sequence[Sequence[RigidTransform]],
    starts: FloatArray,
    around: Surroundings,
    options: RouteOptions,
) -> tuple[int, float]:
    """How many insertions have a posture that is clear, and the worst of their best scores.

    ``goals`` holds for each insertion the poses of the guide in the order in which they are tried.
    """
    home = arm_clearance(robot, X_WB, np.asarray(robot.home)[None], np.zeros(1), around)
    if home.least_m < options.self_clearance_m:
        return 0, 0.0
    scores = [
        next(filter(None, (_quick_score(robot, X_WB, goal, starts, around, options) for goal in poses)), 0.0)
        for poses in goals
    ]
    reached = [score for score in scores if score > 0]
    return len(reached), min(reached, default=0.0)


def _quick_score(
    robot: RobotModel,
    X_WB: RigidTransform,
    X_WG: RigidTransform,
    starts: FloatArray,
    around: Surroundings,
    options: RouteOptions,
) -> float:
    """Best score of the postures that a few searches find and that are clear; 0 where there is none."""
    X_BG = in_base(X_WB, X_WG)
    if np.linalg.norm(X_BG.translation - robot.first_joint_m) > robot.reach_m:
        return 0.0
    best = 0.0
    for start in starts:
        q = solve_from(robot, X_BG, start)
        if q is None:
            continue
        score = manipulability(robot, q) * float(limit_margin(robot, q))
        if score > best:
            clearance = arm_clearance(robot, X_WB, q[None], np.zeros(1), around)
            if clearance.keeps(options.clearance_m, options.self_clearance_m):
                best = score
    return best
