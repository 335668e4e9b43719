from itertools import pairwise

import numpy as np
import pytest

from needleplan.errors import OptionError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from robots.route import InsertionRoute, Phase, RouteStatus, Segment
from sim.controller import ControllerOptions, InsertionController, State

STEP = 0.01


def _route() -> InsertionRoute:
    """Approach 1 s, align 0.5 s, insertion of 50 mm air and 40 mm tissue at 10 mm/s, retraction of 5 s."""

    def segment(phase: Phase, *rows: tuple[float, float, float]) -> Segment:
        table = np.array(rows)
        return Segment(phase, table[:, 0], table[:, 1:])

    return InsertionRoute(
        1, RouteStatus.REACHED, "", np.zeros(3), np.zeros(3),
        RigidTransform.identity(Frame.WORLD, Frame.GUIDE, LengthUnit.METRE), 0.05, 0.09,
        (
            segment(Phase.APPROACH, (0, 0, 0), (1, 1, 0)),
            segment(Phase.ALIGN, (0, 1, 0), (0.5, 1.2, 0)),
            segment(Phase.INSERT, (0, 1.2, 0), (9, 1.2, 0.09)),
            segment(Phase.RETRACT, (0, 1.2, 0.09), (4.5, 1.2, 0), (5, 1.0, 0), (6, 0, 0)),
        ),
    )  # fmt: skip


def _run(gate: object, gating: bool = True, **options: float) -> list[tuple[float, State, np.ndarray, bool]]:
    controller = InsertionController(_route(), gating, ControllerOptions(**options))
    rows = []
    for k in range(20000):
        time = k * STEP
        is_open = bool(gate(time))  # type: ignore[operator]
        rows.append((time, controller.state, controller.positions(), is_open))
        if controller.finished:
            assert controller.waited_s >= 0.0
            return rows
        controller.step(STEP, is_open)
    raise AssertionError("the controller hangs")


def test_without_gating_the_states_follow_the_route_and_take_its_time() -> None:
    rows = _run(lambda t: False, gating=False, settle_s=1.0)
    states = list(dict.fromkeys(state for _, state, _, _ in rows))
    assert states == [
        State.APPROACH, State.ALIGN, State.ADVANCE, State.INSERT, State.SETTLE, State.RETRACT, State.DONE,
    ]  # fmt: skip
    assert rows[-1][0] == pytest.approx(1.0 + 0.5 + 9.0 + 1.0 + 6.0, abs=0.1)
    assert rows[-1][2] == pytest.approx(np.zeros(2), abs=1e-12)
    deepest = max(row[2][1] for row in rows)
    assert deepest == pytest.approx(0.09, abs=1e-12)


def test_no_command_jumps_whatever_the_gate_does() -> None:
    rng = np.random.default_rng(5)
    flips = rng.random(4000) < 0.5
    for gate in (lambda t: True, lambda t: t % 3.0 < 1.0, lambda t: flips[int(t * 20) % 4000]):
        positions = np.array([row[2] for row in _run(gate)])
        steps = np.abs(np.diff(positions, axis=0)).max(axis=0)
        # Arm at most 1 rad/s, driver at most 20 mm/s going out.
        assert steps[0] <= 1.01 * 1.0 * STEP and steps[1] <= 1.01 * 0.020 * STEP


def test_the_needle_moves_in_tissue_only_while_the_gate_is_open() -> None:
    rows = _run(lambda t: t % 4.0 < 1.5)
    states = {row[1] for row in rows}
    assert {State.WAIT, State.INSERT, State.HOLD} <= states
    closed_for = 0.0
    for before, after in pairwise(rows):
        closed_for = 0.0 if before[3] else closed_for + STEP
        moved = after[2][1] - before[2][1]
        if before[1] in (State.WAIT, State.INSERT, State.HOLD) and closed_for > 0.04 + 2 * STEP:
            assert moved == 0.0
        if before[1] is State.WAIT:
            # It waits before the skin, not in it.
            assert before[2][1] == pytest.approx(0.048, abs=1e-9)
    # 42 mm at 10 mm/s in windows of 1.5 s: three windows, so at least two breaths.
    inserting = [row[0] for row in rows if row[1] in (State.INSERT, State.HOLD)]
    assert 8.0 < inserting[-1] - inserting[0] < 13.0


def test_a_gate_that_never_opens_is_given_up_before_the_skin() -> None:
    rows = _run(lambda t: False, gate_timeout_s=5.0)
    assert rows[-1][1] is State.GIVEN_UP
    assert max(row[2][1] for row in rows) == pytest.approx(0.048, abs=1e-9)
    assert rows[-1][2] == pytest.approx(np.zeros(2), abs=1e-12)
    waiting = [row[0] for row in rows if row[1] is State.WAIT]
    assert waiting[-1] - waiting[0] == pytest.approx(5.0, abs=0.05)


def test_a_gate_that_closes_for_ever_within_tissue_is_given_up_and_the_needle_drawn_back() -> None:
    rows = _run(lambda t: t < 8.0, gate_timeout_s=5.0)
    assert rows[-1][1] is State.GIVEN_UP
    deepest = max(row[2][1] for row in rows)
    assert 0.05 < deepest < 0.09
    assert State.SETTLE not in {row[1] for row in rows}
    assert rows[-1][2] == pytest.approx(np.zeros(2), abs=1e-12)


def test_impossible_options_are_refused() -> None:
    for option in ("hover_mm", "settle_s", "gate_timeout_s", "stop_s"):
        with pytest.raises(OptionError, match=option):
            ControllerOptions(**{option: -1.0})
