"""Factors, levels and cells as they stand in the rows of a study."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from needleplan.app.study.number_text import number_text
from needleplan.app.study.study import Row
from needleplan.errors import PlanFileError

#: The factors, in the order in which they are told.
FACTORS = ("device", "power_w", "margin_mm", "probes", "strategy", "robot", "error_budget", "breathing")
#: Statuses that have a plan, and so figures.
PLANNED = ("complete", "partial")
#: All statuses, best first.
STATUSES = ("complete", "partial", "infeasible", "failed")

#: What a cell without a value of that factor does.
_WITHOUT = {
    "power_w": "every power",
    "probes": "any number of probes",
    "strategy": "no rehearsal",
    "robot": "no robot",
    "error_budget": "no error budget",
}
_TITLES = {
    "power_w": "power",
    "margin_mm": "margin",
    "error_budget": "error budget",
}

#: What follows the number of a level.
_UNITS = {"power_w": "W", "margin_mm": "mm margin"}

#: A level: the value of one factor, comparable and hashable.
Level = str | float | int | tuple[str, float] | None


@dataclass(frozen=True, slots=True)
class CellLevels:
    """One cell as the rows show it.

    Attributes:
        name: of the cell.
        levels: its level of each factor of ``FACTORS``.
        label: its levels of the factors that vary, in words; no two cells of a study have the same.
    """

    name: str
    levels: tuple[Level, ...]
    label: str

    def level(self, factor: str) -> Level:
        """The level of one factor."""
        return self.levels[FACTORS.index(factor)]

    def text_of(self, factors: Iterable[str]) -> str:
        """Its levels of some factors, in words."""
        return ", ".join(level_text(factor, self.level(factor)) for factor in factors)

    def others(self, factor: str) -> tuple[Level, ...]:
        """The levels of all other factors."""
        place = FACTORS.index(factor)
        return self.levels[:place] + self.levels[place + 1 :]


def ordered_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows by cell and case, so that nothing that follows depends on the order in which they were computed.

    Raises:
        PlanFileError: a case stands twice in a cell, or a status is unknown.
    """
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if (row.case, row.cell) in seen:
            raise PlanFileError(f"the results hold the case {row.case!r} twice in the cell {row.cell}")
        if row.status not in STATUSES:
            raise PlanFileError(
                f"the results give the case {row.case!r} the status {row.status!r}: it must be one of "
                f"{', '.join(STATUSES)}"
            )
        seen.add((row.case, row.cell))
    return tuple(sorted(rows, key=lambda row: (*(sort_key(level_of(row, name)) for name in FACTORS), row.case)))


def level_of(row: Row, factor: str) -> Level:
    """The level of a factor in a row; that of breathing is its name and amplitude."""
    if factor == "breathing":
        return (row.breathing, row.breathing_peak_mm)
    value: Level = getattr(row, factor)
    return value


def sort_key(level: Level) -> tuple[int, float, str]:
    """Numbers grow, then texts, then none."""
    if level is None:
        return (2, 0.0, "")
    if isinstance(level, tuple):
        return (1, level[1], level[0])
    return (1, 0.0, level) if isinstance(level, str) else (0, float(level), "")


def level_text(factor: str, level: Level) -> str:
    """A level in words, which no other level of the factor has."""
    if level is None:
        return _WITHOUT.get(factor, "none")
    if isinstance(level, tuple):
        return f"{level[0]} breathing ({number_text(level[1])} mm)"
    if factor in _UNITS and not isinstance(level, str):
        return f"{number_text(level)} {_UNITS[factor]}"
    if factor == "probes":
        return f"≤ {level} probe{'' if level == 1 else 's'}"
    if factor == "error_budget":
        return f"errors {level}"
    return str(level)


def factor_title(factor: str) -> str:
    """The name of a factor as a heading says it."""
    return _TITLES.get(factor, factor)


def varying_factors(rows: Sequence[Row]) -> tuple[str, ...]:
    """The factors with more than one level in the rows, in the order of ``FACTORS``."""
    return tuple(name for name in FACTORS if len({level_of(row, name) for row in rows}) > 1)


def cells_of(rows: Sequence[Row]) -> tuple[CellLevels, ...]:
    """The cells of the rows, ordered by their levels.

    Raises:
        PlanFileError: a cell has rows of different levels, or two cells have the same levels.
    """
    varying = varying_factors(rows)
    found: dict[str, tuple[Level, ...]] = {}
    for row in rows:
        levels = tuple(level_of(row, name) for name in FACTORS)
        if found.setdefault(row.cell, levels) != levels:
            raise PlanFileError(f"the results give the cell {row.cell} different levels of one factor")
    names: dict[tuple[Level, ...], str] = {}
    for name, levels in found.items():
        other = names.setdefault(levels, name)
        if other != name:
            raise PlanFileError(
                f"the results hold the cells {min(name, other)} and {max(name, other)}, which no factor tells apart"
            )
    cells = [CellLevels(name, levels, "") for name, levels in found.items()]
    texts = [cell.text_of(varying) or "all cases" for cell in cells]
    # Names of devices and robots may hold whatever stands between two levels, so that two cells read the same.
    labels = [
        f"{text} (cell {cell.name})" if texts.count(text) > 1 else text
        for cell, text in zip(cells, texts, strict=True)
    ]
    cells = [replace(cell, label=label) for cell, label in zip(cells, labels, strict=True)]
    return tuple(sorted(cells, key=lambda cell: [sort_key(level) for level in cell.levels]))
