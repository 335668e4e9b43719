"""The controller of one insertion: approach, align, advance to the skin, wait for the gate, insert, retract.

It sees what a real one would see: the time that has passed and whether the respiratory gate is open. It commands
positions of the arm's joints and of the needle driver. A gate that does not open ends in a status, not in a hang.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from robots.route import InsertionRoute, Phase, Segment


class State(StrEnum):
    """What the controller is doing."""

    APPROACH = "approach"  #: the arm goes from home to the needle's axis
    ALIGN = "align"  #: straight along the axis to the stand-off
    ADVANCE = "advance"  #: the needle goes through air until just before the skin
    WAIT = "wait"  #: the tip rests before the skin, the gate is closed
    INSERT = "insert"  #: the needle advances in tissue
    HOLD = "hold"  #: the tip rests in tissue because the gate closed
    SETTLE = "settle"  #: the tip has arrived and rests
    RETRACT = "retract"  #: the needle is drawn back and the arm goes home
    WITHDRAW = "withdraw"  #: the same after an insertion that was given up
    DONE = "done"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """Times and distances of the controller.

    Attributes:
        hover_mm: distance before the skin at which the tip waits for the gate.
        settle_s: rest after the tip has arrived.
        gate_timeout_s: an insertion is given up when the gate stays closed for this long.
        stop_s: time in which the driver stops and starts when the gate closes and opens; the default is the
            insertion speed of 8 mm/s over the driver's 0.2 m/s^2.
    """

    hover_mm: float = 2.0
    settle_s: float = 1.0
    gate_timeout_s: float = 30.0
    stop_s: float = 0.04

    def __post_init__(self) -> None:
        limits = {
            "hover_mm": (0.0, 100.0),
            "settle_s": (0.0, 60.0),
            "gate_timeout_s": (1.0, 600.0),
            "stop_s": (1e-3, 1.0),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"controller option {name} must lie between {low:g} and {high:g}, not {value:g}")


class InsertionController:
    """Carries out one reached insertion route, step by step."""

    def __init__(self, route: InsertionRoute, gating: bool, options: ControllerOptions) -> None:
        """Start at the beginning of the approach.

        Args:
            route: a route that is reached.
            gating: True to insert only while the gate is open.
            options: times and distances.
        """
        self._segments = {phase: route.segment(phase) for phase in Phase}
        self._gating = gating
        self._options = options
        insert = self._segments[Phase.INSERT]
        self._hover_s = _time_at(insert, max(0.0, route.driver_entry_m - options.hover_mm * 1e-3))
        self._state = State.APPROACH
        self._clock_s = 0.0
        self._rate = 0.0
        self._closed_s = 0.0
        self._waited_s = 0.0

    @property
    def state(self) -> State:
        """What the controller is doing."""
        return self._state

    @property
    def waited_s(self) -> float:
        """Time spent waiting for the gate so far."""
        return self._waited_s

    @property
    def finished(self) -> bool:
        """True when the arm is home again."""
        return self._state in (State.DONE, State.GIVEN_UP)

    @property
    def arrived(self) -> bool:
        """True once the tip has come to rest at the end of the path."""
        return self._state in (State.SETTLE, State.RETRACT, State.DONE)

    def positions(self) -> FloatArray:
        """(n + 1,) commanded positions: joints in radians, and last the driver in metres."""
        phase = {
            State.APPROACH: Phase.APPROACH,
            State.ALIGN: Phase.ALIGN,
            State.RETRACT: Phase.RETRACT,
            State.WITHDRAW: Phase.RETRACT,
            State.DONE: Phase.RETRACT,
            State.GIVEN_UP: Phase.RETRACT,
        }.get(self._state, Phase.INSERT)
        if self._state is State.SETTLE:
            return self._segments[Phase.INSERT].positions[-1].copy()
        return self._segments[phase].at(self._clock_s)

    def step(self, duration_s: float, gate_open: bool) -> None:
        """Let ``duration_s`` pass while the gate is open or closed."""
        may_move = gate_open or not self._gating
        if self._state in (State.APPROACH, State.ALIGN):
            self._follow(duration_s)
        elif self._state is State.ADVANCE:
            self._clock_s = min(self._clock_s + duration_s, self._hover_s)
            if self._clock_s >= self._hover_s:
                self._state = State.INSERT if may_move else State.WAIT
                self._rate = 1.0 if may_move else 0.0
        elif self._state in (State.WAIT, State.INSERT, State.HOLD):
            self._insert(duration_s, may_move)
        elif self._state is State.SETTLE:
            self._clock_s += duration_s
            if self._clock_s >= self._options.settle_s:
                self._state, self._clock_s = State.RETRACT, 0.0
        elif self._state in (State.RETRACT, State.WITHDRAW):
            self._follow(duration_s)

    def _follow(self, duration_s: float) -> None:
        """Follow the segment of the present state, and go on to the next state at its end."""
        phase, following = {
            State.APPROACH: (Phase.APPROACH, State.ALIGN),
            State.ALIGN: (Phase.ALIGN, State.ADVANCE),
            State.RETRACT: (Phase.RETRACT, State.DONE),
            State.WITHDRAW: (Phase.RETRACT, State.GIVEN_UP),
        }[self._state]
        end = self._segments[phase].duration_s
        self._clock_s += duration_s
        if self._clock_s >= end:
            # At the end of a retraction the clock stays, so that the commanded position stays home.
            self._clock_s = end if phase is Phase.RETRACT else 0.0
            self._state = following

    def _insert(self, duration_s: float, may_move: bool) -> None:
        change = duration_s / self._options.stop_s
        self._rate = min(1.0, self._rate + change) if may_move else max(0.0, self._rate - change)
        insert = self._segments[Phase.INSERT]
        self._clock_s = min(self._clock_s + self._rate * duration_s, insert.duration_s)
        if self._clock_s >= insert.duration_s:
            self._state, self._clock_s = State.SETTLE, 0.0
        elif self._rate > 0.0:
            self._state, self._closed_s = State.INSERT, 0.0
        else:
            if self._state is State.INSERT:
                self._state = State.HOLD
            self._waited_s += duration_s
            self._closed_s += duration_s
            if self._closed_s >= self._options.gate_timeout_s:
                driver = float(insert.at(self._clock_s)[-1])
                self._state = State.WITHDRAW
                self._clock_s = _time_at(self._segments[Phase.RETRACT], driver)


def _time_at(segment: Segment, driver_m: float) -> float:
    """First time at which the driver passes ``driver_m``, rising or falling; the end if it never does."""
    driver = segment.positions[:, -1]
    above = driver >= driver_m if driver[0] <= driver[-1] and driver[0] < driver_m else driver <= driver_m
    if above[0]:
        return 0.0
    if not above.any():
        return segment.duration_s
    k = int(np.argmax(above))
    share = (driver_m - driver[k - 1]) / (driver[k] - driver[k - 1])
    return float(segment.time_s[k - 1] + share * (segment.time_s[k] - segment.time_s[k - 1]))
