"""What a plan folder keeps: bound to its patient and frame of reference, whole or not there, and naming nobody."""

import argparse
import gzip
import json
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from made_segmentations import masks, patient, write_folder
from small_case import write_case

from needleplan.app.cli import main
from needleplan.app.folder import PlanFolder
from needleplan.app.new_case_command import add_new_case, run_new_case
from needleplan.app.outputs import load_planned
from needleplan.app.plan_sheet import write_plan_sheet
from needleplan.app.report import write_report
from needleplan.case.load import load_case
from needleplan.errors import NeedleplanError, PlanFileError
from needleplan.io import bounded
from needleplan.io.plan_file import write_plan, write_text
from needleplan.io.plan_table import write_plan_csv
from needleplan.plan import Plan, PlanStatus, Provenance
from needleplan.viz.canvas import save_png

CANARY = "CANARY"
KEYS = ("ab" * 16, "cd" * 16)


def stated(path: Path, *lines: str) -> Path:
    """The manifest with further lines before its first table."""
    head = [line for line in path.read_text().splitlines() if not line.startswith(("patient_key", "frame_of"))]
    path.write_text("\n".join([*head[:4], *lines, *head[4:]]) + "\n")
    return path


def plan_folder(root: Path, manifest: Path, data: Path | None = None) -> PlanFolder:
    """A folder with an empty plan of a case."""
    case = load_case(manifest, data)
    folder = PlanFolder(root)
    root.mkdir(parents=True, exist_ok=True)
    made = Provenance("1", {}, 0, {})
    write_plan(
        folder.plan,
        Plan(case.name, case.content_hash, PlanStatus.INFEASIBLE, (), (), None, {}, 0, 0, None, made),
    )
    folder.write_source(manifest, data)
    return folder


def test_a_plan_of_another_patient_or_frame_is_refused_in_one_sentence(tmp_path) -> None:
    path = stated(write_case(tmp_path / "case"), f'patient_key = "{KEYS[0]}"', 'frame_of_reference_uid = "1.2.3"')
    folder = plan_folder(tmp_path / "plan", path)
    assert folder.load()[1].name == "small"
    for lines, words in (
        ((f'patient_key = "{KEYS[1]}"', 'frame_of_reference_uid = "1.2.3"'), "another patient"),
        ((f'patient_key = "{KEYS[0]}"', 'frame_of_reference_uid = "1.2.4"'), "another frame of reference"),
        ((f'patient_key = "{KEYS[0]}"',), "other content"),
        ((), "other content"),
    ):
        stated(path, *lines)
        with pytest.raises(PlanFileError, match=words) as refusal:
            folder.load()
        assert "\n" not in str(refusal.value)
        assert not any(key in str(refusal.value) for key in KEYS), "a key is no one's to read"


def test_folders_of_before_identities_and_with_absolute_data_still_load(tmp_path) -> None:
    path = write_case(tmp_path / "case")
    folder = plan_folder(tmp_path / "plan", path, tmp_path / "case")
    kept = json.loads((folder.root / "source.json").read_text())
    assert kept["case"] == "../case/case.toml" and kept["data"] == "../case"
    assert folder.load()[0].case_name == "small"
    old = {"schema": "needleplan.source", "case": str(path), "data": str(tmp_path / "case")}
    (folder.root / "source.json").write_text(json.dumps(old))
    assert folder.load()[0].case_name == "small"
    (folder.root / "source.json").write_text(json.dumps(old | {"identity": {"patient": 5}}))
    with pytest.raises(PlanFileError, match="identity"):
        folder.load()


def test_a_plan_folder_and_its_case_move_together(tmp_path) -> None:
    plan_folder(tmp_path / "here/plan", write_case(tmp_path / "here/case"), tmp_path / "here/case")
    (tmp_path / "here").rename(tmp_path / "there")
    assert PlanFolder(tmp_path / "there/plan").load()[0].case_name == "small"


