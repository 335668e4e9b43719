"""What stands in the folder of a study is the study's, or is refused with the file that is not."""

import json
from dataclasses import replace

import pytest
from made_study import made_study, work

from needleplan.app.study import engine
from needleplan.app.study.engine import run_study
from needleplan.app.study.seeds import case_seed
from needleplan.app.study.study import Cell, Row, Times
from needleplan.app.study.study_folder import StudyFolder
from needleplan.errors import OptionError, PlanFileError


@pytest.fixture
def finished(tmp_path):
    """(study, folder) with a row for every cell and no table yet."""
    study, folder = made_study(2, 2, tmp_path / "log"), StudyFolder(tmp_path / "out")
    folder.root.mkdir()
    folder.open(study, engine.software_versions(), False)
    for case in study.cases:
        for cell in study.cells:
            factors = Row.factors_of(case, cell, case_seed(study.seed, case), "0" * 64)
            folder.write_cell(Row(**factors, status="complete"), Times(case.name, cell.name))
    return study, folder


def resume(study, folder):
    return run_study(study, folder.root, resume=True, work=work)


def test_sound_rows_make_tables_without_any_worker(finished):
    study, folder = finished
    assert resume(study, folder).kept == 4 and folder.results.is_file()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"device": "other"}, "device is 'other', where the study has 'generic-mwa-2450'"),
        ({"margin_mm": 7.0}, r"margin_mm is 7.0, where the study has 0.0"),
        ({"power_w": 60.0}, "power_w is 60.0, where the study has None"),
        ({"breathing": "deep"}, "breathing is 'deep'"),
        ({"breathing_peak_mm": 3.0}, "breathing_peak_mm is 3.0"),
        ({"robot": "needle_arm7"}, "robot is 'needle_arm7'"),
        ({"phantom": True}, "phantom is True"),
        ({"seed": 1}, "seed is 1, where the study has"),
        ({"insertions": 10**22}, "row.insertions has a value of the wrong type: 1000000"),
        ({"status": "splendid"}, "status is 'splendid', and must be one of complete, partial, infeasible, failed"),
        ({"reason": "\ud800"}, "cut inside a letter"),
        ({"case": "another"}, "it is the file of another cell"),
    ],
)
def test_a_row_that_is_not_of_its_cell_is_refused_before_anything_is_written(finished, changed, message):
    study, folder = finished
    path = folder.row_file(study.cases[1].name, study.cells[0].name)
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(whole | {"row": whole["row"] | changed}), encoding="utf-8")
    with pytest.raises(PlanFileError, match=message) as caught:
        resume(study, folder)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("remove it and resume the study")
    assert not folder.results.exists() and not folder.times.exists()
    with pytest.raises(PlanFileError, match=message):
        folder.write_tables(study)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "needleplan.study_row", "version": 1}'])
def test_a_damaged_row_is_told_with_its_file(finished, text):
    study, folder = finished
    path = folder.row_file(study.cases[0].name, study.cells[1].name)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PlanFileError, match="remove it and resume the study") as caught:
        resume(study, folder)
    assert str(caught.value).startswith(str(path))


def test_a_robot_under_another_name_is_the_same_robot(finished):
    study, folder = finished
    case = study.cases[0]
    cell = Cell(robot="/one/own.toml", robot_hash="ab" * 32)
    seed = case_seed(study.seed, case)
    folder.write_cell(Row.failed(case, cell, seed, "none"), Times(case.name, cell.name))
    renamed = replace(cell, robot="/two/mine.toml")
    assert renamed.name == cell.name and folder.row_of(case, renamed, study.seed).robot == "own.toml abababab"


def test_a_folder_in_the_place_of_a_row_is_told(finished):
    study, folder = finished
    path = folder.row_file(study.cases[0].name, study.cells[0].name)
    path.unlink()
    path.mkdir()
    with pytest.raises(PlanFileError, match=f"{path}: what stands there is no file of a finished cell: remove it"):
        resume(study, folder)


def test_a_study_under_another_name_is_refused(finished):
    study, folder = finished
    with pytest.raises(OptionError, match="was begun as the study 'made', not 'other': give it that name again"):
        resume(replace(study, name="other"), folder)
    assert not folder.results.exists()


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with (
        pytest.raises(OptionError, match=r"out is a file, and results go into a folder"),
        StudyFolder(tmp_path / "out").locked(),
    ):
        pass
    with (
        pytest.raises(OptionError, match=r"no folder can be made there \(Not a directory\)"),
        StudyFolder(tmp_path / "out" / "below").locked(),
    ):
        pass
