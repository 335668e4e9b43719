"""Score of a set of insertions, planned or executed, by one and the same code."""

from collections.abc import Sequence
from dataclasses import dataclass

from needleplan.ablation.contract import LethalZone, ZoneModel
from needleplan.ablation.tissue_map import TissueMap
from needleplan.ablation.volume import zone_volume_ml
from needleplan.anatomy.queries import VOLUME_STEP_MM, AnatomyQueries
from needleplan.anatomy.surface_points import surface_points
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only
from needleplan.plan import Insertion, Metrics

#: Points on the tumour's surface are at most this far apart along a face.
SURFACE_SPACING_MM = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """What a set of insertions achieves.

    Attributes:
        metrics: the figures.
        vertex_margins_mm: (n,) signed margin at each vertex of the target's surface mesh, positive where the
            zone reaches beyond the tumour.
    """

    metrics: Metrics
    vertex_margins_mm: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "vertex_margins_mm", read_only(self.vertex_margins_mm))


def assess(
    queries: AnatomyQueries,
    insertions: Sequence[Insertion],
    zone_model: ZoneModel,
    margin_mm: float,
    tissue: TissueMap | None = None,
) -> Assessment:
    """Coverage, margin and spared tissue of insertions.

    The margin at a point of the tumour's surface is the signed distance from there to the boundary of the
    lethal zone (minimal ablation margin, Laimer et al.; signed as in the quantitative ablation margin of Sandu
    et al.). What lies between the sampled points of the surface is bounded because a signed distance changes by
    at most 1 mm a millimetre.

    Args:
        queries: the anatomy.
        insertions: at least one, each with at least one ablation.
        zone_model: predicts the lethal zone.
        margin_mm: margin asked for about the target.
        tissue: tissues and vessels of the patient, for models that ask for them (``patient_tissue``).

    Raises:
        OptionError: there is no ablation to assess.
    """
    if not any(insertion.ablations for insertion in insertions):
        raise OptionError("there is no ablation to assess: the insertions deliver no energy")
    return assess_zone(queries, zone_model.zone(insertions, tissue), margin_mm)


def assess_zone(queries: AnatomyQueries, zone: LethalZone, margin_mm: float) -> Assessment:
    """As ``assess``, for a zone that was predicted already."""
    target = queries.anatomy.target.mesh
    points, spacing_mm = surface_points(target, SURFACE_SPACING_MM)
    in_target, _ = queries.target_points_mm(0.0)
    in_region, cube_mm3 = queries.target_points_mm(float(margin_mm))
    target_share = float(zone.contains(in_target).mean())
    region_share = float(zone.contains(in_region).mean())
    zone_ml = zone_volume_ml(zone, VOLUME_STEP_MM)
    used_ml = region_share * len(in_region) * cube_mm3 / 1000.0
    return Assessment(
        Metrics(
            target_coverage_fraction=target_share,
            margin_coverage_fraction=region_share,
            minimal_margin_mm=zone.least_margin_mm(points),
            over_ablation_ml=max(0.0, zone_ml - used_ml),
            zone_ml=zone_ml,
            margin_mm=float(margin_mm),
            margin_error_bound_mm=spacing_mm + zone.margin_error_mm,
        ),
        zone.margin_mm(target.vertices_mm),
    )
