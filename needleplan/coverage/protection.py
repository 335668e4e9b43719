"""Structures that the lethal zone must keep away from, each by its own thermal margin."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import LethalZone
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.surface_points import surface_points
from needleplan.case.model import Role
from needleplan.coverage.options import ThermalMargins
from needleplan.frames import FloatArray

#: Points of a protected surface are at most this far apart along a face.
_SPACING_MM = 2.0
#: No zone reaches farther than this from the target; what lies beyond needs no protection.
_REACH_MM = 90.0
#: Centres decided at a time.
_CHUNK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class ProtectedStructure:
    """One structure with its thermal margin.

    Attributes:
        name: its name.
        margin_mm: distance that the zone must keep from it.
        points_mm: (n, 3) points of its surface near the target.
        spacing_mm: every point of that part of the surface has one of them within this distance.
        distance: signed distances to the whole surface.
        encloses: True where the zone lies within the structure, as within the skin.
    """

    name: str
    margin_mm: float
    points_mm: FloatArray
    spacing_mm: float
    distance: SurfaceDistance
    encloses: bool = False

    def gap_mm(self, points_mm: FloatArray) -> FloatArray:
        """(n,) distance of points (n, 3) from the structure, negative where they lie on its forbidden side."""
        outside = np.concatenate(
            [
                self.distance.signed_distance_mm(points_mm[start : start + _CHUNK])
                for start in range(0, len(points_mm), _CHUNK)
            ]
        )
        return -outside if self.encloses else outside

    def slack_mm(self, zone: LethalZone) -> float:
        """How much farther than asked the zone stays away, never overstated; negative where it comes too near."""
        if not len(self.points_mm):
            return np.inf
        if isinstance(zone, SpheroidUnion):
            # Far points are told by their distance alone, which is many times as fast.
            depth = float(zone.deepest_mm(self.points_mm).max(initial=-np.inf))
        else:
            depth = float(zone.signed_distance_mm(self.points_mm).max())
        return -depth - self.spacing_mm - self.margin_mm


@dataclass(frozen=True, slots=True, eq=False)
class Protection:
    """All structures that the zone must keep away from.

    Attributes:
        structures: each with its margin.
    """

    structures: tuple[ProtectedStructure, ...]

    def slack_mm(self, zone: LethalZone) -> tuple[float, str]:
        """(least slack, name of the structure that has it); infinite and empty where nothing is protected."""
        least, name = np.inf, ""
        for structure in self.structures:
            slack = structure.slack_mm(zone)
            if slack < least:
                least, name = slack, structure.name
        return least, name

    def largest_allowed(
        self, centres_mm: FloatArray, axes: FloatArray, axial_mm: Sequence[float], radial_mm: Sequence[float]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each place of a zone the largest size that harms nothing.

        Args:
            centres_mm: middles (n, 3).
            axes: unit vectors along the needle (n, 3).
            axial_mm: semi-axes along the needle of the sizes, each size holding the next.
            radial_mm: semi-axes across it.

        Returns:
            (n,) index of the largest size allowed, or the number of sizes where none is; and (n,) index of the
            structure that forbids the next larger one, -1 where the largest of all is allowed.
        """
        allowed = np.zeros(len(centres_mm), dtype=np.int64)
        guilty = np.full(len(centres_mm), -1, dtype=np.int64)
        for which, structure in enumerate(self.structures):
            if not len(structure.points_mm):
                continue
            gap = structure.gap_mm(centres_mm)
            for size, (axial, radial) in enumerate(zip(axial_mm, radial_mm, strict=True)):
                asked = structure.margin_mm + structure.spacing_mm
                # The zone holds the ball of its least semi-axis about its middle, and is held by that of its
                # largest.
                harmful = gap < min(axial, radial) + structure.margin_mm
                doubtful = np.flatnonzero(~harmful & (gap < max(axial, radial) + asked) & (allowed <= size))
                if len(doubtful):
                    count = len(doubtful)
                    zones = SpheroidUnion(
                        centres_mm[doubtful], axes[doubtful], np.full(count, axial), np.full(count, radial)
                    )
                    harmful[doubtful] = zones.reaching(structure.points_mm, asked)
                worse = harmful & (allowed <= size)
                allowed[worse] = size + 1
                guilty[worse] = which
        return allowed, guilty


def protect(queries: AnatomyQueries, margins: ThermalMargins | None = None) -> Protection:
    """The structures of an anatomy that zones must keep away from.

    A structure that holds the target, a bone or a lung, is treated within and not protected.

    Args:
        queries: the anatomy.
        margins: margins by role; the defaults where None.
    """
    margins = margins or ThermalMargins()
    anatomy = queries.anatomy
    middle = queries.origin_mm
    target_reach = float(np.linalg.norm(anatomy.target.mesh.vertices_mm - middle, axis=1).max())
    found = []
    surfaces = [(surface, surface.role) for surface in anatomy.obstacles]
    if anatomy.case.entry_substitute is None:
        surfaces.append((anatomy.entry, Role.SKIN))
    for surface, role in surfaces:
        margin = margins.of_role(role)
        if margin is None or (role in (Role.BONE, Role.LUNG) and _holds_target(queries, surface)):
            continue
        points, spacing = surface_points(surface.mesh, _SPACING_MM)
        near = np.linalg.norm(points - middle, axis=1) < target_reach + _REACH_MM
        found.append(
            ProtectedStructure(
                surface.name, float(margin), points[near], spacing, queries.distance(surface), role is Role.SKIN
            )
        )
    return Protection(tuple(found))


def _holds_target(queries: AnatomyQueries, surface: StructureSurface) -> bool:
    points = queries.anatomy.target.mesh.vertices_mm
    return bool(queries.distance(surface).contains(points[:: max(1, len(points) // 500)]).mean() > 0.5)
