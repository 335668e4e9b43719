"""PLY, text and binary of both byte orders: the elements vertex (x, y, z) and face (a list of vertex numbers)."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import CaseError
from needleplan.io.bounded import read_whole
from needleplan.io.meshes import MAXIMUM_FACES, MAXIMUM_MESH_BYTES, RawMesh, fan

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAXIMUM_HEADER_BYTES = 65_536


@dataclass(slots=True)
class _Element:
    name: str
    count: int
    #: Name, type of the value, and type of the length for a list ("" for a single value).
    properties: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def least_bytes(self) -> int:
        """Least size of one entry in a binary file."""
        return sum(np.dtype(length or value).itemsize for _, value, length in self.properties)


def read_ply(path: Path) -> RawMesh:
    """Vertices and faces of a PLY file; see ``read_mesh``."""
    data = read_whole(path, MAXIMUM_MESH_BYTES)
    order, elements, position = _read_header(path, data)
    text = order == ""
    size = len(data) - position
    for element in elements:
        needed = element.count * (2 * len(element.properties) - 1 if text else element.least_bytes)
        if needed > size + 1 or element.count > 3 * MAXIMUM_FACES:
            raise CaseError(
                f"{path}: the header declares {element.count} entries of {element.name} but the file has only "
                f"{size} bytes of data, so it is truncated or damaged"
            )
    vertices: NDArray[np.float64] | None = None
    faces: NDArray[np.int64] | None = None
    words = data[position:].split() if text else []
    at = 0 if text else position
    for element in elements:
        names = [name for name, _, _ in element.properties]
        try:
            if text:
                columns, at = _text_entries(element, words, at)
            else:
                columns, at = _binary_entries(element, data, at, order)
        except (IndexError, ValueError, OverflowError):
            raise CaseError(f"{path}: the entries of {element.name} are truncated or damaged") from None
        if element.name == "vertex":
            if not {"x", "y", "z"} <= set(names):
                raise CaseError(f"{path}: the vertices must have x, y and z")
            vertices = np.column_stack([columns[name][0].astype(np.float64) for name in ("x", "y", "z")])
        elif element.name == "face":
            key = next((name for name in ("vertex_indices", "vertex_index") if name in names), None)
            if key is None:
                raise CaseError(f"{path}: the faces must have a list vertex_indices")
            values, counts = columns[key]
            if counts is None or (counts < 3).any():
                raise CaseError(f"{path}: every face needs at least three vertices")
            faces = fan(counts, values.astype(np.int64))
    if vertices is None or faces is None:
        raise CaseError(f"{path}: the file must hold the elements vertex and face")
    return vertices, faces


def _read_header(path: Path, data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order, elements, and the place where the data begin."""
    if not data.startswith(b"ply"):
        raise CaseError(f"{path}: this is not a PLY file: it must begin with ply")
    end = data.find(b"end_header", 0, _MAXIMUM_HEADER_BYTES)
    stop = data.find(b"\n", end) if end >= 0 else -1
    if stop < 0:
        raise CaseError(f"{path}: the PLY header does not end, so the file is truncated")
    order: str | None = None
    elements: list[_Element] = []
    for line in data[:end].decode("ascii", "replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        try:
            if words[0] == "format":
                order = _ORDERS[words[1]]
            elif words[0] == "element":
                elements.append(_Element(words[1], int(words[2])))
                if elements[-1].count < 0:
                    raise ValueError
            elif words[0] == "property" and words[1] == "list":
                elements[-1].properties.append((words[4], _TYPES[words[3]], _TYPES[words[2]]))
            elif words[0] == "property":
                elements[-1].properties.append((words[2], _TYPES[words[1]], ""))
            else:
                raise ValueError
        except (IndexError, KeyError, ValueError):
            raise CaseError(f"{path}: the PLY header has a line that is not understood: {line[:60]!r}") from None
    if order is None or any(not element.properties for element in elements):
        raise CaseError(f"{path}: the PLY header lacks a format or the properties of an element")
    return order, elements, stop + 1


#: Values of each property, and for a list the length of each entry.
_Columns = dict[str, tuple[NDArray[np.float64] | NDArray[np.int64], NDArray[np.int64] | None]]


def _text_entries(element: _Element, words: list[bytes], at: int) -> tuple[_Columns, int]:
    """Entries of a text file from word ``at`` on, and the first word after them."""
    if all(not length for _, _, length in element.properties):
        width = len(element.properties)
        part = words[at : at + element.count * width]
        table = np.array([float(word) for word in part]).reshape(element.count, width)
        return {name: (table[:, k], None) for k, (name, _, _) in enumerate(element.properties)}, at + len(part)
    values: dict[str, list[float]] = {name: [] for name, _, _ in element.properties}
    counts: dict[str, list[int]] = {name: [] for name, _, _ in element.properties}
    for _ in range(element.count):
        for name, _, length in element.properties:
            n = 1
            if length:
                n = int(words[at])
                at += 1
                if n < 0 or at + n > len(words):
                    raise ValueError
                counts[name].append(n)
            values[name].extend(float(word) for word in words[at : at + n])
            at += n
    if at > len(words):
        raise IndexError
    return {
        name: (np.array(values[name]), np.array(counts[name], dtype=np.int64) if length else None)
        for name, _, length in element.properties
    }, at


def _binary_entries(element: _Element, data: bytes, at: int, order: str) -> tuple[_Columns, int]:
    """Entries of a binary file from byte ``at`` on, and the first byte after them."""
    lists = [name for name, _, length in element.properties if length]
    if len(lists) <= 1:
        # Nearly every file: single values, or one list that always has as many entries as the first.
        n = 0
        if lists and element.count:
            before = sum(np.dtype(v).itemsize for _, v, _ in element.properties[: _place(element, lists[0])])
            kind = order + next(length for name, _, length in element.properties if name == lists[0])
            n = int(np.frombuffer(data, kind, 1, at + before)[0])
        if 0 <= n <= 64:
            fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
            for name, value, length in element.properties:
                if length:
                    fields += [("length of " + name, order + length), (name, order + value, (n,))]
                else:
                    fields.append((name, order + value))
            dtype = np.dtype(fields)
            if at + element.count * dtype.itemsize <= len(data):
                table = np.frombuffer(data, dtype, element.count, at)
                if not lists or (table["length of " + lists[0]] == n).all():
                    counts = np.full(element.count, n, dtype=np.int64)
                    columns: _Columns = {
                        name: (table[name].ravel(), counts if length else None)
                        for name, _, length in element.properties
                    }
                    return columns, at + element.count * dtype.itemsize
            elif not lists:
                raise IndexError
    return _mixed_entries(element, data, at, order)


def _place(element: _Element, name: str) -> int:
    return [own for own, _, _ in element.properties].index(name)


def _mixed_entries(element: _Element, data: bytes, at: int, order: str) -> tuple[_Columns, int]:
    """The slow way, for lists of different lengths."""
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name, _, _ in element.properties}
    counts: dict[str, list[int]] = {name: [] for name, _, _ in element.properties}
    kinds = [
        (name, np.dtype(order + value), np.dtype(order + length) if length else None)
        for name, value, length in element.properties
    ]
    for _ in range(element.count):
        for name, value, length in kinds:
            n = 1
            if length is not None:
                n = int(np.frombuffer(data, length, 1, at)[0])
                at += length.itemsize
                if n < 0:
                    raise ValueError
                counts[name].append(n)
            values[name].append(np.frombuffer(data, value, n, at))
            at += n * value.itemsize
    return {
        name: (
            np.concatenate(values[name] or [np.zeros(0)]),
            np.array(counts[name], dtype=np.int64) if length else None,
        )
        for name, _, length in kinds
    }, at


def write_ply(path: Path, mesh: SurfaceMesh) -> None:
    """Write a binary PLY file with double coordinates."""
    header = (
        "ply\nformat binary_little_endian 1.0\ncomment needleplan, patient LPS, mm\n"
        f"element vertex {len(mesh.vertices_mm)}\nproperty double x\nproperty double y\nproperty double z\n"
        f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    table = np.zeros(len(mesh.faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    table["count"] = 3
    table["corners"] = mesh.faces
    path.write_bytes(header.encode() + mesh.vertices_mm.astype("<f8").tobytes() + table.tobytes())
