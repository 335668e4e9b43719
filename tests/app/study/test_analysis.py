"""The analysis of a study: pairs, reasons, laws, and tables that say what their columns are."""

import csv
import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from made_study_rows import made_cells, made_row, made_rows, made_times

from needleplan.app.study import comparisons
from needleplan.app.study.analysis import analyse
from needleplan.app.study.analysis_errors import budget_errors, rehearsed_errors, trends
from needleplan.app.study.analysis_figures import study_figures
from needleplan.app.study.analysis_levels import cells_of, ordered_rows, varying_factors
from needleplan.app.study.analysis_outputs import csv_text, read_analysis, write_tables
from needleplan.app.study.analysis_probes import coverage_by_probes
from needleplan.app.study.analysis_tables import analysis_tables
from needleplan.app.study.comparisons import compare
from needleplan.app.study.study import Breathing
from needleplan.errors import PlanFileError
from needleplan.io.plan_table import FORMULA_BEGINNINGS


def of(comparisons, measure, others=""):
    return [item for item in comparisons.figures if item.measure == measure and item.scope.others == others]


def margins(cases, cell, values):
    """Rows of one cell whose plans are complete with given least margins; None has no path."""
    return [
        made_row(f"case-{k}", cell, status="infeasible", minimal_margin_mm=None, reason="none")
        if value is None
        else made_row(f"case-{k}", cell, status="complete", minimal_margin_mm=float(value))
        for k, value in zip(range(cases), values, strict=True)
    ]


def test_a_known_shift_is_found_and_cases_without_a_plan_are_counted():
    one, two = made_cells(devices=("a", "b"))
    base = np.linspace(1, 9, 20)
    second = [None, None, *(base[2:] - 1.5)]
    found = compare(ordered_rows(margins(20, one, base) + margins(20, two, second)))
    (item,) = of(found, "minimal_margin_mm")
    assert (item.scope.first, item.scope.second, item.units, item.compared) == ("a", "b", 20, 18)
    assert item.left_out == (("second infeasible", 2),)
    assert item.effect.mean.value == pytest.approx(1.5) and item.effect.rank_biserial == 1.0
    planned = next(each for each in found.outcomes if each.outcome == "planned")
    assert (planned.shares.cases, planned.shares.only_first, planned.shares.only_second) == (20, 2, 0)
    assert planned.shares.probability == pytest.approx(0.5)


def test_counts_of_every_comparison_add_up_and_corrections_never_lower():
    rows = made_rows(25, 3, made_cells(devices=("a", "generic-rfa-3cm"), strategies=(None, "free-breathing")))
    found = analyse(rows).comparisons
    assert found.figures and found.outcomes
    for item in found.figures:
        assert item.compared + sum(count for _, count in item.left_out) == item.units
        if item.effect is not None:
            assert item.effect.pairs <= item.compared and item.corrected >= item.effect.probability
    # Nothing is rehearsed at one of the two levels of the strategy, so nothing is left to compare.
    (lone,) = [item for item in of(found, "tip_error_mm") if item.scope.factor == "strategy"]
    assert lone.effect is None and lone.corrected is None
    assert ("second without the figure", 46) in lone.left_out and lone.compared == 0


def test_levels_that_do_the_same_differ_by_nothing():
    one, two = made_cells(devices=("a", "b"))
    rows = [dataclasses.replace(row, device="a", cell=one.name) for row in made_rows(15, 1, [one])]
    twin = [dataclasses.replace(row, device="b", cell=two.name) for row in rows]
    for item in compare(ordered_rows(rows + twin)).figures:
        assert item.effect.mean.value == 0.0 and item.effect.probability == 1.0 and item.corrected == 1.0


def test_order_of_the_rows_means_nothing():
    rows = made_rows(14, 2, made_cells(probes=(1, 2)))
    times = made_times(rows)
    expected = analyse(rows, times)
    random.Random(1).shuffle(rows)
    random.Random(2).shuffle(times)
    assert analyse(rows, times) == expected


