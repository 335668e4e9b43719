"""Error budgets, their sources, and the draws of where needles land."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from made_cases import motion, rotation
from made_plans import moved, needle

from needleplan.errors import OptionError
from needleplan.uncertainty.error_budget import ERROR_NAMES, ErrorBudget, ErrorSource
from needleplan.uncertainty.presets import preset_budget, preset_names, preset_rows, published_accuracies
from needleplan.uncertainty.scenarios import LEAST_DEPTH_MM, sample_scenarios

OBLIQUE = (0.4, -0.7, 0.35)
MIXED = ErrorBudget(
    ErrorSource(1.1), ErrorSource(2.3), ErrorSource(0.9), ErrorSource(0.7), ErrorSource(1.9), ErrorSource(1.3)
)


def only(name, std=1.0, freedom=None, **options):
    return dataclasses.replace(ErrorBudget(**options), **{name: ErrorSource(std, freedom)})


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_a_spread_must_be_a_number_from_zero_up(std):
    with pytest.raises(OptionError, match="standard deviation"):
        ErrorSource(std)


@pytest.mark.parametrize("freedom", [2.0, 1.0, -3.0, math.nan, math.inf])
def test_a_heavy_tail_must_have_a_standard_deviation(freedom):
    with pytest.raises(OptionError, match="degrees of freedom"):
        ErrorSource(1.0, freedom)


@pytest.mark.parametrize("direction", [(0.0, 0.0, 0.0), (math.nan, 0.0, 1.0), (1.0, 2.0)])
def test_breathing_needs_a_direction(direction):
    with pytest.raises(OptionError, match="breathing direction"):
        ErrorBudget(breathing_direction=direction)


def test_a_budget_takes_sources_and_knows_their_names():
    with pytest.raises(OptionError, match="lateral_mm must be an ErrorSource"):
        ErrorBudget(lateral_mm=2.0)
    with pytest.raises(OptionError, match="no source of error is named 'sideways'"):
        ErrorBudget().with_source("sideways", ErrorSource(1.0))
    assert MIXED.scaled(2.0).depth_mm.std == 2 * MIXED.depth_mm.std


def test_every_figure_of_a_preset_has_a_source_and_says_how_far_to_trust_it():
    assert preset_names() == ("freehand-ct", "navigated", "robot")
    for name in preset_names():
        rows = [row for row in preset_rows() if row.preset == name]
        assert sorted(row.error for row in rows) == sorted(ERROR_NAMES)
        # None of these splits was published as such; none may claim to have been read.
        assert {row.provenance for row in rows} == {"ASSUMED"}
    assert {row.provenance for row in published_accuracies()} <= {"READ", "RECALL"}
    assert preset_budget("freehand-ct").angle_deg == ErrorSource(2.0, 5.0)
    with pytest.raises(OptionError, match="choose one of freehand-ct"):
        preset_budget("magic")


def published(guidance, setting, quantity):
    found = [
        row.root_mean_square
        for row in published_accuracies()
        if (row.guidance, row.setting, row.quantity) == (guidance, setting, quantity)
    ]
    return min(found), max(found)


def spread_mm(name, lateral_only, breathing):
    """Root mean square of a preset's error at 93 mm for a needle across the body axis."""
    budget = preset_budget(name)
    if not breathing:
        budget = budget.with_source("breathing_mm", ErrorSource())
    direction = np.array([0.6, 0.8, 0.0])
    covariance = budget.covariance_mm2(direction, 93.0, np.eye(3))
    along = direction @ covariance @ direction
    return math.sqrt(np.trace(covariance) - (along if lateral_only else 0.0))


def test_the_shares_of_a_preset_add_up_to_what_was_published():
    in_plane, _ = published("freehand-ct", "patient", "lateral")
    assert spread_mm("freehand-ct", True, True) == pytest.approx(in_plane, rel=0.05)
    low, high = published("navigated", "phantom", "lateral")
    assert low <= spread_mm("navigated", True, False) <= high
    tip = published("navigated", "phantom", "tip")[0]
    assert spread_mm("navigated", False, False) == pytest.approx(tip, rel=0.05)
    _, liver = published("robot", "pig", "tip")
    assert spread_mm("robot", False, True) == pytest.approx(liver, rel=0.05)
    # The check tells: without tilt the freehand budget would fall short.
    less = preset_budget("freehand-ct").with_source("angle_deg", ErrorSource())
    assert math.sqrt(2) * less.lateral_std_mm(93.0) < 0.7 * in_plane


