"""The lethal zones of all scenarios, and what they leave and reach."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import LethalZone, ZoneModel
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.tissue_map import TissueMap
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.surface_points import surface_points
from needleplan.frames import FloatArray, read_only
from needleplan.uncertainty.margin_kernels import greatest_depths, least_margins
from needleplan.uncertainty.scenarios import Scenarios

#: Points of a structure that a zone may reach are at most this far apart along a face.
REACH_SPACING_MM = 1.0
#: Fewer convex zones than this enclose no cavity: a union of convex bodies has the shape of the nerve of their
#: intersections (Borsuk 1948), and a complex on fewer than four vertices has no hollow.
_ZONES_AROUND_A_CAVITY = 4
#: Points of the target's surface that are looked at together, and hands in which these patches are dealt out; any
#: numbers give the same margins.
_PATCH, _HANDS = 32, 17


@dataclass(frozen=True, slots=True, eq=False)
class ZoneScores:
    """What the zones of n scenarios achieve.

    Attributes:
        low_mm: (n,) least margin over points of the target's surface, never overstated.
        high_mm: (n,) the same, never understated.
        fractions: (n,) share of the points within the target that are destroyed.
        reached: for each structure asked for, (n,) True where the zone surely reaches it.
        perhaps_reached: for each structure, (n,) True where it may.
    """

    low_mm: FloatArray
    high_mm: FloatArray
    fractions: FloatArray
    reached: tuple[NDArray[np.bool_], ...]
    perhaps_reached: tuple[NDArray[np.bool_], ...]


class ScenarioZones(ABC):
    """The lethal zone in each of n scenarios."""

    @abstractmethod
    def scores(
        self,
        queries: AnatomyQueries,
        surface_mm: FloatArray,
        inner_mm: FloatArray,
        structures: Sequence[StructureSurface],
    ) -> ZoneScores:
        """Margins, covered shares and reached structures.

        Args:
            queries: the anatomy.
            surface_mm: (m, 3) points of the target's surface.
            inner_mm: (p, 3) points within the target.
            structures: those that the zone may reach.
        """

    @property
    @abstractmethod
    def may_enclose_cavities(self) -> bool:
        """True where a zone may leave a cavity that touches no surface of the target."""


class SpheroidScenarios(ScenarioZones):
    """Unions of spheroids that move with their needles.

    Args:
        centres_mm: (n, a, 3) centres in each scenario.
        axes: (n, a, 3) unit directions of the axes of revolution.
        axial_mm: (a,) semi-axes along them.
        radial_mm: (a,) semi-axes across them.
    """

    def __init__(
        self, centres_mm: FloatArray, axes: FloatArray, axial_mm: FloatArray, radial_mm: FloatArray
    ) -> None:
        self.centres_mm, self.axes = read_only(centres_mm), read_only(axes)
        self.axial_mm, self.radial_mm = read_only(axial_mm), read_only(radial_mm)

    @classmethod
    def of_table(cls, model: EllipsoidTableModel, scenarios: Scenarios) -> "SpheroidScenarios":
        """The spheroids of a table model; sizes do not depend on where a needle lies.

        Raises:
            DeviceError: an applicator or a setting is not in the table.
        """
        sizes = model.zone(scenarios.insertions)
        directions = scenarios.directions[:, scenarios.insertion_of]
        names = [scenarios.insertions[j].applicator for j in scenarios.insertion_of]
        back = np.array([model.catalogue.applicator(name).tip_to_centre_mm for name in names])
        centres = scenarios.ablation_tip_mm - back[:, None] * directions
        return cls(centres, directions, sizes.axial_mm, sizes.radial_mm)

    def scores(
        self,
        queries: AnatomyQueries,
        surface_mm: FloatArray,
        inner_mm: FloatArray,
        structures: Sequence[StructureSurface],
    ) -> ZoneScores:
        """See ScenarioZones."""
        n = len(self.centres_mm)
        low, high, share = np.empty(n), np.empty(n), np.empty(n)
        least_margins(*self._patches(surface_mm), inner_mm, *self._arrays, low, high, share)
        reached, perhaps = [], []
        for structure in structures:
            points, spacing_mm = _near_points(structure.mesh, self._bounds_mm)
            depth = np.full(n, -np.inf)
            if len(points):
                greatest_depths(points, *self._arrays, depth)
            within = queries.tree(structure).contains(self.centres_mm.reshape(-1, 3)).reshape(n, -1).any(axis=1)
            reached.append(within | (depth >= 0.0))
            perhaps.append(within | (depth >= -spacing_mm))
        return ZoneScores(low, high, share, tuple(reached), tuple(perhaps))

    @property
    def may_enclose_cavities(self) -> bool:
        """See ScenarioZones; fewer than four convex bodies enclose none."""
        return len(self.axial_mm) >= _ZONES_AROUND_A_CAVITY

    @property
    def _arrays(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        return self.centres_mm, self.axes, self.axial_mm, self.radial_mm

    def _patches(self, points: FloatArray) -> tuple[FloatArray, NDArray[np.int64], FloatArray, FloatArray]:
        """Points in patches of ``_PATCH`` that lie together: points, first of each patch, middles and reaches.

        The patches come in hands of ``_HANDS``, each in ascending order of how well the first scenario covers them:
        within the first hand the least margin is nearly found, whichever way the needles err, and that spares most
        other patches.
        """
        together = points[np.argsort(_places_on_a_curve(points), kind="stable")]
        parts = [together[start : start + _PATCH] for start in range(0, len(together), _PATCH)]
        middles = np.array([0.5 * (part.min(axis=0) + part.max(axis=0)) for part in parts])
        offset = middles[:, None] - self.centres_mm[0]
        along = np.einsum("ikx,kx->ik", offset, self.axes[0])
        across2 = np.maximum((offset**2).sum(axis=2) - along**2, 0.0)
        stretch = ((along / self.axial_mm) ** 2 + across2 / self.radial_mm**2).min(axis=1)
        order = np.argsort(-stretch, kind="stable")
        order = np.concatenate([order[hand::_HANDS] for hand in range(_HANDS)])
        parts, middles = [parts[patch] for patch in order], middles[order]
        reach = [np.linalg.norm(part - middle, axis=1).max() for part, middle in zip(parts, middles, strict=True)]
        first = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        # A hair more, so that rounding never cuts a point off its patch.
        return np.concatenate(parts), first, middles, np.array(reach) + 1e-9

    @property
    def _bounds_mm(self) -> FloatArray:
        spread = np.sqrt(
            (self.axes * self.axial_mm[:, None]) ** 2 + (1.0 - self.axes**2) * self.radial_mm[:, None] ** 2
        )
        low, high = self.centres_mm - spread, self.centres_mm + spread
        return np.stack([low.min(axis=(0, 1)), high.max(axis=(0, 1))])


class ModelScenarios(ScenarioZones):
    """Zones of any model, which is asked anew in every scenario.

    Args:
        model: predicts the zones.
        scenarios: where the needles land.
        tissue: tissues and vessels, for models that ask for them.
    """

    def __init__(self, model: ZoneModel, scenarios: Scenarios, tissue: TissueMap | None) -> None:
        self.model, self.scenarios, self.tissue = model, scenarios, tissue

    def scores(
        self,
        queries: AnatomyQueries,
        surface_mm: FloatArray,
        inner_mm: FloatArray,
        structures: Sequence[StructureSurface],
    ) -> ZoneScores:
        """See ScenarioZones."""
        n = len(self.scenarios)
        low, high, share = np.empty(n), np.empty(n), np.empty(n)
        reached = np.zeros((len(structures), n), dtype=np.bool_)
        perhaps = np.zeros((len(structures), n), dtype=np.bool_)
        for i in range(n):
            zone = self.model.zone(self.scenarios.placed(i), self.tissue)
            low[i] = zone.least_margin_mm(surface_mm)
            high[i] = low[i] + zone.margin_error_mm
            share[i] = zone.contains(inner_mm).mean()
            for s, structure in enumerate(structures):
                reached[s, i], perhaps[s, i] = _reaches(queries, zone, structure)
        return ZoneScores(low, high, share, tuple(reached), tuple(perhaps))

    @property
    def may_enclose_cavities(self) -> bool:
        """See ScenarioZones; nothing is known of the shape of the zones."""
        return True


def _reaches(queries: AnatomyQueries, zone: LethalZone, structure: StructureSurface) -> tuple[bool, bool]:
    """Whether a zone surely reaches a structure, and whether it may."""
    points, spacing_mm = _near_points(structure.mesh, zone.bounds_mm)
    depth = float(zone.signed_distance_mm(points).max()) if len(points) else -np.inf
    # A zone that meets no surface may lie within the structure altogether.
    parts = np.array([mesh.vertices_mm[0] for mesh in zone.surfaces()]).reshape(-1, 3)
    within = bool(queries.tree(structure).contains(parts).any())
    return within or depth >= 0.0, within or depth >= -spacing_mm


def _near_points(mesh: SurfaceMesh, bounds_mm: FloatArray) -> tuple[FloatArray, float]:
    """Points (m, 3) of the part of a surface that lies within bounds, and how near every point of it has one."""
    low, high = bounds_mm[0] - REACH_SPACING_MM, bounds_mm[1] + REACH_SPACING_MM
    from_low, to_high = mesh.vertices_mm >= low, mesh.vertices_mm <= high
    if not (from_low.any(axis=0) & to_high.any(axis=0)).all():
        return np.empty((0, 3)), 0.0
    near = (from_low[mesh.faces].any(axis=1) & to_high[mesh.faces].any(axis=1)).all(axis=1)
    if not near.any():
        return np.empty((0, 3)), 0.0
    points, spacing_mm = distinct_points(
        *surface_points(SurfaceMesh(mesh.vertices_mm, mesh.faces[near]), REACH_SPACING_MM)
    )
    return np.ascontiguousarray(points[((points >= low) & (points <= high)).all(axis=1)]), spacing_mm


def distinct_points(points_mm: FloatArray, spacing_mm: float) -> tuple[FloatArray, float]:
    """Points (n, 3) of a surface without those that stand for the same place, and the spacing that is left.

    Split faces give the points of their common edges once each, rounded differently. One of every cell of a fine
    grid is kept; a point that falls away lies within the cell's diagonal of it, which is added to the spacing.
    """
    low = points_mm.min(axis=0)
    # Three cell numbers of 21 bits make one key.
    cell = max(1e-4, float((points_mm.max(axis=0) - low).max()) / (2**21 - 1))
    number = np.rint((points_mm - low) / cell).astype(np.int64)
    _, first = np.unique((number[:, 0] << 42) | (number[:, 1] << 21) | number[:, 2], return_index=True)
    return points_mm[np.sort(first)], spacing_mm + float(np.sqrt(3.0)) * cell


def _places_on_a_curve(points_mm: FloatArray) -> NDArray[np.int64]:
    """(n,) places of points (n, 3) on a curve through space that keeps neighbours together (Morton 1966)."""
    low = points_mm.min(axis=0)
    edge = float((points_mm.max(axis=0) - low).max()) + 1e-12
    cell = ((points_mm - low) * (1023.0 / edge)).astype(np.int64)
    place = np.zeros(len(points_mm), dtype=np.int64)
    for bit in range(10):
        for axis in range(3):
            place |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    return place
