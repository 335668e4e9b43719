"""What is written, judged and read by programs of others: dicom3tools, dcmqi, plastimatch, highdicom."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_dicom import asymmetric_masks, centres_of, named, oblique_grid, placed, segment_of, sphere, torus, united

from needleplan.grid import Grid
from needleplan.io.dicom.reference import made_reference, series_reference, write_reference_series
from needleplan.io.dicom.segmentation import read_segmentation
from needleplan.io.dicom.segmentation_writer import write_segmentation
from needleplan.io.dicom.series import read_series
from needleplan.io.dicom.structure_set_writer import NamedNeedle, NamedSurface, write_structure_set
from needleplan.io.labels import read_labels

NEEDLE = NamedNeedle("needle 1", (1.25, -2.5, 3.5), (-40.0, 12.5, 99.875))


def program(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed: {package}")
    return found


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=[False, True], ids=["proper", "mirrored"])
def grid(request) -> Grid:
    return oblique_grid(request.param)


def write_all(folder: Path, grid: Grid) -> list[Path]:
    """A series, and with it as reference, both ways, a segmentation and a structure set."""
    write_reference_series(folder / "s", made_reference(grid))
    paths = [next((folder / "s").iterdir())]
    for kind, reference in (
        ("made", made_reference(grid)),
        ("real", series_reference(folder / "s")),
        ("kept", series_reference(folder / "s", keep_identifiers=True)),
    ):
        paths += [folder / f"{kind}-seg.dcm", folder / f"{kind}-rs.dcm"]
        write_segmentation(paths[-2], named(grid, asymmetric_masks(grid)), reference)
        surfaces = [NamedSurface("tumour", placed(sphere(4, 2), grid))]
        write_structure_set(paths[-1], surfaces, [NEEDLE], reference)
    return paths


def test_dciodvfy_finds_no_error(tmp_path, grid):
    judge = program("dciodvfy", "apt-get install dicom3tools")
    for path in write_all(tmp_path, grid):
        said = subprocess.run([judge, str(path)], capture_output=True, text=True, timeout=60)
        errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
        assert not errors, (path.name, errors)


def test_dciodvfy_would_find_an_error(tmp_path, grid):
    import pydicom

    judge = program("dciodvfy", "apt-get install dicom3tools")
    path = write_all(tmp_path, grid)[1]
    dataset = pydicom.dcmread(path)
    del dataset.SegmentationType
    dataset.save_as(path)
    said = subprocess.run([judge, str(path)], capture_output=True, text=True, timeout=60)
    assert "Error" in said.stdout + said.stderr


def test_dcmqi_reads_the_same_voxels_at_the_same_places(tmp_path, grid):
    reader = program("segimage2itkimage", "pip install dcmqi")
    image_io = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: pip install simpleitk")
    masks = asymmetric_masks(grid)
    write_segmentation(tmp_path / "s.dcm", named(grid, masks), made_reference(grid))
    (tmp_path / "q").mkdir()
    run(reader, "--inputDICOM", tmp_path / "s.dcm", "--outputDirectory", tmp_path / "q", "-t", "nrrd", "-p", "q")
    told = json.loads((tmp_path / "q" / "q-meta.json").read_text())["segmentAttributes"]
    assert [one["SegmentLabel"] for group in told for one in group] == list(masks)
    for number, inside in enumerate(masks.values(), 1):
        image = image_io.ReadImage(str(tmp_path / "q" / f"q-{number}.nrrd"))
        found = np.argwhere(image_io.GetArrayFromImage(image))[:, ::-1]
        points = np.array([image.TransformIndexToPhysicalPoint(tuple(int(n) for n in index)) for index in found])
        points = points[np.lexsort(points.round(3).T)]
        np.testing.assert_allclose(points, centres_of(grid, inside), atol=1.1e-3)
        exact = grid.to_patient(np.argwhere(inside))
        nearest = np.linalg.norm(points[:, None] - exact, axis=2).min(axis=1)
        assert nearest.max() < 1e-4


def test_what_dcmqi_writes_is_read_alike(tmp_path, grid):
    """The other way: dcmqi's file, made from our series and an NRRD of SimpleITK."""
    writer = program("itkimage2segimage", "pip install dcmqi")
    image_io = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: pip install simpleitk")
    reference = made_reference(grid)
    write_reference_series(tmp_path / "s", reference)
    inside = np.zeros(grid.shape, dtype=bool)
    inside[2:9, 3:7, 1:8] = True
    inside[2, 3, 1:5] = False
    image = image_io.GetImageFromArray(inside.transpose(2, 1, 0).astype(np.uint8))
    image.SetSpacing(reference.grid.spacing_mm.tolist())
    image.SetDirection((reference.grid.T_PV[:3, :3] / reference.grid.spacing_mm).ravel().tolist())
    image.SetOrigin(reference.grid.T_PV[:3, 3].tolist())
    image_io.WriteImage(image, str(tmp_path / "in.nrrd"))
    code = {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
    category = {"CodeValue": "91723000", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"}
    segment = {
        "labelID": 1,
        "SegmentLabel": "liver of dcmqi",
        "SegmentDescription": "liver",
        "SegmentAlgorithmType": "MANUAL",
        "SegmentedPropertyCategoryCodeSequence": category,
        "SegmentedPropertyTypeCodeSequence": code,
    }
    meta = {"ContentCreatorName": "Doe", "SeriesDescription": "s", "segmentAttributes": [[segment]]}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    run(
        *(writer, "--inputImageList", tmp_path / "in.nrrd", "--inputDICOMDirectory", tmp_path / "s"),
        *("--outputDICOM", tmp_path / "out.dcm", "--inputMetadata", tmp_path / "meta.json"),
    )
    found = read_segmentation(tmp_path / "out.dcm")
    assert found.source.frame_of_reference_uid == reference.source.frame_of_reference_uid
    voxels = segment_of(found.labels, "liver of dcmqi")
    np.testing.assert_allclose(
        centres_of(found.labels.grid, voxels), centres_of(reference.grid, inside), atol=1.1e-3
    )


def test_plastimatch_fills_the_same_voxels(tmp_path):
    """Of a hollow ball, whose hole is an eighth of it, and a torus."""
    reader = program("plastimatch", "apt-get install plastimatch")
    image_io = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: pip install simpleitk")
    # plastimatch rasterises on axes of the patient only.
    matrix = np.diag([1.1, 1.7, 2.3, 1.0])
    matrix[:3, 3] = [-20, 13, -300]
    grid = Grid((60, 40, 30), matrix)
    reference = made_reference(grid)
    write_reference_series(tmp_path / "s", reference)
    path = tmp_path / "s" / "rs.dcm"
    surfaces = [
        NamedSurface("ball", united(placed(sphere(20), grid), placed(sphere(10).flipped(), grid))),
        NamedSurface("ring", placed(torus(18, 6), grid)),
    ]
    write_structure_set(path, surfaces, [NEEDLE], reference)
    run(
        *(reader, "convert", "--input", path, "--referenced-ct", tmp_path / "s"),
        *("--output-prefix", tmp_path / "out", "--prefix-format", "nrrd"),
    )
    volume = read_labels(path)
    for surface in surfaces:
        image = image_io.ReadImage(str(tmp_path / "out" / f"{surface.name}.nrrd"))
        theirs = image_io.GetArrayFromImage(image).transpose(2, 1, 0) > 0
        ours = segment_of(volume, surface.name)
        np.testing.assert_allclose(image.GetOrigin(), grid.T_PV[:3, 3], atol=1e-3)
        np.testing.assert_allclose(image.GetSpacing(), [1.1, 1.7, 2.3], atol=1e-4)
        assert (theirs != ours).sum() <= 0.002 * ours.sum()
        np.testing.assert_allclose(theirs.sum() * grid.voxel_volume_mm3, surface.mesh.volume_mm3, rtol=0.02)


def test_simpleitk_reads_the_series_to_the_same_places(tmp_path, grid):
    image_io = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: pip install simpleitk")
    values = np.random.default_rng(2).integers(-1000, 2000, grid.shape)
    write_reference_series(tmp_path / "s", made_reference(grid), values)
    reader = image_io.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "s")))
    image = reader.Execute()
    ours = read_series(tmp_path / "s", with_values=True)
    np.testing.assert_array_equal(image_io.GetArrayFromImage(image).transpose(2, 1, 0), ours.values)
    for index in ((0, 0, 0), (16, 0, 3), (4, 12, 8)):
        np.testing.assert_allclose(
            image.TransformIndexToPhysicalPoint(index), ours.grid.to_patient(index), atol=1e-4
        )


def test_highdicom_reads_the_same_volume(tmp_path, grid):
    import highdicom

    masks = asymmetric_masks(grid)
    write_segmentation(tmp_path / "s.dcm", named(grid, masks), made_reference(grid))
    volume = highdicom.seg.segread(tmp_path / "s.dcm").get_volume(combine_segments=False)
    for number, inside in enumerate(masks.values()):
        index = np.argwhere(volume.array[..., number])
        points = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        exact = grid.to_patient(np.argwhere(inside))
        assert len(points) == len(exact)
        assert np.linalg.norm(points[:, None] - exact, axis=2).min(axis=1).max() < 1e-4
