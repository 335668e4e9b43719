"""The solver runs that a monitor works with, made before the energy flows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.monitoring.emulator import FactorDesign
from needleplan.ablation.monitoring.priors import MonitorPriors
from needleplan.ablation.monitoring.sampling import displacements, footprint_values
from needleplan.ablation.monitoring.treatment import RecordedCourse, Treatment
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray

#: Temperatures above the body's from which cells count as heated.
_HEATED_C = 1.0
#: Lethality, both ways, of cells that lie about the rim of a zone: e-foldings of damage, or kelvins.
_RIM = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class RunReadings:
    """What the runs say at readings.

    Attributes:
        predicted_c: (n, k) temperatures, the mean over where the sensor may be.
        displaced_c: (n, 6, k) one standard deviation of what its displacement does, for the three axes to first and
            to second order; (n, 0, k) where it is where it is said to be.
        error_variance_c2: (n,) greatest square error of the emulator in the runs that check it.
    """

    predicted_c: FloatArray
    displaced_c: FloatArray
    error_variance_c2: FloatArray


class TreatmentRuns:
    """A treatment computed for factors all over their priors: a product of a few nodes, and two runs as a check.

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
        courses: list[RecordedCourse] = []
        for place in places:
            course = treatment.recorded(self.design.factors(place), longest_s)
            if courses and not np.array_equal(course.times_s, courses[0].times_s):
                raise PhysicsError("the runs of a monitor must last equally long whatever the factors are")
            courses.append(course)
        first, self.count = courses[0], len(self.design.points)
        self.grid, self.times_s, self.planned_s = first.grid, first.times_s, first.planned_s
        self.body_temperature_c = treatment.tissue.body_temperature_c
        self._temperature = np.stack([course.temperature_c for course in courses])
        self.level = np.stack([course.level for course in courses[: self.count]])
        self._end_level = np.stack([course.end_level for course in courses[: self.count]])
        # The cube root of a volume is close to linear in the logarithms of the factors.
        self._radius = np.cbrt([course.volume_ml for course in courses[: self.count]])
        checked = np.array([course.volume_ml for course in courses[self.count :]])
        apart = self.volumes_ml(self.design.checks) - checked
        #: Root mean square error of the emulated volumes in the runs that check them.
        self.volume_error_ml = float(np.sqrt(np.mean(apart**2)))
        ends = np.stack([course.end_level for course in courses[self.count :]])
        near = np.abs(ends) < _RIM
        #: Root mean square error of the emulated lethality about the rim of the zone, in the same runs.
        self.level_error = float(np.sqrt(np.mean((self.end_levels(self.design.checks) - ends)[near] ** 2)))

    def at(
        self, points_mm: FloatArray, footprint_mm: FloatArray, at_s: FloatArray, position_error_mm: float
    ) -> RunReadings:
        """What the runs say at points (n, 3), averaged over a footprint (f, 3), at times (n,).

        A displacement of standard deviation s along an axis adds s x T' + s^2 x^2 T'' / 2 with x standard normal:
        mean s^2 T'' / 2, and the uncorrelated deviations s T' and s^2 T'' / sqrt(2). Both derivatives are secants
        over s.
        """
        k = self.count
        said = footprint_values(self.grid, self.times_s, self._temperature, points_mm, footprint_mm, at_s)
        emulated = said[:, :k] @ self.design.weights(self.design.checks).T
        error = ((said[:, k:] - emulated) ** 2).max(axis=1)
        if position_error_mm == 0.0:
            return RunReadings(said[:, :k], np.empty((len(points_mm), 0, k)), error)
        displaced = displacements(
            self.grid, self.times_s, self._temperature[:k], points_mm, at_s, position_error_mm, said[:, :k]
        )
        mean = said[:, :k] + displaced[:, 3:].sum(axis=1)
        displaced[:, 3:] *= np.sqrt(2.0)
        return RunReadings(mean, displaced, error)

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

    @property
    def emulator_error_c(self) -> float:
        """Root mean square error of the emulated temperatures over the heated cells of the runs that check it."""
        weights = self.design.weights(self.design.checks).astype(np.float32)
        apart, heated = 0.0, 0
        for own, course in zip(weights, self._temperature[self.count :], strict=True):
            warm = course > self.body_temperature_c + _HEATED_C
            emulated = np.tensordot(own, self._temperature[: self.count], 1)
            apart += float(((emulated - course)[warm].astype(np.float64) ** 2).sum())
            heated += int(np.count_nonzero(warm))
        return float(np.sqrt(apart / max(heated, 1)))
