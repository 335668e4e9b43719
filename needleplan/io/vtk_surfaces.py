"""VTK surfaces: XML (.vtp) and legacy (.vtk), decoded here so that no hostile size or index reaches VTK."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import CaseError
from needleplan.io.bounded import read_whole
from needleplan.io.frame import FileFrame
from needleplan.io.meshes import MAXIMUM_MESH_BYTES, RawMesh, fan
from needleplan.io.vtk_xml import VtkXmlFile, attribute_whole_numbers, read_vtk_xml, single

_LEGACY_TYPES = {
    "char": "i1",
    "unsigned_char": "u1",
    "short": "i2",
    "unsigned_short": "u2",
    "int": "i4",
    "unsigned_int": "u4",
    "long": "i8",
    "vtktypeint32": "i4",
    "vtktypeint64": "i8",
    "vtkidtype": "i4",
    "float": "f4",
    "double": "f8",
}
#: What ends the numbers of a section in a text file.
_KEYWORD = re.compile(rb"(?m)^[A-Z][A-Z_]{3,}")


def read_vtp(path: Path, frame: FileFrame) -> RawMesh:
    """Vertices and faces of a VTP file, whose field SPACE must not contradict ``frame``; see ``read_mesh``."""
    file = read_vtk_xml(path, "PolyData")
    data = single(file.root, "PolyData", path)
    _check_space(file, data, frame)
    piece = single(data, "Piece", path)
    if attribute_whole_numbers(piece, "NumberOfStrips", 1, path, "0") != [0]:
        raise CaseError(f"{path}: triangle strips are not read; export plain polygons")
    points = attribute_whole_numbers(piece, "NumberOfPoints", 1, path)[0]
    polygons = attribute_whole_numbers(piece, "NumberOfPolys", 1, path, "0")[0]
    if points <= 0 or polygons <= 0:
        raise CaseError(f"{path}: the file holds no face, so the structure would be empty")
    coordinates = single(single(piece, "Points", path), "DataArray", path)
    vertices = file.numbers(coordinates, 3 * points).astype(np.float64).reshape(-1, 3)
    arrays = {array.get("Name"): array for array in single(piece, "Polys", path).findall("DataArray")}
    if "offsets" not in arrays or "connectivity" not in arrays:
        raise CaseError(f"{path}: the polygons need the arrays connectivity and offsets")
    ends = _whole(file.numbers(arrays["offsets"], polygons), path)
    corners = _whole(file.numbers(arrays["connectivity"], int(ends[-1])), path)
    return vertices, _polygons(np.concatenate([[0], ends]), corners, path)


def _check_space(file: VtkXmlFile, data: Any, frame: FileFrame) -> None:
    """3D Slicer writes the frame into a field; it must be the stated one."""
    for array in data.iterfind("FieldData/*[@Name='SPACE']"):
        if array.get("format") == "ascii":
            codes = [int(word) for word in (array.text or "").split() if word.isdecimal()]
            content = bytes(code for code in codes if code < 256)
        else:
            content = file.bytes_of(array)
        stored = content.split(b"\x00")[0].decode("ascii", "replace").strip().upper()
        if stored in FileFrame.__members__ and stored != frame:
            raise CaseError(f"{file.path}: the field SPACE of the file says {stored} but the manifest {frame}")


def read_vtk(path: Path) -> RawMesh:
    """Vertices and faces of a legacy VTK file; see ``read_mesh``."""
    data = read_whole(path, MAXIMUM_MESH_BYTES)
    if not data.startswith(b"# vtk DataFile"):
        raise CaseError(f"{path}: this is not a legacy VTK file: it must begin with '# vtk DataFile'")
    lines = data[:1000].split(b"\n", 4)
    if len(lines) < 4 or lines[2].strip().upper() not in (b"ASCII", b"BINARY"):
        raise CaseError(f"{path}: the third line must say ASCII or BINARY")
    if lines[3].split()[:2] != [b"DATASET", b"POLYDATA"]:
        raise CaseError(f"{path}: the file must hold DATASET POLYDATA")
    binary = lines[2].strip().upper() == b"BINARY"
    if re.search(rb"(?m)^TRIANGLE_STRIPS\s+[1-9]", data):
        raise CaseError(f"{path}: triangle strips are not read; export plain polygons")
    points = re.search(rb"(?m)^POINTS[ \t]+(\S+)[ \t]+(\S+)[ \t]*\r?\n", data)
    cells = re.search(rb"(?m)^POLYGONS[ \t]+(\S+)[ \t]+(\S+)[ \t]*\r?\n", data)
    if points is None or cells is None:
        raise CaseError(f"{path}: the file holds no POINTS or no POLYGONS, so the structure would be empty")
    count = _declared(points.group(1), path)
    kind = points.group(2).decode("ascii", "replace").lower()
    vertices = _section(data, points.end(), 3 * count, kind, binary, path)[0].astype(np.float64).reshape(-1, 3)
    first, second = _declared(cells.group(1), path), _declared(cells.group(2), path)
    if first == 0 or count == 0:
        raise CaseError(f"{path}: the file holds no face, so the structure would be empty")
    offsets = re.compile(rb"OFFSETS[ \t]+(\S+)[ \t]*\r?\n").match(data, cells.end())
    if offsets is not None:
        # Since file version 5.1: the numbers are those of the offsets and of all corners.
        kind = offsets.group(1).decode("ascii", "replace").lower()
        starts, end = _section(data, offsets.end(), first, kind, binary, path)
        connectivity = re.compile(rb"\s*CONNECTIVITY[ \t]+(\S+)[ \t]*\r?\n").match(data, end)
        if connectivity is None:
            raise CaseError(f"{path}: the polygons lack their CONNECTIVITY, so the file is truncated or damaged")
        kind = connectivity.group(1).decode("ascii", "replace").lower()
        corners, _ = _section(data, connectivity.end(), second, kind, binary, path)
        return vertices, _polygons(_whole(starts, path), _whole(corners, path), path)
    # Before: the number of polygons, and of all numbers: each polygon's count followed by its corners.
    table = _whole(_section(data, cells.end(), second, "int", binary, path)[0], path)
    if second == 4 * first and (table[::4] == 3).all():
        return vertices, table.reshape(-1, 4)[:, 1:]
    counts = []
    at = 0
    for _ in range(first):
        if at >= second or not 3 <= table[at] <= second - at - 1:
            raise CaseError(f"{path}: the polygons do not add up, so the file is damaged")
        counts.append(int(table[at]))
        at += 1 + counts[-1]
    if at != second:
        raise CaseError(f"{path}: the polygons do not add up, so the file is damaged")
    sizes = np.array(counts, dtype=np.int64)
    heads = np.concatenate([[0], np.cumsum(sizes + 1)[:-1]])
    return vertices, fan(sizes, np.delete(table, heads))


def _declared(word: bytes, path: Path) -> int:
    if not word.isdigit() or len(word) > 12:
        raise CaseError(
            f"{path}: a section must declare whole numbers, but says {word[:40].decode('ascii', 'replace')!r}"
        )
    return int(word)


def _section(data: bytes, start: int, count: int, kind: str, binary: bool, path: Path) -> tuple[NDArray[Any], int]:
    """``count`` numbers that begin at ``start``, and the place after them."""
    if kind not in _LEGACY_TYPES:
        raise CaseError(f"{path}: numbers of the type {kind[:40]!r} are not read")
    dtype = np.dtype(">" + _LEGACY_TYPES[kind])
    # Text takes at least a digit and a blank for each number, but the last.
    if count * (dtype.itemsize if binary else 2) > len(data) - start + (not binary):
        raise CaseError(f"{path}: the file declares {count} numbers but has not as many bytes, so it is truncated")
    if binary:
        return np.frombuffer(data, dtype, count, start), start + count * dtype.itemsize
    stop = _KEYWORD.search(data, start)
    end = len(data) if stop is None else stop.start()
    words = data[start:end].split()
    if len(words) != count:
        raise CaseError(f"{path}: the file declares {count} numbers but holds {len(words)}, so it is truncated")
    try:
        return np.array(words).astype(np.float64 if dtype.kind == "f" else np.int64), end
    except (ValueError, OverflowError):
        raise CaseError(f"{path}: a number is not understood, so the file is damaged") from None


def _whole(values: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """Indices as 64-bit integers."""
    if values.dtype.kind not in "iu":
        raise CaseError(f"{path}: the polygons must be whole numbers")
    return values.astype(np.int64)


def _polygons(offsets: NDArray[np.int64], corners: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    """Triangles of polygons that begin at ``offsets``, of which the last is the end."""
    counts = np.diff(offsets)
    if len(counts) == 0 or offsets[0] != 0 or (counts < 3).any() or offsets[-1] != len(corners):
        raise CaseError(f"{path}: a polygon has fewer than three corners, or the offsets are damaged")
    return fan(counts, corners)


def write_vtp(path: Path, mesh: SurfaceMesh) -> None:
    """Write a VTP file with double coordinates and the frame in a field, as 3D Slicer reads it."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints, vtkStringArray
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    points = vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(mesh.vertices_mm), deep=True))
    cells = vtkCellArray()
    cells.SetData(3, numpy_to_vtkIdTypeArray(mesh.faces.astype(np.int64).ravel(), deep=True))
    space = vtkStringArray()
    space.SetName("SPACE")
    space.InsertNextValue("LPS")
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetPolys(cells)
    data.GetFieldData().AddArray(space)
    writer = vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    if not writer.Write():
        raise CaseError(f"{path}: VTK could not write the file")
