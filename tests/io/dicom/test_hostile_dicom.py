"""Files that mean harm, or met with it: a named error, soon, and in little memory."""

import pickle
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_dicom import named, oblique_grid, placed, sphere

from needleplan.errors import CaseError, NeedleplanError
from needleplan.io.dicom import rasterise as rasterising
from needleplan.io.dicom.files import open_dicom
from needleplan.io.dicom.reference import made_reference, write_reference_series
from needleplan.io.dicom.segmentation import read_segmentation
from needleplan.io.dicom.segmentation_writer import write_segmentation
from needleplan.io.dicom.series import read_series
from needleplan.io.dicom.structure_set import read_structure_set
from needleplan.io.dicom.structure_set_writer import NamedNeedle, NamedSurface, write_structure_set
from needleplan.io.labels import read_labels

EXPLICIT, IMPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
ITEM, ITEM_END, SEQUENCE_END = (struct.pack("<HH", 0xFFFE, n) for n in (0xE000, 0xE00D, 0xE0DD))
UNDEFINED = struct.pack("<I", 0xFFFFFFFF)


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> dict[str, bytes]:
    """A segmentation, a structure set, and a slice."""
    folder = tmp_path_factory.mktemp("valid")
    grid = oblique_grid(shape=(12, 10, 5), spacing=(1.0, 1.2, 2.0))
    reference = made_reference(grid)
    inside = np.zeros(grid.shape, dtype=bool)
    inside[3:9, 4:8, 1:4] = True
    write_segmentation(folder / "seg.dcm", named(grid, {"liver": inside}), reference)
    ball = placed(sphere(4, 1), grid)
    needle = NamedNeedle("n", (0, 0, 0), (1, 2, 3))
    write_structure_set(folder / "rs.dcm", [NamedSurface("liver", ball)], [needle], reference)
    write_reference_series(folder / "s", reference)
    return {
        "seg": (folder / "seg.dcm").read_bytes(),
        "rs": (folder / "rs.dcm").read_bytes(),
        "slice": (folder / "s" / "00003.dcm").read_bytes(),
    }


