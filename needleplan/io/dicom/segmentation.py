"""DICOM segmentations as label maps: binary ones, label maps, and fractional ones at a stated threshold."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError, GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import Grid
from needleplan.io.dicom import values
from needleplan.io.dicom.files import open_dicom
from needleplan.io.dicom.pixels import Frames
from needleplan.io.dicom.planes import checked_directions, stack
from needleplan.io.dicom.source import DicomSource, read_source
from needleplan.io.labels import LabelVolume, Segment

SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATION_CLASSES = {SEGMENTATION: "segmentation", LABEL_MAP: "label map segmentation"}

#: Layers of overlapping segments, and bytes of all of them together, that are allocated at most.
_MAXIMUM_LAYERS = 64
_MAXIMUM_LAYER_BYTES = 2_147_483_648


@dataclass(frozen=True, slots=True, eq=False)
class DicomSegmentation:
    """A segmentation.

    Attributes:
        labels: the segments by number and name; those that overlap lie in different layers.
        source: its frame of reference and series, and the series that it was drawn on.
    """

    labels: LabelVolume
    source: DicomSource


@dataclass(frozen=True, slots=True, eq=False)
class _FramePlaces:
    """Segment number (0: all, a label map), position and plane geometry of every frame."""

    segment: NDArray[np.int64]
    position_mm: FloatArray
    directions: FloatArray
    spacing_mm: FloatArray
    step_mm: float | None
    thickness_mm: float | None


def read_segmentation(path: Path, threshold_fraction: float | None = None) -> DicomSegmentation:
    """Read a DICOM segmentation (SEG).

    Frames are placed by their positions; planes that no frame covers, which writers leave out where they are empty,
    are empty here.

    Args:
        path: the file.
        threshold_fraction: least share of a voxel (0 to 1) that counts as inside, for a fractional segmentation;
            without it such a one is refused, because where its surface lies is then not stated.

    Raises:
        CaseError: the file is damaged, no segmentation, fractional without a threshold, holds one segment twice at
            one place (a series over time), or its frames lie in several orientations or at uneven steps.
    """
    file = open_dicom(path)
    sop_class = values.require_class(file, SEGMENTATION_CLASSES)
    dataset, name = file.dataset, file.name
    names = _segment_names(dataset, name)
    frames = Frames(file)
    places = _places(dataset, frames.count, sop_class == LABEL_MAP, name)
    unknown = sorted(set(places.segment.tolist()) - set(names) - {0})
    if unknown:
        raise CaseError(f"{name}: a frame belongs to segment {unknown[0]}, which is not described")
    placed = stack(
        places.position_mm, places.directions, places.spacing_mm, places.step_mm, places.thickness_mm, name
    )
    if placed.planes > 2 * len(np.unique(placed.plane_of)) + 1024:
        raise CaseError(f"{name}: nearly all of the {placed.planes} planes are missing")
    keys = np.stack([places.segment, placed.plane_of], axis=1)
    if len(np.unique(keys, axis=0)) != frames.count:
        raise CaseError(
            f"{name}: a segment has two frames at one place, as in a series over time; give one time only"
        )
    try:
        grid = Grid((frames.columns, frames.rows, placed.planes), placed.T_PV)
    except GeometryError as error:
        raise CaseError(f"{name}: {error}") from None
    kind, note = _reading(dataset, sop_class, threshold_fraction, name)
    if sop_class == LABEL_MAP:
        layers, layer_of = _label_map(frames, placed.plane_of, grid, names, name)
    else:
        layers, layer_of = _layers(frames, places.segment, placed.plane_of, grid, kind, name)
    segments = tuple(Segment(label, number, layer_of.get(number, 0)) for number, label in names.items())
    source = _source(dataset, name)
    note = f"DICOM patient coordinates (LPS, mm){note}"
    return DicomSegmentation(LabelVolume(grid, layers, segments, note, source.frame_of_reference_uid), source)


def _source(dataset: Any, name: str) -> DicomSource:
    series = values.items(dataset, "ReferencedSeriesSequence", name)
    referenced = {values.uid(one, "SeriesInstanceUID", name) for one in series}
    frame = values.uid(dataset, "FrameOfReferenceUID", name)
    return read_source(dataset, name, frame, referenced.pop() if len(referenced) == 1 else None)


def _segment_names(dataset: Any, name: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for item in values.items(dataset, "SegmentSequence", name):
        number = values.whole(item, "SegmentNumber", 0, 65535, name)
        if number in found:
            raise CaseError(f"{name}: segment {number} is described twice")
        found[number] = values.text(item, "SegmentLabel", name) or f"segment {number}"
    # A label map may describe its background.
    found.pop(0, None)
    if not found:
        raise CaseError(f"{name}: the file describes no segment")
    return found


def _reading(dataset: Any, sop_class: str, threshold_fraction: float | None, name: str) -> tuple[float | None, str]:
    """Least stored value that counts as inside (None: any above 0), and what to note about it."""
    kind = values.text(dataset, "SegmentationType", name)
    if sop_class == LABEL_MAP or kind == "BINARY":
        return None, ""
    if kind != "FRACTIONAL":
        raise CaseError(f"{name}: the attribute SegmentationType is missing or none that is known")
    if threshold_fraction is None:
        raise CaseError(
            f"{name}: the segmentation is fractional, so where its surfaces lie is not stated; store it as binary, "
            "or give the share from which a voxel counts as inside"
        )
    if not 0.0 < threshold_fraction <= 1.0:
        raise CaseError(f"{name}: the threshold must be above 0 and at most 1, not {threshold_fraction}")
    greatest = values.whole(dataset, "MaximumFractionalValue", 1, 255, name)
    return threshold_fraction * greatest, f"; fractional, inside from a share of {threshold_fraction:g}"


def _places(dataset: Any, count: int, is_label_map: bool, name: str) -> _FramePlaces:
    """What the functional groups say about every frame (PS3.3, C.7.6.16)."""
    shared = values.only_item(dataset, "SharedFunctionalGroupsSequence", name)
    each = values.items(dataset, "PerFrameFunctionalGroupsSequence", name)
    if len(each) != count:
        raise CaseError(f"{name}: {count} frames are declared, but {len(each)} are described")

    def group(frame: Any, keyword: str) -> Any:
        found = values.only_item(frame, keyword, name)
        if found is None and shared is not None:
            found = values.only_item(shared, keyword, name)
        if found is None:
            raise CaseError(f"{name}: a frame has no {keyword}")
        return found

    segment = np.zeros(count, dtype=np.int64)
    position, facts = np.empty((count, 3)), set()
    for number, frame in enumerate(each):
        if not is_label_map:
            identification = group(frame, "SegmentIdentificationSequence")
            segment[number] = values.whole(identification, "ReferencedSegmentNumber", 1, 65535, name)
        plane = group(frame, "PlanePositionSequence")
        position[number] = values.needed_numbers(plane, "ImagePositionPatient", 3, name)
        if number and not any(k in frame for k in ("PlaneOrientationSequence", "PixelMeasuresSequence")):
            continue
        orientation = group(frame, "PlaneOrientationSequence")
        measures = group(frame, "PixelMeasuresSequence")
        spacing = values.positive(measures, "PixelSpacing", 2, name)
        if spacing is None:
            raise CaseError(f"{name}: the attribute PixelSpacing is missing")
        directions = values.needed_numbers(orientation, "ImageOrientationPatient", 6, name)
        facts.add((*directions.round(6).tolist(), *spacing.round(6).tolist()))
        if len(facts) > 1:
            raise CaseError(
                f"{name}: the frames lie in several orientations or spacings, so they make no grid; export each "
                "one as a segmentation of its own"
            )
        if number == 0:
            step, thickness = (
                values.positive(measures, keyword, 1, name)
                for keyword in ("SpacingBetweenSlices", "SliceThickness")
            )
            kept = (
                checked_directions(directions, name),
                spacing,
                None if step is None else float(step[0]),
                None if thickness is None else float(thickness[0]),
            )
    return _FramePlaces(segment, position, *kept)


def _empty_layer(grid: Grid, existing: int, greatest: int, name: str) -> NDArray[Any]:
    kind = np.dtype(np.uint8 if greatest < 256 else np.uint16)
    size = int(np.prod(grid.shape)) * kind.itemsize
    if existing >= _MAXIMUM_LAYERS or (existing + 1) * size > _MAXIMUM_LAYER_BYTES:
        raise CaseError(f"{name}: the segments overlap so much that their layers would not fit into memory")
    return np.zeros(grid.shape[::-1], dtype=kind)


def _layers(
    frames: Frames, segment: NDArray[np.int64], plane: NDArray[np.int64], grid: Grid, least: float | None, name: str
) -> tuple[tuple[NDArray[Any], ...], dict[int, int]]:
    """Each segment in the first layer in which it meets no other."""
    greatest = int(segment.max())
    layers: list[NDArray[Any]] = [_empty_layer(grid, 0, greatest, name)]
    layer_of: dict[int, int] = {}

    def inside(number: int) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = frames.frame(number) >= (1 if least is None else least)
        return found

    for value in np.unique(segment).tolist():
        own = np.flatnonzero(segment == value).tolist()
        free = (
            place
            for place, layer in enumerate(layers)
            if not any(layer[plane[number]][inside(number)].any() for number in own)
        )
        place = next(free, len(layers))
        if place == len(layers):
            layers.append(_empty_layer(grid, place, greatest, name))
        for number in own:
            layers[place][plane[number]][inside(number)] = value
        layer_of[value] = place
    return tuple(layer.transpose(2, 1, 0) for layer in layers), layer_of


def _label_map(
    frames: Frames, plane: NDArray[np.int64], grid: Grid, names: dict[int, str], name: str
) -> tuple[tuple[NDArray[Any], ...], dict[int, int]]:
    layer = _empty_layer(grid, 0, max(names), name)
    for number in range(frames.count):
        stored = frames.frame(number)
        if stored.min() < 0 or not np.isin(stored, [0, *names]).all():
            raise CaseError(f"{name}: a voxel belongs to a segment that is not described")
        layer[plane[number]] = stored
    return (layer.transpose(2, 1, 0),), {}
