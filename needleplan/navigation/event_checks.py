"""What a session's events may hold, so that whatever is taken can be recorded, read again, and computed with."""

import math
from collections.abc import Iterable
from enum import StrEnum
from numbers import Real
from operator import index
from typing import Any, TypeVar

import numpy as np

from needleplan.errors import NavigationError
from needleplan.frames import RigidTransform
from needleplan.plan import Ablation, Insertion, Vector3, vector3

#: A longer text is no sentence.
MAXIMUM_LETTERS = 10_000
#: No tracker sees farther, and no figure of a session is greater, in mm.
FARTHEST_MM = 1e6
#: Patients have their origin at the scanner or in the scan, and no part of them farther from it.
_BODY_MM = 10_000.0
#: A shorter insertion has no direction.
_SHORTEST_MM = 1.0
#: No generator has more, W; no delivery lasts longer, s.
_MOST_W, _LONGEST_S = 100_000.0, 100_000.0

Kind = TypeVar("Kind", bound=StrEnum)


def keep(event: object, **values: Any) -> None:
    """Set fields of a frozen event to what its checks made of them."""
    for name, value in values.items():
        object.__setattr__(event, name, value)


def require_time(time_s: float, what: str) -> float:
    """The time as a float.

    Raises:
        NavigationError: it is not a finite number of seconds from the session's beginning.
    """
    number = _number(time_s)
    if not number >= 0.0:
        raise NavigationError(
            f"{what} must be a finite number of seconds on the session's clock, 0 or later, not {time_s!r:.60}"
        )
    return number


def checked_length(length_mm: float, what: str) -> float:
    """A length that is not negative; raises NavigationError where it is none."""
    number = _number(length_mm)
    if not 0.0 <= number <= FARTHEST_MM:
        raise NavigationError(f"{what} must be 0 or more and at most {FARTHEST_MM:g} mm, not {length_mm!r:.60}")
    return number


def checked_order(order: int, what: str) -> int:
    """The order of an insertion; raises NavigationError where it is no whole number from 1."""
    try:
        number = 0 if isinstance(order, bool) else index(order)
    except TypeError:
        number = 0
    if not 1 <= number <= 1_000_000:
        raise NavigationError(f"{what} must be a whole number from 1 to 1000000, not {order!r:.60}")
    return number


def checked_text(text: str, what: str) -> str:
    """A text that can be written; raises NavigationError where it is too long or none."""
    if not isinstance(text, str):
        raise NavigationError(f"{what} must be a text, not {type(text).__name__}")
    if len(text) > MAXIMUM_LETTERS:
        raise NavigationError(f"{what} has {len(text)} letters, where {MAXIMUM_LETTERS} are allowed")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NavigationError(f"{what} holds half a character, which cannot be written") from error
    return text


