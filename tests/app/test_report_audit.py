"""The audit trail: the digests are those of the files, and no path or file name leaks."""

import hashlib

import pytest

from needleplan.app.folder import PlanFolder
from needleplan.app.report_audit import Input, audit_section, command_words, plan_inputs
from needleplan.io.plan_file import plan_hash, write_plan
from tests.sim.made_patient import make_anatomy, make_plan

MANIFEST = """
schema = "needleplan.case"
version = 1
name = "case"
position = "supine"
sources_from = "manifest"
[[structures]]
name = "skin"
role = "skin"
source = "outside.nii.gz"
labels = [1]
[[structures]]
name = "tumour"
role = "target"
source = "JANE^DOE.nii.gz"
labels = [1]
[[structures]]
name = "liver"
role = "organ"
source = "JANE^DOE.nii.gz"
labels = [2]
"""


@pytest.fixture
def folder(tmp_path):
    case = tmp_path / "case"
    case.mkdir()
    (case / "case.toml").write_text(MANIFEST)
    (case / "JANE^DOE.nii.gz").write_bytes(b"some labels")
    (case / "outside.nii.gz").write_bytes(b"others")
    made = PlanFolder(tmp_path / "plan")
    made.root.mkdir()
    write_plan(made.plan, make_plan(make_anatomy()))
    made.write_source(case / "case.toml", None)
    return made


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_digests_are_those_of_the_files(folder):
    found = {one.what: one.digest for one in plan_inputs(folder)}
    case = folder.root.parent / "case"
    assert found == {
        "plan.json": digest(folder.plan),
        "the manifest of the case": digest(case / "case.toml"),
        "the file of skin": digest(case / "outside.nii.gz"),
        "the file of tumour, liver": digest(case / "JANE^DOE.nii.gz"),
    }
    assert "JANE" not in audit_section(make_plan(make_anatomy()), plan_inputs(folder))


def test_what_cannot_be_read_is_said(folder):
    (folder.root.parent / "case" / "JANE^DOE.nii.gz").unlink()
    assert plan_inputs(folder)[-1] == Input("the file of tumour, liver", "cannot be read now")
    (folder.root.parent / "case" / "case.toml").unlink()
    assert plan_inputs(folder)[-1] == Input("the files of the case", "cannot be read now")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("/home/jane/bin/needleplan report smith_john", "report …"),
        ("needleplan report ./smith_john/", "report …"),
        ("needleplan report report", "report …"),
        ("needleplan demo --out out/jane --seed 3", "demo --out … --seed 3"),
        ("needleplan plan jane.toml --out=jane --seed 3 --no-pictures", "plan … --out=… --seed 3 --no-pictures"),
        ("needleplan plan jane --preset liver --robot arms/jane.toml", "plan … --preset liver --robot …"),
        ("needleplan plan jane --preset=jane.toml --clearance vessel=3", "plan … --preset=… --clearance vessel=3"),
        ("needleplan plan jane --gantry-at-mm -600", "plan … --gantry-at-mm -600"),
        ("needleplan plan --zones-csv jane --applicators-csv doe x", "plan --zones-csv … --applicators-csv … …"),
        ("needleplan simulate jane --robot needle_arm7 --trace doe", "simulate … --robot needle_arm7 --trace …"),
        ("/a/needleplan/__main__.py demo", "demo"),
    ],
)
def test_a_command_holds_no_name_of_a_file_or_folder(arguments, told):
    assert command_words(arguments.split()) == f"needleplan {told}"


@pytest.mark.parametrize("arguments", [[], [""], ["/home/jane/smith.py", "plan"], ["/usr/bin/pytest", "jane"]])
def test_another_program_is_not_told(arguments):
    assert command_words(arguments) == ""


def test_versions_and_hashes_stand_in_the_section():
    plan = make_plan(make_anatomy())
    text = audit_section(plan, [Input("<b>", "ab")], "needleplan plan")
    for words in (plan.case_hash, plan_hash(plan), "numpy", "vtk", "python", "&lt;b&gt;", "needleplan plan"):
        assert words in text, words
