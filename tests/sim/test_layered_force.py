"""Closed forms of the layered needle force, and the figures it is made from."""

import dataclasses
import time

import numpy as np
import pytest

from needleplan.errors import DeviceError, OptionError
from sim.layered_force import LayeredForce
from sim.tissue_force import Contact, ForceLimits, TissueLayer, stop_reason
from sim.tissue_parameters import BulkTissue, Membrane, TissueParameters, builtin_parameters, parse_parameters

BUILTIN = builtin_parameters()
D = BUILTIN.shared.reference_diameter_m
STILL = BUILTIN.rate_independent()
CAPSULE = (TissueLayer(0.0, "liver", "excised liver capsule"),)
OPEN = (TissueLayer(0.0, "liver"),)


def pushed(model, state, to_m, speed_m_s=0.005, step_s=0.01):
    """The states and events while the tip is pushed on at constant speed."""
    steps = max(1, round(abs(to_m - state.depth_m) / speed_m_s / step_s))
    states, events = [state], []
    for depth in np.linspace(state.depth_m, to_m, steps + 1)[1:]:
        after, found = model.step(states[-1], float(depth), step_s)
        states.append(after)
        events.extend(found)
    return states, events


def held(model, state, seconds, step_s=0.01):
    states = [state]
    for _ in range(round(seconds / step_s)):
        states.append(model.step(states[-1], state.depth_m, step_s)[0])
    return states


def test_before_the_puncture_the_tip_feels_the_published_polynomial():
    model = LayeredForce(CAPSULE, D, STILL)
    states, events = pushed(model, model.start(0.0), 0.02)
    assert not events
    for state in states[1:]:
        u_mm = state.depth_m * 1e3
        assert state.force_n == pytest.approx(0.0020 * u_mm + 0.0023 * u_mm**2, rel=1e-9)
        assert state.contact is Contact.INDENTING and state.tip_in_tissue_m == 0.0
        assert state.displacement_m == state.depth_m
    # Drawn back, the same way down: nothing but the spring.
    back, _ = pushed(model, states[-1], 0.005)
    assert back[-1].force_n == pytest.approx(0.0020 * 5 + 0.0023 * 25, rel=1e-9)


def test_it_gives_way_at_its_force_and_the_tissue_springs_back():
    membrane = STILL.membrane("excised liver capsule")
    model = LayeredForce(CAPSULE, D, STILL)
    a1, a2, peak = dataclasses.astuple(membrane)
    expected = (-a1 + np.sqrt(a1**2 + 4 * a2 * peak)) / (2 * a2)
    _, (event,) = pushed(model, model.start(0.0), 0.026)
    assert event.depth_m == pytest.approx(expected, abs=3e-5) and event.tissue_depth_m == 0.0
    assert event.tip_force_n == pytest.approx(peak, abs=0.01) and event.layer == 0
    assert event.time_s == pytest.approx(expected / 0.005, abs=0.01)
    # Afterwards the tip force is the force of cutting, which has not been built up before, and the tissue returns.
    short = BUILTIN.shared.recoil_s
    start = pushed(model, model.start(0.0), event.depth_m)[0][-1]
    rest = held(model, start, 5 * short)
    gone = [s.depth_m - s.tip_in_tissue_m for s in rest]
    assert gone[0] == pytest.approx(expected, rel=0.02)
    at = round(2 * short / 0.01)
    assert gone[at] / gone[0] == pytest.approx(np.exp(-2.0), rel=0.03)
    assert rest[-1].contact is Contact.RESTING and rest[-1].tip_in_tissue_m > 0.98 * expected


def test_deep_in_one_tissue_force_is_cutting_and_friction_by_length():
    model = LayeredForce(OPEN, D, STILL)
    shared = STILL.shared
    states, events = pushed(model, model.start(0.0), 0.15)
    assert not events
    for state in states[-300:]:
        length = state.tip_in_tissue_m
        assert state.tip_force_n == pytest.approx(0.94, rel=1e-9)
        assert state.friction_n == pytest.approx(shared.dynamic_in_n_m * length, rel=1e-3)
        assert state.displacement_m == pytest.approx(0.94 / shared.cutting_stiffness_n_m, rel=1e-9)
        assert state.contact is Contact.CUTTING
    # The first millimetres still stick: every piece is sheared by how far the hub went since the tip passed it, and
    # where the tip is at x the hub is at x + c(x) / k, with the cutting force c(x) = C (1 - exp(-x / l)).
    early = pushed(model, model.start(0.0), 0.004)[0][-1]
    x, way = early.tip_in_tissue_m, shared.transition_m
    give = 0.94 / shared.cutting_stiffness_n_m
    assert early.displacement_m == pytest.approx(give * (1 - np.exp(-x / way)), rel=0.02)
    sheared = x * early.depth_m - 0.5 * x**2 - give * (x - way * (1 - np.exp(-x / way)))
    assert early.friction_n == pytest.approx(shared.shear_n_m2 * sheared, rel=0.02)


