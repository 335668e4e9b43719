"""What every objective promises."""

import numpy as np
import pytest
from found_implementations import implementations
from made_path_tables import carried_along, made_queries, made_table

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.objectives.capsule_angle import CapsuleAngle
from needleplan.trajectory.objectives.obstacle_distance import ObstacleDistance
from needleplan.trajectory.objectives.out_of_plane import OutOfPlane
from needleplan.trajectory.objectives.path_length import PathLength
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable

NAMES = ("CapsuleAngle", "ObstacleDistance", "OutOfPlane", "PathLength")
every_objective = pytest.mark.parametrize("name", NAMES)


def made(name, queries, weight=0.25):
    if name == "CapsuleAngle":
        return CapsuleAngle(queries.anatomy.surface("liver"), weight)
    return {"ObstacleDistance": ObstacleDistance, "OutOfPlane": OutOfPlane, "PathLength": PathLength}[name](weight)


def screened(table, queries):
    """A table with the clearance columns that distances in hand are read from."""
    surface = queries.anatomy.surface
    return screen(table, queries, [Clearance(surface("vein"), 2.0), Clearance(surface("rib"), 1.0)])


@pytest.fixture(scope="module")
def queries() -> AnatomyQueries:
    return made_queries()


@pytest.fixture(scope="module")
def table(queries) -> TrajectoryTable:
    return screened(made_table(), queries)


def test_every_objective_of_the_packages_is_held_to_its_contract(queries):
    found = implementations(TrajectoryObjective)
    assert {type(made(name, queries)) for name in NAMES} == found and {c.__name__ for c in found} == set(NAMES)


@every_objective
def test_one_finite_value_and_one_cost_a_row(name, queries, table):
    objective = made(name, queries)
    column = objective.evaluate(MeasuredPaths(table, queries))
    assert column.values.shape == column.cost.shape == (len(table),)
    assert np.isfinite(column.values).all() and np.isfinite(column.cost).all()
    assert column.cost.min() >= 0.0 and np.ptp(column.cost) > 0.1
    # About 1 is poor: paths of twice the scale may cost more, thousands would drown the other objectives.
    inside = np.linalg.norm(table.entry_mm, axis=1) < 250
    assert column.cost[inside].max() < 3.0
    assert column.name == objective.name and column.weight == 0.25


@every_objective
def test_other_rows_change_nothing(name, queries, table):
    objective = made(name, queries)
    whole = objective.evaluate(MeasuredPaths(table, queries))
    order = np.random.default_rng(3).permutation(len(table))
    last = len(table) - 100
    rows = [order, order[:41], np.array([9, 9, last, 0]), np.arange(0)]
    rows += [np.array([row]) for row in range(last - 4, last + 8)]
    for chosen in rows:
        part = objective.evaluate(MeasuredPaths(table.subset(chosen), queries))
        np.testing.assert_allclose(part.cost, whole.cost[chosen], rtol=0, atol=1e-9)
        np.testing.assert_allclose(part.values, whole.values[chosen], rtol=0, atol=1e-9)


@every_objective
def test_cost_follows_the_value_in_one_sense_and_not_the_weight(name, queries, table):
    column = made(name, queries).evaluate(MeasuredPaths(table, queries))
    rising = np.diff(column.cost[np.argsort(column.values, kind="stable")])
    assert (rising >= -1e-12).all() or (rising <= 1e-12).all()
    heavy = made(name, queries, weight=7.0).evaluate(MeasuredPaths(table, queries))
    np.testing.assert_array_equal(heavy.cost, column.cost)
    assert heavy.weight == 7.0


def pair(table, better, worse):
    """Two paths (entry, tip), the better one first."""
    entry, tip = (np.array([better[k], worse[k]], dtype=float) for k in range(2))
    return TrajectoryTable(table.applicator, entry, np.tile([0.0, -1.0, 0.0], (2, 1)), tip, tip)


#: For each objective two paths in the made body of which the first one is better.
PAIRS = {
    # Up the organ's axis of symmetry from the front, and past its side.
    "CapsuleAngle": (((-6, -60, 3), (-6, 2, 3)), ((24, -60, 3), (24, 2, 3))),
    # The vein passes through (20, 20, 20).
    "ObstacleDistance": (((-60, -40, -60), (-9, 4, 8)), ((20, -60, 20), (20, 20, 20))),
    # Patients lie along z.
    "OutOfPlane": (((-60, -30, 8), (-9, 4, 8)), ((-60, -30, 50), (-9, 4, 8))),
    "PathLength": (((-30, -30, 8), (-9, 4, 8)), ((-60, -60, 8), (-9, 4, 8))),
}


@every_objective
@pytest.mark.parametrize("moved", [False, True])
def test_the_better_path_costs_less(name, moved, table):
    queries = made_queries(moved)
    paths = pair(table, *PAIRS[name])
    paths = screened(carried_along(paths) if moved else paths, queries)
    better, worse = made(name, queries).evaluate(MeasuredPaths(paths, queries)).cost
    assert better < worse - 0.02


@every_objective
def test_a_moved_patient_gives_the_same_costs(name, queries, table):
    here = made(name, queries).evaluate(MeasuredPaths(table, queries))
    there_queries = made_queries(moved=True)
    there_table = screened(carried_along(made_table()), there_queries)
    there = made(name, there_queries).evaluate(MeasuredPaths(there_table, there_queries))
    # Angles near 0 and 90 degrees are known to the square root of the rounding error.
    np.testing.assert_allclose(there.cost, here.cost, rtol=0, atol=1e-6)
    np.testing.assert_allclose(there.values, here.values, rtol=0, atol=1e-4)
    assert there.name == here.name


def test_names_are_unique_and_stable(queries):
    objectives = [made(name, queries) for name in NAMES] + [CapsuleAngle(queries.anatomy.target, 1.0)]
    names = [objective.name for objective in objectives]
    assert len(set(names)) == len(names) and all(name.strip() for name in names)
    for name in NAMES:
        assert made(name, queries).name == made(name, queries, 3.0).name == made(name, made_queries(True)).name
