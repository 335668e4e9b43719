"""Exact signed distance to spheroids of revolution, and unions of them."""

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import DeviceError
from needleplan.frames import FloatArray, perpendicular_axes, read_only

_compiled: Any = njit(cache=True, error_model="numpy")
_compiled_parallel: Any = njit(cache=True, error_model="numpy", parallel=True)


@_compiled
def _ellipse_distance(e0: float, e1: float, y0: float, y1: float) -> float:
    """Distance of a point (y0, y1 >= 0) to the ellipse with semi-axes e0 >= e1 > 0.

    Robust bisection after Eberly, "Distance from a Point to an Ellipse, an Ellipsoid, or a Hyperellipsoid",
    Geometric Tools 2013, section 2.9.
    """
    if y1 > 0.0:
        if y0 > 0.0:
            z0 = y0 / e0
            z1 = y1 / e1
            g = z0 * z0 + z1 * z1 - 1.0
            if g == 0.0:
                return 0.0
            r0 = (e0 / e1) ** 2
            n0 = r0 * z0
            low = z1 - 1.0
            high = 0.0 if g < 0.0 else np.sqrt(n0 * n0 + z1 * z1) - 1.0
            s = 0.0
            for _ in range(80):
                s = 0.5 * (low + high)
                if s == low or s == high:
                    break
                ratio0 = n0 / (s + r0)
                ratio1 = z1 / (s + 1.0)
                g = ratio0 * ratio0 + ratio1 * ratio1 - 1.0
                if g > 0.0:
                    low = s
                elif g < 0.0:
                    high = s
                else:
                    break
            x0 = r0 * y0 / (s + r0)
            x1 = y1 / (s + 1.0)
            return float(np.sqrt((x0 - y0) ** 2 + (x1 - y1) ** 2))
        return float(abs(y1 - e1))
    numerator = e0 * y0
    denominator = e0 * e0 - e1 * e1
    if numerator < denominator:
        ratio = numerator / denominator
        x0 = e0 * ratio
        x1 = e1 * np.sqrt(1.0 - ratio * ratio)
        return float(np.sqrt((x0 - y0) ** 2 + x1 * x1))
    return float(abs(y0 - e0))


@_compiled
def _signed_distance(dx: float, dy: float, dz: float, axis: Any, axial: float, radial: float) -> float:
    """Signed distance, positive inside, of an offset from the centre to one spheroid."""
    z = abs(dx * axis[0] + dy * axis[1] + dz * axis[2])
    r = np.sqrt(max(0.0, dx * dx + dy * dy + dz * dz - z * z))
    if axial >= radial:
        distance = _ellipse_distance(axial, radial, z, r)
    else:
        distance = _ellipse_distance(radial, axial, r, z)
    inside = (z / axial) ** 2 + (r / radial) ** 2 <= 1.0
    return float(distance if inside else -distance)


@_compiled_parallel
def _union(points: Any, centres: Any, axes: Any, axial: Any, radial: Any, result: Any) -> None:
    for i in prange(points.shape[0]):
        best = -np.inf
        for k in range(centres.shape[0]):
            dx = points[i, 0] - centres[k, 0]
            dy = points[i, 1] - centres[k, 1]
            dz = points[i, 2] - centres[k, 2]
            # The enclosing ball bounds the distance from above, which spares most of the exact searches.
            bound = max(axial[k], radial[k]) - np.sqrt(dx * dx + dy * dy + dz * dz)
            if bound > best:
                best = max(best, _signed_distance(dx, dy, dz, axes[k], axial[k], radial[k]))
        result[i] = best


@_compiled_parallel
def _covering(points: Any, centres: Any, axes: Any, axial: Any, radial: Any, depth_mm: float, result: Any) -> None:
    for k in prange(centres.shape[0]):
        largest = max(axial[k], radial[k])
        for i in range(points.shape[0]):
            dx = points[i, 0] - centres[k, 0]
            dy = points[i, 1] - centres[k, 1]
            dz = points[i, 2] - centres[k, 2]
            if largest - np.sqrt(dx * dx + dy * dy + dz * dz) < depth_mm:
                continue
            result[k, i] = _signed_distance(dx, dy, dz, axes[k], axial[k], radial[k]) >= depth_mm


class SpheroidUnion(LethalZone):
    """Union of spheroids of revolution.

    The signed distance is the greatest of the single ones. Outside the union that is exact. Inside it is the
    radius of the largest ball about the point that lies in one spheroid: never more than the true distance to
    the union's boundary.

    Args:
        centres_mm: (k, 3) centres, patient LPS.
        axes: (k, 3) unit directions of the axes of revolution.
        axial_mm: (k,) semi-axes along them.
        radial_mm: (k,) semi-axes across them.
    """

    def __init__(self, centres_mm: ArrayLike, axes: ArrayLike, axial_mm: ArrayLike, radial_mm: ArrayLike) -> None:
        self.centres_mm = read_only(np.reshape(centres_mm, (-1, 3)))
        self.axes = read_only(np.reshape(axes, (-1, 3)))
        self.axial_mm = read_only(np.ravel(axial_mm))
        self.radial_mm = read_only(np.ravel(radial_mm))
        if not len(self.centres_mm) == len(self.axes) == len(self.axial_mm) == len(self.radial_mm):
            raise DeviceError("spheroids need as many centres as axes and semi-axes")
        if len(self.centres_mm) and not (min(self.axial_mm.min(), self.radial_mm.min()) > 0):
            raise DeviceError("a spheroid needs semi-axes greater than zero")

    def __len__(self) -> int:
        return len(self.centres_mm)

    def signed_distance_mm(self, points_mm: ArrayLike) -> FloatArray:
        """See LethalZone; minus infinity everywhere where there is no spheroid."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        result = np.empty(len(points))
        _union(points, self.centres_mm, self.axes, self.axial_mm, self.radial_mm, result)
        return result

    def covering(self, points_mm: ArrayLike, depth_mm: float) -> NDArray[np.bool_]:
        """(k, n) True where the ball of radius ``depth_mm`` about point n lies inside spheroid k."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        result = np.zeros((len(self), len(points)), dtype=np.bool_)
        _covering(points, self.centres_mm, self.axes, self.axial_mm, self.radial_mm, float(depth_mm), result)
        return result

    @property
    def bounds_mm(self) -> FloatArray:
        """See LethalZone; exact extents of each spheroid."""
        spread = np.sqrt(
            (self.axes * self.axial_mm[:, None]) ** 2 + (1.0 - self.axes**2) * self.radial_mm[:, None] ** 2
        )
        low, high = self.centres_mm - spread, self.centres_mm + spread
        return np.stack([low.min(axis=0), high.max(axis=0)])

    def surfaces(self) -> tuple[SurfaceMesh, ...]:
        """See LethalZone; one closed mesh a spheroid."""
        import trimesh

        ball = trimesh.creation.icosphere(subdivisions=4)
        meshes = []
        for centre, axis, axial, radial in zip(
            self.centres_mm, self.axes, self.axial_mm, self.radial_mm, strict=True
        ):
            x, y = perpendicular_axes(axis)
            stretched = ball.vertices * (radial, radial, axial)
            meshes.append(SurfaceMesh(stretched @ np.stack([x, y, axis]) + centre, ball.faces))
        return tuple(meshes)
