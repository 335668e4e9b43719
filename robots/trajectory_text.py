"""The joint trajectory of a route as a table in text (CSV) and back, without loss. Metres, radians, seconds."""

import csv
import io
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from needleplan.errors import RobotError
from needleplan.frames import FloatArray
from robots.model import RobotModel
from robots.route import InsertionRoute, Phase, RobotRoute, Segment

#: Columns before those of the joints.
_TIMES = ("insertion", "phase", "time_s", "phase_time_s")
#: What is told of each joint, with its unit.
_KINDS = (("position", "{}"), ("speed", "{}/s"), ("acceleration", "{}/s^2"))


@dataclass(frozen=True, slots=True, eq=False)
class TrajectoryTable:
    """The trajectories of a route without what else is known of it.

    Attributes:
        joint_names: the arm's joints and, last, the driver.
        insertions: the phases of each reached insertion, by its order in the plan.
    """

    joint_names: tuple[str, ...]
    insertions: dict[int, tuple[Segment, ...]]


def check_joints(route: RobotRoute, robot: RobotModel) -> None:
    """Raises RobotError where a route was not planned for this robot."""
    if route.joint_names != (*robot.joint_names, robot.driver_joint_name) or route.robot != robot.name:
        raise RobotError(f"the route was planned for the robot {route.robot}, not for {robot.name}")


def route_to_csv(route: RobotRoute, robot: RobotModel) -> str:
    """A route's trajectories as CSV: one row a sample, one line of headings with units.

    ``time_s`` runs on through the phases of an insertion, ``phase_time_s`` begins at 0 in each, so the last sample
    of a phase and the first of the next stand at the same time. Numbers have all their digits; a speed or
    acceleration that is not known is empty. Insertions that are not reached have no rows.

    Raises:
        RobotError: the route was not planned for this robot.
    """
    check_joints(route, robot)
    units = ["m" if prismatic else "rad" for prismatic in (*robot.chain.prismatic, True)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    joints = [
        f"{name} {kind} [{unit.format(base)}]"
        for kind, unit in _KINDS
        for name, base in zip(route.joint_names, units, strict=True)
    ]
    writer.writerow([*_TIMES, *joints])
    for insertion in route.insertions:
        writer.writerows(_rows(insertion))
    return text.getvalue()


def _rows(insertion: InsertionRoute) -> list[list[str]]:
    rows, begin = [], 0.0
    for segment in insertion.segments:
        unknown = np.full_like(segment.positions, np.nan)
        values = np.concatenate(
            [
                segment.positions,
                unknown if segment.velocities is None else segment.velocities,
                unknown if segment.accelerations is None else segment.accelerations,
            ],
            axis=1,
        )
        for time, row in zip(segment.time_s.tolist(), values.tolist(), strict=True):
            cells = ["" if np.isnan(value) else repr(value) for value in row]
            rows.append([str(insertion.order), segment.phase.value, repr(begin + time), repr(time), *cells])
        begin += segment.duration_s
    return rows


def route_from_csv(text: str) -> TrajectoryTable:
    """Reads what ``route_to_csv`` wrote; the trajectories are equal to the last digit.

    Raises:
        RobotError: it is another table; the line is named.
    """
    rows = list(csv.reader(io.StringIO(text)))
    heading = rows[0] if rows else []
    joints = [name for name in heading[len(_TIMES) :] if " position [" in name]
    if tuple(heading[: len(_TIMES)]) != _TIMES or not joints or len(heading) != len(_TIMES) + 3 * len(joints):
        raise RobotError(f"line 1 of the trajectory must begin with {', '.join(_TIMES)} and name the joints")
    numbered = [(k, row) for k, row in enumerate(rows[1:], start=2) if row]
    phases: dict[int, tuple[Segment, ...]] = {}
    for (order, phase), group in groupby(numbered, key=lambda item: tuple(item[1][:2])):
        lines = list(group)
        values = np.array([_numbers(row, line, len(heading)) for line, row in lines])
        blocks = np.split(values[:, 1:], 3, axis=1)
        try:
            segment = Segment(Phase(phase), values[:, 0], blocks[0], _known(blocks[1]), _known(blocks[2]))
            phases[int(order)] = (*phases.get(int(order), ()), segment)
        except ValueError as error:
            raise RobotError(f"line {lines[0][0]} of the trajectory: {error}") from error
    return TrajectoryTable(tuple(name.split(" position [")[0] for name in joints), phases)


def _numbers(row: list[str], line: int, columns: int) -> list[float]:
    if len(row) != columns:
        raise RobotError(f"line {line} of the trajectory has {len(row)} values where {columns} belong")
    joints = (columns - len(_TIMES)) // 3
    needed = range(len(_TIMES) - 1, len(_TIMES) + joints)
    try:
        values = [float(cell) if cell or k in needed else np.nan for k, cell in enumerate(row) if k >= needed[0]]
    except ValueError as error:
        raise RobotError(f"line {line} of the trajectory: {error}") from error
    if not np.isfinite(values[: 1 + joints]).all():
        raise RobotError(f"line {line} of the trajectory: times and positions must be finite")
    return values


def _known(values: FloatArray) -> FloatArray | None:
    return None if np.isnan(values).all() else values
