"""What a run says at the places and times of readings."""

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.monitoring.readings import TemperatureReadings
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.grid import Grid


class FieldSampler:
    """Trilinear values of fields on a grid at fixed points, as one sparse matrix."""

    def __init__(self, grid: Grid, points_mm: FloatArray) -> None:
        from scipy.sparse import csr_array

        index = grid.to_index(points_mm)
        last = np.asarray(grid.shape) - 1
        if len(index) and not ((index >= -1e-9) & (index <= last + 1e-9)).all():
            raise PhysicsError("a point lies outside the domain of the runs")
        low = np.clip(np.floor(index).astype(np.int64), 0, last - 1)
        share = np.clip(index - low, 0.0, 1.0)
        rows, columns, values = [], [], []
        for corner in np.ndindex(2, 2, 2):
            at = low + np.asarray(corner)
            columns.append(np.ravel_multi_index(tuple(at.T), grid.shape))
            values.append(np.where(np.asarray(corner) == 1, share, 1.0 - share).prod(axis=1))
            rows.append(np.arange(len(index)))
        self.matrix = csr_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
            shape=(len(index), int(np.prod(grid.shape))),
        )


def inside_domain(grid: Grid, readings: TemperatureReadings) -> NDArray[np.bool_]:
    """(n,) readings whose whole footprint, displaced by the position error, lies between the outermost centres."""
    points = readings.points_mm[:, None, :] + readings.footprint_mm[None, :, :]
    index = grid.to_index(points)
    room = readings.position_error_mm / float(grid.spacing_mm.min())
    return np.asarray(((index >= room) & (index <= np.asarray(grid.shape) - 1 - room)).all(axis=(1, 2)))


def footprint_values(
    grid: Grid,
    times_s: FloatArray,
    fields: NDArray[np.float32],
    points_mm: FloatArray,
    footprint_mm: FloatArray,
    at_s: FloatArray,
) -> FloatArray:
    """What runs say at readings.

    Args:
        grid: of the fields.
        times_s: (t,) of the fields.
        fields: (k, t, cells) of k runs.
        points_mm: (n, 3) inside the grid.
        footprint_mm: (f, 3) offsets that are averaged over.
        at_s: (n,) times of the readings, linear between the fields.

    Returns:
        (n, k) values.
    """
    places, which = np.unique(points_mm, axis=0, return_inverse=True)
    which = which.reshape(-1)
    spread = (places[:, None, :] + footprint_mm[None, :, :]).reshape(-1, 3)
    matrix = FieldSampler(grid, spread).matrix
    after = np.clip(np.searchsorted(times_s, at_s), 1, len(times_s) - 1)
    share = ((at_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1]))[:, None]
    values = np.zeros((len(points_mm), len(fields)))
    for moment in np.unique([after - 1, after]):
        at_places = (matrix @ fields[:, moment].T).reshape(len(places), len(footprint_mm), -1).mean(axis=1)
        for rows, weight in ((after - 1 == moment, 1.0 - share), (after == moment, share)):
            values[rows] += weight[rows] * at_places[which[rows]]
    return values


def displacements(
    grid: Grid,
    times_s: FloatArray,
    fields: NDArray[np.float32],
    points_mm: FloatArray,
    at_s: FloatArray,
    step_mm: float,
    centre: FloatArray,
) -> FloatArray:
    """(n, 6, k) what displacements along the three axes do to k runs at points (n, 3) and times (n,).

    With T+ and T- a step ahead and behind: the odd parts (T+ - T-) / 2 of the three axes, then the even parts
    (T+ + T-) / 2 - T, where T is ``centre`` (n, k).
    """
    found = np.empty((len(points_mm), 6, len(fields)))
    for axis in range(3):
        offset = np.zeros((1, 3))
        offset[0, axis] = step_mm
        ahead = footprint_values(grid, times_s, fields, points_mm, offset, at_s)
        behind = footprint_values(grid, times_s, fields, points_mm, -offset, at_s)
        found[:, axis] = 0.5 * (ahead - behind)
        found[:, 3 + axis] = 0.5 * (ahead + behind) - centre
    return found
