"""Tables of stated paths in a round body, straight or bent."""

import numpy as np
from made_cases import ball, made_case, queries_of

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import TrajectoryTable

APPLICATOR = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")
RADIUS = APPLICATOR.radius_mm


def paths(entry, tip, normal=None, curvature=None):
    """A table of given paths; the aim is the tip, the normal points away from the origin unless given."""
    entry, tip = np.atleast_2d(np.asarray(entry, float)), np.atleast_2d(np.asarray(tip, float))
    entry, tip = np.broadcast_arrays(entry, tip)
    if normal is None:
        normal = entry / np.maximum(np.linalg.norm(entry, axis=1, keepdims=True), 1e-9)
    return TrajectoryTable(APPLICATOR, entry, normal, tip, tip, curvature)


def random_paths(count=200, seed=0, reach=60.0):
    rng = np.random.default_rng(seed)
    return paths(rng.uniform(-reach, reach, (count, 3)), rng.uniform(-reach, reach, (count, 3)))


def bent(table, seed=0, radius_mm=150.0):
    """The same paths as arcs of a radius (weaker where that would be half a circle), bent any way."""
    rng = np.random.default_rng(seed)
    chord = table.tip_mm - table.entry_mm
    across = np.cross(chord, rng.normal(size=chord.shape))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    size = np.minimum(1.0 / radius_mm, 1.0 / np.linalg.norm(chord, axis=1))
    return paths(table.entry_mm, table.tip_mm, table.entry_normal, across * size[:, None])


def body(*others, target=None, skin=None, **options):
    skin = ball((0, 0, 0), 80, 4) if skin is None else skin
    return queries_of(made_case(ball((0, 0, 0), 10) if target is None else target, skin, *others, **options))


def values(constraint, table, queries):
    return constraint.evaluate(MeasuredPaths(table, queries)).values


def located(constraint, table, queries):
    return constraint.located_mm(MeasuredPaths(table, queries))


def points_along(table, count=400):
    """Points (n, count, 3) of every path, evenly from entry to tip, and their distances from the entry."""
    from needleplan.trajectory.arcs import arc_points_mm

    share = np.linspace(0.0, 1.0, count)
    curvature = np.zeros_like(table.entry_mm) if table.curvature_per_mm is None else table.curvature_per_mm
    return arc_points_mm(table.entry_mm, table.tip_mm, curvature, share), share * table.length_mm[:, None]
