"""Capsule, host and direct puncture, and the places where clearances arise: closed forms and must-fail cases."""

import numpy as np
import pytest
from made_cases import ball, box, joined, rotation, tube
from made_straight_paths import APPLICATOR, RADIUS, bent, body, located, paths, points_along, random_paths, values

from needleplan.case.model import Role, Structure
from needleplan.errors import OptionError
from needleplan.trajectory.constraints.capsule_angle_limit import CapsuleAngleLimit
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.direct_puncture import DirectPuncture, target_depth_mm
from needleplan.trajectory.constraints.host_entries import HostEntries
from needleplan.trajectory.constraints.organ_path import LONGEST_PATH_MM, OrganPath
from needleplan.trajectory.constraints.single_skin_crossing import SingleSkinCrossing
from needleplan.trajectory.constraints.softened import Softened
from needleplan.trajectory.constraints.usable_length import UsableLength
from needleplan.trajectory.measured import HANDLE_MM, MeasuredPaths


def test_the_angle_to_a_flat_capsule_is_that_to_its_normal():
    frame = rotation(6)
    slab = box((-60, -30, -60), (60, 40, 60))
    organ = Structure("liver", Role.ORGAN, type(slab)(slab.vertices_mm @ frame.T, slab.faces))
    queries = body(organ, skin=ball((0, 0, 0), 150, 3))
    angles = np.array([0.0, 15.0, 40.0, 70.0])
    slope = np.radians(angles)
    inward = np.stack([np.sin(slope) * 0.6, np.cos(slope), np.sin(slope) * 0.8], axis=1)
    crossing = np.array([2.0, -30.0, 3.0])
    table = paths((crossing - 35 * inward) @ frame.T, (crossing + 20 * inward) @ frame.T)
    constraint = CapsuleAngleLimit(queries.anatomy.surface("liver"), 40.5)
    np.testing.assert_allclose(values(constraint, table, queries), angles, atol=1e-5)
    np.testing.assert_allclose(located(constraint, table, queries), 35, atol=1e-9)
    assert constraint.evaluate(MeasuredPaths(table, queries)).passed.tolist() == [True, True, True, False]
    outside = paths([[100, 100, 100]], [[110, 100, 100]])
    assert values(constraint, outside, queries)[0] == 0 and np.isnan(located(constraint, outside, queries)[0])


def subcapsular(depth, radius=8.0):
    """A target under the flat top (y = -40) of an organ, at a depth between both surfaces."""
    organ = Structure("liver", Role.ORGAN, box((-60, -40, -60), (60, 60, 60)))
    return body(organ, target=ball((0, -40 + depth + radius, 0), radius, 4), skin=ball((0, 0, 0), 150, 3))


def test_the_depth_of_a_target_is_the_distance_of_the_surfaces():
    for depth in (0.5, 4.0, 11.0):
        queries = subcapsular(depth)
        organ = queries.anatomy.surface("liver")
        assert target_depth_mm(queries, organ, 30.0) == pytest.approx(depth, abs=1e-9)
        assert target_depth_mm(queries, organ, 3.0) == pytest.approx(min(depth, 3.0), abs=1e-9)
    assert target_depth_mm(subcapsular(-3.0), subcapsular(-3.0).anatomy.surface("liver"), 30.0) == 0


def test_the_depth_is_exact_where_two_edges_are_nearest():
    # An edge of a turned box over the edge of another: no corner of either is near.
    turned = box((-20, -5, -5), (20, 5, 5))
    quarter = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]) @ _about_x(45)
    target = type(turned)(turned.vertices_mm @ quarter.T, turned.faces)
    ridge = type(turned)(turned.vertices_mm @ _about_x(45).T + [0, 30, 0], turned.faces)
    queries = body(Structure("ridge", Role.ORGAN, ridge), target=target)
    top = 5 * np.sqrt(2)
    assert target_depth_mm(queries, queries.anatomy.surface("ridge"), 50.0) == pytest.approx(30 - 2 * top)


