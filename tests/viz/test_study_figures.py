"""Figures of a study: their sizes in print, their data, and names that are text whatever they hold."""

import itertools
import re

import numpy as np
import pytest
from PIL import Image

from needleplan.uncertainty.rehearsal_statistics import Estimate
from needleplan.viz.study_figures import (
    Cloud,
    ForestPanel,
    ForestRow,
    Line,
    draw_lines,
    draw_margin_error,
    draw_paired_differences,
)
from needleplan.viz.study_figures_canvas import (
    COLORS,
    MARKS,
    MOST_ROWS,
    ONE_COLUMN_MM,
    TWO_COLUMNS_MM,
    distinct_labels,
    label,
)
from needleplan.viz.study_figures_cells import DistributionPanel, draw_distributions, draw_statuses

HOSTILE = "$\\frac{1$ <b>&\u202e\n名"


def width_mm(path):
    with Image.open(path) as image:
        return image.width / 300 * 25.4


def panel(count=2, value=1.0):
    rows = [ForestRow(f"a{k}", "b", Estimate(value, value - 0.5, value + 0.5), 9, 0.01) for k in range(count)]
    return ForestPanel("least margin", "mm", 1, tuple(rows))


def lines(name="case"):
    return [Line(name, ((1.0, Estimate(90.0, 80.0, 95.0)), (2.0, Estimate(100.0, None, None))))]


def distribution(title="margin", unit="mm", **values):
    return DistributionPanel(title, unit, tuple(values.items()))


def every_figure(name="case"):
    rng = np.random.default_rng(0)
    return [
        draw_paired_differences(
            "forest", name, [panel(), ForestPanel("b", "%", -1, (ForestRow(name, "b", None, 0, None),) * 2)]
        ),
        draw_lines("lines", "Coverage", "A caption.", [("covered, %", lines(name))], "probes", True),
        draw_margin_error(
            [Cloud(name, *rng.normal(3, 1, (2, 30)))], lines(name)[0], [("covered, %", lines(name))], 5.0
        ),
        draw_distributions([distribution(**{name: rng.normal(5, 1, 30), "none": np.zeros(0)})]),
        draw_statuses([(name, {"complete": 5, "failed": 1}), ("other", {})]),
    ]


@pytest.mark.parametrize("name", ["case", HOSTILE])
def test_every_figure_is_written_in_three_formats_with_any_name(tmp_path, name):
    for figure in every_figure(name):
        pdf, svg, png = figure.save(tmp_path)
        assert pdf.read_bytes().startswith(b"%PDF") and b"<svg" in svg.read_bytes()
        assert min(abs(width_mm(png) - wide) for wide in (ONE_COLUMN_MM, TWO_COLUMNS_MM)) < 0.3
        inline = figure.inline_svg()
        assert inline.startswith("<svg") and "<metadata" not in inline and "<script" not in inline
        assert all(len(row) == len(figure.columns) for row in figure.data) and figure.data


def test_the_same_values_give_the_same_bytes():
    first, second = (draw_statuses([("a", {"complete": 3, "partial": 1}), ("b", {"failed": 2})]) for _ in range(2))
    assert first.content("svg") == second.content("svg") and first.content("pdf") == second.content("pdf")
    # Whatever was written before: the layout is that of the first time.
    assert first.content("svg") == second.content("svg")


def test_a_larger_difference_is_drawn_farther_to_the_right():
    figure = draw_paired_differences("forest", "device", [panel(1, 1.0), panel(1, 3.0)])
    (one, *_), (other, *_) = ([line.get_xdata() for line in axes.lines[1:]] for axes in figure.figure.axes)
    assert list(one) == [0.5, 1.5] and list(other) == [2.5, 3.5]
    assert ("least margin", "mm", "a0", "b", 3.0, 2.5, 3.5, 9, 0.01) in figure.data


def test_what_is_not_drawn_is_said_and_stands_in_the_data():
    figure = draw_paired_differences("forest", "device", [panel(MOST_ROWS + 4)])
    assert f"{MOST_ROWS} of {MOST_ROWS + 4}" in figure.caption and len(figure.data) == MOST_ROWS + 4
    counts = [(f"cell {k}", {"complete": 1}) for k in range(MOST_ROWS + 2)]
    found = draw_statuses(counts)
    assert f"{MOST_ROWS} of {MOST_ROWS + 2}" in found.caption and len(found.data) == 4 * (MOST_ROWS + 2)


