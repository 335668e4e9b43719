"""Few solver runs stand for all: polynomials in the logarithms of the factors through Chebyshev nodes.

Temperatures and lethality of a heated zone vary smoothly with the logarithms of perfusion and power, so that the
polynomial through the roots of a Chebyshev polynomial in each factor is close to the best one of its degree
(Trefethen, Approximation Theory and Approximation Practice, SIAM 2013, chapter 8). The value of any field at any
factors is a sum of the fields of the runs with weights that depend on the factors alone.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.monitoring.priors import MonitorPriors
from needleplan.ablation.monitoring.treatment import Factors
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray

#: Standard deviations of the priors on each side of the median that the runs cover: 99 % of the prior.
REACH = 2.6
#: Where in the prior (standard deviations) the polynomials are compared with runs of their own.
_CHECKED = ((0.85, -0.7, 0.6), (-1.05, 0.75, -0.5))


@dataclass(frozen=True, slots=True)
class FactorDesign:
    """Which factors are run, and how the runs are weighted for others.

    Attributes:
        priors: of the factors.
        counts: nodes of perfusion, efficiency and conductivity; those of fixed factors are not used.
    """

    priors: MonitorPriors
    counts: tuple[int, int, int] = (5, 4, 2)

    def __post_init__(self) -> None:
        if len(self.counts) != 3 or min(self.counts) < 2:
            raise PhysicsError(f"every factor needs at least two runs, but the counts are {self.counts}")

    @property
    def nodes(self) -> tuple[FloatArray, ...]:
        """Of each free factor its nodes in standard deviations from the median."""
        by_name = dict(zip(("perfusion", "efficiency", "conductivity"), self.counts, strict=True))
        each = []
        for name in self.priors.names:
            n = by_name[name]
            each.append(REACH * np.cos(np.pi * (2.0 * np.arange(n) + 1.0) / (2.0 * n)))
        return tuple(each)

    @property
    def points(self) -> FloatArray:
        """(k, d) places of the runs in standard deviations."""
        return np.array(list(product(*self.nodes)))

    @property
    def checks(self) -> FloatArray:
        """(2, d) places of the runs that the polynomials are compared with."""
        return np.array(_CHECKED)[:, : len(self.priors.names)]

    def factors(self, standard: ArrayLike) -> Factors:
        """The factors at a place (d,)."""
        values = np.asarray(standard, dtype=np.float64)
        named = zip(self.priors.names, self.priors.free, values, strict=True)
        return Factors(**{name: prior.factor(float(value)) for name, prior, value in named})

    def weights(self, standard: ArrayLike) -> FloatArray:
        """(m, k) weights of the runs at places (m, d): Lagrange's polynomials, each row summing to 1."""
        places = np.asarray(standard, dtype=np.float64)
        total = np.ones((len(places), 1))
        for axis, nodes in enumerate(self.nodes):
            own = np.ones((len(places), len(nodes)))
            for i, node in enumerate(nodes):
                for other in np.delete(nodes, i):
                    own[:, i] *= (places[:, axis] - other) / (node - other)
            total = (total[:, :, None] * own[:, None, :]).reshape(len(places), -1)
        return total
