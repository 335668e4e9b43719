"""plan.json and outcome.json: written whole or not at all, read back as the same values."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from needleplan.errors import CaseError, GeometryError, PlanFileError
from needleplan.io.bounded import read_whole, write_atomically
from needleplan.io.plan_limits import require_possible_outcome, require_possible_plan
from needleplan.io.value_json import from_json, parse_strict, to_json
from needleplan.outcome import Outcome
from needleplan.plan import Plan

PLAN_SCHEMA = "needleplan.plan"
OUTCOME_SCHEMA = "needleplan.outcome"
#: Version of each schema.
VERSIONS = {PLAN_SCHEMA: 2, OUTCOME_SCHEMA: 2}

#: Larger files are no plans: an outcome of an hour at 20 Hz has about 20 MB.
MAXIMUM_BYTES = 100_000_000

Value = TypeVar("Value")


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan as JSON."""
    write_bytes(path, plan_bytes(plan))


def plan_bytes(plan: Plan) -> bytes:
    """The content of a plan's file."""
    return _bytes(PLAN_SCHEMA, plan)


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        PlanFileError: the file is missing, damaged, of another schema or version, or holds an impossible value.
    """
    plan = _read(path, PLAN_SCHEMA, Plan)
    require_possible_plan(plan, str(path))
    return plan


def plan_hash(plan: Plan) -> str:
    """SHA-256 (hex) of a plan's content as JSON with sorted keys."""
    text = json.dumps(to_json(plan), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write the outcome of a rehearsal as JSON."""
    write_bytes(path, _bytes(OUTCOME_SCHEMA, outcome))


def read_outcome(path: Path) -> Outcome:
    """Read the outcome of a rehearsal; errors as of ``read_plan``."""
    outcome = _read(path, OUTCOME_SCHEMA, Outcome)
    require_possible_outcome(outcome, str(path))
    return outcome


def write_json(path: Path, content: Any) -> None:
    """Write plain values as indented JSON, whole or not at all."""
    write_bytes(path, _json_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, whole or not at all."""
    write_atomically(path, lambda part: part.write_bytes(content))


def _bytes(schema: str, value: Any) -> bytes:
    return _json_bytes({"schema": schema, "version": VERSIONS[schema], **to_json(value)})


def _json_bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _read(path: Path, schema: str, kind: type[Value]) -> Value:
    try:
        text = read_whole(path, MAXIMUM_BYTES).decode("utf-8")
    except CaseError as error:
        raise PlanFileError(str(error)) from error
    except UnicodeDecodeError as error:
        raise PlanFileError(f"{path}: not UTF-8 text") from error
    data = parse_strict(text, str(path))
    if not isinstance(data, dict) or data.get("schema") != schema:
        raise PlanFileError(f"{path}: not a {schema} file; its schema must say {schema!r}")
    version = VERSIONS[schema]
    if type(data.get("version")) is not int or data["version"] != version:
        raise PlanFileError(f"{path}: version {data.get('version')!r:.60} is not known, only version {version}")
    del data["schema"], data["version"]
    try:
        return from_json(kind, data, str(path))
    except GeometryError as error:
        raise PlanFileError(f"{path}: {error}") from error
