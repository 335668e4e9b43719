"""Arcs against closed forms, and everything that is measured along them against dense points."""

import dataclasses

import numpy as np
import pytest
from made_cases import ball, box, made_case, motion, queries_of, tube

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.tree import MeshTree
from needleplan.case.model import Role, Structure
from needleplan.errors import GeometryError, OptionError
from needleplan.trajectory.arcs import (
    arc_directions,
    arc_lengths_mm,
    arc_points_mm,
    arcs_followed_mm,
    chord_counts,
)
from needleplan.trajectory.constraints.single_skin_crossing import SingleSkinCrossing
from needleplan.trajectory.deflection.bending import bent
from needleplan.trajectory.deflection.constant_curvature import ConstantCurvature
from needleplan.trajectory.deflection.straight import Straight
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import TrajectoryTable

APPLICATOR = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")
RADIUS = APPLICATOR.radius_mm


def random_arcs(count=120, seed=0, most=1.9, reach=60.0):
    """Entries, tips and curvatures from none to ``most`` over the chord, nothing along an axis."""
    rng = np.random.default_rng(seed)
    start, end = rng.uniform(-reach, reach, (count, 3)), rng.uniform(-reach, reach, (count, 3))
    chord = end - start
    across = np.cross(chord, rng.normal(size=(count, 3)))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    size = np.minimum(rng.uniform(0, most, count), 0.02 * np.linalg.norm(chord, axis=1))
    return start, end, across * (size / np.linalg.norm(chord, axis=1))[:, None]


def table_of(start, end, curvature):
    return TrajectoryTable(APPLICATOR, start, start / 100.0, end, end, curvature)


def test_points_lie_evenly_on_the_circle_from_start_to_end():
    start, end, curvature = random_arcs()
    share = np.linspace(0, 1, 41)
    points = arc_points_mm(start, end, curvature, share)
    np.testing.assert_allclose(points[:, 0], start, atol=1e-10)
    np.testing.assert_allclose(points[:, -1], end, atol=1e-10)
    size = np.linalg.norm(curvature, axis=1)
    middle, chord = 0.5 * (start + end), np.linalg.norm(end - start, axis=1)
    # The centre lies towards the curvature, on the bisector of the chord.
    centre = middle + curvature / size[:, None] * np.sqrt(1 / size**2 - chord**2 / 4)[:, None]
    radius = np.linalg.norm(points - centre[:, None], axis=2)
    np.testing.assert_allclose(radius, np.broadcast_to(1 / size[:, None], radius.shape), rtol=1e-9)
    steps = np.linalg.norm(np.diff(points, axis=1), axis=2)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), rtol=1e-9)
    # The smaller arc: it bulges away from the centre.
    top = points[:, 20] - middle
    assert (np.einsum("ij,ij->i", top, curvature) < 0).all()
    np.testing.assert_allclose(np.linalg.norm(top, axis=1), 1 / size - np.sqrt(1 / size**2 - chord**2 / 4))


def test_lengths_and_directions_are_the_limits_of_dense_points():
    start, end, curvature = random_arcs()
    points = arc_points_mm(start, end, curvature, np.linspace(0, 1, 4001))
    steps = np.diff(points, axis=1)
    length = arc_lengths_mm(np.linalg.norm(end - start, axis=1), np.linalg.norm(curvature, axis=1))
    np.testing.assert_allclose(np.linalg.norm(steps, axis=2).sum(axis=1), length, rtol=1e-6)
    first, last = arc_directions(start, end, curvature)
    unit = steps / np.linalg.norm(steps, axis=2, keepdims=True)
    np.testing.assert_allclose(unit[:, 0], first, atol=1e-3)
    np.testing.assert_allclose(unit[:, -1], last, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, rtol=1e-12)


