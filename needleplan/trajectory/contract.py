"""Contracts of constraints, objectives, deflection and robot reach."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn, ObjectiveColumn


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    """How far other paths may lie from given ones.

    Attributes:
        entry_mm: (n,) their entries lie within this of each path's entry,
        tip_mm: (n,) their tips within this of its tip,
        turn_deg: (n,) their directions within this of its direction,
        normal_deg: (n,) and the skin's normals at their entries within this of the normal at its entry.
    """

    entry_mm: FloatArray
    tip_mm: FloatArray
    turn_deg: FloatArray
    normal_deg: FloatArray

    @property
    def sway_mm(self) -> FloatArray:
        """(n,) no point of a straight path moves farther than the farther of its ends."""
        return np.maximum(self.entry_mm, self.tip_mm)

    def swing_mm(self, behind_mm: float | FloatArray) -> FloatArray:
        """(n,) no point of a straight shaft moves farther that stands ``behind_mm`` outside the entry.

        It moves with the entry, and by a chord of the turn about it.
        """
        return self.entry_mm + 2.0 * behind_mm * np.sin(0.5 * np.radians(np.minimum(self.turn_deg, 180.0)))


class TrajectoryConstraint(ABC):
    """A demand that a needle path should satisfy: rejecting where hard, costing where softened.

    An implementation measures every row of a table, decides by its limit alone, and never by the other rows:
    adding candidates cannot change a decision. A looser limit never rejects what a stricter one accepts.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the column, unique in a planning run."""

    @property
    def asked_last(self) -> bool:
        """True where measuring takes long: screening then asks only of paths that satisfy every other hard demand.

        All other paths get the limit as their value, which says nothing of them: they are rejected anyway.
        """
        return False

    @abstractmethod
    def evaluate(self, paths: MeasuredPaths) -> ConstraintColumn:
        """The column of this constraint: a finite value and a decision for each of the n paths."""

    @abstractmethod
    def with_limit(self, limit: float) -> "TrajectoryConstraint | None":
        """The same demand with another limit in the column's unit; None where its limit cannot be ``limit``.

        Relaxations are proposed and proven through it.
        """

    def located_mm(self, paths: MeasuredPaths) -> FloatArray | None:
        """(n,) where along each path, in mm from the entry, the measured value arises; None where nowhere."""
        return None

    def excludes(self, paths: MeasuredPaths, column: ConstraintColumn, around: Neighbourhood) -> NDArray[np.bool_]:
        """(n,) True where it is proven that every straight path in a path's neighbourhood fails this constraint.

        Args:
            paths: straight paths that fail it.
            column: its column for them.
            around: their neighbourhoods.

        Returns:
            All False unless an implementation knows a bound: a search then looks closer.
        """
        return np.zeros(len(paths), dtype=np.bool_)


class TrajectoryObjective(ABC):
    """A quantity by which feasible paths are compared; smaller cost is better.

    The cost of a row must not depend on the other rows.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the column, unique in a planning run."""

    @abstractmethod
    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        """The column of this objective for each of the n paths."""


class DeflectionModel(ABC):
    """How a needle bends in tissue: its path from entry to tip is an arc of constant curvature."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name with the parameters, for logs and results."""

    @abstractmethod
    def curvature_per_mm(self, entry_mm: FloatArray, tip_mm: FloatArray) -> FloatArray | None:
        """Curvature (n, 3) of the paths from entries (n, 3) to tips (n, 3), patient LPS mm.

        Perpendicular to the line from entry to tip, towards the arc's centre, 1 / radius long and below
        2 / distance from entry to tip. None where all paths are straight.
        """


class Reachability(ABC):
    """Whether a robot can hold its guide on a needle path; implemented outside this package."""

    @abstractmethod
    def reachable(self, entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        """(n,) True where the path from entry (n, 3) to tip (n, 3), patient LPS mm, can be carried out."""

    def manipulability(self, entry_mm: FloatArray, tip_mm: FloatArray) -> FloatArray | None:
        """(n,) how freely the robot moves while it holds its guide on each path: 0 (locked or not reached) to 1.

        A share of what the robot can do at its best, so that different robots can be compared by it. Each path is
        measured by itself. None where an implementation does not measure it.
        """
        return None
