"""The companion TOML of a URDF: what the URDF does not say about a robot. Metres, radians, seconds."""

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, read_only
from robots.mesh_file import lies_beside

#: A TOML larger than this describes no robot.
MAX_FILE_BYTES = 200_000
#: Files and folders are called after the robot, so its name must be a plain file name on every system.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
#: Least and greatest plausible values with their units. From the slowest positioner to the fastest arm there are
#: decades of room on both sides; what lies outside was written in degrees or millimetres, or is a slip.
ACCELERATIONS = (0.01, 1000.0, "rad/s² or m/s²")
JERKS = (0.1, 1e5, "rad/s³ or m/s³")
JOINT_STDS = (0.0, 0.1, "rad or m")
_BOUNDS = {
    "acceleration_limits": ACCELERATIONS,
    "jerk_limits": JERKS,
    "driver_acceleration_limit_m_s2": (*ACCELERATIONS[:2], "m/s²"),
    "driver_jerk_limit_m_s3": (*JERKS[:2], "m/s³"),
    "joint_std": JOINT_STDS,
    "guide_lateral_std_m": (0.0, 0.02, "m"),
    "guide_angle_std_rad": (0.0, 0.2, "rad"),
    "driver_depth_std_m": (0.0, 0.05, "m"),
}


class Mount(StrEnum):
    """What the base stands on, which says where it may be placed."""

    FLOOR = "floor"  #: on a pedestal or cart beside the table
    TABLE = "table"  #: on the rail along the edge of the table's top


@dataclass(frozen=True, slots=True, eq=False)
class PositioningError:
    """How exactly a robot lays its needle; all errors are independent, normal and of mean 0.

    Attributes:
        joint_std: (n,) standard deviation of each joint's position against what was commanded, rad or m.
        guide_lateral_std_m: play of the needle across the guide at its exit, each of two components.
        guide_angle_std_rad: tilt of the needle in the guide, each of two components.
        driver_depth_std_m: error of the driver along the needle.
        source: where the figures are from, or why they are assumed.
    """

    joint_std: FloatArray
    guide_lateral_std_m: float
    guide_angle_std_rad: float
    driver_depth_std_m: float
    source: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "joint_std", read_only(self.joint_std))


@dataclass(frozen=True, slots=True, eq=False)
class ArmSettings:
    """What the URDF does not say about a robot; the companion TOML.

    Values for each joint are in rad for revolute and in m for prismatic joints.

    Attributes:
        name: name of the robot.
        summary: one sentence about it.
        urdf: the URDF.
        base_link: link that stands on the floor, rail or table.
        guide_link: link whose origin is the guide's exit and whose +z is the insertion axis.
        driver_joint: prismatic joint that advances the needle.
        mount: what the base stands on.
        home: (n,) joint positions at rest.
        acceleration_limits: (n,) greatest accelerations.
        jerk_limits: (n,) greatest jerks.
        driver_acceleration_limit_m_s2: greatest acceleration of the driver.
        driver_jerk_limit_m_s3: greatest jerk of the driver.
        error: how exactly it lays its needle.
        never_touch: pairs of links that the shape of the robot and its joint limits keep apart.
    """

    name: str
    summary: str
    urdf: Path
    base_link: str
    guide_link: str
    driver_joint: str
    mount: Mount
    home: FloatArray
    acceleration_limits: FloatArray
    jerk_limits: FloatArray
    driver_acceleration_limit_m_s2: float
    driver_jerk_limit_m_s3: float
    error: PositioningError
    never_touch: tuple[tuple[str, str], ...] = ()


_TEXT_KEYS = ("name", "summary", "urdf", "base_link", "guide_link", "driver_joint")
_LIST_KEYS = ("home", "acceleration_limits", "jerk_limits")
_NUMBER_KEYS = ("driver_acceleration_limit_m_s2", "driver_jerk_limit_m_s3")
_ERROR_NUMBERS = ("guide_lateral_std_m", "guide_angle_std_rad", "driver_depth_std_m")
_ERROR_KEYS = ("joint_std", *_ERROR_NUMBERS, "source")
_KEYS = ("schema", "version", *_TEXT_KEYS, "mount", *_LIST_KEYS, *_NUMBER_KEYS, "error", "never_touch")


