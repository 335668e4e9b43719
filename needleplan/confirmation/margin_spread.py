"""How far the least margin is uncertain because the alignment of the two scans is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.confirmation.closed_body import ClosedBody
from needleplan.confirmation.margin_map import MarginMap
from needleplan.confirmation.options import ConfirmationOptions
from needleplan.frames import FloatArray
from needleplan.registration.pose_covariance import PoseCovariance

#: Margins are measured again at no more places than this, one in each cube of at least this edge.
_PLACES, _CUBE_MM = 150, 1.0


@dataclass(frozen=True, slots=True)
class MarginSpread:
    """The least margin under errors of the alignment.

    Attributes:
        error_mm: root mean square error of the alignment at the tumour's middle.
        deviation_mm: standard deviation of the least margin.
        low_mm: fifth percentile.
        high_mm: 95th percentile.
        chance_covered: share of the draws in which the least margin is at least 0.
        chance_reached: share of the draws in which it is at least the margin that was asked for.
    """

    error_mm: float
    deviation_mm: float
    low_mm: float
    high_mm: float
    chance_covered: float
    chance_reached: float


def margin_spread(
    margins: MarginMap, zone: ClosedBody, covariance: PoseCovariance, options: ConfirmationOptions
) -> MarginSpread:
    """Move the zone as the alignment may err and measure the least margin again.

    Exact distances at the places where the margin may become the least, spread over them; the capsule rule's gain
    is taken to move along with its place, and what is measured is the change of the least margin.
    """
    middle = margins.mesh.bounds_mm.mean(axis=0)
    motions = covariance.sampled(options.draws, np.random.default_rng(options.seed))
    places = _places(margins, motions)
    points = margins.mesh.vertices_mm[places]
    gain = margins.margins_mm[places] - margins.plain_margins_mm[places]
    # The zone moved by M is seen from the tumour moved by the inverse.
    back = np.linalg.inv(motions)
    moved = np.einsum("kij,nj->kni", back[:, :3, :3], points) + back[:, None, :3, 3]
    plain = zone.signed_distance_mm(moved.reshape(-1, 3)).reshape(len(motions), -1)
    now = margins.margins_mm[places]
    least = margins.least_mm + (plain + gain).min(axis=1) - float(now.min())
    low, high = np.percentile(least, (5.0, 95.0))
    return MarginSpread(
        error_mm=covariance.tre_mm(middle),
        deviation_mm=float(least.std()),
        low_mm=float(low),
        high_mm=float(high),
        chance_covered=float((least >= 0.0).mean()),
        chance_reached=float((least >= options.margin_mm).mean()),
    )


def _places(margins: MarginMap, motions: FloatArray) -> NDArray[np.int64]:
    """Vertices whose margin a motion may make the least, thinned evenly; the one with the least is among them."""
    points = margins.mesh.vertices_mm
    corners = points[:: max(1, len(points) // 50)]
    moved = np.einsum("kij,nj->kni", motions[:, :3, :3], corners) + motions[:, None, :3, 3]
    reach = float(np.linalg.norm(moved - corners, axis=2).max())
    rows = np.flatnonzero(margins.counted & (margins.margins_mm <= margins.least_mm + 2.0 * reach))
    rows = rows[np.argsort(margins.margins_mm[rows], kind="stable")]
    low, high = points[rows].min(axis=0), points[rows].max(axis=0)
    # Of each cube the place with the least margin, in cubes that grow until few are left.
    edge_mm = _CUBE_MM
    while True:
        cube = np.floor((points[rows] - low) / edge_mm).astype(np.int64)
        first = np.unique(cube, axis=0, return_index=True)[1]
        if len(first) <= _PLACES or edge_mm > float((high - low).max()):
            return np.asarray(rows[first])
        edge_mm *= 1.25
