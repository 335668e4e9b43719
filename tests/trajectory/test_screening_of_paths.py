"""Hard constraints and ranking on small bodies whose answers are known."""

import dataclasses

import numpy as np
import pytest
from made_cases import ball, box, joined, made_case, queries_of, rotation, surface, tube

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.case.model import PatientPosition, Role, Structure
from needleplan.errors import OptionError
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.organ_path import OrganPath
from needleplan.trajectory.constraints.single_skin_crossing import SingleSkinCrossing
from needleplan.trajectory.constraints.table_side import TableSide
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.ranking import ObjectiveWeights, default_objectives, pareto_front, rank
from needleplan.trajectory.sampling import SamplingOptions, sample_aims, sample_trajectories
from needleplan.trajectory.screening import PathLimits, default_constraints, screen
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable

APPLICATOR = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")
RADIUS = APPLICATOR.radius_mm
COARSE = SamplingOptions(entry_spacing_mm=14.0, aim_count=8)


def paths(entry, tip, normal=None):
    """A table of given paths; the aim is the tip."""
    entry, tip = np.atleast_2d(np.asarray(entry, float)), np.atleast_2d(np.asarray(tip, float))
    entry, tip = np.broadcast_arrays(entry, tip)
    return TrajectoryTable(APPLICATOR, entry, entry if normal is None else normal, tip, tip)


def random_paths(count=300, seed=0, reach=60.0):
    rng = np.random.default_rng(seed)
    return paths(rng.uniform(-reach, reach, (count, 3)), rng.uniform(-reach, reach, (count, 3)))


def point_to_segment(point, a, b):
    d = b - a
    t = (((point - a) * d).sum(1) / (d * d).sum(1)).clip(0, 1)
    return np.linalg.norm(a + t[:, None] * d - point, axis=1)


def body(*others, **options):
    return queries_of(made_case(ball((0, 0, 0), 10), ball((0, 0, 0), 80, 4), *others, **options))


def test_clearance_to_a_ball_is_the_closed_form():
    queries = body(Structure("vessel", Role.VESSEL, ball((12, -8, 20), 15, 5)))
    table = random_paths()
    found = MeasuredPaths(table, queries).clearance_mm(queries.anatomy.surface("vessel"), 30.0)
    axis = point_to_segment(np.array([12, -8, 20.0]), table.entry_mm, table.tip_mm) - 15
    np.testing.assert_allclose(found, np.minimum(np.maximum(axis, 0) - RADIUS, 30), atol=0.02)
    # The polyhedron lies inside the ball: distances to it are never smaller.
    assert (found >= np.minimum(np.maximum(axis, 0) - RADIUS, 30) - 1e-9).all()
    assert {-RADIUS, 30.0} <= set(np.round(found, 6).tolist())


def test_clearance_to_a_long_cylinder_and_a_plane_is_the_closed_form():
    frame = rotation(9)
    cylinder = tube(-500 * frame[:, 2], 500 * frame[:, 2], 6.0, sections=400)
    slab = SurfaceMesh(box((30, -500, -500), (45, 500, 500)).vertices_mm @ frame.T, box((0, 0, 0), (1, 1, 1)).faces)
    queries = body(Structure("vessel", Role.VESSEL, cylinder), Structure("bone", Role.BONE, slab))
    table = random_paths()
    a, b = table.entry_mm @ frame, table.tip_mm @ frame
    d = (b - a)[:, :2]
    t = (-(a[:, :2] * d).sum(1) / (d * d).sum(1)).clip(0, 1)
    to_axis = np.linalg.norm(a[:, :2] + t[:, None] * d, axis=1) - 6.0
    found = MeasuredPaths(table, queries).clearance_mm(queries.anatomy.surface("vessel"), 100.0)
    np.testing.assert_allclose(found, np.maximum(to_axis, 0) - RADIUS, atol=0.01)
    low, high = np.minimum(a[:, 0], b[:, 0]), np.maximum(a[:, 0], b[:, 0])
    to_slab = np.maximum(np.maximum(30 - high, low - 45), 0)
    found = MeasuredPaths(table, queries).clearance_mm(queries.anatomy.surface("bone"), 200.0)
    np.testing.assert_allclose(found, to_slab - RADIUS, atol=1e-9)


def test_a_path_wholly_inside_an_obstacle_has_no_clearance():
    queries = body(Structure("bowel", Role.BOWEL, ball((0, 0, 40), 25)))
    found = MeasuredPaths(paths([0, 0, 50], [0, 0, 45]), queries).clearance_mm(
        queries.anatomy.surface("bowel"), 12.0
    )
    np.testing.assert_allclose(found, -RADIUS)


