"""What a plan demanded of its paths, read back from its own options, so that columns mean what they meant then."""

import dataclasses
from dataclasses import dataclass

from needleplan.app.pipeline import PlannedCase
from needleplan.coverage.options import CoverageOptions, ThermalMargins
from needleplan.coverage.protection import Protection, protect
from needleplan.errors import OptionError
from needleplan.plan import Plan
from needleplan.plan_options import options_of
from needleplan.trajectory.contract import TrajectoryConstraint, TrajectoryObjective
from needleplan.trajectory.ranking import ObjectiveWeights, default_objectives
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits, default_constraints

#: Name of the constraint that a plan made for a robot has, and that nobody but a robot can answer.
_ROBOT_REACH = "robot reach"


@dataclass(frozen=True, slots=True, eq=False)
class PlanDemands:
    """What a plan asked of its paths and zones.

    Attributes:
        limits: limits of the hard constraints.
        constraints: what is demanded of a path.
        objectives: what a path costs.
        coverage: margin and goals.
        protection: structures that the zones keep away from.
        sampling: how densely candidate paths were laid out.
        required_chance: chance of success that the plan had to have; None where it had to have none.
        chance_level_mm: margin that it is of; 0 where it is of covering the target.
        robot_asked: True where a robot had to reach each path.
        notes: what the plan demanded and is not asked here, a sentence each.
    """

    limits: PathLimits
    constraints: tuple[TrajectoryConstraint, ...]
    objectives: tuple[TrajectoryObjective, ...]
    coverage: CoverageOptions
    protection: Protection
    sampling: SamplingOptions
    required_chance: float | None
    chance_level_mm: float
    robot_asked: bool
    notes: tuple[str, ...]


def demands_of(planned: PlannedCase) -> PlanDemands:
    """The demands of a plan.

    Raises:
        OptionError: an option that the plan states is impossible.
    """
    plan, queries = planned.plan, planned.queries
    limits = options_of(PathLimits, "limits", plan)
    weights = options_of(ObjectiveWeights, "weights", plan)
    notes = []
    if _ROBOT_REACH in plan.rejected:
        notes.append(
            "The plan demanded that a robot reaches each path, which is not asked here: ask it of a saved plan by "
            "'needleplan carry'."
        )
    if weights.robot > 0:
        weights = dataclasses.replace(weights, robot=0.0)
        notes.append("The cost leaves out how freely a robot reaches the path, which the plan weighed.")
    return PlanDemands(
        limits,
        default_constraints(queries, limits),
        default_objectives(queries, weights),
        options_of(CoverageOptions, "coverage", plan),
        protect(queries, options_of(ThermalMargins, "thermal", plan)),
        options_of(SamplingOptions, "sampling", plan),
        _number("errors.required", plan, 1.0),
        _number("errors.level_mm", plan, 50.0) or 0.0,
        _ROBOT_REACH in plan.rejected,
        tuple(notes),
    )


def _number(name: str, plan: Plan, most: float) -> float | None:
    """An option of a plan that is a number from 0 on; None where the plan does not state it."""
    value = plan.provenance.options.get(name)
    if value is None:
        return None
    if isinstance(value, bool | str) or not 0.0 <= value <= most:
        raise OptionError(f"the plan's option {name} must be a number from 0 to {most:g}, not {value!r}")
    return float(value)
