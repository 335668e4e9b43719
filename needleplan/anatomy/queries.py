"""Exact queries of an anatomy, with the search structures built once and shared."""

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.anatomy.tree import MeshTree
from needleplan.case.model import Role


class AnatomyQueries:
    """An anatomy together with its search trees, each built at its first use.

    Args:
        anatomy: the surfaces.
    """

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        self._trees: dict[int, MeshTree] = {}
        self._distances: dict[int, SurfaceDistance] = {}

    def tree(self, surface: StructureSurface) -> MeshTree:
        """Tree of one surface, for distances and crossings of needle paths."""
        key = id(surface.mesh)
        if key not in self._trees:
            self._trees[key] = MeshTree(surface.mesh)
        return self._trees[key]

    def distance(self, surface: StructureSurface) -> SurfaceDistance:
        """Signed distances of points to one surface."""
        key = id(surface.mesh)
        if key not in self._distances:
            self._distances[key] = SurfaceDistance(surface.mesh)
        return self._distances[key]

    @property
    def host_organ(self) -> StructureSurface | None:
        """The organ that holds most of the target's surface; None where no organ holds any of it."""
        organs = self.anatomy.with_role(Role.ORGAN)
        if not organs:
            return None
        points = self.anatomy.target.mesh.vertices_mm
        points = points[:: max(1, len(points) // 500)]
        shares = [self.distance(organ).contains(points).mean() for organ in organs]
        best = max(range(len(organs)), key=lambda k: shares[k])
        return organs[best] if shares[best] > 0 else None
