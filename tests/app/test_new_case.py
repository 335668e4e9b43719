"""From segmentations as other programs write them to a checked case."""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
from made_segmentations import exclusive, masks, patient, write_folder, write_multilabel

from needleplan.app.new_case_command import add_new_case, run_new_case
from needleplan.case.load import inspect_case, load_case
from needleplan.case.model import Role
from needleplan.errors import CaseError, NeedleplanError, OptionError
from needleplan.grid import Grid, VoxelMask
from needleplan.io.dicom.reference import made_reference
from needleplan.io.dicom.segmentation_writer import NamedMask, write_segmentation
from needleplan.io.frame import FileUnit
from needleplan.io.labels import read_labels
from needleplan.io.nifti import write_labels_nifti

EXAMPLE = (
    Path(os.environ.get("NEEDLEPLAN_DATA", "")) / "totalsegmentator-example/example_seg_fast_force_split.nii.gz"
)


def new_case(source: Path, out: Path, *words: str, target: str = "liver_tumor") -> int:
    parser = argparse.ArgumentParser()
    add_new_case(parser)
    return run_new_case(parser.parse_args([str(source), "--out", str(out), "--target", target, *words]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("segmentation"))


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "case"
    assert new_case(folder, out, "--target-rank", "1") == 0
    return out / "case.toml"


def test_one_command_makes_a_case_that_passes_its_checks(made) -> None:
    report = inspect_case(made)
    assert report.case is not None and not report.refused
    roles = {structure.name: structure.role for structure in report.case.structures}
    assert roles["liver_tumor"] is Role.TARGET and roles["liver_tumor_others"] is Role.NO_GO
    assert roles["liver"] is Role.ORGAN and roles["body"] is Role.SKIN
    assert {roles[name] for name in ("ribs", "sternum", "costal_cartilages", "vertebrae")} == {Role.BONE}
    vessels = ("aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein", "liver_vessels")
    assert {roles[name] for name in vessels} == {Role.VESSEL}
    assert {roles[name] for name in ("stomach", "colon")} == {Role.BOWEL}
    assert {roles[name] for name in ("lung_left", "lung_right")} == {Role.LUNG}
    assert {roles[name] for name in ("spleen", "kidney_left", "kidney_right", "gallbladder", "heart")} == {
        Role.CRITICAL
    }
    assert "esophagus" not in roles and "autochthon_left" not in roles


def test_every_voxel_lies_where_it_lay_and_cut_sides_stay_cut(made) -> None:
    grid = patient()[0]
    case = load_case(made)
    expected = {name: [name] for name in ("spleen", "aorta", "stomach")}
    expected |= {
        "ribs": ["rib_left_7", "rib_right_7"],
        "body": ["body_trunc"],
        "lung_left": ["lung_lower_lobe_left"],
    }
    expected["liver"] = ["liver", "liver_vessels"]
    where = masks()
    for name, classes in expected.items():
        inside = np.any([where[each] for each in classes], axis=0)
        mask = next(s for s in case.structures if s.name == name).geometry
        got = mask.grid.to_patient(np.argwhere(mask.inside))
        if name == "liver":
            inside |= (
                next(s for s in case.structures if s.role is Role.TARGET)
                .geometry.contains(grid.centres_mm())
                .reshape(grid.shape)
            )
        want = grid.to_patient(np.argwhere(inside))
        assert got.shape == want.shape, name
        order = [np.lexsort(np.round(points, 2).T) for points in (got, want)]
        assert np.abs(got[order[0]] - want[order[1]]).max() < 1e-4, name
        touches = [[bool(np.take(inside, end, axis=axis).any()) for end in (0, -1)] for axis in range(3)]
        assert [list(sides) for sides in mask.cut_sides] == touches, name


def test_what_is_left_out_and_why_is_told_in_the_manifest_and_on_the_screen(folder, tmp_path, capsys) -> None:
    assert new_case(folder, tmp_path / "case", "--target-rank", "1", "--leave-out", "gallbladder") == 0
    said = capsys.readouterr().out
    text = (tmp_path / "case/case.toml").read_text()
    for words in (
        "needles pass through muscle: autochthon_left",
        "empty, as the image does not show it: esophagus",
        "classes: rib_left_7, rib_right_7",
    ):
        assert words in text
    assert "not used, needles pass through muscle: autochthon_left" in said
    assert "The target lies in liver" in said
    assert "gallbladder" not in {structure.name for structure in load_case(tmp_path / "case/case.toml").structures}


def test_names_decide_and_never_numbers(folder, made, tmp_path) -> None:
    """The header's table numbers the classes as no program does; the case has the same structures all the same."""
    file = write_multilabel(tmp_path / "all.nii.gz")
    words = ("--entry-from", "liver", "--target-rank", "1")
    assert new_case(file, tmp_path / "table", *words) == 0
    names, values = exclusive()
    write_labels_nifti(tmp_path / "bare/map.nii.gz", patient()[0], values)
    for style, table in (
        ("numbers", {"labels": {"0": "background"} | {str(k): v for k, v in names.items()}}),
        ("names", {"name": "x", "labels": {"background": 0} | {v: k for k, v in names.items()}}),
        (
            "bundle",
            {"network_data_format": {"outputs": {"pred": {"channel_def": {str(k): v for k, v in names.items()}}}}},
        ),
    ):
        (tmp_path / "bare/dataset.json").write_text(json.dumps(table))
        assert new_case(tmp_path / "bare", tmp_path / style, *words) == 0
        assert (
            load_case(tmp_path / style / "case.toml").content_hash
            == load_case(tmp_path / "table/case.toml").content_hash
        )
    one, many = load_case(tmp_path / "table/case.toml"), load_case(made)
    for structure in one.structures:
        other = next(s for s in many.structures if s.name == structure.name)
        assert np.array_equal(structure.geometry.inside, other.geometry.inside), structure.name


def test_a_target_of_its_own_file_finds_its_organ_and_other_organs_are_avoided(folder, tmp_path, capsys) -> None:
    grid = patient()[0]
    kidney = masks()["kidney_left"]
    middle = grid.to_patient(np.argwhere(kidney).mean(axis=0))
    ball = (np.linalg.norm(grid.centres_mm() - middle, axis=1) < 12).reshape(grid.shape) & kidney
    write_labels_nifti(tmp_path / "mine.nii.gz", grid, ball.astype(np.uint8))
    words = ("--target-rank", "1", "--leave-out", "liver_tumor")
    assert new_case(folder, tmp_path / "case", *words, target=str(tmp_path / "mine.nii.gz")) == 0
    case = load_case(tmp_path / "case/case.toml")
    roles = {structure.name: structure.role for structure in case.structures}
    assert roles["kidney_left"] is Role.ORGAN and roles["liver"] is Role.CRITICAL and case.target.name == "tumour"


def test_a_dry_run_writes_nothing(folder, tmp_path, capsys) -> None:
    assert new_case(folder, tmp_path / "case", "--dry-run") == 0
    assert not (tmp_path / "case").exists()
    assert "nothing was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target", "liver_tumour"), "spelt like it are liver_tumor"),
        (("--target", "esophagus"), "is empty"),
        (("--role", "spleen=target"), "name it by --target spleen"),
        (("--role", "spleen=liver"), "must be NAME=ROLE"),
        (("--role", "spline=bone"), "no class 'spline'"),
        (("--inside-of", "lever"), "no structure 'lever'"),
        (("--target-rank", "0"), "must be 1 or more"),
        (("--target-rank", "9"), "component of rank 9"),
        (("--entry-from", "liver"), "leave it out, or the body"),
        (("--leave-out", "body_trunc"), "no body"),
        (("--leave-out", "body_trunc", "--entry-from", "lever"), "no structure 'lever'"),
        (("--entry-grow-mm", "nan"), "between 0 and 300"),
        (("--patient-key", "Canary Jane"), "--patient-key must be .* no name or number"),
        (("--frame-of-reference", "1..2"), "--frame-of-reference must be a DICOM UID"),
        (("--name", "a\nb Canary"), "--name must be"),
        (("--name", "x" * 81), "--name must be"),
        (("--leave-out", "spline"), "--leave-out: there is no class 'spline' .* spelt like it are spleen"),
    ],
)
def test_impossible_wishes_are_refused_in_one_sentence_and_leave_nothing(folder, tmp_path, words, said) -> None:
    with pytest.raises(NeedleplanError, match=said) as refusal:
        new_case(folder, tmp_path / "case", *words)
    assert "\n" not in str(refusal.value) and "Canary" not in str(refusal.value)
    assert "unfinished" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_unknown_classes_are_never_guessed(tmp_path) -> None:
    chosen = masks()
    chosen["left_kidney_thing"] = chosen.pop("kidney_left")
    source = write_folder(tmp_path / "in", chosen)
    with pytest.raises(CaseError, match=r"'left_kidney_thing' .spelt like .*kidney_left") as refusal:
        new_case(source, tmp_path / "case")
    assert "right" not in str(refusal.value), "the other side must never be proposed"
    assert new_case(source, tmp_path / "case", "--role", "left_kidney_thing=no_go", "--target-rank", "1") == 0
    made = load_case(tmp_path / "case/case.toml")
    assert next(s for s in made.structures if s.name == "left_kidney_thing").role is Role.NO_GO


