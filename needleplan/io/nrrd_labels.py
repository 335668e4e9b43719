"""NRRD label maps and 3D Slicer's segmentations (.seg.nrrd), whose space must be stated in the header."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError
from needleplan.frames import FloatArray
from needleplan.grid import Grid
from needleplan.io.bounded import file_size, is_gzip, open_stream, read_exactly, require_bytes, write_atomically
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.labels import LabelVolume, Segment, affine, as_labels, checked_shape

#: Spaces that say where left, front and top are (NRRD format, "space"); others are refused.
_SPACES = {
    "left-posterior-superior": FileFrame.LPS,
    "lps": FileFrame.LPS,
    "right-anterior-superior": FileFrame.RAS,
    "ras": FileFrame.RAS,
    "left-anterior-superior": FileFrame.LAS,
    "las": FileFrame.LAS,
}
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
_GZIP = ("gz", "gzip")
#: Headers are a few kilobytes; Slicer's with many segments stay well below this.
_MAXIMUM_HEADER_BYTES = 1_048_576
#: Overlapping segments are stored in layers; more than this is no segmentation.
_MAXIMUM_LAYERS = 64


def read_nrrd(path: Path, frame: FileFrame | None, unit: FileUnit | None) -> LabelVolume:
    """Read an NRRD label map, attached or detached, raw or gzipped; see ``read_labels``."""
    size = file_size(path)
    header, header_bytes = _read_header(path, size)
    space = _SPACES.get(str(header.get("space", "")).lower())
    if space is None:
        raise CaseError(
            f"{path}: the header must state a space (left-posterior-superior or right-anterior-superior), "
            f"but says {header.get('space')!r}"
        )
    if frame not in (None, space):
        raise CaseError(f"{path}: the file states the space {space} but the manifest {frame}")
    sizes, layered = _sizes(header, path)
    shape = checked_shape(path, sizes[1:] if layered else sizes)
    layers = sizes[0] if layered else 1
    if not 1 <= layers <= _MAXIMUM_LAYERS:
        raise CaseError(f"{path}: the header declares {layers} layers, more than the limit of {_MAXIMUM_LAYERS}")
    axes, origin = _geometry(header, layered, path)
    factors = space.to_patient * _unit(header, unit, path).in_mm
    grid = Grid(shape, affine(factors[:, None] * axes, factors * origin))
    values = _voxels(path, header, header_bytes, (layers, *shape))
    arrays = tuple(as_labels(path, values[k]) for k in range(layers))
    note = f"{space} stated by the file" + ("" if space is FileFrame.LPS else ", converted to LPS")
    return LabelVolume(grid, arrays, _segments(header, path, layers), note)


def _read_header(path: Path, size: int) -> tuple[Mapping[str, Any], int]:
    """The parsed header and the number of bytes that it takes."""
    import nrrd

    with path.open("rb") as stream:
        block = stream.read(_MAXIMUM_HEADER_BYTES)
    if not block.startswith(b"NRRD"):
        raise CaseError(f"{path}: this is not an NRRD file: it must begin with NRRD")
    end = re.search(rb"\r?\n\r?\n", block)
    if end is None and size > len(block):
        raise CaseError(f"{path}: the NRRD header does not end within {_MAXIMUM_HEADER_BYTES} bytes")
    text = block[: end.start()] if end else block
    sizes = re.search(rb"(?m)^sizes:(.*)$", text)
    if sizes and any(len(word) > 12 for word in sizes.group(1).split()):
        raise CaseError(f"{path}: the header declares impossible sizes, more than the limit of a label map")
    try:
        # The library takes bytes for ASCII and drops every other letter; 3D Slicer writes names in UTF-8.
        header = nrrd.read_header([line.decode("utf-8", "replace") + "\n" for line in text.splitlines()])
    except Exception as error:
        raise CaseError(f"{path}: the NRRD header is damaged ({str(error).splitlines()[0]})") from None
    return header, end.end() if end else size


def _sizes(header: Mapping[str, Any], path: Path) -> tuple[list[int], bool]:
    """The declared sizes and whether the first of four axes counts layers."""
    try:
        sizes = [int(n) for n in header["sizes"]]
        dimension = int(header["dimension"])
    except (KeyError, TypeError, ValueError):
        raise CaseError(f"{path}: the NRRD header declares no sizes") from None
    if dimension != len(sizes) or dimension not in (3, 4):
        raise CaseError(f"{path}: a label map has three axes (four with layers), but the header declares {sizes}")
    return sizes, dimension == 4


def _geometry(header: Mapping[str, Any], layered: bool, path: Path) -> tuple[FloatArray, FloatArray]:
    """(3, 3) axes as columns and (3,) origin, in the file's frame and unit."""
    try:
        directions = np.asarray(header["space directions"], dtype=np.float64)
        origin = np.asarray(header["space origin"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        raise CaseError(f"{path}: the header must state both space directions and space origin") from None
    if layered:
        if directions.shape != (4, 3) or not np.isnan(directions[0]).all():
            raise CaseError(f"{path}: of four axes the first must count layers (its space direction must be none)")
        directions = directions[1:]
    if directions.shape != (3, 3) or origin.shape != (3,) or not np.isfinite(directions).all():
        raise CaseError(f"{path}: the space directions must be three vectors of three numbers")
    if not np.isfinite(origin).all():
        raise CaseError(f"{path}: the space origin must be three numbers")
    return directions.T, origin


def _unit(header: Mapping[str, Any], stated: FileUnit | None, path: Path) -> FileUnit:
    """The unit of the file: millimetres where none is stated, which is what every medical writer means."""
    own = header.get("space units")
    if own is None:
        return stated if stated is not None else FileUnit.MILLIMETRE
    names = {str(name).lower() for name in own}
    if len(names) != 1 or names - {unit.value for unit in FileUnit}:
        raise CaseError(f"{path}: the space units must be mm, cm, m or um on every axis, not {sorted(names)}")
    unit = FileUnit(names.pop())
    if stated not in (None, unit):
        raise CaseError(f"{path}: the file states the unit {unit} but the manifest {stated}")
    return unit


def _voxels(path: Path, header: Mapping[str, Any], header_bytes: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """The stored numbers as an array of ``shape``, of which the first axis varies fastest."""
    type_name = str(header.get("type", "")).lower()
    if type_name not in _TYPES:
        raise CaseError(f"{path}: a label map must hold whole numbers, not {type_name or 'an unstated type'}")
    dtype = np.dtype(_TYPES[type_name])
    if dtype.itemsize > 1:
        endian = str(header.get("endian", "")).lower()
        if endian not in ("little", "big"):
            raise CaseError(f"{path}: the header must say whether the data are little or big endian")
        dtype = dtype.newbyteorder("<" if endian == "little" else ">")
    encoding = str(header.get("encoding", "")).lower()
    if encoding != "raw" and encoding not in _GZIP:
        raise CaseError(f"{path}: the encoding must be raw or gzip, not {encoding or 'unstated'}")
    for key in ("line skip", "lineskip", "byte skip", "byteskip"):
        if int(header.get(key, 0)) != 0:
            raise CaseError(f"{path}: {key} is not read; write the file again without it")
    data_name = header.get("data file", header.get("datafile"))
    data_path = path if data_name is None else _detached(path, str(data_name))
    offset = header_bytes if data_name is None else 0
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    compressed = encoding in _GZIP
    require_bytes(path, count, file_size(data_path) - offset, compressed)
    if compressed:
        import gzip

        with data_path.open("rb") as raw:
            raw.seek(offset)
            if raw.read(2) != b"\x1f\x8b":
                raise CaseError(f"{path}: the header says gzip but the data are not")
            raw.seek(offset)
            with gzip.GzipFile(fileobj=raw) as stream:
                data = read_exactly(stream, count, path)  # type: ignore[arg-type]
    else:
        with open_stream(data_path, False) as stream_raw:
            stream_raw.seek(offset)
            data = read_exactly(stream_raw, count, path)
    return data.view(dtype).reshape(shape, order="F")


def _detached(path: Path, name: str) -> Path:
    """The data file of a detached header, which must lie in the header's own folder or below."""
    folder = path.parent.resolve()
    if name.upper().startswith("LIST") or "%" in name or "\\" in name or len(name) > 255:
        raise CaseError(f"{path}: only one plainly named data file is read, not {name[:60]!r}")
    target = folder / name
    if Path(name).is_absolute() or not target.resolve().is_relative_to(folder):
        raise CaseError(f"{path}: its data file {name!r} lies outside the folder of the header")
    if not target.is_file():
        raise CaseError(f"{path}: its data file {name!r} does not exist")
    if is_gzip(target) and target.resolve() == path.resolve():
        raise CaseError(f"{path}: its data file is the header itself")
    return target


def _segments(header: Mapping[str, Any], path: Path, layers: int) -> tuple[Segment, ...]:
    """The named segments of a .seg.nrrd: Slicer's keys SegmentN_Name, _LabelValue and _Layer."""
    numbers = sorted({int(m.group(1)) for key in header if (m := re.match(r"Segment(\d{1,6})_", key))})
    segments = []
    for number in numbers:
        key = f"Segment{number}"
        name = str(header.get(f"{key}_Name", header.get(f"{key}_ID", ""))).strip()
        try:
            # Slicer before 4.11 wrote neither key: one layer a segment, holding 0 and 1.
            value = int(header.get(f"{key}_LabelValue", 1))
            layer = int(header.get(f"{key}_Layer", number if layers > 1 else 0))
        except ValueError:
            raise CaseError(f"{path}: {key} has a label value or a layer that is not a whole number") from None
        if not name or not 0 <= layer < layers or value < 1:
            raise CaseError(f"{path}: {key} needs a name, a label value above 0 and a layer below {layers}")
        segments.append(Segment(name, value, layer))
    names = [segment.name for segment in segments]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise CaseError(f"{path}: the segment name {doubled[0]!r} is used twice")
    return tuple(segments)


def write_labels_nrrd(
    path: Path, grid: Grid, labels: NDArray[np.integer[Any]], names: Mapping[int, str] | None = None
) -> None:
    """Write a label map as gzipped NRRD in LPS; with ``names`` the keys of a Slicer segmentation are added.

    Args:
        path: the file (.nrrd or .seg.nrrd); written whole or not at all.
        grid: the grid in patient LPS mm.
        labels: whole numbers from 0 to 32767 of ``grid.shape``.
        names: name of each label number.
    """
    import nrrd

    from needleplan.io.nifti import storable

    values = storable(path, grid, labels)
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "kinds": ["domain", "domain", "domain"],
        "space directions": grid.T_PV[:3, :3].T,
        "space origin": grid.T_PV[:3, 3],
        "encoding": "gzip",
    }
    for number, (value, name) in enumerate(sorted((names or {}).items())):
        where = np.argwhere(values == value)
        extent = np.stack([where.min(axis=0), where.max(axis=0)], axis=1) if len(where) else np.zeros((3, 2), int)
        header |= {
            f"Segment{number}_ID": f"Segment_{value}",
            f"Segment{number}_Name": " ".join(name.split()),
            f"Segment{number}_LabelValue": str(value),
            f"Segment{number}_Layer": "0",
            f"Segment{number}_Extent": " ".join(str(n) for n in extent.ravel()),
        }
    write_atomically(path, lambda temporary: nrrd.write(str(temporary), values, header, index_order="F"))
