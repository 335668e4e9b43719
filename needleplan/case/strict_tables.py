"""Files that people write in TOML: read within bounds, checked strictly, refused with the nearest right key."""

import datetime
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from needleplan.errors import CaseError, NeedleplanError
from needleplan.io.bounded import read_whole

#: Controls, line ends of Unicode, and marks that turn the direction of what follows them, such as a figure.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def require_plain(text: str) -> str:
    """Check of a field of a table: a text that is not blank, in one line and without control characters."""
    if not text.strip() or _CONTROLS.search(text):
        raise PydanticCustomError(
            "plain_text", "it must be a text in one line that is not blank, without control characters"
        )
    return text


#: What people call a thing: short, and without control characters.
Name = Annotated[str, Field(max_length=80), AfterValidator(require_plain)]

#: Last parts of pydantic's locations that name the branch of a union, not a key.
_BRANCHES = ("int", "float", "str", "bool")

#: What a value must be, by the type of pydantic's error; the braces name what its context holds.
_RIGHT = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "string_type": "a text in quotes",
    "string_too_short": "a text of {min_length} characters or more",
    "string_too_long": "a text of {max_length} characters or fewer",
    "tuple_type": "a list in brackets",
    "dict_type": "a table",
    "model_type": "a table",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
}


class StrictTable(BaseModel):
    """Base of all tables: unknown keys, other types, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        """TOML knows lists, which nothing keeps from being changed; the tables hold tuples."""
        return tuple(value) if isinstance(value, list) else value


Table = TypeVar("Table", bound=StrictTable)


#: Python refuses to read such a number, in words that are for programmers.
_LONG_NUMBER = re.compile(r"[0-9_]{4000}")


def read_tables(path: Path, limit: int, what: str) -> tuple[dict[str, Any], str]:
    """The tables of a TOML file, and its text.

    Args:
        path: the file.
        limit: greatest number of bytes; a larger file is refused unread.
        what: what the file is, for the messages, as in "a manifest".

    Raises:
        CaseError: no such file, a folder, too large, not text in UTF-8, or not TOML; the sentence names the line.
    """
    if path.is_dir():
        raise CaseError(f"{path}: this is a folder, not {what}: name the file in it")
    data = read_whole(path, limit)
    try:
        # Some editors begin a file with a byte order mark.
        text = data.decode("utf-8-sig")
        if _LONG_NUMBER.search(text):
            raise CaseError(f"{path}: {what} holds a number of thousands of digits")
        return tomllib.loads(text), text
    except UnicodeDecodeError:
        raise CaseError(f"{path}: {what} must be text in UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise CaseError(f"{path}: this is not valid TOML: {error}") from None


def checked_table(
    root: type[Table],
    tables: Mapping[str, Any],
    inner: Mapping[str, type[StrictTable]],
    entries: Mapping[str, str],
    refusal: type[NeedleplanError] = CaseError,
) -> Table:
    """The values of a file as its schema describes them.

    Args:
        root: schema of the whole file.
        tables: as ``read_tables`` gives them.
        inner: schema of the tables under a key, for the messages.
        entries: what an entry of the list of tables under a key is called in messages.
        refusal: kind of error that is raised.

    Raises:
        NeedleplanError: of the kind ``refusal``: the sentence names the place, the key and the right ones.
    """
    try:
        return root.model_validate(dict(tables))
    except ValidationError as error:
        # A list whose entries are wrong also counts as too short.
        inner_places = {item["loc"][:depth] for item in error.errors() for depth in range(len(item["loc"]))}
        errors = [item for item in error.errors() if item["type"] != "too_short" or item["loc"] not in inner_places]
        # A misspelt key also leaves the right one missing; the misspelling is what the writer must hear of.
        first = min(errors, key=lambda item: item["type"] != "extra_forbidden")
        more = len(errors) - 1
        sentence = _sentence(first, root, tables, inner, entries)
        mistakes = f" (and {more} more mistake{'s' if more > 1 else ''})" if more else ""
        raise refusal(sentence + mistakes) from None


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` and a blank for the known word that is most like a wrong one; empty where none is."""
    close = difflib.get_close_matches(word[:200], list(known), 1)
    return f"did you mean {close[0]!r}? " if close else ""


