"""What a run says at the places and times of readings."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.monitoring.readings import TemperatureReadings
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.grid import Grid

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class FieldSampler:
    """Values of fields on a grid at fixed points, as sparse matrices."""

    def __init__(self, grid: Grid, points_mm: FloatArray) -> None:
        index = grid.to_index(points_mm)
        self._shape = grid.shape
        last = np.asarray(grid.shape) - 1
        if len(index) and not ((index >= -1e-9) & (index <= last + 1e-9)).all():
            raise PhysicsError("a point lies outside the domain of the runs")
        self._low = np.clip(np.floor(index).astype(np.int64), 0, last - 1)
        self._share = np.clip(index - self._low, 0.0, 1.0)
        rows, columns, values = [], [], []
        for corner in np.ndindex(2, 2, 2):
            at, share = self._low + np.asarray(corner), self._share
            columns.append(np.ravel_multi_index(tuple(at.T), grid.shape))
            values.append(np.where(np.asarray(corner) == 1, share, 1.0 - share).prod(axis=1))
            rows.append(np.arange(len(index)))
        #: Trilinear values: (points, cells) on the flat field.
        self.matrix = self._sparse(rows, columns, values)
        self._stacked: tuple[csr_array, NDArray[np.int64]] | None = None

    def smooth(self, fields: NDArray[np.float32]) -> FloatArray:
        """(points, c) values of fields (cells, c), cubic where they are smooth and linear where they have a kink.

        Trilinear values of a convex field lie too high between the centres: by h^2 T'' / 8, more than a kelvin at
        3 mm beside an antenna. Along each axis this takes off what Lagrange's cubic through four centres differs by
        from the line, s (1 - s) / 2 times the weighted mean of the second differences at both ends. Where those
        differ in sign (beside a cooled needle, at the edge of boiling tissue) nothing is taken off, and never more
        than twice the lesser one says (the monotonized central limiter of van Leer, J Comput Phys 1977;23:276).
        """
        stacked, cells = self._stencils()
        line, *ends = np.split(np.asarray(stacked @ fields[cells], dtype=np.float64), 7)
        values = line.copy()
        for axis in range(3):
            share, near, far = self._share[:, axis, None], ends[2 * axis], ends[2 * axis + 1]
            mean = ((2.0 - share) * near + (1.0 + share) * far) / 3.0
            least = 2.0 * np.minimum(np.abs(near), np.abs(far))
            curved = np.where(near * far > 0.0, np.sign(mean) * np.minimum(np.abs(mean), least), 0.0)
            values -= 0.5 * share * (1.0 - share) * curved
        return values

    def _stencils(self) -> "tuple[csr_array, NDArray[np.int64]]":
        """Trilinear values and second differences of three axes at both ends, of the cells that they need alone."""
        if self._stacked is None:
            from scipy.sparse import vstack

            parts = [self.matrix, *(self._second_difference(axis, end) for axis in range(3) for end in range(2))]
            stacked = vstack(parts, format="csc")
            cells = np.flatnonzero(np.diff(stacked.indptr))
            self._stacked = stacked[:, cells].tocsr(), cells
        return self._stacked

    def _second_difference(self, axis: int, end: int) -> "csr_array":
        """Second differences along an axis at one end of the points' cells, linear across; zero at the border."""
        rows, columns, values = [], [], []
        inside = (self._low[:, axis] + end >= 1) & (self._low[:, axis] + end <= self._shape[axis] - 2)
        across = [other for other in range(3) if other != axis]
        for corner in np.ndindex(2, 2):
            centre = self._low.copy()
            centre[:, axis] += end
            centre[:, across] += np.asarray(corner)
            share = self._share[:, across]
            weight = np.where(np.asarray(corner) == 1, share, 1.0 - share).prod(axis=1)
            for step, factor in ((-1, 1.0), (0, -2.0), (1, 1.0)):
                at = centre.copy()
                at[:, axis] += step
                rows.append(np.flatnonzero(inside))
                columns.append(np.ravel_multi_index(tuple(at[inside].T), self._shape))
                values.append(factor * weight[inside])
        return self._sparse(rows, columns, values)

    def _sparse(
        self, rows: list[NDArray[np.int64]], columns: list[NDArray[np.int64]], values: list[FloatArray]
    ) -> "csr_array":
        from scipy.sparse import csr_array

        return csr_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
            shape=(len(self._low), int(np.prod(self._shape))),
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
    sampler = FieldSampler(grid, spread)
    after = np.clip(np.searchsorted(times_s, at_s), 1, len(times_s) - 1)
    share = ((at_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1]))[:, None]
    values = np.zeros((len(points_mm), len(fields)))
    for moment in np.unique([after - 1, after]):
        at_places = sampler.smooth(fields[:, moment].T).reshape(len(places), len(footprint_mm), -1).mean(axis=1)
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
    steps = step_mm * np.concatenate([np.eye(3), -np.eye(3)])
    moved = (points_mm[None, :, :] + steps[:, None, :]).reshape(-1, 3)
    values = footprint_values(grid, times_s, fields, moved, np.zeros((1, 3)), np.tile(at_s, 6))
    ahead, behind = values.reshape(2, 3, len(points_mm), -1)
    odd, even = 0.5 * (ahead - behind), 0.5 * (ahead + behind) - centre
    return np.concatenate([odd, even]).transpose(1, 0, 2)
