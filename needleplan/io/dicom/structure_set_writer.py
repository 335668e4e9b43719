"""Surfaces and needles as an RT Structure Set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from needleplan import __version__
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray
from needleplan.io.dicom.coding import coding_of
from needleplan.io.dicom.contours import cut_by_slices, with_keyholes
from needleplan.io.dicom.files import IMPLICIT_LITTLE_ENDIAN
from needleplan.io.dicom.reference import Reference, save
from needleplan.io.dicom.segmentation_writer import checked_name
from needleplan.io.dicom.source import derived_uid
from needleplan.io.dicom.structure_set import STRUCTURE_SET, ContourKind

_CONTOUR_DATA = 0x30060050
_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"


@dataclass(frozen=True, slots=True, eq=False)
class NamedSurface:
    """A closed surface to be written as contours.

    Attributes:
        name: name of the region, 1 to 64 characters.
        mesh: the surface.
        interpreted_type: ORGAN, GTV, TREATED_VOLUME ...; by its name where None.
    """

    name: str
    mesh: SurfaceMesh
    interpreted_type: str | None = None


@dataclass(frozen=True, slots=True)
class NamedNeedle:
    """A needle to be written as an open contour of two points, entry first, with the type DEVICE.

    Attributes:
        name: name of the region, 1 to 64 characters.
        entry_mm: where it enters, patient LPS.
        tip_mm: its deepest point, patient LPS.
    """

    name: str
    entry_mm: tuple[float, float, float]
    tip_mm: tuple[float, float, float]


def write_structure_set(
    path: Path, surfaces: Sequence[NamedSurface], needles: Sequence[NamedNeedle], reference: Reference
) -> None:
    """Cut surfaces by the slice planes of the reference and write them, and needles, as an RT Structure Set.

    Contours are the exact curves in which the surfaces meet the planes, to 1e-5 mm; holes are joined to the curve
    around them by a channel of no width. UIDs follow from the reference and the content.

    Args:
        path: the file.
        surfaces: closed surfaces in the frame of the reference.
        needles: needles in the same frame.
        reference: the slices that the contours belong to.

    Raises:
        OptionError: there is nothing to write, or a name is unfit or given twice.
        GeometryError: a surface is open, or meets no slice plane.
    """
    names = [checked_name(name) for name in [*(s.name for s in surfaces), *(n.name for n in needles)]]
    if not names or len(set(names)) < len(names):
        raise OptionError("a structure set needs at least one region, and a name of its own for each")
    axes = reference.directions.reshape(2, 3)
    contours: list[list[tuple[ContourKind, int | None, str]]] = []
    for surface in surfaces:
        try:
            cuts = cut_by_slices(surface.mesh, reference.grid)
        except GeometryError as error:
            raise GeometryError(f"{surface.name}: {error}") from None
        contours.append(
            [
                (ContourKind.CLOSED_PLANAR, plane, _text(curve))
                for plane, curves in cuts.items()
                for curve in with_keyholes(curves, axes)
            ]
        )
    for needle in needles:
        ends = np.array([needle.entry_mm, needle.tip_mm], dtype=np.float64)
        if not np.isfinite(ends).all() or np.array_equal(ends[0], ends[1]):
            raise GeometryError(f"{needle.name}: a needle needs an entry and a tip that are two finite points")
        contours.append([(ContourKind.OPEN_PLANAR, None, _text(ends))])
    kinds = [one.interpreted_type or coding_of(one.name).region_type for one in surfaces] + ["DEVICE"] * len(
        needles
    )
    save(_made(names, kinds, contours, reference), path, IMPLICIT_LITTLE_ENDIAN)


def _text(points_mm: FloatArray) -> str:
    """Coordinates with five decimals, 11 characters at most where DICOM allows 16."""
    if np.abs(points_mm).max() >= 1e6:
        raise GeometryError("a point lies more than a kilometre from the origin, which no patient does")
    # Minus nought would be one more character, and another file.
    return "\\".join(f"{value:.5f}" for value in (np.round(points_mm, 5) + 0.0).reshape(-1).tolist())


def _item(**attributes: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _made(
    names: list[str],
    kinds: list[str],
    contours: list[list[tuple[ContourKind, int | None, str]]],
    reference: Reference,
) -> Any:
    key = (reference.source.series_uid, *names, *(text for region in contours for _, _, text in region))
    date, time = reference.moment()
    made = _item(SOPClassUID=STRUCTURE_SET, SOPInstanceUID=derived_uid("structure set", *key))
    made.update(reference.patient)
    made.InstanceCreationDate, made.InstanceCreationTime = date, time
    made.StudyInstanceUID, made.Modality = reference.source.study_uid, "RTSTRUCT"
    made.SeriesInstanceUID, made.SeriesNumber = derived_uid("structure set series", *key), 101
    made.SeriesDate, made.SeriesTime, made.OperatorsName, made.InstanceNumber = date, time, "", 1
    made.Manufacturer, made.ManufacturerModelName, made.SoftwareVersions = "needleplan", "needleplan", __version__
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = reference.source.frame_of_reference_uid, ""
    made.StructureSetLabel = "NEEDLEPLAN"
    made.StructureSetDescription = "Structures, zones and needles; research use only"
    made.StructureSetDate, made.StructureSetTime, made.ApprovalStatus = date, time, "UNAPPROVED"
    made.ReferencedFrameOfReferenceSequence = [_referenced_frame(reference)]
    made.StructureSetROISequence = [
        _item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=reference.source.frame_of_reference_uid,
            ROIName=name,
            ROIGenerationAlgorithm="",
        )
        for number, name in enumerate(names, 1)
    ]
    made.ROIContourSequence = [
        _item(
            ROIDisplayColor=[(53 * number) % 256, (101 * number + 128) % 256, (197 * number + 64) % 256],
            ContourSequence=[_contour(kind, plane, text, reference) for kind, plane, text in region],
            ReferencedROINumber=number,
        )
        for number, region in enumerate(contours, 1)
    ]
    made.RTROIObservationsSequence = [
        _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType=kind, ROIInterpreter="")
        for number, kind in enumerate(kinds, 1)
    ]
    return made


def _referenced_frame(reference: Reference) -> Any:
    images = [_image(reference, plane) for plane in range(reference.grid.shape[2])]
    series = _item(SeriesInstanceUID=reference.source.series_uid, ContourImageSequence=images)
    study = _item(
        ReferencedSOPClassUID=_DETACHED_STUDY,
        ReferencedSOPInstanceUID=reference.source.study_uid,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=reference.source.frame_of_reference_uid, RTReferencedStudySequence=[study])


def _image(reference: Reference, plane: int) -> Any:
    return _item(ReferencedSOPClassUID=reference.sop_class, ReferencedSOPInstanceUID=reference.instance_uids[plane])


def _contour(kind: ContourKind, plane: int | None, text: str, reference: Reference) -> Any:
    from pydicom.dataelem import DataElement

    contour = _item(ContourGeometricType=kind.value, NumberOfContourPoints=(text.count("\\") + 1) // 3)
    if plane is not None:
        contour.ContourImageSequence = [_image(reference, plane)]
    # To make a decimal object of each of a million coordinates takes many seconds. As bytes they are written
    # as they are, and implicit form stores no representation that could tell them from decimals.
    contour.add(DataElement(_CONTOUR_DATA, "OB", text.encode() + b" " * (len(text) % 2)))
    return contour
