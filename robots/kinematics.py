"""Inverse kinematics of a needle axis: the turn about the needle is free, the rest of the redundancy is used.

A goal fixes five of the guide's six degrees of freedom. The arm's two or more spare ones (the roll about the
needle and the elbow) are spent on keeping away from joint limits and singular poses. Every answer is confirmed
by forward kinematics. Metres and radians.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import (
    FloatArray,
    Frame,
    LengthUnit,
    RigidTransform,
    perpendicular_axes,
    read_only,
    unit_vector,
)
from robots.model import RobotModel

#: An answer counts only if forward kinematics puts the guide this close to its goal.
POSITION_TOLERANCE_M = 1e-6
AXIS_TOLERANCE_RAD = 1e-6
#: Step of the finite differences of the score, rad; and the largest joint step of one ascent.
SCORE_STEP_RAD = 1e-4
ASCENT_STEP_RAD = 0.15
ASCENT_STEPS = 12
#: Two answers are the same posture when no joint differs by more.
SAME_POSTURE_RAD = 0.2


class AxisStatus(StrEnum):
    """How a search for joint positions ended."""

    REACHED = "reached"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, eq=False)
class AxisSolution:
    """Joint positions that lay the guide on a wanted axis, or why there are none.

    Attributes:
        status: whether the axis is reached.
        reason: empty when reached; else what was found, in a sentence.
        q: (n,) joint positions; None when unreachable.
        position_error_m: distance of the guide's exit from its goal by forward kinematics; infinite when
            unreachable.
        axis_error_rad: angle between the guide's and the wanted axis; infinite when unreachable.
        manipulability: Yoshikawa's measure sqrt(det(J Jᵀ)) of the five rows of the Jacobian that the task fixes,
            in guide axes (m³); zero at a singular pose.
        limit_margin: distance of the nearest joint limit as a share of half that joint's range: 0 at a limit, 1
            with every joint in the middle.
        starts: number of searches that were run.
    """

    status: AxisStatus
    reason: str
    q: FloatArray | None
    position_error_m: float
    axis_error_rad: float
    manipulability: float
    limit_margin: float
    starts: int

    def __post_init__(self) -> None:
        if self.q is not None:
            object.__setattr__(self, "q", read_only(self.q))

    @property
    def reached(self) -> bool:
        """True where there are joint positions."""
        return self.status is AxisStatus.REACHED

    @property
    def score(self) -> float:
        """Manipulability times limit margin: high far from singular poses and from every limit."""
        return self.manipulability * self.limit_margin


def limit_margin(robot: RobotModel, q: ArrayLike) -> FloatArray:
    """Distance of the nearest limit over half the range for joint positions (..., n); shape (...,)."""
    positions = np.asarray(q, dtype=np.float64)
    nearest = np.minimum(positions - robot.q_min, robot.q_max - positions)
    return np.asarray((2.0 * nearest / (robot.q_max - robot.q_min)).min(axis=-1))


def task_jacobian(robot: RobotModel, q: ArrayLike) -> FloatArray:
    """(5, n) Jacobian in guide axes without the roll: three velocities (m/s) over two turns (rad/s)."""
    jacobian = robot.jacobian(q)
    to_guide = robot.forward(q).rotation.T
    return np.concatenate([to_guide @ jacobian[:3], (to_guide @ jacobian[3:])[:2]])


def manipulability(robot: RobotModel, q: ArrayLike) -> float:
    """Yoshikawa's measure sqrt(det(J Jᵀ)) of the five-row task Jacobian, in m³."""
    return float(np.prod(np.linalg.svd(task_jacobian(robot, q), compute_uv=False)))


def axis_errors(robot: RobotModel, q: ArrayLike, X_BG: RigidTransform) -> tuple[float, float]:
    """Distance of the guide's exit (m) and angle of its axis (rad) from the wanted pose, by forward kinematics."""
    found = robot.forward(q)
    sine = float(np.linalg.norm(np.cross(found.rotation[:, 2], X_BG.rotation[:, 2])))
    cosine = float(found.rotation[:, 2] @ X_BG.rotation[:, 2])
    return float(np.linalg.norm(found.translation - X_BG.translation)), float(np.arctan2(sine, cosine))


