"""Healthy organ between capsule and tumour seals the track against bleeding and seeding."""

import numpy as np

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable


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

    def evaluate(self, table: TrajectoryTable, queries: AnatomyQueries) -> ConstraintColumn:
        values = organ_path_mm(table, queries, self.organ)
        return ConstraintColumn(
            self.name,
            "mm",
            values,
            self.minimum_mm,
            values >= self.minimum_mm,
            f"at least {self.minimum_mm:g} mm of {self.organ.name} before the target",
        )


def organ_path_mm(table: TrajectoryTable, queries: AnatomyQueries, organ: StructureSurface) -> FloatArray:
    """(n,) length inside the organ before the path first meets the target."""
    target = queries.tree(queries.anatomy.target).crossings(table.entry_mm, table.tip_mm)
    length = table.length_mm
    # A path that never meets the target surface ends inside it or short of it: the whole path counts.
    end = np.where(target.count > 0, np.minimum(target.parameter[:, 0], 1.0), 1.0)
    tree = queries.tree(organ)
    crossings = tree.crossings(table.entry_mm, table.tip_mm)
    inside = tree.contains(table.entry_mm)
    total = np.zeros(len(table))
    previous = np.zeros(len(table))
    for k in range(crossings.parameter.shape[1]):
        here = np.minimum(crossings.parameter[:, k], end)
        total += np.where(inside, here - previous, 0.0)
        inside = np.where(np.isfinite(crossings.parameter[:, k]), ~crossings.outward[:, k], inside)
        previous = here
    total += np.where(inside, end - previous, 0.0)
    return total * length
