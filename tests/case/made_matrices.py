"""Coverage matrices with given covers, and their optimum by enumeration, for tests of coverage solvers."""

from itertools import combinations

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.coverage.matrix import CoverageMatrix
from needleplan.coverage.offers import SizeMenu
from needleplan.coverage.region import TargetRegion
from needleplan.devices.catalogue import Applicator, DeviceCatalogue, ZoneRow
from needleplan.trajectory.table import TrajectoryTable


def ball_model(radius_mm, tip_to_centre_mm=10.0, sizes=(1.0,)):
    """An applicator whose zones are balls, of the given shares of a radius at 60, 61, ... seconds."""
    applicator = Applicator("ball", "MWA", "", 1.5, 250.0, 20.0, tip_to_centre_mm, False, "made for a test")
    rows = tuple(
        ZoneRow(
            "ball", "in_vivo", 50.0, 60.0 + k, 2 * radius_mm * s, 2 * radius_mm * s, "", "test", "READ", "high", ""
        )
        for k, s in enumerate(sorted(sizes))
    )
    return EllipsoidTableModel(DeviceCatalogue((applicator,), rows))


def made_matrix(covers, cost, added=None, conflicts=None):
    """A matrix of given covers; the geometry behind it does not matter to a solver."""
    covers = np.asarray(covers, dtype=bool)
    paths, points = covers.shape
    model = ball_model(10.0)
    line = np.stack([np.arange(paths), np.zeros(paths), np.zeros(paths)], axis=1).astype(float)
    table = TrajectoryTable(
        model.catalogue.applicator("ball"), line, line, line + np.array([0, 0, 9]), line + np.array([0, 0, 10])
    )
    region = TargetRegion(np.zeros((points, 3)), np.ones(points), np.ones(points), 0.0)
    menu = SizeMenu(((50.0, 60.0),), np.array([10.0]), np.array([10.0]))
    tips = tuple(line[:, None])
    added = np.ones(paths) if added is None else added
    return CoverageMatrix(
        region, table, np.asarray(cost, float), tips, covers, menu, "ball", model, added, conflicts
    )


def fewest(covers, cost, added=None, conflicts=None):
    """(number, cost) of the cheapest of the fewest insertions that cover what can be covered, by enumeration.

    Infinite where no choice that keeps the exclusions covers all of it.
    """
    wanted = covers.any(axis=0)
    added = np.ones(len(covers)) if added is None else added
    best = (np.inf, np.inf)
    for count in range(len(covers) + 1):
        for choice in combinations(range(len(covers)), count):
            if conflicts is not None and conflicts[np.ix_(choice, choice)].any():
                continue
            if (covers[list(choice)].any(axis=0) if choice else np.zeros_like(wanted))[wanted].all():
                best = min(best, (float(added[list(choice)].sum()), float(sum(cost[k] for k in choice))))
    return best
