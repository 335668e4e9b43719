"""Mesh files that a URDF names: which may be used, and their vertices and faces. Metres.

Meshes to look at are read and checked as those to collide with are: viewers and simulators open them too, and some
end without a word at a malformed one.
"""

import io
import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import RobotError
from needleplan.frames import FloatArray

#: A mesh file larger than this is no shape of a link; what a robot names together stays under the second.
MAX_MESH_BYTES = 20_000_000
MAX_ALL_MESH_BYTES = 100_000_000
#: A mesh of more faces than this is a drawing.
MAX_MESH_FACES = 200_000
#: Of these two formats neither runs code nor needs another file.
SUFFIXES = (".stl", ".obj")
#: No part of an arm is longer or smaller than this; a mesh that is was drawn in other units.
LARGEST_MESH_M = 3.0
SMALLEST_MESH_M = 1e-3
#: A binary STL: a header of 80 bytes, the number of triangles as a little-endian integer, 50 bytes a triangle.
_STL_HEADER, _STL_TRIANGLE = 84, 50


def lies_beside(name: str) -> bool:
    """True for a relative path without ``..``, as both POSIX and Windows read it; links are not followed here."""
    paths = (PurePosixPath(name), PureWindowsPath(name))
    return bool(name) and "\0" not in name and all(not path.anchor and ".." not in path.parts for path in paths)


class MeshFolder:
    """The folder of one URDF, in which its meshes lie; counts what is to be read of them together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._bytes = 0

    def find(self, name: str, visual: bool) -> Path:
        """The file of a mesh.

        Args:
            name: as the URDF names it.
            visual: True for a shape to look at, which can be left out.

        Returns:
            Its path, inside the folder.

        Raises:
            RobotError: it is elsewhere, missing, of a format that is not read, or too large.
        """
        named = f"names the mesh {name[:200]!r}"
        if name.startswith(("package://", "model://")):
            raise RobotError(
                f"{named}; packages are not looked up: copy the file beside the URDF and write its path from there"
            )
        if "://" in name or not lies_beside(name):
            raise RobotError(f"{named}, which must be a path beside the URDF, not absolute and without ..")
        mesh = (self._folder / name).resolve()
        if not mesh.is_relative_to(self._folder):
            raise RobotError(f"{named}, which must be a path beside the URDF")
        if not os.path.isfile(mesh):  # unlike Path.is_file, False for a name that no file system takes
            raise RobotError(f"{named}, and there is no such file beside the URDF")
        if mesh.suffix.lower() not in SUFFIXES:
            raise RobotError(
                f"{named}; here only {', '.join(SUFFIXES)} are read: convert it to STL or OBJ"
                f"{', or leave the visual out' if visual else ''}"
            )
        size = mesh.stat().st_size
        self._bytes += size  # each time that it is named, as it is read each time
        if size > MAX_MESH_BYTES or self._bytes > MAX_ALL_MESH_BYTES:
            raise RobotError(
                f"{named}, which holds {size} bytes; one mesh may hold {MAX_MESH_BYTES} and all "
                f"together {MAX_ALL_MESH_BYTES}: make it coarser"
            )
        return mesh


def read_mesh(path: Path) -> tuple[FloatArray, NDArray[np.int64]]:
    """Vertices (n, 3), unscaled, and faces (m, 3) of an STL or OBJ file; materials are not looked for.

    Raises:
        RobotError: the file cannot be read, has too many faces, none, or vertices that are no numbers.
    """
    import trimesh

    data = path.read_bytes()
    if len(data) > MAX_MESH_BYTES:
        raise RobotError(f"{path}: a mesh may hold {MAX_MESH_BYTES} bytes, not {len(data)}")
    kind = path.suffix.lower().removeprefix(".")
    if kind == "stl" and len(data) >= _STL_HEADER:
        # Of a binary STL the number of faces is known before any is read.
        stated = int.from_bytes(data[_STL_HEADER - 4 : _STL_HEADER], "little")
        if len(data) == _STL_HEADER + _STL_TRIANGLE * stated:
            _check_faces(stated, path)
    try:
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type=kind, process=False, skip_materials=True)
        vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
    except Exception as error:  # whatever the library's parsers stumble over
        raise RobotError(f"{path}: this is no {kind.upper()} mesh ({type(error).__name__})") from error
    _check_faces(len(faces), path)
    if not np.isfinite(vertices).all():
        raise RobotError(f"{path}: the mesh has vertices that are no finite numbers")
    return vertices[np.unique(faces)], np.searchsorted(np.unique(faces), faces)


def mesh_in_metres(path: Path, scale: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Vertices (n, 3) in metres and faces (m, 3) of a mesh at a scale (3,), turned outward where it mirrors.

    Raises:
        RobotError: the file cannot be read, or its size or place is that of no part of an arm.
    """
    vertices, faces = read_mesh(path)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows lies too far away below
        points = vertices * scale
        extent, farthest = np.ptp(points, axis=0), float(np.abs(points).max())
    if not (farthest <= 2 * LARGEST_MESH_M and extent.max() <= LARGEST_MESH_M):
        raise RobotError(
            f"{path}: the mesh is {np.fmax.reduce([*extent, farthest]):g} m long or lies as far away, and no part "
            f"of an arm is longer than {LARGEST_MESH_M:g} m; where it was drawn in millimetres, "
            'write scale="0.001 0.001 0.001"'
        )
    if extent.max() < SMALLEST_MESH_M:
        raise RobotError(
            f"{path}: the mesh is {extent.max():g} m long; write the scale that makes it metres, once only"
        )
    return points, faces[:, ::-1] if np.prod(np.sign(scale)) < 0 else faces


def _check_faces(count: int, path: Path) -> None:
    if not 0 < count <= MAX_MESH_FACES:
        raise RobotError(f"{path}: the mesh has {count} faces where 1 to {MAX_MESH_FACES} are read")
