"""Segmentations: the same voxels at the same places, whatever the grid, and a named error for what is not read."""

import numpy as np
import pydicom
import pytest
from made_dicom import SHAPE, asymmetric_masks, centres_of, named, oblique_grid, segment_of

from needleplan.errors import CaseError, GeometryError, OptionError
from needleplan.grid import Grid, VoxelMask
from needleplan.io.dicom.coding import PLANNED_ZONE, TUMOUR, UNKNOWN, coding_of
from needleplan.io.dicom.dicom_labels import read_dicom_source
from needleplan.io.dicom.reference import made_reference
from needleplan.io.dicom.segmentation import read_segmentation
from needleplan.io.dicom.segmentation_writer import NamedMask, write_segmentation
from needleplan.io.frame import FileFrame
from needleplan.io.labels import read_labels


@pytest.fixture(params=[False, True], ids=["proper", "mirrored"])
def grid(request) -> Grid:
    return oblique_grid(request.param)


@pytest.fixture
def written(tmp_path):
    """A file of three segments, two of which overlap, its grid and masks."""
    grid = oblique_grid()
    masks = asymmetric_masks(grid)
    write_segmentation(tmp_path / "s.dcm", named(grid, masks), made_reference(grid))
    return tmp_path / "s.dcm", grid, masks


def changed(path, change):
    """The file with ``change`` done to its data set."""
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def test_round_trip_gives_the_same_voxels_at_the_same_places(tmp_path, grid):
    masks = asymmetric_masks(grid)
    write_segmentation(tmp_path / "s.dcm", named(grid, masks), made_reference(grid))
    volume = read_labels(tmp_path / "s.dcm")
    assert [segment.name for segment in volume.segments] == list(masks)
    assert len(volume.layers) == 2
    for name, inside in masks.items():
        found = centres_of(volume.grid, segment_of(volume, name))
        np.testing.assert_allclose(found, centres_of(grid, inside), atol=1e-4)
    assert not volume.layers[0].flags.writeable


def test_same_input_gives_the_same_bytes_and_other_input_other_uids(tmp_path):
    grid = oblique_grid()
    masks = named(grid, asymmetric_masks(grid))
    for name, chosen in (("a", masks), ("b", masks), ("c", masks[:2])):
        write_segmentation(tmp_path / f"{name}.dcm", chosen, made_reference(grid, "plan"))
    a, b, c = ((tmp_path / f"{name}.dcm").read_bytes() for name in "abc")
    assert a == b
    uids = {pydicom.dcmread(tmp_path / f"{name}.dcm").SOPInstanceUID for name in "abc"}
    assert len(uids) == 2 and c != a
    assert made_reference(grid, "plan").source != made_reference(grid, "other plan").source
    known = made_reference(grid, "plan", "1.2.3").source
    assert known.frame_of_reference_uid == "1.2.3"
    assert known.series_uid != made_reference(grid, "plan").source.series_uid


def test_source_is_told_without_a_patient(written):
    path, grid, _ = written
    source = read_dicom_source(path)
    reference = made_reference(grid)
    assert source.frame_of_reference_uid == reference.source.frame_of_reference_uid
    assert source.referenced_series_uid == reference.source.series_uid
    assert source.modality == "SEG"
    assert read_labels(path).frame_of_reference_uid == source.frame_of_reference_uid
    with pytest.raises(CaseError, match="frame of reference"):
        source.require_frame_of(made_reference(grid, "another").source, "liver")
    source.require_frame_of(reference.source, "liver")


def test_codes_are_those_of_the_names(written):
    path, _, _ = written
    found = pydicom.dcmread(path).SegmentSequence
    kinds = [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in found]
    assert kinds == ["10200004", "108369006", "32764006"]
    assert coding_of("ablation zone") == PLANNED_ZONE
    assert coding_of("liver_tumor") == TUMOUR
    assert coding_of("ribs").kind[2] == "Rib"
    assert coding_of("something") == UNKNOWN


def test_every_code_is_the_standards():
    from pydicom.sr._concepts_dict import concepts

    from needleplan.io.dicom import coding

    stated = {(value, meaning) for _, value, meaning in coding._WORDS}
    stated |= {one.kind[::2] for one in (coding.TUMOUR, coding.SKIN, coding.UNKNOWN)} | {
        code[::2] for code in (coding._ANATOMY, coding._ABNORMAL, coding._SPATIAL)
    }
    known = {(value, entry[0]) for codes in concepts["SCT"].values() for value, entry in codes.items()}
    assert stated <= known


