"""Frozen dataclasses to strict JSON and back, checked against their own type annotations.

Strict: no NaN or infinity, no doubled key, no unknown or missing field, no number where a text belongs. Nothing
but the annotated types is ever built from a file.
"""

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

import numpy as np

from needleplan.errors import PlanFileError
from needleplan.frames import read_only

Value = TypeVar("Value")


def to_json(value: Any) -> Any:
    """Plain lists, dictionaries, numbers and texts of a dataclass of such values.

    Raises:
        PlanFileError: a number is not finite, or a value has no JSON form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PlanFileError(f"a value to be written is {value}, and JSON knows finite numbers only")
        return value
    if isinstance(value, np.ndarray):
        if not np.isfinite(value).all():
            raise PlanFileError("an array to be written holds a value that is not a finite number")
        return value.tolist()
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    raise PlanFileError(f"a value of type {type(value).__name__} cannot be written as JSON")


#: Tables hold whole numbers of 64 bits with a sign.
_LARGEST_INTEGER = 2**63 - 1

#: One half of a letter beyond the first 65536; which alone is no letter, and which no file can hold.
_HALF_LETTER = re.compile(r"\\u[dD][89a-fA-F]")


def parse_strict(text: str, where: str) -> Any:
    """JSON text to plain values.

    Raises:
        PlanFileError: the text is no JSON, names a key twice, or holds NaN, infinity or half a letter.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in items:
            if key in result:
                raise PlanFileError(f"{where}: the key {key!r} occurs twice")
            result[key] = item
        return result

    def constant(name: str) -> Any:
        raise PlanFileError(f"{where}: {name} is not a number that JSON allows")

    try:
        found = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
        if _HALF_LETTER.search(text):
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except UnicodeEncodeError as error:
        raise PlanFileError(f"{where}: a text in it is cut inside a letter (half of a surrogate pair)") from error
    except json.JSONDecodeError as error:
        raise PlanFileError(f"{where}: not JSON ({error.msg} at line {error.lineno})") from error
    except (RecursionError, ValueError) as error:
        raise PlanFileError(f"{where}: nested too deeply, or a number too long") from error


def from_json(kind: type[Value], data: Any, where: str) -> Value:
    """The dataclass ``kind`` from plain values; the inverse of ``to_json``.

    Raises:
        PlanFileError: a field is missing, unknown or of the wrong type; the message says where.
    """
    return typing.cast(Value, _build(kind, data, where))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(kind: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _build_union(typing.get_args(kind), data, where)
    if origin is np.ndarray:
        return _build_array(data, where)
    if origin is tuple:
        return _build_tuple(typing.get_args(kind), data, where)
    if origin is dict:
        value_kind = typing.get_args(kind)[1]
        if not isinstance(data, dict):
            raise PlanFileError(f"{where} must be an object of named values")
        return {key: _build(value_kind, item, f"{where}.{key}") for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, data, where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        try:
            return kind(data)
        except ValueError as error:
            raise PlanFileError(f"{where} must be one of {', '.join(kind)}, not {data!r:.60}") from error
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool):
        return _finite(data, where)
    if kind is int and type(data) is int and abs(data) > _LARGEST_INTEGER:
        raise PlanFileError(f"{where} is a whole number of more than 64 bits")
    if kind in (int, str, bool) and type(data) is kind:
        return data
    if kind is type(None) and data is None:
        return None
    name = getattr(kind, "__name__", str(kind))
    raise PlanFileError(f"{where} must be of type {name}, not {type(data).__name__}")


def _build_union(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    errors = []
    # A whole number stays one where both are allowed.
    for kind in sorted(kinds, key=lambda k: k is float):
        try:
            return _build(kind, data, where)
        except PlanFileError as error:
            errors.append(error)
    raise errors[0] if len(kinds) == 1 else PlanFileError(f"{where} has a value of the wrong type: {data!r:.60}")


def _build_tuple(kinds: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise PlanFileError(f"{where} must be a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_build(kinds[0], item, f"{where}[{k}]") for k, item in enumerate(data))
    if len(data) != len(kinds):
        raise PlanFileError(f"{where} must hold {len(kinds)} values, not {len(data)}")
    return tuple(
        _build(kind, item, f"{where}[{k}]") for k, (kind, item) in enumerate(zip(kinds, data, strict=True))
    )


def _finite(data: float, where: str) -> float:
    try:
        number = float(data)
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise PlanFileError(f"{where} must be a finite number")
    return number


def _build_array(data: Any, where: str) -> Any:
    if not isinstance(data, list):
        raise PlanFileError(f"{where} must be a list of numbers")
    try:
        # numpy would read numbers out of texts and make numbers of true and false.
        array = np.array(data)
        if array.size and array.dtype.kind not in "iuf":
            raise ValueError
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PlanFileError(f"{where} must be a regular list of numbers") from error
    if not np.isfinite(array).all():
        raise PlanFileError(f"{where} must hold finite numbers only")
    return read_only(array)


def _build_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise PlanFileError(f"{where} must be an object with the fields of {kind.__name__}")
    fields = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(data) - fields)
    missing = sorted(fields - set(data))
    if unknown:
        raise PlanFileError(f"{where} has the unknown field {unknown[0]!r}: it takes {', '.join(sorted(fields))}")
    if missing:
        raise PlanFileError(f"{where} lacks the field {missing[0]!r}")
    hints = _hints(kind)
    return kind(**{name: _build(hints[name], data[name], f"{where}.{name}") for name in fields})
