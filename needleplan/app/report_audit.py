"""The audit trail of a report: digests of what went in, versions of what computed, and how it was asked."""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from needleplan.app.argument_groups import folder_path
from needleplan.app.cli import build_parser
from needleplan.app.command_parser import subcommands
from needleplan.app.completion_names import known_names
from needleplan.app.folder import PlanFolder
from needleplan.app.report_template import Html, bdi, element, table
from needleplan.app.study.software import software_versions
from needleplan.case.manifest import read_manifest
from needleplan.case.sources import resolve_source, source_root
from needleplan.errors import CaseError, PlanFileError
from needleplan.io.plan_file import plan_hash
from needleplan.plan import Plan

_CHUNK_BYTES = 1 << 20
#: Names of structures that are listed beside a file that holds many.
_NAMES_LISTED = 6
#: Stands for a name that was left out.
_LEFT_OUT = "…"


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that a plan was made from.

    Attributes:
        what: what it is, in words that hold no path and no file name, either of which may name a person.
        digest: SHA-256 in hexadecimal; a sentence where it cannot be had.
    """

    what: str
    digest: str


def plan_inputs(folder: PlanFolder) -> tuple[Input, ...]:
    """The files of a planned case with their digests, as far as they can be read now."""
    own = [path for path in (folder.applicators, folder.zones) if path.is_file()]
    inputs = [
        Input("plan.json", _file_digest(folder.plan)),
        *(Input(f"the user's own {path.name}", _file_digest(path)) for path in own),
    ]
    try:
        source = folder.read_source()
        manifest_path = folder.root / source.case
        manifest = read_manifest(manifest_path)
        inputs.append(Input("the manifest of the case", _file_digest(manifest_path)))
        data = None if source.data is None else folder.root / source.data
        root = source_root(manifest, manifest_path, data)
    except (CaseError, PlanFileError, OSError):
        return (*inputs, Input("the files of the case", "cannot be read now"))
    structures: dict[str, list[str]] = {}
    for structure in manifest.structures:
        named = [source.path for source in structure.sources] or [structure.source or ""]
        for path in named:
            structures.setdefault(path, []).append(structure.name)
    for path, names in structures.items():
        more = f" and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else ""
        try:
            digest = _file_digest(resolve_source(root, path))
        except (CaseError, OSError):
            digest = "cannot be read now"
        inputs.append(Input(f"the file of {', '.join(names[:_NAMES_LISTED])}{more}", digest))
    return tuple(inputs)


def command_words(arguments: Sequence[str]) -> str:
    """A command line of needleplan without the names of files and folders, which may name a person.

    Options stay with their values, but for values that may be a file or a folder; words that belong to no option
    are such.

    Args:
        arguments: the words of the command line, the program first.

    Returns:
        The words, ``…`` for each that was left out; empty where another program was called.
    """
    program = Path(arguments[0]) if arguments else Path()
    if "needleplan" not in (program.stem, program.parent.name if program.stem == "__main__" else ""):
        return ""
    parser: argparse.ArgumentParser = build_parser()
    told, owner = ["needleplan"], None
    for word in arguments[1:]:
        commands = subcommands(parser)
        option, equals, value = word.partition("=")
        found = next((each for each in parser._actions if option in each.option_strings), None)
        if word in commands:
            parser = commands[word]
            told.append(word)
        elif found is not None:
            told.append(f"{option}={_nameless(value, found)}" if equals else word)
            owner = None if equals or found.nargs == 0 else found
        else:
            told.append(_nameless(word, owner))
            owner = None
    return " ".join(told)


def _nameless(value: str, action: argparse.Action | None) -> str:
    """A value as it is, or ``…`` where it may be a file or a folder; ``action`` is its option, if it has one."""
    if action is None or action.type in (Path, folder_path):
        return _LEFT_OUT
    # Of a name or a file, the names that needleplan knows are none of a person.
    if "FILE" in str(action.metavar) and value not in known_names().get(action.dest, ()):
        return _LEFT_OUT
    return value


def audit_section(plan: Plan, inputs: Sequence[Input] = (), command: str = "") -> Html:
    """Digests of the inputs, versions of the software, and the command that wrote the report."""
    made = plan.provenance
    tables = made.options.get("tables")
    digests = [
        ("content of the case (every structure's surface, role and frame)", element("code", plan.case_hash)),
        ("plan", element("code", plan_hash(plan))),
        *([("zone tables", element("code", str(tables)))] if tables else []),
        *((bdi(one.what), element("code", one.digest)) for one in inputs),
    ]
    versions = [(name, element("code", version)) for name, version in software_versions().items()]
    asked = [("plan made by needleplan", made.version), ("seed of the plan", str(made.seed))]
    if command:
        asked.append(("this report written by", element("code", command)))
    return Html(
        element("h3", "Inputs")
        + table(("what", "SHA-256"), digests, 2)
        + element("h3", "Software that wrote this report")
        + table(("", "version"), versions, 2)
        + element("h3", "How it was asked")
        + table(("", ""), asked, 2)
        + element(
            "p", "Every option of the plan with its value, and the times of its stages, stand below.", class_="mute"
        )
    )


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
