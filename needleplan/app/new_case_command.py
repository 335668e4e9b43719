"""The new-case command: from a segmentation to a checked case in one step."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from needleplan.app.argument_groups import folder_path
from needleplan.app.hints import listed_in_words

if TYPE_CHECKING:
    from needleplan.app.new_case import NewCaseOptions
    from needleplan.app.new_case_sources import Segmentation

_NAME_MUST_BE = "1 to 80 letters that can be printed"


def add_new_case(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "segmentation",
        nargs="?",
        type=Path,
        metavar="FOLDER|FILE",
        help="label maps, as TotalSegmentator or MONAI write them",
    )
    parser.add_argument("--out", type=folder_path, metavar="DIR", help="new folder for case.toml")
    parser.add_argument(
        "--target", metavar="NAME|FILE", help="class that is the tumour, or a label map that holds it"
    )
    parser.add_argument("--ask", action="store_true", help="ask for whatever is open, as without --out or --target")
    parser.add_argument("--target-rank", type=int, metavar="N", help="one piece of it, 1 for the largest")
    parser.add_argument("--inside-of", metavar="NAME", help="organ that the tumour lies in (found)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="JSON file with the names of the labels")
    parser.add_argument("--unit", choices=("um", "mm", "cm", "m"), help="length unit, where the files state none")
    parser.add_argument(
        "--role", action="append", default=[], metavar="NAME=ROLE", help="what a class means; may be repeated"
    )
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="NAME", help="class or file not to use; may be repeated"
    )
    parser.add_argument(
        "--entry-from",
        action="append",
        default=[],
        metavar="NAME",
        help="without a body: structures to enter about",
    )
    parser.add_argument(
        "--entry-grow-mm", type=float, default=30.0, metavar="MM", help="and how far from them (30)"
    )
    parser.add_argument(
        "--entry-shape", choices=("grown", "hull"), default="grown", help="one by one, or their hull"
    )
    parser.add_argument(
        "--position", choices=("supine", "prone", "left", "right"), default="supine", help="how the patient lies"
    )
    parser.add_argument("--situs", choices=("solitus", "inversus"), default="solitus", help="sides of the organs")
    parser.add_argument("--name", default="", help="identifier of the case, never a patient's (from its content)")
    parser.add_argument("--patient-key", metavar="HEX", help="pseudonym of the patient for case.toml")
    parser.add_argument("--frame-of-reference", metavar="UID", help="DICOM frame of reference for case.toml")
    parser.add_argument("--dry-run", action="store_true", help="say what would be made, and write nothing")


def run_new_case(options: argparse.Namespace) -> int:
    """Read the segmentation, ask for what is open, print what becomes of it, write the case and check it."""
    from rich.console import Console
    from rich.text import Text

    from needleplan.app.check import render_report
    from needleplan.app.cli import EXIT_OK
    from needleplan.app.new_case import make_new_case, require_names
    from needleplan.app.new_case_again import command_line
    from needleplan.app.new_case_files import MANIFEST_NAME, write_new_case
    from needleplan.app.new_case_names import visible
    from needleplan.app.new_case_reading import read_found, read_target
    from needleplan.app.new_case_wizard import ask_case, ask_out, confirmed
    from needleplan.app.progress import progress_bar
    from needleplan.app.summary import print_where
    from needleplan.errors import OptionError
    from needleplan.io.labels import format_of

    console = Console()

    def line(words: str) -> None:
        """One line as it stands: nothing in a name is markup."""
        console.print(Text(words), soft_wrap=True)

    asks = _asks(options, console.is_terminal)
    _require_options(options)
    found = read_found(options, asks, console)
    # What is answered is a class; only what the command line names can be a file.
    target_file = None if options.target is None else Path(options.target)
    if target_file is not None and format_of(target_file) is None:
        target_file = None
    mask = None if target_file is None else read_target(options, target_file, asks, console)
    uid = options.frame_of_reference or found.frame_of_reference_uid
    if found.frame_of_reference_uid not in (None, uid):
        raise OptionError("--frame-of-reference states another one than the files do: leave it out")
    if asks:
        # Told before the questions, not when all of them are answered.
        require_names(found.classes, _known_names(options, target_file is None, found))
        ask_case(options, found, _why_no_name, console)
        if not options.dry_run:
            ask_out(options, _why_not_new, console)
        _require_options(options)
    chosen = _known_names(options, target_file is None, found)
    with progress_bar(console, "making the case"):
        case = make_new_case(found.classes, chosen, mask)
    for structure in case.structures:
        made = ", ".join(map(visible, structure.classes)) or "the file of the target"
        line(f"  {visible(structure.name)}: {structure.role.value}, from {made}")
    for why, names in case.left_out.items():
        line(f"  not used, {why}: {', '.join(map(visible, names))}")
    for note in (*found.unread, *case.notes):
        line(f"  note: {note}")
    if options.dry_run:
        console.print("nothing was written")
        return EXIT_OK
    if asks and not confirmed(console):
        console.print("nothing was written")
        return EXIT_OK
    with progress_bar(console, "writing and checking"):
        report = write_new_case(options.out, case, options.patient_key, uid)
    if asks:
        line((options.out / MANIFEST_NAME).read_text(encoding="utf-8"))
    render_report(report, console)
    if asks:
        console.print("The same without questions:")
        line(f"  {command_line(options)}")
    print_where(console, [("case", str(options.out / MANIFEST_NAME))])
    return EXIT_OK


def _asks(options: argparse.Namespace, is_terminal: bool) -> bool:
    """True where a person is asked; raises where nobody can be and something needed is open."""
    import sys

    from needleplan.errors import OptionError

    needed = {"FOLDER|FILE": options.segmentation, "--target NAME|FILE": options.target}
    if not options.dry_run:
        needed["--out DIR"] = options.out
    absent = [name for name, value in needed.items() if value is None]
    if not absent and not options.ask:
        return False
    if is_terminal and sys.stdin.isatty():
        return True
    if absent:
        raise OptionError(f"new-case needs {listed_in_words(absent)}: on a terminal it asks for what is open")
    raise OptionError("--ask needs a terminal: name the options, or run it in one")


def _known_names(options: argparse.Namespace, target_is_class: bool, found: "Segmentation") -> "NewCaseOptions":
    """The options; files that were left out unread are no classes, so they are no longer named."""
    chosen = _options(options, target_is_class and options.target is not None)
    return replace(chosen, leave_out=chosen.leave_out - found.skipped)


def _require_options(options: argparse.Namespace) -> None:
    """Raise where an option is wrong, before anything is read."""
    from needleplan.app.new_case_files import require_new_folder

    _options(options, options.target is not None)
    _require_manifest(options)
    if options.out is not None and not options.dry_run:
        require_new_folder(options.out)


def _why_not_new(folder: Path) -> str:
    """Why a case cannot be written there; "" where it can."""
    from needleplan.app.new_case_files import require_new_folder
    from needleplan.errors import OptionError

    try:
        require_new_folder(folder)
    except OptionError as error:
        return str(error)
    except OSError as error:
        # As of a name that is too long.
        return f"{folder}: {error.strerror or error}"
    return ""


def _why_no_name(name: str) -> str:
    """Why a case cannot be called so; "" where it can."""
    from needleplan.case.manifest import refused_keys

    return f"It must be {_NAME_MUST_BE}" if refused_keys({"name": name}) else ""


def _require_manifest(options: argparse.Namespace) -> None:
    """Raise where an option is none that the manifest takes; no message repeats what may be a patient's name."""
    from needleplan.case.manifest import refused_keys
    from needleplan.errors import OptionError

    wanted = {
        "name": ("--name", options.name or "case", _NAME_MUST_BE),
        "patient_key": ("--patient-key", options.patient_key, "16 to 128 hexadecimal digits, and no name or number "
                        "of a patient"),
        "frame_of_reference_uid": ("--frame-of-reference", options.frame_of_reference, "a DICOM UID: numbers with "
                                   "dots between them"),
    }  # fmt: skip
    for key in sorted(refused_keys({key: value for key, (_, value, _) in wanted.items()})):
        option, _, must = wanted[key]
        raise OptionError(f"{option} must be {must}")


