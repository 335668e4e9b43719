"""What every predictor promises."""

import copy

import numpy as np
import pytest
from found_implementations import implementations

from needleplan.errors import MotionError
from needleplan.motion.harmonic_prediction import HarmonicKalmanPredictor
from needleplan.motion.kalman_prediction import KinematicKalmanPredictor
from needleplan.motion.last_value_prediction import LastValuePredictor
from needleplan.motion.linear_prediction import LinearPredictor
from needleplan.motion.prediction import MotionPredictor

PREDICTORS = {
    "last value": LastValuePredictor(),
    "linear": LinearPredictor(0.5),
    "kalman, constant velocity": KinematicKalmanPredictor(2),
    "kalman, constant acceleration": KinematicKalmanPredictor(3, 40.0),
    "harmonic kalman": HarmonicKalmanPredictor(),
    "harmonic kalman of one period": HarmonicKalmanPredictor(
        harmonics=1, shortest_s=4.0, longest_s=4.0, period_count=1
    ),
}
every_predictor = pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)


def breath(times):
    """An oblique hysteresis loop with a second harmonic, far from the origin."""
    angle = 2 * np.pi * np.asarray(times)[..., None] / 4.2
    return [30.0, -80.0, 12.0] + 8 * np.cos(angle) * [0.1, -0.4, -0.9] + 2 * np.sin(2 * angle) * [0.3, 0.9, -0.2]


def samples(duration_s=12.0, seed=0):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.05, 0.2, int(duration_s / 0.125)))
    return times, breath(times) + rng.normal(0, 0.2, (len(times), 3))


def watched(predictor, times, places, state=None):
    state = predictor.start() if state is None else state
    for time, place in zip(times, places, strict=True):
        state = predictor.observe(state, time, place)
    return state


def same(one, other):
    return np.array_equal(one.mean_mm, other.mean_mm) and np.array_equal(one.covariance_mm2, other.covariance_mm2)


def test_every_predictor_of_the_packages_is_held_to_its_contract():
    assert {type(predictor) for predictor in PREDICTORS.values()} == implementations(MotionPredictor)


@every_predictor
def test_it_is_a_value_with_a_name(predictor):
    assert predictor.name and "\n" not in predictor.name
    assert copy.deepcopy(predictor) == predictor
    with pytest.raises(AttributeError):
        predictor.noise_mm = 3.0


@every_predictor
def test_nothing_can_be_predicted_before_enough_has_been_seen(predictor):
    state = predictor.start()
    assert predictor.latest_s(state) is None and not predictor.ready(state, 0.0)
    with pytest.raises(MotionError, match="too few"):
        predictor.predict(state, 0.0)
    times, places = samples()
    for time, place in zip(times, places, strict=True):
        state = predictor.observe(state, time, place)
        assert predictor.latest_s(state) == time
        if predictor.ready(state, time + 0.1):
            assert np.isfinite(predictor.predict(state, time + 0.1).mean_mm).all()
        else:
            with pytest.raises(MotionError):
                predictor.predict(state, time + 0.1)
    assert predictor.ready(state, times[-1] + 0.1)


@every_predictor
def test_predictions_are_arrays_that_cannot_be_written(predictor):
    times, places = samples()
    state = watched(predictor, times, places)
    for ahead in (0.0, 0.1, 0.5, 2.0):
        prediction = predictor.predict(state, times[-1] + ahead)
        assert prediction.mean_mm.shape == (3,) and prediction.covariance_mm2.shape == (3, 3)
        np.testing.assert_allclose(prediction.covariance_mm2, prediction.covariance_mm2.T, atol=1e-12)
        assert np.linalg.eigvalsh(prediction.covariance_mm2).min() > 0.0
        with pytest.raises(ValueError, match="read-only"):
            prediction.mean_mm[0] = 0.0


