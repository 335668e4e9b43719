"""What every strategy against breathing promises."""

import copy

import numpy as np
import pytest
from found_implementations import implementations

from needleplan.errors import MotionError
from needleplan.motion.linear_prediction import LinearPredictor
from sim.compensation.amplitude_gating import AmplitudeGating
from sim.compensation.breath_hold import BreathHold
from sim.compensation.contract import CompensationStatus, MotionCompensation, SensorSample
from sim.compensation.free_breathing import FreeBreathing
from sim.compensation.phase_gating import PhaseGating
from sim.compensation.target_view import TargetView
from sim.compensation.tracking import Tracking

STRATEGIES = {
    "free breathing": FreeBreathing(),
    "amplitude gating": AmplitudeGating(),
    "amplitude gating, predicted": AmplitudeGating(view=TargetView(LinearPredictor())),
    "phase gating": PhaseGating(),
    "breath-hold": BreathHold(attempts=2, patience_s=5.0, rest_s=2.0),
    "tracking": Tracking(),
    "tracking along a line": Tracking(view=TargetView(LinearPredictor())),
}
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
LATENCY_S, STEP_S = 0.2, 0.05


def stream(duration_s=30.0, seed=0, until_s=np.inf):
    """Times of steps, and what arrives at each, 0.2 s late and noisy; a breath that holds still from 8 to 11 s."""
    rng = np.random.default_rng(seed)
    result = []
    for k in range(round(duration_s / STEP_S)):
        now = k * STEP_S
        measured = now - LATENCY_S
        arrived = []
        if k % 2 == 0 and measured >= 0.0:
            size = 0.0 if 8.0 <= measured < 11.0 else 10 * np.sin(np.pi * measured / 4.0) ** 4
            place = size * np.array([0.1, -0.4, -0.9]) + rng.normal(0, 0.1, 3)
            if measured < until_s:
                arrived.append(SensorSample(measured, place))
        result.append((now, arrived))
    return result


def run(strategy, steps, state=None):
    state = strategy.start() if state is None else state
    decisions = []
    for now, arrived in steps:
        state, decision = strategy.step(state, now, arrived)
        decisions.append(decision)
    return state, decisions


def alike(one, other):
    keys = ("may_advance", "status", "reason", "hold_breath")
    same = all(getattr(one, key) == getattr(other, key) for key in keys)
    return same and np.array_equal(one.aim_mm, other.aim_mm)


def test_every_strategy_of_the_packages_is_held_to_its_contract():
    assert {type(strategy) for strategy in STRATEGIES.values()} == implementations(MotionCompensation)


@every_strategy
def test_it_is_a_value_with_a_name(strategy):
    assert strategy.name and "\n" not in strategy.name
    assert copy.deepcopy(strategy) == strategy


@every_strategy
def test_every_decision_has_a_reason_and_a_finite_aim(strategy):
    _, decisions = run(strategy, stream())
    for decision in decisions:
        assert decision.reason.strip() and decision.status in CompensationStatus
        assert decision.aim_mm.shape == (3,) and np.isfinite(decision.aim_mm).all()
        with pytest.raises(ValueError, match="read-only"):
            decision.aim_mm[0] = 1.0
        open_status = decision.status in (CompensationStatus.OPEN, CompensationStatus.FREE)
        assert decision.may_advance == open_status


@every_strategy
def test_every_strategy_lets_the_needle_advance_at_some_time(strategy):
    _, decisions = run(strategy, stream())
    assert any(decision.may_advance for decision in decisions)


@every_strategy
def test_the_future_changes_nothing(strategy):
    steps, other = stream(seed=0), stream(seed=0)
    cut = 210
    other[cut:] = [
        (now, [SensorSample(each.time_s, each.displacement_mm + 30.0) for each in arrived])
        for now, arrived in other[cut:]
    ]
    _, one = run(strategy, steps)
    _, two = run(strategy, other)
    assert all(alike(a, b) for a, b in zip(one[:cut], two[:cut], strict=True))
    if not isinstance(strategy, FreeBreathing):
        assert not all(alike(a, b) for a, b in zip(one[cut:], two[cut:], strict=True))


@every_strategy
def test_a_state_is_a_snapshot(strategy):
    steps = stream()
    kept, _ = run(strategy, steps[:300])
    _, direct = run(strategy, steps[300:], kept)
    _, restored = run(strategy, steps[300:], copy.deepcopy(kept))
    assert all(alike(a, b) for a, b in zip(direct, restored, strict=True))


@every_strategy
def test_repeated_and_overtaken_samples_do_no_harm(strategy):
    steps = stream()
    doubled, latest = [], []
    for now, arrived in steps:
        doubled.append((now, [*arrived, *latest]))
        latest = [*latest, *arrived][-3:]
    _, plain = run(strategy, steps)
    _, noisy = run(strategy, doubled)
    assert all(alike(a, b) for a, b in zip(plain, noisy, strict=True))


@every_strategy
def test_without_a_fresh_sample_no_needle_advances_except_in_free_breathing(strategy):
    _, decisions = run(strategy, stream(until_s=10.5))
    dead = [d for (now, _), d in zip(stream(), decisions, strict=True) if now > 10.5 + LATENCY_S + 0.8]
    assert all(d.may_advance == isinstance(strategy, FreeBreathing) for d in dead)
    nothing = run(strategy, [(0.05 * k, []) for k in range(50)])[1]
    assert all(d.may_advance == isinstance(strategy, FreeBreathing) for d in nothing)


@every_strategy
def test_a_sensor_without_noise_that_is_stuck_is_found_out(strategy):
    if isinstance(strategy, FreeBreathing):
        return
    stuck = [(now, [SensorSample(each.time_s, np.zeros(3)) for each in arrived]) for now, arrived in stream()]
    if isinstance(strategy, PhaseGating):
        watchful = PhaseGating(frozen_s=1.0)
    else:
        watchful = type(strategy)(view=TargetView(strategy.view.predictor, frozen_s=1.0))
    late = run(watchful, stuck)[1][60:]
    assert not any(decision.may_advance for decision in late)
    assert any("same value" in decision.reason for decision in late)


@every_strategy
def test_a_sample_from_the_future_is_refused(strategy):
    with pytest.raises(MotionError, match="clock is ahead"):
        strategy.step(strategy.start(), 1.0, [SensorSample(1.5, np.zeros(3))])
    with pytest.raises(MotionError, match="finite"):
        strategy.step(strategy.start(), float("nan"), [])


def test_a_sample_that_is_no_number_is_refused():
    for bad in ([np.nan, 0, 0], [0, 0]):
        with pytest.raises(MotionError):
            SensorSample(0.0, np.array(bad))
