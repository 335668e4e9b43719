"""A needle that does not bend."""

from needleplan.frames import FloatArray
from needleplan.trajectory.contract import DeflectionModel


class Straight(DeflectionModel):
    """Stiff, symmetric needles: every path is the line from entry to tip."""

    @property
    def name(self) -> str:
        return "straight"

    def curvature_per_mm(self, entry_mm: FloatArray, tip_mm: FloatArray) -> None:
        """None: nothing bends."""
