"""Skin punctures keep a distance from each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.constraints.placed_needle import PlacedNeedle
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: Punctures need not be farther apart than this.
LARGEST_SPACING_MM = 200.0


class EntrySpacing(TrajectoryConstraint):
    """The entry keeps a distance, in a straight line, from the entry of every placed needle.

    Args:
        placed: the needles in the patient, at least one.
        minimum_mm: least distance between the middles of the punctures, 0 to 200 mm.
    """

    def __init__(self, placed: Sequence[PlacedNeedle], minimum_mm: float) -> None:
        if not placed:
            raise OptionError("a distance between skin entries needs at least one placed needle")
        if not 0 <= minimum_mm <= LARGEST_SPACING_MM:
            raise OptionError(
                f"the distance between skin entries must be between 0 and {LARGEST_SPACING_MM:g} mm, not "
                f"{minimum_mm:g}"
            )
        self.placed = tuple(placed)
        self.minimum_mm = float(minimum_mm)

    @property
    def name(self) -> str:
        return "distance between skin entries"

    def with_limit(self, limit: float) -> "EntrySpacing | None":
        return EntrySpacing(self.placed, limit) if 0 <= limit <= LARGEST_SPACING_MM else None

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where even the farthest neighbour's entry is too near."""
        return np.asarray(column.values + around.entry_mm < column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        least = np.full(len(paths), np.inf)
        for needle in self.placed:
            least = np.minimum(least, np.linalg.norm(paths.table.entry_mm - needle.entry_mm, axis=1))
        return ConstraintColumn(
            self.name,
            "mm",
            least,
            self.minimum_mm,
            True,
            f"skin entry at least {self.minimum_mm:g} mm from those of needles already placed",
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """At the entry."""
        return np.zeros(len(paths))
