"""What every hard constraint promises."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from found_implementations import implementations
from made_path_tables import carried_along, made_queries, made_table

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.organ_path import OrganPath
from needleplan.trajectory.constraints.robot_reach import RobotReach
from needleplan.trajectory.constraints.single_skin_crossing import SingleSkinCrossing
from needleplan.trajectory.constraints.skin_angle import SkinAngle
from needleplan.trajectory.constraints.table_side import TableSide
from needleplan.trajectory.constraints.usable_length import UsableLength
from needleplan.trajectory.contract import Reachability, TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable


class ReachOnOneSide(Reachability):
    """An arm beside the patient that reaches entries on its side."""

    def __init__(self, queries: AnatomyQueries) -> None:
        self.queries = queries

    def reachable(self, entry_mm, tip_mm):
        middle = self.queries.anatomy.target.mesh.vertices_mm.mean(axis=0)
        return (entry_mm - middle) @ self.queries.anatomy.axes[:, 0] > 5.0


def as_given(table):
    return table


def with_length(usable_length_mm):
    def change(table):
        return dataclasses.replace(
            table, applicator=dataclasses.replace(table.applicator, usable_length_mm=usable_length_mm)
        )

    return change


def ladder(name, queries):
    """(constraint, change of the table) for a class from the loosest limit to the strictest."""
    surface = queries.anatomy.surface
    return {
        "Clearance": [(Clearance(surface("vein"), limit), as_given) for limit in (0.0, 1.5, 8.0, 30.0)],
        "OrganPath": [(OrganPath(surface("liver"), limit), as_given) for limit in (0.0, 8.0, 20.0, 60.0)],
        "RobotReach": [(RobotReach(ReachOnOneSide(queries)), as_given)],
        "SingleSkinCrossing": [(SingleSkinCrossing(), as_given)],
        "SkinAngle": [(SkinAngle(limit), as_given) for limit in (89.0, 65.0, 30.0, 5.0)],
        "TableSide": [(TableSide(limit), as_given) for limit in (180.0, 90.0, 60.0, 20.0)],
        "UsableLength": [(UsableLength(), with_length(limit)) for limit in (250.0, 110.0, 90.0, 40.0)],
    }[name]


NAMES = ("Clearance", "OrganPath", "RobotReach", "SingleSkinCrossing", "SkinAngle", "TableSide", "UsableLength")
every_constraint = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def queries() -> AnatomyQueries:
    return made_queries()


@pytest.fixture(scope="module")
def table() -> TrajectoryTable:
    return made_table()


def test_every_constraint_of_the_packages_is_held_to_its_contract(queries):
    classes = {type(constraint) for name in NAMES for constraint, _ in ladder(name, queries)}
    found = implementations(TrajectoryConstraint)
    assert classes == found and {c.__name__ for c in found} == set(NAMES)


@every_constraint
def test_one_finite_value_and_one_decision_a_row(name, queries, table):
    seen = set()
    for constraint, change in ladder(name, queries):
        column = constraint.evaluate(MeasuredPaths(change(table), queries))
        assert column.values.shape == column.passed.shape == (len(table),)
        assert np.isfinite(column.values).all() and np.isfinite(column.limit)
        assert column.name == constraint.name and column.sentence.strip() and "\n" not in column.sentence
        seen |= set(column.passed.tolist())
    # Without rejected and accepted rows the laws below would say nothing.
    assert seen == {True, False}


@every_constraint
def test_the_limit_alone_decides(name, queries, table):
    senses = []
    for constraint, change in ladder(name, queries):
        column = constraint.evaluate(MeasuredPaths(change(table), queries))
        at_least = np.array_equal(column.passed, column.values >= column.limit)
        at_most = np.array_equal(column.passed, column.values <= column.limit)
        senses.append((at_least, at_most))
    assert all(sense[0] for sense in senses) or all(sense[1] for sense in senses)


@every_constraint
def test_a_looser_limit_never_rejects_what_a_stricter_one_accepts(name, queries, table):
    columns = [
        constraint.evaluate(MeasuredPaths(change(table), queries)) for constraint, change in ladder(name, queries)
    ]
    for loose, strict in pairwise(columns):
        assert not (strict.passed & ~loose.passed).any()
    if len(columns) > 1:
        assert columns[0].passed.sum() > columns[-1].passed.sum()


@every_constraint
def test_other_rows_change_nothing(name, queries, table):
    rng = np.random.default_rng(2)
    for constraint, change in ladder(name, queries):
        whole = constraint.evaluate(MeasuredPaths(change(table), queries))
        order = rng.permutation(len(table))
        rows = [order, order[:37], np.arange(1), np.array([5, 5, 5, len(table) - 100, 0]), np.arange(0)]
        rows += [np.array([row]) for row in range(len(table) - 104, len(table) - 92)]
        for chosen in rows:
            part = constraint.evaluate(MeasuredPaths(change(table.subset(chosen)), queries))
            np.testing.assert_array_equal(part.passed, whole.passed[chosen])
            np.testing.assert_allclose(part.values, whole.values[chosen], rtol=0, atol=1e-9)


@every_constraint
def test_columns_that_are_there_already_change_nothing(name, queries, table):
    constraint, change = ladder(name, queries)[-1]
    first = constraint.evaluate(MeasuredPaths(change(table), queries))
    others = [ladder(other, queries)[0][0] for other in NAMES if other != name]
    screened = screen(change(table), queries, others)
    again = constraint.evaluate(MeasuredPaths(screened, queries))
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.passed, again.passed)
    assert len(screened.constraints) == len(others)


@every_constraint
def test_a_moved_patient_gives_the_same_column(name, queries, table):
    moved_queries, moved_table = made_queries(moved=True), carried_along(table)
    pairs = zip(ladder(name, queries), ladder(name, moved_queries), strict=True)
    for (constraint, change), (moved_constraint, _) in pairs:
        here = constraint.evaluate(MeasuredPaths(change(table), queries))
        there = moved_constraint.evaluate(MeasuredPaths(change(moved_table), moved_queries))
        # An angle near 0 or 180 degrees is known to the square root of the rounding error.
        np.testing.assert_allclose(there.values, here.values, rtol=0, atol=1e-5)
        sure = np.abs(here.values - here.limit) > 1e-5
        if name in ("RobotReach", "SingleSkinCrossing"):
            sure[:] = True  # whole numbers
        np.testing.assert_array_equal(there.passed[sure], here.passed[sure])
        assert there.name == here.name and there.limit == here.limit


def test_names_are_unique_and_stable(queries):
    anatomy = queries.anatomy
    constraints = [ladder(name, queries)[0][0] for name in NAMES]
    constraints += [Clearance(anatomy.surface("rib"), 1.0), OrganPath(anatomy.target, 1.0)]
    names = [constraint.name for constraint in constraints]
    assert len(set(names)) == len(names) and all(name.strip() for name in names)
    assert names == [constraint.name for constraint in constraints]
    for name in NAMES:
        assert len({constraint.name for constraint, _ in ladder(name, queries)}) == 1
