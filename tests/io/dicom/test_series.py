"""Series of slices: placed by position alone, and refused where a slice is missing, doubled, turned or foreign."""

import numpy as np
import pydicom
import pytest
from made_dicom import named, oblique_grid

from needleplan.errors import CaseError, GeometryError
from needleplan.grid import Grid
from needleplan.io.dicom.reference import made_reference, write_reference_series
from needleplan.io.dicom.segmentation_writer import write_segmentation
from needleplan.io.dicom.series import read_series

SHAPE = (11, 7, 6)


@pytest.fixture(params=[False, True], ids=["proper", "mirrored"])
def grid(request) -> Grid:
    return oblique_grid(request.param, SHAPE)


@pytest.fixture
def folder(tmp_path, grid):
    write_reference_series(tmp_path / "s", made_reference(grid), values_of(grid))
    return tmp_path / "s"


def values_of(grid: Grid) -> np.ndarray:
    return (np.arange(np.prod(grid.shape)).reshape(grid.shape) * 7) % 3000 - 1000


def change(folder, number, edit):
    path = sorted(folder.iterdir())[number]
    dataset = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        edit(dataset)
    dataset.save_as(path)


def test_voxels_come_to_the_same_places_with_the_same_values(folder, grid):
    series = read_series(folder, with_values=True)
    reference = made_reference(grid)
    np.testing.assert_allclose(series.grid.T_PV, reference.grid.T_PV, atol=1e-9)
    assert series.source == reference.source
    assert series.instance_uids == reference.instance_uids
    np.testing.assert_array_equal(series.values, values_of(grid))
    assert not series.values.flags.writeable
    assert read_series(folder).values is None


def test_names_and_numbers_of_files_mean_nothing(folder):
    before = read_series(folder, with_values=True)
    paths = sorted(folder.iterdir())
    for number, path in enumerate(paths):
        change(folder, number, lambda d, n=number: setattr(d, "InstanceNumber", (5 * n) % 7))
        path.rename(folder / f"tmp{(5 * number) % 6}")
    (folder / "notes.txt").write_text("no DICOM")
    (folder / "DICOMDIR.dcm").write_bytes(b"x" * 300)
    after = read_series(folder, with_values=True)
    np.testing.assert_array_equal(before.values, after.values)
    np.testing.assert_array_equal(before.grid.T_PV, after.grid.T_PV)
    assert before.instance_uids == after.instance_uids


@pytest.mark.long
def test_other_objects_in_the_folder_are_passed_over(folder, grid):
    reference = made_reference(grid)
    masks = {"a": np.ones(SHAPE, dtype=bool)}
    write_segmentation(folder / "seg.dcm", named(grid, masks), reference)
    assert len(read_series(folder).paths) == SHAPE[2]


def test_rescaling_and_bits_above_those_stored(folder, grid):
    stored = values_of(grid) + 1000

    def edit(dataset):
        plane = read.instance_uids.index(dataset.SOPInstanceUID)
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, -100
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
        dataset.PixelData = (stored[:, :, plane].astype("<u2") | 0x8000).tobytes(order="F")

    read = read_series(folder)
    for number in range(SHAPE[2]):
        change(folder, number, edit)
    np.testing.assert_array_equal(read_series(folder, with_values=True).values, stored * 0.5 - 100)


def test_signed_values_of_twelve_bits(folder, grid):
    stored = values_of(grid)

    def edit(dataset):
        plane = read.instance_uids.index(dataset.SOPInstanceUID)
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelData = (stored[:, :, plane].astype("<i2").view("<u2") & 0x0FFF).tobytes(order="F")

    read = read_series(folder)
    for number in range(SHAPE[2]):
        change(folder, number, edit)
    signed = (stored + 2048) % 4096 - 2048
    np.testing.assert_array_equal(read_series(folder, with_values=True).values, signed)


def test_run_lengths_and_deflated_files_are_read(folder):
    before = read_series(folder, with_values=True).values
    for number, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        if number % 2:
            dataset.compress(pydicom.uid.RLELossless)
        else:
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
    np.testing.assert_array_equal(read_series(folder, with_values=True).values, before)


