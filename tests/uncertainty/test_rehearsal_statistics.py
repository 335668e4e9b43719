"""Statistics of many rehearsals: against closed forms, with intervals that hold, over runs and not over needles."""

import dataclasses

import numpy as np
import pytest
from made_outcomes import insertion, metrics, needle, run, withdrawn

from needleplan.errors import OptionError
from needleplan.uncertainty.binomial import clopper_pearson
from needleplan.uncertainty.rehearsal_budget import rehearsed_budget
from needleplan.uncertainty.rehearsal_statistics import paired_difference, strategy_statistics


def runs_of(tips, strategy="tracking", **changes):
    """One run for each row of tip errors (runs, needles)."""
    return [
        run(k + 1, [needle(tip=tip, order=order + 1) for order, tip in enumerate(row)], strategy, **changes)
        for k, row in enumerate(np.atleast_2d(tips))
    ]


def test_figures_are_those_of_all_needles():
    tips = np.array([[1.0, 5.0], [2.0, 4.0], [3.0, 9.0], [2.5, 6.0]])
    found = strategy_statistics(runs_of(tips), 5.0).errors["tip_error_mm"]
    assert found.mean.value == pytest.approx(tips.mean())
    assert found.sd is not None and found.sd.value == pytest.approx(tips.std(ddof=1))
    assert found.median.value == np.quantile(tips, 0.5, method="inverted_cdf")
    assert found.percentile_95.value == np.quantile(tips, 0.95, method="inverted_cdf")
    for estimate in (found.mean, found.sd, found.median, found.percentile_95):
        assert estimate.low is not None and estimate.high is not None and estimate.low <= estimate.high
    assert found.mean.low < found.mean.value < found.mean.high


def test_quantiles_equal_those_of_numpy_whatever_the_number():
    rng = np.random.default_rng(5)
    for count in (1, 2, 3, 19, 20, 21, 100):
        tips = rng.normal(5.0, 1.0, count)
        found = strategy_statistics(runs_of(tips[:, None]), 5.0).errors["tip_error_mm"]
        assert found.median.value == np.quantile(tips, 0.5, method="inverted_cdf")
        assert found.percentile_95.value == np.quantile(tips, 0.95, method="inverted_cdf")


def test_intervals_of_independent_runs_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = {"mean": 0, "sd": 0, "median": 0}
    trials = 150
    for seed in range(trials):
        found = strategy_statistics(runs_of(rng.normal(3.0, 1.0, (60, 1))), 5.0, seed).errors["tip_error_mm"]
        for name, truth in (("mean", 3.0), ("sd", 1.0), ("median", 3.0)):
            estimate = getattr(found, name)
            held[name] += estimate.low <= truth <= estimate.high
    # 95 % of 150 are 142.5 with a standard deviation of 2.7; a bootstrap of 60 runs falls a little short.
    assert all(count >= 128 for count in held.values()), held


def test_needles_of_one_run_do_not_count_as_independent():
    rng = np.random.default_rng(1)
    shared = rng.normal(3.0, 1.0, (50, 1))
    alone = strategy_statistics(runs_of(shared), 5.0).errors["tip_error_mm"].mean
    six_alike = strategy_statistics(runs_of(np.repeat(shared, 6, axis=1)), 5.0).errors["tip_error_mm"].mean
    assert six_alike.value == pytest.approx(alone.value)
    assert (six_alike.low, six_alike.high) == pytest.approx((alone.low, alone.high))
    # The half width of an interval of the mean: 1.96 standard deviations over the root of the number of runs.
    half = 0.5 * (alone.high - alone.low)
    assert half == pytest.approx(1.96 * shared.std(ddof=1) / np.sqrt(50), rel=0.1)
    own = strategy_statistics(runs_of(rng.normal(3.0, 1.0, (50, 6))), 5.0).errors["tip_error_mm"].mean
    assert own.high - own.low < 0.6 * (six_alike.high - six_alike.low)


def test_shares_of_runs_have_exact_intervals_and_counts_are_right():
    runs = [
        run(1, [needle(punctured=("liver", "rib", "liver"))], metrics=metrics(5.0)),
        run(2, [needle(), needle(order=2)], metrics=metrics(0.5)),
        run(3, [needle(closest_mm={"aorta": 2.5})], metrics=metrics(-1.0), not_reached=((2, "stopped"),)),
        run(4, [], metrics=None, not_reached=((1, "stopped"), (2, "stopped"))),
    ]
    found = strategy_statistics(runs, 5.0)
    assert (found.runs, found.needles, found.not_carried_out) == (4, 4, 3)
    assert found.covered.probability == 0.5
    assert (found.covered.low, found.covered.high) == clopper_pearson(2, 4, 0.95)
    assert found.margin_reached.probability == 0.25
    assert found.least_margin_mm is not None and found.least_margin_mm.median.value == 0.5
    assert found.punctured == {"liver": 3, "tumour": 2, "rib": 1}
    assert found.nearest_mm == {"liver": -40.0, "aorta": 2.5}


