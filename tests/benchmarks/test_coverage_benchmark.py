"""What the benchmark of coverage measures with: known radii, checks of claims, small problems, solvers, a table."""

import builtins
import dataclasses
import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from coverage_balls import (
    CAP_ANGLES_DEG,
    FOUND,
    POINT_COUNTS,
    TARGET_RADIUS_MM,
    BallPlan,
    ball_queries,
    ball_zones,
    least_radius,
    plan_ball,
    uncovered_points,
    zone_middles_mm,
)
from coverage_cases import TimedPlan, ball_in_liver, stage_medians_s
from coverage_cohort import BEGIN, END, CohortRow, kept_rows, table_of, with_table, write_cohort
from coverage_peers import Solved, make_solvers, timed
from coverage_problems import GivenCover, ball_by_balls, enumerated, random_cover
from coverage_pulses import PulseGroups, UnionZone
from coverage_rows import BallRows, liver_rows, random_rows
from made_cases import ball, box, made_case
from made_matrices import fewest
from rows import check_rows
from scipy.spatial import ConvexHull

from needleplan.ablation.cassini import CassiniModel
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.anatomy.build import build_anatomy
from needleplan.case.model import Role, Structure
from needleplan.errors import PhysicsError
from needleplan.plan import Ablation, Insertion, PlanStatus

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def cap_angle_deg(points):
    """Least angular radius of caps about points that cover the sphere: the hull's nearest face decides."""
    return np.degrees(np.arccos(-ConvexHull(points).equations[:, 3].max()))


def ring(count, height=0.0):
    angle = 2 * np.pi * np.arange(count) / count
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(angle), across * np.sin(angle), np.full(count, height)], axis=1)


POLES = np.array([[0, 0, 1.0], [0, 0, -1]])
GOLDEN = (1 + np.sqrt(5)) / 2
ARRANGED = {
    4: np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]),
    5: np.concatenate([POLES, ring(3)]),
    6: np.concatenate([POLES, ring(4)]),
    7: np.concatenate([POLES, ring(5)]),
    12: np.array([np.roll((0, s, t * GOLDEN), k) for s in (1, -1) for t in (1, -1) for k in range(3)]),
}


@pytest.mark.parametrize("count", ARRANGED)
def test_known_angles_are_those_of_known_arrangements(count):
    points = ARRANGED[count] / np.linalg.norm(ARRANGED[count], axis=1, keepdims=True)
    assert cap_angle_deg(points) == pytest.approx(CAP_ANGLES_DEG[count], abs=1e-6)


def test_known_angles_keep_the_bound_of_fejes_toth_and_fall():
    counts = sorted(CAP_ANGLES_DEG)
    for count in counts[2:]:
        bound = np.degrees(np.arccos(1 / np.tan(count * np.pi / (6 * (count - 2))) / np.sqrt(3)))
        # The bound is met where all faces are equal triangles.
        assert CAP_ANGLES_DEG[count] >= bound - 1e-6
        assert (CAP_ANGLES_DEG[count] - bound < 1e-6) == (count in (4, 6, 12))
    angles = [CAP_ANGLES_DEG[count] for count in counts]
    assert (np.diff(angles) <= 0).all()
    assert all(CAP_ANGLES_DEG[count] >= 45 for count in FOUND)


@pytest.mark.parametrize("count", [4, 5, 6, 7])
def test_balls_of_the_least_radius_cover_and_smaller_ones_do_not(count):
    queries = ball_queries(3)
    middle = queries.anatomy.target.mesh.vertices_mm.mean(axis=0)
    angle = np.radians(CAP_ANGLES_DEG[count])
    points = ARRANGED[count] / np.linalg.norm(ARRANGED[count], axis=1, keepdims=True)
    middles = middle + TARGET_RADIUS_MM * np.cos(angle) * points
    radius = TARGET_RADIUS_MM * least_radius(count)
    assert uncovered_points(queries, middles, radius + 1e-3, 40_000) == 0
    assert uncovered_points(queries, middles, 0.98 * radius, 40_000) > 0
    assert uncovered_points(queries, middles[1:], radius, 40_000) > 100


@pytest.fixture(scope="module")
def covered_ball():
    return plan_ball(ball_queries(4), 1, 1.15, 1000, aims=8, time_limit_s=1.0)


