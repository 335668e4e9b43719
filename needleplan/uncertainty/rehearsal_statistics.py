"""Statistics of many rehearsals: error distributions by strategy, and differences between strategies.

Needles of one run share the patient's tissue, breath and sensors, so they are not independent although the
placement error of each is drawn anew: every interval comes from a bootstrap over runs (Efron, Ann Stat 1979;7:1;
the percentiles of the estimates of resampled runs), or, for a share of runs, from Clopper and Pearson.

Errors are of the needles that were placed; forces, punctures and distances are of all that had been in the patient,
those given up and drawn out included.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.outcome import NeedleOutcome, RehearsalRun
from needleplan.uncertainty.binomial import CountedProbability, require_confidence

#: Resamples of each bootstrap.
RESAMPLES = 2000
#: Errors that are told, and how a needle's outcome gives them; the depth error keeps its sign.
ERRORS: Mapping[str, Callable[[NeedleOutcome], float]] = {
    "tip_error_mm": lambda needle: needle.tip_error_mm,
    "lateral_error_mm": lambda needle: needle.lateral_error_mm,
    "depth_error_mm": lambda needle: needle.depth_error_mm,
    "angle_error_deg": lambda needle: needle.angle_error_deg,
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the ends of its confidence interval; without them where one run alone gives no spread."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """How one error is distributed over the needles of all runs.

    Attributes:
        mean: its mean.
        sd: standard deviation about the mean, over the number of needles less one; None for a single needle.
        median: the least value that half of the needles do not exceed.
        percentile_95: the least value that 95 % of the needles do not exceed.
    """

    mean: Estimate
    sd: Estimate | None
    median: Estimate
    percentile_95: Estimate


@dataclass(frozen=True, slots=True)
class StrategyStatistics:
    """What the runs of one strategy come to.

    Attributes:
        strategy: its name.
        runs: number of runs.
        needles: number of insertions that were carried out.
        not_carried_out: number of those that were not, over all runs.
        withdrawn: number of those among them whose needle had been in the patient.
        errors: of the insertions that were carried out, by the names of ``ERRORS``; empty where there is none.
        covered: share of runs whose executed insertions cover the target.
        margin_reached: share of runs whose least margin reaches the one that was asked for.
        least_margin_mm: least signed margin of a run; None where no run has a score.
        duration_s: mean simulated time of a run.
        breaths: mean number of breaths of a run.
        peak_force_n: greatest force along any needle of any run; None where none entered the patient.
        peak_tip_force_n: the same of the force on its tip.
        punctured: number of runs in which a needle passed each structure's surface, by name, most often first.
        nearest_mm: least distance of any needle of any run from each structure, by name.
    """

    strategy: str
    runs: int
    needles: int
    not_carried_out: int
    withdrawn: int
    errors: dict[str, Distribution]
    covered: CountedProbability
    margin_reached: CountedProbability
    least_margin_mm: Distribution | None
    duration_s: Estimate
    breaths: Estimate
    peak_force_n: float | None
    peak_tip_force_n: float | None
    punctured: dict[str, int]
    nearest_mm: dict[str, float]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much the tip errors of two strategies differ on the same needles of the same runs.

    Attributes:
        strategy: one of the two.
        other: the other.
        pairs: number of needles that both carried out.
        runs: number of runs that hold them.
        tip_error_mm: mean of the first's tip error less the other's; below zero the first is better.
    """

    strategy: str
    other: str
    pairs: int
    runs: int
    tip_error_mm: Estimate


class _Resampling:
    """How often each of n runs is drawn in each resample: (RESAMPLES, n), the same for every figure."""

    def __init__(self, runs: int, seed: int, confidence: float) -> None:
        draws = np.random.default_rng(seed).integers(0, runs, (RESAMPLES, runs))
        self.counts = np.zeros((RESAMPLES, runs))
        np.add.at(self.counts, (np.repeat(np.arange(RESAMPLES), runs), draws.ravel()), 1.0)
        self.tails = (0.5 * (1.0 - confidence), 0.5 * (1.0 + confidence))

    def estimate(self, values: FloatArray, run_of: NDArray[np.intp], figure: "_Figure") -> Estimate:
        """A figure of values (k,) that belong to runs, with its interval over resampled runs."""
        value = float(figure(values, np.ones((1, len(values))))[0])
        if self.counts.shape[1] < 2:
            return Estimate(value, None, None)
        found = figure(values, self.counts[:, run_of])
        low, high = np.quantile(found[np.isfinite(found)], self.tails)
        return Estimate(value, float(low), float(high))

    def distribution(self, values: FloatArray, run_of: NDArray[np.intp]) -> Distribution:
        return Distribution(
            self.estimate(values, run_of, _mean),
            None if len(values) < 2 else self.estimate(values, run_of, _sd),
            self.estimate(values, run_of, _quantile(0.5)),
            self.estimate(values, run_of, _quantile(0.95)),
        )


#: A figure of values (k,), each counted as often as weights (m, k) say: (m,), NaN where it does not exist.
_Figure = Callable[[FloatArray, FloatArray], FloatArray]


def _mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    count = weights.sum(axis=1)
    return np.asarray(np.divide(weights @ values, count, out=np.full(len(weights), np.nan), where=count > 0))


