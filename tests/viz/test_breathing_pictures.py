"""Figures of a rehearsal, and the whole set of pictures."""

import dataclasses
import time

import numpy as np
import pytest

from needleplan.assess import Assessment
from needleplan.errors import OptionError
from needleplan.outcome import NeedleOutcome, Outcome, Trace
from needleplan.plan import Metrics, Plan, PlanStatus, Provenance
from needleplan.viz.breathing import draw_breathing, open_spans
from needleplan.viz.pictures import draw_plan_pictures, draw_rehearsal_pictures


def outcome(insertions, gating=True, error=1.0) -> Outcome:
    time_s = np.arange(0.0, 40.0, 0.05)
    height = 10.0 * np.sin(np.pi * time_s / 4.0) ** 4
    displacement = np.stack([0 * height, 0 * height, -height], axis=1)
    gate = height < 1.0 if gating else np.ones(len(time_s))
    depth = np.clip(8.0 * (time_s - 10.0), -20.0, 60.0)
    trace = Trace(time_s, displacement, gate, depth, np.ones(len(time_s)), np.zeros((len(time_s), 7)), ())
    needles = tuple(
        NeedleOutcome(i, i, error, 0.8 * error, 0.6 * error, 0.4, 10.0 * i.order, 10.0 * i.order + 4, 2.0, 0.1, 0.4)
        for i in insertions
    )
    return Outcome("small", "0" * 64, "arm", "Lujan", gating, 1, needles, (), trace)


def test_open_spans_are_those_of_the_flag():
    time_s = np.arange(8.0)
    assert open_spans(time_s, np.array([1, 1, 0, 0, 1, 0, 1, 1])) == [(0.0, 2.0), (4.0, 5.0), (6.0, 7.0)]
    assert open_spans(time_s, np.zeros(8)) == []


def test_breathing_shows_gate_and_needles(insertions):
    gated = draw_breathing(outcome(insertions), size=(900, 600))
    free = draw_breathing(outcome(insertions, gating=False), size=(900, 600))
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
    trace = Trace(np.zeros(1), np.zeros((1, 3)), np.ones(1), np.zeros(1), np.ones(1), np.zeros((1, 7)), ())
    with pytest.raises(OptionError, match="fewer than two samples"):
        draw_breathing(dataclasses.replace(empty, trace=trace))


def test_whole_set_is_drawn_in_time(patient, insertions, zone):
    margins = zone.signed_distance_mm(patient.target.mesh.vertices_mm)
    metrics = Metrics(0.99, 0.9, float(margins.min()), 5.0, 30.0, 5.0, 0.3)
    plan = Plan(
        "small", "0" * 64, PlanStatus.PARTIAL, (), insertions, metrics, {}, 10, 5, None,
        Provenance("0", {}, 1, {}),
    )  # fmt: skip
    begin = time.perf_counter()
    pictures, missing = draw_plan_pictures(patient, plan, zone, Assessment(metrics, margins))
    pictures += draw_rehearsal_pictures([outcome(insertions), outcome(insertions, gating=False)])
    took = time.perf_counter() - begin
    assert missing == ()
    assert [p.name for p in pictures] == [
        "patient", "target", "planes", "needle-planes", "margins", "tumour", "breathing-gated",
        "breathing-ungated",
    ]  # fmt: skip
    assert all(p.pixels.dtype == np.uint8 and p.pixels.std() > 5 for p in pictures)
    assert took < 45.0  # about 6 s on two free cores


def test_infeasible_plan_still_has_pictures(patient):
    plan = Plan("small", "0" * 64, PlanStatus.INFEASIBLE, (), (), None, {}, 10, 0, None, Provenance("0", {}, 1, {}))
    pictures, missing = draw_plan_pictures(patient, plan, None, None)
    assert [p.name for p in pictures] == ["patient", "target", "planes"] and missing == ()