def test_bars_of_statuses_fill_the_axis():
    figure = draw_statuses([("a", {"complete": 3, "partial": 1, "infeasible": 1, "failed": 5})])
    widths = [patch.get_width() for patch in figure.figure.axes[0].patches]
    assert widths == pytest.approx([30, 10, 10, 50])


def test_labels_are_one_line_and_differ():
    assert "\n" not in label(HOSTILE) and "\u202e" not in label(HOSTILE)
    assert len(label("x" * 200)) == 60
    long = ["x" * 80 + "a", "x" * 80 + "b"]
    assert len(set(distinct_labels(long))) == 2 and all(len(text) <= 60 for text in distinct_labels(long))
    assert distinct_labels(["a", "b"]) == ["a", "b"]
    # Cells differ at their beginning and at their end.
    told = label("generic-mwa-2450, amplitude-gating, needle_arm7, errors freehand-ct, deep breathing (30 mm)")
    assert told.startswith("generic-mwa-2450, ") and told.endswith(", deep breathing (30 mm)") and len(told) <= 60


def test_cells_of_one_label_are_two_rows():
    statuses = draw_statuses([("a", {"complete": 5}), ("a", {"failed": 5})])
    assert len(statuses.figure.axes[0].get_yticks()) == 2 and len(statuses.data) == 8
    panel = DistributionPanel("margin", "mm", (("a", np.array([1.0, 2.0])), ("a", np.array([3.0]))))
    assert [row[3] for row in draw_distributions([panel]).data] == [1.0, 2.0, 3.0]


def tick_boxes(figure, axes):
    """Boxes of the labels along x that are drawn, from left to right."""
    figure.content("png")
    low, high = axes.get_xlim()
    pairs = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    renderer = figure.figure.canvas.get_renderer()
    return [text.get_window_extent(renderer) for place, text in pairs if low <= place <= high]


@pytest.mark.parametrize("spread", [0.0, 1e-4, 0.03, 1234.5])
def test_labels_along_an_axis_never_touch(spread):
    rows = [ForestRow("a", f"b{k}", Estimate(0.0, -spread, spread), 9, 1.0) for k in range(3)]
    panels = [ForestPanel(f"figure {k}", "mm", 1, tuple(rows)) for k in range(4)]
    figure = draw_paired_differences("forest", "device", panels)
    for axes in figure.figure.axes:
        boxes = tick_boxes(figure, axes)
        assert boxes and all(left.x1 + 2 < right.x0 for left, right in itertools.pairwise(boxes))
    if spread == 0.0:
        assert figure.figure.axes[0].get_xlim() == (-1.0, 1.0)


@pytest.mark.parametrize("value", [-3.0, 0.0, 3.0])
def test_no_pairs_stays_within_its_panel(value):
    row = ForestRow("a", "c", None, 0, None)
    rows = (ForestRow("a", "b", Estimate(value, value - 0.01, value + 0.01), 9, 0.01), row)
    figure = draw_paired_differences("forest", "device", [ForestPanel("margin", "mm", 1, rows)] * 4)
    figure.content("png")
    for axes in figure.figure.axes:
        (text,) = [item for item in axes.texts if item.get_text() == "no pairs"]
        box, frame = text.get_window_extent(figure.figure.canvas.get_renderer()), axes.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1


def test_points_of_cases_lie_clear_of_box_and_median():
    figure = draw_distributions([distribution(**{"a": np.full(30, 5.0), "b": np.linspace(1, 9, 30)})])
    cases, boxes = {0: [], 1: []}, {0: [], 1: []}
    for line in figure.figure.axes[0].lines:
        y = np.asarray(line.get_ydata(), dtype=float)
        place = int(np.rint(y.mean()))
        (cases if line.get_marker() == "o" else boxes)[place].append(y)
    for place in (0, 1):
        assert np.concatenate(boxes[place]).max() < np.concatenate(cases[place]).min()
        assert np.concatenate(cases[place]).max() < place + 0.5


