"""What was softened still costs."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from needleplan.errors import OptionError
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ObjectiveColumn

#: Shortfall that costs 1, by unit; "" is a yes or no. These are this library's choices.
SCALES: Mapping[str, float] = MappingProxyType({"mm": 5.0, "deg": 15.0, "": 1.0})


class SoftLimits(TrajectoryObjective):
    """Sum over the soft constraint columns of shortfall over the scale of its unit; 0 where all are kept.

    Args:
        weight: share in the weighted order.
        scales: shortfall that costs 1, by the unit of the column.

    Raises:
        OptionError: a scale is not above zero; or, when evaluated, a soft column has a unit without a scale.
    """

    def __init__(self, weight: float, scales: Mapping[str, float] = SCALES) -> None:
        for unit, scale in scales.items():
            if not 0 < scale < np.inf:
                raise OptionError(f"the scale of soft limits in {unit!r} must be above zero, not {scale}")
        self.weight = float(weight)
        self.scales = dict(scales)

    @property
    def name(self) -> str:
        return "soft limits"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        cost = np.zeros(len(paths))
        for column in paths.table.constraints:
            if column.hard:
                continue
            if column.unit not in self.scales:
                raise OptionError(
                    f"soft constraint {column.name!r} is in {column.unit!r}, for which there is no scale: "
                    f"there are {', '.join(map(repr, self.scales))}"
                )
            cost += column.shortfall / self.scales[column.unit]
        return ObjectiveColumn(self.name, "", cost, cost, self.weight)
