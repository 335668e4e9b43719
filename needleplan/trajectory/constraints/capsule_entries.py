"""Where paths pass into a structure."""

import numpy as np

from needleplan.anatomy.model import StructureSurface
from needleplan.frames import FloatArray
from needleplan.trajectory.measured import MeasuredPaths


def last_entry_mm(paths: MeasuredPaths, surface: StructureSurface) -> FloatArray:
    """(n,) distance from the entry at which each path passes into a structure for the last time.

    Not a number where it never passes into it.
    """
    crossings = paths.crossings(surface)
    inward = np.isfinite(crossings.parameter) & ~crossings.outward
    last = np.where(inward, crossings.parameter, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(last), last, np.nan) * paths.table.length_mm
