"""Points that stand for a solid: if a ball about each is destroyed, so is everything between them."""

from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only

#: Covering radius of the body-centred cubic lattice over its edge: sqrt(5)/4 (Conway and Sloane, Sphere
#: Packings, Lattices and Groups, 1999, ch. 2); the thinnest lattice covering of space.
_BCC_COVERING_RADIUS = np.sqrt(5.0) / 4.0
#: A finer lattice would claim more accuracy than zones or segmentations have.
LEAST_EDGE_MM = 1.6
#: Cubes along a lattice edge by which the covering near the boundary is measured.
_FINE = 6


@dataclass(frozen=True, slots=True, eq=False)
class TargetRegion:
    """Target plus margin, as points with balls that cover it without a gap.

    Attributes:
        points_mm: (n, 3) points of the region, patient LPS.
        depth_mm: every point of the solid lies within this distance of one of the points.
        margin_mm: margin about the target.
        volume_ml: volume of the region, by counting points.
    """

    points_mm: FloatArray
    depth_mm: float
    margin_mm: float
    volume_ml: float


def target_region(queries: AnatomyQueries, margin_mm: float, point_count: int) -> TargetRegion:
    """Points for target plus margin.

    Points of a body-centred cubic lattice inside the region, and for those just outside it the nearest point of
    the region. Inside, the covering radius is the lattice's. Near the boundary it is measured on a finer
    lattice, and that lattice's own half-diagonal is added, so that ``depth_mm`` is a bound in continuous space.

    Args:
        queries: the anatomy.
        margin_mm: margin about the target, zero or more.
        point_count: about this many points.

    Raises:
        OptionError: the margin is negative or not finite.
    """
    if not 0 <= margin_mm <= 50:
        raise OptionError(f"the margin must be between 0 and 50 mm, not {margin_mm:g}")
    anatomy = queries.anatomy
    mesh = anatomy.target.mesh
    # Volume of the parallel body by Steiner's formula without the curvature terms: enough to choose a spacing.
    volume = mesh.volume_mm3 + mesh.area_mm2 * margin_mm + 4.19 * margin_mm**3
    edge = max(LEAST_EDGE_MM, float(np.cbrt(2.0 * volume / point_count)))
    radius = _BCC_COVERING_RADIUS * edge
    origin = mesh.vertices_mm.mean(axis=0)
    axes = anatomy.axes
    local = (mesh.vertices_mm - origin) @ axes
    distance = queries.distance(anatomy.target)

    def lattice(step: float, shift: float) -> FloatArray:
        reach = margin_mm + 2.0 * edge
        ranges = [
            np.arange(np.floor((a - reach) / step), np.ceil((b + reach) / step) + 1)
            for a, b in zip(local.min(axis=0), local.max(axis=0), strict=True)
        ]
        nodes = (np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) + shift) * step
        return np.asarray(origin + nodes @ axes.T)

    cloud = np.concatenate([lattice(edge, 0.0), lattice(edge, 0.5)])
    depth = distance.signed_distance_mm(cloud)
    inside = depth <= margin_mm
    rim = ~inside & (depth <= margin_mm + radius + 1e-3)
    nearest = distance.closest_points_mm(cloud[rim])
    offset = cloud[rim] - nearest
    offset *= (margin_mm / np.linalg.norm(offset, axis=1))[:, None]
    points = np.concatenate([cloud[inside], nearest + offset])
    volume_ml = float(inside.sum()) * edge**3 / 2.0 / 1000.0
    shell = cloud[: len(cloud) // 2]
    shell = shell[np.abs(depth[: len(cloud) // 2] - margin_mm) <= radius + edge]
    offsets = (np.indices((_FINE,) * 3).reshape(3, -1).T + 0.5) / _FINE - 0.5
    fine = (shell[:, None, :] + (offsets @ axes.T * edge)[None, :, :]).reshape(-1, 3)
    covered_within = _covered_within(points, fine, edge / _FINE, distance, margin_mm, radius)
    return TargetRegion(read_only(points), covered_within, margin_mm, volume_ml)


def _covered_within(
    points: FloatArray,
    fine: FloatArray,
    fine_edge: float,
    distance: SurfaceDistance,
    margin_mm: float,
    radius: float,
) -> float:
    """Bound on the distance from any point of the region to the nearest of ``points``.

    ``fine`` are the middles of cubes that fill all space near the region's boundary; deeper inside the lattice's
    own covering radius holds.
    """
    from scipy.spatial import cKDTree

    slack = 0.5 * float(np.sqrt(3.0)) * fine_edge
    gap, _ = cKDTree(points).query(fine)
    doubtful = np.flatnonzero(gap > radius - slack)
    if not len(doubtful):
        return radius
    depth = distance.signed_distance_mm(fine[doubtful])
    # A cube matters where it reaches into the region and within the boundary's reach of outside lattice points.
    near = (depth <= margin_mm + slack) & (depth >= margin_mm - radius - slack)
    return max(radius, float(gap[doubtful[near]].max(initial=0.0)) + slack)
