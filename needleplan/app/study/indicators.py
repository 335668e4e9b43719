"""Indicators of quality of every cell of a study; their definitions stand in ``analysis_indicators``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from needleplan.app.study.analysis_indicators import OF_ROWS, OF_TIMES, Definition
from needleplan.app.study.analysis_levels import CellLevels, cells_of
from needleplan.app.study.study import Row, Times
from needleplan.uncertainty.rehearsal_statistics import Estimate
from needleplan.uncertainty.sample_statistics import sample_mean, share


@dataclass(frozen=True, slots=True)
class Indicator:
    """One indicator of one cell.

    Attributes:
        definition: what it is.
        cell: name of the cell.
        label: of the cell, in words.
        value: with its confidence interval; None where no case has it.
        count: cases that it is over.
        left_out: cases of the cell that it is not over.
        method: how the interval was made.
    """

    definition: Definition
    cell: str
    label: str
    value: Estimate | None
    count: int
    left_out: int
    method: str


def indicators(
    rows: Sequence[Row], times: Sequence[Times], seed: int = 0, confidence: float = 0.95
) -> tuple[Indicator, ...]:
    """Every indicator of every cell, cell by cell; those that no cell has are left out.

    Args:
        rows: as of ``ordered_rows``.
        times: of the same cases and cells; those of others are not counted.
        seed: of the bootstrap.
        confidence: of every interval.
    """
    timed = {(item.case, item.cell): item for item in times}
    by_cell: dict[str, list[Row]] = {}
    for row in rows:
        by_cell.setdefault(row.cell, []).append(row)
    found: list[Indicator] = []
    for cell in cells_of(rows):
        for definition, figure in OF_ROWS:
            values = [figure(row) for row in by_cell[cell.name]]
            found.append(_indicator(definition, cell, values, seed, confidence))
        for definition, cost in OF_TIMES:
            costs = _costs(by_cell[cell.name], timed, cost)
            found.append(_indicator(definition, cell, costs, seed, confidence))
    known = {item.definition.name for item in found if item.value is not None}
    return tuple(item for item in found if item.definition.name in known)


def _costs(
    rows: Sequence[Row], timed: Mapping[tuple[str, str], Times], cost: Callable[[Times], float]
) -> list[float | bool | None]:
    items = [timed.get((row.case, row.cell)) for row in rows]
    return [None if item is None else cost(item) for item in items]


def _indicator(
    definition: Definition, cell: CellLevels, values: Sequence[float | bool | None], seed: int, confidence: float
) -> Indicator:
    known = [value for value in values if value is not None]
    left_out = len(values) - len(known)
    if not known:
        return Indicator(definition, cell.name, cell.label, None, 0, left_out, "none: no such case")
    if all(isinstance(value, bool) for value in known):
        part = share(sum(map(bool, known)), len(known), confidence)
        ends = [None if end is None else 100.0 * end for end in (part.low, part.high)]
        value = Estimate(100.0 * part.value, *ends)
        return Indicator(definition, cell.name, cell.label, value, len(known), left_out, "Clopper-Pearson")
    mean = sample_mean([float(value) for value in known], seed, confidence)
    return Indicator(definition, cell.name, cell.label, mean.estimate, len(known), left_out, mean.method)
