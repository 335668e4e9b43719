"""How a figure, or a yes or no, differs between two levels on the same cases: intervals, effect sizes, tests.

Nothing depends on the order of the cases, and a swap of the two levels negates every difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.uncertainty.binomial import clopper_pearson
from needleplan.uncertainty.rehearsal_statistics import Estimate
from needleplan.uncertainty.sample_statistics import all_equal, finite_sample, sample_mean, sample_median, share

#: Differing pairs up to which the test of signed ranks is exact.
_MOST_EXACT = 50
#: Differences below this share of the figures themselves come of rounding and count as none.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class PairedEffect:
    """How a figure differs between two levels on the same cases: first less second.

    Attributes:
        pairs: number of cases with both figures.
        mean: mean difference.
        method: how its interval was made.
        median: median difference; its interval is exact for any law (order statistics) and None below six pairs.
        standardised: mean over standard deviation of the differences, freed from its bias in small samples (g);
            its interval holds for normal differences. None below three pairs or where all differences are equal.
        rank_biserial: (sum of ranks of positive less those of negative differences) over their sum; -1 to 1.
        probability: of differences at least as uneven if the levels did not differ (Wilcoxon's signed ranks, two
            sides); 1 where no pair differs.
        larger: number of pairs in which the first is larger.
        smaller: number of pairs in which it is smaller.
    """

    pairs: int
    mean: Estimate
    method: str
    median: Estimate
    standardised: Estimate | None
    rank_biserial: float
    probability: float
    larger: int
    smaller: int


@dataclass(frozen=True, slots=True)
class OddsRatio:
    """Odds among the cases that differ, with their exact interval.

    Attributes:
        value: cases with yes in the first alone over those with yes in the second alone; None where infinite.
        low: lower end, always finite.
        high: upper end; None where infinite.
    """

    value: float | None
    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class PairedShares:
    """How the share of cases with a yes differs between two levels on the same cases: first less second.

    Attributes:
        cases: number of cases, each with yes or no in both.
        first: share in the first, with its exact interval (Clopper and Pearson).
        second: share in the second.
        only_first: cases with yes in the first alone.
        only_second: cases with yes in the second alone.
        difference: of the shares.
        odds_ratio: only_first over only_second, with its exact interval; None where no case differs.
        probability: of a split of the differing cases at least as uneven (exact test of McNemar, two sides).
    """

    cases: int
    first: Estimate
    second: Estimate
    only_first: int
    only_second: int
    difference: Estimate
    odds_ratio: OddsRatio | None
    probability: float


def paired_effect(first: ArrayLike, second: ArrayLike, seed: int = 0, confidence: float = 0.95) -> PairedEffect:
    """The paired difference of a figure, first less second.

    Args:
        first: (n,) figures of the cases at the first level.
        second: (n,) of the same cases at the second.
        seed: of the bootstrap.
        confidence: of every interval.

    Raises:
        OptionError: the two differ in length, or as of ``sample_mean``.
    """
    one, two = finite_sample(first, confidence), finite_sample(second, confidence)
    if len(one) != len(two):
        raise OptionError(f"paired figures must be equally many, not {len(one)} and {len(two)}")
    differences = np.sort(one - two)
    differences[np.abs(differences) <= _ROUNDING * max(np.abs(one).max(), np.abs(two).max())] = 0.0
    # One of the two orders is resampled and the other has its mirror image, so that a swap negates every figure.
    mirrored = tuple(differences) < tuple(-differences[::-1])
    oriented = np.sort(-differences) if mirrored else differences
    mean = sample_mean(oriented, seed, confidence)
    standardised = standardised_difference(oriented, confidence)
    return PairedEffect(
        len(differences),
        _negated(mean.estimate) if mirrored else mean.estimate,
        mean.method,
        sample_median(differences, confidence),
        _negated(standardised) if mirrored and standardised is not None else standardised,
        rank_biserial(differences),
        _signed_rank_probability(differences),
        int((differences > 0.0).sum()),
        int((differences < 0.0).sum()),
    )


def standardised_difference(differences: ArrayLike, confidence: float = 0.95) -> Estimate | None:
    """Mean over standard deviation of paired differences, times J(n - 1), with the interval of normal differences.

    J(m) = Γ(m/2) / (sqrt(m/2) Γ((m - 1)/2)) frees it from bias (Hedges, J Educ Stat 1981;6:107). mean sqrt(n) / sd
    follows Student's non-central law, whose non-centrality gives the ends (Goulet-Pelletier and Cousineau, Quant
    Methods Psychol 2018;14:242).

    Returns:
        None below three differences, where J does not exist, and where all are equal.

    Raises:
        OptionError: as of ``sample_mean``.
    """
    from scipy.special import gammaln, nctdtrinc

    data = np.sort(finite_sample(differences, confidence))
    free = len(data) - 1
    if free < 2 or all_equal(data):
        return None
    root = math.sqrt(len(data))
    ratio = float(data.mean() / data.std(ddof=1))
    correction = math.exp(gammaln(0.5 * free) - gammaln(0.5 * (free - 1))) / math.sqrt(0.5 * free)
    tail = 0.5 * (1.0 - confidence)
    # The inverse is sound for t >= 0 alone; the law is symmetric under a change of both signs.
    ends = [float(nctdtrinc(free, p, abs(ratio) * root)) / root for p in (1.0 - tail, tail)]
    if not all(math.isfinite(end) for end in ends):
        return Estimate(correction * ratio, None, None)
    found = Estimate(correction * abs(ratio), correction * ends[0], correction * ends[1])
    return found if ratio >= 0.0 else _negated(found)


def rank_biserial(differences: ArrayLike) -> float:
    """Matched-pairs rank-biserial correlation: (W+ - W-)/(W+ + W-) of the ranks of what is not zero.

    Kerby, Compr Psychol 2014;3:11.IT.3.1. It is 1 where every differing pair is positive, and 0 where none differs.
    """
    from scipy.stats import rankdata

    data = np.asarray(differences, dtype=np.float64)
    data = data[data != 0.0]
    if len(data) == 0:
        return 0.0
    ranks = rankdata(np.abs(data))
    return float((np.sign(data) * ranks).sum() / ranks.sum())


def paired_shares(first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95) -> PairedShares:
    """The paired difference of a yes or no, first less second.

    The interval of the difference is the adjusted Wald interval for paired data, with one case more for each of the
    two ways to differ (Bonett and Price, J Educ Behav Stat 2012;37:479), cut to -1 and 1; that of the odds ratio is
    p/(1 - p) at the ends of the exact interval of p = only_first over all that differ.

    Raises:
        OptionError: the two differ in length or are empty, or the confidence is impossible.
    """
    from scipy.stats import binomtest, norm

    one, two = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    count = len(one)
    if count != len(two) or count == 0:
        raise OptionError(f"paired answers must be equally many and at least one, not {count} and {len(two)}")
    only_first, only_second = int((one & ~two).sum()), int((two & ~one).sum())
    differing = only_first + only_second
    more, less = (only_first + 1.0) / (count + 2.0), (only_second + 1.0) / (count + 2.0)
    spread = math.sqrt((more + less - (more - less) ** 2) / (count + 2.0))
    half = float(norm.ppf(0.5 * (1.0 + confidence))) * spread
    difference = Estimate(
        (only_first - only_second) / count, max(-1.0, more - less - half), min(1.0, more - less + half)
    )
    return PairedShares(
        count,
        share(int(one.sum()), count, confidence),
        share(int(two.sum()), count, confidence),
        only_first,
        only_second,
        difference,
        _odds(only_first, differing, confidence) if differing else None,
        float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0,
    )


def holm(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Probabilities corrected for their number, in their order (Holm, Scand J Stat 1979;6:65).

    The k-th smallest of m is multiplied by m - k + 1, at least its predecessor and at most 1. Whoever calls
    real what lies below a level errs anywhere in a family at most as often as that level says.
    """
    corrected = [1.0] * len(probabilities)
    least = 0.0
    for place, index in enumerate(sorted(range(len(probabilities)), key=lambda k: probabilities[k])):
        least = max(least, min(1.0, (len(probabilities) - place) * probabilities[index]))
        corrected[index] = least
    return tuple(corrected)