def test_speed_adds_its_viscous_share():
    figures = dataclasses.replace(BUILTIN.shared, fast_share=0.0, slow_share=0.0)
    model = LayeredForce(OPEN, D, dataclasses.replace(BUILTIN, shared=figures))
    for speed in (0.002, 0.02):
        state = pushed(model, model.start(0.0), 0.15, speed)[0][-1]
        per_metre = figures.dynamic_in_n_m + figures.viscous_in_n_s_m2 * speed
        assert state.friction_n == pytest.approx(per_metre * state.tip_in_tissue_m, rel=2e-3)


def test_without_rate_speed_changes_nothing_and_with_it_it_does():
    slow, fast = (
        pushed(LayeredForce(OPEN, D, STILL), LayeredForce(OPEN, D, STILL).start(0.0), 0.05, v)[0][-1]
        for v in (0.001, 0.02)
    )
    # Static friction comes back with time, by a slip that is not part of this.
    assert slow.tip_force_n == fast.tip_force_n
    assert slow.friction_n == pytest.approx(fast.friction_n, rel=1e-3)
    model = LayeredForce(CAPSULE, D)
    slow, fast = (pushed(model, model.start(0.0), 0.02, v)[0][-1] for v in (0.001, 0.02))
    # Faster is steeper (Mahvash & Dupont 2009), up to the instantaneous stiffness.
    assert 1.05 * slow.force_n < fast.force_n < 0.0020 * 20 + 0.0023 * 400


def test_at_rest_the_force_relaxes_as_its_two_exponentials():
    figures = BUILTIN.shared
    flat = dataclasses.replace(BUILTIN, membranes={"flat": Membrane(200.0, 0.0, 10.0)})
    model = LayeredForce((TissueLayer(0.0, "liver", "flat"),), D, flat)
    start, _ = model.step(model.start(0.0), 0.005, 1e-6)
    assert start.force_n == pytest.approx(1.0, rel=1e-4)
    states = held(model, start, 30.0)
    lasting = 1.0 - figures.fast_share - figures.slow_share
    for seconds in (0.1, 0.5, 2.0, 10.0, 30.0):
        found = states[round(seconds / 0.01)]
        expected = (
            lasting
            + figures.fast_share * np.exp(-seconds / figures.fast_s)
            + figures.slow_share * np.exp(-seconds / figures.slow_s)
        )
        assert found.force_n == pytest.approx(expected, rel=1e-4)
    # Let go, the surface follows: the force is gone before the tip is back, and never pulls.
    back, _ = pushed(model, states[-1], -0.001)
    assert min(s.force_n for s in back) == 0.0 and back[-1].contact is Contact.OUTSIDE


def test_drawn_back_a_relaxed_membrane_resists_by_what_has_relaxed():
    figures, a2 = BUILTIN.shared, 1e4
    round_law = dataclasses.replace(BUILTIN, membranes={"round": Membrane(0.0, a2, 10.0)})
    model = LayeredForce((TissueLayer(0.0, "liver", "round"),), D, round_law)
    pressed, _ = model.step(model.start(0.0), 0.010, 1e-6)
    rested = held(model, pressed, 60.0, 0.5)[-1]
    back, _ = model.step(rested, 0.006, 1e-6)
    # The branches' own stretches have relaxed, and are now drawn out: their forces pull.
    fast = 0.010 * np.exp(-60.0 / figures.fast_s) - 0.004
    slow = 0.010 * np.exp(-60.0 / figures.slow_s) - 0.004
    lasting = 1.0 - figures.fast_share - figures.slow_share
    expected = a2 * (lasting * 0.006**2 - figures.fast_share * fast**2 - figures.slow_share * slow**2)
    assert fast < 0.0 and slow < 0.0 and back.force_n == pytest.approx(expected, rel=1e-4)


