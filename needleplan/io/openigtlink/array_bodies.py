"""Bodies of numbers: SENSOR and NDARRAY."""

import math
import struct
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import NetworkError
from needleplan.frames import FloatArray, read_only
from needleplan.io.openigtlink.body import MessageBody
from needleplan.io.openigtlink.fields import read_array

#: Numbers of the protocol's scalar types, and numpy's names for them in the byte order of the wire.
SCALAR_TYPES = {2: ">i1", 3: ">u1", 4: ">i2", 5: ">u2", 6: ">i4", 7: ">u4", 10: ">f4", 11: ">f8"}
_COMPLEX = 13
_ARRAY_TYPES = SCALAR_TYPES | {_COMPLEX: ">c16"}
MAXIMUM_AXES = 32

_SENSOR = struct.Struct(">BBQ")


def scalar_number(dtype: np.dtype[Any], table: dict[int, str], what: str) -> int:
    """Number of the type of an array's elements; raises NetworkError where the wire has none for it."""
    for number, name in table.items():
        if np.dtype(name) == dtype.newbyteorder(">"):
            return number
    raise NetworkError(
        f"{what} of {dtype} cannot be sent; use one of {', '.join(np.dtype(name).name for name in table.values())}"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Sensor(MessageBody):
    """SENSOR: up to 255 readings of one moment.

    Attributes:
        values: (n,) float64, read-only; not checked to be finite.
        unit: the protocol's code of the unit; 0 where there is none, see ``MILLIMETRE_UNIT``.
        status: of the sensor, 0 to 255, of its own meaning.
    """

    values: FloatArray
    unit: int = 0
    status: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", read_only(self.values))
        if self.values.ndim != 1 or len(self.values) > 255:
            raise NetworkError(f"a SENSOR carries up to 255 readings in a row, not {self.values.shape}")
        if not (0 <= self.unit < 1 << 64 and 0 <= self.status <= 255):
            raise NetworkError(f"a SENSOR cannot carry unit {self.unit} and status {self.status}")

    @property
    def type_name(self) -> str:
        return "SENSOR"

    def encode(self) -> bytes:
        return _SENSOR.pack(len(self.values), self.status, self.unit) + self.values.astype(">f8").tobytes()

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        if len(content) < _SENSOR.size or len(content) != _SENSOR.size + 8 * content[0]:
            raise NetworkError(f"the body of SENSOR cannot have {len(content)} bytes with its number of readings")
        count, status, unit = _SENSOR.unpack(content[: _SENSOR.size])
        return cls(read_array(content, _SENSOR.size, count, ">f8"), unit, status)


#: Unit of a SENSOR in millimetres: prefix milli (0xB) in the topmost 4 bits, then metre (0x01) to the power of 1,
#: 6 bits and 4 (the protocol's page "Unit").
MILLIMETRE_UNIT = (0xB << 60) | (0x01 << 54) | (1 << 50)


@dataclass(frozen=True, slots=True, eq=False)
class NumberArray(MessageBody):
    """NDARRAY: numbers along up to 32 axes.

    Attributes:
        values: array of whole numbers of 8 to 32 bits, float32, float64 or complex128, in C order, read-only.
    """

    values: NDArray[Any]

    def __post_init__(self) -> None:
        values = np.array(self.values, order="C")
        scalar_number(values.dtype, _ARRAY_TYPES, "an NDARRAY")
        if not 1 <= values.ndim <= MAXIMUM_AXES or max(values.shape) > 0xFFFF:
            raise NetworkError(f"an NDARRAY has 1 to {MAXIMUM_AXES} axes of up to 65535, not {values.shape}")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @property
    def type_name(self) -> str:
        return "NDARRAY"

    def encode(self) -> bytes:
        number = scalar_number(self.values.dtype, _ARRAY_TYPES, "an NDARRAY")
        head = struct.pack(f">BB{self.values.ndim}H", number, self.values.ndim, *self.values.shape)
        return head + self.values.astype(_ARRAY_TYPES[number]).tobytes()

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        if len(content) < 2 or not 1 <= content[1] <= MAXIMUM_AXES or len(content) < 2 + 2 * content[1]:
            raise NetworkError(f"an NDARRAY of {len(content)} bytes is too short, or its axes are too many")
        number, axes = content[0], content[1]
        if number not in _ARRAY_TYPES:
            raise NetworkError(f"an NDARRAY has elements of type {number}, which is not known")
        shape = struct.unpack(f">{axes}H", content[2 : 2 + 2 * axes])
        start, count = 2 + 2 * axes, math.prod(shape)
        wanted = count * np.dtype(_ARRAY_TYPES[number]).itemsize
        if wanted != len(content) - start:
            raise NetworkError(f"an NDARRAY of {shape} needs {wanted} bytes, but has {len(content) - start}")
        return cls(read_array(content, start, count, _ARRAY_TYPES[number]).reshape(shape))
