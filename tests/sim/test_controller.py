from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.outcome import EventKind
from robots.catalogue import load_robot
from robots.route import InsertionRoute, Phase, RobotRoute
from sim.aiming import AimedGuide
from sim.compensation.contract import CompensationStatus, Decision
from sim.controller import InsertionController
from sim.controller_options import ControllerOptions
from sim.controller_state import Seen, State
from sim.supervision import Alarm

STEP = 0.01
ROBOT = load_robot()


def _decision(may: bool, status: CompensationStatus | None = None) -> Decision:
    usual = CompensationStatus.OPEN if may else CompensationStatus.CLOSED
    return Decision(may, np.zeros(3), status or usual, "as the test says")


class Drive:
    """A controller with what it is shown, and what it did."""

    def __init__(self, route: RobotRoute, **options: float | bool | None) -> None:
        self.path: InsertionRoute = route.insertions[0]
        guide = AimedGuide(self.path, ROBOT, route.X_WB)
        self.controller = InsertionController(self.path, ROBOT, guide, ControllerOptions(**options))  # type: ignore[arg-type]
        self.time = 0.0
        self.rows: list[tuple[float, State, FloatArray, bool]] = []
        self.log: list[tuple[EventKind, str]] = []

    def run(
        self,
        gate: Callable[[float], bool] = lambda t: True,
        alarm: Callable[["Drive"], Alarm | None] = lambda d: None,
        shift: Callable[[float], FloatArray] = lambda t: np.zeros(3),
        stop: Callable[["Drive"], bool] = lambda d: False,
        encoders: Callable[[FloatArray], FloatArray] = lambda q: q,
        scan: Callable[["Drive"], FloatArray] = lambda d: np.zeros(3),
    ) -> "Drive":
        for _ in range(60000):
            controller = self.controller
            commanded = controller.positions()
            may = gate(self.time)
            self.rows.append((self.time, controller.state, commanded, may))
            if controller.finished:
                return self
            controller.step(
                STEP, Seen(_decision(may), shift(self.time), encoders(commanded), alarm(self), None, stop(self))
            )
            if controller.wants_scan:
                controller.scanned(scan(self))
            self.log += controller.events
            controller.events.clear()
            self.time += STEP
        raise AssertionError("the controller hangs")

    @property
    def states(self) -> list[State]:
        return [a for a, b in pairwise([row[1] for row in self.rows] + [None]) if a is not b]  # type: ignore[list-item]

    @property
    def deepest_m(self) -> float:
        return float(max(row[2][-1] for row in self.rows))

    def depth_mm(self) -> float:
        return float(self.rows[-1][2][-1] - self.path.driver_entry_m) * 1e3

    def said(self, kind: EventKind) -> list[str]:
        return [text for what, text in self.log if what is kind]


def at_depth(depth_mm: float, alarm: Alarm, until_s: float = np.inf) -> Callable[[Drive], Alarm | None]:
    """An alarm from a depth on, for a while."""
    began: list[float] = []

    def raised(drive: Drive) -> Alarm | None:
        if not began and drive.rows and drive.depth_mm() >= depth_mm:
            began.append(drive.time)
        return alarm if began and drive.time < began[0] + until_s else None

    return raised


def test_without_obstacles_the_states_follow_the_route_and_take_its_time(route: RobotRoute) -> None:
    drive = Drive(route, settle_s=1.0).run()
    assert drive.states == [
        State.APPROACH, State.ALIGN, State.ADVANCE, State.WAIT, State.INSERT, State.SETTLE, State.RETRACT,
        State.DONE,
    ]  # fmt: skip
    assert drive.rows[-1][0] == pytest.approx(drive.path.duration_s + 1.0, abs=0.15)
    assert drive.rows[-1][2] == pytest.approx(drive.path.segment(Phase.RETRACT).positions[-1], abs=1e-9)
    assert drive.deepest_m == pytest.approx(drive.path.driver_tip_m, abs=1e-9)
    assert drive.controller.reason == "" and not drive.controller.ends_session


