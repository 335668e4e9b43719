"""How much of the tumour with 1, 2, ... mm about it a zone holds (periablational safety margins)."""

from dataclasses import dataclass

import numpy as np

from needleplan.confirmation.closed_body import ClosedBody, lattice_over
from needleplan.confirmation.options import VOLUMETRIC_MM

#: Tumour with the largest margin is looked at in about so many cubes.
_CUBES = 25_000
#: No cube has a shorter edge.
_LEAST_EDGE_MM = 0.25


@dataclass(frozen=True, slots=True)
class VolumetricMargin:
    """A shell about the tumour, the tumour with it.

    Attributes:
        margin_mm: its thickness.
        volume_ml: volume of tumour and shell within the organ.
        covered: share of that volume that the zone holds.
        shell_covered: share of the shell alone; 1 where the organ has none of it.
    """

    margin_mm: int
    volume_ml: float
    covered: float
    shell_covered: float


def volumetric_margins(
    tumour: ClosedBody, zone: ClosedBody, organ: ClosedBody | None
) -> tuple[VolumetricMargin, ...]:
    """Shares of the tumour dilated by 1 to 10 mm, within the organ, that the zone holds.

    After Laimer et al., Eur Radiol 2021;31:6489. A tumour that bulges out of the organ counts as a whole, shells of
    it only within the organ.
    """
    widest = float(VOLUMETRIC_MM[-1])
    low, high = tumour.mesh.bounds_mm
    # Of the box about a ball, the ball takes about a half.
    volume = 0.5 * float(np.prod(high - low + 2.0 * widest))
    step = max(float(np.cbrt(volume / _CUBES)), _LEAST_EDGE_MM)
    lattice = lattice_over(low - widest, high + widest, step)
    inside = tumour.holds(lattice).ravel()
    covered = zone.holds(lattice).ravel()
    points = lattice.centres_mm()
    distance = np.zeros(len(points))
    outside = np.flatnonzero(~inside)
    distance[outside] = tumour.tree.segment_distance_mm(points[outside], points[outside], widest + step)
    allowed = inside if organ is None else inside | organ.holds(lattice).ravel()
    if organ is None:
        allowed = np.ones(len(points), dtype=np.bool_)
    cube_ml = lattice.voxel_volume_mm3 / 1000.0
    answers = []
    for margin in VOLUMETRIC_MM:
        dilated = (distance <= margin) & allowed
        shell = dilated & ~inside
        answers.append(
            VolumetricMargin(
                margin,
                int(dilated.sum()) * cube_ml,
                float(covered[dilated].mean()) if dilated.any() else 1.0,
                float(covered[shell].mean()) if shell.any() else 1.0,
            )
        )
    return tuple(answers)
