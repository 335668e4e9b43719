"""A needle that meets the organ's capsule obliquely may slide on it or tear it."""

import numpy as np

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.table import ObjectiveColumn, TrajectoryTable


class CapsuleAngle(TrajectoryObjective):
    """Angle between path and the organ surface's normal where the path enters the organ for the last time.

    Args:
        organ: the organ that holds the target.
        weight: share in the weighted order.
    """

    def __init__(self, organ: StructureSurface, weight: float) -> None:
        self.organ = organ
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return f"angle to {self.organ.name} capsule"

    def evaluate(self, table: TrajectoryTable, queries: AnatomyQueries) -> ObjectiveColumn:
        crossings = queries.tree(self.organ).crossings(table.entry_mm, table.tip_mm)
        normals = self.organ.mesh.face_normals
        entering = np.isfinite(crossings.parameter) & ~crossings.outward
        last = entering.shape[1] - 1 - np.argmax(entering[:, ::-1], axis=1)
        face = np.take_along_axis(crossings.face, last[:, None], axis=1)[:, 0]
        cosine = -np.einsum("ij,ij->i", table.direction, normals[np.maximum(face, 0)])
        # A path that starts inside the organ meets no capsule.
        angle = np.degrees(np.arccos(np.clip(cosine, 0.0, 1.0)))
        values = np.where(entering.any(axis=1), angle, 0.0)
        return ObjectiveColumn(self.name, "deg", values, values / 90.0, self.weight)
