"""Exact queries of an anatomy, with the search structures built once and shared."""

from functools import cached_property

import numpy as np

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.anatomy.moments import solid_moments
from needleplan.anatomy.skin_normals import SkinNormals
from needleplan.anatomy.tree import MeshTree
from needleplan.case.model import Role
from needleplan.frames import FloatArray, read_only

#: Edge of the cubes by which volumes are counted; 1 mm or finer is asked of margin figures.
VOLUME_STEP_MM = 1.0


class AnatomyQueries:
    """An anatomy together with its search trees, each built at its first use.

    Args:
        anatomy: the surfaces.
    """

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        self._trees: dict[int, MeshTree] = {}
        self._distances: dict[int, SurfaceDistance] = {}
        self._target_points: dict[float, tuple[FloatArray, float]] = {}

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

    @cached_property
    def skin_normals(self) -> SkinNormals:
        """Normals of the entry surface."""
        anatomy = self.anatomy
        return SkinNormals(anatomy.entry.mesh, anatomy.axes, self.origin_mm)

    @cached_property
    def origin_mm(self) -> FloatArray:
        """(3,) the target's centroid, from which samples are laid out along the patient's axes."""
        return solid_moments(self.anatomy.target.mesh).centroid_mm

    @cached_property
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

    def target_points_mm(self, margin_mm: float) -> tuple[FloatArray, float]:
        """Middles (n, 3) of the cubes whose middle lies in target plus margin, and the volume of one cube in mm³.

        Cubes of ``VOLUME_STEP_MM`` along the patient's axes, finer in a target of less than 4 ml.
        """
        if margin_mm not in self._target_points:
            mesh = self.anatomy.target.mesh
            axes = self.anatomy.axes
            origin = mesh.vertices_mm.mean(axis=0)
            local = (mesh.vertices_mm - origin) @ axes
            step = min(VOLUME_STEP_MM, float(np.cbrt(mesh.volume_mm3 / 4000.0)))
            ranges = [
                (np.arange(np.floor((a - margin_mm) / step), (b + margin_mm) / step + 1.0) + 0.5) * step
                for a, b in zip(local.min(axis=0), local.max(axis=0), strict=True)
            ]
            points = origin + np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) @ axes.T
            depth = self.distance(self.anatomy.target).signed_distance_mm(points)
            self._target_points[margin_mm] = read_only(points[depth <= margin_mm]), step**3
        return self._target_points[margin_mm]
