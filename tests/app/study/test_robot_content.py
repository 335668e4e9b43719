"""Robots of one's own in studies: known by what they are, wherever their files lie."""

import shutil
from dataclasses import replace

import pytest
from made_study import made_study, work

from needleplan.app.study.engine import run_study
from needleplan.app.study.robot_content import require_robot, robot_content, with_robot_content
from needleplan.app.study.study import Cell, Row, StudyCase
from needleplan.errors import NeedleplanError, OptionError
from needleplan.io.study_table import read_rows
from robots.catalogue import DESCRIPTIONS


def copied(folder, name="needle_arm7"):
    """The TOML of a robot that lies in a folder of its own."""
    folder.mkdir()
    for suffix in ("toml", "urdf"):
        shutil.copy(DESCRIPTIONS / f"{name}.{suffix}", folder)
    return folder / f"{name}.toml"


def test_a_cell_and_a_study_are_the_same_wherever_the_robot_lies_and_others_once_its_files_change(tmp_path):
    study = made_study(1, 1, tmp_path / "log")
    here, there = copied(tmp_path / "here"), copied(tmp_path / "there")
    found = [with_robot_content([Cell(robot=str(path))])[0] for path in (here, there)]
    digests = [replace(study, cells=(cell,)).digest() for cell in found]
    assert found[0].name == found[1].name and digests[0] == digests[1]
    assert found[0].name not in (Cell(robot="needle_arm7").name, Cell().name)
    row = Row.failed(StudyCase("a"), found[0], 1, "none")
    assert row.robot == found[1].robot_label == f"needle_arm7.toml {found[0].robot_hash[:8]}"
    require_robot(found[0])
    for suffix in ("toml", "urdf"):
        path = here.with_suffix(f".{suffix}")
        before = path.read_text(encoding="utf-8")
        path.write_text(f"{before}\n", encoding="utf-8")
        assert with_robot_content([found[0]])[0].name != found[1].name
        with pytest.raises(OptionError, match="not those of the study"):
            require_robot(found[0])
        path.write_text(before, encoding="utf-8")
    assert robot_content(here) == robot_content(there)


def test_meshes_of_links_are_part_of_a_robot(tmp_path):
    path = copied(tmp_path / "arm")
    corners = ("0 0 0", "0.1 0 0", "0 0.1 0", "0 0 0.1")
    mesh = "".join(f"v {each}\n" for each in corners) + "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    (path.parent / "part.obj").write_text(mesh, encoding="utf-8")
    urdf = path.with_suffix(".urdf")
    text = urdf.read_text(encoding="utf-8")
    begin = text.index("<visual>")
    place = text.index("<geometry>", begin), text.index("</geometry>", begin)
    urdf.write_text(f'{text[: place[0]]}<geometry><mesh filename="part.obj"/>{text[place[1] :]}', encoding="utf-8")
    before = robot_content(path)
    (path.parent / "part.obj").write_text(mesh.replace("0 0 0.1", "0 0 0.2"), encoding="utf-8")
    assert robot_content(path) != before


def test_the_same_robot_twice_and_one_that_is_missing_are_refused(tmp_path):
    here, there = copied(tmp_path / "here"), copied(tmp_path / "there")
    with pytest.raises(OptionError, match="the same in content"):
        with_robot_content([Cell(robot=str(here)), Cell(robot=str(there))])
    with pytest.raises(NeedleplanError):
        with_robot_content([Cell(robot=str(tmp_path / "none.toml"))])


@pytest.mark.long
def test_a_study_resumes_where_its_robot_was_moved_and_not_where_it_was_changed(tmp_path):
    here, there = copied(tmp_path / "here"), copied(tmp_path / "there")
    study = replace(made_study(1, 1, tmp_path / "log"), cells=(Cell(robot=str(here)),))
    run_study(study, tmp_path / "out", workers=1, work=work)
    moved = replace(study, cells=(Cell(robot=str(there)),))
    assert run_study(moved, tmp_path / "out", workers=1, resume=True, work=work).computed == 0
    assert str(tmp_path) not in (tmp_path / "out" / "study.json").read_text(encoding="utf-8")
    assert read_rows(tmp_path / "out" / "results.parquet")[0].robot.startswith("needle_arm7.toml ")
    there.write_text(there.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(OptionError, match="other cases, factors"):
        run_study(moved, tmp_path / "out", workers=1, resume=True, work=work)
