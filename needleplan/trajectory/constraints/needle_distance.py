"""A needle keeps clear of needles that stand in the patient already."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.constraints.clearance import LARGEST_LIMIT_MM
from needleplan.trajectory.constraints.placed_needle import PlacedNeedle, segment_to_segments_mm
from needleplan.trajectory.contract import Neighbourhood, TrajectoryConstraint
from needleplan.trajectory.measured import HANDLE_MM, MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class NeedleDistance(TrajectoryConstraint):
    """The needle's surface keeps a distance from that of every placed needle, inside and outside the patient.

    The needle comes along its axis, so all of its usable length and handle count outside; of a placed needle counts
    what stands out. Curved paths are measured along chords, whose error is taken off. A needle that crosses another
    has minus the sum of the radii.

    Args:
        placed: the needles in the patient, at least one.
        minimum_mm: least distance, 0 to 50 mm.
    """

    def __init__(self, placed: Sequence[PlacedNeedle], minimum_mm: float) -> None:
        if not placed:
            raise OptionError("a distance to placed needles needs at least one placed needle")
        if not 0 <= minimum_mm <= LARGEST_LIMIT_MM:
            raise OptionError(
                f"the distance to placed needles must be between 0 and {LARGEST_LIMIT_MM:g} mm, not {minimum_mm:g}"
            )
        self.placed = tuple(placed)
        self.minimum_mm = float(minimum_mm)

    @property
    def name(self) -> str:
        return "distance to placed needles"

    def with_limit(self, limit: float) -> "NeedleDistance | None":
        return NeedleDistance(self.placed, limit) if 0 <= limit <= LARGEST_LIMIT_MM else None

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """Where a neighbour cannot move far enough away from the place that is too near.

        A place at a share of the path moves by that share of the ends' ways, one outside swings about the entry.
        """
        least, place_mm = self._nearest(paths)
        share = np.clip(place_mm / paths.table.length_mm, 0.0, 1.0)
        inside_mm = (1.0 - share) * around.entry_mm + share * around.tip_mm
        sway_mm = np.where(place_mm < 0, around.swing_mm(np.maximum(-place_mm, 0.0)), inside_mm)
        return np.asarray(least + sway_mm < column.limit)

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        return ConstraintColumn(
            self.name,
            "mm",
            self._nearest(paths)[0],
            self.minimum_mm,
            True,
            f"needle surface at least {self.minimum_mm:g} mm from needles already placed",
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """Where the nearest of them comes nearest; negative on the shaft outside."""
        return self._nearest(paths)[1]

    def _nearest(self, paths: MeasuredPaths) -> tuple[FloatArray, FloatArray]:
        """(n,) distance to the nearest placed needle, and where along each path."""
        least, place = np.empty(len(paths)), np.empty(len(paths))
        for rows, part in paths.alike:
            least[rows], place[rows] = self._nearest_alike(part)
        return least, place

    def _nearest_alike(self, paths: MeasuredPaths) -> tuple[FloatArray, FloatArray]:
        table = paths.table
        start, end = paths.chords_mm
        outside = table.applicator.usable_length_mm + HANDLE_MM
        k = start.shape[1]
        parts = [(start[:, i], end[:, i], i * table.length_mm / k, table.length_mm / k) for i in range(k)]
        back = table.entry_mm - outside * table.entry_direction
        zero = np.zeros(len(paths))
        parts.append((table.entry_mm, back, zero, np.full(len(paths), -outside)))
        least, place = np.full(len(paths), np.inf), np.zeros(len(paths))
        for needle in self.placed:
            for index, (first, second, begin, length) in enumerate(parts):
                distance, share = segment_to_segments_mm(needle.tip_mm, needle.back_mm, first, second)
                if index < k:
                    distance = np.maximum(distance - paths.chord_error_mm, 0.0)
                distance = distance - needle.radius_mm
                nearer = distance < least
                least = np.where(nearer, distance, least)
                place = np.where(nearer, begin + share * length, place)
        return least - table.applicator.radius_mm, place
