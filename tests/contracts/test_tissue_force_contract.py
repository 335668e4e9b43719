"""What every model of needle forces in tissue promises."""

import dataclasses
import math

import numpy as np
import pytest
from found_implementations import implementations

from needleplan.errors import OptionError
from sim.layered_force import LayeredForce
from sim.tissue_force import Contact, TissueForce, TissueLayer
from sim.tissue_parameters import builtin_parameters

LIVER = (
    TissueLayer(0.0, "skin", "skin surface"),
    TissueLayer(0.002, "fat"),
    TissueLayer(0.012, "muscle", "muscle fascia"),
    TissueLayer(0.022, "liver", "liver capsule", "liver"),
    TissueLayer(0.050, "blood", "vessel wall", "hepatic vein"),
    TissueLayer(0.053, "liver", "vessel wall", "liver"),
    TissueLayer(0.060, "tumour", "tumour boundary", "tumour"),
)
MODELS = {
    "liver": lambda: LayeredForce(LIVER, 1.47e-3),
    "without rate": lambda: LayeredForce(LIVER, 2.1e-3, builtin_parameters().rate_independent()),
    "other patient": lambda: LayeredForce(
        LIVER, 1.1e-3, builtin_parameters().scattered(np.random.default_rng(3), 0.5)
    ),
    "one layer": lambda: LayeredForce((TissueLayer(0.0, "muscle"),), 1.8e-3),
    "behind a gap": lambda: LayeredForce((TissueLayer(0.01, "lung", "pleura"),), 1.8e-3),
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
STEP_S = 0.01


def walk(seed, steps=3000):
    """Depths of a needle that wanders in and out, with rests and sudden turns; 10 mm/s at most."""
    rng = np.random.default_rng(seed)
    speed = np.repeat(rng.choice([0.0, 0.008, 0.01, 0.003, -0.01, 0.01], steps // 50), 50)
    depth = -1e-3 + np.cumsum(speed) * STEP_S
    return np.maximum(depth, -2e-3)


def run(model, depths, step_s=STEP_S):
    states, events = [model.start(min(-1e-3, float(depths[0])))], []
    for depth in depths:
        state, found = model.step(states[-1], float(depth), step_s)
        states.append(state)
        events.extend(found)
    return states, events


def test_every_model_of_the_packages_is_held_to_its_contract():
    assert {type(make()) for make in MODELS.values()} == implementations(TissueForce)


@every_model
def test_outside_tissue_there_is_no_force(make):
    model = make()
    first = model.layers[0].start_m
    states, events = run(
        model, np.concatenate([np.linspace(-1e-3, -5e-2, 40), np.linspace(-5e-2, first - 1e-6, 50)])
    )
    assert not events
    for state in states:
        assert state.force_n == state.tip_force_n == state.friction_n == state.displacement_m == 0.0
        assert state.contact is Contact.OUTSIDE and state.layer == -1 and state.tip_in_tissue_m == state.depth_m
    deep = run(model, np.concatenate([np.linspace(0, 0.08, 800), np.linspace(0.08, -0.01, 800)]))[0]
    assert deep[800].force_n > 0.1 and deep[-1].force_n == 0.0 and deep[-1].contact is Contact.OUTSIDE


@every_model
def test_the_work_on_the_needle_is_never_negative(make):
    model = make()
    for seed in range(4):
        states, _ = run(model, walk(seed))
        depth = np.array([s.depth_m for s in states])
        force = np.array([s.force_n for s in states])
        work = np.array([s.work_j for s in states])
        assert np.ptp(depth) > 0.02 and work.max() > 1e-3
        assert work.min() >= -1e-9 and work[-1] > 0.0
        # It is the area below the force: a drop within a step is half a step's trapezoid too much or too little.
        area = np.cumsum(0.5 * (force[1:] + force[:-1]) * np.diff(depth))
        np.testing.assert_allclose(work[1:], area, atol=0.02 * work.max())


@every_model
def test_the_same_state_and_motion_give_the_same_answer(make):
    model, other = make(), make()
    states, events = run(model, walk(1, 1500))
    middle = len(states) // 2
    before = states[middle].memory.copy()
    for step_s in (0.003, 0.02):
        first, _ = model.step(states[middle], states[middle].depth_m + 1e-4, step_s)
        again, _ = other.step(states[middle], states[middle].depth_m + 1e-4, step_s)
        for item in dataclasses.fields(first):
            np.testing.assert_array_equal(getattr(first, item.name), getattr(again, item.name))
    np.testing.assert_array_equal(states[middle].memory, before)
    with pytest.raises(ValueError, match="read-only"):
        states[middle].memory[0] = 1.0
    assert run(other, walk(1, 1500))[1] == events


@every_model
def test_the_force_jumps_at_punctures_alone(make):
    model = make()
    # In and out smoothly: 10 mm/s at most, no sudden turn.
    depths = -2e-3 + 0.036 * (1.0 - np.cos(np.linspace(0.0, 2.0 * np.pi, 23_000)))
    states, jumps = [model.start()], []
    for depth in depths:
        state, found = model.step(states[-1], float(depth), 1e-3)
        jump = abs(state.force_n - states[-1].force_n)
        # The stiffest membranes gain 20 mN in 10 um.
        assert found or jump < 0.04, (depth, state)
        jumps.extend([jump] if found else [])
        states.append(state)
    membranes = sum(bool(layer.membrane) for layer in model.layers)
    assert min(1, membranes) <= len(jumps) <= membranes
    assert all(jump > 0.0 for jump in jumps)


@every_model
def test_parts_add_up_and_the_tip_lags_behind_the_driver(make):
    model = make()
    states, events = run(model, walk(2))
    for state in states:
        assert math.isclose(state.force_n, state.tip_force_n + state.friction_n, abs_tol=1e-12)
        assert state.tip_force_n >= 0.0
        if state.layer >= 0:
            assert math.isclose(state.displacement_m, state.depth_m - state.tip_in_tissue_m, abs_tol=1e-12)
            assert model.layers[state.layer].start_m <= state.tip_in_tissue_m
    assert [e.layer for e in events] == sorted({e.layer for e in events})  # each once, in their order
    for event in events:
        layer = model.layers[event.layer]
        assert (event.membrane, event.structure) == (layer.membrane, layer.structure) and layer.membrane
        assert event.tissue_depth_m == layer.start_m and event.depth_m >= layer.start_m - 1e-9
        assert event.tip_force_n > 0.0 and 0.0 < event.time_s <= states[-1].time_s


@every_model
def test_a_force_does_not_depend_on_the_time_step(make):
    """Halved again and again, forces stay within 0.03 N, depths within 0.2 mm, punctures within 0.1 mm."""
    model = make()

    def sampled(step_s):
        times = np.arange(1, round(9.0 / step_s) + 1) * step_s
        depths = np.where(times < 6.0, -1e-3 + 0.011 * times, 0.065 - 0.02 * np.maximum(0.0, times - 7.0))
        states, events = run(model, depths, step_s)
        every = round(0.04 / step_s)
        return states[::every], events

    coarse, coarse_events = sampled(0.04)
    for step_s in (0.02, 0.01, 0.005, 0.0025):
        fine, fine_events = sampled(step_s)
        for a, b in zip(coarse, fine, strict=True):
            near = any(abs(e.time_s - a.time_s) < 0.03 for e in fine_events)
            assert near or abs(a.force_n - b.force_n) < 0.03, (step_s, a, b)
            assert near or abs(a.tip_in_tissue_m - b.tip_in_tissue_m) < 2e-4
        assert [e.membrane for e in fine_events] == [e.membrane for e in coarse_events]
        for a, b in zip(coarse_events, fine_events, strict=True):
            assert abs(a.depth_m - b.depth_m) < 1e-4 and abs(a.tip_force_n - b.tip_force_n) < 0.05


@every_model
def test_what_is_no_step_is_refused(make):
    model = make()
    state = model.start()
    for depth, duration in ((np.nan, 0.01), (np.inf, 0.01), (0.0, 0.0), (0.0, -1.0), (0.0, np.nan), (0.0, 1e9)):
        with pytest.raises(OptionError, match="step"):
            model.step(state, depth, duration)
    for depth in (model.layers[0].start_m + 1e-3, np.nan):
        with pytest.raises(OptionError, match="outside"):
            model.start(depth)


@every_model
def test_names_are_short_and_stable(make):
    assert make().name == make().name and make().name.strip() and "\n" not in make().name
