"""The structure that holds the target may be passed into, but not time and again."""

import numpy as np

from needleplan.anatomy.model import StructureSurface
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.constraints.capsule_entries import last_entry_mm
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn

#: More passages than this are no demand.
MOST_ENTRIES = 20


class HostEntries(TrajectoryConstraint):
    """The path passes into the structure that holds the target at most so many times.

    One pass of the cortex where the target lies in a bone, one of the pleura where it lies in a lung. A structure
    of several parts under one name, such as all bones, is so crossed in one part alone by a path that ends in it.
    A path that begins inside has passed into it once.

    Args:
        host: the structure that holds the target.
        most: greatest number of passages.
    """

    def __init__(self, host: StructureSurface, most: float) -> None:
        if not 1 <= most <= MOST_ENTRIES:
            raise OptionError(f"the passages into {host.name} must be 1 to {MOST_ENTRIES}, not {most:g}")
        self.host = host
        self.most = float(most)

    @property
    def name(self) -> str:
        return f"passages into {self.host.name}"

    def with_limit(self, limit: float) -> "HostEntries | None":
        return HostEntries(self.host, limit) if 1 <= limit <= MOST_ENTRIES else None

    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        crossings = paths.crossings(self.host)
        inward = np.isfinite(crossings.parameter) & ~crossings.outward
        values = inward.sum(axis=1).astype(np.float64) + paths.entry_inside(self.host)
        times = "once" if self.most == 1 else f"{self.most:g} times"
        return ConstraintColumn(
            self.name, "", values, self.most, False, f"the needle passes into {self.host.name} at most {times}"
        )

    def located_mm(self, paths: MeasuredPaths) -> FloatArray:
        return last_entry_mm(paths, self.host)
