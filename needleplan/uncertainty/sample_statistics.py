"""Means, medians and shares of independent values, with their intervals.

A case stands once in every sample, so cases are resampled one by one; statistics of rehearsals, whose needles
belong to runs, stand in ``rehearsal_statistics``. Nothing here depends on the order of the values.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.uncertainty.binomial import clopper_pearson, require_confidence
from needleplan.uncertainty.rehearsal_statistics import RESAMPLES, Estimate

#: Fewest values from which an interval of a mean is made: of fewer, resamples reach no farther than the values, and
#: the truth lies beyond all of n values on one side with a probability of 2 / 2^n and more.
LEAST_VALUES = 6
#: Beyond this number of values the correction of bias and acceleration changes nothing that is shown, and its
#: jackknife costs their square.
MOST_CORRECTED = 1000
#: Numbers of one batch of resamples: bounds the memory.
_BATCH_NUMBERS = 4_000_000


@dataclass(frozen=True, slots=True)
class SampleMean:
    """A mean with its interval.

    Attributes:
        estimate: mean and interval; without interval where there are fewer than six values, or all are equal.
        count: number of values.
        method: how the interval was made: BCa, percentile, or why there is none.
    """

    estimate: Estimate
    count: int
    method: str


def sample_mean(values: ArrayLike, seed: int = 0, confidence: float = 0.95) -> SampleMean:
    """The mean of independent values with a bootstrap interval.

    The interval is bias-corrected and accelerated (Efron, JASA 1987;82:171; ``scipy.stats.bootstrap``). Its level
    is widened as Student's law is for few values, because a resample of n values varies less than n values do
    by the factor (n - 1)/n (Hesterberg, Am Stat 2015;69:371).

    Args:
        values: (n,) finite, at least one.
        seed: of the resamples.
        confidence: of the interval.

    Raises:
        OptionError: there is no value, one is not finite, or the confidence is impossible.
    """
    # Sorted, so that nothing depends on the order of the cases.
    data = np.sort(finite_sample(values, confidence))
    mean, count = float(data.mean()), len(data)
    if all_equal(data):
        return SampleMean(Estimate(mean, None, None), count, "none: all values are equal")
    if count < LEAST_VALUES:
        return SampleMean(Estimate(mean, None, None), count, f"none: fewer than {LEAST_VALUES} values")
    from scipy import stats

    reach = math.sqrt(count / (count - 1)) * stats.t.ppf(0.5 * (1.0 + confidence), count - 1)
    level = 1.0 - 2.0 * float(stats.norm.sf(reach))
    for method in ("BCa", "percentile") if count <= MOST_CORRECTED else ("percentile",):
        with np.errstate(invalid="ignore", divide="ignore"):
            found = stats.bootstrap(
                (data,), np.mean, n_resamples=RESAMPLES, batch=max(1, _BATCH_NUMBERS // count), vectorized=True,
                confidence_level=level, method=method, rng=np.random.default_rng(seed),
            ).confidence_interval  # fmt: skip
        low, high = float(found.low), float(found.high)
        if math.isfinite(low) and math.isfinite(high):
            return SampleMean(Estimate(mean, low, high), count, f"{method} bootstrap")
    return SampleMean(Estimate(mean, None, None), count, "none: the bootstrap is degenerate")


def sample_median(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """The median with the interval between two order statistics, which holds for any law (``quantile_test``).

    Raises:
        OptionError: as of ``sample_mean``.
    """
    from scipy import stats

    data = finite_sample(values, confidence)
    median = float(np.median(data))
    found = stats.quantile_test(data, q=median, p=0.5).confidence_interval(confidence)
    if not (np.isfinite(found.low) and np.isfinite(found.high)):
        return Estimate(median, None, None)
    return Estimate(median, float(found.low), float(found.high))


def share(yes: int, count: int, confidence: float = 0.95) -> Estimate:
    """A share of independent cases with its exact interval (Clopper and Pearson).

    Raises:
        OptionError: the counts are not 0 <= yes <= count with at least one, or the confidence is impossible.
    """
    require_confidence(confidence)
    if not 0 <= yes <= count or count < 1:
        raise OptionError(f"a share needs 0 <= yes <= count and at least one case, not {yes} of {count}")
    return Estimate(yes / count, *clopper_pearson(yes, count, confidence))


def all_equal(values: FloatArray) -> bool:
    """Whether values are the same but for rounding."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def finite_sample(values: ArrayLike, confidence: float) -> FloatArray:
    """(n,) the values, checked.

    Raises:
        OptionError: there is none, one is not finite, they are in several rows, or the confidence is impossible.
    """
    require_confidence(confidence)
    data: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or len(data) == 0 or not np.isfinite(data).all():
        raise OptionError("statistics need finite numbers, at least one, in one row")
    return data
