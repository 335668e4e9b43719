"""Wavefront OBJ: vertices and faces only; materials and the files that it names are never opened."""

from pathlib import Path

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import CaseError
from needleplan.io.bounded import read_whole
from needleplan.io.meshes import MAXIMUM_FACES, MAXIMUM_MESH_BYTES, RawMesh, fan


def read_obj(path: Path) -> RawMesh:
    """Vertices and faces of an OBJ file; see ``read_mesh``."""
    data = read_whole(path, MAXIMUM_MESH_BYTES)
    if b"\x00" in data[:4096]:
        raise CaseError(f"{path}: this is not an OBJ file, which is text")
    vertices: list[tuple[float, float, float]] = []
    counts: list[int] = []
    corners: list[int] = []
    for number, line in enumerate(data.splitlines(), start=1):
        words = line.split(b"#", 1)[0].split()
        if not words or words[0] not in (b"v", b"f"):
            continue
        try:
            if words[0] == b"v":
                vertices.append((float(words[1]), float(words[2]), float(words[3])))
                continue
            face = [int(word.split(b"/", 1)[0]) for word in words[1:]]
        except (ValueError, IndexError):
            raise CaseError(f"{path}: line {number} is not a vertex or a face, so the file is damaged") from None
        if len(face) < 3 or 0 in face:
            raise CaseError(f"{path}: line {number}: a face needs at least three vertex numbers, none of them 0")
        counts.append(len(face))
        # Negative numbers count back from the newest vertex.
        corners.extend(n - 1 if n > 0 else len(vertices) + n for n in face)
        if len(counts) > MAXIMUM_FACES:
            raise CaseError(f"{path}: the file has more faces than the limit of {MAXIMUM_FACES}")
    if not counts:
        raise CaseError(f"{path}: the file holds no face, so the structure would be empty")
    try:
        indices = np.array(corners, dtype=np.int64)
    except OverflowError:
        raise CaseError(f"{path}: a face names a vertex that is not there") from None
    return np.array(vertices, dtype=np.float64).reshape(-1, 3), fan(np.array(counts, dtype=np.int64), indices)


def write_obj(path: Path, mesh: SurfaceMesh) -> None:
    """Write an OBJ file."""
    with path.open("w", encoding="ascii") as stream:
        stream.write("# needleplan, patient LPS, mm\n")
        np.savetxt(stream, mesh.vertices_mm, fmt="v %.9g %.9g %.9g")
        np.savetxt(stream, mesh.faces + 1, fmt="f %d %d %d")
