import dataclasses

import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.motion.harmonic_prediction import HarmonicKalmanPredictor
from needleplan.motion.kalman_prediction import KinematicKalmanPredictor, wandering_derivative
from needleplan.motion.last_value_prediction import LastValuePredictor
from needleplan.motion.linear_prediction import LinearPredictor
from needleplan.motion.lujan import LujanMotion

DIRECTION = np.array([0.3, -0.5, -0.9])


def watched(predictor, times, positions):
    state = predictor.start()
    for time, position in zip(times, positions, strict=True):
        state = predictor.observe(state, time, position)
    return state


def irregular_times(duration_s, seed=0):
    return np.cumsum(np.random.default_rng(seed).uniform(0.02, 0.2, int(duration_s / 0.11)))


def test_the_line_is_exact_on_a_line_at_irregular_times():
    times = irregular_times(5.0)
    start, speed = np.array([100.0, -3.0, 40.0]), np.array([2.0, -7.0, 11.0])
    state = watched(LinearPredictor(0.5), times, start + times[:, None] * speed)
    for ahead in (0.0, 0.1, 0.5, 2.0):
        found = LinearPredictor(0.5).predict(state, times[-1] + ahead).mean_mm
        np.testing.assert_allclose(found, start + (times[-1] + ahead) * speed, rtol=0, atol=1e-9)


def test_the_line_is_the_least_squares_line():
    rng = np.random.default_rng(1)
    times = irregular_times(3.0)
    places = rng.normal(0, 5, (len(times), 3))
    state = watched(LinearPredictor(0.6), times, places)
    inside = times >= times[-1] - 0.6
    slope, level = np.polyfit(times[inside], places[inside], 1)
    found = LinearPredictor(0.6).predict(state, times[-1] + 0.4).mean_mm
    np.testing.assert_allclose(found, level + slope * (times[-1] + 0.4), rtol=0, atol=1e-9)


def test_the_line_states_the_error_that_noise_and_acceleration_make():
    # 4000 targets of random constant acceleration; the stated variance on each axis is that of the errors.
    rng = np.random.default_rng(2)
    predictor = LinearPredictor(0.5, noise_mm=0.4, acceleration_mm_s2=12.0)
    times = np.array([0.0, 0.07, 0.2, 0.26, 0.41, 0.5])
    errors, stated = [], 0.0
    for _ in range(2000):
        acceleration = rng.normal(0, 12.0, 3)
        places = 3.0 * times[:, None] + 0.5 * times[:, None] ** 2 * acceleration
        state = watched(predictor, times, places + rng.normal(0, 0.4, places.shape))
        prediction = predictor.predict(state, 0.8)
        errors.append(prediction.mean_mm - 2.4 - 0.5 * 0.8**2 * acceleration)
        stated = prediction.covariance_mm2
    measured = np.cov(np.array(errors).T)
    # The spread of a variance of 2000 draws is sqrt(2 / 2000) of it.
    np.testing.assert_allclose(np.diag(measured), np.diag(stated), rtol=4 * np.sqrt(2 / 2000))
    assert not (stated - np.diag(np.diag(stated))).any()


def test_no_prediction_is_the_latest_sample():
    predictor = LastValuePredictor(noise_mm=0.3, speed_mm_s=4.0)
    state = watched(predictor, [0.0, 1.0], [[1, 2, 3], [4, 5, 6]])
    prediction = predictor.predict(state, 1.5)
    np.testing.assert_array_equal(prediction.mean_mm, [4, 5, 6])
    np.testing.assert_allclose(prediction.covariance_mm2, (0.09 + 4.0) * np.eye(3), rtol=1e-12)
    assert prediction.standard_error_mm == pytest.approx(np.sqrt(3 * 4.09))


@pytest.mark.parametrize("order", [2, 3])
def test_the_process_noise_is_the_integral_of_the_noise(order):
    # Q = integral of F(s) e e' F(s)' ds, by quadrature; and two steps make one.
    s = np.linspace(0, 0.7, 20_001)
    pushed = np.array([wandering_derivative(each, order)[0][:, -1] for each in s])
    integral = np.trapezoid(pushed[:, :, None] * pushed[:, None, :], s, axis=0)
    transition, process = wandering_derivative(0.7, order)
    np.testing.assert_allclose(process, integral, rtol=1e-6)
    first, noise = wandering_derivative(0.5, order)
    second, more = wandering_derivative(0.2, order)
    np.testing.assert_allclose(second @ first, transition, atol=1e-12)
    np.testing.assert_allclose(second @ noise @ second.T + more, process, atol=1e-12)


@pytest.mark.parametrize("order", [2, 3])
def test_the_kinematic_filter_follows_its_own_motion_exactly(order):
    times = irregular_times(20.0)
    rates = np.array([[5.0, -2.0, 90.0], [3.0, -7.0, 11.0], [2.0, 1.0, -4.0]])[:order]
    predictor = KinematicKalmanPredictor(order, 10.0, 0.3)

    def place(time):
        return sum(rate * np.asarray(time)[..., None] ** k for k, rate in enumerate(rates))

    state = watched(predictor, times, place(times))
    found = predictor.predict(state, times[-1] + 0.5).mean_mm
    np.testing.assert_allclose(found, place(times[-1] + 0.5), atol=1e-3)


