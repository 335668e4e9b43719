"""The signed margin over the tumour's surface, with what a capsule beside it changes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.tree import MeshTree
from needleplan.confirmation.clipping import clipped_triangles, share_below
from needleplan.confirmation.closed_body import ClosedBody, slack_mm
from needleplan.confirmation.options import FARTHEST_MM, CapsuleRule, ConfirmationOptions
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only

#: Where triangles are cut, the distances that say so are told apart up to this.
_CUT_MM = 8.0


@dataclass(frozen=True, slots=True)
class MarginShares:
    """Disjoint shares of the tumour's surface by its area; they add to 1.

    Attributes:
        uncovered: below 0 mm: tumour lies outside the zone.
        short: from 0 mm to the margin that was asked for.
        reached: that margin or more.
    """

    uncovered: float
    short: float
    reached: float


@dataclass(frozen=True, slots=True, eq=False)
class MarginMap:
    """Signed margins at the vertices of the tumour's surface, positive where the zone reaches beyond it.

    Attributes:
        mesh: the tumour's surface.
        margins_mm: (n,) by the capsule rule that was asked for.
        plain_margins_mm: (n,) signed distance to the zone's surface, whatever the organ.
        capsule_depth_mm: (n,) how far below the organ's surface, negative outside it; not told apart beyond twice
            the distance within which it lies beside the capsule. NaN where no organ is known.
        counted: (n,) False where the rule leaves the surface out.
        beside_capsule: (n,) True where it lies beside the capsule.
        undecided: (n,) True at the capsule where the surface lies outside the zone by less than the voxels tell;
            by the rule ``inward`` taken as covered.
        asked_mm: margin that the shares are stated for.
    """

    mesh: SurfaceMesh
    margins_mm: FloatArray
    plain_margins_mm: FloatArray
    capsule_depth_mm: FloatArray
    counted: NDArray[np.bool_]
    beside_capsule: NDArray[np.bool_]
    undecided: NDArray[np.bool_]
    asked_mm: float

    def __post_init__(self) -> None:
        for name in ("margins_mm", "plain_margins_mm", "capsule_depth_mm"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        for name in ("counted", "beside_capsule", "undecided"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.bool_))

    @property
    def lowest(self) -> int:
        """Vertex of the least margin that counts."""
        return int(np.argmin(np.where(self.counted, self.margins_mm, np.inf)))

    @property
    def least_mm(self) -> float:
        """The least margin (minimal ablation margin; Laimer et al., Eur Radiol 2020;30:2463)."""
        return float(self.margins_mm[self.lowest])

    @property
    def least_at_mm(self) -> FloatArray:
        """(3,) where that is."""
        return np.asarray(self.mesh.vertices_mm[self.lowest])

    @property
    def plain_least_mm(self) -> float:
        """The least margin if the capsule is ignored."""
        return float(self.plain_margins_mm.min())

    @property
    def excluded_least_mm(self) -> float | None:
        """The least margin if what lies beside the capsule is left out; None where nothing else is left."""
        left = self.plain_margins_mm[~self.beside_capsule]
        return float(left.min()) if len(left) else None

    @property
    def counted_share(self) -> float:
        """Share of the surface's area that counts."""
        return float(self._areas @ self._weights / self._areas.sum())

    @property
    def beside_capsule_share(self) -> float:
        """Share of the surface's area beside the capsule."""
        return self._share(self.beside_capsule)

    @property
    def undecided_share(self) -> float:
        """Share of the surface's area at the capsule of which the voxels do not tell whether the zone holds it."""
        return self._share(self.undecided)

    @property
    def mean_mm(self) -> float:
        """Mean of the plain margins over the area.

        The rule of the capsule stands for distances to organ that was left, which may be far away: a mean of those
        says nothing of the zone.
        """
        return float(self._areas @ self.plain_margins_mm[self.mesh.faces].mean(axis=1) / self._areas.sum())

    @property
    def shares(self) -> MarginShares:
        """Shares of the area that counts."""
        uncovered = self.share_below(0.0)
        below = self.share_below(self.asked_mm)
        return MarginShares(uncovered, below - uncovered, 1.0 - below)

    def share_below(self, limit_mm: float) -> float:
        """Share of the area that counts with less than a margin."""
        return share_below(self._areas * self._weights, self.margins_mm[self.mesh.faces], limit_mm)

    def _share(self, chosen: NDArray[np.bool_]) -> float:
        return float(self._areas @ chosen[self.mesh.faces].mean(axis=1) / self._areas.sum())

    @property
    def _areas(self) -> FloatArray:
        return np.linalg.norm(self.mesh.area_vectors_mm2, axis=1)

    @property
    def _weights(self) -> FloatArray:
        return np.asarray(self.counted[self.mesh.faces].mean(axis=1))


