"""VTK image label maps (.vti). The format stores no frame, so the manifest must state frame and unit."""

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from needleplan.errors import CaseError
from needleplan.grid import Grid
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.labels import LabelVolume, affine, as_labels, checked_shape
from needleplan.io.vtk_xml import attribute_numbers, attribute_whole_numbers, read_vtk_xml, single


def read_vti(path: Path, frame: FileFrame | None, unit: FileUnit | None) -> LabelVolume:
    """Read a VTK image; a stored Direction is honoured; see ``read_labels``."""
    if frame is None or unit is None:
        raise CaseError(
            f'{path}: a VTI file stores neither frame nor unit; state frame = "LPS" (or "RAS") and unit = "mm" '
            "in the manifest"
        )
    file = read_vtk_xml(path, "ImageData")
    image = single(file.root, "ImageData", path)
    extent = attribute_whole_numbers(image, "WholeExtent", 6, path)
    shape = checked_shape(path, [extent[2 * k + 1] - extent[2 * k] + 1 for k in range(3)])
    origin = np.array(attribute_numbers(image, "Origin", 3, path, "0 0 0"))
    spacing = np.array(attribute_numbers(image, "Spacing", 3, path, "1 1 1"))
    direction = np.array(attribute_numbers(image, "Direction", 9, path, "1 0 0 0 1 0 0 0 1")).reshape(3, 3)
    piece = single(image, "Piece", path)
    if attribute_whole_numbers(piece, "Extent", 6, path) != extent:
        raise CaseError(f"{path}: the piece does not have the extent of the whole image, so voxels are missing")
    array = _label_array(piece, path)
    if array.get("NumberOfComponents", "1") != "1":
        raise CaseError(f"{path}: the label array must hold one number a point")
    values = file.numbers(array, shape[0] * shape[1] * shape[2]).reshape(shape, order="F")
    factors = frame.to_patient * unit.in_mm
    axes = direction * spacing
    first = origin + axes @ np.array(extent[::2], dtype=np.float64)
    grid = Grid(shape, affine(factors[:, None] * axes, factors * first))
    return LabelVolume(grid, (as_labels(path, values),), (), f"{frame} as the manifest states")


def _label_array(piece: Element, path: Path) -> Element:
    """The point array that holds the labels: the active scalars, or the only array."""
    points = piece.find("PointData")
    arrays = [] if points is None else points.findall("DataArray")
    active = None if points is None else points.get("Scalars")
    chosen = [array for array in arrays if array.get("Name") == active] if active else arrays
    if len(chosen) != 1:
        raise CaseError(f"{path}: the image must have one array of point data, not {len(chosen)}")
    return chosen[0]