def test_impossible_clearances_are_refused():
    wall = body(Structure("bone", Role.BONE, box((20, -9, -9), (22, 9, 9)))).anatomy.surface("bone")
    for limit in (-0.1, 50.1, float("nan")):
        with pytest.raises(OptionError, match="between 0 and 50 mm"):
            Clearance(wall, limit)


def wall_with_hole(edge):
    """A plate at y = -40 (in front of the target) with a square hole of that half-edge about x = 5, z = 7."""
    return joined(
        box((-99, -42, -99), (5 - edge, -40, 99)),
        box((5 + edge, -42, -99), (99, -40, 99)),
        box((5 - edge, -42, -99), (5 + edge, -40, 7 - edge)),
        box((5 - edge, -42, 7 + edge), (5 + edge, -40, 99)),
    )


def test_only_paths_through_the_hole_of_a_wall_are_left():
    case = made_case(
        ball((0, 0, 0), 10), box((-90, -90, -90), (90, 90, 90)), Structure("ribs", Role.BONE, wall_with_hole(12.0))
    )
    queries = queries_of(case)
    options = SamplingOptions(entry_spacing_mm=8.0, aim_count=20)
    table = screen(sample_trajectories(queries, APPLICATOR, options), queries, default_constraints(queries))
    front = table.entry_mm[:, 1] < -42
    share = (-41 - table.entry_mm[:, 1]) / (table.tip_mm - table.entry_mm)[:, 1]
    middle = table.entry_mm + share[:, None] * (table.tip_mm - table.entry_mm)
    feasible = table.feasible
    assert 0 < feasible.sum() < 0.2 * len(table)
    passing = feasible & front
    assert passing.any()
    assert (np.abs(middle[passing][:, [0, 2]] - [5, 7]) <= 12 - 2 - RADIUS + 1e-9).all()
    closed = made_case(
        ball((0, 0, 0), 10), box((-90, -90, -90), (90, 90, 90)), Structure("ribs", Role.BONE, wall_with_hole(3.0))
    )
    shut = queries_of(closed)
    rejected = screen(sample_trajectories(shut, APPLICATOR, options), shut, default_constraints(shut))
    assert not (rejected.feasible & (rejected.entry_mm[:, 1] < -42)).any()


def ranked(queries, limits=None, options=COARSE, weights=None):
    table = sample_trajectories(queries, APPLICATOR, options)
    table = screen(table, queries, default_constraints(queries, limits))
    return rank(table, queries, default_objectives(queries, weights))


def test_shortest_path_comes_first_where_only_length_counts():
    skin = ball((0, 0, 0), 1.0, 5, (90.0, 70.0, 110.0))
    queries = queries_of(made_case(ball((0, 0, 0), 8), skin))
    table = ranked(queries, options=SamplingOptions(7.0, 12), weights=ObjectiveWeights(1.0, 0.0, 0.0, 0.0))
    first = table.order()[0]
    assert table.length_mm[first] == table.length_mm[table.feasible].min()
    # The nearest skin lies on the short axis of the body, on the side away from the table.
    bound = 70 - 8 + APPLICATOR.tip_to_centre_mm
    assert bound - 0.5 < table.length_mm[first] < bound + 8
    assert table.direction[first] @ [0, 1, 0] > 0.95
    brute = np.linalg.norm(table.tip_mm - table.entry_mm, axis=1)
    brute[~np.all([column.passed for column in table.constraints], axis=0)] = np.inf
    assert first == np.argmin(np.round(brute, 7))


def test_larger_margins_never_open_a_path():
    obstacles = (
        Structure("vessel", Role.VESSEL, ball((20, -30, 10), 12)),
        Structure("lung", Role.LUNG, ball((-25, -35, -15), 15)),
    )
    queries = body(*obstacles)
    table = sample_trajectories(queries, APPLICATOR, COARSE)
    previous = None
    counts = []
    for size in (0.0, 1.0, 3.0, 8.0):
        limits = PathLimits(vessel_mm=size, lung_mm=size, skin_angle_deg=80 - 5 * size, organ_path_mm=0.0)
        feasible = screen(table, queries, default_constraints(queries, limits)).feasible
        counts.append(feasible.sum())
        assert previous is None or not (feasible & ~previous).any()
        previous = feasible
    assert counts[0] > counts[-1] > 0


