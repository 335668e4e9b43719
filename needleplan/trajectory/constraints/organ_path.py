"""Healthy organ between capsule and tumour seals the track against bleeding and seeding."""

from needleplan.anatomy.model import StructureSurface
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: No organ is as long as this; longer demands are mistakes.
LONGEST_PATH_MM = 200.0


class OrganPath(TrajectoryConstraint):
    """The path runs through the organ for a least length before it meets the target.

    Args:
        organ: the organ that holds the target.
        minimum_mm: least length inside the organ before the target.
    """

    def __init__(self, organ: StructureSurface, minimum_mm: float) -> None:
        if not 0 <= minimum_mm < LONGEST_PATH_MM:
            raise OptionError(f"the organ path must be between 0 and {LONGEST_PATH_MM:g} mm, not {minimum_mm:g}")
        self.organ = organ
        self.minimum_mm = float(minimum_mm)

    @property
    def name(self) -> str:
        return f"path through {self.organ.name}"

    def with_limit(self, limit: float) -> "OrganPath | None":
        return OrganPath(self.organ, limit) if 0 <= limit < LONGEST_PATH_MM else None

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        values = paths.organ_path_mm(self.organ)
        return ConstraintColumn(
            self.name,
            "mm",
            values,
            self.minimum_mm,
            True,
            f"at least {self.minimum_mm:g} mm of {self.organ.name} before the target",
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        """Where the path meets the target, before which the organ is too short."""
        return paths.target_share * paths.table.length_mm
