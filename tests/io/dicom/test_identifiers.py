"""No name of the patient in files, file names, errors or logs, unless it is asked for."""

import io
import logging
import warnings

import numpy as np
import pydicom
import pytest
from made_dicom import CANARY, named, oblique_grid, placed, sphere

from needleplan.errors import NeedleplanError
from needleplan.io.dicom.dicom_labels import read_dicom_source
from needleplan.io.dicom.reference import made_reference, series_reference, write_reference_series
from needleplan.io.dicom.segmentation import read_segmentation
from needleplan.io.dicom.segmentation_writer import write_segmentation
from needleplan.io.dicom.series import read_series
from needleplan.io.dicom.structure_set import read_structure_set
from needleplan.io.dicom.structure_set_writer import NamedSurface, write_structure_set

SHAPE = (20, 18, 8)
TEXTS = (
    *("PatientName", "PatientID", "OtherPatientIDs", "ReferringPhysicianName", "StudyDescription", "StudyID"),
    *("AccessionNumber", "InstitutionName", "OperatorsName", "PatientAddress", "SeriesDescription", "StationName"),
)
BIRTH = "19511117"


@pytest.fixture
def folder(tmp_path):
    """A series full of identifiers."""
    write_reference_series(tmp_path / "s", made_reference(oblique_grid(shape=SHAPE)))
    for path in (tmp_path / "s").iterdir():
        dataset = pydicom.dcmread(path)
        for keyword in TEXTS:
            setattr(dataset, keyword, CANARY)
        dataset.PatientBirthDate = dataset.StudyDate = dataset.SeriesDate = BIRTH
        dataset.add_new(0x00090010, "LO", CANARY)
        dataset.save_as(path)
    return tmp_path / "s"


def write_both(folder, out, keep_identifiers: bool):
    grid = oblique_grid(shape=SHAPE)
    reference = series_reference(folder, keep_identifiers=keep_identifiers)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[3:9, 4:8, 2:5] = True
    write_segmentation(out / "seg.dcm", named(grid, {"liver": inside}), reference)
    write_structure_set(out / "rs.dcm", [NamedSurface("liver", placed(sphere(6, 2), grid))], [], reference)
    return out / "seg.dcm", out / "rs.dcm"


def test_nothing_of_the_patient_is_written(folder, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    original = read_series(folder).source
    for path in write_both(folder, tmp_path / "out", False):
        data = path.read_bytes()
        for secret in (
            CANARY,
            "CANARY",
            BIRTH,
            original.study_uid,
            original.series_uid,
            *read_series(folder).instance_uids,
        ):
            assert secret.encode() not in data
        dataset = pydicom.dcmread(path)
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.PatientName == "" and dataset.PatientID == "" and dataset.StudyDate == ""
        assert read_dicom_source(path).frame_of_reference_uid == original.frame_of_reference_uid
    assert CANARY not in caplog.text
    assert CANARY not in repr(read_series(folder))
    assert not [name for name in (tmp_path / "out").iterdir() if "DOE" in name.name]


def test_identifiers_are_kept_where_that_is_asked_for(folder, tmp_path):
    original = read_series(folder)
    for path in write_both(folder, tmp_path / "out", True):
        dataset = pydicom.dcmread(path)
        assert dataset.PatientName == CANARY and dataset.PatientBirthDate == BIRTH
        assert dataset.StudyInstanceUID == original.source.study_uid
        assert read_dicom_source(path).referenced_series_uid == original.source.series_uid
        assert "PatientIdentityRemoved" not in dataset
        assert original.instance_uids[0].encode() in path.read_bytes()
        assert dataset.get("InstitutionName") is None


def test_replaced_uids_agree_between_files(folder, tmp_path):
    seg, structures = (read_dicom_source(path) for path in write_both(folder, tmp_path / "out", False))
    assert seg.study_uid == structures.study_uid
    assert seg.referenced_series_uid == structures.referenced_series_uid
    assert seg.series_uid != structures.series_uid


def test_no_error_no_warning_and_no_log_repeats_a_name(folder, tmp_path, caplog):
    """Each attribute in turn holds the name, where another kind of value belongs."""
    caplog.set_level(logging.DEBUG)
    paths = write_both(folder, tmp_path / "out", True)
    readers = (read_segmentation, read_structure_set, lambda path: read_series(path.parent))
    slices = sorted(folder.iterdir())
    refused = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path, reader in zip((*paths, slices[0]), readers, strict=True):
            content = path.read_bytes()
            whole = pydicom.dcmread(io.BytesIO(content))
            for element in list(whole):
                if element.keyword in ("", "PixelData") or element.VR == "SQ":
                    continue
                dataset = pydicom.dcmread(io.BytesIO(content))
                dataset[element.tag].VR = element.VR if element.VR not in ("US", "UL", "OB", "OW", "SS") else "LO"
                dataset[element.tag]._value = "DOE^CANARY"
                try:
                    dataset.save_as(path)
                except Exception:
                    continue
                caught.clear()
                caplog.clear()
                try:
                    reader(path)
                except NeedleplanError as error:
                    refused += 1
                    assert "CANARY" not in str(error)
                assert CANARY not in caplog.text
                assert not any("CANARY" in str(one.message) for one in caught)
            path.write_bytes(content)
    assert refused > 10
