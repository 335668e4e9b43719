"""A new case as files: one label map a structure, cropped to it, and the manifest that names them."""

import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from needleplan import __version__
from needleplan.app.new_case import NewCase
from needleplan.app.whole_folder import require_own_folder, whole_folder
from needleplan.case.load import CaseReport, inspect_case
from needleplan.errors import CaseError, OptionError
from needleplan.grid import Grid, VoxelMask
from needleplan.io.nifti import write_labels_nifti
from needleplan.io.plan_file import write_text

MANIFEST_NAME = "case.toml"
STRUCTURES_FOLDER = "structures"


def require_new_folder(folder: Path) -> None:
    """Raises OptionError where something but an empty folder stands, or where no folder can be made."""
    if folder.is_symlink():
        raise OptionError(f"{folder} is a symbolic link: name a new folder")
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is a file and no folder: name a new folder")
    if folder.exists() and any(folder.iterdir()):
        raise OptionError(f"{folder} is there and not empty: name a new folder")
    if folder.exists() and folder.samefile("."):
        raise OptionError(f"{folder} is the folder that you are in: name a new folder in it")
    if not folder.exists():
        require_own_folder(folder, MANIFEST_NAME, "new-case")


def write_new_case(
    folder: Path, case: NewCase, patient_key: str | None = None, frame_of_reference_uid: str | None = None
) -> CaseReport:
    """Write the folder whole or not at all, and only if the case passes its checks.

    Every mask is written anew, so nothing but voxels, their place and the names of the structures comes out of the
    files that were read: no description, no history, no name of a file.

    Args:
        folder: where to; it must not be there yet, or be empty.
        case: what to write.
        patient_key: pseudonym for the manifest; None writes none.
        frame_of_reference_uid: DICOM UID for the manifest; None writes none.

    Returns:
        What the checks found and did not refuse.

    Raises:
        OptionError: something stands there.
        CaseError: the checks refuse the case; nothing is left behind then.
    """
    require_new_folder(folder)
    if folder.exists():
        folder.rmdir()
    with whole_folder(folder, MANIFEST_NAME, "new-case") as unfinished:
        files = {}
        for number, structure in enumerate(case.structures, 1):
            slug = re.sub(r"[^a-z0-9]+", "_", structure.name.lower()).strip("_")[:40]
            files[structure.name] = f"{STRUCTURES_FOLDER}/{number:02d}-{slug}.nii.gz"
            grid, values = _with_border(structure.mask)
            write_labels_nifti(unfinished / files[structure.name], grid, values)
        write_text(unfinished / MANIFEST_NAME, _manifest(case, files, patient_key, frame_of_reference_uid))
        report = inspect_case(unfinished / MANIFEST_NAME, unfinished)
        if report.case is None:
            first = report.refused[0]
            words = f"{first.message}; {first.remedy}" if first.remedy else first.message
            # The folder that it is written into is gone when this is read.
            raise CaseError(words.replace(str(unfinished), str(folder)))
    return report


def _with_border(mask: VoxelMask) -> tuple[Grid, NDArray[np.uint8]]:
    """The mask with an empty voxel about it wherever it is not cut, so that it is read back cut where it was."""
    borders = [tuple(0 if cut else 1 for cut in sides) for sides in mask.cut_sides]
    values = np.pad(mask.inside.astype(np.uint8), borders)
    start = tuple(-low for low, _ in borders)
    return mask.grid.cropped(start, values.shape), values  # type: ignore[arg-type]


def _manifest(case: NewCase, files: dict[str, str], patient_key: str | None, frame_uid: str | None) -> str:
    """The text of case.toml."""
    lines = [
        f"# Made by needleplan {__version__} from the named classes of a segmentation.",
        "# Every file is NIfTI with its place in the header (RAS in mm by that standard) and holds one structure,",
        "# the label 1.",
        'schema = "needleplan.case"',
        "version = 1",
        f"name = {_text(case.name)}",
        f"position = {_text(case.position.value)}",
    ]
    if case.situs.value != "solitus":
        lines.append(f"situs = {_text(case.situs.value)}")
    if patient_key is not None:
        lines.append(f"patient_key = {_text(patient_key)}")
    if frame_uid is not None:
        lines.append(f"frame_of_reference_uid = {_text(frame_uid)}")
    for structure in case.structures:
        lines.append("")
        if structure.classes and structure.classes != (structure.name,):
            lines.append(_comment("classes: " + ", ".join(structure.classes)))
        lines += [
            "[[structures]]",
            f"name = {_text(structure.name)}",
            f"role = {_text(structure.role.value)}",
            f"source = {_text(files[structure.name])}",
            "labels = [1]",
        ]
    if case.entry is not None:
        names = ", ".join(_text(name) for name in case.entry.structures)
        lines += ["", "[entry]", f"shape = {_text(case.entry.shape.value)}", f"structures = [{names}]"]
        lines.append(f"grow_mm = {float(case.entry.grow_mm)!r}")
    if case.left_out:
        lines += ["", "# Classes that became no structure:"]
        lines += [_comment(f"{why}: {', '.join(names)}") for why, names in case.left_out.items()]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """A TOML basic string, whose escapes are those of JSON for what a name may hold."""
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str) -> str:
    """A comment on one line, whatever the text holds."""
    return "# " + "".join(letter if letter.isprintable() else "?" for letter in text)
