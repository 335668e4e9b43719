"""Goals in their order, what limits a coverage, and fewer insertions than a lattice shows."""

import dataclasses

import numpy as np
import pytest
from made_cases import ball, made_case, queries_of, rotation
from made_matrices import ball_model

from needleplan.case.model import Role, Structure
from needleplan.coverage.ablations import choose_ablations
from needleplan.coverage.certificate import certify
from needleplan.coverage.cover import cover_target
from needleplan.coverage.integer_program import IntegerProgramSolver
from needleplan.coverage.matrix import build_coverage
from needleplan.coverage.options import CoverageOptions, ThermalMargins
from needleplan.coverage.protection import protect
from needleplan.plan import PlanStatus
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import PathLimits, default_constraints, screen
from needleplan.trajectory.search import SearchOptions

LIMITS = PathLimits(skin_angle_deg=80.0, table_angle_deg=180.0)
COARSE = CoverageOptions(margin_mm=3.0, point_count=1500, paths_per_aim=3, time_limit_s=10.0)


def paths_of(queries, model, applicator, aims=12):
    table = sample_trajectories(queries, model.catalogue.applicator(applicator), SamplingOptions(40.0, aims))
    table = screen(table, queries, default_constraints(queries, LIMITS))
    return rank(table, queries, default_objectives(queries))


@pytest.fixture(scope="module")
def long_target():
    """An oblique ellipsoid that one needle covers with several ablations drawn back, or two with one each."""
    mesh = ball((0, 0, 0), 1.0, 4, (8.0, 8.0, 26.0))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(9)
    queries = queries_of(made_case(mesh.moved(matrix), ball((0, 0, 0), 95.0, 4)))
    model = ball_model(17.0, sizes=(1.0, 0.85, 0.7))
    return queries, model, paths_of(queries, model, "ball")


def solved(case, **options):
    queries, model, table = case
    return cover_target(table, queries, model, dataclasses.replace(COARSE, **options))


def test_each_goal_states_value_bound_and_problem(long_target):
    covering = solved(long_target, levels="insertions, ablations, time, spared")
    levels = {level.level: level for level in covering.choice.levels}
    assert list(levels) == ["ablations", "time", "spared"]
    for level in levels.values():
        assert level.bound <= level.value + 1e-6 and level.problem
        assert not level.proven or level.bound == pytest.approx(level.value, rel=1e-3)
    ablations = [a for i in covering.insertions for a in i.ablations]
    assert levels["ablations"].value == len(ablations)
    assert levels["time"].value == pytest.approx(sum(a.duration_s for a in ablations) / 60.0)


def test_time_before_ablations_is_no_longer_and_takes_no_fewer(long_target):
    sparing = solved(long_target, levels="insertions, ablations")
    quick = solved(long_target, levels="insertions, time")

    def minutes(covering):
        return sum(a.duration_s for i in covering.insertions for a in i.ablations) / 60.0

    def number(covering):
        return sum(len(i.ablations) for i in covering.insertions)

    assert len(quick.insertions) == len(sparing.insertions)
    assert minutes(quick) <= minutes(sparing) + 1e-9 and number(quick) >= number(sparing)


def test_a_wanted_margin_is_gone_for_and_no_further(long_target):
    queries, model, _ = long_target
    least = []
    for wanted in (None, 4.5, 6.0):
        covering = solved(long_target, wanted_margin_mm=wanted)
        assert certify(queries, model.zone(covering.insertions), 3.0).covered
        margin = [level for level in covering.choice.levels if level.level == "margin"]
        assert bool(margin) == (wanted is not None)
        if margin:
            assert 3.0 <= margin[0].value <= margin[0].bound <= wanted + 1e-9
            assert certify(queries, model.zone(covering.insertions), margin[0].value).covered
            least.append(margin[0].value)
    assert least == sorted(least) and least[-1] > 3.0


def test_levels_left_out_are_not_pursued(long_target):
    assert [level.level for level in solved(long_target, levels="insertions").choice.levels] == []


def test_a_limit_on_healthy_tissue_is_kept_or_told():
    model = ball_model(24.0, sizes=(1.0, 0.8))
    organ = Structure("liver", Role.ORGAN, ball((0, 0, 0), 40.0, 4))
    queries = queries_of(made_case(ball((0, 0, 0), 12.0, 4), ball((0, 0, 0), 95.0, 4), organ))
    table = paths_of(queries, model, "ball", aims=1)
    organ_ml = 4 / 3 * np.pi * 40.0**3 / 1000
    for fraction in (0.7, 0.99):
        options = dataclasses.replace(COARSE, least_organ_fraction=fraction)
        covering = cover_target(table, queries, model, options)
        zone_ml = 4 / 3 * np.pi * 19.2**3 / 1000
        region_ml = 4 / 3 * np.pi * 15.0**3 / 1000
        fits = zone_ml - region_ml <= (1 - fraction) * organ_ml
        assert covering.choice.healthy_limit_kept == fits


