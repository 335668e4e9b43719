"""A needle slides along an organ's capsule, and tears it, when it meets it too obliquely."""

from needleplan.anatomy.model import StructureSurface
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.constraints.capsule_entries import last_entry_mm
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class CapsuleAngleLimit(TrajectoryConstraint):
    """The angle between path and capsule normal, where the path enters the organ last, stays below a limit.

    A path that meets no capsule has the angle 0.

    Args:
        organ: the organ whose surface is the capsule.
        limit_deg: greatest angle from the perpendicular, between 0 and 90 degrees.
    """

    def __init__(self, organ: StructureSurface, limit_deg: float) -> None:
        if not 0 < limit_deg < 90:
            raise OptionError(f"the capsule angle limit must lie between 0 and 90 degrees, not {limit_deg:g}")
        self.organ = organ
        self.limit_deg = float(limit_deg)

    @property
    def name(self) -> str:
        return f"angle to the surface of {self.organ.name}"

    def with_limit(self, limit: float) -> "CapsuleAngleLimit | None":
        return CapsuleAngleLimit(self.organ, limit) if 0 < limit < 90 else None

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        return ConstraintColumn(
            self.name,
            "deg",
            paths.capsule_angle_deg(self.organ),
            self.limit_deg,
            False,
            f"at most {self.limit_deg:g} degrees from the perpendicular to the surface of {self.organ.name}",
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        return last_entry_mm(paths, self.organ)
