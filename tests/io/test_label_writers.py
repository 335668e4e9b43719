"""Masks and fields come back voxel by voxel from files, read here, by SimpleITK and by nibabel."""

import gzip
import json

import nibabel
import numpy as np
import pytest

from needleplan.errors import CaseError, GeometryError, OptionError
from needleplan.grid import Grid, ScalarField, VoxelMask
from needleplan.io.dicom.coding import coding_of
from needleplan.io.label_tables import json_label_names
from needleplan.io.label_writers import (
    WrittenSegment,
    box_in,
    joined_labels,
    write_field_nifti,
    write_named_nifti,
    write_segmentation,
)
from needleplan.io.labels import read_labels

SHAPE = (9, 7, 8)
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def grid_of(mirrored: bool) -> Grid:
    turn, _ = np.linalg.qr(np.array([[2.0, 1.0, 0.3], [-1.0, 2.0, 0.4], [0.2, -0.5, 3.0]]))
    turn *= np.sign(np.linalg.det(turn))
    matrix = np.eye(4)
    matrix[:3, :3] = turn * [0.7, 1.3, 2.9] * [1, 1, -1 if mirrored else 1]
    matrix[:3, 3] = [-331.25, 257.5, -1402.125]
    return Grid(SHAPE, matrix)


@pytest.fixture(params=[False, True], ids=["proper", "mirrored"])
def grid(request) -> Grid:
    return grid_of(request.param)


def solid(grid: Grid, *box: slice, name: str = "a") -> WrittenSegment:
    inside = np.zeros(SHAPE, dtype=bool)
    inside[box] = True
    inside[box[0].start, box[1].start, box[2].stop] = True
    return WrittenSegment(name, VoxelMask.cropped(grid, inside), (0.1, 0.5, 1.0))


def three(grid: Grid) -> list[WrittenSegment]:
    """The first two overlap, the third stands alone."""
    return [
        solid(grid, slice(1, 5), slice(2, 4), slice(3, 6), name="liver"),
        solid(grid, slice(4, 7), slice(3, 6), slice(2, 5), name="tumour"),
        solid(grid, slice(7, 9), slice(0, 2), slice(0, 2), name="Gefäß"),
    ]


def whole(grid: Grid, segment: WrittenSegment) -> np.ndarray:
    inside = np.zeros(grid.shape, dtype=bool)
    inside[box_in(grid, segment.mask.grid)] = segment.mask.inside
    return inside


def test_overlapping_segments_come_back(tmp_path, grid):
    path = tmp_path / "a.seg.nrrd"
    segments = three(grid)
    write_segmentation(path, grid, segments)
    volume = read_labels(path)
    np.testing.assert_allclose(volume.grid.T_PV, grid.T_PV, atol=1e-9)
    assert len(volume.layers) == 2 and [s.layer for s in volume.segments] == [0, 1, 0]
    for found, segment in zip(volume.segments, segments, strict=True):
        np.testing.assert_array_equal(volume.layers[found.layer] == found.value, whole(grid, segment))
    assert [s.name for s in volume.segments] == ["liver", "tumour", "Gefäß"]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    write_segmentation(tmp_path / "again.seg.nrrd", grid, segments)
    assert (tmp_path / "again.seg.nrrd").read_bytes() == path.read_bytes()


def test_the_header_says_what_slicer_wants(tmp_path):
    path = tmp_path / "a.seg.nrrd"
    grid = grid_of(False)
    one = solid(grid, slice(1, 5), slice(2, 4), slice(3, 6), name="two\nlines:=x")
    coded = WrittenSegment(one.name, one.mask, None, coding_of("liver"))
    write_segmentation(path, grid, [coded])
    head = path.read_bytes().split(b"\n\n", 1)[0].decode("utf-8").splitlines()
    assert head[0] == "NRRD0004" and "dimension: 3" in head
    assert "Segment0_Name:=two lines:=x" in head and "Segment0_Extent:=1 4 2 3 3 6" in head
    assert not any("Color" in line for line in head)
    assert any("SCT^91723000^Anatomical Structure~SCT^10200004^Liver~^^~" in line for line in head)
    gzip.decompress(path.read_bytes().split(b"\n\n", 1)[1])


def test_simpleitk_reads_the_same_voxels(tmp_path, grid):
    sitk = pytest.importorskip("SimpleITK")
    segment = three(grid)[0]
    write_segmentation(tmp_path / "a.seg.nrrd", grid, [segment])
    write_named_nifti(tmp_path / "a.nii.gz", grid, [segment])
    expected = segment.mask.grid.to_patient(np.argwhere(segment.mask.inside))
    for name in ("a.seg.nrrd", "a.nii.gz"):
        image = sitk.ReadImage(str(tmp_path / name))
        index = np.argwhere(sitk.GetArrayFromImage(image).transpose(2, 1, 0) > 0).tolist()
        points = np.array([image.TransformIndexToPhysicalPoint(i) for i in index])
        np.testing.assert_allclose(points, expected, atol=2e-4)
        # A flipped axis would put them elsewhere.
        assert np.abs(points[::-1] - expected).max() > 1.0