def dare_covariance(transition, process, row):
    from scipy.linalg import solve_discrete_are

    before = solve_discrete_are(transition.T, row[:, None], process, np.eye(1))
    gain = before @ row / (row @ before @ row + 1.0)
    return gain, before - np.outer(gain, row) @ before


@pytest.mark.parametrize("order", [2, 3])
def test_the_steady_state_of_the_kinematic_filter_solves_the_riccati_equation(order):
    predictor = KinematicKalmanPredictor(order, 20.0, 0.4)
    rng = np.random.default_rng(3)
    state = watched(predictor, 0.1 * np.arange(600), rng.normal(0, 1, (600, 3)))
    transition, process = wandering_derivative(0.1, order)
    gain, after = dare_covariance(transition, process * (20.0 / 0.4) ** 2, np.eye(order)[0])
    np.testing.assert_allclose(state.covariance[0], after, rtol=1e-6)
    # The gain itself: a unit jump in one sample moves the state by it.
    low = predictor.observe(state, 60.0, [0.0, 0.0, 0.0]).mean[0]
    high = predictor.observe(state, 60.0, [1.0, 0.0, 0.0]).mean[0]
    np.testing.assert_allclose(high[:, 0] - low[:, 0], gain, rtol=1e-6)
    np.testing.assert_array_equal(high[:, 1:], low[:, 1:])


def test_the_steady_state_of_every_harmonic_filter_solves_the_riccati_equation():
    predictor = HarmonicKalmanPredictor(harmonics=2, shortest_s=3.0, longest_s=6.0, period_count=3)
    state = watched(predictor, 0.1 * np.arange(3000), np.random.default_rng(4).normal(0, 1, (3000, 3)))
    transition, process = predictor.transition(0.1), predictor.process_noise(0.1)[0]
    row = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    for k in range(3):
        _, after = dare_covariance(transition[k], process, row)
        np.testing.assert_allclose(state.covariance[k], after, rtol=1e-5, atol=1e-9)


def test_turning_for_two_times_is_turning_for_their_sum():
    predictor = HarmonicKalmanPredictor()
    both = predictor.transition(0.3) @ predictor.transition(0.45)
    np.testing.assert_allclose(both, predictor.transition(0.75), atol=1e-12)
    # The noise turns with the pair and stays what it is.
    turned = predictor.transition(0.3) @ predictor.process_noise(0.45) @ predictor.transition(0.3).swapaxes(1, 2)
    whole = np.broadcast_to(predictor.process_noise(0.75), turned.shape)
    np.testing.assert_allclose(turned + predictor.process_noise(0.3), whole, atol=1e-9)


@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_the_harmonic_filter_converges_on_lujan_at_irregular_times(exponent):
    # cos^(2n) is a level and n harmonics: with the true period among the models nothing is left but the start.
    predictor = HarmonicKalmanPredictor(
        harmonics=3, shortest_s=2.5, longest_s=6.4, period_count=3, amplitude_drift=0.05, level_drift=0.05
    )
    motion = LujanMotion(15.0, 4.0, exponent, 0.7, tuple(DIRECTION))
    assert predictor.periods_s[1] == pytest.approx(4.0)
    times = irregular_times(120.0)
    state = watched(predictor, times, motion.displacement_mm(times))
    assert state.weight[1] > 0.999
    later = times[-1] + np.linspace(0, 4, 9)
    found = np.array([predictor.predict(state, each).mean_mm for each in later])
    np.testing.assert_allclose(found, motion.displacement_mm(later), atol=0.02)


def test_the_harmonic_filter_beats_no_prediction_where_the_period_lies_between_two_models():
    predictor = HarmonicKalmanPredictor()
    motion = LujanMotion(15.0, 4.48, 2, 0.7, tuple(DIRECTION))
    times = 0.1 * np.arange(600)
    places = motion.displacement_mm(times)
    assert np.abs(predictor.periods_s - 4.48).min() > 0.05
    state, none, ours = predictor.start(), [], []
    for time, place in zip(times, places, strict=True):
        state = predictor.observe(state, time, place)
        if time > 20.0:
            truth = motion.displacement_mm(time + 0.5)
            none.append(np.linalg.norm(place - truth))
            ours.append(np.linalg.norm(predictor.predict(state, time + 0.5).mean_mm - truth))
    assert np.sqrt(np.mean(np.square(ours))) < 0.15 * np.sqrt(np.mean(np.square(none)))


