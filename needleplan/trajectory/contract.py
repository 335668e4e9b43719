"""Contracts of hard constraints, objectives and robot reach."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.frames import FloatArray
from needleplan.trajectory.table import ConstraintColumn, ObjectiveColumn, TrajectoryTable


class TrajectoryConstraint(ABC):
    """A demand that every needle path must satisfy.

    An implementation measures every row of a table, decides by its limit alone, and never by the other rows:
    adding candidates cannot change a decision. A looser limit never rejects what a stricter one accepts.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the column, unique in a planning run."""

    @abstractmethod
    def evaluate(self, table: TrajectoryTable, queries: AnatomyQueries) -> ConstraintColumn:
        """The column of this constraint: a finite value and a decision for each of the n rows."""


class TrajectoryObjective(ABC):
    """A quantity by which feasible paths are compared; smaller cost is better.

    The cost of a row must not depend on the other rows.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the column, unique in a planning run."""

    @abstractmethod
    def evaluate(self, table: TrajectoryTable, queries: AnatomyQueries) -> ObjectiveColumn:
        """The column of this objective for each of the n rows."""


class Reachability(ABC):
    """Whether a robot can hold its guide on a needle path; implemented outside this package."""

    @abstractmethod
    def reachable(self, entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        """(n,) True where the path from entry (n, 3) to tip (n, 3), patient LPS mm, can be carried out."""