def test_a_quarter_of_a_circle_has_its_closed_form():
    start, end = np.array([[50.0, 0.0, 0.0]]), np.array([[0.0, 50.0, 0.0]])
    curvature = -np.array([[1.0, 1.0, 0.0]]) / np.sqrt(2) / 50.0
    found = arc_points_mm(start, end, curvature, np.array([1 / 3, 0.5]))[0]
    np.testing.assert_allclose(found[0], 50 * np.array([np.cos(np.pi / 6), 0.5, 0.0]), atol=1e-12)
    np.testing.assert_allclose(found[1], 50 * np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0]), atol=1e-12)
    assert arc_lengths_mm(np.array([np.sqrt(5000.0)]), np.array([0.02]))[0] == pytest.approx(25 * np.pi)
    first, last = arc_directions(start, end, curvature)
    np.testing.assert_allclose([first[0], last[0]], [[0, 1, 0], [-1, 0, 0]], atol=1e-12)
    beyond = arcs_followed_mm(start, end, curvature, np.array([50 * np.pi / 6]))[0]
    np.testing.assert_allclose(beyond, 50 * np.array([-0.5, np.cos(np.pi / 6), 0.0]), atol=1e-12)
    before = arcs_followed_mm(start, end, curvature, np.array([-50 * np.pi / 6]))[0]
    np.testing.assert_allclose(before, 50 * np.array([0.5, np.cos(np.pi / 6), 0.0]), atol=1e-12)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-11, 1e-13, 1e-200, 0.0])
def test_a_vanishing_curvature_is_a_straight_path(size):
    start, end, curvature = random_arcs()
    slight = curvature / np.linalg.norm(curvature, axis=1, keepdims=True) * size
    share = np.array([0.0, 0.13, 0.5, 0.91, 1.0])
    chord = end - start
    straight = start[:, None] + share[:, None] * chord[:, None]
    length = np.linalg.norm(chord, axis=1)
    rise = size * length**2 / 8
    points = arc_points_mm(start, end, slight, share)
    assert (np.linalg.norm(points - straight, axis=2) <= 1.05 * rise[:, None] + 1e-12).all()
    if 1e-10 < size < 1e-3:
        # The digits of slight curves are kept: the rise in the middle is k L^2 / 8.
        middle = np.einsum("ij,ij->i", straight[:, 2] - points[:, 2], slight / size)
        np.testing.assert_allclose(middle, rise, rtol=1e-3, atol=1e-13)
    assert (
        arc_lengths_mm(length, np.full(len(length), size)) - length <= 1.05 * size**2 * length**3 / 24 + 1e-12
    ).all()
    for found in arc_directions(start, end, slight):
        assert (np.linalg.norm(found - chord / length[:, None], axis=1) <= size * length + 1e-12).all()
    further = arcs_followed_mm(start, end, slight, np.full(len(length), 7.0))
    assert (
        np.linalg.norm(further - end - 7 * chord / length[:, None], axis=1)
        <= 7.5 * size * length + 50 * size + 1e-12
    ).all()


def test_a_rigid_motion_and_a_reversal_carry_the_points_along():
    start, end, curvature = random_arcs()
    turn = motion(9)
    share = np.linspace(0, 1, 9)
    here = arc_points_mm(start, end, curvature, share)
    there = arc_points_mm(
        start @ turn[:3, :3].T + turn[:3, 3], end @ turn[:3, :3].T + turn[:3, 3], curvature @ turn[:3, :3].T, share
    )
    np.testing.assert_allclose(there, here @ turn[:3, :3].T + turn[:3, 3], atol=1e-9)
    np.testing.assert_allclose(arc_points_mm(end, start, curvature, share), here[:, ::-1], atol=1e-9)


