"""Paths that are tried while one is sought, and the part of a remainder by which they are judged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.offers import SizeMenu
from needleplan.frames import FloatArray
from needleplan.plan import Ablation, Insertion, vector3

#: The outermost balls in so many directions stand for the remainder, and so many others where two zones share it.
_DIRECTIONS, _WITHIN = 200, 300


@dataclass(frozen=True, slots=True, eq=False)
class TriedPaths:
    """Paths that are tried.

    Attributes:
        entry_mm: (n, 3) where they enter.
        tip_mm: (n, 3) where they end.
        size: (n,) index of the size of their ablations.
        back_mm: (n,) way back from the tip to a second ablation; 0 where there is none.
    """

    entry_mm: FloatArray
    tip_mm: FloatArray
    size: NDArray[np.int64]
    back_mm: FloatArray

    def __len__(self) -> int:
        return len(self.size)

    def part(self, rows: NDArray[np.int64]) -> "TriedPaths":
        """The paths of some rows, in the order given."""
        return TriedPaths(self.entry_mm[rows], self.tip_mm[rows], self.size[rows], self.back_mm[rows])

    def with_rows(self, other: "TriedPaths") -> "TriedPaths":
        """The paths with others below them."""
        return TriedPaths(
            np.concatenate([self.entry_mm, other.entry_mm]),
            np.concatenate([self.tip_mm, other.tip_mm]),
            np.concatenate([self.size, other.size]),
            np.concatenate([self.back_mm, other.back_mm]),
        )

    @property
    def direction(self) -> FloatArray:
        """(n, 3) unit vectors from entries to tips."""
        along = self.tip_mm - self.entry_mm
        return np.asarray(along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9))

    def insertions(self, applicator: str, menu: SizeMenu) -> list[Insertion]:
        """The paths as insertions with their ablations."""
        found = []
        for entry, tip, along, size, back in zip(
            self.entry_mm, self.tip_mm, self.direction, self.size.tolist(), self.back_mm.tolist(), strict=True
        ):
            stops = (0.0, back) if back > 0.0 else (0.0,)
            ablations = tuple(Ablation(vector3(tip - stop * along), *menu.settings[size]) for stop in stops)
            found.append(Insertion(vector3(entry), vector3(tip), applicator, ablations))
        return found


def outermost(
    points: FloatArray, radii: FloatArray, axes: FloatArray, ablations: int
) -> tuple[FloatArray, FloatArray]:
    """The balls that a convex zone must hold to hold all, and some within where several zones share them."""
    k = np.arange(_DIRECTIONS) + 0.5
    height, turn = 1.0 - 2.0 * k / _DIRECTIONS, np.pi * (1.0 + np.sqrt(5.0)) * k
    flat = np.sqrt(1.0 - height**2)
    directions = np.stack([flat * np.cos(turn), flat * np.sin(turn), height])
    rows = (points @ axes @ directions + radii[:, None]).argmax(axis=0)
    if ablations > 1:
        rows = np.concatenate([rows, np.linspace(0, len(points) - 1, min(len(points), _WITHIN)).astype(np.int64)])
    rows = np.unique(rows)
    return points[rows], radii[rows]


def widest_mm(points: FloatArray, radii: FloatArray) -> float:
    """Width over all between two of the balls (n, 3)."""
    squared = np.einsum("ij,ij->i", points, points)
    gaps = np.sqrt(np.maximum(squared[:, None] + squared[None, :] - 2.0 * points @ points.T, 0.0))
    return float((gaps + radii[:, None] + radii[None, :]).max())
