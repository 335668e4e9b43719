"""Laws of screening and ranking as a whole: what a clearance is, and what must not change any decision."""

import dataclasses

import numba
import numpy as np
import pytest
from brute_force import distances_mm
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import ball, made_case, queries_of
from made_meshes import mirrored, refined
from made_path_tables import carried_along, made_body, made_queries, made_table

from needleplan.case.model import Case, Role, Structure
from needleplan.trajectory.arcs import arc_points_mm
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.measured import CLEARANCE_CAP_MM, HANDLE_MM, MeasuredPaths
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.screening import PathLimits, default_constraints, screen
from needleplan.trajectory.table import TrajectoryTable

LIMITS = PathLimits(vessel_mm=3.0, bone_mm=1.5, critical_mm=6.0)
#: A value this close to its limit may fall on either side after rounding.
TIE = 1e-6


def fuller_body(*more: Structure) -> Case:
    """The made body with two obstacles more, one bent and open to the side, one a forbidden region."""
    bowel = ball((30, 28, 33), 1.0, 3, (22.0, 13.0, 17.0))
    v = bowel.vertices_mm
    bent = type(bowel)(v + np.stack([0 * v[:, 0], 0.01 * (v[:, 0] - 30) ** 2, 0.05 * v[:, 1]], axis=1), bowel.faces)
    return made_case(
        made_body().target.geometry,
        made_body().with_role(Role.SKIN)[0].geometry,
        *made_body().structures[2:],
        Structure("colon", Role.BOWEL, bent, clearance_mm=4.0),
        Structure("scar", Role.NO_GO, ball((-45, -55, 14), 1.0, 2, (14.0, 22.0, 17.0))),
        *more,
    )


def columns_of(queries, table: TrajectoryTable, limits: PathLimits = LIMITS) -> TrajectoryTable:
    """The table screened and ranked with all defaults."""
    screened = screen(table, queries, default_constraints(queries, limits))
    return rank(screened, queries, default_objectives(queries))


@pytest.fixture(scope="module")
def queries():
    return queries_of(fuller_body())


@pytest.fixture(scope="module")
def answer(queries):
    return columns_of(queries, made_table())


def assert_same_answers(found: TrajectoryTable, expected: TrajectoryTable, tolerance: float = 1e-8):
    """Equal columns and decisions, apart from rounding; columns that one of them lacks are not asked."""
    differs = np.zeros(len(expected), dtype=bool)
    for column in expected.constraints:
        other = found.constraint(column.name)
        np.testing.assert_allclose(other.values, column.values, atol=tolerance, err_msg=column.name)
        here = other.passed != column.passed
        assert (np.abs(column.values - column.limit)[here] < TIE).all(), column.name
        differs |= here
    for column in expected.objectives:
        other = next(item for item in found.objectives if item.name == column.name)
        np.testing.assert_allclose(other.values, column.values, atol=tolerance, err_msg=column.name)
    assert differs.mean() < 0.05
    np.testing.assert_array_equal(found.feasible[~differs], expected.feasible[~differs])
    rows = expected.feasible & found.feasible
    np.testing.assert_allclose(found.cost[rows], expected.cost[rows], atol=tolerance)


def true_clearance(queries, surface, table: TrajectoryTable, parts: int = 1):
    """Needle surface to obstacle by brute force, arcs as ``parts`` chords."""
    curvature = table.curvature_per_mm
    if curvature is None:
        points = table.entry_mm[:, None] + np.array([0.0, 1.0])[:, None] * (table.tip_mm - table.entry_mm)[:, None]
    else:
        points = arc_points_mm(table.entry_mm, table.tip_mm, curvature, np.linspace(0, 1, parts + 1))
    axis = distances_mm(surface.mesh, points[:, :-1].reshape(-1, 3), points[:, 1:].reshape(-1, 3), 40.0)
    axis = axis.reshape(len(table), -1).min(axis=1)
    if surface.role is Role.NO_GO:
        back = table.entry_mm - (table.applicator.usable_length_mm + HANDLE_MM) * table.entry_direction
        axis = np.minimum(axis, distances_mm(surface.mesh, table.entry_mm, back, 40.0))
    # Winding number of the closed surface about the entry, by solid angles (Van Oosterom and Strackee 1983).
    axis[np.abs(winding(surface.mesh, table.entry_mm)) > 0.5] = 0.0
    return axis - table.applicator.radius_mm


def winding(mesh, points):
    """(n,) how often a closed surface goes around each point."""
    total = np.zeros(len(points))
    for k, point in enumerate(points):
        a, b, c = np.moveaxis(mesh.triangles_mm - point, 1, 0)
        la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
        above = np.einsum("ij,ij->i", a, np.cross(b, c))
        ab, bc, ca = (np.einsum("ij,ij->i", x, y) for x, y in ((a, b), (b, c), (c, a)))
        total[k] = np.arctan2(above, la * lb * lc + ab * lc + bc * la + ca * lb).sum() / (2.0 * np.pi)
    return total


def test_clearances_and_decisions_are_those_of_brute_force(queries, answer):
    obstacles = queries.anatomy.obstacles
    assert len(obstacles) == 4
    for surface in obstacles:
        column = answer.constraint(f"clearance to {surface.name}")
        truth = true_clearance(queries, surface, made_table())
        np.testing.assert_allclose(column.values, np.minimum(truth, column.values.max()), atol=1e-9)
        assert column.values.max() >= CLEARANCE_CAP_MM
        # Never over-stated.
        assert (column.values <= truth + 1e-9).all()
        np.testing.assert_array_equal(column.passed, truth >= column.limit)
        assert 0.02 < column.passed.mean() < 0.999


