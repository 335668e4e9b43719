"""The side from which the operator or the robot's arm works."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from needleplan.case.model import Case
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class Side(StrEnum):
    """A side of the patient's own body, wherever the table turns it."""

    LEFT = "left"
    RIGHT = "right"
    FRONT = "front"
    BACK = "back"
    HEAD = "head"
    FEET = "feet"

    def direction(self, case: Case) -> FloatArray:
        """(3,) unit vector towards this side of a case's patient, who may have been moved with the table."""
        own = {
            "left": (1.0, 0.0, 0.0),
            "right": (-1.0, 0.0, 0.0),
            "front": (0.0, -1.0, 0.0),
            "back": (0.0, 1.0, 0.0),
            "head": (0.0, 0.0, 1.0),
            "feet": (0.0, 0.0, -1.0),
        }[self.value]
        if self in (Side.HEAD, Side.FEET):
            return np.asarray(case.cranial * own[2])
        # A case that was moved tells by its own up and cranial how its patient's axes (LPS) lie now.
        still = _axes(np.asarray(case.position.up), np.array([0.0, 0.0, 1.0]))
        return np.asarray(_axes(case.up, case.cranial) @ still.T @ np.array(own))


class ApproachSide(TrajectoryConstraint):
    """The shaft outside the patient points towards a side of the patient.

    Args:
        side: that side.
        limit_deg: greatest angle between the outward shaft and the direction towards it, above 0 and up to 180.
    """

    def __init__(self, side: Side, limit_deg: float) -> None:
        if not 0 < limit_deg <= 180:
            raise OptionError(f"the approach angle limit must lie between 0 and 180 degrees, not {limit_deg:g}")
        self.side = side
        self.limit_deg = float(limit_deg)

    @property
    def name(self) -> str:
        return "approach side"

    def with_limit(self, limit: float) -> "ApproachSide | None":
        return ApproachSide(self.side, limit) if 0 < limit <= 180 else None

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where even the neighbour with the best direction stands too oblique."""
        return np.asarray(column.values - around.turn_deg > column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        cosine = -paths.table.entry_direction @ self.side.direction(paths.queries.anatomy.case)
        values = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        return ConstraintColumn(
            self.name,
            "deg",
            values,
            self.limit_deg,
            False,
            f"shaft at most {self.limit_deg:g} degrees from the direction of the patient's {self.side.value} side",
        )


def _axes(up: FloatArray, cranial: FloatArray) -> FloatArray:
    """(3, 3) columns across, up, along the patient."""
    along = cranial - (cranial @ up) * up
    length = np.linalg.norm(along)
    if length < 1e-6:
        raise OptionError("an approach side needs a patient who lies on the table, not one who stands on it")
    along = along / length
    return np.stack([np.cross(up, along), up, along], axis=1)