@pytest.mark.parametrize("flip", [(-1, 1, 1), (-1, -1, 1), (1, 1, -1)])
def test_a_mirrored_or_overturned_segmentation_is_refused(tmp_path, flip) -> None:
    grid = patient()[0]
    mirrored = Grid(grid.shape, np.diag([*flip, 1.0]) @ grid.T_PV)
    source = write_folder(tmp_path / "in", None, mirrored)
    with pytest.raises(CaseError, match=r"where it belongs|upside down"):
        new_case(source, tmp_path / "case")


def test_a_second_tumour_is_not_taken_for_the_target_unseen(folder, tmp_path) -> None:
    grid = patient()[0]
    write_labels_nifti(tmp_path / "mine.nii.gz", grid, masks()["liver_tumor"].astype(np.uint8))
    with pytest.raises(CaseError, match="name it by --target liver_tumor"):
        new_case(folder, tmp_path / "case", target=str(tmp_path / "mine.nii.gz"))


def test_an_unnamed_label_a_doubled_class_and_two_tables_are_refused(tmp_path) -> None:
    names, values = exclusive()
    lacking = dict(list(names.items())[1:])
    with pytest.raises(CaseError, match="has no name"):
        new_case(write_multilabel(tmp_path / "a.nii.gz", names=lacking), tmp_path / "case")
    source = write_folder(tmp_path / "in")
    write_labels_nifti(source / "liver.nii", patient()[0], masks()["liver"].astype(np.uint8))
    with pytest.raises(CaseError, match=r"class 'liver' is in liver.nii"):
        new_case(source, tmp_path / "case")
    (tmp_path / "labels.json").write_text(json.dumps({"labels": {str(list(names)[1]): "something else"}}))
    with pytest.raises(CaseError, match="in the file and 'something else'"):
        new_case(tmp_path / "a.nii.gz", tmp_path / "case", "--labels", str(tmp_path / "labels.json"))
    write_labels_nifti(tmp_path / "bare.nii.gz", patient()[0], values)
    with pytest.raises(CaseError, match="no names of them"):
        new_case(tmp_path / "bare.nii.gz", tmp_path / "case")


