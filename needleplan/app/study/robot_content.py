"""What a robot of one's own consists of, so that a study knows it by its content and not by where it lies."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from needleplan.app.study.study import Cell
from needleplan.errors import OptionError
from needleplan.io.bounded import read_whole
from robots.urdf_arm import UrdfArm


def robot_content(path: Path) -> str:
    """SHA-256 (hex) of a robot's TOML, of its URDF, and of the meshes of its links.

    Raises:
        NeedleplanError: the robot cannot be used.
    """
    robot = UrdfArm.from_toml(path)
    shapes = [shape for link in robot.tree.links.values() for shape in (*link.collision, *link.visual)]
    meshes = sorted({shape.mesh for shape in shapes if shape.mesh is not None})
    digest = hashlib.sha256()
    for part in (path, robot.urdf_path, *meshes):
        digest.update(hashlib.sha256(read_whole(part)).digest())
    return digest.hexdigest()


def with_robot_content(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, each that names a robot by its TOML with the hash of what that robot is now.

    Raises:
        NeedleplanError: a robot cannot be used.
        OptionError: two robots are the same under different paths.
    """
    texts = dict.fromkeys(cell.robot for cell in cells if cell.robot is not None and cell.robot.endswith(".toml"))
    hashes: dict[str | None, str] = {text: robot_content(Path(text)) for text in texts}
    known: dict[str, str] = {}
    for text in texts:
        other = known.setdefault(hashes[text], text)
        if other != text:
            raise OptionError(f"the robots {other} and {text} are the same in content: name one of both")
    return tuple(dataclasses.replace(cell, robot_hash=hashes.get(cell.robot, "")) for cell in cells)


def require_robot(cell: Cell) -> None:
    """Raise OptionError where the robot of a cell is no longer the one that the study was begun with."""
    if cell.robot_hash and cell.robot is not None and robot_content(Path(cell.robot)) != cell.robot_hash:
        raise OptionError(
            f"{cell.robot_label}: the robot's files are not those of the study; put them back, and compute the "
            "study into another folder"
        )
