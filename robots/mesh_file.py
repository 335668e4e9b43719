"""Mesh files that a URDF names: which may be used, and the vertices of those that a link collides as. Metres."""

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import RobotError
from needleplan.frames import FloatArray

#: A mesh file larger than this is no collision shape; what a robot names together stays under the second.
MAX_MESH_BYTES = 20_000_000
MAX_ALL_MESH_BYTES = 100_000_000
#: A collision mesh of more faces than this is a drawing.
MAX_MESH_FACES = 200_000
#: Meshes to collide with are opened; of these two formats neither runs code nor needs another file.
OPENED_SUFFIXES = (".stl", ".obj")
#: Meshes to look at are passed on to viewers as a path and never opened here.
SHOWN_SUFFIXES = (*OPENED_SUFFIXES, ".dae")
#: A binary STL: a header of 80 bytes, the number of triangles as a little-endian integer, 50 bytes a triangle.
_STL_HEADER, _STL_TRIANGLE = 84, 50


class MeshFolder:
    """The folder of one URDF, in which its meshes lie; counts how much they hold together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._sizes: dict[Path, int] = {}

    def find(self, name: str, opened: bool) -> Path:
        """The file of a mesh.

        Args:
            name: as the URDF names it.
            opened: True for a shape to collide with, whose file will be read.

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
        if not name or "://" in name or "\0" in name:
            raise RobotError(f"{named}, which must be a path beside the URDF")
        mesh = (self._folder / name).resolve()
        if not mesh.is_relative_to(self._folder):
            raise RobotError(f"{named}, which must be a path beside the URDF")
        if not os.path.isfile(mesh):  # unlike Path.is_file, False for a name that no file system takes
            raise RobotError(f"{named}, and there is no such file beside the URDF")
        suffixes = OPENED_SUFFIXES if opened else SHOWN_SUFFIXES
        if mesh.suffix.lower() not in suffixes:
            raise RobotError(f"{named}; here only {', '.join(suffixes)} are read: convert it")
        self._sizes[mesh] = mesh.stat().st_size
        if self._sizes[mesh] > MAX_MESH_BYTES or sum(self._sizes.values()) > MAX_ALL_MESH_BYTES:
            raise RobotError(
                f"{named}, which holds {self._sizes[mesh]} bytes; one mesh may hold {MAX_MESH_BYTES} and all "
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


def _check_faces(count: int, path: Path) -> None:
    if not 0 < count <= MAX_MESH_FACES:
        raise RobotError(f"{path}: the mesh has {count} faces where 1 to {MAX_MESH_FACES} are read")
