import os
from pathlib import Path

import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.io.traces import read_breathing_trace
from needleplan.motion.harmonic_prediction import HarmonicKalmanPredictor
from needleplan.motion.last_value_prediction import LastValuePredictor
from needleplan.motion.linear_prediction import LinearPredictor
from needleplan.motion.prediction_score import fitted, log_error, log_surprise, score
from needleplan.motion.trace import BreathingTrace

DATA = os.environ.get("NEEDLEPLAN_DATA")


def line_trace(slope_mm_s=4.0, noise_mm=0.0, count=400):
    times = 0.1 * np.arange(count)
    places = times[:, None] * slope_mm_s * np.array([0.0, 0.6, -0.8])
    return BreathingTrace(times, places + np.random.default_rng(0).normal(0, noise_mm, (count, 3)), "line")


def test_no_prediction_is_wrong_by_the_way_of_the_latency():
    got = score(LastValuePredictor(), line_trace(), 0.25)
    np.testing.assert_allclose(got.error_mm, 1.0, atol=1e-9)
    assert got.root_mean_square_mm == pytest.approx(1.0) and got.percentile_95_mm == pytest.approx(1.0)
    assert got.jitter_mm_s == pytest.approx(4.0) and got.truth_jitter_mm_s == pytest.approx(4.0)
    assert got.time_s[0] == pytest.approx(20.25) and got.time_s[-1] <= 39.9
    assert score(LinearPredictor(), line_trace(), 0.25).root_mean_square_mm < 1e-9


def test_the_share_within_the_ellipsoid_is_that_of_the_stated_noise():
    from scipy.stats import chi2

    # A point at rest, measured with 0.4 mm: of the difference of two samples each axis has twice the variance.
    trace = line_trace(0.0, 0.4, 4000)
    honest = score(LastValuePredictor(np.sqrt(2) * 0.4, 1e-6), trace, 0.1)
    assert honest.covered_95 == pytest.approx(0.95, abs=0.015)
    assert np.mean(honest.squared_distance) == pytest.approx(3.0, rel=0.06)
    bold = score(LastValuePredictor(np.sqrt(2) * 0.2, 1e-6), trace, 0.1)
    assert bold.covered_95 == pytest.approx(chi2.cdf(chi2.ppf(0.95, 3) / 4, 3), abs=0.03)
    assert log_surprise(bold) > log_surprise(honest)


def test_the_fit_finds_the_noise_of_a_trace():
    found = fitted(
        lambda noise: LastValuePredictor(noise, 1e-6), (3.0,), [line_trace(0.0, 0.4, 1000)], 0.1, log_surprise
    )
    assert found.noise_mm == pytest.approx(np.sqrt(2) * 0.4, rel=0.1)
    window = fitted(
        lambda each: LinearPredictor(min(0.2 + each, 10.0)), (0.2,), [line_trace(4.0, 0.4)], 0.1, log_error
    )
    assert window.window_s > 0.6


def test_what_lies_within_a_gap_is_not_judged():
    trace = line_trace()
    keep = (trace.time_s < 25.0) | (trace.time_s > 28.0)
    cut = BreathingTrace(trace.time_s[keep], trace.displacement_mm[keep], "cut")
    got = score(LastValuePredictor(), cut, 0.25)
    assert not ((got.time_s > 25.0) & (got.time_s < 28.0)).any()
    np.testing.assert_allclose(got.error_mm, 1.0, atol=1e-9)


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(MotionError, match="nothing is left"):
        score(LastValuePredictor(), line_trace(), 0.25, learning_s=60.0)
    for latency in (0.0, -0.1, float("nan")):
        with pytest.raises(MotionError, match="latency"):
            score(LastValuePredictor(), line_trace(), latency)


@pytest.mark.skipif(not DATA, reason="NEEDLEPLAN_DATA does not name a folder of real data")
@pytest.mark.parametrize(
    "file",
    ["breathing-extmarker/201205101522-LAC-1-N-138-6.csv", "breathing-kim-liver/LiverTraj_Erratic70s_robot.txt"],
)
def test_the_harmonic_filter_beats_no_prediction_on_recordings(file):
    trace = read_breathing_trace(Path(DATA or "") / file)
    for latency in (0.2, 0.5):
        none = score(LastValuePredictor(), trace, latency, end_s=90.0)
        ours = score(HarmonicKalmanPredictor(), trace, latency, end_s=90.0)
        assert ours.root_mean_square_mm < 0.85 * none.root_mean_square_mm
        assert 0.85 < ours.covered_95
