"""The audit trail of a report: digests of what went in, versions of what computed, and how it was asked."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """A command line with the folders of its paths left away, as they may hold the name of a user."""
    if not arguments:
        return ""
    words = [Path(arguments[0]).name, *(_nameless(word) for word in arguments[1:])]
    return " ".join(words).replace("__main__.py", "needleplan")


def _nameless(word: str) -> str:
    start, equals, value = word.partition("=")
    if equals and start.startswith("--"):
        return f"{start}={_nameless(value)}"
    return f"…/{Path(word).name}" if os.sep in word else word


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