def test_no_folder_is_overwritten(folder, tmp_path, monkeypatch) -> None:
    (tmp_path / "case").mkdir()
    (tmp_path / "case/case.toml").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    # Told before anything is read: the segmentation need not even be there.
    for name, said in (("case", "not empty"), ("file", "is a file and no folder"), ("link", "a symbolic link")):
        with pytest.raises(OptionError, match=said):
            new_case(tmp_path / "no segmentation", tmp_path / name, "--target-rank", "1")
    with pytest.raises(OptionError, match="can be made"):
        new_case(tmp_path / "no segmentation", tmp_path / "file/case", "--target-rank", "1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OptionError, match=r"^\. is the folder that you are in: name a new folder in it$"):
        new_case(tmp_path / "no segmentation", Path("."), "--target-rank", "1")
    assert (tmp_path / "case/case.toml").read_text() == "mine"


def with_body(path: Path, left_out: str = "") -> Path:
    """One map in which the body is a label among the others, and perhaps one class under another name."""
    names, values = exclusive()
    values = values.copy()
    number = max(names) + 1
    values[(values == 0) & (patient()[1] > 0)] = number
    renamed = {key: "my_table" if name == left_out else name for key, name in names.items()}
    path.parent.mkdir(parents=True)
    write_labels_nifti(path, patient()[0], values)
    table = {str(key): name for key, name in (renamed | {number: "body"}).items()}
    (path.parent / "dataset.json").write_text(json.dumps({"labels": table}))
    return path


def test_a_body_that_shares_its_map_with_organs_holds_them(made, tmp_path, capsys) -> None:
    with_body(tmp_path / "in/map.nii.gz")
    assert new_case(tmp_path / "in", tmp_path / "case", "--target-rank", "1") == 0
    assert "body counts the other" in " ".join(capsys.readouterr().out.split())
    bodies = [
        next(s for s in load_case(path).structures if s.role is Role.SKIN).geometry
        for path in (tmp_path / "case/case.toml", made)
    ]
    points = patient()[0].centres_mm()
    assert np.array_equal(*(body.contains(points) for body in bodies)), "it is the body that a map of its own shows"


@pytest.mark.parametrize("name", ["spleen", "colon"])
def test_what_is_left_out_of_a_shared_map_stays_in_the_body_where_that_encloses_it(tmp_path, name) -> None:
    with_body(tmp_path / "in/map.nii.gz", name)
    words = ("--target-rank", "1", "--leave-out", "my_table")
    assert new_case(tmp_path / "in", tmp_path / "case", *words) == 0
    body = next(s for s in load_case(tmp_path / "case/case.toml").structures if s.role is Role.SKIN).geometry
    middle = masks()[name]
    assert body.contains(patient()[0].to_patient(np.argwhere(middle))).all()


def test_a_body_alone_in_its_map_gets_nothing(folder, tmp_path, capsys) -> None:
    assert new_case(folder, tmp_path / "case", "--target-rank", "1") == 0
    assert "counts the other" not in " ".join(capsys.readouterr().out.split())


def test_a_name_that_only_a_role_makes_known_goes_out_with_a_warning(tmp_path, capsys) -> None:
    chosen = masks()
    chosen["miller spleen"] = chosen.pop("spleen")
    source = write_folder(tmp_path / "in", chosen)
    words = ("--target-rank", "1", "--role", "miller spleen=critical", "--role", "aorta=no_go")
    assert new_case(source, tmp_path / "case", *words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("goes out as it is written") == 1 and "'miller spleen' is known by --role alone" in said


@pytest.mark.parametrize("folded", [False, True])
def test_a_name_to_leave_out_that_is_nobodys_is_told(folder, tmp_path, folded) -> None:
    source = folder if folded else write_multilabel(tmp_path / "in/all.nii.gz")
    with pytest.raises(OptionError, match=r"spelt like it are .*gallbladder"):
        new_case(source, tmp_path / "case", "--target-rank", "1", "--leave-out", "galbladder")


def test_no_error_names_a_folder_that_is_gone(tmp_path, monkeypatch) -> None:
    """What the checks refuse is told of the folder that was named, not of the one it was written into."""
    import needleplan.app.new_case_files as files

    written = files.inspect_case

    def refusing(manifest: Path, data: Path):
        (manifest.parent / "structures").rename(manifest.parent / "elsewhere")
        return written(manifest, data)

    monkeypatch.setattr(files, "inspect_case", refusing)
    with pytest.raises(CaseError, match="there is no such file") as refusal:
        new_case(write_folder(tmp_path / "in"), tmp_path / "case", "--target-rank", "1")
    assert "unfinished" not in str(refusal.value) and str(tmp_path / "case") in str(refusal.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_hostile_folders_are_refused(tmp_path) -> None:
    crowded = tmp_path / "crowded"
    crowded.mkdir()
    for number in range(2101):
        (crowded / f"{number}.txt").touch()
    with pytest.raises(CaseError, match="more than 2000"):
        new_case(crowded, tmp_path / "case")
    outside = tmp_path / "outside.nii.gz"
    write_labels_nifti(outside, patient()[0], masks()["liver"].astype(np.uint8))
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "liver.nii.gz").symlink_to(outside)
    with pytest.raises(CaseError, match="leads out of its folder"):
        new_case(linked, tmp_path / "case")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseError, match="no label map"):
        new_case(tmp_path / "empty", tmp_path / "case")
    with pytest.raises(CaseError, match="no such folder"):
        new_case(tmp_path / "nowhere", tmp_path / "case")


def test_names_with_separators_and_quotes_never_become_paths(tmp_path) -> None:
    names, _ = exclusive()
    spleen = next(number for number, name in names.items() if name == "spleen")
    hostile = '../../etc/"pass[wd]'
    file = write_multilabel(tmp_path / "in/all.nii.gz", names=names | {spleen: hostile})
    words = ("--entry-from", "liver", "--target-rank", "1", "--role", f"{hostile}=critical")
    assert new_case(file, tmp_path / "case", *words) == 0
    files = [path.relative_to(tmp_path / "case") for path in (tmp_path / "case").rglob("*") if path.is_file()]
    assert all(len(path.parts) <= 2 and ".." not in path.parts for path in files)
    assert '../../etc/"pass[wd]' in {s.name for s in load_case(tmp_path / "case/case.toml").structures}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case", "in"]


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the example of TotalSegmentator is not at hand")
def test_the_programs_own_example(tmp_path) -> None:
    volume = read_labels(EXAMPLE, None, FileUnit.MILLIMETRE)
    liver = np.argwhere(volume.labels == 5).mean(axis=0)
    near = np.linalg.norm(volume.grid.centres_mm() - volume.grid.to_patient(liver), axis=1) < 12
    write_labels_nifti(tmp_path / "ball.nii.gz", volume.grid, near.reshape(volume.grid.shape).astype(np.uint8))
    words = ("--unit", "mm", "--entry-from", "liver")
    assert new_case(EXAMPLE, tmp_path / "case", *words, target=str(tmp_path / "ball.nii.gz")) == 0
    report = inspect_case(tmp_path / "case/case.toml")
    assert report.case is not None
    assert {s.role for s in report.case.structures} >= {Role.ORGAN, Role.VESSEL, Role.BONE, Role.BOWEL, Role.LUNG}
    with pytest.raises(CaseError, match="state --unit mm"):
        new_case(EXAMPLE, tmp_path / "other")


def dicom(path: Path, names: tuple[str, ...], seed: str) -> Path:
    """A DICOM segmentation of some classes; the seed decides its frame of reference."""
    grid, where = patient()[0], masks()
    structures = [NamedMask(name, VoxelMask(grid, where[name])) for name in names]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_segmentation(path, structures, made_reference(grid, seed))
    return path


def test_a_dicom_segmentation_keeps_its_frame_of_reference(tmp_path) -> None:
    names = ("liver", "liver_tumor", "spleen", "aorta", "rib_left_7", "rib_right_7", "body_trunc")
    file = dicom(tmp_path / "in/all.dcm", names, "a")
    assert new_case(file, tmp_path / "case", "--target-rank", "1") == 0
    uid = read_labels(file).frame_of_reference_uid
    assert uid is not None and f'frame_of_reference_uid = "{uid}"' in (tmp_path / "case/case.toml").read_text()
    case, where = load_case(tmp_path / "case/case.toml"), masks()
    spleen = next(s for s in case.structures if s.name == "spleen").geometry
    assert spleen.contains(patient()[0].centres_mm()).sum() == np.count_nonzero(where["spleen"])
    with pytest.raises(OptionError, match="states another one"):
        new_case(file, tmp_path / "other", "--frame-of-reference", "1.2.3", "--target-rank", "1")
    dicom(tmp_path / "in/second.dcm", ("stomach",), "b")
    with pytest.raises(CaseError, match="different frames of reference"):
        new_case(tmp_path / "in", tmp_path / "other", "--target-rank", "1")


def test_a_case_from_two_frames_of_reference_is_refused(tmp_path) -> None:
    dicom(tmp_path / "a.dcm", ("liver", "liver_tumor", "body_trunc"), "a")
    rows = [("liver_tumor", "target", "a", ["liver_tumor"]), ("liver", "organ", "a", ["liver", "liver_tumor"]),
            ("body", "skin", "a", ["body_trunc"]), ("stomach", "bowel", "b", ["stomach"])]  # fmt: skip
    head = 'schema = "needleplan.case"\nversion = 1\nname = "two"\nposition = "supine"\n'
    tables = "".join(
        f'\n[[structures]]\nname = "{name}"\nrole = "{role}"\nsource = "{file}.dcm"\n'
        f"labels = {json.dumps(labels)}\n"
        for name, role, file, labels in rows
    )
    (tmp_path / "case.toml").write_text(head + tables)
    hashes = set()
    for seed, stated, refused in (
        ("a", "", False),
        ("b", "", True),
        ("a", 'frame_of_reference_uid = "1.2.3"\n', True),
    ):
        dicom(tmp_path / "b.dcm", ("stomach",), seed)
        (tmp_path / "case.toml").write_text(head + stated + tables)
        report = inspect_case(tmp_path / "case.toml")
        assert (report.case is None) is refused
        assert any("another frame of reference" in finding.message for finding in report.refused) is refused
        hashes.add(report.case.content_hash if report.case else "")
    for seed in ("c", "a"):
        for file, names in (("a", ("liver", "liver_tumor", "body_trunc")), ("b", ("stomach",))):
            dicom(tmp_path / f"{file}.dcm", names, seed)
        (tmp_path / "case.toml").write_text(head + tables)
        hashes.add(load_case(tmp_path / "case.toml").content_hash)
    assert len(hashes) == 3, "the same voxels in another frame of reference are another case"