@pytest.mark.parametrize("freedom", [3.5, 5.0, 12.0])
def test_a_heavy_tail_keeps_the_spread_and_reaches_farther(freedom):
    normal = sample_scenarios([needle((0, 0, 0), OBLIQUE, 10)], only("depth_mm", 2.0), np.eye(3), 200_000, 3)
    heavy = sample_scenarios(
        [needle((0, 0, 0), OBLIQUE, 10)], only("depth_mm", 2.0, freedom), np.eye(3), 200_000, 3
    )
    unit = np.array(OBLIQUE) / np.linalg.norm(OBLIQUE)

    def depth(scenarios):
        return (scenarios.tip_mm[:, 0] - scenarios.insertions[0].tip_mm) @ unit

    assert depth(normal).std() == pytest.approx(2.0, rel=0.01)
    # The sample's own spread converges slowly where the law has no fourth moment.
    assert depth(heavy).std() == pytest.approx(2.0, rel=0.06 if freedom < 4 else 0.02)
    from scipy.stats import t

    quantile = np.quantile(np.abs(depth(heavy)), 0.999)
    expected = 2.0 * math.sqrt((freedom - 2) / freedom) * t.ppf(0.9995, freedom)
    assert quantile == pytest.approx(expected, rel=0.12)
    assert quantile > 1.1 * np.quantile(np.abs(depth(normal)), 0.999)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("budget", [MIXED, *(only(name) for name in ERROR_NAMES)])
def test_tips_scatter_as_the_sources_add_up_in_quadrature(budget, seed):
    axes = rotation(seed + 5)
    insertion = needle((3, -8, 20), OBLIQUE, 10, depth_mm=115.0)
    found = sample_scenarios([insertion], budget, axes, 40_000, seed)
    offset = found.tip_mm[:, 0] - insertion.tip_mm
    expected = budget.covariance_mm2(insertion.direction, insertion.depth_mm, axes)
    scale = np.trace(expected)
    assert np.abs(np.cov(offset.T) - expected).max() < 0.025 * scale
    assert np.abs(offset.mean(axis=0)).max() < 5 * math.sqrt(scale / 40_000)
    # The check tells: with another spread along the needle it would not hold.
    wrong = dataclasses.replace(budget, depth_mm=ErrorSource(budget.depth_mm.std + 0.6 * math.sqrt(scale)))
    assert np.abs(np.cov(offset.T) - wrong.covariance_mm2(insertion.direction, 115.0, axes)).max() > 0.1 * scale


def test_no_error_puts_every_needle_exactly_where_it_was_planned():
    plan = [needle((0, 0, 0), OBLIQUE, 10, pull_back_mm=(0, 12, 20)), needle((5, 0, 0), (0, 0, 1), 8)]
    found = sample_scenarios(plan, ErrorBudget(), rotation(), 3, 0)
    assert found.placed(2) == tuple(plan)
    assert found.insertion_of.tolist() == [0, 0, 0, 1]


def test_draws_depend_on_seed_needle_and_scenario_alone():
    plan = [needle((0, 0, 0), OBLIQUE, 10), needle((5, 0, 0), (0.1, 0.2, -1), 8)]
    some = sample_scenarios(plan, MIXED, np.eye(3), 40, 7)
    more = sample_scenarios([*plan, needle((0, 9, 0), (1, 0, 0), 8)], MIXED, np.eye(3), 90, 7)
    assert np.array_equal(some.tip_mm, more.tip_mm[:40, :2])
    assert not np.array_equal(some.tip_mm, sample_scenarios(plan, MIXED, np.eye(3), 40, 8).tip_mm)
    # Without one source the others stay as they are.
    without = MIXED.with_source("lateral_mm", ErrorSource())
    lateral = sample_scenarios(plan, only("lateral_mm", 1.1), np.eye(3), 40, 7)
    rest = sample_scenarios(plan, without, np.eye(3), 40, 7)
    planned = np.array([i.tip_mm for i in plan])
    assert np.allclose(some.tip_mm - planned, (rest.tip_mm - planned) + (lateral.tip_mm - planned), atol=1e-9)


def test_a_measured_needle_stays_where_it_is_and_the_others_err_as_before():
    plan = [needle((0, 0, 0), OBLIQUE, 10), needle((5, 0, 0), (0.1, 0.2, -1), 8, pull_back_mm=(0, 9))]
    free = sample_scenarios(plan, MIXED, np.eye(3), 20, 1)
    fixed = sample_scenarios(plan, MIXED, np.eye(3), 20, 1, measured=[0])
    assert all(fixed.placed(i)[0] == plan[0] for i in range(20))
    assert np.array_equal(free.tip_mm[:, 1], fixed.tip_mm[:, 1])
    assert not np.array_equal(free.tip_mm[:, 0], fixed.tip_mm[:, 0])


def test_a_session_shares_registration_and_a_held_breath_alone():
    plan = [needle((0, 0, 0), OBLIQUE, 10), needle((30, 0, 0), (0.1, 0.2, -1), 8)]
    axes = rotation(9)

    def apart(budget):
        found = sample_scenarios(plan, budget, axes, 50, 4)
        offset = found.entry_mm - np.array([i.entry_mm for i in plan])
        return np.abs(offset[:, 0] - offset[:, 1]).max(), offset

    assert apart(only("registration_mm"))[0] < 1e-12
    assert apart(only("breathing_mm", breathing_common=True))[0] < 1e-12
    assert apart(only("breathing_mm"))[0] > 0.5
    # Breathing moves along the cranial axis of the patient, or the one that is stated.
    for direction, axis in (((0, 0, 1), axes[:, 2]), ((0, 3, 4), 0.6 * axes[:, 1] + 0.8 * axes[:, 2])):
        _, offset = apart(only("breathing_mm", breathing_direction=direction))
        assert np.abs(np.cross(offset, axis)).max() < 1e-12


