"""The companion TOML of a URDF: what the URDF does not say about an arm. Metres, radians, seconds."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, read_only


@dataclass(frozen=True, slots=True, eq=False)
class ArmSettings:
    """What the URDF does not say about an arm; the companion TOML.

    Attributes:
        name: name of the robot.
        summary: one sentence about it.
        urdf: the URDF.
        base_link: link that stands on the floor or rail.
        guide_link: link whose origin is the guide's exit and whose +z is the insertion axis.
        driver_joint: prismatic joint that advances the needle.
        home_rad: (n,) joint positions at rest.
        acceleration_limits_rad_s2: (n,) greatest accelerations.
        driver_acceleration_limit_m_s2: greatest acceleration of the driver.
        never_touch: pairs of links that the shape of the arm and its joint limits keep apart.
    """

    name: str
    summary: str
    urdf: Path
    base_link: str
    guide_link: str
    driver_joint: str
    home_rad: FloatArray
    acceleration_limits_rad_s2: FloatArray
    driver_acceleration_limit_m_s2: float
    never_touch: tuple[tuple[str, str], ...] = ()


_TEXT_KEYS = ("name", "summary", "urdf", "base_link", "guide_link", "driver_joint")
_LIST_KEYS = ("home_rad", "acceleration_limits_rad_s2")
_NUMBER_KEYS = ("driver_acceleration_limit_m_s2",)


def read_arm_settings(path: Path) -> ArmSettings:
    """Reads the companion TOML of a URDF; raises RobotError that names the key that is wrong."""
    if not path.is_file():
        raise RobotError(f"there is no robot description {path}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RobotError(f"{path}: this is not valid TOML ({error})") from error
    if table.get("schema") != "needleplan.robot" or table.get("version") != 1:
        raise RobotError(f'{path}: it must say schema = "needleplan.robot" and version = 1')
    allowed = ("schema", "version", *_TEXT_KEYS, *_LIST_KEYS, *_NUMBER_KEYS, "never_touch")
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise RobotError(f"{path}: the key {unknown[0]!r} is unknown; the keys are {', '.join(allowed)}")
    missing = [key for key in allowed if key not in table]
    if missing:
        raise RobotError(f"{path}: the key {missing[0]!r} is missing")
    for key in _TEXT_KEYS:
        if not isinstance(table[key], str) or not table[key]:
            raise RobotError(f"{path}: {key} must be a text")
    lists = {}
    for key in _LIST_KEYS:
        if not isinstance(table[key], list) or not all(_is_number(value) for value in table[key]):
            raise RobotError(f"{path}: {key} must be a list of finite numbers")
        lists[key] = read_only(table[key])
    driver = table["driver_acceleration_limit_m_s2"]
    if not _is_number(driver) or driver <= 0 or (lists["acceleration_limits_rad_s2"] <= 0).any():
        raise RobotError(f"{path}: acceleration limits must be numbers greater than zero")
    pairs = table["never_touch"]
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(link, str) for link in pair) for pair in pairs
    ):
        raise RobotError(f"{path}: never_touch must be a list of pairs of link names")
    urdf = (path.parent / table["urdf"]).resolve()
    if not urdf.is_relative_to(path.parent.resolve()):
        raise RobotError(f"{path}: urdf must name a file beside it, not {table['urdf']!r}")
    texts = {key: table[key] for key in _TEXT_KEYS if key != "urdf"}
    return ArmSettings(
        urdf=urdf,
        driver_acceleration_limit_m_s2=float(driver),
        never_touch=tuple((first, second) for first, second in pairs),
        home_rad=lists["home_rad"],
        acceleration_limits_rad_s2=lists["acceleration_limits_rad_s2"],
        **texts,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
