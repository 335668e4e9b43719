"""Planning together with a robot: only paths that it reaches, from a place of its base that reaches many."""

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.pipeline import PlannedCase, default_route_options
from needleplan.errors import OptionError, RobotError
from needleplan.frames import FloatArray
from needleplan.planning import PlanningOptions
from needleplan.trajectory.ranking import default_objectives
from needleplan.trajectory.screening import default_constraints
from needleplan.trajectory.search import search_trajectories
from needleplan.trajectory.skin_map import SkinMap
from needleplan.trajectory.table import TrajectoryTable
from robots.clearance import Surroundings
from robots.frames import place_anatomy
from robots.gantry import Gantry
from robots.model import RobotModel
from robots.path_reach import PathReach
from robots.reachability import Alternatives, BaseMap, judge_places
from robots.route_options import RouteOptions

#: Place of a scanner's middle along the table, from the target towards the head, unless another is named: the
#: table is drawn out so far that the target lies a hand's breadth before the ring.
GANTRY_AT_MM = 600.0
#: Alternatives to a plan's insertions that a place of the base is judged by.
ALTERNATIVES = 100


def gantry_from(bore_mm: float | None, at_mm: float | None) -> Gantry | None:
    """The scanner that the words of the command line describe; None where they name none.

    Raises:
        OptionError: a place is named without a bore, or a number is out of range.
    """
    if bore_mm is None:
        if at_mm is not None:
            raise OptionError("--gantry-at-mm is where the scanner stands: say how wide it is by --gantry-bore-mm")
        return None
    where_mm = GANTRY_AT_MM if at_mm is None else at_mm
    return Gantry(bore_diameter_m=bore_mm * 1e-3, centre_along_table_m=where_mm * 1e-3)


def alternatives_of(candidates: TrajectoryTable, count: int = ALTERNATIVES) -> Alternatives | None:
    """Feasible paths, evenly drawn from all of them in the order of their cost; None where there is none."""
    ranked = candidates.order()
    if not len(ranked):
        return None
    rows = ranked[np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).astype(int))]
    return Alternatives(candidates.entry_mm[rows], candidates.tip_mm[rows])


def alternatives_of_skin(skin: SkinMap, target_mm: FloatArray, count: int = ALTERNATIVES) -> Alternatives | None:
    """For each patch of skin from which some path is feasible the straight way to the target's middle.

    They stand for the feasible paths where only the skin map was kept; drawn evenly in the order of their cost.
    """
    rows = np.flatnonzero(skin.feasible > 0)
    if not len(rows):
        return None
    rows = rows[np.argsort(skin.best_cost[rows], kind="stable")]
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]
    return Alternatives(skin.entry_mm[rows], np.repeat(np.reshape(target_mm, (1, 3)), len(rows), axis=0))


def alternatives_for(planned: PlannedCase) -> Alternatives | None:
    """Alternatives to a plan: all feasible paths where they were kept, else those that the skin map stands for."""
    if planned.candidates is not None:
        return alternatives_of(planned.candidates)
    if planned.skin is None:
        return None
    return alternatives_of_skin(planned.skin, planned.anatomy.target.mesh.bounds_mm.mean(axis=0))


class ReachOfBestPlace:
    """Makes a robot's answer to the planner, from the place of its base that reaches the most feasible paths.

    The place is judged before any path is chosen; the plan is then made of paths that are reached from there.
    ``plan_robot`` may place the base better still once it is known which ones they are.

    Args:
        robot: the robot.
        options: what paths are feasible for the anatomy.
        zone_model: knows the applicator; the built-in tables where None.
        route_options: how the robot is to move; ``default_route_options`` where None.
        gantry: the scanner's ring; None leaves it out.
    """

    def __init__(
        self,
        robot: RobotModel,
        options: PlanningOptions,
        zone_model: EllipsoidTableModel | None = None,
        route_options: RouteOptions | None = None,
        gantry: Gantry | None = None,
    ) -> None:
        self._robot, self._options = robot, options
        self._zone_model = zone_model or EllipsoidTableModel(setting=options.setting)
        self._route_options, self._gantry = route_options or default_route_options(robot), gantry
        self.map: BaseMap | None = None
        self.feasible_count = self.drawn_count = 0

    def __call__(self, queries: AnatomyQueries) -> PathReach:
        """The robot's answer for a patient.

        Raises:
            RobotError: paths are feasible for the anatomy, and no place reaches any that was drawn of them.
        """
        robot, options, anatomy = self._robot, self._options, queries.anatomy
        applicator = self._zone_model.catalogue.applicator(options.applicator)
        constraints = default_constraints(queries, options.limits)
        objectives = default_objectives(queries, options.weights)
        table = search_trajectories(
            queries, applicator, constraints, objectives, options.sampling, options.search
        ).table
        placement = place_anatomy(anatomy)
        around = Surroundings(placement, anatomy.entry.mesh, self._gantry)
        alternatives = alternatives_of(table)
        judged = judge_places((), alternatives, robot, placement, around, self._route_options)
        self.map, self.feasible_count = judged, int(table.feasible.sum())
        self.drawn_count = 0 if alternatives is None else len(alternatives)
        if alternatives is not None and not judged.alternatives_share.any():
            raise RobotError(
                f"{robot.name} reaches none of {len(alternatives)} paths, drawn evenly from {self.feasible_count} "
                f"feasible ones, from any of {len(judged.places)} places of its base: take another robot, a wider "
                "bore or a target nearer to the skin"
            )
        return PathReach(robot, placement, judged.places[judged.chosen], around, self._route_options)

    @property
    def sentence(self) -> str:
        """Where the robot was placed, and what it reaches from there."""
        if self.map is None:
            return f"{self._robot.name} has not been placed yet"
        x, y, z = self.map.positions_m[self.map.chosen]
        share = float(self.map.alternatives_share[self.map.chosen])
        return (
            f"planned for {self._robot.name} at ({x:.2f}, {y:.2f}, {z:.2f} m): the best of {len(self.map.places)} "
            f"places, from which it reaches {share:.0%} of {self.drawn_count} paths drawn evenly from the "
            f"{self.feasible_count} that are feasible for the anatomy"
        )