def test_a_tilted_gantry_gives_a_sheared_grid(folder, grid):
    across = grid.T_PV[:3, 1] / grid.spacing_mm[1]
    before = read_series(folder)
    for number in range(SHAPE[2]):

        def tilt(dataset):
            plane = before.instance_uids.index(dataset.SOPInstanceUID)
            place = before.grid.to_patient([0, 0, plane]) + 0.4 * plane * across
            dataset.ImagePositionPatient = [f"{x:.9f}" for x in place]

        change(folder, number, tilt)
    after = read_series(folder)
    index = np.indices(SHAPE).reshape(3, -1).T
    expected = before.grid.to_patient(index) + 0.4 * index[:, 2:] * across
    np.testing.assert_allclose(after.grid.to_patient(index), expected, atol=1e-4)
    with pytest.raises(GeometryError, match="perpendicular"):
        made_reference(after.grid)


def _second(folder) -> None:
    path = sorted(folder.iterdir())[0]
    (folder / "copy").write_bytes(path.read_bytes())


def _same_place(folder) -> None:
    _second(folder)
    change(folder, -1, lambda d: setattr(d, "SOPInstanceUID", "1.2.3"))


def _set(keyword, value, number=2):
    return lambda folder: change(folder, number, lambda d: setattr(d, keyword, value))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: sorted(f.iterdir())[2].unlink(), "1 slices are missing"),
        (_second, "twice"),
        (_same_place, "where another one lies"),
        (_set("SeriesInstanceUID", "1.2.3"), "2 series; name one"),
        (_set("FrameOfReferenceUID", "1.2.3"), "different frames of reference"),
        (_set("Rows", 5), "differ"),
        (_set("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"), "different SOP classes"),
        (_set("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2.1"), "enhanced CT"),
        (_set("ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), "turned"),
        (_set("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "perpendicular"),
        (_set("PixelSpacing", [1.0, 1.0]), "spaced otherwise"),
        (_set("PixelSpacing", [0.0, 1.0]), "above zero"),
        (_set("ImagePositionPatient", [0, 0, 0]), "evenly|missing|shifted"),
        (_set("ImagePositionPatient", None), "ImagePositionPatient is missing"),
        (_set("FrameOfReferenceUID", ""), "FrameOfReferenceUID"),
        (_set("FrameOfReferenceUID", "a.b"), "FrameOfReferenceUID"),
        (lambda f: [path.unlink() for path in f.iterdir()], "no CT or MR"),
        (lambda f: (f / "x").symlink_to(next(f.iterdir())) or (f / "y").symlink_to("/etc/hostname"), "twice"),
    ],
)
def test_what_is_no_whole_series_is_refused(folder, break_it, message):
    break_it(folder)
    with pytest.raises(CaseError, match=message):
        read_series(folder, with_values=True)


def test_links_that_leave_the_folder_are_refused(folder, tmp_path):
    moved = sorted(folder.iterdir())[0].rename(tmp_path / "outside.dcm")
    (folder / "inside.dcm").symlink_to(moved)
    with pytest.raises(CaseError, match="leads out"):
        read_series(folder)


def test_one_of_two_series_is_chosen_by_its_uid(folder, tmp_path):
    other = made_reference(oblique_grid(False, (5, 5, 3)), "other")
    write_reference_series(tmp_path / "o", other)
    for path in (tmp_path / "o").iterdir():
        path.rename(folder / f"o{path.name}")
    assert read_series(folder, other.source.series_uid).grid.shape == (5, 5, 3)
    with pytest.raises(CaseError, match="no CT or MR slice of the series"):
        read_series(folder, "1.2.3.4")


def test_series_are_written_into_empty_folders_only(folder, grid):
    with pytest.raises(CaseError, match="empty"):
        write_reference_series(folder, made_reference(grid))
    with pytest.raises(GeometryError, match="whole numbers"):
        write_reference_series(folder / "n", made_reference(grid), np.full(SHAPE, 0.5))
    with pytest.raises(GeometryError, match="whole numbers"):
        write_reference_series(folder / "n", made_reference(grid), np.full(SHAPE, 40_000))


def test_a_single_slice_takes_its_thickness(tmp_path):
    reference = made_reference(oblique_grid(False, (5, 4, 1)))
    write_reference_series(tmp_path / "s", reference)
    np.testing.assert_allclose(read_series(tmp_path / "s").grid.T_PV, reference.grid.T_PV, atol=1e-9)
    change(tmp_path / "s", 0, lambda d: d.__delattr__("SliceThickness"))
    with pytest.raises(CaseError, match="single plane"):
        read_series(tmp_path / "s")
