"""Balls for target and margin, choice of paths and ablations, and what is claimed about them."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from made_cases import ball, made_case, motion, queries_of, rotation
from made_matrices import ball_model, fewest, made_matrix
from scipy.spatial import cKDTree

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.coverage.ablations import choose_ablations
from needleplan.coverage.contract import PathSelection
from needleplan.coverage.integer_program import IntegerProgramSolver
from needleplan.coverage.matrix import build_coverage
from needleplan.coverage.offers import ablation_settings
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.region import target_region
from needleplan.errors import OptionError
from needleplan.plan import PlanStatus
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import PathLimits, default_constraints, screen


def dumbbell():
    """A solid of revolution with a waist: two balls of 12 mm, 16 mm to each side, joined by a neck of 4 mm."""
    base = ball(radius=1.0, subdivisions=5)
    z = base.vertices_mm[:, 2] * 28.0
    profile = np.maximum(np.sqrt(np.maximum(144 - (np.abs(z) - 16) ** 2, 0.0)), np.where(np.abs(z) < 16, 4.0, 0.0))
    across = base.vertices_mm[:, :2]
    length = np.linalg.norm(across, axis=1, keepdims=True)
    unit = np.divide(across, length, out=np.zeros_like(across), where=length > 1e-12)
    return SurfaceMesh(np.concatenate([unit * profile[:, None], z[:, None]], axis=1), base.faces).moved(motion(5))


TARGETS = {
    "ball": lambda: ball((10, 20, -30), 12.0, 4),
    "oblique ellipsoid": lambda: ball((0, 0, 0), 1.0, 4, (7, 11, 18)).moved(motion(8)),
    "dumbbell": dumbbell,
}


def with_target(mesh, **options):
    middle = mesh.vertices_mm.mean(axis=0)
    return queries_of(made_case(mesh, ball(middle, 90.0, 4), **options))


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(("margin_mm", "count"), [(0.0, 1500), (5.0, 800), (5.0, 6000)])
def test_balls_leave_no_gap_and_their_middles_lie_in_the_region(name, margin_mm, count):
    queries = with_target(TARGETS[name]())
    mesh = queries.anatomy.target.mesh
    region = target_region(queries, margin_mm, count)
    rng = np.random.default_rng(0)
    low, high = mesh.bounds_mm
    points = rng.uniform(low - margin_mm, high + margin_mm, (60_000, 3))
    # Points of the region close to its boundary as well: the surface moved outward by nearly the margin.
    faces = rng.integers(0, len(mesh.faces), 20_000)
    weights = rng.dirichlet([1, 1, 1], 20_000)
    rim = np.einsum("nk,nkx->nx", weights, mesh.triangles_mm[faces])
    rim = rim + mesh.face_normals[faces] * (margin_mm - 1e-3)
    points = np.concatenate([points, rim])
    distance = queries.distance(queries.anatomy.target)
    points = points[distance.signed_distance_mm(points) <= margin_mm - 5e-4]
    assert len(points) > 10_000
    centres, radii = region.points_mm, region.radius_mm
    assert distance.signed_distance_mm(centres).max() <= margin_mm + 2e-3
    tree = cKDTree(centres)
    held = np.zeros(len(points), dtype=bool)
    for k in (8, 60, 400):
        rest = np.flatnonzero(~held)
        if not len(rest):
            break
        gap, which = tree.query(points[rest], k=min(k, len(centres)))
        held[rest] = (gap <= np.append(radii, 0.0)[np.minimum(which, len(radii))] + 1e-9).any(axis=1)
    assert held.all()


@pytest.mark.parametrize("margin_mm", [0.0, 4.0])
def test_region_of_a_ball_has_its_volume(margin_mm):
    region = target_region(with_target(ball((3, 4, 5), 12.0, 5)), margin_mm, 8000)
    assert region.volume_ml == pytest.approx(4 / 3 * np.pi * (12 + margin_mm) ** 3 / 1000, rel=0.01)


def test_impossible_margins_are_refused():
    queries = with_target(ball())
    for margin in (-1.0, 51.0, float("nan")):
        with pytest.raises(OptionError, match="margin must be between"):
            target_region(queries, margin, 500)


def plan_ball(target_radius, zone_radius, maximum, points=600):
    queries = with_target(ball((0, 0, 0), target_radius, 4))
    options = PlanningOptions(
        applicator="ball",
        sampling=SamplingOptions(entry_spacing_mm=40.0, aim_count=40),
        limits=PathLimits(skin_angle_deg=85.0, table_angle_deg=180.0),
        coverage=CoverageOptions(
            margin_mm=0.0, maximum_insertions=maximum, point_count=points, paths_per_aim=3, time_limit_s=1.5
        ),
    )
    return make_plan(queries, options, zone_model=ball_model(zone_radius)), queries


# Least radius of k equal balls that cover the unit ball; k ablations can do no better.
COVERING = {1: 1.0, 2: 1.0, 3: 1.0, 4: 0.9428, 5: 0.8944, 6: 0.8165}


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 4, 6])
def test_too_few_zones_are_never_called_complete(count):
    planning, _ = plan_ball(20.0, 20.0 * 0.98 * COVERING[count], count)
    plan = planning.plan
    ablations = sum(len(i.ablations) for i in plan.insertions)
    assert plan.status is not PlanStatus.COMPLETE or ablations > count
    assert plan.evidence and all(item.finding for item in plan.evidence)


def test_one_zone_a_little_larger_than_the_target_is_enough():
    planning, _ = plan_ball(20.0, 21.5, 4, points=8000)
    plan = planning.plan
    assert plan.status is PlanStatus.COMPLETE
    assert len(plan.insertions) == 1 and len(plan.insertions[0].ablations) == 1
    assert plan.proof.lower_bound == 1 and plan.proof.gap == 0
    # Closed form: the least margin is the zone's radius less target radius and offset of the middles.
    zone = planning.zone_model.zone(plan.insertions)
    offset = np.linalg.norm(zone.centres_mm[0])
    assert plan.metrics.minimal_margin_mm == pytest.approx(21.5 - 20.0 - offset, abs=0.15)
    assert plan.metrics.zone_ml == pytest.approx(4 / 3 * np.pi * 21.5**3 / 1000, rel=0.01)
    assert plan.metrics.over_ablation_ml == pytest.approx(4 / 3 * np.pi * (21.5**3 - 20**3) / 1000, rel=0.05)


@pytest.mark.long
@pytest.mark.parametrize("share", [1.0, 0.9])
def test_every_point_of_a_complete_plan_lies_in_a_zone(share):
    planning, queries = plan_ball(20.0, 20.0 * share, 14, points=2000)
    assert planning.plan.status is PlanStatus.COMPLETE
    zone = planning.zone_model.zone(planning.plan.insertions)
    rng = np.random.default_rng(1)
    points = rng.normal(size=(200_000, 3))
    points *= 20.0 * rng.uniform(0, 1, (200_000, 1)) ** (1 / 6) / np.linalg.norm(points, axis=1, keepdims=True)
    inside = queries.tree(queries.anatomy.target).contains(points)
    assert zone.contains(points[inside]).all()
    assert planning.plan.metrics.target_coverage_fraction == 1.0
    assert planning.plan.metrics.minimal_margin_mm >= -planning.plan.metrics.margin_error_bound_mm


def test_a_zone_too_small_for_any_ball_ends_with_evidence():
    planning, _ = plan_ball(20.0, 0.4, 4, points=300)
    assert planning.plan.status is PlanStatus.INFEASIBLE
    assert planning.plan.insertions == () and planning.plan.metrics is None
    assert planning.plan.evidence[0].subject == "zone size" and planning.plan.evidence[0].remedy


def test_rows_generated_on_demand_reach_the_optimum_of_many_points():
    rng = np.random.default_rng(3)
    covers = rng.uniform(size=(14, 4000)) < 0.55
    matrix = made_matrix(covers, np.sort(rng.uniform(0.1, 2, 14)))
    answer = IntegerProgramSolver(20.0).solve(matrix, 14)
    count, least = fewest(covers, matrix.path_cost)
    assert (len(answer.paths), answer.status) == (count, "optimal")
    assert matrix.path_cost[list(answer.paths)].sum() == pytest.approx(least)


def real_matrix(model=None, applicator="generic-mwa-2450", aim_count=20, **options):
    queries = with_target(ball((0, 0, 0), 16.0, 3))
    model = model or EllipsoidTableModel()
    limits = PathLimits(skin_angle_deg=80, table_angle_deg=180)
    table = sample_trajectories(queries, model.catalogue.applicator(applicator), SamplingOptions(30.0, aim_count))
    table = rank(screen(table, queries, default_constraints(queries, limits)), queries, default_objectives(queries))
    chosen = CoverageOptions(**{"margin_mm": 2.0, "point_count": 1500, "paths_per_aim": 4, **options})
    return build_coverage(table, queries, model, chosen), queries, chosen


def test_matrix_says_what_the_zones_say():
    matrix, queries, options = real_matrix()
    rng = np.random.default_rng(0)
    target = queries.tree(queries.anatomy.target)
    for path in rng.integers(0, len(matrix.table), 12).tolist():
        largest = [i for i in matrix.single_ablations(path) if i.ablations[0].power_w == matrix.menu.settings[0][0]]
        largest = [i for i in largest if i.ablations[0].duration_s == matrix.menu.settings[0][1]]
        assert len(largest) == len(matrix.tips_mm[path])
        depth = [matrix.zone_model.zone([i]).signed_distance_mm(matrix.region.points_mm) for i in largest]
        expected = (np.array(depth) >= matrix.region.radius_mm).any(axis=0)
        np.testing.assert_array_equal(matrix.path_covers[path], expected)
        middles = matrix.tips_mm[path] - matrix.table.applicator.tip_to_centre_mm * matrix.table.direction[path]
        assert target.contains(middles[:-1]).all()
        np.testing.assert_allclose(matrix.tips_mm[path][0], matrix.table.tip_mm[path])
    assert matrix.candidate_count == sum(len(matrix.single_ablations(p)) for p in range(len(matrix.table)))
    direction = matrix.table.direction
    same = np.linalg.norm(matrix.table.aim_mm[:, None] - matrix.table.aim_mm[None], axis=2) < 1e-6
    cosine = (direction @ direction.T)[same & ~np.eye(len(direction), dtype=bool)]
    assert cosine.max() <= np.cos(np.radians(options.path_separation_deg)) + 1e-12
    assert (np.diff(matrix.path_cost) >= -1e-9).all()


def test_settings_are_nested_and_largest_first():
    table = EllipsoidTableModel().table("generic-mwa-2450")
    chosen = ablation_settings(table, 6)
    sizes = [table.size(*setting) for setting in chosen]
    assert 2 <= len(chosen) <= 6
    volumes = [table.size(float(p), float(t)).volume_ml for p in table.powers_w for t in table.durations_s]
    assert sizes[0].volume_ml == pytest.approx(max(volumes))
    for larger, smaller in pairwise(sizes):
        assert smaller.diameter_mm < larger.diameter_mm and smaller.axial_length_mm <= larger.axial_length_mm
    assert len(ablation_settings(table, 1)) == 1


@pytest.mark.long
def test_ablations_cover_all_that_their_paths_can():
    matrix, _, _ = real_matrix(margin_mm=6.0)
    selection = IntegerProgramSolver(10.0).solve(matrix, 3)
    choice = choose_ablations(matrix, selection, CoverageOptions(time_limit_s=10.0))
    points, radii = matrix.region.points_mm, matrix.region.radius_mm
    wanted = matrix.path_covers[list(selection.paths)].any(axis=0)
    singles = [
        dataclasses.replace(i, ablations=(a,), tip_mm=a.tip_mm) for i in choice.insertions for a in i.ablations
    ]
    depth = np.array([matrix.zone_model.zone([s]).signed_distance_mm(points) for s in singles])
    np.testing.assert_array_equal((depth >= radii).any(axis=0), wanted)
    for insertion in choice.insertions:
        reach = [np.linalg.norm(np.subtract(a.tip_mm, insertion.entry_mm)) for a in insertion.ablations]
        assert reach == sorted(reach, reverse=True) and len(set(reach)) == len(reach)
        assert insertion.depth_mm == pytest.approx(reach[0])
        for ablation in insertion.ablations:
            off = np.cross(np.subtract(ablation.tip_mm, insertion.entry_mm), insertion.direction)
            assert np.linalg.norm(off) < 1e-9


def test_the_smallest_sufficient_ablation_is_chosen():
    model = ball_model(30.0, sizes=(1.0, 0.8, 0.66))
    matrix, _, _ = real_matrix(model, "ball", aim_count=1, margin_mm=0.0)
    selection = IntegerProgramSolver(10.0).solve(matrix, 3)
    choice = choose_ablations(matrix, selection, CoverageOptions(time_limit_s=10.0))
    assert len(choice.insertions) == 1 and choice.proven
    # Radii of 30, 24 and 19.8 mm hold the balls of a target of 16 mm; the smallest is the shortest here.
    assert choice.insertions[0].ablations[0].duration_s == 60.0


def test_no_selected_path_gives_no_insertion():
    matrix, _, _ = real_matrix()
    none = PathSelection((), "none", "limited", 1.0, np.flatnonzero(matrix.coverable))
    assert choose_ablations(matrix, none, CoverageOptions()).insertions == ()


def test_impossible_options_are_refused():
    for options in (
        {"maximum_insertions": 0},
        {"pull_back_mm": 0.0},
        {"time_limit_s": float("nan")},
        {"path_separation_deg": -1.0},
        {"point_count": 0},
    ):
        with pytest.raises(OptionError):
            CoverageOptions(**options)
    with pytest.raises(OptionError):
        IntegerProgramSolver(0.0)
    assert rotation().shape == (3, 3)