def test_swapping_two_levels_negates_their_difference():
    one, two = made_cells(devices=("a", "b"))
    first, second = np.random.default_rng(0).normal(5, 1, (2, 30))
    forth = of(compare(ordered_rows(margins(30, one, first) + margins(30, two, second))), "minimal_margin_mm")[0]
    back = of(compare(ordered_rows(margins(30, one, second) + margins(30, two, first))), "minimal_margin_mm")[0]
    assert forth.effect.mean.value == -back.effect.mean.value
    assert (forth.effect.mean.low, forth.effect.mean.high) == (-back.effect.mean.high, -back.effect.mean.low)
    assert forth.effect.standardised.value == -back.effect.standardised.value


def test_other_factors_are_held_equal_in_each_and_averaged_over_all():
    cells = made_cells(devices=("a", "b"), margins=(3.0, 5.0))
    shift = {("a", 3.0): 1.0, ("a", 5.0): 2.0, ("b", 3.0): 0.0, ("b", 5.0): 5.0}
    base = np.linspace(4, 8, 12)
    rows = [row for cell in cells for row in margins(12, cell, base + shift[cell.device, cell.margin_mm])]
    found = compare(ordered_rows(rows))
    by_others = {
        item.scope.others: item.effect
        for item in found.figures
        if item.measure == "minimal_margin_mm" and item.scope.factor == "device"
    }
    assert {name: effect.mean.value for name, effect in by_others.items()} == pytest.approx(
        {"": -1.0, "3 mm margin": 1.0, "5 mm margin": -3.0}
    )
    assert by_others[""].pairs == 12


def test_many_combinations_and_many_levels_are_compared_as_is_said(monkeypatch):
    monkeypatch.setattr(comparisons, "MOST_COMBINATIONS", 2)
    monkeypatch.setattr(comparisons, "MOST_LEVELS", 2)
    found = compare(ordered_rows(made_rows(4, 0, made_cells(devices=("a", "b"), margins=(1.0, 2.0, 3.0)))))
    assert all(item.scope.others == "" for item in found.figures if item.scope.factor == "device")
    assert {item.scope.first for item in found.figures if item.scope.factor == "margin_mm"} == {"1 mm margin"}
    assert any("combinations" in note for note in found.notes) and any("levels" in note for note in found.notes)


def test_levels_that_meet_in_no_equal_cells_are_named():
    cells = [made_cells(devices=("a",), margins=(3.0,))[0], made_cells(devices=("b",), margins=(5.0,))[0]]
    found = compare(ordered_rows(made_rows(5, 0, cells)))
    assert not found.figures and any("a and b stand in no two cells" in note for note in found.notes)


def test_rows_that_contradict_each_other_are_refused():
    rows = made_rows(3)
    with pytest.raises(PlanFileError, match="twice"):
        analyse([*rows, rows[0]])
    with pytest.raises(PlanFileError, match="status"):
        analyse([dataclasses.replace(rows[0], status="fine")])
    with pytest.raises(PlanFileError, match="no factor tells apart"):
        analyse([rows[0], dataclasses.replace(rows[0], cell="another")])
    with pytest.raises(PlanFileError, match="different levels"):
        analyse([rows[0], dataclasses.replace(rows[0], case="x", device="other")])


def test_breathing_is_a_factor_with_its_amplitude():
    cells = made_cells(devices=("a",), breathings=(Breathing("quiet", 10.0), Breathing("quiet", 20.0)))
    rows = ordered_rows(made_rows(4, 0, cells))
    assert varying_factors(rows) == ("breathing",)
    assert [cell.label for cell in cells_of(rows)] == ["quiet breathing (10 mm)", "quiet breathing (20 mm)"]


