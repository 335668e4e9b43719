"""A plan chosen by its chance, from the chain and from the command line's words."""

import re
from argparse import Namespace

import pytest
from made_cases import ball, made_case, queries_of
from made_matrices import ball_model

from needleplan.app.search_options import errors_from
from needleplan.coverage.options import CoverageOptions
from needleplan.errors import OptionError
from needleplan.percentages import is_success
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits
from needleplan.trajectory.search import SearchOptions
from needleplan.uncertainty.likelihoods import ErrorOptions, Robustness


def planned(errors):
    queries = queries_of(made_case(ball((0, 0, 0), 12.0, 4), ball((0, 0, 0), 95.0, 4)))
    options = PlanningOptions(
        applicator="ball",
        sampling=SamplingOptions(40.0, 6),
        search=SearchOptions(1, 0, 2000, 10),
        limits=PathLimits(skin_angle_deg=80.0, table_angle_deg=180.0),
        coverage=CoverageOptions(margin_mm=0.0, point_count=1500, paths_per_aim=3, time_limit_s=10.0),
        errors=errors,
    )
    model = ball_model(24.0, sizes=(1.0, 0.92, 0.84, 0.76, 0.68, 0.6, 0.53))
    return make_plan(queries, options, zone_model=model).plan


@pytest.fixture(scope="module")
def told():
    return planned(ErrorOptions("robot", 400))


def covered(plan):
    return next(one for one in plan.likelihoods if one.event == "the target is covered")


def test_chances_are_told_with_bounds(told):
    assert 0.0 <= covered(told).low <= covered(told).probability <= covered(told).high <= 1.0
    assert any("5 mm" in one.event for one in told.likelihoods)
    harm = [" hits " in one.event or one.event.startswith("the zone ") for one in told.likelihoods]
    assert [is_success(one.event) for one in told.likelihoods] == [not one for one in harm]
    assert not [item for item in told.evidence if item.subject == "robustness"]


def test_the_most_probable_plan_is_likelier_and_its_price_is_told(told):
    plan = planned(ErrorOptions("robot", 400, robustness=Robustness.MOST_PROBABLE))
    (price,) = [item for item in plan.evidence if item.subject == "robustness"]
    assert covered(plan).probability > covered(told).high
    assert plan.metrics.over_ablation_ml > told.metrics.over_ablation_ml
    assert "price: 0 mm more" in price.finding and "3 mm more: " in price.finding
    # A chance of success as of the report's: of 400 scenarios every figure but all and nothing has its tenth.
    assert re.search(r"drawn afresh it is [^(]+ % \([^)]+ % to [^)]+ %\)", price.finding)
    assert not re.search(r"\b(0\.0|100\.0) %", price.finding)


@pytest.mark.long
def test_a_required_chance_is_met_with_no_more_than_needed(told):
    required = ErrorOptions("robot", 400, robustness=Robustness.REQUIRED, required=0.8)
    plan = planned(required)
    assert covered(plan).low >= 0.8 > covered(told).low
    most = planned(ErrorOptions("robot", 400, robustness=Robustness.MOST_PROBABLE))
    assert plan.metrics.zone_ml <= most.metrics.zone_ml + 1e-6


def test_a_chance_that_no_plan_has_is_told():
    plan = planned(ErrorOptions("freehand-ct", 1000, robustness=Robustness.REQUIRED, level_mm=11.0, required=0.95))
    (price,) = [item for item in plan.evidence if item.subject == "robustness"]
    assert "none of the plans is shown" in price.finding and price.remedy


def words(**changes):
    values = dict(
        most_probable=False, required_chance=None, scenarios=500, error_budget="robot", chance_margin_mm=0.0
    )
    return Namespace(**(values | changes))


def test_words_of_the_command_line_become_options():
    assert errors_from(words(scenarios=0)) is None
    assert errors_from(words()) == ErrorOptions("robot", 500)
    assert errors_from(words(most_probable=True)).robustness is Robustness.MOST_PROBABLE
    assert errors_from(words(required_chance=0.9, chance_margin_mm=5.0)) == ErrorOptions(
        "robot", 500, robustness=Robustness.REQUIRED, level_mm=5.0, required=0.9
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"most_probable": True, "required_chance": 0.9}, "give one of them"),
        ({"scenarios": 0, "required_chance": 0.9}, "without scenarios"),
        ({"required_chance": 0.999}, "at least"),
        ({"required_chance": 1.5}, "between 0 and 1"),
        ({"chance_margin_mm": -1.0}, "0 to 50 mm"),
        ({"error_budget": "steady hand"}, "choose one of"),
        ({"scenarios": -5}, "number of scenarios"),
    ],
)
def test_impossible_words_are_refused(changes, message):
    with pytest.raises(OptionError, match=message):
        errors_from(words(**changes))


def test_a_required_chance_goes_with_its_robustness():
    with pytest.raises(OptionError, match="goes with the robustness"):
        ErrorOptions("robot", 500, required=0.9)
    with pytest.raises(OptionError, match="goes with the robustness"):
        ErrorOptions("robot", 500, robustness=Robustness.REQUIRED)
