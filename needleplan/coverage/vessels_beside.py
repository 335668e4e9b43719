"""How far places lie from the open vessels that carry heat away, and which vessel is the nearest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.tissue_map import TissueMap
from needleplan.frames import FloatArray, read_only
from needleplan.grid import Grid

#: Farther vessels take no visible part of a zone: the sink of a large vessel reaches about a centimetre.
REACH_MM = 10.0
#: Voxels by which vessels are found, coarser where the places fill more room than these many.
_SPACING_MM, _MOST_VOXELS = 1.0, 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class VesselsBeside:
    """The nearest open vessel of places.

    Attributes:
        names: of the open vessels that come within ``REACH_MM`` of any place.
        nearest: (n,) index of the nearest one; -1 where none is within ``REACH_MM``.
        distance_mm: (n,) distance to its nearest voxel centre, so within a voxel of the distance to its wall; zero
            and less nowhere, infinite where none is near.
    """

    names: tuple[str, ...]
    nearest: NDArray[np.int64]
    distance_mm: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "nearest", read_only(self.nearest, np.int64))
        object.__setattr__(self, "distance_mm", read_only(self.distance_mm))

    @classmethod
    def of(cls, tissue: TissueMap, points_mm: FloatArray) -> "VesselsBeside":
        """Open vessels of ``LEAST_VESSEL_DIAMETER_MM`` or more beside points (n, 3), n at least 1."""
        from scipy.spatial import cKDTree

        names: list[str] = []
        nearest = np.full(len(points_mm), -1, dtype=np.int64)
        distance = np.full(len(points_mm), np.inf)
        grid = _grid_about(points_mm)
        for vessel in tissue.vessels:
            alone = TissueMap(tissue.background, (), (vessel,), tissue.body_temperature_c)
            lumen = np.argwhere(alone.vessel_voxels(grid))
            if not len(lumen):
                continue
            way = cKDTree(grid.to_patient(lumen)).query(points_mm, distance_upper_bound=REACH_MM)[0]
            nearer = way < distance
            if nearer.any():
                nearest[nearer], distance[nearer] = len(names), way[nearer]
                names.append(vessel.name)
        return cls(tuple(names), nearest, distance)

    def words(self, place: int) -> str:
        """The vessel beside a place and its distance, in words."""
        vessel = int(self.nearest[place])
        if vessel < 0:
            return f"no open vessel lies within {REACH_MM:g} mm of it"
        return f"{self.names[vessel]} lies {max(1.0, float(self.distance_mm[place])):.0f} mm from it"


def _grid_about(points_mm: FloatArray) -> Grid:
    low, high = points_mm.min(axis=0) - REACH_MM, points_mm.max(axis=0) + REACH_MM
    spacing = max(_SPACING_MM, float(np.cbrt(np.prod(high - low) / _MOST_VOXELS)))
    shape = np.ceil((high - low) / spacing).astype(np.int64) + 1
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)
