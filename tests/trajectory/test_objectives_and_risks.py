"""Objectives on geometry whose answers are known, and the figures that risks are built on."""

import dataclasses

import numpy as np
import pytest
import trimesh
from made_cases import ball, box, joined, made_case, queries_of, rotation, surface, tube
from made_path_tables import made_queries, made_table

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.moments import solid_moments
from needleplan.case.model import Role, Structure
from needleplan.errors import GeometryError, OptionError
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.contract import Reachability
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.objectives.bleeding_risk import BleedingRisk
from needleplan.trajectory.objectives.healthy_path import HealthyPath
from needleplan.trajectory.objectives.obstacle_distance import SCALE_MM, ObstacleDistance
from needleplan.trajectory.objectives.pneumothorax_risk import PneumothoraxRisk
from needleplan.trajectory.objectives.robot_manipulability import RobotManipulability
from needleplan.trajectory.objectives.skin_obliquity import SkinObliquity
from needleplan.trajectory.objectives.soft_limits import SoftLimits
from needleplan.trajectory.objectives.tumour_axis import TumourAxis
from needleplan.trajectory.ranking import ObjectiveWeights, default_objectives, rank
from needleplan.trajectory.risk_table import RiskFactor, risk_factor, risk_factors
from needleplan.trajectory.screening import default_constraints, screen
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable

APPLICATOR = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")


def paths(entry, tip, normal=None, curvature=None, columns=()):
    entry, tip = np.broadcast_arrays(np.atleast_2d(np.asarray(entry, float)), np.atleast_2d(np.asarray(tip, float)))
    normal = entry if normal is None else normal
    return TrajectoryTable(APPLICATOR, entry, normal, tip, tip, curvature, columns)


def body(*others, target=None):
    return queries_of(made_case(target or ball((0, 0, 0), 10), ball((0, 0, 0), 150, 4), *others))


def evaluated(objective, queries, table):
    return objective.evaluate(MeasuredPaths(table, queries))


@pytest.mark.parametrize("seed", [1, 2])
def test_moments_of_a_brick_and_of_a_hollow_shell_are_the_closed_form(seed):
    turn, shift = rotation(seed), np.array([40.0, -7.0, 900.0])

    def put(mesh):
        return SurfaceMesh(mesh.vertices_mm @ turn.T + shift, mesh.faces)

    brick = solid_moments(put(box((-3, 0, -10), (3, 8, 30))))
    np.testing.assert_allclose(brick.volume_mm3, 6 * 8 * 40)
    np.testing.assert_allclose(brick.centroid_mm, turn @ [0, 4, 10] + shift)
    spread = np.diag([6.0**2, 8.0**2, 40.0**2]) / 12
    np.testing.assert_allclose(brick.covariance_mm2, turn @ spread @ turn.T, atol=1e-7)
    np.testing.assert_allclose(np.abs(brick.long_axis @ turn[:, 2]), 1.0)
    np.testing.assert_allclose(brick.elongation, 1 - 8 / 40)
    shell = solid_moments(put(joined(box((-9, -9, -9), (9, 9, 9)), box((-3, -3, -6), (3, 3, 6)).flipped())))
    full, hole = 18.0**3, 6 * 6 * 12.0
    inner = [(full * 27 - hole * edge**2 / 12) / (full - hole) for edge in (6, 6, 12)]
    np.testing.assert_allclose(shell.covariance_mm2, turn @ np.diag(inner) @ turn.T, atol=1e-6)


def test_where_the_vertices_lie_does_not_matter():
    long = box((-3, -4, -20), (3, 4, 20))
    mesh = trimesh.Trimesh(long.vertices_mm, long.faces, process=False)
    # All new vertices near one end: the mean and spread of the vertices would move, the solid's do not.
    near = np.flatnonzero(mesh.triangles_center[:, 2] < 0)
    for _ in range(4):
        mesh = mesh.subdivide(face_index=near)
        near = np.flatnonzero(mesh.triangles_center[:, 2] < -5)
    fine = surface(mesh)
    assert fine.vertices_mm[:, 2].mean() < -4
    a, b = solid_moments(long), solid_moments(fine)
    np.testing.assert_allclose(b.covariance_mm2, a.covariance_mm2, atol=1e-9)
    np.testing.assert_allclose(b.centroid_mm, a.centroid_mm, atol=1e-9)


def test_a_solid_without_volume_has_no_axis():
    with pytest.raises(GeometryError, match="encloses"):
        solid_moments(box((0, 0, 0), (1, 2, 3)).flipped())
    with pytest.raises(GeometryError, match="encloses"):
        solid_moments(SurfaceMesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]))