def shown(value: object) -> str:
    """A value of a file for a message, in the words of TOML, cut short."""
    text = _words(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, tuple | list):
        if value and all(isinstance(item, Mapping) for item in value):
            return "a list of tables"
        # More than these are cut away in any case.
        return f"[{', '.join(_words(item) for item in value[:30])}]"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return repr(value)


def _sentence(
    error: Any,
    root: type[StrictTable],
    tables: Mapping[str, Any],
    inner: Mapping[str, type[StrictTable]],
    entries: Mapping[str, str],
) -> str:
    """One error of pydantic as a sentence for the writer of the file."""
    location = [part for part in error["loc"] if not (isinstance(part, str) and "[" in part)]
    if len(location) > 1 and location[-1] in _BRANCHES:
        location.pop()
    where = _where(location, tables, entries)
    kind = error["type"]
    key = _key(next((part for part in reversed(location) if isinstance(part, str)), ""))
    if kind == "extra_forbidden":
        parents = [part for part in location[:-1] if isinstance(part, str) and part in inner]
        table = inner[parents[-1]] if parents else root
        allowed = sorted(field.alias or name for name, field in table.model_fields.items())
        hint = nearest(str(location[-1]), allowed)
        there = f"{hint}{'T' if hint else 't'}here may be {', '.join(allowed)}"
        return f"{where}unknown key {shown(location[-1])}; {there}"
    if kind == "missing" and isinstance(location[-1], int):
        return f"{where}{key} has too few values, only {location[-1]}"
    if kind == "missing":
        return f"{where}the key {key!r} is missing"
    if kind == "value_error":
        return where + str(error["ctx"]["error"])
    value = shown(error["input"])
    if kind in ("enum", "literal_error"):
        allowed_values = error["ctx"]["expected"].replace("'", "")
        if isinstance(error["input"], str) and "'" not in error["ctx"]["expected"]:
            return f"{where}{key} is {value}; it must be {allowed_values}, a number without quotes"
        hint = nearest(str(error["input"]), allowed_values.replace(" or ", ", ").split(", "))
        return f"{where}{key} is {value}; {hint}{'It' if hint else 'it'} must be {allowed_values}"
    context = error.get("ctx", {})
    if kind == "too_long":
        return f"{where}{key} has {context['actual_length']} values, more than the {context['max_length']} it takes"
    if kind == "too_short":
        return f"{where}{key} has {context['actual_length']} values; it takes {context['min_length']} or more"
    if len(location) == 1 and kind in ("dict_type", "model_type"):
        return f"{where}{key} is {value}; it must be a table that begins with [{key}]"
    if len(location) == 1 and location[0] in entries and kind == "tuple_type":
        return f"{where}{key} is {value}; each entry is a table of its own that begins with {entries[location[0]]}"
    if kind in _RIGHT:
        return f"{where}{key} is {value}; it must be {_RIGHT[kind].format(**context)}{_unquoted(error)}"
    message = error["msg"]
    return f"{where}{key} is {value}; {message[0].lower()}{message[1:]}"


def _unquoted(error: Any) -> str:
    """What to do with a text that would be right without its quotes."""
    needed = {"int_type": r"[+-]?\d+", "float_type": r"[+-]?\d+(\.\d+)?", "bool_type": "true|false"}
    pattern, given = needed.get(error["type"]), error["input"]
    return ", without quotes" if pattern and isinstance(given, str) and re.fullmatch(pattern, given) else ""


def _key(text: str) -> str:
    """A key as it is written: in quotes where it would not do without."""
    return text if re.fullmatch(r"[A-Za-z0-9_-]*", text) else shown(text)


def _where(location: list[Any], tables: Mapping[str, Any], entries: Mapping[str, str]) -> str:
    """The table that an error lies in; an entry of a list by its name where it has one."""
    if len(location) < 2 or location[0] not in entries or not isinstance(location[1], int):
        tables_above = [part for part in location if isinstance(part, str)][:-1]
        return f"[{'.'.join(_key(part) for part in tables_above)}]: " if tables_above else ""
    number, what = location[1], entries[location[0]]
    values = tables.get(location[0])
    entry = values[number] if isinstance(values, list) and number < len(values) else {}
    name = entry.get("name") if isinstance(entry, dict) else None
    return f"{what} {str(name)[:80]!r}: " if name else f"{what} number {number + 1}: "
