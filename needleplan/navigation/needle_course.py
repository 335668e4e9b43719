"""Where a needle stands against its plan, and where it ends if it goes on straight."""

from dataclasses import dataclass

import numpy as np

from needleplan.coverage.treatment_state import MeasuredNeedle, NeedleDeviation
from needleplan.frames import FloatArray
from needleplan.plan import Insertion

#: Length of the axis by which a needle's direction is stated.
_AXIS_MM = 100.0
#: A needle that is turned farther from its plan never comes to the planned depth in a sensible way.
_LEAST_COSINE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class NeedleCourse:
    """A needle on its way.

    Attributes:
        tip_mm: (3,) tip, patient LPS.
        direction: (3,) unit vector along the insertion.
        deviation: from the plan.
        to_go_mm: way along the needle's own axis until the plane across the planned axis at the planned tip; None
            where it does not lead there.
        end_mm: (3,) where the tip is then.
        lateral_mm: its distance from the planned tip.
    """

    tip_mm: FloatArray
    direction: FloatArray
    deviation: NeedleDeviation
    to_go_mm: float | None
    end_mm: FloatArray
    lateral_mm: float | None

    @classmethod
    def of(cls, X_PN: FloatArray, planned: Insertion) -> "NeedleCourse":
        """The course of a needle at a pose (4, 4) in the patient."""
        tip, direction = X_PN[:3, 3], X_PN[:3, 2]
        axis = planned.direction
        target = np.asarray(planned.tip_mm)
        deviation = NeedleDeviation.of(planned, MeasuredNeedle(planned.order, tip - _AXIS_MM * direction, tip))
        cosine = float(direction @ axis)
        if cosine < _LEAST_COSINE:
            return cls(tip, direction, deviation, None, tip, None)
        to_go = float((target - tip) @ axis) / cosine
        end = tip + to_go * direction
        return cls(tip, direction, deviation, to_go, end, float(np.linalg.norm(end - target)))
