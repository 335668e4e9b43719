"""Points that stand for a solid: if a ball about each is destroyed, so is everything between them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only

#: Halvings of the coarse cubes near the boundary. Coarser ones inside would be too large to lie in one zone.
_LEVELS = 1
#: Finest cubes: finer would claim more accuracy than zones or segmentations have.
LEAST_EDGE_MM = 0.5
#: No ablation asks for more.
LARGEST_MARGIN_MM = 50.0
#: Distances are computed in single precision; so much is given away wherever they decide what is left out.
_ROUNDING_MM = 1e-3
#: Half the diagonal of a cube of edge 1.
_HALF_DIAGONAL = 0.5 * np.sqrt(3.0)


@dataclass(frozen=True, slots=True, eq=False)
class TargetRegion:
    """Target plus margin, as balls that cover it without a gap.

    Attributes:
        points_mm: (n, 3) centres of the balls, all within the region, patient LPS.
        radius_mm: (n,) their radii: every point of the solid lies in at least one ball.
        share_ml: (n,) volume of the region that each ball stands for.
        margin_mm: margin about the target.
        in_target: (n,) True for balls whose middle lies in the target itself; all of them unless stated.
    """

    points_mm: FloatArray
    radius_mm: FloatArray
    share_ml: FloatArray
    margin_mm: float
    in_target: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.points_mm)

    def part(self, kept: NDArray[np.bool_]) -> "TargetRegion":
        """The region of some balls alone, (n,) True where one is kept."""
        within = None if self.in_target is None else self.in_target[kept]
        return TargetRegion(self.points_mm[kept], self.radius_mm[kept], self.share_ml[kept], self.margin_mm, within)

    def without(self, zone: LethalZone) -> "TargetRegion":
        """What a zone does not hold: the balls that do not lie in it as a whole."""
        return self.part(zone.signed_distance_mm(self.points_mm) < self.radius_mm)

    def deepened(self, extra_mm: FloatArray) -> "TargetRegion":
        """The same balls with larger radii: a zone must hold each of them by so much more (n,)."""
        return TargetRegion(
            self.points_mm, read_only(self.radius_mm + extra_mm), self.share_ml, self.margin_mm, self.in_target
        )

    def shrunk(self, share: float) -> "TargetRegion":
        """The same balls with a share of their radii; they leave gaps."""
        return TargetRegion(
            self.points_mm, read_only(share * self.radius_mm), self.share_ml, self.margin_mm, self.in_target
        )

    @property
    def volume_ml(self) -> float:
        """Volume of the region, by the cubes that the balls stand for."""
        return float(self.share_ml.sum())


def target_region(queries: AnatomyQueries, margin_mm: float, point_count: int) -> TargetRegion:
    """Balls for target plus margin.

    The region is cut into cubes: coarse inside, halved towards its boundary. A cube inside the region is
    covered by the ball about its middle with half its diagonal as radius. Of a finest cube that the boundary
    passes only the part inside the region counts: it lies in a ball about the region's point nearest to the
    cube's middle, whose radius is measured on the parts of the cube.

    Args:
        queries: the anatomy.
        margin_mm: margin about the target, zero or more.
        point_count: about this many balls at the boundary.

    Raises:
        OptionError: the margin is negative or not finite.
    """
    if not 0 <= margin_mm <= LARGEST_MARGIN_MM:
        raise OptionError(f"the margin must be between 0 and {LARGEST_MARGIN_MM:g} mm, not {margin_mm:g}")
    anatomy = queries.anatomy
    mesh = anatomy.target.mesh
    # Area of the parallel body by Steiner's formula for a ball of the same area: enough to choose a spacing.
    area = mesh.area_mm2 * (1.0 + margin_mm / np.sqrt(mesh.area_mm2 / (4.0 * np.pi))) ** 2
    finest = max(LEAST_EDGE_MM, float(np.sqrt(2.0 * _HALF_DIAGONAL * area / point_count)))
    origin = mesh.vertices_mm.mean(axis=0)
    axes = anatomy.axes
    local = (mesh.vertices_mm - origin) @ axes
    distance = queries.distance(anatomy.target)
    edge = finest * 2**_LEVELS
    ranges = [
        np.arange(np.floor((a - margin_mm) / edge) - 0.5, (b + margin_mm) / edge + 1.0) * edge
        for a, b in zip(local.min(axis=0), local.max(axis=0), strict=True)
    ]
    cubes = origin + np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) @ axes.T
    points, radii, shares = [], [], []
    for level in range(_LEVELS + 1):
        reach = _HALF_DIAGONAL * edge
        depth = distance.signed_distance_mm(cubes) - margin_mm
        inside = depth <= -reach
        points.append(cubes[inside])
        radii.append(np.full(int(inside.sum()), reach))
        shares.append(np.full(int(inside.sum()), edge**3 / 1000.0))
        cubes = cubes[~inside & (depth <= reach + _ROUNDING_MM)]
        if level < _LEVELS:
            edge /= 2.0
            cubes = (cubes[:, None, :] + (_parts(2) @ axes.T * 2.0 * edge)[None, :, :]).reshape(-1, 3)
    ball = _boundary_balls(cubes, edge, axes, distance, margin_mm)
    points.append(ball[0])
    radii.append(ball[1])
    shares.append(ball[2])
    middles = np.concatenate(points)
    return TargetRegion(
        read_only(middles),
        read_only(np.concatenate(radii)),
        read_only(np.concatenate(shares)),
        float(margin_mm),
        read_only(distance.signed_distance_mm(middles) <= 0.0, np.bool_),
    )


def _parts(count: int) -> FloatArray:
    """(count³, 3) middles of the parts of a cube of edge 1 about the origin."""
    return np.asarray((np.indices((count,) * 3).reshape(3, -1).T + 0.5) / count - 0.5)


def _boundary_balls(
    cubes: FloatArray, edge: float, axes: FloatArray, distance: SurfaceDistance, margin_mm: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Balls for the parts of finest cubes that lie in the region: centres, radii, volumes."""
    count = 3
    offsets = _parts(count) @ axes.T * edge
    slack = _HALF_DIAGONAL * edge / count
    parts = cubes[:, None, :] + offsets[None, :, :]
    depth = distance.signed_distance_mm(parts.reshape(-1, 3)).reshape(parts.shape[:2]) - margin_mm
    # A part may hold points of the region where its middle is within its own half-diagonal of it.
    reaching = depth <= slack + _ROUNDING_MM
    kept = reaching.any(axis=1)
    cubes, parts, reaching, depth = cubes[kept], parts[kept], reaching[kept], depth[kept]
    centres = _into_region(cubes, distance, margin_mm)
    gaps = np.linalg.norm(parts - centres[:, None, :], axis=2)
    radii = np.where(reaching, gaps, 0.0).max(axis=1) + slack
    shares = (depth <= 0).mean(axis=1) * edge**3 / 1000.0
    return centres, radii, shares


def _into_region(points: FloatArray, distance: SurfaceDistance, margin_mm: float) -> FloatArray:
    """The points, those outside the region replaced by the region's nearest point."""
    depth = distance.signed_distance_mm(points)
    outside = depth > margin_mm
    result = points.copy()
    nearest = distance.closest_points_mm(points[outside])
    offset = points[outside] - nearest
    length = np.maximum(np.linalg.norm(offset, axis=1), 1e-9)
    result[outside] = nearest + offset * (margin_mm / length)[:, None]
    return result
