"""Bodies that carry poses: TRANSFORM, POSITION (also called QTRANS) and TDATA."""

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import NetworkError
from needleplan.frames import FloatArray, read_only
from needleplan.io.openigtlink.body import MessageBody
from needleplan.io.openigtlink.fields import finite, need_bytes, pack_text, unpack_text

MATRIX_BYTES = 48
#: A rotation in float32 is orthonormal to about 1e-6; beyond this (on each element of RᵀR − I) it is none.
WIRE_ROTATION_TOLERANCE = 1e-3
TRACKING_BYTES, MAXIMUM_TOOLS = 70, 10_000

_TOOL = struct.Struct(">20sBB48s")


def pose_fault(matrix: NDArray[np.float32]) -> str | None:
    """Why a (4, 4) matrix is no pose, or None where it is one."""
    if not finite(matrix):
        return "not finite"
    rotation = matrix[:3, :3].astype(np.float64)
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > WIRE_ROTATION_TOLERANCE:
        return "scaled or sheared"
    return "mirrors" if np.linalg.det(rotation) < 0 else None


def _checked_matrix(values: ArrayLike) -> NDArray[np.float32]:
    if getattr(values, "dtype", None) == np.float32:
        matrix = read_only(values, np.float32)
    else:
        # What float32 cannot hold becomes infinite, and is then no pose.
        with np.errstate(over="ignore"):
            matrix = read_only(values, np.float32)
    if matrix.shape != (4, 4) or matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise NetworkError("the matrix of a message must be 4x4 and end in the row 0 0 0 1")
    return matrix


def pack_matrix(matrix: NDArray[np.float32]) -> bytes:
    """The upper three rows as twelve float32, column after column."""
    return matrix[:3].T.astype(">f4").tobytes()


def unpack_matrix(raw: bytes | memoryview) -> NDArray[np.float32]:
    """(4, 4) matrix of 48 bytes, read-only."""
    matrix = np.zeros((4, 4), dtype=np.float32)
    matrix[:3] = np.frombuffer(raw, dtype=">f4").reshape(4, 3).T
    matrix[3, 3] = 1.0
    matrix.setflags(write=False)
    return matrix


@dataclass(frozen=True, slots=True, eq=False)
class Transform(MessageBody):
    """TRANSFORM: pose of a tool, or transform between two frames.

    Attributes:
        matrix: (4, 4) float32, translation in mm, read-only; need not be a pose, see ``fault``.
    """

    matrix: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _checked_matrix(self.matrix))

    @property
    def type_name(self) -> str:
        return "TRANSFORM"

    @property
    def fault(self) -> str | None:
        """Why the matrix is no pose ("not finite", "scaled or sheared", "mirrors"); None where it is one."""
        return pose_fault(self.matrix)

    def encode(self) -> bytes:
        return pack_matrix(self.matrix)

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        need_bytes(content, MATRIX_BYTES, "TRANSFORM")
        return cls(unpack_matrix(content))