@pytest.mark.parametrize("write", [lambda path: write_text(path, "new"), lambda path: save_png(path, _PIXELS)])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, write) -> None:
    path = tmp_path / "file.png"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(bounded.os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write(path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


_PIXELS = np.zeros((4, 4, 3), np.uint8)


def canary_segmentation(folder: Path) -> Path:
    """A segmentation with a patient's name in its folder, in headers, comments and a file's name."""
    few = ("liver", "liver_tumor", "spleen", "body_trunc", "rib_left_7", "rib_right_7", "aorta")
    source = write_folder(folder / f"{CANARY}^JANE", {name: masks()[name] for name in few})
    for file in source.glob("*.nii.gz"):
        image = nibabel.load(file)
        image.header["descrip"], image.header["aux_file"] = f"{CANARY} JANE".encode(), CANARY.encode()
        image.header["intent_name"] = CANARY.encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, f"of {CANARY}".encode()))
        data = np.asarray(image.dataobj)
        nibabel.save(nibabel.Nifti1Image(data, image.affine, image.header), file)
    grid = patient()[0]
    header = {
        "space": "left-posterior-superior", "space directions": grid.T_PV[:3, :3].T,
        "space origin": grid.T_PV[:3, 3], "space units": ["mm"] * 3, "PatientName": CANARY,
    }  # fmt: skip
    nrrd.write(str(source / "spleen.nrrd"), masks()["spleen"].astype(np.uint8), header)
    (source / "spleen.nii.gz").unlink()
    data = (source / "spleen.nrrd").read_bytes()
    (source / "spleen.nrrd").write_bytes(data.replace(b"\n", f"\n# {CANARY} was here\n".encode(), 1))
    (source / "liver_tumor.nii.gz").rename(source.parent / f"{CANARY}.nii.gz")
    return source


def everything(folder: Path) -> dict[str, bytes]:
    """Names and contents of all files, inflated."""
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: gzip.decompress(data) if name.endswith(".gz") else data for name, data in contents.items()}


@pytest.mark.long
def test_a_patients_name_in_headers_and_paths_is_in_no_output(tmp_path, capsys) -> None:
    source = canary_segmentation(tmp_path)
    target = source.parent / f"{CANARY}.nii.gz"
    parser = argparse.ArgumentParser()
    add_new_case(parser)
    words = [str(source), "--out", str(tmp_path / "made/case"), "--target", str(target), "--target-rank", "1"]
    assert run_new_case(parser.parse_args(words)) == 0
    quick = [
        "--aims",
        "6",
        "--entry-spacing-mm",
        "25",
        "--time-limit-s",
        "5",
        "--no-physics",
        "--scenarios",
        "0",
        "--no-pictures",
    ]
    assert main(["plan", str(tmp_path / "made/case/case.toml"), "--out", str(tmp_path / "made/plan"), *quick]) in (
        0,
        3,
    )
    planned = load_planned(PlanFolder(tmp_path / "made/plan"), None)
    write_report(tmp_path / "made/plan/report.html", anatomy=planned.anatomy, plan=planned.plan)
    write_plan_sheet(tmp_path / "made/plan/sheet.html", planned)
    write_plan_csv(tmp_path / "made/plan/plan.csv", planned.plan, planned.anatomy.case)
    files = everything(tmp_path / "made")
    assert {"plan/plan.json", "plan/source.json", "plan/report.html", "case/case.toml"} <= set(files)
    for name, content in files.items():
        assert CANARY.encode() not in name.encode() + content, name
    out, err = capsys.readouterr()
    assert CANARY not in out and CANARY not in err


def test_a_damaged_file_of_a_named_patient_is_refused_without_the_header(tmp_path) -> None:
    source = canary_segmentation(tmp_path)
    for file in sorted(source.glob("*.n*"))[:6]:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        with pytest.raises(NeedleplanError) as refusal:
            from needleplan.io.labels import read_labels

            read_labels(file)
        assert "JANE" not in str(refusal.value).replace(str(source), "")
        file.write_bytes(content)
