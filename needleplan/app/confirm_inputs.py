"""What the confirm command reads: label maps, and how they are laid on each other."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from needleplan.case.masks import LabelIndex
from needleplan.confirmation.alignment import (
    AFTER,
    Alignment,
    by_landmarks,
    by_organ,
    given_transform,
    same_frame,
)
from needleplan.errors import CaseError, OptionError
from needleplan.frames import FloatArray, Frame
from needleplan.grid import VoxelMask
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.itk_transforms import read_transform
from needleplan.io.labels import LabelVolume, format_of, read_labels
from needleplan.io.slicer_markups import read_markups


@dataclass(frozen=True, slots=True, eq=False)
class ReadMask:
    """A structure that was read.

    Attributes:
        mask: its voxels.
        file: the file that it stood in.
        frame_uid: DICOM frame of reference; None where the format has none.
    """

    mask: VoxelMask
    file: Path
    frame_uid: str | None


def read_mask(text: str, frame: FileFrame | None = None, unit: FileUnit | None = None) -> ReadMask:
    """A structure of a label map.

    Args:
        text: the file, or ``FILE:NAME`` with the name or the number of a label; a file that holds one label needs
            none.
        frame: axes that VTI files are counted along; all others state their own.
        unit: length unit, for files that state none.

    Raises:
        OptionError: nothing stands behind the colon.
        CaseError: the file cannot be read, or the label is none of it.
    """
    path, name = _named(text)
    volume = _read(path, frame, unit)
    index = LabelIndex(volume)
    if name:
        named = any(segment.name == name for segment in volume.segments)
        label: int | str = int(name) if name.isascii() and name.isdigit() and not named else name
        return ReadMask(index.mask([label], path.name), path, volume.frame_of_reference_uid)
    labels = _only_label(path, volume)
    return ReadMask(index.mask([labels], path.name), path, volume.frame_of_reference_uid)


def _named(text: str) -> tuple[Path, str]:
    """The file of ``FILE:NAME`` and the name, "" where there is none."""
    path = Path(text)
    if path.exists() or ":" not in text:
        return path, ""
    before, name = text.rsplit(":", 1)
    if not name.strip():
        raise OptionError(
            f"{Path(before).name}: nothing stands behind the colon: name a label, or leave the colon out"
        )
    return Path(before), name


def _read(path: Path, frame: FileFrame | None, unit: FileUnit | None) -> LabelVolume:
    try:
        return read_labels(path, frame if format_of(path) == "vti" else None, unit)
    except CaseError as error:
        # Here no manifest states the frame and the unit, but options do.
        words = str(error)
        for stated, option in (
            ('state unit = "mm" (or another) in the manifest', "state --unit mm (or another)"),
            (
                'state frame = "LPS" (or "RAS") and unit = "mm" in the manifest',
                "state --frame LPS (or RAS) and --unit mm",
            ),
        ):
            words = words.replace(stated, option)
        raise CaseError(words) from None


def require_frame_is_used(options: Namespace) -> None:
    """Raises OptionError where a frame is stated and no map lacks one."""
    texts = (options.tumour, options.zone, options.organ_before, options.organ_after)
    if options.frame is not None and not any(
        format_of(_named(text)[0]) == "vti" for text in texts if text is not None
    ):
        raise OptionError("--frame goes with .vti files, which store none: all others state their own")


def _only_label(path: Path, volume: Any) -> int | str:
    """The one label of a map; raises CaseError that lists them where there are several."""
    import numpy as np

    if len(volume.segments) == 1:
        return str(volume.segments[0].name)
    if len(volume.layers) == 1:
        values = np.unique(volume.labels)
        values = values[values != 0]
        if len(values) == 1:
            return int(values[0])
        if not len(values):
            raise CaseError(f"{path.name}: the label map is empty")
        there = ", ".join(volume.names.get(int(value), str(int(value))) for value in values[:20])
    else:
        there = ", ".join(segment.name for segment in volume.segments[:20])
    raise CaseError(f"{path.name}: the map holds several labels, so name one as FILE:NAME; there are {there}")


def read_alignment(
    options: Namespace, tumour: ReadMask, zone: ReadMask, before: ReadMask | None, after: ReadMask | None
) -> Alignment:
    """How the scan after is laid on the scan before, as the options say.

    Without any of them both maps must be known to share a frame: they stand in one file, or in DICOM files with one
    frame of reference.

    Raises:
        OptionError: no way or several ways are named, one lacks its other half, or what was named cannot be.
        GeometryError: landmarks or surfaces do not fit.
    """
    landmarks = (options.landmarks_before, options.landmarks_after)
    ways = [options.transform is not None, any(landmarks), options.by_organ, options.same_frame]
    if sum(ways) > 1:
        raise OptionError("name one of --transform, --landmarks-before and -after, --by-organ and --same-frame")
    for read, known, what in ((before, tumour, "organ before"), (after, zone, "organ after")):
        if read is not None and _frames_differ(read, known):
            raise OptionError(f"the {what} is in another DICOM frame of reference than what was drawn in it")
    if options.transform is not None:
        return given_transform(read_transform(options.transform, Frame.PATIENT, AFTER), options.error_mm)
    if any(landmarks):
        if not all(landmarks):
            raise OptionError("landmarks are needed of both scans: --landmarks-before and --landmarks-after")
        return by_landmarks(*_landmarks(*landmarks), fle_mm=options.error_mm)
    if options.by_organ:
        if before is None or after is None:
            raise OptionError("--by-organ needs the organ of both scans: --organ-before and --organ-after")
        if options.error_mm is not None:
            raise OptionError("--error-mm goes with --transform, landmarks and --same-frame")
        return by_organ(before.mask, after.mask)
    if options.same_frame and _frames_differ(tumour, zone):
        raise OptionError("--same-frame: the two DICOM files have different frames of reference")
    shared = tumour.frame_uid is not None and tumour.frame_uid == zone.frame_uid
    if not (options.same_frame or shared or tumour.file.resolve() == zone.file.resolve()):
        raise OptionError(
            "nothing says how the two maps lie to each other: give --transform, landmarks or --by-organ, or "
            "--same-frame where both are known to be in one frame"
        )
    return same_frame(options.error_mm)


def _frames_differ(first: ReadMask, second: ReadMask) -> bool:
    uids = first.frame_uid, second.frame_uid
    return None not in uids and uids[0] != uids[1]


def _landmarks(before: Path, after: Path) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
    """Places of both scans in one order, by their labels, and these."""
    import numpy as np

    found = []
    for path in (before, after):
        lists = read_markups(path).lists
        if len(lists) != 1:
            raise CaseError(f"{path.name}: landmarks are one list of points, but the file holds {len(lists)}")
        points = {point.label: point.position_mm for point in lists[0].points}
        if len(points) != len(lists[0].points):
            raise CaseError(f"{path.name}: two landmarks have the same label")
        found.append(points)
    names = tuple(found[0])
    if set(names) != set(found[1]):
        odd = sorted(set(names) ^ set(found[1]))
        raise CaseError(f"landmarks are paired by their labels, but {odd[0]!r} stands in one of the files only")
    return np.array([found[0][name] for name in names]), np.array([found[1][name] for name in names]), names
