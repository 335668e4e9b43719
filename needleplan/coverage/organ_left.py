"""How much of the organ that holds the target no zone destroys."""

import numpy as np

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries

#: Edge of the cubes by which volumes are counted.
_STEP_MM = 1.5


def healthy_fraction(queries: AnatomyQueries, organ: StructureSurface, zone: LethalZone) -> float:
    """Share of an organ outside the target that lies outside a zone, counted by cubes of 1.5 mm.

    Args:
        queries: the anatomy.
        organ: the organ.
        zone: what is destroyed.
    """
    anatomy = queries.anatomy
    bounds = zone.bounds_mm
    ranges = [np.arange(low + 0.5 * _STEP_MM, high, _STEP_MM) for low, high in bounds.T]
    points = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    points = points[zone.contains(points)]
    points = points[queries.distance(organ).contains(points)]
    healthy = points[~queries.distance(anatomy.target).contains(points)]
    lost_ml = len(healthy) * _STEP_MM**3 / 1000.0
    organ_ml = (organ.mesh.volume_mm3 - anatomy.target.mesh.volume_mm3) / 1000.0
    return float(np.clip(1.0 - lost_ml / organ_ml, 0.0, 1.0)) if organ_ml > 0 else 0.0