@pytest.mark.parametrize("tolerance", [0.5, 0.05, 0.004])
def test_chords_stay_within_their_tolerance_and_are_not_too_many(tolerance):
    start, end, curvature = random_arcs(40)
    chord, size = np.linalg.norm(end - start, axis=1), np.linalg.norm(curvature, axis=1)
    counts, errors = chord_counts(chord, size, tolerance)
    assert (errors <= tolerance * (1 + 1e-12)).all() and (np.bitwise_count(counts) == 1).all()
    for k in range(40):
        parts = int(counts[k])
        dense = arc_points_mm(start[[k]], end[[k]], curvature[[k]], np.linspace(0, 1, 16 * parts + 1))[0]
        a, b = dense[0:-1:16], dense[16::16]
        inner = dense[:-1].reshape(parts, 16, 3)
        along = (b - a) / np.linalg.norm(b - a, axis=1, keepdims=True)
        offset = inner - a[:, None]
        offset -= np.einsum("pij,pj->pi", offset, along)[:, :, None] * along[:, None]
        worst = np.linalg.norm(offset, axis=2).max()
        # The stated error is a bound, and a close one.
        assert 0.7 * errors[k] <= worst <= errors[k] * (1 + 1e-9)
        # Half as many would not do.
        assert parts == 1 or worst >= tolerance / 6.0
        alone = chord_counts(chord[[k]], size[[k]], tolerance)
        assert alone[0][0] == parts and alone[1][0] == errors[k]
    for count, error in (
        chord_counts(np.zeros(0), np.zeros(0), tolerance),
        chord_counts(chord, 0 * size, tolerance),
    ):
        assert (count == 1).all() and (error == 0).all()


@pytest.fixture(scope="module")
def queries():
    return queries_of(
        made_case(
            ball((0, 0, 0), 12, 4),
            ball((0, 0, 0), 80, 4, (1.0, 0.9, 1.1)),
            Structure("liver", Role.ORGAN, ball((4, -3, 2), 34, 4)),
            Structure("lung", Role.LUNG, ball((22, -8, 20), 13, 5)),
            Structure("vein", Role.VESSEL, tube((-90, -40, -30), (80, 25, -25), 5.0, 200)),
            Structure("rib", Role.BONE, box((-200, -45, -200), (200, -38, 200))),
        )
    )


def test_clearances_of_arcs_are_never_over_stated_and_within_a_tenth(queries):
    start, end, curvature = random_arcs(150, 3)
    paths = MeasuredPaths(table_of(start, end, curvature), queries)
    assert paths.chords_mm[0].shape[1] > 3
    dense = arc_points_mm(start, end, curvature, np.linspace(0, 1, 1501))
    crossed = set()
    for name, closed_form in {
        "lung": lambda p: np.linalg.norm(p - (22, -8, 20), axis=-1) - 13,
        "rib": lambda p: np.maximum(np.abs(p[..., 1] + 41.5) - 3.5, 0),
        "vein": lambda p: _to_segment(p, np.array([-90, -40, -30.0]), np.array([80, 25, -25.0])) - 5.0,
    }.items():
        # What dense points may overlook: half a step, of at most 0.12 mm, near a surface.
        truth = np.maximum(closed_form(dense).min(axis=1), 0.0) - RADIUS
        found = paths.clearance_mm(queries.anatomy.surface(name), 120.0)
        assert (found <= truth + 0.03).all() and (found >= truth - 0.1 - 0.06).all(), name
        crossed |= set((found <= -RADIUS).tolist())
    assert crossed == {True, False}


def test_clearances_of_arcs_agree_with_exact_distances_of_points(queries):
    start, end, curvature = random_arcs(25, 5)
    paths = MeasuredPaths(table_of(start, end, curvature), queries)
    points = arc_points_mm(start, end, curvature, np.linspace(0, 1, 1001))
    for surface in queries.anatomy.obstacles:
        tree = MeshTree(surface.mesh)
        # Chords of 1000 parts are within 2e-5 mm of the arc.
        exact = tree.segment_distance_mm(points[:, :-1].reshape(-1, 3), points[:, 1:].reshape(-1, 3), 40.0)
        exact = exact.reshape(25, -1).min(axis=1)
        exact[tree.contains(start)] = 0.0
        found = paths.clearance_mm(surface, 30.0)
        truth = np.minimum(exact - RADIUS, 30.0)
        assert (found <= truth + 1e-4).all() and (found >= truth - 0.1).all()


