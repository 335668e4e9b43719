"""A tumour under the capsule is not punctured directly, lest it bleeds or seeds into the cavity."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.constraints.organ_path import LONGEST_PATH_MM
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: A target whose surface comes nearer to the capsule than this is subcapsular: "< 1 cm from the liver edge", as in
#: the series of percutaneous cryoablation of subcapsular hepatocellular carcinoma, PMC7075578 (2020).
SUBCAPSULAR_MM = 10.0


class DirectPuncture(TrajectoryConstraint):
    """Where the target is subcapsular, a least length of organ lies before it on the path.

    Where it is not, every path passes: the value is then ``LONGEST_PATH_MM``, beyond every limit.

    Args:
        organ: the organ that holds the target.
        minimum_mm: least length inside the organ before a subcapsular target.
        target_depth_mm: distance between the target's surface and the organ's, as ``target_depth_mm`` measures it.
        subcapsular_mm: the target is subcapsular where it lies less deep than this.
    """

    def __init__(
        self,
        organ: StructureSurface,
        minimum_mm: float,
        target_depth_mm: float,
        subcapsular_mm: float = SUBCAPSULAR_MM,
    ) -> None:
        if not 0 <= minimum_mm < LONGEST_PATH_MM:
            raise OptionError(
                f"the organ before a subcapsular target must be between 0 and {LONGEST_PATH_MM:g} mm, not "
                f"{minimum_mm:g}"
            )
        if not 0 <= subcapsular_mm <= 100 or not target_depth_mm >= 0:
            raise OptionError(
                f"a target is subcapsular within 0 to 100 mm of the capsule and lies 0 mm or more from it, not "
                f"{subcapsular_mm:g} and {target_depth_mm:g}"
            )
        self.organ = organ
        self.minimum_mm = float(minimum_mm)
        self.target_depth_mm = float(target_depth_mm)
        self.subcapsular_mm = float(subcapsular_mm)

    @property
    def name(self) -> str:
        return "no direct puncture"

    def with_limit(self, limit: float) -> "DirectPuncture | None":
        if not 0 <= limit < LONGEST_PATH_MM:
            return None
        return DirectPuncture(self.organ, limit, self.target_depth_mm, self.subcapsular_mm)

    @property
    def is_subcapsular(self) -> bool:
        """True where the target lies less deep than the stated distance."""
        return self.target_depth_mm < self.subcapsular_mm

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        if self.is_subcapsular:
            values = np.minimum(paths.organ_path_mm(self.organ), LONGEST_PATH_MM)
        else:
            values = np.full(len(paths), LONGEST_PATH_MM)
        return ConstraintColumn(
            self.name,
            "mm",
            values,
            self.minimum_mm,
            True,
            f"at least {self.minimum_mm:g} mm of {self.organ.name} before a target less than "
            f"{self.subcapsular_mm:g} mm under its surface",
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray | None:
        """Where the path meets the target; None where the target is not subcapsular."""
        return paths.target_share * paths.table.length_mm if self.is_subcapsular else None


def target_depth_mm(queries: AnatomyQueries, organ: StructureSurface, cap_mm: float) -> float:
    """Exact least distance between the target's surface and an organ's, up to a cap; 0 where they cross or touch.

    Two triangle meshes are nearest at a vertex of one and a face of the other or at two edges, so the edges of each
    against the faces of the other tell it.
    """
    target = queries.anatomy.target
    start, end = _edges_mm(target.mesh, target.mesh.faces)
    least = float(queries.tree(organ).segment_distance_mm(start, end, cap_mm).min(initial=cap_mm))
    if least == 0:
        return least
    # Faces of the organ with a corner on this side of each side of the target's box, grown.
    low, high = target.mesh.bounds_mm[0] - least, target.mesh.bounds_mm[1] + least
    corners = organ.mesh.vertices_mm
    below, above = (corners < low)[organ.mesh.faces], (corners > high)[organ.mesh.faces]
    near = ~(below.all(axis=1) | above.all(axis=1)).any(axis=1)
    start, end = _edges_mm(organ.mesh, organ.mesh.faces[near])
    return float(queries.tree(target).segment_distance_mm(start, end, least).min(initial=least))


def _edges_mm(mesh: SurfaceMesh, faces: NDArray[np.integer]) -> tuple[FloatArray, FloatArray]:
    """Both ends (e, 3) of every edge of some faces of a mesh, each edge once."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    return mesh.vertices_mm[pairs[:, 0]], mesh.vertices_mm[pairs[:, 1]]
