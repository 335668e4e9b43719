"""Distance from the needle's surface to one obstacle."""

from needleplan.anatomy.model import StructureSurface
from needleplan.errors import OptionError
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import CLEARANCE_CAP_MM, MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: Room beyond a demanded clearance within which more can be told from enough.
ROOM_MM = 5.0

#: Demands beyond this are no clearances of a needle.
LARGEST_LIMIT_MM = 50.0


class Clearance(TrajectoryConstraint):
    """The needle's surface keeps a distance from an obstacle over the whole path; it never crosses it.

    Args:
        surface: the obstacle.
        limit_mm: least distance, 0 to ``LARGEST_LIMIT_MM``.
    """

    def __init__(self, surface: StructureSurface, limit_mm: float) -> None:
        if not 0 <= limit_mm <= LARGEST_LIMIT_MM:
            raise OptionError(
                f"the clearance to {surface.name} must be between 0 and {LARGEST_LIMIT_MM:g} mm, not {limit_mm:g}"
            )
        self.surface = surface
        self.limit_mm = float(limit_mm)

    @property
    def name(self) -> str:
        return f"clearance to {self.surface.name}"

    def with_limit(self, limit: float) -> "Clearance | None":
        return Clearance(self.surface, limit) if 0 <= limit <= LARGEST_LIMIT_MM else None

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        values = paths.clearance_mm(self.surface, max(CLEARANCE_CAP_MM, self.limit_mm + ROOM_MM))
        return ConstraintColumn(
            self.name,
            "mm",
            values,
            self.limit_mm,
            True,
            f"needle surface at least {self.limit_mm:g} mm from {self.surface.name}",
        )