def _options(options: argparse.Namespace, target_is_class: bool) -> "NewCaseOptions":
    from needleplan.app.new_case import NewCaseOptions
    from needleplan.app.new_case_names import quoted
    from needleplan.case.model import EntryShape, PatientPosition, Role
    from needleplan.case.sides import Situs
    from needleplan.errors import OptionError

    roles = {}
    for words in options.role:
        name, _, role = words.rpartition("=")
        if not name or role not in tuple(Role):
            # The target is named by --target alone.
            others = ", ".join(each for each in Role if each is not Role.TARGET)
            raise OptionError(f"--role must be NAME=ROLE with one of {others}, not {quoted(words)}")
        if Role(role) is Role.TARGET:
            raise OptionError(f"--role names no target: name it by --target {name}")
        roles[name] = Role(role)
    if options.target_rank is not None and options.target_rank < 1:
        raise OptionError(f"--target-rank must be 1 or more, not {options.target_rank}")
    if not 0 <= options.entry_grow_mm <= 300:
        raise OptionError(f"--entry-grow-mm must lie between 0 and 300, not {options.entry_grow_mm:g}")
    return NewCaseOptions(
        target=options.target if target_is_class else "",
        target_rank=options.target_rank,
        inside_of=options.inside_of,
        roles=roles,
        leave_out=frozenset(options.leave_out),
        entry_from=tuple(options.entry_from),
        entry_grow_mm=options.entry_grow_mm,
        entry_shape=EntryShape(options.entry_shape),
        position=PatientPosition(options.position),
        situs=Situs(options.situs),
        name=options.name,
    )
