"""Checks of what closed forms are asked."""

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray


def need_positive(**values: float) -> None:
    """Raises PhysicsError for an argument that is not a positive, finite number."""
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0.0):
            raise PhysicsError(f"{name} must be a positive number, but is {value:g}")


def need_not_negative(**values: float) -> None:
    """Raises PhysicsError for an argument that is not a finite number of zero or more."""
    for name, value in values.items():
        if not (np.isfinite(value) and value >= 0.0):
            raise PhysicsError(f"{name} must be zero or more, but is {value:g}")


def distances(name: str, values: ArrayLike, least: float = 0.0) -> FloatArray:
    """Values as an array; raises PhysicsError where one is below ``least`` or no number."""
    array = np.asarray(values, dtype=np.float64)
    if not (array >= least).all():
        raise PhysicsError(f"{name} must not be below {least:g}, but is {np.min(array):g} at least once")
    return array
