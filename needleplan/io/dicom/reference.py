"""The series that what is written refers to: a real one, with or without its patient, or a made one without any.

Without ``keep_identifiers`` nothing of the patient, the dates, the places and the people of the real series is
taken over (basic application confidentiality profile, PS3.15, annex E): names, numbers and dates are empty or
dummies, and the UIDs of study, series and instances are replaced by others that follow from them. The frame of
reference UID stays, because without it nobody could tell that the geometry fits.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError, GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import Grid, VoxelMask
from needleplan.io.bounded import write_atomically
from needleplan.io.dicom.files import EXPLICIT_LITTLE_ENDIAN, open_dicom, quietly
from needleplan.io.dicom.series import CT_IMAGE, MR_IMAGE, read_series
from needleplan.io.dicom.source import DicomSource, derived_uid

IMPLEMENTATION_UID = derived_uid("needleplan")
#: Stands for a date that must be there and must not be told.
DUMMY_DATE, DUMMY_TIME = "19000101", "000000"

#: What is copied of patient and study where identifiers are kept (PS3.3, C.7.1.1, C.7.2.1 and C.7.2.2).
_KEPT = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("OtherPatientIDs", "PatientAge", "PatientSize", "PatientWeight", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "StudyDescription"),
)
_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
_LATTICE_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The slices that a segmentation or structure set belongs to.

    Attributes:
        grid: (columns, rows, slices), slices rising along the normal of the images.
        source: frame of reference, study and series as they are written.
        sop_class: SOP class UID of the slices.
        instance_uids: SOP instance UID of each slice as it is written.
        patient: attributes of patient and study (``pydicom.Dataset``), empty ones where identifiers are not kept.
        identifiers_kept: True where they are those of the real patient.
    """

    grid: Grid
    source: DicomSource
    sop_class: str
    instance_uids: tuple[str, ...]
    patient: Any
    identifiers_kept: bool

    @property
    def directions(self) -> FloatArray:
        """(6,) unit vectors of growing column and row index (ImageOrientationPatient)."""
        axes = self.grid.T_PV[:3, :2] / self.grid.spacing_mm[:2]
        return np.asarray(axes.T.reshape(6))

    @property
    def pixel_spacing_mm(self) -> FloatArray:
        """(2,) distance of rows, and of columns (PixelSpacing)."""
        return np.asarray(self.grid.spacing_mm[1::-1])

    @property
    def step_mm(self) -> float:
        """Distance of the slices along their normal."""
        normal = np.cross(self.directions[:3], self.directions[3:])
        return float(normal @ self.grid.T_PV[:3, 2])

    def position_mm(self, plane: int) -> FloatArray:
        """(3,) centre of the first pixel of slice ``plane`` (ImagePositionPatient)."""
        return self.grid.to_patient([0.0, 0.0, float(plane)])

    def moment(self) -> tuple[str, str]:
        """Date and time of writing, or dummies where identifiers are not kept."""
        if not self.identifiers_kept:
            return DUMMY_DATE, DUMMY_TIME
        now = datetime.now()
        return now.strftime("%Y%m%d"), now.strftime("%H%M%S")

    def place(self, mask: VoxelMask, name: str) -> NDArray[np.bool_]:
        """A mask on the voxels of this grid, boolean of ``grid.shape``.

        Raises:
            GeometryError: the mask's voxels are not voxels of this grid.
        """
        ends = np.array([[0, 0, 0], *np.eye(3), np.asarray(mask.grid.shape) - 1.0])
        index = self.grid.to_index(mask.grid.to_patient(ends))
        nearest = np.rint(index)
        if np.abs(index - nearest).max() > _LATTICE_TOLERANCE:
            raise GeometryError(f"{name}: its voxels are not those of the reference series; resample it first")
        steps = (nearest[1:4] - nearest[0]).astype(np.int64)
        if (np.abs(steps).sum(axis=0) != 1).any() or (np.abs(steps).sum(axis=1) != 1).any():
            raise GeometryError(f"{name}: its voxels are larger or smaller than those of the reference series")
        last = nearest[4]
        if min(nearest[0].min(), last.min()) < 0 or (np.maximum(nearest[0], last) >= self.grid.shape).any():
            raise GeometryError(f"{name}: it reaches beyond the reference series")
        whole = np.zeros(self.grid.shape, dtype=bool)
        turned = np.transpose(mask.inside, np.argmax(np.abs(steps), axis=0))
        flips = tuple(slice(None, None, int(step)) for step in steps.sum(axis=0))
        low = np.minimum(nearest[0], last).astype(int)
        box = tuple(slice(a, a + n) for a, n in zip(low, turned.shape, strict=True))
        whole[box] = turned[flips]
        return whole

    def image_header(self, plane: int) -> Any:
        """The data set of one slice without its pixels."""
        from pydicom.dataset import Dataset

        header = Dataset()
        header.update(self.patient)
        header.SOPClassUID, header.SOPInstanceUID = self.sop_class, self.instance_uids[plane]
        header.StudyInstanceUID, header.SeriesInstanceUID = self.source.study_uid, self.source.series_uid
        header.FrameOfReferenceUID, header.Modality = self.source.frame_of_reference_uid, self.source.modality
        header.PositionReferenceIndicator = None
        header.InstanceNumber, header.SeriesNumber = plane + 1, 1
        header.Columns, header.Rows = self.grid.shape[:2]
        header.ImagePositionPatient = decimals(self.position_mm(plane))
        header.ImageOrientationPatient = decimals(self.directions)
        header.PixelSpacing = decimals(self.pixel_spacing_mm)
        header.SliceThickness = decimals([self.step_mm])[0]
        return header


