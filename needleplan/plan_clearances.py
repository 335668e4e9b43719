"""How far the needles of a plan pass by every structure that they must not touch."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.devices.catalogue import Applicator
from needleplan.plan import Insertion
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import TrajectoryTable

#: Clearances in a plan are exact up to this distance from the needle's surface.
REPORTED_CLEARANCE_CAP_MM = 60.0


def is_capped(clearance_mm: float) -> bool:
    """Whether a clearance in a plan is measured no farther, so that the true one is at least this."""
    return clearance_mm >= REPORTED_CLEARANCE_CAP_MM


def clearance_in_words(clearance_mm: float) -> str:
    """A clearance in a plan as pages tell it."""
    return f"{clearance_mm:.1f} mm{' or more' if is_capped(clearance_mm) else ''}"


def with_clearances(
    insertions: Sequence[Insertion], applicator: Applicator, queries: AnatomyQueries
) -> list[Insertion]:
    """The insertions, all of one applicator, with the exact clearance of each path to each obstacle."""
    entry = np.array([insertion.entry_mm for insertion in insertions]).reshape(-1, 3)
    tip = np.array([insertion.tip_mm for insertion in insertions]).reshape(-1, 3)
    measured = MeasuredPaths(TrajectoryTable(applicator, entry, np.zeros_like(entry), tip, tip), queries)
    columns = {
        surface.name: measured.clearance_mm(surface, REPORTED_CLEARANCE_CAP_MM)
        for surface in queries.anatomy.obstacles
    }
    return [
        dataclasses.replace(
            insertion, clearances_mm={name: round(float(values[k]), 3) for name, values in columns.items()}
        )
        for k, insertion in enumerate(insertions)
    ]
