"""Monitoring an ablation: readings in, perfusion, efficiency, the end zone and the time still needed out."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.monitoring.assimilation import ReadingTable, SharedErrors
from needleplan.ablation.monitoring.emulator import REACH
from needleplan.ablation.monitoring.posterior import Posterior, posterior, weighted_quantiles
from needleplan.ablation.monitoring.readings import TemperatureReadings
from needleplan.ablation.monitoring.runs import TreatmentRuns
from needleplan.ablation.monitoring.sampling import inside_domain
from needleplan.ablation.monitoring.screening import screened
from needleplan.ablation.monitoring.state import Estimate, MonitorOptions, MonitorState
from needleplan.ablation.monitoring.target_points import target_levels, target_points, times_of_death_s
from needleplan.ablation.spread import ZoneSpread
from needleplan.ablation.tissue_map import Solid
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.plan import Evidence

#: Zones drawn from the posterior for its bounds and for the time still needed.
_SAMPLES, _GOLDEN = 200, 0.6180339887498949
#: Least variance that the emulator adds to a reading, kelvin squared.
_LEAST_VARIANCE_C2 = 1e-4
#: Chance in the outermost tenth of the runs' reach, on one side, at which the prior is called into question.
_AT_THE_EDGE, _EDGE_SHARE = 0.05, 0.1
#: Residuals over their standard deviation (root mean square) from which the model misses the readings.
_MISFIT = 1.5


class AblationMonitor:
    """Follows one treatment. The runs are made before; an update takes a second or less.

    Args:
        runs: of the treatment as it is planned; one set of runs serves any number of monitors.
        target: solid or points (n, 3) that must die, for the time still needed; None for none.
        margin_mm: about the target.
        options: how readings are judged.

    Raises:
        PhysicsError: the target is empty or leaves the domain of the runs.
    """

    def __init__(
        self,
        runs: TreatmentRuns,
        *,
        target: Solid | ArrayLike | None = None,
        margin_mm: float = 5.0,
        options: MonitorOptions | None = None,
    ) -> None:
        self.runs = runs
        self.options = options or MonitorOptions()
        self._target: NDArray[np.float32] | None = None
        if target is not None:
            points = target_points(target, margin_mm, runs.grid)
            self._target = target_levels(points, runs.grid, runs.treatment.tissue, runs.level, runs.held)
        self._kept: list[TemperatureReadings] = []
        self._tables: list[ReadingTable] = []
        self._notes: list[Evidence] = []
        self._now_s = 0.0

    @property
    def now_s(self) -> float:
        """Time of the last update."""
        return self._now_s

    def update(self, *readings: TemperatureReadings, now_s: float | None = None) -> MonitorState:
        """Takes readings in.

        Args:
            readings: of one sensor or several; all that were taken in before still count.
            now_s: time since the energy began to flow; None for that of the latest reading.

        Raises:
            PhysicsError: no reading, one in the future, one before what the same sensor read already, one outside
                the domain or after the end of the runs. Nothing of the update is taken in then.
        """
        if not readings:
            raise PhysicsError("an update needs the readings of at least one sensor")
        now = max(float(one.times_s[-1]) for one in readings) if now_s is None else float(now_s)
        if not np.isfinite(now) or now < self._now_s:
            raise PhysicsError(f"the time must not run back: it was {self._now_s:g} s and is said to be {now:g} s")
        self._check_order(readings, now)
        names = self._names(readings)
        notes: list[Evidence] = []
        tables = [self._table(one, names.index(one.sensor), notes) for one in readings]
        self._kept.extend(readings)
        self._tables.extend(tables)
        self._notes.extend(notes)
        self._now_s = now
        return self.state()

    def state(self) -> MonitorState:
        """What is known now; before the first update, what the priors say."""
        table = _joined(self._tables, self.runs.count)
        kept, evidence = screened(
            table, self._fit, self._shared, self.runs.design, self.runs.body_temperature_c, self._names(())
        )
        found = self._fit(kept)
        evidence = [*self._notes, *evidence]
        tail = 0.5 * (1.0 - self.options.probability)
        shares = np.array([0.5, tail, 1.0 - tail])

        def estimate(values: FloatArray, probability: FloatArray, unit: str) -> Estimate:
            central, low, high = weighted_quantiles(values, probability, shares)
            return Estimate(float(central), float(low), float(high), unit)

        priors = self.runs.priors
        factors = {
            name: estimate(prior.median * np.exp(prior.log_sd * found.places[:, axis]), found.probability, "1")
            for axis, (name, prior) in enumerate(zip(priors.names, priors.free, strict=True))
        }
        misfit = self._misfit(found, kept)
        evidence += self._doubts(found, misfit)
        places = found.spread_places(_SAMPLES)
        # Each zone is moved by a draw of the error of emulator and grid, spread evenly over the places by the
        # golden section.
        draws = np.array([NormalDist().inv_cdf((0.5 + n * _GOLDEN) % 1.0) for n in range(_SAMPLES)])
        off = self.runs.level_error * draws
        level = self.runs.end_levels(places) + off[:, None].astype(np.float32)
        zones = ZoneSpread(self.runs.grid, level, self.runs.volumes_ml(places))
        needed, chance = None, None
        if self._target is not None:
            at = times_of_death_s(self._target, self.runs.times_s, self.runs.design.weights(places), off)
            needed = estimate(np.maximum(at - self._now_s, 0.0), np.full(len(at), 1.0 / len(at)), "s")
            chance = float(np.mean(at <= self.runs.planned_s + 1e-9))
            evidence += self._never(at)
        return MonitorState(
            self._now_s,
            self.options.probability,
            factors,
            zones,
            widened(
                estimate(self.runs.volumes_ml(found.places), found.probability, "ml"),
                NormalDist().inv_cdf(1.0 - tail) * self.runs.volume_error_ml,
            ),
            needed,
            chance,
            len(kept.value_c),
            misfit,
            self.runs.emulator_error_c,
            tuple(evidence),
        )

    # ------------------------------------------------------------------ readings

    def _names(self, readings: Sequence[TemperatureReadings]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.sensor for one in (*self._kept, *readings)))

    def _check_order(self, readings: Sequence[TemperatureReadings], now_s: float) -> None:
        last = {one.sensor: float(one.times_s[-1]) for one in self._kept}
        for one in readings:
            begin, end = float(one.times_s[0]), float(one.times_s[-1])
            if end > now_s + 1e-9:
                raise PhysicsError(f"{one.sensor!r} has a reading of {end:g} s, in the future at {now_s:g} s")
            if begin < last.get(one.sensor, -1.0):
                raise PhysicsError(
                    f"the readings of {one.sensor!r} are out of order: {begin:g} s comes before the last reading "
                    f"of {last[one.sensor]:g} s"
                )
            if end > self.runs.times_s[-1] + 1e-9:
                raise PhysicsError(
                    f"{one.sensor!r} has a reading of {end:g} s, but the runs end at {self.runs.times_s[-1]:g} s: "
                    "enlarge longest_s"
                )
            last[one.sensor] = end

    def _table(self, readings: TemperatureReadings, sensor: int, notes: list[Evidence]) -> ReadingTable:
        inside = inside_domain(self.runs.grid, readings)
        if not inside.all():
            if len(readings.footprint_mm) == 1 or not inside.any():
                raise PhysicsError(
                    f"{readings.sensor!r} lies outside the domain of the runs: correct its place, or enlarge "
                    "reach_mm"
                )
            note = Evidence(readings.sensor, f"{np.count_nonzero(~inside)} voxels lie outside the domain")
            if note not in (*self._notes, *notes):
                notes.append(note)
        points, n = readings.points_mm[inside], int(np.count_nonzero(inside))
        said = self.runs.at(
            points,
            readings.footprint_mm,
            readings.times_s[inside],
            readings.position_error_mm,
        )
        cube = np.floor(points / self.options.correlation_mm).astype(np.int64) & 0x3FFF
        # One number for each sensor and cube; a domain has far fewer than 2^14 cubes along an axis.
        block = (np.int64(sensor) << 42) | (cube[:, 0] << 28) | (cube[:, 1] << 14) | cube[:, 2]
        return ReadingTable(
            readings.temperature_c[inside],
            readings.times_s[inside],
            said.predicted_c,
            said.shared_c,
            readings.noise_c[inside] ** 2 + np.maximum(said.error_variance_c2, _LEAST_VARIANCE_C2),
            np.full(n, sensor, dtype=np.int64),
            block,
        )

    # ------------------------------------------------------------------ what they say

    def _shared(self, table: ReadingTable, place: FloatArray) -> SharedErrors:
        weights = self.runs.design.weights(place[None])[0]
        return SharedErrors.at(
            table,
            weights,
            self.runs.body_temperature_c,
            self.options.model_error,
            self.options.model_drift_c,
            self.options.drift_s,
        )

    def _fit(self, table: ReadingTable) -> Posterior:
        place = np.zeros(len(self.runs.design.nodes))
        # The shared errors grow with the temperatures: first those of the prior, then those that were found.
        for _ in range(2):
            found = posterior(self.runs.design, table, self._shared(table, place))
            place = found.mean
        return found

    def _misfit(self, found: Posterior, table: ReadingTable) -> float:
        if not len(table.value_c):
            return 1.0
        weights = self.runs.design.weights(found.mean[None])[0]
        residual = (table.value_c - table.predicted_c @ weights)[:, None]
        products = self._shared(table, found.mean).products(residual, table.variance_c2)
        return float(np.sqrt(products[0, 0] / len(residual)))

    def _doubts(self, found: Posterior, misfit: float) -> list[Evidence]:
        """What speaks against the model as a whole."""
        doubts = []
        if misfit > _MISFIT:
            doubts.append(
                Evidence(
                    "model",
                    f"misses the readings by {misfit:.1f} times what their noise and its own error allow",
                    "state the noise anew, or doubt the tissue map, the source and the place of the needle",
                )
            )
        if not self._kept:
            return doubts
        edge = REACH * (1.0 - 2.0 * _EDGE_SHARE)
        for axis, (name, prior) in enumerate(zip(self.runs.priors.names, self.runs.priors.free, strict=True)):
            for sign, words in ((1.0, "above"), (-1.0, "below")):
                if float(found.probability[sign * found.places[:, axis] > edge].sum()) > _AT_THE_EDGE:
                    doubts.append(
                        Evidence(
                            name,
                            f"the readings ask for a factor far {words} the prior's median of {prior.median:.2g}",
                            "doubt the tissue map and the sensors, or state a wider prior",
                        )
                    )
        return doubts

    def _never(self, at_s: FloatArray) -> list[Evidence]:
        never = float(np.mean(~np.isfinite(at_s)))
        if never < 0.5 * (1.0 - self.options.probability):
            return []
        return [
            Evidence(
                "time still needed",
                f"target and margin are not lethal by {self.runs.times_s[-1]:g} s in {100.0 * never:.0f} % of what "
                "the readings allow",
                "plan more power, another position or a longer time (longest_s)",
            )
        ]


def widened(estimate: Estimate, half_width: float) -> Estimate:
    """An interval of a quantity that is not negative with an independent one about zero folded in."""
    below = np.hypot(estimate.central - estimate.low, half_width)
    above = np.hypot(estimate.high - estimate.central, half_width)
    return replace(estimate, low=max(float(estimate.central - below), 0.0), high=float(estimate.central + above))


def _joined(tables: Sequence[ReadingTable], runs: int) -> ReadingTable:
    if not tables:
        nothing, whole = np.empty(0), np.empty(0, dtype=np.int64)
        return ReadingTable(nothing, nothing, np.empty((0, runs)), np.empty((0, 0, runs)), nothing, whole, whole)
    widest = max(table.shared_c.shape[1] for table in tables)
    shared = [np.pad(table.shared_c, ((0, 0), (0, widest - table.shared_c.shape[1]), (0, 0))) for table in tables]

    def together(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(table, name) for table in tables])

    return ReadingTable(
        together("value_c"),
        together("time_s"),
        together("predicted_c"),
        np.concatenate(shared),
        together("variance_c2"),
        together("sensor"),
        together("block"),
    )
