"""Curves over the last seconds: how the target moves, what was seen of it, and the force on the needle."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray
from needleplan.viz.palette import FAINT_INK, INK, PANEL
from sim.film_text import Sheet
from sim.recorder import SceneState

#: Time that the curves show before the present moment.
WINDOW_S = 20.0
#: Colours of the target's way, of what was seen of it, of the force, of the time in which the needle may advance.
TRUE_WAY, SEEN_WAY, FORCE, ALLOWED, GATE = "#7fb2ff", "#ffb347", "#e9edf2", "#1f4a3c", "#3ecf8e"
_GRID = "#323946"
#: A curve is drawn through at most so many points.
_POINTS = 400
#: Numbers beside a curve are at least so far apart.
_TICK_EVERY = 20.0

Box = tuple[float, float, float, float]


class RecordedCurves:
    """What the recorded states say over time, drawn up to any moment.

    Attributes:
        gate_mm: tolerance of an amplitude gate; zero where there is none.
    """

    def __init__(self, states: Sequence[SceneState], gate_mm: float) -> None:
        """Prepare the curves.

        Args:
            states: all recorded states, in the order of time.
            gate_mm: tolerance of an amplitude gate; zero where there is none.
        """
        self.gate_mm = gate_mm
        self._time = np.array([state.time_s for state in states])
        way = np.array([state.displacement_mm for state in states])
        self._along = _main_direction(way)
        self._way = way @ self._along
        self._seen = np.array([np.nan if s.seen_mm is None else float(s.seen_mm @ self._along) for s in states])
        self._force = np.array([state.force_n for state in states])
        self._open = np.array([state.gate_open for state in states])
        both = np.concatenate(
            [self._way, self._seen[np.isfinite(self._seen)], [0.0, 1.3 * gate_mm, -1.3 * gate_mm]]
        )
        low, high = float(both.min()), float(both.max())
        room = max(0.06 * (high - low), 0.5)
        self._ways = (low - room, max(high + room, low + 5.0))
        self._forces = (min(0.0, 1.1 * float(self._force.min())), max(2.0, 1.15 * float(self._force.max())))

    def way_mm(self, state: SceneState) -> float:
        """The target's way along the main direction of its motion."""
        return float(state.displacement_mm @ self._along)

    def draw_way(self, sheet: Sheet, now_s: float, box: Box) -> None:
        """The target's way and what was seen of it; green where the needle may advance."""
        first, last = self._shown(now_s)
        time = self._time[first:last]
        self._frame(sheet, now_s, box, self._ways, time, self._open[first:last])
        if self.gate_mm > 0.0:
            for border in (self.gate_mm, -self.gate_mm):
                sheet.dashes((box[0], _height(border, box, self._ways)), box[2], GATE)
        seen = self._seen[first:last]
        self._curve(sheet, now_s, box, self._ways, time[np.isfinite(seen)], seen[np.isfinite(seen)], SEEN_WAY, 1.2)
        self._curve(sheet, now_s, box, self._ways, time, self._way[first:last], TRUE_WAY, 2.0)
        if last > first:
            sheet.dot((box[2], _height(self._way[last - 1], box, self._ways)), 4.0, INK)
        for back in range(0, int(WINDOW_S) + 1, 5):
            at = box[2] - back / WINDOW_S * (box[2] - box[0])
            words, anchor = (f"-{back} s", "ma") if back else ("now", "ra")
            sheet.text((at, box[3] + 4), words, 11, FAINT_INK, anchor=anchor)

    def draw_force(self, sheet: Sheet, now_s: float, box: Box) -> None:
        """The force along the needle, over the same time."""
        first, last = self._shown(now_s)
        time = self._time[first:last]
        self._frame(sheet, now_s, box, self._forces, time, self._open[first:last])
        self._curve(sheet, now_s, box, self._forces, time, self._force[first:last], FORCE, 1.8)
        if last > first:
            sheet.dot((box[2], _height(self._force[last - 1], box, self._forces)), 3.5, INK)

    def _shown(self, now_s: float) -> tuple[int, int]:
        first = int(np.searchsorted(self._time, now_s - WINDOW_S))
        return first, int(np.searchsorted(self._time, now_s + 1e-9, side="right"))

    def _frame(
        self,
        sheet: Sheet,
        now_s: float,
        box: Box,
        limits: tuple[float, float],
        time: FloatArray,
        allowed: NDArray[np.bool_],
    ) -> None:
        """Background, the stretches in which the needle may advance, and the grid with its numbers."""
        sheet.box(box, PANEL)
        across = _across(time, now_s, box)
        for begin, end in runs(allowed):
            until = across[min(end + 1, len(across) - 1)]
            if until > across[begin]:
                sheet.box((float(across[begin]), box[1], float(until), box[3]), ALLOWED)
        for tick in ticks(*limits, most=(box[3] - box[1]) / _TICK_EVERY):
            level = _height(tick, box, limits)
            sheet.line([(box[0], level), (box[2], level)], _GRID, 1.0)
            sheet.text((box[0] - 6, level), f"{tick:g}", 11, FAINT_INK, anchor="rm")

    def _curve(
        self,
        sheet: Sheet,
        now_s: float,
        box: Box,
        limits: tuple[float, float],
        time: FloatArray,
        values: FloatArray,
        color: str,
        width: float,
    ) -> None:
        # Counted from the first sample, so that the same samples are drawn in every frame and none flickers.
        every = max(1, int(np.ceil(WINDOW_S / _POINTS / max(1e-6, self._step_s))))
        first = int(np.searchsorted(self._time, time[0])) if len(time) else 0
        kept = np.flatnonzero((first + np.arange(len(time))) % every == 0)
        if len(kept) < 2:
            return
        kept = np.append(kept, len(time) - 1)
        level = [_height(value, box, limits) for value in values[kept]]
        sheet.line(np.column_stack([_across(time[kept], now_s, box), level]), color, width)

    @property
    def _step_s(self) -> float:
        return float(np.median(np.diff(self._time))) if len(self._time) > 1 else WINDOW_S


def ticks(low: float, high: float, most: float = 4.5) -> FloatArray:
    """Round numbers from ``low`` to ``high``, at most ``most`` steps apart."""
    step = next(s for s in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, np.inf) if (high - low) / s <= most)
    return (
        np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step + 0.0 if np.isfinite(step) else np.zeros(1)
    )


def runs(values: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each stretch of True."""
    state = np.concatenate([[False], values, [False]])
    edges = np.flatnonzero(state[1:] != state[:-1])
    return [(int(a), int(b) - 1) for a, b in zip(edges[0::2], edges[1::2], strict=True)]


def _main_direction(way: FloatArray) -> FloatArray:
    """(3,) unit vector towards the largest of the displacements (n, 3); to inferior where there is none."""
    size = np.linalg.norm(way, axis=1)
    largest = int(np.argmax(size))
    return np.asarray(way[largest] / size[largest]) if size[largest] > 0.0 else np.array([0.0, 0.0, -1.0])


def _across(time: FloatArray, now_s: float, box: Box) -> FloatArray:
    return box[2] + (np.asarray(time) - now_s) / WINDOW_S * (box[2] - box[0])


def _height(value: float, box: Box, limits: tuple[float, float]) -> float:
    share = (float(np.clip(value, *limits)) - limits[0]) / (limits[1] - limits[0])
    return float(box[3] - share * (box[3] - box[1]))
