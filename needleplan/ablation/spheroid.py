"""Exact signed distance to spheroids of revolution, and unions of them."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.compiled import compiled, compiled_parallel, prange
from needleplan.errors import DeviceError
from needleplan.frames import FloatArray, perpendicular_axes, read_only

#: Spacing of the points that stand for the boundary of a union.
_BOUNDARY_SPACING_MM = 0.8
#: Halvings of the faces at the creases of a union.
_CREASE_HALVINGS = 5
#: Faces of one spheroid at a crease beyond which they are not halved again.
_MOST_FACES = 60_000
#: Largest side of the geodesic sphere's facets that spheroids are drawn with, for radius 1.
_FACET_ANGLE = 0.083


@compiled
def _ellipse_nearest(e0: float, e1: float, y0: float, y1: float) -> tuple[float, float]:
    """Nearest point to (y0, y1 >= 0) of the ellipse with semi-axes e0 >= e1 > 0, in the first quadrant.

    The equation of Eberly, "Distance from a Point to an Ellipse, an Ellipsoid, or a Hyperellipsoid",
    Geometric Tools 2013, section 2.9, solved by
    Newton's method.
    """
    if y1 > 0.0:
        if y0 > 0.0:
            z0 = y0 / e0
            z1 = y1 / e1
            g = z0 * z0 + z1 * z1 - 1.0
            if g == 0.0:
                return y0, y1
            r0 = (e0 / e1) ** 2
            n0 = r0 * z0
            # In u = s + 1, so that a point near the major axis loses no digits. g falls and is convex right of
            # both poles, and not negative at the start: Newton's steps approach the root from the left and never
            # pass it.
            excess = r0 - 1.0
            u = max(z1, n0 - excess)
            for _ in range(100):
                ratio0 = n0 / (u + excess)
                ratio1 = z1 / u
                value = ratio0 * ratio0 + ratio1 * ratio1 - 1.0
                slope = 2.0 * (ratio0 * ratio0 / (u + excess) + ratio1 * ratio1 / u)
                step = value / slope
                u += step
                if step <= 1e-15 * u:
                    break
            return r0 * y0 / (u + excess), y1 / u
        return 0.0, e1
    numerator = e0 * y0
    denominator = e0 * e0 - e1 * e1
    if numerator < denominator:
        ratio = numerator / denominator
        return e0 * ratio, e1 * np.sqrt(1.0 - ratio * ratio)
    return e0, 0.0


@compiled
def _signed_distance(dx: float, dy: float, dz: float, axis: Any, axial: float, radial: float) -> float:
    """Signed distance, positive inside, of an offset from the centre to one spheroid."""
    along = dx * axis[0] + dy * axis[1] + dz * axis[2]
    z = abs(along)
    # By the perpendicular part: the difference of the squares would lose half the digits near the axis.
    px, py, pz = dx - along * axis[0], dy - along * axis[1], dz - along * axis[2]
    r = np.sqrt(px * px + py * py + pz * pz)
    if axial >= radial:
        nearest_z, nearest_r = _ellipse_nearest(axial, radial, z, r)
    else:
        nearest_r, nearest_z = _ellipse_nearest(radial, axial, r, z)
    distance = np.sqrt((nearest_z - z) ** 2 + (nearest_r - r) ** 2)
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
def _nearest_is_hidden(points: Any, centres: Any, axes: Any, axial: Any, radial: Any, result: Any) -> None:
    """True where the nearest surface point of the spheroid that holds a point deepest lies in another one."""
    for i in prange(points.shape[0]):
        best = -np.inf
        deepest = 0
        for k in range(centres.shape[0]):
            dx = points[i, 0] - centres[k, 0]
            dy = points[i, 1] - centres[k, 1]
            dz = points[i, 2] - centres[k, 2]
            bound = max(axial[k], radial[k]) - np.sqrt(dx * dx + dy * dy + dz * dz)
            if bound > best:
                value = _signed_distance(dx, dy, dz, axes[k], axial[k], radial[k])
                if value > best:
                    best = value
                    deepest = k
        k = deepest
        dx = points[i, 0] - centres[k, 0]
        dy = points[i, 1] - centres[k, 1]
        dz = points[i, 2] - centres[k, 2]
        along = dx * axes[k, 0] + dy * axes[k, 1] + dz * axes[k, 2]
        px, py, pz = dx - along * axes[k, 0], dy - along * axes[k, 1], dz - along * axes[k, 2]
        r = np.sqrt(px * px + py * py + pz * pz)
        if r < 1e-9:
            # On the axis the nearest points may form a ring; leave it to the general search.
            result[i] = True
            continue
        if axial[k] >= radial[k]:
            nearest_z, nearest_r = _ellipse_nearest(axial[k], radial[k], abs(along), r)
        else:
            nearest_r, nearest_z = _ellipse_nearest(radial[k], axial[k], r, abs(along))
        stretch = nearest_r / r
        if along < 0.0:
            nearest_z = -nearest_z
        qx = centres[k, 0] + nearest_z * axes[k, 0] + stretch * px
        qy = centres[k, 1] + nearest_z * axes[k, 1] + stretch * py
        qz = centres[k, 2] + nearest_z * axes[k, 2] + stretch * pz
        for j in range(centres.shape[0]):
            if j != k:
                dx, dy, dz = qx - centres[j, 0], qy - centres[j, 1], qz - centres[j, 2]
                along = dx * axes[j, 0] + dy * axes[j, 1] + dz * axes[j, 2]
                r2 = dx * dx + dy * dy + dz * dz - along * along
                if along * along / (axial[j] * axial[j]) + r2 / (radial[j] * radial[j]) < 1.0:
                    result[i] = True
                    break


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
            # 1 - depth / least semi-axis; only between the two is the exact distance needed. For a negative depth,
            # a point that lies no farther outside than that, the two change places.
            inner_axial = axial[k] - depth
            inner_radial = radial[k] - depth
            if inner_axial <= 0.0 or inner_radial <= 0.0:
                continue
            z = dx * axes[k, 0] + dy * axes[k, 1] + dz * axes[k, 2]
            r = max(0.0, squared - z * z)
            in_shifted = z * z / (inner_axial * inner_axial) + r / (inner_radial * inner_radial) <= 1.0 + 1e-12
            scale = 1.0 - depth / least
            in_scaled = z * z / (axial[k] * axial[k]) + r / (radial[k] * radial[k]) <= scale * scale
            if depth < 0.0:
                in_shifted, in_scaled = in_scaled, in_shifted
            if not in_shifted:
                continue
            result[k, i] = in_scaled or _signed_distance(dx, dy, dz, axes[k], axial[k], radial[k]) >= depth


@compiled_parallel
def _reaching(points: Any, gap: float, centres: Any, axes: Any, axial: Any, radial: Any, result: Any) -> None:
    for k in prange(centres.shape[0]):
        farthest = max(axial[k], radial[k]) + gap
        for i in range(points.shape[0]):
            dx = points[i, 0] - centres[k, 0]
            dy = points[i, 1] - centres[k, 1]
            dz = points[i, 2] - centres[k, 2]
            if dx * dx + dy * dy + dz * dz >= farthest * farthest:
                continue
            if _signed_distance(dx, dy, dz, axes[k], axial[k], radial[k]) > -gap:
                result[k] = True
                break


@compiled_parallel
def _deepest(points: Any, centres: Any, axes: Any, axial: Any, radial: Any, result: Any) -> None:
    for k in prange(centres.shape[0]):
        best = -np.inf
        for i in range(points.shape[0]):
            dx = points[i, 0] - centres[k, 0]
            dy = points[i, 1] - centres[k, 1]
            dz = points[i, 2] - centres[k, 2]
            if max(axial[k], radial[k]) - np.sqrt(dx * dx + dy * dy + dz * dz) > best:
                best = max(best, _signed_distance(dx, dy, dz, axes[k], axial[k], radial[k]))
        result[k] = best


def _split_faces(triangles: FloatArray, spacing_mm: float, halved: bool = False) -> FloatArray:
    """Triangles (n, 3, 3) split into equal parts (m, 3, 3) with sides of at most ``spacing_mm``, or halved."""
    longest = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(axis=1)
    splits = np.full(len(longest), 2) if halved else np.maximum(1, np.ceil(longest / spacing_mm)).astype(int)
    parts = []
    for count in np.unique(splits):
        up = [((i, j), (i + 1, j), (i, j + 1)) for i in range(count) for j in range(count - i)]
        down = [((i + 1, j), (i + 1, j + 1), (i, j + 1)) for i in range(count) for j in range(count - i - 1)]
        corners = np.array(up + down, dtype=np.float64)
        weights = np.concatenate([corners, count - corners.sum(axis=2, keepdims=True)], axis=2) / count
        parts.append(np.einsum("pcw,fwx->fpcx", weights, triangles[splits == count]).reshape(-1, 3, 3))
    return np.concatenate(parts)


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
        """See LethalZone.

        Inside, the boundary of the union stands as points: those of each spheroid's surface that no other one
        hides. Every point of the union's boundary has a kept point within a known distance, so the distance to
        the nearest kept point less that never overstates.
        """
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        single = self.signed_distance_mm(points)
        return self._refined(points, single, self._hidden(points, single))

    def least_margin_mm(self, points_mm: ArrayLike) -> float:
        """See LethalZone; searches only about the points that could have the least margin."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        single = self.signed_distance_mm(points)
        hidden = self._hidden(points, single)
        least = float(single[~hidden].min(initial=np.inf))
        # Elsewhere the margin is more than ``single``, which is no less than the least one found so far.
        hidden &= single < least
        return min(least, float(self._refined(points, single, hidden)[hidden].min(initial=np.inf)))

    def _hidden(self, points: FloatArray, single: FloatArray) -> NDArray[np.bool_]:
        """True where the distance to the boundary may exceed that within one spheroid.

        Where the nearest surface point of the spheroid that holds a point deepest is on the boundary of the union
        as well, it is the nearest point of that: a ball about the point reaches it and lies in the spheroid.
        """
        hidden = np.zeros(len(points), dtype=np.bool_)
        inside = np.flatnonzero(single > 0)
        if len(self) > 1 and len(inside):
            found = np.zeros(len(inside), dtype=np.bool_)
            _nearest_is_hidden(points[inside], self.centres_mm, self.axes, self.axial_mm, self.radial_mm, found)
            hidden[inside] = found
        return hidden

    def _refined(self, points: FloatArray, single: FloatArray, hidden: NDArray[np.bool_]) -> FloatArray:
        """``single`` with the margins of hidden points raised to what the boundary's points allow."""
        if hidden.any():
            tree, _ = self._boundary
            nearest, _ = tree.query(points[hidden], workers=-1)
            single = single.copy()
            single[hidden] = np.maximum(single[hidden], nearest - self._boundary_slack_mm)
        return single

    @cached_property
    def _boundary(self) -> tuple[Any, float]:
        """Search tree of the kept points of all spheroids, and how far one of them may lie inside the union.

        The faces of a spheroid's surface are kept by their corners (none of them lies in another spheroid), fall
        away (another spheroid holds the face altogether) or are halved: the boundary of the union may run through
        them. What is left after the last halving lies at a crease. Corners of it that no spheroid hides are
        points of the boundary as well; where all are hidden one is kept, and its distance from the points surely
        on the boundary counts as error.
        """
        from scipy.spatial import cKDTree

        sure, doubtful = [np.empty((0, 3))], [np.empty((0, 3))]
        for k, mesh in enumerate(self.surfaces()):
            others = self._neighbours(k)
            faces = _split_faces(mesh.triangles_mm, _BOUNDARY_SPACING_MM)
            for halving in range(_CREASE_HALVINGS + 1):
                corners = self._onto_surface(k, faces.reshape(-1, 3))
                middles = faces.mean(axis=1)
                reach = np.linalg.norm(faces - middles[:, None, :], axis=2).max(axis=1) + self._sagitta_mm
                hidden: NDArray[np.bool_] = others.contains(corners)
                buried = np.logical_or.reduce(others.covering(middles, reach), axis=0)
                of_face = hidden.reshape(-1, 3)
                # Spheroids that nearly coincide have creases everywhere: there the halving ends earlier, with more
                # of the error stated.
                last = halving == _CREASE_HALVINGS or len(faces) > _MOST_FACES
                kept = np.asarray(~buried if last else ~of_face.any(axis=1))
                sure.append(corners[(kept[:, None] & ~of_face).ravel()])
                if last:
                    doubtful.append(corners.reshape(-1, 3, 3)[of_face.all(axis=1) & ~buried, 0])
                    break
                open_faces = faces[of_face.any(axis=1) & ~buried]
                if not len(open_faces):
                    break
                faces = _split_faces(open_faces, 0.0, halved=True)
        on_boundary = np.unique(np.round(np.concatenate(sure), 9), axis=0)
        inner = np.unique(np.round(np.concatenate(doubtful), 9), axis=0)
        depth_mm = 0.0
        if len(inner):
            depth_mm = float(cKDTree(on_boundary).query(inner)[0].max())
        return cKDTree(np.concatenate([on_boundary, inner])), depth_mm

    def _neighbours(self, k: int) -> "SpheroidUnion":
        """The other spheroids that may touch spheroid ``k``."""
        reach = np.maximum(self.axial_mm, self.radial_mm)
        near = np.linalg.norm(self.centres_mm - self.centres_mm[k], axis=1) <= reach + reach[k]
        near[k] = False
        return SpheroidUnion(self.centres_mm[near], self.axes[near], self.axial_mm[near], self.radial_mm[near])

    def _onto_surface(self, k: int, points: FloatArray) -> FloatArray:
        """Points (n, 3) of the facets of spheroid k moved onto its true surface, away from its middle."""
        offset = points - self.centres_mm[k]
        along = offset @ self.axes[k]
        across = np.linalg.norm(offset - along[:, None] * self.axes[k], axis=1)
        return self.centres_mm[k] + offset / np.hypot(along / self.axial_mm[k], across / self.radial_mm[k])[:, None]

    @property
    def _sagitta_mm(self) -> float:
        """Most by which a facet lies below its spheroid: the unit ball's, stretched by the longest semi-axis."""
        largest = float(max(self.axial_mm.max(), self.radial_mm.max()))
        return largest * (1.0 - float(np.sqrt(1.0 - _FACET_ANGLE**2 / 3.0)))

    @property
    def _boundary_slack_mm(self) -> float:
        # A point of the boundary, its foot on a facet, that facet's nearest corner, and the corner moved out.
        return _BOUNDARY_SPACING_MM / float(np.sqrt(3.0)) + 2.0 * self._sagitta_mm

    @property
    def margin_error_mm(self) -> float:
        """See LethalZone; exact for one spheroid."""
        return 0.0 if len(self) < 2 else self._boundary_slack_mm + self._boundary[1]

    def covering(self, points_mm: ArrayLike, radius_mm: ArrayLike) -> NDArray[np.bool_]:
        """(k, n) True where the ball of radius ``radius_mm`` (n,) or () about point n lies inside spheroid k.

        A negative radius asks that the point lies no farther outside than that.
        """
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        radii = np.ascontiguousarray(np.broadcast_to(np.asarray(radius_mm, dtype=np.float64), len(points)))
        result = np.zeros((len(self), len(points)), dtype=np.bool_)
        _covering(points, radii, self.centres_mm, self.axes, self.axial_mm, self.radial_mm, result)
        return result

    def reaching(self, points_mm: ArrayLike, gap_mm: float) -> NDArray[np.bool_]:
        """(k,) True where spheroid k comes nearer than ``gap_mm`` to any of the points (n, 3)."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        result = np.zeros(len(self), dtype=np.bool_)
        _reaching(points, float(gap_mm), self.centres_mm, self.axes, self.axial_mm, self.radial_mm, result)
        return result

    def deepest_mm(self, points_mm: ArrayLike) -> FloatArray:
        """(k,) greatest signed depth of any of the points (n, 3) in each spheroid; minus infinity without any."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        result = np.empty(len(self))
        _deepest(points, self.centres_mm, self.axes, self.axial_mm, self.radial_mm, result)
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
