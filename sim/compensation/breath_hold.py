"""Breath-hold: the patient is asked to hold the breath, and the needle advances while he does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

import numpy as np

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from sim.compensation.contract import (
    CompensationStatus,
    Decision,
    MotionCompensation,
    SensorSample,
    check_within,
)
from sim.compensation.target_view import TargetKnowledge, TargetView


class _Stage(StrEnum):
    ASKING = "asking"
    HOLDING = "holding"
    RESTING = "resting"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True, eq=False)
class HoldState:
    """Where in a hold the patient is.

    Attributes:
        known: what has been seen.
        stage: what the patient is asked or given.
        since_s: when the stage began; None before the first step.
        attempts: times that a hold was asked for.
        recent: the samples of the last ``stable_s``, times (m,) and displacements (m, 3).
        held_mm: (3,) where the target lies in the present hold.
        reason: why the last hold ended.
    """

    known: TargetKnowledge
    stage: _Stage = _Stage.ASKING
    since_s: float | None = None
    attempts: int = 1
    recent: tuple[FloatArray, FloatArray] = field(default_factory=lambda: (np.zeros(0), np.zeros((0, 3))))
    held_mm: FloatArray = field(default_factory=lambda: read_only(np.zeros(3)))
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BreathHold(MotionCompensation[HoldState]):
    """Asks for a hold, waits until the target lies still, lets the needle advance, lets the patient breathe again.

    Against the sensor's noise, the samples of ``average_s`` are averaged. A hold counts once all averages in
    ``stable_s`` lie within ``tolerance_mm`` of their mean, and that no farther than ``reach_mm`` from end-exhale.
    The guide aims at the mean, because no two holds are alike. The hold ends when an average leaves the tolerance
    or after ``hold_s``; then the patient rests. The insertion ends with the last of ``attempts`` holds, come or
    not; one that does not come within ``patience_s`` counts too.

    Attributes:
        tolerance_mm: greatest distance of an average from the mean of the hold.
        stable_s: time for which the target must lie still before the needle may advance. Longer than the pause at
            the end of a common breath, or free breathing would be taken for a hold: Lujan's curve of 15 mm, 4 s and
            n = 2 stays for 1.65 s within 2 mm.
        average_s: time over which samples are averaged.
        reach_mm: greatest distance of a hold from end-exhale.
        patience_s: how long to wait for the target to lie still.
        hold_s: longest hold that is asked of the patient.
        rest_s: breathing between two holds.
        attempts: number of holds asked for.
        view: only how old a sample may be and whether the sensor is stuck; a hold needs no prediction.
    """

    begins_at_skin: ClassVar[bool] = True

    tolerance_mm: float = 1.0
    stable_s: float = 2.0
    average_s: float = 0.25
    reach_mm: float = 5.0
    patience_s: float = 12.0
    hold_s: float = 15.0
    rest_s: float = 15.0
    attempts: int = 6
    view: TargetView = field(default_factory=TargetView)

    def __post_init__(self) -> None:
        check_within(
            "the breath-hold",
            {
                "tolerance_mm": (self.tolerance_mm, 0.01, 50.0),
                "stable_s": (self.stable_s, 0.1, 20.0),
                "average_s": (self.average_s, 0.0, self.stable_s),
                "reach_mm": (self.reach_mm, 0.01, 100.0),
                "patience_s": (self.patience_s, 0.5, 120.0),
                "hold_s": (self.hold_s, 0.5, 60.0),
                "rest_s": (self.rest_s, 0.0, 300.0),
                "attempts": (self.attempts, 1, 100),
            },
        )
        if self.stable_s >= min(self.patience_s, self.hold_s):
            raise MotionError(
                f"a hold of {self.hold_s:g} s, waited for {self.patience_s:g} s, leaves no time after the "
                f"{self.stable_s:g} s for which the target must lie still"
            )

    @property
    def name(self) -> str:
        """Tolerance and length."""
        return f"breath-hold({self.tolerance_mm:g} mm, up to {self.hold_s:g} s)"

    def start(self) -> HoldState:
        """The first hold is asked for at once."""
        return HoldState(self.view.start())

    def step(self, state: HoldState, time_s: float, samples: Sequence[SensorSample]) -> tuple[HoldState, Decision]:
        """Go on with the hold, or with the rest between two."""
        known = self.view.seen(state.known, time_s, samples)
        recent = self._recent(state, samples)
        since = time_s if state.since_s is None else state.since_s
        state = HoldState(known, state.stage, since, state.attempts, recent, state.held_mm, state.reason)
        fault = self.view.fault(known, time_s)
        if state.stage is _Stage.HOLDING:
            state = self._holding(state, time_s, since, fault)
        elif state.stage is _Stage.ASKING:
            state = self._asking(state, time_s, since, fault)
        elif state.stage is _Stage.RESTING and time_s - since >= self.rest_s:
            state = self._entered(state, _Stage.ASKING, time_s, state.reason, state.attempts + 1)
        return state, self._decision(state, fault)

    def _recent(self, state: HoldState, samples: Sequence[SensorSample]) -> tuple[FloatArray, FloatArray]:
        times, places = state.recent
        for sample in samples:
            if len(times) and sample.time_s <= times[-1]:
                continue
            # One sample beyond the window is kept, so that the window can be seen to be full.
            keep = max(0, int(np.searchsorted(times, sample.time_s - self.stable_s, side="right")) - 1)
            times = np.append(times[keep:], sample.time_s)
            places = np.vstack([places[keep:], sample.displacement_mm])
        return read_only(times), read_only(places)

    def _averages(self, times: FloatArray, places: FloatArray) -> FloatArray:
        """(k, 3) means over ``average_s`` up to each sample that has so much before it; of all where none has."""
        first = np.searchsorted(times, times - self.average_s - 1e-9)
        total = np.vstack([np.zeros(3), np.cumsum(places, axis=0)])
        last = np.arange(1, len(times) + 1)
        means = (total[last] - total[first]) / (last - first)[:, None]
        full = times - times[0] >= self.average_s - 1e-9
        return np.asarray(means[full] if full.any() else means[-1:])

    def _asking(self, state: HoldState, time_s: float, since: float, fault: str | None) -> HoldState:
        times, places = state.recent
        # The stillness must lie within the hold: before, the patient was not asked.
        full = len(times) > 1 and times[-1] - times[0] >= self.stable_s - 1e-9 and times[0] >= since
        if fault is None and full:
            averages = self._averages(times, places)
            middle = averages.mean(axis=0)
            still = float(np.linalg.norm(averages - middle, axis=1).max()) <= self.tolerance_mm
            if still and float(np.linalg.norm(middle)) <= self.reach_mm:
                return HoldState(
                    state.known, _Stage.HOLDING, since, state.attempts, state.recent, read_only(middle), ""
                )
        if time_s - since >= self.patience_s:
            waited = f"the target did not lie still within {self.tolerance_mm:g} mm, {self.reach_mm:g} mm from "
            return self._ended(state, time_s, f"{waited}end-exhale, in {self.patience_s:g} s")
        return state

    def _holding(self, state: HoldState, time_s: float, since: float, fault: str | None) -> HoldState:
        if fault is not None:
            return self._ended(state, time_s, fault)
        away = float(np.linalg.norm(self._averages(*state.recent)[-1] - state.held_mm))
        if away > self.tolerance_mm:
            return self._ended(state, time_s, f"the target moved {away:.1f} mm from where it was held")
        if time_s - since >= self.hold_s:
            return self._ended(state, time_s, f"the hold of {self.hold_s:g} s is over")
        return state

    def _ended(self, state: HoldState, time_s: float, reason: str) -> HoldState:
        stage = _Stage.GIVEN_UP if state.attempts >= self.attempts else _Stage.RESTING
        return self._entered(state, stage, time_s, reason, state.attempts)

    def _entered(self, state: HoldState, stage: _Stage, time_s: float, reason: str, attempts: int) -> HoldState:
        return HoldState(state.known, stage, time_s, attempts, state.recent, read_only(np.zeros(3)), reason)

    def _decision(self, state: HoldState, fault: str | None) -> Decision:
        held = state.held_mm
        if state.stage is _Stage.HOLDING:
            where = f"the target is held {np.linalg.norm(held):.1f} mm from end-exhale"
            return Decision(True, held, CompensationStatus.OPEN, where, hold_breath=True)
        if state.stage is _Stage.ASKING:
            lost = fault is not None and state.known.latest is not None
            status = CompensationStatus.SENSOR_LOST if lost else CompensationStatus.ASKING
            reason = fault or f"hold {state.attempts} of {self.attempts}: the target does not lie still yet"
            return Decision(False, held, status, reason, hold_breath=True)
        if state.stage is _Stage.RESTING:
            return Decision(False, held, CompensationStatus.RESTING, f"the patient breathes: {state.reason}")
        holds = "1 hold was" if self.attempts == 1 else f"{self.attempts} holds were"
        return Decision(False, held, CompensationStatus.GIVEN_UP, f"{holds} asked for; in the last {state.reason}")