def _to_segment(points, a, b):
    d = b - a
    t = np.clip((points - a) @ d / (d @ d), 0, 1)
    return np.linalg.norm(points - a - t[..., None] * d, axis=-1)


def test_an_arc_round_an_obstacle_is_clear_where_the_straight_path_is_not():
    obstacle = Structure("vein", Role.VESSEL, ball((0, 0, 0), 6.0, 4))
    queries = queries_of(made_case(ball((0, 0, 40), 8), ball((0, 0, 0), 90, 3), obstacle))
    start, end = np.array([[0.0, 0.0, -50.0]]), np.array([[0.0, 0.0, 50.0]])
    vein = queries.anatomy.surface("vein")
    for side in (1.0, -1.0):
        curvature = np.array([[side * 0.008, 0.0, 0.0]])
        rise = 125.0 - np.sqrt(125.0**2 - 50.0**2)
        found = MeasuredPaths(table_of(start, end, curvature), queries).clearance_mm(vein)
        # Nearest where the arc is highest; the two sides mirror each other.
        assert found[0] == pytest.approx(rise - 6.0 - RADIUS, abs=0.1) and found[0] <= rise - 6.0 - RADIUS + 0.03
    straight = MeasuredPaths(table_of(start, end, None), queries).clearance_mm(vein)
    assert straight[0] == -RADIUS


def test_a_mirrored_case_gives_the_mirrored_answers(queries):
    start, end, curvature = random_arcs(60, 8)
    flip = np.array([-1.0, 1.0, 1.0])
    mirrored = made_case(
        ball((0, 0, 0), 12, 4),
        ball((0, 0, 0), 80, 4, (1.0, 0.9, 1.1)),
        Structure("lung", Role.LUNG, ball((-22, -8, 20), 13, 5)),
        Structure("vein", Role.VESSEL, tube((90, -40, -30), (-80, 25, -25), 5.0, 200)),
    )
    other = queries_of(mirrored)
    here = MeasuredPaths(table_of(start, end, curvature), queries)
    there = MeasuredPaths(table_of(start * flip, end * flip, curvature * flip), other)
    for name in ("lung", "vein"):
        np.testing.assert_allclose(
            there.clearance_mm(other.anatomy.surface(name)),
            here.clearance_mm(queries.anatomy.surface(name)),
            atol=0.03,
        )


def test_crossings_along_an_arc_are_those_of_the_sphere(queries):
    start, end, curvature = random_arcs(150, 11)
    paths = MeasuredPaths(table_of(start, end, curvature), queries)
    target, liver = queries.anatomy.target, queries.anatomy.surface("liver")
    share = np.linspace(0, 1, 20_001)
    points = arc_points_mm(start, end, curvature, share)
    for surface, centre, radius in ((target, (0, 0, 0), 12.0), (liver, (4, -3, 2), 34.0)):
        depth = np.linalg.norm(points - centre, axis=2) - radius
        found = paths.crossings(surface)
        # The polyhedron lies up to 0.15 mm inside; leave out arcs that graze it.
        sharp = np.abs(depth.min(axis=1)) > 0.4
        sharp &= (np.abs(depth[:, [0, -1]]) > 0.4).all(axis=1)
        changes = np.diff(np.sign(depth), axis=1) != 0
        np.testing.assert_array_equal(found.count[sharp], changes.sum(axis=1)[sharp])
        for row in np.flatnonzero(sharp & (found.count > 0)):
            at = np.flatnonzero(changes[row])
            steep = np.abs(depth[row, at + 1] - depth[row, at]) / 1.0
            missed_mm = np.abs(found.parameter[row, : len(at)] - share[at]) / share[1] * steep
            assert (missed_mm < 0.35).all()
            np.testing.assert_array_equal(found.outward[row, : len(at)], depth[row, at] < 0)
    assert (paths.crossings(liver).count == 2).any() and (paths.crossings(liver).count == 1).any()
    inside = np.linalg.norm(points - (4, -3, 2), axis=2) < 34.0
    reached = np.linalg.norm(points, axis=2) < 12.0
    before = np.where(reached.any(axis=1), reached.argmax(axis=1), 20_001)
    inside &= np.arange(20_001) < before[:, None]
    np.testing.assert_allclose(paths.organ_path_mm(liver), inside.mean(axis=1) * paths.table.length_mm, atol=3.0)
    close = np.abs(paths.organ_path_mm(liver) - inside.mean(axis=1) * paths.table.length_mm) < 0.5
    assert close.mean() > 0.9