@pytest.mark.parametrize("kind", ["open", "regular", "random", "aimed", "stopped", "verified"])
def test_no_command_jumps_whatever_happens(route: RobotRoute, kind: str) -> None:
    rng = np.random.default_rng(5)
    flips = rng.random(4000) < 0.5
    drive = Drive(route, verify=kind == "verified", recovery_s=3.0)
    if kind == "regular":
        drive.run(lambda t: t % 3.0 < 1.0)
    elif kind == "random":
        drive.run(lambda t: bool(flips[int(t * 20) % 4000]))
    elif kind == "aimed":
        drive.run(shift=lambda t: 0.008 * np.sin(1.5 * t) * np.array([0.3, 1.0, -0.4]))
    elif kind == "stopped":
        drive.run(alarm=at_depth(15.0, Alarm("a cough", True), 1.0))
    elif kind == "verified":
        error = iter([np.array([0.004, 0.003, 0.0]), np.zeros(3), np.zeros(3)])
        drive.run(scan=lambda d: next(error))
    else:
        drive.run()
    steps = np.abs(np.diff([row[2] for row in drive.rows], axis=0)).max(axis=0)
    assert (steps[:-1] <= 1.02 * np.asarray(ROBOT.velocity_limits) * STEP).all()
    assert steps[-1] <= 1.02 * ROBOT.driver_velocity_limit * STEP
    assert drive.controller.state is State.DONE


def test_the_needle_moves_in_tissue_only_while_it_may(route: RobotRoute) -> None:
    drive = Drive(route).run(lambda t: t % 4.0 < 1.5)
    assert {State.WAIT, State.INSERT, State.HOLD} <= set(drive.states)
    closed_for = 0.0
    for before, after in pairwise(drive.rows):
        closed_for = 0.0 if before[3] else closed_for + STEP
        if before[1] in (State.WAIT, State.INSERT, State.HOLD) and closed_for > 0.04 + 2 * STEP:
            assert after[2][-1] == before[2][-1]
        if before[1] is State.WAIT:  # it waits before the skin, not in it
            assert before[2][-1] == pytest.approx(drive.path.driver_entry_m - 8e-3, abs=1e-6)
    assert drive.controller.waited_s > 5.0


def test_what_never_opens_is_given_up_before_the_skin(route: RobotRoute) -> None:
    drive = Drive(route, gate_timeout_s=5.0).run(lambda t: False)
    assert drive.controller.state is State.GIVEN_UP and "not allowed to advance for 5 s" in drive.controller.reason
    assert drive.deepest_m == pytest.approx(drive.path.driver_entry_m - 8e-3, abs=1e-6)
    assert State.INSERT not in drive.states and not drive.controller.ends_session
    assert drive.controller.waited_s == pytest.approx(5.0, abs=0.1)


def test_what_closes_for_ever_in_tissue_is_given_up_and_the_needle_drawn_back(route: RobotRoute) -> None:
    drive = Drive(route, gate_timeout_s=5.0)
    drive.run(lambda t: not drive.rows or drive.deepest_m < drive.path.driver_entry_m + 0.02)
    assert drive.controller.state is State.GIVEN_UP and State.SETTLE not in drive.states
    assert 0.02 <= drive.deepest_m - drive.path.driver_entry_m < 0.021
    assert drive.rows[-1][2][-1] == pytest.approx(0.0, abs=1e-9)


def test_an_alarm_that_passes_stops_the_needle_and_lets_it_go_on(route: RobotRoute) -> None:
    drive = Drive(route, calm_s=1.0).run(alarm=at_depth(20.0, Alarm("a cough", True), 2.0))
    assert drive.controller.state is State.DONE and State.STOPPED in drive.states
    stopped = [row for row in drive.rows if row[1] is State.STOPPED]
    # At 8 mm/s it brakes within 0.04 s.
    assert stopped[-1][2][-1] - stopped[0][2][-1] <= 0.5 * 0.04 * 0.0081 + 8e-5
    assert stopped[-1][0] - stopped[0][0] == pytest.approx(3.0, abs=0.1)
    assert drive.said(EventKind.STOP) == ["a cough"] and len(drive.said(EventKind.RESUME)) == 1
    assert drive.controller.stop_reason == ""  # it has passed


