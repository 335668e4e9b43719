"""Label maps: every format brings an oblique, anisotropic, asymmetric, mirrored grid to the same place in LPS."""

import nibabel
import nrrd
import numpy as np
import pytest
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

from needleplan.errors import CaseError
from needleplan.grid import Grid
from needleplan.io import bounded
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.labels import read_labels
from needleplan.io.nifti import write_labels_nifti
from needleplan.io.nrrd_labels import write_labels_nrrd

SHAPE = (7, 9, 5)
LPS, RAS, MM = FileFrame.LPS, FileFrame.RAS, FileUnit.MILLIMETRE
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rotation(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def oblique_affine(mirrored: bool) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((1, 2, -0.5), 0.7) * [0.7, 1.3, 2.9] * [1, -1 if mirrored else 1, 1]
    matrix[:3, 3] = [-31.25, 57.5, -402.125]
    return matrix


@pytest.fixture(params=[False, True], ids=["proper", "mirrored"])
def truth(request) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng(5).integers(0, 4, SHAPE).astype(np.int16)
    return oblique_affine(request.param), labels


def write_vti(path, direction, spacing, origin, labels, extent_start=(0, 0, 0), ascii_text=False):
    image = vtkImageData()
    image.SetExtent(*[n for s, m in zip(extent_start, labels.shape, strict=True) for n in (s, s + m - 1)])
    image.SetSpacing(*spacing)
    image.SetOrigin(*origin)
    image.SetDirectionMatrix(*np.asarray(direction).ravel())
    array = numpy_to_vtk(np.ascontiguousarray(labels.ravel(order="F")), deep=True)
    array.SetName("labels")
    image.GetPointData().SetScalars(array)
    writer = vtkXMLImageDataWriter()
    if ascii_text:
        writer.SetDataModeToAscii()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    assert writer.Write()
    return path


def same(volume, affine: np.ndarray, labels: np.ndarray) -> None:
    """Every voxel centre is where it must be to 1e-4 mm, and holds its label."""
    index = np.indices(SHAPE).reshape(3, -1).T
    expected = index @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(volume.grid.to_patient(index), expected, atol=1e-4)
    np.testing.assert_array_equal(volume.labels, labels)
    assert not volume.labels.flags.writeable


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "u1", "f4"])
def test_nifti_written_by_nibabel(tmp_path, truth, ending, version, dtype):
    affine, labels = truth
    image = version(labels.astype(dtype), TO_RAS @ affine, dtype=np.dtype(dtype))
    if dtype == ">i2":
        image = version(labels.astype(dtype), TO_RAS @ affine, header=image.header.as_byteswapped(">"))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / f"a{ending}")
    same(read_labels(tmp_path / f"a{ending}"), affine, labels)


def test_nifti_with_qform_only_and_in_metres(tmp_path, truth):
    affine, labels = truth
    metres = np.diag([1e-3, 1e-3, 1e-3, 1]) @ TO_RAS @ affine
    image = nibabel.Nifti1Image(labels, metres)
    image.set_sform(None, code=0)
    image.set_qform(metres, code=1)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "q.nii.gz")
    same(read_labels(tmp_path / "q.nii.gz"), affine, labels)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_our_nifti_is_read_alike_by_nibabel(tmp_path, truth, ending):
    affine, labels = truth
    path = tmp_path / f"own{ending}"
    write_labels_nifti(path, Grid(SHAPE, affine), labels)
    same(read_labels(path), affine, labels)
    image = nibabel.load(path)
    np.testing.assert_allclose(TO_RAS @ image.affine, affine, atol=1e-4)
    np.testing.assert_allclose(image.header.get_qform(), image.header.get_sform(), atol=1e-4)
    np.testing.assert_array_equal(np.asarray(image.dataobj), labels)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("space", "flip"), [("left-posterior-superior", (1, 1)), ("RAS", (-1, -1)), ("left-anterior-superior", (1, -1))]
)
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("detached", [False, True])
def test_nrrd_written_by_pynrrd(tmp_path, truth, space, flip, encoding, detached):
    affine, labels = truth
    signs = np.array([*flip, 1.0])
    header = {
        "space": space,
        "space directions": (signs[:, None] * affine[:3, :3]).T,
        "space origin": signs * affine[:3, 3],
        "encoding": encoding,
    }
    path = tmp_path / ("a.nhdr" if detached else "a.nrrd")
    nrrd.write(str(path), labels, header, detached_header=detached, relative_data_path=True)
    same(read_labels(path), affine, labels)


