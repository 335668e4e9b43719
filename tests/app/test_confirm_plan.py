"""The plan beside an ablation that is confirmed: its figures, and plans of other patients, frames and tumours."""

import argparse
import dataclasses
import json

import numpy as np
import pytest

from needleplan.app import confirm_plan
from needleplan.app.confirm_command import add_confirm, run_confirm
from needleplan.app.confirm_inputs import ReadMask
from needleplan.app.folder import PlanFolder
from needleplan.case.load import load_case
from needleplan.errors import OptionError, PlanFileError
from needleplan.io.nifti import write_labels_nifti
from needleplan.io.plan_file import write_plan
from needleplan.plan import Metrics
from tests.confirmation.made_balls import ball, oblique_grid
from tests.sim.made_patient import make_anatomy, make_plan

CENTRE = np.array([-30.0, 22.0, 64.0])


def _write(path, mask):
    write_labels_nifti(path, mask.grid, mask.inside.astype(np.uint8))


def _run(folder, *arguments, tumour="tumour.nii.gz"):
    parser = argparse.ArgumentParser()
    add_confirm(parser)
    files = [str(folder / name) for name in (tumour, "zone.nii.gz", "out")]
    inputs = ["--tumour", files[0], "--zone", files[1], "--out", files[2]]
    return run_confirm(parser.parse_args([*inputs, *map(str, arguments)]))


def test_a_plan_stands_beside_what_was_achieved(capsys, tmp_path):
    bare = make_plan(make_anatomy())
    planned = Metrics(1.0, 0.99, 6.5, 3.0, 14.0, 5.0, 0.4)
    plan = dataclasses.replace(bare, metrics=planned)
    write_plan(tmp_path / "plan.json", plan)
    tip = np.asarray(plan.insertions[0].tip_mm)
    _write(tmp_path / "tumour.nii.gz", ball(tip, 8.0))
    _write(tmp_path / "zone.nii.gz", ball(tip, 15.0))
    assert _run(tmp_path, "--same-frame", "--plan", tmp_path, "--no-pictures") == 0
    assert "planned" in capsys.readouterr().out
    data = json.loads((tmp_path / "out" / "confirmation.json").read_text())
    assert data["planned"]["least_margin_mm"] == 6.5
    _write(tmp_path / "far.nii.gz", ball(tip + 300.0, 8.0))
    with pytest.raises(OptionError, match="another patient, tumour or frame"):
        _run(tmp_path, "--same-frame", "--plan", tmp_path, tumour="far.nii.gz")
    assert any("names no case" in note for note in data["notes"])


def test_a_plan_without_insertion_is_refused(tmp_path):
    plan = dataclasses.replace(make_plan(make_anatomy()), metrics=None)
    write_plan(tmp_path / "plan.json", plan)
    for name, radius in (("tumour", 8.0), ("zone", 15.0)):
        _write(tmp_path / f"{name}.nii.gz", ball(CENTRE, radius))
    with pytest.raises(OptionError, match="nothing to hold the outcome against"):
        _run(tmp_path, "--same-frame", "--plan", tmp_path, "--no-pictures")


def _planned_case(folder, *, target_mm, identity="", uid=None):
    """A case of a tumour in a ball of an organ, and a folder with a plan that says it is its own."""
    grid = oblique_grid(CENTRE, 60.0, (2.0, 2.0, 2.0))
    away = np.linalg.norm(grid.centres_mm() - CENTRE, axis=1)
    labels = (away < 55).astype(np.uint8)
    labels[away < 40] = 2
    labels[np.linalg.norm(grid.centres_mm() - target_mm, axis=1) < 8] = 3
    write_labels_nifti(folder / "labels.nii.gz", grid, labels.reshape(grid.shape))
    parts = (("skin", "skin", [1, 2, 3]), ("liver", "organ", [2, 3]), ("tumour", "target", [3]))
    structures = "".join(
        f'\n[[structures]]\nname = "{name}"\nrole = "{role}"\nsource = "labels.nii.gz"\nlabels = {numbers}\n'
        for name, role, numbers in parts
    )
    head = f'schema = "needleplan.case"\nversion = 1\nname = "made"\nposition = "supine"\n{identity}'
    (folder / "case.toml").write_text(head + structures)
    case = load_case(folder / "case.toml")
    bare = make_plan(make_anatomy())
    planned = Metrics(1.0, 0.99, 6.5, 3.0, 14.0, 5.0, 0.4)
    insertions = tuple(dataclasses.replace(one, order=k + 1) for k, one in enumerate(bare.insertions))
    plan = dataclasses.replace(
        bare, metrics=planned, insertions=insertions, case_hash=case.content_hash, case_name=case.name
    )
    (folder / "plan").mkdir()
    write_plan(folder / "plan" / "plan.json", plan)
    PlanFolder(folder / "plan").write_source(folder / "case.toml", None)
    tumour = ball(CENTRE, 8.0)
    return ReadMask(tumour, folder / "tumour.nii.gz", uid)


@pytest.fixture
def near_tips(monkeypatch):
    """Needle tips of the made plan lie elsewhere than these cases, which is told on its own."""
    monkeypatch.setattr(confirm_plan, "_TIPS_WITHIN_MM", 1e6)


def test_a_plan_of_another_target_is_refused(tmp_path, near_tips):
    tumour = _planned_case(tmp_path, target_mm=CENTRE + np.array([20.0, 0.0, 0.0]))
    with pytest.raises(OptionError, match=r"overlap to 0% \(Dice\), and their middles lie 20 mm apart"):
        confirm_plan.read_planned(tmp_path / "plan", tumour)


def test_a_plan_of_the_same_target_is_tied_by_its_place_alone_unless_more_is_stated(tmp_path, near_tips):
    tumour = _planned_case(tmp_path, target_mm=CENTRE + np.array([4.5, 0.0, 0.0]))
    figures, notes = confirm_plan.read_planned(tmp_path / "plan", tumour)
    assert 0.4 < figures["target_overlap"] < 0.7
    assert "overlap to" in notes[0] and "no patient's key or frame of reference in common" in notes[1]
    (tmp_path / "labels.nii.gz").unlink()
    figures, notes = confirm_plan.read_planned(tmp_path / "plan", tumour)
    assert figures["target_overlap"] is None and "case cannot be read" in notes[0]


def test_a_plan_of_another_patient_or_frame_is_refused(tmp_path, near_tips):
    key, uid = "0f" * 16, "1.2.840.1"
    stated = f'patient_key = "{key}"\nframe_of_reference_uid = "{uid}"\n'
    tumour = _planned_case(tmp_path, target_mm=CENTRE, identity=stated, uid=uid)
    figures, notes = confirm_plan.read_planned(tmp_path / "plan", tumour, None, key)
    assert figures["target_overlap"] > 0.9 and notes == ()
    with pytest.raises(OptionError, match="another patient than"):
        confirm_plan.read_planned(tmp_path / "plan", tumour, None, "1f" * 16)
    with pytest.raises(OptionError, match="another frame of reference than"):
        confirm_plan.read_planned(tmp_path / "plan", dataclasses.replace(tumour, frame_uid="1.2.840.2"))


def test_a_plan_that_was_edited_is_refused(tmp_path, near_tips):
    tumour = _planned_case(tmp_path, target_mm=CENTRE)
    path = tmp_path / "plan" / "plan.json"
    path.write_text(path.read_text().replace('"minimal_margin_mm": 6.5', '"minimal_margin_mm": 9.5'))
    with pytest.raises(PlanFileError, match="not the one that was written here"):
        confirm_plan.read_planned(tmp_path / "plan", tumour)
