"""What the confirm command reads: label maps, how they are laid on each other, and the plan beside them."""

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
from needleplan.io.itk_transforms import read_transform
from needleplan.io.labels import read_labels
from needleplan.io.plan_file import plan_hash, read_plan
from needleplan.io.slicer_markups import read_markups
from needleplan.plan import Plan

#: A plan whose needle tips all lie farther than this from the tumour is that of another patient or frame.
_TIPS_WITHIN_MM = 100.0


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


def read_mask(text: str) -> ReadMask:
    """A structure of a label map.

    Args:
        text: the file, or ``FILE:NAME`` with the name or the number of a label; a file that holds one label needs
            none.

    Raises:
        CaseError: the file cannot be read, or the label is none of it.
    """
    path, name = Path(text), ""
    if not path.exists() and ":" in text:
        before, name = text.rsplit(":", 1)
        path = Path(before)
    volume = read_labels(path)
    index = LabelIndex(volume)
    if name:
        named = any(segment.name == name for segment in volume.segments)
        label: int | str = int(name) if name.isascii() and name.isdigit() and not named else name
        return ReadMask(index.mask([label], path.name), path, volume.frame_of_reference_uid)
    labels = _only_label(path, volume)
    return ReadMask(index.mask([labels], path.name), path, volume.frame_of_reference_uid)


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


def read_planned(folder: Path, tumour: VoxelMask) -> dict[str, Any]:
    """Figures of the plan of a folder; raises OptionError where its needles end elsewhere than at the tumour."""
    import numpy as np

    plan: Plan = read_plan(folder / "plan.json")
    if plan.metrics is None or not plan.insertions:
        raise OptionError("the plan holds no insertion, so there is nothing to hold the outcome against")
    middle = tumour.grid.to_patient(np.argwhere(tumour.inside).mean(axis=0))
    away = min(float(np.linalg.norm(np.asarray(one.tip_mm) - middle)) for one in plan.insertions)
    if away > _TIPS_WITHIN_MM:
        raise OptionError(
            f"the plan's needles end {away:.0f} mm from the tumour: it is of another patient, tumour or frame"
        )
    metrics = plan.metrics
    return {
        "plan_sha256": plan_hash(plan),
        "insertions": len(plan.insertions),
        "least_margin_mm": metrics.minimal_margin_mm,
        "least_margin_error_mm": metrics.margin_error_bound_mm,
        "tumour_coverage": metrics.target_coverage_fraction,
        "margin_coverage": metrics.margin_coverage_fraction,
        "margin_mm": metrics.margin_mm,
        "zone_ml": metrics.zone_ml,
    }
