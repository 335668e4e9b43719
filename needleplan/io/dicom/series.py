"""A folder of CT or MR slices as one grid, placed by ImagePositionPatient alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError, GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import Grid
from needleplan.io.dicom import values
from needleplan.io.dicom.files import DicomFile, is_dicom, open_dicom
from needleplan.io.dicom.pixels import Frames
from needleplan.io.dicom.planes import checked_directions, stack
from needleplan.io.dicom.source import DicomSource, read_source

#: Folders with more entries than this are refused.
MAXIMUM_FILES = 20_000
#: A slice larger than this is refused: 4096 x 4096 pixels of 16 bits with a generous header.
MAXIMUM_SLICE_BYTES = 67_108_864

CT_IMAGE, MR_IMAGE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
_IMAGES = {CT_IMAGE: "CT image", MR_IMAGE: "MR image"}
#: Images of several frames in one file; they are refused by name rather than passed over.
_MULTI_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "legacy converted enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "legacy converted enhanced MR",
}


@dataclass(frozen=True, slots=True, eq=False)
class ImageSeries:
    """A series of slices.

    Attributes:
        grid: (columns, rows, slices) in patient LPS mm; slices rise along the normal of the images. The axes are
            not perpendicular where the gantry was tilted.
        source: frame of reference, study and series.
        sop_class: SOP class UID of the slices.
        instance_uids: SOP instance UID of each slice, in the order of the grid.
        paths: file of each slice, in the order of the grid.
        values: float32 array of ``grid.shape``, rescaled (HU for CT), read-only; None where not asked for.
    """

    grid: Grid
    source: DicomSource
    sop_class: str
    instance_uids: tuple[str, ...]
    paths: tuple[Path, ...]
    values: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """What places one slice."""

    path: Path
    sop_class: str
    instance_uid: str
    source: DicomSource
    size: tuple[int, int]
    position_mm: FloatArray
    directions: FloatArray
    spacing_mm: FloatArray
    thickness_mm: float | None


def read_series(folder: Path, series_uid: str | None = None, with_values: bool = False) -> ImageSeries:
    """Read the CT or MR series in a folder; files that are not DICOM, and other DICOM objects, are passed over.

    A tilted gantry gives a grid whose axes are not perpendicular: the voxels stay where they were measured and
    nothing is resampled.

    Args:
        folder: the folder itself, without those in it.
        series_uid: the series to take, where the folder holds several.
        with_values: read the image values too.

    Raises:
        CaseError: there is no series or more than one, a slice is damaged, missing, doubled or of another size,
            direction or spacing, or two frames of reference are mixed.
    """
    slices = [found for path in _files(folder) if (found := _read_slice(path, series_uid)) is not None]
    if not slices:
        raise CaseError(f"{folder.name}: the folder holds no CT or MR slice of the series that is sought")
    _require_one_series(slices, folder.name)
    first = slices[0]
    placed = stack(
        np.array([one.position_mm for one in slices]),
        first.directions,
        first.spacing_mm,
        None,
        first.thickness_mm,
        folder.name,
    )
    if len(np.unique(placed.plane_of)) != len(slices):
        raise CaseError(
            f"{folder.name}: {len(slices) - len(np.unique(placed.plane_of))} slices lie where another one lies, so "
            "the folder holds a slice twice or several times of one place"
        )
    if placed.planes != len(slices):
        missing = sorted(set(range(placed.planes)) - set(placed.plane_of.tolist()))
        where = (placed.T_PV @ [0.0, 0.0, float(missing[0]), 1.0])[:3]
        raise CaseError(
            f"{folder.name}: {len(missing)} slices are missing, the first at {where.round(2).tolist()} mm"
        )
    ordered = [slices[number] for number in np.argsort(placed.plane_of)]
    try:
        grid = Grid((first.size[1], first.size[0], len(ordered)), placed.T_PV)
    except GeometryError as error:
        raise CaseError(f"{folder.name}: {error}") from None
    return ImageSeries(
        grid,
        first.source,
        first.sop_class,
        tuple(one.instance_uid for one in ordered),
        tuple(one.path for one in ordered),
        _values(ordered, grid) if with_values else None,
    )


def _files(folder: Path) -> list[Path]:
    """The DICOM files of a folder, sorted by name."""
    if not folder.is_dir():
        raise CaseError(f"{folder.name}: there is no such folder")
    found = []
    for count, path in enumerate(folder.iterdir()):
        if count >= MAXIMUM_FILES:
            raise CaseError(f"{folder.name}: the folder holds more than {MAXIMUM_FILES} files")
        if path.is_file() and is_dicom(path):
            if not path.resolve().is_relative_to(folder.resolve()):
                raise CaseError(f"{path.name}: this is a link that leads out of its folder")
            found.append(path)
    return sorted(found)


def _read_slice(path: Path, series_uid: str | None) -> _Slice | None:
    """What places a slice; None where the file is no image, or one of another series."""
    file = open_dicom(path)
    dataset, name = file.dataset, file.name
    sop_class = values.uid(dataset, "SOPClassUID", name)
    if sop_class not in _IMAGES | _MULTI_FRAME:
        return None
    if series_uid not in (None, values.uid(dataset, "SeriesInstanceUID", name)):
        return None
    if sop_class in _MULTI_FRAME:
        raise CaseError(f"{name}: {_MULTI_FRAME[sop_class]} with all frames in one file is not read, only slices")
    if path.stat().st_size > MAXIMUM_SLICE_BYTES:
        raise CaseError(f"{name}: the slice is larger than the limit of {MAXIMUM_SLICE_BYTES} bytes")
    values.require_class(file, _IMAGES)
    thickness = values.positive(dataset, "SliceThickness", 1, name)
    spacing = values.positive(dataset, "PixelSpacing", 2, name)
    if spacing is None:
        raise CaseError(f"{name}: the attribute PixelSpacing is missing")
    return _Slice(
        path,
        sop_class,
        values.uid(dataset, "SOPInstanceUID", name),
        read_source(dataset, name, values.uid(dataset, "FrameOfReferenceUID", name)),
        (values.whole(dataset, "Rows", 1, 65535, name), values.whole(dataset, "Columns", 1, 65535, name)),
        values.needed_numbers(dataset, "ImagePositionPatient", 3, name),
        checked_directions(values.needed_numbers(dataset, "ImageOrientationPatient", 6, name), name),
        spacing,
        None if thickness is None else float(thickness[0]),
    )


def _require_one_series(slices: list[_Slice], name: str) -> None:
    first = slices[0]
    series = {one.source.series_uid for one in slices}
    if len(series) > 1:
        raise CaseError(
            f"{name}: the folder holds {len(series)} series; name one of them: {', '.join(sorted(series))}"
        )
    if len({one.source for one in slices}) > 1:
        raise CaseError(f"{name}: slices of one series lie in different frames of reference or studies")
    if len({one.sop_class for one in slices}) > 1 or len({one.size for one in slices}) > 1:
        raise CaseError(f"{name}: slices of one series differ in kind or in their numbers of rows and columns")
    if len({one.instance_uid for one in slices}) < len(slices):
        raise CaseError(f"{name}: two slices have the same SOP instance UID, so one is there twice")
    for one in slices:
        turned = np.abs(one.directions - first.directions).max()
        if turned > 1e-4 or np.abs(one.spacing_mm / first.spacing_mm - 1.0).max() > 1e-4:
            raise CaseError(
                f"{one.path.name}: the slice is turned, or spaced otherwise, against the others; a scout image or "
                "a second orientation must be a series of its own"
            )


def _values(ordered: list[_Slice], grid: Grid) -> NDArray[np.float32]:
    """Rescaled image values, read file by file."""
    buffer = np.empty(grid.shape[::-1], dtype=np.float32)
    for plane, one in zip(buffer, ordered, strict=True):
        file = open_dicom(one.path, MAXIMUM_SLICE_BYTES)
        frames = Frames(file)
        if (frames.rows, frames.columns, frames.count) != (*one.size, 1):
            raise CaseError(f"{file.name}: the slice must be one frame")
        slope, intercept = (_or(file, keyword, default) for keyword, default in _RESCALING)
        plane[:] = frames.frame(0) * np.float32(slope) + np.float32(intercept)
    found: NDArray[Any] = buffer.transpose(2, 1, 0)
    found.setflags(write=False)
    return found


_RESCALING = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _or(file: DicomFile, keyword: str, default: float) -> float:
    found = values.numbers(file.dataset, keyword, 1, file.name)
    return default if found is None else float(found[0])
