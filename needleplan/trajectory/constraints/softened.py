"""A demand that only costs."""

import dataclasses

from needleplan.frames import FloatArray
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class Softened(TrajectoryConstraint):
    """Another constraint, measured and named as it is, that rejects no candidate.

    Args:
        constraint: the demand; softening twice is softening once.
    """

    def __init__(self, constraint: TrajectoryConstraint) -> None:
        self.constraint: TrajectoryConstraint = (
            constraint.constraint if isinstance(constraint, Softened) else constraint
        )

    @property
    def name(self) -> str:
        return self.constraint.name

    def with_limit(self, limit: float) -> "Softened | None":
        other = self.constraint.with_limit(limit)
        return None if other is None else Softened(other)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        return dataclasses.replace(self.constraint.evaluate(paths), hard=False)

    def located_mm(self, paths: MeasuredPaths) -> FloatArray | None:
        return self.constraint.located_mm(paths)
