"""Outcomes and runs of rehearsals with chosen errors."""

import numpy as np

from needleplan.outcome import (
    EventKind,
    NeedleOutcome,
    Outcome,
    RehearsalEvent,
    RehearsalRun,
    Trace,
    WithdrawnNeedle,
)
from needleplan.plan import Ablation, Insertion, Metrics

CASE_HASH = "ab" * 32


def insertion(order: int = 1, depth_mm: float = 80.0) -> Insertion:
    """An oblique needle of a depth."""
    direction = np.array([0.36, 0.48, -0.8])
    tip = tuple(float(x) for x in depth_mm * direction)
    return Insertion((0.0, 0.0, 0.0), tip, "probe", (Ablation(tip, 65.0, 425.0),), {"aorta": 6.25}, order)


def needle(tip=1.0, lateral=0.8, depth=0.6, angle=0.4, order=1, of: Insertion | None = None, **changes):
    """One needle with its errors."""
    planned = of or insertion(order)
    values = dict(
        planned=planned, executed=planned, tip_error_mm=float(tip), lateral_error_mm=float(lateral),
        depth_error_mm=float(depth), angle_error_deg=float(angle), start_s=10.0 * planned.order,
        end_s=10.0 * planned.order + 4.0, waited_s=2.5, displacement_at_start_mm=0.1, displacement_at_end_mm=0.4,
        breaths=1.5, bend_mm=0.2, corrections=1, peak_force_n=7.25, peak_tip_force_n=3.5,
        closest_mm={"aorta": 5.5, "liver": -40.0}, punctured=("liver", "tumour"),
    )  # fmt: skip
    return NeedleOutcome(**(values | changes))


def withdrawn(order=2, **changes) -> WithdrawnNeedle:
    """One needle that was given up in the patient."""
    values = dict(
        order=order, reason="the target moves at 60 mm/s", deepest_mm=42.5, peak_force_n=6.5, peak_tip_force_n=3.0,
        closest_mm={"aorta": 1.5, "liver": -12.0}, punctured=("liver",),
    )  # fmt: skip
    return WithdrawnNeedle(**(values | changes))


def trace(time_s=None, gate=None, needle_of=None, joints=7) -> Trace:
    """Signals of a regular breath of 10 mm to inferior that the strategy sees 0.2 s late."""
    times = np.arange(0.0, 40.0, 0.05) if time_s is None else np.asarray(time_s, dtype=float)

    def moved(t):
        height = 10.0 * np.sin(np.pi * t / 4.0) ** 4
        return np.stack([0 * height, 0 * height, -height], axis=1)

    count = len(times)
    height = np.linalg.norm(moved(times), axis=1)
    return Trace(
        times, moved(times), height < 1.0 if gate is None else gate, np.clip(8.0 * (times - 10.0), -20.0, 60.0),
        np.ones(count) if needle_of is None else needle_of, np.zeros((count, joints)), moved(times - 0.2),
        np.linspace(0.0, 5.0, count), ("insert",) * count, ("open: near end-exhale",) * count,
    )  # fmt: skip


EVENTS = (
    RehearsalEvent(9.5, 1, EventKind.STATE, "insert"),
    RehearsalEvent(10.25, 1, EventKind.PUNCTURE, "liver capsule gives way at 3.8 N", "liver"),
    RehearsalEvent(11.5, 1, EventKind.FAULT, "cough of 20 mm begins"),
    RehearsalEvent(11.75, 1, EventKind.STOP, "the target moves at 60 mm/s"),
)


def outcome(needles=None, strategy="amplitude-gating", signals: Trace | None = None, **changes) -> Outcome:
    """One rehearsal."""
    values = dict(
        case_name="small", case_hash=CASE_HASH, robot="arm", motion="lujan", strategy=strategy,
        strategy_details=f"{strategy}(2 mm)", seed=11, needles=(needle(),) if needles is None else tuple(needles),
        not_reached=((2, "out of reach"),), trace=trace() if signals is None else signals, events=EVENTS,
        faults=("cough of 20 mm at needle 1, at 40 % of the depth",), duration_s=39.95, breaths=9.98,
    )  # fmt: skip
    return Outcome(**(values | changes))


def metrics(least_margin_mm=1.0, covered=1.0) -> Metrics:
    """A score."""
    return Metrics(covered, 0.9, least_margin_mm, 7.0, 30.0, 5.0, 0.3)


def run(number, needles, strategy="tracking", **changes) -> RehearsalRun:
    """One of many rehearsals."""
    values = dict(
        strategy=strategy, run=number, seed=100 + number, motion="lujan", needles=tuple(needles), not_reached=(),
        events=(), duration_s=60.0, breaths=15.0, metrics=metrics(),
    )  # fmt: skip
    return RehearsalRun(**(values | changes))
