"""A path near an axial slice can be followed in few images."""

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class OutOfPlaneLimit(TrajectoryConstraint):
    """The angle between the line from entry to tip and the axial plane stays below a limit.

    Args:
        limit_deg: greatest angle, 0 to 90 degrees.
    """

    def __init__(self, limit_deg: float) -> None:
        if not 0 <= limit_deg <= 90:
            raise OptionError(f"the out-of-plane limit must lie between 0 and 90 degrees, not {limit_deg:g}")
        self.limit_deg = float(limit_deg)

    @property
    def name(self) -> str:
        return "angle out of the axial plane"

    def with_limit(self, limit: float) -> "OutOfPlaneLimit | None":
        return OutOfPlaneLimit(limit) if 0 <= limit <= 90 else None

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where even the neighbour with the best direction leaves the plane."""
        return np.asarray(column.values - around.turn_deg > column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        sine = np.abs(paths.table.direction @ paths.queries.anatomy.case.cranial)
        values = np.degrees(np.arcsin(np.clip(sine, 0.0, 1.0)))
        return ConstraintColumn(
            self.name,
            "deg",
            values,
            self.limit_deg,
            False,
            f"at most {self.limit_deg:g} degrees out of the axial plane",
        )