def test_crossings_at_a_joint_of_chords_are_neither_lost_nor_doubled():
    # The middle of the arc is a joint of its chords, and it lies exactly on a face.
    slab = Structure("rib", Role.BONE, box((-100, -100, 0.0), (100, 100, 60.0)))
    queries = queries_of(made_case(ball((0, 0, 30), 5), ball((0, 0, 0), 120, 3), slab))
    start, end = np.array([[0.0, 3.0, -40.0]]), np.array([[0.0, 3.0, 40.0]])
    paths = MeasuredPaths(table_of(start, end, np.array([[0.011, 0.0, 0.0]])), queries)
    assert paths.chords_mm[0].shape[1] % 2 == 0
    found = paths.crossings(queries.anatomy.surface("rib"))
    assert found.count.tolist() == [1] and found.parameter[0, 0] == pytest.approx(0.5, abs=1e-6)


def test_straight_is_the_limit_of_measurements(queries):
    start, end, curvature = random_arcs(60, 2)
    slight = curvature / np.linalg.norm(curvature, axis=1, keepdims=True) * 1e-8
    straight, nearly = (MeasuredPaths(table_of(start, end, c), queries) for c in (None, slight))
    for surface in queries.anatomy.obstacles:
        np.testing.assert_allclose(nearly.clearance_mm(surface), straight.clearance_mm(surface), atol=1e-4)
    liver = queries.anatomy.surface("liver")
    np.testing.assert_allclose(nearly.organ_path_mm(liver), straight.organ_path_mm(liver), atol=1e-2)
    np.testing.assert_allclose(nearly.capsule_angle_deg(liver), straight.capsule_angle_deg(liver), atol=1e-2)
    np.testing.assert_array_equal(
        SingleSkinCrossing().evaluate(nearly).values, SingleSkinCrossing().evaluate(straight).values
    )


def test_bent_paths_keep_entry_and_aim_and_follow_one_circle():
    start, end, _ = random_arcs(100, 6, reach=40.0)
    unit = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
    straight = TrajectoryTable(APPLICATOR, start, start, end, end + 13.0 * unit)
    bevel = np.array([0.2, 0.9, -0.4])
    model = ConstantCurvature(0.006, bevel)
    found = bent(straight, model)
    np.testing.assert_array_equal(found.entry_mm, start)
    np.testing.assert_array_equal(found.aim_mm, end)
    np.testing.assert_allclose(np.linalg.norm(found.curvature_per_mm, axis=1), 0.006, rtol=1e-9)
    # The same as the model says of the tip itself, towards the bevel.
    np.testing.assert_allclose(found.curvature_per_mm, model.curvature_per_mm(start, found.tip_mm), atol=1e-12)
    assert (found.curvature_per_mm @ bevel > 0).all()
    # The aim lies on the arc, 13 mm of it before the tip.
    share = 1.0 - 13.0 / found.length_mm
    for k in range(100):
        at = arc_points_mm(found.entry_mm[[k]], found.tip_mm[[k]], found.curvature_per_mm[[k]], share[[k]])[0, 0]
        np.testing.assert_allclose(at, end[k], atol=1e-8)
    assert bent(straight, Straight()).curvature_per_mm is None
    with pytest.raises(GeometryError, match="bent already"):
        bent(found, model)