def test_one_ball_larger_than_the_target_is_found_and_checked(covered_ball):
    assert covered_ball.claimed and covered_ball.zones == 1 and covered_ball.uncovered == 0
    # The middles come from entry and tip alone; the model's own are elsewhere in the code.
    zone = ball_zones(1.15 * TARGET_RADIUS_MM).zone(covered_ball.plan.insertions)
    np.testing.assert_allclose(zone_middles_mm(covered_ball.plan), zone.centres_mm, atol=1e-9)


def test_every_kind_of_false_claim_is_counted(covered_ball):
    sound = dataclasses.replace(covered_ball, count=4, share=1.02 * least_radius(4), zones=4)
    assert sound.possible and sound.found and not sound.unsound
    impossible = dataclasses.replace(sound, share=0.98 * least_radius(4))
    assert not impossible.possible and impossible.unsound
    assert not dataclasses.replace(impossible, claimed=False).unsound
    # More zones than were allowed are no claim about the allowed number.
    assert not dataclasses.replace(impossible, zones=5).unsound
    gap = dataclasses.replace(sound, uncovered=1)
    assert gap.unsound and not gap.found
    proof = dataclasses.replace(sound.plan.proof, lower_bound=5.0)
    bound = dataclasses.replace(sound, plan=dataclasses.replace(sound.plan, proof=proof))
    assert bound.unsound
    assert isinstance(sound, BallPlan) and covered_ball.plan.status is PlanStatus.COMPLETE


def test_ball_by_balls_has_the_stated_size_and_truth():
    problem = ball_by_balls(0.75)
    assert problem.path_covers.shape == (257, 4169)
    assert np.linalg.norm(problem.region.points_mm, axis=1).max() <= 1.0
    # The middle one covers all points within its radius and no other.
    inner = np.linalg.norm(problem.region.points_mm, axis=1) <= 0.75 + 1e-9
    central = np.flatnonzero((problem.path_covers == inner).all(axis=1))
    assert len(central) == 1 and problem.coverable.all()


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 7, 11])
def test_enumeration_agrees_with_another_one(seed):
    problem = random_cover(seed)
    truth = enumerated(problem, 2)
    expected = fewest(problem.path_covers, problem.path_cost, problem.added_insertions, problem.conflicts)
    assert truth.insertions == expected[0]
    if np.isfinite(expected[0]):
        assert truth.cost == pytest.approx(expected[1])
    best = 0.0
    for size in range(4):
        for choice in combinations(range(len(problem.path_covers)), size):
            if problem.insertions_of(choice) <= 2 and not problem.has_conflict(choice):
                best = max(best, problem.value_of(choice))
    assert truth.worth == pytest.approx(best)


def test_random_problems_differ_and_some_have_no_cover():
    problems = [random_cover(seed) for seed in range(40)]
    optima = [enumerated(problem, 2).insertions for problem in problems]
    assert np.isinf(optima).any() and len({value for value in optima if np.isfinite(value)}) > 2
    assert any((problem.added_insertions == 0).any() for problem in problems)
    assert any(problem.conflicts is None for problem in problems)


@pytest.fixture(scope="module")
def small_problem():
    problem = ball_by_balls(0.9)
    rows = np.random.default_rng(0).choice(4169, 300, replace=False)
    columns = np.arange(0, 257, 3)
    region = problem.region.part(np.isin(np.arange(4169), rows))
    ones = np.ones(len(columns))
    return GivenCover(region, problem.path_covers[columns][:, np.sort(rows)], ones, ones, None)


def test_solvers_agree_on_a_small_ball(small_problem):
    solvers, missing = make_solvers()
    assert all(sentence.startswith("ortools") for sentence in missing)
    answers = {solver.name: timed(solver, small_problem, 10.0)[0] for solver in solvers}
    exact = answers["needleplan HiGHS"]
    assert exact.gap == 0 and len(exact.chosen) == len(answers["scipy milp"].chosen) == exact.bound
    for answer in answers.values():
        assert answer.bound <= len(exact.chosen) <= len(answer.chosen)


def test_a_cover_that_is_none_is_refused(small_problem):
    solvers, _ = make_solvers()
    liar = dataclasses.replace(solvers[0], solve=lambda problem, limit: Solved((0,), 1.0))
    with pytest.raises(ValueError, match="leaves"):
        timed(liar, small_problem, 1.0)
    assert Solved(None, 3.0).gap == 1.0 and Solved((1, 2, 3, 4), 3.0).gap == 0.25