def _about_x(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def test_a_subcapsular_target_is_not_punctured_through_its_own_capsule():
    queries = subcapsular(2.0)
    organ = queries.anatomy.surface("liver")
    middle = np.array([0, -30, 0])
    # Straight down through 2 mm of organ; from the side through 52 mm of it.
    table = paths([[0, -100, 0], [110, -30, 0]], middle)
    constraint = DirectPuncture(organ, 5.0, target_depth_mm(queries, organ, 10.0))
    column = constraint.evaluate(MeasuredPaths(table, queries))
    np.testing.assert_allclose(column.values, [2, 52], atol=0.05)
    assert column.passed.tolist() == [False, True]
    np.testing.assert_allclose(located(constraint, table, queries), [62, 102], atol=0.05)


def test_a_deep_target_may_be_reached_any_way():
    queries = subcapsular(12.0)
    organ = queries.anatomy.surface("liver")
    constraint = DirectPuncture(organ, 150.0, target_depth_mm(queries, organ, 20.0))
    column = constraint.evaluate(MeasuredPaths(random_paths(), queries))
    assert column.passed.all() and (column.values == LONGEST_PATH_MM).all()
    assert constraint.located_mm(MeasuredPaths(random_paths(), queries)) is None
    # The same depth is subcapsular where that is said to reach deeper.
    deeper = DirectPuncture(organ, 150.0, 12.0, 15.0)
    assert not deeper.evaluate(MeasuredPaths(random_paths(), queries)).passed.all()
    for options in ((-1, 5, 10), (300, 5, 10), (5, -1, 10), (5, 5, float("nan")), (float("nan"), 5, 10)):
        with pytest.raises(OptionError):
            DirectPuncture(organ, *options)


def test_a_bone_of_several_parts_is_passed_into_in_one_alone():
    rib, block = box((-40, -52, -5), (40, -47, 5)), box((-20, -15, -20), (20, 15, 20))
    queries = body(Structure("bones", Role.BONE, joined(rib, block)))
    host = queries.anatomy.surface("bones")
    table = paths(
        [[0, -78, 0], [0, -75, 30], [0, 0, 3], [0, -78, 30]], [[0, 0, 0], [0, 0, 0], [0, 1, 4], [0, -60, 30]]
    )
    column = HostEntries(host, 1).evaluate(MeasuredPaths(table, queries))
    assert column.values.tolist() == [2, 1, 1, 0]
    assert column.passed.tolist() == [False, True, True, True]
    where = located(HostEntries(host, 1), table, queries)
    assert where[0] == pytest.approx(78 - 15) and np.isnan(where[3])
    for most in (0, 21, float("nan")):
        with pytest.raises(OptionError):
            HostEntries(host, most)


def test_a_clearance_arises_where_the_path_is_nearest_or_first_crosses():
    obstacle = ball((12, -8, 20), 15, 4)
    queries = body(Structure("vessel", Role.VESSEL, obstacle))
    tree = queries.tree(queries.anatomy.surface("vessel"))
    constraint = Clearance(queries.anatomy.surface("vessel"), 30.0)
    for table in (random_paths(150, seed=1), bent(random_paths(60, seed=2), radius_mm=100)):
        found, where = values(constraint, table, queries), located(constraint, table, queries)
        points, along = points_along(table, 3000)
        inside = tree.contains(table.entry_mm)
        for row in range(len(table)):
            if not np.isfinite(where[row]):
                assert found[row] == 35.0
                continue
            if inside[row]:
                assert where[row] == 0
                continue
            at = np.argmin(np.abs(along[row] - where[row]))
            near = tree.segment_distance_mm(points[row, [at]], points[row, [at]])[0]
            assert near - RADIUS == pytest.approx(max(found[row], -RADIUS), abs=0.15)
            if found[row] <= -RADIUS + 1e-9 and table.curvature_per_mm is None:
                first = MeasuredPaths(table, queries).crossings(constraint.surface).parameter[row, 0]
                assert where[row] == pytest.approx(first * table.length_mm[row], abs=1e-3)
        assert np.isfinite(where).sum() > 20


def test_of_two_equal_clearances_the_first_place_is_told_and_the_closed_form_met():
    twins = joined(tube((-40, -20, 15), (40, -20, 15), 5.0), tube((-40, -50, 15), (40, -50, 15), 5.0))
    queries = body(Structure("vessel", Role.VESSEL, twins))
    constraint = Clearance(queries.anatomy.surface("vessel"), 2.0)
    table = paths([[0, -80, 0], [0, 0, 0], [3, -40, 0]], [[0, 0, 0], [0, -80, 0], [3, 0, 0]])
    np.testing.assert_allclose(located(constraint, table, queries), [30, 20, 20], atol=0.3)
    far = Clearance(queries.anatomy.surface("vessel"), 0.0)
    assert np.isnan(located(far, paths([0, 70, -30], [0, 40, -30]), queries)[0])


def test_a_second_passage_of_the_skin_is_told_where_it_is():
    # Two bodies side by side: a path from the one into the other leaves the first.
    skin = joined(box((-60, -60, -60), (60, 60, 60)), box((80, -60, -60), (120, 60, 60)))
    queries = body(skin=skin)
    table = paths([[60, 0, 3], [-60, 0, 3], [0, -60, 3]], [[0, 0, 3], [100, 0, 3], [0, 0, 3]])
    column = SingleSkinCrossing().evaluate(MeasuredPaths(table, queries))
    assert column.passed.tolist() == [False, False, True]
    where = located(SingleSkinCrossing(), table, queries)
    np.testing.assert_allclose(where[:2], [-20, 120], atol=1e-6)
    assert np.isnan(where[2])
    assert -where[0] < APPLICATOR.usable_length_mm + HANDLE_MM


def test_a_path_too_long_for_the_needle_is_wrong_from_where_the_needle_ends():
    table = paths([[0, -80, 0]], [[0, 20, 0]])
    np.testing.assert_allclose(located(UsableLength(60.0), table, body()), 60)
    np.testing.assert_allclose(located(UsableLength(), table, body()), min(100, APPLICATOR.usable_length_mm))


def test_softening_changes_nothing_but_what_it_costs():
    organ = body(Structure("liver", Role.ORGAN, ball((0, 0, 0), 40, 4)))
    inner = OrganPath(organ.anatomy.surface("liver"), 12.0)
    soft = Softened(inner)
    table = random_paths()
    hard_column, column = (c.evaluate(MeasuredPaths(table, organ)) for c in (inner, soft))
    np.testing.assert_array_equal(hard_column.passed, column.passed)
    assert hard_column.hard and not column.hard and column.name == hard_column.name
    assert soft.with_limit(20.0).constraint.minimum_mm == 20.0 and soft.with_limit(500.0) is None
    assert Softened(soft).constraint is inner
    np.testing.assert_array_equal(located(soft, table, organ), located(inner, table, organ))
