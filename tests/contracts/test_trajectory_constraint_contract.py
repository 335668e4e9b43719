"""What every constraint promises."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from found_implementations import implementations
from made_cases import ball, joined
from made_path_tables import MOTION, carried_along, made_queries, made_table

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Role
from needleplan.trajectory.constraints.approach_side import ApproachSide, Side
from needleplan.trajectory.constraints.capsule_angle_limit import CapsuleAngleLimit
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.direct_puncture import DirectPuncture, target_depth_mm
from needleplan.trajectory.constraints.entry_region import EntryRegion
from needleplan.trajectory.constraints.entry_spacing import EntrySpacing
from needleplan.trajectory.constraints.gantry_bore import GantryBore
from needleplan.trajectory.constraints.guide_room import GuideRoom
from needleplan.trajectory.constraints.host_entries import HostEntries
from needleplan.trajectory.constraints.needle_distance import NeedleDistance
from needleplan.trajectory.constraints.organ_path import OrganPath
from needleplan.trajectory.constraints.out_of_plane_limit import OutOfPlaneLimit
from needleplan.trajectory.constraints.placed_needle import PlacedNeedle
from needleplan.trajectory.constraints.robot_reach import RobotReach
from needleplan.trajectory.constraints.single_skin_crossing import SingleSkinCrossing
from needleplan.trajectory.constraints.skin_angle import SkinAngle
from needleplan.trajectory.constraints.softened import Softened
from needleplan.trajectory.constraints.table_side import TableSide
from needleplan.trajectory.constraints.usable_length import UsableLength
from needleplan.trajectory.contract import Neighbourhood, Reachability, TrajectoryConstraint
from needleplan.trajectory.measured import CLEARANCE_CAP_MM, HANDLE_MM, MeasuredPaths
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


def placed_needles(queries):
    """Two needles in the body, carried along where it is."""
    points = np.array([[-70, -40, 30], [-9, 5, 12], [60, -50, 60], [10, 10, 5]], dtype=float)
    if queries is made_queries(moved=True):
        points = points @ MOTION[:3, :3].T + MOTION[:3, 3]
    return (PlacedNeedle(points[0], points[1], 0.9), PlacedNeedle(points[2], points[3], 1.2, 140.0))


def scattered(queries):
    """One structure of several parts, which holds the target in one of them."""
    mesh = joined(*(queries.anatomy.surface(name).mesh for name in ("rib", "vein", "tumour")))
    return StructureSurface("bones", Role.BONE, mesh, None, np.zeros(len(mesh.faces), dtype=bool), 0.0)


def ladder(name, queries):
    """(constraint, change of the table) for a class from the loosest limit to the strictest."""
    surface = queries.anatomy.surface
    constraints = {
        "ApproachSide": lambda: [ApproachSide(Side.LEFT, limit) for limit in (180.0, 90.0, 60.0, 20.0)],
        "CapsuleAngleLimit": lambda: [
            CapsuleAngleLimit(surface("liver"), limit) for limit in (89.0, 60.0, 30.0, 5.0)
        ],
        "Clearance": lambda: [Clearance(surface("vein"), limit) for limit in (0.0, 1.5, 8.0, 30.0)],
        "DirectPuncture": lambda: [
            DirectPuncture(surface("liver"), limit, target_depth_mm(queries, surface("liver"), 60.0), 50.0)
            for limit in (0.0, 8.0, 20.0, 60.0)
        ],
        "EntryRegion": lambda: [EntryRegion(queries.anatomy, limit) for limit in (50.0, 20.0, 5.0, 0.01)],
        "EntrySpacing": lambda: [
            EntrySpacing(placed_needles(queries), limit) for limit in (0.0, 20.0, 60.0, 150.0)
        ],
        "GantryBore": lambda: [
            GantryBore.about(queries, 300.0).with_limit(limit) for limit in (-300.0, -20.0, 0.0, 40.0)
        ],
        "GuideRoom": lambda: [GuideRoom(8.0, 50.0, 20.0, limit) for limit in (0.0, 4.0, 8.0, 40.0)],
        "HostEntries": lambda: [HostEntries(scattered(queries), limit) for limit in (3, 2, 1)],
        "NeedleDistance": lambda: [
            NeedleDistance(placed_needles(queries), limit) for limit in (0.0, 5.0, 20.0, 50.0)
        ],
        "OrganPath": lambda: [OrganPath(surface("liver"), limit) for limit in (0.0, 8.0, 20.0, 60.0)],
        "OutOfPlaneLimit": lambda: [OutOfPlaneLimit(limit) for limit in (90.0, 45.0, 20.0, 2.0)],
        "RobotReach": lambda: [RobotReach(ReachOnOneSide(queries))],
        "SingleSkinCrossing": lambda: [SingleSkinCrossing()],
        "SkinAngle": lambda: [SkinAngle(limit) for limit in (89.0, 65.0, 30.0, 5.0)],
        "Softened": lambda: [
            Softened(CapsuleAngleLimit(surface("vein"), limit)) for limit in (89.0, 60.0, 30.0, 5.0)
        ],
        "TableSide": lambda: [TableSide(limit) for limit in (180.0, 90.0, 60.0, 20.0)],
    }
    if name == "UsableLength":
        return [(UsableLength(), with_length(limit)) for limit in (250.0, 110.0, 90.0, 40.0)]
    return [(constraint, as_given) for constraint in constraints[name]()]


NAMES = (
    "ApproachSide", "CapsuleAngleLimit", "Clearance", "DirectPuncture", "EntryRegion", "EntrySpacing", "GantryBore",
    "GuideRoom", "HostEntries", "NeedleDistance", "OrganPath", "OutOfPlaneLimit", "RobotReach",
    "SingleSkinCrossing", "SkinAngle", "Softened", "TableSide", "UsableLength",
)  # fmt: skip
#: Those that know what a path proves about its neighbours.
WITH_BOUND = (
    "ApproachSide", "Clearance", "EntryRegion", "EntrySpacing", "GantryBore", "GuideRoom", "NeedleDistance",
    "OutOfPlaneLimit", "SkinAngle", "TableSide", "UsableLength",
)  # fmt: skip
WHOLE_NUMBERS = ("HostEntries", "RobotReach", "SingleSkinCrossing")
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
        if name in WHOLE_NUMBERS:
            sure[:] = True
        np.testing.assert_array_equal(there.passed[sure], here.passed[sure])
        assert there.name == here.name and there.limit == here.limit


@every_constraint
def test_another_limit_measures_the_same_and_decides_by_itself(name, queries, table):
    rungs = ladder(name, queries)
    paths = MeasuredPaths(rungs[0][1](table), queries)
    limits = [constraint.evaluate(MeasuredPaths(change(table), queries)).limit for constraint, change in rungs]
    first = rungs[0][0]
    here = first.evaluate(paths)
    for limit in limits:
        other = first.with_limit(limit)
        if name in ("RobotReach", "SingleSkinCrossing"):
            assert other is None
            continue
        assert type(other) is type(first) and other.name == first.name
        there = other.evaluate(paths)
        # Clearances are exact up to a cap that grows with the demand.
        most = CLEARANCE_CAP_MM if name == "Clearance" else np.inf
        np.testing.assert_array_equal(np.minimum(there.values, most), np.minimum(here.values, most))
        assert there.limit == limit and (there.hard, there.unit) == (here.hard, here.unit)
        assert there.at_least == here.at_least
    for impossible in (float("nan"), float("inf"), -1e6):
        assert first.with_limit(impossible) is None


@every_constraint
def test_places_lie_on_the_needle_and_do_not_depend_on_other_rows(name, queries, table):
    rows = np.array([5, 17, 300, 301, 302, 303, 350, 399])
    for constraint, change in ladder(name, queries):
        changed = change(table)
        place = constraint.located_mm(MeasuredPaths(changed, queries))
        if place is None:
            continue
        assert place.shape == (len(table),)
        known = np.isfinite(place)
        reach = changed.applicator.usable_length_mm + HANDLE_MM
        assert (place[known] <= changed.length_mm[known] + 1e-9).all() and (place[known] >= -reach - 1e-9).all()
        part = constraint.located_mm(MeasuredPaths(changed.subset(rows), queries))
        np.testing.assert_allclose(part, place[rows], rtol=0, atol=1e-3)
        assert constraint.located_mm(MeasuredPaths(changed.subset(rows[:0]), queries)).shape == (0,)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def failing_paths(constraint, table, queries):
    """The rows of a table that fail a constraint, as paths with their column."""
    whole = constraint.evaluate(MeasuredPaths(table, queries))
    # A path as short as a needle is thick has no direction worth turning.
    rows = np.flatnonzero(~whole.passed & (table.length_mm > 1.0))
    paths = MeasuredPaths(table.subset(rows), queries)
    return paths, constraint.evaluate(paths)


def around_paths(table, entry_mm, tip_mm, normal_deg):
    """The neighbourhood of paths whose ends move by so much."""
    sway = entry_mm + tip_mm
    turn = np.where(sway < table.length_mm, np.degrees(np.arcsin(np.minimum(sway / table.length_mm, 1.0))), 180.0)
    return Neighbourhood(entry_mm, tip_mm, turn, normal_deg)


def neighbours(rng, table, around):
    """Paths within a neighbourhood: at its rim the same way at both ends, opposite ways, any ways, and within."""
    n = len(table)
    kind = rng.integers(0, 4, n)
    shift_e, shift_t = unit(rng.normal(size=(n, 3))), unit(rng.normal(size=(n, 3)))
    across = unit(np.cross(table.direction, shift_e))
    shift_e = np.where((kind < 2)[:, None], across, shift_e)
    shift_t = np.where((kind == 0)[:, None], across, np.where((kind == 1)[:, None], -across, shift_t))
    size = np.where(kind == 3, rng.uniform(0, 1, n), 1.0 - 1e-9)
    entry = table.entry_mm + (size * around.entry_mm)[:, None] * shift_e
    tip = table.tip_mm + (size * around.tip_mm)[:, None] * shift_t
    lean = unit(np.cross(table.entry_normal, rng.normal(size=(n, 3))))
    angle = np.radians(around.normal_deg * size)[:, None]
    normal = np.cos(angle) * table.entry_normal + np.sin(angle) * lean
    far = np.linalg.norm(tip - entry, axis=1) > 1e-3
    entry, tip, normal = entry[far], tip[far], normal[far]
    moved = TrajectoryTable(table.applicator, entry, normal, tip, tip)
    turned = np.degrees(np.arccos(np.clip((moved.direction * table.direction[far]).sum(axis=1), -1.0, 1.0)))
    assert (turned <= around.turn_deg[far] + 1e-4).all()
    return moved


def bounded(name, queries):
    """Rungs of a class, and for clearances those where the shaft outside counts and where paths lie deep inside."""
    rungs = ladder(name, queries)
    if name == "Clearance":
        for role, mesh in (
            (Role.NO_GO, ball((180.0, -90.0, 60.0), 60.0, 2)),
            (Role.LUNG, ball((20.0, -15.0, 8.0), 45.0, 2)),
            (Role.BONE, joined(ball((-40.0, 2.0, 3.0), 9.0, 1), ball((30.0, 12.0, -3.0), 14.0, 1))),
        ):
            surface = StructureSurface("other", role, mesh, None, np.zeros(len(mesh.faces), dtype=bool), 0.0)
            rungs += [(Clearance(surface, limit), as_given) for limit in (0.0, 6.0)]
    return rungs


def taken(around, rows):
    return Neighbourhood(*(getattr(around, field.name)[rows] for field in dataclasses.fields(around)))


def widest_excluded(rng, constraint, paths, column):
    """Failing rows and about the widest neighbourhoods, of random proportions, that a constraint excludes."""
    n = len(paths)
    share = rng.uniform(0, 1, (3, n)) * rng.integers(0, 2, (3, n)) * [[1.0], [1.0], [3.0]]

    def excludes(scale):
        around = around_paths(paths.table, *(share * scale))
        excluded = constraint.excludes(paths, column, around)
        assert excluded.shape == (n,) and excluded.dtype == np.bool_
        return excluded, around

    low, high = np.zeros(n), np.full(n, 60.0)
    for _ in range(10):
        middle = 0.5 * (low + high)
        excluded, _ = excludes(middle)
        low, high = np.where(excluded, middle, low), np.where(excluded, high, middle)
    excluded, around = excludes(low)
    rows = np.flatnonzero(excluded)
    return rows, taken(around, rows)


@every_constraint
def test_what_a_path_excludes_fails_everywhere_in_its_neighbourhood(name, queries, table):
    rng = np.random.default_rng(31)
    excluded_rows = 0
    for constraint, change in bounded(name, queries):
        paths, column = failing_paths(constraint, change(table), queries)
        rows, around = widest_excluded(rng, constraint, paths, column)
        excluded_rows += len(rows)
        if not len(rows):
            continue
        here = paths.table.subset(rows)
        for _ in range(12):
            moved = neighbours(rng, here, around)
            assert not constraint.evaluate(MeasuredPaths(moved, queries)).passed.any()
    # Without a bound nothing is excluded; with one the law above must have been put to the test.
    assert excluded_rows > 50 if name in WITH_BOUND else excluded_rows == 0


@every_constraint
def test_a_path_that_stands_for_itself_excludes_itself_and_for_more_ever_less(name, queries, table):
    for constraint, change in bounded(name, queries):
        paths, column = failing_paths(constraint, change(table), queries)
        counts = []
        for scale in (0.0, 0.5, 3.0, 12.0, 4000.0):
            size = np.full(len(paths), scale)
            counts.append(
                int(constraint.excludes(paths, column, around_paths(paths.table, size, size, size)).sum())
            )
        assert counts == sorted(counts, reverse=True)
        if name in WITH_BOUND:
            assert counts[0] == len(paths) and (not len(paths) or counts[-1] < counts[0])
        else:
            assert not any(counts)
    none = MeasuredPaths(table.subset(np.arange(0)), queries)
    nothing = constraint.excludes(none, constraint.evaluate(none), around_paths(none.table, *np.zeros((3, 0))))
    assert nothing.shape == (0,)


def test_names_are_unique_and_stable(queries):
    anatomy = queries.anatomy
    constraints = [ladder(name, queries)[0][0] for name in NAMES]
    constraints += [Clearance(anatomy.surface("rib"), 1.0), OrganPath(anatomy.target, 1.0)]
    names = [constraint.name for constraint in constraints]
    assert len(set(names)) == len(names) and all(name.strip() for name in names)
    assert names == [constraint.name for constraint in constraints]
    for name in NAMES:
        assert len({constraint.name for constraint, _ in ladder(name, queries)}) == 1
