"""The panel of a film: what the controller does, the gate, the breathing curve and the depth of the tip."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray
from needleplan.outcome import Outcome
from needleplan.viz.palette import BACKGROUND, FAINT_INK, INK, PANEL, needle_color
from sim.controller import State
from sim.recorder import SceneState

#: Time that the breathing curve shows before the present moment.
WINDOW_S = 14.0
_OPEN, _CLOSED, _CURVE = "#3ecf8e", "#e5636b", "#7fb2ff"
#: Everything is drawn at twice its size and scaled down, which smooths lines and letters.
_SCALE = 2

_WORDS = {
    State.APPROACH: "Arm approaches",
    State.ALIGN: "Guide aligns on the path",
    State.ADVANCE: "Needle to the skin",
    State.WAIT: "Waiting for end-exhale",
    State.INSERT: "Needle advances",
    State.HOLD: "Holding until end-exhale",
    State.SETTLE: "Tip in place",
    State.RETRACT: "Needle out, arm home",
    State.WITHDRAW: "Given up: needle out",
    State.DONE: "Done",
    State.GIVEN_UP: "Given up",
}


@dataclass(frozen=True, slots=True)
class PanelText:
    """What stays the same through the film.

    Attributes:
        title: heading.
        needle_count: number of insertions of the plan.
        gate_mm: tolerance of the gate.
        gating: True where insertion waited for the gate.
    """

    title: str
    needle_count: int
    gate_mm: float
    gating: bool


class FilmPanel:
    """Draws the panel for each state."""

    def __init__(
        self, size: tuple[int, int], text: PanelText, states: Sequence[SceneState], outcome: Outcome
    ) -> None:
        """Prepare the curve of the whole rehearsal.

        Args:
            size: (width, height) of the panel in pixels.
            text: what stays the same.
            states: all recorded states, in the order of time.
            outcome: tip errors, shown once a tip is in place.
        """
        self._size = size
        self._text = text
        self._time = np.array([s.time_s for s in states])
        self._way = np.linalg.norm(np.array([s.displacement_mm for s in states]), axis=1)
        self._open = np.array([s.gate_open for s in states])
        self._most = max(5.0, 1.12 * float(self._way.max()))
        self._errors = {n.planned.order: n.tip_error_mm for n in outcome.needles}
        self._depths = {n.planned.order: n.planned.depth_mm for n in outcome.needles}

    def draw(self, state: SceneState, speed: float) -> NDArray[np.uint8]:
        """(height, width, 3) panel for one state; ``speed`` is how much faster than real time the film runs."""
        from PIL import Image, ImageDraw

        width, height = self._size
        image = Image.new("RGB", (_SCALE * width, _SCALE * height), BACKGROUND)
        pen = ImageDraw.Draw(image)
        self._heading(pen, state)
        self._gate(pen, state)
        self._curve(pen, state, (56, 170, width - 22, 170 + 112))
        self._depth(pen, state, 312)
        self._footer(pen, state, speed)
        small = image.resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(small)

    def _heading(self, pen: Any, state: SceneState) -> None:
        width = self._size[0]
        _text(pen, (20, 14), self._text.title, 13, FAINT_INK)
        _text(pen, (20, 36), f"Needle {state.needle} of {self._text.needle_count}", 15, needle_color(state.needle))
        words = _WORDS[state.state]
        if state.state is State.INSERT and not self._text.gating:
            words = "Needle advances, gating off"
        _text(pen, (20, 60), words, 22, INK, bold=True)
        pen.line(_scaled((20, 98, width - 20, 98)), fill=PANEL, width=2 * _SCALE)

    def _gate(self, pen: Any, state: SceneState) -> None:
        color = _OPEN if state.gate_open else _CLOSED
        pen.ellipse(_scaled((20, 113, 36, 129)), fill=color)
        word = "open" if state.gate_open else "closed"
        if self._text.gating:
            _text(pen, (46, 111), f"Gate {word}", 15, INK)
        else:
            _text(pen, (46, 111), f"Gating off (gate would be {word})", 15, INK)
        _text(pen, (20, 142), "Target from end-exhale, mm", 13, FAINT_INK)
        way = f"{np.linalg.norm(state.displacement_mm):.1f}"
        _text(pen, (self._size[0] - 22, 138), way, 18, color, bold=True, anchor="ra")

    def _curve(self, pen: Any, state: SceneState, box: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = box
        begin = state.time_s - WINDOW_S

        def x(time: FloatArray | float) -> FloatArray:
            return left + (np.asarray(time) - begin) / WINDOW_S * (right - left)

        def y(way: FloatArray | float) -> FloatArray:
            return bottom - np.asarray(way) / self._most * (bottom - top)

        pen.rectangle(_scaled((left, top, right, bottom)), fill=PANEL)
        pen.rectangle(_scaled((left, float(y(self._text.gate_mm)), right, bottom)), fill="#1e3a33")
        for tick in _ticks(self._most):
            pen.line(_scaled((left, float(y(tick)), right, float(y(tick)))), fill="#323946", width=_SCALE)
            _text(pen, (left - 8, float(y(tick))), f"{tick:g}", 12, FAINT_INK, anchor="rm")
        for back in range(0, int(WINDOW_S), 4):
            at = float(x(state.time_s - back))
            _text(
                pen,
                (at, bottom + 5),
                "now" if back == 0 else f"-{back} s",
                12,
                FAINT_INK,
                anchor="ma" if back else "ra",
            )
        shown = (self._time >= begin) & (self._time <= state.time_s + 1e-9)
        points = np.stack([x(self._time[shown]), y(self._way[shown])], axis=1) * _SCALE
        gate = self._open[shown]
        for value, color in ((False, _CURVE), (True, _OPEN)):
            for first, last in _runs(gate, value):
                # One point more, so that stretches of both colours meet.
                piece = points[first : min(last + 2, len(points))]
                if len(piece) > 1:
                    pen.line([tuple(p) for p in piece], fill=color, width=2 * _SCALE, joint="curve")
        if len(points):
            px, py = points[-1]
            r = 5 * _SCALE
            pen.ellipse((px - r, py - r, px + r, py + r), fill=INK)
        _text(
            pen,
            (left + 6, float(y(self._text.gate_mm)) - 3),
            f"gate {self._text.gate_mm:g} mm",
            11,
            _OPEN,
            anchor="lb",
        )

    def _depth(self, pen: Any, state: SceneState, top: int) -> None:
        width = self._size[0]
        full = self._depths.get(state.needle, 0.0)
        depth = max(0.0, state.depth_mm)
        _text(pen, (20, top), "Tip behind the entry", 13, FAINT_INK)
        _text(
            pen,
            (width - 22, top - 3),
            f"{depth:.0f} of {full:.0f} mm" if full else f"{depth:.0f} mm",
            15,
            INK,
            anchor="ra",
        )
        pen.rounded_rectangle(_scaled((20, top + 24, width - 22, top + 36)), radius=6 * _SCALE, fill=PANEL)
        share = min(1.0, depth / full) if full else 0.0
        if share > 0.02:
            end = 20 + share * (width - 42)
            pen.rounded_rectangle(
                _scaled((20, top + 24, end, top + 36)), radius=6 * _SCALE, fill=needle_color(state.needle)
            )

    def _footer(self, pen: Any, state: SceneState, speed: float) -> None:
        width, height = self._size
        error = self._errors.get(state.needle)
        if error is not None and state.state in (State.SETTLE, State.RETRACT, State.DONE):
            color = _OPEN if error <= self._text.gate_mm else _CLOSED
            _text(pen, (20, height - 53), f"Tip error in the target: {error:.1f} mm", 16, color, bold=True)
        minutes, seconds = divmod(state.time_s, 60.0)
        _text(pen, (20, height - 28), f"{int(minutes)}:{seconds:04.1f} min", 13, FAINT_INK)
        if speed > 1.0:
            _text(pen, (width - 22, height - 28), f"shown {speed:.0f} times faster", 13, FAINT_INK, anchor="ra")


def _ticks(most: float) -> FloatArray:
    step = next(s for s in (2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if most / s <= 5.0 or s == 100.0)
    return np.arange(0.0, most, step)


def _runs(values: NDArray[np.bool_], wanted: bool) -> list[tuple[int, int]]:
    """First and last index of each stretch of ``wanted``."""
    state = np.concatenate([[False], values == wanted, [False]])
    edges = np.flatnonzero(state[1:] != state[:-1])
    return [(int(a), int(b) - 1) for a, b in zip(edges[0::2], edges[1::2], strict=True)]


def _scaled(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    return (box[0] * _SCALE, box[1] * _SCALE, box[2] * _SCALE, box[3] * _SCALE)


def _text(
    pen: Any, at: tuple[float, float], words: str, size: int, color: str, *, bold: bool = False, anchor: str = "la"
) -> None:
    pen.text((at[0] * _SCALE, at[1] * _SCALE), words, font=_font(size * _SCALE, bold), fill=color, anchor=anchor)


@cache
def _font(size: int, bold: bool) -> Any:
    """DejaVu Sans, which comes with matplotlib, so that every machine draws the same letters."""
    from pathlib import Path

    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