@every_predictor
def test_the_future_changes_nothing(predictor):
    # Two motions agree until the sample k and part then: the predictions until k are the same to the last bit.
    times, places = samples()
    other = places.copy()
    other[60:] += 25.0
    one, two = predictor.start(), predictor.start()
    for k in range(60):
        one = predictor.observe(one, times[k], places[k])
        two = predictor.observe(two, times[k], other[k])
        if predictor.ready(one, times[k] + 0.3):
            assert same(predictor.predict(one, times[k] + 0.3), predictor.predict(two, times[k] + 0.3))
    one, two = watched(predictor, times[60:], places[60:], one), watched(predictor, times[60:], other[60:], two)
    assert not same(predictor.predict(one, times[-1] + 0.3), predictor.predict(two, times[-1] + 0.3))


@every_predictor
def test_a_state_is_a_snapshot(predictor):
    times, places = samples()
    kept = watched(predictor, times[:40], places[:40])
    before = predictor.predict(kept, times[39] + 0.2)
    direct = watched(predictor, times[40:], places[40:], kept)
    assert same(predictor.predict(kept, times[39] + 0.2), before)
    restored = watched(predictor, times[40:], places[40:], copy.deepcopy(kept))
    assert same(predictor.predict(restored, times[-1] + 0.2), predictor.predict(direct, times[-1] + 0.2))


@every_predictor
def test_repeated_and_overtaken_samples_do_no_harm(predictor):
    times, places = samples()
    state = watched(predictor, times[:50], places[:50])
    assert predictor.observe(state, times[49], places[49] + 9.0) is state
    assert predictor.observe(state, times[30], places[30]) is state


@every_predictor
def test_drop_outs_are_survived(predictor):
    times, places = samples(60.0)
    kept = (times < 20.0) | (times > 23.0)
    kept &= np.random.default_rng(3).random(len(times)) > 0.3
    state = watched(predictor, times[kept], places[kept])
    found = predictor.predict(state, times[kept][-1] + 0.1).mean_mm
    assert np.linalg.norm(found - breath(times[kept][-1] + 0.1)) < 4.0
    # A gap of ten minutes leaves nothing to build on, and still no nonsense.
    later = watched(predictor, times + 600.0, breath(times + 600.0), state)
    found = predictor.predict(later, times[-1] + 600.1).mean_mm
    assert np.linalg.norm(found - breath(times[-1] + 600.1)) < 2.5


@every_predictor
def test_the_stated_error_grows_with_the_time_ahead(predictor):
    times, places = samples(30.0)
    state = watched(predictor, times, places)
    errors = [predictor.predict(state, times[-1] + ahead).standard_error_mm for ahead in (0.0, 0.2, 0.5, 1.0)]
    assert errors == sorted(errors) and errors[0] > 0.0


@every_predictor
def test_the_origin_and_the_axes_do_not_matter(predictor):
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    times, places = samples(20.0)
    shifted = places @ turn.T + [500.0, -30.0, 7.0]
    then = times[-1] + 0.3
    plain = predictor.predict(watched(predictor, times, places), then)
    moved = predictor.predict(watched(predictor, times, shifted), then)
    np.testing.assert_allclose(moved.mean_mm, turn @ plain.mean_mm + [500.0, -30.0, 7.0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(moved.covariance_mm2, turn @ plain.covariance_mm2 @ turn.T, rtol=0, atol=1e-6)


@every_predictor
def test_the_clock_does_not_matter(predictor):
    times, places = samples(20.0)
    plain = predictor.predict(watched(predictor, times, places), times[-1] + 0.3)
    later = predictor.predict(watched(predictor, times + 128.0, places), times[-1] + 128.3)
    np.testing.assert_allclose(later.mean_mm, plain.mean_mm, rtol=0, atol=1e-6)


@every_predictor
def test_what_is_no_sample_is_refused(predictor):
    times, places = samples()
    state = watched(predictor, times, places)
    for bad in ([np.nan, 0, 0], [0, np.inf, 0]):
        with pytest.raises(MotionError, match="finite"):
            predictor.observe(state, times[-1] + 0.1, bad)
    with pytest.raises(MotionError, match="finite"):
        predictor.observe(state, np.nan, [0, 0, 0])
    with pytest.raises(MotionError, match="3 numbers"):
        predictor.observe(state, times[-1] + 0.1, [0, 0])
    with pytest.raises(MotionError, match="no future"):
        predictor.predict(state, times[-1] - 0.1)
    for bad in (np.nan, np.inf):
        with pytest.raises(MotionError):
            predictor.predict(state, bad)
