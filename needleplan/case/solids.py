"""Questions to a structure's geometry, mask or closed surface alike, that the checks need: not for clearances."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray
from needleplan.grid import VoxelMask


def volume_ml(geometry: VoxelMask | SurfaceMesh) -> float:
    """Volume in millilitres; negative for a surface that looks inward."""
    return geometry.volume_mm3 / 1000.0


def bounds_mm(geometry: VoxelMask | SurfaceMesh) -> FloatArray:
    """(2, 3) least and greatest coordinates in patient LPS mm, whole voxels included."""
    if isinstance(geometry, SurfaceMesh):
        return geometry.bounds_mm
    inside = geometry.inside
    # A linear function is extreme at the ends of every column of voxels, so only these are looked at.
    i, j = np.nonzero(inside.any(axis=2))
    first = inside[i, j].argmax(axis=1)
    last = inside.shape[2] - 1 - inside[i, j, ::-1].argmax(axis=1)
    ends = np.concatenate([np.column_stack([i, j, first]), np.column_stack([i, j, last])])
    points = geometry.grid.to_patient(ends)
    half = 0.5 * np.abs(geometry.grid.T_PV[:3, :3]).sum(axis=1)
    return np.stack([points.min(axis=0) - half, points.max(axis=0) + half])


def contains(geometry: VoxelMask | SurfaceMesh, points_mm: FloatArray) -> NDArray[np.bool_]:
    """For points (n, 3): True where they lie inside; good for shares of many points, not for single ones."""
    if isinstance(geometry, VoxelMask):
        return geometry.contains(points_mm)
    low, high = geometry.bounds_mm
    near = ((points_mm >= low) & (points_mm <= high)).all(axis=1)
    result = np.zeros(len(points_mm), dtype=bool)
    if near.any():
        result[near] = _enclosed(geometry, points_mm[near])
    return result


def _enclosed(mesh: SurfaceMesh, points_mm: FloatArray) -> NDArray[np.bool_]:
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkFiltersModeling import vtkSelectEnclosedPoints

    def points_of(array: FloatArray) -> vtkPoints:
        points = vtkPoints()
        points.SetDataTypeToDouble()
        points.SetData(numpy_to_vtk(np.ascontiguousarray(array), deep=True))
        return points

    surface = vtkPolyData()
    surface.SetPoints(points_of(mesh.vertices_mm))
    cells = vtkCellArray()
    cells.SetData(3, numpy_to_vtkIdTypeArray(mesh.faces.astype(np.int64).ravel(), deep=True))
    surface.SetPolys(cells)
    cloud = vtkPolyData()
    cloud.SetPoints(points_of(points_mm))
    selector = vtkSelectEnclosedPoints()
    selector.SetInputData(cloud)
    selector.SetSurfaceData(surface)
    selector.Update()
    flags = vtk_to_numpy(selector.GetOutput().GetPointData().GetArray("SelectedPoints"))
    return np.asarray(flags != 0)


def sample_points(geometry: VoxelMask | SurfaceMesh, limit: int) -> FloatArray:
    """At most ``limit`` points spread evenly over the structure: voxel centres, or vertices of a surface."""
    if isinstance(geometry, SurfaceMesh):
        vertices = geometry.vertices_mm
        return vertices[_every(len(vertices), limit)]
    flat = np.flatnonzero(geometry.inside.ravel())
    index = np.column_stack(np.unravel_index(flat[_every(len(flat), limit)], geometry.inside.shape))
    return geometry.grid.to_patient(index)


def interior_points(geometry: VoxelMask | SurfaceMesh, limit: int) -> FloatArray:
    """At most ``limit`` points spread evenly through the inside, so that shares of them are shares of volume."""
    if isinstance(geometry, VoxelMask):
        return sample_points(geometry, limit)
    low, high = geometry.bounds_mm
    side = max(4, round((2.0 * limit) ** (1 / 3)))
    steps = (np.arange(side) + 0.5) / side
    lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    points = low + lattice * (high - low)
    inside = points[contains(geometry, points)]
    # A surface so thin that no lattice point falls into it is judged by its vertices.
    return inside[_every(len(inside), limit)] if len(inside) else sample_points(geometry, limit)


def shell_points(geometry: VoxelMask | SurfaceMesh, limit: int) -> FloatArray:
    """At most ``limit`` points just outside the surface: neighbouring voxels, or face centres moved out by 2 mm."""
    if isinstance(geometry, SurfaceMesh):
        points = geometry.face_centres_mm + 2.0 * geometry.face_normals
        return points[_every(len(points), limit)]
    from scipy.ndimage import binary_dilation

    padded = np.pad(geometry.inside, 1)
    index = np.argwhere(binary_dilation(padded) & ~padded) - 1
    return geometry.grid.to_patient(index[_every(len(index), limit)])


def _every(count: int, limit: int) -> NDArray[np.int_]:
    """At most ``limit`` of ``count`` indices, evenly spread."""
    if count <= limit:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).astype(int)