@dataclass(frozen=True, slots=True, eq=False)
class Position(MessageBody):
    """POSITION or QTRANS: place of a tool, with or without its orientation.

    Attributes:
        position_mm: (3,) float32.
        quaternion: (4,) x y z w, float32; of three numbers the last is not sent but follows (w at least 0); None
            where only the place is sent.
        short: True where three numbers of the quaternion are sent.
        wire_type: "POSITION" or "QTRANS", two names of one layout.
    """

    position_mm: NDArray[np.float32]
    quaternion: NDArray[np.float32] | None = None
    short: bool = False
    wire_type: str = "POSITION"

    def __post_init__(self) -> None:
        if self.wire_type not in ("POSITION", "QTRANS"):
            raise NetworkError(f"a position is sent as POSITION or QTRANS, not as {self.wire_type!r}")
        object.__setattr__(self, "position_mm", read_only(self.position_mm, np.float32))
        if self.quaternion is not None:
            object.__setattr__(self, "quaternion", read_only(self.quaternion, np.float32))
        if self.position_mm.shape != (3,) or (self.quaternion is not None and self.quaternion.shape != (4,)):
            raise NetworkError("a position must have 3 numbers and its quaternion 4")
        if self.short and (self.quaternion is None or self.quaternion[3] < 0):
            raise NetworkError("only a quaternion whose last number is at least 0 can be sent as three")

    @property
    def type_name(self) -> str:
        return self.wire_type

    @property
    def matrix(self) -> NDArray[np.float32]:
        """(4, 4) float32, read-only; the quaternion is scaled to length 1; not a number where it cannot be."""
        matrix = np.eye(4, dtype=np.float32)
        matrix[:3, 3] = self.position_mm
        if self.quaternion is None:
            matrix[:3, :3] = np.nan
        else:
            matrix[:3, :3] = _rotation_of(self.quaternion.astype(np.float64))
        matrix.setflags(write=False)
        return matrix

    @property
    def fault(self) -> str | None:
        """Why this is no pose ("no orientation", "not finite", "quaternion not of length 1"), or None."""
        if self.quaternion is None:
            return "no orientation"
        if not (finite(self.position_mm) and finite(self.quaternion)):
            return "not finite"
        length = float(np.linalg.norm(self.quaternion.astype(np.float64)))
        return None if abs(length - 1.0) < WIRE_ROTATION_TOLERANCE else "quaternion not of length 1"

    def encode(self) -> bytes:
        sent = self.position_mm.astype(">f4").tobytes()
        if self.quaternion is None:
            return sent
        return sent + self.quaternion[: 3 if self.short else 4].astype(">f4").tobytes()

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        if len(content) not in (12, 24, 28):
            raise NetworkError(f"the body of {type_name} must have 12, 24 or 28 bytes, but has {len(content)}")
        values = np.frombuffer(content, dtype=">f4").astype(np.float32)
        if len(values) == 3:
            return cls(values, wire_type=type_name)
        if len(values) == 6:
            last = 1.0 - float((values[3:].astype(np.float64) ** 2).sum())
            values = np.append(values, np.float32(math.sqrt(last) if last >= 0.0 else math.nan))
            return cls(values[:3], values[3:], True, type_name)
        return cls(values[:3], values[3:], wire_type=type_name)


def _rotation_of(quaternion: FloatArray) -> FloatArray:
    length = float(np.linalg.norm(quaternion))
    if not (math.isfinite(length) and length > 0.0):
        return np.full((3, 3), np.nan)
    x, y, z, w = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class ToolKind(IntEnum):
    """What a tracker knows of a tool."""

    TRACKER = 1
    POSE = 2  #: place and orientation
    TIP = 3  #: the place alone
    LINE = 4  #: tip and handle, the turn about the axis unknown


@dataclass(frozen=True, slots=True, eq=False)
class TrackedTool:
    """One tool of TDATA.

    Attributes:
        name: at most 20 bytes.
        matrix: (4, 4) float32, translation in mm, read-only; need not be a pose, see ``fault``.
        kind: what is known.
    """

    name: str
    matrix: NDArray[np.float32]
    kind: ToolKind = ToolKind.POSE

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _checked_matrix(self.matrix))

    @property
    def fault(self) -> str | None:
        """Why the matrix is no pose, or None; a tool of which only the tip is known has none."""
        return "no orientation" if self.kind is ToolKind.TIP else pose_fault(self.matrix)


@dataclass(frozen=True, slots=True, eq=False)
class TrackingData(MessageBody):
    """TDATA: poses of several tools at one moment.

    Attributes:
        tools: at most ``MAXIMUM_TOOLS``.
    """

    tools: tuple[TrackedTool, ...]

    def __post_init__(self) -> None:
        if len(self.tools) > MAXIMUM_TOOLS:
            raise NetworkError(f"TDATA can carry {MAXIMUM_TOOLS} tools, not {len(self.tools)}")

    @property
    def type_name(self) -> str:
        return "TDATA"

    def encode(self) -> bytes:
        return b"".join(
            _TOOL.pack(pack_text(tool.name, 20, "the name of a tool"), tool.kind, 0, pack_matrix(tool.matrix))
            for tool in self.tools
        )

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        if len(content) % TRACKING_BYTES:
            raise NetworkError(f"TDATA has {TRACKING_BYTES} bytes a tool, so a body cannot have {len(content)}")
        if len(content) > TRACKING_BYTES * MAXIMUM_TOOLS:
            raise NetworkError(f"TDATA can carry {MAXIMUM_TOOLS} tools, but came with {len(content)} bytes")
        tools = []
        for name, kind, _, matrix in _TOOL.iter_unpack(content):
            if kind not in ToolKind.__members__.values():
                raise NetworkError(f"a tool of TDATA is of kind {kind}, but only 1 to 4 are known")
            text = unpack_text(name, "the name of a tool")
            tools.append(TrackedTool(text, unpack_matrix(matrix), ToolKind(kind)))
        return cls(tuple(tools))
