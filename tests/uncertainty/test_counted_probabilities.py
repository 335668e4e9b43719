"""Exact binomial bounds, and probabilities in closed form."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom

from needleplan.errors import OptionError
from needleplan.uncertainty.binomial import CountedProbability, clopper_pearson, scenarios_to_show
from needleplan.uncertainty.closed_forms import (
    needle_aligned_probability,
    sphere_margin_probability,
    wall_hit_probability,
)


@pytest.mark.parametrize("trials", [1, 7, 60])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_bounds_hold_the_truth_at_least_as_often_as_stated(trials, confidence):
    bounds = [clopper_pearson(k, trials, confidence) for k in range(trials + 1)]
    for truth in np.linspace(0.001, 0.999, 97):
        held = sum(binom.pmf(k, trials, truth) for k, (low, high) in enumerate(bounds) if low <= truth <= high)
        assert held >= confidence - 1e-9
    # A narrower interval would not: half as wide about the share.
    truth = 0.3
    if trials == 60:
        narrow = [(0.5 * (a + k / trials), 0.5 * (b + k / trials)) for k, (a, b) in enumerate(bounds)]
        held = sum(binom.pmf(k, trials, truth) for k, (low, high) in enumerate(narrow) if low <= truth <= high)
        assert held < confidence


def test_bounds_at_none_and_all_are_the_known_ones():
    low, high = clopper_pearson(0, 40, 0.95)
    assert low == 0.0 and high == pytest.approx(1 - 0.025 ** (1 / 40))
    low, high = clopper_pearson(40, 40, 0.95)
    assert high == 1.0 and low == pytest.approx(0.025 ** (1 / 40))


@pytest.mark.parametrize("required", [0.5, 0.9, 0.95, 0.99])
def test_so_many_scenarios_can_show_a_probability_and_one_fewer_cannot(required):
    n = scenarios_to_show(required, 0.95)
    assert clopper_pearson(n, n, 0.95)[0] >= required > clopper_pearson(n - 1, n - 1, 0.95)[0]


def test_what_is_undecided_widens_the_bounds():
    decided, open_ = CountedProbability(40, 40, 50, 0.95), CountedProbability(40, 45, 50, 0.95)
    assert open_.probability == decided.probability == 0.8 and open_.undecided == pytest.approx(0.1)
    assert open_.low == decided.low and open_.high > decided.high


@pytest.mark.parametrize("counts", [(3, 2, 10), (-1, 2, 10), (1, 11, 10), (0, 0, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(OptionError, match="counts must rise"):
        CountedProbability(*counts, 0.95)


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_impossible_confidences_are_refused(confidence):
    with pytest.raises(OptionError, match="confidence"):
        CountedProbability(1, 2, 3, confidence)
    with pytest.raises(OptionError, match="confidence"):
        scenarios_to_show(0.9, confidence)


@pytest.mark.parametrize("required", [0.0, 1.0, 1.2, math.nan])
def test_impossible_probabilities_are_refused(required):
    with pytest.raises(OptionError, match="required probability"):
        scenarios_to_show(required, 0.95)


@pytest.mark.parametrize("components", [1, 2, 3])
@pytest.mark.parametrize("freedom", [None, 3.0, 8.0])
def test_the_law_of_the_error_s_length_is_that_of_its_components(components, freedom):
    rng = np.random.default_rng(components)
    errors = 1.7 * rng.standard_normal((200_000, components))
    if freedom is not None:
        errors *= np.sqrt((freedom - 2) / rng.chisquare(freedom, len(errors)))[:, None]
    length = np.linalg.norm(errors, axis=1)
    for room in (0.5, 2.0, 5.0):
        assert sphere_margin_probability(room, 1.7, components, freedom) == pytest.approx(
            (length <= room).mean(), abs=0.004
        )
    assert sphere_margin_probability(0.0, 1.7, components, freedom) == 0.0
    assert sphere_margin_probability(-1.0, 1.7, components, freedom) == 0.0


def test_known_values_of_the_laws():
    assert sphere_margin_probability(2.0, 1.0, 2) == pytest.approx(1 - math.exp(-2.0))
    assert sphere_margin_probability(1.0, 1.0, 1) == pytest.approx(math.erf(1 / math.sqrt(2)))
    maxwell = math.erf(1.5 / math.sqrt(2)) - math.sqrt(2 / math.pi) * 1.5 * math.exp(-(1.5**2) / 2)
    assert sphere_margin_probability(1.5, 1.0, 3) == pytest.approx(maxwell)
    assert wall_hit_probability(3.0, 3.0) == pytest.approx(0.158655, abs=1e-6)


@pytest.mark.parametrize(("across", "along"), [(1.0, 1.0), (2.0, 0.7), (0.7, 2.0), (1.3, 1.3000001), (0.4, 3.0)])
def test_an_error_with_two_spreads_agrees_with_the_integral(across, along):
    for room in (0.3, 2.0, 4.5):

        def part(z, room=room):
            rest = 1 - math.exp(-(room**2 - z**2) / (2 * across**2))
            return rest * math.exp(-0.5 * (z / along) ** 2) / (along * math.sqrt(2 * math.pi))

        expected = quad(part, -room, room, epsabs=1e-12)[0]
        assert needle_aligned_probability(room, across, along) == pytest.approx(expected, abs=1e-8)
    if across == along:
        assert needle_aligned_probability(2.0, across, along) == pytest.approx(
            sphere_margin_probability(2.0, across, 3)
        )
    assert needle_aligned_probability(0.0, across, along) == 0.0


def test_closed_forms_refuse_spreads_of_zero():
    for call in (
        lambda: sphere_margin_probability(1.0, 0.0),
        lambda: sphere_margin_probability(1.0, 1.0, 4),
        lambda: sphere_margin_probability(1.0, 1.0, 3, 2.0),
        lambda: needle_aligned_probability(1.0, 0.0, 1.0),
        lambda: wall_hit_probability(1.0, 0.0),
    ):
        with pytest.raises(OptionError):
            call()