def test_arcs_keep_their_distance_by_brute_force_too(queries):
    straight = made_table().subset(np.arange(0, 300, 5))
    rng = np.random.default_rng(5)
    chord = straight.tip_mm - straight.entry_mm
    across = np.cross(chord, rng.normal(size=chord.shape))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    table = dataclasses.replace(straight, curvature_per_mm=across * rng.uniform(0.0005, 0.006, (len(chord), 1)))
    paths = MeasuredPaths(table, queries)
    for surface in queries.anatomy.obstacles:
        found = paths.clearance_mm(surface)
        truth = np.minimum(true_clearance(queries, surface, table, 150), CLEARANCE_CAP_MM)
        # 150 chords of such an arc lie within a micrometre of it.
        assert (found <= truth + 1e-3).all()
        assert (found >= np.minimum(truth, CLEARANCE_CAP_MM) - 0.1 - 1e-3).all()
        # A touching needle has no more than its own radius of overlap.
        assert (found >= -table.applicator.radius_mm - 1e-9).all()


def test_a_moved_case_has_the_same_answers():
    assert_same_answers(
        columns_of(made_queries(moved=True), carried_along(made_table())), columns_of(made_queries(), made_table())
    )


def test_a_mirrored_case_has_the_same_answers(queries, answer):
    case = queries.anatomy.case
    flip = np.array([-1.0, 1.0, 1.0])
    other = dataclasses.replace(
        case,
        structures=tuple(dataclasses.replace(s, geometry=mirrored(s.geometry)) for s in case.structures),
        up=case.up * flip,
        cranial=case.cranial * flip,
    )
    table = made_table()
    mirror = TrajectoryTable(
        table.applicator,
        table.entry_mm * flip,
        table.entry_normal * flip,
        table.aim_mm * flip,
        table.tip_mm * flip,
    )
    assert_same_answers(columns_of(queries_of(other), mirror), answer)


def test_finer_meshes_of_the_same_surfaces_have_the_same_answers(queries, answer):
    case = queries.anatomy.case
    finer = dataclasses.replace(
        case, structures=tuple(dataclasses.replace(s, geometry=refined(s.geometry)) for s in case.structures)
    )
    # Path and capsule angle where a path runs through an edge may name either face; none does here.
    assert_same_answers(columns_of(queries_of(finer), made_table()), answer, 1e-7)


def test_irrelevant_structures_change_no_other_column(queries, answer):
    far = Structure("stone", Role.CRITICAL, ball((1500.0, -700, 300), 20))
    aside = Structure("implant", Role.ALLOWED, ball((0, 0, 0), 5))
    more = columns_of(queries_of(fuller_body(far, aside)), made_table())
    assert_same_answers(more, answer)
    np.testing.assert_array_equal(more.feasible, answer.feasible)
    assert more.constraint("clearance to stone").passed.all()


def test_the_order_of_structures_changes_nothing(queries, answer):
    case = queries.anatomy.case
    turned = dataclasses.replace(case, structures=case.structures[::-1])
    other = columns_of(queries_of(turned), made_table())
    for column in answer.constraints:
        np.testing.assert_array_equal(other.constraint(column.name).values, column.values)
    np.testing.assert_array_equal(other.order(), answer.order())
    np.testing.assert_array_equal(other.front, answer.front)


def test_the_order_and_number_of_candidates_change_no_row(queries, answer):
    rows = np.random.default_rng(2).permutation(len(made_table()))
    shuffled = columns_of(queries, made_table().subset(rows))
    for column in answer.constraints:
        np.testing.assert_array_equal(shuffled.constraint(column.name).values, column.values[rows])
    for first in (0, 150, 301):
        few = np.arange(first, first + 3)
        alone = columns_of(queries, made_table().subset(few))
        for column in answer.constraints:
            np.testing.assert_array_equal(alone.constraint(column.name).values, column.values[few])


def test_one_thread_and_two_give_the_same_bits(answer):
    used = numba.get_num_threads()
    try:
        numba.set_num_threads(1 if used > 1 else numba.config.NUMBA_NUM_THREADS)
        alone = columns_of(queries_of(fuller_body()), made_table())
    finally:
        numba.set_num_threads(used)
    for mine, other in zip(
        (*alone.constraints, *alone.objectives), (*answer.constraints, *answer.objectives), strict=True
    ):
        np.testing.assert_array_equal(mine.values, other.values, err_msg=mine.name)
    np.testing.assert_array_equal(alone.cost, answer.cost)
    np.testing.assert_array_equal(alone.front, answer.front)


SIZES = st.floats(0.0, 12.0)


@settings(max_examples=10, deadline=None)
@given(first=st.tuples(SIZES, SIZES, SIZES), more=st.tuples(SIZES, SIZES, SIZES))
def test_larger_margins_never_open_a_path(queries, first, more):
    paths = MeasuredPaths(made_table(), queries)
    loose = PathLimits(**dict(zip(("vessel_mm", "bone_mm", "no_go_mm"), first, strict=True)))
    strict = PathLimits(
        **{name: a + b for name, a, b in zip(("vessel_mm", "bone_mm", "no_go_mm"), first, more, strict=True)}
    )
    few, many = (
        screen(made_table(), queries, default_constraints(queries, limits), measured=paths)
        for limits in (strict, loose)
    )
    assert not (few.feasible & ~many.feasible).any()


def test_a_margin_that_forbids_all_is_a_count_and_not_an_error(queries):
    surfaces = queries.anatomy.obstacles
    table = screen(made_table(), queries, [Clearance(surface, 50.0) for surface in surfaces])
    counts = table.rejected_by()
    assert all(counts[f"clearance to {surface.name}"] > 20 for surface in surfaces)
    assert not table.feasible.all() and len(table) == len(made_table())
