"""Masks and surfaces of solids given by a 1-Lipschitz signed distance."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.phantom_shapes import Shape
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import Grid

#: Edge lengths, in voxels, of the blocks that are decided as a whole where they lie far from the surface.
BLOCK_SIZES = (16, 8, 4, 2)

#: A vertex counts as on the surface where the field is below this, in mm.
SURFACE_TOLERANCE_MM = 1e-3


def sample(shape: Shape, grid: Grid, near_mm: float = 0.0) -> NDArray[np.float32]:
    """The field on the voxel centres of ``grid``: right in sign everywhere, in value within ``near_mm`` of zero.

    A block of voxels whose centre lies farther from the surface than its own half diagonal is all inside or all
    outside, since the field changes by no more than the distance walked; such a block takes its centre's value.
    """
    sizes = np.asarray(grid.shape)
    box = index_box(shape, grid)
    values = np.full(tuple(sizes + BLOCK_SIZES[0]), np.float32(np.inf))  # room for blocks that reach over the edge
    starts = _block_starts(box, BLOCK_SIZES[0])
    for level, block in enumerate(BLOCK_SIZES):
        if len(starts) == 0:
            break
        at_centre = shape.signed_distance(grid.to_patient(starts + 0.5 * (block - 1)))
        decided = np.abs(at_centre) > grid.half_diagonal_mm * (block - 1) + near_mm + 1e-9
        if block > 4:
            for (i, j, k), value in zip(starts[decided], at_centre[decided], strict=True):
                values[i : i + block, j : j + block, k : k + block] = value
        else:
            i, j, k = _children(starts[decided], block, 1).T
            values[i, j, k] = np.repeat(at_centre[decided], block**3)
        child = BLOCK_SIZES[level + 1] if level + 1 < len(BLOCK_SIZES) else 1
        starts = _children(starts[~decided], block, child)
        starts = starts[(starts < sizes).all(axis=1)]
    i, j, k = starts.T
    values[i, j, k] = shape.signed_distance(grid.to_patient(starts))
    return values[: sizes[0], : sizes[1], : sizes[2]]


def _children(starts: NDArray[np.int64], block: int, child: int) -> NDArray[np.int64]:
    """First voxels of the blocks of edge ``child`` in blocks of edge ``block``."""
    offsets = np.indices((block // child,) * 3).reshape(3, -1).T * child
    return (starts[:, None, :] + offsets[None, :, :]).reshape(-1, 3)


def _block_starts(box: tuple[slice, slice, slice], block: int) -> NDArray[np.int64]:
    axes = [np.arange(part.start, part.stop, block, dtype=np.int64) for part in box]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def index_box(shape: Shape, grid: Grid) -> tuple[slice, slice, slice]:
    """The part of a grid that holds a solid, as slices; at least one voxel, within the grid."""
    corners = grid.to_index(box_corners(*shape.bounds_mm))
    size = np.asarray(grid.shape)
    first = np.clip(np.floor(corners.min(axis=0)).astype(np.int64), 0, size - 1)
    last = np.clip(np.ceil(corners.max(axis=0)).astype(np.int64) + 1, first + 1, size)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return i, j, k


def box_corners(low: FloatArray, high: FloatArray) -> FloatArray:
    """(8, 3) corners of a box."""
    return np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])


def surface(shape: Shape, spacing_mm: float, low_mm: FloatArray, high_mm: FloatArray) -> SurfaceMesh:
    """The surface of a solid that lies within a box, as a closed mesh whose vertices are on the zero set.

    Flying edges give the topology; Newton steps along the gradient then carry each vertex to the surface.

    Args:
        shape: the solid.
        spacing_mm: distance between the samples; features thinner than two of them may be lost.
        low_mm: (3,) lower corner of a box that contains the solid.
        high_mm: (3,) upper corner.

    Raises:
        GeometryError: the solid has no sample inside, or reaches beyond the box.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    origin = np.asarray(low_mm) - 1.7 * spacing_mm
    sizes = np.ceil((np.asarray(high_mm) - origin) / spacing_mm + 1.7).astype(int) + 1
    matrix = np.diag([spacing_mm] * 3 + [1.0])
    matrix[:3, 3] = origin
    values = sample(shape, Grid((int(sizes[0]), int(sizes[1]), int(sizes[2])), matrix), near_mm=spacing_mm)
    values = np.clip(values, -4 * spacing_mm, 4 * spacing_mm)
    edge = min(face.min() for axis in range(3) for face in (values.take(0, axis), values.take(-1, axis)))
    if not (values < 0).any() or edge < 0:
        raise GeometryError(f"a solid with samples of {spacing_mm:g} mm is empty or reaches beyond its box")
    image = vtkImageData()
    image.SetDimensions(*(int(n) for n in sizes))
    image.SetSpacing(spacing_mm, spacing_mm, spacing_mm)
    image.SetOrigin(*(float(x) for x in origin))
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(order="F"), deep=True))
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 0.0)
    contour.ComputeNormalsOff()
    contour.Update()
    output = contour.GetOutput()
    vertices = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64)
    faces = vtk_to_numpy(output.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int32)
    vertices, faces = _without_slivers(vertices, faces, 0.02 * spacing_mm)
    mesh = SurfaceMesh(project_to_surface(shape, vertices, spacing_mm), faces)
    return mesh if mesh.volume_mm3 > 0 else mesh.flipped()


def _without_slivers(
    vertices: FloatArray, faces: NDArray[np.int32], tolerance_mm: float
) -> tuple[FloatArray, NDArray[np.int32]]:
    """Vertices closer than the tolerance merged, and the faces dropped that this collapses."""
    keys = np.round(vertices / tolerance_mm).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    merged = inverse.reshape(-1)[faces].astype(np.int32)
    a, b, c = merged.T
    return vertices[first], merged[(a != b) & (b != c) & (c != a)]


def gradient(shape: Shape, points_mm: FloatArray, step_mm: float = 1e-4) -> FloatArray:
    """(n, 3) gradient of the field by central differences."""
    columns = []
    for axis in range(3):
        offset = np.zeros(3)
        offset[axis] = step_mm
        columns.append(shape.signed_distance(points_mm + offset) - shape.signed_distance(points_mm - offset))
    return np.stack(columns, axis=1) / (2.0 * step_mm)


def project_to_surface(shape: Shape, points_mm: FloatArray, largest_step_mm: float) -> FloatArray:
    """Points (n, 3) near the surface carried onto it by Newton steps along the gradient.

    Points stay where they got to after 30 steps: at a sharp inner crease the steps can swing between two faces.
    """
    points = np.array(points_mm, dtype=np.float64)
    active = np.arange(len(points))
    for _ in range(30):
        value = shape.signed_distance(points[active])
        keep = np.abs(value) > 0.1 * SURFACE_TOLERANCE_MM
        active, value = active[keep], value[keep]
        if active.size == 0:
            break
        slope = gradient(shape, points[active])
        step = slope * (value / np.maximum((slope * slope).sum(axis=1), 1e-4))[:, None]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        points[active] -= step * np.minimum(1.0, largest_step_mm / np.maximum(length, 1e-12))
    return points