def checked_texts(texts: Iterable[str], what: str) -> tuple[str, ...]:
    """Several texts; raises NavigationError where they are none."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise NavigationError(f"{what} must be several texts, not {type(texts).__name__}")
    return tuple(checked_text(text, what) for text in texts)


def checked_kind(kind: type[Kind], value: str, what: str) -> Kind:
    """A member of an enumeration; raises NavigationError where it is none."""
    try:
        return kind(value)
    except ValueError as error:
        raise NavigationError(f"{what} must be one of {', '.join(kind)}, not {value!r:.60}") from error


def checked_place(place_mm: Vector3, what: str) -> Vector3:
    """A place in or about the body; raises NavigationError where it is not three numbers, or far away."""
    place = _three(place_mm, what)
    if max(abs(value) for value in place) > _BODY_MM:
        raise NavigationError(f"{what} lies more than {_BODY_MM:g} mm from the patient's origin: look at its unit")
    return place


def checked_displacement(displacement_mm: Vector3, what: str) -> Vector3:
    """Three finite numbers; raises NavigationError where they are none."""
    return _three(displacement_mm, what)


def require_pose(pose: RigidTransform, what: str) -> None:
    """Raises NavigationError where a pose is none, or lies farther away than any tracker sees."""
    if not isinstance(pose, RigidTransform):
        raise NavigationError(f"{what} must be a rigid transform, not {type(pose).__name__}")
    away_mm = float(np.abs(pose.translation).max())
    if away_mm > FARTHEST_MM:
        raise NavigationError(f"{what} lies {away_mm:.3g} mm away, where no tracker sees")


def checked_insertion(insertion: Insertion, what: str) -> Insertion:
    """An insertion of exact types, finite and with a direction.

    Whether it lies in the body, and whether its needle is known, is for the session to say.

    Raises:
        NavigationError: it is none.
    """
    if not isinstance(insertion, Insertion):
        raise NavigationError(f"{what} must be an insertion, not {type(insertion).__name__}")
    order = checked_order(insertion.order, f"the order of {what}")
    what = f"{what} {order}"
    entry_mm = checked_place(insertion.entry_mm, f"the entry of {what}")
    tip_mm = checked_place(insertion.tip_mm, f"the tip of {what}")
    if math.dist(entry_mm, tip_mm) < _SHORTEST_MM:
        raise NavigationError(
            f"entry and tip of {what} lie {math.dist(entry_mm, tip_mm):.3g} mm apart, where {_SHORTEST_MM:g} mm "
            "must be"
        )
    if not isinstance(insertion.ablations, tuple | list):
        raise NavigationError(f"the ablations of {what} must be several, not {type(insertion.ablations).__name__}")
    clearances = insertion.clearances_mm
    if not isinstance(clearances, dict):
        raise NavigationError(f"the clearances of {what} must be named, not {type(clearances).__name__}")
    numbers = {checked_text(name, f"a structure of {what}"): _number(value) for name, value in clearances.items()}
    if not all(math.isfinite(value) for value in numbers.values()):
        raise NavigationError(f"the clearances of {what} must be finite numbers in mm")
    return Insertion(
        entry_mm,
        tip_mm,
        checked_text(insertion.applicator, f"the applicator of {what}"),
        tuple(_checked_ablation(one, what) for one in insertion.ablations),
        numbers,
        order,
    )


def checked_insertions(insertions: Iterable[Insertion], what: str) -> tuple[Insertion, ...]:
    """Several insertions; raises NavigationError where they are none."""
    if not isinstance(insertions, Iterable):
        raise NavigationError(f"{what} must be several insertions, not {type(insertions).__name__}")
    return tuple(checked_insertion(one, what) for one in insertions)


def _checked_ablation(ablation: Ablation, what: str) -> Ablation:
    if not isinstance(ablation, Ablation):
        raise NavigationError(f"an ablation of {what} must be one, not {type(ablation).__name__}")
    duration_s = _number(ablation.duration_s)
    if not 0.0 < duration_s <= _LONGEST_S:
        raise NavigationError(
            f"an ablation of {what} must last more than 0 and at most {_LONGEST_S:g} s, not "
            f"{ablation.duration_s!r:.60}"
        )
    power_w = None if ablation.power_w is None else _number(ablation.power_w)
    if power_w is not None and not 0.0 <= power_w <= _MOST_W:
        raise NavigationError(
            f"an ablation of {what} must have 0 to {_MOST_W:g} W, or None where the generator controls it, not "
            f"{ablation.power_w!r:.60}"
        )
    return Ablation(checked_place(ablation.tip_mm, f"the tip of an ablation of {what}"), power_w, duration_s)


def _three(values: Vector3, what: str) -> Vector3:
    try:
        array = np.asarray(values)
        if array.shape != (3,) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise NavigationError(f"{what} must be three finite numbers in mm, patient LPS") from error
    return vector3(array)


def _number(value: object) -> float:
    """A real number as a float; NaN where it is none, or not finite."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return math.nan
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan
