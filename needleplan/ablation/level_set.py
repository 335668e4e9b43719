"""Triangulates where a trilinear field is zero, and measures how far the triangles lie from that surface."""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.trilinear import pushed
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.tree import MeshTree
from needleplan.frames import FloatArray
from needleplan.grid import Grid

#: Triangles are halved until their edges' middles and their own lie nearer to the surface than this share of the
#: least voxel spacing: a hundredth of a millimetre on a 1 mm grid, a thousandth of any in-vivo scatter.
TOLERANCE_SHARE = 0.01
#: Halvings at most; each quarters the distance where the surface is smooth.
MOST_HALVINGS = 2
#: Middles of edges move onto the surface by less than this share of the edge, or not at all.
MOST_PUSH_SHARE = 0.2
#: How many times finer the field is contoured where its own grid is too coarse, one after the other.
FINER = (2, 4)
#: Voxels of a finer grid at most, which bounds time and memory (64 MB in float64).
MOST_FINE_VOXELS = 8e6
#: Greatest distance found at the sampled points, times this, stands for the greatest at all points. Over a triangle
#: of a surface of constant curvature the samples hold the greatest one.
SAFETY = 1.5
#: Rounding of the contouring filter, whose vertices are float32, as a share of the spacing.
ROUNDING_SHARE = 1e-4
#: Sub-cells along each side of a cell whose corners leave the surface's course open.
_SUBCELLS = 6
#: Corners sampled at a time, which bounds the memory.
_CHUNK_CELLS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class LevelSurface:
    """The surface on which a trilinear field is zero, as triangles.

    Attributes:
        mesh: closed, faces outward from where the field is positive.
        tree: of the mesh.
        error_mm: no point of the one surface lies farther from the other than this; measured at the middles of
            all faces and edges, and at samples of all cells in which the surface's course is open.
    """

    mesh: SurfaceMesh
    tree: MeshTree
    error_mm: float


def level_surface(grid: Grid, values: FloatArray) -> LevelSurface:
    """The zero surface of a field that is negative on the outermost voxels and positive on some other one.

    Contoured on the grid itself; where that leaves too great an error (sharp bends of the field, sheets nearer to
    each other than a voxel), on finer ones of the same trilinear field, as far as the memory allows.

    Args:
        grid: voxel centres.
        values: float64 of ``grid.shape``.
    """
    tolerance = TOLERANCE_SHARE * float(grid.spacing_mm.min())
    surface = _contoured(grid, values, tolerance)
    for parts in FINER:
        shape = tuple((n - 1) * parts + 1 for n in grid.shape)
        if surface.error_mm <= 2.0 * SAFETY * tolerance or np.prod(shape, dtype=float) > MOST_FINE_VOXELS:
            break
        matrix = np.array(grid.T_PV)
        matrix[:3, :3] /= parts
        finer = _contoured(Grid(shape, matrix), _refined(values, parts), tolerance)  # type: ignore[arg-type]
        if finer.error_mm < surface.error_mm:
            surface = finer
    return surface


def _refined(values: FloatArray, parts: int) -> FloatArray:
    """The trilinear field at ``parts`` times as many points along each axis."""
    for axis in range(3):
        last = values.shape[axis] - 1
        low, high = values.take(range(last), axis=axis), values.take(range(1, last + 1), axis=axis)
        share = (np.arange(parts) / parts).reshape([-1 if k == axis + 1 else 1 for k in range(4)])
        # A new axis behind the old one, and both joined.
        between = np.expand_dims(low, axis + 1) * (1.0 - share) + np.expand_dims(high, axis + 1) * share
        shape = [n * (parts if k == axis else 1) for k, n in enumerate(low.shape)]
        values = np.concatenate([between.reshape(shape), values.take([last], axis=axis)], axis=axis)
    return np.ascontiguousarray(values)