def test_a_structures_own_clearance_overrides_the_default():
    queries = body(Structure("vessel", Role.VESSEL, ball((20, -30, 10), 12), clearance_mm=7.0))
    names = {c.name: c for c in default_constraints(queries)}
    assert names["clearance to vessel"].limit_mm == 7.0


def lopsided(mirror=False, order=(0, 1, 2), extra=False):
    sign = np.array([-1.0 if mirror else 1.0, 1, 1])

    def put(mesh):
        return SurfaceMesh(mesh.vertices_mm * sign, mesh.faces[:, ::-1] if mirror else mesh.faces)

    others = [
        Structure("vessel", Role.VESSEL, put(ball((25, -30, 10), 12))),
        Structure("lung", Role.LUNG, put(ball((-25, -35, 25), 20))),
        Structure("liver", Role.ORGAN, put(ball((-10, 0, 5), 45))),
    ]
    others = [others[k] for k in order]
    if extra:
        others.append(Structure("far", Role.ALLOWED, put(ball((60, 0, 0), 5))))
        others.append(Structure("remote bone", Role.BONE, put(ball((0, 60, 0), 5))))
    target, skin = put(ball((3, 2, 1), 9, 3, (1.0, 0.8, 1.2))), put(ball((0, 4, 0), 80, 3, (1.1, 0.8, 1.3)))
    return queries_of(made_case(target, skin, *others))


def columns(queries, table):
    done = rank(screen(table, queries, default_constraints(queries)), queries, default_objectives(queries))
    return {c.name: c for c in (*done.constraints, *done.objectives)}, done


def test_mirrored_patient_gives_the_mirrored_decisions():
    queries, other = lopsided(), lopsided(mirror=True)
    table = sample_trajectories(queries, APPLICATOR, COARSE)
    flip = np.array([-1.0, 1, 1])
    image = TrajectoryTable(
        APPLICATOR, table.entry_mm * flip, table.entry_normal * flip, table.aim_mm * flip, table.tip_mm * flip
    )
    mine, done = columns(queries, table)
    theirs, done_image = columns(other, image)
    assert mine.keys() == theirs.keys()
    for name, column in mine.items():
        np.testing.assert_allclose(column.values, theirs[name].values, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(done.feasible, done_image.feasible)
    np.testing.assert_array_equal(done.order(), done_image.order())
    assert 0 < done.feasible.sum() < len(done)


def test_order_of_structures_and_irrelevant_ones_change_nothing():
    queries = lopsided()
    table = sample_trajectories(queries, APPLICATOR, COARSE)
    _, done = columns(queries, table)
    for other in (lopsided(order=(2, 0, 1)), lopsided(extra=True)):
        again = sample_trajectories(other, APPLICATOR, COARSE)
        np.testing.assert_array_equal(again.entry_mm, table.entry_mm)
        _, done_again = columns(other, again)
        both = done.feasible & done_again.feasible
        up = table.direction[:, 1] > 0.2
        np.testing.assert_array_equal(done.feasible[up], done_again.feasible[up])
        np.testing.assert_allclose(done.cost[both & up], done_again.cost[both & up], atol=1e-12)


def test_dumbbell_body_is_not_crossed_twice():
    # Two limbs joined by a bridge above them, as an arm beside a trunk: a U open towards -z.
    profile = [(-70, -50), (-30, -50), (-30, 20), (30, 20), (30, -50), (70, -50), (70, 50), (-70, 50)]
    queries = queries_of(made_case(ball((-50, 0, -20), 8), extruded(profile, 40.0)))
    tip = np.array([-50, 0, -20.0])
    table = paths(
        [[70, 0, -20], [-30, 0, -20], [-70, 0, -20], [-50, -20, -20], [70, 0, -20]], [tip] * 4 + [[50, 0, -20]]
    )
    column = SingleSkinCrossing().evaluate(MeasuredPaths(table, queries))
    # From afar through the other limb; from the gap (the shaft would stand in the other limb); free; free; and
    # into the outer side of the other limb, its own shaft free.
    assert column.passed.tolist() == [False, False, True, True, True]
    outside = SingleSkinCrossing().evaluate(MeasuredPaths(paths([-70, 0, -20], [-20, 0, -20]), queries))
    assert not outside.passed[0]


def extruded(profile, depth):
    """A closed prism of a polygon in x and z, along y."""
    import trimesh

    corners = np.array(profile, dtype=float)
    n = len(corners)
    vertices = np.array([[x, y, z] for y in (-depth / 2, depth / 2) for x, z in corners])
    # The U's caps as three quads each.
    quads = [(0, 1, 2, 7), (2, 3, 6, 7), (3, 4, 5, 6)]
    faces = []
    for a, b, c, d in quads:
        faces += [(a, b, c), (a, c, d), (a + n, c + n, b + n), (a + n, d + n, c + n)]
    for k in range(n):
        m = (k + 1) % n
        faces += [(k, m + n, m), (k, k + n, m + n)]
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    mesh.fix_normals()
    assert mesh.is_watertight
    return surface(mesh)


def test_shaft_of_a_needle_that_is_drawn_back_stays_clear_as_well():
    # A second shell stands 150 mm above the skin: the handle of a deep needle ends before it, that of one for an
    # ablation drawn back, or on its way in, does not.
    skin = joined(ball((0, 0, 0), 80, 3), box((-40, -225, -40), (40, -215, 40)))
    queries = queries_of(made_case(ball((0, 0, 0), 10), skin))
    deep = paths([0, -79.99, 0.0], [0, 70.0, 0])
    assert not SingleSkinCrossing().evaluate(MeasuredPaths(deep, queries)).passed[0]
    assert SingleSkinCrossing().evaluate(MeasuredPaths(paths([79.5, 0.2, 0.1], [-60, 0.0, 0]), queries)).passed[0]


@pytest.mark.parametrize("position", list(PatientPosition))
def test_needles_come_from_the_side_away_from_the_table(position):
    up = {"supine": (0, -1, 0), "prone": (0, 1, 0), "left": (-1, 0, 0), "right": (1, 0, 0)}[position.value]
    queries = body(position=position)
    entry = 80 * np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1)], dtype=float)
    column = TableSide(89.0).evaluate(MeasuredPaths(paths(entry, [0, 0, 0]), queries))
    assert column.passed.tolist() == [tuple(row) == up for row in (entry / 80).astype(int).tolist()]
    table = ranked(queries)
    assert (table.entry_mm[table.feasible] @ up).min() > -15


