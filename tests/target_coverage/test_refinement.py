"""Refined plans: optima known in closed form, limits never broken, the same plan however it is given."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import ball, box, made_case, motion, queries_of, rotation

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.surface_points import surface_points
from needleplan.assess import SURFACE_SPACING_MM
from needleplan.case.model import Role, Structure
from needleplan.coverage.refinement import RefinementOptions, refine
from needleplan.coverage.refinement_checks import PathChecks
from needleplan.coverage.refinement_moves import PlanMoves
from needleplan.coverage.refinement_program import Program, solve_program
from needleplan.devices.catalogue import Applicator, DeviceCatalogue, ZoneRow
from needleplan.errors import OptionError, PhysicsError
from needleplan.plan import Ablation, Insertion, vector3
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.placed_needle import segment_to_segments_mm
from needleplan.trajectory.screening import default_constraints

BEHIND_MM = 7.0
TURNED = rotation(11)
SKIN_MM = 85.0


def model(*sizes, power_w=None):
    """A table of one applicator: (time, length, diameter) of each row, the same at each power."""
    applicator = Applicator("probe", "MWA", "made", 2.0, 150.0, 20.0, BEHIND_MM, False, "made")
    powers = (None,) if power_w is None else power_w
    rows = [
        ZoneRow("probe", "in_vivo", power, time_s, length, width, "made", "made", "COMPUTED", "high", "liver")
        for power in powers
        for time_s, length, width in sizes
    ]
    return EllipsoidTableModel(DeviceCatalogue((applicator,), tuple(rows)))


BALL_36 = model((300.0, 36.0, 36.0))
GROWING = model((60.0, 24.0, 18.0), (600.0, 40.0, 34.0))


def needle(queries, middle, direction, *pull_back_mm, time_s=300.0, power_w=None):
    """A needle whose deepest zone lies about a point, with further ablations behind it."""
    direction = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    tip = np.asarray(middle) + BEHIND_MM * direction
    found = queries.tree(queries.anatomy.entry).crossings(tip[None], (tip - 400.0 * direction)[None])
    entry = tip - 400.0 * found.parameter[0, 0] * direction
    ablations = tuple(Ablation(vector3(tip - back * direction), power_w, time_s) for back in (0.0, *pull_back_mm))
    return Insertion(vector3(entry), vector3(tip), "probe", ablations)


def elongated(queries_only=True, long_mm=20.0, wide_mm=11.0, others=()):
    """A prolate target whose axis is oblique to everything."""
    mesh = ball((0, 0, 0), 1.0, 3, (wide_mm, wide_mm, long_mm))
    target = SurfaceMesh(mesh.vertices_mm @ TURNED.T, mesh.faces)
    case = made_case(target, ball((0, 0, 0), SKIN_MM, 3), *others)
    return queries_of(case) if queries_only else case


def least_margin(queries, insertions, zone_model):
    points, _ = surface_points(queries.anatomy.target.mesh, SURFACE_SPACING_MM)
    return zone_model.zone(insertions).least_margin_mm(points)


def centres(insertions, zone_model):
    return zone_model.zone(insertions).centres_mm


def shaft_gap(insertions):
    """Least distance between the surfaces of 2 mm shafts inside the body."""
    gaps = [np.inf]
    for k, one in enumerate(insertions):
        for other in insertions[k + 1 :]:
            ends = [np.array([p]) for p in (other.tip_mm, other.entry_mm)]
            gaps.append(segment_to_segments_mm(np.array(one.tip_mm), np.array(one.entry_mm), *ends)[0][0] - 2.0)
    return float(min(gaps))


@pytest.fixture(scope="module")
def round_target():
    return queries_of(made_case(ball((4, -3, 6), 10.0, 3), ball((0, 0, 0), SKIN_MM, 3)))


@pytest.fixture(scope="module")
def long_target():
    return elongated()


@pytest.mark.parametrize("start", range(4))
def test_one_ball_comes_to_lie_about_the_middle_of_a_round_target(round_target, start):
    rng = np.random.default_rng(start)
    middle = np.array([4, -3, 6]) + rng.uniform(-8, 8, 3)
    given_plan = [needle(round_target, middle, np.add(rng.normal(size=3), [0, 2, 0]))]
    found = refine(given_plan, round_target, BALL_36, [], RefinementOptions(wanted_margin_mm=20.0))
    assert found.improved and found.margin_before_mm < 7.0
    assert found.margin_after_mm == pytest.approx(18.0 - 10.0, abs=0.05)
    np.testing.assert_allclose(centres(found.insertions, BALL_36), [[4, -3, 6]], atol=0.05)
    assert found.margin_after_mm == pytest.approx(least_margin(round_target, found.insertions, BALL_36), abs=1e-9)


def test_two_balls_lie_evenly_along_the_axis_of_an_oblique_target(long_target):
    axis = TURNED[:, 2]
    points, _ = surface_points(long_target.anatomy.target.mesh, SURFACE_SPACING_MM)
    apart = np.arange(4.0, 16.0, 0.05)
    best = max(
        min(18.0 - np.minimum(*(np.linalg.norm(points - s * half * axis, axis=1) for s in (-1, 1))).max(), 99.0)
        for half in apart
    )
    given_plan = [
        needle(long_target, -4 * axis + [3, 1, 2], TURNED @ [0.3, 1, 0.4]),
        needle(long_target, 12 * axis + [-2, 2, -1], TURNED @ [-0.2, 1, -0.1]),
    ]
    found = refine(given_plan, long_target, BALL_36, [], RefinementOptions(wanted_margin_mm=20.0))
    middles = centres(found.insertions, BALL_36)
    assert found.margin_after_mm >= best - 0.05
    np.testing.assert_allclose(middles.sum(axis=0), 0.0, atol=0.3)
    assert np.linalg.norm(np.cross(middles, axis), axis=1).max() < 0.3
    assert found.stopped_by == (("opposite sides of the target balance",),) * 2


def wall(reach_mm):
    """A slab beside the middle of the target, oblique, whose near side lies ``reach_mm`` from the middle."""
    mesh = box((reach_mm, -60, -60), (reach_mm + 6, 60, 60))
    return Structure("wall", Role.VESSEL, SurfaceMesh(mesh.vertices_mm @ TURNED.T, mesh.faces))


def test_a_needle_stops_at_a_wall_where_the_best_place_is_and_passes_without_it():
    queries = elongated(others=[wall(-1.0)], long_mm=13.0)
    # Beside the wall and along it: the middle of the target is within its 2 mm, so the best place is forbidden.
    along = TURNED @ [0.0, 0.9, 0.1]
    given_plan = [needle(queries, TURNED @ [-9.0, 1.0, -1.0], along)]
    limits = [Clearance(queries.anatomy.surface("wall"), 2.0)]
    options = RefinementOptions(wanted_margin_mm=20.0, most_windows=0)
    kept, free = (refine(given_plan, queries, BALL_36, demands, options) for demands in (limits, []))
    judged = [
        PathChecks(queries, limits, BALL_36).judge(f.insertions, on_skin=False).slack[0, 0] for f in (kept, free)
    ]
    assert 0 <= judged[0] < 0.1 and judged[1] < -2.0
    assert given_plan[0] != kept.insertions[0]
    assert kept.margin_before_mm < kept.margin_after_mm < free.margin_after_mm - 1.0
    assert kept.stopped_by == (("clearance to wall",),)
    assert np.linalg.norm(centres(free.insertions, BALL_36)) < 0.1


def test_another_window_is_found_past_what_stops_a_needle():
    mesh = box((-3, -50, -30), (3, -18, 30))
    rib = Structure("rib", Role.BONE, SurfaceMesh(mesh.vertices_mm @ TURNED.T, mesh.faces))
    queries = elongated(others=[rib], long_mm=12.0)
    # The shaft comes past one side of the rib; the middle of the target can only be reached past it.
    given_plan = [needle(queries, TURNED @ [-7.0, 0, 0], TURNED @ [0.05, 1, 0.0])]
    limits = [Clearance(queries.anatomy.surface("rib"), 2.0)]
    stay, jump = (
        refine(given_plan, queries, BALL_36, limits, RefinementOptions(wanted_margin_mm=20.0, most_windows=n))
        for n in (0, 2)
    )
    assert jump.margin_after_mm >= stay.margin_after_mm - 1e-6 and jump.margin_after_mm > 5.9
    assert PathChecks(queries, limits, BALL_36).judge(jump.insertions, on_skin=False).feasible.all()


@pytest.mark.long
def test_plan_limits_hold_and_stop(long_target):
    axis = TURNED[:, 2]
    given_plan = [
        needle(long_target, 10 * axis, TURNED @ [0.0, 1, 0]),
        needle(long_target, -9.5 * axis, TURNED @ [0.0, 1, 0]),
    ]
    organ = (TURNED @ [22.0, 0.0, 0.0])[None]  # the best pair of zones comes within 5.1 mm of it

    def protection(insertions):
        return -float(BALL_36.zone(insertions).signed_distance_mm(organ)[0]) - 5.5

    def pair_check(insertions):
        return shaft_gap(insertions) - 14.0

    options = RefinementOptions(wanted_margin_mm=20.0)
    free = refine(given_plan, long_target, BALL_36, [], options)
    assert protection(free.insertions) < 0 and pair_check(free.insertions) < 0
    spared = refine(given_plan, long_target, BALL_36, [], options, protection=protection)
    apart = refine(given_plan, long_target, BALL_36, [], options, pair_check=pair_check)
    assert 0 <= protection(spared.insertions) < 0.1 and 0 <= pair_check(apart.insertions) < 0.1
    for held, name in ((spared, "thermal margin of a critical structure"), (apart, "distance between needles")):
        assert held.margin_before_mm < held.margin_after_mm < free.margin_after_mm
        assert any(name in words for words in held.stopped_by)
    with pytest.raises(PhysicsError, match="distance between needles, by"):
        refine(given_plan, long_target, BALL_36, [], options, pair_check=lambda p: shaft_gap(p) - 40.0)


def test_fixed_needles_stay_and_their_ablations_slide_no_deeper(long_target):
    axis = TURNED[:, 2]
    given_plan = [
        needle(long_target, 4 * axis + [2, 1, 0], axis + TURNED @ [0.2, 0.1, 0], 20.0),
        needle(long_target, TURNED @ [3.0, 0, 12], TURNED @ [0.1, 1, 0]),
    ]
    options = RefinementOptions(wanted_margin_mm=20.0, fixed=frozenset({0}), most_steps=8, spare_tissue=False)
    found = refine(given_plan, long_target, BALL_36, [], options)
    held, moved = found.insertions
    assert (held.entry_mm, held.tip_mm) == (given_plan[0].entry_mm, given_plan[0].tip_mm)
    assert moved.entry_mm != given_plan[1].entry_mm
    assert found.margin_after_mm > found.margin_before_mm + 0.5
    for ablation in held.ablations:
        away = np.subtract(held.tip_mm, ablation.tip_mm)
        assert away @ held.direction >= -1e-9
        assert np.linalg.norm(np.cross(away, held.direction)) < 1e-9
    assert held.ablations != given_plan[0].ablations
    still = refine(
        given_plan, long_target, BALL_36, [], dataclasses.replace(options, slide_fixed=False, most_steps=2)
    )
    assert still.insertions[0] == given_plan[0]


def test_zones_shrink_where_the_wanted_margin_stays(round_target):
    growing = model((60.0, 26.0, 20.0), (600.0, 40.0, 34.0), power_w=(40.0, 60.0))
    given_plan = [needle(round_target, (5, -3, 6.5), (0.1, 1, 0.3), time_s=600.0, power_w=60.0)]
    found = refine(given_plan, round_target, growing, [], RefinementOptions(wanted_margin_mm=3.0))
    assert found.margin_before_mm > 3.0 and 3.0 <= found.margin_after_mm < 3.05
    # The narrowest spheroid about the ball of 13 mm has that radius across the needle.
    assert growing.zone(found.insertions).radial_mm[0] == pytest.approx(13.0, abs=0.1)
    assert found.cost_after_ml < 0.75 * found.cost_before_ml
    ablation = found.insertions[0].ablations[0]
    assert ablation.duration_s == round(ablation.duration_s) and 60 <= ablation.duration_s <= 600
    assert found.stopped_by == (("the wanted margin is reached",),)
    same = refine(
        given_plan, round_target, growing, [], RefinementOptions(wanted_margin_mm=3.0, settings_move=False)
    )
    assert same.insertions[0].ablations[0].duration_s == 600.0


def test_a_wanted_margin_that_can_be_reached_is_reached(long_target):
    plan = [
        needle(long_target, TURNED @ [3, 1, -9], TURNED @ [0.2, 1, 0.3]),
        needle(long_target, TURNED @ [1, -2, 9], TURNED @ [0.1, 1, -0.2]),
    ]
    found = refine(plan, long_target, BALL_36, [], RefinementOptions(wanted_margin_mm=4.0))
    assert found.margin_before_mm < 3.0 and found.margin_after_mm >= 4.0
    assert found.stopped_by == (("the wanted margin is reached",),) * 2


def test_a_motion_of_patient_and_plan_moves_the_result():
    matrix = motion(5)
    case = elongated(queries_only=False)
    here, there = queries_of(case), queries_of(case.moved(matrix))

    def carried(insertion):
        def at(p):
            return vector3(matrix[:3, :3] @ p + matrix[:3, 3])

        ablations = tuple(dataclasses.replace(a, tip_mm=at(a.tip_mm)) for a in insertion.ablations)
        return dataclasses.replace(
            insertion, entry_mm=at(insertion.entry_mm), tip_mm=at(insertion.tip_mm), ablations=ablations
        )

    down = -case.up
    plan = [
        needle(here, TURNED @ [3, 1, -8], np.add(down, [0.2, 0.1, 0.3])),
        needle(here, TURNED @ [-1, 2, 6], np.add(down, [-0.2, 0, -0.2])),
    ]
    options = RefinementOptions(wanted_margin_mm=20.0)
    one = refine(plan, here, GROWING, default_constraints(here), options)
    other = refine([carried(i) for i in plan], there, GROWING, default_constraints(there), options)
    assert other.margin_after_mm == pytest.approx(one.margin_after_mm, abs=0.02)
    np.testing.assert_allclose(
        centres(other.insertions, GROWING), centres([carried(i) for i in one.insertions], GROWING), atol=0.3
    )


def test_the_order_of_needles_changes_nothing_and_a_second_run_is_the_same(long_target):
    plan = [
        needle(long_target, TURNED @ [3, 1, -8], TURNED @ [0.2, 1, 0.3]),
        needle(long_target, TURNED @ [1, -2, 9], TURNED @ [0.1, 1, -0.2]),
    ]
    options = RefinementOptions(wanted_margin_mm=20.0, most_steps=5)
    found, again, turned = (refine(p, long_target, GROWING, [], options) for p in (plan, plan, plan[::-1]))
    assert again.insertions == found.insertions == turned.insertions[::-1]
    assert turned.stopped_by == found.stopped_by[::-1]


@pytest.mark.long
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([2.0, 6.0, 15.0]))
def test_a_refined_plan_is_never_worse_and_never_breaks_a_limit(seed, count, wanted_mm):
    rng = np.random.default_rng(seed)
    queries = WALLED
    constraints = default_constraints(queries)
    checks = PathChecks(queries, constraints, GROWING)
    plan = []
    while len(plan) < count:
        path = needle(
            queries, rng.uniform(-9, 9, 3), -queries.anatomy.case.up + rng.normal(size=3) * 0.5,
            *([12.0] if rng.random() < 0.4 else []), time_s=float(rng.uniform(60, 600)),
        )  # fmt: skip
        if checks.judge([path], on_skin=False).feasible[0]:
            plan.append(path)
    gap = min(shaft_gap(plan), 3.0) - 1e-6
    options = RefinementOptions(wanted_margin_mm=wanted_mm, most_steps=4)
    found = refine(plan, queries, GROWING, constraints, options, pair_check=lambda p: shaft_gap(p) - gap)
    after = least_margin(queries, found.insertions, GROWING)
    assert min(after, wanted_mm) >= min(found.margin_before_mm, wanted_mm)
    assert found.margin_after_mm == after
    assert found.improved or found.insertions == tuple(plan)
    assert checks.judge(found.insertions, on_skin=False).feasible.all()
    assert shaft_gap(found.insertions) >= gap
    for insertion in found.insertions:
        skin = queries.tree(queries.anatomy.entry)
        entry = np.array([insertion.entry_mm])
        assert skin.segment_distance_mm(entry, entry)[0] < 1e-6
        assert insertion.tip_mm == insertion.ablations[0].tip_mm
        for ablation in insertion.ablations:
            away = np.subtract(insertion.tip_mm, ablation.tip_mm)
            assert np.linalg.norm(np.cross(away, insertion.direction)) < 1e-9
            assert 60.0 <= ablation.duration_s <= 600.0


WALLED = elongated(others=[wall(16.0)], long_mm=16.0)


def test_a_plan_that_cannot_be_bettered_comes_back_as_it_was(round_target):
    plan = (needle(round_target, (4, -3, 6), (0.2, 1, 0.1)),)
    found = refine(plan, round_target, BALL_36, [], RefinementOptions(wanted_margin_mm=20.0))
    assert not found.improved and found.insertions is not None and found.insertions == plan
    assert found.sentence.startswith("No better plan was found")
    assert found.margin_after_mm == found.margin_before_mm


def test_what_cannot_be_refined_is_refused(round_target):
    plan = [needle(round_target, (4, -3, 6), (0.2, 1, 0.1))]
    with pytest.raises(PhysicsError, match="at least one ablation"):
        refine([dataclasses.replace(plan[0], ablations=())], round_target, BALL_36, [])
    with pytest.raises(OptionError, match="indices from 0 to 0"):
        refine(plan, round_target, BALL_36, [], RefinementOptions(fixed=frozenset({1})))
    inside = dataclasses.replace(plan[0], entry_mm=vector3(np.array(plan[0].entry_mm) + 8 * plan[0].direction))
    with pytest.raises(PhysicsError, match="does not enter where"):
        refine([inside], round_target, BALL_36, [])
    below = [needle(round_target, (4, -3, 6), round_target.anatomy.case.up)]
    with pytest.raises(PhysicsError, match=r"needle 1 .* breaks a limit already \(table side"):
        refine(below, round_target, BALL_36, default_constraints(round_target))
    wrong_options = [("wanted_margin_mm", -1), ("minute_ml", np.nan), ("most_steps", 0), ("time_limit_s", 0)]
    for name, value in [*wrong_options, ("most_windows", -1), ("duration_step_s", -1)]:
        with pytest.raises(OptionError):
            RefinementOptions(**{name: value})


def test_moves_at_zero_change_nothing_and_ablations_stay_on_one_straight_needle(long_target):
    plan = (needle(long_target, (2, 1, 0), TURNED @ [0.2, 1, 0.3], 9.0, 18.0),)
    moves = PlanMoves(plan, GROWING, long_target.anatomy.axes, frozenset(), True, True)
    assert len(moves) == 4 + 3 + 3 and moves.moved(np.zeros(10)) == plan
    step = np.random.default_rng(0).uniform(-1, 1, 10)
    moved = moves.moved(step)[0]
    for ablation in moved.ablations:
        away = np.subtract(ablation.tip_mm, moved.tip_mm)
        assert np.linalg.norm(np.cross(away, moved.direction)) < 1e-9
    # One unit of time is about a millimetre of radius.
    longer = np.zeros(10)
    longer[7] = 0.1
    grown = GROWING.zone(moves.moved(longer)).radial_mm - GROWING.zone(plan).radial_mm
    np.testing.assert_allclose(grown, [0.1, 0, 0], atol=0.005)


def test_the_program_of_one_step_in_closed_form():
    # Two points pull against each other along one coordinate, which a limit with a kink bounds.
    margins, slopes = np.array([[1.0, 3.0]]), np.array([[[1.0, 0.0], [-1.0, 0.0]]])
    limit = [np.array([0.5]), np.array([[-1.0, 0.0]]), np.array([[0.0, 0.0]])]
    bounds = (np.array([-9.0, 0.0]), np.array([9.0, 9.0]))
    free = solve_program(Program(margins, slopes, np.zeros(0), *np.zeros((2, 0, 2)), *bounds), 10.0, 3.0, 0.0)
    np.testing.assert_allclose(free.step, [1.0, 0.0], atol=1e-9)
    assert free.gain == pytest.approx(1.0)
    held = solve_program(Program(margins, slopes, *limit, *bounds), 10.0, 3.0, 0.0)
    np.testing.assert_allclose(held.step, [0.5, 0.0], atol=1e-9)
    assert held.binding.tolist() == [True]
    spared = solve_program(Program(margins, slopes, *limit, *bounds), 0.5, 3.0, 0.0, np.array([1.0, 0.0]))
    np.testing.assert_allclose(spared.step, [-0.5, 0.0], atol=1e-9)
