"""What the page may ask for: each request a frozen value, read strictly from the body of a message."""

from dataclasses import dataclass
from typing import TypeVar

from needleplan.errors import NavigationError, OptionError, PlanFileError
from needleplan.io.plan_limits import FURTHEST_MM
from needleplan.io.value_json import from_json, parse_strict
from needleplan.plan import Vector3

#: Longer names of gestures are no page's.
_LONGEST_GESTURE = 60

Request = TypeVar("Request")


class StaleEditError(NavigationError):
    """An edit of a plan that somebody else, or another tab, has changed meanwhile."""


@dataclass(frozen=True, slots=True)
class Move:
    """One end of a needle moved: which version of the plan it was seen in, which needle and end, where to.

    Moves of one ``gesture`` are one step; ``done`` says that the hand has let go.
    """

    version: int
    order: int
    end: str
    point_mm: Vector3
    gesture: str
    done: bool

    def __post_init__(self) -> None:
        if len(self.gesture) > _LONGEST_GESTURE:
            raise OptionError(f"the name of a gesture has at most {_LONGEST_GESTURE} letters")
        if max(map(abs, self.point_mm)) > FURTHEST_MM:
            raise OptionError(f"a point lies within {FURTHEST_MM:g} mm of the origin, not at {self.point_mm}")


@dataclass(frozen=True, slots=True)
class Lock:
    """The ends of a needle locked or unlocked; null leaves one as it is."""

    version: int
    order: int
    entry: bool | None
    tip: bool | None


@dataclass(frozen=True, slots=True)
class Step:
    """A step back or forth, from a version."""

    version: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is done with one needle, or with all where ``order`` is null."""

    version: int
    order: int | None


@dataclass(frozen=True, slots=True)
class Save:
    """The plan as it is in a version, as a new folder of that name."""

    version: int
    name: str


def read_request(kind: type[Request], body: bytes) -> Request:
    """A request from the body of a message.

    Raises:
        PlanFileError: it is no such request.
        OptionError: a value of it is impossible.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise PlanFileError("the request is not UTF-8 text") from None
    return from_json(kind, parse_strict(text, "the request"), "the request")
