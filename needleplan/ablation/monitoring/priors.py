"""What is believed of perfusion, efficiency and conductivity before anything was measured."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from needleplan.devices.tissue import Tissue
from needleplan.errors import PhysicsError

#: Perfusion differs from patient to patient by a factor of two both ways with 90 % probability, beyond what the
#: sources' own range says. For liver that makes 0.0064 to 0.031 1/s, which holds the values of models of
#: radiofrequency ablation (0.0064 and 0.018) and of the IT'IS database (0.0155). Tumours of the liver are said to
#: have 0.2 to 2 times the perfusion of liver (recalled): state a prior of their own where they are treated.
_PERFUSION_SPREAD = 2.0
#: Share of the generator's power that reaches tissue, relative to the stated one, with 90 % probability. An
#: assumption: cables, reflection and detuning as tissue dries differ between devices, and no source gives a spread.
_EFFICIENCY_LOW, _EFFICIENCY_HIGH = 0.78, 1.28


@dataclass(frozen=True, slots=True)
class FactorPrior:
    """A factor whose logarithm is normally distributed.

    Attributes:
        median: of the factor.
        log_sd: standard deviation of its natural logarithm.
    """

    median: float = 1.0
    log_sd: float = 0.1

    def __post_init__(self) -> None:
        for name in ("median", "log_sd"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise PhysicsError(f"the {name} of a factor's prior must be positive, but is {value:g}")

    @classmethod
    def between(cls, low: float, high: float, probability: float = 0.9) -> "FactorPrior":
        """The prior that puts a probability between two factors, and equal rests below and above.

        Raises:
            PhysicsError: not 0 < low < high, or no probability between 0 and 1.
        """
        if not (0 < low < high < math.inf and 0 < probability < 1):
            raise PhysicsError(
                f"a prior needs factors 0 < low < high and a probability between 0 and 1, but got {low:g}, "
                f"{high:g} and {probability:g}"
            )
        width = 2.0 * NormalDist().inv_cdf(0.5 * (1.0 + probability))
        return cls(math.sqrt(low * high), math.log(high / low) / width)

    def factor(self, standard: float) -> float:
        """The factor that lies ``standard`` standard deviations above the median."""
        return self.median * math.exp(self.log_sd * standard)

    def sampled(self, rng: np.random.Generator) -> float:
        """One draw."""
        return self.factor(float(rng.standard_normal()))


@dataclass(frozen=True, slots=True)
class MonitorPriors:
    """Priors of the factors that readings correct; None keeps a factor at 1.

    Attributes:
        perfusion: on the perfusion of every tissue.
        efficiency: on the power that every applicator gives to tissue; None where a generator works by temperature.
        conductivity: on the thermal conductivity of every tissue.
    """

    perfusion: FactorPrior | None
    efficiency: FactorPrior | None
    conductivity: FactorPrior | None = None

    def __post_init__(self) -> None:
        if not self.names:
            raise PhysicsError("a monitor needs a prior of at least one factor")

    @classmethod
    def of(cls, tissue: Tissue, *, efficiency: bool = True, conductivity: bool = False) -> "MonitorPriors":
        """Priors from the tissue table.

        The perfusion lies with 90 % probability between the least that sources give, or half the table's value, and
        the greatest, or double the value. The efficiency lies between 0.78 and 1.28 of the stated one (assumed).
        The conductivity lies in the range of the table.

        Raises:
            PhysicsError: the tissue has no perfusion, or its conductivity is wanted and has no range.
        """
        value = tissue.perfusion_per_s
        perfusion = None
        if not value == 0.0:
            if math.isnan(value):
                raise PhysicsError(f"the tissue table states no perfusion_per_s for {tissue.name!r}")
            low, high = tissue.ranges.get("perfusion_per_s", (value, value))
            # A range may begin at no perfusion at all, which has no logarithm.
            low = min(low, value / _PERFUSION_SPREAD) if low > 0 else value / _PERFUSION_SPREAD**2
            perfusion = FactorPrior.between(low / value, max(high, value * _PERFUSION_SPREAD) / value)
        own = None
        if conductivity:
            name = "thermal_conductivity_w_m_k"
            if name not in tissue.ranges or tissue.ranges[name][0] == tissue.ranges[name][1]:
                raise PhysicsError(f"the tissue table states no range of {name} for {tissue.name!r}")
            low, high = tissue.ranges[name]
            own = FactorPrior.between(low / getattr(tissue, name), high / getattr(tissue, name))
        return cls(perfusion, FactorPrior.between(_EFFICIENCY_LOW, _EFFICIENCY_HIGH) if efficiency else None, own)

    @property
    def names(self) -> tuple[str, ...]:
        """Factors that are not fixed, in the order perfusion, efficiency, conductivity."""
        return tuple(n for n in ("perfusion", "efficiency", "conductivity") if getattr(self, n) is not None)

    @property
    def free(self) -> tuple[FactorPrior, ...]:
        """Their priors."""
        return tuple(getattr(self, name) for name in self.names)
