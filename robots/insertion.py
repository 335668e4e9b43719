"""From planned insertions to joint trajectories: approach, align, insert, retract.

The arm carries the guide to a stand-off before the skin, its axis through entry and tip, and holds still; a linear
driver advances the needle through the guide. So the needle's path is straight by construction and the point where
it passes the skin, the remote centre, does not move; how far the needle's axis passes from it is measured.

Needles are withdrawn before the arm goes on, or stay until all are placed (``RouteOptions.needles_stay``). For a
needle that stays the guide is taken to be of the kind that opens along its length, and the driver's clamp to let
go: the driver runs back to 0 without the needle, the opened guide is drawn back along the needle's axis until it is
clear of the needle's outer end, and only then moves aside.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.plan import Insertion
from robots.clearance import Gantry, PlacedNeedle, Surroundings
from robots.frames import PatientPlacement, in_base
from robots.model import STROKE_TOLERANCE_M, RobotModel
from robots.moves import ArmMoves
from robots.remote_centre import axis_distances, denser
from robots.route import InsertionRoute, RobotRoute, RouteStatus
from robots.route_options import RouteOptions


def plan_insertions(
    insertions: Sequence[Insertion],
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    surface: SurfaceMesh | None,
    options: RouteOptions | None = None,
    *,
    gantry: Gantry | None = None,
    needles: Sequence[PlacedNeedle] = (),
) -> RobotRoute:
    """How the arm carries out insertions from one place of its base.

    Args:
        insertions: in the order of puncture.
        robot: the arm.
        placement: how the patient lies.
        X_WB: where the base stands; ``reachability.place_base`` finds one.
        surface: the patient's closed outer surface, patient LPS mm; None leaves the patient out of the check of
            clearance, which the route then says.
        options: how to move.
        gantry: the scanner's ring; None leaves it out.
        needles: needles that are in place before the first insertion.

    Returns:
        A route for each insertion, reached or not, each with its reason.
    """
    chosen = options or RouteOptions()
    around = Surroundings(placement, surface, gantry, needles)
    routes = plan_in_order(insertions, robot, placement, X_WB, around, chosen)
    return RobotRoute(robot.name, (*robot.joint_names, robot.driver_joint_name), X_WB, routes, around.notes)


def plan_in_order(
    insertions: Sequence[Insertion],
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    around: Surroundings,
    options: RouteOptions,
) -> tuple[InsertionRoute, ...]:
    """A route for each insertion in turn; where needles stay, each keeps clear of those that were placed before."""
    routes = []
    for insertion in insertions:
        route = plan_insertion(insertion, robot, placement, X_WB, around, options)
        routes.append(route)
        if route.reached and options.needles_stay:
            around = around.with_needles((*around.needles, placed_needle(insertion, robot, placement, options)))
    return tuple(routes)


def placed_needle(
    insertion: Insertion, robot: RobotModel, placement: PatientPlacement, options: RouteOptions
) -> PlacedNeedle:
    """What stands out of the skin of a needle that stays; OptionError for a needle shorter than its path."""
    length = robot.driver_stroke_m if options.needle_length_m is None else options.needle_length_m
    outside = length - insertion.depth_mm * 1e-3
    if outside <= 0:
        raise OptionError(
            f"insertion {insertion.order} is {insertion.depth_mm:.0f} mm deep and a needle of "
            f"{length * 1e3:.0f} mm leaves nothing outside: route option needle_length_m must be greater"
        )
    return PlacedNeedle(
        placement.points_to_world(insertion.entry_mm),
        placement.directions_to_world(insertion.direction),
        outside,
        options.needle_radius_m,
    )


def plan_insertion(
    insertion: Insertion,
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    around: Surroundings,
    options: RouteOptions,
) -> InsertionRoute:
    """How the arm carries out one insertion; see ``plan_insertions``.

    Raises:
        OptionError: the needle is to move faster than the driver can, or is shorter than its path.
    """
    for name in ("insertion_speed_m_s", "withdrawal_speed_m_s"):
        speed = getattr(options, name)
        if speed > robot.driver_velocity_limit:
            raise OptionError(
                f"route option {name} is {speed * 1e3:g} mm/s and the driver of {robot.name} moves at most at "
                f"{robot.driver_velocity_limit * 1e3:g} mm/s"
            )
    arm_moves = ArmMoves(robot, X_WB, around, options)
    if arm_moves.home_fault:
        return replace(_unplanned(insertion, placement, options.stand_off_m), reason=arm_moves.home_fault)
    first = None
    for stand_off in options.stand_offs_m:
        route = _at_stand_off(insertion, placement, arm_moves, stand_off)
        first = first or route
        if route.reached or route.driver_tip_m > robot.driver_stroke_m:
            break
    assert first is not None
    if route.reached:
        return route
    if route.driver_entry_m > first.driver_entry_m:
        tried = (
            f"stand-offs to {route.driver_entry_m * 1e3:.0f} mm were tried; at {first.driver_entry_m * 1e3:.0f} mm "
        )
        return replace(first, reason=tried + first.reason)
    return first


def _unplanned(insertion: Insertion, placement: PatientPlacement, stand_off_m: float) -> InsertionRoute:
    """The route of an insertion before anything of it is planned."""
    return InsertionRoute(
        insertion.order,
        RouteStatus.UNREACHED,
        "",
        placement.points_to_world(insertion.entry_mm),
        placement.points_to_world(insertion.tip_mm),
        placement.guide_pose(insertion, stand_off_m),
        stand_off_m,
        stand_off_m + insertion.depth_mm * 1e-3,
    )


def _at_stand_off(
    insertion: Insertion, placement: PatientPlacement, arm_moves: ArmMoves, stand_off_m: float
) -> InsertionRoute:
    robot, X_WB, options = arm_moves.robot, arm_moves.X_WB, arm_moves.options
    found = _unplanned(insertion, placement, stand_off_m)
    entry, tip, driver_tip = found.entry_m, found.tip_m, found.driver_tip_m
    if driver_tip > robot.driver_stroke_m + STROKE_TOLERANCE_M:
        reason = (
            f"the tip lies {driver_tip * 1e3:.0f} mm before the guide's exit and the driver's stroke is "
            f"{robot.driver_stroke_m * 1e3:.0f} mm: the path would have to be "
            f"{(driver_tip - robot.driver_stroke_m) * 1e3:.0f} mm shorter or the stand-off smaller"
        )
        return replace(found, reason=reason)
    X_BG = in_base(X_WB, found.X_WG)
    solutions = arm_moves.solver.solutions(X_BG, arm_moves.clearances, options.clearance_m)
    if not solutions[0].reached:
        return replace(found, reason=f"the guide's pose is not reached: {solutions[0].reason}")
    stays = placed_needle(insertion, robot, placement, options) if options.needles_stay else None
    failures = []
    for solution in solutions:
        path = arm_moves.path(X_BG, solution, driver_tip, stays)
        if isinstance(path, str):
            failures.append(path)
            continue
        segments = arm_moves.segments(path, driver_tip)
        aimed = np.concatenate([denser(segments[k].path) for k in (1, 2)])
        deviation = float(axis_distances(robot, X_WB, aimed[:, :-1], entry).max())
        if deviation > options.remote_centre_m:
            failures.append(
                f"the needle's axis passes {deviation * 1e3:.2f} mm beside the entry where "
                f"{options.remote_centre_m * 1e3:.2f} mm are allowed"
            )
            continue
        manipulability, margin = arm_moves.solver.scores(path.align.positions)
        position, axis = _tip_errors(robot, X_WB, path.align.positions[-1], driver_tip, entry, tip)
        return replace(
            found,
            status=RouteStatus.REACHED,
            segments=segments,
            manipulability=float(manipulability.min()),
            limit_margin=float(margin.min()),
            patient_clearance_m=path.clearance.patient_m,
            table_clearance_m=path.clearance.table_m,
            self_clearance_m=path.clearance.self_m,
            gantry_clearance_m=path.clearance.gantry_m,
            needle_clearance_m=path.clearance.needles_m,
            remote_centre_deviation_m=deviation,
            approach_stops=path.stops,
            check_step_rad=options.check_step_rad,
            check_step_m=options.check_step_m,
            needle_stays=options.needles_stay,
            position_error_m=position,
            axis_error_rad=axis,
        )
    reasons = "; ".join(dict.fromkeys(failures))
    return replace(found, reason=f"none of {len(solutions)} postures can be used: {reasons}")


def _tip_errors(
    robot: RobotModel, X_WB: RigidTransform, q: FloatArray, driver_m: float, entry_m: FloatArray, tip_m: FloatArray
) -> tuple[float, float]:
    """Distance of the needle's tip from its goal and angle of the needle to its axis, by forward kinematics."""
    X_GN = RigidTransform.from_parts(Frame.GUIDE, Frame.NEEDLE, np.eye(3), (0.0, 0.0, driver_m), LengthUnit.METRE)
    X_WN = X_WB @ robot.forward(q) @ X_GN
    axis, planned = X_WN.rotation[:, 2], tip_m - entry_m
    angle = np.arctan2(np.linalg.norm(np.cross(axis, planned)), axis @ planned)
    return float(np.linalg.norm(X_WN.translation - tip_m)), float(angle)