def neighbour_case(gap_mm):
    """A target of 12 mm with a bowel of 15 mm beside it, obliquely."""
    axis = rotation(3)[:, 2]
    bowel = Structure("colon", Role.BOWEL, ball(tuple((12.0 + gap_mm + 15.0) * axis), 15.0, 4))
    return queries_of(made_case(ball((0, 0, 0), 12.0, 4), ball((0, 0, 0), 95.0, 4), bowel))


def planned_beside(gap_mm, margin_mm=3.0):
    options = PlanningOptions(
        applicator="ball",
        sampling=SamplingOptions(40.0, 12),
        search=SearchOptions(1, 0, 2000, 10),
        limits=dataclasses.replace(LIMITS, bowel_mm=2.0),
        coverage=dataclasses.replace(COARSE, margin_mm=margin_mm, maximum_insertions=4),
    )
    model = ball_model(18.0, sizes=(1.0, 0.9, 0.7))
    return make_plan(neighbour_case(gap_mm), options, zone_model=model), model


@pytest.mark.long
def test_a_structure_too_near_is_named_and_moving_it_as_far_as_told_is_enough():
    near, model = planned_beside(4.0)
    plan = near.plan
    assert plan.status is PlanStatus.PARTIAL
    (told,) = [item for item in plan.evidence if item.subject == "colon"]
    assert "thermal margin of 5 mm" in told.finding and "Hydrodissection" in told.remedy
    farther = float(told.remedy.split("moves colon ")[1].split(" mm")[0])
    assert farther > 0
    # What is planned keeps its distance all the same.
    queries = neighbour_case(4.0)
    assert protect(queries).slack_mm(model.zone(plan.insertions))[0] >= -1e-9
    moved, _ = planned_beside(4.0 + farther)
    assert moved.plan.status is PlanStatus.COMPLETE
    assert not [item for item in moved.plan.evidence if item.subject == "colon"]


def test_two_structures_that_forbid_the_same_are_named_together():
    axis = rotation(3)[:, 2]
    across = rotation(3)[:, 0]
    first = Structure("colon", Role.BOWEL, ball(tuple(31.0 * axis), 15.0, 4))
    second = Structure("stomach", Role.BOWEL, ball(tuple(31.0 * axis + 4.0 * across), 15.0, 4))
    queries = queries_of(made_case(ball((0, 0, 0), 12.0, 4), ball((0, 0, 0), 95.0, 4), first, second))
    model = ball_model(18.0, sizes=(1.0, 0.9, 0.7))
    options = PlanningOptions(
        applicator="ball",
        sampling=SamplingOptions(40.0, 12),
        search=SearchOptions(1, 0, 2000, 10),
        limits=dataclasses.replace(LIMITS, bowel_mm=2.0),
        coverage=COARSE,
        refine=False,
    )
    plan = make_plan(queries, options, zone_model=model).plan
    (told,) = [item for item in plan.evidence if "colon" in item.subject and "stomach" in item.subject]
    assert "colon" in told.remedy and "stomach" in told.remedy and "Hydrodissection" in told.remedy


def test_an_organ_that_must_remain_is_counted_in_the_plan_itself():
    model = ball_model(24.0, sizes=(1.0, 0.8, 0.65))
    liver = Structure("liver", Role.ORGAN, ball((0, 0, 0), 40.0, 4))
    queries = queries_of(made_case(ball((0, 0, 0), 12.0, 4), ball((0, 0, 0), 95.0, 4), liver))
    for fraction, status in ((0.9, PlanStatus.COMPLETE), (0.995, PlanStatus.PARTIAL)):
        for levels in ("insertions", "insertions, ablations, margin, spared"):
            options = PlanningOptions(
                applicator="ball",
                sampling=SamplingOptions(40.0, 6),
                search=SearchOptions(1, 0, 2000, 10),
                limits=LIMITS,
                coverage=dataclasses.replace(COARSE, least_organ_fraction=fraction, levels=levels),
            )
            plan = make_plan(queries, options, zone_model=model).plan
            (told,) = [item for item in plan.evidence if item.subject == "healthy organ"]
            assert plan.status is status, (fraction, levels, told)
            left = float(told.finding.split(" %")[0]) / 100.0
            lost_ml = plan.metrics.zone_ml - 4 / 3 * np.pi * 12.0**3 / 1000
            organ_ml = 4 / 3 * np.pi * (40.0**3 - 12.0**3) / 1000
            assert left == pytest.approx(1 - lost_ml / organ_ml, abs=0.01)


