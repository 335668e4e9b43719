"""The solver runs that a monitor works with, made before the energy flows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.monitoring.emulator import FactorDesign
from needleplan.ablation.monitoring.priors import MonitorPriors
from needleplan.ablation.monitoring.sampling import FieldSampler, displacements, footprint_values
from needleplan.ablation.monitoring.treatment import RecordedCourse, Treatment
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray

#: Temperatures above the body's from which cells count as heated.
_HEATED_C = 1.0
#: Lethality, both ways, of cells that lie about the rim of a zone: e-foldings of damage, or kelvins.
_RIM = 2.0
#: Spacing of the checking runs over that of the others. With errors of second order the difference of both, times
#: 1 / (1 - ratio^2), is what the coarser grid is off from the limit of fine grids (Richardson).
_FINER = 2.0 / 3.0
_TO_THE_LIMIT = 1.0 / (1.0 - _FINER**2)


@dataclass(frozen=True, slots=True, eq=False)
class RunReadings:
    """What the runs say at readings.

    Attributes:
        predicted_c: (n, k) temperatures, the mean over where the sensor may be.
        shared_c: (n, r, k) one standard deviation each of the errors that a sensor's readings share: what its
            displacement does along the three axes, to first and to second order (none of these six where it is
            where it is said to be), and what emulator and grid are off in the two checking runs.
        error_variance_c2: (n,) greatest square error of emulator and grid in the runs that check them.
    """

    predicted_c: FloatArray
    shared_c: FloatArray
    error_variance_c2: FloatArray


class TreatmentRuns:
    """A treatment computed for factors all over their priors: a product of a few nodes, and two runs as a check.

    The checking runs have a grid that is finer by a third, so that they show the error of grid and weighted sum.

    Keeps the temperatures of all runs: cells times moments times runs times 4 bytes, for 30 000 cells (2.5 mm), 60
    moments and 14 runs 100 MB.

    Args:
        treatment: what is planned, and the model of it.
        priors: of the factors; None for those of the background tissue.
        counts: runs along perfusion, efficiency and conductivity; their product is what is run.
        longest_s: time up to which the course is computed, so that a time still needed beyond the plan can be told;
            None for the planned end. A longer one more than doubles the cost.

    Raises:
        PhysicsError: a prior or a count is impossible, or see ZoneModel.predict.
        DeviceError: an efficiency is to be found of a generator that chooses its power, or see ZoneModel.predict.
    """

    def __init__(
        self,
        treatment: Treatment,
        priors: MonitorPriors | None = None,
        *,
        counts: tuple[int, int, int] = (5, 4, 2),
        longest_s: float | None = None,
    ) -> None:
        self.treatment = treatment
        self.priors = priors or MonitorPriors.of(treatment.tissue.background, efficiency=not treatment.controlled)
        self.design = FactorDesign(self.priors, counts)
        places = np.concatenate([self.design.points, self.design.checks])
        finer = treatment.on_spacing(_FINER * treatment.options.spacing_mm)
        courses: list[RecordedCourse] = []
        self.count = len(self.design.points)
        for n, place in enumerate(places):
            own = treatment if n < self.count else finer
            course = own.recorded(self.design.factors(place), longest_s)
            if courses and not np.array_equal(course.times_s, courses[0].times_s):
                raise PhysicsError("the runs of a monitor must last equally long whatever the factors are")
            courses.append(course)
        first, self._checks = courses[0], courses[self.count :]
        self.grid, self.times_s, self.planned_s = first.grid, first.times_s, first.planned_s
        self.body_temperature_c = treatment.tissue.body_temperature_c
        self._temperature = np.stack([course.temperature_c for course in courses[: self.count]])
        self.level = np.stack([course.level for course in courses[: self.count]])
        self._end_level = np.stack([course.end_level for course in courses[: self.count]])
        # The cube root of a volume is close to linear in the logarithms of the factors.
        self._radius = np.cbrt([course.volume_ml for course in courses[: self.count]])
        apart = self.volumes_ml(self.design.checks) - np.array([course.volume_ml for course in self._checks])
        #: Root mean square error of the volumes, of grid and weighted sum.
        self.volume_error_ml = _TO_THE_LIMIT * float(np.sqrt(np.mean(apart**2)))
        #: Likewise of the lethality about the rim of the zone, and of the temperatures there at all times.
        self.level_error, self.emulator_error_c = self._field_errors()

    def at(
        self, points_mm: FloatArray, footprint_mm: FloatArray, at_s: FloatArray, position_error_mm: float
    ) -> RunReadings:
        """What the runs say at points (n, 3), averaged over a footprint (f, 3), at times (n,).

        A displacement of standard deviation s along an axis adds s x T' + s^2 x^2 T'' / 2 with x standard normal:
        mean s^2 T'' / 2, and the uncorrelated deviations s T' and s^2 T'' / sqrt(2). Both derivatives are secants
        over s.
        """
        said = footprint_values(self.grid, self.times_s, self._temperature, points_mm, footprint_mm, at_s)
        finer = np.column_stack(
            [
                footprint_values(
                    course.grid, self.times_s, course.temperature_c[None], points_mm, footprint_mm, at_s
                )
                for course in self._checks
            ]
        )
        error = said @ self.design.weights(self.design.checks).T - finer
        # The weights of the runs sum to 1, so that an error that all runs share is one column for each of them.
        shared = np.repeat(_TO_THE_LIMIT * error[:, :, None], self.count, axis=2)
        variance = (error**2).max(axis=1)
        if position_error_mm == 0.0:
            return RunReadings(said, shared, variance)
        displaced = displacements(
            self.grid, self.times_s, self._temperature, points_mm, at_s, position_error_mm, said
        )
        mean = said + displaced[:, 3:].sum(axis=1)
        displaced[:, 3:] *= np.sqrt(2.0)
        return RunReadings(mean, np.concatenate([displaced, shared], axis=1), variance)

    def volumes_ml(self, places: ArrayLike) -> FloatArray:
        """(m,) volume of the zone at the planned end, cool-down included, at places (m, d)."""
        return np.maximum(self.design.weights(places) @ self._radius, 0.0) ** 3

    def end_levels(self, places: ArrayLike) -> NDArray[np.float32]:
        """(m, cells) lethality at the planned end, cool-down included, at places (m, d)."""
        return self.design.weights(places).astype(np.float32) @ self._end_level

    @property
    def held(self) -> NDArray[np.bool_]:
        """Cells of cooled needles and of vessels, in the grid's shape: no tissue."""
        treatment = self.treatment
        ends = self._temperature[:, -1]
        # A cooled needle has the same temperature in all runs, and not the body's.
        needle = (np.ptp(ends, axis=0) == 0) & (np.abs(ends[0] - self.body_temperature_c) > _HEATED_C)
        vessels = treatment.tissue.vessel_voxels(self.grid, treatment.options.least_vessel_diameter_mm)
        return needle.reshape(self.grid.shape) | vessels

    def _field_errors(self) -> tuple[float, float]:
        """Root mean square errors of lethality and of temperatures about the rim of the zone, away from needles."""
        from scipy.ndimage import binary_dilation

        # Beside what is held at a temperature, values between two grids' centres mean nothing.
        tissue = ~binary_dilation(self.held, np.ones((3, 3, 3)))
        centres = self.grid.centres_mm()
        sums, cells = np.zeros(2), np.zeros(2)
        for place, course in zip(self.design.checks, self._checks, strict=True):
            index = course.grid.to_index(centres)
            inside = ((index >= 0) & (index <= np.asarray(course.grid.shape) - 1)).all(axis=1) & tissue.ravel()
            sampler = FieldSampler(course.grid, centres[inside])
            weights = self.design.weights(place[None])[0].astype(np.float32)
            level = sampler.matrix @ course.end_level
            warmth = sampler.smooth(course.temperature_c.T).T
            near = np.abs(level) < _RIM
            warm = near & (warmth > self.body_temperature_c + _HEATED_C)
            emulated = np.tensordot(weights, self._temperature[:, :, inside], 1)
            sums += (
                float(((weights @ self._end_level[:, inside] - level)[near].astype(np.float64) ** 2).sum()),
                float(((emulated - warmth)[warm].astype(np.float64) ** 2).sum()),
            )
            cells += np.count_nonzero(near), np.count_nonzero(warm)
        level_error, emulator_error_c = _TO_THE_LIMIT * np.sqrt(sums / np.maximum(cells, 1))
        return float(level_error), float(emulator_error_c)
