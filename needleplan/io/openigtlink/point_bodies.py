"""Bodies of named places: POINT and TRAJ."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np

from needleplan.errors import NetworkError
from needleplan.io.openigtlink.body import MessageBody
from needleplan.io.openigtlink.fields import pack_text, unpack_text
from needleplan.plan import Vector3

POINT_BYTES, TRAJECTORY_BYTES = 136, 150
MAXIMUM_ELEMENTS = 100_000

_POINT = struct.Struct(">64s32s4B3ff20s")
_TRAJECTORY = struct.Struct(">64s32sBB4B3f3ff20s")

Colour = tuple[int, int, int, int]


def _check_colour(colour: Colour, what: str) -> None:
    if len(colour) != 4 or not all(0 <= value <= 255 for value in colour):
        raise NetworkError(f"the colour of {what} must be four numbers from 0 to 255, not {colour}")


def _count(content: memoryview, size: int, what: str) -> int:
    count, rest = divmod(len(content), size)
    if rest or count > MAXIMUM_ELEMENTS:
        raise NetworkError(
            f"{what} has {size} bytes an element and at most {MAXIMUM_ELEMENTS} of them, so a body cannot have "
            f"{len(content)}"
        )
    return count


def _pack(form: struct.Struct, what: str, *values: object) -> bytes:
    try:
        return form.pack(*values)
    except (OverflowError, struct.error) as error:
        raise NetworkError(f"{what} cannot be sent ({error})") from None


@dataclass(frozen=True, slots=True)
class WirePoint:
    """One element of POINT.

    Attributes:
        name: at most 64 bytes.
        position_mm: place; not checked to be finite.
        group: at most 32 bytes, "Fiducial" for example.
        colour: red, green, blue, opacity, 0 to 255.
        diameter_mm: 0 where it has none.
        owner: device name of the image it belongs to.
    """

    name: str
    position_mm: Vector3
    group: str = ""
    colour: Colour = (255, 255, 0, 255)
    diameter_mm: float = 0.0
    owner: str = ""

    def __post_init__(self) -> None:
        _check_colour(self.colour, "a point")


@dataclass(frozen=True, slots=True)
class Points(MessageBody):
    """POINT: named places.

    Attributes:
        points: at most ``MAXIMUM_ELEMENTS``.
    """

    points: tuple[WirePoint, ...]

    @property
    def type_name(self) -> str:
        return "POINT"

    def encode(self) -> bytes:
        if len(self.points) > MAXIMUM_ELEMENTS:
            raise NetworkError(f"POINT can carry {MAXIMUM_ELEMENTS} points, not {len(self.points)}")
        return b"".join(
            _pack(
                _POINT,
                "a point",
                pack_text(point.name, 64, "the name of a point"),
                pack_text(point.group, 32, "the group of a point"),
                *point.colour,
                *point.position_mm,
                point.diameter_mm,
                pack_text(point.owner, 20, "the owner of a point"),
            )
            for point in self.points
        )

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        _count(content, POINT_BYTES, "POINT")
        found = _POINT.iter_unpack(content)
        return cls(
            tuple(
                WirePoint(
                    unpack_text(name, "the name of a point"),
                    (x, y, z),
                    unpack_text(group, "the group of a point"),
                    (red, green, blue, opacity),
                    diameter_mm,
                    unpack_text(owner, "the owner of a point"),
                )
                for name, group, red, green, blue, opacity, x, y, z, diameter_mm, owner in found
            )
        )


class TrajectoryKind(IntEnum):
    """Which ends of a trajectory are given."""

    ENTRY = 1
    TARGET = 2
    ENTRY_AND_TARGET = 3


@dataclass(frozen=True, slots=True)
class WireTrajectory:
    """One element of TRAJ.

    Attributes:
        name: at most 64 bytes.
        entry_mm, target_mm: the ends; the one that ``kind`` leaves out means nothing. Not checked to be finite.
        kind: which ends are given.
        group: at most 32 bytes.
        colour: red, green, blue, opacity, 0 to 255.
        diameter_mm: 0 where it has none.
        owner: device name of the image it belongs to.
    """

    name: str
    entry_mm: Vector3
    target_mm: Vector3
    kind: TrajectoryKind = TrajectoryKind.ENTRY_AND_TARGET
    group: str = "Trajectory"
    colour: Colour = (255, 255, 0, 255)
    diameter_mm: float = 0.0
    owner: str = ""

    def __post_init__(self) -> None:
        _check_colour(self.colour, "a trajectory")

    @property
    def fault(self) -> str | None:
        """Why this is no line from entry to target ("one end only", "not finite", "no length"); or None."""
        if self.kind is not TrajectoryKind.ENTRY_AND_TARGET:
            return "one end only"
        along = np.subtract(self.target_mm, self.entry_mm)
        if not np.isfinite(along).all():
            return "not finite"
        return None if along.any() else "no length"


@dataclass(frozen=True, slots=True)
class Trajectories(MessageBody):
    """TRAJ: planned or measured needle paths.

    Attributes:
        trajectories: at most ``MAXIMUM_ELEMENTS``.
    """

    trajectories: tuple[WireTrajectory, ...]

    @property
    def type_name(self) -> str:
        return "TRAJ"

    def encode(self) -> bytes:
        if len(self.trajectories) > MAXIMUM_ELEMENTS:
            raise NetworkError(f"TRAJ can carry {MAXIMUM_ELEMENTS} trajectories, not {len(self.trajectories)}")
        return b"".join(
            _pack(
                _TRAJECTORY,
                "a trajectory",
                pack_text(path.name, 64, "the name of a trajectory"),
                pack_text(path.group, 32, "the group of a trajectory"),
                path.kind,
                0,
                *path.colour,
                *path.entry_mm,
                *path.target_mm,
                path.diameter_mm,
                pack_text(path.owner, 20, "the owner of a trajectory"),
            )
            for path in self.trajectories
        )

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        _count(content, TRAJECTORY_BYTES, "TRAJ")
        paths = []
        for name, group, kind, _, *rest, owner in _TRAJECTORY.iter_unpack(content):
            if kind not in TrajectoryKind.__members__.values():
                raise NetworkError(f"a trajectory is of kind {kind}, but only 1 to 3 are known")
            red, green, blue, opacity, *numbers = rest
            paths.append(
                WireTrajectory(
                    unpack_text(name, "the name of a trajectory"),
                    (numbers[0], numbers[1], numbers[2]),
                    (numbers[3], numbers[4], numbers[5]),
                    TrajectoryKind(kind),
                    unpack_text(group, "the group of a trajectory"),
                    (red, green, blue, opacity),
                    numbers[6],
                    unpack_text(owner, "the owner of a trajectory"),
                )
            )
        return cls(tuple(paths))
