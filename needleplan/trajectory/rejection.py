"""Why one candidate is rejected: which constraints, by how much, where along the path."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.plan import Vector3, vector3
from needleplan.trajectory.arcs import arc_points_mm
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.relaxation import is_clearance
from needleplan.trajectory.shortfall import in_unit, measure_shortfalls
from needleplan.trajectory.table import TrajectoryTable


@dataclass(frozen=True, slots=True)
class Failure:
    """One hard constraint that a candidate fails.

    Attributes:
        constraint: its name.
        unit: unit of its values.
        value: what was measured.
        limit: what was demanded.
        shortfall: how far the value lies on the wrong side of the limit.
        barred: True where no change of the limit would admit the path, as where it crosses a structure.
        located_mm: where along the path the value arises, in mm from the entry, negative on the shaft outside; None
            where nowhere in particular.
        point_mm: that point, patient LPS; None where nowhere in particular.
        demanded: what is demanded, in words.
    """

    constraint: str
    unit: str
    value: float
    limit: float
    shortfall: float
    barred: bool
    located_mm: float | None
    point_mm: Vector3 | None
    demanded: str

    @property
    def sentence(self) -> str:
        """All of it in words."""
        if self.barred and is_clearance(self.constraint):
            measured = "the needle touches or crosses it"
        elif self.unit:
            measured = (
                f"measured is {in_unit(self.value, self.unit)}, wrong by {in_unit(self.shortfall, self.unit)}"
            )
        elif (self.value, self.limit) == (0.0, 1.0):
            # One for yes and none for no: nothing is counted.
            measured = "it is not so"
        else:
            wrong = "many" if self.value > self.limit else "few"
            measured = f"counted {self.value:g}, {self.shortfall:g} too {wrong}"
        place = ""
        if self.located_mm is not None:
            where = "on the shaft outside, " if self.located_mm < 0 else ""
            place = f", {where}{abs(self.located_mm):.0f} mm from the entry"
        return f"{self.constraint}: demanded is {self.demanded}; {measured}{place}."


@dataclass(frozen=True, slots=True)
class PathExplanation:
    """A candidate with the hard constraints that it fails, the gravest first.

    Attributes:
        row: its row in the table.
        entry_mm: where it enters, patient LPS.
        tip_mm: where it ends, patient LPS.
        failures: what it fails; none for a feasible candidate. Those that no limit mends come first, then those
            that ask for the largest share of their limit.
    """

    row: int
    entry_mm: Vector3
    tip_mm: Vector3
    failures: tuple[Failure, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The explanation in words."""
        if not self.failures:
            return (f"Path {self.row} satisfies every hard constraint.",)
        count = "1 hard constraint" if len(self.failures) == 1 else f"{len(self.failures)} hard constraints"
        return (f"Path {self.row} fails {count}.", *(failure.sentence for failure in self.failures))


def explain_paths(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    constraints: Sequence[TrajectoryConstraint],
    rows: Sequence[int],
) -> tuple[PathExplanation, ...]:
    """Why candidates are rejected.

    Args:
        table: screened candidates.
        queries: the anatomy.
        constraints: the constraints that the table was screened by.
        rows: which candidates to explain.

    Raises:
        OptionError: a row is not one of the table, or the table was screened by other constraints.
    """
    outside = [row for row in rows if not 0 <= row < len(table)]
    if outside:
        raise OptionError(f"the table has the rows 0 to {len(table) - 1}, not {outside[0]}")
    chosen = table.subset(np.array(rows, dtype=np.int64))
    lacking = measure_shortfalls(chosen, constraints)
    paths = MeasuredPaths(chosen, queries)
    located = {
        k: constraint.located_mm(paths)
        for k, constraint in enumerate(lacking.constraints)
        if lacking.fails[k].any()
    }
    result = []
    for at, row in enumerate(rows):
        failures = []
        for k in np.flatnonzero(lacking.fails[:, at]):
            column, places = lacking.columns[k], located[int(k)]
            place_mm = None if places is None or not np.isfinite(places[at]) else float(places[at])
            barred = not lacking.mendable[k, at]
            failure = Failure(
                column.name,
                column.unit,
                float(column.values[at]),
                column.limit,
                float(column.shortfall[at]),
                barred,
                place_mm,
                None if place_mm is None else vector3(point_along(chosen, at, place_mm)),
                column.sentence,
            )
            failures.append((-round(float(lacking.shares[k, at]), 9), column.name, failure))
        failures.sort(key=lambda item: item[:2])
        result.append(
            PathExplanation(
                int(row),
                vector3(chosen.entry_mm[at]),
                vector3(chosen.tip_mm[at]),
                tuple(failure for _, _, failure in failures),
            )
        )
    return tuple(result)


def point_along(table: TrajectoryTable, row: int, distance_mm: float) -> FloatArray:
    """(3,) the point of a path at a distance from its entry, measured along the path; beyond its tip, the tip.

    A negative distance leads to the shaft outside, which is straight.
    """
    if distance_mm < 0:
        return np.asarray(table.entry_mm[row] + distance_mm * table.entry_direction[row])
    share = min(distance_mm / float(table.length_mm[row]), 1.0)
    if table.curvature_per_mm is None:
        return np.asarray(table.entry_mm[row] + share * (table.tip_mm[row] - table.entry_mm[row]))
    one = slice(row, row + 1)
    points = arc_points_mm(table.entry_mm[one], table.tip_mm[one], table.curvature_per_mm[one], np.array([share]))
    return np.asarray(points[0, 0])
