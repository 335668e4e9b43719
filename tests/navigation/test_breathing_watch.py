"""Breathing of a session: the gate keeps what it promises, and no clock, hang or flood opens it."""

import dataclasses

import numpy as np
import pytest

from needleplan.motion.cough import Cough
from needleplan.motion.linear_prediction import LinearPredictor
from needleplan.navigation.breathing_watch import BREATHING_PREDICTOR, BreathingWatch
from needleplan.navigation.events import BreathingSample
from needleplan.navigation.guidance import DoubtKind
from needleplan.navigation.options import SessionOptions

#: An oblique way of the target, towards the feet and the front.
WAY = np.array([0.3, -0.5, -1.0]) / np.linalg.norm([0.3, -0.5, -1.0])
CRANIAL = np.array([0.0, 0.0, 1.0])
ASKED_HZ = 60.0


def watch(predictor=BREATHING_PREDICTOR, **options):
    return BreathingWatch(predictor, SessionOptions(**options), CRANIAL)


def kinds(found):
    return {doubt.kind for doubt in found}


def fed(own, begin_s, end_s, where=lambda t: np.zeros(3), hz=60.0, latency_s=0.01, noise_mm=0.05, seed=0):
    """Feed samples measured within a time, each as it arrives; the last has just arrived."""
    rng = np.random.default_rng(seed)
    for time_s in np.arange(begin_s, end_s, 1.0 / hz):
        moved = where(time_s) + noise_mm * rng.standard_normal(3)
        own.take(BreathingSample(time_s, time_s + latency_s, tuple(moved)))
    return own


def gated(own, amplitude_mm, period_s, exponent, hz, latency_s, noise_mm=0.1, seconds=16.0):
    """Share of the time with the gate open and without doubt, and the farthest true target meanwhile.

    The true target moves by ``A |sin(pi t / T)|^n``, of which every distance is known in closed form.
    """

    def truth(time_s):
        return amplitude_mm * abs(np.sin(np.pi * time_s / period_s)) ** exponent

    rng = np.random.default_rng(0)
    measured_s, opened, farthest_mm, asked = 0.0, 0, 0.0, 0
    for now_s in np.arange(0.5, seconds, 1.0 / ASKED_HZ):
        while measured_s + latency_s <= now_s:
            moved = truth(measured_s) * WAY + noise_mm * rng.standard_normal(3)
            own.take(BreathingSample(measured_s, measured_s + latency_s, tuple(moved)))
            measured_s += 1.0 / hz
        away_mm = own.away_mm(now_s)
        asked += 1
        if away_mm is not None and away_mm <= own.options.gate_mm and not own.doubts(now_s):
            opened += 1
            farthest_mm = max(farthest_mm, truth(now_s))
    return opened / asked, farthest_mm


@pytest.mark.parametrize(
    ("amplitude_mm", "period_s", "exponent", "hz", "latency_s", "least_share"),
    [
        (15.0, 4.0, 6, 60.0, 0.03, 0.4),
        (12.0, 4.0, 4, 60.0, 0.012, 0.3),
        (25.0, 3.0, 6, 30.0, 0.1, 0.05),
        (25.0, 3.0, 6, 10.0, 0.1, 0.0),
        (25.0, 2.5, 6, 25.0, 0.2, 0.0),
        (30.0, 3.0, 6, 8.0, 0.15, 0.0),
        (40.0, 3.0, 6, 25.0, 0.25, 0.0),
        (20.0, 5.0, 2, 30.0, 0.05, 0.05),
    ],
)
def test_the_target_is_within_the_gate_whenever_it_is_open(
    amplitude_mm, period_s, exponent, hz, latency_s, least_share
):
    share, farthest_mm = gated(watch(), amplitude_mm, period_s, exponent, hz, latency_s)
    assert farthest_mm <= 2.0 + 0.25 and share >= least_share
    # A patient who does not breathe, with a sensor of this kind, is let go on where it is quick enough.
    if latency_s <= 0.1 and hz >= 30.0:
        assert gated(watch(), 0.0, period_s, exponent, hz, latency_s)[0] > 0.9


def test_a_calm_prediction_without_its_error_would_leave_the_gate():
    calm = LinearPredictor(0.4, 0.35, 5.0)
    assert gated(watch(calm, gate_errors=1e-6), 25.0, 2.5, 6, 25.0, 0.2)[1] > 5.0


def test_the_gate_counts_standard_errors_and_not_the_mean_alone():
    own = fed(watch(), 0.0, 1.0)
    now_s = 1.0
    expected_mm = float(np.linalg.norm(own.displacement_mm(now_s)))
    found = own.predictor.predict(own._state, now_s)
    assert own.away_mm(now_s) == pytest.approx(expected_mm + 2.0 * found.standard_error_mm)
    assert watch(breathing=False).away_mm(1.0) == 0.0
    # A prediction alone opens no gate: the newest sample counts where it lies farther away.
    far = fed(watch(gate_errors=1e-6), 0.0, 1.0, lambda t: (6.0 - 4.0 * t) * WAY, noise_mm=0.001)
    assert far.away_mm(1.2) > float(np.linalg.norm(far.displacement_mm(1.2))) + 0.5


def test_samples_of_the_future_are_doubt_and_give_no_figure():
    own = fed(watch(), 0.0, 30.0)
    assert not own.doubts(30.0)
    assert DoubtKind.CLOCK in kinds(own.doubts(15.0))
    assert own.displacement_mm(15.0) is None and own.away_mm(15.0) is None


