"""The applicator must be long enough."""

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class UsableLength(TrajectoryConstraint):
    """The path from entry to tip is no longer than the applicator's usable length.

    Args:
        limit_mm: another length than the applicator's; None takes the applicator's own.
    """

    def __init__(self, limit_mm: float | None = None) -> None:
        if limit_mm is not None and not 0 < limit_mm <= 1000:
            raise OptionError(f"the usable length must be above 0 and at most 1000 mm, not {limit_mm:g}")
        self.limit_mm = limit_mm

    @property
    def name(self) -> str:
        return "usable length"

    def with_limit(self, limit: float) -> "UsableLength | None":
        return UsableLength(limit) if 0 < limit <= 1000 else None

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where even the shortest neighbour is too long."""
        return np.asarray(column.values - around.entry_mm - around.tip_mm > column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        limit = paths.table.applicator.usable_length_mm if self.limit_mm is None else self.limit_mm
        return ConstraintColumn(
            self.name, "mm", paths.table.length_mm, limit, False, f"path no longer than {limit:g} mm"
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """Where the needle ends, short of the tip where the path is too long for it."""
        limit = paths.table.applicator.usable_length_mm if self.limit_mm is None else self.limit_mm
        return np.minimum(paths.table.length_mm, limit)
