"""How large a zone is: extents along and across the needle, as ablation zones are reported."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.contract import LethalZone
from needleplan.ablation.volume import zone_volume_ml
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray, perpendicular_axes, unit_vector

#: Sections across the needle that are looked at over the whole length, and again about the widest of them.
_STATIONS, _FINE_STATIONS = 64, 17
#: Directions in which the width of a section is taken, over half a turn.
_DIRECTIONS = 180
#: Cubes by which the volume of several overlapping surfaces is counted.
_COUNTING_STEP_MM = 0.75


@dataclass(frozen=True, slots=True)
class ZoneAxes:
    """Extents of a zone in the way that ablation zones are measured; all zero for an empty zone.

    Attributes:
        length_mm: extent of the whole zone along the needle.
        largest_diameter_mm: greatest width (between parallel lines) of the widest section across the needle, that
            with the greatest such width.
        least_diameter_mm: least width of the same section.
        ahead_of_tip_mm: how far the zone reaches beyond the tip; negative where it ends behind it.
        behind_tip_mm: how far it reaches back along the needle from the tip.
        widest_behind_tip_mm: place of the widest section, backwards from the tip.
        volume_ml: volume, cavities taken off.
    """

    length_mm: float
    largest_diameter_mm: float
    least_diameter_mm: float
    ahead_of_tip_mm: float
    behind_tip_mm: float
    widest_behind_tip_mm: float
    volume_ml: float

    @property
    def is_empty(self) -> bool:
        """Whether nothing is destroyed."""
        return self.length_mm == 0.0

    @property
    def sphericity(self) -> float:
        """Shortest over longest of the three extents, 1 for a ball; 0 for an empty zone."""
        extents = (self.length_mm, self.largest_diameter_mm, self.least_diameter_mm)
        return 0.0 if self.is_empty else min(extents) / max(extents)


def zone_axes(zone: LethalZone, tip_mm: ArrayLike, direction: ArrayLike) -> ZoneAxes:
    """Measure a zone from its surfaces.

    Args:
        zone: of any model; its parts, if it has several, are measured together.
        tip_mm: (3,) tip of the needle, patient LPS.
        direction: (3,) along the needle, from entry to tip.

    Raises:
        FrameError: the direction is no direction.
    """
    axis = unit_vector(direction)
    meshes = zone.surfaces()
    if not meshes:
        return ZoneAxes(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    frame = np.stack([*perpendicular_axes(axis), axis], axis=1)
    edges = np.concatenate([_edges(mesh, np.asarray(tip_mm, dtype=np.float64), frame) for mesh in meshes])
    stations = edges[:, :, 2]
    back, front = float(stations.min()), float(stations.max())
    step = (front - back) / _STATIONS
    coarse = back + (np.arange(_STATIONS) + 0.5) * step
    best = max(coarse, key=lambda station: _widths_mm(edges, station).max())
    fine = np.clip(best + np.linspace(-step, step, _FINE_STATIONS), coarse[0], coarse[-1])
    widest = max(fine, key=lambda station: _widths_mm(edges, station).max())
    widths = _widths_mm(edges, widest)
    volume = meshes[0].volume_mm3 / 1000.0 if len(meshes) == 1 else zone_volume_ml(zone, _COUNTING_STEP_MM)
    return ZoneAxes(
        front - back, float(widths.max()), float(widths.min()), front, -back, float(0.0 - widest), volume
    )


def _edges(mesh: SurfaceMesh, tip_mm: FloatArray, frame: FloatArray) -> FloatArray:
    """(m, 2, 3) ends of the edges of a mesh, across, across and along the needle from the tip."""
    local = (mesh.vertices_mm - tip_mm) @ frame
    faces = mesh.faces
    pairs = np.concatenate([faces[:, (0, 1)], faces[:, (1, 2)], faces[:, (2, 0)]])
    # Each edge of a closed surface belongs to two faces, in opposite senses: one of them is enough.
    return local[pairs[pairs[:, 0] < pairs[:, 1]]]


def _widths_mm(edges: FloatArray, station: float) -> FloatArray:
    """(d,) widths of the section at a station in directions over half a turn; zero where nothing is met."""
    start, end = edges[:, 0], edges[:, 1]
    crossed = (start[:, 2] < station) != (end[:, 2] < station)
    start, end = start[crossed], end[crossed]
    if not len(start):
        return np.zeros(_DIRECTIONS)
    share = (station - start[:, 2]) / (end[:, 2] - start[:, 2])
    points = start[:, :2] + share[:, None] * (end[:, :2] - start[:, :2])
    angle = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    along = points @ np.stack([np.cos(angle), np.sin(angle)])
    return np.asarray(np.ptp(along, axis=0))
