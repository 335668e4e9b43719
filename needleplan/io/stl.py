"""STL, binary and text. Triangles share no vertices in the file; corners at exactly the same place are merged."""

import re
from pathlib import Path

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import CaseError
from needleplan.io.bounded import read_whole
from needleplan.io.meshes import MAXIMUM_FACES, MAXIMUM_MESH_BYTES, RawMesh, merged

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 84


def read_stl(path: Path) -> RawMesh:
    """Vertices and faces of an STL file; see ``read_mesh``."""
    data = read_whole(path, MAXIMUM_MESH_BYTES)
    count = int.from_bytes(data[80:84], "little") if len(data) >= _HEADER_BYTES else 0
    # Binary headers may begin with "solid" too, so the size decides first.
    if len(data) >= _HEADER_BYTES and len(data) == _HEADER_BYTES + count * _TRIANGLE.itemsize:
        if count > MAXIMUM_FACES:
            raise CaseError(f"{path}: {count} faces are more than the limit of {MAXIMUM_FACES}")
        return merged(np.frombuffer(data, _TRIANGLE, count, _HEADER_BYTES)["corners"])
    if data.lstrip()[:5].lower() == b"solid" and b"facet" in data[:2000]:
        return _read_text(path, data)
    raise CaseError(
        f"{path}: the file declares {count} faces, which take {_HEADER_BYTES + count * _TRIANGLE.itemsize} bytes, "
        f"but has {len(data)} bytes, so it is truncated or no STL file"
    )


def _read_text(path: Path, data: bytes) -> RawMesh:
    if not re.search(rb"endsolid[^\n]*\s*$", data[-1000:]):
        raise CaseError(f"{path}: the text does not end with endsolid, so it is truncated")
    lines = re.findall(rb"(?mi)^[ \t]*vertex[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)[ \t]*\r?$", data)
    facets = len(re.findall(rb"(?mi)^[ \t]*facet\b", data))
    if len(lines) != 3 * facets or len(re.findall(rb"(?mi)^[ \t]*vertex\b", data)) != len(lines):
        raise CaseError(
            f"{path}: {facets} facets must have three vertices each, but there are {len(lines)} vertices"
        )
    if facets == 0:
        raise CaseError(f"{path}: the file holds no face, so the structure would be empty")
    try:
        corners = np.array(lines).astype(np.float64)
    except ValueError:
        raise CaseError(f"{path}: a vertex has a coordinate that is not a number") from None
    return merged(corners.reshape(-1, 3, 3))


def write_stl(path: Path, mesh: SurfaceMesh) -> None:
    """Write a binary STL file, whose header states the frame as 3D Slicer reads it (``SPACE=LPS``)."""
    triangles = np.zeros(len(mesh.faces), _TRIANGLE)
    triangles["normal"] = mesh.face_normals
    triangles["corners"] = mesh.triangles_mm
    header = b"needleplan, unit mm, SPACE=LPS".ljust(80) + len(triangles).to_bytes(4, "little")
    path.write_bytes(header + triangles.tobytes())
