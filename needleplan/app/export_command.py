"""The command that writes a plan in the formats of other programs. Only the standard library is imported here."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from needleplan.app.argument_groups import add_folder, folder_path

if TYPE_CHECKING:
    from needleplan.app.pipeline import PlannedCase
    from needleplan.case.identity import CaseIdentity

#: The file by which a folder is known to be an export.
MAIN_FILE = "exported.json"


def add_export(parser: ArgumentParser) -> None:
    """A plan folder, the formats and where they go."""
    add_folder(parser)
    parser.add_argument(
        "--to",
        default="slicer",
        metavar="FORMAT[,FORMAT...]",
        help="markups, seg-nrrd, nifti, vtp, stl, gltf, tfm, h5, csv, sheet, dicom-seg, rtstruct; "
        "or slicer, or all (slicer)",
    )
    parser.add_argument("--out", type=folder_path, required=True, metavar="OUT", help="folder for the files")
    parser.add_argument("--reference", type=Path, metavar="SERIES", help="DICOM images that dicom files refer to")
    parser.add_argument(
        "--keep-identifiers",
        action="store_true",
        help="name the case in exported.json, and the patient as the images do",
    )


def run_export(options: Namespace) -> int:
    """Write the files, whole or not at all, and print where they are."""
    from rich.console import Console
    from rich.markup import escape

    from needleplan.app.cli import EXIT_OK
    from needleplan.app.export_formats import chosen_formats
    from needleplan.app.folder import PlanFolder
    from needleplan.app.outputs import load_planned
    from needleplan.app.progress import progress_bar
    from needleplan.app.summary import print_where
    from needleplan.app.whole_folder import require_own_folder
    from needleplan.errors import OptionError

    console = Console()
    formats = chosen_formats(options.to)
    folder = PlanFolder(options.folder)
    # Told before the plan and the case are read, which takes long.
    if folder.root.resolve().is_relative_to(options.out.resolve()):
        raise OptionError(f"{options.out} is or holds the plan folder, which an export must not replace")
    require_own_folder(options.out, MAIN_FILE, "export")
    with progress_bar(console, "reading plan and case") as progress:
        planned = load_planned(folder, options.data, progress)
    with progress_bar(console, "writing") as progress:
        notes = export_plan(
            planned,
            options.out,
            formats,
            series=options.reference,
            keep_identifiers=options.keep_identifiers,
            identity=folder.read_identity(),
            progress=progress,
        )
    for note in notes:
        console.print(f"  {escape(note)}", soft_wrap=True)
    print_where(console, [(", ".join(formats), str(options.out))])
    return EXIT_OK


def export_plan(
    planned: "PlannedCase",
    folder: Path,
    formats: tuple[str, ...],
    *,
    series: Path | None = None,
    keep_identifiers: bool = False,
    identity: "CaseIdentity | None" = None,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[str, ...]:
    """Write a plan in other programs' formats into one folder, whole or not at all.

    Args:
        planned: the plan with its case.
        folder: takes the place of an earlier export.
        formats: names from ``chosen_formats``.
        series: folder of DICOM images that the DICOM files refer to; a series is made up where None.
        keep_identifiers: write the name of the case, and take over the patient's identifiers of the images.
        identity: frame of reference of the case, which must be that of the images; None where nobody states it.
        progress: called with the name of each format and the fraction done.

    Returns:
        what a reader must know, a sentence each; it stands in ``exported.json`` too.

    Raises:
        OptionError: the plan holds no needle, the folder holds something else, or options contradict each other.
        CaseError: the images cannot be read.
        PlanFileError: the images lie in another frame of reference than the case.
        GeometryError: a structure cannot be written in a format, for instance as it reaches beyond the images.
    """
    from needleplan.app.export_formats import FORMATS, Export
    from needleplan.app.whole_folder import whole_folder
    from needleplan.case.identity import CaseIdentity
    from needleplan.errors import OptionError
    from needleplan.io.plan_file import plan_hash, write_json

    if not planned.plan.insertions:
        raise OptionError("the plan holds no needle, so there is nothing to export")
    if series is not None and not {"dicom-seg", "rtstruct"} & set(formats):
        raise OptionError("--reference serves dicom-seg and rtstruct, and neither is asked for")
    with whole_folder(folder, MAIN_FILE, "export") as unfinished:
        export = Export(planned, unfinished, series, keep_identifiers, identity or CaseIdentity())
        for number, name in enumerate(formats):
            if progress is not None:
                progress(name, number / len(formats))
            FORMATS[name](export)
        notes = tuple(export.notes)
        content = {
            "schema": "needleplan.export",
            "version": 1,
            "case_name": planned.plan.case_name if keep_identifiers else None,
            "case_hash": planned.plan.case_hash,
            "plan_hash": plan_hash(planned.plan),
            "zone_model": planned.zone_model.name,
            "coordinates": "patient LPS in mm, NIfTI in RAS; scene.glb in m with x = L, y = S, z = -P",
            "formats": list(formats),
            "notes": list(notes),
        }
        write_json(unfinished / MAIN_FILE, content)
    return notes