def test_overlaps_in_one_label_map_get_their_own_label(tmp_path, grid):
    segments = three(grid)
    labels, names = joined_labels(grid, segments)
    assert names == {"liver": 1, "tumour": 2, "Gefäß": 3, "liver + tumour": 4}
    for number, segment in enumerate(segments, 1):
        parts = [number, 4] if number < 3 else [number]
        np.testing.assert_array_equal(np.isin(labels, parts), whole(grid, segment))
    write_named_nifti(tmp_path / "zones.nii.gz", grid, segments)
    volume = read_labels(tmp_path / "zones.nii.gz")
    np.testing.assert_array_equal(volume.labels, labels)
    corners = np.array([[0, 0, 0], [SHAPE[0] - 1, SHAPE[1] - 1, SHAPE[2] - 1]])
    np.testing.assert_allclose(volume.grid.to_patient(corners), grid.to_patient(corners), atol=1e-4)
    assert json_label_names(tmp_path / "zones.json") == {number: name for name, number in names.items()}
    stored = json.loads((tmp_path / "zones.json").read_text(encoding="utf-8"))
    assert stored["labels"]["0"] == "background"


def test_a_mask_that_lies_within_another_leaves_its_name(grid):
    big = solid(grid, slice(1, 5), slice(2, 5), slice(3, 6), name="big")
    small = WrittenSegment("small", big.mask)
    labels, names = joined_labels(grid, [big, small])
    assert names == {"big": 1, "small": 2, "big + small": 3} and set(np.unique(labels)) == {0, 3}


def test_fields_come_back(tmp_path, grid):
    field = ScalarField(grid, np.random.default_rng(2).normal(size=SHAPE) * 30)
    for name in ("f.nii", "f.nii.gz"):
        write_field_nifti(tmp_path / name, field, "margin, mm")
        image = nibabel.load(tmp_path / name)
        assert (
            image.get_data_dtype() == np.float32 and bytes(image.header["descrip"]).rstrip(b"\0") == b"margin, mm"
        )
        np.testing.assert_array_equal(np.asarray(image.dataobj), field.values)
        np.testing.assert_allclose(TO_RAS @ image.affine, grid.T_PV, atol=1e-4)
        np.testing.assert_allclose(image.header.get_qform(), image.header.get_sform(), atol=2e-4)
        assert image.header.get_xyzt_units()[0] == "mm"


def test_masks_between_the_voxels_are_refused(grid):
    segment = three(grid)[0]
    for shift in ([0.5, 0, 0], [0, 0, 0.01]):
        matrix = np.array(grid.T_PV)
        matrix[:3, 3] = grid.to_patient(shift)
        with pytest.raises(GeometryError, match="off the voxels"):
            box_in(Grid(SHAPE, matrix), segment.mask.grid)
    finer = np.array(grid.T_PV)
    finer[:3, 0] *= 0.5
    with pytest.raises(GeometryError, match="off the voxels"):
        box_in(Grid(SHAPE, finer), segment.mask.grid)
    with pytest.raises(GeometryError, match="beyond the grid"):
        box_in(grid.cropped((2, 0, 0), (5, 7, 8)), segment.mask.grid)
    flipped = np.array(grid.T_PV)
    flipped[:3, 2] *= -1
    with pytest.raises(GeometryError, match="off the voxels"):
        box_in(Grid(SHAPE, flipped), segment.mask.grid)


def test_what_cannot_be_written_is_refused(tmp_path):
    grid = grid_of(False)
    one = three(grid)[0]
    field = ScalarField(grid, np.zeros(SHAPE))
    for wrong, said in (([], "fit into a file"), ([one, one], "used twice"), ([one] * 300, "fit into a file")):
        with pytest.raises(OptionError, match=said):
            write_segmentation(tmp_path / "a.seg.nrrd", grid, wrong)
    with pytest.raises(OptionError, match="no name"):
        write_named_nifti(tmp_path / "a.nii", grid, [WrittenSegment("\n", one.mask)])
    with pytest.raises(OptionError, match=r"\.seg\.nrrd"):
        write_segmentation(tmp_path / "a.nrrd", grid, [one])
    with pytest.raises(OptionError, match=r"\.nii"):
        write_named_nifti(tmp_path / "a.gz", grid, [one])
    with pytest.raises(OptionError, match="79 letters"):
        write_field_nifti(tmp_path / "a.nii", field, "x" * 80)
    with pytest.raises(CaseError, match="finite"):
        write_field_nifti(tmp_path / "a.nii", ScalarField(grid, np.full(SHAPE, np.nan)), "x")
    assert list(tmp_path.iterdir()) == []