@pytest.mark.long
def test_a_bound_is_never_above_a_plan_that_is_complete(long_target):
    queries, model, _ = long_target
    options = PlanningOptions(
        applicator="ball",
        sampling=SamplingOptions(60.0, 2),
        search=SearchOptions(0, 0, 2000, 10),
        limits=LIMITS,
        coverage=COARSE,
    )
    plan = make_plan(queries, options, zone_model=model).plan
    if plan.status is PlanStatus.COMPLETE:
        assert plan.proof.lower_bound <= len(plan.insertions)
    limited = dataclasses.replace(
        options, coverage=dataclasses.replace(COARSE, margin_mm=9.0, maximum_insertions=1)
    )
    cut = make_plan(queries, limited, zone_model=model).plan
    assert cut.status is PlanStatus.PARTIAL and not cut.proof.levels[0].proven


def test_without_a_thermal_margin_the_structure_is_no_limit():
    options = PlanningOptions(
        applicator="ball",
        sampling=SamplingOptions(40.0, 12),
        search=SearchOptions(1, 0, 2000, 10),
        limits=dataclasses.replace(LIMITS, bowel_mm=2.0),
        coverage=COARSE,
        thermal=ThermalMargins(bowel_mm=None),
    )
    plan = make_plan(neighbour_case(4.0), options, zone_model=ball_model(18.0)).plan
    assert plan.status is PlanStatus.COMPLETE
    assert any("colon" in item.finding for item in plan.evidence if item.subject == "structures within the zone")


def test_what_is_chosen_covers_what_its_paths_can_with_protected_structures():
    queries = neighbour_case(6.0)
    model = ball_model(18.0, sizes=(1.0, 0.9, 0.7))
    protection = protect(queries)
    matrix = build_coverage(paths_of(queries, model, "ball"), queries, model, COARSE, protection=protection)
    assert any((part > 0).any() for part in matrix.allowed)
    selection = IntegerProgramSolver(10.0).solve(matrix, 6)
    choice = choose_ablations(matrix, selection, COARSE)
    for insertion in choice.insertions:
        for ablation in insertion.ablations:
            single = dataclasses.replace(insertion, tip_mm=ablation.tip_mm, ablations=(ablation,))
            assert protection.slack_mm(model.zone([single]))[0] >= -1e-9
    zone = model.zone(choice.insertions)
    held = zone.signed_distance_mm(matrix.region.points_mm) >= matrix.region.radius_mm - 1e-9
    wanted = matrix.path_covers[list(selection.paths)].any(axis=0)
    assert held[wanted].all()


def test_a_target_beyond_the_device_is_told_with_what_would_do():
    mesh = ball((0, 0, 0), 30.0, 4)
    queries = queries_of(made_case(mesh, ball((0, 0, 0), 95.0, 4)))
    options = PlanningOptions(
        applicator="generic-rfa-cooled-20",
        sampling=SamplingOptions(40.0, 12),
        search=SearchOptions(1, 0, 2000, 10),
        limits=LIMITS,
        coverage=dataclasses.replace(COARSE, maximum_insertions=2, time_limit_s=3.0),
        refine=False,
    )
    plan = make_plan(queries, options).plan
    assert plan.status is PlanStatus.PARTIAL and len(plan.insertions) <= 2
    told = " ".join(item.remedy for item in plan.evidence)
    assert "generic-mwa-2450" in told
    assert 0.0 < plan.metrics.margin_coverage_fraction < 1.0


@pytest.mark.long
@pytest.mark.parametrize(("count", "share", "points"), [(4, 0.9428, 600), (4, 0.9428, 2000)])
def test_known_covers_of_a_ball_are_found_two_per_cent_above_their_radius(count, share, points):
    # Least radius of four equal balls that cover the unit ball: no fewer can do below.
    queries = queries_of(made_case(ball((0, 0, 0), 20.0, 4), ball((0, 0, 0), 95.0, 4)))
    options = PlanningOptions(
        applicator="ball",
        sampling=SamplingOptions(40.0, 40),
        limits=PathLimits(skin_angle_deg=85.0, table_angle_deg=180.0),
        coverage=CoverageOptions(
            margin_mm=0.0, maximum_insertions=14, point_count=points, paths_per_aim=3, time_limit_s=20.0,
            needles_at_once=1,
        ),
    )  # fmt: skip
    model = ball_model(20.0 * share * 1.02)
    planning = make_plan(queries, options, zone_model=model)
    assert planning.plan.status is PlanStatus.COMPLETE
    assert sum(len(i.ablations) for i in planning.plan.insertions) == count
    rng = np.random.default_rng(1)
    points_mm = rng.normal(size=(100_000, 3))
    points_mm *= 20.0 * rng.uniform(0.9, 1.0, (100_000, 1)) / np.linalg.norm(points_mm, axis=1, keepdims=True)
    inside = queries.tree(queries.anatomy.target).contains(points_mm)
    assert model.zone(planning.plan.insertions).contains(points_mm[inside]).all()
