"""Candidate paths of a patient, and an arm beside the table that is asked which of them it reaches."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from path_liver import REAL_CASE

from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.load import load_case
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.frames import FloatArray
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from robots.catalogue import load_robot
from robots.clearance import Surroundings
from robots.frames import base_pose, place_anatomy
from robots.path_reach import PathReach, ReachTable


@dataclass(frozen=True, slots=True, eq=False)
class ReachTask:
    """Paths and who is asked about them.

    Attributes:
        name: the patient.
        base_m: (3,) where the base stands in the world.
        reach: the arm at its place.
        entry_mm: (n, 3) entries.
        tip_mm: (n, 3) tips.
    """

    name: str
    base_m: FloatArray
    reach: PathReach
    entry_mm: FloatArray
    tip_mm: FloatArray

    def measure(self, rows: slice) -> ReachTable:
        """Which paths are reached, each in its best posture."""
        return self.reach.measure(self.entry_mm[rows], self.tip_mm[rows])

    def decide(self, rows: slice) -> FloatArray:
        """Which paths are reached."""
        return self.reach.reachable(self.entry_mm[rows], self.tip_mm[rows])


def patient(data: Path | None) -> tuple[str, Anatomy]:
    """The real liver where its data are given, else the built-in patient."""
    if data is not None:
        return "ircadb01-case01", build_anatomy(load_case(REAL_CASE, data_root=data))
    return "built-in patient", build_anatomy(make_phantom(PhantomParameters(), np.random.default_rng(0)).case())


def reach_task(data: Path | None, count: int) -> ReachTask:
    """``count`` candidate paths, spread over all of a patient's, and the seven-joint arm beside the liver."""
    name, anatomy = patient(data)
    applicator = builtin_catalogue().applicator("generic-mwa-2450")
    table = sample_trajectories(AnatomyQueries(anatomy), applicator, SamplingOptions())
    rows = np.random.default_rng(0).permutation(len(table.entry_mm))[:count]
    placement = place_anatomy(anatomy)
    X_WB = base_pose([-placement.table.half_width_m - 0.25, 0.0, 0.0], 0.0)
    reach = PathReach(load_robot("needle_arm7"), placement, X_WB, Surroundings(placement, anatomy.entry.mesh))
    return ReachTask(name, X_WB.translation, reach, table.entry_mm[rows], table.tip_mm[rows])
