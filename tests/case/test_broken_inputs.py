"""Every broken input gives one sentence, and the case that each of them breaks is good."""

import re
import time

import pytest
from broken_inputs import BROKEN, vessel_ball
from small_case import write_case, write_case_with_mesh

from needleplan.case.load import inspect_case, load_case
from needleplan.case.model import Severity
from needleplan.errors import CaseError


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("NEEDLEPLAN_DATA", raising=False)


@pytest.mark.parametrize("ending", ["", "stl", "ply", "obj", "vtp"])
def test_the_unbroken_case_is_good(tmp_path, ending):
    path = write_case_with_mesh(tmp_path, vessel_ball(), ending) if ending else write_case(tmp_path)
    report = inspect_case(path)
    assert report.case is not None and not report.refused
    assert {f.severity for f in report.findings} <= {Severity.NOTE}, report.findings


@pytest.mark.parametrize(("name", "build", "words"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_each_broken_input_gives_one_sentence(tmp_path, name, build, words):
    path = build(tmp_path)
    start = time.thread_time()
    with pytest.raises(CaseError) as caught:
        load_case(path)
    assert time.thread_time() - start < 5.0
    sentence = str(caught.value)
    assert re.search(words if "|" in words else re.escape(words), sentence), sentence
    assert "\n" not in sentence and len(sentence) < 700, sentence
    assert "Traceback" not in sentence and "pydantic" not in sentence


@pytest.mark.parametrize(("name", "build", "words"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_each_broken_input_is_reported_without_an_exception(tmp_path, name, build, words):
    report = inspect_case(build(tmp_path))
    assert report.case is None and report.refused
    assert any(
        re.search(words if "|" in words else re.escape(words), f"{f.message}; {f.remedy}") for f in report.refused
    )


def test_a_list_of_at_least_twenty_two():
    assert len(BROKEN) >= 22


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("version = 1", 'version = "1"', "version is '1'; it must be 1, a number without quotes"),
        ("version = 1", 'version = "one"', "version is 'one'; it must be 1, a number without quotes"),
        ("version = 1", "version = 2", "version is 2; it must be 1"),
        (
            'name = "small"',
            'nmae = "small"',
            "schema, situs, sources_from, structures, version (and 1 more mistake)",
        ),
        ('name = "small"', "nmae = 1\npositoin = 2", "(and 2 more mistakes)"),
    ],
)
def test_what_is_said_of_the_keys_at_the_head(tmp_path, old, new, told) -> None:
    path = write_case(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CaseError) as caught:
        load_case(path)
    assert str(caught.value).endswith(told)


def test_a_number_in_quotes_is_told_to_be_without_them(tmp_path) -> None:
    path = write_case(tmp_path)
    path.write_text(path.read_text().replace('role = "vessel"', 'role = "vessel"\nclearance_mm = "2.5"'))
    with pytest.raises(CaseError, match=r"clearance_mm is '2\.5'; it must be a number, without quotes$"):
        load_case(path)


@pytest.mark.parametrize("mark", ["\x07", "\x85", "\u2028", "\u2029", "\u061c", "\u200f", "\u202e", "\u2066"])
def test_a_name_that_would_turn_figures_round_or_end_a_line_is_refused(tmp_path, mark) -> None:
    path = write_case(tmp_path)
    path.write_text(path.read_text().replace('name = "small"', f'name = "small\\u{ord(mark):04x}er"'))
    with pytest.raises(CaseError, match="without control characters"):
        load_case(path)


def test_names_of_other_scripts_are_taken(tmp_path) -> None:
    path = write_case(tmp_path)
    path.write_text(path.read_text().replace('name = "small"', 'name = "کبد\u200cها Läsion 肝"'), encoding="utf-8")
    assert load_case(path).name == "کبد\u200cها Läsion 肝"
