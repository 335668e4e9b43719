"""The page of a study: whole in one file, escaped, sortable in a browser that may ask nothing of any network."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_study_rows import made_cells, made_row, made_rows, made_times

from needleplan.app.study import study_report_rows
from needleplan.app.study.analysis import analyse
from needleplan.app.study.analysis_outputs import analyse_folder
from needleplan.app.study.study import Row, Study, StudyCase
from needleplan.app.study.study_record import record_of
from needleplan.app.study.study_report import study_page, write_study_report
from needleplan.app.study.study_report_sections import interval
from needleplan.errors import CaseError, PlanFileError
from needleplan.io.plan_file import write_json
from needleplan.io.study_table import write_results, write_times
from needleplan.uncertainty.rehearsal_statistics import Estimate

HOSTILE = "</script><img onerror=alert(1) src=x>"
PLAN = "0123456789ab"
CELLS = made_cells(strategies=("free-breathing",), budgets=("robot",))


def made_folder(out: Path, rows, cells=CELLS, name="a made study") -> Path:
    cases = tuple(StudyCase(case) for case in dict.fromkeys(row.case for row in rows))
    study = Study(name, cases, tuple(cells), ("device",), source=f"name = '{HOSTILE}'\n")
    write_json(out / "study.json", record_of(study, {"needleplan": "9.9.9", "numpy": "1"}))
    write_results(out / "results.parquet", rows, study.name, study.digest())
    write_times(out / "times.parquet", made_times(rows), study.name, study.digest())
    return out


def test_what_rounds_to_nothing_has_no_minus():
    assert interval(Estimate(-0.01, -1.26, -0.04), 1) == "0.0 (-1.3 to 0.0)"
    assert interval(Estimate(-0.01, None, None), 1, "+") == "+0.0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("study")
    rows = made_rows(12, 1, CELLS)
    rows[0] = made_row(HOSTILE, CELLS[0], 1)
    rows[1] = Row.failed(StudyCase('a \u202e & "b"'), CELLS[1], 1, f"{HOSTILE} $x_1$")
    linked, outside = (
        made_row(name, CELLS[0], 2, plan_file=f"plans/{name}/{PLAN}/plan.json")
        for name in ("with a report", "outside")
    )
    (out / "plans/with a report" / PLAN).mkdir(parents=True)
    (out / "plans/with a report" / PLAN / "report.html").write_text("plan")
    (out.parent / "elsewhere" / PLAN).mkdir(parents=True, exist_ok=True)
    (out.parent / "elsewhere" / PLAN / "report.html").write_text("not ours")
    (out / "plans/outside").symlink_to(out.parent / "elsewhere")
    return made_folder(out, [*rows, linked, outside], name=f"study {HOSTILE}")


@pytest.fixture(scope="module")
def page_file(folder) -> Path:
    return write_study_report(folder)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_the_page_is_one_file_without_anything_from_outside(page_file):
    text = page_file.read_text(encoding="utf-8")
    tags = Tags(text).found
    assert sum(tag == "script" for tag, _ in tags) == 1 and not any(tag == "img" for tag, _ in tags)
    for tag, attributes in tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:", "./")) or not value
    assert "http:" not in re.sub(r'(xmlns[:a-z]*="[^"]*")|(<!DOCTYPE[^>]*>)', "", text)
    assert "default-src 'none'" in text and len(text) < 10_000_000


def test_it_tells_statuses_reasons_indicators_and_how_it_was_made(page_file):
    text = page_file.read_text(encoding="utf-8")
    for words in ("Status by cell", "Indicators", "Comparisons", "Cases without a plan", "How this study was made"):
        assert f"<h2>{words}</h2>" in text
    assert "the target is cut by the image" in text or "No path keeps" in text
    assert "9.9.9" in text and "procedure time" in text and "&lt;/script&gt;" in text
    assert text.count("<svg") >= 4


def test_only_reports_within_the_folder_are_linked(page_file):
    text = page_file.read_text(encoding="utf-8")
    links = [attributes["href"] for tag, attributes in Tags(text).found if tag == "a"]
    assert links == [f"./plans/with%20a%20report/{PLAN}/report.html"]


def test_a_page_lists_no_more_rows_than_it_says(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(study_report_rows, "MOST_LISTED", 5)
    rows = made_rows(10, 0, CELLS[:1])
    text = str(study_report_rows.rows_section(analyse(rows), tmp_path))
    assert text.count("<tr>") == 6 and "5 of 10 rows are listed" in text
    lacking = sum(row.status in ("failed", "infeasible") for row in rows)
    assert text.count('class="status failed"') + text.count('class="status infeasible"') == lacking


def test_a_thousand_cases_of_four_cells_stay_below_ten_megabytes(tmp_path):
    cells = made_cells(devices=("a", "b", "c", "d"))
    rows = made_rows(1000, 0, cells)
    reason = "A reason of the usual length that tells what would have to change to find a path."
    text = study_report_rows.rows_section(analyse_rows_only(rows, reason), tmp_path)
    # The rest of the page has less than 3 MB whatever the number of rows: its figures are pictures from there on.
    assert len(text.encode()) < 6_000_000


def analyse_rows_only(rows, reason):
    """The analysis without its statistics, which the table of rows does not show."""
    from dataclasses import replace

    whole = analyse(rows[:8])
    return replace(whole, rows=tuple(replace(row, reason=reason) for row in rows))


def test_an_empty_study_has_a_page(tmp_path):
    record = {"name": "none", "digest": "0" * 64, "versions": {}, "inputs": {}, "outputs": {}}
    assert "The study has no rows." in study_page(record, analyse([]), tmp_path)


@pytest.mark.long
def test_figures_and_their_data_are_written(folder):
    analyse_folder(folder)
    names = {path.name for path in (folder / "figures").iterdir()}
    for figure in ("status", "distributions", "coverage-probes", "margin-error", "paired-differences-device"):
        assert {f"{figure}.{kind}" for kind in ("pdf", "svg", "png", "csv")} <= names
    assert (folder / "analysis/comparisons.csv").is_file() and not list(folder.rglob(".writing-*"))


def test_a_folder_without_a_record_or_with_damaged_results_is_refused(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "report.html").write_text("an earlier page")
    (broken / "results.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(PlanFileError, match="damaged"):
        write_study_report(broken)
    assert (broken / "report.html").read_text() == "an earlier page"
    (broken / "study.json").unlink()
    with pytest.raises((PlanFileError, CaseError), match=r"study\.json"):
        write_study_report(broken)


def test_rows_are_sorted_and_filtered_in_a_browser_that_asks_no_network(page_file, chromium):
    page = chromium.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert page.locator("figure svg").count() >= 4
    rows = page.locator("#rows tbody tr")
    total = rows.count()
    assert page.locator("#shown").inner_text() == f"{total} of {total} rows shown"
    sort = page.get_by_role("button", name="least margin, mm", exact=True)
    sort.focus()
    for direction in ("ascending", "descending"):
        page.keyboard.press("Enter")
        header = page.locator("#rows th[aria-sort]")
        assert header.get_attribute("aria-sort") == direction
        shown = page.locator("#rows tbody td:nth-child(7)").all_inner_texts()
        numbers = [float(text) for text in shown if text != "–"]
        assert numbers == sorted(numbers, reverse=direction == "descending") and len(numbers) > 10
        # What has no figure stands last either way.
        assert "–" not in shown[: len(numbers)]
    page.select_option("#filter-status", "failed")
    failed = page.locator("#rows tbody tr:visible")
    assert 0 < failed.count() < total
    assert set(failed.locator("td:nth-child(3)").all_inner_texts()) == {"failed"}
    page.fill("#filter-text", "onerror")
    assert page.locator("#rows tbody tr:visible").count() == 1
    assert said == [] and asked == [page_file.as_uri()]
    page.close()


def test_paper_holds_what_is_closed_on_the_screen(page_file, chromium):
    page = chromium.new_page()
    page.goto(page_file.as_uri())
    titles = page.locator("details > summary").all_inner_texts()
    assert [title.split(" (")[0] for title in titles] == ["Definitions", "Inputs", "Cells", "Study file"]

    def seen():
        return page.evaluate(
            """() => [...document.querySelectorAll("details > *:not(summary)")].map((one) =>
              one.checkVisibility() && one.getBoundingClientRect().height > 20)"""
        )

    assert seen() == [False] * 4
    closed = len(page.pdf(format="A4"))
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert closed == pytest.approx(len(page.pdf(format="A4")), rel=0.005)
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = false })")
    page.emulate_media(media="print")
    assert seen() == [True] * 4
    # The heading of a table is not left behind at the foot of a page.
    kept = page.evaluate(
        "() => [...document.querySelectorAll('h3')].map((one) => getComputedStyle(one).breakAfter)"
    )
    assert kept and set(kept) == {"avoid"}
    page.close()
