"""Candidate needle paths as a table: one row a path, one column a constraint or an objective."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from needleplan.devices.catalogue import Applicator
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only
from needleplan.trajectory.arcs import arc_directions, arc_lengths_mm


@dataclass(frozen=True, slots=True, eq=False)
class ConstraintColumn:
    """One constraint over all candidates.

    Attributes:
        name: name of the constraint, with the structure where it concerns one.
        unit: unit of the values.
        values: (n,) measured values.
        limit: the value that decides.
        at_least: True where a value must reach the limit, False where it must not exceed it.
        sentence: what is demanded, in words.
        hard: True where a candidate that fails is rejected; False where it only costs.
        passed: (n,) True where the candidate satisfies it: decided by the limit alone.
    """

    name: str
    unit: str
    values: FloatArray
    limit: float
    at_least: bool
    sentence: str
    hard: bool = True
    passed: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", read_only(self.values))
        if np.isnan(self.values).any():
            raise GeometryError(f"constraint {self.name!r} has a value that is not a number")
        passed = self.values >= self.limit if self.at_least else self.values <= self.limit
        object.__setattr__(self, "passed", read_only(passed, np.bool_))

    @property
    def shortfall(self) -> FloatArray:
        """(n,) how far each value is on the wrong side of the limit, in ``unit``; 0 where it passes."""
        gap = self.limit - self.values if self.at_least else self.values - self.limit
        return np.maximum(gap, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectiveColumn:
    """One quantity to be made small over all candidates.

    Attributes:
        name: name of the objective.
        unit: unit of the values.
        values: (n,) measured values.
        cost: (n,) the same on a fixed scale from 0 (ideal) to about 1 (poor), independent of the other rows.
        weight: share in the weighted order.
    """

    name: str
    unit: str
    values: FloatArray
    cost: FloatArray
    weight: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", read_only(self.values))
        object.__setattr__(self, "cost", read_only(self.cost))


@dataclass(frozen=True, slots=True, eq=False)
class TrajectoryTable:
    """All candidate paths of one applicator; rejected rows stay, with the columns that say why.

    Attributes:
        applicator: the applicator.
        entry_mm: (n, 3) points on the entry surface.
        entry_normal: (n, 3) outward unit normals there.
        aim_mm: (n, 3) points of the target where the middle of the zone shall lie.
        tip_mm: (n, 3) tip positions: behind the aim by the applicator's distance from tip to zone centre.
        curvature_per_mm: (n, 3) curvature of paths that are circular arcs from entry to tip: perpendicular to the
            chord, towards the arc's centre, with 1 / radius as length. None where all paths are straight.
        constraints: columns that ``screen`` added.
        objectives: columns that ``rank`` added.
        cost: (n,) weighted cost, infinite for rejected rows; None before ``rank``.
        front: (n,) True on the Pareto front of the feasible rows; None before ``rank``.
    """

    applicator: Applicator
    entry_mm: FloatArray
    entry_normal: FloatArray
    aim_mm: FloatArray
    tip_mm: FloatArray
    curvature_per_mm: FloatArray | None = None
    constraints: tuple[ConstraintColumn, ...] = ()
    objectives: tuple[ObjectiveColumn, ...] = ()
    cost: FloatArray | None = None
    front: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        for name in ("entry_mm", "entry_normal", "aim_mm", "tip_mm"):
            array = read_only(getattr(self, name))
            if array.shape != (len(self.entry_mm), 3):
                raise GeometryError(f"{name} of a trajectory table must have the shape (n, 3), not {array.shape}")
            object.__setattr__(self, name, array)
        if self.curvature_per_mm is not None:
            object.__setattr__(self, "curvature_per_mm", _checked_curvature(self))

    def __len__(self) -> int:
        return len(self.entry_mm)

    @property
    def direction(self) -> FloatArray:
        """(n, 3) unit vectors from entry to tip: the needle's own direction where the path is straight."""
        path = self.tip_mm - self.entry_mm
        return path / np.linalg.norm(path, axis=1, keepdims=True)

    @property
    def entry_direction(self) -> FloatArray:
        """(n, 3) unit vectors along the needle where it enters: the direction of the shaft outside."""
        if self.curvature_per_mm is None:
            return self.direction
        return arc_directions(self.entry_mm, self.tip_mm, self.curvature_per_mm)[0]

    @property
    def tip_direction(self) -> FloatArray:
        """(n, 3) unit vectors along the needle at its tip."""
        if self.curvature_per_mm is None:
            return self.direction
        return arc_directions(self.entry_mm, self.tip_mm, self.curvature_per_mm)[1]

    @property
    def length_mm(self) -> FloatArray:
        """(n,) lengths of the paths from entry to tip, along the arc where they are curved."""
        chord = np.asarray(np.linalg.norm(self.tip_mm - self.entry_mm, axis=1))
        if self.curvature_per_mm is None:
            return chord
        return arc_lengths_mm(chord, np.linalg.norm(self.curvature_per_mm, axis=1))

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """(n,) True where every hard constraint is satisfied."""
        result: NDArray[np.bool_] = np.ones(len(self), dtype=np.bool_)
        for column in self.constraints:
            if column.hard:
                result &= column.passed
        return result

    def constraint(self, name: str) -> ConstraintColumn:
        """The column of a constraint; raises GeometryError with the names there are."""
        for column in self.constraints:
            if column.name == name:
                return column
        raise GeometryError(
            f"no constraint is named {name!r}: there are {', '.join(c.name for c in self.constraints)}"
        )

    def rejected_by(self) -> dict[str, int]:
        """For each hard constraint the number of candidates that fail it (a candidate may fail several)."""
        return {column.name: int(np.count_nonzero(~column.passed)) for column in self.constraints if column.hard}

    def rejected_only_by(self) -> dict[str, int]:
        """For each hard constraint the number of candidates that it alone rejects: what relaxing it would open."""
        columns = [column for column in self.constraints if column.hard]
        if not columns:
            return {}
        fails = np.stack([~column.passed for column in columns])
        lonely = fails & (fails.sum(axis=0) == 1)
        return {column.name: int(lonely[k].sum()) for k, column in enumerate(columns)}

    def order(self) -> NDArray[np.int64]:
        """Feasible rows, cheapest first; equal costs keep the order of the table.

        Raises:
            GeometryError: the table was not ranked.
        """
        if self.cost is None:
            raise GeometryError("the trajectory table has no order yet: rank it first")
        feasible = np.flatnonzero(self.feasible)
        # Costs are compared to a billionth, so that rounding of a moved case cannot change the order.
        return feasible[np.argsort(np.round(self.cost[feasible], 9), kind="stable")]

    @classmethod
    def joined(cls, tables: Sequence["TrajectoryTable"]) -> "TrajectoryTable":
        """Tables of one applicator with the same constraint columns, one below the other; without objectives.

        Raises:
            GeometryError: there is no table, or the tables differ in applicator, columns or curvature.
        """
        if not tables:
            raise GeometryError("there is no trajectory table to join")
        first = tables[0]
        demands = [(c.name, c.limit, c.at_least, c.hard) for c in first.constraints]
        for other in tables[1:]:
            same = [(c.name, c.limit, c.at_least, c.hard) for c in other.constraints] == demands
            bent = (other.curvature_per_mm is None) == (first.curvature_per_mm is None)
            if other.applicator != first.applicator or not same or not bent:
                raise GeometryError("trajectory tables that differ in applicator, constraints or curvature")
        columns = tuple(
            dataclasses.replace(column, values=np.concatenate([table.constraints[k].values for table in tables]))
            for k, column in enumerate(first.constraints)
        )
        bends = [table.curvature_per_mm for table in tables if table.curvature_per_mm is not None]
        return cls(
            first.applicator,
            np.concatenate([table.entry_mm for table in tables]),
            np.concatenate([table.entry_normal for table in tables]),
            np.concatenate([table.aim_mm for table in tables]),
            np.concatenate([table.tip_mm for table in tables]),
            np.concatenate(bends) if bends else None,
            columns,
        )

    def subset(self, rows: NDArray[np.integer]) -> "TrajectoryTable":
        """The table of some rows, in the order given."""
        return dataclasses.replace(
            self,
            entry_mm=self.entry_mm[rows],
            entry_normal=self.entry_normal[rows],
            aim_mm=self.aim_mm[rows],
            tip_mm=self.tip_mm[rows],
            curvature_per_mm=None if self.curvature_per_mm is None else self.curvature_per_mm[rows],
            constraints=tuple(dataclasses.replace(c, values=c.values[rows]) for c in self.constraints),
            objectives=tuple(
                dataclasses.replace(o, values=o.values[rows], cost=o.cost[rows]) for o in self.objectives
            ),
            cost=None if self.cost is None else self.cost[rows],
            front=None if self.front is None else self.front[rows],
        )


def _checked_curvature(table: TrajectoryTable) -> FloatArray:
    """Curvatures of a table as a read-only array.

    Raises:
        GeometryError: wrong shape, not finite, not perpendicular to the chord, or so strong that no arc of less
            than half a circle joins entry and tip.
    """
    curvature = read_only(np.asarray(table.curvature_per_mm, dtype=np.float64))
    if curvature.shape != (len(table), 3):
        raise GeometryError(f"curvature_per_mm must have the shape ({len(table)}, 3), not {curvature.shape}")
    chord = table.tip_mm - table.entry_mm
    length = np.linalg.norm(chord, axis=1)
    size = np.linalg.norm(curvature, axis=1)
    along = np.abs(np.einsum("ij,ij->i", chord, curvature))
    if not np.isfinite(curvature).all() or (along > 1e-6 * length * size + 1e-15).any():
        raise GeometryError(
            "the curvature of a path must be finite and perpendicular to the line from entry to tip"
        )
    if (size * length >= 2.0).any():
        raise GeometryError("a path is curved so strongly that its arc would be half a circle or more")
    return curvature
