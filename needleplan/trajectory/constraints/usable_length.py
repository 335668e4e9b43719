"""The applicator must be long enough."""

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable


class UsableLength(TrajectoryConstraint):
    """The path from entry to tip is no longer than the applicator's usable length."""

    @property
    def name(self) -> str:
        return "usable length"

    def evaluate(self, table: TrajectoryTable, queries: AnatomyQueries) -> ConstraintColumn:
        limit = table.applicator.usable_length_mm
        values = table.length_mm
        return ConstraintColumn(
            self.name, "mm", values, limit, values <= limit, f"path no longer than {limit:g} mm"
        )