@pytest.mark.parametrize("depth_mm", [-100.0, -3.0, 2.0, 30.0])
def test_an_alarm_that_does_not_pass_ends_with_the_needle_outside(route: RobotRoute, depth_mm: float) -> None:
    alarm = Alarm("the patient has moved", False, ends_session=True)
    drive = Drive(route).run(alarm=at_depth(depth_mm, alarm))
    controller = drive.controller
    assert controller.state is State.GIVEN_UP and controller.ends_session
    assert controller.reason == ("stopped: " if depth_mm > -50.0 else "") + "the patient has moved"
    assert drive.said(EventKind.STOP) == ["the patient has moved"]
    first = next(k for k, row in enumerate(drive.rows) if row[1] in (State.STOPPED, State.WITHDRAW))
    after = np.array([row[2][-1] for row in drive.rows[first:]])
    assert after.max() - after[0] <= 0.0003 and after[-1] == pytest.approx(0.0, abs=1e-9)


def test_an_alarm_that_may_pass_but_does_not_withdraws_after_the_stated_time(route: RobotRoute) -> None:
    drive = Drive(route, recovery_s=4.0).run(alarm=at_depth(10.0, Alarm("no pose", True)))
    assert drive.controller.state is State.GIVEN_UP and drive.controller.reason == "stopped: no pose"
    stopped = [row[0] for row in drive.rows if row[1] is State.STOPPED]
    assert stopped[-1] - stopped[0] == pytest.approx(4.0, abs=0.1)
    assert not drive.controller.ends_session


def test_a_jammed_driver_lets_the_needle_go_and_moves_nothing_more(route: RobotRoute) -> None:
    alarm = Alarm("the driver does not follow", False, ends_session=True, driver_jammed=True)
    drive = Drive(route).run(alarm=at_depth(25.0, alarm))
    controller = drive.controller
    assert controller.state is State.GIVEN_UP and controller.needle_free and controller.ends_session
    assert "by hand" in controller.reason and drive.states[-2] is State.INSERT
    assert (drive.rows[-1][2] == controller.positions()).all()


def test_a_jammed_arm_stays_and_the_driver_draws_the_needle_back(route: RobotRoute) -> None:
    alarm = Alarm("joint 3 does not follow", False, ends_session=True, jammed=True)
    drive = Drive(route).run(alarm=at_depth(25.0, alarm))
    assert drive.controller.state is State.GIVEN_UP and not drive.controller.needle_free
    postures = np.array([row[2] for row in drive.rows if row[1] in (State.STOPPED, State.WITHDRAW, State.GIVEN_UP)])
    assert np.ptp(postures[:, :-1], axis=0).max() == 0.0
    assert postures[-1, -1] < drive.path.driver_entry_m - 7e-3
    # In the approach there is nothing to draw back: all stays.
    early = Drive(route).run(alarm=lambda d: alarm if d.time > 1.0 else None)
    assert early.states == [State.APPROACH, State.GIVEN_UP] and early.rows[-1][0] < 1.1


@pytest.mark.parametrize(
    "phase", [State.APPROACH, State.ALIGN, State.ADVANCE, State.WAIT, State.INSERT, State.HOLD]
)
def test_the_emergency_stop_ends_every_phase_and_nothing_goes_deeper(route: RobotRoute, phase: State) -> None:
    drive = Drive(route)
    drive.run(lambda t: t % 4.0 < 1.5, stop=lambda d: d.controller.state is phase)
    assert drive.controller.state is State.GIVEN_UP and drive.controller.ends_session
    pressed = next(k for k, row in enumerate(drive.rows) if row[1] is phase)
    after = np.array([row[2][-1] for row in drive.rows[pressed:]])
    assert after.max() - after[0] <= 0.0005 and after[-1] == pytest.approx(0.0, abs=1e-9)
    assert "emergency stop" in drive.controller.reason


