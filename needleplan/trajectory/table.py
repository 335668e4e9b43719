"""Candidate needle paths as a table: one row a path, one column a constraint or an objective."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.devices.catalogue import Applicator
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only


@dataclass(frozen=True, slots=True, eq=False)
class ConstraintColumn:
    """One hard constraint over all candidates.

    Attributes:
        name: name of the constraint, with the structure where it concerns one.
        unit: unit of the values.
        values: (n,) measured values.
        limit: the value that decides.
        passed: (n,) True where the candidate satisfies it.
        sentence: what is demanded, in words.
    """

    name: str
    unit: str
    values: FloatArray
    limit: float
    passed: NDArray[np.bool_]
    sentence: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", read_only(self.values))
        object.__setattr__(self, "passed", read_only(self.passed, np.bool_))
        if np.isnan(self.values).any():
            raise GeometryError(f"constraint {self.name!r} has a value that is not a number")


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

    def __len__(self) -> int:
        return len(self.entry_mm)

    @property
    def direction(self) -> FloatArray:
        """(n, 3) unit vectors from entry to tip."""
        path = self.tip_mm - self.entry_mm
        return path / np.linalg.norm(path, axis=1, keepdims=True)

    @property
    def length_mm(self) -> FloatArray:
        """(n,) lengths from entry to tip."""
        return np.asarray(np.linalg.norm(self.tip_mm - self.entry_mm, axis=1))

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """(n,) True where every hard constraint is satisfied."""
        result: NDArray[np.bool_] = np.ones(len(self), dtype=np.bool_)
        for column in self.constraints:
            result &= column.passed
        return result

    def rejected_by(self) -> dict[str, int]:
        """For each constraint the number of candidates that fail it (a candidate may fail several)."""
        return {column.name: int(np.count_nonzero(~column.passed)) for column in self.constraints}

    def rejected_only_by(self) -> dict[str, int]:
        """For each constraint the number of candidates that fail it and no other: what relaxing it would open."""
        fails = np.stack([~column.passed for column in self.constraints]) if self.constraints else None
        if fails is None:
            return {}
        lonely = fails & (fails.sum(axis=0) == 1)
        return {column.name: int(lonely[k].sum()) for k, column in enumerate(self.constraints)}

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

    def subset(self, rows: NDArray[np.integer]) -> "TrajectoryTable":
        """The table of some rows, in the order given."""
        return dataclasses.replace(
            self,
            entry_mm=self.entry_mm[rows],
            entry_normal=self.entry_normal[rows],
            aim_mm=self.aim_mm[rows],
            tip_mm=self.tip_mm[rows],
            constraints=tuple(
                dataclasses.replace(c, values=c.values[rows], passed=c.passed[rows]) for c in self.constraints
            ),
            objectives=tuple(
                dataclasses.replace(o, values=o.values[rows], cost=o.cost[rows]) for o in self.objectives
            ),
            cost=None if self.cost is None else self.cost[rows],
            front=None if self.front is None else self.front[rows],
        )
