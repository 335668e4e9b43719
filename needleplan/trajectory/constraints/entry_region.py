"""A needle enters where an entry is allowed."""

import copy
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.tree import MeshTree
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: An entry this near to the allowed skin lies on it: rounding of coordinates in files.
ON_SKIN_MM = 0.01
#: Farther from it is elsewhere.
LARGEST_DISTANCE_MM = 50.0
#: Distances are measured up to this.
_CAP_MM = 100.0


class EntryRegion(TrajectoryConstraint):
    """The entry lies on a face of the entry surface where one may be.

    Sampled candidates do by the way they are made; a path that was drawn, moved or read from a file may not.

    Args:
        anatomy: the anatomy, whose ``entry_faces`` are the allowed ones.
        limit_mm: greatest distance of the entry from them.
    """

    def __init__(self, anatomy: Anatomy, limit_mm: float = ON_SKIN_MM) -> None:
        if not 0 < limit_mm <= LARGEST_DISTANCE_MM:
            raise OptionError(
                f"an entry must lie within 0 to {LARGEST_DISTANCE_MM:g} mm of the allowed skin, not {limit_mm:g}"
            )
        self.anatomy = anatomy
        self.limit_mm = float(limit_mm)

    @property
    def name(self) -> str:
        return "entry region"

    def with_limit(self, limit: float) -> "EntryRegion | None":
        if not 0 < limit <= LARGEST_DISTANCE_MM:
            return None
        other = copy.copy(self)  # with the same search tree, where there is one
        other.limit_mm = float(limit)
        return other

    @cached_property
    def _tree(self) -> MeshTree:
        mesh = self.anatomy.entry.mesh
        return MeshTree(SurfaceMesh(mesh.vertices_mm, mesh.faces[self.anatomy.entry_faces]))

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where even the nearest neighbour's entry lies elsewhere."""
        return np.asarray(column.values - around.entry_mm > column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        entry = paths.table.entry_mm
        # Tables list entries one by one, each with many aims: each is measured once.
        starts = np.ones(len(entry), dtype=np.bool_)
        starts[1:] = (entry[1:] != entry[:-1]).any(axis=1)
        points = entry[starts]
        values = self._tree.segment_distance_mm(points, points, _CAP_MM)[np.cumsum(starts) - 1]
        return ConstraintColumn(
            self.name, "mm", values, self.limit_mm, False, "the entry lies on skin where an entry is allowed"
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """At the entry."""
        return np.zeros(len(paths))
