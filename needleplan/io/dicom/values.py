"""Values of a DICOM data set, each of the kind that is asked for; no message repeats a value of the file."""

import re
from typing import Any

import numpy as np

from needleplan.errors import CaseError
from needleplan.frames import FloatArray
from needleplan.io.dicom.files import DicomFile, quietly

#: Positions farther out than this many millimetres are damage.
MAXIMUM_NUMBER = 1e6
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def raw(dataset: Any, keyword: str, name: str) -> Any:
    """The value of an attribute as pydicom holds it; None where it is absent or empty.

    Raises:
        CaseError: the stored bytes are no value of the attribute's kind.
    """
    try:
        with quietly():
            value = dataset.get(keyword)
            if value is None or (hasattr(value, "__len__") and len(value) == 0):
                return None
            return value
    except Exception:
        raise CaseError(f"{name}: the attribute {keyword} holds no value of its kind") from None


def items(dataset: Any, keyword: str, name: str) -> list[Any]:
    """The items of a sequence; none where it is absent."""
    value = raw(dataset, keyword, name)
    if value is None:
        return []
    try:
        return list(value)
    except Exception:
        raise CaseError(f"{name}: the attribute {keyword} is no sequence") from None


def only_item(dataset: Any, keyword: str, name: str) -> Any | None:
    """The single item of a sequence; None where it is absent or empty; refused where there are several."""
    found = items(dataset, keyword, name)
    if len(found) > 1:
        raise CaseError(f"{name}: {keyword} has {len(found)} items where one is allowed")
    return found[0] if found else None


def numbers(dataset: Any, keyword: str, count: int, name: str, limit: float = MAXIMUM_NUMBER) -> FloatArray | None:
    """``count`` finite numbers (count,), none above ``limit``; None where the attribute is absent."""
    value = raw(dataset, keyword, name)
    if value is None:
        return None
    parts = [value] if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else value
    try:
        found = np.array([float(part) for part in parts], dtype=np.float64)
    except Exception:
        raise CaseError(f"{name}: the attribute {keyword} does not hold numbers") from None
    if len(found) != count or not np.isfinite(found).all() or np.abs(found).max() > limit:
        raise CaseError(f"{name}: the attribute {keyword} must hold {count} finite numbers of plausible size")
    return found


def needed_numbers(dataset: Any, keyword: str, count: int, name: str) -> FloatArray:
    """As ``numbers``; refused where the attribute is absent."""
    found = numbers(dataset, keyword, count, name)
    if found is None:
        raise CaseError(f"{name}: the attribute {keyword} is missing")
    return found


def positive(dataset: Any, keyword: str, count: int, name: str) -> FloatArray | None:
    """As ``numbers``, all above zero."""
    found = numbers(dataset, keyword, count, name)
    if found is not None and found.min() <= 0:
        raise CaseError(f"{name}: the attribute {keyword} must be above zero")
    return found


def whole(dataset: Any, keyword: str, low: int, high: int, name: str) -> int:
    """A whole number from ``low`` to ``high``; refused where the attribute is absent."""
    stored = numbers(dataset, keyword, 1, name, 2.0**32)
    if stored is None:
        raise CaseError(f"{name}: the attribute {keyword} is missing")
    found = float(stored[0])
    if found != round(found) or not low <= found <= high:
        raise CaseError(f"{name}: the attribute {keyword} must be a whole number from {low} to {high}")
    return int(found)


def text(dataset: Any, keyword: str, name: str) -> str:
    """A text of at most 64 characters without control characters; "" where the attribute is absent."""
    value = raw(dataset, keyword, name)
    if value is None:
        return ""
    try:
        found = str(value)
    except Exception:
        raise CaseError(f"{name}: the attribute {keyword} holds no text") from None
    return "".join(letter for letter in found if letter.isprintable()).strip()[:64]


def uid(dataset: Any, keyword: str, name: str) -> str:
    """A unique identifier; refused where it is absent or none."""
    found = text(dataset, keyword, name)
    if not _UID.fullmatch(found):
        raise CaseError(f"{name}: the attribute {keyword} is missing or no unique identifier")
    return found


def require_class(file: DicomFile, allowed: dict[str, str]) -> str:
    """The SOP class of a file; refused, by what was expected, where it is another one.

    Args:
        file: the opened file.
        allowed: names of the classes that are read, by UID.
    """
    found = uid(file.dataset, "SOPClassUID", file.name)
    if found not in allowed:
        raise CaseError(f"{file.name}: the file is no {' or '.join(allowed.values())}")
    if found != file.sop_class:
        raise CaseError(f"{file.name}: the file meta group and the data set name different SOP classes")
    return found
