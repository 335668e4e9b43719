"""Every case of the validation list, run on the library's own solvers, lies within its tolerance."""

import math
from pathlib import Path

import pytest
from validation.case import cases, references
from validation.page import page_rows

CASES = cases()
CLOSED = [case for case in CASES.values() if case.family in "HEDCLMN" and case.id != "E08"]
PUBLISHED = [case for case in CASES.values() if case.family in "PS" or case.id == "E08"]
PAGE = page_rows((Path(__file__).parents[3] / "docs" / "validation.md").read_text(encoding="utf-8"))


def params(some):
    return [pytest.param(case, id=case.id, marks=[pytest.mark.long] if case.is_long else []) for case in some]


def test_every_case_of_the_list_is_there_with_its_source():
    assert len(references()) == 66
    assert set(references()) <= set(CASES)
    assert all(case.source.strip() and case.title.strip() for case in CASES.values())


@pytest.mark.long
@pytest.mark.parametrize("case", params(CLOSED))
def test_a_closed_form_or_law_is_met(case):
    checks = case.run().checks
    assert checks
    missed = [f"{check.quantity}: {check.ours} for {check.expected}" for check in checks if not check.passes]
    assert not missed


@pytest.mark.long
@pytest.mark.parametrize("case", params(PUBLISHED))
def test_a_published_case_gives_numbers_and_says_what_it_misses(case):
    outcome = case.run()
    assert all(math.isfinite(check.ours) for check in outcome.checks)
    assert outcome.remark.strip()
    # What misses is on the page as a miss, and nothing else.
    missed = [check.quantity for check in outcome.checks if not check.passes]
    assert missed == [quantity for quantity, row in PAGE[case.id].items() if row[-1] == "**misses**"]
