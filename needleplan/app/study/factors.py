"""The crossing of a study's factors, and the crosses that contradict themselves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any

from needleplan.app.study.factor_values import QUIET, FactorReader, written
from needleplan.app.study.number_text import number_text
from needleplan.app.study.robot_content import with_robot_content
from needleplan.app.study.study import Cell
from needleplan.case.strict_tables import nearest, shown
from needleplan.errors import OptionError
from robots.catalogue import DEFAULT_ROBOT

#: Names of the factors, in the order of a cell.
FACTORS = tuple(item.name for item in fields(Cell) if item.name != "robot_hash")

#: Most combinations of factors, those that are left out among them.
MAXIMUM_CELLS = 10_000

_REMEDY = "leave the combination out by a table"


def cross(
    given: Mapping[str, Sequence[object]], left_out: Sequence[Mapping[str, Sequence[object]]], reader: FactorReader
) -> tuple[Cell, ...]:
    """All combinations of the values of some factors, but for those that are left out.

    Args:
        given: values by factor, in the order of the file; the last factor varies fastest.
        left_out: each some values of some factors; a combination that has one of each is left out.
        reader: of the values.

    Raises:
        OptionError: a value is none of its factor or stands twice, a table is given twice, there are too many
            combinations or none, or one contradicts itself.
    """
    values = {factor: _values(factor, texts, reader) for factor, texts in given.items()}
    count = math.prod(len(each) for each in values.values())
    if count > MAXIMUM_CELLS:
        raise OptionError(
            f"[factors]: {' x '.join(str(len(each)) for each in values.values())} are {count} combinations, more "
            f"than the {MAXIMUM_CELLS} that a study may cross: take fewer values, or more than one study"
        )
    tables = [_left_out(number, table, values, reader) for number, table in enumerate(left_out, 1)]
    _check_left_out_once(tables)
    cells = [Cell(**dict(zip(values, chosen, strict=True))) for chosen in product(*values.values())]
    kept = tuple(cell for cell in cells if not any(_matches(cell, table) for table in tables))
    if not kept:
        raise OptionError(
            "[[leave_out]] leaves out every combination of the factors: nothing remains to be planned"
        )
    for cell in kept:
        _check_power(cell, reader)
    _check_breathing(kept, "breathing" in values)
    _check_robots(kept)
    try:
        return with_robot_content(kept)
    except OptionError as error:
        raise OptionError(f"[factors]: {error}") from None


def varied(cells: Sequence[Cell], order: Sequence[str]) -> tuple[str, ...]:
    """Those factors of an order that take more than one value in some cells."""
    return tuple(factor for factor in order if len({getattr(cell, factor) for cell in cells}) > 1)


def _values(factor: str, texts: Sequence[object], reader: FactorReader) -> tuple[Any, ...]:
    found: list[Any] = []
    for text in texts:
        try:
            value = reader.read(factor, text)
        except OptionError as error:
            raise OptionError(f"[factors]: {error}") from None
        if value in found:
            raise OptionError(f"[factors]: {factor} holds {shown(text)} twice: give each value once")
        found.append(value)
    return tuple(found)


def _left_out(
    number: int, table: Mapping[str, Sequence[object]], values: Mapping[str, tuple[Any, ...]], reader: FactorReader
) -> dict[str, tuple[Any, ...]]:
    """The values of one [[leave_out]] table, each of which a factor must take."""
    where = f"[[leave_out]] number {number}: "
    if not table:
        raise OptionError(f"{where}the table is empty: name the values of at least one factor")
    read: dict[str, tuple[Any, ...]] = {}
    for factor, texts in table.items():
        taken = values.get(factor, (getattr(Cell(), factor),))
        known = [written(factor, value) for value in taken]
        found = []
        for text in texts:
            try:
                value = reader.read(factor, text)
            except OptionError as error:
                raise OptionError(f"{where}{error}") from None
            if value not in taken:
                hint = nearest(written(factor, value), known)
                raise OptionError(
                    f"{where}it matches nothing, as {factor} is never {written(factor, value)}; {hint}"
                    f"{'It' if hint else 'it'} takes {', '.join(known)}"
                )
            if value in found:
                raise OptionError(f"{where}{factor} holds {shown(text)} twice: give each value once")
            found.append(value)
        read[factor] = tuple(found)
    return read


def _check_left_out_once(tables: Sequence[Mapping[str, tuple[Any, ...]]]) -> None:
    """Raise OptionError where two [[leave_out]] tables say the same, whatever the order of their words."""
    seen: dict[frozenset[tuple[str, frozenset[Any]]], int] = {}
    for number, table in enumerate(tables, 1):
        content = frozenset((factor, frozenset(values)) for factor, values in table.items())
        first = seen.setdefault(content, number)
        if first != number:
            raise OptionError(
                f"[[leave_out]] number {number}: this is the same table as number {first}: give it once"
            )


def _matches(cell: Cell, table: Mapping[str, tuple[Any, ...]]) -> bool:
    return all(getattr(cell, factor) in values for factor, values in table.items())


def _table(cell: Cell, *factors: str) -> str:
    """The table that leaves a cell out, as words of a message."""
    return "[[leave_out]] with " + " and ".join(
        f"{name} = {written(name, getattr(cell, name))}" for name in factors
    )


def _check_power(cell: Cell, reader: FactorReader) -> None:
    """Raise OptionError where the zone table of the device has no row of the cell's power."""
    if cell.power_w is None or cell.power_w in (powers := reader.powers_w(cell.device)):
        return
    numbers = [number_text(power) for power in powers if power is not None]
    if numbers:
        why, right = f"whose zone table knows {', '.join(numbers)} W", "take one of these"
    else:
        why, right = "whose generator controls its power by itself", 'take power_w = "all" for it'
    raise OptionError(
        f"[factors]: power_w = {number_text(cell.power_w)} cannot be crossed with "
        f'device = "{cell.device}", {why}: {right}, '
        f"or {_REMEDY} {_table(cell, 'device', 'power_w')}"
    )


def _check_breathing(cells: Sequence[Cell], given: bool) -> None:
    """Raise OptionError where breathing is given or varied and nothing is rehearsed that it could matter to."""
    if given and all(cell.strategy is None for cell in cells):
        raise OptionError(
            "[factors]: breathing matters to rehearsals only, and without a strategy nothing is rehearsed: give "
            "strategy, or leave breathing away"
        )
    seen: dict[Cell, Cell] = {}
    for cell in cells:
        if cell.strategy is None:
            first = seen.setdefault(replace(cell, breathing=QUIET), cell)
            if first is not cell:
                raise OptionError(
                    f"[factors]: breathing = {written('breathing', cell.breathing)} cannot be crossed with "
                    f'strategy = "none", as nothing is rehearsed and all comes out as for '
                    f"{written('breathing', first.breathing)}: {_REMEDY} {_table(cell, 'strategy', 'breathing')}"
                )


def _check_robots(cells: Sequence[Cell]) -> None:
    """Raise OptionError where rehearsals without a robot, made with the default one, are also asked with it."""
    kept = set(cells)
    for cell in cells:
        if cell.strategy is not None and cell.robot is None and replace(cell, robot=DEFAULT_ROBOT) in kept:
            raise OptionError(
                f'[factors]: strategy = "{cell.strategy}" is crossed with robot = "none" and robot = '
                f'"{DEFAULT_ROBOT}", which are the same, as rehearsals without a robot use that one: {_REMEDY} '
                f"{_table(cell, 'strategy', 'robot')}"
            )
