"""Proof that a zone holds a solid: it is cut into cubes until each lies in the zone, or a point outside is found.

No point is sampled here and taken for its surroundings: a signed distance changes by at most 1 mm a millimetre, so
its value at the middle of a cube speaks for the whole cube.
"""

from dataclasses import dataclass

import numpy as np

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.frames import FloatArray
from needleplan.plan import Vector3, vector3

#: Edge of the first cubes.
_COARSE_MM = 8.0
#: Cubes are not cut below this; what is still open then is neither covered nor not.
_FINEST_MM = 0.05
#: Cubes looked at altogether; a zone that follows the solid's surface closely would ask for endless ones.
_MOST_CUBES = 4_000_000
#: Cubes decided at a time.
_CHUNK = 200_000
#: Distances to surfaces are computed in single precision; so much is given away wherever they leave a cube out.
_ROUNDING_MM = 1e-3
#: Points outside the zone that are told.
_MOST_WITNESSES = 40
_HALF_DIAGONAL = 0.5 * np.sqrt(3.0)
_CORNERS = (np.indices((2, 2, 2)).reshape(3, -1).T - 0.5) * 0.5


@dataclass(frozen=True, slots=True)
class CoverageCertificate:
    """What is proven about a zone and a solid.

    Attributes:
        covered: True where every point of the solid is proven to lie in the zone.
        witness_mm: a point of the solid that the zone does not hold; None where none was found.
        witnesses_mm: more of them, as they came up, no more than a few dozen.
        undecided_mm: edge of the cubes that were left undecided, 0 where none was.
        cubes: cubes that were looked at.
    """

    covered: bool
    witness_mm: Vector3 | None
    undecided_mm: float
    cubes: int
    witnesses_mm: tuple[Vector3, ...] = ()

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.covered:
            return f"proven for the solid by {self.cubes} cubes, each of which lies in the zones as a whole"
        if self.witness_mm is not None:
            x, y, z = self.witness_mm
            return f"not covered: the point ({x:.1f}, {y:.1f}, {z:.1f}) mm lies outside all zones"
        return f"not decided: cubes of {self.undecided_mm:.2f} mm neither lie in the zones nor show a point outside"


def certify(queries: AnatomyQueries, zone: LethalZone, margin_mm: float) -> CoverageCertificate:
    """Whether a zone holds the target with a margin about it, as a solid.

    Args:
        queries: the anatomy.
        zone: the zone; its signed distance never overstates, so what is called covered is.
        margin_mm: margin about the target.
    """
    axes = queries.anatomy.axes
    mesh = queries.anatomy.target.mesh
    origin = mesh.vertices_mm.mean(axis=0)
    local = (mesh.vertices_mm - origin) @ axes
    ranges = [
        np.arange(low - margin_mm + 0.5 * _COARSE_MM, high + margin_mm + _COARSE_MM, _COARSE_MM)
        for low, high in zip(local.min(axis=0), local.max(axis=0), strict=True)
    ]
    middles = origin + np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) @ axes.T
    edge, looked = _COARSE_MM, 0
    while len(middles):
        looked += len(middles)
        if looked > _MOST_CUBES or edge < _FINEST_MM:
            return CoverageCertificate(False, None, edge, looked)
        left = []
        for start in range(0, len(middles), _CHUNK):
            part = middles[start : start + _CHUNK]
            open_cubes, witnesses = _open_cubes(queries, zone, margin_mm, part, _HALF_DIAGONAL * edge)
            if len(witnesses):
                told = tuple(vector3(point) for point in witnesses[:_MOST_WITNESSES])
                return CoverageCertificate(False, told[0], 0.0, looked, told)
            left.append(open_cubes)
        middles = np.concatenate(left)
        edge *= 0.5
        middles = (middles[:, None, :] + (_CORNERS * 2.0 * edge @ axes.T)[None, :, :]).reshape(-1, 3)
    return CoverageCertificate(True, None, 0.0, looked)


def _open_cubes(
    queries: AnatomyQueries, zone: LethalZone, margin_mm: float, middles: FloatArray, reach_mm: float
) -> tuple[FloatArray, FloatArray]:
    """(middles of cubes neither outside the solid nor in the zone, points of the solid outside it, worst first)."""
    held = zone.signed_distance_mm(middles)
    open_ = np.flatnonzero(held < reach_mm)
    outside = queries.distance(queries.anatomy.target).signed_distance_mm(middles[open_]) - margin_mm
    inside = open_[outside <= -_ROUNDING_MM]
    missed = inside[held[inside] < 0.0]
    if len(missed):
        return middles[:0], middles[missed[np.argsort(held[missed], kind="stable")]]
    return middles[open_[outside <= reach_mm + _ROUNDING_MM]], middles[:0]