def test_organ_before_the_target_is_measured():
    organ = ball((0, 0, 0), 40, 5)
    queries = body(Structure("liver", Role.ORGAN, organ))
    liver = queries.anatomy.surface("liver")
    found = MeasuredPaths(
        paths([[80, 0.1, 0.2], [0, 0, -80.0], [0, 80, 0]], [[0, 0, 0], [0, 0, -5], [0, 20, 0]]), queries
    ).organ_path_mm(liver)
    np.testing.assert_allclose(found, [30, 30, 20], atol=0.1)
    # Two lobes: both count, the gap between them does not.
    lobes = joined(ball((0, 0, 0), 20, 5), ball((45, 0, 0), 15, 5))
    queries = body(Structure("liver", Role.ORGAN, lobes))
    table = paths([79, 0.1, 0.2], [0, 0, 0])
    found = MeasuredPaths(table, queries).organ_path_mm(queries.anatomy.surface("liver"))
    np.testing.assert_allclose(found, 30 + 10, atol=0.15)
    column = OrganPath(queries.anatomy.surface("liver"), 39.0).evaluate(MeasuredPaths(table, queries))
    assert (
        column.passed[0]
        and not OrganPath(queries.anatomy.surface("liver"), 41.0).evaluate(MeasuredPaths(table, queries)).passed[0]
    )
    with pytest.raises(OptionError):
        default_constraints(queries, PathLimits(organ_path_mm=-1.0))
    with pytest.raises(OptionError):
        default_constraints(queries, PathLimits(organ_path_mm=float("nan")))
    with pytest.raises(OptionError, match="no organ"):
        default_constraints(body(), PathLimits(organ_path_mm=5.0))


def test_pareto_front_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    costs = np.round(rng.uniform(size=(300, 3)), 1)
    beaten = [
        any((costs[j] <= costs[i]).all() and (costs[j] < costs[i]).any() for j in range(300)) for i in range(300)
    ]
    np.testing.assert_array_equal(pareto_front(costs), ~np.array(beaten))


def test_first_of_the_order_lies_on_the_front():
    table = ranked(lopsided(), weights=ObjectiveWeights(1, 1, 0.3, 0.1))
    assert table.front[table.order()[0]]
    assert not table.front[~table.feasible].any()


def test_aims_lie_in_the_target_and_spread():
    queries = lopsided()
    aims = sample_aims(queries, 30)
    assert queries.distance(queries.anatomy.target).contains(aims).all()
    assert 20 <= len(aims) <= 60
    np.testing.assert_allclose(aims[0], [3, 2, 1], atol=0.3)
    gaps = np.linalg.norm(aims[:, None] - aims[None], axis=2)[~np.eye(len(aims), dtype=bool)]
    assert gaps.min() > 1e-6


