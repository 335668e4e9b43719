"""Sums over neighbours as numpy programs write them, and what a thin needle changes in them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from physics_problems import Cells

Index = tuple[NDArray[np.intp], ...]


def laplacian(values: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Sum of the six neighbours less six times the cell itself, of all inner cells."""
    np.multiply(values[1:-1, 1:-1, 1:-1], np.float32(-6.0), out=out)
    out += values[2:, 1:-1, 1:-1]
    out += values[:-2, 1:-1, 1:-1]
    out += values[1:-1, 2:, 1:-1]
    out += values[1:-1, :-2, 1:-1]
    out += values[1:-1, 1:-1, 2:]
    out += values[1:-1, 1:-1, :-2]


def beside(needles: Cells) -> list[Index]:
    """Index of the cells on each of the four transverse faces of needles that lie along z, one cell thick."""
    return [tuple((needles + np.array(side)).T) for side in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))]


def thicken(needle: Index, around_it: list[Index], factor: Any, flux: Any, around: Any) -> None:
    """Add to the sums over the neighbours of inner cells what thin needles' transverse faces conduct more."""
    for cells in around_it:
        within = tuple(index - 1 for index in cells)
        around[within] += (factor - np.float32(1.0)) * (flux[needle] - flux[cells])