def test_levels_that_differ_in_their_last_digit_alone_are_two_everywhere():
    rows = ordered_rows(made_rows(5, 0, made_cells(devices=("a",), margins=(5.0, 5.0000001))))
    analysis = analyse(rows)
    labels = ["5 mm margin", "5.0000001 mm margin"]
    assert [cell.label for cell in analysis.cells] == labels
    assert {(item.scope.first, item.scope.second) for item in analysis.comparisons.figures} == {tuple(labels)}
    figures = {figure.name: figure for figure in study_figures(analysis)}
    assert [row[0] for row in figures["status"].data if row[1] == "complete"] == labels
    ticks = figures["status"].figure.axes[0].get_yticklabels()
    assert [tick.get_text() for tick in ticks] == [f"{label}  (n = 5)" for label in labels]
    assert {row[2] for row in figures["distributions"].data} == set(labels)
    powers = made_cells(devices=("a",))
    powers = [dataclasses.replace(powers[0], power_w=power) for power in (60.0, 60.00000001)]
    assert [cell.label for cell in cells_of(ordered_rows(made_rows(2, 0, powers)))] == ["60 W", "60.00000001 W"]


def test_cells_whose_names_read_the_same_are_told_apart_by_their_cell():
    cells = [
        made_cells(devices=("a, b",), robots=("c",))[0], made_cells(devices=("a",), robots=("b, c",))[0],
        made_cells(devices=("x",), robots=("b, c",))[0],
    ]  # fmt: skip
    labels = {cell.name: cell.label for cell in cells_of(ordered_rows(made_rows(2, 0, cells)))}
    assert labels == {
        cells[0].name: f"a, b, c (cell {cells[0].name})",
        cells[1].name: f"a, b, c (cell {cells[1].name})",
        cells[2].name: "x, b, c",
    }


def test_any_number_of_probes_is_a_level_of_its_own_at_the_end():
    analysis = analyse(made_rows(20, 5, made_cells(devices=("generic-ire",), probes=(1, 2, None))))
    assert [point.probes for point in analysis.probes] == [1, 2, None]
    assert all(point.allowed and point.cases + point.without_plan == 20 for point in analysis.probes)
    (table,) = [item for item in analysis_tables(analysis) if item.name == "coverage_by_probes"]
    assert [row[1] for row in table.rows] == [1, 2, "any"]
    (figure,) = [item for item in study_figures(analysis) if item.name == "coverage-probes"]
    axes = figure.figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "any"]
    assert {row[2] for row in figure.data} == {1.0, 2.0, "any"} and "Any: as many" in figure.caption
    # The line joins the numbers and stops before the word.
    x, y = axes.lines[0].get_data()
    assert np.isnan(y[2]) and x[3] == 3.0 and not np.isnan(y[[0, 1, 3]]).any()


def test_the_lower_end_of_infinite_odds_stands_in_the_table():
    one, two = made_cells(devices=("a", "b"))
    base = np.linspace(1, 9, 20)
    rows = margins(20, one, base) + margins(20, two, [None] * 10 + list(base[10:]))
    (table,) = [item for item in analysis_tables(analyse(rows)) if item.name == "outcomes"]
    columns = [name for name, _ in table.columns]
    found = next(dict(zip(columns, row, strict=True)) for row in table.rows if row[4] == "planned")
    assert (found["only_first"], found["only_second"]) == (10, 0)
    assert found["odds_ratio"] is None and found["odds_high"] is None
    assert found["odds_low"] == pytest.approx(2.2415, abs=1e-4)


def test_more_probes_never_cover_less_and_shared_plans_count_once():
    cells = made_cells(devices=("generic-ire",), probes=(1, 2, 3), strategies=(None, "free-breathing"))
    points = coverage_by_probes(ordered_rows(made_rows(30, 5, cells)))
    assert [point.probes for point in points] == [1, 2, 3] and all(point.allowed for point in points)
    assert all(point.cases + point.without_plan == 30 for point in points)
    means = [point.margin.estimate.value for point in points]
    assert means == sorted(means) and means[0] < means[-1]
    free = coverage_by_probes(ordered_rows(made_rows(30, 5, made_cells(devices=("generic-ire",)))))
    assert not any(point.allowed for point in free) and sum(point.cases for point in free) == points[0].cases


