"""The panel of a film: what controller and strategy do, breathing, gate and force over time, the tip's depth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.outcome import Outcome
from needleplan.plan import Insertion
from needleplan.viz.palette import BACKGROUND, FAINT_INK, INK, PANEL, needle_color
from sim.controller_state import State
from sim.film_curves import FORCE, GATE, SEEN_WAY, TRUE_WAY, RecordedCurves
from sim.film_text import Sheet
from sim.recorder import SceneState

_OPEN, _CLOSED = "#3ecf8e", "#e5636b"
#: The panel is laid out for this size; a larger one is drawn larger.
_LEAST_WIDTH, _LEAST_HEIGHT = 350.0, 432.0
_EDGE = 20.0
#: Tip errors up to this are written in green.
_GOOD_MM = 2.0

_WORDS = {
    State.APPROACH: "Arm approaches",
    State.ALIGN: "Guide aligns on the path",
    State.ADVANCE: "Needle to the skin",
    State.WAIT: "Needle waits at the skin",
    State.INSERT: "Needle advances",
    State.HOLD: "Needle rests in tissue",
    State.VERIFY: "Control scan",
    State.CORRECT: "Needle is corrected",
    State.SETTLE: "Tip in place",
    State.RETRACT: "Arm goes home",
    State.STOPPED: "Needle stopped",
    State.WITHDRAW: "Needle is drawn out",
    State.DONE: "Done",
    State.GIVEN_UP: "Given up",
}


@dataclass(frozen=True, slots=True)
class PanelText:
    """What stays the same through one rehearsal of a film.

    Attributes:
        title: heading, such as how breathing is met.
        needles: orders of all insertions, for "needle 2 of 3".
    """

    title: str
    needles: tuple[int, ...]


class FilmPanel:
    """Draws the panel for each state."""

    def __init__(
        self,
        size: tuple[int, int],
        text: PanelText,
        curves: RecordedCurves,
        insertions: Sequence[Insertion],
        outcome: Outcome,
    ) -> None:
        """Prepare what is shown.

        Args:
            size: (width, height) of the panel in pixels.
            text: what stays the same.
            curves: what was recorded over time.
            insertions: as planned, for their depths.
            outcome: tip errors, shown once a tip is in place.
        """
        self._size = size
        self._text = text
        self._curves = curves
        self._errors = {n.planned.order: n.tip_error_mm for n in outcome.needles}
        self._depths = {insertion.order: insertion.depth_mm for insertion in insertions}
        self._unit_px = min(size[0] / _LEAST_WIDTH, size[1] / _LEAST_HEIGHT)

    def draw(self, state: SceneState, depth_mm: float, speed: float) -> NDArray[np.uint8]:
        """(height, width, 3) panel for one state.

        Args:
            state: what is shown.
            depth_mm: of the tip in the tissue behind the planned entry.
            speed: how much faster than real time the film runs.
        """
        sheet = Sheet(self._size, self._unit_px, BACKGROUND)
        right = sheet.width - _EDGE
        self._heading(sheet, state, right)
        self._breathing(sheet, state, right)
        self._force(sheet, state, right)
        self._depth(sheet, state, max(0.0, depth_mm), right)
        self._footer(sheet, state, speed, right)
        return sheet.picture()

    def _heading(self, sheet: Sheet, state: SceneState, right: float) -> None:
        number = self._number(state.needle)
        wide = sheet.text((right, 11), number, 14, needle_color(state.needle), bold=True, anchor="ra")
        sheet.text((_EDGE, 12), self._text.title, 12.5, FAINT_INK, widest=right - _EDGE - wide - 14)
        sheet.text((_EDGE, 33), words_of(state), 21, INK, bold=True, widest=right - _EDGE)
        status = sheet.wrapped(state.status, 12.5, right - _EDGE, lines=2)
        for row, words in enumerate(status):
            sheet.text((_EDGE, 65 + 17 * row), words, 12.5, FAINT_INK)
        sheet.line([(_EDGE, 106), (right, 106)], PANEL, 2)

    def _number(self, order: int) -> str:
        """The needle's number and how many there are; needles that were planned later have other numbers."""
        needles = self._text.needles
        place = needles.index(order) + 1 if order in needles else order
        return (
            f"Needle {order} of {len(needles)}" if place == order else f"Needle {order} ({place} of {len(needles)})"
        )

    def _breathing(self, sheet: Sheet, state: SceneState, right: float) -> None:
        color = _OPEN if state.gate_open else _CLOSED
        sheet.dot((_EDGE + 7, 123), 7, color)
        sheet.text((_EDGE + 22, 123), "May advance" if state.gate_open else "Must wait", 14, INK, anchor="lm")
        way = f"{round(self._curves.way_mm(state), 1) + 0.0:.1f} mm"
        sheet.text((right, 123), way, 16, TRUE_WAY, bold=True, anchor="rm")
        across = _EDGE + sheet.text((_EDGE, 141), "Target from end-exhale, mm", 12, FAINT_INK)
        key = [("true", TRUE_WAY), ("as seen", SEEN_WAY)]
        if self._curves.gate_mm > 0.0:
            key.append((f"gate ±{self._curves.gate_mm:g}", GATE))
        for words, shade in key:
            across += 10 + sheet.text((across + 10, 141), words, 12, shade)
        self._curves.draw_way(sheet, state.time_s, (_EDGE + 26, 160, right, 252))

    def _force(self, sheet: Sheet, state: SceneState, right: float) -> None:
        sheet.text((_EDGE, 277), "Force along the needle, N", 12, FAINT_INK)
        sheet.text((right, 275), f"{round(state.force_n, 1) + 0.0:.1f} N", 14, FORCE, bold=True, anchor="ra")
        self._curves.draw_force(sheet, state.time_s, (_EDGE + 26, 296, right, 342))

    def _depth(self, sheet: Sheet, state: SceneState, depth: float, right: float) -> None:
        full = self._depths.get(state.needle, 0.0)
        sheet.text((_EDGE, 353), "Tip behind the entry", 12, FAINT_INK)
        words = f"{depth:.0f} of {full:.0f} mm" if full else f"{depth:.0f} mm"
        sheet.text((right, 351), words, 14, INK, bold=True, anchor="ra")
        sheet.box((_EDGE, 372, right, 382), PANEL, radius=5)
        share = min(1.0, depth / full) if full else 0.0
        if share > 0.03:
            sheet.box((_EDGE, 372, _EDGE + share * (right - _EDGE), 382), needle_color(state.needle), radius=5)

    def _footer(self, sheet: Sheet, state: SceneState, speed: float, right: float) -> None:
        error = self._errors.get(state.needle)
        if error is not None and state.state in (State.SETTLE, State.RETRACT, State.DONE):
            color = _OPEN if error <= _GOOD_MM else _CLOSED
            sheet.text((_EDGE, 388), f"Tip error in the target: {error:.1f} mm", 14, color, bold=True)
        minutes, seconds = divmod(state.time_s, 60.0)
        sheet.text((_EDGE, sheet.height - 9), f"{int(minutes)}:{seconds:04.1f} min", 12, FAINT_INK, anchor="ls")
        if speed >= 1.2:
            words = f"shown {speed:.1f} times faster" if speed < 3.0 else f"shown {speed:.0f} times faster"
            sheet.text((right, sheet.height - 9), words, 12, FAINT_INK, anchor="rs")


def words_of(state: SceneState) -> str:
    """What the controller does, in words; a needle that still slows down after the gate closed is stopping."""
    if state.state is State.INSERT and not state.gate_open:
        return "Needle stops"
    if state.state is State.HOLD and not _in_patient(state):
        return _WORDS[State.WAIT]
    return _WORDS[state.state]


def _in_patient(state: SceneState) -> bool:
    """True where the present needle is in tissue."""
    return any(order == state.needle for order, _ in state.shafts_mm)