def _sd(values: FloatArray, weights: FloatArray) -> FloatArray:
    count = weights.sum(axis=1)
    centred = values - values.mean()
    squares = weights @ centred**2 - np.divide(
        (weights @ centred) ** 2, count, out=np.zeros(len(weights)), where=count > 0
    )
    variance = np.divide(squares, count - 1.0, out=np.full(len(weights), np.nan), where=count > 1)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _quantile(share: float) -> _Figure:
    def figure(values: FloatArray, weights: FloatArray) -> FloatArray:
        order = np.argsort(values, kind="stable")
        reached = np.cumsum(weights[:, order], axis=1)
        total = reached[:, -1]
        # Whole numbers: a hair below the wanted count keeps rounding from skipping a value.
        place = (reached < (share * total - 1e-9)[:, None]).sum(axis=1)
        return np.where(total > 0, values[order][np.minimum(place, len(values) - 1)], np.nan)

    return figure


def strategy_statistics(
    runs: Sequence[RehearsalRun], margin_mm: float, seed: int = 0, confidence: float = 0.95
) -> StrategyStatistics:
    """Statistics of the runs of one strategy.

    Args:
        runs: of one strategy, at least one.
        margin_mm: margin that was asked for about the target.
        seed: of the bootstrap.
        confidence: of every interval.

    Raises:
        OptionError: there is no run, they are of several strategies, or the confidence is impossible.
    """
    require_confidence(confidence)
    if not runs or len({run.strategy for run in runs}) > 1:
        raise OptionError("statistics need the runs of one strategy, at least one")
    resampling = _Resampling(len(runs), seed, confidence)
    each = np.arange(len(runs))
    needles = [needle for run in runs for needle in run.needles]
    run_of = np.repeat(each, [len(run.needles) for run in runs])
    errors = {
        name: resampling.distribution(np.array([error(needle) for needle in needles]), run_of)
        for name, error in ERRORS.items()
        if needles
    }
    scored = [(k, run.metrics) for k, run in enumerate(runs) if run.metrics is not None]
    margins = np.array([metrics.minimal_margin_mm for _, metrics in scored])
    covered = sum(run.covers for run in runs)
    reached = int((margins >= margin_mm).sum())
    punctured: dict[str, int] = {}
    nearest: dict[str, float] = {}
    for run in runs:
        for name in {name for needle in run.entered for name in needle.punctured}:
            punctured[name] = punctured.get(name, 0) + 1
        for needle in run.entered:
            for name, distance in needle.closest_mm.items():
                nearest[name] = min(nearest.get(name, np.inf), distance)
    return StrategyStatistics(
        strategy=runs[0].strategy,
        runs=len(runs),
        needles=len(needles),
        not_carried_out=sum(len(run.not_reached) for run in runs),
        withdrawn=sum(len(run.withdrawn) for run in runs),
        errors=errors,
        covered=CountedProbability(covered, covered, len(runs), confidence),
        margin_reached=CountedProbability(reached, reached, len(runs), confidence),
        least_margin_mm=resampling.distribution(margins, np.array([k for k, _ in scored])) if scored else None,
        duration_s=resampling.estimate(np.array([run.duration_s for run in runs]), each, _mean),
        breaths=resampling.estimate(np.array([run.breaths for run in runs]), each, _mean),
        peak_force_n=max((needle.peak_force_n for run in runs for needle in run.entered), default=None),
        peak_tip_force_n=max((needle.peak_tip_force_n for run in runs for needle in run.entered), default=None),
        punctured=dict(sorted(punctured.items(), key=lambda item: (-item[1], item[0]))),
        nearest_mm=dict(sorted(nearest.items(), key=lambda item: (item[1], item[0]))),
    )


def paired_difference(
    runs: Sequence[RehearsalRun], others: Sequence[RehearsalRun], seed: int = 0, confidence: float = 0.95
) -> PairedDifference | None:
    """The difference of two strategies' tip errors on the same needles of the same runs.

    Args:
        runs: those of one strategy, at least one.
        others: those of the other, at least one.
        seed: of the bootstrap.
        confidence: of the interval.

    Returns:
        None where no needle was carried out by both.

    Raises:
        OptionError: runs of one number have different seeds, so they are no pairs.
    """
    require_confidence(confidence)
    by_number = {run.run: run for run in others}
    differences: list[float] = []
    run_of: list[int] = []
    paired = 0
    for run in runs:
        other = by_number.get(run.run)
        if other is None:
            continue
        if other.seed != run.seed:
            raise OptionError(f"run {run.run} has the seeds {run.seed} and {other.seed}: only equal ones are pairs")
        theirs = {needle.planned.order: needle.tip_error_mm for needle in other.needles}
        both = [n.tip_error_mm - theirs[n.planned.order] for n in run.needles if n.planned.order in theirs]
        if both:
            differences += both
            run_of += [paired] * len(both)
            paired += 1
    if not differences:
        return None
    found = _Resampling(paired, seed, confidence).estimate(np.array(differences), np.array(run_of), _mean)
    return PairedDifference(runs[0].strategy, others[0].strategy, len(differences), paired, found)
