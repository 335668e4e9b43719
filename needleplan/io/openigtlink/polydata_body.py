"""Body POLYDATA: points, and cells of their numbers, as VTK has them."""

import struct
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import NetworkError
from needleplan.frames import read_only
from needleplan.io.openigtlink.body import MessageBody
from needleplan.io.openigtlink.fields import check_plain, read_array

MAXIMUM_ATTRIBUTES = 64
MAXIMUM_NAME_BYTES = 255
_HEADER = struct.Struct(">10I")
_ATTRIBUTE = struct.Struct(">BBI")


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells of one sort (vertices, lines, polygons or strips).

    Attributes:
        count: how many.
        numbers: (m,) uint32: for each cell how many points it has, then their numbers; read-only.
    """

    count: int = 0
    numbers: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, dtype=np.uint32))

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", read_only(self.numbers, np.uint32))

    @classmethod
    def of(cls, rows: ArrayLike) -> "Cells":
        """Cells of equally many points each, from (n, k) numbers."""
        table = np.asarray(rows)
        return cls(len(table), np.column_stack([np.full(len(table), table.shape[1]), table]).reshape(-1))

    def check(self, points: int, what: str) -> None:
        """Refuse cells whose lengths do not add up or that name a point which is not there; raises NetworkError."""
        numbers = self.numbers
        if len(numbers) < 2 * self.count or bool(self.count) != bool(len(numbers)):
            raise NetworkError(f"{self.count} {what} of POLYDATA cannot stand in {len(numbers)} numbers")
        if self.count == 0:
            return
        width = int(numbers[0]) + 1
        if len(numbers) == width * self.count and (numbers[::width] == numbers[0]).all():
            corners = numbers.reshape(self.count, width)[:, 1:]
        else:
            corners = np.delete(numbers, self._starts(what))
        if corners.size == 0 or int(corners.max()) >= points:
            raise NetworkError(f"the {what} of POLYDATA name a point that is not among its {points}")

    def _starts(self, what: str) -> list[int]:
        starts: list[int] = []
        place, numbers = 0, self.numbers.tolist()
        while place < len(numbers) and len(starts) < self.count:
            starts.append(place)
            if numbers[place] < 1:
                break
            place += 1 + numbers[place]
        if place != len(numbers) or len(starts) != self.count:
            raise NetworkError(f"the lengths of the {what} of POLYDATA do not add up")
        return starts


@dataclass(frozen=True, slots=True, eq=False)
class PolyAttribute:
    """Values at the points or cells.

    Attributes:
        name: at most 255 bytes.
        kind: 0 scalars, 1 vectors, 2 normals, 3 tensors, 4 colours; 16 more for cells in place of points.
        values: (n, components) float32, read-only.
    """

    name: str
    kind: int
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", read_only(self.values, np.float32))
        check_plain(self.name, "the name of an attribute")
        if self.kind & 0x0F > 4 or self.kind & 0xE0 or self.values.ndim != 2 or self.values.shape[1] > 255:
            raise NetworkError(f"an attribute of kind {self.kind} and shape {self.values.shape} cannot be sent")


@dataclass(frozen=True, slots=True, eq=False)
class PolyData(MessageBody):
    """POLYDATA: a surface, lines or points.

    Attributes:
        points_mm: (n, 3) float32, read-only; not checked to be finite, see ``fault``.
        vertices, lines, polygons, strips: cells of their numbers.
        attributes: values at points or cells.
    """

    points_mm: NDArray[np.float32]
    vertices: Cells = field(default_factory=Cells)
    lines: Cells = field(default_factory=Cells)
    polygons: Cells = field(default_factory=Cells)
    strips: Cells = field(default_factory=Cells)
    attributes: tuple[PolyAttribute, ...] = ()

    def __post_init__(self) -> None:
        points = read_only(self.points_mm, np.float32)
        if points.ndim != 2 or points.shape[1] != 3:
            raise NetworkError(f"the points of POLYDATA must be (n, 3), not {points.shape}")
        object.__setattr__(self, "points_mm", points)
        for what, cells in self._sorts().items():
            cells.check(len(points), what)
        if len(self.attributes) > MAXIMUM_ATTRIBUTES:
            raise NetworkError(f"POLYDATA can carry {MAXIMUM_ATTRIBUTES} attributes, not {len(self.attributes)}")

    def _sorts(self) -> dict[str, Cells]:
        sorts = (self.vertices, self.lines, self.polygons, self.strips)
        return dict(zip(("vertices", "lines", "polygons", "strips"), sorts, strict=True))

    @property
    def type_name(self) -> str:
        return "POLYDATA"

    @property
    def fault(self) -> str | None:
        """ "not finite" where a coordinate is none; None otherwise."""
        return None if np.isfinite(self.points_mm).all() else "not finite"

    @property
    def triangles(self) -> NDArray[np.int64]:
        """(m, 3) numbers of the corners; raises NetworkError where a polygon is no triangle or there are strips."""
        numbers = self.polygons.numbers
        if self.strips.count or len(numbers) != 4 * self.polygons.count or (numbers[::4] != 3).any():
            raise NetworkError("the polygons of this POLYDATA are not all triangles")
        return numbers.reshape(-1, 4)[:, 1:].astype(np.int64)

    def encode(self) -> bytes:
        head, body = [len(self.points_mm)], [self.points_mm.astype(">f4").tobytes()]
        for cells in self._sorts().values():
            head += [cells.count, 4 * len(cells.numbers)]
            body.append(cells.numbers.astype(">u4").tobytes())
        names = b""
        for attribute in self.attributes:
            name = attribute.name.encode()
            if len(name) > MAXIMUM_NAME_BYTES:
                raise NetworkError(f"an attribute's name has {len(name)} bytes, more than {MAXIMUM_NAME_BYTES}")
            body.append(_ATTRIBUTE.pack(attribute.kind, attribute.values.shape[1], len(attribute.values)))
            names += name + b"\0"
        # Names are filled to an even number of bytes.
        body.append(names + b"\0" * (len(names) % 2))
        body += [attribute.values.astype(">f4").tobytes() for attribute in self.attributes]
        return _HEADER.pack(*head, len(self.attributes)) + b"".join(body)

    @classmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        if len(content) < _HEADER.size:
            raise NetworkError(
                f"the body of POLYDATA must have at least {_HEADER.size} bytes, but has {len(content)}"
            )
        count, *sorts, attributes = _HEADER.unpack(content[: _HEADER.size])
        ends = _HEADER.size + 12 * count + sum(sorts[1::2]) + _ATTRIBUTE.size * attributes
        if ends > len(content) or attributes > MAXIMUM_ATTRIBUTES or any(size % 4 for size in sorts[1::2]):
            raise NetworkError(
                f"a POLYDATA of {count} points, cells of {sorts[1::2]} bytes and {attributes} attributes cannot "
                f"stand in {len(content)} bytes"
            )
        points = read_array(content, _HEADER.size, 3 * count, ">f4").reshape(-1, 3)
        place = _HEADER.size + 12 * count
        cells: list[Cells] = []
        for number, size in zip(sorts[::2], sorts[1::2], strict=True):
            cells.append(Cells(number, read_array(content, place, size // 4, ">u4")))
            place += size
        return cls(points, cells[0], cells[1], cells[2], cells[3], _read_attributes(content[place:], attributes))


def _read_attributes(content: memoryview, count: int) -> tuple[PolyAttribute, ...]:
    heads = list(_ATTRIBUTE.iter_unpack(content[: _ATTRIBUTE.size * count]))
    start = place = _ATTRIBUTE.size * count
    names = []
    for _ in range(count):
        raw = bytes(content[place : place + MAXIMUM_NAME_BYTES + 1])
        end = raw.find(b"\0")
        if end < 0:
            raise NetworkError("the name of an attribute of POLYDATA does not end")
        try:
            names.append(raw[:end].decode())
        except UnicodeDecodeError:
            raise NetworkError("the name of an attribute of POLYDATA is not text in UTF-8") from None
        place += end + 1
    place += (place - start) % 2
    wanted = sum(4 * components * number for _, components, number in heads)
    if wanted != len(content) - place:
        raise NetworkError(f"the attributes of POLYDATA need {wanted} bytes, but {len(content) - place} are left")
    found = []
    for name, (kind, components, number) in zip(names, heads, strict=True):
        if components < 1:
            raise NetworkError("an attribute of POLYDATA has no components")
        values = read_array(content, place, components * number, ">f4").reshape(number, components)
        found.append(PolyAttribute(name, kind, values))
        place += values.nbytes
    return tuple(found)
