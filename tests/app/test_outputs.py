"""A report and its pictures are written together: what is refused leaves both as they were."""

import dataclasses

import numpy as np
import pytest
from made_outcomes import outcome
from page.planned_patient import planned_patient

from needleplan.app import outputs
from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import write_report_again
from needleplan.errors import NeedleplanError, OptionError, PlanFileError
from needleplan.io.plan_file import write_json, write_outcome, write_plan
from needleplan.viz.canvas import Picture

REPORT = "the report of before"


@pytest.fixture
def folder(tmp_path):
    made = PlanFolder(tmp_path / "plan")
    made.root.mkdir()
    made.report.write_text(REPORT)
    return made


def refused(folder, planned, why: type[NeedleplanError], words: str) -> None:
    write_plan(folder.plan, planned.plan)
    with pytest.raises(why, match=words) as refusal:
        write_report_again(folder, planned)
    assert "\n" not in str(refusal.value)
    assert folder.report.read_text() == REPORT and not folder.pictures.exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("coverage.levels", None, "option coverage.levels"),
        ("weights.length", "much", "option weights.length"),
        ("sampling.entry_spacing_mm", "x", "option sampling.entry_spacing_mm"),
        ("coverage.point_count", 0, "at least 1"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_written(folder, name, value, words):
    planned = planned_patient()
    made = dataclasses.replace(planned.plan.provenance, options={name: value})
    refused(
        folder,
        dataclasses.replace(planned, plan=dataclasses.replace(planned.plan, provenance=made)),
        OptionError,
        words,
    )


def test_a_damaged_route_is_refused_before_anything_is_written(folder):
    damaged = {"robot": "needle_arm7", "base_in_world": "here", "insertions": []}
    write_json(folder.route, damaged)
    refused(folder, planned_patient(), PlanFileError, "the route is damaged")


def test_the_rehearsal_of_another_case_is_refused_before_anything_is_written(folder):
    write_outcome(folder.outcome, outcome())
    refused(folder, planned_patient(), PlanFileError, "belongs to another case")


def test_pictures_are_written_once_the_report_is(folder, monkeypatch):
    def fails(*arguments, **named):
        raise OSError("no space left")

    planned = planned_patient()
    write_plan(folder.plan, planned.plan)
    drawn = Picture("patient", "", "", np.zeros((2, 2, 3), dtype=np.uint8))
    monkeypatch.setattr(outputs, "draw_plan_pictures", lambda *arguments, **named: ((drawn,), ()))
    monkeypatch.setattr(outputs, "build_scene", lambda *arguments, **named: {})
    monkeypatch.setattr(Picture, "save", lambda picture, where: pytest.fail("a picture was written before"))
    monkeypatch.setattr(outputs, "write_report", fails)
    with pytest.raises(OSError, match="no space"):
        write_report_again(folder, planned)
    assert not folder.pictures.exists()
