"""NIfTI-1 and NIfTI-2 label maps. The frame is RAS+ by the standard; units are read from the header."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError
from needleplan.frames import FloatArray
from needleplan.grid import Grid
from needleplan.io.bounded import file_size, is_gzip, open_stream, read_exactly, require_bytes, write_atomically
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.labels import LabelVolume, as_labels, checked_shape

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HEADER_BYTES = {348: 348, 540: 540}
#: Code of the length unit in ``xyzt_units`` (NIfTI-1 standard, nifti1.h).
_UNIT_CODES = {1: FileUnit.METRE, 2: FileUnit.MILLIMETRE, 3: FileUnit.MICROMETRE}


def read_nifti(path: Path, frame: FileFrame | None, unit: FileUnit | None) -> LabelVolume:
    """Read a single-file NIfTI label map, gzipped or not; see ``read_labels``."""
    if frame not in (None, FileFrame.RAS):
        raise CaseError(f"{path}: a NIfTI file is in RAS by its standard, so it cannot be stated as {frame}")
    size = file_size(path)
    compressed = is_gzip(path)
    with open_stream(path, compressed) as stream:
        header = _read_header(stream, path)
        declared = [int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])]]
        while len(declared) > 3 and declared[-1] == 1:
            declared.pop()
        shape = checked_shape(path, declared)
        try:
            dtype = header.get_data_dtype()
        except Exception:
            raise CaseError(f"{path}: the header names a data type that NIfTI does not know") from None
        if dtype.fields is not None or dtype.kind not in "iuf":
            raise CaseError(f"{path}: a label map must hold whole numbers, not {dtype}")
        header_bytes = _HEADER_BYTES[int(header["sizeof_hdr"])]
        gap = float(header["vox_offset"]) - header_bytes
        if not 4 <= gap <= 10_000_000 or gap != int(gap):
            raise CaseError(
                f"{path}: the header says that the voxels begin at byte {float(header['vox_offset']):g}"
            )
        count = shape[0] * shape[1] * shape[2] * dtype.itemsize
        require_bytes(path, header_bytes + int(gap) + count, size, compressed)
        data = read_exactly(stream, int(gap) + count, path)[int(gap) :]
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isfinite(slope) and slope != 0 and (slope != 1 or (np.isfinite(intercept) and intercept != 0)):
        raise CaseError(f"{path}: the labels are rescaled by {slope:g}; store them as plain whole numbers")
    labels = as_labels(path, data.view(dtype).reshape(shape, order="F"))
    matrix, source = _affine(header, shape, path)
    scale = _unit(header, unit, path).in_mm
    T_PV = _RAS_TO_LPS @ np.diag([scale, scale, scale, 1.0]) @ matrix
    return LabelVolume(Grid(shape, T_PV), (labels,), (), f"RAS by the NIfTI standard ({source}), converted to LPS")


def _read_header(stream: Any, path: Path) -> Any:
    """The header, of which only the fixed block is read; extensions are skipped with the gap that holds them."""
    import zlib

    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    try:
        block = stream.read(348)
        if len(block) < 348:
            raise CaseError(f"{path}: the file ends within its header, so it is truncated")
        first = (int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big"))
        if 540 in first:
            block += stream.read(540 - 348)
        elif 348 not in first:
            raise CaseError(f"{path}: this is not a NIfTI file: its first four bytes must say 348 or 540")
    except (EOFError, OSError, zlib.error) as error:
        raise CaseError(f"{path}: the compressed data are truncated or damaged ({error})") from None
    kind, length = (Nifti2Header, 540) if 540 in first else (Nifti1Header, 348)
    if len(block) < length:
        raise CaseError(f"{path}: the file ends within its header, so it is truncated")
    try:
        header = kind(block, endianness="<" if first[0] == length else ">", check=False)
    except Exception as error:
        raise CaseError(f"{path}: the NIfTI header is damaged ({error})") from None
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise CaseError(f"{path}: only single-file NIfTI is read, and its header must say n+1 or n+2")
    if not 3 <= int(header["dim"][0]) <= 7:
        raise CaseError(f"{path}: a label map has three dimensions, but the header declares {header['dim'][0]}")
    return header


def _affine(header: Any, shape: tuple[int, int, int], path: Path) -> tuple[FloatArray, str]:
    """Voxel to RAS affine in the file's unit and the name of the header field that it comes from."""
    sform = np.asarray(header.get_sform(), dtype=np.float64) if int(header["sform_code"]) > 0 else None
    qform = None
    if int(header["qform_code"]) > 0:
        try:
            qform = np.asarray(header.get_qform(), dtype=np.float64)
        except Exception:
            raise CaseError(f"{path}: the qform of the header is not a rotation") from None
    chosen = sform if sform is not None else qform
    if chosen is None:
        raise CaseError(
            f"{path}: the file states no position (sform and qform codes are 0); write it again with its affine"
        )
    if not np.isfinite(chosen).all():
        raise CaseError(f"{path}: the affine of the header holds a value that is not a number")
    if sform is not None and qform is not None:
        corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
        apart = float(np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max())
        # Half a voxel: below it the two are the same up to the rounding of the stored quaternion.
        if not apart <= 0.5 * float(np.linalg.norm(sform[:3, :3], axis=0).min()):
            raise CaseError(
                f"{path}: sform and qform disagree by up to {apart:.3g}, so programs would place the labels "
                "differently; remove the wrong one"
            )
    return chosen, "sform" if sform is not None else "qform"


def _unit(header: Any, stated: FileUnit | None, path: Path) -> FileUnit:
    code = int(header["xyzt_units"]) & 0x07
    own = _UNIT_CODES.get(code)
    if own is None and stated is None:
        raise CaseError(f'{path}: the file states no length unit; state unit = "mm" (or another) in the manifest')
    if own is not None and stated not in (None, own):
        raise CaseError(f"{path}: the file states the unit {own} but the manifest {stated}")
    return own if own is not None else stated  # type: ignore[return-value]


def write_labels_nifti(path: Path, grid: Grid, labels: NDArray[np.integer[Any]]) -> None:
    """Write a label map as NIfTI-1 (.nii or .nii.gz), sform and qform set, unit mm.

    Args:
        path: the file; written whole or not at all.
        grid: the grid in patient LPS mm.
        labels: whole numbers from 0 to 32767 of ``grid.shape``.
    """
    import nibabel

    image = positioned_image(grid, storable(path, grid, labels))
    write_atomically(path, lambda temporary: nibabel.save(image, temporary))


def positioned_image(grid: Grid, values: NDArray[Any]) -> Any:
    """A NIfTI-1 image of values on a grid, its place in sform and qform, unit mm."""
    import nibabel

    image = nibabel.Nifti1Image(values, _RAS_TO_LPS @ grid.T_PV)
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, code=1)
    # A qform holds no shear: where the axes are not orthogonal only the sform is right.
    axes = grid.T_PV[:3, :3] / grid.spacing_mm
    image.set_qform(image.affine if np.allclose(axes.T @ axes, np.eye(3), atol=1e-5) else None, code=None)
    return image


def storable(path: Path, grid: Grid, labels: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Labels as the smallest type that NIfTI and NRRD readers all know."""
    values = np.asarray(labels)
    if values.shape != grid.shape:
        raise CaseError(f"{path}: labels of shape {values.shape} do not fit a grid of {grid.shape}")
    if values.min() < 0 or values.max() > 32767:
        raise CaseError(f"{path}: labels must lie from 0 to 32767, but reach from {values.min()} to {values.max()}")
    return values.astype(np.uint8 if values.max() < 256 else np.int16)