def decimals(numbers: Any) -> list[Any]:
    """Numbers as decimal strings of at most 16 characters, as exact as these hold."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(number), auto_format=True) for number in numbers]


def made_reference(grid: Grid, seed: str = "", frame_of_reference_uid: str | None = None) -> Reference:
    """An anonymous CT series that exists nowhere, for geometry that came without DICOM.

    Its UIDs, that of the frame of reference included, follow from the grid and ``seed``: the same ones are made
    again by the same call, and ``write_reference_series`` writes the series itself.

    Args:
        grid: the grid; where its axes are left-handed the slices are counted from the other end.
        seed: sets apart what has the same grid, as a plan's or case's hash.
        frame_of_reference_uid: the frame that the geometry is known to lie in; a new one where None.

    Raises:
        GeometryError: the axes of the grid are not perpendicular, which DICOM cannot state.
    """
    matrix = np.array(grid.T_PV)
    axes = matrix[:3, :3] / grid.spacing_mm
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4:
        raise GeometryError(
            "the axes of the grid are not perpendicular, which DICOM cannot state; resample it first"
        )
    if max(grid.shape[:2]) > 65535:
        raise GeometryError(f"a slice of {grid.shape[:2]} pixels is larger than DICOM can state, which is 65535")
    if np.linalg.det(axes) < 0:
        matrix[:3, 3] = grid.to_patient([0, 0, grid.shape[2] - 1])
        matrix[:3, 2] *= -1.0
    key = (seed, repr(grid.shape), matrix.tobytes(), frame_of_reference_uid or "")
    frame = frame_of_reference_uid or derived_uid("frame", *key)
    source = DicomSource(frame, derived_uid("study", *key), derived_uid("series", *key), "CT")
    instances = tuple(derived_uid("instance", str(plane), *key) for plane in range(grid.shape[2]))
    return Reference(Grid(grid.shape, matrix), source, CT_IMAGE, instances, _anonymous(), False)


def series_reference(folder: Path, series_uid: str | None = None, keep_identifiers: bool = False) -> Reference:
    """A real CT or MR series as reference.

    Args:
        folder: the folder of its slices.
        series_uid: the series, where the folder holds several.
        keep_identifiers: take over the patient's name, numbers and dates, and the real UIDs; without it the UIDs of
            study, series and instances are replaced and only the frame of reference is kept.

    Raises:
        CaseError: as ``read_series``.
        GeometryError: the gantry was tilted, so that the slices make no grid with perpendicular axes.
    """
    series = read_series(folder, series_uid)
    checked = made_reference(series.grid)
    if keep_identifiers:
        first = open_dicom(series.paths[0]).dataset
        patient = _anonymous()
        del patient.PatientIdentityRemoved, patient.DeidentificationMethod
        for keyword in _KEPT:
            if keyword in first:
                try:
                    with quietly():
                        patient[keyword] = first[keyword]
                except Exception:
                    raise CaseError(f"{series.paths[0].name}: the attribute {keyword} is damaged") from None
        return Reference(checked.grid, series.source, series.sop_class, series.instance_uids, patient, True)
    source = DicomSource(
        series.source.frame_of_reference_uid,
        derived_uid("study", series.source.study_uid),
        derived_uid("series", series.source.series_uid),
        series.source.modality if series.source.modality in ("CT", "MR") else "OT",
    )
    instances = tuple(derived_uid("instance", uid) for uid in series.instance_uids)
    return Reference(checked.grid, source, series.sop_class, instances, _anonymous(), False)


def _anonymous() -> Any:
    """Attributes of patient and study that say nothing of either."""
    from pydicom.dataset import Dataset

    patient = Dataset()
    for keyword in _EMPTY:
        setattr(patient, keyword, "")
    patient.SpecificCharacterSet = "ISO_IR 192"
    patient.PatientIdentityRemoved = "YES"
    patient.DeidentificationMethod = "needleplan: written without identifiers"
    return patient


def save(dataset: Any, path: Path, transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN) -> None:
    """Write a data set whole or not at all, with the file meta group of this library."""
    from pydicom.dataset import FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = transfer_syntax, IMPLEMENTATION_UID
    meta.ImplementationVersionName = "NEEDLEPLAN"
    dataset.file_meta, dataset.preamble = meta, b"\0" * 128
    write_atomically(path, lambda temporary: dataset.save_as(temporary, enforce_file_format=True))


def write_reference_series(folder: Path, reference: Reference, values: NDArray[Any] | None = None) -> None:
    """Write the slices of a made reference, so that a viewer can show what refers to them.

    Args:
        folder: where the slices go, as 00001.dcm and so on; it must not exist or be empty.
        reference: from ``made_reference``.
        values: whole numbers of ``reference.grid.shape`` from -32768 to 32767 (HU); zeros where None.

    Raises:
        CaseError: the folder holds something.
        GeometryError: the values do not fit.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CaseError(f"{folder.name}: the folder must be empty, so that no slices are mixed")
    stored = np.zeros(reference.grid.shape, dtype="<i2") if values is None else np.asarray(values).astype("<i2")
    if stored.shape != reference.grid.shape or (values is not None and not np.array_equal(stored, values)):
        raise GeometryError(f"the values must be whole numbers of 16 bits of shape {reference.grid.shape}")
    date, time = reference.moment()
    for plane in range(reference.grid.shape[2]):
        image = reference.image_header(plane)
        image.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if reference.sop_class == CT_IMAGE else "OTHER"]
        image.SeriesDate, image.SeriesTime, image.ContentDate, image.ContentTime = date, time, date, time
        image.Manufacturer, image.AcquisitionNumber, image.PatientPosition = "needleplan", None, "HFS"
        if reference.sop_class == MR_IMAGE:
            raise GeometryError("only a made CT reference can be written as a series")
        # Unpaired, so that no laterality need be stated; which part of the body it is, is not known.
        image.BodyPartExamined, image.KVP = "WHOLEBODY", None
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "HU"
        image.PixelData = stored[:, :, plane].tobytes(order="F")
        save(image, folder / f"{plane + 1:05d}.dcm")
