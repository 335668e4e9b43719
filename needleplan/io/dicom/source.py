"""Where DICOM geometry comes from, without a word about whom it was taken of."""

import hashlib
from dataclasses import dataclass
from typing import Any

from needleplan.errors import CaseError
from needleplan.io.dicom import values


@dataclass(frozen=True, slots=True)
class DicomSource:
    """The identifiers by which geometry of different files is known to belong together.

    Attributes:
        frame_of_reference_uid: frame that the coordinates are counted in; files of another one do not fit.
        study_uid: study of the file.
        series_uid: series of the file.
        modality: CT, MR, SEG or RTSTRUCT.
        referenced_series_uid: series that a segmentation or structure set was drawn on; None where unstated.
    """

    frame_of_reference_uid: str
    study_uid: str
    series_uid: str
    modality: str
    referenced_series_uid: str | None = None

    def require_frame_of(self, other: "DicomSource", what: str) -> None:
        """Refuse geometry of another frame of reference.

        Args:
            other: source of the geometry that this one is to fit.
            what: what is refused, for the message.

        Raises:
            CaseError: the frames of reference differ.
        """
        if self.frame_of_reference_uid != other.frame_of_reference_uid:
            raise CaseError(
                f"{what}: the frame of reference is another one than that of the {other.modality}, so register "
                "the two first"
            )


def read_source(
    dataset: Any, name: str, frame_of_reference_uid: str, referenced_series_uid: str | None = None
) -> DicomSource:
    """The identifiers of a data set; raises CaseError where one is missing."""
    return DicomSource(
        frame_of_reference_uid,
        values.uid(dataset, "StudyInstanceUID", name),
        values.uid(dataset, "SeriesInstanceUID", name),
        values.text(dataset, "Modality", name)[:16],
        referenced_series_uid,
    )


def derived_uid(*parts: str | bytes) -> str:
    """A UID that follows from ``parts``: 2.25 and 128 bits of their SHA-256 as a whole number (PS3.5, B.2)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"
