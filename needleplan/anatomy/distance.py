"""Signed distances of points to closed surfaces (Open3D's ray-casting scene), and fields of them."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import NeedleplanError
from needleplan.frames import FloatArray
from needleplan.grid import Grid, ScalarField

#: Rays that vote on inside or outside; one alone errs at edges.
_INSIDE_VOTES = 5


class SurfaceDistance:
    """Signed distances to one closed surface, positive outside.

    Open3D computes in float32, so points are taken relative to the surface's centre: for a body of 400 mm the
    rounding is below 1e-4 mm.
    """

    def __init__(self, mesh: SurfaceMesh) -> None:
        self._mesh = mesh
        self._centre = mesh.bounds_mm.mean(axis=0)

    @cached_property
    def _scene(self) -> Any:
        try:
            import open3d
        except OSError as error:  # its shared libraries are loaded on import
            raise NeedleplanError(
                f"open3d cannot be loaded ({error}): install Debian's libusb-1.0-0 and libgomp1"
            ) from error
        scene = open3d.t.geometry.RaycastingScene()
        vertices = (self._mesh.vertices_mm - self._centre).astype(np.float32)
        scene.add_triangles(open3d.core.Tensor(vertices), open3d.core.Tensor(self._mesh.faces.astype(np.uint32)))
        return scene

    def signed_distance_mm(self, points_mm: ArrayLike) -> FloatArray:
        """(n,) distance of points (n, 3) to the surface: positive outside, negative inside."""
        query = self._query(points_mm)
        return self._scene.compute_signed_distance(query, nsamples=_INSIDE_VOTES).numpy().astype(np.float64)

    def distance_mm(self, points_mm: ArrayLike) -> FloatArray:
        """(n,) distance of points (n, 3) to the surface, above zero on either side of it; sooner than signed."""
        return self._scene.compute_distance(self._query(points_mm)).numpy().astype(np.float64)

    def contains(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """(n,) True for points (n, 3) inside the surface."""
        return self._scene.compute_occupancy(self._query(points_mm), nsamples=_INSIDE_VOTES).numpy() > 0.5

    def closest_points_mm(self, points_mm: ArrayLike) -> FloatArray:
        """(n, 3) nearest points of the surface to points (n, 3)."""
        answer = self._scene.compute_closest_points(self._query(points_mm))
        return answer["points"].numpy().astype(np.float64) + self._centre

    def _query(self, points_mm: ArrayLike) -> Any:
        import open3d

        relative = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3) - self._centre
        return open3d.core.Tensor(np.ascontiguousarray(relative, dtype=np.float32))


def signed_distance_field(mesh: SurfaceMesh, grid: Grid) -> ScalarField:
    """Signed distance to ``mesh`` on the voxel centres of ``grid``, positive outside.

    A distance changes by at most 1 mm a millimetre, so interpolation between the centres of one cell errs by
    at most the distance from the cell's middle to its corners: half the diagonal of a voxel. That is the
    field's stated error bound.
    """
    values = SurfaceDistance(mesh).signed_distance_mm(grid.centres_mm())
    return ScalarField(grid, values.reshape(grid.shape).astype(np.float32), grid.half_diagonal_mm + 1e-3)
