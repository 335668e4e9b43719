"""Reasons of rows: one plain line that tells no folder, which may be called after a patient or a user."""

from pathlib import Path

import pytest

from needleplan.app.study.reason_text import is_plain, plain_reason
from needleplan.app.study.study import Cell, Row, StudyCase

HOME = "/home/erika/Erika Muster"
CASE = StudyCase("a", manifest=Path(HOME, "cs/case.toml"), data=Path(HOME))
CELL = Cell(robot="/home/erika/my robots/own.toml", robot_hash="ab" * 32)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"structure 'skin': {HOME}/cs/l/labels.nii.gz: cut", "structure 'skin': l/labels.nii.gz: cut"),
        (f"{HOME}/cs/case.toml: no TOML", "case.toml: no TOML"),
        (f"{HOME}/ct.nii: cut", "ct.nii: cut"),
        (f"leads outside {HOME}/cs through a link", "leads outside the case's folder through a link"),
        (f"{HOME}: not there", "the data folder: not there"),
        ("/home/erika/my robots/own.toml: no arm", "own.toml: no arm"),
        ("OSError: [Errno 2] No file: '/home/erika/other one/x y.csv'", "OSError: [Errno 2] No file: '…/x y.csv'"),
        ("no room in /mnt/erika/z for /y/x", "no room in …/z for …/x"),
        ("https://example.org/erika/x, 3 mm/s and/or 1 / 2", "https://example.org/erika/x, 3 mm/s and/or 1 / 2"),
        ("two\nlines\tof \x1b[31mred\x00 and \u202eturned", "two lines of \ufffd[31mred\ufffd and \ufffdturned"),
    ],
)
def test_a_reason_tells_files_and_no_folders_in_plain_letters(text, told):
    assert plain_reason(text, CASE, CELL) == told and is_plain(told)
    assert Row.failed(CASE, CELL, 1, text).reason == told


def test_an_error_without_words_has_a_reason_all_the_same():
    assert Row.failed(CASE, CELL, 1, " \n").reason == "no reason is told"


def test_a_folder_of_a_relative_path_is_no_word_of_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = StudyCase("a", manifest=Path("skin/case.toml"))
    told = plain_reason(f"skin: {tmp_path}/skin/labels.nii.gz is no image, nor is skin/case.toml", case, Cell())
    assert told == "skin: labels.nii.gz is no image, nor is case.toml"
    assert plain_reason("a. b", StudyCase("a", manifest=Path("case.toml")), Cell()) == "a. b"
