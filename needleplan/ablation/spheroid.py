"""Exact signed distance to spheroids of revolution, and unions of them."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.surface_points import surface_points
from needleplan.compiled import compiled, compiled_parallel, prange
from needleplan.errors import DeviceError
from needleplan.frames import FloatArray, perpendicular_axes, read_only

#: Spacing of the points that stand for the boundary of a union.
_BOUNDARY_SPACING_MM = 0.6
#: Largest side of the geodesic sphere's facets that spheroids are drawn with, for radius 1.
_FACET_ANGLE = 0.083


@compiled
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


@compiled
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


@compiled_parallel
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


@compiled_parallel
def _inside_any(points: Any, centres: Any, axes: Any, axial: Any, radial: Any, result: Any) -> None:
    for i in prange(points.shape[0]):
        for k in range(centres.shape[0]):
            dx = points[i, 0] - centres[k, 0]
            dy = points[i, 1] - centres[k, 1]
            dz = points[i, 2] - centres[k, 2]
            z = dx * axes[k, 0] + dy * axes[k, 1] + dz * axes[k, 2]
            r = dx * dx + dy * dy + dz * dz - z * z
            if z * z / (axial[k] * axial[k]) + r / (radial[k] * radial[k]) <= 1.0:
                result[i] = True
                break


@compiled_parallel
def _covering(points: Any, depths: Any, centres: Any, axes: Any, axial: Any, radial: Any, result: Any) -> None:
    for k in prange(centres.shape[0]):
        largest = max(axial[k], radial[k])
        least = min(axial[k], radial[k])
        for i in range(points.shape[0]):
            depth = depths[i]
            dx = points[i, 0] - centres[k, 0]
            dy = points[i, 1] - centres[k, 1]
            dz = points[i, 2] - centres[k, 2]
            squared = dx * dx + dy * dy + dz * dz
            room = largest - depth
            if room <= 0.0 or squared > room * room:
                continue
            # A ball of that radius fits only within the spheroid whose semi-axes are shorter by it (Minkowski's
            # inequality of the support functions), and it does fit within the spheroid scaled by
            # 1 - depth / least semi-axis; only between the two is the exact distance needed.
            inner_axial = axial[k] - depth
            inner_radial = radial[k] - depth
            if inner_axial <= 0.0 or inner_radial <= 0.0:
                continue
            z = dx * axes[k, 0] + dy * axes[k, 1] + dz * axes[k, 2]
            r = max(0.0, squared - z * z)
            if z * z / (inner_axial * inner_axial) + r / (inner_radial * inner_radial) > 1.0 + 1e-12:
                continue
            scale = 1.0 - depth / least
            if z * z / (axial[k] * axial[k]) + r / (radial[k] * radial[k]) <= scale * scale:
                result[k, i] = True
            else:
                result[k, i] = _signed_distance(dx, dy, dz, axes[k], axial[k], radial[k]) >= depth


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

    def contains(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """See LethalZone."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        result = np.zeros(len(points), dtype=np.bool_)
        _inside_any(points, self.centres_mm, self.axes, self.axial_mm, self.radial_mm, result)
        return result

    def margin_mm(self, points_mm: ArrayLike) -> FloatArray:
        """See LethalZone; looks for the nearest point of the union's boundary.

        Points spread over each spheroid are kept unless they lie deeper than their spacing in another one. Every
        point of the union's boundary then has a kept point within the spacing, so the distance to the nearest
        kept point less the spacing never overstates.
        """
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        single = self.signed_distance_mm(points)
        inside = single > 0
        if len(self) < 2 or not inside.any():
            return single
        nearest, _ = self._boundary.query(points[inside], workers=2)
        single[inside] = np.maximum(single[inside], nearest - self._boundary_slack_mm)
        return single

    @cached_property
    def _boundary(self) -> Any:
        """Search tree of the kept points of all spheroids."""
        from scipy.spatial import cKDTree

        kept = []
        for k, mesh in enumerate(self.surfaces()):
            cloud, _ = surface_points(mesh, _BOUNDARY_SPACING_MM)
            cloud = np.unique(np.round(cloud, 6), axis=0)
            deep = np.zeros(len(cloud), dtype=np.bool_)
            for other in range(len(self)):
                if other != k:
                    one = slice(other, other + 1)
                    rest = SpheroidUnion(
                        self.centres_mm[one], self.axes[one], self.axial_mm[one], self.radial_mm[one]
                    )
                    deep |= rest.covering(cloud, self._boundary_slack_mm)[0]
            kept.append(cloud[~deep])
        return cKDTree(np.concatenate(kept))

    @property
    def _boundary_slack_mm(self) -> float:
        # The facets of the drawn spheroid lie within the sagitta of its largest side below the true surface.
        largest = float(max(self.axial_mm.max(), self.radial_mm.max()))
        least = float(min(self.axial_mm.min(), self.radial_mm.min()))
        side = _FACET_ANGLE * largest
        return _BOUNDARY_SPACING_MM / float(np.sqrt(3.0)) + side * side * largest / (least * least) / 6.0

    @property
    def margin_error_mm(self) -> float:
        """See LethalZone; exact for one spheroid."""
        return 0.0 if len(self) < 2 else 2.0 * self._boundary_slack_mm

    def covering(self, points_mm: ArrayLike, radius_mm: ArrayLike) -> NDArray[np.bool_]:
        """(k, n) True where the ball of radius ``radius_mm`` (n,) or () about point n lies inside spheroid k."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        radii = np.ascontiguousarray(np.broadcast_to(np.asarray(radius_mm, dtype=np.float64), len(points)))
        result = np.zeros((len(self), len(points)), dtype=np.bool_)
        _covering(points, radii, self.centres_mm, self.axes, self.axial_mm, self.radial_mm, result)
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