def element(tag: int, vr: str, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in ("OB", "OW", "SQ", "UN", "UT"):
        return head + b"\0\0" + struct.pack("<I", len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def dicom(body: bytes, syntax: str = EXPLICIT, sop_class: str = SEG_CLASS) -> bytes:
    meta = element(0x00020002, "UI", sop_class.encode()) + element(0x00020010, "UI", syntax.encode())
    return b"\0" * 128 + b"DICM" + element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta + body


def head(syntax_class: str = SEG_CLASS) -> bytes:
    return element(0x00080016, "UI", syntax_class.encode())


def read_any(path) -> None:
    """Every reader, none of which may raise anything but a named error."""
    for reader in (read_segmentation, read_structure_set, read_labels):
        try:
            reader(path)
        except NeedleplanError as error:
            assert "\n" not in str(error)
    try:
        read_series(path.parent, with_values=True)
    except NeedleplanError:
        pass


def refused(
    path, data: bytes, message: str, seconds: float = 5.0, megabytes: float = 64.0, reader=read_labels
) -> None:
    path.write_bytes(data)
    tracemalloc.start()
    start = time.thread_time()
    try:
        with pytest.raises(CaseError, match=message):
            reader(path)
        assert time.thread_time() - start < seconds
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["seg", "rs", "slice"])
def test_a_file_cut_anywhere_is_refused(tmp_path, valid, kind):
    data = valid[kind]
    readers = {"seg": read_segmentation, "rs": read_structure_set, "slice": lambda path: read_series(path.parent)}
    cuts = sorted({0, 1, 127, 128, 131, 132, 140, *np.linspace(140, len(data) - 1, 60, dtype=int).tolist()})
    path = tmp_path / "x.dcm"
    for cut in cuts:
        path.write_bytes(data[:cut])
        with pytest.raises(CaseError):
            readers[kind](path)
    path.write_bytes(data)
    readers[kind](path)


@pytest.mark.parametrize("rows", [2**15, 2**16 - 1])
def test_huge_sizes_are_refused_before_anything_is_allocated(tmp_path, valid, rows):
    path = tmp_path / "x.dcm"
    path.write_bytes(valid["seg"])
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, rows, 2**31 - 1
    dataset.save_as(path)
    refused(path, path.read_bytes(), "need .* bytes of pixel data", 2.0, 4.0)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("ended", [True, False])
def test_deep_sequences_are_refused(tmp_path, syntax, ended):
    opening = struct.pack("<HH", 0x0008, 0x1140)
    opening += (b"SQ\0\0" if syntax == EXPLICIT else b"") + UNDEFINED + ITEM + UNDEFINED
    closing = (ITEM_END + b"\0" * 4 + SEQUENCE_END + b"\0" * 4) if ended else b""
    depth = 20_000
    refused(tmp_path / "x.dcm", dicom(opening * depth + closing * depth, syntax), "deep", 1.0, 8.0)


def test_deep_sequences_of_stated_length_are_refused(tmp_path):
    body = b""
    for _ in range(40):
        body = element(0x00081140, "SQ", ITEM + struct.pack("<I", len(body)) + body)
    refused(tmp_path / "x.dcm", dicom(head() + body), "deep")


def test_endless_elements_are_refused(tmp_path, monkeypatch):
    from needleplan.io.dicom import elements

    monkeypatch.setattr(elements, "MAXIMUM_ELEMENTS", 1000)
    refused(tmp_path / "x.dcm", dicom(element(0x00081030, "LO", b"") * 5000), "elements")


def test_a_deflate_bomb_is_refused(tmp_path, monkeypatch):
    from needleplan.io.dicom import files

    monkeypatch.setattr(files, "MAXIMUM_INFLATED_BYTES", 2**20)
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(head()) + b"".join(packer.compress(b"\0" * 2**20) for _ in range(64)) + packer.flush()
    refused(tmp_path / "x.dcm", dicom(bomb, DEFLATED), "inflates to more than", 2.0, 8.0)
    refused(
        tmp_path / "x.dcm", dicom(bomb[:100], DEFLATED), "deflated data are truncated|cannot|element|end within"
    )
    refused(tmp_path / "x.dcm", dicom(b"no deflate", DEFLATED), "deflated data are")


def test_run_lengths_never_unpack_beyond_a_frame(tmp_path, valid):
    """A fragment that would unpack to a thousand times its frame."""
    path = tmp_path / "x.dcm"
    path.write_bytes(valid["slice"])
    dataset = pydicom.dcmread(path)
    packed = struct.pack("<16I", 2, 64, 2_000_064, *[0] * 13) + b"\x81\0" * 2_000_000
    dataset.PixelData = pydicom.encaps.encapsulate([packed])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    dataset.save_as(path)
    start = time.thread_time()
    assert (read_series(tmp_path, with_values=True).values == 0).all()
    assert time.thread_time() - start < 1.0
    dataset.PixelData = pydicom.encaps.encapsulate([packed[:64]])
    dataset.save_as(path)
    with pytest.raises(CaseError, match="run lengths is"):
        read_series(tmp_path, with_values=True)


@pytest.mark.parametrize(
    ("body", "syntax", "message"),
    [
        (head() + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 2**31), EXPLICIT, "declares 2147483648 bytes"),
        (head() + struct.pack("<HH2sH", 8, 0x60, b"CS", 65534), EXPLICIT, "declares 65534 bytes"),
        (head() + struct.pack("<HH2sHI", 8, 0x60, b"??", 0, 0), EXPLICIT, "value representation"),
        (head() + ITEM + UNDEFINED, EXPLICIT, "out of place"),
        (head() + SEQUENCE_END + b"\0" * 4, EXPLICIT, "out of place"),
        (head() + b"\0" * 5, EXPLICIT, "end within"),
        (head(), "1.2.840.10008.1.2.4.50", "JPEG Baseline"),
        (head(), "1.2.840.10008.1.2.4.90", "JPEG 2000"),
        (head(), "1.2.840.10008.1.2.2", "Big Endian"),
        (head(), "1.2.3.DOE", "none stated"),
        (head(), EXPLICIT, "StudyInstanceUID|SegmentSequence|no segment"),
        (head("1.2.840.10008.5.1.4.1.1.4"), EXPLICIT, "no segmentation"),
    ],
)
def test_malformed_files_are_refused(tmp_path, body, syntax, message):
    refused(tmp_path / "x.dcm", dicom(body, syntax), message)


