"""Where a robot's base may stand beside the table, and what is reached from each place."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.overlay import FONT
from needleplan.viz.palette import BACKGROUND, FAINT_INK, HUB, INK, NOT_ABLATED, PANEL, SKIN_SCORES, TARGET

#: Edge of a place's square, m, where its neighbours leave room.
_LARGEST_SQUARE_M = 0.09
#: Pixels above and below the panels, for headings and for ticks and key.
_ABOVE_PX, _BELOW_PX = 125, 130


@dataclass(frozen=True, slots=True, eq=False)
class BasePlaces:
    """Places of a base and what is reached from them; metres in a world whose z points up.

    Attributes:
        positions_m: (k, 3) where the bases stand; x across the table, y towards the head, the target at x = y = 0.
        insertions_reached: (k,) number of insertions that are reached.
        insertion_count: number of insertions of the plan.
        alternatives_share: (k,) share of alternative paths that are reached.
        usable: (k,) False where the robot at rest touches something.
        chosen: the row that was chosen.
        table_half_width_m: half the width of the table.
        outline_m: (m, 2) the patient from above, x and y.
        carried_out: number of insertions for which a whole route from the chosen place was found.
        scanner_m: where along y the scanner's ring begins and ends; None without one.
    """

    positions_m: FloatArray
    insertions_reached: NDArray[np.int64]
    insertion_count: int
    alternatives_share: FloatArray
    usable: NDArray[np.bool_]
    chosen: int
    table_half_width_m: float
    outline_m: FloatArray
    carried_out: int
    scanner_m: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        count = len(self.positions_m)
        for name in ("insertions_reached", "alternatives_share", "usable"):
            if np.shape(getattr(self, name)) != (count,):
                raise OptionError(f"the map of {count} places of a base needs as many values of {name}")
        if not 0 <= self.chosen < count:
            raise OptionError(f"the chosen place of a base must be one of {count}, not {self.chosen}")


def draw_base_map(places: BasePlaces, *, title: str, width: int = 1500) -> RgbArray:
    """Table and patient from above, one panel for each height of the base, a square for each place.

    A square's colour is the share of alternative paths that are reached; a place that leaves insertions out shows
    their number, one where the robot at rest touches something a cross; the chosen place is framed.

    Args:
        places: the places.
        title: heading.
        width: width of the picture in pixels; its height follows.
    """
    heights = np.unique(np.round(places.positions_m[:, 2], 6))
    x, y = places.positions_m[:, 0], places.positions_m[:, 1]
    half_x = max(np.abs(x).max() + 0.12, places.table_half_width_m + 0.15)
    low, high = min(y.min() - 0.12, -0.45), max(y.max() + 0.12, 0.45)
    left, right, gap = 0.05, 0.985, 0.045
    share = min((right - left - gap * (len(heights) - 1)) / len(heights), 0.6)
    panel = share * width * (high - low) / (2 * half_x)
    height = round(panel + _ABOVE_PX + _BELOW_PX)
    figure = new_figure((width, height), BACKGROUND)
    figure.text(0.02, 1 - 38 / height, title, color=INK, fontsize=17, family=FONT, weight="bold", va="center")
    figure.text(
        0.02, 1 - 72 / height, "from above, the head up; metres from below the target", color=FAINT_INK,
        fontsize=12, family=FONT, va="center",
    )  # fmt: skip
    square = min(_LARGEST_SQUARE_M, 0.85 * _least_gap(x), 0.85 * _least_gap(y))
    for k_panel, base_height in enumerate(heights):
        place = (left + k_panel * (share + gap), _BELOW_PX / height, share, panel / height)
        axes = figure.add_axes(place)
        _draw_surroundings(axes, places, low, high)
        for k in np.flatnonzero(np.isclose(places.positions_m[:, 2], base_height)):
            _draw_place(axes, places, int(k), square)
        way = "above" if base_height > 0 else "below"
        level = abs(base_height) < 1e-9
        words = "at the table's top" if level else f"{abs(base_height):.2f} m {way} it"
        axes.set_title(f"base {words}", color=INK, fontsize=13, family=FONT, loc="left")
        axes.set(xlim=(-half_x, half_x), ylim=(low, high), aspect="equal")
        axes.set_facecolor(PANEL)
        axes.tick_params(colors=FAINT_INK, labelsize=11)
        for spine in axes.spines.values():
            spine.set_color("#3a414c")
    _draw_key(figure, places, height)
    return rasterise(figure)


def _least_gap(values: FloatArray) -> float:
    different = np.unique(np.round(values, 6))
    return float(np.diff(different).min()) if len(different) > 1 else _LARGEST_SQUARE_M


def _draw_surroundings(axes: Any, places: BasePlaces, low: float, high: float) -> None:
    from matplotlib.patches import Polygon, Rectangle

    half = places.table_half_width_m
    axes.add_patch(Rectangle((-half, low - 1), 2 * half, high - low + 2, color="#262c35", zorder=1))
    axes.add_patch(Polygon(places.outline_m, closed=True, color="#e6c8b4", alpha=0.35, lw=0, zorder=2))
    if places.scanner_m is not None:
        first, last = places.scanner_m
        axes.axhspan(first, last, color="#5a6675", alpha=0.45, lw=0, zorder=2)
        if first < high - 0.08:
            axes.text(
                0.0, 0.5 * (first + min(last, high)), "scanner", color=INK, fontsize=11, family=FONT, ha="center",
                va="center", zorder=6,
            )  # fmt: skip
    axes.plot([0], [0], marker="o", color=TARGET, markersize=9, zorder=5)


def _draw_place(axes: Any, places: BasePlaces, k: int, square: float) -> None:
    from matplotlib.patches import Rectangle

    x, y = places.positions_m[k, :2]
    corner = (x - square / 2, y - square / 2)
    missing = places.insertion_count - int(places.insertions_reached[k])
    if not places.usable[k]:
        axes.add_patch(Rectangle(corner, square, square, facecolor="none", edgecolor=FAINT_INK, lw=1.0, zorder=3))
        axes.plot([x], [y], marker="x", color=FAINT_INK, markersize=8, mew=1.8, zorder=4)
    else:
        color = NOT_ABLATED if missing else _share_color(float(places.alternatives_share[k]))
        axes.add_patch(Rectangle(corner, square, square, color=color, lw=0, zorder=3))
        if missing:
            axes.text(
                x, y, str(missing), color="#ffffff", fontsize=11, family=FONT, ha="center", va="center", zorder=4
            )
    if k == places.chosen:
        grown = square * 1.35
        axes.add_patch(
            Rectangle(
                (x - grown / 2, y - grown / 2), grown, grown, facecolor="none", edgecolor=HUB, lw=3.0, zorder=6
            )
        )


def _share_color(share: float) -> str:
    """Lightest where all alternatives are reached."""
    return SKIN_SCORES[::-1][min(int(share * len(SKIN_SCORES)), len(SKIN_SCORES) - 1)]


def _draw_key(figure: Any, places: BasePlaces, height: int) -> None:
    from matplotlib.patches import Rectangle

    axes = figure.add_axes((0.02, 14 / height, 0.96, 76 / height))
    axes.set(xlim=(0, 100), ylim=(0, 1))
    axes.axis("off")
    bins = len(SKIN_SCORES)
    entries = [
        (_share_color((k + 0.5) / bins), f"{100 * k // bins} to {100 * (k + 1) // bins} %") for k in range(bins)
    ]
    axes.text(0, 0.83, "all insertions and this share of alternatives reached", color=INK, fontsize=12, family=FONT)
    for k, (color, words) in enumerate(entries):
        axes.add_patch(Rectangle((11.5 * k, 0.1), 2.2, 0.42, color=color, lw=0))
        axes.text(11.5 * k + 2.8, 0.31, words, color=INK, fontsize=12, family=FONT, va="center")
    axes.add_patch(Rectangle((48, 0.1), 2.2, 0.42, color=NOT_ABLATED, lw=0))
    axes.text(50.8, 0.31, "so many insertions not reached", color=INK, fontsize=12, family=FONT, va="center")
    axes.plot([73.5], [0.31], marker="x", color=FAINT_INK, markersize=9, mew=1.8)
    axes.text(75, 0.31, "too near at rest", color=INK, fontsize=12, family=FONT, va="center")
    axes.add_patch(Rectangle((87, 0.1), 2.2, 0.42, facecolor="none", edgecolor=HUB, lw=3.0))
    done = f"{places.carried_out} of {places.insertion_count} done"
    axes.text(89.8, 0.31, f"chosen, {done}", color=INK, fontsize=12, family=FONT, va="center")