@pytest.mark.parametrize("phase", [State.SETTLE, State.RETRACT, State.STOPPED, State.WITHDRAW])
def test_the_emergency_stop_is_heard_in_every_state(route: RobotRoute, phase: State) -> None:
    passing = at_depth(12.0, Alarm("no pose", True)) if phase in (State.STOPPED, State.WITHDRAW) else lambda d: None
    drive = Drive(route, recovery_s=3.0).run(alarm=passing, stop=lambda d: d.controller.state is phase)
    assert drive.controller.finished and drive.controller.ends_session
    assert sum("emergency stop" in text for text in drive.said(EventKind.STOP)) == 1
    assert drive.rows[-1][2][-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("depth_mm", [-100.0, -30.0, 5.0, 40.0])
def test_after_an_insertion_that_was_given_up_the_arm_goes_home(route: RobotRoute, depth_mm: float) -> None:
    drive = Drive(route).run(alarm=at_depth(depth_mm, Alarm("a reason", False)))
    assert drive.controller.state is State.GIVEN_UP
    home = drive.path.segment(Phase.APPROACH).positions[0]
    assert drive.rows[-1][2] == pytest.approx(home, abs=1e-6)
    steps = np.abs(np.diff([row[2] for row in drive.rows], axis=0)).max(axis=0)
    assert (steps[:-1] <= 1.02 * np.asarray(ROBOT.velocity_limits) * STEP).all()


def test_steps_are_verified_each_and_a_tip_beside_the_path_is_steered_back(route: RobotRoute) -> None:
    drive = Drive(route, step_mm=15.0).run()
    depth_mm = (drive.path.driver_tip_m - drive.path.driver_entry_m) * 1e3
    assert len(drive.said(EventKind.VERIFY)) == int(np.ceil((depth_mm - 1.0) / 15.0))
    assert drive.controller.corrections == 0
    # A needle 5 mm beside its path: what is seen shrinks with what the guide was turned.
    way = np.asarray(drive.path.tip_m) - np.asarray(drive.path.entry_m)
    across = np.cross(way / np.linalg.norm(way), [0.3, 0.2, 0.9])
    off = 0.005 * across / np.linalg.norm(across)
    steered = Drive(route, verify=True)
    steered.run(scan=lambda d: off + d.controller._guide.shift_m)
    assert steered.controller.state is State.DONE and steered.controller.corrections == 1
    assert steered.controller._guide.shift_m == pytest.approx(np.zeros(3), abs=1e-9)  # home again
    assert State.CORRECT in steered.states and len(steered.said(EventKind.CORRECT)) == 1
    settled = next(row for row in steered.rows if row[1] is State.SETTLE)
    X_WG = (route.X_WB @ ROBOT.forward(settled[2][:-1])).matrix
    tip = X_WG[:3, 3] + settled[2][-1] * X_WG[:3, 2]
    assert tip == pytest.approx(np.asarray(drive.path.tip_m) - off, abs=1e-5)


@pytest.mark.parametrize("depth_mm", [-4.0, 4.0])
def test_a_wrong_depth_is_corrected_along_the_needle(route: RobotRoute, depth_mm: float) -> None:
    drive = Drive(route, verify=True)
    way = np.asarray(drive.path.tip_m) - np.asarray(drive.path.entry_m)
    axis = way / np.linalg.norm(way)
    drive.run(scan=lambda d: depth_mm * 1e-3 * axis + d.controller._guide.shift_m)
    assert drive.controller.state is State.DONE and drive.controller.corrections == 1
    settled = next(row for row in drive.rows if row[1] is State.SETTLE)
    assert settled[2][-1] == pytest.approx(drive.path.driver_tip_m - depth_mm * 1e-3, abs=1e-5)


def test_what_cannot_be_corrected_is_given_up(route: RobotRoute) -> None:
    drive = Drive(route, verify=True, corrections=2).run(scan=lambda d: np.array([0.004, -0.003, 0.001]))
    assert drive.controller.state is State.GIVEN_UP and drive.controller.corrections == 2
    assert "after 2 corrections" in drive.controller.reason
    with pytest.raises(OptionError, match="nobody asked"):
        drive.controller.scanned(np.zeros(3))


def test_a_strategy_that_gives_up_withdraws_the_needle(route: RobotRoute) -> None:
    drive = Drive(route)
    controller = drive.controller
    while controller.state is not State.WAIT:
        controller.step(STEP, Seen(_decision(False), np.zeros(3), controller.positions()))
    controller.step(STEP, Seen(_decision(False, CompensationStatus.GIVEN_UP), np.zeros(3), controller.positions()))
    assert controller.state is State.WITHDRAW and controller.reason == "as the test says"


def test_impossible_options_are_refused() -> None:
    for option in ("hover_mm", "settle_s", "gate_timeout_s", "stop_s", "slip_mm", "scan_s", "step_mm"):
        for value in (-1.0, float("nan")):
            with pytest.raises(OptionError):
                ControllerOptions(**{option: value})  # type: ignore[arg-type]