def test_our_nrrd_is_read_alike_by_pynrrd_and_keeps_names(tmp_path, truth):
    affine, labels = truth
    path = tmp_path / "own.seg.nrrd"
    write_labels_nrrd(path, Grid(SHAPE, affine), labels, {1: "liver", 3: "portal vein"})
    volume = read_labels(path)
    same(volume, affine, labels)
    assert volume.names == {1: "liver", 3: "portal vein"}
    values, header = nrrd.read(str(path))
    np.testing.assert_array_equal(values, labels)
    np.testing.assert_allclose(header["space directions"].T, affine[:3, :3], atol=1e-9)
    np.testing.assert_allclose(header["space origin"], affine[:3, 3], atol=1e-9)


def test_layers_of_overlapping_segments_keep_apart(tmp_path, truth):
    affine, labels = truth
    first, second = (labels == 1).astype(np.uint8), (labels > 0).astype(np.uint8)
    header = {
        "space": "left-posterior-superior",
        "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.vstack([[np.nan] * 3, affine[:3, :3].T]),
        "space origin": affine[:3, 3],
        "encoding": "gzip",
    }
    for number, (name, layer) in enumerate([("tumour", 0), ("liver", 1)]):
        header |= {
            f"Segment{number}_Name": name,
            f"Segment{number}_LabelValue": "1",
            f"Segment{number}_Layer": layer,
        }
    nrrd.write(str(tmp_path / "two.seg.nrrd"), np.stack([first, second]), header)
    volume = read_labels(tmp_path / "two.seg.nrrd")
    assert [(s.name, s.value, s.layer) for s in volume.segments] == [("tumour", 1, 0), ("liver", 1, 1)]
    np.testing.assert_array_equal(volume.layers[0], first)
    np.testing.assert_array_equal(volume.layers[1], second)


@pytest.mark.parametrize("frame", [LPS, RAS])
@pytest.mark.parametrize("ascii_text", [False, True])
def test_vti_written_by_vtk_with_direction_and_extent(tmp_path, truth, frame, ascii_text):
    affine, labels = truth
    signs = frame.to_patient
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = signs[:, None] * affine[:3, :3] / spacing
    start = (2, 0, -3)
    origin = signs * affine[:3, 3] - direction @ (spacing * start)
    path = write_vti(tmp_path / "a.vti", direction, spacing, origin, labels, start, ascii_text)
    same(read_labels(path, frame, MM), affine, labels)


@pytest.mark.parametrize("mode", ["SetDataModeToBinary", "SetDataModeToAppended"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
def test_every_way_that_vtk_stores_an_image(tmp_path, mode, compressed, raw, wide, big_endian):
    """Several blocks a file, so that their sizes and the shorter last one count."""
    labels = np.random.default_rng(8).integers(0, 500, (17, 23, 11)).astype(np.int32)
    image = vtkImageData()
    image.SetDimensions(*labels.shape)
    array = numpy_to_vtk(labels.ravel(order="F"), deep=True)
    array.SetName("labels")
    image.GetPointData().SetScalars(array)
    writer = vtkXMLImageDataWriter()
    getattr(writer, mode)()
    if not compressed:
        writer.SetCompressorTypeToNone()
    writer.SetEncodeAppendedData(not raw)
    if wide:
        writer.SetHeaderTypeToUInt64()
    else:
        writer.SetHeaderTypeToUInt32()
    if big_endian:
        writer.SetByteOrderToBigEndian()
    writer.SetBlockSize(4096)
    writer.SetFileName(str(tmp_path / "a.vti"))
    writer.SetInputData(image)
    assert writer.Write()
    np.testing.assert_array_equal(read_labels(tmp_path / "a.vti", LPS, MM).labels, labels)


def test_a_wrong_frame_is_noticed_by_this_phantom(tmp_path, truth):
    """The phantom is no use if a flip of LPS and RAS left it as it was."""
    affine, labels = truth
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    path = write_vti(tmp_path / "a.vti", affine[:3, :3] / spacing, spacing, affine[:3, 3], labels)
    with pytest.raises(AssertionError):
        same(read_labels(path, RAS, MM), affine, labels)


def nifti(tmp_path, ending=".nii", units="mm"):
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), np.diag([-2.0, -2.0, 3.0, 1.0]))
    image.header.set_xyzt_units(units)
    nibabel.save(image, tmp_path / f"a{ending}")
    return tmp_path / f"a{ending}"


