"""A rehearsal over time: breathing, what was seen of it, when the needle might advance, and errors at the tip."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.outcome import EventKind, Outcome, Trace
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.overlay import FONT
from needleplan.viz.palette import NEEDLES, needle_color

_PAPER, _PRINT, _GREY = "#ffffff", "#1b2027", "#6b7480"
_BREATH, _SEEN, _GATE, _STOP = "#0072b2", "#e69f00", "#cfe8d5", "#d55e00"

#: Characters of the heading for each pixel of width.
_HEADING_SHARE = 0.068
#: States of the controller in which the arm is away from the needle's axis, and in which it draws the needle out.
_AWAY, _OUT = ("approach", "done", "given up"), ("retract", "withdraw")


def open_spans(time_s: FloatArray, is_open: FloatArray) -> list[tuple[float, float]]:
    """Spans (begin, end) in seconds in which a sampled flag is up; a span ends at the first sample that is not."""
    flag = np.r_[0, np.asarray(is_open) > 0.5, 0].astype(int)
    begin, end = np.flatnonzero(np.diff(flag) == 1), np.flatnonzero(np.diff(flag) == -1)
    last = len(time_s) - 1
    return [
        (float(time_s[b]), float(time_s[min(e, last)])) for b, e in zip(begin.tolist(), end.tolist(), strict=True)
    ]


def on_the_axis(trace: Trace) -> NDArray[np.bool_]:
    """(n,) True while the needle is on its axis: not on the arm's way there, nor on its way home once it is out."""
    near = ~np.isin(trace.phase, _AWAY)
    out = np.isin(trace.phase, _OUT)
    begins = np.flatnonzero(out & ~np.r_[False, out[:-1]])
    ends = np.flatnonzero(out & ~np.r_[out[1:], False]) + 1
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        farthest = begin + int(np.argmin(trace.depth_mm[begin:end]))
        near[farthest + 1 : end] = False
    return near


def _style(axes: Any, label: str) -> None:
    axes.set_ylabel(label, fontsize=11.5, family=FONT, color=_PRINT)
    axes.tick_params(labelsize=10.5, colors=_PRINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.margins(x=0)


def _dark(color: str) -> str:
    """A needle's colour, dark enough for white paper."""
    parts = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    return "#" + "".join(f"{round(0.72 * part):02x}" for part in parts)


def draw_breathing(outcome: Outcome, *, title: str | None = None, size: tuple[int, int] = (1500, 900)) -> RgbArray:
    """Breathing of the target with gate and insertions, depth of the tips, and the error of each needle.

    Args:
        outcome: one rehearsal.
        title: heading; made from robot, motion and strategy where not given.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8.

    Raises:
        OptionError: the trace holds fewer than two samples.
    """
    trace = outcome.trace
    if len(trace.time_s) < 2:
        raise OptionError("a rehearsal with fewer than two samples cannot be drawn")
    figure = new_figure(size, _PAPER)
    strategy = outcome.strategy.replace("-", " ")
    heading = title or f"Rehearsal with {strategy}: {outcome.robot}, {outcome.motion}"
    # Names of recordings tell all that was found in them.
    most = int(size[0] * _HEADING_SHARE)
    heading = heading if len(heading) <= most else heading[: most - 2].rstrip() + " …"
    figure.text(0.02, 0.975, heading, fontsize=15, weight="bold", family=FONT, color=_PRINT, va="top")
    wide = 0.62
    breath = figure.add_axes((0.065, 0.50, wide, 0.38))
    depth = figure.add_axes((0.065, 0.09, wide, 0.32), sharex=breath)
    errors = figure.add_axes((0.765, 0.09, 0.215, 0.67))
    _draw_breath(breath, outcome)
    _draw_depth(depth, outcome)
    _draw_errors(errors, outcome)
    return rasterise(figure)


def _draw_breath(axes: Any, outcome: Outcome) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    trace = outcome.trace
    shift = np.linalg.norm(trace.displacement_mm, axis=1)
    for begin, end in open_spans(trace.time_s, trace.gate_open):
        axes.axvspan(begin, end, color=_GATE, lw=0, zorder=0)
    axes.plot(trace.time_s, shift, color=_BREATH, lw=1.5, zorder=3)
    seen = np.linalg.norm(trace.seen_mm, axis=1)
    handles: list[Any] = [Line2D([], [], color=_BREATH, lw=1.5, label="target")]
    if seen.any():
        axes.plot(trace.time_s, seen, color=_SEEN, lw=1.0, ls=(0, (2, 1.5)), zorder=3)
        handles.append(Line2D([], [], color=_SEEN, lw=1.0, ls=(0, (2, 1.5)), label="as seen"))
    top = max(1.0, float(shift.max()), float(seen.max()))
    stops = [event for event in outcome.events if event.kind is EventKind.STOP]
    for event in stops:
        axes.plot([event.time_s] * 2, [0, 1.22 * top], color=_STOP, lw=1.2, ls=(0, (1, 1)), zorder=5)
    axes.set_ylim(-0.04 * top, 1.24 * top)
    for needle in outcome.needles:
        color = _dark(needle_color(needle.planned.order))
        axes.plot(
            [needle.start_s, needle.end_s], [1.08 * top] * 2, color=color, lw=7, solid_capstyle="butt", zorder=4
        )
        axes.plot([needle.start_s] * 2, [0, 1.08 * top], color=color, lw=0.8, zorder=2)
        axes.text(
            0.5 * (needle.start_s + needle.end_s), 1.13 * top, str(needle.planned.order), color=color, fontsize=12,
            weight="bold", ha="center", va="bottom", family=FONT,
        )  # fmt: skip
    _style(axes, "target away from end-exhale, mm")
    handles += [Patch(color=_GATE, label="may advance"), Patch(color=_GREY, label="numbered bar: insertion")]
    if stops:
        handles.append(Line2D([], [], color=_STOP, lw=1.2, ls=(0, (1, 1)), label="stop"))
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), frameon=False,
        prop={"family": FONT, "size": 10.5}, columnspacing=1.2, handlelength=1.6,
    )  # fmt: skip
    axes.tick_params(labelbottom=False)