def test_needles_given_up_count_where_they_did_harm_and_nowhere_else():
    lost = withdrawn(2, peak_force_n=9.5, closest_mm={"aorta": -0.5}, punctured=("aorta", "liver"))
    placed = [run(1, [needle()]), run(2, [needle()])]
    alone = strategy_statistics(placed, 5.0)
    both = strategy_statistics([placed[0], run(2, [needle()], withdrawn=(lost,), not_reached=((2, "cough"),))], 5.0)
    assert (alone.withdrawn, alone.punctured) == (0, {"liver": 2, "tumour": 2})
    assert alone.nearest_mm["aorta"] == 5.5 and (alone.peak_force_n, alone.peak_tip_force_n) == (7.25, 3.5)
    assert (both.withdrawn, both.not_carried_out, both.needles) == (1, 1, 2)
    assert both.punctured == {"liver": 2, "tumour": 2, "aorta": 1} and both.nearest_mm["aorta"] == -0.5
    assert (both.peak_force_n, both.peak_tip_force_n) == (9.5, 3.5)
    assert both.errors == alone.errors
    # Given up in every run: no error, but what was punctured.
    never = strategy_statistics([run(1, [], metrics=None, withdrawn=(lost,))], 5.0)
    assert never.errors == {} and never.punctured == {"aorta": 1, "liver": 1} and never.peak_force_n == 9.5
    assert strategy_statistics([run(1, [], metrics=None)], 5.0).peak_force_n is None


def test_same_seed_same_intervals_and_one_run_has_none():
    runs = runs_of(np.random.default_rng(2).normal(3.0, 1.0, (20, 2)))
    assert strategy_statistics(runs, 5.0, 3) == strategy_statistics(runs, 5.0, 3)
    assert strategy_statistics(runs, 5.0, 3) != strategy_statistics(runs, 5.0, 4)
    lone = strategy_statistics(runs[:1], 5.0)
    assert lone.errors["tip_error_mm"].mean.low is None and lone.duration_s.high is None
    none = strategy_statistics([run(1, [], metrics=None), run(2, [], metrics=None)], 5.0)
    assert none.errors == {} and none.least_margin_mm is None and none.covered.probability == 0.0


def test_runs_of_several_strategies_or_none_are_refused():
    with pytest.raises(OptionError, match="one strategy"):
        strategy_statistics([], 5.0)
    with pytest.raises(OptionError, match="one strategy"):
        strategy_statistics([run(1, []), run(2, [], "free-breathing")], 5.0)
    with pytest.raises(OptionError, match="confidence"):
        strategy_statistics([run(1, [])], 5.0, confidence=1.0)


def test_pairs_take_away_what_both_have_in_common():
    rng = np.random.default_rng(7)
    patients = rng.normal(6.0, 3.0, (40, 1))
    own, other = rng.normal(0.0, 0.2, (2, 40, 2))
    first, second = runs_of(patients + own), runs_of(patients + other + 0.5, "free-breathing")
    found = paired_difference(first, second)
    assert found is not None and (found.pairs, found.runs) == (80, 40)
    assert found.tip_error_mm.value == pytest.approx((own - other).mean() - 0.5)
    assert -0.6 < found.tip_error_mm.low < -0.5 < found.tip_error_mm.high < -0.4
    # Without pairing the difference would drown in the patients.
    lone = [strategy_statistics(runs, 5.0).errors["tip_error_mm"].mean for runs in (first, second)]
    assert lone[0].high > lone[1].low


def test_only_needles_that_both_placed_are_pairs():
    first = [run(1, [needle(tip=1.0), needle(tip=9.0, order=2)]), run(2, [needle(tip=3.0)])]
    second = [run(1, [needle(tip=2.0)], "other"), run(3, [needle(tip=5.0)], "other")]
    found = paired_difference(first, second)
    assert found is not None and (found.pairs, found.runs, found.tip_error_mm.value) == (1, 1, -1.0)
    assert found.tip_error_mm.low is None
    assert paired_difference(first[1:], second[:1]) is None
    with pytest.raises(OptionError, match="only equal ones are pairs"):
        paired_difference(first, [dataclasses.replace(second[0], seed=5)])


def test_a_budget_gives_back_the_errors_that_were_drawn():
    """Entry shift, tilt and depth error of known spread; the budget's spread at the tip is that of the draws."""
    rng = np.random.default_rng(3)
    shift_mm, tilt_deg, depth_std, bias, length = 1.2, 0.8, 0.9, -1.5, 90.0
    planned = insertion(1, length)
    needles = []
    for _ in range(20_000):
        shift, tilt = rng.normal(0.0, shift_mm, 2), np.radians(rng.normal(0.0, tilt_deg, 2))
        lateral = float(np.hypot(*(shift + length * tilt)))
        depth = float(rng.normal(bias, depth_std))
        needles.append(needle(np.hypot(lateral, depth), lateral, depth, np.degrees(np.hypot(*tilt)), of=planned))
    made = rehearsed_budget(needles)
    assert made.budget.lateral_mm.std == pytest.approx(shift_mm, rel=0.03)
    assert made.budget.angle_deg.std == pytest.approx(tilt_deg, rel=0.02)
    assert made.budget.depth_mm.std == pytest.approx(depth_std, rel=0.02)
    assert made.depth_bias_mm == pytest.approx(bias, rel=0.02)
    assert made.budget.lateral_std_mm(length) == pytest.approx(made.lateral_std_mm)
    assert made.budget.registration_mm.std == made.budget.breathing_mm.std == made.budget.deflection_mm.std == 0.0


def test_a_tilt_that_is_larger_than_the_tips_error_is_cut_to_it():
    """The tip is where it should be, the entry is not: a budget about the entry must not make the tip err more."""
    needles = [needle(lateral=value, angle=3.0, of=insertion(1, 80.0)) for value in (0.5, 1.0, 1.5)]
    made = rehearsed_budget(needles)
    expected = np.sqrt(0.5 * np.mean([0.25, 1.0, 2.25]))
    assert made.budget.lateral_mm.std == pytest.approx(0.0, abs=1e-9)
    assert made.budget.lateral_std_mm(80.0) == pytest.approx(expected) == made.lateral_std_mm
    with pytest.raises(OptionError, match="at least two"):
        rehearsed_budget(needles[:1])