def edit(path, offset, data):
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(bytes(content))
    return path


def int16(*values):
    return np.array(values, "<i2").tobytes()


def float32(*values):
    return np.array(values, "<f4").tobytes()


NIFTI_FAULTS = {
    "huge": (lambda p: edit(p, 40, int16(3, 32767, 32767, 32767)), "more than the limit"),
    "zero size": (lambda p: edit(p, 40, int16(3, 4, 0, 6)), "at least 1"),
    "negative size": (lambda p: edit(p, 40, int16(3, 4, -5, 6)), "at least 1"),
    "bigger than file": (lambda p: edit(p, 40, int16(3, 4, 5, 7)), "truncated"),
    "smaller than file": (lambda p: edit(p, 40, int16(3, 4, 5, 5)), "more data"),
    "four dimensions": (lambda p: edit(p, 40, int16(4, 4, 5, 3, 2)), "three sizes"),
    "no position": (lambda p: edit(p, 252, int16(0, 0)), "states no position"),
    "affine nan": (lambda p: edit(p, 280, float32(np.nan)), "not a number"),
    "sform and qform apart": (lambda p: edit(edit(p, 252, int16(1, 1)), 280 + 12, float32(500.0)), "disagree"),
    "singular": (lambda p: edit(p, 280, float32(*[0.0] * 12)), "singular"),
    "rescaled": (lambda p: edit(p, 112, float32(2.0, 0.0)), "rescaled"),
    "not nifti": (lambda p: edit(p, 0, b"\x00\x01\x02\x03"), "not a NIfTI"),
    "pair of files": (lambda p: edit(p, 344, b"ni1\x00"), "single-file"),
    "unknown type": (lambda p: edit(p, 70, int16(77)), "data type"),
    "complex": (lambda p: edit(p, 70, int16(32, 64)), "whole numbers"),
    "negative voxel": (lambda p: edit(p, 352, int16(-1000)), "not of a label map"),
    "offset": (lambda p: edit(p, 108, float32(1e30)), "voxels begin"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:400]), "truncated"),
    "header only": (lambda p: p.write_bytes(p.read_bytes()[:100]), "truncated"),
    "empty": (lambda p: p.write_bytes(b""), "empty"),
}


@pytest.mark.parametrize("fault", NIFTI_FAULTS)
def test_damaged_nifti_is_refused(tmp_path, fault):
    path = nifti(tmp_path)
    assert read_labels(path).labels.all()
    breaker, words = NIFTI_FAULTS[fault]
    breaker(path)
    with pytest.raises(CaseError, match=words) as caught:
        read_labels(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_truncated_and_corrupted_gzip_are_refused(tmp_path):
    path = nifti(tmp_path, ".nii.gz")
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:-6], whole[:-6] + b"\x00" * 6, whole[:12]):
        path.write_bytes(broken)
        with pytest.raises(CaseError, match="truncated or damaged"):
            read_labels(path)


def test_unit_must_be_stated_somewhere_and_only_once(tmp_path):
    path = nifti(tmp_path, units="unknown")
    with pytest.raises(CaseError, match="states no length unit"):
        read_labels(path)
    assert read_labels(path, unit=FileUnit.METRE).grid.spacing_mm[2] == pytest.approx(3000)
    with pytest.raises(CaseError, match="but the manifest"):
        read_labels(nifti(tmp_path), unit=FileUnit.METRE)
    with pytest.raises(CaseError, match="RAS by its standard"):
        read_labels(nifti(tmp_path), frame=LPS)


NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 5 6\n"
    "space directions: (1,0,0) (0,1,0) (0,0,2)\nspace origin: (0,0,0)\nendian: little\nencoding: raw\n\n"
)
NRRD_FAULTS = {
    "no space": (("space: left-posterior-superior\n", ""), "must state a space"),
    "scanner space": (("left-posterior-superior", "scanner-xyz"), "must state a space"),
    "10^15 voxels": (("4 5 6", "100000 100000 100000"), "more than the limit"),
    "10^30 voxels": (("4 5 6", "99999999999999999999 9999999999 1"), "limit|damaged"),
    "bigger than file": (("4 5 6", "4 5 7"), "truncated"),
    "smaller than file": (("4 5 6", "4 5 5"), "more data"),
    "dimension": (("dimension: 3", "dimension: 2"), "three axes"),
    "no origin": (("space origin: (0,0,0)\n", ""), "space origin"),
    "nan origin": (("(0,0,0)\n", "(0,nan,0)\n"), "origin must be three"),
    "directions none": (("(1,0,0)", "none"), "three vectors"),
    "singular": (("(0,1,0)", "(1,0,0)"), "singular"),
    "doubled field": (("sizes:", "sizes: 4 5 6\nsizes:"), "damaged"),
    "no colon": (("endian: little", "endian little"), "damaged"),
    "type": (("short", "block"), "whole numbers"),
    "endian": (("endian: little\n", ""), "little or big"),
    "encoding": (("raw", "bzip2"), "raw or gzip"),
    "not gzip": (("raw", "gzip"), "gzip but the data"),
    "byte skip": (("encoding", "byte skip: -1\nencoding"), "byte skip"),
    "data file outside": (("encoding: raw", "encoding: raw\ndata file: ../secret.raw"), "outside the folder"),
    "data file absolute": (("encoding: raw", "encoding: raw\ndata file: /etc/hostname"), "outside the folder"),
    "data file list": (("encoding: raw", "encoding: raw\ndata file: LIST"), "one plainly named"),
    "data file missing": (("encoding: raw", "encoding: raw\ndata file: b.raw"), "does not exist"),
    "space units": (("encoding", 'space units: "mm" "mm" "inch"\nencoding'), "space units"),
    "magic": (("NRRD0004", "NRRX0004"), "not an NRRD"),
    "segment value": (("encoding", "Segment0_Name:=a\nSegment0_LabelValue:=x\nencoding"), "not a whole number"),
    "segment layer": (("encoding", "Segment0_Name:=a\nSegment0_Layer:=4\nencoding"), "layer below"),
    "segment twice": (("encoding", "Segment0_Name:=a\nSegment1_Name:=a\nencoding"), "used twice"),
}


@pytest.mark.parametrize("fault", NRRD_FAULTS)
def test_damaged_nrrd_is_refused(tmp_path, fault):
    (tmp_path / "secret.raw").write_bytes(bytes(240))
    folder = tmp_path / "case"
    folder.mkdir()
    path = folder / "a.nrrd"
    voxels = np.ones(120, "<i2").tobytes()
    path.write_bytes(NRRD.encode() + voxels)
    assert read_labels(path).labels.all()
    (old, new), words = NRRD_FAULTS[fault]
    assert old in NRRD
    path.write_bytes(NRRD.replace(old, new, 1).encode() + voxels)
    with pytest.raises(CaseError, match=words) as caught:
        read_labels(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_detached_data_behind_a_link_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "secret.raw").write_bytes(bytes(240))
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "b.raw").symlink_to(tmp_path / "secret.raw")
    (folder / "a.nhdr").write_text(NRRD.replace("encoding: raw", "encoding: raw\ndata file: b.raw"))
    with pytest.raises(CaseError, match="outside the folder"):
        read_labels(folder / "a.nhdr")


def vti_text(**changes: str) -> str:
    values = " ".join(["1"] * 120)
    parts = {
        "head": '<?xml version="1.0"?>\n',
        "extent": "0 3 0 4 0 5",
        "piece": "0 3 0 4 0 5",
        "type": "Int16",
        "values": values,
        "spacing": "1 1 2",
    } | changes
    return (
        f'{parts["head"]}<VTKFile type="ImageData" version="0.1" byte_order="LittleEndian">'
        f'<ImageData WholeExtent="{parts["extent"]}" Origin="0 0 0" Spacing="{parts["spacing"]}">'
        f'<Piece Extent="{parts["piece"]}"><PointData Scalars="a">'
        f'<DataArray type="{parts["type"]}" Name="a" format="ascii">{parts["values"]}</DataArray>'
        "</PointData></Piece></ImageData></VTKFile>"
    )


