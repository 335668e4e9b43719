"""A needle slides along the skin when it enters too obliquely."""

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class SkinAngle(TrajectoryConstraint):
    """The angle between path and skin normal at the entry stays below a limit.

    Args:
        limit_deg: greatest angle from the perpendicular, between 0 and 90 degrees.
    """

    def __init__(self, limit_deg: float) -> None:
        if not 0 < limit_deg < 90:
            raise OptionError(f"the skin angle limit must lie between 0 and 90 degrees, not {limit_deg:g}")
        self.limit_deg = float(limit_deg)

    @property
    def name(self) -> str:
        return "skin angle"

    def with_limit(self, limit: float) -> "SkinAngle | None":
        return SkinAngle(limit) if 0 < limit < 90 else None

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where even the neighbour with the best direction stands too oblique."""
        return np.asarray(column.values - around.turn_deg - around.normal_deg > column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        cosine = -np.einsum("ij,ij->i", paths.table.entry_direction, paths.table.entry_normal)
        values = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        return ConstraintColumn(
            self.name,
            "deg",
            values,
            self.limit_deg,
            False,
            f"at most {self.limit_deg:g} degrees from the perpendicular to the skin",
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """At the entry."""
        return np.zeros(len(paths))
