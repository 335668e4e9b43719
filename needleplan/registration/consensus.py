"""Which of many measurements agree: a robust start that up to half of them cannot spoil."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray

Model = TypeVar("Model")
Indices = NDArray[np.int64]

#: Spread below which measurements are called exact.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class ConsensusOptions:
    """How measurements that do not agree with the others are found.

    Attributes:
        subsets: number of small subsets that are fitted. With a third of the measurements wrong, a subset of four
            is free of them with the chance 0.2, so that 60 subsets miss one of them all with the chance 1e-6.
        level: chance by which a measurement without fault is taken out.
        most_taken_out: greatest share of the measurements that may be taken out, below one half.
        seed: of the subsets.
    """

    subsets: int = 100
    level: float = 1e-3
    most_taken_out: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.subsets <= 100_000 or self.seed < 0:
            raise OptionError("1 to 100 000 subsets and a seed from 0 up are needed")
        if not 0 < self.level < 0.5 or not 0 <= self.most_taken_out < 0.5:
            raise OptionError("level and greatest share of outliers must lie between 0 and one half")


def agreeing(
    count: int,
    size: int,
    fit: Callable[[Indices], Model],
    squares: Callable[[Model], FloatArray],
    components: int,
    options: ConsensusOptions,
    what: str,
) -> NDArray[np.bool_]:
    """(count,) True for the measurements that agree with most others.

    Least median of squares over seeded subsets, then a fit to all within a robust spread and a test of every
    measurement against the chi-square law (Rousseeuw and Leroy, Robust Regression and Outlier Detection, 1987,
    chapter 5), repeated until it changes nothing.

    Args:
        count: number of measurements.
        size: number of measurements of a subset; a few more than determine the model make it steadier.
        fit: model of the measurements with the given indices; raises GeometryError where they determine none.
        squares: (count,) squared residuals of all measurements, all of one unit.
        components: number of independent components that make up a squared residual.
        options: number of subsets, level and seed.
        what: name of a measurement, for messages.

    Raises:
        GeometryError: no subset determines a model, or too many measurements disagree.
    """
    from scipy.special import chdtri

    rng = np.random.default_rng(options.seed)
    # The median of squared residuals speaks for the variance by the chi-square law's own median.
    to_variance = 1.0 / float(chdtri(components, 0.5))
    limit = float(chdtri(components, options.level))
    best: tuple[float, FloatArray] | None = None
    reason = ""
    for _ in range(options.subsets):
        try:
            left = squares(fit(np.sort(rng.choice(count, min(size, count), replace=False))))
        except GeometryError as error:
            reason = str(error)
            continue
        median = float(np.median(left))
        if best is None or median < best[0]:
            best = (median, left)
    if best is None:
        raise GeometryError(reason)
    variance = max(best[0] * to_variance, _ROUNDING**2)
    # The subset's own fit is coarse, so that its residuals are judged more widely than those of the fits to come.
    kept = best[1] <= 2.0 * limit * variance
    for _ in range(20):
        if kept.sum() < (1.0 - options.most_taken_out) * count:
            raise GeometryError(
                f"only {int(kept.sum())} of {count} {what} agree with each other, and {options.most_taken_out:.0%} "
                "may be taken out: measure again"
            )
        left = squares(fit(np.flatnonzero(kept)))
        variance = max(float(np.median(left)) * to_variance, _ROUNDING**2)
        again = left <= limit * variance
        if np.array_equal(again, kept):
            break
        kept = again
    return np.asarray(kept)
