"""From planned insertions to joint trajectories: approach, align, insert, retract.

The arm carries the guide to a stand-off before the skin, its axis through entry and tip, and holds still; a linear
driver advances the needle through the guide. So the needle's path is straight by construction and the point where
it passes the skin does not move. One needle is in the patient at a time.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.plan import Insertion
from robots.clearance import Surroundings
from robots.frames import PatientPlacement, in_base
from robots.kinematics import axis_solutions, limit_margin, manipulability
from robots.model import RobotModel
from robots.moves import ArmMoves
from robots.route import InsertionRoute, RobotRoute, RouteStatus
from robots.route_options import RouteOptions

#: Rounding of the length that the driver must have.
STROKE_TOLERANCE_M = 1e-9


def plan_insertions(
    insertions: Sequence[Insertion],
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    surface: SurfaceMesh | None,
    rng: np.random.Generator,
    options: RouteOptions | None = None,
) -> RobotRoute:
    """How the arm carries out insertions from one place of its base.

    Args:
        insertions: in the order of puncture.
        robot: the arm.
        placement: how the patient lies.
        X_WB: where the base stands; ``reachability.place_base`` finds one.
        surface: the patient's closed outer surface, patient LPS mm; None leaves the patient out of the check of
            clearance, which the route then says.
        rng: draws the starts of the inverse kinematics.
        options: how to move.

    Returns:
        A route for each insertion, reached or not, each with its reason.
    """
    chosen = options or RouteOptions()
    around = Surroundings(placement, surface)
    routes = tuple(
        plan_insertion(insertion, robot, placement, X_WB, around, seed_rng, chosen)
        for insertion, seed_rng in zip(insertions, rng.spawn(len(insertions)), strict=True)
    )
    notes = () if surface is not None else ("The arm's clearance from the patient was not checked: no surface.",)
    return RobotRoute(robot.name, (*robot.joint_names, robot.driver_joint_name), X_WB, routes, notes)


def plan_insertion(
    insertion: Insertion,
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    around: Surroundings,
    rng: np.random.Generator,
    options: RouteOptions,
) -> InsertionRoute:
    """How the arm carries out one insertion; see ``plan_insertions``."""
    first = None
    for stand_off in options.stand_offs_m:
        route = _at_stand_off(insertion, robot, placement, X_WB, around, rng, options, stand_off)
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


def _at_stand_off(
    insertion: Insertion,
    robot: RobotModel,
    placement: PatientPlacement,
    X_WB: RigidTransform,
    around: Surroundings,
    rng: np.random.Generator,
    options: RouteOptions,
    stand_off_m: float,
) -> InsertionRoute:
    arm_moves = ArmMoves(robot, X_WB, around, options)
    X_WG = placement.guide_pose(insertion, stand_off_m)
    driver_tip = stand_off_m + insertion.depth_mm * 1e-3
    entry, tip = placement.points_to_world(insertion.entry_mm), placement.points_to_world(insertion.tip_mm)
    found = InsertionRoute(insertion.order, RouteStatus.UNREACHED, "", entry, tip, X_WG, stand_off_m, driver_tip)
    if driver_tip > robot.driver_stroke_m + STROKE_TOLERANCE_M:
        reason = (
            f"the tip lies {driver_tip * 1e3:.0f} mm before the guide's exit and the driver's stroke is "
            f"{robot.driver_stroke_m * 1e3:.0f} mm: the path would have to be "
            f"{(driver_tip - robot.driver_stroke_m) * 1e3:.0f} mm shorter or the stand-off smaller"
        )
        return replace(found, reason=reason)
    X_BG = in_base(X_WB, X_WG)
    solutions = axis_solutions(robot, X_BG, rng, usable=arm_moves.is_clear)
    if not solutions[0].reached:
        return replace(found, reason=f"the guide's pose is not reached: {solutions[0].reason}")
    failures = []
    for solution in solutions:
        moves = arm_moves.moves(X_BG, solution)
        if isinstance(moves, str):
            failures.append(moves)
            continue
        approach, align, clearance = moves
        position, axis = _tip_errors(robot, X_WB, align.positions[-1], driver_tip, entry, tip)
        return replace(
            found,
            status=RouteStatus.REACHED,
            segments=arm_moves.segments(approach, align, driver_tip),
            manipulability=min(manipulability(robot, q) for q in align.positions),
            limit_margin=float(limit_margin(robot, align.positions).min()),
            patient_clearance_m=clearance.patient_m,
            table_clearance_m=clearance.table_m,
            self_clearance_m=clearance.self_m,
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
