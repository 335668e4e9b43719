"""Label maps of every format that is read, as one value in patient LPS millimetres."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError, GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import MAXIMUM_VOXELS, Grid
from needleplan.io.frame import FileFrame, FileUnit

#: A greater value than this is taken for an image intensity and not for a label.
MAXIMUM_LABEL = 1_000_000


@dataclass(frozen=True, slots=True)
class Segment:
    """A named part of a label map.

    Attributes:
        name: name that the file gives it.
        value: label number.
        layer: index of the layer that holds it; layers let segments overlap.
    """

    name: str
    value: int
    layer: int


@dataclass(frozen=True, slots=True, eq=False)
class LabelVolume:
    """A label map.

    Attributes:
        grid: the voxel grid in patient LPS mm.
        layers: integer arrays of ``grid.shape``, none negative, read-only; nearly always one.
        segments: named segments; empty where the format has no names.
        frame_note: how the frame of the file was found and converted.
        frame_of_reference_uid: DICOM frame of reference that the coordinates are counted in; None where the format
            has none.
    """

    grid: Grid
    layers: tuple[NDArray[np.integer[Any]], ...]
    segments: tuple[Segment, ...]
    frame_note: str
    frame_of_reference_uid: str | None = None

    def __post_init__(self) -> None:
        for layer in self.layers:
            if layer.shape != self.grid.shape:
                raise GeometryError(f"labels of shape {layer.shape} do not fit a grid of {self.grid.shape}")
            layer.setflags(write=False)

    @property
    def labels(self) -> NDArray[np.integer[Any]]:
        """The labels of a map that has one layer; raises GeometryError where it has several."""
        if len(self.layers) != 1:
            raise GeometryError(f"the label map has {len(self.layers)} layers: choose segments by name")
        return self.layers[0]

    @property
    def names(self) -> dict[int, str]:
        """Segment names by label number, of the first layer."""
        return {segment.value: segment.name for segment in self.segments if segment.layer == 0}


def format_of(path: Path) -> str | None:
    """Short name of the label format that the file's name stands for; None where it stands for none."""
    name = path.name.lower()
    for ending, kind in (
        (".nii", "nifti"),
        (".nii.gz", "nifti"),
        (".nrrd", "nrrd"),
        (".nhdr", "nrrd"),
        (".vti", "vti"),
        (".dcm", "dicom"),
    ):
        if name.endswith(ending):
            return kind
    return None


def read_labels(path: Path, frame: FileFrame | None = None, unit: FileUnit | None = None) -> LabelVolume:
    """Read a label map: NIfTI, NRRD, .seg.nrrd, VTI, or a DICOM segmentation or structure set.

    Args:
        path: the file.
        frame: frame of the file's coordinates, for the format that stores none (VTI); NIfTI, NRRD and
            DICOM state their own and refuse another.
        unit: length unit, for files that state none; a file that states another one is refused.

    Raises:
        CaseError: the file is missing, damaged, of another kind, states no frame or unit, or holds no labels.
    """
    kind = format_of(path)
    try:
        if kind == "nifti":
            from needleplan.io.nifti import read_nifti

            return read_nifti(path, frame, unit)
        if kind == "nrrd":
            from needleplan.io.nrrd_labels import read_nrrd

            return read_nrrd(path, frame, unit)
        if kind == "vti":
            from needleplan.io.vti import read_vti

            return read_vti(path, frame, unit)
        if kind == "dicom":
            from needleplan.io.dicom.dicom_labels import read_dicom_labels

            return read_dicom_labels(path, frame, unit)
    except GeometryError as error:
        raise CaseError(f"{path}: {error}") from None
    raise CaseError(f"{path}: a label map must end in .nii, .nii.gz, .nrrd, .seg.nrrd, .nhdr, .vti or .dcm")


def checked_shape(path: Path, sizes: list[int]) -> tuple[int, int, int]:
    """Three sizes that a header declares, refused before anything is allocated where they are impossible."""
    shape = tuple(int(n) for n in sizes)
    if len(shape) != 3 or min(shape) < 1:
        raise CaseError(f"{path}: a label map needs three sizes of at least 1, but the header declares {shape}")
    if shape[0] * shape[1] * shape[2] > MAXIMUM_VOXELS:
        raise CaseError(f"{path}: the header declares {shape} voxels, more than the limit of {MAXIMUM_VOXELS}")
    return shape


def as_labels(path: Path, values: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """Integer labels from stored numbers.

    Raises:
        CaseError: a value is not a whole number, negative or so large that this is an image and no label map.
    """
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)) or (values != np.rint(values)).any():
            raise CaseError(f"{path}: the file holds numbers that are not whole, so it is not a label map")
        if low < 0 or high > MAXIMUM_LABEL:
            raise CaseError(f"{path}: values from {low:g} to {high:g} are those of an image, not of a label map")
        return values.astype(np.int32)
    if values.dtype.kind not in "iub":
        raise CaseError(f"{path}: a label map must hold whole numbers, not {values.dtype}")
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if int(values.min()) < 0 or int(values.max()) > MAXIMUM_LABEL:
        raise CaseError(
            f"{path}: values from {values.min()} to {values.max()} are those of an image, not of a label map"
        )
    native: NDArray[np.integer[Any]] = values.astype(values.dtype.newbyteorder("="), copy=False)
    return native


def affine(axes: FloatArray, origin: FloatArray) -> FloatArray:
    """(4, 4) affine from a (3, 3) matrix, one column an index axis, and the centre of the first voxel."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = origin
    return matrix
