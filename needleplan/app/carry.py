"""A plan carried out by robots without breathing: who reaches what, how freely, how long, and how exactly."""

from dataclasses import dataclass

from needleplan.app.pipeline import PlannedCase, ProgressCallback, RobotPlan, plan_robot
from needleplan.app.robot_planning import alternatives_for
from needleplan.plan import Likelihood
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.uncertainty.likelihoods import likelihoods_under
from needleplan.uncertainty.placement_budget import placement_budget
from needleplan.uncertainty.presets import preset_budget
from robots.axis_solver import AxisSolver
from robots.gantry import Gantry
from robots.route import InsertionRoute, JsonValue
from robots.route_options import RouteOptions

#: Error budget whose breathing and deflection are taken, which no robot decides.
BEYOND = "robot"
#: Scenarios of the chances.
SCENARIOS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A plan carried out by one robot.

    Attributes:
        plan: where it stands, its routes and the errors that are expected.
        best_manipulability: what the robot can do at its best, of which each route's manipulability is a share.
        chances: of coverage and harm under its own expected errors, with breathing and deflection of the error
            budget ``BEYOND``; empty where an insertion is not reached.
    """

    plan: RobotPlan
    best_manipulability: float
    chances: tuple[Likelihood, ...]

    @property
    def name(self) -> str:
        """The robot's name."""
        return self.plan.robot.name

    @property
    def reached_count(self) -> int:
        """How many insertions are reached."""
        return int(self.plan.base.route.reached.sum())

    @property
    def manipulability(self) -> float:
        """Least manipulability over the insertions that are reached, as share of the robot's best."""
        return min((r.manipulability for r in self._reached), default=0.0) / self.best_manipulability

    @property
    def limit_margin(self) -> float:
        """Least distance from a joint limit over half the joint's range."""
        return min((r.limit_margin for r in self._reached), default=0.0)

    @property
    def patient_clearance_m(self) -> float | None:
        """Least distance of the robot from the patient; None where nothing is reached."""
        values = [r.patient_clearance_m for r in self._reached if r.patient_clearance_m is not None]
        return min(values, default=None)

    @property
    def _reached(self) -> list[InsertionRoute]:
        return [route for route in self.plan.base.route.insertions if route.reached]


def carry_out(
    planned: PlannedCase,
    robot_name: str,
    *,
    options: RouteOptions | None = None,
    gantry: Gantry | None = None,
    registration: PoseCovariance | None = None,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> Carried:
    """Lets one robot carry out a plan; arguments as of ``plan_robot``."""
    robot_plan = plan_robot(
        planned.plan, planned.anatomy, robot_name, options=options, gantry=gantry,
        alternatives=alternatives_for(planned), registration=registration, progress=progress,
    )  # fmt: skip
    chances: tuple[Likelihood, ...] = ()
    metrics = planned.plan.metrics
    if robot_plan.base.route.reached.all() and metrics is not None:
        budget = placement_budget(robot_plan.errors, preset_budget(BEYOND))
        chances = likelihoods_under(
            budget, planned.queries, planned.plan.insertions, planned.zone_model, SCENARIOS, metrics.margin_mm, seed
        )
    return Carried(robot_plan, AxisSolver(robot_plan.robot).best_manipulability, chances)


def carried_to_json(carried: Carried) -> dict[str, JsonValue]:
    """What a file says of one robot besides its routes."""
    base = carried.plan.base
    errors: list[JsonValue] = [
        {
            "order": error.order,
            "lateral_std_mm": [round(value, 4) for value in error.lateral_std_mm],
            "lateral_rms_mm": round(error.lateral_rms_mm, 4),
            "depth_std_mm": round(error.depth_std_mm, 4),
            "angle_std_deg": [round(value, 4) for value in error.angle_std_deg],
            "lateral_rms_mm_by_origin": {
                share.origin.value: round(error.part(share.origin).lateral_rms_mm, 4) for share in error.shares
            },
        }
        for error in carried.plan.errors
    ]
    return {
        "schema": "needleplan.carried",
        "version": 1,
        "robot": carried.name,
        "status": base.status.value,
        "insertions_reached": carried.reached_count,
        "insertions": len(base.route.insertions),
        "alternatives_share": round(base.alternatives_share, 4),
        "places": len(base.map.places),
        "base_in_world_m": [round(float(value), 6) for value in base.X_WB.translation],
        "manipulability_share": round(carried.manipulability, 4),
        "limit_margin": round(carried.limit_margin, 4),
        "patient_clearance_m": carried.patient_clearance_m,
        "duration_s": round(base.route.duration_s, 2),
        "expected_errors": errors,
        "chances": [
            {"event": chance.event, "probability": chance.probability, "low": chance.low, "high": chance.high}
            for chance in carried.chances
        ],
        "evidence": [
            {"subject": item.subject, "finding": item.finding, "remedy": item.remedy} for item in base.evidence
        ],
    }
