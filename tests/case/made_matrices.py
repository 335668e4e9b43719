"""Coverage matrices with given covers, and their optimum by enumeration, for tests of coverage solvers."""

from itertools import combinations

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.coverage.matrix import CoverageMatrix
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


def made_matrix(covers, cost):
    """A matrix of given covers; the geometry behind it does not matter to a solver."""
    covers = np.asarray(covers, dtype=bool)
    paths, points = covers.shape
    model = ball_model(10.0)
    line = np.stack([np.arange(paths), np.zeros(paths), np.zeros(paths)], axis=1).astype(float)
    table = TrajectoryTable(
        model.catalogue.applicator("ball"), line, line, line + np.array([0, 0, 9]), line + np.array([0, 0, 10])
    )
    region = TargetRegion(np.zeros((points, 3)), np.ones(points), np.ones(points), 0.0)
    return CoverageMatrix(
        region, table, np.asarray(cost, float), tuple(line[:, None]), covers, ((50.0, 60.0),), "ball", model
    )


def fewest(covers, cost):
    """(number, cost) of the cheapest of the fewest paths that cover what can be covered, by enumeration."""
    wanted = covers.any(axis=0)
    for count in range(len(covers) + 1):
        fitting = [
            sum(cost[k] for k in choice)
            for choice in combinations(range(len(covers)), count)
            if (covers[list(choice)].any(axis=0) if choice else np.zeros_like(wanted))[wanted].all()
        ]
        if fitting:
            return count, min(fitting)
    raise AssertionError
