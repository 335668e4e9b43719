"""Contracts of constraints, objectives, deflection and robot reach."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.table import ConstraintColumn, ObjectiveColumn


class TrajectoryConstraint(ABC):
    """A demand that a needle path should satisfy: rejecting where hard, costing where softened.

    An implementation measures every row of a table, decides by its limit alone, and never by the other rows:
    adding candidates cannot change a decision. A looser limit never rejects what a stricter one accepts.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the column, unique in a planning run."""

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
