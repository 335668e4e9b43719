"""The picture of many rehearsals: every strategy has its row, and what is drawn is where the figures say."""

import numpy as np
import pytest
from made_outcomes import needle, run

from needleplan.errors import OptionError
from needleplan.uncertainty.rehearsal_statistics import strategy_statistics
from needleplan.viz.rehearsals import draw_rehearsals

BLUE, VERMILLION = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def runs_of(strategy, size, count=40, seed=0):
    rng = np.random.default_rng(seed)
    runs = []
    for k in range(count):
        lateral, depth = float(size * np.hypot(*rng.normal(0, 1, 2))), float(rng.normal(-1.0, size))
        runs.append(run(k + 1, [needle(np.hypot(lateral, depth), lateral, depth)], strategy))
    return runs


def columns(image, color):
    """Columns of the first panel in which a colour stands."""
    panel = image[110:-70, 230:660].astype(int)
    return np.flatnonzero((np.abs(panel - color).max(axis=-1) < 12).any(axis=0))


def test_a_larger_error_is_drawn_farther_to_the_right():
    runs = [*runs_of("free-breathing", 4.0), *runs_of("tracking", 1.0, seed=1)]
    statistics = [strategy_statistics(runs[:40], 5.0), strategy_statistics(runs[40:], 5.0)]
    image = draw_rehearsals(runs, statistics)
    assert image.shape == (210 + 115 * 2, 1700, 3) and image.dtype == np.uint8
    # Median and 95th percentile alone have the full colour.
    free, tracking = columns(image, BLUE), columns(image, VERMILLION)
    assert free.max() > 2.0 * tracking.max()
    axis = [statistics[0].errors["lateral_error_mm"], statistics[1].errors["lateral_error_mm"]]
    apart = (free.max() - free.min()) / (tracking.max() - tracking.min())
    expected = [errors.percentile_95.value - errors.median.value for errors in axis]
    assert apart == pytest.approx(expected[0] / expected[1], rel=0.1)


def test_one_more_strategy_is_one_more_row_and_nothing_placed_is_none():
    first, second, third = runs_of("a", 2.0), runs_of("b", 3.0, seed=1), [run(1, [], "c", metrics=None)]
    statistics = [strategy_statistics(runs, 5.0) for runs in (first, second, third)]
    assert draw_rehearsals([*first, *second, *third], statistics).shape[0] == 210 + 115 * 2
    one = run(1, [needle()], "d")
    assert draw_rehearsals([one], [strategy_statistics([one], 5.0)]).std() > 5
    with pytest.raises(OptionError, match="no needle was placed"):
        draw_rehearsals(third, statistics[2:])
