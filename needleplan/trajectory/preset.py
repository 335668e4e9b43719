"""Presets: limits for one kind of target, every number with its source, from package data or from a user's file.

A preset is a TOML file::

    schema = "needleplan.preset"
    version = 1
    name = "liver"
    summary = "one sentence"

    [limits.vessel_mm]
    value = 2.0
    hard = true
    source = "where the number comes from, or: assumption: why it was chosen"

The tables under ``limits`` are fields of ``PathLimits``; ``hard`` belongs to those of ``SOFT_LIMITS`` alone.
"""

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from needleplan.errors import CaseError, OptionError
from needleplan.io.bounded import read_whole
from needleplan.trajectory.limit_ranges import LIMIT_RANGES, SOFT_LIMITS, WHOLE_LIMITS
from needleplan.trajectory.screening import PathLimits

#: A file of more bytes than this is no preset.
MAXIMUM_PRESET_BYTES = 200_000

_KEYS = ("schema", "version", "name", "summary", "limits")
_TEXTS = ("approach_side",)
_LIMITS = (*LIMIT_RANGES, *_TEXTS)


@dataclass(frozen=True, slots=True)
class PresetEntry:
    """One limit of a preset.

    Attributes:
        limit: field of ``PathLimits``.
        value: its value.
        hard: False where it only costs.
        source: where the value comes from; begins with "assumption:" where it is this project's own choice.
    """

    limit: str
    value: float | int | str
    hard: bool
    source: str


@dataclass(frozen=True, slots=True)
class Preset:
    """Limits for one kind of target.

    Attributes:
        name: short name.
        summary: one sentence for people.
        entries: the limits it states, in the order of its file; all others keep their defaults.
    """

    name: str
    summary: str
    entries: tuple[PresetEntry, ...]

    @property
    def limits(self) -> PathLimits:
        """The limits as the screening takes them."""
        values = {entry.limit: entry.value for entry in self.entries}
        soft = ", ".join(entry.limit for entry in self.entries if not entry.hard)
        return PathLimits(**values, soft=soft)  # type: ignore[arg-type]


@cache
def builtin_presets() -> tuple[str, ...]:
    """Names of the presets that ship with needleplan, in alphabetical order."""
    folder = files("needleplan.trajectory").joinpath("presets")
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml")))


def load_preset(name_or_path: str | Path) -> PathLimits:
    """Limits of a preset by its name, or from a user's own file.

    Args:
        name_or_path: one of ``builtin_presets()``, or a path that ends in ``.toml``.

    Raises:
        OptionError: as ``read_preset`` does.
    """
    return read_preset(name_or_path).limits


def read_preset(name_or_path: str | Path) -> Preset:
    """A preset with its sources, by its name or from a user's own file.

    Raises:
        OptionError: there is none of that name, or the file cannot be read or is not a preset; the sentence names
            the key and what would be right.
    """
    text = str(name_or_path)
    if text in builtin_presets():
        folder = files("needleplan.trajectory").joinpath("presets")
        return parse_preset(folder.joinpath(f"{text}.toml").read_text(encoding="utf-8"), f"preset {text}")
    if not text.endswith(".toml"):
        raise OptionError(
            f"no preset is named {text!r}: choose one of {', '.join(builtin_presets())}, or the path of a .toml "
            "file"
        )
    try:
        data = read_whole(Path(text), MAXIMUM_PRESET_BYTES)
        return parse_preset(data.decode("utf-8"), text)
    except CaseError as error:
        raise OptionError(str(error)) from None
    except UnicodeDecodeError:
        raise OptionError(f"{text}: a preset must be text in UTF-8") from None


def parse_preset(text: str, where: str) -> Preset:
    """A preset from its text.

    Args:
        text: the TOML.
        where: what to call it in messages.

    Raises:
        OptionError: not TOML, a key is missing, misspelt or of the wrong type, a number is impossible, or a source
            is missing.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise OptionError(f"{where}: this is not valid TOML: {error}") from None
    _refuse_unknown(table, _KEYS, where, "a preset")
    for key in _KEYS:
        if key not in table:
            raise OptionError(f"{where}: the key {key!r} is missing; a preset has {', '.join(_KEYS)}")
    if table["schema"] != "needleplan.preset" or table["version"] != 1 or isinstance(table["version"], bool):
        raise OptionError(f'{where}: it must say schema = "needleplan.preset" and version = 1')
    for key in ("name", "summary"):
        _require_text(table[key], f"{where}: {key}")
    if not isinstance(table["limits"], dict):
        raise OptionError(f"{where}: limits must be tables such as [limits.vessel_mm]")
    _refuse_unknown(table["limits"], _LIMITS, f"{where}: [limits]", "it")
    entries = tuple(_entry(limit, item, f"{where}: [limits.{limit}]") for limit, item in table["limits"].items())
    preset = Preset(table["name"], table["summary"], entries)
    try:
        _ = preset.limits  # made once here, so that limits out of range are told with the file's name
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return preset


def _entry(limit: str, item: object, where: str) -> PresetEntry:
    """One checked table under ``limits``."""
    can_be_soft = limit in SOFT_LIMITS
    keys = ("value", "hard", "source") if can_be_soft else ("value", "source")
    if not isinstance(item, dict):
        raise OptionError(f"{where} must be a table with {', '.join(keys)}")
    if "hard" in item and not can_be_soft:
        raise OptionError(f"{where}: it cannot be hard or soft; those that can are {', '.join(SOFT_LIMITS)}")
    _refuse_unknown(item, keys, where, "it")
    for key in keys:
        if key not in item:
            raise OptionError(f"{where}: {key!r} is missing; it has {', '.join(keys)}")
    _require_text(item["source"], f"{where}: source")
    hard = item.get("hard", True)
    if not isinstance(hard, bool):
        raise OptionError(f"{where}: hard must be true or false, not {hard!r}")
    return PresetEntry(limit, _value(limit, item["value"], where), hard, item["source"])


def _value(limit: str, value: object, where: str) -> float | int | str:
    if limit in _TEXTS:
        _require_text(value, f"{where}: value")
        return str(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if limit in WHOLE_LIMITS:
        if not whole:
            raise OptionError(f"{where}: value must be a whole number, not {value!r}")
        return int(value)  # type: ignore[call-overload]
    if not whole and not (isinstance(value, float) and math.isfinite(value)):
        raise OptionError(f"{where}: value must be a finite number, not {value!r}")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise OptionError(f"{where}: value is too large for a number") from None


def _refuse_unknown(table: dict[str, object], allowed: tuple[str, ...], where: str, what: str) -> None:
    for key in table:
        if key not in allowed:
            raise OptionError(f"{where}: the key {key!r} is unknown; {what} has {', '.join(allowed)}")


def _require_text(value: object, where: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise OptionError(f"{where} must be a text that is not empty")