def _contoured(grid: Grid, values: FloatArray, tolerance_mm: float) -> LevelSurface:
    to_index = np.ascontiguousarray(np.linalg.inv(grid.T_PV[:3, :3]))
    axes = grid.T_PV[:3, :3]
    vertices, faces = _contour(values)
    for halving in range(MOST_HALVINGS + 1):
        edges, of_face = _edges(faces, len(vertices))
        ends = vertices[edges]
        length = np.linalg.norm((ends[:, 1] - ends[:, 0]) @ axes.T, axis=1)
        middles, off_edge = _push(values, ends.mean(axis=1), 0.5 * length, to_index)
        corners = vertices[faces]
        centres = corners.mean(axis=1)
        # A corner of the face lies on the surface, so the surface is no farther than the nearest of them.
        nearest = np.linalg.norm((corners - centres[:, None]) @ axes.T, axis=2).min(axis=1)
        _, off_face = _push(values, centres, nearest, to_index)
        # A middle that would move far might land on another sheet: such edges stay as they are.
        may_split = off_edge < MOST_PUSH_SHARE * length
        split = (off_edge > tolerance_mm) & may_split
        bulging = (off_face > tolerance_mm) & ~split[of_face].any(axis=1)
        split[of_face[bulging]] = True
        split &= may_split
        if halving == MOST_HALVINGS or not split.any():
            break
        vertices, faces = _halved(vertices, faces, of_face, middles, split)
    mesh = SurfaceMesh(grid.to_patient(vertices), faces)
    if mesh.volume_mm3 < 0:
        mesh = mesh.flipped()
    tree = MeshTree(mesh)
    off = max(float(off_edge.max()), float(off_face.max()))
    open_cells = grid.to_patient(_open_cell_samples(values))
    if len(open_cells):
        off = max(off, float(tree.segment_distance_mm(open_cells, open_cells).max()))
    return LevelSurface(mesh, tree, SAFETY * off + ROUNDING_SHARE * float(grid.spacing_mm.max()))


def _push(
    values: FloatArray, index: FloatArray, reach: FloatArray, to_index: FloatArray
) -> tuple[FloatArray, FloatArray]:
    moved, distance = np.empty_like(index), np.empty(len(index))
    pushed(values, index, reach, to_index, moved, distance)
    return moved, distance


def _contour(values: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Vertices (n, 3) in index coordinates on the grid's edges, and faces (m, 3)."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    image = vtkImageData()
    image.SetDimensions(*values.shape)
    scalars = numpy_to_vtk(values.ravel(order="F"), deep=True)
    image.GetPointData().SetScalars(scalars)
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 0.0)
    contour.ComputeNormalsOff()
    contour.ComputeScalarsOff()
    contour.Update()
    output = contour.GetOutput()
    rough = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64)
    faces = vtk_to_numpy(output.GetPolys().GetConnectivityArray()).astype(np.int64).reshape(-1, 3)
    # The filter's points are float32: each is put back to where its grid edge crosses zero.
    vertices = np.round(rough)
    axis = np.abs(rough - vertices).argmax(axis=1)
    rows = np.arange(len(rough))
    first = vertices.astype(np.int64)
    first[rows, axis] = np.floor(rough[rows, axis]).astype(np.int64)
    first[rows, axis] = np.minimum(first[rows, axis], np.array(values.shape)[axis] - 2)
    second = first.copy()
    second[rows, axis] += 1
    a, b = values[tuple(first.T)], values[tuple(second.T)]
    crosses = (a >= 0) != (b >= 0)
    vertices[rows, axis] = np.where(
        crosses, first[rows, axis] + a / np.where(crosses, a - b, 1.0), rough[rows, axis]
    )
    return vertices, faces