def read_arm_settings(path: Path) -> ArmSettings:
    """Reads the companion TOML of a URDF; raises RobotError that names the key that is wrong."""
    if not path.is_file():
        raise RobotError(f"there is no robot description {path}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise RobotError(f"{path}: the description of a robot may hold at most {MAX_FILE_BYTES} bytes")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RobotError(f"{path}: this is not valid TOML ({error})") from error
    except ValueError as error:  # Python converts no integer of more than some thousand digits
        raise RobotError(f"{path}: an integer in it has more digits than can be read") from error
    if table.get("schema") != "needleplan.robot" or table.get("version") != 2:
        raise RobotError(f'{path}: it must say schema = "needleplan.robot" and version = 2')
    _check_keys(table, _KEYS, str(path))
    texts = {key: _text(table, key, str(path)) for key in _TEXT_KEYS if key != "urdf"}
    if not NAME.fullmatch(texts["name"]):
        raise RobotError(
            f"{path}: name = {texts['name'][:80]!r} must be a plain file name: at most 64 letters a to z, "
            "digits, _, - and ., of which the last two do not begin it"
        )
    if not isinstance(table["mount"], str) or table["mount"] not in set(Mount):
        raise RobotError(f"{path}: mount must be one of {', '.join(Mount)}")
    lists = {key: _numbers(table, key, str(path)) for key in _LIST_KEYS}
    numbers = {key: _number(table, key, str(path)) for key in _NUMBER_KEYS}
    for key in ("acceleration_limits", "jerk_limits"):
        _check_plausible(key, lists[key], str(path))
    for key, value in numbers.items():
        _check_plausible(key, value, str(path))
    pairs = table["never_touch"]
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(link, str) for link in pair) for pair in pairs
    ):
        raise RobotError(f"{path}: never_touch must be a list of pairs of link names")
    urdf = (path.parent / _text(table, "urdf", str(path))).resolve()
    if not lies_beside(table["urdf"]) or not urdf.is_relative_to(path.parent.resolve()):
        raise RobotError(f"{path}: urdf must name a file beside it, not {table['urdf']!r}")
    return ArmSettings(
        name=texts["name"],
        summary=texts["summary"],
        urdf=urdf,
        base_link=texts["base_link"],
        guide_link=texts["guide_link"],
        driver_joint=texts["driver_joint"],
        mount=Mount(table["mount"]),
        home=lists["home"],
        acceleration_limits=lists["acceleration_limits"],
        jerk_limits=lists["jerk_limits"],
        driver_acceleration_limit_m_s2=numbers["driver_acceleration_limit_m_s2"],
        driver_jerk_limit_m_s3=numbers["driver_jerk_limit_m_s3"],
        error=_error(table["error"], f"{path}: [error]"),
        never_touch=tuple((first, second) for first, second in pairs),
    )


def _error(table: object, where: str) -> PositioningError:
    if not isinstance(table, dict):
        raise RobotError(f"{where} must be a table with {', '.join(_ERROR_KEYS)}")
    _check_keys(table, _ERROR_KEYS, where)
    joints = _numbers(table, "joint_std", where)
    numbers = {key: _number(table, key, where) for key in _ERROR_NUMBERS}
    _check_plausible("joint_std", joints, where)
    for key, value in numbers.items():
        _check_plausible(key, value, where)
    return PositioningError(joint_std=joints, source=_text(table, "source", where), **numbers)


def _check_plausible(key: str, values: FloatArray | float, where: str) -> None:
    least, greatest, unit = _BOUNDS[key]
    wrong = [value for value in np.atleast_1d(values).tolist() if not least <= value <= greatest]
    if wrong:
        raise RobotError(
            f"{where}: {key} holds {wrong[0]:g} where {least:g} to {greatest:g} {unit} are plausible; it looks "
            "like degrees, millimetres or a slip"
        )


def _check_keys(table: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise RobotError(f"{where}: the key {unknown[0]!r} is unknown; the keys are {', '.join(allowed)}")
    missing = [key for key in allowed if key not in table]
    if missing:
        raise RobotError(f"{where}: the key {missing[0]!r} is missing")


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not value or not value.isprintable():
        raise RobotError(f"{where}: {key} must be a text of one line")
    return value


def _numbers(table: Mapping[str, Any], key: str, where: str) -> FloatArray:
    if not isinstance(table[key], list) or not all(_is_number(value) for value in table[key]):
        raise RobotError(f"{where}: {key} must be a list of finite numbers")
    return read_only(table[key])


def _number(table: Mapping[str, Any], key: str, where: str) -> float:
    if not _is_number(table[key]):
        raise RobotError(f"{where}: {key} must be a finite number")
    return float(table[key])


def _is_number(value: object) -> bool:
    # An integer beyond the range of a double is no number here either.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