def test_entries_lie_on_allowed_faces_and_candidates_stay_below_the_limit():
    region = Structure("window", Role.ENTRY_REGION, box((-30, -99, -30), (30, 0, 30)))
    queries = body(region)
    table = sample_trajectories(queries, APPLICATOR, SamplingOptions(4.0, 20, maximum_candidates=2000))
    assert 200 < len(table) <= 2000
    assert (np.abs(table.entry_mm[:, [0, 2]]) < 30 + 6).all() and (table.entry_mm[:, 1] < 0).all()
    tree = queries.tree(queries.anatomy.entry)
    assert tree.segment_distance_mm(table.entry_mm, table.entry_mm).max() < 1e-9
    np.testing.assert_allclose(table.entry_normal, table.entry_mm / 80, atol=0.1)
    np.testing.assert_allclose(np.linalg.norm(table.tip_mm - table.aim_mm, axis=1), APPLICATOR.tip_to_centre_mm)


def test_two_constraints_of_one_name_are_refused():
    queries = body()
    with pytest.raises(OptionError, match="same name"):
        screen(sample_trajectories(queries, APPLICATOR, COARSE), queries, (TableSide(90.0), TableSide(80.0)))


def test_impossible_options_are_refused():
    for options in ({"entry_spacing_mm": 0.0}, {"entry_spacing_mm": float("nan")}, {"aim_count": 0}):
        with pytest.raises(OptionError):
            SamplingOptions(**options)
    for weights in ({"length": -1.0}, {"length": float("nan")}, {"length": 0, "clearance": 0, "capsule_angle": 0}):
        with pytest.raises(OptionError):
            ObjectiveWeights(**weights)
    assert dataclasses.replace(PathLimits(), bone_mm=1.0).clearance_mm(Role.BONE) == 1.0


def test_a_demand_beyond_the_usual_cap_is_decided_exactly():
    wall = body(Structure("bone", Role.BONE, box((20, -9, -9), (22, 9, 9))))
    table = paths([[0, -90, 0], [0, -90, 0]], [[0, 0, 0], [6, 0, 0]])
    column = Clearance(wall.anatomy.surface("bone"), 15.0).evaluate(MeasuredPaths(table, wall))
    np.testing.assert_allclose(column.values, [20 - RADIUS, 14 - RADIUS], atol=0.05)
    assert column.passed.tolist() == [True, False]


def test_the_shaft_outside_keeps_clear_of_forbidden_regions():
    outside = body(Structure("gantry", Role.NO_GO, box((-9, -160, -9), (9, -130, 9))))
    table = paths([[0, -80, 0], [80, 0, 0]], [[0, 0, 0], [0, 0, 0]])
    column = Clearance(outside.anatomy.surface("gantry"), 0.0).evaluate(MeasuredPaths(table, outside))
    assert column.passed.tolist() == [False, True]
    assert column.values[0] == pytest.approx(-RADIUS)


class _Slow(TrajectoryConstraint):
    """Passes paths whose tip lies on one side, and remembers how many it was asked about."""

    name = "slow"
    asked_last = True

    def __init__(self) -> None:
        self.asked = 0

    def with_limit(self, limit: float) -> None:
        return None

    def evaluate(self, paths):
        self.asked += len(paths.table)
        return ConstraintColumn(
            self.name, "", (paths.table.tip_mm[:, 0] > 0.0).astype(float), 1.0, True, "one side"
        )


def test_what_takes_long_is_asked_only_of_paths_that_satisfy_the_rest():
    queries = body(Structure("vessel", Role.VESSEL, ball((12, -8, 20), 15, 5)))
    table = random_paths(reach=50.0)
    slow, vessel, side = _Slow(), Clearance(queries.anatomy.surface("vessel"), 5.0), TableSide(70.0)
    screened = screen(table, queries, [slow, vessel, side])
    assert [column.name for column in screened.constraints] == [slow.name, vessel.name, side.name]
    others = screen(table, queries, [vessel, side]).feasible
    assert 0 < slow.asked == others.sum() < len(table)
    column = screened.constraint("slow")
    assert column.passed[~others].all()
    np.testing.assert_array_equal(screened.feasible, others & (table.tip_mm[:, 0] > 0.0))
    np.testing.assert_array_equal(screen(table, queries, [_Slow()]).feasible, table.tip_mm[:, 0] > 0.0)