def _edges(faces: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Edges (k, 2) and for each face the edges (m, 3) that follow its corners."""
    following = np.roll(faces, -1, axis=1)
    low, high = np.minimum(faces, following), np.maximum(faces, following)
    keys, of_face = np.unique(low * np.int64(count) + high, return_inverse=True)
    return np.stack([keys // count, keys % count], axis=1), of_face.reshape(faces.shape)


def _halved(
    vertices: FloatArray,
    faces: NDArray[np.int64],
    of_face: NDArray[np.int64],
    middles: FloatArray,
    split: NDArray[np.bool_],
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Faces cut at the marked edges, whose middles become vertices; no edge is left that one face alone cuts."""
    place = np.full(len(split), -1, dtype=np.int64)
    place[split] = len(vertices) + np.arange(np.count_nonzero(split))
    cut = split[of_face]
    count = cut.sum(axis=1)
    # Each face is turned so that its first edge is cut and, of two cut ones, the second follows.
    lead = cut.argmax(axis=1)
    lead[(count == 2) & cut[:, 0] & cut[:, 2]] = 2
    turn = (lead[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(faces, turn, axis=1).T
    ab, bc, ca = place[np.take_along_axis(of_face, turn, axis=1)].T
    parts = [faces[count == 0]]
    for cuts, corners in (
        (1, ((a, ab, c), (ab, b, c))),
        (2, ((ab, b, bc), (a, ab, c), (ab, bc, c))),
        (3, ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))),
    ):
        rows = count == cuts
        parts += [np.stack([corner[rows] for corner in triple], axis=1) for triple in corners]
    return np.concatenate([vertices, middles[split]]), np.concatenate(parts)


@cache
def _leaves_course_open() -> NDArray[np.bool_]:
    """(256,) True for signs of a cell's corners (bit 4x + 2y + z set: positive) that more than one sheet may part.

    Where all positive corners hang together along edges of the cell, and all negative ones as well, one sheet
    parts them, as the contouring filter draws it.
    """

    def connected(corners: set[int]) -> bool:
        reached, front = set(), list(corners)[:1]
        while front:
            corner = front.pop()
            reached.add(corner)
            front += [corner ^ bit for bit in (1, 2, 4) if corner ^ bit in corners - reached]
        return reached == corners

    corner_sets = ({c for c in range(8) if signs >> c & 1} for signs in range(256))
    return np.array([not (connected(s) and connected(set(range(8)) - s)) for s in corner_sets])


def _open_cell_samples(values: FloatArray) -> FloatArray:
    """Points (n, 3) in index coordinates of the zero surface in the cells whose corners leave its course open."""
    positive = values >= 0
    signs = np.zeros(tuple(n - 1 for n in values.shape), dtype=np.uint8)
    shifts = list(product((0, 1), repeat=3))
    for bit, shift in enumerate(shifts):
        part = positive[tuple(slice(s, n - 1 + s) for s, n in zip(shift, values.shape, strict=True))]
        signs |= part.astype(np.uint8) << np.uint8(bit)
    cells = np.argwhere(_leaves_course_open()[signs])
    line = np.arange(_SUBCELLS + 1) / _SUBCELLS
    weights = np.stack([1.0 - line, line])
    found = [np.empty((0, 3))]
    for start in range(0, len(cells), _CHUNK_CELLS):
        some = cells[start : start + _CHUNK_CELLS]
        corners = np.stack([values[tuple((some + shift).T)] for shift in shifts], axis=1).reshape(-1, 2, 2, 2)
        fine = np.einsum("nabc,ai,bj,ck->nijk", corners, weights, weights, weights)
        for axis in (1, 2, 3):
            length = _SUBCELLS
            a, b = fine.take(range(length), axis=axis), fine.take(range(1, length + 1), axis=axis)
            crossed = np.argwhere((a >= 0) != (b >= 0))
            at_a, at_b = a[tuple(crossed.T)], b[tuple(crossed.T)]
            place = crossed[:, 1:].astype(np.float64)
            place[:, axis - 1] += at_a / (at_a - at_b)
            found.append(some[crossed[:, 0]] + place / _SUBCELLS)
    return np.concatenate(found)