def test_a_missing_solver_is_left_out_with_a_sentence(monkeypatch):
    real_import = builtins.__import__

    def without(name, *others, **more):
        if name.startswith("ortools"):
            raise ImportError(f"No module named {name!r}")
        return real_import(name, *others, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    solvers, missing = make_solvers()
    assert solvers[0].name == "needleplan HiGHS" and "CP-SAT" not in str(solvers)
    assert len(missing) == 1 and "not installed" in missing[0]


def test_the_ball_takes_the_place_of_the_target_and_nothing_else_moves():
    rib = Structure("rib", Role.BONE, box((40, -5, -5), (50, 5, 5)))
    case = made_case(ball((7, -9, 4), 11.0, 3, (1.0, 1.4, 0.8)), ball((0, 0, 0), 80.0, 3), rib)
    changed = ball_in_liver(case, 30.0)
    mesh = build_anatomy(changed).target.mesh
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices_mm - (7, -9, 4), axis=1), 15.0, atol=1e-6)
    assert changed.structures[1:] == case.structures[1:] and changed.name != case.name


def test_stages_add_up_to_the_whole(covered_ball):
    one = TimedPlan(covered_ball.plan, 100.0, 90.0)
    assert sum(one.stages_s.values()) == pytest.approx(100.0) and one.proven
    other = TimedPlan(covered_ball.plan, 50.0, 45.0)
    assert stage_medians_s([one, other, other])["between the stages"] == other.stages_s["between the stages"]
    partial = dataclasses.replace(covered_ball.plan, status=PlanStatus.PARTIAL)
    assert not TimedPlan(partial, 1.0, 1.0).proven


def test_rows_of_the_liver_state_times_limits_and_proof(covered_ball):
    runs = [TimedPlan(covered_ball.plan, seconds, 9.0) for seconds in (40.0, 10.0, 12.0)]
    rows = {row.name: row for row in liver_rows({"liver_30mm_proven": runs, "other": runs[:1]}, {"other": runs[0]})}
    assert (rows["liver_30mm_proven_s"].value, rows["liver_30mm_proven_s"].peer_value) == (12.0, 15.0)
    assert rows["other_s"].peer_name is None and rows["other_first_s"].value == 40.0
    assert rows["other: insertions"].value == rows["other: lower bound"].value == 1
    assert rows["other: gap"].value == 0 and rows["other: proven fewest"].value == 1
    check_rows([dataclasses.asdict(row) for row in rows.values()])


def test_rows_of_balls_count_what_was_found_and_claimed(covered_ball):
    balls = BallRows()
    sound = dataclasses.replace(covered_ball, count=4, share=1.02 * least_radius(4), zones=4)
    balls.above = [sound, dataclasses.replace(sound, points=4000), dataclasses.replace(sound, zones=5)]
    balls.below = [dataclasses.replace(sound, share=0.9)]
    rows = {row.name: row for row in balls.rows()}
    assert (rows["unsound_claims"].value, rows["unsound_claims"].peer_value) == (1, 4)
    assert (rows["found_2_percent_above"].value, rows["found_2_percent_above"].peer_value) == (2, 3)
    assert rows["found_2_percent_above, 1000 points"].ratio == 0.5


def test_claims_about_small_problems_are_held_against_enumeration(monkeypatch):
    rows = {row.name: row for row in random_rows(12)}
    assert rows["optimality_misses"].value == 0 and rows["optimality_misses"].peer_value == 12
    assert 0 <= rows["random problems: mean gap of local search"].value
    real = random_rows.__globals__["enumerated"]
    wrong = lambda problem, allowed: dataclasses.replace(real(problem, allowed), insertions=99.0, worth=1e9)  # noqa: E731
    monkeypatch.setitem(random_rows.__globals__, "enumerated", wrong)
    assert random_rows(12)[0].value == 12


def test_a_union_of_zones_is_that_of_its_parts():
    rng = np.random.default_rng(2)
    spheres = [SpheroidUnion([c], [(0, 0, 1)], [r], [r]) for c, r in (((0, 0, 0), 9.0), ((8, 3, -5), 6.0))]
    union, points = UnionZone(spheres), rng.uniform(-20, 20, (500, 3))
    inside = (np.linalg.norm(points, axis=1) <= 9) | (np.linalg.norm(points - (8, 3, -5), axis=1) <= 6)
    np.testing.assert_array_equal(union.contains(points), inside)
    np.testing.assert_allclose(union.bounds_mm, [[-9, -9, -11], [14, 9, 9]])
    assert len(union.surfaces()) == 2 and union.margin_error_mm > 0


