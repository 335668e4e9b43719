"""Percentages: what is hoped for is never told greater than it is, and what is feared never smaller."""

import numpy as np
import pytest

from needleplan.percentages import chance_in_percent, percent_down, percent_up
from needleplan.plan import Likelihood


@pytest.mark.parametrize(
    ("share", "down", "up"),
    [
        (0.0, "0 %", "0 %"),
        (1e-7, "under 0.1 %", "0.1 %"),
        (0.0009, "under 0.1 %", "0.1 %"),
        (0.001, "0.1 %", "0.1 %"),
        (0.3278, "32.7 %", "32.8 %"),
        (0.5, "50.0 %", "50.0 %"),
        (0.998, "99.8 %", "99.8 %"),
        (0.98368, "98.3 %", "98.4 %"),
        (0.99996, "99.9 %", "over 99.9 %"),
        (1.0, "100 %", "100 %"),
        (sum([0.1] * 10), "100 %", "100 %"),
    ],
)
def test_a_share_is_rounded_to_the_stated_side(share, down, up):
    assert (percent_down(share), percent_up(share)) == (down, up)


def test_every_tenth_of_a_percent_is_itself():
    tenths = np.arange(1, 1000)
    assert [percent_down(k / 1000) for k in tenths] == [f"{k / 10:.1f} %" for k in tenths]
    assert [percent_up(k / 1000) for k in tenths] == [f"{k / 10:.1f} %" for k in tenths]


@pytest.mark.parametrize(
    ("event", "chance"),
    [
        ("the target is covered", "32.7 %"),
        ("the margin reaches 5 mm", "32.7 %"),
        ("a needle hits the target is covered", "32.8 %"),
        ("the zone reaches colon", "32.8 %"),
    ],
)
def test_success_is_rounded_down_and_harm_up_and_bounds_outwards(event, chance):
    told = chance_in_percent(Likelihood(event, 0.32751, 0.0004, 0.99961))
    assert told == (chance, "under 0.1 % to over 99.9 %")