def test_withdrawal_is_friction_outward_and_a_channel_is_not_cut_twice():
    model = LayeredForce(OPEN, D, STILL)
    deep = pushed(model, model.start(0.0), 0.12)[0][-1]
    back = pushed(model, deep, 0.06)[0][-1]
    assert back.tip_force_n == 0.0 and back.contact is Contact.WITHDRAWING
    assert back.force_n == pytest.approx(-STILL.shared.dynamic_out_n_m * back.tip_in_tissue_m, rel=0.02)
    again = pushed(model, back, 0.11)[0]
    assert {s.contact for s in again[1:]} == {Contact.SLIDING}
    assert max(s.tip_force_n for s in again) == 0.0
    further = pushed(model, again[-1], 0.14)[0][-1]
    assert further.contact is Contact.CUTTING and further.tip_force_n == pytest.approx(0.94)


def test_a_membrane_gives_way_once_and_leaving_it_needs_no_puncture():
    model = LayeredForce(CAPSULE, D, STILL)
    deep, events = pushed(model, model.start(), 0.06)
    assert len(events) == 1
    out, more = pushed(model, deep[-1], -0.005)
    assert not more and out[-1].force_n == 0.0
    _, more = pushed(model, out[-1], 0.05)
    assert not more


def test_a_rested_shaft_holds_faster_than_a_slipping_one():
    figures = dataclasses.replace(BUILTIN.shared, ageing_s=0.2)
    quick = dataclasses.replace(STILL, shared=dataclasses.replace(STILL.shared, ageing_s=0.2))
    model = LayeredForce(OPEN, D, quick)
    deep = pushed(model, model.start(0.0), 0.10)[0][-1]
    rested = held(model, deep, 3.0)[-1]
    assert rested.friction_n == pytest.approx(deep.friction_n, rel=1e-9)  # it keeps its load
    moving, _ = pushed(model, rested, 0.13)
    share = np.array([s.friction_n / s.tip_in_tissue_m for s in moving])
    assert share.max() > 0.5 * (figures.static_in_n_m + figures.dynamic_in_n_m)
    assert share.max() < figures.static_in_n_m and share[-1] == pytest.approx(figures.dynamic_in_n_m, rel=0.05)


def test_forces_grow_with_the_diameter_and_depths_do_not():
    thin, thick = (LayeredForce(CAPSULE, d, STILL) for d in (D, 1.7 * D))
    a, (first,) = pushed(thin, thin.start(0.0), 0.07)
    b, (second,) = pushed(thick, thick.start(0.0), 0.07)
    for s, t in zip(a, b, strict=True):
        assert t.force_n == pytest.approx(1.7 * s.force_n, rel=1e-9)
        assert t.tip_in_tissue_m == pytest.approx(s.tip_in_tissue_m, abs=1e-12)
    assert second.depth_m == pytest.approx(first.depth_m)


def test_weak_membranes_give_way_to_the_cutting_force_at_once():
    soft = dataclasses.replace(STILL, membranes={"film": Membrane(100.0, 0.0, 0.5)})
    model = LayeredForce((TissueLayer(0.0, "liver"), TissueLayer(0.03, "fat", "film")), D, soft)
    states, (event,) = pushed(model, model.start(0.0), 0.06)
    assert event.tissue_depth_m == 0.03 and event.tip_force_n == pytest.approx(0.94)
    assert states[-1].tip_force_n == pytest.approx(STILL.tissue("fat").cutting_n)


def test_a_step_is_fast():
    model = LayeredForce(tuple(TissueLayer(0.01 * k, "liver", "liver capsule") for k in range(10)), 1.5e-3)
    best = np.inf
    for _ in range(5):
        state = model.start()
        begun = time.perf_counter()
        for k in range(1000):
            state, _ = model.step(state, -1e-3 + 8e-5 * k, 0.01)
        best = min(best, (time.perf_counter() - begun) / 1000)
    assert best < 50e-6


def test_patients_differ_reproducibly():
    a, b, other = (BUILTIN.scattered(np.random.default_rng(s), 0.3) for s in (5, 5, 6))
    assert a == b != other
    assert BUILTIN.scattered(np.random.default_rng(5), 0.0) == BUILTIN
    rng = np.random.default_rng(0)
    peaks = np.array([BUILTIN.scattered(rng, 0.3).membrane("liver capsule").puncture_n for _ in range(3000)])
    logs = np.log(peaks / BUILTIN.membrane("liver capsule").puncture_n)
    assert abs(logs.mean()) < 4 * 0.3 / np.sqrt(3000) and logs.std() == pytest.approx(0.3, rel=0.06)
    with pytest.raises(OptionError, match="between 0 and 1"):
        BUILTIN.scattered(rng, 1.5)