def test_planes_that_the_writer_left_out_are_empty(tmp_path):
    grid = oblique_grid()
    inside = np.zeros(SHAPE, dtype=bool)
    inside[4, 5, 1] = inside[6, 7, 6] = True
    write_segmentation(tmp_path / "s.dcm", named(grid, {"tumour": inside}), made_reference(grid))
    volume = read_labels(tmp_path / "s.dcm")
    assert volume.grid.shape == (SHAPE[0], SHAPE[1], 6)
    np.testing.assert_allclose(centres_of(volume.grid, volume.labels > 0), centres_of(grid, inside), atol=1e-4)
    # Without a stated spacing the least gap is the step.
    changed(tmp_path / "s.dcm", _without_spacing)
    volume = read_labels(tmp_path / "s.dcm")
    assert volume.grid.shape == (SHAPE[0], SHAPE[1], 2)
    np.testing.assert_allclose(centres_of(volume.grid, volume.labels > 0), centres_of(grid, inside), atol=1e-4)


def _without_spacing(dataset) -> None:
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices


def test_position_counts_and_no_number_does(written):
    path, grid, masks = written

    def reverse(dataset):
        frames = list(dataset.PerFrameFunctionalGroupsSequence)
        bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
        size = dataset.Rows * dataset.Columns
        pixels = [bits[n * size : (n + 1) * size] for n in range(len(frames))][::-1]
        dataset.PerFrameFunctionalGroupsSequence = frames[::-1]
        packed = np.packbits(np.concatenate(pixels), bitorder="little").tobytes()
        dataset.PixelData = packed + b"\0" * (len(packed) % 2)

    volume = read_labels(changed(path, reverse))
    for name, inside in masks.items():
        found = centres_of(volume.grid, segment_of(volume, name))
        np.testing.assert_allclose(found, centres_of(grid, inside), atol=1e-4)


def test_sheared_planes_stay_where_they_are(written):
    path, grid, masks = written
    across = grid.T_PV[:3, 1] / np.linalg.norm(grid.T_PV[:3, 1])
    first = grid.to_patient([0, 0, 1])
    normal = np.cross(*(grid.T_PV[:3, k] / np.linalg.norm(grid.T_PV[:3, k]) for k in (0, 1)))

    def tilt(dataset):
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            plane = frame.PlanePositionSequence[0]
            place = np.array([float(x) for x in plane.ImagePositionPatient])
            moved = place + 0.3 * ((place - first) @ normal) * across
            plane.ImagePositionPatient = [f"{x:.9f}" for x in moved]

    volume = read_labels(changed(path, tilt))
    expected = centres_of(grid, masks["tumour"])
    expected = expected + 0.3 * ((expected - first) @ normal)[:, None] * across
    found = centres_of(volume.grid, segment_of(volume, "tumour"))
    np.testing.assert_allclose(found, expected[np.lexsort(expected.round(3).T)], atol=2e-3)


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
def test_other_types_by_highdicom(tmp_path, kind, syntax):
    import highdicom

    grid = oblique_grid()
    reference = made_reference(grid)
    inside = asymmetric_masks(grid)["tumour"]
    pixels = inside.transpose(2, 1, 0)
    values = np.where(pixels, 0.6, 0.2) if kind == "FRACTIONAL" else pixels.astype(np.uint8)
    coding = coding_of("tumour")
    made = highdicom.seg.Segmentation(
        [reference.image_header(k) for k in range(SHAPE[2])],
        values,
        kind,
        [
            highdicom.seg.SegmentDescription(
                1,
                "tumour",
                highdicom.sr.CodedConcept(*coding.category),
                highdicom.sr.CodedConcept(*coding.kind),
                "MANUAL",
            )
        ],
        series_instance_uid="1.2.3",
        series_number=1,
        sop_instance_uid="1.2.4",
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="m",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=syntax,
    )
    made.save_as(tmp_path / "s.dcm")
    if kind == "FRACTIONAL":
        with pytest.raises(CaseError, match="fractional"):
            read_labels(tmp_path / "s.dcm")
        volume = read_segmentation(tmp_path / "s.dcm", 0.5).labels
        assert "0.5" in volume.frame_note
        assert (read_segmentation(tmp_path / "s.dcm", 0.1).labels.labels == 1).all()
    else:
        volume = read_labels(tmp_path / "s.dcm")
    np.testing.assert_allclose(centres_of(volume.grid, volume.labels > 0), centres_of(grid, inside), atol=1e-4)


def _frame(dataset, number=0):
    return dataset.PerFrameFunctionalGroupsSequence[number]


def _turn(dataset) -> None:
    turned = pydicom.Dataset()
    turned.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
    _frame(dataset, 2).PlaneOrientationSequence = [turned]


def _move(dataset) -> None:
    place = _frame(dataset, 2).PlanePositionSequence[0]
    place.ImagePositionPatient = [float(x) + 1.1 for x in place.ImagePositionPatient]


def _double(dataset) -> None:
    _frame(dataset, 1).PlanePositionSequence = _frame(dataset, 0).PlanePositionSequence
    _frame(dataset, 1).SegmentIdentificationSequence = _frame(dataset, 0).SegmentIdentificationSequence


def _not_a_number(dataset) -> None:
    place = _frame(dataset, 2).PlanePositionSequence[0]
    with pydicom.config.disable_value_validation():
        place.ImagePositionPatient = ["nan", "0", "0"]


