"""RT Structure Sets: contours in patient millimetres, region by region."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.errors import CaseError
from needleplan.frames import FloatArray, read_only
from needleplan.io.dicom import values
from needleplan.io.dicom.files import open_dicom
from needleplan.io.dicom.source import DicomSource, read_source

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"

#: Contour points of a whole file, more of which are refused.
MAXIMUM_POINTS = 20_000_000


class ContourKind(StrEnum):
    """Geometric types of contours (PS3.3, C.8.8.6.1)."""

    POINT = "POINT"
    OPEN_PLANAR = "OPEN_PLANAR"
    OPEN_NONPLANAR = "OPEN_NONPLANAR"
    CLOSED_PLANAR = "CLOSED_PLANAR"
    CLOSED_PLANAR_XOR = "CLOSEDPLANAR_XOR"

    @property
    def is_closed(self) -> bool:
        """True where the contour bounds an area."""
        return self in (ContourKind.CLOSED_PLANAR, ContourKind.CLOSED_PLANAR_XOR)


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One contour.

    Attributes:
        kind: what its points stand for.
        points_mm: (n, 3) in patient LPS, read-only; the last point of a closed one is joined to the first.
        slab_mm: thickness that the file states for it; None where it states none.
    """

    kind: ContourKind
    points_mm: FloatArray
    slab_mm: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A region of interest.

    Attributes:
        number: its number in the file.
        name: its name.
        interpreted_type: ORGAN, GTV, DEVICE ... as the file says; "" where it says nothing.
        contours: its contours; holes are contours within others, or are cut in by a keyhole.
    """

    number: int
    name: str
    interpreted_type: str
    contours: tuple[Contour, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StructureSet:
    """A structure set.

    Attributes:
        regions: its regions in the order of the file.
        source: frame of reference, series, and the series that the contours were drawn on.
    """

    regions: tuple[Region, ...]
    source: DicomSource

    def region(self, name: str) -> Region:
        """The region of this name; raises CaseError, with the names there are, where there is not exactly one."""
        found = [region for region in self.regions if region.name == name]
        if len(found) != 1:
            names = ", ".join(region.name for region in self.regions)
            raise CaseError(f"the structure set has {len(found)} regions named {name!r}; it has {names}")
        return found[0]


def read_structure_set(path: Path) -> StructureSet:
    """Read the contours of an RT Structure Set.

    Raises:
        CaseError: the file is damaged, no structure set, or its regions lie in different frames of reference.
    """
    file = open_dicom(path)
    values.require_class(file, {STRUCTURE_SET: "RT structure set"})
    dataset, name = file.dataset, file.name
    regions: dict[int, tuple[str, str]] = {}
    for item in values.items(dataset, "StructureSetROISequence", name):
        number = values.whole(item, "ROINumber", 0, 2**31 - 1, name)
        if number in regions:
            raise CaseError(f"{name}: region {number} is described twice")
        frame = values.uid(item, "ReferencedFrameOfReferenceUID", name)
        regions[number] = (values.text(item, "ROIName", name) or f"region {number}", frame)
    if not regions:
        raise CaseError(f"{name}: the structure set has no region")
    frames = {frame for _, frame in regions.values()}
    if len(frames) > 1:
        raise CaseError(f"{name}: the regions lie in {len(frames)} frames of reference; export each one by itself")
    kinds = _interpreted_types(dataset, name)
    contours = _contours(dataset, set(regions), name)
    return StructureSet(
        tuple(
            Region(number, label, kinds.get(number, ""), tuple(contours.get(number, ())))
            for number, (label, _) in regions.items()
        ),
        read_source(dataset, name, frames.pop(), _referenced_series(dataset, name)),
    )


def _interpreted_types(dataset: Any, name: str) -> dict[int, str]:
    return {
        values.whole(item, "ReferencedROINumber", 0, 2**31 - 1, name): values.text(
            item, "RTROIInterpretedType", name
        )
        for item in values.items(dataset, "RTROIObservationsSequence", name)
    }


def _contours(dataset: Any, known: set[int], name: str) -> dict[int, list[Contour]]:
    found: dict[int, list[Contour]] = {}
    total = 0
    for item in values.items(dataset, "ROIContourSequence", name):
        number = values.whole(item, "ReferencedROINumber", 0, 2**31 - 1, name)
        if number not in known or number in found:
            raise CaseError(f"{name}: contours are given for a region that is not described, or twice for one")
        found[number] = []
        for contour in values.items(item, "ContourSequence", name):
            made = _contour(contour, name)
            total += len(made.points_mm)
            if total > MAXIMUM_POINTS:
                raise CaseError(f"{name}: the contours have more than the limit of {MAXIMUM_POINTS} points")
            found[number].append(made)
    return found


def _contour(item: Any, name: str) -> Contour:
    stated = values.text(item, "ContourGeometricType", name)
    if stated not in set(ContourKind):
        raise CaseError(f"{name}: a contour's geometric type is missing or none of {', '.join(ContourKind)}")
    kind = ContourKind(stated)
    points = _points(item, name)
    least = {ContourKind.POINT: 1, ContourKind.OPEN_PLANAR: 2, ContourKind.OPEN_NONPLANAR: 2}.get(kind, 3)
    if len(points) < least or (kind is ContourKind.POINT and len(points) != 1):
        raise CaseError(f"{name}: a contour of type {kind} has {len(points)} points")
    if values.raw(item, "NumberOfContourPoints", name) is not None:
        if values.whole(item, "NumberOfContourPoints", 0, MAXIMUM_POINTS, name) != len(points):
            raise CaseError(f"{name}: a contour has another number of points than it declares")
    offset = values.numbers(item, "ContourOffsetVector", 3, name)
    if offset is not None and np.abs(offset).max() > 0:
        raise CaseError(f"{name}: a contour is stored with an offset vector, which is retired and not read")
    slab = values.positive(item, "ContourSlabThickness", 1, name)
    return Contour(kind, read_only(points), None if slab is None else float(slab[0]))


def _points(item: Any, name: str) -> FloatArray:
    """Contour points (n, 3), from the stored text where it can be had: millions of decimal objects are slow."""
    try:
        element = item.get_item(0x30060050)
        value = getattr(element, "value", None)
        parts = value.rstrip(b"\0 ").split(b"\\") if isinstance(value, bytes) else list(value or ())
        points = np.array([float(part) for part in parts], dtype=np.float64)
    except Exception:
        raise CaseError(f"{name}: the attribute ContourData does not hold numbers") from None
    if len(points) % 3 or not np.isfinite(points).all() or np.abs(points).max(initial=0.0) > values.MAXIMUM_NUMBER:
        raise CaseError(f"{name}: the attribute ContourData must hold three finite coordinates a point")
    return points.reshape(-1, 3)


def _referenced_series(dataset: Any, name: str) -> str | None:
    """The series that all contours refer to; None where there is none or several."""
    found = {
        values.uid(series, "SeriesInstanceUID", name)
        for frame in values.items(dataset, "ReferencedFrameOfReferenceSequence", name)
        for study in values.items(frame, "RTReferencedStudySequence", name)
        for series in values.items(study, "RTReferencedSeriesSequence", name)
    }
    return found.pop() if len(found) == 1 else None
