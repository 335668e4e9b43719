"""The joint trajectory of a route for ROS 2: trajectory_msgs/JointTrajectory as bytes, and as a bag.

One message for each phase of each insertion, never one for all: nothing that plays a message may go on to advance
the needle by itself. Metres, radians, seconds.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.errors import RobotError
from needleplan.frames import FloatArray
from robots.model import RobotModel
from robots.route import RobotRoute, Segment
from robots.trajectory_text import check_joints

MESSAGE_TYPE = "trajectory_msgs/msg/JointTrajectory"
_NANOSECONDS = 1_000_000_000


def _typestore() -> Any:
    """The definitions of ROS 2's messages; RobotError where the package that holds them is not installed."""
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise RobotError(
            "messages for ROS 2 need the package rosbags: install it with pip install 'needleplan[ros]'"
        ) from error
    return get_typestore(Stores.ROS2_HUMBLE)


def joint_trajectory_cdr(segment: Segment, robot: RobotModel, stamp_ns: int = 0) -> bytes:
    """One phase as a ``trajectory_msgs/msg/JointTrajectory`` in little-endian CDR, as ROS 2 sends it.

    The header's frame is the robot's base link. Times are whole nanoseconds from the start of the phase; positions,
    speeds and accelerations are those of the samples.

    Args:
        segment: the phase.
        robot: the robot that it was planned for.
        stamp_ns: time stamp of the header.

    Raises:
        RobotError: the phase has another number of joints, two samples stand at the same nanosecond, or the package
            rosbags is missing.
    """
    store = _typestore()
    names = [*robot.joint_names, robot.driver_joint_name]
    if segment.positions.shape[1] != len(names):
        raise RobotError(
            f"the phase {segment.phase} has {segment.positions.shape[1]} joints and robot {robot.name} {len(names)}"
        )
    times = np.round(segment.time_s * _NANOSECONDS).astype(np.int64)
    if (np.diff(times) <= 0).any() or times[0] < 0:
        raise RobotError(f"the times of the phase {segment.phase} must rise from 0 by a nanosecond at least")
    message, point = store.types[MESSAGE_TYPE], store.types["trajectory_msgs/msg/JointTrajectoryPoint"]
    time, duration = store.types["builtin_interfaces/msg/Time"], store.types["builtin_interfaces/msg/Duration"]
    header = store.types["std_msgs/msg/Header"](time(*divmod(stamp_ns, _NANOSECONDS)), robot.base_link)
    empty = np.zeros(0)

    def row(values: FloatArray | None, k: int) -> FloatArray:
        return empty if values is None else np.array(values[k])

    points = [
        point(
            np.array(segment.positions[k]), row(segment.velocities, k), row(segment.accelerations, k), empty,
            duration(*divmod(int(times[k]), _NANOSECONDS)),
        )
        for k in range(len(times))
    ]  # fmt: skip
    return bytes(store.serialize_cdr(message(header, names, points), MESSAGE_TYPE))


def write_trajectory_bag(route: RobotRoute, robot: RobotModel, folder: Path, start_ns: int = 0) -> None:
    """Writes all reached insertions as a rosbag2 (SQLite).

    Each phase is one message on a topic of its own, ``/insertion_1/approach`` and so on, stamped in the order in
    which the phases follow each other without any waiting.

    Args:
        route: the route.
        robot: the robot that it was planned for.
        folder: the bag, a folder that does not exist yet; it appears whole or not at all.
        start_ns: time stamp of the first message.

    Raises:
        RobotError: the folder exists, its parent does not, nothing is reached, the route was planned for another
            robot, or the package rosbags is missing.
    """
    check_joints(route, robot)
    store = _typestore()
    from rosbags.rosbag2 import Writer

    if folder.exists():
        raise RobotError(f"{folder} exists already; a bag is written to a new folder")
    if not folder.parent.is_dir():
        raise RobotError(f"there is no folder {folder.parent} to write the bag to")
    if not route.reached.any():
        raise RobotError("no insertion of the route is reached, so there is no trajectory to write")
    # Written beside its place and moved there when it is whole.
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-bag-", dir=folder.parent))
    try:
        bag = unfinished / folder.name
        with Writer(bag, version=8) as writer:
            stamp = start_ns
            for insertion in route.insertions:
                for segment in insertion.segments:
                    topic = f"/insertion_{insertion.order}/{segment.phase.value}"
                    connection = writer.add_connection(topic, MESSAGE_TYPE, typestore=store)
                    writer.write(connection, stamp, joint_trajectory_cdr(segment, robot, stamp))
                    stamp += round(segment.duration_s * _NANOSECONDS)
        bag.rename(folder)
    finally:
        shutil.rmtree(unfinished)
