"""The controller of one insertion: approach, align, advance, wait, insert, verify, correct, retract, or stop.

It sees what a real one would see: decisions of the strategy against breathing, alarms of the supervision, encoders,
and control scans. It commands positions of the arm's joints and of the needle driver. Whatever does not come about
ends in a status, not in a hang.
"""

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.outcome import EventKind
from robots.emergency import DriverState, emergency_retract
from robots.model import RobotModel
from robots.route import InsertionRoute, Phase, Segment
from robots.timing import TimedPath
from sim.aiming import AimedGuide
from sim.compensation.contract import CompensationStatus, Decision
from sim.controller_options import ControllerOptions
from sim.controller_state import AT_PATIENT, Seen, State
from sim.supervision import Alarm

_MOVING_IN = (State.WAIT, State.INSERT, State.HOLD)
_OVER = (State.WITHDRAW, State.DONE, State.GIVEN_UP)
#: An aimed point nearer than this to the planned one is back.
_BACK_M = 1e-6
#: Postures this near to each other are the same, rad and m.
_SAME_PLACE = 1e-6
#: Moments this near to each other are the same.
_SAME_S = 1e-9


class InsertionController:
    """Carries out one reached insertion route, step by step."""

    def __init__(
        self, route: InsertionRoute, robot: RobotModel, guide: AimedGuide, options: ControllerOptions
    ) -> None:
        """Start at the beginning of the approach.

        Args:
            route: a route that is reached.
            robot: the arm.
            guide: aims the needle.
            options: times, distances and limits.
        """
        self._route, self._robot, self._guide, self._options = route, robot, guide, options
        self._segments = {phase: route.segment(phase) for phase in Phase}
        insert = self._segments[Phase.INSERT]
        self._hover_s = time_at(insert, max(0.0, route.driver_entry_m - options.hover_mm * 1e-3))
        way = np.asarray(route.tip_m) - np.asarray(route.entry_m)
        self._direction = way / np.linalg.norm(way)
        depth = route.driver_tip_m - route.driver_entry_m
        step = depth if options.step_mm is None else options.step_mm * 1e-3
        # A last step shorter than a millimetre is none.
        count = max(1, int(np.ceil((depth - 1e-3) / step)))
        marks = [route.driver_entry_m + k * step for k in range(1, count)]
        self._stops = [*(time_at(insert, mark) for mark in marks), insert.duration_s]
        self.state = State.APPROACH
        self.waited_s = 0.0  #: time spent not being allowed to advance
        self.corrections = 0
        self.reason = ""  #: why the insertion was given up; "" while it was not
        self.ends_session = False  #: no further needle may be placed
        self.needle_free = False  #: the needle was let go and is carried by the tissue
        self.wants_scan = False  #: a control scan is due now
        self.events: list[tuple[EventKind, str]] = []  #: what happened since they were last taken
        self._clock_s = self._rate = self._closed_s = self._calm_s = self._stopped_s = 0.0
        self._correction_m, self._wanted_m = np.zeros(3), np.zeros(3)
        self._retreat_to_s: float | None = None
        self._way_out: TimedPath | None = None
        self._stuck: FloatArray | None = None
        self._stop_reason = ""
        self._lost = ""

    @property
    def finished(self) -> bool:
        """True when nothing moves any more."""
        return self.state in (State.DONE, State.GIVEN_UP)

    @property
    def arrived(self) -> bool:
        """True once the tip has come to rest at the end of the path."""
        return self.state in (State.SETTLE, State.RETRACT, State.DONE)

    @property
    def at_patient(self) -> bool:
        """True while the needle is before the skin or in tissue."""
        return self.state in AT_PATIENT

    @property
    def needle_loose(self) -> bool:
        """True while the needle rests in a guide and a driver that give way."""
        resting = self.state in (State.HOLD, State.STOPPED, State.VERIFY) and self._rate == 0.0
        return resting and self._options.loose_while_held

    @property
    def may_ask(self) -> bool:
        """True while the patient may be asked to hold the breath."""
        return self.state in (*_MOVING_IN, State.VERIFY)

    @property
    def stop_reason(self) -> str:
        """What stopped the needle, while it is stopped or drawn out; "" otherwise."""
        return self._stop_reason if self.state in (State.STOPPED, *_OVER) else ""

    @property
    def intended_depth_m(self) -> float:
        """Depth behind the entry at which the tip should be by the plan, without what was corrected."""
        return float(self._segments[Phase.INSERT].at(self._clock_s)[-1]) - self._route.driver_entry_m

    def positions(self) -> FloatArray:
        """(n + 1,) commanded positions: joints in radians, and last the driver in metres."""
        wanted = self._positions()
        if self._stuck is not None:  # nothing is asked of an arm that does not follow
            wanted[:-1] = self._stuck
        return wanted

    def _positions(self) -> FloatArray:
        if self._way_out is not None:
            return self._aimed(self._way_out.at(self._clock_s)[0][0])
        if self.state in (State.APPROACH, State.ALIGN):
            return self._segments[Phase(self.state.value)].at(self._clock_s)
        if self.state in (State.RETRACT, State.DONE, State.GIVEN_UP):
            return self._aimed(self._segments[Phase.RETRACT].at(self._clock_s))
        insert = self._segments[Phase.INSERT]
        return self._aimed(insert.positions[-1] if self.state is State.SETTLE else insert.at(self._clock_s))

    def _aimed(self, planned: FloatArray) -> FloatArray:
        """Planned positions with the arm at its aimed posture and the driver stretched to the aimed point."""
        positions = planned.copy()
        if self._off_plan:
            positions[:-1] = self._guide.posture
        entry = self._route.driver_entry_m
        if planned[-1] > entry and self._way_out is None:
            stretched = entry + (planned[-1] - entry) * self._guide.stretch
            positions[-1] = min(stretched, self._robot.driver_stroke_m)
        return positions

    @property
    def _off_plan(self) -> bool:
        return bool(np.abs(self._guide.shift_m).max() > _BACK_M)

    def emergency_stop(self, reason: str) -> None:
        """The operator stops everything: no further needle is placed."""
        self._alarm(Alarm(reason, may_pass=False, ends_session=True))

    def step(self, duration_s: float, seen: Seen) -> None:
        """Let ``duration_s`` pass.

        Args:
            duration_s: time step.
            seen: what is known now.
        """
        before = self.state
        if seen.operator_stop and not self.ends_session:
            self.emergency_stop("the emergency stop was pressed")
        elif seen.alarm is not None:
            self._alarm(seen.alarm, seen.encoders)
        elif seen.force_reason is not None and self.state in (*_MOVING_IN, State.CORRECT):
            self._alarm(Alarm(seen.force_reason, may_pass=False))
        if self.state is before or self.state is State.STOPPED:
            self._go_on(duration_s, seen)
        self._note_sensor(seen.decision)
        if self.state is not before:
            self.events.append((EventKind.STATE, self.state.value))

    def _go_on(self, duration_s: float, seen: Seen) -> None:
        if self.state in (State.APPROACH, State.ALIGN):
            self._follow(duration_s)
        elif self.state is State.ADVANCE:
            self._aim(seen.shift_m, duration_s)
            self._clock_s = min(self._clock_s + duration_s, self._hover_s)
            if self._clock_s >= self._hover_s:
                self.state, self._rate = State.WAIT, 0.0
        elif self.state in _MOVING_IN:
            self._insert(duration_s, seen)
        elif self.state is State.VERIFY:
            self._verify(duration_s, seen)
        elif self.state is State.CORRECT:
            self._correct(duration_s, seen)
        elif self.state is State.SETTLE:
            self._clock_s += duration_s
            if self._clock_s >= self._options.settle_s:
                self.state, self._clock_s = State.RETRACT, 0.0
        elif self.state is State.RETRACT:
            self._go_home(duration_s, self._segments[Phase.RETRACT].path, State.DONE)
        elif self.state is State.STOPPED:
            self._wait_stopped(duration_s, seen)
        elif self.state is State.WITHDRAW:
            assert self._way_out is not None
            self._go_home(duration_s, self._way_out, State.GIVEN_UP)

    def _follow(self, duration_s: float) -> None:
        """Follow approach and align."""
        phase, following = Phase(self.state.value), State.ALIGN
        if self.state is State.ALIGN:
            following = State.ADVANCE
        self._clock_s += duration_s
        if self._clock_s >= self._segments[phase].duration_s:
            self.state, self._clock_s = following, 0.0

    def _aim(self, shift_m: FloatArray, duration_s: float) -> bool:
        """Turn the guide to the strategy's aim and what was corrected; False where the arm cannot."""
        way = self._wanted_m - self._correction_m
        longest = self._options.correction_speed_mm_s * 1e-3 * duration_s
        length = float(np.linalg.norm(way))
        self._correction_m = self._wanted_m if length <= longest else self._correction_m + way * (longest / length)
        return self._guide.turn_to(np.asarray(shift_m) + self._correction_m, duration_s)

    def _brake(self, duration_s: float, may_move: bool, rate: float = 1.0) -> None:
        """Let the driver's pace rise or fall towards its wanted value."""
        change = duration_s / self._options.stop_s
        wanted = rate if may_move else 0.0
        self._rate += float(np.clip(wanted - self._rate, -change, change))

    def _insert(self, duration_s: float, seen: Seen) -> None:
        turned = self._aim(seen.shift_m, duration_s)
        self._brake(duration_s, seen.decision.may_advance and turned)
        following = next(stop for stop in self._stops if stop > self._clock_s + _SAME_S)
        self._clock_s = min(self._clock_s + self._rate * duration_s, following)
        if self._clock_s >= following - _SAME_S:
            self._clock_s, self._rate = following, 0.0
            if self._options.verifies:
                self.state, self._stopped_s = State.VERIFY, 0.0
            else:
                self._settle()
        elif self._rate > 0.0:
            self.state, self._closed_s = State.INSERT, 0.0
        else:
            self.state = State.WAIT if self._clock_s <= self._hover_s + _SAME_S else State.HOLD
            self._closed(duration_s, seen, turned)

    def _closed(self, duration_s: float, seen: Seen, turned: bool = True) -> None:
        """Count the time in which the needle may not advance, and give up after too much of it."""
        self.waited_s += duration_s
        self._closed_s += duration_s
        decision, options = seen.decision, self._options
        if decision.status is CompensationStatus.GIVEN_UP:
            self._give_up(decision.reason)
        elif self._closed_s >= options.gate_timeout_s:
            why = decision.reason if turned else "the arm cannot follow the target"
            self._give_up(
                f"the needle was not allowed to advance for {options.gate_timeout_s:g} s, {decision.status}: {why}"
                "; widen the gate or meet the breathing in another way"
            )

    def _settle(self) -> None:
        self.state, self._clock_s, self.needle_free = State.SETTLE, 0.0, True

    def _verify(self, duration_s: float, seen: Seen) -> None:
        self._aim(seen.shift_m, duration_s)
        self._stopped_s += duration_s
        if self._stopped_s < self._options.scan_s:
            return
        if seen.decision.may_advance:  # the scan is taken where the breath is as it was for the plan
            self.wants_scan = True
        else:
            self._closed(duration_s, seen)

    def scanned(self, error_m: FloatArray, spread_m: float = 0.0) -> None:
        """What a control scan showed.

        Args:
            error_m: (3,) how far the tip would end beside its planned place if the needle went on straight, and
                along the path how far it is from its intended depth now; in the target's frame, in world axes.
            spread_m: standard deviation of the part across the path, which grows the farther the scan looks ahead.

        Raises:
            OptionError: no scan was asked for.
        """
        if not self.wants_scan:
            raise OptionError("a control scan was handed over that nobody asked for")
        self.wants_scan, self._closed_s = False, 0.0
        before = self.state
        at_end = self._clock_s >= self._stops[-1] - _SAME_S
        along = float(error_m @ self._direction)
        aside = error_m - along * self._direction
        lateral_mm, depth_mm = float(np.linalg.norm(aside)) * 1e3, along * 1e3
        options = self._options
        # What a scan cannot tell from noise is not steered after.
        beside = lateral_mm > max(options.lateral_tolerance_mm, 3.0 * spread_m * 1e3)
        deep = at_end and abs(depth_mm) > options.depth_tolerance_mm
        where = "is" if at_end else "would come"
        found = f"a scan: the tip {where} {lateral_mm:.1f} mm beside its place and is {depth_mm:+.1f} mm too deep"
        self.events.append((EventKind.VERIFY, found))
        if not (beside or deep):
            self._closed_s = 0.0
            if at_end:
                self._settle()
            else:
                self.state = State.HOLD
        elif self.corrections >= options.corrections:
            self._give_up(f"{found} after {self.corrections} corrections")
        else:
            self.corrections += 1
            self._wanted_m = (
                self._wanted_m - (aside if beside else 0.0) - (along * self._direction if deep else 0.0)
            )
            insert = self._segments[Phase.INSERT]
            driver = float(insert.at(self._clock_s)[-1])
            back = options.retreat_mm * 1e-3 if beside else abs(along) + 1e-3 if along > 0.0 else 0.0
            # Not out of the skin: the needle would lose its entry.
            least = min(driver, self._route.driver_entry_m + 5e-3)
            self._retreat_to_s = time_at(insert, max(driver - back, least))
            self.state = State.CORRECT
            how = "is steered" if beside else "goes on" if along < 0.0 else "is drawn back"
            self.events.append((EventKind.CORRECT, f"correction {self.corrections}: the needle {how}"))
        if self.state is not before:
            self.events.append((EventKind.STATE, self.state.value))

    def _correct(self, duration_s: float, seen: Seen) -> None:
        """Back to where the needle may be steered, then turn it; the insertion goes on from there."""
        assert self._retreat_to_s is not None
        if self._clock_s > self._retreat_to_s:
            self._clock_s = max(self._retreat_to_s, self._clock_s - duration_s)
            return
        if not self._aim(seen.shift_m, duration_s):
            self._give_up("the arm cannot steer the needle as far as would be needed")
        elif (self._correction_m == self._wanted_m).all():
            # A needle at its end that must go deeper has no way left on the clock: it is given a little.
            self._clock_s = min(self._clock_s, self._stops[-1] - self._options.stop_s)
            self.state, self._rate, self._closed_s = State.HOLD, 0.0, 0.0

    def _alarm(self, alarm: Alarm, encoders: FloatArray | None = None) -> None:
        """Stop for an alarm, where it matters in the present state."""
        if self.finished:
            return
        leaving = self.state in (State.SETTLE, State.RETRACT, State.WITHDRAW)
        if leaving and alarm.ends_session and not self.ends_session:
            # The needle is let go or on its way out, which is where a stop would lead; no other follows.
            self.events.append((EventKind.STOP, alarm.reason))
            self.ends_session, self.reason = True, self.reason or alarm.reason
        if self.state in (State.SETTLE, State.RETRACT) and not alarm.jammed:
            return
        if self.state is State.WITHDRAW:
            if alarm.driver_jammed or (alarm.jammed and self._stuck is None):
                self._halt(alarm)
            return
        if self.state is State.STOPPED:
            self._calm_s = 0.0
            if alarm.may_pass or np.isinf(self._stopped_s):
                return
        elif alarm.may_pass and self.state in (State.APPROACH, State.ALIGN):
            return  # far from the patient; it will be looked at again before the skin
        self.events.append((EventKind.STOP, alarm.reason))
        self._stop_reason = alarm.reason
        self.ends_session = self.ends_session or alarm.ends_session
        if alarm.driver_jammed or (alarm.jammed and not self._in_patient):
            self._halt(alarm)
            return
        if alarm.jammed and encoders is not None:
            self._stuck = encoders[:-1].copy()
        if self.state in (State.APPROACH, State.ALIGN):
            phase = Phase(self.state.value)
            at = min(self._clock_s, self._segments[phase].duration_s)
            self._leave(alarm.reason, emergency_retract(self._route, self._robot, phase, at).path)
            return
        self.state, self._stopped_s, self._calm_s = State.STOPPED, 0.0, 0.0
        if not alarm.may_pass:
            self._stopped_s = np.inf

    def _halt(self, alarm: Alarm) -> None:
        """Nothing can be moved any more: a needle in the patient is let go, the rest stays where it is."""
        self.reason = self.reason or f"stopped: {alarm.reason}"
        self._stop_reason, self.ends_session = alarm.reason, True
        if float(self.positions()[-1]) > self._route.driver_entry_m:
            self.needle_free = True
            self.reason += "; the needle was let go in the patient and must be drawn out by hand"
        stays = self.positions()
        self._way_out = TimedPath(np.array([0.0, 1.0]), np.array([stays, stays]), *np.zeros((2, 2, len(stays))))
        self._clock_s, self.state = 0.0, State.GIVEN_UP

    @property
    def _in_patient(self) -> bool:
        return bool(self.positions()[-1] > self._route.driver_entry_m - self._options.hover_mm * 1e-3 - 1e-6)

    def _wait_stopped(self, duration_s: float, seen: Seen) -> None:
        """Brake, then wait for what stopped the needle to pass, or draw it out."""
        self._brake(duration_s, may_move=False)
        self._clock_s = min(self._clock_s + self._rate * duration_s, self._stops[-1])
        if self._rate > 0.0:
            return
        self._stopped_s += duration_s
        self._calm_s = self._calm_s + duration_s if seen.alarm is None else 0.0
        self.waited_s += duration_s
        if np.isinf(self._stopped_s) or self._stopped_s >= self._options.recovery_s:
            self._give_up(f"stopped: {self._stop_reason}")
        elif self._calm_s >= self._options.calm_s:
            self.events.append((EventKind.RESUME, f"all is well for {self._options.calm_s:g} s"))
            self.state = State.WAIT if self._clock_s <= self._hover_s + _SAME_S else State.HOLD
            self._closed_s, self._stop_reason = 0.0, ""

    def _give_up(self, reason: str) -> None:
        """Draw the needle out from where the driver stands."""
        driver = float(self.positions()[-1])
        if not reason.startswith("stopped: "):
            self.events.append((EventKind.STOP, reason))
            self._stop_reason = reason
        out = emergency_retract(self._route, self._robot, Phase.INSERT, DriverState(driver))
        self._leave(reason, out.path)

    def _leave(self, reason: str, path: TimedPath) -> None:
        """Follow a way out, and where it ends before the stand-off, home by the way that the arm came."""
        approach = self._segments[Phase.APPROACH].path
        if np.abs(path.positions[-1] - approach.positions[-1]).max() < _SAME_PLACE:
            path = path.then(approach.reversed())
        self.reason, self._way_out, self._clock_s, self.state = reason, path, 0.0, State.WITHDRAW

    def _go_home(self, duration_s: float, path: TimedPath, following: State) -> None:
        """Follow a way out; the arm leaves its aimed posture only once the needle is out of the body."""
        ahead = path.at(self._clock_s + duration_s)[0][0]
        free = self._route.driver_entry_m - self._options.hover_mm * 1e-3
        # A needle that stays has let the driver go back without it.
        if self._off_plan and ahead[-1] <= free:
            self._wanted_m, self._correction_m = np.zeros(3), self._guide.shift_m.copy()
            if self._stuck is None:
                self._aim(np.zeros(3), duration_s)
                return
        if self._stuck is not None and ahead[-1] <= free:
            self.state = following
            return
        self._clock_s += duration_s
        if self._clock_s >= path.duration_s:
            self._clock_s, self.state = path.duration_s, following

    def _note_sensor(self, decision: Decision) -> None:
        """Log once that the strategy lost its sensor, and that it has it again."""
        lost = decision.reason if decision.status is CompensationStatus.SENSOR_LOST else ""
        if self.at_patient and bool(lost) != bool(self._lost):
            kind, text = (EventKind.STOP, lost) if lost else (EventKind.RESUME, "the sensor is back")
            self.events.append((kind, f"the strategy holds the needle: {text}" if lost else text))
            self._lost = lost


def time_at(segment: Segment, driver_m: float) -> float:
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
