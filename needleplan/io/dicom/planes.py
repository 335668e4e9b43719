"""Parallel image planes as one grid, by their positions and never by their numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError
from needleplan.frames import FloatArray

#: Positions nearer to each other than this along the normal are one plane.
_SAME_PLANE_MM = 1e-3
#: How far the two directions of a plane may be from unit length and from each other's normal.
_DIRECTION_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class PlaneStack:
    """Planes at equal steps.

    Attributes:
        T_PV: (4, 4) affine from (column, row, plane) to patient LPS mm.
        plane_of: (n,) plane index of each position, rising along the normal.
        planes: number of planes, those without a position counted.
    """

    T_PV: FloatArray
    plane_of: NDArray[np.int64]
    planes: int


def checked_directions(directions: FloatArray, name: str) -> FloatArray:
    """Directions of growing column and row index (6,); refused unless of unit length and perpendicular."""
    columns, rows = directions[:3], directions[3:]
    lengths = [abs(float(np.linalg.norm(v)) - 1.0) for v in (columns, rows)]
    if max(*lengths, abs(float(columns @ rows))) > _DIRECTION_TOLERANCE:
        raise CaseError(f"{name}: ImageOrientationPatient must be two perpendicular unit vectors")
    return directions


def stack(
    positions_mm: FloatArray,
    directions: FloatArray,
    spacing_mm: FloatArray,
    step_mm: float | None,
    thickness_mm: float | None,
    name: str,
) -> PlaneStack:
    """Find the lattice that parallel planes lie on.

    The step is ``step_mm``, or else the least distance of two planes, where every position fits it; it is then
    taken from the first and the last position, so that it is as exact as they are. The planes may be shifted
    against each other at a constant rate, as those of a tilted gantry: the axes of the grid are then not
    perpendicular, and nothing is resampled.

    Args:
        positions_mm: (n, 3) centre of the first pixel of each plane; several may be the same.
        directions: (6,) unit vectors of growing column and row index (ImageOrientationPatient).
        spacing_mm: (2,) distance of rows, and of columns (PixelSpacing).
        step_mm: distance of planes that the file states (SpacingBetweenSlices); None where it states none.
        thickness_mm: thickness of a plane, which a single plane takes for its step where none is stated.
        name: file, for the messages.

    Raises:
        CaseError: the distance of the planes is unknown, or they are not evenly spaced.
    """
    normal = np.cross(directions[:3], directions[3:])
    offsets = (positions_mm - positions_mm[0]) @ normal
    order = np.argsort(offsets, kind="stable")
    is_new = np.diff(offsets[order], prepend=-np.inf) > _SAME_PLANE_MM
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.cumsum(is_new) - 1
    distinct = positions_mm[order[is_new]]
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = directions[:3] * spacing_mm[1], directions[3:] * spacing_mm[0]
    matrix[:3, 3] = distinct[0]
    if len(distinct) == 1:
        step = step_mm or thickness_mm
        if step is None:
            raise CaseError(f"{name}: there is a single plane, and neither its thickness nor a spacing is stated")
        matrix[:3, 2] = normal * step
        index = np.zeros(1, dtype=np.int64)
    else:
        gaps = np.diff(offsets[order][is_new])
        fits = (_lattice(distinct, gaps, step) for step in (step_mm, float(gaps.min())) if step is not None)
        fit = next((fit for fit in fits if fit is not None), None)
        if fit is None:
            raise CaseError(f"{name}: the image planes are not evenly spaced, so they make no grid")
        index, matrix[:3, 2] = fit
    error = np.abs(matrix[:3, 3] + np.outer(index[number], matrix[:3, 2]) - positions_mm).max()
    if error > _tolerance_mm(float(np.linalg.norm(matrix[:3, 2]))):
        raise CaseError(f"{name}: image planes at the same height are shifted against each other")
    return PlaneStack(matrix, index[number], int(index[-1]) + 1)


def _tolerance_mm(step_mm: float) -> float:
    """Scanners round positions to 0.01 mm, some to a hundredth of the step."""
    return max(0.011, 0.01 * step_mm)


def _lattice(distinct: FloatArray, gaps: FloatArray, step: float) -> tuple[NDArray[np.int64], Any] | None:
    """Index of each plane and the step vector; None where ``step`` does not fit."""
    ratios = gaps / step
    steps = np.rint(ratios)
    if step <= 0 or steps.min() < 1 or steps.max() > 1e6 or np.abs(ratios - steps).max() > 0.1:
        return None
    index = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
    vector = (distinct[-1] - distinct[0]) / index[-1]
    error = np.abs(distinct[0] + np.outer(index, vector) - distinct).max()
    return (index, vector) if error <= _tolerance_mm(float(np.linalg.norm(vector))) else None
