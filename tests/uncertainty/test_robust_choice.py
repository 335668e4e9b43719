"""Choice among plans by probability, with a planner that knows one target and table zones."""

import dataclasses

import numpy as np
import pytest
from made_cases import ball, made_case, queries_of
from made_plans import model, needle

from needleplan.errors import OptionError
from needleplan.uncertainty.error_budget import ErrorBudget, ErrorSource
from needleplan.uncertainty.robust import RobustPlanning

MIDDLE = np.array((4.0, -9.0, 15.0))
OBLIQUE = (0.4, -0.7, 0.35)
#: Half the length of the target, which is twice as long as wide.
HALF_MM = 12.0
#: The largest zone that the made generator can do.
LARGEST_MM = 15.0
BUDGET = ErrorBudget(lateral_mm=ErrorSource(1.2), depth_mm=ErrorSource(1.5), registration_mm=ErrorSource(0.8))


@pytest.fixture(scope="module")
def queries():
    return queries_of(made_case(ball(MIDDLE, 1.0, 4, (6.0, 6.0, HALF_MM)), ball(MIDDLE, 140.0, 3)))


def plan_with(extra_mm, allowed):
    """One ball about the whole target, or two that each hold more than half of it; None beyond the generator."""
    if allowed == 1:
        radius = HALF_MM + extra_mm
        plan = [needle(MIDDLE, OBLIQUE, radius)]
    else:
        # A ball about a point of the axis at a third of the length: it must hold the pole and the waist.
        at = HALF_MM / 2
        radius = max(HALF_MM - at, np.hypot(6.0, at)) + extra_mm
        plan = [needle(np.add(MIDDLE, (0, 0, at * way)), OBLIQUE, radius) for way in (-1, 1)]
    return plan if radius <= LARGEST_MM else None


@pytest.fixture(scope="module")
def planning(queries):
    return RobustPlanning(queries, model(), BUDGET, scenarios=300, seed=5)


@pytest.fixture(scope="module")
def candidates(planning):
    return planning.candidates(plan_with, (2, 1), (0.0, 1.0, 2.0, 3.0, 5.0))


def test_candidates_are_tried_in_order_and_what_cannot_be_is_left_out(candidates):
    tried = [(len(plan.insertions), plan.extra_margin_mm) for plan in candidates]
    assert tried == [(1, 0.0), (1, 1.0), (1, 2.0), (1, 3.0), (2, 0.0), (2, 1.0), (2, 2.0), (2, 3.0), (2, 5.0)]


def test_what_is_robust_costs_and_the_price_says_so(planning, candidates):
    choice = planning.most_probable(candidates)
    for number in (1, 2):
        rows = [row for row in choice.price if row.insertions == number]
        for column in ("probability", "over_ablation_ml", "low", "high"):
            values = [getattr(row, column) for row in rows]
            assert values == sorted(values) and values[0] < values[-1]
    assert all(row.low <= row.probability <= row.high for row in choice.price)
    assert {row.treatment_minutes for row in choice.price} == {10.0, 20.0}
    assert {row.ablations for row in choice.price} == {1, 2}


def test_the_most_probable_plan_is_most_probable(planning, candidates):
    choice = planning.most_probable(candidates)
    assert choice.chosen.reached.certain == max(plan.reached.certain for plan in candidates)
    assert choice.required is None and choice.met
    assert (len(choice.chosen.insertions), choice.chosen.extra_margin_mm) == (2, 5.0)
    # Without error all that cover are equal: the least effort wins.
    calm = dataclasses.replace(planning, budget=ErrorBudget())
    sure = calm.most_probable(calm.candidates(plan_with, (1, 2), (0.0, 1.0, 2.0)))
    assert (len(sure.chosen.insertions), sure.chosen.extra_margin_mm) == (1, 1.0)


def test_the_fewest_needles_that_meet_a_probability(planning, candidates):
    # One needle meets a modest demand; only two meet a high one, and then as few millimetres as will do.
    modest = planning.fewest_for(0.4, candidates)
    strict = planning.fewest_for(0.95, candidates)
    assert len(modest.chosen.insertions) == 1 and modest.met
    assert len(strict.chosen.insertions) == 2 and strict.met
    for choice, required in ((modest, 0.4), (strict, 0.95)):
        assert choice.chosen.reached.low >= required and choice.confirmed.low >= required
        fewer = [p for p in candidates if p.effort < choice.chosen.effort]
        assert all(p.reached.low < required for p in fewer)
    assert max(p.reached.probability for p in candidates if len(p.insertions) == 1) < 0.95


def test_a_demand_that_no_plan_meets_is_said_to_be_unmet(planning, candidates):
    ones = [plan for plan in candidates if len(plan.insertions) == 1]
    choice = planning.fewest_for(0.985, ones)
    assert not choice.met and choice.required == 0.985
    assert choice.chosen is planning.most_probable(ones).chosen and len(choice.price) == len(ones)


def test_fresh_scenarios_confirm_and_are_not_those_of_the_choice(planning, candidates):
    choice = planning.most_probable([plan for plan in candidates if len(plan.insertions) == 1])
    assert choice.confirmed.certain != choice.chosen.reached.certain
    assert choice.confirmed.low <= choice.chosen.reached.high and choice.confirmed.high >= choice.chosen.reached.low


def test_a_single_pass_by_luck_does_not_count_as_met(planning, candidates):
    plan = next(p for p in candidates if len(p.insertions) == 2 and 0 < p.reached.low < 0.97)
    lucky_counts = dataclasses.replace(plan.reached, certain=300, possible=300)
    levels = (dataclasses.replace(plan.coverage.levels[0], reached=lucky_counts),)
    lucky = dataclasses.replace(plan, coverage=dataclasses.replace(plan.coverage, levels=levels))
    assert lucky.reached.low > 0.98
    assert not planning.fewest_for(0.98, [lucky]).met


def test_equal_plans_are_judged_once(planning):
    calls = []

    def always_one(extra_mm, allowed):
        calls.append((extra_mm, allowed))
        return plan_with(0.0, 1)

    assert len(planning.candidates(always_one, (1, 2), (0.0, 2.0))) == 1 and len(calls) == 4


def test_bad_demands_are_refused(planning, candidates):
    with pytest.raises(OptionError, match="finds no plan"):
        planning.candidates(lambda extra, allowed: None, (1,))
    with pytest.raises(OptionError, match="at least one number"):
        planning.candidates(plan_with, ())
    with pytest.raises(OptionError, match="must be 0 mm or more"):
        planning.candidates(plan_with, (1,), (-1.0,))
    with pytest.raises(OptionError, match="take at least 368"):
        planning.fewest_for(0.99, candidates)
    with pytest.raises(OptionError, match="no candidate"):
        planning.most_probable([])
    with pytest.raises(OptionError, match="no candidate"):
        planning.fewest_for(0.5, [])
