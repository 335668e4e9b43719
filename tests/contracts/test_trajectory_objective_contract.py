"""What every objective promises."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from found_implementations import implementations
from made_cases import ball, queries_of
from made_path_tables import MOTION, carried_along, made_body, made_table

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Role, Structure
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.organ_path import OrganPath
from needleplan.trajectory.contract import Reachability, TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.objectives.bleeding_risk import BleedingRisk
from needleplan.trajectory.objectives.capsule_angle import CapsuleAngle
from needleplan.trajectory.objectives.healthy_path import HealthyPath
from needleplan.trajectory.objectives.obstacle_distance import ObstacleDistance
from needleplan.trajectory.objectives.out_of_plane import OutOfPlane
from needleplan.trajectory.objectives.path_length import PathLength
from needleplan.trajectory.objectives.pneumothorax_risk import PneumothoraxRisk
from needleplan.trajectory.objectives.robot_manipulability import RobotManipulability
from needleplan.trajectory.objectives.skin_obliquity import SkinObliquity
from needleplan.trajectory.objectives.soft_limits import SoftLimits
from needleplan.trajectory.objectives.tumour_axis import TumourAxis
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable


class FreerOnOneSide(Reachability):
    """An arm beside the patient that moves the more freely, the nearer to it the entry lies."""

    def __init__(self, queries: AnatomyQueries) -> None:
        self.queries = queries

    def reachable(self, entry_mm, tip_mm):
        return np.ones(len(entry_mm), dtype=bool)

    def manipulability(self, entry_mm, tip_mm):
        middle = self.queries.anatomy.target.mesh.vertices_mm.mean(axis=0)
        return 1 / (1 + np.exp(-(entry_mm - middle) @ self.queries.anatomy.axes[:, 0] / 30.0))


MAKERS = {
    "BleedingRisk": lambda q, weight: BleedingRisk(q.anatomy.with_role(Role.VESSEL), weight),
    "CapsuleAngle": lambda q, weight: CapsuleAngle(q.anatomy.surface("liver"), weight),
    "HealthyPath": lambda q, weight: HealthyPath(q.anatomy.surface("liver"), weight),
    "ObstacleDistance": lambda q, weight: ObstacleDistance(weight),
    "OutOfPlane": lambda q, weight: OutOfPlane(weight),
    "PathLength": lambda q, weight: PathLength(weight),
    "PneumothoraxRisk": lambda q, weight: PneumothoraxRisk(q.anatomy.with_role(Role.LUNG), weight),
    "RobotManipulability": lambda q, weight: RobotManipulability(FreerOnOneSide(q), weight),
    "SkinObliquity": lambda q, weight: SkinObliquity(weight),
    "SoftLimits": lambda q, weight: SoftLimits(weight),
    "TumourAxis": lambda q, weight: TumourAxis(weight),
}
NAMES = tuple(MAKERS)
every_objective = pytest.mark.parametrize("name", NAMES)


def made(name, queries, weight=0.25):
    return MAKERS[name](queries, weight)


@cache
def made_queries(moved: bool = False) -> AnatomyQueries:
    """The made body with two lobes of a lung beside its target."""
    body = made_body()
    lobes = (
        Structure("upper lobe", Role.LUNG, ball((-45, -20, 45), 1.0, 3, (22.0, 18.0, 25.0))),
        Structure("lower lobe", Role.LUNG, ball((-60, -5, -30), 1.0, 3, (20.0, 18.0, 40.0))),
    )
    case = dataclasses.replace(body, structures=(*body.structures, *lobes))
    return queries_of(case.moved(MOTION) if moved else case)


def screened(table, queries):
    """A table with hard clearances, from which distances in hand are read, and a soft demand."""
    surface = queries.anatomy.surface
    table = screen(table, queries, [Clearance(surface("vein"), 2.0), Clearance(surface("rib"), 1.0)])
    path = OrganPath(surface("liver"), 10.0).evaluate(MeasuredPaths(table, queries))
    return dataclasses.replace(table, constraints=(*table.constraints, dataclasses.replace(path, hard=False)))


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
def test_cost_has_one_valley_over_the_value_and_does_not_ask_the_weight(name, queries, table):
    column = made(name, queries).evaluate(MeasuredPaths(table, queries))
    change = np.diff(column.cost[np.argsort(column.values, kind="stable")])
    rising = np.flatnonzero(change > 1e-12)
    assert not len(rising) or (change[rising[0] :] >= -1e-12).all()
    heavy = made(name, queries, weight=7.0).evaluate(MeasuredPaths(table, queries))
    np.testing.assert_array_equal(heavy.cost, column.cost)
    assert heavy.weight == 7.0


def pair(table, better, worse):
    """Two paths (entry, tip), the better one first."""
    entry, tip = (np.array([better[k], worse[k]], dtype=float) for k in range(2))
    return TrajectoryTable(table.applicator, entry, np.tile([0.0, -1.0, 0.0], (2, 1)), tip, tip)


#: For each objective two paths in the made body of which the first one is better.
PAIRS = {
    # The vein passes through (20, 20, 20).
    "BleedingRisk": (((-60, -40, -60), (-9, 4, 8)), ((20, -60, 20), (20, 20, 20))),
    # Up the organ's axis of symmetry from the front, and past its side.
    "CapsuleAngle": (((-6, -60, 3), (-6, 2, 3)), ((24, -60, 3), (24, 2, 3))),
    # Through the front of the organ, and from within it just before the target.
    "HealthyPath": (((-9, -60, 8), (-9, 4, 8)), ((-9, -6, 8), (-9, 4, 8))),
    "ObstacleDistance": (((-60, -40, -60), (-9, 4, 8)), ((20, -60, 20), (20, 20, 20))),
    # Patients lie along z.
    "OutOfPlane": (((-60, -30, 8), (-9, 4, 8)), ((-60, -30, 50), (-9, 4, 8))),
    "PathLength": (((-30, -30, 8), (-9, 4, 8)), ((-60, -60, 8), (-9, 4, 8))),
    # The second one passes through the middle of the upper lobe.
    "PneumothoraxRisk": (((-9, -60, 8), (-9, 4, 8)), ((-73.8, -39.2, 74.6), (-9, 4, 8))),
    # The arm stands on the patient's side of negative x.
    "RobotManipulability": (((-60, -30, 8), (-9, 4, 8)), ((60, -30, 8), (-9, 4, 8))),
    # The skin's normal is (0, -1, 0).
    "SkinObliquity": (((-9, -60, 8), (-9, 4, 8)), ((30, -60, 8), (-9, 4, 8))),
    "SoftLimits": (((-9, -60, 8), (-9, 4, 8)), ((-9, -6, 8), (-9, 4, 8))),
    # The target is longest along z.
    "TumourAxis": (((-9, 4, 100), (-9, 4, 8)), ((-90, 4, 8), (-9, 4, 8))),
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
