"""Readings set against runs: Gaussian noise, and errors of the model and of places that readings share.

    y = T(f) + H b + e,   e ~ N(0, D),   b ~ N(0, 1)

f are the factors. D holds the noise of each reading and the emulator's own error. The columns of H are errors that
the readings of one sensor in one block of space share: the model's, proportional to the rise of temperature and
drifting slowly, and those of the sensor's place. b is integrated out (Kennedy and O'Hagan, J R Stat Soc B
2001;63:425, with a discrepancy of few columns in place of a Gaussian process), through Woodbury's identity on each
group of readings, so that the cost is linear in their number.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ReadingTable:
    """Readings with what each run says of them.

    Attributes:
        value_c: (n,) what was read.
        time_s: (n,) when.
        predicted_c: (n, k) what the k runs say.
        shared_c: (n, r, k) one standard deviation each of the errors that a sensor's readings share: of its place,
            and of emulator and grid.
        variance_c2: (n,) of noise and emulator.
        sensor: (n,) number of the sensor.
        block: (n,) number of the group of readings whose errors are shared.
    """

    value_c: FloatArray
    time_s: FloatArray
    predicted_c: FloatArray
    shared_c: FloatArray
    variance_c2: FloatArray
    sensor: NDArray[np.int64]
    block: NDArray[np.int64]

    def chosen(self, rows: NDArray[np.bool_]) -> "ReadingTable":
        """The table of some of the readings."""
        return ReadingTable(*(getattr(self, name)[rows] for name in self.__slots__))

    def with_variance(self, variance_c2: FloatArray) -> "ReadingTable":
        """The table with other variances."""
        return replace(self, variance_c2=variance_c2)


@dataclass(frozen=True, slots=True, eq=False)
class SharedErrors:
    """The columns H at some factors.

    Attributes:
        columns: (n, r) one standard deviation of each shared error at each reading.
        block: (n,) dense numbers of the groups.
        groups: how many there are.
    """

    columns: FloatArray
    block: NDArray[np.int64]
    groups: int

    @classmethod
    def at(
        cls,
        table: ReadingTable,
        weights: FloatArray,
        body_c: float,
        model_error: float,
        drift_c: float,
        drift_s: float,
    ) -> "SharedErrors":
        """The columns with temperatures and shared errors as the runs' ``weights`` (k,) give them.

        The drift is a sinusoid of unknown size and phase: a process of variance ``drift_c`` squared at all times,
        whose correlation over a time t is cos(pi t / drift_s).
        """
        rise = model_error * (table.predicted_c @ weights - body_c)
        phase = np.pi * table.time_s / drift_s
        columns = [np.column_stack([rise, drift_c * np.cos(phase), drift_c * np.sin(phase)])]
        columns.append(table.shared_c @ weights)
        names, dense = np.unique(table.block, return_inverse=True)
        return cls(np.concatenate(columns, axis=1), dense.reshape(-1), len(names))

    def _sums(self, weighted: FloatArray) -> FloatArray:
        """(groups, r, c) of H' times (n, c) by groups."""
        sums = np.empty((self.groups, self.columns.shape[1], weighted.shape[1]))
        for r in range(self.columns.shape[1]):
            for c in range(weighted.shape[1]):
                sums[:, r, c] = np.bincount(self.block, self.columns[:, r] * weighted[:, c], minlength=self.groups)
        return sums

    def products(self, vectors: FloatArray, variance_c2: FloatArray) -> FloatArray:
        """(c, c) V' (D + H H')^-1 V of columns V (n, c)."""
        weighted = vectors / variance_c2[:, None]
        sums = self._sums(weighted)
        mixed = np.eye(self.columns.shape[1]) + self._sums(self.columns / variance_c2[:, None])
        return vectors.T @ weighted - np.einsum("gra,grb->ab", sums, np.linalg.solve(mixed, sums))

    def explained(self, residual_c: FloatArray, variance_c2: FloatArray) -> FloatArray:
        """(n,) H b with the likeliest b for residuals (n,)."""
        sums = self._sums((residual_c / variance_c2)[:, None])
        mixed = np.eye(self.columns.shape[1]) + self._sums(self.columns / variance_c2[:, None])
        likeliest = np.linalg.solve(mixed, sums)[:, :, 0]
        return np.einsum("nr,nr->n", self.columns, likeliest[self.block])
