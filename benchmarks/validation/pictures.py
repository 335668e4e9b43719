"""Pictures of the page: profiles, orders of convergence, and published cases as bars."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.case import Check
from validation.run import Result

#: Colours that colour-blind readers can tell apart (Okabe and Ito, 2008).
BLACK, ORANGE, SKY, BLUE, VERMILION, GREY = "#222222", "#E69F00", "#56B4E9", "#0072B2", "#D55E00", "#B8B8B8"
_PANELS = {
    "validation-heat.png": (
        ("uniform ball, steady", "rise (K)", "distance (mm)"),
        ("point source, steady", "rise (K)", "distance (mm)"),
        ("line source, steady", "rise (K)", "distance (mm)"),
        ("point source, 10 s|point source, 60 s|point source, 600 s", "rise (K)", "distance (mm)"),
        ("line source, 10 s|line source, 60 s|line source, 600 s", "rise (K)", "distance (mm)"),
        ("line beside a vessel", "rise (K)", "distance from the vessel's axis (mm)"),
    ),
    "validation-fields.png": (
        ("field of a needle pair", "field (V/cm)", "place along the pair (mm)"),
        ("RF about a cooled ball", "rise (K)", "distance (mm)"),
        ("fluence of a point", "fluence of 1 W (W/m²)", "distance (mm)"),
        ("heat of a point of light", "rise (K)", "distance (mm)"),
    ),
    "validation-freezing.png": (
        ("freezing from a wall, 600 s", "temperature (°C)", "depth (mm)"),
        ("ice about a line sink, 600 s", "temperature (°C)", "distance (mm)"),
        ("steady ice about a probe", "temperature (°C)", "distance (mm)"),
    ),
}
_LOGARITHMIC = {"point source, steady", "line source, steady", "fluence of a point"}


def _plain(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10.5, loc="left", color=BLACK)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(which="both", labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)


def _broken(place: Any, values: Any) -> tuple[Any, Any]:
    """The line with a gap wherever cells are left out."""
    steps = np.diff(place)
    gaps = np.flatnonzero(steps > 1.5 * np.median(steps)) + 1
    return np.insert(np.asarray(place, dtype=float), gaps, np.nan), np.insert(
        np.asarray(values, float), gaps, np.nan
    )


def _profiles(curves: dict[str, Any], file: str) -> Figure:
    panels = _PANELS[file]
    columns = 2 if len(panels) == 4 else 3
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4.0 * columns, 3.1 * rows), layout="constrained", dpi=110)
    for axes, (names, y, x) in zip(np.ravel(figure.subplots(rows, columns)), panels, strict=True):
        several = names.split("|")
        for name, colour in zip(several, (BLUE, VERMILION, BLACK), strict=False):
            place, closed, ours = curves[name]
            label = name.split(", ")[-1] if len(several) > 1 else None
            axes.plot(
                *_broken(place, closed), color=colour, lw=1.6, label="closed form" if label is None else label
            )
            every = max(1, len(place) // 32)
            axes.plot(
                place[::every], ours[::every], "o", ms=4.5, mfc="white", mec=colour, mew=1.1,
                label="solver" if label is None else None,
            )  # fmt: skip
        if several[0] in _LOGARITHMIC:
            axes.set_yscale("log")
        title = several[0] if len(several) == 1 else several[0].split(", ")[0] + ", switched on"
        _plain(axes, title, x, y)
        axes.legend(fontsize=8.5, frameon=False)
    return figure


def _orders(curves: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(8.4, 3.4), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2)
    for axes, name, x in (
        (left, "order in space", "side of the cells (mm)"), (right, "order in time", "length of the steps (s)"),
    ):  # fmt: skip
        sizes, errors = curves[name]
        axes.loglog(sizes, errors, "o-", color=BLUE, mfc="white", lw=1.4, label="solver")
        guide = errors[-1] * (sizes / sizes[-1]) ** 2
        axes.loglog(sizes, guide, "--", color=VERMILION, lw=1.2, label="second order")
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_xticks([], minor=True)
        _plain(axes, name, x, "greatest error (K)")
        axes.legend(fontsize=8.5, frameon=False)
    return figure


def _group(check: Check) -> str:
    if ", mm" in check.quantity:
        return "mm"
    if "cm3" in check.quantity:
        return "cm³"
    return "ratio" if " over " in check.quantity else ""


def _published(results: Sequence[Result]) -> Figure:
    groups: dict[str, list[tuple[str, Check]]] = {"mm": [], "cm³": [], "ratio": []}
    for result in results:
        if result.case.family not in "PS" and result.case.id != "E08":
            continue
        for check in result.outcome.checks:
            group = _group(check)
            if group and check.expected is not None and check.ours is not None:
                name = check.quantity.replace(", mm", "").replace(", cm3", "")
                groups[group].append((f"{result.case.id}  {name}", check))
    figure = Figure(figsize=(13.0, 10.4), layout="constrained", dpi=110)
    grid = figure.add_gridspec(2, 2)
    places = {
        "mm": figure.add_subplot(grid[:, 0]),
        "cm³": figure.add_subplot(grid[0, 1]),
        "ratio": figure.add_subplot(grid[1, 1]),
    }
    titles = {"mm": "Lengths (mm)", "cm³": "Volumes (cm³)", "ratio": "Ratios"}
    for group, axes in places.items():
        rows = groups[group]
        at = np.arange(len(rows))[::-1].astype(float)
        expected = [float(check.expected or 0.0) for _, check in rows]
        spread = [check.spread or 0.0 for _, check in rows]
        axes.barh(at + 0.2, expected, 0.38, color=GREY, label="measured, with its SD where stated")
        has = [n for n, value in enumerate(spread) if value > 0]
        axes.errorbar(
            [expected[n] for n in has], [at[n] + 0.2 for n in has], xerr=[spread[n] for n in has], fmt="none",
            ecolor=BLACK, elinewidth=1.1, capsize=2.5,
        )  # fmt: skip
        for wanted, colour, hatch, label in (
            ("within", BLUE, "", "model, within the tolerance"),
            ("misses", ORANGE, "///", "model, outside the tolerance"),
            ("shown", SKY, "", "model, no tolerance stated"),
        ):
            chosen = [n for n, (_, check) in enumerate(rows) if _kind(check) == wanted]
            if chosen:
                axes.barh(
                    [at[n] - 0.2 for n in chosen], [float(rows[n][1].ours or 0.0) for n in chosen], 0.38,
                    color=colour, hatch=hatch, edgecolor="white", linewidth=0.0, label=label,
                )  # fmt: skip
        if group == "cm³":
            # From a millilitre to a tenth of a litre.
            axes.set_xscale("log")
            axes.set_xlim(0.5, 250.0)
            axes.set_xticks([1.0, 3.0, 10.0, 30.0, 100.0], ["1", "3", "10", "30", "100"])
            axes.set_xticks([], minor=True)
        axes.set_yticks(at, [name for name, _ in rows])
        axes.set_ylim(-0.7, len(rows) - 0.3)
        _plain(axes, titles[group], "", "")
        axes.tick_params(axis="y", length=0)
    handles: dict[str, Any] = {}
    for axes in places.values():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=4, fontsize=9.5, frameon=False)
    return figure


def _kind(check: Check) -> str:
    if math.isinf(check.low) and math.isinf(check.high):
        return "shown"
    return "within" if check.passes else "misses"


def draw(results: Sequence[Result], folder: Path) -> None:
    """Writes all pictures of the page."""
    curves: dict[str, Any] = {}
    for result in results:
        curves |= result.outcome.curves or {}
    folder.mkdir(parents=True, exist_ok=True)
    for file in _PANELS:
        _profiles(curves, file).savefig(folder / file)
    _orders(curves).savefig(folder / "validation-order.png")
    _published(results).savefig(folder / "validation-published.png")
