"""Posterior of the factors: exact on a lattice that closes in on its mass."""

from dataclasses import dataclass

import numpy as np

from needleplan.ablation.monitoring.assimilation import ReadingTable, SharedErrors
from needleplan.ablation.monitoring.emulator import REACH, FactorDesign
from needleplan.frames import FloatArray

#: Points of the lattice along each factor, by the number of factors.
_LATTICE = {1: 201, 2: 41, 3: 21}
#: Logarithm of the posterior, below its greatest, at which the lattice is cut.
_CUT = 14.0
#: Times that the lattice closes in.
_REFINEMENTS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Weighted places.

    Attributes:
        places: (m, d) in standard deviations of the prior.
        probability: (m,) summing to 1.
    """

    places: FloatArray
    probability: FloatArray

    @property
    def mean(self) -> FloatArray:
        """(d,) mean place."""
        return self.probability @ self.places

    @property
    def covariance(self) -> FloatArray:
        """(d, d) covariance of the place."""
        apart = self.places - self.mean
        return (apart * self.probability[:, None]).T @ apart

    def spread_places(self, count: int) -> FloatArray:
        """(count, d) equally likely places by systematic resampling, without any random number."""
        steps = (np.arange(count) + 0.5) / count
        chosen = np.searchsorted(np.cumsum(self.probability), steps)
        return self.places[np.minimum(chosen, len(self.places) - 1)]


def weighted_quantiles(values: FloatArray, probability: FloatArray, shares: FloatArray) -> FloatArray:
    """Quantiles of values with probabilities, by the cumulated distribution at the middle of each step."""
    order = np.argsort(values, kind="stable")
    ordered, weight = values[order], probability[order]
    middle = np.cumsum(weight) - 0.5 * weight
    with np.errstate(invalid="ignore"):
        found = np.interp(shares, middle, ordered)
    # Between a finite and an infinite value there is nothing to interpolate: the infinite one holds.
    return np.where(np.isnan(found), np.inf, found)


def posterior(design: FactorDesign, table: ReadingTable, shared: SharedErrors) -> Posterior:
    """Posterior of the factors from readings with errors that they share."""
    k = table.predicted_c.shape[1]
    gram = np.zeros((k + 1, k + 1))
    if len(table.value_c):
        base = table.predicted_c.mean(axis=1)
        vectors = np.column_stack([table.predicted_c - base[:, None], table.value_c - base])
        gram = shared.products(vectors, table.variance_c2)

    def logarithm(places: FloatArray) -> FloatArray:
        weights = design.weights(places)
        misfit = gram[k, k] - 2.0 * weights @ gram[:k, k] + ((weights @ gram[:k, :k]) * weights).sum(axis=1)
        return -0.5 * misfit - 0.5 * (places**2).sum(axis=1)

    d = len(design.nodes)
    low, high = np.full(d, -REACH), np.full(d, REACH)
    for _ in range(_REFINEMENTS):
        axes = [np.linspace(low[i], high[i], _LATTICE[d]) for i in range(d)]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)
        value = logarithm(places)
        kept = places[value > value.max() - _CUT]
        step = (high - low) / (_LATTICE[d] - 1)
        closer_low = np.maximum(kept.min(axis=0) - step, -REACH)
        closer_high = np.minimum(kept.max(axis=0) + step, REACH)
        # Where the lattice fits its mass already there is nothing to gain.
        if ((closer_high - closer_low) > 0.7 * (high - low)).all():
            break
        low, high = closer_low, closer_high
    probability = np.exp(value - value.max())
    return Posterior(places, probability / probability.sum())