BOMB = '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
VTI_FAULTS = {
    "entity bomb": ({"head": '<?xml version="1.0"?>' + BOMB}, "entities"),
    "external entity": (
        {"head": '<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]>'},
        "entities|must begin",
    ),
    "utf-16": ({"head": '<?xml version="1.0" encoding="UTF-16"?>'}, "UTF-8"),
    "10^15 voxels": ({"extent": "0 99999 0 99999 0 99999", "piece": "0 99999 0 99999 0 99999"}, "limit"),
    "bigger than file": ({"extent": "0 99 0 99 0 99", "piece": "0 99 0 99 0 99"}, "1000000 are declared"),
    "piece outside": ({"piece": "0 3 0 4 0 6"}, "voxels are missing"),
    "piece smaller": ({"piece": "0 3 0 4 0 4"}, "voxels are missing"),
    "too few values": ({"values": "1 1 1 1 " + " " * 300}, "4 numbers where 120"),
    "word for value": ({"values": " ".join(["1"] * 60 + ["x"] * 60)}, "not a number"),
    "zero spacing": ({"spacing": "1 0 2"}, "singular"),
    "nan spacing": ({"spacing": "1 nan 2"}, "Spacing must be"),
    "string array": ({"type": "String"}, "must hold numbers"),
    "fractions": ({"type": "Float32", "values": " ".join(["1.5"] * 120)}, "not whole"),
}


@pytest.mark.parametrize("fault", VTI_FAULTS)
def test_damaged_vti_is_refused(tmp_path, fault):
    path = tmp_path / "a.vti"
    path.write_text(vti_text())
    assert read_labels(path, LPS, MM).labels.all()
    changes, words = VTI_FAULTS[fault]
    path.write_text(vti_text(**changes))
    with pytest.raises(CaseError, match=words) as caught:
        read_labels(path, LPS, MM)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_vti_without_frame_or_unit_and_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.vti"
    path.write_text(vti_text())
    for frame, unit in ((None, MM), (LPS, None), (None, None)):
        with pytest.raises(CaseError, match="stores neither frame nor unit"):
            read_labels(path, frame, unit)
    path.write_text(vti_text()[:-40])
    with pytest.raises(CaseError, match="truncated"):
        read_labels(path, LPS, MM)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9, 0.99])
def test_vti_with_truncated_appended_data_is_refused(tmp_path, keep):
    labels = np.random.default_rng(1).integers(0, 9, (20, 20, 20)).astype(np.int16)
    path = write_vti(tmp_path / "a.vti", np.eye(3), (1, 1, 1), (0, 0, 0), labels)
    whole = path.read_bytes()
    assert b"<AppendedData" in whole
    begin, end = whole.index(b"<AppendedData"), whole.index(b"</AppendedData")
    cut = begin + int(keep * (end - begin))
    path.write_bytes(whole[:cut] + whole[end:])
    with pytest.raises(CaseError, match=r"truncated|fewer|damaged"):
        read_labels(path, LPS, MM)


def test_labels_that_cannot_be_stored_are_refused(tmp_path):
    grid = Grid(SHAPE, oblique_affine(False))
    for labels in (np.zeros((2, 2, 2), int), np.full(SHAPE, -1), np.full(SHAPE, 40000)):
        with pytest.raises(CaseError, match="labels"):
            write_labels_nifti(tmp_path / "a.nii", grid, labels)
    assert list(tmp_path.iterdir()) == []


def test_a_header_of_more_bytes_than_the_limit_is_refused_before_they_are_taken(tmp_path, monkeypatch):
    """A small gzip file may hold gigabytes, and voxels alone do not bound them, as doubles take eight each."""
    with pytest.raises(CaseError, match="more than the limit of"):
        bounded.require_bytes(tmp_path / "a.nii.gz", bounded.MAXIMUM_FILE_BYTES + 1, 2**40, compressed=True)
    monkeypatch.setattr(bounded, "MAXIMUM_FILE_BYTES", 100_000)
    for kind, refused in ((np.uint8, False), (np.float64, True)):
        image = nibabel.Nifti1Image(np.ones((32, 32, 32), kind), np.eye(4))
        image.header.set_xyzt_units("mm")
        image.set_sform(np.eye(4), code=1)
        nibabel.save(image, tmp_path / "a.nii.gz")
        if not refused:
            assert read_labels(tmp_path / "a.nii.gz").labels.all()
            continue
        with pytest.raises(CaseError, match="262496 bytes of data, more than the limit of 100000"):
            read_labels(tmp_path / "a.nii.gz")
