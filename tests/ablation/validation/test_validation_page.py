"""The page in docs was generated, names every case, and its numbers are those of a fresh run."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from validation.case import Outcome, absolute, between, cases, measured, relative
from validation.page import page, page_rows
from validation.run import Result, run

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "validation.md").read_text(encoding="utf-8")
ROWS = page_rows(TEXT)
#: Cases that take a fraction of a second.
QUICK = (
    "H09",
    "H11",
    "H12",
    "E01",
    "E07",
    "D01",
    "D02",
    "D03",
    "D04",
    "D05",
    "D06",
    "D07",
    "D08",
    "C03",
    "L01",
    "L02",
)
QUICK += ("M01", "M02", "N01", "N02")


def test_the_page_names_every_case_and_no_other():
    assert set(ROWS) == set(cases())


@pytest.mark.parametrize("identifier", QUICK)
def test_a_fresh_run_gives_the_numbers_on_the_page(identifier):
    checks = cases()[identifier].run().checks
    assert list(ROWS[identifier]) == [check.quantity for check in checks]
    for check in checks:
        expected, ours, _, tolerance, verdict = ROWS[identifier][check.quantity]
        # Single precision in another order of sums: a small part of the tolerance.
        slack = 1e-3 * abs(check.ours)
        if math.isfinite(check.high - check.low):
            slack = max(slack, 0.05 * (check.high - check.low))
        assert float(ours) == pytest.approx(check.ours, abs=slack)
        assert tolerance == check.tolerance
        assert verdict == "within"
        if expected:
            assert float(expected.split(" ")[0]) == pytest.approx(check.expected, rel=1e-4, abs=1e-12)


def test_the_pictures_of_the_page_exist():
    names = {line.split("(pictures/")[1].rstrip(")") for line in TEXT.splitlines() if line.startswith("![")}
    assert len(names) == 5
    assert all((DOCS / "pictures" / name).stat().st_size > 10_000 for name in names)


def test_the_page_says_what_misses():
    missing = [row for table in ROWS.values() for row in table.values() if row[-1] == "**misses**"]
    summary = TEXT.split("## What misses")[1].split("\n## ")[0]
    assert summary.count("- **") == sum(
        any(row[-1] == "**misses**" for row in table.values()) for table in ROWS.values()
    )
    assert missing or "Nothing." in summary


def test_a_miss_is_called_a_miss():
    case = cases()["M02"]
    outcome = Outcome(
        [
            relative("share", 1.0, 1.03, 0.02),
            absolute("length", 10.0, 10.1, 0.2, "mm", 3.0),
            between("order", 1.5, 1.8, 2.2, 2.0),
            measured("volume", 5.0, 9.0, 1.0),
        ],
        "Because of the wind.",
    )
    text = page([Result(case, outcome, 60.0)])
    rows = page_rows(text)["M02"]
    assert [row[-1] for row in rows.values()] == ["**misses**", "within", "**misses**", "shown"]
    assert rows["length"][0] == "10 ± 3"
    assert rows["share"][2] == "+3 %"
    assert "misses 2 of 4" in text
    assert "Because of the wind." in text.split("## What misses")[1].split("\n## ")[0]


def test_a_number_that_is_none_is_a_miss():
    assert not relative("share", 1.0, float("nan"), 0.5).passes
    assert not between("share", float("nan"), 0.0).passes


def test_a_case_without_numbers_is_not_computed():
    (result,) = run([cases()["S07"]])
    assert result.verdict == "not computed"
    assert "Not computable" in page([result])


def test_some_cases_run_from_the_command_line_but_a_page_needs_all():
    root = DOCS.parent

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "validation", *arguments],
            cwd=root / "benchmarks", capture_output=True, text=True, check=False,
        )  # fmt: skip

    some = command("--only", "D05", "S06")
    assert some.returncode == 0
    assert "D05" in some.stderr and "not computed" in some.stderr and "H01" not in some.stderr
    refused = command("--only", "D05", "--page", "page.md")
    assert refused.returncode == 2
    assert "all cases" in refused.stderr