def test_every_layer_that_anatomies_make_has_its_figures():
    from sim.tissue_layers import _BY_NAME, _BY_ROLE

    for tissue, membrane in (*_BY_ROLE.values(), *_BY_NAME.values()):
        assert BUILTIN.tissue(tissue).friction_share > 0.0
        assert not membrane or BUILTIN.membrane(membrane).puncture_n > 0.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("liver,cutting_n,0.94", "liver,cutting_n,-1"), "positive"),
        (("liver,cutting_n,0.94", "liver,cutting_n,nan"), "positive"),
        (("liver,cutting_n", "liver,cuting_n"), "missing or unknown"),
        (("fat,cutting_n", "muscle,cutting_n"), "twice"),
        (("all,shear_n_m2,4000", "all,shear_n_m2,40"), "weakening"),
        (("all,fast_share,0.3", "all,fast_share,0.9"), "less than 1"),
        (("all,recoil_s,0.3", "all,recoil_s,0"), "recoil_s"),
        (("tissue,property", "tissue,quality"), "no column"),
        (("liver capsule,puncture_n,2.0", "liver capsule,puncture_n,0"), "above 0"),
        (("bone,friction_share,50", "bone,friction_share,0"), "above 0"),
        (("RECALL,medium\nall,static_out", "GUESS,medium\nall,static_out"), "provenance"),
    ],
)
def test_a_table_with_a_fault_is_refused(change, words):
    from importlib.resources import files

    text = files("sim").joinpath("tissue_forces.csv").read_text("utf-8")
    assert parse_parameters(text, "t.csv") == BUILTIN
    assert change[0] in text
    with pytest.raises((DeviceError, OptionError), match=words):
        parse_parameters(text.replace(*change, 1), "t.csv")


def test_what_cannot_be_a_needle_in_layers_is_refused():
    for layers, diameter, words in (
        ((), 1e-3, "at least one"),
        ((TissueLayer(0.0, "liver"), TissueLayer(0.0, "fat")), 1e-3, "behind the other"),
        ((TissueLayer(np.nan, "liver"),), 1e-3, "finite"),
        (OPEN, 1.5, "diameter"),
        ((TissueLayer(0.0, "cheese"),), 1e-3, "no tissue"),
        ((TissueLayer(0.0, "liver", "rind"),), 1e-3, "no membrane"),
    ):
        with pytest.raises(OptionError, match=words):
            LayeredForce(layers, diameter)
    with pytest.raises(OptionError, match="stiffness"):
        TissueParameters({"m": Membrane(0.0, 0.0, 1.0)}, {"t": BulkTissue(1.0, 1.0)}, BUILTIN.shared)
    with pytest.raises(OptionError, match="are missing"):
        parse_parameters(
            "tissue,property,value,unit,source,provenance,confidence\n"
            "a,cutting_n,1,N,s,ASSUMED,low\na,friction_share,1,,s,ASSUMED,low\n",
            "t.csv",
        )


def test_an_insertion_stops_at_bone_by_its_force_and_says_why():
    model = LayeredForce((TissueLayer(0.0, "fat"), TissueLayer(0.01, "bone", "bone cortex")), 1.5e-3)
    state, limits = model.start(), ForceLimits()
    reasons = []
    while state.depth_m < 0.03 and not reasons:
        state, events = model.step(state, state.depth_m + 5e-5, 0.01)
        reason = stop_reason(state, limits)
        reasons += [reason] if reason else []
        assert not events
    # The bone is 0.5 N a micrometre stiff: the needle stops within a step and a half behind it.
    assert state.tip_in_tissue_m == 0.01 and 0.01 < state.depth_m < 0.0115
    assert "N, its limit" in reasons[0]
    fine = dataclasses.replace(state, force_n=1.0, tip_force_n=0.5, displacement_m=0.01)
    assert stop_reason(fine, limits) is None
    assert "pushed in by 40 mm" in str(stop_reason(dataclasses.replace(fine, displacement_m=0.04), limits))
    assert "-20.0 N" in str(stop_reason(dataclasses.replace(fine, force_n=-20.0), limits))
    assert "nan" in str(stop_reason(dataclasses.replace(fine, force_n=np.nan), limits))
    assert "tip" in str(stop_reason(dataclasses.replace(fine, tip_force_n=11.0), limits))
    with pytest.raises(OptionError, match="axial_n"):
        ForceLimits(axial_n=0.0)
