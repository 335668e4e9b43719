"""A closed surface with its search tree: signed distances of points, and which points of a lattice it holds."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.tree import MeshTree
from needleplan.confirmation.subvoxel_surface import SubvoxelSurface
from needleplan.frames import FloatArray
from needleplan.grid import Grid
from needleplan.registration.rotations import rotations_of
from needleplan.registration.surface_fit import SurfaceFit

#: By what lattices are turned against the patient's axes.
_TURN = rotations_of((0.0311, -0.0173, 0.0257))


class ClosedBody:
    """The solid that a closed surface bounds.

    Args:
        mesh: closed, facing outward.
        voxel_axes_mm: (3, 3) edges of the voxels that it was found in, as columns; None where it is exact.
    """

    def __init__(self, mesh: SurfaceMesh, voxel_axes_mm: FloatArray | None = None) -> None:
        self.mesh = mesh
        self._axes_mm = np.zeros((3, 3)) if voxel_axes_mm is None else voxel_axes_mm

    @classmethod
    def of(cls, surface: SubvoxelSurface) -> "ClosedBody":
        """The solid within the surface of a mask."""
        return cls(surface.mesh, surface.voxel_axes_mm)

    @cached_property
    def vertex_normals(self) -> FloatArray:
        """(n, 3) outward unit normals at its vertices."""
        return SurfaceFit(self.mesh).vertex_normals

    def resolution_mm(self, normals: FloatArray) -> FloatArray:
        """(n,) how far the surface may be off where it faces along unit normals (n, 3): half a voxel along them.

        Edges e of a voxel span sqrt(sum (e n)²) along n: its edge along an axis, and in slices 5 mm thick no more
        than its fine edges where the surface stands upright on them.
        """
        return np.asarray(0.5 * np.linalg.norm(normals @ self._axes_mm, axis=1))

    @cached_property
    def tree(self) -> MeshTree:
        """Its tree, built at the first use."""
        return MeshTree(self.mesh)

    def signed_distance_mm(self, points_mm: FloatArray, cap_mm: float = np.inf) -> FloatArray:
        """(n,) exact distances of points (n, 3) to the surface, positive inside; none beyond ``cap_mm``."""
        distance = self.tree.segment_distance_mm(points_mm, points_mm, cap_mm)
        return np.where(self.tree.contains(points_mm), distance, -distance)

    def contains(self, points_mm: FloatArray) -> NDArray[np.bool_]:
        """(n,) True for points (n, 3) inside."""
        return self.tree.contains(points_mm)

    def holds(self, lattice: Grid) -> NDArray[np.bool_]:
        """True for the points of a lattice that lie inside, in the lattice's shape.

        One ray for each column along the last axis instead of three for each point. A column that is not left as
        often as it is entered grazes an edge, and its points are asked one by one.
        """
        rows, columns, depth = lattice.shape
        # Half a step beyond both ends, so that the outermost points lie between the ends too.
        first = np.indices((rows, columns, 1)).reshape(3, -1).T.astype(np.float64)
        first[:, 2] = -0.5
        last = first + np.array([0.0, 0.0, float(depth)])
        tree = self.tree
        low, high = tree.bounds_mm
        index = lattice.to_index(_corners(low, high))
        reach = index.min(axis=0) - 1.0, index.max(axis=0) + 1.0
        inside = np.zeros((rows * columns, depth), dtype=np.bool_)
        near = np.flatnonzero(((first[:, :2] >= reach[0][:2]) & (first[:, :2] <= reach[1][:2])).all(axis=1))
        if not len(near):
            return inside.reshape(lattice.shape)
        # Rays begin and end outside the surface.
        first[:, 2], last[:, 2] = min(-0.5, reach[0][2]), max(depth - 0.5, reach[1][2])
        length = float(last[0, 2] - first[0, 2])
        found = tree.crossings(lattice.to_patient(first[near]), lattice.to_patient(last[near]))
        at = first[0, 2] + length * found.parameter
        outward = np.where(np.isfinite(found.parameter), np.where(found.outward, 1, -1), 0)
        whole = (outward.sum(axis=1) == 0) & (np.abs(np.cumsum(outward, axis=1) + 0.5) <= 0.5).all(axis=1)
        place = np.ceil(np.where(np.isfinite(at), at, 0.0)).astype(np.int64).clip(0, depth)
        change = np.zeros((len(near), depth + 1), dtype=np.int32)
        row = np.broadcast_to(np.arange(len(near))[:, None], place.shape)
        np.add.at(change, (row, place), -outward)
        inside[near] = np.cumsum(change, axis=1)[:, :depth] > 0
        for column in np.flatnonzero(~whole):
            points = np.repeat(first[near[column]][None], depth, axis=0)
            points[:, 2] = np.arange(depth)
            inside[near[column]] = tree.contains(lattice.to_patient(points))
        return inside.reshape(lattice.shape)


def slack_mm(normals: FloatArray, *bodies: ClosedBody) -> FloatArray:
    """(n,) distance within which surfaces that face along unit normals (n, 3) are not told apart."""
    return np.sqrt(sum(body.resolution_mm(normals) ** 2 for body in bodies))


def _corners(low: FloatArray, high: FloatArray) -> FloatArray:
    return np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])


def lattice_over(low_mm: FloatArray, high_mm: FloatArray, step_mm: float) -> Grid:
    """A lattice of cubes of an edge over a box of the patient's axes, its outermost middles just outside the box.

    It is turned against all axes by a little, so that its columns do not run along the edges of a surface that was
    made from voxels.
    """
    middle, half = 0.5 * (low_mm + high_mm), 0.5 * (high_mm - low_mm)
    reach = np.abs(_TURN).T @ half
    counts = np.ceil(2.0 * reach / step_mm).astype(int) + 1
    matrix = np.eye(4)
    matrix[:3, :3] = step_mm * _TURN
    matrix[:3, 3] = middle - matrix[:3, :3] @ ((counts - 1) / 2.0)
    return Grid((int(counts[0]), int(counts[1]), int(counts[2])), matrix)