def _odds(only_first: int, differing: int, confidence: float) -> OddsRatio:
    low, high = clopper_pearson(only_first, differing, confidence)
    only_second = differing - only_first
    # Where no case has yes in the second alone, the interval of the share ends at 1 and that of the odds nowhere.
    if only_second == 0:
        return OddsRatio(None, low / (1.0 - low), None)
    return OddsRatio(only_first / only_second, low / (1.0 - low), high / (1.0 - high))


def _signed_rank_probability(differences: FloatArray) -> float:
    """Two-sided probability of Wilcoxon's signed ranks; exact to 50 differing pairs, ties included.

    Of n ranks each is positive with probability 1/2, so the number of sign choices with each rank sum is a product
    of polynomials, in doubled ranks, which are whole numbers also where values tie.
    """
    from scipy.stats import rankdata, wilcoxon

    apart = differences[differences != 0.0]
    if len(apart) == 0:
        return 1.0
    if len(apart) > _MOST_EXACT:
        return float(wilcoxon(apart, zero_method="wilcox", method="asymptotic").pvalue)
    doubled = np.rint(2.0 * rankdata(np.abs(apart))).astype(np.int64)
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] += ways[:-rank].copy()
    found = int(doubled[apart > 0.0].sum())
    tail = min(ways[: found + 1].sum(), ways[found:].sum()) / 2.0 ** len(apart)
    return min(1.0, 2.0 * float(tail))


def _negated(estimate: Estimate) -> Estimate:
    low, high = estimate.high, estimate.low
    return Estimate(-estimate.value, None if low is None else -low, None if high is None else -high)
