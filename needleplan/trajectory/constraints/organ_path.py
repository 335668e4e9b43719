"""Healthy organ between capsule and tumour seals the track against bleeding and seeding."""

from needleplan.anatomy.model import StructureSurface
from needleplan.errors import OptionError
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn


class OrganPath(TrajectoryConstraint):
    """The path runs through the organ for a least length before it meets the target.

    Args:
        organ: the organ that holds the target.
        minimum_mm: least length inside the organ before the target.
    """

    def __init__(self, organ: StructureSurface, minimum_mm: float) -> None:
        if not 0 <= minimum_mm < 200:
            raise OptionError(f"the organ path must be between 0 and 200 mm, not {minimum_mm:g}")
        self.organ = organ
        self.minimum_mm = float(minimum_mm)

    @property
    def name(self) -> str:
        return f"path through {self.organ.name}"

    def with_limit(self, limit: float) -> "OrganPath | None":
        return OrganPath(self.organ, limit) if 0 <= limit < 200 else None

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
