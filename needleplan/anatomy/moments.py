"""Volume, centroid and spread of the solid that a closed surface bounds."""

from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only


@dataclass(frozen=True, slots=True, eq=False)
class SolidMoments:
    """Moments of a solid of uniform density.

    Attributes:
        volume_mm3: its volume.
        centroid_mm: (3,) its centroid.
        covariance_mm2: (3, 3) mean of the products of the coordinates about the centroid.
    """

    volume_mm3: float
    centroid_mm: FloatArray
    covariance_mm2: FloatArray

    @property
    def long_axis(self) -> FloatArray:
        """(3,) unit vector along which the solid spreads most; arbitrary in sign, and in all where it is round."""
        return read_only(np.linalg.eigh(self.covariance_mm2)[1][:, 2])

    @property
    def elongation(self) -> float:
        """1 - second / first root-mean-square spread: 0 in a ball or disc, towards 1 in a rod; continuous."""
        spread = np.sqrt(np.maximum(np.linalg.eigvalsh(self.covariance_mm2), 0.0))
        return float(1.0 - spread[1] / spread[2])


def solid_moments(mesh: SurfaceMesh) -> SolidMoments:
    """Moments by the divergence theorem: sums over the tetrahedra between each face and one inner point.

    For a tetrahedron with corners 0, a, b, c: volume D / 6, first moment D (a + b + c) / 24, second moment
    D (aaᵀ + bbᵀ + ccᵀ + ssᵀ) / 120 with s = a + b + c, where D = a · (b x c) is signed (Tonon, "Explicit exact
    formulas for the 3-D tetrahedron inertia tensor", J. Math. Stat. 2005). So how densely vertices lie on the
    surface does not matter.

    Raises:
        GeometryError: the surface encloses no volume, or its faces look inward.
    """
    origin = mesh.vertices_mm.mean(axis=0)
    corners = mesh.triangles_mm - origin
    weight = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    volume = float(weight.sum() / 6.0)
    if not volume > 0:
        raise GeometryError(
            f"a surface that encloses {volume:g} mm³ has no axis: close it and turn its faces outward"
        )
    total = corners.sum(axis=1)
    centroid = weight @ total / 24.0 / volume
    second = np.einsum("i,ikp,ikq->pq", weight, corners, corners) + np.einsum("i,ip,iq->pq", weight, total, total)
    covariance = second / 120.0 / volume - np.outer(centroid, centroid)
    return SolidMoments(volume, read_only(origin + centroid), read_only(0.5 * (covariance + covariance.T)))