def _shrink(dataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [
        *(0.9, 0, 0),
        *(0, 1, 0),
    ]


def _far(dataset) -> None:
    _frame(dataset, 2).PlanePositionSequence[0].ImagePositionPatient = [
        a + 300_000 * b
        for a, b in zip(
            oblique_grid().to_patient([0, 0, 0]), oblique_grid().T_PV[:3, 2] / 2.9 * 2.9 / 2.9, strict=True
        )
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_turn, "several orientations"),
        (_move, "shifted|evenly"),
        (_double, "two frames at one place"),
        (_not_a_number, "finite"),
        (_shrink, "perpendicular unit vectors"),
        (_far, "missing|evenly|shifted|limit"),
        (lambda d: d.__delattr__("FrameOfReferenceUID"), "FrameOfReferenceUID"),
        (lambda d: d.__delattr__("SharedFunctionalGroupsSequence"), "no Pl|no Pi"),
        (lambda d: d.__delattr__("SegmentSequence"), "no segment"),
        (lambda d: d.SegmentSequence.pop(), "not described"),
        (lambda d: d.__delattr__("SegmentationType"), "SegmentationType"),
        (lambda d: setattr(d, "NumberOfFrames", 10**9), "need"),
        (lambda d: setattr(d, "Rows", 65535), "need"),
        (lambda d: setattr(d, "SamplesPerPixel", 3), "samples"),
        (lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "no segmentation"),
        (lambda d: d.__delattr__("PixelData"), "no pixel data"),
    ],
)
def test_what_cannot_be_placed_is_refused(written, change, message):
    path, _, _ = written
    with pytest.raises(CaseError, match=message):
        read_segmentation(changed(path, change))


def test_misuse_is_named(tmp_path, written):
    path, grid, masks = written
    reference = made_reference(grid)
    with pytest.raises(CaseError, match="LPS"):
        read_labels(path, FileFrame.RAS)
    with pytest.raises(CaseError, match="threshold"):
        read_segmentation(changed(path, lambda d: setattr(d, "SegmentationType", "FRACTIONAL")), 1.5)
    inside = masks["tumour"]
    with pytest.raises(OptionError, match="at least one"):
        write_segmentation(tmp_path / "x.dcm", [], reference)
    with pytest.raises(OptionError, match="of its own"):
        write_segmentation(tmp_path / "x.dcm", named(grid, {"a": inside}) * 2, reference)
    with pytest.raises(OptionError, match="64"):
        write_segmentation(tmp_path / "x.dcm", named(grid, {"a" * 65: inside}), reference)
    moved = np.array(grid.T_PV)
    moved[0, 3] += 0.1
    with pytest.raises(GeometryError, match="resample"):
        write_segmentation(tmp_path / "x.dcm", named(Grid(SHAPE, moved), {"a": inside}), reference)
    finer = np.array(grid.T_PV)
    finer[:3, 0] *= 2
    with pytest.raises(GeometryError, match="larger or smaller"):
        write_segmentation(
            tmp_path / "x.dcm", [NamedMask("a", VoxelMask(Grid((2, 2, 2), finer), np.ones((2, 2, 2))))], reference
        )
    beyond = grid.cropped((15, 0, 0), (5, 2, 2))
    with pytest.raises(GeometryError, match="beyond"):
        write_segmentation(tmp_path / "x.dcm", [NamedMask("a", VoxelMask(beyond, np.ones((5, 2, 2))))], reference)
    sheared = np.array(grid.T_PV)
    sheared[:3, 2] += 0.3 * sheared[:3, 1]
    with pytest.raises(GeometryError, match="perpendicular"):
        made_reference(Grid(SHAPE, sheared))
    assert not (tmp_path / "x.dcm").exists()


def test_masks_on_turned_axes_are_placed_by_position(tmp_path):
    """A mask whose axes run along the reference's in another order and direction."""
    grid = oblique_grid()
    inside = asymmetric_masks(grid)["tumour"]
    matrix = np.array(grid.T_PV)
    matrix[:3, :3] = np.stack([grid.T_PV[:3, 2], -grid.T_PV[:3, 0], grid.T_PV[:3, 1]], axis=1)
    matrix[:3, 3] = grid.to_patient([SHAPE[0] - 1, 0, 0])
    turned = VoxelMask(Grid((SHAPE[2], SHAPE[0], SHAPE[1]), matrix), inside.transpose(2, 0, 1)[:, ::-1])
    np.testing.assert_allclose(centres_of(turned.grid, turned.inside), centres_of(grid, inside), atol=1e-6)
    write_segmentation(tmp_path / "s.dcm", [NamedMask("tumour", turned)], made_reference(grid))
    volume = read_labels(tmp_path / "s.dcm")
    np.testing.assert_allclose(centres_of(volume.grid, volume.labels > 0), centres_of(grid, inside), atol=1e-4)