def test_a_round_tumour_has_no_axis_and_a_longer_one_gains_it_without_a_jump():
    table = paths([[0, 0, 90.0], [90.0, 0, 0]], [0, 0, 0])
    frame = rotation(4)
    found = []
    for stretch in (1.0, 1.001, 1.01, 1.1, 1.5, 3.0):
        mesh = ball((0, 0, 0), 10, 3, (1.0, 1.0, stretch))
        queries = body(target=SurfaceMesh(mesh.vertices_mm @ frame.T, mesh.faces))
        along = paths(90 * frame[:, [2, 0]].T, [0, 0, 0])
        found.append(evaluated(TumourAxis(1.0), queries, along).cost)
    found = np.array(found)
    # 1 - 1 / stretch across the axis, nothing along it.
    np.testing.assert_allclose(found[:, 1], [0, 0.000999, 0.0099, 1 / 11, 1 / 3, 2 / 3], atol=2e-3)
    np.testing.assert_allclose(found[1:, 0], 0.0, atol=1e-3)
    disc = body(target=ball((0, 0, 0), 10, 3, (1.0, 1.0, 0.3)))
    assert evaluated(TumourAxis(1.0), disc, table).cost.max() < 0.01


def test_the_tumour_axis_is_met_by_the_tip_of_a_curved_path():
    queries = body(target=ball((0, 0, 0), 10, 3, (1.0, 1.0, 2.0)))
    # A quarter circle that enters along x and arrives along z.
    chord = np.array([50.0, 0, 50.0])
    centre = np.array([0.0, 0, 1]) * 50 - 0.5 * chord
    curvature = (centre / np.linalg.norm(centre) / 50)[None]
    curved = paths(-chord, [0, 0, 0], curvature=curvature)
    angle = evaluated(TumourAxis(1.0), queries, curved).values[0]
    np.testing.assert_allclose(angle, np.degrees(np.arccos(abs(curved.tip_direction[0, 2]))), atol=0.1)
    assert abs(angle - 45.0) > 30.0
    # It meets the skin there along x, though its chord is oblique.
    at_skin = paths(-chord, [0, 0, 0], np.array([[-1.0, 0, 0]]), curvature)
    turned = evaluated(SkinObliquity(1.0), queries, at_skin).values[0]
    np.testing.assert_allclose(turned, np.degrees(np.arccos(curved.entry_direction[0, 0])), atol=1e-6)
    assert abs(turned - 45.0) > 30.0


def test_the_angle_to_the_skin_is_that_of_the_entry():
    normal = np.tile([0.0, -1, 0], (3, 1))
    table = paths([[0, -100, 0], [100, -100, 0], [0, -100, 173.205]], [0, 0, 0], normal)
    column = evaluated(SkinObliquity(1.0), body(), table)
    np.testing.assert_allclose(column.values, [0, 45, 60], atol=1e-5)
    np.testing.assert_allclose(column.cost, [0, 0.5, 2 / 3], atol=1e-6)


def test_too_little_and_too_much_organ_cost():
    organ = Structure("liver", Role.ORGAN, box((-90, -15, -35), (130, 40, 40)))
    queries = body(organ, target=box((-10, -10, -10), (10, 10, 10)))
    tip = [0.3, 0.2, 0.1]
    table = paths([[0.3, -140, 0.1], [0.3, 0.2, -140], [0.3, 0.2, 145], [-140, 0.2, 0.1], [145, 0.2, 0.1]], tip)
    column = evaluated(HealthyPath(queries.anatomy.surface("liver"), 1.0), queries, table)
    np.testing.assert_allclose(column.values, [5, 25, 30, 80, 120], atol=1e-6)
    np.testing.assert_allclose(column.cost, [0.5, 0, 0, 40 / 60, 80 / 60], atol=1e-6)
    direct = paths([0.3, -15.5, 0.1], tip)
    outside = body(Structure("liver", Role.ORGAN, box((-9, 12, -9), (9, 40, 9))))
    assert evaluated(HealthyPath(outside.anatomy.surface("liver"), 1.0), outside, direct).cost[0] == 1.0