@pytest.mark.parametrize("values", [[1.0, 1.0], [1.0, 2.0], [0.0, 3.0, 17.0]])
def test_counts_have_whole_ticks_and_shares_end_at_100(values):
    counts = distribution("punctures", "", a=np.array(values))
    shares = distribution("covered", "%", a=np.full(5, 100.0))
    figure = draw_distributions([counts, shares])
    figure.content("png")
    one, other = figure.figure.axes[:2]
    low, high = one.get_xlim()
    ticks = [tick for tick in one.get_xticks() if low <= tick <= high]
    assert ticks and all(float(tick).is_integer() for tick in ticks) and low < min(values) <= max(values) < high
    low, high = other.get_xlim()
    assert 100.0 < high and all(tick <= 100.0 for tick in other.get_xticks() if low <= tick <= high)


def marks(axes, hollow):
    """x of the marks of a panel that are hollow, or that are not, but for those of the cases."""
    drawn = [line for line in axes.lines if line.get_marker() not in ("None", "", "|") and line.get_alpha() is None]
    chosen = [line for line in drawn if (line.get_markerfacecolor() == "white") == hollow]
    return [float(x) for line in chosen for x in line.get_xdata()]


def intervals(axes):
    """Lower and upper end of each bar that is drawn."""
    bars = [collection.get_segments() for collection in axes.collections if hasattr(collection, "get_segments")]
    return [(float(bar[0][1]), float(bar[1][1])) for drawn in bars for bar in drawn if len(bar)]


def test_a_mean_without_an_interval_is_a_hollow_mark_without_a_bar_and_its_caption_says_so():
    bare = "A hollow mark has no interval"
    cloud = Cloud("case", np.array([0.5, 2.5]), np.array([1.0, 2.0]))
    for whole in (False, True):
        ends = (98.0, 101.0) if whole else (None, None)
        line = Line("mean", ((1.0, Estimate(90.0, 80.0, 95.0)), (2.0, Estimate(100.0, *ends))))
        drawn = draw_lines("lines", "Coverage", "A caption.", [("covered, mm", [line])], "probes", True)
        margins = draw_margin_error([cloud], line, [("covered, %", [line])], 5.0)
        for axes in (*drawn.figure.axes, *margins.figure.axes):
            assert marks(axes, hollow=True) == ([] if whole else [2.0])
            assert intervals(axes) == [(80.0, 95.0), *([ends] if whole else [])]
        assert (bare in drawn.caption) == (bare in margins.caption) == (not whole)
        assert drawn.caption.startswith("A caption.")


def test_one_end_that_is_known_is_drawn():
    line = Line("mean", ((1.0, Estimate(90.0, None, 95.0)),))
    drawn = draw_lines("lines", "Coverage", "A caption.", [("covered, mm", [line])], "probes", True)
    assert intervals(drawn.figure.axes[0]) == [(90.0, 95.0)] and not marks(drawn.figure.axes[0], hollow=True)


@pytest.mark.parametrize("cloud", [True, False])
def test_labels_of_margins_against_errors_are_whole_and_apart(cloud):
    clouds = [Cloud("case", np.array([0.5, 2.5]), np.array([1.0, 2.0]))] if cloud else []
    budgets = [("target covered, %", lines()), ("margin reached, %", lines())]
    figure = draw_margin_error(clouds, lines()[0], budgets, 5.0)
    figure.content("png")
    renderer = figure.figure.canvas.get_renderer()
    boxes = [axes.xaxis.label.get_window_extent(renderer) for axes in figure.figure.axes]
    assert boxes[0].x0 >= 0.0 and boxes[-1].x1 <= figure.figure.bbox.x1
    assert all(left.x1 + 8 < right.x0 for left, right in itertools.pairwise(boxes))


def test_colours_stay_apart_in_grey_or_by_their_marks():
    assert len(set(COLORS)) == len(set(MARKS)) == len(COLORS)
    assert all(re.fullmatch(r"#[0-9a-f]{6}", color) for color in COLORS)
