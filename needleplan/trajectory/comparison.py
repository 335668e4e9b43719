"""What decided for a path against the runners-up, objective by objective."""

from dataclasses import dataclass

import numpy as np

from needleplan.errors import GeometryError, OptionError
from needleplan.plan import Vector3, vector3
from needleplan.trajectory.table import TrajectoryTable

#: Entries nearer than this belong to one choice: a guide placed by hand or robot hardly tells them apart.
DISTINCT_MM = 10.0
#: Smaller differences of cost are left out of the sentences, which give three decimals.
_TOLD = 0.0005


@dataclass(frozen=True, slots=True)
class ObjectiveDifference:
    """One objective of two paths.

    Attributes:
        objective: its name.
        unit: unit of its values.
        chosen: value of the chosen path.
        other: value of the other path.
        advantage: weighted cost that the chosen path saves by it; negative where the other is better.
    """

    objective: str
    unit: str
    chosen: float
    other: float
    advantage: float


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """A path that was not chosen, beside the one that was.

    Attributes:
        row: its row in the table.
        entry_mm: its entry, patient LPS.
        tip_mm: its tip, patient LPS.
        cost: its cost in the table's order.
        advantage: weighted cost that the chosen path saves in all; negative where the other has the lower one.
        differences: by objective, the largest advantage first; their sum is ``advantage``.
        dominated: True where the chosen path is at least as good in every objective and better in one.
        on_front: True where no feasible path is better in one objective and as good in the others.
    """

    row: int
    entry_mm: Vector3
    tip_mm: Vector3
    cost: float
    advantage: float
    differences: tuple[ObjectiveDifference, ...]
    dominated: bool
    on_front: bool

    @property
    def sentence(self) -> str:
        """What decided, in words."""
        where = "({:.0f}, {:.0f}, {:.0f})".format(*self.entry_mm)
        for_chosen = [d for d in self.differences if d.advantage >= _TOLD]
        against = [d for d in reversed(self.differences) if d.advantage <= -_TOLD]
        if abs(self.advantage) < _TOLD:
            start = f"The path from {where} costs as much to three decimals"
        elif self.advantage > 0:
            start = f"The path from {where} costs {self.advantage:.3f} more"
        else:
            start = f"The path from {where} costs {-self.advantage:.3f} less, but was not chosen by cost alone"
        parts = [start]
        if for_chosen:
            parts.append("for the chosen path speak " + ", ".join(_words(d) for d in for_chosen))
        if against:
            parts.append("against it " + ", ".join(_words(d) for d in against))
        if self.dominated:
            parts.append("the chosen path is at least as good in every objective")
        elif self.on_front:
            parts.append("with other weights this one could come first")
        return "; ".join(parts) + "."


@dataclass(frozen=True, slots=True)
class Comparison:
    """The chosen path beside the next distinct choices.

    Attributes:
        row: row of the chosen path.
        entry_mm: its entry, patient LPS.
        tip_mm: its tip, patient LPS.
        cost: its cost in the table's order.
        on_front: True where no feasible path is better in one objective and as good in the others.
        runners_up: the others, cheapest first.
    """

    row: int
    entry_mm: Vector3
    tip_mm: Vector3
    cost: float
    on_front: bool
    runners_up: tuple[RunnerUp, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The comparison in words."""
        first = (
            f"The chosen path enters at ({self.entry_mm[0]:.0f}, {self.entry_mm[1]:.0f}, {self.entry_mm[2]:.0f})"
        )
        kind = (
            "no path is better in one objective and as good in the others"
            if self.on_front
            else "another path is better in an objective without weight and as good in the others"
        )
        if not self.runners_up:
            return (f"{first} and costs {self.cost:.3f}; there is no other choice.",)
        return (f"{first} and costs {self.cost:.3f}; {kind}.", *(other.sentence for other in self.runners_up))


def compare_with_runners_up(
    table: TrajectoryTable, row: int | None = None, count: int = 3, apart_mm: float = DISTINCT_MM
) -> Comparison:
    """What decided for a path against the next distinct choices.

    Choices are distinct where their entries lie at least ``apart_mm`` from each other and from the chosen one.

    Args:
        table: ranked candidates.
        row: the chosen path; the first of the order where None.
        count: number of runners-up.
        apart_mm: least distance between entries.

    Raises:
        GeometryError: the table was not ranked, or holds no feasible path.
        OptionError: the chosen row is not feasible, or there would be no runner-up.
    """
    order = table.order()
    if table.cost is None or table.front is None or not len(order):
        raise GeometryError("no path is feasible, so there is nothing to compare: explain the rejections instead")
    if count < 1:
        raise OptionError(f"at least one runner-up must be asked for, not {count}")
    chosen = int(order[0]) if row is None else row
    if not 0 <= chosen < len(table) or not table.feasible[chosen]:
        raise OptionError(f"path {chosen} is not a feasible row of the table, so it cannot have been chosen")
    entries = table.entry_mm[order]
    free = np.linalg.norm(entries - table.entry_mm[chosen], axis=1) >= apart_mm
    others: list[int] = []
    while free.any() and len(others) < count:
        place = int(np.argmax(free))
        others.append(int(order[place]))
        free &= np.linalg.norm(entries - entries[place], axis=1) >= apart_mm
        free[place] = False
    return Comparison(
        chosen,
        vector3(table.entry_mm[chosen]),
        vector3(table.tip_mm[chosen]),
        float(table.cost[chosen]),
        bool(table.front[chosen]),
        tuple(_runner_up(table, chosen, other) for other in others),
    )


def _runner_up(table: TrajectoryTable, chosen: int, other: int) -> RunnerUp:
    assert table.cost is not None and table.front is not None
    differences = [
        ObjectiveDifference(
            column.name,
            column.unit,
            float(column.values[chosen]),
            float(column.values[other]),
            float(column.weight * (column.cost[other] - column.cost[chosen])),
        )
        for column in table.objectives
    ]
    costs = np.array([(column.cost[chosen], column.cost[other]) for column in table.objectives])
    return RunnerUp(
        other,
        vector3(table.entry_mm[other]),
        vector3(table.tip_mm[other]),
        float(table.cost[other]),
        float(sum(difference.advantage for difference in differences)),
        tuple(sorted(differences, key=lambda d: -d.advantage)),
        bool((costs[:, 0] <= costs[:, 1]).all() and (costs[:, 0] < costs[:, 1]).any()),
        bool(table.front[other]),
    )


def _words(difference: ObjectiveDifference) -> str:
    unit = f" {difference.unit}" if difference.unit else ""
    return (
        f"{difference.objective} ({difference.chosen:.1f} instead of {difference.other:.1f}{unit}, "
        f"{difference.advantage:+.3f})"
    )