def test_a_new_registration_forgets_the_breathing_of_another_clock():
    own = fed(watch(), 0.0, 30.0)
    own.forget()
    assert kinds(own.doubts(0.5)) == {DoubtKind.STALE_BREATHING} and own.away_mm(0.5) is None
    # The clock began anew; the patient breathes by 12 mm, and none of it is taken for what was before.
    share, farthest_mm = gated(own, 12.0, 4.0, 4, 60.0, 0.012)
    assert own.ignored["out of order"] == 0 and 0.2 < share < 0.6 and farthest_mm <= 2.25


def test_what_was_unusual_stays_so_for_its_calm_time_over_a_registration():
    own = fed(watch(), 0.0, 10.0)
    own.take(BreathingSample(10.0, 10.01, tuple(20.0 * WAY)))
    assert DoubtKind.UNUSUAL_BREATHING in kinds(own.doubts(10.02))
    own.forget()
    fed(own, 1.0, 2.0)
    assert DoubtKind.UNUSUAL_BREATHING in kinds(own.doubts(2.0))
    fed(own, 2.0, 4.5)
    assert not own.doubts(4.5)
    # Long over before, it is no reason any more.
    own.forget()
    fed(own, 0.0, 4.0)
    assert not own.doubts(4.0)
    own.forget()
    assert not fed(own, 0.0, 1.0).doubts(1.0)


def test_a_cough_is_far_from_where_it_was_expected():
    own = watch()
    cough, seen = Cough(), []
    for begin_s in np.arange(0.0, 3.0, 1.0 / 60.0):
        fed(own, begin_s, begin_s + 1e-6, lambda t: cough.displacement_mm(t, [2.0]), noise_mm=0.0)
        seen.append(DoubtKind.UNUSUAL_BREATHING in kinds(own.doubts(begin_s + 0.012)))
    assert not any(seen[:120]) and any(seen[120:])


def test_a_clock_that_was_set_back_is_doubt_until_it_is_registered_again():
    own = fed(watch(), 0.0, 10.0)
    fed(own, 9.0, 9.25)
    assert DoubtKind.CLOCK not in kinds(own.doubts(10.1))
    fed(own, 9.25, 9.5)
    assert DoubtKind.CLOCK in kinds(own.doubts(10.1))
    # When it has caught up it is still not to be believed.
    fed(own, 10.0, 12.0)
    assert kinds(own.doubts(12.0)) == {DoubtKind.CLOCK}
    own.forget()
    assert not fed(own, 12.0, 13.0).doubts(13.0)


def test_a_sample_that_is_sent_again_is_no_clock_set_back():
    own = fed(watch(), 0.0, 2.0)
    again = own._newest
    for _ in range(50):
        own.take(again)
    assert not own.doubts(2.01) and own.ignored["out of order"] == 50


@pytest.mark.parametrize("hz", [60.0, 30.0, 12.0])
def test_a_sensor_that_hangs_at_exhale_opens_the_gate_no_longer_than_a_third_of_a_second(hz):
    own = fed(watch(), 0.0, 5.0, hz=hz)
    hung = own._newest
    open_until_s = hung.measured_s
    for time_s in np.arange(hung.measured_s + 1.0 / hz, 8.0, 1.0 / hz):
        own.take(dataclasses.replace(hung, measured_s=time_s, received_s=time_s + 0.01))
        away_mm = own.away_mm(time_s + 0.012)
        if away_mm is not None and away_mm <= 2.0 and not own.doubts(time_s + 0.012):
            open_until_s = time_s + 0.012
    assert open_until_s - hung.measured_s <= 0.3
    assert kinds(own.doubts(time_s + 0.012)) == {DoubtKind.STALE_BREATHING}
    # It is believed again when it moves again.
    assert not fed(own, 8.0, 12.0, hz=hz).doubts(12.0)


def test_samples_that_come_quicker_than_any_sensor_cost_no_memory():
    own = watch()
    for k in range(5000):
        own.take(BreathingSample(1.0 + k * 1e-6, 1.0 + k * 2e-4, (0.001 * (k % 7), 0.0, 0.0)))
    assert len(own._state.time_s) <= 10 and own.ignored["too soon"] > 4900


def test_samples_of_the_smallest_times_give_no_figure_that_is_none():
    for times_s in ((5e-324, 1e-323), (0.0, 5e-324), (1.0, 1.0 + 1e-15)):
        own = watch()
        for k, time_s in enumerate(times_s):
            own.take(BreathingSample(time_s, time_s, (0.1 * k, 0.0, 0.0)))
        with np.errstate(all="raise"):
            assert own.displacement_mm(times_s[-1] + 0.01) is None
            assert own.away_mm(times_s[-1] + 0.01) is None and own.doubts(times_s[-1] + 0.01)


def test_a_sample_beyond_any_body_is_not_used_and_is_unusual():
    own = fed(watch(), 0.0, 5.0)
    with np.errstate(all="raise"):
        own.take(BreathingSample(5.0, 5.0, (1e300, 0.0, 0.0)))
        assert kinds(own.doubts(5.01)) == {DoubtKind.UNUSUAL_BREATHING}
        assert np.isfinite(own.displacement_mm(5.01)).all() and own.ignored["beyond any body"] == 1


def test_the_window_of_the_predictor_itself_is_bounded():
    predictor = LinearPredictor(0.4)
    state = predictor.start()
    for k in range(3000):
        state = predictor.observe(state, 1.0 + k * 1e-5, (0.0, 0.0, 1e-5 * k))
    assert len(state.time_s) == 2048 and state.time_s[-1] == 1.0 + 2999 * 1e-5
    assert predictor.ready(state, 1.1)
    twice = predictor.observe(predictor.observe(predictor.start(), 0.0, np.zeros(3)), 5e-324, np.ones(3))
    assert not predictor.ready(twice, 0.1)