def margin_map(
    tumour: ClosedBody,
    zone: ClosedBody,
    organ: ClosedBody | None,
    options: ConfirmationOptions,
) -> MarginMap:
    """Measure the margin at every vertex of the tumour's surface.

    By the rule ``inward`` it is, all over the surface, the distance to the nearest place of the organ that the zone
    left: tissue outside the organ needs no margin, and a zone that ends at the capsule left nothing there. Where
    the zone holds all of the organ within ``FARTHEST_MM``, the margin is that. By the rule ``excluded`` the surface
    beside the capsule does not count.

    Surfaces are not told apart within half a voxel of each along their own normal. Organ that is left in so thin a
    layer under the capsule does not count by the rule ``inward``, nor does tumour: a zone that was drawn up to the
    capsule leaves nothing there. Thick slices do not hide a layer that stands upright on them.

    Args:
        tumour: the tumour.
        zone: the aligned zone.
        organ: the organ; None where there is none, and no capsule.
        options: the margin and the capsule rule.

    Raises:
        GeometryError: all of the surface lies beside the capsule and is left out.
    """
    points = tumour.mesh.vertices_mm
    margins = plain = zone.signed_distance_mm(points)
    depth = np.full(len(points), np.nan)
    beside, undecided = np.zeros((2, len(points)), dtype=np.bool_)
    counted = np.ones(len(points), dtype=np.bool_)
    if organ is not None and options.capsule_rule is not CapsuleRule.NONE:
        normals = tumour.vertex_normals
        under = slack_mm(normals, tumour, organ)
        depth = organ.signed_distance_mm(points, max(2.0 * options.capsule_mm, float(under.max())) + 1.0)
        beside = depth < options.capsule_mm
        if options.capsule_rule is CapsuleRule.EXCLUDED:
            counted = ~beside
            if not counted.any():
                raise GeometryError(
                    f"all of the tumour's surface lies within {options.capsule_mm:g} mm of the capsule, so nothing "
                    "of it is left to judge: take the capsule rule inward or none"
                )
        else:
            undecided = (plain <= 0) & (plain > -slack_mm(normals, tumour, zone)) & (depth < under)
            margins = _inward(tumour, zone, organ, plain, (plain > 0) | undecided)
    return MarginMap(tumour.mesh, margins, plain, depth, counted, beside, undecided, options.margin_mm)


def _inward(
    tumour: ClosedBody, zone: ClosedBody, organ: ClosedBody, plain_mm: FloatArray, covered: NDArray[np.bool_]
) -> FloatArray:
    """(n,) margins by the rule ``inward``: where covered, distances to organ or tumour that the zone left.

    The boundary of what was left is made of the zone's surface within the organ or the tumour, and of their
    surfaces outside the zone; a tumour that bulges out of its organ counts with it.
    """
    rows = np.flatnonzero(covered)
    margins = plain_mm.copy()
    if not len(rows):
        return margins
    points = tumour.mesh.vertices_mm[rows]
    near = points.min(axis=0) - FARTHEST_MM, points.max(axis=0) + FARTHEST_MM
    parts = []
    for body, others in ((zone, (organ, tumour)), (organ, (zone,))):
        corners = body.mesh.triangles_mm
        faces = np.flatnonzero(((corners.max(axis=1) >= near[0]) & (corners.min(axis=1) <= near[1])).all(axis=1))
        used, index = np.unique(body.mesh.faces[faces], return_inverse=True)
        if not len(used):
            continue
        vertices, normals = body.mesh.vertices_mm[used], body.vertex_normals[used]
        slack = [slack_mm(normals, body, other) for other in others]
        cap = max(float(one.max()) for one in slack) + _CUT_MM
        # Farther within one of the others, by the zone's surface, than the voxels tell; farther outside the zone.
        held = [other.signed_distance_mm(vertices, cap) for other in others]
        if body is zone:
            outside = np.min([one - depth for one, depth in zip(slack, held, strict=True)], axis=0)
        else:
            outside = held[0] + slack[0]
        parts.append(clipped_triangles(corners[faces], outside[index.reshape(-1, 3)]))
    beyond = plain_mm + slack_mm(tumour.vertex_normals, tumour, zone)
    parts.append(clipped_triangles(tumour.mesh.triangles_mm, beyond[tumour.mesh.faces]))
    left = np.concatenate(parts)
    # Slivers that a cut through a corner leaves have no area, and nothing is nearest to them alone.
    left = left[np.linalg.norm(np.cross(left[:, 1] - left[:, 0], left[:, 2] - left[:, 0]), axis=1) > 0]
    found = np.full(len(points), FARTHEST_MM)
    if len(left):
        soup = SurfaceMesh(left.reshape(-1, 3), np.arange(3 * len(left)).reshape(-1, 3))
        found = MeshTree(soup).segment_distance_mm(points, points, FARTHEST_MM)
    margins[rows] = np.maximum(margins[rows], found)
    return margins
