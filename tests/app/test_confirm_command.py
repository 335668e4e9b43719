"""The confirm command: figures and files of a made ablation, ways to align, and input that is refused."""

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from needleplan.app.confirm_command import add_confirm, run_confirm
from needleplan.app.confirm_inputs import ReadMask, read_alignment
from needleplan.app.confirm_pictures import _bins
from needleplan.confirmation.alignment import AFTER, same_frame
from needleplan.confirmation.confirm import confirm
from needleplan.errors import CaseError, GeometryError, NeedleplanError, OptionError
from needleplan.frames import Frame, RigidTransform
from needleplan.grid import VoxelMask
from needleplan.io.dicom.reference import made_reference
from needleplan.io.dicom.segmentation_writer import NamedMask, write_segmentation
from needleplan.io.itk_transforms import write_transform
from needleplan.io.nifti import write_labels_nifti
from needleplan.io.slicer_markups import MarkupList, MarkupPoint, write_markups
from needleplan.registration.rotations import rotations_of
from tests.confirmation.made_balls import ball, oblique_grid

CENTRE = np.array([-30.0, 22.0, 64.0])
POSE = RigidTransform.from_parts(Frame.PATIENT, AFTER, rotations_of((0.1, 0.3, -0.2)), (30.0, -50.0, 20.0))


