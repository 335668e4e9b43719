"""Structures and zones as a DICOM segmentation, one segment each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from needleplan import __version__
from needleplan.errors import GeometryError, OptionError
from needleplan.grid import VoxelMask
from needleplan.io.dicom.coding import SegmentCoding, coded_concept, coding_of
from needleplan.io.dicom.reference import Reference, decimals, save
from needleplan.io.dicom.source import derived_uid


@dataclass(frozen=True, slots=True, eq=False)
class NamedMask:
    """A structure to be written.

    Attributes:
        name: label of the segment, 1 to 64 characters.
        mask: its voxels, which must be voxels of the reference.
        coding: what it is; by its name where None.
    """

    name: str
    mask: VoxelMask
    coding: SegmentCoding | None = None


#: Golden angle: hues that follow each other differ much, and none comes twice.
_HUE = np.pi * (3.0 - np.sqrt(5.0))


def checked_name(name: str) -> str:
    """A name that DICOM can hold (LO); raises OptionError."""
    if not 0 < len(name.strip()) <= 64 or "\\" in name or not name.isprintable():
        raise OptionError("a name in DICOM must have 1 to 64 printable characters and no backslash")
    return name.strip()


def write_segmentation(path: Path, structures: Sequence[NamedMask], reference: Reference) -> None:
    """Write masks as a binary DICOM segmentation (highdicom), numbered from 1 in their order; they may overlap.

    UIDs follow from the reference and the content: the same input gives the same ones.

    Args:
        path: the file.
        structures: what to write, each under a name of its own.
        reference: the slices that it belongs to.

    Raises:
        OptionError: there is nothing to write, or a name is unfit or given twice.
        GeometryError: a mask does not lie on the grid of the reference.
    """
    names = [checked_name(structure.name) for structure in structures]
    if not names or len(set(names)) < len(names):
        raise OptionError("a segmentation needs at least one structure, and a name of its own for each")
    placed = [reference.place(one.mask, name) for one, name in zip(structures, names, strict=True)]
    used = np.flatnonzero(np.any([inside.any(axis=(0, 1)) for inside in placed], axis=0)).tolist()
    # (segment, plane, row, column), so that each segment's pixels lie together.
    pixels = np.empty((len(placed), len(used), *reference.grid.shape[1::-1]), dtype=np.uint8)
    for segment, inside in zip(pixels, placed, strict=True):
        segment[:] = inside.transpose(2, 1, 0)[used]
    content = derived_uid(repr(used), np.packbits(pixels).tobytes())
    key = [reference.source.series_uid, *names, content]
    try:
        made = _made(pixels, used, structures, names, reference, key)
    except (ValueError, TypeError, AttributeError) as error:
        raise GeometryError(
            f"highdicom cannot write the segmentation for this reference ({type(error).__name__})"
        ) from None
    _cleaned(made, reference)
    save(made, path)


def _made(
    pixels: Any,
    used: list[int],
    structures: Sequence[NamedMask],
    names: list[str],
    reference: Reference,
    key: list[Any],
) -> Any:
    """The segmentation as highdicom makes it."""
    from highdicom.color import CIELabColor
    from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription

    codings = [one.coding or coding_of(name) for one, name in zip(structures, names, strict=True)]
    descriptions = [
        SegmentDescription(
            number,
            name,
            coded_concept(coding.category),
            coded_concept(coding.kind),
            SegmentAlgorithmTypeValues.MANUAL,
            tracking_uid=derived_uid("tracking", name, *key),
            tracking_id=name,
            display_color=CIELabColor(60.0, *(55.0 * np.array([np.cos(_HUE * number), np.sin(_HUE * number)]))),
        )
        for number, (name, coding) in enumerate(zip(names, codings, strict=True), 1)
    ]
    step = decimals([reference.step_mm])[0]
    return Segmentation(
        [reference.image_header(plane) for plane in range(reference.grid.shape[2])],
        np.moveaxis(pixels, 0, -1),
        SegmentationTypeValues.BINARY,
        descriptions,
        series_instance_uid=derived_uid("segmentation series", *key),
        series_number=100,
        sop_instance_uid=derived_uid("segmentation", *key),
        instance_number=1,
        manufacturer="needleplan",
        manufacturer_model_name="needleplan",
        software_versions=__version__,
        device_serial_number="none",
        pixel_measures=PixelMeasuresSequence(decimals(reference.pixel_spacing_mm), step, step),
        plane_orientation=PlaneOrientationSequence("PATIENT", decimals(reference.directions)),
        plane_positions=[PlanePositionSequence("PATIENT", decimals(reference.position_mm(k))) for k in used],
        content_label="NEEDLEPLAN",
        content_description="Structures and zones; research use only",
    )


def _cleaned(made: Any, reference: Reference) -> None:
    """Dates and UIDs of the reference's kind in place of highdicom's, and the mark that identifiers are absent."""
    date, time = reference.moment()
    made.SeriesDate, made.SeriesTime = date, time
    made.ContentDate, made.ContentTime = date, time
    made.ContentCreatorName = ""
    made.InstanceCreationDate, made.InstanceCreationTime = date, time
    for equipment in made.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in equipment:
            equipment.ContributionDateTime = date + time
    # highdicom states the gap of the planes that are not empty, which would stretch those into it.
    made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = decimals(
        [reference.step_mm]
    )[0]
    organisation = derived_uid("dimensions", made.SOPInstanceUID)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod"):
        if keyword in reference.patient:
            made[keyword] = reference.patient[keyword]