def test_odds_of_a_pneumothorax_are_the_product_of_published_ratios():
    upper = Structure("upper lobe", Role.LUNG, box((-40, -60, -50), (40, -30, 20)))
    lower = Structure("lower lobe", Role.LUNG, box((-40, -29, -50), (40, -14, 20)))
    queries = body(upper, lower)
    lungs = queries.anatomy.with_role(Role.LUNG)
    table = paths([[0.3, -140, 0.1], [140, 0.2, 0.1], [0.3, -25, 0.1]], [0.3, 0.2, 0.1])
    column = evaluated(PneumothoraxRisk(lungs, 1.0), queries, table)
    # Two lobes of 45 mm together; none; 11 mm of one.
    expected = [1.73 * 2.38**1.5 * 3.75, 1.0, 1.73 * 2.38 ** (11 / 30)]
    np.testing.assert_allclose(column.values, expected, rtol=1e-9)
    np.testing.assert_allclose(column.cost, np.log10(expected), rtol=1e-9, atol=1e-12)
    one = evaluated(PneumothoraxRisk(lungs[:1], 1.0), queries, table)
    np.testing.assert_allclose(one.values, [1.73 * 2.38, 1.0, 1.0], rtol=1e-9)


def test_odds_of_bleeding_hold_within_eight_millimetres_and_fade():
    vein = Structure("vein", Role.VESSEL, tube((0, -30, -200), (0, -30, 200), 5.0, 400))
    artery = Structure("artery", Role.VESSEL, box((-90, 80, -9), (90, 90, 9)))
    queries = body(vein, artery)
    gaps = np.array([-9.0, 1.0, 7.9, 9.0, 10.1, 30.0])
    x = gaps + 5.0 + APPLICATOR.radius_mm
    table = paths(np.stack([x, np.full(6, -100.0), np.zeros(6)], 1), np.stack([x, np.zeros(6), np.zeros(6)], 1))
    column = evaluated(BleedingRisk(queries.anatomy.with_role(Role.VESSEL), 1.0), queries, table)
    np.testing.assert_allclose(column.values, [4.821, 4.821, 4.821, np.sqrt(4.821), 1, 1], rtol=2e-3)
    near = paths([[30, 140.0, 0]], [[30, 60.0, 0]])
    assert evaluated(BleedingRisk(queries.anatomy.with_role(Role.VESSEL), 1.0), queries, near).values[0] > 4.8


def test_risks_without_their_structures_are_refused():
    with pytest.raises(OptionError, match="surface of lung"):
        PneumothoraxRisk((), 1.0)
    with pytest.raises(OptionError, match="surface of a vessel"):
        BleedingRisk((), 1.0)


def test_every_figure_that_is_used_names_its_publication():
    factors = risk_factors()
    assert len({(f.complication, f.factor) for f in factors}) == len(factors)
    assert {f.complication for f in factors} == {"pneumothorax", "bleeding"}
    for factor in factors:
        assert factor.confidence in ("high", "medium", "low") and factor.note
        if factor.used:
            assert factor.odds_ratio > 1 and factor.source and factor.provenance.startswith("READ")
    assert sum(factor.used for factor in factors) == 4
    with pytest.raises(OptionError, match="no risk factor of bleeding is named 'x'"):
        risk_factor("bleeding", "x")
    with pytest.raises(OptionError, match="can be relied on"):
        risk_factor("pneumothorax", "angle to the pleura").log_odds  # noqa: B018


@pytest.mark.parametrize(
    "change", [{"odds_ratio": 0.4}, {"odds_ratio": None}, {"source": ""}, {"confidence": "sure"}]
)
def test_impossible_figures_are_refused(change):
    good = risk_factor("pneumothorax", "fissure crossed")
    assert isinstance(good, RiskFactor)
    with pytest.raises(OptionError):
        dataclasses.replace(good, **change)


def soft_column(name, unit, values, limit, at_least, hard=False):
    return ConstraintColumn(name, unit, np.asarray(values, float), limit, at_least, "as given", hard)


def test_soft_limits_cost_their_shortfall_in_scales_of_the_unit():
    columns = (
        soft_column("far", "mm", [9.0, 3.0, -2.0], 5.0, True),
        soft_column("steep", "deg", [20.0, 35.0, 20.0], 20.0, False),
        soft_column("wanted", "", [1.0, 1.0, 0.0], 1.0, True),
        soft_column("hard", "mm", [0.0, 0.0, 0.0], 5.0, True, hard=True),
    )
    table = paths(np.full((3, 3), 90.0), [0, 0, 0], columns=columns)
    column = evaluated(SoftLimits(2.0), body(), table)
    np.testing.assert_allclose(column.cost, [0, 2 / 5 + 1, 7 / 5 + 1])
    strict = evaluated(SoftLimits(2.0, {"mm": 1.0, "deg": 15.0, "": 1.0}), body(), table)
    np.testing.assert_allclose(strict.cost, [0, 2 + 1, 7 + 1])
    odd = dataclasses.replace(table, constraints=(soft_column("slow", "s", [1, 2, 3], 0, False),))
    with pytest.raises(OptionError, match="'slow' is in 's'"):
        evaluated(SoftLimits(1.0), body(), odd)
    with pytest.raises(OptionError, match="above zero"):
        SoftLimits(1.0, {"mm": 0.0})


