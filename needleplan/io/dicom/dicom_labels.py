"""DICOM segmentations and structure sets behind the one function that reads label maps."""

from pathlib import Path

from needleplan.errors import CaseError
from needleplan.io.dicom.files import open_dicom
from needleplan.io.dicom.rasterise import rasterise
from needleplan.io.dicom.segmentation import SEGMENTATION_CLASSES, DicomSegmentation, read_segmentation
from needleplan.io.dicom.series import read_series
from needleplan.io.dicom.source import DicomSource
from needleplan.io.dicom.structure_set import STRUCTURE_SET, StructureSet, read_structure_set
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.labels import LabelVolume


def read_dicom_source(path: Path) -> DicomSource:
    """Frame of reference, study and series of a segmentation or structure set, and nothing about the patient.

    Raises:
        CaseError: the file is damaged or neither.
    """
    return _read(path).source


def _read(path: Path) -> DicomSegmentation | StructureSet:
    sop_class = open_dicom(path).sop_class
    if sop_class in SEGMENTATION_CLASSES:
        return read_segmentation(path)
    if sop_class == STRUCTURE_SET:
        return read_structure_set(path)
    raise CaseError(f"{path.name}: the file is neither a segmentation nor an RT structure set")


def read_dicom_labels(path: Path, frame: FileFrame | None = None, unit: FileUnit | None = None) -> LabelVolume:
    """Read a DICOM segmentation, or a structure set whose series lies in the same folder.

    Args:
        path: the file.
        frame: None or LPS; DICOM knows no other.
        unit: None or millimetre; DICOM knows no other.

    Raises:
        CaseError: the file is damaged or neither, another frame or unit is stated, or the series that a structure
            set was drawn on is not beside it or lies in another frame of reference.
    """
    if frame not in (None, FileFrame.LPS) or unit not in (None, FileUnit.MILLIMETRE):
        raise CaseError(f"{path.name}: DICOM is in LPS and mm always, so another frame or unit cannot be stated")
    structures = _read(path)
    if isinstance(structures, DicomSegmentation):
        return structures.labels
    if structures.source.referenced_series_uid is None:
        raise CaseError(f"{path.name}: the structure set does not name the one series that it was drawn on")
    try:
        series = read_series(path.parent, structures.source.referenced_series_uid)
    except CaseError as error:
        raise CaseError(
            f"{path.name}: its voxels need the series that the contours were drawn on in the same folder; {error}"
        ) from None
    structures.source.require_frame_of(series.source, path.name)
    return rasterise(structures, series.grid)
