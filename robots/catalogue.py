"""The robots that come with the project."""

from functools import lru_cache
from pathlib import Path

from needleplan.errors import RobotError
from robots.model import RobotModel
from robots.urdf_arm import UrdfArm

DESCRIPTIONS = Path(__file__).parent / "descriptions"

#: Arm that is used where none is named.
DEFAULT_ROBOT = "needle_arm7"


def list_robots() -> tuple[str, ...]:
    """Names of all robots, sorted."""
    return tuple(sorted(path.stem for path in DESCRIPTIONS.glob("*.toml")))


@lru_cache(maxsize=8)
def load_robot(name: str = DEFAULT_ROBOT) -> RobotModel:
    """The robot of that name; raises RobotError with the names there are."""
    if name not in list_robots():
        raise RobotError(f"no robot is named {name!r}: there are {', '.join(list_robots())}")
    return UrdfArm.from_toml(DESCRIPTIONS / f"{name}.toml")
