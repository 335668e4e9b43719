"""Figures of a rehearsal, and the whole set of pictures."""

import dataclasses
import time

import made_outcomes
import numpy as np
import pytest
from made_outcomes import needle

from needleplan.assess import Assessment
from needleplan.errors import OptionError
from needleplan.outcome import Outcome
from needleplan.plan import Metrics, Plan, PlanStatus, Provenance
from needleplan.viz.breathing import draw_breathing, on_the_axis, open_spans
from needleplan.viz.pictures import draw_plan_pictures, draw_rehearsal_pictures


def outcome(insertions, strategy="amplitude-gating", error=1.0) -> Outcome:
    signals = made_outcomes.trace()
    if strategy == "free-breathing":
        signals = dataclasses.replace(signals, gate_open=np.ones(len(signals.time_s)))
    needles = [needle(error, 0.8 * error, 0.6 * error, of=i) for i in insertions]
    return made_outcomes.outcome(needles, strategy, signals, not_reached=())


def test_open_spans_are_those_of_the_flag():
    time_s = np.arange(8.0)
    assert open_spans(time_s, np.array([1, 1, 0, 0, 1, 0, 1, 1])) == [(0.0, 2.0), (4.0, 5.0), (6.0, 7.0)]
    assert open_spans(time_s, np.zeros(8)) == []


def test_breathing_shows_gate_and_needles(insertions):
    gated = draw_breathing(outcome(insertions), size=(900, 600))
    free = draw_breathing(outcome(insertions, "free-breathing"), size=(900, 600))
    assert gated.shape == free.shape == (600, 900, 3)
    green = np.array([0xCF, 0xE8, 0xD5])
    count = [int((np.abs(image.astype(int) - green).max(axis=-1) < 4).sum()) for image in (gated, free)]
    assert 2000 < count[0] < 0.75 * count[1]  # the gate is shut for part of the time


def test_error_bars_do_not_depend_on_anything_but_the_errors(insertions):
    small = draw_breathing(outcome(insertions, error=0.0), size=(900, 600))
    large = draw_breathing(outcome(insertions, error=6.0), size=(900, 600))
    assert (small[:, :640] == large[:, :640]).all()
    assert (small[:, 640:] != large[:, 640:]).any()


def test_no_needle_and_no_trace(insertions):
    empty = dataclasses.replace(outcome(insertions), needles=())
    assert draw_breathing(empty, size=(600, 400)).shape == (400, 600, 3)
    short = dataclasses.replace(empty, trace=made_outcomes.trace(np.zeros(1)))
    with pytest.raises(OptionError, match="fewer than two samples"):
        draw_breathing(short)
    assert draw_rehearsal_pictures([short]) == ()


def test_depth_is_shown_only_while_the_needle_is_on_its_axis():
    phases = ("approach", "align", "insert", "settle", "retract", "retract", "retract", "retract", "done")
    depths = np.array([80.0, -20.0, 10.0, 60.0, 30.0, -30.0, 40.0, 90.0, 90.0])
    signals = dataclasses.replace(made_outcomes.trace(np.arange(9.0)), depth_mm=depths, phase=phases)
    assert on_the_axis(signals).tolist() == [False, True, True, True, True, True, False, False, False]


def test_what_the_strategy_saw_and_stops_are_drawn(insertions):
    orange, vermillion = np.array([0xE6, 0x9F, 0x00]), np.array([0xD5, 0x5E, 0x00])

    def count(image, color):
        return int((np.abs(image[:450, :600].astype(int) - color).max(axis=-1) < 60).sum())

    shown = draw_breathing(outcome(insertions), size=(900, 600))
    nothing = dataclasses.replace(outcome(insertions), events=())
    blind = dataclasses.replace(
        nothing, trace=dataclasses.replace(nothing.trace, seen_mm=0 * nothing.trace.seen_mm)
    )
    plain = draw_breathing(blind, size=(900, 600))
    assert count(shown, orange) > count(plain, orange) + 100
    assert count(shown, vermillion) > count(plain, vermillion) + 20


def test_whole_set_is_drawn_in_time(patient, insertions, zone):
    margins = zone.signed_distance_mm(patient.target.mesh.vertices_mm)
    metrics = Metrics(0.99, 0.9, float(margins.min()), 5.0, 30.0, 5.0, 0.3)
    plan = Plan(
        "small", "0" * 64, PlanStatus.PARTIAL, (), insertions, metrics, {}, 10, 5, None,
        Provenance("0", {}, 1, {}),
    )  # fmt: skip
    begin = time.perf_counter()
    pictures, missing = draw_plan_pictures(patient, plan, zone, Assessment(metrics, margins))
    pictures += draw_rehearsal_pictures([outcome(insertions), outcome(insertions, "free-breathing")])
    took = time.perf_counter() - begin
    assert missing == ()
    assert [p.name for p in pictures] == [
        "patient", "target", "planes", "needle-planes", "margins", "tumour", "breathing-amplitude-gating",
        "breathing-free-breathing",
    ]  # fmt: skip
    assert all(p.pixels.dtype == np.uint8 and p.pixels.std() > 5 for p in pictures)
    assert took < 45.0  # about 6 s on two free cores


def test_infeasible_plan_still_has_pictures(patient):
    plan = Plan("small", "0" * 64, PlanStatus.INFEASIBLE, (), (), None, {}, 10, 0, None, Provenance("0", {}, 1, {}))
    pictures, missing = draw_plan_pictures(patient, plan, None, None)
    assert [p.name for p in pictures] == ["patient", "target", "planes"] and missing == ()
