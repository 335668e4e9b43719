"""Surfaces of every format that is read or written. None stores frame and unit, so the caller states both."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import CaseError, GeometryError
from needleplan.frames import FloatArray
from needleplan.io.bounded import write_atomically
from needleplan.io.frame import FileFrame, FileUnit, to_patient_mm

#: Meshes above these sizes are refused; they would take minutes in every step that follows.
MAXIMUM_FACES = 20_000_000
MAXIMUM_MESH_BYTES = 2_147_483_648

#: Vertices and faces as a file holds them, unchecked.
RawMesh = tuple[FloatArray, NDArray[np.int64]]

MESH_ENDINGS = (".stl", ".obj", ".ply", ".vtp", ".vtk")


def read_mesh(path: Path, frame: FileFrame | None, unit: FileUnit | None) -> SurfaceMesh:
    """Read a triangle surface: STL, OBJ, PLY, VTP or legacy VTK; polygons are cut into triangles.

    Args:
        path: the file.
        frame: frame of its coordinates.
        unit: their length unit.

    Raises:
        CaseError: the file is missing, damaged, of another kind or (a VTP with the field SPACE) of another frame;
            holds no face, a vertex that is not a number or a face that names a vertex which is not there; or
            frame or unit are not stated.
    """
    if path.suffix.lower() not in MESH_ENDINGS:
        raise CaseError(
            f"{path}: a surface must end in {', '.join(MESH_ENDINGS)}; a label map needs labels = [...]"
        )
    if frame is None or unit is None:
        raise CaseError(
            f'{path}: a surface stores neither frame nor unit; state frame = "LPS" (or "RAS") and unit = "mm" '
            "in the manifest"
        )
    vertices, faces = _reader(path, frame)(path)
    if len(faces) == 0 or len(vertices) == 0:
        raise CaseError(f"{path}: the file holds no face, so the structure would be empty")
    if not np.isfinite(vertices).all():
        bad = int(np.flatnonzero(~np.isfinite(vertices).all(axis=1))[0])
        raise CaseError(f"{path}: vertex {bad} is not a finite number")
    if faces.min() < 0 or faces.max() >= len(vertices):
        bad = int(faces.min() if faces.min() < 0 else faces.max())
        raise CaseError(f"{path}: a face names vertex {bad}, but there are only {len(vertices)}")
    if frame is FileFrame.LAS:
        # The one frame that mirrors: the corners are reordered so that the faces still look outward.
        faces = faces[:, ::-1]
    try:
        return SurfaceMesh(to_patient_mm(vertices, frame, unit), faces)
    except GeometryError as error:
        raise CaseError(f"{path}: {error}") from None


def _reader(path: Path, frame: FileFrame) -> Callable[[Path], RawMesh]:
    suffix = path.suffix.lower()
    if suffix == ".stl":
        from needleplan.io.stl import read_stl

        return read_stl
    if suffix == ".obj":
        from needleplan.io.obj import read_obj

        return read_obj
    if suffix == ".ply":
        from needleplan.io.ply import read_ply

        return read_ply
    from needleplan.io.vtk_surfaces import read_vtk, read_vtp

    return partial(read_vtp, frame=frame) if suffix == ".vtp" else read_vtk


def write_mesh(path: Path, mesh: SurfaceMesh) -> None:
    """Write a surface as STL (binary), PLY (binary), OBJ or VTP, in LPS millimetres, whole or not at all.

    STL stores single precision, so coordinates are rounded to about 1e-5 mm there.

    Raises:
        CaseError: the ending stands for no format that is written.
    """
    suffix = path.suffix.lower()
    write: Callable[[Path, SurfaceMesh], None]
    if suffix == ".stl":
        from needleplan.io.stl import write_stl as write
    elif suffix == ".obj":
        from needleplan.io.obj import write_obj as write
    elif suffix == ".ply":
        from needleplan.io.ply import write_ply as write
    elif suffix == ".vtp":
        from needleplan.io.vtk_surfaces import write_vtp as write
    else:
        raise CaseError(f"{path}: a surface is written as .stl, .obj, .ply or .vtp")
    write_atomically(path, lambda temporary: write(temporary, mesh))


def merged(points: FloatArray) -> RawMesh:
    """Vertices and faces of a triangle soup (m, 3, 3), corners at exactly the same place made one."""
    corners = np.ascontiguousarray(points.reshape(-1, 3)) + 0.0  # + 0.0 turns -0.0 into 0.0
    # Bytes compare faster than rows of numbers, and exactly.
    rows = corners.view(np.dtype((np.void, corners.dtype.itemsize * 3))).ravel()
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    return corners[first].astype(np.float64), inverse.reshape(-1, 3).astype(np.int64)


def fan(counts: NDArray[np.int64], corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m, 3) triangles of polygons, each cut into a fan from its first corner.

    Args:
        counts: (n,) corners of each polygon; those below 3 give no triangle.
        corners: (counts.sum(),) vertex numbers of all polygons, one after the other.
    """
    if (counts == 3).all():
        return corners.reshape(-1, 3)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    triangles = np.maximum(counts - 2, 0)
    first = np.repeat(starts, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.column_stack([corners[first], corners[first + step + 1], corners[first + step + 2]])