def test_other_files_under_the_name_are_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for data in (pickle.dumps(Trap()), b"PK\x03\x04" + b"\0" * 400, b"\x93NUMPY" * 99, b"{}" * 200):
        refused(tmp_path / "x.dcm", data, "not a DICOM file")
    refused(tmp_path / "x.dcm", b"\0" * 128 + b"DICM" + pickle.dumps(Trap()) * 9, "transfer syntax|damaged|meta")
    assert not (tmp_path / "sprung").exists()
    refused(tmp_path / "x.dcm", b"", "empty")
    with pytest.raises(CaseError, match="no such file"):
        open_dicom(tmp_path / "none.dcm")
    with pytest.raises(CaseError, match="limit"):
        (tmp_path / "x.dcm").write_bytes(dicom(head()))
        open_dicom(tmp_path / "x.dcm", 100)


def test_too_many_files_and_too_tangled_contours_are_refused(tmp_path, valid, monkeypatch):
    from needleplan.io.dicom import series

    monkeypatch.setattr(series, "MAXIMUM_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}").write_bytes(b"")
    with pytest.raises(CaseError, match="more than 3 files"):
        read_series(tmp_path)
    path = tmp_path / "rs.dcm"
    path.write_bytes(valid["rs"])
    structures = read_structure_set(path)
    monkeypatch.setattr(rasterising, "_MAXIMUM_COMPARISONS", 10)
    with pytest.raises(CaseError, match="tangled"):
        rasterising.rasterise(structures, oblique_grid(shape=(12, 10, 5), spacing=(1.0, 1.2, 2.0)))


def test_a_segmentation_that_claims_a_thousand_empty_planes_is_refused(tmp_path, valid):
    path = tmp_path / "x.dcm"
    path.write_bytes(valid["seg"])
    dataset = pydicom.dcmread(path)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = "0.0005"
    dataset.save_as(path)
    refused(path, path.read_bytes(), "planes are missing")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_mutated_files_raise_named_errors_only(tmp_path_factory, valid, data):
    kind = data.draw(st.sampled_from(sorted(valid)))
    content = bytearray(valid[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(128, len(content) - 1))
        how = data.draw(st.sampled_from(["byte", "length", "delete", "copy", "text"]))
        if how == "byte":
            content[place] = data.draw(st.integers(0, 255))
        elif how == "length":
            content[place : place + 4] = data.draw(st.sampled_from([UNDEFINED, b"\0" * 4, b"\xff\xff\xff\x7f"]))
        elif how == "delete":
            del content[place : place + data.draw(st.integers(1, 40))]
        elif how == "text":
            content[place : place + 4] = data.draw(
                st.sampled_from([b"nan ", b"1e99", b"\\\\\\\\", b"\xff\xfe\0\0"])
            )
        else:
            content[place:place] = content[place - 100 : place]
    path = tmp_path_factory.mktemp("x") / "x.dcm"
    path.write_bytes(bytes(content))
    start = time.thread_time()
    read_any(path)
    assert time.thread_time() - start < 5.0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(body=st.binary(max_size=400), syntax=st.sampled_from([EXPLICIT, IMPLICIT, DEFLATED]))
def test_random_bytes_raise_named_errors_only(tmp_path_factory, body, syntax):
    path = tmp_path_factory.mktemp("x") / "x.dcm"
    path.write_bytes(dicom(head() + body, syntax))
    read_any(path)
