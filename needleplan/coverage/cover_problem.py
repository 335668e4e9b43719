"""The problem that coverage solvers solve: what can be taken, the balls that each destroys, what each adds."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.region import TargetRegion
from needleplan.frames import FloatArray

#: A part of the target is worth so much more than an equal part of its margin.
TARGET_WEIGHT = 1000.0


class CoverProblem(ABC):
    """Paths, or arrays of parallel needles that are taken as one, and the balls that each can destroy.

    Everything that a solver may ask of a coverage; the geometry behind it is not its business. What comes first is
    preferred: of equals a solver takes the first.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def region(self) -> TargetRegion:
        """The n balls that must be destroyed."""

    @property
    @abstractmethod
    def path_covers(self) -> NDArray[np.bool_]:
        """(k, n) True where path k can destroy ball n as a whole."""

    @property
    @abstractmethod
    def path_cost(self) -> FloatArray:
        """(k,) cost of each path, which decides among choices of equally many insertions."""

    @property
    @abstractmethod
    def added_insertions(self) -> FloatArray:
        """(k,) insertions that each path adds: whole numbers, 0 for a needle that is in the patient already."""

    @property
    @abstractmethod
    def conflicts(self) -> NDArray[np.bool_] | None:
        """(k, k) symmetric, True where two paths exclude each other; None where none do."""

    @property
    def coverable(self) -> NDArray[np.bool_]:
        """(n,) True for points that at least one path can destroy."""
        return np.asarray(self.path_covers.any(axis=0))

    @property
    def point_value(self) -> FloatArray:
        """(n,) what each point is worth where not all can be covered: its volume, the target before its margin."""
        share = self.region.share_ml
        if self.region.in_target is None:
            return share
        return np.where(self.region.in_target, TARGET_WEIGHT, 1.0) * share

    def value_of(self, paths: Sequence[int]) -> float:
        """What the points that some paths destroy together are worth."""
        return float(self.point_value[self.path_covers[list(paths)].any(axis=0)].sum())

    def insertions_of(self, paths: Sequence[int]) -> int:
        """Insertions that some paths add."""
        return int(self.added_insertions[list(paths)].sum())

    def has_conflict(self, paths: Sequence[int]) -> bool:
        """True where two of some paths exclude each other."""
        return self.conflicts is not None and bool(self.conflicts[np.ix_(list(paths), list(paths))].any())