def guide_pose(exit_m: ArrayLike, direction: ArrayLike, parent: Frame = Frame.ROBOT_BASE) -> RigidTransform:
    """A pose of the guide: exit at ``exit_m`` (3,), +z along ``direction`` (3,), the roll arbitrary."""
    x, y = perpendicular_axes(direction)
    rotation = np.stack([x, y, unit_vector(direction)], axis=1)
    return RigidTransform.from_parts(parent, Frame.GUIDE, rotation, exit_m, LengthUnit.METRE)


def with_roll_of(X_BG: RigidTransform, reference: RigidTransform) -> RigidTransform:
    """``X_BG`` turned about its z so that the turn from ``reference`` is the shortest.

    A roll-free search starts best without any roll error. Of all poses with the same z axis this is the one that
    the shortest rotation from ``reference`` leads to.
    """
    z0, z1 = reference.rotation[:, 2], X_BG.rotation[:, 2]
    cosine = float(z0 @ z1)
    if cosine < -1 + 1e-9:
        turned = reference.rotation @ np.diag([1.0, -1.0, -1.0])
    else:
        v = np.cross(z0, z1)
        cross = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
        turned = (np.eye(3) + cross + cross @ cross / (1.0 + cosine)) @ reference.rotation
    turned[:, 2] = z1
    turned[:, 0] = unit_vector(turned[:, 0] - (turned[:, 0] @ z1) * z1)
    turned[:, 1] = np.cross(z1, turned[:, 0])
    return RigidTransform.from_parts(X_BG.parent, X_BG.child, turned, X_BG.translation, X_BG.unit)


def rolled(X_BG: RigidTransform, angle_rad: float) -> RigidTransform:
    """``X_BG`` turned by ``angle_rad`` about its own z."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return RigidTransform.from_parts(X_BG.parent, X_BG.child, X_BG.rotation @ turn, X_BG.translation, X_BG.unit)


def solve_from(robot: RobotModel, X_BG: RigidTransform, q_start: ArrayLike) -> FloatArray | None:
    """One confirmed roll-free search from ``q_start``: joint positions (n,), or None where it does not arrive."""
    goal = with_roll_of(X_BG, robot.forward(q_start))
    q = robot.solve_pose(goal, q_start, roll_free=True)
    return q if q is not None and _confirmed(robot, q, X_BG) else None


def _confirmed(robot: RobotModel, q: FloatArray, X_BG: RigidTransform) -> bool:
    position, axis = axis_errors(robot, q, X_BG)
    inside = bool((q >= robot.q_min).all() and (q <= robot.q_max).all())
    return inside and position <= POSITION_TOLERANCE_M and axis <= AXIS_TOLERANCE_RAD


def _score(robot: RobotModel, q: FloatArray) -> float:
    return manipulability(robot, q) * float(limit_margin(robot, q))


def improve(robot: RobotModel, X_BG: RigidTransform, q: ArrayLike) -> FloatArray:
    """Moves along the spare degrees of freedom to where the score is higher; never to where it is lower.

    Ascent along the finite-difference gradient of the score inside the null space of the task Jacobian, each step
    brought back to the goal by a search and halved where the score does not rise.
    """
    current = np.array(q, dtype=np.float64)
    score, step = _score(robot, current), ASCENT_STEP_RAD
    for _ in range(ASCENT_STEPS):
        spare = np.linalg.svd(task_jacobian(robot, current))[2][5:]
        gradient = np.array(
            [(_score(robot, current + SCORE_STEP_RAD * row) - score) / SCORE_STEP_RAD for row in spare]
        )
        if np.linalg.norm(gradient) < 1e-9:
            break
        ascent = gradient @ spare
        trial = np.clip(current + step * ascent / np.abs(ascent).max(), robot.q_min, robot.q_max)
        found = solve_from(robot, X_BG, trial)
        if found is not None and (risen := _score(robot, found)) > score:
            current, score = found, risen
        else:
            step /= 2
            if step < 0.01:
                break
    return current


def axis_solutions(
    robot: RobotModel,
    X_BG: RigidTransform,
    rng: np.random.Generator,
    q_start: ArrayLike | None = None,
    starts: int = 6,
    rolls: int = 12,
    keep: int = 4,
    patience: int = 60,
    usable: Callable[[FloatArray], bool] | None = None,
) -> tuple[AxisSolution, ...]:
    """Different joint postures that lay the guide on the axis of ``X_BG``, best score first.

    Args:
        robot: the arm.
        X_BG: wanted pose of the guide's exit; its roll does not matter.
        rng: draws the random starts.
        q_start: (n,) first start; home where None.
        starts: number of random starts after ``q_start`` and home.
        rolls: number of rolls about the needle that are tried from the first answer.
        keep: greatest number of answers.
        patience: number of random starts after which the search is given up where nothing usable was found.
        usable: tells of joint positions (n,) whether they can be used, for instance whether they are clear of the
            patient; where none can, the answers are those that lay the guide on the axis all the same.

    Returns:
        At least one value; a single one with status unreachable where no start arrives.
    """
    if X_BG.parent is not Frame.ROBOT_BASE or X_BG.unit is not LengthUnit.METRE:
        raise OptionError("the axis to be reached must be a pose X_BG in metres")
    # Drawn before anything else, so that the number of draws does not depend on what is found.
    random_starts = rng.uniform(robot.q_min, robot.q_max, size=(max(starts, patience), len(robot.q_min)))
    distance = float(np.linalg.norm(X_BG.translation - robot.first_joint_m))
    if distance > robot.reach_m:
        reason = f"it lies {distance:.2f} m from the first joint and the arm's links reach {robot.reach_m:.2f} m"
        return (_unreachable(reason, 0),)
    first = robot.home if q_start is None else np.asarray(q_start, dtype=np.float64)
    wanted = usable or (lambda _: True)
    found: list[FloatArray] = []
    fit: list[FloatArray] = []
    searches = 0
    for start in (first, robot.home, *random_starts):
        if fit and searches >= starts + 2:
            break
        q = solve_from(robot, X_BG, start)
        searches += 1
        if q is not None:
            found.append(q)
            if wanted(q):
                fit.append(q)
    if not found:
        reason = (
            f"no joint positions inside the limits lay the guide on this axis in {searches} searches; it lies "
            f"{distance:.2f} m from the first joint"
        )
        return (_unreachable(reason, searches),)
    around = _around(robot, X_BG, (fit or found)[0], rolls)
    found += around
    fit += [q for q in around if wanted(q)]
    searches += rolls
    postures: list[FloatArray] = []
    for q in sorted(fit or found, key=lambda q: -_score(robot, q)):
        if all(np.abs(q - other).max() > SAME_POSTURE_RAD for other in postures):
            postures.append(q)
    # Ascent is the costly part, so only the best postures get it.
    improved = []
    for q in postures[:keep]:
        better = improve(robot, X_BG, q)
        improved.append(better if not fit or wanted(better) else q)
    solutions = [_reached(robot, X_BG, q, searches) for q in improved]
    return tuple(sorted(solutions, key=lambda solution: -solution.score))


def solve_axis(
    robot: RobotModel,
    X_BG: RigidTransform,
    rng: np.random.Generator,
    q_start: ArrayLike | None = None,
    starts: int = 6,
    rolls: int = 12,
) -> AxisSolution:
    """The best posture of ``axis_solutions``, or why there is none."""
    return axis_solutions(robot, X_BG, rng, q_start, starts, rolls)[0]


def _around(robot: RobotModel, X_BG: RigidTransform, q: FloatArray, rolls: int) -> list[FloatArray]:
    """Answers with other rolls, each search started from its neighbour's answer."""
    pose = robot.forward(q)
    goal = RigidTransform.from_parts(X_BG.parent, X_BG.child, pose.rotation, X_BG.translation, X_BG.unit)
    found = []
    for way in (1.0, -1.0):
        last = q
        for k in range(1, rolls // 2 + 1):
            answer = robot.solve_pose(rolled(goal, way * k * np.pi / (rolls // 2)), last, roll_free=False)
            if answer is None or not _confirmed(robot, answer, X_BG):
                break
            found.append(answer)
            last = answer
    return found


def _reached(robot: RobotModel, X_BG: RigidTransform, q: FloatArray, searches: int) -> AxisSolution:
    position, axis = axis_errors(robot, q, X_BG)
    margin = float(limit_margin(robot, q))
    return AxisSolution(AxisStatus.REACHED, "", q, position, axis, manipulability(robot, q), margin, searches)


def _unreachable(reason: str, searches: int) -> AxisSolution:
    return AxisSolution(AxisStatus.UNREACHABLE, reason, None, np.inf, np.inf, 0.0, 0.0, searches)
