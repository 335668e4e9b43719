"""A zone that was seen and not predicted: the closed surface of a segmentation made after the treatment."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.surface_nets import surfaces_from_mask
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import VoxelMask

#: Distances to surfaces are computed in single precision; so much is given away.
_ROUNDING_MM = 1e-3
#: A surface or a registration that may be farther off than this says nothing of a margin.
_MOST_ERROR_MM = 50.0
#: Facets of a spheroid's drawn surface lie below it by less than this share of its largest semi-axis: their sides
#: are seen from its middle under 0.083, so 1 - sqrt(1 - 0.083² / 3).
_FACET_SHARE = 1.2e-3


class MeasuredZone(LethalZone):
    """What is enclosed by a surface, less all that the surface may be wrong by.

    If the true boundary lies within ``error_mm`` of the surface everywhere, the true zone holds every point at
    least as deep as said here, and at most twice the error deeper.

    Args:
        surface: closed, facing outward, patient LPS; several parts and cavities may be, overlapping parts may not.
        surface_error_mm: the true boundary of what was seen lies within this of the surface.
        registration_error_mm: what was seen lies within this of where it is said to be in the patient.

    Raises:
        GeometryError: the surface is open or encloses nothing, or an error is negative or no number.
    """

    def __init__(
        self, surface: SurfaceMesh, surface_error_mm: float = 0.0, registration_error_mm: float = 0.0
    ) -> None:
        for words, value in (("surface", surface_error_mm), ("registration", registration_error_mm)):
            if not (math.isfinite(value) and 0.0 <= value <= _MOST_ERROR_MM):
                raise GeometryError(
                    f"the {words} error of a measured zone must be 0 to {_MOST_ERROR_MM:g} mm, not {value:g}"
                )
        if not surface.is_watertight:
            raise GeometryError(
                f"the surface of a measured zone must be closed, but has {surface.open_edge_count} open edges"
            )
        if not surface.volume_mm3 > 0:
            raise GeometryError(
                f"the surface of a measured zone encloses {surface.volume_mm3:.3g} mm3: its faces must look outward"
            )
        self._surface = surface
        self._distance = SurfaceDistance(surface)
        self.surface_error_mm = float(surface_error_mm)
        self.registration_error_mm = float(registration_error_mm)

    @classmethod
    def of_mask(cls, mask: VoxelMask, registration_error_mm: float = 0.0) -> "MeasuredZone":
        """The zone of a segmentation in voxels.

        Its surface runs between voxels inside and outside; the boundary that the voxels stand for passes between
        their middles, so it lies within half the diagonal of a voxel of it.
        """
        boundary = surfaces_from_mask(mask).boundary
        return cls(boundary, mask.grid.half_diagonal_mm, registration_error_mm)

    @property
    def error_mm(self) -> float:
        """All that is taken off the depth of a point."""
        return self.surface_error_mm + self.registration_error_mm + _ROUNDING_MM

    @property
    def volume_ml(self) -> float:
        """Volume that the surface encloses as it is."""
        return self._surface.volume_mm3 / 1000.0

    def signed_distance_mm(self, points_mm: ArrayLike) -> FloatArray:
        """See LethalZone."""
        return np.asarray(-self._distance.signed_distance_mm(points_mm) - self.error_mm)

    @property
    def margin_error_mm(self) -> float:
        """See LethalZone."""
        return 2.0 * self.error_mm

    @property
    def bounds_mm(self) -> FloatArray:
        """See LethalZone; those of the surface."""
        return self._surface.bounds_mm

    def surfaces(self) -> tuple[SurfaceMesh, ...]:
        """See LethalZone; the surface as it was seen."""
        return (self._surface,)


class JoinedZone(LethalZone):
    """What at least one of several zones holds.

    ``signed_distance_mm`` is the greatest of theirs: never more than the truth, and less inside where a ball lies
    in no single one of them. ``margin_mm`` sees those balls: it measures to points of their surfaces that no
    other holds.

    Args:
        zones: at least one.

    Raises:
        GeometryError: there is no zone.
    """

    #: Points of the surfaces are at most this far apart along a face.
    _SPACING_MM = 1.0

    def __init__(self, *zones: LethalZone) -> None:
        if not zones:
            raise GeometryError("there is no zone to join")
        self.zones = zones
        self._boundary: tuple[Any, float, float] | None = None

    def signed_distance_mm(self, points_mm: ArrayLike) -> FloatArray:
        """See LethalZone."""
        points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
        return np.max([zone.signed_distance_mm(points) for zone in self.zones], axis=0)

    def margin_mm(self, points_mm: ArrayLike) -> FloatArray:
        """See LethalZone."""
        points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
        result = np.max([zone.margin_mm(points) for zone in self.zones], axis=0)
        inside = np.flatnonzero(result > 0)
        if len(self.zones) > 1 and len(inside):
            tree, slack_mm, _ = self._boundary_points()
            if tree is not None:
                result[inside] = np.maximum(result[inside], tree.query(points[inside])[0] - slack_mm)
        return np.asarray(result)

    @property
    def margin_error_mm(self) -> float:
        """See LethalZone."""
        return max(self._boundary_points()[2], *(zone.margin_error_mm for zone in self.zones))

    @property
    def bounds_mm(self) -> FloatArray:
        """See LethalZone."""
        bounds = np.array([zone.bounds_mm for zone in self.zones])
        return np.stack([bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)])

    def surfaces(self) -> tuple[SurfaceMesh, ...]:
        """See LethalZone."""
        return tuple(mesh for zone in self.zones for mesh in zone.surfaces())

    def _boundary_points(self) -> tuple[Any, float, float]:
        """(search tree of the points that stand for the boundary, None without; slack; most by which margins err).

        Each point of the joined boundary lies on the boundary of one zone and in no other. A point of that zone's
        surface is within ``slack`` of it, and hence no deeper than that in any other: so every point of the
        surfaces that is no deeper is kept. Those of them that some zone may hold are not of the boundary; their
        distance from the nearest that is counts as error.
        """
        from scipy.spatial import cKDTree

        from needleplan.anatomy.surface_points import surface_points

        if self._boundary is None:
            parts = [
                (*surface_points(mesh, self._SPACING_MM), zone.margin_error_mm + _facets_mm(mesh))
                for zone in self.zones
                for mesh in zone.surfaces()
            ]
            if not parts:
                self._boundary = None, 0.0, 0.0
                return self._boundary
            points = np.concatenate([part for part, _, _ in parts])
            slack_mm = max(spacing_mm + error_mm for _, spacing_mm, error_mm in parts)
            depth = self.signed_distance_mm(points)
            kept = depth <= slack_mm
            sure = depth <= max(error_mm for _, _, error_mm in parts)
            beside = cKDTree(points[sure]).query(points[kept])[0].max(initial=0.0) if sure.any() else np.inf
            self._boundary = cKDTree(points[kept]), slack_mm, 2.0 * slack_mm + float(beside)
        return self._boundary


def _facets_mm(mesh: SurfaceMesh) -> float:
    """How far the facets of a drawn surface may lie below what they stand for."""
    return _FACET_SHARE * 0.5 * float(np.linalg.norm(np.diff(mesh.bounds_mm, axis=0)))
