"""Proof that any zone, predicted or seen, holds target and margin, and how much it leaves where it does not."""

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.certificate import CoverageCertificate, certify
from needleplan.coverage.cover_problem import TARGET_WEIGHT
from needleplan.coverage.region import TargetRegion
from needleplan.plan import vector3


def certify_region(
    queries: AnatomyQueries, zone: LethalZone, region: TargetRegion
) -> tuple[CoverageCertificate, float]:
    """What is proven of a zone, and what it leaves.

    The middles of the balls lie in the solid: where one of them is not held, no cube need be cut.

    Args:
        queries: the anatomy.
        zone: the zone; its signed distance never overstates.
        region: target plus margin.

    Returns:
        The certificate; and the volume in ml of the region whose balls' middles are not held, that of the target
        weighted above its margin's.
    """
    depth = zone.signed_distance_mm(region.points_mm)
    if (depth >= region.radius_mm).all():
        # The balls leave no gap, and each lies in the zone as a whole.
        return CoverageCertificate(True, None, 0.0, len(region)), 0.0
    missed = depth < 0.0
    if not missed.any():
        return certify(queries, zone, region.margin_mm), 0.0
    share = region.share_ml[missed]
    if region.in_target is not None:
        share = share * (1.0 + (TARGET_WEIGHT - 1.0) * region.in_target[missed])
    worst = region.points_mm[int(depth.argmin())]
    return CoverageCertificate(False, vector3(worst), 0.0, len(region)), float(share.sum())
