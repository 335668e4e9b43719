"""Where a needle may enter: the real skin, or a stated substitute where none was segmented."""

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import StructureSurface
from needleplan.case.model import EntryShape, EntrySubstitute, Structure
from needleplan.errors import CaseError
from needleplan.frames import FloatArray
from needleplan.grid import Grid, VoxelMask

#: Voxel size for a grown surface; its error is within half a diagonal of that.
GROWN_VOXEL_MM = 2.0

#: Pieces of skin smaller than this are noise of a threshold.
SPECK_MM3 = 5000.0


def solid_skin(mask: VoxelMask, cranial: FloatArray) -> VoxelMask:
    """The body without the air inside it: every piece but specks, cavities filled.

    Bowel gas, trachea and gaps between labels would otherwise look like further skin. Where the body is cut by
    the image a cavity may open onto the cut, so each slice across ``cranial`` is filled before the whole.
    """
    from scipy import ndimage

    inside = np.array(mask.inside)
    labels, count = ndimage.label(inside)
    if count > 1:
        # An arm beside the trunk is in the way of the shaft and stays; specks of noise do not.
        sizes = np.bincount(labels.ravel()) * mask.grid.voxel_volume_mm3
        sizes[0] = 0.0
        kept = sizes >= min(SPECK_MM3, float(sizes.max()))
        inside = kept[labels]
    index_axes = mask.grid.T_PV[:3, :3] / mask.grid.spacing_mm
    axis = int(np.argmax(np.abs(index_axes.T @ cranial)))
    if any(mask.cut_sides[axis]):
        for k in range(inside.shape[axis]):
            window: list[int | slice] = [slice(None)] * 3
            window[axis] = k
            inside[tuple(window)] = ndimage.binary_fill_holes(inside[tuple(window)])
    return VoxelMask(mask.grid, ndimage.binary_fill_holes(inside), mask.cut_sides)


def substitute_surface(
    substitute: EntrySubstitute,
    surfaces: tuple[StructureSurface, ...],
    structures: tuple[Structure, ...],
    axes: FloatArray,
    origin_mm: FloatArray,
) -> SurfaceMesh:
    """The surface that stands in for the skin.

    Args:
        substitute: what it encloses, and by how much it is grown.
        surfaces: all surfaces of the case.
        structures: all structures of the case; what a mask holds is looked up, not tested against its surface.
        axes: (3, 3) columns: the patient's axes, along which it is sampled.
        origin_mm: (3,) point that the sampling is laid out from.

    Raises:
        CaseError: a structure that it should enclose does not exist.
    """
    named = {surface.name: surface for surface in surfaces}
    missing = [name for name in substitute.structures if name not in named]
    if missing or not substitute.structures:
        wanted = missing[0] if missing else ""
        raise CaseError(f"the entry surface names the structure {wanted!r}, but there are {', '.join(named)}")
    meshes = [named[name].mesh for name in substitute.structures]
    if substitute.shape is EntryShape.HULL:
        return _grown_hull(meshes, substitute.grow_mm)
    solids = [structure.geometry for structure in structures if structure.name in substitute.structures]
    return _grown_union(solids, meshes, substitute.grow_mm, axes, origin_mm)


def _grown_hull(meshes: list[SurfaceMesh], grow_mm: float) -> SurfaceMesh:
    """Convex hull of all vertices, grown by a ball (Minkowski sum with a geodesic sphere of 642 points)."""
    import trimesh
    from scipy.spatial import ConvexHull

    vertices = np.concatenate([mesh.vertices_mm for mesh in meshes])
    corners = vertices[ConvexHull(vertices).vertices]
    ball = trimesh.creation.icosphere(subdivisions=3, radius=grow_mm).vertices
    cloud = (corners[:, None, :] + ball[None, :, :]).reshape(-1, 3)
    hull = ConvexHull(cloud)
    used, faces = np.unique(hull.simplices, return_inverse=True)
    faces = faces.reshape(-1, 3)
    points = cloud[used]
    # ConvexHull does not orient its faces; its plane equations point outward.
    normals = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    inward = np.einsum("ij,ij->i", normals, hull.equations[:, :3]) < 0
    faces[inward] = faces[inward][:, ::-1]
    return SurfaceMesh(points, faces)


def _grown_union(
    solids: list[VoxelMask | SurfaceMesh],
    meshes: list[SurfaceMesh],
    grow_mm: float,
    axes: FloatArray,
    origin_mm: FloatArray,
) -> SurfaceMesh:
    """Surface at ``grow_mm`` outside the union, contoured from an exact distance transform of its voxels."""
    from scipy import ndimage
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    from needleplan.anatomy.tree import MeshTree

    step = GROWN_VOXEL_MM
    local = np.concatenate([(mesh.vertices_mm - origin_mm) @ axes for mesh in meshes])
    low = np.floor((local.min(axis=0) - grow_mm) / step) - 3
    high = np.ceil((local.max(axis=0) + grow_mm) / step) + 3
    shape = (high - low).astype(int) + 1
    matrix = np.eye(4)
    matrix[:3, :3] = axes * step
    matrix[:3, 3] = origin_mm + axes @ (low * step)
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)
    inside = np.zeros(grid.shape, dtype=bool)
    centres = grid.centres_mm()
    for solid in solids:
        held = solid.contains(centres) if isinstance(solid, VoxelMask) else MeshTree(solid).contains(centres)
        inside |= held.reshape(grid.shape)
    # Half a step is the mean distance from the outermost inside centre to the surface between the centres.
    distance = ndimage.distance_transform_edt(~inside) * step - 0.5 * step
    distance = ndimage.gaussian_filter(distance, 1.0)
    image = vtkImageData()
    image.SetDimensions(*grid.shape)
    image.GetPointData().SetScalars(numpy_to_vtk(distance.ravel(order="F"), deep=True))
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, max(grow_mm, 0.25 * step))
    contour.ComputeNormalsOff()
    contour.Update()
    output = contour.GetOutput()
    points = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64)
    faces = vtk_to_numpy(output.GetPolys().GetConnectivityArray()).astype(np.int64).reshape(-1, 3)
    mesh = SurfaceMesh(grid.to_patient(points), faces)
    mesh = mesh if mesh.volume_mm3 > 0 else mesh.flipped()
    return _largest_shell(mesh)


def _largest_shell(mesh: SurfaceMesh) -> SurfaceMesh:
    """The connected shell of greatest volume: pockets inside a grown union are not entries."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(mesh.vertices_mm)
    rows = np.concatenate([mesh.faces[:, 0], mesh.faces[:, 1]])
    columns = np.concatenate([mesh.faces[:, 1], mesh.faces[:, 2]])
    count, label = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), (n, n)), directed=False)
    if count == 1:
        return mesh
    part = label[mesh.faces[:, 0]]
    shells = [SurfaceMesh(mesh.vertices_mm, mesh.faces[part == k]) for k in np.unique(part)]
    best = max(shells, key=lambda shell: shell.volume_mm3)
    used, faces = np.unique(best.faces, return_inverse=True)
    return SurfaceMesh(best.vertices_mm[used], faces.reshape(-1, 3))
