"""What a validation case is, and the list of all of them with their sources."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

#: Modules whose functions are the cases.
_MODULES = (
    "heat", "vessels", "electric", "needles", "damage", "freezing", "light", "margins", "scheme", "published_rf",
    "published_mw", "published_cryo", "published_pulses", "published_laser", "published_other", "heat_sinks",
)  # fmt: skip
FAMILIES = {
    "H": "Heat",
    "E": "Electric field",
    "D": "Damage",
    "C": "Freezing",
    "L": "Light",
    "M": "Margins",
    "N": "The scheme itself",
    "P": "Published ablations",
    "S": "Published heat sinks",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """One case as its source states it.

    Attributes:
        id: for instance ``H01``.
        title: in words.
        formula: of the closed form, or ``simulation``.
        inputs, expected, tolerance: numbers by name.
        source: where they are from.
        provenance: COMPUTED, READ, RECALL or MIXED.
    """

    id: str
    title: str
    formula: str
    inputs: dict[str, Any]
    expected: dict[str, Any]
    tolerance: dict[str, Any]
    source: str
    provenance: str


@dataclass(frozen=True, slots=True)
class Check:
    """One number of a case.

    Attributes:
        quantity: in words with its unit.
        expected: value, or None where only an interval is demanded.
        ours: value; None where it cannot be computed.
        low, high: what is accepted.
        error: of ours, in words.
        tolerance: in words.
        spread: standard deviation of a measured value.
    """

    quantity: str
    expected: float | None
    ours: float | None
    low: float
    high: float
    error: str
    tolerance: str
    spread: float | None = None

    @property
    def passes(self) -> bool:
        """Whether ours lies where it should."""
        return self.ours is not None and self.low <= self.ours <= self.high


def relative(
    quantity: str,
    expected: float,
    ours: float,
    tolerance: float,
    of: float | None = None,
    spread: float | None = None,
) -> Check:
    """A check of the error relative to the expected value, or to ``of`` (for instance the field's maximum)."""
    size = abs(expected if of is None else of)
    error = (ours - expected) / size
    words = f"{tolerance:.0e}" if tolerance < 1e-4 else f"{100 * tolerance:.3g} %"
    if of is not None:
        words += " of the greatest"
    shown = f"{100 * error:+.2g} %" if abs(error) >= 1e-6 else f"{error:+.1e}"
    limit = tolerance * size
    return Check(quantity, expected, ours, expected - limit, expected + limit, shown, words, spread)


def absolute(
    quantity: str, expected: float, ours: float, tolerance: float, unit: str = "", spread: float | None = None
) -> Check:
    """A check of the error itself."""
    return Check(
        quantity, expected, ours, expected - tolerance, expected + tolerance,
        f"{ours - expected:+.2g} {unit}".strip(), f"{tolerance:g} {unit}".strip(), spread,
    )  # fmt: skip


def between(
    quantity: str,
    ours: float,
    low: float = -math.inf,
    high: float = math.inf,
    expected: float | None = None,
    spread: float | None = None,
) -> Check:
    """A check that a value lies in an interval."""
    if math.isinf(low):
        words = f"at most {high:g}"
    elif math.isinf(high):
        words = f"at least {low:g}"
    else:
        words = f"{low:g} to {high:g}"
    error = "" if expected is None else f"{ours - expected:+.3g}"
    return Check(quantity, expected, ours, low, high, error, words, spread)


def measured(quantity: str, value: float, ours: float, spread: float | None = None) -> Check:
    """A measured value that no tolerance goes with: shown, never failed."""
    return Check(quantity, value, ours, -math.inf, math.inf, f"{ours - value:+.3g}", "none stated", spread)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running a case gave.

    Attributes:
        checks: its numbers.
        remark: what a reader must know, above all where a number misses.
        curves: named series (x, closed form or measured, ours) for the plots.
    """

    checks: Sequence[Check]
    remark: str = ""
    curves: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case that can be run.

    Attributes:
        id: of the reference, or an own one of the family N.
        title: in words.
        source: where the expected values are from.
        run: computes it.
        is_long: takes more than some seconds.
    """

    id: str
    title: str
    source: str
    run: Callable[[], Outcome]
    is_long: bool = False

    @property
    def family(self) -> str:
        """Its letter."""
        return self.id[0]


_CASES: dict[str, Case] = {}


@cache
def references() -> dict[str, Reference]:
    """All cases of the list by their id."""
    text = (Path(__file__).parent / "reference_cases.json").read_text(encoding="utf-8")
    return {
        row["id"]: Reference(**{key: value for key, value in row.items() if key != "family"})
        for row in json.loads(text)["cases"]
    }


def case(
    identifier: str, *, long: bool = False, title: str = "", source: str = ""
) -> Callable[[Callable[[], Outcome]], Callable[[], Outcome]]:
    """Marks a function as the computation of a case; title and source only for cases that are not in the list."""

    def register(run: Callable[[], Outcome]) -> Callable[[], Outcome]:
        if identifier in references():
            row = references()[identifier]
            _CASES[identifier] = Case(identifier, row.title, row.source, run, long)
        else:
            _CASES[identifier] = Case(identifier, title, source, run, long)
        return run

    return register


def cases() -> dict[str, Case]:
    """Every case that can be run, by id in the order of the families."""
    for module in _MODULES:
        import_module(f"validation.{module}")
    order = list(FAMILIES)
    return dict(sorted(_CASES.items(), key=lambda item: (order.index(item[0][0]), item[0])))
