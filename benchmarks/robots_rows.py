"""Rows of benchmarks/robots.py: inverse kinematics beside other libraries, and reach over a real patient."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from clock import Clock, print_rows, print_times
from robots_peers import AxisIk, peers
from rows import Row, write_rows

from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from robots.axis_solver import AXIS_TOLERANCE_RAD, POSITION_TOLERANCE_M, AxisSolver
from robots.catalogue import load_robot
from robots.kinematics import axis_errors
from robots.model import RobotModel

LIMIT = "limit set by this project"
WARM_LIMIT_PER_S, COLD_LIMIT_PER_S, REACH_LIMIT_S = 15_000.0, 3_000.0, 10.0
#: Goals of our own runs, and of each peer's, which are slower.
GOALS, PEER_GOALS = 10_000, 200
#: A warm start is the goal's posture with every joint moved by this standard deviation.
WARM_STD_RAD = 0.05
PARTS = ("inverse", "reach")


def goals_of(robot: RobotModel, count: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Postures (k, n) drawn evenly inside the limits, and the poses X_BG (k, 4, 4) that they make."""
    q = np.random.default_rng(seed).uniform(robot.q_min, robot.q_max, (count, len(robot.q_min)))
    return q, np.array([robot.forward(row).matrix for row in q])


def solved(robot: RobotModel, goals: FloatArray, answers: FloatArray) -> float:
    """Share of answers that lie inside all limits and on their axes, by forward kinematics."""
    right = 0
    for goal, q in zip(goals, answers, strict=True):
        if not np.isfinite(q).all() or (q < robot.q_min).any() or (q > robot.q_max).any():
            continue
        X_BG = RigidTransform(Frame.ROBOT_BASE, Frame.GUIDE, goal, LengthUnit.METRE)
        position, axis = axis_errors(robot, q, X_BG)
        right += position <= POSITION_TOLERANCE_M and axis <= AXIS_TOLERANCE_RAD
    return right / len(goals)


def warm_starts(robot: RobotModel, q: FloatArray) -> FloatArray:
    """Starts near postures, inside the limits."""
    moved = q + np.random.default_rng(1).normal(0.0, WARM_STD_RAD, q.shape)
    return np.clip(moved, robot.q_min, robot.q_max)


def inverse_rows(repeats: int, quick: bool) -> list[Row]:
    """Rates and shares solved of the seven-joint arm, in a batch and one by one, beside the peers."""
    robot = load_robot("needle_arm7")
    solver = AxisSolver(robot)
    q, goals = goals_of(robot, 500 if quick else GOALS)
    warm = warm_starts(robot, q)
    few = slice(0, 20 if quick else PEER_GOALS)
    poses = [RigidTransform(Frame.ROBOT_BASE, Frame.GUIDE, goal, LengthUnit.METRE) for goal in goals[few]]
    home = np.repeat(robot.home[None], len(goals), axis=0)
    others, missing = peers(robot)  # type: ignore[arg-type]
    for name in missing:
        tell(f"not installed, left out: {name}")
    clock = Clock("inverse kinematics")
    solver.follow_each(goals[:2], warm[:2])
    solver.postures(goals[:2], 48, 1, 1, False)
    success: dict[str, float] = {}
    for _ in range(repeats):
        answers, _ = clock("ours, warm", lambda: solver.follow_each(goals, warm), len(goals))
        success["ours, warm"] = solved(robot, goals, answers)
        batch = clock("ours, cold", lambda: solver.postures(goals, 48, 1, 1, False), len(goals))
        success["ours, cold"] = solved(robot, goals, np.where(batch.count[:, None] > 0, batch.q[:, 0], np.nan))
        alone = clock(
            "ours, warm, one by one",
            lambda: [_or_nan(solver, p, s) for p, s in zip(poses, warm[few], strict=True)],
            len(poses),
        )
        success["ours, warm, one by one"] = solved(robot, goals[few], np.array(alone))
        best = clock(
            "ours, best of 128 searches, one by one", lambda: [solver.solve(pose).q for pose in poses], len(poses)
        )
        success["ours, best of 128 searches, one by one"] = solved(robot, goals[few], np.array(best))
        for name, solve in others.items():
            for how, starts in (("warm", warm), ("cold", home)):
                found = clock(f"{name}, {how}", _call(solve, goals[few], starts[few]), len(poses))
                success[f"{name}, {how}"] = solved(robot, goals[few], found)
    print_times([clock])
    rows = [
        Row.against("ik_warm_per_s", clock.rate("ours, warm"), "1/s", LIMIT, WARM_LIMIT_PER_S),
        Row.against("ik_cold_per_s", clock.rate("ours, cold"), "1/s", LIMIT, COLD_LIMIT_PER_S),
        Row("ik_success_fraction", min(success["ours, warm"], success["ours, cold"]), "1"),
        Row("ik_warm_one_by_one_per_s", clock.rate("ours, warm, one by one"), "1/s"),
        Row("ik_best_one_by_one_per_s", clock.rate("ours, best of 128 searches, one by one"), "1/s"),
    ]
    for name in others:
        for how in ("warm", "cold"):
            stage = f"{name}, {how}"
            rows.append(
                Row.against(
                    f"ik_{how}_per_s beside {name}", clock.rate(f"ours, {how}"), "1/s", name, clock.rate(stage)
                )
            )
            rows.append(Row(f"ik_success_fraction of {stage}", success[stage], "1"))
    return rows


def _or_nan(solver: AxisSolver, pose: RigidTransform, start: FloatArray) -> FloatArray:
    found = solver.follow(pose, start)
    return np.full(len(start), np.nan) if found is None else found


def _call(solve: AxisIk, goals: FloatArray, starts: FloatArray):
    return lambda: solve(goals, starts)


def reach_rows(repeats: int, data: Path | None, quick: bool) -> list[Row]:
    """Time of reach, manipulability and clearance of 10 000 candidate paths."""
    from robots_reach import reach_task

    count = 200 if quick else 10_000
    task = reach_task(data, count)
    clock = Clock("reach")
    task.measure(slice(0, 20))
    for _ in range(repeats):
        table = clock("reach, manipulability and clearance", lambda: task.measure(slice(0, count)), count)
        clock("reach alone", lambda: task.decide(slice(0, count)), count)
    print_times([clock])
    tell(f"{task.name}: {table.reached.mean():.1%} of {count} paths reached from {np.round(task.base_m, 2)} m")
    return [
        Row.against(
            "reach_10000_s", clock.median_s("reach, manipulability and clearance") * 10_000 / count, "s", LIMIT,
            REACH_LIMIT_S,
        ),
        Row("reach_decided_10000_s", clock.median_s("reach alone") * 10_000 / count, "s"),
        Row("reached_fraction", float(table.reached.mean()), "1"),
    ]  # fmt: skip


def tell(sentence: str) -> None:
    """Says what is being done."""
    print(sentence, file=sys.stderr, flush=True)


def main(path: Path, repeats: int, data: Path | None, quick: bool, parts: Sequence[str]) -> None:
    """Run the parts, print and write their rows."""
    rows: list[Row] = []
    if "inverse" in parts:
        rows += inverse_rows(repeats, quick)
    if "reach" in parts:
        rows += reach_rows(repeats, data, quick)
    print_rows(rows)
    write_rows(path, rows)
