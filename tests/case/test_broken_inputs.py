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
    start = time.perf_counter()
    with pytest.raises(CaseError) as caught:
        load_case(path)
    assert time.perf_counter() - start < 5.0
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
