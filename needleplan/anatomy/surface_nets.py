"""Smooth closed surfaces from voxel masks (surface nets, Gibson 1998; VTK's vtkSurfaceNets3D)."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError
from needleplan.grid import VoxelMask

#: Smoothing passes. The filter's default of 16 takes 13 % of the volume of a portal tree of 0.6 mm voxels, five
#: take 5 %: a vessel must not be planned as thinner than it is.
SMOOTHING_ITERATIONS = 5


def surface_from_mask(mask: VoxelMask, smooth: bool = True) -> tuple[SurfaceMesh, NDArray[np.bool_], float]:
    """The surface between the voxels of a mask and those outside it.

    Every vertex starts in the middle of a cube of eight neighbouring voxel centres of which some are inside,
    and smoothing may move it within that cube only. The boundary of the voxel set passes through the same
    cube, so the two lie nowhere farther apart than half the diagonal of a voxel.

    Args:
        mask: the structure; sides that touch the edge of its image are closed by a cut face.
        smooth: False keeps the vertices in the middle of their cubes.

    Returns:
        The surface, a boolean (m,) that marks cut faces, and the bound of the surface error in mm.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkSMPTools
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkSurfaceNets3D

    # The default backend runs on one core.
    vtkSMPTools.SetBackend("STDThread")
    padded = np.pad(mask.inside, 1)
    image = vtkImageData()
    image.SetDimensions(*padded.shape)
    scalars = numpy_to_vtk(padded.ravel(order="F").astype(np.uint8), deep=True)
    image.GetPointData().SetScalars(scalars)

    def run(iterations: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        nets = vtkSurfaceNets3D()
        nets.SetInputData(image)
        nets.SetValue(0, 1.0)
        nets.SetOutputMeshTypeToTriangles()
        if iterations > 0:
            nets.SmoothingOn()
            nets.SetNumberOfIterations(iterations)
        else:
            nets.SmoothingOff()
        nets.Update()
        output = nets.GetOutput()
        if output.GetNumberOfPolys() == 0:
            raise GeometryError("surface nets made no face of a mask that holds voxels")
        points = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64)
        return points, vtk_to_numpy(output.GetPolys().GetConnectivityArray()).astype(np.int64).reshape(-1, 3)

    centres, faces = run(0)
    # Where voxels touch at an edge or corner only, the filter gives two vertices in one place with unjoined
    # edges; smoothing would tear them apart. Joined again, every edge is closed.
    halves = np.round(2.0 * centres).astype(np.int64)
    sizes = np.array(padded.shape, dtype=np.int64) * 2 + 1
    _, first, joined = np.unique(
        (halves[:, 0] * sizes[1] + halves[:, 1]) * sizes[2] + halves[:, 2], return_index=True, return_inverse=True
    )
    count = np.bincount(joined)
    if smooth:
        smoothed, faces = run(SMOOTHING_ITERATIONS)
        if len(smoothed) != len(centres):
            raise GeometryError("surface nets numbered its vertices differently with and without smoothing")
        vertices = np.stack([np.bincount(joined, smoothed[:, k]) / count for k in range(3)], axis=1)
        centres = halves[first] / 2.0
        # The clamp makes the bound a fact and not a promise of the filter's constraint.
        vertices = np.clip(vertices, centres - 0.5, centres + 0.5)
    else:
        vertices = centres = halves[first] / 2.0
    faces = joined[faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[whole]
    cut_vertex = np.zeros(len(centres), dtype=np.bool_)
    for axis, (low, high) in enumerate(mask.cut_sides):
        # In padded indices the image edge lies half a voxel outside its first and last voxel.
        if low:
            cut_vertex |= centres[:, axis] < 0.75
        if high:
            cut_vertex |= centres[:, axis] > padded.shape[axis] - 1.75
    points_mm = mask.grid.to_patient(vertices - 1.0)
    mesh = SurfaceMesh(points_mm, faces)
    if mesh.volume_mm3 < 0:
        mesh = mesh.flipped()
    cut_faces: NDArray[np.bool_] = np.all(cut_vertex[faces], axis=1)
    return mesh, cut_faces, mask.grid.half_diagonal_mm