def test_the_bevel_of_the_bicycle_model_has_its_radius():
    model = ConstantCurvature.of_bevel(9.91, 39.6, (0, 0, 2.0))
    found = model.curvature_per_mm(np.zeros((1, 3)), np.array([[80.0, 0.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.0, 0.0, np.tan(np.radians(9.91)) / 39.6]])
    assert 1 / found[0, 2] == pytest.approx(226.7, abs=0.1)


def test_what_cannot_bend_is_refused():
    with pytest.raises(OptionError, match="curvature"):
        ConstantCurvature(0.2, (0, 0, 1))
    with pytest.raises(OptionError, match="curvature"):
        ConstantCurvature(-0.001, (0, 0, 1))
    with pytest.raises(OptionError, match="steering angle"):
        ConstantCurvature.of_bevel(90.0, 40.0, (0, 0, 1))
    for direction in ((0, 0, 0), (0, np.nan, 1), (1, 2)):
        with pytest.raises(GeometryError, match="direction"):
            ConstantCurvature(0.01, direction)
    model = ConstantCurvature(0.01, (0, 0, 1))
    far = np.array([[150.0, 150.0, 0.0]])
    with pytest.raises(GeometryError, match="half a circle"):
        model.curvature_per_mm(np.zeros((1, 3)), far)
    with pytest.raises(GeometryError, match=r"along 1 of 2 paths"):
        model.curvature_per_mm(np.zeros((2, 3)), np.array([[0.0, 0.01, 50.0], [50.0, 0.0, 0.0]]))
    with pytest.raises(GeometryError, match="without length"):
        model.curvature_per_mm(np.zeros((1, 3)), np.zeros((1, 3)))
    # The aim can be joined, the tip 60 mm beyond cannot.
    table = TrajectoryTable(
        APPLICATOR, np.zeros((1, 3)), far, far * 0.9, far * 0.9 + 95 * far / np.linalg.norm(far)
    )
    with pytest.raises(GeometryError, match="half a circle or more"):
        bent(table, model)


@pytest.mark.long
def test_how_curved_other_paths_are_changes_no_clearance(queries):
    """Slight, strong and straight paths in one table, and each alone."""
    start, end, curvature = random_arcs()
    across = curvature / np.linalg.norm(curvature, axis=1, keepdims=True)
    size = np.tile([0.0, 1e-5, 1e-4, 1e-3, 5e-3, 8e-3], 20)[:, None]
    mixed = table_of(start, end, size * across)
    straight = dataclasses.replace(mixed, curvature_per_mm=None)
    vessel = queries.anatomy.surface("vein")
    paths = MeasuredPaths(mixed, queries)
    together, crossings = paths.clearance_mm(vessel), paths.crossings(vessel)
    assert len(paths.alike) > 3
    for k in range(120):
        alone = MeasuredPaths(mixed.subset(np.array([k])), queries)
        assert alone.clearance_mm(vessel)[0] == together[k]
        found = alone.crossings(vessel)
        assert found.count[0] == crossings.count[k]
        np.testing.assert_array_equal(
            found.parameter[0][: found.count[0]], crossings.parameter[k][: found.count[0]]
        )
    # A path without curvature is the straight one, and a slight one nearly so, on the safe side.
    plain = MeasuredPaths(straight, queries).clearance_mm(vessel)
    np.testing.assert_array_equal(together[::6], plain[::6])
    dense = arc_points_mm(mixed.entry_mm, mixed.tip_mm, mixed.curvature_per_mm, np.linspace(0, 1, 4001))
    for k in range(120):
        truth = (
            queries.tree(vessel).segment_distance_mm(dense[k, :-1], dense[k, 1:]).min() - mixed.applicator.radius_mm
        )
        truth = min(truth, 10.0)
        assert truth - 0.11 <= together[k] <= truth + 1e-6
