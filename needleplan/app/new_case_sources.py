"""The classes of a segmentation, whichever way it is stored: each with its name and its mask."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from needleplan.app.new_case_names import quoted
from needleplan.case.masks import LabelIndex
from needleplan.errors import CaseError
from needleplan.grid import VoxelMask
from needleplan.io.frame import FileUnit
from needleplan.io.label_tables import json_label_names, nifti_label_names
from needleplan.io.labels import LabelVolume, format_of, read_labels

#: A folder of more entries than this is no segmentation of one patient.
MAXIMUM_ENTRIES = 2000

ProgressCallback = Callable[[str, float], None]

_UNIT_IN_MANIFEST = 'state unit = "mm" (or another) in the manifest'


class UnstatedUnitError(CaseError):
    """A file states no length unit, and no option does."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledClass:
    """One class of a segmentation.

    Attributes:
        name: its name, from the file that names it.
        mask: its voxels; None where it has none, as of an organ that the image does not show.
        layer: which map of several labels it comes from, where no voxel belongs to two classes; "" where it stands
            alone in its map.
    """

    name: str
    mask: VoxelMask | None
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What a folder or a file holds.

    Attributes:
        classes: each name once.
        unread: what the folder also holds and was not read, one sentence a kind.
        frame_of_reference_uid: DICOM frame of reference that its files state; None where none does.
        skipped: those of the names to leave out that are names of files, which were not read.
    """

    classes: tuple[LabelledClass, ...]
    unread: tuple[str, ...] = ()
    frame_of_reference_uid: str | None = None
    skipped: frozenset[str] = frozenset()


def read_segmentation(
    path: Path,
    labels: Path | None = None,
    unit: FileUnit | None = None,
    leave_out: Iterable[str] = (),
    progress: ProgressCallback = lambda name, fraction: None,
) -> Segmentation:
    """Read every class of a segmentation.

    A map with names (in a NIfTI header, a .seg.nrrd, a DICOM segmentation, or ``labels``) gives one class a name.
    A map without names must hold one label, and its class is called as the file is, as TotalSegmentator writes it.

    Args:
        path: a label map, or a folder of them.
        labels: JSON file with the names of the labels of one map; looked for beside it where it is None.
        unit: length unit, for files that state none.
        leave_out: names of files that are not read.
        progress: called with the name of each file and the fraction done.

    Raises:
        CaseError: nothing can be read, a file is no label map, or a label has no name or a name two labels.
    """
    unread: tuple[str, ...] = ()
    skipped: frozenset[str] = frozenset()
    if path.is_dir():
        files, unread, beside, skipped = _files(path, set(leave_out))
        if labels is None and len(files) == 1 and len(beside) == 1:
            labels = beside[0]
        elif labels is None and beside:
            unread += (f"{len(beside)} JSON file(s) were not read: name that of the labels by --labels",)
    elif path.is_file():
        files = [path]
    else:
        raise CaseError(f"{path}: there is no such folder or file")
    if labels is not None and len(files) != 1:
        raise CaseError(f"{labels}: one file of label names is for one label map, but there are {len(files)}")
    found: list[LabelledClass] = []
    seen: dict[str, str] = {}
    frames: dict[str, str] = {}
    for number, file in enumerate(files):
        progress(_stem(file), number / len(files))
        volume = _read(file, unit)
        if volume.frame_of_reference_uid is not None:
            frames[volume.frame_of_reference_uid] = file.name
        if len(frames) > 1:
            raise CaseError(f"{' and '.join(frames.values())}: these files are of different frames of reference")
        for each in _classes(file, volume, labels, len(files) > 1):
            if each.name in seen:
                raise CaseError(f"{file}: the class {quoted(each.name)} is in {seen[each.name]} as well")
            seen[each.name] = file.name
            found.append(each)
    return Segmentation(tuple(found), unread, next(iter(frames), None), skipped)


def read_single_mask(path: Path, unit: FileUnit | None = None) -> VoxelMask:
    """The one structure of a label map that holds one label.

    Raises:
        CaseError: the file is no label map, or it holds none or several labels.
    """
    volume = _read(path, unit)
    values = _present(volume)
    if len(values) != 1:
        raise CaseError(f"{path}: it must hold one label, but holds {len(values)}; name a class instead")
    return LabelIndex(volume).mask([values[0][1]], str(path))


def _files(folder: Path, leave_out: set[str]) -> tuple[list[Path], tuple[str, ...], list[Path], frozenset[str]]:
    """Label maps of a folder in the order of their names, what else there is, its JSON files, what was skipped."""
    root = folder.resolve()
    maps, beside, others = [], [], 0
    skipped = set()
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries, 1):
            if count > MAXIMUM_ENTRIES:
                raise CaseError(
                    f"{folder}: the folder holds more than {MAXIMUM_ENTRIES} entries: name one patient's"
                )
            file = folder / entry.name
            if entry.name.startswith("."):
                continue
            if _stem(file) in leave_out:
                skipped.add(_stem(file))
                continue
            if entry.is_symlink() and not file.resolve().is_relative_to(root):
                raise CaseError(f"{entry.name}: this symbolic link leads out of its folder; copy the file into it")
            if file.is_file() and format_of(file) is not None:
                maps.append(file)
            elif file.is_file() and entry.name.lower().endswith(".json"):
                beside.append(file)
            else:
                others += 1
    if not maps:
        raise CaseError(f"{folder}: the folder holds no label map (.nii, .nii.gz, .nrrd, .seg.nrrd or .vti)")
    unread = (f"{others} other file(s) or folder(s) were not read",) if others else ()
    return sorted(maps), unread, [file for file in sorted(beside) if _names_labels(file)], frozenset(skipped)


def _read(file: Path, unit: FileUnit | None) -> LabelVolume:
    try:
        return read_labels(file, None, unit)
    except CaseError as error:
        # There is no manifest yet in which a unit could be stated.
        words = str(error).replace(_UNIT_IN_MANIFEST, "state --unit mm (or another)")
        if words != str(error):
            raise UnstatedUnitError(words) from None
        raise CaseError(words.replace("but the manifest", "but --unit")) from None


def _names_labels(file: Path) -> bool:
    """True where a JSON file could name labels; the statistics that a segmentation also writes do not."""
    try:
        return bool(json_label_names(file))
    except CaseError:
        return False


def _classes(file: Path, volume: LabelVolume, labels: Path | None, one_of_many: bool) -> list[LabelledClass]:
    """The classes of one label map."""
    present = _present(volume)
    index = LabelIndex(volume)
    names = _names(file, labels, volume)
    if not names:
        if len(present) > 1 or (not one_of_many and labels is None and not present):
            raise CaseError(
                f"{file}: the file holds {len(present)} labels but no names of them; state --labels FILE.json"
            )
        return [LabelledClass(_stem(file), index.mask([present[0][1]], str(file)) if present else None)]
    unnamed = sorted(value for layer, value in present if (layer, value) not in names)
    if unnamed:
        raise CaseError(f"{file}: the label {unnamed[0]} has no name where {len(names)} others have one")
    there = set(present)
    by_number = len(volume.layers) == 1
    together = [layer for layer, _ in present]
    return [
        LabelledClass(
            name,
            index.mask([place[1] if by_number else name], str(file)) if place in there else None,
            f"{file.name}, layer {place[0]}" if together.count(place[0]) > 1 else "",
        )
        for place, name in names.items()
    ]


def _names(file: Path, labels: Path | None, volume: LabelVolume) -> dict[tuple[int, int], str]:
    """Names by layer and value; empty where the file states none."""
    own = {(segment.layer, segment.value): segment.name for segment in volume.segments}
    if not own and format_of(file) == "nifti":
        own = {(0, value): name for value, name in nifti_label_names(file).items()}
    if len(set(own.values())) != len(own):
        raise CaseError(f"{file}: two of its labels have the same name")
    if labels is None:
        return own
    stated = {(0, value): name for value, name in json_label_names(labels).items()}
    differing = sorted(place[1] for place in own.keys() & stated.keys() if own[place] != stated[place])
    if differing:
        place = (0, differing[0])
        raise CaseError(
            f"{file}: the label {differing[0]} is called {own[place]!r} in the file and {stated[place]!r} in "
            f"{labels.name}: remove the wrong one"
        )
    return stated


def _present(volume: LabelVolume) -> list[tuple[int, int]]:
    """Layer and value of every label that has a voxel."""
    found = []
    for number, layer in enumerate(volume.layers):
        values: set[int] = set()
        # Slice by slice: a count over the whole would take eight times the memory of the labels.
        for k in range(layer.shape[2]):
            values.update(np.flatnonzero(np.bincount(layer[:, :, k].ravel())).tolist())
        found += [(number, value) for value in sorted(values - {0})]
    return found


def _stem(file: Path) -> str:
    """A file's name without what says its format."""
    name = file.name
    for ending in (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".vti", ".dcm"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name