def _write(path, mask, value=1):
    write_labels_nifti(path, mask.grid, mask.inside.astype(np.uint8) * value)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tumour of 8 mm, a zone of 15 mm about it in another frame, organs, landmarks and the transform."""
    folder = tmp_path_factory.mktemp("ablation")
    zone = ball(CENTRE + np.array([0.0, 1.0, 0.0]), 15.0, (0.9, 0.9, 1.4))
    back = POSE.inverse()
    _write(folder / "tumour.nii.gz", ball(CENTRE, 8.0))
    _write(folder / "zone.nii.gz", VoxelMask(zone.grid.moved(back.matrix), zone.inside), 3)
    _write(folder / "organ.nii.gz", ball(CENTRE, 30.0, (2.0, 2.0, 2.0)))
    write_transform(folder / "pose.tfm", POSE)
    write_transform(folder / "pose.h5", POSE)
    points = CENTRE + np.random.default_rng(2).normal(0, 40, (6, 3))
    for name, places in (("before", points), ("after", back.apply(points))):
        marks = tuple(MarkupPoint(f"L{k}", place) for k, place in enumerate(places))
        # In another order in the second file: labels pair them.
        write_markups(folder / f"{name}.mrk.json", [MarkupList(name, marks if name == "before" else marks[::-1])])
    both = oblique_grid(CENTRE, 20.0, (1.0, 1.0, 1.0))
    away = np.linalg.norm(both.centres_mm() - CENTRE, axis=1).reshape(both.shape)
    write_labels_nifti(folder / "both.nii.gz", both, ((away < 14).astype(np.uint8) + (away < 8)).astype(np.uint8))
    return folder


def _run(folder, *arguments, tumour="tumour.nii.gz", zone="zone.nii.gz", out="out"):
    parser = argparse.ArgumentParser()
    add_confirm(parser)
    inputs = ["--tumour", str(folder / tumour), "--zone", str(folder / zone), "--out", str(folder / out)]
    return run_confirm(parser.parse_args([*inputs, *map(str, arguments)]))


def test_a_reached_margin_with_pictures_and_figures(files, capsys):
    assert (
        _run(files, "--transform", files / "pose.tfm", "--error-mm", 1, "--organ-before", files / "organ.nii.gz")
        == 0
    )
    printed = capsys.readouterr().out
    assert "the margin of 5 mm is reached" in printed
    folder = files / "out"
    data = json.loads((folder / "confirmation.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert (data["schema"], data["version"]) == ("needleplan.confirmation", 1)
    assert data["least_margin_mm"] == pytest.approx(6.0, abs=0.8)
    assert data["least_margin_spread"]["low_mm"] < data["least_margin_mm"]
    assert sum(
        data["surface_shares"][key] for key in ("below_0", "below_margin", "margin_or_more")
    ) == pytest.approx(1)
    assert [one["margin_mm"] for one in data["volumetric_margins"]] == list(range(1, 11))
    assert np.allclose(data["alignment"]["before_from_after"], POSE.matrix, atol=1e-9)
    assert set(data["inputs"]) == {"tumour", "zone", "organ_before"}
    assert all(len(one["sha256"]) == 64 for one in data["inputs"].values())
    for name in ("planes.png", "histogram.png", "margins.csv", "tumour.vtp", "zone.vtp"):
        assert (folder / name).stat().st_size > 1000
    lines = (folder / "margins.csv").read_text().splitlines()
    margins = [float(line.split(",")[3]) for line in lines[1:]]
    assert min(margins) == pytest.approx(data["least_margin_mm"], abs=1e-4)


def test_no_path_and_no_name_of_a_file_is_kept(files, tmp_path):
    source = tmp_path / "DOE^JANE"
    source.mkdir()
    for name in ("tumour.nii.gz", "zone.nii.gz", "pose.tfm"):
        (source / name).write_bytes((files / name).read_bytes())
    assert _run(source, "--transform", source / "pose.tfm", "--no-pictures", out="result") == 0
    for path in (source / "result").iterdir():
        assert b"DOE" not in path.read_bytes()


@pytest.mark.parametrize("way", ["pose.h5", "landmarks"])
def test_every_way_to_align_gives_the_same(files, way):
    if way == "landmarks":
        extra = ["--landmarks-before", files / "before.mrk.json", "--landmarks-after", files / "after.mrk.json"]
    else:
        extra = ["--transform", files / way]
    assert _run(files, *extra, "--no-pictures", out=f"by-{way}") == 0
    data = json.loads((files / f"by-{way}" / "confirmation.json").read_text())
    assert np.allclose(data["alignment"]["before_from_after"], POSE.matrix, atol=1e-6)


def test_a_margin_that_is_not_reached_is_exit_3(files, capsys):
    assert _run(files, "--transform", files / "pose.tfm", "--margin-mm", 9, "--no-pictures", out="nine") == 3
    assert "is not reached" in capsys.readouterr().out
    data = json.loads((files / "nine" / "confirmation.json").read_text())
    assert data["reached"] is False and data["tumour_is_left"] is False
    assert data["margin_left"]["pieces"][0]["towards"]


def test_two_labels_of_one_file_share_its_frame(files, capsys):
    inputs = {"tumour": "both.nii.gz:2", "zone": "both.nii.gz:1", "out": "one"}
    # Label 1 is the zone without the tumour, which therefore is left.
    assert _run(files, "--no-pictures", **inputs) == 3
    assert "tumour is left" in capsys.readouterr().out


def test_maps_of_unknown_frames_are_refused_unless_said(files):
    with pytest.raises(OptionError, match="nothing says how the two maps lie"):
        _run(files)
    with pytest.raises(GeometryError, match="mm from the tumour"):
        _run(files, "--same-frame", "--no-pictures", out="same")
    assert not (files / "same").exists()


def test_a_map_of_several_labels_needs_a_name(files):
    with pytest.raises(CaseError, match="holds several labels"):
        _run(files, "--same-frame", tumour="both.nii.gz")
    with pytest.raises(CaseError, match="there is no label 7"):
        _run(files, "--same-frame", tumour="both.nii.gz:7")
    with pytest.raises(CaseError, match="no segment named"):
        _run(files, "--same-frame", tumour="both.nii.gz:tumor")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--transform", "pose.tfm", "--same-frame"], "name one of"),
        (["--landmarks-before", "before.mrk.json"], "of both scans"),
        (["--by-organ"], "organ of both scans"),
        (["--same-frame", "--error-mm", "-1"], "registration error"),
        (["--same-frame", "--margin-mm", "nan"], "margin must lie"),
    ],
)
def test_options_that_do_not_fit_are_refused(files, extra, words):
    with pytest.raises(OptionError, match=words):
        _run(files, *(files / one if "." in one else one for one in extra))


def test_a_transform_of_the_other_direction_is_refused(files):
    write_transform(files / "backward.tfm", RigidTransform(Frame.PATIENT, AFTER, POSE.inverse().matrix))
    with pytest.raises(GeometryError, match="wrong way"):
        _run(files, "--transform", files / "backward.tfm", "--no-pictures")


def test_the_file_of_a_transform_takes_points_before_to_points_after(files, capsys):
    """As ITK registers with fixed = before and moving = after; turned round it is refused, be the motion small."""
    matrix, shift = rotations_of((0.02, -0.06, 0.1)), np.array([14.0, -7.0, 5.0])
    zone = ball(CENTRE, 15.0)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = matrix, shift + CENTRE - matrix @ CENTRE
    _write(files / "near.nii.gz", VoxelMask(zone.grid.moved(move), zone.inside))
    for name, way in (("there", move), ("back", np.linalg.inv(move))):
        numbers = " ".join(f"{value:.17g}" for value in (*way[:3, :3].ravel(), *way[:3, 3]))
        (files / f"{name}.tfm").write_text(
            "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
            f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
        )
    assert _run(files, "--transform", files / "there.tfm", "--no-pictures", zone="near.nii.gz", out="there") == 0
    with pytest.raises(GeometryError, match="wrong way"):
        _run(files, "--transform", files / "back.tfm", "--no-pictures", zone="near.nii.gz", out="back")
    parser = argparse.ArgumentParser()
    add_confirm(parser)
    words = " ".join(parser.format_help().split())
    assert "fixed = before, moving = after" in words and "onto the scan before" in words


def test_a_colon_without_a_name_is_refused(files):
    with pytest.raises(OptionError, match="nothing stands behind the colon"):
        _run(files, "--same-frame", tumour="tumour.nii.gz:")


def test_files_without_unit_and_frame_are_read_once_these_are_stated(files, tmp_path):
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    whole = bytearray(gzip.decompress((files / "tumour.nii.gz").read_bytes()))
    whole[123] &= ~7  # xyzt_units without a unit of length
    (tmp_path / "plain.nii").write_bytes(whole)
    zone = ball(CENTRE, 15.0)
    image = vtkImageData()
    image.SetDimensions(*zone.grid.shape)
    # Stored in centimetres and RAS.
    image.SetDirectionMatrix(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    image.SetOrigin(*(zone.grid.T_PV[:3, 3] * [-0.1, -0.1, 0.1]))
    image.SetSpacing(0.1, 0.1, 0.1)
    image.GetPointData().SetScalars(numpy_to_vtk(zone.inside.astype(np.uint8).ravel(order="F"), deep=True))
    writer = vtkXMLImageDataWriter()
    writer.SetFileName(str(tmp_path / "zone.vti"))
    writer.SetInputData(image)
    writer.Write()
    (tmp_path / "tumour.nii.gz").write_bytes((files / "tumour.nii.gz").read_bytes())
    quiet = ("--same-frame", "--no-pictures")
    with pytest.raises(CaseError, match=r"state --unit mm"):
        _run(tmp_path, *quiet, tumour="plain.nii", zone="plain.nii")
    with pytest.raises(CaseError, match=r"state --frame LPS \(or RAS\) and --unit mm$"):
        _run(tmp_path, *quiet, zone="zone.vti")
    with pytest.raises(OptionError, match=r"--frame goes with \.vti"):
        _run(tmp_path, *quiet, "--frame", "RAS", tumour="plain.nii", zone="plain.nii")
    assert _run(tmp_path, *quiet, "--unit", "mm", tumour="plain.nii", zone="plain.nii", out="one") == 3
    with pytest.raises(CaseError, match="unit"):
        _run(tmp_path, *quiet, "--unit", "cm", "--frame", "RAS", zone="zone.vti")
    image.SetOrigin(*(zone.grid.T_PV[:3, 3] * [-1, -1, 1]))
    image.SetSpacing(1.0, 1.0, 1.0)
    writer.Write()
    assert _run(tmp_path, *quiet, "--unit", "mm", "--frame", "RAS", zone="zone.vti", out="two") == 0
    data = json.loads((tmp_path / "two" / "confirmation.json").read_text())
    assert data["least_margin_mm"] == pytest.approx(7.0, abs=0.7)


@pytest.mark.parametrize("matrix", [np.diag([-1.0, 1.0, 1.0]), np.diag([1.2, 1.0, 1.0])])
def test_mirrored_and_stretched_transforms_are_refused(files, matrix):
    numbers = " ".join(f"{value:g}" for value in (*matrix.ravel(), 0.0, 0.0, 0.0))
    (files / "odd.tfm").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )
    with pytest.raises(CaseError, match="only rigid transforms"):
        _run(files, "--transform", files / "odd.tfm")


def test_landmarks_of_other_labels_are_refused(files):
    marks = [MarkupPoint(f"X{k}", CENTRE + 20.0 * np.eye(3)[k]) for k in range(3)]
    write_markups(files / "other.mrk.json", [MarkupList("other", tuple(marks))])
    with pytest.raises(CaseError, match="paired by their labels"):
        _run(files, "--landmarks-before", files / "before.mrk.json", "--landmarks-after", files / "other.mrk.json")


def test_damaged_and_empty_maps_are_refused(files):
    whole = (files / "zone.nii.gz").read_bytes()
    grid = oblique_grid(CENTRE, 5.0, (1.0, 1.0, 1.0))
    write_labels_nifti(files / "empty.nii.gz", grid, np.zeros(grid.shape, dtype=np.uint8))
    with pytest.raises(CaseError):
        _run(files, "--same-frame", zone="empty.nii.gz")
    for cut in (0, 10, len(whole) // 2):
        (files / "cut.nii.gz").write_bytes(whole[:cut])
        with pytest.raises(NeedleplanError):
            _run(files, "--same-frame", zone="cut.nii.gz")
    with pytest.raises(CaseError, match="no such file"):
        _run(files, "--same-frame", zone="missing.nii.gz")


def test_a_folder_of_others_is_not_written_into(files):
    (files / "mine").mkdir()
    (files / "mine" / "thesis.txt").write_text("my own")
    with pytest.raises(OptionError, match="not written by confirm"):
        _run(files, "--same-frame", out="mine")
    assert (files / "mine" / "thesis.txt").read_text() == "my own"


def test_an_out_that_is_a_file_or_a_link_is_refused_before_any_work(files):
    (files / "note").write_text("mine")
    (files / "link").symlink_to(files / "elsewhere")
    for name in ("note", "link"):
        with pytest.raises(OptionError):
            _run(files, "--same-frame", tumour="missing.nii.gz", out=name)


def test_the_legend_of_the_surface_speaks_of_the_surface():
    found = confirm(ball(CENTRE, 8.0), ball(CENTRE + np.array([9.0, 0, 0]), 9.0), same_frame())
    labels = [one.label for one in _bins(found)]
    assert labels == ["surface outside the zone", "0 to 5 mm", "5 mm or more"]


def test_the_top_of_the_module_imports_the_standard_library_alone():
    import subprocess
    import sys

    code = (
        "import sys; import needleplan.app.confirm_command; "
        "print([name for name in ('numpy', 'rich', 'vtkmodules') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_dicom_segmentations_go_through_the_same_door(tmp_path):
    grid = oblique_grid(CENTRE, 22.0, (1.0, 1.0, 1.5), np.array([0.2, 0.1, -0.3]))
    away = np.linalg.norm(grid.centres_mm() - CENTRE, axis=1).reshape(grid.shape)
    names = {"tumour": away < 8, "zone": away < 14.5}
    masks = [NamedMask(name, VoxelMask.cropped(grid, inside)) for name, inside in names.items()]
    write_segmentation(tmp_path / "seg.dcm", masks, made_reference(grid))
    assert _run(tmp_path, "--no-pictures", tumour="seg.dcm:tumour", zone="seg.dcm:zone") == 0
    data = json.loads((tmp_path / "out" / "confirmation.json").read_text())
    assert data["least_margin_mm"] == pytest.approx(6.5, abs=0.8)
    assert data["alignment"]["method"] == "same frame"


def _aligned(first_uid, second_uid, **flags):
    ways = {"transform": None, "landmarks_before": None, "landmarks_after": None, "by_organ": False}
    options = argparse.Namespace(**{**ways, "same_frame": False, "error_mm": None, **flags})
    tumour, zone = ball(CENTRE, 8.0), ball(CENTRE, 12.0)
    return read_alignment(
        options, ReadMask(tumour, Path("a.dcm"), first_uid), ReadMask(zone, Path("b.dcm"), second_uid), None, None
    )


def test_one_dicom_frame_of_reference_is_one_frame():
    assert _aligned("1.2.3", "1.2.3").method == "same frame"
    with pytest.raises(OptionError, match="nothing says"):
        _aligned("1.2.3", "1.2.4")
    with pytest.raises(OptionError, match="different frames of reference"):
        _aligned("1.2.3", "1.2.4", same_frame=True)
    assert _aligned("1.2.3", None, same_frame=True).method == "same frame"
    with pytest.raises(OptionError, match="nothing says"):
        _aligned(None, None)
