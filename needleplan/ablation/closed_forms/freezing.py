"""Closed forms of freezing with a sharp front: plane wall, line sink, one phase, and the steady ice about a probe.

Sources: Neumann's solution and its cylindrical counterpart, Carslaw and Jaeger, Conduction of Heat in Solids 1959,
chapter 11; the steady ice in perfused tissue is our own balance of heat at its edge.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.closed_forms.arguments import distances, need_positive
from needleplan.ablation.closed_forms.heat import perfusion_coefficient_per_m
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray


@dataclass(frozen=True, slots=True)
class FreezingMedium:
    """Two phases with constant properties that change at one temperature.

    Attributes:
        frozen_conductivity_w_m_k, unfrozen_conductivity_w_m_k: of the phases.
        frozen_heat_capacity_j_m3_k, unfrozen_heat_capacity_j_m3_k: density times specific heat.
        latent_heat_j_m3: per volume.
        melting_c: temperature of the front.
    """

    frozen_conductivity_w_m_k: float
    unfrozen_conductivity_w_m_k: float
    frozen_heat_capacity_j_m3_k: float
    unfrozen_heat_capacity_j_m3_k: float
    latent_heat_j_m3: float
    melting_c: float

    def __post_init__(self) -> None:
        need_positive(
            frozen_conductivity_w_m_k=self.frozen_conductivity_w_m_k,
            unfrozen_conductivity_w_m_k=self.unfrozen_conductivity_w_m_k,
            frozen_heat_capacity_j_m3_k=self.frozen_heat_capacity_j_m3_k,
            unfrozen_heat_capacity_j_m3_k=self.unfrozen_heat_capacity_j_m3_k,
            latent_heat_j_m3=self.latent_heat_j_m3,
        )

    @property
    def frozen_diffusivity_m2_s(self) -> float:
        """Of the frozen phase."""
        return self.frozen_conductivity_w_m_k / self.frozen_heat_capacity_j_m3_k

    @property
    def unfrozen_diffusivity_m2_s(self) -> float:
        """Of the unfrozen phase."""
        return self.unfrozen_conductivity_w_m_k / self.unfrozen_heat_capacity_j_m3_k

    def front_m(self, growth: float, time_s: ArrayLike) -> FloatArray:
        """Place of the front at times, 2 growth sqrt(alpha_s t)."""
        return 2.0 * growth * np.sqrt(self.frozen_diffusivity_m2_s * distances("time_s", time_s))


@dataclass(frozen=True, slots=True)
class PlaneFreezing:
    """Freezing of a half-space from a wall that is held below the melting temperature (Neumann).

    Attributes:
        medium: properties.
        wall_c: temperature of the wall.
        start_c: of the medium at the start, at or above melting.
    """

    medium: FreezingMedium
    wall_c: float
    start_c: float

    def __post_init__(self) -> None:
        if not self.wall_c < self.medium.melting_c <= self.start_c:
            raise PhysicsError("the wall must be colder than melting, and the medium at the start no colder")

    @property
    def growth(self) -> float:
        """Lambda of the front 2 Lambda sqrt(alpha_s t), the root of the balance of heat at the front."""
        from scipy.special import erf, erfcx

        m = self.medium
        frozen, unfrozen = m.frozen_diffusivity_m2_s, m.unfrozen_diffusivity_m2_s
        ratio = math.sqrt(frozen / unfrozen)
        out = m.frozen_conductivity_w_m_k * (m.melting_c - self.wall_c) / math.sqrt(math.pi * frozen)
        feed = m.unfrozen_conductivity_w_m_k * (self.start_c - m.melting_c) / math.sqrt(math.pi * unfrozen)

        def balance(x: float) -> float:
            taken = out * math.exp(-x * x) / erf(x) - feed / erfcx(x * ratio)
            return float(taken - m.latent_heat_j_m3 * x * math.sqrt(frozen))

        return _root(balance)

    def front_m(self, time_s: ArrayLike) -> FloatArray:
        """Depth of the front at times."""
        return self.medium.front_m(self.growth, time_s)

    def temperature_c(self, depth_m: ArrayLike, time_s: ArrayLike) -> FloatArray:
        """Temperature at depths and times above 0."""
        from scipy.special import erf, erfcx

        x, t = distances("depth_m", depth_m), distances("time_s", time_s)
        m, growth = self.medium, self.growth
        with np.errstate(divide="ignore"):
            solid = x / (2.0 * np.sqrt(m.frozen_diffusivity_m2_s * t))
            liquid = x / (2.0 * np.sqrt(m.unfrozen_diffusivity_m2_s * t))
        at_front = growth * math.sqrt(m.frozen_diffusivity_m2_s / m.unfrozen_diffusivity_m2_s)
        ice = self.wall_c + (m.melting_c - self.wall_c) * erf(solid) / erf(growth)
        # The quotient of two erfc by erfcx, since both underflow where latent heat is small.
        beyond = np.maximum(liquid, at_front)
        fed = np.exp(at_front**2 - beyond**2) * erfcx(beyond) / erfcx(at_front)
        return np.where(solid <= growth, ice, self.start_c - (self.start_c - m.melting_c) * fed)

    def isotherm_m(self, temperature_c: float, time_s: ArrayLike) -> FloatArray:
        """Depth at times of a temperature within the ice."""
        from scipy.special import erf, erfinv

        m, growth = self.medium, self.growth
        if not self.wall_c <= temperature_c <= m.melting_c:
            raise PhysicsError(f"the ice holds no {temperature_c:g} °C, only {self.wall_c:g} to {m.melting_c:g} °C")
        share = (temperature_c - self.wall_c) / (m.melting_c - self.wall_c)
        return m.front_m(float(erfinv(share * erf(growth))), time_s)


@dataclass(frozen=True, slots=True)
class LineSinkFreezing:
    """Freezing about an endless line that takes up a constant power per length.

    Attributes:
        medium: properties.
        sink_w_m: heat taken per length.
        start_c: temperature of the medium at the start, at or above melting.
    """

    medium: FreezingMedium
    sink_w_m: float
    start_c: float

    def __post_init__(self) -> None:
        need_positive(sink_w_m=self.sink_w_m)
        if not self.medium.melting_c <= self.start_c:
            raise PhysicsError("the medium must be no colder than melting at the start")

    @property
    def growth(self) -> float:
        """Lambda of the front 2 Lambda sqrt(alpha_s t), the root of the balance of heat at the front."""
        from scipy.special import exp1

        m = self.medium
        frozen = m.frozen_diffusivity_m2_s
        ratio = frozen / m.unfrozen_diffusivity_m2_s
        feed = m.unfrozen_conductivity_w_m_k * (self.start_c - m.melting_c)

        def balance(x: float) -> float:
            z = x * x * ratio
            # exp(-z) / E1(z) tends to z + 1.
            drawn = math.exp(-z) / exp1(z) if z < 600.0 else z + 1.0
            taken = self.sink_w_m / (4.0 * math.pi) * math.exp(-x * x) - feed * drawn
            return float(taken - x * x * frozen * m.latent_heat_j_m3)

        return _root(balance)

    def front_m(self, time_s: ArrayLike) -> FloatArray:
        """Radius of the front at times."""
        return self.medium.front_m(self.growth, time_s)

    def temperature_c(self, radius_m: ArrayLike, time_s: ArrayLike) -> FloatArray:
        """Temperature at radii and times above 0; falls without bound towards the line."""
        from scipy.special import exp1

        r, t = distances("radius_m", radius_m), distances("time_s", time_s)
        m, growth = self.medium, self.growth
        with np.errstate(divide="ignore"):
            solid = r**2 / (4.0 * m.frozen_diffusivity_m2_s * t)
            liquid = r**2 / (4.0 * m.unfrozen_diffusivity_m2_s * t)
        at_front = growth**2 * m.frozen_diffusivity_m2_s / m.unfrozen_diffusivity_m2_s
        ice = m.melting_c + self.sink_w_m / (4.0 * math.pi * m.frozen_conductivity_w_m_k) * (
            exp1(growth**2) - exp1(solid)
        )
        warm = self.start_c - (self.start_c - m.melting_c) * np.minimum(exp1(liquid) / exp1(at_front), 1.0)
        return np.where(solid <= growth**2, ice, warm)


def one_phase_growth(stefan_number: float) -> float:
    """Lambda of one-phase freezing, the root of sqrt(pi) x exp(x²) erf(x) = Ste."""
    from scipy.special import erf

    need_positive(stefan_number=stefan_number)

    def balance(x: float) -> float:
        # Divided by exp(x²), which overflows.
        return float(stefan_number * math.exp(-x * x) - math.sqrt(math.pi) * x * erf(x))

    return _root(balance)


@dataclass(frozen=True, slots=True)
class SteadyIce:
    """The ice about a long cylindrical probe in the end, where perfusion outside the ice balances it.

    k_s (Tm - Tp) / (s ln(s/a)) = k_l (Tb - Tm) l K1(l s) / K0(l s), l = sqrt(w / k_l); nothing perfuses the ice.

    Attributes:
        medium: properties; those of heat storage do not matter.
        probe_radius_m: a.
        probe_c: temperature Tp of the probe's wall.
        blood_c: Tb.
        perfusion_w_m3_k: w.
    """

    medium: FreezingMedium
    probe_radius_m: float
    probe_c: float
    blood_c: float
    perfusion_w_m3_k: float

    def __post_init__(self) -> None:
        need_positive(probe_radius_m=self.probe_radius_m, perfusion_w_m3_k=self.perfusion_w_m3_k)
        if not self.probe_c < self.medium.melting_c < self.blood_c:
            raise PhysicsError("the probe must be colder than melting, and blood warmer")

    @property
    def ice_radius_m(self) -> float:
        """Radius s of the ice."""
        from scipy.special import k0e, k1e

        m, a = self.medium, self.probe_radius_m
        rate = perfusion_coefficient_per_m(m.unfrozen_conductivity_w_m_k, self.perfusion_w_m3_k)
        taken = m.frozen_conductivity_w_m_k * (m.melting_c - self.probe_c)
        feed = m.unfrozen_conductivity_w_m_k * (self.blood_c - m.melting_c)

        def balance(log_ratio: float) -> float:
            x = rate * a * math.exp(log_ratio)
            return float(taken - feed * log_ratio * x * k1e(x) / k0e(x))

        return a * math.exp(_root(balance))

    def isotherm_m(self, temperature_c: float) -> float:
        """Radius of a temperature within the ice, a (s/a)^((T - Tp) / (Tm - Tp))."""
        if not self.probe_c <= temperature_c <= self.medium.melting_c:
            raise PhysicsError(
                f"the ice holds no {temperature_c:g} °C, only {self.probe_c:g} to {self.medium.melting_c:g} °C"
            )
        share = (temperature_c - self.probe_c) / (self.medium.melting_c - self.probe_c)
        return float(self.probe_radius_m * (self.ice_radius_m / self.probe_radius_m) ** share)

    def temperature_c(self, radius_m: ArrayLike) -> FloatArray:
        """Temperature at radii from the probe's wall on."""
        from scipy.special import k0

        r = distances("radius_m", radius_m, self.probe_radius_m)
        m, edge = self.medium, self.ice_radius_m
        rate = perfusion_coefficient_per_m(m.unfrozen_conductivity_w_m_k, self.perfusion_w_m3_k)
        share = np.log(r / self.probe_radius_m) / math.log(edge / self.probe_radius_m)
        ice = self.probe_c + (m.melting_c - self.probe_c) * share
        outside = self.blood_c - (self.blood_c - m.melting_c) * k0(rate * np.maximum(r, edge)) / k0(rate * edge)
        return np.where(r <= edge, ice, outside)


def _root(balance: Callable[[float], float]) -> float:
    """Positive root of a function that falls from above zero to below it."""
    from scipy.optimize import brentq

    low, high = 1e-12, 1.0
    while balance(high) > 0.0:
        low, high = high, 2.0 * high
    return float(brentq(balance, low, high, xtol=1e-15, rtol=1e-14))
