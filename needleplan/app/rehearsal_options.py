"""Options of rehearsals from the words of the command line."""

from argparse import Namespace

from needleplan.app.pipeline import PlannedCase, ProgressCallback, RobotPlan, plan_robot
from needleplan.app.robot_planning import alternatives_for, gantry_from
from needleplan.errors import OptionError, RobotError
from sim.controller_options import ControllerOptions
from sim.faults import parse_fault
from sim.needle import PlacementNoise
from sim.options import RehearsalOptions
from sim.strategies import STRATEGIES, make_strategy


def rehearsal_options_from(
    options: Namespace, strategy: str, noise: PlacementNoise | None = None
) -> RehearsalOptions:
    """How a rehearsal with a strategy is run.

    Args:
        options: of the command line; those that a command does not have are left at their defaults.
        strategy: name of the strategy.
        noise: placement error of the robot; none where None.

    Raises:
        NeedleplanError: an option is unknown or impossible.
    """
    return RehearsalOptions(
        strategy=make_strategy(strategy, options.gate_mm),
        controller=ControllerOptions(step_mm=options.stepwise_mm),
        noise=noise or PlacementNoise(),
        faults=tuple(parse_fault(text) for text in getattr(options, "fault", ())),
        gantry=gantry_from(options.gantry_bore_mm, options.gantry_at_mm),
        display=getattr(options, "display", False),
    )


def strategies_from(text: str) -> tuple[str, ...]:
    """Names of strategies from a list with commas, or ``all``.

    Raises:
        OptionError: a name is unknown or comes twice.
    """
    if text.strip() == "all":
        return STRATEGIES
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in STRATEGIES:
            raise OptionError(f"no strategy is named {name!r}: choose of {', '.join(STRATEGIES)}, or all")
        if names.count(name) > 1:
            raise OptionError(f"the strategy {name} is named twice: name each once")
    return names


def noise_from(text: str) -> PlacementNoise:
    """Placement errors from ``robot``, ``none`` or a standard deviation in mm in each direction, without tilt.

    Raises:
        OptionError: the text is none of these, or the number is impossible.
    """
    if text == "robot":
        return PlacementNoise.published()
    if text == "none":
        return PlacementNoise()
    try:
        std_mm = float(text)
    except ValueError:
        raise OptionError(f"--noise is robot, none or a standard deviation in mm, not {text!r}") from None
    return PlacementNoise(std_mm, std_mm, 0.0)


def placed_robot(
    planned: PlannedCase, options: RehearsalOptions, robot: str | None, progress: ProgressCallback | None = None
) -> RobotPlan:
    """Where the robot stands and how it carries out a plan beside the options' scanner.

    Raises:
        OptionError: the plan holds no insertion.
        RobotError: it reaches none of the insertions.
    """
    if not planned.plan.insertions:
        raise OptionError(
            f"the plan of {planned.plan.case_name} holds no insertion, so there is nothing to rehearse"
        )
    robot_plan = plan_robot(
        planned.plan, planned.anatomy, robot, gantry=options.gantry, alternatives=alternatives_for(planned),
        progress=progress,
    )  # fmt: skip
    routes = robot_plan.base.route.insertions
    if not any(route.reached for route in routes):
        raise RobotError(
            f"{robot_plan.robot.name} reaches none of the {len(routes)} insertions, the first because "
            f"{routes[0].reason}: take another robot, a wider bore, or plan with --robot"
        )
    return robot_plan
