"""Body IMAGE: a volume, or a part of one, in its place."""

import math
import struct
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import NetworkError
from needleplan.frames import FloatArray, read_only
from needleplan.io.frame import FileFrame
from needleplan.io.openigtlink.array_bodies import SCALAR_TYPES, scalar_number
from needleplan.io.openigtlink.body import MessageBody

IMAGE_HEADER_BYTES = 72
#: Elements of an image are refused beyond this, whatever their size.
MAXIMUM_VALUES = 1 << 28

_HEADER = struct.Struct(">HBBBB3H12f3H3H")
_BIG, _LITTLE = 1, 2
_FRAMES = {1: FileFrame.RAS, 2: FileFrame.LPS}

Size = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Image(MessageBody):
    """IMAGE: voxels with their place.

    Attributes:
        values: (k, j, i) or (k, j, i, components), the first index axis last; whole numbers of 8 to 32 bits,
            float32 or float64; read-only. Only the part that is sent.
        voxel_to_world: (4, 4) from index (i, j, k) of the whole image, centres at whole numbers, to mm, read-only.
        frame: axes of the world: RAS or LPS.
        size: of the whole image along i, j, k; None where ``values`` is all of it.
        offset: index (i, j, k) of the whole image where ``values`` begins.
    """

    values: NDArray[Any]
    voxel_to_world: FloatArray
    frame: FileFrame = FileFrame.RAS
    size: Size | None = None
    offset: Size = (0, 0, 0)

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values)
        if values.flags.writeable:
            values = np.array(values)
            values.setflags(write=False)
        scalar_number(values.dtype, SCALAR_TYPES, "an IMAGE")
        components = values.shape[3] if values.ndim == 4 else 1
        if values.ndim not in (3, 4) or min(values.shape, default=0) < 1 or components > 255:
            raise NetworkError(f"an IMAGE has three axes and up to 255 components, none empty, not {values.shape}")
        part: Size = (values.shape[2], values.shape[1], values.shape[0])
        size = part if self.size is None else self.size
        _check_part(size, self.offset, part)
        matrix = read_only(self.voxel_to_world)
        if matrix.shape != (4, 4) or matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
            raise NetworkError("the matrix of an IMAGE must be 4x4 and end in the row 0 0 0 1")
        if self.frame not in _FRAMES.values():
            raise NetworkError(f"an IMAGE is in RAS or LPS, not in {self.frame}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "voxel_to_world", matrix)
        object.__setattr__(self, "size", size)

    @property
    def type_name(self) -> str:
        return "IMAGE"

    @property
    def fault(self) -> str | None:
        """Why the image has no place ("not finite", "flat"); None where it has one."""
        axes = self.voxel_to_world[:3, :3]
        if not np.isfinite(self.voxel_to_world).all():
            return "not finite"
        lengths = np.linalg.norm(axes, axis=0)
        return "flat" if lengths.min() <= 0 or abs(np.linalg.det(axes / lengths)) < 1e-3 else None

    def encode(self) -> bytes:
        size = self.size or (0, 0, 0)
        values, components = self.values, self.values.shape[3] if self.values.ndim == 4 else 1
        with np.errstate(over="ignore", invalid="ignore"):
            place = self.voxel_to_world[:3, :4].copy()
            place[:, 3] = place[:, :3] @ _middle(size) + place[:, 3]
            numbers = place.T.astype(np.float32).reshape(-1).tolist()
        head = _HEADER.pack(
            1, components, scalar_number(values.dtype, SCALAR_TYPES, "an IMAGE"), _LITTLE,
            next(number for number, frame in _FRAMES.items() if frame is self.frame),
            *size, *numbers, *self.offset, values.shape[2], values.shape[1], values.shape[0],
        )  # fmt: skip
        return head + values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        if len(content) < IMAGE_HEADER_BYTES:
            raise NetworkError(
                f"the body of IMAGE must have at least {IMAGE_HEADER_BYTES} bytes, but has {len(content)}"
            )
        version, components, scalar, endian, frame, *rest = _HEADER.unpack(content[:IMAGE_HEADER_BYTES])
        # The reference library writes the header's own version into this field.
        if version not in (1, 2) or components < 1 or scalar not in SCALAR_TYPES or frame not in _FRAMES:
            raise NetworkError(
                f"an IMAGE of format {version}, {components} components, scalar type {scalar} and frame {frame} is "
                "not known"
            )
        if endian not in (_BIG, _LITTLE):
            raise NetworkError(f"an IMAGE has byte order {endian}, but must have 1 (big) or 2 (little)")
        size, offset, part = tuple(rest[:3]), tuple(rest[15:18]), tuple(rest[18:21])
        _check_part(size, offset, part)
        dtype = np.dtype(SCALAR_TYPES[scalar]).newbyteorder("<" if endian == _LITTLE else ">")
        wanted = math.prod(part) * components * dtype.itemsize
        if wanted != len(content) - IMAGE_HEADER_BYTES:
            raise NetworkError(
                f"an IMAGE of {part} voxels needs {wanted} bytes, but has {len(content) - IMAGE_HEADER_BYTES}"
            )
        matrix = np.eye(4)
        matrix[:3] = np.reshape(rest[3:15], (4, 3)).T
        with np.errstate(invalid="ignore"):
            matrix[:3, 3] -= matrix[:3, :3] @ _middle(size)
        shape = (*part[::-1], components) if components > 1 else part[::-1]
        values = np.frombuffer(content, dtype, offset=IMAGE_HEADER_BYTES).astype(dtype.newbyteorder("="))
        values.setflags(write=False)
        return cls(values.reshape(shape), matrix, _FRAMES[frame], size, offset)


def _middle(size: Size) -> FloatArray:
    # The wire tells the place of the image's centre, halfway between its first and last voxel.
    return (np.asarray(size, dtype=np.float64) - 1.0) / 2.0


def _check_part(size: Size, offset: Size, part: Size) -> None:
    if min(part) < 1 or max(size) > 0xFFFF or min(offset) < 0:
        raise NetworkError(f"an IMAGE of {size} voxels with a part of {part} at {offset} cannot be sent")
    if any(start + count > whole for start, count, whole in zip(offset, part, size, strict=True)):
        raise NetworkError(f"the part of {part} voxels at {offset} lies beyond an IMAGE of {size}")
    if math.prod(part) > MAXIMUM_VALUES:
        raise NetworkError(f"an IMAGE of {part} voxels is larger than the limit of {MAXIMUM_VALUES}")