def test_bending_grows_with_the_square_of_the_depth_and_tilt_with_the_depth():
    insertion = needle((0, 0, 0), OBLIQUE, 10, depth_mm=80.0, pull_back_mm=(0, 20, 40))
    for name, power in (("deflection_mm", 2), ("angle_deg", 1), ("lateral_mm", 0)):
        found = sample_scenarios([insertion], only(name, 1.5), np.eye(3), 30, 2)
        offset = found.ablation_tip_mm - np.array([a.tip_mm for a in insertion.ablations])
        for place, share in enumerate((1.0, 0.75, 0.5)):
            assert np.allclose(offset[:, place], share**power * offset[:, 0], atol=1e-9)
        assert np.allclose((offset[:, 0] @ insertion.direction), 0, atol=1e-9)
        at_entry = np.abs(found.entry_mm[:, 0] - insertion.entry_mm).max()
        assert (at_entry > 0.1) == (name == "lateral_mm")


def test_errors_turn_with_the_patient():
    plan = [needle((0, 0, 0), OBLIQUE, 10, pull_back_mm=(0, 9)), needle((5, 0, 0), (0, 0, 1), 8)]
    turn = motion(11)
    here = sample_scenarios(plan, MIXED, np.eye(3), 30, 5)
    there = sample_scenarios([moved(i, turn) for i in plan], MIXED, turn[:3, :3], 30, 5)
    assert np.allclose(here.ablation_tip_mm @ turn[:3, :3].T + turn[:3, 3], there.ablation_tip_mm, atol=1e-9)
    # Not with axes that stay behind.
    still = sample_scenarios([moved(i, turn) for i in plan], MIXED, np.eye(3), 30, 5)
    assert np.abs(still.tip_mm - there.tip_mm).max() > 1.0


def test_no_needle_is_drawn_back_out_of_the_body():
    insertion = needle((0, 0, 0), OBLIQUE, 10, depth_mm=12.0)
    found = sample_scenarios([insertion], only("depth_mm", 30.0), np.eye(3), 500, 2)
    depth = (found.tip_mm[:, 0] - insertion.entry_mm) @ insertion.direction
    assert depth.min() == pytest.approx(LEAST_DEPTH_MM) and depth.max() > 60
    assert np.allclose(found.directions[:, 0], insertion.direction)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"insertions": []}, "no insertion"),
        ({"scenarios": 0}, "number of scenarios"),
        ({"seed": -1}, "seed"),
        ({"measured": [1]}, "measured needle 1"),
    ],
)
def test_bad_demands_on_scenarios_are_refused(changes, words):
    options = {"insertions": [needle((0, 0, 0), OBLIQUE, 10)], "scenarios": 5, "seed": 0, "measured": []} | changes
    with pytest.raises(OptionError, match=words):
        sample_scenarios(
            options["insertions"], MIXED, np.eye(3), options["scenarios"], options["seed"], options["measured"]
        )


def test_a_bad_draw_of_one_source_says_nothing_of_the_others():
    from scipy.stats import spearmanr

    plan = [needle((0, 0, 0), OBLIQUE, 10, depth_mm=100.0), needle((9, 0, 0), (0.2, 1, 0.1), 10, depth_mm=100.0)]
    heavy = [dataclasses.replace(ErrorBudget(), **{name: ErrorSource(1.0, 2.5)}) for name in ERROR_NAMES]
    planned = np.array([i.tip_mm for i in plan])
    sizes = [
        np.linalg.norm(sample_scenarios(plan, budget, np.eye(3), 8000, 3).tip_mm - planned, axis=2)
        for budget in heavy
    ]
    for a, b in itertools.combinations(range(len(sizes)), 2):
        assert abs(spearmanr(sizes[a][:, 0], sizes[b][:, 0]).statistic) < 0.05
    for name, size in zip(ERROR_NAMES, sizes, strict=True):
        between = spearmanr(size[:, 0], size[:, 1]).statistic
        assert between > 0.999 if name == "registration_mm" else abs(between) < 0.05


def test_the_components_of_one_draw_share_its_scale():
    plan = [needle((0, 0, 0), OBLIQUE, 10)]
    found = sample_scenarios(plan, only("lateral_mm", 1.0, 2.5), np.eye(3), 8000, 3)
    offset = found.tip_mm[:, 0] - plan[0].tip_mm
    first = np.array([0, 0, 1.0]) - plan[0].direction[2] * plan[0].direction
    first /= np.linalg.norm(first)
    one, other = np.abs(offset @ first), np.abs(offset @ np.cross(plan[0].direction, first))
    from scipy.stats import spearmanr

    assert spearmanr(one, other).statistic > 0.15