def test_clearance_in_hand_counts_demanded_obstacles_alone():
    wall = Structure("rib", Role.BONE, box((20, -9, -9), (22, 9, 9)))
    other = Structure("bowel", Role.BOWEL, box((-20, -9, -9), (-17, 9, 9)))
    queries = body(wall, other)
    table = paths([0, -90, 0], [0, 0, 0])
    assert evaluated(ObstacleDistance(1.0), queries, table).values[0] == SCALE_MM
    rib = Clearance(queries.anatomy.surface("rib"), 17.0)
    screened = screen(table, queries, [rib])
    np.testing.assert_allclose(evaluated(ObstacleDistance(1.0), queries, screened).values, 3 - APPLICATOR.radius_mm)
    # A column whose name only begins like those of clearances is none of them.
    stray = dataclasses.replace(
        table, constraints=(soft_column("clearance to gantry", "mm", [0.0], 50.0, True, True),)
    )
    assert evaluated(ObstacleDistance(1.0), queries, stray).values[0] == SCALE_MM


class Asked(Reachability):
    """A robot that notes how many paths it is asked about."""

    def __init__(self):
        self.count = 0

    def reachable(self, entry_mm, tip_mm):
        return np.ones(len(entry_mm), dtype=bool)

    def manipulability(self, entry_mm, tip_mm):
        self.count += len(entry_mm)
        return np.full(len(entry_mm), 0.25)


class Silent(Asked):
    def manipulability(self, entry_mm, tip_mm):
        return None


def test_a_robot_is_asked_about_feasible_rows_only():
    queries = made_queries()
    table = screen(made_table(), queries, default_constraints(queries))
    feasible = table.feasible
    assert 0 < feasible.sum() < len(table)
    robot = Asked()
    column = evaluated(RobotManipulability(robot, 1.0), queries, table)
    assert robot.count == feasible.sum()
    np.testing.assert_array_equal(column.values, np.where(feasible, 0.25, 0.0))
    np.testing.assert_array_equal(column.cost, np.where(feasible, 0.75, 1.0))
    with pytest.raises(OptionError, match="does not measure manipulability"):
        evaluated(RobotManipulability(Silent(), 1.0), queries, table)


def test_default_objectives_are_what_the_weights_ask_for():
    queries = made_queries()
    names = [objective.name for objective in default_objectives(queries)]
    assert names == ["length", "clearance in hand", "angle to liver capsule", "out-of-plane angle", "soft limits"]
    assert [o.name for o in default_objectives(queries, soft=False)] == names[:-1]
    full = ObjectiveWeights(skin_angle=1, healthy_path=1, tumour_axis=1, bleeding=1, pneumothorax=2, robot=1)
    liver = queries.anatomy.surface("liver")
    objectives = default_objectives(queries, full, Asked(), lungs=(liver,))
    assert len(objectives) == 11 and len({o.name for o in objectives}) == 11
    assert {o.name: o.weight for o in objectives}["risk of pneumothorax"] == 2.0
    table = screen(made_table(), queries, default_constraints(queries))
    ranked = rank(table, queries, objectives)
    assert ranked.front[ranked.order()[0]] and len(ranked.objectives) == 11


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"healthy_path": 1.0}, "organ that holds the target"),
        ({"bleeding": 1.0}, "surface of a vessel"),
        ({"pneumothorax": 1.0}, "surface of lung"),
        ({"robot": 1.0}, "none was given"),
    ],
)
def test_a_weight_that_the_case_cannot_serve_is_refused(weights, words):
    with pytest.raises(OptionError, match=words):
        default_objectives(body(), ObjectiveWeights(**weights))


def test_soft_limits_alone_order_nothing():
    with pytest.raises(OptionError, match="one of them above zero"):
        ObjectiveWeights(length=0, clearance=0, capsule_angle=0, soft_limits=1.0)


def test_new_objectives_do_not_change_an_order_that_gives_them_no_weight():
    queries = made_queries()
    table = screen(made_table(), queries, default_constraints(queries))
    old = rank(table, queries, default_objectives(queries, soft=False))
    new = rank(table, queries, default_objectives(queries))
    np.testing.assert_array_equal(new.cost, old.cost)
    np.testing.assert_array_equal(new.front, old.front)
