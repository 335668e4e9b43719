"""Indicators: their figures from rows by hand, what they are over, and that none is without a definition."""

import dataclasses

import pytest
from made_study_rows import made_cells, made_row, made_rows, made_times

from needleplan.app.study.analysis_indicators import DEFINITIONS
from needleplan.app.study.analysis_levels import ordered_rows
from needleplan.app.study.indicators import indicators
from needleplan.uncertainty.binomial import clopper_pearson
from robots.catalogue import DEFAULT_ROBOT

CELL = made_cells(devices=("a",), strategies=("free-breathing",), budgets=("robot",), robots=("needle_arm7",))[0]


def values(rows, times=()):
    return {item.definition.name: item for item in indicators(ordered_rows(rows), times)}


def planned(case, **changes):
    made = dict(
        status="complete", minimal_margin_mm=6.0, insertions=2, lower_bound=1.5, procedure_s=1200.0, energy_s=600.0,
        rehearsed_minimal_margin_mm=3.0, structures_punctured=0, runs=2, least_clearance_mm=9.0, reached=2,
        chance_covered=0.9, chance_margin=0.5, chance_harm=0.02, target_coverage_fraction=1.0, time_limited=False,
        margin_coverage_fraction=1.0, rehearsed_coverage_fraction=1.0, over_ablation_ml=8.0,
    )  # fmt: skip
    return made_row(case, CELL, **made | changes)


def test_every_indicator_is_what_its_definition_says():
    rows = [
        planned("case-1"),
        planned("case-2", insertions=1, minimal_margin_mm=-1.0, status="partial", lower_bound=1.0, reached=1),
        planned("case-3", structures_punctured=3, least_clearance_mm=4.9, rehearsed_minimal_margin_mm=-0.1),
        made_row("case-4", CELL, status="infeasible", reason="none", minimal_margin_mm=None),
        made_row("case-5", CELL, status="failed", reason="damaged", minimal_margin_mm=None),
    ]
    found = values(rows)
    expected = {
        "complete_pct": 40.0, "partial_pct": 20.0, "infeasible_pct": 20.0, "failed_pct": 20.0,
        "procedure_min": 20.0,
        "energy_min": 10.0, "punctures": 5 / 3, "single_puncture_pct": 100 / 3, "punctures_above_bound": 0.5,
        "least_margin_mm": 11 / 3, "residual_pct": 100 / 3, "margin_below_5_mm_pct": 100 / 3,
        "rehearsed_residual_pct": 100 / 3, "rehearsed_margin_below_5_mm_pct": 100.0, "chance_target_left_pct": 10.0,
        "close_needle_pct": 100 / 3, "punctured_per_run": 0.5, "punctured_pct": 100 / 3, "chance_harm_pct": 2.0,
        "chance_margin_pct": 50.0, "over_ablation_ml": 8.0, "reached_pct": 100.0, "target_coverage_pct": 100.0,
    }  # fmt: skip
    assert {name: found[name].value.value for name in expected} == pytest.approx(expected)
    assert (found["complete_pct"].count, found["complete_pct"].left_out) == (5, 0)
    assert (found["residual_pct"].count, found["residual_pct"].left_out) == (3, 2)
    low, high = clopper_pearson(2, 5, 0.95)
    assert (found["complete_pct"].value.low, found["complete_pct"].value.high) == pytest.approx(
        (100 * low, 100 * high)
    )


def test_cost_is_from_the_times_of_the_same_rows():
    rows = [planned("case-1"), planned("case-2"), planned("case-3")]
    times = [dataclasses.replace(item, processor_s=10.0 * k) for k, item in enumerate(made_times(rows), 1)]
    found = values(rows, [*times[:2], dataclasses.replace(times[2], case="another")])
    assert found["processor_s"].value.value == 15.0
    assert (found["processor_s"].count, found["processor_s"].left_out) == (2, 1)


def test_what_no_row_has_is_not_told_and_every_definition_is_whole():
    plain = {item.definition.name for item in indicators(ordered_rows(made_rows(5)), ())}
    assert "procedure_min" not in plain and "processor_s" not in plain and "punctures" in plain
    assert len({item.name for item in DEFINITIONS}) == len(DEFINITIONS)
    for item in DEFINITIONS:
        assert len(item.definition) > 20 and item.denominator and item.group and item.title
        assert item.unit == "%" or not item.name.endswith("_pct")


def test_a_rehearsal_without_a_robot_of_its_own_counts_for_the_default_one_as_the_denominator_says():
    cell = made_cells(strategies=("gated",))[0]
    found = indicators(ordered_rows([made_row("case-1", cell, reached=2, robot_s=9.0, insertions=2)]), ())
    reached = next(item for item in found if item.definition.name == "reached_pct")
    assert cell.robot is None and reached.count == 1
    assert DEFAULT_ROBOT in reached.definition.denominator


def test_a_worse_plan_never_has_better_indicators():
    good = values([planned(f"case-{k}") for k in range(6)])
    bad = values([planned(f"case-{k}", minimal_margin_mm=4.0 if k < 3 else -2.0) for k in range(6)])
    for name in ("residual_pct", "margin_below_5_mm_pct"):
        assert bad[name].value.value > good[name].value.value
    assert bad["margin_below_5_mm_pct"].value.value == 100.0 and bad["residual_pct"].value.value == 50.0
