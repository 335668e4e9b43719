"""By how much candidates miss their hard constraints, on one scale, and what a change of limits could mend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable

#: Changed limits are stated in hundredths of their unit: finer than any segmentation, and short to read.
STEPS_PER_UNIT = 100


def outward_limit(column: ConstraintColumn, values: FloatArray) -> FloatArray:
    """The limits in hundredths of the unit that ``values`` just satisfy: rounded down for a least value."""
    steps = np.asarray(values, dtype=np.float64) * STEPS_PER_UNIT
    # The products are rounded: the neighbours decide whether a hundredth is just kept or just missed.
    if column.at_least:
        steps = np.floor(steps)
        steps = np.where(values >= (steps + 1) / STEPS_PER_UNIT, steps + 1, steps)
        steps = np.where(values < steps / STEPS_PER_UNIT, steps - 1, steps)
    else:
        steps = np.ceil(steps)
        steps = np.where(values <= (steps - 1) / STEPS_PER_UNIT, steps - 1, steps)
        steps = np.where(values > steps / STEPS_PER_UNIT, steps + 1, steps)
    return np.asarray(steps / STEPS_PER_UNIT)


def in_unit(value: float, unit: str) -> str:
    """A value in words: in hundredths of its unit, or as a count where it has none."""
    return f"{value:.2f} {unit}" if unit else f"{value:g}"


def share_of_limit(column: ConstraintColumn, amount: FloatArray) -> FloatArray:
    """``amount`` of the column's unit as a share of its limit, or of one unit where the limit is smaller.

    This is how millimetres of clearance, millimetres of length and degrees are compared: by how large a part of
    the demand is given up.
    """
    return np.asarray(amount / max(abs(column.limit), 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Shortfalls:
    """Hard constraints of a screened table with what each candidate lacks.

    Attributes:
        columns: the k hard columns.
        constraints: (k,) the constraints that they came from.
        fails: (k, n) True where a candidate fails.
        limits: (k, n) the limit, in hundredths of the unit, that a failing candidate would just satisfy; the
            present limit where it passes.
        amounts: (k, n) distance from the present limit to that one; 0 where it passes.
        mendable: (k, n) True where the candidate passes or the constraint may have that limit. A clearance may
            not be negative: a path through a structure is not mended by a limit.
        shares: (k, n) amounts as shares of the limits; infinite where not mendable.
    """

    columns: tuple[ConstraintColumn, ...]
    constraints: tuple[TrajectoryConstraint, ...]
    fails: NDArray[np.bool_]
    limits: FloatArray
    amounts: FloatArray
    mendable: NDArray[np.bool_]
    shares: FloatArray

    @property
    def totals(self) -> FloatArray:
        """(n,) sum of the shares over the constraints: 0 for feasible rows, infinite where limits mend nothing.

        Rounded, so that which candidate comes first does not depend on the order of the sum.
        """
        return np.asarray(np.round(self.shares.sum(axis=0), 9))


def measure_shortfalls(table: TrajectoryTable, constraints: Sequence[TrajectoryConstraint]) -> Shortfalls:
    """What every candidate of a screened table lacks.

    Args:
        table: screened by the constraints.
        constraints: the constraints; those of soft columns are left out.

    Raises:
        OptionError: a hard column of the table has no constraint of its name.
    """
    named = {constraint.name: constraint for constraint in constraints}
    columns = tuple(column for column in table.constraints if column.hard)
    missing = [column.name for column in columns if column.name not in named]
    if missing:
        raise OptionError(
            f"the table was screened by {missing[0]!r}, which is not among the constraints handed over: "
            f"{', '.join(named) or 'none'}"
        )
    shape = (len(columns), len(table))
    fails = np.zeros(shape, dtype=np.bool_)
    limits, amounts, shares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    mendable = np.ones(shape, dtype=np.bool_)
    for k, column in enumerate(columns):
        fails[k] = ~column.passed
        limits[k] = np.where(fails[k], outward_limit(column, column.values), column.limit)
        amounts[k] = np.abs(limits[k] - column.limit)
        mendable[k] = ~fails[k] | (amounts[k] <= _greatest_change(column, named[column.name], limits[k][fails[k]]))
        shares[k] = np.where(mendable[k], share_of_limit(column, amounts[k]), np.inf)
    return Shortfalls(
        columns, tuple(named[column.name] for column in columns), fails, limits, amounts, mendable, shares
    )


def _greatest_change(column: ConstraintColumn, constraint: TrajectoryConstraint, limits: FloatArray) -> float:
    """The greatest change to one of ``limits`` that the constraint can have; -1 where it can have none.

    The limits that a constraint can have form an interval about its present one, so bisection finds its end.
    """
    changes = np.unique(np.abs(limits - column.limit))
    sign = -1.0 if column.at_least else 1.0

    def possible(change: float) -> bool:
        limit = float(np.round((column.limit + sign * change) * STEPS_PER_UNIT) / STEPS_PER_UNIT)
        return constraint.with_limit(limit) is not None

    low, high = 0, len(changes)
    while low < high:
        middle = (low + high) // 2
        if possible(float(changes[middle])):
            low = middle + 1
        else:
            high = middle
    return float(changes[low - 1]) + 1e-9 if low else -1.0