def _draw_depth(axes: Any, outcome: Outcome) -> None:
    trace = outcome.trace
    near = on_the_axis(trace)
    for order in np.unique(trace.needle):
        if order < 1:
            continue
        depth = np.where((trace.needle == order) & near, trace.depth_mm, np.nan)
        axes.plot(trace.time_s, depth, color=_dark(needle_color(int(order))), lw=2.0, zorder=3)
    for needle in outcome.needles:
        color = _dark(needle_color(needle.planned.order))
        own = trace.time_s[trace.needle == needle.planned.order]
        begin = float(own[0]) if own.size else needle.start_s
        end = float(own[-1]) if own.size else needle.end_s
        depth_mm = needle.planned.depth_mm
        axes.plot([begin, end], [depth_mm] * 2, color=color, lw=1.0, ls=(0, (4, 3)))
        axes.annotate(
            f"{needle.planned.order}: {depth_mm:.0f} mm planned", (begin, depth_mm), (4, 4),
            color=color, textcoords="offset points", fontsize=10, ha="left", va="bottom", family=FONT,
        )  # fmt: skip
    axes.axhline(0.0, color=_GREY, lw=0.8)
    deepest = max([n.planned.depth_mm for n in outcome.needles] + [float(trace.depth_mm.max()), 10.0])
    axes.set_ylim(-0.35 * deepest, 1.15 * deepest)
    axes.text(
        0.004, 0.0, "skin", transform=axes.get_yaxis_transform(), fontsize=10, color=_GREY, va="bottom",
        family=FONT,
    )  # fmt: skip
    _style(axes, "depth driven, mm")
    axes.set_xlabel("time, s", fontsize=11.5, family=FONT, color=_PRINT)


def _draw_errors(axes: Any, outcome: Outcome) -> None:
    axes.set_title(
        "error at the tip in the target's frame", fontsize=12, family=FONT, color=_PRINT, loc="left", pad=70
    )
    if not outcome.needles:
        axes.text(0.5, 0.5, "no needle placed", ha="center", transform=axes.transAxes, family=FONT, color=_GREY)
        axes.set_axis_off()
        return
    kinds = (("total", "#1b2027"), ("across the axis", "#8f9aa8"), ("along the axis (absolute)", "#56b4e9"))
    for index, needle in enumerate(outcome.needles):
        values = (needle.tip_error_mm, needle.lateral_error_mm, abs(needle.depth_error_mm))
        for k, (value, (name, color)) in enumerate(zip(values, kinds, strict=True)):
            y = index + 0.26 * (k - 1)
            axes.barh(y, value, height=0.23, color=color, label=name if index == 0 else None)
            axes.annotate(f"{value:.1f}", (value, y), (4, 0), textcoords="offset points", va="center", fontsize=10,
                          family=FONT, color=_PRINT)  # fmt: skip
    axes.set_yticks(range(len(outcome.needles)), [f"{n.planned.order}" for n in outcome.needles])
    axes.set_ylim(len(outcome.needles) - 0.4, -0.6)
    longest = max(max(n.tip_error_mm, abs(n.depth_error_mm), n.lateral_error_mm) for n in outcome.needles)
    axes.set_xlim(0, 1.18 * max(longest, 0.5))
    _style(axes, "needle")
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("mm", fontsize=11.5, family=FONT, color=_PRINT)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.03, 1.0), frameon=False, prop={"family": FONT, "size": 10},
        borderaxespad=0.2, labelspacing=0.3,
    )  # fmt: skip
    for label, needle in zip(axes.get_yticklabels(), outcome.needles, strict=True):
        label.set_color(_dark(NEEDLES[(needle.planned.order - 1) % len(NEEDLES)]))
        label.set_fontweight("bold")
