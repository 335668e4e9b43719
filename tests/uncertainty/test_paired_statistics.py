"""Paired differences and their intervals: closed forms, laws, and how often the intervals hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from needleplan.errors import OptionError
from needleplan.uncertainty.paired_statistics import (
    holm,
    paired_effect,
    paired_shares,
    rank_biserial,
    standardised_difference,
)
from needleplan.uncertainty.sample_statistics import MOST_CORRECTED, sample_mean, sample_median, share

FIGURES = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=1, max_size=12)


def negated(estimate):
    ends = [None if end is None else pytest.approx(-end, abs=1e-12) for end in (estimate.high, estimate.low)]
    return (pytest.approx(-estimate.value, abs=1e-12), *ends)


@settings(max_examples=25, deadline=None)
@given(FIGURES, st.integers(0, 2**31))
def test_a_swap_negates_every_difference_and_order_means_nothing(values, seed):
    rng = np.random.default_rng(seed)
    first, second = np.array(values), np.round(np.array(values) + rng.normal(0.3, 1, len(values)), 3)
    forth, back = paired_effect(first, second), paired_effect(second, first)
    order = rng.permutation(len(values))
    assert paired_effect(first[order], second[order]) == forth
    for name in ("mean", "median"):
        found = getattr(back, name)
        assert (found.value, found.low, found.high) == negated(getattr(forth, name))
    assert back.rank_biserial == pytest.approx(-forth.rank_biserial)
    assert back.probability == pytest.approx(forth.probability)
    assert (back.larger, back.smaller) == (forth.smaller, forth.larger)
    if forth.standardised is None:
        assert back.standardised is None
    else:
        found = back.standardised
        assert (found.value, found.low, found.high) == negated(forth.standardised)


def test_identical_levels_differ_by_nothing():
    values = np.random.default_rng(0).normal(3, 2, 20)
    found = paired_effect(values, values * (1 + 1e-15))
    assert (found.mean.value, found.median.value, found.rank_biserial, found.probability) == (0.0, 0.0, 0.0, 1.0)
    assert found.standardised is None and found.mean.low is None and "equal" in found.method
    assert (found.larger, found.smaller) == (0, 0)
    shares = paired_shares([True, False] * 9, [True, False] * 9)
    assert shares.difference.value == 0.0 and shares.probability == 1.0 and shares.odds_ratio is None
    assert shares.difference.low < 0 < shares.difference.high


def test_effect_sizes_are_their_closed_forms():
    differences = np.array([1.0, 2.0, 3.0, 4.0, -5.0])
    # mean 1, sd sqrt(50/4); J(4) = gamma(2) / (sqrt(2) gamma(1.5)).
    correction = math.gamma(2.0) / (math.sqrt(2.0) * math.gamma(1.5))
    assert standardised_difference(differences).value == pytest.approx(correction / math.sqrt(12.5))
    # Ranks 1 to 4 are positive, 5 is negative.
    assert rank_biserial(differences) == pytest.approx((10 - 5) / 15)
    assert rank_biserial([2.0, 1.0, 0.0]) == 1.0
    assert standardised_difference([1.0, 2.0]) is None


def test_the_interval_of_the_standardised_difference_is_that_of_the_law_it_inverts():
    differences = np.random.default_rng(4).normal(0.8, 1.0, 15)
    found = standardised_difference(differences, 0.9)
    root, free = math.sqrt(15), 14
    correction = math.exp(math.lgamma(7) - math.lgamma(6.5)) / math.sqrt(7)
    observed = differences.mean() / differences.std(ddof=1) * root
    assert stats.nct.sf(observed, free, found.low / correction * root) == pytest.approx(0.05, abs=1e-6)
    assert stats.nct.cdf(observed, free, found.high / correction * root) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("count", [5, 9, 30])
def test_signed_ranks_agree_with_scipy_and_with_every_choice_of_signs(count):
    values = np.random.default_rng(count).normal(0.4, 1, count)
    assert paired_effect(values, np.zeros(count)).probability == pytest.approx(
        stats.wilcoxon(values, method="exact").pvalue
    )
    if count < 10:
        tied = np.round(values, 0) + 0.0
        tied = tied[tied != 0]
        ranks = stats.rankdata(np.abs(tied))
        signs = np.array(np.meshgrid(*[[0, 1]] * len(tied))).reshape(len(tied), -1).T
        sums, seen = signs @ ranks, ranks[tied > 0].sum()
        expected = min(1.0, 2 * min((sums <= seen + 1e-9).mean(), (sums >= seen - 1e-9).mean()))
        assert paired_effect(tied, np.zeros(len(tied))).probability == pytest.approx(expected)


def test_shares_of_the_same_cases():
    first = [True] * 8 + [False] * 4
    second = [True] * 3 + [False] * 8 + [True]
    found = paired_shares(first, second)
    assert (found.only_first, found.only_second, found.cases) == (5, 1, 12)
    assert found.difference.value == pytest.approx(4 / 12)
    assert found.probability == pytest.approx(2 * (1 + 6) / 2**6)
    assert found.odds_ratio.value == 5.0
    more, less = 6 / 14, 2 / 14
    half = stats.norm.ppf(0.975) * math.sqrt((more + less - (more - less) ** 2) / 14)
    assert found.difference.low == pytest.approx(more - less - half)
    back = paired_shares(second, first)
    assert (back.difference.value, back.difference.low, back.difference.high) == negated(found.difference)
    assert back.odds_ratio.low == pytest.approx(1 / found.odds_ratio.high)


def test_odds_that_are_infinite_or_zero_keep_the_end_that_there_is():
    infinite = paired_shares([True] * 10, [False] * 10).odds_ratio
    # p at the lower end solves p^10 = 0.025.
    share_low = 0.025**0.1
    assert infinite.value is None and infinite.high is None
    assert infinite.low == pytest.approx(share_low / (1 - share_low)) == pytest.approx(2.2415, abs=1e-4)
    zero = paired_shares([False] * 10, [True] * 10).odds_ratio
    assert (zero.value, zero.low) == (0.0, 0.0) and zero.high == pytest.approx(1 / infinite.low)


def test_holm_is_its_definition_and_never_lowers():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == () and holm([0.5, 0.9]) == (1.0, 1.0)


LAWS = {
    "normal": lambda rng, n: rng.normal(0.5, 1.0, n),
    "skewed": lambda rng, n: rng.exponential(1.0, n) - 0.5,
    "difference of log-normal figures": lambda rng, n: rng.lognormal(0, 0.6, n) - rng.lognormal(0, 0.4, n),
}
TRUTHS = {"normal": 0.5, "skewed": 0.5, "difference of log-normal figures": math.exp(0.18) - math.exp(0.08)}


def test_intervals_hold_the_true_difference():
    rng = np.random.default_rng(11)
    held, medians = [], []
    for name, law in LAWS.items():
        middle = np.median(law(np.random.default_rng(1), 400_000))
        for _ in range(160):
            values = law(rng, 60)
            found, inner = sample_mean(values).estimate, sample_median(values)
            held.append(found.low <= TRUTHS[name] <= found.high)
            medians.append(inner.low <= middle <= inner.high)
    assert np.mean(held) >= 0.93 and np.mean(medians) >= 0.93
    assert min(np.mean(np.reshape(held, (3, -1)), axis=1)) > 0.9


def test_intervals_of_paired_shares_hold_the_true_difference():
    rng, held, sets = np.random.default_rng(2), 0, 400
    for _ in range(sets):
        first = rng.random(40) < 0.8
        second = np.where(rng.random(40) < 0.6, first, rng.random(40) < 0.5)
        found = paired_shares(first, second).difference
        held += found.low <= 0.8 - (0.6 * 0.8 + 0.4 * 0.5) <= found.high
    assert held / sets >= 0.93


def test_the_law_of_a_wrong_truth_is_noticed():
    rng = np.random.default_rng(5)
    held = [
        found.low <= 1.0 <= found.high for _ in range(60) if (found := sample_mean(rng.normal(0, 1, 50)).estimate)
    ]
    assert sum(held) < 5


def test_few_values_and_many():
    assert sample_mean([1.0, 2.0]).estimate.low is None and "fewer" in sample_mean([1.0, 2.0]).method
    assert "equal" in sample_mean([2.0] * 9).method
    assert sample_mean(np.random.default_rng(0).normal(size=MOST_CORRECTED + 1)).method == "percentile bootstrap"
    assert sample_median([1.0, 2.0, 3.0]).low is None
    assert share(0, 10).low == 0.0 and share(0, 10).high == pytest.approx(1 - 0.025 ** (1 / 10))


@pytest.mark.parametrize("values", [[], [float("nan")], [[1.0, 2.0]], [float("inf"), 1.0]])
def test_what_is_no_sample_is_refused(values):
    with pytest.raises(OptionError, match="finite numbers"):
        sample_mean(values)


def test_unequal_lengths_and_impossible_counts_are_refused():
    with pytest.raises(OptionError, match="equally many"):
        paired_effect([1.0, 2.0], [1.0])
    with pytest.raises(OptionError, match="equally many"):
        paired_shares([True], [])
    with pytest.raises(OptionError, match="0 <= yes"):
        share(3, 2)
    with pytest.raises(OptionError, match="confidence"):
        sample_mean([1.0, 2.0, 3.0], confidence=1.0)