def test_a_period_of_two_breaths_gives_the_phase_of_one():
    predictor = HarmonicKalmanPredictor(harmonics=4, shortest_s=8.0, longest_s=8.0, period_count=1)
    motion = LujanMotion(15.0, 4.0, 2, 0.0, tuple(DIRECTION))
    times = irregular_times(60.0)
    state = watched(predictor, times, motion.displacement_mm(times))
    for ahead in np.linspace(0, 8, 13):
        found = predictor.phase(state, times[-1] + ahead)
        assert abs((found.phase - (times[-1] + ahead) / 4.0 + 0.5) % 1.0 - 0.5) < 0.01
        assert found.period_s == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize("phase", [0.0, 0.4, 2.5])
def test_the_phase_is_that_of_the_motion(phase):
    predictor = HarmonicKalmanPredictor(shortest_s=2.5, longest_s=6.4, period_count=3)
    motion = LujanMotion(15.0, 4.0, 2, phase, tuple(DIRECTION))
    times = irregular_times(60.0)
    state = watched(predictor, times, motion.displacement_mm(times))
    for ahead in (0.0, 0.3, 1.9):
        found = predictor.phase(state, times[-1] + ahead)
        # cos(pi t / T - phase) is 1 at the end of inhalation.
        true = ((times[-1] + ahead) / 4.0 - phase / np.pi) % 1.0
        assert abs((found.phase - true + 0.5) % 1.0 - 0.5) < 0.01
        assert found.period_s == pytest.approx(4.0, abs=0.02) and found.phase_error < 0.01
        assert found.swing_mm == pytest.approx(15.0, abs=0.3)


def wandering_target(rng, times, drift):
    """A target that moves as the kinematic filter of order 2 believes."""
    state, places = np.zeros((2, 3)), []
    for passed in np.diff(times, prepend=times[0]):
        if passed > 0.0:
            transition, process = wandering_derivative(passed, 2)
            state = transition @ state + drift * np.linalg.cholesky(process) @ rng.normal(size=(2, 3))
        places.append(state[0])
    return np.array(places)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_95_percent_of_kinematic_predictions_lie_within_the_stated_ellipsoid(scale):
    # Also where all noise is four times what was assumed: its size is learned.
    from scipy.stats import chi2

    rng = np.random.default_rng(5)
    predictor = KinematicKalmanPredictor(2, 10.0, 0.3)
    times = np.arange(0, 400, 0.1) + rng.uniform(-0.03, 0.03, 4000)
    places = scale * wandering_target(rng, times, 10.0)
    measured = places + scale * rng.normal(0, 0.3, places.shape)
    state, inside = predictor.start(), []
    for k in range(len(times) - 4):
        state = predictor.observe(state, times[k], measured[k])
        if k > 300 and k % 5 == 0:
            prediction = predictor.predict(state, times[k + 3])
            apart = prediction.mean_mm - places[k + 3]
            inside.append(apart @ np.linalg.solve(prediction.covariance_mm2, apart) <= chi2.ppf(0.95, 3))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


def test_95_percent_of_harmonic_predictions_lie_within_the_stated_ellipsoid():
    from scipy.stats import chi2

    inside = []
    predictor = HarmonicKalmanPredictor(harmonics=2, period_count=12, amplitude_drift=1.5, level_drift=0.8)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        # A target that moves as one of the filters believes, with the noise of a tracker.
        truth = dataclasses.replace(predictor, shortest_s=4.1, longest_s=4.1, period_count=1)
        spread = np.sqrt(np.diag(truth.process_noise(0.1)[0])) * truth.noise_mm
        turn, row = truth.transition(0.1)[0], np.array([1.0, 1.0, 0.0, 1.0, 0.0])
        state_true = rng.normal(0, 5, (5, 3))
        places = []
        for _ in range(900):
            state_true = turn @ state_true + spread[:, None] * rng.normal(size=(5, 3))
            places.append(row @ state_true)
        measured = np.array(places) + rng.normal(0, 0.3, (900, 3))
        state = predictor.start()
        for k in range(890):
            state = predictor.observe(state, 0.1 * k, measured[k])
            if k > 300 and k % 5 == 0:
                prediction = predictor.predict(state, 0.1 * (k + 4))
                apart = prediction.mean_mm - places[k + 4]
                inside.append(apart @ np.linalg.solve(prediction.covariance_mm2, apart) <= chi2.ppf(0.95, 3))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LinearPredictor(0.0), "window_s"),
        (lambda: LinearPredictor(11.0), "at most 10 s"),
        (lambda: LinearPredictor(0.4, float("nan")), "noise_mm"),
        (lambda: LastValuePredictor(speed_mm_s=-1.0), "speed_mm_s"),
        (lambda: KinematicKalmanPredictor(4), "order"),
        (lambda: KinematicKalmanPredictor(2, float("inf")), "drift"),
        (lambda: HarmonicKalmanPredictor(harmonics=0), "harmonics"),
        (lambda: HarmonicKalmanPredictor(period_count=0), "periods"),
        (lambda: HarmonicKalmanPredictor(shortest_s=5.0, longest_s=4.0), "longer than the longest"),
        (lambda: HarmonicKalmanPredictor(evidence_s=0.0), "evidence_s"),
    ],
)
def test_impossible_parameters_are_refused(make, words):
    with pytest.raises(MotionError, match=words):
        make()
