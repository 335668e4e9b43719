"""The robots that come with the project, and those of its users."""

from functools import lru_cache
from pathlib import Path

from needleplan.errors import RobotError
from robots.model import RobotModel
from robots.urdf_arm import UrdfArm

DESCRIPTIONS = Path(__file__).parent / "descriptions"

#: Arm that is used where none is named.
DEFAULT_ROBOT = "needle_arm7"


def list_robots() -> tuple[str, ...]:
    """Names of all robots that come with the project, sorted."""
    return tuple(sorted(path.stem for path in DESCRIPTIONS.glob("*.toml")))


def load_robot(name_or_path: str | Path = DEFAULT_ROBOT) -> RobotModel:
    """A robot.

    Args:
        name_or_path: a name in ``list_robots``, or the path of a companion TOML (it ends in ``.toml``) beside which
            a URDF and its meshes lie.

    Returns:
        The robot, checked: its files fit together and hold nothing that is dangerous to open.

    Raises:
        RobotError: there is no robot of that name or no such file, or what is wrong in the files.
    """
    if str(name_or_path).endswith(".toml"):
        return UrdfArm.from_toml(Path(name_or_path))
    if str(name_or_path) not in list_robots():
        raise RobotError(
            f"no robot is named {str(name_or_path)!r}: there are {', '.join(list_robots())}; a robot of your own "
            "is given by the path of its TOML, which ends in .toml"
        )
    return _from_catalogue(str(name_or_path))


@lru_cache(maxsize=8)
def _from_catalogue(name: str) -> RobotModel:
    return UrdfArm.from_toml(DESCRIPTIONS / f"{name}.toml")