def test_groups_of_electrodes_are_pulsed_apart():
    def electrode(x, y):
        tip = (float(x), float(y), 0.0)
        return Insertion((tip[0], tip[1], 90.0), tip, "generic-ire-19g-20", (Ablation(tip, None, 60.0),))

    first, second = [electrode(0, 0), electrode(15, 0)], [electrode(60, 4), electrode(60, 19)]
    zone = PulseGroups([2, 2]).zone([*first, *second])
    rng = np.random.default_rng(4)
    points = rng.uniform((-15, -15, -15), (75, 35, 35), (4000, 3))
    parts = [CassiniModel().zone(group).contains(points) for group in (first, second)]
    np.testing.assert_array_equal(zone.contains(points), parts[0] | parts[1])
    assert all(part.any() for part in parts)
    # Electrodes that stand too far apart are refused, or destroy nothing, as it is asked.
    apart = [electrode(0, 0), electrode(40, 0)]
    with pytest.raises(PhysicsError, match="apart"):
        PulseGroups([2]).zone(apart)
    assert not PulseGroups([2], refused_is_nothing=True).zone(apart).contains(points).any()
    assert (
        PulseGroups([2, 2], refused_is_nothing=True).zone([*apart, *second]).contains(points).sum()
        == parts[1].sum()
    )
    # A tip that a scenario puts beside its needle counts at its depth along it.
    beside = Ablation((0.4, -0.3, 12.0), None, 60.0)
    bent = dataclasses.replace(first[0], ablations=(*first[0].ablations, beside))
    along = dataclasses.replace(first[0], ablations=(*first[0].ablations, Ablation((0.0, 0.0, 12.0), None, 60.0)))
    second_round = dataclasses.replace(
        first[1], ablations=(*first[1].ablations, Ablation((15.0, 0.0, 12.0), None, 60.0))
    )
    np.testing.assert_array_equal(
        PulseGroups([2]).zone([bent, second_round]).contains(points),
        CassiniModel().zone([along, second_round]).contains(points),
    )


ROWS = [
    CohortRow(
        2, 10.1, "RFA", "complete", 4, 6, 3.0, 1.0, 1.0, 5.1, (0.98, 0.96, 0.99), (0.4, 0.3, 0.5), 33.0, 20.0
    ),
    CohortRow(1, 84.2, "IRE", "refused: no electrodes"),
    CohortRow(1, 84.2, "MWA", "partial", 3, 3, None, 0.99, 0.97, -1.0, None, None, 50.0, 31.0),
]


def test_the_table_stands_between_its_marks_in_order(tmp_path):
    table = table_of(ROWS)
    lines = table.splitlines()
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 5
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["MWA", "IRE", "RFA"]
    assert "4 (3)" in lines[4] and "98 % (96-99)" in lines[4] and "3 (unknown)" in lines[2]
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_table(page, table) == f"before\n{BEGIN}\n{table}\n{END}\nafter\n"
    for wrong in ("no marks", f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"):
        with pytest.raises(ValueError, match="once each"):
            with_table(wrong, table)


def test_rows_of_other_modalities_are_kept(tmp_path):
    path = tmp_path / "cohort.json"
    assert kept_rows(path, ["MWA"], [1]) == []
    write_cohort(path, ROWS)
    assert kept_rows(path, ["MWA", "RFA"], [1]) == ROWS[:2]
    assert kept_rows(path, ["MWA", "RFA"], [1, 2]) == ROWS[1:2]
    assert kept_rows(path, [], [1, 2]) == kept_rows(path, ["MWA"], []) == ROWS


def test_the_script_is_not_taken_for_the_package_of_its_name():
    """numba imports a package ``coverage`` where there is one, and the script lies on the path of its own run."""
    command = [sys.executable, "-c", "import numba.misc.coverage_support as s; print(s.coverage_available)"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=BENCHMARKS, timeout=60, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.long
def test_the_coverage_gives_a_row_for_every_figure_and_solver(tmp_path):
    path = tmp_path / "coverage.json"
    command = [sys.executable, str(BENCHMARKS / "coverage.py"), "--json", str(path), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row.name: row for row in check_rows(json.loads(path.read_text(encoding="utf-8")))}
    assert rows["unsound_claims"].value == rows["optimality_misses"].value == 0
    assert rows["found_2_percent_above"].value <= rows["found_2_percent_above"].peer_value
    assert any("scipy milp" in name for name in rows) and len(POINT_COUNTS) == 2
