"""study.json: what was asked of a study, of which inputs, and by which software it is computed."""

import hashlib
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from needleplan.app.study.study import STUDY_VERSION, Study, StudyCase
from needleplan.case.manifest import read_manifest
from needleplan.case.sources import resolve_source, source_root
from needleplan.errors import CaseError, PlanFileError
from needleplan.io.bounded import read_whole
from needleplan.io.value_json import parse_strict, to_json

#: Name of the record in the folder of a study.
RECORD_NAME = "study.json"
RECORD_SCHEMA = "needleplan.study"
#: The schema stands first in the record.
_HEAD_BYTES = 200
#: The record of a study of a hundred thousand cases has some tens of megabytes.
_MAXIMUM_BYTES = 1_000_000_000


def read_record(path: Path) -> dict[str, Any]:
    """The content of study.json.

    Raises:
        PlanFileError: it is damaged or of another schema or version.
    """
    text = read_whole(path, _MAXIMUM_BYTES).decode("utf-8", errors="replace")
    record = parse_strict(text, str(path))
    if not isinstance(record, dict) or record.get("schema") != RECORD_SCHEMA:
        raise PlanFileError(f"{path}: its schema must say {RECORD_SCHEMA!r}")
    if not is_version(record.get("version")):
        raise PlanFileError(f"{path}: its version must be {STUDY_VERSION}, not {record.get('version')!r}")
    kinds = {"name": str, "digest": str, "versions": dict, "outputs": dict, "inputs": dict}
    for name, kind in kinds.items():
        if not isinstance(record.get(name), kind):
            raise PlanFileError(f"{path}: {name} is missing or damaged")
    if not isinstance(record["outputs"].get("plans"), bool):
        raise PlanFileError(f"{path}: outputs.plans must be true or false")
    return record


def is_version(value: object) -> bool:
    """True for the version of a study's folder, which is a whole number and neither 1.0 nor true."""
    return type(value) is int and value == STUDY_VERSION


def is_study_folder(folder: Path) -> bool:
    """True where a folder holds the results of a study, as the beginning of its study.json says."""
    path = folder / RECORD_NAME
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return (
                re.search(rb'"schema"\s*:\s*"%b"' % re.escape(RECORD_SCHEMA.encode()), stream.read(_HEAD_BYTES))
                is not None
            )
    except OSError:
        return False


def record_of(study: Study, versions: Mapping[str, str]) -> dict[str, Any]:
    """The content of study.json: all that is needed to tell what was done with what."""
    return {
        "schema": RECORD_SCHEMA,
        "version": STUDY_VERSION,
        "name": study.name,
        "digest": study.digest(),
        "seed": study.seed,
        "factors": list(study.factors),
        "effort": to_json(study.effort),
        "outputs": to_json(study.outputs),
        "cells": [{"name": cell.name, **cell.content, "robot": cell.robot_label} for cell in study.cells],
        "cases": [_case_record(case) for case in study.cases],
        "devices": None if study.devices is None else study.devices.digest,
        "inputs": input_hashes(study),
        "source": study.source,
        "versions": dict(versions),
        "platform": platform.platform(),
    }


def _case_record(case: StudyCase) -> dict[str, Any]:
    if case.phantom is None:
        # Where it lies may hold the name of a user or a patient: only what the folder itself is called.
        return {"name": case.name, "manifest": None if case.manifest is None else case.manifest.name}
    return {
        "name": case.name, "phantom": case.phantom.canonical_text, "seed": case.seed, "voxel_mm": case.voxel_mm,
    }  # fmt: skip


def input_hashes(study: Study) -> dict[str, str]:
    """SHA-256 (hex) of the manifest of each case in files and of the files that it names, by the case's name.

    A manifest or file that cannot be read counts as nothing: the case becomes a row that says why.
    """
    known: dict[Path, str] = {}
    return {
        case.name: _case_hash(case.manifest, case.data, known) for case in study.cases if case.manifest is not None
    }


def _case_hash(path: Path, data: Path | None, known: dict[Path, str]) -> str:
    parts = [_hash(path, known)]
    try:
        manifest = read_manifest(path)
        root = source_root(manifest, path, data)
    except CaseError:
        return _joined(parts)
    for source in sorted({one.path for table in manifest.structures for one in table.all_sources}):
        try:
            parts.append(_hash(resolve_source(root, source), known))
        except CaseError:
            parts.append("")
    return _joined(parts)


def _hash(path: Path, known: dict[Path, str]) -> str:
    """That of a file, read once; empty where it cannot be read."""
    if path not in known:
        try:
            with path.open("rb") as stream:
                known[path] = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            known[path] = ""
    return known[path]


def _joined(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