def test_margins_fall_with_tip_error_and_with_the_budget():
    rows = ordered_rows(
        made_rows(60, 1, made_cells(("a",), strategies=("free-breathing",), budgets=("robot", "freehand-ct")))
    )
    bins = rehearsed_errors(rows)
    lost = [point.lost.estimate.value for point in bins]
    assert len(bins) >= 4 and lost == sorted(lost)
    assert all(point.low_mm <= point.error_mm < (point.high_mm or np.inf) for point in bins)
    # The rows lose 0.7 mm of margin a mm of error.
    assert all(trend.slope.low < -0.7 < trend.slope.high for trend in trends(rows))
    small, large = budget_errors(rows)
    assert (small.source, large.source) == ("robot", "freehand-ct") and small.error_mm < large.error_mm
    assert small.chance_margin.estimate.value > large.chance_margin.estimate.value


def test_chances_are_told_and_drawn_for_every_group_that_they_depend_on():
    cells = [
        dataclasses.replace(cell, margin_mm=margin_mm)
        for margin_mm in (3.0, 8.0)
        for cell in made_cells(("a", "b"), budgets=("robot", "freehand-ct"))
    ]
    analysis = analyse(made_rows(12, 1, cells), [])
    told = {(point.group, point.source) for point in analysis.errors}
    groups = {f"{device}, {margin} mm margin" for device in "ab" for margin in (3, 8)}
    assert told == {(group, source) for group in groups for source in ("robot", "freehand-ct")}
    (figure,) = [item for item in study_figures(analysis) if item.name == "margin-error"]
    drawn = [(row[1], row[2], row[3]) for row in figure.data]
    assert len(drawn) == len(set(drawn)) == 2 * 4 * 2 and {row[1] for row in drawn} == groups


def test_no_rows_give_tables_with_columns_alone(tmp_path):
    analysis = analyse([])
    assert all(table.columns and not table.rows for table in analysis_tables(analysis))
    for path in write_tables(tmp_path, analysis):
        assert path.read_text(encoding="utf-8").count("\n") >= 1


def test_tables_read_back_in_full_and_hold_no_formula(tmp_path):
    rows = made_rows(6, 0, made_cells(probes=(1, 2), strategies=("free-breathing",)))
    hostile = dataclasses.replace(rows[0], case="=HYPERLINK(1)", reason="@SUM(1)\n+2", device="-2+3")
    rows = [hostile if row is rows[0] else dataclasses.replace(row, device="-2+3", cell=row.cell) for row in rows]
    rows = [row for row in rows if row.cell == rows[0].cell]
    paths = write_tables(tmp_path, analyse(rows, made_times(rows)))
    for path in paths:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, strict=True):
                for cell in row.values():
                    number = cell.startswith("-") and not np.isnan(float(cell))
                    assert number or not cell.startswith(FORMULA_BEGINNINGS)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    by_name = {row.case: row for row in rows}
    for row in found:
        made = by_name[row["case"].removeprefix("'")]
        assert row["minimal_margin_mm"] == ("" if made.minimal_margin_mm is None else repr(made.minimal_margin_mm))
    with (tmp_path / "columns.csv").open(encoding="utf-8", newline="") as stream:
        glossary = {(row["table"], row["column"]) for row in csv.DictReader(stream) if len(row["meaning"]) > 3}
    for path in paths[:-1]:
        with path.open(encoding="utf-8", newline="") as stream:
            assert {(path.name, name) for name in next(csv.reader(stream))} <= glossary


def test_the_guide_tells_every_column_as_the_tables_do():
    guide = (Path(__file__).parents[3] / "docs" / "analysis.md").read_text(encoding="utf-8")
    for table in analysis_tables(analyse([])):
        part = guide.split(f"### `{table.name}.csv`\n")[1].split("\n### ")[0] + "\n"
        assert [line for line in part.splitlines() if line.startswith("| `")] == [
            f"| `{name}` | {meaning} |" for name, meaning in table.columns
        ]


def test_values_of_csv_are_plain():
    assert csv_text(("a", "b", "c", "d"), [(None, True, 0.1, '=x"')]) == 'a,b,c,d\r\n,true,0.1,"\'=x"""\r\n'


def test_a_folder_without_results_is_told(tmp_path):
    with pytest.raises(PlanFileError, match=r"no results\.parquet"):
        read_analysis(tmp_path)
